//! Published weights over a network that does everything but what it should.

mod formula;
mod hub_server;

use alexnet_vgg::Error;
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::hub::{Options, PUBLISHED, Published, Size};
use alexnet_vgg::models::*;
use hub_server::{Reply::*, Server};
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FILE: &str = "small.safetensors";
const LOGIN: &str = "<!DOCTYPE html><title>Log in to this network</title>";

/// Enough for several reads, and no two parts of it alike.
fn content() -> Vec<u8> {
    (0..100_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn row(content: &[u8]) -> Published {
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Published {
        file: FILE.into(),
        size: Size::Bytes(content.len() as u64),
        sha256: sha256.into(),
        ..PUBLISHED[0].clone()
    }
}

fn options(cache: &Path, server: &Server) -> Options {
    Options {
        mirror: Some(server.address.clone()),
        progress: false,
        time_limit: Duration::from_millis(500),
        retries: 2,
        retry_wait: Duration::from_millis(1),
        ..Options::in_folder(cache)
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn part(cache: &Path) -> PathBuf {
    cache.join(format!("{FILE}.part"))
}

/// Nothing that has the file's name, so nothing that could be taken for it.
fn expect_no_file(cache: &Path) {
    assert!(!cache.join(FILE).exists());
}

#[test]
fn what_servers_do_and_what_comes_of_it() {
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
    // Replies in order (the last one again and again), requests, and what the error says, if any.
    let cases = [
        ("plain", vec![Whole], 1, None),
        ("slow", vec![Slow], 1, None),
        ("cut, resumed", vec![Cut(n / 3), Whole], 2, None),
        ("cut twice", vec![Cut(n / 3), Cut(n / 3), Whole], 3, None),
        ("cut, no ranges", vec![CutNoRanges(n / 3), NoRanges], 2, None),
        ("cut too often", vec![CutNoRanges(n / 3)], 3, Some("a cut connection")),
        ("changed", vec![Cut(n / 3), Etag("\"new\""), Whole], 2, None),
        ("changed, If-Range ignored", vec![Cut(n / 3), IgnoreIfRange("\"new\""), Whole], 3, None),
        ("stalls, then not", vec![Stall(n / 2), Whole], 2, None),
        ("stalls", vec![Stall(0)], 3, Some("nothing for 500ms")),
        ("silent", vec![Silent], 3, Some("nothing for 500ms")),
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
        // HTTP ends the body where it was announced to end: the rest is not part of it.
        ("longer than announced", vec![raw(&head("200 OK", n), &more)], 1, None),
        (
            "shorter than announced",
            vec![raw(&head("200 OK", n), &all[..9])],
            3,
            Some("a cut connection"),
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
        ("hangs up", vec![Raw(vec![])], 3, Some("a cut connection")),
    ];
    let mut failures = Vec::new();
    for (name, replies, requests, says) in cases {
        let server = Server::new(all.clone(), replies);
        let cache = folder();
        let fetched = options(cache.path(), &server).fetch(&row(&all));
        let right = match (&fetched, says) {
            (Ok(path), None) => {
                fs::read(path).expect("a file") == all && !part(cache.path()).exists()
            }
            (Err(error), Some(says)) => {
                let said = error.to_string();
                let about = said.contains(&server.address) && said.contains(says);
                about && !cache.path().join(FILE).exists()
            }
            _ => false,
        };
        let seen = server.requests().len();
        if !right || seen != requests {
            failures.push(format!("{name}: {seen} requests, {fetched:?}"));
        }
        // What is not a beginning of the file is not kept as one.
        let kept = fs::read(part(cache.path())).unwrap_or_default();
        if !all.starts_with(&kept) {
            failures.push(format!("{name}: kept {} bytes of something else", kept.len()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn resuming_asks_for_the_rest_of_the_same_version() {
    let all = content();
    let server = Server::new(all.clone(), vec![Cut(1000), Whole]);
    let cache = folder();
    let once = Options { retries: 0, ..options(cache.path(), &server) };
    once.fetch(&row(&all)).expect_err("cut");
    expect_no_file(cache.path());
    assert_eq!(fs::read(part(cache.path())).expect("a part"), all[..1000]);
    // A later run.
    let path = once.fetch(&row(&all)).expect("the rest");
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
        options(cache.path(), &server).fetch(&row(&all)).expect(name);
        assert_eq!(server.requests().len(), requests, "{name}");
        assert!(!part(cache.path()).exists(), "{name}");
    }
    // The hash finds a wrong beginning; the run after that starts anew.
    let server = Server::new(all.clone(), vec![Whole]);
    let cache = folder();
    fs::write(part(cache.path()), [7; 100]).expect("a part");
    let error = options(cache.path(), &server).fetch(&row(&all)).expect_err("a wrong hash");
    assert!(matches!(error, Error::Checksum { .. }), "{error}");
    options(cache.path(), &server).fetch(&row(&all)).expect("anew");
}

#[test]
fn a_warm_cache_needs_no_server_and_a_damaged_file_is_fetched_again() {
    let all = content();
    let cache = folder();
    let file = cache.path().join(FILE);
    let sidecar = cache.path().join(format!("{FILE}.checked"));
    let offline = {
        let server = Server::new(all.clone(), vec![Whole]);
        options(cache.path(), &server).fetch(&row(&all)).expect("online");
        options(cache.path(), &server)
    };
    offline.fetch(&row(&all)).expect("offline");
    for damage in [&b""[..], b"{", b"{\"sha256\":\"00\"}", &[0xff; 9]] {
        fs::write(&sidecar, damage).expect("a sidecar");
        offline.fetch(&row(&all)).expect("checked again");
        assert!(fs::read(&sidecar).expect("a sidecar").len() > 60, "written again");
    }

    // Put there by hand, where nothing can be written: these folders stand where files should be.
    let by_hand = folder();
    fs::copy(&file, by_hand.path().join(FILE)).expect("a copy");
    for name in ["lock", "checked", "part"] {
        fs::create_dir(by_hand.path().join(format!("{FILE}.{name}"))).expect("a folder");
    }
    Options { cache: by_hand.path().into(), ..offline.clone() }
        .fetch(&row(&all))
        .expect("as it is");

    // Damage that changes neither size nor time: only who asks for it pays for the whole check.
    let time = fs::metadata(&file).and_then(|data| data.modified()).expect("a time");
    fs::write(&file, vec![0; all.len()]).expect("damage");
    let damaged = fs::File::options().append(true).open(&file).expect("the file");
    damaged.set_modified(time).expect("a time");
    offline.fetch(&row(&all)).expect("not noticed");
    let always = Options { always_verify: true, ..offline.clone() };
    let error = always.fetch(&row(&all)).expect_err("noticed, and nobody has it").to_string();
    assert!(error.contains(FILE) && error.to_lowercase().contains("refused"), "{error}");

    // Damage that shows.
    for damage in [vec![0; all.len()], all[1..].to_vec(), vec![]] {
        fs::write(&file, damage).expect("damage");
        offline.fetch(&row(&all)).expect_err("damaged");
        let server = Server::new(all.clone(), vec![Whole]);
        options(cache.path(), &server).fetch(&row(&all)).expect("fetched again");
        assert_eq!((fs::read(&file).expect("the file"), server.requests().len()), (all.clone(), 1));
    }
}

#[test]
fn a_fetched_file_gives_the_network() {
    let table = || VggConfig::vgg11_bn().with_width(0.05).with_num_classes(7).architecture();
    let tensors: Vec<_> = (table().parameters().expect("valid").into_iter())
        .map(|p| {
            let values = formula::fill(&p.key, &p.shape, 0..p.shape[0]);
            (values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>(), p)
        })
        .collect();
    let views = tensors.iter().map(|(bytes, p)| {
        (p.key.clone(), TensorView::new(Dtype::F32, p.shape.clone(), bytes).expect("a tensor"))
    });
    let file = safetensors::serialize(views, None).expect("serializable");
    let server = Server::new(file.clone(), vec![Whole]);
    let cache = folder();
    let (options, device) = (options(cache.path(), &server), Default::default());
    let network: Network<Cpu> = options.load(&row(&file), table(), &device).expect("all of it");
    let three = table().without_classifier();
    options.load_features::<Cpu>(&row(&file), three, &device).expect("its features");
    assert_eq!(server.requests().len(), 1);

    let images = burn::tensor::Tensor::ones([1, 3, 64, 64], &device);
    let values = |network: Network<Cpu>| network.forward(images.clone()).into_data();
    let expected = values(formula::network(table(), &device));
    values(network).assert_eq(&expected, true);
}

#[test]
fn what_the_disk_refuses_is_said() {
    let all = content();
    let server = Server::new(all.clone(), vec![Whole]);
    let cache = folder();
    // Tests may run as root, whom permissions do not stop: but no folder can be made in a file.
    let file = cache.path().join("a file");
    fs::write(&file, "").expect("a file");
    let below = file.join("cache");
    let error = options(&below, &server).fetch(&row(&all)).expect_err("no folder").to_string();
    assert!(error.contains("a file"), "{error}");
    // The file's name is taken by a folder.
    fs::create_dir(cache.path().join(FILE)).expect("a folder");
    options(cache.path(), &server).fetch(&row(&all)).expect_err("a folder in its place");

    // A device that is always full.
    #[cfg(target_os = "linux")]
    {
        let full = folder();
        std::os::unix::fs::symlink("/dev/full", part(full.path())).expect("a link");
        let error = options(full.path(), &server).fetch(&row(&all)).expect_err("full");
        let said = error.to_string();
        assert!(matches!(error, Error::Io { .. }) && said.contains("No space left"), "{said}");
        expect_no_file(full.path());
    }
}

/// Another process that does `what`, by its environment.
fn child(what: &str, cache: &Path, server: &Server) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "in_another_process", "--nocapture"])
        .env("HUB_TEST_CHILD", what)
        .env("ALEXNET_VGG_CACHE", cache)
        .env("ALEXNET_VGG_MIRROR", &server.address)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process")
}

/// No test, but what [`child`] runs.
#[test]
fn in_another_process() {
    match std::env::var("HUB_TEST_CHILD").as_deref() {
        Ok("fetch") => drop(alexnet_vgg::hub::fetch(&row(&content())).expect("the file")),
        Ok("pretrained") => {
            Vgg::<Cpu>::pretrained(VggConfig::vgg16(), &Default::default()).expect("the weights");
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
            scope.spawn(|| options(cache.path(), &server).fetch(&row(&all)).expect("the file"));
        }
    });
    let output = |child: Child| child.wait_with_output().expect("it ends");
    let (first, second) = (output(first), output(second));
    assert!(first.status.success() && second.status.success(), "{first:?} {second:?}");
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("waiting for another process that fetches"), "{said}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_killed_process_leaves_a_part_that_the_next_one_goes_on_with() {
    let all = content();
    let half = all.len() / 2;
    let server = Server::new(all.clone(), vec![Stall(half), Whole]);
    let cache = folder();
    let mut killed = child("fetch", cache.path(), &server);
    let length = || fs::metadata(part(cache.path())).map_or(0, |data| data.len());
    until("half of it came", || length() == half as u64);
    killed.kill().expect("it ran");
    killed.wait().expect("it ended");
    expect_no_file(cache.path());
    let path = options(cache.path(), &server).fetch(&row(&all)).expect("the rest");
    assert_eq!(fs::read(path).expect("the file"), all);
    assert_eq!(server.requests()[1].range, Some(half as u64));
}
