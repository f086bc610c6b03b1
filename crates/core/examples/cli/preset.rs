//! Options of the preprocessing.

use alexnet_vgg_core::vision::Preset;
use clap::Args;

#[derive(Args)]
pub struct PresetArgs {
    /// The preprocessing that the weights were trained with: imagenet, caffe, vggface, cifar10, half (mean and std 0.5),
    /// places, or a JSON file (docs/your-weights.md). Default: as stated in the weights file, or imagenet.
    #[arg(long, value_name = "NAME|FILE.json", value_parser = Preset::by_name_or_file)]
    preset: Option<Preset>,
    /// The side of the network's input in pixels, after resizing and cropping, such as 32. Default: the preset's.
    #[arg(long = "input", value_name = "N")]
    input_side: Option<u32>,
}

impl PresetArgs {
    /// `None` if no option is given.
    pub fn preset(&self) -> Option<Preset> {
        match self.input_side {
            Some(side) => {
                Some(self.preset.clone().unwrap_or_else(Preset::imagenet).with_input(side))
            }
            None => self.preset.clone(),
        }
    }
}
