//! Matches the tensors of a file with those of a network: finds the naming, and the prefixes that
//! wrappers add.

use super::file_contents::FileContents;
use super::file_metadata::NETWORK;
use super::naming::{NamedTensor, Naming};
use super::tensor_entry::{TensorEntry, is_float};
use crate::architecture::{Architecture, Layer, NetworkConfig, Parameter, Section};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// How many components that all names share (`model.`, `net.backbone.`) may be removed.
const MAX_PREFIXES: usize = 3;

/// The counter of PyTorch's `AveragedModel`. Nothing here needs it.
const AVERAGED_MODEL_COUNTER: &str = "n_averaged";

/// Indices of the file's tensors by their names without some prefixes.
pub(super) type IndexByName = HashMap<String, usize>;

/// The part of a network that is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NetworkPart {
    /// All tensors; the file must have no others.
    Whole,
    /// The convolutional part; the file may have any classifier.
    Features,
}

/// The tensors of a network in a file.
#[derive(Debug)]
pub(super) struct MatchedTensors {
    pub naming: Naming,
    /// The index of the file's tensor for each parameter, by the parameter's key.
    pub parameters: HashMap<String, usize>,
    /// The index of the batch counter of each batch norm, by the key that it has in torchvision's naming.
    pub counters: HashMap<String, usize>,
}

/// A match that is complete only if there are no differences.
pub(super) struct MatchAttempt {
    pub matched: MatchedTensors,
    pub differences: Vec<String>,
}

/// A naming, the network's tensors under it, and the file's names without the prefixes that hide them.
pub(super) struct BestNaming<'a> {
    pub naming: Naming,
    pub expected: Vec<NamedTensor>,
    pub index_by_name: Cow<'a, IndexByName>,
}

/// The tensors of the network in the file at `path`.
///
/// # Errors
/// [`Error::WeightsMismatch`] with all differences.
pub(super) fn match_network(
    contents: &FileContents,
    path: &Path,
    architecture: &Architecture,
    part: NetworkPart,
) -> Result<MatchedTensors> {
    let mismatch = |differences| Error::WeightsMismatch {
        path: path.into(),
        network: architecture.name.clone(),
        differences,
    };
    let candidates = names_without_prefixes(contents);
    let Some(best) = best_naming(architecture, &candidates) else {
        let difference = if contents.tensors.is_empty() {
            "the file has no tensors"
        } else {
            "two names are the same without the prefixes of DataParallel or torch.compile"
        };
        return Err(mismatch(vec![difference.into()]));
    };
    let MatchAttempt { matched, mut differences } = match_names(contents, architecture, part, best);
    // Layers without parameters leave no trace among the tensors, but our own files state their network.
    if let Some(stated) = contents.metadata.get(NETWORK)
        && *stated != architecture.name
        && part == NetworkPart::Whole
        && NetworkConfig::by_name(stated).is_ok()
    {
        differences.push(format!("the file says that it is for {stated}"));
    }
    if differences.is_empty() { Ok(matched) } else { Err(mismatch(differences)) }
}

/// The names in the file with the prefixes of DataParallel (`module.`) and torch.compile (`_orig_mod.`)
/// removed, and in each further candidate one more component that all names share. Candidates in which two
/// names are the same are left out.
pub(super) fn names_without_prefixes(contents: &FileContents) -> Vec<IndexByName> {
    let names: Vec<(Vec<&str>, usize)> = (contents.tensors.iter().enumerate())
        .map(|(index, tensor)| {
            let components = tensor.name.split('.');
            let components = components.filter(|&part| part != "module" && part != "_orig_mod");
            (components.collect(), index)
        })
        .filter(|(name, index): &(Vec<&str>, _)| {
            name[..] != [AVERAGED_MODEL_COUNTER] || !is_counter(&contents.tensors[*index])
        })
        .collect();
    let mut candidates = Vec::new();
    for prefixes in 0..=MAX_PREFIXES {
        let index_by_name: IndexByName =
            names.iter().map(|(parts, index)| (parts[prefixes..].join("."), *index)).collect();
        if !index_by_name.is_empty() && index_by_name.len() == names.len() {
            candidates.push(index_by_name);
        }
        let first = names.first().and_then(|(parts, _)| parts.get(prefixes));
        let is_shared = |(parts, _): &(Vec<&str>, usize)| {
            parts.len() > prefixes + 1 && parts.get(prefixes) == first
        };
        if !names.iter().all(is_shared) {
            break;
        }
    }
    candidates
}

/// The naming and the prefixes under which the file has most of the network's tensors; `None` if there are
/// no candidates.
pub(super) fn best_naming<'a>(
    architecture: &Architecture,
    candidates: &'a [IndexByName],
) -> Option<BestNaming<'a>> {
    let renumbered = candidates.iter().filter_map(|names| renumbered(architecture, names));
    let renumbered: Vec<IndexByName> = renumbered.collect();
    let mut best = None;
    let mut most = 0;
    for naming in Naming::ALL {
        let expected = naming.tensors(architecture);
        let hits = |index_by_name: &Cow<IndexByName>| {
            expected.iter().filter(|tensor| index_by_name.contains_key(&tensor.name)).count()
        };
        let renumbered = renumbered.iter().filter(|_| naming == Naming::Torchvision);
        let candidates = candidates.iter().map(Cow::Borrowed);
        let candidates = candidates.chain(renumbered.map(|names| Cow::Owned(names.clone())));
        // `max_by_key` returns the last maximum; reversed, that is the one with the fewest changes.
        let index_by_name = candidates.collect::<Vec<_>>().into_iter().rev().max_by_key(hits)?;
        let hits = hits(&index_by_name);
        if best.is_none() || hits > most {
            most = hits;
            best = Some(BestNaming { naming, expected, index_by_name });
        }
    }
    best
}

/// The names with the numbers that torchvision's linear layers have. Dropout has no parameters, but it counts as a
/// layer: the classifier that was trained with Caffe and that of torchvision 0.1 begin with it, and other people's do
/// not have it at all. `None` if there are more or fewer layers with parameters in the file, or no room for an activation
/// between two of them.
fn renumbered(architecture: &Architecture, names: &IndexByName) -> Option<IndexByName> {
    let split = |name: &str| -> Option<(usize, String)> {
        let (number, attribute) = name.strip_prefix("classifier.")?.split_once('.')?;
        Some((number.parse().ok()?, attribute.into()))
    };
    let numbers = names.keys().filter_map(|name| split(name)).map(|(number, _)| number);
    let found = Vec::from_iter(BTreeSet::from_iter(numbers));
    let linear = architecture.steps().iter();
    let linear: Vec<&str> = linear
        .filter(|step| matches!(step.layer, Layer::Linear { .. }))
        .map(|step| step.key.as_str())
        .collect();
    let have_room = found.windows(2).all(|pair| pair[0] + 1 < pair[1]);
    if found.len() != linear.len() || !have_room {
        return None;
    }
    let new_name = |name: &String| -> String {
        let renamed = split(name).and_then(|(number, attribute)| {
            let at = found.iter().position(|found| *found == number)?;
            Some(format!("{}.{attribute}", linear[at]))
        });
        renamed.unwrap_or_else(|| name.clone())
    };
    let renamed: IndexByName = names.iter().map(|(name, &at)| (new_name(name), at)).collect();
    (renamed.len() == names.len()).then_some(renamed)
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
        index_by_name: &index_by_name,
        part,
        attempt: MatchAttempt {
            matched: MatchedTensors {
                naming,
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
                matched.parameters.insert(parameter.key.clone(), index);
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
            if let Some(key) = self.counter_key(name, index) {
                self.attempt.matched.counters.insert(key, index);
            } else {
                let name = &self.tensors[index].name;
                let difference = format!("{name}: extra, no such tensor in this network");
                self.attempt.differences.push(difference);
            }
        }
    }

    /// If the tensor is the batch counter of a batch norm, the key that it has in torchvision's naming. The
    /// count is not used, but passed on when a file is converted.
    fn counter_key(&self, name: &str, index: usize) -> Option<String> {
        let layer = name.strip_suffix("num_batches_tracked")?;
        let mean = format!("{layer}running_mean");
        let (parameter, _) = self.pairs.iter().find(|(_, named)| named.name == mean)?;
        let layer = parameter.key.strip_suffix("running_mean")?;
        is_counter(&self.tensors[index]).then(|| format!("{layer}num_batches_tracked"))
    }
}

/// Whether the tensor is a single number. It may have any type: scripts that convert all tensors to f16
/// convert counters, too.
fn is_counter(tensor: &TensorEntry) -> bool {
    matches!(tensor.shape(), [] | [1])
}
