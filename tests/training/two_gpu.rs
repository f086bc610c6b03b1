//! Two halves on two devices against the network on one device: the same logits, the same gradients, the same
//! weights; and how much crosses between the devices.

use crate::formula;
use alexnet_vgg::backend::Flex;
#[cfg(feature = "ndarray")]
use alexnet_vgg::backend::NdArray;
use alexnet_vgg::models::*;
use alexnet_vgg::train::{
    self, Batch, Data, PictureList, Pictures, Recipe, Sgd, SgdConfig, TrainOptions, UpdateRule,
};
use alexnet_vgg::vision::augment::Sample;
use alexnet_vgg::vision::{Labels, Preset};
use alexnet_vgg::{Error, Metadata};
use burn::backend::Autodiff;
use burn::module::{AutodiffModule, Module, ParamId};
use burn::optim::{GradientsParams, Optimizer};
#[cfg(feature = "ndarray")]
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::TrainStep;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

type B = Autodiff<Flex>;
#[cfg(feature = "ndarray")]
type Exact = Autodiff<NdArray<f64>>;

/// Of the largest value of a tensor: halves of layers sum in another order than whole ones.
const TOLERANCE: f64 = 1e-5;

const INIT: Init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

fn conv(out: usize, kernel: usize, groups: usize) -> Layer {
    Layer::Conv { out, kernel, stride: 1, padding: kernel / 2, groups, init: INIT }
}

fn lrn(groups: usize) -> Layer {
    Layer::Lrn { size: 5, alpha: 0.2, beta: 0.75, k: 1.0, groups }
}

fn linear(out: usize) -> Layer {
    Layer::Linear { out, init: INIT }
}

fn table(input: [usize; 3], features: &[Layer], classifier: &[Layer]) -> Table {
    Table {
        name: "table".into(),
        input,
        features: features.into(),
        pool: [2, 3],
        classifier: classifier.into(),
        numbering: Numbering::Sequential,
    }
}

/// The papers' networks, narrow, and what tables allow beside them: odd numbers, layers that see both
/// halves or not at every place where they may stand.
fn tables() -> Vec<Architecture> {
    let alexnet = |config: AlexNetConfig| {
        config.with_width(0.125).with_num_classes(10).with_input_size(224).table()
    };
    let vgg = |config: VggConfig| {
        let table = config.with_width(0.125).with_num_classes(7).table();
        Table { input: [3, 64, 64], ..table }
    };
    let small = |table: Table| Table { input: [3, 96, 80], ..table };
    let (pool, drop) = (Layer::MaxPool { kernel: 2, stride: 2 }, Layer::Dropout { p: 0.3 });
    let own = [
        table([3, 8, 9], &[conv(5, 3, 1), drop, lrn(1), pool, conv(7, 1, 1)], &[drop, linear(5)]),
        table([6, 8, 9], &[conv(8, 3, 2), Layer::Relu, lrn(4), conv(12, 3, 4)], &[linear(3)]),
        table([5, 8, 9], &[lrn(1), Layer::BatchNorm, conv(4, 3, 1)], &[linear(9), drop, linear(2)]),
        table([5, 8, 9], &[Layer::Tanh, pool, conv(4, 3, 1), Layer::BatchNorm], &[drop]),
        table([3, 4, 9], &[], &[Layer::Relu, linear(4)]),
    ];
    [
        alexnet(AlexNetConfig::two_gpu()),
        small(alexnet(AlexNetConfig::paper())),
        small(alexnet(AlexNetConfig::torchvision())),
        vgg(VggConfig::vgg11().with_batch_norm(true)),
        vgg(VggConfig::vgg11_lrn()),
    ]
    .into_iter()
    .chain(own)
    .map(|table| Architecture::new(table).expect("a valid table"))
    .collect()
}

fn batch<B: Backend>(table: &Architecture, count: usize) -> Batch<B> {
    let device = Default::default();
    let [channels, height, width] = table.input;
    let shape = [count, channels, height, width];
    let images = TensorData::new(formula::fill("input", &shape, 0..count), shape);
    let classes = Tensor::<B, 1, Int>::arange(0..count as i64, &device);
    let classes = classes.remainder_scalar(table.num_classes() as i64);
    let sample = |index| Sample { seed: 3, epoch: 1, index };
    Batch {
        images: Tensor::from_data(images, &device),
        classes,
        samples: (0..count as u64).map(sample).collect(),
        share: 0.5,
        label_smoothing: 0.1,
        mixed: None,
    }
}

fn two<B: Backend>() -> [B::Device; 2] {
    [Default::default(), Default::default()]
}

fn network<B: Backend>(table: &Architecture) -> Network<B> {
    formula::network(table.clone(), &Default::default())
}

fn split<B: Backend>(network: &Network<B>) -> TwoGpuNetwork<B> {
    TwoGpuNetwork::split(network, &two::<B>()).expect("two devices")
}

fn floats<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn largest(values: &[f32]) -> f64 {
    values.iter().fold(1e-30, |largest, value| f64::max(largest, f64::from(value.abs())))
}

/// Largest difference, of the largest value.
fn difference(ours: &[f32], theirs: &[f32]) -> f64 {
    difference_of(largest(theirs), ours, theirs)
}

fn difference_of(scale: f64, ours: &[f32], theirs: &[f32]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().chain(theirs).all(|value| value.is_finite()), "NaN or infinite");
    let pairs = ours.iter().zip(theirs);
    pairs.map(|(a, b)| f64::from((a - b).abs()) / scale).fold(0.0, f64::max)
}

/// Of a parameter, all rows.
fn gradient<B: Backend>(
    gradients: &GradientsParams,
    parameter: &Parameter,
    ids: &[ParamId],
) -> Vec<f32> {
    let of = |id: &ParamId| match parameter.shape.len() {
        1 => gradients.get::<B, 1>(*id).map(floats),
        2 => gradients.get::<B, 2>(*id).map(floats),
        _ => gradients.get::<B, 4>(*id).map(floats),
    };
    ids.iter().flat_map(|id| of(id).unwrap_or_default()).collect()
}

/// A batch norm takes away what the bias before it gives: its gradient is roundings.
fn is_idle(table: &Architecture, parameter: &Parameter) -> bool {
    let normalized = table.steps().windows(2).filter(|pair| pair[1].layer == Layer::BatchNorm);
    let mut of_convolutions = normalized.flat_map(|pair| &pair[0].parameters);
    parameter.role == Role::Bias && of_convolutions.any(|other| other == parameter)
}

fn weights(of: impl Fn(&Parameter) -> Vec<f32>, table: &Architecture) -> Vec<Vec<f32>> {
    table.parameters().map(of).collect()
}

fn all_rows(parameter: &Parameter) -> std::ops::Range<usize> {
    0..parameter.shape[0]
}

/// In f64: the roundings of f32 add up to 1.1e-5 of a bias's gradient, or not, by the machine.
#[cfg(feature = "ndarray")]
#[test]
fn a_step_is_that_of_one_device() {
    step_is_that_of_one_device::<Exact>(TOLERANCE);
}

/// The kernels of Flex have shapes of their own in halves.
#[test]
fn logits_on_flex_are_those_of_one_device() {
    for table in tables() {
        let whole = network::<B>(&table);
        let theirs = TrainStep::step(&whole, batch(&table, 4)).item;
        let ours = TrainStep::step(&split(&whole), batch(&table, 4)).item;
        let apart = difference(&floats(ours.output), &floats(theirs.output));
        assert!(apart < TOLERANCE, "{}: logits {apart:.1e}", table.name);
        let apart = difference(&floats(ours.loss), &floats(theirs.loss));
        assert!(apart < TOLERANCE, "{}: loss {apart:.1e}", table.name);
    }
}

#[cfg(feature = "ndarray")]
fn step_is_that_of_one_device<B: AutodiffBackend>(tolerance: f64) {
    for table in tables() {
        let name = format!("{} {:?}", table.name, table.features.first());
        let whole = network::<B>(&table);
        let two_gpu = split(&whole);
        let theirs = TrainStep::step(&whole, batch(&table, 4));
        let ours = TrainStep::step(&two_gpu, batch(&table, 4));
        let apart = difference(&floats(ours.item.output), &floats(theirs.item.output));
        assert!(apart < tolerance, "{name}: logits {apart:.1e}");
        let apart = difference(&floats(ours.item.loss), &floats(theirs.item.loss));
        assert!(apart < tolerance, "{name}: loss {apart:.1e}");

        let (of_halves, of_whole) = (two_gpu.trainable_parameters(), whole.trainable_parameters());
        let of_whole_parameter = |it: &TrainableParameter| {
            gradient::<B::InnerBackend>(&theirs.grads, &it.parameter, &it.ids)
        };
        let of_all = of_whole.iter().map(|it| largest(&of_whole_parameter(it))).fold(0.0, f64::max);
        let mut worst = 0f64;
        for (half, whole) in of_halves.iter().zip(&of_whole) {
            assert_eq!(half.parameter, whole.parameter);
            let ours = gradient::<B::InnerBackend>(&ours.grads, &half.parameter, &half.ids);
            let theirs = of_whole_parameter(whole);
            assert_eq!(
                ours.len() as u64,
                half.parameter.elements(),
                "{name} {}",
                half.parameter.key
            );
            let scale = if is_idle(&table, &half.parameter) { of_all } else { largest(&theirs) };
            let apart = difference_of(scale, &ours, &theirs);
            worst = worst.max(apart);
            assert!(apart < tolerance, "{name} {}: {apart:.1e}", half.parameter.key);
        }
        assert_eq!(of_halves.len(), of_whole.len());
        eprintln!("{name}: {worst:.1e}");

        // What batch norm has learned, and logits by it, in another thread than it has learned in.
        let [ours, theirs] = [
            weights(|p| two_gpu.values(p, all_rows(p)).expect("its own"), &table),
            weights(|p| whole.values(p, all_rows(p)).expect("its own"), &table),
        ];
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!(difference(ours, theirs) < tolerance, "{name}");
        }
        let images = batch::<B::InnerBackend>(&table, 3).images;
        let ours = floats(two_gpu.valid().forward(images.clone()));
        let apart = difference(&ours, &floats(whole.valid().forward(images)));
        assert!(apart < tolerance, "{name}: without dropout {apart:.1e}");
    }
}

/// Several of them, so that momentum and batch norm's statistics take part. In f64: a rounding of f32 can flip a ReLU.
#[cfg(feature = "ndarray")]
#[test]
fn steps_of_the_optimizer_are_those_of_one_device() {
    let config = SgdConfig { rule: UpdateRule::Paper, momentum: 0.9, weight_decay: 0.01 };
    for table in [tables().swap_remove(0), tables().swap_remove(3)] {
        let mut whole = network::<Exact>(&table);
        let mut two_gpu = split(&whole);
        let [mut of_whole, mut of_halves] =
            [(); 2].map(|()| Sgd::<NdArray<f64>>::new(config, HashMap::new()));
        for _ in 0..3 {
            let gradients = TrainStep::step(&whole, batch(&table, 4)).grads;
            whole = of_whole.step(0.01, whole, gradients);
            let gradients = TrainStep::step(&two_gpu, batch(&table, 4)).grads;
            two_gpu = of_halves.step(0.01, two_gpu, gradients);
        }
        let joined = two_gpu.merge(&Default::default()).expect("one device");
        let before = network::<Exact>(&table);
        for parameter in table.parameters() {
            let of = |network: &Network<Exact>| {
                network.values(parameter, all_rows(parameter)).expect("its own")
            };
            let (ours, theirs) = (of(&joined), of(&whole));
            assert!(difference(&ours, &theirs) < TOLERANCE, "{} {}", table.name, parameter.key);
            assert_ne!(theirs, of(&before), "{} {} stood still", table.name, parameter.key);
        }
    }
}

#[test]
fn split_and_merge_are_inverse_to_the_bit() {
    for table in tables() {
        let labels: Vec<String> = (0..table.num_classes()).map(|class| class.to_string()).collect();
        let metadata = Metadata::from(Preset::caffe()).with_labels(Labels::new(labels));
        let whole = network::<Flex>(&table).with_metadata(metadata);
        let two_gpu = split(&whole);
        let again = two_gpu.merge(&Default::default()).expect("one device");
        assert_eq!(again.metadata(), whole.metadata());
        assert_eq!(two_gpu.num_params(), whole.num_params());
        for parameter in table.parameters() {
            let rows = all_rows(parameter);
            let expected = formula::fill(&parameter.key, &parameter.shape, rows.clone());
            assert!(again.values(parameter, rows.clone()).expect("its own") == expected);
            // Rows that begin in one half and end in the other.
            let middle = rows.end / 2;
            let (start, end) = (middle.saturating_sub(1), (middle + 2).min(rows.end));
            let row = expected.len() / rows.end;
            let values = two_gpu.values(parameter, start..end).expect("its own");
            assert!(values == expected[start * row..end * row], "{}", parameter.key);
        }
        for trained in two_gpu.trainable_parameters() {
            let rows = trained.rows.iter().cloned().flatten();
            assert!(rows.eq(all_rows(&trained.parameter)), "{}", trained.parameter.key);
            assert_eq!(trained.ids.len(), trained.rows.len());
        }
    }
    let two_gpu = split(&network::<Flex>(&tables()[0]));
    let vgg = VggConfig::vgg11().architecture().expect("a published network");
    let stranger = vgg.parameters().next().expect("a weight");
    assert!(matches!(two_gpu.values(stranger, 0..1), Err(Error::Setting { .. })));
}

#[test]
fn what_crosses_is_what_the_shapes_say() {
    const BATCH: u64 = 4;
    for table in tables() {
        let two_gpu = split(&network::<B>(&table));
        let [_, height, width] = table.input;
        let crossings = table.two_gpu_split([height, width]).expect("even groups").crossings();
        TrainStep::step(&two_gpu, batch(&table, BATCH as usize));
        let found = two_gpu.take_transfers();
        let steps = table.steps();
        for (crossing, transfer) in crossings.iter().zip(&found) {
            let values: u64 = crossing.values.iter().sum();
            let calls = if crossing.layer == "logits" { 1 } else { 2 };
            let wanted = Traffic { calls, bytes: values * BATCH * 4 };
            assert_eq!((&transfer.layer, transfer.forward), (&crossing.layer, wanted));
            // What comes before all parameters learns nothing, and nothing goes back to it.
            let of_layer = steps.iter().position(|step| step.name == crossing.layer);
            let before = &steps[..of_layer.unwrap_or(steps.len())];
            let learns = before.iter().any(|step| !step.parameters.is_empty());
            let wanted = if learns { wanted } else { Traffic::default() };
            assert_eq!(transfer.backward, wanted, "{} {}", table.name, crossing.layer);
        }
        assert_eq!(found.len(), crossings.len());
        assert_eq!(two_gpu.take_transfers(), []);
    }
    // By hand, the 2012 network: conv3 takes 256 maps of 13x13, fc6 of 6x6.
    let alexnet = AlexNetConfig::two_gpu().architecture().expect("a published network");
    let crossings = alexnet.two_gpu_split([224, 224]).expect("even groups").crossings();
    let by_hand = [
        ("conv3", [128 * 13 * 13; 2]),
        ("fc6", [128 * 6 * 6; 2]),
        ("fc7", [2048; 2]),
        ("fc8", [2048; 2]),
        ("logits", [0, 500]),
    ];
    let crossing = |(layer, values): (&str, _)| Crossing { layer: layer.into(), values };
    assert_eq!(crossings, by_hand.map(crossing));
    // LRN over all channels needs two more crossings.
    let paper = AlexNetConfig::paper().architecture().expect("a published network");
    let paper = paper.two_gpu_split([224, 224]).expect("even groups");
    let layers: Vec<String> = paper.crossings().into_iter().map(|it| it.layer).collect();
    assert_eq!(layers, ["norm1", "norm2", "conv3", "fc6", "fc7", "fc8", "logits"]);
}

/// Every multiplication and every weight is one device's.
#[test]
fn halves_add_up() {
    for table in tables() {
        let [_, height, width] = table.input;
        for layer in table.two_gpu_split([height, width]).expect("even groups").layers {
            let sum = |of: fn(&Step) -> u64| layer.halves.iter().map(of).sum::<u64>();
            assert_eq!(sum(|half| half.multiply_adds), layer.whole.multiply_adds);
            assert_eq!(sum(|half| half.output.elements()), layer.whole.output.elements());
            let parameters = |step: &Step| step.parameters.iter().map(Parameter::elements).sum();
            assert_eq!(sum(parameters), parameters(&layer.whole));
        }
    }
}

#[test]
fn an_image_with_nan_or_infinity_affects_only_its_own_logits() {
    let table = &tables()[1];
    let two_gpu = split(&network::<Flex>(table));
    for value in [f32::NAN, f32::INFINITY] {
        let mut data = batch::<Flex>(table, 2).images.into_data();
        data.as_mut_slice::<f32>().expect("f32")[17] = value;
        let logits = floats(two_gpu.forward(Tensor::from_data(data, &Default::default())));
        let (first, second) = logits.split_at(10);
        assert!(first.iter().all(|logit| logit.is_nan()));
        assert!(second.iter().all(|logit| logit.is_finite()));
    }
}

/// Where nothing asks for a gradient, nothing goes back.
#[test]
fn a_network_that_does_not_learn_has_no_gradients() {
    let table = &tables()[0];
    let two_gpu = split(&network::<B>(table)).no_grad();
    let output = TrainStep::step(&two_gpu, batch(table, 2));
    assert!(output.grads.is_empty());
    let transfers = two_gpu.take_transfers();
    assert!(transfers.iter().all(|transfer| transfer.backward == Traffic::default()));
}

#[test]
fn networks_that_cannot_be_split_are_errors() {
    let build = |table: Table| TwoGpuNetwork::<Flex>::new(table, &two::<Flex>()).map(|_| ());
    for (table, says) in [
        (table([3, 8, 8], &[conv(6, 3, 3)], &[linear(4)]), "even number"),
        (table([9, 8, 8], &[lrn(3), conv(6, 3, 1)], &[linear(4)]), "even number"),
        (table([3, 8, 8], &[conv(1, 3, 1)], &[linear(4)]), "at least 2"),
        (table([3, 8, 8], &[conv(4, 3, 1)], &[linear(1)]), "at least 2"),
        (table([1, 8, 8], &[Layer::Relu, conv(4, 3, 1)], &[linear(2)]), "at least 2"),
    ] {
        let error = build(table).expect_err(says);
        assert!(
            matches!(error, Error::Table { .. }) && error.to_string().contains(says),
            "{error}"
        );
    }
    let two_gpu = split(&network::<Flex>(&tables()[1]));
    let device = Default::default();
    for shape in [[0, 3, 96, 80], [2, 1, 96, 80], [2, 3, 20, 80]] {
        assert!(two_gpu.check(shape, &device).is_err(), "{shape:?}");
        assert!(two_gpu.try_forward(Tensor::zeros(shape, &device)).is_err(), "{shape:?}");
    }
    assert!(two_gpu.check([2, 3, 224, 80], &device).is_ok());
}

/// The table with He's initialization: at an eighth of the width, neither the paper's N(0, 0.01²) nor
/// PyTorch's starts within some epochs.
fn with_he_initialization(mut table: Table) -> Table {
    let he = Init { weight: WeightInit::KaimingNormalFanOut, bias: BiasInit::Constant(0.0) };
    for layer in table.features.iter_mut().chain(&mut table.classifier) {
        if let Layer::Conv { init, .. } | Layer::Linear { init, .. } = layer {
            *init = he;
        }
    }
    table
}

/// The net of one GPU that the paper compares its two halves with (section 3.5 and its footnote): half as many
/// kernels in each convolutional layer but the last, all of which see each other; the rest as it is, so that
/// both have about as many parameters.
fn half_as_many_kernels(mut table: Table) -> Table {
    let is_conv = |layer: &Layer| matches!(layer, Layer::Conv { .. });
    let last = table.features.iter().rposition(is_conv).expect("a convolution");
    for (index, layer) in table.features.iter_mut().enumerate() {
        match layer {
            Layer::Conv { out, groups, .. } => {
                *groups = 1;
                *out /= if index < last { 2 } else { 1 };
            }
            Layer::Lrn { groups, .. } => *groups = 1,
            _ => {}
        }
    }
    Table { name: "half_as_many_kernels".into(), ..table }
}

/// Not a test but a study: what the paper's comparison comes to on digits, over some seeds.
///
///     cargo test --release --features train --test training -- --ignored --nocapture digits
#[test]
#[ignore = "trains ten networks, which takes minutes"]
fn two_halves_against_half_as_many_kernels_on_digits() {
    const SEEDS: u64 = 5;
    const EPOCHS: usize = 8;
    const OF_EACH_CLASS: usize = 200;
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/digits");
    if !digits.exists() {
        return eprintln!("skipped: no ../shared/data/digits");
    }
    let (train, test) = PictureList::open(&digits).expect("pictures");
    let train = train.limit_per_class(OF_EACH_CLASS, 0).expect("as many");
    let test = test.expect("a test set");
    let preset = Preset { name: "digits".into(), crop: 64, resize: 68, ..Preset::imagenet() };
    let small = Recipe::by_name("small").expect("a recipe");
    let recipe = Recipe { epochs: EPOCHS, rate: 0.01, ..small };
    let pictures = |list: &PictureList, augmentation| {
        Arc::new(Pictures::new(list.clone(), augmentation, preset.clone()).expect("a preset"))
    };
    let augmentation = recipe.augmentation(64).expect("a square");
    let data = Data {
        train: pictures(&train, augmentation),
        still: pictures(&train, None),
        valid: pictures(&test, None),
    };
    let config = AlexNetConfig::two_gpu().with_width(0.125).with_num_classes(10);
    // One cell is left of 64 pixels.
    let table = Table { input: [3, 64, 64], pool: [1, 1], ..config.table() };
    let halves = with_he_initialization(table);
    let tables = [halves.clone(), half_as_many_kernels(halves)];
    let tables = tables.map(|table| Architecture::new(table).expect("a valid table"));
    let parameters =
        tables.each_ref().map(|table| table.parameters().map(Parameter::elements).sum::<u64>());
    let mut errors = [Vec::new(), Vec::new()];
    for seed in 0..SEEDS {
        for (table, errors) in tables.iter().zip(&mut errors) {
            let device = Default::default();
            B::seed(&device, seed);
            let network = Network::<B>::new(table.clone(), &device).expect("a valid table");
            let network = network.with_metadata(preset.clone().into());
            let recipe = Recipe { seed, ..recipe.clone() };
            let outcome =
                train::fit(network, &recipe, &data, TrainOptions::default()).expect("a run");
            let last = outcome.history.epochs.last().expect("an epoch");
            let wrong = 100.0 * (1.0 - last.valid.top1);
            errors.push(wrong);
            let (name, loss) = (&table.name, last.train.loss);
            eprintln!("{name}, seed {seed}: {wrong:.2}% wrong, training loss {loss:.3}");
        }
    }
    for ((table, errors), parameters) in tables.iter().zip(&errors).zip(parameters) {
        let mean = errors.iter().sum::<f64>() / errors.len() as f64;
        let squares = errors.iter().map(|error| (error - mean).powi(2)).sum::<f64>();
        let deviation = (squares / (errors.len() - 1) as f64).sqrt();
        eprintln!("{}: {parameters} parameters, {mean:.2} ± {deviation:.2}% wrong", table.name);
    }
}
