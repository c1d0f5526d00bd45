//! Labels of pods as `key=value`, from an object of them or from one text.
//!
//! Not here: labels of a connection's ends, which are lists already where they occur.

use palisade_events::{EventBuilder, col};

use crate::json::Value;
use crate::put::spelled;

/// Puts the members of an object as labels of the pod, at most `max`; tells whether some were left out.
pub(crate) fn put_members(row: &mut EventBuilder, labels: Value<'_, '_>, max: usize) -> bool {
    let mut text = String::new();
    let mut ends = Vec::new();
    for (key, value) in labels.entries().take(max) {
        text.push_str(key);
        text.push('=');
        text.push_str(&spelled(value).unwrap_or_default());
        ends.push(text.len());
    }
    if !ends.is_empty() {
        let mut from = 0;
        row.put_words(
            col::POD_LABELS,
            ends.iter().map(|&end| {
                let label = text.get(from..end).unwrap_or_default();
                from = end;
                label
            }),
        );
    }
    labels.entries().nth(max).is_some()
}

/// Puts labels that one text lists, separated by commas or spaces, which neither keys nor values hold.
pub(crate) fn put_list(row: &mut EventBuilder, labels: &str, max: usize) -> bool {
    let each = || labels.split([',', ' ']).filter(|label| !label.is_empty());
    if each().next().is_some() {
        row.put_words(col::POD_LABELS, each().take(max));
    }
    each().nth(max).is_some()
}
