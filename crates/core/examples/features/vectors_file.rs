//! Vectors in a file: safetensors, or NumPy's format.

use crate::feature_network::FeatureNetwork;
use crate::vectors::{FEATURES, FINGERPRINT, PHOTOS, Vectors};
use safetensors::tensor::{Dtype, TensorView};
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Display;
use std::path::Path;

#[derive(Clone, Copy)]
pub enum Format {
    Safetensors,
    Npy,
}

impl Format {
    /// The format that the file's name ends with.
    pub fn of(path: &Path) -> Result<Self, String> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("safetensors") => Ok(Self::Safetensors),
            Some("npy") => Ok(Self::Npy),
            _ => Err(at(path, "expected a name that ends in .safetensors or .npy")),
        }
    }
}

pub fn write(
    path: &Path,
    format: Format,
    network: &FeatureNetwork,
    vectors: &Vectors,
) -> Result<(), Box<dyn Error>> {
    match format {
        Format::Safetensors => write_safetensors(path, network, vectors),
        Format::Npy => write_npy(path, network, vectors),
    }
}

/// The photos' paths as JSON. A path that is no Unicode text is written with replacement characters.
fn names(vectors: &Vectors) -> Vec<String> {
    vectors.photos.iter().map(|photo| photo.display().to_string()).collect()
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn write_safetensors(
    path: &Path,
    network: &FeatureNetwork,
    vectors: &Vectors,
) -> Result<(), Box<dyn Error>> {
    let fingerprint = network.fingerprint()?;
    let (features, probe) = (bytes(&vectors.values), bytes(&fingerprint));
    let shape = vec![vectors.photos.len(), vectors.length];
    let tensors = [
        (FEATURES, TensorView::new(Dtype::F32, shape, &features)?),
        (FINGERPRINT, TensorView::new(Dtype::F32, vec![fingerprint.len()], &probe)?),
    ];
    let metadata = HashMap::from([
        (PHOTOS.to_string(), serde_json::to_string(&names(vectors))?),
        ("network".to_string(), network.description()),
    ]);
    safetensors::serialize_to_file(tensors, Some(metadata), path)
        .map_err(|error| at(path, error))?;
    Ok(())
}

/// An array of NumPy's format 1.0, and a .json file with the names of its rows.
fn write_npy(
    path: &Path,
    network: &FeatureNetwork,
    vectors: &Vectors,
) -> Result<(), Box<dyn Error>> {
    const MAGIC: &[u8] = b"\x93NUMPY\x01\x00";
    const ALIGNMENT: usize = 64;
    let (rows, columns) = (vectors.photos.len(), vectors.length);
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    // The magic number, two bytes of the header's length, and the newline are part of what is aligned.
    let unpadded = MAGIC.len() + 2 + header.len() + 1;
    header += &" ".repeat(unpadded.next_multiple_of(ALIGNMENT) - unpadded);
    header.push('\n');
    let mut file = MAGIC.to_vec();
    file.extend(u16::try_from(header.len())?.to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes(&vectors.values));
    std::fs::write(path, file).map_err(|error| at(path, error))?;

    let beside = path.with_extension("json");
    let rows = serde_json::json!({ "network": network.description(), "photos": names(vectors) });
    std::fs::write(&beside, format!("{rows}\n")).map_err(|error| at(&beside, error))?;
    Ok(())
}

/// A message about a file.
fn at(path: &Path, message: impl Display) -> String {
    format!("{}: {message}", path.display())
}
