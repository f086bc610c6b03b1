//! A network as one would write it by hand: burn's own layers, one after the other.

use alexnet_vgg::models::{Architecture, Layer};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::nn::{Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::Tensor;
use burn::tensor::activation::relu;
use burn::tensor::backend::Backend;

/// The layers with weights and the pools of a network with three linear layers.
pub struct BareNetwork<B: Backend> {
    features: Vec<BareLayer<B>>,
    classifier: Vec<Linear<B>>,
}

enum BareLayer<B: Backend> {
    ConvRelu(Box<Conv2d<B>>),
    Pool(MaxPool2d),
}

impl<B: Backend> BareNetwork<B> {
    pub fn new(architecture: &Architecture, device: &B::Device) -> Self {
        let (mut features, mut classifier) = (Vec::new(), Vec::new());
        for step in architecture.steps() {
            let inputs = step.input.channels();
            match step.layer {
                Layer::Conv { out, kernel, stride, padding, .. } => {
                    let conv = Conv2dConfig::new([inputs, out], [kernel; 2])
                        .with_stride([stride; 2])
                        .with_padding(PaddingConfig2d::Explicit(
                            padding, padding, padding, padding,
                        ));
                    features.push(BareLayer::ConvRelu(Box::new(conv.init(device))));
                }
                Layer::MaxPool { kernel, stride } => {
                    let pool = MaxPool2dConfig::new([kernel; 2]).with_strides([stride; 2]);
                    features.push(BareLayer::Pool(pool.init()));
                }
                Layer::Linear { out, .. } => {
                    classifier.push(LinearConfig::new(inputs, out).init(device));
                }
                _ => {}
            }
        }
        Self { features, classifier }
    }

    pub fn forward(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let maps = self.features.iter().fold(images, |x, layer| match layer {
            BareLayer::ConvRelu(conv) => relu(conv.forward(x)),
            BareLayer::Pool(pool) => pool.forward(x),
        });
        let [fc6, fc7, fc8] = self.classifier.as_slice() else {
            unreachable!("AlexNet and VGG have three linear layers")
        };
        let x = relu(fc6.forward(maps.flatten(1, 3)));
        fc8.forward(relu(fc7.forward(x)))
    }
}
