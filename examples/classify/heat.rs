//! Where in a photo a class is seen, drawn over it.

use crate::cli;
use alexnet_vgg::models::{Architecture, Network};
use alexnet_vgg::predict::{HeatMap, Labels, grad_cam as by_gradients};
use alexnet_vgg::vision::{Crop, Pose, Preset, RgbImage, View, Views, decode_file};
use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use std::error::Error;
use std::path::Path;

/// How a heat map is made.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Method {
    /// The class's scores at every place.
    Dense,
    /// What the last convolution's gradients say.
    GradCam,
}

/// The short side that the whole photo is shown with: the largest that was asked for, or twice what the
/// network was trained on.
pub fn scale(preset: &Preset, scales: &[u32]) -> u32 {
    scales.iter().copied().max().unwrap_or(2 * preset.crop)
}

pub fn draw(
    photo: &Path,
    labels: &Labels,
    class: usize,
    output: &Path,
    method: Method,
    map: impl FnOnce(&RgbImage) -> alexnet_vgg::Result<HeatMap>,
) -> Result<(), Box<dyn Error>> {
    let photo = decode_file(photo)?;
    // Scores have no zero that means nothing: what is above half of their range is the thing.
    let share = match method {
        Method::Dense => 0.5,
        Method::GradCam => HeatMap::SHARE,
    };
    let map = map(&photo)?.with_title(labels.get(class)).with_share(share);
    let [left, top, right, bottom] = map.localize(share).on(photo.width(), photo.height());
    let picture = map.draw(&photo)?;
    picture.save(output).map_err(|error| format!("{}: {error}", output.display()))?;
    cli::complain(format!(
        "{}: {} in x {left} to {right}, y {top} to {bottom}\n",
        output.display(),
        labels.get(class)
    ));
    Ok(())
}

/// On burn, of the whole photo.
pub fn grad_cam<B: Backend>(
    table: &Architecture,
    weights: Option<&Path>,
    preset: &Preset,
    photo: &RgbImage,
    class: usize,
    device: &B::Device,
) -> alexnet_vgg::Result<HeatMap> {
    let network: Network<Autodiff<B>> = match weights {
        Some(path) => Network::load(table.clone(), path, device)?,
        None => Network::new(table.clone(), device)?,
    };
    let whole =
        View { scale: Some(preset.resize), pose: Pose::Upright, crop: Crop::Whole, weight: 1.0 };
    let shown = preset.views(photo, &Views::new([whole])?)?;
    let [height, width] = shown.wholes[0].size;
    let values = TensorData::new(shown.wholes[0].values.clone(), [1, 3, height, width]);
    let image = Tensor::from_data(values, device);
    Ok(by_gradients(&network, image, None, Some(class))?.0)
}
