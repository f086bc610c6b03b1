//! What one pass costs relative to another, measured in pairs: our module and burn's own layers called by
//! hand; our module and the engine; the 2012 network with and without LRN; and on the engine, dense evaluation
//! of 512×512 pixels, and twenty passes with dropout, against one plain pass.

use super::bare_network::BareNetwork;
use super::paired::{Case, Outcome, time};
use super::{BATCHES, architecture, compile, images};
use alexnet_vgg::backend;
use alexnet_vgg::engine::{Compiled, ForwardTensors, LinearWeights};
use alexnet_vgg::models::{AlexNetConfig, Network};
use alexnet_vgg::predict::McDropout;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use criterion::Criterion;
use std::time::Duration;

/// One AlexNet and one VGG.
const NETWORKS: [&str; 2] = ["alexnet", "vgg16"];
const PLAIN: [usize; 4] = [1, 3, 224, 224];
/// It has 5.22 times the pixels.
const LARGE: [usize; 4] = [1, 3, 512, 512];

/// The pairs on a backend of burn.
pub fn backend<B: Backend>(criterion: &mut Criterion, backend: &str, device: &B::Device) {
    for batch in BATCHES {
        for name in NETWORKS {
            let function = format!("{name}/{backend}");
            let (first, second) = ("the module", "burn's layers by hand");
            let case = Case { group: "overhead", function, batch, first, second };
            case.measure(criterion, || {
                let module = Network::<B>::new(architecture(name), device)?;
                let bare = BareNetwork::<B>::new(&architecture(name), device);
                Ok(forward(batch, device, move |x| module.forward(x), move |x| bare.forward(x)))
            });
        }
        for name in NETWORKS {
            let function = format!("{name}/{backend}");
            let (first, second) = ("the module", "the engine");
            let case = Case { group: "module", function, batch, first, second };
            case.measure(criterion, || {
                let module = Network::<B>::new(architecture(name), device)?;
                let compiled = compile(name, LinearWeights::Int20);
                let (module, compiled) = (move |x| module.forward(x), move |x| compiled.forward(x));
                Ok(forward(batch, device, module, compiled))
            });
        }
        let function = format!("alexnet_paper/{backend}");
        let (first, second) = ("with LRN", "without");
        let case = Case { group: "lrn", function, batch, first, second };
        case.measure(criterion, || {
            let without = Network::<B>::new(AlexNetConfig::paper().with_lrn(false), device)?;
            let with = Network::<B>::new(AlexNetConfig::paper(), device)?;
            Ok(forward(batch, device, move |x| with.forward(x), move |x| without.forward(x)))
        });
    }
}

/// A pair of forward passes on the same images.
fn forward<B: Backend>(
    batch: usize,
    device: &B::Device,
    first: impl Fn(Tensor<B, 4>) -> Tensor<B, 2>,
    second: impl Fn(Tensor<B, 4>) -> Tensor<B, 2>,
) -> impl FnMut() -> Outcome<[Duration; 2]> {
    let images = images::<B>(batch, device);
    move || {
        let (logits, first) = time(|| backend::read(first(images.clone())));
        logits?;
        let (logits, second) = time(|| backend::read(second(images.clone())));
        logits?;
        Ok([first, second])
    }
}

/// The pairs on the engine.
pub fn engine(criterion: &mut Criterion) {
    for name in NETWORKS {
        let second = "a plain pass";
        let (group, function, first) = ("dense", format!("{name}/512x512"), "dense evaluation");
        Case { group, function, batch: 1, first, second }.measure(criterion, || {
            let network = compile(name, LinearWeights::Int20);
            let mut plain = plain_pass(network.clone());
            let large = vec![0.5; LARGE.iter().product()];
            Ok(move || {
                let (maps, first) = time(|| network.score_maps(&large, LARGE).map(drop));
                maps?;
                Ok([first, plain()?])
            })
        });
        let (group, function, first) = ("dropout", format!("{name}/20"), "twenty with dropout");
        Case { group, function, batch: 1, first, second }.measure(criterion, || {
            let network = compile(name, LinearWeights::Int20);
            let mut plain = plain_pass(network.clone());
            let image = vec![0.5; PLAIN.iter().product()];
            let dropout = McDropout { passes: 20, seed: 0 };
            Ok(move || {
                let (logits, first) = time(|| dropout.logits(&network, &image, PLAIN).map(drop));
                logits?;
                Ok([first, plain()?])
            })
        });
    }
}

/// The time of a pass of one image of 224×224.
fn plain_pass(network: Compiled) -> impl FnMut() -> Outcome<Duration> {
    let image = vec![0.5; PLAIN.iter().product()];
    let mut logits = vec![0.0; 1000];
    move || {
        let (result, duration) = time(|| network.run(&image, PLAIN, &mut logits));
        result?;
        Ok(duration)
    }
}
