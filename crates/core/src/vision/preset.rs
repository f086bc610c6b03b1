//! Preprocessing as data: how an image must be resized, cropped and normalized for a set of weights.
//!
//! This file describes it; `preprocess` carries it out.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::path::Path;

/// Largest `resize` of a preset, and largest scale of a view or augmentation step, in pixels.
pub(super) const LARGEST_SIDE: u32 = 4096;

/// The channels of `[N, C, H, W]`, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Channels {
    /// Red, green, blue.
    #[default]
    #[serde(alias = "RGB", alias = "rgb")]
    Rgb,
    /// Blue, green, red: OpenCV's order, and therefore Caffe's.
    #[serde(alias = "BGR", alias = "bgr")]
    Bgr,
    /// One channel: the luma of a color photo, 0.299 red + 0.587 green + 0.114 blue (ITU-R BT.601), as by Pillow's
    /// `convert("L")`.
    #[serde(alias = "gray")]
    Gray,
}

impl Channels {
    /// How many they are: 1 or 3.
    pub fn count(self) -> usize {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// How images are preprocessed, as data. A preset belongs to a set of weights: with another preset, the
/// same weights give worse predictions and no error.
///
/// As JSON, it has the names of these fields. `resize`, `crop`, `mean`, and `std` are required; the defaults of the others
/// are an empty name, `"Rgb"`, and 1. A single number for `mean` or `std` is for all channels.
///
/// ```
/// use alexnet_vgg_core::vision::{Channels, Preset};
///
/// let preset = Preset::from_json(
///     r#"{ "name": "ours", "resize": 36, "crop": 32, "channels": "Bgr", "white": 255,
///          "mean": [104.0, 117.0, 123.0], "std": 1 }"#,
/// )?;
/// assert_eq!((preset.crop, preset.channels, preset.std), (32, Channels::Bgr, [1.0; 3]));
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The name of one of the functions here, or of your own.
    #[serde(default)]
    pub name: String,
    /// Length of the short side after resizing, in pixels.
    pub resize: u32,
    /// Side of the center crop, in pixels; at most `resize`.
    pub crop: u32,
    /// The channels, in their order.
    #[serde(default)]
    pub channels: Channels,
    /// The value of a fully bright channel (level 255) before the mean is subtracted.
    #[serde(default = "one")]
    pub white: f32,
    /// Subtracted from each channel, in the order of `channels`, on the scale of `white`. For gray, all are equal.
    #[serde(deserialize_with = "by_channel")]
    pub mean: [f32; 3],
    /// Each channel is divided by this after the mean is subtracted, in the order of `channels`. For gray, all are equal.
    #[serde(deserialize_with = "by_channel")]
    pub std: [f32; 3],
}

impl Preset {
    /// The preset of torchvision's published weights: RGB from 0 to 1, normalized by ImageNet's mean and
    /// standard deviation; short side 256, center crop 224.
    pub fn imagenet() -> Self {
        Self {
            name: "imagenet".into(),
            resize: 256,
            crop: 224,
            channels: Channels::Rgb,
            white: 1.0,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// The preset of weights trained in Caffe, such as those the VGG authors released: BGR from 0 to 255
    /// with the mean subtracted.
    pub fn caffe() -> Self {
        Self {
            name: "caffe".into(),
            channels: Channels::Bgr,
            white: 255.0,
            mean: [103.939, 116.779, 123.68],
            std: [1.0; 3],
            ..Self::imagenet()
        }
    }

    /// The preset of VGGFace (Parkhi et al. 2015): as [`caffe`](Self::caffe), with the mean color of its faces, which the
    /// release for MatConvNet states as `averageImage`, red 129.1863, green 104.7624, blue 93.5940. VGGFace2 has a different
    /// mean.
    pub fn vggface() -> Self {
        Self { name: "vggface".into(), mean: [93.594, 104.7624, 129.1863], ..Self::caffe() }
    }

    /// The preset of most networks trained on CIFAR-10: RGB from 0 to 1, normalized by the mean and the standard deviation
    /// of its training pictures (they are also in github.com/kuangliu/pytorch-cifar, issue 19); 32 x 32. Networks from
    /// that repository itself have `std` 0.2023, 0.1994, 0.2010 instead, the mean of each picture's own deviation.
    pub fn cifar10() -> Self {
        Self {
            name: "cifar10".into(),
            resize: 32,
            crop: 32,
            mean: [0.4914, 0.4822, 0.4465],
            std: [0.247, 0.2435, 0.2616],
            ..Self::imagenet()
        }
    }

    /// RGB from -1 to 1: `Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))`, as in many tutorials. 224 x 224, of the whole short
    /// side.
    pub fn half() -> Self {
        Self { name: "half".into(), resize: 224, mean: [0.5; 3], std: [0.5; 3], ..Self::imagenet() }
    }

    /// The preset of the PyTorch networks of Places365, as in `run_placesCNN_basic.py` of github.com/CSAILVision/places365:
    /// the numbers of [`imagenet`](Self::imagenet). The Caffe networks there subtract a mean of their own at each pixel
    /// (`places365CNN_mean.binaryproto`), which a preset can only have as a mean color: give its averages as JSON.
    pub fn places() -> Self {
        Self { name: "places".into(), ..Self::imagenet() }
    }

    /// The preset with this name: `imagenet`, `caffe`, `vggface`, `cifar10`, `half`, or `places`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the list of names if there is no such preset.
    pub fn by_name(name: &str) -> Result<Self> {
        let all = [
            Self::imagenet(),
            Self::caffe(),
            Self::vggface(),
            Self::cifar10(),
            Self::half(),
            Self::places(),
        ];
        let known = all.each_ref().map(|preset| preset.name.as_str()).join(", ");
        let found = all.into_iter().find(|preset| preset.name == name);
        found.ok_or_else(|| Error::UnknownName { kind: "preset".into(), name: name.into(), known })
    }

    /// A preset as JSON: see [`Preset`].
    ///
    /// # Errors
    /// [`Error::Setting`] for JSON that is no preset, or whose numbers are not [valid](Self::validate).
    pub fn from_json(text: &str) -> Result<Self> {
        let preset: Self = serde_json::from_str(text).map_err(|error| Error::Setting {
            place: "preset".into(),
            expected: "a preset as JSON, such as {\"resize\": 256, \"crop\": 224, \"mean\": [0.5, 0.5, 0.5], \
                       \"std\": [0.5, 0.5, 0.5]}"
                .into(),
            found: error.to_string(),
        })?;
        preset.validate()?;
        Ok(preset)
    }

    /// Reads a preset as JSON from a file. One without a name gets the file's name.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, and as for [`from_json`](Self::from_json).
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        let mut preset = Self::from_json(&text).map_err(|error| match error {
            Error::Setting { place, expected, found } => {
                let place = format!("{}: {}", path.display(), place.trim_end());
                Error::Setting { place, expected, found }
            }
            other => other,
        })?;
        if preset.name.is_empty() {
            preset.name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        }
        Ok(preset)
    }

    /// The preset with this name, or of a JSON file, whose name ends in `.json`: for command lines.
    ///
    /// # Errors
    /// As for [`by_name`](Self::by_name) and [`read`](Self::read).
    pub fn by_name_or_file(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            return Self::read(path);
        }
        Self::by_name(text).map_err(|error| match error {
            Error::UnknownName { kind, name, known } => {
                Error::UnknownName { kind, name, known: known + ", or a file FILE.json" }
            }
            other => other,
        })
    }

    /// The same preset for another size of the network's input, in pixels: a center crop of the same share of the photo.
    pub fn with_input(self, side: u32) -> Self {
        if side == self.crop {
            return self;
        }
        let resize = u64::from(side) * u64::from(self.resize) / u64::from(self.crop.max(1));
        let resize = u32::try_from(resize).unwrap_or(u32::MAX);
        Self { name: format!("{} at {side}", self.name), crop: side, resize, ..self }
    }

    /// The same preset for a network that takes this many channels. For one channel, a color preset becomes a gray one,
    /// with the averages of `mean` and of `std`: 0.449 and 0.226 for ImageNet.
    ///
    /// # Errors
    /// [`Error::Setting`] for a number of channels that no photo has, and for a gray preset and three channels.
    pub fn for_channels(self, count: usize) -> Result<Self> {
        if count == self.channels.count() {
            return Ok(self);
        }
        if count != 1 {
            return Err(Error::Setting {
                place: format!("preset {}", self.name),
                expected: match self.channels {
                    Channels::Gray => "a network of one input channel".into(),
                    _ => "a network of one or three input channels, as photos have".into(),
                },
                found: format!("one of {count}"),
            });
        }
        let average = |values: [f32; 3]| [values.iter().sum::<f32>() / 3.0; 3];
        Ok(Self {
            name: format!("{} in gray", self.name),
            channels: Channels::Gray,
            mean: average(self.mean),
            std: average(self.std),
            ..self
        })
    }

    /// Checks the numbers: `1 <= crop <= resize <= 4096`; `white`, `mean` and `std` finite; `std` above 0; for gray,
    /// one mean and one `std`.
    /// Every function that uses a preset checks it first.
    ///
    /// # Errors
    /// [`Error::Setting`] with the offending numbers.
    pub fn validate(&self) -> Result<()> {
        let wrong = |expected: String, found: String| {
            Err(Error::Setting { place: format!("preset {}", self.name), expected, found })
        };
        if !(1..=self.resize).contains(&self.crop) || self.resize > LARGEST_SIDE {
            return wrong(
                format!("1 <= crop <= resize <= {LARGEST_SIDE}"),
                format!("crop {}, resize {}", self.crop, self.resize),
            );
        }
        let mut numbers = [self.white].into_iter().chain(self.mean).chain(self.std);
        if !numbers.all(f32::is_finite) || self.std.iter().any(|&std| std <= 0.0) {
            return wrong(
                "finite numbers, and std > 0".into(),
                format!("white {}, mean {:?}, std {:?}", self.white, self.mean, self.std),
            );
        }
        if self.channels == Channels::Gray
            && [self.mean, self.std].iter().any(|it| *it != [it[0]; 3])
        {
            return wrong(
                "one mean and one std for gray".into(),
                format!("mean {:?}, std {:?}", self.mean, self.std),
            );
        }
        Ok(())
    }

    /// Checks that this is the preset that the weights of `network` were trained with; always `Ok` if
    /// that is unknown (`None`). The sizes may differ: a network takes images of any size.
    pub(crate) fn expect_is(&self, trained_with: Option<&Self>, network: &str) -> Result<()> {
        match trained_with {
            Some(wanted) if !wanted.has_colors_of(self) => Err(Error::PresetMismatch {
                network: network.into(),
                trained_with: wanted.name.clone(),
                found: self.name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether both make the same values of the same colors.
    fn has_colors_of(&self, other: &Self) -> bool {
        let colors = |preset: &Self| (preset.channels, preset.white, preset.mean, preset.std);
        colors(self) == colors(other)
    }
}

fn one() -> f32 {
    1.0
}

/// A number for all channels, a list of it, or one for each of three.
fn by_channel<'de, D>(deserializer: D) -> std::result::Result<[f32; 3], D::Error>
where
    D: Deserializer<'de>,
{
    let value = serde_json::Value::deserialize(deserializer)?;
    let numbers: Option<Vec<f32>> = match &value {
        serde_json::Value::Array(values) => {
            values.iter().map(|value| Some(value.as_f64()? as f32)).collect()
        }
        value => value.as_f64().map(|number| vec![number as f32]),
    };
    match numbers.as_deref() {
        Some(&[number]) => Ok([number; 3]),
        Some(&[first, second, third]) => Ok([first, second, third]),
        _ => {
            let found = value.to_string();
            let expected =
                "mean and std: expected a number, or a number for each of three channels";
            Err(serde::de::Error::custom(format!("{expected}, found {found}")))
        }
    }
}
