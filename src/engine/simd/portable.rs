//! The plain reference: arrays, which the compiler vectorizes for its target.

use super::{BLOCK, Simd};

#[derive(Clone, Copy)]
pub(in crate::engine) struct Portable;

type Array = [f32; BLOCK];

#[inline(always)]
fn each(a: Array, b: Array, f: impl Fn(f32, f32) -> f32) -> Array {
    let mut result = [0.0; BLOCK];
    for i in 0..BLOCK {
        result[i] = f(a[i], b[i]);
    }
    result
}

impl Simd for Portable {
    type Vector = Array;
    // 24 of NEON's 32 registers; SSE2 has 16, and keeps half of them in the cache.
    const TILES: usize = 6;
    const WIDTH: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Array {
        [value; BLOCK]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Array {
        // SAFETY: the caller's.
        unsafe { from.cast::<Array>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: Array) {
        // SAFETY: the caller's.
        unsafe { to.cast::<Array>().write_unaligned(vector) }
    }

    #[inline(always)]
    unsafe fn add(a: Array, b: Array) -> Array {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Array, b: Array) -> Array {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Array, b: Array) -> Array {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(a: Array, b: Array) -> Array {
        each(a, b, |a, b| a / b)
    }

    /// NEON always has it fused; elsewhere `f32::mul_add` may be a call of a function.
    #[inline(always)]
    unsafe fn mul_add(a: Array, b: Array, c: Array) -> Array {
        let mut result = c;
        for i in 0..BLOCK {
            result[i] = match cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                true => a[i].mul_add(b[i], c[i]),
                false => a[i] * b[i] + c[i],
            };
        }
        result
    }

    #[inline(always)]
    unsafe fn max(a: Array, b: Array) -> Array {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn sqrt(a: Array) -> Array {
        each(a, a, |a, _| a.sqrt())
    }

    #[inline(always)]
    unsafe fn load_i16(from: *const i16) -> Array {
        // SAFETY: the caller's.
        let integers = unsafe { from.cast::<[i16; BLOCK]>().read_unaligned() };
        integers.map(f32::from)
    }

    #[inline(always)]
    unsafe fn load_i24(from: *const i16) -> Array {
        // SAFETY: the caller's.
        let upper = unsafe { from.cast::<[i16; BLOCK]>().read_unaligned() };
        // SAFETY: the caller's.
        let lower = unsafe { from.add(BLOCK).cast::<[u8; BLOCK]>().read_unaligned() };
        let mut result = [0.0; BLOCK];
        for i in 0..BLOCK {
            result[i] = (i32::from(upper[i]) << 8 | i32::from(lower[i])) as f32;
        }
        result
    }
}
