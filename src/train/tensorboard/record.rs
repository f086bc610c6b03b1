//! TFRecord, the frame of each event in a file: its length, the length's checksum, the event, the event's checksum.

use super::event::Event;
use prost::Message;
use std::io::{self, BufReader, ErrorKind, Read};

/// No event of ours is nearly as long: a longer one is damaged.
const LONGEST: u64 = 1 << 20;

/// An event as it is in a file.
pub(super) fn frame(event: &Event) -> Vec<u8> {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    let checksum = |bytes: &[u8]| masked_crc32c(bytes).to_le_bytes();
    [&length[..], &checksum(&length), &message, &checksum(&message)].concat()
}

/// Reads events up to the first that is damaged or incomplete.
pub(super) struct Reader<R> {
    source: BufReader<R>,
    position: u64,
}

impl<R: Read> Reader<R> {
    pub fn new(source: R) -> Self {
        Self { source: BufReader::new(source), position: 0 }
    }

    /// The bytes of the events so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    pub fn next_event(&mut self) -> io::Result<Option<Event>> {
        match self.read_event() {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            event => event,
        }
    }

    fn read_event(&mut self) -> io::Result<Option<Event>> {
        let (mut length, mut checksum) = ([0; 8], [0; 4]);
        self.source.read_exact(&mut length)?;
        self.source.read_exact(&mut checksum)?;
        let is_intact =
            |bytes: &[u8], checksum| masked_crc32c(bytes) == u32::from_le_bytes(checksum);
        let count = u64::from_le_bytes(length);
        if !is_intact(&length, checksum) || count > LONGEST {
            return Ok(None);
        }
        let mut message = vec![0; count as usize];
        self.source.read_exact(&mut message)?;
        self.source.read_exact(&mut checksum)?;
        let event = Event::decode(&message[..]).ok().filter(|_| is_intact(&message, checksum));
        if event.is_some() {
            self.position += (length.len() + message.len() + 2 * checksum.len()) as u64;
        }
        Ok(event)
    }
}

/// The checksum of the format: rotated and shifted, because a checksum of bytes that contain their own is weak.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli). The crate `crc32fast` computes another polynomial, and these records are short.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let next_bit = |crc: u32| (crc >> 1) ^ (POLYNOMIAL * (crc & 1));
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| next_bit(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        // RFC 3720, B.4, and the check value of the polynomial.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn damaged_events_end_a_file() {
        let mut event = Event::start_of_file();
        event.step = 7;
        let framed = frame(&event);
        let two = [&framed[..], &framed].concat();
        let mut reader = Reader::new(&two[..]);
        for _ in 0..2 {
            assert_eq!(reader.next_event().expect("readable"), Some(event.clone()));
        }
        assert_eq!(reader.next_event().expect("readable"), None);
        assert_eq!(reader.position(), two.len() as u64);
        for place in 0..framed.len() {
            let mut damaged = two.clone();
            damaged[framed.len() + place] ^= 1;
            for bytes in [&damaged[..], &two[..framed.len() + place]] {
                let mut reader = Reader::new(bytes);
                assert!(reader.next_event().expect("readable").is_some());
                assert_eq!(reader.next_event().expect("readable"), None, "{place}");
                assert_eq!(reader.position(), framed.len() as u64);
            }
        }
    }
}
