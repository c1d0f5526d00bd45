//! Kubernetes audit events (`audit.k8s.io`, v1 and the beta versions before it), alone or as an `EventList`.
//!
//! Not here: the wrappers of cloud providers, which nest the event in another document.

use palisade_events::entity::workload_of_pod;
use palisade_events::time::{Micros, parse_rfc3339};
use palisade_events::{Chunk, CoverageKind, EventBuilder, LaneClock, RecordMeta, Result, col};

use crate::decode::{Decoded, Decoder, EventEnd, LaneContext, in_range};
use crate::image::Image;
use crate::json::{Columns, Parser, Value, Walk, member_spans};
use crate::redact::RedactionCounts;

/// OCSF API activity.
const CLASS_API_ACTIVITY: i32 = 6003;

/// Decodes Kubernetes audit events.
#[derive(Debug)]
pub struct K8sAudit {
    context: LaneContext,
    parser: Parser,
}

impl K8sAudit {
    /// Makes the decoder of one lane.
    pub fn new(context: LaneContext) -> Self {
        Self { context, parser: Parser::default() }
    }

    fn record(&mut self, record: &RecordMeta, text: &str, clock: &mut LaneClock, out: &mut Decoded) -> Outcome {
        match self.event(record, text, 0, clock, out) {
            Ok(Seen::Event) => Outcome::Used,
            Ok(Seen::List) => self.list(record, text, clock, out),
            Err((reason, detail)) => {
                self.context.reject(out, record, reason, detail, text.as_bytes());
                Outcome::Rejected
            }
        }
    }

    fn list(&mut self, record: &RecordMeta, text: &str, clock: &mut LaneClock, out: &mut Decoded) -> Outcome {
        let spans = member_spans(text, "items");
        if spans.is_empty() {
            self.context.reject(out, record, "empty", "a list without events", text.as_bytes());
            return Outcome::Rejected;
        }
        let mut outcome = Outcome::Rejected;
        for (index, (start, end)) in spans.into_iter().enumerate() {
            let item = text[start..end].trim();
            let why = match self.event(record, item, u32::try_from(index).unwrap_or(u32::MAX), clock, out) {
                Ok(Seen::Event) => {
                    outcome = Outcome::Used;
                    continue;
                }
                Ok(Seen::List) => ("not_an_audit_event", "a list inside a list".to_owned()),
                Err(why) => why,
            };
            let detail = format!("item {index}: {}", why.1);
            self.context.reject(out, record, why.0, detail, item.as_bytes());
        }
        outcome
    }

    /// Decodes one event into one row.
    fn event(
        &mut self,
        record: &RecordMeta,
        text: &str,
        index: u32,
        clock: &mut LaneClock,
        out: &mut Decoded,
    ) -> std::result::Result<Seen, (&'static str, String)> {
        let Self { context, parser } = self;
        let limits = &context.settings().limits;
        let mut found = RedactionCounts::default();
        let redacted = context.settings().redactor.json(text, limits.depth_max, &mut found);
        let raw = redacted.as_deref().unwrap_or(text);
        let read = parser.parse(raw.as_bytes(), limits.depth_max, |root| {
            let tree = context.settings().plan.tree();
            let mut walk = Walk::new(tree, limits.field_values_max);
            let mut event = Event { list_items_max: limits.list_items_max, ..Event::default() };
            walk.value(root, Some(Place::Root), tree.root(), &mut event, &mut out.events);
            if !root.is_object() || !event.is_audit() {
                out.events.abandon_row();
                if root.is_object() && event.is_list {
                    return Ok(Seen::List);
                }
                return Err(("not_an_audit_event", "neither auditID nor verb and stage".to_owned()));
            }
            let Some((time, original)) = event.time(record) else {
                out.events.abandon_row();
                return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
            };
            let cut = event.truncated;
            event.finish(&mut out.events, walk.is_cut());
            out.counts.redacted += found.total();
            out.redactions.add(&found);
            let end = EventEnd {
                index,
                time,
                time_original: original,
                raw,
                records: 1,
                redacted: u32::try_from(found.total()).unwrap_or(u32::MAX),
            };
            context.end_event(out, clock, record, end);
            if cut {
                let detail = "the audit event's body was cut by its source".to_owned();
                context.cover(out, record, CoverageKind::Truncated, (time, time), 1, detail);
            }
            Ok(Seen::Event)
        });
        match read {
            Ok(read) => read,
            Err(fault) => Err((fault.reason(), fault.detail())),
        }
    }
}

impl Decoder for K8sAudit {
    fn decode(&mut self, chunk: &mut Chunk, clock: &mut LaneClock, out: &mut Decoded) -> Result<()> {
        for record in chunk.records.iter().filter(|record| !record.again) {
            clock.next_record();
            let Some(text) = self.context.intake(out, record, chunk.payload(record)) else { continue };
            match self.record(record, text, clock, out) {
                Outcome::Used => out.counts.used += 1,
                Outcome::Rejected => out.counts.rejected += 1,
            }
        }
        Ok(())
    }
}

enum Outcome {
    Used,
    Rejected,
}

enum Seen {
    Event,
    List,
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    User,
    Impersonated,
    Object,
    Response,
    Annotations,
    Metadata,
    Body(Side),
    BodyMetadata(Side),
    Spec(Side),
    Template(Side),
    Container(Side),
}

/// Whose body: what was asked for wins over what was answered.
#[derive(Clone, Copy)]
enum Side {
    Request,
    Answer,
}

/// What the walk noticed and later columns depend on.
#[derive(Default)]
struct Event<'i> {
    list_items_max: usize,
    is_list: bool,
    kind: Option<&'i str>,
    api_version: Option<&'i str>,
    audit_id: Option<&'i str>,
    stage: Option<&'i str>,
    verb: Option<&'i str>,
    uri: Option<&'i str>,
    /// Times in falling order of trust: stage, request received, the old `timestamp`, and its metadata.
    times: [Option<&'i str>; 4],
    user: Option<&'i str>,
    has_object: bool,
    resource: Option<&'i str>,
    subresource: Option<&'i str>,
    namespace: Option<&'i str>,
    name: Option<&'i str>,
    group: Option<&'i str>,
    code: Option<i64>,
    answer_message: Option<&'i str>,
    answer_reason: Option<&'i str>,
    decision: Option<&'i str>,
    bodies: [Body<'i>; 2],
    truncated: bool,
}

#[derive(Clone, Copy, Default)]
struct Body<'i> {
    name: Option<&'i str>,
    namespace: Option<&'i str>,
    container: Option<&'i str>,
    image: Option<&'i str>,
}

impl<'i> Columns<'i> for Event<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root => return self.root_key(key, value, row),
            Place::User => match key {
                "username" => first(&mut self.user, value),
                "uid" => put_word(row, col::ACTOR_USER_UID, value),
                "groups" => self.put_words(row, col::ACTOR_USER_GROUPS, value),
                _ => {}
            },
            Place::Impersonated if key == "username" => put_word(row, col::ACTOR_IMPERSONATED_NAME, value),
            Place::Object => match key {
                "resource" => first(&mut self.resource, value),
                "subresource" => first(&mut self.subresource, value),
                "namespace" => first(&mut self.namespace, value),
                "name" => first(&mut self.name, value),
                "apiGroup" => first(&mut self.group, value),
                "apiVersion" => put_word(row, col::API_VERSION, value),
                "uid" => put_text(row, col::RESOURCE_UID, value),
                _ => {}
            },
            Place::Response => match key {
                "code" => self.code = self.code.or(value.int()),
                "message" => first(&mut self.answer_message, value),
                "reason" => first(&mut self.answer_reason, value),
                _ => {}
            },
            Place::Annotations => match key {
                "authorization.k8s.io/decision" => first(&mut self.decision, value),
                "authorization.k8s.io/reason" => put_word(row, col::AUTHORIZATION_REASON, value),
                "audit.k8s.io/truncated" => self.truncated |= value.str() == Some("true"),
                _ => {}
            },
            Place::Metadata if key == "creationTimestamp" => first(&mut self.times[3], value),
            Place::Body(side) => match key {
                "metadata" => return Some(Place::BodyMetadata(side)),
                "spec" => return Some(Place::Spec(side)),
                _ => {}
            },
            Place::BodyMetadata(side) => match key {
                "name" => first(&mut self.bodies[side as usize].name, value),
                "namespace" => first(&mut self.bodies[side as usize].namespace, value),
                _ => {}
            },
            Place::Spec(side) => match key {
                "containers" => return Some(Place::Container(side)),
                "template" | "jobTemplate" => return Some(Place::Template(side)),
                _ => {}
            },
            Place::Template(side) if key == "spec" => return Some(Place::Spec(side)),
            Place::Container(side) => match key {
                "image" => first(&mut self.bodies[side as usize].image, value),
                "name" => first(&mut self.bodies[side as usize].container, value),
                _ => {}
            },
            _ => {}
        }
        None
    }
}

impl<'i> Event<'i> {
    fn root_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "kind" => first(&mut self.kind, value),
            "apiVersion" => first(&mut self.api_version, value),
            "auditID" => first(&mut self.audit_id, value),
            "stage" => first(&mut self.stage, value),
            "verb" => first(&mut self.verb, value),
            "requestURI" => first(&mut self.uri, value),
            "userAgent" => put_word(row, col::HTTP_USER_AGENT, value),
            "stageTimestamp" => first(&mut self.times[0], value),
            "requestReceivedTimestamp" => first(&mut self.times[1], value),
            "timestamp" => first(&mut self.times[2], value),
            "sourceIPs" => {
                if let Some(last) = value.items().filter_map(Value::text).last() {
                    row.put_word(col::SRC_ENDPOINT_IP, last);
                    self.put_words(row, col::SRC_ENDPOINT_IPS, value);
                }
            }
            "items" => self.is_list = value.is_array(),
            "user" => return Some(Place::User),
            "impersonatedUser" => return Some(Place::Impersonated),
            "objectRef" => {
                self.has_object = value.is_object();
                return Some(Place::Object);
            }
            "responseStatus" => return Some(Place::Response),
            "annotations" => return Some(Place::Annotations),
            "metadata" => return Some(Place::Metadata),
            "requestObject" | "responseObject" => {
                // A body that is text stands where the source left the real one out.
                self.truncated |= value.str().is_some();
                return Some(Place::Body(if key == "requestObject" { Side::Request } else { Side::Answer }));
            }
            _ => {}
        }
        None
    }

    fn put_words(&mut self, row: &mut EventBuilder, column: palisade_events::schema::Words, value: Value<'_, 'i>) {
        row.put_words(column, value.items().filter_map(Value::text).take(self.list_items_max));
        self.truncated |= value.items().nth(self.list_items_max).is_some();
    }

    fn is_audit(&self) -> bool {
        let named = self.kind == Some("Event") && self.api_version.is_some_and(|v| v.starts_with("audit.k8s.io/"));
        let kind_fits = self.kind.is_none_or(|kind| kind == "Event");
        named || (kind_fits && (self.audit_id.is_some() || (self.verb.is_some() && self.stage.is_some())))
    }

    fn time(&self, record: &RecordMeta) -> Option<(Micros, &'i str)> {
        let readable = self.times.iter().flatten().find_map(|text| Some((parse_rfc3339(text)?, *text)));
        readable.or_else(|| {
            Some((record.time.and_then(in_range)?, self.times.iter().flatten().next().copied().unwrap_or_default()))
        })
    }

    /// Fills what several parts of the event decide together.
    fn finish(self, row: &mut EventBuilder, fields_cut: bool) {
        row.put_int(col::CLASS_UID, CLASS_API_ACTIVITY);
        row.put_word(col::METADATA_PRODUCT_NAME, "kube-apiserver");
        let activity = match self.verb.unwrap_or_default() {
            "create" => 1,
            "get" | "list" | "watch" => 2,
            "update" | "patch" => 3,
            "delete" | "deletecollection" => 4,
            _ => 99,
        };
        row.put_int(col::ACTIVITY_ID, activity);
        let words = [
            (col::API_OPERATION, self.verb),
            (col::METADATA_LOG_NAME, self.stage),
            (col::ACTOR_USER_NAME, self.user),
            (col::RESOURCE_TYPE, self.resource),
            (col::RESOURCE_SUBRESOURCE, self.subresource),
            (col::AUTHORIZATION_DECISION, self.decision),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
        if let Some(uri) = self.uri {
            row.put_text(col::HTTP_URL_PATH, uri);
        }
        if let Some(id) = self.audit_id {
            // One request makes an event per stage: the two together are the event's own id.
            row.put_text(col::METADATA_UID, &format!("{id}/{}", self.stage.unwrap_or_default()));
            row.put_text(col::METADATA_CORRELATION_UID, id);
        }
        if let Some((namespace, name)) =
            self.user.and_then(|user| user.strip_prefix("system:serviceaccount:")).and_then(|rest| rest.split_once(':'))
        {
            row.put_word(col::ACTOR_SERVICE_ACCOUNT, &format!("{namespace}/{name}"));
        }
        self.put_status(row);
        self.put_object(row);
        if self.truncated || fields_cut {
            row.put_flag(col::TRUNCATED, true);
        }
    }

    fn put_status(&self, row: &mut EventBuilder) {
        if let Some(code) = self.code {
            row.put_int(col::API_RESPONSE_CODE, i32::try_from(code).unwrap_or(i32::MAX));
        }
        let failed = self.code.map(|code| code >= 400);
        let forbidden = self.decision == Some("forbid");
        if forbidden || failed.is_some() {
            row.put_int(col::STATUS_ID, if forbidden || failed == Some(true) { 2 } else { 1 });
        }
        if let Some(detail) = self.answer_message.or(self.answer_reason) {
            row.put_text(col::STATUS_DETAIL, detail);
        }
    }

    fn put_object(&self, row: &mut EventBuilder) {
        let [request, answer] = &self.bodies;
        if self.has_object {
            row.put_word(col::API_SERVICE_NAME, self.group.unwrap_or("core"));
        }
        let name = self.name.or(request.name).or(answer.name);
        if let Some(name) = name {
            row.put_text(col::RESOURCE_NAME, name);
        }
        let resource = self.resource.unwrap_or_default();
        let own = if resource == "namespaces" { name } else { None };
        if let Some(namespace) = self.namespace.or(own).or(request.namespace).or(answer.namespace) {
            row.put_word(col::NAMESPACE_NAME, namespace);
        }
        match (resource, name) {
            ("pods", Some(pod)) => {
                row.put_word(col::POD_NAME, pod);
                row.put_word(col::WORKLOAD_NAME, workload_of_pod(pod));
            }
            (
                "deployments"
                | "daemonsets"
                | "statefulsets"
                | "replicasets"
                | "jobs"
                | "cronjobs"
                | "replicationcontrollers",
                Some(name),
            ) => row.put_word(col::WORKLOAD_NAME, name),
            _ => {}
        }
        let named_in_uri = self.uri.and_then(|uri| query_value(uri, "container"));
        if let Some(container) = named_in_uri.or(request.container).or(answer.container) {
            row.put_word(col::CONTAINER_NAME, container);
        }
        if let Some(image) = request.image.or(answer.image) {
            Image::parse(image).put(row);
        }
    }
}

fn first<'i>(slot: &mut Option<&'i str>, value: Value<'_, 'i>) {
    if slot.is_none() {
        *slot = value.text();
    }
}

fn put_word(row: &mut EventBuilder, column: palisade_events::schema::Word, value: Value<'_, '_>) {
    if let Some(word) = value.text() {
        row.put_word(column, word);
    }
}

fn put_text(row: &mut EventBuilder, column: palisade_events::schema::Text, value: Value<'_, '_>) {
    if let Some(text) = value.text() {
        row.put_text(column, text);
    }
}

/// The first value of a query parameter that needs no decoding: container names hold no escapes.
fn query_value<'u>(uri: &'u str, name: &str) -> Option<&'u str> {
    let (_, query) = uri.split_once('?')?;
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, value)| *key == name && !value.is_empty())
        .map(|(_, v)| v)
}

#[cfg(test)]
mod tests;
