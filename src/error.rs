//! One error type for the whole crate: what was expected, what was found, and where.
//!
//! burn panics on bad shapes and missing devices. Everything here is checked *before* burn sees it,
//! so that whatever comes from outside (a file, a photo, a table, a command line) ends in an
//! [`Error`] and never in a panic or a wrong number.

use std::fmt;
use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something could not be done.
///
/// `Debug` gives the same sentence as `Display`: a `main` that returns errors prints them by it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No network of that name is in the [registry](crate::models::NetworkConfig::by_name).
    #[error("unknown network `{name}`; the networks are: {known}")]
    UnknownNetwork {
        /// The name that was asked for.
        name: String,
        /// All names, separated by commas.
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

    /// A network's table is contradictory: a group count that does not divide, a kernel of zero.
    #[error("{place}: expected {expected}, found {found}")]
    Table {
        /// Network and layer.
        place: String,
        /// What a valid table has there.
        expected: String,
        /// What this table has.
        found: String,
    },

    /// An input image is smaller than the network's pools allow.
    #[error(
        "{network}: an input of {}x{} is too small: nothing is left of it at {layer}; expected at least {minimum}x{minimum}",
        .found[0], .found[1]
    )]
    InputTooSmall {
        /// The network.
        network: String,
        /// The first layer that has no output.
        layer: String,
        /// The smallest height and width that the network takes.
        minimum: usize,
        /// Height and width that were given.
        found: [usize; 2],
    },

    /// An input batch has the wrong shape.
    #[error("{network}: expected input {expected}, found {found:?}")]
    InputShape {
        /// The network.
        network: String,
        /// The shape it takes, in words.
        expected: String,
        /// The shape that was given.
        found: Vec<usize>,
    },

    /// The values of a tensor are not numbers.
    #[error(
        "{}: expected finite values, found {count} that are not, the first at index {first}",
        printable(.place)
    )]
    NotFinite {
        /// Which tensor.
        place: String,
        /// How many values are NaN or infinite.
        count: usize,
        /// Flat index of the first of them.
        first: usize,
    },

    /// A checkpoint is of another run than the one that should go on.
    #[error("{}: a checkpoint of another run:{}", .path.display(), one_a_line(.differences))]
    OtherRun {
        /// The checkpoint.
        path: PathBuf,
        /// In what the runs differ, one sentence each.
        differences: Vec<String>,
    },

    /// Training came to a loss that is no number.
    #[error("training ended at step {step}: expected a finite loss, found {loss}; {origin}{}",
        .checkpoint.as_ref().map_or_else(String::new, |path| format!("; the last good checkpoint is {}", path.display())))]
    Diverged {
        /// Steps of the optimizer before it.
        step: u64,
        /// NaN or infinity.
        loss: f64,
        /// The layer where it began.
        origin: String,
        /// To go on from, with a smaller learning rate.
        checkpoint: Option<PathBuf>,
    },

    /// One of the processes that train together failed or is gone, and so all end.
    #[error("process {rank} ({place}): {reason}")]
    Process {
        /// Which of them, from 0 on.
        rank: usize,
        /// Its host or device.
        place: String,
        /// What happened there.
        reason: String,
    },

    /// A file could not be opened, read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// A weights file is not what its format says.
    #[error(
        "{}: not a valid {format} file: expected {}, found {}",
        .path.display(), printable(.expected), printable(.found)
    )]
    WeightsFormat {
        /// The file.
        path: PathBuf,
        /// `safetensors`, `PyTorch`, `legacy PyTorch`, or `weights` if it is none of them.
        format: String,
        /// What the format asks for.
        expected: String,
        /// What the file has.
        found: String,
    },

    /// A weights file is valid, but not the weights of this network. All differences at once.
    #[error("{}: not the weights of {network}:{}", .path.display(), one_a_line(.differences))]
    WeightsMismatch {
        /// The file.
        path: PathBuf,
        /// The network that should be loaded.
        network: String,
        /// Every tensor that is missing, extra, mis-shaped or mistyped, one sentence each.
        differences: Vec<String>,
    },

    /// No published weights exist for a network.
    #[error("no weights are published for {network}; they are for: {known}")]
    NotPublished {
        /// The network.
        network: String,
        /// The networks that have some, separated by commas.
        known: String,
    },

    /// A file could not be fetched.
    #[error("{address}: expected {expected}, found {found}")]
    Download {
        /// Its address.
        address: String,
        /// What the server should have sent.
        expected: String,
        /// What came instead.
        found: String,
    },

    /// A fetched file is not the published one.
    #[error(
        "{address}: expected a file whose SHA-256 begins with {expected}, found {found}; it was deleted"
    )]
    Checksum {
        /// Where it came from.
        address: String,
        /// The SHA-256 in hexadecimal, or as much of its beginning as is published.
        expected: String,
        /// The SHA-256 of what came.
        found: String,
    },

    /// A picture could not be decoded, or is beyond the limits.
    #[error("{place}: {found}; expected {expected}")]
    Picture {
        /// The file, or `memory`.
        place: String,
        /// What would have been accepted.
        expected: String,
        /// What was there.
        found: String,
    },

    /// A setting is out of its range.
    #[error("{}: expected {expected}, found {}", printable(.place), printable(.found))]
    Setting {
        /// Which setting.
        place: String,
        /// Its range.
        expected: String,
        /// What was given.
        found: String,
    },

    /// A backend or its device cannot do what is asked of it.
    #[error("backend {backend}: {reason}")]
    Backend {
        /// `ndarray`, `flex` or `wgpu`.
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
    pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
        move |source| Error::Io { path: path.into(), source }
    }
}

/// One difference a line, so that a user sees at once whether one tensor is off or all of them are.
fn one_a_line(list: &[String]) -> String {
    const SHOWN: usize = 40;
    let mut text: String =
        list.iter().take(SHOWN).map(|line| format!("\n  {}", printable(line))).collect();
    if list.len() > SHOWN {
        text += &format!("\n  ... and {} more", list.len() - SHOWN);
    }
    text
}

/// A stranger's text, so that it cannot speak to the terminal: control characters and those that
/// change the direction of writing are escaped, and a long text is cut.
///
/// ```
/// assert_eq!(alexnet_vgg::printable("weight\u{1b}[31m"), "weight\\u{1b}[31m");
/// ```
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 2000;
    let changes_direction = |c| matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut shown = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == LONGEST {
            return shown + "...";
        }
        match c.is_control() || changes_direction(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}
