//! Which files are photos, by their names.

use alexnet_vgg_core::vision::photo_files::{LeftOut, is_hidden, is_photo};
use std::ffi::OsStr;

#[test]
fn photos_are_told_from_what_is_beside_them() {
    for photo in ["a.jpg", "a.JPEG", "a.jpe", "b/a.jfif", "a.b.Png", "a.webp", "a.TIF", "a.ppm"] {
        assert!(is_photo(photo), "{photo}");
    }
    for other in ["a", "a.heic", "a.avif", "a.txt", "jpg", "a.jpg.part", "a.png/b"] {
        assert!(!is_photo(other), "{other}");
    }
    for hidden in [".DS_Store", "._a.png", ".ipynb_checkpoints", "__MACOSX", "THUMBS.DB"] {
        assert!(is_hidden(OsStr::new(hidden)), "{hidden}");
    }
    assert!(!is_hidden(OsStr::new("a.png")) && !is_hidden(OsStr::new("_a")));
}

#[test]
fn files_that_are_left_out_are_counted_by_extension() {
    let mut left_out = LeftOut::default();
    assert!(left_out.is_empty());
    ["a.HEIC", "b.heic", "readme", "x.txt"].iter().for_each(|file| left_out.add(file));
    assert_eq!(
        left_out.to_string(),
        "left out 1 without an extension, 2 .heic (convert them to JPEG), 1 .txt; supported: JPEG, PNG, WebP, GIF, \
         BMP, TIFF and PNM"
    );
}
