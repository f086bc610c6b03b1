//! How activations lie in memory.
//!
//! A map is `[image][channel / interleave][row][column][interleave]`, with a border of zeros around
//! each plane. The interleave is sixteen, a vector of channels for each pixel, or all channels of an
//! image with few. The border is the padding of the convolution that reads the map; it is physical,
//! so that no kernel has to ask where the picture ends, and nobody writes it: it stays zero from one
//! pass to the next.

use super::simd::BLOCK;

/// A map of one layer's output, for a whole batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Map {
    /// Index of its buffer in the scratch memory.
    pub buffer: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    /// Channels that lie together.
    pub interleave: usize,
    /// Zeros above and to the left.
    pub border: usize,
    /// Rows and columns in all, borders included.
    pub rows: usize,
    pub columns: usize,
}

impl Map {
    /// Blocks of channels; those of the last that do not exist are zeros.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(self.interleave)
    }

    /// Numbers from a row to the next.
    pub fn row_stride(&self) -> usize {
        self.columns * self.interleave
    }

    /// Numbers from a block of channels to the next.
    pub fn block_stride(&self) -> usize {
        self.rows * self.row_stride()
    }

    /// Numbers from an image to the next.
    pub fn image_stride(&self) -> usize {
        self.blocks() * self.block_stride()
    }

    /// Offset of a pixel of the picture.
    pub fn at(&self, image: usize, block: usize, y: usize, x: usize) -> usize {
        self.padded(image, block, y + self.border, x + self.border)
    }

    /// Offset of a pixel, counted from the border's corner.
    pub fn padded(&self, image: usize, block: usize, y: usize, x: usize) -> usize {
        image * self.image_stride()
            + block * self.block_stride()
            + y * self.row_stride()
            + x * self.interleave
    }

    /// Numbers of the maps of a whole batch, if a machine can count them. Offsets inside cannot
    /// overflow then.
    pub fn numbers(&self, batch: usize) -> Option<usize> {
        let factors = [self.blocks(), self.rows, self.columns, self.interleave, 4];
        let bytes = factors.iter().try_fold(batch, |all, &factor| all.checked_mul(factor));
        bytes.map(|bytes| bytes / 4)
    }

    /// Makes room for its reader, a convolution that pads by `border` and reads so many rows and columns,
    /// border included.
    pub fn reserve(&mut self, border: usize, rows: usize, columns: usize) {
        self.border = border;
        self.rows = rows.max(self.height + border);
        self.columns = columns.max(self.width + border);
    }

    pub fn blocked(buffer: usize, channels: usize, height: usize, width: usize) -> Self {
        let (rows, columns) = (height, width);
        Self { buffer, channels, height, width, interleave: BLOCK, border: 0, rows, columns }
    }
}
