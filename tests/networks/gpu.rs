//! What a GPU cannot do must be an error before the first kernel, or be done in parts: never a
//! panic, a hang or a wrong number. Runs on Mesa's lavapipe, whose tensors have at most 128 MiB.

use crate::formula;
use crate::golden;
use alexnet_vgg::Error;
use alexnet_vgg::backend::{self, BackendName, Flex, Job, Wgpu, WgpuDevice, gpu};
use alexnet_vgg::models::*;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};

/// GPUs sum in other orders and contract to fused multiply-adds.
const TOLERANCE: f64 = 1e-4;

const INIT: Init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

/// `None`, said aloud, where there is no adapter; where one must be (CI), that is a failure.
fn device() -> Option<WgpuDevice> {
    match gpu() {
        Ok(device) => Some(device),
        Err(error) if std::env::var_os("ALEXNET_VGG_NEEDS_GPU").is_some() => panic!("{error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// The rows that differ in kind; lavapipe is slow, and tunes each new layer for seconds. VGG's first
/// linear layer, 392 MiB, is beyond lavapipe's 128 MiB for a tensor.
#[test]
fn every_layer_equals_torch() {
    let Some(device) = device() else { return };
    for case in
        ["alexnet@256x320", "alexnet_paper@227x227", "vgg11_lrn_bn@224x224", "vgg16@224x224"]
    {
        golden::compare::<Wgpu>(case, &device, TOLERANCE);
    }
}

fn conv(out: usize) -> Layer {
    Layer::Conv { out, kernel: 1, stride: 1, padding: 0, groups: 1, init: INIT }
}

fn table(features: Vec<Layer>, channels: usize, classes: usize, pool: usize) -> Architecture {
    let table = Table {
        name: "table".into(),
        input: [channels, 8, 8],
        features,
        pool: [pool; 2],
        classifier: vec![Layer::Linear { out: classes, init: INIT }],
        numbering: Numbering::Sequential,
    };
    Architecture::new(table).expect("valid")
}

fn logits<B: Backend>(table: &Architecture, shape: [usize; 4], device: &B::Device) -> Vec<f32> {
    let network: Network<B> = formula::network(table.clone(), device);
    let images = TensorData::new(formula::fill("input", &shape, 0..shape[0]), shape);
    let logits = network.try_forward(Tensor::from_data(images, device)).expect("logits");
    backend::read(logits).expect("a device that works").iter::<f32>().collect()
}

fn expect_same(table: &Architecture, shape: [usize; 4], device: &WgpuDevice) {
    let ours = logits::<Wgpu>(table, shape, device);
    let theirs = logits::<Flex>(table, shape, &Default::default());
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    for (at, (a, b)) in ours.iter().zip(&theirs).enumerate() {
        assert!(
            f64::from((a - b).abs()) <= TOLERANCE * f64::from(largest),
            "[{at}]: {a} is not {b}"
        );
    }
}

/// Side of an image whose 64 channels just fit the device, where it has a limit to speak of.
fn side_at_the_limit(device: &WgpuDevice) -> Option<usize> {
    let largest = backend::largest_tensor(device).expect("a device").expect("a limit");
    let side = ((largest / 4 / 64) as f64).sqrt() as usize;
    if largest > 1 << 28 {
        eprintln!("skipped: this device takes {largest} bytes in one tensor");
        return None;
    }
    Some(side)
}

#[test]
fn a_batch_too_large_for_one_tensor_goes_through_in_parts() {
    let Some(device) = device() else { return };
    let Some(side) = side_at_the_limit(&device) else { return };
    // Two images of half the limit are too many with a third.
    let side = side * 2 / 3;
    let table = table(vec![conv(64), Layer::Relu], 3, 5, 7);
    let shape = [3, 3, side, side];
    expect_same(&table, shape, &device);

    // The logits of all parts can be put together, the maps cannot.
    let network: Network<Wgpu> = formula::network(table.clone(), &device);
    let images = TensorData::new(formula::fill("input", &shape, 0..3), shape);
    let images = Tensor::from_data(images, &device);
    let taps = network.taps(images.clone(), &["avgpool", "classifier.0"]).expect("small taps");
    assert_eq!((taps[0].dims(), taps[1].dims()), (vec![3, 64, 7, 7], vec![3, 5]));
    let tapped = taps[1].clone().into_data().expect("a device that works");
    assert_eq!(tapped.iter::<f32>().collect::<Vec<_>>(), logits::<Wgpu>(&table, shape, &device));
    let error = network.taps(images.clone(), &["features.1"]).expect_err("too large").to_string();
    assert!(error.contains("features.1"), "{error}");
    assert!(matches!(network.features(images), Err(Error::Backend { .. })));
}

/// Many classes make logits larger than the images.
#[test]
fn logits_too_large_for_one_tensor_are_an_error() {
    let Some(device) = device() else { return };
    let Some(_) = side_at_the_limit(&device) else { return };
    let network: Network<Wgpu> = formula::network(table(vec![], 1, 1 << 16, 1), &device);
    let error = network.try_forward(Tensor::zeros([4096, 1, 1, 1], &device)).expect_err("1 GiB");
    assert!(error.to_string().contains("classifier.0"), "{error}");
    assert!(network.check([4096, 1, 1, 1], &device).is_err());
    assert!(network.check([16, 1, 1, 1], &device).is_ok());
}

#[test]
fn a_linear_layer_too_large_for_one_tensor_is_split() {
    let Some(device) = device() else { return };
    let largest = backend::largest_tensor(&device).expect("a device").expect("a limit");
    if largest > 1 << 28 {
        return eprintln!("skipped: this device takes {largest} bytes in one tensor");
    }
    // 4096 inputs of 4 bytes: this many rows are 2.5 tensors.
    let rows = (largest / (4 * 4096) * 5 / 2) as usize;
    expect_same(&table(vec![conv(4096)], 3, rows, 1), [2, 3, 4, 4], &device);
}

#[test]
fn what_does_not_fit_is_an_error_before_the_first_kernel() {
    let Some(device) = device() else { return };
    let Some(side) = side_at_the_limit(&device) else { return };
    let network: Network<Wgpu> = formula::network(table(vec![conv(64)], 3, 5, 7), &device);
    let images = Tensor::zeros([1, 3, side + 1, side + 1], &device);
    let error = network.try_forward(images).expect_err("too large");
    assert!(matches!(error, Error::Backend { .. }), "{error}");
    assert!(error.to_string().contains("features.0"), "{error}");

    // A convolution's weight is not split, and asked for before the first tensor is made.
    let wide = Layer::Conv { out: 4096, kernel: 3, stride: 1, padding: 1, groups: 1, init: INIT };
    let features = vec![conv(4096), wide];
    let error = Network::<Wgpu>::from_values(table(features, 3, 5, 7), &device, |_, _| {
        panic!("asked for values that have no place")
    })
    .map(|_| "built")
    .expect_err("too large");
    assert!(error.to_string().contains("features.1.weight"), "{error}");
}

/// Both halves on the one adapter that there is: what crosses goes through the same place.
#[test]
fn two_halves_on_a_gpu_are_one_network() {
    let Some(device) = device() else { return };
    // At a width of 0.1, linear layers take 409 values, and one of the kernels that burn may choose there, by what is
    // fastest at the moment (`matmul_double_unit_max_tile_size`), is wrong by 0.5% on lavapipe.
    let config = AlexNetConfig::two_gpu().with_width(0.125).with_num_classes(10);
    let table = config.architecture().expect("valid");
    let network: Network<Wgpu> = formula::network(table.clone(), &device);
    let halves =
        TwoGpuNetwork::split(&network, &[device.clone(), device.clone()]).expect("a device");
    let shape = [2, 3, 96, 80];
    let images = TensorData::new(formula::fill("input", &shape, 0..2), shape);
    let ours = halves.try_forward(Tensor::from_data(images, &device)).expect("logits");
    let ours = backend::read(ours).expect("a device that works").iter::<f32>().collect::<Vec<_>>();
    let theirs = logits::<Flex>(&table, shape, &Default::default());
    let largest = theirs.iter().fold(0f32, |largest, v| largest.max(v.abs()));
    for (a, b) in ours.iter().zip(&theirs) {
        assert!(f64::from((a - b).abs()) <= TOLERANCE * f64::from(largest), "{a} is not {b}");
    }
    let crossings = table.two_gpu_split([96, 80]).expect("even groups").crossings();
    let bytes: u64 = crossings.iter().flat_map(|crossing| crossing.values).sum::<u64>() * 2 * 4;
    let counted = halves.take_transfers().iter().map(|it| it.forward.bytes).sum::<u64>();
    assert_eq!(counted, bytes);
}

/// Steps of training.
#[cfg(feature = "train")]
mod steps {
    use super::*;
    use alexnet_vgg::train::Batch;
    use alexnet_vgg::vision::augment::Sample;
    use burn::backend::Autodiff;
    use burn::optim::GradientsParams;
    use burn::train::TrainStep;

    /// Sums over places and images, in f32 on both sides: 1.1e-6 seen.
    const SUMS: f64 = 1e-5;

    fn batch<B: Backend>(shape: [usize; 4], device: &B::Device) -> Batch<B> {
        let images = TensorData::new(formula::fill("input", &shape, 0..shape[0]), shape);
        let sample = |index| Sample { seed: 1, epoch: 0, index };
        Batch {
            images: Tensor::from_data(images, device),
            classes: Tensor::from_ints([0, 3, 1], device),
            samples: (0..3).map(sample).collect(),
            share: 1.0,
            label_smoothing: 0.0,
            mixed: None,
        }
    }

    /// Of every parameter, in forward order.
    fn gradients<B: Backend>(
        trained: &[TrainableParameter],
        gradients: &GradientsParams,
    ) -> Vec<Vec<f32>> {
        let of = |it: &TrainableParameter| -> Vec<f32> {
            let rows = it.ids.iter().flat_map(|&id| {
                let data = match it.parameter.shape.len() {
                    1 => gradients.get::<B, 1>(id).map(backend::read),
                    2 => gradients.get::<B, 2>(id).map(backend::read),
                    _ => gradients.get::<B, 4>(id).map(backend::read),
                };
                let data = data.expect("a gradient").expect("a device that works");
                data.iter::<f32>().collect::<Vec<_>>()
            });
            rows.collect()
        };
        trained.iter().map(of).collect()
    }

    fn of_cpu(table: &Architecture, shape: [usize; 4]) -> Vec<Vec<f32>> {
        let whole: Network<Autodiff<Flex>> = formula::network(table.clone(), &Default::default());
        let theirs = TrainStep::step(&whole, batch(shape, &Default::default())).grads;
        gradients::<Flex>(&whole.trainable_parameters(), &theirs)
    }

    fn expect_same_gradients(ours: &[Vec<f32>], theirs: &[Vec<f32>], tolerance: f64) {
        assert_eq!(ours.len(), theirs.len());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(ours.len(), theirs.len());
            let largest = theirs.iter().fold(0f32, |largest, v| largest.max(v.abs()));
            for (a, b) in ours.iter().zip(theirs) {
                let error = f64::from((a - b).abs()) / f64::from(largest);
                assert!(error <= tolerance, "{a} is not {b}: {error:e}");
            }
        }
    }

    #[test]
    fn a_step_of_two_halves_on_a_gpu_is_that_of_the_cpu() {
        let Some(device) = device() else { return };
        let table = table(vec![conv(64), Layer::Relu], 3, 5, 7);
        let shape = [3, 3, 40, 40];
        let network: Network<Autodiff<Wgpu>> = formula::network(table.clone(), &device);
        let halves =
            TwoGpuNetwork::split(&network, &[device.clone(), device.clone()]).expect("a device");
        let ours = TrainStep::step(&halves, batch(shape, &device)).grads;
        let ours = gradients::<Wgpu>(&halves.trainable_parameters(), &ours);
        expect_same_gradients(&ours, &of_cpu(&table, shape), SUMS);
        let transfers = halves.take_transfers();
        assert!(transfers.iter().all(|transfer| transfer.backward.calls > 0), "{transfers:?}");
    }

    /// Mesa's software drivers end the loops of a shader after 65535 rounds. burn adds up a number of the
    /// convolution's gradient in `(images + 2) * 120 * 120 + 3 * 120`: three images are too many, two are not.
    #[test]
    fn a_gradient_of_more_places_than_a_loop_has_rounds_is_added_up_in_parts() {
        let Some(device) = device() else { return };
        let table = table(vec![conv(8), Layer::Relu], 3, 5, 7);
        let shape = [3, 3, 120, 120];
        let network: Network<Autodiff<Wgpu>> = formula::network(table.clone(), &device);
        let theirs = of_cpu(&table, shape);
        let ours = TrainStep::step(&network, batch(shape, &device)).grads;
        let ours = gradients::<Wgpu>(&network.trainable_parameters(), &ours);
        expect_same_gradients(&ours, &theirs, TOLERANCE);
        let halves =
            TwoGpuNetwork::split(&network, &[device.clone(), device.clone()]).expect("a device");
        let ours = TrainStep::step(&halves, batch(shape, &device)).grads;
        let ours = gradients::<Wgpu>(&halves.trainable_parameters(), &ours);
        expect_same_gradients(&ours, &theirs, TOLERANCE);

        // One image of these is too much (147x147 would not be), but for a network that is only looked at.
        let large = [1, 3, 148, 148];
        if let Err(error) = network.check(large, &device) {
            assert!(matches!(error, Error::Backend { .. }), "{error}");
            assert!(error.to_string().contains("features.0"), "{error}");
            assert!(halves.check(large, &device).is_err());
        }
        assert!(network.clone().freeze().check(large, &device).is_ok());
        assert!(formula::network::<Wgpu>(table, &device).check(large, &device).is_ok());
    }
}

struct Name;

impl Job for Name {
    type Output = String;

    fn run<B: Backend>(self, device: &B::Device) -> alexnet_vgg::Result<String> {
        Ok(B::name(device))
    }
}

#[test]
fn backends_go_by_name() {
    assert!(BackendName::Flex.run(Name).expect("compiled in").contains("flex"));
    assert!("cuda".parse::<BackendName>().is_err());
    for backend in BackendName::ALL {
        assert_eq!(backend.to_string().parse::<BackendName>().ok(), Some(backend));
    }
}

/// In a process of its own, whose Vulkan and OpenGL find no driver.
#[test]
#[cfg(target_os = "linux")]
fn a_machine_without_an_adapter_gets_our_error() {
    const CHILD: &str = "ALEXNET_VGG_WITHOUT_ADAPTER";
    if std::env::var_os(CHILD).is_some() {
        let error = BackendName::Wgpu.run(Name).expect_err("no adapter").to_string();
        assert!(error.contains("backend wgpu") && error.contains("adapter"), "{error}");
        let built = Network::<Wgpu>::new(VggConfig::vgg16(), &Default::default());
        assert!(matches!(built.map(|_| ()), Err(Error::Backend { .. })));
        return;
    }
    let child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "gpu::a_machine_without_an_adapter_gets_our_error"])
        .env(CHILD, "1")
        .env("VK_DRIVER_FILES", "/dev/null")
        .env("VK_ICD_FILENAMES", "/dev/null")
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/dev/null")
        .env("LIBGL_DRIVERS_PATH", "/dev/null")
        .output()
        .expect("a process");
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}
