//! What can be trained: a network on one device, or one whose halves are on two.

use super::together::{Agree, OnTheWay, Output, Part, Together};
use super::{Batch, step, towers};
use crate::error::Result;
use crate::models::{Architecture, Network, Parameter, Towers, Trained};
use burn::module::{AutodiffModule, Module, RunningState};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use std::fmt::Display;
use std::ops::Range;

/// Gives rows of a parameter.
pub type Rows<'a> = &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>;

/// A network in training, as [`fit`](super::fit) takes it: a [`Network`], or [`Towers`].
pub trait Trainable<B: AutodiffBackend>:
    AutodiffModule<B, InnerModule: Trial<B::InnerBackend>>
    + TrainStep<Input = Batch<B>, Output = ClassificationOutput<B::InnerBackend>>
    + Display
    + 'static
{
    /// Its table.
    fn architecture(&self) -> &Architecture;

    /// The device that takes the images.
    fn device(&self) -> B::Device;

    /// Whether images of `shape` fit: [`Network::check`].
    fn check(&self, shape: [usize; 4]) -> Result<()>;

    /// Rows of a parameter: [`Network::values`].
    fn values(&self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>>;

    /// The same network, on the same devices, with other values: [`Network::from_values`].
    fn with_values(&self, values: Rows) -> Result<Self>;

    /// Where its parameters are: [`Network::trained`].
    fn trained(&self) -> Result<Vec<Trained>>;

    /// What its batch norms have learned of the data.
    fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>>;

    /// The same with some layers frozen, those all of whose parameters are.
    fn frozen_where(self, is_frozen: &dyn Fn(&str) -> bool) -> Result<Self>;

    /// Moves it out, so that its weights can be worked on in place; one of no layers stays behind.
    fn take(&mut self) -> Self;

    /// The same on one device.
    fn whole(&self) -> Result<Network<B>>;

    /// Whether its batch norms can take the statistics of all processes' images:
    /// [`Recipe::synchronized_batch_norm`](super::Recipe::synchronized_batch_norm).
    fn synchronizes(&self) -> bool {
        false
    }

    /// Forward and backward: [`TrainStep`] with an error.
    fn learn(&self, batch: Batch<B>) -> Result<TrainOutput<Output<B>>>;

    #[doc(hidden)]
    /// Forward and backward through a part of a batch, beside other processes: adds its gradients. After the
    /// last part they are the sums of all processes'. All take as many parts.
    ///
    /// # Errors
    /// Those of `agree`; [`Error::Process`](crate::Error::Process) if another process is gone.
    fn learn_together(
        &self,
        together: &mut Together,
        part: Part<B>,
        gradients: &mut GradientsParams,
        agree: Agree<B>,
    ) -> Result<()> {
        together.learn(self, part, gradients, agree)
    }
}

/// A network that is tried on examples.
pub trait Trial<B: Backend>:
    Module<B> + InferenceStep<Input = Batch<B>, Output = ClassificationOutput<B>>
{
    /// Whether images of `shape` fit: [`Network::check`].
    fn check(&self, shape: [usize; 4]) -> Result<()>;

    /// Forward, without dropout: [`InferenceStep`] with an error.
    fn answer(&self, batch: Batch<B>) -> Result<ClassificationOutput<B>>;

    /// The same on one device.
    fn whole(&self) -> Result<Network<B>>;
}

/// What both kinds of networks have themselves.
macro_rules! by_the_same_names {
    () => {
        fn architecture(&self) -> &Architecture {
            self.architecture()
        }

        fn device(&self) -> B::Device {
            self.device()
        }

        fn check(&self, shape: [usize; 4]) -> Result<()> {
            self.check(shape, &self.device())
        }

        fn values(&self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
            self.values(parameter, rows)
        }

        fn trained(&self) -> Result<Vec<Trained>> {
            self.trained()
        }

        fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>> {
            self.running_statistics()
        }

        fn frozen_where(self, is_frozen: &dyn Fn(&str) -> bool) -> Result<Self> {
            self.frozen_where(is_frozen)
        }

        fn take(&mut self) -> Self {
            self.take()
        }
    };
}

impl<B: AutodiffBackend> Trainable<B> for Network<B> {
    by_the_same_names!();

    fn with_values(&self, values: Rows) -> Result<Self> {
        let network = Self::from_values(self.architecture().clone(), &self.device(), values)?;
        Ok(network.stating(self))
    }

    fn whole(&self) -> Result<Network<B>> {
        Ok(self.clone())
    }

    fn synchronizes(&self) -> bool {
        true
    }

    fn learn(&self, batch: Batch<B>) -> Result<TrainOutput<Output<B>>> {
        step::learn(self, batch)
    }

    fn learn_together(
        &self,
        together: &mut Together,
        part: Part<B>,
        gradients: &mut GradientsParams,
        agree: Agree<B>,
    ) -> Result<()> {
        match together.on_the_way() {
            OnTheWay::Nothing => together.learn(self, part, gradients, agree),
            _ => together.learn_in_stretches(self, part, gradients, agree),
        }
    }
}

impl<B: AutodiffBackend> Trainable<B> for Towers<B> {
    by_the_same_names!();

    fn with_values(&self, values: Rows) -> Result<Self> {
        let (table, devices) = (self.architecture().clone(), self.devices_of_halves());
        Ok(Self::from_values(table, &devices, values)?.stating(self))
    }

    fn whole(&self) -> Result<Network<B>> {
        self.whole(&self.device())
    }

    fn learn(&self, batch: Batch<B>) -> Result<TrainOutput<Output<B>>> {
        towers::learn(self, batch)
    }
}

impl<B: Backend> Trial<B> for Towers<B> {
    fn check(&self, shape: [usize; 4]) -> Result<()> {
        self.check(shape, &self.device())
    }

    fn answer(&self, batch: Batch<B>) -> Result<ClassificationOutput<B>> {
        towers::answer(self, batch)
    }

    fn whole(&self) -> Result<Network<B>> {
        self.whole(&self.device())
    }
}

impl<B: Backend> Trial<B> for Network<B> {
    fn check(&self, shape: [usize; 4]) -> Result<()> {
        self.check(shape, &self.device())
    }

    fn answer(&self, batch: Batch<B>) -> Result<ClassificationOutput<B>> {
        step::answer(self, batch)
    }

    fn whole(&self) -> Result<Network<B>> {
        Ok(self.clone())
    }
}
