//! The exponential moving average of the weights: [`Recipe::ema_decay`](super::Recipe::ema_decay).

use super::Trainable;
use super::sgd::is_in_memory;
use super::train_loop::Trainer;
use crate::Result;
use crate::backend;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};
use rayon::prelude::*;
use std::collections::VecDeque;

/// Values that a thread averages at once: in f32, 256 KiB of each of two tensors.
const CHUNK: usize = 1 << 16;

impl<B: AutodiffBackend, N: Trainable<B>> Trainer<B, N> {
    /// Takes the weights after a step into their average, which begins with those of the first step.
    pub fn update_average(&mut self, network: &N) -> Result<()> {
        let Some(decay) = self.state.recipe.ema_decay else { return Ok(()) };
        let current = network.valid();
        self.average = Some(match self.average.take() {
            None => current,
            Some(average) => moved_toward(average, &current, 1.0 - decay)?,
        });
        Ok(())
    }

    /// The network that is validated and saved: the average, if there is one. It does not change with later steps.
    pub fn evaluated(&self, network: &N) -> N::InnerModule {
        match &self.average {
            // A clone would share the running statistics.
            Some(average) => N::from_inner(average.clone()).valid(),
            None => network.valid(),
        }
    }
}

/// The average, moved toward the current network by a fraction of their distance: all weights, and the running statistics
/// of batch norm, as by torchvision's `ExponentialMovingAverage` and timm's `ModelEma`. A value that stays the same, such
/// as that of a frozen layer, is its own average to the bit.
fn moved_toward<B: Backend, M: Module<B>>(average: M, current: &M, fraction: f64) -> Result<M> {
    let mut values = Values::<B>(VecDeque::new());
    current.visit(&mut values);
    let mut moving = Moving { current: values.0, fraction, result: Ok(()) };
    let average = average.map(&mut moving);
    moving.result.map(|()| average)
}

/// All values of a module, flat, in the order in which burn visits them.
struct Values<B: Backend>(VecDeque<Tensor<B, 1>>);

impl<B: Backend> ModuleVisitor<B> for Values<B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.push_back(param.val().reshape([-1]));
    }
}

struct Moving<B: Backend> {
    current: VecDeque<Tensor<B, 1>>,
    fraction: f64,
    result: Result<()>,
}

impl<B: Backend> ModuleMapper<B> for Moving<B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let Some(current) = self.current.pop_front() else { return param };
        let (id, average, mapper) = param.consume();
        let (shape, flat) = (average.dims(), average.reshape([-1]));
        let moved = if is_in_memory(&flat) && is_in_memory(&current) {
            let (moved, result) = moved_in_place(flat, current, self.fraction as f32);
            self.result = std::mem::replace(&mut self.result, Ok(())).and(result);
            moved
        } else {
            let current = current.to_device(&flat.device());
            let distance = current - flat.clone();
            flat + distance * self.fraction
        };
        Param::from_mapped_value(id, moved.reshape(shape), mapper)
    }
}

/// In one pass, which overwrites the average unless its memory is shared.
fn moved_in_place<B: Backend>(
    average: Tensor<B, 1>,
    current: Tensor<B, 1>,
    fraction: f32,
) -> (Tensor<B, 1>, Result<()>) {
    let device = average.device();
    let mut average = average.into_data();
    let result = backend::with_values(current, |current| {
        // `is_in_memory` has checked that it is f32.
        let Ok(average) = average.as_mut_slice::<f32>() else { return Ok(()) };
        let chunks = average.par_chunks_mut(CHUNK).zip(current.par_chunks(CHUNK));
        chunks.for_each(|(average, current)| {
            let pairs = average.iter_mut().zip(current);
            pairs.for_each(|(average, current)| *average += fraction * (current - *average));
        });
        Ok(())
    });
    (Tensor::from_data(average, &device), result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::{Network, VggConfig};
    use burn_flex::Flex;

    fn values(network: &Network<Flex>) -> Vec<f64> {
        let parameters = network.architecture().parameters();
        let all = parameters.flat_map(|own| network.values(own, 0..own.shape[0]).expect("values"));
        all.map(f64::from).collect()
    }

    /// With batch norm, whose running statistics are parameters of the table.
    #[test]
    fn the_average_is_that_of_the_closed_form() {
        const DECAY: f64 = 0.8;
        let config = VggConfig::vgg11_bn().with_width(0.03).with_num_classes(3);
        let network = |step: usize| {
            let value =
                move |index: usize| ((index * 7919 + step * 31) % 1000) as f32 / 500.0 - 1.0;
            let values = |own: &crate::models::Parameter, rows: std::ops::Range<usize>| {
                let row = own.shape[1..].iter().product::<usize>();
                Ok((rows.start * row..rows.end * row).map(value).collect())
            };
            Network::<Flex>::from_values(config.clone(), &Default::default(), values)
        };
        let steps: Vec<_> = (0..6).map(|step| network(step).expect("a network")).collect();
        let mut average = steps[0].clone();
        for step in &steps[1..] {
            average = moved_toward(average, step, 1.0 - DECAY).expect("on a CPU");
        }
        let last = steps.len() - 1;
        let mut expected = vec![0.0; values(&average).len()];
        for step in 0..=last {
            let weight = if step == 0 { 1.0 } else { 1.0 - DECAY };
            let weight = weight * DECAY.powi((last - step) as i32);
            let values = values(&network(step).expect("a network"));
            expected.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
        }
        let apart = values(&average).into_iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let apart = apart.fold(0.0, f64::max);
        // Five roundings of values up to 1 in f32.
        assert!(apart < 5.0 * f64::from(f32::EPSILON), "{apart}");
        let same = moved_toward(average.clone(), &average, 0.3).expect("on a CPU");
        assert_eq!(values(&same), values(&average));
    }
}
