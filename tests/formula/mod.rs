//! Full-size weights without a file: the formula of tests/golden/networks.py, in Rust.

// Every test file takes what it needs.
#![allow(dead_code)]

use alexnet_vgg::models::{Architecture, Network, Parameter};
use burn::tensor::backend::Backend;
use std::ops::Range;

/// Values of a tensor with this name and these rows, as `fill` in networks.py has them.
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

pub fn network<B: Backend>(table: impl Into<Architecture>, device: &B::Device) -> Network<B> {
    let values = |parameter: &Parameter, rows| Ok(fill(&parameter.key, &parameter.shape, rows));
    Network::from_values(table, device, values).expect("a published network")
}
