//! Matches the layers of a file with those of a network by their order and shapes, whatever they are called.
//!
//! Repositories name the same layers in many ways: as one `Sequential` (`0.weight` to `38.weight`), as blocks, with
//! linear layers of other names or numbers. What remains is the order.

use super::file_contents::FileContents;
use super::file_layers::{FileLayer, FileLayers};
use super::matched_tensors::{MatchedTensors, NetworkPart, ParameterSource};
use super::tensor_entry::is_float;
use crate::architecture::{Architecture, Layer, Parameter, Role, Section, Step};
use std::collections::HashMap;

/// A pair of layers: of the network, and of the file.
type Pair<'a> = (&'a Step, &'a FileLayer);

/// The tensors of the network among these layers.
///
/// # Errors
/// The first difference, in words.
pub(super) fn match_in_order(
    contents: &FileContents,
    layers: &FileLayers,
    architecture: &Architecture,
    part: NetworkPart,
) -> Result<MatchedTensors, String> {
    let tensors = &contents.tensors;
    if !layers.is_ordered {
        return Err("the names of the layers do not show their order".into());
    }
    if let Some(&extra) = layers.others.iter().find(|&&index| !tensors[index].is_negligible()) {
        return Err(format!("{}: extra, of no layer of this network", tensors[extra].name));
    }
    let pairs = pairs(layers, architecture, part)?;
    check_numbers(&pairs)?;
    let mut matched =
        MatchedTensors { naming: None, parameters: HashMap::new(), counters: HashMap::new() };
    let pool = architecture.steps().iter().find(|step| step.section == Section::AvgPool);
    let map = pool.map_or(&[][..], |pool| pool.output.dims());
    for pair in pairs {
        match_layer(contents, pair, map, &mut matched)?;
    }
    check_biases(&matched, architecture)?;
    Ok(matched)
}

/// Each layer of the network that has parameters, with that of the file.
fn pairs<'a>(
    layers: &'a FileLayers,
    architecture: &'a Architecture,
    part: NetworkPart,
) -> Result<Vec<Pair<'a>>, String> {
    let steps = |is_of_kind: fn(&Layer) -> bool| -> Vec<&Step> {
        architecture.steps().iter().filter(|step| is_of_kind(&step.layer)).collect()
    };
    let convolutions = steps(|layer| matches!(layer, Layer::Conv { .. }));
    let batch_norms = steps(|layer| matches!(layer, Layer::BatchNorm));
    let mut linear = steps(|layer| matches!(layer, Layer::Linear { .. }));
    let split = convolutions.len().min(layers.convolutions.len());
    let (found, head) = layers.convolutions.split_at(split);
    let mut head: Vec<&FileLayer> = head.iter().chain(&layers.linear).collect();
    if part == NetworkPart::Features {
        linear.clear();
        head.clear();
    }
    let mut pairs = Vec::new();
    for (kind, steps, found) in [
        ("convolutions", convolutions, found.iter().collect()),
        ("batch norms", batch_norms, layers.batch_norms.iter().collect()),
        ("linear layers", linear, head),
    ] {
        let [expected, count] = [steps.len(), found.len()];
        if expected != count {
            return Err(format!("expected {expected} {kind}, found {count}"));
        }
        pairs.extend(steps.into_iter().zip::<Vec<&FileLayer>>(found));
    }
    // In the order of the network.
    pairs.sort_by_key(|(step, _)| std::ptr::from_ref(*step));
    Ok(pairs)
}

/// Where the layers are numbered within a `Sequential`, the numbers count the layers without parameters, too.
/// In the classifier, dropout may be anywhere or missing, but there must be room for an activation.
fn check_numbers(pairs: &[Pair]) -> Result<(), String> {
    let number = |name: &str| -> Option<(String, usize)> {
        let (module, number) = name.rsplit_once('.').unwrap_or(("", name));
        Some((module.to_string(), number.parse().ok()?))
    };
    for pair in pairs.windows(2) {
        let [(a, in_file_a), (b, in_file_b)] = [pair[0], pair[1]];
        let found = number(&in_file_a.name).zip(number(&in_file_b.name));
        let Some(((module_a, a_number), (module_b, b_number))) = found else { continue };
        let (Some((_, a_at)), Some((_, b_at))) = (number(&a.key), number(&b.key)) else { continue };
        if module_a != module_b {
            continue;
        }
        let found = b_number.saturating_sub(a_number);
        let fits = match (a.section, b.section) {
            (Section::Features, Section::Features) => found == b_at - a_at,
            _ => found >= 2,
        };
        if !fits {
            let (a, b) = (&in_file_a.name, &in_file_b.name);
            return Err(format!(
                "{a} and {b}: the layers between them are not those of this network"
            ));
        }
    }
    Ok(())
}

fn match_layer(
    contents: &FileContents,
    (step, layer): Pair,
    map: &[usize],
    matched: &mut MatchedTensors,
) -> Result<(), String> {
    for parameter in &step.parameters {
        let index = match parameter.role {
            Role::Weight => layer.weight,
            Role::Bias => layer.bias,
            Role::RunningMean => layer.running_mean,
            Role::RunningVar => layer.running_var,
        };
        let source = match index {
            None if parameter.role == Role::Bias => ParameterSource::Zeros,
            None => return Err(format!("{}: incomplete", layer.name)),
            Some(index) => {
                let tensor = &contents.tensors[index];
                let (expected, found) = (&parameter.shape, tensor.shape());
                if found != expected && !is_written_as_convolution(map, expected, found) {
                    let name = &tensor.name;
                    return Err(format!("{name}: expected shape {expected:?}, found {found:?}"));
                }
                if !is_float(tensor.dtype) {
                    return Err(format!(
                        "{}: expected floats, found {}",
                        tensor.name, tensor.dtype
                    ));
                }
                ParameterSource::Tensor(index)
            }
        };
        matched.parameters.insert(parameter.key.clone(), source);
    }
    if let Some(batches) = layer.batches {
        let tensor = &contents.tensors[batches];
        if !tensor.is_negligible() {
            return Err(format!("{}: expected a number, found {:?}", tensor.name, tensor.shape()));
        }
        matched.counters.insert(format!("{}.num_batches_tracked", step.key), batches);
    }
    Ok(())
}

/// Whether the weight of a linear layer is that of a convolution over the whole `map`, `[out, C, height, width]`, or
/// over a single cell. The values are the same.
fn is_written_as_convolution(map: &[usize], expected: &[usize], found: &[usize]) -> bool {
    let (&[outputs, inputs], &[found_outputs, ref window @ ..]) = (expected, found) else {
        return false;
    };
    let is_whole_map = window == map && map.iter().product::<usize>() == inputs;
    outputs == found_outputs && (is_whole_map || *window == [inputs, 1, 1])
}

/// Convolutions, or linear layers, have biases all or none: a single one that is missing was lost. Matrices without
/// biases beside convolutions that have them are no linear layers: embeddings, or centers of a loss.
fn check_biases(matched: &MatchedTensors, architecture: &Architecture) -> Result<(), String> {
    let biases = |section: Section| -> Vec<(&Parameter, bool)> {
        let steps = architecture.steps().iter().filter(|step| step.section == section);
        let steps = steps.filter(|step| !matches!(step.layer, Layer::BatchNorm));
        let biases = steps.flat_map(|step| &step.parameters).filter(|it| it.role == Role::Bias);
        let sources = biases.filter_map(|bias| Some((bias, matched.parameters.get(&bias.key)?)));
        sources.map(|(bias, it)| (bias, matches!(it, ParameterSource::Tensor(_)))).collect()
    };
    let [features, classifier] = [Section::Features, Section::Classifier].map(biases);
    let has_any = |biases: &[(&Parameter, bool)]| biases.iter().any(|&(_, is_there)| is_there);
    if has_any(&features) && !classifier.is_empty() && !has_any(&classifier) {
        return Err("the linear layers have no biases, unlike the convolutions".into());
    }
    for biases in [features, classifier] {
        let missing = biases.iter().find(|(_, is_there)| !is_there);
        if let Some((bias, _)) = missing
            && has_any(&biases)
        {
            return Err(format!("{}: missing, but other layers have biases", bias.key));
        }
    }
    Ok(())
}
