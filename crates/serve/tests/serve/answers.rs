//! Right answers: each picture its own, whatever is computed with it.

use crate::client::{Client, form};
use crate::networks::{
    CLASSES, classifier, distance, expected, is_close, pictures, probabilities, write, write_wide,
};
use crate::program::Program;
use alexnet_vgg_core::vision::Views;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Many clients, two networks, raw pictures and forms: all answers are those of the library, and the metrics add up.
#[test]
fn each_picture_has_its_own_answer_under_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = ["first", "second"].map(|name| folder.path().join(format!("{name}.safetensors")));
    write(&files[0], 1, "a");
    write(&files[1], 2, "b");
    let pictures = pictures();
    let expected: Vec<Vec<Vec<f64>>> = files
        .iter()
        .map(|file| {
            let classifier = classifier(file, Views::center());
            pictures.iter().map(|picture| expected(&classifier, picture)).collect()
        })
        .collect();
    // An answer of another picture or network would be noticed.
    let all: Vec<&Vec<f64>> = expected.iter().flatten().collect();
    for (index, one) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| distance(one, other) > 1e-3), "alike: {index}");
    }
    let second = format!("other={}", files[1].display());
    let program = Program::start(&["--weights", &files[0].display().to_string(), &second]);
    let (next, rounds, clients) = (AtomicUsize::new(0), 10, 24);
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(|| {
                let mut client = program.client();
                for _ in 0..rounds {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let network = number / 3 % 2;
                    let name = ["first", "other"][network];
                    let path = format!("/v1/classify?model={name}&top_k={CLASSES}");
                    let of = |offset: usize| (number + offset) % pictures.len();
                    let shown: Vec<usize> =
                        if number % 4 == 0 { vec![of(0), of(3), of(5)] } else { vec![of(0)] };
                    sent.fetch_add(shown.len(), Ordering::Relaxed);
                    let results = ask(&mut client, &path, &pictures, &shown);
                    for (result, &picture) in results.iter().zip(&shown) {
                        let found = probabilities(result);
                        let expected = &expected[network][picture];
                        assert!(is_close(&found, expected), "{found:?} for {expected:?}");
                        let label = result["predictions"][0]["label"].as_str().expect("a label");
                        assert!(label.starts_with(["a", "b"][network]));
                        assert!(result["batch_size"].as_u64().expect("a number") <= 8);
                    }
                }
            });
        }
    });
    let sent = sent.into_inner() as f64;
    assert_eq!(program.metric("pictures_total"), sent);
    assert_eq!(program.metric("batcher_accepted_total"), sent);
    assert_eq!(program.metric("batcher_requests_total"), sent);
    assert_eq!(program.metric("batch_size_sum"), sent);
    assert_eq!(program.metric("queue_seconds_count"), sent);
    assert_eq!(program.metric("decode_seconds_count"), sent);
    assert!(program.metric("batch_size_count") < sent, "nothing was computed together");
    let answered = program.metric("http_requests_total");
    // The request for the metrics themselves has begun, too.
    assert_eq!(program.metric("http_requests_begun_total"), answered + 2.0);
    assert_eq!(program.metric("uploads_bytes"), 0.0);
}

/// A single picture as it is, several as a form.
fn ask(
    client: &mut Client,
    path: &str,
    pictures: &[Vec<u8>],
    shown: &[usize],
) -> Vec<serde_json::Value> {
    let response = if let [picture] = shown {
        client.send("POST", path, &[("Content-Type", "image/png")], &pictures[*picture])
    } else {
        let names: Vec<String> = shown.iter().map(|picture| format!("{picture}.png")).collect();
        let files: Vec<(&str, &[u8])> =
            names.iter().zip(shown).map(|(name, &it)| (name.as_str(), &pictures[it][..])).collect();
        let (content_type, body) = form(&files);
        client.send("POST", path, &[("Content-Type", &content_type)], &body)
    };
    let response = response.expect("an answer");
    assert_eq!(response.status, 200, "{}", response.text());
    let json = response.json();
    let results = json["results"].as_array().expect("results").clone();
    assert_eq!(results.len(), shown.len());
    if shown.len() > 1 {
        let named = |(result, picture): (&serde_json::Value, &usize)| {
            result["name"] == format!("{picture}.png")
        };
        assert!(results.iter().zip(shown).all(named), "{json}");
    }
    results
}

/// Views, heat maps, and a broken file among good ones.
#[test]
fn views_heat_maps_and_broken_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vgg.safetensors");
    // With as large an input as it takes for a heat map of several cells.
    write_wide(&file, 3, "class ", 0.05, 224);
    let program = Program::start(&["--weights", &file.display().to_string(), "--max-views", "12"]);
    let pictures = pictures();
    for (name, views) in [
        ("ten-crop", Views::ten_crop()),
        ("dense", Views::dense()),
        ("center+hflip", "center+hflip".parse().expect("views")),
        ("flips%2Bdense", Views::flips().joined_with(Views::dense())),
    ] {
        let expected = expected(&classifier(&file, views), &pictures[0]);
        let response = program.classify(&format!("?views={name}&top_k=10"), &pictures[0]);
        assert_eq!(response.status, 200, "{}", response.text());
        let result = &response.json()["results"][0];
        assert!(is_close(&probabilities(result), &expected), "{name}: {result} for {expected:?}");
        let agreement = result["agreement"].as_f64().expect("several views");
        assert!((0.0..=1.0).contains(&agreement));
    }

    let broken = &pictures[1][..2000];
    let (content_type, body) = form(&[
        ("cat.jpg", &pictures[0]),
        ("broken.jpg", broken),
        ("empty", b""),
        ("b.png", &pictures[5]),
    ]);
    let headers = [("Content-Type", content_type.as_str())];
    let response = program.send("POST", "/v1/classify?heatmap=true&top_k=2", &headers, &body);
    assert_eq!(response.status, 200, "{}", response.text());
    let json = response.json();
    assert_eq!(json["model"], "vgg");
    for (index, size) in [(0, [451, 300]), (3, [90 + 11 * 3, 80 + 7 * 3])] {
        let result = &json["results"][index];
        assert_eq!(result["predictions"].as_array().expect("predictions").len(), 2);
        assert_eq!([&result["width"], &result["height"]], size);
        assert_eq!(result["agreement"], serde_json::Value::Null);
        assert_eq!(result["heatmap"]["label"], result["predictions"][0]["label"]);
        let png = result["heatmap"]["png"].as_str().expect("an address");
        let png = png.strip_prefix("data:image/png;base64,").expect("a PNG");
        let overlay =
            image::load_from_memory(&STANDARD.decode(png).expect("base64")).expect("a PNG");
        let overlay = overlay.into_rgba8();
        let ratio = f64::from(overlay.width()) / f64::from(overlay.height());
        assert!((ratio / (f64::from(size[0]) / f64::from(size[1])) - 1.0).abs() < 0.02);
        let opacities: Vec<u8> = overlay.pixels().map(|pixel| pixel.0[3]).collect();
        // Pixels lie between the cells of the map, so that few of them have its very ends.
        let [least, most] = [opacities.iter().min(), opacities.iter().max()];
        assert!(least < Some(&40) && most > Some(&215), "{least:?} to {most:?}");
        let timing = &result["timing_ms"];
        let of = |name: &str| timing[name].as_f64().expect("a time");
        assert!(of("total") >= of("decode") + of("compute") && of("compute") > 0.0, "{timing}");
    }
    for (index, name) in [(1, "broken.jpg"), (2, "empty")] {
        let result = &json["results"][index];
        assert_eq!((&result["name"], &result["error"]["status"]), (&name.into(), &422.into()));
        assert!(result["error"]["detail"].as_str().expect("text").contains("expected"));
    }
}

/// What is listed, and the page.
#[test]
fn paths_for_people_and_programs() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vgg.safetensors");
    write(&file, 3, "class ");
    let program = Program::start(&["--weights", &format!("mine={}", file.display())]);
    let models = program.get("/v1/models").json();
    let model = &models["models"][0];
    assert_eq!((&model["name"], &model["network"]), (&"mine".into(), &"vgg11".into()));
    assert_eq!((&model["classes"], &model["labels"][9]), (&10.into(), &"class 9".into()));
    assert_eq!((&model["input"], &model["default"]), (&vec![64, 64].into(), &true.into()));
    assert_eq!(models["limits"]["body_bytes"], 32 << 20);
    assert_eq!(program.get("/v1/samples").json()["samples"], serde_json::json!([]));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(program.get(path).status, 200);
    }
    for (path, content_type) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
    {
        let response = program.get(path);
        assert!(response.header("content-type").expect("a type").starts_with(content_type));
        let policy = response.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(
            !response.text().contains("http://") && !response.text().contains("https://"),
            "{path}"
        );
    }
    let check = |url: &str| {
        let output =
            std::process::Command::new(crate::program::PATH).args(["--check", url]).output();
        output.expect("it runs").status.success()
    };
    assert!(check(&format!("http://{}", program.address)));
    let address = program.address;
    drop(program);
    assert!(!check(&format!("http://{address}")));
}
