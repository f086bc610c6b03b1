//! A process that is timed in alternation with ours: other libraries in a Python, or our own engine.
//!
//! The process writes `ready` to its stdout as soon as it can work. For each line on its stdin it then
//! does its work once, and writes `seconds NUMBER...`. Other lines are ignored, because libraries write to
//! stdout, too. The process ends when its stdin does.

use super::Outcome;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A running process.
pub struct Peer {
    process: Child,
    /// `None` once the process is to end.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Peer {
    /// The command that runs `script` in the Python interpreter `python`. Arguments may be added.
    pub fn python(python: impl AsRef<OsStr>, script: &str) -> Command {
        let mut command = Command::new(python);
        command.args(["-c", script]);
        command
    }

    /// Starts the process, and waits until it is ready.
    pub fn start(command: &mut Command) -> Outcome<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().map_err(|error| {
            format!("{} does not start: {error}", command.get_program().display())
        })?;
        let requests = process.stdin.take();
        let replies = BufReader::new(process.stdout.take().ok_or("the process has no stdout")?);
        let mut peer = Self { process, requests, replies };
        peer.reply("ready")?;
        Ok(peer)
    }

    /// Sends a line, and returns the seconds of its reply.
    pub fn seconds<const N: usize>(&mut self, request: &str) -> Outcome<[f64; N]> {
        let requests = self.requests.as_mut().ok_or("the process has no stdin")?;
        writeln!(requests, "{request}")?;
        requests.flush()?;
        let reply = self.reply("seconds")?;
        let seconds: Result<Vec<f64>, _> = reply.split_whitespace().map(str::parse).collect();
        let seconds = seconds.ok().and_then(|seconds| seconds.try_into().ok());
        seconds.ok_or_else(|| format!("expected {N} numbers of seconds, found {reply:?}").into())
    }

    /// The rest of the next line that begins with `word`.
    fn reply(&mut self, word: &str) -> Outcome<String> {
        let mut line = String::new();
        while self.replies.read_line(&mut line)? > 0 {
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().into());
            }
            line.clear();
        }
        Err(format!("the process ended before it wrote `{word}`; see its messages above").into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Not killed: it has to end processes of its own.
        drop(self.requests.take());
        let _ = self.process.wait();
    }
}
