//! Keywords against a payload as it is written, which tells of most rows that no keyword can hold without parsing them.
//!
//! JSON writes a text as it is but for escapes. Where a payload has only the short escapes, a keyword stands in it in
//! one spelling, which is sought here beside the keyword itself: a payload may turn out to be no JSON, and then counts as
//! it is, with some columns. A row where either is found, or with other escapes, is read in full.

use super::program::Hits;
use super::scan::{Scan, ScanDraft};
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
                let is_numeric = literal.chars().all(|c| c.is_ascii_digit() || "+-.e".contains(c));
                if is_numeric || literal.contains('\n') {
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
        if !has_short_escapes_only(payload) {
            hits.add(&self.watched);
        } else if kind == Payload::Json && payload.starts_with('{') {
            // What a closing quote and a colon follow is within a key, and no value. Behind a backslash, a quote is none.
            fold_into(payload, buffer);
            let text = buffer.as_bytes();
            let is_value =
                |end: usize| text.get(end..end + 2) != Some(b"\":") || text.get(end.wrapping_sub(1)) == Some(&b'\\');
            self.scan.hits_where(text, is_value, hits);
        } else {
            self.text(payload, buffer, hits);
        }
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

/// Whether a payload escapes nothing that it could write as it is.
fn has_short_escapes_only(payload: &str) -> bool {
    let mut rest = payload;
    while let Some(place) = rest.find('\\') {
        if matches!(rest.as_bytes().get(place + 1), None | Some(b'u' | b'/')) {
            return false;
        }
        // The escaped character is ASCII in valid JSON; another is no JSON, which is read in full.
        match rest.get(place + 2..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    true
}
