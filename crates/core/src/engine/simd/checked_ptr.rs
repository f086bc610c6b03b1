//! [`CheckedPtr`]: a pointer that checks its bounds in debug builds.

use super::{BLOCK, IntegerSimd, Simd};

/// A pointer into a buffer. With debug assertions, every access is checked against the buffer's
/// bounds. Without them it is a plain pointer: the plan has already established the bounds, and the
/// innermost loops need not check them again.
#[derive(Clone, Copy)]
pub(in crate::engine) struct CheckedPtr {
    ptr: *mut f32,
    #[cfg(debug_assertions)]
    bounds: (usize, usize),
}

// SAFETY: what a thread reads and writes through it is governed by the contracts of the kernels, as for the buffers
// that it points into.
unsafe impl Send for CheckedPtr {}
// SAFETY: as above.
unsafe impl Sync for CheckedPtr {}

impl CheckedPtr {
    /// A pointer to the start of `len` values.
    pub fn new(start: *mut f32, len: usize) -> Self {
        let _ = len;
        Self {
            ptr: start,
            #[cfg(debug_assertions)]
            bounds: (start as usize, start as usize + 4 * len),
        }
    }

    /// The pointer `offset` values further. It may leave the bounds as long as nothing is accessed there.
    #[inline(always)]
    pub fn add(self, offset: usize) -> Self {
        Self { ptr: self.ptr.wrapping_add(offset), ..self }
    }

    /// The plain pointer, after the check that the next `len` values are inside: for loops with thousands of variants, in
    /// which a check of each access would take minutes to compile.
    #[inline(always)]
    pub fn checked(self, len: usize) -> *mut f32 {
        self.check(len);
        self.ptr
    }

    /// The plain pointer, unchecked: for prefetching.
    #[inline(always)]
    pub fn address(self) -> *const f32 {
        self.ptr
    }

    #[inline(always)]
    fn check(self, len: usize) {
        let _ = len;
        #[cfg(debug_assertions)]
        {
            let at = self.ptr as usize;
            let (start, end) = self.bounds;
            if at < start || at.wrapping_add(4 * len) > end {
                panic_outside(self.bounds, at, len);
            }
        }
    }

    /// # Safety
    /// The pointer must be valid for one value, which no other thread may be writing.
    #[inline(always)]
    pub unsafe fn read(self) -> f32 {
        self.check(1);
        // SAFETY: guaranteed by the caller.
        unsafe { *self.ptr }
    }

    /// # Safety
    /// The pointer must be valid for one value, which no other thread may be reading or writing.
    #[inline(always)]
    pub unsafe fn write(self, value: f32) {
        self.check(1);
        // SAFETY: guaranteed by the caller.
        unsafe { *self.ptr = value }
    }

    /// Prefetches the cache line at this address, which need not be valid.
    ///
    /// # Safety
    /// `S` must be available.
    #[inline(always)]
    pub unsafe fn prefetch<S: Simd>(self) {
        // SAFETY: guaranteed by the caller.
        unsafe { S::prefetch(self.ptr) }
    }

    /// # Safety
    /// As for [`read`](Self::read), for sixteen values; `S` must be available.
    #[inline(always)]
    pub unsafe fn load<S: Simd>(self) -> S::Vector {
        self.check(BLOCK);
        // SAFETY: guaranteed by the caller.
        unsafe { S::load(self.ptr) }
    }

    /// Loads at most sixteen values; the other lanes are 0.
    ///
    /// # Safety
    /// As for [`load`](Self::load), for `count` values.
    #[inline(always)]
    pub unsafe fn load_some<S: Simd>(self, count: usize) -> S::Vector {
        // SAFETY: guaranteed by the caller.
        unsafe {
            if count >= BLOCK {
                return self.load::<S>();
            }
            let mut values = [0.0; BLOCK];
            for (i, value) in values.iter_mut().enumerate().take(count) {
                *value = self.add(i).read();
            }
            S::load(values.as_ptr())
        }
    }

    /// # Safety
    /// As for [`write`](Self::write), for sixteen values; `S` must be available.
    #[inline(always)]
    pub unsafe fn store<S: Simd>(self, vector: S::Vector) {
        self.check(BLOCK);
        // SAFETY: guaranteed by the caller.
        unsafe { S::store(self.ptr, vector) }
    }

    /// Stores past the caches: see [`Simd::stream`].
    ///
    /// # Safety
    /// As for [`store`](Self::store). The address must be a multiple of 64 bytes, and [`Simd::fence`] must be called before
    /// anyone accesses the values.
    #[inline(always)]
    pub unsafe fn stream<S: Simd>(self, vector: S::Vector) {
        self.check(BLOCK);
        debug_assert!(self.ptr.addr().is_multiple_of(4 * BLOCK), "a vector at {:?}", self.ptr);
        // SAFETY: guaranteed by the caller.
        unsafe { S::stream(self.ptr, vector) }
    }

    /// Loads sixteen 16-bit integers, which take the space of eight `f32`.
    ///
    /// # Safety
    /// As for [`load`](Self::load), for the space that they take.
    #[inline(always)]
    pub unsafe fn load_i16<S: Simd>(self) -> S::Vector {
        self.check(BLOCK / 2);
        // SAFETY: guaranteed by the caller.
        unsafe { S::load_i16(self.ptr.cast()) }
    }

    /// Loads sixteen 8-bit integers, which take the space of four `f32`.
    ///
    /// # Safety
    /// As for [`load_i16`](Self::load_i16).
    #[inline(always)]
    pub unsafe fn load_i8<S: Simd>(self) -> S::Vector {
        self.check(BLOCK / 4);
        // SAFETY: guaranteed by the caller.
        unsafe { S::load_i8(self.ptr.cast()) }
    }

    /// Loads sixteen 20-bit integers, which take the space of ten `f32`.
    ///
    /// # Safety
    /// As for [`load_i16`](Self::load_i16).
    #[inline(always)]
    pub unsafe fn load_i20<S: Simd>(self) -> S::Vector {
        self.check(BLOCK * 5 / 8);
        // SAFETY: guaranteed by the caller.
        unsafe { S::load_i20(self.ptr.cast()) }
    }

    /// Loads sixteen 24-bit integers, which take the space of twelve `f32`.
    ///
    /// # Safety
    /// As for [`load_i16`](Self::load_i16).
    #[inline(always)]
    pub unsafe fn load_i24<S: Simd>(self) -> S::Vector {
        self.check(BLOCK * 3 / 4);
        // SAFETY: guaranteed by the caller.
        unsafe { S::load_i24(self.ptr.cast()) }
    }

    /// A vector whose every lane is the 32-bit integer here.
    ///
    /// # Safety
    /// As for [`read`](Self::read); `S` must be available.
    #[inline(always)]
    pub unsafe fn splat_integer<S: IntegerSimd>(self) -> S::Integers {
        self.check(1);
        // SAFETY: guaranteed by the caller.
        unsafe { S::splat_integer(*self.ptr.cast()) }
    }

    /// Loads sixteen 32-bit integers.
    ///
    /// # Safety
    /// As for [`load`](Self::load).
    #[inline(always)]
    pub unsafe fn load_integers<S: IntegerSimd>(self) -> S::Integers {
        self.check(BLOCK);
        // SAFETY: guaranteed by the caller.
        unsafe { S::load_integers(self.ptr.cast()) }
    }

    /// Rounds sixteen values to 16-bit integers, which take the space of eight `f32`.
    ///
    /// # Safety
    /// As for [`store`](Self::store), for the space that they take.
    #[inline(always)]
    pub unsafe fn store_i16<S: IntegerSimd>(self, vector: S::Vector) {
        self.check(BLOCK / 2);
        // SAFETY: guaranteed by the caller.
        unsafe { S::store_i16(self.ptr.cast(), vector) }
    }

    /// Writes the 16-bit integer `index` such integers further.
    ///
    /// # Safety
    /// As for [`write`](Self::write), for the value that it is a half of.
    #[inline(always)]
    pub unsafe fn write_i16(self, index: usize, value: i16) {
        self.add(index / 2).check(1);
        // SAFETY: guaranteed by the caller.
        unsafe { *self.ptr.cast::<i16>().wrapping_add(index) = value }
    }

    /// Writes four 16-bit integers, `index` such integers further.
    ///
    /// # Safety
    /// As for [`write_i16`](Self::write_i16), for each of them.
    #[inline(always)]
    pub unsafe fn write_i16_quad(self, index: usize, values: [i16; 4]) {
        self.add(index / 2).check(2 + index % 2);
        // SAFETY: guaranteed by the caller; integers of 16 bits need not be aligned to more.
        unsafe { self.ptr.cast::<i16>().wrapping_add(index).cast::<[i16; 4]>().write(values) }
    }

    /// Loads 32 8-bit integers, which take the space of eight `f32`, as 16-bit ones.
    ///
    /// # Safety
    /// As for [`load`](Self::load), for the space that they take.
    #[inline(always)]
    pub unsafe fn load_i8_pairs<S: IntegerSimd>(self) -> S::Integers {
        self.check(BLOCK / 2);
        // SAFETY: guaranteed by the caller.
        unsafe { S::load_i8_pairs(self.ptr.cast()) }
    }
}

/// A function of its own, which keeps thousands of checked accesses short: they take minutes to compile otherwise.
#[cfg(debug_assertions)]
#[cold]
#[inline(never)]
fn panic_outside((start, end): (usize, usize), at: usize, len: usize) -> ! {
    let offset = at.wrapping_sub(start) as isize / 4;
    panic!("access of {len} values at offset {offset} of a buffer of {}", (end - start) / 4)
}
