//! Full-size weights and inputs without a file: the formula of tests/golden/formula.py, in Rust.

// Every test program uses a part of it.
#![allow(dead_code)]

use alexnet_vgg_core::Result;
use alexnet_vgg_core::architecture::{IntoArchitecture, Parameter};
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use std::ops::Range;

/// Rows of the tensor with this name and shape, as `values_of` in formula.py computes them.
pub fn fill(name: &str, shape: &[usize], rows: Range<usize>) -> Vec<f32> {
    let seed =
        name.bytes().fold(0u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let row: usize = shape[1..].iter().product();
    let is_vector = shape.len() == 1;
    let (scale, shift) = if name.ends_with("running_var") || (name.ends_with("weight") && is_vector)
    {
        (1.0, 1.0)
    } else if name.ends_with("weight") {
        ((24.0 / row as f64).sqrt() as f32, 0.0)
    } else if name == "input" {
        (4.0, 0.0)
    } else {
        (0.25, 0.0)
    };
    (rows.start * row..rows.end * row)
        .map(|index| (hashed(index as u32, seed) + shift) * scale)
        .collect()
}

fn hashed(index: u32, seed: u32) -> f32 {
    let mut h = index.wrapping_mul(2_654_435_761).wrapping_add(seed);
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    (h >> 8) as f32 / (1 << 24) as f32 - 0.5
}

/// Rows of a network's parameter: what `from_values`, `save` and `export` ask for.
pub fn values(parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
    Ok(fill(&parameter.key, &parameter.shape, rows))
}

/// All rows of a network's parameter.
pub fn all_values(parameter: &Parameter) -> Vec<f32> {
    fill(&parameter.key, &parameter.shape, 0..parameter.shape[0])
}

/// A batch of images, `[N, C, H, W]`, flat.
pub fn images(shape: [usize; 4]) -> Vec<f32> {
    fill("input", &shape, 0..shape[0])
}

/// The compiled network with the formula's weights.
pub fn compiled(
    architecture: impl IntoArchitecture,
    options: impl Into<CompileOptions>,
) -> Compiled {
    Compiled::from_values(architecture, options, values).expect("a valid network")
}
