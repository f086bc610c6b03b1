//! Published weights over a network on which everything goes wrong.

#[path = "../formula/mod.rs"]
mod formula;
mod network;
mod processes;
mod server;

use alexnet_vgg_core::architecture::VggConfig;
use alexnet_vgg_core::engine::{CompileOptions, Compiled};
use alexnet_vgg_core::hub::{HubOptions, PUBLISHED, Published, Size};
use alexnet_vgg_core::vision::Preset;
use alexnet_vgg_core::weights::LoadOptions;
use alexnet_vgg_core::{Error, Result};
use safetensors::tensor::{Dtype, TensorView};
use server::{Reply::*, Server};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const FILE: &str = "small.safetensors";
/// How long a server may be silent. Long enough for a busy machine, and shorter than `Slow` takes.
const LIMIT: Duration = Duration::from_secs(1);

/// A file that takes several reads, and of which no two parts are alike.
fn content() -> Vec<u8> {
    (0..100_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

/// The published file with this content.
fn published(content: &[u8]) -> Published {
    let sha256: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    Published {
        file: FILE.into(),
        size: Size::Bytes(content.len() as u64),
        sha256: sha256.into(),
        ..PUBLISHED[0].clone()
    }
}

fn options(cache: &Path, server: &Server) -> HubOptions {
    HubOptions {
        mirror: Some(server.address.clone()),
        progress: false,
        time_limit: LIMIT,
        retries: 2,
        retry_wait: Duration::from_millis(1),
        ..HubOptions::in_folder(cache)
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn part(cache: &Path) -> PathBuf {
    cache.join(format!("{FILE}.part"))
}

/// Fails if anything has the file's name and could be mistaken for it.
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
        options(cache.path(), &server).fetch(&published(&all)).expect("online");
        options(cache.path(), &server)
    };
    offline.fetch(&published(&all)).expect("offline");
    for damage in [&b""[..], b"{", b"{\"sha256\":\"00\"}", &[0xff; 9]] {
        fs::write(&sidecar, damage).expect("a sidecar");
        offline.fetch(&published(&all)).expect("checked again");
        assert!(fs::read(&sidecar).expect("a sidecar").len() > 60, "written again");
    }

    // Put there by hand, where nothing can be written: folders have the names of the files beside it.
    let by_hand = folder();
    fs::copy(&file, by_hand.path().join(FILE)).expect("a copy");
    for name in ["lock", "checked", "part"] {
        fs::create_dir(by_hand.path().join(format!("{FILE}.{name}"))).expect("a folder");
    }
    HubOptions { cache: by_hand.path().into(), ..offline.clone() }
        .fetch(&published(&all))
        .expect("as it is");

    // Damage that changes neither size nor time is found by `always_verify` alone.
    let time = fs::metadata(&file).and_then(|data| data.modified()).expect("a time");
    fs::write(&file, vec![0; all.len()]).expect("damage");
    let damaged = fs::File::options().append(true).open(&file).expect("the file");
    damaged.set_modified(time).expect("a time");
    offline.fetch(&published(&all)).expect("not noticed");
    let always = HubOptions { always_verify: true, ..offline.clone() };
    let error =
        always.fetch(&published(&all)).expect_err("noticed, and no server has it").to_string();
    assert!(error.contains(FILE) && error.to_lowercase().contains("refused"), "{error}");

    // Damage that shows.
    for damage in [vec![0; all.len()], all[1..].to_vec(), vec![]] {
        fs::write(&file, damage).expect("damage");
        offline.fetch(&published(&all)).expect_err("damaged");
        let server = Server::new(all.clone(), vec![Whole]);
        options(cache.path(), &server).fetch(&published(&all)).expect("fetched again");
        assert_eq!((fs::read(&file).expect("the file"), server.requests().len()), (all.clone(), 1));
    }
}

#[test]
fn a_downloaded_file_gives_the_network() -> Result<()> {
    let vgg = VggConfig::vgg11_bn().with_width(0.05).with_num_classes(7).architecture()?;
    let tensors: Vec<_> = vgg
        .parameters()
        .map(|p| (formula::all_values(p).iter().flat_map(|v| v.to_le_bytes()).collect(), p))
        .collect::<Vec<(Vec<u8>, _)>>();
    let views = tensors.iter().map(|(bytes, p)| {
        (p.key.clone(), TensorView::new(Dtype::F32, p.shape.clone(), bytes).expect("a tensor"))
    });
    let file = safetensors::serialize(views, None).expect("serializable");
    let server = Server::new(file.clone(), vec![Whole]);
    let cache = folder();
    let options = options(cache.path(), &server);
    let compile = |architecture, load| {
        let weights = options.open(&published(&file))?;
        Compiled::from_weights(architecture, &weights, load, CompileOptions::default())
    };
    let network = compile(vgg.clone(), LoadOptions::default())?;
    compile(vgg.without_classifier(), LoadOptions::features())?;
    assert_eq!(server.requests().len(), 1);
    // The preset that the published weights were trained with.
    assert_eq!(network.metadata().preset, Some(Preset::imagenet()));

    let logits = |network: Compiled| {
        let mut logits = [0.0; 7];
        network.run(&[1.0; 3 * 64 * 64], [1, 3, 64, 64], &mut logits).map(|()| logits)
    };
    let expected = formula::compiled(vgg, CompileOptions::default());
    assert_eq!(logits(network)?, logits(expected)?);
    Ok(())
}

#[test]
fn errors_of_the_disk_are_reported() {
    let all = content();
    let server = Server::new(all.clone(), vec![Whole]);
    let cache = folder();
    // Tests may run as root, who ignores permissions; but nobody can make a folder in a file.
    let file = cache.path().join("a file");
    fs::write(&file, "").expect("a file");
    let below = file.join("cache");
    let error =
        options(&below, &server).fetch(&published(&all)).expect_err("no folder").to_string();
    assert!(error.contains("a file"), "{error}");
    // The file's name is taken by a folder.
    fs::create_dir(cache.path().join(FILE)).expect("a folder");
    options(cache.path(), &server).fetch(&published(&all)).expect_err("a folder in its place");

    // A device that is always full.
    #[cfg(target_os = "linux")]
    {
        let full = folder();
        std::os::unix::fs::symlink("/dev/full", part(full.path())).expect("a link");
        let error = options(full.path(), &server).fetch(&published(&all)).expect_err("full");
        let said = error.to_string();
        assert!(matches!(error, Error::Io { .. }) && said.contains("No space left"), "{said}");
        expect_no_file(full.path());
    }
}
