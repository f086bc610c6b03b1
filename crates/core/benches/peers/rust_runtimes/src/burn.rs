//! burn's own layers on its backend Flex.

use crate::layers::{self, Lrn, Operation, Values};
use crate::{Outcome, Pass, Task};
use burn_flex::Flex;
use burn_tensor::activation::relu;
use burn_tensor::module::{conv2d, linear, max_pool2d};
use burn_tensor::ops::ConvOptions;
use burn_tensor::{Device, Tensor, TensorData};

type Maps = Tensor<Flex, 4>;
type Rows = Tensor<Flex, 2>;

pub fn load(task: &Task) -> Outcome<Pass> {
    let images: Maps = tensor(Values { shape: task.shape().into(), values: task.images.clone() });
    let [features, classifier] = layers::read(task)?;
    let features = features.into_iter().map(on_maps).collect::<Outcome<Vec<_>>>()?;
    let classifier = classifier.into_iter().map(on_rows).collect::<Outcome<Vec<_>>>()?;
    Ok(Box::new(move || {
        let maps = features.iter().fold(images.clone(), |maps, function| function(maps));
        let logits = classifier.iter().fold(maps.flatten(1, 3), |rows, function| function(rows));
        logits.into_data().to_vec().map_err(|error| format!("{error:?}").into())
    }))
}

/// A layer of the convolutional part.
fn on_maps(operation: Operation) -> Outcome<Box<dyn Fn(Maps) -> Maps>> {
    Ok(match operation {
        Operation::Conv { weight, bias, stride, padding, groups } => {
            let (weight, bias): (Maps, Tensor<Flex, 1>) = (tensor(weight), tensor(bias));
            let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], groups);
            Box::new(move |x| conv2d(x, weight.clone(), Some(bias.clone()), options.clone()))
        }
        Operation::Relu => Box::new(relu),
        Operation::MaxPool { kernel, stride } => {
            Box::new(move |x| max_pool2d(x, [kernel; 2], [stride; 2], [0; 2], [1; 2], false))
        }
        Operation::Lrn(lrn) => Box::new(move |x| normalize(x, lrn)),
        Operation::Linear { .. } => {
            return Err("expected no linear layer among convolutions".into());
        }
    })
}

/// A layer of the linear part.
fn on_rows(operation: Operation) -> Outcome<Box<dyn Fn(Rows) -> Rows>> {
    Ok(match operation {
        Operation::Linear { weight, bias } => {
            // burn's weights are `[in, out]`.
            let weight: Rows = tensor(weight);
            let (weight, bias): (Rows, Tensor<Flex, 1>) = (weight.transpose(), tensor(bias));
            Box::new(move |x| linear(x, weight.clone(), Some(bias.clone())))
        }
        Operation::Relu => Box::new(relu),
        _ => return Err("expected linear layers and ReLUs behind the convolutions".into()),
    })
}

fn tensor<const D: usize>(Values { shape, values }: Values) -> Tensor<Flex, D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::<Flex>::default())
}

fn normalize(maps: Maps, Lrn { size, alpha, beta, k }: Lrn) -> Maps {
    let channels = maps.dims()[1];
    let (before, after) = (size / 2, size - 1 - size / 2);
    let [n, _, h, w] = maps.dims();
    let zeros = |channels| Maps::zeros([n, channels, h, w], &maps.device());
    let squares = Tensor::cat(vec![zeros(before), maps.clone() * maps.clone(), zeros(after)], 1);
    let sum = (1..size).fold(squares.clone().narrow(1, 0, channels), |sum, shift| {
        sum + squares.clone().narrow(1, shift, channels)
    });
    maps / (sum * alpha + k).powf_scalar(beta)
}
