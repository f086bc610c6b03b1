//! All instruction sets compute the same.

use super::*;

const OPERATIONS: usize = 11;

/// Stores the result of every arithmetic operation on two vectors into `results`.
///
/// # Safety
/// `S` must be available, `a` and `b` valid for a vector each, and `results` for `OPERATIONS` vectors.
#[inline(always)]
unsafe fn operations<S: Simd>(a: *const f32, b: *const f32, results: *mut f32) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (a, b) = (S::load(a), S::load(b));
        let vectors: [S::Vector; OPERATIONS] = [
            S::splat(1.5),
            S::add(a, b),
            S::sub(a, b),
            S::mul(a, b),
            S::div(a, b),
            S::max(a, b),
            S::sqrt(a),
            S::mul_add(a, b, S::splat(0.0)),
            S::max(S::splat(0.0), a),
            S::narrow(S::add_scaled(S::widen(a), 0.1, S::widen(b))),
            S::narrow(S::mul_wide(S::widen(a), S::load_wide([0.3; BLOCK].as_ptr()))),
        ];
        for (i, vector) in vectors.into_iter().enumerate() {
            S::store(results.add(i * BLOCK), vector);
        }
    }
}

/// # Safety
/// `S` must be available, `packed` valid for 48 bytes, and `results` for two vectors.
#[inline(always)]
unsafe fn load_integers<S: Simd>(packed: *const i16, results: *mut f32) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        S::store(results, S::load_i16(packed));
        S::store(results.add(BLOCK), S::load_i24(packed));
    }
}

/// # Safety
/// `S` must be available, and `matrix` and `results` valid for sixteen vectors.
#[inline(always)]
unsafe fn transpose<S: Simd>(matrix: *const f32, results: *mut f32) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let rows = std::array::from_fn(|row| S::load(matrix.add(row * BLOCK)));
        for (column, vector) in S::transpose(rows).into_iter().enumerate() {
            S::store(results.add(column * BLOCK), vector);
        }
    }
}

fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

/// Every pair of subnormals, both zeros, huge values, infinities, NaN and ordinary values.
#[test]
fn all_instruction_sets_agree_with_portable_on_special_values() {
    let special = [
        0.0,
        -0.0,
        1e-45,
        -1e-40,
        f32::MIN_POSITIVE,
        1.0,
        -1.5,
        16_777_217.0,
        3e38,
        f32::MAX,
        f32::MIN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        0.1,
        -7.3,
    ];
    for shift in 0..BLOCK {
        let b: [f32; BLOCK] = std::array::from_fn(|i| special[(i + shift) % BLOCK]);
        let mut portable = [0.0f32; OPERATIONS * BLOCK];
        // SAFETY: the arrays have these lengths.
        unsafe { operations::<Portable>(special.as_ptr(), b.as_ptr(), portable.as_mut_ptr()) };
        for isa in isas() {
            let mut ours = [1.0f32; OPERATIONS * BLOCK];
            // SAFETY: as above, and `isa` is available.
            unsafe {
                dispatch!(isa, operations(
                    a: *const f32 = special.as_ptr(), b: *const f32 = b.as_ptr(),
                    results: *mut f32 = ours.as_mut_ptr(),
                ))
            }
            for (i, (ours, portable)) in ours.iter().zip(portable).enumerate() {
                let context = format!("{isa}, {} {}: {ours} {portable}", i / BLOCK, i % BLOCK);
                // Whether `mul_add` rounds once or twice may change the sign of a zero.
                let is_mul_add = i / BLOCK == 7;
                let is_equal = if is_mul_add {
                    *ours == portable
                } else {
                    ours.to_bits() == portable.to_bits()
                };
                let same = is_equal || ours.is_nan() && portable.is_nan();
                assert!(same, "{context}");
            }
        }
    }
}

#[test]
fn all_instruction_sets_load_integers_alike() {
    for seed in 0..64u32 {
        let byte = |i: u32| (seed.wrapping_mul(2_654_435_761) ^ i.wrapping_mul(0x9E37_79B9)) >> 24;
        let packed: [i16; 24] = std::array::from_fn(|i| {
            let [low, high] = [2 * i as u32, 2 * i as u32 + 1].map(|i| byte(i) as u8);
            i16::from_le_bytes([low, high])
        });
        for isa in isas() {
            let mut ours = [0.5f32; 2 * BLOCK];
            // SAFETY: the arrays have these lengths, and `isa` is available.
            unsafe {
                dispatch!(isa, load_integers(
                    packed: *const i16 = packed.as_ptr(), results: *mut f32 = ours.as_mut_ptr(),
                ))
            }
            for i in 0..BLOCK {
                let low = packed[BLOCK + i / 2].to_le_bytes()[i % 2];
                assert_eq!(ours[i], f32::from(packed[i]), "{isa}");
                let value = i32::from(packed[i]) * 256 + i32::from(low);
                assert_eq!(ours[BLOCK + i], value as f32, "{isa}");
            }
        }
    }
}

#[test]
fn all_instruction_sets_transpose() {
    let matrix: [f32; BLOCK * BLOCK] = std::array::from_fn(|i| i as f32);
    for isa in isas() {
        let mut ours = [0.5f32; BLOCK * BLOCK];
        // SAFETY: the arrays have these lengths, and `isa` is available.
        unsafe {
            dispatch!(isa, transpose(
                matrix: *const f32 = matrix.as_ptr(), results: *mut f32 = ours.as_mut_ptr(),
            ))
        }
        for (at, value) in ours.into_iter().enumerate() {
            assert_eq!(value, matrix[at % BLOCK * BLOCK + at / BLOCK], "{isa}, {at}");
        }
    }
}
