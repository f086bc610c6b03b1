//! A metric of burn-train's kind: its own counts iterations since the start of the program, which a run that
//! goes on did not make.

use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::sync::Arc;
use std::time::Instant;

/// Training images a second since the first step of the epoch.
#[derive(Clone, Default)]
pub(super) struct ImagesPerSecond {
    /// The first step's end, and the images until then.
    start: Option<(Instant, usize)>,
    current: f64,
}

impl Metric for ImagesPerSecond {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Images a second".into())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes { unit: Some("images/s".into()), higher_is_better: true }.into()
    }

    fn update(&mut self, _: &(), metadata: &MetricMetadata) -> SerializedEntry {
        let images = metadata.progress.items_processed;
        let (start, before) = *self.start.get_or_insert_with(|| (Instant::now(), images));
        let seconds = start.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        self.current = images.saturating_sub(before) as f64 / seconds;
        let text = format!("{:.1}", self.current);
        SerializedEntry::new(format!("{text} images/s"), text)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Numeric for ImagesPerSecond {
    fn value(&self) -> NumericEntry {
        NumericEntry::Value(self.current)
    }

    fn running_value(&self) -> NumericEntry {
        self.value()
    }
}
