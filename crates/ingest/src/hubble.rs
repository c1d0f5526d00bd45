//! Hubble: the flows that Cilium saw, what it decided about them, and what it tells of itself, wrapped as `hubble observe`
//! and the exporter write them, or the bare flow of older versions.
//!
//! A document holds one of: a flow; lost events or a node's status, which become coverage facts; an event of the agent or
//! of the datapath's debugging, which become events of the base class.
//!
//! Not here: what a flow means (see [`flow`]), what its ends are, and what is told of requests.

use std::borrow::Cow;

use palisade_events::entity::workload_of_pod;
use palisade_events::schema::Word;
use palisade_events::time::{Micros, parse_rfc3339};
use palisade_events::{CoverageKind, EventBuilder, RecordMeta, col};

use self::end::Side;
use self::flow::{Flow, Part};
use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::json::{Columns, Value};
use crate::put::{self, first, text, word, words};

mod flow;
mod end;
mod layer7;

/// OCSF base event: it has a time and words, and no shape of its own.
const CLASS_BASE: i32 = 0;
const ACTIVITY_OTHER: i32 = 99;

/// Names of nodes, and characters of Hubble's own words, kept in a coverage fact.
const NODES_MAX: usize = 32;
const DETAIL_CHARS_MAX: usize = 512;

/// Reads what Hubble exports.
#[derive(Debug, Default)]
pub(crate) struct Hubble;

impl JsonFormat for Hubble {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let refusal = ("not_a_hubble_event", "no flow, lost events, node status, agent or debug event".to_owned());
        if !root.is_object() {
            return Err(refusal);
        }
        let mut document = Document::new(reading.list_items_max());
        reading.walk(root, Place::Root, &mut document);
        let Some(kind) = document.kind() else { return Err(refusal) };
        let Some((time, original)) = document.time(reading.record) else {
            return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
        };
        put::cluster(reading, document.flow.cluster(document.node));
        match kind {
            Kind::Lost => {
                reading.facts.push(document.lost.fact(document.node, time));
                return Ok(Made::Facts);
            }
            Kind::Status => {
                reading.facts.push(document.status.fact(time));
                return Ok(Made::Facts);
            }
            Kind::Notice(log) => document.finish_notice(log, reading),
            Kind::Flow => {
                reading.cut |= document.flow.is_cut();
                document.flow.finish(document.node, reading.row);
            }
        }
        Ok(Made::Event { time, original: original.into() })
    }
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Flow(Part),
    Lost,
    Status,
    Agent,
    AgentDetail,
    Debug,
}

/// What a document holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flow,
    Lost,
    Status,
    /// An event of the base class, by the name of its stream.
    Notice(&'static str),
}

struct Document<'i> {
    list_items_max: usize,
    cut: bool,
    /// What the envelope says is inside.
    envelope: Option<Kind>,
    time: Option<&'i str>,
    node: Option<&'i str>,
    flow: Flow<'i>,
    lost: Lost<'i>,
    status: Status<'i>,
    error: Option<&'i str>,
    pod: Option<&'i str>,
}

/// Events that were lost, where and when.
#[derive(Default)]
struct Lost<'i> {
    at: Option<&'i str>,
    count: Option<i64>,
    cpu: Option<i64>,
    window: [Option<&'i str>; 2],
}

/// What a relay says of its nodes.
#[derive(Default)]
struct Status<'i> {
    state: Option<&'i str>,
    nodes: Vec<&'i str>,
    message: Option<&'i str>,
}

impl<'i> Columns<'i> for Document<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root => return self.root_key(key, value, row),
            Place::Flow(part) => return self.flow.key(part, key, value, row).map(Place::Flow),
            Place::Lost => match key {
                "source" => first(&mut self.lost.at, value),
                "num_events_lost" => self.lost.count = value.int(),
                // Wrapped integers are written bare by some writers and as an object by others.
                "cpu" => self.lost.cpu = value.int().or_else(|| value.get("value").and_then(Value::int)),
                "first" => first(&mut self.lost.window[0], value),
                "last" => first(&mut self.lost.window[1], value),
                _ => {}
            },
            Place::Status => match key {
                "state_change" => first(&mut self.status.state, value),
                "node_names" => self.status.nodes.extend(value.items().filter_map(Value::text).take(NODES_MAX)),
                "message" => first(&mut self.status.message, value),
                _ => {}
            },
            Place::Agent => return agent_key(key, value, row),
            Place::AgentDetail => match key {
                "type" => word(row, col::API_OPERATION, value),
                "notification" => text(row, col::MESSAGE, value),
                "labels" => self.cut |= words(row, col::METADATA_LABELS, value, self.list_items_max),
                "error" => first(&mut self.error, value),
                "pod_name" => first(&mut self.pod, value),
                "namespace" => word(row, col::NAMESPACE_NAME, value),
                "name" | "cidr" => text(row, col::RESOURCE_NAME, value),
                "id" => text(row, col::RESOURCE_UID, value),
                _ => {}
            },
            Place::Debug => match key {
                "type" => word(row, col::API_OPERATION, value),
                "message" => text(row, col::MESSAGE, value),
                "source" => return Some(Place::Flow(Part::End(Side::Source))),
                _ => {}
            },
        }
        None
    }
}

/// An agent's event: its type, and one of several objects that tell of it.
fn agent_key(key: &str, value: Value<'_, '_>, row: &mut EventBuilder) -> Option<Place> {
    let resource = match key {
        "type" => {
            word(row, col::API_OPERATION, value);
            return None;
        }
        "unknown" | "agent_start" => return Some(Place::AgentDetail),
        "policy_update" => "policies",
        "endpoint_regenerate" | "endpoint_update" => "endpoints",
        "ipcache_update" => "ipcache",
        "service_upsert" | "service_delete" => "services",
        _ => return None,
    };
    row.put_word(col::RESOURCE_TYPE, resource);
    Some(Place::AgentDetail)
}

impl<'i> Document<'i> {
    fn new(list_items_max: usize) -> Self {
        Self {
            list_items_max,
            cut: false,
            envelope: None,
            time: None,
            node: None,
            flow: Flow::new(list_items_max),
            lost: Lost::default(),
            status: Status::default(),
            error: None,
            pod: None,
        }
    }

    fn root_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        let (kind, place) = match key {
            "time" => {
                first(&mut self.time, value);
                return None;
            }
            "node_name" => {
                first(&mut self.node, value);
                return None;
            }
            "flow" => (Kind::Flow, Place::Flow(Part::Flow)),
            "lost_events" => (Kind::Lost, Place::Lost),
            "node_status" => (Kind::Status, Place::Status),
            "agent_event" => (Kind::Notice("agent_event"), Place::Agent),
            "debug_event" => (Kind::Notice("debug_event"), Place::Debug),
            // A flow without an envelope.
            _ => return self.flow.key(Part::Flow, key, value, row).map(Place::Flow),
        };
        if !value.is_object() {
            return None;
        }
        self.envelope = self.envelope.or(Some(kind));
        Some(place)
    }

    /// What the document holds; `None` if it is none of Hubble's.
    fn kind(&self) -> Option<Kind> {
        match self.envelope {
            // An exporter can be told to leave fields out: then the envelope must tell that it is Hubble's.
            Some(Kind::Flow) => {
                let is_enveloped = self.time.is_some() || self.node.is_some();
                (self.flow.is_told() || (is_enveloped && self.flow.has_parts())).then_some(Kind::Flow)
            }
            Some(Kind::Lost) => (self.lost.at.is_some() || self.lost.count.is_some()).then_some(Kind::Lost),
            Some(Kind::Status) => self.status.state.is_some().then_some(Kind::Status),
            Some(kind) => Some(kind),
            None => (self.flow.is_told() && self.flow.has_parts()).then_some(Kind::Flow),
        }
    }

    fn time(&self, record: &RecordMeta) -> Option<(Micros, &'i str)> {
        let written = [self.flow.time(), self.time];
        let readable = written.into_iter().flatten().find_map(|text| Some((parse_rfc3339(text)?, text)));
        readable.or_else(|| {
            Some((record.time.and_then(in_range)?, written.into_iter().flatten().next().unwrap_or_default()))
        })
    }

    fn finish_notice(&self, log: &'static str, reading: &mut Reading<'_>) {
        reading.cut |= self.cut;
        let row = &mut *reading.row;
        row.put_int(col::CLASS_UID, CLASS_BASE);
        row.put_int(col::ACTIVITY_ID, ACTIVITY_OTHER);
        row.put_word(col::METADATA_LOG_NAME, log);
        if let Some(error) = self.error {
            row.put_int(col::STATUS_ID, 2);
            row.put_text(col::STATUS_DETAIL, error);
        }
        if let Some(pod) = self.pod {
            row.put_word(col::POD_NAME, pod);
            row.put_word(col::WORKLOAD_NAME, workload_of_pod(pod));
        }
        self.flow.finish_notice(self.node, row);
    }
}

impl Lost<'_> {
    fn fact(&self, node: Option<&str>, time: Micros) -> Fact {
        let [start, end] = self.window.map(|text| text.and_then(parse_rfc3339));
        let start = start.unwrap_or(time).min(time);
        let at = self.at.unwrap_or("an unknown place");
        let cpu = self.cpu.map(|cpu| format!(" of cpu {cpu}")).unwrap_or_default();
        let detail = format!("{}: events lost at {at}{cpu}", node.unwrap_or("unknown node"));
        Fact {
            kind: CoverageKind::Lost,
            window: (start, end.unwrap_or(time).max(start)),
            count: self.count.filter(|&count| count > 0).unwrap_or(-1),
            detail: detail.chars().take(DETAIL_CHARS_MAX).collect(),
        }
    }
}

impl Status<'_> {
    fn fact(&self, time: Micros) -> Fact {
        let state = self.state.unwrap_or_default();
        // Flows of a node that the relay cannot reach are missing; how many, it does not tell.
        let kind = match state {
            "NODE_UNAVAILABLE" | "NODE_ERROR" => CoverageKind::Lost,
            _ => CoverageKind::Health,
        };
        let nodes = self.nodes.join(", ");
        let parts = [nodes.as_str(), state, self.message.unwrap_or_default()];
        let said: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let detail = said.join(": ").chars().take(DETAIL_CHARS_MAX).collect();
        Fact { kind, window: (time, time), count: -1, detail }
    }
}

fn put_some(row: &mut EventBuilder, column: Word, word: Option<&str>) {
    if let Some(word) = word.filter(|word| !word.is_empty()) {
        row.put_word(column, word);
    }
}

/// A name in lower case, without a copy where it is one of `known`.
fn lower<'n>(known: &[&'static str], name: &'n str) -> Cow<'n, str> {
    match known.iter().copied().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => known.into(),
        None => name.to_ascii_lowercase().into(),
    }
}

#[cfg(test)]
mod tests;
