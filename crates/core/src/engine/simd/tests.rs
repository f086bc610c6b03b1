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
/// `S` must be available, `packed` valid for 48 bytes, and `results` for three vectors.
#[inline(always)]
unsafe fn load_integers<S: Simd>(packed: *const i16, results: *mut f32) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        S::store(results, S::load_i16(packed));
        S::store(results.add(BLOCK), S::load_i24(packed));
        S::store(results.add(2 * BLOCK), S::load_i20(packed));
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
            let mut ours = [0.5f32; 3 * BLOCK];
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
                let nibble = packed[BLOCK + i % 8 / 2].to_le_bytes()[i % 2] >> (i / 8 * 4) & 15;
                let value = i32::from(packed[i]) * 16 + i32::from(nibble);
                assert_eq!(ours[2 * BLOCK + i], value as f32, "{isa}");
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

/// Stores the result of every operation on integers into `results`.
///
/// # Safety
/// `S` must be available, `a` and `b` valid for sixteen 32-bit integers, `floats` for a vector, and `results` for
/// `INTEGER_OPERATIONS` vectors.
#[inline(always)]
unsafe fn integer_operations<S: IntegerSimd>(
    [a, b]: [*const i32; 2],
    floats: *const f32,
    results: *mut i32,
) {
    // SAFETY: guaranteed by the caller.
    unsafe {
        let (a_vector, b_vector) = (S::load_integers(a), S::load_integers(b));
        let vectors = [
            S::splat_integer(*a),
            S::add_products(S::splat_integer(7), a_vector, b_vector),
            S::bits(S::to_float(a_vector)),
            S::max_signed(a_vector, b_vector),
            S::and_not(a_vector, b_vector),
            S::load_i8_pairs(a.cast()),
            S::bits(S::load_i8(b.cast())),
            S::mul_i16(a_vector, b_vector),
            S::splat_integer(0),
        ];
        for (i, vector) in vectors.into_iter().enumerate() {
            S::store_integers(results.add(i * BLOCK), vector);
        }
        S::store_i16(results.add((INTEGER_OPERATIONS - 1) * BLOCK).cast(), S::load(floats));
    }
}

const INTEGER_OPERATIONS: usize = 9;

#[test]
fn all_instruction_sets_agree_with_portable_on_integers() {
    for seed in 0..64u32 {
        let integers = |salt: u32| -> [i32; BLOCK] {
            std::array::from_fn(|i| {
                let mixed = (seed * 100 + salt * 31 + i as u32).wrapping_mul(2_654_435_761);
                (mixed ^ mixed.rotate_left(13)) as i32
            })
        };
        let (a, b) = (integers(1), integers(2));
        // Within the range of 16 bits, halves and their neighbors among them.
        let floats = a.map(|integer| (integer >> 15) as f32 / 2.0 + (integer & 3) as f32 * 1e-3);
        let mut portable = [0; INTEGER_OPERATIONS * BLOCK];
        // SAFETY: the arrays have these lengths.
        unsafe {
            let pointers = [a.as_ptr(), b.as_ptr()];
            integer_operations::<Portable>(pointers, floats.as_ptr(), portable.as_mut_ptr());
        }
        // SAFETY: the last vector holds sixteen 16-bit integers.
        let rounded = unsafe {
            std::slice::from_raw_parts(
                portable[(INTEGER_OPERATIONS - 1) * BLOCK..].as_ptr().cast::<i16>(),
                BLOCK,
            )
        };
        for (rounded, float) in rounded.iter().zip(floats) {
            assert_eq!(f32::from(*rounded), float.round_ties_even(), "{float}");
        }
        for isa in isas().map(Isa::with_integers) {
            let mut ours = [1; INTEGER_OPERATIONS * BLOCK];
            // SAFETY: as above, and `isa` is available.
            unsafe {
                dispatch_integers!(isa, integer_operations(
                    integers: [*const i32; 2] = [a.as_ptr(), b.as_ptr()],
                    floats: *const f32 = floats.as_ptr(), results: *mut i32 = ours.as_mut_ptr(),
                ))
            }
            assert_eq!(ours, portable, "{isa}, {a:?}, {b:?}");
        }
    }
}
