//! Rotation, bit for bit as Pillow does it.

use image::RgbImage;

/// Pillow's `Image.rotate(degrees, BILINEAR, fillcolor=fill)`: its matrix, its bilinear filter (which
/// repeats the border pixels half a pixel outward), and its rounding, which truncates.
pub(in crate::vision) fn rotate(image: &RgbImage, degrees: f64, fill: [u8; 3]) -> RgbImage {
    // As in Pillow, so that the sine of a right angle is 0 and not 1e-17.
    let round = |value: f64| (value * 1e15).round() / 1e15;
    let angle = -degrees.rem_euclid(360.0).to_radians();
    let (sine, cosine) = (round(angle.sin()), round(angle.cos()));
    let (width, height) = image.dimensions();
    let (center_x, center_y) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    let first_x = cosine * -center_x + sine * -center_y + center_x;
    let first_y = -sine * -center_x + cosine * -center_y + center_y;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        let (from_x, from_y) = (cosine * x + sine * y + first_x, -sine * x + cosine * y + first_y);
        let inside =
            (0.0..f64::from(width)).contains(&from_x) && (0.0..f64::from(height)).contains(&from_y);
        if inside {
            image::Rgb(bilinear(image, from_x - 0.5, from_y - 0.5))
        } else {
            image::Rgb(fill)
        }
    })
}

fn bilinear(image: &RgbImage, x: f64, y: f64) -> [u8; 3] {
    let (left, top) = (x.floor(), y.floor());
    let clamp = |at: f64, length: u32| at.clamp(0.0, f64::from(length - 1)) as u32;
    let columns = [clamp(left, image.width()), clamp(left + 1.0, image.width())];
    let rows = [clamp(top, image.height()), clamp(top + 1.0, image.height())];
    let lerp = |a: f64, b: f64, t: f64| a + (b - a) * t;
    std::array::from_fn(|color| {
        let level = |row, column| f64::from(image.get_pixel(column, row)[color]);
        let [above, below] =
            rows.map(|row| lerp(level(row, columns[0]), level(row, columns[1]), x - left));
        lerp(above, below, y - top) as u8
    })
}
