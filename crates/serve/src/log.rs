//! The log: one line for each request and each event, to standard error. Nothing of a picture is in it.

use alexnet_vgg_core::printable;
use clap::ValueEnum;
use std::fmt::Display;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

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
    let mut line = format!("{} {name}", timestamp());
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

/// The time in UTC, as in RFC 3339.
fn timestamp() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (now.as_secs() / 86_400, now.as_secs() % 86_400);
    let [year, month, day] = date(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
        now.subsec_millis()
    )
}

/// Year, month and day of the day so many days after 1970-01-01, in the Gregorian calendar.
fn date(days: u64) -> [u64; 3] {
    // Counted from 0000-03-01, so that a leap day is the last one of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    [era * 400 + year_of_era + u64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use super::date;

    #[test]
    fn dates_follow_the_calendar() {
        // As by `date -u -d @SECONDS`.
        assert_eq!(date(0), [1970, 1, 1]);
        assert_eq!(date(951_782_400 / 86_400), [2000, 2, 29]);
        assert_eq!(date(951_868_800 / 86_400), [2000, 3, 1]);
        assert_eq!(date(1_798_675_200 / 86_400), [2026, 12, 31]);
        assert_eq!(date(4_107_542_400 / 86_400), [2100, 3, 1]);
    }
}
