//! The shape of `v1beta1.Event`, as it is written and as its documentation has it.

use palisade_events::time::parse_rfc3339;
use palisade_events::{EventBuilder, col};

use super::event::Event;
use super::legacy::{put_uid, severity};
use super::{Place, entity, micros, unwrapped};
use crate::json::Value;
use crate::labels;
use crate::process::name_of;
use crate::put::{self, first};

impl<'i> Event<'i> {
    /// Whether the document is an event of this shape. One without process and policies has a number and a time.
    pub(super) fn is_current(&self) -> bool {
        self.name.is_some()
            && self.legacy_name.is_none()
            && (self.has_current_key || (self.has_number && self.has_time))
    }

    /// The keys of the root object that only this shape has.
    pub(super) fn current_root(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "name" => first(&mut self.name, value),
            "id" => self.has_number |= value.str().is_none() && value.int().is_some(),
            "policies" | "workload" | "threat" | "detected_from" if value.is_object() => {
                self.has_current_key = true;
                return Some(match key {
                    "policies" => Place::Policies,
                    "workload" => Place::Workload,
                    "threat" => Place::Threat,
                    _ => Place::DetectedFrom,
                });
            }
            // Shippers have lists under this key as well: it is no proof of the shape.
            "data" if value.is_array() => self.arguments(value, row),
            _ => {}
        }
        None
    }

    pub(super) fn current(
        &mut self,
        place: Place,
        key: &'i str,
        value: Value<'_, 'i>,
        row: &mut EventBuilder,
    ) -> Option<Place> {
        match (place, key) {
            (Place::Policies, "matched") => {
                self.cut |= put::words(row, col::POLICY_NAMES, value, self.list_items_max);
            }
            (Place::Workload, "process") => return Some(Place::Process),
            (Place::Workload, "container") => return Some(Place::Container),
            (Place::Workload, "k8s") => return Some(Place::K8s),
            (Place::Workload | Place::K8s, "pod") => return Some(Place::Pod),
            (Place::K8s, "namespace") => return Some(Place::Namespace),
            (Place::Process, _) => return self.process(key, value),
            (Place::User, "id") => put_uid(row, unwrapped(value)),
            (Place::Thread, "start_time") => {
                self.thread_start = value.str().and_then(parse_rfc3339);
                return Some(Place::ThreadStart);
            }
            (Place::Thread, "name") => first(&mut self.process_name, value),
            (Place::Thread, "host_tid") => self.host_tid = unwrapped(value).int(),
            (Place::Thread, "tid") => self.tid = unwrapped(value).int(),
            (Place::Thread, "syscall") => first(&mut self.syscall, value),
            (Place::ThreadStart, "seconds") => self.thread_start = micros(value.int(), None),
            (Place::Container, "id") => first(&mut self.container, value),
            (Place::Container, "name") => put::word(row, col::CONTAINER_NAME, value),
            (Place::Container, "image") => return Some(Place::Image),
            (Place::Image, "name") => first(&mut self.image, value),
            (Place::Image, "repo_digests") => {
                let digests = value.items().filter_map(Value::text);
                self.digest = digests.filter_map(|digest| digest.rsplit_once('@')).map(|(_, digest)| digest).next();
            }
            (Place::Pod, "name") => first(&mut self.pod, value),
            (Place::Pod, "uid") => put::word(row, col::POD_UID, value),
            (Place::Pod, "labels") => self.cut |= labels::put_members(row, value, self.list_items_max),
            (Place::Namespace, "name") => put::word(row, col::NAMESPACE_NAME, value),
            (Place::Threat, _) => return self.threat(key, value, row),
            (Place::Mitre, "technique") => return Some(Place::Technique),
            (Place::Mitre, "tactic") => self.labels.extend(value.get("name").and_then(Value::text)),
            (Place::Technique, "id") => first(&mut self.technique, value),
            // What a finding was found in: it names the file and the ends that the finding leaves out.
            (Place::DetectedFrom, "name") => first(&mut self.detected_from, value),
            (Place::DetectedFrom, "data") => self.arguments(value, row),
            _ => {}
        }
        None
    }

    fn process(&mut self, key: &'i str, value: Value<'_, 'i>) -> Option<Place> {
        match key {
            "executable" => return Some(Place::Executable),
            "unique_id" => self.entity = entity(value),
            "host_pid" => self.host_pid = unwrapped(value).int(),
            "pid" => self.pid = unwrapped(value).int(),
            "real_user" => return Some(Place::User),
            "thread" => return Some(Place::Thread),
            "ancestors" => {
                self.cut |= value.items().nth(self.list_items_max).is_some();
                for (distance, ancestor) in value.items().take(self.list_items_max).enumerate() {
                    self.ancestor(distance, ancestor);
                }
            }
            _ => {}
        }
        None
    }

    /// The nearest ancestor is the parent.
    fn ancestor(&mut self, distance: usize, ancestor: Value<'_, 'i>) {
        let (mut path, mut name) = (None, None);
        for (key, value) in ancestor.entries() {
            match key {
                "executable" => path = value.get("path").and_then(Value::text),
                "thread" => name = value.get("name").and_then(Value::text),
                "unique_id" if distance == 0 => self.parent_entity = entity(value),
                "host_pid" if distance == 0 => self.host_parent_pid = unwrapped(value).int(),
                "pid" if distance == 0 => self.parent_pid = unwrapped(value).int(),
                _ => {}
            }
        }
        let name = name.or(path.map(name_of));
        if distance == 0 {
            (self.parent_name, self.parent_executable) = (name, path);
        } else {
            self.ancestors.extend(name);
        }
    }

    fn threat(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        self.is_finding = true;
        match key {
            "description" => put::text(row, col::MESSAGE, value),
            "mitre" => return Some(Place::Mitre),
            "severity" => self.severity = severity(value),
            "name" => first(&mut self.title, value),
            "properties" => {
                let id = |key: &str| value.get(key).and_then(Value::text);
                self.labels.extend(id("signatureID").or_else(|| id("id")));
            }
            _ => {}
        }
        None
    }
}
