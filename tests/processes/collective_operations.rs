//! The collective operations.

use super::Scenario;
use alexnet_vgg::Result;
use alexnet_vgg::train::processes::{Mpi, ProcessGroup};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::sync::Arc;

pub const SCENARIOS: [Scenario; 2] = [
    Scenario { name: "collective operations", play: all_three, check: on_1_2_and_4 },
    Scenario { name: "same bits", play: same_bits, check: on_1_2_and_4 },
];

/// Numbers of values: none, one, a few, and several chunks.
const COUNTS: [usize; 4] = [0, 1, 7, 30_000_000];

fn on_1_2_and_4(scenario: &Scenario) {
    for ranks in [1, 2, 4] {
        scenario.start(ranks).end().well();
    }
}

/// Whole numbers, whose sums are exact in any order.
fn all_three(mpi: &Arc<Mpi>, _: &Path) -> Result<()> {
    let (rank, ranks) = (mpi.rank(), mpi.world_size());
    let value = |rank: usize, index: usize| (index % 1000 * (rank + 1)) as f32;
    let of_all: usize = (1..=ranks).sum();
    for count in COUNTS {
        let mut values: Vec<f32> = (0..count).map(|index| value(rank, index)).collect();
        mpi.all_reduce(&mut values)?;
        let is_sum = |(index, sum): (usize, &f32)| *sum == (index % 1000 * of_all) as f32;
        assert!(values.iter().enumerate().all(is_sum), "all-reduce of {count}");

        values.iter_mut().enumerate().for_each(|(index, of)| *of = value(rank, index));
        mpi.broadcast(&mut values)?;
        let is_first = |(index, of): (usize, &f32)| *of == value(0, index);
        assert!(values.iter().enumerate().all(is_first), "broadcast of {count}");

        // Each gives another number of bytes.
        let bytes = vec![rank as u8; count / 100 * rank + rank];
        let all = mpi.all_gather(&bytes)?;
        let expected = |rank: usize| vec![rank as u8; count / 100 * rank + rank];
        assert!((0..ranks).all(|rank| all[rank] == expected(rank)), "all-gather of {count}");
    }
    assert_eq!(mpi.location(ranks - 1), mpi.location(0), "all are on one host");
    Ok(())
}

/// Values whose sum depends on the order, by rounding.
fn same_bits(mpi: &Arc<Mpi>, _: &Path) -> Result<()> {
    for count in COUNTS {
        let mut random = ChaCha8Rng::seed_from_u64(mpi.rank() as u64);
        let own: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
        let mut hashes = Vec::new();
        for _ in 0..2 {
            let mut values = own.clone();
            mpi.all_reduce(&mut values)?;
            let mut hash = Sha256::new();
            values.iter().for_each(|value| hash.update(value.to_le_bytes()));
            hashes.extend(mpi.all_gather(&hash.finalize())?);
        }
        assert!(hashes.iter().all(|hash| *hash == hashes[0]), "{count}");
    }
    Ok(())
}
