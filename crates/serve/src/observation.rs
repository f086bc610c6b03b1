//! What is done around each request: it is counted, timed, and logged, and its answer gets the headers that all have.

use crate::connections::Peer;
use crate::router::path_label;
use crate::service::Service;
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use std::sync::Arc;
use std::time::Instant;

pub async fn observe(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Response {
    let mut observation = Observation {
        path: path_label(request.uri().path()),
        method: request.method().clone(),
        peer: request.extensions().get::<Peer>().copied(),
        start: Instant::now(),
        status: None,
        service: service.clone(),
    };
    service.metrics.lock().requests_begun += 1;
    let mut response = next.run(request).await;
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if service.is_draining() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    observation.status = Some(response.status().as_u16());
    response
}

/// Counts and logs the request when it ends. It also ends when the client leaves: then, this is dropped before there is
/// a status.
struct Observation {
    service: Arc<Service>,
    path: &'static str,
    method: Method,
    peer: Option<Peer>,
    start: Instant,
    status: Option<u16>,
}

impl Drop for Observation {
    fn drop(&mut self) {
        let time = self.start.elapsed().as_secs_f64();
        let mut counters = self.service.metrics.lock();
        match self.status {
            Some(status) => {
                *counters.answers.entry((self.path, status)).or_default() += 1;
                counters.request_seconds.add(time);
            }
            None => counters.left += 1,
        }
        drop(counters);
        let status = self.status.map_or("left".into(), |status| status.to_string());
        let peer = self.peer.map_or(String::new(), |Peer(address)| address.ip().to_string());
        self.service.log.request(&[
            ("method", &self.method),
            ("path", &self.path),
            ("status", &status),
            ("ms", &format_args!("{:.1}", 1e3 * time)),
            ("peer", &peer),
        ]);
    }
}
