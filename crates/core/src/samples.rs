//! A small trained network, and pictures to classify with it, in the library itself: for a first try, and for your
//! tests. Feature `samples`.
//!
//! The network is a VGG that reads handwritten digits. Its pictures are digits that it was not trained on. A program that
//! uses neither contains neither.
//!
//! ```
//! use alexnet_vgg_core::samples;
//!
//! let classifier = samples::digits()?;
//! for digit in samples::pictures() {
//!     let best = &classifier.classify(&digit.decode()?)?.predictions[0];
//!     println!("{}: {:.2}%  {}", digit.name, best.probability * 100.0, best.label);
//!     assert_eq!(best.label, digit.label);
//! }
//! # Ok::<(), alexnet_vgg_core::Error>(())
//! ```

use crate::engine::{CompileOptions, Compiled};
use crate::error::Result;
use crate::predict::Classifier;
use crate::vision::{RgbImage, decode};
use crate::weights::Weights;

/// A picture of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The name of the file, such as `7.png`.
    pub name: &'static str,
    /// What is in the picture: one of the network's labels.
    pub label: &'static str,
    /// The bytes of the file, in the format PNG.
    pub png: &'static [u8],
}

impl Sample {
    /// The pixels.
    ///
    /// # Errors
    /// As for [`decode`].
    pub fn decode(&self) -> Result<RgbImage> {
        decode(self.png)
    }
}

/// The bytes of the network's weights file, in the format safetensors with values in f16. It states the network, the
/// preset, the labels, the recipe, and the accuracy, so that every reader of weights files knows how to use it.
pub const DIGITS: &[u8] = include_bytes!("../samples/digits.safetensors");

/// The network that reads handwritten digits: ten classes, `0` to `9`, for pictures of 32×32 pixels (others are resized), bright
/// on dark.
///
/// # Errors
/// As for [`Compiled::open_weights`] if the machine lacks the memory.
pub fn digits() -> Result<Classifier> {
    let model = Compiled::open_weights(&digits_weights()?, CompileOptions::default())?;
    Classifier::builder(model).build()
}

/// The weights of [`digits`], to be compiled with other options, loaded as a module of burn, saved, or fine-tuned.
///
/// # Errors
/// As for [`Weights::from_bytes`].
pub fn digits_weights() -> Result<Weights> {
    Weights::from_bytes("digits.safetensors", DIGITS.to_vec())
}

/// Twelve handwritten digits for [`digits`], 28×28 pixels, gray: the first picture of each class in the test set, and the
/// second 4 and 9, which are easily mistaken for each other.
pub fn pictures() -> &'static [Sample] {
    &PICTURES
}

macro_rules! digit {
    ($name:literal, $label:literal) => {
        Sample {
            name: $name,
            label: $label,
            png: include_bytes!(concat!("../samples/digits/", $name)),
        }
    };
}

static PICTURES: [Sample; 12] = [
    digit!("0.png", "0"),
    digit!("1.png", "1"),
    digit!("2.png", "2"),
    digit!("3.png", "3"),
    digit!("4.png", "4"),
    digit!("4b.png", "4"),
    digit!("5.png", "5"),
    digit!("6.png", "6"),
    digit!("7.png", "7"),
    digit!("8.png", "8"),
    digit!("9.png", "9"),
    digit!("9b.png", "9"),
];
