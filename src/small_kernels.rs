//! VGG's argument for small kernels (section 2.3 of the paper), with a network's own numbers.
//!
//! A stack of `n` 3×3 convolutions sees as far as a single one of side `2n + 1`, but has fewer
//! weights, fewer multiplications and `n` non-linearities instead of one.

use crate::error::Result;
use crate::models::{Architecture, Layer, Part, Shape, Step, product};
use crate::summary::{grouped, write_aligned};
use serde::Serialize;
use std::fmt;

/// The stacks of a network, beside what would replace each.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SmallKernels {
    /// Name of the network.
    pub network: String,
    /// Its stacks, in forward order. Empty for a network without any.
    pub stacks: Vec<Stack>,
}

/// A run of convolutions of stride 1 and one group without a pool in between, and the single
/// convolution with the same receptive field.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stack {
    /// Name of the first and of the last convolution.
    pub layers: [String; 2],
    /// Sides of the kernels.
    pub kernels: Vec<usize>,
    /// Channels going in and coming out.
    pub channels: [usize; 2],
    /// Cost of the stack.
    pub stack: Cost,
    /// Side of the one kernel that sees as far.
    pub single_kernel: usize,
    /// Cost of the convolution with that kernel.
    pub single: Cost,
}

/// What a stack or its replacement costs for one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Weights, biases left out.
    pub weights: u64,
    /// Multiplications, each with its addition.
    pub multiply_adds: u64,
    /// Non-linearities after a convolution.
    pub nonlinearities: usize,
}

impl SmallKernels {
    /// Finds the stacks of at least two convolutions, for one image of `[height, width]`.
    ///
    /// # Errors
    /// As for [`Architecture::walk`].
    pub fn new(architecture: &Architecture, input: [usize; 2]) -> Result<Self> {
        let steps = architecture.walk(input)?;
        let features = steps.iter().filter(|step| step.part == Part::Features);
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

    /// The next convolution of the stack.
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
            "{}: stacks of small kernels against one large kernel that sees as far",
            self.network
        )?;
        if self.stacks.is_empty() {
            return writeln!(f, "no two convolutions follow each other without a pool");
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
                grouped(stack.stack.weights),
                grouped(stack.stack.multiply_adds),
                stack.stack.nonlinearities.to_string(),
                String::new(),
            ]);
            rows.push([
                String::new(),
                String::new(),
                format!("{0}x{0}", stack.single_kernel),
                grouped(stack.single.weights),
                grouped(stack.single.multiply_adds),
                stack.single.nonlinearities.to_string(),
                format!("{ratio:.2} x"),
            ]);
        }
        write_aligned(f, &rows, 3)?;
        writeln!(
            f,
            "one / stack: weights of the large kernel for each of the stack's. With C channels in and out two 3x3\n\
             have 18 C² weights and one 5x5 has 25 C², three have 27 C² and one 7x7 has 49 C²: 1.39 and 1.81.\n\
             A stack that also widens (64 -> 128) gains less: the one stands where the channels are few."
        )
    }
}
