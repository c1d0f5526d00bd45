//! Keywords against a payload as it is written, which tells of most rows that no keyword can hold without parsing them.
//!
//! JSON writes a text as it is but for escapes. Where a payload has only the short escapes, a keyword stands in it in
//! one spelling, which is sought here beside the keyword itself: a payload may turn out to be no JSON, and then counts as
//! it is, with some columns. A row where either is found, or with other escapes, is read in full.

use std::cell::Cell;
use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

use super::program::Hits;
use super::scan::{Scan, ScanDraft};
use crate::json::is_plain;
use crate::predicate::Predicate;
use crate::text::{fold, fold_into};

/// What tells which of the watched keywords may hold.
#[derive(Debug)]
pub(crate) struct PayloadScan {
    scan: Scan,
    watched: Vec<u32>,
}

impl PayloadScan {
    /// Compiles the watched atoms of keywords; `None` when some may hold where the payload does not have them as they are.
    pub(super) fn new(atoms: &[Vec<Predicate>], watched: &[u32]) -> Option<Self> {
        let mut draft = ScanDraft::default();
        for atom in watched {
            for test in atoms.get(*atom as usize).into_iter().flatten() {
                let Predicate::Contains(_, literal) = test else { return None };
                // A line break may stand between two values; digits may be of a number that is written in another way.
                // Other values that are no strings would not be told from keys.
                let is_numeric = literal.chars().all(|c| c.is_ascii_digit() || "+-.e".contains(c));
                let is_flag = ["true", "false"].iter().any(|flag| flag.contains(&*fold(literal)));
                if is_numeric || is_flag || literal.contains('\n') {
                    return None;
                }
                let own = fold(literal);
                let written = escaped(&own);
                if written != own {
                    draft.add(&written, *atom);
                }
                draft.add(&own, *atom);
            }
        }
        draft.compile().map(|scan| Self { scan, watched: watched.into() })
    }

    /// Adds the atoms that may hold for the values of a payload, of which it is known or not that it is JSON.
    pub(crate) fn payload(&self, payload: &str, kind: Payload, buffer: &mut String, hits: &mut Hits) {
        let is_object = payload.starts_with('{');
        let known = is_object && kind == Payload::Json;
        if has_short_escapes_only(payload) {
            if !is_object {
                return self.text(payload, buffer, hits);
            }
            fold_into(payload, buffer);
            if self.values(buffer, hits) && !known && !is_plain(payload) {
                // Its keys are as good as its values.
                self.scan.hits(buffer.as_bytes(), hits);
            }
            return;
        }
        match shortened(payload).filter(|_| known || (is_object && is_plain(payload))) {
            Some(text) => {
                fold_into(&text, buffer);
                self.values(buffer, hits);
            }
            None => hits.add(&self.watched),
        }
    }

    /// Adds the atoms found in what is no key of folded JSON; tells whether something was found in a key.
    fn values(&self, folded: &str, hits: &mut Hits) -> bool {
        let text = folded.as_bytes();
        let in_key = Cell::new(false);
        let is_value = |end: usize| {
            let is_key = is_within_key(text, end);
            in_key.set(in_key.get() | is_key);
            !is_key
        };
        self.scan.hits_where(text, is_value, hits);
        in_key.get()
    }

    /// Adds the atoms that may hold for a text that escapes nothing.
    pub(crate) fn text(&self, text: &str, buffer: &mut String, hits: &mut Hits) {
        fold_into(text, buffer);
        self.scan.hits(buffer.as_bytes(), hits);
    }
}

/// What is known of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload {
    Json,
    Unknown,
}

/// A text as JSON writes it with the short escapes; folding leaves those as they are.
fn escaped(literal: &str) -> String {
    let mut all = String::with_capacity(literal.len());
    for c in literal.chars() {
        match c {
            '"' => all.push_str("\\\""),
            '\\' => all.push_str("\\\\"),
            '\r' => all.push_str("\\r"),
            '\t' => all.push_str("\\t"),
            '\u{8}' => all.push_str("\\b"),
            '\u{c}' => all.push_str("\\f"),
            c => all.push(c),
        }
    }
    all
}

/// Keys are sought no farther than this behind what is found in them.
const KEY_MAX: usize = 64;

/// Whether a place of JSON, if it is in a string at all, is in a key: a colon follows the quote that ends it.
fn is_within_key(text: &[u8], place: usize) -> bool {
    let near = text.get(place..text.len().min(place + KEY_MAX)).unwrap_or_default();
    let quotes = near.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| place + at);
    let is_last = |quote: &usize| {
        let before = text.get(..*quote).unwrap_or_default();
        before.iter().rev().take_while(|byte| **byte == b'\\').count().is_multiple_of(2)
    };
    quotes.filter(is_last).take(1).any(|quote| text.get(quote + 1) == Some(&b':'))
}

/// JSON with only the short escapes; `None` if it has halves of characters, or escapes that there are not.
fn shortened(payload: &str) -> Option<String> {
    let mut all = String::with_capacity(payload.len());
    let mut rest = payload;
    while let Some(place) = rest.find('\\') {
        all.push_str(rest.get(..place)?);
        let after = rest.get(place + 1..)?;
        let length = match after.as_bytes().first()? {
            b'u' => {
                let c = char::from_u32(u32::from_str_radix(after.get(1..5)?, 16).ok()?)?;
                match c {
                    '\n' => all.push_str("\\n"),
                    c => all.push_str(&escaped(c.encode_utf8(&mut [0; 4]))),
                }
                5
            }
            b'/' => {
                all.push('/');
                1
            }
            _ => {
                all.push('\\');
                all.push_str(after.get(..1)?);
                1
            }
        };
        rest = after.get(length..)?;
    }
    all.push_str(rest);
    Some(all)
}

/// What begins a longer escape, behind an even number of backslashes.
static LONG_ESCAPES: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| [Finder::new("\\u"), Finder::new("\\/")]);

/// Whether a payload escapes nothing that it could write as it is.
fn has_short_escapes_only(payload: &str) -> bool {
    let bytes = payload.as_bytes();
    let Some(first) = memchr(b'\\', bytes) else { return true };
    let mut rest = bytes.get(first..).unwrap_or_default();
    if LONG_ESCAPES.iter().all(|escape| escape.find(rest).is_none()) {
        return true;
    }
    while let Some(place) = memchr(b'\\', rest) {
        match rest.get(place + 1) {
            None | Some(b'u' | b'/') => return false,
            Some(_) => rest = rest.get(place + 2..).unwrap_or_default(),
        }
    }
    true
}

#[cfg(test)]
mod tests;
