//! Runs the items of a stage on rayon's threads.

use crate::engine::stage::Stage;
use crate::engine::workspace::Workspace;
use rayon::prelude::*;

/// Calls `run` with each of `items` and a number of the thread, below [`threads`].
pub fn run_items(items: usize, run: impl Fn(usize, usize) + Sync) {
    (0..items).into_par_iter().with_max_len(1).for_each(|item| {
        run(item, rayon::current_thread_index().unwrap_or(0));
    });
}

/// Runs all items of a stage.
pub fn run_stage(stage: &dyn Stage, workspace: &Workspace) {
    run_items(stage.items(), |item, thread| stage.run(item, thread, workspace));
}

/// The most threads that run items.
pub fn threads() -> usize {
    rayon::current_num_threads()
}
