//! Pickles and archives written by hand, byte by byte, as PyTorch would never write them.

use rawzip::{CompressionMethod, ZipArchiveWriter};
use std::io::Write;

/// A number, a text, a tuple, as opcodes.
pub fn int(value: i64) -> Vec<u8> {
    [&[0x8a, 8][..], &value.to_le_bytes()].concat()
}

pub fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

pub fn tuple(items: &[Vec<u8>]) -> Vec<u8> {
    [b"(", &items.concat()[..], b"t"].concat()
}

pub fn ints(values: &[i64]) -> Vec<u8> {
    tuple(&values.iter().map(|&value| int(value)).collect::<Vec<_>>())
}

pub fn global(module: &str, name: &str) -> Vec<u8> {
    format!("c{module}\n{name}\n").into_bytes()
}

pub fn call(module: &str, name: &str, arguments: &[Vec<u8>]) -> Vec<u8> {
    [global(module, name), tuple(arguments), b"R".to_vec()].concat()
}

pub fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|(k, v)| [text(k), v.clone()].concat()).collect();
    [b"}(", &items[..], b"u"].concat()
}

/// An object with a state, of a class that does not exist.
pub fn object(state: Vec<u8>) -> Vec<u8> {
    [global("nowhere", "Network"), b")\x81".to_vec(), state, b"b".to_vec()].concat()
}

/// A whole pickle of one value.
pub fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

/// What a tensor's pickle says, to be changed.
#[derive(Clone)]
pub struct Tensor {
    pub function: &'static str,
    pub class: &'static str,
    pub key: &'static str,
    pub elements: i64,
    pub offset: i64,
    pub shape: Vec<i64>,
    pub stride: Vec<i64>,
}

impl Default for Tensor {
    /// Six numbers of storage 0, as 2 rows of 3.
    fn default() -> Self {
        Self {
            function: "_rebuild_tensor_v2",
            class: "FloatStorage",
            key: "0",
            elements: 6,
            offset: 0,
            shape: vec![2, 3],
            stride: vec![3, 1],
        }
    }
}

impl Tensor {
    pub fn pickled(&self) -> Vec<u8> {
        let class = global("torch", self.class);
        let storage = [text("storage"), class, text(self.key), text("cpu"), int(self.elements)];
        let storage = [tuple(&storage), b"Q".to_vec()].concat();
        let hooks = call("collections", "OrderedDict", &[]);
        let view =
            [int(self.offset), ints(&self.shape), ints(&self.stride), b"\x89".to_vec(), hooks];
        call("torch._utils", self.function, &[&[storage][..], &view].concat())
    }
}

/// A zip archive as torch.save lays it out.
pub struct Archive {
    writer: ZipArchiveWriter<Vec<u8>>,
}

impl Archive {
    pub fn new() -> Self {
        Self { writer: ZipArchiveWriter::new(Vec::new()) }
    }

    pub fn add(self, name: &str, bytes: &[u8]) -> Self {
        self.add_as(name, bytes, CompressionMethod::STORE, false)
    }

    pub fn add_as(
        mut self,
        name: &str,
        bytes: &[u8],
        method: CompressionMethod,
        encrypted: bool,
    ) -> Self {
        let file = self.writer.new_file(name).compression_method(method).encrypted(encrypted);
        let (mut entry, config) = file.start().expect("a file");
        let mut data = config.wrap(&mut entry);
        data.write_all(bytes).expect("memory");
        let (_, written) = data.finish().expect("memory");
        entry.finish(written).expect("memory");
        self
    }

    pub fn finish(self) -> Vec<u8> {
        self.writer.finish().expect("memory")
    }
}

/// An archive of a pickled value and storage 0 with six numbers.
pub fn zip(value: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let pickle = pickle(value);
    Archive::new()
        .add("a/data.pkl", &pickle)
        .add("a/data/0", &numbers)
        .add("a/version", b"3\n")
        .finish()
}

/// The same as a legacy file.
pub fn legacy(value: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    let facts = pickle(&dict(&[("little_endian", b"\x88".to_vec())]));
    let keys = pickle(&[b"](", &text("0")[..], b"e"].concat());
    let numbers: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let count = 6i64.to_le_bytes().to_vec();
    [magic, pickle(&int(1001)), facts, pickle(value), keys, count, numbers].concat()
}
