//! A pointer that knows its bounds in debug builds.

use super::{BLOCK, Simd};

/// A place in a buffer. With debug assertions every access is checked against the buffer's bounds;
/// without, it is a pointer: what a plan proves need not be asked again by the innermost loop.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Place {
    at: *mut f32,
    #[cfg(debug_assertions)]
    bounds: (usize, usize),
}

impl Place {
    /// The start of `length` numbers.
    pub fn new(start: *mut f32, length: usize) -> Self {
        let _ = length;
        Self {
            at: start,
            #[cfg(debug_assertions)]
            bounds: (start as usize, start as usize + 4 * length),
        }
    }

    /// `offset` numbers further on. It may leave the bounds as long as nothing is accessed there.
    #[inline(always)]
    pub fn add(self, offset: usize) -> Self {
        Self { at: self.at.wrapping_add(offset), ..self }
    }

    #[inline(always)]
    fn check(self, length: usize) {
        let _ = length;
        #[cfg(debug_assertions)]
        {
            let at = self.at as usize;
            let (start, end) = self.bounds;
            assert!(
                at >= start && at + 4 * length <= end,
                "an access at {} of a buffer of {}",
                at.wrapping_sub(start) / 4,
                (end - start) / 4
            );
        }
    }

    /// # Safety
    /// A number must be here, and no other thread may be writing it.
    #[inline(always)]
    pub unsafe fn get(self) -> f32 {
        self.check(1);
        // SAFETY: the caller's.
        unsafe { *self.at }
    }

    /// # Safety
    /// A number must be here, and no other thread may be reading or writing it.
    #[inline(always)]
    pub unsafe fn set(self, value: f32) {
        self.check(1);
        // SAFETY: the caller's.
        unsafe { *self.at = value }
    }

    /// Asks for the cache line that is here, if there is one.
    ///
    /// # Safety
    /// `S` must be available.
    #[inline(always)]
    pub unsafe fn prefetch<S: Simd>(self) {
        // SAFETY: the caller's.
        unsafe { S::prefetch(self.at) }
    }

    /// # Safety
    /// As for [`get`](Self::get), for sixteen of them; and `S` must be available.
    #[inline(always)]
    pub unsafe fn load<S: Simd>(self) -> S::Vector {
        self.check(BLOCK);
        // SAFETY: the caller's.
        unsafe { S::load(self.at) }
    }

    /// # Safety
    /// As for [`set`](Self::set), for sixteen of them; and `S` must be available.
    #[inline(always)]
    pub unsafe fn store<S: Simd>(self, vector: S::Vector) {
        self.check(BLOCK);
        // SAFETY: the caller's.
        unsafe { S::store(self.at, vector) }
    }

    /// Sixteen integers of 16 bits, in the place of eight numbers.
    ///
    /// # Safety
    /// As for [`load`](Self::load), for the numbers whose place they take.
    #[inline(always)]
    pub unsafe fn load_i16<S: Simd>(self) -> S::Vector {
        self.check(BLOCK / 2);
        // SAFETY: the caller's.
        unsafe { S::load_i16(self.at.cast()) }
    }

    /// Sixteen integers of 24 bits, in the place of twelve numbers.
    ///
    /// # Safety
    /// As for [`load_i16`](Self::load_i16).
    #[inline(always)]
    pub unsafe fn load_i24<S: Simd>(self) -> S::Vector {
        self.check(BLOCK * 3 / 4);
        // SAFETY: the caller's.
        unsafe { S::load_i24(self.at.cast()) }
    }
}
