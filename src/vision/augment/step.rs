//! The steps of an augmentation, their settings, and what they leave of a photo.

use super::PrincipalColors;
use serde::{Deserialize, Serialize};

/// As in [`Preset`](crate::vision::Preset).
const LARGEST_SIDE: u32 = 4096;
const SIDE: &str = "a side from 1 to 4096";
/// A hundred times as bright is white.
const LARGEST_JITTER: f64 = 100.0;

/// One thing that an [`Augmentation`](super::Augmentation) does. Sides are in pixels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Step {
    /// The short side becomes `short`, the long one stays in proportion.
    Resize {
        /// VGG's training scale S.
        short: u32,
    },
    /// The same, where the short side is any whole number of pixels, each equally likely (VGG paper,
    /// section 3.1: multi-scale training).
    ScaleJitter {
        /// The smallest short side. VGG: 256.
        shortest: u32,
        /// The largest. VGG: 512.
        longest: u32,
    },
    /// The square in the middle.
    CenterCrop {
        /// Its side.
        side: u32,
    },
    /// A square from anywhere, each place equally likely.
    RandomCrop {
        /// Its side.
        side: u32,
    },
    /// A part of the photo of any size and shape, resized to a square without regard to its shape
    /// (Szegedy et al. 2015, section 6; drawn as by torchvision's `RandomResizedCrop`: in ten attempts,
    /// and the middle of a photo whose shape is outside of `ratio` if none fits).
    RandomResizedCrop {
        /// The square's side.
        side: u32,
        /// The smallest and the largest share of the photo's area.
        scale: [f64; 2],
        /// The narrowest and the widest shape, width over height; drawn by its logarithm.
        ratio: [f64; 2],
    },
    /// Left and right exchanged.
    HorizontalFlip {
        /// How likely that is.
        probability: f64,
    },
    /// torchvision's `ColorJitter`, as it is for Pillow's pictures: each factor is drawn uniformly, and
    /// they are applied in random order. 0 leaves one out.
    ColorJitter {
        /// From `1 - brightness`, but not below 0, to `1 + brightness`.
        brightness: f64,
        /// Likewise.
        contrast: f64,
        /// Likewise.
        saturation: f64,
        /// From `-hue` to `hue` of a turn of the color wheel, at most a half.
        hue: f64,
    },
    /// One color added to all pixels: the data set's principal components, each times its eigenvalue,
    /// times a number from N(0, sigma²) (AlexNet paper, section 4.1).
    ///
    /// It is added in floating point and not cut off at black and white, as in `fb.resnet.torch` and
    /// MXNet, and so comes after all jitter of whole levels.
    PcaColor {
        /// The paper's is 0.1.
        sigma: f64,
        /// Of your photos, or ImageNet's.
        colors: PrincipalColors,
    },
}

impl Step {
    /// What the paper calls its data augmentation's second form, with ImageNet's components.
    pub fn pca_color() -> Self {
        Self::PcaColor { sigma: 0.1, colors: PrincipalColors::imagenet() }
    }

    /// All settings that are a number of pixels.
    pub(super) fn sides(&mut self) -> Vec<&mut u32> {
        match self {
            Self::Resize { short } => vec![short],
            Self::ScaleJitter { shortest, longest } => vec![shortest, longest],
            Self::CenterCrop { side }
            | Self::RandomCrop { side }
            | Self::RandomResizedCrop { side, .. } => vec![side],
            Self::HorizontalFlip { .. } | Self::ColorJitter { .. } | Self::PcaColor { .. } => {
                vec![]
            }
        }
    }

    /// What the settings should be, if they are not.
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
                "a side from 1 to 4096, 0 < scale <= 1 and 0 < ratio, the smaller one first",
            ),
            &Self::HorizontalFlip { probability } => {
                ((0.0..=1.0).contains(&probability), "a probability from 0 to 1")
            }
            &Self::ColorJitter { brightness, contrast, saturation, hue } => (
                [brightness, contrast, saturation]
                    .iter()
                    .all(|x| (0.0..=LARGEST_JITTER).contains(x))
                    && (0.0..=0.5).contains(&hue),
                "numbers from 0 to 100, and a hue of at most 0.5",
            ),
            Self::PcaColor { sigma, colors } => (
                (0.0..=LARGEST_JITTER).contains(sigma) && colors.validate().is_ok(),
                "a sigma from 0 to 100, and eigenvalues and orthonormal eigenvectors of a covariance \
                 of values from 0 to 1",
            ),
        };
        (!valid).then_some(expected)
    }
}

/// What is known of a picture between two steps, whatever the photo was.
#[derive(Default)]
pub(super) struct Known {
    /// It is a square of that side.
    pub square: Option<u32>,
    /// Its short side has at least so many pixels.
    short: Option<u32>,
    /// It is shifted by principal colors.
    shifted: bool,
}

impl Known {
    /// What is known after `step`; what the step should have been, if it does not go together with those
    /// before.
    pub fn then(&mut self, step: &Step) -> Result<(), String> {
        if let Some(expected) = step.out_of_range() {
            return Err(expected.into());
        }
        match *step {
            Step::Resize { short } => self.resized(short, short),
            Step::ScaleJitter { shortest, longest } => self.resized(shortest, longest),
            Step::CenterCrop { side } | Step::RandomCrop { side } => {
                if let Some(short) = self.short.filter(|&short| short < side) {
                    return Err(format!("a side of at most {short}"));
                }
                self.cropped(side);
            }
            Step::RandomResizedCrop { side, .. } => self.cropped(side),
            Step::HorizontalFlip { .. } => {}
            Step::ColorJitter { .. } if self.shifted => {
                return Err("color jitter before PcaColor".into());
            }
            Step::ColorJitter { .. } => {}
            Step::PcaColor { .. } => self.shifted = true,
        }
        Ok(())
    }

    fn resized(&mut self, shortest: u32, longest: u32) {
        let stays_known = self.square.is_some() && shortest == longest;
        self.square = stays_known.then_some(shortest);
        self.short = Some(shortest);
    }

    fn cropped(&mut self, side: u32) {
        (self.square, self.short) = (Some(side), Some(side));
    }
}
