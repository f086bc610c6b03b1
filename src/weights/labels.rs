//! The names of the classes in a file: a JSON list among its metadata.

use super::contents::LONGEST_NAME;
use super::reading::Wanted;
use super::{LABELS, Weights};
use crate::error::{Error, Result};
use crate::models::Architecture;
use crate::vision::Labels;

impl Weights {
    /// The names of the classes that the file was written with: a JSON list of them, under `labels` in
    /// the file's metadata (safetensors only). `None` if it does not say.
    ///
    /// # Errors
    /// [`Error::Setting`] if they are no list of names of at most 512 bytes.
    pub fn labels(&self) -> Result<Option<Labels>> {
        let Some(text) = self.contents.metadata.get(LABELS) else { return Ok(None) };
        from_json(text).map(Some).map_err(|error| self.in_this_file(error))
    }

    /// Those of this network's classes. A file's features go with any classifier, and its labels with
    /// none but its own.
    pub(super) fn labels_of(
        &self,
        architecture: &Architecture,
        wanted: Wanted,
    ) -> Result<Option<Labels>> {
        if wanted == Wanted::Features || architecture.classifier.is_empty() {
            return Ok(None);
        }
        let labels = self.labels()?;
        let expected = labels.iter().try_for_each(|labels| expect(labels, architecture));
        expected.map(|()| labels).map_err(|error| self.in_this_file(error))
    }
}

/// `Ok` if a file of this network may have them.
pub(super) fn expect(labels: &Labels, architecture: &Architecture) -> Result<()> {
    labels.expect_classes(architecture.num_classes()?)?;
    labels.names().iter().try_for_each(|name| expect_length(name))
}

fn expect_length(name: &str) -> Result<()> {
    match name.len() <= LONGEST_NAME {
        true => Ok(()),
        false => Err(Error::Setting {
            place: "labels".into(),
            expected: format!("names of at most {LONGEST_NAME} bytes"),
            found: format!("{} of {}", name.chars().take(40).collect::<String>(), name.len()),
        }),
    }
}

pub(super) fn to_json(labels: &Labels) -> String {
    serde_json::json!(labels.names()).to_string()
}

fn from_json(text: &str) -> Result<Labels> {
    let names: Vec<String> = serde_json::from_str(text).map_err(|error| Error::Setting {
        place: "labels".into(),
        expected: "a list of names as JSON".into(),
        found: error.to_string(),
    })?;
    names.iter().try_for_each(|name| expect_length(name))?;
    Ok(Labels::new(names))
}
