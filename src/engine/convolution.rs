//! A convolution's weights, packed for whichever algorithm a plan wants.
//!
//! They are kept once as the network has them, with a batch norm that follows folded in, and packed when
//! a plan first asks: `[group of output blocks][step][width][16]`, the order in which the microkernel
//! reads them.

use super::buffer::Buffer;
use super::simd::{BLOCK, Isa};
use super::winograd::{F2x3, F4x3, F4x5, F5x3, F6x3, weight_matrix};
use super::zeros;
use crate::error::Result;
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Every product of the definition.
    Direct,
    /// Winograd's F(2×2, 3×3): 4/9 of the multiplications.
    F2x3,
    /// Winograd's F(4×4, 3×3): 1/4 of them.
    F4x3,
    /// Winograd's F(5×5, 3×3): 49/225 of them.
    F5x3,
    /// Winograd's F(6×6, 3×3): 16/81 of them.
    F6x3,
    /// Winograd's F(4×4, 5×5): 4/25 of them.
    F4x5,
}

impl Algorithm {
    pub(super) const ALL: [Self; 6] =
        [Self::Direct, Self::F2x3, Self::F4x3, Self::F5x3, Self::F6x3, Self::F4x5];

    /// Outputs on a side of its tile, taps, and inputs; `None` for the direct one.
    pub(super) fn tile(self) -> Option<(usize, usize, usize)> {
        match self {
            Self::Direct => None,
            Self::F2x3 => Some((2, 3, 4)),
            Self::F4x3 => Some((4, 3, 6)),
            Self::F5x3 => Some((5, 3, 7)),
            Self::F6x3 => Some((6, 3, 8)),
            Self::F4x5 => Some((4, 5, 8)),
        }
    }

    /// Whether a 2×2 pool finds its windows in whole tiles.
    pub(super) fn pools(self) -> bool {
        self.tile().is_some_and(|(m, _, _)| m.is_multiple_of(2))
    }

    /// Products for each tile: n² small matrices of weights.
    pub(super) fn products(self) -> usize {
        self.tile().map_or(1, |(_, _, n)| n * n)
    }

    fn weight_matrix(self) -> Vec<Vec<f64>> {
        match self {
            Self::Direct => Vec::new(),
            Self::F2x3 => weight_matrix::<4, 2, F2x3>(),
            Self::F4x3 => weight_matrix::<6, 4, F4x3>(),
            Self::F5x3 => weight_matrix::<7, 5, F5x3>(),
            Self::F6x3 => weight_matrix::<8, 6, F6x3>(),
            Self::F4x5 => weight_matrix::<8, 4, F4x5>(),
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.tile() {
            None => f.write_str("direct"),
            Some((m, r, _)) => write!(f, "F({m}x{m}, {r}x{r})"),
        }
    }
}

/// Channels that an output sums at least with a tile of seven or eight: their rounding is up to 1e-5 of
/// the largest output where hundreds average it, and was seen to be 2e-5 where a dozen does.
const FEWEST: usize = 32;

/// Some blocks of output channels that the microkernel computes together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outputs {
    /// The first of them.
    pub first: usize,
    /// How many.
    pub width: usize,
    /// The group of channels that they are of.
    pub group: usize,
}

/// One convolution.
#[derive(Debug)]
pub(super) struct Convolution {
    pub isa: Isa,
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    /// Channels that an output sums.
    summed: usize,
    /// Groups of whole blocks of channels, or one: smaller ones have been joined.
    pub groups: usize,
    /// How the input's channels lie: see [`Map`](super::map::Map).
    pub interleave: usize,
    /// `[outputs, inputs / groups, kernel, kernel]`, of the joined groups.
    weight: Arc<Vec<f32>>,
    /// Factors of the outputs: a batch norm's.
    factor: Option<Vec<f64>>,
    /// Whole blocks.
    pub bias: Buffer,
    packed: [OnceLock<Buffer>; Algorithm::ALL.len()],
}

/// A convolution as a table's row has it.
#[derive(Clone)]
pub(super) struct Definition {
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
    pub weight: Arc<Vec<f32>>,
    pub bias: Vec<f32>,
    pub factor: Option<Vec<f64>>,
}

impl Convolution {
    pub fn new(isa: Isa, definition: Definition, interleave: usize) -> Result<Self> {
        let Definition { inputs, outputs, kernel, stride, padding, groups, weight, bias, factor } =
            definition;
        let summed = inputs / groups;
        let together = joined([inputs, outputs], groups);
        let weight = match together {
            1 => weight,
            _ => Arc::new(written_out(&weight, [inputs, outputs], kernel, groups, together)?),
        };
        let groups = groups / together;
        let mut whole = Buffer::zeros(outputs.next_multiple_of(BLOCK))?;
        whole.as_mut_slice()[..outputs].copy_from_slice(&bias);
        Ok(Self {
            isa,
            inputs,
            outputs,
            kernel,
            stride,
            padding,
            summed,
            groups,
            interleave,
            weight,
            factor,
            bias: whole,
            packed: Default::default(),
        })
    }

    /// Whether an algorithm can do it.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        match algorithm.tile() {
            None => true,
            Some((_, taps, n)) => {
                let averages = n <= 6 || self.summed >= FEWEST;
                self.kernel == taps && self.stride == 1 && self.interleave == BLOCK && averages
            }
        }
    }

    /// Blocks of input channels that an output sees.
    pub fn input_blocks(&self) -> usize {
        (self.inputs / self.groups).div_ceil(self.interleave)
    }

    fn output_blocks(&self) -> usize {
        (self.outputs / self.groups).div_ceil(BLOCK)
    }

    fn parts_of_group(&self) -> usize {
        self.output_blocks().div_ceil(self.isa.width())
    }

    /// How many [`Outputs`] there are.
    pub fn parts(&self) -> usize {
        self.groups * self.parts_of_group()
    }

    /// One of them.
    pub fn part(&self, index: usize) -> Outputs {
        let width = self.isa.width();
        let (group, part) = (index / self.parts_of_group(), index % self.parts_of_group());
        let first = part * width;
        let width = width.min(self.output_blocks() - first);
        Outputs { first: group * self.output_blocks() + first, width, group }
    }

    /// Numbers of an output channel's weights as they are packed, for one of Winograd's products.
    pub fn steps(&self, algorithm: Algorithm) -> usize {
        match algorithm {
            Algorithm::Direct => self.input_blocks() * self.kernel * self.kernel * self.interleave,
            _ => self.input_blocks() * BLOCK,
        }
    }

    /// Bytes of the packed weights.
    pub fn bytes(&self, algorithm: Algorithm) -> usize {
        4 * algorithm.products()
            * self.steps(algorithm)
            * self.groups
            * self.output_blocks()
            * BLOCK
    }

    /// The packed weights, one [part](Self::part) after the other: `[part][product][step][width][16]`.
    pub fn packed(&self, algorithm: Algorithm) -> Result<&Buffer> {
        let slot = &self.packed[algorithm as usize];
        if slot.get().is_none() {
            let packed = self.pack(algorithm)?;
            // Another thread may have been faster; its weights are the same.
            let _ = slot.set(packed);
        }
        Ok(slot.get_or_init(|| unreachable!("it was set above")))
    }

    fn pack(&self, algorithm: Algorithm) -> Result<Buffer> {
        let mut buffer = Buffer::zeros(self.bytes(algorithm) / 4)?;
        let of_block = algorithm.products() * self.steps(algorithm) * BLOCK;
        let g = algorithm.weight_matrix();
        let mut rest = buffer.as_mut_slice();
        let mut parts = Vec::with_capacity(self.parts());
        for index in 0..self.parts() {
            let part = self.part(index);
            let (numbers, after) = rest.split_at_mut(part.width * of_block);
            parts.push((part, numbers));
            rest = after;
        }
        parts.into_par_iter().for_each(|(part, numbers)| {
            self.pack_part(part, algorithm, &g, numbers);
        });
        Ok(buffer)
    }

    fn pack_part(&self, part: Outputs, algorithm: Algorithm, g: &[Vec<f64>], numbers: &mut [f32]) {
        let (k, of_group) = (self.kernel, self.inputs / self.groups);
        let row = part.width * BLOCK;
        let of_product = self.steps(algorithm) * row;
        for lane in 0..row {
            let output = part.first * BLOCK + lane;
            if output >= self.outputs {
                continue;
            }
            for input in 0..of_group {
                let taps = &self.weight[(output * of_group + input) * k * k..][..k * k];
                let factor = self.factor.as_ref().map_or(1.0, |factor| factor[output]);
                let (block, at) = (input / self.interleave, input % self.interleave);
                if algorithm == Algorithm::Direct {
                    for (tap, &value) in taps.iter().enumerate() {
                        let step = (block * k * k + tap) * self.interleave + at;
                        numbers[step * row + lane] = (f64::from(value) * factor) as f32;
                    }
                } else {
                    let step = input;
                    transform(g, taps, |product, value| {
                        numbers[product * of_product + step * row + lane] = (value * factor) as f32;
                    });
                }
            }
        }
    }
}

/// `G w Gᵀ` of one filter.
fn transform(g: &[Vec<f64>], taps: &[f32], mut put: impl FnMut(usize, f64)) {
    let (n, r) = (g.len(), g[0].len());
    let mut half = [[0.0f64; 8]; 8];
    for (i, row) in g.iter().enumerate() {
        for (x, half) in half[i].iter_mut().enumerate().take(r) {
            *half = (0..r).map(|y| row[y] * f64::from(taps[y * r + x])).sum();
        }
    }
    for (i, half) in half.iter().enumerate().take(n) {
        for (j, row) in g.iter().enumerate() {
            let value: f64 = row.iter().zip(half).map(|(g, h)| g * h).sum();
            put(i * n + j, value);
        }
    }
}

/// How many groups become one, so that all are whole blocks of channels.
fn joined(channels: [usize; 2], groups: usize) -> usize {
    let whole = |together: usize| {
        groups.is_multiple_of(together)
            && channels.iter().all(|c| (c / groups * together).is_multiple_of(BLOCK))
    };
    let fits = [1, 2, 4, 8, BLOCK].into_iter().find(|&together| groups == 1 || whole(together));
    fits.unwrap_or(groups)
}

/// The weights of `together` groups as those of one, whose others are zero.
fn written_out(
    weight: &[f32],
    [inputs, outputs]: [usize; 2],
    kernel: usize,
    groups: usize,
    together: usize,
) -> Result<Vec<f32>> {
    let (of_group, taps) = (inputs / groups, kernel * kernel);
    let shape = [outputs, of_group * together, kernel, kernel];
    let mut whole = zeros(&shape)?;
    for output in 0..outputs {
        let group = output / (outputs / groups);
        let row = &weight[output * of_group * taps..][..of_group * taps];
        let at = (output * together + group % together) * of_group * taps;
        whole[at..][..row.len()].copy_from_slice(row);
    }
    Ok(whole)
}
