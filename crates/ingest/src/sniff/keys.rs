//! The formats of documents, by the keys of their root.
//!
//! Not here: documents that wrap others, whose keys say nothing of what is inside.

use std::ops::ControlFlow;

/// Keys of a root that are looked at.
const KEYS_MAX: usize = 256;

/// What the root of a document shows: a bit for each mark.
#[derive(Clone, Copy, Default)]
struct Marks(u64);

macro_rules! marks {
    ($($name:ident),* $(,)?) => {
        #[allow(clippy::upper_case_acronyms, non_camel_case_types)]
        #[repr(u8)]
        enum Mark { $($name),* }
        $(const $name: Marks = Marks(1 << Mark::$name as u8);)*
    };
}

marks!(
    AUDIT_ID,
    AUDIT_VERSION,
    STAGE,
    VERB,
    PROTO_PAYLOAD,
    RULE,
    PRIORITY,
    OUTPUT,
    OUTPUT_FIELDS,
    TETRAGON,
    TETRAGON_OTHER,
    NODE_NAME,
    EVENT_NAME,
    TRACEE_LEGACY,
    TRACEE_NEW,
    NAME,
    FLOW,
    HUBBLE_FLOW,
    VERDICT,
    CALICO,
    REPORTER,
    DOCKER_TYPE,
    DOCKER_ACTION,
    DOCKER_ACTOR,
    EVENT_VERSION,
    EVENT_SOURCE,
    USER_IDENTITY,
    ARMOR_OPERATION,
    ARMOR_HOST,
    ACTION,
    TARGET,
    REQUEST,
    CLASS_UID,
    AT_TIMESTAMP,
    ECS,
    API_VERSION,
    KIND,
    METADATA,
    WATCH_TYPE,
    OBJECT,
    OBJECT_LIST,
    GOLDMANE,
    TIME,
    TIMESTAMP,
    FROM,
    STATUS,
    DIGEST,
    TIME_NANO,
    TRACEE_ID,
);

impl Marks {
    fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn has_any(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The format of a document by the keys of its root; `None` if they are no known format's. The text may be cut off.
pub(super) fn format_of(text: &str) -> Option<&'static str> {
    let mut marks = Marks::default();
    root_keys(text, |key, value| {
        marks = marks.with(mark_of(key, value));
        // These say it alone, and stand in front.
        if marks.has(AUDIT_VERSION) || marks.has(AUDIT_ID) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    told_by(marks)
}

fn told_by(marks: Marks) -> Option<&'static str> {
    let has = |all: Marks| marks.has(all);
    Some(match () {
        () if has(AUDIT_ID) || has(AUDIT_VERSION) || has(STAGE.with(VERB)) => "k8s_audit",
        () if has(PROTO_PAYLOAD) => "k8s_audit",
        () if has(RULE) && marks.has_any(PRIORITY.with(OUTPUT).with(OUTPUT_FIELDS)) => "falco",
        () if has(TETRAGON) || has(TETRAGON_OTHER.with(NODE_NAME)) => "tetragon",
        () if has(EVENT_NAME.with(TRACEE_LEGACY)) => "tracee",
        () if has(NAME.with(TRACEE_NEW)) && marks.has_any(TIMESTAMP.with(TRACEE_ID)) => "tracee",
        () if has(GOLDMANE) => "calico",
        () if has(HUBBLE_FLOW) || has(VERDICT.with(FLOW)) => "hubble",
        () if has(CALICO) || has(REPORTER.with(ACTION)) => "calico",
        // Before Docker's, whose keys it shares as soon as a shipper adds a time.
        () if has(ARMOR_OPERATION.with(ARMOR_HOST)) => "kubearmor",
        () if has(DOCKER_TYPE.with(DOCKER_ACTION)) && marks.has_any(DOCKER_ACTOR.with(FROM).with(TIME)) => "docker",
        () if has(STATUS.with(FROM).with(TIME)) || has(STATUS.with(TIME_NANO)) => "docker",
        () if has(EVENT_VERSION.with(EVENT_SOURCE)) || has(DIGEST) || has(EVENT_SOURCE.with(USER_IDENTITY)) => {
            "cloudtrail"
        }
        () if has(ACTION.with(TARGET).with(REQUEST)) => "registry",
        () if has(CLASS_UID) => "ocsf",
        () if has(WATCH_TYPE.with(OBJECT)) || has(OBJECT_LIST) => "k8s_objects",
        () if has(API_VERSION.with(KIND).with(METADATA)) => "k8s_objects",
        () if has(AT_TIMESTAMP.with(ECS)) => "ecs",
        () => return None,
    })
}

/// What a key of the root is a mark of; `value` is where its value begins.
fn mark_of(key: &str, value: &str) -> Marks {
    let is_object = value.starts_with('{');
    match key {
        "auditID" => AUDIT_ID,
        "apiVersion" if value.starts_with("\"audit.k8s.io/") => AUDIT_VERSION,
        "apiVersion" => API_VERSION,
        "stage" => STAGE,
        "verb" => VERB,
        "protoPayload" if is_object => PROTO_PAYLOAD,
        "rule" => RULE,
        "priority" => PRIORITY,
        "output" => OUTPUT,
        "output_fields" => OUTPUT_FIELDS,
        "process_exec" | "process_exit" | "process_kprobe" | "process_tracepoint" | "process_loader"
        | "process_uprobe" | "process_lsm" | "process_usdt" | "process_throttle" | "process_connect"
        | "process_listen" | "process_close" | "process_accept" | "process_dns" | "process_http"
        | "rate_limit_info"
            if is_object =>
        {
            TETRAGON
        }
        // Names that others may have too.
        "test" | "tls" if is_object => TETRAGON_OTHER,
        key if is_object && key.starts_with("process_") => TETRAGON_OTHER,
        "node_name" => NODE_NAME,
        "eventName" => EVENT_NAME,
        "argsNum" | "processorId" | "threadStartTime" | "hostProcessId" | "matchedPolicies" | "matchedScopes" => {
            TRACEE_LEGACY
        }
        "workload" | "policies" if is_object => TRACEE_NEW,
        "id" => TRACEE_ID,
        "name" => NAME,
        "timestamp" => TIMESTAMP,
        "flow" if is_object && holds_flow_key(value) => GOLDMANE,
        "flow" | "lost_events" | "node_status" | "agent_event" | "debug_event" if is_object => HUBBLE_FLOW,
        "verdict" => VERDICT,
        "l4" | "IP" | "ethernet" | "trace_observation_point" => FLOW,
        "source_name_aggr" | "dest_name_aggr" | "source_namespace" | "dest_namespace" | "sourceNamespace"
        | "destNamespace" => CALICO,
        "Key" | "key" | "flow_key" | "flowKey" if is_object && holds_flow_ends(value) => GOLDMANE,
        "reporter" => REPORTER,
        "Type" => DOCKER_TYPE,
        "Action" => DOCKER_ACTION,
        "Actor" if is_object => DOCKER_ACTOR,
        "from" => FROM,
        "time" => TIME,
        "timeNano" => TIME_NANO,
        "eventVersion" => EVENT_VERSION,
        "eventSource" | "insightDetails" => EVENT_SOURCE,
        "digestStartTime" => DIGEST,
        "status" => STATUS,
        "userIdentity" => USER_IDENTITY,
        "Operation" | "operation" => ARMOR_OPERATION,
        "HostName" | "ClusterName" | "HostPID" | "hostPid" | "hostPPid" => ARMOR_HOST,
        "action" => ACTION,
        "target" if is_object => TARGET,
        "request" if is_object => REQUEST,
        "class_uid" => CLASS_UID,
        "@timestamp" => AT_TIMESTAMP,
        "ecs" | "ecs.version" => ECS,
        "kind" if value.starts_with("\"EventList\"") => Marks::default(),
        "kind" if value.starts_with('"') && value[1..].split('"').next().is_some_and(|kind| kind.ends_with("List")) => {
            OBJECT_LIST
        }
        "kind" => KIND,
        "metadata" if is_object => METADATA,
        "type"
            if ["\"ADDED\"", "\"MODIFIED\"", "\"DELETED\"", "\"BOOKMARK\"", "\"ERROR\""]
                .iter()
                .any(|kind| value.starts_with(kind)) =>
        {
            WATCH_TYPE
        }
        "object" if is_object => OBJECT,
        _ => Marks::default(),
    }
}

/// Whether an object begins with the key of a flow, which Goldmane keeps apart from what it counted.
fn holds_flow_key(object: &str) -> bool {
    let first = object[1..].trim_start();
    ["\"Key\"", "\"key\""].iter().any(|key| first.starts_with(key))
}

/// Whether an object soon names the source of a flow.
fn holds_flow_ends(object: &str) -> bool {
    object[..object.floor_char_boundary(64)].contains("ource")
}

/// Hands over each key of the root object with the text that begins at its value, as far as the text goes. Nothing is
/// checked: what is no JSON is found when it is decoded.
fn root_keys<'t>(text: &'t str, mut each: impl FnMut(&'t str, &'t str) -> ControlFlow<()>) {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut seen) = (0, 0usize, 0);
    // The string that a colon would make a key.
    let mut last = "";
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let from = at + 1;
                at = string_end(bytes, from);
                last = text.get(from..at).unwrap_or_default();
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return;
                }
            }
            b':' if depth == 1 => {
                let value = text.get(at + 1..).unwrap_or_default().trim_start();
                seen += 1;
                if seen > KEYS_MAX || each(last, value).is_break() {
                    return;
                }
            }
            _ => {}
        }
        at += 1;
    }
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    loop {
        let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) else {
            return bytes.len();
        };
        at += found;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
}
