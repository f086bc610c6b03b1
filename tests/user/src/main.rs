//! What a service does with the library and burn: a network by name, taps and features of a photo, an error
//! on a bad file that it can tell from others.

use alexnet_vgg::backend::{self, Cpu};
use alexnet_vgg::engine::CompileOptions;
use alexnet_vgg::models::{AlexNet, AlexNetConfig, InitNetwork, Network, NetworkConfig, VggConfig};
use alexnet_vgg::predict::{Classifier, Labels, top_k};
use alexnet_vgg::summary::Summary;
use alexnet_vgg::vision::{self, Preset, Views};
use alexnet_vgg::{Error, Result};
use burn::tensor::Tensor;

fn main() -> Result<()> {
    let device = Default::default();
    let photo = vision::decode(include_bytes!("../../../examples/photos/cat.jpg"))?;
    let batch = Preset::imagenet().batch(std::slice::from_ref(&photo))?;
    let images: Tensor<Cpu, 4> = backend::to_tensor(batch, &device)?;

    let config = VggConfig::vgg11().with_width(0.25).with_num_classes(10);
    let vgg = config.init::<Cpu>(&device);
    let logits = backend::read(vgg.try_forward(images.clone())?)?;
    let logits: Vec<f32> = logits.iter::<f32>().collect();
    println!("vgg11, untrained: {:?}", top_k(&logits, 3)?);

    // A classifier that threads share, on the compiled engine.
    fn shared<T: Send + Sync>(it: T) -> T {
        it
    }
    let compiled = config.init::<Cpu>(&device).compile(CompileOptions::default())?;
    let labels = Labels::new((0..10).map(|digit| format!("digit {digit}")));
    let classifier = Classifier::builder(compiled).labels(labels).views(Views::ten_crop());
    let found = shared(classifier.build()?).classify(&photo)?;
    let best = &found.predictions[0];
    println!("{} by {} views: {}", best.label, found.views.len(), found.agreement);

    let alexnet: AlexNet<Cpu> = AlexNetConfig::paper().with_width(0.25).init(&device);
    let taps = alexnet.taps(images.clone(), &["norm1", "conv5", "fc7"])?;
    println!("taps: {:?}", taps.iter().map(|tap| tap.dims()).collect::<Vec<_>>());
    println!("features: {:?}", alexnet.features(images)?.dims());

    let vgg16 = NetworkConfig::by_name("vgg16")?.architecture()?;
    println!("{}", Summary::new(&vgg16, 1, [224, 224])?.parameters);

    let missing = Network::<Cpu>::load(vgg16, "no such file.safetensors", &device);
    assert!(matches!(missing, Err(Error::Io { .. })));
    let too_small = Tensor::zeros([1, 3, 8, 8], &device);
    assert!(matches!(vgg.try_forward(too_small), Err(Error::InputTooSmall { minimum: 32, .. })));
    Ok(())
}
