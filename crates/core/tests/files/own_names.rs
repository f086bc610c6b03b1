//! Networks of other people's repositories: layers with names or numbers of their own, other heads, prefixes. Each
//! file holds the formula's values of the parameters, so what is read of it is known to the bit.

use crate::formula;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::weights::{LoadOptions, Weights};
use safetensors::tensor::{Dtype, TensorView};

/// A tensor of a file: its name, its shape, and its values.
type Tensor = (String, Vec<usize>, Vec<f32>);

fn file(tensors: &[Tensor]) -> Weights {
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(.., values)| bytes(values)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("its size"))
    });
    let bytes = safetensors::serialize(views, None).expect("a file");
    Weights::from_bytes("theirs.safetensors", bytes).expect("a weights file")
}

/// The parameters of a network under the names that `rename` gives to its layers: from torchvision's name, the
/// papers' name, and the layer's number among those of its kind.
fn tensors(config: &NetworkConfig, rename: impl Fn(&str, &str, usize) -> String) -> Vec<Tensor> {
    let architecture = config.architecture().expect("valid");
    let mut tensors = Vec::new();
    let mut counts = [0; 3];
    for step in architecture.steps().iter().filter(|step| !step.parameters.is_empty()) {
        let count = match step.layer {
            Layer::Conv { .. } => &mut counts[0],
            Layer::Linear { .. } => &mut counts[1],
            _ => &mut counts[2],
        };
        *count += 1;
        let layer = rename(&step.key, &step.name, *count);
        for parameter in &step.parameters {
            let attribute = parameter.key.strip_prefix(&step.key).expect("its layer's key");
            let values = formula::all_values(parameter);
            tensors.push((format!("{layer}{attribute}"), parameter.shape.clone(), values));
        }
    }
    tensors
}

/// The file is identified as this network alone, or as its features, and has its values to the bit.
#[track_caller]
fn expect(config: &NetworkConfig, tensors: &[Tensor], features_only: bool) {
    let weights = file(tensors);
    let names = || tensors.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>().join(", ");
    let identity = weights.identify().unwrap_or_else(|| {
        panic!("unknown: {}\n{:?}", names(), weights.network(None, LoadOptions::default()))
    });
    assert_eq!(identity.features_only, features_only, "{}", names());
    let [found] = &identity.networks[..] else { panic!("{:?}", identity.networks) };
    let mut wanted = config.architecture().expect("valid");
    let mut found = found.architecture().expect("valid");
    if features_only {
        [wanted, found] = [wanted, found].map(|network| network.without_classifier());
    }
    assert_eq!((&found.name, found.pool), (&wanted.name, wanted.pool));
    assert!(found.parameters().eq(wanted.parameters()), "{:?}", found.table());
    let mut reader =
        weights.reader(&wanted, LoadOptions { features_only }).expect("this network's");
    for parameter in wanted.parameters() {
        let values = reader.rows(parameter, 0..parameter.shape[0]).expect("values");
        assert!(values == Some(formula::all_values(parameter)), "{}", parameter.key);
    }
}

fn tiny(config: impl Into<NetworkConfig>) -> NetworkConfig {
    config.into().with_width(0.0625).with_num_classes(7)
}

/// A VGG for 32×32 pixels, with one linear layer.
fn cifar(config: VggConfig) -> NetworkConfig {
    tiny(config.with_head(Head::linear([1, 1])))
}

/// `classifier.3` with another number of the linear layer.
fn numbered(numbers: [usize; 3]) -> impl Fn(&str, &str, usize) -> String {
    move |key, _, count| {
        if key.starts_with("classifier") {
            format!("classifier.{}", numbers[count - 1])
        } else {
            key.into()
        }
    }
}

#[test]
fn linear_layers_may_have_other_names_and_numbers() {
    let vgg16 = tiny(VggConfig::vgg16());
    // torchvision 0.1 and what was trained with Caffe: dropout comes first. Without any dropout.
    expect(&vgg16, &tensors(&vgg16, numbered([1, 4, 6])), false);
    expect(&vgg16, &tensors(&vgg16, numbered([0, 2, 4])), false);
    let alexnet = tiny(AlexNetConfig::torchvision());
    expect(&alexnet, &tensors(&alexnet, numbered([0, 3, 6])), false);
    for names in [
        ["classifier.fc1", "classifier.fc2", "classifier.output"],
        ["classifier.0", "classifier.3", "classifier.6.1"],
        ["fc.0", "fc.3", "fc.6"],
        ["classifier.hidden.0", "classifier.hidden.3", "head"],
    ] {
        let rename = |key: &str, _: &str, count: usize| {
            let is_linear = key.starts_with("classifier");
            if is_linear { names[count - 1].into() } else { key.to_string() }
        };
        expect(&vgg16, &tensors(&vgg16, rename), false);
    }
}

#[test]
fn heads_may_have_other_sizes() {
    for (head, names) in [
        (Head::linear([1, 1]), &["classifier"][..]),
        (Head::linear([7, 7]), &["classifier.0"]),
        (Head::new([1, 1], [32, 32]), &["classifier.1", "classifier.4", "classifier.6"]),
        (Head::new([7, 7], [101]), &["classifier.fc1", "classifier.fc2"]),
        (Head::new([2, 2], [64, 33, 5]), &["c.0", "c.2", "c.4", "c.6"]),
    ] {
        for config in [VggConfig::vgg11_bn(), VggConfig::vgg16()] {
            let config = tiny(config.with_head(head.clone()));
            let rename = |key: &str, _: &str, count: usize| {
                let is_linear = key.starts_with("classifier");
                if is_linear { names[count - 1].into() } else { key.to_string() }
            };
            expect(&config, &tensors(&config, rename), false);
        }
    }
    let alexnet = tiny(AlexNetConfig::torchvision().with_head(Head::new([6, 6], [50])));
    expect(&alexnet, &tensors(&alexnet, |key, _, _| key.into()), false);
}

#[test]
fn linear_layers_may_be_written_as_convolutions() {
    let vgg16 = tiny(VggConfig::vgg16());
    let fully_convolutional = |rename: &dyn Fn(&str, &str, usize) -> String| {
        let mut tensors = tensors(&vgg16, rename);
        for (_, shape, _) in tensors.iter_mut().filter(|(_, shape, _)| shape.len() == 2) {
            let window = if shape[1] == 32 * 49 { [32, 7, 7] } else { [shape[1], 1, 1] };
            *shape = [&shape[..1], &window].concat();
        }
        tensors
    };
    expect(&vgg16, &fully_convolutional(&|_, name, _| name.into()), false);
    expect(&vgg16, &fully_convolutional(&|key, _, _| key.into()), false);
    // One Sequential without a flattening in it.
    let one = |key: &str, _: &str, _: usize| {
        let (section, number) = key.split_once('.').expect("a number");
        let number: usize = number.parse().expect("a number");
        let offset = if section == "classifier" { 31 } else { 0 };
        (offset + number).to_string()
    };
    expect(&vgg16, &fully_convolutional(&one), false);
    // Height, width, channels: other values than ours.
    let mut wrong = fully_convolutional(&|_, name, _| name.into());
    for (_, shape, _) in wrong.iter_mut().filter(|(_, shape, _)| shape[1..] == [32, 7, 7]) {
        shape[1..].rotate_left(1);
    }
    assert!(file(&wrong).network(None, LoadOptions::default()).is_err());
}

#[test]
fn layers_may_have_other_names() {
    let vgg16_bn = cifar(VggConfig::vgg16_bn());
    let blocks = |key: &str, name: &str, count: usize| match name {
        name if name.starts_with("bn") => format!("norm{count}"),
        name if name.starts_with("conv") => format!("conv{count}"),
        _ => key.replace("classifier.0", "linear"),
    };
    expect(&vgg16_bn, &tensors(&vgg16_bn, blocks), false);
    // One Sequential with its own flattening, and the features as they are saved alone.
    let vgg16 = tiny(VggConfig::vgg16());
    let one = |key: &str, _: &str, _: usize| {
        let (section, number) = key.split_once('.').expect("a number");
        let number: usize = number.parse().expect("a number");
        if section == "classifier" { (33 + number).to_string() } else { number.to_string() }
    };
    let whole = tensors(&vgg16, one);
    expect(&vgg16, &whole, false);
    let features: Vec<Tensor> =
        whole.into_iter().filter(|(_, shape, _)| shape.len() != 2).collect();
    let features: Vec<Tensor> = features.into_iter().take(26).collect();
    expect(&vgg16, &features, true);
    // LPIPS cuts the features into slices.
    let slices = |key: &str, name: &str, _: usize| {
        let block: String = name.chars().skip(4).take(1).collect();
        format!("net.slice{block}.{}", key.strip_prefix("features.").unwrap_or(key))
    };
    let slices: Vec<Tensor> = tensors(&vgg16, slices).into_iter().take(26).collect();
    expect(&vgg16, &slices, true);
}

#[test]
fn prefixes_may_be_anywhere() {
    let vgg16 = tiny(VggConfig::vgg16());
    let own = tensors(&vgg16, |key, _, _| key.into());
    let with = |rename: &dyn Fn(&str) -> String| -> Vec<Tensor> {
        own.iter()
            .map(|(name, shape, values)| (rename(name), shape.clone(), values.clone()))
            .collect()
    };
    // Lightning, with the weights of the loss beside the network.
    let mut lightning = with(&|name| format!("model.{name}"));
    lightning.push(("criterion.weight".into(), vec![7], vec![1.0; 7]));
    expect(&vgg16, &lightning, false);
    expect(&vgg16, &with(&|name| format!("a.b.c.d.{name}")), false);
    expect(&vgg16, &with(&|name| name.replacen('.', "._fsdp_wrapped_module.", 1)), false);
    expect(&vgg16, &with(&|name| name.replace("classifier.6", "classifier.module.6")), false);

    let mut two = with(&|name| format!("teacher.{name}"));
    two.extend(with(&|name| format!("student.{name}")));
    let error = file(&two).network(None, LoadOptions::default()).expect_err("two networks");
    assert!(error.to_string().contains("student. and teacher."), "{error}");
}

/// The network takes what a layer in front of it returns, so the preset does what that layer does.
#[test]
fn a_normalization_in_front_is_the_preset() {
    let vgg16 = tiny(VggConfig::vgg16());
    let normalized = |mean: [f32; 3], std: [f32; 3]| {
        let mut tensors = tensors(&vgg16, |key, _, _| format!("1.{key}"));
        for (name, values) in [("0.mean", mean), ("0.std", std)] {
            tensors.push((name.into(), vec![1, 3, 1, 1], values.to_vec()));
        }
        tensors
    };
    let Preset { mean, std, .. } = Preset::imagenet();
    for (mean, std, name, white) in [
        (mean, std, "imagenet", 1.0),
        ([0.4914, 0.4822, 0.4465], [0.25; 3], "stated in the file", 1.0),
        ([123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "stated in the file", 255.0),
        ([0.0; 3], [255.0; 3], "stated in the file", 255.0),
    ] {
        let tensors = normalized(mean, std);
        expect(&vgg16, &tensors, false);
        let preset = file(&tensors).preset().expect("valid").expect("a preset");
        assert_eq!(
            (preset.name.as_str(), preset.mean, preset.std, preset.white),
            (name, mean, std, white)
        );
    }
    // A mean alone says nothing.
    let mut half = normalized(mean, std);
    half.pop();
    assert!(file(&half).network(None, LoadOptions::default()).is_err());
}

/// Of convolutions without biases, before batch norm for example, the biases are 0.
#[test]
fn biases_are_there_for_all_layers_or_for_none() {
    let config = cifar(VggConfig::vgg11_bn());
    let mut tensors = tensors(&config, |key, _, _| key.into());
    let convolutions: Vec<String> = (tensors.iter())
        .filter(|(_, shape, _)| shape.len() == 4)
        .map(|(name, ..)| name.replace("weight", "bias"))
        .collect();
    let lost = |tensors: &[Tensor], names: &[String]| -> Vec<Tensor> {
        tensors.iter().filter(|(name, ..)| !names.contains(name)).cloned().collect()
    };
    let weights = file(&lost(&tensors, &convolutions));
    let network = weights.network(None, LoadOptions::default()).expect("vgg11_bn");
    let architecture = network.architecture().expect("valid");
    assert_eq!(architecture.name, "vgg11_bn");
    let mut reader = weights.reader(&architecture, LoadOptions::default()).expect("its weights");
    let bias = &architecture.steps()[0].parameters[1];
    assert_eq!(reader.rows(bias, 0..4).expect("values"), Some(vec![0.0; 4]));

    tensors = lost(&tensors, &convolutions[3..4]);
    let error = file(&tensors).network(None, LoadOptions::default()).expect_err("a bias is lost");
    assert!(error.to_string().contains("features.11.bias: missing"), "{error}");
}

/// Some channels were removed, so the network is a table of its own.
#[test]
fn pruned_channels_are_those_of_the_file() {
    let mut table = tiny(VggConfig::vgg11()).table();
    for (layer, pruned) in [(0, 3), (3, 5), (6, 16), (8, 11)] {
        let Layer::Conv { out, .. } = &mut table.features[layer] else { panic!("no convolution") };
        *out = pruned;
    }
    let config = NetworkConfig::Custom(table);
    let mut tensors = tensors(&config, |key, _, _| key.into());
    expect(&config, &tensors, false);
    // Under other names they might be those of any network.
    tensors.iter_mut().for_each(|(name, ..)| *name = name.replace("features", "layers"));
    assert!(file(&tensors).network(None, LoadOptions::default()).is_err());
}

#[test]
fn what_the_layers_do_not_show_is_not_guessed() {
    let vgg16 = tiny(VggConfig::vgg16());
    let refused = |tensors: &[Tensor], what: &str| {
        let found = file(tensors).network(None, LoadOptions::default());
        assert!(found.is_err(), "{what}: {found:?}");
    };
    // A pool elsewhere moves the numbers.
    let moved = tensors(&vgg16, |key, _, _| key.replace("features.28", "layers.29"));
    refused(&moved, "a section of its own");
    let moved = tensors(&vgg16, |key, _, _| key.replace("features", "f").replace("f.28", "f.29"));
    let error = file(&moved).network(None, LoadOptions::default()).expect_err("a layer more");
    let nearest = "the nearest is vgg16, from which it differs: f.26 and f.29: the layers between";
    assert!(error.to_string().contains(nearest), "{error}");
    let moved = tensors(&vgg16, |key, _, _| {
        key.replace("features.28", "features.29").replace("classifier.0", "classifier.1")
    });
    refused(&moved, "a layer more");
    // No numbers, and the same shapes: which is the first?
    let names = ["one", "two", "three"];
    let square =
        tiny(VggConfig::vgg16().with_head(Head::new([1, 1], [32, 32]))).with_num_classes(32);
    let named = tensors(&square, |key, _, count| {
        if key.starts_with("classifier") { names[count - 1].into() } else { key.into() }
    });
    refused(&named, "linear layers in an unknown order");
    // A learned slope is another activation, and a learned scale another network.
    for name in ["features.1.weight", "scale"] {
        let mut more = tensors(&vgg16, |key, _, _| key.into());
        more.push((name.into(), vec![1], vec![0.25]));
        refused(&more, name);
    }
    // A layer behind the network, whatever its name sounds like.
    for (name, shape) in
        [("glossy.weight", vec![1]), ("loss_head.bias", vec![7]), ("metric_fc.weight", vec![4, 7])]
    {
        let mut more = tensors(&vgg16, |key, _, _| format!("net.{key}"));
        let count = shape.iter().product();
        more.push((name.into(), shape, vec![0.5; count]));
        refused(&more, name);
    }
    // A convolution and a ReLU before the average of the map.
    let hidden = tiny(VggConfig::vgg16().with_head(Head::new([1, 1], [16])));
    let mut before = tensors(&hidden, |key, _, _| key.into());
    for (_, shape, _) in before.iter_mut().filter(|(name, ..)| name == "classifier.0.weight") {
        shape.extend([1, 1]);
    }
    refused(&before, "a convolution before the average");
    // Centers of a loss are no linear layer.
    let features = VggConfig::vgg16().with_head(Head::linear([1, 1]));
    let centers = tensors(&tiny(features), |key, _, _| key.replace("classifier.0", "centers"));
    let centers = Vec::from_iter(centers.into_iter().filter(|(name, ..)| name != "centers.bias"));
    refused(&centers, "centers");
    // AlexNets for 32×32 pixels have other strides.
    let small = tiny(AlexNetConfig::torchvision().with_head(Head::linear([1, 1])));
    refused(&tensors(&small, |key, _, _| key.replace("classifier.0", "classifier")), "cifar");
}
