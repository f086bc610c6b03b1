//! The classifier alone, on features that are computed once: epochs take seconds. It is a network like any
//! other, whose table has no features.

use super::fit::{Data, Ended, Hooks, Notice, Outcome};
use super::maps::FeatureMaps;
use super::{Examples, History, Recipe, Trainable, start};
use crate::error::{Error, Result};
use crate::models::{Architecture, Network};
use burn::tensor::backend::{AutodiffBackend, Backend};
use std::path::Path;
use std::sync::Arc;

/// Of its run, in that of the whole.
pub(super) const FOLDER: &str = "head";

/// What came of it.
pub(super) struct Headed<N> {
    /// The whole network, with the best classifier so far.
    pub network: N,
    pub history: History,
    pub ended: Ended,
    /// What could not be read.
    pub broken: Vec<(String, String)>,
}

/// Trains the classifier by the recipe `head`.
pub(super) fn fit<B: AutodiffBackend, N: Trainable<B>>(
    network: N,
    head: &Recipe,
    data: &Data,
    hooks: &Hooks,
) -> Result<Headed<N>> {
    (hooks.notice)(Notice::Head);
    let processes = &*hooks.processes;
    let network = match processes.count() {
        1 => network,
        // Features are those of the same weights.
        _ => start::weights(processes, &network)?,
    };
    let whole = network.whole()?;
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
            let maps = FeatureMaps::of(&whole, examples, &folder.join(name), hooks)?;
            Ok(maps.map(|maps| Arc::new(maps) as Arc<dyn Examples>))
        };
    let train = features(&data.still, "train-features.safetensors")?;
    // All stop at the same round.
    let valid = match train {
        Some(_) => features(&data.valid, "valid-features.safetensors")?,
        None => None,
    };
    let Some((train, valid)) = train.zip(valid) else {
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
    let network = with_classifier(&network, &best)?;
    Ok(Headed { network, history, ended, broken })
}

/// The network with the classifier of another one.
fn with_classifier<B: AutodiffBackend, N: Trainable<B>, C: Backend>(
    network: &N,
    classifier: &Network<C>,
) -> Result<N> {
    let trained = classifier.architecture().parameters()?;
    network.with_values(&mut |own, rows| match trained.contains(own) {
        true => classifier.values(own, rows),
        false => network.values(own, rows),
    })
}
