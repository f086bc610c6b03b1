//! The vectors of many photos. While the network works on some photos, the next ones are decoded.

use crate::cli;
use crate::feature_network::FeatureNetwork;
use alexnet_vgg_core::Array;
use alexnet_vgg_core::vision::decode_file;
use rayon::prelude::*;
use std::error::Error;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;

/// Photos that go through the network together, because it reads the weights of its linear layers once per batch.
const BATCH: usize = 8;

/// The tensors of a safetensors file of vectors.
pub const FEATURES: &str = "features";
pub const FINGERPRINT: &str = "fingerprint";
/// The entry of its metadata with the photos' paths, a list in JSON.
pub const PHOTOS: &str = "photos";

/// The photos that could be read, and their vectors one after the other.
#[derive(Default)]
pub struct Vectors {
    pub photos: Vec<PathBuf>,
    pub length: usize,
    pub values: Vec<f32>,
}

/// Photos without a vector, and why.
#[derive(Default)]
pub struct Failed(Vec<(PathBuf, alexnet_vgg_core::Error)>);

impl Failed {
    /// An error if there are any, after a line for each.
    pub fn report(self, all: usize) -> Result<(), Box<dyn Error>> {
        for (photo, error) in &self.0 {
            cli::warn(cli::with_path(photo, error) + "\n");
        }
        match self.0.len() {
            0 => Ok(()),
            failed => Err(format!("{failed} of {all} photos could not be read").into()),
        }
    }
}

/// The vectors of photos, in order. A photo that cannot be read does not stop the others.
pub fn of_photos(
    network: &FeatureNetwork,
    photos: &[PathBuf],
) -> Result<(Vectors, Failed), Box<dyn Error>> {
    let progress = cli::progress::bar(photos.len());
    let (mut vectors, mut failed) = (Vectors::default(), Failed::default());
    let read = |photo: &PathBuf| network.input(&decode_file(photo)?);
    // Without a buffer: the sending thread holds the batch that is ready.
    let (sender, batches) = sync_channel::<Vec<alexnet_vgg_core::Result<Array>>>(0);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for batch in photos.chunks(BATCH) {
                if sender.send(batch.par_iter().map(read).collect()).is_err() {
                    return;
                }
            }
        });
        for (photos, batch) in photos.chunks(BATCH).zip(batches) {
            let mut inputs = Vec::new();
            for (photo, input) in photos.iter().zip(batch) {
                match input {
                    Ok(input) => {
                        inputs.push(input);
                        vectors.photos.push(photo.clone());
                    }
                    Err(error) => failed.0.push((photo.clone(), error)),
                }
            }
            if !inputs.is_empty() {
                let found = network.vectors(&inputs)?;
                vectors.length = found.shape[1];
                vectors.values.extend(found.values);
            }
            progress.inc(photos.len() as u64);
        }
        Ok::<_, alexnet_vgg_core::Error>(())
    })?;
    progress.finish_and_clear();
    if vectors.photos.is_empty() {
        failed.report(photos.len())?;
        return Err("expected photos, found none".into());
    }
    Ok((vectors, failed))
}
