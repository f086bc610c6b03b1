//! The transforms of whole tiles: the one-dimensional one on the columns, then on the rows.
#![allow(unsafe_code)]

use super::Winograd;
use super::tile::Tile;
use crate::engine::simd::{BLOCK, Place, Simd};
use std::mem::MaybeUninit;

/// Vectors on their way from the columns to the rows.
type Half<S, const ROWS: usize, const COLUMNS: usize> =
    [[MaybeUninit<<S as Simd>::Vector>; COLUMNS]; ROWS];

/// `V` of `count` tiles of one block of channels: product `p` of a tile at `v + p * stride`.
///
/// # Safety
/// `S` must be available, the tiles in the map, and their places in V nobody else's.
#[inline(always)]
pub(super) unsafe fn transform<S: Simd, const N: usize, const M: usize, T: Tile<N, M>>(
    w: &Winograd,
    block: usize,
    first: usize,
    count: usize,
    input: Place,
    v: Place,
    stride: usize,
) {
    let row_stride = w.input.row_stride();
    for tile in 0..count {
        let (image, y, x) = w.place(first + tile);
        let from = input.add(w.input.padded(image, block, y * M, x * M));
        let to = v.add(tile * BLOCK);
        // SAFETY: the caller's.
        unsafe {
            // Of each column, its transform: `half[row of the transform][column]`.
            let mut half: Half<S, N, N> = [[MaybeUninit::uninit(); N]; N];
            for column in 0..N {
                let mut d = [S::splat(0.0); N];
                for (row, d) in d.iter_mut().enumerate() {
                    *d = from.add(row * row_stride + column * BLOCK).load::<S>();
                }
                for (half, d) in half.iter_mut().zip(T::input::<S>(d)) {
                    half[column].write(d);
                }
            }
            for (row, half) in half.iter().enumerate() {
                let mut d = [S::splat(0.0); N];
                for (d, half) in d.iter_mut().zip(half) {
                    *d = half.assume_init();
                }
                for (column, d) in T::input::<S>(d).iter().enumerate() {
                    to.add((row * N + column) * stride).store::<S>(*d);
                }
            }
        }
    }
}

/// The outputs of `count` tiles of one block of channels, whose product `p` is at `m + p * stride`:
/// with bias, ReLU and pool, and those outside of the map left out.
///
/// # Safety
/// As for [`transform`]; the outputs nobody else's.
#[inline(always)]
pub(super) unsafe fn restore<S: Simd, const N: usize, const M: usize, T: Tile<N, M>>(
    w: &Winograd,
    block: usize,
    first: usize,
    count: usize,
    m: Place,
    stride: usize,
    output: Place,
) {
    let map = &w.output;
    // SAFETY: the caller's.
    unsafe {
        let bias = w.convolution.bias.place().add(block * BLOCK).load::<S>();
        let floor = S::splat(if w.relu { 0.0 } else { f32::NEG_INFINITY });
        for tile in 0..count {
            let (image, ty, tx) = w.place(first + tile);
            let from = m.add(tile * BLOCK);
            let mut half: Half<S, M, N> = [[MaybeUninit::uninit(); N]; M];
            for column in 0..N {
                let mut m = [S::splat(0.0); N];
                for (row, m) in m.iter_mut().enumerate() {
                    *m = from.add((row * N + column) * stride).load::<S>();
                }
                for (half, y) in half.iter_mut().zip(T::output::<S>(m)) {
                    half[column].write(y);
                }
            }
            let mut y = [[bias; M]; M];
            for (y, half) in y.iter_mut().zip(&half) {
                let mut m = [S::splat(0.0); N];
                for (m, half) in m.iter_mut().zip(half) {
                    *m = half.assume_init();
                }
                *y = T::output::<S>(m);
            }
            if w.pool {
                let side = M / 2;
                for row in 0..side.min(map.height - (ty * side).min(map.height)) {
                    for column in 0..side.min(map.width - (tx * side).min(map.width)) {
                        let (i, j) = (2 * row, 2 * column);
                        let upper = S::max(y[i][j], y[i][j + 1]);
                        let lower = S::max(y[i + 1][j], y[i + 1][j + 1]);
                        let value = S::max(floor, S::add(S::max(upper, lower), bias));
                        let at = map.at(image, block, ty * side + row, tx * side + column);
                        output.add(at).store::<S>(value);
                    }
                }
            } else {
                let at = output.add(map.at(image, block, ty * M, tx * M));
                let rows = M.min(map.height - ty * M);
                let columns = M.min(map.width - tx * M);
                for (row, y) in y.iter().enumerate() {
                    for (column, value) in y.iter().enumerate() {
                        if row < rows && column < columns {
                            let value = S::max(floor, S::add(*value, bias));
                            at.add(row * map.row_stride() + column * BLOCK).store::<S>(value);
                        }
                    }
                }
            }
        }
    }
}
