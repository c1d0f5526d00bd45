//! Event time: microseconds since the epoch, UTC, and the reading and writing of its texts.
//!
//! Not here: the current time. Clocks are parameters, handed in by the program.

use arrow::temporal_conversions::timestamp_us_to_datetime;

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// One second in [`Micros`].
pub const SECOND: Micros = 1_000_000;

/// One day in [`Micros`].
pub const DAY: Micros = 86_400 * SECOND;

/// Reads an RFC 3339 time (`2026-01-31T23:59:59.123456789Z`, any number of fraction digits, any offset).
///
/// Digits past the microsecond are cut, not rounded; the exact text is kept beside the event. `None` if it is no such
/// time.
pub fn parse_rfc3339(text: &str) -> Option<Micros> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = number(&bytes[0..4])?;
    let month = number(&bytes[5..7])?;
    let day = number(&bytes[8..10])?;
    let (hour, minute, second) = (number(&bytes[11..13])?, number(&bytes[14..16])?, number(&bytes[17..19])?);
    // A leap second is folded into the second before it, as in POSIX time.
    if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction, zone) = split_fraction(&bytes[19..])?;
    let offset_secs = parse_zone(zone)?;
    let secs = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second.min(59) - offset_secs;
    Some(secs * SECOND + fraction)
}

/// Writes a time as RFC 3339 with six fraction digits and `Z`.
pub fn format_rfc3339(time: Micros) -> String {
    timestamp_us_to_datetime(time)
        .map_or_else(|| format!("{time}us"), |t| t.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

/// The UTC date of a time, `2026-01-31`: the partition column of the lake.
pub fn date_of(time: Micros) -> String {
    timestamp_us_to_datetime(time).map_or_else(|| "1970-01-01".into(), |t| t.format("%Y-%m-%d").to_string())
}

fn split_fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    if !matches!(rest.first(), Some(b'.' | b',')) {
        return Some((0, rest));
    }
    let digits = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        let digit = if place < digits { i64::from(rest[1 + place] - b'0') } else { 0 };
        micros = micros * 10 + digit;
    }
    Some((micros, &rest[1 + digits..]))
}

fn parse_zone(zone: &[u8]) -> Option<i64> {
    match zone {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), rest @ ..] => {
            let (hours, minutes) = match rest {
                [h1, h2, b':', m1, m2] | [h1, h2, m1, m2] => (number(&[*h1, *h2])?, number(&[*m1, *m2])?),
                _ => return None,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            let secs = hours * 3600 + minutes * 60;
            Some(if *sign == b'-' { -secs } else { secs })
        }
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0i64, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date. Source: H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_formats_are_read() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2024-02-29T21:59:13.832049033Z", Some(1_709_243_953_832_049)),
            ("2022-05-11T12:54:45.616Z", Some(1_652_273_685_616_000)),
            ("2022-05-11T14:54:45.616+02:00", Some(1_652_273_685_616_000)),
            ("2022-05-11T14:54:45.6+0200", Some(1_652_273_685_600_000)),
            ("1969-12-31T23:59:59.999999Z", Some(-1)),
            ("2023-02-29T00:00:00Z", None),
            ("2023-01-01T24:00:00Z", None),
            ("2023-01-01T00:00:00", None),
            ("2023-01-01T00:00:00.Z", None),
            ("null", None),
        ] {
            assert_eq!(parse_rfc3339(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn written_times_read_back(time in -62_000_000_000_000_000i64..250_000_000_000_000_000) {
            proptest::prop_assert_eq!(parse_rfc3339(&format_rfc3339(time)), Some(time));
        }
    }
}
