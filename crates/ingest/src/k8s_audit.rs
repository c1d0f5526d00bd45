//! Kubernetes audit events (`audit.k8s.io`, v1 and the versions before it).
//!
//! Not here: lists and what else wraps an event (see [`crate::envelope`]), and the schema of GKE's entries, which are
//! written back as audit events before they are read ([`gke`]).

use palisade_events::entity::workload_of_pod;
use palisade_events::time::Micros;
use palisade_events::{CoverageKind, EventBuilder, col};

use crate::decode::in_range;
use crate::document::{Fact, JsonFormat, Made, Reading, Refusal};
use crate::image::Image;
use crate::json::{Columns, Value};
use crate::network::put_ip;
use crate::put::{self, first, word, words};

pub(crate) mod gke;

/// OCSF API activity.
const CLASS_API_ACTIVITY: i32 = 6003;

/// Reads Kubernetes audit events.
#[derive(Debug, Default)]
pub(crate) struct K8sAudit {
    /// Where texts are put together.
    scratch: String,
}

impl JsonFormat for K8sAudit {
    fn read<'i>(&mut self, root: Value<'_, 'i>, reading: &mut Reading<'_>) -> Result<Made<'i>, Refusal> {
        let mut event = Event { list_items_max: reading.list_items_max(), ..Event::default() };
        if root.is_object() && !is_cloud_entry(root) {
            reading.walk(root, Place::Root, &mut event);
        }
        if !event.is_audit() {
            return Err(("not_an_audit_event", "neither auditID nor verb and stage".to_owned()));
        }
        let Some((time, original)) = event.time(reading) else {
            return Err(("missing_time", "no readable time in the event or its carrier".to_owned()));
        };
        if event.truncated {
            let detail = "the audit event's body was cut by its source".to_owned();
            reading.facts.push(Fact { kind: CoverageKind::Truncated, window: (time, time), count: 1, detail });
        }
        reading.cut |= event.truncated || event.cut;
        put::cluster(reading, event.cluster);
        event.finish(reading.row, &mut self.scratch);
        Ok(Made::Event { time, original: original.into() })
    }
}

#[derive(Clone, Copy)]
enum Place {
    Root,
    User,
    UserExtra,
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
    Ephemeral,
    CloudResource,
    CloudLabels,
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
    cluster: Option<&'i str>,
    kind: Option<&'i str>,
    api_version: Option<&'i str>,
    audit_id: Option<&'i str>,
    stage: Option<&'i str>,
    verb: Option<&'i str>,
    uri: Option<&'i str>,
    /// Times in falling order of trust: stage, request received, the old `timestamp`, and its metadata.
    times: [Option<&'i str>; 4],
    user: Option<&'i str>,
    /// Pod that the user's token is bound to: the caller, not what was acted on.
    caller_pod: Option<&'i str>,
    /// What the user showed to be let in: an access key of AWS, or the id of a token.
    access_key: Option<&'i str>,
    token: Option<&'i str>,
    has_object: bool,
    resource: Option<&'i str>,
    subresource: Option<&'i str>,
    namespace: Option<&'i str>,
    name: Option<&'i str>,
    uid: Option<&'i str>,
    group: Option<&'i str>,
    code: Option<i64>,
    answer_message: Option<&'i str>,
    answer_reason: Option<&'i str>,
    decision: Option<&'i str>,
    bodies: [Body<'i>; 2],
    /// The newest ephemeral container: its name and its image.
    ephemeral: [Option<&'i str>; 2],
    /// The source left something of the event out.
    truncated: bool,
    /// A bound left something out.
    cut: bool,
}

#[derive(Clone, Copy, Default)]
struct Body<'i> {
    name: Option<&'i str>,
    namespace: Option<&'i str>,
    uid: Option<&'i str>,
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
                "uid" => word(row, col::ACTOR_USER_UID, value),
                "groups" => self.cut |= words(row, col::ACTOR_USER_GROUPS, value, self.list_items_max),
                "extra" => return Some(Place::UserExtra),
                _ => {}
            },
            // Each holds a list, of one item.
            Place::UserExtra => match key {
                "authentication.kubernetes.io/pod-name" => first_item(&mut self.caller_pod, value),
                "authentication.kubernetes.io/credential-id" => first_item(&mut self.token, value),
                "accessKeyId" => first_item(&mut self.access_key, value),
                _ => {}
            },
            Place::Impersonated => match key {
                "username" => word(row, col::ACTOR_IMPERSONATED_NAME, value),
                "groups" => self.cut |= words(row, col::ACTOR_IMPERSONATED_GROUPS, value, self.list_items_max),
                _ => {}
            },
            Place::Object => match key {
                "resource" => first(&mut self.resource, value),
                "subresource" => first(&mut self.subresource, value),
                "namespace" => first(&mut self.namespace, value),
                "name" => first(&mut self.name, value),
                "apiGroup" => first(&mut self.group, value),
                "apiVersion" => word(row, col::API_VERSION, value),
                "uid" => first(&mut self.uid, value),
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
                "authorization.k8s.io/reason" => word(row, col::AUTHORIZATION_REASON, value),
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
                "uid" => first(&mut self.bodies[side as usize].uid, value),
                _ => {}
            },
            Place::Spec(side) => match key {
                "containers" => return Some(Place::Container(side)),
                "ephemeralContainers" => return Some(Place::Ephemeral),
                "template" | "jobTemplate" => return Some(Place::Template(side)),
                _ => {}
            },
            Place::Template(side) if key == "spec" => return Some(Place::Spec(side)),
            Place::Container(side) => match key {
                "image" => first(&mut self.bodies[side as usize].image, value),
                "name" => first(&mut self.bodies[side as usize].container, value),
                _ => {}
            },
            Place::Ephemeral => match key {
                "name" => self.ephemeral[0] = value.text(),
                "image" => self.ephemeral[1] = value.text(),
                _ => {}
            },
            Place::CloudResource if key == "labels" => return Some(Place::CloudLabels),
            Place::CloudLabels => match key {
                "cluster_name" => first(&mut self.cluster, value),
                "project_id" => word(row, col::CLOUD_ACCOUNT_UID, value),
                "location" => {
                    if let Some(location) = value.text() {
                        row.put_word(col::CLOUD_REGION, region_of(location));
                    }
                }
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
            "userAgent" => word(row, col::HTTP_USER_AGENT, value),
            "stageTimestamp" => first(&mut self.times[0], value),
            "requestReceivedTimestamp" => first(&mut self.times[1], value),
            "timestamp" => first(&mut self.times[2], value),
            "sourceIPs" => {
                if let Some(last) = value.items().filter_map(Value::text).last() {
                    put_ip(row, col::SRC_ENDPOINT_IP, last);
                    self.cut |= words(row, col::SRC_ENDPOINT_IPS, value, self.list_items_max);
                }
            }
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
            // What an event keeps of the entry that it came in.
            "protoPayload" => row.put_word(col::CLOUD_PROVIDER, "GCP"),
            "resource" => return Some(Place::CloudResource),
            _ => {}
        }
        None
    }

    fn is_audit(&self) -> bool {
        let named = self.kind == Some("Event") && self.api_version.is_some_and(|v| v.starts_with("audit.k8s.io/"));
        let kind_fits = self.kind.is_none_or(|kind| kind == "Event");
        named || (kind_fits && (self.audit_id.is_some() || (self.verb.is_some() && self.stage.is_some())))
    }

    fn time(&self, reading: &Reading<'_>) -> Option<(Micros, &'i str)> {
        let zone = &reading.settings.zone;
        let readable = self.times.iter().flatten().find_map(|text| Some((zone.parse(text)?, *text)));
        readable.or_else(|| {
            let carried = reading.record.time.and_then(in_range)?;
            Some((carried, self.times.iter().flatten().next().copied().unwrap_or_default()))
        })
    }

    /// Fills what several parts of the event decide together.
    fn finish(self, row: &mut EventBuilder, scratch: &mut String) {
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
            (col::ACTOR_CREDENTIAL_UID, self.access_key.or(self.token)),
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
            row.put_text(col::METADATA_CORRELATION_UID, id);
            // One request makes an event per stage: the two together are the event's own id.
            let uid = match self.stage {
                Some(stage) => joined(scratch, id, stage),
                None => id,
            };
            row.put_text(col::METADATA_UID, uid);
        }
        self.put_caller(row, scratch);
        self.put_status(row);
        self.put_object(row);
    }

    /// A user that is a service account, and the pod that it spoke from.
    fn put_caller(&self, row: &mut EventBuilder, scratch: &mut String) {
        let account = self.user.and_then(|user| user.strip_prefix("system:serviceaccount:")?.split_once(':'));
        let Some((namespace, name)) = account else { return };
        row.put_word(col::ACTOR_SERVICE_ACCOUNT, joined(scratch, namespace, name));
        if let Some(pod) = self.caller_pod {
            row.put_word(col::SRC_ENDPOINT_NAMESPACE, namespace);
            row.put_word(col::SRC_ENDPOINT_POD, pod);
            row.put_word(col::SRC_ENDPOINT_WORKLOAD, workload_of_pod(pod));
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
        // Whoever creates an object learns its uid from the answer. A subresource's body is another object.
        let uid = self.uid.or(answer.uid.filter(|_| self.subresource.is_none()));
        if let Some(uid) = uid {
            row.put_text(col::RESOURCE_UID, uid);
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
                if let Some(uid) = uid {
                    row.put_word(col::POD_UID, uid);
                }
            }
            (_, Some(name)) => {
                if let Some((kind, name)) = workload_of(resource, name) {
                    row.put_word(col::WORKLOAD_NAME, name);
                    row.put_word(col::WORKLOAD_KIND, kind);
                }
            }
            _ => {}
        }
        let [debugger, debugger_image] = self.ephemeral;
        let debugs = self.subresource == Some("ephemeralcontainers");
        let named_in_uri = self.uri.and_then(|uri| query_value(uri, "container"));
        let container = named_in_uri.or(debugger.filter(|_| debugs)).or(request.container).or(answer.container);
        if let Some(container) = container {
            row.put_word(col::CONTAINER_NAME, container);
        }
        if let Some(image) = debugger_image.filter(|_| debugs).or(request.image).or(answer.image) {
            Image::parse(image).put(row);
        }
    }
}

/// Whether a document is an entry of Cloud Logging, which is not walked: only the event that it is written back as shows
/// which of its bodies are secret. Events are let by at their first key.
fn is_cloud_entry(root: Value<'_, '_>) -> bool {
    let first = root.entries().next().map_or("", |(key, _)| key);
    !matches!(first, "kind" | "apiVersion" | "annotations" | "auditID" | "level" | "metadata")
        && root.get("protoPayload").is_some_and(Value::is_object)
        && root.get("auditID").is_none()
}

/// `a/b`, in a text that is used again.
fn joined<'s>(scratch: &'s mut String, a: &str, b: &str) -> &'s str {
    scratch.clear();
    scratch.push_str(a);
    scratch.push('/');
    scratch.push_str(b);
    scratch
}

fn first_item<'i>(slot: &mut Option<&'i str>, value: Value<'_, 'i>) {
    if slot.is_none() {
        *slot = value.items().find_map(Value::text);
    }
}

/// Kind and name of the workload that an object is, or that it was made for: a Deployment's ReplicaSet and a CronJob's Job
/// are called as its pods are, without the last part.
fn workload_of<'n>(resource: &str, name: &'n str) -> Option<(&'static str, &'n str)> {
    let kind = workload_kind(resource)?;
    let maker_kind = match kind {
        "ReplicaSet" => "Deployment",
        "Job" => "CronJob",
        _ => return Some((kind, name)),
    };
    let maker = name.rsplit_once('-').filter(|(maker, last)| {
        let is_number = last.bytes().all(|b| b.is_ascii_digit());
        !maker.is_empty() && (kind == "ReplicaSet" || is_number) && workload_of_pod(&format!("{name}-bbbbb")) == *maker
    });
    Some(maker.map_or((kind, name), |(maker, _)| (maker_kind, maker)))
}

/// The kind of the workloads that a resource of the API is.
fn workload_kind(resource: &str) -> Option<&'static str> {
    Some(match resource {
        "deployments" => "Deployment",
        "daemonsets" => "DaemonSet",
        "statefulsets" => "StatefulSet",
        "replicasets" => "ReplicaSet",
        "jobs" => "Job",
        "cronjobs" => "CronJob",
        "replicationcontrollers" => "ReplicationController",
        _ => return None,
    })
}

/// The region of Google's location, which may be a zone of it: `europe-west1` of `europe-west1-b`.
fn region_of(location: &str) -> &str {
    match location.rsplit_once('-') {
        Some((region, zone)) if zone.len() == 1 && region.contains('-') => region,
        _ => location,
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
