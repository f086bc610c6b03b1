//! `GET /metrics`, in Prometheus' text format.

use crate::service::{Service, UPLOAD_UNIT};
use alexnet_vgg_core::predict::Histogram;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::fmt::{Display, Write};
use std::sync::Arc;

pub async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let mut text = Text::default();
    requests(&mut text, &service);
    networks(&mut text, &service);
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text.0).into_response()
}

fn requests(text: &mut Text, service: &Service) {
    let counters = service.metrics.lock().clone();
    text.family("http_requests_begun_total", "counter", "Requests whose head was read.");
    text.sample("http_requests_begun_total", &[], counters.requests_begun);
    text.family("http_requests_total", "counter", "Answered requests.");
    for ((path, status), count) in &counters.answers {
        text.sample(
            "http_requests_total",
            &[("path", path), ("status", &status.to_string())],
            count,
        );
    }
    text.family(
        "http_requests_left_total",
        "counter",
        "Requests whose client left before the answer.",
    );
    text.sample("http_requests_left_total", &[], counters.left);
    text.family(
        "http_request_seconds",
        "histogram",
        "Time from the head of a request to its answer.",
    );
    text.histogram("http_request_seconds", &[], &counters.request_seconds);
    text.family("http_connections", "gauge", "Open connections.");
    text.sample("http_connections", &[], counters.connections);
    text.family("pictures_total", "counter", "Pictures, by network and what became of them.");
    for ((network, outcome), count) in &counters.pictures {
        text.sample("pictures_total", &[("model", network), ("outcome", outcome)], count);
    }
    text.family("decode_seconds", "histogram", "Time of decoding and resizing a picture.");
    text.histogram("decode_seconds", &[], &counters.decode_seconds);
    let units = (service.options.max_uploads << 20) / UPLOAD_UNIT;
    let held = units.saturating_sub(service.uploads.available_permits()) * UPLOAD_UNIT;
    text.family("uploads_bytes", "gauge", "Memory that uploads hold.");
    text.sample("uploads_bytes", &[], held);
    text.family("reloads_total", "counter", "Times that the weights were loaded again.");
    text.sample("reloads_total", &[("outcome", "loaded")], counters.reloads);
    text.sample("reloads_total", &[("outcome", "failed")], counters.reloads_failed);
    if let Some(bytes) = resident_bytes() {
        text.family("resident_memory_bytes", "gauge", "Memory of the process.");
        text.sample("resident_memory_bytes", &[], bytes);
    }
}

fn networks(text: &mut Text, service: &Service) {
    let all = service.networks.all();
    let statistics: Vec<_> =
        all.iter().map(|it| (it.name.as_str(), it.batcher.statistics())).collect();
    text.family(
        "batcher_requests_total",
        "counter",
        "Requests to a network, by what became of them.",
    );
    for (model, it) in &statistics {
        let outcomes = [
            ("answered", it.answered),
            ("failed", it.failed),
            ("expired", it.expired),
            ("abandoned", it.abandoned),
            ("refused", it.refused),
        ];
        for (outcome, count) in outcomes {
            let labels = [("model", *model), ("outcome", outcome)];
            text.sample("batcher_requests_total", &labels, count);
        }
    }
    text.family("batcher_accepted_total", "counter", "Requests that a network's queue took.");
    statistics.iter().for_each(|(model, it)| {
        text.sample("batcher_accepted_total", &[("model", model)], it.accepted);
    });
    text.family("batcher_waiting", "gauge", "Requests that wait for a network.");
    statistics.iter().for_each(|(model, it)| {
        text.sample("batcher_waiting", &[("model", model)], it.waiting);
    });
    text.family("batcher_computing", "gauge", "Requests that are being computed.");
    statistics.iter().for_each(|(model, it)| {
        text.sample("batcher_computing", &[("model", model)], it.computing);
    });
    text.family("batch_size", "histogram", "Images that were computed together.");
    statistics.iter().for_each(|(model, it)| {
        text.histogram("batch_size", &[("model", model)], &it.batch_sizes);
    });
    text.family("queue_seconds", "histogram", "How long requests waited for a network.");
    statistics.iter().for_each(|(model, it)| {
        text.histogram("queue_seconds", &[("model", model)], &it.queue_seconds);
    });
    text.family("compute_seconds", "histogram", "How long batches were computed.");
    statistics.iter().for_each(|(model, it)| {
        text.histogram("compute_seconds", &[("model", model)], &it.compute_seconds);
    });
}

/// Before the name of each metric.
const PREFIX: &str = "alexnet_vgg_";

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let escaped =
            |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.0, "{PREFIX}{name}{labels} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let bounds = histogram.bounds().iter().map(ToString::to_string).chain(["+Inf".into()]);
        let mut below = 0;
        for (bound, count) in bounds.zip(histogram.counts()) {
            below += count;
            let labels: Vec<(&str, &str)> =
                labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&format!("{name}_bucket"), &labels, below);
        }
        self.sample(&format!("{name}_sum"), labels, histogram.sum());
        self.sample(&format!("{name}_count"), labels, histogram.count());
    }
}

/// The memory of this process, where Linux's /proc tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}
