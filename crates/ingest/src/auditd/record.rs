//! One audit record: its stamp, and its fields as places in its text.
//!
//! Not here: how records make an event ([`super::assembly`]), and what its columns are ([`super::event`]).

use std::borrow::Cow;
use std::ops::Range;

use palisade_events::time::{Micros, SECOND, parse_rfc3339};

use super::kinds::{Role, kind};
use crate::redact::{RedactionCounts, Redactor};
use crate::zone::Zone;

/// A record that has a stamp.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    text: String,
    pub(super) kind: Cow<'static, str>,
    pub(super) role: Role,
    node: Range<usize>,
    stamp: Range<usize>,
    pub(super) time: Micros,
    pub(super) serial: u32,
    body: usize,
    fields: Vec<Field>,
}

/// One `key=value` of a record.
#[derive(Clone, Debug, PartialEq)]
struct Field {
    key: Range<usize>,
    value: Range<usize>,
    quoted: bool,
}

/// A value as it is meant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'r> {
    /// `(null)`.
    Null,
    /// Anything else, decoded.
    Text(Cow<'r, str>),
}

/// Why a text is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// There is no `type=` with an `audit(` stamp after it.
    NoRecord,
    /// The stamp is not a time and a serial.
    BadStamp,
}

/// Keys whose values are written in hexadecimal when they hold a space, a quote or a control character. Elsewhere an
/// unquoted run of digits is a number or a name.
const ENCODED: &[&str] = &[
    "acct",
    "cgroup",
    "cmd",
    "comm",
    "cwd",
    "data",
    "device",
    "dir",
    "exe",
    "file",
    "grp",
    "info",
    "key",
    "lname",
    "module",
    "name",
    "new-chardev",
    "new-disk",
    "new-fs",
    "new_group",
    "ocomm",
    "old-chardev",
    "old-disk",
    "old-fs",
    "operation",
    "path",
    "peer",
    "proctitle",
    "profile",
    "root_dir",
    "sw",
    "vm",
    "watch",
];

impl Record {
    /// Reads a record. `zone` is that of stamps that were interpreted into dates.
    pub(super) fn parse(text: String, zone: Zone) -> Result<Self, (Unread, String)> {
        let Some((head, open)) = find_head(&text) else { return Err((Unread::NoRecord, text)) };
        let Some(length) = text[open..].find(')') else { return Err((Unread::BadStamp, text)) };
        let stamp = open..open + length;
        let Some((time, serial)) = parse_stamp(&text[stamp.clone()], zone) else {
            return Err((Unread::BadStamp, text));
        };
        let (kind, role) = kind(&text[head.kind]);
        let body = stamp.end + 1;
        let mut fields = Vec::with_capacity(24);
        find_fields(&text, body..text.len(), Nesting::Outer, &mut fields);
        Ok(Self { kind, role, node: head.node, stamp, time, serial, body, fields, text })
    }

    /// Replaces secrets: in the text as a whole, in values written in hexadecimal, and in arguments, which only together
    /// show what is one. The text stays one that reads back to the redacted values.
    pub(super) fn redact(self, redactor: &Redactor, counts: &mut RedactionCounts) -> Self {
        let record = self.redact_head(redactor, counts);
        if record.kind == "EXECVE" {
            let arguments: Vec<&Field> =
                record.fields.iter().filter(|f| is_argument(&record.text[f.key.clone()])).collect();
            let values = redact_arguments(&record.argument_parts(&arguments), redactor, counts);
            let replaced: Vec<_> = arguments.into_iter().zip(values).filter_map(|(f, v)| Some((f, v?))).collect();
            let text = record.with_values(&replaced);
            return record.reread(text);
        }
        let text = match redactor.text(record.body(), counts) {
            Cow::Owned(body) => Some(format!("{}{body}", &record.text[..record.body])),
            Cow::Borrowed(_) => None,
        };
        let record = record.reread(text);
        let mut replaced = Vec::new();
        for field in record.fields.iter().filter(|f| !f.quoted && record.is_encoded(f)) {
            if let Value::Text(Cow::Owned(value)) = record.value(field)
                && let Cow::Owned(changed) = redactor.text(&value, counts)
            {
                replaced.push((field, changed));
            }
        }
        let text = record.with_values(&replaced);
        record.reread(text)
    }

    /// Takes a secret out of what stands before the stamp, by leaving nothing there but what the record is known by.
    fn redact_head(self, redactor: &Redactor, counts: &mut RedactionCounts) -> Self {
        if matches!(redactor.text(&self.text[..self.stamp.start], counts), Cow::Borrowed(_)) {
            return self;
        }
        let node = redactor.text(self.node(), &mut RedactionCounts::default()).into_owned();
        let start = if node.is_empty() { String::new() } else { format!("node={node} ") };
        let head = format!("{start}type={} msg=audit(", self.kind);
        let node = if node.is_empty() { 0..0 } else { 5..5 + node.len() };
        let stamp = head.len()..head.len() + self.stamp.len();
        let body = head.len() + self.body - self.stamp.start;
        let text = format!("{head}{}", &self.text[self.stamp.start..]);
        Self { node, stamp, body, ..self }.reread(Some(text))
    }

    /// The same record with another text that differs only behind the stamp, or begins as the record says.
    fn reread(self, text: Option<String>) -> Self {
        let Some(text) = text else { return self };
        let mut fields = Vec::with_capacity(self.fields.len());
        find_fields(&text, self.body..text.len(), Nesting::Outer, &mut fields);
        Self { text, fields, ..self }
    }

    /// The arguments' values, and whether each goes on with the one before it.
    fn argument_parts(&self, arguments: &[&Field]) -> Vec<(Cow<'_, str>, bool)> {
        let mut last = None;
        let part = |field: &&Field| {
            let number = argument_number(&self.text[field.key.clone()]);
            let goes_on = number == std::mem::replace(&mut last, number);
            match self.value(field) {
                Value::Text(text) => (text, goes_on),
                Value::Null => ("(null)".into(), goes_on),
            }
        };
        arguments.iter().map(part).collect()
    }

    /// The text with other values; `None` if there are none.
    fn with_values(&self, replaced: &[(&Field, String)]) -> Option<String> {
        let mut text = String::with_capacity(self.text.len());
        let mut from = 0;
        for (field, value) in replaced {
            let quotes = usize::from(field.quoted);
            text.push_str(&self.text[from..field.value.start - quotes]);
            text.push_str(&encode(value));
            from = field.value.end + quotes;
        }
        text.push_str(&self.text[from..]);
        (!replaced.is_empty()).then_some(text)
    }

    /// The whole record, secrets replaced.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The node that the record names; empty if none.
    pub(super) fn node(&self) -> &str {
        &self.text[self.node.clone()]
    }

    /// The stamp, `1481077308.360:529`.
    pub(super) fn stamp(&self) -> &str {
        &self.text[self.stamp.clone()]
    }

    /// What follows the stamp.
    pub(super) fn body(&self) -> &str {
        &self.text[self.body..]
    }

    /// All fields in order, values decoded.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.fields.iter().map(|field| (&self.text[field.key.clone()], self.value(field)))
    }

    /// The first value of a key that is there and says something: not `(null)`, `(none)` or `?`.
    pub(super) fn get(&self, key: &str) -> Option<Cow<'_, str>> {
        self.fields.iter().filter(|f| &self.text[f.key.clone()] == key).find_map(|field| match self.value(field) {
            Value::Text(text) if !matches!(text.as_ref(), "" | "?" | "(none)") => Some(text),
            _ => None,
        })
    }

    /// The pieces of the arguments: number, decoded bytes.
    pub(super) fn arguments(&self) -> impl Iterator<Item = (u32, Vec<u8>)> {
        self.fields.iter().filter_map(|field| {
            let number = argument_number(&self.text[field.key.clone()])?;
            let raw = &self.text[field.value.clone()];
            let bytes = if field.quoted { None } else { decode_hex(raw) };
            Some((number, bytes.unwrap_or_else(|| raw.as_bytes().to_vec())))
        })
    }

    fn is_encoded(&self, field: &Field) -> bool {
        let key = &self.text[field.key.clone()];
        ENCODED.binary_search(&key).is_ok() || (self.kind == "EXECVE" && is_argument(key))
    }

    fn value(&self, field: &Field) -> Value<'_> {
        let raw = &self.text[field.value.clone()];
        if field.quoted {
            return Value::Text(raw.into());
        }
        if raw == "(null)" {
            return Value::Null;
        }
        match self.is_encoded(field).then(|| decode_hex(raw)).flatten() {
            Some(bytes) => {
                let mut text =
                    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into());
                // Arguments in a title are separated by NUL, and padded with it.
                if &self.text[field.key.clone()] == "proctitle" {
                    text = text.trim_end_matches('\0').replace('\0', " ");
                }
                Value::Text(text.into())
            }
            None => Value::Text(raw.into()),
        }
    }
}

struct Head {
    kind: Range<usize>,
    node: Range<usize>,
}

/// Finds the type, the node, and where the stamp begins. Anything may stand before, such as a syslog header.
fn find_head(text: &str) -> Option<(Head, usize)> {
    let stamp = text.find("audit(")?;
    let head = &text[..stamp];
    let word = |name: &str| {
        let begins = |at: &usize| *at == 0 || head.as_bytes()[at - 1] == b' ';
        let at = head.match_indices(name).map(|(at, _)| at).filter(begins).last()?;
        let start = at + name.len();
        let length = head[start..].find(' ').unwrap_or(head.len() - start);
        (length > 0).then_some(start..start + length)
    };
    Some((Head { kind: word("type=")?, node: word("node=").unwrap_or(0..0) }, stamp + "audit(".len()))
}

/// Reads `1481077308.360:529`, or the interpreted `12/07/2016 02:21:48.360:529`.
fn parse_stamp(stamp: &str, zone: Zone) -> Option<(Micros, u32)> {
    let (time, serial) = stamp.rsplit_once(':')?;
    let serial = serial.parse().ok()?;
    if let Some((secs, fraction)) = time.split_once('.')
        && secs.bytes().all(|b| b.is_ascii_digit())
    {
        // Eleven digits reach the year 5138; more would not fit what the lake can store.
        if secs.is_empty() || secs.len() > 11 || fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let mut digits = fraction.bytes().map(|b| i64::from(b - b'0')).chain(std::iter::repeat(0));
        let micros = digits.by_ref().take(6).fold(0, |n, digit| n * 10 + digit);
        return Some((secs.parse::<i64>().ok()? * SECOND + micros, serial));
    }
    let (date, clock) = time.split_once(' ')?;
    let mut parts = date.split('/');
    let (month, day, year) = (parts.next()?, parts.next()?, parts.next()?);
    let century = if year.len() == 2 { "20" } else { "" };
    let local = parse_rfc3339(&format!("{century}{year}-{month:0>2}-{day:0>2}T{clock}Z"))?;
    Some((zone.moment(local), serial))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Nesting {
    Outer,
    /// Inside `msg='…'`, where older programs put parentheses and commas around their fields.
    Inner,
}

/// The kernel's separator between a record and what the daemon added to it.
const ENRICHED: u8 = 0x1d;

fn find_fields(text: &str, within: Range<usize>, nesting: Nesting, fields: &mut Vec<Field>) {
    let bytes = text.as_bytes();
    let (mut at, end) = (within.start, within.end);
    let mut word = at..at;
    let is_gap = |b: u8| b == b' ' || b == ENRICHED || b == b'\n' || b == b'\t';
    while at < end {
        if is_gap(bytes[at]) || bytes[at] == b'(' {
            at += 1;
            continue;
        }
        let start = at;
        while at < end && bytes[at] != b'=' && !is_gap(bytes[at]) {
            at += 1;
        }
        if at >= end || bytes[at] != b'=' {
            word = start..at;
            continue;
        }
        // Old kernels wrote `old auid=… new auid=…`: the word belongs to the key.
        let is_twin = matches!(&bytes[word.clone()], b"old" | b"new") && word.end + 1 == start;
        let first = if is_twin { word.start } else { start };
        let (name, key) = (start..at, first..at);
        at += 1;
        if name.is_empty() || !bytes[name].iter().all(|b| b.is_ascii_alphanumeric() || b"_-.[]".contains(b)) {
            continue;
        }
        match bytes.get(at).filter(|_| at < end) {
            Some(b'"') => {
                if let Some(length) = memchr::memchr(b'"', &bytes[at + 1..end]) {
                    fields.push(Field { key, value: at + 1..at + 1 + length, quoted: true });
                    at += length + 2;
                    continue;
                }
            }
            Some(b'\'') if nesting == Nesting::Outer => {
                let stop = memchr::memchr(ENRICHED, &bytes[at..end]).map_or(end, |n| at + n);
                if let Some(length) = memchr::memrchr(b'\'', &bytes[at + 1..stop]) {
                    let inner = at + 1..at + 1 + length;
                    fields.push(Field { key, value: inner.clone(), quoted: true });
                    find_fields(text, inner, Nesting::Inner, fields);
                    at += length + 2;
                    continue;
                }
            }
            _ => {}
        }
        let start = at;
        // Some copies of enriched records lost the separator that stood after this.
        let null = bytes[at..end].starts_with(b"(null)");
        at += if null { b"(null)".len() } else { 0 };
        while at < end && !null && !is_gap(bytes[at]) {
            at += 1;
        }
        let mut value = start..at;
        let closes = nesting == Nesting::Inner && !bytes[value.clone()].contains(&b'(');
        while value.end > value.start && (bytes[value.end - 1] == b',' || closes && bytes[value.end - 1] == b')') {
            value.end -= 1;
        }
        fields.push(Field { key, value, quoted: false });
    }
}

/// Redacts arguments together; gives the new value of each that changed.
fn redact_arguments(
    parts: &[(Cow<'_, str>, bool)],
    redactor: &Redactor,
    counts: &mut RedactionCounts,
) -> Vec<Option<String>> {
    let mut joined = String::new();
    let mut ends = Vec::with_capacity(parts.len());
    for (place, (value, goes_on)) in parts.iter().enumerate() {
        if place > 0 && !goes_on {
            joined.push(' ');
        }
        joined.push_str(value);
        ends.push(joined.len());
    }
    if matches!(redactor.text(&joined, counts), Cow::Borrowed(_)) {
        return vec![None; parts.len()];
    }
    // What an argument became is what the line grew by when it was added. Only lines that hold a secret come here.
    let mut before = String::new();
    let mut uncounted = RedactionCounts::default();
    let mut values = Vec::with_capacity(parts.len());
    for (place, (value, goes_on)) in parts.iter().enumerate() {
        let line = redactor.text(&joined[..ends[place]], &mut uncounted);
        let grown = line.strip_prefix(before.as_str()).and_then(|rest| match place > 0 && !goes_on {
            true => rest.strip_prefix(' '),
            false => Some(rest),
        });
        // A secret that goes over several arguments changes what stood before: all that belongs to it is taken out.
        let changed = grown.map_or_else(|| redactor.text(value, &mut uncounted).into_owned(), str::to_owned);
        values.push((changed != *value).then_some(changed));
        before = line.into_owned();
    }
    values
}

/// Whether a key names an argument or a piece of one: `a0`, `a1[0]`.
fn is_argument(key: &str) -> bool {
    argument_number(key).is_some()
}

fn argument_number(key: &str) -> Option<u32> {
    let rest = key.strip_prefix('a')?;
    let digits = match rest.split_once('[') {
        Some((digits, piece)) => {
            piece.strip_suffix(']')?.parse::<u32>().ok()?;
            digits
        }
        None => rest,
    };
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Decodes the digits that the kernel writes: pairs, in upper case.
pub(super) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    };
    if text.is_empty() || text.len() % 2 == 1 {
        return None;
    }
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Writes a value as the kernel does: quoted if that is unambiguous, else in hexadecimal.
fn encode(value: &str) -> String {
    if value.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        return format!("\"{value}\"");
    }
    value.bytes().fold(String::with_capacity(2 * value.len()), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
        }
        text
    })
}

#[cfg(test)]
mod tests;
