//! Lines with smooth edges.

use image::{Rgb, RgbImage};

/// A line of that thickness in pixels, with round ends; a dot where both ends are one.
pub(super) fn stroke(
    canvas: &mut RgbImage,
    from: [f64; 2],
    to: [f64; 2],
    thickness: f64,
    ink: Rgb<u8>,
) {
    let reach = thickness / 2.0 + 1.0;
    let pixels = |axis: usize, sides: u32| {
        let low = (from[axis].min(to[axis]) - reach).max(0.0) as u32;
        let high = (from[axis].max(to[axis]) + reach).max(0.0) as u32;
        low..high.saturating_add(1).min(sides)
    };
    for y in pixels(1, canvas.height()) {
        for x in pixels(0, canvas.width()) {
            let center = [f64::from(x) + 0.5, f64::from(y) + 0.5];
            // How much of the pixel is inked, nearly.
            let share = (thickness / 2.0 + 0.5 - distance(center, from, to)).clamp(0.0, 1.0);
            blend(canvas.get_pixel_mut(x, y), ink, share);
        }
    }
}

/// From a point to the nearest one on a line.
fn distance(point: [f64; 2], from: [f64; 2], to: [f64; 2]) -> f64 {
    let along = [to[0] - from[0], to[1] - from[1]];
    let toward = [point[0] - from[0], point[1] - from[1]];
    let length = along[0] * along[0] + along[1] * along[1];
    let place = match length > 0.0 {
        true => ((toward[0] * along[0] + toward[1] * along[1]) / length).clamp(0.0, 1.0),
        false => 0.0,
    };
    (toward[0] - place * along[0]).hypot(toward[1] - place * along[1])
}

fn blend(pixel: &mut Rgb<u8>, ink: Rgb<u8>, share: f64) {
    for (level, ink) in pixel.0.iter_mut().zip(ink.0) {
        *level = mixed(*level, ink, share);
    }
}

/// A level of a color, `share` of the way to another's.
pub(super) fn mixed(from: u8, to: u8, share: f64) -> u8 {
    (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8
}
