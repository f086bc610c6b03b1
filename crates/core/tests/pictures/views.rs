//! What a network is shown of a photo: against torchvision and Pillow (tests/golden/views.py), and against what
//! the papers say.

use crate::{golden_picture, photo};
use alexnet_vgg_core::Error;
use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::vision::{Crop, Orientation, Preset, RgbImage, View, Views, decode_file};
use safetensors::SafeTensors;

#[test]
fn views_are_torchvisions_and_pillows() {
    let golden = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/views.safetensors"
    ));
    let golden = SafeTensors::deserialize(golden).expect("the fixture");
    let picture = decode_file(golden_picture("lossless.webp")).expect("a picture");
    let preset = Preset { resize: 48, crop: 32, ..Preset::imagenet() };
    let expect = |name: &str, view: View| {
        let ours = preset.view(&picture, view).expect("a view");
        let theirs = golden.tensor(name).expect("in the fixture");
        assert_eq!([ours.height(), ours.width(), 3].map(|n| n as usize), theirs.shape(), "{name}");
        let wrong = ours.iter().zip(theirs.data()).filter(|(a, b)| a != b).count();
        assert_eq!(wrong, 0, "{name}: {wrong} of {} levels differ", theirs.data().len());
    };
    for (index, view) in Views::ten_crop().as_slice().iter().enumerate() {
        expect(&format!("ten-crop/{index}"), *view);
    }
    let whole = |pose| View { scale: None, orientation: pose, crop: Crop::Whole, weight: 1.0 };
    for (name, pose) in [
        ("hflip", Orientation::FlipHorizontal),
        ("vflip", Orientation::FlipVertical),
        ("transpose", Orientation::Transpose),
        ("transverse", Orientation::Transverse),
    ] {
        expect(name, whole(pose));
    }
    for degrees in [10.0, -35.5, 90.0, 180.0, 261.0] {
        expect(
            &format!("rotate:{degrees}"),
            whole(Orientation::Rotate { degrees, fill: [124, 116, 104] }),
        );
    }
}

#[test]
fn a_views_values_are_its_pixels_normalized() {
    let photo = decode_file(photo("cat.jpg")).expect("a photo");
    let preset = Preset::caffe();
    let views: Views = "flips + dense + rotate:-20".parse().expect("names");
    let views = views.joined_with(Views::multi_crop(&[230, 300])).at_scales(&[256]);
    let shown = preset.views(&photo, &views).expect("views");
    let mut squares = shown.squares.chunks(3 * 224 * 224);
    let mut wholes = shown.whole_images.iter();
    for view in views.as_slice() {
        let values = match view.crop {
            Crop::Whole => &wholes.next().expect("one for each").values[..],
            _ => squares.next().expect("one for each"),
        };
        let pixels = preset.view(&photo, *view).expect("a view");
        let plane = values.len() / 3;
        for (i, pixel) in pixels.pixels().enumerate() {
            for channel in 0..3 {
                let expected = f32::from(pixel[2 - channel]) - preset.mean[channel];
                assert!((values[channel * plane + i] - expected).abs() < 1e-4, "{view}, {i}");
            }
        }
    }
    assert!(squares.next().is_none() && wholes.next().is_none());
}

#[test]
fn sets_of_views_are_what_the_papers_say() {
    let count = |views: &Views| views.as_slice().len();
    assert_eq!(count(&Views::multi_crop(&Views::SCALES)), 150);
    let both = Views::dense_and_multi_crop(&Views::SCALES);
    assert_eq!(count(&both), 156);
    let of_dense: f64 = both.normalized_weights()[..6].iter().sum();
    assert!((of_dense - 0.5).abs() < 1e-12);
    assert!((both.normalized_weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    // Among other views, both halves together count as many as they have views.
    let with_two = both.joined_with(Views::rotated(10.0)).joined_with(Views::rotated(-10.0));
    assert!((with_two.normalized_weights()[157] - 1.0 / 158.0).abs() < 1e-12);
    // The three scales of a set become the one that is asked for, with the weights of all three.
    let smaller = Views::multi_crop(&Views::SCALES).at_scales(&[300]);
    assert_eq!((count(&smaller), smaller.as_slice()[0].weight), (50, 3.0));
    let paper = |name| {
        let config = NetworkConfig::by_name(name).expect("known");
        Views::paper(&config.architecture().expect("valid"))
    };
    assert_eq!(paper("alexnet_paper"), Views::ten_crop());
    assert_eq!(paper("vgg19_bn"), Views::dense().at_scales(&[256, 384, 512]));
    assert_eq!(Views::scales_around(384), [352, 384, 416]);

    let named: Views = "ten-crop+rotate:7.5".parse().expect("names");
    let json = serde_json::to_string(&named).expect("data");
    assert_eq!(serde_json::from_str::<Views>(&json).expect("its own"), named);
    for wrong in ["", "ten crops", "rotate:", "rotate:NaN", "center+"] {
        let error = wrong.parse::<Views>().expect_err(wrong);
        assert!(matches!(error, Error::UnknownName { .. } | Error::Setting { .. }), "{error}");
    }
    let view = Views::center().as_slice()[0];
    for wrong in [
        vec![],
        vec![View { weight: 0.0, ..view }],
        vec![View { weight: f64::NAN, ..view }],
        vec![View { weight: f64::MAX, ..view }; 2],
        vec![View { scale: Some(0), ..view }],
        vec![View { crop: Crop::Grid { row: 2, column: 0, of: 2 }, ..view }],
    ] {
        assert!(Views::new(wrong.clone()).is_err(), "{wrong:?}");
    }
    // A crop that is larger than its picture.
    let photo = RgbImage::new(300, 300);
    assert!(Preset::imagenet().views(&photo, &Views::center().at_scales(&[223])).is_err());
}
