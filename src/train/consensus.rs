//! What the processes of a job tell each other about every batch, so that all of them continue, or all of them
//! stop, at the same step.

use super::processes::ProcessGroup;
use super::totals::EpochTotals;
use crate::{Error, Result};

/// The status of one process, or of all of them together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RankStatus {
    /// Its share of the batch. The shares of all processes add up to 1, unless examples were skipped.
    pub share: f64,
    /// Of its examples.
    pub totals: EpochTotals,
    /// Whether it was interrupted.
    pub stops: bool,
    /// Whether a checkpoint is due.
    pub saves: bool,
    /// Why it cannot continue.
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// Whether the loss or the weights are no longer finite.
    diverged: bool,
    reason: String,
}

/// Numbers of a status as bytes.
const NUMBERS: usize = 8;

impl RankStatus {
    fn failed(error: &Error) -> Self {
        let (diverged, reason) = match error {
            Error::Diverged { origin, .. } => (true, origin.clone()),
            other => (false, other.to_string()),
        };
        Self { failure: Some(Failure { diverged, reason }), ..Self::default() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let code = |failure: &Failure| 1.0 + f64::from(u8::from(failure.diverged));
        let failure = self.failure.as_ref();
        let [stops, saves] = [self.stops, self.saves].map(|flag| f64::from(u8::from(flag)));
        let [loss, first, first_five, examples] = self.totals.to_example_sums();
        let failed = failure.map_or(0.0, code);
        let numbers: [f64; NUMBERS] =
            [self.share, loss, first, first_five, examples, stops, saves, failed];
        let reason = failure.map_or("", |failure| &failure.reason);
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.extend(reason.bytes());
        bytes
    }

    /// `None` for bytes that are not a status.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, reason) = bytes.split_at_checked(NUMBERS * size_of::<f64>())?;
        let mut numbers = numbers.chunks_exact(size_of::<f64>()).map(|bytes| {
            let mut number = [0; size_of::<f64>()];
            number.copy_from_slice(bytes);
            f64::from_le_bytes(number)
        });
        let mut next = || numbers.next().unwrap_or_default();
        let share = next();
        let totals = EpochTotals::from_example_sums([next(), next(), next(), next()]);
        let (stops, saves, failed) = (next() > 0.0, next() > 0.0, next());
        let reason = || String::from_utf8_lossy(reason).into_owned();
        let failure = (failed > 0.0).then(|| Failure { diverged: failed > 1.0, reason: reason() });
        Some(Self { share, totals, stops, saves, failure })
    }
}

impl dyn ProcessGroup + '_ {
    /// Gives this process's status to all others. Returns the status of all processes together, if none has
    /// failed, and the value in this process.
    ///
    /// # Errors
    /// This process's own error, or else that of the first process that has one: [`Error::Diverged`] if it is
    /// that, and [`Error::Process`] otherwise.
    pub(super) fn exchange_status<T>(
        &self,
        own: Result<(RankStatus, T)>,
    ) -> Result<(RankStatus, T)> {
        let gathered = self.all_gather(&match &own {
            Ok((status, _)) => status.to_bytes(),
            Err(error) => RankStatus::failed(error).to_bytes(),
        });
        // This process's own error says more than that the others are gone.
        let (_, own) = own?;
        let mut all = RankStatus::default();
        for (rank, bytes) in gathered?.iter().enumerate() {
            let status = self.parse_status(rank, bytes)?;
            all.share += status.share;
            all.totals.add_examples(&status.totals);
            all.stops |= status.stops;
            // Rank 0 measures the time between checkpoints: the others' clocks may differ.
            all.saves |= status.saves && rank == 0;
        }
        Ok((all, own))
    }

    /// The status of another process, which has not failed.
    fn parse_status(&self, rank: usize, bytes: &[u8]) -> Result<RankStatus> {
        let place = self.location(rank);
        let failed = |reason| Error::Process { rank, place: place.clone(), reason };
        let status = RankStatus::from_bytes(bytes).ok_or_else(|| {
            failed(format!("expected the status of a process, found {} bytes", bytes.len()))
        })?;
        match status.failure {
            Some(Failure { diverged: true, reason }) => Err(Error::Diverged {
                step: 0,
                loss: f64::NAN,
                origin: format!("in process {rank} ({place}): {reason}"),
                checkpoint: None,
            }),
            Some(Failure { reason, .. }) => Err(failed(reason)),
            None => Ok(status),
        }
    }

    /// The value in this process, if all processes have one.
    ///
    /// # Errors
    /// As for [`exchange_status`](Self::exchange_status).
    pub(super) fn expect_all_ok<T>(&self, own: Result<T>) -> Result<T> {
        Ok(self.exchange_status(own.map(|own| (RankStatus::default(), own)))?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::processes::{SingleProcess, ThreadGroup};

    #[test]
    fn a_status_arrives_unchanged() {
        let totals = EpochTotals::from_example_sums([0.1 + 0.2, 3.0, 5.0, 7.0]);
        let status = RankStatus { share: 0.7, totals, stops: true, saves: true, failure: None };
        let single: &dyn ProcessGroup = &SingleProcess;
        let exchanged = single.exchange_status(Ok((status.clone(), 5)));
        assert_eq!(exchanged.expect("no failure"), (status, 5));
        assert_eq!(RankStatus::from_bytes(b"other"), None);
    }

    #[test]
    fn a_failure_in_one_process_ends_all() {
        let threads = ThreadGroup::new(vec!["here".into(), "there".into()]);
        let results = std::thread::scope(|scope| {
            let work = |process: ThreadGroup| {
                let own = match process.rank() {
                    0 => Ok(()),
                    _ => Err(Error::Table {
                        place: "conv1".into(),
                        expected: "5".into(),
                        found: "6".into(),
                    }),
                };
                (&process as &dyn ProcessGroup).expect_all_ok(own).map_err(|e| e.to_string())
            };
            let running: Vec<_> =
                threads.into_iter().map(|process| scope.spawn(move || work(process))).collect();
            let results = running.into_iter().map(|thread| thread.join().expect("no panic"));
            results.collect::<Vec<_>>()
        });
        let own = "conv1: expected 5, found 6".to_string();
        assert_eq!(results, [Err(format!("process 1 (there): {own}")), Err(own)]);
    }
}
