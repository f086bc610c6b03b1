//! Processes against the whole batch in one, and against PyTorch.

use super::OnTheWay::*;
use super::*;
use crate::models::{
    AlexNetConfig, Architecture, BiasInit, Init, Layer, NetworkConfig, Numbering, Role, VggConfig,
    WeightInit,
};
use crate::train::processes::{Alone, Threads};
use crate::train::step;
use crate::vision::Preset;
use crate::vision::augment::Sample;
use burn::module::Module;
use burn::tensor::{Int, TensorData};
use burn_flex::Flex;
use safetensors::SafeTensors;
use std::ops::Range;

type B = burn::backend::Autodiff<Flex>;

/// Of the largest gradient: sums of f32 in another order.
const OF_LARGEST: f32 = 1e-5;

/// Gradients below this part of the largest are rounding.
const NOTHING: f32 = 1e-4;

const CLASSES: usize = 5;

/// How many of six images each process has.
const SHARES: [&[usize]; 4] = [&[6], &[4, 2], &[0, 6], &[3, 1, 0, 2]];

/// What a process has after a step.
struct Learned {
    /// In forward order.
    gradients: Vec<TensorData>,
    /// In forward order.
    running: Vec<Vec<f32>>,
    /// Of its images, times their share of the batch.
    loss: f32,
    bytes: u64,
}

/// The images `range` of a batch of noise.
fn share(range: Range<usize>, batch: usize, side: usize) -> Option<Batch<B>> {
    let value = |index: usize| (index as u32).wrapping_mul(2_654_435_761) as f32 / 2f32.powi(30);
    let image = 3 * side * side;
    let images = (range.start * image..range.end * image).map(|index| value(index) - 2.0);
    let images = images.collect();
    let classes: Vec<i64> = range.clone().map(|index| (index % CLASSES) as i64).collect();
    batch_of(images, classes, range, batch, side)
}

fn batch_of(
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
        smoothing: 0.1,
    })
}

/// Where each process's images are.
fn ranges(counts: &[usize]) -> Vec<Range<usize>> {
    let mut end = 0;
    let range = |&count| {
        end += count;
        end - count..end
    };
    counts.iter().map(range).collect()
}

fn learn(network: &Network<B>, mut together: Together, parts: Vec<Option<Batch<B>>>) -> Learned {
    let mut gradients = GradientsParams::new();
    let mut loss = 0.0;
    let last = parts.len() - 1;
    for (number, part) in parts.into_iter().enumerate() {
        let share = part.as_ref().map_or(0.0, |part| part.share as f32);
        let mut agree = |output: Result<Option<Output<B>>>| {
            loss += output?.map_or(0.0, |output| output.loss.into_scalar() * share);
            Ok(())
        };
        let part = Part { batch: part, is_last: number == last };
        let learned = network.learn_together(&mut together, part, &mut gradients, &mut agree);
        learned.expect("all are there");
    }
    learned(network, gradients, loss, together.bytes())
}

fn learned(network: &Network<B>, mut gradients: GradientsParams, loss: f32, bytes: u64) -> Learned {
    let parameters = network.architecture().parameters().expect("valid");
    let running = parameters.iter().filter(|own| !own.role.is_trained());
    Learned {
        gradients: take(network, &mut gradients).expect("gradients"),
        running: running.map(|own| network.values(own, 0..own.shape[0]).expect("values")).collect(),
        loss,
        bytes,
    }
}

/// What each of the processes has learned that have so many images each, with replicas of one network.
fn together(
    network: &Network<B>,
    on_the_way: OnTheWay,
    processes: usize,
    parts: impl Fn(usize) -> Vec<Option<Batch<B>>> + Sync,
) -> Vec<Learned> {
    let threads = Threads::new(vec!["a thread".into(); processes]);
    let parts = &parts;
    std::thread::scope(|scope| {
        let work = |one: Threads| {
            let network = network.replica(&Default::default());
            scope.spawn(move || {
                let parts = parts(one.rank());
                learn(&network, Together::new(Arc::new(one), on_the_way), parts)
            })
        };
        let running: Vec<_> = threads.into_iter().map(work).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

/// The whole batch in one process, by the pass of a job of one.
fn whole(network: &Network<B>, side: usize) -> Learned {
    let network = network.replica(&Default::default());
    let output = step::learn(&network, share(0..6, 6, side).expect("images")).expect("a step");
    learned(&network, output.grads, output.item.loss.into_scalar(), 0)
}

fn floats(data: &TensorData) -> &[f32] {
    data.as_slice().expect("f32")
}

fn largest<'a>(values: impl IntoIterator<Item = &'a f32>) -> f32 {
    values.into_iter().fold(0.0, |largest, value| largest.max(value.abs()))
}

/// The largest difference.
fn apart(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let apart: Vec<f32> = ours.iter().zip(theirs).map(|(a, b)| a - b).collect();
    largest(&apart)
}

fn expect_alike(place: &str, ours: &Learned, theirs: &Learned) {
    assert_eq!(ours.gradients.len(), theirs.gradients.len(), "{place}");
    let of_all = largest(theirs.gradients.iter().flat_map(floats));
    assert!(of_all > 1e-3, "{place}: a largest gradient of {of_all}");
    for (index, (ours, theirs)) in ours.gradients.iter().zip(&theirs.gradients).enumerate() {
        assert_eq!(ours.shape, theirs.shape);
        // A bias before batch norm has none, but for rounding.
        let scale = match largest(floats(theirs)) {
            own if own < NOTHING * of_all => of_all,
            own => own,
        };
        let error = apart(floats(ours), floats(theirs)) / scale;
        assert!(error <= OF_LARGEST, "{place}: gradient {index}: {error:.1e} of the largest");
    }
    for (ours, theirs) in ours.running.iter().zip(&theirs.running) {
        let error = apart(ours, theirs) / largest(theirs);
        assert!(error <= OF_LARGEST, "{place}: running statistics: {error:.1e} of the largest");
    }
}

fn alexnet(dropout: f64) -> Network<B> {
    let config = AlexNetConfig::paper().with_dropout(dropout);
    NetworkConfig::from(config).with_width(0.125).with_num_classes(CLASSES).seeded()
}

fn vgg_bn() -> Network<B> {
    let config = VggConfig::vgg11_bn().with_dropout(0.5);
    NetworkConfig::from(config).with_width(0.125).with_num_classes(CLASSES).seeded()
}

impl NetworkConfig {
    fn seeded(self) -> Network<B> {
        let device = Default::default();
        <B as burn::tensor::backend::Backend>::seed(&device, 1);
        Network::new(self, &device).expect("a network")
    }
}

#[test]
fn gradients_and_running_statistics_are_those_of_the_whole_batch() {
    let cases = [
        ("nothing dropped", alexnet(0.0), 67, [Nothing, SendClassifier].as_slice()),
        ("dropout", alexnet(0.5), 67, &[Nothing, SendClassifier, SynchronizeBatchNorm]),
        ("batch norm", vgg_bn(), 64, &[SynchronizeBatchNorm]),
    ];
    for (name, network, side, ways) in cases {
        let expected = whole(&network, side);
        for (counts, &way) in
            SHARES.iter().flat_map(|counts| ways.iter().map(move |way| (counts, way)))
        {
            let place = format!("{name}, {counts:?}, {way:?}");
            let ranges = ranges(counts);
            let parts = |rank: usize| vec![share(ranges[rank].clone(), 6, side)];
            let all = together(&network, way, counts.len(), parts);
            for one in &all {
                expect_alike(&place, one, &expected);
                // They stay the same network.
                assert!(one.gradients == all[0].gradients && one.running == all[0].running);
            }
            let loss: f32 = all.iter().map(|one| one.loss).sum();
            assert!((loss - expected.loss).abs() < 1e-5, "{place}: {loss} {}", expected.loss);
        }
    }
}

/// The pass in stretches has the operations of the pass in one.
#[test]
fn a_job_of_one_comes_to_the_same_bits() {
    let network = alexnet(0.5);
    let expected = whole(&network, 67);
    for way in [Nothing, SendClassifier, SynchronizeBatchNorm] {
        let alone = Together::new(Arc::new(Alone), way);
        let ours = learn(&network, alone, vec![share(0..6, 6, 67)]);
        assert!(ours.gradients == expected.gradients, "{way:?}");
    }
}

#[test]
fn parts_of_a_batch_add_up() {
    let network = alexnet(0.5);
    let expected = whole(&network, 67);
    // The second process has no image for its second part.
    let parts = [[0..2, 2..4], [4..6, 6..6]];
    let parts = |rank: usize| {
        parts[rank].iter().map(|part: &Range<usize>| share(part.clone(), 6, 67)).collect()
    };
    for way in [Nothing, SendClassifier, SynchronizeBatchNorm] {
        for one in together(&network, way, 2, parts) {
            expect_alike("in parts", &one, &expected);
        }
    }
}

/// The running statistics learn nothing from it.
#[test]
fn a_part_that_is_empty_in_all_processes_is_nothing() {
    let network = vgg_bn();
    let expected = whole(&network, 64);
    let parts = [[0..4, 6..6], [4..6, 6..6]];
    let parts = |rank: usize| {
        parts[rank].iter().map(|part: &Range<usize>| share(part.clone(), 6, 64)).collect()
    };
    for one in together(&network, SynchronizeBatchNorm, 2, parts) {
        expect_alike("an empty part", &one, &expected);
    }
}

#[test]
fn what_is_frozen_is_not_sent() {
    let frozen = |key: &str| ["features.0.", "features.4."].iter().any(|of| key.starts_with(of));
    for (network, side) in [(alexnet(0.5), 67), (vgg_bn(), 64)] {
        let network = network.frozen_where(frozen).expect("frozen");
        let expected = whole(&network, side);
        let parts = |rank: usize| vec![share([0..4, 4..6][rank].clone(), 6, side)];
        let parameters = network.architecture().parameters().expect("valid").into_iter();
        let trained = parameters.filter(|own| own.role.is_trained() && !frozen(&own.key));
        let values: u64 = trained.map(|own| own.elements()).sum();
        for one in together(&network, SynchronizeBatchNorm, 2, parts) {
            assert_eq!(one.bytes, 4 * values);
            expect_alike("frozen", &one, &expected);
        }
    }
}

#[test]
fn nobody_waits_for_a_process_that_is_gone() {
    let network = alexnet(0.5);
    for way in [Nothing, SendClassifier] {
        let [here, gone] =
            Threads::new(vec!["here".into(), "there".into()]).try_into().ok().expect("two");
        drop(gone);
        let mut here = Together::new(Arc::new(here), way);
        let part = Part { batch: share(0..2, 6, 67), is_last: true };
        let agree: Agree<B> = &mut |output| output.map(drop);
        let learned = network.learn_together(&mut here, part, &mut GradientsParams::new(), agree);
        let message = learned.expect_err("one is gone").to_string();
        assert!(message.contains("there"), "{message}");
    }
}

#[test]
fn a_replica_shares_nothing_that_changes() {
    let device = Default::default();
    let network = vgg_bn()
        .frozen_where(|key| key.starts_with("features.0."))
        .expect("frozen")
        .with_preset(Preset::imagenet());
    let replica = network.replica(&device);
    let values = |network: &Network<B>| -> Vec<Vec<f32>> {
        let parameters = network.architecture().parameters().expect("valid").into_iter();
        parameters.map(|own| network.values(&own, 0..own.shape[0]).expect("values")).collect()
    };
    let before = values(&network);
    assert!(values(&replica) == before);
    assert_eq!(replica.preset(), network.preset());
    let output = step::learn(&replica, share(0..2, 2, 64).expect("images")).expect("a step");
    assert_eq!(output.grads.len(), network.trained().expect("valid").len() - 2);
    let replica = replica.map(&mut Doubled);
    assert!(values(&network) == before);
    assert!(values(&replica) != before);
    let (ours, of_replica) = (network.trained().expect("ids"), replica.trained().expect("ids"));
    assert_eq!(ours, of_replica);
}

struct Doubled;

impl burn::module::ModuleMapper<B> for Doubled {
    fn map_float<const D: usize>(
        &mut self,
        param: burn::module::Param<Tensor<B, D>>,
    ) -> burn::module::Param<Tensor<B, D>> {
        param.map(|tensor| Tensor::from_inner(tensor.inner() * 2.0))
    }
}

// ----- PyTorch -----

/// That of golden/together.py.
fn small() -> Architecture {
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let conv = |out| Layer::Conv { out, kernel: 3, stride: 1, padding: 1, groups: 1, init };
    let pool = Layer::MaxPool { kernel: 2, stride: 2 };
    Architecture {
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
fn batch_norm_of_each_and_of_all_is_pytorchs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/together.safetensors");
    let Ok(bytes) = std::fs::read(path) else {
        return eprintln!("skipped: {path} is not there");
    };
    let golden = SafeTensors::deserialize(&bytes).expect("the fixture");
    let values = |name: &str| -> Vec<f32> {
        let tensor = golden.tensor(name).expect("in the fixture");
        tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let (table, images) = (small(), values("images"));
    let parameters = table.parameters().expect("valid");
    let network = Network::<B>::from_values(table, &Default::default(), |parameter, _| {
        Ok(values(&format!("weights/{}", parameter.key)))
    });
    let network = network.expect("a network");
    let shards = [0..4, 4..6];
    for (name, way) in [("own", Nothing), ("own", SendClassifier), ("all", SynchronizeBatchNorm)] {
        let all = together(&network, way, 2, |rank| {
            let shard = shards[rank].clone();
            let own = images[shard.start * 192..shard.end * 192].to_vec();
            let classes = shard.clone().map(|index| (index % CLASSES) as i64).collect();
            let part = batch_of(own, classes, shard, 6, 8);
            vec![part.map(|part| Batch { smoothing: 0.0, ..part })]
        });
        let trained: Vec<_> = parameters.iter().filter(|own| own.role.is_trained()).collect();
        assert_eq!(all[0].gradients.len(), trained.len());
        for (own, ours) in trained.into_iter().zip(&all[0].gradients) {
            let expected = values(&format!("{name}/gradient/{}", own.key));
            let error = apart(floats(ours), &expected) / largest(&expected).max(1e-2);
            assert!(error <= OF_LARGEST, "{name}: {}: {error:.1e} of the largest", own.key);
        }
        let is_running = |role| matches!(role, Role::RunningMean | Role::RunningVar);
        let running = parameters.iter().filter(|own| is_running(own.role));
        for (own, ours) in running.zip(&all[0].running) {
            let expected = values(&format!("{name}/{}", own.key));
            assert!(apart(ours, &expected) <= OF_LARGEST, "{name}: {}", own.key);
        }
    }
}
