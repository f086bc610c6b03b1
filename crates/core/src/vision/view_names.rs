//! Views as text: how they are displayed, and the names that sets of views are parsed from.

use super::orientation::Orientation;
use super::test_time_augmentation::{Crop, View, Views};
use crate::error::{Error, Result};

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

impl std::fmt::Display for View {
    /// `top left hflip 256`: the crop, then the orientation and the scale where they are not the default.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.crop)?;
        if self.orientation != Orientation::Upright {
            write!(f, " {}", self.orientation)?;
        }
        self.scale.map_or(Ok(()), |scale| write!(f, " {scale}"))
    }
}

/// What [`Views`] can be parsed from.
const NAMES: &str = "center, flips, ten-crop, dense, multi-crop, both, upright, hflip, vflip, transpose, \
    transverse or rotate:DEGREES, or several of them joined by +";

impl std::str::FromStr for Views {
    type Err = Error;

    /// A set by name, or several joined by `+`. The sets are `center`, `flips`, `ten-crop`, `dense`,
    /// `multi-crop` (150 crops, at [`SCALES`](Views::SCALES)) and `both` (of the last two); `upright`,
    /// `hflip`, `vflip`, `transpose`, `transverse` and `rotate:10` are the center crop in one orientation.
    fn from_str(text: &str) -> Result<Self> {
        let unknown = |name: &str| Error::UnknownName {
            kind: "view".into(),
            name: name.into(),
            known: NAMES.into(),
        };
        let oriented = |orientation| Self::product([Crop::Center], [orientation]);
        let by_name = |name: &str| {
            Ok(match name.trim() {
                "center" | "upright" => Self::center(),
                "flips" => Self::flips(),
                "ten-crop" => Self::ten_crop(),
                "dense" => Self::dense(),
                "multi-crop" => Self::multi_crop(&Self::SCALES),
                "both" => Self::dense_and_multi_crop(&Self::SCALES),
                "hflip" => oriented(Orientation::FlipHorizontal),
                "vflip" => oriented(Orientation::FlipVertical),
                "transpose" => oriented(Orientation::Transpose),
                "transverse" => oriented(Orientation::Transverse),
                name => match name.strip_prefix("rotate:").map(str::parse) {
                    Some(Ok(degrees)) => Self::rotated(degrees),
                    _ => return Err(unknown(name)),
                },
            })
        };
        let sets = text.split('+').map(by_name).collect::<Result<Vec<Self>>>()?;
        let views: Vec<View> = sets.iter().flat_map(|set| set.as_slice()).copied().collect();
        Self::new(views)
    }
}
