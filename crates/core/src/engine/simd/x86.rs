//! AVX-512 and AVX2 with intrinsics.
//!
//! SAFETY of every function here: [`Simd`] requires that the instruction set is available and that
//! pointers are valid for sixteen values.

use super::{BLOCK, IntegerSimd, Simd};
use std::arch::x86_64::*;

/// AVX-512F.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Avx512;

#[rustfmt::skip]
impl Simd for Avx512 {
    type Vector = __m512;
    type Wide = [__m512d; 2];
    // The register tile takes 28 of 32 registers; two more hold the weights.
    const MR: usize = 14;
    const NR_BLOCKS: usize = 2;

    #[inline(always)] unsafe fn splat(value: f32) -> __m512 { unsafe { _mm512_set1_ps(value) } }
    #[inline(always)] unsafe fn load(from: *const f32) -> __m512 { unsafe { _mm512_loadu_ps(from) } }
    #[inline(always)] unsafe fn prefetch(from: *const f32) { unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) } }
    #[inline(always)] unsafe fn store(to: *mut f32, vector: __m512) { unsafe { _mm512_storeu_ps(to, vector) } }
    #[inline(always)] unsafe fn stream(to: *mut f32, vector: __m512) { unsafe { _mm512_stream_ps(to, vector) } }
    #[inline(always)] unsafe fn fence() { unsafe { _mm_sfence() } }
    #[inline(always)] unsafe fn add(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_add_ps(a, b) } }
    #[inline(always)] unsafe fn sub(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_sub_ps(a, b) } }
    #[inline(always)] unsafe fn mul(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_mul_ps(a, b) } }
    #[inline(always)] unsafe fn div(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_div_ps(a, b) } }
    #[inline(always)] unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 { unsafe { _mm512_fmadd_ps(a, b, c) } }
    #[inline(always)] unsafe fn max(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_max_ps(a, b) } }
    #[inline(always)] unsafe fn sqrt(a: __m512) -> __m512 { unsafe { _mm512_sqrt_ps(a) } }
    #[inline(always)] unsafe fn transpose(rows: [__m512; BLOCK]) -> [__m512; BLOCK] { unsafe {
        let mut columns = rows;
        // Within four rows: part k of vector j holds their values in column 4k + j.
        for (from, to) in rows.chunks_exact(4).zip(columns.chunks_exact_mut(4)) {
            let double = |vector: __m512| _mm512_castps_pd(vector);
            let low = [_mm512_unpacklo_ps(from[0], from[1]), _mm512_unpacklo_ps(from[2], from[3])].map(double);
            let high = [_mm512_unpackhi_ps(from[0], from[1]), _mm512_unpackhi_ps(from[2], from[3])].map(double);
            to[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low[0], low[1]));
            to[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low[0], low[1]));
            to[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high[0], high[1]));
            to[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high[0], high[1]));
        }
        for j in 0..4 {
            let [a, b, c, d] = [columns[j], columns[4 + j], columns[8 + j], columns[12 + j]];
            let even = [_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0x88>(c, d)];
            let odd = [_mm512_shuffle_f32x4::<0xDD>(a, b), _mm512_shuffle_f32x4::<0xDD>(c, d)];
            columns[j] = _mm512_shuffle_f32x4::<0x88>(even[0], even[1]);
            columns[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd[0], odd[1]);
            columns[8 + j] = _mm512_shuffle_f32x4::<0xDD>(even[0], even[1]);
            columns[12 + j] = _mm512_shuffle_f32x4::<0xDD>(odd[0], odd[1]);
        }
        columns
    } }
    #[inline(always)] unsafe fn widen(a: __m512) -> [__m512d; 2] { unsafe {
        let upper = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(a)));
        [_mm512_cvtps_pd(_mm512_castps512_ps256(a)), _mm512_cvtps_pd(upper)]
    } }
    #[inline(always)] unsafe fn narrow(a: [__m512d; 2]) -> __m512 { unsafe {
        let [lower, upper] = a.map(|half| _mm256_castps_pd(_mm512_cvtpd_ps(half)));
        _mm512_castpd_ps(_mm512_insertf64x4::<1>(_mm512_castpd256_pd512(lower), upper))
    } }
    #[inline(always)] unsafe fn load_wide(from: *const f64) -> [__m512d; 2] { unsafe { [_mm512_loadu_pd(from), _mm512_loadu_pd(from.add(8))] } }
    #[inline(always)] unsafe fn mul_wide(a: [__m512d; 2], b: [__m512d; 2]) -> [__m512d; 2] { unsafe { std::array::from_fn(|i| _mm512_mul_pd(a[i], b[i])) } }
    #[inline(always)] unsafe fn add_scaled(a: [__m512d; 2], factor: f64, b: [__m512d; 2]) -> [__m512d; 2] { unsafe {
        let factor = _mm512_set1_pd(factor);
        std::array::from_fn(|i| _mm512_add_pd(a[i], _mm512_mul_pd(factor, b[i])))
    } }
    #[inline(always)] unsafe fn load_i16(from: *const i16) -> __m512 { unsafe {
        _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256(from.cast())))
    } }
    #[inline(always)] unsafe fn load_i8(from: *const i8) -> __m512 { unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))) } }
    #[inline(always)] unsafe fn load_i20(from: *const i16) -> __m512 { unsafe {
        let upper = _mm512_slli_epi32::<4>(_mm512_cvtepi16_epi32(_mm256_loadu_si256(from.cast())));
        let bytes = _mm_set1_epi64x(from.add(16).cast::<i64>().read_unaligned());
        let shifts = _mm512_set_epi32(4, 4, 4, 4, 4, 4, 4, 4, 0, 0, 0, 0, 0, 0, 0, 0);
        let lower = _mm512_srlv_epi32(_mm512_cvtepu8_epi32(bytes), shifts);
        // upper | lower & 15
        let integers = _mm512_ternarylogic_epi32::<0xF8>(upper, lower, _mm512_set1_epi32(15));
        _mm512_cvtepi32_ps(integers)
    } }
    #[inline(always)] unsafe fn load_i24(from: *const i16) -> __m512 { unsafe {
        let upper = _mm512_slli_epi32::<8>(_mm512_cvtepi16_epi32(_mm256_loadu_si256(from.cast())));
        let lower = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.add(16).cast()));
        _mm512_cvtepi32_ps(_mm512_or_si512(upper, lower))
    } }
}

/// AVX2 and FMA.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Avx2;

/// Sixteen lanes in two registers.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Pair(__m256, __m256);

/// The columns of a matrix of eight rows.
#[rustfmt::skip]
#[inline(always)]
unsafe fn transpose_8(r: [__m256; 8]) -> [__m256; 8] { unsafe {
    // Within four rows: half k of vector j holds their values in column 4k + j.
    let four = |r: [__m256; 4]| {
        let low = [_mm256_unpacklo_ps(r[0], r[1]), _mm256_unpacklo_ps(r[2], r[3])];
        let high = [_mm256_unpackhi_ps(r[0], r[1]), _mm256_unpackhi_ps(r[2], r[3])];
        [
            _mm256_shuffle_ps::<0x44>(low[0], low[1]), _mm256_shuffle_ps::<0xEE>(low[0], low[1]),
            _mm256_shuffle_ps::<0x44>(high[0], high[1]), _mm256_shuffle_ps::<0xEE>(high[0], high[1]),
        ]
    };
    let (upper, lower) = (four([r[0], r[1], r[2], r[3]]), four([r[4], r[5], r[6], r[7]]));
    let mut columns = r;
    for j in 0..4 {
        columns[j] = _mm256_permute2f128_ps::<0x20>(upper[j], lower[j]);
        columns[4 + j] = _mm256_permute2f128_ps::<0x31>(upper[j], lower[j]);
    }
    columns
} }

#[rustfmt::skip]
impl Simd for Avx2 {
    type Vector = Pair;
    type Wide = [__m256d; 4];
    // The register tile takes 12 of 16 registers; two more hold the weights, one the input.
    const MR: usize = 6;
    const NR_BLOCKS: usize = 1;

    #[inline(always)] unsafe fn splat(value: f32) -> Pair { unsafe { let v = _mm256_set1_ps(value); Pair(v, v) } }
    #[inline(always)] unsafe fn load(from: *const f32) -> Pair { unsafe { Pair(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) } }
    #[inline(always)] unsafe fn prefetch(from: *const f32) { unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) } }
    #[inline(always)] unsafe fn store(to: *mut f32, v: Pair) { unsafe { _mm256_storeu_ps(to, v.0); _mm256_storeu_ps(to.add(8), v.1) } }
    #[inline(always)] unsafe fn stream(to: *mut f32, v: Pair) { unsafe { _mm256_stream_ps(to, v.0); _mm256_stream_ps(to.add(8), v.1) } }
    #[inline(always)] unsafe fn fence() { unsafe { _mm_sfence() } }
    #[inline(always)] unsafe fn add(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn sub(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn mul(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn div(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn mul_add(a: Pair, b: Pair, c: Pair) -> Pair { unsafe { Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) } }
    #[inline(always)] unsafe fn max(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn sqrt(a: Pair) -> Pair { unsafe { Pair(_mm256_sqrt_ps(a.0), _mm256_sqrt_ps(a.1)) } }
    #[inline(always)] unsafe fn transpose(rows: [Pair; BLOCK]) -> [Pair; BLOCK] { unsafe {
        let mut columns = rows;
        for (half, first) in [0, 8].into_iter().enumerate() {
            let left = transpose_8(std::array::from_fn(|i| rows[first + i].0));
            let right = transpose_8(std::array::from_fn(|i| rows[first + i].1));
            for j in 0..8 {
                if half == 0 {
                    (columns[j].0, columns[8 + j].0) = (left[j], right[j]);
                } else {
                    (columns[j].1, columns[8 + j].1) = (left[j], right[j]);
                }
            }
        }
        columns
    } }
    #[inline(always)] unsafe fn widen(a: Pair) -> [__m256d; 4] { unsafe {
        let [lower, upper] = [a.0, a.1].map(|half| [_mm256_castps256_ps128(half), _mm256_extractf128_ps::<1>(half)]);
        [lower[0], lower[1], upper[0], upper[1]].map(|quarter| _mm256_cvtps_pd(quarter))
    } }
    #[inline(always)] unsafe fn narrow(a: [__m256d; 4]) -> Pair { unsafe {
        let a = a.map(|quarter| _mm256_cvtpd_ps(quarter));
        Pair(_mm256_set_m128(a[1], a[0]), _mm256_set_m128(a[3], a[2]))
    } }
    #[inline(always)] unsafe fn load_wide(from: *const f64) -> [__m256d; 4] { unsafe { std::array::from_fn(|i| _mm256_loadu_pd(from.add(4 * i))) } }
    #[inline(always)] unsafe fn mul_wide(a: [__m256d; 4], b: [__m256d; 4]) -> [__m256d; 4] { unsafe { std::array::from_fn(|i| _mm256_mul_pd(a[i], b[i])) } }
    #[inline(always)] unsafe fn add_scaled(a: [__m256d; 4], factor: f64, b: [__m256d; 4]) -> [__m256d; 4] { unsafe {
        let factor = _mm256_set1_pd(factor);
        std::array::from_fn(|i| _mm256_add_pd(a[i], _mm256_mul_pd(factor, b[i])))
    } }
    #[inline(always)] unsafe fn load_i16(from: *const i16) -> Pair { unsafe {
        let half = |at: usize| _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(from.add(at).cast())));
        Pair(half(0), half(8))
    } }
    #[inline(always)] unsafe fn load_i8(from: *const i8) -> Pair { unsafe {
        let half = |at: usize| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(at).cast())));
        Pair(half(0), half(8))
    } }
    #[inline(always)] unsafe fn load_i20(from: *const i16) -> Pair { unsafe {
        let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.add(16).cast()));
        let half = |at: usize, lower: __m256i| {
            let upper = _mm256_slli_epi32::<4>(_mm256_cvtepi16_epi32(_mm_loadu_si128(from.add(at).cast())));
            _mm256_cvtepi32_ps(_mm256_or_si256(upper, lower))
        };
        let low = _mm256_and_si256(bytes, _mm256_set1_epi32(15));
        Pair(half(0, low), half(8, _mm256_srli_epi32::<4>(bytes)))
    } }
    #[inline(always)] unsafe fn load_i24(from: *const i16) -> Pair { unsafe {
        let bytes = from.add(16).cast::<u8>();
        let half = |at: usize| {
            let upper = _mm256_slli_epi32::<8>(_mm256_cvtepi16_epi32(_mm_loadu_si128(from.add(at).cast())));
            let lower = _mm256_cvtepu8_epi32(_mm_loadl_epi64(bytes.add(at).cast()));
            _mm256_cvtepi32_ps(_mm256_or_si256(upper, lower))
        };
        Pair(half(0), half(8))
    } }
}

/// With BW and VNNI.
#[rustfmt::skip]
impl IntegerSimd for Avx512 {
    type Integers = __m512i;

    #[inline(always)] unsafe fn splat_integer(value: i32) -> __m512i { unsafe { _mm512_set1_epi32(value) } }
    #[inline(always)] unsafe fn load_integers(from: *const i32) -> __m512i { unsafe { _mm512_loadu_si512(from.cast()) } }
    #[inline(always)] unsafe fn store_integers(to: *mut i32, integers: __m512i) { unsafe { _mm512_storeu_si512(to.cast(), integers) } }
    #[inline(always)] unsafe fn add_products(sums: __m512i, a: __m512i, b: __m512i) -> __m512i { unsafe { _mm512_dpwssd_epi32(sums, a, b) } }
    #[inline(always)] unsafe fn mul_i16(a: __m512i, b: __m512i) -> __m512i { unsafe { _mm512_mullo_epi16(a, b) } }
    #[inline(always)] unsafe fn to_float(integers: __m512i) -> __m512 { unsafe { _mm512_cvtepi32_ps(integers) } }
    #[inline(always)] unsafe fn bits(vector: __m512) -> __m512i { unsafe { _mm512_castps_si512(vector) } }
    #[inline(always)] unsafe fn max_signed(a: __m512i, b: __m512i) -> __m512i { unsafe { _mm512_max_epi32(a, b) } }
    #[inline(always)] unsafe fn and_not(a: __m512i, b: __m512i) -> __m512i { unsafe { _mm512_andnot_si512(a, b) } }
    #[inline(always)] unsafe fn store_i16(to: *mut i16, vector: __m512) { unsafe {
        _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(vector)))
    } }
    #[inline(always)] unsafe fn load_i8_pairs(from: *const i8) -> __m512i { unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) } }
}

/// Sixteen integers in two registers.
#[derive(Clone, Copy)]
pub(in crate::engine) struct IntegerPair(__m256i, __m256i);

#[rustfmt::skip]
impl IntegerSimd for Avx2 {
    type Integers = IntegerPair;

    #[inline(always)] unsafe fn splat_integer(value: i32) -> IntegerPair { unsafe { let v = _mm256_set1_epi32(value); IntegerPair(v, v) } }
    #[inline(always)] unsafe fn load_integers(from: *const i32) -> IntegerPair { unsafe { IntegerPair(_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(8).cast())) } }
    #[inline(always)] unsafe fn store_integers(to: *mut i32, v: IntegerPair) { unsafe { _mm256_storeu_si256(to.cast(), v.0); _mm256_storeu_si256(to.add(8).cast(), v.1) } }
    #[inline(always)] unsafe fn add_products(sums: IntegerPair, a: IntegerPair, b: IntegerPair) -> IntegerPair { unsafe {
        let add = |sum, a, b| _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
        IntegerPair(add(sums.0, a.0, b.0), add(sums.1, a.1, b.1))
    } }
    #[inline(always)] unsafe fn mul_i16(a: IntegerPair, b: IntegerPair) -> IntegerPair { unsafe { IntegerPair(_mm256_mullo_epi16(a.0, b.0), _mm256_mullo_epi16(a.1, b.1)) } }
    #[inline(always)] unsafe fn to_float(v: IntegerPair) -> Pair { unsafe { Pair(_mm256_cvtepi32_ps(v.0), _mm256_cvtepi32_ps(v.1)) } }
    #[inline(always)] unsafe fn bits(v: Pair) -> IntegerPair { unsafe { IntegerPair(_mm256_castps_si256(v.0), _mm256_castps_si256(v.1)) } }
    #[inline(always)] unsafe fn max_signed(a: IntegerPair, b: IntegerPair) -> IntegerPair { unsafe { IntegerPair(_mm256_max_epi32(a.0, b.0), _mm256_max_epi32(a.1, b.1)) } }
    #[inline(always)] unsafe fn and_not(a: IntegerPair, b: IntegerPair) -> IntegerPair { unsafe { IntegerPair(_mm256_andnot_si256(a.0, b.0), _mm256_andnot_si256(a.1, b.1)) } }
    #[inline(always)] unsafe fn store_i16(to: *mut i16, v: Pair) { unsafe {
        let packed = _mm256_packs_epi32(_mm256_cvtps_epi32(v.0), _mm256_cvtps_epi32(v.1));
        // The instruction packs each half of a register on its own.
        _mm256_storeu_si256(to.cast(), _mm256_permute4x64_epi64::<0xD8>(packed))
    } }
    #[inline(always)] unsafe fn load_i8_pairs(from: *const i8) -> IntegerPair { unsafe {
        let half = |at: usize| _mm256_cvtepi8_epi16(_mm_loadu_si128(from.add(at).cast()));
        IntegerPair(half(0), half(16))
    } }
}
