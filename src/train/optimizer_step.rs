//! An optimizer step: forward and backward through a batch, and the update.

use super::consensus::RankStatus;
use super::data_parallel::DataParallel;
use super::nonfinite_origin::nonfinite_origin;
use super::step::{LocalMicroBatch, Output};
use super::train_loop::{Trainer, add_scores, mean_loss};
use super::{Batch, Evaluate, MicroBatches, Trainable, gradients};
use crate::Result;
use burn::optim::{GradientsParams, Optimizer};
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use std::time::{Duration, Instant};

/// The result of the forward and backward pass of a batch.
pub(super) struct BatchResult<B: AutodiffBackend> {
    /// Summed over all processes.
    pub gradients: GradientsParams,
    /// Of this process.
    pub outputs: Vec<Output<B>>,
    /// Of all processes together.
    pub status: RankStatus,
    pub waited_for_others: Duration,
}

/// The shares of a batch add up to 1 within this.
const ROUNDING: f64 = 1e-9;

impl<B: AutodiffBackend, N: Trainable<B>> Trainer<B, N> {
    /// An optimizer step by the current batch, unless all its examples were skipped.
    pub fn step(
        &mut self,
        network: &mut N,
        micro_batches: &mut MicroBatches<B>,
        data_parallel: &mut DataParallel,
        rate: f64,
    ) -> Result<BatchResult<B>> {
        let statistics = running_statistics(network);
        let result = self.accumulate(network, micro_batches, data_parallel);
        let result = result.and_then(|mut result| {
            if result.status.totals.examples > 0 {
                let gradients = std::mem::take(&mut result.gradients);
                self.update(network, gradients, result.status.share, rate)?;
            }
            Ok(result)
        });
        // A resumed run repeats a batch that failed, so the batch norms must be as they were before it.
        result.inspect_err(|_| {
            let running = network.running_statistics().into_iter().zip(statistics);
            running.for_each(|(running, before)| running.update(before));
        })
    }

    /// Forward and backward through this process's share of the current batch, micro-batch by micro-batch.
    fn accumulate(
        &self,
        network: &N,
        micro_batches: &mut MicroBatches<B>,
        data_parallel: &mut DataParallel,
    ) -> Result<BatchResult<B>> {
        let (mut status, mut outputs) = (RankStatus::default(), Vec::new());
        let mut gradients = GradientsParams::new();
        let mut waited_for_others = Duration::ZERO;
        let count = self.state.recipe.micro_batches;
        for number in 1..=count {
            let next = micro_batches.next_of_batch(self.state.batch).transpose();
            let own = next.map(|next| (RankStatus::default(), next));
            // No process starts a pass that another one cannot finish.
            let (_, next) = self.timed_exchange(own, &mut waited_for_others)?;
            let label_smoothing = self.state.recipe.label_smoothing;
            let batch = next.map(|next| Batch { label_smoothing, ..next.batch });
            let images = batch.as_ref().map(|batch| (batch.images.clone(), batch.share));
            let mut confirm = |output: Result<Option<Output<B>>>| {
                let own =
                    output.and_then(|output| self.own_status(network, images.clone(), output));
                let (all, output) = self.timed_exchange(own, &mut waited_for_others)?;
                status.share += all.share;
                status.totals.add_examples(&all.totals);
                outputs.extend(output);
                Ok(())
            };
            let local = LocalMicroBatch { batch, is_last: number == count };
            network.distributed_step(data_parallel, local, &mut gradients, &mut confirm)?;
        }
        Ok(BatchResult { gradients, outputs, status, waited_for_others })
    }

    /// The status of a micro-batch after its forward pass: its images and share, and the network's output.
    fn own_status(
        &self,
        network: &N,
        images: Option<(Tensor<B, 4>, f64)>,
        output: Option<Output<B>>,
    ) -> Result<(RankStatus, Option<Output<B>>)> {
        let Some(((images, share), output)) = images.zip(output) else {
            return Ok((RankStatus::default(), None));
        };
        let loss = mean_loss(&output)?;
        if !loss.is_finite() {
            let network = network.valid().to_network()?;
            return Err(self.diverged(loss, nonfinite_origin(&network, images.inner())?));
        }
        let mut status = RankStatus { share, ..RankStatus::default() };
        add_scores(&mut status.totals, &output)?;
        Ok((status, Some(output)))
    }

    /// The optimizer's update by the gradients of all processes, whose shares of the batch add up to `shares`.
    fn update(
        &mut self,
        network: &mut N,
        mut gradients: GradientsParams,
        shares: f64,
        rate: f64,
    ) -> Result<()> {
        // Where examples were skipped, the mean is over the others.
        if (shares - 1.0).abs() > ROUNDING {
            gradients::scale(network, &mut gradients, 1.0 / shares);
        }
        if let Some(max_norm) = self.state.recipe.clip_norm {
            let norm = self.gradient_norm(network, &gradients)?;
            self.expect_finite(gradients::clip(network, &mut gradients, norm, max_norm))?;
        }
        *network = self.sgd.step(rate, network.take(), gradients);
        self.update_average(network)
    }

    /// The norm as rank 0 computes it: on another processor it may differ in the last bit.
    fn gradient_norm(&self, network: &N, gradients: &GradientsParams) -> Result<f64> {
        let norm = self.expect_all_ok(gradients::norm(network, gradients))?;
        let first = self.processes.bytes_of_rank_0(&norm.to_le_bytes())?;
        Ok(first.try_into().map_or(norm, f64::from_le_bytes))
    }

    fn timed_exchange<T>(
        &self,
        own: Result<(RankStatus, T)>,
        time: &mut Duration,
    ) -> Result<(RankStatus, T)> {
        let started = Instant::now();
        let exchanged = self.exchange_status(own);
        *time += started.elapsed();
        exchanged
    }
}

fn running_statistics<B: AutodiffBackend, N: Trainable<B>>(network: &N) -> Vec<Tensor<B, 1>> {
    network.running_statistics().into_iter().map(|running| running.value_sync()).collect()
}
