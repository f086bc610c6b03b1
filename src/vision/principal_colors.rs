//! The principal components of a data set's colors (AlexNet paper, section 4.1): the covariance of red,
//! green and blue over all pixels, in one pass, and its eigenvectors.

use crate::error::{Error, Result};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Eigenvalues and eigenvectors of the 3x3 covariance of the RGB values of a data set's pixels.
///
/// The values are from 0 to 1, and so the eigenvalues are *variances* on that scale. The unit matters
/// to the paper's formula, which multiplies by a variance and not by a standard deviation: on another
/// scale the same formula is another augmentation.
///
/// ```
/// use alexnet_vgg::vision::{RgbImage, augment::PrincipalColors};
///
/// // Pixels that differ in brightness alone have one component, the grays.
/// let grays = RgbImage::from_fn(256, 1, |x, _| image::Rgb([x as u8; 3]));
/// let colors = PrincipalColors::of([Ok(grays)])?;
/// assert!(colors.vectors[0].iter().all(|v| (v - 3f64.sqrt().recip()).abs() < 1e-12));
/// assert!(colors.values[0] > 0.2 && colors.values[1] < 1e-12);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PrincipalColors {
    /// The paper's λ: variances along the components, the largest first, of values from 0 to 1.
    pub values: [f64; 3],
    /// The paper's p: unit vectors of red, green and blue, in the order of `values`.
    pub vectors: [[f64; 3]; 3],
}

impl PrincipalColors {
    /// ImageNet's, as published with `fb.resnet.torch` (Facebook, 2016) and used since: 0.2175,
    /// 0.0188, 0.0045 on the scale from 0 to 1, which other programs write as 55.46, 4.794, 1.148 for
    /// pixels from 0 to 255 (255 times as much: the shift keeps its proportion to the pixels).
    ///
    /// They are variances: the covariance that they make has 0.28, 0.28 and 0.29 as the standard
    /// deviations of red, green and blue, which is what photos have.
    pub fn imagenet() -> Self {
        Self {
            values: [0.2175, 0.0188, 0.0045],
            vectors: [
                [-0.5675, -0.5808, -0.5836],
                [0.7192, -0.0045, -0.6948],
                [0.4009, -0.8140, 0.4203],
            ],
        }
    }

    /// Those of all pixels of `photos`, in one pass. [`ColorStatistics`] is for several threads.
    ///
    /// # Errors
    /// The first of the photos' own, and [`Error::Setting`] if there is not one pixel.
    pub fn of(photos: impl IntoIterator<Item = Result<RgbImage>>) -> Result<Self> {
        let mut statistics = ColorStatistics::default();
        for photo in photos {
            statistics.add(&photo?);
        }
        statistics.principal_colors()
    }

    /// What the paper adds to each pixel, `[p1, p2, p3] [α1 λ1, α2 λ2, α3 λ3]ᵀ`: red, green and blue
    /// from 0 to 1.
    pub fn shift(&self, alphas: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|color| {
            (0..3).map(|i| self.vectors[i][color] * alphas[i] * self.values[i]).sum()
        })
    }

    /// `Ok` if these are eigenvalues and eigenvectors of a covariance: finite, not negative, and
    /// perpendicular vectors of length 1 (to a thousandth: published ones have four digits).
    ///
    /// # Errors
    /// [`Error::Setting`] with the numbers.
    pub fn validate(&self) -> Result<()> {
        const TOLERANCE: f64 = 1e-3;
        let product = |i: usize, j: usize| -> f64 {
            (0..3).map(|color| self.vectors[i][color] * self.vectors[j][color]).sum()
        };
        let orthonormal = (0..3).all(|i| {
            (0..3).all(|j| (product(i, j) - f64::from(u8::from(i == j))).abs() <= TOLERANCE)
        });
        // Of half of the pixels black and half of them white: no values from 0 to 1 vary more.
        const LARGEST: f64 = 0.75;
        let variance = 0.0..=LARGEST + TOLERANCE;
        if orthonormal && self.values.iter().all(|value| variance.contains(value)) {
            return Ok(());
        }
        Err(Error::Setting {
            place: "principal colors".into(),
            expected: format!(
                "variances from 0 to {LARGEST} of values from 0 to 1, and orthonormal vectors"
            ),
            found: format!("{:?} and {:?}", self.values, self.vectors),
        })
    }
}

/// Sums over pixels, of which the covariance is made. They are whole numbers: any order of
/// the photos, on any number of threads, ends in the same bits.
///
/// ```
/// use alexnet_vgg::vision::{RgbImage, augment::ColorStatistics};
///
/// let photos = [RgbImage::new(2, 3), RgbImage::from_pixel(3, 2, image::Rgb([255, 51, 0]))];
/// let mut all = ColorStatistics::default();
/// for photo in &photos {
///     all.merge(&ColorStatistics::of(photo)); // of another thread, perhaps
/// }
/// assert_eq!(all.pixels(), 12);
/// assert_eq!(all.mean()?, [0.5, 0.1, 0.0]);
/// assert_eq!(all.covariance()?[0], [0.25, 0.05, 0.0]);
/// # Ok::<(), alexnet_vgg::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColorStatistics {
    pixels: u64,
    /// Of red, green and blue, from 0 to 255.
    sums: [u128; 3],
    /// Of the products of [`PAIRS`].
    products: [u128; 6],
}

/// The upper triangle of a symmetric matrix.
const PAIRS: [(usize, usize); 6] = [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)];

impl ColorStatistics {
    /// Those of one photo.
    pub fn of(photo: &RgbImage) -> Self {
        let mut statistics = Self::default();
        statistics.add(photo);
        statistics
    }

    /// Adds the pixels of a photo.
    pub fn add(&mut self, photo: &RgbImage) {
        /// 255 * 255 times as many fit in 32 bits.
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

    /// Adds what another one has counted.
    pub fn merge(&mut self, other: &Self) {
        self.pixels += other.pixels;
        self.sums.iter_mut().zip(other.sums).for_each(|(ours, theirs)| *ours += theirs);
        self.products.iter_mut().zip(other.products).for_each(|(ours, theirs)| *ours += theirs);
    }

    /// How many pixels were counted.
    pub fn pixels(&self) -> u64 {
        self.pixels
    }

    /// The mean of red, green and blue, from 0 to 1.
    ///
    /// # Errors
    /// [`Error::Setting`] if not one pixel was counted.
    pub fn mean(&self) -> Result<[f64; 3]> {
        let pixels = self.expect_pixels()? as f64;
        Ok(self.sums.map(|sum| sum as f64 / pixels / 255.0))
    }

    /// The covariance of red, green and blue from 0 to 1, over all pixels.
    ///
    /// # Errors
    /// [`Error::Setting`] if not one pixel was counted.
    pub fn covariance(&self) -> Result<[[f64; 3]; 3]> {
        let pixels = self.expect_pixels()?;
        let mut covariance = [[0.0; 3]; 3];
        for (&product, (i, j)) in self.products.iter().zip(PAIRS) {
            // In whole numbers: a difference of large floats would leave little of a small variance.
            let difference = (pixels * product) as i128 - (self.sums[i] * self.sums[j]) as i128;
            let value = difference as f64 / (pixels as f64 * 255.0).powi(2);
            (covariance[i][j], covariance[j][i]) = (value, value);
        }
        Ok(covariance)
    }

    /// The principal components of the pixels. The largest entry of each vector is positive.
    ///
    /// # Errors
    /// [`Error::Setting`] if not one pixel was counted.
    pub fn principal_colors(&self) -> Result<PrincipalColors> {
        let (values, vectors) = eigen(self.covariance()?);
        let mut order = [0, 1, 2];
        order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
        let signed = |vector: [f64; 3]| {
            let largest = vector
                .into_iter()
                .fold(0.0, |most: f64, entry| if entry.abs() > most.abs() { entry } else { most });
            vector.map(|entry| entry * largest.signum())
        };
        Ok(PrincipalColors {
            // Rounding may leave less than nothing of a variance of 0.
            values: order.map(|i| values[i].max(0.0)),
            vectors: order.map(|i| signed(vectors[i])),
        })
    }

    fn expect_pixels(&self) -> Result<u128> {
        match self.pixels {
            0 => Err(Error::Setting {
                place: "statistics of colors".into(),
                expected: "at least one pixel".into(),
                found: "none".into(),
            }),
            pixels => Ok(pixels.into()),
        }
    }
}

/// Eigenvalues and eigenvectors of a symmetric matrix, by Jacobi's rotations. The vectors are a product
/// of rotations, and so orthonormal whatever the matrix is.
fn eigen(mut matrix: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    /// Each one squares what is left off the diagonal: five are enough for any matrix of f64.
    const SWEEPS: usize = 10;
    let mut vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for (p, q) in [(0, 1), (0, 2), (1, 2)].repeat(SWEEPS) {
        if matrix[p][q] == 0.0 {
            continue;
        }
        // The tangent of the smaller angle that makes this entry 0.
        let cotangent = (matrix[q][q] - matrix[p][p]) / (2.0 * matrix[p][q]);
        let tangent = cotangent.signum() / (cotangent.abs() + cotangent.hypot(1.0));
        let cosine = tangent.hypot(1.0).recip();
        let sine = tangent * cosine;
        let rotate = |x: &mut f64, y: &mut f64| {
            (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
        };
        for row in &mut matrix {
            let (mut x, mut y) = (row[p], row[q]);
            rotate(&mut x, &mut y);
            (row[p], row[q]) = (x, y);
        }
        for rows in [&mut matrix, &mut vectors] {
            let (mut x, mut y) = (rows[p], rows[q]);
            x.iter_mut().zip(&mut y).for_each(|(x, y)| rotate(x, y));
            (rows[p], rows[q]) = (x, y);
        }
    }
    ([matrix[0][0], matrix[1][1], matrix[2][2]], vectors)
}
