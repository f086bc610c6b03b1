//! Test-time augmentation as data: which views of a photo the network classifies.
//!
//! A [`View`] says at which scale, in which orientation and with which crop the photo is shown; [`Views`]
//! is a weighted set of them. The AlexNet paper averages ten crops (section 4.1). The VGG paper uses the
//! whole image at several scales with horizontal flips, 150 crops, or both (sections 3.2 and 4.3 to 4.5).
//!
//! ```
//! use alexnet_vgg_core::vision::Views;
//!
//! assert_eq!(Views::ten_crop().as_slice().len(), 10);
//! let mine: Views = "ten-crop + rotate:10 + rotate:-10".parse()?;
//! assert_eq!(mine.as_slice().len(), 12);
//! assert_eq!(Views::multi_crop(&[224, 256, 288]).as_slice().len(), 150);
//! # Ok::<(), alexnet_vgg_core::Error>(())
//! ```

use super::orientation::Orientation;
use super::preset::LARGEST_SIDE;
use crate::architecture::{Architecture, Numbering};
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The part of an image that a view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// The center square, with the preset's `crop` as its side.
    Center,
    /// A square with the same side, from a regular grid of `of` by `of` squares that spans the
    /// image from edge to edge. With `of: 2` these are the four corners.
    Grid {
        /// Row of the grid, from 0 at the top.
        row: u32,
        /// Column of the grid, from 0 at the left.
        column: u32,
        /// Rows and columns of the grid, 2 to 100.
        of: u32,
    },
    /// The whole image, for dense evaluation (VGG paper, section 3.2).
    Whole,
}

/// One view of a photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Short side of the resized photo, in pixels, 1 to 4096; `None` for the preset's `resize`.
    #[serde(default)]
    pub scale: Option<u32>,
    /// How the resized photo is mirrored or rotated.
    pub orientation: Orientation,
    /// The part of it that is shown.
    pub crop: Crop,
    /// Weight of the view's prediction, relative to the other views; above 0.
    pub weight: f64,
}

/// A weighted set of views of a photo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Views(Vec<View>);

/// Default color of the corners that a rotation uncovers: ImageNet's mean, which normalizes to about 0.
const FILL: [u8; 3] = [124, 116, 104];
/// The most views of one photo.
const MAX_VIEWS: usize = 1000;
/// The most rows and columns of a grid of crops.
const MAX_GRID: u32 = 100;

impl Views {
    /// A set of these views.
    ///
    /// # Errors
    /// [`Error::Setting`] for no views or more than 1000, a weight that is not above 0, a grid position
    /// outside its grid, a scale outside 1 to 4096, or a rotation by an angle that is not finite.
    pub fn new(views: impl Into<Vec<View>>) -> Result<Self> {
        let views = Self(views.into());
        views.validate()?;
        Ok(views)
    }

    /// Checks what [`new`](Self::new) checks, for a set that was deserialized.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn validate(&self) -> Result<()> {
        let wrong = |expected: String, found: String| {
            Err(Error::Setting { place: "views (`--views`)".into(), expected, found })
        };
        if !(1..=MAX_VIEWS).contains(&self.0.len()) {
            return wrong(format!("1 to {MAX_VIEWS} views"), self.0.len().to_string());
        }
        let sum: f64 = self.0.iter().map(|view| view.weight).sum();
        if !sum.is_finite() {
            return wrong("weights with a finite sum".into(), sum.to_string());
        }
        for view in &self.0 {
            view.orientation.validate()?;
            if !(view.weight.is_finite() && view.weight > 0.0) {
                return wrong("a weight above 0".into(), format!("{} for {view}", view.weight));
            }
            if let Crop::Grid { row, column, of } = view.crop
                && (!(2..=MAX_GRID).contains(&of) || row >= of || column >= of)
            {
                let expected = format!("a position inside a grid of 2 to {MAX_GRID} rows");
                return wrong(expected, view.to_string());
            }
            if view.scale.is_some_and(|scale| !(1..=LARGEST_SIDE).contains(&scale)) {
                return wrong(format!("a scale of 1 to {LARGEST_SIDE} pixels"), view.to_string());
            }
        }
        Ok(())
    }

    /// The views, in order.
    pub fn as_slice(&self) -> &[View] {
        &self.0
    }

    /// The center crop alone, as torchvision's published accuracies are measured.
    pub fn center() -> Self {
        Self::product([Crop::Center], [Orientation::Upright])
    }

    /// The center crop in five orientations: upright, flipped horizontally and vertically, and mirrored
    /// along both diagonals.
    pub fn flips() -> Self {
        let orientations = [
            Orientation::Upright,
            Orientation::FlipHorizontal,
            Orientation::FlipVertical,
            Orientation::Transpose,
            Orientation::Transverse,
        ];
        Self::product([Crop::Center], orientations)
    }

    /// AlexNet's ten crops (section 4.1): the four corners and the center, and the same of the
    /// horizontally flipped image, in the order of torchvision's `TenCrop`.
    pub fn ten_crop() -> Self {
        let corners = grid(2).into_iter().chain([Crop::Center]);
        Self::product(corners, UPRIGHT_AND_FLIPPED)
    }

    /// VGG's dense evaluation (section 3.2): the whole image, upright and flipped horizontally.
    pub fn dense() -> Self {
        Self::product([Crop::Whole], UPRIGHT_AND_FLIPPED)
    }

    /// VGG's multi-crop evaluation (section 3.2): a 5×5 grid of crops and its horizontal flips at each
    /// scale, so 150 crops for three scales.
    pub fn multi_crop(scales: &[u32]) -> Self {
        Self::product(grid(5), UPRIGHT_AND_FLIPPED).at_scales(scales)
    }

    /// VGG's combination of both (section 4.4): dense and multi-crop evaluation, averaged with equal
    /// weights.
    pub fn dense_and_multi_crop(scales: &[u32]) -> Self {
        Self::dense().at_scales(scales).averaged_with(Self::multi_crop(scales))
    }

    /// VGG's test scales (section 4.2) for a network that was trained at the fixed scale `s`.
    pub fn scales_around(s: u32) -> [u32; 3] {
        [s.saturating_sub(32), s, s.saturating_add(32)]
    }

    /// VGG's test scales (section 4.2) for a network that was trained with scale jitter from 256 to 512.
    pub const SCALES: [u32; 3] = [256, 384, 512];

    /// The views that the network's own paper tests with: [`ten_crop`](Self::ten_crop) for AlexNet, dense
    /// evaluation at [`SCALES`](Self::SCALES) for VGG.
    pub fn paper(architecture: &Architecture) -> Self {
        match architecture.numbering {
            Numbering::Sequential => Self::ten_crop(),
            Numbering::Blocks => Self::dense().at_scales(&Self::SCALES),
        }
    }

    /// The center crop of the photo rotated counterclockwise by `degrees`; uncovered corners have
    /// ImageNet's mean color.
    pub fn rotated(degrees: f64) -> Self {
        Self::product([Crop::Center], [Orientation::Rotate { degrees, fill: FILL }])
    }

    /// Every crop in every orientation, with equal weights.
    pub(super) fn product(
        crops: impl IntoIterator<Item = Crop>,
        orientations: impl IntoIterator<Item = Orientation>,
    ) -> Self {
        let crops: Vec<Crop> = crops.into_iter().collect();
        let views = orientations.into_iter().flat_map(|orientation| {
            crops.iter().map(move |&crop| View { scale: None, orientation, crop, weight: 1.0 })
        });
        Self(views.collect())
    }

    /// Every view at every one of these scales (short side in pixels) instead of its own. Views that then
    /// are the same become one, with the sum of their weights. Without scales, the set is unchanged.
    pub fn at_scales(mut self, scales: &[u32]) -> Self {
        if scales.is_empty() {
            return self;
        }
        let mut distinct: Vec<View> = Vec::new();
        for view in self.0 {
            let same = |known: &&mut View| {
                (known.orientation, known.crop) == (view.orientation, view.crop)
            };
            match distinct.iter_mut().find(same) {
                Some(known) => known.weight += view.weight,
                None => distinct.push(view),
            }
        }
        self.0 = distinct;
        let at = |&scale| self.0.iter().map(move |&view| View { scale: Some(scale), ..view });
        Self(scales.iter().flat_map(at).collect())
    }

    /// The views of both sets, weighted so that each set makes up half of the prediction, as VGG averages
    /// dense and multi-crop evaluation.
    pub fn averaged_with(self, others: Self) -> Self {
        // The mean weight stays 1, so that the result can be joined with further views.
        let count = (self.0.len() + others.0.len()) as f64;
        let half = |views: Self| {
            let sum: f64 = views.0.iter().map(|view| view.weight).sum();
            let weight = move |view: &View| view.weight / sum * count / 2.0;
            views.0.into_iter().map(move |view| View { weight: weight(&view), ..view })
        };
        Self(half(self).chain(half(others)).collect())
    }

    /// The views of both sets with their weights unchanged.
    pub fn joined_with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The weights of the views, scaled to a sum of 1.
    pub fn normalized_weights(&self) -> Vec<f64> {
        let sum: f64 = self.0.iter().map(|view| view.weight).sum();
        self.0.iter().map(|view| view.weight / sum).collect()
    }
}

const UPRIGHT_AND_FLIPPED: [Orientation; 2] = [Orientation::Upright, Orientation::FlipHorizontal];

/// The squares of a grid, row by row.
fn grid(of: u32) -> Vec<Crop> {
    (0..of).flat_map(|row| (0..of).map(move |column| Crop::Grid { row, column, of })).collect()
}
