//! Parses a pickle, without executing it.
//!
//! A pickle is a program: its opcodes import modules and call functions. Here they build [`Node`]s that
//! describe *what would have been called*; nothing is called or imported. The opcodes are those of protocols
//! 2 to 5; any other is an error that names it. What a call would return is known only for `known_functions`.
//!
//! Nothing here is recursive, so nesting can be of any depth.

use super::super::format_error::FormatError;
use super::byte_cursor::ByteCursor;
use super::known_functions::{Function, known_function};
use super::pickle_values::{Arena, MAX_NODES, Node, NodeId, OpaqueCall};
use std::collections::{HashMap, HashSet};

/// Parses the pickle at the start of `bytes`, and returns its value and its length in bytes.
pub(super) fn parse_pickle(
    bytes: &[u8],
    arena: &mut Arena,
) -> Result<(NodeId, usize), FormatError> {
    let mut machine = Machine {
        input: ByteCursor::new(bytes),
        arena,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        states: HashSet::new(),
        copied: 0,
    };
    loop {
        if let Some(value) = machine.step()? {
            return Ok((value, machine.input.position()));
        }
    }
}

/// The stack machine that a pickle is a program for.
struct Machine<'a> {
    input: ByteCursor<'a>,
    arena: &'a mut Arena,
    stack: Vec<NodeId>,
    /// The heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, NodeId>,
    /// Nodes that became the state of an object. A later change of them would not change the object.
    states: HashSet<NodeId>,
    /// The number of items that were copied from lists and dicts into other dicts and sets.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Executes one opcode. Returns the value of the pickle after the last one.
    fn step(&mut self) -> Result<Option<NodeId>, FormatError> {
        let at = self.input.position();
        match self.input.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            0x95 => self.frame()?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.pop_mark()?),
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'J' => self.input.array().and_then(|value| self.int(i32::from_le_bytes(value)))?,
            b'K' => self.input.array().and_then(|value| self.int(u8::from_le_bytes(value)))?,
            b'M' => self.input.array().and_then(|value| self.int(u16::from_le_bytes(value)))?,
            0x8a => self.input.byte().and_then(|length| self.long(length.into()))?,
            0x8b => self.input.length32().and_then(|length| self.long(length))?,
            b'G' => {
                self.input.take(8)?;
                self.push(Node::Float)?;
            }
            b'X' => self.input.length32().and_then(|length| self.string(length))?,
            0x8c => self.input.byte().and_then(|length| self.string(length.into()))?,
            0x8d => self.input.length64().and_then(|length| self.string(length))?,
            b'U' => self.input.byte().and_then(|length| self.python2_string(length.into()))?,
            b'T' => self.input.length32().and_then(|length| self.python2_string(length))?,
            b'C' => self.input.byte().and_then(|length| self.binary(length.into()))?,
            b'B' => self.input.length32().and_then(|length| self.binary(length))?,
            0x8e | 0x96 => self.input.length64().and_then(|length| self.binary(length))?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => self.pop_mark().and_then(|items| self.push(Node::Tuple(items)))?,
            b']' => self.push(Node::List(Vec::new()))?,
            b'l' => self.pop_mark().and_then(|items| self.push(Node::List(items)))?,
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => self.pop_mark().and_then(|items| self.append(items))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.set(items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(vec![key, value])?;
            }
            b'u' => self.pop_mark().and_then(|items| self.set(items))?,
            0x8f => self.push(Node::Set(Vec::new()))?,
            0x90 => self.pop_mark().and_then(|items| self.add(items))?,
            0x91 => self.pop_mark().and_then(|items| self.push(Node::Set(items)))?,
            b'q' => self.input.byte().and_then(|slot| self.memorize(slot.into()))?,
            b'r' => self.input.array().and_then(|slot| self.memorize(u32::from_le_bytes(slot)))?,
            0x94 => self.memorize(self.memo.len() as u32)?,
            b'h' => self.input.byte().and_then(|slot| self.recall(slot.into()))?,
            b'j' => self.input.array().and_then(|slot| self.recall(u32::from_le_bytes(slot)))?,
            b'c' => {
                let module = self.input.line()?;
                let name = self.input.line()?;
                self.push(Node::Global(module.into(), name.into()))?;
            }
            0x93 => self.stack_global()?,
            b'R' => self.reduce()?,
            0x81 => {
                let arguments = self.pop()?;
                self.object(vec![arguments])?;
            }
            0x92 => {
                let arguments = vec![self.pop()?, self.pop()?];
                self.object(arguments)?;
            }
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            other => return Err(refused_opcode(other, at)),
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Result<(), FormatError> {
        match self.input.byte()? {
            2..=5 => Ok(()),
            other => Err(FormatError::new("pickle protocol 2 to 5", format!("protocol {other}"))),
        }
    }

    /// A frame states how much to read at once. Here all bytes are in memory already.
    fn frame(&mut self) -> Result<(), FormatError> {
        let length = self.input.length64()?;
        self.input.expect(length)
    }

    fn int(&mut self, value: impl Into<i64>) -> Result<(), FormatError> {
        self.push(Node::Int(value.into()))
    }

    fn long(&mut self, length: usize) -> Result<(), FormatError> {
        let mut bytes = self.input.take(length)?;
        // Remove bytes that only extend the sign.
        while let [.., before, last] = bytes
            && bytes.len() > 8
            && *last == (if *before < 0x80 { 0 } else { 0xff })
        {
            bytes = &bytes[..bytes.len() - 1];
        }
        let node = match bytes {
            [] => Node::Int(0),
            [.., last] if bytes.len() <= 8 => {
                let mut wide = [if *last < 0x80 { 0 } else { 0xff }; 8];
                wide[..bytes.len()].copy_from_slice(bytes);
                Node::Int(i64::from_le_bytes(wide))
            }
            _ => Node::Long(bytes.to_vec()),
        };
        self.push(node)
    }

    fn string(&mut self, length: usize) -> Result<(), FormatError> {
        let text = std::str::from_utf8(self.input.take(length)?)
            .map_err(|error| FormatError::new("a string in UTF-8", error.to_string()))?;
        self.push(Node::String(text.into()))
    }

    /// A `str` of Python 2, which may be text or bytes.
    fn python2_string(&mut self, length: usize) -> Result<(), FormatError> {
        let node = match std::str::from_utf8(self.input.take(length)?) {
            Ok(text) => Node::String(text.into()),
            Err(_) => Node::Bytes,
        };
        self.push(node)
    }

    fn binary(&mut self, length: usize) -> Result<(), FormatError> {
        self.input.take(length)?;
        self.push(Node::Bytes)
    }

    fn tuple(&mut self, count: usize) -> Result<(), FormatError> {
        let start = self.stack.len().checked_sub(count).filter(|&start| start >= self.floor());
        let items = self.stack.split_off(start.ok_or_else(empty_stack)?);
        self.push(Node::Tuple(items))
    }

    fn append(&mut self, mut items: Vec<NodeId>) -> Result<(), FormatError> {
        let target = self.top()?;
        match self.arena.get_mut(target) {
            Node::List(list) => list.append(&mut items),
            Node::Object { is_list, .. } => *is_list = true,
            Node::Opaque(call) => call.parts.append(&mut items),
            Node::Call { function: Function::PlainValue, .. } => {}
            other => return Err(FormatError::new("a list to append to", other.kind())),
        }
        Ok(())
    }

    fn set(&mut self, items: Vec<NodeId>) -> Result<(), FormatError> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(FormatError::new("a value for every key of a dict", "a key without one"));
        }
        let target = self.top()?;
        if self.states.contains(&target) {
            return Err(FormatError::new("a dict to put items into", "an object's state"));
        }
        match self.arena.get_mut(target) {
            Node::Dict(items) | Node::Object { items, .. } => {
                items.extend(pairs.iter().map(|&[key, value]| (key, value)));
            }
            Node::Opaque(call) => call.parts.extend(pairs.as_flattened()),
            Node::Call { function: Function::PlainValue, .. } => {}
            other => return Err(FormatError::new("a dict to put items into", other.kind())),
        }
        Ok(())
    }

    fn add(&mut self, mut items: Vec<NodeId>) -> Result<(), FormatError> {
        let target = self.top()?;
        match self.arena.get_mut(target) {
            Node::Set(set) => set.append(&mut items),
            Node::Opaque(call) => call.parts.append(&mut items),
            other => return Err(FormatError::new("a set to add to", other.kind())),
        }
        Ok(())
    }

    fn memorize(&mut self, slot: u32) -> Result<(), FormatError> {
        let top = self.top()?;
        self.memo.insert(slot, top);
        if self.memo.len() <= MAX_NODES { Ok(()) } else { Err(too_many()) }
    }

    fn recall(&mut self, slot: u32) -> Result<(), FormatError> {
        let missing =
            || FormatError::new("a memo entry that is set", format!("memo {slot}, which is not"));
        let id = *self.memo.get(&slot).ok_or_else(missing)?;
        self.stack.push(id);
        Ok(())
    }

    fn stack_global(&mut self) -> Result<(), FormatError> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.arena.get(module), self.arena.get(name)) {
            (Node::String(module), Node::String(name)) => {
                let node = Node::Global(module.clone(), name.clone());
                self.push(node)
            }
            _ => Err(FormatError::new(
                "strings as the names of a module and a global",
                "other values",
            )),
        }
    }

    fn reduce(&mut self) -> Result<(), FormatError> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let Some(items) = self.arena.tuple(arguments) else {
            return Err(FormatError::new("a tuple of arguments", self.arena.get(arguments).kind()));
        };
        let known = match self.arena.get(function) {
            Node::Global(module, name) => known_function(module, name),
            _ => None,
        };
        let Some(function) = known else { return self.opaque_call(function, vec![arguments]) };
        let items = items.to_vec();
        let node = match (function, items.as_slice()) {
            (Function::Dict, []) | (Function::DefaultDict, [] | [_]) => Node::Dict(Vec::new()),
            (Function::Dict, &[content]) => Node::Dict(self.pairs(content)?),
            (Function::Set, []) => Node::Set(Vec::new()),
            (Function::Set, &[list]) => Node::Set(self.items(list)?),
            (Function::Object, &[class, _, none]) if self.is_none(none) => Node::object(class),
            (Function::Object, _) => Node::Call { function: Function::PlainValue, arguments },
            (Function::Dict | Function::DefaultDict | Function::Set, _) => {
                let found = format!("{} arguments", items.len());
                return Err(FormatError::new("a dict's or set's content as one argument", found));
            }
            _ => Node::Call { function, arguments },
        };
        self.push(node)
    }

    /// A call of a function that weights do not need.
    fn opaque_call(&mut self, function: NodeId, mut parts: Vec<NodeId>) -> Result<(), FormatError> {
        let (module, name) = match self.arena.get(function) {
            Node::Global(module, name) => (module.clone(), name.clone()),
            Node::Opaque(call) => (call.module.clone(), call.name.clone()),
            Node::Call { function: Function::PlainValue, .. } => {
                ("functools".into(), "partial or getattr".into())
            }
            other => return Err(FormatError::new("a call of a named function", other.kind())),
        };
        parts.push(function);
        self.push(Node::Opaque(Box::new(OpaqueCall { module, name, parts })))
    }

    /// A copy of the items of a list. A pickle may copy the same list many times, so the copies are counted.
    fn items(&mut self, list: NodeId) -> Result<Vec<NodeId>, FormatError> {
        match self.arena.get(list) {
            Node::List(items) => {
                self.copied += items.len();
                let items = items.clone();
                self.expect_few_copies().map(|()| items)
            }
            other => Err(FormatError::new("items as a list", other.kind())),
        }
    }

    /// The items of a new dict: those of another one (a `Counter`), or a list of pairs.
    fn pairs(&mut self, content: NodeId) -> Result<Vec<(NodeId, NodeId)>, FormatError> {
        if let Node::Dict(items) = self.arena.get(content) {
            self.copied += items.len();
            let items = items.clone();
            return self.expect_few_copies().map(|()| items);
        }
        let not_pairs = || FormatError::new("a dict's items as a list of pairs", "something else");
        let items = self.items(content)?;
        let pair = |&id: &NodeId| match self.arena.get(id) {
            Node::List(pair) | Node::Tuple(pair) => match pair.as_slice() {
                &[key, value] => Ok((key, value)),
                _ => Err(not_pairs()),
            },
            _ => Err(not_pairs()),
        };
        items.iter().map(pair).collect()
    }

    fn expect_few_copies(&self) -> Result<(), FormatError> {
        if self.copied <= MAX_NODES { Ok(()) } else { Err(too_many()) }
    }

    fn is_none(&self, id: NodeId) -> bool {
        matches!(self.arena.get(id), Node::None)
    }

    fn object(&mut self, arguments: Vec<NodeId>) -> Result<(), FormatError> {
        let class = self.pop()?;
        match self.arena.get(class) {
            Node::Global(..) => self.push(Node::object(class)),
            Node::Opaque(_) => self.opaque_call(class, arguments),
            other => Err(FormatError::new("a class to construct an object of", other.kind())),
        }
    }

    fn build(&mut self) -> Result<(), FormatError> {
        let new = self.pop()?;
        let target = self.top()?;
        match self.arena.get_mut(target) {
            Node::Object { state: state @ None, .. } => {
                *state = Some(new);
                self.states.insert(new);
            }
            Node::Opaque(call) => call.parts.push(new),
            // Attributes of a dict, such as the versions of a state dict.
            Node::Dict(_) | Node::Call { function: Function::PlainValue, .. } => {}
            other => {
                return Err(FormatError::new(
                    "an object that is given its one state",
                    other.kind(),
                ));
            }
        }
        Ok(())
    }

    /// A persistent ID. PyTorch uses them for storages, and in its legacy format for the classes of modules,
    /// together with their source code.
    fn persistent(&mut self) -> Result<(), FormatError> {
        let id = self.pop()?;
        let class = match self.arena.tuple(id) {
            Some(&[kind, class, ..]) if self.arena.string(kind) == Some("module") => Some(class),
            Some(_) => None,
            None => {
                let found = self.arena.get(id).kind();
                return Err(FormatError::new("a storage described by a tuple", found));
            }
        };
        match class {
            Some(class) => {
                self.stack.push(class);
                Ok(())
            }
            None => self.push(Node::Persistent(id)),
        }
    }

    fn push(&mut self, node: Node) -> Result<(), FormatError> {
        let id = self.arena.add(node)?;
        self.stack.push(id);
        Ok(())
    }

    /// The height of the stack at the last mark. Opcodes must not pop what is below it.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<NodeId, FormatError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn top(&self) -> Result<NodeId, FormatError> {
        if self.stack.len() <= self.floor() {
            return Err(empty_stack());
        }
        self.stack.last().copied().ok_or_else(empty_stack)
    }

    /// The opcode POP, which pops a mark if it is on top.
    fn discard(&mut self) -> Result<(), FormatError> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
        } else {
            self.pop()?;
        }
        Ok(())
    }

    fn pop_mark(&mut self) -> Result<Vec<NodeId>, FormatError> {
        let mark = self.marks.pop().ok_or_else(empty_stack)?;
        Ok(self.stack.split_off(mark))
    }
}

fn too_many() -> FormatError {
    FormatError::new(format!("at most {MAX_NODES} values in a pickle"), "more")
}

fn empty_stack() -> FormatError {
    FormatError::new("a value on the pickle's stack", "none")
}

/// The error for an opcode of the text protocols of Python 1 and 2, or one that no file of weights needs.
fn refused_opcode(opcode: u8, at: usize) -> FormatError {
    const NAMES: [(u8, &str); 19] = [
        (b'F', "FLOAT"),
        (b'I', "INT"),
        (b'L', "LONG"),
        (b'S', "STRING"),
        (b'V', "UNICODE"),
        (b'P', "PERSID"),
        (b'p', "PUT"),
        (b'g', "GET"),
        (b'2', "DUP"),
        (b'i', "INST"),
        (b'o', "OBJ"),
        (0x82, "EXT1"),
        (0x83, "EXT2"),
        (0x84, "EXT4"),
        (0x97, "NEXT_BUFFER"),
        (0x98, "READONLY_BUFFER"),
        (0x99, "unassigned"),
        (0x00, "unassigned"),
        (0xff, "unassigned"),
    ];
    let name =
        NAMES.iter().find(|(code, _)| *code == opcode).map_or("unassigned", |(_, name)| name);
    FormatError::new(
        "only pickle opcodes that weights need",
        format!("opcode {name} (0x{opcode:02x}) at byte {at}"),
    )
}
