//! All gradients of a step: accumulated, scaled, clipped by their norm.

use crate::backend;
use crate::{Error, Result};
use burn::module::{AutodiffModule, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// Adds the gradients that burn has found for a module's parameters to `gradients`.
pub(crate) fn collect<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    mut found: B::Gradients,
    gradients: &mut GradientsParams,
) {
    module.visit(&mut Collecting::<B> { found: &mut found, gradients });
}

/// Adds a gradient of a parameter to `gradients`.
pub(crate) fn add<B: Backend, const D: usize>(
    gradients: &mut GradientsParams,
    id: ParamId,
    gradient: Tensor<B, D>,
) {
    let sum = match gradients.remove::<B, D>(id) {
        Some(before) => before + gradient,
        None => gradient,
    };
    gradients.register(id, sum);
}

/// Adds the gradients of another pass through a module to `gradients`.
pub(super) fn merge<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    other: GradientsParams,
    gradients: &mut GradientsParams,
) {
    if gradients.is_empty() {
        *gradients = other;
        return;
    }
    let mut accumulator = GradientsAccumulator::new();
    accumulator.accumulate(module, std::mem::take(gradients));
    accumulator.accumulate(module, other);
    *gradients = accumulator.grads();
}

/// The Euclidean norm of all gradients of a module as one vector, as in PyTorch. (burn clips every tensor by its own
/// norm.)
pub(super) fn norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &GradientsParams,
) -> Result<f64> {
    let mut squares = Squares::<B> { gradients, sum: None };
    module.visit(&mut squares);
    // The only synchronization with the device.
    let sum = squares.sum.map(backend::read).transpose()?;
    Ok(sum.map_or(0.0, |sum| sum.iter::<f64>().sum::<f64>()).sqrt())
}

/// Scales all gradients, whose norm is `norm`, down to the norm `max_norm` if theirs is larger, as PyTorch's
/// `clip_grad_norm_`.
pub(super) fn clip<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    norm: f64,
    max_norm: f64,
) -> Result<()> {
    if !norm.is_finite() {
        return Err(Error::NotFinite { place: "norm of the gradients".into(), count: 1, first: 0 });
    }
    if norm > max_norm {
        scale(module, gradients, max_norm / norm);
    }
    Ok(())
}

/// Multiplies all gradients by a factor.
pub(super) fn scale<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    factor: f64,
) {
    module.visit(&mut Scaling { gradients, factor });
}

struct Collecting<'a, B: AutodiffBackend> {
    found: &'a mut B::Gradients,
    gradients: &'a mut GradientsParams,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Collecting<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = param.val().grad_remove(self.found) {
            add(self.gradients, param.id, gradient);
        }
    }
}

struct Squares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) else { return };
        let square = sum(gradient.clone() * gradient);
        self.sum = Some(match self.sum.take() {
            // If the network is on two devices, one number per parameter is copied to the first.
            Some(sum) => {
                let here = sum.device();
                sum + square.to_device(&here)
            }
            None => square,
        });
    }
}

/// The sum of all values: rows first, because Mesa's software driver sums at most 262,132 values correctly.
fn sum<B: Backend, const D: usize>(values: Tensor<B, D>) -> Tensor<B, 1> {
    let rows = values.dims()[0];
    let columns = values.shape().num_elements() / rows.max(1);
    values.reshape([rows, columns]).sum_dim(1).sum_dim(0).reshape([1])
}

struct Scaling<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scaling<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_many_values_is_complete_on_a_gpu() {
        let device = match backend::gpu() {
            Ok(device) => device,
            Err(error) if std::env::var_os("ALEXNET_VGG_NEEDS_GPU").is_some() => panic!("{error}"),
            Err(error) => return eprintln!("skipped: {error}"),
        };
        let ones = Tensor::<backend::Wgpu, 4>::ones([512, 512, 3, 3], &device);
        assert_eq!(sum(ones).into_scalar(), (512 * 512 * 9) as f32);
    }
}
