//! Mean and covariance of the colors of many photos, exactly and in one pass.

use crate::error::{Error, Result};
use image::RgbImage;

/// Sums over pixels that give the mean and the covariance of red, green and blue. The sums are integers,
/// so any order of the photos, on any number of threads, gives the same bits.
///
/// ```
/// use alexnet_vgg_core::vision::{RgbImage, augment::ColorStatistics};
///
/// let photos = [RgbImage::new(2, 3), RgbImage::from_pixel(3, 2, image::Rgb([255, 51, 0]))];
/// let mut all = ColorStatistics::default();
/// for photo in &photos {
///     all.merge(&ColorStatistics::from_photo(photo)); // perhaps computed on another thread
/// }
/// assert_eq!(all.pixels(), 12);
/// assert_eq!(all.mean()?, [0.5, 0.1, 0.0]);
/// assert_eq!(all.covariance()?[0], [0.25, 0.05, 0.0]);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColorStatistics {
    pixels: u64,
    /// Sums of red, green and blue levels, 0 to 255 each.
    sums: [u128; 3],
    /// Sums of the products of [`PAIRS`].
    products: [u128; 6],
}

/// The upper triangle of a symmetric matrix.
const PAIRS: [(usize, usize); 6] = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];

impl ColorStatistics {
    /// The statistics of one photo.
    pub fn from_photo(photo: &RgbImage) -> Self {
        let mut statistics = Self::default();
        statistics.add(photo);
        statistics
    }

    /// Adds the pixels of a photo.
    pub fn add(&mut self, photo: &RgbImage) {
        /// The sum of so many products, 255 * 255 at most, fits in 32 bits.
        const PIXELS_AT_ONCE: usize = 1 << 16;
        let (width, height) = photo.dimensions();
        let pixels = width as usize * height as usize;
        let (rgb, _) = photo.as_raw().as_chunks::<3>();
        self.pixels += pixels as u64;
        for part in rgb[..pixels].chunks(PIXELS_AT_ONCE) {
            let (mut sums, mut products) = ([0u32; 3], [0u32; 6]);
            for rgb in part {
                let rgb = rgb.map(u32::from);
                sums.iter_mut().zip(rgb).for_each(|(sum, level)| *sum += level);
                for (product, (i, j)) in products.iter_mut().zip(PAIRS) {
                    *product += rgb[i] * rgb[j];
                }
            }
            self.sums.iter_mut().zip(sums).for_each(|(all, part)| *all += u128::from(part));
            self.products.iter_mut().zip(products).for_each(|(all, part)| *all += u128::from(part));
        }
    }

    /// Adds the pixels that `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        self.pixels += other.pixels;
        self.sums.iter_mut().zip(other.sums).for_each(|(ours, theirs)| *ours += theirs);
        self.products.iter_mut().zip(other.products).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// Number of pixels counted.
    pub fn pixels(&self) -> u64 {
        self.pixels
    }

    /// The mean of red, green and blue, from 0 to 1.
    ///
    /// # Errors
    /// [`Error::Setting`] if no pixel was counted.
    pub fn mean(&self) -> Result<[f64; 3]> {
        let pixels = self.expect_pixels()? as f64;
        Ok(self.sums.map(|sum| sum as f64 / pixels / 255.0))
    }

    /// The covariance of red, green and blue over all pixels, for values from 0 to 1.
    ///
    /// # Errors
    /// [`Error::Setting`] if no pixel was counted.
    pub fn covariance(&self) -> Result<[[f64; 3]; 3]> {
        let pixels = self.expect_pixels()?;
        let mut covariance = [[0.0; 3]; 3];
        for (&product, (i, j)) in self.products.iter().zip(PAIRS) {
            // In integers: the difference of two large floats would lose a small variance.
            let difference = (pixels * product) as i128 - (self.sums[i] * self.sums[j]) as i128;
            let value = difference as f64 / (pixels as f64 * 255.0).powi(2);
            (covariance[i][j], covariance[j][i]) = (value, value);
        }
        Ok(covariance)
    }

    fn expect_pixels(&self) -> Result<u128> {
        if self.pixels == 0 {
            return Err(Error::Setting {
                place: "color statistics".into(),
                expected: "at least one pixel".into(),
                found: "none".into(),
            });
        }
        Ok(self.pixels.into())
    }
}
