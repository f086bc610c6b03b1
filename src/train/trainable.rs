//! What can be trained: a network on one device, or one whose halves are on two.

use super::data_parallel::{DataParallel, GradientSync};
use super::step::{ConfirmForward, LocalMicroBatch, Output};
use super::{Batch, step, two_gpu};
use crate::Result;
use crate::models::{Architecture, Network, Parameter, TrainableParameter, TwoGpuNetwork};
use burn::module::{AutodiffModule, Module, RunningState};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::train::{ClassificationOutput, InferenceStep, TrainOutput, TrainStep};
use std::fmt::Display;
use std::ops::Range;

/// Returns rows of a parameter, flat, in PyTorch's order.
pub type ReadRows<'a> = &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>;

/// A network that [`fit`](super::fit) can train: a [`Network`] or a [`TwoGpuNetwork`].
pub trait Trainable<B: AutodiffBackend>:
    AutodiffModule<B, InnerModule: Evaluate<B::InnerBackend>>
    + TrainStep<Input = Batch<B>, Output = ClassificationOutput<B::InnerBackend>>
    + Display
    + 'static
{
    /// Its architecture.
    fn architecture(&self) -> &Architecture;

    /// The device that images must be on.
    fn device(&self) -> B::Device;

    /// `Ok` if it takes images of `shape`, `[N, C, H, W]`: see [`Network::check`].
    fn check(&self, shape: [usize; 4]) -> Result<()>;

    /// Rows of a parameter: see [`Network::values`].
    fn values(&self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>>;

    /// The same network, on the same devices, with other values: see [`Network::from_values`].
    fn with_values(&self, values: ReadRows) -> Result<Self>;

    /// The parameters that training changes: see [`Network::trainable_parameters`].
    fn trainable_parameters(&self) -> Vec<TrainableParameter>;

    /// The running statistics of its batch norms.
    fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>>;

    /// The same network with those layers frozen whose parameters all satisfy `is_frozen`, by their keys.
    fn freeze_where(self, is_frozen: &dyn Fn(&str) -> bool) -> Self;

    /// Moves the network out, so that its weights can be updated in place, and leaves one without layers.
    fn take(&mut self) -> Self;

    /// The same network on one device.
    fn to_network(&self) -> Result<Network<B>>;

    /// Whether its batch norms can use the statistics of all processes' images:
    /// [`Recipe::synchronized_batch_norm`](super::Recipe::synchronized_batch_norm).
    fn supports_sync_batch_norm(&self) -> bool {
        false
    }

    /// Forward and backward: [`TrainStep`] with an error instead of a panic.
    ///
    /// # Errors
    /// As for [`check`](Self::check), and [`Error::Backend`](crate::Error::Backend) if a device failed.
    fn training_step(&self, batch: Batch<B>) -> Result<TrainOutput<Output<B>>>;

    /// Forward and backward through a micro-batch, together with other processes. Adds this process's
    /// gradients to `gradients`; after the last micro-batch they are the sums over all processes. All
    /// processes must make the same calls.
    ///
    /// # Errors
    /// Those of `confirm`; [`Error::Process`](crate::Error::Process) if another process is gone.
    #[doc(hidden)]
    fn distributed_step(
        &self,
        data_parallel: &mut DataParallel,
        local: LocalMicroBatch<B>,
        gradients: &mut GradientsParams,
        confirm: ConfirmForward<B>,
    ) -> Result<()> {
        let training_step = |batch| self.training_step(batch);
        data_parallel.step(self, training_step, local, gradients, confirm)
    }
}

/// A network that can be evaluated on examples.
pub trait Evaluate<B: Backend>:
    Module<B> + InferenceStep<Input = Batch<B>, Output = ClassificationOutput<B>>
{
    /// `Ok` if it takes images of `shape`, `[N, C, H, W]`: see [`Network::check`].
    fn check(&self, shape: [usize; 4]) -> Result<()>;

    /// The forward pass without dropout: [`InferenceStep`] with an error instead of a panic.
    ///
    /// # Errors
    /// As for [`check`](Self::check).
    fn evaluation_step(&self, batch: Batch<B>) -> Result<ClassificationOutput<B>>;

    /// The running statistics of its batch norms that are not frozen.
    fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>>;

    /// The same network on one device.
    fn to_network(&self) -> Result<Network<B>>;
}

/// The methods that both kinds of networks have as inherent methods of the same name.
macro_rules! delegate_to_inherent_methods {
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

        fn trainable_parameters(&self) -> Vec<TrainableParameter> {
            self.trainable_parameters()
        }

        fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>> {
            self.running_statistics()
        }

        fn freeze_where(self, is_frozen: &dyn Fn(&str) -> bool) -> Self {
            self.freeze_where(is_frozen)
        }

        fn take(&mut self) -> Self {
            self.take()
        }
    };
}

impl<B: AutodiffBackend> Trainable<B> for Network<B> {
    delegate_to_inherent_methods!();

    fn with_values(&self, values: ReadRows) -> Result<Self> {
        let network = Self::from_values(self.architecture().clone(), &self.device(), values)?;
        Ok(network.with_metadata(self.metadata().clone()))
    }

    fn to_network(&self) -> Result<Network<B>> {
        Ok(self.clone())
    }

    fn supports_sync_batch_norm(&self) -> bool {
        true
    }

    fn training_step(&self, batch: Batch<B>) -> Result<TrainOutput<Output<B>>> {
        step::training_step(self, batch)
    }

    fn distributed_step(
        &self,
        data_parallel: &mut DataParallel,
        local: LocalMicroBatch<B>,
        gradients: &mut GradientsParams,
        confirm: ConfirmForward<B>,
    ) -> Result<()> {
        match data_parallel.sync() {
            GradientSync::AfterBackward => {
                let training_step = |batch| self.training_step(batch);
                data_parallel.step(self, training_step, local, gradients, confirm)
            }
            _ => data_parallel.segmented_step(self, local, gradients, confirm),
        }
    }
}

impl<B: AutodiffBackend> Trainable<B> for TwoGpuNetwork<B> {
    delegate_to_inherent_methods!();

    fn with_values(&self, values: ReadRows) -> Result<Self> {
        let (table, devices) = (self.architecture().clone(), self.devices_of_halves());
        Ok(Self::from_values(table, &devices, values)?.with_metadata(self.metadata().clone()))
    }

    fn to_network(&self) -> Result<Network<B>> {
        self.merge(&self.device())
    }

    fn training_step(&self, batch: Batch<B>) -> Result<TrainOutput<Output<B>>> {
        two_gpu::training_step(self, batch)
    }
}

impl<B: Backend> Evaluate<B> for TwoGpuNetwork<B> {
    fn check(&self, shape: [usize; 4]) -> Result<()> {
        self.check(shape, &self.device())
    }

    fn evaluation_step(&self, batch: Batch<B>) -> Result<ClassificationOutput<B>> {
        two_gpu::evaluation_step(self, batch)
    }

    fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>> {
        self.running_statistics()
    }

    fn to_network(&self) -> Result<Network<B>> {
        self.merge(&self.device())
    }
}

impl<B: Backend> Evaluate<B> for Network<B> {
    fn check(&self, shape: [usize; 4]) -> Result<()> {
        self.check(shape, &self.device())
    }

    fn evaluation_step(&self, batch: Batch<B>) -> Result<ClassificationOutput<B>> {
        step::evaluation_step(self, batch)
    }

    fn running_statistics(&self) -> Vec<&RunningState<Tensor<B, 1>>> {
        self.running_statistics()
    }

    fn to_network(&self) -> Result<Network<B>> {
        Ok(self.clone())
    }
}
