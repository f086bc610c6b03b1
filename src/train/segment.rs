//! A segment of a forward pass whose backward pass is run by itself.
//!
//! burn runs the backward pass through a whole graph in one call. A pass that is cut into segments can do
//! something between two of them: move a gradient to another device, sum it over processes, or send gradients
//! that are ready while the backward pass through earlier layers still runs.

use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// A graph of its own, from its input to its output.
pub(crate) struct Segment<B: AutodiffBackend, const I: usize, const O: usize> {
    input: Tensor<B, I>,
    output: Tensor<B, O>,
}

impl<B: AutodiffBackend, const I: usize, const O: usize> Segment<B, I, O> {
    /// Runs the forward pass. `wants_gradient` says whether the gradient of the input is needed; for images it is
    /// not.
    pub fn forward(
        input: Tensor<B::InnerBackend, I>,
        wants_gradient: bool,
        layers: impl FnOnce(Tensor<B, I>) -> Tensor<B, O>,
    ) -> Self {
        let input = Tensor::from_inner(input).set_require_grad(wants_gradient);
        let output = layers(input.clone());
        Self { input, output }
    }

    /// The input of the next segment.
    pub fn output(&self) -> Tensor<B::InnerBackend, O> {
        self.output.clone().inner()
    }

    /// Runs the backward pass from the gradient of the output. Returns the gradients of the parameters, and that
    /// of the input if it was wanted and the output depends on the input.
    pub fn backward(
        self,
        gradient: Tensor<B::InnerBackend, O>,
    ) -> (B::Gradients, Option<Tensor<B::InnerBackend, I>>) {
        // The derivative of this product with respect to the output is `gradient`.
        let product = (self.output * Tensor::from_inner(gradient)).sum();
        let mut gradients = product.backward();
        let input_gradient = self.input.grad_remove(&mut gradients);
        (gradients, input_gradient)
    }
}
