//! The layers of a table: every kind of layer that AlexNet and VGG consist of.

use super::init::Init;
use serde::{Deserialize, Serialize};

/// One layer of a [`Table`](super::Table). Kernels and strides are square, as in both papers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Layer {
    /// 2-d convolution with bias. Weight `[out, in / groups, kernel, kernel]`, bias `[out]`.
    Conv {
        /// Output channels.
        out: usize,
        /// Height and width of the kernel.
        kernel: usize,
        /// Pixels between neighboring positions of the kernel.
        stride: usize,
        /// Rows and columns of zeros added on each side.
        padding: usize,
        /// Groups of channels that are convolved separately: 2 for the layers of the 2012 network that take
        /// input only from the same GPU (AlexNet paper, section 3.5).
        groups: usize,
        /// Initialization of the parameters.
        init: Init,
    },
    /// Batch normalization (Ioffe and Szegedy, 2015) with epsilon 1e-5 and momentum 0.1, as in PyTorch. As
    /// there, the running variance is updated with the unbiased variance of the batch.
    BatchNorm,
    /// `max(x, 0)`.
    Relu,
    /// `tanh(x)`, with which section 3.1 of the AlexNet paper compares ReLU.
    Tanh,
    /// Local response normalization (AlexNet paper, section 3.3) as the paper defines it:
    /// `x / (k + alpha * sum of x² over size channels)^beta`. The sum is **not** divided by `size`, as it is
    /// in PyTorch, Caffe and ONNX, whose `alpha` is therefore `size` times this one.
    Lrn {
        /// Number of channels in the sum, centered on the normalized one: the paper's `n`. Odd.
        size: usize,
        /// Factor of the sum.
        alpha: f64,
        /// Exponent of the denominator.
        beta: f64,
        /// Constant in the denominator.
        k: f64,
        /// Groups of channels that are normalized separately: 2 if each GPU of the 2012 network normalizes
        /// its own half.
        #[serde(default = "one")]
        groups: usize,
    },
    /// Max pooling without padding. Windows that do not fit completely are left out (the output size is
    /// rounded down).
    MaxPool {
        /// Height and width of the window.
        kernel: usize,
        /// Pixels between neighboring windows. The windows overlap if it is smaller than the kernel (AlexNet
        /// paper, section 3.4).
        stride: usize,
    },
    /// Adaptive average pooling: window `i` of `n` covers `floor(i*len/n) .. ceil((i+1)*len/n)`. It occurs
    /// only between features and classifier, as [`Table::pool`](super::Table::pool).
    AdaptiveAvgPool {
        /// Height and width of the output.
        size: [usize; 2],
    },
    /// Dropout: active only in training.
    Dropout {
        /// Probability that a value is set to zero, 0 <= p < 1.
        p: f64,
    },
    /// Fully connected layer. Weight `[out, in]`, bias `[out]`, as PyTorch stores them.
    Linear {
        /// Output features.
        out: usize,
        /// Initialization of the parameters.
        init: Init,
    },
}

impl std::fmt::Display for Layer {
    /// `Conv 11x11, 96, stride 4, padding 2`: settings with their default value are left out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Layer::Conv { out, kernel, stride, padding, groups, .. } => {
                write!(f, "Conv {kernel}x{kernel}, {out}")?;
                for (name, value, default) in
                    [("stride", stride, 1), ("padding", padding, 0), ("groups", groups, 1)]
                {
                    if value != default {
                        write!(f, ", {name} {value}")?;
                    }
                }
                Ok(())
            }
            Layer::BatchNorm => f.write_str("BatchNorm"),
            Layer::Relu => f.write_str("ReLU"),
            Layer::Tanh => f.write_str("tanh"),
            Layer::Lrn { size, groups, .. } => {
                write!(f, "LRN over {size}")?;
                match groups {
                    1 => Ok(()),
                    groups => write!(f, ", groups {groups}"),
                }
            }
            Layer::MaxPool { kernel, stride } => {
                write!(f, "MaxPool {kernel}x{kernel}, stride {stride}")
            }
            Layer::AdaptiveAvgPool { size: [h, w] } => write!(f, "AvgPool to {h}x{w}"),
            Layer::Dropout { p } => write!(f, "Dropout {p}"),
            Layer::Linear { out, .. } => write!(f, "Linear {out}"),
        }
    }
}

impl Layer {
    /// `(kernel, stride, padding)` of a layer that slides a window over a feature map; `None` for others.
    pub fn window(&self) -> Option<(usize, usize, usize)> {
        match *self {
            Layer::Conv { kernel, stride, padding, .. } => Some((kernel, stride, padding)),
            Layer::MaxPool { kernel, stride } => Some((kernel, stride, 0)),
            _ => None,
        }
    }
}

/// The default number of groups, for tables that were written before LRN had groups.
fn one() -> usize {
    1
}
