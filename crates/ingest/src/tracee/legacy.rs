//! The shape of versions up to 0.24, `trace.Event`, and of older ones, which spell some keys otherwise and have container
//! and pod flat beside the process.

use palisade_events::{EventBuilder, col};

use super::event::Event;
use super::{EPOCH_NANOS_MIN, Place, entity};
use crate::json::Value;
use crate::put::{self, first};

impl<'i> Event<'i> {
    /// Whether the document is an event of this shape: other sources name events too, but not with these keys.
    pub(super) fn is_legacy(&self) -> bool {
        self.legacy_name.is_some() && self.has_legacy_key
    }

    pub(super) fn legacy(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "processId" | "processID" | "hostProcessId" | "hostProcessID" | "processorId" | "threadStartTime"
            | "argsNum" | "matchedPolicies" | "matchedScopes" => self.has_legacy_key = true,
            _ => {}
        }
        match key {
            "eventName" => first(&mut self.legacy_name, value),
            "threadStartTime" => {
                let nanos = value.int().filter(|&nanos| nanos >= EPOCH_NANOS_MIN);
                self.thread_start = nanos.map(|nanos| nanos / 1000);
            }
            "processId" | "processID" => self.pid = value.int(),
            "threadId" | "threadID" => self.tid = value.int(),
            "parentProcessId" | "parentProcessID" => self.parent_pid = value.int(),
            "hostProcessId" | "hostProcessID" => self.host_pid = value.int(),
            "hostThreadId" | "hostThreadID" => self.host_tid = value.int(),
            "hostParentProcessId" | "hostParentProcessID" => self.host_parent_pid = value.int(),
            "userId" | "userID" => put_uid(row, value),
            "processName" => first(&mut self.process_name, value),
            "executable" => return Some(Place::Executable),
            "hostName" => first(&mut self.host, value),
            "containerId" => first(&mut self.container, value),
            "containerName" => put::word(row, col::CONTAINER_NAME, value),
            "containerImage" => first(&mut self.image, value),
            "container" => return Some(Place::LegacyContainer),
            "kubernetes" => return Some(Place::Kubernetes),
            "podName" | "podNamespace" | "podUID" => return self.legacy_object(Place::Kubernetes, key, value, row),
            // In versions that count policies, a mask.
            "matchedPolicies" => self.cut |= put::words(row, col::POLICY_NAMES, value, self.list_items_max),
            "returnValue" => self.returned = value.int(),
            "syscall" => first(&mut self.syscall, value),
            "processEntityId" => self.entity = entity(value),
            "parentEntityId" => self.parent_entity = entity(value),
            "args" => {
                self.has_legacy_key |= value.is_array();
                self.arguments(value, row);
            }
            "metadata" => return Some(Place::Metadata),
            // A shape in between had what tells of the process in here.
            "context" | "process" => return Some(Place::Root),
            _ => {}
        }
        None
    }

    pub(super) fn legacy_object(
        &mut self,
        place: Place,
        key: &'i str,
        value: Value<'_, 'i>,
        row: &mut EventBuilder,
    ) -> Option<Place> {
        match (place, key) {
            (Place::Executable, "path") => first(&mut self.executable, value),
            (Place::LegacyContainer, "id") => first(&mut self.container, value),
            (Place::LegacyContainer, "name") => put::word(row, col::CONTAINER_NAME, value),
            (Place::LegacyContainer, "image") => first(&mut self.image, value),
            (Place::LegacyContainer, "imageDigest") => first(&mut self.digest, value),
            (Place::Kubernetes, "podName") => first(&mut self.pod, value),
            (Place::Kubernetes, "podNamespace") => put::word(row, col::NAMESPACE_NAME, value),
            (Place::Kubernetes, "podUID") => put::word(row, col::POD_UID, value),
            (Place::Metadata, "Description") => put::text(row, col::MESSAGE, value),
            (Place::Metadata, "Tags") => {
                self.labels.extend(value.items().filter_map(Value::text).take(self.list_items_max));
            }
            (Place::Metadata, "Properties") => return Some(Place::Properties),
            (Place::Properties, "Severity") => {
                self.is_finding = true;
                self.severity = severity(value);
            }
            (Place::Properties, "signatureID") => {
                self.is_finding = true;
                self.labels.extend(value.text());
            }
            (Place::Properties, "signatureName") => first(&mut self.title, value),
            (Place::Properties, "Category") => self.labels.extend(value.text()),
            (Place::Properties, "external_id") => first(&mut self.technique, value),
            _ => {}
        }
        None
    }
}

pub(super) fn put_uid(row: &mut EventBuilder, value: Value<'_, '_>) {
    put::word(row, col::PROCESS_USER_UID, value);
    put::word(row, col::ACTOR_USER_UID, value);
}

/// OCSF's severity: Tracee counts from 0, informational, to 4, critical, or names them.
pub(super) fn severity(value: Value<'_, '_>) -> Option<i32> {
    const NAMES: [&str; 5] = ["INFO", "LOW", "MEDIUM", "HIGH", "CRITICAL"];
    let named = value.str().and_then(|name| NAMES.iter().position(|known| name.eq_ignore_ascii_case(known)));
    let number = named.or_else(|| usize::try_from(value.int()?).ok()).filter(|&number| number < NAMES.len())?;
    i32::try_from(number + 1).ok()
}
