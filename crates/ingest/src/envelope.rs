//! What documents come wrapped in: lists, log shippers, clouds, syslog. One look finds what is inside.
//!
//! | wrapping | what it holds |
//! |---|---|
//! | a list: a JSON array, `EventList`, `kubectl get`, CloudTrail's `Records`, a registry's `events` | each member |
//! | a list of one kind, `PodList` | each member, which is told its kind: only the list says it |
//! | Azure's event hubs: `records[].properties.log` | a document as text; the cluster by `resourceId` |
//! | CloudWatch: `logEvents[].message` | a document as text; the cluster by `logGroup` |
//! | Firehose: `records[].data` | a document in base64, mostly compressed with gzip |
//! | Cloud Logging: `jsonPayload`, `textPayload` | a document; the cluster by `resource.labels` |
//! | Cloud Logging: `protoPayload` of a request to Kubernetes | the audit event that it was made from |
//! | log shippers: `log`, `message`, `MESSAGE` … | a document, as text or as it is; the cluster if they name it |
//! | syslog, CRI log lines | a document behind a header |
//!
//! A shipper may also carry a line that is no document, such as an audit record: [`line`] finds it.
//!
//! Not here: any format; a wrapping is looked for in documents that their format did not recognise.

use std::borrow::Cow;
use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::read::MultiGzDecoder;

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

/// Keys of a Firehose record: where there are others, `data` is something else.
const FIREHOSE: [&str; 3] = ["data", "recordId", "approximateArrivalTimestamp"];

/// Longest header before a document.
const HEADER_BYTES_MAX: usize = 1024;

/// Longest kind and version that members of a list are told: each member is told them anew.
const KIND_BYTES_MAX: usize = 256;

/// Keys of a list that may be empty: what has more is a document with a list in it.
const EMPTY_LIST_KEYS_MAX: usize = 4;

/// Bytes that what is compressed inside one record may have, where no settings say it.
pub(crate) const INFLATED_BYTES_MAX: usize = 64 << 20;

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

    /// Whether nothing stands before the document in the text that holds it: what follows other words may be somebody's
    /// input to a program that logs it.
    pub(crate) fn is_bare(&self) -> bool {
        match &self.place {
            Place::Span(_) => true,
            Place::Text(text) => text.trim_start().starts_with('{'),
        }
    }
}

/// What a document wraps.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Documents beside each other; none is missed if another one is broken.
    List(List),
    /// One document.
    One(Inner),
}

/// The members of a list. They are known by their places and made one at a time: there may be millions.
#[derive(Debug)]
pub(crate) struct List {
    /// Begin and end of each; no text that is parsed has more than 31 bits of bytes.
    places: Vec<(u32, u32)>,
    kind: Option<ItemKind>,
    cluster: Option<Arc<str>>,
}

impl List {
    fn of(list: Value<'_, '_>, kind: Option<ItemKind>, cluster: Option<Arc<str>>) -> Self {
        let place = |member: Value<'_, '_>| {
            let Range { start, end } = member.span();
            (start as u32, end as u32)
        };
        Self { places: list.items().map(place).collect(), kind, cluster }
    }

    /// Without members, and perhaps not even a list.
    fn empty() -> Self {
        Self { places: Vec::new(), kind: None, cluster: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Each member, given the text of the list.
    pub(crate) fn members<'l>(&'l self, outer: &'l str) -> impl Iterator<Item = Inner> + use<'l> {
        self.places.iter().map(move |&(start, end)| self.member(start as usize..end as usize, outer))
    }

    fn member(&self, span: Range<usize>, outer: &str) -> Inner {
        let text = outer.get(span.clone()).unwrap_or_default();
        // A member that holds its document as text, or that has to be told its kind, is written anew.
        let written = match (text.as_bytes().first(), &self.kind) {
            (Some(b'"'), _) => Parser::default().parse(text, usize::MAX, |root| root.str().map(str::to_owned)),
            (Some(b'{'), Some(kind)) => Parser::default().parse(text, usize::MAX, |root| kind.told(root)),
            _ => Ok(None),
        };
        let place = written.ok().flatten().map_or(Place::Span(span), Place::Text);
        Inner { place, cluster: self.cluster.clone() }
    }
}

/// Finds the documents inside a document, whose text is `text`; `None` if it is no wrapping that is known. What is
/// compressed may have `bytes_left`, from which its length is taken: a record is not worth more, however often it
/// compresses.
pub(crate) fn open(root: Value<'_, '_>, text: &str, bytes_left: &mut usize) -> Option<Opened> {
    if root.is_array() {
        return Some(Opened::List(List::of(root, None, None)));
    }
    // CloudWatch tries whether it can deliver.
    if root.get("messageType").and_then(Value::str) == Some("CONTROL_MESSAGE") && root.get("logEvents").is_some() {
        return Some(Opened::List(List::empty()));
    }
    let cluster = cluster_of(root);
    let list = LISTS.into_iter().find_map(|key| Some((key, root.get(key).filter(|list| is_list(root, *list))?)));
    if let Some((key, list)) = list {
        let kind = if key == "items" { ItemKind::of(root) } else { None };
        return Some(Opened::List(List::of(list, kind, cluster)));
    }
    if let Some(event) = gke::event_of(root) {
        return Some(Opened::One(Inner { place: Place::Text(event), cluster }));
    }
    if let Some(document) = firehose(root, bytes_left) {
        return Some(Opened::One(Inner { place: Place::Text(document), cluster }));
    }
    // Azure wraps a shipper's record once more, as text or as it is, and spells the key in more than one way.
    let properties = root.entries().find(|(key, _)| key.eq_ignore_ascii_case("properties")).map(|(_, value)| value);
    if let Some(written) = properties.filter(|properties| properties.str().is_some() && is_document(*properties)) {
        return Some(Opened::One(inner(written, text, cluster)));
    }
    let held = properties.and_then(held_by).or_else(|| held_by(root))?;
    Some(Opened::One(inner(held, text, cluster)))
}

/// Whether an array of the root is what the root is there for. An empty one among much else is not.
fn is_list(root: Value<'_, '_>, list: Value<'_, '_>) -> bool {
    list.is_array() && (list.items().next().is_some() || root.entries().nth(EMPTY_LIST_KEYS_MAX).is_none())
}

/// What a shipper's document holds. Text comes first: Filebeat and others have objects of their own under the same names.
fn held_by<'t, 'i>(holder: Value<'t, 'i>) -> Option<Value<'t, 'i>> {
    let held = || HELD.into_iter().filter_map(move |key| holder.get(key)).filter(|held| is_document(*held));
    let text = held().find(|held| held.str().is_some());
    let original = || holder.get("event")?.get("original").filter(|held| held.str().is_some() && is_document(*held));
    let log = || holder.entries().find(|(key, _)| key.eq_ignore_ascii_case("log")).map(|(_, held)| held);
    text.or_else(original).or_else(|| held().next()).or_else(log).filter(|held| is_document(*held))
}

/// The document of a Firehose record; `None` if it is none, or compresses more than is left.
fn firehose(root: Value<'_, '_>, bytes_left: &mut usize) -> Option<String> {
    let data = root.get("data")?.text()?;
    if root.entries().any(|(key, _)| !FIREHOSE.contains(&key)) {
        return None;
    }
    let bytes = STANDARD.decode(data).ok()?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return String::from_utf8(bytes).ok();
    }
    let mut text = String::new();
    // One byte more tells whether there was more.
    let read = MultiGzDecoder::new(&bytes[..]).take(*bytes_left as u64 + 1).read_to_string(&mut text);
    let is_within = text.len() <= *bytes_left;
    *bytes_left = bytes_left.saturating_sub(text.len());
    read.ok().filter(|_| is_within).map(|_| text)
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
#[derive(Debug)]
struct ItemKind {
    kind: String,
    api_version: String,
}

impl ItemKind {
    /// By the list. Members of a mere `List` tell their kind, and audit events are known by more than that.
    fn of(list: Value<'_, '_>) -> Option<Self> {
        let kind = list.get("kind")?.text()?.strip_suffix("List").filter(|kind| !kind.is_empty())?;
        let api_version = list.get("apiVersion")?.text()?;
        let is_told = !api_version.starts_with("audit.k8s.io/") && kind.len().max(api_version.len()) <= KIND_BYTES_MAX;
        is_told.then(|| Self { kind: kind.to_owned(), api_version: api_version.to_owned() })
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
        put("kind", &self.kind);
        if member.get("apiVersion").is_none() {
            put("apiVersion", &self.api_version);
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
    let mut bytes_left = INFLATED_BYTES_MAX;
    for _ in 0..=WRAPPINGS_MAX {
        let step = Parser::default().parse(&document, depth_max, |root| {
            if let Some(line) = line_of(root, is_wanted) {
                return Some(Step::Found(line));
            }
            match open(root, &document, &mut bytes_left)? {
                Opened::One(inner) => Some(Step::Inside(inner)),
                Opened::List(list) if list.len() == 1 => list.members(&document).next().map(Step::Inside),
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
        // Syslog puts a byte order mark before a message that is UTF-8.
        Some(at) if begins_header && bytes[at] == b'{' && text[..at].ends_with([' ', ':', '\t', '\u{feff}']) => {
            &text[at..]
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests;
