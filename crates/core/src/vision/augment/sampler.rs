//! Draws random numbers for the steps of an augmentation: from steps to operations.

use super::operation::Operation;
use super::sample::Sample;
use super::step::Step;
use crate::error::{Error, Result};
use crate::vision::resize::{Rectangle, proportional};
use rand::distr::{Distribution, Uniform};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::TAU;

/// Draws the operations of one sample, step by step.
pub(super) struct Sampler {
    random: ChaCha8Rng,
    /// Width and height of the image after the operations.
    size: (u32, u32),
    pub operations: Vec<Operation>,
}

impl Sampler {
    pub fn new(size: (u32, u32), sample: Sample) -> Result<Self> {
        if size.0.min(size.1) == 0 {
            return Err(Error::Picture {
                place: "augmentation".into(),
                expected: "a photo with pixels".into(),
                found: format!("an image of {}x{}", size.0, size.1),
            });
        }
        // The sample is the key of a cipher, so that the streams of different samples are independent.
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
                // Fails if the image is smaller than the crop.
                Rectangle::center(self.size, side)?;
                let window = self.random_window((side, side))?;
                self.crop(window);
            }
            Step::RandomResizedCrop { side, scale, ratio } => {
                let region = self.random_region(scale, ratio)?;
                self.crop(region);
                self.resize_to((side, side));
            }
            Step::HorizontalFlip { probability } => {
                if self.random.random::<f64>() < probability {
                    self.operations.push(Operation::HorizontalFlip);
                }
            }
            Step::RandomRotation { degrees } => {
                let angle = self.uniform([-degrees, degrees]);
                self.operations.push(Operation::Rotate(angle));
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

    /// A rectangle of this size at a random position. It must fit.
    fn random_window(&mut self, (width, height): (u32, u32)) -> Result<Rectangle> {
        let top = self.integer(0, self.size.1 - height)?;
        let left = self.integer(0, self.size.0 - width)?;
        Ok(Rectangle { left, top, width, height })
    }

    /// torchvision's `RandomResizedCrop.get_params`.
    fn random_region(&mut self, scale: [f64; 2], ratio: [f64; 2]) -> Result<Rectangle> {
        const ATTEMPTS: usize = 10;
        let [width, height] = [self.size.0, self.size.1].map(f64::from);
        for _ in 0..ATTEMPTS {
            let area = width * height * self.uniform(scale);
            let ratio = self.uniform(ratio.map(f64::ln)).exp();
            let [w, h] =
                [area * ratio, area / ratio].map(|squared| squared.sqrt().round_ties_even());
            if (1.0..=width).contains(&w) && (1.0..=height).contains(&h) {
                return self.random_window((w as u32, h as u32));
            }
        }
        Ok(center_within(self.size, ratio))
    }

    fn color_jitter(&mut self, ranges: [f64; 3], hue: f64) -> Result<()> {
        let mut order = [0, 1, 2, 3];
        // Fisher-Yates shuffle.
        for last in (1..order.len()).rev() {
            order.swap(last, self.integer(0, last as u32)? as usize);
        }
        let factors = ranges.map(|range| self.uniform([(1.0 - range).max(0.0), 1.0 + range]));
        let turn = self.uniform([-hue, hue]);
        for which in order {
            let operation = match which {
                0 => Operation::Brightness(factors[0]),
                1 => Operation::Contrast(factors[1]),
                2 => Operation::Saturation(factors[2]),
                _ => Operation::Hue(turn),
            };
            if [ranges[0], ranges[1], ranges[2], hue][which] > 0.0 {
                self.operations.push(operation);
            }
        }
        Ok(())
    }

    /// Uniform integer from `least` to `most`, both inclusive.
    fn integer(&mut self, least: u32, most: u32) -> Result<u32> {
        // Rejection sampling without bias: rand's `random_range` is faster but has a bias of 2^-64.
        let uniform = Uniform::new_inclusive(least, most).map_err(|error| Error::Setting {
            place: "augmentation".into(),
            expected: "a range with least <= most".into(),
            found: format!("{least} to {most}: {error}"),
        })?;
        Ok(uniform.sample(&mut self.random))
    }

    /// Uniform from `least` to `most`.
    fn uniform(&mut self, [least, most]: [f64; 2]) -> f64 {
        least + (most - least) * self.random.random::<f64>()
    }

    /// N(0, 1), by the Box-Muller transform.
    fn normal(&mut self) -> f64 {
        // 1 - [0, 1) is never 0.
        let radius = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
        radius * (TAU * self.random.random::<f64>()).cos()
    }
}

/// The largest centered rectangle whose aspect ratio (width over height) is within the limits.
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
