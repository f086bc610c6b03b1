//! Options of the preprocessing.

use alexnet_vgg_core::architecture::Architecture;
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::{Metadata, Result};
use clap::Args;

#[derive(Args)]
pub struct PresetArgs {
    /// The preprocessing that the weights were trained with: imagenet, caffe, vggface, cifar10, half (mean and std 0.5),
    /// places, or a JSON file (docs/your-weights.md). Default: as stated in the weights file, or imagenet.
    #[arg(long, value_name = "NAME|FILE.json", value_parser = Preset::by_name_or_file)]
    preset: Option<Preset>,
    /// The side of the network's input in pixels, after resizing and cropping, such as 32. Default: the preset's.
    #[arg(long = "input", value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    input_side: Option<u32>,
}

impl PresetArgs {
    /// That of --preset.
    pub fn preset(&self) -> Option<&Preset> {
        self.preset.as_ref()
    }

    /// For a network whose weights have this metadata.
    pub fn of(&self, metadata: &Metadata, network: &Architecture) -> Result<Preset> {
        let preset = metadata.preset_for(self.preset.clone(), network)?;
        Ok(match self.input_side {
            Some(side) => preset.with_input(side),
            None => preset,
        })
    }

    /// The same, or `None` if no option is given.
    pub fn given(&self, metadata: &Metadata, network: &Architecture) -> Result<Option<Preset>> {
        let is_given = self.preset.is_some() || self.input_side.is_some();
        if is_given { self.of(metadata, network).map(Some) } else { Ok(None) }
    }
}
