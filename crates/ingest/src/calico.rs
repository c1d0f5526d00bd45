//! Calico's flow logs, in four spellings: the documents of Enterprise and Cloud, Goldmane's flows as Go writes them
//! (`source_name`, enumerations as numbers) and as protobuf's JSON (`sourceName`, 64-bit integers as text), and Whisker's.
//!
//! A flow log counts what happened on one flow in a window, and is dated by the window's end, when it was written. Bytes
//! and packets are those since the last log. They are counted in and out of the endpoint that reports; the columns count
//! them from source to destination, so that what both ends report of one connection is equal. One connection is reported
//! by both ends: where addresses and ports are there the connection's id is the same, where aggregation took them away
//! `metadata_correlation_uid` is, a text made of the names that are left and the window's start.
//!
//! The row itself is about the end that reports: the source, or the destination. A log of traffic that only passes through
//! a node (`fwd`) is about neither.
//!
//! Not here: policies' names and order (see [`policies`]), names that stand for several pods (see [`end`]).

use std::borrow::Cow;

use palisade_events::schema::{Long, Word};
use palisade_events::time::{Micros, SECOND, parse_rfc3339};
use palisade_events::{EventBuilder, RecordMeta, col};

use self::end::{End, present};
use self::policies::Policies;
use crate::activity::{Activity, NETWORK};
use crate::decode::in_range;
use crate::document::{JsonFormat, Made, Reading, Refusal};
use crate::json::{Columns, Value};
use crate::network::Connection;
use crate::put::{self, spelled, words};

mod end;
mod policies;

/// OCSF activities of the network class.
const REFUSE: i32 = 5;
const TRAFFIC: i32 = 6;

/// Integers above this are milliseconds: as seconds they would lie three thousand years ahead.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Reads flow logs.
#[derive(Debug, Default)]
pub(crate) struct Calico;

impl JsonFormat for Calico {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let refusal = ("not_a_calico_flow", "no reporter, action and endpoints, nor a flow's key".to_owned());
        if !root.is_object() {
            return Err(refusal);
        }
        let mut flow = Flow { list_items_max: reading.list_items_max(), ..Flow::default() };
        reading.walk(root, Place::Root, &mut flow);
        if !flow.is_flow() {
            return Err(refusal);
        }
        let Some((time, original)) = flow.time(reading.record) else {
            return Err(("missing_time", "no readable time in the flow or its carrier".to_owned()));
        };
        reading.cut |= flow.cut;
        put::cluster(reading, flow.cluster);
        flow.finish(reading.row);
        Ok(Made::Event { time, original })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    /// Goldmane's flow, inside of what carries it.
    Flow,
    /// The part of it by which flows are told apart.
    Key,
    Policies,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reporter {
    Source,
    Destination,
    Forwarder,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
    /// Left to the next tier: not the last word.
    Pass,
}

/// What the walk noticed and later columns depend on.
#[derive(Default)]
struct Flow<'i> {
    list_items_max: usize,
    cut: bool,
    cluster: Option<&'i str>,
    has_key: bool,
    ends: [End<'i>; 2],
    reporter: Option<Reporter>,
    action: Option<Action>,
    start: Option<Moment<'i>>,
    end: Option<Moment<'i>>,
    /// When the document was indexed.
    indexed: Option<Moment<'i>>,
    protocol: Option<Cow<'i, str>>,
    service: [Option<&'i str>; 2],
    policies: Policies<'i>,
    flows: Option<i64>,
    /// Connections that were begun, were ended, and go on.
    connections: [i64; 3],
    /// Into and out of the reporter, bytes and packets.
    bytes: [Option<i64>; 2],
    packets: [Option<i64>; 2],
}

/// A time, and how it was written.
struct Moment<'i> {
    time: Micros,
    original: Cow<'i, str>,
}

impl<'i> Columns<'i> for Flow<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        if place == Place::Policies {
            self.cut |= self.policies.take(key, value, self.list_items_max);
            return None;
        }
        match key {
            "flow" if place == Place::Root => return Some(Place::Flow),
            "Key" | "key" if place != Place::Key && value.is_object() => {
                self.has_key = true;
                return Some(Place::Key);
            }
            "policies" if value.is_array() => {
                self.cut |= self.policies.take("all_policies", value, self.list_items_max);
            }
            "policies" => return Some(Place::Policies),
            _ => {
                if let Some(key) = key.strip_prefix("source") {
                    self.cut |= self.ends[0].take(key, value, self.list_items_max);
                } else if let Some(key) = key.strip_prefix("dest") {
                    self.destination_key(key, value, row);
                } else {
                    self.flow_key(key, value, row);
                }
            }
        }
        None
    }
}

impl<'i> Flow<'i> {
    fn destination_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        match key {
            "_service_namespace" | "ServiceNamespace" => self.service[0] = present(value),
            "_service_name" | "ServiceName" => self.service[1] = present(value),
            "_domains" => {
                if let Some(name) = value.items().find_map(present) {
                    put::dns_name(row, col::DST_ENDPOINT_HOSTNAME, name);
                }
            }
            _ => self.cut |= self.ends[1].take(key, value, self.list_items_max),
        }
    }

    fn flow_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        match key {
            "start_time" | "startTime" => self.start = moment(value),
            "end_time" | "endTime" => self.end = moment(value),
            "@timestamp" => self.indexed = moment(value),
            "reporter" => self.reporter = reporter(value),
            "action" => self.action = action(value),
            "proto" | "protocol" => self.protocol = spelled(value).filter(|name| name != "-"),
            "host" => put_some(row, col::DEVICE_HOSTNAME, present(value)),
            "cluster" => self.cluster = present(value),
            "num_flows" => self.flows = value.int(),
            "num_connections_started" | "numConnectionsStarted" => self.connections[0] = value.int().unwrap_or(0),
            "num_connections_completed" | "numConnectionsCompleted" => self.connections[1] = value.int().unwrap_or(0),
            "num_connections_live" | "numConnectionsLive" => self.connections[2] = value.int().unwrap_or(0),
            "bytes_in" | "bytesIn" => self.bytes[0] = value.int(),
            "bytes_out" | "bytesOut" => self.bytes[1] = value.int(),
            "packets_in" | "packetsIn" => self.packets[0] = value.int(),
            "packets_out" | "packetsOut" => self.packets[1] = value.int(),
            "original_source_ips" => self.cut |= words(row, col::SRC_ENDPOINT_IPS, value, self.list_items_max),
            "process_name" => {
                // A name, or the whole path if the agent is told to find it.
                if let Some(name) = single(value) {
                    if name.starts_with('/') {
                        row.put_word(col::PROCESS_FILE_PATH, name);
                    }
                    put_some(row, col::PROCESS_NAME, name.rsplit('/').next());
                }
            }
            "process_id" => {
                if let Some(pid) = value.int().filter(|&pid| pid > 0) {
                    row.put_long(col::PROCESS_PID, pid);
                }
            }
            "process_args" => {
                if let Some(args) = single(value).or_else(|| value.items().find_map(single)) {
                    row.put_text(col::PROCESS_CMD_LINE, args);
                }
            }
            _ => {}
        }
    }

    fn is_flow(&self) -> bool {
        let is_named = self.ends.iter().any(End::is_named);
        let (reporter, action) = (self.reporter.is_some(), self.action.is_some());
        if self.has_key { is_named || (reporter && action) } else { is_named && reporter && action }
    }

    fn time(&self, record: &RecordMeta) -> Option<(Micros, Cow<'i, str>)> {
        let written = [&self.end, &self.start, &self.indexed].into_iter().flatten().next();
        if let Some(moment) = written {
            return Some((moment.time, moment.original.clone()));
        }
        Some((record.time.and_then(in_range)?, Cow::Borrowed("")))
    }

    /// Fills what several parts of the flow decide together.
    fn finish(self, row: &mut EventBuilder) {
        let is_denied = self.action == Some(Action::Deny);
        Activity::new(NETWORK, if is_denied { REFUSE } else { TRAFFIC }).put(row);
        row.put_word(col::METADATA_PRODUCT_NAME, "calico");
        let action = match self.action {
            Some(Action::Allow) => Some("allowed"),
            Some(Action::Deny) => Some("denied"),
            Some(Action::Pass) | None => None,
        };
        put_some(row, col::ACTION, action);
        if is_denied {
            row.put_int(col::STATUS_ID, 2);
        }
        self.put_connection(row);
        self.put_ends(row);
        self.put_counts(row);
        if let Some(names) = self.policies.names() {
            row.put_words(col::POLICY_NAMES, names);
        }
        match self.service {
            [Some(namespace), Some(name)] => row.put_word(col::DST_ENDPOINT_SERVICE, &format!("{namespace}/{name}")),
            [_, name] => put_some(row, col::DST_ENDPOINT_SERVICE, name),
        }
        let (point, direction) = match self.reporter {
            Some(Reporter::Source) => ("src", Some("outbound")),
            Some(Reporter::Destination) => ("dst", Some("inbound")),
            Some(Reporter::Forwarder) => ("fwd", None),
            None => return,
        };
        row.put_word(col::OBSERVATION_POINT, point);
        put_some(row, col::CONNECTION_DIRECTION, direction);
    }

    fn put_connection(&self, row: &mut EventBuilder) {
        let [source, destination] = &self.ends;
        let protocol = self.protocol.as_deref();
        let mut connection = Connection {
            src_ip: source.ip,
            src_port: source.port,
            dst_ip: destination.ip,
            dst_port: destination.port,
            protocol,
        };
        // Messages of ICMP have types and codes instead of ports, which flow logs do not tell.
        let is_icmp = protocol.is_some_and(|name| {
            matches!(name, "1" | "58") || name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("icmp"))
        });
        if is_icmp {
            (connection.src_port, connection.dst_port) = (None, None);
        }
        connection.put(row);
        if !row.is_set(col::CONNECTION_UID.index())
            && let Some(start) = &self.start
        {
            let key = format!(
                "{}|{}|{}|{}|{}",
                start.time / SECOND,
                source.key(),
                destination.key(),
                destination.port.unwrap_or(0),
                protocol.unwrap_or("-").to_ascii_lowercase(),
            );
            row.put_text(col::METADATA_CORRELATION_UID, &key);
        }
    }

    fn put_ends(&self, row: &mut EventBuilder) {
        let [source, destination] = &self.ends;
        source.put(row, &end::SOURCE);
        destination.put(row, &end::DESTINATION);
        match self.reporter {
            Some(Reporter::Source) => source.put_local(row),
            Some(Reporter::Destination) => destination.put_local(row),
            Some(Reporter::Forwarder) | None => {}
        }
    }

    fn put_counts(&self, row: &mut EventBuilder) {
        let [begun, ended, live] = self.connections;
        let count = self.flows.unwrap_or_else(|| begun.max(ended.saturating_add(live)));
        if count > 1 {
            row.put_long(col::EVENT_COUNT, count);
        }
        let put = |row: &mut EventBuilder, column: Long, count: Option<i64>| {
            if let Some(count) = count.filter(|&count| count >= 0) {
                row.put_long(column, count);
            }
        };
        let mut counts = [self.bytes, self.packets];
        if self.reporter == Some(Reporter::Destination) {
            counts.iter_mut().for_each(|counts| counts.reverse());
        }
        let [[bytes_in, bytes_out], [packets_in, packets_out]] = counts;
        put(row, col::TRAFFIC_BYTES_IN, bytes_in);
        put(row, col::TRAFFIC_BYTES_OUT, bytes_out);
        put(row, col::TRAFFIC_PACKETS_IN, packets_in);
        put(row, col::TRAFFIC_PACKETS_OUT, packets_out);
    }
}

fn put_some(row: &mut EventBuilder, column: Word, word: Option<&str>) {
    if let Some(word) = word.filter(|word| !word.is_empty()) {
        row.put_word(column, word);
    }
}

/// Text that stands for one thing: `*` stands for more than the agent was told to keep.
fn single<'i>(value: Value<'_, 'i>) -> Option<&'i str> {
    present(value).filter(|text| *text != "*")
}

/// Seconds or milliseconds since the epoch, as a number or as text, or an RFC 3339 time. Zero is no time.
fn moment<'i>(value: Value<'_, 'i>) -> Option<Moment<'i>> {
    let original = spelled(value)?;
    let time = match value.int() {
        Some(..=0) => return None,
        Some(seconds @ ..SECONDS_MAX) => seconds.checked_mul(SECOND)?,
        Some(millis) => millis.checked_mul(SECOND / 1000)?,
        None => parse_rfc3339(value.str()?)?,
    };
    Some(Moment { time: in_range(time)?, original })
}

fn reporter(value: Value<'_, '_>) -> Option<Reporter> {
    match (value.str(), value.int()) {
        (Some("src" | "Src"), _) | (_, Some(1)) => Some(Reporter::Source),
        (Some("dst" | "Dst"), _) | (_, Some(2)) => Some(Reporter::Destination),
        (Some("fwd" | "Fwd"), _) => Some(Reporter::Forwarder),
        _ => None,
    }
}

fn action(value: Value<'_, '_>) -> Option<Action> {
    match (value.str(), value.int()) {
        (Some("allow" | "Allow"), _) | (_, Some(1)) => Some(Action::Allow),
        (Some("deny" | "Deny"), _) | (_, Some(2)) => Some(Action::Deny),
        (Some("pass" | "Pass"), _) | (_, Some(3)) => Some(Action::Pass),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
