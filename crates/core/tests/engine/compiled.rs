//! The compiled engine: against PyTorch, layer by layer and on every instruction set that this machine has;
//! against the forward pass by definition; and as its callers use it.

use crate::{formula, reference, torch};
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled, Isa, LinearWeights, Threads};
use alexnet_vgg_core::{Error, Result};

/// Share of a layer's largest value. Winograd's transforms lose two bits; the README promises this.
const TOLERANCE: f64 = 1e-5;

const INIT: Init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

pub fn isas() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

pub fn on(isa: Isa) -> CompileOptions {
    CompileOptions { isa: Some(isa), ..Default::default() }
}

pub fn with(threads: Threads) -> CompileOptions {
    CompileOptions { threads, ..Default::default() }
}

/// The logits of the formula's images.
pub fn logits(compiled: &Compiled, shape: [usize; 4]) -> Vec<f32> {
    logits_of(compiled, &formula::images(shape), shape)
}

pub fn logits_of(compiled: &Compiled, images: &[f32], shape: [usize; 4]) -> Vec<f32> {
    let mut logits = vec![0.0; shape[0] * compiled.architecture().num_classes()];
    compiled.run(images, shape, &mut logits).expect("a valid input");
    logits
}

pub fn largest(values: &[f32]) -> f64 {
    values.iter().fold(1e-30, |largest, value| f64::max(largest, f64::from(value.abs())))
}

/// The largest difference, as a share of the second's largest value.
pub fn difference(a: &[f32], b: &[f32]) -> f64 {
    difference_of(largest(b), a, b)
}

/// The largest difference, as a share of `scale`.
pub fn difference_of(scale: f64, a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|value| value.is_finite()), "not a number");
    let differences = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs() / scale);
    differences.fold(0.0, f64::max)
}

/// With taps on every layer nothing is fused; the logits come from the fused plan.
#[test]
fn every_layer_equals_torch_on_every_instruction_set() {
    let cases = torch::cases();
    // 16 networks at their own size, and five at others. alexnet_two_gpu is alexnet_paper but for its LRN, which
    // is compared with LRN of slices below.
    assert_eq!(cases.len(), NetworkConfig::all().len() - 1 + 5);
    for case in cases {
        let (architecture, size) = torch::architecture(&case);
        let steps = architecture.walk(size).expect("a valid network");
        let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
        let shape = [1, 3, size[0], size[1]];
        for isa in isas() {
            // Plain Rust takes its time.
            if isa == Isa::Portable && !case.starts_with("alexnet") && case != "vgg11_bn@224x224" {
                continue;
            }
            let compiled = formula::compiled(&architecture, on(isa));
            let taps = compiled.taps(&formula::images(shape), shape, &keys).expect("taps");
            torch::check_layers(&case, &steps, &taps, &isa.to_string(), TOLERANCE);
            let logits = logits(&compiled, shape);
            let error = taps.last().map(|last| difference(&logits, &last.values));
            let is_close = error.is_some_and(|error| error < TOLERANCE);
            assert!(is_close, "{case} on {isa}: fused and by layers differ by {error:?}");
        }
    }
}

#[test]
fn a_batch_of_any_size_is_its_images() {
    let narrow_vgg = VggConfig::vgg11().with_batch_norm(true).with_width(0.25);
    for config in [
        NetworkConfig::from(AlexNetConfig::paper().with_width(0.25)),
        NetworkConfig::from(narrow_vgg),
    ] {
        let architecture = config.with_num_classes(10).architecture().expect("valid");
        for [height, width] in [[224, 224], [97, 131]] {
            let compiled = formula::compiled(&architecture, CompileOptions::default());
            let shape = [9, 3, height, width];
            let all = reference::logits(&architecture, &formula::images(shape), shape);
            for batch in [1, 2, 3, 5, 8, 9] {
                let ours = logits(&compiled, [batch, 3, height, width]);
                let error = difference(&ours, &all[..batch * 10]);
                let name = &architecture.name;
                assert!(error < TOLERANCE, "{name} at {batch}x{height}x{width}: {error:.1e}");
            }
        }
    }
}

#[test]
fn wrong_inputs_are_errors() {
    let vgg = || VggConfig::vgg11().with_width(0.05).with_num_classes(10);
    let compiled = formula::compiled(vgg(), CompileOptions::default());
    let mut logits = [0.0; 10];
    let mut run = |length: usize, shape, room: usize| {
        compiled.run(&vec![0.0; length], shape, &mut logits[..room]).expect_err("wrong")
    };
    let shaped = |error: Error| matches!(error, Error::InputShape { .. });
    assert!(shaped(run(3 * 32 * 32 - 1, [1, 3, 32, 32], 10)), "too few values");
    assert!(shaped(run(3 * 32 * 32, [1, 3, 32, 32], 9)), "too little room");
    assert!(shaped(run(0, [0, 3, 32, 32], 0)), "an empty batch");
    assert!(shaped(run(4 * 32 * 32, [1, 4, 32, 32], 10)), "four channels");
    assert!(shaped(run(0, [1, 3, 1 << 40, 1 << 40], 10)), "a size beyond any machine's");
    assert!(matches!(run(3 * 31 * 32, [1, 3, 31, 32], 10), Error::InputTooSmall { .. }));
    let huge = compiled.explain([1, 3, 1 << 24, 1 << 24], 1);
    assert!(matches!(huge, Err(Error::Table { .. })), "{huge:?}");
    assert!(matches!(
        compiled.taps(&[0.0; 3072], [1, 3, 32, 32], &["conv9"]),
        Err(Error::UnknownLayer { .. })
    ));
    for threads in [Threads::Dedicated(0), Threads::Dedicated(1 << 20)] {
        let compiled = Compiled::from_values(vgg(), with(threads), formula::values);
        assert!(matches!(compiled, Err(Error::Setting { .. })));
    }
    let one_value = |_: &Parameter, _| -> Result<Vec<f32>> { Ok(vec![0.0]) };
    let compiled = Compiled::from_values(vgg(), CompileOptions::default(), one_value);
    assert!(matches!(compiled, Err(Error::ValueCount { found: 1, .. })));
}

#[test]
fn padding_that_no_memory_holds_is_an_error() {
    let (stride, padding) = (1 << 63, 1 << 62);
    let conv = Layer::Conv { out: 1, kernel: 1, stride, padding, groups: 1, init: INIT };
    let table = Table {
        name: "padded".into(),
        input: [1, 1, 1024],
        features: vec![conv],
        pool: [1, 1],
        classifier: Vec::new(),
        numbering: Numbering::Sequential,
    };
    let compiled = formula::compiled(table, CompileOptions::default());
    let result = compiled.run(&[0.0; 1024], [1, 1, 1, 1024], &mut [0.0]);
    assert!(matches!(result, Err(Error::OutOfMemory { .. })), "{result:?}");
}

#[test]
fn what_is_not_a_number_reaches_the_logits() {
    for (config, value) in NetworkConfig::all().into_iter().zip([f32::NAN, f32::INFINITY].repeat(9))
    {
        let compiled = formula::compiled(config.with_width(0.05), CompileOptions::default());
        let shape = [2, 3, 67, 67];
        let mut images = formula::images(shape);
        images[67 * 67 + 77] = value;
        let mut logits = vec![0.0; 2000];
        compiled.run(&images, shape, &mut logits).expect("valid");
        assert!(logits[..1000].iter().all(|logit| logit.is_nan()));
        assert!(logits[1000..].iter().all(|logit| logit.is_finite()), "the image beside it");
        // And nothing of it stays behind.
        images[67 * 67 + 77] = 0.0;
        compiled.run(&images, shape, &mut logits).expect("valid");
        assert!(logits.iter().all(|logit| logit.is_finite()));
    }
}

/// The rounding of 16-bit linear weights averages out.
#[test]
fn int16_weights_are_close() {
    let architecture = AlexNetConfig::torchvision().architecture().expect("valid");
    let shape = [1, 3, 224, 224];
    let exact = logits(&formula::compiled(&architecture, CompileOptions::default()), shape);
    for isa in isas() {
        let options = CompileOptions { linear_weights: LinearWeights::Int16, ..on(isa) };
        let error = difference(&logits(&formula::compiled(&architecture, options), shape), &exact);
        assert!(error < 3e-4, "{isa}: {error:.1e}");
        assert!(error > 0.0, "{isa} rounds");
    }
}

/// A group is its slice of the map, normalized by itself: within a vector of channels, over several, as
/// narrow as a channel, with windows wider than a group.
#[test]
fn lrn_within_groups_is_that_of_slices() {
    for (channels, groups, size) in
        [(96, 2, 5), (256, 2, 5), (24, 2, 5), (40, 4, 7), (12, 12, 3), (60, 30, 9), (33, 3, 1)]
    {
        let table = |channels, groups| Table {
            name: "lrn".into(),
            input: [channels, 3, 5],
            features: vec![Layer::Lrn { size, alpha: 0.2, beta: 0.75, k: 1.0, groups }],
            pool: [3, 5],
            classifier: Vec::new(),
            numbering: Numbering::Sequential,
        };
        let shape = [2, channels, 3, 5];
        let images = formula::images(shape);
        let values_of_slice = channels / groups * 15;
        for isa in isas() {
            let whole = formula::compiled(table(channels, groups), on(isa));
            let whole = logits_of(&whole, &images, shape);
            let slice = formula::compiled(table(channels / groups, 1), on(isa));
            let slices = images
                .chunks(values_of_slice)
                .flat_map(|values| logits_of(&slice, values, [1, channels / groups, 3, 5]));
            let error = difference(&whole, &slices.collect::<Vec<_>>());
            // The same sums, of up to nine squares in another order.
            assert!(error < 1e-6, "{channels} in {groups} over {size} on {isa}: {error:.1e}");
        }
    }
}

/// A service that classifies all day should not wait for the allocator.
#[test]
fn calls_allocate_nothing_once_a_shape_is_known() {
    let architecture = VggConfig::vgg11_bn().with_width(0.05).architecture().expect("valid");
    for threads in [1, 2] {
        let compiled = formula::compiled(&architecture, with(Threads::Dedicated(threads)));
        let mut logits = vec![0.0; 9 * 1000];
        for shape in [[1, 3, 64, 64], [9, 3, 32, 40]] {
            let images = formula::images(shape);
            let mut run = || compiled.run(&images, shape, &mut logits[..shape[0] * 1000]);
            run().expect("valid");
            let counted =
                allocation_counter::measure(|| (0..200).for_each(|_| run().expect("valid")));
            // Only the caller's are counted. A thread that was stopped while it left a pass makes the next
            // call take a second one, once.
            let most = if threads == 1 { 0 } else { 20 };
            assert!(counted.count_total <= most, "{shape:?}, {threads}: {counted:?}");
        }
    }
}
