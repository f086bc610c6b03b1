//! The random steps of an augmentation: their settings, and the static checks of a list of them.

use crate::vision::pca_color::ColorPca;
use crate::vision::preset::LARGEST_SIDE;
use serde::{Deserialize, Serialize};

const SIDE: &str = "a side from 1 to 4096";
/// Largest factor of color jitter: a hundred times as bright is white.
const MAX_JITTER: f64 = 100.0;

/// One random step of an [`Augmentation`](super::Augmentation). Lengths are in pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// Resizes the short side to `short`, and the long side in proportion.
    Resize {
        /// Length of the short side: VGG's training scale S.
        short: u32,
    },
    /// Resizes the short side to a random length, uniform over the integers from `shortest` to `longest`, and
    /// the long side in proportion (VGG paper, section 3.1: multi-scale training).
    ScaleJitter {
        /// Smallest length of the short side; VGG: 256.
        shortest: u32,
        /// Largest length of the short side; VGG: 512.
        longest: u32,
    },
    /// Crops to the center square.
    CenterCrop {
        /// Side of the square.
        side: u32,
    },
    /// Crops to a square at a uniformly random position.
    RandomCrop {
        /// Side of the square.
        side: u32,
    },
    /// Crops to a random region and resizes it to a square (Szegedy et al. 2015, section 6). The region is
    /// drawn as by torchvision's `RandomResizedCrop`: up to ten attempts, then the largest centered region
    /// whose aspect ratio is within `ratio`.
    RandomResizedCrop {
        /// Side of the square.
        side: u32,
        /// Smallest and largest area of the region, as a fraction of the image's.
        scale: [f64; 2],
        /// Smallest and largest aspect ratio (width over height); its logarithm is uniform.
        ratio: [f64; 2],
    },
    /// Exchanges left and right with some probability.
    HorizontalFlip {
        /// Probability of a flip, 0 to 1.
        probability: f64,
    },
    /// Turns the image around its center by a random angle, uniform from `-degrees` to `degrees`. Its size stays the same;
    /// what was outside is black, as by torchvision's `RandomRotation` with bilinear interpolation.
    RandomRotation {
        /// The largest angle, 0 to 180.
        degrees: f64,
    },
    /// torchvision's `ColorJitter` for Pillow images: the factors are drawn uniformly and applied in random
    /// order. A range of 0 leaves an adjustment out.
    ColorJitter {
        /// The factor is from `1 - brightness` (but at least 0) to `1 + brightness`.
        brightness: f64,
        /// The factor is from `1 - contrast` (but at least 0) to `1 + contrast`.
        contrast: f64,
        /// The factor is from `1 - saturation` (but at least 0) to `1 + saturation`.
        saturation: f64,
        /// The colors turn by `-hue` to `hue` of the color wheel, at most 0.5.
        hue: f64,
    },
    /// PCA color augmentation: adds one color to all pixels, the sum of the principal components, each times
    /// its eigenvalue times a random number from N(0, sigma²) (AlexNet paper, section 4.1).
    ///
    /// It is added in floating point and not clamped at black and white, as in `fb.resnet.torch` and MXNet.
    /// So it must come after all color jitter and rotations, which work on whole levels.
    PcaColor {
        /// Standard deviation of the random factors; 0.1 in the paper.
        sigma: f64,
        /// Principal components of the colors of your photos, or of ImageNet.
        colors: ColorPca,
    },
}

impl Step {
    /// The second form of data augmentation in the AlexNet paper, with ImageNet's components.
    pub fn pca_color() -> Self {
        Self::PcaColor { sigma: 0.1, colors: ColorPca::imagenet() }
    }

    /// All settings that are lengths in pixels.
    pub(super) fn lengths(&mut self) -> Vec<&mut u32> {
        match self {
            Self::Resize { short } => vec![short],
            Self::ScaleJitter { shortest, longest } => vec![shortest, longest],
            Self::CenterCrop { side }
            | Self::RandomCrop { side }
            | Self::RandomResizedCrop { side, .. } => vec![side],
            Self::HorizontalFlip { .. }
            | Self::RandomRotation { .. }
            | Self::ColorJitter { .. }
            | Self::PcaColor { .. } => vec![],
        }
    }

    /// The expected settings, if these are out of range.
    fn out_of_range(&self) -> Option<&'static str> {
        let side = |side: u32| (1..=LARGEST_SIDE).contains(&side);
        let (valid, expected) = match self {
            &Self::Resize { short } => (side(short), SIDE),
            &Self::CenterCrop { side: of } | &Self::RandomCrop { side: of } => (side(of), SIDE),
            &Self::ScaleJitter { shortest, longest } => (
                side(shortest) && side(longest) && shortest <= longest,
                "1 <= shortest <= longest <= 4096",
            ),
            &Self::RandomResizedCrop { side: of, scale: [least, most], ratio: [narrow, wide] } => (
                side(of)
                    && (0.0 < least && least <= most && most <= 1.0)
                    && (0.0 < narrow && narrow <= wide && wide.is_finite()),
                "a side from 1 to 4096, 0 < scale <= 1 and 0 < ratio, each with the smaller value first",
            ),
            &Self::HorizontalFlip { probability } => {
                ((0.0..=1.0).contains(&probability), "a probability from 0 to 1")
            }
            &Self::RandomRotation { degrees } => {
                ((0.0..=180.0).contains(&degrees), "an angle from 0 to 180 degrees")
            }
            &Self::ColorJitter { brightness, contrast, saturation, hue } => (
                [brightness, contrast, saturation].iter().all(|x| (0.0..=MAX_JITTER).contains(x))
                    && (0.0..=0.5).contains(&hue),
                "numbers from 0 to 100, and a hue of at most 0.5",
            ),
            Self::PcaColor { sigma, colors } => (
                (0.0..=MAX_JITTER).contains(sigma) && colors.validate().is_ok(),
                "a sigma from 0 to 100, and eigenvalues and orthonormal eigenvectors of the covariance \
                 of values from 0 to 1",
            ),
        };
        (!valid).then_some(expected)
    }
}

/// What is known about the image between two steps, whatever the photo was.
#[derive(Default)]
pub(super) struct KnownShape {
    /// Side of the image, if it is known to be a square of that side.
    pub square: Option<u32>,
    /// Smallest possible length of its short side, if known.
    min_short: Option<u32>,
    /// Whether a PCA color shift has been added.
    has_shift: bool,
}

impl KnownShape {
    /// Updates what is known by one more step. The error is what was expected instead, if the step cannot
    /// follow the ones before it.
    pub fn after(&mut self, step: &Step) -> Result<(), String> {
        if let Some(expected) = step.out_of_range() {
            return Err(expected.into());
        }
        match *step {
            Step::Resize { short } => self.resized(short, short),
            Step::ScaleJitter { shortest, longest } => self.resized(shortest, longest),
            Step::CenterCrop { side } | Step::RandomCrop { side } => {
                if let Some(short) = self.min_short.filter(|&short| short < side) {
                    return Err(format!("a side of at most {short}"));
                }
                self.cropped(side);
            }
            Step::RandomResizedCrop { side, .. } => self.cropped(side),
            Step::HorizontalFlip { .. } => {}
            Step::ColorJitter { .. } if self.has_shift => {
                return Err("color jitter before PcaColor".into());
            }
            Step::RandomRotation { .. } if self.has_shift => {
                return Err("rotation before PcaColor".into());
            }
            Step::ColorJitter { .. } | Step::RandomRotation { .. } => {}
            Step::PcaColor { .. } => self.has_shift = true,
        }
        Ok(())
    }

    fn resized(&mut self, shortest: u32, longest: u32) {
        let stays_square = self.square.is_some() && shortest == longest;
        self.square = stays_square.then_some(shortest);
        self.min_short = Some(shortest);
    }

    fn cropped(&mut self, side: u32) {
        (self.square, self.min_short) = (Some(side), Some(side));
    }
}
