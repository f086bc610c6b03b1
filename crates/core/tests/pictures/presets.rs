//! Presets against torchvision (tests/golden/presets.py), as JSON, and for gray networks.

use crate::{formula, photo};
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::CompileOptions;
use alexnet_vgg_core::predict::*;
use alexnet_vgg_core::vision::{Channels, Preset, RgbImage, Views, augment::*, decode_file};
use alexnet_vgg_core::{Error, Metadata, Result};
use safetensors::SafeTensors;

/// On values of up to 255, in f32.
const TOLERANCE: f32 = 2e-5;

/// The preset of a name, of that at another size, and of that in gray.
fn preset(name: &str) -> Result<Preset> {
    let (color, is_gray) = match name.strip_suffix(" in gray") {
        Some(color) => (color, true),
        None => (name, false),
    };
    let preset = match color.split_once(" at ") {
        Some((name, side)) => Preset::by_name(name)?.with_input(side.parse().expect("a number")),
        None => Preset::by_name(color)?,
    };
    preset.for_channels(if is_gray { 1 } else { 3 })
}

#[test]
fn values_are_torchvisions() -> Result<()> {
    let golden = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/presets.safetensors"
    ));
    let golden = SafeTensors::deserialize(golden).expect("the fixture");
    let picture = golden.tensor("picture").expect("a picture");
    let picture = RgbImage::from_raw(60, 45, picture.data().to_vec()).expect("its size");
    assert_eq!(golden.len(), 10);
    for (name, tensor) in golden.iter().filter(|(name, _)| *name != "picture") {
        let preset = preset(name)?;
        assert_eq!(preset.name, name);
        let batch = preset.batch(std::slice::from_ref(&picture))?;
        let side = preset.crop as usize;
        assert_eq!(batch.shape, [1, preset.channels.count(), side, side], "{name}");
        let step = if side < 64 { 1 } else { 97 };
        let ours: Vec<f32> = batch.values.into_iter().step_by(step).collect();
        let theirs = tensor
            .data()
            .chunks_exact(4)
            .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]));
        assert_eq!(ours.len(), theirs.len(), "{name}");
        let apart = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < TOLERANCE * preset.white.max(1.0), "{name}: {apart}");
    }
    Ok(())
}

#[test]
fn a_preset_is_read_from_json() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ours.json");
    let read = |text: &str| {
        std::fs::write(&path, text).expect("written");
        Preset::by_name_or_file(path.to_str().expect("a path of letters"))
    };
    let short = read(r#"{"resize": 36, "crop": 32, "mean": 0.5, "std": [0.2, 0.3, 0.4]}"#)?;
    let expected = Preset {
        name: "ours".into(),
        resize: 36,
        crop: 32,
        mean: [0.5; 3],
        std: [0.2, 0.3, 0.4],
        ..Preset::imagenet()
    };
    assert_eq!(short, expected);
    let gray =
        read(r#"{"resize": 36, "crop": 32, "channels": "Gray", "mean": [0.5], "std": 0.25}"#)?;
    assert_eq!((gray.channels, gray.mean), (Channels::Gray, [0.5; 3]));
    for preset in [Preset::imagenet(), Preset::caffe(), Preset::vggface(), short, gray] {
        assert_eq!(read(&serde_json::to_string(&preset).expect("JSON"))?, preset);
    }
    for (text, says) in [
        (r#"{"resize": 36, "crop": 32, "mean": 0.5}"#, "missing field `std`"),
        (
            r#"{"resize": 36, "crop": 32, "mean": 0.5, "std": 1, "sdt": 1}"#,
            "unknown field `sdt`, expected one of `name`",
        ),
        (
            r#"{"resize": 36, "crop": 32, "mean": [0, 0], "std": 1}"#,
            "a number for each of three channels, found [0,0]",
        ),
        (r#"{"resize": 36, "crop": 64, "mean": 0, "std": 1}"#, "1 <= crop <= resize"),
        (r#"{"resize": 36, "crop": 32, "mean": 0, "std": 0}"#, "std > 0"),
        (
            r#"{"resize": 36, "crop": 32, "mean": 0, "std": 1, "channels": "YUV"}"#,
            "unknown variant `YUV`",
        ),
        (
            r#"{"resize": 36, "crop": 32, "channels": "gray", "mean": [1, 2, 3], "std": 1}"#,
            "one mean and one std",
        ),
        ("resize: 36", "expected value at line 1"),
    ] {
        let error = read(text).expect_err("wrong").to_string();
        assert!(error.contains(says) && error.contains("ours.json"), "{text}: {error}");
    }
    let unknown = Preset::by_name_or_file("torch").expect_err("no such preset").to_string();
    assert!(
        unknown.contains("imagenet, caffe, vggface, cifar10, half, places, or a file"),
        "{unknown}"
    );
    assert!(matches!(Preset::read("no such file.json"), Err(Error::Io { .. })));
    Ok(())
}

/// A network of one channel takes gray photos and color ones, in views, heat maps, and samples for training.
#[test]
fn gray_networks_take_photos() -> Result<()> {
    let table = Table {
        input: [1, 224, 224],
        ..VggConfig::vgg11().with_width(0.05).with_num_classes(5).table()
    };
    let model = formula::compiled(table, CompileOptions::default());
    let color = decode_file(photo("cat.jpg"))?;
    let gray = Preset::half().for_channels(1)?;
    let center = gray.batch(std::slice::from_ref(&color))?;
    let logits = Model::logits(&model, &center.values, [1, 1, 224, 224])?;
    let builder = || Classifier::builder(model.clone()).preset(Preset::half());
    let classifier = builder().build()?;
    let found = classifier.classify(&color)?;
    assert_eq!(found.predictions[0].class, top_k(&logits, 1)?[0].class);
    assert_eq!(*classifier.preset(), gray);
    let luma = gray.view(&color, Views::center().as_slice()[0])?;
    assert!(luma.pixels().all(|pixel| pixel.0 == [pixel.0[0]; 3]));

    let dense = builder().views(Views::ten_crop().joined_with(Views::dense())).build()?;
    assert_eq!(dense.classify(&color)?.views.len(), 12);
    dense.heat_map(&color, 0, 256)?;
    let mut sample = Vec::new();
    let augmentation = Augmentation::vgg();
    let number = Sample { seed: 0, epoch: 0, index: 0 };
    augmentation.values(&color, number, &gray, &mut sample)?;
    assert_eq!(sample.len(), 224 * 224);

    let default = Classifier::builder(model).build()?;
    assert_eq!(default.preset().name, "imagenet in gray");
    assert!(gray.for_channels(3).is_err() && Preset::imagenet().for_channels(4).is_err());
    Ok(())
}

/// Caffe's AlexNets have no padding in their first convolution: of 224 pixels the last map would be 5×5.
#[test]
fn networks_of_caffe_take_caffes_preset_at_their_own_size() {
    let caffe = AlexNetConfig::caffe().architecture().expect("valid");
    let preset = Metadata::default().preset_for(None, &caffe).expect("usual");
    assert_eq!((preset.crop, preset.resize, preset.channels), (227, 256, Channels::Bgr));
    let given = Metadata::default().preset_for(Some(Preset::caffe()), &caffe).expect("given");
    assert_eq!(given, preset);
    let stated = Metadata::from(preset.clone());
    assert_eq!(stated.preset_for(Some(Preset::caffe()), &caffe).expect("the same"), preset);
    assert!(stated.preset_for(Some(Preset::imagenet()), &caffe).is_err());
    let vgg16 = VggConfig::vgg16().architecture().expect("valid");
    assert_eq!(Metadata::default().preset_for(None, &vgg16).expect("usual"), Preset::imagenet());
}
