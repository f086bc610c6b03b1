//! PCA color augmentation (AlexNet paper, section 4.1): the principal components of a data set's colors, and
//! the random shift along them.

use super::color_statistics::ColorStatistics;
use crate::error::{Error, Result};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// Principal component analysis of a data set's colors: eigenvalues and eigenvectors of the 3×3 covariance
/// of its pixels' RGB values.
///
/// The RGB values are from 0 to 1, so the eigenvalues are *variances* on that scale. The unit matters,
/// because the paper's formula multiplies by a variance and not by a standard deviation: with eigenvalues
/// on another scale, the same formula is a different augmentation.
///
/// ```
/// use alexnet_vgg_core::vision::{RgbImage, augment::ColorPca};
///
/// // Pixels that differ only in brightness vary along one component: gray.
/// let grays = RgbImage::from_fn(256, 1, |x, _| image::Rgb([x as u8; 3]));
/// let pca = ColorPca::from_photos([Ok(grays)])?;
/// assert!(pca.eigenvectors[0].iter().all(|v| (v - 3f64.sqrt().recip()).abs() < 1e-12));
/// assert!(pca.eigenvalues[0] > 0.2 && pca.eigenvalues[1] < 1e-12);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColorPca {
    /// The paper's λ: variances along the components, for values from 0 to 1, the largest first.
    pub eigenvalues: [f64; 3],
    /// The paper's p: unit vectors of red, green and blue, in the order of the eigenvalues.
    pub eigenvectors: [[f64; 3]; 3],
}

impl ColorPca {
    /// ImageNet's components as published with `fb.resnet.torch` (Facebook, 2016) and widely used since:
    /// 0.2175, 0.0188, 0.0045 on the scale from 0 to 1. Other programs write them as 55.46, 4.794, 1.148
    /// for pixels from 0 to 255, which is 255 times as much: the shift keeps its proportion to the pixels.
    ///
    /// They are variances: their covariance has the standard deviations 0.28, 0.28 and 0.29 for red, green
    /// and blue, which are those of photos.
    pub fn imagenet() -> Self {
        Self {
            eigenvalues: [0.2175, 0.0188, 0.0045],
            eigenvectors: [
                [-0.5675, -0.5808, -0.5836],
                [0.7192, -0.0045, -0.6948],
                [0.4009, -0.8140, 0.4203],
            ],
        }
    }

    /// The components of all pixels of `photos`, in one pass on this thread. To use several threads, merge
    /// [`ColorStatistics`].
    ///
    /// # Errors
    /// The first error among the photos, and [`Error::Setting`] if there is no pixel.
    pub fn from_photos(photos: impl IntoIterator<Item = Result<RgbImage>>) -> Result<Self> {
        let mut statistics = ColorStatistics::default();
        for photo in photos {
            statistics.add(&photo?);
        }
        statistics.pca()
    }

    /// The color that the paper adds to each pixel, `[p1, p2, p3] [α1 λ1, α2 λ2, α3 λ3]ᵀ`: red, green and
    /// blue on the scale from 0 to 1.
    pub fn shift(&self, alphas: [f64; 3]) -> [f64; 3] {
        std::array::from_fn(|color| {
            (0..3).map(|i| self.eigenvectors[i][color] * alphas[i] * self.eigenvalues[i]).sum()
        })
    }

    /// Checks that these can be eigenvalues and eigenvectors of a covariance: eigenvalues that are finite
    /// and not negative, and orthonormal eigenvectors (to within 0.001, because published ones have four
    /// digits).
    ///
    /// # Errors
    /// [`Error::Setting`] with the numbers.
    pub fn validate(&self) -> Result<()> {
        const TOLERANCE: f64 = 1e-3;
        let product = |i: usize, j: usize| -> f64 {
            (0..3).map(|color| self.eigenvectors[i][color] * self.eigenvectors[j][color]).sum()
        };
        let orthonormal = (0..3).all(|i| {
            (0..3).all(|j| (product(i, j) - f64::from(u8::from(i == j))).abs() <= TOLERANCE)
        });
        // Values from 0 to 1 vary most if half of the pixels are black and half are white.
        const LARGEST: f64 = 0.75;
        let variance = 0.0..=LARGEST + TOLERANCE;
        if orthonormal && self.eigenvalues.iter().all(|value| variance.contains(value)) {
            return Ok(());
        }
        Err(Error::Setting {
            place: "color PCA".into(),
            expected: format!(
                "eigenvalues from 0 to {LARGEST} (variances of values from 0 to 1) and orthonormal \
                 eigenvectors"
            ),
            found: format!("{:?} and {:?}", self.eigenvalues, self.eigenvectors),
        })
    }
}

impl ColorStatistics {
    /// The principal components of the pixels. The largest entry of each eigenvector is positive.
    ///
    /// # Errors
    /// [`Error::Setting`] if no pixel was counted.
    pub fn pca(&self) -> Result<ColorPca> {
        let (values, vectors) = symmetric_eigen(self.covariance()?);
        let mut order = [0, 1, 2];
        order.sort_by(|&i, &j| values[j].total_cmp(&values[i]));
        let with_sign = |vector: [f64; 3]| {
            let largest = vector
                .into_iter()
                .fold(0.0, |most: f64, entry| if entry.abs() > most.abs() { entry } else { most });
            vector.map(|entry| entry * largest.signum())
        };
        Ok(ColorPca {
            // Rounding can make a variance of 0 negative.
            eigenvalues: order.map(|i| values[i].max(0.0)),
            eigenvectors: order.map(|i| with_sign(vectors[i])),
        })
    }
}

/// Eigenvalues and eigenvectors of a symmetric 3×3 matrix, by Jacobi rotations. The eigenvectors are a
/// product of rotations, and therefore orthonormal for any matrix.
fn symmetric_eigen(mut matrix: [[f64; 3]; 3]) -> ([f64; 3], [[f64; 3]; 3]) {
    /// Convergence is quadratic: five sweeps are enough for any matrix of f64.
    const SWEEPS: usize = 10;
    let mut vectors = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    for (p, q) in [(0, 1), (0, 2), (1, 2)].repeat(SWEEPS) {
        if matrix[p][q] == 0.0 {
            continue;
        }
        // The smaller of the two angles that zero this entry.
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
