//! The transforms of whole tiles: the one-dimensional one on the columns, then on the rows.
#![allow(unsafe_code)]

use super::Winograd;
use super::tile::{LARGEST, Tile};
use crate::engine::simd::{BLOCK, Place, Simd};

type Square<S> = [[<S as Simd>::Vector; LARGEST]; LARGEST];

#[inline(always)]
unsafe fn zeros<S: Simd>() -> Square<S> {
    // SAFETY: `S` is available, the caller says.
    unsafe { [[S::splat(0.0); LARGEST]; LARGEST] }
}

/// `V` of `count` tiles of one block of channels: product `p` of a tile at `v + p * stride`.
///
/// # Safety
/// `S` must be available, the tiles in the map, and their places in V nobody else's.
#[inline(always)]
pub(super) unsafe fn transform<S: Simd, T: Tile>(
    w: &Winograd,
    block: usize,
    first: usize,
    count: usize,
    input: Place,
    v: Place,
    stride: usize,
) {
    let corner = w.input.border - w.convolution.padding;
    let row_stride = w.input.row_stride();
    for tile in 0..count {
        let (image, y, x) = w.place(first + tile);
        let from = input.add(w.input.padded(image, block, y * T::M + corner, x * T::M + corner));
        let to = v.add(tile * BLOCK);
        // SAFETY: the caller's.
        unsafe {
            // Of each column, its transform: `half[row of the transform][column]`.
            let mut half = zeros::<S>();
            for column in 0..T::N {
                let mut d = [S::splat(0.0); LARGEST];
                for (row, d) in d.iter_mut().enumerate().take(T::N) {
                    *d = from.add(row * row_stride + column * BLOCK).load::<S>();
                }
                let d = T::input::<S>(d);
                for row in 0..T::N {
                    half[row][column] = d[row];
                }
            }
            for (row, half) in half.iter().enumerate().take(T::N) {
                let d = T::input::<S>(*half);
                for (column, d) in d.iter().enumerate().take(T::N) {
                    to.add((row * T::N + column) * stride).store::<S>(*d);
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
pub(super) unsafe fn restore<S: Simd, T: Tile>(
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
            let mut half = zeros::<S>();
            for column in 0..T::N {
                let mut d = [S::splat(0.0); LARGEST];
                for (row, d) in d.iter_mut().enumerate().take(T::N) {
                    *d = from.add((row * T::N + column) * stride).load::<S>();
                }
                let d = T::output::<S>(d);
                for row in 0..T::M {
                    half[row][column] = d[row];
                }
            }
            for row in 0..T::M {
                half[row] = T::output::<S>(half[row]);
            }
            if w.pool {
                let side = T::M / 2;
                for row in 0..side.min(map.height - (ty * side).min(map.height)) {
                    for column in 0..side.min(map.width - (tx * side).min(map.width)) {
                        let (y, x) = (2 * row, 2 * column);
                        let upper = S::max(half[y][x], half[y][x + 1]);
                        let lower = S::max(half[y + 1][x], half[y + 1][x + 1]);
                        let value = S::max(floor, S::add(S::max(upper, lower), bias));
                        let at = map.at(image, block, ty * side + row, tx * side + column);
                        output.add(at).store::<S>(value);
                    }
                }
            } else {
                let at = output.add(map.at(image, block, ty * T::M, tx * T::M));
                let rows = T::M.min(map.height - ty * T::M);
                let columns = T::M.min(map.width - tx * T::M);
                for (row, half) in half.iter().enumerate().take(T::M) {
                    for (column, value) in half.iter().enumerate().take(T::M) {
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
