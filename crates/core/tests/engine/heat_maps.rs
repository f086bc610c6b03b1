//! Heat maps: where the cells of a map lie in the picture, what is drawn, and what is boxed.

use alexnet_vgg_core::Error;
use alexnet_vgg_core::architecture::*;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::predict::*;
use alexnet_vgg_core::vision::RgbImage;

/// A network that measures light: each output is the mean over channels, summed over the pixels that it sees.
fn light_meter(architecture: &Architecture) -> Compiled {
    let weights = |parameter: &Parameter, rows: std::ops::Range<usize>| {
        let row: usize = parameter.shape[1..].iter().product();
        let is_weight = parameter.role == Role::Weight;
        let value = if is_weight { 1.0 / parameter.shape[1] as f32 } else { 0.0 };
        Ok(vec![value; rows.len() * row])
    };
    Compiled::from_values(architecture, CompileOptions::default(), weights).expect("valid")
}

fn light_meters() -> [Architecture; 2] {
    [NetworkConfig::from(AlexNetConfig::torchvision()), NetworkConfig::from(VggConfig::vgg11())]
        .map(|config| config.with_width(0.05).with_num_classes(4).architecture().expect("valid"))
}

/// One light pixel is seen by those cells whose receptive fields it lies in, and by no other.
#[test]
fn receptive_fields_are_the_pixels_that_cells_see() {
    const SIDE: usize = 224;
    for architecture in light_meters() {
        let network = light_meter(&architecture);
        let features = architecture.steps().iter().filter(|step| step.section == Section::Features);
        let keys: Vec<&str> = features.map(|step| step.key.as_str()).collect();
        for (y, x) in [(0, 223), (97, 130), (111, 8)] {
            let mut picture = vec![0.0; 3 * SIDE * SIDE];
            picture[y * SIDE + x] = 1.0;
            let taps = network.taps(&picture, [1, 3, SIDE, SIDE], &keys).expect("taps");
            for (tap, key) in taps.iter().zip(&keys) {
                let [_, _, rows, columns] = tap.shape[..] else { panic!("{:?}", tap.shape) };
                let field = architecture.receptive_field(key).expect("a layer of the features");
                let sees = |cell: usize, pixel: usize| {
                    let center = field.first_center + (cell as u64 * field.stride) as f64;
                    (center - (pixel as f64 + 0.5)).abs() < field.size as f64 / 2.0
                };
                for (cell, value) in tap.values.iter().take(rows * columns).enumerate() {
                    let expected = sees(cell / columns, y) && sees(cell % columns, x);
                    assert_eq!(is_light(*value), expected, "{} {key} {cell}", architecture.name);
                }
            }
        }
    }
}

/// A cell that sees the pixel by one path alone measures a third; the transforms of Winograd's algorithm leave
/// rounding errors in those beside it.
fn is_light(value: f32) -> bool {
    value > 0.1
}

/// A picture of 448x448 pixels of which one corner is light: where maps of a layer's channel and of the
/// scores have their peaks and their boxes.
#[test]
fn the_light_corner_is_found() {
    const SIDE: usize = 448;
    const LIGHT: usize = 150;
    for architecture in light_meters() {
        let network = light_meter(&architecture);
        for (low, right) in [(false, false), (false, true), (true, false), (true, true)] {
            let is_lit = |place: usize, far: bool| {
                if far { place >= SIDE - LIGHT } else { place < LIGHT }
            };
            let lit = |i: usize| is_lit(i / SIDE % SIDE, low) && is_lit(i % SIDE, right);
            let picture: Vec<f32> = (0..3 * SIDE * SIDE).map(|i| f32::from(lit(i))).collect();
            let shape = [1, 3, SIDE, SIDE];

            let last = architecture.steps()[architecture.features.len() - 1].key.clone();
            let maps = network.taps(&picture, shape, &[&last]).expect("maps").remove(0);
            let [_, _, height, width] = maps.shape[..] else { panic!("{:?}", maps.shape) };
            let channel = &maps.values[..height * width];
            let layer =
                HeatMap::from_layer(&architecture, &last, channel, [height, width], [SIDE; 2]);
            let scores = network.score_maps(&picture, shape).expect("scores");
            let [_, _, rows, columns] = scores.shape[..] else { panic!("{:?}", scores.shape) };
            let of_class = &scores.values[..rows * columns];
            let scores = HeatMap::from_scores(&architecture, of_class, [rows, columns], [SIDE; 2]);
            for (what, map, share) in [
                ("a channel", layer.expect("a map"), HeatMap::THRESHOLD),
                // Half the picture is in every window.
                ("scores", scores.expect("a map"), 0.8),
            ] {
                let place = format!("{} {what} {low} {right}", architecture.name);
                let [down, along] = map.peak();
                assert_eq!((down > 0.5, along > 0.5), (low, right), "{place}: {:?}", map.peak());
                let found = map.localize(share);
                let on_edge = |far: bool, near: f64, end: f64| {
                    if far { end == 1.0 && near > 0.3 } else { near == 0.0 && end < 0.7 }
                };
                assert!(on_edge(low, found.top, found.bottom), "{place}: {found:?}");
                assert!(on_edge(right, found.left, found.right), "{place}: {found:?}");
            }
        }
    }
}

#[test]
fn maps_of_any_shape_are_drawn_on_photos_of_any_shape() {
    let map = |values: &[f32], size| HeatMap::new(values, size, [8.0; 2], [16.0; 2], [64, 64]);
    let shapes = [(1, 1), (1, 999), (999, 1), (3, 2), (640, 427)];
    for (values, size) in [
        (&[0.0][..], [1, 1]),
        (&[-1.0, 2.0, 5.0], [1, 3]),
        (&[f32::MAX, f32::MIN, 0.0], [3, 1]),
        (&[1e-9, 0.0, 0.0, 0.0], [2, 2]),
    ] {
        for (width, height) in shapes {
            let map = map(values, size).expect("a map").with_threshold(f32::NAN);
            let drawn = map.draw(&RgbImage::new(width, height)).expect("a picture");
            assert_eq!(drawn.dimensions(), (width, height));
        }
    }
    // The photo's pixels are where they were; the colors grow lighter with the values.
    let two_cells = map(&[0.0, 1.0], [1, 2]).expect("a map");
    let drawn = two_cells.draw(&RgbImage::new(640, 100)).expect("a picture");
    let [left, _, _, bottom] = two_cells.localize(HeatMap::THRESHOLD).to_pixels(640, 100);
    assert_eq!(drawn.get_pixel(left + 1, bottom / 2).0, [255; 3], "the box's left edge");
    let light = |x| drawn.get_pixel(x, 50).0.iter().map(|&level| u32::from(level)).sum::<u32>();
    assert!(
        light(90) < light(105) && light(160) < light(220),
        "{:?}",
        [90, 105, 160, 220].map(light)
    );

    for broken in [
        map(&[1.0, f32::NAN], [1, 2]),
        map(&[f32::INFINITY], [1, 1]),
        map(&[], [0, 0]),
        map(&[1.0], [1, 2]),
        map(&[1.0], [usize::MAX, 2]),
        HeatMap::new([1.0], [1, 1], [f64::NAN; 2], [1.0; 2], [1, 1]),
        HeatMap::new([1.0], [1, 1], [0.5; 2], [0.0; 2], [1, 1]),
        HeatMap::new([1.0], [1, 1], [0.5; 2], [1.0; 2], [0, 1]),
    ] {
        assert!(broken.is_err(), "{broken:?}");
    }
    assert!(matches!(map(&[1.0, f32::NAN], [1, 2]), Err(Error::NotFinite { first: 1, .. })));
    let nothing = map(&[1.0], [1, 1]).expect("a map").draw(&RgbImage::new(0, 5));
    assert!(matches!(nothing, Err(Error::Picture { .. })));
}

#[test]
fn boxes_are_around_the_connected_part() {
    // Two parts: the larger and weaker one, on the left, is not the one with the maximum.
    let row = [0.0, 6.0, 6.0, 6.0, 0.0, 0.0, 9.0, 0.0];
    let map = HeatMap::new(row, [1, 8], [4.0; 2], [8.0; 2], [8, 64]).expect("a map");
    let found = map.localize(0.5);
    assert_eq!((found.top, found.bottom), (0.0, 1.0));
    // Half of the maximum is half a cell from its center, at 52 pixels.
    assert!((found.left - 48.0 / 64.0).abs() < 1.0 / 64.0, "{found:?}");
    assert!((found.right - 56.0 / 64.0).abs() < 1.0 / 64.0, "{found:?}");
    let everything = BoundingBox { left: 0.0, top: 0.0, right: 1.0, bottom: 1.0 };
    assert_eq!(map.localize(0.0), everything);
    assert_eq!(map.localize(f32::NAN), everything);
    let flat = HeatMap::new([2.0; 6], [2, 3], [4.0; 2], [8.0; 2], [16, 24]).expect("a map");
    assert_eq!(flat.localize(0.9), everything);
    assert_eq!(everything.to_pixels(640, 1), [0, 0, 640, 1]);
    let corner = BoundingBox { left: 0.999, top: 0.0, right: 1.0, bottom: 0.001 };
    assert_eq!(corner.to_pixels(10, 10), [9, 0, 10, 1]);
}
