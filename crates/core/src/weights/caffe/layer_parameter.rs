//! A layer of a `NetParameter`: its name, its kind, its blobs, and the messages with its settings.

use super::super::protobuf::Message;
use crate::error::Result;
use std::collections::HashMap;

/// The numbers of the fields in a version of the format.
pub(super) struct Version {
    name: u32,
    kind: u32,
    bottom: u32,
    top: u32,
    blobs: u32,
    /// Whether kinds are numbers.
    has_numbered_kinds: bool,
    /// The messages with settings.
    settings: &'static [(u32, Settings)],
}

/// The messages with settings that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Settings {
    Convolution,
    Data,
    ImageData,
    InnerProduct,
    Input,
    Lrn,
    Pooling,
    Relu,
    Transformation,
    WindowData,
}

/// `V1LayerParameter`, of 2013 and 2014.
pub(super) const V1: Version = Version {
    name: 4,
    kind: 5,
    bottom: 2,
    top: 3,
    blobs: 6,
    has_numbered_kinds: true,
    settings: &[
        (10, Settings::Convolution),
        (11, Settings::Data),
        (15, Settings::ImageData),
        (17, Settings::InnerProduct),
        (18, Settings::Lrn),
        (19, Settings::Pooling),
        (20, Settings::WindowData),
        (30, Settings::Relu),
        (36, Settings::Transformation),
    ],
};

/// `LayerParameter`, since 2014.
pub(super) const V2: Version = Version {
    name: 1,
    kind: 2,
    bottom: 3,
    top: 4,
    blobs: 7,
    has_numbered_kinds: false,
    settings: &[
        (100, Settings::Transformation),
        (106, Settings::Convolution),
        (107, Settings::Data),
        (115, Settings::ImageData),
        (117, Settings::InnerProduct),
        (118, Settings::Lrn),
        (121, Settings::Pooling),
        (123, Settings::Relu),
        (129, Settings::WindowData),
        (143, Settings::Input),
    ],
};

/// The kinds of the first version that have a name here; the others are not known by it.
const NUMBERED_KINDS: [(u64, &str); 21] = [
    (1, "Accuracy"),
    (4, "Convolution"),
    (5, "Data"),
    (6, "Dropout"),
    (7, "EuclideanLoss"),
    (8, "Flatten"),
    (9, "HDF5Data"),
    (12, "ImageData"),
    (14, "InnerProduct"),
    (15, "LRN"),
    (16, "MultinomialLogisticLoss"),
    (17, "Pooling"),
    (18, "ReLU"),
    (20, "Softmax"),
    (21, "SoftmaxWithLoss"),
    (22, "Split"),
    (23, "TanH"),
    (24, "WindowData"),
    (27, "SigmoidCrossEntropyLoss"),
    (29, "MemoryData"),
    (36, "Silence"),
];

pub(super) struct CaffeLayer<'a> {
    pub name: String,
    /// Its kind by the names of the second version: `Convolution`.
    pub kind: String,
    /// The names of the blobs that it takes.
    pub bottoms: Vec<String>,
    /// The names of the blobs that it gives.
    pub tops: Vec<String>,
    pub blobs: Vec<Message<'a>>,
    settings: HashMap<Settings, Message<'a>>,
    message: Message<'a>,
}

impl<'a> CaffeLayer<'a> {
    pub fn parse(message: &Message<'a>, version: &Version) -> Result<Self> {
        let (mut name, mut kind) = (None, None);
        let (mut bottoms, mut tops, mut blobs) = (Vec::new(), Vec::new(), Vec::new());
        let mut settings = HashMap::new();
        for field in message.fields()? {
            let number = field.number;
            if number == version.name {
                message.set(&mut name, &field, message.text(&field)?)?;
            } else if number == version.kind && version.has_numbered_kinds {
                message.set(&mut kind, &field, numbered_kind(message.number(&field)?))?;
            } else if number == version.kind {
                message.set(&mut kind, &field, message.text(&field)?)?;
            } else if number == version.bottom {
                bottoms.push(message.text(&field)?);
            } else if number == version.top {
                tops.push(message.text(&field)?);
            } else if number == version.blobs {
                blobs.push(message.message(&field, "BlobProto")?);
            } else if let Some((_, which)) = version.settings.iter().find(|it| it.0 == number) {
                let inner = message.message(&field, which.kind())?;
                if settings.insert(*which, inner).is_some() {
                    return Err(message.error(format!("one {}", which.kind()), "two"));
                }
            } else if number == 1 && version.has_numbered_kinds {
                let expected =
                    "layers of 2013 or later (`upgrade_net_proto_binary` of Caffe makes them)";
                return Err(message.error(expected, "a V0LayerParameter"));
            }
        }
        Ok(Self {
            name: name.unwrap_or_default(),
            kind: kind.unwrap_or_default(),
            bottoms,
            tops,
            blobs,
            settings,
            message: message.clone(),
        })
    }

    pub fn settings(&self, which: Settings) -> Option<&Message<'a>> {
        self.settings.get(&which)
    }

    /// The error for a layer that is not what it should be.
    pub fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> crate::Error {
        self.message.file.error(format!("{} in layer {:?}", expected.into(), self.name), found)
    }
}

impl Settings {
    fn kind(self) -> &'static str {
        match self {
            Settings::Convolution => "ConvolutionParameter",
            Settings::Data => "DataParameter",
            Settings::ImageData => "ImageDataParameter",
            Settings::InnerProduct => "InnerProductParameter",
            Settings::Input => "InputParameter",
            Settings::Lrn => "LRNParameter",
            Settings::Pooling => "PoolingParameter",
            Settings::Relu => "ReLUParameter",
            Settings::Transformation => "TransformationParameter",
            Settings::WindowData => "WindowDataParameter",
        }
    }
}

fn numbered_kind(number: u64) -> String {
    let known = NUMBERED_KINDS.iter().find(|(known, _)| *known == number);
    known.map_or_else(|| format!("kind {number}"), |(_, name)| (*name).into())
}
