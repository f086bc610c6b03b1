//! A stretch of a forward pass whose way back is walked by itself.
//!
//! burn walks a whole graph back at once. A pass of training that is cut into stretches can do something
//! between two of them: move a gradient to another device, add it up over processes, or send what is
//! ready while the layers before are still at work.

use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;

/// From a leaf of a graph of its own to an output of it.
pub(crate) struct Stretch<B: AutodiffBackend, const I: usize, const O: usize> {
    input: Tensor<B, I>,
    output: Tensor<B, O>,
}

impl<B: AutodiffBackend, const I: usize, const O: usize> Stretch<B, I, O> {
    /// Goes forward. What the stretch of images begins with wants no gradient.
    pub fn forward(
        input: Tensor<B::InnerBackend, I>,
        wants_gradient: bool,
        layers: impl FnOnce(Tensor<B, I>) -> Tensor<B, O>,
    ) -> Self {
        let input = Tensor::from_inner(input).set_require_grad(wants_gradient);
        let output = layers(input.clone());
        Self { input, output }
    }

    /// What the next stretch takes.
    pub fn output(&self) -> Tensor<B::InnerBackend, O> {
        self.output.clone().inner()
    }

    /// Goes back from the gradient of its output: the gradients of its parameters, and that of its input,
    /// if it was wanted and anything depends on it.
    pub fn backward(
        self,
        gradient: Tensor<B::InnerBackend, O>,
    ) -> (B::Gradients, Option<Tensor<B::InnerBackend, I>>) {
        // Its derivative by the output is `gradient`.
        let product = (self.output * Tensor::from_inner(gradient)).sum();
        let mut gradients = product.backward();
        let of_input = self.input.grad_remove(&mut gradients);
        (gradients, of_input)
    }
}
