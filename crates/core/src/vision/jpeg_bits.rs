//! The bits of a JPEG's scans, and the Huffman codes in them (ITU-T T.81, annexes C and F).

/// Codes of up to this length take one look into the table.
const LOOKUP_BITS: u32 = 10;
const LONGEST_CODE: u32 = 16;

/// What is wrong with a scan.
#[derive(Debug)]
pub(super) enum Flaw {
    /// The file ends within it.
    EndOfFile,
    /// A marker stands where there must be more of it.
    Marker,
    /// A code that the table lacks, or values that no encoder writes.
    Value,
}

/// A Huffman table.
pub(super) struct HuffmanTable {
    /// For each beginning of a code, its length and symbol; length 0 if the code is longer, or none.
    lookup: Vec<(u8, u8)>,
    /// For each length: the end of its codes, filled up to 16 bits, and what is added to a code for its symbol's index.
    lengths: [(u32, i32); LONGEST_CODE as usize + 1],
    symbols: Vec<u8>,
}

impl HuffmanTable {
    /// From the number of codes of each length, 1 to 16, and their symbols.
    pub fn new(counts: [u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut lookup = vec![(0, 0); 1 << LOOKUP_BITS];
        let mut lengths = [(0, 0); LONGEST_CODE as usize + 1];
        let (mut code, mut index) = (0u32, 0);
        for (length, count) in (1..).zip(counts) {
            let offset = index - code as i32;
            for _ in 0..count {
                let symbol = *symbols.get(index as usize)?;
                if code >> length != 0 {
                    return None;
                }
                if length <= LOOKUP_BITS {
                    let free = LOOKUP_BITS - length;
                    let start = (code << free) as usize;
                    lookup[start..start + (1 << free)].fill((length as u8, symbol));
                }
                (code, index) = (code + 1, index + 1);
            }
            lengths[length as usize] = (code << (LONGEST_CODE - length), offset);
            code <<= 1;
        }
        Some(Self { lookup, lengths, symbols: symbols.to_vec() })
    }
}

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    /// Index of the next byte.
    at: usize,
    /// The next bits, from the top.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    pub fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at, buffer: 0, count: 0 }
    }

    /// Fills the buffer with 32 bits or more, as far as there are any.
    #[inline]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        let next = self.bytes.get(self.at..self.at + 4);
        if let Some(&[a, b, c, d]) = next
            && ![a, b, c, d].contains(&0xff)
        {
            let next = u32::from_be_bytes([a, b, c, d]);
            self.buffer |= u64::from(next) << (32 - self.count);
            self.at += 4;
            self.count += 32;
            return;
        }
        while self.count <= 56 {
            let length = match self.bytes.get(self.at..) {
                Some([0xff, 0, ..]) => 2,
                Some([0xff, ..] | []) | None => return,
                Some(_) => 1,
            };
            self.buffer |= u64::from(self.bytes[self.at]) << (56 - self.count);
            self.at += length;
            self.count += 8;
        }
    }

    fn consume(&mut self, count: u32) -> Result<(), Flaw> {
        if count > self.count {
            let is_at_end = self.bytes.len() < self.at + 2;
            return Err(if is_at_end { Flaw::EndOfFile } else { Flaw::Marker });
        }
        self.buffer <<= count;
        self.count -= count;
        Ok(())
    }

    /// Skips up to 32 bits.
    #[inline]
    pub fn skip(&mut self, count: u32) -> Result<(), Flaw> {
        self.fill();
        self.consume(count)
    }

    /// Reads up to 16 bits.
    pub fn read(&mut self, count: u32) -> Result<u32, Flaw> {
        self.fill();
        let bits = (self.buffer >> 32) >> (32 - count);
        self.consume(count)?;
        Ok(bits as u32)
    }

    /// The symbol of the next code.
    #[inline]
    pub fn symbol(&mut self, table: &HuffmanTable) -> Result<u8, Flaw> {
        self.fill();
        let (length, symbol) = table.lookup[(self.buffer >> (64 - LOOKUP_BITS)) as usize];
        if length > 0 {
            self.consume(length.into())?;
            return Ok(symbol);
        }
        let next = (self.buffer >> 48) as u32;
        let length = (LOOKUP_BITS + 1..=LONGEST_CODE)
            .find(|&length| next < table.lengths[length as usize].0)
            .ok_or(Flaw::Value)?;
        self.consume(length)?;
        let code = (next >> (LONGEST_CODE - length)) as i32;
        let index = code + table.lengths[length as usize].1;
        table.symbols.get(index as usize).copied().ok_or(Flaw::Value)
    }

    /// Leaves out the rest of a byte. The index of the next byte after those that it has looked at, and how many of
    /// these it has not used.
    pub fn end(mut self) -> (usize, usize) {
        self.fill();
        (self.at, self.count as usize / 8)
    }
}
