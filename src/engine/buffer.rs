//! Memory for weights and activations: zeroed, aligned, in large pages where the system has them.
#![allow(unsafe_code)]

use super::simd::Place;
use crate::error::{Error, Result};
use memmap2::MmapMut;

/// Bytes of a large page, of x86 and of most others: VGG16's weights are 135,000 small ones, and each
/// product of Winograd's walks as many pages as a core's first table of them has entries.
const LARGE: usize = 2 << 20;

/// Numbers that threads share. Anonymous memory comes zeroed and is taken page by page, when it is
/// first written: what a plan reserves and never touches costs nothing.
#[derive(Debug)]
pub(super) struct Buffer {
    // Keeps the memory.
    _pages: MmapMut,
    start: *mut f32,
    length: usize,
}

// SAFETY: the memory is plain numbers that live as long as the buffer; who writes where is the
// business of the kernels, whose contracts say so.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `length` zeros.
    ///
    /// # Errors
    /// [`Error::Backend`] if the system has not as much memory.
    pub fn zeros(length: usize) -> Result<Self> {
        let refuse = |reason: String| Error::Backend {
            backend: "compiled".into(),
            reason: format!("{length} numbers do not fit in memory: {reason}"),
        };
        let bytes = length.max(1).checked_mul(4).ok_or_else(|| refuse("overflow".into()))?;
        let room = if bytes >= LARGE { LARGE } else { 0 };
        let mapped = bytes.checked_add(room).ok_or_else(|| refuse("overflow".into()))?;
        let mut pages = MmapMut::map_anon(mapped).map_err(|error| refuse(error.to_string()))?;
        let skipped = match room {
            0 => 0,
            room => pages.as_ptr().addr().next_multiple_of(room) - pages.as_ptr().addr(),
        };
        // Only whole large pages: the rest of the last would be memory for nothing. A wish, no condition.
        #[cfg(target_os = "linux")]
        if let whole @ 1.. = bytes / LARGE * LARGE {
            let _ = pages.advise_range(memmap2::Advice::HugePage, skipped, whole);
        }
        let start = pages[skipped..].as_mut_ptr().cast();
        Ok(Self { _pages: pages, start, length })
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// Its beginning, for kernels.
    pub fn place(&self) -> Place {
        self.part(0, self.length)
    }

    /// `length` numbers of it from `start` on, for kernels.
    pub fn part(&self, start: usize, length: usize) -> Place {
        assert!(start + length <= self.length, "{start}, {length} of {}", self.length);
        Place::new(self.start.wrapping_add(start), length)
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `length` numbers are there, initialized by the system, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }

    /// Copies the numbers from `start` on into `numbers`, after a pass.
    pub fn read(&self, start: usize, numbers: &mut [f32]) {
        let end = start + numbers.len();
        assert!(end <= self.length, "{start} to {end} of {}", self.length);
        // SAFETY: inside the memory, which nobody writes once a pass is done.
        numbers.copy_from_slice(unsafe {
            std::slice::from_raw_parts(self.start.add(start), numbers.len())
        });
    }
}
