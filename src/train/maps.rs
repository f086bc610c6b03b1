//! Features computed once: what a classifier learns from while the layers before it stay as they are.
//!
//! They are in a safetensors file, so that a run that goes on has them, and are read from there: those of a
//! hundred thousand pictures by VGG16 are 10 GB.

use super::vote::Vote;
use super::{Examples, Hooks};
use crate::engine::{Compiled, Precision};
use crate::error::{Error, Result};
use crate::models::{Network, Parameter};
use crate::vision::augment::Sample;
use crate::weights::{Dtype, Weights, safetensors_header};
use crate::whole_file;
use burn::tensor::backend::Backend;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

const FEATURES: &str = "features";
const READ: &str = "read";
const IDENTITY: &str = "features_of";
/// Examples that go through the network together.
const AT_ONCE: usize = 16;

/// The pooled features of examples, `[C, h, w]` each.
pub(super) struct FeatureMaps {
    examples: Arc<dyn Examples>,
    shape: [usize; 3],
    identity: Vec<(String, String)>,
    file: Weights,
    /// 1 for each example that was read, 0 for the others.
    read: Vec<f32>,
}

impl FeatureMaps {
    /// From the file at `path`, if it has the features of these examples by this network; computed and
    /// written there, if not. `None` if that was interrupted.
    pub fn of<B: Backend>(
        network: &Network<B>,
        examples: &Arc<dyn Examples>,
        path: &Path,
        hooks: &Hooks,
    ) -> Result<Option<Self>> {
        let table = network.architecture().clone().without_classifier();
        let [height, width] = table.pool;
        let channels = table.num_classes()? / (height * width);
        let mut identity = examples.identity();
        identity.push(("features by".into(), hash(network)?));
        let text = format!("{identity:?}");
        let written = Weights::open(path)
            .ok()
            .filter(|file| file.metadata().any(|(key, value)| key == IDENTITY && value == text));
        // The first process's: the others' are gone with their temporary folders.
        let is_there = hooks.processes.of_first(&[u8::from(written.is_some())])? == [1];
        let file = match written {
            Some(file) if hooks.processes.count() == 1 => file,
            written => {
                let features = match (is_there, written) {
                    (true, Some(file)) => Source::File(file),
                    (true, None) => Source::Others,
                    (false, _) => {
                        let values = |parameter: &Parameter, rows| network.values(parameter, rows);
                        let engine = Compiled::from_values(table, Precision::F32, values);
                        Source::Engine(hooks.processes.agree(engine)?)
                    }
                };
                let width = channels * height * width;
                if !write(&features, width, examples.as_ref(), path, text, hooks)? {
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

impl Examples for FeatureMaps {
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
                found: "another".into(),
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

/// Where a process has features from.
enum Source {
    Engine(Compiled),
    /// They were computed before.
    File(Weights),
    /// They come from other processes.
    Others,
}

/// All features, in the order of the examples; then their file has its name. Whether it came to that.
///
/// Several processes each compute their part of a round's examples, and each writes all of them.
fn write(
    source: &Source,
    width: usize,
    examples: &dyn Examples,
    path: &Path,
    identity: String,
    hooks: &Hooks,
) -> Result<bool> {
    let count = examples.classes().len();
    let metadata = [(IDENTITY.to_string(), identity)];
    let tensors = [(FEATURES, vec![count, width]), (READ, vec![count])];
    let tensors = tensors.map(|(name, shape)| (name.to_string(), Dtype::F32, shape));
    let header = safetensors_header(path, metadata, tensors)?;
    let (mut read, mut stopped) = (Vec::with_capacity(count), false);
    let processes = &hooks.processes;
    let round = AT_ONCE * processes.count();
    let written = whole_file::replace(path, |out| {
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(Error::io(path));
        let mut wrote = write(&header);
        for first in (0..count).step_by(round) {
            let round = first..count.min(first + round);
            let stops = hooks.interrupter.should_stop();
            // A disk that is full is told to all before the next round.
            let own = wrote.and_then(|()| source.features(round, width, examples, hooks));
            let own = own.map(|own| (Vote { stops, ..Vote::default() }, own));
            let (told, own) = processes.vote(own)?;
            stopped = told.stops;
            if stopped {
                // So that no file is left.
                return Err(Error::io(path)(std::io::ErrorKind::Interrupted.into()));
            }
            wrote = Ok(());
            for part in processes.gather(bytemuck::cast_slice(&own))? {
                let values: Vec<f32> = bytemuck::pod_collect_to_vec(&part);
                let (features, which) = values.split_at(values.len() / (width + 1) * width);
                wrote = wrote.and_then(|()| write(bytemuck::cast_slice(features)));
                read.extend_from_slice(which);
            }
        }
        processes.agree(wrote.and_then(|()| write(bytemuck::cast_slice(&read))))
    });
    match stopped {
        true => Ok(false),
        false => written.map(|()| true),
    }
}

impl Source {
    /// What this process has of a round's examples: their features, and 1 for each that was read, 0 for the
    /// others.
    fn features(
        &self,
        round: Range<usize>,
        width: usize,
        examples: &dyn Examples,
        hooks: &Hooks,
    ) -> Result<Vec<f32>> {
        match self {
            Self::Others => Ok(Vec::new()),
            Self::File(file) => {
                let mut features = file.values_of_rows(FEATURES, round.clone())?;
                features.append(&mut file.values_of_rows(READ, round)?);
                Ok(features)
            }
            Self::Engine(engine) => {
                compute(engine, hooks.shard().of(round), width, examples, hooks)
            }
        }
    }
}

fn compute(
    engine: &Compiled,
    places: Range<usize>,
    width: usize,
    examples: &dyn Examples,
    hooks: &Hooks,
) -> Result<Vec<f32>> {
    let [channels, height, side] = examples.shape();
    let images: Vec<Result<Vec<f32>>> = (places.clone().into_par_iter())
        .map(|index| {
            let sample = Sample { seed: 0, epoch: 0, index: index as u64 };
            let mut values = Vec::new();
            examples.read(index, sample, &mut values).map(|()| values)
        })
        .collect();
    let (mut batch, mut read) = (Vec::new(), vec![1f32; places.len()]);
    for (image, read) in images.into_iter().zip(&mut read) {
        match image {
            Ok(mut values) => batch.append(&mut values),
            Err(error) if hooks.broken.skips(&error) => {
                *read = 0.0;
                batch.resize(batch.len() + channels * height * side, 0.0);
            }
            Err(error) => return Err(error),
        }
    }
    let mut features = vec![0.0; places.len() * width];
    if !places.is_empty() {
        engine.run(&batch, [places.len(), channels, height, side], &mut features)?;
    }
    features.extend(read);
    Ok(features)
}

/// Of the weights of the features.
fn hash<B: Backend>(network: &Network<B>) -> Result<String> {
    let mut hash = Sha256::new();
    for parameter in network.architecture().clone().without_classifier().parameters()? {
        hash.update(parameter.key.as_bytes());
        for rows in parameter.pieces() {
            hash.update(bytemuck::cast_slice(&network.values(&parameter, rows)?));
        }
    }
    Ok(super::hex(hash))
}
