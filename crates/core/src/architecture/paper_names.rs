//! The papers' names of layers: `conv5_1`, `relu5_1`, `pool5`, `fc7`.

use super::layer::Layer;
use serde::{Deserialize, Serialize};

/// How a paper numbers its convolutions, and therefore names its layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Numbering {
    /// One after the other, as in AlexNet: `conv1` .. `conv5`, `fc6`.
    Sequential,
    /// By blocks between pools, as in VGG: `conv1_1`, `conv1_2`, `pool1`, `conv2_1` .. `fc6`.
    Blocks,
}

/// Names layers in forward order.
pub(super) struct PaperNames {
    numbering: Numbering,
    /// Number of the block of convolutions, or of the fully connected layer.
    level: usize,
    within_block: usize,
    after_pool: bool,
    label: String,
}

impl PaperNames {
    pub fn new(numbering: Numbering) -> Self {
        Self { numbering, level: 0, within_block: 0, after_pool: true, label: String::from("0") }
    }

    /// The name of the next layer.
    pub fn next(&mut self, layer: &Layer) -> String {
        match layer {
            Layer::Conv { .. } => {
                if self.numbering == Numbering::Sequential || self.after_pool {
                    self.level += 1;
                    self.within_block = 0;
                    self.after_pool = false;
                }
                self.within_block += 1;
                self.label = match self.numbering {
                    Numbering::Sequential => self.level.to_string(),
                    Numbering::Blocks => format!("{}_{}", self.level, self.within_block),
                };
                format!("conv{}", self.label)
            }
            Layer::Linear { .. } => {
                self.level += 1;
                self.label = self.level.to_string();
                format!("fc{}", self.label)
            }
            Layer::MaxPool { .. } => {
                self.after_pool = true;
                format!("pool{}", self.level)
            }
            Layer::AdaptiveAvgPool { .. } => "avgpool".into(),
            Layer::BatchNorm => format!("bn{}", self.label),
            Layer::Relu => format!("relu{}", self.label),
            Layer::Tanh => format!("tanh{}", self.label),
            Layer::Lrn { .. } => format!("norm{}", self.level),
            Layer::Dropout { .. } => format!("drop{}", self.level),
        }
    }
}
