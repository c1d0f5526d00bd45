//! Putting JSON values into columns, if they say something.
//!
//! Not here: what says nothing in one format only, such as Falco's `<NA>`.

use std::borrow::Cow;

use palisade_events::fields::FieldRef;
use palisade_events::schema::{Int, Long, Text, Word, Words};
use palisade_events::{EventBuilder, col};

use crate::document::Reading;
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

/// Puts a name of the DNS as all sources' are compared: without the root's dot, in lower case.
pub(crate) fn dns_name(row: &mut EventBuilder, column: Word, name: &str) {
    let name = bare_name(name);
    if !name.is_empty() {
        row.put_word(column, &name);
    }
}

/// A name of the DNS without the root's dot and in lower case; the root itself is a dot.
pub(crate) fn bare_name(name: &str) -> Cow<'_, str> {
    let bare = name.strip_suffix('.').filter(|bare| !bare.is_empty()).unwrap_or(name);
    if bare.bytes().any(|b| b.is_ascii_uppercase()) { bare.to_ascii_lowercase().into() } else { bare.into() }
}

/// Puts the cluster that the event itself names, where neither its carrier nor the configuration names one: they win,
/// so that all sources of a cluster call it by one name.
pub(crate) fn cluster(reading: &mut Reading<'_>, name: Option<&str>) {
    let is_stated = reading.record.cluster.is_some() || !reading.settings.cluster.is_empty();
    if let Some(name) = name.filter(|name| !is_stated && !name.is_empty()) {
        reading.row.put_word(col::CLUSTER_NAME, name);
    }
}

/// Keeps the first text that says something.
pub(crate) fn first<'i>(slot: &mut Option<&'i str>, value: Value<'_, 'i>) {
    if slot.is_none() {
        *slot = value.text();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use palisade_events::clock::Tolerance;
    use palisade_events::{Chunk, Lane, LaneClock};

    use super::*;
    use crate::decode::{Decoded, Format, Settings, decoder};

    #[test]
    fn the_cluster_of_a_carrier_or_the_configuration_wins_over_the_events_own() {
        let documents = [
            (
                Format::Tetragon,
                r#"{"process_exec":{"process":{"pid":1}},"cluster_name":"own","time":"2026-02-03T09:15:01Z"}"#,
            ),
            (
                Format::KubeArmor,
                r#"{"Type":"HostLog","Operation":"File","ClusterName":"own","UpdatedTime":"2026-02-03T09:15:01Z"}"#,
            ),
            (
                Format::Hubble,
                r#"{"flow":{"time":"2026-02-03T09:15:01Z","verdict":"FORWARDED","Type":"L3_L4","node_name":"own/n1"}}"#,
            ),
            (
                Format::Calico,
                r#"{"end_time":1772439300,"source_name":"a","source_type":"wep","dest_name":"b","dest_type":"wep","action":"allow","reporter":"src","cluster":"own"}"#,
            ),
        ];
        for (format, document) in documents {
            for (carried, configured, named) in
                [(None, "", "own"), (None, "lab", "lab"), (Some("west"), "", "west"), (Some("west"), "lab", "west")]
            {
                let settings = Settings { cluster: configured.into(), ..Settings::default() };
                let lane = Arc::new(Lane::channel("s", "c"));
                let mut chunk = Chunk::new(Arc::clone(&lane));
                chunk.push(document.as_bytes(), 0, None, None);
                chunk.records[0].cluster = carried.map(Into::into);
                let mut out = Decoded::new(Arc::default());
                let mut decoder = decoder(&format, lane, Arc::new(settings));
                decoder.decode(&chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
                let batch = out.events.finish().unwrap();
                assert_eq!(batch.word(col::CLUSTER_NAME).get(0), Some(named), "{document}");
            }
        }
    }

    #[test]
    fn names_of_the_dns_have_no_last_dot_and_no_capitals() {
        for (written, name) in [
            ("till.example.", "till.example"),
            ("Till.EXAMPLE", "till.example"),
            ("till.example", "till.example"),
            (".", "."),
            ("", ""),
        ] {
            assert_eq!(bare_name(written), name, "{written}");
        }
    }
}
