//! Identifies the network of a file from the names and shapes of its tensors.

use super::file_contents::FileContents;
use super::file_metadata::{INPUT_SIZE, NETWORK};
use super::matched_tensors::{MatchedTensors, NetworkPart};
use super::name_matching::{BestNaming, best_naming, match_names};
use super::name_prefixes::{Candidate, candidates, side_by_side};
use super::naming::{NamedTensor, Naming};
use super::network_sizes::{with_channels, with_sizes};
use super::order_matching::match_in_order;
use super::weights_file::Weights;
use crate::architecture::{Layer, NetworkConfig, Section, Table};

/// What a file was identified as.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The networks that have exactly these tensors, with the file's number of classes, input channels, width and
    /// head.
    ///
    /// There are several if the networks differ only in layers without parameters and the names do not
    /// count layers: `vgg11` and `vgg11_lrn` under the papers' names. Files written by this crate state
    /// their network, so there is only one. `alexnet_two_gpu`, which differs from `alexnet_paper` only in
    /// the groups of its LRN, is listed only if the file states it.
    pub networks: Vec<NetworkConfig>,
    /// The naming of the tensors; `None` if the layers have names of their own, and were recognized by their order
    /// and shapes.
    pub naming: Option<Naming>,
    /// Whether only the convolutional part belongs to the network: the file has no classifier, or a
    /// different one. Such a file can be loaded with
    /// [`LoadOptions::features`](super::LoadOptions::features).
    pub features_only: bool,
}

impl Weights {
    /// Which of the [registered networks](NetworkConfig::all) this file is for, with any number of classes and input
    /// channels, of any width, with any [`Head`](crate::architecture::Head). `None` if it is for none of them.
    ///
    /// The names of the tensors decide; if they are of no [`Naming`], the order of the layers and their shapes. A
    /// network some of whose channels were removed (pruned) has to have the names of one.
    pub fn identify(&self) -> Option<Identity> {
        self.identify_among(&NetworkConfig::all(), &[NetworkPart::Whole, NetworkPart::Features])
    }

    /// Which of these networks, at the sizes of the file, this file is for.
    pub(super) fn identify_among(
        &self,
        configs: &[NetworkConfig],
        parts: &[NetworkPart],
    ) -> Option<Identity> {
        let file = File::new(&self.contents);
        parts.iter().find_map(|&part| file.identify(configs, part))
    }

    /// This network at the sizes of the file, as far as its layers are this network's.
    pub(super) fn with_sizes_of_file(&self, config: &NetworkConfig) -> NetworkConfig {
        let sized = File::new(&self.contents).with_sizes(config);
        sized.unwrap_or_else(|| config.clone())
    }

    /// The prefixes of the networks in a file that has several; otherwise none.
    pub(super) fn prefixes_of_several(&self) -> Vec<String> {
        let is_network = |candidate| {
            let file = File { contents: &self.contents, candidates: vec![candidate] };
            let parts = [NetworkPart::Whole, NetworkPart::Features];
            parts.into_iter().any(|part| file.identify(&NetworkConfig::all(), part).is_some())
        };
        let several = side_by_side(&self.contents).into_iter();
        several.filter_map(|(prefix, candidate)| is_network(candidate).then_some(prefix)).collect()
    }

    /// The registered network that has most in common with this file, and how they differ.
    pub(super) fn nearest_network(&self) -> Option<(String, Vec<String>)> {
        let file = File::new(&self.contents);
        let by_name = NetworkConfig::all().into_iter().filter_map(|it| file.name_differences(&it));
        // `max_by` returns the last maximum; reversed, that is the first one.
        let by_name = Vec::from_iter(by_name).into_iter().rev().max_by(|a, b| a.0.total_cmp(&b.0));
        let by_name = by_name.filter(|(share, ..)| *share > 0.0);
        if let Some((share, name, differences)) = &by_name
            && *share > 0.5
        {
            return Some((name.clone(), differences.clone()));
        }
        // Names of its own: a network with the same number of layers of the same proportions.
        let mut in_order = NetworkConfig::all().into_iter();
        let in_order = in_order.find_map(|config| file.order_difference(&config));
        let in_order = in_order.map(|(name, difference)| (name, vec![difference]));
        in_order.or(by_name.map(|(_, name, differences)| (name, differences)))
    }
}

/// A file and the tensors in it that may be a network's.
struct File<'a> {
    contents: &'a FileContents,
    candidates: Vec<Candidate>,
}

impl<'a> File<'a> {
    fn new(contents: &'a FileContents) -> Self {
        Self { contents, candidates: candidates(contents) }
    }

    fn with_sizes(&self, config: &NetworkConfig) -> Option<NetworkConfig> {
        let by_name = || sizes_by_name(self.contents, config.clone(), &self.candidates);
        self.sized(config, NetworkPart::Whole).or_else(by_name)
    }

    /// Which share of the tensors are this network's by their names, and how the others differ.
    fn name_differences(&self, config: &NetworkConfig) -> Option<(f64, String, Vec<String>)> {
        let table = self.with_sizes(config)?.architecture().ok()?;
        let best = best_naming(&table, &self.candidates)?;
        let attempt = match_names(self.contents, &table, NetworkPart::Whole, best);
        let (same, different) = (attempt.matched.parameters.len(), attempt.differences.len());
        let share = same as f64 / (same + different).max(1) as f64;
        Some((share, table.name.clone(), attempt.differences))
    }

    /// How the layers of the file differ from those of this network, if they have its proportions.
    fn order_difference(&self, config: &NetworkConfig) -> Option<(String, String)> {
        let part = NetworkPart::Whole;
        let table = self.sized(config, part)?.architecture().ok()?;
        let difference =
            |it: &Candidate| match_in_order(self.contents, &it.layers, &table, part).err();
        Some((table.name.clone(), self.candidates.iter().find_map(difference)?))
    }

    fn identify(&self, configs: &[NetworkConfig], part: NetworkPart) -> Option<Identity> {
        let sized = configs.iter().filter_map(|config| self.sized(config, part));
        let sized = Vec::from_iter(sized);
        let pruned = || configs.iter().filter_map(|config| self.pruned(config));
        let by_name = |config: &NetworkConfig| self.match_names(config, part);
        let in_order = |config: &NetworkConfig| self.match_in_order(config, part);
        self.matching(sized.clone(), part, by_name)
            .or_else(|| self.matching(pruned().collect(), part, by_name))
            .or_else(|| self.matching(sized, part, in_order))
    }

    /// The networks among these that match the file.
    fn matching(
        &self,
        configs: Vec<NetworkConfig>,
        part: NetworkPart,
        matched: impl Fn(&NetworkConfig) -> Option<MatchedTensors>,
    ) -> Option<Identity> {
        let mut identity: Option<Identity> = None;
        for config in configs {
            let Some(MatchedTensors { naming, .. }) = matched(&config) else { continue };
            let features_only = part == NetworkPart::Features;
            let new = || Identity { networks: Vec::new(), naming, features_only };
            identity.get_or_insert_with(new).networks.push(config);
        }
        let mut identity = identity?;
        let stated = self.contents.metadata.get(NETWORK);
        let is_stated = |config: &NetworkConfig| stated == Some(&config.table().name);
        if identity.networks.iter().any(is_stated) {
            identity.networks.retain(is_stated);
        } else {
            identity.networks.dedup_by_key(|config| features_without_lrn_groups(config.table()));
        }
        Some(identity)
    }

    /// The network at the sizes of the file's layers.
    fn sized(&self, config: &NetworkConfig, part: NetworkPart) -> Option<NetworkConfig> {
        let tensors = &self.contents.tensors;
        if let NetworkConfig::Custom(_) = config {
            return Some(config.clone());
        }
        let sized = |it: &Candidate| with_sizes(config, &it.layers, tensors, part);
        let sized = self.candidates.iter().find_map(sized)?;
        let stated = self.contents.metadata.get(INPUT_SIZE).and_then(|size| size.parse().ok());
        Some(match stated {
            Some(size) => sized.for_input([size; 2]),
            None => sized,
        })
    }

    fn pruned(&self, config: &NetworkConfig) -> Option<NetworkConfig> {
        let tensors = &self.contents.tensors;
        self.candidates.iter().find_map(|it| with_channels(config, &it.layers, tensors))
    }

    // The sizes of a file that is not of this network may make no valid table.
    fn match_names(&self, config: &NetworkConfig, part: NetworkPart) -> Option<MatchedTensors> {
        let table = config.architecture().ok()?;
        let best = best_naming(&table, &self.candidates)?;
        let attempt = match_names(self.contents, &table, part, best);
        attempt.differences.is_empty().then_some(attempt.matched)
    }

    fn match_in_order(&self, config: &NetworkConfig, part: NetworkPart) -> Option<MatchedTensors> {
        let table = config.architecture().ok()?;
        let matched = |it: &Candidate| match_in_order(self.contents, &it.layers, &table, part).ok();
        self.candidates.iter().find_map(matched)
    }
}

/// The network with the number of classes, input channels and the width that the shapes of the tensors with its
/// names suggest, for a file that does not have all of its layers.
fn sizes_by_name(
    contents: &FileContents,
    mut config: NetworkConfig,
    candidates: &[Candidate],
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
