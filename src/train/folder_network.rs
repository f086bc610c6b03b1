//! The network that [`train_on_folder`](super::train_on_folder) begins with.

use super::folder_options::FolderOptions;
use super::options::{Event, TrainOptions};
use super::recipe::Recipe;
use crate::models::{Layer, Network, NetworkConfig};
use crate::vision::Labels;
use crate::weights::{LoadOptions, Weights};
use crate::{Metadata, Result};
use burn::tensor::backend::Backend;

/// The network with random weights, or those of the weights file as far as they fit.
pub(super) fn initial_network<B: Backend>(
    folder: &FolderOptions,
    recipe: &Recipe,
    labels: &Labels,
    options: &TrainOptions,
    device: &B::Device,
) -> Result<Network<B>> {
    let side = folder.input as usize;
    let config = folder.network.clone().with_num_classes(labels.count()).with_width(folder.width);
    let config = recipe.initialize(config.for_input([side, side]));
    B::seed(device, recipe.seed);
    let network = Network::<B>::new(config, device)?
        .with_metadata(Metadata::default().with_labels(labels.clone()));
    let Some(path) = &folder.weights else { return Ok(network) };
    let weights = Weights::open(path)?;
    let identity = weights.identify();
    let pretrained = identity.and_then(|identity| identity.networks.into_iter().next());
    if let Some(shallow) = pretrained
        && is_shallower(&shallow, &folder.network)?
    {
        let load = LoadOptions::default();
        let shallow = Network::<B>::from_weights(shallow, &weights, load, device)?;
        return network.init_from_shallower(&shallow);
    }
    let (network, unchanged) = network.init_from_pretrained(&weights)?;
    if !unchanged.is_empty() && options.processes.rank() == 0 {
        (options.on_event)(Event::KeptRandomWeights(path, &unchanged));
    }
    Ok(network)
}

/// Whether both are VGGs of the same kind, the first of which has fewer convolutions.
fn is_shallower(config: &NetworkConfig, than: &NetworkConfig) -> Result<bool> {
    let convolutions = |config: &NetworkConfig| -> Result<usize> {
        let is_convolution = |layer: &&Layer| matches!(layer, Layer::Conv { .. });
        Ok(config.architecture()?.features.iter().filter(is_convolution).count())
    };
    match (config, than) {
        (NetworkConfig::Vgg(a), NetworkConfig::Vgg(b)) if a.batch_norm == b.batch_norm => {
            Ok(convolutions(config)? < convolutions(than)?)
        }
        _ => Ok(false),
    }
}
