//! The tensors that a key chooses among those of a file.

use super::description::listed;
use super::format_error::FormatError;
use std::collections::BTreeSet;

/// The tensors whose names begin with `prefix` and a dot, without both. `keys` is what else could have been
/// chosen, for the error.
pub(super) fn under_prefix<T>(
    tensors: Vec<(String, T)>,
    prefix: &str,
    keys: Vec<String>,
) -> Result<Vec<(String, T)>, FormatError> {
    let without = |name: &str| Some(name.strip_prefix(prefix)?.strip_prefix('.')?.to_string());
    let parts = |name: &str| name.split_once('.').map(|(first, _)| first.to_string());
    let known: BTreeSet<String> = tensors.iter().filter_map(|(name, _)| parts(name)).collect();
    let selected: Vec<(String, T)> =
        tensors.into_iter().filter_map(|(name, it)| Some((without(&name)?, it))).collect();
    if !selected.is_empty() {
        return Ok(selected);
    }
    let known = listed(known.into_iter().collect());
    let mut found = format!("names of tensors that begin with {known}");
    if !keys.is_empty() {
        found = format!("the keys {}, and {found}", listed(keys));
    }
    Err(FormatError::new(format!("a key {prefix:?}, or tensors whose names begin with it"), found))
}
