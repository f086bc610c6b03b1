//! Plans convolutions, with the layers that are fused into them.

use super::PlannedLayer;
use super::planner::{LayerInput, Planner, unsupported};
use crate::architecture::Layer;
use crate::engine::algorithm::Schedule;
use crate::engine::convolution_stages::{
    direct, fused, input_transform, output_transform, products, schedule,
};
use crate::engine::cost_model::{Candidate, Outputs};
use crate::engine::direct_convolution::DirectConvolution;
use crate::engine::feature_map::FeatureMap;
use crate::engine::packed_convolution::PackedConvolution;
use crate::engine::weight_packing::PackedLayer;
use crate::engine::winograd::{NonFusedWinograd, WinogradConvolution};
use crate::error::Result;
use std::sync::Arc;

/// A convolution whose algorithm has been chosen.
struct PlannedConvolution {
    convolution: Arc<PackedConvolution>,
    candidate: Candidate,
    /// Indices of the feature maps.
    input: usize,
    output: usize,
    batch: usize,
    relu: bool,
    pool: bool,
    /// Tiles in a column and in a row of an image.
    tiles: [usize; 2],
}

impl Planner<'_> {
    /// Plans the convolution at `index`, with the batch norm, ReLU and max pool that can be fused into
    /// it. Returns the index after them.
    pub(super) fn convolution(&mut self, index: usize, input: usize) -> Result<usize> {
        let PackedLayer::Convolution { convolution, with_batch_norm } = &self.packed[index] else {
            return Err(unsupported(self.steps[index].layer));
        };
        let mut last = index;
        let mut conv = convolution;
        if let Some(folded) = with_batch_norm
            && self.can_fuse_next(last, |next| matches!(next, Layer::BatchNorm))
        {
            conv = folded;
            last += 1;
        }
        let relu = self.can_fuse_next(last, |next| matches!(next, Layer::Relu));
        last += usize::from(relu);
        let &[_, height, width] = self.steps[index].output.dims() else {
            return Err(unsupported(self.steps[index].output));
        };
        let is_2x2_pool = |next: &Layer| matches!(next, Layer::MaxPool { kernel: 2, stride: 2 });
        // Also where the pool is not fused because its input is returned, too: that must not change the bits.
        let mut next = self.steps[index + 1..].iter().map(|step| &step.layer).peekable();
        next.next_if(|layer| matches!(layer, Layer::BatchNorm));
        next.next_if(|layer| matches!(layer, Layer::Relu));
        let is_pooled = next.next().is_some_and(is_2x2_pool);
        let outputs = Outputs { batch: self.batch, size: [height, width], is_pooled };
        let candidate = (self.choose)(conv, outputs);
        let convolution = conv.clone();
        convolution.prepare(candidate.algorithm)?;
        let pool = candidate.algorithm.can_fuse_pool() && self.can_fuse_next(last, is_2x2_pool);
        last += usize::from(pool);

        let output = self.add_map(self.steps[last].output)?;
        let tiles = candidate.algorithm.tiles([height, width]);
        let [rows, columns] = convolution.inputs_read(candidate.algorithm, [height, width]);
        self.maps[input].pad(convolution.padding, rows, columns);
        let weight_bytes = convolution.weight_bytes(candidate.algorithm) as u64;
        let (batch, arithmetic) = (self.batch, convolution.arithmetic);
        let mut planned =
            PlannedConvolution { convolution, candidate, input, output, batch, relu, pool, tiles };
        if candidate.schedule != Schedule::Rows {
            let winograd = planned.winograd(&self.maps);
            planned.candidate.schedule = schedule(&self.division, &winograd, &candidate);
        }
        let schedule = planned.candidate.schedule;
        self.push_convolution(planned);
        self.current = LayerInput::Map(output);
        self.layers.push(PlannedLayer {
            layers: String::new(),
            algorithm: Some(candidate.algorithm),
            arithmetic: Some(arithmetic),
            schedule: Some(schedule),
            direct_multiplications: self.steps[index].multiply_adds * self.batch as u64,
            multiplications: candidate.multiplications,
            weight_bytes,
            estimated_cycles: candidate.cycles,
            stages: 0..0,
        });
        Ok(last + 1)
    }

    /// Adds the stages of a convolution.
    fn push_convolution(&mut self, planned: PlannedConvolution) {
        let division = self.division;
        let scales = self.image_scales.filter(|_| planned.convolution.is_integer());
        match planned.candidate.schedule {
            Schedule::Rows => self.push(move |maps| {
                let PlannedConvolution { convolution, batch, relu, .. } = planned;
                let (input, output) = (maps[planned.input], maps[planned.output]);
                let direct_convolution =
                    DirectConvolution { convolution, input, scales, output, batch, relu, rows: 1 };
                direct(&division, direct_convolution)
            }),
            Schedule::Fused { items, .. } => {
                self.push(move |maps| fused(&division, planned.winograd(maps), items));
            }
            Schedule::NonFused => self.push_non_fused(planned),
        }
    }

    /// Adds the three stages of the non-fused schedule.
    fn push_non_fused(&mut self, planned: PlannedConvolution) {
        let buffers = [self.add_buffer(0), self.add_buffer(0), self.add_buffer(0)];
        let [v, m, scales] = buffers;
        let planned = Arc::new(planned);
        let non_fused = move |maps: &[FeatureMap]| NonFusedWinograd {
            winograd: planned.winograd(maps),
            v,
            m,
            scales,
        };
        for (buffer, len) in buffers.into_iter().zip(non_fused(&self.maps).lens()) {
            self.buffer_lens[buffer] = len;
        }
        let division = self.division;
        let (first, second) = (non_fused.clone(), non_fused.clone());
        self.push(move |maps| input_transform(&division, &first(maps)));
        self.push(move |maps| products(&division, &second(maps)));
        self.push(move |maps| output_transform(&division, &non_fused(maps)));
    }
}

impl PlannedConvolution {
    fn winograd(&self, maps: &[FeatureMap]) -> WinogradConvolution {
        WinogradConvolution {
            convolution: self.convolution.clone(),
            algorithm: self.candidate.algorithm,
            input: maps[self.input],
            output: maps[self.output],
            batch: self.batch,
            relu: self.relu,
            pool: self.pool,
            tiles: self.tiles,
        }
    }
}
