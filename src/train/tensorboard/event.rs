//! TensorBoard's events, as far as scalars need them. The numbers of the fields are those of TensorFlow's `event.proto`
//! and `summary.proto`.

use crate::train::history::Epoch;
use crate::train::options::Progress;
use prost::Message;
use std::time::{SystemTime, UNIX_EPOCH};

/// Every epoch has this value, and no step.
const OF_EPOCHS: &str = "valid/loss";

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    /// Optimizer steps since the start of the run.
    #[prost(int64, tag = "2")]
    pub step: i64,
    /// In the first event of a file.
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

impl Event {
    /// The first event of a file.
    pub fn start_of_file() -> Self {
        Self { wall_time: now(), file_version: Some("brain.Event:2".into()), ..Self::default() }
    }

    /// The batch of a step: its loss in nats, and its top-1 accuracy, 0 to 1.
    pub fn step(step: u64, loss: f64, top1: f64, progress: &Progress) -> Self {
        let values = [
            ("batch/loss", loss),
            ("batch/top1", top1),
            ("batch/learning_rate", progress.rate),
            ("batch/images_per_second", progress.images_per_second),
        ];
        Self::scalars(step, &values)
    }

    /// What `metrics.csv` has of an epoch.
    pub fn epoch(epoch: &Epoch) -> Self {
        let values = [
            ("train/loss", epoch.train.loss),
            ("train/top1", epoch.train.top1),
            ("train/top5", epoch.train.top5),
            (OF_EPOCHS, epoch.valid.loss),
            ("valid/top1", epoch.valid.top1),
            ("valid/top5", epoch.valid.top5),
            ("train/learning_rate", epoch.rate),
            ("train/images_per_second", epoch.images_per_second),
            ("train/waited_for_data", epoch.waited),
            ("epoch", epoch.epoch as f64),
        ];
        Self::scalars(epoch.steps, &values)
    }

    /// Whether it is that of an epoch.
    pub fn is_epoch(&self) -> bool {
        let mut values = self.summary.iter().flat_map(|summary| &summary.values);
        values.any(|value| value.tag == OF_EPOCHS)
    }

    fn scalars(step: u64, values: &[(&str, f64)]) -> Self {
        let value = |&(tag, value): &(&str, f64)| Value {
            tag: tag.into(),
            simple_value: Some(value as f32),
        };
        let summary = Some(Summary { values: values.iter().map(value).collect() });
        Self { wall_time: now(), step: step as i64, file_version: None, summary }
    }
}

fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}
