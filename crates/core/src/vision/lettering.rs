//! Text in images: a bitmap font of the printable ASCII characters, five columns by eight rows each.

use image::{Rgb, RgbImage};

/// Bands of sixteen characters from the space on, side by side; `#` is ink.
const FONT: &str = include_str!("font.txt");
const BAND: usize = 16;
const COLUMNS: usize = 5;
const ROWS: usize = 8;

/// Height of a line in pixels, if each dot of a letter is `scale` pixels wide.
pub fn height(scale: u32) -> u32 {
    ROWS as u32 * scale
}

/// Width of a text in pixels.
pub fn width(text: &str, scale: u32) -> u32 {
    // One empty column separates two characters.
    let columns = text.chars().count() * (COLUMNS + 1);
    u32::try_from(columns.saturating_sub(1)).unwrap_or(u32::MAX).saturating_mul(scale)
}

/// A text in lines of at most `pixels`, broken between words. Text beyond `most` lines is replaced by
/// dots.
pub fn lines(text: &str, pixels: u32, scale: u32, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let is_last = lines.len() == most;
        match lines.last_mut() {
            Some(line) if is_last || width(&format!("{line} {word}"), scale) <= pixels => {
                line.extend([" ", word]);
            }
            _ => lines.push(word.into()),
        }
    }
    lines.iter().map(|line| cut(line, pixels, scale)).collect()
}

/// The beginning of a text that fits in `pixels`, with dots in place of the rest.
pub fn cut(text: &str, pixels: u32, scale: u32) -> String {
    if width(text, scale) <= pixels {
        return text.into();
    }
    let room = (pixels / scale + 1) as usize / (COLUMNS + 1);
    text.chars().take(room.saturating_sub(2)).chain(['.'; 2]).take(room).collect()
}

/// Writes a text with its upper left corner at `[x, y]`, clipped to the canvas. Characters outside ASCII
/// become `?`.
pub fn write(canvas: &mut RgbImage, text: &str, [x, y]: [u32; 2], scale: u32, ink: Rgb<u8>) {
    for (i, character) in text.chars().enumerate() {
        for (row, column) in dots(character) {
            let left = x + (i * (COLUMNS + 1) + column) as u32 * scale;
            fill(canvas, [left, y + row as u32 * scale], [scale, scale], ink);
        }
    }
}

/// Fills a rectangle at `[x, y]`, clipped to the canvas.
pub fn fill(canvas: &mut RgbImage, [x, y]: [u32; 2], [w, h]: [u32; 2], color: Rgb<u8>) {
    let (right, bottom) = (x.saturating_add(w), y.saturating_add(h));
    for y in y..bottom.min(canvas.height()) {
        for x in x..right.min(canvas.width()) {
            canvas.put_pixel(x, y, color);
        }
    }
}

/// Rows and columns of a character's dots.
fn dots(character: char) -> impl Iterator<Item = (usize, usize)> {
    let known = matches!(character, ' '..='~').then_some(character).unwrap_or('?');
    let index = known as usize - ' ' as usize;
    let (band, place) = (index / BAND, index % BAND);
    FONT.lines().skip(band * ROWS).take(ROWS).enumerate().flat_map(move |(row, line)| {
        let glyph = line.bytes().skip(place * (COLUMNS + 1)).take(COLUMNS);
        let inked = glyph.enumerate().filter(|(_, dot)| *dot == b'#');
        inked.map(move |(column, _)| (row, column))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_has_a_glyph_of_its_own() {
        let mut glyphs: Vec<Vec<_>> =
            (' '..='~').map(|character| dots(character).collect()).collect();
        assert!(glyphs.iter().skip(1).all(|glyph| glyph.len() > 2));
        assert_eq!(dots('é').collect::<Vec<_>>(), dots('?').collect::<Vec<_>>());
        glyphs.sort();
        glyphs.dedup();
        assert_eq!(glyphs.len(), 95);
    }

    #[test]
    fn lines_fit_and_hold_as_much_text_as_possible() {
        const TEXT: &str = "Egyptian cat, 12.5 %";
        for pixels in 0..200 {
            for scale in 1..4 {
                let lines = lines(TEXT, pixels, scale, 3);
                assert!(lines.len() <= 3);
                assert!(lines.iter().all(|line| line.is_empty() || width(line, scale) <= pixels));
            }
        }
        assert_eq!(lines(TEXT, 119, 1, 3), [TEXT]);
        assert_eq!(lines(TEXT, 118, 1, 3), ["Egyptian cat, 12.5", "%"]);
        assert_eq!(lines(TEXT, 60, 1, 3), ["Egyptian", "cat, 12.5", "%"]);
        assert_eq!(lines(TEXT, 60, 1, 2), ["Egyptian", "cat, 12..."]);
        assert!(lines("", 60, 1, 2).is_empty());
    }
}
