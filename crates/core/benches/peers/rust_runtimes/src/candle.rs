//! candle, whose ONNX reader copies the weights in each pass: so layer by layer, as its users write it.

use crate::layers::{self, Lrn, Operation, Values};
use crate::{Outcome, Pass, Task};
use candle_core::{Device, Result, Tensor};

/// A layer on its input.
type Function = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

pub fn load(task: &Task) -> Outcome<Pass> {
    let images = Tensor::from_slice(&task.images, &task.shape()[..], &Device::Cpu)?;
    let [features, classifier] = layers::read(task)?;
    let mut functions = Vec::new();
    for operation in features {
        functions.push(function(operation)?);
    }
    functions.push(Box::new(|map| map.flatten_from(1)));
    for operation in classifier {
        functions.push(function(operation)?);
    }
    Ok(Box::new(move || {
        let logits =
            functions.iter().try_fold(images.clone(), |input, function| function(&input))?;
        Ok(logits.flatten_all()?.to_vec1()?)
    }))
}

fn function(operation: Operation) -> Result<Function> {
    Ok(match operation {
        Operation::Conv { weight, bias, stride, padding, groups } => {
            let bias = tensor(bias)?.reshape((1, (), 1, 1))?;
            let weight = tensor(weight)?;
            Box::new(move |map| {
                map.conv2d(&weight, padding, stride, 1, groups)?.broadcast_add(&bias)
            })
        }
        Operation::Linear { weight, bias } => {
            let (weight, bias) = (tensor(weight)?.t()?, tensor(bias)?);
            Box::new(move |rows| rows.matmul(&weight)?.broadcast_add(&bias))
        }
        Operation::Relu => Box::new(Tensor::relu),
        Operation::MaxPool { kernel, stride } => {
            Box::new(move |map| map.max_pool2d_with_stride(kernel, stride))
        }
        Operation::Lrn(lrn) => Box::new(move |map| normalize(map, lrn)),
    })
}

fn tensor(Values { shape, values }: Values) -> Result<Tensor> {
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn normalize(map: &Tensor, Lrn { size, alpha, beta, k }: Lrn) -> Result<Tensor> {
    let channels = map.dim(1)?;
    let squares = map.sqr()?.pad_with_zeros(1, size / 2, size / 2)?;
    let mut sum = squares.narrow(1, 0, channels)?;
    for shift in 1..size {
        sum = (sum + squares.narrow(1, shift, channels)?)?;
    }
    map / sum.affine(alpha, k)?.powf(beta)?
}
