//! Random initial weights without a tensor framework: for untrained networks, examples and benchmarks.

use super::init::Fill;
use super::step::Parameter;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;
use std::f64::consts::TAU;
use std::ops::Range;

/// Random initial weights, distributed as each parameter's [`Fill`] says and reproducible from a seed.
///
/// Every row of a parameter has its own random stream, so the values do not depend on the chunks in which
/// they are requested. (Bit for bit on one platform: logarithms and cosines are computed by the system's math
/// library.) The values are not those that PyTorch or burn would draw.
///
/// ```
/// use alexnet_vgg_core::architecture::{FreshWeights, VggConfig};
///
/// let vgg16 = VggConfig::vgg16().with_width(0.1).architecture()?;
/// let weights = FreshWeights::new(0);
/// for parameter in vgg16.parameters() {
///     for rows in parameter.row_chunks() {
///         let values = weights.rows(parameter, rows.clone());
///         let row_length: usize = parameter.shape[1..].iter().product();
///         assert_eq!(values.len(), rows.len() * row_length);
///     }
/// }
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
///
/// With an engine, it makes an untrained network:
///
/// ```
/// use alexnet_vgg_core::architecture::{AlexNetConfig, FreshWeights};
/// use alexnet_vgg_core::engine::{CompileOptions, Compiled};
///
/// let config = AlexNetConfig::torchvision().with_width(0.1);
/// let weights = FreshWeights::new(42);
/// let alexnet = Compiled::from_values(config, CompileOptions::default(), |parameter, rows| {
///     Ok(weights.rows(parameter, rows))
/// })?;
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreshWeights {
    seed: u64,
}

impl FreshWeights {
    /// The weights that belong to this seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The values of some rows of a parameter's first dimension, in PyTorch's order: as many as
    /// `rows.len()` times the product of the other dimensions. They are computed on rayon's threads.
    pub fn rows(&self, parameter: &Parameter, rows: Range<usize>) -> Vec<f32> {
        let row_length: usize = parameter.shape.iter().skip(1).product();
        let mut values = vec![0.0; rows.len() * row_length];
        if let Fill::Constant(value) = parameter.fill {
            values.fill(value as f32);
            return values;
        }
        let key = fnv1a(&parameter.key);
        (values.par_chunks_exact_mut(row_length.max(1)).enumerate()).for_each(|(index, values)| {
            let mut random = self.row_stream(key, (rows.start + index) as u64);
            match parameter.fill {
                Fill::Constant(value) => values.fill(value as f32),
                Fill::Normal { std } => fill_normal(&mut random, std, values),
                Fill::Uniform { bound } => fill_uniform(&mut random, bound, values),
            }
        });
        values
    }

    /// The random stream of one row: seed, parameter and row are the key of a cipher, so that the streams
    /// are independent.
    fn row_stream(&self, parameter: u64, row: u64) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (bytes, number) in key.chunks_exact_mut(8).zip([self.seed, parameter, row]) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}

/// N(0, std²), by the Box-Muller transform, which gives two values at a time.
fn fill_normal(random: &mut ChaCha8Rng, std: f64, values: &mut [f32]) {
    for pair in values.chunks_mut(2) {
        // 1 - [0, 1) is never 0.
        let radius = std * (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
        let (sine, cosine) = (TAU * random.random::<f64>()).sin_cos();
        pair.iter_mut().zip([radius * cosine, radius * sine]).for_each(|(v, x)| *v = x as f32);
    }
}

/// U(-bound, bound).
fn fill_uniform(random: &mut ChaCha8Rng, bound: f64, values: &mut [f32]) {
    values.iter_mut().for_each(|v| *v = (bound * (2.0 * random.random::<f64>() - 1.0)) as f32);
}

/// The 64-bit FNV-1a hash of a name. Unlike the standard library's hashes it is the same in every version.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::{AlexNetConfig, Role};

    const ROWS: usize = 1000;
    const COLUMNS: usize = 501;
    /// Statistical tests allow five standard errors, which a correct generator exceeds about once in two
    /// million tests; the seeds are fixed, so a test that passed keeps passing.
    const STANDARD_ERRORS: f64 = 5.0;

    fn parameter(fill: Fill) -> Parameter {
        let shape = vec![ROWS, COLUMNS];
        Parameter { key: "classifier.1.weight".into(), shape, role: Role::Weight, fill }
    }

    fn mean_and_variance(values: &[f32]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
        (mean, variance)
    }

    fn expect_within(what: &str, found: f64, expected: f64, standard_error: f64) {
        let error = (found - expected).abs();
        assert!(
            error <= STANDARD_ERRORS * standard_error,
            "{what}: expected {expected} within {STANDARD_ERRORS} times {standard_error}, found {found}"
        );
    }

    #[test]
    fn chunks_do_not_change_the_values() {
        let fills = [Fill::Constant(0.5), Fill::Normal { std: 0.01 }, Fill::Uniform { bound: 0.1 }];
        for fill in fills {
            let (parameter, weights) = (parameter(fill), FreshWeights::new(7));
            let whole = weights.rows(&parameter, 0..ROWS);
            assert_eq!(whole.len(), ROWS * COLUMNS);
            for chunk in [1, 7, 333, ROWS] {
                let chunked: Vec<f32> = (0..ROWS)
                    .step_by(chunk)
                    .flat_map(|start| weights.rows(&parameter, start..(start + chunk).min(ROWS)))
                    .collect();
                assert!(chunked == whole, "{fill:?} in chunks of {chunk} rows");
            }
            assert!(weights.rows(&parameter, 5..5).is_empty());
        }
    }

    #[test]
    fn normal_values_have_the_mean_the_deviation_and_the_tails_of_their_distribution() {
        const STD: f64 = 0.01;
        let values = FreshWeights::new(1).rows(&parameter(Fill::Normal { std: STD }), 0..ROWS);
        let (count, (mean, variance)) = (values.len() as f64, mean_and_variance(&values));
        expect_within("mean", mean, 0.0, STD / count.sqrt());
        // The variance of a normal sample has the standard error sqrt(2 / n) times the variance.
        expect_within("variance", variance, STD.powi(2), STD.powi(2) * (2.0 / count).sqrt());
        // 4.55% of normal values are more than two standard deviations from the mean.
        const TAILS: f64 = 0.045_500_263_9;
        let tails = values.iter().filter(|v| f64::from(v.abs()) > 2.0 * STD).count() as f64;
        expect_within("tails", tails / count, TAILS, (TAILS * (1.0 - TAILS) / count).sqrt());
        // Neighbors, which often share one Box-Muller transform, and rows are uncorrelated.
        for lag in [1, COLUMNS] {
            let products = values.iter().zip(&values[lag..]);
            let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            let pairs = count - lag as f64;
            expect_within("covariance", sum / pairs, 0.0, STD.powi(2) / pairs.sqrt());
        }
    }

    #[test]
    fn uniform_values_stay_within_their_bound_and_reach_it() {
        const BOUND: f64 = 0.25;
        let values = FreshWeights::new(1).rows(&parameter(Fill::Uniform { bound: BOUND }), 0..ROWS);
        let largest = values.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
        assert!(largest <= BOUND && largest > 0.999 * BOUND, "{largest}");
        let (count, (mean, variance)) = (values.len() as f64, mean_and_variance(&values));
        let expected = BOUND.powi(2) / 3.0;
        expect_within("mean", mean, 0.0, (expected / count).sqrt());
        // The fourth moment is bound^4 / 5, so the square of a value has the variance 4 bound^4 / 45.
        let error = (4.0 * BOUND.powi(4) / 45.0 / count).sqrt();
        expect_within("variance", variance, expected, error);
    }

    #[test]
    fn keys_and_seeds_give_different_values() {
        let weight = parameter(Fill::Normal { std: 1.0 });
        let other = Parameter { key: "classifier.4.weight".into(), ..weight.clone() };
        let values = FreshWeights::new(0).rows(&weight, 0..ROWS);
        assert!(values == FreshWeights::new(0).rows(&weight, 0..ROWS));
        for different in [
            FreshWeights::new(0).rows(&other, 0..ROWS),
            FreshWeights::new(1).rows(&weight, 0..ROWS),
        ] {
            let equal = values.iter().zip(&different).filter(|(a, b)| a == b).count();
            assert!(equal < values.len() / 1000, "{equal} values are the same");
        }
    }

    /// A change of these values would change every result that is based on a seed.
    #[test]
    fn values_are_stable() {
        let found = FreshWeights::new(0).rows(&parameter(Fill::Uniform { bound: 1.0 }), 2..3);
        assert_eq!(found[..3], [-0.465_272_78, 0.982_547_6, 0.875_251_3]);
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
    }

    #[test]
    fn every_parameter_of_a_network_can_be_filled() {
        let architecture = AlexNetConfig::torchvision().with_width(0.05).architecture();
        for parameter in architecture.expect("a valid network").parameters() {
            let values = FreshWeights::new(0).rows(parameter, 0..parameter.shape[0]);
            assert_eq!(values.len() as u64, parameter.elements(), "{}", parameter.key);
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
}
