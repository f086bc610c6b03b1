//! The examples of a data set, as a loader reads them.

use crate::Result;
use crate::vision::augment::Sample;

/// A set of labeled inputs of one shape: augmented pictures, cached features, or a type of your own.
pub trait Examples: Send + Sync {
    /// The names of the classes, in the order of the network's logits.
    fn labels(&self) -> &[String];

    /// The class of every example, an index into [`labels`](Self::labels). Its length is the number of examples.
    fn classes(&self) -> &[usize];

    /// The shape of an example, `[C, H, W]`.
    fn shape(&self) -> [usize; 3];

    /// Appends the `C * H * W` values of the example at `index` to `out`. Anything random, such as augmentation,
    /// must depend only on `sample`, which identifies this visit to the example.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) or [`Error::Picture`](crate::Error::Picture) for an example that cannot be
    /// read. Then nothing must be appended.
    fn read(&self, index: usize, sample: Sample, out: &mut Vec<f32>) -> Result<()>;

    /// The origin of an example, such as its file, for messages.
    fn name(&self, index: usize) -> String;

    /// The properties of the set, as pairs of name and value. Sets with the same properties are taken to be the
    /// same; for other sets, messages list the properties that differ.
    fn identity(&self) -> Vec<(String, String)>;
}
