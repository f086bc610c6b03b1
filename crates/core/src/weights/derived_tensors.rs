//! Parameters that a file has only as the factors that PyTorch computes them from: those of pruned layers
//! (a tensor and a mask) and of layers with weight normalization (a direction and a magnitude).

use super::format_error::FormatError;
use super::tensor_entry::{Factor, TensorEntry, is_float};
use safetensors::tensor::Dtype;
use std::collections::HashMap;

/// What is derived: the names of the tensor, of its factor, and of the result.
struct Derivation {
    base: String,
    factor: String,
    result: String,
    is_mask: bool,
}

/// Replaces each tensor that has a factor by their product, in its place.
///
/// # Errors
/// For parameters that are computed in any other way.
pub(super) fn combine(tensors: &mut Vec<TensorEntry>) -> Result<(), FormatError> {
    let index_by_name: HashMap<String, usize> =
        tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), at)).collect();
    let mut factors = Vec::new();
    for at in 0..tensors.len() {
        refuse_other_derivations(&tensors[at].name, &index_by_name)?;
        let Some(derivation) = derivation(&tensors[at].name) else { continue };
        let base = index_by_name.get(&derivation.base).map(|&at| &tensors[at]);
        let factor = index_by_name.get(&derivation.factor).copied();
        let (Some(base), Some(factor)) = (base, factor) else { continue };
        if base.name != tensors[at].name || index_by_name.contains_key(&derivation.result) {
            continue;
        }
        let entry = checked(base, &tensors[factor], &derivation)?;
        tensors[at].name = derivation.result;
        tensors[at].factor = Some(Box::new(entry));
        factors.push(factor);
    }
    factors.sort_unstable();
    for at in factors.into_iter().rev() {
        tensors.remove(at);
    }
    Ok(())
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

/// Spectral normalization and parametrizations of one's own compute values that are not in the file.
fn refuse_other_derivations(
    name: &str,
    index_by_name: &HashMap<String, usize>,
) -> Result<(), FormatError> {
    let error = |parameter: &str, found: &str, call: &str| {
        let expected = format!("the values of {parameter:?} (call {call} before saving)");
        Err(FormatError::new(expected, format!("{found}: {name:?}")))
    };
    if let Some(parameter) = name.strip_suffix("_orig")
        && index_by_name.contains_key(&format!("{parameter}_u"))
    {
        return error(parameter, "spectral normalization", "torch.nn.utils.remove_spectral_norm");
    }
    if let Some(parameter) = name.strip_suffix(".original").and_then(parametrized) {
        let call = "torch.nn.utils.parametrize.remove_parametrizations";
        return error(&parameter, "a parametrization, such as spectral normalization", call);
    }
    Ok(())
}

/// The factor, if it has the right shape and type.
fn checked(
    base: &TensorEntry,
    factor: &TensorEntry,
    derivation: &Derivation,
) -> Result<Factor, FormatError> {
    let is_mask = derivation.is_mask;
    let has_type =
        is_float(factor.dtype) || is_mask && matches!(factor.dtype, Dtype::BOOL | Dtype::U8);
    // One length for each row.
    let mut lengths = vec![1; base.shape().len()];
    lengths.iter_mut().zip(base.shape()).take(1).for_each(|(length, &rows)| *length = rows);
    let shape = if is_mask { base.shape() } else { &lengths };
    if is_float(base.dtype) && has_type && factor.shape() == shape && !shape.is_empty() {
        let factor = factor.clone();
        return Ok(if is_mask { Factor::Mask(factor) } else { Factor::Magnitude(factor) });
    }
    let what = if is_mask { "a mask" } else { "weight normalization over each row, a magnitude" };
    let found = format!("{} {:?} of type {}", factor.name, factor.shape(), factor.dtype);
    Err(FormatError::new(format!("{what} of shape {shape:?} for {:?}", base.name), found))
}
