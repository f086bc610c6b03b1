//! Reads the vectors that the example `features` wrote.

use crate::feature_network::FeatureNetwork;
use crate::vectors::{FEATURES, FINGERPRINT, PHOTOS, Vectors};
use alexnet_vgg_core::predict::cosine_similarity;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Instruction sets and thread counts change the last bits of a vector; other weights, layers, or preprocessing change much more.
const MIN_SIMILARITY: f32 = 0.9999;

pub fn read(path: &Path, network: &FeatureNetwork) -> Result<Vectors, Box<dyn Error>> {
    const EXPECTED: &str = "expected a file that the example `features` wrote";
    let name = path.display();
    let file = std::fs::read(path).map_err(|error| format!("{name}: {error}"))?;
    let not_ours = |found: &str| format!("{name}: {EXPECTED}, found {found}");
    let (_, header) =
        SafeTensors::read_metadata(&file).map_err(|error| not_ours(&error.to_string()))?;
    let tensors = SafeTensors::deserialize(&file).map_err(|error| not_ours(&error.to_string()))?;
    let tensor = |name: &str| {
        let tensor = tensors.tensor(name).ok().filter(|tensor| tensor.dtype() == Dtype::F32);
        tensor.ok_or_else(|| not_ours(&format!("no tensor `{name}` of f32 values")))
    };
    let photos = header.metadata().as_ref().and_then(|metadata| metadata.get(PHOTOS));
    let photos = photos.and_then(|names| serde_json::from_str::<Vec<PathBuf>>(names).ok());
    let photos = photos.ok_or_else(|| not_ours("no names of photos"))?;
    let fingerprint = values(tensor(FINGERPRINT)?.data());
    let features = tensor(FEATURES)?;
    let &[rows, length] = features.shape() else {
        return Err(not_ours(&format!("vectors of the shape {:?}", features.shape())).into());
    };
    if rows != photos.len() || length != fingerprint.len() {
        let shape = features.shape();
        return Err(not_ours(&format!("{} photos and the shape {shape:?}", photos.len())).into());
    }
    let own = network.fingerprint()?;
    let is_same = own.len() == length && cosine_similarity(&own, &fingerprint)? >= MIN_SIMILARITY;
    if !is_same {
        return Err(format!(
            "{name}: its vectors are of other weights, layers, or preprocessing than {}: pass the options that `features` \
             was run with",
            network.description()
        )
        .into());
    }
    Ok(Vectors { photos, length, values: values(features.data()) })
}

fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}
