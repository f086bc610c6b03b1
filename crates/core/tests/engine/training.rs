//! Convolutions, linear layers and their gradients against sums by the definition in f64, on awkward shapes.

use alexnet_vgg_core::engine::Isa;
use alexnet_vgg_core::engine::training::{Convolution, ConvolutionShape, Linear};
use proptest::prelude::*;

/// The largest difference, relative to the largest value: as for all operations of training.
const TOLERANCE: f64 = 1e-5;

fn input_len(shape: &ConvolutionShape) -> usize {
    shape.batch * shape.inputs * shape.size[0] * shape.size[1]
}

fn weight_len(shape: &ConvolutionShape) -> usize {
    shape.outputs * shape.inputs / shape.groups * shape.kernel * shape.kernel
}

fn output_len(shape: &ConvolutionShape) -> usize {
    let [height, width] = shape.output_size().expect("a possible shape");
    shape.batch * shape.outputs * height * width
}

/// Every product of the definition: calls `visit` with the indices of its input, its weight and its output.
fn products(shape: &ConvolutionShape, mut visit: impl FnMut(usize, usize, usize)) {
    let ConvolutionShape { batch, inputs, outputs, size, kernel, stride, padding, groups } = *shape;
    let [height, width] = shape.output_size().expect("a possible shape");
    let (group_inputs, group_outputs) = (inputs / groups, outputs / groups);
    for (image, output) in (0..batch).flat_map(|n| (0..outputs).map(move |k| (n, k))) {
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            for input in 0..group_inputs {
                for (row, column) in (0..kernel).flat_map(|r| (0..kernel).map(move |s| (r, s))) {
                    let (from_y, from_x) = (y * stride + row, x * stride + column);
                    let inside = |at: usize, side: usize| at >= padding && at < side + padding;
                    if inside(from_y, size[0]) && inside(from_x, size[1]) {
                        let channel = output / group_outputs * group_inputs + input;
                        let plane = (image * inputs + channel) * size[0] + from_y - padding;
                        visit(
                            plane * size[1] + from_x - padding,
                            ((output * group_inputs + input) * kernel + row) * kernel + column,
                            ((image * outputs + output) * height + y) * width + x,
                        );
                    }
                }
            }
        }
    }
}

/// Values between -1 and 1, different for each seed.
pub fn noise(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub fn expect_close(
    what: &str,
    shape: &impl std::fmt::Debug,
    isa: Isa,
    found: &[f32],
    expected: &[f64],
) {
    let largest =
        expected.iter().fold(f64::MIN_POSITIVE, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let error = (f64::from(*found) - expected).abs() / largest;
        assert!(
            error <= TOLERANCE,
            "{what} of {shape:?} on {isa}: {found}, not {expected}: {error:.1e}"
        );
    }
}

fn check(shape: ConvolutionShape) {
    let [height, width] = shape.output_size().expect("a possible shape");
    let output_len = output_len(&shape);
    let input = noise(input_len(&shape), 1);
    let weight = noise(weight_len(&shape), 2);
    let bias = noise(shape.outputs, 3);
    let gradient = noise(output_len, 4);
    let mut expected = [
        (0..output_len).map(|at| f64::from(bias[at / (height * width) % shape.outputs])).collect(),
        vec![0.0f64; input.len()],
        vec![0.0; weight.len()],
    ];
    products(&shape, |i, w, o| {
        let [x, v, dy] = [input[i], weight[w], gradient[o]].map(f64::from);
        expected[0][o] += x * v;
        expected[1][i] += v * dy;
        expected[2][w] += x * dy;
    });
    let mut bias_gradient = vec![0.0; shape.outputs];
    for (at, value) in gradient.iter().enumerate() {
        bias_gradient[at / (height * width) % shape.outputs] += f64::from(*value);
    }
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let convolution =
            Convolution::new(shape).and_then(|it| it.with_isa(isa)).expect("supported");
        // Twice: the second call uses the memory of the first.
        for _ in 0..2 {
            let mut found = vec![f32::NAN; output_len];
            convolution.forward(&input, &weight, &bias, &mut found).expect("memory");
            expect_close("the output", &shape, isa, &found, &expected[0]);
            if convolution.has_input_gradient() {
                let mut found = vec![f32::NAN; input.len()];
                convolution.input_gradient(&gradient, &weight, &mut found).expect("memory");
                expect_close("the input's gradient", &shape, isa, &found, &expected[1]);
            }
            let mut found = vec![f32::NAN; weight.len()];
            convolution.weight_gradient(&input, &gradient, &mut found).expect("memory");
            expect_close("the weights' gradient", &shape, isa, &found, &expected[2]);
            let mut found = vec![f32::NAN; shape.outputs];
            convolution.bias_gradient(&gradient, &mut found).expect("memory");
            expect_close("the bias's gradient", &shape, isa, &found, &bias_gradient);
        }
    }
}

#[test]
fn awkward_shapes_equal_the_definition() {
    let shape = |batch,
                 [inputs, outputs]: [usize; 2],
                 size,
                 [kernel, stride, padding, groups]: [usize; 4]| {
        ConvolutionShape { batch, inputs, outputs, size, kernel, stride, padding, groups }
    };
    for shape in [
        shape(1, [3, 18], [13, 14], [3, 1, 1, 1]),
        shape(2, [18, 40], [27, 13], [3, 1, 1, 1]),
        shape(3, [32, 48], [14, 14], [3, 1, 1, 1]),
        shape(2, [32, 64], [7, 9], [3, 1, 1, 2]),
        shape(2, [48, 96], [6, 5], [3, 1, 1, 3]),
        shape(2, [3, 24], [35, 31], [11, 4, 2, 1]),
        shape(1, [32, 20], [13, 27], [5, 1, 2, 1]),
        shape(2, [64, 32], [9, 9], [5, 1, 2, 2]),
        shape(2, [17, 33], [9, 8], [3, 2, 1, 1]),
        shape(3, [20, 35], [5, 6], [1, 1, 0, 1]),
        shape(1, [16, 16], [3, 3], [3, 1, 0, 1]),
        shape(1, [1, 1], [1, 1], [1, 1, 0, 1]),
    ] {
        check(shape);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_shape_equals_the_definition(
        batch in 1usize..4, inputs in 1usize..40, outputs in 1usize..40, height in 1usize..20, width in 1usize..20,
        kernel in 1usize..6, stride in 1usize..4, padding in 0usize..3,
    ) {
        let size = [height, width];
        let shape = ConvolutionShape { batch, inputs, outputs, size, kernel, stride, padding, groups: 1 };
        prop_assume!(shape.is_supported());
        check(shape);
    }
}

#[test]
fn the_bits_are_the_same_on_any_number_of_threads() {
    let shape = ConvolutionShape {
        batch: 3,
        inputs: 32,
        outputs: 48,
        size: [28, 28],
        kernel: 3,
        stride: 1,
        padding: 1,
        groups: 1,
    };
    let convolution = Convolution::new(shape).expect("a supported shape");
    let (input, weight) = (noise(input_len(&shape), 1), noise(weight_len(&shape), 2));
    let gradient = noise(output_len(&shape), 3);
    let results: Vec<Vec<f32>> = (1..=4)
        .map(|threads| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let mut results = vec![0.0; gradient.len() + input.len() + weight.len()];
                let (output, rest) = results.split_at_mut(gradient.len());
                let (input_gradient, weight_gradient) = rest.split_at_mut(input.len());
                convolution.forward(&input, &weight, &[0.5; 48], output).expect("memory");
                convolution.input_gradient(&gradient, &weight, input_gradient).expect("memory");
                convolution.weight_gradient(&input, &gradient, weight_gradient).expect("memory");
                results
            })
        })
        .collect();
    for other in &results[1..] {
        assert!(other.iter().zip(&results[0]).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let shape = ConvolutionShape {
        batch: 1,
        inputs: 32,
        outputs: 32,
        size: [4, 4],
        kernel: 3,
        stride: 1,
        padding: 1,
        groups: 1,
    };
    for wrong in [
        ConvolutionShape { batch: 0, ..shape },
        ConvolutionShape { groups: 3, ..shape },
        ConvolutionShape { groups: 4, ..shape },
        ConvolutionShape { size: [0, 4], ..shape },
        ConvolutionShape { kernel: 7, ..shape },
        ConvolutionShape { kernel: 1, padding: 1, ..shape },
    ] {
        assert!(Convolution::new(wrong).is_err(), "{wrong:?}");
    }
    let convolution = Convolution::new(shape).expect("a supported shape");
    let (map, weight) = (vec![0.0; 512], vec![0.0; 32 * 32 * 9]);
    assert!(convolution.forward(&map, &weight, &[0.0; 31], &mut map.clone()).is_err());
    assert!(convolution.weight_gradient(&map[1..], &map, &mut weight.clone()).is_err());
}

/// Of `[batch, inputs, outputs]`.
fn check_linear(sizes: [usize; 3]) {
    let [batch, inputs, outputs] = sizes;
    let input = noise(batch * inputs, 1);
    let weight = noise(inputs * outputs, 2);
    let gradient = noise(batch * outputs, 3);
    let mut expected =
        [batch * outputs, batch * inputs, inputs * outputs].map(|len| vec![0.0f64; len]);
    for (n, o) in (0..batch).flat_map(|n| (0..outputs).map(move |o| (n, o))) {
        for i in 0..inputs {
            let [x, w, dy] =
                [input[n * inputs + i], weight[o * inputs + i], gradient[n * outputs + o]]
                    .map(f64::from);
            expected[0][n * outputs + o] += x * w;
            expected[1][n * inputs + i] += w * dy;
            expected[2][o * inputs + i] += x * dy;
        }
    }
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        let linear = Linear::new(batch, inputs, outputs).and_then(|it| it.with_isa(isa));
        let linear = linear.expect("possible sizes");
        // Twice: the second call uses the memory of the first.
        for _ in 0..2 {
            let mut found = expected.each_ref().map(|expected| vec![f32::NAN; expected.len()]);
            linear.forward(&input, &weight, &mut found[0]).expect("memory");
            linear.input_gradient(&gradient, &weight, &mut found[1]).expect("memory");
            linear.weight_gradient(&input, &gradient, &mut found[2]).expect("memory");
            for (what, (found, expected)) in
                ["an output", "an input's gradient", "a weight's gradient"]
                    .iter()
                    .zip(found.iter().zip(&expected))
            {
                expect_close(what, &sizes, isa, found, expected);
            }
        }
    }
}

#[test]
fn linear_layers_equal_the_definition() {
    for sizes in
        [[1, 16, 1], [8, 4096, 100], [4, 528, 66], [33, 1040, 130], [5, 48, 7], [2, 32, 5000]]
    {
        check_linear(sizes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn linear_layers_of_any_size_equal_the_definition(batch in 1usize..20, blocks in 1usize..80, outputs in 1usize..150) {
        check_linear([batch, 16 * blocks, outputs]);
    }
}

#[test]
fn linear_layers_have_the_same_bits_on_any_number_of_threads_and_in_any_batch() {
    let [batch, inputs, outputs] = [7, 1040, 130];
    let (input, weight) = (noise(batch * inputs, 1), noise(inputs * outputs, 2));
    let gradient = noise(batch * outputs, 3);
    let results: Vec<[Vec<f32>; 3]> = (1..=4)
        .map(|threads| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| {
                let linear = Linear::new(batch, inputs, outputs).expect("possible sizes");
                let mut found =
                    [gradient.len(), input.len(), weight.len()].map(|len| vec![0.0; len]);
                linear.forward(&input, &weight, &mut found[0]).expect("memory");
                linear.input_gradient(&gradient, &weight, &mut found[1]).expect("memory");
                linear.weight_gradient(&input, &gradient, &mut found[2]).expect("memory");
                found
            })
        })
        .collect();
    assert!(results.iter().all(|one| *one == results[0]));
    let alone = Linear::new(1, inputs, outputs).expect("possible sizes");
    for (image, expected) in results[0][0].chunks(outputs).enumerate() {
        let mut found = vec![0.0; outputs];
        alone.forward(&input[image * inputs..][..inputs], &weight, &mut found).expect("memory");
        assert_eq!(found, expected, "image {image}");
    }
}

#[test]
fn wrong_sizes_of_linear_layers_are_errors() {
    for [batch, inputs, outputs] in [[0, 16, 1], [1, 0, 1], [1, 16, 0], [1, 17, 1]] {
        assert!(Linear::new(batch, inputs, outputs).is_err(), "{batch} {inputs} {outputs}");
    }
    let linear = Linear::new(2, 16, 3).expect("possible sizes");
    let (x, w, y) = (vec![0.0; 32], vec![0.0; 48], vec![0.0; 6]);
    assert!(linear.forward(&x[1..], &w, &mut y.clone()).is_err());
    assert!(linear.input_gradient(&y, &w[1..], &mut x.clone()).is_err());
    assert!(linear.weight_gradient(&x, &y[1..], &mut w.clone()).is_err());
}
