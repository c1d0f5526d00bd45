//! Falco alerts, one JSON object a message, from Falco itself or through falcosidekick.
//!
//! Falco's reports about itself share the stream: they become coverage facts, not events.

use std::borrow::Cow;

use palisade_events::entity::workload_of_pod;
use palisade_events::fields::FieldRef;
use palisade_events::schema::{Int, Long, Text, Word, Words};
use palisade_events::time::{Micros, SECOND, parse_rfc3339};
use palisade_events::{CoverageKind, EventBuilder, RecordMeta, col};

use crate::container;
use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::image::Image;
use crate::json::{Columns, Value};
use crate::network::Connection;

/// OCSF detection finding: another detector's verdict.
const CLASS_DETECTION: i32 = 2004;

/// Ancestors kept of a process; Falco's own rules name at most a handful.
const ANCESTORS_MAX: usize = 32;

/// Characters of Falco's own sentence kept in a coverage fact.
const DETAIL_CHARS_MAX: usize = 512;

/// Reads Falco alerts.
#[derive(Debug, Default)]
pub(crate) struct Falco;

impl JsonFormat for Falco {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let refusal = ("not_a_falco_alert", "no rule with a priority, output or output_fields".to_owned());
        if !root.is_object() {
            return Err(refusal);
        }
        let mut alert = Alert { list_items_max: reading.list_items_max(), ..Alert::default() };
        reading.walk(root, Place::Root, &mut alert);
        // Rules name Falco's fields without the object that holds them.
        if let Some(fields) = root.get("output_fields").filter(|fields| fields.is_object()) {
            reading.walk_fields(fields, &mut alert);
        }
        let Some(rule) = alert.rule.filter(|_| alert.is_alert) else { return Err(refusal) };
        let Some((time, original)) = alert.time(reading.record) else {
            return Err(("missing_time", "no readable time in the alert or its carrier".to_owned()));
        };
        if alert.source == Some("internal") || rule.starts_with("Falco internal:") {
            reading.facts.push(alert.health(rule, time));
            return Ok(Made::Facts);
        }
        reading.cut |= alert.cut;
        alert.finish(reading.row);
        Ok(Made::Event { time, original })
    }
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Time,
    Fields,
}

/// What the walk noticed and later columns depend on.
#[derive(Default)]
struct Alert<'i> {
    list_items_max: usize,
    is_alert: bool,
    cut: bool,
    rule: Option<&'i str>,
    source: Option<&'i str>,
    output: Option<&'i str>,
    host: Option<&'i str>,
    fields_host: Option<&'i str>,
    time: Option<&'i str>,
    seconds: Option<i64>,
    nanos: Option<i64>,
    evt_time: Option<i64>,
    /// Events that were dropped since Falco last told.
    drops: Option<i64>,
    /// Of a metrics snapshot: events dropped and seen since Falco began, and whether some were dropped since the last one.
    drops_so_far: Option<i64>,
    seen_so_far: Option<i64>,
    is_dropping: bool,
    container: Option<&'i str>,
    container_full: Option<&'i str>,
    container_name: Option<&'i str>,
    image: Option<&'i str>,
    repository: Option<&'i str>,
    tag: Option<&'i str>,
    digest: Option<&'i str>,
    pod: Option<&'i str>,
    workload: Option<&'i str>,
    user: Option<Cow<'i, str>>,
    uid: Option<Cow<'i, str>>,
    fd_name: Option<&'i str>,
    connection: Connection<'i>,
    path: Option<&'i str>,
    evt_type: Option<&'i str>,
    /// What a system call returned: a number, and its name.
    returned: Option<i64>,
    result: Option<&'i str>,
    verb: Option<&'i str>,
    /// What was asked of a cloud.
    call: Option<&'i str>,
    target: Option<&'i str>,
    target_name: Option<&'i str>,
    /// By distance from the process.
    ancestors: Vec<(u32, &'i str)>,
}

impl<'i> Columns<'i> for Alert<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root => return self.root_key(key, value, row),
            Place::Time => match key {
                "seconds" => self.seconds = value.int(),
                "nanos" => self.nanos = value.int(),
                _ => {}
            },
            Place::Fields => self.field(key, value, row),
        }
        None
    }
}

impl<'i> Alert<'i> {
    fn root_key(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "rule" => self.rule = present(value),
            "source" => self.source = present(value),
            "hostname" => self.host = present(value),
            "uuid" => put_text(row, col::METADATA_UID, value),
            "output" => {
                self.is_alert = true;
                self.output = present(value);
            }
            "message" => put_text(row, col::MESSAGE, value),
            "priority" => {
                self.is_alert = true;
                if let Some(severity) = severity(value) {
                    row.put_int(col::SEVERITY_ID, severity);
                }
            }
            "tags" => {
                row.put_words(col::METADATA_LABELS, value.items().filter_map(Value::text).take(self.list_items_max));
                self.cut |= value.items().nth(self.list_items_max).is_some();
                let mut techniques = value.items().filter_map(Value::text).filter(|tag| is_technique(tag));
                if let Some(first) = techniques.next() {
                    row.put_words(
                        col::ATTACK_TECHNIQUES,
                        std::iter::once(first).chain(techniques).take(self.list_items_max),
                    );
                }
            }
            "time" => {
                self.time = present(value);
                return Some(Place::Time);
            }
            "output_fields" => {
                self.is_alert = true;
                return Some(Place::Fields);
            }
            _ => {}
        }
        None
    }

    fn field(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        let word = |row: &mut EventBuilder, column: Word| {
            if let Some(word) = spelled(value) {
                row.put_word(column, &word);
            }
        };
        match key {
            "evt.time" | "evt.time.iso8601" => self.evt_time = self.evt_time.or(value.int()),
            "evt.type" => self.evt_type = present(value),
            "evt.res" => self.result = present(value),
            "evt.rawres" => self.returned = value.int(),
            "evt.hostname" => self.fields_host = present(value),
            "n_drops" => self.drops = value.int(),
            "scap.n_drops" => self.drops_so_far = value.int(),
            "scap.n_drops_perc" => {
                self.is_dropping = spelled(value).is_some_and(|share| share.parse().is_ok_and(|share: f64| share > 0.0))
            }
            "scap.n_evts" => self.seen_so_far = value.int(),
            "proc.name" => word(row, col::PROCESS_NAME),
            "proc.cmdline" => put_text(row, col::PROCESS_CMD_LINE, value),
            "proc.exepath" => word(row, col::PROCESS_FILE_PATH),
            "proc.pid" => put_long(row, col::PROCESS_PID, value),
            "proc.vpid" => put_long(row, col::PROCESS_NAMESPACE_PID, value),
            "proc.cwd" => word(row, col::PROCESS_CWD),
            "proc.pname" => word(row, col::PARENT_PROCESS_NAME),
            "proc.ppid" => put_long(row, col::PARENT_PROCESS_PID, value),
            "proc.pcmdline" => put_text(row, col::PARENT_PROCESS_CMD_LINE, value),
            "proc.pexepath" => word(row, col::PARENT_PROCESS_FILE_PATH),
            "user.name" => self.user = spelled(value),
            "user.uid" => self.uid = spelled(value),
            "user.loginuid" => {
                if let Some(uid) = spelled(value).filter(|uid| !matches!(uid.as_ref(), "-1" | "4294967295")) {
                    row.put_word(col::ACTOR_LOGIN_UID, &uid);
                }
            }
            "container.id" => self.container = present(value),
            "container.full_id" => self.container_full = present(value),
            "container.name" => self.container_name = present(value),
            "container.image" => self.image = present(value),
            "container.image.repository" => self.repository = present(value),
            "container.image.tag" => self.tag = present(value),
            "container.image.digest" => self.digest = present(value),
            "k8s.ns.name" | "k8smeta.ns.name" | "ka.target.namespace" => word(row, col::NAMESPACE_NAME),
            "k8s.pod.name" | "k8smeta.pod.name" => self.pod = self.pod.or(present(value)),
            "k8s.pod.uid" | "k8s.pod.id" | "k8smeta.pod.uid" => word(row, col::POD_UID),
            "k8s.deployment.name" | "k8smeta.deployment.name" => self.workload = self.workload.or(present(value)),
            "fd.name" => self.fd_name = present(value),
            "fs.path.name" | "evt.arg.path" => self.path = self.path.or(present(value)),
            "fd.cip" => self.connection.src_ip = present(value),
            "fd.cport" => self.connection.src_port = port(value),
            "fd.sip" => self.connection.dst_ip = present(value),
            "fd.sport" => self.connection.dst_port = port(value),
            "fd.l4proto" => self.connection.protocol = present(value),
            "ka.auditid" => put_text(row, col::METADATA_CORRELATION_UID, value),
            "ka.user.name" => self.user = spelled(value).or(self.user.take()),
            "ka.user.groups" => {
                self.cut |= put_list(row, col::ACTOR_USER_GROUPS, value, self.list_items_max);
            }
            "ka.impuser.name" => word(row, col::ACTOR_IMPERSONATED_NAME),
            "ka.sourceips" => {
                self.connection.src_ip = listed(value).last().or(self.connection.src_ip);
                self.cut |= put_list(row, col::SRC_ENDPOINT_IPS, value, self.list_items_max);
            }
            "ka.verb" => self.verb = present(value),
            "ka.uri" => put_text(row, col::HTTP_URL_PATH, value),
            "ka.useragent" => word(row, col::HTTP_USER_AGENT),
            "ka.target.resource" => self.target = present(value),
            "ka.target.subresource" => word(row, col::RESOURCE_SUBRESOURCE),
            "ka.target.name" => self.target_name = present(value),
            "ka.auth.decision" => word(row, col::AUTHORIZATION_DECISION),
            "ka.auth.reason" => word(row, col::AUTHORIZATION_REASON),
            "ka.response.code" => put_int(row, col::API_RESPONSE_CODE, value),
            "ka.req.pod.containers.image" => self.image = present(value),
            "ct.id" => put_text(row, col::METADATA_CORRELATION_UID, value),
            "ct.name" => self.call = present(value),
            "ct.src" => word(row, col::API_SERVICE_NAME),
            "ct.region" => word(row, col::CLOUD_REGION),
            "ct.error" => word(row, col::API_RESPONSE_ERROR),
            "ct.user" => self.user = spelled(value).or(self.user.take()),
            "ct.srcip" => self.connection.src_ip = present(value).or(self.connection.src_ip),
            _ => self.ancestor(key, value),
        }
    }

    fn ancestor(&mut self, key: &'i str, value: Value<'_, 'i>) {
        let distance =
            key.strip_prefix("proc.aname[").and_then(|rest| rest.strip_suffix(']')).and_then(|n| n.parse().ok());
        // 0 is the process itself, 1 its parent: both have columns of their own.
        if let (Some(distance @ 2..), Some(name)) = (distance, present(value)) {
            if self.ancestors.len() < ANCESTORS_MAX {
                self.ancestors.push((distance, name));
            } else {
                self.cut = true;
            }
        }
    }

    fn time(&self, record: &RecordMeta) -> Option<(Micros, Cow<'i, str>)> {
        if let Some(time) = self.time.and_then(parse_rfc3339) {
            return Some((time, self.time.unwrap_or_default().into()));
        }
        let nanos = self.nanos.unwrap_or(0);
        let micros = |seconds: i64| seconds.checked_mul(SECOND)?.checked_add(nanos / 1000).and_then(in_range);
        if let Some((seconds, time)) = self.seconds.and_then(|seconds| Some((seconds, micros(seconds)?))) {
            return Some((time, format!("{seconds}.{nanos:09}").into()));
        }
        // Nanoseconds since the epoch; a number too small to be that is some other clock's.
        if let Some(nanos) = self.evt_time.filter(|&nanos| nanos > 100_000_000_000_000_000) {
            return Some((nanos / 1000, nanos.to_string().into()));
        }
        Some((record.time.and_then(in_range)?, self.time.unwrap_or_default().into()))
    }

    /// What Falco says about itself: events that it dropped, and its metrics.
    fn health(&self, rule: &str, time: Micros) -> Fact {
        let (kind, count) = match rule {
            "Falco internal: syscall event drop" => (CoverageKind::Lost, self.drops.unwrap_or(-1)),
            // A snapshot counts from Falco's start: how many were dropped since the last one, it does not tell.
            _ if self.is_dropping => (CoverageKind::Lost, -1),
            _ => (CoverageKind::Health, -1),
        };
        let said: String = self.output.unwrap_or_default().chars().take(DETAIL_CHARS_MAX).collect();
        let so_far = match (self.drops_so_far, self.seen_so_far) {
            (Some(drops), Some(seen)) => format!("{drops} of {seen} events dropped since its start"),
            (Some(drops), None) => format!("{drops} events dropped since its start"),
            _ => String::new(),
        };
        let detail = [self.host.unwrap_or_default(), rule, &so_far, &said];
        let detail: Vec<&str> = detail.into_iter().filter(|part| !part.is_empty()).collect();
        Fact { kind, window: (time, time), count, detail: detail.join(": ") }
    }

    /// Fills what several fields decide together.
    fn finish(mut self, row: &mut EventBuilder) {
        row.put_int(col::CLASS_UID, CLASS_DETECTION);
        row.put_int(col::ACTIVITY_ID, 1);
        row.put_word(col::METADATA_PRODUCT_NAME, "falco");
        let is_request = self.verb.is_some() || self.target.is_some() || self.call.is_some();
        let operation = self.verb.or(self.call).or(self.evt_type);
        let words = [
            (col::FINDING_INFO_TITLE, self.rule),
            (col::METADATA_LOG_NAME, self.source),
            (col::DEVICE_HOSTNAME, self.host.or(self.fields_host)),
            (col::SYSCALL, self.evt_type.filter(|_| !is_request)),
            (col::API_OPERATION, operation),
            (col::RESOURCE_TYPE, self.target),
            (col::ACTOR_USER_NAME, self.user.as_deref()),
            (col::ACTOR_USER_UID, self.uid.as_deref()),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
        let account = self.user.as_deref().and_then(|user| user.strip_prefix("system:serviceaccount:"));
        if let Some((namespace, name)) = account.and_then(|account| account.split_once(':')) {
            row.put_word(col::ACTOR_SERVICE_ACCOUNT, &format!("{namespace}/{name}"));
        }
        // Alerts about API requests have a user, but no process.
        if !is_request {
            if let Some(user) = &self.user {
                row.put_word(col::PROCESS_USER_NAME, user);
            }
            if let Some(uid) = &self.uid {
                row.put_word(col::PROCESS_USER_UID, uid);
            }
        }
        if let Some(output) = self.output {
            row.put_text(col::MESSAGE, output);
        }
        if let Some(name) = self.target_name {
            row.put_text(col::RESOURCE_NAME, name);
        }
        let pod = self.pod.or(self.target_name.filter(|_| self.target == Some("pods")));
        if let Some(pod) = pod {
            row.put_word(col::POD_NAME, pod);
        }
        if let Some(workload) = self.workload.or(pod.map(workload_of_pod)) {
            row.put_word(col::WORKLOAD_NAME, workload);
        }
        self.put_result(row);
        self.put_container(row);
        self.put_descriptor(row);
        if !self.ancestors.is_empty() {
            self.ancestors.sort_by_key(|(distance, _)| *distance);
            row.put_words(col::PROCESS_ANCESTORS, self.ancestors.iter().map(|(_, name)| *name));
        }
    }

    /// What became of the system call.
    fn put_result(&self, row: &mut EventBuilder) {
        if let Some(code) = self.returned {
            row.put_long(col::EXIT_CODE, code);
        }
        let is_success = self.returned.map(|code| code >= 0).or(self.result.map(|name| name == "SUCCESS"));
        if let Some(is_success) = is_success {
            row.put_int(col::STATUS_ID, if is_success { 1 } else { 2 });
        }
    }

    fn put_container(&self, row: &mut EventBuilder) {
        if let Some(id) = self.container_full.or(self.container) {
            container::put(row, id);
        }
        if let Some(name) = self.container_name.filter(|_| self.container != Some("host")) {
            row.put_word(col::CONTAINER_NAME, name);
        }
        if let Some(name) = self.repository {
            Image { name, tag: self.tag, digest: self.digest }.put(row);
        } else if let Some(image) = self.image {
            Image::parse(image).put(row);
        }
    }

    /// A file descriptor is a file or a connection, `client->server`.
    fn put_descriptor(&self, row: &mut EventBuilder) {
        let mut connection = self.connection;
        let ends = self.fd_name.and_then(|name| name.split_once("->"));
        if let Some((client, server)) = ends
            && let (Some(client), Some(server)) = (endpoint(client), endpoint(server))
        {
            // Fields of their own say it with more certainty.
            connection.src_ip = connection.src_ip.or(Some(client.0));
            connection.src_port = connection.src_port.or(Some(client.1));
            connection.dst_ip = connection.dst_ip.or(Some(server.0));
            connection.dst_port = connection.dst_port.or(Some(server.1));
        } else if let Some(path) = self.fd_name.filter(|name| name.starts_with('/')).or(self.path) {
            row.put_text(col::FILE_PATH, path);
        }
        connection.put(row);
    }
}

/// `address:port`; an IPv6 address holds colons itself.
fn endpoint(text: &str) -> Option<(&str, u16)> {
    let (address, port) = text.rsplit_once(':')?;
    let address = address.trim_start_matches('[').trim_end_matches(']');
    Some((address, port.parse().ok()?)).filter(|_| !address.is_empty())
}

/// Names as Falco writes them, or the numbers of its own enumeration.
fn severity(value: Value<'_, '_>) -> Option<i32> {
    let number = match value.str() {
        Some(name) => match name.to_ascii_lowercase().as_str() {
            "emergency" => 0,
            "alert" => 1,
            "critical" => 2,
            "error" => 3,
            "warning" => 4,
            "notice" => 5,
            "informational" | "info" => 6,
            "debug" => 7,
            _ => return None,
        },
        None => value.int()?,
    };
    Some(match number {
        0 => 6,
        1 | 2 => 5,
        3 => 4,
        4 => 3,
        5 => 2,
        6 | 7 => 1,
        _ => return None,
    })
}

/// Text that says something: Falco writes `<NA>` where it knows nothing.
fn present<'i>(value: Value<'_, 'i>) -> Option<&'i str> {
    value.text().filter(|text| *text != "<NA>")
}

fn spelled<'i>(value: Value<'_, 'i>) -> Option<Cow<'i, str>> {
    match value.scalar() {
        FieldRef::Str(_) => present(value).map(Cow::Borrowed),
        FieldRef::Int(n) => Some(n.to_string().into()),
        FieldRef::UInt(n) => Some(n.to_string().into()),
        _ => None,
    }
}

fn put_text(row: &mut EventBuilder, column: Text, value: Value<'_, '_>) {
    if let Some(text) = present(value) {
        row.put_text(column, text);
    }
}

fn put_long(row: &mut EventBuilder, column: Long, value: Value<'_, '_>) {
    if let Some(number) = value.int() {
        row.put_long(column, number);
    }
}

fn put_int(row: &mut EventBuilder, column: Int, value: Value<'_, '_>) {
    if let Some(number) = value.int().and_then(|n| i32::try_from(n).ok()) {
        row.put_int(column, number);
    }
}

/// Items of an array, or of a text that lists them: `(a,b)`.
fn listed<'t, 'i>(value: Value<'t, 'i>) -> impl Iterator<Item = &'i str> + use<'t, 'i> {
    let text = present(value).unwrap_or_default().trim_start_matches('(').trim_end_matches(')');
    let written = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    value.items().filter_map(present).chain(written)
}

/// Puts what a list holds, at most `max`; tells whether some were left out.
fn put_list(row: &mut EventBuilder, column: Words, value: Value<'_, '_>, max: usize) -> bool {
    let mut items = listed(value);
    if let Some(first) = items.next() {
        row.put_words(column, std::iter::once(first).chain(items).take(max));
    }
    listed(value).nth(max).is_some()
}

fn port(value: Value<'_, '_>) -> Option<u16> {
    value.int().and_then(|n| u16::try_from(n).ok())
}

/// Whether a tag is the id of an ATT&CK technique: `T1059`, `T1552.007`.
fn is_technique(tag: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    tag.strip_prefix('T').is_some_and(|rest| match rest.split_once('.') {
        Some((technique, part)) => digits(technique, 4) && digits(part, 3),
        None => digits(rest, 4),
    })
}

#[cfg(test)]
mod tests;
