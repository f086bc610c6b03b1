//! Several processes, and one that is killed.

use super::server::{Reply::*, Server};
use super::{content, expect_no_file, folder, options, part, published};
use alexnet_vgg_core::architecture::VggConfig;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starts another process that does `what`: its environment tells it.
fn child(what: &str, cache: &Path, server: &Server) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "processes::in_another_process", "--nocapture"])
        .env("HUB_TEST_CHILD", what)
        .env("ALEXNET_VGG_CACHE", cache)
        .env("ALEXNET_VGG_MIRROR", &server.address)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// Not a test, but what [`child`] runs.
#[test]
fn in_another_process() {
    match std::env::var("HUB_TEST_CHILD").as_deref() {
        Ok("fetch") => {
            alexnet_vgg_core::hub::fetch(&published(&content())).expect("the file");
        }
        Ok("pretrained") => {
            let options = CompileOptions::default();
            Compiled::pretrained(VggConfig::vgg16(), options).expect("the weights");
        }
        _ => {}
    }
}

#[test]
fn pretrained_asks_for_the_published_file() {
    let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let server = Server::new(content(), vec![Raw(missing.into())]);
    let cache = folder();
    let output = child("pretrained", cache.path(), &server).wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let address = format!("{}/vgg16-397923af.pth", server.address);
    assert!(said.contains(&address) && said.contains("404"), "{said}");
    assert_eq!(server.requests()[0].path, "/weights/vgg16-397923af.pth");
}

fn until(what: &str, happened: impl Fn() -> bool) {
    let start = Instant::now();
    while !happened() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_processes_and_four_threads_fetch_once() {
    let all = content();
    let server = Server::new(all.clone(), vec![Slow]);
    let cache = folder();
    let first = child("fetch", cache.path(), &server);
    until("the first process asks", || server.requests().len() == 1);
    let second = child("fetch", cache.path(), &server);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                options(cache.path(), &server).fetch(&published(&all)).expect("the file")
            });
        }
    });
    let output = |child: Child| child.wait_with_output().expect("it ends");
    let (first, second) = (output(first), output(second));
    assert!(first.status.success() && second.status.success(), "{first:?} {second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("waiting for another process that is downloading"), "{said}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_killed_process_leaves_a_part_that_the_next_one_continues() {
    let all = content();
    let half = all.len() / 2;
    let server = Server::new(all.clone(), vec![Stall(half), Whole]);
    let cache = folder();
    let mut killed = child("fetch", cache.path(), &server);
    let length = || fs::metadata(part(cache.path())).map_or(0, |data| data.len());
    until("half of it has come", || length() == half as u64);
    killed.kill().expect("it ran");
    killed.wait().expect("it ended");
    expect_no_file(cache.path());
    let path = options(cache.path(), &server).fetch(&published(&all)).expect("the rest");
    assert_eq!(fs::read(path).expect("the file"), all);
    assert_eq!(server.requests()[1].range, Some(half as u64));
}
