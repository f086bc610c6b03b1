//! The sum of gradients over processes.
//!
//! Gradients go in the order of the network's layers, which is the same in all processes; burn's ids of
//! parameters are not. What is frozen has none in any process, and is not sent.

use super::processes::Processes;
use crate::backend;
use crate::error::{Error, Result};
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use std::sync::Arc;

/// Values of a gradient that is sent by itself, from its own memory: 1 MiB of them. Smaller ones are packed
/// together, because each message takes its time whatever its size.
const LARGE: usize = 1 << 18;

/// Values of a full pack: 25 MB, as PyTorch's buckets.
const PACK: usize = 25_000_000 / size_of::<f32>();

/// Adds up gradients, and knows how many bytes that were.
pub(super) struct Exchange {
    processes: Arc<dyn Processes>,
    pack: Vec<f32>,
    /// Of gradients, in all.
    bytes: u64,
}

impl Exchange {
    pub fn new(processes: Arc<dyn Processes>) -> Self {
        Self { processes, pack: Vec::new(), bytes: 0 }
    }

    pub fn processes(&self) -> &Arc<dyn Processes> {
        &self.processes
    }

    /// Of gradients that were given to sums until now.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes every gradient of the module the sum of all processes'. A process that has none for a trained
    /// parameter gives zeros.
    ///
    /// # Errors
    /// [`Error::Process`] if another process is gone, [`Error::Backend`] if the device failed.
    pub fn sum<B: AutodiffBackend, M: AutodiffModule<B>>(
        &mut self,
        module: &M,
        gradients: &mut GradientsParams,
    ) -> Result<()> {
        let mut taken = take(module, gradients)?;
        self.sum_taken(&mut taken)?;
        put(module, taken, gradients);
        Ok(())
    }

    /// The same for gradients that were taken out: all processes give as many, of the same sizes.
    pub fn sum_taken(&mut self, gradients: &mut [TensorData]) -> Result<()> {
        let mut small = Vec::new();
        for gradient in gradients {
            let values = values(gradient)?;
            match values.len() < LARGE {
                true => small.push(values),
                false => self.send(values)?,
            }
        }
        let mut pack = std::mem::take(&mut self.pack);
        let mut first = 0;
        for next in 1..=small.len() {
            pack.extend_from_slice(small[next - 1]);
            if pack.len() + LARGE > PACK || next == small.len() {
                self.send(&mut pack)?;
                let mut sums = pack.as_slice();
                for values in &mut small[first..next] {
                    let (own, rest) = sums.split_at(values.len());
                    values.copy_from_slice(own);
                    sums = rest;
                }
                pack.clear();
                first = next;
            }
        }
        self.pack = pack;
        Ok(())
    }

    fn send(&mut self, values: &mut [f32]) -> Result<()> {
        self.processes.sum(values)?;
        self.bytes += size_of_val(values) as u64;
        Ok(())
    }
}

fn values(gradient: &mut TensorData) -> Result<&mut [f32]> {
    let found = gradient.dtype;
    gradient.as_mut_slice().map_err(|_| Error::Setting {
        place: "a gradient".into(),
        expected: "values of f32".into(),
        found: format!("{found:?}"),
    })
}

/// The gradients of a module's trained parameters, in the order of its walk, in memory. On Flex that is the
/// tensors' own.
pub(super) fn take<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
) -> Result<Vec<TensorData>> {
    let mut taking = Taking { gradients, taken: Ok(Vec::new()) };
    module.visit(&mut taking);
    taking.taken
}

/// The mirror of [`take`].
pub(super) fn put<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    taken: Vec<TensorData>,
    gradients: &mut GradientsParams,
) {
    module.visit(&mut Putting { gradients, taken: taken.into_iter() });
}

struct Taking<'a> {
    gradients: &'a mut GradientsParams,
    taken: Result<Vec<TensorData>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Taking<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let (Ok(taken), true) = (&mut self.taken, param.is_require_grad()) else { return };
        let data = match self.gradients.remove::<B::InnerBackend, D>(param.id) {
            Some(gradient) => backend::read(gradient),
            None => Ok(TensorData::zeros::<f32, _>(param.shape())),
        };
        match data {
            Ok(data) => taken.push(data.convert::<f32>()),
            Err(error) => self.taken = Err(error),
        }
    }
}

struct Putting<'a> {
    gradients: &'a mut GradientsParams,
    taken: std::vec::IntoIter<TensorData>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Putting<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if !param.is_require_grad() {
            return;
        }
        if let Some(data) = self.taken.next() {
            let gradient = Tensor::<B::InnerBackend, D>::from_data(data, &param.device());
            self.gradients.register(param.id, gradient);
        }
    }
}
