//! What documents come wrapped in: lists, log shippers, clouds, syslog. One look finds what is inside.
//!
//! | wrapping | what it holds |
//! |---|---|
//! | a list: a JSON array, `EventList`, `kubectl get`, CloudTrail's `Records`, a registry's `events` | each member |
//! | a list of one kind, `PodList` | each member, which is told its kind: only the list says it |
//! | Azure's event hubs: `records[].properties.log` | a document as text; the cluster by `resourceId` |
//! | CloudWatch: `logEvents[].message` | a document as text; the cluster by `logGroup` |
//! | Cloud Logging: `jsonPayload`, `textPayload` | a document; the cluster by `resource.labels` |
//! | Cloud Logging: `protoPayload` of a request to Kubernetes | the audit event that it was made from |
//! | log shippers: `log`, `message`, `MESSAGE` … | a document, as text or as it is; the cluster if they name it |
//! | syslog, CRI log lines | a document behind a header |
//!
//! A shipper may also carry a line that is no document, such as an audit record: [`line`] finds it.
//!
//! Not here: any format; a wrapping is looked for in documents that their format did not recognise.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::json::{Parser, Value};
use crate::k8s_audit::gke;

/// Wrappings inside wrappings that are looked into: a log shipper's, the cloud's, a list's, and one to spare.
pub(crate) const WRAPPINGS_MAX: usize = 4;

/// Keys whose arrays hold documents: audit lists and `kubectl`'s, CloudTrail's files, Azure's event hubs, CloudWatch's
/// subscriptions, registries' notifications, Cloud Logging's answers.
const LISTS: [&str; 8] = ["items", "Records", "records", "logEvents", "events", "entries", "flows", "Events"];

/// Keys under which shippers put what they ship, as text or as an object, in the order in which they are tried.
const HELD: [&str; 18] = [
    "log",
    "log_s",
    "log_processed",
    "message",
    "MESSAGE",
    "@message",
    "msg",
    "textPayload",
    "jsonPayload",
    "Message",
    "detail",
    "CloudTrailEvent",
    "_source",
    "event",
    "data",
    "body",
    "record",
    "_raw",
];

/// Keys under which shippers put a line: syslog's tables and those for text.
const LINES: [&str; 8] = ["SyslogMessage", "log", "message", "MESSAGE", "@message", "msg", "textPayload", "_raw"];

/// Keys under which shippers name the host that a line was written on.
const HOSTS: [&str; 6] = ["Computer", "HostName", "_HOSTNAME", "hostname", "host", "node_name"];

/// Keys under which shippers name the cluster.
const CLUSTERS: [&str; 4] = ["cluster_name", "clusterName", "cluster", "k8s_cluster"];

/// Longest header before a document.
const HEADER_BYTES_MAX: usize = 1024;

/// A document inside another.
#[derive(Debug)]
pub(crate) struct Inner {
    place: Place,
    /// Cluster that the wrapping names.
    pub(crate) cluster: Option<Arc<str>>,
}

#[derive(Debug)]
enum Place {
    /// Part of the wrapping's own text.
    Span(Range<usize>),
    /// Text that the wrapping holds as a string.
    Text(String),
}

impl Inner {
    /// The document's text, given that of its wrapping.
    pub(crate) fn text<'t>(&'t self, outer: &'t str) -> &'t str {
        match &self.place {
            Place::Span(span) => outer.get(span.clone()).unwrap_or_default(),
            Place::Text(text) => unprefixed(text.trim()),
        }
    }
}

/// What a document wraps.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Documents beside each other; none is missed if another one is broken.
    List(Vec<Inner>),
    /// One document.
    One(Inner),
}

/// Finds the documents inside a document, whose text is `text`; `None` if it is no wrapping that is known.
pub(crate) fn open(root: Value<'_, '_>, text: &str) -> Option<Opened> {
    if root.is_array() {
        return Some(Opened::List(root.items().map(|member| inner(member, text, None)).collect()));
    }
    let cluster = cluster_of(root);
    let list = LISTS.into_iter().find_map(|key| Some((key, root.get(key).filter(|list| list.is_array())?)));
    if let Some((key, list)) = list {
        let kind = if key == "items" { ItemKind::of(root) } else { None };
        let member = |member: Value<'_, '_>| match kind.as_ref().and_then(|kind| kind.told(member)) {
            Some(told) => Inner { place: Place::Text(told), cluster: cluster.clone() },
            None => inner(member, text, cluster.clone()),
        };
        return Some(Opened::List(list.items().map(member).collect()));
    }
    if let Some(event) = gke::event_of(root) {
        return Some(Opened::One(Inner { place: Place::Text(event), cluster }));
    }
    // Azure wraps a shipper's record once more, as text or as it is, and spells the key in more than one way.
    let properties = root.entries().find(|(key, _)| key.eq_ignore_ascii_case("properties")).map(|(_, value)| value);
    if let Some(written) = properties.filter(|properties| properties.str().is_some() && is_document(*properties)) {
        return Some(Opened::One(inner(written, text, cluster)));
    }
    let held = properties.and_then(held_by).or_else(|| held_by(root))?;
    Some(Opened::One(inner(held, text, cluster)))
}

fn held_by<'t, 'i>(holder: Value<'t, 'i>) -> Option<Value<'t, 'i>> {
    let held = HELD.into_iter().filter_map(|key| holder.get(key)).find(|held| is_document(*held));
    let log = || holder.entries().find(|(key, _)| key.eq_ignore_ascii_case("log")).map(|(_, held)| held);
    held.or_else(log).filter(|held| is_document(*held))
}

fn inner(member: Value<'_, '_>, text: &str, cluster: Option<Arc<str>>) -> Inner {
    debug_assert!(text.get(member.span()) == Some(member.raw()));
    let place = match member.str() {
        Some(held) => Place::Text(held.to_owned()),
        None => Place::Span(member.span()),
    };
    Inner { place, cluster }
}

/// What the members of a list of one kind are: the API writes it on the list alone.
#[derive(Clone, Copy, Debug)]
struct ItemKind<'i> {
    kind: &'i str,
    api_version: &'i str,
}

impl<'i> ItemKind<'i> {
    /// By the list. Members of a mere `List` tell their kind, and audit events are known by more than that.
    fn of(list: Value<'_, 'i>) -> Option<Self> {
        let kind = list.get("kind")?.text()?.strip_suffix("List").filter(|kind| !kind.is_empty())?;
        let api_version = list.get("apiVersion")?.text()?;
        (!api_version.starts_with("audit.k8s.io/")).then_some(Self { kind, api_version })
    }

    /// The text of a member that lacks its kind, with what it lacks, so that it stands for itself wherever it is kept.
    fn told(&self, member: Value<'_, '_>) -> Option<String> {
        if !member.is_object() || member.get("kind").is_some() {
            return None;
        }
        let rest = member.raw().strip_prefix('{')?.trim_start();
        let mut text = String::with_capacity(rest.len() + self.kind.len() + self.api_version.len() + 32);
        let mut put = |key: &str, value: &str| {
            let before = if text.is_empty() { '{' } else { ',' };
            // Strings always serialise.
            let value = serde_json::to_string(value).unwrap_or_default();
            text.push_str(&format!("{before}\"{key}\":{value}"));
        };
        put("kind", self.kind);
        if member.get("apiVersion").is_none() {
            put("apiVersion", self.api_version);
        }
        if !rest.starts_with('}') {
            text.push(',');
        }
        text.push_str(rest);
        Some(text)
    }
}

/// A line that a document carries.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// The line itself.
    pub(crate) text: String,
    /// Host that it was written on, by its carrier.
    pub(crate) host: Option<String>,
    /// Cluster that the carrier names.
    pub(crate) cluster: Option<Arc<str>>,
}

/// Finds the one line of the wanted kind that a document carries. A list of several carries none: they would have to
/// share the record's place.
pub(crate) fn line(document: &str, depth_max: usize, is_wanted: fn(&str) -> bool) -> Option<Line> {
    enum Step {
        Found(Line),
        Inside(Inner),
    }
    let mut document = Cow::Borrowed(document);
    let mut cluster = None;
    for _ in 0..=WRAPPINGS_MAX {
        let step = Parser::default().parse(&document, depth_max, |root| {
            if let Some(line) = line_of(root, is_wanted) {
                return Some(Step::Found(line));
            }
            match open(root, &document)? {
                Opened::One(inner) => Some(Step::Inside(inner)),
                Opened::List(mut list) if list.len() == 1 => list.pop().map(Step::Inside),
                Opened::List(_) => None,
            }
        });
        let inside = match step.ok()?? {
            Step::Found(line) => return Some(Line { cluster: cluster.or(line.cluster), ..line }),
            Step::Inside(inner) => {
                let inside = inner.text(&document).to_owned();
                cluster = cluster.or(inner.cluster);
                inside
            }
        };
        document = Cow::Owned(inside);
    }
    None
}

/// The line of the wanted kind that a document carries itself.
pub(crate) fn line_of(root: Value<'_, '_>, is_wanted: fn(&str) -> bool) -> Option<Line> {
    let text = LINES.into_iter().find_map(|key| root.get(key)?.text().filter(|text| is_wanted(text)))?;
    let host = HOSTS.into_iter().find_map(|key| {
        let host = root.get(key)?;
        host.text().or_else(|| host.get("name")?.text())
    });
    Some(Line { text: text.to_owned(), host: host.map(str::to_owned), cluster: cluster_of(root) })
}

/// Whether a value is a document, or text that could be one.
fn is_document(value: Value<'_, '_>) -> bool {
    value.is_object() || value.str().is_some_and(|text| unprefixed(text.trim()).starts_with(['{', '[']))
}

/// The cluster by what the wrapping says: a shipper's own field, Azure's resource, CloudWatch's log group, the labels of
/// Cloud Logging.
fn cluster_of(root: Value<'_, '_>) -> Option<Arc<str>> {
    let mut named = None;
    for (key, value) in root.entries() {
        if key == "resource" {
            let labelled = value.get("labels").and_then(|labels| labels.get("cluster_name")).and_then(Value::text);
            named = labelled.map(Into::into).or(named);
        }
        let Some(text) = value.text() else { continue };
        if CLUSTERS.contains(&key) {
            return Some(text.into());
        }
        // `/SUBSCRIPTIONS/…/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/NAME`, in upper case or as it was given.
        if key.trim_start_matches('_').eq_ignore_ascii_case("resourceId") {
            let mut parts = text.rsplit('/');
            let (name, kind) = (parts.next(), parts.next());
            if kind.is_some_and(|kind| kind.eq_ignore_ascii_case("managedClusters")) {
                named = name.map(|name| name.to_ascii_lowercase().into());
            }
        }
        // `/aws/eks/NAME/cluster`
        if key == "logGroup" {
            named = text.strip_prefix("/aws/eks/").and_then(|rest| rest.split('/').next()).map(Into::into).or(named);
        }
    }
    named.filter(|name: &Arc<str>| !name.is_empty())
}

/// The document behind a header that is no JSON: syslog's (`<13>Oct 11 22:14:15 host app: {…}`, `… @cee: {…}`) or that of
/// a container's log (`2024-05-05T10:00:00Z stdout F {…}`). The text itself if there is none.
pub(crate) fn unprefixed(text: &str) -> &str {
    let bytes = text.as_bytes();
    let begins_header = match bytes.first() {
        Some(b'<') => bytes.get(1).is_some_and(u8::is_ascii_digit),
        Some(first) => first.is_ascii_digit() || first.is_ascii_uppercase() || *first == b'@',
        None => false,
    };
    let header = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
    match memchr::memchr2(b'{', b'\n', header) {
        Some(at) if begins_header && bytes[at] == b'{' && at > 0 && matches!(bytes[at - 1], b' ' | b':' | b'\t') => {
            &text[at..]
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests;
