//! What a run writes: checkpoints, weights, metrics. A write that fails during the run is reported, and the run
//! continues; at its end it is an error.

use super::checkpoint::Checkpoints;
use super::consensus::RankStatus;
use super::history::Epoch;
use super::options::Event;
use super::train_loop::Trainer;
use super::training_record::with_record;
use super::{Evaluate, Trainable, checkpoint_tensors};
use crate::models::Network;
use crate::{Error, Result};
use burn::tensor::backend::AutodiffBackend;
use std::path::PathBuf;

const BEST: &str = "best.safetensors";
const LAST: &str = "last.safetensors";
pub(super) const METRICS: &str = "metrics.csv";

impl<B: AutodiffBackend, N: Trainable<B>> Trainer<B, N> {
    /// Saves the epoch that has just been validated.
    pub fn after_epoch(&mut self, network: &N) -> Result<()> {
        let history = &self.state.history;
        let is_best =
            history.best().map(|best| best.epoch) == history.epochs.last().map(|last| last.epoch);
        if is_best {
            self.best = Some(self.recorded(network, history.epochs.last())?);
        }
        let best_is_saved =
            !is_best || self.try_write(BEST, |own, path| own.best_or(network)?.save(path));
        self.try_write(METRICS, |own, path| own.state.history.save_csv(path));
        // A checkpoint must not refer to a best network that does not exist.
        let saved = if best_is_saved { self.save(network) } else { Ok(()) };
        self.processes.expect_all_ok(saved)?;
        (self.on_event)(Event::EpochFinished(&self.state.history));
        Ok(())
    }

    fn best_or(&self, network: &N) -> Result<Network<B::InnerBackend>> {
        self.best.clone().map_or_else(|| self.recorded(network, None), Ok)
    }

    /// The network as it is saved, with the scores of an epoch if its weights are those of the end of it.
    fn recorded(&self, network: &N, epoch: Option<&Epoch>) -> Result<Network<B::InnerBackend>> {
        let pictures = self.valid.examples().classes().len();
        with_record(network.valid().to_network()?, &self.state.recipe, epoch, pictures)
    }

    /// The last epoch, unless steps were made after it.
    fn epoch_of_last_weights(&self) -> Option<&Epoch> {
        self.state.history.epochs.last().filter(|_| self.state.batch == 0)
    }

    /// Writes a file into the output folder. Returns false after reporting that it could not be written.
    fn try_write(&self, name: &str, write: impl FnOnce(&Self, PathBuf) -> Result<()>) -> bool {
        let Some(checkpoints) = &self.checkpoints else { return true };
        let written = write(self, checkpoints.folder().join(name));
        written.map_err(|error| (self.on_event)(Event::SaveFailed(&error))).is_ok()
    }

    /// [`save`](Self::save), after which all processes know whether the one that writes has failed.
    pub fn save_all(&self, network: &N) -> Result<()> {
        let saved = self.save(network);
        self.exchange_status(saved.map(|()| (RankStatus::default(), ()))).map(|_| ())
    }

    /// Writes a checkpoint. A failure is reported, and is no error.
    ///
    /// # Errors
    /// [`Error::Diverged`] if weights are NaN or infinite.
    pub fn save(&self, network: &N) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        match self.write_checkpoint(checkpoints, network) {
            Ok(()) => (self.on_event)(Event::CheckpointSaved(&checkpoints.newest())),
            Err(error @ Error::Diverged { .. }) => return Err(error),
            Err(error) => (self.on_event)(Event::SaveFailed(&error)),
        }
        Ok(())
    }

    fn write_checkpoint(&self, checkpoints: &Checkpoints, network: &N) -> Result<()> {
        let saved = checkpoint_tensors::save(checkpoints, network, &self.sgd, &self.state);
        self.expect_finite(saved)
    }

    /// Ends the run in all processes: everything is saved, and all know what any of them skipped.
    pub fn finish_all(&mut self, network: &N) -> Result<()> {
        self.processes.expect_all_ok(self.finish(network))?;
        let own: Vec<_> = self.train.skipped().into_iter().chain(self.valid.skipped()).collect();
        // Text always has a JSON form. What another process sent may be anything, and is ignored then.
        let all = self.processes.all_gather(&serde_json::to_vec(&own).unwrap_or_default())?;
        let all = all.iter().flat_map(|own| serde_json::from_slice::<Vec<_>>(own));
        self.skipped = all.flatten().collect();
        Ok(())
    }

    /// Writes everything at the end of a run. Each file is tried, whether or not another one failed.
    fn finish(&self, network: &N) -> Result<()> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(()) };
        let file = |name| checkpoints.folder().join(name);
        let saved = self.write_checkpoint(checkpoints, network);
        if saved.is_ok() {
            (self.on_event)(Event::CheckpointSaved(&checkpoints.newest()));
        }
        let last = self.recorded(network, self.epoch_of_last_weights());
        let last = last.and_then(|last| last.save(file(LAST)));
        let best = self.best_or(network).and_then(|best| best.save(file(BEST)));
        let metrics = self.state.history.save_csv(file(METRICS));
        saved.and(last).and(best).and(metrics)
    }

    /// The best network of a resumed run. If its file cannot be read, that is reported, and the current
    /// network takes its place.
    pub fn load_best(&self, network: &N) -> Result<Option<Network<B::InnerBackend>>> {
        let Some(checkpoints) = &self.checkpoints else { return Ok(None) };
        if self.state.history.best().is_none() {
            return Ok(None);
        }
        let path = checkpoints.folder().join(BEST);
        match Network::load(network.architecture().clone(), path, &network.device()) {
            Ok(best) => Ok(Some(best)),
            Err(error) => {
                (self.on_event)(Event::BestNetworkLost(&error));
                network.valid().to_network().map(Some)
            }
        }
    }
}
