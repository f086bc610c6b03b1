//! A line for each layer, a column for each device, an arrow for each tensor that crosses.

use alexnet_vgg::models::{Division, Exchange, Shape, Step};
use std::fmt::Write;

pub fn draw(network: &str, division: &Division) -> String {
    let steps = |side: usize| division.layers.iter().map(move |layer| &layer.halves[side]);
    let names = division.layers.iter().map(|layer| layer.whole.name.len()).max().unwrap_or(0);
    let width = (0..2).flat_map(steps).map(|half| cell(half).len()).max().unwrap_or(0).max(40);
    let mut text = format!("{network} on two devices, one image\n\n");
    let _ = writeln!(text, "{:<names$}  {:<width$} | device 1", "", "device 0");
    let mut exchanges = division.exchanges().into_iter().peekable();
    for layer in &division.layers {
        if let Some(exchange) = exchanges.next_if(|exchange| exchange.layer == layer.whole.name) {
            text += &arrows(&exchange, names, width);
        }
        let [first, second] = layer.halves.each_ref().map(cell);
        let _ = writeln!(text, "{:<names$}  {first:<width$} | {second}", layer.whole.name);
    }
    exchanges.for_each(|exchange| text += &arrows(&exchange, names, width));
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
fn arrows(exchange: &Exchange, names: usize, width: usize) -> String {
    let label = |values: u64| match values {
        0 => String::new(),
        values => format!(" {values} values "),
    };
    let [to_second, to_first] = exchange.values.map(label);
    let forth = match to_second.is_empty() {
        true => " ".repeat(width + 1),
        false => format!("{:-<width$}>", format!("---{to_second}")),
    };
    let back = if to_first.is_empty() { String::new() } else { format!("<{to_first:-^30}") };
    format!("{:<names$}  {forth}|{back}\n", "")
}
