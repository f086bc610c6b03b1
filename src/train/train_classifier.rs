//! The classifier trained by itself, on features that are computed once, so that an epoch takes seconds. The
//! classifier is a network like any other, whose table has no feature layers.

use super::broadcast_state::broadcast_weights;
use super::cached_features::CachedFeatures;
use super::options::TrainOptions;
use super::run_data::Data;
use super::{Examples, Trainable};
use crate::models::{Network, Parameter, Table};
use crate::{Error, Result};
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// The folder of the classifier's run, inside the folder of the whole run.
pub(super) const FOLDER: &str = "head";

/// The classifier's own training run.
pub(super) struct ClassifierTask<B: Backend> {
    pub classifier: Network<B>,
    /// Features in place of pictures.
    pub data: Data,
    pub options: TrainOptions,
    /// Holds the features if the run has no output folder.
    pub temporary: Option<TempDir>,
}

/// Computes the features, or reads those of an interrupted run. Returns the network that they are of, the same
/// in all processes, and no task if the run was interrupted.
pub(super) fn start<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    data: &Data,
    options: &TrainOptions,
) -> Result<(N, Option<ClassifierTask<B>>)> {
    let processes = &*options.processes;
    let network = match processes.world_size() {
        1 => network,
        // Each process computes a part of the features, all by the same weights.
        _ => broadcast_weights(processes, &network)?,
    };
    let whole = network.to_network()?;
    let (folder, temporary) = features_folder(options)?;
    let features = |examples: &Arc<dyn Examples>, name: &str| -> Result<_> {
        let cached =
            CachedFeatures::open_or_compute(&whole, examples, &folder.join(name), options)?;
        Ok(cached.map(|cached| Arc::new(cached) as Arc<dyn Examples>))
    };
    // An interruption stops all processes in the same round, so all of them return here together.
    let Some(train) = features(&data.still, "train-features.safetensors")? else {
        return Ok((network, None));
    };
    let Some(valid) = features(&data.valid, "valid-features.safetensors")? else {
        return Ok((network, None));
    };
    let architecture = network.architecture();
    let table = Table {
        name: format!("{} classifier", architecture.name),
        input: train.shape(),
        features: Vec::new(),
        ..architecture.table().clone()
    };
    let device = network.device();
    let classifier =
        Network::<B>::from_values(table, &device, |own, rows| network.values(own, rows))?;
    let data = Data { still: train.clone(), train, valid };
    let options = TrainOptions { output: Some(folder), ..options.clone() };
    Ok((network, Some(ClassifierTask { classifier, data, options, temporary })))
}

/// A folder for the features: inside the run's, or a temporary one.
fn features_folder(options: &TrainOptions) -> Result<(PathBuf, Option<TempDir>)> {
    let (folder, temporary) = match &options.output {
        Some(output) => (output.join(FOLDER), None),
        None => {
            let place = Path::new("a temporary folder");
            let temporary = tempfile::tempdir().map_err(Error::io(place))?;
            (temporary.path().to_path_buf(), Some(temporary))
        }
    };
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    Ok((folder, temporary))
}

/// The network with the classifier of another one.
pub(super) fn with_classifier<B: AutodiffBackend, N: Trainable<B>, C: Backend>(
    network: &N,
    classifier: &Network<C>,
) -> Result<N> {
    let is_replaced =
        |own: &Parameter| classifier.architecture().parameters().any(|trained| trained == own);
    network.with_values(&mut |own, rows| {
        if is_replaced(own) { classifier.values(own, rows) } else { network.values(own, rows) }
    })
}
