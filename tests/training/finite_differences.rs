//! The backward pass of every kind of layer against finite differences. They need a backend in f64, so they need
//! the feature `ndarray`.

use super::gradients::{Training, gradients, images, init, linear, loss, table, values};
use crate::formula;
use alexnet_vgg::backend::NdArray;
use alexnet_vgg::models::*;
use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;

/// The same code in f64.
type Exact = Autodiff<NdArray<f64>>;

/// The tolerance, as a fraction of the largest gradient of a tensor. Flex's f32 against f64: sums of up to some
/// hundred products, each with an error of 6e-8; the differences themselves, of steps of 1e-5 in f64, have an
/// error of 1e-9.
const TOLERANCE: f64 = 1e-5;
const STEP: f64 = 1e-5;

fn conv(out: usize, kernel: usize, stride: usize, padding: usize, groups: usize) -> Layer {
    Layer::Conv { out, kernel, stride, padding, groups, init: init() }
}

/// Moves one entry of one parameter, which is numbered in burn's order.
struct Move {
    parameter: usize,
    entry: usize,
    by: f64,
    seen: usize,
}

impl ModuleMapper<Exact> for Move {
    fn map_float<const D: usize>(
        &mut self,
        param: Param<Tensor<Exact, D>>,
    ) -> Param<Tensor<Exact, D>> {
        self.seen += 1;
        if self.seen - 1 == self.parameter {
            param.map(|tensor| moved(tensor, self.entry, self.by))
        } else {
            param
        }
    }
}

fn moved<const D: usize>(tensor: Tensor<Exact, D>, entry: usize, by: f64) -> Tensor<Exact, D> {
    let (device, mut data) = (tensor.device(), tensor.into_data());
    data.as_mut_slice::<f64>().expect("f64")[entry] += by;
    Tensor::from_data(data, &device)
}

/// Gradients of the images and of all parameters, by Flex in f32, against central differences in f64.
fn check(table: Table) {
    let shape = [3, table.input[0], table.input[1], table.input[2]];
    let fast: Network<Training> = formula::network(table.clone(), &Default::default());
    let (of_images, of_parameters) = gradients(&fast, images(shape));

    let network: Network<Exact> = formula::network(table.clone(), &Default::default());
    let images = images::<Exact>(shape);
    let difference = |at: &dyn Fn(f64) -> f64| (at(STEP) - at(-STEP)) / (2.0 * STEP);
    let mut worst = 0f64;
    let mut compare = |what: &str, ours: &[f64], loss_at: &dyn Fn(usize, f64) -> f64| {
        // Spread over the tensor, and always the first and the last.
        let count = ours.len().min(24);
        let entries = (0..count).map(|i| i * (ours.len() - 1) / (count - 1).max(1));
        let largest = ours.iter().fold(0f64, |largest, g| largest.max(g.abs()));
        // A bias before batch norm has none; anything else must have a gradient to speak of.
        let without = table.features.contains(&Layer::BatchNorm) && what == "parameter 1";
        assert!(without || largest > 1e-3, "{table:?}: {what}: a largest gradient of {largest}");
        for entry in entries {
            let theirs = difference(&|by| loss_at(entry, by));
            let error = (ours[entry] - theirs).abs() / largest.max(0.1);
            worst = worst.max(error);
            assert!(
                error <= TOLERANCE,
                "{table:?}: {what}[{entry}]: {} is not {theirs}, {error:.1e} of the largest",
                ours[entry]
            );
        }
    };
    compare("images", &of_images, &|entry, by| {
        values(loss(&network, moved(images.clone(), entry, by)))[0]
    });
    for (parameter, ours) in of_parameters.iter().enumerate() {
        let Some(ours) = ours else { continue };
        compare(&format!("parameter {parameter}"), ours, &|entry, by| {
            let moved = network.clone().map(&mut Move { parameter, entry, by, seen: 0 });
            values(loss(&moved, images.clone()))[0]
        });
    }
    let with_gradient = of_parameters.iter().flatten().count();
    let parameters = network.architecture().parameters();
    assert_eq!(with_gradient, parameters.filter(|p| p.role.is_trained()).count());
    eprintln!("{:?}: {worst:.1e} of the largest", table.features.first());
}

#[test]
fn convolutions() {
    for (layer, input, output) in [
        (conv(4, 3, 1, 1, 1), [3, 6, 5], [6, 5]),
        (conv(4, 3, 1, 0, 1), [3, 6, 5], [4, 3]),
        (conv(4, 1, 1, 0, 1), [3, 4, 4], [4, 4]),
        (conv(4, 5, 1, 2, 2), [6, 6, 5], [6, 5]),
        // Strides that leave out the last columns, as AlexNet's first layer does at 224 pixels.
        (conv(4, 3, 2, 1, 2), [4, 6, 8], [3, 4]),
        (conv(3, 11, 4, 2, 1), [3, 24, 19], [5, 4]),
        // More channels and places than one block of any kernel has.
        (conv(40, 3, 1, 1, 1), [36, 24, 24], [24, 24]),
    ] {
        check(table(&[layer], input, output, &[linear(4)]));
    }
}

#[test]
fn normalizations() {
    // Constants at which the normalization matters.
    for beta in [0.75, 0.6] {
        let lrn = Layer::Lrn { size: 5, alpha: 0.2, beta, k: 1.0, groups: 1 };
        check(table(&[conv(8, 1, 1, 0, 1), lrn], [3, 3, 4], [3, 4], &[linear(4)]));
        check(table(&[lrn], [3, 3, 4], [3, 4], &[linear(4)]));
        let grouped = Layer::Lrn { size: 5, alpha: 0.2, beta, k: 1.0, groups: 2 };
        check(table(&[conv(8, 1, 1, 0, 1), grouped], [3, 3, 4], [3, 4], &[linear(4)]));
    }
    check(table(&[conv(4, 3, 1, 1, 1), Layer::BatchNorm], [3, 5, 4], [5, 4], &[linear(4)]));
}

#[test]
fn pools() {
    let max = |kernel, stride| Layer::MaxPool { kernel, stride };
    // Apart, overlapping, and with a row and a column that fit no window.
    for (layer, input, output) in [
        (max(2, 2), [2, 6, 6], [3, 3]),
        (max(3, 2), [2, 7, 7], [3, 3]),
        (max(3, 2), [2, 8, 6], [3, 2]),
    ] {
        check(table(&[layer], input, output, &[linear(4)]));
    }
    // Adaptive: to fewer cells, to as many, to more, and mixed.
    for pool in [[2, 3], [5, 4], [7, 7], [2, 6], [1, 1]] {
        check(table(&[], [2, 5, 4], pool, &[linear(4)]));
    }
}

#[test]
fn activations_and_linear_layers() {
    for activation in [Layer::Relu, Layer::Tanh, Layer::Dropout { p: 0.0 }] {
        check(table(&[conv(4, 3, 1, 1, 1), activation], [3, 4, 4], [4, 4], &[linear(4)]));
        check(table(&[], [3, 4, 4], [4, 4], &[linear(6), activation, linear(4)]));
    }
}
