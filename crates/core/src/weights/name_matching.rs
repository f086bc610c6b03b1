//! Matches the tensors of a file with those of a network by their names, under the naming that fits best.

use super::file_contents::FileContents;
use super::matched_tensors::{MatchedTensors, NetworkPart, ParameterSource};
use super::name_prefixes::{Candidate, IndexByName};
use super::naming::{NamedTensor, Naming};
use super::tensor_entry::{TensorEntry, is_float};
use crate::architecture::{Architecture, Parameter, Section};
use std::collections::{HashMap, HashSet};

/// A match that is complete only if there are no differences.
pub(super) struct MatchAttempt {
    pub matched: MatchedTensors,
    pub differences: Vec<String>,
}

/// A naming, the network's tensors under it, and the file's names without the prefixes that hide them.
pub(super) struct BestNaming<'a> {
    pub naming: Naming,
    pub expected: Vec<NamedTensor>,
    pub index_by_name: &'a IndexByName,
}

/// The naming and the prefix under which the file has most of the network's tensors; `None` if there are no
/// candidates.
pub(super) fn best_naming<'a>(
    architecture: &Architecture,
    candidates: &'a [Candidate],
) -> Option<BestNaming<'a>> {
    let mut best = None;
    let mut most = 0;
    for naming in Naming::ALL {
        let expected = naming.tensors(architecture);
        let hits = |candidate: &&Candidate| {
            expected.iter().filter(|tensor| candidate.names.contains_key(&tensor.name)).count()
        };
        // `max_by_key` returns the last maximum; reversed, that is the one with the shortest prefix.
        let candidate = candidates.iter().rev().max_by_key(hits)?;
        let hits = hits(&candidate);
        if best.is_none() || hits > most {
            most = hits;
            best = Some(BestNaming { naming, expected, index_by_name: &candidate.names });
        }
    }
    best
}

/// Matches the tensors under a given naming.
pub(super) fn match_names(
    contents: &FileContents,
    architecture: &Architecture,
    part: NetworkPart,
    best: BestNaming,
) -> MatchAttempt {
    let BestNaming { naming, expected, index_by_name } = best;
    let mut matching = Matching {
        tensors: &contents.tensors,
        pairs: architecture.parameters().zip(expected).collect(),
        index_by_name,
        part,
        attempt: MatchAttempt {
            matched: MatchedTensors {
                naming: Some(naming),
                parameters: HashMap::new(),
                counters: HashMap::new(),
            },
            differences: Vec::new(),
        },
    };
    matching.match_parameters();
    matching.match_remaining();
    matching.attempt
}

struct Matching<'a> {
    tensors: &'a [TensorEntry],
    pairs: Vec<(&'a Parameter, NamedTensor)>,
    index_by_name: &'a IndexByName,
    part: NetworkPart,
    attempt: MatchAttempt,
}

impl Matching<'_> {
    /// Matches each parameter: its tensor must be in the file, with its shape and a floating-point type.
    fn match_parameters(&mut self) {
        let MatchAttempt { matched, differences } = &mut self.attempt;
        for (parameter, NamedTensor { name, shape, section }) in &self.pairs {
            if self.part == NetworkPart::Features && *section == Section::Classifier {
                continue;
            }
            let Some(&index) = self.index_by_name.get(name) else {
                differences.push(format!("{name}: missing, expected {shape:?}"));
                continue;
            };
            let tensor = &self.tensors[index];
            if tensor.shape() != shape {
                differences.push(format!(
                    "{}: expected shape {shape:?}, found {:?}",
                    tensor.name,
                    tensor.shape()
                ));
            } else if !is_float(tensor.dtype) {
                differences.push(format!(
                    "{}: expected F32, F16, BF16 or F64, found {}",
                    tensor.name, tensor.dtype
                ));
            } else {
                let source = ParameterSource::Tensor(index);
                matched.parameters.insert(parameter.key.clone(), source);
            }
        }
    }

    /// Goes through the tensors that are not parameters of the network: batch counters, a
    /// classifier that is not loaded, and extra tensors.
    fn match_remaining(&mut self) {
        let names: HashSet<&str> =
            self.pairs.iter().map(|(_, named)| named.name.as_str()).collect();
        let is_ignored =
            |name: &str| self.part == NetworkPart::Features && Naming::is_of_classifier(name);
        let mut remaining: Vec<(&String, usize)> = (self.index_by_name.iter())
            .filter(|(name, _)| !names.contains(name.as_str()) && !is_ignored(name))
            .map(|(name, &index)| (name, index))
            .collect();
        remaining.sort_by_key(|&(_, index)| index);
        for (name, index) in remaining {
            let is_negligible = self.tensors[index].is_negligible();
            let key = self.counter_key(name).filter(|_| is_negligible);
            if let Some(key) = key {
                self.attempt.matched.counters.insert(key, index);
            } else if !is_negligible {
                let name = &self.tensors[index].name;
                let difference = format!("{name}: extra, no such tensor in this network");
                self.attempt.differences.push(difference);
            }
        }
    }

    /// If the tensor is the batch counter of a batch norm, the key that it has in torchvision's naming. The
    /// count is not used, but passed on when a file is converted.
    fn counter_key(&self, name: &str) -> Option<String> {
        let layer = name.strip_suffix("num_batches_tracked")?;
        let mean = format!("{layer}running_mean");
        let (parameter, _) = self.pairs.iter().find(|(_, named)| named.name == mean)?;
        let layer = parameter.key.strip_suffix("running_mean")?;
        Some(format!("{layer}num_batches_tracked"))
    }
}
