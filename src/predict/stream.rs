//! Many photos, one after the other: while the network looks at some, the next are decoded.

use super::{Answer, Classifier};
use crate::error::{Error, Result};
use crate::vision::{Shown, decode_file};
use rayon::prelude::*;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Views that are made ready at once, where single photos have fewer: the network's linear layers are
/// read once for all squares among them.
const VIEWS_AT_ONCE: usize = 8;

/// Photos that are read at once, at most.
const MOST_READERS: usize = 64;

fn not_started(error: impl std::fmt::Display) -> Error {
    Error::Backend {
        backend: "readers".into(),
        reason: format!("a thread could not be started: {error}"),
    }
}

impl Classifier {
    /// What is in each of these files, in their order: `each` is called with the index of a file and its
    /// answer, as soon as it is there; a file that cannot be read does not stop the others. It returns
    /// `false` to end early.
    ///
    /// `readers` threads decode and resize while this one waits for the network. In memory are the photos
    /// that are at the network and as many that are ready for it or being read, whatever the number of
    /// files; of those being read, one a reader, also the original. Photos with fewer than eight views go
    /// through together (eight of one view, four of two), always the same ones: a file's answer does not
    /// depend on time or threads. (In its last bits it may depend on its neighbors.)
    ///
    /// # Errors
    /// [`Error::Setting`] for no readers, [`Error::Backend`] if a thread could not be started. What is
    /// wrong with a photo goes to `each`, and so does an error of the network.
    pub fn classify_files<P: AsRef<Path> + Sync>(
        &self,
        files: &[P],
        readers: usize,
        mut each: impl FnMut(usize, Result<Answer>) -> bool,
    ) -> Result<()> {
        if readers == 0 {
            return Err(Error::Setting {
                place: "readers".into(),
                expected: "at least 1".into(),
                found: "0".into(),
            });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(readers).build();
        let pool = pool.map_err(not_started)?;
        let at_once = (VIEWS_AT_ONCE / self.views().as_slice().len().max(1)).max(1);
        let ready = |file: &P| self.preset().views(&decode_file(file)?, self.views());
        // So many that every reader has one.
        let read_at_once = at_once * readers.min(MOST_READERS).div_ceil(at_once);
        // Nothing waits in it: what is ready is held by its sender.
        let (sender, parts) = sync_channel::<Vec<Result<Shown>>>(0);
        let read = || {
            for files in files.chunks(read_at_once) {
                let photos: Vec<_> = pool.install(|| files.par_iter().map(ready).collect());
                let mut photos = photos.into_iter().peekable();
                while photos.peek().is_some() {
                    if sender.send(photos.by_ref().take(at_once).collect()).is_err() {
                        return;
                    }
                }
            }
            drop(sender);
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("readers".into());
            thread.spawn_scoped(scope, read).map_err(not_started)?;
            let mut index = 0;
            for part in parts {
                for answer in self.answers_in_order(part) {
                    if !each(index, answer) {
                        return Ok(());
                    }
                    index += 1;
                }
            }
            Ok(())
        })
    }

    /// The network's answers where there was a photo, and its error to all of them where it failed.
    fn answers_in_order(&self, part: Vec<Result<Shown>>) -> Vec<Result<Answer>> {
        let mut failed = Vec::new();
        let mut shown = Vec::new();
        for photo in part {
            match photo {
                Ok(photo) => {
                    shown.push(photo);
                    failed.push(None);
                }
                Err(error) => failed.push(Some(error)),
            }
        }
        let mut answers = match self.answers(&shown) {
            Ok(answers) => answers.into_iter(),
            // Whose fault it was, the photos one by one will say.
            Err(_) => {
                let one = |photo| self.answers(std::slice::from_ref(photo));
                let one = |photo| one(photo).unwrap_or_else(|error| vec![Err(error)]);
                shown.iter().flat_map(one).collect::<Vec<_>>().into_iter()
            }
        };
        let next = |error: Option<Error>| match error {
            Some(error) => Some(Err(error)),
            None => answers.next(),
        };
        failed.into_iter().filter_map(next).collect()
    }
}
