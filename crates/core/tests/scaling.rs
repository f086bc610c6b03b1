//! Estimates of the step time of many hosts: the tables of docs/several-machines.md.
//! `ALEXNET_VGG_WRITE_TABLES=1 cargo test -p alexnet-vgg-core --test scaling` writes them.

use alexnet_vgg_core::architecture::NetworkConfig;
use alexnet_vgg_core::architecture::summary::Summary;
use std::fmt::Write;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/several-machines.md");

/// The name of a network, seconds per image of a step on one host, and the recipe's learning rate and batch.
const NETWORKS: [(&str, f64, f64, f64); 2] =
    [("alexnet", 0.660 / 8.0, 0.01, 128.0), ("vgg16", 9.282 / 8.0, 0.01, 256.0)];
/// How much faster a host is than the one that was measured.
const FASTER: [f64; 3] = [1.0, 10.0, 100.0];
const HOSTS: [f64; 3] = [8.0, 64.0, 512.0];
const LINKS: [Link; 2] = [
    Link { name: "10 Gbit/s", bytes: 1.25e9, latency: 30e-6 },
    Link { name: "100 Gbit/s", bytes: 12.5e9, latency: 10e-6 },
];

/// Images per host, for the step times.
const IMAGES: f64 = 32.0;
/// How much longer the slowest host computes than the average one, as a fraction.
const WAIT: f64 = 0.05;
/// Bytes that go through MPI at once.
const CHUNK: f64 = 25e6;

/// A network between hosts.
struct Link {
    name: &'static str,
    /// Bytes per second, in each direction.
    bytes: f64,
    /// Seconds per message.
    latency: f64,
}

/// Seconds of an all-reduce over a ring: each of k hosts sends 2 (k - 1) messages per chunk.
fn all_reduce(link: &Link, hosts: f64, bytes: f64) -> f64 {
    let messages = 2.0 * (hosts - 1.0);
    messages / hosts * bytes / link.bytes + messages * (bytes / CHUNK).ceil() * link.latency
}

/// Bytes of a network's gradients.
fn bytes(network: &str) -> f64 {
    let config = NetworkConfig::by_name(network).expect("a known network");
    let network = config.architecture().expect("a valid table");
    Summary::new(&network, 1, [224, 224]).expect("a valid size").weight_bytes as f64
}

fn step_times() -> String {
    let mut text = format!(
        "Seconds per step with {IMAGES} images per host; in parentheses, the share of the step that is spent computing:\n\n\
         | network | compute per host | network speed | 8 hosts | 64 hosts | 512 hosts |\n|---|---|---|---|---|---|\n"
    );
    for (network, image, ..) in NETWORKS {
        for faster in FASTER {
            for link in &LINKS {
                let compute = IMAGES * image / faster;
                write!(text, "| {network} | {compute:.2} s | {} |", link.name).expect("text");
                for hosts in HOSTS {
                    let time = compute * (1.0 + WAIT) + all_reduce(link, hosts, bytes(network));
                    let computing = 100.0 * compute / time;
                    write!(text, " {time:.2} ({computing:.0}%) |").expect("text");
                }
                text += "\n";
            }
        }
    }
    text
}

/// The batches with which 80% of a step is spent computing.
fn batches() -> String {
    let mut text = String::from(
        "Images per host for 80% efficiency, with the resulting total batch and learning rate:\n\n\
         | network | time per image | network speed | 8 hosts | 64 hosts | 512 hosts |\n|---|---|---|---|---|---|\n",
    );
    for (network, image, rate, batch) in NETWORKS {
        for faster in FASTER {
            for link in &LINKS {
                let image = image / faster;
                write!(text, "| {network} | {:.1} ms | {} |", image * 1e3, link.name)
                    .expect("text");
                for hosts in HOSTS {
                    // compute / 0.8 = compute (1 + wait) + all-reduce
                    let compute =
                        all_reduce(link, hosts, bytes(network)) / (1.0 / 0.8 - 1.0 - WAIT);
                    let images = (compute / image).ceil();
                    let all = images * hosts;
                    let rate = two_digits(rate * all / batch);
                    write!(text, " {images} (batch {all}, rate {rate}) |").expect("text");
                }
                text += "\n";
            }
        }
    }
    text
}

/// A number with two significant digits, or rounded to a whole number.
fn two_digits(number: f64) -> String {
    let decimals = (1.0 - number.log10().floor()).max(0.0) as usize;
    format!("{number:.decimals$}")
}

/// The page with `text` between the marks of this name.
fn replaced(page: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&begin).expect("the table's beginning");
    let (_, after) = rest.split_once(&end).expect("the table's end");
    format!("{before}{begin}{text}{end}{after}")
}

#[test]
fn the_tables_of_the_page_are_these() {
    let page = std::fs::read_to_string(PAGE).expect("the page");
    let new = replaced(&page, "step times", &step_times());
    let new = replaced(&new, "batches", &batches());
    if std::env::var_os("ALEXNET_VGG_WRITE_TABLES").is_some() {
        std::fs::write(PAGE, &new).expect("the page");
        return;
    }
    assert!(new == page, "expected:\n{}\n{}", step_times(), batches());
}
