//! Options for the views of each photo.

use alexnet_vgg_core::architecture::Architecture;
use alexnet_vgg_core::vision::Views;
use clap::Args;

#[derive(Args)]
pub struct ViewsArgs {
    /// The views of each photo that the network sees: center, flips, ten-crop, dense, multi-crop,
    /// both (dense and multi-crop), paper (as in the network's own paper), hflip, vflip, transpose,
    /// transverse, or rotate:DEGREES. Join several with +, as in ten-crop+rotate:10.
    #[arg(long, default_value = "center")]
    pub views: String,
    /// Lengths that the photo's short side is resized to, such as 256,384,512. All views are taken
    /// at each of them.
    #[arg(long, value_delimiter = ',')]
    pub scales: Vec<u32>,
    /// In addition to the other views, the center rotated by this angle in both directions. Separate several
    /// by commas.
    #[arg(long, value_delimiter = ',', value_name = "DEGREES")]
    pub rotate: Vec<f64>,
}

impl ViewsArgs {
    /// The views, for a network of this architecture.
    pub fn of(&self, architecture: &Architecture) -> alexnet_vgg_core::Result<Views> {
        let mut views: Option<Views> = None;
        for name in self.views.split('+').map(str::trim) {
            let named = if name == "paper" { Views::paper(architecture) } else { name.parse()? };
            views = Some(match views {
                Some(views) => views.joined_with(named),
                None => named,
            });
        }
        let mut views = views.unwrap_or_else(Views::center);
        for angle in self.rotate.iter().flat_map(|&degrees| [degrees, -degrees]) {
            views = views.joined_with(Views::rotated(angle));
        }
        Ok(views.at_scales(&self.scales))
    }
}
