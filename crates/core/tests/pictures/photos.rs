//! Decoding and preprocessing against Pillow and torchvision (tests/golden/photos.py), and files that are
//! no pictures.

use crate::{GOLDEN_PICTURES, PHOTOS, golden_picture, photo};
use alexnet_vgg_core::Error;
use alexnet_vgg_core::vision::{Preset, RgbImage, decode, decode_file, imagenet_labels};
use safetensors::SafeTensors;
use std::path::Path;

/// Where decoding is exact, so is all that follows: resizing has Pillow's weights in Pillow's integers.
const EXACT: u8 = 0;
/// The JPEG standard leaves the inverse transform's rounding and the interpolation of subsampled
/// color to the decoder; `image`'s and libjpeg-turbo differ by up to 4 levels at color edges ...
const JPEG_LEVELS: u8 = 4;
/// ... but hardly anywhere by more than one. Measured: 0.951 on an 80x60 picture enlarged fourfold,
/// more on photos.
const JPEG_SHARE_WITHIN_ONE: f64 = 0.95;
/// On pictures of a few pixels, which are all edges. Measured: 5.
const SMALL_JPEG_LEVELS: u8 = 6;

/// Largest difference in levels of 255, and the share of values that differ by at most one.
fn difference(ours: &[u8], theirs: &[u8]) -> (u8, f64) {
    assert_eq!(ours.len(), theirs.len());
    let differences: Vec<u8> = ours.iter().zip(theirs).map(|(a, b)| a.abs_diff(*b)).collect();
    let within_one = differences.iter().filter(|&&d| d <= 1).count();
    (differences.iter().copied().max().unwrap_or(0), within_one as f64 / ours.len() as f64)
}

fn expect_close(name: &str, ours: &[u8], theirs: &[u8]) {
    let (largest, within_one) = difference(ours, theirs);
    let allowed = if name.ends_with(".jpg") { JPEG_LEVELS } else { EXACT };
    assert!(largest <= allowed, "{name}: differs by {largest} levels");
    assert!(within_one >= JPEG_SHARE_WITHIN_ONE, "{name}: only {within_one:.4} within one level");
}

fn pixels(path: &Path) -> RgbImage {
    Preset::imagenet().pixels(&decode_file(path).expect("a picture")).expect("a usual shape")
}

#[test]
fn pixels_equal_pillows_and_torchvisions() {
    let golden = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/photos.safetensors"
    ));
    let golden = SafeTensors::deserialize(golden).expect("the fixture");
    assert_eq!(golden.len(), 10);
    for (name, theirs) in golden.iter() {
        let path = if photo(name).exists() { photo(name) } else { golden_picture(name) };
        expect_close(name, pixels(&path).as_raw(), theirs.data());
    }
}

#[test]
fn shared_photos_equal_pillows() {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/photos");
    if !shared.exists() {
        return eprintln!("skipped: there is no {}", shared.display());
    }
    let golden = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/shared_photos.safetensors"
    ));
    let golden = SafeTensors::deserialize(golden).expect("the fixture");
    for (name, theirs) in golden.iter() {
        let ours: Vec<u8> = pixels(&shared.join(name)).iter().copied().step_by(97).collect();
        expect_close(name, &ours, theirs.data());
    }
}

/// Files as tests/golden/odd_files.py describes them, and their pixels.
fn odd_files() -> SafeTensors<'static> {
    let golden = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/odd_files.safetensors"
    ));
    SafeTensors::deserialize(golden).expect("the fixture")
}

fn expect_equals_pillows(golden: &SafeTensors, count: usize) {
    let cases: Vec<&str> =
        golden.names().iter().filter_map(|it| it.strip_suffix("/file")).collect();
    assert_eq!(cases.len(), count);
    for case in cases {
        let tensor = |what: &str| golden.tensor(&format!("{case}/{what}")).expect("in the fixture");
        let ours = decode(tensor("file").data()).unwrap_or_else(|error| panic!("{case}: {error}"));
        let pixels = tensor("pixels");
        let size = [ours.height() as usize, ours.width() as usize, 3];
        assert_eq!(size, pixels.shape(), "{case}");
        let (largest, _) = difference(ours.as_raw(), pixels.data());
        let allowed = if case.starts_with("jpeg") { SMALL_JPEG_LEVELS } else { EXACT };
        assert!(largest <= allowed, "{case}: differs by {largest} levels");
    }
}

/// JPEGs of every sampling and order of scans, with and without restarts, from libjpeg-turbo's cjpeg; and orientations
/// wherever cameras and programs write them (tests/golden/odd_files.py).
#[test]
fn unusual_files_equal_pillows() {
    expect_equals_pillows(&odd_files(), 44 + 26);
}

/// TIFFs of all kinds, GIFs of a part of the screen, and files that end in an unusual way
/// (tests/golden/odd_pictures.py).
#[test]
fn pictures_as_people_have_them_equal_pillows() {
    let golden = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/golden/odd_pictures.safetensors"
    ));
    let golden = SafeTensors::deserialize(golden).expect("the fixture");
    expect_equals_pillows(&golden, 39);
    for (case, tensor) in golden.iter().filter(|(name, _)| name.ends_with("/file")) {
        let whole = tensor.data();
        for at in 0..whole.len() {
            let _ = decode(&whole[..at]);
            let mut damaged = whole.to_vec();
            damaged[at] ^= 0xff;
            if let Ok(image) = decode(&damaged) {
                assert!(image.width() > 0, "{case}");
            }
        }
    }
}

/// Floats and integers on no scale that a picture has.
#[test]
fn tiffs_of_unknown_scales_are_refused() {
    let floats = |numbers: [f32; 4]| {
        let mut tiff = b"II*\0\x08\0\0\0\x07\0".to_vec();
        let tags = [(256, 2), (257, 2), (258, 32), (262, 1), (273, 98), (279, 16), (339, 3)];
        for (tag, value) in
            tags.map(|(tag, value): (u16, u32)| (tag.to_le_bytes(), value.to_le_bytes()))
        {
            tiff.extend([&tag[..], &[4, 0, 1, 0, 0, 0], &value].concat());
        }
        tiff.extend([0; 4]);
        tiff.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        decode(&tiff).map(|image| image.get_pixel(1, 1).0[0]).map_err(|error| error.to_string())
    };
    assert_eq!(floats([0.0, 0.25, 1.0, 0.5]), Ok(128));
    assert_eq!(floats([0.0, 0.25, 16.0, 0.5]), Ok(1));
    for wrong in
        [[0.0, 1.5, 0.0, 0.0], [0.0, 300.0, 0.0, 0.0], [-0.1, 1.0, 0.0, 0.0], [f32::NAN; 4]]
    {
        let error = floats(wrong).expect_err("no levels");
        assert!(error.contains("0 to 1 nor 0 to 255"), "{error}");
    }
}

/// Of damage that a decoder would pass over, each in its own way.
#[test]
fn damaged_jpegs_are_refused() {
    let golden = odd_files();
    for kind in ["jpeg 1x1 one", "jpeg 2x2 progressive", "jpeg 1x1 three"] {
        let names = golden.names();
        let name = names.iter().find(|name| name.starts_with(kind) && name.ends_with("/file"));
        let whole = golden.tensor(name.expect("a case")).expect("a tensor").data();
        let scan = whole.windows(2).position(|pair| pair == [0xff, 0xda]).expect("a scan") + 14;
        for (what, damaged) in [
            ("without its second half", [&whole[..scan + 60], &[0xff, 0xd9]].concat()),
            ("without its end", whole[..whole.len() - 12].to_vec()),
        ] {
            let error = decode(&damaged).expect_err("damage").to_string();
            let is_named = error.contains("a damaged JPEG") || error.contains("a truncated JPEG");
            assert!(is_named && error.contains("download it again"), "{kind} {what}: {error}");
        }
        // The rest is read alike by all decoders, for all that they can know.
        let refused = |at: &usize| {
            let mut damaged = whole.to_vec();
            damaged[*at] ^= 0x10;
            decode(&damaged).is_err()
        };
        let share =
            (scan..whole.len()).filter(refused).count() as f64 / (whole.len() - scan) as f64;
        assert!(share > 0.25, "{kind}: {share} of single bits are noticed");
    }
}

/// What nobody here decodes is refused by its name.
#[test]
fn jpegs_of_other_processes_are_refused_by_name() {
    let whole = std::fs::read(photo("cat.jpg")).expect("the photo");
    let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).expect("a baseline frame");
    for (at, value, name) in [
        (1, 0xc9, "arithmetic"),
        (1, 0xca, "arithmetic"),
        (1, 0xc3, "lossless"),
        (1, 0xc5, "hierarchical"),
        (4, 12, "more than 8 bits"),
    ] {
        let mut other = whole.clone();
        other[frame + at] = value;
        let error = decode(&other).expect_err("another process").to_string();
        let way_out = if name == "arithmetic" { "jpegtran" } else { "image editor" };
        assert!(error.contains(name) && error.contains(way_out), "{error}");
    }
    // A hierarchical file begins with DHP.
    let dhp = [&whole[..2], &[0xff, 0xde, 0, 2], &whole[2..]].concat();
    let error = decode(&dhp).expect_err("another process").to_string();
    assert!(error.contains("hierarchical"), "{error}");
}

/// A kilobyte whose header claims gigapixels, for the decoder that counts late.
#[test]
fn an_unusual_jpeg_of_a_huge_size_costs_nothing() {
    let golden = odd_files();
    for kind in ["jpeg 3x1 one", "jpeg 3x1 progressive", "jpeg 2x2 three"] {
        let names = golden.names();
        let name = names.iter().find(|name| name.starts_with(kind) && name.ends_with("/file"));
        let mut file = golden.tensor(name.expect("a case")).expect("a tensor").data().to_vec();
        let frame = file.windows(2).position(|it| matches!(it, [0xff, 0xc0..=0xc2]));
        let frame = frame.expect("a frame");
        for (size, found) in [([40_000u16; 2], "MiB"), ([60_000, 16], "60000x16 pixels")] {
            file[frame + 5..][..2].copy_from_slice(&size[1].to_be_bytes());
            file[frame + 7..][..2].copy_from_slice(&size[0].to_be_bytes());
            let error = decode(&file).expect_err("too large").to_string();
            assert!(error.contains(found), "{kind}: {error}");
        }
        // The same size in a frame that only one of two readers sees, in what may be a segment of marker 0.
        let length = (file.len() as u16).to_be_bytes();
        let small = golden.tensor(name.expect("a case")).expect("a tensor").data();
        let hidden = [&[0xff, 0xd8, 0xff, 0], &length[..], &file[2..], &small[2..]].concat();
        assert!(decode(&hidden).is_err(), "{kind}");
        // As many scans as a megabyte has room for.
        let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xd0..=0xd7 | 0xff);
        let scan = small.windows(2).position(|pair| pair == [0xff, 0xda]).expect("a scan");
        let length = small[scan + 2..].windows(2).position(is_marker).expect("an end") + 2;
        let (before, rest) = small.split_at(scan);
        let many = [before, &rest[..length].repeat(101), &rest[length..]].concat();
        if kind.ends_with("progressive") {
            let error = decode(&many).expect_err("scans").to_string();
            assert!(error.contains("more than 100 scans"), "{kind}: {error}");
        }
    }
}

#[test]
fn presets_normalize_as_published() {
    // A picture whose pixels are all (51, 102, 204) is so after resizing too.
    let plain = RgbImage::from_pixel(300, 256, image::Rgb([51, 102, 204]));
    let first = |preset: Preset| {
        let batch = preset.batch(std::slice::from_ref(&plain)).expect("a batch");
        assert_eq!(batch.shape, [1, 3, 224, 224]);
        [batch.values[0], batch.values[224 * 224], batch.values[2 * 224 * 224 + 5]]
    };
    let close = |ours: [f32; 3], theirs: [f32; 3]| {
        ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 2e-5)
    };
    let imagenet = [(0.2 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0.8 - 0.406) / 0.225];
    assert!(close(first(Preset::imagenet()), imagenet));
    let caffe = [204.0 - 103.939, 102.0 - 116.779, 51.0 - 123.68];
    assert!(close(first(Preset::caffe()), caffe), "{:?}", first(Preset::caffe()));
}

#[test]
fn what_is_no_picture_is_an_error_that_says_so() {
    let whole = std::fs::read(photo("cat.jpg")).expect("the photo");
    let png = std::fs::read(golden_picture("alpha.png")).expect("the picture");
    let empty_gif = b"GIF89a\0\0\0\0\0\0\0;";
    let cases: [(&str, &[u8]); 17] = [
        ("an empty file", b""),
        ("format could not be determined", b"this is a text, and not a picture at all"),
        ("a truncated JPEG", &whole[..whole.len() / 2]),
        ("unexpected end of file", &png[..png.len() / 2]),
        ("a truncated JPEG", &whole[..100]),
        ("Unexpected End of File", empty_gif),
        ("nothing but zeros", &[0; 1000]),
        ("a HEIC photo; convert", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"),
        ("an AVIF picture; convert", b"\0\0\0\x1cftypavif\0\0\0\0mif1avif"),
        ("a film", b"\0\0\0\x18ftypisom\0\0\0\0"),
        ("a JPEG XL picture", b"\0\0\0\x0cJXL \r\n\x87\n"),
        ("a JPEG 2000 picture", b"\0\0\0\x0cjP  \r\n\x87\n"),
        ("a PDF", b"%PDF-1.7"),
        ("a Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        ("a web page", b"\n <!DOCTYPE html><html><head>"),
        ("an SVG drawing", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
        ("a ZIP archive", b"PK\x03\x04\x14\0"),
    ];
    for (what, bytes) in cases {
        match decode(bytes) {
            Err(Error::Picture { found, .. }) => assert!(found.contains(what), "{what}: {found}"),
            other => panic!("{what}: {:?}", other.map(|picture| picture.dimensions())),
        }
    }
    assert!(matches!(decode_file("no such file.jpg"), Err(Error::Io { .. })));
    assert!(matches!(decode_file(PHOTOS), Err(Error::Picture { .. })));
}

/// Phones append videos to JPEGs, in which any pair of bytes may occur.
#[test]
fn bytes_after_a_whole_jpeg_are_ignored() {
    let whole = std::fs::read(photo("cat.jpg")).expect("the photo");
    let motion = [&whole[..], b"film \xff\xda more \xff\xd8\xff\xe0"].concat();
    assert_eq!(decode(&motion).expect("a photo"), decode(&whole).expect("a photo"));
}

/// A WebP whose metadata claim 3.75 GiB, which its decoder would reserve.
#[test]
fn a_chunk_longer_than_its_file_costs_nothing() {
    let chunk =
        |name: &[u8], length: u32, data: &[u8]| [name, &length.to_le_bytes(), data].concat();
    let canvas = chunk(b"VP8X", 10, &[8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let picture = chunk(b"VP8L", 8, &[0x2f, 0, 0, 0, 0, 0, 0, 0]);
    let metadata = chunk(b"EXIF", 0xf000_0000, b"II*\0");
    let body = [b"WEBP", &canvas[..], &picture, &metadata].concat();
    let webp = chunk(b"RIFF", body.len() as u32, &body);
    let error = decode(&webp).expect_err("a lie").to_string();
    assert!(error.contains("longer than the file"), "{error}");
}

#[test]
fn truncated_or_damaged_files_never_panic() {
    for entry in std::fs::read_dir(GOLDEN_PICTURES).expect("the pictures") {
        let whole = std::fs::read(entry.expect("an entry").path()).expect("a picture");
        for cut in (0..whole.len()).step_by(1 + whole.len() / 60) {
            let _ = decode(&whole[..cut]);
            let mut damaged = whole.clone();
            damaged[cut] ^= 0xff;
            let _ = decode(&damaged);
        }
    }
}

#[test]
fn a_header_that_promises_gigapixels_costs_nothing() {
    // A PNG header of 49,999 x 49,999 pixels with a valid checksum, and no pixels.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend(49_999u32.to_be_bytes());
    png.extend(49_999u32.to_be_bytes());
    png.extend([8, 2, 0, 0, 0]);
    png.extend(crc32(&png[12..]).to_be_bytes());
    png.extend(b"\0\0\0\0IDAT");
    let start = std::time::Instant::now();
    let error = decode(&png).expect_err("too large").to_string();
    assert!(error.contains("imit"), "{error}");
    assert!(start.elapsed().as_millis() < 1000);
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn extreme_shapes() {
    let preset = Preset::imagenet();
    for (width, height) in [(1, 1), (1, 3), (3, 700), (257, 256), (250, 1)] {
        let pixels = preset.pixels(&RgbImage::new(width, height)).expect("a picture");
        assert_eq!(pixels.dimensions(), (224, 224), "{width}x{height}");
    }
    for (width, height) in [(30_000, 1), (1, 30_000), (1000, 1), (0, 0), (0, 5)] {
        let error =
            preset.pixels(&RgbImage::new(width, height)).expect_err("too narrow").to_string();
        assert!(error.contains(&format!("{width}x{height}")), "{error}");
    }
    let photo = RgbImage::new(9, 9);
    for wrong in [
        Preset { crop: 300, ..preset.clone() },
        Preset { crop: 0, ..preset.clone() },
        Preset { resize: u32::MAX, crop: u32::MAX, ..preset.clone() },
        Preset { resize: 1 << 31, crop: 1, ..preset.clone() },
        Preset { std: [1.0, 0.0, 1.0], ..preset.clone() },
        Preset { mean: [f32::NAN, 0.0, 1.0], ..preset.clone() },
    ] {
        assert!(matches!(wrong.pixels(&photo), Err(Error::Setting { .. })), "{wrong:?}");
        let batch = wrong.batch(std::slice::from_ref(&photo));
        assert!(matches!(batch, Err(Error::Setting { .. })), "{wrong:?}");
    }
}

#[test]
fn labels_are_imagenets() {
    let labels = imagenet_labels();
    assert_eq!(labels.len(), 1000);
    assert_eq!((labels[0], labels[281], labels[999]), ("tench", "tabby", "toilet tissue"));
}
