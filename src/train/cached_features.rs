//! Features that are computed once, for training a classifier while the layers before it stay the same.
//!
//! They are stored in a safetensors file, so that a resumed run finds them, and are read from it while training:
//! the features of a hundred thousand pictures by VGG16 take 10 GB.

use super::Examples;
use super::consensus::RankStatus;
use super::hex_digest::hex_digest;
use super::options::TrainOptions;
use crate::engine::{CompileOptions, Compiled};
use crate::models::{Network, Parameter};
use crate::vision::augment::Sample;
use crate::weights::{Dtype, Weights};
use crate::{Error, Result};
use alexnet_vgg_core::atomic_file;
use alexnet_vgg_core::internal::safetensors_header;
use burn::tensor::backend::Backend;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const FEATURES: &str = "features";
/// 1 for each example that could be read, 0 for the others.
const READ: &str = "read";
const IDENTITY: &str = "features_of";
/// Examples that each process computes together.
const BATCH: usize = 16;

/// The pooled features of examples, `[C, H, W]` each.
pub(super) struct CachedFeatures {
    examples: Arc<dyn Examples>,
    shape: [usize; 3],
    identity: Vec<(String, String)>,
    file: Weights,
    /// 1 for each example that could be read, 0 for the others.
    read: Vec<f32>,
}

impl CachedFeatures {
    /// Opens the file at `path` if it has the features of these examples by this network; otherwise computes the
    /// features and writes them there. Returns `None` if that was interrupted.
    pub fn open_or_compute<B: Backend>(
        network: &Network<B>,
        examples: &Arc<dyn Examples>,
        path: &Path,
        options: &TrainOptions,
    ) -> Result<Option<Self>> {
        let table = network.architecture().clone().without_classifier();
        let [height, width] = table.pool;
        let channels = table.num_classes() / (height * width);
        let mut identity = examples.identity();
        identity.push(("features by".into(), hash(network)?));
        let text = format!("{identity:?}");
        let has_identity = |(key, value): (&str, &str)| key == IDENTITY && value == text;
        let existing = Weights::open(path).ok().filter(|file| file.metadata().any(has_identity));
        // Rank 0 decides: the files of the others are in temporary folders.
        let exists = options.processes.bytes_of_rank_0(&[u8::from(existing.is_some())])? == [1];
        let file = match existing {
            Some(file) if options.processes.world_size() == 1 => file,
            existing => {
                let source = match (exists, existing) {
                    (true, Some(file)) => Source::File(file),
                    (true, None) => Source::OtherProcesses,
                    (false, _) => {
                        let values = |parameter: &Parameter, rows| network.values(parameter, rows);
                        let engine =
                            Compiled::from_values(table, CompileOptions::default(), values);
                        Source::Engine(options.processes.expect_all_ok(engine)?)
                    }
                };
                let width = channels * height * width;
                if !write(&source, width, examples.as_ref(), path, text, options)? {
                    return Ok(None);
                }
                Weights::open(path)?
            }
        };
        Ok(Some(Self {
            read: file.values(READ)?,
            examples: examples.clone(),
            shape: [channels, height, width],
            identity,
            file,
        }))
    }
}

impl Examples for CachedFeatures {
    fn labels(&self) -> &[String] {
        self.examples.labels()
    }

    fn classes(&self) -> &[usize] {
        self.examples.classes()
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn read(&self, index: usize, _: Sample, out: &mut Vec<f32>) -> Result<()> {
        if self.read.get(index) != Some(&1.0) {
            return Err(Error::Picture {
                place: self.name(index),
                expected: "a picture that could be read when its features were computed".into(),
                found: "one that could not".into(),
            });
        }
        out.append(&mut self.file.values_of_rows(FEATURES, index..index + 1)?);
        Ok(())
    }

    fn name(&self, index: usize) -> String {
        self.examples.name(index)
    }

    fn identity(&self) -> Vec<(String, String)> {
        self.identity.clone()
    }
}

/// Where a process gets features from.
enum Source {
    /// It computes them.
    Engine(Compiled),
    /// They were computed before.
    File(Weights),
    /// Other processes send them.
    OtherProcesses,
}

/// Writes all features, in the order of the examples. Returns false if that was interrupted, and then leaves no
/// file.
///
/// In every round each process computes its shard of some examples, and all processes write all of them.
fn write(
    source: &Source,
    width: usize,
    examples: &dyn Examples,
    path: &Path,
    identity: String,
    options: &TrainOptions,
) -> Result<bool> {
    let count = examples.classes().len();
    let metadata = [(IDENTITY.to_string(), identity)];
    let tensors = [(FEATURES, vec![count, width]), (READ, vec![count])];
    let tensors = tensors.map(|(name, shape)| (name.to_string(), Dtype::F32, shape));
    let header = safetensors_header(path, metadata, tensors)?;
    let (mut read, mut interrupted) = (Vec::with_capacity(count), false);
    let processes = &options.processes;
    let round = BATCH * processes.world_size();
    let written = atomic_file::replace(path, |out| {
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io(path));
        let mut written = write(&header);
        for first in (0..count).step_by(round) {
            let round = first..count.min(first + round);
            let stops = options.interrupter.should_stop();
            // If a disk is full, all processes learn of it before the next round.
            let own = written.and_then(|()| source.features(round, width, examples, options));
            let own = own.map(|own| (RankStatus { stops, ..RankStatus::default() }, own));
            let (all, own) = processes.exchange_status(own)?;
            interrupted = all.stops;
            if interrupted {
                // An error, so that no file is left.
                return Err(Error::io(path)(std::io::ErrorKind::Interrupted.into()));
            }
            written = Ok(());
            for shard in processes.all_gather(bytemuck::cast_slice(&own))? {
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(&shard);
                let (features, could_be_read) = values.split_at(values.len() / (width + 1) * width);
                written = written.and_then(|()| write(bytemuck::cast_slice(features)));
                read.extend_from_slice(could_be_read);
            }
        }
        processes.expect_all_ok(written.and_then(|()| write(bytemuck::cast_slice(&read))))
    });
    if interrupted { Ok(false) } else { written.map(|()| true) }
}

impl Source {
    /// What this process contributes to a round: the features of examples, followed by 1 for each example that
    /// could be read and 0 for each other one.
    fn features(
        &self,
        round: Range<usize>,
        width: usize,
        examples: &dyn Examples,
        options: &TrainOptions,
    ) -> Result<Vec<f32>> {
        match self {
            Self::OtherProcesses => Ok(Vec::new()),
            Self::File(file) => {
                let mut features = file.values_of_rows(FEATURES, round.clone())?;
                features.append(&mut file.values_of_rows(READ, round)?);
                Ok(features)
            }
            Self::Engine(engine) => {
                compute(engine, options.shard().slice(round), width, examples, options)
            }
        }
    }
}

fn compute(
    engine: &Compiled,
    indices: Range<usize>,
    width: usize,
    examples: &dyn Examples,
    options: &TrainOptions,
) -> Result<Vec<f32>> {
    let [channels, height, side] = examples.shape();
    let images: Vec<Result<Vec<f32>>> = (indices.clone().into_par_iter())
        .map(|index| {
            let sample = Sample { seed: 0, epoch: 0, index: index as u64 };
            let mut values = Vec::new();
            examples.read(index, sample, &mut values).map(|()| values)
        })
        .collect();
    let (mut batch, mut read) = (Vec::new(), vec![1f32; indices.len()]);
    for (image, read) in images.into_iter().zip(&mut read) {
        match image {
            Ok(mut values) => batch.append(&mut values),
            Err(error) if options.broken.skips(&error) => {
                *read = 0.0;
                batch.resize(batch.len() + channels * height * side, 0.0);
            }
            Err(error) => return Err(error),
        }
    }
    let mut features = vec![0.0; indices.len() * width];
    if !indices.is_empty() {
        engine.run(&batch, [indices.len(), channels, height, side], &mut features)?;
    }
    features.extend(read);
    Ok(features)
}

/// The SHA-256 of the weights of the features.
fn hash<B: Backend>(network: &Network<B>) -> Result<String> {
    let mut hash = Sha256::new();
    for parameter in network.architecture().without_classifier().parameters() {
        hash.update(parameter.key.as_bytes());
        for rows in parameter.row_chunks() {
            hash.update(bytemuck::cast_slice(&network.values(parameter, rows)?));
        }
    }
    Ok(hex_digest(hash))
}
