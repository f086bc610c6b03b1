//! Brightness, contrast, saturation and hue, bit for bit as torchvision's `ColorJitter` adjusts them for Pillow
//! images: blends in f32 that truncate, gray by ITU-R 601-2, and hue in 8-bit steps of the color wheel.

use image::{Rgb, RgbImage};

/// Blends the image with black.
pub(super) fn brightness(image: &mut RgbImage, factor: f32) {
    blend_with(image, 0, factor);
}

/// Blends the image with its mean gray, rounded to a level.
pub(super) fn contrast(image: &mut RgbImage, factor: f32) {
    let pixels = u64::from(image.width()) * u64::from(image.height());
    let sum: u64 = image.pixels().map(|&Rgb(rgb)| u64::from(gray(rgb))).sum();
    let mean = sum as f64 / pixels as f64 + 0.5;
    blend_with(image, mean as u8, factor);
}

/// Blends the image with its grayscale version.
pub(super) fn saturation(image: &mut RgbImage, factor: f32) {
    for Rgb(rgb) in image.pixels_mut() {
        let gray = gray(*rgb);
        *rgb = rgb.map(|level| blend(gray, level, factor));
    }
}

/// Rotates the colors on the color wheel by a fraction of a turn.
pub(super) fn hue(image: &mut RgbImage, turn: f64) {
    // Truncated to steps of 1 / 255 although the wheel has 256 steps, as in torchvision.
    let steps = (turn * 255.0) as i32 as u8;
    for Rgb(rgb) in image.pixels_mut() {
        let Hsv { hue, saturation, value } = to_hsv(*rgb);
        *rgb = to_rgb(Hsv { hue: hue.wrapping_add(steps), saturation, value });
    }
}

fn blend_with(image: &mut RgbImage, other: u8, factor: f32) {
    let blended: [u8; 256] = std::array::from_fn(|level| blend(other, level as u8, factor));
    for Rgb(rgb) in image.pixels_mut() {
        *rgb = rgb.map(|level| blended[usize::from(level)]);
    }
}

/// Interpolates from `other` at factor 0 to `level` at factor 1; larger factors extrapolate.
fn blend(other: u8, level: u8, factor: f32) -> u8 {
    let (other, level) = (f32::from(other), f32::from(level));
    // The conversion saturates.
    (other + factor * (level - other)) as u8
}

/// 0.299 red + 0.587 green + 0.114 blue, in fixed point with 16 fractional bits.
fn gray(rgb: [u8; 3]) -> u8 {
    let [red, green, blue] = rgb.map(u32::from);
    ((19_595 * red + 38_470 * green + 7_471 * blue + (1 << 15)) >> 16) as u8
}

/// A color in 8-bit HSV.
struct Hsv {
    hue: u8,
    saturation: u8,
    value: u8,
}

/// Mixes f32 and f64 as Pillow does, because that decides how values round.
fn to_hsv(rgb: [u8; 3]) -> Hsv {
    let [red, green, blue] = rgb;
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return Hsv { hue: 0, saturation: 0, value: most };
    }
    let range = f32::from(most - least);
    let [from_red, from_green, from_blue] = rgb.map(|level| f32::from(most - level) / range);
    let sixths = if red == most {
        from_blue - from_green
    } else if green == most {
        (2.0 + f64::from(from_red) - f64::from(from_blue)) as f32
    } else {
        (4.0 + f64::from(from_green) - f64::from(from_red)) as f32
    };
    let turn = ((f64::from(sixths) / 6.0 + 1.0) % 1.0) as f32;
    Hsv {
        hue: (f64::from(turn) * 255.0) as u8,
        saturation: (f64::from(range / f32::from(most)) * 255.0) as u8,
        value: most,
    }
}

fn to_rgb(Hsv { hue, saturation, value }: Hsv) -> [u8; 3] {
    if saturation == 0 {
        return [value; 3];
    }
    let sixths = f64::from(hue) * 6.0 / 255.0;
    let (sector, fraction) = (sixths.floor(), f64::from((sixths - sixths.floor()) as f32));
    let saturation = f64::from((f64::from(saturation) / 255.0) as f32);
    let level = |share: f64| (f64::from(value) * share).round() as u8;
    let least = level(1.0 - saturation);
    let falling = level(1.0 - saturation * fraction);
    let rising = level(1.0 - saturation * (1.0 - fraction));
    match sector as u8 % 6 {
        0 => [value, rising, least],
        1 => [falling, value, least],
        2 => [least, value, rising],
        3 => [least, falling, value],
        4 => [rising, least, value],
        _ => [value, least, falling],
    }
}
