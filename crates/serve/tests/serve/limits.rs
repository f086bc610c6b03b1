//! Slow clients, clients that vanish, and more work than there is time for.

use crate::networks::{pictures, write, write_wide};
use crate::program::Program;
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[test]
fn slow_and_vanishing_clients_harm_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("vgg.safetensors");
    write(&file, 5, "class ");
    let weights = file.display().to_string();
    let times = ["--header-timeout", "1", "--upload-timeout", "1", "--max-connections", "8"];
    let program = Program::start(&[&["--weights", &weights], &times[..]].concat());
    let pictures = pictures();
    let cat = &pictures[0];
    let half = |head: &str| [head.as_bytes(), &cat[..cat.len() / 2]].concat();
    let head = format!(
        "POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
        cat.len()
    );

    // As many as there may be, who never finish their heads. The others wait until these are thrown out.
    let mut slow: Vec<_> = (0..8).map(|_| program.client()).collect();
    slow.iter_mut().for_each(|client| client.write(b"POST /v1/cl").expect("sent"));
    let start = Instant::now();
    assert_eq!(program.classify("", cat).status, 200);
    assert!(start.elapsed() > Duration::from_millis(500), "they were not thrown out");
    slow.iter_mut().for_each(|client| assert!(client.read().is_err()));

    // Who never finishes a body is told so.
    let mut client = program.client();
    client.write(&half(&head)).expect("sent");
    let response = client.read().expect("an answer");
    assert_eq!((response.status, &response.json()["type"]), (408, &"/problems/too-slow".into()));

    // Who leaves in the middle of a body is forgotten, and so is the memory.
    for _ in 0..20 {
        program.client().write(&half(&head)).expect("sent");
    }
    assert_eq!(program.classify("", cat).status, 200);
    let start = Instant::now();
    while program.metric("uploads_bytes") != 0.0 {
        assert!(start.elapsed() < Duration::from_secs(10), "memory of uploads is held");
    }
    // Twenty of them, told or gone.
    let forgotten = |program: &Program| {
        program.metric("http_requests_left_total")
            + program.metric("http_requests_total{path=\"/v1/classify\",status=\"400\"}")
            + program.metric("http_requests_total{path=\"/v1/classify\",status=\"408\"}")
    };
    let start = Instant::now();
    while forgotten(&program) < 21.0 {
        assert!(start.elapsed() < Duration::from_secs(10), "{}", forgotten(&program));
    }
}

/// A slow network and a short queue: some requests are refused at once, the others are answered; who leaves is not
/// computed; and nobody waits beyond the deadline.
#[test]
fn a_full_queue_refuses_and_deadlines_hold() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("slow.safetensors");
    write_wide(&file, 6, "class ", 0.25, 224);
    let weights = file.display().to_string();
    let limits = ["--queue", "20", "--threads", "1", "--max-decodes", "4", "--max-batch", "1"];
    let slow = "/v1/classify?views=ten-crop";
    let pictures = pictures();

    let program = Program::start(&[&["--weights", &weights], &limits[..]].concat());
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let response = program.send("POST", slow, &[], &pictures[1]);
                if response.status == 503 {
                    assert_eq!(response.header("retry-after"), Some("1"));
                    assert_eq!(response.json()["type"], "/problems/busy");
                }
                statuses.lock().expect("no panic").push(response.status);
            });
        }
    });
    let statuses = statuses.into_inner().expect("no panic");
    let count = |status: u16| statuses.iter().filter(|&&it| it == status).count();
    let (answered, refused) = (count(200), count(503));
    assert_eq!(answered + refused, 16, "{statuses:?}");
    assert!(answered >= 3 && refused >= 1, "{statuses:?}");
    assert_eq!(
        program.metric("batcher_requests_total{model=\"slow\",outcome=\"refused\"}"),
        refused as f64
    );

    // Two are before these, which leave while they wait.
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| program.send("POST", slow, &[], &pictures[1]));
        }
        while program.metric("batcher_computing") < 1.0 || program.metric("batcher_waiting") < 1.0 {
        }
        let mut client = program.client();
        let len = pictures[2].len();
        let head =
            format!("POST {slow} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n");
        client.write(&[head.as_bytes(), &pictures[2]].concat()).expect("sent");
        std::thread::sleep(Duration::from_millis(100));
        drop(client);
    });
    let left = |program: &Program| program.metric("http_requests_left_total");
    let start = Instant::now();
    while left(&program) < 1.0 {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    drop(program);

    let deadline = ["--deadline", "0.3", "--queue", "1000"];
    let program = Program::start(&[&["--weights", &weights], &limits[2..], &deadline[..]].concat());
    let statuses = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let start = Instant::now();
                let response = program.send("POST", slow, &[], &pictures[1]);
                statuses.lock().expect("no panic").push((response.status, start.elapsed()));
            });
        }
    });
    let statuses = statuses.into_inner().expect("no panic");
    let late = statuses.iter().filter(|(status, _)| *status == 504).count();
    assert!(
        late >= 1 && statuses.iter().all(|(status, _)| [200, 504].contains(status)),
        "{statuses:?}"
    );
    let is_told_late =
        |&(status, time): &(u16, Duration)| status == 504 && time > Duration::from_secs(5);
    assert!(!statuses.iter().any(is_told_late), "{statuses:?}");
}
