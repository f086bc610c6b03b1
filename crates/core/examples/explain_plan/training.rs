//! The time of each layer's kernels in a step of training.

use crate::cli;
use crate::machine::Machine;
use alexnet_vgg_core::Result;
use alexnet_vgg_core::architecture::{Architecture, Layer, Shape, Step};
use alexnet_vgg_core::engine::training::{
    Convolution, ConvolutionShape, Linear, MaxPool, relu, relu_gradient,
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
        "{}, batch {batch}, {}, a step of training\n\n{:<12} {:<28} {:>17} {:>17} {:>17}\n",
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
            "{:<12} {:<28} {}\n",
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
         the multiplications that {} cores can do in this time, counted by definition: Winograd's algorithm does \
         fewer, and passes 100 %.\n",
        forward + input + weights,
        machine.cores,
    ))
}

fn column(multiplications: u64, time: Option<Duration>, machine: &Machine) -> String {
    let Some(time) = time else { return format!("{:>17}", "") };
    let share = match machine.utilization(multiplications, time) {
        Some(percent) if multiplications > 0 => format!("{percent:.0} %"),
        _ => String::new(),
    };
    format!("{:>8.2} ms {share:>5}", 1e3 * time.as_secs_f64())
}

fn measure(step: &Step, batch: usize, passes: u32) -> Result<Times> {
    let fastest = |pass: &mut dyn FnMut() -> Result<()>| -> Result<Option<Duration>> {
        let mut fastest = Duration::MAX;
        for _ in 0..passes {
            let start = Instant::now();
            pass()?;
            fastest = fastest.min(start.elapsed());
        }
        Ok(Some(fastest))
    };
    let values = |len: u64| vec![0.01; len as usize];
    let [mut x, mut y] = [step.input, step.output].map(|it| values(batch as u64 * it.elements()));
    let mut parameters = step.parameters.iter().map(|it| values(it.elements()));
    match (step.layer, step.input) {
        (Layer::Conv { out, kernel, stride, padding, groups, .. }, Shape::Map([inputs, h, w])) => {
            let shape = ConvolutionShape {
                batch,
                inputs,
                outputs: out,
                size: [h, w],
                kernel,
                stride,
                padding,
                groups,
            };
            if !shape.is_supported() {
                return Ok([None; 3]);
            }
            let convolution = Convolution::new(shape)?;
            let (mut weight, bias) =
                (parameters.next().unwrap_or_default(), parameters.next().unwrap_or_default());
            let forward = fastest(&mut || convolution.forward(&x, &weight, &bias, &mut y))?;
            let input = if convolution.has_input_gradient() {
                fastest(&mut || convolution.input_gradient(&y, &weight, &mut x))?
            } else {
                None
            };
            let weights = fastest(&mut || convolution.weight_gradient(&x, &y, &mut weight))?;
            Ok([forward, input, weights])
        }
        (Layer::Linear { out, .. }, input) => {
            let Ok(linear) = Linear::new(batch, input.elements() as usize, out) else {
                return Ok([None; 3]);
            };
            let mut weight = parameters.next().unwrap_or_default();
            Ok([
                fastest(&mut || linear.forward(&x, &weight, &mut y))?,
                fastest(&mut || linear.input_gradient(&y, &weight, &mut x))?,
                fastest(&mut || linear.weight_gradient(&x, &y, &mut weight))?,
            ])
        }
        (Layer::Relu, _) => {
            let mut dx = x.clone();
            Ok([
                fastest(&mut || Ok(relu(&x, &mut y)))?,
                fastest(&mut || Ok(relu_gradient(&y, &x, &mut dx)))?,
                None,
            ])
        }
        (Layer::MaxPool { kernel, stride }, Shape::Map([_, h, w])) => {
            let pool = MaxPool::new([h, w], kernel, stride)?;
            let mut places = vec![0; y.len()];
            Ok([
                fastest(&mut || Ok(pool.forward(&x, &mut y, &mut places)))?,
                fastest(&mut || Ok(pool.input_gradient(&places, &y, &mut x)))?,
                None,
            ])
        }
        _ => Ok([None; 3]),
    }
}
