//! The time of each layer's kernels in a step of training.

use crate::cli;
use crate::machine::Machine;
use alexnet_vgg_core::Result;
use alexnet_vgg_core::architecture::{Architecture, Layer, Shape, Step};
use alexnet_vgg_core::engine::training::{
    BatchNorm, Convolution, ConvolutionShape, Linear, Lrn, MaxPool, relu, relu_gradient,
};
use std::time::{Duration, Instant};

/// Forward, back to the input, back to the weights; `None` where a layer has no kernel for it.
type Times = [Option<Duration>; 3];

/// Measures the layers that have kernels for training.
pub fn explain(
    architecture: &Architecture,
    batch: usize,
    passes: u32,
    machine: &Machine,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    cli::print(format!(
        "{}, batch {batch}, {}, a step of training\n\n{:<12} {:<36} {:>17} {:>17} {:>17}\n",
        architecture.name, machine.isa, "layer", "", "forward", "to the input", "to the weights",
    ))?;
    let mut total = [Duration::ZERO; 3];
    for (index, step) in architecture.steps().iter().enumerate() {
        let mut times = measure(step, batch, passes)?;
        if index == 0 {
            // Nobody asks for the gradient of the images.
            times[1] = None;
        }
        if times == [None; 3] {
            continue;
        }
        let columns = times.map(|time| column(step.multiply_adds * batch as u64, time, machine));
        cli::print(format!(
            "{:<12} {:<36} {}\n",
            step.name,
            step.layer.to_string(),
            columns.join(" ")
        ))?;
        for (total, time) in total.iter_mut().zip(times) {
            *total += time.unwrap_or_default();
        }
    }
    let [forward, input, weights] = total.map(|time| 1e3 * time.as_secs_f64());
    cli::print(format!(
        "\n{forward:.1} + {input:.1} + {weights:.1} = {:.1} ms: the fastest of {passes} passes.\nThe percentage is of \
         the multiplications that {} can do in this time, counted by definition: Winograd's algorithm does \
         fewer, and passes 100%.\n",
        forward + input + weights,
        machine.cores(),
    ))
}

fn column(multiplications: u64, time: Option<Duration>, machine: &Machine) -> String {
    let Some(time) = time else { return format!("{:>17}", "") };
    let share = match machine.utilization(multiplications, time) {
        Some(percent) if multiplications > 0 => format!("{percent:.0}%"),
        _ => String::new(),
    };
    format!("{:>8.2} ms {share:>5}", 1e3 * time.as_secs_f64())
}

fn measure(step: &Step, batch: usize, passes: u32) -> Result<Times> {
    let values = |len: u64| vec![0.01; len as usize];
    let [x, y] = [step.input, step.output].map(|it| values(batch as u64 * it.elements()));
    let parameters = step.parameters.iter().map(|it| values(it.elements())).collect();
    let mut layer = Measured { passes, x, y, parameters };
    match (step.layer, step.input) {
        (Layer::Conv { out, kernel, stride, padding, groups, .. }, Shape::Map([inputs, h, w])) => {
            let (outputs, size) = (out, [h, w]);
            layer.convolution(ConvolutionShape {
                batch,
                inputs,
                outputs,
                size,
                kernel,
                stride,
                padding,
                groups,
            })
        }
        (Layer::Linear { out, .. }, input) => layer.linear([batch, input.elements() as usize, out]),
        (Layer::Relu, _) => layer.relu(),
        (Layer::Lrn { size, alpha, beta, k, groups }, Shape::Map([channels, h, w])) => {
            let [alpha, beta, k] = [alpha, beta, k].map(|value| value as f32);
            let (channels, plane) = (channels / groups, h * w);
            layer.lrn(&Lrn { channels, plane, size, alpha, beta, k })
        }
        (Layer::BatchNorm, Shape::Map([channels, h, w])) => {
            layer.batch_norm(&BatchNorm::new(batch, channels, h * w, 1e-5)?)
        }
        (Layer::MaxPool { kernel, stride }, Shape::Map([_, h, w])) => {
            layer.max_pool(&MaxPool::new([h, w], kernel, stride)?)
        }
        _ => Ok([None; 3]),
    }
}

/// A layer's input and output, of a whole batch, and its parameters.
struct Measured {
    passes: u32,
    x: Vec<f32>,
    y: Vec<f32>,
    parameters: Vec<Vec<f32>>,
}

impl Measured {
    fn convolution(&mut self, shape: ConvolutionShape) -> Result<Times> {
        let [weight, bias] = self.parameters.as_mut_slice() else { return Ok([None; 3]) };
        if !shape.is_supported() {
            return Ok([None; 3]);
        }
        let (convolution, x, y) = (Convolution::new(shape)?, &mut self.x, &mut self.y);
        let forward = fastest(self.passes, || convolution.forward(x, weight, bias, y))?;
        let input = if convolution.has_input_gradient() {
            Some(fastest(self.passes, || convolution.input_gradient(y, weight, x))?)
        } else {
            None
        };
        let weights = fastest(self.passes, || convolution.weight_gradient(x, y, weight))?;
        Ok([Some(forward), input, Some(weights)])
    }

    fn linear(&mut self, [batch, inputs, outputs]: [usize; 3]) -> Result<Times> {
        let Some(weight) = self.parameters.first_mut() else { return Ok([None; 3]) };
        let Ok(linear) = Linear::new(batch, inputs, outputs) else { return Ok([None; 3]) };
        let (x, y) = (&mut self.x, &mut self.y);
        let forward = fastest(self.passes, || linear.forward(x, weight, y))?;
        let input = fastest(self.passes, || linear.input_gradient(y, weight, x))?;
        let weights = fastest(self.passes, || linear.weight_gradient(x, y, weight))?;
        Ok([forward, input, weights].map(Some))
    }

    fn relu(&mut self) -> Result<Times> {
        let (x, y) = (&mut self.x, &mut self.y);
        let forward = fastest(self.passes, || {
            relu(x, y);
            Ok(())
        })?;
        let dy = y.clone();
        let input = fastest(self.passes, || {
            relu_gradient(&dy, y);
            Ok(())
        })?;
        Ok([Some(forward), Some(input), None])
    }

    fn lrn(&mut self, lrn: &Lrn) -> Result<Times> {
        let (x, y) = (&mut self.x, &mut self.y);
        let forward = fastest(self.passes, || lrn.forward(x, y))?;
        let mut dx = y.clone();
        let input = fastest(self.passes, || lrn.input_gradient(x, y, &mut dx))?;
        Ok([Some(forward), Some(input), None])
    }

    /// Its gradients are computed together, and count as those of the input.
    fn batch_norm(&mut self, norm: &BatchNorm) -> Result<Times> {
        let [gamma, beta, ..] = self.parameters.as_mut_slice() else { return Ok([None; 3]) };
        let (x, y) = (&mut self.x, &mut self.y);
        let statistics = norm.forward(x, gamma, beta, y)?;
        let forward = fastest(self.passes, || norm.forward(x, gamma, beta, y).map(drop))?;
        let (mut dx, mut of_gamma) = (y.clone(), gamma.clone());
        let input = fastest(self.passes, || {
            norm.gradients([x, y], gamma, &statistics, &mut dx, [&mut of_gamma, beta])
        })?;
        Ok([Some(forward), Some(input), None])
    }

    fn max_pool(&mut self, pool: &MaxPool) -> Result<Times> {
        let (x, y) = (&mut self.x, &mut self.y);
        let mut places = vec![0; y.len()];
        let forward = fastest(self.passes, || {
            pool.forward(x, y, &mut places);
            Ok(())
        })?;
        let input = fastest(self.passes, || {
            pool.input_gradient(&places, y, x);
            Ok(())
        })?;
        Ok([Some(forward), Some(input), None])
    }
}

fn fastest(passes: u32, mut pass: impl FnMut() -> Result<()>) -> Result<Duration> {
    let mut fastest = Duration::MAX;
    for _ in 0..passes {
        let start = Instant::now();
        pass()?;
        fastest = fastest.min(start.elapsed());
    }
    Ok(fastest)
}
