//! What a weights file says of itself, where the command line does not.

use alexnet_vgg::models::NetworkConfig;
use alexnet_vgg::vision::Preset;
use alexnet_vgg::weights::Weights;
use std::error::Error;
use std::path::Path;

/// The network that the file is of, with its classes and width; of several the one that is asked for.
pub fn network(
    weights: &Weights,
    path: &Path,
    asked: Option<&NetworkConfig>,
) -> Result<NetworkConfig, Box<dyn Error>> {
    let name = |config: &NetworkConfig| config.architecture().name;
    let found = weights.identify()?.filter(|found| !found.features_only);
    let networks = found.map_or(Vec::new(), |found| found.networks);
    let is_asked = |found: &&NetworkConfig| asked.is_none_or(|asked| name(asked) == name(found));
    match (&networks.iter().filter(is_asked).collect::<Vec<_>>()[..], asked) {
        ([network], _) => Ok((*network).clone()),
        // Says what is different.
        (_, Some(asked)) => Ok(weights.naming(&asked.architecture()).map(|_| asked.clone())?),
        (_, None) => Err(format!(
            "{}: expected the weights of one known network, found those of {:?}",
            path.display(),
            networks.iter().map(name).collect::<Vec<_>>()
        )
        .into()),
    }
}

/// The weights know best what they were trained on.
pub fn preset(asked: Option<Preset>, stated: Option<Preset>) -> Result<Preset, Box<dyn Error>> {
    match (asked, stated) {
        (Some(asked), Some(stated)) if asked != stated => Err(format!(
            "the weights were trained with preset {}, --preset asks for {}",
            stated.name, asked.name
        )
        .into()),
        (asked, stated) => Ok(asked.or(stated).unwrap_or_else(Preset::imagenet)),
    }
}
