//! Memory for weights and activations: zeroed, aligned, in large pages where the system has them.
#![allow(unsafe_code)]

use super::simd::Place;
use crate::error::{Error, Result};
use memmap2::MmapMut;

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
        let bytes = (length.max(1).checked_mul(4)).ok_or_else(|| refuse("overflow".into()))?;
        let mut pages = MmapMut::map_anon(bytes).map_err(|error| refuse(error.to_string()))?;
        // Fewer, larger pages: VGG16's weights are 135,000 small ones. A wish, not a condition.
        #[cfg(target_os = "linux")]
        let _ = pages.advise(memmap2::Advice::HugePage);
        let start = pages.as_mut_ptr().cast();
        Ok(Self { _pages: pages, start, length })
    }

    pub fn length(&self) -> usize {
        self.length
    }

    /// Its beginning, for kernels.
    pub fn place(&self) -> Place {
        Place::new(self.start, self.length)
    }

    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: `length` numbers are there, initialised by the system, and `self` is borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.length) }
    }

    /// Copies `length` numbers from `start` on into `numbers`, after a pass.
    pub fn read(&self, start: usize, length: usize, numbers: &mut Vec<f32>) {
        assert!(start + length <= self.length, "{start}, {length} of {}", self.length);
        // SAFETY: inside the memory, which nobody writes once a pass is done.
        let these = unsafe { std::slice::from_raw_parts(self.start.add(start), length) };
        numbers.clear();
        numbers.extend_from_slice(these);
    }
}
