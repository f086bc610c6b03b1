//! The names of the classes.

use super::labels_file;
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

    /// Reads a text file with one name per line, or a JSON file: a list of names, an object with a name for each
    /// class number (such as Keras' `imagenet_class_index.json`, whose names are the last of a list), or one with a
    /// class number for each name (torchvision's `class_to_idx`).
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read; [`Error::Setting`] if it has another format or is not in UTF-8.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        labels_file::names(&bytes).map(Self::new).map_err(|found| Error::Setting {
            place: path.display().to_string(),
            expected: "the names of the classes in UTF-8: one per line, or JSON".into(),
            found,
        })
    }

    /// The labels of a network with this many outputs: ImageNet's for 1000; otherwise `class 0`, `class 1`, ... A
    /// single output, that of a sigmoid, distinguishes two classes.
    pub fn for_classes(outputs: usize) -> Self {
        match outputs {
            1000 => Self::imagenet(),
            _ => Self::new((0..classes_of(outputs)).map(|class| format!("class {class}"))),
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

    /// Checks that there is one label for each class of a network with this many outputs. A single output distinguishes
    /// two classes.
    ///
    /// # Errors
    /// [`Error::LabelsMismatch`] with both numbers.
    pub fn expect_classes(&self, outputs: usize) -> Result<()> {
        let classes = classes_of(outputs);
        if self.count() == classes {
            return Ok(());
        }
        Err(Error::LabelsMismatch { place: "labels".into(), classes, labels: self.count() })
    }
}

/// The classes that a network with this many outputs distinguishes: two with the single one of a sigmoid.
pub(crate) fn classes_of(outputs: usize) -> usize {
    if outputs == 1 { 2 } else { outputs }
}
