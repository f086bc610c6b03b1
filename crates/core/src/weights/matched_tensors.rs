//! Which tensors of a file are those of a network.

use super::naming::Naming;
use crate::architecture::Architecture;
use std::collections::HashMap;

/// The part of a network that is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkPart {
    /// All tensors; the file must have no others.
    Whole,
    /// The convolutional part; the file may have any classifier.
    Features,
}

impl NetworkPart {
    /// Of a network without classifier, the file may have any.
    pub fn of(architecture: &Architecture) -> Self {
        if architecture.classifier.is_empty() { Self::Features } else { Self::Whole }
    }
}

/// The tensors of a network in a file.
#[derive(Debug)]
pub(super) struct MatchedTensors {
    /// `None` if the file has names of its own.
    pub naming: Option<Naming>,
    /// Where the values of each parameter are, by the parameter's key.
    pub parameters: HashMap<String, ParameterSource>,
    /// The index of the batch counter of each batch norm, by the key that it has in torchvision's naming.
    pub counters: HashMap<String, usize>,
}

/// Where the values of a parameter are.
#[derive(Clone, Copy, Debug)]
pub(super) enum ParameterSource {
    /// In the file's tensor of this index.
    Tensor(usize),
    /// Nowhere: the layers of the file have no bias.
    Zeros,
}
