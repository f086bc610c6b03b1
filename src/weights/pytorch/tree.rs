//! What a pickle says, as a tree: values, and calls that nobody has made.
//!
//! Nodes refer to each other by number, and texts are shared. So what a pickle uses again is not
//! copied (a small one could fill the memory), and a list may contain itself.

use super::super::source::Wrong;
use std::rc::Rc;

/// A node's place in its [`Arena`].
pub(super) type Id = u32;

/// A value of the pickle.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond 64 bits, little-endian.
    Long(Vec<u8>),
    Float,
    Text(Rc<str>),
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A module's name and a name in it.
    Global(Rc<str>, Rc<str>),
    /// A call that has not been made, of a function of [`CALLS`].
    Call {
        function: Function,
        arguments: Id,
    },
    /// An object that has not been made.
    Object {
        class: Id,
        state: Option<Id>,
    },
    /// A tensor's storage, as PyTorch identifies it.
    Persistent(Id),
}

/// What the calls in state dicts mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// A dict, empty or of pairs.
    Dict,
    /// A tensor in a storage.
    Tensor,
    /// A tensor wrapped as a parameter: the first argument.
    Parameter,
    /// A tensor with attributes: the call of argument 0 with argument 2.
    WithAttributes,
    /// Python 2's way to make an object: of the class that is the first argument.
    Object,
    /// A set of a list's items.
    Set,
    /// A tensor that is more, or less, than values in a storage.
    AnotherTensor(&'static str),
    /// A plain value that weights have no use for.
    Value,
}

/// Every function that a pickle may name in a call. None of them is called.
#[rustfmt::skip]
pub(super) const CALLS: [(&str, &str, Function); 42] = [
    ("collections", "OrderedDict", Function::Dict),
    ("collections", "defaultdict", Function::Dict),
    ("collections", "Counter", Function::Dict),
    ("torch._utils", "_rebuild_tensor_v2", Function::Tensor),
    ("torch._utils", "_rebuild_tensor", Function::Tensor),
    ("torch._utils", "_rebuild_parameter", Function::Parameter),
    ("torch._utils", "_rebuild_parameter_with_state", Function::Parameter),
    ("torch.nn.parameter", "Parameter", Function::Parameter),
    ("torch._tensor", "_rebuild_from_type_v2", Function::WithAttributes),
    ("torch._utils", "_rebuild_sparse_tensor", Function::AnotherTensor("a sparse tensor")),
    ("torch._utils", "_rebuild_qtensor", Function::AnotherTensor("a quantized tensor")),
    ("torch._utils", "_rebuild_nested_tensor", Function::AnotherTensor("a nested tensor")),
    ("torch._utils", "_rebuild_meta_tensor_no_storage", Function::AnotherTensor("a tensor without values, on the meta device")),
    ("torch._utils", "_rebuild_wrapper_subclass", Function::AnotherTensor("a tensor of a class of its own")),
    ("torch._utils", "_rebuild_device_tensor_from_numpy", Function::AnotherTensor("a tensor of another device")),
    ("torch._utils", "_rebuild_device_tensor_from_cpu_tensor", Function::AnotherTensor("a tensor of another device")),
    ("torch._utils", "_rebuild_tensor_v3", Function::AnotherTensor("a tensor of a type that storages do not have, as of 8 bits")),
    ("copy_reg", "_reconstructor", Function::Object),
    ("copyreg", "_reconstructor", Function::Object),
    ("torch", "Size", Function::Value),
    ("torch", "device", Function::Value),
    ("torch.serialization", "_get_layout", Function::Value),
    ("_codecs", "encode", Function::Value),
    ("builtins", "set", Function::Set),
    ("builtins", "frozenset", Function::Value),
    ("builtins", "complex", Function::Value),
    ("builtins", "slice", Function::Value),
    ("builtins", "range", Function::Value),
    ("builtins", "bytearray", Function::Value),
    ("__builtin__", "set", Function::Set),
    ("__builtin__", "frozenset", Function::Value),
    ("functools", "partial", Function::Value),
    ("datetime", "datetime", Function::Value),
    ("datetime", "date", Function::Value),
    ("datetime", "timedelta", Function::Value),
    ("pathlib", "PosixPath", Function::Value),
    ("pathlib", "WindowsPath", Function::Value),
    ("numpy", "dtype", Function::Value),
    ("numpy.core.multiarray", "scalar", Function::Value),
    ("numpy._core.multiarray", "scalar", Function::Value),
    ("numpy.core.multiarray", "_reconstruct", Function::Value),
    ("numpy._core.multiarray", "_reconstruct", Function::Value),
];

/// What the largest checkpoint of a VGG with its optimizer needs, many times over.
pub(super) const MOST_NODES: usize = 1 << 20;

/// The nodes of one or more pickles.
#[derive(Debug, Default)]
pub(super) struct Arena {
    nodes: Vec<Node>,
}

impl Arena {
    pub fn get(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn get_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, id: Id) -> Option<i64> {
        match self.get(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The tuples by which PyTorch identifies storages.
    pub fn persistent(&self) -> impl Iterator<Item = Id> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    pub fn add(&mut self, node: Node) -> Result<Id, Wrong> {
        if self.nodes.len() == MOST_NODES {
            return Err(Wrong::new(format!("at most {MOST_NODES} values in a pickle"), "more"));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }
}

impl Node {
    /// What it is, in a word or two.
    pub fn kind(&self) -> String {
        match self {
            Node::None => "None".into(),
            Node::Bool(value) => format!("the truth value {value}"),
            Node::Int(value) => format!("the number {value}"),
            Node::Long(_) => "a number beyond 64 bits".into(),
            Node::Float => "a floating-point number".into(),
            Node::Text(_) => "a text".into(),
            Node::Bytes => "bytes".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::List(_) => "a list".into(),
            Node::Set(_) => "a set".into(),
            Node::Dict(_) => "a dict".into(),
            Node::Global(module, name) => format!("{:?} itself", format!("{module}.{name}")),
            Node::Call { function: Function::Value, .. } => "a plain value".into(),
            Node::Call { function: Function::AnotherTensor(what), .. } => (*what).into(),
            Node::Call { .. } => "a tensor".into(),
            Node::Object { .. } => "an object".into(),
            Node::Persistent(_) => "a storage".into(),
        }
    }
}
