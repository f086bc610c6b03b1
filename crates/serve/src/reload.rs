//! `POST /v1/reload` and SIGHUP: the weights files are read again while the service runs.

use crate::connections::Peer;
use crate::networks::Failed;
use crate::problem::{BAD_WEIGHTS, FORBIDDEN, Problem};
use crate::service::Service;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{FORWARDED, ORIGIN};
use axum::{Extension, Json};
use serde_json::{Value, json};
use std::sync::Arc;

/// Only for programs on this machine that connect directly: neither for what a proxy passes on, nor for pages of others that
/// a browser on this machine shows.
pub async fn reload(
    State(service): State<Arc<Service>>,
    Extension(Peer(address)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let is_passed_on = headers.contains_key(FORWARDED)
        || headers.contains_key("x-forwarded-for")
        || headers.contains_key(ORIGIN);
    if !address.ip().to_canonical().is_loopback() || is_passed_on {
        let detail =
            "expected a program on the machine that the service runs on; send it SIGHUP instead";
        return Err(Problem::new(FORBIDDEN, detail));
    }
    let (reloaded, failed) = reload_now(service).await;
    if failed.is_empty() {
        return Ok(Json(json!({ "reloaded": reloaded })));
    }
    let errors: Vec<String> =
        failed.iter().map(|Failed { name, error }| format!("{name}: {error}")).collect();
    let detail = format!("{}; the network from before goes on serving", errors.join("; "));
    let names: Vec<&str> = failed.iter().map(|failed| failed.name.as_str()).collect();
    Err(Problem::new(BAD_WEIGHTS, detail).with("failed", names).with("reloaded", reloaded))
}

/// Reads the weights files again.
pub async fn reload_now(service: Arc<Service>) -> (Vec<String>, Vec<Failed>) {
    let of_thread = service.clone();
    let reload = move || of_thread.networks.reload(&of_thread.options, of_thread.log);
    let (reloaded, failed) = tokio::task::spawn_blocking(reload).await.unwrap_or_else(|error| {
        (Vec::new(), vec![Failed { name: "all".into(), error: error.to_string() }])
    });
    let mut counters = service.metrics.lock();
    counters.reloads += reloaded.len() as u64;
    counters.reloads_failed += failed.len() as u64;
    drop(counters);
    (reloaded, failed)
}
