//! Mixup and CutMix, as batches come out of a loader.

use alexnet_vgg::backend::Flex;
use alexnet_vgg::train::{
    BrokenPicture, Examples, Loader, LoaderOptions, Mix, Mixing, Recipe, Shard,
};
use alexnet_vgg::vision::augment::Sample;
use alexnet_vgg::{Error, Result};
use std::sync::Arc;

/// The example at index `i` has the value `i` everywhere. One of them cannot be read.
struct Shades {
    labels: Vec<String>,
    classes: Vec<usize>,
    broken: Option<usize>,
}

const SIDE: usize = 16;

impl Shades {
    fn new(count: usize, broken: Option<usize>) -> Arc<Self> {
        let labels = (0..count).map(|class| format!("class {class}")).collect();
        Arc::new(Self { labels, classes: (0..count).collect(), broken })
    }
}

impl Examples for Shades {
    fn labels(&self) -> &[String] {
        &self.labels
    }

    fn classes(&self) -> &[usize] {
        &self.classes
    }

    fn shape(&self) -> [usize; 3] {
        [3, SIDE, SIDE]
    }

    fn read(&self, index: usize, _: Sample, out: &mut Vec<f32>) -> Result<()> {
        if self.broken == Some(index) {
            return Err(Error::Picture {
                place: self.name(index),
                expected: "a shade".into(),
                found: "a hole".into(),
            });
        }
        out.resize(out.len() + 3 * SIDE * SIDE, index as f32);
        Ok(())
    }

    fn name(&self, index: usize) -> String {
        format!("shade {index}")
    }

    fn identity(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// An example as it comes out: its index, its pixels, its classes, and the share of the first of them.
#[derive(Clone, Debug, PartialEq)]
struct Mixed {
    index: u64,
    values: Vec<f32>,
    classes: [usize; 2],
    share: f32,
}

/// The examples of an epoch, by batch and then by index.
fn epoch(
    examples: &Arc<Shades>,
    mixing: Mixing,
    micro_batches: usize,
    shards: usize,
) -> Vec<Vec<Mixed>> {
    let count = examples.classes().len().div_ceil(7);
    let mut batches = vec![Vec::new(); count];
    for index in 0..shards {
        let options = LoaderOptions {
            batch: 7,
            micro_batches,
            seed: 3,
            broken: BrokenPicture::Skip,
            mixing,
            shard: Shard { index, count: shards },
            ..LoaderOptions::default()
        };
        let loader = Loader::<Flex>::new(examples.clone(), options, &Default::default());
        for micro_batch in loader.expect("a loader").epoch(5, 0).expect("an epoch") {
            let micro_batch = micro_batch.expect("a batch");
            let batch = micro_batch.batch;
            let classes: Vec<i64> = batch.classes.into_data().iter().collect();
            let (others, shares): (Vec<i64>, Vec<f32>) = match batch.mixed {
                Some(mixed) => (
                    mixed.classes.into_data().iter().collect(),
                    mixed.shares.into_data().iter().collect(),
                ),
                None => (classes.clone(), vec![1.0; classes.len()]),
            };
            let values: Vec<f32> = batch.images.into_data().iter().collect();
            let into = &mut batches[micro_batch.batch_index as usize];
            for (at, values) in values.chunks(3 * SIDE * SIDE).enumerate() {
                into.push(Mixed {
                    index: batch.samples[at].index,
                    values: values.to_vec(),
                    classes: [classes[at], others[at]].map(|class| class as usize),
                    share: shares[at],
                });
            }
        }
    }
    batches
}

fn both() -> Mixing {
    Mixing { mixup: Some(Mix { alpha: 0.6, probability: 0.9 }), cutmix: Some(Mix::new(1.0)) }
}

#[test]
fn each_target_has_the_classes_of_the_pixels_in_their_proportion() {
    let examples = Shades::new(203, None);
    let plain = epoch(&examples, Mixing::default(), 1, 1);
    let all = epoch(&examples, both(), 1, 1);
    let (mut whole, mut pasted, mut same) = (0, 0, 0);
    for (plain, mixed) in plain.iter().zip(&all) {
        for (at, mixed) in mixed.iter().enumerate() {
            // Unmixed, an example is its index.
            let [own, next] = [plain[at].index, plain[(at + 1) % plain.len()].index];
            assert_eq!(mixed.index, own);
            let (own, next) = (own as f32, next as f32);
            let is_whole = mixed.values.iter().all(|value| *value == mixed.values[0]);
            // The mean of the pixels tells the share of both pictures, however they are mixed.
            let mean = mixed.values.iter().map(|value| f64::from(*value)).sum::<f64>();
            let mean = mean / mixed.values.len() as f64;
            let share = (mean - f64::from(next)) / f64::from(own - next);
            let of_first = if mixed.classes[0] == own as usize { share } else { 1.0 - share };
            assert!((of_first - f64::from(mixed.share)).abs() < 1e-4, "{own} {next}: {mixed:?}");
            assert!(mixed.share >= 0.5);
            let mut classes = mixed.classes.map(|class| class as f32);
            classes.sort_by(f32::total_cmp);
            match (mixed.share, is_whole) {
                (1.0, _) => same += 1,
                (_, true) => whole += 1,
                (_, false) => {
                    pasted += 1;
                    assert!(mixed.values.iter().all(|value| [own, next].contains(value)));
                }
            }
            assert!(mixed.share == 1.0 || classes == [own.min(next), own.max(next)]);
        }
    }
    assert!(whole > 60 && pasted > 60 && same > 0, "{whole} {pasted} {same}");
}

/// The parts of a batch, and of a process, see the same pictures, even where one cannot be read.
#[test]
fn micro_batches_and_processes_mix_alike() {
    for broken in [None, Some(11)] {
        // The last batch has one picture, which there is nothing to mix with.
        let examples = Shades::new(22, broken);
        let whole = epoch(&examples, both(), 1, 1);
        assert_eq!(whole.iter().flatten().count(), 22 - usize::from(broken.is_some()));
        assert_eq!(whole[3].iter().map(|mixed| mixed.share).sum::<f32>(), whole[3].len() as f32);
        for (micro_batches, shards) in [(3, 1), (1, 2), (1, 3), (2, 3), (1, 7)] {
            let parts = epoch(&examples, both(), micro_batches, shards);
            assert_eq!(parts, whole, "{micro_batches} {shards} {broken:?}");
        }
    }
}

#[test]
fn recipes_with_mixing_and_a_weight_average_are_written_and_read() {
    let text = |more: &str| {
        let head = "name = \"mine\"\nbatch = 8\nepochs = 2\nrate = 0.1\naugmentation = \"none\"\n";
        let rest = "[optimizer]\nrule = \"pytorch\"\nmomentum = 0.9\nweight_decay = 0.0\n\
                    [schedule]\nkind = \"constant\"\n";
        format!("{head}{more}{rest}")
    };
    let given =
        "ema_decay = 0.99\n[mixup]\nalpha = 0.2\n[cutmix]\nalpha = 1.0\nprobability = 0.5\n";
    let recipe = Recipe::parse("mine", &text(given)).expect("valid");
    assert_eq!(recipe.mixup, Some(Mix::new(0.2)));
    assert_eq!(recipe.cutmix, Some(Mix { alpha: 1.0, probability: 0.5 }));
    assert_eq!(recipe.ema_decay, Some(0.99));
    let again = Recipe::parse("again", &recipe.to_toml().expect("TOML")).expect("valid");
    assert_eq!(again, recipe);
    for (wrong, says) in [
        ("ema_decay = 1.0\n", "decay of the weight average"),
        ("[mixup]\nalpha = 0.0\n", "alpha of mixup"),
        ("[cutmix]\nalpha = 1.0\nprobability = 1.5\n", "probability of CutMix"),
        ("[cutmix]\nbeta = 1.0\n", "beta"),
    ] {
        let error = Recipe::parse("wrong", &text(wrong)).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
}
