//! From a photo to a label with `alexnet-vgg-core` alone.

use alexnet_vgg_core::architecture::{FreshWeights, VggConfig};
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::predict::Classifier;
use alexnet_vgg_core::vision::{Labels, Preset};
use alexnet_vgg_core::weights::{SaveOptions, save};
use alexnet_vgg_core::{Error, Metadata, Result};

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/photos/cat.jpg");
const ANIMALS: [&str; 3] = ["ant", "bee", "cat"];

fn main() -> Result<()> {
    // A weights file as somebody else's program might have left it: here untrained.
    let path = std::env::temp_dir().join(format!("animals-{}.safetensors", std::process::id()));
    let config = VggConfig::vgg11().with_width(0.25).with_num_classes(ANIMALS.len());
    let metadata = Metadata::from(Preset::imagenet()).with_labels(Labels::new(ANIMALS));
    save(&config.architecture()?, &metadata, &path, &SaveOptions::default(), |parameter, rows| {
        Ok(FreshWeights::new(0).rows(parameter, rows))
    })?;

    let model = Compiled::load(config, &path, CompileOptions::default());
    std::fs::remove_file(&path).map_err(Error::io(&path))?;
    let classifier = Classifier::builder(model?).build()?;
    let found = classifier.classify_file(PHOTO)?;
    for prediction in &found.predictions {
        println!("{:.1}%  {}", prediction.probability * 100.0, prediction.label);
    }
    assert!(ANIMALS.contains(&found.predictions[0].label.as_str()));

    // Only the decoder that was asked for is there.
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    assert!(matches!(alexnet_vgg_core::vision::decode(png), Err(Error::Picture { .. })));
    Ok(())
}
