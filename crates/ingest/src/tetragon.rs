//! Tetragon's exported events, one JSON object a message: what a process did, with the process and its parent in full.
//!
//! Reports of events that Tetragon itself left out become coverage facts. Not here: which columns follow from what was
//! read (see [`event`]).

use palisade_events::time::{Micros, SECOND};
use palisade_events::{CoverageKind, EventBuilder, RecordMeta};

use self::event::Event;
use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::json::{Columns, Value};
use crate::put;
use crate::zone::Zone;

mod event;
mod walk;

/// How often Tetragon reports what its export limit, a number of events a minute, left out.
const LIMIT_INTERVAL: Micros = 60 * SECOND;

/// Reads Tetragon's events.
#[derive(Debug, Default)]
pub(crate) struct Tetragon {
    /// Where command lines are put together.
    line: String,
}

impl JsonFormat for Tetragon {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let mut event = Event { list_items_max: reading.list_items_max(), ..Event::default() };
        if root.is_object() {
            reading.walk(root, Place::Root, &mut event);
        }
        let Some(kind) = event.kind.filter(|kind| event.is_of(kind)) else {
            return Err(("not_a_tetragon_event", "no event of a process and no report of left out events".to_owned()));
        };
        if kind == "test" {
            return Ok(Made::Structure);
        }
        let Some((time, original)) = event.time(&reading.settings.zone, reading.record) else {
            return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
        };
        if let Some(fact) = event.fact(kind, time) {
            reading.facts.push(fact);
            return Ok(Made::Facts);
        }
        reading.cut |= event.cut;
        put::cluster(reading, event.cluster);
        event.finish(kind, &mut self.line, reading.row);
        Ok(Made::Event { time, original: original.into() })
    }
}

/// Kinds of objects in an event.
#[derive(Clone, Copy, Debug)]
enum Place {
    Root,
    Event,
    Process(Who),
    User,
    Pod,
    Container,
    Image,
    /// One argument of a call: an object with one key, which tells its type.
    Argument,
    /// The call's return value: as an argument.
    Return,
    /// An argument that names a file.
    Path,
    /// An argument that names something else: a kernel module, a capability, a BPF map.
    Named,
    /// An argument that is a socket or a packet, with both ends.
    Socket,
    /// An argument that is an address, without its other end.
    Address,
    /// What Enterprise's file events tell of a file, and of a file's new place.
    File,
    FileMoved,
    FileDetails,
    Stats,
    Dns,
    Http,
    HttpRequest,
    HttpResponse,
    Destination,
    Aggregation,
    Report,
}

/// Whose process object it is.
#[derive(Clone, Copy, Debug)]
enum Who {
    Itself,
    Parent,
    Ancestor,
}

impl<'i> Columns<'i> for Event<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        self.take(place, key, value, row)
    }
}

impl<'i> Event<'i> {
    /// Whether the document is an event of its kind. Kinds that only Enterprise knows are told by the process they are
    /// about; so may one day be new ones.
    fn is_of(&self, kind: &str) -> bool {
        match kind {
            "process_exec" | "process_exit" | "process_kprobe" | "process_tracepoint" | "process_uprobe"
            | "process_lsm" | "process_usdt" | "process_loader" | "process_throttle" | "rate_limit_info" => true,
            "test" => self.node.is_some() || self.times.iter().any(Option::is_some),
            _ => self.has_process,
        }
    }

    /// Event time and its text: the event's own, else that of an exit or of the execution, else the carrier's.
    fn time(&self, zone: &Zone, record: &RecordMeta) -> Option<(Micros, &'i str)> {
        let readable = self.times.iter().flatten().find_map(|text| Some((in_range(zone.parse(text)?)?, *text)));
        readable.or_else(|| {
            Some((record.time.and_then(in_range)?, self.times.iter().flatten().next().copied().unwrap_or_default()))
        })
    }

    /// What Tetragon tells of events that it left out.
    fn fact(&self, kind: &str, time: Micros) -> Option<Fact> {
        let node = self.node.unwrap_or("a node");
        let (kind, window, count, detail) = match kind {
            "rate_limit_info" => {
                let window = (time.saturating_sub(LIMIT_INTERVAL), time);
                // A report without a number leaves out a zero.
                let count = self.dropped.unwrap_or(0);
                let kind = if count == 0 { CoverageKind::Health } else { CoverageKind::Lost };
                (kind, window, count, format!("{node}: process events over the export's limit"))
            }
            "process_throttle" => {
                let cgroup = self.cgroup.unwrap_or("a cgroup");
                match self.throttle {
                    Some("THROTTLE_STOP") => {
                        (CoverageKind::Health, (time, time), -1, format!("{node}: {cgroup} is no longer throttled"))
                    }
                    _ => (CoverageKind::Lost, (time, time), -1, format!("{node}: {cgroup} is throttled from now on")),
                }
            }
            _ => return None,
        };
        Some(Fact { kind, window, count, detail })
    }
}

#[cfg(test)]
mod tests;
