//! What servers send, and what becomes of it.

use super::server::{Reply::*, Server};
use super::{FILE, content, expect_no_file, folder, options, part, published};
use alexnet_vgg_core::Error;
use alexnet_vgg_core::hub::HubOptions;
use std::fs;
use std::thread;

const LOGIN: &str = "<!DOCTYPE html><title>Log in to this network</title>";

#[test]
fn what_servers_do_and_what_becomes_of_it() {
    let all = content();
    let n = all.len();
    let more = [&all[..], b"x"].concat();
    let head = |status: &str, length: usize| {
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n").into_bytes()
    };
    let raw = |head: &[u8], body: &[u8]| Raw([head, body].concat());
    let unannounced = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n";
    let wrong = {
        let mut wrong = all.clone();
        wrong[n / 2] ^= 1;
        wrong
    };
    // Replies in order (the last one repeats), the number of requests, and what the error says, if any.
    let cases = [
        ("plain", vec![Whole], 1, None),
        ("slow", vec![Slow], 1, None),
        ("cut, resumed", vec![Cut(n / 3), Whole], 2, None),
        ("cut twice", vec![Cut(n / 3), Cut(n / 3), Whole], 3, None),
        ("cut, no ranges", vec![CutNoRanges(n / 3), NoRanges], 2, None),
        ("cut too often", vec![CutNoRanges(n / 3)], 3, Some("a broken connection")),
        ("changed", vec![Cut(n / 3), Etag("\"new\""), Whole], 2, None),
        ("changed, If-Range ignored", vec![Cut(n / 3), IgnoreIfRange("\"new\""), Whole], 3, None),
        ("stalls, then not", vec![Stall(n / 2), Whole], 2, None),
        ("stalls", vec![Stall(0)], 3, Some("no data for 1s")),
        ("silent", vec![Silent], 3, Some("no data for 1s")),
        ("missing", vec![raw(&head("404 Not Found", 0), b"")], 1, Some("status 404 Not Found")),
        ("forbidden", vec![raw(&head("403 Forbidden", 0), b"")], 1, Some("status 403")),
        ("fails", vec![raw(&head("500 Internal Server Error", 0), b"")], 3, Some("status 500")),
        (
            "recovers",
            vec![raw(&head("500 Oh", 0), b""), raw(&head("429 Wait", 0), b""), Whole],
            3,
            None,
        ),
        ("elsewhere", vec![Redirect("/elsewhere"), Whole], 2, None),
        ("circle", vec![Redirect("/weights/small.safetensors")], 6, Some("more than 5 redirects")),
        ("wrong hash", vec![raw(&head("200 OK", n), &wrong)], 1, Some("SHA-256 begins with")),
        (
            "announced longer",
            vec![raw(&head("200 OK", n + 1), &more)],
            1,
            Some("found 400001 bytes"),
        ),
        (
            "announced shorter",
            vec![raw(&head("200 OK", n - 1), &all)],
            1,
            Some("found 399999 bytes"),
        ),
        ("longer than published", vec![raw(unannounced, &more)], 1, Some("more than 400000 bytes")),
        // HTTP ends the body at its announced length: the rest is not part of it.
        ("longer than announced", vec![raw(&head("200 OK", n), &more)], 1, None),
        (
            "shorter than announced",
            vec![raw(&head("200 OK", n), &all[..9])],
            3,
            Some("a broken connection"),
        ),
        ("shorter", vec![raw(unannounced, &all[..n - 1])], 1, Some("found 399999 bytes")),
        (
            "a login page",
            vec![raw(page, LOGIN.as_bytes())],
            1,
            Some("a web page (text/html; charset=utf-8"),
        ),
        (
            "a login page, no type",
            vec![raw(unannounced, LOGIN.as_bytes())],
            1,
            Some("Log in to this network"),
        ),
        ("no HTTP", vec![Raw(b"SSH-2.0-OpenSSH_9.6\r\n".into())], 1, Some("protocol")),
        (
            "endless headers",
            vec![raw(b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 300_000])],
            1,
            Some("header"),
        ),
        ("hangs up", vec![Raw(vec![])], 3, Some("a broken connection")),
    ];
    let outcome = |name: &str, replies, requests: usize, says: Option<&str>| {
        let server = Server::new(all.clone(), replies);
        let cache = folder();
        let fetched = options(cache.path(), &server).fetch(&published(&all));
        let right = match (&fetched, says) {
            (Ok(path), None) => fs::read(path).expect("a file") == all,
            (Err(error), Some(says)) => {
                let said = error.to_string();
                let about = said.contains(&server.address) && said.contains(says);
                about && !cache.path().join(FILE).exists()
            }
            _ => false,
        };
        let seen = server.requests().len();
        // A part that is kept is a beginning of the file.
        let kept = fs::read(part(cache.path())).unwrap_or_default();
        let sound = all.starts_with(&kept) && (kept.is_empty() || fetched.is_err());
        let failed = !right || !sound || seen != requests;
        failed.then(|| format!("{name}: {seen} requests, {} kept, {fetched:?}", kept.len()))
    };
    let failures: Vec<String> = thread::scope(|scope| {
        let outcome = &outcome;
        let run = |(name, replies, requests, says)| {
            scope.spawn(move || outcome(name, replies, requests, says))
        };
        let running: Vec<_> = cases.into_iter().map(run).collect();
        running.into_iter().filter_map(|case| case.join().expect("no panic")).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn resuming_asks_for_the_rest_of_the_same_version() {
    let all = content();
    let server = Server::new(all.clone(), vec![Cut(1000), Whole]);
    let cache = folder();
    let once = HubOptions { retries: 0, ..options(cache.path(), &server) };
    once.fetch(&published(&all)).expect_err("cut");
    expect_no_file(cache.path());
    assert_eq!(fs::read(part(cache.path())).expect("a part"), all[..1000]);
    // A later run.
    let path = once.fetch(&published(&all)).expect("the rest");
    assert_eq!(fs::read(path).expect("a file"), all);
    let requests = server.requests();
    assert_eq!((requests[0].range, requests[0].if_range.as_deref()), (None, None));
    assert_eq!((requests[1].range, requests[1].if_range.as_deref()), (Some(1000), Some("\"v1\"")));
}

#[test]
fn a_part_that_is_no_beginning_is_dropped() {
    let all = content();
    let longer = [&all[..], b"more"].concat();
    for (name, before, requests) in [
        ("whole, unnamed", &all[..], 0),
        ("as long, wrong", &vec![0; all.len()], 1),
        ("longer", &longer, 1),
        ("empty", &[], 1),
    ] {
        let server = Server::new(all.clone(), vec![Whole]);
        let cache = folder();
        fs::write(part(cache.path()), before).expect("a part");
        fs::write(cache.path().join(format!("{FILE}.part.etag")), "\"a\n\"").expect("an etag");
        options(cache.path(), &server).fetch(&published(&all)).expect(name);
        assert_eq!(server.requests().len(), requests, "{name}");
        assert!(!part(cache.path()).exists(), "{name}");
    }
    // The hash finds a wrong beginning; the run after that starts anew.
    let server = Server::new(all.clone(), vec![Whole]);
    let cache = folder();
    fs::write(part(cache.path()), [7; 100]).expect("a part");
    let error = options(cache.path(), &server).fetch(&published(&all)).expect_err("a wrong hash");
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    options(cache.path(), &server).fetch(&published(&all)).expect("anew");
}
