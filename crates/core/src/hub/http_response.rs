//! Decides what to do with a server's response to a request for the rest of a file.

use super::published::Published;
use ureq::http::StatusCode;
use ureq::http::header::{
    AsHeaderName, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
};

/// What has been downloaded so far: the number of bytes, and the ETag of their version.
#[derive(Debug, Default)]
pub(super) struct PartialFile {
    pub bytes: u64,
    pub etag: Option<String>,
}

/// What to do with a response. The texts say what was found.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Receive the body: the rest of the file, or all of it (`start` is 0).
    Receive(Body),
    /// Discard the part, which is not the beginning of the server's file, and request the whole file.
    Restart(String),
    /// Try again after a temporary failure.
    Retry(String),
    /// Give up: this is not the file.
    GiveUp(String),
}

/// The body of a response.
#[derive(Debug, PartialEq)]
pub(super) struct Body {
    /// The position of its first byte in the file.
    pub start: u64,
    /// The length of the whole file, if the server states it.
    pub total: Option<u64>,
    pub etag: Option<String>,
}

/// Decides by the status and the headers, before the body is read.
pub(super) fn action(
    status: StatusCode,
    headers: &HeaderMap,
    have: &PartialFile,
    published: &Published,
) -> Action {
    let body = match status {
        StatusCode::OK => whole(headers),
        StatusCode::PARTIAL_CONTENT if have.bytes > 0 => match rest(headers, have) {
            Ok(body) => body,
            Err(found) => return Action::Restart(found),
        },
        StatusCode::RANGE_NOT_SATISFIABLE if have.bytes > 0 => {
            return Action::Restart(format!("no bytes after the first {}", have.bytes));
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            return Action::Retry(format!("status {status}"));
        }
        _ if status.is_server_error() => return Action::Retry(format!("status {status}")),
        _ => return Action::GiveUp(format!("status {status}")),
    };
    let kind = text(headers, CONTENT_TYPE).unwrap_or("");
    let length = body.total.map(|total| format!("{total} bytes"));
    if kind.to_ascii_lowercase().starts_with("text/html") {
        let length = length.unwrap_or("unknown length".into());
        return Action::GiveUp(format!("a web page ({kind}, {length}), perhaps a login page"));
    }
    match body.total {
        Some(total) if !published.size.range().contains(&total) => match body.start {
            0 => Action::GiveUp(format!("{total} bytes {kind}").trim_end().into()),
            _ => Action::Restart(format!("a file of {total} bytes")),
        },
        _ => Action::Receive(body),
    }
}

fn whole(headers: &HeaderMap) -> Body {
    let total = text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
    Body { start: 0, total, etag: strong_etag(headers) }
}

/// The body of a 206 response, if it continues where the part ends, with the same version.
fn rest(headers: &HeaderMap, have: &PartialFile) -> Result<Body, String> {
    let range = text(headers, CONTENT_RANGE).unwrap_or("no Content-Range");
    let mismatch = || format!("{range}, but bytes from {} on were requested", have.bytes);
    let (bytes, total) = (range.strip_prefix("bytes "))
        .and_then(|range| range.split_once('/'))
        .ok_or_else(mismatch)?;
    let (start, _) = bytes.split_once('-').ok_or_else(mismatch)?;
    if start.parse() != Ok(have.bytes) {
        return Err(mismatch());
    }
    let etag = strong_etag(headers);
    match (&etag, &have.etag) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            Err(format!("version {theirs}, but the part is of version {ours}"))
        }
        _ => Ok(Body { start: have.bytes, total: total.parse().ok(), etag }),
    }
}

/// The ETag, unless it is weak (`W/"..."`): those do not guarantee the same bytes.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG).filter(|etag| etag.starts_with('"')).map(String::from)
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::super::published::{PUBLISHED, Size};
    use super::*;

    fn action_for(status: u16, headers: &[(&'static str, &str)], have: u64) -> Action {
        let row = Published { size: Size::Bytes(100), ..PUBLISHED[0].clone() };
        let headers =
            headers.iter().map(|&(k, v)| (k.parse().expect("a name"), v.parse().expect("a value")));
        let have = PartialFile { bytes: have, etag: (have > 0).then(|| "\"a\"".into()) };
        let status = StatusCode::from_u16(status).expect("a status");
        action(status, &headers.collect(), &have, &row)
    }

    #[test]
    fn a_range_must_be_the_requested_one() {
        let partial = |range: &str, etag: &str| {
            action_for(206, &[("content-range", range), ("etag", etag)], 40)
        };
        let rest = |total, etag: Option<&str>| {
            Action::Receive(Body { start: 40, total, etag: etag.map(String::from) })
        };
        assert_eq!(partial("bytes 40-99/100", "\"a\""), rest(Some(100), Some("\"a\"")));
        assert_eq!(partial("bytes 40-99/*", "W/\"b\""), rest(None, None));
        for (range, etag) in [
            ("bytes 0-99/100", "\"a\""),
            ("bytes 41-99/100", "\"a\""),
            ("bytes 40-199/200", "\"a\""),
            ("bytes */100", "\"a\""),
            ("40", "\"a\""),
            ("bytes 40-99/100", "\"b\""),
        ] {
            assert!(matches!(partial(range, etag), Action::Restart(_)), "{range} {etag}");
        }
        assert!(matches!(action_for(206, &[], 40), Action::Restart(_)));
        assert!(matches!(action_for(416, &[], 40), Action::Restart(_)));
        // No range was requested.
        assert!(matches!(
            action_for(206, &[("content-range", "bytes 0-99/100")], 0),
            Action::GiveUp(_)
        ));
        assert!(matches!(action_for(416, &[], 0), Action::GiveUp(_)));
    }
}
