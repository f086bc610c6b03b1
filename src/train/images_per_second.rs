//! The training speed as a metric of burn-train. burn-train's own metric counts iterations from the start of the
//! run, which is wrong for a resumed run.

use burn::train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::sync::Arc;
use std::time::Instant;

/// Training images per second since the first step of the epoch.
#[derive(Clone, Default)]
pub(super) struct ImagesPerSecond {
    /// When the first step ended, and the images until then.
    start: Option<(Instant, usize)>,
    current: f64,
}

impl Metric for ImagesPerSecond {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Images per second".into())
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
