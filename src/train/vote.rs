//! What the processes of a job tell each other after each batch, so that they all go on, or all end, at the
//! same step: how their share went, and what they want.

use super::processes::Processes;
use super::state::Sums;
use crate::error::{Error, Result};

/// What one of them says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Vote {
    /// Its part of the batch: all of them are 1 together, but where examples were left out.
    pub share: f64,
    /// Of its examples.
    pub sums: Sums,
    /// Whether it was interrupted.
    pub stops: bool,
    /// Whether it wants a checkpoint.
    pub saves: bool,
    /// Why it cannot go on.
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    /// The weights are no good.
    diverged: bool,
    reason: String,
}

const NUMBERS: usize = 8;

impl Vote {
    fn failed(error: &Error) -> Self {
        let (diverged, reason) = match error {
            Error::Diverged { origin, .. } => (true, origin.clone()),
            other => (false, other.to_string()),
        };
        Self { failure: Some(Failure { diverged, reason }), ..Self::default() }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let of = |failure: &Failure| 1.0 + f64::from(u8::from(failure.diverged));
        let failure = self.failure.as_ref();
        let [stops, saves] = [self.stops, self.saves].map(|wish| f64::from(u8::from(wish)));
        let [loss, first, first_five, examples] = self.sums.of_examples();
        let numbers: [f64; NUMBERS] =
            [self.share, loss, first, first_five, examples, stops, saves, failure.map_or(0.0, of)];
        let reason = failure.map_or("", |failure| &failure.reason);
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        bytes.extend(reason.bytes());
        bytes
    }

    /// `None` for bytes that no vote has.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (numbers, reason) = bytes.split_at_checked(NUMBERS * size_of::<f64>())?;
        let mut numbers = numbers.chunks_exact(size_of::<f64>()).map(|bytes| {
            let mut number = [0; size_of::<f64>()];
            number.copy_from_slice(bytes);
            f64::from_le_bytes(number)
        });
        let mut next = || numbers.next().unwrap_or_default();
        let (share, sums) = (next(), Sums::from_examples([next(), next(), next(), next()]));
        let (stops, saves, failed) = (next() > 0.0, next() > 0.0, next());
        let reason = || String::from_utf8_lossy(reason).into_owned();
        let failure = (failed > 0.0).then(|| Failure { diverged: failed > 1.0, reason: reason() });
        Some(Self { share, sums, stops, saves, failure })
    }
}

impl dyn Processes + '_ {
    /// All votes together, where none of them failed, and what is this process's own.
    ///
    /// # Errors
    /// This process's own; where it has none, the first other one's: [`Error::Diverged`] if that is what
    /// it was, else [`Error::Process`].
    pub(super) fn vote<T>(&self, own: Result<(Vote, T)>) -> Result<(Vote, T)> {
        let said = self.gather(&match &own {
            Ok((vote, _)) => vote.to_bytes(),
            Err(error) => Vote::failed(error).to_bytes(),
        });
        // Why this one cannot go on says more than that the others are gone.
        let (_, own) = own?;
        let mut all = Vote::default();
        for (rank, bytes) in said?.iter().enumerate() {
            let place = self.place(rank);
            let failed = |reason| Error::Process { rank, place: place.clone(), reason };
            let vote = Vote::from_bytes(bytes)
                .ok_or_else(|| failed(format!("expected a vote, found {} bytes", bytes.len())))?;
            match vote.failure {
                Some(Failure { diverged: true, reason }) => {
                    let origin = format!("in process {rank} ({place}): {reason}");
                    return Err(Error::Diverged {
                        step: 0,
                        loss: f64::NAN,
                        origin,
                        checkpoint: None,
                    });
                }
                Some(Failure { reason, .. }) => return Err(failed(reason)),
                None => {}
            }
            all.share += vote.share;
            all.sums.add_examples(&vote.sums);
            all.stops |= vote.stops;
            // Time is the first one's: the others' clocks may be ahead.
            all.saves |= vote.saves && rank == 0;
        }
        Ok((all, own))
    }

    /// What came of something in this process, if it went well in all of them.
    ///
    /// # Errors
    /// As for [`vote`](Self::vote).
    pub(super) fn agree<T>(&self, own: Result<T>) -> Result<T> {
        Ok(self.vote(own.map(|own| (Vote::default(), own)))?.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::processes::{Alone, Threads};

    #[test]
    fn a_vote_comes_over_as_it_is() {
        let sums = Sums::from_examples([0.1 + 0.2, 3.0, 5.0, 7.0]);
        let vote = Vote { share: 0.7, sums, stops: true, saves: true, failure: None };
        let alone: &dyn Processes = &Alone;
        assert_eq!(alone.vote(Ok((vote.clone(), 5))).expect("nobody failed"), (vote, 5));
        assert_eq!(Vote::from_bytes(b"other"), None);
    }

    #[test]
    fn all_end_by_the_failure_of_one() {
        let threads = Threads::new(vec!["here".into(), "there".into()]);
        let results = std::thread::scope(|scope| {
            let say = |process: Threads| {
                let own = match process.rank() {
                    0 => Ok(()),
                    _ => Err(Error::Table {
                        place: "conv1".into(),
                        expected: "5".into(),
                        found: "6".into(),
                    }),
                };
                (&process as &dyn Processes).agree(own).map_err(|error| error.to_string())
            };
            let running: Vec<_> =
                threads.into_iter().map(|process| scope.spawn(move || say(process))).collect();
            let results = running.into_iter().map(|thread| thread.join().expect("no panic"));
            results.collect::<Vec<_>>()
        });
        let own = "conv1: expected 5, found 6".to_string();
        assert_eq!(results, [Err(format!("process 1 (there): {own}")), Err(own)]);
    }
}
