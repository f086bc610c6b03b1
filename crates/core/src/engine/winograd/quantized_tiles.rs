//! The transforms of many tiles to and from 16-bit integers.
//!
//! V is quantized with one scale for each tile: its largest magnitude, after the products have been brought to similar
//! magnitudes by weights that follow from the algorithm, and channels by factors that follow from their weights. So no
//! calibration is needed, and no value is ever clipped. Everything else that a product is scaled by is in its unit,
//! which the packed weights contain.
#![allow(unsafe_code)]

use super::WinogradConvolution;
use super::tile::{
    prefetch_input_tile, store_outputs, transform_input_tile, transform_output_tile, with_filter,
};
use crate::engine::integer_microkernel::HALF_BLOCK;
use crate::engine::integer_packing::IntegerWeights;
use crate::engine::minimal_filtering::MinimalFilter;
use crate::engine::simd::{BLOCK, CheckedPtr, IntegerSimd, dispatch_integers, scale_of_magnitudes};

/// Some tiles of V: all blocks of `count` tiles from `first` on.
#[derive(Clone, Copy)]
pub(super) struct QuantizedTiles {
    pub first: usize,
    pub count: usize,
    /// `[product][block][tile][16]` 16-bit integers.
    pub v: CheckedPtr,
    pub product_stride: usize,
    pub block_stride: usize,
    /// `[tile]`
    pub scales: CheckedPtr,
    /// Space for V of a tile in `f32`: `[block][product][16]`.
    pub scratch: CheckedPtr,
}

/// Computes V and the scales of the tiles.
///
/// # Safety
/// The convolution's instruction set must be available for integers, the tiles inside the map, and no other thread may
/// access their part of V and of the scales.
#[inline(never)]
pub(super) unsafe fn quantize_inputs(
    w: &WinogradConvolution,
    tiles: QuantizedTiles,
    input: CheckedPtr,
    weights: &IntegerWeights,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch_integers!(w.convolution.isa, choose_input_transform(
            w: &WinogradConvolution = w, tiles: QuantizedTiles = tiles, input: CheckedPtr = input,
            weights: &IntegerWeights = weights,
        ))
    }
}

/// # Safety
/// As for [`quantize_inputs`].
#[inline(always)]
unsafe fn choose_input_transform<S: IntegerSimd>(
    w: &WinogradConvolution,
    tiles: QuantizedTiles,
    input: CheckedPtr,
    weights: &IntegerWeights,
) {
    // SAFETY: guaranteed by the caller.
    unsafe { with_filter!(w.algorithm, quantize_input_tiles::<S>(w, tiles, input, weights)) }
}

/// # Safety
/// As for [`quantize_inputs`].
#[inline(always)]
unsafe fn quantize_input_tiles<
    S: IntegerSimd,
    const N: usize,
    const M: usize,
    F: MinimalFilter<N, M>,
>(
    w: &WinogradConvolution,
    tiles: QuantizedTiles,
    input: CheckedPtr,
    weights: &IntegerWeights,
) {
    let block_len = N * N * BLOCK;
    for tile in 0..tiles.count {
        let from = input.add(w.input_offset(0, tiles.first + tile));
        let next = input.add(w.input_offset(0, tiles.first + tile + 1));
        // SAFETY: guaranteed by the caller.
        unsafe {
            // As integers, the bits of magnitudes have their order, and those of infinity and NaN come last.
            let mut largest = S::splat_integer(0);
            let sign = S::splat_integer(i32::MIN);
            for block in 0..w.input_blocks() {
                let at = block * w.input.block_stride();
                prefetch_input_tile::<S, N, M>(next.add(at), w.input.row_stride());
                let from = from.add(at);
                let to = tiles.scratch.add(block * block_len);
                let factors = &weights.channel_factors[block * BLOCK..][..BLOCK];
                let factors = S::load(factors.as_ptr());
                transform_input_tile::<S, N, M, F>(from, w.input.row_stride(), |p, vector| {
                    let weight = S::splat(weights.input_weights[p]);
                    let weighted = S::mul(S::mul(vector, factors), weight);
                    largest = S::max_signed(largest, S::and_not(sign, S::bits(weighted)));
                    to.add(p * BLOCK).store::<S>(weighted);
                });
            }
            let scale = scale_of_magnitudes::<S>(largest);
            tiles.scales.add(tile).write(scale);
            let inverse = S::splat(weights.input_limit / scale);
            for block in 0..w.input_blocks() {
                let from = tiles.scratch.add(block * block_len);
                let to = tiles.v.add(block * tiles.block_stride + tile * HALF_BLOCK);
                for p in 0..N * N {
                    let scaled = S::mul(from.add(p * BLOCK).load::<S>(), inverse);
                    to.add(p * tiles.product_stride).store_i16::<S>(scaled);
                }
            }
        }
    }
}

/// Computes the outputs of `count` tiles of a block of channels from `first` on, with bias, ReLU and pool. Product
/// `p` of the first tile is read at `m + p * product_stride`, and its scale at `scales`.
///
/// # Safety
/// The convolution's instruction set must be available for integers, the tiles inside M, and no other thread may access
/// their outputs.
#[inline(never)]
pub(super) unsafe fn dequantize_outputs(
    w: &WinogradConvolution,
    block: usize,
    [first, count]: [usize; 2],
    m: CheckedPtr,
    product_stride: usize,
    [scales, output]: [CheckedPtr; 2],
    weights: &IntegerWeights,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch_integers!(w.convolution.isa, choose_output_transform(
            w: &WinogradConvolution = w, block: usize = block, range: [usize; 2] = [first, count],
            m: CheckedPtr = m, product_stride: usize = product_stride,
            pointers: [CheckedPtr; 2] = [scales, output], weights: &IntegerWeights = weights,
        ))
    }
}

/// # Safety
/// As for [`dequantize_outputs`].
#[inline(always)]
unsafe fn choose_output_transform<S: IntegerSimd>(
    w: &WinogradConvolution,
    block: usize,
    range: [usize; 2],
    m: CheckedPtr,
    product_stride: usize,
    pointers: [CheckedPtr; 2],
    weights: &IntegerWeights,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        with_filter!(
            w.algorithm,
            dequantize_output_tiles::<S>(w, block, range, m, product_stride, pointers, weights)
        )
    }
}

/// # Safety
/// As for [`dequantize_outputs`].
#[inline(always)]
unsafe fn dequantize_output_tiles<
    S: IntegerSimd,
    const N: usize,
    const M: usize,
    F: MinimalFilter<N, M>,
>(
    w: &WinogradConvolution,
    block: usize,
    [first, count]: [usize; 2],
    m: CheckedPtr,
    product_stride: usize,
    [scales, output]: [CheckedPtr; 2],
    weights: &IntegerWeights,
) {
    let units = weights.units.ptr().add(block * N * N * BLOCK);
    for tile in 0..count {
        let from = m.add(tile * BLOCK);
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut y = transform_output_tile::<S, N, M, F>(|product| {
                let sums = from.add(product * product_stride).load_integers::<S>();
                S::mul(S::to_float(sums), units.add(product * BLOCK).load::<S>())
            });
            let scale = S::splat(scales.add(tile).read());
            for value in y.iter_mut().flatten() {
                *value = S::mul(*value, scale);
            }
            store_outputs::<S, M>(w, block, first + tile, y, output);
        }
    }
    // SAFETY: guaranteed by the caller.
    unsafe { S::fence() }
}
