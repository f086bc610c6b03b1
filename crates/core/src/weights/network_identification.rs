//! Identifies the network of a file from the names and shapes of its tensors.

use super::file_contents::FileContents;
use super::file_metadata::NETWORK;
use super::naming::{NamedTensor, Naming};
use super::tensor_matching::{
    BestNaming, IndexByName, NetworkPart, best_naming, match_names, names_without_prefixes,
};
use super::weights_file::Weights;
use crate::architecture::{Layer, NetworkConfig, Section, Table};

/// What a file was identified as.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The networks that have exactly these tensors, with the file's number of classes, input channels
    /// and width.
    ///
    /// There are several if the networks differ only in layers without parameters and the naming does not
    /// count layers: `vgg11` and `vgg11_lrn` under the papers' names. Files written by this crate state
    /// their network, so there is only one. `alexnet_two_gpu`, which differs from `alexnet_paper` only in
    /// the groups of its LRN, is listed only if the file states it.
    pub networks: Vec<NetworkConfig>,
    /// The naming of the tensors.
    pub naming: Naming,
    /// Whether only the convolutional part belongs to the network: the file has no classifier, or a
    /// different one. Such a file can be loaded with
    /// [`LoadOptions::features`](super::LoadOptions::features).
    pub features_only: bool,
}

impl Weights {
    /// Which of the [registered networks](NetworkConfig::all) this file is for, with any number of
    /// classes and input channels, and of any width. `None` if it is for none of them.
    pub fn identify(&self) -> Option<Identity> {
        let candidates = names_without_prefixes(&self.contents);
        [NetworkPart::Whole, NetworkPart::Features]
            .into_iter()
            .find_map(|part| identify(&self.contents, &candidates, part))
    }
}

impl Weights {
    /// The registered network that has most in common with this file, and how they differ.
    pub(super) fn nearest_network(&self) -> Option<(String, Vec<String>)> {
        let candidates = names_without_prefixes(&self.contents);
        let differences = |config| {
            let config = with_sizes_of_file(&self.contents, config, &candidates)?;
            let table = config.architecture().ok()?;
            let best = best_naming(&table, &candidates)?;
            let attempt = match_names(&self.contents, &table, NetworkPart::Whole, best);
            let (same, different) = (attempt.matched.parameters.len(), attempt.differences.len());
            let share = same as f64 / (same + different).max(1) as f64;
            Some((share, table.name.clone(), attempt.differences))
        };
        let all = NetworkConfig::all().into_iter().filter_map(differences);
        let all = all.filter(|(share, ..)| *share > 0.0);
        // Of equals the first, which is the simplest.
        let nearest = all.reduce(|best, next| if next.0 > best.0 { next } else { best })?;
        Some((nearest.1, nearest.2))
    }
}

fn identify(
    contents: &FileContents,
    candidates: &[IndexByName],
    part: NetworkPart,
) -> Option<Identity> {
    let mut identity: Option<Identity> = None;
    for config in NetworkConfig::all() {
        let Some(config) = with_sizes_of_file(contents, config, candidates) else { continue };
        // The sizes of a file that is not of this network may make no valid table.
        let Ok(table) = config.architecture() else { continue };
        let Some(best) = best_naming(&table, candidates) else { continue };
        let attempt = match_names(contents, &table, part, best);
        if attempt.differences.is_empty() {
            let naming = attempt.matched.naming;
            let features_only = part == NetworkPart::Features;
            let new = || Identity { networks: Vec::new(), naming, features_only };
            identity.get_or_insert_with(new).networks.push(config);
        }
    }
    let mut identity = identity?;
    let stated = contents.metadata.get(NETWORK);
    let is_stated = |config: &NetworkConfig| stated == Some(&config.table().name);
    if identity.networks.iter().any(is_stated) {
        identity.networks.retain(is_stated);
    } else {
        identity.networks.dedup_by_key(|config| features_without_lrn_groups(config.table()));
    }
    Some(identity)
}

/// The network with the number of classes, input channels and the width that the shapes of the tensors
/// with its names suggest.
fn with_sizes_of_file(
    contents: &FileContents,
    mut config: NetworkConfig,
    candidates: &[IndexByName],
) -> Option<NetworkConfig> {
    let architecture = config.architecture().ok()?;
    let BestNaming { expected, index_by_name, .. } = best_naming(&architecture, candidates)?;
    let shape =
        |tensor: &NamedTensor| Some(contents.tensors[*index_by_name.get(&tensor.name)?].shape());
    let outputs = |tensor: &NamedTensor| shape(tensor).and_then(|shape| shape.first().copied());
    let last = expected.last().filter(|last| last.section == Section::Classifier);
    if let Some(classes) = last.and_then(outputs) {
        config = config.with_num_classes(classes);
    }
    let first = expected.first().and_then(shape).and_then(|shape| shape.get(1).copied());
    if let Some(channels) = first {
        config = config.with_in_channels(channels);
    }
    // The widest layer gives the most precise width. The last one is as wide as there are classes.
    let is_last = |tensor: &NamedTensor| last.is_some_and(|last| layer(last) == layer(tensor));
    let widest = (expected.iter())
        .filter(|tensor| !is_last(tensor) && index_by_name.contains_key(&tensor.name))
        .max_by_key(|tensor| tensor.shape.first().copied());
    if let Some((found, original)) =
        widest.and_then(|tensor| Some((outputs(tensor)?, tensor.shape[0])))
    {
        config = config.with_width(found as f64 / original as f64);
    }
    Some(config)
}

/// The layers of the features, with each LRN over all channels.
fn features_without_lrn_groups(table: Table) -> Vec<Layer> {
    let ungrouped = |layer| match layer {
        Layer::Lrn { size, alpha, beta, k, .. } => Layer::Lrn { size, alpha, beta, k, groups: 1 },
        other => other,
    };
    table.features.into_iter().map(ungrouped).collect()
}

/// The name of a tensor's layer: without `.weight` or `.bias`.
fn layer(tensor: &NamedTensor) -> &str {
    tensor.name.rsplit_once('.').map_or("", |(layer, _)| layer)
}
