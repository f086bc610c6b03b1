//! Dense evaluation (VGG paper, section 3.2): the network is applied to a whole image, which gives a map of
//! class scores; averaged over its positions they are the logits of the image.

use super::heat_map::HeatMap;
use super::model::{Model, unexpected_output};
use crate::array::Array;
use crate::error::{Error, Result};
use crate::vision::{Crop, Orientation, Preset, RgbImage, View, Views, WholeImage, classes_of};

/// The class scores of a whole image, averaged over all positions: `[num_classes]`.
pub(super) fn mean_scores(model: &dyn Model, image: &WholeImage) -> Result<Vec<f32>> {
    let (maps, [rows, columns]) = score_maps(model, image)?;
    let positions = rows * columns;
    let mean = |scores: &[f32]| {
        (scores.iter().map(|&score| f64::from(score)).sum::<f64>() / positions as f64) as f32
    };
    Ok(maps.values.chunks(positions).map(mean).collect())
}

/// The whole photo, with a short side of `scale` pixels, upright.
pub(super) fn prepare(preset: &Preset, photo: &RgbImage, scale: u32) -> Result<WholeImage> {
    let (scale, orientation) = (Some(scale), Orientation::Upright);
    let whole = View { scale, orientation, crop: Crop::Whole, weight: 1.0 };
    let normalized = preset.views(photo, &Views::new([whole])?)?;
    normalized.whole_images.into_iter().next().ok_or_else(unexpected_output)
}

/// The scores of one class at all positions of a whole image.
pub(super) fn heat_map(model: &dyn Model, image: &WholeImage, class: usize) -> Result<HeatMap> {
    let architecture = model.architecture();
    let outputs = architecture.num_classes();
    let classes = classes_of(outputs);
    if class >= classes {
        return Err(Error::Setting {
            place: "class of a heat map".into(),
            expected: format!("0 to {}", classes.saturating_sub(1)),
            found: class.to_string(),
        });
    }
    let (maps, [rows, columns]) = score_maps(model, image)?;
    // What speaks for class 1 of a single output speaks against class 0.
    let (output, sign) = if outputs == 1 { (0, [-1.0, 1.0][class]) } else { (class, 1.0) };
    let scores = maps.values.chunks(rows * columns).nth(output).ok_or_else(unexpected_output)?;
    let scores: Vec<f32> = scores.iter().map(|score| sign * score).collect();
    HeatMap::from_scores(architecture, &scores, [rows, columns], image.size)
}

/// The score maps of an image, `[1, num_classes, rows, columns]`, with their rows and columns.
fn score_maps(model: &dyn Model, image: &WholeImage) -> Result<(Array, [usize; 2])> {
    let [height, width] = image.size;
    let channels = model.architecture().input[0];
    let maps = model.score_maps(&image.values, [1, channels, height, width])?;
    let classes = model.architecture().num_classes();
    match maps.shape[..] {
        [1, channels, rows, columns]
            if channels == classes
                && rows * columns > 0
                && maps.values.len() == channels * rows * columns =>
        {
            Ok((maps, [rows, columns]))
        }
        _ => Err(unexpected_output()),
    }
}
