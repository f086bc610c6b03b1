//! The classifier alone, on features that are computed once: epochs take seconds. It is a network like any
//! other, whose table has no features.

use super::fit::{Data, Ended, Hooks, Notice, Outcome};
use super::maps::FeatureMaps;
use super::{Examples, History, Recipe};
use crate::error::{Error, Result};
use crate::models::{Architecture, Network};
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::path::Path;
use std::sync::Arc;

/// Of its run, in that of the whole.
pub(super) const FOLDER: &str = "head";

/// What came of it.
pub(super) struct Headed<B: AutodiffBackend> {
    /// The whole network, with the best classifier so far.
    pub network: Network<B>,
    pub history: History,
    pub ended: Ended,
    /// What could not be read.
    pub broken: Vec<(String, String)>,
}

/// Trains the classifier by the recipe `head`.
pub(super) fn fit<B: AutodiffBackend>(
    network: Network<B>,
    head: &Recipe,
    data: &Data,
    hooks: &Hooks,
) -> Result<Headed<B>> {
    (hooks.notice)(Notice::Head);
    let temporary;
    let folder = match &hooks.output {
        Some(output) => output.join(FOLDER),
        None => {
            let place = Path::new("a temporary folder");
            temporary = tempfile::tempdir().map_err(Error::io(place))?;
            temporary.path().to_path_buf()
        }
    };
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    let features =
        |examples: &Arc<dyn Examples>, name: &str| -> Result<Option<Arc<dyn Examples>>> {
            let maps = FeatureMaps::of(&network, examples, &folder.join(name), hooks)?;
            Ok(maps.map(|maps| Arc::new(maps) as Arc<dyn Examples>))
        };
    let train = features(&data.still, "train-features.safetensors")?;
    let valid = features(&data.valid, "valid-features.safetensors")?;
    let (Some(train), Some(valid)) = (train, valid) else {
        let (history, ended, broken) = (History::default(), Ended::Interrupted, Vec::new());
        return Ok(Headed { network, history, ended, broken });
    };
    let table = network.architecture();
    let table = Architecture {
        name: format!("{} classifier", table.name),
        input: train.shape(),
        features: Vec::new(),
        ..table.clone()
    };
    let device = network.device();
    let classifier =
        Network::<B>::from_values(table, &device, |own, rows| network.values(own, rows))?;
    let data = Data { still: train.clone(), train, valid };
    let hooks = Hooks { output: Some(folder), ..hooks.clone() };
    let Outcome { best, history, ended, broken, .. } = super::fit(classifier, head, &data, hooks)?;
    let network = with_classifier(&network, &best, &device)?;
    Ok(Headed { network, history, ended, broken })
}

/// The network with the classifier of another one.
fn with_classifier<B: Backend, C: Backend>(
    network: &Network<B>,
    classifier: &Network<C>,
    device: &B::Device,
) -> Result<Network<B>> {
    let trained = classifier.architecture().parameters()?;
    let whole = Network::from_values(network.architecture().clone(), device, |own, rows| {
        match trained.contains(own) {
            true => classifier.values(own, rows),
            false => network.values(own, rows),
        }
    })?;
    Ok(whole.stating(network))
}
