//! A server on the loopback interface that answers by a script.

// The root's tests use a part of it.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// One answer. Those that send the file name its version `"v1"` and honor Range and If-Range, unless
/// they say otherwise.
#[derive(Clone)]
pub enum Reply {
    Whole,
    /// In pieces, over more time than the tests' time limit.
    Slow,
    /// This many bytes of the body, then the connection is closed.
    Cut(usize),
    /// This many bytes, and then nothing more.
    Stall(usize),
    /// Not even a status.
    Silent,
    NoRanges,
    CutNoRanges(usize),
    /// The file is another version now.
    Etag(&'static str),
    /// Likewise, but the server goes on where it was asked to.
    IgnoreIfRange(&'static str),
    /// To a path on this server.
    Redirect(&'static str),
    /// These bytes, then the connection is closed.
    Raw(Vec<u8>),
}

pub struct Request {
    pub path: String,
    pub range: Option<u64>,
    pub if_range: Option<String>,
}

pub struct Server {
    /// Of a folder.
    pub address: String,
    script: Arc<Script>,
    thread: Option<JoinHandle<()>>,
}

struct Script {
    content: Vec<u8>,
    replies: Vec<Reply>,
    requests: Mutex<Vec<Request>>,
    stopped: AtomicBool,
}

const MOST_REQUESTS: usize = 50;
const LONGEST: Duration = Duration::from_secs(30);

impl Server {
    /// The last reply answers all further requests.
    pub fn new(content: Vec<u8>, replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback");
        let address = listener.local_addr().expect("an address");
        let (requests, stopped) = (Mutex::default(), AtomicBool::new(false));
        let script = Arc::new(Script { content, replies, requests, stopped });
        let shared = script.clone();
        let thread = thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().take(MOST_REQUESTS).flatten() {
                if shared.stopped.load(Ordering::SeqCst) {
                    break;
                }
                let script = shared.clone();
                // A client that hangs up is no failure of the server.
                connections.push(thread::spawn(move || drop(script.serve(stream))));
            }
            drop(listener);
            connections.into_iter().for_each(|thread| thread.join().expect("no panic"));
        });
        Self { address: format!("http://{address}/weights"), script, thread: Some(thread) }
    }

    pub fn requests(&self) -> std::sync::MutexGuard<'_, Vec<Request>> {
        self.script.requests.lock().expect("no panic")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.script.stopped.store(true, Ordering::SeqCst);
        let host = self.address.trim_start_matches("http://").trim_end_matches("/weights");
        // Wakes the listener.
        let _ = TcpStream::connect(host);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Script {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(LONGEST))?;
        stream.set_write_timeout(Some(LONGEST))?;
        let request = read(&stream)?;
        let (range, if_range) = (request.range, request.if_range.clone());
        let reply = {
            let mut requests = self.requests.lock().expect("no panic");
            requests.push(request);
            self.replies[(requests.len() - 1).min(self.replies.len() - 1)].clone()
        };
        let (etag, ranges, most) = match &reply {
            Reply::Whole | Reply::Slow => ("\"v1\"", true, usize::MAX),
            Reply::Cut(most) | Reply::Stall(most) => ("\"v1\"", true, *most),
            Reply::NoRanges => ("\"v1\"", false, usize::MAX),
            Reply::CutNoRanges(most) => ("\"v1\"", false, *most),
            Reply::Etag(etag) | Reply::IgnoreIfRange(etag) => (*etag, true, usize::MAX),
            Reply::Silent => return self.wait(),
            Reply::Redirect(path) => {
                return write!(
                    stream,
                    "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            }
            Reply::Raw(bytes) => {
                stream.write_all(bytes)?;
                return close(stream);
            }
        };
        let same = if_range.is_none_or(|asked| asked == etag);
        let ignores = matches!(reply, Reply::IgnoreIfRange(_));
        let start = range.filter(|_| ranges && (same || ignores));
        let body = &self.content[start.unwrap_or(0) as usize..];
        self.head(&mut stream, start, etag)?;
        let body = &body[..most.min(body.len())];
        if matches!(reply, Reply::Slow) {
            for piece in body.chunks(body.len() / 9) {
                stream.write_all(piece)?;
                thread::sleep(Duration::from_millis(150));
            }
        } else {
            stream.write_all(body)?;
        }
        if matches!(reply, Reply::Stall(_)) { self.wait() } else { close(stream) }
    }

    fn head(&self, stream: &mut TcpStream, start: Option<u64>, etag: &str) -> std::io::Result<()> {
        let total = self.content.len() as u64;
        let length = total - start.unwrap_or(0);
        match start {
            Some(start) => write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{}/{total}\r\n",
                total - 1
            )?,
            None => write!(stream, "HTTP/1.1 200 OK\r\n")?,
        }
        write!(stream, "Content-Length: {length}\r\nETag: {etag}\r\nConnection: close\r\n\r\n")
    }

    /// Until the test is over.
    fn wait(&self) -> std::io::Result<()> {
        let start = Instant::now();
        while !self.stopped.load(Ordering::SeqCst) && start.elapsed() < LONGEST {
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// All that was written arrives, even if the client does not read to the end.
fn close(stream: TcpStream) -> std::io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    stream.take(1 << 16).read_to_end(&mut Vec::new())?;
    Ok(())
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream.take(1 << 16)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().into();
    let mut request = Request { path, range: None, if_range: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        let from = |value: &str| value.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
        match name.to_ascii_lowercase().as_str() {
            "range" => request.range = from(value),
            "if-range" => request.if_range = Some(value.into()),
            _ => {}
        }
    }
    Ok(request)
}
