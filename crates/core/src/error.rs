//! One error type for the whole crate: what was expected, what was found, and where.
//!
//! Everything that comes from outside (a file, a photo, a table, a command line) is checked before it
//! is used, so that a mistake ends in an [`Error`] and never in a panic or a wrong number.

use std::fmt;
use std::path::PathBuf;

/// The result of every function in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
///
/// `Display` is the whole message. [`source`](std::error::Error::source) is therefore always `None`:
/// a reporter that prints the chain of sources prints nothing twice. Where there is an underlying
/// error, it is a field of the variant ([`Io::error`](Self::Io::error)).
///
/// `Debug` prints the same message as `Display`, because Rust prints an error that `main` returns with
/// `Debug`.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The [registry](crate::architecture::NetworkConfig::by_name) has no network of that name.
    #[error("unknown network `{name}`; the networks are: {known}")]
    UnknownNetwork {
        /// The name that was asked for.
        name: String,
        /// The names of all networks, separated by commas.
        known: String,
    },

    /// A network has no layer of that name.
    #[error("{network} has no layer `{name}`; its layers are: {known}")]
    UnknownLayer {
        /// The network that was searched.
        network: String,
        /// The name that was asked for.
        name: String,
        /// All layers, by both of their names.
        known: String,
    },

    /// A choice that is made by name (a preset, a naming, an instruction set, ...) has no such name.
    #[error("unknown {kind} `{}`; expected one of: {known}", printable(.name))]
    UnknownName {
        /// What is chosen: `preset`, `naming`, ...
        kind: String,
        /// The name that was asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },

    /// A network's table contradicts itself: groups that do not divide the channels, a kernel of size 0.
    #[error("{place}: expected {expected}, found {found}")]
    Table {
        /// The network and the layer.
        place: String,
        /// What a valid table has there.
        expected: String,
        /// What this table has.
        found: String,
    },

    /// An input image is too small: a pool or a convolution would have no output.
    #[error(
        "{network}: an input of {}x{} is too small: {layer} has no output; expected at least {minimum}x{minimum}",
        .found[0], .found[1]
    )]
    InputTooSmall {
        /// The network.
        network: String,
        /// The first layer that has no output.
        layer: String,
        /// The smallest height and width that the network takes, in pixels.
        minimum: usize,
        /// The height and width that were given, in pixels.
        found: [usize; 2],
    },

    /// An input batch has the wrong shape.
    #[error("{network}: expected input {expected}, found {found:?}")]
    InputShape {
        /// The network.
        network: String,
        /// The shape that it takes, in words.
        expected: String,
        /// The shape that was given.
        found: Vec<usize>,
    },

    /// A tensor has values that are NaN or infinite.
    #[error(
        "{}: expected finite values, found {count} that are not, the first at index {first}",
        printable(.place)
    )]
    NotFinite {
        /// The tensor.
        place: String,
        /// The number of values that are NaN or infinite.
        count: usize,
        /// The flat index of the first of them.
        first: usize,
    },

    /// A checkpoint belongs to a different run than the one that should be resumed.
    #[error(
        "{}: a checkpoint of a different run:{}\ncontinue it with what it began with, or choose another output folder",
        .path.display(), one_per_line(.differences)
    )]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// What differs between the runs, one sentence each.
        differences: Vec<String>,
    },

    /// Training diverged: the loss is NaN or infinite.
    #[error("training ended at step {step}: expected a finite loss, found {loss}; {origin}{}",
        .checkpoint.as_ref().map_or_else(String::new, |path| format!("; the last good checkpoint is {}", path.display())))]
    Diverged {
        /// The number of optimizer steps before it.
        step: u64,
        /// NaN or infinity.
        loss: f64,
        /// The layer where the first such value appeared.
        origin: String,
        /// The last good checkpoint, to resume from with a lower learning rate.
        checkpoint: Option<PathBuf>,
    },

    /// One of the processes that train together failed or ended, so all of them stop.
    #[error("process {rank} ({place}): {reason}")]
    Process {
        /// The rank of the process, counted from 0.
        rank: usize,
        /// Its host or device.
        place: String,
        /// What happened there.
        reason: String,
    },

    /// A file could not be opened, read or written.
    // Not named `source`: `thiserror` would make it the source, whose text is in this message already.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        error: std::io::Error,
    },

    /// A weights file does not follow its format.
    #[error(
        "{}: not a valid {format} file: expected {}, found {}",
        .path.display(), printable(.expected), printable(.found)
    )]
    WeightsFormat {
        /// The file.
        path: PathBuf,
        /// `safetensors`, `PyTorch`, `legacy PyTorch`, or `weights` if it is none of them.
        format: String,
        /// What the format requires.
        expected: String,
        /// What the file has.
        found: String,
    },

    /// A weights file is valid, but does not have the tensors of this network. Lists all differences.
    #[error("{}: not the weights of {network}:{}", .path.display(), one_per_line(.differences))]
    WeightsMismatch {
        /// The file.
        path: PathBuf,
        /// The network that was to be loaded.
        network: String,
        /// Every tensor that is missing, extra, or has another shape or type, one sentence each.
        differences: Vec<String>,
    },

    /// The metadata of a weights file states a preset or labels that are not valid.
    #[error("{}: {place}: expected {expected}, found {}", .path.display(), printable(.found))]
    WeightsMetadata {
        /// The file.
        path: PathBuf,
        /// The entry of the metadata.
        place: String,
        /// What a valid entry has.
        expected: String,
        /// What the file has.
        found: String,
    },

    /// The preset is not the one that the weights were trained with: the predictions would be wrong,
    /// without any sign of it.
    #[error(
        "preset of {network}: expected {trained_with:?}, which the weights were trained with, found {found:?}"
    )]
    PresetMismatch {
        /// The network.
        network: String,
        /// The name of the preset that the weights were trained with.
        trained_with: String,
        /// The name of the preset that was given. Presets of the same name may differ in their numbers.
        found: String,
    },

    /// There are more or fewer labels than the network has classes.
    #[error("{place}: expected {classes}, one for each class of the network, found {labels}")]
    LabelsMismatch {
        /// `labels`, after the file that has them, if they come from one.
        place: String,
        /// The number of classes of the network.
        classes: usize,
        /// The number of labels.
        labels: usize,
    },

    /// A callback that returns the values of a parameter returned a wrong number of them.
    #[error("{place}: expected {expected} values, found {found}")]
    ValueCount {
        /// The parameter.
        place: String,
        /// The number of values that were asked for.
        expected: usize,
        /// The number of values that were returned.
        found: usize,
    },

    /// An implementation of [`Model`](crate::predict::Model) returned an output of another shape than the one
    /// that was requested.
    #[error("the model's output does not have the shape that was requested")]
    ModelOutput,

    /// A value is beyond the range of the type that it is to be written as. f32 holds every value.
    #[error("{}: {value} is out of the range of {dtype}; save as F32 instead", printable(.place))]
    ValueOutOfRange {
        /// The tensor.
        place: String,
        /// The type: `F16` or `BF16`.
        dtype: String,
        /// The value.
        value: f32,
    },

    /// No published weights exist for a network.
    #[error("no weights are published for {network}; weights are published for: {known}")]
    NotPublished {
        /// The network.
        network: String,
        /// The networks that have some, separated by commas.
        known: String,
    },

    /// Weights are published for a network of that name, but this one has other tensors.
    #[error("{network}, pretrained: {place}: expected {expected}, found {found}")]
    PublishedMismatch {
        /// The network.
        network: String,
        /// What differs: `classes`, or the name of a parameter.
        place: String,
        /// What the published weights have.
        expected: String,
        /// What this network has.
        found: String,
    },

    /// A file could not be downloaded.
    #[error("{address}: expected {expected}, found {found}")]
    Download {
        /// The address of the file.
        address: String,
        /// What the server should have sent.
        expected: String,
        /// What was received instead.
        found: String,
    },

    /// A downloaded file is not the published one.
    #[error(
        "{address}: expected a file whose SHA-256 begins with {expected}, found {found}; it was deleted"
    )]
    Checksum {
        /// The address that it came from.
        address: String,
        /// The published SHA-256 in hexadecimal, or as much of its beginning as is published.
        expected: String,
        /// The SHA-256 of the file that was received.
        found: String,
    },

    /// A picture could not be decoded, or exceeds a limit.
    #[error("{place}: {found}; expected {expected}")]
    Picture {
        /// The file, or `memory`.
        place: String,
        /// What would have been accepted.
        expected: String,
        /// What was found.
        found: String,
    },

    /// An option or an argument is out of its range.
    #[error("{}: expected {expected}, found {}", printable(.place), printable(.found))]
    Setting {
        /// The option.
        place: String,
        /// Its range.
        expected: String,
        /// What was given.
        found: String,
    },

    /// Memory for the values could not be allocated, or their number overflows.
    #[error("{what} does not fit in memory")]
    OutOfMemory {
        /// What was to be allocated, with its size.
        what: String,
    },

    /// A [`Batcher`](crate::predict::Batcher) has as many images waiting as its queue holds.
    #[error(
        "{network} is busy: its queue is full, with {waiting} images waiting; try again a little later"
    )]
    Busy {
        /// The network.
        network: String,
        /// The images that wait.
        waiting: usize,
    },

    /// A [`Batcher`](crate::predict::Batcher) had no time for a request before its deadline.
    #[error(
        "{network}: the deadline passed after {waited:.1?}, before the network could begin; try again later"
    )]
    DeadlinePassed {
        /// The network.
        network: String,
        /// How long the request waited.
        waited: std::time::Duration,
    },

    /// A [`Batcher`](crate::predict::Batcher) accepts no more requests, because it was drained.
    #[error("{network} accepts no more requests: it is being shut down")]
    ShutDown {
        /// The network.
        network: String,
    },

    /// A batch of several requests failed: each of them gets the same error.
    #[error("a batch of {images} images failed: {error}")]
    Batch {
        /// The images in the batch.
        images: usize,
        /// Why it failed.
        error: std::sync::Arc<Error>,
    },

    /// A thread could not be started, or panicked.
    #[error("{threads}: {reason}")]
    Thread {
        /// What the threads are for.
        threads: String,
        /// What happened.
        reason: String,
    },

    /// A backend or its device cannot do what is asked of it: the backend is not compiled in, the machine
    /// has no such device or instruction set, a size is beyond the device's limits, or the device failed.
    #[error("backend {backend}: {reason}")]
    Backend {
        /// The burn backend (`ndarray`, `flex`, `wgpu`, ...), or `compiled` for the CPU engine of this
        /// crate.
        backend: String,
        /// What is missing, with the numbers.
        reason: String,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error {
    /// The operating system's error about a file: `File::open(path).map_err(Error::io(path))`.
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
        move |error| Error::Io { path: path.into(), error }
    }
}

/// One difference per line, at most 40 of them.
fn one_per_line(list: &[String]) -> String {
    const SHOWN: usize = 40;
    let mut text: String =
        list.iter().take(SHOWN).map(|line| format!("\n  {}", printable(line))).collect();
    if list.len() > SHOWN {
        text += &format!("\n  ... and {} more", list.len() - SHOWN);
    }
    text
}

/// Makes text from an untrusted source safe to print: control characters and characters that change
/// the text direction are escaped, so that they cannot control the terminal, and everything after
/// 2000 characters is cut off.
///
/// ```
/// assert_eq!(alexnet_vgg_core::printable("weight\u{1b}[31m"), "weight\\u{1b}[31m");
/// ```
pub fn printable(text: &str) -> String {
    const MAX_CHARS: usize = 2000;
    let changes_direction = |c| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_CHARS {
            return shown + "...";
        }
        if c.is_control() || changes_direction(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Checks that no value is NaN or infinite.
///
/// # Errors
/// [`Error::NotFinite`] with `place`, the number of such values, and the index of the first.
pub fn expect_finite(place: &str, values: &[f32]) -> Result<()> {
    let mut not_finite = values.iter().enumerate().filter(|(_, value)| !value.is_finite());
    match not_finite.next() {
        None => Ok(()),
        Some((first, _)) => {
            Err(Error::NotFinite { place: place.into(), count: 1 + not_finite.count(), first })
        }
    }
}
