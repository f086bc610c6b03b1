//! What goes wrong, as problem details (RFC 9457): what was expected, what was found, and what to do.

use alexnet_vgg_core::Error;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};

/// A kind of problem: the end of its `type`, its status and its title.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    pub name: &'static str,
    pub status: StatusCode,
    pub title: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

macro_rules! kinds {
    ($($constant:ident $name:literal $status:ident $title:literal $advice:literal;)*) => {
        $(pub const $constant: Kind =
            Kind { name: $name, status: StatusCode::$status, title: $title, advice: $advice };)*
        /// All kinds.
        pub const KINDS: &[Kind] = &[$($constant),*];
    };
}

kinds! {
    BAD_QUERY "bad-query" BAD_REQUEST "The query is not understood"
        "Correct the part of the address behind the question mark that the detail names.";
    BAD_BODY "bad-body" BAD_REQUEST "The request's body is not understood"
        "Send a picture as it is, or a form as multipart/form-data with a file name for each picture.";
    FORBIDDEN "forbidden" FORBIDDEN "Only for this machine"
        "Ask from the machine that the service runs on, without a proxy in between.";
    NO_SUCH_PATH "no-such-path" NOT_FOUND "There is no such path"
        "Use one of the paths that the detail lists.";
    NO_SUCH_MODEL "no-such-model" NOT_FOUND "There is no such network"
        "Use a name from /v1/models, or leave out `model` to use the default.";
    METHOD "method" METHOD_NOT_ALLOWED "The path does not take this method"
        "Use the method that the header Allow names.";
    TOO_SLOW "too-slow" REQUEST_TIMEOUT "The upload took too long"
        "Send a smaller picture, or use a faster connection. The limit is set by --upload-timeout.";
    TOO_LARGE "too-large" PAYLOAD_TOO_LARGE "The request is too large"
        "Send fewer or smaller pictures in a request. The limits are set by --max-body and --max-pictures.";
    CONTENT_TYPE_PROBLEM "content-type" UNSUPPORTED_MEDIA_TYPE "The content type is not a picture's"
        "Send a picture as image/... or application/octet-stream, or a form as multipart/form-data.";
    NOT_A_PICTURE "not-a-picture" UNPROCESSABLE_ENTITY "This is not a picture that can be used"
        "Send a complete JPEG, PNG, WebP, GIF, BMP, TIFF or PNM within the limits that the detail names.";
    BAD_WEIGHTS "bad-weights" UNPROCESSABLE_ENTITY "The weights could not be loaded again"
        "Correct the weights file, and reload again. The network from before goes on serving.";
    INTERNAL "internal" INTERNAL_SERVER_ERROR "The service failed"
        "Try again. If it happens again with the same picture, please report it.";
    BUSY "busy" SERVICE_UNAVAILABLE "The service is busy"
        "Try again after the seconds that the header Retry-After says.";
    SHUTTING_DOWN "shutting-down" SERVICE_UNAVAILABLE "The service is about to end"
        "Try again after the seconds that the header Retry-After says, when another one has taken its place.";
    DEADLINE "deadline" GATEWAY_TIMEOUT "There was no time for the request before its deadline"
        "Try again later, or with fewer views. The limit is set by --deadline.";
}

/// A problem with a request or with one of its pictures.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    detail: String,
    members: Map<String, Value>,
    closes_connection: bool,
}

/// As it is sent.
#[derive(Serialize)]
pub struct ProblemDetails {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(flatten)]
    members: Map<String, Value>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new(), closes_connection: false }
    }

    /// With a further member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// The rest of the request is not read.
    pub fn closing_connection(self) -> Self {
        Self { closes_connection: true, ..self }
    }

    pub fn deadline() -> Self {
        let detail = "the deadline passed before the network could begin: too many requests were ahead of this \
                      one; try again later, or with fewer views";
        Self::new(DEADLINE, detail)
    }

    pub fn shutting_down() -> Self {
        Self::new(SHUTTING_DOWN, "the service takes no more requests; try again in a few seconds")
    }

    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(INTERNAL, detail)
    }

    pub fn details(&self) -> ProblemDetails {
        ProblemDetails {
            r#type: format!("/problems/{}", self.kind.name),
            title: self.kind.title,
            status: self.kind.status.as_u16(),
            detail: self.detail.clone(),
            members: self.members.clone(),
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Busy { .. } => Self::new(BUSY, error.to_string()),
            Error::ShutDown { .. } => Self::shutting_down(),
            Error::DeadlinePassed { .. } => Self::deadline(),
            Error::Picture { expected, found, .. } => {
                Self::new(NOT_A_PICTURE, format!("{found}; expected {expected}"))
            }
            Error::Setting { .. } | Error::UnknownName { .. } => {
                Self::new(BAD_QUERY, error.to_string())
            }
            error => Self::internal(error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        // A Value serializes whatever its members are.
        let body = serde_json::to_string(&self.details()).unwrap_or_default();
        let mut response = (self.kind.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.kind.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.closes_connection {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
