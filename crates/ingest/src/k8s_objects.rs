//! Kubernetes objects, as `kubectl get -o json` and the API's watches write them: what a cluster holds, and since when.
//!
//! An object makes one event, and one version of itself in the objects table. Its time is that of its carrier, if it has
//! one; else the newest that it states itself, since it was like this from then on at the latest.
//!
//! Not here: taking lists apart (see [`crate::envelope`], which tells the members of a typed list their kind), and until
//! when a version held.

use std::net::IpAddr;

use palisade_events::fields::FieldRef;
use palisade_events::time::Micros;
use palisade_events::{CoverageKind, EventBuilder, ObjectChange, ObjectVersion, col};

use crate::container;
use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::image::Image;
use crate::json::{Columns, Value};
use crate::put::first;
use crate::zone::Zone;

use self::pods::{Pods, SPECS, STATUSES};
use self::workload::Owner;

mod pods;
mod workload;

/// OCSF cloud resources inventory, and its activities: a log told of it, or somebody collected it.
const CLASS_INVENTORY: i32 = 5023;
const ACTIVITY_LOG: i32 = 1;
const ACTIVITY_COLLECT: i32 = 2;

/// Bytes kept of the API server's own words in a coverage fact.
const REASON_BYTES_MAX: usize = 64;

/// Reads Kubernetes objects.
#[derive(Debug, Default)]
pub(crate) struct K8sObjects;

impl JsonFormat for K8sObjects {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let items_max = reading.list_items_max();
        let mut shown = Shown { items_max, zone: reading.settings.zone, ..Shown::default() };
        if root.is_object() {
            reading.walk(root, Place::Root, &mut shown);
        }
        let carried = reading.record.time.and_then(in_range);
        match shown.watch() {
            Some(Watch::Bookmark) => return Ok(Made::Structure),
            Some(Watch::Error) => {
                // Who watches has to list anew: what happened until then, nobody tells.
                let time = carried.or(reading.lane_max).unwrap_or(0);
                let detail = shown.error();
                reading.facts.push(Fact { kind: CoverageKind::Gap, window: (time, time), count: -1, detail });
                return Ok(Made::Facts);
            }
            Some(Watch::Seen | Watch::Deleted) | None => {}
        }
        let Some(named) = shown.named() else {
            return Err(("not_a_k8s_object", "no apiVersion, kind and metadata of an object".to_owned()));
        };
        let Some(name) = shown.name else {
            return Err(("missing_name", "the object has no name".to_owned()));
        };
        let (time, original) = match (carried, shown.newest) {
            (Some(time), newest) => (time, newest.map_or("", |(_, text)| text)),
            (None, Some(newest)) => newest,
            (None, None) => {
                return Err(("missing_time", "no readable time in the object or its carrier".to_owned()));
            }
        };
        let object = shown.finish(named, name, time, reading.row);
        reading.objects.push(object);
        reading.cut |= shown.cut || shown.pods.cut;
        Ok(Made::Event { time, original: original.into() })
    }
}

/// What a watch says of an object.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watch {
    Seen,
    Deleted,
    /// How far the watch is: no object changed.
    Bookmark,
    /// The watch ends.
    Error,
}

/// What makes a document an object.
#[derive(Clone, Copy)]
struct Named<'i> {
    kind: &'i str,
    api_version: &'i str,
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    /// The object inside a watch's event.
    Object,
    Metadata,
    Spec,
    Template,
    Status,
}

/// What the walk noticed.
#[derive(Default)]
struct Shown<'i> {
    items_max: usize,
    zone: Zone,
    cut: bool,
    /// Type of a watch's event, and whether there is an object beside it.
    watch_type: Option<&'i str>,
    is_wrapped: bool,
    kind: Option<&'i str>,
    api_version: Option<&'i str>,
    has_metadata: bool,
    has_items: bool,
    /// Of a `Status`.
    code: Option<i64>,
    reason: Option<&'i str>,
    /// Of an `Event`.
    message: Option<&'i str>,
    name: Option<&'i str>,
    namespace: Option<&'i str>,
    uid: Option<&'i str>,
    resource_version: Option<&'i str>,
    generation: Option<i64>,
    labels: Vec<(&'i str, &'i str)>,
    owner: Option<Owner<'i>>,
    /// The newest time that the object states, and how it is written.
    newest: Option<(Micros, &'i str)>,
    /// Of pods, services and nodes, in the order in which they are stated.
    addresses: Vec<&'i str>,
    pods: Pods<'i>,
}

impl<'i> Columns<'i> for Shown<'i> {
    type Place = Place;

    fn key(&mut self, place: Place, key: &'i str, value: Value<'_, 'i>, _: &mut EventBuilder) -> Option<Place> {
        match place {
            Place::Root => match key {
                // An object may have a type too: a Secret has, and an Event.
                "type" => first(&mut self.watch_type, value),
                "object" if value.is_object() => {
                    self.is_wrapped = true;
                    return Some(Place::Object);
                }
                _ => return self.object(key, value),
            },
            Place::Object => return self.object(key, value),
            Place::Metadata => self.metadata(key, value),
            Place::Spec => match key {
                "template" | "jobTemplate" => return Some(Place::Template),
                _ => self.spec(key, value),
            },
            Place::Template if key == "spec" => return Some(Place::Spec),
            Place::Template => {}
            Place::Status => self.status(key, value),
        }
        None
    }
}

impl<'i> Shown<'i> {
    fn object(&mut self, key: &'i str, value: Value<'_, 'i>) -> Option<Place> {
        match key {
            "kind" => first(&mut self.kind, value),
            "apiVersion" => first(&mut self.api_version, value),
            "metadata" => {
                self.has_metadata = value.is_object();
                return Some(Place::Metadata);
            }
            "spec" => return Some(Place::Spec),
            "status" => return Some(Place::Status),
            "items" => self.has_items = value.is_array(),
            "code" => self.code = value.int(),
            "reason" => first(&mut self.reason, value),
            "message" => first(&mut self.message, value),
            "firstTimestamp" | "lastTimestamp" | "eventTime" | "deprecatedLastTimestamp" => self.time(value),
            _ => {}
        }
        None
    }

    fn metadata(&mut self, key: &str, value: Value<'_, 'i>) {
        match key {
            "name" => first(&mut self.name, value),
            "namespace" => first(&mut self.namespace, value),
            "uid" => first(&mut self.uid, value),
            "resourceVersion" => first(&mut self.resource_version, value),
            "generation" => self.generation = value.int(),
            "creationTimestamp" | "deletionTimestamp" => self.time(value),
            "labels" => {
                let labels = value.entries().filter_map(|(key, value)| Some((key, value.str()?)));
                self.labels.extend(labels.take(self.items_max));
                self.cut |= value.entries().nth(self.items_max).is_some();
            }
            "ownerReferences" => self.owner = value.items().find_map(Owner::controller),
            "managedFields" => self.times_of(value, &["time"]),
            _ => {}
        }
    }

    fn spec(&mut self, key: &str, value: Value<'_, 'i>) {
        match key {
            "nodeName" => first(&mut self.pods.node, value),
            "hostNetwork" => self.pods.is_on_hosts_network = matches!(value.scalar(), FieldRef::Bool(true)),
            "serviceAccountName" => first(&mut self.pods.service_account, value),
            "serviceAccount" => first(&mut self.pods.service_account_old, value),
            "clusterIP" => self.address(value),
            "clusterIPs" | "externalIPs" => value.items().for_each(|item| self.address(item)),
            _ => {
                if let Some(rank) = SPECS.iter().position(|list| *list == key) {
                    self.pods.read_containers(rank, value, self.items_max);
                }
            }
        }
    }

    fn status(&mut self, key: &str, value: Value<'_, 'i>) {
        match key {
            "phase" => first(&mut self.pods.phase, value),
            "startTime" | "completionTime" => self.time(value),
            "conditions" => {
                self.times_of(value, &["lastTransitionTime", "lastUpdateTime", "lastHeartbeatTime", "lastProbeTime"]);
            }
            "podIP" => self.address(value),
            "podIPs" => {
                for ip in value.items().filter_map(|item| item.get("ip")) {
                    self.address(ip);
                }
            }
            "loadBalancer" => {
                for entry in value.get("ingress").into_iter().flat_map(Value::items) {
                    if let Some(ip) = entry.get("ip") {
                        self.address(ip);
                    }
                }
            }
            // Of a node; its names are no addresses.
            "addresses" => {
                for entry in value.items() {
                    let kind = entry.get("type").and_then(Value::str);
                    if let (Some("InternalIP" | "ExternalIP"), Some(ip)) = (kind, entry.get("address")) {
                        self.address(ip);
                    }
                }
            }
            key if STATUSES.contains(&key) => {
                for status in value.items() {
                    for time in self.pods.read_status(status, self.items_max).into_iter().flatten() {
                        self.time_text(time);
                    }
                }
            }
            _ => {}
        }
    }

    fn address(&mut self, value: Value<'_, 'i>) {
        // A service without an address of its own says `None`.
        let Some(ip) = value.text().filter(|ip| ip.parse::<IpAddr>().is_ok() && !self.addresses.contains(ip)) else {
            return;
        };
        if self.addresses.len() < self.items_max {
            self.addresses.push(ip);
        } else {
            self.cut = true;
        }
    }

    fn time(&mut self, value: Value<'_, 'i>) {
        if let Some(text) = value.text() {
            self.time_text(text);
        }
    }

    fn time_text(&mut self, text: &'i str) {
        if let Some(time) = self.zone.parse(text).and_then(in_range)
            && self.newest.is_none_or(|(newest, _)| newest < time)
        {
            self.newest = Some((time, text));
        }
    }

    fn times_of(&mut self, list: Value<'_, 'i>, keys: &[&str]) {
        for (key, value) in list.items().flat_map(Value::entries) {
            if keys.contains(&key) {
                self.time(value);
            }
        }
    }

    fn watch(&self) -> Option<Watch> {
        let watch_type = self.watch_type.filter(|_| self.is_wrapped)?;
        Some(match watch_type {
            "ADDED" | "MODIFIED" => Watch::Seen,
            "DELETED" => Watch::Deleted,
            "BOOKMARK" => Watch::Bookmark,
            "ERROR" => Watch::Error,
            _ => return None,
        })
    }

    /// Why a watch ended.
    fn error(&self) -> String {
        let reason = self.reason.unwrap_or("no reason");
        let reason = reason.get(..reason.floor_char_boundary(REASON_BYTES_MAX)).unwrap_or_default();
        match self.code {
            Some(code) => format!("the watch ended: {code} {reason}"),
            None => format!("the watch ended: {reason}"),
        }
    }

    /// What the document is called, if it is an object; a list of them is none, and an audit event has no name.
    fn named(&self) -> Option<Named<'i>> {
        let (kind, api_version) = (self.kind?, self.api_version?);
        let is_list = self.has_items && kind.ends_with("List");
        let is_audit = api_version.starts_with("audit.k8s.io/");
        let is_object = self.has_metadata && !is_list && !is_audit && (!self.is_wrapped || self.watch().is_some());
        is_object.then_some(Named { kind, api_version })
    }

    /// Fills the columns, and makes the version of the object.
    fn finish(&mut self, named: Named<'i>, name: &'i str, time: Micros, row: &mut EventBuilder) -> ObjectVersion {
        let Named { kind, api_version } = named;
        let is_pod = kind == "Pod";
        let node = self.pods.node.filter(|_| is_pod);
        let label = |wanted: &str| self.labels.iter().find(|(key, _)| *key == wanted).map(|(_, value)| *value);
        let workload = workload::of(kind, name, self.owner.as_ref(), label);
        let images = self.pods.images();
        let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
        let watch = self.watch();

        row.put_int(col::CLASS_UID, CLASS_INVENTORY);
        row.put_int(col::ACTIVITY_ID, if watch.is_some() { ACTIVITY_LOG } else { ACTIVITY_COLLECT });
        row.put_word(col::METADATA_PRODUCT_NAME, "kubernetes");
        row.put_word(col::METADATA_LOG_NAME, if watch.is_some() { "watch" } else { "get" });
        row.put_word(col::API_SERVICE_NAME, group);
        row.put_word(col::API_VERSION, version);
        row.put_word(col::RESOURCE_TYPE, &plural(kind));
        row.put_text(col::RESOURCE_NAME, name);
        let words = [
            (col::API_OPERATION, self.watch_type.filter(|_| watch.is_some())),
            (col::NAMESPACE_NAME, if kind == "Namespace" { Some(name) } else { self.namespace }),
            (col::DEVICE_HOSTNAME, if kind == "Node" { Some(name) } else { node }),
            (col::WORKLOAD_KIND, workload.map(|(kind, _)| kind)),
            (col::WORKLOAD_NAME, workload.map(|(_, name)| name)),
            (col::POD_NAME, Some(name).filter(|_| is_pod)),
            (col::POD_UID, self.uid.filter(|_| is_pod)),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
        if let Some(uid) = self.uid {
            row.put_text(col::RESOURCE_UID, uid);
            if let Some(version) = self.resource_version {
                row.put_text(col::METADATA_UID, &format!("{uid}/{version}"));
            }
        }
        if let Some(message) = self.message.filter(|_| kind == "Event") {
            row.put_text(col::MESSAGE, message);
        }
        if is_pod && !self.labels.is_empty() {
            let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            row.put_words(col::POD_LABELS, labels.iter().map(String::as_str));
        }
        if let Some(first) = images.first() {
            row.put_word(col::CONTAINER_NAME, &first.container);
            if let Some(digest) = &first.digest {
                row.put_word(col::CONTAINER_IMAGE_UID, digest);
            }
            Image::parse(&first.image).put(row);
            container::put(row, first.container_uid.as_deref().unwrap_or_default());
        }

        let has_addresses = match kind {
            "Pod" => self.pods.has_own_addresses(),
            "Service" | "Node" => true,
            _ => false,
        };
        let owned = |text: Option<&str>| text.map(str::to_owned);
        ObjectVersion {
            time,
            change: match watch {
                Some(Watch::Deleted) => ObjectChange::Deleted,
                _ if is_pod && self.pods.has_ended() => ObjectChange::Ended,
                _ => ObjectChange::Seen,
            },
            kind: kind.to_owned(),
            api_version: api_version.to_owned(),
            namespace: owned(self.namespace),
            name: name.to_owned(),
            uid: self.uid.unwrap_or_default().to_owned(),
            resource_version: owned(self.resource_version),
            generation: self.generation,
            workload_kind: owned(workload.map(|(kind, _)| kind)),
            workload_name: owned(workload.map(|(_, name)| name)),
            owner_kind: owned(self.owner.map(|owner| owner.kind)),
            owner_name: owned(self.owner.map(|owner| owner.name)),
            owner_uid: owned(self.owner.and_then(|owner| owner.uid)),
            labels: self.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            addresses: match has_addresses {
                true => self.addresses.iter().map(|ip| (*ip).to_owned()).collect(),
                false => Vec::new(),
            },
            node: owned(node),
            service_account: owned(self.pods.service_account.or(self.pods.service_account_old)),
            images,
            ..ObjectVersion::default()
        }
    }
}

/// The resource that a kind is most likely served as: the plural as Kubernetes itself guesses it.
fn plural(kind: &str) -> String {
    let mut name = kind.to_ascii_lowercase();
    if name == "endpoints" {
        return name;
    }
    match name.as_bytes().last() {
        Some(b's') => name.push_str("es"),
        Some(b'y') => {
            name.pop();
            name.push_str("ies");
        }
        _ => name.push('s'),
    }
    name
}

#[cfg(test)]
mod tests;
