//! Augmentation against Pillow and torchvision (tests/golden/augment.py), against the distributions that the
//! papers name, and on unusual photos and settings.

use crate::{GOLDEN_PICTURES, golden_picture};
use alexnet_vgg_core::Error;
use alexnet_vgg_core::vision::augment::*;
use alexnet_vgg_core::vision::{Preset, RgbImage, decode, decode_file};
use image::{ImageFormat, Rgb, imageops};
use safetensors::SafeTensors;
use std::collections::HashMap;
use std::io::Cursor;

/// The quantile of a standard normal that a correct program exceeds once in 10,000 seeds. The seeds are
/// fixed: what passes once passes always.
const NORMAL_QUANTILE: f64 = 3.72;

fn golden<T>(read: impl Fn(&SafeTensors) -> T) -> T {
    let bytes = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/augment.safetensors"
    ));
    read(&SafeTensors::deserialize(bytes).expect("the fixture"))
}

fn sample(index: u64) -> Sample {
    Sample { seed: 7, epoch: 3, index }
}

fn steps(steps: impl Into<Vec<Step>>) -> Augmentation {
    Augmentation { name: "of a test".into(), steps: steps.into() }
}

/// A picture of many colors.
fn many_colors(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([5 * x + 3 * y, 11 * x * y + 7 * y, 13 * x + 250 + 251 * y].map(|level| level as u8))
    })
}

fn rectangle([left, top, width, height]: [u32; 4]) -> Rectangle {
    Rectangle { left, top, width, height }
}

/// Fails if counts of equally likely outcomes differ by more than chance explains.
fn expect_equally_likely(what: &str, counts: &[u64]) {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    assert!(expected >= 20.0, "{what}: too few draws to say");
    let chi_square: f64 = counts.iter().map(|&n| (n as f64 - expected).powi(2) / expected).sum();
    // Its quantile, by Wilson and Hilferty.
    let freedom = (counts.len() - 1) as f64;
    let ninth = 2.0 / (9.0 * freedom);
    let largest = freedom * (1.0 - ninth + NORMAL_QUANTILE * ninth.sqrt()).powi(3);
    assert!(chi_square < largest, "{what}: chi-square {chi_square:.1}, at most {largest:.1}");
}

#[test]
fn colors_are_torchvisions() {
    let checked = golden(|golden| {
        let mut checked = 0;
        for (name, theirs) in golden.iter() {
            let Some(operation) = name.strip_prefix("colors/") else { continue };
            let (kind, factor) = operation.split_once('/').expect("a factor");
            let factor: f64 = factor.parse().expect("a number");
            let operation = match kind {
                "brightness" => Operation::Brightness(factor),
                "contrast" => Operation::Contrast(factor),
                "saturation" => Operation::Saturation(factor),
                _ => Operation::Hue(factor),
            };
            let ours = apply(&many_colors(48, 48), &[operation]).expect("a picture");
            assert!(ours.as_raw() == theirs.data(), "{operation:?} is not torchvision's");
            checked += 1;
        }
        checked
    });
    assert_eq!(checked, 14);
}

#[test]
fn crops_resizes_and_flips_are_pillows() {
    let picture = decode_file(golden_picture("lossless.webp")).expect("a picture");
    golden(|golden| {
        for index in 0..6 {
            let theirs = golden.tensor(&format!("resized/{index}")).expect("a picture");
            let how = golden.tensor(&format!("resized/{index}/how")).expect("its operations");
            let how: Vec<u32> = how.data().iter().map(|&n| u32::from(n)).collect();
            let four = |from: usize| [how[from], how[from + 1], how[from + 2], how[from + 3]];
            let mut operations = vec![
                Operation::Crop(rectangle(four(0))),
                Operation::Resize { width: how[4], height: how[5] },
                Operation::Crop(rectangle(four(6))),
            ];
            operations.extend((how[10] == 1).then_some(Operation::HorizontalFlip));
            let ours = apply(&picture, &operations).expect("a picture");
            assert!(ours.as_raw() == theirs.data(), "{operations:?} is not Pillow's");
        }
    });
}

/// In any order: operations that are merged or deferred give what each gives by itself.
#[test]
fn operations_together_are_operations_one_by_one() {
    let photo = many_colors(61, 43);
    let crop = |four| Operation::Crop(rectangle(four));
    let resize = |width, height| Operation::Resize { width, height };
    let flip = Operation::HorizontalFlip;
    let turn = Operation::Rotate;
    let lists = [
        vec![resize(50, 40), turn(12.5), crop([13, 5, 32, 30]), flip, turn(-190.0), resize(9, 8)],
        vec![resize(90, 64), crop([13, 5, 32, 40]), flip, crop([1, 2, 20, 21])],
        vec![flip, crop([3, 4, 50, 30]), resize(20, 30), crop([2, 2, 11, 12]), flip],
        vec![crop([5, 6, 40, 30]), crop([1, 1, 30, 20]), resize(64, 64), resize(17, 9), flip],
        vec![resize(30, 30), crop([1, 2, 28, 27]), Operation::Hue(0.2), flip, resize(35, 11)],
        vec![resize(61, 43), crop([8, 8, 30, 30]), resize(15, 15), Operation::Contrast(1.5)],
        vec![flip, Operation::Brightness(0.5), flip, resize(3, 200), crop([0, 77, 3, 3])],
    ];
    for operations in lists {
        let mut one_by_one = photo.clone();
        for &operation in &operations {
            one_by_one = apply(&one_by_one, &[operation]).expect("a picture");
        }
        assert!(apply(&photo, &operations).expect("a picture") == one_by_one, "{operations:?}");
    }
    // What one by one is, in the simplest cases.
    let turned = apply(&photo, &[flip]).expect("a picture");
    assert!(turned == imageops::flip_horizontal(&photo));
    let square = many_colors(24, 24);
    let quarter = apply(&square, &[turn(90.0)]).expect("a picture");
    assert!(quarter == imageops::rotate270(&square), "counterclockwise");
    let part = apply(&photo, &[crop([7, 9, 11, 13])]).expect("a picture");
    assert!(part == imageops::crop_imm(&photo, 7, 9, 11, 13).to_image());
}

#[test]
fn every_position_of_a_crop_is_equally_likely() {
    const EACH: u64 = 100;
    let random_crop = steps([Step::RandomCrop { side: 16 }]);
    let mut counts = vec![0; 13 * 5];
    for index in 0..EACH * counts.len() as u64 {
        let drawn = random_crop.draw((28, 20), sample(index)).expect("a photo");
        let [Operation::Crop(Rectangle { left, top, width: 16, height: 16 })] = drawn[..] else {
            panic!("{drawn:?}")
        };
        counts[(left * 5 + top) as usize] += 1;
    }
    expect_equally_likely("positions of a crop", &counts);
}

/// Whatever else is drawn before them in the same sample.
#[test]
fn scales_and_flips_of_vgg_are_equally_likely() {
    const EACH: u64 = 100;
    let vgg = Augmentation::vgg();
    let mut scales = vec![0; 257];
    let mut flips = [0; 2];
    for index in 0..EACH * scales.len() as u64 {
        let drawn = vgg.draw((400, 300), sample(index)).expect("a photo");
        let Operation::Resize { height, .. } = drawn[0] else { panic!("{drawn:?}") };
        scales[height as usize - 256] += 1;
        flips[usize::from(drawn.contains(&Operation::HorizontalFlip))] += 1;
    }
    expect_equally_likely("the scale S", &scales);
    expect_equally_likely("flips", &flips);
}

#[test]
fn angles_are_uniform() {
    let augmentation =
        steps([Step::RandomRotation { degrees: 30.0 }, Step::CenterCrop { side: 8 }]);
    let mut counts = [0; 12];
    for index in 0..2400 {
        let drawn = augmentation.draw((9, 9), sample(index)).expect("a photo");
        let [Operation::Rotate(degrees), Operation::Crop(_)] = drawn[..] else {
            panic!("{drawn:?}")
        };
        // One of twelve equal parts of -30 to 30.
        counts[((degrees + 30.0) / 5.0) as usize] += 1;
    }
    expect_equally_likely("angles", &counts);
}

#[test]
fn regions_are_distributed_as_torchvisions() {
    const DRAWS: u64 = 20_000;
    let torchvision = Augmentation::torchvision();
    let (mut sums, mut squares) = ([0.0; 4], [0.0; 4]);
    for index in 0..DRAWS {
        let drawn = torchvision.draw((500, 375), sample(index)).expect("a photo");
        let Operation::Crop(region) = drawn[0] else { panic!("{drawn:?}") };
        let shape = f64::from(region.width) / f64::from(region.height);
        assert!((0.74..1.35).contains(&shape), "{region:?}");
        let four = [region.left, region.top, region.width, region.height].map(f64::from);
        for (i, value) in four.into_iter().enumerate() {
            sums[i] += value;
            squares[i] += value * value;
        }
    }
    let theirs: Vec<f64> = golden(|golden| {
        let numbers = golden.tensor("regions").expect("numbers").data().as_chunks::<8>().0.to_vec();
        numbers.into_iter().map(f64::from_le_bytes).collect()
    });
    for i in 0..4 {
        let mean = sums[i] / DRAWS as f64;
        let deviation = (squares[i] / DRAWS as f64 - mean * mean).sqrt();
        // Theirs come from ten times as many draws.
        let error = NORMAL_QUANTILE * theirs[4 + i] * (1.1 / DRAWS as f64).sqrt();
        assert!((mean - theirs[i]).abs() < error, "{i}: mean {mean}, theirs {}", theirs[i]);
        // Of a flat distribution, a deviation is as certain as a mean, and more.
        assert!((deviation - theirs[4 + i]).abs() < error, "{i}: deviation {deviation}");
    }
}

#[test]
fn photos_that_no_region_fits_are_cropped_as_by_torchvision() {
    let whole =
        steps([Step::RandomResizedCrop { side: 8, scale: [1.0, 1.0], ratio: [0.75, 4.0 / 3.0] }]);
    let theirs: Vec<u32> = golden(|golden| {
        let numbers =
            golden.tensor("fallback").expect("numbers").data().as_chunks::<4>().0.to_vec();
        numbers.into_iter().map(u32::from_le_bytes).collect()
    });
    for row in theirs.as_chunks::<6>().0 {
        let &[width, height, left, top, w, h] = row;
        let drawn = whole.draw((width, height), sample(0)).expect("a photo");
        assert_eq!(drawn[0], Operation::Crop(rectangle([left, top, w, h])), "{width}x{height}");
    }
}

#[test]
fn color_jitter_draws_within_its_spreads_in_any_order() {
    const EACH: u64 = 100;
    let jitter = Step::ColorJitter { brightness: 0.4, contrast: 2.0, saturation: 0.1, hue: 0.25 };
    let jitter = steps([jitter, Step::Resize { short: 8 }, Step::CenterCrop { side: 8 }]);
    let mut orders: HashMap<String, u64> = HashMap::new();
    let mut halves = [[0; 2]; 4];
    for index in 0..EACH * 24 {
        let mut order = String::new();
        for operation in &jitter.draw((9, 9), sample(index)).expect("a photo")[..4] {
            let (which, factor, [least, most]) = match *operation {
                Operation::Brightness(factor) => (0, factor, [0.6, 1.4]),
                Operation::Contrast(factor) => (1, factor, [0.0, 3.0]),
                Operation::Saturation(factor) => (2, factor, [0.9, 1.1]),
                Operation::Hue(turn) => (3, turn, [-0.25, 0.25]),
                other => panic!("{other:?}"),
            };
            assert!((least..=most).contains(&factor), "{operation:?}");
            halves[which][usize::from(factor > (least + most) / 2.0)] += 1;
            order += &which.to_string();
        }
        *orders.entry(order).or_default() += 1;
    }
    assert_eq!(orders.len(), 24);
    expect_equally_likely("orders", &orders.into_values().collect::<Vec<_>>());
    halves.iter().for_each(|halves| expect_equally_likely("halves of a spread", halves));
    let none = Step::ColorJitter { brightness: 0.0, contrast: 0.0, saturation: 0.0, hue: 0.0 };
    let none = steps([Step::CenterCrop { side: 4 }, none]);
    assert_eq!(none.draw((4, 4), sample(0)).expect("a photo").len(), 1);
}

/// Order and threads change nothing; each of the three numbers of a sample does.
#[test]
fn samples_are_the_same_on_any_number_of_threads() {
    let photos: Vec<RgbImage> = (0..6).map(|n| many_colors(40 + n, 50 - n)).collect();
    let samples: Vec<Sample> = (0..6).map(sample).collect();
    let preset = Preset::imagenet();
    let jitter = Step::ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
    for mut augmentation in
        [Augmentation::alexnet(), Augmentation::vgg(), Augmentation::torchvision()]
    {
        augmentation = augmentation.with_crop(24);
        augmentation.steps.insert(0, jitter.clone());
        let batch = |threads: usize| -> Vec<f32> {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let images =
                pool.install(|| augmentation.batch(&photos, &samples, &preset)).expect("a batch");
            assert_eq!(images.shape, [6, 3, 24, 24]);
            images.values
        };
        let one = batch(1);
        assert!(one == batch(2) && one == batch(5), "{}", augmentation.name);
        let mut backwards: Vec<Vec<f32>> = Vec::new();
        for (photo, &sample) in photos.iter().zip(&samples).rev() {
            let mut values = Vec::new();
            augmentation.values(photo, sample, &preset, &mut values).expect("a photo");
            backwards.insert(0, values);
        }
        assert!(one == backwards.concat(), "{}", augmentation.name);
    }
    let Sample { seed, epoch, index } = sample(1);
    let others = [
        Sample { seed: seed + 1, epoch, index },
        Sample { seed, epoch: epoch + 1, index },
        Sample { seed, epoch, index: index + 1 },
        Sample { seed: index, epoch, index: seed },
    ];
    let drawn = |sample| Augmentation::alexnet().draw((500, 375), sample).expect("a photo");
    assert_eq!(drawn(sample(1)), drawn(sample(1)));
    others.into_iter().for_each(|other| assert_ne!(drawn(other), drawn(sample(1)), "{other:?}"));
}

/// The values are the picture's, mirrored and shifted before they are normalized, and not cut off.
#[test]
fn values_are_the_picture_normalized() {
    let alexnet = Augmentation::alexnet().with_crop(20);
    let photo = many_colors(30, 25);
    for preset in [Preset::imagenet(), Preset::caffe()] {
        for index in 0..8 {
            let mut operations = alexnet.draw(photo.dimensions(), sample(index)).expect("a photo");
            let Some(Operation::Shift(shift)) = operations.pop() else { panic!("{operations:?}") };
            let picture = apply(&photo, &operations).expect("a picture");
            let mut values = vec![9.0];
            alexnet.values(&photo, sample(index), &preset, &mut values).expect("a photo");
            assert_eq!(values.len(), 1 + 3 * 20 * 20);
            for (channel, plane) in values[1..].chunks(20 * 20).enumerate() {
                let color = if preset.name == "caffe" { 2 - channel } else { channel };
                for (value, Rgb(rgb)) in plane.iter().zip(picture.pixels()) {
                    let level = (f32::from(rgb[color]) + shift[color]) / 255.0 * preset.white;
                    let expected = (level - preset.mean[channel]) / preset.std[channel];
                    assert_eq!(*value, expected);
                }
            }
        }
    }
}

/// Pixels `mean + A g`, with `g` of independent signs: their covariance is exactly `A Aᵀ`.
#[test]
fn principal_colors_of_synthetic_photos_are_recovered() {
    /// Levels are whole numbers, so it is not exact.
    const TOLERANCE: f64 = 0.01;
    let axes = [[40.0, 40.0, 40.0], [20.0, -20.0, 0.0], [4.0, 4.0, -8.0]];
    let variances = [3.0 * 1600.0, 2.0 * 400.0, 96.0].map(|variance| variance / 65_025.0);
    let mut state = 1u64;
    let mut sign = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        if state >> 63 == 0 { 1.0 } else { -1.0 }
    };
    let photos: Vec<RgbImage> = (0..20)
        .map(|n| {
            RgbImage::from_fn(100 + n, 150 - n, |_, _| {
                let signs = [sign(), sign(), sign()];
                Rgb(std::array::from_fn(|color| {
                    let sum: f64 = (0..3).map(|i| signs[i] * axes[i][color]).sum();
                    (128.0 + sum).round() as u8
                }))
            })
        })
        .collect();
    let found = ColorPca::from_photos(photos.iter().cloned().map(Ok)).expect("photos");
    found.validate().expect("a covariance");
    for i in 0..3 {
        assert!((found.eigenvalues[i] / variances[i] - 1.0).abs() < TOLERANCE, "{found:?}");
        let length = axes[i].iter().map(|entry| entry * entry).sum::<f64>().sqrt();
        let cosine: f64 = (0..3).map(|c| axes[i][c] / length * found.eigenvectors[i][c]).sum();
        assert!(cosine.abs() > 1.0 - TOLERANCE * TOLERANCE, "{found:?}");
    }
    let mut statistics = ColorStatistics::default();
    photos.iter().for_each(|photo| statistics.add(photo));
    let covariance = statistics.covariance().expect("photos");
    for (i, row) in covariance.iter().enumerate() {
        for (j, value) in row.iter().enumerate() {
            let expected: f64 = axes.iter().map(|axis| axis[i] * axis[j]).sum::<f64>() / 65_025.0;
            assert!((value - expected).abs() < TOLERANCE * expected.abs(), "{i} {j}: {value}");
        }
    }
    let mut merged = ColorStatistics::default();
    for part in photos.rchunks(7) {
        let mut own = ColorStatistics::default();
        part.iter().for_each(|photo| own.add(photo));
        merged.merge(&own);
    }
    assert_eq!(merged, statistics);
}

/// One pixel, grays, one channel: some variances are 0, and the vectors still are a basis.
#[test]
fn photos_without_color_have_principal_colors() {
    let white = RgbImage::from_pixel(1, 1, Rgb([255; 3]));
    let black = RgbImage::new(1, 1);
    let gray = RgbImage::from_fn(300, 3, |x, _| Rgb([x as u8; 3]));
    let red = RgbImage::from_fn(300, 3, |x, _| Rgb([x as u8, 9, 9]));
    let empty = RgbImage::new(0, 3);
    for photos in [vec![white.clone()], vec![white, black], vec![gray, empty.clone()], vec![red]] {
        let colors = ColorPca::from_photos(photos.into_iter().map(Ok)).expect("photos");
        colors.validate().expect("a covariance");
        assert!(colors.eigenvalues[1] < 1e-12, "{colors:?}");
    }
    assert!(matches!(ColorPca::from_photos([Ok(empty)]), Err(Error::Setting { .. })));
    let broken = [decode(b"no picture"), Ok(RgbImage::new(1, 1))];
    assert!(matches!(ColorPca::from_photos(broken), Err(Error::Picture { .. })));
}

/// `[p1, p2, p3] [α1 λ1, α2 λ2, α3 λ3]ᵀ` with α of N(0, 0.1²): its covariance is the sum of
/// `(0.1 λ)² p pᵀ`, its mean is 0, and 68% of it is within a standard deviation.
#[test]
fn shifts_are_the_papers() {
    const DRAWS: u64 = 20_000;
    let colors = ColorPca::imagenet();
    let only_color = steps([Step::CenterCrop { side: 1 }, Step::pca_color()]);
    let shifts: Vec<[f64; 3]> = (0..DRAWS)
        .map(|index| match only_color.draw((1, 1), sample(index)).expect("a photo")[..] {
            [_, Operation::Shift(shift)] => shift.map(f64::from),
            ref other => panic!("{other:?}"),
        })
        .collect();
    let root = (DRAWS as f64).sqrt();
    let deviation = |i: usize| 255.0 * 0.1 * colors.eigenvalues[i];
    for i in 0..3 {
        // Along one component, so that the other two are checked to add nothing to it.
        let along: Vec<f64> = shifts
            .iter()
            .map(|shift| {
                (0..3).map(|c| shift[c] * colors.eigenvectors[i][c]).sum::<f64>() / deviation(i)
            })
            .collect();
        let mean = along.iter().sum::<f64>() / DRAWS as f64;
        let variance = along.iter().map(|x| x * x).sum::<f64>() / DRAWS as f64;
        let within = along.iter().filter(|x| x.abs() < 1.0).count() as f64 / DRAWS as f64;
        assert!(mean.abs() < NORMAL_QUANTILE / root, "{i}: mean {mean}");
        // The published vectors are perpendicular to four digits; the first one is 48 times the last.
        let published = 0.01;
        let error = NORMAL_QUANTILE * 2f64.sqrt() / root + published;
        assert!((variance - 1.0).abs() < error, "{i}: variance {variance}");
        assert!(
            (within - 0.6827).abs() < NORMAL_QUANTILE * 0.466 / root + published,
            "{i}: {within}"
        );
    }
    for (a, b) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)] {
        let found = shifts.iter().map(|shift| shift[a] * shift[b]).sum::<f64>() / DRAWS as f64;
        let expected = |a: usize, b: usize| -> f64 {
            let p = |i: usize| colors.eigenvectors[i][a] * colors.eigenvectors[i][b];
            (0..3).map(|i| deviation(i).powi(2) * p(i)).sum()
        };
        let spread = (expected(a, a) * expected(b, b) + expected(a, b).powi(2)).sqrt();
        let error = NORMAL_QUANTILE * spread / root;
        assert!((found - expected(a, b)).abs() < error, "{a}, {b}: {found}, {}", expected(a, b));
    }
}

#[test]
fn odd_pictures_become_crops() {
    let mut photos: Vec<RgbImage> = std::fs::read_dir(GOLDEN_PICTURES)
        .expect("the pictures")
        .map(|entry| decode_file(entry.expect("an entry").path()).expect("a picture"))
        .collect();
    let deep = image::ImageBuffer::from_fn(5, 4, |x, _| image::Luma([x as u16 * 13_000]));
    let mut png = Cursor::new(Vec::new());
    deep.write_to(&mut png, ImageFormat::Png).expect("memory");
    photos.push(decode(png.get_ref()).expect("16 bits of gray"));
    let sizes = [(1, 1), (1, 3), (700, 3), (1, 30_000), (30_000, 1), (3000, 2000)];
    photos.extend(sizes.map(|(width, height)| many_colors(width, height)));
    let jitter = Step::ColorJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
    for (photo, index) in photos.iter().zip(0..) {
        for mut augmentation in
            [Augmentation::alexnet(), Augmentation::vgg(), Augmentation::torchvision()]
        {
            augmentation.steps.insert(0, jitter.clone());
            let mut values = Vec::new();
            let preset = Preset::imagenet();
            augmentation.values(photo, sample(index), &preset, &mut values).expect("a photo");
            assert_eq!(values.len(), 3 * 224 * 224);
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
    for (width, height) in [(0, 0), (0, 5), (5, 0)] {
        let mut values = vec![1.0];
        let photo = RgbImage::new(width, height);
        let error = Augmentation::vgg()
            .values(&photo, sample(0), &Preset::imagenet(), &mut values)
            .expect_err("no pixels")
            .to_string();
        assert!(error.contains(&format!("{width}x{height}")), "{error}");
        assert_eq!(values, [1.0]);
    }
    let small = steps([Step::RandomCrop { side: 16 }]).draw((20, 15), sample(0));
    assert!(small.expect_err("too small").to_string().contains("20x15"));
}

#[test]
fn settings_out_of_range_are_errors() {
    let region = |scale, ratio| Step::RandomResizedCrop { side: 8, scale, ratio };
    let jitter = |brightness, hue| {
        [
            Step::CenterCrop { side: 8 },
            Step::ColorJitter { brightness, contrast: 0.0, saturation: 0.0, hue },
        ]
    };
    let flip = |probability| [Step::CenterCrop { side: 8 }, Step::HorizontalFlip { probability }];
    let turn = |degrees| [Step::RandomRotation { degrees }, Step::CenterCrop { side: 8 }];
    let color = |sigma, colors| [Step::CenterCrop { side: 8 }, Step::PcaColor { sigma, colors }];
    let imagenet = ColorPca::imagenet();
    let in_levels = ColorPca { eigenvalues: [55.46, 4.794, 1.148], ..imagenet };
    let crooked = ColorPca { eigenvectors: [[1.0, 0.0, 0.0]; 3], ..imagenet };
    let not_a_number = ColorPca { eigenvalues: [f64::NAN, 0.0, 0.0], ..imagenet };
    let wrong: Vec<Augmentation> = vec![
        steps([]),
        steps([Step::Resize { short: 8 }]),
        steps([Step::RandomCrop { side: 8 }, Step::ScaleJitter { shortest: 8, longest: 9 }]),
        steps([Step::Resize { short: 8 }, Step::RandomCrop { side: 9 }]),
        steps([Step::ScaleJitter { shortest: 8, longest: 20 }, Step::CenterCrop { side: 9 }]),
        steps([Step::ScaleJitter { shortest: 20, longest: 8 }, Step::CenterCrop { side: 4 }]),
        steps([Step::CenterCrop { side: 0 }]),
        steps([Step::RandomCrop { side: u32::MAX }]),
        steps([region([0.0, 1.0], [1.0, 1.0])]),
        steps([region([0.5, 0.4], [1.0, 1.0])]),
        steps([region([0.5, 1.5], [1.0, 1.0])]),
        steps([region([f64::NAN, 1.0], [1.0, 1.0])]),
        steps([region([0.5, 1.0], [0.0, 1.0])]),
        steps([region([0.5, 1.0], [1.0, f64::INFINITY])]),
        steps(flip(1.1)),
        steps(flip(f64::NAN)),
        steps(turn(-1.0)),
        steps(turn(180.1)),
        steps(turn(f64::NAN)),
        steps([&color(0.1, imagenet)[..], &turn(1.0)[..1]].concat()),
        steps(jitter(-0.1, 0.0)),
        steps(jitter(f64::INFINITY, 0.0)),
        steps(jitter(0.0, 0.6)),
        steps(color(-0.1, imagenet)),
        steps(color(0.1, in_levels)),
        steps(color(0.1, crooked)),
        steps(color(0.1, not_a_number)),
        steps([&color(0.1, imagenet)[..], &jitter(0.1, 0.1)[1..]].concat()),
        Augmentation::alexnet().with_crop(0),
        Augmentation::alexnet().with_crop(u32::MAX),
    ];
    let photo = RgbImage::new(9, 9);
    for augmentation in wrong {
        assert!(matches!(augmentation.validate(), Err(Error::Setting { .. })), "{augmentation:?}");
        assert!(augmentation.draw((9, 9), sample(0)).is_err(), "{augmentation:?}");
        assert!(augmentation.picture(&photo, sample(0)).is_err(), "{augmentation:?}");
    }
    let operations = [
        Operation::Crop(rectangle([0, 0, 10, 9])),
        Operation::Crop(rectangle([9, 0, 1, 1])),
        Operation::Crop(rectangle([u32::MAX, 0, 1, 1])),
        Operation::Crop(rectangle([0, 0, 0, 1])),
        Operation::Resize { width: 0, height: 4 },
        Operation::Resize { width: u32::MAX, height: u32::MAX },
        Operation::Resize { width: 1 << 13, height: 1 << 12 },
        Operation::Rotate(f64::INFINITY),
        Operation::Brightness(-1.0),
        Operation::Contrast(f64::NAN),
        Operation::Saturation(f64::MAX),
        Operation::Hue(0.51),
        Operation::Shift([0.0, f32::NAN, 0.0]),
    ];
    for operation in operations {
        assert!(apply(&photo, &[operation]).is_err(), "{operation:?}");
    }
    let preset = Preset::imagenet();
    let batch = |photos: &[RgbImage], samples: &[Sample], preset: &Preset| {
        Augmentation::torchvision().batch(photos, samples, preset).map(drop)
    };
    let photos = [photo];
    assert!(matches!(batch(&[], &[], &preset), Err(Error::Setting { .. })));
    assert!(matches!(batch(&photos, &[], &preset), Err(Error::Setting { .. })));
    let broken = Preset { std: [0.0; 3], ..preset };
    assert!(matches!(batch(&photos, &[sample(0)], &broken), Err(Error::Setting { .. })));
}

/// A training run that is resumed with a later version of this library draws the same samples.
#[test]
fn samples_do_not_change_between_versions() {
    let sample = Sample { seed: 1, epoch: 2, index: 3 };
    let drawn = Augmentation::alexnet().draw((500, 375), sample).expect("a photo");
    let [resize, middle, crop, flip, Operation::Shift(shift)] = drawn[..] else {
        panic!("{drawn:?}")
    };
    assert_eq!(resize, Operation::Resize { width: 341, height: 256 });
    assert_eq!(middle, Operation::Crop(rectangle([42, 0, 256, 256])));
    assert_eq!(crop, Operation::Crop(rectangle([26, 32, 224, 224])));
    assert_eq!(flip, Operation::HorizontalFlip);
    // Logarithms are the system's.
    const LEVELS: f32 = 1e-4;
    for (ours, expected) in shift.iter().zip([-0.273_369, -0.624_553, -0.433_826]) {
        assert!((ours - expected).abs() < LEVELS, "{shift:?}");
    }
}

#[test]
fn presets_are_data() {
    for name in ["alexnet", "vgg", "torchvision"] {
        let augmentation = Augmentation::by_name(name).expect("a preset");
        assert_eq!((augmentation.name.as_str(), augmentation.crop().expect("valid")), (name, 224));
        let json = serde_json::to_string(&augmentation).expect("data");
        assert_eq!(serde_json::from_str::<Augmentation>(&json).expect("data"), augmentation);
        for side in [1, 28, 64, 227, 1024] {
            assert_eq!(augmentation.clone().with_crop(side).crop().expect("valid"), side);
        }
    }
    assert!(Augmentation::by_name("alexnett").expect_err("a typo").to_string().contains("vgg"));
    let small = Augmentation::alexnet().with_crop(64);
    assert_eq!(small.steps[0], Step::Resize { short: 73 });
    let single = Augmentation::vgg_single_scale(384);
    assert_eq!(
        single.draw((500, 400), sample(0)).expect("a photo")[0],
        Operation::Resize { width: 480, height: 384 }
    );
    let own = ColorPca { eigenvalues: [0.1, 0.01, 0.001], ..ColorPca::imagenet() };
    let swapped = Augmentation::vgg().with_color_pca(own);
    assert!(swapped.steps.contains(&Step::PcaColor { sigma: 0.1, colors: own }));
}
