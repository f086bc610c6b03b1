//! The transforms of whole tiles: the one-dimensional transform of each column, then of each row.
//!
//! Both schedules call the same compiled transforms, since those of all algorithms take long to compile.
#![allow(unsafe_code)]

use super::WinogradConvolution;
use crate::engine::algorithm::Algorithm;
use crate::engine::minimal_filtering::{F2x3, F4x3, F4x5, F5x3, F6x3, MinimalFilter};
use crate::engine::simd::{BLOCK, CheckedPtr, Simd, dispatch};
use std::mem::MaybeUninit;

/// A tile whose columns are transformed, and whose rows are not yet.
type HalfTransformed<S, const ROWS: usize, const COLUMNS: usize> =
    [[MaybeUninit<<S as Simd>::Vector>; COLUMNS]; ROWS];

/// Calls a kernel with the [`MinimalFilter`] of an algorithm.
macro_rules! with_filter {
    ($algorithm:expr, $kernel:ident :: <$s:ident> ($($argument:expr),* $(,)?)) => {
        match $algorithm {
            Algorithm::F2x3 => $kernel::<$s, 4, 2, F2x3>($($argument),*),
            Algorithm::F4x3 => $kernel::<$s, 6, 4, F4x3>($($argument),*),
            Algorithm::F5x3 => $kernel::<$s, 7, 5, F5x3>($($argument),*),
            Algorithm::F6x3 => $kernel::<$s, 8, 6, F6x3>($($argument),*),
            Algorithm::F4x5 => $kernel::<$s, 8, 4, F4x5>($($argument),*),
            Algorithm::Direct => {}
        }
    };
}

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
    let row_stride = w.input.row_stride();
    for tile in 0..count {
        let (image, y, x) = w.tile_position(first + tile);
        let from = input.add(w.input.padded_offset(image, block, y * M, x * M));
        let to = v.add(tile * BLOCK);
        // SAFETY: guaranteed by the caller; `half` is fully initialized by the first loop.
        unsafe {
            let mut half: HalfTransformed<S, N, N> = [[MaybeUninit::uninit(); N]; N];
            for column in 0..N {
                let mut d = [S::splat(0.0); N];
                for (row, d) in d.iter_mut().enumerate() {
                    *d = from.add(row * row_stride + column * BLOCK).load::<S>();
                }
                for (half, d) in half.iter_mut().zip(F::transform_input::<S>(d)) {
                    half[column].write(d);
                }
            }
            for (row, half) in half.iter().enumerate() {
                let mut d = [S::splat(0.0); N];
                for (d, half) in d.iter_mut().zip(half) {
                    *d = half.assume_init();
                }
                for (column, d) in F::transform_input::<S>(d).iter().enumerate() {
                    to.add((row * N + column) * product_stride).store::<S>(*d);
                }
            }
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
    let map = &w.output;
    // SAFETY: guaranteed by the caller; `half` is fully initialized by the first inner loop.
    unsafe {
        let bias = w.convolution.bias.ptr().add(block * BLOCK).load::<S>();
        let floor = S::splat(if w.relu { 0.0 } else { f32::NEG_INFINITY });
        for tile in 0..count {
            let (image, tile_y, tile_x) = w.tile_position(first + tile);
            let from = m.add(tile * BLOCK);
            let mut half: HalfTransformed<S, M, N> = [[MaybeUninit::uninit(); N]; M];
            for column in 0..N {
                let mut m = [S::splat(0.0); N];
                for (row, m) in m.iter_mut().enumerate() {
                    *m = from.add((row * N + column) * product_stride).load::<S>();
                }
                for (half, y) in half.iter_mut().zip(F::transform_output::<S>(m)) {
                    half[column].write(y);
                }
            }
            let mut y = [[bias; M]; M];
            for (y, half) in y.iter_mut().zip(&half) {
                let mut m = [S::splat(0.0); N];
                for (m, half) in m.iter_mut().zip(half) {
                    *m = half.assume_init();
                }
                *y = F::transform_output::<S>(m);
            }
            if w.pool {
                let side = M / 2;
                for row in 0..side.min(map.height - (tile_y * side).min(map.height)) {
                    for column in 0..side.min(map.width - (tile_x * side).min(map.width)) {
                        let (i, j) = (2 * row, 2 * column);
                        let upper = S::max(y[i][j], y[i][j + 1]);
                        let lower = S::max(y[i + 1][j], y[i + 1][j + 1]);
                        let value = S::max(floor, S::add(S::max(upper, lower), bias));
                        let (y, x) = (tile_y * side + row, tile_x * side + column);
                        output.add(map.offset(image, block, y, x)).store::<S>(value);
                    }
                }
            } else {
                let to = output.add(map.offset(image, block, tile_y * M, tile_x * M));
                let rows = M.min(map.height - tile_y * M);
                let columns = M.min(map.width - tile_x * M);
                for (row, y) in y.iter().enumerate() {
                    for (column, value) in y.iter().enumerate() {
                        if row < rows && column < columns {
                            let value = S::max(floor, S::add(*value, bias));
                            to.add(row * map.row_stride() + column * BLOCK).store::<S>(value);
                        }
                    }
                }
            }
        }
    }
}
