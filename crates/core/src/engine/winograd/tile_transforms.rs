//! The transforms of many tiles, in `f32`.
//!
//! Both schedules call the same compiled transforms, since those of all algorithms take long to compile.
#![allow(unsafe_code)]

use super::WinogradConvolution;
use super::tile::{
    prefetch_input_tile, store_outputs, transform_input_tile, transform_output_tile, with_filter,
};
use crate::engine::minimal_filtering::MinimalFilter;
use crate::engine::simd::{BLOCK, CheckedPtr, Simd, dispatch};

/// How many tiles before their use inputs are prefetched. The hardware does not see which rows come next.
const TILES_AHEAD: usize = 2;

/// Computes V for `count` tiles of a block of channels. Product `p` of the first tile is stored at
/// `v + p * product_stride`.
///
/// # Safety
/// The convolution's instruction set must be available, the tiles inside the map, and no other thread may access
/// their part of V.
#[inline(never)]
pub(super) unsafe fn transform_inputs(
    w: &WinogradConvolution,
    block: usize,
    first: usize,
    count: usize,
    input: CheckedPtr,
    v: CheckedPtr,
    product_stride: usize,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch!(w.convolution.isa, choose_input_transform(
            w: &WinogradConvolution = w, block: usize = block, first: usize = first, count: usize = count,
            input: CheckedPtr = input, v: CheckedPtr = v, product_stride: usize = product_stride,
        ))
    }
}

/// # Safety
/// As for [`transform_inputs`].
#[inline(always)]
unsafe fn choose_input_transform<S: Simd>(
    w: &WinogradConvolution,
    block: usize,
    first: usize,
    count: usize,
    input: CheckedPtr,
    v: CheckedPtr,
    product_stride: usize,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        with_filter!(
            w.algorithm,
            transform_input_tiles::<S>(w, block, first, count, input, v, product_stride)
        )
    }
}

/// # Safety
/// As for [`transform_inputs`].
#[inline(always)]
unsafe fn transform_input_tiles<S: Simd, const N: usize, const M: usize, F: MinimalFilter<N, M>>(
    w: &WinogradConvolution,
    block: usize,
    first: usize,
    count: usize,
    input: CheckedPtr,
    v: CheckedPtr,
    product_stride: usize,
) {
    for tile in 0..count {
        let from = input.add(w.input_offset(block, first + tile));
        let to = v.add(tile * BLOCK);
        let ahead = tile + TILES_AHEAD;
        // After the last tile, those of the next block follow.
        let ahead = w.input_offset(block + ahead / count, first + ahead % count);
        // SAFETY: guaranteed by the caller.
        unsafe {
            prefetch_input_tile::<S, N, M>(input.add(ahead), w.input.row_stride());
            transform_input_tile::<S, N, M, F>(from, w.input.row_stride(), |product, vector| {
                to.add(product * product_stride).store::<S>(vector);
            });
        }
    }
}

/// Computes the outputs of `count` tiles of a block of channels, with bias, ReLU and pool. Product `p`
/// of the first tile is read at `m + p * product_stride`. Outputs outside of the map are not stored.
///
/// # Safety
/// The convolution's instruction set must be available, the tiles inside M, and no other thread may access their
/// outputs.
#[inline(never)]
pub(super) unsafe fn transform_outputs(
    w: &WinogradConvolution,
    block: usize,
    first: usize,
    count: usize,
    m: CheckedPtr,
    product_stride: usize,
    output: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        dispatch!(w.convolution.isa, choose_output_transform(
            w: &WinogradConvolution = w, block: usize = block, first: usize = first, count: usize = count,
            m: CheckedPtr = m, product_stride: usize = product_stride, output: CheckedPtr = output,
        ))
    }
}

/// # Safety
/// As for [`transform_outputs`].
#[inline(always)]
unsafe fn choose_output_transform<S: Simd>(
    w: &WinogradConvolution,
    block: usize,
    first: usize,
    count: usize,
    m: CheckedPtr,
    product_stride: usize,
    output: CheckedPtr,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        with_filter!(
            w.algorithm,
            transform_output_tiles::<S>(w, block, first, count, m, product_stride, output)
        )
    }
}

/// # Safety
/// As for [`transform_outputs`].
#[inline(always)]
unsafe fn transform_output_tiles<
    S: Simd,
    const N: usize,
    const M: usize,
    F: MinimalFilter<N, M>,
>(
    w: &WinogradConvolution,
    block: usize,
    first: usize,
    count: usize,
    m: CheckedPtr,
    product_stride: usize,
    output: CheckedPtr,
) {
    for tile in 0..count {
        let from = m.add(tile * BLOCK);
        // SAFETY: guaranteed by the caller.
        unsafe {
            let y = transform_output_tile::<S, N, M, F>(|product| {
                from.add(product * product_stride).load::<S>()
            });
            store_outputs::<S, M>(w, block, first + tile, y, output);
        }
    }
    // SAFETY: guaranteed by the caller.
    unsafe { S::fence() }
}
