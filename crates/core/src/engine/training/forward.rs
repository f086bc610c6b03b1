//! A convolution whose weights are new with each call.

use super::reorder::{to_blocked, to_planar};
use super::run_items::{run_stage, threads};
use super::workspaces::{CONVOLUTIONS, Workspaces};
use crate::engine::algorithm::{Algorithm, Schedule};
use crate::engine::convolution_stages::{
    direct, fused, input_transform, output_transform, products, schedule,
};
use crate::engine::cost_model::{Candidate, Machine, Outputs, candidates};
use crate::engine::direct_convolution::DirectConvolution;
use crate::engine::division::Division;
use crate::engine::feature_map::FeatureMap;
use crate::engine::filters::Filters;
use crate::engine::packed_convolution::{ConvolutionSpec, InputLayout, PackedConvolution};
use crate::engine::simd::{BLOCK, Isa};
use crate::engine::stage::Stage;
use crate::engine::winograd::{NonFusedWinograd, WinogradConvolution};
use crate::error::Result;
use std::sync::Arc;

/// The largest side of Winograd's input tiles for 3×3 kernels. Those of eight round five times as much: 1e-5 of the largest
/// value, as the tiles of eight that 5×5 kernels have (1.1e-5 back to the input of AlexNet's second convolution).
const MAX_TILE: usize = 6;
/// The numbers of a usual machine, so that the algorithm follows from the shape alone.
const MULTIPLY_ADDS_PER_CYCLE: f64 = 16.0;
const L2_BYTES: usize = 1 << 20;
const L3_BYTES: usize = 16 << 20;
/// The batch for which the algorithm is chosen.
const USUAL_BATCH: usize = 8;

/// Indices of the buffers of a workspace.
const INPUT: usize = 0;
const OUTPUT: usize = 1;
const V: usize = 2;
const M: usize = 3;
const SCALES: usize = 4;

/// The memory of packed weights, of one convolution after the other.
static PACKED: Workspaces = Workspaces::new();

/// Computes a convolution of `batch` planar images of `[height, width]` pixels, with these filters instead of the
/// specification's weights.
///
/// # Errors
/// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if memory runs out.
pub fn convolve(
    isa: Isa,
    spec: ConvolutionSpec,
    filters: &Filters<'_>,
    batch: usize,
    [height, width]: [usize; 2],
    input: &[f32],
    output: &mut [f32],
) -> Result<()> {
    let channels_per_block = spec.inputs.min(BLOCK);
    let layout = InputLayout { channels_per_block, ..InputLayout::BLOCKS };
    let mut convolution = PackedConvolution::new(isa, spec, layout)?;
    let size = [height, width].map(|side| convolution.output_side(side));
    let machine = usual_machine(isa);
    let chosen = choose(&machine, &convolution, batch, size);
    let memory = PACKED.take(convolution.weight_bytes(chosen.algorithm) / 4)?;
    convolution.pack_into(filters, chosen.algorithm, memory);
    let convolution = Arc::new(convolution);
    let [rows, columns] = convolution.inputs_read(chosen.algorithm, size);
    let mut input_map = FeatureMap::new(INPUT, convolution.inputs, height, width);
    input_map.channels_per_block = channels_per_block;
    input_map.pad(convolution.padding, rows, columns);
    let output_map = FeatureMap::new(OUTPUT, convolution.outputs, size[0], size[1]);
    let mut lens = vec![input_map.len(batch), output_map.len(batch)];
    let winograd = || WinogradConvolution {
        convolution: convolution.clone(),
        algorithm: chosen.algorithm,
        input: input_map,
        output: output_map,
        batch,
        relu: false,
        pool: false,
        tiles: chosen.algorithm.tiles(size),
    };
    let division = Division { machine, threads: threads() };
    let schedule = match chosen.schedule {
        Schedule::Rows => Schedule::Rows,
        _ => schedule(&division, &winograd(), &chosen),
    };
    let stages: Vec<Box<dyn Stage>> = match schedule {
        Schedule::Rows => vec![Box::new(direct(
            &division,
            DirectConvolution {
                convolution: convolution.clone(),
                input: input_map,
                scales: None,
                output: output_map,
                batch,
                relu: false,
                rows: 1,
            },
        ))],
        Schedule::Fused { items, .. } => vec![Box::new(fused(&division, winograd(), items))],
        Schedule::NonFused => {
            let winograd = NonFusedWinograd { winograd: winograd(), v: V, m: M, scales: SCALES };
            lens.extend(winograd.lens().map(Some));
            vec![
                Box::new(input_transform(&division, &winograd)),
                Box::new(products(&division, &winograd)),
                Box::new(output_transform(&division, &winograd)),
            ]
        }
    };
    // A length that overflows is more than any machine has.
    let lens: Vec<usize> = lens.into_iter().map(|len| len.unwrap_or(usize::MAX)).collect();
    let scratch_len = stages.iter().map(|stage| stage.scratch_len()).max().unwrap_or(0);
    CONVOLUTIONS.with(&lens, scratch_len, |workspace| {
        to_blocked(isa, input, &input_map, batch, workspace.buffer(INPUT));
        stages.iter().for_each(|stage| run_stage(&**stage, workspace));
        to_planar(isa, workspace.buffer(OUTPUT), &output_map, batch, output);
    })?;
    drop(stages);
    if let Some(mut convolution) = Arc::into_inner(convolution) {
        convolution
            .take_packed(chosen.algorithm)
            .into_iter()
            .for_each(|memory| PACKED.give(memory));
    }
    Ok(())
}

fn usual_machine(isa: Isa) -> Machine {
    Machine {
        isa,
        multiply_adds_per_cycle: MULTIPLY_ADDS_PER_CYCLE,
        l2_bytes: L2_BYTES,
        l3_bytes: L3_BYTES,
    }
}

/// The cheapest algorithm that is exact enough, and its schedule. The algorithm does not depend on the batch, so that
/// an image has the same output in each.
fn choose(
    machine: &Machine,
    convolution: &PackedConvolution,
    batch: usize,
    size: [usize; 2],
) -> Candidate {
    let cheapest = |batch: usize, is_allowed: &dyn Fn(Algorithm) -> bool| {
        let candidates =
            candidates(machine, convolution, Outputs { batch, size, is_pooled: false });
        let allowed = candidates.into_iter().filter(|candidate| is_allowed(candidate.algorithm));
        allowed.min_by(|a, b| a.cycles.total_cmp(&b.cycles))
    };
    let is_exact = |algorithm: Algorithm| {
        algorithm.tile_size().is_none_or(|tile| tile.kernel != 3 || tile.inputs <= MAX_TILE)
    };
    cheapest(USUAL_BATCH, &is_exact)
        .and_then(|chosen| cheapest(batch, &|algorithm| algorithm == chosen.algorithm))
        .unwrap_or_else(|| unreachable!("direct convolution is always a candidate"))
}
