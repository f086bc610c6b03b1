//! [`BatchParts`]: a batch in parts that are computed at the same time, each by threads of its own.
//!
//! Threads that share one pass wait for each other after each stage. Threads that have an image to
//! themselves do not, but every part reads all weights. The parts are computed by the algorithms of the whole
//! batch, so an image has the same bits either way.

use std::ops::Range;

/// The most parts of a batch.
pub(super) const MAX_PARTS: usize = 8;

/// How a batch is divided into parts, and the threads among them: as evenly as possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchParts {
    pub batch: usize,
    pub threads: usize,
    pub parts: usize,
}

impl BatchParts {
    /// A batch in so many parts, or fewer if there are not enough images or threads.
    pub fn new(batch: usize, threads: usize, parts: usize) -> Self {
        Self { batch, threads, parts: parts.min(batch).min(threads).clamp(1, MAX_PARTS) }
    }

    /// All divisions that are worth a comparison.
    pub fn all(batch: usize, threads: usize) -> impl Iterator<Item = Self> {
        let most = Self::new(batch, threads, MAX_PARTS).parts;
        let powers = [1, 2, 4, 8].into_iter().filter(move |&parts| parts < most);
        powers.chain([most]).map(move |parts| Self { batch, threads, parts })
    }

    /// The images of a part.
    pub fn images(self, part: usize) -> Range<usize> {
        part * self.batch / self.parts..(part + 1) * self.batch / self.parts
    }

    /// The most threads that compute a part at once: its own, and the caller, which goes from one part to the
    /// next.
    pub fn workers(self, part: usize) -> usize {
        self.threads(part) + usize::from(self.parts > 1)
    }

    /// How many threads a part has.
    pub fn threads(self, part: usize) -> usize {
        (part + 1) * self.threads / self.parts - part * self.threads / self.parts
    }
}

/// The part that a thread belongs to, where the parts have threads as [`BatchParts::threads`] says, in order.
pub(super) fn part_of_thread(thread: usize, threads: usize, parts: usize) -> usize {
    ((thread + 1) * parts - 1) / threads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_all_images_and_threads() {
        for (batch, threads, wanted) in [(8, 64, 8), (7, 5, 3), (1, 9, 4), (8, 1, 2), (5, 33, 5)] {
            let parts = BatchParts::new(batch, threads, wanted);
            let mut of_parts = vec![0; parts.parts];
            (0..threads).for_each(|t| of_parts[part_of_thread(t, threads, parts.parts)] += 1);
            let mut next = 0;
            for (part, &of_part) in of_parts.iter().enumerate() {
                assert_eq!(of_part, parts.threads(part), "threads of part {part} of {parts:?}");
                assert!(of_part > 0 && !parts.images(part).is_empty(), "{parts:?}");
                assert_eq!(parts.images(part).start, next);
                next = parts.images(part).end;
            }
            assert_eq!(next, batch);
        }
    }
}
