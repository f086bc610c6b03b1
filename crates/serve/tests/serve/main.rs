//! The program over loopback: right answers, wrong requests, slow and vanishing clients, full queues, signals.
#![cfg(unix)]

#[path = "../client/mod.rs"]
mod client;
#[path = "../client/program.rs"]
mod program;

mod answers;
mod ends;
mod limits;
mod networks;
mod refusals;
mod reloads;
