//! The backward pass: every kind of layer against finite differences in f64, by definition where one can
//! write it down, and whole networks against PyTorch's gradients.

use crate::formula;
use alexnet_vgg::backend::{Flex, NdArray};
use alexnet_vgg::models::*;
use burn::backend::Autodiff;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// What trains.
type Training = Autodiff<Flex>;
/// The same code in f64.
type Exact = Autodiff<NdArray<f64>>;

fn images<B: Backend>(shape: [usize; 4]) -> Tensor<B, 4> {
    let values = formula::fill("input", &shape, 0..shape[0]);
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The mean cross-entropy of images whose class is their index.
fn loss<B: Backend>(network: &Network<B>, images: Tensor<B, 4>) -> Tensor<B, 1> {
    let device = images.device();
    let classes = Tensor::arange(0..images.dims()[0] as i64, &device);
    CrossEntropyLossConfig::new().init(&device).forward(network.forward(images), classes)
}

/// The gradients of `loss` with respect to the images, and to every parameter in PyTorch's order; none of
/// running statistics.
fn gradients<B: AutodiffBackend>(
    network: &Network<B>,
    images: Tensor<B, 4>,
) -> (Vec<f64>, Vec<Option<Vec<f64>>>) {
    struct Collect<'a, B: AutodiffBackend>(&'a B::Gradients, Vec<Option<Vec<f64>>>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Collect<'_, B> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<B, D>>) {
            self.1.push(parameter.val().grad(self.0).map(values));
        }
    }
    let images = images.require_grad();
    let gradients = loss(network, images.clone()).backward();
    let of_images = values(images.grad(&gradients).expect("a gradient of the images"));
    let mut collect = Collect::<B>(&gradients, Vec::new());
    network.visit(&mut collect);
    (of_images, collect.1)
}

// ----- every kind of layer -----

/// Of the largest gradient of a tensor. Flex's f32 against f64: sums of up to some hundred products, each
/// with an error of 6e-8; the differences themselves, of steps of 1e-5 in f64, are good to 1e-9.
const OF_LARGEST: f64 = 1e-5;
const STEP: f64 = 1e-5;

fn init() -> Init {
    Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault }
}

fn conv(out: usize, kernel: usize, stride: usize, padding: usize, groups: usize) -> Layer {
    Layer::Conv { out, kernel, stride, padding, groups, init: init() }
}

fn linear(out: usize) -> Layer {
    Layer::Linear { out, init: init() }
}

fn table(
    features: &[Layer],
    input: [usize; 3],
    pool: [usize; 2],
    classifier: &[Layer],
) -> Architecture {
    Architecture {
        name: "small".into(),
        input,
        features: features.into(),
        pool,
        classifier: classifier.into(),
        numbering: Numbering::Sequential,
    }
}

/// One entry of one parameter, in the order of burn's walk, moved.
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
        match self.seen - 1 == self.parameter {
            true => param.map(|tensor| moved(tensor, self.entry, self.by)),
            false => param,
        }
    }
}

fn moved<const D: usize>(tensor: Tensor<Exact, D>, entry: usize, by: f64) -> Tensor<Exact, D> {
    let (device, mut data) = (tensor.device(), tensor.into_data());
    data.as_mut_slice::<f64>().expect("f64")[entry] += by;
    Tensor::from_data(data, &device)
}

/// Gradients of the images and of all parameters, by Flex in f32, against central differences in f64.
fn check(table: Architecture) {
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
                error <= OF_LARGEST,
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
    let trained = table.parameters().expect("valid");
    assert_eq!(with_gradient, trained.iter().filter(|p| p.role.is_trained()).count());
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

/// `sum(weights * logits)`: with it, the gradient of a linear network is known to the last digit.
fn weighted<B: AutodiffBackend>(network: &Network<B>, images: Tensor<B, 4>) -> Tensor<B, 1> {
    let logits = network.forward(images);
    let shape = logits.dims();
    let weights = TensorData::new(formula::fill("loss.weight", &shape, 0..shape[0]), shape);
    (logits.clone() * Tensor::from_data(weights, &logits.device())).sum()
}

/// A layer of 132 MiB is kept in two pieces. Of `sum(c * (W x + b))`, the gradients are `c xᵀ`, `Wᵀ c`, `c`.
#[test]
fn a_linear_layer_in_pieces() {
    const IN: usize = 1 << 20;
    const OUT: usize = 33;
    let device = Default::default();
    let network: Network<Training> =
        formula::network(table(&[], [IN, 1, 1], [1, 1], &[linear(OUT)]), &device);
    let images = images::<Training>([2, IN, 1, 1]).require_grad();
    let gradients = weighted(&network, images.clone()).backward();

    struct Rows<'a>(&'a <Training as AutodiffBackend>::Gradients, Vec<Vec<f64>>);
    impl ModuleVisitor<Training> for Rows<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<Training, D>>) {
            self.1.push(values(parameter.val().grad(self.0).expect("a gradient")));
        }
    }
    let mut rows = Rows(&gradients, Vec::new());
    network.visit(&mut rows);
    let [first, second, of_bias] = rows.1.try_into().expect("two pieces and a bias");
    let of_weight = [first, second].concat();
    let of_images = values(images.grad(&gradients).expect("a gradient"));

    let x = formula::fill("input", &[2, IN], 0..2);
    let c = formula::fill("loss.weight", &[2, OUT], 0..2);
    let weight = formula::fill("classifier.0.weight", &[OUT, IN], 0..OUT);
    let near = |what: &str, ours: f64, theirs: f64| {
        assert!((ours - theirs).abs() <= 1e-6 * theirs.abs().max(1e-3), "{what}: {ours} {theirs}");
    };
    for column in (0..IN).step_by(99_991).chain([IN - 1]) {
        for row in 0..OUT {
            let by_hand: f32 = (0..2).map(|n| c[n * OUT + row] * x[n * IN + column]).sum();
            near("weight", of_weight[row * IN + column], by_hand.into());
        }
        for n in 0..2 {
            let products = (0..OUT).map(|row| c[n * OUT + row] * weight[row * IN + column]);
            near("images", of_images[n * IN + column], products.map(f64::from).sum());
        }
    }
    for row in 0..OUT {
        near("bias", of_bias[row], (c[row] + c[OUT + row]).into());
    }
}

/// What was dropped gets no gradient, what was kept gets it times `1 / (1 - p)`: as much as it was
/// multiplied by itself.
#[test]
fn dropout() {
    let device = Default::default();
    let network: Network<Training> =
        formula::network(table(&[], [64, 1, 1], [1, 1], &[Layer::Dropout { p: 0.25 }]), &device);
    let images = images::<Training>([8, 64, 1, 1]).require_grad();
    let out = network.forward(images.clone());
    let weights = formula::fill("loss.weight", &[8, 64], 0..8);
    let weighted =
        out.clone() * Tensor::from_data(TensorData::new(weights.clone(), [8, 64]), &device);
    let gradients = weighted.sum().backward();
    let gradient = values(images.grad(&gradients).expect("a gradient"));
    let (out, x) = (values(out), values(images));
    let mut dropped = 0;
    for i in 0..x.len() {
        let factor = out[i] / x[i];
        dropped += usize::from(factor == 0.0);
        assert!(factor == 0.0 || (factor - 4.0 / 3.0).abs() < 1e-6, "{factor}");
        let wanted = f64::from(weights[i]) * factor;
        assert!((gradient[i] - wanted).abs() <= 1e-6, "{} {wanted}", gradient[i]);
    }
    assert!((90..166).contains(&dropped), "{dropped} of 512, 128 expected, deviation 10");
}

/// By hand: two images of two pixels and one channel, 1 2 3 6: their mean is 3, their mean square 14 / 4,
/// and 14 / 3 is what is kept of it. Both move by a tenth.
#[test]
fn running_statistics_are_pytorchs() {
    let device = Default::default();
    let table = table(&[Layer::BatchNorm], [1, 1, 2], [1, 2], &[]);
    let parameters = table.parameters().expect("valid");
    let network = Network::<Training>::new(table, &device).expect("valid");
    let images = TensorData::new(vec![1f32, 2.0, 3.0, 6.0], [2, 1, 1, 2]);
    let out = values(network.forward(Tensor::from_data(images, &device)));
    let deviation = (14f64 / 4.0 + 1e-5).sqrt();
    for (ours, x) in out.iter().zip([1.0, 2.0, 3.0, 6.0]) {
        assert!((ours - (x - 3.0) / deviation).abs() < 1e-6, "{ours} of {x}");
    }
    for (parameter, kept) in [(&parameters[2], 0.3), (&parameters[3], 0.9 + 0.1 * 14.0 / 3.0)] {
        let ours = network.values(parameter, 0..1).expect("a value")[0];
        assert!((f64::from(ours) - kept).abs() < 1e-6, "{}: {ours}, not {kept}", parameter.key);
    }
}

// ----- whole networks -----

const FIXTURE: &[u8] = include_bytes!("../golden/gradients.safetensors");

/// Gradients below this part of the largest norm are rounding: a bias before batch norm has none.
const NOTHING: f64 = 1e-4;

fn f64s(view: &TensorView) -> Vec<f64> {
    view.data().as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

fn f32s(view: &TensorView) -> Vec<f64> {
    view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes).into()).collect()
}

/// At the width of gradients.py, without dropout.
fn narrow(config: NetworkConfig) -> Architecture {
    let config = config.with_width(0.125).with_num_classes(10);
    match config {
        NetworkConfig::AlexNet(config) => config.with_dropout(0.0).architecture(),
        NetworkConfig::Vgg(config) => config.with_dropout(0.0).architecture(),
    }
}

/// The same code in f64: PyTorch's samples are stored in f32.
#[test]
fn every_network_equals_torch_in_f64() {
    compare_with_torch::<Exact>(1e-6);
}

/// Through up to 19 layers of f32, where now and then a rounding turns a ReLU on or off, or moves a maximum
/// from one pixel to the next: then a part of the gradient takes another way.
#[test]
fn every_network_equals_torch_on_flex() {
    compare_with_torch::<Training>(2e-2);
}

/// Of each parameter's gradient its norm, its sum and every sample; errors as a part of the norm.
fn compare_with_torch<B: AutodiffBackend>(tolerance: f64) {
    let fixture = SafeTensors::deserialize(FIXTURE).expect("the fixture");
    // alexnet_towers is alexnet_paper but for its LRN, which finite differences check.
    let is_golden = |table: &Architecture| table.name != "alexnet_towers";
    let tables = NetworkConfig::all().into_iter().map(narrow).filter(is_golden);
    assert_eq!(fixture.len(), 3 * tables.clone().count());
    for table in tables {
        let name = table.name.clone();
        let golden =
            |what: &str| fixture.tensor(&format!("{name}/{what}")).expect("in the fixture");
        let keys: Vec<String> = (table.parameters().expect("valid").into_iter())
            .filter(|parameter| parameter.role.is_trained())
            .map(|parameter| parameter.key)
            .collect();
        let (magnitude, samples) = (f64s(&golden("magnitude")), f32s(&golden("samples")));
        let of_each = samples.len() / keys.len();
        let largest = magnitude.chunks(2).fold(0f64, |largest, pair| largest.max(pair[0]));

        let network: Network<B> = formula::network(table, &Default::default());
        let images = images::<B>([4, 3, 96, 80]);
        let our_loss = values(loss(&network, images.clone()))[0];
        let their_loss = f64s(&golden("loss"))[0];
        assert!(
            (our_loss - their_loss).abs() <= tolerance * their_loss,
            "{name}: {our_loss} {their_loss}"
        );
        let (_, of_parameters) = gradients(&network, images);
        let ours: Vec<Vec<f64>> = of_parameters.into_iter().flatten().collect();
        assert_eq!((ours.len(), magnitude.len()), (keys.len(), 2 * keys.len()), "{name}");

        let mut worst = 0f64;
        for (index, (key, ours)) in keys.iter().zip(&ours).enumerate() {
            let [norm, sum] = [magnitude[2 * index], magnitude[2 * index + 1]];
            let our_norm = ours.iter().map(|g| g * g).sum::<f64>().sqrt();
            let scale = norm.max(NOTHING * largest);
            let mut near = |what: &str, ours: f64, theirs: f64, scale: f64| {
                let error = (ours - theirs).abs() / scale;
                worst = worst.max(error);
                assert!(
                    error <= tolerance,
                    "{name} {key}: {what} {ours} is not {theirs}, {error:.1e} of the norm {norm}"
                );
            };
            near("norm", our_norm, norm, scale);
            near("sum", ours.iter().sum(), sum, scale * (ours.len() as f64).sqrt());
            for (i, &theirs) in samples[index * of_each..(index + 1) * of_each].iter().enumerate() {
                let at = (i as u64 * 2_654_435_761 % ours.len() as u64) as usize;
                near(&format!("[{at}]"), ours[at], theirs, scale);
            }
        }
        eprintln!("{name}: loss {our_loss:.4}, {worst:.1e} of the norm");
    }
}
