//! The naming schemes of tensors. Each derives the names from a network's table; there are no lists.

use crate::architecture::{Architecture, Layer, Section, Step};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// A naming scheme: the names and shapes that a network's tensors have in files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// torchvision's, which is also this crate's own: `features.24.weight`, `classifier.6.bias`.
    #[default]
    Torchvision,
    /// timm's. The hidden linear layers are `pre_logits.fc1` and so on, written as convolutions over the
    /// whole map (`[4096, 512, 7, 7]`); the last one is `head.fc`.
    Timm,
    /// The papers' and Caffe's: `conv5_1.weight`, `fc6.weight`.
    Paper,
    /// That of tutorials that write VGG with one attribute per layer: `conv5_1`, `fc1`, `fc2`,
    /// `classifier`.
    Tutorial,
    /// The same with numbers for all linear layers: `fc1`, `fc2`, `fc3`.
    TutorialNumbered,
}

/// A tensor of a network under a naming.
pub(super) struct NamedTensor {
    pub name: String,
    pub shape: Vec<usize>,
    pub section: Section,
}

impl Naming {
    /// All namings, the most common ones first.
    pub const ALL: [Naming; 5] =
        [Self::Torchvision, Self::Timm, Self::Paper, Self::Tutorial, Self::TutorialNumbered];

    fn label(self) -> &'static str {
        match self {
            Naming::Torchvision => "torchvision",
            Naming::Timm => "timm",
            Naming::Paper => "paper",
            Naming::Tutorial => "tutorial",
            Naming::TutorialNumbered => "tutorial-numbered",
        }
    }

    /// The network's tensors, in the order of [`Architecture::parameters`].
    pub(super) fn tensors(self, architecture: &Architecture) -> Vec<NamedTensor> {
        let steps = architecture.steps();
        let is_linear = |step: &Step| matches!(step.layer, Layer::Linear { .. });
        let linear_count = steps.iter().filter(|step| is_linear(step)).count();
        let mut linear_number = 0;
        // The shape of the pooled map, until the first linear layer has used it.
        let mut pooled = None;
        let mut tensors = Vec::new();
        for step in steps {
            if step.section == Section::AvgPool {
                pooled = Some(step.output.dims().to_vec());
            }
            linear_number += usize::from(is_linear(step));
            let linear = is_linear(step).then_some(LinearLayer {
                number: linear_number,
                is_last: linear_number == linear_count,
            });
            let layer = self.layer_name(step, linear);
            for parameter in &step.parameters {
                let attribute = parameter.key.strip_prefix(&step.key).unwrap_or_default();
                let is_written_as_convolution = self == Naming::Timm
                    && linear.is_some_and(|linear| !linear.is_last)
                    && parameter.shape.len() == 2;
                let shape = if is_written_as_convolution {
                    let window = pooled.take().unwrap_or(vec![parameter.shape[1], 1, 1]);
                    [parameter.shape[0]].into_iter().chain(window).collect()
                } else {
                    parameter.shape.clone()
                };
                let name = format!("{layer}{attribute}");
                tensors.push(NamedTensor { name, shape, section: step.section });
            }
        }
        tensors
    }

    /// Whether a tensor of that name belongs to the classifier of any network under any naming. (For the
    /// features alone, two namings may be the same, so the naming does not decide.)
    pub(super) fn is_of_classifier(name: &str) -> bool {
        let first = name.split('.').next().unwrap_or_default();
        let number = first.strip_prefix("fc").unwrap_or_default();
        let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_numbered || matches!(first, "classifier" | "pre_logits" | "head")
    }

    fn layer_name(self, step: &Step, linear: Option<LinearLayer>) -> String {
        match (self, linear) {
            (Naming::Torchvision, _) | (Naming::Timm, None) => step.key.clone(),
            (Naming::Paper, _) | (Naming::Tutorial | Naming::TutorialNumbered, None) => {
                step.name.clone()
            }
            (Naming::Timm, Some(LinearLayer { is_last: true, .. })) => "head.fc".into(),
            (Naming::Timm, Some(LinearLayer { number, .. })) => format!("pre_logits.fc{number}"),
            (Naming::Tutorial, Some(LinearLayer { is_last: true, .. })) => "classifier".into(),
            (Naming::Tutorial | Naming::TutorialNumbered, Some(LinearLayer { number, .. })) => {
                format!("fc{number}")
            }
        }
    }
}

/// A linear layer among the others of the network.
#[derive(Clone, Copy)]
struct LinearLayer {
    /// Counted from 1.
    number: usize,
    is_last: bool,
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Naming {
    type Err = Error;

    /// # Errors
    /// [`Error::UnknownName`], which lists the namings.
    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|naming| naming.label() == name);
        found.ok_or_else(|| Error::UnknownName {
            kind: "naming".into(),
            name: name.into(),
            known: Self::ALL.map(Self::label).join(", "),
        })
    }
}
