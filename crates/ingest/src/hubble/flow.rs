//! A flow: one packet, connection or request, as Cilium saw it at one point of its way.
//!
//! Source and destination are the packet's: an answer has them swapped. The connection's id is the same for both, and the
//! points at which one packet was seen are told apart by `observation_point`.
//!
//! The row itself is about the endpoint that was observed, on the node that wrote the flow: of an outgoing connection the
//! one that opened it, of an incoming one the one that took it, whichever way the packet went. Where the direction is not
//! known, it is the end that has an id on the node, else the sender, or the receiver where the packet was seen on its way
//! into an endpoint. So what is counted by workload or namespace is counted once, at the side that the node vouches for.
//!
//! Not here: the envelope, and which documents are flows at all; what is told of requests (see [`layer7`]).

use std::borrow::Cow;

use palisade_events::fields::FieldRef;
use palisade_events::{EventBuilder, col};

use super::end::{self, End, Side};
use super::layer7::{self, Layer7};
use super::{lower, put_some};
use crate::activity::{Activity, NETWORK};
use crate::json::Value;
use crate::network::Connection;
use crate::put::{first, text};

/// The cluster's name where nobody gave it one.
const CLUSTER_UNNAMED: &str = "default";

/// Points at which a packet is traced.
const POINTS: [&str; 12] = [
    "to_endpoint",
    "to_proxy",
    "to_stack",
    "to_overlay",
    "to_host",
    "to_network",
    "from_endpoint",
    "from_proxy",
    "from_host",
    "from_stack",
    "from_overlay",
    "from_network",
];

/// A kind of object in a flow.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Flow,
    Ip,
    Layer4,
    Ports,
    Icmp,
    Flags,
    End(Side),
    Service,
    EventType,
    Layer7(layer7::Part),
    Aggregate,
    Trace,
    TraceParent,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Ingress,
    Egress,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Forwarded, redirected to a proxy, traced or translated: not held back.
    Passed,
    Dropped,
    Error,
    /// It would have been dropped if the policy were enforced.
    Audit,
}

/// What the walk noticed and later columns depend on.
#[derive(Default)]
pub(super) struct Flow<'i> {
    list_items_max: usize,
    cut: bool,
    /// A verdict or a type of flow was read: nobody but Hubble writes those.
    is_told: bool,
    has_parts: bool,
    time: Option<&'i str>,
    node: Option<&'i str>,
    verdict: Option<Verdict>,
    drop_reason: Option<Cow<'i, str>>,
    connection: Connection<'i>,
    /// Type and code of an ICMP message.
    icmp: Option<(u16, u16)>,
    flags: Flags,
    /// Source and destination.
    ends: [End<'i>; 2],
    direction: Option<Direction>,
    is_reply: bool,
    point: Option<&'i str>,
    other_point: Option<&'i str>,
    event_type: Option<i64>,
    /// Namespace and name.
    service: [Option<&'i str>; 2],
    policies: Vec<Cow<'i, str>>,
    count: i64,
    layer7: Layer7<'i>,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    syn: bool,
    ack: bool,
    fin: bool,
    rst: bool,
}

impl<'i> Flow<'i> {
    pub(super) fn new(list_items_max: usize) -> Self {
        Self { list_items_max, layer7: Layer7::new(list_items_max), ..Self::default() }
    }

    /// Takes what `key` holds in a part of the flow, and says which part lies beneath.
    pub(super) fn key(
        &mut self,
        part: Part,
        key: &'i str,
        value: Value<'_, 'i>,
        row: &mut EventBuilder,
    ) -> Option<Part> {
        match part {
            Part::Flow => return self.flow_key(key, value, row),
            Part::Ip => match key {
                "source" => first(&mut self.connection.src_ip, value),
                "destination" => first(&mut self.connection.dst_ip, value),
                _ => {}
            },
            Part::Layer4 => return self.layer4_key(key, value),
            Part::Ports => match key {
                "source_port" => self.connection.src_port = port(value),
                "destination_port" => self.connection.dst_port = port(value),
                "flags" => return Some(Part::Flags),
                _ => {}
            },
            Part::Icmp => {
                let (kind, code) = self.icmp.unwrap_or_default();
                match key {
                    "type" => self.icmp = Some((port(value).unwrap_or(kind), code)),
                    "code" => self.icmp = Some((kind, port(value).unwrap_or(code))),
                    _ => {}
                }
            }
            Part::Flags => match key {
                "SYN" => self.flags.syn = is_true(value),
                "ACK" => self.flags.ack = is_true(value),
                "FIN" => self.flags.fin = is_true(value),
                "RST" => self.flags.rst = is_true(value),
                _ => {}
            },
            Part::End(side) => self.cut |= self.ends[side as usize].take(key, value, self.list_items_max),
            Part::Service => match key {
                "namespace" => first(&mut self.service[0], value),
                "name" => first(&mut self.service[1], value),
                _ => {}
            },
            Part::EventType if key == "type" => self.event_type = value.int(),
            Part::Layer7(part) => return self.layer7.key(part, key, value, row).map(Part::Layer7),
            Part::Aggregate if key.ends_with("_flow_count") => {
                self.count = self.count.saturating_add(value.int().unwrap_or(0));
            }
            Part::Trace if key == "parent" => return Some(Part::TraceParent),
            Part::TraceParent if key == "trace_id" => text(row, col::METADATA_CORRELATION_UID, value),
            _ => {}
        }
        None
    }

    fn flow_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Part> {
        let part = match key {
            "IP" => Part::Ip,
            "l4" => Part::Layer4,
            "source" => Part::End(Side::Source),
            "destination" => Part::End(Side::Destination),
            "destination_service" => Part::Service,
            "event_type" => Part::EventType,
            "l7" => Part::Layer7(layer7::Part::Layer7),
            "aggregate" => Part::Aggregate,
            "trace_context" => Part::Trace,
            _ => {
                self.flow_value(key, value, row);
                return None;
            }
        };
        self.has_parts |= value.is_object();
        Some(part)
    }

    fn flow_value(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        match key {
            "time" => first(&mut self.time, value),
            "node_name" => first(&mut self.node, value),
            "uuid" => text(row, col::METADATA_UID, value),
            "Summary" => text(row, col::MESSAGE, value),
            "verdict" => {
                let (is_known, verdict) = verdict(value);
                self.is_told |= is_known;
                self.verdict = verdict;
            }
            "Type" => {
                if let Some(name) = value.str().filter(|name| matches!(*name, "L3_L4" | "L7" | "SOCK" | "UNKNOWN_TYPE"))
                {
                    self.is_told = true;
                    row.put_word(col::METADATA_LOG_NAME, name);
                }
            }
            // The name wins over the number, which is deprecated.
            "drop_reason_desc" => self.drop_reason = reason(value).or(self.drop_reason.take()),
            "drop_reason" if self.drop_reason.is_none() => self.drop_reason = reason(value),
            "traffic_direction" => self.direction = direction(value),
            "trace_observation_point" => first(&mut self.point, value),
            "sock_xlate_point" | "debug_capture_point" => first(&mut self.other_point, value),
            "is_reply" | "reply" => self.is_reply |= is_true(value),
            "source_names" => self.ends[0].hostname = value.items().find_map(Value::text),
            "destination_names" => self.ends[1].hostname = value.items().find_map(Value::text),
            "egress_allowed_by" | "ingress_allowed_by" | "egress_denied_by" | "ingress_denied_by" => {
                self.take_policies(value);
            }
            _ => {}
        }
    }

    fn take_policies(&mut self, value: Value<'_, 'i>) {
        for policy in value.items() {
            let Some(name) = policy.get("name").and_then(Value::text) else { continue };
            let policy = match policy.get("namespace").and_then(Value::text) {
                Some(namespace) => Cow::Owned(format!("{namespace}/{name}")),
                None => Cow::Borrowed(name),
            };
            if self.policies.contains(&policy) {
                continue;
            }
            if self.policies.len() >= self.list_items_max {
                self.cut = true;
                return;
            }
            self.policies.push(policy);
        }
    }

    fn layer4_key(&mut self, key: &'i str, value: Value<'_, 'i>) -> Option<Part> {
        if !value.is_object() {
            return None;
        }
        self.connection.protocol = Some(key);
        match key {
            "TCP" | "UDP" | "SCTP" => Some(Part::Ports),
            "ICMPv4" | "ICMPv6" => {
                // What is zero is left out: an echo reply has neither type nor code.
                self.icmp = Some((0, 0));
                Some(Part::Icmp)
            }
            _ => None,
        }
    }

    /// Whether it says of itself that it is a flow.
    pub(super) fn is_told(&self) -> bool {
        self.is_told
    }

    /// Whether it has any of a flow's objects.
    pub(super) fn has_parts(&self) -> bool {
        self.has_parts
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut || self.layer7.cut
    }

    pub(super) fn time(&self) -> Option<&'i str> {
        self.time
    }

    /// Fills what several parts of the flow decide together; `node` is what the envelope calls the node.
    pub(super) fn finish(mut self, node: Option<&'i str>, row: &mut EventBuilder) {
        self.activity().put(row);
        row.put_word(col::METADATA_PRODUCT_NAME, "hubble");
        if let Some((kind, code)) = self.icmp {
            (self.connection.src_port, self.connection.dst_port) = (Some(kind), Some(code));
        }
        self.connection.put(row);
        self.put_outcome(row);
        self.put_ends(row);
        let local = self.local();
        self.ends[local as usize].put_local(row);
        put_node(self.node.or(node), row);
        let direction = match self.direction {
            Some(Direction::Ingress) => Some("inbound"),
            Some(Direction::Egress) => Some("outbound"),
            None => None,
        };
        put_some(row, col::CONNECTION_DIRECTION, direction);
        if let Some(point) = self.observation_point() {
            row.put_word(col::OBSERVATION_POINT, &point);
        }
        if !self.policies.is_empty() {
            row.put_words(col::POLICY_NAMES, self.policies.iter().map(AsRef::as_ref));
        }
        if self.count > 1 {
            row.put_long(col::EVENT_COUNT, self.count);
        }
        self.layer7.put(row);
    }

    /// Fills what an event that is no flow has of one: an endpoint, as its source, and a node.
    pub(super) fn finish_notice(&self, node: Option<&'i str>, row: &mut EventBuilder) {
        row.put_word(col::METADATA_PRODUCT_NAME, "hubble");
        self.ends[0].put_local(row);
        put_node(node, row);
    }

    fn activity(&self) -> Activity {
        self.layer7.activity().unwrap_or_else(|| {
            let id = match self.verdict {
                Some(Verdict::Dropped) => 5,
                Some(Verdict::Error) => 4,
                _ if self.flags.rst => 3,
                _ if self.flags.fin => 2,
                _ if self.flags.syn && !self.flags.ack => 1,
                _ => 6,
            };
            Activity::new(NETWORK, id)
        })
    }

    fn put_outcome(&self, row: &mut EventBuilder) {
        let action = match self.verdict {
            Some(Verdict::Passed) => Some("allowed"),
            Some(Verdict::Dropped) => Some("denied"),
            Some(Verdict::Audit) => Some("observed"),
            Some(Verdict::Error) | None => None,
        };
        put_some(row, col::ACTION, action);
        // That a packet passed does not tell what became of its connection; an answer tells of its request.
        let failed = match self.verdict {
            Some(Verdict::Dropped | Verdict::Error) => Some(true),
            _ => self.layer7.failed(),
        };
        if let Some(failed) = failed {
            row.put_int(col::STATUS_ID, if failed { 2 } else { 1 });
        }
        if let Some(reason) = self.drop_reason.as_deref().filter(|_| failed == Some(true)) {
            row.put_text(col::STATUS_DETAIL, reason);
        }
    }

    fn put_ends(&self, row: &mut EventBuilder) {
        for (end, columns) in self.ends.iter().zip(&end::COLUMNS) {
            end.put(row, columns);
        }
        match self.service {
            [Some(namespace), Some(name)] => row.put_word(col::DST_ENDPOINT_SERVICE, &format!("{namespace}/{name}")),
            [_, name] => put_some(row, col::DST_ENDPOINT_SERVICE, name),
        }
    }

    /// The end that was observed.
    fn local(&self) -> Side {
        let [source, destination] = &self.ends;
        let is_senders = match self.direction {
            // The direction is the connection's: an answer goes against it.
            Some(direction) => (direction == Direction::Egress) != self.is_reply,
            None if source.is_local != destination.is_local => source.is_local,
            None => self.point != Some("TO_ENDPOINT"),
        };
        if is_senders { Side::Source } else { Side::Destination }
    }

    /// The cluster that it was seen in, if it has a name; `node` is what the envelope calls the node, whose name may begin
    /// with that of its cluster.
    pub(super) fn cluster(&self, node: Option<&'i str>) -> Option<&'i str> {
        let of_node = self.node.or(node).and_then(|node| node.split_once('/')).map(|(cluster, _)| cluster);
        let of_local = self.ends[self.local() as usize].cluster;
        let cluster = of_node.or(of_local).or_else(|| self.ends.iter().find_map(|end| end.cluster));
        cluster.filter(|cluster| *cluster != CLUSTER_UNNAMED)
    }

    fn observation_point(&self) -> Option<Cow<'i, str>> {
        let known = |point: &&str| !point.starts_with("UNKNOWN") && !point.ends_with("_UNKNOWN");
        if let Some(point) = self.point.or(self.other_point).filter(known) {
            return Some(lower(&POINTS, point));
        }
        // Types of Cilium's monitor: what is seen elsewhere than at a trace point.
        Some(match self.event_type? {
            1 => "drop".into(),
            3 => "capture".into(),
            5 => "policy_verdict".into(),
            129 => "proxy".into(),
            _ => return None,
        })
    }
}

/// The node, without its cluster.
fn put_node(node: Option<&str>, row: &mut EventBuilder) {
    put_some(row, col::DEVICE_HOSTNAME, node.map(|node| node.split_once('/').map_or(node, |(_, node)| node)));
}

/// Whether a verdict is one of Hubble's, and which, if it is known what it decided. Some writers write its number.
fn verdict(value: Value<'_, '_>) -> (bool, Option<Verdict>) {
    let verdict = match (value.str(), value.int()) {
        (Some("FORWARDED" | "REDIRECTED" | "TRACED" | "TRANSLATED"), _) | (None, Some(1 | 5..=7)) => Verdict::Passed,
        (Some("DROPPED"), _) | (None, Some(2)) => Verdict::Dropped,
        (Some("ERROR"), _) | (None, Some(3)) => Verdict::Error,
        (Some("AUDIT"), _) | (None, Some(4)) => Verdict::Audit,
        (Some(name), _) => return (name == "VERDICT_UNKNOWN", None),
        _ => return (false, None),
    };
    (true, Some(verdict))
}

fn direction(value: Value<'_, '_>) -> Option<Direction> {
    match (value.str(), value.int()) {
        (Some("INGRESS"), _) | (None, Some(1)) => Some(Direction::Ingress),
        (Some("EGRESS"), _) | (None, Some(2)) => Some(Direction::Egress),
        _ => None,
    }
}

/// Why a packet was dropped: a name, or a number of which the common ones have their names here.
fn reason<'i>(value: Value<'_, 'i>) -> Option<Cow<'i, str>> {
    match value.int() {
        None => value.text().filter(|name| *name != "DROP_REASON_UNKNOWN").map(Cow::Borrowed),
        Some(0) => None,
        Some(133) => Some("POLICY_DENIED".into()),
        Some(181) => Some("POLICY_DENY".into()),
        Some(189) => Some("AUTH_REQUIRED".into()),
        Some(number) => Some(format!("drop reason {number}").into()),
    }
}

/// A boolean, bare or as the object that wraps one.
fn is_true(value: Value<'_, '_>) -> bool {
    let is_true = |value: Value<'_, '_>| matches!(value.scalar(), FieldRef::Bool(true) | FieldRef::Str("true"));
    is_true(value) || value.get("value").is_some_and(is_true)
}

fn port(value: Value<'_, '_>) -> Option<u16> {
    value.int().and_then(|n| u16::try_from(n).ok())
}
