//! [`FeatureMap`]: how the activations of a layer are laid out in memory.
//!
//! The layout is `[image][block of channels][row][column][channel in the block]`, known as nChw16c in
//! oneDNN, with a border of zeros around each plane. A block has sixteen channels, one vector per pixel,
//! or all the channels of an input image with few. The border is the padding of the convolution that
//! reads the map. It exists in memory so that kernels need not treat the edges specially, and nothing
//! ever writes to it: it stays zero from one pass to the next.

use super::simd::BLOCK;
use std::ops::Range;

/// The layout of a layer's output for a whole batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct FeatureMap {
    /// Index of its buffer in the [`Workspace`](super::workspace::Workspace).
    pub buffer: usize,
    pub channels: usize,
    pub height: usize,
    pub width: usize,
    pub channels_per_block: usize,
    /// Rows of zeros above, and columns of zeros to the left.
    pub padding: usize,
    /// Height with the padding on both sides.
    pub padded_height: usize,
    /// Width with the padding on both sides.
    pub padded_width: usize,
}

/// A row of an image in some blocks of channels.
pub(super) struct RowPart {
    pub image: usize,
    pub y: usize,
    pub blocks: Range<usize>,
}

impl FeatureMap {
    /// A map in blocks of sixteen channels, without padding.
    pub fn new(buffer: usize, channels: usize, height: usize, width: usize) -> Self {
        Self {
            buffer,
            channels,
            height,
            width,
            channels_per_block: BLOCK,
            padding: 0,
            padded_height: height,
            padded_width: width,
        }
    }

    /// Blocks of channels. The unused channels of the last block are zero.
    pub fn blocks(&self) -> usize {
        self.channels.div_ceil(self.channels_per_block)
    }

    /// Values from one row to the next.
    pub fn row_stride(&self) -> usize {
        self.padded_width * self.channels_per_block
    }

    /// Values from one block of channels to the next.
    pub fn block_stride(&self) -> usize {
        self.padded_height * self.row_stride()
    }

    /// Values from one image to the next.
    pub fn image_stride(&self) -> usize {
        self.blocks() * self.block_stride()
    }

    /// Offset of a pixel.
    pub fn offset(&self, image: usize, block: usize, y: usize, x: usize) -> usize {
        self.padded_offset(image, block, y + self.padding, x + self.padding)
    }

    /// Offset of a pixel whose coordinates count from the corner of the padding.
    pub fn padded_offset(&self, image: usize, block: usize, y: usize, x: usize) -> usize {
        image * self.image_stride()
            + block * self.block_stride()
            + y * self.row_stride()
            + x * self.channels_per_block
    }

    /// Parts of rows, for [`row_part`](Self::row_part).
    pub fn row_parts(&self, batch: usize, blocks_per_part: usize) -> usize {
        batch * self.height * self.blocks().div_ceil(blocks_per_part)
    }

    /// A part of a row: its blocks of channels are divided into parts of at most so many.
    pub fn row_part(&self, index: usize, blocks_per_part: usize) -> RowPart {
        let parts = self.blocks().div_ceil(blocks_per_part);
        let (row, first) = (index / parts, index % parts * blocks_per_part);
        let blocks = first..(first + blocks_per_part).min(self.blocks());
        RowPart { image: row / self.height, y: row % self.height, blocks }
    }

    /// Values of a whole batch, or `None` if their size in bytes overflows. If it does not, no offset
    /// overflows either.
    pub fn len(&self, batch: usize) -> Option<usize> {
        let factors =
            [self.blocks(), self.padded_height, self.padded_width, self.channels_per_block, 4];
        let bytes = factors.iter().try_fold(batch, |all, &factor| all.checked_mul(factor));
        bytes.map(|bytes| bytes / 4)
    }

    /// Adds the padding of the convolution that reads the map, which reads `padded_height` rows and
    /// `padded_width` columns in all.
    pub fn pad(&mut self, padding: usize, padded_height: usize, padded_width: usize) {
        self.padding = padding;
        self.padded_height = padded_height.max(self.height + padding);
        self.padded_width = padded_width.max(self.width + padding);
    }
}
