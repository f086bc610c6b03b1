//! Matches the tensors of a file with those of a network, by their names or else by the order of the layers.

use super::file_contents::FileContents;
use super::file_metadata::NETWORK;
use super::matched_tensors::{MatchedTensors, NetworkPart};
use super::name_matching::{MatchAttempt, best_naming, match_names};
use super::name_prefixes::{Candidate, candidates};
use super::order_matching::match_in_order;
use crate::architecture::{Architecture, NetworkConfig};
use crate::error::{Error, Result};
use std::path::Path;

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
    let candidates = candidates(contents);
    let Some(best) = best_naming(architecture, &candidates) else {
        let difference = if contents.tensors.is_empty() {
            "the file has no tensors"
        } else {
            "two names are the same without the prefixes of wrappers, such as DataParallel's"
        };
        return Err(mismatch(vec![difference.into()]));
    };
    let by_name = match_names(contents, architecture, part, best);
    let MatchAttempt { mut matched, mut differences } = by_name;
    if !differences.is_empty() {
        let in_order = |candidate: &Candidate| {
            match_in_order(contents, &candidate.layers, architecture, part).ok()
        };
        if let Some(found) = candidates.iter().find_map(in_order) {
            (matched, differences) = (found, Vec::new());
        }
    }
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
