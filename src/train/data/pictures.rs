//! Pictures as the input of a network.

use super::picture_list::PictureList;
use crate::train::Examples;
use crate::vision::augment::{Augmentation, Sample};
use crate::vision::{Preset, Views, decode_file};
use crate::{Error, Result};
use serde::Serialize;

/// The pictures of a [`PictureList`], augmented for training, or preprocessed by a preset for validation.
#[derive(Clone, Debug)]
pub struct Pictures {
    list: PictureList,
    augmentation: Option<Augmentation>,
    preset: Preset,
    /// Side of the square crop, in pixels.
    side: u32,
}

impl Pictures {
    /// Without augmentation, every visit to a picture gives its center crop, [`Views::center`].
    ///
    /// # Errors
    /// [`Error::Setting`] if the preset or the augmentation is not valid.
    pub fn new(
        list: PictureList,
        augmentation: Option<Augmentation>,
        preset: Preset,
    ) -> Result<Self> {
        preset.validate()?;
        let preset = preset.for_channels(3)?;
        let side = augmentation.as_ref().map_or(Ok(preset.crop), Augmentation::crop)?;
        Ok(Self { list, augmentation, preset, side })
    }

    /// The pictures.
    pub fn list(&self) -> &PictureList {
        &self.list
    }
}

impl Examples for Pictures {
    fn labels(&self) -> &[String] {
        self.list.labels()
    }

    fn classes(&self) -> &[usize] {
        self.list.classes()
    }

    fn shape(&self) -> [usize; 3] {
        [3, self.side as usize, self.side as usize]
    }

    fn read(&self, index: usize, sample: Sample, out: &mut Vec<f32>) -> Result<()> {
        let photo = decode_file(self.list.path(index))?;
        let shown = match &self.augmentation {
            Some(augmentation) => augmentation.values(&photo, sample, &self.preset, out),
            None => {
                (self.preset.views(&photo, &Views::center())).map(|shown| out.extend(shown.squares))
            }
        };
        // The picture was decoded, but is too small or too narrow. The error does not name its file yet.
        shown.map_err(|error| match error {
            Error::Picture { place, expected, found } => {
                Error::Picture { place: format!("{}, {place}", self.name(index)), expected, found }
            }
            other => other,
        })
    }

    fn name(&self, index: usize) -> String {
        self.list.path(index).display().to_string()
    }

    fn identity(&self) -> Vec<(String, String)> {
        let line = |name: &str, value: String| (name.to_string(), value);
        vec![
            line("pictures", self.list.len().to_string()),
            line("classes", self.list.labels().len().to_string()),
            line("files", self.list.sha256()),
            line("augmentation", json(&self.augmentation)),
            line("preset", json(&self.preset)),
        ]
    }
}

/// As JSON, which can represent names and finite numbers.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
