//! Writes a state dict as `torch.save` does: an uncompressed zip archive of a pickle and one file for each
//! storage. The storages are aligned, so that PyTorch can map them into memory.

use super::super::save_plan::{PlannedTensor, RowSource, SavePlan};
use super::super::strided_view::contiguous_strides;
use crate::error::{Error, Result};
use rawzip::extra_fields::ExtraFieldId;
use rawzip::{CompressionMethod, Header, ZipArchiveWriter};
use safetensors::tensor::Dtype;
use std::io::Write;
use std::path::Path;

const FOLDER: &str = "archive";
const ALIGNMENT: u64 = 64;
/// Bytes of the fixed part of a local header, and of the header of an extra field.
const LOCAL_HEADER: u64 = 30;
const EXTRA_HEADER: u64 = 4;
/// The extra field in which PyTorch writes the padding.
const PADDING: ExtraFieldId = ExtraFieldId::new(0x4246);

/// Writes the tensors of the plan, each in a storage of its own. `path` is for errors.
pub(in crate::weights) fn write(
    plan: &SavePlan,
    path: &Path,
    out: &mut dyn Write,
    values: RowSource,
) -> Result<()> {
    let mut archive = ZipArchiveWriter::new(out);
    let bytes =
        |bytes: Vec<u8>| move |out: &mut dyn Write| out.write_all(&bytes).map_err(Error::io(path));
    add_file(&mut archive, path, "data.pkl", bytes(pickle(plan)))?;
    add_file(&mut archive, path, "byteorder", bytes(b"little".to_vec()))?;
    for (key, tensor) in plan.tensors.iter().enumerate() {
        add_file(&mut archive, path, &format!("data/{key}"), |out| {
            tensor.write_values(path, out, values)
        })?;
    }
    add_file(&mut archive, path, "version", bytes(b"3\n".to_vec()))?;
    archive.finish().map_err(zip_error(path))?;
    Ok(())
}

fn add_file<W: Write>(
    archive: &mut ZipArchiveWriter<W>,
    path: &Path,
    name: &str,
    write: impl FnOnce(&mut dyn Write) -> Result<()>,
) -> Result<()> {
    let name = format!("{FOLDER}/{name}");
    let unpadded = archive.stream_offset() + LOCAL_HEADER + name.len() as u64 + EXTRA_HEADER;
    let padding = vec![b'Z'; (unpadded.next_multiple_of(ALIGNMENT) - unpadded) as usize];
    let file = archive.new_file(name.as_str()).compression_method(CompressionMethod::STORE);
    let file = file.extra_field(PADDING, &padding, Header::LOCAL).map_err(zip_error(path))?;
    let (mut entry, config) = file.start().map_err(zip_error(path))?;
    let mut data = config.wrap(&mut entry);
    write(&mut data)?;
    let (_, written) = data.finish().map_err(zip_error(path))?;
    entry.finish(written).map_err(zip_error(path))?;
    Ok(())
}

fn zip_error(path: &Path) -> impl FnOnce(rawzip::Error) -> Error {
    move |error| Error::io(path)(std::io::Error::other(error))
}

/// The pickle of the state dict, in protocol 2: an `OrderedDict` of names and
/// `_rebuild_tensor_v2(storage, offset, shape, stride, requires_grad, hooks)`.
fn pickle(plan: &SavePlan) -> Vec<u8> {
    let mut out = PickleWriter(vec![0x80, 2]);
    out.ordered_dict();
    out.op(b"(");
    for (key, tensor) in plan.tensors.iter().enumerate() {
        out.string(&tensor.name);
        out.tensor(&key.to_string(), tensor);
    }
    out.op(b"u.");
    out.0
}

struct PickleWriter(Vec<u8>);

impl PickleWriter {
    fn op(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn ordered_dict(&mut self) {
        self.op(b"ccollections\nOrderedDict\n)R");
    }

    fn tensor(&mut self, key: &str, tensor: &PlannedTensor) {
        let class = match tensor.dtype {
            Dtype::F16 => "HalfStorage",
            Dtype::BF16 => "BFloat16Storage",
            Dtype::I64 => "LongStorage",
            _ => "FloatStorage",
        };
        self.op(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.string("storage");
        self.op(format!("ctorch\n{class}\n").as_bytes());
        self.string(key);
        self.string("cpu");
        self.int(tensor.elements());
        self.op(b"tQ");
        self.int(0);
        self.ints(tensor.shape.iter().map(|&dim| dim as u64));
        self.ints(contiguous_strides(&tensor.shape).into_iter().map(|stride| stride as u64));
        self.op(b"\x89");
        self.ordered_dict();
        self.op(b"tR");
    }

    fn string(&mut self, text: &str) {
        self.op(b"X");
        self.op(&(text.len() as u32).to_le_bytes());
        self.op(text.as_bytes());
    }

    fn int(&mut self, value: u64) {
        match i32::try_from(value) {
            Ok(value) => {
                self.op(b"J");
                self.op(&value.to_le_bytes());
            }
            Err(_) => {
                // A LONG of nine bytes: the ninth has the sign, which is positive.
                self.op(&[0x8a, 9]);
                self.op(&value.to_le_bytes());
                self.op(&[0]);
            }
        }
    }

    fn ints(&mut self, values: impl IntoIterator<Item = u64>) {
        self.op(b"(");
        values.into_iter().for_each(|value| self.int(value));
        self.op(b"t");
    }
}
