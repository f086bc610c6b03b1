//! A table that has been checked: the form in which everything else takes a network.

use super::step::{Parameter, Section, Step};
use super::table::Table;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A network whose [`Table`] has been checked: at the input size that it was designed for, the
/// shape of every layer fits the next. Everything that reads a network takes one of these. It
/// dereferences to its table, and clones share it.
///
/// ```
/// use alexnet_vgg_core::architecture::{Architecture, Layer, Table, VggConfig};
///
/// let vgg16 = VggConfig::vgg16().architecture()?;
/// assert_eq!(vgg16.num_classes(), 1000);
/// assert_eq!(vgg16.steps()[28].name, "conv5_3");
///
/// let table = Table { classifier: vec![Layer::Relu, Layer::BatchNorm], ..vgg16.table().clone() };
/// let error = Architecture::new(table).unwrap_err().to_string();
/// assert!(error.contains("vgg16 classifier.1"), "{error}");
/// # Ok::<(), alexnet_vgg_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct Architecture(Arc<Checked>);

#[derive(Debug, PartialEq)]
struct Checked {
    table: Table,
    steps: Vec<Step>,
}

impl Deref for Architecture {
    type Target = Table;

    fn deref(&self) -> &Table {
        &self.0.table
    }
}

impl TryFrom<Table> for Architecture {
    type Error = Error;

    fn try_from(table: Table) -> Result<Self> {
        Self::new(table)
    }
}

impl From<Architecture> for Table {
    fn from(architecture: Architecture) -> Self {
        architecture.0.table.clone()
    }
}

impl Architecture {
    /// Checks a table.
    ///
    /// # Errors
    /// [`Error::Table`] if the table is inconsistent, and [`Error::InputTooSmall`] if some layer has an empty
    /// output at the input size of the table.
    pub fn new(table: Table) -> Result<Self> {
        let [_, height, width] = table.input;
        let steps = table.walk([height, width])?;
        Ok(Self(Arc::new(Checked { table, steps })))
    }

    /// The table.
    pub fn table(&self) -> &Table {
        self
    }

    /// The layers in forward order, at least one, with their shapes at the table's input size.
    /// [`Table::walk`] takes other input sizes; the parameters do not depend on it.
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }

    /// Every tensor of the network, in PyTorch's order.
    pub fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.steps().iter().flat_map(|step| &step.parameters)
    }

    /// Number of classes: the outputs of the last layer. Without a classifier, it is the number of pooled
    /// features.
    pub fn num_classes(&self) -> usize {
        self.steps().last().map_or(0, |last| last.output.elements() as usize)
    }

    /// The same network without its classifier, for transfer learning. Its output is the pooled features, one
    /// vector for each image.
    pub fn without_classifier(&self) -> Self {
        let table = Table { classifier: Vec::new(), ..self.table().clone() };
        let is_kept = |step: &&Step| step.section != Section::Classifier;
        let steps = self.steps().iter().filter(is_kept).cloned().collect();
        Self(Arc::new(Checked { table, steps }))
    }

    /// Index, in forward order, of the layer with this name: torchvision's (`features.0`) or the papers'
    /// (`conv1_1`).
    ///
    /// # Errors
    /// [`Error::UnknownLayer`] with the list of all layers if there is no such layer.
    pub fn find(&self, name: &str) -> Result<usize> {
        let is_named = |step: &Step| step.key == name || step.name == name;
        self.steps().iter().position(is_named).ok_or_else(|| {
            let known = self.steps().iter().map(|step| format!("{} = {}", step.key, step.name));
            Error::UnknownLayer {
                network: self.name.clone(),
                name: name.into(),
                known: known.collect::<Vec<_>>().join(", "),
            }
        })
    }

    /// Index, in forward order, and section of the layer that owns a parameter, after checking that the
    /// parameter has these rows.
    ///
    /// # Errors
    /// [`Error::Setting`] for a parameter or rows that this network does not have.
    pub fn layer_of(&self, parameter: &Parameter, rows: &Range<usize>) -> Result<(usize, Section)> {
        let wrong = |expected: String, found: String| Error::Setting {
            place: format!("{}: {}", self.name, parameter.key),
            expected,
            found,
        };
        let is_same = |own: &Parameter| {
            own.key == parameter.key && own.shape == parameter.shape && own.role == parameter.role
        };
        let (index, step) = (self.steps().iter().enumerate())
            .find(|(_, step)| step.parameters.iter().any(is_same))
            .ok_or_else(|| {
                wrong("a parameter of this network".into(), format!("{:?}", parameter.shape))
            })?;
        let count = parameter.shape.first().copied().unwrap_or(0);
        if rows.start > rows.end || rows.end > count {
            return Err(wrong(format!("rows within 0..{count}"), format!("{rows:?}")));
        }
        Ok((index, step.section))
    }

    /// The shape, `[count, features]`, of `values` values that are read as input vectors of the
    /// first of these steps. All of them must be steps of the classifier.
    ///
    /// # Errors
    /// [`Error::InputShape`] for steps outside the classifier, and for a number of values that is not a whole
    /// number of vectors.
    pub fn expect_vectors(&self, steps: &Range<usize>, values: usize) -> Result<[usize; 2]> {
        let wrong = |expected: String| Error::InputShape {
            network: self.name.clone(),
            expected,
            found: vec![values],
        };
        let first = self.steps().get(steps.start);
        let first = first.filter(|step| step.section == Section::Classifier);
        let Some(first) = first.filter(|_| steps.end <= self.steps().len()) else {
            return Err(wrong(format!("steps of the classifier, not {steps:?}")));
        };
        let features = first.input.elements() as usize;
        match values.checked_rem(features) {
            Some(0) => Ok([values / features, features]),
            _ => Err(wrong(format!("vectors of {features} values for {}", first.key))),
        }
    }
}
