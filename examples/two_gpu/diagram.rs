//! A diagram of a split network: a line for each layer, a column for each device, an arrow for each crossing.

use alexnet_vgg::models::{Crossing, Shape, Step, TwoGpuSplit};

pub fn draw(network: &str, split: &TwoGpuSplit) -> String {
    let halves = split.layers.iter().flat_map(|layer| &layer.halves);
    let width = halves.map(|half| cell(half).len()).max().unwrap_or(0).max(40);
    let names = split.layers.iter().map(|layer| layer.whole.name.len()).max().unwrap_or(0);
    let mut text = format!("{network} on two devices, one image\n\n");
    text += &format!("{:<names$}  {:<width$} | device 1\n", "", "device 0");
    let mut crossings = split.crossings().into_iter().peekable();
    for layer in &split.layers {
        if let Some(crossing) = crossings.next_if(|crossing| crossing.layer == layer.whole.name) {
            text += &arrows(&crossing, names, width);
        }
        let [first, second] = layer.halves.each_ref().map(cell);
        text += &format!("{:<names$}  {first:<width$} | {second}\n", layer.whole.name);
    }
    for crossing in crossings {
        text += &arrows(&crossing, names, width);
    }
    text + "\n"
}

/// `Conv 3x3, 192, padding 1 -> 192x13x13`
fn cell(half: &Step) -> String {
    let dims = match half.output {
        Shape::Map(dims) => dims.map(|dim| dim.to_string()).join("x"),
        Shape::Vector([features]) => features.to_string(),
    };
    format!("{} -> {dims}", half.layer)
}

/// `--- 2048 values --->|<--- 2048 values ---`
fn arrows(crossing: &Crossing, names: usize, width: usize) -> String {
    let [mut right, mut left] = [" ".repeat(width + 1), String::new()];
    let [to_second, to_first] = crossing.values;
    if to_second > 0 {
        right = format!("{:-<width$}>", format!("--- {to_second} values "));
    }
    if to_first > 0 {
        left = format!("<{:-^30}", format!(" {to_first} values "));
    }
    format!("{:<names$}  {right}|{left}\n", "")
}
