//! The way out: records wait here until the shipper of their stream would have delivered them.
//!
//! Not here: what records say. The counters that every node and the API server keep (audit serials, process ids, resource
//! versions) live here too, since they follow the order in which things are written.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use palisade_events::time::Micros;

use crate::random::Random;
use crate::record::{Record, Stream, Truth};
use crate::text::Calendar;

/// API servers, each with a log shipper of its own.
const API_SERVERS: usize = 2;

/// Longest time from an event to its delivery: lags are drawn below it, once for each shipper.
pub(crate) const LAG_MAX: Micros = 400_000;

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
    audit_lags: [Micros; API_SERVERS],
    nodes: Vec<NodeWire>,
}

struct NodeWire {
    falco_lag: Micros,
    auditd_lag: Micros,
    serial: u64,
    /// Time of the newest audit event: the kernel's stamps do not run backwards.
    audited: Micros,
    pid: u64,
}

impl Wire {
    pub(crate) fn new(mut random: Random, nodes: usize) -> Self {
        let audit_lags = std::array::from_fn(|_| random.between(20_000, LAG_MAX));
        let nodes = (0..nodes)
            .map(|_| NodeWire {
                falco_lag: random.between(50_000, 250_000),
                auditd_lag: random.between(5_000, 150_000),
                serial: random.below(900_000) + 1_000,
                audited: Micros::MIN,
                pid: random.below(400_000) + 2_000,
            })
            .collect();
        let resource_version = 40_000_000 + random.below(10_000_000);
        Self {
            random,
            calendar: Calendar::default(),
            buffer: String::with_capacity(8 << 10),
            resource_version,
            queue: BinaryHeap::new(),
            sequence: 0,
            audit_lags,
            nodes,
        }
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
    pub(crate) fn send_audit(&mut self, server: usize, time: Micros, user: &str, truth: Option<Truth>) {
        let lag = self.audit_lags[server % API_SERVERS];
        self.send(Stream::K8sAudit, time, lag, user, truth);
    }

    /// Sends what is in the buffer as an alert of a node's Falco.
    pub(crate) fn send_falco(&mut self, node: usize, time: Micros, name: &str, truth: Option<Truth>) {
        let lag = self.nodes[node].falco_lag;
        self.send(Stream::Falco, time, lag, name, truth);
    }

    /// Sends what is in the buffer as a line of a node's audit log.
    pub(crate) fn send_auditd(&mut self, node: usize, time: Micros, name: &str, truth: Option<Truth>) {
        let lag = self.nodes[node].auditd_lag;
        self.send(Stream::Auditd, time, lag, name, truth);
    }

    fn send(&mut self, stream: Stream, time: Micros, lag: Micros, key: &str, truth: Option<Truth>) {
        let record = Record { stream, time, key: key.into(), payload: self.buffer.as_bytes().to_vec(), truth };
        self.buffer.clear();
        self.sequence += 1;
        self.queue.push(Queued { arrival: time + lag, sequence: self.sequence, record });
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
