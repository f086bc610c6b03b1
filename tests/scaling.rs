//! The step time of many hosts, on paper: the tables of docs/more-than-one-machine.md, which are written anew
//! by `ALEXNET_VGG_WRITE_TABLES=1 cargo test --test scaling`.

use alexnet_vgg::models::NetworkConfig;
use alexnet_vgg::summary::Summary;
use std::fmt::Write;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/more-than-one-machine.md");

/// Network, seconds an image of a step on one host, the recipe's rate and batch.
const NETWORKS: [(&str, f64, f64, f64); 2] =
    [("alexnet", 0.660 / 8.0, 0.01, 128.0), ("vgg16", 9.282 / 8.0, 0.01, 256.0)];
/// How much faster a host is than the one that was measured.
const FASTER: [f64; 3] = [1.0, 10.0, 100.0];
const HOSTS: [f64; 3] = [8.0, 64.0, 512.0];
const NETS: [Net; 2] = [
    Net { name: "10 Gbit/s", bytes: 1.25e9, latency: 30e-6 },
    Net { name: "100 Gbit/s", bytes: 12.5e9, latency: 10e-6 },
];

const IMAGES: f64 = 32.0;
/// The slowest host of a step takes so much longer than the mean.
const WAIT: f64 = 0.05;
/// What goes through MPI at once.
const PIECE: f64 = 25e6;

struct Net {
    name: &'static str,
    /// A second, in each direction.
    bytes: f64,
    /// Seconds a message.
    latency: f64,
}

/// Seconds of a sum over a ring: each host sends its share of every piece 2 (k - 1) times.
fn sum(net: &Net, hosts: f64, bytes: f64) -> f64 {
    let turns = 2.0 * (hosts - 1.0);
    turns / hosts * bytes / net.bytes + turns * (bytes / PIECE).ceil() * net.latency
}

fn bytes(network: &str) -> f64 {
    let table = NetworkConfig::by_name(network).expect("a known network").architecture();
    Summary::new(&table, 1, [224, 224]).expect("a valid table").weight_bytes as f64
}

fn step_times() -> String {
    let mut text = format!(
        "Seconds of a step of {IMAGES} images a host, and in brackets the part of it that is not spent on others:\n\n\
         | network | a host computes | net | 8 hosts | 64 hosts | 512 hosts |\n|---|---|---|---|---|---|\n"
    );
    for (network, image, ..) in NETWORKS {
        for faster in FASTER {
            for net in &NETS {
                let compute = IMAGES * image / faster;
                write!(text, "| {network} | in {compute:.2} s | {} |", net.name).expect("text");
                for hosts in HOSTS {
                    let time = compute * (1.0 + WAIT) + sum(net, hosts, bytes(network));
                    let of = 100.0 * compute / time;
                    write!(text, " {time:.2} ({of:.0} %) |").expect("text");
                }
                text += "\n";
            }
        }
    }
    text
}

/// The batch that makes compute four fifths of a step.
fn batches() -> String {
    let mut text = String::from(
        "Images a host for 80 %, and what the batch of all and its learning rate become:\n\n\
         | network | an image takes | net | 8 hosts | 64 hosts | 512 hosts |\n|---|---|---|---|---|---|\n",
    );
    for (network, image, rate, batch) in NETWORKS {
        for faster in FASTER {
            for net in &NETS {
                let image = image / faster;
                write!(text, "| {network} | {:.1} ms | {} |", image * 1e3, net.name).expect("text");
                for hosts in HOSTS {
                    // compute / 0.8 = compute (1 + wait) + sum
                    let compute = sum(net, hosts, bytes(network)) / (1.0 / 0.8 - 1.0 - WAIT);
                    let images = (compute / image).ceil();
                    let all = images * hosts;
                    let rate = rate * all / batch;
                    write!(text, " {images}: {all}, rate {rate:.3} |").expect("text");
                }
                text += "\n";
            }
        }
    }
    text
}

/// `text` between the marks of this name.
fn replaced(document: &str, name: &str, text: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&begin).expect("the table's beginning");
    let (_, after) = rest.split_once(&end).expect("the table's end");
    format!("{before}{begin}{text}{end}{after}")
}

#[test]
fn the_tables_of_the_document_are_these() {
    let document = std::fs::read_to_string(DOCUMENT).expect("the document");
    let new = replaced(&document, "step times", &step_times());
    let new = replaced(&new, "batches", &batches());
    if std::env::var_os("ALEXNET_VGG_WRITE_TABLES").is_some() {
        std::fs::write(DOCUMENT, &new).expect("the document");
        return;
    }
    assert!(new == document, "expected:\n{}\n{}", step_times(), batches());
}
