//! Weights that are replaced while the service runs.

use crate::networks::{classifier, expected, is_close, pictures, probabilities, write};
use crate::program::Program;
use alexnet_vgg_core::vision::Views;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

fn all_expected(file: &Path, pictures: &[Vec<u8>]) -> Vec<Vec<f64>> {
    let classifier = classifier(file, Views::center());
    pictures.iter().map(|picture| expected(&classifier, picture)).collect()
}

/// Each answer is wholly of the old weights or wholly of the new ones, with the labels that belong to them; a bad file
/// changes nothing; and no request fails.
#[test]
fn weights_are_replaced_under_load() {
    let folder = tempfile::tempdir().expect("a folder");
    let [file, other] =
        ["served", "other"].map(|name| folder.path().join(format!("{name}.safetensors")));
    write(&file, 8, "old ");
    write(&other, 9, "new ");
    let pictures = pictures();
    let generations = [all_expected(&file, &pictures), all_expected(&other, &pictures)];
    let program = Program::start(&["--weights", &file.display().to_string()]);
    let (is_over, of_new) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (program, pictures, generations) = (&program, &pictures, &generations);
            let (is_over, of_new) = (&is_over, &of_new);
            scope.spawn(move || {
                let mut client = program.client();
                for number in thread.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let picture = number % pictures.len();
                    let response =
                        client.send("POST", "/v1/classify?top_k=10", &[], &pictures[picture]);
                    let response = response.expect("an answer");
                    assert_eq!(response.status, 200, "{}", response.text());
                    let result = &response.json()["results"][0];
                    let label = result["predictions"][0]["label"].as_str().expect("a label");
                    let generation = usize::from(label.starts_with("new"));
                    of_new.fetch_add(generation, Ordering::Relaxed);
                    let found = probabilities(result);
                    let expected = &generations[generation][picture];
                    assert!(is_close(&found, expected), "{label}: {found:?} for {expected:?}");
                }
            });
        }
        // Half a file, as if somebody were still writing it.
        let bytes = std::fs::read(&other).expect("bytes");
        std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");
        let response = program.send("POST", "/v1/reload", &[], b"");
        assert_eq!(
            (response.status, &response.json()["type"]),
            (422, &"/problems/bad-weights".into())
        );
        assert!(response.json()["detail"].as_str().expect("text").contains("goes on serving"));
        program.signal("HUP");
        wait_for(|| program.metric("reloads_total{outcome=\"failed\"}") == 2.0);
        assert_eq!(of_new.load(Ordering::Relaxed), 0);

        std::fs::rename(&other, &file).expect("renamed");
        program.signal("HUP");
        wait_for(|| of_new.load(Ordering::Relaxed) > 50);
        // Counters go on.
        assert!(program.metric("batcher_accepted_total") > 50.0);
        is_over.store(true, Ordering::Relaxed);
    });
    let accepted = program.metric("batcher_accepted_total");
    assert_eq!(
        program.metric("batcher_requests_total{model=\"served\",outcome=\"answered\"}"),
        accepted
    );
    assert_eq!(program.metric("pictures_total"), accepted);
}

fn wait_for(is_true: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_true() {
        assert!(start.elapsed() < Duration::from_secs(30), "it did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
