//! A plot of some series over the epochs of a run.

use super::strokes::stroke;
use super::ticks::{number, ticks};
use crate::vision::{RgbImage, lettering};
use image::Rgb;

pub(super) const PAPER: Rgb<u8> = Rgb([255; 3]);
pub(super) const INK: Rgb<u8> = Rgb([50; 3]);
const GRID: Rgb<u8> = Rgb([228; 3]);
const MARK: Rgb<u8> = Rgb([150; 3]);
/// Pixels for each dot of a letter.
pub(super) const LETTER: u32 = 2;
const LINE: u32 = 8 * LETTER;
const GAP: u32 = 8;
/// Beyond it, differences of two values might be infinite.
const LARGEST: f64 = 1e30;

/// How values become heights.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0 on.
    Linear,
    /// Whole decades.
    Logarithmic,
}

/// One line of a chart.
pub(super) struct Series {
    pub name: &'static str,
    pub color: Rgb<u8>,
    /// For each epoch. What is no number leaves a gap.
    pub values: Vec<f64>,
}

pub(super) struct Chart {
    pub title: &'static str,
    pub scale: Scale,
    pub series: Vec<Series>,
}

/// What the charts of a picture share: where they begin and end from left to right, the epochs there,
/// and one of them that is marked.
pub(super) struct Across {
    pub pixels: [u32; 2],
    pub epochs: Vec<f64>,
    pub marked: Option<f64>,
}

impl Across {
    /// The first and the last epoch, with room around a single one.
    fn range(&self) -> [f64; 2] {
        let [low, high] = range(self.epochs.iter().copied()).unwrap_or([0.0, 1.0]);
        if low < high { [low, high] } else { [low - 0.5, high + 0.5] }
    }

    fn x(&self, epoch: f64) -> f64 {
        let [left, right] = self.pixels.map(f64::from);
        let [low, high] = self.range();
        left + (epoch - low) / (high - low) * (right - left)
    }

    fn ticks(&self) -> Vec<f64> {
        let [low, high] = self.range();
        ticks(low, high, 10, 1.0)
    }

    /// What the numbers are, at the left, and the numbers.
    pub fn name(&self, canvas: &mut RgbImage, top: u32) {
        const WORD: &str = "epoch";
        let start = self.pixels[0].saturating_sub(lettering::width(WORD, LETTER) + 4 * GAP);
        lettering::write(canvas, WORD, [start, top], LETTER, INK);
        for epoch in self.ticks() {
            let text = number(epoch);
            let left = (self.x(epoch) as u32).saturating_sub(lettering::width(&text, LETTER) / 2);
            lettering::write(canvas, &text, [left, top], LETTER, INK);
        }
    }
}

impl Chart {
    /// Between two heights of the canvas: title and legend in a line, the plot below.
    pub fn draw(&self, canvas: &mut RgbImage, across: &Across, [top, bottom]: [u32; 2]) {
        self.head(canvas, across, top);
        let plot = Plot { across, top: top + LINE + GAP, bottom, range: self.range() };
        let [low, high] = plot.range;
        let (count, closest) = match self.scale {
            Scale::Linear => (6, 0.0),
            Scale::Logarithmic => (4, 1.0),
        };
        for tick in ticks(low, high, count, closest) {
            let name = match self.scale {
                Scale::Linear => number(tick),
                Scale::Logarithmic => number(10f64.powf(tick)),
            };
            plot.level(canvas, tick, &name);
        }
        across.ticks().into_iter().for_each(|epoch| plot.upright(canvas, epoch, GRID));
        across.marked.into_iter().for_each(|epoch| plot.upright(canvas, epoch, MARK));
        let [left, right] = across.pixels;
        lettering::fill(canvas, [left - 1, plot.top], [1, bottom - plot.top + 1], INK);
        lettering::fill(canvas, [left - 1, bottom], [right - left + 1, 1], INK);
        for series in &self.series {
            let heights: Vec<Option<f64>> =
                series.values.iter().map(|&value| self.height(value)).collect();
            plot.line(canvas, &heights, series.color);
        }
    }

    fn head(&self, canvas: &mut RgbImage, across: &Across, top: u32) {
        let [left, mut right] = across.pixels;
        lettering::write(canvas, self.title, [left, top], LETTER, INK);
        // One series says what it is by the title.
        for series in self.series.iter().rev().filter(|_| self.series.len() > 1) {
            right -= lettering::width(series.name, LETTER);
            lettering::write(canvas, series.name, [right, top], LETTER, INK);
            right -= 3 * LINE;
            let middle = f64::from(top) + f64::from(LINE) * 0.45;
            let ends = [right, right + 2 * LINE + GAP].map(|x| [f64::from(x), middle]);
            stroke(canvas, ends[0], ends[1], 4.0, series.color);
            right -= 2 * LINE;
        }
    }

    /// On the scale, if it has a place there.
    fn height(&self, value: f64) -> Option<f64> {
        let height = match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic if value > 0.0 => value.log10(),
            Scale::Logarithmic => return None,
        };
        (height.abs() <= LARGEST).then_some(height)
    }

    fn range(&self) -> [f64; 2] {
        let values = self.series.iter().flat_map(|series| &series.values);
        let [low, high] =
            range(values.filter_map(|&value| self.height(value))).unwrap_or([0.0, 1.0]);
        let [low, high] = match self.scale {
            Scale::Linear => [low.min(0.0), high + 0.04 * (high - low.min(0.0))],
            Scale::Logarithmic => [(low - 0.1).floor(), (high + 0.1).ceil()],
        };
        if low < high { [low, high] } else { [low, low + 1.0] }
    }
}

/// Where a chart's lines are.
struct Plot<'a> {
    across: &'a Across,
    top: u32,
    bottom: u32,
    range: [f64; 2],
}

impl Plot<'_> {
    fn y(&self, height: f64) -> f64 {
        let [low, high] = self.range;
        let share = (height - low) / (high - low);
        f64::from(self.bottom) - share * f64::from(self.bottom - self.top)
    }

    /// A line of the grid, and its number at the left.
    fn level(&self, canvas: &mut RgbImage, height: f64, name: &str) {
        let [left, right] = self.across.pixels;
        let y = self.y(height) as u32;
        lettering::fill(canvas, [left, y], [right - left, 1], GRID);
        let start = left.saturating_sub(lettering::width(name, LETTER) + GAP);
        lettering::write(canvas, name, [start, y.saturating_sub(7 * LETTER / 2)], LETTER, INK);
    }

    fn upright(&self, canvas: &mut RgbImage, epoch: f64, color: Rgb<u8>) {
        let x = self.across.x(epoch) as u32;
        lettering::fill(canvas, [x, self.top], [1, self.bottom - self.top], color);
    }

    /// From epoch to epoch, with gaps where there is nothing, and dots between two gaps.
    fn line(&self, canvas: &mut RgbImage, heights: &[Option<f64>], color: Rgb<u8>) {
        let point = |(height, &epoch): (&Option<f64>, &f64)| {
            height.map(|height| [self.across.x(epoch), self.y(height)])
        };
        let points: Vec<Option<[f64; 2]>> =
            heights.iter().zip(&self.across.epochs).map(point).collect();
        let mut before = None;
        for (index, &point) in points.iter().enumerate() {
            let after = points.get(index + 1).copied().flatten();
            match (before, point, after) {
                (Some(before), Some(point), _) => stroke(canvas, before, point, 2.5, color),
                (None, Some(point), None) => stroke(canvas, point, point, 8.0, color),
                _ => {}
            }
            before = point;
        }
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.fold(None, |range, value| match range {
        None => Some([value; 2]),
        Some([low, high]) => Some([value.min(low), value.max(high)]),
    })
}
