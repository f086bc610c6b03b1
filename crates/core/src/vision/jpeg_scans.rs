//! Whether a JPEG is whole and undamaged, by reading all codes of its scans but making no pixels of them.
//!
//! Decoders make the best of damage, each in its own way and without a word: they fill with gray, or go on at another
//! place. What is right in a file that passes here is right for every decoder.

use super::jpeg_bits::{Bits, Flaw, HuffmanTable, Sizes};
use std::ops::RangeInclusive;

/// The most scans: those of photos have about ten, and each may take as long as all pixels do.
const MAX_SCANS: usize = 100;
/// Coefficients from whose lack libjpeg-turbo concludes that it should smooth the picture; others do not.
const SMOOTHED: RangeInclusive<usize> = 1..=9;
/// The most bytes without a meaning after a scan. Some cameras write a few; after damage, there are usually more.
const MAX_STRAY_BYTES: usize = 4;
/// The most bits of a number in 8-bit pictures: a difference of means, and any other coefficient. Decoders overflow by
/// more of them in different ways.
const DC_SIZES: Sizes = Sizes { mask: 255, largest: 11 };
const AC_SIZES: Sizes = Sizes { mask: 15, largest: 10 };
const END_OF_IMAGE: u8 = 0xd9;

/// Where the scans end.
pub(super) struct End {
    /// Index of the first byte after them.
    pub at: usize,
    /// Whether the next marker is that of the end.
    pub is_marked: bool,
}

struct Component {
    id: u8,
    /// Blocks of 8 x 8 in a unit of all components, horizontally and vertically.
    sampling: [usize; 2],
    /// Blocks that hold pixels, in a row and in a column.
    blocks: [usize; 2],
    /// Blocks in a row of whole units.
    row: usize,
    /// The bits of each coefficient that no scan had yet; 255 if no scan had any.
    missing: [u8; 64],
    /// For each block with such, a bit for each coefficient that is not 0: later scans of a progressive file have one
    /// more bit of it.
    nonzero: Vec<u64>,
}

impl Component {
    fn nonzero(&mut self, block: usize) -> &mut u64 {
        if block >= self.nonzero.len() {
            self.nonzero.resize(block + 1, 0);
        }
        &mut self.nonzero[block]
    }
}

#[derive(Clone, Copy)]
enum Pass {
    Baseline,
    FirstDc,
    NextDc,
    FirstAc,
    NextAc,
}

/// A scan's header.
struct Scan {
    pass: Pass,
    /// Index of each component, and of its two tables.
    components: Vec<(usize, [usize; 2])>,
    coefficients: RangeInclusive<usize>,
    /// The bits of these coefficients that it leaves to later scans.
    missing: u8,
}

#[derive(Default)]
struct Reader {
    is_progressive: bool,
    components: Vec<Component>,
    /// Units of all components in a row and in a column.
    units: [usize; 2],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
    restart_interval: usize,
    scans: usize,
}

/// Checks a JPEG of process 0, 1 or 2 (baseline, extended, progressive, all with Huffman codes). The error says what is
/// wrong with it. `expect_size` is asked about its size first.
pub(super) fn check(
    bytes: &[u8],
    expect_size: impl Fn([u32; 2]) -> Result<(), String>,
) -> Result<End, String> {
    let mut reader = Reader::default();
    let mut at = 2;
    loop {
        let (marker, start) = next_marker(bytes, at).ok_or_else(truncated)?;
        if marker == END_OF_IMAGE {
            reader.expect_pixels()?;
            return Ok(End { at, is_marked: true });
        }
        at = start;
        if matches!(marker, 1 | 0xd0..=0xd8) {
            continue;
        }
        let segment = segment(bytes, start).ok_or_else(truncated)?;
        at += 2 + segment.len();
        match marker {
            0xc4 => reader.read_tables(segment).ok_or_else(|| damaged("a Huffman table"))?,
            0xc0..=0xc2 if reader.components.is_empty() => {
                reader.is_progressive = marker == 0xc2;
                let size = reader.read_frame(segment);
                expect_size(size.ok_or_else(|| damaged("the header of the frame"))?)?;
            }
            0xc0..=0xc2 => return Err(damaged("a second frame")),
            0xdd => {
                let interval = segment.first_chunk().ok_or_else(|| damaged("restarts"))?;
                reader.restart_interval = u16::from_be_bytes(*interval).into();
            }
            0xda => {
                let (end, unused) = reader.read_scan(bytes, segment, at)?;
                at = end;
                let (next, start) = next_marker(bytes, at).unwrap_or((0, at + 2));
                let (is_marked, is_complete) = (next == END_OF_IMAGE, reader.is_complete());
                if unused + (start - 2 - at) > MAX_STRAY_BYTES && (is_marked || !is_complete) {
                    return Err(damaged("bad image data"));
                }
                if is_complete {
                    return Ok(End { at, is_marked });
                }
            }
            _ => {}
        }
    }
}

fn truncated() -> String {
    "a truncated JPEG; copy or download it again".into()
}

fn damaged(what: &str) -> String {
    format!(
        "a damaged JPEG ({what}); copy or download it again, or open it in an image editor and save it"
    )
}

/// The next marker, and the index after it.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff);
    let start = at + bytes.get(at..)?.windows(2).position(is_marker)?;
    Some((bytes[start + 1], start + 2))
}

/// The content of a segment whose length is at `start`.
fn segment(bytes: &[u8], start: usize) -> Option<&[u8]> {
    let (length, content) = bytes.get(start..)?.split_first_chunk()?;
    content.get(..usize::from(u16::from_be_bytes(*length)).checked_sub(2)?)
}

impl Reader {
    fn read_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&[place, ref counts @ ..], rest)) = segment.split_first_chunk::<17>() {
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(count)?;
            let (tables, sizes) =
                if place < 0x10 { (&mut self.dc, DC_SIZES) } else { (&mut self.ac, AC_SIZES) };
            let table = HuffmanTable::new(*counts, symbols, sizes)?;
            *tables.get_mut(usize::from(place & 15))? = Some(table);
            segment = rest;
        }
        Some(())
    }

    /// The width and height.
    fn read_frame(&mut self, segment: &[u8]) -> Option<[u32; 2]> {
        let (&[_, y1, y0, x1, x0, _], components) = segment.split_first_chunk()?;
        let size = [[x1, x0], [y1, y0]].map(|side| usize::from(u16::from_be_bytes(side)));
        let components = components.chunks_exact(3);
        let sampling = |it: &[u8]| [it[1] >> 4, it[1] & 15].map(usize::from);
        let all = components.clone().map(sampling);
        let largest = all.clone().fold([1; 2], |[h, v], [a, b]| [h.max(a), v.max(b)]);
        if all.flatten().any(|factor| !(1..=4).contains(&factor)) {
            return None;
        }
        let units = |blocks: usize, side: usize| (size[side] * blocks).div_ceil(8 * largest[side]);
        self.units = [0, 1].map(|side| units(1, side));
        let component = |it: &[u8]| {
            let sampling = sampling(it);
            let blocks = [0, 1].map(|side| units(sampling[side], side));
            let row = self.units[0] * sampling[0];
            Component { id: it[0], sampling, blocks, row, missing: [255; 64], nonzero: Vec::new() }
        };
        self.components = components.map(component).collect();
        (!self.components.is_empty()).then_some(size.map(|side| side as u32))
    }

    /// Where the scan ends, and how many bytes before that it has no use for.
    fn read_scan(
        &mut self,
        bytes: &[u8],
        header: &[u8],
        start: usize,
    ) -> Result<(usize, usize), String> {
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(format!("a JPEG of more than {MAX_SCANS} scans"));
        }
        let scan = self.scan(header).ok_or_else(|| damaged("the header of a scan"))?;
        let end = self.read_units(&scan, bytes, start).map_err(|flaw| match flaw {
            Flaw::EndOfFile => truncated(),
            Flaw::Marker => damaged("a part of its pixels is missing"),
            Flaw::Value => damaged("its pixels"),
        })?;
        for &(component, _) in &scan.components {
            self.components[component].missing[scan.coefficients.clone()].fill(scan.missing);
        }
        Ok(end)
    }

    fn scan(&self, header: &[u8]) -> Option<Scan> {
        let (&count, rest) = header.split_first()?;
        let (selectors, rest) = rest.split_at_checked(2 * usize::from(count))?;
        let &[first, last, bits, ..] = rest else { return None };
        let coefficients = usize::from(first)..=usize::from(last);
        let component = |it: &[u8]| {
            let index = self.components.iter().position(|component| component.id == it[0])?;
            Some((index, [it[1] >> 4, it[1] & 15].map(usize::from)))
        };
        let components: Vec<_> = selectors.chunks_exact(2).map(component).collect::<Option<_>>()?;
        let is_first = bits >> 4 == 0;
        let pass = match (first, last) {
            _ if !(1..=4).contains(&components.len()) => return None,
            _ if !self.is_progressive => Pass::Baseline,
            (0, 0) if is_first => Pass::FirstDc,
            (0, 0) => Pass::NextDc,
            (1.., ..64) if first <= last && components.len() == 1 => {
                if is_first {
                    Pass::FirstAc
                } else {
                    Pass::NextAc
                }
            }
            _ => return None,
        };
        Some(match pass {
            Pass::Baseline => Scan { pass, components, coefficients: 0..=63, missing: 0 },
            _ => Scan { pass, components, coefficients, missing: bits & 15 },
        })
    }

    fn read_units(
        &mut self,
        scan: &Scan,
        bytes: &[u8],
        start: usize,
    ) -> Result<(usize, usize), Flaw> {
        let [columns, rows] = match scan.components[..] {
            [(component, _)] => self.components[component].blocks,
            _ => self.units,
        };
        let mut blocks = BlockReader {
            pass: scan.pass,
            coefficients: scan.coefficients.clone(),
            bits: Bits::new(bytes, start),
            end_of_band: 0,
        };
        let mut restarts = 0;
        let mut since_restart = 0;
        for row in 0..rows {
            for column in 0..columns {
                if self.restart_interval > 0 && since_restart == self.restart_interval {
                    blocks.restart(bytes, restarts)?;
                    restarts = (restarts + 1) % 8;
                    since_restart = 0;
                }
                since_restart += 1;
                self.read_unit(scan, &mut blocks, [column, row])?;
            }
        }
        let end = blocks.bits.end();
        if blocks.end_of_band > 0 { Err(Flaw::Value) } else { Ok(end) }
    }

    fn read_unit(
        &mut self,
        scan: &Scan,
        blocks: &mut BlockReader,
        [column, row]: [usize; 2],
    ) -> Result<(), Flaw> {
        for &(component, [dc, ac]) in &scan.components {
            let component = &mut self.components[component];
            let [dc, ac] = [self.dc.get(dc), self.ac.get(ac)].map(|it| it.and_then(Option::as_ref));
            let [across, down] =
                if scan.components.len() == 1 { [1; 2] } else { component.sampling };
            for y in row * down..(row + 1) * down {
                for x in column * across..(column + 1) * across {
                    blocks.read(component, y * component.row + x, [dc, ac])?;
                }
            }
        }
        Ok(())
    }

    /// Whether no coefficient lacks a bit.
    fn is_complete(&self) -> bool {
        self.components.iter().all(|component| component.missing == [0; 64])
    }

    /// Checks what the file must have where its end is marked.
    fn expect_pixels(&self) -> Result<(), String> {
        let lacks = |component: &Component| {
            component.missing[0] == 255 || component.missing[SMOOTHED].iter().any(|bits| *bits > 0)
        };
        if self.components.is_empty() || self.components.iter().any(lacks) {
            return Err(damaged("a part of its scans is missing"));
        }
        Ok(())
    }
}

/// Reads the blocks of a scan.
struct BlockReader<'a> {
    pass: Pass,
    coefficients: RangeInclusive<usize>,
    bits: Bits<'a>,
    /// The next blocks that have no more coefficients.
    end_of_band: u32,
}

impl<'a> BlockReader<'a> {
    fn restart(&mut self, bytes: &'a [u8], number: u8) -> Result<(), Flaw> {
        let (at, unused) = std::mem::replace(&mut self.bits, Bits::new(bytes, 0)).end();
        let (marker, next) = next_marker(bytes, at).ok_or(Flaw::EndOfFile)?;
        // Fill bytes may stand before the marker, and nothing else.
        let is_next = bytes[at..next - 2].iter().all(|byte| *byte == 0xff);
        if unused > 0 || self.end_of_band > 0 || !is_next || marker != 0xd0 + number {
            return Err(Flaw::Value);
        }
        self.bits = Bits::new(bytes, next);
        Ok(())
    }

    #[inline]
    fn read(
        &mut self,
        component: &mut Component,
        block: usize,
        [dc, ac]: [Option<&HuffmanTable>; 2],
    ) -> Result<(), Flaw> {
        match self.pass {
            Pass::Baseline => {
                self.dc(dc)?;
                self.baseline_ac(ac.ok_or(Flaw::Value)?)
            }
            Pass::FirstDc => self.dc(dc),
            Pass::NextDc => self.bits.skip(1),
            Pass::FirstAc if self.end_of_band > 0 => {
                self.end_of_band -= 1;
                Ok(())
            }
            Pass::FirstAc => {
                let found = self.first_ac(ac.ok_or(Flaw::Value)?)?;
                if found > 0 {
                    *component.nonzero(block) |= found;
                }
                Ok(())
            }
            Pass::NextAc => {
                let known = component.nonzero.get(block).copied().unwrap_or(0);
                let found = self.next_ac(ac.ok_or(Flaw::Value)?, known)?;
                if found > 0 {
                    *component.nonzero(block) |= found;
                }
                Ok(())
            }
        }
    }

    fn dc(&mut self, table: Option<&HuffmanTable>) -> Result<(), Flaw> {
        self.bits.symbol_and_number(table.ok_or(Flaw::Value)?).map(drop)
    }

    fn baseline_ac(&mut self, table: &HuffmanTable) -> Result<(), Flaw> {
        let mut coefficient = 1;
        while coefficient < 64 {
            let symbol = self.bits.symbol_and_number(table)?;
            let (zeros, size) = (usize::from(symbol >> 4), symbol & 15);
            if size == 0 && zeros < 15 {
                return Ok(());
            }
            coefficient += zeros + 1;
        }
        if coefficient > 64 { Err(Flaw::Value) } else { Ok(()) }
    }

    /// The coefficients that are not 0.
    fn first_ac(&mut self, table: &HuffmanTable) -> Result<u64, Flaw> {
        let (mut coefficient, end) = (*self.coefficients.start(), *self.coefficients.end());
        let mut found = 0;
        while coefficient <= end {
            let symbol = self.bits.symbol_and_number(table)?;
            let (zeros, size) = (symbol >> 4, symbol & 15);
            if size == 0 && zeros < 15 {
                self.end_of_band = self.band_end(zeros)? - 1;
                return Ok(found);
            }
            coefficient += usize::from(zeros);
            if coefficient > end {
                return Err(Flaw::Value);
            }
            found |= u64::from(size > 0) << coefficient;
            coefficient += 1;
        }
        Ok(found)
    }

    /// How many blocks, this one among them, have no more coefficients.
    fn band_end(&mut self, bits: u8) -> Result<u32, Flaw> {
        Ok((1 << bits) + self.bits.read(bits.into())?)
    }

    /// The coefficients that are not 0 and were so far; those in `known` have one more bit.
    fn next_ac(&mut self, table: &HuffmanTable, known: u64) -> Result<u64, Flaw> {
        let (mut coefficient, end) = (*self.coefficients.start(), *self.coefficients.end());
        let band = u64::MAX >> (63 - end);
        let mut found = 0;
        while self.end_of_band == 0 && coefficient <= end {
            let symbol = self.bits.symbol(table)?;
            let (zeros, size) = (symbol >> 4, symbol & 15);
            match size {
                0 if zeros < 15 => {
                    self.end_of_band = self.band_end(zeros)?;
                    break;
                }
                0 => {}
                1 => self.bits.skip(1)?,
                _ => return Err(Flaw::Value),
            }
            // Those that were 0 so far are counted; the others have their bit here.
            let mut unknown = band & !known & (u64::MAX << coefficient);
            for _ in 0..zeros {
                unknown &= unknown.wrapping_sub(1);
            }
            if unknown == 0 {
                return Err(Flaw::Value);
            }
            let next = unknown.trailing_zeros() as usize;
            let zeros = usize::from(zeros);
            self.skip_many(next - coefficient - zeros)?;
            coefficient = next;
            if size == 1 {
                found |= 1 << coefficient;
            }
            coefficient += 1;
        }
        if self.end_of_band > 0 {
            let rest = band & known & u64::MAX.checked_shl(coefficient as u32).unwrap_or(0);
            self.skip_many(rest.count_ones() as usize)?;
            self.end_of_band -= 1;
        }
        Ok(found)
    }

    /// Skips up to 64 bits.
    #[inline]
    fn skip_many(&mut self, count: usize) -> Result<(), Flaw> {
        let count = count as u32;
        if count > 32 {
            self.bits.skip(32)?;
        }
        self.bits.skip(if count > 32 { count - 32 } else { count })
    }
}
