//! The all-reduce of gradients: their sums over all processes.
//!
//! Gradients are sent in the order of the network's layers, because burn's parameter ids differ between
//! processes. Frozen parameters have no gradient in any process, and are not sent.

use super::processes::ProcessGroup;
use crate::backend;
use crate::{Error, Result};
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Tensor, TensorData};
use std::sync::Arc;

/// The fewest values of a gradient that is sent by itself, from its own memory: 1 MiB of them. Smaller ones share
/// a bucket, because every message has a fixed cost.
const LARGE: usize = 1 << 18;

/// Values in a full bucket: 25 MB, as in PyTorch's DistributedDataParallel.
const BUCKET: usize = 25_000_000 / size_of::<f32>();

/// Sums gradients over processes, and counts their bytes.
pub(super) struct GradientAllReduce {
    processes: Arc<dyn ProcessGroup>,
    bucket: Vec<f32>,
    /// Bytes of gradients so far.
    bytes: u64,
}

impl GradientAllReduce {
    pub fn new(processes: Arc<dyn ProcessGroup>) -> Self {
        Self { processes, bucket: Vec::new(), bytes: 0 }
    }

    pub fn processes(&self) -> &Arc<dyn ProcessGroup> {
        &self.processes
    }

    /// Bytes of gradients that were summed so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Replaces every gradient of the module by its sum over all processes. Where a process has no gradient
    /// for a trainable parameter, it counts as zeros.
    ///
    /// # Errors
    /// [`Error::Process`] if another process is gone, [`Error::Backend`] if the device failed.
    pub fn reduce<B: AutodiffBackend, M: AutodiffModule<B>>(
        &mut self,
        module: &M,
        gradients: &mut GradientsParams,
    ) -> Result<()> {
        let mut taken = take_gradients(module, gradients)?;
        self.reduce_taken(&mut taken)?;
        put_gradients(module, taken, gradients);
        Ok(())
    }

    /// The same for gradients that were [taken out](take_gradients): as many in all processes, of the same
    /// sizes.
    pub fn reduce_taken(&mut self, gradients: &mut [TensorData]) -> Result<()> {
        let mut small = Vec::new();
        for gradient in gradients {
            let values = values(gradient)?;
            if values.len() < LARGE {
                small.push(values);
            } else {
                self.send(values)?;
            }
        }
        let mut bucket = std::mem::take(&mut self.bucket);
        let mut first = 0;
        for next in 1..=small.len() {
            bucket.extend_from_slice(small[next - 1]);
            if bucket.len() + LARGE > BUCKET || next == small.len() {
                self.send(&mut bucket)?;
                let mut sums = bucket.as_slice();
                for values in &mut small[first..next] {
                    let (own, rest) = sums.split_at(values.len());
                    values.copy_from_slice(own);
                    sums = rest;
                }
                bucket.clear();
                first = next;
            }
        }
        self.bucket = bucket;
        Ok(())
    }

    fn send(&mut self, values: &mut [f32]) -> Result<()> {
        self.processes.all_reduce(values)?;
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

/// The gradients of a module's trainable parameters, in the order in which burn visits them, in host memory. On
/// the backend Flex that is the tensors' own memory.
pub(super) fn take_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
) -> Result<Vec<TensorData>> {
    let mut taking = TakeGradients { gradients, taken: Ok(Vec::new()) };
    module.visit(&mut taking);
    taking.taken
}

/// The reverse of [`take_gradients`].
pub(super) fn put_gradients<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    taken: Vec<TensorData>,
    gradients: &mut GradientsParams,
) {
    module.visit(&mut PutGradients { gradients, taken: taken.into_iter() });
}

struct TakeGradients<'a> {
    gradients: &'a mut GradientsParams,
    taken: Result<Vec<TensorData>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for TakeGradients<'_> {
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

struct PutGradients<'a> {
    gradients: &'a mut GradientsParams,
    taken: std::vec::IntoIter<TensorData>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for PutGradients<'_> {
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
