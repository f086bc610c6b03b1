//! Pictures that a network misclassified, on a contact sheet.

use crate::Result;
use crate::vision::{Captioned, ContactSheet, RgbImage, decode_file};
use std::path::PathBuf;

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
    /// A contact sheet of mistakes in order, about as many rows as columns, each with its actual and predicted class.
    /// Only one picture is in memory at a time.
    ///
    /// # Errors
    /// As for [`decode_file`], and as for [`ContactSheet::push`].
    pub fn sheet(mistakes: &[Self]) -> Result<RgbImage> {
        let columns = (mistakes.len() as f64).sqrt().ceil().max(1.0) as usize;
        let mut sheet = ContactSheet::default();
        for row in mistakes.chunks(columns) {
            sheet.push(row.iter().map(Self::captioned).collect::<Result<_>>()?)?;
        }
        Ok(sheet.draw())
    }

    fn captioned(&self) -> Result<Captioned> {
        let caption = [
            format!("is {}", self.actual),
            format!("said {}", self.predicted),
            format!("{:.1} %", 100.0 * self.probability),
        ];
        Captioned::new(&decode_file(&self.file)?, caption)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn mistakes_are_shown_with_their_captions() {
        const RED: Rgb<u8> = Rgb([200, 0, 0]);
        let folder = tempfile::tempdir().expect("a folder");
        let mistake = |side: u32| {
            let file = folder.path().join(format!("{side}.png"));
            RgbImage::from_pixel(side, 2 * side, RED).save(&file).expect("a writable folder");
            let (actual, predicted) = ("a tabby cat of some renown".into(), "Egyptian cat".into());
            Mistake { file, actual, predicted, probability: 0.97 }
        };
        let sheet = Mistake::sheet(&[5, 300, 40].map(mistake)).expect("pictures");
        assert_eq!(sheet.dimensions(), (8 + 2 * 232, 8 + 2 * (232 + 60)));
        // The pictures are half as wide as high, in the middle of their cells, with captions below.
        assert_eq!(*sheet.get_pixel(8 + 112, 8 + 223), RED);
        assert_eq!(*sheet.get_pixel(8 + 50, 8 + 112), Rgb([255; 3]));
        let caption = sheet.enumerate_pixels().filter(|(x, y, pixel)| {
            *x < 232 && (8 + 224..8 + 224 + 60).contains(y) && pixel.0 == [0; 3]
        });
        assert!(caption.count() > 300);
        assert_eq!(Mistake::sheet(&[]).expect("nothing").dimensions(), (8, 8));
        let missing = Mistake { file: "no such picture.png".into(), ..mistake(5) };
        assert!(Mistake::sheet(&[missing]).is_err());
    }
}
