//! The safetensors format: 8 bytes of header length, a JSON header, the tensors' bytes.
//!
//! The header is parsed by the `safetensors` crate, which checks that the tensors cover the data
//! without a gap or an overlap and have the lengths that their shapes and types ask for. The data
//! are read here, piece by piece into where they belong: mapping the file would need `unsafe`, and
//! reading it whole twice the memory.

use crate::error::{Error, Result};
use crate::models::{Parameter, Role};
use crate::predict::expect_finite;
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A header for our largest network has 8 KB. This bounds what a hostile one can cost.
const LARGEST_HEADER: u64 = 8 << 20;
const LENGTH_BYTES: u64 = 8;

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    file: fs::File,
    header: Metadata,
    data_start: u64,
}

impl File {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let wrong = |expected: &str, found: String| Error::WeightsFormat {
            path: path.into(),
            expected: expected.into(),
            found,
        };
        let mut file = fs::File::open(path).map_err(Error::io(path))?;
        let info = file.metadata().map_err(Error::io(path))?;
        if !info.is_file() {
            return Err(wrong("a file", "a folder or device".into()));
        }
        let length = info.len();
        if length < LENGTH_BYTES {
            return Err(wrong("8 bytes of header length", format!("a file of {length} bytes")));
        }
        let mut bytes = [0; LENGTH_BYTES as usize];
        file.read_exact(&mut bytes).map_err(Error::io(path))?;
        if bytes.starts_with(b"PK\x03\x04") {
            let found = "a zip archive, as torch.save writes them";
            return Err(wrong("a file of safetensors.torch.save_file", found.into()));
        }
        let header_length = u64::from_le_bytes(bytes);
        if header_length > LARGEST_HEADER.min(length - LENGTH_BYTES) {
            let most = format!("a header of at most {LARGEST_HEADER} bytes that fits in the file");
            let found = format!("a header length of {header_length} in a file of {length} bytes");
            return Err(wrong(&most, found));
        }
        let mut json = vec![0; header_length as usize];
        file.read_exact(&mut json).map_err(Error::io(path))?;
        let header: Metadata = serde_json::from_slice(&json)
            .map_err(|error| wrong("a header that describes the data", error.to_string()))?;
        if let Some(name) = named_twice(&json) {
            return Err(wrong("every tensor once", format!("{name:?} twice")));
        }
        let data_start = LENGTH_BYTES + header_length;
        let described = header.data_len() as u64;
        if described != length - data_start {
            let expected = format!("{described} bytes of tensors after the header");
            return Err(wrong(&expected, format!("{} bytes", length - data_start)));
        }
        let path = path.into();
        Ok(Self { path, file, header, data_start })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The tensors' names in the order of their data.
    pub(super) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    pub(super) fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.header.info(name)
    }

    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Rows of a tensor that was checked to have the parameter's shape, as f32. Weights that are not
    /// numbers (of a training that diverged, say) are an error: layers behind them can hide it.
    pub(super) fn values(&mut self, parameter: &Parameter, rows: Range<usize>) -> Result<Vec<f32>> {
        let missing = || Error::WeightsFormat {
            path: self.path.clone(),
            expected: parameter.key.clone(),
            found: "no tensor of that name".into(),
        };
        let info = self.header.info(&parameter.key).ok_or_else(missing)?;
        let row: usize = parameter.shape[1..].iter().product();
        let dtype = info.dtype;
        let width = dtype.bitsize() / 8;
        let start = self.data_start + (info.data_offsets.0 + rows.start * row * width) as u64;
        self.file.seek(SeekFrom::Start(start)).map_err(Error::io(&self.path))?;
        let count = rows.len() * row;
        let read = match dtype {
            Dtype::F16 => decode(&self.file, count, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => decode(&self.file, count, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            _ => decode(&self.file, count, f32::from_le_bytes),
        };
        let values = read.map_err(Error::io(&self.path))?;
        expect_finite(&format!("{} {}", self.path.display(), parameter.key), &values)?;
        // Its root would be no number, and the ReLU behind it would make that 0.
        match values.iter().find(|&&value| parameter.role == Role::RunningVar && value < 0.0) {
            Some(negative) => Err(Error::WeightsFormat {
                path: self.path.clone(),
                expected: format!("variances of at least 0 in {}", parameter.key),
                found: negative.to_string(),
            }),
            None => Ok(values),
        }
    }
}

/// Reads `count` values of `WIDTH` bytes through a buffer that stays in the cache.
fn decode<const WIDTH: usize>(
    mut file: &fs::File,
    count: usize,
    value: impl Fn([u8; WIDTH]) -> f32,
) -> std::io::Result<Vec<f32>> {
    const BUFFER: usize = 1 << 18;
    let mut values = Vec::with_capacity(count);
    let mut buffer = vec![0; BUFFER.min(count * WIDTH)];
    while values.len() < count {
        let bytes = buffer.len().min((count - values.len()) * WIDTH);
        file.read_exact(&mut buffer[..bytes])?;
        let (chunks, _) = buffer[..bytes].as_chunks::<WIDTH>();
        values.extend(chunks.iter().map(|&chunk| value(chunk)));
    }
    Ok(values)
}

/// The first key that a JSON object has twice. Parsers keep the last of them in silence.
fn named_twice(json: &[u8]) -> Option<String> {
    struct Keys;
    impl<'de> Visitor<'de> for Keys {
        type Value = Option<String>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut seen = HashSet::new();
            let mut twice = None;
            while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if let Some(key) = seen.replace(key) {
                    twice.get_or_insert(key);
                }
            }
            Ok(twice)
        }
    }
    serde_json::Deserializer::from_slice(json).deserialize_map(Keys).ok().flatten()
}
