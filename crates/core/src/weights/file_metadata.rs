//! The entries that this crate reads from and writes to the metadata of a safetensors file: the network,
//! the preset, the labels, the recipe, and the accuracy.

use super::limits::MAX_NAME_BYTES;
use crate::architecture::Architecture;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use crate::vision::{Labels, Preset};
use std::path::Path;

/// The key of the network's name.
pub(super) const NETWORK: &str = "network";
/// The key of the height and width that the network was designed for, in files that hold its layers: the padding of the
/// 2012 network depends on it.
pub(super) const INPUT_SIZE: &str = "input_size";
/// The key of the preset: its name, or the whole preset as JSON.
pub(super) const PRESET: &str = "preset";
/// The key of the labels: a JSON list of strings.
pub(super) const LABELS: &str = "labels";
/// The key of the recipe, as text.
pub(super) const RECIPE: &str = "recipe";
/// The key of the accuracy, in words.
pub(super) const ACCURACY: &str = "accuracy";

/// The entries for a network and its metadata.
pub(super) fn entries(network: &str, metadata: &Metadata) -> Vec<(String, String)> {
    let mut entries = vec![
        // The transformers library requires this one.
        ("format".to_string(), "pt".to_string()),
        (NETWORK.to_string(), network.to_string()),
    ];
    if let Some(preset) = &metadata.preset {
        entries.push((PRESET.into(), preset_to_text(preset)));
    }
    if let Some(labels) = &metadata.labels {
        entries.push((LABELS.into(), serde_json::json!(labels.names()).to_string()));
    }
    let texts = [(RECIPE, &metadata.recipe), (ACCURACY, &metadata.accuracy)].into_iter();
    entries.extend(texts.filter_map(|(key, text)| Some((key.into(), text.clone()?))));
    entries
}

/// The name of the preset, if that identifies it, otherwise all of it as JSON.
pub(super) fn preset_to_text(preset: &Preset) -> String {
    if Preset::by_name(&preset.name).is_ok_and(|known| known == *preset) {
        preset.name.clone()
    } else {
        serde_json::to_string(preset).unwrap_or_default()
    }
}

pub(super) fn preset_from_text(text: &str) -> Result<Preset> {
    if !text.starts_with('{') {
        return Preset::by_name(text);
    }
    Preset::from_json(text)
}

pub(super) fn labels_from_json(text: &str) -> Result<Labels> {
    let names: Vec<String> = serde_json::from_str(text).map_err(|error| Error::Setting {
        place: "labels".into(),
        expected: "a list of names as JSON".into(),
        found: error.to_string(),
    })?;
    names.iter().try_for_each(|name| check_length(name))?;
    Ok(Labels::new(names))
}

/// Checks that a file of this network may have these labels: one for each class, none of them too long.
pub(super) fn check_labels(labels: &Labels, architecture: &Architecture) -> Result<()> {
    // A single output may be a score, which has a name and no classes.
    if [labels.count(), architecture.num_classes()] != [1, 1] {
        labels.expect_classes(architecture.num_classes())?;
    }
    labels.names().iter().try_for_each(|name| check_length(name))
}

fn check_length(name: &str) -> Result<()> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    let start: String = name.chars().take(40).collect();
    Err(Error::Setting {
        place: "labels".into(),
        expected: format!("names of at most {MAX_NAME_BYTES} bytes"),
        found: format!("{start}... of {} bytes", name.len()),
    })
}

/// The error of an entry, with the file that has it.
pub(super) fn error_in_file(path: &Path, error: Error) -> Error {
    let path = path.to_path_buf();
    match error {
        Error::Setting { place, expected, found } => {
            Error::WeightsMetadata { path, place, expected, found }
        }
        Error::UnknownName { kind, name, known } => {
            let expected = format!("one of {known}, or a preset as JSON");
            Error::WeightsMetadata { path, place: kind, expected, found: name }
        }
        Error::LabelsMismatch { place, classes, labels } => {
            let place = format!("{}: {place}", path.display());
            Error::LabelsMismatch { place, classes, labels }
        }
        other => other,
    }
}
