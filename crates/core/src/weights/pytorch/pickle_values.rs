//! The values of a pickle, as a graph of nodes in an arena. Calls are nodes, too; they are not made.
//!
//! Nodes refer to each other by index, and strings are shared. So a value that a pickle uses several times
//! is not copied (a small pickle could fill the memory that way), and a list may contain itself.

use super::super::format_error::FormatError;
use super::known_functions::Function;
use std::rc::Rc;

/// The index of a node in its [`Arena`].
pub(super) type NodeId = u32;

/// A value of a pickle.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits, little-endian.
    Long(Vec<u8>),
    Float,
    String(Rc<str>),
    Bytes,
    Tuple(Vec<NodeId>),
    List(Vec<NodeId>),
    Set(Vec<NodeId>),
    Dict(Vec<(NodeId, NodeId)>),
    /// A class or function: the name of its module, and its name there.
    Global(Rc<str>, Rc<str>),
    /// A call, which is not made.
    Call {
        function: Function,
        arguments: NodeId,
    },
    /// A call of a function that weights do not need.
    Opaque(Box<OpaqueCall>),
    /// An object, which is not constructed.
    Object {
        class: NodeId,
        state: Option<NodeId>,
        /// The items that were set on it, as on a dict.
        items: Vec<(NodeId, NodeId)>,
        /// Whether something was appended to it, as to a list.
        is_list: bool,
    },
    /// A persistent ID, by which PyTorch identifies a storage.
    Persistent(NodeId),
}

/// A call of any other function. It is not made, so its result is not known.
#[derive(Debug)]
pub(super) struct OpaqueCall {
    pub module: Rc<str>,
    pub name: Rc<str>,
    /// The arguments, and what would be put into the result.
    pub parts: Vec<NodeId>,
}

impl OpaqueCall {
    pub fn kind(&self) -> String {
        let function = format!("{}.{}", self.module, self.name);
        format!("the result of a call of {function:?}, which was not executed")
    }

    /// The error for weights that the call would have made or changed.
    pub fn not_made(&self) -> FormatError {
        FormatError::new(
            "weights that no call has to make (save only the state dict: torch.save(model.state_dict(), path))",
            self.kind(),
        )
    }
}

/// Many times what the largest checkpoint of a VGG with the state of its optimizer needs.
pub(super) const MAX_NODES: usize = 1 << 20;

/// The nodes of one or more pickles.
#[derive(Debug, Default)]
pub(super) struct Arena {
    nodes: Vec<Node>,
}

impl Arena {
    pub fn get(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub fn get_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub fn string(&self, id: NodeId) -> Option<&str> {
        match self.get(id) {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn int(&self, id: NodeId) -> Option<i64> {
        match self.get(id) {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    pub fn tuple(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.get(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The persistent IDs of the pickles.
    pub fn persistent_ids(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Persistent(id) => Some(*id),
            _ => None,
        })
    }

    pub fn opaque_calls(&self) -> impl Iterator<Item = &OpaqueCall> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Opaque(call) => Some(&**call),
            _ => None,
        })
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn add(&mut self, node: Node) -> Result<NodeId, FormatError> {
        if self.nodes.len() == MAX_NODES {
            return Err(FormatError::new(
                format!("at most {MAX_NODES} values in a pickle"),
                "more",
            ));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as NodeId)
    }
}

impl Node {
    /// An object of a class, before its state is set.
    pub fn object(class: NodeId) -> Self {
        Node::Object { class, state: None, items: Vec::new(), is_list: false }
    }

    /// What it is, in a few words for errors.
    pub fn kind(&self) -> String {
        match self {
            Node::None => "None".into(),
            Node::Bool(value) => format!("the bool {value}"),
            Node::Int(value) => format!("the number {value}"),
            Node::Long(_) => "a number of more than 64 bits".into(),
            Node::Float => "a floating-point number".into(),
            Node::String(_) => "a string".into(),
            Node::Bytes => "bytes".into(),
            Node::Tuple(_) => "a tuple".into(),
            Node::List(_) => "a list".into(),
            Node::Set(_) => "a set".into(),
            Node::Dict(_) => "a dict".into(),
            Node::Global(module, name) => format!("{:?} itself", format!("{module}.{name}")),
            Node::Call { function: Function::PlainValue, .. } => "a plain value".into(),
            Node::Call { function: Function::UnsupportedTensor(what), .. } => (*what).into(),
            Node::Call { .. } => "a tensor".into(),
            Node::Opaque(call) => call.kind(),
            Node::Object { .. } => "an object".into(),
            Node::Persistent(_) => "a storage".into(),
        }
    }
}
