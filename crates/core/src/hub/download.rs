//! Downloads one file over an unreliable network: tries again, continues where it was interrupted,
//! and gives the file its name only after its checksum has been verified.

use super::address::redacted;
use super::cache_entry::CacheEntry;
use super::http_response::{Action, Body, PartialFile, action};
use super::hub_options::HubOptions;
use super::progress_output::progress_bar;
use super::published::Published;
use super::verification::Verification;
use crate::error::{Error, Result};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use ureq::Agent;

const MAX_REDIRECTS: u32 = 5;
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Temporary(Error),
    Permanent(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Permanent(error)
    }
}

pub(super) struct Download<'a> {
    pub options: &'a HubOptions,
    pub published: &'a Published,
    pub entry: &'a CacheEntry,
    pub address: String,
}

impl Download<'_> {
    /// Downloads the file, verifies it and gives it its name. The caller must hold the lock of the entry.
    pub fn run(&self) -> Result<()> {
        // An earlier run may have ended after the last byte was written and before the file was renamed.
        let sizes = self.published.size.range();
        if sizes.contains(&self.entry.part_length()?) {
            let verification = Verification::new(&self.entry.part)?;
            if verification.compare(self.published).is_ok() {
                return self.finish(verification);
            }
        }
        let mut wait = self.options.retry_wait;
        let mut left = self.options.retries;
        loop {
            match self.attempt() {
                Ok(()) => break,
                Err(Failure::Permanent(error)) => return Err(error),
                Err(Failure::Temporary(error)) if left == 0 => return Err(error),
                Err(Failure::Temporary(error)) => {
                    self.options.report(format_args!("{error}; trying again"));
                    std::thread::sleep(wait);
                    wait = wait.saturating_mul(2).min(MAX_WAIT);
                    left -= 1;
                }
            }
        }
        // Hash what is on the disk, because that is what will be loaded.
        let verification = Verification::new(&self.entry.part)?;
        if let Err(found) = verification.compare(self.published) {
            self.entry.discard_part()?;
            let expected = self.published.sha256.to_string();
            return Err(Error::Checksum { address: redacted(&self.address), expected, found });
        }
        self.finish(verification)
    }

    fn finish(&self, verification: Verification) -> Result<()> {
        let CacheEntry { file, part, .. } = self.entry;
        let written = OpenOptions::new().append(true).open(part).map_err(Error::io(part))?;
        written.sync_all().map_err(Error::io(part))?;
        drop(written);
        fs::rename(part, file).map_err(Error::io(file))?;
        verification.write(&self.entry.verified);
        self.entry.discard_part()
    }

    /// One request. After `Ok` the part has the length of the published file.
    fn attempt(&self) -> Result<(), Failure> {
        let mut have = PartialFile { bytes: self.entry.part_length()?, etag: self.entry.etag() };
        if have.bytes >= *self.published.size.range().end() {
            self.entry.discard_part()?;
            have = PartialFile::default();
        }
        let mut request = self.agent().get(&self.address);
        if have.bytes > 0 {
            request = request.header("Range", format!("bytes={}-", have.bytes));
            if let Some(etag) = &have.etag {
                request = request.header("If-Range", etag);
            }
        }
        let response = request.call().map_err(|error| self.network(error))?;
        let (head, content) = response.into_parts();
        match action(head.status, &head.headers, &have, self.published) {
            Action::Receive(body) => self.receive(&body, content.into_reader()),
            Action::Restart(found) => {
                self.entry.discard_part()?;
                Err(Failure::Temporary(self.error(found)))
            }
            Action::Retry(found) => Err(Failure::Temporary(self.error(found))),
            Action::GiveUp(found) => Err(Failure::Permanent(self.error(found))),
        }
    }

    fn receive(&self, body: &Body, mut content: impl Read) -> Result<(), Failure> {
        let part = &self.entry.part;
        let mut file = self.entry.open_part(body.start == 0, body.etag.as_deref())?;
        let sizes = self.published.size.range();
        let most = body.total.unwrap_or(*sizes.end());
        let bar = progress_bar(self.options, &self.published.file, body.start, most);
        let mut length = body.start;
        let mut buffer = vec![0; 1 << 17];
        loop {
            let read = match content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.network(error.into())),
            };
            if length + read as u64 > most {
                self.entry.discard_part()?;
                return Err(self.error(format!("more than {most} bytes")).into());
            }
            file.write_all(&buffer[..read]).map_err(Error::io(part))?;
            length += read as u64;
            bar.set_position(length);
        }
        if sizes.contains(&length) && body.total.is_none_or(|total| total == length) {
            return Ok(());
        }
        if body.start > 0 || body.total.is_some() {
            // A server may send less than was requested.
            return Err(Failure::Temporary(self.error(format!("{length} bytes"))));
        }
        // The server sent all that it has, so this is not the beginning of the file.
        let found = format!("{length} bytes{}", beginning(part));
        self.entry.discard_part()?;
        Err(self.error(found).into())
    }

    /// The time limit holds for each step before the body, and for each read of the body, but not for the body
    /// as a whole: the network may be slow.
    fn agent(&self) -> Agent {
        let limit = Some(self.options.time_limit);
        Agent::config_builder()
            .http_status_as_error(false)
            .https_only(self.address.to_ascii_lowercase().starts_with("https:"))
            .max_redirects(MAX_REDIRECTS)
            .timeout_resolve(limit)
            .timeout_connect(limit)
            .timeout_send_request(limit)
            .timeout_recv_response(limit)
            .timeout_per_read(limit)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    /// A failure of the network, temporary or not.
    fn network(&self, error: ureq::Error) -> Failure {
        use ErrorKind::*;
        const TEMPORARY: [ErrorKind; 5] =
            [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof];
        let is_temporary = match &error {
            ureq::Error::Timeout(_) => true,
            ureq::Error::Io(error) => TEMPORARY.contains(&error.kind()),
            _ => false,
        };
        let found = match error {
            ureq::Error::Timeout(_) => {
                format!("no data for {:?}", self.options.time_limit)
            }
            ureq::Error::Io(error) if error.kind() == UnexpectedEof => "a broken connection".into(),
            ureq::Error::Io(error) => error.to_string(),
            // Its own message would show the address with the password.
            ureq::Error::BadUri(_) => "an invalid address".into(),
            ureq::Error::TooManyRedirects => format!("more than {MAX_REDIRECTS} redirects"),
            other => other.to_string(),
        };
        let error = self.error(found);
        if is_temporary { Failure::Temporary(error) } else { Failure::Permanent(error) }
    }

    fn error(&self, found: String) -> Error {
        let expected = format!("a file of {}", self.published.size);
        Error::Download { address: redacted(&self.address), expected, found }
    }
}

/// The first bytes of a short body, if they are text: they may be an error message.
fn beginning(path: &std::path::Path) -> String {
    let mut text = Vec::new();
    let read = fs::File::open(path).map(|file| file.take(60).read_to_end(&mut text));
    match (read, str::from_utf8(&text)) {
        (Ok(io::Result::Ok(1..)), Ok(text)) if !text.contains('\0') => {
            format!(" that begin with {text:?}")
        }
        _ => String::new(),
    }
}
