//! A confusion matrix as a heat map.

use super::ConfusionMatrix;
use super::svg::{Canvas, Drawn, INK, number, render, save, text_style};
use crate::{Result, printable};
use plotters::element::{Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, RGBColor, WHITE};
use std::path::Path;

/// Side of the whole matrix in pixels, unless it has few classes or more classes than pixels.
const SIDE: usize = 1200;
const LARGEST_CELL: usize = 64;
/// The smallest cells that have names, and those that have counts.
const SMALLEST_NAMED: i32 = 7;
const SMALLEST_COUNTED: i32 = 26;
/// Letters of a name.
const LONGEST_NAME: usize = 28;
const GAP: i32 = 10;
const CORRECT: RGBColor = RGBColor(0, 90, 160);
const WRONG: RGBColor = RGBColor(200, 60, 0);
const FRAME: RGBColor = RGBColor(170, 170, 170);
/// Fractions of a class that the legend shows.
const SHOWN: [f64; 6] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0];

impl ConfusionMatrix {
    /// A heat map of the matrix as the text of an SVG file, with a row for each actual class and a column for each
    /// predicted class. Correct predictions are blue and wrong ones red; the color gets darker with the square
    /// root of the fraction of the row's examples, so that one percent is still visible. Names and counts are
    /// written where there is space for them.
    ///
    /// # Errors
    /// [`Error::Picture`](crate::Error::Picture) if drawing fails.
    pub fn to_svg(&self) -> Result<String> {
        let layout = Layout::new(self);
        render(layout.size(), |canvas| {
            layout.draw_titles(canvas, self)?;
            layout.draw_cells(canvas, self)?;
            if layout.cell >= SMALLEST_NAMED {
                layout.draw_names(canvas)?;
            } else {
                layout.draw_indices(canvas)?;
            }
            layout.draw_legend(canvas)
        })
    }

    /// Writes [`to_svg`](Self::to_svg) into a file, which is replaced in one step. Training calls it
    /// `confusion.svg`.
    ///
    /// # Errors
    /// As for [`to_svg`](Self::to_svg), and [`Error::Io`](crate::Error::Io).
    pub fn save_svg(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), &self.to_svg()?)
    }
}

/// The positions of everything, in pixels.
struct Layout {
    /// The names of the classes, shortened.
    names: Vec<String>,
    /// Side of a cell.
    cell: i32,
    /// Size of the names.
    font: i32,
    /// Upper left corner of the matrix.
    left: i32,
    top: i32,
}

impl Layout {
    fn new(matrix: &ConfusionMatrix) -> Self {
        let names: Vec<String> = matrix.labels().names().iter().map(|name| shorten(name)).collect();
        let cell = (SIDE / names.len().max(1)).clamp(1, LARGEST_CELL) as i32;
        let font = (cell * 9 / 10).clamp(6, 16);
        let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        // Letters are a little more than half as wide as high.
        let names_width = longest as i32 * font * 6 / 10;
        let margin = if cell >= SMALLEST_NAMED { names_width } else { 60 };
        Self { names, cell, font, left: margin + 50, top: margin + 90 }
    }

    fn side(&self) -> i32 {
        self.cell * self.names.len().max(1) as i32
    }

    /// Width and height, with space for the legend, which is wider than a small matrix.
    fn size(&self) -> [u32; 2] {
        let width = (self.left + self.side() + 30).max(720);
        [width as u32, (self.top + self.side() + 90) as u32]
    }

    fn draw_titles(&self, canvas: &Canvas, matrix: &ConfusionMatrix) -> Drawn {
        let (correct, total) = (matrix.correct(), matrix.total());
        let percent = 100.0 * correct as f64 / total.max(1) as f64;
        let title = format!("{correct} of {total} correct ({percent:.1}%)");
        canvas.draw(&Text::new(title, (20, 18), text_style(20, &INK)))?;
        let centered = text_style(16, &INK).pos(Pos::new(HPos::Center, VPos::Top));
        let middle = self.side() / 2;
        let above = (self.left + middle, 54);
        canvas.draw(&Text::new("predicted class", above, centered.clone()))?;
        let rotated = centered.transform(FontTransform::Rotate270);
        canvas.draw(&Text::new("actual class", (14, self.top + middle), rotated))?;
        Ok(())
    }

    fn draw_cells(&self, canvas: &Canvas, matrix: &ConfusionMatrix) -> Drawn {
        let (left, top, side) = (self.left, self.top, self.side());
        let scores = matrix.per_class();
        for (actual, predicted, count) in matrix.counts() {
            let fraction = count as f64 / scores[actual].count.max(1) as f64;
            let (x, y) = (left + self.cell * predicted as i32, top + self.cell * actual as i32);
            let color = color(fraction, actual == predicted);
            let corners = [(x, y), (x + self.cell, y + self.cell)];
            canvas.draw(&Rectangle::new(corners, color.filled()))?;
            if self.cell >= SMALLEST_COUNTED {
                self.draw_count(canvas, (x, y), count, fraction)?;
            }
        }
        let corners = [(left - 1, top - 1), (left + side, top + side)];
        canvas.draw(&Rectangle::new(corners, FRAME.stroke_width(1)))?;
        Ok(())
    }

    fn draw_count(&self, canvas: &Canvas, (x, y): (i32, i32), count: u64, fraction: f64) -> Drawn {
        let text = count.to_string();
        let widest = (self.cell - 4) * 10 / (6 * text.len() as i32);
        let size = widest.min(self.cell / 3).min(17);
        let ink = if fraction.sqrt() > 0.5 { WHITE } else { INK };
        let style = text_style(size, &ink).pos(Pos::new(HPos::Center, VPos::Center));
        canvas.draw(&Text::new(text, (x + self.cell / 2, y + self.cell / 2), style))?;
        Ok(())
    }

    /// The names of the classes, left of the rows and above the columns.
    fn draw_names(&self, canvas: &Canvas) -> Drawn {
        let rows = text_style(self.font, &INK).pos(Pos::new(HPos::Right, VPos::Center));
        let columns = text_style(self.font, &INK)
            .transform(FontTransform::Rotate270)
            .pos(Pos::new(HPos::Left, VPos::Center));
        for (class, name) in (0..).zip(&self.names) {
            let middle = self.cell * class + self.cell / 2;
            let row = (self.left - GAP, self.top + middle);
            canvas.draw(&Text::new(name.as_str(), row, rows.clone()))?;
            let column = (self.left + middle, self.top - GAP);
            canvas.draw(&Text::new(name.as_str(), column, columns.clone()))?;
        }
        Ok(())
    }

    /// The indices of some classes, if there are too many for names.
    fn draw_indices(&self, canvas: &Canvas) -> Drawn {
        let classes = self.names.len();
        let wanted = classes.div_ceil(10);
        let step = (0..).flat_map(|power| [1, 2, 5].map(|digit| digit * 10usize.pow(power)));
        let step = step.into_iter().find(|step| *step >= wanted).unwrap_or(wanted);
        let rows = text_style(16, &INK).pos(Pos::new(HPos::Right, VPos::Center));
        let columns = text_style(16, &INK).pos(Pos::new(HPos::Center, VPos::Bottom));
        for class in (0..classes).step_by(step) {
            let along = self.cell * class as i32;
            let row = (self.left - GAP, self.top + along);
            canvas.draw(&Text::new(class.to_string(), row, rows.clone()))?;
            let column = (self.left + along, self.top - GAP);
            canvas.draw(&Text::new(class.to_string(), column, columns.clone()))?;
        }
        Ok(())
    }

    /// The meaning of the colors.
    fn draw_legend(&self, canvas: &Canvas) -> Drawn {
        const BOX: i32 = 22;
        let style = text_style(16, &INK).pos(Pos::new(HPos::Left, VPos::Center));
        let top = self.top + self.side() + 24;
        for (is_correct, name, y) in [(true, "correct", top), (false, "wrong", top + BOX)] {
            canvas.draw(&Text::new(name, (20, y + BOX / 2), style.clone()))?;
            for (fraction, x) in SHOWN.iter().zip((90..).step_by(85)) {
                let corners = [(x, y), (x + BOX, y + BOX)];
                canvas.draw(&Rectangle::new(corners, color(*fraction, is_correct).filled()))?;
            }
        }
        for (fraction, x) in SHOWN.iter().zip((90..).step_by(85)) {
            let text = format!("{}%", number(100.0 * fraction));
            canvas.draw(&Text::new(text, (x + BOX + 8, top + BOX), style.clone()))?;
        }
        let note = "of the actual class";
        canvas.draw(&Text::new(note, (90 + 85 * 6, top + BOX), style))?;
        Ok(())
    }
}

/// The color of a cell with this fraction of its row's examples.
fn color(fraction: f64, is_correct: bool) -> RGBColor {
    let RGBColor(red, green, blue) = if is_correct { CORRECT } else { WRONG };
    let mix = |full: u8| (255.0 + (f64::from(full) - 255.0) * fraction.sqrt()).round() as u8;
    RGBColor(mix(red), mix(green), mix(blue))
}

/// A name without control characters, and no longer than there is space for.
fn shorten(name: &str) -> String {
    let name = printable(name);
    if name.chars().count() <= LONGEST_NAME {
        return name;
    }
    name.chars().take(LONGEST_NAME - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Labels;

    /// Nine of ten are correct, and the rest is taken for the next class.
    fn matrix(labels: Labels) -> ConfusionMatrix {
        let classes = labels.count();
        let mut matrix = ConfusionMatrix::new(labels);
        for class in 0..classes {
            for i in 0..10 {
                let predicted = if i == 0 { (class + 1) % classes } else { class };
                matrix.add(class, predicted).expect("a class");
            }
        }
        matrix
    }

    #[test]
    fn every_nonempty_cell_is_drawn() {
        for labels in [
            Labels::new(["cat"]),
            Labels::new(["a cat", "a <dog>\u{7}"]),
            Labels::new((0..10).map(|digit| digit.to_string())),
            Labels::new((0..90).map(|class| format!("class {class} of ninety"))),
            Labels::imagenet(),
            Labels::for_classes(2500),
        ] {
            let matrix = matrix(labels);
            let svg = matrix.to_svg().expect("a drawing");
            let filled = |fraction, is_correct| {
                let RGBColor(red, green, blue) = color(fraction, is_correct);
                svg.matches(&format!("fill=\"#{red:02X}{green:02X}{blue:02X}\" stroke")).count()
            };
            if matrix.classes() > 1 {
                assert_eq!(filled(0.9, true), matrix.classes());
                // One is in the legend.
                assert_eq!(filled(0.1, false), matrix.classes() + 1);
            }
            assert!(!svg.contains("<dog>") && !svg.contains('\u{7}'));
        }
    }

    #[test]
    fn names_and_counts_are_written_where_there_is_space() {
        let names = |count: usize| Labels::new((0..count).map(|class| format!("name {class}")));
        let has = |count, text| matrix(names(count)).to_svg().expect("a drawing").contains(text);
        assert!(has(10, "name 7") && has(100, "name 77") && !has(1000, "name 77"));
        assert!(has(10, "\n9\n") && !has(100, "\n9\n"));
    }

    #[test]
    fn a_matrix_without_classes_or_examples_is_drawn() {
        let none = ConfusionMatrix::new(Labels::new(Vec::<String>::new()));
        assert!(none.to_svg().is_ok());
        assert!(ConfusionMatrix::new(Labels::imagenet()).to_svg().is_ok());
    }
}
