//! KubeArmor's alerts and logs, one JSON object a message: what a policy matched, and what was only watched.
//!
//! Alerts that KubeArmor left out become coverage facts. Relays write the keys in capitals (`HostName`), the daemon's own
//! output without (`hostName`): both are read. Not here: what resource and data mean (see [`details`]).

use std::borrow::Cow;

use palisade_events::entity::workload_of_pod;
use palisade_events::time::{Micros, SECOND};
use palisade_events::{CoverageKind, EventBuilder, RecordMeta, col};

use self::details::Details;
use crate::activity::{self, Activity};
use crate::container;
use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::image::Image;
use crate::json::{Columns, Value};
use crate::labels;
use crate::process::name_of;
use crate::put::{self, first};
use crate::zone::Zone;

mod details;

/// What KubeArmor calls a cluster that nobody named.
const UNNAMED: &str = "default";

/// Reads KubeArmor's alerts and logs.
#[derive(Debug, Default)]
pub(crate) struct KubeArmor;

impl JsonFormat for KubeArmor {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let mut alert = Alert { list_items_max: reading.list_items_max(), ..Alert::default() };
        if root.is_object() {
            reading.walk(root, Place::Root, &mut alert);
        }
        let Some(kind) = alert.kind.filter(|kind| alert.is_of(kind)) else {
            return Err(("not_a_kubearmor_event", "neither an alert nor a log with an operation".to_owned()));
        };
        let Some((time, original)) = alert.time(&reading.settings.zone, reading.record) else {
            return Err(("missing_time", "no readable time in the alert or its carrier".to_owned()));
        };
        if kind == "SystemEvent" {
            reading.facts.push(alert.fact(time));
            return Ok(Made::Facts);
        }
        reading.cut |= alert.cut;
        put::cluster(reading, alert.cluster);
        alert.finish(kind, reading.row);
        Ok(Made::Event { time, original })
    }
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    Owner,
    Execution,
}

/// What the walk noticed and later columns depend on.
#[derive(Debug, Default)]
struct Alert<'i> {
    list_items_max: usize,
    cut: bool,
    cluster: Option<&'i str>,
    kind: Option<&'i str>,
    operation: Option<&'i str>,
    has_mark: bool,
    updated: Option<&'i str>,
    seconds: Option<i64>,
    host: Option<&'i str>,
    namespace: Option<&'i str>,
    pod: Option<&'i str>,
    owner: Option<&'i str>,
    has_container: bool,
    pid: Option<i64>,
    parent_pid: Option<i64>,
    host_pid: Option<i64>,
    host_parent_pid: Option<i64>,
    process: Option<&'i str>,
    parent: Option<&'i str>,
    source: Option<&'i str>,
    resource: Option<&'i str>,
    data: Option<&'i str>,
    policy: Option<&'i str>,
    action: Option<&'i str>,
    result: Option<&'i str>,
    tags: Option<&'i str>,
    tag_list: Vec<&'i str>,
    /// Of an alert about left out alerts: how many a second are let through, and for how long none is.
    alerts_a_second: Option<i64>,
    silent_secs: Option<i64>,
}

impl<'i> Columns<'i> for Alert<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match (place, key) {
            (Place::Root, _) => return self.root(key, value, row),
            (Place::Owner, "Name" | "name") => first(&mut self.owner, value),
            (Place::Owner, "Ref" | "ref") => put::word(row, col::WORKLOAD_KIND, value),
            (Place::Execution, "ExecID" | "execID") => {
                if let Some(id) = put::spelled(value).filter(|id| id.as_ref() != "0") {
                    row.put_text(col::PROCESS_UID, &id);
                }
            }
            _ => {}
        }
        None
    }
}

impl<'i> Alert<'i> {
    fn root(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "Type" | "type" => first(&mut self.kind, value),
            "Operation" | "operation" => first(&mut self.operation, value),
            "UpdatedTime" | "updatedTime" => first(&mut self.updated, value),
            "Timestamp" | "timestamp" => self.seconds = value.int(),
            // Else every cluster that nobody named would be one, and none the one that the configuration names.
            "ClusterName" | "clusterName" if value.str().is_some_and(|name| name.eq_ignore_ascii_case(UNNAMED)) => {}
            "ClusterName" | "clusterName" => first(&mut self.cluster, value),
            "HostName" | "hostName" => first(&mut self.host, value),
            "NamespaceName" | "namespaceName" => first(&mut self.namespace, value),
            "PodName" | "podName" => first(&mut self.pod, value),
            "Labels" | "labels" => {
                if let Some(list) = value.text() {
                    self.cut |= labels::put_list(row, list, self.list_items_max);
                }
            }
            "Owner" | "owner" => return Some(Place::Owner),
            "ContainerID" | "containerID" => {
                if let Some(id) = value.text() {
                    self.has_container = true;
                    container::put(row, id);
                }
            }
            "ContainerName" | "containerName" => put::word(row, col::CONTAINER_NAME, value),
            "ContainerImage" | "containerImage" => {
                if let Some(image) = value.text() {
                    Image::parse(image).put(row);
                }
            }
            "HostPID" | "hostPid" => self.host_pid = pid(value),
            "HostPPID" | "hostPPid" => self.host_parent_pid = pid(value),
            "PID" | "pid" => self.pid = pid(value),
            "PPID" | "ppid" => self.parent_pid = pid(value),
            "UID" | "uid" => {
                put::word(row, col::PROCESS_USER_UID, value);
                put::word(row, col::ACTOR_USER_UID, value);
            }
            "UserName" | "username" => {
                put::word(row, col::PROCESS_USER_NAME, value);
                put::word(row, col::ACTOR_USER_NAME, value);
            }
            "ProcessName" | "processName" => first(&mut self.process, value),
            "ParentProcessName" | "parentProcessName" => first(&mut self.parent, value),
            "Cwd" | "cwd" => put::word(row, col::PROCESS_CWD, value),
            "TTY" | "tty" => put::word(row, col::ACTOR_SESSION_TERMINAL, value),
            "ExecEvent" | "execEvent" => return Some(Place::Execution),
            "PolicyName" | "policyName" => first(&mut self.policy, value),
            "Severity" | "severity" => {
                if let Some(severity) = value.int().and_then(severity) {
                    row.put_int(col::SEVERITY_ID, severity);
                }
            }
            "Tags" | "tags" => first(&mut self.tags, value),
            "ATags" | "atags" => {
                self.cut |= value.items().nth(self.list_items_max).is_some();
                self.tag_list.extend(value.items().filter_map(Value::text).take(self.list_items_max));
            }
            "Message" | "message" => put::text(row, col::MESSAGE, value),
            "Source" | "source" => first(&mut self.source, value),
            "Resource" | "resource" => first(&mut self.resource, value),
            "Data" | "data" => first(&mut self.data, value),
            "Action" | "action" => first(&mut self.action, value),
            "Result" | "result" => first(&mut self.result, value),
            "MaxAlertsPerSec" => self.alerts_a_second = value.int(),
            "DroppingAlertsInterval" => self.silent_secs = value.int(),
            _ => {}
        }
        match key {
            "HostPID" | "hostPid" | "ContainerID" | "containerID" | "PolicyName" | "policyName" => self.has_mark = true,
            _ => {}
        }
        None
    }

    /// Whether the document is of KubeArmor: its kinds are known by name, and a new one by what surrounds it.
    fn is_of(&self, kind: &str) -> bool {
        let known = matches!(
            kind,
            "MatchedPolicy" | "MatchedHostPolicy" | "MatchedNetworkPolicy" | "ContainerLog" | "HostLog" | "SystemEvent"
        );
        self.operation.is_some() && (known || self.has_mark)
    }

    /// Event time and its text: the exact one, else whole seconds, else the carrier's.
    fn time(&self, zone: &Zone, record: &RecordMeta) -> Option<(Micros, Cow<'i, str>)> {
        if let Some(text) = self.updated
            && let Some(time) = zone.parse(text).and_then(in_range)
        {
            return Some((time, text.into()));
        }
        let whole = self.seconds.filter(|&seconds| seconds > 0);
        if let Some(seconds) = whole
            && let Some(time) = seconds.checked_mul(SECOND).and_then(in_range)
        {
            return Some((time, seconds.to_string().into()));
        }
        Some((record.time.and_then(in_range)?, self.updated.unwrap_or_default().into()))
    }

    /// What KubeArmor tells of alerts that it leaves out: those of one container, from now on and for a while.
    fn fact(&self, time: Micros) -> Fact {
        let silent = self.silent_secs.unwrap_or(0).max(0);
        let end = silent.checked_mul(SECOND).and_then(|micros| time.checked_add(micros)).and_then(in_range);
        let place = [self.host, self.namespace, self.pod].into_iter().flatten().collect::<Vec<_>>().join("/");
        let limit = self.alerts_a_second.map_or_else(String::new, |max| format!(", more than {max} a second"));
        let detail = format!("{place}: alerts are left out for {silent} s{limit}");
        Fact { kind: CoverageKind::Lost, window: (time, end.unwrap_or(time)), count: -1, detail }
    }

    /// Fills what several parts of the alert decide together.
    fn finish(self, kind: &str, row: &mut EventBuilder) {
        let operation = self.operation.unwrap_or_default();
        let details = Details::read(operation, self.resource, self.data);
        let done = details.activity(operation);
        done.put(row);
        row.put_word(col::METADATA_PRODUCT_NAME, "kubearmor");
        row.put_word(col::METADATA_LOG_NAME, kind);
        row.put_word(col::API_OPERATION, details.call.as_deref().unwrap_or(operation));
        if let Some(call) = &details.call {
            row.put_word(col::SYSCALL, call);
        }
        if let Some(policy) = self.policy {
            row.put_words(col::POLICY_NAMES, [policy]);
            row.put_word(col::FINDING_INFO_TITLE, policy);
        }
        self.put_tags(row);
        self.put_outcome(row);
        self.put_place(row);
        self.put_processes(operation, done, row);
        details.put(row);
    }

    fn put_tags(&self, row: &mut EventBuilder) {
        let listed = self.tags.filter(|_| self.tag_list.is_empty());
        let listed = listed.into_iter().flat_map(|tags| tags.split(',')).map(str::trim).filter(|tag| !tag.is_empty());
        let tags: Vec<&str> = listed.chain(self.tag_list.iter().copied()).take(self.list_items_max).collect();
        let techniques: Vec<&str> = tags.iter().filter_map(|tag| technique(tag)).collect();
        if !tags.is_empty() {
            row.put_words(col::METADATA_LABELS, tags);
        }
        if !techniques.is_empty() {
            row.put_words(col::ATTACK_TECHNIQUES, techniques);
        }
    }

    fn put_outcome(&self, row: &mut EventBuilder) {
        let passed = self.result.map(|result| matches!(result, "Passed" | "Removed"));
        let action = match self.action {
            // What is to be blocked can have passed before the policy took hold.
            Some("Block") if passed == Some(true) => Some("observed"),
            Some("Block") => Some("denied"),
            Some("Allow") => Some("allowed"),
            // Also what a policy would do if it did more than watch: `Audit (Block)`.
            Some(action) if action.starts_with("Audit") => Some("observed"),
            _ => None,
        };
        if let Some(action) = action {
            row.put_word(col::ACTION, action);
        }
        match (passed, self.result) {
            (Some(true), _) => row.put_int(col::STATUS_ID, 1),
            (Some(false), Some(why)) => {
                row.put_int(col::STATUS_ID, 2);
                row.put_text(col::STATUS_DETAIL, why);
            }
            _ => {}
        }
    }

    fn put_place(&self, row: &mut EventBuilder) {
        let words = [
            (col::DEVICE_HOSTNAME, self.host),
            (col::NAMESPACE_NAME, self.namespace),
            (col::POD_NAME, self.pod),
            (col::WORKLOAD_NAME, self.owner.or(self.pod.map(workload_of_pod))),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
    }

    /// The source is the command that did it. What executes a program is that program's parent: there the resource is
    /// the command.
    fn put_processes(&self, operation: &str, done: Activity, row: &mut EventBuilder) {
        let executes = operation == "Process" && done == Activity::new(activity::PROCESS, 1);
        let command = if executes { self.resource } else { self.source };
        let of = |command: Option<&'i str>| command.and_then(|command| command.split(' ').next());
        let executable = self.process.or_else(|| of(command));
        let parent = self.parent.or_else(|| of(self.source.filter(|_| executes)));
        let words = [
            (col::PROCESS_NAME, executable.map(name_of)),
            (col::PROCESS_FILE_PATH, executable.filter(|path| path.contains('/'))),
            (col::PARENT_PROCESS_NAME, parent.map(name_of)),
            (col::PARENT_PROCESS_FILE_PATH, parent.filter(|path| path.contains('/'))),
        ];
        for (column, word) in words {
            if let Some(word) = word.filter(|word| !word.is_empty()) {
                row.put_word(column, word);
            }
        }
        if let Some(command) = command {
            row.put_text(col::PROCESS_CMD_LINE, command);
        }
        if let Some(command) = self.source.filter(|_| executes) {
            row.put_text(col::PARENT_PROCESS_CMD_LINE, command);
        }
        // Without a container, a process's own ids are the node's.
        let own = |pid: Option<i64>| pid.filter(|_| !self.has_container);
        let longs = [
            (col::PROCESS_PID, self.host_pid.or(own(self.pid))),
            (col::PROCESS_NAMESPACE_PID, self.pid.filter(|_| self.has_container)),
            (col::PARENT_PROCESS_PID, self.host_parent_pid.or(own(self.parent_pid))),
        ];
        for (column, number) in longs {
            if let Some(number) = number {
                row.put_long(column, number);
            }
        }
    }
}

/// A process id; 0 stands for none.
fn pid(value: Value<'_, '_>) -> Option<i64> {
    value.int().filter(|&pid| pid > 0)
}

/// OCSF's severity of a policy's, 1 to 10, where 10 is worst.
fn severity(number: i64) -> Option<i32> {
    Some(match number {
        1..=3 => 2,
        4..=6 => 3,
        7..=8 => 4,
        9..=10 => 5,
        _ => return None,
    })
}

/// The ATT&CK technique that a tag names: `T1082` of `MITRE_T1082_system_information_discovery`.
fn technique(tag: &str) -> Option<&str> {
    let tag = tag.strip_prefix("MITRE_").unwrap_or(tag);
    let id = tag.split('_').next()?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let rest = id.strip_prefix('T')?;
    let is_id = match rest.split_once('.') {
        Some((technique, part)) => digits(technique, 4) && digits(part, 3),
        None => digits(rest, 4),
    };
    is_id.then_some(id)
}

#[cfg(test)]
mod tests;
