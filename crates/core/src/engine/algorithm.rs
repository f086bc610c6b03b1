//! [`Algorithm`] and [`Schedule`]: how a convolution is computed.

/// The algorithm of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Direct convolution: every multiplication of the definition.
    Direct,
    /// Winograd's F(2×2, 3×3): 4/9 of the multiplications.
    F2x3,
    /// Winograd's F(4×4, 3×3): 1/4 of the multiplications.
    F4x3,
    /// Winograd's F(5×5, 3×3): 49/225 of the multiplications.
    F5x3,
    /// Winograd's F(6×6, 3×3): 16/81 of the multiplications.
    F6x3,
    /// Winograd's F(7×7, 3×3): 9/49 of the multiplications.
    F7x3,
    /// Winograd's F(4×4, 5×5): 4/25 of the multiplications.
    F4x5,
}

/// The sizes of a Winograd tile F(m×m, r×r): each is the length of a side of a square.
#[derive(Clone, Copy, Debug)]
pub(super) struct TileSize {
    /// m: outputs.
    pub outputs: usize,
    /// r: taps of the kernel.
    pub kernel: usize,
    /// n = m + r - 1: inputs, and multiplications.
    pub inputs: usize,
}

impl Algorithm {
    pub(super) const ALL: [Self; 7] =
        [Self::Direct, Self::F2x3, Self::F4x3, Self::F5x3, Self::F6x3, Self::F7x3, Self::F4x5];

    /// The sizes of its tile; `None` for direct convolution.
    pub(super) fn tile_size(self) -> Option<TileSize> {
        let (outputs, kernel) = match self {
            Self::Direct => return None,
            Self::F2x3 => (2, 3),
            Self::F4x3 => (4, 3),
            Self::F5x3 => (5, 3),
            Self::F6x3 => (6, 3),
            Self::F7x3 => (7, 3),
            Self::F4x5 => (4, 5),
        };
        Some(TileSize { outputs, kernel, inputs: outputs + kernel - 1 })
    }

    /// Tiles of an image in a column and in a row, for `[height, width]` outputs. Direct convolution has
    /// tiles of one pixel.
    pub(super) fn tiles(self, [height, width]: [usize; 2]) -> [usize; 2] {
        let side = self.tile_size().map_or(1, |size| size.outputs);
        [height.div_ceil(side), width.div_ceil(side)]
    }

    /// Whether a following 2×2 max pool can be fused: its windows do not cross tiles.
    pub(super) fn can_fuse_pool(self) -> bool {
        self.tile_size().is_some_and(|size| size.outputs.is_multiple_of(2))
    }

    /// Matrix products: n² for Winograd's algorithms, one for each element of the transformed tile.
    pub(super) fn products(self) -> usize {
        self.tile_size().map_or(1, |size| size.inputs * size.inputs)
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.tile_size() {
            None => f.write_str("direct"),
            Some(size) => {
                let (m, r) = (size.outputs, size.kernel);
                write!(f, "F({m}x{m}, {r}x{r})")
            }
        }
    }
}

/// The order in which a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Direct convolution, a few rows at a time.
    Rows,
    /// All three steps of Winograd's algorithm for a few tiles at a time.
    Fused {
        /// Work items, which threads take one by one.
        items: usize,
        /// The most tiles in an item.
        tiles: usize,
    },
    /// Each of the three steps of Winograd's algorithm for the whole batch, one after the other.
    NonFused,
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rows => f.write_str("rows"),
            Self::Fused { items, tiles } => write!(f, "fused, {items} x {tiles}"),
            Self::NonFused => f.write_str("non-fused"),
        }
    }
}
