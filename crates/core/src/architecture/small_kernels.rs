//! VGG's argument for small kernels (section 2.3 of the paper), with the numbers of a network.
//!
//! A stack of `n` 3×3 convolutions has the receptive field of a single convolution of side `2n + 1`, but
//! fewer weights, fewer multiplications, and `n` non-linearities instead of one.

use super::checked_table::Architecture;
use super::layer::Layer;
use super::layer_shapes::product;
use super::step::{Section, Shape, Step};
use super::summary::{with_separators, write_aligned};
use crate::error::Result;
use serde::Serialize;
use std::fmt;

/// The stacks of a network, each compared with a single convolution.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SmallKernels {
    /// Name of the network.
    pub network: String,
    /// Its stacks, in forward order; empty if it has none.
    pub stacks: Vec<Stack>,
}

/// A stack of convolutions (stride 1, one group, no pool in between), and the single convolution with the
/// same receptive field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stack {
    /// Names of the first and the last convolution.
    pub layers: [String; 2],
    /// Sides of the stack's kernels.
    pub kernels: Vec<usize>,
    /// Input channels of the first and output channels of the last convolution.
    pub channels: [usize; 2],
    /// Cost of the stack.
    pub stack: Cost,
    /// Side of the single kernel with the same receptive field.
    pub single_kernel: usize,
    /// Cost of the single convolution.
    pub single: Cost,
}

/// The cost of a stack, or of the single convolution, for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Weights, without biases.
    pub weights: u64,
    /// Multiplications, each with its addition.
    pub multiply_adds: u64,
    /// Number of non-linearities.
    pub nonlinearities: usize,
}

impl SmallKernels {
    /// Finds all stacks of at least two convolutions, and their cost for one image of `[height, width]`
    /// pixels.
    ///
    /// # Errors
    /// As for [`Table::walk`](super::Table::walk).
    pub fn new(architecture: &Architecture, input: [usize; 2]) -> Result<Self> {
        let steps = architecture.walk(input)?;
        let features = steps.iter().filter(|step| step.section == Section::Features);
        let mut stacks: Vec<Stack> = Vec::new();
        let mut open: Option<Stack> = None;
        for step in features {
            match (step.layer, &mut open) {
                (Layer::Conv { stride: 1, groups: 1, .. }, stack) => {
                    stack.get_or_insert_with(|| Stack::new(step)).push(&architecture.name, step)?
                }
                (Layer::Conv { .. } | Layer::MaxPool { .. }, stack) => stacks.extend(stack.take()),
                (Layer::Relu | Layer::Tanh, Some(stack)) => stack.push_nonlinearity(),
                _ => {}
            }
        }
        stacks.extend(open);
        stacks.retain(|stack| stack.kernels.len() > 1);
        Ok(Self { network: architecture.name.clone(), stacks })
    }
}

impl Stack {
    fn new(first: &Step) -> Self {
        let none = Cost { weights: 0, multiply_adds: 0, nonlinearities: 0 };
        Stack {
            layers: [first.name.clone(), String::new()],
            kernels: Vec::new(),
            channels: [first.input.dims()[0]; 2],
            stack: none,
            single_kernel: 1,
            single: none,
        }
    }

    /// Adds a convolution to the stack.
    fn push(&mut self, network: &str, step: &Step) -> Result<()> {
        let (Layer::Conv { kernel, .. }, Shape::Map([out, h, w])) = (step.layer, step.output)
        else {
            return Ok(());
        };
        self.layers[1] = step.name.clone();
        self.kernels.push(kernel);
        self.channels[1] = out;
        self.stack.weights += step.parameters[0].elements();
        self.stack.multiply_adds += step.multiply_adds;
        self.single_kernel += kernel - 1;
        let place = format!("{network} {} .. {}", self.layers[0], self.layers[1]);
        let single = [self.single_kernel, self.single_kernel, self.channels[0], out];
        self.single.weights = product(&place, &single)?;
        self.single.multiply_adds = product(&place, &[&single[..], &[h, w]].concat())?;
        Ok(())
    }

    fn push_nonlinearity(&mut self) {
        self.stack.nonlinearities += 1;
        self.single.nonlinearities = 1;
    }
}

impl fmt::Display for SmallKernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: stacks of small kernels, and one large kernel with the same receptive field",
            self.network
        )?;
        if self.stacks.is_empty() {
            return writeln!(f, "there are no two convolutions without a pool in between");
        }
        let mut rows = vec![
            [
                "layers",
                "channels",
                "kernels",
                "weights",
                "multiply-adds",
                "non-linearities",
                "one / stack",
            ]
            .map(String::from),
        ];
        for stack in &self.stacks {
            let [from, to] = &stack.layers;
            let [before, after] = stack.channels;
            let ratio = stack.single.weights as f64 / stack.stack.weights as f64;
            let kernels: Vec<String> = stack.kernels.iter().map(|k| format!("{k}x{k}")).collect();
            rows.push([
                format!("{from} .. {to}"),
                format!("{before} -> {after}"),
                kernels.join(" "),
                with_separators(stack.stack.weights),
                with_separators(stack.stack.multiply_adds),
                stack.stack.nonlinearities.to_string(),
                String::new(),
            ]);
            rows.push([
                String::new(),
                String::new(),
                format!("{0}x{0}", stack.single_kernel),
                with_separators(stack.single.weights),
                with_separators(stack.single.multiply_adds),
                stack.single.nonlinearities.to_string(),
                format!("{ratio:.2} x"),
            ]);
        }
        write_aligned(f, &rows, 3)?;
        writeln!(
            f,
            "one / stack: weights of the large kernel, divided by those of the stack. With C channels in and out,\n\
             two 3x3 have 18 C² weights and one 5x5 has 25 C² (1.39 times as many); three 3x3 have 27 C² and\n\
             one 7x7 has 49 C² (1.81). A stack that also widens (64 -> 128) gains less, because the large\n\
             kernel has the few input channels of its first convolution."
        )
    }
}
