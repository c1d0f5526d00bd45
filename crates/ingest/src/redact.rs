//! Takes secrets out of payloads before rules, columns or storage see them, leaving typed markers that rules can match.
//!
//! A payload is redacted first and decoded afterwards, so that columns, raw fields and the stored original hold the same
//! bytes. A marker is never taken for a secret again: redacting twice changes nothing.
//!
//! What is a secret is said by one set of rules: those that are built in, and those that a file adds to them or switches
//! off ([`RedactionRules`]). Rules look at texts (`patterns`, `manifest`, `block`), at names (`names`), at arguments
//! (`command`) and at places in a document (`tree`); `scan` finds the payloads that are worth a look.
//!
//! Not here: secrets in encodings other than JSON's escapes and the percent-encoding of queries.

use std::borrow::Cow;
use std::sync::Arc;

pub use self::kind::{RedactionCounts, SecretKind};
use self::kind::{is_marker, mark};
use self::rules::Rules;
pub use self::rules::{RedactionRules, RedactionRulesError};

mod kind;
mod rules;
mod scan;
mod names;
mod command;
mod patterns;
mod manifest;
mod block;
mod tree;

/// Bytes of an unreadable input that are searched for secrets before it is cut.
const BROKEN_BYTES_MAX: usize = 64 << 10;

/// Replaces secrets by markers such as `<redacted:aws_access_key>`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Redactor {
    /// What is a secret; nothing is replaced without.
    rules: Option<Arc<Rules>>,
}

impl Default for Redactor {
    /// The rules that are built in.
    fn default() -> Self {
        Self { rules: Some(Rules::built_in()) }
    }
}

impl Redactor {
    /// A redactor that changes nothing, for those who may see secrets.
    pub fn off() -> Self {
        Self { rules: None }
    }

    /// A redactor with the rules of a file.
    pub fn with_rules(rules: RedactionRules) -> Self {
        Self { rules: Some(rules.into_compiled()) }
    }

    /// Replaces the secrets that patterns recognise in a text that is not JSON, such as an audit record's.
    pub fn text<'t>(&self, text: &'t str, counts: &mut RedactionCounts) -> Cow<'t, str> {
        match &self.rules {
            Some(rules) => rules.patterns.replace(text, counts),
            None => Cow::Borrowed(text),
        }
    }

    /// Replaces the secrets in a JSON text, by pattern and by place: values of Kubernetes Secrets, of keys that name
    /// a password, of arguments after `--password`. `None` if there are none, or if the text is no JSON that nests at
    /// most `depth_max` deep; what is rewritten comes back without white space between its tokens.
    pub fn json(&self, text: &str, depth_max: usize, counts: &mut RedactionCounts) -> Option<String> {
        let rules = self.rules.as_deref()?;
        if rules.is_suspicious(text) { tree::rewrite(rules, text, depth_max, counts) } else { None }
    }

    /// Replaces the secrets in a text that stands under a name, such as the header of a CSV column.
    pub(crate) fn named(&self, name: &str, text: String, counts: &mut RedactionCounts) -> String {
        let Some(rules) = &self.rules else { return text };
        if text.is_empty() || is_marker(&text) {
            return text;
        }
        if let Some(kind) = rules.column(name) {
            if rules.patterns.keeps(&text) {
                return text;
            }
            counts.one(kind);
            return marker(kind);
        }
        match rules.patterns.replace(&text, counts) {
            Cow::Owned(replaced) => replaced,
            Cow::Borrowed(_) => text,
        }
    }

    /// What stands for a row of named cells that cannot be told apart: a marker if one of the names tells a secret, since
    /// any of the cells may be it.
    pub(crate) fn unnamed(&self, names: &[String], counts: &mut RedactionCounts) -> Option<String> {
        let rules = self.rules.as_deref()?;
        let kind = names.iter().find_map(|name| rules.column(name))?;
        counts.one(kind);
        Some(marker(kind))
    }

    /// Makes the text that is kept of an input that could not be read: secrets replaced, cut to `bytes_max`.
    ///
    /// In broken JSON the end of a value cannot be told, so that nothing is kept from the first `data` key on, or from the
    /// first key on that a rule names.
    pub fn remains(&self, raw: &[u8], bytes_max: usize, depth_max: usize, counts: &mut RedactionCounts) -> String {
        let mut kept = self.uncut(raw, bytes_max, depth_max, counts);
        kept.truncate(kept.floor_char_boundary(bytes_max));
        kept
    }

    fn uncut(&self, raw: &[u8], bytes_max: usize, depth_max: usize, counts: &mut RedactionCounts) -> String {
        let Some(rules) = self.rules.as_deref() else {
            return String::from_utf8_lossy(&raw[..raw.len().min(bytes_max)]).into_owned();
        };
        let whole = std::str::from_utf8(raw).ok().filter(|text| text.len() <= 4 * BROKEN_BYTES_MAX);
        if let Some(text) = whole.filter(|text| text.trim_start().starts_with(['{', '['])) {
            match tree::check(rules, text, depth_max, counts) {
                tree::Checked::Rewritten(text) => return text,
                tree::Checked::Clean => return text.to_owned(),
                tree::Checked::NotJson => {}
            }
        }
        let text = String::from_utf8_lossy(&raw[..raw.len().min(BROKEN_BYTES_MAX.max(bytes_max))]);
        let mut text = rules.patterns.replace(&scan::unescaped(&text), counts).into_owned();
        if let Some((start, kind)) = rules.broken_value(&text) {
            text.truncate(start);
            counts.one(kind);
            mark(kind, &mut text);
        }
        text
    }
}

fn marker(kind: &str) -> String {
    let mut marker = String::new();
    mark(kind, &mut marker);
    marker
}

#[cfg(test)]
mod tests;
