//! The way out: records wait here until the shipper of their stream would have delivered them.
//!
//! Not here: what records say. The counters that every node and the API server keep (audit serials, process ids, resource
//! versions) live here too, since they follow the order in which things are written.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use palisade_events::time::{DAY, Micros, SECOND};

use crate::random::Random;
use crate::record::{Label, Record, Stream};
use crate::settings::Settings;
use crate::text::Calendar;

/// API servers, each with a log shipper of its own.
const API_SERVERS: usize = 2;

/// Shippers' lags are below this, whatever is asked for.
const LAG_LIMIT: Micros = 600 * SECOND;

/// Bounds the memory of a drill to some ten megabytes beyond what its rate and the shippers' lags need.
const WAITING_MAX: usize = 10_000;

pub(crate) struct Wire {
    pub(crate) random: Random,
    pub(crate) calendar: Calendar,
    /// Where the next payload is written.
    pub(crate) buffer: String,
    resource_version: u64,
    queue: BinaryHeap<Queued>,
    sequence: u64,
    watched: u8,
    late: Late,
    audit_lags: [Micros; API_SERVERS],
    registry_lag: Micros,
    nodes: Vec<NodeWire>,
    losses: Vec<Loss>,
}

struct NodeWire {
    /// By stream.
    lags: [Micros; Stream::ALL.len()],
    serial: u64,
    /// Time of the newest audit event: the kernel's stamps do not run backwards.
    audited: Micros,
    pid: u64,
}

/// Which records are delivered late.
struct Late {
    /// Of 2³² records.
    share: u64,
    max: Micros,
}

/// A window in which a sensor lost what it saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// What was lost of.
    pub stream: Stream,
    /// On which node; on all, if absent.
    pub node: Option<String>,
    /// Event time, from here on.
    pub from: Micros,
    /// Up to, but without, this.
    pub until: Micros,
    /// Records that were lost so far.
    pub records: u64,
    /// Whether the source itself tells of it.
    pub stated: Stated,
    pub(crate) index: Option<usize>,
}

/// Whether a source tells of what it lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// By a record of its own, or by a gap in its serials.
    Yes,
    /// Nobody told it to say so, or it could not.
    No,
}

impl Wire {
    pub(crate) fn new(settings: &Settings, mut random: Random, nodes: usize) -> Self {
        let lag_max = settings.skew_max.clamp(0, LAG_LIMIT);
        let audit_lags = std::array::from_fn(|_| random.between(lag_max / 20, lag_max));
        let registry_lag = random.between(lag_max / 20, lag_max);
        let nodes = (0..nodes)
            .map(|_| NodeWire {
                lags: std::array::from_fn(|_| random.between(lag_max / 80, lag_max / 8 * 5)),
                serial: random.below(900_000) + 1_000,
                audited: Micros::MIN,
                pid: random.below(400_000) + 2_000,
            })
            .collect();
        let resource_version = 40_000_000 + random.below(10_000_000);
        let share = if settings.late_share.is_nan() { 0.0 } else { settings.late_share.clamp(0.0, 1.0) };
        Self {
            random,
            calendar: Calendar::default(),
            buffer: String::with_capacity(8 << 10),
            resource_version,
            queue: BinaryHeap::new(),
            sequence: 0,
            watched: settings.streams.iter().fold(0, |mask, stream| mask | stream.bit()),
            late: Late { share: (share * 4_294_967_296.0) as u64, max: settings.late_max.clamp(0, DAY) },
            audit_lags,
            registry_lag,
            nodes,
            losses: Vec::new(),
        }
    }

    /// Whether a stream is written at all.
    pub(crate) fn watches(&self, stream: Stream) -> bool {
        self.watched & stream.bit() != 0
    }

    /// From now on, what a sensor sees within the window is lost. Gives the loss's number.
    pub(crate) fn lose(&mut self, loss: Loss) -> usize {
        self.losses.push(loss);
        self.losses.len() - 1
    }

    /// What was lost, in the order in which it was begun.
    pub(crate) fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// The next record that was delivered by `horizon`.
    pub(crate) fn delivered(&mut self, horizon: Micros) -> Option<Record> {
        (self.queue.peek()?.arrival <= horizon).then(|| self.queue.pop()).flatten().map(|queued| queued.record)
    }

    /// Whether so many records wait already that nothing should be begun that holds one back for minutes.
    pub(crate) fn is_crowded(&self) -> bool {
        self.queue.len() >= WAITING_MAX
    }

    pub(crate) fn next_version(&mut self) -> u64 {
        self.resource_version += 1 + self.random.below(3);
        self.resource_version
    }

    /// The serial and the stamp of a node's next audit event, which happens at `at`.
    pub(crate) fn next_serial(&mut self, node: usize, at: Micros) -> (u64, Micros) {
        let node = &mut self.nodes[node];
        node.serial += 1;
        node.audited = node.audited.max(at);
        (node.serial, node.audited)
    }

    pub(crate) fn next_pid(&mut self, node: usize) -> u64 {
        let pid = &mut self.nodes[node].pid;
        // The kernel's usual pid_max on 64-bit machines.
        *pid = if *pid >= 4_194_303 { 300 } else { *pid + 1 };
        *pid
    }

    /// Sends what is in the buffer as an audit event logged by an API server.
    pub(crate) fn send_audit(&mut self, server: usize, time: Micros, user: &str, label: Option<Label>) {
        let lag = self.audit_lags[server % API_SERVERS];
        self.send(Stream::K8sAudit, None, time, lag, user, label);
    }

    /// Sends what is in the buffer as a record of a sensor on a node, whose name is the key.
    pub(crate) fn send_node(&mut self, stream: Stream, node: usize, time: Micros, name: &str, label: Option<Label>) {
        let lag = self.nodes[node].lags[stream as usize];
        self.send(stream, Some(node), time, lag, name, label);
    }

    /// Sends what is in the buffer as a notification of the registry about a repository.
    pub(crate) fn send_registry(&mut self, time: Micros, repository: &str, label: Option<Label>) {
        self.send(Stream::Registry, None, time, self.registry_lag, repository, label);
    }

    fn send(
        &mut self,
        stream: Stream,
        node: Option<usize>,
        time: Micros,
        lag: Micros,
        key: &str,
        label: Option<Label>,
    ) {
        if !self.watches(stream) || (!self.losses.is_empty() && self.is_lost(stream, node, time)) {
            return self.buffer.clear();
        }
        let lag = lag + self.lateness(stream, time);
        let record = Record { stream, time, key: key.into(), payload: self.buffer.as_bytes().to_vec(), label };
        self.buffer.clear();
        self.sequence += 1;
        self.queue.push(Queued { arrival: time + lag, sequence: self.sequence, record });
    }

    fn is_lost(&mut self, stream: Stream, node: Option<usize>, time: Micros) -> bool {
        let hit = self.losses.iter_mut().find(|loss| {
            loss.stream == stream
                && (loss.from..loss.until).contains(&time)
                && (loss.index.is_none() || loss.index == node)
        });
        hit.map(|loss| loss.records += 1).is_some()
    }

    /// The same for all records of one moment, so that the lines of an event arrive together.
    fn lateness(&self, stream: Stream, time: Micros) -> Micros {
        if self.late.share == 0 || self.late.max == 0 {
            return 0;
        }
        let mixed = (time as u64 ^ (stream as u64) << 56).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        if mixed >> 32 >= self.late.share { 0 } else { (mixed & 0xffff_ffff) as i64 % self.late.max }
    }
}

/// A record under way. The greatest is the one to deliver first.
struct Queued {
    arrival: Micros,
    sequence: u64,
    record: Record,
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.arrival, other.sequence).cmp(&(self.arrival, self.sequence))
    }
}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Queued {}
