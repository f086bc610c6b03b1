//! Which network a file is of, from its tensors' names and shapes alone.

use super::naming::{Named, Naming};
use super::reading::{ByName, Wanted};
use super::{NETWORK, Weights};
use crate::error::Result;
use crate::models::{Architecture, Layer, NetworkConfig, Part};

/// What a file was found to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The networks that have exactly these tensors, with their number of classes, input channels
    /// and width. More than one where networks differ in a layer without parameters and the naming
    /// does not count layers: `vgg11` and `vgg11_lrn` under the papers' names. A file that says its
    /// network (those that we write do) is of that one. `alexnet_towers`, which is `alexnet_paper` but for
    /// the groups of its LRN, is only what says so.
    pub networks: Vec<NetworkConfig>,
    /// What the tensors are called.
    pub naming: Naming,
    /// Only the file's convolutional part is the network's, for
    /// [`load_features`](crate::models::Network::load_features): it has no classifier, or another's.
    pub features_only: bool,
}

impl Weights {
    /// Which of the [registered networks](NetworkConfig::all) this file is of, at any number of
    /// classes, of input channels, and at any width. `None` if it is none of them.
    ///
    /// # Errors
    /// Those of the tables, which have none.
    pub fn identify(&self) -> Result<Option<Identity>> {
        let candidates = self.candidates();
        for wanted in [Wanted::All, Wanted::Features] {
            let mut identity: Option<Identity> = None;
            for config in NetworkConfig::all() {
                let Some(config) = self.scaled(config, &candidates)? else { continue };
                let table = config.architecture();
                // Absurd shapes make no network.
                let Ok(Some(best)) = Self::best(&table, &candidates) else { continue };
                let Ok(attempt) = self.attempt_as(&table, wanted, best) else { continue };
                if attempt.differences.is_empty() {
                    let naming = attempt.reading.naming;
                    let features_only = wanted == Wanted::Features;
                    let new = || Identity { networks: Vec::new(), naming, features_only };
                    identity.get_or_insert_with(new).networks.push(config);
                }
            }
            if let Some(mut identity) = identity {
                let stated = self.contents.metadata.get(NETWORK);
                let is_stated =
                    |config: &NetworkConfig| stated == Some(&config.architecture().name);
                if identity.networks.iter().any(is_stated) {
                    identity.networks.retain(is_stated);
                } else {
                    let ungrouped = |config: &NetworkConfig| ungrouped(config.architecture());
                    identity.networks.dedup_by_key(|config| ungrouped(config));
                }
                return Ok(Some(identity));
            }
        }
        Ok(None)
    }

    /// The network with the classes, input channels and width that the file's shapes suggest, taking
    /// the names at their word.
    fn scaled(
        &self,
        config: NetworkConfig,
        candidates: &[ByName],
    ) -> Result<Option<NetworkConfig>> {
        let Some((_, named, by_name)) = Self::best(&config.architecture(), candidates)? else {
            return Ok(None);
        };
        let shape = |named: &Named| Some(self.contents.tensors[*by_name.get(&named.name)?].shape());
        let mut config = config;
        let outputs = |named: &Named| shape(named).and_then(|shape| shape.first().copied());
        let last = named.last().filter(|last| last.part == Part::Classifier);
        if let Some(classes) = last.and_then(outputs) {
            config = config.with_num_classes(classes);
        }
        let first = named.first().and_then(shape).and_then(|shape| shape.get(1).copied());
        if let Some(channels) = first {
            config = config.with_in_channels(channels);
        }
        // The widest layer says most exactly how wide the network is. The last has the classes.
        let is_last = |named: &Named| last.is_some_and(|last| layer(last) == layer(named));
        let widest = (named.iter())
            .filter(|named| !is_last(named) && by_name.contains_key(&named.name))
            .max_by_key(|named| named.shape.first().copied());
        if let Some((found, plain)) =
            widest.and_then(|named| Some((outputs(named)?, named.shape[0])))
        {
            config = config.with_width(found as f64 / plain as f64);
        }
        Ok(Some(config))
    }
}

/// The layers of the features, each LRN over all channels.
fn ungrouped(table: Architecture) -> Vec<Layer> {
    let over_all = |layer| match layer {
        Layer::Lrn { size, alpha, beta, k, .. } => Layer::Lrn { size, alpha, beta, k, groups: 1 },
        other => other,
    };
    table.features.into_iter().map(over_all).collect()
}

/// The name without `.weight` or `.bias`.
fn layer(named: &Named) -> &str {
    named.name.rsplit_once('.').map_or("", |(layer, _)| layer)
}
