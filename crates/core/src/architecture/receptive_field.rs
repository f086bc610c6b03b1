//! Receptive fields: which part of the input each cell of a feature map sees.

use super::checked_table::Architecture;
use super::layer::Layer;
use super::step::Section;
use crate::error::{Error, Result};
use serde::Serialize;

/// The receptive fields of the cells of a feature map: squares of input pixels, which may extend beyond the
/// borders. They are the same vertically and horizontally, as kernels, strides and paddings are square.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReceptiveField {
    /// Side of the square that a cell sees, in pixels.
    pub size: u64,
    /// Pixels between the centers of neighboring cells.
    pub stride: u64,
    /// Center of the first cell, in pixels from the input's edge. (The center of the first pixel is 0.5.)
    /// Padding moves it toward the edge.
    pub first_center: f64,
}

impl ReceptiveField {
    /// The input's pixels themselves.
    pub const INPUT: Self = Self { size: 1, stride: 1, first_center: 0.5 };

    /// The cells of the output of `layer`, if these are the cells of its input.
    pub fn after(self, layer: &Layer) -> Self {
        let Some((kernel, stride, padding)) = layer.window() else { return self };
        let padded = self.first_center - padding as f64 * self.stride as f64;
        Self {
            stride: self.stride.saturating_mul(stride as u64),
            ..Self { first_center: padded, ..self }.windows(kernel)
        }
    }

    /// Windows of `side` by `side` cells, at a stride of one cell.
    pub fn windows(self, side: usize) -> Self {
        let neighbors = side.saturating_sub(1) as u64;
        Self {
            size: self.size.saturating_add(neighbors.saturating_mul(self.stride)),
            stride: self.stride,
            first_center: self.first_center + neighbors as f64 / 2.0 * self.stride as f64,
        }
    }
}

impl Architecture {
    /// The receptive fields of a layer of the convolutional part.
    ///
    /// ```
    /// use alexnet_vgg_core::architecture::{ReceptiveField, VggConfig};
    ///
    /// // The first of 7 cells is centered in the first 32 of 224 pixels, and sees far beyond them.
    /// let field = VggConfig::vgg16().architecture()?.receptive_field("pool5")?;
    /// assert_eq!(field, ReceptiveField { size: 212, stride: 32, first_center: 16.0 });
    /// # Ok::<(), alexnet_vgg_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::UnknownLayer`], and [`Error::Setting`] for a layer after the features, which sees the whole
    /// input.
    pub fn receptive_field(&self, layer: &str) -> Result<ReceptiveField> {
        let steps = self.steps();
        let index = self.find(layer)?;
        match steps[index].section {
            Section::Features => Ok(self.features[..=index]
                .iter()
                .fold(ReceptiveField::INPUT, ReceptiveField::after)),
            section => Err(Error::Setting {
                place: format!("{} {layer}", self.name),
                expected: "a layer of the features, whose output is a feature map".into(),
                found: format!("a layer of the {section}"),
            }),
        }
    }
}
