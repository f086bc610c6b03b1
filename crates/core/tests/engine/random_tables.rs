//! The compiled engine on networks that nobody would train, against the forward pass by definition.

use crate::arbitrary_tables::table;
use crate::compiled::{difference_of, isas, largest, logits, on};
use crate::formula;
use crate::reference;
use alexnet_vgg_core::architecture::Architecture;
use proptest::prelude::*;

/// Share of the largest value. Larger than for the papers' networks, because these chains may have no ReLU,
/// so that values cancel, average what cancels, and have layers of few channels. 3.4e-5 was seen (the second
/// saved case); a wrong index is off by a hundredth at least.
const TOLERANCE: f64 = 5e-5;

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_global_rejects: 20000, ..Default::default() })]

    /// Any kernel, stride, padding and groups, in any order that a table allows, on every instruction set.
    #[test]
    fn random_tables_equal_the_reference(table in table(), batch in 1..4usize) {
        let architecture = Architecture::new(table);
        prop_assume!(architecture.is_ok());
        let architecture = architecture.expect("valid");
        let [channels, height, width] = architecture.input;
        let shape = [batch, channels, height, width];
        let images = formula::images(shape);
        let reference = reference::logits(&architecture, &images, shape);
        prop_assume!(reference.iter().all(|value| value.is_finite()));
        let keys: Vec<&str> = architecture.steps().iter().map(|step| step.key.as_str()).collect();
        for isa in isas() {
            let compiled = formula::compiled(&architecture, on(isa));
            let taps = compiled.taps(&images, shape, &keys).expect("valid");
            // A logit may be nearly 0 where its terms are not: so the inputs of the last two layers, which may be a
            // linear one and a ReLU, count, too.
            let values = taps.iter().rev().take(3).map(|tap| largest(&tap.values));
            let scale = values.fold(largest(&reference), f64::max);
            let error = difference_of(scale, &logits(&compiled, shape), &reference);
            prop_assert!(error < TOLERANCE, "{}: {:.1e}", isa, error);
            let last = taps.last().map(|tap| difference_of(scale, &tap.values, &reference));
            prop_assert!(last.is_some_and(|last| last < TOLERANCE), "{} by layers: {:?}", isa, last);
        }
    }
}
