//! In which order an epoch visits the examples: a function of the seed and the epoch, so that a run can
//! go on from any batch, on any number of threads.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::{IndexedRandom, SliceRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The order of an epoch's examples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// As they are listed: for validation.
    InOrder,
    /// Each once, in another order in every epoch.
    #[default]
    Shuffled,
    /// Drawn with replacement, as many as there are: every class equally likely, and every example of
    /// a class (torch's `WeightedRandomSampler` with 1 / size of the class as weight). For classes of
    /// very different sizes.
    Balanced,
}

impl Order {
    /// The visits of an epoch to the examples of these `classes`, as many as there are examples.
    ///
    /// With `len` examples, the visit `v` is to the example `v % len`, and `v` is the
    /// [`index`](crate::vision::augment::Sample::index) of its sample: what an epoch of
    /// [`Balanced`](Self::Balanced) draws again is `len` higher each time, and so augmented anew.
    pub fn visits(self, classes: &[usize], seed: u64, epoch: u64) -> Vec<u64> {
        let mut visits: Vec<u64> = (0..classes.len() as u64).collect();
        match self {
            Self::InOrder => {}
            Self::Shuffled => visits.shuffle(&mut random(seed, epoch, b"shuffled")),
            Self::Balanced => balanced(classes, random(seed, epoch, b"balanced"), &mut visits),
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

/// The examples of each class that has some.
pub(super) fn by_class(classes: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (index, &class) in classes.iter().enumerate() {
        groups.entry(class).or_default().push(index);
    }
    groups
}

/// A stream of its own for each seed, number and purpose, which is none of augmentation's.
pub(super) fn random(seed: u64, number: u64, purpose: &[u8; 8]) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&number.to_le_bytes());
    key[24..].copy_from_slice(purpose);
    ChaCha8Rng::from_seed(key)
}
