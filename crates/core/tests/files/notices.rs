//! What is decided about a file, and said: weight normalization, averages, and the network of a whole LPIPS.

use crate::formula;
use alexnet_vgg_core::architecture::VggConfig;
use alexnet_vgg_core::predict::PerceptualDistance;
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::weights::{LoadOptions, Weights};
use safetensors::tensor::{Dtype, TensorView};
use std::path::Path;

/// A safetensors file with these tensors.
fn file(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = (tensors.iter())
        .map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("a tensor"))
    });
    safetensors::serialize(views, None).expect("serializable")
}

/// A matrix of two rows, (3, 0) and (0, 4), and what it is brought to, under PyTorch's names.
fn normalized(names: [&str; 2], magnitude: (&[usize], &[f32])) -> Vec<u8> {
    let [g, v] = names.map(|name| format!("0.{name}"));
    let (shape, values) = (magnitude.0.to_vec(), magnitude.1.to_vec());
    file(&[(g, shape, values), (v, vec![2, 2], vec![3.0, 0.0, 0.0, 4.0])])
}

const OLD: [&str; 2] = ["weight_g", "weight_v"];
const NEW: [&str; 2] = ["parametrizations.weight.original0", "parametrizations.weight.original1"];

#[test]
fn two_tensors_of_the_right_shapes_are_weight_normalization_with_a_notice() {
    for names in [OLD, NEW] {
        // With a length for each row, and for the matrix, whose own is 5.
        for (shape, lengths, expected) in [
            (&[2, 1][..], &[6.0, 1.0][..], [6.0, 0.0, 0.0, 1.0]),
            (&[], &[10.0], [6.0, 0.0, 0.0, 8.0]),
        ] {
            let bytes = normalized(names, (shape, lengths));
            let weights = Weights::from_bytes("normalized", bytes).expect("weight normalization");
            assert_eq!(weights.values("0.weight").expect("finite"), expected);
            assert_eq!(weights.values_of_rows("0.weight", 1..2).expect("finite"), expected[2..]);
            let notices = weights.notices();
            assert_eq!(notices.len(), 1);
            assert!(notices[0].contains("g * v / |v|") && notices[0].contains("0.weight"));
        }
        // Of columns, or of something else.
        for (shape, values) in
            [(&[1, 2][..], &[1.0, 1.0][..]), (&[2, 2], &[1.0; 4]), (&[2], &[1.0; 2])]
        {
            let error = Weights::from_bytes("own", normalized(names, (shape, values)));
            let error = error.expect_err("another parametrization").to_string();
            let parts = [
                names[0],
                names[1],
                "remove_parametrizations",
                "not PyTorch's weight normalization",
            ];
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
    let matrix =
        |name: &str| (format!("0.parametrizations.weight.{name}"), vec![2, 1], vec![1.0; 2]);
    for names in [
        &["original0"][..],
        &["original0", "original1", "original2"],
        &["original0", "original1", "0.steps"],
    ] {
        let tensors: Vec<_> = names.iter().map(|name| matrix(name)).collect();
        let error =
            Weights::from_bytes("own", file(&tensors)).expect_err("another parametrization");
        assert!(error.to_string().contains("remove_parametrizations"), "{error}");
    }
}

/// Found by the fuzzer: a parameter was listed twice, and one of the two was read for both.
#[test]
fn a_parameter_is_computed_in_one_way() {
    let matrix = |name: &str| (name.to_string(), vec![2, 2], vec![1.0; 4]);
    let pruned = ["0.weight_orig", "0.weight_mask"].map(matrix);
    let [g, v] = OLD.map(|name| format!("0.{name}"));
    let normalized = [(g, vec![2, 1], vec![1.0; 2]), matrix(&v)];
    let both: Vec<_> = pruned.into_iter().chain(normalized).collect();
    let error = Weights::from_bytes("both", file(&both)).expect_err("two of 0.weight").to_string();
    assert!(["\"0.weight\"", "one way", "second"].iter().all(|it| error.contains(it)), "{error}");
}

#[test]
fn an_average_that_is_left_aside_is_a_notice() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/weights");
    let both = folder.join("checkpoint_averaged.pth");
    let notices = Weights::open(&both).expect("a golden file").notices();
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("--key model_ema"), "{notices:?}");
    let average = Weights::open_at(&both, "model_ema").expect("the average");
    assert!(
        average.notices().is_empty() && average.tensors().all(|it| it.name.starts_with("other."))
    );
    // An average alone, and a checkpoint without one.
    for file in ["averaged.pth", "checkpoint.pth"] {
        assert!(Weights::open(folder.join(file)).expect("a golden file").notices().is_empty());
    }
}

/// The names of the package's state dict.
#[test]
fn the_network_of_a_whole_lpips_needs_no_key() {
    let config = VggConfig::vgg16().with_width(0.0625);
    let vgg = config.architecture().expect("valid").without_classifier();
    // LPIPS cuts the features after the ReLUs that it compares.
    let slices = [4, 9, 16, 23, 30];
    let mut tensors: Vec<_> = (vgg.parameters())
        .map(|parameter| {
            let name = parameter.key.strip_prefix("features.").expect("features");
            let layer: usize =
                name.split('.').next().and_then(|it| it.parse().ok()).expect("a number");
            let slice = 1 + slices.iter().position(|&end| layer < end).expect("a slice");
            (
                format!("net.slice{slice}.{name}"),
                parameter.shape.clone(),
                formula::all_values(parameter),
            )
        })
        .collect();
    for (layer, channels) in [4, 8, 16, 32, 32].into_iter().enumerate() {
        for lin in [format!("lin{layer}"), format!("lins.{layer}")] {
            tensors.push((
                format!("{lin}.model.1.weight"),
                vec![1, channels, 1, 1],
                vec![0.5; channels],
            ));
        }
    }
    let scaling = [("shift", [-0.03, -0.088, -0.188]), ("scale", [0.458, 0.448, 0.45])];
    for (name, values) in scaling {
        tensors.push((format!("scaling_layer.{name}"), vec![1, 3, 1, 1], values.to_vec()));
    }
    let weights = Weights::from_bytes("lpips", file(&tensors)).expect("a file");
    assert_eq!(weights.preset().expect("valid"), Some(Preset::imagenet()));
    let identity = weights.identify().expect("vgg16");
    assert!(identity.features_only);
    let found = weights.network(None, LoadOptions::features()).expect("vgg16").architecture();
    let found = found.expect("valid").without_classifier();
    assert_eq!((found.name.as_str(), found.steps()), ("vgg16", vgg.steps()));
    let mut reader = weights.reader(&found, LoadOptions::features()).expect("the features");
    for parameter in found.parameters() {
        let values = reader.rows(parameter, 0..parameter.shape[0]).expect("finite");
        assert_eq!(values, Some(formula::all_values(parameter)), "{}", parameter.key);
    }
    let distance = PerceptualDistance::lpips_from_weights(&weights).expect("five layers");
    assert_eq!(distance.weights().map(|it| it[4].clone()), Some(vec![0.5; 32]));

    // One of the learned layers is missing: then they are something else.
    tensors.retain(|(name, ..)| !name.contains("lin4"));
    let other = Weights::from_bytes("other", file(&tensors)).expect("a file");
    assert_eq!(other.identify(), None);
}
