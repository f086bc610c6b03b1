//! The bytes of a pickle, front to back, and never beyond their end.

use super::super::source::Wrong;

pub(super) struct Bytes<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Bytes<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub fn position(&self) -> usize {
        self.position
    }

    pub fn left(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// `Ok` if so many bytes are left.
    pub fn expect(&self, count: usize) -> Result<(), Wrong> {
        match count <= self.left() {
            true => Ok(()),
            false => Err(self.ends_early(count)),
        }
    }

    pub fn byte(&mut self) -> Result<u8, Wrong> {
        Ok(self.array::<1>()?[0])
    }

    pub fn length32(&mut self) -> Result<usize, Wrong> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub fn length64(&mut self) -> Result<usize, Wrong> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?)).unwrap_or(usize::MAX))
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Wrong> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Wrong> {
        self.expect(count)?;
        let end = self.position + count;
        let taken = &self.bytes[self.position..end];
        self.position = end;
        Ok(taken)
    }

    /// Text up to a line feed.
    pub fn line(&mut self) -> Result<String, Wrong> {
        let rest = &self.bytes[self.position..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        let length = length.ok_or_else(|| self.ends_early(rest.len() + 1))?;
        let text = std::str::from_utf8(&rest[..length])
            .map_err(|error| Wrong::new("a name in UTF-8", error.to_string()))?;
        self.position += length + 1;
        Ok(text.to_string())
    }

    fn ends_early(&self, wanted: usize) -> Wrong {
        let left = self.left();
        Wrong::new(
            format!("{wanted} bytes of pickle at byte {}", self.position),
            format!("only {left}"),
        )
    }
}
