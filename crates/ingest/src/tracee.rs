//! Tracee's events and findings, one JSON object a message, in the three shapes that are about.
//!
//! | shape | told by | time |
//! |---|---|---|
//! | `trace.Event`, up to version 0.24 ([`legacy`]) | `eventName` | an integer, nanoseconds |
//! | `v1beta1.Event` ([`current`]) | `name` | RFC 3339 text; `"null"` if there is none |
//! | the same as its documentation has it | `name` | `{seconds, nanos}`, and numbers as `{value}` |
//!
//! Arguments and data are one thing in all of them (see [`argument`]). Not here: what Tracee writes to its own log.

use std::borrow::Cow;

use palisade_events::time::{Micros, SECOND};
use palisade_events::{EventBuilder, RecordMeta};

use self::event::Event;
use crate::decode::in_range;
use crate::document::{JsonFormat, Made, Reading, Refusal};
use crate::json::{Columns, Value};
use crate::zone::Zone;

mod event;
mod legacy;
mod current;
mod argument;

/// Nanoseconds below this are counted from the start of the machine or of Tracee, not from 1970.
const EPOCH_NANOS_MIN: i64 = 100_000_000_000_000_000;

/// Reads Tracee's events.
#[derive(Debug, Default)]
pub(crate) struct Tracee {
    /// Where command lines are put together.
    line: String,
}

impl JsonFormat for Tracee {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        self.line.clear();
        let line = std::mem::take(&mut self.line);
        let mut event = Event { list_items_max: reading.list_items_max(), line, ..Event::default() };
        if root.is_object() {
            reading.walk(root, Place::Root, &mut event);
        }
        let made = made(&event, reading);
        if made.is_ok() {
            event.finish(reading.row);
            reading.cut |= event.cut;
        }
        self.line = event.line;
        made
    }
}

fn made<'i>(event: &Event<'i>, reading: &Reading<'_>) -> Result<Made<'i>, Refusal> {
    if !event.is_legacy() && !event.is_current() {
        return Err((
            "not_a_tracee_event",
            "neither a named event with its process nor one with a workload".to_owned(),
        ));
    }
    match event.time(&reading.settings.zone, reading.record) {
        Some((time, original)) => Ok(Made::Event { time, original }),
        None => Err(("missing_time", "no readable time in the event or its carrier".to_owned())),
    }
}

/// Kinds of objects in an event.
#[derive(Clone, Copy, Debug)]
enum Place {
    Root,
    Time,
    /// Of the legacy shape.
    Executable,
    LegacyContainer,
    Kubernetes,
    Metadata,
    Properties,
    /// Of the current one.
    Policies,
    Workload,
    Process,
    User,
    Thread,
    ThreadStart,
    Container,
    Image,
    K8s,
    Pod,
    Namespace,
    Threat,
    Mitre,
    Technique,
    DetectedFrom,
}

impl<'i> Columns<'i> for Event<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root if key == "timestamp" => {
                self.has_time = true;
                self.timestamp = moment_text(value);
                return Some(Place::Time);
            }
            Place::Root => return self.current_root(key, value, row).or_else(|| self.legacy(key, value, row)),
            Place::Time => match key {
                "seconds" => self.seconds = value.int(),
                "nanos" => self.nanos = value.int(),
                _ => {}
            },
            Place::Executable | Place::LegacyContainer | Place::Kubernetes | Place::Metadata | Place::Properties => {
                return self.legacy_object(place, key, value, row);
            }
            _ => return self.current(place, key, value, row),
        }
        None
    }
}

impl<'i> Event<'i> {
    /// Event time and its text: of the event, if it is no other clock's, else the carrier's.
    fn time(&self, zone: &Zone, record: &RecordMeta) -> Option<(Micros, Cow<'i, str>)> {
        if let Some(text) = self.timestamp {
            let time = match text.parse::<i64>() {
                Ok(nanos) => Some(nanos).filter(|&nanos| nanos >= EPOCH_NANOS_MIN).map(|nanos| nanos / 1000),
                Err(_) => zone.parse(text),
            };
            if let Some(time) = time.and_then(in_range) {
                return Some((time, text.into()));
            }
        }
        if let Some(time) = micros(self.seconds, self.nanos) {
            let (seconds, nanos) = (self.seconds.unwrap_or(0), self.nanos.unwrap_or(0));
            return Some((time, format!("{seconds}.{nanos:09}").into()));
        }
        Some((record.time.and_then(in_range)?, self.timestamp.unwrap_or_default().into()))
    }
}

fn micros(seconds: Option<i64>, nanos: Option<i64>) -> Option<Micros> {
    seconds?.checked_mul(SECOND)?.checked_add(nanos.unwrap_or(0) / 1000).and_then(in_range)
}

/// A moment as it is written: a text, or the digits of a number. The text `null` stands for none.
fn moment_text<'i>(value: Value<'_, 'i>) -> Option<&'i str> {
    value.text().or_else(|| digits(value)).filter(|text| *text != "null")
}

/// A number exactly as it is written.
fn digits<'i>(value: Value<'_, 'i>) -> Option<&'i str> {
    Some(value.raw()).filter(|raw| raw.starts_with(|first: char| first.is_ascii_digit() || first == '-'))
}

/// What a wrapper such as `{"value": 7}` holds; other values are themselves.
fn unwrapped<'t, 'i>(value: Value<'t, 'i>) -> Value<'t, 'i> {
    if value.is_object() { value.get("value").unwrap_or(value) } else { value }
}

/// An id of an entity: a hash that may pass what a float holds, so its digits. Zero is none.
fn entity<'i>(value: Value<'_, 'i>) -> Option<&'i str> {
    let value = unwrapped(value);
    value.text().or_else(|| digits(value)).filter(|id| *id != "0")
}

#[cfg(test)]
mod tests;
