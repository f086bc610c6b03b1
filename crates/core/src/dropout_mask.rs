//! Dropout masks (AlexNet paper, section 4.2) from a key instead of a random stream: for training, and for
//! dropout at test time.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

/// The factors of inverted dropout for `length` values: 0 with probability `p`, and `1 / (1 - p)` otherwise,
/// so that their mean is 1. The same key always gives the same mask.
pub fn dropout_mask(key: [u64; 4], p: f64, length: usize) -> impl Iterator<Item = f32> {
    let mut seed = [0; 32];
    for (bytes, number) in seed.chunks_mut(8).zip(key) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    let mut random = ChaCha8Rng::from_seed(seed);
    // A value is dropped if its 32-bit random number is below this threshold.
    let threshold = (p * 2f64.powi(32)) as u64;
    let scale = (1.0 / (1.0 - p)) as f32;
    (0..length).map(move |_| if u64::from(random.next_u32()) < threshold { 0.0 } else { scale })
}
