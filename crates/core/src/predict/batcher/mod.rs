//! [`Batcher`]: requests from any thread or task, computed together.
//!
//! - [`BatchOptions`] (`options`): how large batches become, and how much may wait.
//! - `request` is what waits, `request_queue` decides what is computed next, and `worker` is the thread that computes.
//! - [`Pending`] and [`Answer`] (`pending`): what the caller gets.
//! - [`BatcherStatistics`] (`statistics`) and [`Histogram`] (`histogram`): what happened.

mod histogram;
mod options;
mod pending;
mod request;
mod request_queue;
#[cfg(test)]
mod request_queue_tests;
mod statistics;
mod worker;

pub use histogram::Histogram;
pub use options::BatchOptions;
pub use pending::{Answer, Pending};
pub use statistics::BatcherStatistics;

use super::model::Model;
use crate::architecture::Architecture;
use crate::array::Array;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use request::{CallOf, Images, Request, Work};
use request_queue::RequestQueue;
use statistics::SharedStatistics;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Gathers requests from many threads or tasks into batches, which take less time than the same images one by one:
/// the compiled `alexnet` reads its weights once for eight images.
///
/// A request is [one or more images](Self::submit) of one size, or [a call](Self::call) of anything else that the network
/// can do, such as dense evaluation. A thread of the batcher's own computes them in the order of their arrival: images
/// together, as many as are there and [fit](BatchOptions::max_batch), calls one by one. What does not fit into the
/// [queue](BatchOptions::queue) is refused at once. Clones are handles of the same batcher.
///
/// It is a [`Model`] itself. So a [`Classifier`](super::Classifier) on it is batched without further ado, if several
/// threads use it:
///
/// ```
/// use alexnet_vgg_core::architecture::{FreshWeights, VggConfig};
/// use alexnet_vgg_core::engine::{CompileOptions, Compiled};
/// use alexnet_vgg_core::predict::{BatchOptions, Batcher, Classifier};
/// use alexnet_vgg_core::vision::RgbImage;
///
/// // A small untrained network; for a trained one: Compiled::open("vgg16.safetensors", CompileOptions::default())?
/// let config = VggConfig::vgg11().with_width(0.05).with_num_classes(10);
/// let weights = FreshWeights::new(0);
/// let model = Compiled::from_values(config, CompileOptions::default(), |parameter, rows| {
///     Ok(weights.rows(parameter, rows))
/// })?;
/// let batcher = Batcher::new(model, BatchOptions::default())?;
/// let classifier = Classifier::builder(batcher.clone()).build()?;
/// std::thread::scope(|scope| {
///     for brightness in 0..20 {
///         let photo = RgbImage::from_pixel(300, 250, [10 * brightness; 3].into());
///         let classifier = &classifier;
///         scope.spawn(move || classifier.classify(&photo).map(|it| println!("{}", it.predictions[0].label)));
///     }
/// });
/// let statistics = batcher.statistics();
/// assert_eq!(statistics.answered, 20);
/// assert!(statistics.batch_sizes.count() < 20); // some were computed together
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
///
/// # Numbers
///
/// An image's logits do not depend on the other images of its batch, but their last bits may depend on how many there
/// are: see [`Compiled`](crate::engine::Compiled). Compared to the image alone, they differ by less than 1e-5 of the largest.
///
/// # The end
///
/// When the last handle is dropped, what was accepted is still computed, and then the thread ends.
/// [`drain`](Self::drain) waits for it.
#[derive(Clone)]
pub struct Batcher {
    model: Arc<dyn Model>,
    shared: Arc<Shared>,
    _close_with_last: Arc<CloseWhenDropped>,
}

/// What handles and the thread share.
struct Shared {
    network: Arc<str>,
    state: Mutex<State>,
    /// A request arrived, or the batcher was closed.
    arrived: Condvar,
    /// The thread has ended.
    ended: Condvar,
    statistics: SharedStatistics,
}

struct State {
    queue: RequestQueue<Request>,
    /// No more requests are accepted.
    is_closed: bool,
    has_ended: bool,
}

struct CloseWhenDropped(Arc<Shared>);

impl Drop for CloseWhenDropped {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
    }
}

/// Tells everyone that the thread has ended, also if it panicked.
struct EndOfThread(Arc<Shared>);

impl Drop for EndOfThread {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.is_closed = true;
        state.has_ended = true;
        drop(state);
        self.0.ended.notify_all();
    }
}

impl std::fmt::Debug for Batcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("network", &self.shared.network).finish_non_exhaustive()
    }
}

impl Batcher {
    /// Starts a thread that computes what is asked of the network.
    ///
    /// # Errors
    /// [`Error::Setting`] for options out of their ranges; [`Error::Thread`] if the thread cannot be started.
    pub fn new(model: impl Model + 'static, options: BatchOptions) -> Result<Self> {
        Self::start(Arc::new(model), options, SharedStatistics::default())
    }

    /// A batcher for another network, such as the same one with new weights, that goes on with this one's statistics. This
    /// one goes on, too, as long as there are handles of it.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn successor(&self, model: impl Model + 'static, options: BatchOptions) -> Result<Self> {
        Self::start(Arc::new(model), options, self.shared.statistics.clone())
    }

    fn start(
        model: Arc<dyn Model>,
        options: BatchOptions,
        statistics: SharedStatistics,
    ) -> Result<Self> {
        options.validate()?;
        let state = State { queue: RequestQueue::new(options), is_closed: false, has_ended: false };
        let shared = Arc::new(Shared {
            network: model.architecture().name.as_str().into(),
            state: Mutex::new(state),
            arrived: Condvar::new(),
            ended: Condvar::new(),
            statistics,
        });
        let (of_thread, model_of_thread) = (shared.clone(), model.clone());
        let thread = std::thread::Builder::new().name("batcher".into()).spawn(move || {
            let end = EndOfThread(of_thread);
            worker::work(&end.0, &*model_of_thread);
        });
        thread.map_err(|error| Error::Thread {
            threads: "batcher".into(),
            reason: format!("the thread could not be started: {error}"),
        })?;
        let close = Arc::new(CloseWhenDropped(shared.clone()));
        Ok(Self { model, shared, _close_with_last: close })
    }

    /// Asks for the logits of images: `[N, C, H, W]`, flat, to `[N, num_classes]`, flat, together with other images of
    /// the same size. All images of a request are in the same batch. This never blocks. If computing has not begun by the
    /// `deadline`, the answer is an error, and the images are not computed.
    ///
    /// # Errors
    /// [`Error::Busy`] if the queue is full; [`Error::ShutDown`] after [`drain`](Self::drain); [`Error::InputShape`] for a
    /// wrong number of channels, no images, or values that do not fit the shape.
    ///
    /// The answer can be [`Error::DeadlinePassed`], or [`Error::Batch`] with the error or panic of the network.
    pub fn submit(
        &self,
        images: Vec<f32>,
        shape: [usize; 4],
        deadline: Option<Instant>,
    ) -> Result<Pending<Vec<f32>>> {
        let architecture = self.model.architecture();
        let channels = architecture.input[0];
        let len = shape.iter().try_fold(1usize, |product, &side| product.checked_mul(side));
        if shape[0] == 0 || shape[1] != channels || len != Some(images.len()) {
            return Err(Error::InputShape {
                network: architecture.name.clone(),
                expected: format!("[N >= 1, {channels}, H, W], and as many values"),
                found: shape.into_iter().chain([images.len()]).collect(),
            });
        }
        let (pending, reply) = pending::pending(self.shared.network.clone(), deadline);
        self.accept(Work::Images(Images { values: images, shape, reply }), deadline)?;
        Ok(pending)
    }

    /// Asks for anything else: `function` is called with the network on the batcher's thread, alone, when it is its turn.
    /// It counts as one image in the queue. It must not wait for the batcher itself.
    ///
    /// # Errors
    /// [`Error::Busy`] and [`Error::ShutDown`] as for [`submit`](Self::submit). The answer can be
    /// [`Error::DeadlinePassed`], an error of the function, or [`Error::Thread`] if it panicked.
    pub fn call<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        function: impl FnOnce(&dyn Model) -> Result<T> + Send + 'static,
    ) -> Result<Pending<T>> {
        let (pending, reply) = pending::pending(self.shared.network.clone(), deadline);
        self.accept(Work::Call(Box::new(CallOf { function, reply })), deadline)?;
        Ok(pending)
    }

    /// Puts a request into the queue, or refuses it.
    fn accept(&self, work: Work, deadline: Option<Instant>) -> Result<()> {
        let request = Request { work, arrived: Instant::now(), deadline };
        let images = request_queue::Queued::images(&request);
        let mut state = self.shared.lock();
        if !state.queue.has_room(images) {
            // What is not to be computed any more takes no room.
            let left_out = state.queue.sweep(request.arrived);
            drop(state);
            worker::leave_out(&self.shared, left_out);
            state = self.shared.lock();
        }
        let network = || self.shared.network.to_string();
        if state.is_closed {
            return Err(Error::ShutDown { network: network() });
        }
        let mut statistics = self.shared.statistics.lock();
        if !state.queue.has_room(images) {
            statistics.refused += 1;
            return Err(Error::Busy { network: network(), waiting: state.queue.images() });
        }
        statistics.accepted += 1;
        statistics.waiting += 1;
        drop(statistics);
        state.queue.push(request);
        drop(state);
        self.shared.arrived.notify_one();
        Ok(())
    }

    /// Accepts no more requests, and blocks until all that were accepted are answered.
    pub fn drain(&self) {
        self.shared.close();
        let mut state = self.shared.lock();
        while !state.has_ended {
            state = self.shared.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What it has done so far, and what it is doing.
    pub fn statistics(&self) -> BatcherStatistics {
        self.shared.statistics.lock().clone()
    }

    /// The network. Its own methods do not go through the batcher.
    pub fn model(&self) -> &dyn Model {
        &*self.model
    }
}

/// Every method but `architecture` and `metadata` blocks until the batcher's thread has computed the result.
impl Model for Batcher {
    fn architecture(&self) -> &Architecture {
        self.model.architecture()
    }

    fn metadata(&self) -> &Metadata {
        self.model.metadata()
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        Ok(self.submit(images.to_vec(), shape, None)?.wait()?.value)
    }

    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Array> {
        let images = images.to_vec();
        Ok(self.call(None, move |model| model.score_maps(&images, shape))?.wait()?.value)
    }

    fn taps(&self, images: &[f32], shape: [usize; 4], layers: &[&str]) -> Result<Vec<Array>> {
        let images = images.to_vec();
        let layers: Vec<String> = layers.iter().map(ToString::to_string).collect();
        let taps = self.call(None, move |model| {
            let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
            model.taps(&images, shape, &layers)
        });
        Ok(taps?.wait()?.value)
    }

    fn run_classifier_layers(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        let vectors = vectors.to_vec();
        let outputs = self.call(None, move |model| model.run_classifier_layers(layers, &vectors));
        Ok(outputs?.wait()?.value)
    }
}
