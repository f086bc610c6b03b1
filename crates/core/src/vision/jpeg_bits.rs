//! The bits of a JPEG's scans, and the Huffman codes in them (ITU-T T.81, annexes C and F).

/// Codes of up to this length take one look into the table.
const LOOKUP_BITS: u32 = 10;
const LONGEST_CODE: u32 = 16;
/// The highest bit of each of 8 bytes.
const HIGHEST_BITS: u64 = 0x8080_8080_8080_8080;

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
    /// For each beginning of a code, what it says.
    lookup: Vec<Entry>,
    /// For each length: the end of its codes, filled up to 16 bits, and what is added to a code for its symbol's index.
    lengths: [(u32, i32); LONGEST_CODE as usize + 1],
    symbols: Vec<u8>,
    sizes: Sizes,
}

/// A code. Both lengths are 0 if the code is longer than [`LOOKUP_BITS`], or none.
#[derive(Clone, Copy, Default)]
#[repr(align(4))]
struct Entry {
    symbol: u8,
    /// Bits of the code.
    code: u8,
    /// Bits of the code and of the number behind it; 0 if the number is larger than any encoder's.
    all: u8,
}

/// How many bits a symbol says that the number behind it has.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    /// The bits of the symbol that say so.
    pub mask: u8,
    pub largest: u8,
}

impl Sizes {
    fn of(self, symbol: u8) -> Option<u8> {
        let size = symbol & self.mask;
        (size <= self.largest).then_some(size)
    }
}

impl HuffmanTable {
    /// From the number of codes of each length, 1 to 16, and their symbols.
    pub fn new(counts: [u8; 16], symbols: &[u8], sizes: Sizes) -> Option<Self> {
        let mut lookup = vec![Entry::default(); 1 << LOOKUP_BITS];
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
                    let all = sizes.of(symbol).map_or(0, |size| length as u8 + size);
                    let entry = Entry { symbol, code: length as u8, all };
                    lookup[start..start + (1 << free)].fill(entry);
                }
                (code, index) = (code + 1, index + 1);
            }
            lengths[length as usize] = (code << (LONGEST_CODE - length), offset);
            code <<= 1;
        }
        Some(Self { lookup, lengths, symbols: symbols.to_vec(), sizes })
    }

    #[inline]
    fn entry(&self, next: u64) -> Entry {
        self.lookup[(next >> (64 - LOOKUP_BITS)) as usize]
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

    /// Fills the buffer with 32 bits or more, as far as there are any. (Behind them may be a part of the next byte, which
    /// the next call puts into the same place.)
    #[inline]
    fn fill(&mut self) {
        if self.count >= 32 {
            return;
        }
        if let Some(next) = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk()) {
            let next = u64::from_be_bytes(*next);
            // Whether one of the bytes is 255.
            let inverse = !next;
            if inverse.wrapping_sub(HIGHEST_BITS >> 7) & next & HIGHEST_BITS == 0 {
                let bytes = (64 - self.count) / 8;
                self.buffer |= next >> self.count;
                self.at += bytes as usize;
                self.count += 8 * bytes;
                return;
            }
        }
        self.fill_by_bytes();
    }

    /// [`fill`](Self::fill) where the next bytes are the last ones, or some of them are 255.
    fn fill_by_bytes(&mut self) {
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

    #[inline]
    fn consume(&mut self, count: u32) -> Result<(), Flaw> {
        if count > self.count {
            return Err(self.missing());
        }
        self.buffer <<= count;
        self.count -= count;
        Ok(())
    }

    #[cold]
    fn missing(&self) -> Flaw {
        if self.bytes.len() < self.at + 2 { Flaw::EndOfFile } else { Flaw::Marker }
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
        let Entry { symbol, code, .. } = table.entry(self.buffer);
        if code == 0 {
            return self.long_symbol(table);
        }
        self.consume(code.into())?;
        Ok(symbol)
    }

    /// The symbol of the next code. The number behind it is skipped.
    #[inline]
    pub fn symbol_and_number(&mut self, table: &HuffmanTable) -> Result<u8, Flaw> {
        self.fill();
        let Entry { symbol, all, .. } = table.entry(self.buffer);
        if all == 0 {
            return self.long_symbol_and_number(table);
        }
        self.consume(all.into())?;
        Ok(symbol)
    }

    #[cold]
    fn long_symbol_and_number(&mut self, table: &HuffmanTable) -> Result<u8, Flaw> {
        let symbol = self.symbol(table)?;
        self.skip(table.sizes.of(symbol).ok_or(Flaw::Value)?.into())?;
        Ok(symbol)
    }

    #[cold]
    fn long_symbol(&mut self, table: &HuffmanTable) -> Result<u8, Flaw> {
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
