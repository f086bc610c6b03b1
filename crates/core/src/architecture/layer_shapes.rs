//! The checks and the shape arithmetic of every kind of layer, in one place: from the shape of its input to
//! its output, parameters and cost. [`Table::walk`](super::Table::walk) goes from layer to layer.

use super::init::{Fill, Init};
use super::layer::Layer;
use super::step::{Parameter, Role, Section, Shape};
use crate::error::{Error, Result};

/// A layer with its position in the network and the shape of its input.
pub(super) struct PlacedLayer<'a> {
    pub network: &'a str,
    pub key: &'a str,
    pub section: Section,
    pub layer: Layer,
    pub input: Shape,
}

impl PlacedLayer<'_> {
    fn place(&self) -> String {
        format!("{} {}", self.network, self.key)
    }

    /// Shape of the output.
    pub fn output(&self) -> Result<Shape> {
        self.expect(self.input.channels() > 0, "at least 1 input channel", 0)?;
        if let Layer::Conv { init, .. } | Layer::Linear { init, .. } = self.layer {
            self.expect(init.is_valid(), "a finite bias and standard deviation >= 0", init)?;
        }
        let output = match (self.layer, self.input) {
            (Layer::Conv { out, kernel, stride, padding, groups, .. }, Shape::Map([c, h, w])) => {
                self.expect(out > 0, "at least 1 output channel", out)?;
                self.expect(groups > 0, "at least 1 group", groups)?;
                let divides = c.is_multiple_of(groups) && out.is_multiple_of(groups);
                let expected = format!("groups that divide {c} input and {out} output channels");
                self.expect(divides, &expected, groups)?;
                let [h, w] = self.windows([h, w], kernel, stride, padding)?;
                Shape::Map([out, h, w])
            }
            (Layer::MaxPool { kernel, stride }, Shape::Map([c, h, w])) => {
                let [h, w] = self.windows([h, w], kernel, stride, 0)?;
                Shape::Map([c, h, w])
            }
            (Layer::AdaptiveAvgPool { size }, Shape::Map([c, h, w]))
                if self.section == Section::AvgPool =>
            {
                self.expect(size[0] > 0 && size[1] > 0, "a pool of at least 1x1", size)?;
                if h == 0 || w == 0 {
                    return Err(self.too_small());
                }
                Shape::Map([c, size[0], size[1]])
            }
            (Layer::Lrn { size, alpha, beta, k, groups }, Shape::Map([c, _, _])) => {
                self.expect(groups > 0, "at least 1 group", groups)?;
                let expected = format!("groups that divide {c} channels");
                self.expect(c.is_multiple_of(groups), &expected, groups)?;
                let odd = size % 2 == 1 && size <= MAX_LRN_SIZE;
                self.expect(odd, "an odd number of channels up to 65,535", size)?;
                // So that the denominator is the power of a positive number.
                let positive = alpha >= 0.0 && k > 0.0;
                let finite = alpha.is_finite() && beta.is_finite() && k.is_finite();
                self.expect(finite && positive, "finite alpha >= 0, beta, k > 0", self.layer)?;
                self.input
            }
            (Layer::BatchNorm, Shape::Map(_)) => self.input,
            (Layer::Linear { out, .. }, Shape::Vector(_)) => {
                self.expect(out > 0, "at least 1 output feature", out)?;
                Shape::Vector([out])
            }
            (Layer::Relu | Layer::Tanh, _) => self.input,
            (Layer::Dropout { p }, _) => {
                self.expect((0.0..1.0).contains(&p), "a probability in 0 <= p < 1", p)?;
                self.input
            }
            (layer, _) => {
                self.expect(
                    false,
                    &format!("a layer that is supported in the {}", self.section),
                    layer,
                )?;
                self.input
            }
        };
        product(&self.place(), output.dims())?;
        Ok(output)
    }

    /// Number of windows that fit, in both directions: `floor((len + 2 padding - kernel) / stride) + 1`.
    fn windows(
        &self,
        size: [usize; 2],
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> Result<[usize; 2]> {
        self.expect(kernel > 0, "a kernel of at least 1", kernel)?;
        self.expect(stride > 0, "a stride of at least 1", stride)?;
        let count = |len: usize| {
            let padded = padding.checked_mul(2).and_then(|both| both.checked_add(len));
            let padded = padded.ok_or_else(|| too_large(&self.place()))?;
            if len == 0 || padded < kernel {
                return Err(self.too_small());
            }
            Ok((padded - kernel) / stride + 1)
        };
        Ok([count(size[0])?, count(size[1])?])
    }

    /// The tensors of the layer, in PyTorch's order. `key` is the layer's.
    pub fn parameters(&self, key: &str) -> Result<Vec<Parameter>> {
        let channels = self.input.channels();
        let weight_and_bias = |weight: Vec<usize>, fan_out: u64, init: Init| {
            let fan_in = product(&self.place(), &weight[1..])?;
            let bias = vec![weight[0]];
            Ok(vec![
                (Role::Weight, weight, init.weight(fan_in, fan_out)),
                (Role::Bias, bias, init.bias(fan_in)),
            ])
        };
        let tensors = match self.layer {
            Layer::Conv { out, kernel, groups, init, .. } => {
                let fan_out = product(&self.place(), &[out / groups, kernel, kernel])?;
                weight_and_bias(vec![out, channels / groups, kernel, kernel], fan_out, init)?
            }
            Layer::Linear { out, init } => weight_and_bias(vec![out, channels], out as u64, init)?,
            // Always initialized to the identity.
            Layer::BatchNorm => [
                (Role::Weight, 1.0),
                (Role::Bias, 0.0),
                (Role::RunningMean, 0.0),
                (Role::RunningVar, 1.0),
            ]
            .map(|(role, value)| (role, vec![channels], Fill::Constant(value)))
            .to_vec(),
            _ => Vec::new(),
        };
        tensors
            .into_iter()
            .map(|(role, shape, fill)| {
                product(&self.place(), &shape)?;
                let key = format!("{key}.{}", role.attribute());
                Ok(Parameter { key, shape, role, fill })
            })
            .collect()
    }

    /// Multiplications, each with its addition, for one image.
    pub fn multiply_adds(&self, output: Shape) -> Result<u64> {
        let channels = self.input.channels();
        match (self.layer, output) {
            (Layer::Conv { kernel, groups, .. }, Shape::Map([c, h, w])) => {
                product(&self.place(), &[c, h, w, channels / groups, kernel, kernel])
            }
            (Layer::Linear { out, .. }, _) => product(&self.place(), &[out, channels]),
            _ => Ok(0),
        }
    }

    fn expect(&self, holds: bool, expected: &str, found: impl std::fmt::Debug) -> Result<()> {
        if holds {
            return Ok(());
        }
        Err(Error::Table {
            place: self.place(),
            expected: expected.into(),
            found: format!("{found:?}"),
        })
    }

    /// The input sizes are filled in by [`Table::walk`](super::Table::walk), which knows the whole network.
    fn too_small(&self) -> Error {
        Error::InputTooSmall {
            network: self.network.into(),
            layer: self.key.into(),
            minimum: 0,
            found: [0, 0],
        }
    }
}

/// The most values or multiplications that one layer may have: far beyond any machine, but small
/// enough that no sum over [`MAX_LAYERS`] layers overflows 64 bits.
const MAX_PRODUCT: u64 = 1 << 48;
/// The most layers that a table may have.
pub(super) const MAX_LAYERS: usize = 1 << 10;
/// The largest size of LRN: more channels than any network has.
const MAX_LRN_SIZE: usize = u16::MAX as usize;

/// The product of these factors, at most 2^48. `place` is for the error.
pub(super) fn product(place: &str, factors: &[usize]) -> Result<u64> {
    factors
        .iter()
        .try_fold(1u64, |product, &factor| product.checked_mul(factor as u64))
        .filter(|&product| product <= MAX_PRODUCT)
        .ok_or_else(|| too_large(place))
}

pub(super) fn too_large(place: &str) -> Error {
    Error::Table {
        place: place.into(),
        expected: "sizes with a product of at most 2^48".into(),
        found: "a larger product".into(),
    }
}
