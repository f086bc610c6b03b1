//! Several processes against one process with the whole batch, and against PyTorch.

use super::GradientSync::*;
use super::*;
use crate::models::{
    AlexNetConfig, BiasInit, Init, Layer, NetworkConfig, Numbering, Role, Table, VggConfig,
    WeightInit,
};
use crate::train::processes::{SingleProcess, ThreadGroup};
use crate::train::step::training_step;
use crate::train::{Trainable, processes::ProcessGroup};
use crate::vision::Preset;
use crate::vision::augment::Sample;
use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Int, TensorData};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use safetensors::SafeTensors;
use std::ops::Range;

/// As users train on a CPU.
type Trained = Autodiff<Flex>;

/// The same code in f64. In f32 the order of sums can move a value to the other side of a ReLU's 0 or make another
/// one the largest of its pool, which changes gradients by any amount.
type Exact = Autodiff<NdArray<f64>>;

/// The tolerance of shares of a batch against the whole, as a fraction of the largest value: processes exchange
/// f32, with errors of 6e-8 for each of up to four processes, and the backward pass through eight batch norms
/// makes up to 7e-7 of them.
const TOLERANCE: f32 = 3e-6;

/// The tolerance of f32 against PyTorch's: sums in another order.
const TORCH_TOLERANCE: f32 = 1e-5;

/// Gradients below this fraction of the largest are rounding errors.
const NEGLIGIBLE: f32 = 1e-4;

const CLASSES: usize = 5;

/// How many of six images each process has.
const SHARES: [&[usize]; 4] = [&[6], &[4, 2], &[0, 6], &[3, 1, 0, 2]];

/// What a process has after a step.
struct StepResult {
    /// In forward order.
    gradients: Vec<TensorData>,
    /// In forward order.
    running: Vec<Vec<f32>>,
    /// The loss of its images, times their share of the batch.
    loss: f32,
    bytes: u64,
}

/// The images `range` of a batch of noise.
fn noise_batch<B: AutodiffBackend>(
    range: Range<usize>,
    batch: usize,
    side: usize,
) -> Option<Batch<B>> {
    let value = |index: usize| (index as u32).wrapping_mul(2_654_435_761) as f32 / 2f32.powi(30);
    let image = 3 * side * side;
    let images = (range.start * image..range.end * image).map(|index| value(index) - 2.0);
    let images = images.collect();
    let classes: Vec<i64> = range.clone().map(|index| (index % CLASSES) as i64).collect();
    batch_of(images, classes, range, batch, side)
}

fn batch_of<B: AutodiffBackend>(
    images: Vec<f32>,
    classes: Vec<i64>,
    range: Range<usize>,
    batch: usize,
    side: usize,
) -> Option<Batch<B>> {
    let (device, count) = (Default::default(), range.len());
    (count > 0).then(|| Batch {
        images: Tensor::from_data(TensorData::new(images, [count, 3, side, side]), &device),
        classes: Tensor::<B, 1, Int>::from_data(TensorData::new(classes, [count]), &device),
        samples: range.map(|index| Sample { seed: 7, epoch: 3, index: index as u64 }).collect(),
        share: count as f64 / batch as f64,
        label_smoothing: 0.1,
        mixed: None,
    })
}

/// The images of each process, as ranges.
fn ranges(counts: &[usize]) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |&count| {
        end += count;
        end - count..end
    };
    counts.iter().map(range).collect()
}

/// The step of one process, micro-batch by micro-batch.
fn step<B: AutodiffBackend>(
    network: &Network<B>,
    mut data_parallel: DataParallel,
    micro_batches: Vec<Option<Batch<B>>>,
) -> StepResult {
    let mut gradients = GradientsParams::new();
    let mut loss = 0.0;
    let last = micro_batches.len() - 1;
    for (number, batch) in micro_batches.into_iter().enumerate() {
        let share = batch.as_ref().map_or(0.0, |batch| batch.share as f32);
        let mut confirm = |output: Result<Option<Output<B>>>| {
            loss += output?.map_or(0.0, |output| scalar(output.loss) * share);
            Ok(())
        };
        let local = LocalMicroBatch { batch, is_last: number == last };
        let done =
            network.distributed_step(&mut data_parallel, local, &mut gradients, &mut confirm);
        done.expect("all are there");
    }
    step_result(network, gradients, loss, data_parallel.bytes())
}

fn step_result<B: AutodiffBackend>(
    network: &Network<B>,
    mut gradients: GradientsParams,
    loss: f32,
    bytes: u64,
) -> StepResult {
    let running = network.architecture().parameters().filter(|own| !own.role.is_trained());
    StepResult {
        gradients: take_gradients(network, &mut gradients).expect("gradients"),
        running: running.map(|own| network.values(own, 0..own.shape[0]).expect("values")).collect(),
        loss,
        bytes,
    }
}

/// The results of several processes, as threads with copies of one network. `micro_batches` gives those of a rank.
fn step_together<B: AutodiffBackend>(
    network: &Network<B>,
    sync: GradientSync,
    processes: usize,
    micro_batches: impl Fn(usize) -> Vec<Option<Batch<B>>> + Sync,
) -> Vec<StepResult> {
    let threads = ThreadGroup::new(vec!["a thread".into(); processes]);
    let micro_batches = &micro_batches;
    std::thread::scope(|scope| {
        let work = |own: ThreadGroup| {
            let network = network.replica(&Default::default());
            scope.spawn(move || {
                let micro_batches = micro_batches(own.rank());
                step(&network, DataParallel::new(Arc::new(own), sync), micro_batches)
            })
        };
        let running: Vec<_> = threads.into_iter().map(work).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// The result of the whole batch in one process.
fn step_of_whole_batch<B: AutodiffBackend>(network: &Network<B>, side: usize) -> StepResult {
    let network = network.replica(&Default::default());
    let batch = noise_batch(0..6, 6, side).expect("images");
    let output = training_step(&network, batch).expect("a step");
    step_result(&network, output.grads, scalar(output.item.loss), 0)
}

fn scalar<B: Backend>(loss: Tensor<B, 1>) -> f32 {
    loss.into_scalar().elem()
}

fn floats(data: &TensorData) -> &[f32] {
    data.as_slice().expect("f32")
}

fn largest<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The largest difference.
fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let differences: Vec<f32> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    largest(&differences)
}

fn expect_equal_results(place: &str, ours: &StepResult, theirs: &StepResult) {
    assert_eq!(ours.gradients.len(), theirs.gradients.len(), "{place}");
    let largest_of_all = largest(theirs.gradients.iter().flat_map(floats));
    assert!(largest_of_all > 1e-3, "{place}: a largest gradient of {largest_of_all}");
    for (index, (ours, theirs)) in ours.gradients.iter().zip(&theirs.gradients).enumerate() {
        assert_eq!(ours.shape, theirs.shape);
        // The gradient of a bias before batch norm is 0, except for rounding.
        let scale = match largest(floats(theirs)) {
            own if own < NEGLIGIBLE * largest_of_all => largest_of_all,
            own => own,
        };
        let error = largest_difference(floats(ours), floats(theirs)) / scale;
        assert!(error <= TOLERANCE, "{place}: gradient {index}: {error:.1e} of the largest");
    }
    for (ours, theirs) in ours.running.iter().zip(&theirs.running) {
        let error = largest_difference(ours, theirs) / largest(theirs);
        assert!(error <= TOLERANCE, "{place}: running statistics: {error:.1e} of the largest");
    }
}

fn alexnet<B: AutodiffBackend>(dropout: f64) -> Network<B> {
    let config = AlexNetConfig::paper().with_dropout(dropout);
    seeded(NetworkConfig::from(config).with_width(0.125).with_num_classes(CLASSES))
}

fn vgg_bn<B: AutodiffBackend>() -> Network<B> {
    let config = VggConfig::vgg11_bn().with_dropout(0.5);
    seeded(NetworkConfig::from(config).with_width(0.125).with_num_classes(CLASSES))
}

fn seeded<B: AutodiffBackend>(config: NetworkConfig) -> Network<B> {
    let device = Default::default();
    B::seed(&device, 1);
    Network::new(config, &device).expect("a network")
}

#[test]
fn gradients_and_running_statistics_are_those_of_the_whole_batch() {
    let cases = [
        (
            "nothing dropped",
            alexnet::<Exact>(0.0),
            67,
            [AfterBackward, OverlapClassifier].as_slice(),
        ),
        ("dropout", alexnet(0.5), 67, &[AfterBackward, OverlapClassifier, SyncBatchNorm]),
        ("batch norm", vgg_bn(), 64, &[SyncBatchNorm]),
    ];
    for (name, network, side, syncs) in cases {
        let expected = step_of_whole_batch(&network, side);
        for (counts, &sync) in
            SHARES.iter().flat_map(|counts| syncs.iter().map(move |sync| (counts, sync)))
        {
            let place = format!("{name}, {counts:?}, {sync:?}");
            let ranges = ranges(counts);
            let parts = |rank: usize| vec![noise_batch(ranges[rank].clone(), 6, side)];
            let all = step_together(&network, sync, counts.len(), parts);
            for one in &all {
                expect_equal_results(&place, one, &expected);
                // All processes have the same network.
                assert!(one.gradients == all[0].gradients && one.running == all[0].running);
            }
            let loss: f32 = all.iter().map(|one| one.loss).sum();
            assert!((loss - expected.loss).abs() < 1e-5, "{place}: {loss} {}", expected.loss);
        }
    }
}

/// The segmented pass has the same operations as the whole one.
#[test]
fn a_single_process_has_the_same_bits_in_segments() {
    let network = alexnet::<Trained>(0.5);
    let expected = step_of_whole_batch(&network, 67);
    for sync in [AfterBackward, OverlapClassifier, SyncBatchNorm] {
        let single = DataParallel::new(Arc::new(SingleProcess), sync);
        let ours = step(&network, single, vec![noise_batch(0..6, 6, 67)]);
        assert!(ours.gradients == expected.gradients, "{sync:?}");
    }
}

#[test]
fn micro_batches_accumulate() {
    let network = alexnet::<Exact>(0.5);
    let expected = step_of_whole_batch(&network, 67);
    // The second process has no images in its second micro-batch.
    let parts = [[0..2, 2..4], [4..6, 6..6]];
    let parts = |rank: usize| {
        parts[rank].iter().map(|part: &Range<usize>| noise_batch(part.clone(), 6, 67)).collect()
    };
    for sync in [AfterBackward, OverlapClassifier, SyncBatchNorm] {
        for one in step_together(&network, sync, 2, parts) {
            expect_equal_results("in micro-batches", &one, &expected);
        }
    }
}

/// It must not update the running statistics.
#[test]
fn a_micro_batch_that_is_empty_in_all_processes_changes_nothing() {
    let network = vgg_bn::<Exact>();
    let expected = step_of_whole_batch(&network, 64);
    let parts = [[0..4, 6..6], [4..6, 6..6]];
    let parts = |rank: usize| {
        parts[rank].iter().map(|part: &Range<usize>| noise_batch(part.clone(), 6, 64)).collect()
    };
    for one in step_together(&network, SyncBatchNorm, 2, parts) {
        expect_equal_results("an empty micro-batch", &one, &expected);
    }
}

#[test]
fn frozen_parameters_are_not_sent() {
    let frozen = |key: &str| ["features.0.", "features.4."].iter().any(|of| key.starts_with(of));
    for (network, side) in [(alexnet::<Exact>(0.5), 67), (vgg_bn(), 64)] {
        let network = network.freeze_where(frozen);
        let expected = step_of_whole_batch(&network, side);
        let parts = |rank: usize| vec![noise_batch([0..4, 4..6][rank].clone(), 6, side)];
        let parameters = network.architecture().parameters();
        let trained = parameters.filter(|own| own.role.is_trained() && !frozen(&own.key));
        let values: u64 = trained.map(|own| own.elements()).sum();
        for one in step_together(&network, SyncBatchNorm, 2, parts) {
            assert_eq!(one.bytes, 4 * values);
            expect_equal_results("frozen", &one, &expected);
        }
    }
}

#[test]
fn no_process_waits_for_one_that_is_gone() {
    let network = alexnet::<Trained>(0.5);
    for sync in [AfterBackward, OverlapClassifier] {
        let [here, gone] =
            ThreadGroup::new(vec!["here".into(), "there".into()]).try_into().ok().expect("two");
        drop(gone);
        let mut data_parallel = DataParallel::new(Arc::new(here), sync);
        let local = LocalMicroBatch { batch: noise_batch(0..2, 6, 67), is_last: true };
        let mut gradients = GradientsParams::new();
        let confirm: ConfirmForward<Trained> = &mut |output| output.map(drop);
        let done = network.distributed_step(&mut data_parallel, local, &mut gradients, confirm);
        let error = done.map(drop);
        let message = error.expect_err("one is gone").to_string();
        assert!(message.contains("there"), "{message}");
    }
}

#[test]
fn a_replica_is_independent() {
    let device = Default::default();
    let network = vgg_bn::<Trained>()
        .freeze_where(|key| key.starts_with("features.0."))
        .with_metadata(Preset::imagenet().into());
    let replica = network.replica(&device);
    let values = |network: &Network<Trained>| -> Vec<Vec<f32>> {
        let parameters = network.architecture().parameters();
        parameters.map(|own| network.values(own, 0..own.shape[0]).expect("values")).collect()
    };
    let before = values(&network);
    assert!(values(&replica) == before);
    assert_eq!(replica.metadata(), network.metadata());
    let output =
        training_step(&replica, noise_batch(0..2, 2, 64).expect("images")).expect("a step");
    assert_eq!(output.grads.len(), network.trainable_parameters().len() - 2);
    let replica = replica.map(&mut Doubled);
    assert!(values(&network) == before);
    assert!(values(&replica) != before);
    assert_eq!(network.trainable_parameters(), replica.trainable_parameters());
}

struct Doubled;

impl<B: AutodiffBackend> burn::module::ModuleMapper<B> for Doubled {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<B, D>>,
    ) -> burn::module::Param<Tensor<B, D>> {
        param.map(|tensor| Tensor::from_inner(tensor.inner() * 2.0))
    }
}

// ----- PyTorch -----

/// The network of golden/together.py.
fn small() -> Table {
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let conv = |out| Layer::Conv { out, kernel: 3, stride: 1, padding: 1, groups: 1, init };
    let pool = Layer::MaxPool { kernel: 2, stride: 2 };
    Table {
        name: "small".into(),
        input: [3, 8, 8],
        features: vec![
            conv(4),
            Layer::BatchNorm,
            Layer::Relu,
            pool,
            conv(6),
            Layer::BatchNorm,
            Layer::Relu,
        ],
        pool: [2, 2],
        classifier: vec![Layer::Linear { out: CLASSES, init }],
        numbering: Numbering::Sequential,
    }
}

#[test]
fn batch_norm_matches_pytorch_with_own_and_synchronized_statistics() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/together.safetensors");
    let Ok(bytes) = std::fs::read(path) else {
        return eprintln!("skipped: {path} is not there");
    };
    let golden = SafeTensors::deserialize(&bytes).expect("the fixture");
    let values = |name: &str| -> Vec<f32> {
        let tensor = golden.tensor(name).expect("in the fixture");
        tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let images = values("images");
    let network = Network::<Trained>::from_values(small(), &Default::default(), |parameter, _| {
        Ok(values(&format!("weights/{}", parameter.key)))
    });
    let network = network.expect("a network");
    let parameters: Vec<_> = network.architecture().parameters().collect();
    let shards = [0..4, 4..6];
    for (name, sync) in [("own", AfterBackward), ("own", OverlapClassifier), ("all", SyncBatchNorm)]
    {
        let all = step_together(&network, sync, 2, |rank| {
            let shard = shards[rank].clone();
            let own = images[shard.start * 192..shard.end * 192].to_vec();
            let classes = shard.clone().map(|index| (index % CLASSES) as i64).collect();
            let part = batch_of(own, classes, shard, 6, 8);
            vec![part.map(|part| Batch { label_smoothing: 0.0, ..part })]
        });
        let trained: Vec<_> = parameters.iter().filter(|own| own.role.is_trained()).collect();
        assert_eq!(all[0].gradients.len(), trained.len());
        for (own, ours) in trained.into_iter().zip(&all[0].gradients) {
            let expected = values(&format!("{name}/gradient/{}", own.key));
            let error = largest_difference(floats(ours), &expected) / largest(&expected).max(1e-2);
            assert!(error <= TORCH_TOLERANCE, "{name}: {}: {error:.1e} of the largest", own.key);
        }
        let is_running = |role| matches!(role, Role::RunningMean | Role::RunningVar);
        let running = parameters.iter().filter(|own| is_running(own.role));
        for (own, ours) in running.zip(&all[0].running) {
            let expected = values(&format!("{name}/{}", own.key));
            assert!(largest_difference(ours, &expected) <= TORCH_TOLERANCE, "{name}: {}", own.key);
        }
    }
}
