//! Events of the Docker daemon, as its API streams them and `docker events` prints them; also the events of its first
//! versions, which know only `status`, `id` and `from`.
//!
//! The daemon mixes what it states itself with the labels of the container or image in one map, and a label of the same
//! name can win: whoever starts a container can write an `exitCode` or an `execID`. What the daemon states is therefore
//! taken only from events in which it states it; everything else is a label, in `metadata_labels`. Pod, namespace and
//! service come from labels too (`io.kubernetes.*`, `com.docker.swarm.*`): they are what the orchestrator wrote, or anybody
//! who may start containers.
//!
//! Not here: the record separator before each event of `application/json-seq`, which is taken off with the white space.

use std::borrow::Cow;
use std::ops::Range;

use palisade_events::entity::workload_of_pod;
use palisade_events::time::{Micros, SECOND};
use palisade_events::{EventBuilder, RecordMeta, col};

use crate::container;
use crate::decode::in_range;
use crate::document::{JsonFormat, Made, Reading, Refusal};
use crate::image::Image;
use crate::json::{Columns, Value};
use crate::put::first;

/// OCSF API activity.
const CLASS_API_ACTIVITY: i32 = 6003;

/// Hex digits that an image's hash has at least, where it is cut short.
const HASH_DIGITS_MIN: usize = 12;

/// Attributes that fill columns, whoever wrote them. They are kept however many labels there are.
const KNOWN: [&str; 10] = [
    "name",
    "image",
    "container",
    "exitCode",
    "execID",
    "io.kubernetes.container.name",
    "io.kubernetes.pod.name",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.pod.uid",
    "com.docker.swarm.service.name",
];

/// Reads the daemon's events.
#[derive(Debug, Default)]
pub(crate) struct Docker;

impl JsonFormat for Docker {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let refusal = ("not_a_docker_event", "neither Type, Action and Actor nor status, id and time".to_owned());
        if !root.is_object() {
            return Err(refusal);
        }
        let mut event = Event { list_items_max: reading.list_items_max(), ..Event::default() };
        reading.walk(root, Place::Root, &mut event);
        if !event.is_dockers() {
            return Err(refusal);
        }
        let Some((time, original)) = event.time(reading.record) else {
            return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
        };
        reading.cut |= event.cut;
        reading.cut |= event.finish(reading.row);
        Ok(Made::Event { time, original })
    }
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Actor,
    Attributes,
}

/// What the walk noticed and later columns depend on.
#[derive(Default)]
struct Event<'i> {
    list_items_max: usize,
    cut: bool,
    kind: Option<&'i str>,
    action: Option<&'i str>,
    status: Option<&'i str>,
    id: Option<&'i str>,
    from: Option<&'i str>,
    has_actor: bool,
    actor: Option<&'i str>,
    seconds: Option<i64>,
    nanos: Option<i64>,
    /// The known attributes, and the others.
    known: Vec<(&'i str, &'i str)>,
    others: Vec<(&'i str, &'i str)>,
}

impl<'i> Columns<'i> for Event<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, _: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root => match key {
                "Type" => first(&mut self.kind, value),
                "Action" => first(&mut self.action, value),
                "status" => first(&mut self.status, value),
                "id" => first(&mut self.id, value),
                "from" => first(&mut self.from, value),
                "time" => self.seconds = value.int(),
                "timeNano" => self.nanos = value.int(),
                "Actor" => {
                    self.has_actor = value.is_object();
                    return Some(Place::Actor);
                }
                _ => {}
            },
            Place::Actor => match key {
                "ID" => first(&mut self.actor, value),
                "Attributes" => return Some(Place::Attributes),
                _ => {}
            },
            Place::Attributes => {
                let text = value.str()?;
                if KNOWN.contains(&key) && self.known.iter().all(|(known, _)| *known != key) {
                    self.known.push((key, text));
                } else if self.others.len() < self.list_items_max {
                    self.others.push((key, text));
                } else {
                    self.cut = true;
                }
            }
        }
        None
    }
}

impl<'i> Event<'i> {
    fn is_dockers(&self) -> bool {
        let has_time = self.seconds.is_some() || self.nanos.is_some();
        let is_event = self.kind.is_some() && self.action.is_some() && (self.has_actor || has_time);
        is_event || (self.status.is_some() && self.id.is_some() && has_time)
    }

    fn time(&self, record: &RecordMeta) -> Option<(Micros, Cow<'i, str>)> {
        if let Some(nanos) = self.nanos.filter(|&nanos| nanos > 0) {
            return Some((nanos / 1000, nanos.to_string().into()));
        }
        if let Some(seconds) = self.seconds.filter(|&seconds| seconds > 0)
            && let Some(time) = seconds.checked_mul(SECOND).and_then(in_range)
        {
            return Some((time, seconds.to_string().into()));
        }
        Some((record.time.and_then(in_range)?, Cow::Borrowed("")))
    }

    /// The operation, and what stands behind it: the command that is executed, or how healthy the container is.
    fn operation(&self) -> (&'i str, Option<&'i str>) {
        let action = self.action.or(self.status).unwrap_or_default();
        match action.split_once(':') {
            Some((operation, rest)) => (operation, Some(rest.trim_start()).filter(|rest| !rest.is_empty())),
            None => (action, None),
        }
    }

    /// What the event is about. The first versions wrote it of no event, and where it came from of containers' only.
    fn kind(&self, operation: &str) -> &'i str {
        let of_image = matches!(operation, "pull" | "push" | "tag" | "untag" | "delete" | "import" | "load" | "save");
        self.kind.unwrap_or(if of_image && self.from.is_none() { "image" } else { "container" })
    }

    fn attribute(&self, name: &str) -> Option<&'i str> {
        self.known.iter().find(|(key, value)| *key == name && !value.is_empty()).map(|(_, value)| *value)
    }

    /// Fills what several parts of the event decide together. Tells whether something was cut off.
    fn finish(self, row: &mut EventBuilder) -> bool {
        let (operation, detail) = self.operation();
        let kind = self.kind(operation);
        row.put_int(col::CLASS_UID, CLASS_API_ACTIVITY);
        row.put_int(col::ACTIVITY_ID, activity(operation));
        row.put_word(col::METADATA_PRODUCT_NAME, "docker");
        row.put_word(col::METADATA_LOG_NAME, kind);
        row.put_word(col::API_OPERATION, operation);
        row.put_word(col::RESOURCE_TYPE, plural(kind));
        if let Some(detail) = detail {
            let is_command = operation.starts_with("exec_");
            row.put_text(if is_command { col::PROCESS_CMD_LINE } else { col::STATUS_DETAIL }, detail);
        }
        let id = self.actor.or(self.id);
        if let Some(id) = id {
            row.put_text(col::RESOURCE_UID, id);
        }
        let name = self.attribute("name");
        if let Some(name) = name {
            row.put_text(col::RESOURCE_NAME, name);
        }
        match kind {
            "container" => self.put_container(operation, id, name, row),
            "image" => put_image(id, name, row),
            "daemon" => {
                if let Some(name) = name {
                    row.put_word(col::DEVICE_HOSTNAME, name);
                }
            }
            // A network that it joins, a volume that it mounts.
            _ => {
                if let Some(id) = self.attribute("container") {
                    container::put(row, id);
                }
            }
        }
        matches!(kind, "container" | "image") && self.put_labels(kind, operation, row)
    }

    fn put_container(&self, operation: &str, id: Option<&str>, name: Option<&str>, row: &mut EventBuilder) {
        if let Some(id) = id {
            container::put(row, id);
        }
        // Kubernetes' own name of the container is the one that other sources know.
        if let Some(name) = self.attribute("io.kubernetes.container.name").or(name) {
            row.put_word(col::CONTAINER_NAME, name);
        }
        if let Some(image) = self.attribute("image").or(self.from) {
            put_reference(image, row);
        }
        let pod = self.attribute("io.kubernetes.pod.name");
        let service = self.attribute("com.docker.swarm.service.name");
        let words = [
            (col::POD_NAME, pod),
            (col::POD_UID, self.attribute("io.kubernetes.pod.uid")),
            (col::NAMESPACE_NAME, self.attribute("io.kubernetes.pod.namespace")),
            (col::WORKLOAD_NAME, pod.map(workload_of_pod).or(service)),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
        let stated = |key: &str| self.attribute(key).filter(|_| is_stated("container", operation, key));
        if let Some(id) = stated("execID") {
            row.put_text(col::PROCESS_UID, id);
            row.put_text(col::METADATA_CORRELATION_UID, id);
        }
        if let Some(code) = stated("exitCode").and_then(|code| code.parse().ok()) {
            row.put_long(col::EXIT_CODE, code);
            // A container that is stopped ends by a signal too: only of a command does the code tell how it went.
            if operation == "exec_die" {
                row.put_int(col::STATUS_ID, if code == 0 { 1 } else { 2 });
            }
        }
    }

    fn put_labels(&self, kind: &str, operation: &str, row: &mut EventBuilder) -> bool {
        let mut text = String::new();
        let mut places: Vec<Range<usize>> = Vec::new();
        let is_label = |(key, _): &&(&str, &str)| !is_stated(kind, operation, key);
        let mut labels = self.others.iter().chain(&self.known).filter(is_label);
        for (key, value) in labels.by_ref().take(self.list_items_max) {
            let start = text.len();
            text.push_str(key);
            text.push('=');
            text.push_str(value);
            places.push(start..text.len());
        }
        if !places.is_empty() {
            row.put_words(col::METADATA_LABELS, places.into_iter().filter_map(|place| text.get(place)));
        }
        labels.next().is_some()
    }
}

/// Whether the daemon states an attribute in events of a kind and operation; else it is a label.
fn is_stated(kind: &str, operation: &str, key: &str) -> bool {
    match key {
        "name" => true,
        "image" => kind == "container",
        "exitCode" => matches!(operation, "die" | "exec_die"),
        "execDuration" => operation == "die",
        "execID" => operation.starts_with("exec_"),
        "signal" => operation == "kill",
        "oldName" => operation == "rename",
        "height" | "width" => operation == "resize",
        "arguments" => operation == "top",
        "comment" | "imageID" | "imageRef" => operation == "commit",
        _ => false,
    }
}

fn put_image(id: Option<&str>, name: Option<&str>, row: &mut EventBuilder) {
    // A pull names the whole reference by its id; other events have a hash there.
    if let Some(reference) = id.filter(|id| !is_hash(id)).or(name) {
        put_reference(reference, row);
    }
}

/// Puts the parts of a reference. The bare hash of an image that was named by nothing else is the daemon's own id of it,
/// and no digest that a registry knows: only `…@sha256:…` is.
fn put_reference(reference: &str, row: &mut EventBuilder) {
    if !is_hash(reference) {
        Image::parse(reference).put(row);
    }
}

fn is_hash(text: &str) -> bool {
    text.starts_with("sha256:") || (text.len() >= HASH_DIGITS_MIN && text.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// OCSF's activity of an operation.
fn activity(operation: &str) -> i32 {
    match operation {
        "create" | "exec_create" | "pull" | "import" | "load" | "tag" | "commit" | "install" => 1,
        "export" | "save" | "push" | "top" | "copy" | "archive-path" => 2,
        "update" | "rename" | "reload" | "extract-to-dir" => 3,
        "destroy" | "delete" | "remove" | "untag" | "prune" => 4,
        _ => 99,
    }
}

/// The kind of an object as the API's paths have it.
fn plural(kind: &str) -> &str {
    match kind {
        "container" => "containers",
        "image" => "images",
        "network" => "networks",
        "volume" => "volumes",
        "plugin" => "plugins",
        "service" => "services",
        "node" => "nodes",
        "secret" => "secrets",
        "config" => "configs",
        other => other,
    }
}

#[cfg(test)]
mod tests;
