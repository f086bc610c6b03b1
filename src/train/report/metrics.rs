//! The history of a run as CSV, for other programs.

use crate::train::{Epoch, History};
use crate::{Error, Result};
use alexnet_vgg_core::atomic_file;
use std::path::Path;

/// The name of a column, with its unit, and its value for an epoch.
type Column = (&'static str, fn(&Epoch) -> f64);

const COLUMNS: [Column; 14] = [
    ("epoch", |epoch| epoch.epoch as f64),
    ("steps", |epoch| epoch.steps as f64),
    ("learning_rate", |epoch| epoch.rate),
    ("train_loss_nats", |epoch| epoch.train.loss),
    ("train_top1_fraction", |epoch| epoch.train.top1),
    ("train_top5_fraction", |epoch| epoch.train.top5),
    ("valid_loss_nats", |epoch| epoch.valid.loss),
    ("valid_top1_fraction", |epoch| epoch.valid.top1),
    ("valid_top5_fraction", |epoch| epoch.valid.top5),
    ("train_images_per_second", |epoch| epoch.images_per_second),
    ("waited_for_data_fraction", |epoch| epoch.waited),
    ("waited_for_others_fraction", |epoch| epoch.waited_for_others),
    ("exchanged_fraction", |epoch| epoch.exchanged),
    ("exchanged_bytes", |epoch| epoch.exchanged_bytes as f64),
];

impl History {
    /// The history as CSV: a line of column names with units, then a line for each epoch. NaN and infinite values are
    /// `NaN` and `inf`, as Python and R read them.
    pub fn to_csv(&self) -> String {
        let line = |values: [String; COLUMNS.len()]| values.join(",") + "\n";
        let names = line(COLUMNS.map(|(name, _)| name.into()));
        let row = |epoch: &Epoch| line(COLUMNS.map(|(_, value)| value(epoch).to_string()));
        names + &self.epochs.iter().map(row).collect::<String>()
    }

    /// Writes [`to_csv`](Self::to_csv) into a file, which is replaced in one step. Training calls it `metrics.csv`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn save_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let text = self.to_csv();
        atomic_file::replace(path, |out| out.write_all(text.as_bytes()).map_err(Error::io(path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Scores;

    #[test]
    fn the_csv_has_names_with_units_and_a_line_for_each_epoch() {
        let train = Scores { loss: 2.5, top1: 0.25, top5: 0.75 };
        let valid = Scores { loss: f64::NAN, top1: 0.125, top5: 1.0 };
        let epoch = Epoch {
            epoch: 1,
            steps: 40_000,
            rate: 1e-5,
            train,
            valid,
            images_per_second: f64::INFINITY,
            waited: 0.5,
            waited_for_others: 0.25,
            exchanged: 0.125,
            exchanged_bytes: 1 << 20,
        };
        let names = "epoch,steps,learning_rate,train_loss_nats,train_top1_fraction,\
            train_top5_fraction,valid_loss_nats,valid_top1_fraction,valid_top5_fraction,\
            train_images_per_second,waited_for_data_fraction,waited_for_others_fraction,\
            exchanged_fraction,exchanged_bytes\n";
        let history = History { epochs: vec![epoch] };
        let row = "1,40000,0.00001,2.5,0.25,0.75,NaN,0.125,1,inf,0.5,0.25,0.125,1048576\n";
        assert_eq!(history.to_csv(), format!("{names}{row}"));
        assert_eq!(History::default().to_csv(), names);

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics.csv");
        history.save_csv(&path).expect("a writable folder");
        assert_eq!(std::fs::read_to_string(path).expect("text"), history.to_csv());
    }
}
