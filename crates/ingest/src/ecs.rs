//! Documents of the Elastic Common Schema, nested or with dotted keys: what Filebeat, Auditbeat, Elastic Agent and
//! their integrations write, and our own view of events.
//!
//! Not here: what a shipper carries unread in `message`, which is a document of another format.

use std::borrow::Cow;
use std::sync::LazyLock;

use palisade_events::fields::FieldRef;
use palisade_events::schema::{AnyColumn, Words};
use palisade_events::time::Micros;
use palisade_events::{CoverageKind, EventBuilder, col};

use self::category::Category;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::json::Value;
use crate::ocsf::names::{Late, Meaning, Named, Names, Notes, Place, direction, first, moment};
use crate::process::write_line;

mod category;

/// Labels may be objects of objects, where a writer split their names at dots.
const LABELS_DEPTH_MAX: usize = 8;

/// Bytes of a label's name; it is made of the keys of all objects around it, for each label anew.
const LABEL_NAME_BYTES_MAX: usize = 512;

/// Reads ECS documents.
#[derive(Debug, Default)]
pub(crate) struct Ecs;

impl JsonFormat for Ecs {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let shape = Shape::of(root);
        if !shape.is_ecs() {
            return Err(("not_an_ecs_document", "no @timestamp with ecs or event fields".to_owned()));
        }
        let document = Document { is_ours: shape.is_ours, ..Document::default() };
        let mut named = Named::new(&NAMES, document, reading.settings.zone, reading.list_items_max());
        let place = named.root();
        reading.walk(root, place, &mut named);
        let Some((time, original)) = named.notes.time(reading) else {
            return Err(("missing_time", "no readable time in the document or its carrier".to_owned()));
        };
        let (document, cut) = named.finish(reading.row);
        if document.is_truncated {
            let detail = "the shipper cut the record that it read".to_owned();
            reading.facts.push(Fact { kind: CoverageKind::Truncated, window: (time, time), count: 1, detail });
        }
        reading.cut |= cut || document.is_truncated;
        document.finish(reading.row);
        Ok(Made::Event { time, original })
    }
}

/// What the root of a document shows at a glance.
#[derive(Default)]
struct Shape {
    has_time: bool,
    has_version: bool,
    has_event: bool,
    is_ours: bool,
}

impl Shape {
    fn of(root: Value<'_, '_>) -> Self {
        let mut shape = Self::default();
        for (key, value) in root.entries() {
            match key {
                "@timestamp" => shape.has_time = true,
                "ecs" => shape.has_version |= value.is_object(),
                "ecs.version" => shape.has_version = true,
                "event" | "agent" => shape.has_event |= value.is_object(),
                "event_uid" => shape.is_ours = true,
                _ => shape.has_event |= key.starts_with("event.") || key.starts_with("agent."),
            }
        }
        shape
    }

    fn is_ecs(&self) -> bool {
        let is_versioned = self.has_version && (self.has_time || self.has_event);
        is_versioned || (self.has_time && (self.has_event || self.is_ours))
    }
}

static NAMES: LazyLock<Names<Note>> = LazyLock::new(|| {
    let instead = [
        ("event.outcome", Meaning::Note(Note::Outcome)),
        ("event.severity", Meaning::Note(Note::Severity)),
        ("event.provider", Meaning::Note(Note::Provider)),
        ("network.direction", Meaning::Note(Note::Direction)),
        // A stage tells more than the stream.
        ("event.dataset", Meaning::word(col::METADATA_LOG_NAME, 1)),
        // The node is what runs the pod; a shipper's host may be its own pod.
        ("host.name", Meaning::word(col::DEVICE_HOSTNAME, 2)),
    ];
    let mut besides = of_the_event();
    besides.extend(of_kubernetes());
    Names::new(|column| column.ecs, &instead, &besides)
});

/// Other paths of the same things: of other versions, of modules that keep fields of their own.
fn of_the_event() -> Vec<(&'static str, Meaning<Note>)> {
    vec![
        ("@timestamp", Meaning::Note(Note::Time(0))),
        ("event.created", Meaning::Note(Note::Time(1))),
        ("event.start", Meaning::Note(Note::Time(2))),
        ("event.kind", Meaning::Note(Note::Kind)),
        ("event.category", Meaning::Note(Note::Category)),
        ("event.type", Meaning::Note(Note::Type)),
        ("event.action", Meaning::Note(Note::Action)),
        ("http.request.method", Meaning::Note(Note::Method)),
        ("dns.type", Meaning::Note(Note::DnsType)),
        ("dns.question.name", Meaning::Note(Note::Dns)),
        ("log.flags", Meaning::Note(Note::Flags)),
        ("labels", Meaning::Note(Note::Labels)),
        ("process.args", Meaning::Note(Note::Arguments)),
        ("falco.priority", Meaning::Note(Note::Priority(0))),
        ("kibana.alert.severity", Meaning::Note(Note::Priority(1))),
        ("log.syslog.severity.name", Meaning::Note(Note::Priority(2))),
        ("event.id", Meaning::text(col::METADATA_UID, 1)),
        ("event.module", Meaning::word(col::METADATA_PRODUCT_NAME, 1)),
        ("agent.type", Meaning::word(col::METADATA_PRODUCT_NAME, 2)),
        ("data_stream.dataset", Meaning::word(col::METADATA_LOG_NAME, 2)),
        ("error.message", Meaning::text(col::STATUS_DETAIL, 1)),
        ("kibana.alert.rule.name", Meaning::word(col::FINDING_INFO_TITLE, 1)),
        ("threat.technique.subtechnique.id", Meaning::words(col::ATTACK_TECHNIQUES, 0)),
        ("falco.output", Meaning::text(col::MESSAGE, 1)),
        ("falco.hostname", Meaning::word(col::DEVICE_HOSTNAME, 0)),
        ("host.hostname", Meaning::word(col::DEVICE_HOSTNAME, 3)),
        ("observer.hostname", Meaning::word(col::DEVICE_HOSTNAME, 4)),
        ("user.roles", Meaning::words(col::ACTOR_USER_GROUPS, 1)),
        ("process.user.name", Meaning::implied(col::ACTOR_USER_NAME, 1)),
        ("process.user.id", Meaning::implied(col::ACTOR_USER_UID, 1)),
        ("process.title", Meaning::Note(Note::Title)),
        ("auditd.data.syscall", Meaning::word(col::SYSCALL, 1)),
        ("file.name", Meaning::text(col::FILE_PATH, 1)),
        ("client.ip", Meaning::word(col::SRC_ENDPOINT_IP, 1)),
        ("client.port", Meaning::int(col::SRC_ENDPOINT_PORT, 1)),
        ("server.ip", Meaning::word(col::DST_ENDPOINT_IP, 1)),
        ("server.port", Meaning::int(col::DST_ENDPOINT_PORT, 1)),
        ("client.domain", Meaning::word(col::SRC_ENDPOINT_HOSTNAME, 1)),
        ("server.domain", Meaning::word(col::DST_ENDPOINT_HOSTNAME, 1)),
        ("network.iana_number", Meaning::word(col::CONNECTION_PROTOCOL, 1)),
        ("dns.answers.data", Meaning::words(col::DNS_ANSWERS, 1)),
        ("url.original", Meaning::text(col::HTTP_URL_PATH, 1)),
        ("url.full", Meaning::text(col::HTTP_URL_PATH, 2)),
    ]
}

fn of_kubernetes() -> Vec<(&'static str, Meaning<Note>)> {
    vec![
        ("orchestrator.api_version", Meaning::word(col::API_VERSION, 1)),
        ("orchestrator.resource.parent.type", Meaning::word(col::WORKLOAD_KIND, 1)),
        ("kubernetes.node.name", Meaning::word(col::DEVICE_HOSTNAME, 1)),
        ("kubernetes.namespace", Meaning::word(col::NAMESPACE_NAME, 1)),
        ("kubernetes.labels", Meaning::Note(Note::PodLabels)),
        ("kubernetes.pod.labels", Meaning::Note(Note::PodLabels)),
        ("kubernetes.container.id", Meaning::word(col::CONTAINER_UID, 1)),
        ("kubernetes.container.name", Meaning::word(col::CONTAINER_NAME, 1)),
        ("kubernetes.container.image", Meaning::word(col::CONTAINER_IMAGE_NAME, 1)),
        ("kubernetes.deployment.name", Meaning::Note(Note::Workload(2, "Deployment"))),
        ("kubernetes.daemonset.name", Meaning::Note(Note::Workload(2, "DaemonSet"))),
        ("kubernetes.statefulset.name", Meaning::Note(Note::Workload(2, "StatefulSet"))),
        ("kubernetes.cronjob.name", Meaning::Note(Note::Workload(2, "CronJob"))),
        ("kubernetes.job.name", Meaning::Note(Note::Workload(3, "Job"))),
        // Audit events as Elastic's integration keeps them.
        ("kubernetes.audit.verb", Meaning::Note(Note::Verb)),
        ("kubernetes.audit.auditID", Meaning::text(col::METADATA_CORRELATION_UID, 1)),
        ("kubernetes.audit.stage", Meaning::word(col::METADATA_LOG_NAME, 0)),
        ("kubernetes.audit.user.username", Meaning::word(col::ACTOR_USER_NAME, 1)),
        ("kubernetes.audit.user.groups", Meaning::words(col::ACTOR_USER_GROUPS, 1)),
        ("kubernetes.audit.impersonatedUser.username", Meaning::word(col::ACTOR_IMPERSONATED_NAME, 1)),
        ("kubernetes.audit.objectRef.resource", Meaning::word(col::RESOURCE_TYPE, 1)),
        ("kubernetes.audit.objectRef.subresource", Meaning::word(col::RESOURCE_SUBRESOURCE, 1)),
        ("kubernetes.audit.objectRef.name", Meaning::text(col::RESOURCE_NAME, 1)),
        ("kubernetes.audit.objectRef.namespace", Meaning::word(col::NAMESPACE_NAME, 1)),
        ("kubernetes.audit.responseStatus.code", Meaning::int(col::API_RESPONSE_CODE, 1)),
        ("kubernetes.audit.responseStatus.reason", Meaning::text(col::STATUS_DETAIL, 2)),
        ("kubernetes.audit.requestURI", Meaning::text(col::HTTP_URL_PATH, 1)),
        ("kubernetes.audit.userAgent", Meaning::word(col::HTTP_USER_AGENT, 1)),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Note {
    /// By trust.
    Time(usize),
    Kind,
    Category,
    Type,
    Action,
    Outcome,
    Severity,
    Priority(u8),
    Provider,
    Direction,
    Method,
    Dns,
    DnsType,
    Flags,
    Labels,
    PodLabels,
    Arguments,
    Title,
    Verb,
    Workload(u8, &'static str),
}

/// What the walk noticed and later columns depend on.
#[derive(Debug, Default)]
struct Document<'i> {
    is_ours: bool,
    times: [Option<(FieldRef<'i>, &'i str)>; 3],
    category: Category<'i>,
    provider: Option<&'i str>,
    arguments: Option<String>,
    title: Option<&'i str>,
    is_truncated: bool,
}

impl<'i> Notes<'i> for Document<'i> {
    type Note = Note;

    fn note(&mut self, note: Note, place: Place, value: Value<'_, 'i>, late: &mut Late<'i>, _: &mut EventBuilder) {
        let scalar = first(value);
        let text = match scalar {
            FieldRef::Str(text) => Some(text),
            _ => None,
        };
        match note {
            Note::Time(trust) => {
                if let Some(slot) = self.times.get_mut(trust)
                    && !value.is_null()
                {
                    *slot = Some((scalar, value.str().unwrap_or(value.raw())));
                }
            }
            Note::Kind => self.category.kind = text,
            Note::Category => self.category.add_categories(value),
            Note::Type => {
                self.category.add_types(value);
                if let Some(action) = self.category.action() {
                    late.offer(AnyColumn::Word(col::ACTION), place, 0, FieldRef::Str(action));
                }
            }
            Note::Action => self.category.operation = text,
            Note::Method => self.category.method = text,
            Note::Dns => self.category.is_dns |= text.is_some(),
            Note::DnsType => self.category.dns_type = text,
            Note::Outcome => {
                let outcome = match text {
                    Some("success") => FieldRef::Int(1),
                    Some("failure") => FieldRef::Int(2),
                    _ => FieldRef::Null,
                };
                late.offer(AnyColumn::Int(col::STATUS_ID), place, 0, outcome);
            }
            // Each source has a scale of its own; only ours is known.
            Note::Severity if self.is_ours => late.offer(AnyColumn::Int(col::SEVERITY_ID), place, 0, scalar),
            Note::Severity => {}
            Note::Priority(rank) => {
                let severity = text.and_then(severity).map_or(FieldRef::Null, FieldRef::Int);
                late.offer(AnyColumn::Int(col::SEVERITY_ID), place, rank, severity);
            }
            Note::Provider => self.provider = text,
            Note::Direction => {
                let direction = text.and_then(direction).map_or(FieldRef::Null, FieldRef::Str);
                late.offer(AnyColumn::Word(col::CONNECTION_DIRECTION), place, 0, direction);
            }
            Note::Flags => {
                let is_flag = |flag: Value<'_, '_>| flag.str() == Some("truncated");
                self.is_truncated |= is_flag(value) || value.items().any(is_flag);
            }
            Note::Labels => Labels::put(value, col::METADATA_LABELS, place, late),
            Note::PodLabels => Labels::put(value, col::POD_LABELS, place, late),
            Note::Arguments => self.arguments = line_of(value),
            Note::Title => self.title = text,
            Note::Verb => {
                self.category.verb = text;
                late.offer(AnyColumn::Word(col::API_OPERATION), place, 0, scalar);
            }
            Note::Workload(rank, kind) => {
                if text.is_some() {
                    late.offer(AnyColumn::Word(col::WORKLOAD_NAME), place, rank, scalar);
                    late.offer(AnyColumn::Word(col::WORKLOAD_KIND), place, rank, FieldRef::Str(kind));
                }
            }
        }
    }
}

impl<'i> Document<'i> {
    fn time(&self, reading: &Reading<'_>) -> Option<(Micros, Cow<'i, str>)> {
        let zone = reading.settings.zone;
        let readable = self.times.iter().flatten().find_map(|(value, text)| Some((moment(*value, zone)?, *text)));
        let carried = || {
            let time = crate::decode::in_range(reading.record.time?)?;
            Some((time, self.times.iter().flatten().next().map_or("", |(_, text)| text)))
        };
        readable.or_else(carried).map(|(time, text)| (time, text.into()))
    }

    /// Fills what several fields decide together.
    fn finish(&self, row: &mut EventBuilder) {
        let activity = self.category.activity(self.provider);
        activity.put(row);
        // A title is cut where the kernel cuts it.
        if let Some(line) = self.arguments.as_deref().or(self.title) {
            row.put_text(col::PROCESS_CMD_LINE, line);
        }
        // Elsewhere a provider is a module of the sensor, which serves nobody.
        if let Some(provider) = self.provider
            && (self.is_ours || category::is_request(activity))
        {
            row.put_word(col::API_SERVICE_NAME, provider);
        }
        row.put_word(col::METADATA_PRODUCT_NAME, "ecs");
    }
}

/// Names of severities and priorities: those of syslog and Falco, and those of Elastic's alerts.
fn severity(name: &str) -> Option<i64> {
    Some(match name.to_ascii_lowercase().as_str() {
        "emergency" => 6,
        "alert" | "critical" => 5,
        "error" | "high" => 4,
        "warning" | "medium" => 3,
        "notice" | "low" => 2,
        "informational" | "info" | "debug" => 1,
        _ => return None,
    })
}

/// Labels as `key=value`, on their way to a column.
struct Labels<'l, 'i> {
    column: Words,
    place: Place,
    late: &'l mut Late<'i>,
    /// Whether some had names that are too long.
    is_cut: bool,
}

impl<'l, 'i> Labels<'l, 'i> {
    fn put(value: Value<'_, 'i>, column: Words, place: Place, late: &'l mut Late<'i>) {
        let mut labels = Self { column, place, late, is_cut: false };
        labels.walk(value, "", 0);
        labels.late.cut |= labels.is_cut;
    }

    /// Takes labels as long as there is room for them.
    fn walk(&mut self, value: Value<'_, 'i>, above: &str, depth: usize) {
        for (key, inner) in value.entries() {
            if self.late.cut {
                return;
            }
            if above.len() + 1 + key.len() > LABEL_NAME_BYTES_MAX {
                self.is_cut = true;
                continue;
            }
            let name = if above.is_empty() { Cow::Borrowed(key) } else { Cow::Owned(format!("{above}.{key}")) };
            if inner.is_object() {
                if depth < LABELS_DEPTH_MAX {
                    self.walk(inner, &name, depth + 1);
                }
            } else {
                let value = crate::put::spelled(inner).unwrap_or_default();
                self.late.offer_word(self.column, self.place, 0, Cow::Owned(format!("{name}={value}")));
            }
        }
    }
}

/// A command line from the list of its arguments; text is one already.
fn line_of(arguments: Value<'_, '_>) -> Option<String> {
    let mut line = String::new();
    write_line(&mut line, "", arguments.items().filter_map(Value::str));
    let line = if line.is_empty() { arguments.text()?.to_owned() } else { line };
    Some(line)
}

#[cfg(test)]
mod tests;
