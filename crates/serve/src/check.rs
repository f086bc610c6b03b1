//! `--check URL`: asks a service whether it is ready, for containers that have no other program.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(5);

/// `Ok` if the service at an address such as `http://127.0.0.1:8080` is ready.
pub fn is_ready(url: &str) -> Result<(), String> {
    let host = url.strip_prefix("http://").and_then(|rest| rest.split('/').next());
    let host = host.filter(|host| !host.is_empty()).ok_or_else(|| {
        format!("--check: expected http://HOST:PORT, found {}", alexnet_vgg_core::printable(url))
    })?;
    let address = if host.contains(':') { host.to_string() } else { format!("{host}:80") };
    let ask = || -> std::io::Result<String> {
        let mut addresses = address.to_socket_addrs()?;
        let first = addresses.next().ok_or(std::io::ErrorKind::NotFound)?;
        let mut stream = TcpStream::connect_timeout(&first, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "GET /readyz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("{url}: {error}"))?;
    let status = answer.lines().next().unwrap_or("nothing");
    if status.contains(" 200 ") { Ok(()) } else { Err(format!("{url} is not ready: {status}")) }
}
