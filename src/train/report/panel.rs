//! One of the charts above each other: some series over the epochs of a run.

use super::svg::{Canvas, Drawn, INK, number, text_style};
use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::combinators::IntoLogRange;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordi32;
use plotters::element::{Circle, PathElement, Text};
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor};
use std::ops::Range;

const MARK: RGBColor = RGBColor(150, 150, 150);
const HEADER: i32 = 34;
/// Larger values are not drawn: differences of two of them might be infinite.
const LARGEST: f64 = 1e30;

/// The vertical axis.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Scale {
    /// From 0, to just above the largest value.
    FromZero,
    /// From 0 to 100.
    Percent,
    /// Whole decades.
    Logarithmic,
}

/// A line of a panel.
pub(super) struct Line {
    pub name: &'static str,
    pub color: RGBColor,
    /// A value for each epoch. NaN and infinite values leave a gap.
    pub values: Vec<f64>,
}

pub(super) struct Panel {
    pub title: &'static str,
    pub scale: Scale,
    pub lines: Vec<Line>,
}

/// The horizontal axis that panels share.
pub(super) struct EpochAxis {
    pub epochs: Vec<i32>,
    /// An epoch that is marked.
    pub marked: Option<i32>,
}

impl EpochAxis {
    /// From the first to the last epoch, with space around a single one.
    fn range(&self) -> Range<i32> {
        match (self.epochs.iter().min(), self.epochs.iter().max()) {
            (Some(&first), Some(&last)) if first < last => first..last,
            (Some(&only), _) => only - 1..only + 1,
            _ => 0..1,
        }
    }
}

impl Panel {
    /// Draws title and legend in one line, and the chart below. `is_lowest` adds the name of the horizontal axis.
    pub fn draw(&self, canvas: &Canvas, axis: &EpochAxis, is_lowest: bool) -> Drawn {
        let (header, body) = canvas.split_vertically(HEADER);
        self.draw_header(&header)?;
        let mut builder = ChartBuilder::on(&body);
        builder.margin_right(30).x_label_area_size(if is_lowest { 50 } else { 28 });
        builder.y_label_area_size(80);
        let (epochs, values) = (axis.range(), self.range());
        if self.scale == Scale::Logarithmic {
            let mut chart = builder.build_cartesian_2d(epochs, values.log_scale())?;
            self.draw_chart(&mut chart, axis, is_lowest)
        } else {
            let mut chart = builder.build_cartesian_2d(epochs, values)?;
            self.draw_chart(&mut chart, axis, is_lowest)
        }
    }

    fn draw_header(&self, header: &Canvas) -> Drawn {
        let style = text_style(17, &INK).pos(Pos::new(HPos::Left, VPos::Center));
        let middle = HEADER / 2;
        header.draw(&Text::new(self.title, (80, middle), style.clone()))?;
        // The title is enough for a single line.
        if self.lines.len() < 2 {
            return Ok(());
        }
        const ENTRY: i32 = 185;
        const SAMPLE: i32 = 28;
        let width = header.dim_in_pixel().0 as i32;
        let first = width - 20 - ENTRY * self.lines.len() as i32;
        for (line, left) in self.lines.iter().zip((first..).step_by(ENTRY as usize)) {
            let sample = [(left, middle), (left + SAMPLE, middle)];
            header.draw(&PathElement::new(sample, line.color.stroke_width(4)))?;
            header.draw(&Text::new(line.name, (left + SAMPLE + 8, middle), style.clone()))?;
        }
        Ok(())
    }

    fn draw_chart<Y>(
        &self,
        chart: &mut ChartContext<SVGBackend, Cartesian2d<RangedCoordi32, Y>>,
        axis: &EpochAxis,
        is_lowest: bool,
    ) -> Drawn
    where
        Y: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(RGBColor(255, 255, 255).mix(0.0))
            .bold_line_style(RGBColor(228, 228, 228))
            .axis_style(INK)
            .label_style(text_style(14, &INK))
            .axis_desc_style(text_style(15, &INK))
            .x_labels(12)
            .y_labels(6)
            .y_label_formatter(&|value| number(*value));
        if is_lowest {
            mesh.x_desc("epoch");
        }
        mesh.draw()?;
        let Range { start: low, end: high } = self.range();
        if let Some(epoch) = axis.marked {
            let ends = [(epoch, low), (epoch, high)];
            chart.draw_series([PathElement::new(ends, MARK.stroke_width(1))])?;
        }
        for line in &self.lines {
            for run in self.finite_runs(line, &axis.epochs) {
                if let [single] = run[..] {
                    chart.draw_series([Circle::new(single, 4, line.color.filled())])?;
                } else {
                    chart.draw_series(LineSeries::new(run, line.color.stroke_width(2)))?;
                }
            }
        }
        Ok(())
    }

    /// The points of a line, divided at its gaps.
    fn finite_runs(&self, line: &Line, epochs: &[i32]) -> Vec<Vec<(i32, f64)>> {
        let points: Vec<(i32, f64)> =
            epochs.iter().copied().zip(line.values.iter().copied()).collect();
        let is_drawn = |point: &(i32, f64)| self.is_drawn(point.1);
        let runs = points.split(|point| !is_drawn(point)).filter(|run| !run.is_empty());
        runs.map(<[_]>::to_vec).collect()
    }

    fn is_drawn(&self, value: f64) -> bool {
        let has_place = self.scale != Scale::Logarithmic || value >= f64::MIN_POSITIVE;
        has_place && value.abs() <= LARGEST
    }

    /// The vertical range.
    fn range(&self) -> Range<f64> {
        let values = self.lines.iter().flat_map(|line| line.values.iter().copied());
        let values = values.filter(|&value| self.is_drawn(value));
        let extremes = values.fold(None, |range: Option<[f64; 2]>, value| match range {
            None => Some([value; 2]),
            Some([low, high]) => Some([value.min(low), value.max(high)]),
        });
        let [low, high] = extremes.unwrap_or([1.0; 2]);
        match self.scale {
            Scale::Percent => 0.0..100.0,
            Scale::FromZero => {
                let low = low.min(0.0);
                let height = high - low;
                // plotters needs a range that is not empty.
                if height > 1e-9 { low..high + 0.04 * height } else { low..low + 1.0 }
            }
            Scale::Logarithmic => {
                let [low, high] = [low.log10(), high.log10()];
                10f64.powf((low - 0.1).floor())..10f64.powf((high + 0.1).ceil())
            }
        }
    }
}
