//! The layers of a file: its tensors, grouped by the modules that they belong to, in the order in which the
//! network applies them.

use super::file_contents::FileContents;
use super::file_format::Format;
use super::natural_order;
use super::tensor_entry::TensorEntry;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// More layers of one kind are of no network here. (The deepest has 16 convolutions.)
const MAX_LAYERS: usize = 64;

/// A convolution, a linear layer or a batch norm of a file: the indices of its tensors.
#[derive(Clone, Debug, Default)]
pub(super) struct FileLayer {
    /// The name of the module, without the prefixes of wrappers.
    pub name: String,
    pub weight: Option<usize>,
    pub bias: Option<usize>,
    pub running_mean: Option<usize>,
    pub running_var: Option<usize>,
    pub batches: Option<usize>,
}

/// The layers of a file, each kind in the order of the network.
#[derive(Debug, Default)]
pub(super) struct FileLayers {
    /// Layers whose weight has four dimensions. The last ones may be linear layers, written as convolutions
    /// over the whole map.
    pub convolutions: Vec<FileLayer>,
    pub batch_norms: Vec<FileLayer>,
    pub linear: Vec<FileLayer>,
    /// The tensors that belong to no such layer.
    pub others: Vec<usize>,
    /// Whether the names, or the order of the file, show the order of the layers.
    pub is_ordered: bool,
}

impl FileLayers {
    /// Groups these tensors: names without prefixes, and indices into the file's tensors.
    pub fn new<'a>(
        contents: &FileContents,
        names: impl IntoIterator<Item = (&'a String, &'a usize)>,
    ) -> Self {
        let tensors = &contents.tensors;
        let mut modules: BTreeMap<&str, FileLayer> = BTreeMap::new();
        let mut layers = Self { is_ordered: true, ..Self::default() };
        for (name, &index) in names {
            let (module, attribute) = name.rsplit_once('.').unwrap_or(("", name));
            let layer = modules.entry(module).or_default();
            let slot = match attribute {
                "weight" => &mut layer.weight,
                "bias" => &mut layer.bias,
                "running_mean" => &mut layer.running_mean,
                "running_var" => &mut layer.running_var,
                "num_batches_tracked" => &mut layer.batches,
                _ => {
                    layers.others.push(index);
                    continue;
                }
            };
            *slot = Some(index);
        }
        for (name, layer) in modules {
            layers.add(FileLayer { name: name.into(), ..layer }, tensors);
        }
        layers.sort(contents);
        layers
    }

    fn add(&mut self, layer: FileLayer, tensors: &[TensorEntry]) {
        let rank = layer.weight.map(|weight| tensors[weight].shape().len());
        let is_normalization = layer.running_mean.is_some() && layer.running_var.is_some();
        let has_statistics = layer.running_mean.is_some() || layer.running_var.is_some();
        match rank {
            Some(1) if is_normalization && layer.bias.is_some() => self.batch_norms.push(layer),
            Some(4) if !has_statistics => self.convolutions.push(layer),
            Some(2) if !has_statistics => self.linear.push(layer),
            _ => self.others.extend(layer.indices()),
        }
    }

    fn sort(&mut self, contents: &FileContents) {
        let counts = [&self.convolutions, &self.batch_norms, &self.linear].map(Vec::len);
        if counts.into_iter().any(|count| count > MAX_LAYERS) {
            self.is_ordered = false;
            return;
        }
        let tensors = &contents.tensors;
        let channels = |layer: &FileLayer| layer.weight.map(|weight| tensors[weight].shape()[1]);
        let first = self.convolutions.iter().min_by_key(|layer| channels(layer));
        let first = first.map_or(String::new(), |layer| layer.name.clone());
        for layers in [&mut self.convolutions, &mut self.batch_norms, &mut self.linear] {
            self.is_ordered &= sort(layers, &first, contents);
        }
    }
}

impl FileLayer {
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        let all = [self.weight, self.bias, self.running_mean, self.running_var, self.batches];
        all.into_iter().flatten()
    }

    pub fn weight_shape<'a>(&self, tensors: &'a [TensorEntry]) -> &'a [usize] {
        self.weight.map_or(&[], |weight| tensors[weight].shape())
    }
}

/// Sorts layers of one kind by their names, those in the same section as the first convolution at the front, or
/// else by the order of the file. `false` if neither shows the order.
fn sort(layers: &mut [FileLayer], first: &str, contents: &FileContents) -> bool {
    let tensors = &contents.tensors;
    let depth = shared_components(layers.iter().map(|layer| layer.name.as_str()).chain([first]));
    // Sections have names; numbers are of layers.
    let section = |name: &str| {
        let component = name.split('.').nth(depth)?;
        component.parse::<u64>().is_err().then(|| component.to_string())
    };
    let first_section = section(first);
    let is_behind =
        |layer: &FileLayer| first_section.is_some() && section(&layer.name) != first_section;
    layers.sort_by(|a, b| {
        let sections = is_behind(a).cmp(&is_behind(b));
        sections.then(natural_order::compare(&a.name, &b.name).0)
    });
    let keeps_order = matches!(contents.format, Format::PyTorch | Format::PyTorchLegacy);
    let in_file = |pair: &[FileLayer]| keeps_order && pair[0].weight < pair[1].weight;
    let is_shown = |pair: &[FileLayer]| {
        let (order, by_number) = natural_order::compare(&pair[0].name, &pair[1].name);
        let [a, b] = [&pair[0], &pair[1]].map(|layer| layer.weight_shape(tensors));
        (by_number && order == Ordering::Less) || a != b || in_file(pair)
    };
    let follow = |pair: &[FileLayer]| {
        let [a, b] = [&pair[0], &pair[1]].map(|layer| layer.weight_shape(tensors));
        follows(a, b)
    };
    if layers.windows(2).all(is_shown) && layers.windows(2).all(follow) {
        return true;
    }
    layers.sort_by_key(|layer| layer.weight);
    keeps_order
}

/// Whether the second of two layers can take the outputs of the first.
fn follows(first: &[usize], second: &[usize]) -> bool {
    match (first, second) {
        // In up to two groups of channels.
        ([outputs, ..], [_, inputs, ..]) => [*inputs, 2 * inputs].contains(outputs),
        // Batch norms.
        _ => true,
    }
}

/// How many leading components all names share. The last component is not counted.
fn shared_components<'a>(names: impl Iterator<Item = &'a str> + Clone) -> usize {
    let component = |name: &'a str, at: usize| {
        let mut components = name.split('.').skip(at);
        components.next().filter(|_| components.next().is_some())
    };
    let is_shared = |at: &usize| {
        let mut components = names.clone().map(|name| component(name, *at));
        let first = components.next().flatten();
        first.is_some() && components.all(|other| other == first)
    };
    (0..).take_while(is_shared).count()
}
