//! Networks into files, for PyTorch and for ourselves: written beside the target and renamed, so that
//! a file is whole or not there.

use super::checksum::Seen;
use super::labels;
use super::naming::Naming;
use super::reading::{Reading, Wanted};
use super::{Dtype, Format, LABELS, NETWORK, PRESET, Weights, pytorch, safetensors};
use crate::error::{Error, Result};
use crate::models::{Architecture, Network, Parameter};
use crate::vision::{Labels, Preset};
use crate::whole_file;
use burn::tensor::backend::Backend;
use half::{bf16, f16};
use std::io::Write;
use std::ops::Range;
use std::path::Path;

/// How weights are written.
#[derive(Clone, Debug, PartialEq)]
pub struct SaveOptions {
    /// `F32` (as it is, bit for bit), `F16` or `BF16` (rounded to the nearest).
    pub dtype: Dtype,
    /// What the tensors are called.
    pub naming: Naming,
    /// The preprocessing that the weights want, where the network or the file to convert does not
    /// say: safetensors files keep it.
    pub preset: Option<Preset>,
    /// The names of the classes, likewise.
    pub labels: Option<Labels>,
}

impl Default for SaveOptions {
    fn default() -> Self {
        Self { dtype: Dtype::F32, naming: Naming::Torchvision, preset: None, labels: None }
    }
}

impl SaveOptions {
    /// What the weights state goes before what is asked for.
    fn stating(&self, preset: Option<&Preset>, labels: Option<&Labels>) -> Self {
        let preset = preset.or(self.preset.as_ref()).cloned();
        let labels = labels.or(self.labels.as_ref()).cloned();
        Self { preset, labels, ..self.clone() }
    }
}

/// What goes into a file, before a value of it is read.
pub(super) struct Plan {
    pub network: String,
    pub dtype: Dtype,
    pub preset: Option<Preset>,
    pub labels: Option<Labels>,
    /// In the order in which they are written.
    pub tensors: Vec<Planned>,
}

/// A tensor of a file to write.
pub(super) struct Planned {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: PlannedValues,
}

pub(super) enum PlannedValues {
    Parameter(Parameter),
    /// How many batches a batch norm has seen: PyTorch has it in every state dict.
    Counter(i64),
}

/// Gives rows of a parameter.
pub(super) type Values<'a> = &'a mut dyn FnMut(&Parameter, Range<usize>) -> Result<Vec<f32>>;

impl<B: Backend> Network<B> {
    /// Writes the weights as f32 with torchvision's names: as a state dict of PyTorch if the path
    /// ends in `.pth` or `.pt`, as safetensors if it ends in `.safetensors`. In safetensors go the
    /// network's name, its [preset](Self::preset) and its [labels](Self::labels), too.
    ///
    /// # Errors
    /// [`Error::Setting`] for another ending, [`Error::Io`], and [`Error::Backend`] if the device
    /// fails; [`Error::Setting`] for labels that are not as many as the classes, or longer than a file
    /// may have them. A file that was there before then still is.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_as(path, &SaveOptions::default())
    }

    /// [`save`](Self::save) with another type or naming.
    ///
    /// # Errors
    /// As for [`save`](Self::save), and [`Error::Setting`] for another type than f32, f16 and bf16,
    /// or for a value that is beyond the type's range.
    pub fn save_as(&self, path: impl AsRef<Path>, options: &SaveOptions) -> Result<()> {
        let options = options.stating(self.preset(), self.labels());
        let plan = Plan::new(self.architecture(), &options, &|_| Ok(0))?;
        let path = path.as_ref();
        let format = format(path)?;
        whole_file::replace(path, |out| {
            plan.write(format, path, out, &mut |parameter, rows| self.values(parameter, rows))
        })
    }
}

impl Weights {
    /// Writes the file's tensors, which must be those of this network, into another file: in another
    /// format, naming or type, without building the network.
    ///
    /// # Errors
    /// As for [`Network::load`] and [`Network::save_as`].
    pub fn convert(
        &self,
        architecture: &Architecture,
        path: impl AsRef<Path>,
        options: &SaveOptions,
    ) -> Result<()> {
        let reading = self.read_as(architecture, Wanted::All)?;
        let counter = |key: &str| self.counter(&reading, key);
        let labels = self.labels_of(architecture, Wanted::All)?;
        let options = options.stating(self.preset()?.as_ref(), labels.as_ref());
        let plan = Plan::new(architecture, &options, &counter)?;
        let path = path.as_ref();
        let format = format(path)?;
        whole_file::replace(path, |out| {
            let mut seen = Seen::default();
            plan.write(format, path, out, &mut |parameter, rows| {
                self.rows(&reading, parameter, rows, &mut seen)
            })?;
            // Before the new file has its name.
            self.verify_rest(&seen)
        })
    }

    /// How many batches a batch norm has seen: 0 if the file does not say, or cannot in its type.
    fn counter(&self, reading: &Reading, key: &str) -> Result<i64> {
        match reading.counters.get(key) {
            Some(&index) => self.contents.tensors[index].count(&self.source),
            None => Ok(0),
        }
    }
}

/// What a file of that name is to hold.
fn format(path: &Path) -> Result<Format> {
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
    match extension.as_deref() {
        Some("pth" | "pt") => Ok(Format::PyTorch),
        Some("safetensors") => Ok(Format::Safetensors),
        _ => Err(Error::Setting {
            place: "weights to write".into(),
            expected: "a path that ends in .pth, .pt or .safetensors".into(),
            found: path.display().to_string(),
        }),
    }
}

impl Plan {
    fn new(
        architecture: &Architecture,
        options: &SaveOptions,
        counter: &dyn Fn(&str) -> Result<i64>,
    ) -> Result<Self> {
        let named = options.naming.tensors(architecture)?;
        let mut tensors = Vec::new();
        for (parameter, named) in architecture.parameters()?.into_iter().zip(named) {
            let count = |name: &str| {
                name.strip_suffix("running_var").map(|layer| format!("{layer}num_batches_tracked"))
            };
            let counter = count(&parameter.key).zip(count(&named.name)).map(|(key, name)| {
                let values = PlannedValues::Counter(counter(&key)?);
                Ok::<_, Error>(Planned { name, shape: Vec::new(), values })
            });
            let values = PlannedValues::Parameter(parameter);
            tensors.push(Planned { name: named.name, shape: named.shape, values });
            tensors.extend(counter.transpose()?);
        }
        let dtype = options.dtype;
        match dtype {
            Dtype::F32 | Dtype::F16 | Dtype::BF16 => {
                let (preset, labels) = (options.preset.clone(), options.labels.clone());
                preset.iter().try_for_each(Preset::validate)?;
                labels.iter().try_for_each(|labels| labels::expect(labels, architecture))?;
                Ok(Self { network: architecture.name.clone(), dtype, preset, labels, tensors })
            }
            other => Err(Error::Setting {
                place: "type of the weights".into(),
                expected: "F32, F16 or BF16".into(),
                found: other.to_string(),
            }),
        }
    }

    /// `path` is for messages.
    fn write(
        &self,
        format: Format,
        path: &Path,
        out: &mut dyn Write,
        values: Values,
    ) -> Result<()> {
        match format {
            Format::Safetensors => safetensors::write(self, path, out, values),
            Format::PyTorch | Format::PyTorchLegacy => {
                pytorch::write::state_dict(self, path, out, values)
            }
        }
    }

    /// The preset as the metadata has it: its name, or all of it if the name does not say it.
    pub fn metadata(&self) -> Vec<(String, String)> {
        let mut metadata = vec![
            // The transformers library asks for this one.
            ("format".to_string(), "pt".to_string()),
            (NETWORK.to_string(), self.network.clone()),
        ];
        if let Some(preset) = &self.preset {
            let is_known = Preset::by_name(&preset.name).is_ok_and(|known| known == *preset);
            let text = match is_known {
                true => preset.name.clone(),
                false => serde_json::to_string(preset).unwrap_or_default(),
            };
            metadata.push((PRESET.into(), text));
        }
        if let Some(labels) = &self.labels {
            metadata.push((LABELS.into(), labels::to_json(labels)));
        }
        metadata
    }
}

impl Planned {
    pub fn dtype(&self, plan: &Plan) -> Dtype {
        match self.values {
            PlannedValues::Parameter(_) => plan.dtype,
            PlannedValues::Counter(_) => Dtype::I64,
        }
    }

    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&dim| dim as u64).product()
    }

    /// The values, in pieces.
    pub fn write(
        &self,
        plan: &Plan,
        path: &Path,
        out: &mut dyn Write,
        values: Values,
    ) -> Result<()> {
        match &self.values {
            PlannedValues::Counter(count) => {
                out.write_all(&count.to_le_bytes()).map_err(Error::io(path))
            }
            PlannedValues::Parameter(parameter) => parameter.pieces().try_for_each(|rows| {
                write_values(&self.name, plan.dtype, &values(parameter, rows)?, path, out)
            }),
        }
    }
}

fn write_values(
    name: &str,
    dtype: Dtype,
    values: &[f32],
    path: &Path,
    out: &mut dyn Write,
) -> Result<()> {
    const CHUNK: usize = 1 << 16;
    let finite = |value: f32, is_finite: bool| match is_finite {
        true => Ok(()),
        false => Err(Error::Setting {
            place: format!("{name} as {dtype}"),
            expected: "values in the range of that type".into(),
            found: value.to_string(),
        }),
    };
    for chunk in values.chunks(CHUNK) {
        let mut bytes = Vec::with_capacity(4 * chunk.len());
        for &value in chunk {
            match dtype {
                Dtype::F16 => {
                    let half = f16::from_f32(value);
                    finite(value, half.is_finite())?;
                    bytes.extend(half.to_le_bytes());
                }
                Dtype::BF16 => {
                    let half = bf16::from_f32(value);
                    finite(value, half.is_finite())?;
                    bytes.extend(half.to_le_bytes());
                }
                _ => bytes.extend(value.to_le_bytes()),
            }
        }
        out.write_all(&bytes).map_err(Error::io(path))?;
    }
    Ok(())
}
