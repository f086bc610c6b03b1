//! From photos to network input: resizing, mirroring, cropping and normalizing, as a [`Preset`] and a set
//! of [`Views`] say.

use super::level_table::LevelTable;
use super::orientation::{Orientation, OrientedImage};
use super::preset::{Channels, Preset};
use super::resize::{Rectangle, resize, resized_size, resized_window};
use super::rotate::rotate;
use super::test_time_augmentation::{Crop, View, Views};
use crate::array::{Array, zeros};
use crate::error::{Error, Result};
use image::{Rgb, RgbImage};
use std::borrow::Cow;

/// The most pixels of a whole image. The first feature maps of VGG take 256 bytes for each pixel,
/// and a long narrow photo would have millions of pixels at the usual scales.
const MAX_WHOLE_PIXELS: u64 = 1 << 22;
/// The most whole images of one photo: all of them are in memory at once.
const MAX_WHOLE_IMAGES: usize = 64;
/// The most pixels in all squares of one photo, which are in memory at once with 12 bytes for each
/// pixel. VGG's 150 crops have 7.5 million.
const MAX_SQUARE_PIXELS: u64 = 40_000_000;

/// The views of one photo, normalized: the network's input.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NormalizedViews {
    /// The square crops, `[count, C, crop, crop]` flat, in the order of the views.
    pub squares: Vec<f32>,
    /// The whole images ([`Crop::Whole`]), in the order of the views.
    pub whole_images: Vec<WholeImage>,
}

/// A whole image, normalized: the input of dense evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeImage {
    /// `[C, height, width]`, flat.
    pub values: Vec<f32>,
    /// Height and width, in pixels.
    pub size: [usize; 2],
}

impl Preset {
    /// The center crop of a photo: the pixels that the network sees, not yet normalized.
    ///
    /// Resizing uses Pillow's antialiased bilinear filter, bit for bit, as torchvision does: its
    /// triangle filter is as wide as the reduction, so that no pixel of the photo is skipped. Sizes
    /// are rounded as in torchvision.
    ///
    /// # Errors
    /// [`Error::Setting`] if [the preset is not valid](Self::validate), and [`Error::Picture`] for a photo
    /// so narrow that resizing it would take gigabytes.
    pub fn pixels(&self, photo: &RgbImage) -> Result<RgbImage> {
        self.view(photo, Views::center().as_slice()[0])
    }

    /// The center crops of photos, normalized: `[N, C, crop, crop]`, where `C` is 1 for a gray preset, else 3.
    ///
    /// # Errors
    /// As for [`pixels`](Self::pixels); [`Error::Setting`] if there are no photos, and
    /// [`Error::OutOfMemory`] for more photos than fit in memory.
    pub fn batch(&self, photos: &[RgbImage]) -> Result<Array> {
        self.validate()?;
        if photos.is_empty() {
            return Err(Error::Setting {
                place: "batch".into(),
                expected: "at least one photo".into(),
                found: "none".into(),
            });
        }
        let side = self.crop as usize;
        let channels = self.channels.count();
        let shape = vec![photos.len(), channels, side, side];
        let mut values = zeros(&shape)?;
        let center = Views::center();
        for (photo, values) in photos.iter().zip(values.chunks_mut(channels * side * side)) {
            values.copy_from_slice(&self.views(photo, &center)?.squares);
        }
        Ok(Array { shape, values })
    }

    /// The views of a photo, normalized. The photo is resized once for each scale and rotated once for
    /// each angle; flips and crops are read from these images.
    ///
    /// # Errors
    /// [`Error::Setting`] as for [`expect_views`](Self::expect_views), and [`Error::Picture`] for a photo
    /// so narrow that resizing it would take gigabytes, or for a whole image of more than four million
    /// pixels.
    pub fn views(&self, photo: &RgbImage, views: &Views) -> Result<NormalizedViews> {
        self.expect_views(views)?;
        let channels = LevelTable::for_channels(self, [0.0; 3]);
        let photo = &*self.recolored(photo);
        if let [view] = views.as_slice()
            && let Some(pixels) = self.pixels_of_square(photo, *view)?
        {
            let (width, height) = pixels.dimensions();
            let mut squares = vec![0.0; channels.len() * width as usize * height as usize];
            let image = OrientedImage::new(&pixels, Orientation::Upright);
            image.normalize(&channels, [0, 0], [width, height], &mut squares);
            return Ok(NormalizedViews { squares, whole_images: Vec::new() });
        }
        let mut variants = PhotoVariants { photo, resized: Vec::new(), rotated: Vec::new() };
        let mut normalized = NormalizedViews::default();
        for view in views.as_slice() {
            let image = variants.get(view.scale.unwrap_or(self.resize), view.orientation)?;
            let image = OrientedImage::new(image, view.orientation);
            let window = self.window(view.crop, (image.width, image.height))?;
            let (corner, size) = ([window.left, window.top], [window.width, window.height]);
            let count = channels.len() * size[0] as usize * size[1] as usize;
            if view.crop == Crop::Whole {
                let mut values = vec![0.0; count];
                image.normalize(&channels, corner, size, &mut values);
                let size = [size[1] as usize, size[0] as usize];
                normalized.whole_images.push(WholeImage { values, size });
            } else {
                let start = normalized.squares.len();
                normalized.squares.resize(start + count, 0.0);
                image.normalize(&channels, corner, size, &mut normalized.squares[start..]);
            }
        }
        Ok(normalized)
    }

    /// The pixels of one view, not yet normalized: to look at what the network sees.
    ///
    /// # Errors
    /// As for [`views`](Self::views).
    pub fn view(&self, photo: &RgbImage, view: View) -> Result<RgbImage> {
        self.expect_views(&Views::new([view])?)?;
        let photo = &*self.recolored(photo);
        if let Some(pixels) = self.pixels_of_square(photo, view)? {
            return Ok(pixels);
        }
        let mut variants = PhotoVariants { photo, resized: Vec::new(), rotated: Vec::new() };
        let image = variants.get(view.scale.unwrap_or(self.resize), view.orientation)?;
        let image = OrientedImage::new(image, view.orientation);
        let window = self.window(view.crop, (image.width, image.height))?;
        Ok(image.pixels([window.left, window.top], [window.width, window.height]))
    }

    /// The photo, or its luma for a gray preset, computed in Pillow's integers.
    pub(super) fn recolored<'a>(&self, photo: &'a RgbImage) -> Cow<'a, RgbImage> {
        if self.channels != Channels::Gray {
            return Cow::Borrowed(photo);
        }
        let mut gray = photo.clone();
        for Rgb(rgb) in gray.pixels_mut() {
            let [red, green, blue] = rgb.map(u32::from);
            let luma = (19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16;
            *rgb = [luma as u8; 3];
        }
        Cow::Owned(gray)
    }

    /// Checks the preset and the views, that every square crop fits into its scale, and that the views of
    /// one photo are at most 64 whole images and 40 million pixels in squares.
    ///
    /// # Errors
    /// [`Error::Setting`] with the first rule that is broken.
    pub fn expect_views(&self, views: &Views) -> Result<()> {
        self.validate()?;
        views.validate()?;
        let views = views.as_slice();
        let wrong = |expected: String, found: String| {
            Err(Error::Setting { place: "views (`--views`)".into(), expected, found })
        };
        let is_too_small = |view: &&View| {
            view.crop != Crop::Whole && view.scale.is_some_and(|scale| scale < self.crop)
        };
        if let Some(view) = views.iter().find(is_too_small) {
            let expected = format!("a scale of at least the preset's crop, {}", self.crop);
            return wrong(expected, view.to_string());
        }
        let whole_images = views.iter().filter(|view| view.crop == Crop::Whole).count();
        let pixels = u64::from(self.crop).pow(2) * (views.len() - whole_images) as u64;
        if whole_images > MAX_WHOLE_IMAGES || pixels > MAX_SQUARE_PIXELS {
            return wrong(
                format!(
                    "at most {MAX_WHOLE_IMAGES} whole images and {MAX_SQUARE_PIXELS} pixels in \
                     square crops"
                ),
                format!("{whole_images} whole images and {pixels} pixels"),
            );
        }
        Ok(())
    }

    /// The pixels of a square crop, if the photo is upright in it: no others are resized for it.
    fn pixels_of_square(&self, photo: &RgbImage, view: View) -> Result<Option<RgbImage>> {
        if view.crop == Crop::Whole || view.orientation != Orientation::Upright {
            return Ok(None);
        }
        let size = resized_size(photo, view.scale.unwrap_or(self.resize))?;
        let window = self.window(view.crop, size)?;
        resized_window(photo, Rectangle::whole(photo.dimensions()), size, window).map(Some)
    }

    /// What a crop shows of an oriented image of this size (width and height).
    fn window(&self, crop: Crop, size: (u32, u32)) -> Result<Rectangle> {
        let center = Rectangle::center(size, self.crop.min(size.0).min(size.1))?;
        Ok(match crop {
            Crop::Center => center,
            Crop::Grid { row, column, of } => {
                let steps = u64::from(of.max(2) - 1);
                // Rounded to the nearest pixel.
                let offset = |room: u32, index: u32| {
                    ((2 * u64::from(room) * u64::from(index) + steps) / (2 * steps)) as u32
                };
                let left = offset(size.0 - center.width, column);
                let top = offset(size.1 - center.height, row);
                Rectangle { left, top, ..center }
            }
            Crop::Whole if u64::from(size.0) * u64::from(size.1) > MAX_WHOLE_PIXELS => {
                return Err(Error::Picture {
                    place: "dense evaluation".into(),
                    expected: format!("at most {MAX_WHOLE_PIXELS} pixels after resizing"),
                    found: format!("an image of {}x{}", size.0, size.1),
                });
            }
            Crop::Whole => Rectangle::whole(size),
        })
    }
}

/// A photo at the scales and rotations that were asked for so far.
struct PhotoVariants<'a> {
    photo: &'a RgbImage,
    resized: Vec<(u32, RgbImage)>,
    rotated: Vec<(u32, Orientation, RgbImage)>,
}

impl PhotoVariants<'_> {
    /// The photo at a scale; rotated if the orientation is a rotation, else upright.
    fn get(&mut self, scale: u32, orientation: Orientation) -> Result<&RgbImage> {
        let at = match self.resized.iter().position(|(known, _)| *known == scale) {
            Some(at) => at,
            None => {
                self.resized.push((scale, resize(self.photo, scale)?));
                self.resized.len() - 1
            }
        };
        let Orientation::Rotate { degrees, fill } = orientation else {
            return Ok(&self.resized[at].1);
        };
        let is_known =
            |rotated: &(u32, Orientation, RgbImage)| (rotated.0, rotated.1) == (scale, orientation);
        let at = match self.rotated.iter().position(is_known) {
            Some(at) => at,
            None => {
                let image = rotate(&self.resized[at].1, degrees, fill);
                self.rotated.push((scale, orientation, image));
                self.rotated.len() - 1
            }
        };
        Ok(&self.rotated[at].2)
    }
}
