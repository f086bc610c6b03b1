//! The order in which an epoch visits the examples: a function of the seed and the epoch, so that a run can resume
//! at any batch, with any number of threads.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The order of an epoch's examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As listed: for validation.
    InOrder,
    /// Each example once, in a different order in every epoch.
    #[default]
    Shuffled,
    /// As many as there are examples, drawn with replacement: every class is equally likely, and so is every
    /// example within a class, as with torch's `WeightedRandomSampler` and the weight 1 / size of the class. For
    /// classes of very different sizes.
    Balanced,
}

impl Order {
    /// The visits of an epoch, one for each of the examples, whose `classes` these are.
    ///
    /// With `len` examples, the visit `v` is to the example `v % len`, and `v` is the
    /// [`index`](crate::vision::augment::Sample::index) of its sample. When [`Balanced`](Self::Balanced) draws an
    /// example again in the same epoch, `v` is higher by `len`, so the example is augmented differently.
    pub fn visits(self, classes: &[usize], seed: u64, epoch: u64) -> Vec<u64> {
        let mut visits: Vec<u64> = (0..classes.len() as u64).collect();
        match self {
            Self::InOrder => {}
            Self::Shuffled => visits.shuffle(&mut random([seed, epoch, 0], b"shuffled")),
            Self::Balanced => balanced(classes, random([seed, epoch, 0], b"balanced"), &mut visits),
        }
        visits
    }
}

fn balanced(classes: &[usize], mut random: ChaCha8Rng, visits: &mut [u64]) {
    let groups: Vec<_> = by_class(classes).into_values().collect();
    let mut times = vec![0; classes.len()];
    for visit in visits {
        let group = groups.choose(&mut random).map(Vec::as_slice).unwrap_or_default();
        if let Some(&index) = group.choose(&mut random) {
            *visit = (index + times[index] * classes.len()) as u64;
            times[index] += 1;
        }
    }
}

/// The examples of each class that has any.
pub(super) fn by_class(classes: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (index, &class) in classes.iter().enumerate() {
        groups.entry(class).or_default().push(index);
    }
    groups
}

/// A separate stream of random numbers for each combination of three numbers and a purpose, different from those of
/// augmentation.
pub(super) fn random(numbers: [u64; 3], purpose: &[u8; 8]) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, number) in key.chunks_exact_mut(8).zip(numbers) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    key[24..].copy_from_slice(purpose);
    ChaCha8Rng::from_seed(key)
}
