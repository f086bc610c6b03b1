//! Protobuf messages in a weights file, as positions: nothing is copied that is not asked for, and a message is parsed
//! only when a reader asks for its fields. So the nesting is that of the reader, whatever the file says.

use super::file_source::FileSource;
use super::format_error::FormatError;
use super::limits::MAX_NAME_BYTES;
use crate::error::{Error, Result};
use std::cell::Cell;
use std::ops::Range;

/// Fields of all messages that are parsed. Files of VGG19 have some thousands.
const MAX_FIELDS: usize = 1 << 17;
/// A key, and a length or a number: two varints of at most 10 bytes.
const LONGEST_HEAD: usize = 20;
/// The largest number of a field.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;
/// Numbers in a list: a shape, the sizes of a kernel.
const MAX_NUMBERS: usize = 64;

/// A file that is one message.
pub(super) struct ProtobufFile<'a> {
    pub source: &'a FileSource,
    /// The format, for errors.
    pub format: &'static str,
    fields_left: Cell<usize>,
}

/// A message: a range of the file's bytes.
#[derive(Clone)]
pub(super) struct Message<'a> {
    pub file: &'a ProtobufFile<'a>,
    /// Its type in the format's definition, for errors.
    pub kind: &'static str,
    range: Range<u64>,
}

/// A field of a message.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub number: u32,
    pub value: Value,
}

/// The value of a field, by its wire type.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Varint(u64),
    Fixed64,
    Fixed32([u8; 4]),
    /// A text, a message, or packed numbers: their position in the file.
    Bytes(Range<u64>),
}

impl<'a> ProtobufFile<'a> {
    pub fn new(source: &'a FileSource, format: &'static str) -> Self {
        Self { source, format, fields_left: Cell::new(MAX_FIELDS) }
    }

    /// The whole file as a message.
    pub fn message(&'a self, kind: &'static str) -> Message<'a> {
        Message { file: self, kind, range: 0..self.source.length() }
    }

    pub fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        self.source.error(self.format, FormatError::new(expected, found))
    }
}

impl<'a> Message<'a> {
    /// All fields, in the order of the file.
    pub fn fields(&self) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        let mut position = self.range.start;
        while position < self.range.end {
            let (field, end) = self.field_at(position)?;
            fields.push(field);
            position = end;
        }
        Ok(fields)
    }

    /// The field at a position, and the position after it.
    fn field_at(&self, position: u64) -> Result<(Field, u64)> {
        match self.file.fields_left.get().checked_sub(1) {
            Some(left) => self.file.fields_left.set(left),
            None => {
                return Err(self.file.error(format!("at most {MAX_FIELDS} fields"), "more"));
            }
        }
        let mut head = [0; LONGEST_HEAD];
        let length = (self.range.end - position).min(LONGEST_HEAD as u64) as usize;
        self.file.source.read_into(position, &mut head[..length])?;
        let (field, head_length, body) = parse_head(&head[..length]).ok_or_else(|| {
            self.error("whole fields of known types", format!("other bytes at {position}"))
        })?;
        let start = position + head_length as u64;
        // A length is below 2^64, and so the sum may overflow.
        let end = start.checked_add(body).filter(|&end| end <= self.range.end);
        let Some(end) = end else {
            let found = format!("field {} of {body} bytes at {position}", field.number);
            return Err(self.error("fields that end inside it", found));
        };
        let value = match field.value {
            Value::Bytes(_) => Value::Bytes(start..end),
            other => other,
        };
        Ok((Field { value, ..field }, end))
    }

    pub fn error(&self, expected: impl Into<String>, found: impl Into<String>) -> Error {
        self.file.error(format!("{} in {}", expected.into(), self.kind), found)
    }

    fn wrong_type(&self, field: &Field, expected: &str) -> Error {
        self.error(format!("{expected} as field {}", field.number), "another type")
    }

    /// The number in a field.
    pub fn number(&self, field: &Field) -> Result<u64> {
        match field.value {
            Value::Varint(number) => Ok(number),
            _ => Err(self.wrong_type(field, "a number")),
        }
    }

    /// The number in a field that is a size: below 2³¹.
    pub fn size(&self, field: &Field) -> Result<usize> {
        let number = self.number(field)?;
        self.to_size(field, number)
    }

    fn to_size(&self, field: &Field, number: u64) -> Result<usize> {
        let size = usize::try_from(number).ok().filter(|&size| size <= i32::MAX as usize);
        size.ok_or_else(|| {
            let expected = format!("a size below 2147483648 as field {}", field.number);
            self.error(expected, (number as i64).to_string())
        })
    }

    pub fn float(&self, field: &Field) -> Result<f32> {
        match field.value {
            Value::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(self.wrong_type(field, "a float")),
        }
    }

    /// The position of the bytes of a field.
    pub fn bytes(&self, field: &Field) -> Result<Range<u64>> {
        match &field.value {
            Value::Bytes(range) => Ok(range.clone()),
            _ => Err(self.wrong_type(field, "bytes")),
        }
    }

    pub fn message(&self, field: &Field, kind: &'static str) -> Result<Message<'a>> {
        Ok(Message { file: self.file, kind, range: self.bytes(field)? })
    }

    /// A name.
    pub fn text(&self, field: &Field) -> Result<String> {
        self.long_text(field, MAX_NAME_BYTES)
    }

    /// A text of at most so many bytes.
    pub fn long_text(&self, field: &Field, most: usize) -> Result<String> {
        let range = self.bytes(field)?;
        let length = range.end - range.start;
        if length > most as u64 {
            return Err(self.error(format!("texts of at most {most} bytes"), length.to_string()));
        }
        let bytes = self.file.source.read(range.start, length as usize)?;
        String::from_utf8(bytes)
            .map_err(|_| self.error(format!("UTF-8 as field {}", field.number), "other bytes"))
    }

    /// Adds the numbers of a repeated field, packed or one by one.
    pub fn add_numbers(&self, field: &Field, numbers: &mut Vec<u64>) -> Result<()> {
        match &field.value {
            Value::Varint(number) => numbers.push(*number),
            Value::Bytes(range) => {
                let most = 10 * MAX_NUMBERS as u64;
                if range.end - range.start > most {
                    return Err(self.error(format!("at most {MAX_NUMBERS} numbers"), "more"));
                }
                let bytes =
                    self.file.source.read(range.start, (range.end - range.start) as usize)?;
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let (number, length) = varint(rest)
                        .ok_or_else(|| self.error("whole packed numbers", "a part of one"))?;
                    numbers.push(number);
                    rest = &rest[length..];
                }
            }
            _ => return Err(self.wrong_type(field, "numbers")),
        }
        if numbers.len() > MAX_NUMBERS {
            return Err(self.error(format!("at most {MAX_NUMBERS} numbers"), "more"));
        }
        Ok(())
    }

    /// Adds sizes, otherwise the same as [`add_numbers`](Self::add_numbers).
    pub fn add_sizes(&self, field: &Field, sizes: &mut Vec<usize>) -> Result<()> {
        let mut numbers = Vec::new();
        self.add_numbers(field, &mut numbers)?;
        for number in numbers {
            sizes.push(self.to_size(field, number)?);
        }
        if sizes.len() > MAX_NUMBERS {
            return Err(self.error(format!("at most {MAX_NUMBERS} numbers"), "more"));
        }
        Ok(())
    }

    /// Sets what a message may have only once. Parsers disagree, or silently keep the last one.
    pub fn set<T>(&self, slot: &mut Option<T>, field: &Field, value: T) -> Result<()> {
        if slot.replace(value).is_some() {
            return Err(self.error(format!("field {} once", field.number), "it twice"));
        }
        Ok(())
    }
}

/// The field whose head these bytes begin with, the length of its head, and that of its value after the head.
fn parse_head(bytes: &[u8]) -> Option<(Field, usize, u64)> {
    let (key, key_length) = varint(bytes)?;
    let rest = &bytes[key_length..];
    if !(1..=MAX_FIELD_NUMBER).contains(&(key >> 3)) {
        return None;
    }
    let (value, length, body) = match key & 7 {
        0 => {
            let (number, length) = varint(rest)?;
            (Value::Varint(number), length, 0)
        }
        1 => (Value::Fixed64, 0, 8),
        2 => {
            let (body, length) = varint(rest)?;
            (Value::Bytes(0..0), length, body)
        }
        5 => (Value::Fixed32(*rest.first_chunk()?), 0, 4),
        // Groups, which proto2 has given up, and types that do not exist.
        _ => return None,
    };
    Some((Field { number: (key >> 3) as u32, value }, key_length + length, body))
}

/// A number of 7 bits a byte, the lowest first, and its length in bytes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0;
    for (index, &byte) in bytes.iter().enumerate().take(10) {
        if index == 9 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    None
}

/// The first fields of what may be a message, at most `most` of them. The last one may be longer than the file.
pub(super) fn first_fields(source: &FileSource, most: usize) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    let mut position = 0;
    while position < source.length() && fields.len() < most {
        let mut head = [0; LONGEST_HEAD];
        let length = (source.length() - position).min(LONGEST_HEAD as u64) as usize;
        source.read_into(position, &mut head[..length])?;
        let Some((field, head_length, body)) = parse_head(&head[..length]) else { break };
        fields.push(field);
        position = (position + head_length as u64).saturating_add(body);
    }
    Ok(fields)
}
