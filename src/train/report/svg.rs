//! Drawing SVG files with the crate plotters.

use crate::{Error, Result};
use alexnet_vgg_core::atomic_file;
use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle, WHITE};
use std::error::Error as StdError;
use std::path::Path;

pub(super) const INK: RGBColor = RGBColor(50, 50, 50);

pub(super) type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(super) type Drawn = std::result::Result<(), Box<dyn StdError>>;

/// The text of an SVG file of `size`, width and height, that `draw` draws on white.
pub(super) fn render(size: [u32; 2], draw: impl FnOnce(&Canvas) -> Drawn) -> Result<String> {
    let mut text = String::new();
    let canvas = SVGBackend::with_string(&mut text, size.into()).into_drawing_area();
    let drawn = canvas.fill(&WHITE).map_err(Into::into).and_then(|()| draw(&canvas));
    drawn.and_then(|()| Ok(canvas.present()?)).map_err(|error| Error::Picture {
        place: "SVG".into(),
        expected: "a drawing".into(),
        found: error.to_string(),
    })?;
    drop(canvas);
    Ok(text)
}

/// Writes SVG text into a file, which is replaced in one step.
pub(super) fn save(path: &Path, text: &str) -> Result<()> {
    atomic_file::replace(path, |out| out.write_all(text.as_bytes()).map_err(Error::io(path)))
}

/// Text of that size in pixels.
pub(super) fn text_style(size: i32, color: &impl Color) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(color)
}

/// As short as possible: `0`, `0.05`, `12`, `1e-5`.
pub(super) fn number(value: f64) -> String {
    let rounded = format!("{value:.3e}").parse::<f64>().unwrap_or(value);
    match rounded.abs() {
        0.0 => "0".into(),
        1e-3..1e6 => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
}
