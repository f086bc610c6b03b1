//! Draws where in a photo a class is seen.

use crate::cli;
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::vision::decode_file;
use std::error::Error;
use std::path::Path;

/// The box is drawn around the scores in the upper half of their range: unlike the values of an attribution map,
/// scores have no zero that would mean "nothing here".
const THRESHOLD: f32 = 0.5;

/// Writes the photo, overlaid with the scores of a class at every position, at a short side of `scale` pixels.
pub fn draw(
    classifier: &Classifier,
    photo: &Path,
    class: usize,
    scale: u32,
    output: &Path,
) -> Result<(), Box<dyn Error>> {
    let photo = decode_file(photo)?;
    let label = classifier.labels().get(class);
    let map = classifier.heat_map(&photo, class, scale)?.with_threshold(THRESHOLD);
    let picture = map.draw(&photo)?;
    picture.save(output).map_err(|error| format!("{}: {error}", output.display()))?;
    let [smallest, largest] = map.range();
    let [left, top, right, bottom] =
        map.localize(THRESHOLD).to_pixels(photo.width(), photo.height());
    cli::warn(format!(
        "{}: {label} in x {left} to {right}, y {top} to {bottom}; scores from {smallest:.2} (violet) to {largest:.2} (yellow)\n",
        output.display()
    ));
    Ok(())
}
