//! The pictures in the body of a request: one as it is, or the files of a form.

use crate::problem::{BAD_BODY, CONTENT_TYPE_PROBLEM, Problem, TOO_LARGE};
use crate::upload::Upload;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// The file of a picture, not yet decoded.
pub struct Picture {
    /// The file's name, if it came in a form.
    pub name: Option<String>,
    pub bytes: Bytes,
    /// The memory that the whole upload holds: released with the last of its pictures.
    pub memory: Option<Arc<OwnedSemaphorePermit>>,
}

/// The pictures of a body.
pub enum Pictures {
    /// The body is the picture: an error of it is the answer.
    One(Picture),
    /// The files of a form: each has its own result.
    OfForm(Vec<Picture>),
}

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    Picture,
    Form,
}

impl BodyKind {
    /// By the content type. A body without one is a picture.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Self::Picture) };
        let value = value.to_str().unwrap_or("").to_ascii_lowercase();
        let name = value.split(';').next().unwrap_or("").trim();
        if name == "multipart/form-data" {
            Ok(Self::Form)
        } else if name == "application/octet-stream" || name.starts_with("image/") {
            Ok(Self::Picture)
        } else {
            let detail = format!(
                "expected Content-Type image/..., application/octet-stream, or multipart/form-data, found \
                 {name:?}; with curl: -F picture=@FILE"
            );
            Err(Problem::new(CONTENT_TYPE_PROBLEM, detail))
        }
    }
}

/// The pictures of an upload, at most so many.
pub async fn pictures(
    kind: BodyKind,
    headers: HeaderMap,
    upload: Upload,
    max_pictures: usize,
) -> Result<Pictures, Problem> {
    let memory = upload.memory.map(Arc::new);
    if kind == BodyKind::Picture {
        return Ok(Pictures::One(Picture { name: None, bytes: upload.bytes, memory }));
    }
    let mut request = Request::new(Body::from(upload.bytes));
    *request.headers_mut() = headers;
    // The upload has a limit of its own.
    DefaultBodyLimit::disable().apply(&mut request);
    let mut form = Multipart::from_request(request, &()).await.map_err(malformed)?;
    let mut pictures = Vec::new();
    while let Some(field) = form.next_field().await.map_err(malformed)? {
        let Some(name) = field.file_name().map(String::from) else { continue };
        if pictures.len() == max_pictures {
            let detail = format!(
                "expected at most {max_pictures} pictures in a request, found more; send several requests"
            );
            return Err(Problem::new(TOO_LARGE, detail).with("limit_pictures", max_pictures));
        }
        let bytes = field.bytes().await.map_err(malformed)?;
        pictures.push(Picture { name: Some(name), bytes, memory: memory.clone() });
    }
    if pictures.is_empty() {
        let detail =
            "expected a form with at least one file, found none; with curl: -F picture=@FILE";
        return Err(Problem::new(BAD_BODY, detail));
    }
    Ok(Pictures::OfForm(pictures))
}

fn malformed(error: impl std::fmt::Display) -> Problem {
    let detail = format!("expected a complete form as multipart/form-data, found: {error}");
    Problem::new(BAD_BODY, detail)
}
