//! Packs the weights of a convolution for an algorithm: `[panel][product][inner][block][16]`, the order in which the
//! microkernel reads them.
#![allow(unsafe_code)]

use super::algorithm::Algorithm;
use super::buffer::Buffer;
use super::filters::Filters;
use super::minimal_filtering::{
    F2x3, F4x3, F4x5, F5x3, F6x3, F7x3, MinimalFilter, filter_transform,
};
use super::packed_convolution::{PackedConvolution, Panel};
use super::simd::{BLOCK, Simd, dispatch};
use crate::error::Result;
use rayon::prelude::*;
use std::sync::OnceLock;

/// Output channels of the widest panel.
pub(super) const MAX_COLUMNS: usize = 2 * BLOCK;
/// Input channels whose products are written together.
const INPUTS: usize = 4;

impl PackedConvolution {
    /// The packed weights: `[panel][product][inner][block][16]`. Packs them on the first call.
    ///
    /// # Errors
    /// As for [`Buffer::zeros`].
    pub fn packed(&self, algorithm: Algorithm) -> Result<&Buffer> {
        let slot = &self.packed[algorithm as usize];
        if slot.get().is_none() {
            let packed = self.pack(algorithm)?;
            // Another thread may have packed the same weights meanwhile.
            let _ = slot.set(packed);
        }
        Ok(slot.get_or_init(|| unreachable!("the slot was set above")))
    }

    fn pack(&self, algorithm: Algorithm) -> Result<Buffer> {
        let mut buffer = Buffer::zeros(self.weight_bytes(algorithm) / 4)?;
        let channels = [self.inputs, self.outputs].map(|channels| channels / self.groups);
        let filters = Filters::new(&self.weight, channels, self.kernel * self.kernel);
        pack_filters(self, &filters, self.scale.as_deref(), algorithm, buffer.as_mut_slice());
        Ok(buffer)
    }

    /// Packs these filters instead of its own weights, in memory that is large enough.
    pub fn pack_into(&mut self, filters: &Filters<'_>, algorithm: Algorithm, mut memory: Buffer) {
        pack_filters(self, filters, None, algorithm, memory.as_mut_slice());
        self.packed[algorithm as usize] = OnceLock::from(memory);
    }

    /// The memory of packed weights.
    pub fn take_packed(&mut self, algorithm: Algorithm) -> Option<Buffer> {
        self.packed[algorithm as usize].take()
    }
}

/// Packs filters into `packed`, which has room for them. `scale` has a factor for each output channel.
fn pack_filters(
    convolution: &PackedConvolution,
    filters: &Filters<'_>,
    scale: Option<&[f64]>,
    algorithm: Algorithm,
    packed: &mut [f32],
) {
    let block_len = algorithm.products() * convolution.inner_len(algorithm) * BLOCK;
    let panels = convolution.split_into_panels(packed, block_len);
    panels.into_par_iter().for_each(|(panel, packed)| {
        let packing = Packing { convolution, filters, scale, algorithm, panel };
        // SAFETY: the instruction set is one that this machine has.
        unsafe {
            dispatch!(convolution.isa, pack_panel(
                packing: &Packing<'_> = &packing, packed: &mut [f32] = packed,
            ))
        }
    });
}

/// What the weights of a panel are made from.
pub(super) struct Packing<'a> {
    pub convolution: &'a PackedConvolution,
    pub filters: &'a Filters<'a>,
    /// A factor for each output channel.
    pub scale: Option<&'a [f64]>,
    pub algorithm: Algorithm,
    pub panel: Panel,
}

/// # Safety
/// `S` must be available.
#[inline(always)]
pub(super) unsafe fn pack_panel<S: Simd>(packing: &Packing<'_>, packed: &mut [f32]) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        match packing.algorithm {
            Algorithm::Direct => packing.pack_taps::<S>(packed),
            Algorithm::F2x3 => packing.pack_products::<S, F2x3, 4, 2, 3>(packed),
            Algorithm::F4x3 => packing.pack_products::<S, F4x3, 6, 4, 3>(packed),
            Algorithm::F5x3 => packing.pack_products::<S, F5x3, 7, 5, 3>(packed),
            Algorithm::F6x3 => packing.pack_products::<S, F6x3, 8, 6, 3>(packed),
            Algorithm::F7x3 => packing.pack_products::<S, F7x3, 9, 7, 3>(packed),
            Algorithm::F4x5 => packing.pack_products::<S, F4x5, 8, 4, 5>(packed),
        }
    }
}

impl Packing<'_> {
    /// The taps themselves.
    ///
    /// # Safety
    /// `S` must be available.
    #[inline(always)]
    unsafe fn pack_taps<S: Simd>(&self, packed: &mut [f32]) {
        let taps = self.convolution.kernel * self.convolution.kernel;
        let per_block = self.convolution.layout.channels_per_block;
        let columns = self.panel.blocks * BLOCK;
        for block in 0..self.panel.blocks {
            let place = |input: usize, tap: usize| {
                let inner = (input / per_block * taps + tap) * per_block + input % per_block;
                inner * columns + block * BLOCK
            };
            for input in 0..self.padded_inputs() {
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let zero = S::splat(0.0);
                    if input < self.inputs() {
                        self.for_each_tap::<S>(block, input, |tap, values| {
                            store::<S>(S::narrow(values), &mut packed[place(input, tap)..]);
                        });
                    } else {
                        (0..taps)
                            .for_each(|tap| store::<S>(zero, &mut packed[place(input, tap)..]));
                    }
                }
            }
        }
    }

    /// `G w Gᵀ` of filters `w`: `R * R` taps to `N * N` products.
    ///
    /// # Safety
    /// `S` must be available.
    #[inline(always)]
    unsafe fn pack_products<
        S: Simd,
        F: MinimalFilter<N, M>,
        const N: usize,
        const M: usize,
        const R: usize,
    >(
        &self,
        packed: &mut [f32],
    ) {
        let g = filter_transform::<N, M, R, F>();
        let columns = self.panel.blocks * BLOCK;
        let product_len = self.convolution.inner_len(self.algorithm) * columns;
        // The products of a few input channels, `[product][input][block][16]`: written in one piece, they take half the
        // time of single cache lines that are a power of two apart.
        let mut products = [[[0.0; INPUTS * MAX_COLUMNS]; N]; N];
        let products = products.as_flattened_mut();
        for first in (0..self.padded_inputs()).step_by(INPUTS) {
            let inputs = first..self.padded_inputs().min(first + INPUTS);
            for (block, input) in (0..self.panel.blocks)
                .flat_map(|block| inputs.clone().map(move |input| (block, input)))
            {
                let at = (input - first) * columns + block * BLOCK;
                // SAFETY: guaranteed by the caller.
                unsafe {
                    let mut taps = [[S::load_wide([0.0; BLOCK].as_ptr()); R]; R];
                    if input < self.inputs() {
                        self.for_each_tap::<S>(block, input, |tap, values| {
                            taps[tap / R][tap % R] = values;
                        });
                    }
                    transform::<S, N, R>(&g, &taps, |product, values| {
                        store::<S>(values, &mut products[product][at..]);
                    });
                }
            }
            for (product, values) in products.iter().enumerate() {
                let to = &mut packed[product * product_len + first * columns..];
                let len = inputs.len() * columns;
                to[..len].copy_from_slice(&values[..len]);
            }
        }
    }

    /// Input channels of a group.
    fn inputs(&self) -> usize {
        self.convolution.inputs / self.convolution.groups
    }

    /// The same with those that its last block lacks.
    fn padded_inputs(&self) -> usize {
        self.convolution.input_blocks() * self.convolution.layout.channels_per_block
    }

    /// The taps from an input channel to a block of output channels of the panel, scaled; 0 for channels that do not
    /// exist.
    ///
    /// # Safety
    /// `S` must be available.
    #[inline(always)]
    unsafe fn for_each_tap<S: Simd>(
        &self,
        block: usize,
        input: usize,
        mut visit: impl FnMut(usize, S::Wide),
    ) {
        let first = (self.panel.first_block + block) * BLOCK;
        let scale = self.scale.map(|scale| {
            let mut padded = [0.0; BLOCK];
            let scale = &scale[first..scale.len().min(first + BLOCK)];
            padded[..scale.len()].copy_from_slice(scale);
            padded
        });
        // SAFETY: guaranteed by the caller.
        unsafe {
            self.filters.for_each_tap::<S>(first, input, |tap, values| {
                let values = S::widen(values);
                visit(
                    tap,
                    match &scale {
                        Some(scale) => S::mul_wide(values, S::load_wide(scale.as_ptr())),
                        None => values,
                    },
                );
            });
        }
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn store<S: Simd>(values: S::Vector, to: &mut [f32]) {
    // SAFETY: guaranteed by the caller; the slice has sixteen values.
    unsafe { S::store(to[..BLOCK].as_mut_ptr(), values) }
}

/// `G w Gᵀ`, product by product.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn transform<S: Simd, const N: usize, const R: usize>(
    g: &[[f64; R]; N],
    taps: &[[S::Wide; R]; R],
    mut visit: impl FnMut(usize, S::Vector),
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let zero = S::load_wide([0.0; BLOCK].as_ptr());
        for (row, weights) in g.iter().enumerate() {
            // A row of `G w`.
            let mut half = [zero; R];
            for (taps, weight) in taps.iter().zip(weights) {
                for (half, tap) in half.iter_mut().zip(taps) {
                    *half = S::add_scaled(*half, *weight, *tap);
                }
            }
            for (column, weights) in g.iter().enumerate() {
                let mut product = zero;
                for (half, weight) in half.iter().zip(weights) {
                    product = S::add_scaled(product, *weight, *half);
                }
                visit(row * N + column, S::narrow(product));
            }
        }
    }
}
