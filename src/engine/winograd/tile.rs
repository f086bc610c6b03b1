//! The tiles: Winograd's minimal filtering (Winograd 1980; Lavin and Gray 2016), derived as Toom and
//! Cook did.
//!
//! A row of `m` outputs of a filter of `r` taps is the product of two polynomials, read backwards. Such
//! a product is known once it is known at `n = m + r - 1` points (infinity counts as one), so it takes
//! n multiplications instead of m·r. In two dimensions: 36 instead of 144 for 4×4 outputs of 3×3. With
//! points `p`, and `M(x)` the product of all `(x - p)`:
//!
//! - output, `Aᵀ`: `y[i] = Σ p^i · m[p]`, and `m[∞]` joins the last;
//! - weights, `G`: row `p` is `(1, p, p², ...) / Π (p - q)` over the other points q; `∞` takes the last tap;
//! - input, `Bᵀ`: row `p` has the coefficients of `M(x) / (x - p)`, row `∞` those of `M(x)`.
//!
//! The input's and the output's transforms are written out below, with what their rows share computed
//! once; a test holds them to these definitions. The points decide how large the intermediate values
//! get, and so the rounding: 0, ±1, ½, -2 has half the error of 0, ±1, ±2 (Barabasz et al. 2020 search
//! them systematically).
#![allow(unsafe_code)]

use crate::engine::simd::Simd;

/// Side of the largest tile.
pub(in crate::engine) const LARGEST: usize = 8;

/// One dimension of a transform's tile.
pub(in crate::engine) trait Tile {
    /// Outputs.
    const M: usize;
    /// Taps of the filter.
    const R: usize;
    /// Inputs, and multiplications.
    const N: usize;
    /// The points but infinity.
    const POINTS: &'static [f64];

    /// Of `N` values, to `N`.
    unsafe fn input<S: Simd>(d: [S::Vector; LARGEST]) -> [S::Vector; LARGEST];
    /// Of `N` values, to `M`.
    unsafe fn output<S: Simd>(m: [S::Vector; LARGEST]) -> [S::Vector; LARGEST];
}

/// F(2, 3).
pub(in crate::engine) struct F2x3;
/// F(4, 3).
pub(in crate::engine) struct F4x3;
/// F(4, 5).
pub(in crate::engine) struct F4x5;

/// Arithmetic on vectors, as formulas. Each line is one instruction.
macro_rules! formula {
    ($S:ident: $a:ident + $b:ident) => {
        $S::add($a, $b)
    };
    ($S:ident: $a:ident - $b:ident) => {
        $S::sub($a, $b)
    };
    ($S:ident: $a:ident * $k:literal + $b:ident) => {
        $S::mul_add($a, $S::splat($k), $b)
    };
}

impl Tile for F2x3 {
    const M: usize = 2;
    const R: usize = 3;
    const N: usize = 4;
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0];

    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; LARGEST]) -> [S::Vector; LARGEST] {
        let [d0, d1, d2, d3, ..] = d;
        // SAFETY: `S` is available, the caller says.
        unsafe {
            [
                formula!(S: d2 - d0),
                formula!(S: d2 + d1),
                formula!(S: d2 - d1),
                formula!(S: d3 - d1),
                d0,
                d0,
                d0,
                d0,
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; LARGEST]) -> [S::Vector; LARGEST] {
        let [m0, m1, m2, m3, ..] = m;
        // SAFETY: as above.
        unsafe {
            let sum = formula!(S: m1 + m2);
            let difference = formula!(S: m1 - m2);
            let y0 = formula!(S: sum + m0);
            let y1 = formula!(S: difference + m3);
            [y0, y1, y0, y0, y0, y0, y0, y0]
        }
    }
}

impl Tile for F4x3 {
    const M: usize = 4;
    const R: usize = 3;
    const N: usize = 6;
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0, 0.5, -2.0];

    /// `M(x) = x⁵ + 3/2 x⁴ - 2x³ - 3/2 x² + x`; all rows share `d4 - d2` and `d3 - d1`.
    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; LARGEST]) -> [S::Vector; LARGEST] {
        let [d0, d1, d2, d3, d4, d5, ..] = d;
        // SAFETY: as above.
        unsafe {
            let e = formula!(S: d4 - d2);
            let f = formula!(S: d3 - d1);
            let at_zero = formula!(S: d0 - d2);
            let at_zero = formula!(S: at_zero + e);
            let at_zero = formula!(S: f * 1.5 + at_zero);
            let both = formula!(S: d3 + d2);
            let at_one = formula!(S: e + f);
            let at_one = formula!(S: both * 1.5 + at_one);
            let apart = formula!(S: d3 - d2);
            let at_minus_one = formula!(S: e - f);
            let at_minus_one = formula!(S: apart * 1.5 + at_minus_one);
            let at_half = formula!(S: f * 2.0 + e);
            let at_minus_two = formula!(S: f * -0.5 + e);
            let at_infinity = formula!(S: d5 - d3);
            let at_infinity = formula!(S: at_infinity - f);
            let at_infinity = formula!(S: e * 1.5 + at_infinity);
            [at_zero, at_one, at_minus_one, at_half, at_minus_two, at_infinity, d0, d0]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; LARGEST]) -> [S::Vector; LARGEST] {
        let [m0, m1, m2, m3, m4, m5, ..] = m;
        // SAFETY: as above.
        unsafe {
            let s = formula!(S: m1 + m2);
            let t = formula!(S: m1 - m2);
            let y0 = formula!(S: m3 + m4);
            let y0 = formula!(S: y0 + s);
            let y0 = formula!(S: y0 + m0);
            let y1 = formula!(S: m3 * 0.5 + t);
            let y1 = formula!(S: m4 * -2.0 + y1);
            let y2 = formula!(S: m3 * 0.25 + s);
            let y2 = formula!(S: m4 * 4.0 + y2);
            let y3 = formula!(S: t + m5);
            let y3 = formula!(S: m3 * 0.125 + y3);
            let y3 = formula!(S: m4 * -8.0 + y3);
            [y0, y1, y2, y3, y0, y0, y0, y0]
        }
    }
}

impl Tile for F4x5 {
    const M: usize = 4;
    const R: usize = 5;
    const N: usize = 8;
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

    /// A pair ±a has even and odd parts in common: `M(x) / (x - a) = x (x + a) (x⁴ + q1 x² + q0)`.
    #[inline(always)]
    unsafe fn input<S: Simd>(d: [S::Vector; LARGEST]) -> [S::Vector; LARGEST] {
        let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
        // SAFETY: as above.
        unsafe {
            let at_zero = formula!(S: d6 - d0);
            let middle = formula!(S: d2 - d4);
            let at_zero = formula!(S: middle * 5.25 + at_zero);
            let at_infinity = formula!(S: d7 - d1);
            let middle = formula!(S: d3 - d5);
            let at_infinity = formula!(S: middle * 5.25 + at_infinity);
            let even = formula!(S: d6 + d2);
            let even = formula!(S: d4 * -4.25 + even);
            let odd = formula!(S: d5 + d1);
            let odd = formula!(S: d3 * -4.25 + odd);
            let at_one = formula!(S: even + odd);
            let at_minus_one = formula!(S: even - odd);
            let even = formula!(S: d4 * -1.25 + d6);
            let even = formula!(S: d2 * 0.25 + even);
            let odd = formula!(S: d3 * -1.25 + d5);
            let odd = formula!(S: d1 * 0.25 + odd);
            let at_two = formula!(S: odd * 2.0 + even);
            let at_minus_two = formula!(S: odd * -2.0 + even);
            let even = formula!(S: d4 * -5.0 + d6);
            let even = formula!(S: d2 * 4.0 + even);
            let odd = formula!(S: d3 * -5.0 + d5);
            let odd = formula!(S: d1 * 4.0 + odd);
            let at_half = formula!(S: odd * 0.5 + even);
            let at_minus_half = formula!(S: odd * -0.5 + even);
            [
                at_zero,
                at_one,
                at_minus_one,
                at_two,
                at_minus_two,
                at_half,
                at_minus_half,
                at_infinity,
            ]
        }
    }

    #[inline(always)]
    unsafe fn output<S: Simd>(m: [S::Vector; LARGEST]) -> [S::Vector; LARGEST] {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = m;
        // SAFETY: as above.
        unsafe {
            let s1 = formula!(S: m1 + m2);
            let t1 = formula!(S: m1 - m2);
            let s2 = formula!(S: m3 + m4);
            let t2 = formula!(S: m3 - m4);
            let s3 = formula!(S: m5 + m6);
            let t3 = formula!(S: m5 - m6);
            let y0 = formula!(S: s1 + s2);
            let y0 = formula!(S: y0 + s3);
            let y0 = formula!(S: y0 + m0);
            let y1 = formula!(S: t2 * 2.0 + t1);
            let y1 = formula!(S: t3 * 0.5 + y1);
            let y2 = formula!(S: s2 * 4.0 + s1);
            let y2 = formula!(S: s3 * 0.25 + y2);
            let y3 = formula!(S: t1 + m7);
            let y3 = formula!(S: t2 * 8.0 + y3);
            let y3 = formula!(S: t3 * 0.125 + y3);
            [y0, y1, y2, y3, y0, y0, y0, y0]
        }
    }
}

/// `G`, `[n][r]`, in f64: packing happens once.
pub(in crate::engine) fn weight_matrix<T: Tile>() -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = (T::POINTS.iter())
        .map(|&p| {
            let others = T::POINTS.iter().filter(|&&q| q != p);
            let norm: f64 = others.map(|&q| p - q).product();
            (0..T::R).map(|i| p.powi(i as i32) / norm).collect()
        })
        .collect();
    rows.push((0..T::R).map(|i| f64::from(u8::from(i == T::R - 1))).collect());
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::simd::{BLOCK, Portable};

    /// Coefficients, lowest first, of the product of all `(x - p)`.
    fn product(points: impl Iterator<Item = f64>) -> Vec<f64> {
        points.fold(vec![1.0], |polynomial, p| {
            let mut next = vec![0.0; polynomial.len() + 1];
            for (i, c) in polynomial.iter().enumerate() {
                next[i + 1] += c;
                next[i] -= p * c;
            }
            next
        })
    }

    fn column(
        transform: impl Fn([[f32; BLOCK]; LARGEST]) -> [[f32; BLOCK]; LARGEST],
        j: usize,
    ) -> Vec<f64> {
        let mut unit = [[0.0; BLOCK]; LARGEST];
        unit[j] = [1.0; BLOCK];
        transform(unit).iter().map(|vector| f64::from(vector[0])).collect()
    }

    /// All numbers here are halves, quarters and eighths: exact in f32 and in f64, so equality is meant.
    fn check<T: Tile>() {
        // SAFETY: plain Rust, on values.
        let input = |d| unsafe { T::input::<Portable>(d) };
        // SAFETY: as above.
        let output = |m| unsafe { T::output::<Portable>(m) };
        let last = T::N - 1;
        for j in 0..T::N {
            let (b, a) = (column(input, j), column(output, j));
            for (row, &p) in T::POINTS.iter().enumerate() {
                let quotient = product(T::POINTS.iter().copied().filter(|&q| q != p));
                assert_eq!(b[row], quotient.get(j).copied().unwrap_or(0.0), "B^T[{row}][{j}]");
            }
            assert_eq!(b[last], product(T::POINTS.iter().copied())[j], "B^T[{last}][{j}]");
            for i in 0..T::M {
                let expected = match T::POINTS.get(j) {
                    Some(p) => p.powi(i as i32),
                    None => f64::from(u8::from(i == T::M - 1)),
                };
                assert_eq!(a[i], expected, "A^T[{i}][{j}]");
            }
        }
    }

    #[test]
    fn transforms_are_toom_and_cooks() {
        check::<F2x3>();
        check::<F4x3>();
        check::<F4x5>();
    }

    /// The definition fits together: a filtered row is the filtered row, for unit inputs and taps.
    #[test]
    fn tiles_filter() {
        fn check<T: Tile>() {
            let g = weight_matrix::<T>();
            for tap in 0..T::R {
                for at in 0..T::N {
                    // SAFETY: plain Rust, on values.
                    let d = column(|d| unsafe { T::input::<Portable>(d) }, at);
                    let mut m = [[0.0f32; BLOCK]; LARGEST];
                    for (p, m) in m.iter_mut().enumerate().take(T::N) {
                        *m = [(d[p] * g[p][tap]) as f32; BLOCK];
                    }
                    // SAFETY: as above.
                    let y = unsafe { T::output::<Portable>(m) };
                    for (i, y) in y.iter().enumerate().take(T::M) {
                        let expected = f32::from(u8::from(i + tap == at));
                        assert!((y[0] - expected).abs() < 1e-5, "{i} {tap} {at}: {}", y[0]);
                    }
                }
            }
        }
        check::<F2x3>();
        check::<F4x3>();
        check::<F4x5>();
    }
}
