//! The layers that are special to these networks: by hand, against finite differences, and with
//! values that are not numbers.

use crate::formula;
use alexnet_vgg::Error;
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::models::*;
use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor, TensorData};

type B = Cpu;
type Ad = Autodiff<Cpu>;

fn values<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

fn tensor<B: Backend>(shape: [usize; 4], values: Vec<f32>) -> Tensor<B, 4> {
    Tensor::from_data(TensorData::new(values, shape), &Default::default())
}

/// The paper's formula, in f64, straight from section 3.3.
fn lrn_by_definition(
    x: &[f32],
    channels: usize,
    n: usize,
    alpha: f64,
    beta: f64,
    k: f64,
) -> Vec<f64> {
    let plane = x.len() / channels;
    (0..x.len())
        .map(|at| {
            let (c, position) = (at / plane, at % plane);
            let window = c.saturating_sub(n / 2)..=(c + n / 2).min(channels - 1);
            let sum: f64 = window.map(|j| f64::from(x[j * plane + position]).powi(2)).sum();
            f64::from(x[at]) / (k + alpha * sum).powf(beta)
        })
        .collect()
}

#[test]
fn lrn_is_the_papers_formula() {
    for (channels, n, alpha, beta, k) in [
        (7, 5, 1e-4, 0.75, 2.0),
        (96, 5, 1e-4, 0.75, 2.0),
        (1, 5, 0.3, 0.75, 1.0),
        (6, 3, 0.5, 0.6, 1.5),
        (4, 1, 2.0, 1.0, 0.5),
    ] {
        let x = Tensor::<B, 4>::random(
            [1, channels, 3, 2],
            Distribution::Normal(0.0, 9.0),
            &Default::default(),
        );
        let theirs = lrn_by_definition(&values(x.clone()), channels, n, alpha, beta, k);
        for (ours, theirs) in values(Lrn::new(n, alpha, beta, k).forward(x)).iter().zip(theirs) {
            let error = (f64::from(*ours) - theirs).abs() / theirs.abs().max(1.0);
            assert!(error < 1e-6, "{ours} is not {theirs}");
        }
    }
}

/// By hand: 3 channels of one pixel, 1, 2, 3; k 2, alpha 1, beta 0.75, n 3.
#[test]
fn lrn_of_three_pixels() {
    let y =
        values(Lrn::new(3, 1.0, 0.75, 2.0).forward(tensor::<B>([1, 3, 1, 1], vec![1.0, 2.0, 3.0])));
    let by_hand = [1.0 / 7f32.powf(0.75), 2.0 / 16f32.powf(0.75), 3.0 / 15f32.powf(0.75)];
    assert!(y.iter().zip(by_hand).all(|(a, b)| (a - b).abs() < 1e-6), "{y:?} {by_hand:?}");
}

/// burn's LRN divides alpha by the size; with `size` times the alpha it is the same function.
#[test]
fn lrn_is_burns_with_another_alpha() {
    let x =
        Tensor::<B, 4>::random([2, 16, 5, 4], Distribution::Normal(0.0, 3.0), &Default::default());
    let burns = burn::nn::LocalResponseNormConfig::new(5)
        .with_alpha(5e-4)
        .with_beta(0.75)
        .with_k(2.0)
        .init();
    let pairs = values(burns.forward(x.clone()))
        .into_iter()
        .zip(values(Lrn::new(5, 1e-4, 0.75, 2.0).forward(x)));
    for (theirs, ours) in pairs {
        assert!((theirs - ours).abs() <= 1e-6 * theirs.abs().max(1.0), "{ours} is not {theirs}");
    }
}

/// A group is its slice of the channels, normalized by itself.
#[test]
fn lrn_within_groups_is_that_of_slices() {
    let lrn = Lrn::new(5, 0.3, 0.75, 2.0);
    let shape = [2, 12, 5, 4];
    let x = Tensor::<B, 4>::random(shape, Distribution::Normal(0.0, 3.0), &Default::default());
    for groups in [1, 2, 3, 12] {
        let slices = x.clone().chunk(groups, 1).into_iter().map(|slice| lrn.forward(slice));
        let slices = Tensor::cat(slices.collect(), 1);
        let apart = lrn.clone().with_groups(groups).forward(x.clone()) - slices;
        assert_eq!(values(apart.abs().max()), [0.0], "{groups} groups");
    }
}

/// By hand: 3x3 windows with stride 2 on 5x5 overlap in one row and column.
#[test]
fn overlapping_pools_overlap() {
    let mut map = vec![0.0; 25];
    map[12] = 5.0; // the center, in all four windows
    map[0] = 9.0; // the first corner, in one
    let config = AlexNetConfig::paper();
    let pool = config.architecture().expect("valid").features[3];
    assert_eq!(pool, Layer::MaxPool { kernel: 3, stride: 2 });
    let table = chain(vec![pool], [1, 5, 5]);
    let pooled = Network::<B>::new(table, &Default::default())
        .expect("valid")
        .features(tensor([1, 1, 5, 5], map));
    assert_eq!(values(pooled.expect("a map")), [9.0, 5.0, 5.0, 5.0]);
}

fn chain(features: Vec<Layer>, input: [usize; 3]) -> Architecture {
    let table = Table {
        name: "chain".into(),
        input,
        features,
        pool: [1, 1],
        classifier: Vec::new(),
        numbering: Numbering::Sequential,
    };
    Architecture::new(table).expect("valid")
}

/// Central differences of `sum(w * f(x))` in f32: their own error is about 1e-3 of the gradient.
fn check_gradient(network: &Network<Ad>, x: Vec<f32>, shape: [usize; 4]) {
    let loss = |x: Vec<f32>| {
        let y = network.features(tensor::<Ad>(shape, x)).expect("a map");
        let weights =
            formula::fill("loss.bias", &[y.dims().iter().product()], 0..y.dims().iter().product());
        (y.clone() * tensor::<Ad>(y.dims(), weights)).sum()
    };
    let input = tensor::<Ad>(shape, x.clone()).require_grad();
    let y = network.features(input.clone()).expect("a map");
    let count: usize = y.dims().iter().product();
    let weights = formula::fill("loss.bias", &[count], 0..count);
    let gradients = (y.clone() * tensor::<Ad>(y.dims(), weights)).sum().backward();
    let gradient = values(input.grad(&gradients).expect("a gradient"));
    let largest = gradient.iter().fold(0f32, |largest, g| largest.max(g.abs()));
    assert!(largest > 1e-3, "a gradient to speak of: {largest}");
    for at in (0..x.len()).step_by(7) {
        let step = 1e-2;
        let at_distance = |distance: f32| {
            let mut moved = x.clone();
            moved[at] += distance;
            loss(moved).into_scalar()
        };
        let difference = (at_distance(step) - at_distance(-step)) / (2.0 * step);
        assert!(
            (difference - gradient[at]).abs() < 5e-3 * largest,
            "[{at}]: {} is not {difference}",
            gradient[at]
        );
    }
}

#[test]
fn gradient_of_lrn_equals_finite_differences() {
    let shape = [1, 8, 3, 3];
    for beta in [0.75, 0.6] {
        // Constants at which the normalization matters.
        let table =
            chain(vec![Layer::Lrn { size: 5, alpha: 0.2, beta, k: 1.0, groups: 1 }], [8, 3, 3]);
        let network = Network::<Ad>::new(table, &Default::default()).expect("valid");
        check_gradient(&network, formula::fill("input", &shape, 0..1), shape);
    }
}

#[test]
fn gradient_of_grouped_convolution_equals_finite_differences() {
    let shape = [1, 4, 6, 5];
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let conv = Layer::Conv { out: 6, kernel: 3, stride: 1, padding: 1, groups: 2, init };
    let network =
        Network::<Ad>::new(chain(vec![conv], [4, 6, 5]), &Default::default()).expect("valid");
    check_gradient(&network, formula::fill("input", &shape, 0..1), shape);
}

/// Groups do not see each other: the second half of the input does not move the first outputs.
#[test]
fn groups_are_apart() {
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let conv = Layer::Conv { out: 4, kernel: 1, stride: 1, padding: 0, groups: 2, init };
    let network =
        Network::<B>::new(chain(vec![conv], [2, 1, 1]), &Default::default()).expect("valid");
    let y =
        |second| values(network.features(tensor([1, 2, 1, 1], vec![1.0, second])).expect("a map"));
    assert_eq!(y(1.0)[..2], y(7.0)[..2]);
    assert_ne!(y(1.0)[2..], y(7.0)[2..]);
}

#[test]
fn dropout_is_active_in_training_only() {
    let device = Default::default();
    let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
    let network: Network<Ad> = formula::network(config, &device);
    let x = tensor::<Ad>([1, 3, 32, 32], formula::fill("input", &[1, 3, 32, 32], 0..1));
    let forward = || values(network.forward(x.clone()));
    assert_ne!(forward(), forward(), "training drops other features each time");
    let valid = network.valid();
    let inner = x.clone().inner();
    assert_eq!(values(valid.forward(inner.clone())), values(valid.forward(inner)));
}

#[test]
fn fresh_weights_have_the_published_spread() {
    let device = Default::default();
    // Its standard deviation, and its largest magnitude in standard deviations.
    let spread = |table: Architecture, name: &str| {
        let wanted = table.parameters().find(|p| p.key == name).expect("a parameter").clone();
        B::seed(&device, 7);
        let network = Network::<B>::new(table, &device).expect("valid");
        let weights = weights_of(&network, &wanted.shape);
        let mean = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / weights.len() as f64;
        let squares: f64 = weights.iter().map(|&w| (f64::from(w) - mean).powi(2)).sum();
        let largest = weights.iter().fold(0f32, |largest, w| largest.max(w.abs()));
        let deviation = (squares / weights.len() as f64).sqrt();
        (deviation, f64::from(largest) / deviation)
    };
    let close = |ours: f64, theirs: f64| {
        assert!((ours / theirs - 1.0).abs() < 0.02, "{ours} is not {theirs}")
    };
    // conv3_2 of VGG16 at 1/4 width: 64 channels in and out.
    let vgg = |init| {
        VggConfig::vgg16().with_width(0.25).with_initialization(init).architecture().expect("valid")
    };
    let alexnet = |config: AlexNetConfig| config.with_width(0.25).architecture().expect("valid");
    for (table, name, deviation) in [
        (vgg(VggInit::Torchvision), "features.12.weight", (2.0 / (64.0 * 9.0f64)).sqrt()),
        (vgg(VggInit::Paper), "features.12.weight", 0.1),
        (alexnet(AlexNetConfig::paper()), "features.8.weight", 0.01),
    ] {
        let (ours, tail) = spread(table, name);
        close(ours, deviation);
        assert!(tail > 3.5, "a normal distribution has tails: {tail}");
    }
    let (ours, tail) = spread(alexnet(AlexNetConfig::torchvision()), "features.6.weight");
    close(ours, 1.0 / (48.0 * 9.0f64).sqrt() / 3f64.sqrt());
    close(tail, 3f64.sqrt());
}

/// All vectors, in the order of burn's walk.
fn biases_of(network: &Network<B>) -> Vec<Vec<f32>> {
    struct Biases(Vec<Vec<f32>>);
    impl burn::module::ModuleVisitor<B> for Biases {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<B, D>>) {
            if D == 1 {
                self.0.push(values(param.val()));
            }
        }
    }
    let mut biases = Biases(Vec::new());
    burn::module::Module::visit(network, &mut biases);
    biases.0
}

/// The first parameter of that shape, in the order of burn's walk.
fn weights_of(network: &Network<B>, shape: &[usize]) -> Vec<f32> {
    struct Find<'a>(&'a [usize], Vec<f32>);
    impl burn::module::ModuleVisitor<B> for Find<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<B, D>>) {
            if self.1.is_empty() && param.val().dims() == *self.0 {
                self.1 = values(param.val());
            }
        }
    }
    let mut find = Find(shape, Vec::new());
    burn::module::Module::visit(network, &mut find);
    assert!(!find.1.is_empty());
    find.1
}

#[test]
fn biases_of_the_2012_network_start_at_one_where_the_paper_says() {
    let table = AlexNetConfig::paper().architecture().expect("valid");
    let ones: Vec<&str> = (table.steps().iter())
        .filter(|step| step.parameters.iter().any(|p| p.fill == Fill::Constant(1.0)))
        .map(|step| step.name.as_str())
        .collect();
    assert_eq!(ones, ["conv2", "conv4", "conv5", "fc6", "fc7"]);

    // And so the network has them, as many as its channels are.
    let table = AlexNetConfig::paper().with_width(0.0625).architecture().expect("valid");
    let network = Network::<B>::new(table.clone(), &Default::default()).expect("valid");
    let biases = biases_of(&network);
    let wanted: Vec<(usize, f32)> = (table.steps().iter())
        .flat_map(|step| &step.parameters)
        .filter(|p| p.role == Role::Bias)
        .map(|p| (p.shape[0], if p.fill == Fill::Constant(1.0) { 1.0 } else { 0.0 }))
        .collect();
    assert_eq!(biases.len(), 8);
    for (bias, (length, value)) in biases.iter().zip(wanted) {
        assert_eq!(bias, &vec![value; length]);
    }
}

#[test]
fn wrong_batches_are_errors_before_any_kernel() {
    let device = Default::default();
    let network = VggConfig::vgg11().with_width(0.05).init::<B>(&device);
    for (shape, says) in [
        ([1, 4, 32, 32], "[N >= 1, 3, H, W]"),
        ([1, 1, 32, 32], "[1, 1, 32, 32]"),
        ([1, 3, 31, 32], "at least 32x32"),
        ([1, 3, 32, 1], "at least 32x32"),
    ] {
        let x = Tensor::<B, 4>::zeros(shape, &device);
        let error = network.try_forward(x.clone()).expect_err("a wrong batch").to_string();
        assert!(error.contains(says) && error.contains("vgg11"), "{error}");
        assert!(network.features(x.clone()).is_err());
        assert!(network.taps(x, &["conv1_1"]).is_err());
    }
    let x = Tensor::<B, 4>::zeros([2, 3, 32, 40], &device);
    assert!(matches!(network.taps(x.clone(), &["conv9_1"]), Err(Error::UnknownLayer { .. })));
    assert_eq!(network.taps::<&str>(x, &[]).expect("nothing asked for").len(), 0);
}

/// What is not a number must not look like an answer, wherever it is asked for.
#[test]
fn what_is_not_a_number_reaches_every_output() {
    let device = Default::default();
    for (config, value) in
        NetworkConfig::all().into_iter().zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].repeat(6))
    {
        let table = config.with_width(0.05).architecture().expect("valid");
        let name = table.name.clone();
        let network: Network<B> = formula::network(table, &device);
        let mut x = formula::fill("input", &[2, 3, 67, 67], 0..2);
        x[67 * 67 + 32 * 67 + 32] = value;
        let x = tensor::<B>([2, 3, 67, 67], x);
        let mut outputs = vec![
            values(network.forward(x.clone())),
            values(network.features(x.clone()).expect("features")),
        ];
        for tap in network.taps(x, &["pool5", "fc7"]).expect("taps") {
            outputs.push(tap.into_data().expect("a CPU").iter::<f32>().collect());
        }
        for output in outputs {
            let (first, second) = output.split_at(output.len() / 2);
            assert!(first.iter().all(|value| !value.is_finite()), "{name}: {:?}", &first[..4]);
            assert!(second.iter().all(|value| value.is_finite()), "{name}: the image beside it");
        }
    }
}

/// An allocator that fails ends the process; a size that nobody has is asked for first.
#[test]
fn what_no_machine_holds_is_an_error() {
    let device = Default::default();
    let tiny = || VggConfig::vgg11().with_width(0.05);
    let error = Network::<B>::new(tiny().with_num_classes(1 << 40), &device).map(|_| "built");
    let error = error.expect_err("2^40 classes").to_string();
    assert!(error.contains("vgg11") && error.contains("the weights"), "{error}");

    let network = tiny().init::<B>(&device);
    assert!(network.check([8, 3, 224, 224], &device).is_ok());
    for shape in [[1 << 40, 3, 32, 32], [1 << 24, 3, 1 << 12, 1 << 12]] {
        let error = network.check(shape, &device).expect_err("too large").to_string();
        assert!(error.contains("vgg11: features.0: "), "{error}");
    }
    assert!(matches!(network.check([1, 3, 1 << 40, 1 << 40], &device), Err(Error::Table { .. })));
}

/// fc6 of the 2012 network, 144 MiB at full size, is kept in two chunks: here and on a GPU, so that
/// a record saved on one loads on the other.
#[test]
fn a_record_of_a_network_in_chunks_loads() {
    let device = Default::default();
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let classifier = vec![Layer::Linear { out: 4096, init }];
    let table = Table { classifier, ..chain(vec![], [9216, 1, 1]).table().clone() };
    let network: Network<B> = formula::network(table.clone(), &device);
    let record = burn::module::Module::into_record(network.clone());
    let fresh = Network::<B>::new(table, &device).expect("valid");
    let loaded = burn::module::Module::load_record(fresh, record);
    let x = || tensor::<B>([1, 9216, 1, 1], formula::fill("input", &[1, 9216, 1, 1], 0..1));
    let logits = values(loaded.forward(x()));
    assert_eq!(logits, values(network.forward(x())));

    let weight = formula::fill("classifier.0.weight", &[4096, 9216], 0..4096);
    let bias = formula::fill("classifier.0.bias", &[4096], 0..4096);
    let x = values(x());
    for row in [0, 2047, 2048, 4095] {
        let products = weight[row * 9216..].iter().zip(&x).map(|(w, x)| f64::from(w * x));
        let by_hand = products.sum::<f64>() + f64::from(bias[row]);
        assert!((f64::from(logits[row]) - by_hand).abs() < 1e-4, "{} {by_hand}", logits[row]);
    }
}

#[test]
fn a_batch_is_its_images() {
    let device = Default::default();
    let network: Network<B> = formula::network(AlexNetConfig::paper().with_width(0.05), &device);
    let x = tensor::<B>([3, 3, 70, 90], formula::fill("input", &[3, 3, 70, 90], 0..3));
    let together = values(network.forward(x.clone()));
    let apart: Vec<f32> =
        (0..3).flat_map(|i| values(network.forward(x.clone().narrow(0, i, 1)))).collect();
    let largest = together.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    assert_eq!((together.len(), apart.len()), (3000, 3000));
    assert!(together.iter().zip(apart).all(|(a, b)| (a - b).abs() <= 1e-5 * largest));
}
