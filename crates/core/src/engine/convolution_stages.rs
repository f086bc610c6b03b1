//! The stages of a convolution for a number of threads: the schedule of a Winograd convolution, and the
//! division into items. Both schedules, and all divisions, give the same bits.

use super::algorithm::Schedule;
use super::cost_model::{self, Candidate};
use super::direct_convolution::DirectConvolution;
use super::division::{Division, halves_of};
use super::winograd::{
    FusedWinograd, NonFusedWinograd, QUANTIZED_TILES_PER_ITEM, TILES_PER_ITEM, WinogradConvolution,
    WinogradInputTransform, WinogradOutputTransform, WinogradProducts,
};

/// The most items of the fused schedule for each thread, unless more are needed to fit in the cache. Each
/// item reads all weights.
const MAX_FUSED_ITEMS: usize = 4;

/// How much faster the schedule that the cost model did not choose must be predicted to be.
const MIN_GAIN: f64 = 0.05;

/// The schedule of a candidate for this number of threads.
pub(super) fn schedule(
    division: &Division,
    winograd: &WinogradConvolution,
    candidate: &Candidate,
) -> Schedule {
    // The cost model has already counted these threads.
    if division.threads as f64 <= cost_model::CORES {
        return candidate.schedule;
    }
    let fused = fastest_fused(division, winograd);
    let (items, fused_time) = (fused.items, division.time(&fused));
    // Their buffers cost the same, wherever they are.
    let non_fused = NonFusedWinograd { winograd: winograd.clone(), v: 0, m: 0, scales: 0 };
    let non_fused_time = division.time(&input_transform(division, &non_fused))
        + division.time(&products(division, &non_fused))
        + division.time(&output_transform(division, &non_fused));
    let is_fused = match candidate.schedule {
        Schedule::NonFused => fused_time < non_fused_time * (1.0 - MIN_GAIN),
        _ => non_fused_time >= fused_time * (1.0 - MIN_GAIN),
    };
    if is_fused {
        Schedule::Fused { items, tiles: winograd.tile_count().div_ceil(items) }
    } else {
        Schedule::NonFused
    }
}

fn fastest_fused(division: &Division, winograd: &WinogradConvolution) -> FusedWinograd {
    let Division { machine, threads } = division;
    let tiles = winograd.tile_count();
    let coarsest =
        cost_model::fused_items(machine, &winograd.convolution, winograd.algorithm, tiles);
    let finer = (1..=MAX_FUSED_ITEMS).map(|rounds| rounds * threads);
    let finer = finer.filter(|&items| items > coarsest && items <= tiles);
    division.choose(coarsest, finer, |items| fused(division, winograd.clone(), items))
}

/// The fused schedule in so many items.
pub(super) fn fused(
    division: &Division,
    winograd: WinogradConvolution,
    items: usize,
) -> FusedWinograd {
    let weight_bytes = winograd.convolution.weight_bytes(winograd.algorithm);
    let keeps_weights_in_cache = division.machine.keeps_in_cache(weight_bytes);
    FusedWinograd { winograd, items, keeps_weights_in_cache }
}

/// A direct convolution with as many rows in an item as are fastest. The `rows` of the given one do not
/// matter.
pub(super) fn direct(division: &Division, convolution: DirectConvolution) -> DirectConvolution {
    let most = DirectConvolution::most_rows(&convolution.output);
    division.choose(most, halves_of(most), |rows| DirectConvolution { rows, ..convolution.clone() })
}

/// The first step of the non-fused schedule.
pub(super) fn input_transform(
    division: &Division,
    convolution: &NonFusedWinograd,
) -> WinogradInputTransform {
    let is_integer = convolution.winograd.convolution.is_integer();
    let most = if is_integer { QUANTIZED_TILES_PER_ITEM } else { TILES_PER_ITEM };
    division.choose(most, halves_of(most), |tiles_per_item| WinogradInputTransform {
        convolution: convolution.clone(),
        tiles_per_item,
    })
}

/// The second step of the non-fused schedule.
pub(super) fn products(division: &Division, convolution: &NonFusedWinograd) -> WinogradProducts {
    let most = WinogradProducts::most_panels(&convolution.winograd.convolution);
    division.choose(most, halves_of(most), |panels| {
        WinogradProducts::new(convolution.clone(), panels, division)
    })
}

/// The third step of the non-fused schedule.
pub(super) fn output_transform(
    division: &Division,
    convolution: &NonFusedWinograd,
) -> WinogradOutputTransform {
    division.choose(TILES_PER_ITEM, halves_of(TILES_PER_ITEM), |tiles_per_item| {
        WinogradOutputTransform { convolution: convolution.clone(), tiles_per_item }
    })
}
