//! [`Buffer`]: memory for weights and activations, zeroed, aligned, and in huge pages where possible.
#![allow(unsafe_code)]

use super::simd::CheckedPtr;
use crate::error::{Error, Result};
use memmap2::MmapMut;

/// Bytes of a huge page on x86 and most other architectures. VGG16's weights are 135,000 pages of 4 KiB,
/// and a Winograd product touches as many pages as the first-level TLB has entries.
const HUGE_PAGE: usize = 2 << 20;

/// `f32` values that threads share. Anonymous memory is zeroed, and the system allocates each page when
/// it is first written: memory that a plan reserves but never touches costs nothing.
#[derive(Debug)]
pub(super) struct Buffer {
    // Owns the memory.
    _pages: MmapMut,
    start: *mut f32,
    len: usize,
}

// SAFETY: the memory is plain values that live as long as the buffer. Which thread writes where is
// governed by the contracts of the kernels.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` zeros.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if the system does not have enough memory.
    pub fn zeros(len: usize) -> Result<Self> {
        let out_of_memory =
            |reason: String| Error::OutOfMemory { what: format!("{len} f32 values ({reason})") };
        let overflow = || out_of_memory("their size overflows".into());
        let bytes = len.max(1).checked_mul(4).ok_or_else(overflow)?;
        let alignment = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 0 };
        let mapped = bytes.checked_add(alignment).ok_or_else(overflow)?;
        let mut pages =
            MmapMut::map_anon(mapped).map_err(|error| out_of_memory(error.to_string()))?;
        let skipped = match alignment {
            0 => 0,
            alignment => pages.as_ptr().addr().next_multiple_of(alignment) - pages.as_ptr().addr(),
        };
        // Only whole huge pages: the rest of a partial one would be wasted. A failure does not matter,
        // since huge pages only make access faster.
        #[cfg(target_os = "linux")]
        if let whole @ 1.. = bytes / HUGE_PAGE * HUGE_PAGE {
            let _ = pages.advise_range(memmap2::Advice::HugePage, skipped, whole);
        }
        let start = pages[skipped..].as_mut_ptr().cast();
        Ok(Self { _pages: pages, start, len })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// A pointer to the start, for kernels.
    pub fn ptr(&self) -> CheckedPtr {
        self.slice_ptr(0, self.len)
    }

    /// A pointer to the `len` values from `start` on, for kernels.
    pub fn slice_ptr(&self, start: usize, len: usize) -> CheckedPtr {
        assert!(start + len <= self.len, "{len} values at offset {start} of {}", self.len);
        CheckedPtr::new(self.start.wrapping_add(start), len)
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: the mapping holds `len` values, initialized by the system, and `self` is borrowed
        // exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }

    /// Copies the values from `start` on into `values`, after a pass.
    pub fn read(&self, start: usize, values: &mut [f32]) {
        let end = start + values.len();
        assert!(end <= self.len, "values {start}..{end} of {}", self.len);
        // SAFETY: inside the mapping, which no thread writes after a pass.
        values.copy_from_slice(unsafe {
            std::slice::from_raw_parts(self.start.add(start), values.len())
        });
    }
}
