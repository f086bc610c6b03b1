//! What dropout drops (AlexNet paper, section 4.2), by a key instead of a stream: for training, and for
//! dropout left on at test time.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// What a dropout multiplies `length` values by: 0 with probability `p`, so much more than 1 otherwise that
/// the mean is 1. The same key, the same mask.
pub(crate) fn mask(key: [u64; 4], p: f64, length: usize) -> impl Iterator<Item = f32> {
    let mut seed = [0; 32];
    for (bytes, number) in seed.chunks_mut(8).zip(key) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    let mut random = ChaCha8Rng::from_seed(seed);
    // Of 2^32 numbers, those below are dropped.
    let dropped = (p * 2f64.powi(32)) as u64;
    let kept = (1.0 / (1.0 - p)) as f32;
    (0..length).map(move |_| if u64::from(random.next_u32()) < dropped { 0.0 } else { kept })
}
