//! [`PlanCache`]: the plans that were used last.

use super::plan::{Plan, PlanKey};
use crate::error::Result;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most plans that are kept, each with its memory.
const MAX_PLANS: usize = 16;

/// Bytes of activations beyond which the least recently used plans are dropped. Photos evaluated at their
/// full size, all different, would otherwise keep gigabytes. (The three scales of VGG take 800 MiB, eight
/// images of 224x224 take 470.)
const MAX_BYTES: usize = 1 << 30;

/// A cache of plans that drops the least recently used.
#[derive(Debug, Default)]
pub(super) struct PlanCache {
    /// The most recently used is last.
    plans: Mutex<Vec<CachedPlan>>,
}

type CachedPlan = (PlanKey<'static>, Arc<Plan>);

impl PlanCache {
    /// The cached plan, or the one that `build` returns.
    ///
    /// # Errors
    /// Those of `build`.
    pub fn get_or_build(
        &self,
        key: PlanKey,
        build: impl FnOnce(&PlanKey) -> Result<Plan>,
    ) -> Result<Arc<Plan>> {
        if let Some(plan) = find(&mut self.lock(), &key) {
            return Ok(plan);
        }
        // Not under the lock: other threads may need plans that are cached. Besides, packing weights waits
        // for rayon's threads, which may be asking for a plan themselves.
        let plan = Arc::new(build(&key)?);
        let mut plans = self.lock();
        if let Some(plan) = find(&mut plans, &key) {
            return Ok(plan);
        }
        let mut bytes = plan.activation_bytes();
        let kept = plans.iter().rev().take(MAX_PLANS - 1).take_while(|(_, plan)| {
            bytes = bytes.saturating_add(plan.activation_bytes());
            bytes <= MAX_BYTES
        });
        let dropped = plans.len() - kept.count();
        plans.drain(..dropped);
        plans.push((key.into_owned(), plan.clone()));
        Ok(plan)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CachedPlan>> {
        self.plans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds a plan and marks it as the most recently used.
fn find(plans: &mut [CachedPlan], key: &PlanKey) -> Option<Arc<Plan>> {
    let at = plans.iter().position(|(cached, _)| cached == key)?;
    plans[at..].rotate_left(1);
    plans.last().map(|(_, plan)| plan.clone())
}
