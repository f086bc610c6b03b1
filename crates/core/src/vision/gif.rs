//! The first frame of a GIF, which may be a part of its screen.

use gif::{ColorOutput, DecodeOptions, DecodingError};
use image::{Rgb, RgbImage};

/// Decodes the first frame as Pillow does: around it is the color that is transparent in it, or else the palette's first
/// one, and the screen is as large as the frame needs. `expect_memory` is asked about the size of the screen, and about
/// the most bytes that it takes at once.
pub(super) fn decode(
    bytes: &[u8],
    expect_memory: impl FnOnce([u32; 2], u64) -> Result<(), String>,
) -> Result<RgbImage, String> {
    let failed = |error: DecodingError| format!("a GIF that cannot be read: {error}");
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    let mut decoder = options.read_info(bytes).map_err(failed)?;
    let screen = [decoder.width(), decoder.height()];
    let frame = decoder.next_frame_info().map_err(failed)?.ok_or("a GIF without a picture")?;
    let [left, top] = [frame.left, frame.top].map(u32::from);
    let size = [frame.width, frame.height].map(u32::from);
    let around = frame.transparent.unwrap_or(0);
    let width = (left + size[0]).max(screen[0].into());
    let height = (top + size[1]).max(screen[1].into());
    let [pixels, frame_pixels] =
        [[width, height], size].map(|[width, height]| u64::from(width) * u64::from(height));
    expect_memory([width, height], 3 * pixels + frame_pixels)?;

    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(failed)?;
    let palette = decoder.palette().map_err(failed)?;
    let color = |index: u8| {
        let start = 3 * usize::from(index);
        Rgb(palette.get(start..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default())
    };
    let mut image = RgbImage::from_pixel(width, height, color(around));
    for (y, row) in (top..).zip(indices.chunks_exact((size[0] as usize).max(1))) {
        for (x, &index) in (left..).zip(row) {
            image.put_pixel(x, y, color(index));
        }
    }
    Ok(image)
}
