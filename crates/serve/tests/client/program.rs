//! The program itself, started for a test or a measurement.

#![allow(dead_code)]

use super::client::{Client, Response};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A running service. It is killed when this is dropped.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

pub const PATH: &str = env!("CARGO_BIN_EXE_alexnet-vgg-serve");

impl Program {
    /// Starts it with these arguments on a free port, and waits until it listens.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_at(PATH, arguments)
    }

    pub fn start_at(path: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(path)
            .args(["--addr", "127.0.0.1:0"])
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut first = Vec::new();
        let address = loop {
            let line = lines.next().unwrap_or_else(|| panic!("it ended: {first:?}"));
            let line = line.expect("text");
            let address = line.split_once(" listening address=http://").map(|(_, it)| it.parse());
            first.push(line);
            if let Some(address) = address {
                break address.expect("an address");
            }
        };
        let log = Arc::new(Mutex::new(first));
        let of_thread = log.clone();
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                of_thread.lock().expect("no panic").push(line);
            }
        });
        Self { child, address, log, reader: Some(reader) }
    }

    pub fn client(&self) -> Client {
        Client::connect(self.address).expect("a connection")
    }

    /// One request on a connection of its own.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.client().send(method, path, headers, body).expect("an answer")
    }

    pub fn get(&self, path: &str) -> Response {
        self.send("GET", path, &[], &[])
    }

    /// A picture as it is.
    pub fn classify(&self, query: &str, picture: &[u8]) -> Response {
        self.send("POST", &format!("/v1/classify{query}"), &[], picture)
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status().expect("kill");
        assert!(sent.success());
    }

    /// Waits until it has ended; its exit status and its log.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().expect("it ends");
        self.reader.take().expect("running").join().expect("no panic");
        let log = self.log.lock().expect("no panic").clone();
        (status, log)
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    /// The value of a metric with its labels, or the sum over all labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.get("/metrics").text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("alexnet_vgg_")?.strip_prefix(name)?;
            let value = rest.rsplit(' ').next()?;
            rest.starts_with([' ', '{']).then(|| value.parse::<f64>().expect("a number"))
        });
        values.sum()
    }

    /// Memory in use, in bytes.
    pub fn resident(&self) -> f64 {
        self.metric("resident_memory_bytes")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
