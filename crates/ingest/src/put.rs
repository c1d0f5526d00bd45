//! Putting JSON values into columns, if they say something.
//!
//! Not here: what says nothing in one format only, such as Falco's `<NA>`.

use std::borrow::Cow;

use palisade_events::EventBuilder;
use palisade_events::fields::FieldRef;
use palisade_events::schema::{Int, Long, Text, Word, Words};

use crate::json::Value;

/// Text as it is, a number or a boolean as it is spelled; nothing for what is empty.
pub(crate) fn spelled<'i>(value: Value<'_, 'i>) -> Option<Cow<'i, str>> {
    match value.scalar() {
        FieldRef::Str(text) => (!text.is_empty()).then_some(Cow::Borrowed(text)),
        FieldRef::Int(n) => Some(n.to_string().into()),
        FieldRef::UInt(n) => Some(n.to_string().into()),
        FieldRef::Float(n) => Some(n.to_string().into()),
        FieldRef::Bool(b) => Some(if b { "true" } else { "false" }.into()),
        FieldRef::Null | FieldRef::Object => None,
    }
}

pub(crate) fn word(row: &mut EventBuilder, column: Word, value: Value<'_, '_>) {
    if let Some(word) = spelled(value) {
        row.put_word(column, &word);
    }
}

pub(crate) fn text(row: &mut EventBuilder, column: Text, value: Value<'_, '_>) {
    if let Some(text) = spelled(value) {
        row.put_text(column, &text);
    }
}

pub(crate) fn long(row: &mut EventBuilder, column: Long, value: Value<'_, '_>) {
    if let Some(number) = value.int() {
        row.put_long(column, number);
    }
}

pub(crate) fn int(row: &mut EventBuilder, column: Int, value: Value<'_, '_>) {
    if let Some(number) = value.int().and_then(|n| i32::try_from(n).ok()) {
        row.put_int(column, number);
    }
}

/// Puts the texts of an array, at most `max`; tells whether some were left out.
pub(crate) fn words(row: &mut EventBuilder, column: Words, value: Value<'_, '_>, max: usize) -> bool {
    let mut texts = value.items().filter_map(Value::text);
    if let Some(first) = texts.next() {
        row.put_words(column, std::iter::once(first).chain(texts).take(max));
    }
    value.items().nth(max).is_some()
}

/// Keeps the first text that says something.
pub(crate) fn first<'i>(slot: &mut Option<&'i str>, value: Value<'_, 'i>) {
    if slot.is_none() {
        *slot = value.text();
    }
}
