//! GKE's audit entries of Cloud Logging, written back as the audit events that they were made from.
//!
//! In such a `LogEntry` the verb and the resource are words of `methodName`, the object is a path, and the outcome is one
//! of Google's codes. Written back, it is redacted, read, matched by rules and stored as any other audit event. What has
//! no place in one stays under the entry's own names, so that nothing of the entry is lost.
//!
//! Not here: audit entries of Google's other services, which are no audit events of Kubernetes.

use std::net::IpAddr;

use palisade_events::fields::FieldRef;

use crate::json::Value;

/// What an audit event calls its parts; an entry has none of these names.
const NATIVE: [&str; 15] = [
    "kind",
    "apiVersion",
    "auditID",
    "stage",
    "verb",
    "requestURI",
    "user",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "stageTimestamp",
    "annotations",
];

/// Parts of an entry that an audit event has under another name.
const MOVED: [&str; 3] = ["protoPayload", "labels", "timestamp"];

/// The same of its payload.
const PAYLOAD_MOVED: [&str; 2] = ["request", "response"];

/// Groups of Kubernetes' own API whose names have no domain.
const BARE_GROUPS: [&str; 5] = ["apps", "autoscaling", "batch", "extensions", "policy"];

const DECISION: &str = "authorization.k8s.io/decision";

/// Writes the audit event of an entry; `None` if the entry is not about a request to the Kubernetes API.
pub(crate) fn event_of(entry: Value<'_, '_>) -> Option<String> {
    let payload = entry.get("protoPayload").filter(|payload| payload.is_object())?;
    let name = text(payload, "methodName")?;
    let is_kubernetes = match text(payload, "serviceName") {
        Some(service) => service == "k8s.io",
        None => name.starts_with("io.k8s."),
    };
    if !is_kubernetes {
        return None;
    }
    let method = Method::parse(name)?;
    let mut event = Members::new(entry.raw().len() + 512);
    event.text("kind", "Event");
    event.text("apiVersion", "audit.k8s.io/v1");
    let operation = entry.get("operation");
    let id = operation.and_then(|operation| text(operation, "id")).or_else(|| text(entry, "insertId"));
    event.maybe("auditID", id);
    event.maybe("stage", operation.and_then(stage));
    event.text("verb", method.verb);
    if let Some(name) = payload.get("authenticationInfo").and_then(principal) {
        let mut user = Members::new(64);
        user.text("username", name);
        event.raw("user", &user.close());
    }
    if let Some(metadata) = payload.get("requestMetadata") {
        // Google writes a word where it hides an address of its own.
        if let Some(ip) = text(metadata, "callerIp").filter(|ip| ip.parse::<IpAddr>().is_ok()) {
            event.raw("sourceIPs", &format!("[\"{ip}\"]"));
        }
        event.maybe("userAgent", text(metadata, "callerSuppliedUserAgent"));
    }
    let path = text(payload, "resourceName");
    match method.resource {
        Some(resource) => event.raw("objectRef", &object_ref(&method, resource, path)),
        None => event.maybe("requestURI", path.map(|path| format!("/{}", path.trim_start_matches('/'))).as_deref()),
    }
    if let Some(status) = response_status(payload) {
        event.raw("responseStatus", &status);
    }
    for (native, own) in [("requestObject", "request"), ("responseObject", "response")] {
        if let Some(body) = payload.get(own).filter(|body| !body.is_null()) {
            event.raw(native, body.raw());
        }
    }
    event.maybe("stageTimestamp", text(entry, "timestamp").or_else(|| text(entry, "receiveTimestamp")));
    event.raw("annotations", &annotations(entry, payload));
    let mut rest = Members::new(payload.raw().len());
    for (key, value) in payload.entries().filter(|(key, _)| !PAYLOAD_MOVED.contains(key)) {
        rest.raw(key, value.raw());
    }
    event.raw("protoPayload", &rest.close());
    for (key, value) in entry.entries().filter(|(key, _)| !MOVED.contains(key) && !NATIVE.contains(key)) {
        event.raw(key, value.raw());
    }
    Some(event.close())
}

/// `io.k8s.authorization.rbac.v1.clusterroles.create`: the API group backwards, its version, the resource and perhaps a
/// part of it, the verb. Requests for no resource have a verb only.
struct Method<'i> {
    group: String,
    version: Option<&'i str>,
    resource: Option<&'i str>,
    subresource: Option<&'i str>,
    verb: &'i str,
}

impl<'i> Method<'i> {
    fn parse(name: &'i str) -> Option<Self> {
        let (path, verb) = name.rsplit_once('.').filter(|(_, verb)| !verb.is_empty())?;
        let mut words = path.split('.').filter(|word| !word.is_empty());
        let mut group = Vec::new();
        let version = words.by_ref().find(|word| {
            let is_version = is_version(word);
            if !is_version {
                group.push(*word);
            }
            is_version
        });
        let resource = version.and_then(|_| words.next());
        let subresource = resource.and_then(|_| words.next());
        let group = match group.as_slice() {
            ["io", "k8s", bare] if *bare == "core" || BARE_GROUPS.contains(bare) => (*bare).to_owned(),
            words => words.iter().rev().copied().collect::<Vec<_>>().join("."),
        };
        Some(Self { group, version, resource, subresource, verb })
    }
}

/// `v1`, `v2beta1`.
fn is_version(word: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some(rest) = word.strip_prefix('v') else { return false };
    let parts = ["alpha", "beta"].into_iter().find_map(|step| rest.split_once(step));
    parts.map_or(digits(rest), |(major, minor)| digits(major) && digits(minor))
}

/// The object by its path: `core/v1/namespaces/shop/pods/web/exec`, `rbac.authorization.k8s.io/v1/clusterroles/admin`.
fn object_ref(method: &Method<'_>, resource: &str, path: Option<&str>) -> String {
    let mut parts = path.unwrap_or_default().split('/');
    let stated = parts.next().filter(|group| !group.is_empty());
    let version = parts.next().filter(|version| is_version(version));
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let is_namespace = resource == "namespaces";
    let mut namespace = None;
    if next() == Some("namespaces") && !is_namespace {
        namespace = next();
        next();
    }
    let name = next();
    if is_namespace {
        namespace = name;
    }
    let subresource = method.subresource.or_else(next);
    let mut object = Members::new(128);
    object.text("resource", resource);
    object.maybe("namespace", namespace);
    object.maybe("name", name);
    object.maybe("apiGroup", Some(stated.unwrap_or(&method.group)).filter(|group| !matches!(*group, "core" | "")));
    object.maybe("apiVersion", version.or(method.version));
    object.maybe("subresource", subresource);
    object.close()
}

/// The stage, where an entry is one of several about its request. Where it is the only one it has none: what it says is
/// said once, and not again at the end.
fn stage(operation: Value<'_, '_>) -> Option<&'static str> {
    match (flag(operation, "first") == Some(true), flag(operation, "last") == Some(true)) {
        (true, false) => Some("ResponseStarted"),
        (false, true) => Some("ResponseComplete"),
        _ => None,
    }
}

fn principal<'i>(info: Value<'_, 'i>) -> Option<&'i str> {
    text(info, "principalEmail").or_else(|| text(info, "principalSubject"))
}

/// The outcome: what the API server answered, where that is an error, else Google's code.
fn response_status(payload: Value<'_, '_>) -> Option<String> {
    let answer = payload.get("response").filter(|answer| {
        text(*answer, "kind") == Some("Status") || text(*answer, "@type").is_some_and(|kind| kind.ends_with(".Status"))
    });
    let told = payload.get("status").filter(|status| status.is_object());
    let of_answer = |key: &str| answer.and_then(|answer| text(answer, key));
    let code = answer.and_then(|answer| answer.get("code")?.int()).filter(|code| *code > 0);
    let code = code.or_else(|| Some(http_code(told?.get("code").and_then(Value::int).unwrap_or(0))))?;
    let mut status = Members::new(128);
    status.raw("code", &code.to_string());
    status.maybe("status", of_answer("status"));
    status.maybe("reason", of_answer("reason"));
    status.maybe("message", of_answer("message").or_else(|| text(told?, "message")));
    Some(status.close())
}

/// The HTTP status that Google documents for each code of `google.rpc.Code`.
fn http_code(code: i64) -> i64 {
    match code {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        2 | 13 | 15 => 500,
        http => http,
    }
}

/// The entry's labels, and the decision where they lack it.
fn annotations(entry: Value<'_, '_>, payload: Value<'_, '_>) -> String {
    let mut annotations = Members::new(256);
    let labels = entry.get("labels");
    for (key, value) in labels.into_iter().flat_map(Value::entries) {
        annotations.raw(key, value.raw());
    }
    if labels.and_then(|labels| labels.get(DECISION)).is_none() {
        let permissions = payload.get("authorizationInfo");
        let granted = permissions.and_then(|all| all.items().find_map(|one| flag(one, "granted")));
        annotations.maybe(DECISION, granted.map(|granted| if granted { "allow" } else { "forbid" }));
    }
    annotations.close()
}

fn text<'i>(object: Value<'_, 'i>, key: &str) -> Option<&'i str> {
    object.get(key).and_then(Value::text)
}

fn flag(object: Value<'_, '_>, key: &str) -> Option<bool> {
    match object.get(key)?.scalar() {
        FieldRef::Bool(flag) => Some(flag),
        _ => None,
    }
}

/// An object that is being written.
struct Members(String);

impl Members {
    fn new(bytes: usize) -> Self {
        let mut out = String::with_capacity(bytes);
        out.push('{');
        Self(out)
    }

    fn raw(&mut self, key: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&quoted(key));
        self.0.push(':');
        self.0.push_str(json);
    }

    fn text(&mut self, key: &str, text: &str) {
        self.raw(key, &quoted(text));
    }

    fn maybe(&mut self, key: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn close(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn quoted(text: &str) -> String {
    // Strings always serialise.
    serde_json::to_string(text).unwrap_or_default()
}
