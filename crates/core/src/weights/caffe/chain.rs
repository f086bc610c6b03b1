//! Which layer follows which: the blobs that a layer takes (`bottom`) and gives (`top`).

use super::super::layer_chain::Chain;
use super::super::protobuf::ProtobufFile;
use super::Net;
use super::layer_parameter::{CaffeLayer, Settings};
use super::{blob, layers};
use crate::error::Result;
use std::collections::HashSet;

/// Layers that give the pictures and their classes.
const DATA: [&str; 6] = ["Data", "HDF5Data", "ImageData", "Input", "MemoryData", "WindowData"];
/// Layers that only tell how good the network is.
const LOSSES: [&str; 6] = [
    "Accuracy",
    "EuclideanLoss",
    "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss",
    "Silence",
    "SoftmaxWithLoss",
];

/// Follows the blobs through the layers.
#[derive(Default)]
struct Follower {
    chain: Chain,
    /// The names of the blob that the next layer takes: Caffe adds layers that copy a blob to several. Before the first
    /// layer, all inputs.
    current: HashSet<String>,
    /// The blobs that are pictures' classes, or copies of them.
    others: HashSet<String>,
}

pub(super) fn chain(net: &Net, file: &ProtobufFile) -> Result<Chain> {
    let mut follower = Follower::default();
    follower.chain.input = map_size(&net.input_sizes);
    follower.current.extend(net.inputs.first().cloned());
    follower.others.extend(net.inputs.iter().skip(1).cloned());
    for layer in &net.layers {
        follower.add(layer)?;
    }
    if follower.chain.layers.is_empty() {
        return Err(file.error("the layers of a network", "none"));
    }
    Ok(follower.chain)
}

impl Follower {
    fn add(&mut self, layer: &CaffeLayer) -> Result<()> {
        let takes_current = layer.bottoms.first().is_some_and(|it| self.current.contains(it));
        if DATA.contains(&layer.kind.as_str()) {
            return self.add_data(layer);
        }
        if LOSSES.contains(&layer.kind.as_str()) && layer.blobs.is_empty() {
            self.others.extend(layer.tops.iter().cloned());
            return Ok(());
        }
        if layer.kind == "Split" {
            let names = if takes_current { &mut self.current } else { &mut self.others };
            names.extend(layer.tops.iter().cloned());
            return Ok(());
        }
        let ([_], [top], true) = (&layer.bottoms[..], &layer.tops[..], takes_current) else {
            return Err(layer.error(
                format!("a chain: one input, {:?}, and one output", sorted(&self.current)),
                format!("inputs {:?} and outputs {:?}", layer.bottoms, layer.tops),
            ));
        };
        self.chain.layers.extend(layers::chain_layer(layer)?);
        self.current = HashSet::from([top.clone()]);
        Ok(())
    }

    /// A layer of data: its first output is the pictures. Files of training have one for training and one for tests.
    fn add_data(&mut self, layer: &CaffeLayer) -> Result<()> {
        if !self.chain.layers.is_empty() || !layer.bottoms.is_empty() {
            return Err(layer.error("data before all other layers", layer.kind.as_str()));
        }
        self.current.extend(layer.tops.first().cloned());
        self.others.extend(layer.tops.iter().skip(1).cloned());
        if let Some(message) = layer.settings(Settings::Input) {
            let first = message.fields()?.into_iter().find(|field| field.number == 1);
            if let Some(field) = first {
                let sizes = blob::shape(&message.message(&field, "BlobShape")?)?;
                self.chain.input = self.chain.input.or(map_size(&sizes));
            }
        }
        Ok(())
    }
}

/// Height and width, after the number of images and the channels.
fn map_size(sizes: &[usize]) -> Option<[usize; 2]> {
    match *sizes {
        [_, _, height, width, ..] => Some([height, width]),
        _ => None,
    }
}

fn sorted(names: &HashSet<String>) -> Vec<&String> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    names
}
