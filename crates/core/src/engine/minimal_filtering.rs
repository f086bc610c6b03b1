//! Winograd's minimal filtering algorithms F(m, r) in one dimension (Winograd 1980; Lavin and Gray 2016),
//! derived by Toom and Cook's method.
//!
//! Computing `m` outputs of a filter of `r` taps is the transpose of multiplying two polynomials. Their
//! product is determined by its values at `n = m + r - 1` points, where infinity counts as one, so it
//! takes n multiplications instead of m·r. In two dimensions: 36 instead of 144 for 4×4 outputs of a 3×3
//! kernel. With points `p`, and `M(x)` the product of all `(x - p)`, the transforms are:
//!
//! - output, `Aᵀ`: `y[i] = Σ p^i · m[p]`, and `m[∞]` is added to the last;
//! - filter, `G`: row `p` is `(1, p, p², ...) / Π (p - q)` over the other points q; row `∞` is the last tap;
//! - input, `Bᵀ`: row `p` has the coefficients of `M(x) / (x - p)`, row `∞` those of `M(x)`.
//!
//! The input and output transforms are written out below with their common subexpressions; a test checks
//! them against these definitions. The points determine how large the intermediate values get, and so
//! the rounding error: 0, ±1, ½, -2 has two thirds of the error of 0, ±1, ±2 (Barabasz et al. 2020 search for good
//! points systematically). In two dimensions, the error of random inputs and filters is in proportion to
//! `Σ |Aᵀ[i][p]|² |G[p]|² |Bᵀ[p]|²` over all points, averaged over all outputs i: 21 for F(4, 3), 62 for F(6, 3), and
//! 146 for F(7, 3), which would have 304 with the points ±¼, ±½, ±1, ±2.
#![allow(unsafe_code)]

use super::simd::Simd;

/// F(m, r) in one dimension: `N` inputs, as many multiplications, and `M` outputs.
pub(super) trait MinimalFilter<const N: usize, const M: usize> {
    /// The points, without infinity.
    const POINTS: &'static [f64];

    /// `Bᵀ d`
    ///
    /// # Safety
    /// `S` must be available.
    unsafe fn transform_input<S: Simd>(d: [S::Vector; N]) -> [S::Vector; N];

    /// `Aᵀ m`
    ///
    /// # Safety
    /// `S` must be available.
    unsafe fn transform_output<S: Simd>(m: [S::Vector; N]) -> [S::Vector; M];

    /// `A y`, from the gradients of outputs to those of the multiplications: `Σ p^i · y[i]` for each point p, and the
    /// last.
    ///
    /// # Safety
    /// `S` must be available.
    #[inline(always)]
    unsafe fn transform_gradient<S: Simd>(y: [S::Vector; M]) -> [S::Vector; N] {
        let mut values = [y[M - 1]; N];
        for (value, point) in values.iter_mut().zip(Self::POINTS) {
            for y in y[..M - 1].iter().rev() {
                // SAFETY: guaranteed by the caller.
                *value = unsafe { S::mul_add(*value, S::splat(*point as f32), *y) };
            }
        }
        values
    }
}

/// F(2, 3).
pub(super) struct F2x3;
/// F(4, 3).
pub(super) struct F4x3;
/// F(5, 3).
pub(super) struct F5x3;
/// F(6, 3).
pub(super) struct F6x3;
/// F(7, 3).
pub(super) struct F7x3;
/// F(4, 5).
pub(super) struct F4x5;

/// Vector arithmetic written as formulas. Each is one instruction.
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

impl MinimalFilter<4, 2> for F2x3 {
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0];

    #[inline(always)]
    unsafe fn transform_input<S: Simd>(d: [S::Vector; 4]) -> [S::Vector; 4] {
        let [d0, d1, d2, d3] = d;
        // SAFETY: guaranteed by the caller.
        unsafe {
            [formula!(S: d2 - d0), formula!(S: d2 + d1), formula!(S: d2 - d1), formula!(S: d3 - d1)]
        }
    }

    #[inline(always)]
    unsafe fn transform_output<S: Simd>(m: [S::Vector; 4]) -> [S::Vector; 2] {
        let [m0, m1, m2, m3] = m;
        // SAFETY: guaranteed by the caller.
        unsafe {
            let sum = formula!(S: m1 + m2);
            let difference = formula!(S: m1 - m2);
            let y0 = formula!(S: sum + m0);
            let y1 = formula!(S: difference + m3);
            [y0, y1]
        }
    }
}

impl MinimalFilter<6, 4> for F4x3 {
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0, 0.5, -2.0];

    /// `M(x) = x⁵ + 3/2 x⁴ - 2x³ - 3/2 x² + x`. All rows share `d4 - d2` and `d3 - d1`.
    #[inline(always)]
    unsafe fn transform_input<S: Simd>(d: [S::Vector; 6]) -> [S::Vector; 6] {
        let [d0, d1, d2, d3, d4, d5] = d;
        // SAFETY: guaranteed by the caller.
        unsafe {
            let e = formula!(S: d4 - d2);
            let f = formula!(S: d3 - d1);
            let at_zero = formula!(S: d0 - d2);
            let at_zero = formula!(S: at_zero + e);
            let at_zero = formula!(S: f * 1.5 + at_zero);
            let sum = formula!(S: d3 + d2);
            let at_one = formula!(S: e + f);
            let at_one = formula!(S: sum * 1.5 + at_one);
            let difference = formula!(S: d3 - d2);
            let at_minus_one = formula!(S: e - f);
            let at_minus_one = formula!(S: difference * 1.5 + at_minus_one);
            let at_half = formula!(S: f * 2.0 + e);
            let at_minus_two = formula!(S: f * -0.5 + e);
            let at_infinity = formula!(S: d5 - d3);
            let at_infinity = formula!(S: at_infinity - f);
            let at_infinity = formula!(S: e * 1.5 + at_infinity);
            [at_zero, at_one, at_minus_one, at_half, at_minus_two, at_infinity]
        }
    }

    #[inline(always)]
    unsafe fn transform_output<S: Simd>(m: [S::Vector; 6]) -> [S::Vector; 4] {
        let [m0, m1, m2, m3, m4, m5] = m;
        // SAFETY: guaranteed by the caller.
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
            [y0, y1, y2, y3]
        }
    }

    #[inline(always)]
    unsafe fn transform_gradient<S: Simd>(y: [S::Vector; 4]) -> [S::Vector; 6] {
        let [y0, y1, y2, y3] = y;
        // SAFETY: guaranteed by the caller.
        unsafe {
            let even = formula!(S: y0 + y2);
            let odd = formula!(S: y1 + y3);
            let at_one = formula!(S: even + odd);
            let at_minus_one = formula!(S: even - odd);
            let at_half = formula!(S: y1 * 0.5 + y0);
            let at_half = formula!(S: y2 * 0.25 + at_half);
            let at_half = formula!(S: y3 * 0.125 + at_half);
            let at_minus_two = formula!(S: y1 * -2.0 + y0);
            let at_minus_two = formula!(S: y2 * 4.0 + at_minus_two);
            let at_minus_two = formula!(S: y3 * -8.0 + at_minus_two);
            [y0, at_one, at_minus_one, at_half, at_minus_two, y3]
        }
    }
}

impl MinimalFilter<7, 5> for F5x3 {
    const POINTS: &'static [f64] = &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5];

    /// All rows except that of ½ contain the factor `x - ½`: `e` is `d` multiplied by it.
    #[inline(always)]
    unsafe fn transform_input<S: Simd>(d: [S::Vector; 7]) -> [S::Vector; 7] {
        let [d0, d1, d2, d3, d4, d5, d6] = d;
        // SAFETY: guaranteed by the caller.
        unsafe {
            let e0 = formula!(S: d0 * -0.5 + d1);
            let e1 = formula!(S: d1 * -0.5 + d2);
            let e2 = formula!(S: d2 * -0.5 + d3);
            let e3 = formula!(S: d3 * -0.5 + d4);
            let e4 = formula!(S: d4 * -0.5 + d5);
            let e5 = formula!(S: d5 * -0.5 + d6);
            let at_zero = formula!(S: e2 * -5.0 + e4);
            let at_zero = formula!(S: e0 * 4.0 + at_zero);
            let even = formula!(S: e2 * -4.0 + e4);
            let odd = formula!(S: e1 * -4.0 + e3);
            let at_one = formula!(S: even + odd);
            let at_minus_one = formula!(S: even - odd);
            let even = formula!(S: e4 - e2);
            let odd = formula!(S: e3 - e1);
            let at_two = formula!(S: odd * 2.0 + even);
            let at_minus_two = formula!(S: odd * -2.0 + even);
            let at_half = formula!(S: d3 * -5.0 + d5);
            let at_half = formula!(S: d1 * 4.0 + at_half);
            let at_infinity = formula!(S: e3 * -5.0 + e5);
            let at_infinity = formula!(S: e1 * 4.0 + at_infinity);
            [at_zero, at_one, at_minus_one, at_two, at_minus_two, at_half, at_infinity]
        }
    }

    #[inline(always)]
    unsafe fn transform_output<S: Simd>(m: [S::Vector; 7]) -> [S::Vector; 5] {
        let [m0, m1, m2, m3, m4, m5, m6] = m;
        // SAFETY: guaranteed by the caller.
        unsafe {
            let s1 = formula!(S: m1 + m2);
            let t1 = formula!(S: m1 - m2);
            let s2 = formula!(S: m3 + m4);
            let t2 = formula!(S: m3 - m4);
            let y0 = formula!(S: s1 + s2);
            let y0 = formula!(S: y0 + m5);
            let y0 = formula!(S: y0 + m0);
            let y1 = formula!(S: t2 * 2.0 + t1);
            let y1 = formula!(S: m5 * 0.5 + y1);
            let y2 = formula!(S: s2 * 4.0 + s1);
            let y2 = formula!(S: m5 * 0.25 + y2);
            let y3 = formula!(S: t2 * 8.0 + t1);
            let y3 = formula!(S: m5 * 0.125 + y3);
            let y4 = formula!(S: s1 + m6);
            let y4 = formula!(S: s2 * 16.0 + y4);
            let y4 = formula!(S: m5 * 0.0625 + y4);
            [y0, y1, y2, y3, y4]
        }
    }
}

impl MinimalFilter<8, 4> for F4x5 {
    const POINTS: &'static [f64] = EIGHT_POINTS;

    #[inline(always)]
    unsafe fn transform_input<S: Simd>(d: [S::Vector; 8]) -> [S::Vector; 8] {
        // SAFETY: guaranteed by the caller.
        unsafe { transform_eight_inputs::<S>(d) }
    }

    #[inline(always)]
    unsafe fn transform_output<S: Simd>(m: [S::Vector; 8]) -> [S::Vector; 4] {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = m;
        // SAFETY: guaranteed by the caller.
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
            [y0, y1, y2, y3]
        }
    }
}

impl MinimalFilter<8, 6> for F6x3 {
    const POINTS: &'static [f64] = EIGHT_POINTS;

    #[inline(always)]
    unsafe fn transform_input<S: Simd>(d: [S::Vector; 8]) -> [S::Vector; 8] {
        // SAFETY: guaranteed by the caller.
        unsafe { transform_eight_inputs::<S>(d) }
    }

    #[inline(always)]
    unsafe fn transform_output<S: Simd>(m: [S::Vector; 8]) -> [S::Vector; 6] {
        let [m0, m1, m2, m3, m4, m5, m6, m7] = m;
        // SAFETY: guaranteed by the caller.
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
            let y3 = formula!(S: t2 * 8.0 + t1);
            let y3 = formula!(S: t3 * 0.125 + y3);
            let y4 = formula!(S: s2 * 16.0 + s1);
            let y4 = formula!(S: s3 * 0.0625 + y4);
            let y5 = formula!(S: t1 + m7);
            let y5 = formula!(S: t2 * 32.0 + y5);
            let y5 = formula!(S: t3 * 0.03125 + y5);
            [y0, y1, y2, y3, y4, y5]
        }
    }
}

/// The points of both algorithms with eight inputs.
const EIGHT_POINTS: &[f64] = &[0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];

/// The input transform of both algorithms with eight inputs. The rows of a pair of points ±a share their
/// even and odd parts: `M(x) / (x - a) = x (x + a) (x⁴ + q1 x² + q0)`.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn transform_eight_inputs<S: Simd>(d: [S::Vector; 8]) -> [S::Vector; 8] {
    let [d0, d1, d2, d3, d4, d5, d6, d7] = d;
    // SAFETY: guaranteed by the caller.
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
        [at_zero, at_one, at_minus_one, at_two, at_minus_two, at_half, at_minus_half, at_infinity]
    }
}

/// Half of the points of the algorithm with nine inputs; the others are their negatives. With 0.232, 0.676, 1.126 and
/// 2.179 the error would be 3% less, but with these all coefficients are exact.
const NINE_POINTS: [f32; 4] = [0.25, 0.6875, 1.125, 2.0];

/// For each pair of points ±a, `q0`, `q1` and `q2` of `M(x) / (x² - a²) = x⁶ + q2 x⁴ + q1 x² + q0`.
const NINE_QUOTIENTS: [[f32; 3]; 4] = {
    let [a, b, c, d] = NINE_POINTS;
    [without_roots(b, c, d), without_roots(a, c, d), without_roots(a, b, d), without_roots(a, b, c)]
};

/// `M(x)`, without the odd powers, which are zero, and the highest.
const NINE_PRODUCT: [f32; 4] = {
    let square = NINE_POINTS[0] * NINE_POINTS[0];
    let [q0, q1, q2] = NINE_QUOTIENTS[0];
    [-square * q0, q0 - square * q1, q1 - square * q2, q2 - square]
};

/// `(x² - a²) (x² - b²) (x² - c²)`, without the highest power of x.
const fn without_roots(a: f32, b: f32, c: f32) -> [f32; 3] {
    let (a, b, c) = (a * a, b * b, c * c);
    [-a * b * c, a * b + b * c + c * a, -(a + b + c)]
}

impl MinimalFilter<9, 7> for F7x3 {
    const POINTS: &'static [f64] = &{
        let [a, b, c, d] = NINE_POINTS;
        let [a, b, c, d] = [a as f64, b as f64, c as f64, d as f64];
        [a, -a, b, -b, c, -c, d, -d]
    };

    /// The rows of a pair of points ±a share their even and odd parts: `M(x) / (x - a) = (x + a) (x⁶ + q2 x⁴ + q1 x² + q0)`.
    #[inline(always)]
    unsafe fn transform_input<S: Simd>(d: [S::Vector; 9]) -> [S::Vector; 9] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut values = [S::splat(0.0); 9];
            for (pair, a) in NINE_POINTS.into_iter().enumerate() {
                let [q0, q1, q2] = NINE_QUOTIENTS[pair].map(|q| S::splat(q));
                let even = S::mul_add(d[0], q0, S::mul_add(d[2], q1, S::mul_add(d[4], q2, d[6])));
                let odd = S::mul_add(d[1], q0, S::mul_add(d[3], q1, S::mul_add(d[5], q2, d[7])));
                values[2 * pair] = S::mul_add(even, S::splat(a), odd);
                values[2 * pair + 1] = S::mul_add(even, S::splat(-a), odd);
            }
            let [f0, f1, f2, f3] = NINE_PRODUCT.map(|f| S::splat(f));
            let sum = S::mul_add(d[4], f2, S::mul_add(d[6], f3, d[8]));
            values[8] = S::mul_add(d[0], f0, S::mul_add(d[2], f1, sum));
            values
        }
    }

    #[inline(always)]
    unsafe fn transform_output<S: Simd>(m: [S::Vector; 9]) -> [S::Vector; 7] {
        // SAFETY: guaranteed by the caller.
        unsafe {
            let mut y = [S::splat(0.0); 7];
            y[6] = m[8];
            for (pair, a) in NINE_POINTS.into_iter().enumerate() {
                let sum = S::add(m[2 * pair], m[2 * pair + 1]);
                let difference = S::sub(m[2 * pair], m[2 * pair + 1]);
                let mut power = 1.0;
                for (i, y) in y.iter_mut().enumerate() {
                    let part = if i % 2 == 0 { sum } else { difference };
                    *y = S::mul_add(part, S::splat(power), *y);
                    power *= a;
                }
            }
            y
        }
    }
}

/// `G`. In f64, since few weights are transformed for many multiplications.
pub(super) fn filter_transform<
    const N: usize,
    const M: usize,
    const R: usize,
    T: MinimalFilter<N, M>,
>() -> [[f64; R]; N] {
    const { assert!(N == M + R - 1) };
    std::array::from_fn(|row| match T::POINTS.get(row) {
        Some(&p) => {
            let others = T::POINTS.iter().filter(|&&q| q != p);
            let norm: f64 = others.map(|&q| p - q).product();
            std::array::from_fn(|i| p.powi(i as i32) / norm)
        }
        None => std::array::from_fn(|i| f64::from(u8::from(i == R - 1))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::simd::{BLOCK, Portable};

    /// The coefficients of the product of all `(x - p)`, lowest degree first.
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

    fn unit<const N: usize>(j: usize) -> [[f32; BLOCK]; N] {
        let mut unit = [[0.0; BLOCK]; N];
        unit[j] = [1.0; BLOCK];
        unit
    }

    fn input<const N: usize, const M: usize, T: MinimalFilter<N, M>>(j: usize) -> Vec<f64> {
        // SAFETY: `Portable` is always available.
        let column = unsafe { T::transform_input::<Portable>(unit(j)) };
        column.iter().map(|vector| vector[0].into()).collect()
    }

    fn output<const N: usize, const M: usize, T: MinimalFilter<N, M>>(j: usize) -> Vec<f64> {
        // SAFETY: as above.
        let column = unsafe { T::transform_output::<Portable>(unit(j)) };
        column.iter().map(|vector| vector[0].into()).collect()
    }

    /// All values here are exact in f32 and in f64, so they are compared for equality.
    fn check_definition<const N: usize, const M: usize, T: MinimalFilter<N, M>>() {
        for j in 0..N {
            let (b, a) = (input::<N, M, T>(j), output::<N, M, T>(j));
            for (row, &p) in T::POINTS.iter().enumerate() {
                let quotient = product(T::POINTS.iter().copied().filter(|&q| q != p));
                assert_eq!(b[row], quotient.get(j).copied().unwrap_or(0.0), "B^T[{row}][{j}]");
            }
            assert_eq!(b[N - 1], product(T::POINTS.iter().copied())[j], "B^T[{}][{j}]", N - 1);
            for (i, a) in a.iter().enumerate() {
                let expected = match T::POINTS.get(j) {
                    Some(p) => p.powi(i as i32),
                    None => f64::from(u8::from(i == M - 1)),
                };
                assert_eq!(*a, expected, "A^T[{i}][{j}]");
            }
        }
    }

    /// The transforms compute a filter: for a unit input and a unit tap, `Aᵀ (G g ∘ Bᵀ d)` is a unit
    /// vector or zero.
    fn check_filter<const N: usize, const M: usize, const R: usize, T: MinimalFilter<N, M>>() {
        let g = filter_transform::<N, M, R, T>();
        let a: Vec<Vec<f64>> = (0..N).map(output::<N, M, T>).collect();
        for tap in 0..=N - M {
            for at in 0..N {
                let d = input::<N, M, T>(at);
                for i in 0..M {
                    let y: f64 =
                        (a.iter().zip(&d).zip(&g)).map(|((a, d), g)| a[i] * d * g[tap]).sum();
                    let expected = f64::from(u8::from(i + tap == at));
                    assert!((y - expected).abs() < 1e-12, "{i} {tap} {at}: {y}");
                }
            }
        }
    }

    #[test]
    fn transforms_follow_toom_and_cook_and_filter() {
        check_definition::<4, 2, F2x3>();
        check_filter::<4, 2, 3, F2x3>();
        check_definition::<6, 4, F4x3>();
        check_filter::<6, 4, 3, F4x3>();
        check_definition::<7, 5, F5x3>();
        check_filter::<7, 5, 3, F5x3>();
        check_definition::<8, 6, F6x3>();
        check_filter::<8, 6, 3, F6x3>();
        check_definition::<9, 7, F7x3>();
        check_filter::<9, 7, 3, F7x3>();
        check_definition::<8, 4, F4x5>();
        check_filter::<8, 4, 5, F4x5>();
    }
}
