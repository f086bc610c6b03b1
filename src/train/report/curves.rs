//! The history of a run as a picture.

use super::chart::{Across, Chart, INK, LETTER, PAPER, Scale, Series};
use crate::train::{Epoch, History};
use crate::vision::{RgbImage, lettering};
use image::Rgb;

const WIDTH: u32 = 1200;
const HEIGHT: u32 = 800;
/// Left of it is room for the numbers.
const LEFT: u32 = 100;
const RIGHT: u32 = 1170;
/// From where to where each chart reaches.
const LOSS: [u32; 2] = [56, 316];
const ERROR: [u32; 2] = [338, 598];
const RATE: [u32; 2] = [620, 752];
/// Okabe and Ito's: they stay apart for the color-blind. Training is blue, validation is red, and what
/// is easier is lighter.
const TRAIN: Rgb<u8> = Rgb([0, 114, 178]);
const VALID: Rgb<u8> = Rgb([213, 94, 0]);
const TRAIN_TOP5: Rgb<u8> = Rgb([86, 180, 233]);
const VALID_TOP5: Rgb<u8> = Rgb([230, 159, 0]);
const LEARNING_RATE: Rgb<u8> = Rgb([0, 158, 115]);

impl History {
    /// How the run went, 1200x800: the loss, the top-1 and top-5 error and the learning rate over the
    /// epochs, the best of which is marked. What is no number leaves a gap, and so does a learning rate
    /// of 0.
    pub fn curves(&self) -> RgbImage {
        let mut canvas = RgbImage::from_pixel(WIDTH, HEIGHT, PAPER);
        let best = self.best();
        let across = Across {
            pixels: [LEFT, RIGHT],
            epochs: self.epochs.iter().map(|epoch| epoch.epoch as f64).collect(),
            marked: best.map(|best| best.epoch as f64),
        };
        let title = self.title(best);
        lettering::write(&mut canvas, &title, [LEFT, 20], LETTER, INK);
        self.loss().draw(&mut canvas, &across, LOSS);
        self.error().draw(&mut canvas, &across, ERROR);
        self.rate().draw(&mut canvas, &across, RATE);
        across.name(&mut canvas, RATE[1] + 12);
        canvas
    }

    fn title(&self, best: Option<&Epoch>) -> String {
        let count = match self.epochs.len() {
            1 => "1 epoch".into(),
            count => format!("{count} epochs"),
        };
        match best {
            None => count,
            Some(best) => format!(
                "{count}; best (marked): epoch {}, top-1 error {:.1} %, top-5 error {:.1} %",
                best.epoch,
                percent_wrong(best.valid.top1),
                percent_wrong(best.valid.top5)
            ),
        }
    }

    fn series(&self, name: &'static str, color: Rgb<u8>, of: fn(&Epoch) -> f64) -> Series {
        Series { name, color, values: self.epochs.iter().map(of).collect() }
    }

    fn loss(&self) -> Chart {
        let series = vec![
            self.series("training", TRAIN, |epoch| epoch.train.loss),
            self.series("validation", VALID, |epoch| epoch.valid.loss),
        ];
        Chart { title: "loss, nats", scale: Scale::Linear, series }
    }

    fn error(&self) -> Chart {
        let series = vec![
            self.series("training top-1", TRAIN, |epoch| percent_wrong(epoch.train.top1)),
            self.series("top-5", TRAIN_TOP5, |epoch| percent_wrong(epoch.train.top5)),
            self.series("validation top-1", VALID, |epoch| percent_wrong(epoch.valid.top1)),
            self.series("top-5", VALID_TOP5, |epoch| percent_wrong(epoch.valid.top5)),
        ];
        Chart { title: "error, %", scale: Scale::Linear, series }
    }

    fn rate(&self) -> Chart {
        let series = vec![self.series("learning rate", LEARNING_RATE, |epoch| epoch.rate)];
        Chart { title: "learning rate", scale: Scale::Logarithmic, series }
    }
}

fn percent_wrong(right: f64) -> f64 {
    100.0 * (1.0 - right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Scores;

    /// Like a VGG's, with the rate divided by ten twice.
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

    /// Pixels of a color between two heights.
    fn ink(picture: &RgbImage, color: Rgb<u8>, [top, bottom]: [u32; 2]) -> usize {
        let between =
            picture.enumerate_pixels().filter(|(_, y, _)| (top + 26..=bottom).contains(y));
        between.filter(|(_, _, pixel)| **pixel == color).count()
    }

    #[test]
    fn every_series_is_drawn_in_its_chart() {
        for epochs in [1, 2, 90, 1000] {
            let picture = run(epochs).curves();
            assert_eq!(picture.dimensions(), (WIDTH, HEIGHT));
            for (color, chart) in [
                (TRAIN, LOSS),
                (VALID, LOSS),
                (TRAIN, ERROR),
                (TRAIN_TOP5, ERROR),
                (VALID, ERROR),
                (VALID_TOP5, ERROR),
                (LEARNING_RATE, RATE),
            ] {
                let count = ink(&picture, color, chart);
                // A dot, or a line across.
                assert!(count >= if epochs == 1 { 30 } else { 500 }, "{epochs}: {count}");
            }
        }
    }

    #[test]
    fn a_falling_loss_falls() {
        let picture = run(90).curves();
        let height = |x: u32| (LOSS[0] + 26..LOSS[1]).find(|&y| *picture.get_pixel(x, y) == TRAIN);
        let [first, last] = [LEFT + 20, RIGHT - 20].map(|x| height(x).expect("the line"));
        assert!(first + 100 < last, "{first}, {last}");
    }

    #[test]
    fn what_is_no_number_is_a_gap() {
        assert_eq!(ink(&History::default().curves(), TRAIN, LOSS), 0);
        let whole = ink(&run(90).curves(), VALID, LOSS);
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN] {
            let mut history = run(90);
            for epoch in &mut history.epochs[30..60] {
                epoch.valid.loss = odd;
                epoch.rate = odd;
            }
            let left = ink(&history.curves(), VALID, LOSS);
            assert!(left > whole / 2 && left < whole, "{odd}: {left} of {whole}");
            let scores = Scores { loss: odd, top1: odd, top5: odd };
            let all =
                Epoch { rate: odd, train: scores, valid: scores, ..history.epochs[0].clone() };
            let picture = History { epochs: vec![all; 3] }.curves();
            assert_eq!(ink(&picture, VALID, LOSS), 0, "{odd}");
        }
        let mut constant = run(90);
        constant.epochs.iter_mut().for_each(|epoch| epoch.rate = 1e-300);
        assert!(ink(&constant.curves(), LEARNING_RATE, RATE) > 500);
    }
}
