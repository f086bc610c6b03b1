//! Classification of many files: while the network classifies some photos, the next ones are decoded.

use super::classification::Classification;
use super::classifier::Classifier;
use crate::error::{Error, Result};
use crate::vision::{NormalizedViews, decode_file};
use rayon::prelude::*;
use std::path::Path;
use std::sync::mpsc::sync_channel;

/// Photos with fewer views than this are classified together, because the network reads the weights of its
/// linear layers once per batch.
const VIEWS_PER_BATCH: usize = 8;

/// The most photos that are decoded at once.
const MAX_READERS: usize = 64;

impl Classifier {
    /// Classifies image files, in order. `each` is called with the index of a file and its result as soon as
    /// it is available; a file that cannot be read does not stop the others. Return `false` from `each` to
    /// stop early.
    ///
    /// `readers` threads decode and resize photos while the calling thread runs the network.
    /// However many files there are, memory holds only the photos that the network is working on,
    /// about as many that are waiting or being decoded, and the full-size original of one photo per
    /// reader. Photos with fewer than eight views are classified together (eight photos of one
    /// view, four of two), and the grouping is always the same: results do not depend on timing or
    /// on threads. (The last bits of a result may depend on the neighboring files.)
    ///
    /// # Errors
    /// [`Error::Setting`] if `readers` is 0, and [`Error::Thread`] if a thread could not be started. Errors
    /// of a photo, and of the network, are passed to `each`.
    pub fn classify_files<P: AsRef<Path> + Sync>(
        &self,
        files: &[P],
        readers: usize,
        mut each: impl FnMut(usize, Result<Classification>) -> bool,
    ) -> Result<()> {
        if readers == 0 {
            return Err(Error::Setting {
                place: "readers".into(),
                expected: "at least 1".into(),
                found: "0".into(),
            });
        }
        let pool = rayon::ThreadPoolBuilder::new().num_threads(readers).build();
        let pool = pool.map_err(thread_error)?;
        let batch_size = (VIEWS_PER_BATCH / self.views().as_slice().len().max(1)).max(1);
        let read = |file: &P| self.preset().views(&decode_file(file)?, self.views());
        // Whole batches, enough for every reader to have a photo.
        let read_at_once = batch_size * readers.min(MAX_READERS).div_ceil(batch_size);
        // Without a buffer: the sending thread holds the photos that are ready.
        let (sender, batches) = sync_channel::<Vec<Result<NormalizedViews>>>(0);
        let read_all = || {
            for files in files.chunks(read_at_once) {
                let photos: Vec<_> = pool.install(|| files.par_iter().map(read).collect());
                let mut photos = photos.into_iter().peekable();
                while photos.peek().is_some() {
                    if sender.send(photos.by_ref().take(batch_size).collect()).is_err() {
                        return;
                    }
                }
            }
            drop(sender);
        };
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("readers".into());
            thread.spawn_scoped(scope, read_all).map_err(thread_error)?;
            let mut index = 0;
            for batch in batches {
                for result in self.classify_in_order(batch) {
                    if !each(index, result) {
                        return Ok(());
                    }
                    index += 1;
                }
            }
            Ok(())
        })
    }

    /// The classification of each photo that was read, and the error of each that was not.
    fn classify_in_order(
        &self,
        batch: Vec<Result<NormalizedViews>>,
    ) -> Vec<Result<Classification>> {
        let mut read_errors = Vec::new();
        let mut photos = Vec::new();
        for photo in batch {
            match photo {
                Ok(photo) => {
                    photos.push(photo);
                    read_errors.push(None);
                }
                Err(error) => read_errors.push(Some(error)),
            }
        }
        let mut results = match self.classify_views(&photos) {
            Ok(results) => results.into_iter(),
            // Classified one by one, each photo gets its own result or error.
            Err(_) => {
                let one = |photo| {
                    let results = self.classify_views(std::slice::from_ref(photo));
                    results.unwrap_or_else(|error| vec![Err(error)])
                };
                photos.iter().flat_map(one).collect::<Vec<_>>().into_iter()
            }
        };
        let next = |error: Option<Error>| match error {
            Some(error) => Some(Err(error)),
            None => results.next(),
        };
        read_errors.into_iter().filter_map(next).collect()
    }
}

fn thread_error(error: impl std::fmt::Display) -> Error {
    Error::Thread {
        threads: "readers".into(),
        reason: format!("a thread could not be started: {error}"),
    }
}
