//! Wrong requests: each is refused with a problem that says what to do, and the service goes on.

use crate::client::{Response, form};
use crate::networks::{pictures, png, write};
use crate::program::{PATH, Program};
use alexnet_vgg_core::vision::RgbImage;
use std::process::Command;

fn expect(response: &Response, status: u16, kind: &str, words: &str) {
    let text = response.text();
    assert_eq!(response.status, status, "{text}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{text}");
    let json = response.json();
    assert_eq!(json["type"], format!("/problems/{kind}"), "{text}");
    assert_eq!(json["status"], status);
    assert!(json["detail"].as_str().expect("a detail").contains(words), "{text}");
}

#[test]
fn wrong_requests_are_told_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vgg.safetensors");
    write(&file, 4, "class ");
    let weights = file.display().to_string();
    let limits =
        ["--max-body", "1", "--max-pictures", "3", "--max-pixels", "1", "--max-views", "10"];
    let program = Program::start(&[&["--weights", &weights], &limits[..]].concat());
    let pictures = pictures();
    let cat = &pictures[0];

    expect(&program.get("/nothing"), 404, "no-such-path", "/v1/classify");
    expect(&program.get("/v1/samples/nothing.png"), 404, "no-such-path", "/v1/samples");
    let wrong_method = program.get("/v1/classify");
    expect(&wrong_method, 405, "method", "Allow");
    assert_eq!(wrong_method.header("allow"), Some("POST"));
    expect(&program.classify("?model=vgg16", cat), 404, "no-such-model", "model=vgg");
    for (query, words) in [
        ("?top_k=0", "at least 1"),
        ("?top_k=x", "top_k"),
        ("?topk=5", "topk"),
        ("?views=twelve-crop", "ten-crop"),
        ("?views=multi-crop", "--max-views"),
        ("?heatmap=maybe", "heatmap"),
    ] {
        expect(&program.classify(query, cat), 400, "bad-query", words);
    }

    let typed = |content_type: &str, body: &[u8]| {
        program.send("POST", "/v1/classify", &[("Content-Type", content_type)], body)
    };
    expect(&typed("application/x-www-form-urlencoded", cat), 415, "content-type", "-F picture=@");
    expect(&typed("image/png", b"not a picture"), 422, "not-a-picture", "JPEG, PNG");
    expect(&typed("image/png", b""), 422, "not-a-picture", "an empty body");
    expect(&typed("image/jpeg", &cat[..cat.len() / 2]), 422, "not-a-picture", "expected");
    let large = png(&RgbImage::new(1001, 1000));
    expect(&typed("image/png", &large), 422, "not-a-picture", "1001x1000");
    let narrow = png(&RgbImage::new(1, 60_000));
    expect(&typed("image/png", &narrow), 422, "not-a-picture", "expected");

    let (content_type, body) = form(&[("a", cat), ("b", cat), ("c", cat), ("d", cat)]);
    expect(&typed(&content_type, &body), 413, "too-large", "at most 3 pictures");
    let (content_type, body) = form(&[("a", cat), ("b", cat)]);
    expect(
        &typed(&content_type, &body[..body.len() - 300]),
        400,
        "bad-body",
        "multipart/form-data",
    );
    expect(&typed("multipart/form-data", &body), 400, "bad-body", "multipart/form-data");
    let (content_type, nothing) = form(&[]);
    expect(&typed(&content_type, &nothing), 400, "bad-body", "at least one file");

    // Too large: by the length that is stated, and by what comes.
    let large = vec![0; (1 << 20) + 1];
    let too_large = typed("image/png", &large);
    expect(&too_large, 413, "too-large", "at most 1 MiB, found 1.0 MiB");
    assert_eq!(too_large.json()["limit_bytes"], 1 << 20);
    let mut client = program.client();
    client
        .write(b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n")
        .expect("sent");
    client.write(&large).expect("sent");
    client.write(b"\r\n0\r\n\r\n").expect("sent");
    expect(&client.read().expect("an answer"), 413, "too-large", "at most 1 MiB");
    // One who asks first is told at once.
    let mut client = program.client();
    client
        .write(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
              Content-Length: 40000000\r\n\r\n",
        )
        .expect("sent");
    expect(&client.read().expect("an answer"), 413, "too-large", "found 38.1 MiB");

    // Each kind of problem is explained where its type points.
    let explained = program.get("/problems/too-large");
    assert!(explained.status == 200 && explained.text().contains("--max-body"));
    assert_eq!(program.classify("", cat).status, 200);
}

#[test]
fn only_this_machine_may_reload() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vgg.safetensors");
    write(&file, 4, "class ");
    let program = Program::start(&["--weights", &file.display().to_string()]);
    for header in [("X-Forwarded-For", "192.0.2.1"), ("Origin", "http://example.com")] {
        let response = program.send("POST", "/v1/reload", &[header], b"");
        expect(&response, 403, "forbidden", "SIGHUP");
    }
    assert_eq!(program.send("POST", "/v1/reload", &[], b"").status, 200);
}

/// What is wrong on the command line is one line on standard error, before anything is served.
#[test]
fn a_wrong_command_line_is_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vgg.safetensors");
    write(&file, 4, "class ");
    let weights = file.display().to_string();
    let missing = folder.path().join("missing.safetensors").display().to_string();
    let same = format!("vgg={weights}");
    for (arguments, words) in [
        (vec!["--weights", &weights, &same], "NAME=FILE"),
        (vec!["--weights", &missing], "missing.safetensors"),
        (vec!["--weights", &weights, "--queue", "0"], "at least 1 image"),
        (vec!["--weights", &weights, "--deadline", "0"], "--deadline"),
        (vec!["--weights", &weights, "--max-uploads", "31"], "--max-body"),
        (vec!["--weights", &weights, "--addr", "192.0.2.1:80"], "--addr"),
    ] {
        let output = Command::new(PATH).args(&arguments).args(["--log", "off"]).output();
        let output = output.expect("it runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.starts_with("error: ") && error.lines().count() == 1, "{error}");
        assert!(error.contains(words), "{error}");
    }
}
