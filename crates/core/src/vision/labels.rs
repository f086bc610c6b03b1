//! The names of the classes.

use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The names of the 1000 classes of ImageNet (ILSVRC 2012), in the order of the published weights' logits
/// and in torchvision's wording (`torchvision.models._meta`, BSD 3-clause license).
pub fn imagenet_labels() -> Vec<&'static str> {
    include_str!("imagenet.txt").lines().collect()
}

/// The names of a network's classes, in the order of its logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Arc<[String]>);

impl Labels {
    /// Labels with these names.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The 1000 labels of ImageNet: [`imagenet_labels`].
    pub fn imagenet() -> Self {
        Self::new(imagenet_labels())
    }

    /// Reads a text file with one name per line.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read or is not UTF-8.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Ok(Self::new(text.lines().map(str::trim_end)))
    }

    /// ImageNet's labels for 1000 classes; `class 0`, `class 1`, ... for any other number.
    pub fn for_classes(count: usize) -> Self {
        match count {
            1000 => Self::imagenet(),
            _ => Self::new((0..count).map(|class| format!("class {class}"))),
        }
    }

    /// The name of a class; empty if there is no such class.
    pub fn get(&self, class: usize) -> &str {
        self.0.get(class).map_or("", String::as_str)
    }

    /// All names, in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// Number of labels.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Checks that there is one label for each of `classes` classes.
    ///
    /// # Errors
    /// [`Error::LabelsMismatch`] with both numbers.
    pub fn expect_classes(&self, classes: usize) -> Result<()> {
        if self.count() == classes {
            return Ok(());
        }
        Err(Error::LabelsMismatch { place: "labels".into(), classes, labels: self.count() })
    }
}
