//! The log: one line for each request and each event, to standard error. Nothing of a picture is in it.

use alexnet_vgg_core::printable;
use clap::ValueEnum;
use humantime::format_rfc3339_millis;
use std::fmt::Display;
use std::io::Write;
use std::time::SystemTime;

/// What is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// The start, reloads, the end, and what goes wrong.
    Events,
    /// Events, and each request.
    Requests,
}

#[derive(Clone, Copy, Debug)]
pub struct Log {
    level: LogLevel,
}

impl Log {
    pub fn new(level: LogLevel) -> Self {
        Self { level }
    }

    /// Logs an event with its fields.
    pub fn event(self, name: &str, fields: &[(&str, &dyn Display)]) {
        if self.level >= LogLevel::Events {
            write_line(name, fields);
        }
    }

    /// Logs a request.
    pub fn request(self, fields: &[(&str, &dyn Display)]) {
        if self.level >= LogLevel::Requests {
            write_line("request", fields);
        }
    }
}

fn write_line(name: &str, fields: &[(&str, &dyn Display)]) {
    let mut line = format!("{} {name}", format_rfc3339_millis(SystemTime::now()));
    for (key, value) in fields {
        let value = printable(&value.to_string());
        if value.is_empty() || value.contains([' ', '"', '=']) {
            line += &format!(" {key}={value:?}");
        } else {
            line += &format!(" {key}={value}");
        }
    }
    line.push('\n');
    // If that fails, there is no other place to report it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn dates_follow_the_calendar() {
        let date = |seconds| {
            let time = format_rfc3339_millis(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
            time.split('T').next().map(String::from)
        };
        // As by `date -u -d @SECONDS`.
        assert_eq!(date(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date(951_782_400).as_deref(), Some("2000-02-29"));
        assert_eq!(date(951_868_800).as_deref(), Some("2000-03-01"));
        assert_eq!(date(1_798_675_200).as_deref(), Some("2026-12-31"));
        assert_eq!(date(4_107_542_400).as_deref(), Some("2100-03-01"));
    }
}
