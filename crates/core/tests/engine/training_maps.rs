//! Batch norm, local response normalization and max pooling, forward and back, against their definitions.

use super::training::{expect_close, noise};
use alexnet_vgg_core::engine::Isa;
use alexnet_vgg_core::engine::training::{BatchNorm, Lrn, MaxPool, Statistics};

const EPSILON: f64 = 1e-5;

/// Output, mean and variance; gradients of the input, of gamma and of beta.
struct Normalized {
    maps: [Vec<f64>; 2],
    of_channels: [Vec<f64>; 4],
}

/// By the definition, of maps with `[images, channels, values]`.
fn normalize(
    [batch, channels, plane]: [usize; 3],
    [x, dy]: [&[f32]; 2],
    [gamma, beta]: [&[f32]; 2],
) -> Normalized {
    let mut maps = [vec![0.0; x.len()], vec![0.0; x.len()]];
    let mut of_channels = [const { Vec::new() }; 4];
    for channel in 0..channels {
        let at = |i: usize| (i / plane * channels + channel) * plane + i % plane;
        let count = batch * plane;
        let mean_of =
            |of: &dyn Fn(usize) -> f64| (0..count).map(|i| of(at(i))).sum::<f64>() / count as f64;
        let mean = mean_of(&|i| f64::from(x[i]));
        let variance = mean_of(&|i| (f64::from(x[i]) - mean).powi(2));
        let deviation = (variance + EPSILON).sqrt();
        let normal = |i: usize| (f64::from(x[i]) - mean) / deviation;
        let of_gradient = mean_of(&|i| f64::from(dy[i]));
        let of_product = mean_of(&|i| f64::from(dy[i]) * normal(i));
        let [gamma, beta] = [gamma[channel], beta[channel]].map(f64::from);
        for i in (0..count).map(at) {
            maps[0][i] = normal(i) * gamma + beta;
            maps[1][i] =
                gamma / deviation * (f64::from(dy[i]) - of_gradient - normal(i) * of_product);
        }
        let sums = [of_product, of_gradient].map(|mean| mean * count as f64);
        for (all, value) in of_channels.iter_mut().zip([mean, variance, sums[0], sums[1]]) {
            all.push(value);
        }
    }
    Normalized { maps, of_channels }
}

#[test]
fn batch_norm_equals_the_definition() {
    for sizes in [[1, 1, 1], [2, 3, 5], [1, 18, 169], [3, 5, 1025], [2, 64, 3136]] {
        let [batch, channels, plane] = sizes;
        let len = batch * channels * plane;
        // Far from 0, where a difference of two large sums would lose the variance.
        let x: Vec<f32> = noise(len, 1).into_iter().map(|value| 30.0 + value).collect();
        let (dy, gamma, beta) = (noise(len, 2), noise(channels, 3), noise(channels, 4));
        let expected = normalize(sizes, [&x, &dy], [&gamma, &beta]);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let norm = BatchNorm::new(batch, channels, plane, EPSILON);
            let norm = norm.and_then(|norm| norm.with_isa(isa)).expect("possible sizes");
            let mut maps = [vec![f32::NAN; len], vec![f32::NAN; len]];
            let statistics = norm.forward(&x, &gamma, &beta, &mut maps[0]).expect("lengths");
            let mut of_parameters = [vec![f32::NAN; channels], vec![f32::NAN; channels]];
            let [of_gamma, of_beta] = &mut of_parameters;
            let gradients = [&mut of_gamma[..], of_beta];
            norm.gradients([&x, &dy], &gamma, &statistics, &mut maps[1], gradients)
                .expect("lengths");
            let Statistics { mean, variance } = statistics;
            let [of_gamma, of_beta] = of_parameters;
            let names = ["mean", "variance", "gamma's gradient", "beta's gradient"];
            let found = [mean, variance, of_gamma, of_beta];
            for ((name, found), expected) in names.iter().zip(&found).zip(&expected.of_channels) {
                expect_close(name, &sizes, isa, found, expected);
            }
            let names = ["the output", "the input's gradient"];
            for ((name, found), expected) in names.iter().zip(&maps).zip(&expected.maps) {
                // Of one value there is no variance to divide by: the rounding of the mean is all that is left.
                if batch * plane > 1 {
                    expect_close(name, &sizes, isa, found, expected);
                }
            }
        }
    }
    let norm = BatchNorm::new(2, 2, 2, EPSILON).expect("possible sizes");
    let mut y = [0.0; 8];
    norm.scale_and_shift(&[1.0; 8], &[2.0, 3.0], &[0.0, 10.0], &mut y).expect("lengths");
    assert_eq!(y, [2.0, 2.0, 13.0, 13.0, 2.0, 2.0, 13.0, 13.0]);
    norm.scale_and_shift(&[f32::INFINITY; 8], &[2.0, 3.0], &[0.0; 2], &mut y).expect("lengths");
    assert_eq!(y, [f32::INFINITY; 8]);
    assert!(BatchNorm::new(1, 0, 1, EPSILON).is_err());
    let norm = BatchNorm::new(2, 1, 2, EPSILON).expect("possible sizes");
    assert!(norm.forward(&[0.0; 3], &[1.0], &[0.0], &mut [0.0; 4]).is_err());
}

#[test]
fn local_response_normalization_equals_the_definition() {
    for ([images, channels, plane], size, beta) in
        [([2, 7, 5], 5, 0.75), ([1, 96, 169], 5, 0.75), ([3, 2, 65], 9, 0.5), ([2, 1, 1], 1, 1.5)]
    {
        let lrn = Lrn { channels, plane, size, alpha: 0.4, beta: beta as f32, k: 2.0 };
        let len = images * channels * plane;
        let (x, dy) = (noise(len, 1), noise(len, 2));
        let mut expected = [vec![0.0; len], vec![0.0; len]];
        // The derivative of one output by one input, times the gradient of the output.
        for at in 0..len {
            let (channel, first) = (at / plane % channels, at - at / plane % channels * plane);
            let neighbors = channel.saturating_sub(size / 2)..channels.min(channel + size / 2 + 1);
            let value = |channel: usize| f64::from(x[first + channel * plane]);
            let squares: f64 = neighbors.clone().map(|channel| value(channel).powi(2)).sum();
            let scale = 2.0 + f64::from(0.4f32) * squares;
            expected[0][at] = value(channel) * scale.powf(-beta);
            for neighbor in neighbors {
                let direct = if neighbor == channel { scale.powf(-beta) } else { 0.0 };
                let slope = 2.0 * f64::from(0.4f32) * beta * scale.powf(-beta - 1.0);
                expected[1][first + neighbor * plane] +=
                    f64::from(dy[at]) * (direct - value(channel) * slope * value(neighbor));
            }
        }
        let mut found = [vec![f32::NAN; len], vec![f32::NAN; len]];
        lrn.forward(&x, &mut found[0]).expect("lengths");
        lrn.input_gradient(&x, &dy, &mut found[1]).expect("lengths");
        for (what, (found, expected)) in
            ["the output", "the input's gradient"].iter().zip(found.iter().zip(&expected))
        {
            expect_close(what, &lrn, Isa::best(), found, expected);
        }
        assert!(lrn.forward(&x[1..], &mut found[0]).is_err() || channels * plane == 1);
        assert!(Lrn { size: 4, ..lrn }.forward(&x, &mut found[0]).is_err());
    }
}

#[test]
fn max_pooling_takes_the_first_of_the_largest_and_nan_before_all() {
    for (kernel, stride) in [(2, 2), (3, 2), (3, 3), (2, 1), (4, 3), (1, 1)] {
        for size in [[4, 4], [13, 13], [9, 28], [5, 70]] {
            let pool = MaxPool::new(size, kernel, stride).expect("a possible pool");
            let [height, width] = pool.output_size();
            // Few different values, so that there are ties, and some that are NaN.
            let value = |value: f32| if value > 0.9 { f32::NAN } else { (value * 3.0).round() };
            let x: Vec<f32> = noise(2 * size[0] * size[1], 1).into_iter().map(value).collect();
            let mut y = vec![0.0; 2 * height * width];
            let mut places = vec![0; y.len()];
            pool.forward(&x, &mut y, &mut places);
            let gradient = noise(y.len(), 2);
            let mut expected = vec![0.0f64; x.len()];
            for (at, found) in y.iter().enumerate() {
                let (plane, row, column) = (at / (height * width), at / width % height, at % width);
                let input = |place: usize| {
                    let (row, column) =
                        (row * stride + place / kernel, column * stride + place % kernel);
                    (plane * size[0] + row) * size[1] + column
                };
                let is_larger = |a: f32, b: f32| a > b || a.is_nan() && !b.is_nan();
                let largest = (0..kernel * kernel).fold(0, |best, place| {
                    if is_larger(x[input(place)], x[input(best)]) { place } else { best }
                });
                assert_eq!(usize::from(places[at]), largest, "{kernel} {stride} {size:?} {at}");
                assert_eq!(found.to_bits(), x[input(largest)].to_bits());
                expected[input(largest)] += f64::from(gradient[at]);
            }
            let mut found = vec![f32::NAN; x.len()];
            pool.input_gradient(&places, &gradient, &mut found);
            expect_close(
                "the input's gradient",
                &(kernel, stride, size),
                Isa::best(),
                &found,
                &expected,
            );
        }
    }
}
