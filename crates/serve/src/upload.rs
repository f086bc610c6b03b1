//! The body of a request, read within limits of size, time, and memory.

use crate::problem::{BAD_BODY, BUSY, Problem, TOO_LARGE, TOO_SLOW};
use crate::service::{Service, UPLOAD_UNIT};
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// A body, with the share of the memory for uploads that it holds.
pub struct Upload {
    pub bytes: Bytes,
    pub memory: Option<OwnedSemaphorePermit>,
}

/// A body that is refused is read up to this multiple of the limit and thrown away: a client that is still sending
/// would not see the answer.
const DISCARDED_PER_LIMIT: usize = 4;

/// Reads a body.
pub async fn read(service: &Service, headers: &HeaderMap, body: Body) -> Result<Upload, Problem> {
    let seconds = service.options.upload_timeout;
    let reading = read_within_limits(service, headers, body);
    match tokio::time::timeout(Duration::from_secs_f64(seconds), reading).await {
        Ok(result) => result,
        Err(_) => {
            let detail = format!(
                "expected the whole request within {seconds} seconds; send a smaller picture, or use a faster \
                 connection"
            );
            Err(Problem::new(TOO_SLOW, detail).closing_connection())
        }
    }
}

async fn read_within_limits(
    service: &Service,
    headers: &HeaderMap,
    mut body: Body,
) -> Result<Upload, Problem> {
    let limit = service.options.max_body_bytes();
    let stated = headers.get(CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse::<u64>().ok());
    if let Some(stated) = stated.filter(|&stated| stated > limit as u64) {
        // A client that waits for leave to send is told at once.
        if !headers.contains_key(EXPECT) {
            discard(&mut body, limit.saturating_mul(DISCARDED_PER_LIMIT)).await;
        }
        return Err(too_large(service, Some(stated)));
    }
    let mut bytes = Vec::new();
    let mut memory: Option<OwnedSemaphorePermit> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let detail = format!("expected a complete body, found its end too early ({error})");
            Problem::new(BAD_BODY, detail).closing_connection()
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let len = bytes.len() + data.len();
        if len > limit {
            discard(&mut body, limit.saturating_mul(DISCARDED_PER_LIMIT)).await;
            return Err(too_large(service, None));
        }
        if !reserve(service, &mut memory, len) {
            discard(&mut body, limit).await;
            let detail = "the memory for uploads is in use; try again in a second";
            return Err(Problem::new(BUSY, detail).closing_connection());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Upload { bytes: bytes.into(), memory })
}

/// Reserves as much of the memory for uploads as so many bytes take, if it is free.
fn reserve(service: &Service, memory: &mut Option<OwnedSemaphorePermit>, len: usize) -> bool {
    let held = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let missing = len.div_ceil(UPLOAD_UNIT).saturating_sub(held);
    let Ok(count) = u32::try_from(missing) else { return false };
    let Ok(more) = service.uploads.clone().try_acquire_many_owned(count) else { return false };
    match memory {
        Some(memory) => memory.merge(more),
        None => *memory = Some(more),
    }
    true
}

/// Reads a body without keeping it.
async fn discard(body: &mut Body, limit: usize) {
    let mut len = 0;
    while let Some(Ok(frame)) = body.frame().await {
        len += frame.data_ref().map_or(0, Bytes::len);
        if len > limit {
            break;
        }
    }
}

fn too_large(service: &Service, stated: Option<u64>) -> Problem {
    let limit = service.options.max_body;
    let found = match stated {
        Some(bytes) => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        None => "more".into(),
    };
    let detail = format!(
        "expected at most {limit} MiB, found {found}; send fewer or smaller pictures in a request"
    );
    Problem::new(TOO_LARGE, detail)
        .with("limit_bytes", service.options.max_body_bytes())
        .closing_connection()
}
