//! All gradients of a step together: added up, measured, clipped.

use crate::backend;
use crate::error::{Error, Result};
use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// The Euclidean norm of all gradients of a module as one vector. (burn clips each tensor by its own.)
pub(super) fn norm<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &GradientsParams,
) -> Result<f64> {
    let mut squares = Squares::<B> { gradients, sum: None };
    module.visit(&mut squares);
    // One wait for the device.
    let sum = squares.sum.map(backend::read).transpose()?;
    Ok(sum.map_or(0.0, |sum| sum.iter::<f64>().sum::<f64>()).sqrt())
}

/// Scales all gradients down to a norm of `most`, where they have a larger one: as PyTorch's
/// `clip_grad_norm_`.
pub(super) fn clip<B: AutodiffBackend, M: AutodiffModule<B>>(
    module: &M,
    gradients: &mut GradientsParams,
    most: f64,
) -> Result<()> {
    let norm = norm(module, gradients)?;
    if !norm.is_finite() {
        return Err(Error::NotFinite { place: "norm of the gradients".into(), count: 1, first: 0 });
    }
    if norm > most {
        module.visit(&mut Scaling { gradients, factor: most / norm });
    }
    Ok(())
}

struct Squares<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    sum: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Squares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) else { return };
        let square = (gradient.clone() * gradient).sum();
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + square,
            None => square,
        });
    }
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
