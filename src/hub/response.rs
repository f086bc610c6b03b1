//! What a server's answer means for the part that is there.

use super::registry::Published;
use ureq::http::StatusCode;
use ureq::http::header::{
    AsHeaderName, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap,
};

/// The beginning of a request: how many bytes are there already, and of which version.
#[derive(Debug, Default)]
pub(super) struct Have {
    pub bytes: u64,
    pub etag: Option<String>,
}

/// What to do with an answer.
#[derive(Debug, PartialEq)]
pub(super) enum Answer {
    /// Its body goes on where the part ends, or is the whole file (`start` 0).
    Body(Body),
    /// The part is no beginning of what this server has: drop it and ask for everything.
    Restart(String),
    /// Trouble that may pass: ask again.
    Retry(String),
    /// Not the file.
    Refuse(String),
}

#[derive(Debug, PartialEq)]
pub(super) struct Body {
    pub start: u64,
    /// Length of the whole file, if the server says it.
    pub total: Option<u64>,
    pub etag: Option<String>,
}

/// Judges by status and headers alone, before a byte of the body is read.
pub(super) fn judge(
    status: StatusCode,
    headers: &HeaderMap,
    have: &Have,
    published: &Published,
) -> Answer {
    let body = match status {
        StatusCode::OK => whole(headers),
        StatusCode::PARTIAL_CONTENT if have.bytes > 0 => match rest(headers, have) {
            Ok(body) => body,
            Err(found) => return Answer::Restart(found),
        },
        StatusCode::RANGE_NOT_SATISFIABLE if have.bytes > 0 => {
            return Answer::Restart(format!("no bytes after the first {}", have.bytes));
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
            return Answer::Retry(format!("status {status}"));
        }
        _ if status.is_server_error() => return Answer::Retry(format!("status {status}")),
        _ => return Answer::Refuse(format!("status {status}")),
    };
    let kind = text(headers, CONTENT_TYPE).unwrap_or("");
    let length = body.total.map(|total| format!("{total} bytes"));
    if kind.to_ascii_lowercase().starts_with("text/html") {
        let length = length.unwrap_or("unknown length".into());
        return Answer::Refuse(format!("a web page ({kind}, {length}), such as a login page"));
    }
    match body.total {
        Some(total) if !published.size.range().contains(&total) => match body.start {
            0 => Answer::Refuse(format!("{total} bytes {kind}").trim_end().into()),
            _ => Answer::Restart(format!("a file of {total} bytes")),
        },
        _ => Answer::Body(body),
    }
}

fn whole(headers: &HeaderMap) -> Body {
    let total = text(headers, CONTENT_LENGTH).and_then(|length| length.parse().ok());
    Body { start: 0, total, etag: strong_etag(headers) }
}

/// The body of a 206, if it really goes on where the part ends, and with the same version.
fn rest(headers: &HeaderMap, have: &Have) -> Result<Body, String> {
    let range = text(headers, CONTENT_RANGE).unwrap_or("no Content-Range");
    let wrong = || format!("{range}, where bytes from {} were asked for", have.bytes);
    let (bytes, total) =
        (range.strip_prefix("bytes ")).and_then(|range| range.split_once('/')).ok_or_else(wrong)?;
    let (start, _) = bytes.split_once('-').ok_or_else(wrong)?;
    if start.parse() != Ok(have.bytes) {
        return Err(wrong());
    }
    let etag = strong_etag(headers);
    match (&etag, &have.etag) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            Err(format!("version {theirs}, where {ours} was begun"))
        }
        _ => Ok(Body { start: have.bytes, total: total.parse().ok(), etag }),
    }
}

/// A weak one (`W/"..."`) does not promise the same bytes.
fn strong_etag(headers: &HeaderMap) -> Option<String> {
    text(headers, ETAG).filter(|etag| etag.starts_with('"')).map(String::from)
}

fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// The address for messages, without what may be a user's name and password (all before the last
/// `@`, wherever that is: an address with a slash in its password is none, but is shown, too) or a
/// token (all behind a `?`).
pub(super) fn shown(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let rest = rest.rsplit('@').next().unwrap_or(rest);
    match rest.split_once('?') {
        Some((rest, _)) => format!("{scheme}{rest}?..."),
        None => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::registry::{PUBLISHED, Size};
    use super::*;

    fn judged(status: u16, headers: &[(&'static str, &str)], have: u64) -> Answer {
        let row = Published { size: Size::Bytes(100), ..PUBLISHED[0].clone() };
        let headers =
            headers.iter().map(|&(k, v)| (k.parse().expect("a name"), v.parse().expect("a value")));
        let have = Have { bytes: have, etag: (have > 0).then(|| "\"a\"".into()) };
        let status = StatusCode::from_u16(status).expect("a status");
        judge(status, &headers.collect(), &have, &row)
    }

    #[test]
    fn a_range_must_be_the_one_that_was_asked_for() {
        let partial =
            |range: &str, etag: &str| judged(206, &[("content-range", range), ("etag", etag)], 40);
        let rest = |total, etag: Option<&str>| {
            Answer::Body(Body { start: 40, total, etag: etag.map(String::from) })
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
            assert!(matches!(partial(range, etag), Answer::Restart(_)), "{range} {etag}");
        }
        assert!(matches!(judged(206, &[], 40), Answer::Restart(_)));
        assert!(matches!(judged(416, &[], 40), Answer::Restart(_)));
        // Nobody asked for a range.
        assert!(matches!(
            judged(206, &[("content-range", "bytes 0-99/100")], 0),
            Answer::Refuse(_)
        ));
        assert!(matches!(judged(416, &[], 0), Answer::Refuse(_)));
    }

    #[test]
    fn names_and_passwords_are_not_shown() {
        for (address, said) in [
            ("https://host/a", "https://host/a"),
            ("https://user:pass@host/a", "https://host/a"),
            ("https://user:p@ss word@host/a", "https://host/a"),
            ("user:password@host", "host"),
            ("http:user:password@host/a", "host/a"),
            ("HTTP://user:pass/word@host/a", "HTTP://host/a"),
            ("https://host/a?token=secret", "https://host/a?..."),
        ] {
            assert_eq!(shown(address), said);
        }
    }
}
