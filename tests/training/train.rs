//! Training: the update rules against PyTorch, and that no run is lost: interrupted anywhere, it comes to
//! the same bits.

use crate::formula;
use alexnet_vgg::backend::Flex;
use alexnet_vgg::models::*;
use alexnet_vgg::train::processes::ProcessGroup;
use alexnet_vgg::train::*;
use alexnet_vgg::vision::augment::Sample;
use alexnet_vgg::weights::{LoadOptions, Weights};
use alexnet_vgg::{Error, Result, train};
use burn::backend::Autodiff;
use burn::optim::Optimizer;
use burn::tensor::{Int, Tensor, TensorData};
use burn::train::{Interrupter, TrainStep};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type B = Autodiff<Flex>;

/// The tolerance of 50 steps in f32 against PyTorch in f64: five times what was seen, 2e-6.
const TOLERANCE: f64 = 1e-5;

/// Colored noise: each class is brighter in another channel. Some are flipped at random, as an
/// augmentation would.
struct Noise {
    labels: Vec<String>,
    classes: Vec<usize>,
    side: usize,
}

impl Noise {
    fn new(count: usize, classes: usize, side: usize) -> Arc<Self> {
        let labels = (0..classes).map(|class| format!("class {class}")).collect();
        Arc::new(Self { labels, classes: (0..count).map(|index| index % classes).collect(), side })
    }
}

impl Examples for Noise {
    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn shape(&self) -> [usize; 3] {
        [3, self.side, self.side]
    }

    fn read(&self, index: usize, sample: Sample, out: &mut Vec<f32>) -> Result<()> {
        let mut random = ChaCha8Rng::seed_from_u64(index as u64);
        let mut visit = ChaCha8Rng::seed_from_u64(sample.epoch * 1000 + sample.index);
        let shift: f32 = visit.random_range(-0.1..0.1);
        for channel in 0..3 {
            let bright = if channel == self.classes[index] % 3 { 0.5 } else { 0.0 };
            out.extend(
                (0..self.side * self.side).map(|_| random.random_range(-1.0..1.0) + bright + shift),
            );
        }
        Ok(())
    }

    fn name(&self, index: usize) -> String {
        format!("noise {index}")
    }

    fn identity(&self) -> Vec<(String, String)> {
        vec![("examples".into(), self.classes.len().to_string())]
    }
}

fn noise(train: usize, classes: usize) -> Data {
    let train = Noise::new(train, classes, 32);
    Data { still: train.clone(), train, valid: Noise::new(12, classes, 32) }
}

/// Everything that a checkpoint must hold: batch norm, dropout, micro-batches, a plateau, clipping, mixing, a weight average.
fn recipe() -> Recipe {
    Recipe {
        batch: 8,
        micro_batches: 2,
        epochs: 2,
        rate: 0.01,
        label_smoothing: 0.1,
        clip_norm: Some(5.0),
        mixup: Some(Mix { alpha: 0.4, probability: 0.8 }),
        cutmix: Some(Mix::new(1.0)),
        ema_decay: Some(0.7),
        ..Recipe::by_name("alexnet-2012").expect("known")
    }
}

fn vgg() -> NetworkConfig {
    NetworkConfig::from(VggConfig::vgg11_bn().with_width(0.05)).with_num_classes(3)
}

fn drawn(config: NetworkConfig) -> Network<B> {
    formula::network(config, &Default::default())
}

fn weights<C: burn::tensor::backend::Backend>(network: &Network<C>) -> Vec<u32> {
    let values = network.architecture().parameters().flat_map(|own| {
        network.values(own, 0..own.shape[0]).expect("values").into_iter().map(f32::to_bits)
    });
    values.collect()
}

fn train(recipe: &Recipe, data: &Data, options: TrainOptions) -> Result<Outcome<Flex>> {
    train::fit(drawn(vgg()), recipe, data, options)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

#[test]
fn update_rules_are_pytorchs_and_the_papers() {
    let bytes = include_bytes!("../golden/sgd.safetensors");
    let golden = SafeTensors::deserialize(bytes).expect("the fixture");
    for (name, rule) in [("pytorch", UpdateRule::Pytorch), ("paper", UpdateRule::Paper)] {
        let mut network: Network<B> = formula::network(small(), &Default::default());
        let config = SgdConfig { rule, momentum: 0.9, weight_decay: 5e-3 };
        let mut sgd = Sgd::<Flex>::new(config, HashMap::new());
        let losses: Vec<f64> = (0..50)
            .map(|step| {
                let output = TrainStep::step(&network, small_batch());
                let rate = if step < 25 { 0.05 } else { 0.005 };
                network = sgd.step(rate, network.clone(), output.grads);
                output.item.loss.into_scalar().into()
            })
            .collect();
        let expected = golden.tensor(&format!("{name}/losses")).expect("losses");
        let expected =
            expected.data().chunks(8).map(|b| f64::from_le_bytes(b.try_into().expect("8")));
        for (step, (ours, torch)) in losses.iter().zip(expected).enumerate() {
            assert!(
                (ours - torch).abs() < TOLERANCE,
                "{name}, loss of step {step}: {ours}, {torch}"
            );
        }
        let mut worst = 0f64;
        for own in network.architecture().parameters() {
            let expected = golden.tensor(&format!("{name}/{}", own.key)).expect("a weight");
            let expected =
                expected.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().expect("4")));
            for (ours, torch) in
                network.values(own, 0..own.shape[0]).expect("values").iter().zip(expected)
            {
                worst = worst.max(f64::from((ours - torch).abs()));
            }
        }
        eprintln!("{name}: {worst:.1e}");
        assert!(worst < TOLERANCE, "{name}: weights differ by {worst}");
    }
}

/// The network of golden/sgd.py.
fn small() -> Table {
    let init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };
    let conv = |out| Layer::Conv { out, kernel: 3, stride: 1, padding: 1, groups: 1, init };
    let pool = Layer::MaxPool { kernel: 2, stride: 2 };
    Table {
        name: "small".into(),
        input: [3, 8, 8],
        features: vec![conv(4), Layer::Relu, pool, conv(6), Layer::Relu],
        pool: [2, 2],
        classifier: vec![
            Layer::Linear { out: 8, init },
            Layer::Relu,
            Layer::Linear { out: 3, init },
        ],
        numbering: Numbering::Sequential,
    }
}

fn small_batch() -> Batch<B> {
    let device = Default::default();
    let images = TensorData::new(formula::fill("input", &[6, 3, 8, 8], 0..6), [6, 3, 8, 8]);
    let sample = |index| Sample { seed: 0, epoch: 0, index };
    Batch {
        images: Tensor::from_data(images, &device),
        classes: Tensor::<B, 1, Int>::from_data([0, 1, 2, 0, 1, 2], &device),
        samples: (0..6).map(sample).collect(),
        share: 1.0,
        label_smoothing: 0.0,
        mixed: None,
    }
}

#[test]
fn a_run_interrupted_after_every_step_comes_to_the_same_bits() {
    let (recipe, data) = (recipe(), noise(20, 3));
    let whole = train(&recipe, &data, TrainOptions::default()).expect("a run");
    assert_eq!(whole.stop_reason, StopReason::Finished);

    let folder = tempfile::tempdir().expect("a folder");
    let mut runs = 0;
    let pieces = loop {
        let interrupter = Interrupter::new();
        let stop = interrupter.clone();
        let options = TrainOptions {
            output: Some(folder.path().into()),
            resume: runs > 0,
            interrupter,
            on_event: Arc::new(move |event| {
                if matches!(event, Event::Step(_)) {
                    stop.stop(None);
                }
            }),
            // Other numbers of threads read the same.
            workers: 1 + runs % 3,
            ..TrainOptions::default()
        };
        let outcome = train(&recipe, &data, options).expect("a piece of a run");
        runs += 1;
        if outcome.stop_reason == StopReason::Finished {
            break outcome;
        }
        assert_eq!(outcome.stop_reason, StopReason::Interrupted);
    };
    // Three batches in each of two epochs, and the end.
    assert_eq!(runs, 7);
    assert_eq!(weights(&pieces.last), weights(&whole.last));
    assert_eq!(weights(&pieces.best), weights(&whole.best));
    let scores = |outcome: &Outcome<Flex>| -> Vec<_> {
        outcome.history.epochs.iter().map(|e| (e.steps, e.train, e.valid, e.rate)).collect()
    };
    assert_eq!(scores(&pieces), scores(&whole));

    let on_disk = |name: &str| {
        let weights = Weights::open(folder.path().join(name)).expect(name);
        Network::<Flex>::from_weights(vgg(), &weights, LoadOptions::default(), &Default::default())
            .expect(name)
    };
    assert_eq!(weights(&on_disk("last.safetensors")), weights(&whole.last));
    assert_eq!(weights(&on_disk("best.safetensors")), weights(&whole.best));
}

#[test]
fn a_batch_in_micro_batches_takes_the_same_step() {
    // Batch norm would depend on the division into micro-batches; dropout must not.
    let config = NetworkConfig::from(VggConfig::vgg11().with_width(0.05)).with_num_classes(3);
    let step = |micro_batches| {
        let recipe = Recipe { micro_batches, epochs: 1, ..recipe() };
        let outcome =
            train::fit(drawn(config.clone()), &recipe, &noise(20, 3), TrainOptions::default());
        weights(&outcome.expect("a run").last)
    };
    let values = |bits: Vec<u32>| bits.into_iter().map(f32::from_bits).collect::<Vec<_>>();
    let (whole, divided) = (values(step(1)), values(step(3)));
    let largest = whole.iter().fold(0f32, |most, value| most.max(value.abs()));
    let worst = whole.iter().zip(&divided).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    // Three sums of f32 in another order.
    assert!(worst <= 1e-6 * largest, "{worst} of {largest}");
}

#[test]
fn a_damaged_checkpoint_is_detected_and_the_one_before_is_used() {
    let (recipe, data) = (recipe(), noise(20, 3));
    let folder = tempfile::tempdir().expect("a folder");
    let options = |resume, on_event| TrainOptions {
        output: Some(folder.path().into()),
        save_steps: Some(1),
        resume,
        on_event,
        ..TrainOptions::default()
    };
    let whole = train(&recipe, &data, options(false, Arc::new(|_| {}))).expect("a run");
    let again = train(&recipe, &data, options(false, Arc::new(|_| {})))
        .map(drop)
        .expect_err("a checkpoint");
    assert!(said(&again).contains("resume"), "{again}");

    let newest = folder.path().join("checkpoint.safetensors");
    let good = std::fs::read(&newest).expect("the newest");
    let tear = |bytes: &[u8]| std::fs::write(&newest, bytes).expect("writable");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for torn in [&good[..good.len() - 1], &good[..100], &[], &flipped] {
        tear(torn);
        let damaged = Arc::new(Mutex::new(None));
        let seen = damaged.clone();
        let on_event = move |event: Event| {
            if let Event::CheckpointDamaged(path, error) = event {
                *seen.lock().expect("no panic") = Some(format!("{} {error}", path.display()));
            }
        };
        let resumed = train(&recipe, &data, options(true, Arc::new(on_event))).expect("a run");
        assert_eq!(weights(&resumed.last), weights(&whole.last));
        let damaged = damaged.lock().expect("no panic").clone().expect("a message");
        assert!(damaged.contains("checkpoint.previous"), "{damaged}");
    }
    // Both torn: an error that says so, and nothing is begun anew.
    tear(b"");
    std::fs::write(folder.path().join("checkpoint.previous.safetensors"), b"").expect("writable");
    let error = train(&recipe, &data, options(true, Arc::new(|_| {}))).map(drop).expect_err("both");
    assert!(said(&error).contains("checkpoint.safetensors"), "{error}");
}

#[test]
fn another_run_is_not_resumed() {
    let (recipe, data) = (recipe(), noise(20, 3));
    let folder = tempfile::tempdir().expect("a folder");
    let options = |resume| TrainOptions {
        output: Some(folder.path().into()),
        resume,
        ..TrainOptions::default()
    };
    train(&recipe, &data, options(false)).expect("a run");
    let differs = |recipe: &Recipe, data: &Data, network: Network<B>, says: &[&str]| {
        let error =
            train::fit(network, recipe, data, options(true)).map(drop).expect_err("another run");
        assert!(matches!(error, Error::OtherRun { .. }), "{error}");
        says.iter().for_each(|part| assert!(said(&error).contains(part), "{error}"));
    };
    let mut other = recipe.clone();
    (other.rate, other.optimizer.momentum) = (0.02, 0.8);
    differs(
        &other,
        &data,
        drawn(vgg()),
        &["rate: 0.02, was 0.01", "optimizer.momentum: 0.8, was 0.9"],
    );
    let more = noise(21, 3);
    differs(&recipe, &more, drawn(vgg()), &["training set: examples: 21, was 20"]);
    let wider = NetworkConfig::from(VggConfig::vgg11_bn().with_width(0.06)).with_num_classes(3);
    differs(&recipe, &data, drawn(wider), &["classifier.0: Linear 246, was Linear 204"]);
    // Longer is the same run, where the schedule does not depend on the end.
    let longer = Recipe { epochs: 3, ..recipe };
    let outcome = train(&longer, &data, options(true)).expect("a longer run");
    assert_eq!(outcome.history.epochs.len(), 3);
}

#[test]
fn a_loss_that_is_not_finite_is_reported_with_its_origin() {
    let folder = tempfile::tempdir().expect("a folder");
    let recipe = Recipe { rate: 1e30, clip_norm: None, epochs: 3, ..recipe() };
    let options = TrainOptions {
        output: Some(folder.path().into()),
        save_steps: Some(1),
        ..TrainOptions::default()
    };
    let error = train(&recipe, &noise(20, 3), options).map(drop).expect_err("not finite");
    let Error::Diverged { step, origin, checkpoint, .. } = &error else { panic!("{error}") };
    assert!(
        *step >= 1 && (origin.contains("features.") || origin.contains("classifier.")),
        "{error}"
    );
    let good = Weights::open(checkpoint.as_ref().expect("a checkpoint")).expect("a whole one");
    for tensor in good.tensors().filter(|tensor| tensor.name.starts_with("model.")) {
        // Reading refuses values that are NaN or infinite.
        good.values(tensor.name).expect("numbers");
    }
}

#[test]
fn a_run_stops_when_validation_no_longer_improves() {
    let mut recipe = Recipe { early_stop: Some(2), epochs: 50, micro_batches: 1, ..recipe() };
    recipe.rates = [("features".to_string(), 0.0), ("classifier".to_string(), 1e-9)].into();
    let network = drawn(vgg());
    let architecture = network.architecture().clone();
    let before: Vec<_> = architecture
        .parameters()
        .map(|own| network.values(own, 0..own.shape[0]).expect("values"))
        .collect();
    let outcome =
        train::fit(network, &recipe, &noise(20, 3), TrainOptions::default()).expect("a run");
    assert_eq!(outcome.stop_reason, StopReason::EarlyStop);
    let best = outcome.history.best().expect("an epoch").epoch;
    assert_eq!(outcome.history.epochs.len(), best + 2);
    // A rate of 0 changes nothing, running statistics and decay included.
    for (own, before) in
        architecture.parameters().zip(before).filter(|(own, _)| own.key.starts_with("features"))
    {
        assert_eq!(
            outcome.last.values(own, 0..own.shape[0]).expect("values"),
            before,
            "{}",
            own.key
        );
    }
}

#[test]
fn data_that_does_not_fit_is_refused() {
    let refused = |data: &Data, recipe: &Recipe, says: &str| {
        let error = train(recipe, data, TrainOptions::default()).map(drop).expect_err(says);
        assert!(said(&error).contains(says), "{error}");
    };
    refused(&noise(20, 4), &recipe(), "3 classes");
    refused(&noise(0, 3), &recipe(), "at least one example");
    refused(&noise(20, 3), &Recipe { batch: 0, ..recipe() }, "batch");
    let frozen =
        Recipe { rates: [("features".into(), 0.0), ("classifier".into(), 0.0)].into(), ..recipe() };
    refused(&noise(20, 3), &frozen, "rates of the layers");
    let small = Noise::new(20, 3, 16);
    let data = Data { train: small.clone(), still: small.clone(), valid: small };
    refused(&data, &recipe(), "too small");
}

#[test]
fn deeper_networks_start_with_the_papers_layers_of_a_shallower_one() {
    let config =
        |config: VggConfig| NetworkConfig::from(config.with_width(0.05)).with_num_classes(3);
    let device = Default::default();
    let shallow: Network<Flex> = Network::new(config(VggConfig::vgg11()), &device).expect("A");
    let deep: Network<Flex> = Network::new(config(VggConfig::vgg16()), &device).expect("D");
    let begun = deep.init_from_shallower(&shallow).expect("the same widths");
    let of = |network: &Network<Flex>, name: &str| -> Vec<Vec<f32>> {
        let steps = network.architecture().steps();
        let step = steps.iter().find(|step| step.name == name).expect(name);
        step.parameters
            .iter()
            .map(|own| network.values(own, 0..own.shape[0]).expect("values"))
            .collect()
    };
    let taken = ["conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8"];
    let steps = deep.architecture().steps();
    for step in steps.iter().filter(|step| !step.parameters.is_empty()) {
        let (ours, name) = (of(&begun, &step.name), step.name.as_str());
        if taken.contains(&name) {
            assert_eq!(ours, of(&shallow, name), "{name} is A's");
        } else {
            assert_eq!(ours, of(&deep, name), "{name} is its own");
        }
    }
    let other: Network<Flex> =
        Network::new(config(VggConfig::vgg11()).with_num_classes(4), &device).expect("A");
    assert!(said(deep.init_from_shallower(&other).expect_err("4 classes")).contains("fc8"));
}

#[test]
fn fine_tuning_trains_the_classifier_on_cached_features_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recipe = Recipe { epochs: 0, ..Recipe::by_name("finetune").expect("known") };
    recipe.head.as_mut().expect("a head").epochs = 2;
    let options = |resume| TrainOptions {
        output: Some(folder.path().into()),
        resume,
        ..TrainOptions::default()
    };
    let network = drawn(vgg());
    let start = weights(&network);
    let outcome = train::fit(network, &recipe, &noise(20, 3), options(false)).expect("a run");
    let end = weights(&outcome.best);
    let mut place = 0;
    for own in outcome.best.architecture().parameters() {
        let values = place..place + own.elements() as usize;
        place = values.end;
        let same = start[values.clone()] == end[values];
        assert_eq!(same, own.key.starts_with("features"), "{}", own.key);
    }
    assert!(folder.path().join("head/train-features.safetensors").exists());
    // Then all layers, the features at a tenth of the rate.
    let recipe = Recipe { epochs: 1, ..recipe };
    let folder = tempfile::tempdir().expect("a folder");
    let options = TrainOptions { output: Some(folder.path().into()), ..TrainOptions::default() };
    let outcome = train::fit(drawn(vgg()), &recipe, &noise(20, 3), options).expect("a run");
    assert_eq!(outcome.history.epochs.len(), 1);
    assert_ne!(weights(&outcome.last)[..100], start[..100]);
}

#[test]
fn weights_of_other_classes_are_used_as_far_as_they_fit() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("five.safetensors");
    let five: Network<Flex> = formula::network(vgg().with_num_classes(5), &Default::default());
    five.save(&path).expect("a file");
    let fresh: Network<Flex> = Network::new(vgg(), &Default::default()).expect("a network");
    let (network, stays) =
        fresh.init_from_pretrained(&Weights::open(&path).expect("a file")).expect("a fit");
    assert_eq!(stays, ["classifier.6.weight", "classifier.6.bias"]);
    for own in network.architecture().parameters() {
        let from = if stays.contains(&own.key) { &fresh } else { &five };
        let rows = 0..own.shape[0];
        assert_eq!(
            network.values(own, rows.clone()).expect("values"),
            from.values(own, rows).expect("values")
        );
    }
    let other: Network<Flex> =
        Network::new(AlexNetConfig::torchvision().with_width(0.05), &Default::default())
            .expect("a network");
    assert!(other.init_from_pretrained(&Weights::open(&path).expect("a file")).is_err());
}

#[test]
fn the_recipes_are_the_papers() {
    // Name, batch, rate, momentum, decay, epochs, rule.
    let published = [
        ("alexnet-2012", 128, 0.01, 0.9, 5e-4, 90, UpdateRule::Paper),
        ("vgg-2014", 256, 0.01, 0.9, 5e-4, 74, UpdateRule::Paper),
        ("torchvision", 256, 0.01, 0.9, 1e-4, 90, UpdateRule::Pytorch),
    ];
    for (name, batch, rate, momentum, weight_decay, epochs, rule) in published {
        let recipe = Recipe::by_name(name).expect(name);
        assert_eq!((recipe.batch, recipe.rate, recipe.epochs), (batch, rate, epochs), "{name}");
        assert_eq!(recipe.optimizer, SgdConfig { rule, momentum, weight_decay }, "{name}");
        for number in ["batch", "epochs", "rate", "optimizer", "schedule", "augmentation"] {
            assert!(recipe.sources.contains_key(number), "{name}: the source of {number}");
        }
    }
    for name in Recipe::names() {
        let recipe = Recipe::by_name(name).expect(name);
        assert_eq!(recipe.name, name);
        let text = recipe.to_toml().expect("TOML");
        assert_eq!(Recipe::parse(name, &text).expect(name), recipe);
    }
    let wrong = Recipe::parse("mine.toml", "batch = 3\nbacth = 4").expect_err("a wrong key");
    assert!(said(&wrong).contains("mine.toml") && said(&wrong).contains("bacth"), "{wrong}");
}

/// Where a child process has its run; set by the tests below, which start this file again.
const FOLDER: &str = "ALEXNET_VGG_TEST_RUN";

/// The run that is killed: a checkpoint after every step.
fn killed() -> (Recipe, Data) {
    (Recipe { epochs: 12, ..recipe() }, noise(20, 3))
}

fn child(test: &str, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command.args(["--exact", &format!("train::{test}"), "--nocapture"]).env(FOLDER, folder);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[test]
fn child_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let (recipe, data) = killed();
    let output = Some(folder.into());
    let options =
        TrainOptions { output, resume: true, save_steps: Some(1), ..TrainOptions::default() };
    train(&recipe, &data, options).expect("a run");
}

/// Kill -9 at 100 random moments: while it starts, learns, writes, renames.
#[test]
fn a_run_that_is_killed_100_times_comes_to_the_same_bits() {
    let (recipe, data) = killed();
    let whole = weights(&train(&recipe, &data, TrainOptions::default()).expect("a run").last);
    let seed = std::process::id().into();
    eprintln!("moments by seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut kills, mut runs) = (0, 0);
    while kills < 100 {
        let folder = tempfile::tempdir().expect("a folder");
        loop {
            let mut child = child("child_that_is_killed", folder.path()).spawn().expect("a child");
            std::thread::sleep(Duration::from_millis(random.random_range(0..250)));
            if kills < 100 && child.try_wait().expect("a child").is_none() {
                child.kill().expect("a child");
                kills += 1;
            }
            if child.wait().expect("a child").success() {
                break;
            }
        }
        let last = Weights::open(folder.path().join("last.safetensors")).expect("weights");
        let last = Network::<Flex>::from_weights(
            vgg(),
            &last,
            LoadOptions::default(),
            &Default::default(),
        );
        assert_eq!(weights(&last.expect("the network's")), whole, "after {kills} kills");
        runs += 1;
    }
    eprintln!("{kills} kills in {runs} runs");
}

/// In a file system of its own, which is full after the first checkpoints.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_reported_and_the_run_continues() {
    let test = "a_full_disk_is_reported_and_the_run_continues";
    if let Some(folder) = std::env::var_os(FOLDER) {
        return on_a_full_disk(Path::new(&folder));
    }
    const NO_MOUNT: i32 = 77;
    let folder = tempfile::tempdir().expect("a folder");
    let inner = child(test, folder.path());
    let script = format!(
        "mount -t tmpfs -o size=16m none \"${FOLDER}\" || exit {NO_MOUNT}; exec \"$0\" \"$@\""
    );
    let mut outer = Command::new("unshare");
    outer.args(["--mount", "sh", "-c", &script]).arg(inner.get_program()).args(inner.get_args());
    let output = outer.env(FOLDER, folder.path()).output();
    match output.as_ref().map(|output| output.status.code()) {
        Ok(Some(0)) => {}
        Ok(Some(NO_MOUNT)) | Err(_) => eprintln!("skipped: nothing can be mounted here"),
        _ => panic!("{output:?}"),
    }
}

#[cfg(target_os = "linux")]
fn on_a_full_disk(folder: &Path) {
    let (recipe, data) = (recipe(), noise(20, 3));
    let whole = train(&recipe, &data, TrainOptions::default()).expect("a run").last;
    let refused = Arc::new(Mutex::new(Vec::new()));
    let seen = refused.clone();
    let ballast = folder.join("ballast");
    let fill = ballast.clone();
    let on_event = move |event: Event| match event {
        // The disk is full from the first checkpoint on.
        Event::CheckpointSaved(_) => {
            let mut file = std::fs::File::create(&fill).expect("a file");
            while file.write_all(&[0; 4096]).is_ok() {}
        }
        Event::SaveFailed(error) => seen.lock().expect("no panic").push(error.to_string()),
        _ => {}
    };
    let options = |on_event: Arc<dyn Fn(Event) + Send + Sync>| TrainOptions {
        output: Some(folder.into()),
        resume: true,
        save_steps: Some(1),
        on_event,
        ..TrainOptions::default()
    };
    let error =
        train(&recipe, &data, options(Arc::new(on_event))).map(drop).expect_err("a full disk");
    assert!(said(&error).contains("No space left"), "{error}");
    // The run went on to its end, and told of every checkpoint that it could not write.
    let refused = refused.lock().expect("no panic");
    assert!(refused.len() >= 5 && refused[0].contains("checkpoint.safetensors"), "{refused:?}");
    std::fs::remove_file(ballast).expect("the ballast");
    let resumed = train(&recipe, &data, options(Arc::new(|_| {}))).expect("the rest of the run");
    assert_eq!(weights(&resumed.last), weights(&whole));
}

/// On `count` devices of the CPU.
fn train_on(
    count: usize,
    config: NetworkConfig,
    recipe: &Recipe,
    options: TrainOptions,
) -> Result<Outcome<Flex>> {
    train::fit_on(&vec![Default::default(); count], drawn(config), recipe, &noise(23, 3), options)
}

fn values(bits: Vec<u32>) -> Vec<f32> {
    bits.into_iter().map(f32::from_bits).collect()
}

/// Of the largest magnitude of the first.
fn apart(one: &[f32], other: &[f32]) -> f32 {
    let largest = one.iter().fold(0f32, |most, value| most.max(value.abs()));
    one.iter().zip(other).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

#[test]
fn one_two_and_four_devices_make_the_same_run() {
    // A last batch of 7: shards of 1 and 2. Batch norm would see its shard.
    let config = NetworkConfig::from(VggConfig::vgg11().with_width(0.05)).with_num_classes(3);
    let run = |count, batch| {
        let recipe = Recipe { batch, micro_batches: 1, epochs: 17, rate: 0.001, ..recipe() };
        train_on(count, config.clone(), &recipe, TrainOptions::default()).expect("a run")
    };
    let one = run(1, 8);
    assert_eq!(one.history.epochs.last().expect("epochs").steps, 51);
    for count in [2, 4] {
        let several = run(count, 8);
        let (one_last, last) = (values(weights(&one.last)), values(weights(&several.last)));
        eprintln!("{count}: {}", apart(&one_last, &last));
        assert!(apart(&one_last, &last) <= 1e-5, "{count}: {}", apart(&one_last, &last));
        for (a, b) in one.history.epochs.iter().zip(&several.history.epochs) {
            assert!((a.train.loss - b.train.loss).abs() <= 1e-5, "{a:?} {b:?}");
            assert!((a.valid.loss - b.valid.loss).abs() <= 1e-5, "{a:?} {b:?}");
            assert_eq!((a.steps, a.rate), (b.steps, b.rate));
        }
        // More devices than examples in a batch: some have nothing to do.
        if count == 4 {
            let (one, four) = (values(weights(&run(1, 3).last)), values(weights(&run(4, 3).last)));
            assert!(apart(&one, &four) <= 1e-5, "{}", apart(&one, &four));
        }
    }
}

/// Every run with these options is interrupted after one step.
fn stopping(folder: &Path, resume: bool) -> TrainOptions {
    let interrupter = Interrupter::new();
    let stop = interrupter.clone();
    let stop = move |event: Event| {
        if matches!(event, Event::Step(_)) {
            stop.stop(None);
        }
    };
    let output = Some(folder.into());
    TrainOptions {
        output,
        resume,
        interrupter,
        on_event: Arc::new(stop),
        ..TrainOptions::default()
    }
}

#[test]
fn a_run_on_two_devices_continues_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = train_on(2, vgg(), &recipe(), TrainOptions::default()).expect("a run");
    let again = train_on(2, vgg(), &recipe(), TrainOptions::default()).expect("a run");
    assert_eq!(weights(&again.last), weights(&whole.last));
    let mut runs = 0;
    let pieces = loop {
        let options = stopping(folder.path(), runs > 0);
        let outcome = train_on(2, vgg(), &recipe(), options).expect("a piece of a run");
        runs += 1;
        if outcome.stop_reason == StopReason::Finished {
            break outcome;
        }
    };
    assert_eq!(runs, 7);
    assert_eq!(weights(&pieces.last), weights(&whole.last));
    assert_eq!(weights(&pieces.best), weights(&whole.best));
}

/// Noise of which some cannot be read.
struct Broken([usize; 2], Arc<Noise>);

impl Examples for Broken {
    fn labels(&self) -> &[String] {
        self.1.labels()
    }

    fn classes(&self) -> &[usize] {
        self.1.classes()
    }

    fn shape(&self) -> [usize; 3] {
        self.1.shape()
    }

    fn read(&self, index: usize, sample: Sample, out: &mut Vec<f32>) -> Result<()> {
        if self.0.contains(&index) {
            return Err(Error::Picture {
                place: self.name(index),
                expected: "a picture".into(),
                found: "a hole".into(),
            });
        }
        self.1.read(index, sample, out)
    }

    fn name(&self, index: usize) -> String {
        self.1.name(index)
    }

    fn identity(&self) -> Vec<(String, String)> {
        self.1.identity()
    }
}

#[test]
fn examples_that_one_device_cannot_read_are_skipped_by_all_or_stop_all() {
    let train = Noise::new(23, 3, 32);
    let data = Data { train: Arc::new(Broken([5, 17], train)), ..noise(23, 3) };
    let config = NetworkConfig::from(VggConfig::vgg11().with_width(0.05)).with_num_classes(3);
    let run = |count, broken| {
        let options = TrainOptions { broken, ..TrainOptions::default() };
        // With some seeds, 0 among them, a ReLU flips by a rounding.
        let recipe = Recipe { epochs: 2, micro_batches: 1, seed: 1, ..recipe() };
        train::fit_on(
            &vec![Default::default(); count],
            drawn(config.clone()),
            &recipe,
            &data,
            options,
        )
    };
    let (one, two) = (run(1, BrokenPicture::Skip), run(2, BrokenPicture::Skip));
    let (one, two) = (one.expect("a run"), two.expect("a run"));
    let [a, b] = [&one.last, &two.last].map(|last| values(weights(last)));
    assert!(apart(&a, &b) <= 1e-5, "{}", apart(&a, &b));
    let error = run(2, BrokenPicture::Stop).map(drop).expect_err("a hole");
    assert!(matches!(error, Error::Picture { .. }) && said(&error).contains("a hole"), "{error}");
}

#[test]
fn two_gpu_networks_train_by_the_same_recipes_and_share_checkpoints_with_one_device() {
    let (recipe, data) = (recipe(), noise(20, 3));
    let two_gpu = || TwoGpuNetwork::split(&drawn(vgg()), &Default::default()).expect("two halves");
    let whole = train::fit(two_gpu(), &recipe, &data, TrainOptions::default()).expect("a run");
    let one = train(&recipe, &data, TrainOptions::default()).expect("a run");
    let [a, b] = [&one.last, &whole.last].map(|last| values(weights(last)));
    assert!(apart(&a, &b) <= 1e-5, "{}", apart(&a, &b));

    // Alone, and in turn with the network on one device.
    for in_turn in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut runs = 0;
        let pieces = loop {
            let options = stopping(folder.path(), runs > 0);
            let outcome = if in_turn && runs % 2 == 1 {
                train(&recipe, &data, options)
            } else {
                train::fit(two_gpu(), &recipe, &data, options)
            };
            let outcome = outcome.expect("a piece of a run");
            runs += 1;
            if outcome.stop_reason == StopReason::Finished {
                break outcome;
            }
        };
        assert_eq!(runs, 7);
        if in_turn {
            assert!(apart(&a, &values(weights(&pieces.last))) <= 1e-5);
        } else {
            assert_eq!(weights(&pieces.last), weights(&whole.last));
        }
    }
}

#[test]
fn synchronized_batch_norm_makes_the_run_of_one_device() {
    let run = |count| {
        let recipe = Recipe { micro_batches: 1, rate: 0.001, ..recipe() };
        let recipe = Recipe { synchronized_batch_norm: true, ..recipe };
        train_on(count, vgg(), &recipe, TrainOptions::default()).expect("a run")
    };
    let (one, two) = (run(1), run(2));
    let [a, b] = [&one.last, &two.last].map(|last| values(weights(last)));
    assert!(apart(&a, &b) <= 1e-5, "{}", apart(&a, &b));
}

/// One of two that do the same, to see what is refused before anything is done.
struct OneOfTwo;

impl ProcessGroup for OneOfTwo {
    fn rank(&self) -> usize {
        0
    }

    fn world_size(&self) -> usize {
        2
    }

    fn location(&self, rank: usize) -> String {
        format!("place {rank}")
    }

    fn all_reduce(&self, _: &mut [f32]) -> Result<()> {
        panic!("a step")
    }

    fn broadcast(&self, _: &mut [f32]) -> Result<()> {
        panic!("weights on their way")
    }

    fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes.to_vec(); 2])
    }
}

#[test]
fn two_gpu_networks_refuse_to_synchronize_at_the_start() {
    let recipe = Recipe { synchronized_batch_norm: true, ..recipe() };
    let options = TrainOptions { processes: Arc::new(OneOfTwo), ..TrainOptions::default() };
    let two_gpu = TwoGpuNetwork::split(&drawn(vgg()), &Default::default()).expect("two halves");
    let error =
        train::fit(two_gpu, &recipe, &noise(20, 3), options).map(drop).expect_err("refused");
    assert!(
        matches!(error, Error::Setting { .. }) && said(&error).contains("a network on two devices"),
        "{error}"
    );
}
