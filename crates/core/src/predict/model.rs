//! What the modules of `predict` need from a network, however it is computed.

use crate::architecture::{Architecture, Section};
use crate::array::{Array, zeros};
use crate::engine::Compiled;
use crate::error::{Error, Result};
use crate::metadata::Metadata;
use std::ops::Range;

/// A network that computes on slices: the compiled engine, a module of a tensor framework, or your own.
pub trait Model: Send + Sync {
    /// The network's architecture.
    fn architecture(&self) -> &Architecture;

    /// The preprocessing and the labels that belong to its weights, as far as they are known.
    fn metadata(&self) -> &Metadata;

    /// The logits of images: `[N, C, H, W]`, flat, to `[N, num_classes]`, flat.
    ///
    /// # Errors
    /// [`Error::InputShape`] and [`Error::InputTooSmall`] for images of an unsupported shape, and
    /// [`Error::OutOfMemory`] if the device does not have enough memory.
    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>>;

    /// Dense evaluation (VGG paper, section 3.2): the class scores at every position of the classifier's
    /// window. `[N, C, H, W]`, flat, to `[N, num_classes, rows, columns]`.
    ///
    /// # Errors
    /// As for [`logits`](Self::logits).
    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Array>;

    /// The outputs of the named layers, in the order of the names, which may be torchvision's or the papers'.
    /// The images are `[N, C, H, W]`, flat.
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], and as for [`logits`](Self::logits).
    fn taps(&self, images: &[f32], shape: [usize; 4], layers: &[&str]) -> Result<Vec<Array>>;

    /// The pooled features, which are the classifier's input: `[N, C, H, W]`, flat, to `[N, features]`,
    /// flat.
    ///
    /// # Errors
    /// As for [`logits`](Self::logits).
    fn pooled_features(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let taps = self.taps(images, shape, &[&Section::AvgPool.to_string()])?;
        Ok(taps.into_iter().flat_map(|tap| tap.values).collect())
    }

    /// Runs some layers of the classifier, given by their indices in forward order, without dropout:
    /// input vectors of the first of them, flat, to output vectors of the last one, flat.
    ///
    /// # Errors
    /// [`Error::InputShape`] for values that are not a whole number of vectors, or layers outside the
    /// classifier.
    fn run_classifier_layers(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>>;
}

impl Model for Compiled {
    fn architecture(&self) -> &Architecture {
        self.architecture()
    }

    fn metadata(&self) -> &Metadata {
        self.metadata()
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        let mut logits = zeros(&[shape[0], self.architecture().num_classes()])?;
        self.run(images, shape, &mut logits)?;
        Ok(logits)
    }

    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Array> {
        self.score_maps(images, shape)
    }

    fn taps(&self, images: &[f32], shape: [usize; 4], layers: &[&str]) -> Result<Vec<Array>> {
        self.taps(images, shape, layers)
    }

    fn run_classifier_layers(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        self.classify(layers, vectors)
    }
}

impl<M: Model + ?Sized> Model for Box<M> {
    fn architecture(&self) -> &Architecture {
        (**self).architecture()
    }

    fn metadata(&self) -> &Metadata {
        (**self).metadata()
    }

    fn logits(&self, images: &[f32], shape: [usize; 4]) -> Result<Vec<f32>> {
        (**self).logits(images, shape)
    }

    fn score_maps(&self, images: &[f32], shape: [usize; 4]) -> Result<Array> {
        (**self).score_maps(images, shape)
    }

    fn taps(&self, images: &[f32], shape: [usize; 4], layers: &[&str]) -> Result<Vec<Array>> {
        (**self).taps(images, shape, layers)
    }

    fn run_classifier_layers(&self, layers: Range<usize>, vectors: &[f32]) -> Result<Vec<f32>> {
        (**self).run_classifier_layers(layers, vectors)
    }
}

/// The error for an implementation of [`Model`] whose output does not have the requested shape.
pub(super) fn unexpected_output() -> Error {
    Error::ModelOutput
}
