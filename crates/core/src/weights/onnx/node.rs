//! A node of a graph: an operator, the values between which it is, and its attributes.

use super::super::protobuf::Message;
use super::tensor::OnnxTensor;
use crate::error::{Error, Result};
use std::collections::HashMap;

pub(super) struct Node<'a> {
    pub name: String,
    pub operator: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    attributes: HashMap<String, Attribute<'a>>,
    message: Message<'a>,
}

#[derive(Clone)]
pub(super) enum Attribute<'a> {
    Float(f32),
    Int(i64),
    Ints(Vec<i64>),
    Text(String),
    Tensor(OnnxTensor<'a>),
    Other,
}

impl<'a> Node<'a> {
    pub fn parse(message: &Message<'a>) -> Result<Self> {
        let (mut name, mut operator, mut domain) = (None, None, None);
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        let mut attributes = HashMap::new();
        for field in message.fields()? {
            match field.number {
                1 => inputs.push(message.text(&field)?),
                2 => outputs.push(message.text(&field)?),
                3 => message.set(&mut name, &field, message.text(&field)?)?,
                4 => message.set(&mut operator, &field, message.text(&field)?)?,
                5 => {
                    let inner = message.message(&field, "AttributeProto")?;
                    let (name, value) = attribute(&inner)?;
                    if attributes.insert(name, value).is_some() {
                        return Err(inner.error("a name once", "it twice"));
                    }
                }
                7 => message.set(&mut domain, &field, message.text(&field)?)?,
                6 | 8..=10 => {}
                // An attribute under another number would change what the node does.
                number => return Err(message.error("fields 1 to 10", number.to_string())),
            }
        }
        let operator = operator.unwrap_or_default();
        let name = name.filter(|name: &String| !name.is_empty());
        let name = name.or(outputs.first().cloned()).unwrap_or_default();
        let node = Self { name, operator, inputs, outputs, attributes, message: message.clone() };
        match domain.as_deref() {
            None | Some("" | "ai.onnx") => Ok(node),
            Some(domain) => {
                Err(node.error("an operator of ONNX itself", format!("one of {domain:?}")))
            }
        }
    }

    /// Its message, for values that are made from it.
    pub fn message(&self) -> &Message<'a> {
        &self.message
    }

    pub fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        let place = format!("{} {:?}", self.operator, self.name);
        self.message.file.error(format!("{} in {place}", expected.into()), found)
    }

    pub fn attribute(&self, name: &str) -> Option<&Attribute<'a>> {
        self.attributes.get(name)
    }

    /// Refuses attributes that may change what the node does.
    pub fn expect_attributes(&self, known: &[&str]) -> Result<()> {
        match self.attributes.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                Err(self.error(format!("attributes among {known:?}"), format!("{name:?}")))
            }
            None => Ok(()),
        }
    }

    pub fn int(&self, name: &str, default: i64) -> Result<i64> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Int(value)) => Ok(*value),
            Some(_) => Err(self.error(format!("a whole number as {name}"), "another type")),
        }
    }

    pub fn float(&self, name: &str, default: f32) -> Result<f32> {
        match self.attribute(name) {
            None => Ok(default),
            Some(Attribute::Float(value)) => Ok(*value),
            Some(_) => Err(self.error(format!("a number as {name}"), "another type")),
        }
    }

    /// The sizes of a list, `default` if there is none. Each must be at least 0.
    pub fn sizes(&self, name: &str, default: &[usize]) -> Result<Vec<usize>> {
        let wrong = || self.error(format!("sizes as {name}"), "others");
        match self.attribute(name) {
            None => Ok(default.to_vec()),
            Some(Attribute::Ints(values)) => {
                let sizes = values.iter().map(|&value| i32::try_from(value).ok()?.try_into().ok());
                sizes.collect::<Option<Vec<usize>>>().ok_or_else(wrong)
            }
            Some(_) => Err(wrong()),
        }
    }

    /// Checks an attribute that must have its default.
    pub fn expect_int(&self, name: &str, value: i64) -> Result<()> {
        match self.int(name, value)? {
            found if found == value => Ok(()),
            found => Err(self.error(format!("{name} of {value}"), found.to_string())),
        }
    }
}

/// The name and the value of an attribute. Old files do not state its type.
fn attribute<'a>(message: &Message<'a>) -> Result<(String, Attribute<'a>)> {
    let (mut name, mut kind) = (None, None);
    let (mut float, mut int, mut text, mut tensor) = (None, None, None, None);
    let (mut ints, mut has_others) = (Vec::new(), false);
    for field in message.fields()? {
        match field.number {
            1 => message.set(&mut name, &field, message.text(&field)?)?,
            2 => message.set(&mut float, &field, message.float(&field)?)?,
            3 => message.set(&mut int, &field, message.number(&field)? as i64)?,
            4 => message.set(&mut text, &field, message.text(&field)?)?,
            5 => {
                let inner = message.message(&field, "TensorProto")?;
                message.set(&mut tensor, &field, OnnxTensor::parse(&inner)?)?;
            }
            8 => message.add_numbers(&field, &mut ints)?,
            20 => message.set(&mut kind, &field, message.number(&field)?)?,
            // Its description.
            13 => {}
            _ => has_others = true,
        }
    }
    let ints: Vec<i64> = ints.into_iter().map(|number| number as i64).collect();
    let kind = kind.unwrap_or(match (float, int, &text, &tensor) {
        (Some(_), None, None, None) => 1,
        (None, Some(_), None, None) => 2,
        (None, None, Some(_), None) => 3,
        (None, None, None, Some(_)) => 4,
        (None, None, None, None) => 7,
        _ => 0,
    });
    let value = match (kind, float, int, text, tensor) {
        _ if has_others => Attribute::Other,
        (1, Some(value), None, None, None) if ints.is_empty() => Attribute::Float(value),
        (2, None, Some(value), None, None) if ints.is_empty() => Attribute::Int(value),
        (3, None, None, Some(value), None) if ints.is_empty() => Attribute::Text(value),
        (4, None, None, None, Some(value)) if ints.is_empty() => Attribute::Tensor(value),
        (7, None, None, None, None) => Attribute::Ints(ints),
        _ => Attribute::Other,
    };
    Ok((name.unwrap_or_default(), value))
}
