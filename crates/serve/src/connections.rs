//! Connections: accepted within limits, and ended gracefully.

use crate::reload::reload_now;
use crate::router::router;
use crate::service::Service;
use crate::signals::{Signals, Wish};
use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_service::Service as _;

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// How long connections are still accepted after the signal to end: clients that are connecting are answered, and those
/// that keep a connection are told that it closes.
const LINGER: Duration = Duration::from_millis(250);

/// Serves until a signal ends it, and all accepted requests are answered.
pub async fn serve(service: Arc<Service>) -> Result<(), String> {
    let address = service.options.addr;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| {
        format!("cannot listen on {address}: {error}; choose another address with --addr, such as 127.0.0.1:0")
    })?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let mut signals = Signals::new().map_err(|error| format!("signals: {error}"))?;
    let server = Server::new(service.clone());
    service.log.event("listening", &[("address", &format_args!("http://{address}"))]);
    loop {
        tokio::select! {
            () = server.accept(&listener) => {}
            wish = signals.next() => match wish {
                Wish::End => break,
                Wish::Reload => { tokio::spawn(reload_now(service.clone())); }
            },
        }
    }
    service.begin_to_drain();
    service.log.event("draining", &[]);
    let drain = async {
        let linger = async {
            loop {
                server.accept(&listener).await
            }
        };
        let _ = tokio::time::timeout(LINGER, linger).await;
        drop(listener);
        server.graceful.shutdown().await;
        let of_thread = service.clone();
        tokio::task::spawn_blocking(move || of_thread.networks.drain()).await
    };
    let limit = Duration::from_secs_f64(service.options.drain_timeout);
    let drained = tokio::select! {
        drained = tokio::time::timeout(limit, drain) => drained.is_ok_and(|drained| drained.is_ok()),
        // Who asks again does not want to wait.
        () = async { while signals.next().await != Wish::End {} } => false,
    };
    let counters = service.metrics.lock().clone();
    let answered: u64 = counters.answers.values().sum();
    service.log.event(
        "ended",
        &[
            ("requests", &counters.requests_begun),
            ("answered", &answered),
            ("left", &counters.left),
        ],
    );
    if drained { Ok(()) } else { Err("ended before all requests were answered".into()) }
}

struct Server {
    service: Arc<Service>,
    router: Router,
    http: http1::Builder,
    graceful: GracefulShutdown,
    /// A permit for each connection that there may be.
    permits: Arc<Semaphore>,
}

impl Server {
    fn new(service: Arc<Service>) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new());
        http.header_read_timeout(Duration::from_secs_f64(service.options.header_timeout));
        let permits = Arc::new(Semaphore::new(service.options.max_connections));
        let router = router(service.clone());
        Self { service, router, http, graceful: GracefulShutdown::new(), permits }
    }

    /// Accepts a connection as soon as there may be one more.
    async fn accept(&self, listener: &TcpListener) {
        let Ok(permit) = self.permits.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => self.spawn(stream, Peer(address), permit),
            Err(error) => {
                // Such as too many open files. Others will be closed meanwhile.
                self.service.log.event("accept_failed", &[("error", &error)]);
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: Peer, permit: OwnedSemaphorePermit) {
        // Answers are written at once. Without it, they are only later.
        let _ = stream.set_nodelay(true);
        let router = self.router.clone();
        let answer = move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.clone().call(request.map(Body::new))
        };
        let answer = hyper::service::service_fn(answer);
        let connection = self.http.serve_connection(TokioIo::new(stream), answer);
        let connection = self.graceful.watch(connection);
        let service = self.service.clone();
        tokio::spawn(async move {
            service.metrics.lock().connections += 1;
            // Errors are the client's: it left, was too slow, or does not speak HTTP.
            let _ = connection.await;
            service.metrics.lock().connections -= 1;
            drop(permit);
        });
    }
}
