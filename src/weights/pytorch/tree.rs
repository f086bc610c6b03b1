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
    /// A call that has not been made, of a function of `CALLS`.
    Call {
        function: Function,
        arguments: Id,
    },
    /// An object that has not been made.
    Object {
        class: Id,
        state: Option<Id>,
        /// What was put into it, as into a dict.
        items: Vec<(Id, Id)>,
        /// Something was appended to it, as to a list.
        is_list: bool,
    },
    /// A tensor's storage, as PyTorch identifies it.
    Persistent(Id),
}

/// What the calls in state dicts mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// A dict, empty, of pairs, or of another's items.
    Dict,
    /// An empty dict with a function for what is missing.
    DefaultDict,
    /// A tensor in a storage.
    Tensor,
    /// A tensor wrapped as a parameter: the first argument. The fourth are its attributes.
    Parameter,
    /// A tensor with attributes: the call of argument 0 with argument 2. The fourth are those.
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

/// Python's own module, and its name in Python 2, which pickles of protocol 2 have.
const BUILTINS: &[&str] = &["builtins", "__builtin__"];
const TORCH: &[&str] = &["torch._utils"];
const PATHS: &[&str] = &["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"];
const PLAIN: &[&str] =
    &["complex", "slice", "range", "xrange", "bytes", "bytearray", "frozenset", "getattr"];

/// Every function that a pickle may name in a call: modules, names in them, what they mean. None of
/// them is called.
#[rustfmt::skip]
const CALLS: [(&[&str], &[&str], Function); 29] = [
    (&["collections"], &["OrderedDict", "Counter"], Function::Dict),
    (&["collections"], &["defaultdict"], Function::DefaultDict),
    (TORCH, &["_rebuild_tensor_v2", "_rebuild_tensor"], Function::Tensor),
    (TORCH, &["_rebuild_parameter", "_rebuild_parameter_with_state"], Function::Parameter),
    (&["torch.nn.parameter"], &["Parameter"], Function::Parameter),
    (&["torch._tensor"], &["_rebuild_from_type_v2"], Function::WithAttributes),
    (TORCH, &["_rebuild_sparse_tensor"], Function::AnotherTensor("a sparse tensor")),
    (TORCH, &["_rebuild_qtensor"], Function::AnotherTensor("a quantized tensor")),
    (TORCH, &["_rebuild_nested_tensor"], Function::AnotherTensor("a nested tensor")),
    (TORCH, &["_rebuild_meta_tensor_no_storage"], Function::AnotherTensor(META)),
    (TORCH, &["_rebuild_wrapper_subclass"], Function::AnotherTensor("a tensor of a class of its own")),
    (TORCH, &["_rebuild_device_tensor_from_numpy", "_rebuild_device_tensor_from_cpu_tensor"],
        Function::AnotherTensor("a tensor of another device")),
    (TORCH, &["_rebuild_tensor_v3"],
        Function::AnotherTensor("a tensor of a type that storages do not have, as of 8 bits")),
    (&["copy_reg", "copyreg"], &["_reconstructor"], Function::Object),
    (BUILTINS, &["set"], Function::Set),
    (BUILTINS, PLAIN, Function::Value),
    (&["torch"], &["Size", "device"], Function::Value),
    (&["torch.serialization"], &["_get_layout"], Function::Value),
    (&["torchvision.transforms.functional"], &["InterpolationMode"], Function::Value),
    (&["_codecs"], &["encode"], Function::Value),
    (&["collections"], &["deque"], Function::Value),
    (&["functools"], &["partial"], Function::Value),
    (&["types"], &["SimpleNamespace"], Function::Value),
    (&["decimal"], &["Decimal"], Function::Value),
    (&["datetime"], &["datetime", "date", "time", "timedelta", "timezone"], Function::Value),
    (&["pathlib", "pathlib._local"], PATHS, Function::Value),
    (&["numpy"], &["dtype"], Function::Value),
    (&["numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"],
        &["scalar", "_reconstruct", "_frombuffer"], Function::Value),
    (&["numpy.random._pickle"], &["__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor"],
        Function::Value),
];

pub(super) const META: &str = "a tensor without values, on the meta device";

/// What a call of that function means; `None` if nothing in a file of weights needs it.
pub(super) fn called(module: &str, name: &str) -> Option<Function> {
    CALLS
        .iter()
        .find(|(modules, names, _)| modules.contains(&module) && names.contains(&name))
        .map(|&(_, _, function)| function)
}

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
    /// Of a class, before it has a state.
    pub fn object(class: Id) -> Self {
        Node::Object { class, state: None, items: Vec::new(), is_list: false }
    }

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
