//! SIGTERM under load: what was accepted is answered.

use crate::client::Client;
use crate::networks::{classifier, expected, is_close, pictures, probabilities, write};
use crate::program::Program;
use alexnet_vgg_core::vision::Views;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[test]
fn a_signal_ends_it_when_all_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vgg.safetensors");
    write(&file, 7, "class ");
    let pictures = pictures();
    let classifier = classifier(&file, Views::center());
    let expected: Vec<Vec<f64>> =
        pictures.iter().map(|picture| expected(&classifier, picture)).collect();
    for signal in ["TERM", "INT"] {
        let program = Program::start(&["--weights", &file.display().to_string()]);
        let address = program.address;
        let (answered, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (pictures, expected) = (&pictures, &expected);
                let (answered, lost) = (&answered, &lost);
                scope.spawn(move || {
                    for number in thread.. {
                        // Refused from now on.
                        let Ok(mut client) = Client::connect(address) else { return };
                        let picture = number % pictures.len();
                        match client.send("POST", "/v1/classify?top_k=10", &[], &pictures[picture])
                        {
                            Ok(response) => {
                                assert_eq!(response.status, 200, "{}", response.text());
                                let found = probabilities(&response.json()["results"][0]);
                                assert!(is_close(&found, &expected[picture]));
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            // The system made the connection, but the program never saw it.
                            Err(error) if is_reset(error.kind()) => {
                                lost.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            while answered.load(Ordering::Relaxed) < 50 {
                std::thread::sleep(Duration::from_millis(5));
            }
            program.signal(signal);
            let (status, log) = program.wait();
            assert!(status.success(), "{status}: {log:?}");
            let end = log.last().expect("lines").clone();
            let field = |name: &str| -> usize {
                let (_, rest) = end.split_once(&format!(" {name}=")).expect("a field");
                rest.split(' ').next().and_then(|it| it.parse().ok()).expect("a number")
            };
            assert_eq!((field("requests"), field("left")), (field("answered"), 0), "{end}");
            // The clients may not have counted their last answers yet.
            let start = std::time::Instant::now();
            while answered.load(Ordering::Relaxed) < field("answered") {
                assert!(start.elapsed() < Duration::from_secs(10), "{end}, {answered:?}");
            }
            assert_eq!(answered.load(Ordering::Relaxed), field("answered"));
        });
        assert!(lost.into_inner() <= 16);
    }
}

fn is_reset(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
}
