//! The functions whose calls mean something here. None of them is ever called. A call of any other function
//! is opaque: see `opaque_calls`.

/// The meaning of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    /// A dict: empty, from a list of pairs, or from the items of another dict.
    Dict,
    /// An empty dict with a function for missing keys.
    DefaultDict,
    /// A dense tensor in a storage.
    Tensor,
    /// A parameter: argument 0 is its tensor, argument 3 its attributes.
    Parameter,
    /// A tensor with attributes: the result of calling argument 0 with argument 2. Argument 3 has the
    /// attributes.
    TensorWithAttributes,
    /// An object as Python 2 pickles it: argument 0 is its class.
    Object,
    /// A set of the items of a list.
    Set,
    /// A tensor that is not dense, or not in a storage: what it is.
    UnsupportedTensor(&'static str),
    /// A plain value that has nothing to do with the weights. The call would leave its arguments as they are.
    PlainValue,
}

/// Python's built-in module, and its name in Python 2, which pickles of protocol 2 use.
const BUILTINS: &[&str] = &["builtins", "__builtin__"];
const TORCH: &[&str] = &["torch._utils"];
const PATHS: &[&str] = &["PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"];
const PLAIN: &[&str] =
    &["complex", "slice", "range", "xrange", "bytes", "bytearray", "frozenset", "getattr"];

/// Every function that is known: the modules, the names in them, the meaning of a call.
#[rustfmt::skip]
const KNOWN: [(&[&str], &[&str], Function); 29] = [
    (&["collections"], &["OrderedDict", "Counter"], Function::Dict),
    (&["collections"], &["defaultdict"], Function::DefaultDict),
    (TORCH, &["_rebuild_tensor_v2", "_rebuild_tensor"], Function::Tensor),
    (TORCH, &["_rebuild_parameter", "_rebuild_parameter_with_state"], Function::Parameter),
    (&["torch.nn.parameter"], &["Parameter"], Function::Parameter),
    (&["torch._tensor"], &["_rebuild_from_type_v2"], Function::TensorWithAttributes),
    (TORCH, &["_rebuild_sparse_tensor"], Function::UnsupportedTensor("a sparse tensor")),
    (TORCH, &["_rebuild_qtensor"], Function::UnsupportedTensor("a quantized tensor")),
    (TORCH, &["_rebuild_nested_tensor"], Function::UnsupportedTensor("a nested tensor")),
    (TORCH, &["_rebuild_meta_tensor_no_storage"], Function::UnsupportedTensor(META)),
    (TORCH, &["_rebuild_wrapper_subclass"], Function::UnsupportedTensor("a tensor of a custom class")),
    (TORCH, &["_rebuild_device_tensor_from_numpy", "_rebuild_device_tensor_from_cpu_tensor"],
        Function::UnsupportedTensor("a tensor of another kind of device")),
    (TORCH, &["_rebuild_tensor_v3"],
        Function::UnsupportedTensor("a tensor of a type without storages, such as floats of 8 bits")),
    (&["copy_reg", "copyreg"], &["_reconstructor"], Function::Object),
    (BUILTINS, &["set"], Function::Set),
    (BUILTINS, PLAIN, Function::PlainValue),
    (&["torch"], &["Size", "device"], Function::PlainValue),
    (&["torch.serialization"], &["_get_layout"], Function::PlainValue),
    (&["torchvision.transforms.functional"], &["InterpolationMode"], Function::PlainValue),
    (&["_codecs"], &["encode"], Function::PlainValue),
    (&["collections"], &["deque"], Function::PlainValue),
    (&["functools"], &["partial"], Function::PlainValue),
    (&["types"], &["SimpleNamespace"], Function::PlainValue),
    (&["decimal"], &["Decimal"], Function::PlainValue),
    (&["datetime"], &["datetime", "date", "time", "timedelta", "timezone"], Function::PlainValue),
    (&["pathlib", "pathlib._local"], PATHS, Function::PlainValue),
    (&["numpy"], &["dtype"], Function::PlainValue),
    (&["numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric"],
        &["scalar", "_reconstruct", "_frombuffer"], Function::PlainValue),
    (&["numpy.random._pickle"], &["__randomstate_ctor", "__generator_ctor", "__bit_generator_ctor"],
        Function::PlainValue),
];

/// A tensor or storage on the device "meta", which has no memory.
pub(super) const META: &str = "a tensor without values, on the meta device";

/// The meaning of a call of a function; `None` for one that weights do not need.
pub(super) fn known_function(module: &str, name: &str) -> Option<Function> {
    KNOWN
        .iter()
        .find(|(modules, names, _)| modules.contains(&module) && names.contains(&name))
        .map(|&(_, _, function)| function)
}
