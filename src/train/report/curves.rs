//! The history of a run as charts.

use super::panel::{EpochAxis, Line, Panel, Scale};
use super::svg::{INK, render, save, text_style};
use crate::Result;
use crate::train::history::{Epoch, History};
use plotters::element::Text;
use plotters::style::RGBColor;
use std::path::Path;

const WIDTH: u32 = 1200;
const HEADER: i32 = 56;
/// The heights of the charts.
const HEIGHTS: [u32; 3] = [310, 310, 210];
/// The colors of Okabe and Ito, which color-blind people can tell apart: blue for training, red for validation, and
/// lighter ones for top-5.
const TRAIN: RGBColor = RGBColor(0, 114, 178);
const VALID: RGBColor = RGBColor(213, 94, 0);
const TRAIN_TOP5: RGBColor = RGBColor(86, 180, 233);
const VALID_TOP5: RGBColor = RGBColor(230, 159, 0);
const LEARNING_RATE: RGBColor = RGBColor(0, 158, 115);

impl History {
    /// Charts of the run as the text of an SVG file: loss, top-1 and top-5 accuracy, and learning rate over the
    /// epochs, the best of which is marked by a vertical line. Values that are NaN or infinite leave gaps, and so
    /// do learning rates of 0.
    ///
    /// # Errors
    /// [`Error::Picture`](crate::Error::Picture) if drawing fails.
    pub fn curves_svg(&self) -> Result<String> {
        let number = |epoch: &Epoch| i32::try_from(epoch.epoch).unwrap_or(i32::MAX);
        let axis = EpochAxis {
            epochs: self.epochs.iter().map(number).collect(),
            marked: self.best().map(number),
        };
        let panels = [self.loss_panel(), self.accuracy_panel(), self.rate_panel()];
        let height = HEADER as u32 + HEIGHTS.iter().sum::<u32>();
        render([WIDTH, height], |canvas| {
            let (header, mut rest) = canvas.split_vertically(HEADER);
            header.draw(&Text::new(self.title(), (80, 20), text_style(20, &INK)))?;
            for (index, panel) in panels.iter().enumerate() {
                let (area, below) = rest.split_vertically(HEIGHTS[index]);
                panel.draw(&area, &axis, index + 1 == panels.len())?;
                rest = below;
            }
            Ok(())
        })
    }

    /// Writes [`curves_svg`](Self::curves_svg) into a file, which is replaced in one step. Training calls it
    /// `curves.svg`.
    ///
    /// # Errors
    /// As for [`curves_svg`](Self::curves_svg), and [`Error::Io`](crate::Error::Io).
    pub fn save_curves(&self, path: impl AsRef<Path>) -> Result<()> {
        save(path.as_ref(), &self.curves_svg()?)
    }

    fn title(&self) -> String {
        let count = match self.epochs.len() {
            1 => "1 epoch".into(),
            count => format!("{count} epochs"),
        };
        match self.best() {
            None => count,
            Some(best) => format!(
                "{count}; best validation (vertical line): epoch {}, top-1 {:.1}%, top-5 {:.1}%",
                best.epoch,
                100.0 * best.valid.top1,
                100.0 * best.valid.top5
            ),
        }
    }

    fn line(&self, name: &'static str, color: RGBColor, value: fn(&Epoch) -> f64) -> Line {
        Line { name, color, values: self.epochs.iter().map(value).collect() }
    }

    fn loss_panel(&self) -> Panel {
        let lines = vec![
            self.line("training", TRAIN, |epoch| epoch.train.loss),
            self.line("validation", VALID, |epoch| epoch.valid.loss),
        ];
        Panel { title: "loss (nats)", scale: Scale::FromZero, lines }
    }

    fn accuracy_panel(&self) -> Panel {
        let lines = vec![
            self.line("training top-1", TRAIN, |epoch| 100.0 * epoch.train.top1),
            self.line("training top-5", TRAIN_TOP5, |epoch| 100.0 * epoch.train.top5),
            self.line("validation top-1", VALID, |epoch| 100.0 * epoch.valid.top1),
            self.line("validation top-5", VALID_TOP5, |epoch| 100.0 * epoch.valid.top5),
        ];
        Panel { title: "accuracy (%)", scale: Scale::Percent, lines }
    }

    fn rate_panel(&self) -> Panel {
        let lines = vec![self.line("learning rate", LEARNING_RATE, |epoch| epoch.rate)];
        Panel { title: "learning rate", scale: Scale::Logarithmic, lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Scores;

    /// Like the training of a VGG, with the learning rate divided by ten twice.
    fn run(epochs: usize) -> History {
        let epoch = |epoch: usize| {
            let done = epoch as f64 / epochs as f64;
            let rate = 0.01 * 10f64.powi(-((3.0 * done) as i32).min(2));
            let better = 1.0 - (-4.0 * done).exp() * (1.0 + 0.05 * (7.0 * epoch as f64).sin());
            let scores = |most: f64| Scores {
                loss: 6.9 - 6.9 * most * better,
                top1: most * better,
                top5: (most * 1.2).min(0.99) * better,
            };
            Epoch {
                epoch,
                steps: 100 * epoch as u64,
                rate,
                train: scores(0.85),
                valid: scores(0.72 - 0.05 * done * done),
                images_per_second: 100.0,
                waited: 0.0,
                waited_for_others: 0.0,
                exchanged: 0.0,
                exchanged_bytes: 0,
            }
        };
        History { epochs: (1..=epochs).map(epoch).collect() }
    }

    fn svg(history: &History) -> String {
        history.curves_svg().expect("a drawing")
    }

    /// Lines or dots of a color, without the legend.
    fn marks(svg: &str, color: RGBColor) -> usize {
        let RGBColor(red, green, blue) = color;
        let color = format!("#{red:02X}{green:02X}{blue:02X}");
        let is_mark = |line: &&str| {
            let is_line = line.starts_with("<polyline") && line.contains("stroke-width=\"2\"");
            line.contains(&color) && (is_line || line.starts_with("<circle"))
        };
        svg.lines().filter(is_mark).count()
    }

    #[test]
    fn every_line_is_drawn() {
        for epochs in [1, 2, 90, 1000] {
            let svg = svg(&run(epochs));
            for (color, count) in
                [(TRAIN, 2), (VALID, 2), (TRAIN_TOP5, 1), (VALID_TOP5, 1), (LEARNING_RATE, 1)]
            {
                assert_eq!(marks(&svg, color), count, "{epochs} epochs");
            }
            assert!(svg.contains("validation top-5") && svg.contains("loss (nats)"));
        }
    }

    #[test]
    fn values_that_are_not_finite_leave_gaps() {
        assert_eq!(marks(&svg(&History::default()), TRAIN), 0);
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN] {
            let mut history = run(90);
            for epoch in &mut history.epochs[30..60] {
                epoch.valid.loss = odd;
                epoch.rate = odd;
            }
            // The loss in two parts, and the accuracy.
            assert_eq!(marks(&svg(&history), VALID), 3, "{odd}");
            assert_eq!(marks(&svg(&history), LEARNING_RATE), 2, "{odd}");
            let scores = Scores { loss: odd, top1: odd, top5: odd };
            let all =
                Epoch { rate: odd, train: scores, valid: scores, ..history.epochs[0].clone() };
            let history = History { epochs: vec![all; 3] };
            assert_eq!(marks(&svg(&history), VALID), 0, "{odd}");
        }
        let mut constant = run(90);
        constant.epochs.iter_mut().for_each(|epoch| epoch.rate = 1e-300);
        assert_eq!(marks(&svg(&constant), LEARNING_RATE), 1);
    }

    #[test]
    fn a_file_has_the_same_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("curves.svg");
        run(3).save_curves(&path).expect("a writable folder");
        assert_eq!(std::fs::read_to_string(path).expect("text"), svg(&run(3)));
    }
}
