//! The validation after each epoch, divided among the processes.

use super::consensus::RankStatus;
use super::history::Scores;
use super::nonfinite_origin::nonfinite_origin;
use super::train_loop::{
    Processor, Trainer, add_scores, expect_examples, item_progress, mean_loss,
};
use super::{Evaluate, Trainable};
use crate::Result;
use burn::tensor::backend::AutodiffBackend;
use burn::train::{EventProcessorTraining, LearnerEvent, TrainingItem};

impl<B: AutodiffBackend, N: Trainable<B>> Trainer<B, N> {
    /// The scores on the validation set; `None` if it was interrupted.
    pub fn validate(
        &mut self,
        network: &N::InnerModule,
        processor: &mut Processor<B, N>,
    ) -> Result<Option<Scores>> {
        let own = self.validate_shard(network, processor);
        let (all, ()) = self.exchange_status(own.map(|own| (own, ())))?;
        if all.stops {
            return Ok(None);
        }
        expect_examples(&all.totals)?;
        processor.process_valid(LearnerEvent::EndEpoch(self.state.epoch() + 1));
        Ok(Some(all.totals.scores()))
    }

    /// The part of the validation set that is this process's.
    fn validate_shard(
        &mut self,
        network: &N::InnerModule,
        processor: &mut Processor<B, N>,
    ) -> Result<RankStatus> {
        let epochs = item_progress(self.state.epoch() + 1, self.state.recipe.epochs);
        let world_size = self.processes.world_size();
        let total = self.valid.examples().classes().len().div_ceil(world_size);
        let loader = self.valid.clone();
        let mut status =
            RankStatus { stops: self.interrupter.should_stop(), ..RankStatus::default() };
        let mut micro_batches = loader.epoch(0, 0)?.enumerate();
        while !status.stops
            && let Some((index, micro_batch)) = micro_batches.next()
        {
            let batch = micro_batch?.batch;
            let images = batch.images.clone();
            let output = network.evaluation_step(batch)?;
            let loss = mean_loss(&output)?;
            if !loss.is_finite() {
                let network = network.to_network()?;
                return Err(self.diverged(loss, nonfinite_origin(&network, images)?));
            }
            add_scores(&mut status.totals, &output)?;
            let done = item_progress(status.totals.examples as usize, total);
            if self.dashboard {
                let item = TrainingItem::new(output, done, epochs.clone(), Some(index + 1), None);
                processor.process_valid(LearnerEvent::ProcessedItem(item));
            }
            status.stops = self.interrupter.should_stop();
        }
        Ok(status)
    }
}
