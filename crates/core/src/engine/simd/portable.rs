//! Plain Rust on arrays, which the compiler vectorizes for the target: the reference for the others.

use super::{BLOCK, IntegerSimd, Simd};

/// Plain Rust.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Portable;

type Lanes = [f32; BLOCK];

#[inline(always)]
fn lane_by_lane(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    let mut result = [0.0; BLOCK];
    for i in 0..BLOCK {
        result[i] = f(a[i], b[i]);
    }
    result
}

impl Simd for Portable {
    type Vector = Lanes;
    type Wide = [f64; BLOCK];
    // 24 of NEON's 32 registers. SSE2 has 16 and spills half of the tile to the L1 cache.
    const MR: usize = 6;
    const NR_BLOCKS: usize = 1;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Lanes {
        [value; BLOCK]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Lanes {
        // SAFETY: guaranteed by the caller.
        unsafe { from.cast::<Lanes>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const f32) {}

    #[inline(always)]
    unsafe fn store(to: *mut f32, vector: Lanes) {
        // SAFETY: guaranteed by the caller.
        unsafe { to.cast::<Lanes>().write_unaligned(vector) }
    }

    #[inline(always)]
    unsafe fn stream(to: *mut f32, vector: Lanes) {
        // SAFETY: guaranteed by the caller.
        unsafe { Self::store(to, vector) }
    }

    #[inline(always)]
    unsafe fn fence() {}

    #[inline(always)]
    unsafe fn add(a: Lanes, b: Lanes) -> Lanes {
        lane_by_lane(a, b, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(a: Lanes, b: Lanes) -> Lanes {
        lane_by_lane(a, b, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(a: Lanes, b: Lanes) -> Lanes {
        lane_by_lane(a, b, |a, b| a * b)
    }

    #[inline(always)]
    unsafe fn div(a: Lanes, b: Lanes) -> Lanes {
        lane_by_lane(a, b, |a, b| a / b)
    }

    /// Fused with NEON, which always supports it. Elsewhere `f32::mul_add` may be a library call.
    #[inline(always)]
    unsafe fn mul_add(a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        let mut result = c;
        for i in 0..BLOCK {
            result[i] = if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
                a[i].mul_add(b[i], c[i])
            } else {
                a[i] * b[i] + c[i]
            };
        }
        result
    }

    #[inline(always)]
    unsafe fn max(a: Lanes, b: Lanes) -> Lanes {
        lane_by_lane(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn sqrt(a: Lanes) -> Lanes {
        lane_by_lane(a, a, |a, _| a.sqrt())
    }

    #[inline(always)]
    unsafe fn transpose(rows: [Lanes; BLOCK]) -> [Lanes; BLOCK] {
        std::array::from_fn(|column| std::array::from_fn(|row| rows[row][column]))
    }

    #[inline(always)]
    unsafe fn widen(a: Lanes) -> [f64; BLOCK] {
        a.map(f64::from)
    }

    #[inline(always)]
    unsafe fn narrow(a: [f64; BLOCK]) -> Lanes {
        a.map(|value| value as f32)
    }

    #[inline(always)]
    unsafe fn load_wide(from: *const f64) -> [f64; BLOCK] {
        // SAFETY: guaranteed by the caller.
        unsafe { from.cast::<[f64; BLOCK]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn mul_wide(a: [f64; BLOCK], b: [f64; BLOCK]) -> [f64; BLOCK] {
        std::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    unsafe fn add_scaled(a: [f64; BLOCK], factor: f64, b: [f64; BLOCK]) -> [f64; BLOCK] {
        std::array::from_fn(|i| a[i] + factor * b[i])
    }

    #[inline(always)]
    unsafe fn load_i16(from: *const i16) -> Lanes {
        // SAFETY: guaranteed by the caller.
        let integers = unsafe { from.cast::<[i16; BLOCK]>().read_unaligned() };
        integers.map(f32::from)
    }

    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Lanes {
        // SAFETY: guaranteed by the caller.
        let integers = unsafe { from.cast::<[i8; BLOCK]>().read_unaligned() };
        integers.map(f32::from)
    }

    #[inline(always)]
    unsafe fn load_i20(from: *const i16) -> Lanes {
        // SAFETY: guaranteed by the caller.
        let upper = unsafe { from.cast::<[i16; BLOCK]>().read_unaligned() };
        // SAFETY: guaranteed by the caller.
        let lower = unsafe { from.add(BLOCK).cast::<[u8; BLOCK / 2]>().read_unaligned() };
        let mut result = [0.0; BLOCK];
        for i in 0..BLOCK {
            let nibble = (lower[i % 8] >> (i / 8 * 4)) & 15;
            result[i] = (i32::from(upper[i]) << 4 | i32::from(nibble)) as f32;
        }
        result
    }

    unsafe fn load_i24(from: *const i16) -> Lanes {
        // SAFETY: guaranteed by the caller.
        let upper = unsafe { from.cast::<[i16; BLOCK]>().read_unaligned() };
        // SAFETY: guaranteed by the caller.
        let lower = unsafe { from.add(BLOCK).cast::<[u8; BLOCK]>().read_unaligned() };
        let mut result = [0.0; BLOCK];
        for i in 0..BLOCK {
            result[i] = (i32::from(upper[i]) << 8 | i32::from(lower[i])) as f32;
        }
        result
    }
}

/// Adding it rounds a float of a magnitude below 2²² to an integer, which its lower bits are.
const ROUNDING: f32 = 1.5 * (1 << 23) as f32;

impl IntegerSimd for Portable {
    type Integers = [i32; BLOCK];

    #[inline(always)]
    unsafe fn splat_integer(value: i32) -> [i32; BLOCK] {
        [value; BLOCK]
    }

    #[inline(always)]
    unsafe fn load_integers(from: *const i32) -> [i32; BLOCK] {
        // SAFETY: guaranteed by the caller.
        unsafe { from.cast::<[i32; BLOCK]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_integers(to: *mut i32, integers: [i32; BLOCK]) {
        // SAFETY: guaranteed by the caller.
        unsafe { to.cast::<[i32; BLOCK]>().write_unaligned(integers) }
    }

    #[inline(always)]
    unsafe fn add_products(sums: [i32; BLOCK], a: [i32; BLOCK], b: [i32; BLOCK]) -> [i32; BLOCK] {
        let mut result = sums;
        for i in 0..BLOCK {
            let lower = i32::from(a[i] as i16) * i32::from(b[i] as i16);
            let upper = (a[i] >> 16) * (b[i] >> 16);
            result[i] = sums[i].wrapping_add(lower).wrapping_add(upper);
        }
        result
    }

    #[inline(always)]
    unsafe fn mul_i16(a: [i32; BLOCK], b: [i32; BLOCK]) -> [i32; BLOCK] {
        std::array::from_fn(|i| {
            let lower = (a[i] as i16).wrapping_mul(b[i] as i16);
            let upper = ((a[i] >> 16) as i16).wrapping_mul((b[i] >> 16) as i16);
            i32::from(upper) << 16 | i32::from(lower as u16)
        })
    }

    #[inline(always)]
    unsafe fn to_float(integers: [i32; BLOCK]) -> Lanes {
        integers.map(|integer| integer as f32)
    }

    #[inline(always)]
    unsafe fn bits(vector: Lanes) -> [i32; BLOCK] {
        vector.map(|value| value.to_bits() as i32)
    }

    #[inline(always)]
    unsafe fn max_signed(a: [i32; BLOCK], b: [i32; BLOCK]) -> [i32; BLOCK] {
        std::array::from_fn(|i| a[i].max(b[i]))
    }

    #[inline(always)]
    unsafe fn and_not(a: [i32; BLOCK], b: [i32; BLOCK]) -> [i32; BLOCK] {
        std::array::from_fn(|i| !a[i] & b[i])
    }

    #[inline(always)]
    unsafe fn store_i16(to: *mut i16, vector: Lanes) {
        let rounded = vector.map(|value| (value + ROUNDING).to_bits() as i16);
        // SAFETY: guaranteed by the caller.
        unsafe { to.cast::<[i16; BLOCK]>().write_unaligned(rounded) }
    }

    #[inline(always)]
    unsafe fn load_i8_pairs(from: *const i8) -> [i32; BLOCK] {
        // SAFETY: guaranteed by the caller.
        let bytes = unsafe { from.cast::<[[i8; 2]; BLOCK]>().read_unaligned() };
        bytes.map(|[lower, upper]| i32::from(upper) << 16 | i32::from(lower) & 0xFFFF)
    }
}
