//! Contact sheets: many small images, with captions, on one.

use super::augment::{Operation, apply};
use super::lettering;
use crate::error::{Error, Result};
use image::{Rgb, RgbImage, imageops};

/// Side of a cell of the sheet, and the gap between two cells, in pixels.
const CELL: u32 = 224;
const GAP: u32 = 8;
const BACKGROUND: Rgb<u8> = Rgb([255; 3]);
const INK: Rgb<u8> = Rgb([0; 3]);
/// Pixels of each dot of a letter, and from line to line.
const LETTER: u32 = 2;
const LINE: u32 = 10 * LETTER;
/// Limits a sheet to 256 MiB.
const MAX_PIXELS: u64 = (256 << 20) / 3;

/// Rows of small images, each with a caption below it.
///
/// ```
/// use alexnet_vgg_core::vision::{Captioned, ContactSheet, RgbImage};
///
/// let photo = RgbImage::new(500, 375); // or vision::decode_file("photo.jpg")?
/// let mut sheet = ContactSheet::default();
/// sheet.push(vec![Captioned::new(&photo, ["a cat"])?, Captioned::new(&photo, ["the same"])?])?;
/// assert_eq!(sheet.draw().dimensions(), (8 + 2 * 232, 8 + 232 + 20));
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ContactSheet {
    rows: Vec<Vec<Captioned>>,
}

/// An image of a [`ContactSheet`], resized to fit a cell, and its caption.
#[derive(Clone, Debug)]
pub struct Captioned {
    picture: RgbImage,
    caption: Vec<String>,
}

impl Captioned {
    /// Resizes the longer side of an image to 224 pixels. Lines of the caption that are too long are cut
    /// off, and characters outside ASCII become `?`.
    ///
    /// # Errors
    /// [`Error::Picture`] for an image without pixels.
    pub fn new(
        picture: &RgbImage,
        caption: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let (width, height) = picture.dimensions();
        let longer = u64::from(width.max(height).max(1));
        let [width, height] = [width, height]
            .map(|side| (u64::from(side) * u64::from(CELL) / longer).clamp(1, CELL.into()) as u32);
        let picture = apply(picture, &[Operation::Resize { width, height }])?;
        Ok(Self { picture, caption: caption.into_iter().map(Into::into).collect() })
    }
}

impl ContactSheet {
    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::Setting`] if the sheet would be larger than 256 MiB; the row is not added then.
    pub fn push(&mut self, row: Vec<Captioned>) -> Result<()> {
        self.rows.push(row);
        let [width, height] = self.size();
        if width.saturating_mul(height) <= MAX_PIXELS {
            return Ok(());
        }
        self.rows.pop();
        Err(Error::Setting {
            place: "contact sheet".into(),
            expected: format!("at most {MAX_PIXELS} pixels"),
            found: format!("{width}x{height}"),
        })
    }

    /// Draws the whole sheet as one image.
    pub fn draw(&self) -> RgbImage {
        let [width, height] = self.size();
        let mut sheet = RgbImage::from_pixel(width as u32, height as u32, BACKGROUND);
        for (row, top) in self.rows.iter().zip((GAP..).step_by(self.row_height() as usize)) {
            for (cell, left) in row.iter().zip((GAP..).step_by((CELL + GAP) as usize)) {
                cell.draw(&mut sheet, [left, top]);
            }
        }
        sheet
    }

    /// Width and height, in pixels.
    fn size(&self) -> [u64; 2] {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let side = |cells: usize, pixels: u64| {
            (cells as u64).saturating_mul(pixels).saturating_add(GAP.into())
        };
        [side(columns, (CELL + GAP).into()), side(self.rows.len(), self.row_height())]
    }

    /// Height of a row, with room for the longest caption.
    fn row_height(&self) -> u64 {
        let lines = self.rows.iter().flatten().map(|cell| cell.caption.len()).max().unwrap_or(0);
        u64::from(CELL + GAP) + lines as u64 * u64::from(LINE)
    }
}

impl Captioned {
    fn draw(&self, sheet: &mut RgbImage, [left, top]: [u32; 2]) {
        let (width, height) = self.picture.dimensions();
        let [x, y] = [(left, width), (top, height)].map(|(start, side)| start + (CELL - side) / 2);
        imageops::replace(sheet, &self.picture, x.into(), y.into());
        for (text, line) in self.caption.iter().zip(0..) {
            let place = [left, top + CELL + GAP / 2 + line * LINE];
            lettering::write(sheet, &lettering::cut(text, CELL, LETTER), place, LETTER, INK);
        }
    }
}
