//! Keywords against a payload as it is written, which tells of most rows that no keyword can hold without parsing them.
//!
//! JSON writes a text as it is but for escapes. Where a payload has only the short escapes, a keyword stands in it in
//! one spelling, which is sought here beside the keyword itself: a payload may turn out to be no JSON, and then counts as
//! it is, with some columns. A row where either is found, or with other escapes, is read in full.

use aho_corasick::BuildError;

use super::literals::{LiteralsDraft, Machine};
use crate::text::{fold, fold_into};

/// What tells that no keyword can hold.
#[derive(Debug)]
pub(crate) struct PayloadScan {
    automaton: Machine,
}

impl PayloadScan {
    /// Compiles keywords; `None` when some may stand where the payload does not have them as they are.
    pub(super) fn new(folded: &LiteralsDraft, exact: &LiteralsDraft) -> Result<Option<Self>, BuildError> {
        if !folded.is_unplaced() || !exact.is_unplaced() {
            return Ok(None);
        }
        let mut spelled: Vec<String> = Vec::new();
        for literal in folded.anywhere().iter().chain(exact.anywhere()) {
            // A line break may stand between two values; digits may be of a number that is written in another way.
            let is_numeric = literal.chars().all(|c| c.is_ascii_digit() || "+-.e".contains(c));
            if is_numeric || literal.chars().any(|c| c == '\n') {
                return Ok(None);
            }
            let own = fold(literal).into_owned();
            let written = escaped(&own);
            if written != own {
                spelled.push(written);
            }
            spelled.push(own);
        }
        Ok(Some(Self { automaton: Machine::new(spelled.iter().map(|text| text.as_bytes()))? }))
    }

    /// Whether some keyword may be in a payload.
    pub(crate) fn may_hold(&self, payload: &str, buffer: &mut String) -> bool {
        !has_short_escapes_only(payload) || self.may_be_in(payload, buffer)
    }

    /// Whether some keyword may be in a text that escapes nothing.
    pub(crate) fn may_be_in(&self, text: &str, buffer: &mut String) -> bool {
        fold_into(text, buffer);
        self.automaton.finds(buffer.as_bytes())
    }
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
