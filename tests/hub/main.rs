//! Published weights over a network that does everything but what it should.

#[path = "../formula/mod.rs"]
mod formula;
mod network;
mod processes;
mod server;

use alexnet_vgg::Error;
use alexnet_vgg::backend::Cpu;
use alexnet_vgg::hub::{Options, PUBLISHED, Published, Size};
use alexnet_vgg::models::*;
use safetensors::tensor::{Dtype, TensorView};
use server::{Reply::*, Server};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILE: &str = "small.safetensors";
/// For silence. Long enough for a busy machine, and shorter than `Slow` takes.
const LIMIT: Duration = Duration::from_secs(1);

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
        time_limit: LIMIT,
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
