//! The tables against the figures that the papers and torchvision published, and their arithmetic.

use alexnet_vgg_core::architecture::small_kernels::SmallKernels;
use alexnet_vgg_core::architecture::summary::Summary;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::{Error, Result};
use proptest::prelude::*;

const INIT: Init = Init { weight: WeightInit::TorchDefault, bias: BiasInit::TorchDefault };

fn network(name: &str) -> Architecture {
    NetworkConfig::by_name(name).and_then(|config| config.architecture()).expect("a known network")
}

fn summary(name: &str) -> Summary {
    let network = network(name);
    let [_, height, width] = network.input;
    Summary::new(&network, 1, [height, width]).expect("a valid table")
}

#[test]
fn parameters_and_multiply_adds_are_the_published_ones() {
    // torchvision's documentation of its weights. It has no AlexNet of 2012, vgg11_lrn or vgg16_c: theirs are
    // counted by hand.
    let published = [
        ("alexnet", 61_100_840, 0.714),
        ("alexnet_paper", 60_965_224, 0.724),
        ("alexnet_two_gpu", 60_965_224, 0.724),
        ("alexnet_caffe", 60_965_224, 0.724),
        ("caffenet", 60_965_224, 0.724),
        ("vgg11", 132_863_336, 7.609),
        ("vgg11_bn", 132_868_840, 7.609),
        ("vgg13", 133_047_848, 11.308),
        ("vgg13_bn", 133_053_736, 11.308),
        ("vgg16", 138_357_544, 15.470),
        ("vgg16_bn", 138_365_992, 15.470),
        ("vgg19", 143_667_240, 19.632),
        ("vgg19_bn", 143_678_248, 19.632),
        ("vgg11_lrn", 132_863_336, 7.609),
        ("vgg11_lrn_bn", 132_868_840, 7.609),
        // D with 1 of the 9 weights of each kernel in conv3_3, conv4_3 and conv5_3.
        ("vgg16_c", 138_357_544 - 8 * (256 * 256 + 2 * 512 * 512), 11.771),
        ("vgg16_c_bn", 138_365_992 - 8 * (256 * 256 + 2 * 512 * 512), 11.771),
    ];
    assert_eq!(published.len(), NetworkConfig::all().len());
    for (name, parameters, giga) in published {
        let summary = summary(name);
        assert_eq!(summary.parameters, parameters, "{name}");
        let ours = summary.multiply_adds as f64 / 1e9;
        assert!((ours - giga).abs() < 0.001, "{name}: {ours} G, not {giga}");
    }
    // Table 2 of the VGG paper, in millions.
    for (name, millions) in
        [("vgg11", 133), ("vgg13", 133), ("vgg16_c", 134), ("vgg16", 138), ("vgg19", 144)]
    {
        assert_eq!((summary(name).parameters as f64 / 1e6).round() as u64, millions, "{name}");
    }
}

#[test]
fn receptive_fields_are_as_derived_by_hand() {
    for (network, layer, field, stride) in [
        ("vgg16", "pool5", 212, 32),
        ("vgg16", "conv1_2", 5, 1),
        ("vgg19", "pool5", 268, 32),
        ("alexnet", "conv1", 11, 4),
        ("alexnet", "pool5", 195, 32),
        ("alexnet_paper", "pool1", 19, 8),
        ("vgg16_c", "conv3_3", 32, 4),
    ] {
        let summary = summary(network);
        let layer = summary.layer(layer).expect("a layer");
        assert_eq!((layer.receptive_field, layer.stride), (Some(field), Some(stride)), "{network}");
    }
}

#[test]
fn the_papers_names_are_theirs() {
    let names = |name: &str| -> Vec<String> {
        network(name).steps().iter().map(|step| step.name.clone()).collect()
    };
    assert_eq!(
        names("alexnet_paper").join(" "),
        "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5 \
         avgpool fc6 relu6 drop6 fc7 relu7 drop7 fc8"
    );
    let vgg16_c = names("vgg16_c");
    for name in ["conv1_1", "conv3_3", "relu5_3", "pool5", "fc6", "fc8"] {
        assert!(vgg16_c.iter().any(|known| known == name), "{name} in {vgg16_c:?}");
    }
    assert_eq!(names("alexnet_two_gpu"), names("alexnet_paper"));
    assert!(
        names("caffenet")
            .join(" ")
            .starts_with("conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3")
    );
    let vgg16 = network("vgg16");
    assert_eq!(vgg16.find("conv3_1").ok(), vgg16.find("features.10").ok());
    let error = vgg16.find("conv3_9").expect_err("no such layer").to_string();
    assert!(error.contains("conv3_3") && error.contains("classifier.6"), "{error}");
}

#[test]
fn both_inputs_of_the_2012_network_make_55x55() {
    for (before, size, padding) in [(224, 224, 2), (224, 227, 0), (227, 224, 2), (227, 227, 0)] {
        for config in [AlexNetConfig::paper(), AlexNetConfig::caffe(), AlexNetConfig::caffenet()] {
            let config = NetworkConfig::from(config.with_input_size(before));
            let alexnet = config.for_input([size, size]).architecture().expect("a valid table");
            assert_eq!(alexnet.input, [3, size, size]);
            let steps = alexnet.steps();
            assert_eq!(steps[0].output, Shape::Map([96, 55, 55]));
            assert!(matches!(steps[0].layer, Layer::Conv { padding: p, .. } if p == padding));
            assert_eq!(steps[14].output, Shape::Map([256, 6, 6]));
        }
    }
}

#[test]
fn every_trick_of_the_2012_network_can_be_turned_off() {
    let layers = |config: &AlexNetConfig| -> String { format!("{:?}", config.table()) };
    let paper = AlexNetConfig::paper();
    for (what, without) in [
        ("Lrn", paper.clone().with_lrn(false)),
        ("groups: 2", paper.clone().with_groups(false)),
        ("Relu", paper.clone().with_activation(Activation::Tanh)),
        ("MaxPool { kernel: 3", paper.clone().with_overlapping_pools(false)),
        ("Dropout { p: 0.5", paper.clone().with_dropout(0.0)),
    ] {
        assert!(layers(&paper).contains(what) && !layers(&without).contains(what), "{what}");
        // Each of them is still a network with a 6x6 map before the classifier.
        let without = without.architecture().expect("valid");
        assert!(
            without.steps().iter().any(|step| step.output == Shape::Map([256, 6, 6])),
            "{what}"
        );
    }
}

#[test]
fn small_kernels_have_fewer_weights() {
    let stacks = SmallKernels::new(&network("vgg16"), [224, 224]).expect("valid").stacks;
    let last = stacks.last().expect("five stacks");
    assert_eq!((last.kernels.as_slice(), last.single_kernel), ([3, 3, 3].as_slice(), 7));
    assert_eq!(last.stack.weights, 27 * 512 * 512);
    assert_eq!(last.single.weights, 49 * 512 * 512);
    assert_eq!((last.stack.nonlinearities, last.single.nonlinearities), (3, 1));
}

#[test]
fn contradictory_tables_are_errors_that_say_where() {
    let vgg = || VggConfig::vgg11();
    for (config, found) in [
        (vgg().with_num_classes(0), "0"),
        (vgg().with_in_channels(0), "0"),
        (vgg().with_dropout(1.0), "1.0"),
        (vgg().with_dropout(f64::NAN), "NaN"),
        (vgg().with_width(f64::NAN), "0"),
        (vgg().with_width(f64::INFINITY), "larger"),
        (vgg().with_width(-1.0), "0"),
    ] {
        let error = config.architecture().expect_err("contradictory").to_string();
        assert!(
            error.contains("vgg11") && error.contains("expected") && error.contains(found),
            "{error}"
        );
    }
    let refused = |table: Table, place: &str, says: &str| {
        let error = Architecture::new(table).expect_err(says).to_string();
        assert!(error.contains(place) && error.contains(says), "{error}");
    };
    let mut table = AlexNetConfig::paper().with_in_channels(3).table();
    if let Layer::Conv { groups, .. } = &mut table.features[0] {
        *groups = 2;
    }
    refused(table, "features.0", "groups");
    for (groups, says) in [(0, "at least 1 group"), (5, "groups that divide 96 channels")] {
        let mut table = AlexNetConfig::two_gpu().table();
        if let Layer::Lrn { groups: own, .. } = &mut table.features[2] {
            *own = groups;
        }
        refused(table, "features.2", says);
    }
    for misplaced in [Layer::Linear { out: 7, init: INIT }, Layer::AdaptiveAvgPool { size: [1, 1] }]
    {
        let mut table = vgg().table();
        table.features.push(misplaced);
        refused(table, "features.21", "supported in the features");
    }
}

#[test]
fn configs_and_tables_are_data() {
    for config in NetworkConfig::all() {
        let json = serde_json::to_string(&config).expect("serializable");
        let back: NetworkConfig = serde_json::from_str(&json).expect("deserializable");
        assert_eq!(back, config);
        let table = config.table();
        let json = serde_json::to_string(&table).expect("serializable");
        assert_eq!(serde_json::from_str::<Table>(&json).expect("deserializable"), table);
        let architecture = config.architecture().expect("valid");
        assert_eq!(serde_json::to_string(&architecture).expect("serializable"), json);
        assert_eq!(serde_json::from_str::<Architecture>(&json).expect("valid"), architecture);
    }
    // What contradicts itself is data, but no network.
    let wrong = serde_json::to_string(&VggConfig::vgg11().with_num_classes(0).table());
    let wrong = wrong.expect("serializable");
    assert!(serde_json::from_str::<Table>(&wrong).is_ok());
    assert!(serde_json::from_str::<Architecture>(&wrong).is_err());
    // A table from before an LRN had groups.
    let older = r#"{ "Lrn": { "size": 5, "alpha": 1e-4, "beta": 0.75, "k": 2.0 } }"#;
    let layer: Layer = serde_json::from_str(older).expect("deserializable");
    assert_eq!(layer, AlexNetConfig::paper().table().features[2]);
    let grouped = AlexNetConfig::two_gpu().table().features[2];
    assert_eq!(grouped.to_string(), "LRN over 5, groups 2");
}

/// Whether it is a convolution (or else a pool), kernel, stride and padding.
type Window = (bool, usize, usize, usize);

/// Chains of any windows, for which no sizes are published: they are counted by brute force.
fn windows() -> impl Strategy<Value = Vec<Window>> {
    prop::collection::vec((any::<bool>(), 1usize..12, 1usize..5, 0usize..6), 1..7)
}

fn table_of(windows: &[Window]) -> Table {
    let layer = |&(conv, kernel, stride, padding): &Window| {
        if conv {
            Layer::Conv { out: 4, kernel, stride, padding, groups: 1, init: INIT }
        } else {
            Layer::MaxPool { kernel, stride }
        }
    };
    Table {
        name: "any".into(),
        input: [3, 64, 64],
        features: windows.iter().map(layer).collect(),
        pool: [2, 3],
        classifier: vec![Layer::Linear { out: 5, init: INIT }],
        numbering: Numbering::Blocks,
    }
}

/// The number of positions of a window on a padded line, by trying them.
fn positions(len: usize, kernel: usize, stride: usize, padding: usize) -> usize {
    (0..len + 2 * padding)
        .step_by(stride)
        .filter(|start| start + kernel <= len + 2 * padding)
        .count()
}

proptest! {
    #[test]
    fn sizes_are_the_windows_that_fit(windows in windows(), height in 0usize..300, width in 1usize..300) {
        let table = table_of(&windows);
        let mut size = Some([height, width]);
        for &(conv, kernel, stride, padding) in &windows {
            let padding = if conv { padding } else { 0 };
            size = size
                .filter(|size| size.iter().all(|&len| len > 0))
                .map(|size| size.map(|len| positions(len, kernel, stride, padding)))
                .filter(|size| size.iter().all(|&len| len > 0));
        }
        match (table.walk([height, width]), size) {
            (Ok(steps), Some(size)) => {
                prop_assert_eq!(&steps[windows.len() - 1].output.dims()[1..], &size);
                prop_assert_eq!(steps.last().unwrap().output, Shape::Vector([5]));
            }
            (Err(Error::InputTooSmall { minimum, .. }), None) => prop_assert!(height.min(width) < minimum),
            (walked, size) => prop_assert!(false, "{:?} but {:?}", walked, size),
        }
    }

    #[test]
    fn the_minimum_is_the_smallest_that_works(windows in windows()) {
        let table = table_of(&windows);
        let minimum = table.minimum_input();
        prop_assert!(table.walk([minimum, minimum]).is_ok());
        if minimum > 1 {
            prop_assert!(table.walk([minimum - 1, minimum]).is_err());
        }
    }

    #[test]
    fn no_number_makes_the_arithmetic_overflow(
        convs in prop::collection::vec((large(), large(), large(), large(), large()), 1..4),
        batch in large(), size in [large(), large()], classes in large(), layers in 1usize..4,
    ) {
        let mut table = table_of(&[]);
        for (out, kernel, stride, padding, groups) in convs {
            table.features.push(Layer::Conv { out, kernel, stride, padding, groups, init: INIT });
            table.features.push(Layer::Relu);
        }
        table.classifier = vec![Layer::Linear { out: classes, init: INIT }; layers];
        let _ = table.minimum_input();
        // Valid at this size or not at all: a table is checked at the size that it was designed for.
        let channels = table.input[0];
        let architecture = Architecture::new(Table { input: [channels, size[0], size[1]], ..table });
        let summary = |architecture: &Architecture| Summary::new(architecture, batch, size);
        if let Ok(Ok(summary)) = architecture.as_ref().map(summary) {
            let sum: u128 = summary.layers.iter().map(|layer| u128::from(layer.multiply_adds)).sum();
            prop_assert_eq!(u128::from(summary.multiply_adds), sum);
        }
        let kernels = |architecture: &Architecture| SmallKernels::new(architecture, size);
        if let Ok(Ok(kernels)) = architecture.as_ref().map(kernels) {
            for stack in kernels.stacks {
                let single = u128::from(stack.single.weights);
                let side = stack.single_kernel as u128;
                prop_assert_eq!(single, side * side * (stack.channels[0] * stack.channels[1]) as u128);
            }
        }
    }
}

/// Powers of two and their neighbors, so that products come near every bound.
fn large() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => (0u32..21, 0usize..2).prop_map(|(bits, less)| (1usize << bits) - less),
        1 => (0u32..64, 0usize..2).prop_map(|(bits, less)| (1usize << bits) - less),
    ]
}

/// The worst table that is valid: as many layers as there may be, each as large as it may be.
#[test]
fn the_largest_table_does_not_overflow() -> Result<()> {
    let mut table = Table {
        input: [1, 1, 1],
        pool: [1, 1],
        classifier: vec![Layer::Linear { out: 1 << 24, init: INIT }; 1023],
        ..table_of(&[])
    };
    let summary = Summary::new(&Architecture::new(table.clone())?, 1, [1, 1])?;
    assert_eq!(summary.multiply_adds, (1 << 24) + (1022 << 48));
    table.classifier.push(Layer::Relu);
    assert!(matches!(Architecture::new(table), Err(Error::Table { .. })));
    Ok(())
}
