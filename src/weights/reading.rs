//! Which tensor of a file is which of the network: the naming is found, and the prefixes that
//! wrappers add.

use super::naming::{Named, Naming};
use super::stored::{Stored, is_read};
use super::{NETWORK, Weights};
use crate::error::{Error, Result};
use crate::models::{Architecture, NetworkConfig, Parameter, Part};
use std::collections::{HashMap, HashSet};

/// How many components that all names share (`model.`, `net.backbone.`) are taken off at most.
const MOST_PREFIXES: usize = 3;

/// How many networks PyTorch's `AveragedModel` has averaged. Nothing here needs it.
const AVERAGED: &str = "n_averaged";

/// The file's tensors by their names without prefixes.
pub(super) type ByName = HashMap<String, usize>;

/// Which of a network's tensors are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All, and nothing else in the file.
    All,
    /// The convolutional part; the file may have any classifier.
    Features,
}

/// A network's tensors in a file.
#[derive(Debug)]
pub(super) struct Reading {
    pub naming: Naming,
    /// Index of the file's tensor for each of ours, by our key.
    pub tensors: HashMap<String, usize>,
    /// The batches that each batch norm has seen, by our key of the counter.
    pub counters: HashMap<String, usize>,
}

/// The best reading of the file as this network; complete only if it has no differences.
pub(super) struct Attempt {
    pub reading: Reading,
    pub differences: Vec<String>,
}

impl Weights {
    /// The network's tensors in this file.
    pub(super) fn read_as(&self, architecture: &Architecture, wanted: Wanted) -> Result<Reading> {
        let Attempt { reading, differences } = self.attempt(architecture, wanted)?;
        let mut differences = differences;
        // Layers without parameters are not seen in tensors: what we wrote says what it is.
        if let Some(stated) = self.contents.metadata.get(NETWORK)
            && *stated != architecture.name
            && wanted == Wanted::All
            && NetworkConfig::by_name(stated).is_ok()
        {
            differences.push(format!("the file says that it is of {stated}"));
        }
        match differences.is_empty() {
            true => Ok(reading),
            false => Err(self.mismatch(architecture, differences)),
        }
    }

    /// Reads the file with the naming and prefix under which it has most of the network's tensors.
    pub(super) fn attempt(&self, architecture: &Architecture, wanted: Wanted) -> Result<Attempt> {
        let candidates = self.candidates();
        let Some(best) = Self::best(architecture, &candidates)? else {
            let why = match self.contents.tensors.is_empty() {
                true => "the file holds no tensors",
                false => "two names are one without the prefixes of DataParallel or torch.compile",
            };
            return Err(self.mismatch(architecture, vec![why.into()]));
        };
        self.attempt_as(architecture, wanted, best)
    }

    fn mismatch(&self, architecture: &Architecture, differences: Vec<String>) -> Error {
        Error::WeightsMismatch {
            path: self.source.place().into(),
            network: architecture.name.clone(),
            differences,
        }
    }

    /// The same for names that are known to be the best.
    pub(super) fn attempt_as(
        &self,
        architecture: &Architecture,
        wanted: Wanted,
        (naming, named, by_name): (Naming, Vec<Named>, &ByName),
    ) -> Result<Attempt> {
        let parameters = architecture.parameters()?;
        let pairs: Vec<(Parameter, Named)> = parameters.into_iter().zip(named).collect();
        let mut attempt = Attempt {
            reading: Reading { naming, tensors: HashMap::new(), counters: HashMap::new() },
            differences: Vec::new(),
        };
        attempt.match_tensors(self, &pairs, by_name, wanted);
        attempt.match_rest(self, &pairs, by_name, wanted);
        Ok(attempt)
    }

    /// The naming under which the file has most of the network's tensors, and its names without the
    /// prefixes that hide them.
    pub(super) fn best<'a>(
        architecture: &Architecture,
        candidates: &'a [ByName],
    ) -> Result<Option<(Naming, Vec<Named>, &'a ByName)>> {
        let mut best = None;
        let mut most = 0;
        for naming in Naming::ALL {
            let named = naming.tensors(architecture)?;
            let hits = |by_name: &&ByName| {
                named.iter().filter(|named| by_name.contains_key(&named.name)).count()
            };
            // Of equals the first, which has less taken off.
            let Some(by_name) = candidates.iter().rev().max_by_key(hits) else { return Ok(None) };
            let hits = hits(&by_name);
            if best.is_none() || hits > most {
                most = hits;
                best = Some((naming, named, by_name));
            }
        }
        Ok(best)
    }

    /// The file's names as they are, and with what wrappers put before them taken off; none if two
    /// names become one.
    pub(super) fn candidates(&self) -> Vec<ByName> {
        let tensors = self.contents.tensors.iter().enumerate();
        let names: Vec<(Vec<&str>, usize)> = tensors
            .map(|(index, tensor)| {
                let components = tensor.name.split('.');
                let components = components.filter(|&part| part != "module" && part != "_orig_mod");
                (components.collect(), index)
            })
            .filter(|(name, index): &(Vec<&str>, _)| {
                name[..] != [AVERAGED] || !is_count(&self.contents.tensors[*index])
            })
            .collect();
        let mut candidates = Vec::new();
        for prefixes in 0..=MOST_PREFIXES {
            let by_name: ByName =
                names.iter().map(|(parts, index)| (parts[prefixes..].join("."), *index)).collect();
            if !by_name.is_empty() && by_name.len() == names.len() {
                candidates.push(by_name);
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
}

impl Attempt {
    /// Each tensor that the network wants: there, of its shape, of a type that is read.
    fn match_tensors(
        &mut self,
        weights: &Weights,
        pairs: &[(Parameter, Named)],
        by_name: &ByName,
        wanted: Wanted,
    ) {
        for (parameter, Named { name, shape, part }) in pairs {
            if wanted == Wanted::Features && *part == Part::Classifier {
                continue;
            }
            let Some(&index) = by_name.get(name) else {
                self.differences.push(format!("{name}: missing, expected {shape:?}"));
                continue;
            };
            let found = &weights.contents.tensors[index];
            let difference = match found.dtype {
                _ if found.shape() != shape => {
                    Some(format!("expected shape {shape:?}, found {:?}", found.shape()))
                }
                dtype if is_read(dtype) => None,
                other => Some(format!("expected F32, F16, BF16 or F64, found {other}")),
            };
            match difference {
                Some(difference) => self.differences.push(format!("{}: {difference}", found.name)),
                None => drop(self.reading.tensors.insert(parameter.key.clone(), index)),
            }
        }
    }

    /// Tensors that the network does not have: PyTorch's counters of batches, a classifier that
    /// nobody wants, and differences.
    fn match_rest(
        &mut self,
        weights: &Weights,
        pairs: &[(Parameter, Named)],
        by_name: &ByName,
        wanted: Wanted,
    ) {
        let names: HashSet<&str> = pairs.iter().map(|(_, named)| named.name.as_str()).collect();
        let is_left = |name: &str| wanted == Wanted::Features && Naming::is_of_classifier(name);
        let mut rest: Vec<(&String, usize)> = (by_name.iter())
            .filter(|(name, _)| !names.contains(name.as_str()) && !is_left(name))
            .map(|(name, &index)| (name, index))
            .collect();
        rest.sort_by_key(|&(_, index)| index);
        for (name, index) in rest {
            match counter_key(weights, pairs, name, index) {
                Some(key) => drop(self.reading.counters.insert(key, index)),
                None => self.differences.push(format!(
                    "{}: extra, no such tensor in this network",
                    weights.contents.tensors[index].name
                )),
            }
        }
    }
}

/// Our key of a batch norm's counter of batches, if the tensor is one. Nothing here needs the count,
/// but it is passed on.
fn counter_key(
    weights: &Weights,
    pairs: &[(Parameter, Named)],
    name: &str,
    index: usize,
) -> Option<String> {
    let tensor = &weights.contents.tensors[index];
    let layer = name.strip_suffix("num_batches_tracked")?;
    let mean = format!("{layer}running_mean");
    let (parameter, _) = pairs.iter().find(|(_, named)| named.name == mean)?;
    let ours = parameter.key.strip_suffix("running_mean")?;
    is_count(tensor).then(|| format!("{ours}num_batches_tracked"))
}

/// One number, of any type: scripts that make all tensors f16 do so with counters, too.
fn is_count(tensor: &Stored) -> bool {
    matches!(tensor.shape(), [] | [1])
}
