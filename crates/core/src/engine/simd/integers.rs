//! [`IntegerSimd`]: what the kernels on integers may do besides.

use super::{BLOCK, CheckedPtr, Simd};

/// Operations on vectors of sixteen 32-bit integers, each of which may hold a pair of 16-bit integers.
///
/// # Safety
/// As for [`Simd`]; with AVX-512, BW and VNNI must be available, too: see
/// [`Isa::with_integers`](super::Isa::with_integers).
pub(in crate::engine) trait IntegerSimd: Simd {
    type Integers: Copy;

    unsafe fn splat_integer(value: i32) -> Self::Integers;
    unsafe fn load_integers(from: *const i32) -> Self::Integers;
    unsafe fn store_integers(to: *mut i32, integers: Self::Integers);
    /// Lane by lane, adds the products of the two pairs: `sums + a0 * b0 + a1 * b1`, which wraps.
    unsafe fn add_products(
        sums: Self::Integers,
        a: Self::Integers,
        b: Self::Integers,
    ) -> Self::Integers;
    /// The lower 16 bits of the products of 16-bit integers.
    unsafe fn mul_i16(a: Self::Integers, b: Self::Integers) -> Self::Integers;
    unsafe fn to_float(integers: Self::Integers) -> Self::Vector;
    unsafe fn bits(vector: Self::Vector) -> Self::Integers;
    unsafe fn max_signed(a: Self::Integers, b: Self::Integers) -> Self::Integers;
    /// `b` without the bits of `a`.
    unsafe fn and_not(a: Self::Integers, b: Self::Integers) -> Self::Integers;
    /// Rounds to the nearest integers, ties to even, and stores them as 16-bit integers. Magnitudes beyond
    /// their range, and NaN, give any integers.
    unsafe fn store_i16(to: *mut i16, vector: Self::Vector);
    /// Loads 32 8-bit integers as 16-bit ones.
    unsafe fn load_i8_pairs(from: *const i8) -> Self::Integers;
}

/// The scale of `len` values: see [`scale_of_magnitudes`].
///
/// # Safety
/// `S` must be available, and the values inside their buffer.
#[inline(always)]
pub(in crate::engine) unsafe fn scale_of_values<S: IntegerSimd>(
    values: CheckedPtr,
    len: usize,
) -> f32 {
    // SAFETY: guaranteed by the caller.
    unsafe {
        // As integers, the bits of magnitudes have their order, and those of infinity and NaN come last.
        let sign = S::splat_integer(i32::MIN);
        let mut largest = S::splat_integer(0);
        for i in (0..len).step_by(BLOCK) {
            let bits = S::bits(values.add(i).load_some::<S>(len - i));
            largest = S::max_signed(largest, S::and_not(sign, bits));
        }
        scale_of_magnitudes::<S>(largest)
    }
}

/// Smaller magnitudes are zero next to the largest that are usual.
const SMALLEST: f32 = 1e-30;

/// The scale of values whose magnitudes' bits have these maxima in each lane: the largest magnitude, but not too small
/// to divide by. NaN if it is NaN or infinity, whose bits come after those of all numbers.
///
/// # Safety
/// `S` must be available.
#[inline(always)]
pub(in crate::engine) unsafe fn scale_of_magnitudes<S: IntegerSimd>(bits: S::Integers) -> f32 {
    let mut lanes = [0; BLOCK];
    // SAFETY: guaranteed by the caller.
    unsafe { S::store_integers(lanes.as_mut_ptr(), bits) };
    let largest = f32::from_bits(lanes.into_iter().fold(0, i32::max) as u32);
    if largest.is_finite() { largest.max(SMALLEST) } else { f32::NAN }
}
