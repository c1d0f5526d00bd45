//! The time zone of times that name none: an offset, or a zone with summer time.
//!
//! Not here: reading a text's digits (see [`palisade_events::time`]).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, LocalResult, Offset, TimeZone};
use chrono_tz::Tz;
use palisade_events::time::{Micros, SECOND, parse_rfc3339};

/// Hours that clocks are ever set forward or back at once, and more.
const SHIFT_MAX: Micros = 3 * 3600 * SECOND;

/// A time zone, written as `UTC`, `+02:00` or by its name in the IANA database, `Europe/Berlin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Seconds east of UTC.
    Fixed(i32),
    Named(Tz),
}

impl Default for Zone {
    fn default() -> Self {
        Self(Kind::Fixed(0))
    }
}

/// Says that a text names no time zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no time zone: write `UTC`, an offset such as `+02:00`, or a name such as `Europe/Berlin`")]
pub struct ZoneError(String);

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let offset = || {
            let (sign, rest) = match text.split_at_checked(1)? {
                ("+", rest) => (1, rest),
                ("-", rest) => (-1, rest),
                _ => return None,
            };
            let (hours, minutes) = rest.split_once(':').unwrap_or((rest, "0"));
            let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
            (hours <= 18 && minutes < 60).then_some(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60))
        };
        match text {
            "UTC" | "Z" => Ok(Self::default()),
            _ => match offset() {
                Some(secs) => Ok(Self(Kind::Fixed(secs))),
                None => text.parse().map(|tz| Self(Kind::Named(tz))).map_err(|_| ZoneError(text.to_owned())),
            },
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Fixed(0) => f.write_str("UTC"),
            Kind::Fixed(secs) => {
                let sign = if secs < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", secs.abs() / 3600, secs.abs() / 60 % 60)
            }
            Kind::Named(tz) => f.write_str(tz.name()),
        }
    }
}

impl Zone {
    /// The moment at which clocks of the zone show a time, which is given as if it were UTC's. Of an hour that comes
    /// twice it is the first; an hour that is skipped is read as if clocks had not been set forward yet.
    pub fn moment(&self, shown: Micros) -> Micros {
        match self.0 {
            Kind::Fixed(secs) => shown.saturating_sub(i64::from(secs) * SECOND),
            Kind::Named(tz) => named(tz, shown).unwrap_or(shown),
        }
    }

    /// Reads an RFC 3339 time that may name no zone: then it is this one's.
    pub fn parse(&self, text: &str) -> Option<Micros> {
        let text = text.trim();
        parse_rfc3339(text).or_else(|| Some(self.moment(parse_rfc3339(&format!("{text}Z"))?)))
    }
}

fn named(tz: Tz, shown: Micros) -> Option<Micros> {
    let local = DateTime::from_timestamp_micros(shown)?.naive_utc();
    let secs = match tz.offset_from_local_datetime(&local) {
        LocalResult::Single(offset) | LocalResult::Ambiguous(offset, _) => offset.fix().local_minus_utc(),
        LocalResult::None => {
            let before = DateTime::from_timestamp_micros(shown.checked_sub(SHIFT_MAX)?)?.naive_utc();
            tz.offset_from_local_datetime(&before).earliest()?.fix().local_minus_utc()
        }
    };
    shown.checked_sub(i64::from(secs) * SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_become_moments() {
        for (zone, local, moment) in [
            ("UTC", "2026-07-01T12:00:00", "2026-07-01T12:00:00Z"),
            ("+02:00", "2026-07-01 12:00:00.5", "2026-07-01T10:00:00.5Z"),
            ("-09:30", "2026-07-01T12:00:00", "2026-07-01T21:30:00Z"),
            ("Europe/Berlin", "2026-07-01T12:00:00", "2026-07-01T10:00:00Z"),
            ("Europe/Berlin", "2026-01-01T12:00:00", "2026-01-01T11:00:00Z"),
            // Comes twice: the first one, in summer time.
            ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            // Is skipped: half an hour after clocks were set forward.
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:30:00Z"),
            // A time that names its zone keeps it.
            ("Europe/Berlin", "2026-07-01T12:00:00Z", "2026-07-01T12:00:00Z"),
        ] {
            let zone: Zone = zone.parse().unwrap();
            assert_eq!(zone.parse(local), parse_rfc3339(moment), "{zone} {local}");
        }
    }

    #[test]
    fn zones_are_written_as_they_are_read() {
        for text in ["UTC", "+02:00", "-09:30", "Europe/Berlin"] {
            assert_eq!(text.parse::<Zone>().unwrap().to_string(), text);
        }
        for wrong in ["", "CEST!", "+99:00", "+", "Europe/Nowhere", "é"] {
            assert!(wrong.parse::<Zone>().is_err(), "{wrong}");
        }
    }
}
