//! The batcher: any order of requests, results, and departures with a network that the test controls, and many threads
//! with a real one.

use crate::formula;
use alexnet_vgg_core::architecture::{Architecture, VggConfig};
use alexnet_vgg_core::engine::CompileOptions;
use alexnet_vgg_core::predict::{BatchOptions, Batcher, Classifier, Model, Pending};
use alexnet_vgg_core::vision::{Preset, RgbImage, Views};
use alexnet_vgg_core::{Array, Error, Metadata, Result};
use proptest::prelude::*;
use std::future::Future;
use std::ops::Range;
use std::panic::resume_unwind;
use std::pin::pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// A network that tells when a batch begins, and ends it as the test says. The logits of an image are its number and
/// the number's negative.
struct Puppet {
    architecture: Architecture,
    metadata: Metadata,
    begins: Mutex<Sender<Vec<usize>>>,
    ends: Mutex<Receiver<End>>,
}

/// How a batch ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Logits,
    WrongCount,
    Error,
    Panic,
}

/// The test's side.
struct Strings {
    begins: Receiver<Vec<usize>>,
    ends: Sender<End>,
}

const CLASSES: usize = 2;
/// Values of an image of 1x1 pixels.
const VALUES: usize = 3;
const SHAPE: [usize; 4] = [1, 3, 1, 1];
/// For what happens at once, on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);

fn puppet() -> (Puppet, Strings) {
    let config = VggConfig::vgg11().with_width(0.05).with_num_classes(CLASSES);
    let architecture = config.architecture().expect("valid");
    let ((begins, begun), (ends, ended)) = (channel(), channel());
    let (begins, ends_of_puppet) = (Mutex::new(begins), Mutex::new(ended));
    let metadata = Metadata::default();
    (
        Puppet { architecture, metadata, begins, ends: ends_of_puppet },
        Strings { begins: begun, ends },
    )
}

impl Strings {
    /// The numbers of the images in the batch that begins now.
    fn begun(&self) -> Vec<usize> {
        self.begins.recv_timeout(SOON).expect("a batch begins")
    }
}

impl Model for Puppet {
    fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        assert_eq!(images.len(), shape.iter().product::<usize>());
        let numbers: Vec<f32> = images.chunks(VALUES).map(|image| image[0]).collect();
        let begun = numbers.iter().map(|&number| number as usize).collect();
        self.begins.lock().expect("no panic").send(begun).expect("the test listens");
        let end = self.ends.lock().expect("no panic").recv().expect("the test decides");
        match end {
            End::Logits => Ok(numbers.iter().flat_map(|&number| [number, -number]).collect()),
            End::WrongCount => Ok(vec![0.0]),
            End::Error => Err(Error::OutOfMemory { what: "the test".into() }),
            // Without a message on stderr.
            End::Panic => resume_unwind(Box::new("the test")),
        }
    }

    fn score_maps(&self, _: &[f32], _: [usize; 4]) -> Result<Array> {
        Err(Error::ModelOutput)
    }

    fn taps(&self, _: &[f32], _: [usize; 4], _: &[&str]) -> Result<Vec<Array>> {
        Err(Error::ModelOutput)
    }

    fn run_classifier_layers(&self, _: Range<usize>, _: &[f32]) -> Result<Vec<f32>> {
        Err(Error::ModelOutput)
    }
}

/// Images whose numbers count up from `first`.
fn images(first: usize, count: usize) -> (Vec<f32>, [usize; 4]) {
    let values = (first..first + count).flat_map(|number| [number as f32; VALUES]).collect();
    (values, [count, SHAPE[1], SHAPE[2], SHAPE[3]])
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park_timeout(SOON),
        }
    }
}

#[derive(Clone, Debug)]
enum Event {
    Submit {
        images: usize,
        is_late: bool,
    },
    /// The caller of a request that waits leaves.
    Leave(usize),
    End(End),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let images = prop_oneof![4 => Just(1usize), 1 => 2usize..7];
    let submit = (images, proptest::bool::weighted(0.15))
        .prop_map(|(images, is_late)| Event::Submit { images, is_late });
    let end = prop_oneof![
        6 => Just(End::Logits),
        1 => Just(End::WrongCount),
        1 => Just(End::Error),
        1 => Just(End::Panic),
    ];
    let event = prop_oneof![
        6 => submit,
        1 => any::<usize>().prop_map(Event::Leave),
        2 => end.prop_map(Event::End),
    ];
    proptest::collection::vec(event, 1..60)
}

/// A request, as the test sees it.
struct Sent {
    first: usize,
    images: usize,
    is_late: bool,
    /// `None` if the caller left.
    pending: Option<Pending<Vec<f32>>>,
}

/// What the batcher should be doing.
struct Expected {
    options: BatchOptions,
    computing: Vec<Sent>,
    waiting: Vec<Sent>,
    next: usize,
    counts: Counts,
}

#[derive(Debug, Default, PartialEq)]
struct Counts {
    accepted: u64,
    refused: u64,
    answered: u64,
    failed: u64,
    expired: u64,
    abandoned: u64,
}

impl Expected {
    fn images(&self) -> usize {
        self.waiting.iter().map(|sent| sent.images).sum()
    }

    /// Requests that are too late, or whose callers left, are not computed.
    fn sweep(&mut self) {
        for sent in std::mem::take(&mut self.waiting) {
            if sent.is_late {
                self.counts.expired += 1;
                let late = sent.pending.map(block_on);
                assert!(matches!(late, None | Some(Err(Error::DeadlinePassed { .. }))));
            } else if sent.pending.is_none() {
                self.counts.abandoned += 1;
            } else {
                self.waiting.push(sent);
            }
        }
    }

    fn submit(&mut self, batcher: &Batcher, strings: &Strings, images: usize, is_late: bool) {
        let (values, shape) = self::images(self.next, images);
        let deadline = is_late.then(Instant::now);
        let pending = batcher.submit(values, shape, deadline);
        let has_room =
            |it: &Self| it.waiting.is_empty() || it.images() + images <= it.options.queue;
        if !has_room(self) {
            self.sweep();
        }
        if !has_room(self) {
            self.counts.refused += 1;
            let waiting = self.images();
            assert!(matches!(pending, Err(Error::Busy { waiting: it, .. }) if it == waiting));
            return;
        }
        self.counts.accepted += 1;
        let pending = Some(pending.expect("there is room"));
        self.waiting.push(Sent { first: self.next, images, is_late, pending });
        self.next += images;
        if self.computing.is_empty() {
            self.begin(strings);
        }
    }

    /// The idle network takes the largest of the good batches at the front.
    fn begin(&mut self, strings: &Strings) {
        self.sweep();
        let max_batch = self.options.max_batch;
        let total = |count: usize| self.waiting[..count].iter().map(|it| it.images).sum::<usize>();
        let is_good = |&count: &usize| {
            let total = total(count);
            total == max_batch || total < max_batch && total.is_power_of_two()
        };
        let count = (1..=self.waiting.len()).rev().find(is_good).unwrap_or(1);
        if self.waiting.is_empty() {
            return;
        }
        self.computing = self.waiting.drain(..count).collect();
        let numbers = self.computing.iter().flat_map(|it| it.first..it.first + it.images);
        assert_eq!(strings.begun(), numbers.collect::<Vec<_>>());
        assert!(self.computing.iter().flat_map(|it| &it.pending).all(Pending::has_begun));
    }

    /// The batch ends: everyone has their own logits, or the same error.
    fn end(&mut self, strings: &Strings, end: End) {
        if self.computing.is_empty() {
            return;
        }
        strings.ends.send(end).expect("it listens");
        let batch = std::mem::take(&mut self.computing);
        let size: usize = batch.iter().map(|it| it.images).sum();
        for (index, sent) in batch.into_iter().enumerate() {
            *(if end == End::Logits {
                &mut self.counts.answered
            } else {
                &mut self.counts.failed
            }) += 1;
            let Some(pending) = sent.pending else { continue };
            let answer = if index % 2 == 0 { block_on(pending) } else { pending.wait() };
            if end == End::Logits {
                let answer = answer.expect("logits");
                let numbers = (sent.first..sent.first + sent.images).map(|number| number as f32);
                let logits: Vec<f32> = numbers.flat_map(|number| [number, -number]).collect();
                assert_eq!((answer.value, answer.batch_size), (logits, size));
                continue;
            }
            let Err(Error::Batch { images, error }) = answer else { panic!("{answer:?}") };
            assert_eq!(images, size);
            match end {
                End::Panic => assert!(error.to_string().contains("panicked: the test"), "{error}"),
                End::Error => assert!(matches!(*error, Error::OutOfMemory { .. })),
                _ => assert!(matches!(*error, Error::ModelOutput)),
            }
        }
        self.begin(strings);
    }
}

fn counts(batcher: &Batcher) -> Counts {
    let it = batcher.statistics();
    Counts {
        accepted: it.accepted,
        refused: it.refused,
        answered: it.answered,
        failed: it.failed,
        expired: it.expired,
        abandoned: it.abandoned,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn every_request_is_answered_as_it_should_be(
        max_batch in 1usize..10,
        queue in 1usize..12,
        events in events(),
    ) {
        let options = BatchOptions { max_batch, queue, max_wait: Duration::ZERO };
        let (puppet, strings) = puppet();
        let batcher = Batcher::new(puppet, options.clone()).expect("a thread");
        let (computing, waiting, counts_so_far) = (Vec::new(), Vec::new(), Counts::default());
        let mut expected =
            Expected { options, computing, waiting, next: 0, counts: counts_so_far };
        for event in events {
            match event {
                Event::Submit { images, is_late } => {
                    expected.submit(&batcher, &strings, images, is_late);
                }
                Event::Leave(which) if !expected.waiting.is_empty() => {
                    let which = which % expected.waiting.len();
                    expected.waiting[which].pending = None;
                }
                Event::Leave(_) => {}
                Event::End(end) => expected.end(&strings, end),
            }
        }
        std::thread::scope(|scope| {
            let drain = scope.spawn(|| batcher.drain());
            while !expected.computing.is_empty() {
                prop_assert!(!drain.is_finished());
                expected.end(&strings, End::Logits);
            }
            drain.join().expect("no panic");
            Ok(())
        })?;
        prop_assert_eq!(&counts(&batcher), &expected.counts);
        let statistics = batcher.statistics();
        prop_assert_eq!((statistics.waiting, statistics.computing), (0, 0));
        let computed = expected.counts.answered + expected.counts.failed;
        prop_assert_eq!(statistics.queue_seconds.count(), computed);
        let (values, shape) = images(0, 1);
        let refused = batcher.submit(values, shape, None);
        let is_refused = matches!(refused, Err(Error::ShutDown { .. }));
        prop_assert!(is_refused);
    }
}

/// Calls take their turn alone; their errors and panics are their own.
#[test]
fn calls_take_their_turn() -> Result<()> {
    let (puppet, strings) = puppet();
    let batcher = Batcher::new(puppet, BatchOptions::default())?;
    let one = |number: usize| {
        let (values, shape) = images(number, 1);
        batcher.submit(values, shape, None)
    };
    let first = one(1)?;
    // Otherwise, the others might be computed with it.
    assert_eq!(strings.begun(), [1]);
    let before = [first, one(2)?, one(3)?];
    let classes = batcher.call(None, |model| Ok(model.architecture().num_classes()))?;
    let panics = batcher.call(None, |_| -> Result<()> { resume_unwind(Box::new("a call")) })?;
    let fails = batcher.call(None, |model| model.score_maps(&[], SHAPE))?;
    let after = one(4)?;
    for batch in [vec![2, 3], vec![4]] {
        strings.ends.send(End::Logits).expect("it listens");
        assert_eq!(strings.begun(), batch);
    }
    strings.ends.send(End::Logits).expect("it listens");
    for (number, pending) in before.into_iter().enumerate() {
        assert_eq!(pending.wait()?.value[0], (number + 1) as f32);
    }
    assert_eq!(classes.wait()?.value, CLASSES);
    assert!(matches!(panics.wait(), Err(Error::Thread { .. })));
    assert!(matches!(fails.wait(), Err(Error::ModelOutput)));
    assert_eq!(after.wait()?.value, [4.0, -4.0]);
    let statistics = batcher.statistics();
    assert_eq!((statistics.answered, statistics.failed), (5, 2));
    Ok(())
}

/// Who waits in a thread learns of the deadline when it passes, not when the network has time.
#[test]
fn deadlines_do_not_wait_for_the_network() -> Result<()> {
    let (puppet, strings) = puppet();
    let options = BatchOptions { max_wait: Duration::from_millis(400), ..BatchOptions::default() };
    let batcher = Batcher::new(puppet, options)?;
    let submit = |number: usize, deadline: Option<Instant>| {
        let (values, shape) = images(number, 1);
        batcher.submit(values, shape, deadline)
    };
    // The idle network waits for a second request.
    let start = Instant::now();
    let together = [submit(1, None)?, submit(2, None)?];
    assert_eq!(strings.begun(), [1, 2]);
    assert!(start.elapsed() >= Duration::from_millis(400));
    let late = submit(3, Some(Instant::now() + Duration::from_millis(30)))?;
    assert!(matches!(late.wait(), Err(Error::DeadlinePassed { .. })));
    // What the network has begun is answered, however late.
    strings.ends.send(End::Logits).expect("it listens");
    for pending in together {
        pending.wait()?;
    }
    // The last handle is gone, and what was accepted is computed all the same. A successor goes on counting.
    let (other, other_strings) = self::puppet();
    let successor = batcher.successor(other, BatchOptions::default())?;
    let last = submit(4, None)?;
    drop(batcher);
    assert_eq!(strings.begun(), [4]);
    strings.ends.send(End::Logits).expect("it listens");
    assert_eq!(last.wait()?.value[0], 4.0);
    let (values, shape) = images(5, 1);
    let pending = successor.submit(values, shape, None)?;
    assert_eq!(other_strings.begun(), [5]);
    other_strings.ends.send(End::Logits).expect("it listens");
    pending.wait()?;
    assert_eq!(successor.statistics().answered, 4);
    Ok(())
}

#[test]
fn wrong_requests_and_options_are_refused() -> Result<()> {
    for options in [
        BatchOptions { max_batch: 0, ..BatchOptions::default() },
        BatchOptions { max_batch: 1025, ..BatchOptions::default() },
        BatchOptions { queue: 0, ..BatchOptions::default() },
    ] {
        assert!(matches!(Batcher::new(puppet().0, options), Err(Error::Setting { .. })));
    }
    let batcher = Batcher::new(puppet().0, BatchOptions::default())?;
    for (len, shape) in
        [(0, [0, 3, 1, 1]), (4, [1, 4, 1, 1]), (2, SHAPE), (3, [usize::MAX, 3, 9, 9])]
    {
        let refused = batcher.submit(vec![0.0; len], shape, None);
        assert!(matches!(refused, Err(Error::InputShape { .. })), "{shape:?}");
    }
    Ok(())
}

/// Each picture has its own logits, in the bits that batches of that size have, however they were gathered.
#[test]
fn many_threads_share_a_compiled_network() -> Result<()> {
    const SIDE: usize = 48;
    let config = VggConfig::vgg11().with_width(0.1).with_num_classes(7);
    let compiled = formula::compiled(config, CompileOptions::default());
    let shape = |count: usize| [count, 3, SIDE, SIDE];
    let all = formula::images(shape(16));
    let pictures: Vec<&[f32]> = all.chunks(3 * SIDE * SIDE).collect();
    // The bits of each picture in each size of a batch, with itself for company.
    let sizes = [1, 2, 4, 8];
    let expected: Vec<Vec<Vec<f32>>> = (pictures.iter())
        .map(|picture| {
            let of = |size: usize| {
                let logits = Model::logits(&compiled, &picture.repeat(size), shape(size))?;
                Ok(logits[..7].to_vec())
            };
            sizes.into_iter().map(of).collect()
        })
        .collect::<Result<_>>()?;
    let batcher = Batcher::new(compiled.clone(), BatchOptions::default())?;
    std::thread::scope(|scope| {
        for thread in 0..24 {
            let (batcher, pictures, expected) = (&batcher, &pictures, &expected);
            scope.spawn(move || {
                for round in 0..20 {
                    let picture = (thread * 7 + round * 5) % pictures.len();
                    let pending = batcher.submit(pictures[picture].to_vec(), shape(1), None);
                    let answer = pending.and_then(Pending::wait).expect("logits");
                    let size = sizes.iter().position(|&size| size == answer.batch_size);
                    let size = size.unwrap_or_else(|| panic!("a batch of {}", answer.batch_size));
                    assert!(answer.value == expected[picture][size], "{picture} in {size}");
                }
            });
        }
    });
    let statistics = batcher.statistics();
    assert_eq!(statistics.answered, 480);
    assert!(statistics.batch_sizes.count() < 480, "nothing was computed together");

    // A classifier on the batcher answers as one on the network.
    let preset = Preset { resize: 56, crop: 48, ..Preset::imagenet() };
    let views = Views::ten_crop().joined_with(Views::dense());
    let photo = RgbImage::from_fn(70, 60, |x, y| [(3 * x) as u8, (4 * y) as u8, 99].into());
    let [batched, plain] = [Box::new(batcher) as Box<dyn Model>, Box::new(compiled)].map(|model| {
        let builder = Classifier::builder(model).preset(preset.clone()).views(views.clone());
        let classifier = builder.build().expect("valid");
        let classified = classifier.classify(&photo).expect("finite");
        (classified, classifier.heat_map(&photo, 3, 300).expect("a map"))
    });
    assert!(batched == plain);
    Ok(())
}

/// What a service does step by step is what the classifier does at once.
#[test]
fn a_classification_can_be_computed_in_steps() -> Result<()> {
    let config = VggConfig::vgg11().with_width(0.1).with_num_classes(7);
    let compiled = formula::compiled(config, CompileOptions::default());
    let preset = Preset { resize: 56, crop: 48, ..Preset::imagenet() };
    let photo = RgbImage::from_fn(70, 60, |x, y| [(3 * x) as u8, (4 * y) as u8, 99].into());
    let with = |views: Views| {
        Classifier::builder(compiled.clone()).preset(preset.clone()).views(views).build()
    };
    let ten_crop = with(Views::ten_crop())?;
    let prepared = ten_crop.prepare(&photo)?;
    let logits = Model::logits(&compiled, &prepared.squares, [10, 3, 48, 48])?;
    let whole = ten_crop.classify(&photo)?;
    assert!(ten_crop.classification_of_logits(&logits)? == whole);
    assert!(ten_crop.classify_prepared(&prepared)? == whole);
    assert!(matches!(ten_crop.classification_of_logits(&logits[1..]), Err(Error::Setting { .. })));
    let dense = with(Views::dense())?;
    assert!(matches!(dense.classification_of_logits(&logits), Err(Error::Setting { .. })));
    assert!(matches!(dense.classify_prepared(&prepared), Err(Error::Setting { .. })));
    assert!(dense.classify_prepared(&dense.prepare(&photo)?)? == dense.classify(&photo)?);
    let image = dense.prepare_heat_map(&photo, 300)?;
    let map = dense.heat_map_of_prepared(&image, 2)?;
    assert!(map == dense.heat_map(&photo, 2, 300)?);

    // The overlay has the colors of the map: violet and transparent where the class is seen least, yellow and opaque where
    // it is seen most. Pixels lie between the cells of the map, so that few of them have its very ends.
    assert!(map.overlay(0, 30).is_err());
    let overlay = map.overlay(35, 30)?;
    let most = overlay.pixels().max_by_key(|pixel| pixel.0[3]).expect("pixels").0;
    let least = overlay.pixels().min_by_key(|pixel| pixel.0[3]).expect("pixels").0;
    assert!(most[3] > 215 && most[0] > 220 && most[1] > 150, "{most:?}");
    assert!(least[3] < 40 && least[0] < 80 && least[1] < 20, "{least:?}");
    Ok(())
}
