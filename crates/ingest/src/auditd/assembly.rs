//! Records held until their event is over, and what the serials of a node say about records that never came.
//!
//! Everything here follows from the lane's own records, in their order; there are no timers.
//!
//! Not here: what an event's columns are ([`super::event`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use palisade_events::RecordMeta;
use palisade_events::time::{Micros, SECOND};
use serde::{Deserialize, Serialize};

use super::kinds::Role;
use super::record::Record;

/// An event is over when its node writes one with a serial so much greater: a busy machine of many cores has some dozens
/// of events open at once.
const SERIALS_AHEAD: i32 = 256;

/// An event is over when its node writes one so much later. The audit user space waits as long by default.
const TIME_AHEAD: Micros = 2 * SECOND;

/// Time alone does not end an event that lacks records while its node's serial is no further on: on a quiet machine the
/// record that overtook them can be of any later time.
const SERIALS_NEAR: i32 = 4;

/// An event is over when it got nothing among so many records of the lane: its node has fallen silent.
const RECORDS_IDLE: u64 = 8192;

/// Events held per lane: the oldest is closed as it is for one more.
const HELD_MAX: usize = 1024;

/// Bytes held per lane, for the same purpose: they are part of every checkpoint.
const HELD_BYTES_MAX: usize = 8 << 20;

/// Records of one event; it is closed as it is with the last. Overlay file systems write some dozens of paths.
const EVENT_RECORDS_MAX: usize = 1024;

/// Bytes of one event, for the same purpose: the longest argument list that kernels accept is 2 MiB.
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Closed events remembered per lane, so that an end record after the title is known to be theirs.
const CLOSED_MAX: usize = 1024;

/// Nodes whose serials are watched per lane; the one that was silent longest gives way.
const NODES_MAX: usize = 1024;

/// Ranges of missing serials watched per node before the oldest is taken for lost.
const MISSING_MAX: usize = 64;

/// A jump of the serial beyond this is a restart, not a loss.
const JUMP_MAX: u32 = 1 << 24;

/// What identifies an event within a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) serial: u32,
    pub(super) time: Micros,
    pub(super) node: Box<str>,
}

/// Where a record stands in its lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    offset: i64,
    line: Option<i64>,
    time: Option<Micros>,
    #[serde(default)]
    time_is_brokers: bool,
    cluster: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<Box<str>>,
}

impl Place {
    pub(super) fn of(record: &RecordMeta) -> Self {
        let cluster = record.cluster.as_deref().map(Into::into);
        let (offset, line, time) = (record.offset, record.line, record.time);
        let (key, trace) = (record.key.clone(), record.trace.clone());
        Self { offset, line, time, time_is_brokers: record.time_is_brokers, cluster, key, trace }
    }

    pub(super) fn record(&self) -> RecordMeta {
        let cluster = self.cluster.as_deref().map(Arc::from);
        let (offset, line, time) = (self.offset, self.line, self.time);
        let time_is_brokers = self.time_is_brokers;
        let (key, trace) = (self.key.clone(), self.trace.clone());
        RecordMeta { offset, line, time, time_is_brokers, cluster, key, trace, ..RecordMeta::default() }
    }
}

/// An event that may get further records.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Assembly {
    pub(super) key: Key,
    /// Its records, end records left out.
    pub(super) records: Vec<Record>,
    /// How many records it holds, end records included.
    pub(super) count: u64,
    pub(super) redacted: u32,
    /// Number of its last record in the lane, that record's place, and how many events that record completed.
    pub(super) touched: u64,
    pub(super) last: Place,
    pub(super) last_index: u32,
    bytes: usize,
}

impl Assembly {
    pub(super) fn new(key: Key, touched: u64, place: Place) -> Self {
        Self { key, records: Vec::new(), count: 0, redacted: 0, touched, last: place, last_index: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, record: Record, redacted: u32) {
        self.bytes += record.text().len();
        self.redacted = self.redacted.saturating_add(redacted);
        self.count += 1;
        if record.role != Role::End {
            self.records.push(record);
        }
    }
}

impl Assembly {
    /// Whether the call's record announces more paths than came.
    fn lacks_paths(&self) -> bool {
        let announced = self.records.iter().find_map(|r| r.get("items")?.parse::<usize>().ok());
        announced.is_some_and(|items| self.records.iter().filter(|r| r.kind == "PATH").count() < items)
    }
}

/// The events of a lane that are not over, oldest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    assemblies: VecDeque<Assembly>,
    bytes: usize,
    closed: VecDeque<Key>,
}

impl Held {
    /// Records held.
    pub(super) fn records(&self) -> u64 {
        self.assemblies.iter().map(|a| a.count).sum()
    }

    pub(super) fn assemblies(&self) -> &VecDeque<Assembly> {
        &self.assemblies
    }

    pub(super) fn closed(&self) -> &VecDeque<Key> {
        &self.closed
    }

    pub(super) fn restored(assemblies: VecDeque<Assembly>, closed: VecDeque<Key>) -> Self {
        let bytes = assemblies.iter().map(|a| a.bytes).sum();
        Self { assemblies, bytes, closed }
    }

    /// Takes the events that are over because their node wrote this record, or nothing for long. `seen` numbers it.
    pub(super) fn take_over(&mut self, key: &Key, role: Role, ends_all: bool, seen: u64) -> Vec<Assembly> {
        self.take_if(|held| {
            // The daemon numbers its own events, so that only their time can be compared.
            let ahead = role != Role::Daemon && serials_between(held.key.serial, key.serial) > SERIALS_AHEAD;
            let later = key.time > held.key.time.saturating_add(TIME_AHEAD);
            let near = (0..=SERIALS_NEAR).contains(&serials_between(held.key.serial, key.serial));
            let over = ends_all || ahead || later && !(near && held.lacks_paths());
            held.key.node == key.node && over && held.key != *key
        })
        .into_iter()
        .chain(self.take_idle(seen))
        .collect()
    }

    /// Takes the events that got nothing for long.
    pub(super) fn take_idle(&mut self, seen: u64) -> Vec<Assembly> {
        // Looking now and then is enough, and costs nothing otherwise.
        if !seen.is_multiple_of(64) {
            return Vec::new();
        }
        self.take_if(|held| seen - held.touched > RECORDS_IDLE)
    }

    /// Takes everything.
    pub(super) fn take_all(&mut self) -> Vec<Assembly> {
        self.take_if(|_| true)
    }

    /// Adds a record to its event, which begins with it if need be. Gives the events that are over by it: its own, and
    /// others that had to give way.
    pub(super) fn add(&mut self, key: Key, record: Record, redacted: u32, seen: u64, place: Place) -> Vec<Assembly> {
        let role = record.role;
        let at = self.assemblies.iter().rposition(|held| held.key == key).unwrap_or_else(|| {
            self.assemblies.push_back(Assembly::new(key, seen, place.clone()));
            self.assemblies.len() - 1
        });
        let bytes = record.text().len();
        let assembly = &mut self.assemblies[at];
        // An end that comes before everything else ends nothing: the records come after it.
        let ends = matches!(role, Role::End | Role::Title) && !assembly.records.is_empty();
        assembly.push(record, redacted);
        (assembly.touched, assembly.last) = (seen, place);
        self.bytes += bytes;
        let full = assembly.count as usize >= EVENT_RECORDS_MAX || assembly.bytes >= EVENT_BYTES_MAX;
        let mut over = Vec::new();
        while self.assemblies.len() > HELD_MAX || self.bytes > HELD_BYTES_MAX && self.assemblies.len() > 1 {
            // The newest is never the one to go, since it holds the record at hand; the oldest may be.
            if (ends || full) && self.assemblies.front().is_some_and(|held| held.touched == seen) {
                break;
            }
            over.extend(self.take_at(0));
        }
        if ends || full {
            let at = self.assemblies.iter().rposition(|held| held.touched == seen);
            over.extend(at.and_then(|at| self.take_at(at)));
        }
        over
    }

    /// Whether an event of this key was closed not long ago.
    pub(super) fn was_closed(&self, key: &Key) -> bool {
        self.closed.iter().rev().any(|closed| closed == key)
    }

    pub(super) fn is_held(&self, key: &Key) -> bool {
        self.assemblies.iter().any(|held| held.key == *key)
    }

    /// Remembers a closed event.
    pub(super) fn remember(&mut self, key: Key) {
        self.closed.push_back(key);
        if self.closed.len() > CLOSED_MAX {
            self.closed.pop_front();
        }
    }

    /// Notes how many events the record numbered `seen` completed, for the event that it was added to.
    pub(super) fn note_index(&mut self, seen: u64, index: u32) {
        if let Some(assembly) = self.assemblies.iter_mut().rev().find(|held| held.touched == seen) {
            assembly.last_index = index;
        }
    }

    fn take_if(&mut self, over: impl Fn(&Assembly) -> bool) -> Vec<Assembly> {
        let mut taken = Vec::new();
        let mut at = 0;
        while at < self.assemblies.len() {
            if over(&self.assemblies[at]) {
                taken.extend(self.take_at(at));
            } else {
                at += 1;
            }
        }
        taken
    }

    fn take_at(&mut self, at: usize) -> Option<Assembly> {
        let taken = self.assemblies.remove(at)?;
        self.bytes -= taken.bytes;
        Some(taken)
    }
}

/// How far `later` lies after `earlier`; serials wrap around.
fn serials_between(earlier: u32, later: u32) -> i32 {
    later.wrapping_sub(earlier).cast_signed()
}

/// Serials that did not come, between two events that did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing {
    first: u32,
    count: u32,
    /// Times of the events before and after.
    pub(super) window: (Micros, Micros),
}

impl Missing {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn first(&self) -> u32 {
        self.first
    }

    pub(super) fn last(&self) -> u32 {
        self.first.wrapping_add(self.count - 1)
    }
}

/// The serials of the nodes of a lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serials(BTreeMap<Box<str>, NodeSerials>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct NodeSerials {
    /// The greatest serial, and the time of its event.
    serial: u32,
    time: Micros,
    seen: u64,
    missing: VecDeque<Missing>,
}

impl Serials {
    /// Notes the serial of a kernel's record, and gives what is now known to be lost.
    pub(super) fn note(&mut self, key: &Key, seen: u64) -> Vec<Missing> {
        let Some(node) = self.0.get_mut(&key.node) else {
            let mut lost = Vec::new();
            if self.0.len() >= NODES_MAX {
                let silent = self.0.iter().min_by_key(|(_, node)| node.seen).map(|(name, _)| name.clone());
                lost.extend(silent.and_then(|name| self.0.remove(&name)).into_iter().flat_map(|node| node.missing));
            }
            let (serial, time) = (key.serial, key.time);
            self.0.insert(key.node.clone(), NodeSerials { serial, time, seen, missing: VecDeque::new() });
            return lost;
        };
        node.seen = seen;
        node.note(key.serial, key.time)
    }

    /// Gives everything that is still missing, by node.
    pub(super) fn take_all(&mut self) -> Vec<Missing> {
        self.0.values_mut().flat_map(|node| std::mem::take(&mut node.missing)).collect()
    }
}

impl NodeSerials {
    fn note(&mut self, serial: u32, time: Micros) -> Vec<Missing> {
        let distance = serials_between(self.serial, serial);
        if distance < 0 && time <= self.time.saturating_add(TIME_AHEAD) {
            self.found(serial);
            return Vec::new();
        }
        if distance == 0 {
            return Vec::new();
        }
        let mut lost = Vec::new();
        let jump = serial.wrapping_sub(self.serial);
        if distance < 0 || jump > JUMP_MAX {
            // The node was started again and counts anew: what was missing before stays missing.
            lost.extend(std::mem::take(&mut self.missing));
        } else if jump > 1 {
            let first = self.serial.wrapping_add(1);
            self.missing.push_back(Missing { first, count: jump - 1, window: (self.time.min(time), time) });
        }
        (self.serial, self.time) = (serial, time);
        while let Some(oldest) = self.missing.front()
            && (self.missing.len() > MISSING_MAX
                || serials_between(oldest.last(), serial) > SERIALS_AHEAD
                || time > oldest.window.1.saturating_add(TIME_AHEAD))
        {
            lost.extend(self.missing.pop_front());
        }
        lost
    }

    /// Takes a serial that came late out of what is missing.
    fn found(&mut self, serial: u32) {
        let within = |m: &Missing| serial.wrapping_sub(m.first) < m.count;
        let Some(at) = self.missing.iter().position(within) else { return };
        let Some(range) = self.missing.remove(at) else { return };
        let before = serial.wrapping_sub(range.first);
        let after = range.count - before - 1;
        if after > 0 {
            let first = serial.wrapping_add(1);
            self.missing.insert(at, Missing { first, count: after, window: range.window });
        }
        if before > 0 {
            self.missing.insert(at, Missing { count: before, ..range });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(serials: &mut Serials, serial: u32, time: Micros) -> Vec<(u32, u32)> {
        let key = Key { serial, time, node: "".into() };
        serials.note(&key, 1).iter().map(|m| (m.first(), m.count())).collect()
    }

    #[test]
    fn serials_that_come_late_are_not_lost() {
        let mut serials = Serials::default();
        for serial in [10, 14, 12, 11, 13, 15] {
            assert_eq!(note(&mut serials, serial, 0), []);
        }
        assert_eq!(note(&mut serials, 16, 10 * SECOND), []);
    }

    #[test]
    fn serials_that_never_come_are_lost_once_reordering_cannot_explain_them() {
        let mut serials = Serials::default();
        for serial in [49, 59, 52] {
            assert_eq!(note(&mut serials, serial, 0), []);
        }
        assert_eq!(note(&mut serials, 60, 2 * SECOND), []);
        assert_eq!(note(&mut serials, 61, 2 * SECOND + 1), [(50, 2), (53, 6)]);
        assert_eq!(note(&mut serials, 63, 2 * SECOND + 1), []);
        assert_eq!(note(&mut serials, 63 + 256, 2 * SECOND + 2), [(62, 1)]);
    }

    #[test]
    fn serials_wrap_around_and_begin_anew_when_the_node_does() {
        let mut serials = Serials::default();
        for serial in [u32::MAX - 1, u32::MAX, 0, 3] {
            assert_eq!(note(&mut serials, serial, 0), []);
        }
        assert_eq!(note(&mut serials, 5, 60 * SECOND), [(1, 2)]);
        for serial in [1_000_000, 1, 2] {
            note(&mut serials, serial, 120 * SECOND + Micros::from(serial) * SECOND);
        }
        let mut restarted = Serials::default();
        note(&mut restarted, 1_000_000, 0);
        for serial in 3..9 {
            assert_eq!(note(&mut restarted, serial, 60 * SECOND), []);
        }
    }
}
