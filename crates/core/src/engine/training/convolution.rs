//! A convolution and its gradients.

use super::bias_gradient::bias_gradient;
use super::forward::convolve;
use super::reorder::to_blocked;
use super::value_count::expect_count;
use super::weight_gradient::WeightGradient;
use super::winograd_weight_gradient::WinogradWeightGradient;
use super::workspaces::CONVOLUTIONS;
use crate::engine::algorithm::Algorithm;
use crate::engine::feature_map::FeatureMap;
use crate::engine::filters::Filters;
use crate::engine::packed_convolution::ConvolutionSpec;
use crate::engine::simd::{BLOCK, Isa};
use crate::error::{Error, Result};
use std::sync::Arc;

/// The sizes of a convolution with square kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvolutionShape {
    /// Images.
    pub batch: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Height and width of the input, in pixels.
    pub size: [usize; 2],
    /// Height and width of the kernels.
    pub kernel: usize,
    /// Pixels from one position of the kernel to the next.
    pub stride: usize,
    /// Zeros at each edge of the input.
    pub padding: usize,
    /// Groups of channels that do not see each other.
    pub groups: usize,
}

/// A convolution that is trained.
///
/// ```
/// use alexnet_vgg_core::engine::training::{Convolution, ConvolutionShape};
///
/// let shape = ConvolutionShape {
///     batch: 1, inputs: 1, outputs: 1, size: [3, 3], kernel: 3, stride: 1, padding: 1, groups: 1,
/// };
/// let convolution = Convolution::new(shape)?;
/// let (input, weight) = ([1.0; 9], [1.0; 9]);
/// let mut output = [0.0; 9];
/// convolution.forward(&input, &weight, &[0.5], &mut output)?;
/// assert_eq!(output, [4.5, 6.5, 4.5, 6.5, 9.5, 6.5, 4.5, 6.5, 4.5]);
///
/// let mut gradient = [0.0; 9];
/// convolution.weight_gradient(&input, &[1.0; 9], &mut gradient)?;
/// assert_eq!(gradient, [4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0]);
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Convolution {
    shape: ConvolutionShape,
    isa: Isa,
}

impl ConvolutionShape {
    /// Height and width of the output.
    ///
    /// # Errors
    /// [`Error::Setting`] if a size is 0, the groups do not divide the channels, or the kernel is larger than the
    /// padded input.
    pub fn output_size(&self) -> Result<[usize; 2]> {
        let Self { batch, inputs, outputs, size, kernel, stride, padding, groups } = *self;
        let is_possible = ![batch, inputs, outputs, size[0], size[1], kernel, stride, groups]
            .contains(&0)
            && inputs.is_multiple_of(groups)
            && outputs.is_multiple_of(groups)
            && size.iter().all(|side| side + 2 * padding >= kernel);
        if is_possible {
            Ok(size.map(|side| (side + 2 * padding - kernel) / stride + 1))
        } else {
            Err(Error::Setting {
                place: "convolution".into(),
                expected: "sizes above 0, groups that divide the channels, and a kernel that fits"
                    .into(),
                found: format!("{self:?}"),
            })
        }
    }

    /// Whether the kernels here compute it fast: with one group, or with groups of multiples of sixteen channels.
    pub fn is_supported(&self) -> bool {
        let whole_blocks = |channels: usize| (channels / self.groups).is_multiple_of(BLOCK);
        self.output_size().is_ok()
            && self.padding < self.kernel
            && (self.groups == 1 || whole_blocks(self.inputs) && whole_blocks(self.outputs))
    }

    fn input_len(&self) -> usize {
        self.batch * self.inputs * self.size[0] * self.size[1]
    }

    fn weight_len(&self) -> usize {
        self.outputs * self.inputs / self.groups * self.kernel * self.kernel
    }
}

impl Convolution {
    /// The kernels for a shape, with the best instruction set of this machine.
    ///
    /// # Errors
    /// As for [`ConvolutionShape::output_size`]; [`Error::Setting`] for a shape that is not
    /// [supported](ConvolutionShape::is_supported).
    pub fn new(shape: ConvolutionShape) -> Result<Self> {
        shape.output_size()?;
        if shape.is_supported() {
            return Ok(Self { shape, isa: Isa::best() });
        }
        Err(Error::Setting {
            place: "convolution".into(),
            expected:
                "one group or groups of multiples of 16 channels, and less padding than the kernel"
                    .into(),
            found: format!("{shape:?}"),
        })
    }

    /// The same with another instruction set.
    ///
    /// # Errors
    /// [`Error::Setting`] for one that this machine does not have.
    pub fn with_isa(self, isa: Isa) -> Result<Self> {
        isa.expect_available("convolution")?;
        Ok(Self { isa, ..self })
    }

    /// The sizes.
    pub fn shape(&self) -> &ConvolutionShape {
        &self.shape
    }

    fn output_len(&self) -> Result<usize> {
        let [height, width] = self.shape.output_size()?;
        Ok(self.shape.batch * self.shape.outputs * height * width)
    }

    /// Computes the output, `[N, K, H', W']`, of an input, `[N, C, H, W]`, weights, `[K, C / groups, k, k]`, and a
    /// bias, `[K]`.
    ///
    /// # Errors
    /// [`Error::ValueCount`] for slices of other lengths; [`Error::OutOfMemory`] if memory runs out.
    pub fn forward(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: &[f32],
        output: &mut [f32],
    ) -> Result<()> {
        expect_count("input", input, self.shape.input_len())?;
        expect_count("weights", weight, self.shape.weight_len())?;
        expect_count("bias", bias, self.shape.outputs)?;
        expect_count("output", output, self.output_len()?)?;
        let ConvolutionShape { batch, inputs, outputs, size, kernel, stride, padding, groups } =
            self.shape;
        let spec = ConvolutionSpec {
            inputs,
            outputs,
            kernel,
            stride,
            padding,
            groups,
            weight: Arc::default(),
            bias: bias.to_vec(),
            scale: None,
        };
        let filters = Filters::new(weight, self.channels_per_group(), kernel * kernel);
        convolve(self.isa, spec, &filters, batch, size, input, output)
    }

    /// Whether [`input_gradient`](Self::input_gradient) can be computed: for strides of 1.
    pub fn has_input_gradient(&self) -> bool {
        self.shape.stride == 1
    }

    /// Computes the gradient of the input, `[N, C, H, W]`, from that of the output, `[N, K, H', W']`, and the
    /// weights, `[K, C / groups, k, k]`.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward); [`Error::Setting`] if it has [none](Self::has_input_gradient).
    pub fn input_gradient(
        &self,
        output_gradient: &[f32],
        weight: &[f32],
        input_gradient: &mut [f32],
    ) -> Result<()> {
        expect_count("output gradient", output_gradient, self.output_len()?)?;
        expect_count("weights", weight, self.shape.weight_len())?;
        expect_count("input gradient", input_gradient, self.shape.input_len())?;
        if !self.has_input_gradient() {
            return Err(Error::Setting {
                place: "gradient of a convolution's input".into(),
                expected: "stride 1".into(),
                found: self.shape.stride.to_string(),
            });
        }
        let ConvolutionShape { batch, inputs, outputs, kernel, padding, groups, .. } = self.shape;
        let spec = ConvolutionSpec {
            inputs: outputs,
            outputs: inputs,
            kernel,
            stride: 1,
            padding: kernel - 1 - padding,
            groups,
            weight: Arc::default(),
            bias: vec![0.0; inputs],
            scale: None,
        };
        let filters = Filters::rotated(weight, self.channels_per_group(), kernel * kernel);
        let size = self.shape.output_size()?;
        convolve(self.isa, spec, &filters, batch, size, output_gradient, input_gradient)
    }

    /// `[inputs, outputs]`
    fn channels_per_group(&self) -> [usize; 2] {
        [self.shape.inputs, self.shape.outputs].map(|channels| channels / self.shape.groups)
    }

    /// Computes the gradient of the weights, `[K, C / groups, k, k]`, from the input, `[N, C, H, W]`, and the
    /// gradient of the output, `[N, K, H', W']`.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn weight_gradient(
        &self,
        input: &[f32],
        output_gradient: &[f32],
        weight_gradient: &mut [f32],
    ) -> Result<()> {
        expect_count("input", input, self.shape.input_len())?;
        expect_count("output gradient", output_gradient, self.output_len()?)?;
        expect_count("weight gradient", weight_gradient, self.shape.weight_len())?;
        let [height, width] = self.shape.output_size()?;
        let maps = [
            FeatureMap {
                channels_per_block: self.shape.inputs.min(BLOCK),
                ..FeatureMap::new(0, self.shape.inputs, self.shape.size[0], self.shape.size[1])
            },
            FeatureMap::new(1, self.shape.outputs, height, width),
        ];
        let slices = [input, output_gradient];
        match self.winograd_algorithm([height, width]) {
            Some(algorithm) => {
                self.weight_gradient_by_winograd(algorithm, maps, slices, weight_gradient)
            }
            None => self.weight_gradient_directly(maps, slices, weight_gradient),
        }
    }

    /// Winograd's algorithm, where it saves multiplications in the gradient of the weights.
    fn winograd_algorithm(&self, [height, width]: [usize; 2]) -> Option<Algorithm> {
        let ConvolutionShape { inputs, kernel, stride, .. } = self.shape;
        WinogradWeightGradient::algorithm(kernel).filter(|algorithm| {
            let [rows, columns] = algorithm.tiles([height, width]);
            let products = algorithm.products() * rows * columns;
            stride == 1 && inputs >= BLOCK && 3 * products < 2 * kernel * kernel * height * width
        })
    }

    fn weight_gradient_by_winograd(
        &self,
        algorithm: Algorithm,
        maps: [FeatureMap; 2],
        [input, output_gradient]: [&[f32]; 2],
        weight_gradient: &mut [f32],
    ) -> Result<()> {
        let ConvolutionShape { batch, padding, groups, .. } = self.shape;
        let gradient =
            WinogradWeightGradient::new(self.isa, algorithm, maps, padding, batch, groups);
        let (input_map, gradient_map) = (gradient.input, gradient.gradient);
        let [inputs, gradients, sums] = gradient.lens().map(Some);
        let lens = [input_map.len(batch), gradient_map.len(batch), inputs, gradients, sums];
        let lens = lens.map(|len| len.unwrap_or(usize::MAX));
        CONVOLUTIONS.with(&lens, 0, |workspace| {
            let [x, dy, inputs, gradients, sums] =
                [0, 1, 2, 3, 4].map(|index| workspace.buffer(index));
            to_blocked(self.isa, input, &input_map, batch, x);
            to_blocked(self.isa, output_gradient, &gradient_map, batch, dy);
            gradient.compute([x, dy], [inputs, gradients, sums], weight_gradient);
        })
    }

    fn weight_gradient_directly(
        &self,
        [mut input_map, gradient_map]: [FeatureMap; 2],
        [input, output_gradient]: [&[f32]; 2],
        weight_gradient: &mut [f32],
    ) -> Result<()> {
        let ConvolutionShape { batch, kernel, stride, padding, groups, .. } = self.shape;
        let read = |outputs: usize| (outputs - 1) * stride + kernel;
        input_map.pad(padding, read(gradient_map.height), read(gradient_map.width));
        let gradient = WeightGradient {
            isa: self.isa,
            input: input_map,
            gradient: gradient_map,
            batch,
            kernel,
            stride,
            groups,
        };
        let lens = [input_map.len(batch), gradient_map.len(batch), Some(gradient.sums_len())];
        let lens = lens.map(|len| len.unwrap_or(usize::MAX));
        CONVOLUTIONS.with(&lens, 0, |workspace| {
            let [x, dy, sums] = [0, 1, 2].map(|index| workspace.buffer(index));
            to_blocked(self.isa, input, &input_map, batch, x);
            to_blocked(self.isa, output_gradient, &gradient_map, batch, dy);
            gradient.compute(x, dy, sums, weight_gradient);
        })
    }

    /// Computes the gradient of the bias, `[K]`, from that of the output, `[N, K, H', W']`.
    ///
    /// # Errors
    /// As for [`forward`](Self::forward).
    pub fn bias_gradient(&self, output_gradient: &[f32], gradient: &mut [f32]) -> Result<()> {
        expect_count("output gradient", output_gradient, self.output_len()?)?;
        expect_count("bias gradient", gradient, self.shape.outputs)?;
        let [height, width] = self.shape.output_size()?;
        bias_gradient(output_gradient, height * width, gradient);
        Ok(())
    }
}
