//! [`Simd`]: what a kernel may do with vectors of sixteen `f32`.

/// Lanes of a vector, and channels of a block.
pub(in crate::engine) const BLOCK: usize = 16;

/// An instruction set's operations on vectors of [`BLOCK`] lanes.
///
/// # Safety
/// Call these functions only where [`Isa::is_available`](super::Isa::is_available) returns true, and
/// `load` and `store` only with pointers that are valid for sixteen `f32`.
pub(in crate::engine) trait Simd: Copy {
    type Vector: Copy;
    /// Sixteen `f64`.
    type Wide: Copy;
    /// Rows of the microkernel's register tile: MR, in the terms of BLIS.
    const MR: usize;
    /// Columns of the register tile in vectors: NR of BLIS is `NR_BLOCKS * BLOCK`.
    const NR_BLOCKS: usize;

    unsafe fn splat(value: f32) -> Self::Vector;
    unsafe fn load(from: *const f32) -> Self::Vector;
    /// Prefetches a cache line into the L2 cache. The address need not be valid.
    unsafe fn prefetch(from: *const f32);
    unsafe fn store(to: *mut f32, vector: Self::Vector);
    /// Stores past the caches, where the hardware can: it need not read the line from memory first, and what is in the
    /// caches stays there. The address must be a multiple of 64 bytes. Before anyone accesses the values, call
    /// [`fence`](Self::fence).
    unsafe fn stream(to: *mut f32, vector: Self::Vector);
    /// Orders this thread's [`stream`](Self::stream)s before everything that it does later.
    unsafe fn fence();
    unsafe fn add(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sub(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn mul(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn div(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    /// `a * b + c`, fused (rounded once) where the hardware supports it.
    unsafe fn mul_add(a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;
    /// The larger of the two, or `b` if either is NaN: `max(0, x)` propagates a NaN in `x`.
    unsafe fn max(a: Self::Vector, b: Self::Vector) -> Self::Vector;
    unsafe fn sqrt(a: Self::Vector) -> Self::Vector;
    /// The columns of a matrix of sixteen rows.
    unsafe fn transpose(rows: [Self::Vector; BLOCK]) -> [Self::Vector; BLOCK];
    unsafe fn widen(a: Self::Vector) -> Self::Wide;
    /// Rounds to the nearest `f32`.
    unsafe fn narrow(a: Self::Wide) -> Self::Vector;
    /// `from` must be valid for sixteen `f64`.
    unsafe fn load_wide(from: *const f64) -> Self::Wide;
    unsafe fn mul_wide(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    /// `a + factor * b`, rounded twice.
    unsafe fn add_scaled(a: Self::Wide, factor: f64, b: Self::Wide) -> Self::Wide;
    /// Loads sixteen 16-bit integers and converts them.
    unsafe fn load_i16(from: *const i16) -> Self::Vector;
    /// Loads sixteen 8-bit integers and converts them.
    unsafe fn load_i8(from: *const i8) -> Self::Vector;
    /// Loads sixteen 20-bit integers, stored as all the upper 16 bits, then eight bytes with the lower 4 bits of two
    /// integers each, `i` and `i + 8`, and converts them.
    unsafe fn load_i20(from: *const i16) -> Self::Vector;
    /// Loads sixteen 24-bit integers, stored as all the upper 16 bits, then all the lower 8 bits, and
    /// converts them.
    unsafe fn load_i24(from: *const i16) -> Self::Vector;
}
