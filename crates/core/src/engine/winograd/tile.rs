//! One tile: the one-dimensional transform of each column, then of each row, and the outputs' way into the map.
#![allow(unsafe_code)]

use super::WinogradConvolution;
use crate::engine::minimal_filtering::MinimalFilter;
use crate::engine::simd::{BLOCK, CheckedPtr, Simd};
use std::mem::MaybeUninit;

/// Calls a kernel with the [`MinimalFilter`] of an algorithm.
macro_rules! with_filter {
    ($algorithm:expr, $kernel:ident :: <$s:ident> ($($argument:expr),* $(,)?)) => {{
        use $crate::engine::algorithm::Algorithm;
        use $crate::engine::minimal_filtering::{F2x3, F4x3, F4x5, F5x3, F6x3, F7x3};
        match $algorithm {
            Algorithm::F2x3 => $kernel::<$s, 4, 2, F2x3>($($argument),*),
            Algorithm::F4x3 => $kernel::<$s, 6, 4, F4x3>($($argument),*),
            Algorithm::F5x3 => $kernel::<$s, 7, 5, F5x3>($($argument),*),
            Algorithm::F6x3 => $kernel::<$s, 8, 6, F6x3>($($argument),*),
            Algorithm::F7x3 => $kernel::<$s, 9, 7, F7x3>($($argument),*),
            Algorithm::F4x5 => $kernel::<$s, 8, 4, F4x5>($($argument),*),
            Algorithm::Direct => {}
        }
    }};
}

pub(super) use with_filter;

/// A tile whose columns are transformed, and whose rows are not yet.
type HalfTransformed<S, const ROWS: usize, const COLUMNS: usize> =
    [[MaybeUninit<<S as Simd>::Vector>; COLUMNS]; ROWS];

/// Prefetches what the tile at this address does not share with its neighbor to the left.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
pub(super) unsafe fn prefetch_input_tile<S: Simd, const N: usize, const M: usize>(
    tile: CheckedPtr,
    row_stride: usize,
) {
    for row in 0..N {
        for column in N - M..N {
            // SAFETY: guaranteed by the caller.
            unsafe { tile.add(row * row_stride + column * BLOCK).prefetch::<S>() };
        }
    }
}

/// `Bᵀ d B` of the tile at `from`; calls `store` with each product's index and its part of V.
///
/// # Safety
/// `S` must be available, and the tile inside the map.
#[inline(always)]
pub(super) unsafe fn transform_input_tile<
    S: Simd,
    const N: usize,
    const M: usize,
    F: MinimalFilter<N, M>,
>(
    from: CheckedPtr,
    row_stride: usize,
    mut store: impl FnMut(usize, S::Vector),
) {
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
                store(row * N + column, *d);
            }
        }
    }
}

/// `Aᵀ m A`, where `load` returns a product's part of M.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
pub(super) unsafe fn transform_output_tile<
    S: Simd,
    const N: usize,
    const M: usize,
    F: MinimalFilter<N, M>,
>(
    load: impl Fn(usize) -> S::Vector,
) -> [[S::Vector; M]; M] {
    // SAFETY: guaranteed by the caller; `half` is fully initialized by the first loop.
    unsafe {
        let mut half: HalfTransformed<S, M, N> = [[MaybeUninit::uninit(); N]; M];
        for column in 0..N {
            let mut m = [S::splat(0.0); N];
            for (row, m) in m.iter_mut().enumerate() {
                *m = load(row * N + column);
            }
            for (half, y) in half.iter_mut().zip(F::transform_output::<S>(m)) {
                half[column].write(y);
            }
        }
        let mut outputs = [[S::splat(0.0); M]; M];
        for (outputs, half) in outputs.iter_mut().zip(&half) {
            let mut m = [S::splat(0.0); N];
            for (m, half) in m.iter_mut().zip(half) {
                *m = half.assume_init();
            }
            *outputs = F::transform_output::<S>(m);
        }
        outputs
    }
}

/// Stores the outputs of a tile of a block of channels, with bias, ReLU and pool. Outputs outside of the map are
/// not stored. They go past the caches: the map's next reader needs them much later, and V, M and the weights sooner.
///
/// # Safety
/// `S` must be available, the tile inside the map, and no other thread may access its outputs. Before anyone does,
/// [`Simd::fence`] must be called.
#[inline(always)]
pub(super) unsafe fn store_outputs<S: Simd, const M: usize>(
    w: &WinogradConvolution,
    block: usize,
    tile: usize,
    y: [[S::Vector; M]; M],
    output: CheckedPtr,
) {
    let map = &w.output;
    let (image, tile_y, tile_x) = w.tile_position(tile);
    // SAFETY: guaranteed by the caller.
    unsafe {
        let bias = w.convolution.bias.ptr().add(block * BLOCK).load::<S>();
        let floor = S::splat(if w.relu { 0.0 } else { f32::NEG_INFINITY });
        if w.pool {
            let side = M / 2;
            for row in 0..side.min(map.height - (tile_y * side).min(map.height)) {
                for column in 0..side.min(map.width - (tile_x * side).min(map.width)) {
                    let (i, j) = (2 * row, 2 * column);
                    let upper = S::max(y[i][j], y[i][j + 1]);
                    let lower = S::max(y[i + 1][j], y[i + 1][j + 1]);
                    let value = S::max(floor, S::add(S::max(upper, lower), bias));
                    let (y, x) = (tile_y * side + row, tile_x * side + column);
                    output.add(map.offset(image, block, y, x)).stream::<S>(value);
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
                        to.add(row * map.row_stride() + column * BLOCK).stream::<S>(value);
                    }
                }
            }
        }
    }
}
