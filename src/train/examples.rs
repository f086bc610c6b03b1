//! What a network learns from, as a loader sees it.

use crate::error::Result;
use crate::vision::augment::Sample;

/// Labeled inputs of one shape: pictures under an augmentation, feature maps kept on disk, or your own.
pub trait Examples: Send + Sync {
    /// The names of the classes, in the order of the network's logits.
    fn labels(&self) -> &[String];

    /// The class of every example: as many as there are examples.
    fn classes(&self) -> &[usize];

    /// `[C, H, W]` of what [`read`](Self::read) gives.
    fn shape(&self) -> [usize; 3];

    /// Appends the values of the example at `index` in the visit `sample` to `out`, `C * H * W` of them.
    /// Where there is randomness in it (augmentation), it depends on `sample` alone.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) and [`Error::Picture`](crate::Error::Picture) for an example that
    /// cannot be read; nothing is appended then.
    fn read(&self, index: usize, sample: Sample, out: &mut Vec<f32>) -> Result<()>;

    /// Where an example comes from, for messages.
    fn name(&self, index: usize) -> String;

    /// What the examples are, in a line for each property: name and value. Two sets with the same lines
    /// are the same, and where they differ, the lines say in what.
    fn identity(&self) -> Vec<(String, String)>;
}
