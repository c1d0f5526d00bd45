//! Kubernetes audit events, `audit.k8s.io/v1`, with the fields and their order as the API server writes them.
//!
//! Not here: who asks for what (see `benign` and `attack`), nor the objects inside (see `body`).

use palisade_events::time::{Micros, SECOND};

use crate::cluster::Actor;
use crate::record::Label;
use crate::text::{go_json, number, uuid_of};
use crate::wire::Wire;

/// A resource of the API: its group (empty for the core), version and plural name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resource(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str);

pub(crate) const PODS: Resource = Resource("", "v1", "pods");
pub(crate) const SECRETS: Resource = Resource("", "v1", "secrets");
pub(crate) const NODES: Resource = Resource("", "v1", "nodes");
pub(crate) const NAMESPACES: Resource = Resource("", "v1", "namespaces");
pub(crate) const CONFIG_MAPS: Resource = Resource("", "v1", "configmaps");
pub(crate) const SERVICES: Resource = Resource("", "v1", "services");
pub(crate) const SERVICE_ACCOUNTS: Resource = Resource("", "v1", "serviceaccounts");
pub(crate) const EVENTS: Resource = Resource("", "v1", "events");
pub(crate) const LEASES: Resource = Resource("coordination.k8s.io", "v1", "leases");
pub(crate) const DEPLOYMENTS: Resource = Resource("apps", "v1", "deployments");
pub(crate) const REPLICA_SETS: Resource = Resource("apps", "v1", "replicasets");
pub(crate) const ENDPOINT_SLICES: Resource = Resource("discovery.k8s.io", "v1", "endpointslices");
pub(crate) const AUTOSCALERS: Resource = Resource("autoscaling", "v2", "horizontalpodautoscalers");
pub(crate) const JOBS: Resource = Resource("batch", "v1", "jobs");
pub(crate) const CRON_JOBS: Resource = Resource("batch", "v1", "cronjobs");
pub(crate) const INGRESSES: Resource = Resource("networking.k8s.io", "v1", "ingresses");
pub(crate) const ROLE_BINDINGS: Resource = Resource("rbac.authorization.k8s.io", "v1", "rolebindings");
pub(crate) const CLUSTER_ROLES: Resource = Resource("rbac.authorization.k8s.io", "v1", "clusterroles");
pub(crate) const CLUSTER_ROLE_BINDINGS: Resource = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings");
pub(crate) const TOKEN_REVIEWS: Resource = Resource("authentication.k8s.io", "v1", "tokenreviews");
pub(crate) const ACCESS_REVIEWS: Resource = Resource("authorization.k8s.io", "v1", "subjectaccessreviews");
pub(crate) const SELF_RULES_REVIEWS: Resource = Resource("authorization.k8s.io", "v1", "selfsubjectrulesreviews");

/// Resources that only scenarios ask for.
const FURTHER: [Resource; 34] = [
    Resource("", "v1", "persistentvolumeclaims"),
    Resource("", "v1", "persistentvolumes"),
    Resource("", "v1", "endpoints"),
    Resource("", "v1", "replicationcontrollers"),
    Resource("", "v1", "resourcequotas"),
    Resource("", "v1", "limitranges"),
    Resource("", "v1", "componentstatuses"),
    Resource("", "v1", "users"),
    Resource("", "v1", "groups"),
    Resource("apps", "v1", "daemonsets"),
    Resource("apps", "v1", "statefulsets"),
    Resource("rbac.authorization.k8s.io", "v1", "roles"),
    Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
    Resource("authorization.k8s.io", "v1", "localsubjectaccessreviews"),
    Resource("authentication.k8s.io", "v1", "selfsubjectreviews"),
    Resource("networking.k8s.io", "v1", "networkpolicies"),
    Resource("certificates.k8s.io", "v1", "certificatesigningrequests"),
    Resource("certificates.k8s.io", "v1", "signers"),
    Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations"),
    Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations"),
    Resource("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies"),
    Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    Resource("apiregistration.k8s.io", "v1", "apiservices"),
    Resource("storage.k8s.io", "v1", "storageclasses"),
    Resource("snapshot.storage.k8s.io", "v1", "volumesnapshots"),
    Resource("snapshot.storage.k8s.io", "v1", "volumesnapshotcontents"),
    Resource("velero.io", "v1", "backups"),
    Resource("velero.io", "v1", "schedules"),
    Resource("velero.io", "v1", "backupstoragelocations"),
    Resource("policy", "v1", "poddisruptionbudgets"),
    Resource("cilium.io", "v2", "ciliumnetworkpolicies"),
    Resource("cilium.io", "v1alpha1", "tracingpolicies"),
    Resource("kyverno.io", "v1", "clusterpolicies"),
    Resource("events.k8s.io", "v1", "events"),
];

impl Resource {
    /// The resource of a plural name.
    pub(crate) fn of(plural: &str) -> Option<Self> {
        const USUAL: [Resource; 22] = [
            PODS,
            SECRETS,
            NODES,
            NAMESPACES,
            CONFIG_MAPS,
            SERVICES,
            SERVICE_ACCOUNTS,
            EVENTS,
            LEASES,
            DEPLOYMENTS,
            REPLICA_SETS,
            ENDPOINT_SLICES,
            AUTOSCALERS,
            JOBS,
            CRON_JOBS,
            INGRESSES,
            ROLE_BINDINGS,
            CLUSTER_ROLES,
            CLUSTER_ROLE_BINDINGS,
            TOKEN_REVIEWS,
            ACCESS_REVIEWS,
            SELF_RULES_REVIEWS,
        ];
        USUAL.iter().chain(&FURTHER).find(|resource| resource.2 == plural).copied()
    }
}

/// How the API server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A success, with its HTTP status.
    Code(u64),
    Forbidden,
    /// Whoever asks is not known.
    Unauthorized,
    NotFound,
    Conflict,
}

impl Answer {
    /// Its HTTP status.
    fn code(self) -> u64 {
        match self {
            Self::Code(code) => code,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
        }
    }

    /// `"user":{…}`, of which the API server knows nothing if it lets nobody in.
    fn user(self, actor: &Actor) -> &str {
        if self == Self::Unauthorized { "\"user\":{}" } else { &actor.user }
    }

    /// What the partition is chosen by: the user, if there is one, else the address.
    fn key(self, actor: &Actor) -> &str {
        if self == Self::Unauthorized { &actor.ip } else { &actor.username }
    }
}

/// One request. Empty texts are absent fields; the objects decide the audit level.
#[derive(Clone, Copy)]
pub(crate) struct Request<'r> {
    pub(crate) actor: &'r Actor,
    pub(crate) verb: &'r str,
    pub(crate) resource: Resource,
    pub(crate) namespace: &'r str,
    pub(crate) name: &'r str,
    pub(crate) subresource: &'r str,
    /// Without its question mark.
    pub(crate) query: &'r str,
    pub(crate) answer: Answer,
    pub(crate) request_object: &'r str,
    pub(crate) response_object: &'r str,
    /// The user who is impersonated, as JSON.
    pub(crate) impersonated: &'r str,
}

impl<'r> Request<'r> {
    /// A request that succeeds with 200 and whose policy level is Metadata.
    pub(crate) fn new(actor: &'r Actor, verb: &'r str, resource: Resource, namespace: &'r str, name: &'r str) -> Self {
        Self {
            actor,
            verb,
            resource,
            namespace,
            name,
            subresource: "",
            query: "",
            answer: Answer::Code(200),
            request_object: "",
            response_object: "",
            impersonated: "",
        }
    }
}

impl Wire {
    /// A request that arrives at `at` and is answered soon after: one event, at stage ResponseComplete.
    pub(crate) fn request(&mut self, at: Micros, request: &Request<'_>, label: Option<Label>) {
        let id = (self.random.next(), self.random.next());
        let done = at + self.latency();
        self.event(id, "ResponseComplete", request, at, done, label);
    }

    /// A long-running request: one event when it starts and, with the same audit id, one when it ends.
    pub(crate) fn session(&mut self, at: Micros, lasts: Micros, request: &Request<'_>, label: Option<Label>) {
        let id = (self.random.next(), self.random.next());
        let started = at + self.latency();
        self.event(id, "ResponseStarted", request, at, started, label);
        self.event(id, "ResponseComplete", request, at, started + lasts.max(1), label);
    }

    /// A request for a path that is no resource, as load balancers make.
    pub(crate) fn probe(&mut self, at: Micros, actor: &Actor, path: &str) {
        self.path(at, actor, "get", path, Answer::Code(200), None);
    }

    /// A request for any path that is no resource.
    pub(crate) fn path(
        &mut self,
        at: Micros,
        actor: &Actor,
        verb: &str,
        path: &str,
        answer: Answer,
        label: Option<Label>,
    ) {
        let id = (self.random.next(), self.random.next());
        let done = at + self.latency();
        self.head("Metadata", id, "ResponseComplete");
        go_json(&mut self.buffer, path);
        self.buffer.push_str("\",\"verb\":\"");
        self.buffer.push_str(verb);
        self.buffer.push_str("\",");
        self.buffer.push_str(answer.user(actor));
        self.buffer.push_str(&actor.origin);
        self.buffer.push_str(",\"responseStatus\":{\"metadata\":{},\"code\":");
        number(&mut self.buffer, answer.code());
        self.buffer.push('}');
        self.tail(actor, at, done, answer);
        self.send_audit(actor.server, done, answer.key(actor), label);
    }

    /// Mostly a few milliseconds, sometimes ten times as long.
    fn latency(&mut self) -> Micros {
        let slow = if self.random.chance(1, 20) { 10 } else { 1 };
        self.random.between(400, 6_000) * slow
    }

    fn event(
        &mut self,
        id: (u64, u64),
        stage: &str,
        request: &Request<'_>,
        received: Micros,
        staged: Micros,
        label: Option<Label>,
    ) {
        let level = match (request.request_object.is_empty(), request.response_object.is_empty()) {
            (true, true) => "Metadata",
            (_, true) => "Request",
            _ => "RequestResponse",
        };
        self.head(level, id, stage);
        uri(&mut self.buffer, request);
        let out = &mut self.buffer;
        out.push_str("\",\"verb\":\"");
        out.push_str(request.verb);
        out.push_str("\",");
        out.push_str(request.answer.user(request.actor));
        if !request.impersonated.is_empty() {
            out.push_str(",\"impersonatedUser\":");
            out.push_str(request.impersonated);
        }
        out.push_str(&request.actor.origin);
        object_ref(out, request);
        response_status(out, request);
        if !request.request_object.is_empty() && !matches!(request.answer, Answer::Forbidden | Answer::Unauthorized) {
            out.push_str(",\"requestObject\":");
            out.push_str(request.request_object);
        }
        if !request.response_object.is_empty()
            && stage == "ResponseComplete"
            && matches!(request.answer, Answer::Code(_))
        {
            out.push_str(",\"responseObject\":");
            out.push_str(request.response_object);
        }
        self.tail(request.actor, received, staged, request.answer);
        self.send_audit(request.actor.server, staged, request.answer.key(request.actor), label);
    }

    /// Up to the opening quote of the URI's value.
    fn head(&mut self, level: &str, id: (u64, u64), stage: &str) {
        let out = &mut self.buffer;
        out.push_str("{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"");
        out.push_str(level);
        out.push_str("\",\"auditID\":\"");
        uuid_of(out, id.0, id.1);
        out.push_str("\",\"stage\":\"");
        out.push_str(stage);
        out.push_str("\",\"requestURI\":\"");
    }

    fn tail(&mut self, actor: &Actor, received: Micros, staged: Micros, answer: Answer) {
        let out = &mut self.buffer;
        out.push_str(",\"requestReceivedTimestamp\":\"");
        self.calendar.micros(out, received);
        out.push_str("\",\"stageTimestamp\":\"");
        self.calendar.micros(out, staged);
        out.push_str("\",\"annotations\":{");
        // Above half a second the API server says where the time went; sessions are told apart by their length.
        if staged - received > SECOND / 2 && staged - received < 60 * SECOND {
            out.push_str("\"apiserver.latency.k8s.io/total\":\"");
            number(out, ((staged - received) / 1_000) as u64);
            out.push_str("ms\",");
        }
        if answer == Answer::Unauthorized {
            if out.ends_with(',') {
                out.pop();
            }
            out.push_str("}}");
        } else if answer == Answer::Forbidden {
            out.push_str("\"authorization.k8s.io/decision\":\"forbid\",\"authorization.k8s.io/reason\":\"\"}}");
        } else {
            out.push_str("\"authorization.k8s.io/decision\":\"allow\",\"authorization.k8s.io/reason\":\"");
            out.push_str(&actor.reason);
            out.push_str("\"}}");
        }
    }
}

fn uri(out: &mut String, request: &Request<'_>) {
    let Resource(group, version, plural) = request.resource;
    out.push_str(if group.is_empty() { "/api/" } else { "/apis/" });
    if !group.is_empty() {
        out.push_str(group);
        out.push('/');
    }
    out.push_str(version);
    if !request.namespace.is_empty() {
        out.push_str("/namespaces/");
        out.push_str(request.namespace);
    }
    // The collection is posted to, although the object's name is known afterwards; subresources are posted by name.
    let named = !request.name.is_empty() && (request.verb != "create" || !request.subresource.is_empty());
    for (part, wanted) in
        [(plural, true), (request.name, named), (request.subresource, !request.subresource.is_empty())]
    {
        if wanted {
            out.push('/');
            out.push_str(part);
        }
    }
    if !request.query.is_empty() {
        out.push('?');
        go_json(out, request.query);
    }
}

fn object_ref(out: &mut String, request: &Request<'_>) {
    let Resource(group, version, plural) = request.resource;
    out.push_str(",\"objectRef\":{\"resource\":\"");
    out.push_str(plural);
    for (key, value) in [("namespace", request.namespace), ("name", request.name), ("apiGroup", group)] {
        if !value.is_empty() {
            out.push_str("\",\"");
            out.push_str(key);
            out.push_str("\":\"");
            out.push_str(value);
        }
    }
    out.push_str("\",\"apiVersion\":\"");
    out.push_str(version);
    if !request.subresource.is_empty() {
        out.push_str("\",\"subresource\":\"");
        out.push_str(request.subresource);
    }
    out.push_str("\"}");
}

fn response_status(out: &mut String, request: &Request<'_>) {
    let Resource(group, _, plural) = request.resource;
    out.push_str(",\"responseStatus\":{\"metadata\":{}");
    let reason = match request.answer {
        Answer::Code(code) => {
            out.push_str(",\"code\":");
            number(out, code);
            out.push('}');
            return;
        }
        Answer::Unauthorized => {
            out.push_str(
                ",\"status\":\"Failure\",\"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}",
            );
            return;
        }
        Answer::Forbidden => "Forbidden",
        Answer::NotFound => "NotFound",
        Answer::Conflict => "Conflict",
    };
    out.push_str(",\"status\":\"Failure\",\"message\":\"");
    if request.answer == Answer::Conflict {
        out.push_str("Operation cannot be fulfilled on ");
    }
    out.push_str(plural);
    if !group.is_empty() {
        out.push('.');
        out.push_str(group);
    }
    if request.answer == Answer::Forbidden {
        out.push_str(" is forbidden: User \\\"");
        out.push_str(&request.actor.username);
        out.push_str("\\\" cannot ");
        out.push_str(request.verb);
        out.push_str(" resource \\\"");
        out.push_str(plural);
        out.push_str("\\\" in API group \\\"");
        out.push_str(group);
        if request.namespace.is_empty() {
            out.push_str("\\\" at the cluster scope");
        } else {
            out.push_str("\\\" in the namespace \\\"");
            out.push_str(request.namespace);
            out.push_str("\\\"");
        }
    } else {
        out.push_str(" \\\"");
        out.push_str(request.name);
        out.push_str(if request.answer == Answer::NotFound {
            "\\\" not found"
        } else {
            "\\\": the object has been modified; please apply your changes to the latest version and try again"
        });
    }
    out.push_str("\",\"reason\":\"");
    out.push_str(reason);
    out.push_str("\",\"details\":{");
    for (key, value) in [("name", request.name), ("group", group)] {
        if !value.is_empty() {
            out.push('"');
            out.push_str(key);
            out.push_str("\":\"");
            out.push_str(value);
            out.push_str("\",");
        }
    }
    out.push_str("\"kind\":\"");
    out.push_str(plural);
    out.push_str("\"},\"code\":");
    number(out, request.answer.code());
    out.push('}');
}
