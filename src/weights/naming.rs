//! What others call the layers: every naming is derived from the table, none is a list.

use crate::error::{Error, Result};
use crate::models::{Architecture, Layer, Part, Step};
use std::fmt;
use std::str::FromStr;

/// Names and shapes of a network's tensors, as one community writes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// torchvision's, and this crate's own: `features.24.weight`, `classifier.6.bias`.
    #[default]
    Torchvision,
    /// timm's: linear layers are `pre_logits.fc1` and so on, hidden ones as convolutions over all of
    /// the map (`[4096, 512, 7, 7]`), and the last is `head.fc`.
    Timm,
    /// The papers' and Caffe's: `conv5_1.weight`, `fc6.weight`.
    Paper,
    /// Of tutorials that write VGG with an attribute a layer: `conv5_1`, `fc1`, `fc2`, `classifier`.
    Tutorial,
    /// The same, with linear layers counted to the end: `fc1`, `fc2`, `fc3`.
    TutorialNumbered,
}

/// A tensor under a naming.
pub(super) struct Named {
    pub name: String,
    pub shape: Vec<usize>,
    pub part: Part,
}

impl Naming {
    /// Every naming, the more usual first.
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

    /// The network's tensors in the order of [`Architecture::parameters`].
    pub(super) fn tensors(self, architecture: &Architecture) -> Result<Vec<Named>> {
        let steps = architecture.steps()?;
        let is_linear = |step: &Step| matches!(step.layer, Layer::Linear { .. });
        let linears = steps.iter().filter(|step| is_linear(step)).count();
        let mut linear = 0;
        // A map's dimensions, while the next linear layer is the first to see it flat.
        let mut map = None;
        let mut tensors = Vec::new();
        for step in &steps {
            if step.part == Part::AvgPool {
                map = Some(step.output.dims().to_vec());
            }
            linear += usize::from(is_linear(step));
            let position = is_linear(step).then_some((linear, linear == linears));
            let layer = self.layer(step, position);
            for parameter in &step.parameters {
                let attribute = parameter.key.strip_prefix(&step.key).unwrap_or_default();
                let as_convolution = self == Naming::Timm
                    && position.is_some_and(|(_, is_last)| !is_last)
                    && parameter.shape.len() == 2;
                let shape = match as_convolution {
                    true => {
                        let window = map.take().unwrap_or(vec![parameter.shape[1], 1, 1]);
                        [parameter.shape[0]].into_iter().chain(window).collect()
                    }
                    false => parameter.shape.clone(),
                };
                tensors.push(Named { name: format!("{layer}{attribute}"), shape, part: step.part });
            }
        }
        Ok(tensors)
    }

    /// Whether a tensor of that name belongs to a classifier, of any network, under any naming: where
    /// a network has convolutions alone, two namings are the same.
    pub(super) fn is_of_classifier(name: &str) -> bool {
        let first = name.split('.').next().unwrap_or_default();
        let number = first.strip_prefix("fc").unwrap_or_default();
        let is_numbered = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        is_numbered || matches!(first, "classifier" | "pre_logits" | "head")
    }

    /// A layer's name; of a linear one its number, and whether it is the last.
    fn layer(self, step: &Step, linear: Option<(usize, bool)>) -> String {
        match (self, linear) {
            (Naming::Torchvision, _) | (Naming::Timm, None) => step.key.clone(),
            (Naming::Paper, _) | (Naming::Tutorial | Naming::TutorialNumbered, None) => {
                step.name.clone()
            }
            (Naming::Timm, Some((_, true))) => "head.fc".into(),
            (Naming::Timm, Some((number, false))) => format!("pre_logits.fc{number}"),
            (Naming::Tutorial, Some((_, true))) => "classifier".into(),
            (Naming::Tutorial | Naming::TutorialNumbered, Some((number, _))) => {
                format!("fc{number}")
            }
        }
    }
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

impl FromStr for Naming {
    type Err = Error;

    /// # Errors
    /// [`Error::Setting`], which lists the namings.
    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|naming| naming.label() == name);
        found.ok_or_else(|| Error::Setting {
            place: "naming".into(),
            expected: Self::ALL.map(Self::label).join(", "),
            found: name.into(),
        })
    }
}
