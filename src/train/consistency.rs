//! Keeps the networks of all processes the same, and checks that they are.

use super::train_loop::Trainer;
use super::{Evaluate, Trainable};
use crate::backend;
use crate::{Error, Result};
use burn::module::RunningState;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};

impl<B: AutodiffBackend, N: Trainable<B>> Trainer<B, N> {
    /// All processes take the running statistics of rank 0, which are the ones that are saved, and their average: each
    /// process's batch norms have seen its own examples only.
    pub fn broadcast_statistics(&self, network: &N) -> Result<()> {
        if self.processes.world_size() == 1 {
            return Ok(());
        }
        self.broadcast_running(network.running_statistics())?;
        match &self.average {
            Some(average) => self.broadcast_running(average.running_statistics()),
            None => Ok(()),
        }
    }

    fn broadcast_running<C: Backend>(&self, all: Vec<&RunningState<Tensor<C, 1>>>) -> Result<()> {
        for running in all {
            let tensor = running.value_sync();
            let (shape, device) = (tensor.dims(), tensor.device());
            let mut values: Vec<f32> = backend::read(tensor)?.iter().collect();
            self.processes.broadcast(&mut values)?;
            running.update(Tensor::from_data(TensorData::new(values, shape), &device));
            // Mapping over a module takes the value as it is.
            running.value_sync();
        }
        Ok(())
    }

    /// `Ok` if all processes have the same weights to the bit, as they must after the same steps. A difference
    /// would grow from step to step.
    ///
    /// # Errors
    /// [`Error::Process`] for the first process whose weights are not those of rank 0.
    pub fn expect_same_weights(&self, network: &N) -> Result<()> {
        let processes = &self.processes;
        if processes.world_size() == 1 {
            return Ok(());
        }
        let own = processes.expect_all_ok(checksum(network))?;
        let checksums = processes.all_gather(&own.to_le_bytes())?;
        match checksums.iter().position(|checksum| *checksum != checksums[0]) {
            None => Ok(()),
            Some(rank) => Err(Error::Process {
                rank,
                place: processes.location(rank),
                reason: "its weights differ from those of process 0: the machines compute \
                         different results"
                    .into(),
            }),
        }
    }
}

/// The CRC-32 of all trainable values.
fn checksum<B: AutodiffBackend, N: Trainable<B>>(network: &N) -> Result<u32> {
    let mut checksum = crc32fast::Hasher::new();
    for trainable in network.trainable_parameters() {
        for rows in trainable.rows {
            checksum.update(bytemuck::cast_slice(&network.values(&trainable.parameter, rows)?));
        }
    }
    Ok(checksum.finalize())
}
