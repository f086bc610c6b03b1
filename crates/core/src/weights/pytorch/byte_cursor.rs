//! Reads the bytes of a pickle in order, and never beyond their end.

use super::super::format_error::FormatError;

pub(super) struct ByteCursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> ByteCursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Checks that at least `count` bytes remain.
    pub fn expect(&self, count: usize) -> Result<(), FormatError> {
        if count <= self.remaining() { Ok(()) } else { Err(self.truncated(count)) }
    }

    pub fn byte(&mut self) -> Result<u8, FormatError> {
        Ok(self.array::<1>()?[0])
    }

    pub fn length32(&mut self) -> Result<usize, FormatError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub fn length64(&mut self) -> Result<usize, FormatError> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        self.expect(count)?;
        let end = self.position + count;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    /// The text up to the next line feed, which is skipped.
    pub fn line(&mut self) -> Result<String, FormatError> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| self.truncated(rest.len() + 1))?;
        let text = std::str::from_utf8(&rest[..length])
            .map_err(|error| FormatError::new("a name in UTF-8", error.to_string()))?;
        self.position += length + 1;
        Ok(text.to_string())
    }

    fn truncated(&self, expected: usize) -> FormatError {
        FormatError::new(
            format!("{expected} bytes of pickle at byte {}", self.position),
            format!("only {}", self.remaining()),
        )
    }
}
