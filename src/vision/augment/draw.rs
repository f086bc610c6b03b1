//! From a random step to what it does to one photo.

use super::operation::Operation;
use super::{Sample, Step};
use crate::error::{Error, Result};
use crate::vision::resize::{Rectangle, proportional};
use rand::distr::{Distribution, Uniform};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::TAU;

/// The drawing of one sample.
pub(super) struct Draw {
    random: ChaCha8Rng,
    /// Width and height of the photo after the operations.
    size: (u32, u32),
    pub operations: Vec<Operation>,
}

impl Draw {
    pub fn new(size: (u32, u32), sample: Sample) -> Result<Self> {
        if size.0.min(size.1) == 0 {
            return Err(Error::Picture {
                place: "augmentation".into(),
                expected: "a photo with pixels".into(),
                found: format!("a picture of {}x{}", size.0, size.1),
            });
        }
        // Three numbers are the key of a cipher: each sample has a stream of its own, which has
        // nothing to do with its neighbors'.
        let mut key = [0; 32];
        for (bytes, number) in
            key.chunks_exact_mut(8).zip([sample.seed, sample.epoch, sample.index])
        {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        Ok(Self { random: ChaCha8Rng::from_seed(key), size, operations: Vec::new() })
    }

    pub fn step(&mut self, step: &Step) -> Result<()> {
        match *step {
            Step::Resize { short } => self.resize(short)?,
            Step::ScaleJitter { shortest, longest } => {
                let short = self.integer(shortest, longest)?;
                self.resize(short)?;
            }
            Step::CenterCrop { side } => self.crop(Rectangle::center(self.size, side)?),
            Step::RandomCrop { side } => {
                // An error if the photo is smaller.
                Rectangle::center(self.size, side)?;
                let window = self.anywhere((side, side))?;
                self.crop(window);
            }
            Step::RandomResizedCrop { side, scale, ratio } => {
                let region = self.region(scale, ratio)?;
                self.crop(region);
                self.resize_to((side, side));
            }
            Step::HorizontalFlip { probability } => {
                if self.random.random::<f64>() < probability {
                    self.operations.push(Operation::HorizontalFlip);
                }
            }
            Step::ColorJitter { brightness, contrast, saturation, hue } => {
                self.color_jitter([brightness, contrast, saturation], hue)?;
            }
            Step::PcaColor { sigma, colors } => {
                let alphas = [(); 3].map(|()| sigma * self.normal());
                let shift = colors.shift(alphas).map(|shift| (255.0 * shift) as f32);
                self.operations.push(Operation::Shift(shift));
            }
        }
        Ok(())
    }

    fn resize(&mut self, short: u32) -> Result<()> {
        self.resize_to(proportional(self.size, short)?);
        Ok(())
    }

    fn resize_to(&mut self, size: (u32, u32)) {
        self.size = size;
        self.operations.push(Operation::Resize { width: size.0, height: size.1 });
    }

    fn crop(&mut self, window: Rectangle) {
        self.size = window.size();
        self.operations.push(Operation::Crop(window));
    }

    /// A rectangle of `size`, which fits, at any place.
    fn anywhere(&mut self, (width, height): (u32, u32)) -> Result<Rectangle> {
        let top = self.integer(0, self.size.1 - height)?;
        let left = self.integer(0, self.size.0 - width)?;
        Ok(Rectangle { left, top, width, height })
    }

    /// torchvision's `RandomResizedCrop.get_params`.
    fn region(&mut self, scale: [f64; 2], ratio: [f64; 2]) -> Result<Rectangle> {
        const ATTEMPTS: usize = 10;
        let [width, height] = [self.size.0, self.size.1].map(f64::from);
        for _ in 0..ATTEMPTS {
            let area = width * height * self.between(scale);
            let ratio = self.between(ratio.map(f64::ln)).exp();
            let [w, h] = [area * ratio, area / ratio].map(|square| square.sqrt().round_ties_even());
            if (1.0..=width).contains(&w) && (1.0..=height).contains(&h) {
                return self.anywhere((w as u32, h as u32));
            }
        }
        Ok(center_within(self.size, ratio))
    }

    fn color_jitter(&mut self, spreads: [f64; 3], hue: f64) -> Result<()> {
        let mut order = [0, 1, 2, 3];
        // Fisher and Yates.
        for last in (1..order.len()).rev() {
            order.swap(last, self.integer(0, last as u32)? as usize);
        }
        let factors = spreads.map(|spread| self.between([(1.0 - spread).max(0.0), 1.0 + spread]));
        let turn = self.between([-hue, hue]);
        for which in order {
            let operation = match which {
                0 => Operation::Brightness(factors[0]),
                1 => Operation::Contrast(factors[1]),
                2 => Operation::Saturation(factors[2]),
                _ => Operation::Hue(turn),
            };
            if [spreads[0], spreads[1], spreads[2], hue][which] > 0.0 {
                self.operations.push(operation);
            }
        }
        Ok(())
    }

    /// Each whole number from `least` to `most` is exactly as likely.
    fn integer(&mut self, least: u32, most: u32) -> Result<u32> {
        // rand's `random_range` is quicker, with a bias of 2^-64; this one draws again instead.
        let uniform = Uniform::new_inclusive(least, most).map_err(|error| Error::Setting {
            place: "augmentation".into(),
            expected: "a range that is not empty".into(),
            found: format!("{least} to {most}: {error}"),
        })?;
        Ok(uniform.sample(&mut self.random))
    }

    fn between(&mut self, [least, most]: [f64; 2]) -> f64 {
        least + (most - least) * self.random.random::<f64>()
    }

    /// N(0, 1), by Box and Muller.
    fn normal(&mut self) -> f64 {
        // 1 - [0, 1) is not 0.
        let radius = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
        radius * (TAU * self.random.random::<f64>()).cos()
    }
}

/// The largest rectangle in the middle whose shape is within `ratio`.
fn center_within((width, height): (u32, u32), [narrowest, widest]: [f64; 2]) -> Rectangle {
    let shape = f64::from(width) / f64::from(height);
    let rounded = |side: f64, most: u32| (side.round_ties_even() as u32).clamp(1, most);
    let (w, h) = if shape < narrowest {
        (width, rounded(f64::from(width) / narrowest, height))
    } else if shape > widest {
        (rounded(f64::from(height) * widest, width), height)
    } else {
        (width, height)
    };
    Rectangle { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
}
