//! The options of [`train_on_folder`](super::train_on_folder).

use super::CsvOptions;
use super::recipe::Recipe;
use crate::Result;
use crate::backend::Devices;
use crate::models::NetworkConfig;
use crate::vision::Preset;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What [`train_on_folder`](super::train_on_folder) trains.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FolderOptions {
    /// The network. Its number of classes is that of the data.
    pub network: NetworkConfig,
    /// The recipe.
    pub recipe: Recipe,
    /// A weights file to initialize the network from. If it is for the same network, everything
    /// that [fits](crate::models::Network::init_from_pretrained) is used; if it is for a shallower
    /// VGG, the layers that the VGG paper [reuses](crate::models::Network::init_from_shallower).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Side of the square that the network sees, in pixels.
    pub input: u32,
    /// Short side that validation pictures are resized to, in pixels. Default: 8/7 of `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resize: Option<u32>,
    /// The preprocessing, to be done at the sizes above. Default: that of the weights, or ImageNet's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The factor by which the network's channels and hidden features are scaled.
    pub width: f64,
    /// How the CSV files of the data list pictures, where the files themselves do not tell.
    #[serde(default)]
    pub csv: CsvOptions,
    /// The fraction of every class that is used for validation, if the data has no validation set.
    pub validation_fraction: f64,
    /// The number of pictures of each class to train on, instead of all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<usize>,
    /// The devices to train on, instead of the `device` of [`train_on_folder`](super::train_on_folder).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Devices>,
    /// Whether the two halves of the network run on the two `devices`, as in 2012 (see [`TwoGpuNetwork`](crate::models::TwoGpuNetwork)), instead
    /// of a copy on each device. Without `devices`, both halves run on the same one.
    pub two_gpu: bool,
}

impl FolderOptions {
    /// A network of full width with random weights and an input of 224 pixels; a tenth of the
    /// pictures are used for validation.
    pub fn new(network: NetworkConfig, recipe: Recipe) -> Self {
        Self {
            network,
            recipe,
            weights: None,
            input: 224,
            resize: None,
            preset: None,
            width: 1.0,
            csv: CsvOptions::default(),
            validation_fraction: 0.1,
            per_class: None,
            devices: None,
            two_gpu: false,
        }
    }

    /// The preprocessing that is chosen, or that the weights were trained with, or ImageNet's, at the size of the
    /// input.
    pub(super) fn preset_at_input(&self, of_weights: Option<Preset>) -> Result<Preset> {
        let preset = self.preset.clone().or(of_weights).unwrap_or_else(Preset::imagenet);
        let resize = self.resize.unwrap_or(self.input.saturating_mul(8) / 7);
        let name = if (preset.crop, preset.resize) == (self.input, resize) {
            preset.name.clone()
        } else {
            format!("{} at {}", preset.name, self.input)
        };
        let preset = Preset { name, crop: self.input, resize, ..preset };
        preset.validate()?;
        Ok(preset)
    }
}
