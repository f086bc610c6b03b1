//! One file over an unreliable network: asks again, goes on where it was cut, and gives the file its
//! name only when its hash is right.

use super::cache::Entry;
use super::registry::Published;
use super::response::{Answer, Body, Have, judge, shown};
use super::verify::Checked;
use super::{Options, progress};
use crate::error::{Error, Result};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;
use ureq::Agent;

const REDIRECTS: u32 = 5;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why an attempt ended early.
enum Failure {
    /// Trouble that may pass.
    Passing(Error),
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Final(error)
    }
}

pub(super) struct Download<'a> {
    pub options: &'a Options,
    pub published: &'a Published,
    pub entry: &'a Entry,
    pub address: String,
}

impl Download<'_> {
    /// Fetches the file, checks it and gives it its name. The caller holds the entry's lock.
    pub fn run(&self) -> Result<()> {
        // An earlier run may have ended between the last byte and the name.
        let sizes = self.published.size.range();
        if sizes.contains(&self.entry.have()?) {
            let checked = Checked::new(&self.entry.part)?;
            if checked.is(self.published).is_ok() {
                return self.finish(checked);
            }
        }
        let mut wait = self.options.retry_wait;
        let mut left = self.options.retries;
        loop {
            match self.attempt() {
                Ok(()) => break,
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Passing(error)) if left == 0 => return Err(error),
                Err(Failure::Passing(error)) => {
                    self.options.say(format_args!("{error}; trying again"));
                    std::thread::sleep(wait);
                    wait = wait.saturating_mul(2).min(LONGEST_WAIT);
                    left -= 1;
                }
            }
        }
        // From the disk: what is there is what will be loaded.
        let checked = Checked::new(&self.entry.part)?;
        if let Err(found) = checked.is(self.published) {
            self.entry.discard_part()?;
            let expected = self.published.sha256.to_string();
            return Err(Error::Checksum { address: shown(&self.address), expected, found });
        }
        self.finish(checked)
    }

    fn finish(&self, checked: Checked) -> Result<()> {
        let Entry { file, part, .. } = self.entry;
        let written = OpenOptions::new().append(true).open(part).map_err(Error::io(part))?;
        written.sync_all().map_err(Error::io(part))?;
        drop(written);
        fs::rename(part, file).map_err(Error::io(file))?;
        checked.write(&self.entry.checked);
        self.entry.discard_part()
    }

    /// One request. `Ok`: the part has the length of the published file.
    fn attempt(&self) -> Result<(), Failure> {
        let mut have = Have { bytes: self.entry.have()?, etag: self.entry.etag() };
        if have.bytes >= *self.published.size.range().end() {
            self.entry.discard_part()?;
            have = Have::default();
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
        match judge(head.status, &head.headers, &have, self.published) {
            Answer::Body(body) => self.receive(&body, content.into_reader()),
            Answer::Restart(found) => {
                self.entry.discard_part()?;
                Err(Failure::Passing(self.error(found)))
            }
            Answer::Retry(found) => Err(Failure::Passing(self.error(found))),
            Answer::Refuse(found) => Err(Failure::Final(self.error(found))),
        }
    }

    fn receive(&self, body: &Body, mut content: impl Read) -> Result<(), Failure> {
        let part = &self.entry.part;
        let mut file = self.entry.open_part(body.start == 0, body.etag.as_deref())?;
        let sizes = self.published.size.range();
        let most = body.total.unwrap_or(*sizes.end());
        let bar = progress::bar(self.options, &self.published.file, body.start, most);
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
            // A server may send less than was asked for.
            return Err(Failure::Passing(self.error(format!("{length} bytes"))));
        }
        // The server thinks that this was all: no beginning of the file, then.
        let found = format!("{length} bytes{}", beginning(part));
        self.entry.discard_part()?;
        Err(self.error(found).into())
    }

    /// Each read is bounded, and so is all that comes before the body; the body as a whole is not:
    /// a slow network takes its time.
    fn agent(&self) -> Agent {
        let limit = Some(self.options.time_limit);
        Agent::config_builder()
            .http_status_as_error(false)
            .https_only(self.address.to_ascii_lowercase().starts_with("https:"))
            .max_redirects(REDIRECTS)
            .timeout_resolve(limit)
            .timeout_connect(limit)
            .timeout_send_request(limit)
            .timeout_recv_response(limit)
            .timeout_per_read(limit)
            .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
            .build()
            .into()
    }

    /// The network's error, as far as it is one that may pass.
    fn network(&self, error: ureq::Error) -> Failure {
        use ErrorKind::*;
        const PASSING: [ErrorKind; 5] =
            [BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof];
        let passes = match &error {
            ureq::Error::Timeout(_) => true,
            ureq::Error::Io(error) => PASSING.contains(&error.kind()),
            _ => false,
        };
        let found = match error {
            ureq::Error::Timeout(_) => {
                format!("nothing for {:?}", self.options.time_limit)
            }
            ureq::Error::Io(error) if error.kind() == UnexpectedEof => "a cut connection".into(),
            ureq::Error::Io(error) => error.to_string(),
            // Its own message would show the address with a user's password.
            ureq::Error::BadUri(_) => "an address that is none".into(),
            ureq::Error::TooManyRedirects => format!("more than {REDIRECTS} redirects"),
            other => other.to_string(),
        };
        match passes {
            true => Failure::Passing(self.error(found)),
            false => Failure::Final(self.error(found)),
        }
    }

    fn error(&self, found: String) -> Error {
        let expected = format!("a file of {}", self.published.size);
        Error::Download { address: shown(&self.address), expected, found }
    }
}

/// How a short body begins, if it is text: it may say what is wrong.
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
