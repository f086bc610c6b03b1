//! Parameters that a file has only as the factors that PyTorch computes them from: those of pruned layers
//! (a tensor and a mask) and of layers with weight normalization (a direction and a magnitude).

use super::description::listed;
use super::format_error::FormatError;
use super::tensor_entry::{TensorEntry, is_float};
use super::tensor_factor::{Factor, Length};
use safetensors::tensor::Dtype;
use std::collections::{HashMap, HashSet};

/// What is derived: the names of the tensor, of its factor, and of the result.
struct Derivation {
    base: String,
    factor: String,
    result: String,
    is_mask: bool,
}

/// Replaces each tensor that has a factor by their product, in its place. Returns a notice if some were taken for
/// weight normalization, because a parametrization of one's own can have tensors of the same names and shapes.
///
/// # Errors
/// For parameters that are computed in any other way, or in two ways at once.
pub(super) fn combine(tensors: &mut Vec<TensorEntry>) -> Result<Option<String>, FormatError> {
    let index_by_name: HashMap<String, usize> =
        tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), at)).collect();
    let (mut factors, mut normalized) = (Vec::new(), Vec::new());
    let mut results = HashSet::new();
    for at in 0..tensors.len() {
        refuse_other_derivations(&tensors[at].name, &index_by_name)?;
        let Some(derivation) = derivation(&tensors[at].name) else { continue };
        let base = index_by_name.get(&derivation.base).map(|&at| &tensors[at]);
        let factor = index_by_name.get(&derivation.factor).copied();
        let (Some(base), Some(factor)) = (base, factor) else { continue };
        if base.name != tensors[at].name || index_by_name.contains_key(&derivation.result) {
            continue;
        }
        if !results.insert(derivation.result.clone()) {
            let expected = format!("one way to compute {:?}", derivation.result);
            let found = format!("a second, from {:?}", base.name);
            return Err(FormatError::new(expected, found));
        }
        let entry = checked(base, &tensors[factor], &derivation)?;
        if !derivation.is_mask {
            normalized.push(derivation.result.clone());
        }
        tensors[at].name = derivation.result;
        tensors[at].factor = Some(Box::new(entry));
        factors.push(factor);
    }
    factors.sort_unstable();
    for at in factors.into_iter().rev() {
        tensors.remove(at);
    }
    Ok((!normalized.is_empty()).then(|| weight_norm_notice(normalized)))
}

fn weight_norm_notice(normalized: Vec<String>) -> String {
    format!(
        "computed as PyTorch's weight normalization, g * v / |v|, from two tensors each: {}; if these tensors are of a \
         parametrization of your own, call {REMOVE} before saving",
        listed(normalized)
    )
}

/// What the tensor of this name is a base of.
fn derivation(name: &str) -> Option<Derivation> {
    let new = |factor: String, result: String, is_mask| {
        Some(Derivation { base: name.into(), factor, result, is_mask })
    };
    if let Some(result) = name.strip_suffix("_orig") {
        return new(format!("{result}_mask"), result.into(), true);
    }
    if let Some(result) = name.strip_suffix("_v") {
        return new(format!("{result}_g"), result.into(), false);
    }
    let original = name.strip_suffix("original1")?;
    new(format!("{original}original0"), parametrized(original)?, false)
}

/// The name of the parameter that `.parametrizations.NAME.` is about.
fn parametrized(name: &str) -> Option<String> {
    let (layer, parameter) = match name.strip_prefix("parametrizations.") {
        Some(parameter) => ("", parameter),
        None => name.split_once(".parametrizations.")?,
    };
    let parameter = parameter.split('.').next()?;
    Some(if layer.is_empty() { parameter.into() } else { format!("{layer}.{parameter}") })
}

/// PyTorch's function that leaves the computed value.
const REMOVE: &str = "torch.nn.utils.parametrize.remove_parametrizations";

fn not_computed(parameter: &str, found: String, call: &str) -> FormatError {
    let expected = format!("the values of {parameter:?} (call {call} before saving)");
    FormatError::new(expected, found)
}

/// Spectral normalization and parametrizations of one's own compute values that are not in the file.
fn refuse_other_derivations(
    name: &str,
    index_by_name: &HashMap<String, usize>,
) -> Result<(), FormatError> {
    if let Some(parameter) = name.strip_suffix("_orig")
        && index_by_name.contains_key(&format!("{parameter}_u"))
    {
        let found = format!("spectral normalization: {name:?}");
        return Err(not_computed(parameter, found, "torch.nn.utils.remove_spectral_norm"));
    }
    let Some(parameter) = parametrized(name) else { return Ok(()) };
    let (module, attribute) = name.rsplit_once('.').unwrap_or(("", name));
    let has = |attribute: &str| index_by_name.contains_key(&format!("{module}.{attribute}"));
    let is_pair = |one: &str, other: &str| attribute == one && has(other);
    if is_pair("original0", "original1") || is_pair("original1", "original0") {
        return Ok(());
    }
    let found = if attribute == "original" {
        format!("a parametrization, such as spectral normalization: {name:?}")
    } else {
        format!("a parametrization that is not PyTorch's weight normalization: {name:?}")
    };
    Err(not_computed(&parameter, found, REMOVE))
}

/// The factor, if it has the right shape and type.
fn checked(
    base: &TensorEntry,
    factor: &TensorEntry,
    derivation: &Derivation,
) -> Result<Factor, FormatError> {
    if derivation.is_mask { mask(base, factor) } else { length(base, factor, &derivation.result) }
}

fn mask(base: &TensorEntry, factor: &TensorEntry) -> Result<Factor, FormatError> {
    let has_type = is_float(factor.dtype) || matches!(factor.dtype, Dtype::BOOL | Dtype::U8);
    let shape = base.shape();
    if is_float(base.dtype) && has_type && factor.shape() == shape && !shape.is_empty() {
        return Ok(Factor::Mask(factor.clone()));
    }
    let expected = format!("a mask of shape {shape:?} for {:?}", base.name);
    Err(FormatError::new(expected, described(factor)))
}

/// Of PyTorch's weight normalization with `dim=0`, a length for each row; with `dim=None`, one for all.
fn length(base: &TensorEntry, factor: &TensorEntry, result: &str) -> Result<Factor, FormatError> {
    let mut of_rows = vec![1; base.shape().len()];
    of_rows.iter_mut().zip(base.shape()).take(1).for_each(|(length, &rows)| *length = rows);
    if is_float(base.dtype) && is_float(factor.dtype) && of_rows.len() >= 2 {
        match factor.shape() {
            shape if shape == of_rows => return Ok(Factor::RowLengths(factor.clone())),
            [] => return Ok(Factor::Length(Length::new(factor.clone()))),
            _ => {}
        }
    }
    let found = format!(
        "two tensors that are not PyTorch's weight normalization of rows, {} and {}",
        described(factor),
        described(base)
    );
    Err(not_computed(result, found, REMOVE))
}

fn described(tensor: &TensorEntry) -> String {
    format!("{:?} {:?} of type {}", tensor.name, tensor.shape(), tensor.dtype)
}
