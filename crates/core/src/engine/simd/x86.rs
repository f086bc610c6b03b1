//! AVX-512 and AVX2 with intrinsics.
//!
//! SAFETY of every function here: [`Simd`] requires that the instruction set is available and that
//! pointers are valid for sixteen values.

use super::Simd;
use std::arch::x86_64::*;

/// AVX-512F.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Avx512;

#[rustfmt::skip]
impl Simd for Avx512 {
    type Vector = __m512;
    // The register tile takes 28 of 32 registers; two more hold the weights.
    const MR: usize = 14;
    const NR_BLOCKS: usize = 2;

    #[inline(always)] unsafe fn splat(value: f32) -> __m512 { unsafe { _mm512_set1_ps(value) } }
    #[inline(always)] unsafe fn load(from: *const f32) -> __m512 { unsafe { _mm512_loadu_ps(from) } }
    #[inline(always)] unsafe fn prefetch(from: *const f32) { unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) } }
    #[inline(always)] unsafe fn store(to: *mut f32, vector: __m512) { unsafe { _mm512_storeu_ps(to, vector) } }
    #[inline(always)] unsafe fn add(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_add_ps(a, b) } }
    #[inline(always)] unsafe fn sub(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_sub_ps(a, b) } }
    #[inline(always)] unsafe fn mul(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_mul_ps(a, b) } }
    #[inline(always)] unsafe fn div(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_div_ps(a, b) } }
    #[inline(always)] unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 { unsafe { _mm512_fmadd_ps(a, b, c) } }
    #[inline(always)] unsafe fn max(a: __m512, b: __m512) -> __m512 { unsafe { _mm512_max_ps(a, b) } }
    #[inline(always)] unsafe fn sqrt(a: __m512) -> __m512 { unsafe { _mm512_sqrt_ps(a) } }
    #[inline(always)] unsafe fn load_i16(from: *const i16) -> __m512 { unsafe {
        _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256(from.cast())))
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

#[rustfmt::skip]
impl Simd for Avx2 {
    type Vector = Pair;
    // The register tile takes 12 of 16 registers; two more hold the weights, one the input.
    const MR: usize = 6;
    const NR_BLOCKS: usize = 1;

    #[inline(always)] unsafe fn splat(value: f32) -> Pair { unsafe { let v = _mm256_set1_ps(value); Pair(v, v) } }
    #[inline(always)] unsafe fn load(from: *const f32) -> Pair { unsafe { Pair(_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))) } }
    #[inline(always)] unsafe fn prefetch(from: *const f32) { unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) } }
    #[inline(always)] unsafe fn store(to: *mut f32, v: Pair) { unsafe { _mm256_storeu_ps(to, v.0); _mm256_storeu_ps(to.add(8), v.1) } }
    #[inline(always)] unsafe fn add(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_add_ps(a.0, b.0), _mm256_add_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn sub(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_sub_ps(a.0, b.0), _mm256_sub_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn mul(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_mul_ps(a.0, b.0), _mm256_mul_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn div(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_div_ps(a.0, b.0), _mm256_div_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn mul_add(a: Pair, b: Pair, c: Pair) -> Pair { unsafe { Pair(_mm256_fmadd_ps(a.0, b.0, c.0), _mm256_fmadd_ps(a.1, b.1, c.1)) } }
    #[inline(always)] unsafe fn max(a: Pair, b: Pair) -> Pair { unsafe { Pair(_mm256_max_ps(a.0, b.0), _mm256_max_ps(a.1, b.1)) } }
    #[inline(always)] unsafe fn sqrt(a: Pair) -> Pair { unsafe { Pair(_mm256_sqrt_ps(a.0), _mm256_sqrt_ps(a.1)) } }
    #[inline(always)] unsafe fn load_i16(from: *const i16) -> Pair { unsafe {
        let half = |at: usize| _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128(from.add(at).cast())));
        Pair(half(0), half(8))
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
