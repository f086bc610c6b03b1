//! The backward pass: layers by definition where one can write it down, and whole networks against PyTorch's
//! gradients. `finite_differences` has every kind of layer.

use crate::formula;
use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::*;
use burn::backend::Autodiff;
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

/// What trains.
pub type Training = Autodiff<Flex>;

pub fn images<B: Backend>(shape: [usize; 4]) -> Tensor<B, 4> {
    let values = formula::fill("input", &shape, 0..shape[0]);
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

pub fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The mean cross-entropy of images whose class is their index.
pub fn loss<B: Backend>(network: &Network<B>, images: Tensor<B, 4>) -> Tensor<B, 1> {
    let device = images.device();
    let classes = Tensor::arange(0..images.dims()[0] as i64, &device);
    CrossEntropyLossConfig::new().init(&device).forward(network.forward(images), classes)
}

/// The gradients of `loss` with respect to the images, and to every parameter in PyTorch's order; none of
/// running statistics.
pub fn gradients<B: AutodiffBackend>(
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

// ----- layers -----

pub fn init() -> Init {
    Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault }
}

pub fn linear(out: usize) -> Layer {
    Layer::Linear { out, init: init() }
}

pub fn table(
    features: &[Layer],
    input: [usize; 3],
    pool: [usize; 2],
    classifier: &[Layer],
) -> Table {
    Table {
        name: "small".into(),
        input,
        features: features.into(),
        pool,
        classifier: classifier.into(),
        numbering: Numbering::Sequential,
    }
}

/// `sum(weights * logits)`: with it, the gradient of a linear network is known to the last digit.
fn weighted<B: AutodiffBackend>(network: &Network<B>, images: Tensor<B, 4>) -> Tensor<B, 1> {
    let logits = network.forward(images);
    let shape = logits.dims();
    let weights = TensorData::new(formula::fill("loss.weight", &shape, 0..shape[0]), shape);
    (logits.clone() * Tensor::from_data(weights, &logits.device())).sum()
}

/// A layer of 132 MiB is kept in two chunks. Of `sum(c * (W x + b))`, the gradients are `c xᵀ`, `Wᵀ c`, `c`.
#[test]
fn a_linear_layer_in_chunks() {
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
    let [first, second, of_bias] = rows.1.try_into().expect("two chunks and a bias");
    let of_weight = [first, second].concat();
    let of_images = values(images.grad(&gradients).expect("a gradient"));

    let x = formula::fill("input", &[2, IN], 0..2);
    let c = formula::fill("loss.weight", &[2, OUT], 0..2);
    let weight = formula::fill("classifier.0.weight", &[OUT, IN], 0..OUT);
    // Of the sum of their magnitudes: each rounding of f32 is 6e-8 of a partial sum.
    let expect_sum = |what: &str, ours: f64, terms: Vec<f64>| {
        let (theirs, scale) =
            (terms.iter().sum::<f64>(), terms.iter().map(|term| term.abs()).sum::<f64>());
        assert!((ours - theirs).abs() <= 3e-7 * scale, "{what}: {ours} {theirs}");
    };
    let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
    for column in (0..IN).step_by(99_991).chain([IN - 1]) {
        for row in 0..OUT {
            let terms = (0..2).map(|n| product(c[n * OUT + row], x[n * IN + column]));
            expect_sum("weight", of_weight[row * IN + column], terms.collect());
        }
        for n in 0..2 {
            let terms = (0..OUT).map(|row| product(c[n * OUT + row], weight[row * IN + column]));
            expect_sum("images", of_images[n * IN + column], terms.collect());
        }
    }
    for row in 0..OUT {
        let terms = vec![f64::from(c[row]), f64::from(c[OUT + row])];
        expect_sum("bias", of_bias[row], terms);
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
    let network = Network::<Training>::new(table, &device).expect("valid");
    let parameters: Vec<_> = network.architecture().parameters().collect();
    let images = TensorData::new(vec![1f32, 2.0, 3.0, 6.0], [2, 1, 1, 2]);
    let out = values(network.forward(Tensor::from_data(images, &device)));
    let deviation = (14f64 / 4.0 + 1e-5).sqrt();
    for (ours, x) in out.iter().zip([1.0, 2.0, 3.0, 6.0]) {
        assert!((ours - (x - 3.0) / deviation).abs() < 1e-6, "{ours} of {x}");
    }
    for (parameter, kept) in [(parameters[2], 0.3), (parameters[3], 0.9 + 0.1 * 14.0 / 3.0)] {
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
    let architecture = match config {
        NetworkConfig::AlexNet(config) => config.with_dropout(0.0).architecture(),
        NetworkConfig::Vgg(config) => config.with_dropout(0.0).architecture(),
        NetworkConfig::Custom(table) => Architecture::new(table),
    };
    architecture.expect("a published network")
}

/// The same code in f64: PyTorch's samples are stored in f32.
#[cfg(feature = "ndarray")]
#[test]
fn every_network_equals_torch_in_f64() {
    compare_with_torch::<Autodiff<alexnet_vgg::backend::NdArray<f64>>>(1e-6);
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
    // alexnet_two_gpu is alexnet_paper but for its LRN, which finite differences check.
    let is_golden = |table: &Architecture| table.name != "alexnet_two_gpu";
    let networks = NetworkConfig::all().into_iter().map(narrow).filter(is_golden);
    assert_eq!(fixture.len(), 3 * networks.clone().count());
    for table in networks {
        let name = table.name.clone();
        let golden =
            |what: &str| fixture.tensor(&format!("{name}/{what}")).expect("in the fixture");
        let keys: Vec<String> = (table.parameters())
            .filter(|parameter| parameter.role.is_trained())
            .map(|parameter| parameter.key.clone())
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
