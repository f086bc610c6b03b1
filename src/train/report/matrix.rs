//! A confusion as a picture.

use super::Confusion;
use super::chart::{INK, PAPER};
use super::strokes::mixed;
use super::ticks::{number, ticks};
use crate::vision::{RgbImage, lettering};
use image::{Rgb, imageops};

/// Of the whole matrix, about, in pixels.
const SIDE: u32 = 1000;
const LARGEST_CELL: u32 = 64;
const GAP: u32 = 8;
/// For the names of the classes, at most.
const WIDEST_NAME: u32 = 220;
const RIGHT: Rgb<u8> = Rgb([0, 90, 160]);
const WRONG: Rgb<u8> = Rgb([200, 60, 0]);
const FRAME: Rgb<u8> = Rgb([190; 3]);
/// Parts of a class that the legend shows.
const SHOWN: [f64; 6] = [0.0, 0.01, 0.1, 0.25, 0.5, 1.0];

impl Confusion {
    /// The matrix, a row for each class as it is, a column for what the network said: blue where that
    /// is right, red where it is not, the darker the larger the part of the row's examples, by its
    /// square root, so that one in a hundred still shows. Names and counts are written where there is
    /// room; of more than 1000 classes several share a pixel.
    pub fn picture(&self) -> RgbImage {
        let layout = Layout::new(self);
        let mut canvas = RgbImage::from_pixel(layout.width(), layout.height(), PAPER);
        layout.cells(&mut canvas, self);
        match layout.letter {
            Some(letter) => layout.names(&mut canvas, self, letter),
            None => layout.numbers(&mut canvas),
        }
        layout.legend(&mut canvas, self);
        canvas
    }
}

/// Where things are.
struct Layout {
    /// Classes of a cell along each side, and cells along each side.
    together: usize,
    cells: u32,
    /// Pixels of a cell.
    cell: u32,
    /// Pixels for each dot of a name, if there is room for names.
    letter: Option<u32>,
    /// Pixels left of the matrix and above it.
    margin: u32,
}

impl Layout {
    fn new(confusion: &Confusion) -> Self {
        let classes = confusion.classes().max(1);
        let together = classes.div_ceil(SIDE as usize);
        let cells = classes.div_ceil(together) as u32;
        let cell = (SIDE / cells).clamp(1, LARGEST_CELL);
        let letter = [2, 1].into_iter().find(|&letter| lettering::height(letter) + 2 <= cell);
        let names = confusion.labels().names().iter();
        let widest = match letter {
            Some(letter) => names.map(|name| lettering::width(name, letter)).max().unwrap_or(0),
            None => lettering::width("10000", 2),
        };
        let margin = widest.min(WIDEST_NAME) + 2 * GAP;
        Self { together, cells, cell, letter, margin }
    }

    fn side(&self) -> u32 {
        self.cells * self.cell
    }

    /// With room for the legend, which is wider than a small matrix.
    fn width(&self) -> u32 {
        (self.margin + self.side() + 2 * GAP).max(520)
    }

    fn height(&self) -> u32 {
        self.margin + self.side() + 6 * lettering::height(2)
    }

    fn corner(&self, row: u32, column: u32) -> [u32; 2] {
        [self.margin + column * self.cell, self.margin + row * self.cell]
    }

    fn cells(&self, canvas: &mut RgbImage, confusion: &Confusion) {
        let [left, top] = self.corner(0, 0);
        lettering::fill(canvas, [left - 1, top - 1], [self.side() + 2; 2], FRAME);
        lettering::fill(canvas, [left, top], [self.side(); 2], PAPER);
        let of = confusion.per_class();
        for (actual, predicted, count) in confusion.counts() {
            let share = count as f64 / of[actual].count as f64;
            let [row, column] = [actual, predicted].map(|class| (class / self.together) as u32);
            let [x, y] = self.corner(row, column);
            let color = color(share, actual == predicted);
            // Of several classes in a cell, the darkest.
            if color.0 < canvas.get_pixel(x, y).0 || self.together == 1 {
                lettering::fill(canvas, [x, y], [self.cell; 2], color);
            }
            self.count(canvas, [x, y], &count.to_string(), share);
        }
    }

    /// In the middle of a cell, if it is in there with room around it.
    fn count(&self, canvas: &mut RgbImage, [x, y]: [u32; 2], text: &str, share: f64) {
        let fits = |&letter: &u32| {
            lettering::width(text, letter) + 4 <= self.cell
                && lettering::height(letter) + 6 <= self.cell
        };
        if let Some(letter) = [2, 1].into_iter().find(fits) {
            let ink = if share.sqrt() > 0.5 { PAPER } else { INK };
            let left = x + (self.cell - lettering::width(text, letter)) / 2;
            let above = y + (self.cell - 7 * letter) / 2;
            lettering::write(canvas, text, [left, above], letter, ink);
        }
    }

    /// Of the classes, at the rows, and at the columns from below to above.
    fn names(&self, canvas: &mut RgbImage, confusion: &Confusion, letter: u32) {
        let room = self.margin - 2 * GAP;
        let above = (self.cell - 7 * letter) / 2;
        for (class, name) in (0..).zip(confusion.labels().names()) {
            let name = lettering::cut(name, room, letter);
            let width = lettering::width(&name, letter);
            let [x, y] = self.corner(class, class);
            let place = [self.margin - GAP - width, y + above];
            lettering::write(canvas, &name, place, letter, INK);
            let mut lying = RgbImage::from_pixel(width.max(1), lettering::height(letter), PAPER);
            lettering::write(&mut lying, &name, [0, 0], letter, INK);
            let (x, y) = (x + above, self.margin - GAP - lying.width());
            imageops::replace(canvas, &imageops::rotate270(&lying), x.into(), y.into());
        }
    }

    /// Of some classes, where there are too many for names.
    fn numbers(&self, canvas: &mut RgbImage) {
        let classes = f64::from(self.cells) * self.together as f64;
        for class in ticks(0.0, classes - 1.0, 10, 1.0) {
            let text = number(class);
            let width = lettering::width(&text, 2);
            let [x, y] = self.corner((class / self.together as f64) as u32, 0);
            lettering::fill(canvas, [self.margin - GAP, y], [GAP - 1, 1], INK);
            let place = [self.margin - 2 * GAP - width, y.saturating_sub(7)];
            lettering::write(canvas, &text, place, 2, INK);
            let along = x + y - self.margin;
            lettering::fill(canvas, [along, self.margin - GAP], [1, GAP - 1], INK);
            let place = [along.saturating_sub(width / 2), self.margin - 2 * GAP - 16];
            lettering::write(canvas, &text, place, 2, INK);
        }
    }

    /// What rows, columns and colors mean.
    fn legend(&self, canvas: &mut RgbImage, confusion: &Confusion) {
        let line = lettering::height(2);
        let top = self.margin + self.side() + line / 2;
        let (right, total) = (confusion.right(), confusion.total());
        let lines = [
            format!("{right} of {total} right"),
            "rows: what it is, columns: what was said".into(),
        ];
        for (text, row) in lines.iter().zip(0..) {
            lettering::write(canvas, text, [GAP, top + row * (line + GAP)], 2, INK);
        }
        let top = top + 2 * (line + GAP);
        let mut x = GAP;
        for share in SHOWN {
            for (is_right, y) in [(true, 0), (false, line)] {
                let place = [x, top + y];
                lettering::fill(canvas, place, [line; 2], FRAME);
                lettering::fill(
                    canvas,
                    [place[0] + 1, place[1] + 1],
                    [line - 2; 2],
                    color(share, is_right),
                );
            }
            let text = format!("{} %", number(100.0 * share));
            lettering::write(canvas, &text, [x + line + GAP, top + line / 2], 2, INK);
            x += line + 2 * GAP + lettering::width(&text, 2);
        }
    }
}

/// Of the part of a class's examples that are in a cell.
fn color(share: f64, is_right: bool) -> Rgb<u8> {
    let full = if is_right { RIGHT } else { WRONG };
    Rgb(std::array::from_fn(|i| mixed(PAPER.0[i], full.0[i], share.sqrt())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Labels;

    /// Nine of ten right, and the rest taken for the next class.
    fn confusion(labels: Labels) -> Confusion {
        let classes = labels.count();
        let mut confusion = Confusion::new(labels);
        for class in 0..classes {
            for i in 0..10 {
                let said = if i == 0 { (class + 1) % classes } else { class };
                confusion.add(class, said).expect("a class");
            }
        }
        confusion
    }

    #[test]
    fn cells_are_where_their_classes_are() {
        for labels in [
            Labels::new(["cat"]),
            Labels::new(["a cat", "a dog"]),
            Labels::new((0..10).map(|digit| digit.to_string())),
            Labels::new((0..90).map(|class| format!("class {class} of ninety"))),
            Labels::imagenet(),
            Labels::for_classes(2500),
        ] {
            let confusion = confusion(labels);
            let (picture, layout) = (confusion.picture(), Layout::new(&confusion));
            let middle = layout.cells / 2;
            let pixel = |row, column| {
                let [x, y] = layout.corner(row, column);
                *picture.get_pixel(x, y)
            };
            assert!(picture.width() <= 1300 && picture.height() <= 1400);
            if confusion.classes() > 1 {
                assert_eq!(pixel(middle, middle), color(0.9, true));
                if layout.together == 1 {
                    assert_eq!(pixel(0, 1), color(0.1, false));
                }
            }
            if layout.cells > 2 {
                assert_eq!(pixel(0, 2), PAPER);
            }
        }
        Confusion::new(Labels::new(Vec::<String>::new())).picture();
        Confusion::new(Labels::imagenet()).picture();
    }
}
