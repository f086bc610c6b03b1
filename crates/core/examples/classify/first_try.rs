//! What `classify` does without arguments: it reads the digits that come with the library, with the network that does.

use crate::cli;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::samples;
use alexnet_vgg_core::weights::Weights;
use std::error::Error;
use std::time::Instant;

const NEXT: &str = "
Next, what is in a photo? With torchvision's weights (AlexNet's 233 MiB are downloaded once, VGG16's 528 MiB):
  cargo run --release --features hub --example classify -- examples/photos/cat.jpg --model alexnet --pretrained
With weights of your own, from PyTorch, Caffe, or ONNX:
  cargo run --release --example classify -- PHOTO --weights FILE
";

pub fn run() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let weights = samples::digits_weights()?;
    let model = Compiled::open_weights(&weights, CompileOptions::default())?;
    let classifier = Classifier::builder(model).build()?;
    let loaded = start.elapsed().as_secs_f64();
    cli::print(format!(
        "Twelve handwritten digits, read by the network in crates/core/samples, which was not trained on them.\n\
         Its accuracy: {}. Its parameters: {}.\n\n",
        weights.accuracy().unwrap_or("unknown"),
        parameters(&weights),
    ))?;
    let pictures = samples::pictures();
    let (mut right, mut seconds) = (0, 0.0);
    for picture in pictures {
        let start = Instant::now();
        let found = classifier.classify(&picture.decode()?)?;
        let taken = start.elapsed().as_secs_f64();
        seconds += taken;
        let best = &found.predictions[0];
        let is_right = best.label == picture.label;
        right += usize::from(is_right);
        let (percent, milliseconds) = (100.0 * best.probability, 1e3 * taken);
        let verdict = if is_right { "" } else { "  wrong" };
        let (name, label) = (picture.name, &best.label);
        cli::print(format!(
            "  {name:8} {percent:6.2}%  {label}   {milliseconds:5.2} ms{verdict}\n"
        ))?;
    }
    let all = pictures.len();
    cli::print(format!(
        "\n{right} of {all} are right. Loading took {:.0} ms, decoding and classifying all {:.1} ms.\n{NEXT}",
        1e3 * loaded,
        1e3 * seconds,
    ))
}

fn parameters(weights: &Weights) -> usize {
    let values = |shape: &[usize]| shape.iter().product::<usize>();
    let is_trained = |name: &str| name.ends_with(".weight") || name.ends_with(".bias");
    weights.tensors().filter(|it| is_trained(it.name)).map(|it| values(it.shape)).sum()
}
