//! Pictures that a network misclassified, as a page for a browser.

use super::svg::save;
use crate::vision::{decode_file, thumbnail};
use crate::{Error, Result};
use base64::prelude::{BASE64_STANDARD, Engine};
use image::ImageFormat;
use std::fmt::Write;
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// Longer side of a picture on the page, in pixels.
const SIDE: u32 = 224;
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>Misclassified pictures</title>
<style>
body { display: flex; flex-wrap: wrap; gap: 16px; font-family: sans-serif; }
figure { width: 224px; margin: 0; overflow-wrap: anywhere; }
</style>
"#;

/// A misclassified picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// The file of the picture.
    pub file: PathBuf,
    /// The actual class.
    pub actual: String,
    /// The predicted class.
    pub predicted: String,
    /// The predicted probability of that class, 0 to 1.
    pub probability: f32,
}

impl Mistake {
    /// An HTML page of mistakes in order, each with its actual and predicted class. It holds the pictures itself,
    /// resized to a longer side of 224 pixels. Only one picture is decoded at a time.
    ///
    /// # Errors
    /// As for [`decode_file`].
    pub fn page(mistakes: &[Self]) -> Result<String> {
        let mut page = String::from(HEAD);
        for mistake in mistakes {
            page.push_str(&mistake.figure()?);
        }
        Ok(page)
    }

    /// Writes the [`page`](Self::page) into a file, which is replaced in one step.
    ///
    /// # Errors
    /// As for [`page`](Self::page); [`Error::Io`] if the file cannot be written.
    pub fn save_page(mistakes: &[Self], path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), &Self::page(mistakes)?)
    }

    fn figure(&self) -> Result<String> {
        let picture = thumbnail(&decode_file(&self.file)?, SIDE)?;
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png).map_err(|error| Error::Picture {
            place: self.file.display().to_string(),
            expected: "a picture that can be written as PNG".into(),
            found: error.to_string(),
        })?;
        let mut figure = String::new();
        let [file, actual, predicted] =
            [&self.file.display().to_string(), &self.actual, &self.predicted].map(|it| escape(it));
        // Writing to a string cannot fail.
        let _ = writeln!(
            figure,
            "<figure><img src=\"data:image/png;base64,{}\" title=\"{file}\" alt=\"{file}\">\
             <figcaption>is <b>{actual}</b>, predicted <b>{predicted}</b> ({:.1}%)</figcaption></figure>",
            BASE64_STANDARD.encode(png.into_inner()),
            100.0 * self.probability
        );
        Ok(figure)
    }
}

/// Text that is text in HTML, also within quotes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::{RgbImage, decode};
    use image::Rgb;

    #[test]
    fn mistakes_are_shown_with_their_captions() {
        const RED: Rgb<u8> = Rgb([200, 0, 0]);
        let folder = tempfile::tempdir().expect("a folder");
        let mistake = |side: u32| {
            let file = folder.path().join(format!("{side}.png"));
            RgbImage::from_pixel(side, 2 * side, RED).save(&file).expect("a writable folder");
            let (actual, predicted) = ("a <tabby> & \"friends\"".into(), "Ägyptische Katze".into());
            Mistake { file, actual, predicted, probability: 0.97 }
        };
        let page = Mistake::page(&[5, 300, 40].map(mistake)).expect("pictures");
        assert_eq!(page.matches("<figure>").count(), 3);
        let caption = "is <b>a &lt;tabby&gt; &amp; &quot;friends&quot;</b>, \
                       predicted <b>Ägyptische Katze</b> (97.0%)";
        assert_eq!(page.matches(caption).count(), 3, "{page}");
        for encoded in page.split("base64,").skip(1) {
            let encoded = encoded.split('"').next().expect("the first part");
            let picture = decode(&BASE64_STANDARD.decode(encoded).expect("base64"));
            let picture = picture.expect("a picture");
            assert_eq!(picture.dimensions(), (112, 224));
            assert!(picture.pixels().all(|pixel| *pixel == RED));
        }
        assert_eq!(Mistake::page(&[]).expect("nothing"), HEAD);
        let missing = Mistake { file: "no such picture.png".into(), ..mistake(5) };
        assert!(Mistake::page(&[missing]).is_err());
    }
}
