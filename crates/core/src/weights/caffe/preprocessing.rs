//! The preset of a network that was trained in Caffe: BGR from 0 to 255, minus the mean, times a scale.

use super::super::protobuf::{Field, Message, ProtobufFile};
use super::Net;
use super::layer_parameter::{CaffeLayer, Settings};
use crate::architecture::{Layer, Shape, Table};
use crate::error::Result;
use crate::vision::{Channels, Preset};

/// What the layers of data say about the pictures. A mean picture is in a file of its own, so all of them are as
/// [`Preset::caffe`], whose mean is that of ImageNet.
#[derive(Debug, Default, PartialEq)]
struct Transformation {
    scale: Option<f32>,
    crop: Option<usize>,
    mean: Vec<f32>,
}

/// The preset, for pictures of three channels. What the file does not state (deployed networks state nothing) is
/// that of [`Preset::caffe`], with the crop that the network was designed for.
pub(super) fn preset(
    net: &Net,
    input: Option<[usize; 2]>,
    table: &Table,
    file: &ProtobufFile,
) -> Result<Preset> {
    let Transformation { scale, crop, mean } = transformation(net)?;
    let stated = crop.or(input.filter(|[height, width]| height == width).map(|size| size[0]));
    let designed = table.input[1];
    let side = stated.unwrap_or(designed);
    if !pools_leave_nothing_out(table, side) {
        // Caffe rounds the size of a pooled map up, and here it is rounded down.
        let expected = format!(
            "crops of {designed} pixels, of which all windows of the pools fit into the maps"
        );
        return Err(file.error(expected, side.to_string()));
    }
    let caffe = Preset::caffe();
    let crop = u32::try_from(side).unwrap_or(u32::MAX);
    let mean = match mean[..] {
        [level] => [level; 3],
        [blue, green, red] => [blue, green, red],
        _ => caffe.mean,
    };
    let std = 1.0 / scale.unwrap_or(1.0);
    let name = match (crop == caffe.crop, mean == caffe.mean && std == 1.0) {
        (true, true) => "caffe".into(),
        (false, true) => format!("caffe at {crop}"),
        _ => "caffe-own".into(),
    };
    let preset =
        Preset { name, resize: caffe.resize.max(crop), crop, mean, std: [std; 3], ..caffe };
    preset.validate().map_err(|error| file.error("a valid preset", error.to_string()))?;
    Ok(preset)
}

/// The same for gray pictures: a mean that the file states, or else none.
pub(super) fn of_gray(preset: Preset) -> Preset {
    let [first, ..] = preset.mean;
    let mean = if preset.mean == [first; 3] { first } else { 0.0 };
    let name = "caffe in gray".into();
    Preset { name, channels: Channels::Gray, mean: [mean; 3], ..preset }
}

fn pools_leave_nothing_out(table: &Table, side: usize) -> bool {
    let Ok(steps) = table.walk([side; 2]) else { return false };
    steps.iter().all(|step| match (step.layer, step.input) {
        (Layer::MaxPool { kernel, stride }, Shape::Map([_, height, _])) => {
            (height - kernel).is_multiple_of(stride)
        }
        _ => true,
    })
}

/// What the layers of data agree on.
fn transformation(net: &Net) -> Result<Transformation> {
    let mut found: Option<Transformation> = None;
    for layer in &net.layers {
        let Some(own) = transformation_of(layer)? else { continue };
        if found.as_ref().is_some_and(|found| *found != own) {
            return Err(layer.error("the same preprocessing in all layers of data", "another"));
        }
        found = Some(own);
    }
    Ok(found.unwrap_or_default())
}

fn transformation_of(layer: &CaffeLayer) -> Result<Option<Transformation>> {
    let mut found = Transformation::default();
    let mut is_stated = false;
    // The scale and the crop were among the settings of the data before they had a message of their own.
    for which in
        [Settings::Data, Settings::ImageData, Settings::WindowData, Settings::Transformation]
    {
        let Some(message) = layer.settings(which) else { continue };
        is_stated = true;
        for field in message.fields()? {
            let is_transformation = which == Settings::Transformation;
            match (field.number, is_transformation) {
                (1, true) | (2, false) => found.scale = Some(scale(layer, message, &field)?),
                (3, true) | (5, false) => {
                    // 0 stands for none.
                    found.crop = Some(message.size(&field)?).filter(|&crop| crop > 0);
                }
                (5, true) => found.mean.push(message.float(&field)?),
                _ => {}
            }
        }
    }
    if !matches!(found.mean.len(), 0 | 1 | 3) {
        return Err(layer.error("a mean of one or three values", found.mean.len().to_string()));
    }
    Ok(is_stated.then_some(found))
}

fn scale(layer: &CaffeLayer, message: &Message, field: &Field) -> Result<f32> {
    let scale = message.float(field)?;
    if scale.is_finite() && scale > 0.0 {
        return Ok(scale);
    }
    Err(layer.error("a scale above 0", scale.to_string()))
}
