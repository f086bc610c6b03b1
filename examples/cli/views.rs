//! What is shown of each photo.

use alexnet_vgg::models::Architecture;
use alexnet_vgg::vision::Views;
use clap::Args;

#[derive(Args)]
pub struct ViewsArgs {
    /// What is shown of each photo: center, flips, ten-crop, dense, multi-crop, both, paper (as the
    /// network's own paper tested), hflip, vflip, transpose, transverse, rotate:DEGREES; or several
    /// with + between them.
    #[arg(long, default_value = "center")]
    pub views: String,
    /// Short sides that photos are resized to, such as 256,384,512: all views at each of them.
    #[arg(long, value_delimiter = ',')]
    pub scales: Vec<u32>,
    /// Besides the other views the center, turned by so many degrees both ways; several with commas.
    #[arg(long, value_delimiter = ',', value_name = "DEGREES")]
    pub rotate: Vec<f64>,
}

impl ViewsArgs {
    pub fn of(&self, table: &Architecture) -> alexnet_vgg::Result<Views> {
        let named = |name: &str| match name.trim() {
            "paper" => Ok(Views::paper(table)),
            name => name.parse(),
        };
        let mut sets = self.views.split('+').map(named);
        let first = sets.next().unwrap_or_else(|| Ok(Views::center()))?;
        let views =
            sets.try_fold(first, |views, set| Ok::<_, alexnet_vgg::Error>(views.with(set?)))?;
        let turned = self.rotate.iter().flat_map(|&degrees| [degrees, -degrees]);
        let views = turned.fold(views, |views, degrees| views.with(Views::rotated(degrees)));
        Ok(views.at_scales(&self.scales))
    }
}
