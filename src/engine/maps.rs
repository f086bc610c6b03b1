//! The layers between the convolutions, vector by vector: pools, normalizations, activations; and the
//! ways into and out of the blocked layout.
#![allow(unsafe_code)]

use super::map::Map;
use super::simd::{BLOCK, Isa, Place, Simd, dispatch};
use super::stage::{Memory, Stage};

/// `[N, C, H, W]` into the layout of a map.
#[derive(Debug)]
pub(super) struct Pack {
    /// Buffer of the planar images.
    pub images: usize,
    pub map: Map,
    pub batch: usize,
}

impl Stage for Pack {
    fn items(&self) -> usize {
        self.batch * self.map.height
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let map = &self.map;
        let (from, to) = (memory.place(self.images), memory.place(map.buffer));
        let (image, y) = (item / map.height, item % map.height);
        for channel in 0..map.channels {
            let row = from.add(((image * map.channels + channel) * map.height + y) * map.width);
            let (block, lane) = (channel / map.interleave, channel % map.interleave);
            let pixels = to.add(map.at(image, block, y, 0) + lane);
            for x in 0..map.width {
                // SAFETY: both are inside their buffers, and the row is this item's.
                unsafe { pixels.add(x * map.interleave).set(row.add(x).get()) }
            }
        }
    }
}

/// A map back into `[N, C, H, W]`: what a tap shows.
#[derive(Debug)]
pub(super) struct Unpack {
    pub map: Map,
    pub images: usize,
    pub batch: usize,
}

impl Stage for Unpack {
    fn items(&self) -> usize {
        self.batch * self.map.channels
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let map = &self.map;
        let (from, to) = (memory.place(map.buffer), memory.place(self.images));
        let (image, channel) = (item / map.channels, item % map.channels);
        let (block, lane) = (channel / map.interleave, channel % map.interleave);
        for y in 0..map.height {
            let pixels = from.add(map.at(image, block, y, 0) + lane);
            for x in 0..map.width {
                let at = (item * map.height + y) * map.width + x;
                // SAFETY: both are inside their buffers, and the plane is this item's.
                unsafe { to.add(at).set(pixels.add(x * map.interleave).get()) }
            }
        }
    }
}

/// The adaptive average pool, out of the layout: `[N, C, h, w]`, which is the classifier's vector;
/// each starts at a whole block.
#[derive(Debug)]
pub(super) struct Average {
    pub map: Map,
    /// Height and width of the output.
    pub size: [usize; 2],
    pub vectors: usize,
    pub batch: usize,
}

impl Stage for Average {
    fn items(&self) -> usize {
        self.batch * self.map.blocks()
    }

    fn run(&self, item: usize, _: usize, memory: &Memory) {
        let map = &self.map;
        let (from, to) = (memory.place(map.buffer), memory.place(self.vectors));
        let (image, block) = (item / map.blocks(), item % map.blocks());
        let [height, width] = self.size;
        let row = (map.channels * height * width).next_multiple_of(BLOCK);
        let channels = map.interleave.min(map.channels - block * map.interleave);
        for i in 0..height * width {
            // SAFETY: inside the map, which this stage only reads.
            let values =
                unsafe { average(map, from, [image, block], [i / width, i % width], self.size) };
            for (lane, &value) in values.iter().enumerate().take(channels) {
                let channel = block * map.interleave + lane;
                let at = image * row + channel * height * width + i;
                // SAFETY: inside the vectors, and this channel is this item's.
                unsafe { to.add(at).set(value) }
            }
        }
    }
}

/// The channels of a block in cell `[y, x]` of the adaptive average pool to `size`.
///
/// # Safety
/// Image, block and cell must be there, and nobody may be writing the map.
pub(super) unsafe fn average(
    map: &Map,
    from: Place,
    [image, block]: [usize; 2],
    [y, x]: [usize; 2],
    [height, width]: [usize; 2],
) -> [f32; BLOCK] {
    let window =
        |i: usize, of: usize, length: usize| i * length / of..((i + 1) * length).div_ceil(of);
    let (rows, columns) = (window(y, height, map.height), window(x, width, map.width));
    let count = (rows.len() * columns.len()) as f64;
    let channels = map.interleave.min(map.channels - block * map.interleave);
    let mut sums = [0.0f64; BLOCK];
    for y in rows {
        for x in columns.clone() {
            let at = from.add(map.at(image, block, y, x));
            for (lane, sum) in sums.iter_mut().enumerate().take(channels) {
                // SAFETY: the caller's.
                *sum += f64::from(unsafe { at.add(lane).get() });
            }
        }
    }
    sums.map(|sum| (sum / count) as f32)
}

/// A layer that a row of a map goes through by itself.
#[derive(Clone, Debug)]
pub(super) enum RowKind {
    MaxPool {
        kernel: usize,
        stride: usize,
    },
    Lrn {
        size: usize,
        alpha: f64,
        beta: f64,
        k: f64,
        /// Channels of a group.
        group: usize,
    },
    /// A batch norm that no convolution stands before: factor and summand of each channel, whole
    /// blocks.
    Scale {
        factor: Vec<f32>,
        summand: Vec<f32>,
    },
    Relu,
    Tanh,
}

/// Such a layer, row by row.
#[derive(Debug)]
pub(super) struct Row {
    pub isa: Isa,
    pub kind: RowKind,
    pub input: Map,
    pub output: Map,
    pub batch: usize,
}

impl Stage for Row {
    fn items(&self) -> usize {
        self.batch * self.output.height
    }

    fn run(&self, item: usize, worker: usize, memory: &Memory) {
        let (from, to) = (memory.place(self.input.buffer), memory.place(self.output.buffer));
        let own = match self.own() {
            0 => to,
            _ => memory.own(worker),
        };
        // SAFETY: the plan chose an instruction set that is there and reserved the maps; a row is one
        // item's, and the worker's own memory its own.
        unsafe {
            dispatch!(self.isa, row(
                stage: &Row = self, item: usize = item, from: Place = from, to: Place = to, own: Place = own,
            ))
        }
    }

    fn own(&self) -> usize {
        match self.kind {
            // The squares of a pixel's channels, with the window's ends around them.
            RowKind::Lrn { size, .. } => self.input.blocks() * BLOCK + 2 * size + BLOCK,
            _ => 0,
        }
    }
}

/// # Safety
/// `S` must be available, the maps reserved, the row this item's.
#[inline(always)]
unsafe fn row<S: Simd>(stage: &Row, item: usize, from: Place, to: Place, own: Place) {
    let (input, output) = (&stage.input, &stage.output);
    let (image, y) = (item / output.height, item % output.height);
    // SAFETY: the caller's.
    unsafe {
        if let RowKind::Lrn { size, alpha, beta, k, group } = stage.kind {
            for x in 0..output.width {
                let pixel = from.add(input.at(image, 0, y, x));
                let result = to.add(output.at(image, 0, y, x));
                let window = Window { size, group };
                normalize::<S>(stage, window, [alpha, beta, k], pixel, result, own);
            }
            return;
        }
        for block in 0..output.blocks() {
            let result = to.add(output.at(image, block, y, 0));
            for x in 0..output.width {
                let value = match &stage.kind {
                    RowKind::MaxPool { kernel, stride } => {
                        let window = from.add(input.at(image, block, y * stride, x * stride));
                        largest::<S>(*kernel, input.row_stride(), window)
                    }
                    kind => {
                        let value = from.add(input.at(image, block, y, x)).load::<S>();
                        pointwise::<S>(kind, block, value)
                    }
                };
                result.add(x * BLOCK).store::<S>(value);
            }
        }
    }
}

/// # Safety
/// `S` must be available, the window inside the map.
#[inline(always)]
unsafe fn largest<S: Simd>(kernel: usize, row_stride: usize, window: Place) -> S::Vector {
    // SAFETY: the caller's.
    unsafe {
        let mut largest = window.load::<S>();
        for i in 0..kernel {
            for j in 0..kernel {
                largest = S::max(largest, window.add(i * row_stride + j * BLOCK).load::<S>());
            }
        }
        largest
    }
}

/// # Safety
/// `S` must be available.
#[inline(always)]
unsafe fn pointwise<S: Simd>(kind: &RowKind, block: usize, value: S::Vector) -> S::Vector {
    // SAFETY: the caller's; the slices are as long as a vector.
    unsafe {
        match kind {
            RowKind::Relu => S::max(S::splat(0.0), value),
            RowKind::Scale { factor, summand } => {
                let factor = S::load(factor[block * BLOCK..][..BLOCK].as_ptr());
                let summand = S::load(summand[block * BLOCK..][..BLOCK].as_ptr());
                S::mul_add(value, factor, summand)
            }
            RowKind::Tanh => {
                let mut values = [0.0f32; BLOCK];
                S::store(values.as_mut_ptr(), value);
                for value in &mut values {
                    *value = value.tanh();
                }
                S::load(values.as_ptr())
            }
            _ => value,
        }
    }
}

/// Whose squares an LRN adds up: those of `size` neighbors, within groups of so many channels.
#[derive(Clone, Copy)]
struct Window {
    size: usize,
    group: usize,
}

/// One pixel: `x / (k + alpha · Σ x²)^beta` over the neighboring channels.
///
/// # Safety
/// `S` must be available, the pixel in its map, `own` as long as [`Row::own`] says.
#[inline(always)]
unsafe fn normalize<S: Simd>(
    stage: &Row,
    window: Window,
    [alpha, beta, k]: [f64; 3],
    pixel: Place,
    result: Place,
    own: Place,
) {
    let size = window.size;
    let (blocks, channels) = (stage.input.blocks(), stage.input.channels);
    let half = size / 2;
    let (from, to) = (stage.input.block_stride(), stage.output.block_stride());
    // SAFETY: the caller's.
    unsafe {
        for i in 0..half {
            own.add(i).set(0.0);
            own.add(half + blocks * BLOCK + i).set(0.0);
        }
        for block in 0..blocks {
            let x = pixel.add(block * from).load::<S>();
            own.add(half + block * BLOCK).store::<S>(S::mul(x, x));
        }
        for block in 0..blocks {
            let mut sum = own.add(block * BLOCK).load::<S>();
            for i in 1..size {
                sum = S::add(sum, own.add(block * BLOCK + i).load::<S>());
            }
            if window.group < channels {
                sum = within_groups::<S>(sum, window, channels, block, own.add(half));
            }
            let scale = S::mul_add(sum, S::splat(alpha as f32), S::splat(k as f32));
            let power = if beta == 0.75 {
                // s^¾ = √s · √√s
                let root = S::sqrt(scale);
                S::mul(root, S::sqrt(root))
            } else {
                let mut values = [0.0f32; BLOCK];
                S::store(values.as_mut_ptr(), scale);
                for value in &mut values {
                    *value = value.powf(beta as f32);
                }
                S::load(values.as_ptr())
            };
            let x = pixel.add(block * from).load::<S>();
            result.add(block * to).store::<S>(S::div(x, power));
        }
    }
}

/// The sums of a block, those that reach over the end of their group once more, within it.
///
/// # Safety
/// `S` must be available, and all `channels` squares there.
#[inline(always)]
unsafe fn within_groups<S: Simd>(
    sum: S::Vector,
    Window { size, group }: Window,
    channels: usize,
    block: usize,
    squares: Place,
) -> S::Vector {
    let half = size / 2;
    let own = block * BLOCK..((block + 1) * BLOCK).min(channels);
    let mut sums = [0.0f32; BLOCK];
    // SAFETY: the caller's; the array is as long as a vector.
    unsafe {
        S::store(sums.as_mut_ptr(), sum);
        // The first end that a channel of this block can see.
        let first = (own.start.saturating_sub(half) / group + 1) * group;
        for end in (first..channels.min(own.end + half)).step_by(group) {
            let near = own.start.max(end.saturating_sub(half))..own.end.min(end + half);
            for channel in near {
                let start = channel / group * group;
                let seen = start.max(channel.saturating_sub(half))
                    ..(start + group).min(channel + half + 1);
                sums[channel - own.start] = seen.map(|other| squares.add(other).get()).sum();
            }
        }
        S::load(sums.as_ptr())
    }
}
