//! Which path is answered by what.

use crate::problem::{KINDS, METHOD, NO_SUCH_PATH, Problem};
use crate::service::Service;
use crate::{classify, observation, page, prometheus, reload};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;

/// All paths. In the log and in metrics, other paths are `other`, so that strangers cannot make up names.
const PATHS: &[&str] = &[
    "/",
    "/page.css",
    "/page.js",
    "/healthz",
    "/readyz",
    "/metrics",
    "/v1/models",
    "/v1/samples",
    "/v1/classify",
    "/v1/reload",
];

pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::js))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(is_ready))
        .route("/metrics", get(prometheus::metrics))
        .route("/v1/models", get(models))
        .route("/v1/samples", get(samples))
        .route("/v1/samples/{name}", get(sample))
        .route("/v1/classify", post(classify::classify))
        .route("/v1/reload", post(reload::reload))
        .route("/problems/{name}", get(problem))
        .fallback(async || no_such_path())
        .method_not_allowed_fallback(async || {
            Problem::new(METHOD, "the header Allow lists the methods of this path")
        })
        // Bodies have a limit of their own: see `upload`.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(service.clone(), observation::observe))
        .with_state(service)
}

/// The name of a path in the log and in metrics.
pub fn path_label(path: &str) -> &'static str {
    let known = PATHS.iter().copied().find(|known| *known == path);
    known.unwrap_or(match path {
        _ if path.starts_with("/v1/samples/") => "/v1/samples/NAME",
        _ if path.starts_with("/problems/") => "/problems/NAME",
        _ => "other",
    })
}

fn no_such_path() -> Problem {
    Problem::new(NO_SUCH_PATH, format!("expected one of {}", PATHS.join(", ")))
}

/// The networks are loaded before the first connection is accepted.
async fn is_ready(State(service): State<Arc<Service>>) -> Response {
    if service.is_draining() {
        Problem::shutting_down().into_response()
    } else {
        "ready\n".into_response()
    }
}

/// The most labels of a network that are listed.
const MAX_LABELS: usize = 1000;

async fn models(State(service): State<Arc<Service>>) -> Json<Value> {
    let all = service.networks.all();
    let models = all.iter().enumerate().map(|(index, network)| {
        let (labels, side) = (network.classifier.labels(), network.classifier.preset().crop);
        json!({
            "name": network.name,
            "network": network.loaded.compiled.architecture().name,
            "classes": labels.count(),
            "labels": labels.names().iter().take(MAX_LABELS).collect::<Vec<_>>(),
            "input": [side, side],
            "default": index == 0,
            "ready": !service.is_draining(),
            "accuracy": network.loaded.compiled.metadata().accuracy,
        })
    });
    let options = &service.options;
    Json(json!({
        "models": models.collect::<Vec<_>>(),
        "limits": {
            "body_bytes": options.max_body_bytes(),
            "pictures": options.max_pictures,
            "pixels": options.max_pixels(),
            "views": options.max_views,
        },
    }))
}

async fn samples(State(service): State<Arc<Service>>) -> Json<Value> {
    let all = service.networks.all();
    let samples = all.iter().flat_map(|network| {
        network.loaded.samples.iter().map(|sample| {
            let url = format!("/v1/samples/{}", sample.name);
            json!({ "name": sample.name, "url": url, "label": sample.label, "model": network.name })
        })
    });
    Json(json!({ "samples": samples.collect::<Vec<_>>() }))
}

async fn sample(State(service): State<Arc<Service>>, Path(name): Path<String>) -> Response {
    let all = service.networks.all();
    let mut samples = all.iter().flat_map(|network| network.loaded.samples);
    match samples.find(|sample| sample.name == name) {
        Some(sample) => ([(CONTENT_TYPE, "image/png")], sample.png).into_response(),
        None => {
            let detail = "expected the name of a sample that /v1/samples lists";
            Problem::new(NO_SUCH_PATH, detail).into_response()
        }
    }
}

/// What the `type` of a problem means.
async fn problem(Path(name): Path<String>) -> Response {
    match KINDS.iter().find(|kind| kind.name == name) {
        Some(kind) => {
            let text = format!("{} ({}).\n\n{}\n", kind.title, kind.status.as_u16(), kind.advice);
            (StatusCode::OK, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
        }
        None => no_such_path().into_response(),
    }
}
