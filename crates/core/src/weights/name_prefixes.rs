//! The tensors of a file, without the prefixes that wrappers add to their names.

use super::file_contents::FileContents;
use super::file_layers::FileLayers;
use super::lpips_parts::lpips_parts;
use super::normalization::{is_part, normalization};
use super::tensor_entry::TensorEntry;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What wrappers add: DataParallel, torch.compile, FSDP and activation checkpointing. They may be anywhere in a name.
const WRAPPERS: [&str; 4] =
    ["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// A word in the names of class weights, which a loss has beside the network.
const LOSSES: [&str; 2] = ["loss", "criterion"];
/// The last part of such names.
const CLASS_WEIGHTS: [&str; 3] = ["weight", "pos_weight", "alpha"];

/// How many components (`model.`, `net.backbone.`) may be before the names of the network.
const MAX_COMPONENTS: usize = 4;
/// How many prefixes are tried.
const MAX_PREFIXES: usize = 16;
/// A prefix is that of a network only if there are as many convolutions behind it as AlexNet has.
const MIN_CONVOLUTIONS: usize = 5;

/// Indices of the file's tensors by their names without some prefixes.
pub(super) type IndexByName = HashMap<String, usize>;

/// The tensors that may be a network's.
pub(super) struct Candidate {
    pub names: IndexByName,
    pub layers: FileLayers,
}

/// All tensors, without the prefixes of wrappers, and for each further prefix the tensors that have it, if the
/// others are not of any network. Those in which two names are the same are left out.
pub(super) fn candidates(contents: &FileContents) -> Vec<Candidate> {
    let names = names_without_wrappers(contents);
    let prefixes = network_prefixes(&names, contents);
    let prefixes = std::iter::once(String::new()).chain(prefixes);
    prefixes.filter_map(|prefix| candidate(contents, &names, &prefix)).collect()
}

/// What may be several networks side by side, with their prefixes: each without whatever is beside it.
pub(super) fn side_by_side(contents: &FileContents) -> Vec<(String, Candidate)> {
    let names = names_without_wrappers(contents);
    let prefixes = network_prefixes(&names, contents);
    let depth = |prefix: &String| prefix.matches('.').count();
    let several = prefixes.chunk_by(|a, b| depth(a) == depth(b)).filter(|it| it.len() > 1);
    let candidates = several.flatten().filter_map(|prefix| {
        let mut own = names.clone();
        own.retain(|(name, _)| name.starts_with(prefix.as_str()));
        Some((prefix.clone(), candidate(contents, &own, prefix)?))
    });
    candidates.collect()
}

/// The names of the tensors, except those of a normalization in front of the network and of LPIPS next to it, and
/// their indices.
fn names_without_wrappers(contents: &FileContents) -> Vec<(String, usize)> {
    let has_normalization = normalization(contents).is_some();
    let tensors = contents.tensors.iter().enumerate();
    let of_lpips = lpips_parts(contents);
    let tensors = tensors.filter(|(_, tensor)| {
        let is_of_lpips = of_lpips.iter().any(|part| std::ptr::eq(*part, *tensor));
        !(is_of_lpips || has_normalization && is_part(tensor))
    });
    let names = tensors.map(|(index, tensor)| {
        let components = tensor.name.split('.').filter(|part| !WRAPPERS.contains(part));
        (components.collect::<Vec<_>>().join("."), index)
    });
    names.collect()
}

/// The prefixes behind which there are enough convolutions for a network, the shortest ones first.
fn network_prefixes(names: &[(String, usize)], contents: &FileContents) -> Vec<String> {
    let mut convolutions: BTreeMap<(usize, &str), usize> = BTreeMap::new();
    let is_convolution =
        |(_, index): &&(String, usize)| contents.tensors[*index].shape().len() == 4;
    for (name, _) in names.iter().filter(is_convolution) {
        for (components, (end, _)) in name.match_indices('.').take(MAX_COMPONENTS).enumerate() {
            *convolutions.entry((components, &name[..=end])).or_default() += 1;
        }
    }
    let prefixes = convolutions.into_iter().filter(|(_, count)| *count >= MIN_CONVOLUTIONS);
    prefixes.map(|((_, prefix), _)| prefix.to_string()).take(MAX_PREFIXES).collect()
}

fn candidate<'a>(
    contents: &'a FileContents,
    names: &[(String, usize)],
    prefix: &str,
) -> Option<Candidate> {
    let mut index_by_name = IndexByName::new();
    let mut beside = Vec::new();
    for (name, index) in names {
        match name.strip_prefix(prefix) {
            Some(name) => {
                if index_by_name.insert(name.to_string(), *index).is_some() {
                    return None;
                }
            }
            None => beside.push(&contents.tensors[*index]),
        }
    }
    let place =
        |tensor: &'a TensorEntry| (tensor.first_byte(), tensor.shape(), tensor.dtype.bitsize());
    let inside = index_by_name.values().map(|&index| place(&contents.tensors[index]));
    let inside: HashSet<_> = inside.collect();
    // A counter, the weights of a loss, or the same network once more.
    let is_unrelated = |tensor: &'a TensorEntry| {
        tensor.is_negligible() || is_class_weight(tensor) || inside.contains(&place(tensor))
    };
    if index_by_name.is_empty() || !beside.into_iter().all(is_unrelated) {
        return None;
    }
    let layers = FileLayers::new(contents, &index_by_name);
    Some(Candidate { names: index_by_name, layers })
}

/// Whether it is a vector of weights for the classes, in a loss.
fn is_class_weight(tensor: &TensorEntry) -> bool {
    let Some((module, attribute)) = tensor.name.rsplit_once('.') else { return false };
    let has_word = |word: &str| LOSSES.iter().any(|loss| word.eq_ignore_ascii_case(loss));
    tensor.shape().len() <= 1
        && CLASS_WEIGHTS.contains(&attribute)
        && module.split(['.', '_']).any(has_word)
}
