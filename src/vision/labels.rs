//! The names of the classes.

use super::imagenet_labels;
use crate::error::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The names of a network's classes, in the order of its logits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(Arc<[String]>);

impl Labels {
    /// These names.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(names.into_iter().map(Into::into).collect())
    }

    /// The 1000 of ImageNet: [`imagenet_labels`].
    pub fn imagenet() -> Self {
        Self::new(imagenet_labels())
    }

    /// A text file with one name a line.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, or is no UTF-8.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(Error::io(path))?;
        Ok(Self::new(text.lines().map(str::trim_end)))
    }

    /// ImageNet's for 1000 classes, `class 0`, `class 1`, ... for any other number.
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

    /// All of them.
    pub fn names(&self) -> &[String] {
        &self.0
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// `Ok` if there are as many as classes.
    ///
    /// # Errors
    /// [`Error::Setting`] with both numbers.
    pub fn expect_classes(&self, classes: usize) -> Result<()> {
        match self.count() == classes {
            true => Ok(()),
            false => Err(Error::Setting {
                place: "labels".into(),
                expected: format!("{classes}, one for each class of the network"),
                found: self.count().to_string(),
            }),
        }
    }
}
