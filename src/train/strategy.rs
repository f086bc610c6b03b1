//! The training loop as burn-train's [`SupervisedTraining`] runs it: a strategy of its own.

use super::images_per_second::ImagesPerSecond;
use super::options::TrainOptions;
use super::outcome::{Outcome, StopReason};
use super::silent_renderer::SilentRenderer;
use super::train_loop::{Components, Processor, Trainer};
use super::{Evaluate, Trainable};
use crate::Result;
use burn::lr_scheduler::constant::ConstantLr;
use burn::tensor::backend::AutodiffBackend;
use burn::train::metric::{AccuracyMetric, LearningRateMetric, LossMetric, TopKAccuracyMetric};
use burn::train::{
    Learner, SupervisedLearningStrategy, SupervisedTraining, TrainLoader, TrainingComponents,
    TrainingStrategy, ValidLoader,
};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Runs a trainer, with burn-train's metrics and dashboard.
pub(super) fn launch<B: AutodiffBackend, N: Trainable<B>>(
    (network, trainer): (N, Trainer<B, N>),
    options: &TrainOptions,
) -> Result<Outcome<B::InnerBackend>> {
    type Cpu = burn_flex::Flex;
    let classes = network.architecture().num_classes();
    let dashboard = trainer.dashboard;
    let (epochs, rate) = (trainer.state.recipe.epochs, trainer.state.recipe.rate);
    let (train, valid) = (Arc::new(trainer.train.clone()), Arc::new(trainer.valid.clone()));
    let learner = Learner::new(network, trainer.sgd.clone(), ConstantLr::new(rate));
    let strategy = Arc::new(TrainLoop::new(trainer));
    let training = SupervisedTraining::new(PathBuf::new(), train, valid)
        .with_training_strategy(TrainingStrategy::Custom(strategy.clone()))
        .with_application_logger(None)
        .with_metric_logger(SilentRenderer)
        .with_interrupter(options.interrupter.clone())
        .num_epochs(epochs)
        .metric_train_numeric(LossMetric::<Cpu>::new())
        .metric_valid_numeric(LossMetric::<Cpu>::new())
        .metric_train_numeric(AccuracyMetric::<Cpu>::new())
        .metric_valid_numeric(AccuracyMetric::<Cpu>::new())
        .metric_train_numeric(TopKAccuracyMetric::<Cpu>::new(classes.min(5)))
        .metric_valid_numeric(TopKAccuracyMetric::<Cpu>::new(classes.min(5)))
        .metric_train_numeric(LearningRateMetric::new())
        .metric_train_numeric(ImagesPerSecond::default());
    // Without a renderer of ours, burn-train chooses its dashboard.
    let training = if dashboard { training } else { training.renderer(SilentRenderer) };
    let result = training.launch(learner);
    strategy.outcome(result.model)
}

/// A trainer and how its run ended. burn-train calls a strategy by a shared reference, hence the lock.
struct TrainLoop<B: AutodiffBackend, N: Trainable<B>>(Mutex<(Trainer<B, N>, Result<StopReason>)>);

impl<B: AutodiffBackend, N: Trainable<B>> TrainLoop<B, N> {
    fn new(trainer: Trainer<B, N>) -> Self {
        Self(Mutex::new((trainer, Ok(StopReason::Interrupted))))
    }

    fn lock(&self) -> MutexGuard<'_, (Trainer<B, N>, Result<StopReason>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outcome of the run that `last` is the network of.
    fn outcome(&self, last: N::InnerModule) -> Result<Outcome<B::InnerBackend>> {
        let last = last.to_network()?;
        let mut locked = self.lock();
        let (trainer, ended) = &mut *locked;
        let last = trainer.average.take().map_or(Ok(last), |average| average.to_network())?;
        let stop_reason = std::mem::replace(ended, Ok(StopReason::Interrupted))?;
        let best = trainer.best.take().unwrap_or_else(|| last.clone());
        let history = trainer.state.history.clone();
        let skipped = std::mem::take(&mut trainer.skipped);
        Ok(Outcome { last, best, history, stop_reason, skipped })
    }
}

impl<B: AutodiffBackend, N: Trainable<B>> SupervisedLearningStrategy<Components<B, N>>
    for TrainLoop<B, N>
{
    fn fit(
        &self,
        components: TrainingComponents<Components<B, N>>,
        learner: Learner<Components<B, N>>,
        _: TrainLoader<Components<B, N>>,
        _: ValidLoader<Components<B, N>>,
        _: usize,
    ) -> (N, Processor<B, N>) {
        let mut processor = components.event_processor;
        let mut network = learner.model();
        // The learner's copy would keep the optimizer from updating weights in place.
        drop(learner);
        let mut locked = self.lock();
        let (trainer, ended) = &mut *locked;
        *ended = trainer.run(&mut network, &mut processor);
        (network, processor)
    }
}
