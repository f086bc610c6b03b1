//! What the network looks at when it is asked about one photo: test-time augmentation as data.
//!
//! A [`View`] says at which size, in which pose and which part of the photo is shown; [`Views`] is a
//! set of them with weights. AlexNet's paper averages ten crops (section 4.1), VGG's the whole picture
//! at several sizes and both ways round, or 150 crops, or both (sections 3.2 and 4.3 to 4.5).
//!
//! ```
//! use alexnet_vgg::vision::Views;
//!
//! assert_eq!(Views::ten_crop().as_slice().len(), 10);
//! let mine: Views = "ten-crop + rotate:10 + rotate:-10".parse()?;
//! assert_eq!(mine.as_slice().len(), 12);
//! assert_eq!(Views::multi_crop(&[224, 256, 288]).as_slice().len(), 150);
//! # Ok::<(), alexnet_vgg::Error>(())
//! ```

use super::pose::{Pose, Posed, rotate};
use super::preprocess::Preset;
use super::resize::{Rectangle, resize};
use crate::error::{Error, Result};
use crate::models::{Architecture, Numbering};
use image::RgbImage;
use serde::{Deserialize, Serialize};

/// The part of a picture that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Crop {
    /// The square in the middle, as large as the preset's `crop`.
    Center,
    /// Such a square of a regular grid of `of` by `of` squares, that reaches from edge to edge: with 2
    /// they are the four corners.
    Grid {
        /// From the top, from 0.
        row: u32,
        /// From the left, from 0.
        column: u32,
        /// Squares in a row, and rows; at least 2.
        of: u32,
    },
    /// All of it, for dense evaluation: the network slides over it (VGG paper, section 3.2).
    Whole,
}

impl std::fmt::Display for Crop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Crop::Center => f.write_str("center"),
            Crop::Grid { row, column, of: 2 } => f.write_str(match (row, column) {
                (0, 0) => "top left",
                (0, _) => "top right",
                (_, 0) => "bottom left",
                _ => "bottom right",
            }),
            Crop::Grid { row, column, of } => write!(f, "{row},{column} of {of}x{of}"),
            Crop::Whole => f.write_str("whole"),
        }
    }
}

/// One look at a photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// The short side that the photo is resized to, in pixels; `None`: the preset's.
    #[serde(default)]
    pub scale: Option<u32>,
    /// How the resized photo is turned.
    pub pose: Pose,
    /// What is cut from it then.
    pub crop: Crop,
    /// Its part in the answer, as a share of all weights; above 0.
    pub weight: f64,
}

impl std::fmt::Display for View {
    /// `top left hflip 256`: what differs from the plainest view.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.crop)?;
        if self.pose != Pose::Upright {
            write!(f, " {}", self.pose)?;
        }
        self.scale.map_or(Ok(()), |scale| write!(f, " {scale}"))
    }
}

/// The views of a photo, and their weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Views(Vec<View>);

/// The color of what a rotation brings in from outside, where nobody names another: ImageNet's mean,
/// which becomes about zero.
const FILL: [u8; 3] = [124, 116, 104];

/// Views of one photo, at most.
const MOST_VIEWS: usize = 1000;

impl Views {
    /// These views.
    ///
    /// # Errors
    /// [`Error::Setting`] for none or more than 1000, a weight that is not above 0, a place outside
    /// of its grid, or an angle that is not a number.
    pub fn new(views: impl Into<Vec<View>>) -> Result<Self> {
        let views = Self(views.into());
        views.validate()?;
        Ok(views)
    }

    /// `Ok` if [`new`](Self::new) would take them: for those that come from a file.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn validate(&self) -> Result<()> {
        let wrong = |expected: &str, found: String| {
            Err(Error::Setting { place: "views".into(), expected: expected.into(), found })
        };
        if !(1..=MOST_VIEWS).contains(&self.0.len()) {
            return wrong("1 to 1000 views", self.0.len().to_string());
        }
        let all: f64 = self.0.iter().map(|view| view.weight).sum();
        if !all.is_finite() {
            return wrong("weights with a finite sum", all.to_string());
        }
        for view in &self.0 {
            view.pose.validate()?;
            if !(view.weight.is_finite() && view.weight > 0.0) {
                return wrong("a weight above 0", format!("{} for {view}", view.weight));
            }
            if let Crop::Grid { row, column, of } = view.crop
                && (!(2..=LARGEST_GRID).contains(&of) || row >= of || column >= of)
            {
                return wrong("a place inside a grid of 2 to 100", format!("{view}"));
            }
            if view.scale.is_some_and(|scale| !(1..=LARGEST_SCALE).contains(&scale)) {
                return wrong("a scale of 1 to 4096 pixels", format!("{view}"));
            }
        }
        Ok(())
    }

    /// All of them, in order.
    pub fn as_slice(&self) -> &[View] {
        &self.0
    }

    /// The center alone: what torchvision's accuracies are measured with.
    pub fn center() -> Self {
        Self::cut([Crop::Center], [Pose::Upright])
    }

    /// The center upright, flipped horizontally and vertically, and at both diagonals.
    pub fn flips() -> Self {
        let poses = [Pose::FlipHorizontal, Pose::FlipVertical, Pose::Transpose, Pose::Transverse];
        Self::cut([Crop::Center], [vec![Pose::Upright], poses.to_vec()].concat())
    }

    /// AlexNet's ten (section 4.1): the corners and the center, and the same of the picture flipped
    /// horizontally; in the order of torchvision's `TenCrop`.
    pub fn ten_crop() -> Self {
        let corners = grid(2).into_iter().chain([Crop::Center]);
        Self::cut(corners, [Pose::Upright, Pose::FlipHorizontal])
    }

    /// VGG's dense evaluation (section 3.2): the whole picture, and flipped horizontally.
    pub fn dense() -> Self {
        Self::cut([Crop::Whole], [Pose::Upright, Pose::FlipHorizontal])
    }

    /// VGG's many crops (section 3.2): a grid of 5 by 5 and its horizontal flips, at each scale. Three
    /// scales make 150.
    pub fn multi_crop(scales: &[u32]) -> Self {
        Self::cut(grid(5), [Pose::Upright, Pose::FlipHorizontal]).at_scales(scales)
    }

    /// VGG's best single network (section 4.4): dense evaluation and many crops, each half of the
    /// answer.
    pub fn dense_and_multi_crop(scales: &[u32]) -> Self {
        Self::dense().at_scales(scales).and(Self::multi_crop(scales))
    }

    /// VGG's test scales (section 4.2) for a network trained at the fixed scale `s`.
    pub fn scales_around(s: u32) -> [u32; 3] {
        [s.saturating_sub(32), s, s.saturating_add(32)]
    }

    /// VGG's test scales (section 4.2) for a network trained with scale jitter from 256 to 512.
    pub const SCALES: [u32; 3] = [256, 384, 512];

    /// As the network's own paper tested: [`ten_crop`](Self::ten_crop) for AlexNet, and for VGG dense
    /// evaluation at [`SCALES`](Self::SCALES).
    pub fn paper(architecture: &Architecture) -> Self {
        match architecture.numbering {
            Numbering::Sequential => Self::ten_crop(),
            Numbering::Blocks => Self::dense().at_scales(&Self::SCALES),
        }
    }

    /// The center, turned by so many degrees counter-clockwise; ImageNet's mean color in the corners
    /// that it does not reach.
    pub fn rotated(degrees: f64) -> Self {
        Self::cut([Crop::Center], [Pose::Rotate { degrees, fill: FILL }])
    }

    /// Every crop in every pose, with equal weights.
    fn cut(crops: impl IntoIterator<Item = Crop>, poses: impl IntoIterator<Item = Pose>) -> Self {
        let crops: Vec<Crop> = crops.into_iter().collect();
        let of_pose =
            |pose| crops.iter().map(move |&crop| View { scale: None, pose, crop, weight: 1.0 });
        Self(poses.into_iter().flat_map(of_pose).collect())
    }

    /// Every view at every scale (short side in pixels) instead of its own; as it is for no scales. Views
    /// that differed in nothing else become one, with the weight of all.
    pub fn at_scales(mut self, scales: &[u32]) -> Self {
        if scales.is_empty() {
            return self;
        }
        let mut distinct: Vec<View> = Vec::new();
        for view in self.0 {
            let same = |known: &&mut View| (known.pose, known.crop) == (view.pose, view.crop);
            match distinct.iter_mut().find(same) {
                Some(known) => known.weight += view.weight,
                None => distinct.push(view),
            }
        }
        self.0 = distinct;
        let at = |&scale| self.0.iter().map(move |&view| View { scale: Some(scale), ..view });
        Self(scales.iter().flat_map(at).collect())
    }

    /// These and others, each set with half of the weight: VGG averages its two ways of testing so.
    pub fn and(self, others: Self) -> Self {
        // Together they weigh as much as so many views usually do, also beside others.
        let count = (self.0.len() + others.0.len()) as f64;
        let half = |views: Self| {
            let all: f64 = views.0.iter().map(|view| view.weight).sum();
            let weight = move |view: &View| view.weight / all * count / 2.0;
            views.0.into_iter().map(move |view| View { weight: weight(&view), ..view })
        };
        Self(half(self).chain(half(others)).collect())
    }

    /// These and others, each view with its own weight.
    pub fn with(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// The views' shares of the answer: together 1.
    pub fn weights(&self) -> Vec<f64> {
        let all: f64 = self.0.iter().map(|view| view.weight).sum();
        self.0.iter().map(|view| view.weight / all).collect()
    }

    /// The sets that have names, and what they are.
    const NAMES: &str = "center, flips, ten-crop, dense, multi-crop, both, upright, hflip, vflip, \
        transpose, transverse or rotate:DEGREES, or several with + between them";
}

/// Cells of a grid, row by row.
fn grid(of: u32) -> Vec<Crop> {
    (0..of).flat_map(|row| (0..of).map(move |column| Crop::Grid { row, column, of })).collect()
}

impl std::str::FromStr for Views {
    type Err = Error;

    /// A set by name, or several with `+` between them: `center`, `flips`, `ten-crop`, `dense`,
    /// `multi-crop` (150, at [`SCALES`](Views::SCALES)), `both` (of these two); or the center in one
    /// pose: `upright`, `hflip`, `vflip`, `transpose`, `transverse`, `rotate:10`.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = |name: &str| Error::Setting {
            place: "views".into(),
            expected: Self::NAMES.into(),
            found: name.into(),
        };
        let in_pose = |pose| Self::cut([Crop::Center], [pose]);
        let named = |name: &str| {
            Ok(match name.trim() {
                "center" | "center" | "upright" => Self::center(),
                "flips" => Self::flips(),
                "ten-crop" => Self::ten_crop(),
                "dense" => Self::dense(),
                "multi-crop" => Self::multi_crop(&Self::SCALES),
                "both" => Self::dense_and_multi_crop(&Self::SCALES),
                "hflip" => in_pose(Pose::FlipHorizontal),
                "vflip" => in_pose(Pose::FlipVertical),
                "transpose" => in_pose(Pose::Transpose),
                "transverse" => in_pose(Pose::Transverse),
                name => match name.strip_prefix("rotate:").map(str::parse) {
                    Some(Ok(degrees)) => Self::rotated(degrees),
                    _ => return Err(unknown(name)),
                },
            })
        };
        let sets = text.split('+').map(named).collect::<Result<Vec<Self>>>()?;
        Self::new(sets.into_iter().flat_map(|set| set.0).collect::<Vec<View>>())
    }
}

/// Pixels of a picture that is shown whole: VGG's first maps take 256 bytes for each of them, and a photo
/// that is long and narrow would have millions at the usual scales.
const MOST_WHOLE: u64 = 1 << 22;

/// Whole pictures of one photo, which are in memory together.
const MOST_WHOLES: usize = 64;

/// Pixels of all squares of one photo, which are in memory together: 12 bytes each, as the network takes
/// them. VGG's 150 have 7.5 million.
const MOST_PIXELS: u64 = 40_000_000;

/// The squares of a grid that anybody could want in a row.
const LARGEST_GRID: u32 = 100;
/// As for a preset's `resize`.
const LARGEST_SCALE: u32 = 4096;

/// The pixels of one photo's views, normalized, ready for the network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shown {
    /// The squares, `[N, 3, crop, crop]` flat, in the order of the views that are squares.
    pub squares: Vec<f32>,
    /// The whole pictures, in the order of the views that are whole.
    pub wholes: Vec<Whole>,
}

/// A whole picture, normalized.
#[derive(Clone, Debug, PartialEq)]
pub struct Whole {
    /// `[3, height, width]`, flat.
    pub values: Vec<f32>,
    /// Height and width.
    pub size: [usize; 2],
}

impl Preset {
    /// What the network sees of a photo in each of the views. The photo is resized once for each scale
    /// and turned once for each rotation; flips and crops are read from there.
    ///
    /// # Errors
    /// [`Error::Setting`] if [the preset](Self::validate) or [the views](Views::validate) are not valid
    /// or a square does not fit into its scale, and [`Error::Picture`] for a photo so narrow that
    /// resizing it would take gigabytes, or of more than four million pixels where it is shown whole.
    pub fn views(&self, photo: &RgbImage, views: &Views) -> Result<Shown> {
        self.expect_views(views)?;
        let levels = self.levels([0.0; 3]);
        let mut pictures = Pictures { photo, resized: Vec::new(), turned: Vec::new() };
        let mut shown = Shown::default();
        for view in &views.0 {
            let picture = pictures.get(view.scale.unwrap_or(self.resize), view.pose)?;
            let posed = Posed::new(picture, view.pose);
            let window = self.window(view.crop, &posed)?;
            let (corner, size) = ([window.left, window.top], [window.width, window.height]);
            let values = 3 * size[0] as usize * size[1] as usize;
            match view.crop {
                Crop::Whole => {
                    let mut values = vec![0.0; values];
                    posed.normalize(&levels, corner, size, &mut values);
                    let size = [size[1] as usize, size[0] as usize];
                    shown.wholes.push(Whole { values, size });
                }
                _ => {
                    let start = shown.squares.len();
                    shown.squares.resize(start + values, 0.0);
                    posed.normalize(&levels, corner, size, &mut shown.squares[start..]);
                }
            }
        }
        Ok(shown)
    }

    /// The pixels of one view: what [`views`](Self::views) normalizes, to look at.
    ///
    /// # Errors
    /// As for [`views`](Self::views).
    pub fn view(&self, photo: &RgbImage, view: View) -> Result<RgbImage> {
        self.expect_views(&Views::new([view])?)?;
        let mut pictures = Pictures { photo, resized: Vec::new(), turned: Vec::new() };
        let picture = pictures.get(view.scale.unwrap_or(self.resize), view.pose)?;
        let posed = Posed::new(picture, view.pose);
        let window = self.window(view.crop, &posed)?;
        Ok(posed.pixels([window.left, window.top], [window.width, window.height]))
    }

    /// `Ok` if both are valid, every square fits into its scale, and the views of one photo are no more
    /// than 64 whole pictures and 40 million pixels in squares.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn expect_views(&self, views: &Views) -> Result<()> {
        self.validate()?;
        views.validate()?;
        let wrong = |expected: String, found: String| {
            Err(Error::Setting { place: "views".into(), expected, found })
        };
        let is_too_small = |view: &&View| {
            view.crop != Crop::Whole && view.scale.is_some_and(|scale| scale < self.crop)
        };
        if let Some(view) = views.0.iter().find(is_too_small) {
            let expected = format!("a scale of at least the crop, {}", self.crop);
            return wrong(expected, view.to_string());
        }
        let wholes = views.0.iter().filter(|view| view.crop == Crop::Whole).count();
        let pixels = u64::from(self.crop).pow(2) * (views.0.len() - wholes) as u64;
        if wholes > MOST_WHOLES || pixels > MOST_PIXELS {
            return wrong(
                format!(
                    "at most {MOST_WHOLES} whole pictures, and {MOST_PIXELS} pixels in squares"
                ),
                format!("{wholes} and {pixels}"),
            );
        }
        Ok(())
    }

    /// The pixels of a posed picture that a crop shows.
    fn window(&self, crop: Crop, posed: &Posed) -> Result<Rectangle> {
        let size = (posed.width, posed.height);
        let center = Rectangle::center(size, self.crop.min(size.0).min(size.1))?;
        Ok(match crop {
            Crop::Center => center,
            Crop::Grid { row, column, of } => {
                let steps = u64::from(of.max(2) - 1);
                // To the nearest pixel.
                let at = |room: u32, index: u32| {
                    ((2 * u64::from(room) * u64::from(index) + steps) / (2 * steps)) as u32
                };
                let [left, top] =
                    [at(size.0 - center.width, column), at(size.1 - center.height, row)];
                Rectangle { left, top, ..center }
            }
            Crop::Whole if u64::from(size.0) * u64::from(size.1) > MOST_WHOLE => {
                return Err(Error::Picture {
                    place: "dense evaluation".into(),
                    expected: format!("at most {MOST_WHOLE} pixels, once resized"),
                    found: format!("a picture of {}x{}", size.0, size.1),
                });
            }
            Crop::Whole => Rectangle::whole(size),
        })
    }
}

/// A photo in the sizes and rotations that were asked for.
struct Pictures<'a> {
    photo: &'a RgbImage,
    resized: Vec<(u32, RgbImage)>,
    turned: Vec<(u32, Pose, RgbImage)>,
}

impl Pictures<'_> {
    fn get(&mut self, scale: u32, pose: Pose) -> Result<&RgbImage> {
        let at = match self.resized.iter().position(|(known, _)| *known == scale) {
            Some(at) => at,
            None => {
                self.resized.push((scale, resize(self.photo, scale)?));
                self.resized.len() - 1
            }
        };
        let Pose::Rotate { degrees, fill } = pose else { return Ok(&self.resized[at].1) };
        let known = |turned: &(u32, Pose, RgbImage)| (turned.0, turned.1) == (scale, pose);
        let at = match self.turned.iter().position(known) {
            Some(at) => at,
            None => {
                let picture = rotate(&self.resized[at].1, degrees, fill);
                self.turned.push((scale, pose, picture));
                self.turned.len() - 1
            }
        };
        Ok(&self.turned[at].2)
    }
}
