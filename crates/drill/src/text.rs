//! Writing numbers, times and escaped text into a buffer without allocating.
//!
//! Not here: what is written (see `audit`, `falco` and `auditd`).

use palisade_events::time::{DAY, Micros, SECOND, format_rfc3339};

use crate::random::Random;

/// Writes times, remembering the date of the day it last wrote: consecutive times mostly share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calendar {
    day: Option<i64>,
    date: String,
}

impl Calendar {
    /// `2026-01-31T23:59:59.123456Z`, as Kubernetes writes.
    pub(crate) fn micros(&mut self, out: &mut String, time: Micros) {
        self.seconds_part(out, time);
        out.push('.');
        digits(out, time.rem_euclid(SECOND) as u64, 6);
        out.push('Z');
    }

    /// `2026-01-31T23:59:59Z`.
    pub(crate) fn seconds(&mut self, out: &mut String, time: Micros) {
        self.seconds_part(out, time);
        out.push('Z');
    }

    /// `2026-01-31T23:59:59.123456789Z`, as Falco writes; `nanos` are the three digits past the microsecond.
    pub(crate) fn nanos(&mut self, out: &mut String, time: Micros, nanos: u64) {
        self.seconds_part(out, time);
        out.push('.');
        digits(out, time.rem_euclid(SECOND) as u64, 6);
        digits(out, nanos, 3);
        out.push('Z');
    }

    fn seconds_part(&mut self, out: &mut String, time: Micros) {
        let day = time.div_euclid(DAY);
        if self.day != Some(day) {
            self.day = Some(day);
            self.date = format_rfc3339(day * DAY).chars().take(11).collect();
        }
        out.push_str(&self.date);
        clock(out, time);
    }
}

/// `23:59:59` of a time.
pub(crate) fn clock(out: &mut String, time: Micros) {
    let secs = (time.rem_euclid(DAY) / SECOND) as u64;
    digits(out, secs / 3600, 2);
    out.push(':');
    digits(out, secs / 60 % 60, 2);
    out.push(':');
    digits(out, secs % 60, 2);
}

/// A number with exactly `width` digits, its leading ones cut or filled with zeros.
pub(crate) fn digits(out: &mut String, number: u64, width: usize) {
    let mut buffer = [b'0'; 20];
    let mut rest = number;
    for place in (0..width.min(20)).rev() {
        buffer[place] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    push_ascii(out, &buffer[..width.min(20)]);
}

/// A number without leading zeros.
pub(crate) fn number(out: &mut String, number: u64) {
    let width = number.checked_ilog10().map_or(1, |log| log as usize + 1);
    digits(out, number, width);
}

/// A number in lower-case hexadecimal, `width` digits wide.
pub(crate) fn hex(out: &mut String, number: u64, width: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut buffer = [b'0'; 16];
    let mut rest = number;
    for place in (0..width.min(16)).rev() {
        buffer[place] = DIGITS[(rest & 15) as usize];
        rest >>= 4;
    }
    push_ascii(out, &buffer[..width.min(16)]);
}

/// A random UUID of version 4.
pub(crate) fn uuid(out: &mut String, random: &mut Random) {
    uuid_of(out, random.next(), random.next());
}

/// The UUID of version 4 that carries these bits.
pub(crate) fn uuid_of(out: &mut String, high: u64, low: u64) {
    hex(out, high >> 32, 8);
    out.push('-');
    hex(out, high >> 16 & 0xffff, 4);
    out.push_str("-4");
    hex(out, high & 0xfff, 3);
    out.push('-');
    hex(out, low >> 48 & 0x3fff | 0x8000, 4);
    out.push('-');
    hex(out, low & 0xffff_ffff_ffff, 12);
}

/// Text inside a JSON string, escaped as JSON demands and no further, which is how Falco writes.
pub(crate) fn json(out: &mut String, text: &str) {
    for c in text.chars() {
        json_char(out, c);
    }
}

/// Text inside a JSON string, escaped as Go does for the safety of HTML, which is how the API server writes.
pub(crate) fn go_json(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("\\u0026"),
            '<' => out.push_str("\\u003c"),
            '>' => out.push_str("\\u003e"),
            c => json_char(out, c),
        }
    }
}

fn json_char(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\t' => out.push_str("\\t"),
        c if (c as u32) < 0x20 => {
            out.push_str("\\u");
            hex(out, u64::from(c as u32), 4);
        }
        c => out.push(c),
    }
}

/// Text inside a JSON string; most has nothing to escape.
pub(crate) fn plain(out: &mut String, text: &str) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push_str(text);
    } else {
        json(out, text);
    }
}

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// A number that belongs to some bytes: FNV-1a.
pub(crate) fn fnv(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let bytes = bytes.into_iter();
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Some random letters and digits of the alphabet that Kubernetes uses for generated names.
pub(crate) fn suffix(random: &mut Random, length: usize) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..length).map(|_| char::from(*random.pick(LETTERS))).collect()
}

fn push_ascii(out: &mut String, bytes: &[u8]) {
    // Only digits are in there: the check is short, and cannot fail.
    out.push_str(std::str::from_utf8(bytes).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_back() {
        let mut calendar = Calendar::default();
        for time in [0, -1, 1_709_243_953_832_049, 1_772_409_600_000_000, 1_772_409_599_999_999] {
            let mut out = String::new();
            calendar.micros(&mut out, time);
            assert_eq!(out, format_rfc3339(time));
        }
    }

    #[test]
    fn numbers_and_text_are_written_as_json_expects() {
        let mut out = String::new();
        for n in [0, 9, 10, u64::MAX] {
            number(&mut out, n);
            out.push(' ');
        }
        go_json(&mut out, "a\"b\\c&d\u{1}");
        assert_eq!(out, "0 9 10 18446744073709551615 a\\\"b\\\\c\\u0026d\\u0001");
    }
}
