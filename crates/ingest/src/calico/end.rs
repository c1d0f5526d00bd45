//! The ends of a flow: pods by their own names or by one that stands for several, hosts, sets of addresses, and the
//! networks outside.

use palisade_events::entity::workload_of_pod;
use palisade_events::schema::{Word, Words};
use palisade_events::{EventBuilder, col};

use super::put_some;
use crate::json::Value;

/// What an endpoint is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Pod,
    Host,
    /// Addresses that somebody gave a name.
    NetworkSet,
    /// Any other address.
    Network,
}

/// One end of a flow, as it was written.
#[derive(Default)]
pub(super) struct End<'i> {
    pub(super) ip: Option<&'i str>,
    pub(super) port: Option<u16>,
    name: Option<&'i str>,
    /// A name that stands for several pods, `web-7d4b9c6d5f-*`.
    aggregate: Option<&'i str>,
    namespace: Option<&'i str>,
    kind: Option<Kind>,
    labels: Vec<&'i str>,
}

/// The columns of an end.
pub(super) struct EndColumns {
    namespace: Word,
    pod: Word,
    workload: Word,
    hostname: Word,
    labels: Words,
}

pub(super) const SOURCE: EndColumns = EndColumns {
    namespace: col::SRC_ENDPOINT_NAMESPACE,
    pod: col::SRC_ENDPOINT_POD,
    workload: col::SRC_ENDPOINT_WORKLOAD,
    hostname: col::SRC_ENDPOINT_HOSTNAME,
    labels: col::SRC_ENDPOINT_LABELS,
};

pub(super) const DESTINATION: EndColumns = EndColumns {
    namespace: col::DST_ENDPOINT_NAMESPACE,
    pod: col::DST_ENDPOINT_POD,
    workload: col::DST_ENDPOINT_WORKLOAD,
    hostname: col::DST_ENDPOINT_HOSTNAME,
    labels: col::DST_ENDPOINT_LABELS,
};

impl<'i> End<'i> {
    /// Takes what a key holds, whose `source` or `dest` was taken off. Tells whether something was cut off.
    pub(super) fn take(&mut self, key: &str, value: Value<'_, 'i>, list_items_max: usize) -> bool {
        match key {
            "_ip" => self.ip = present(value),
            "_port" | "Port" => self.port = value.int().and_then(|n| u16::try_from(n).ok()).filter(|&port| port > 0),
            "_name" | "Name" => self.name = present(value),
            "_name_aggr" => self.aggregate = present(value),
            "_namespace" | "Namespace" => self.namespace = present(value).filter(|name| *name != "Global"),
            "_type" | "Type" => self.kind = kind(value),
            "_labels" | "Labels" => {
                let listed = if value.is_object() { value.get("labels").unwrap_or(value) } else { value };
                let joined = listed.str().unwrap_or_default().split(" | ").map(str::trim);
                let mut labels = listed.items().filter_map(Value::text).chain(joined).filter(|label| is_said(label));
                self.labels = labels.by_ref().take(list_items_max).collect();
                return labels.next().is_some();
            }
            _ => {}
        }
        false
    }

    pub(super) fn is_named(&self) -> bool {
        self.name.is_some() || self.aggregate.is_some() || self.kind.is_some()
    }

    /// What it is; Whisker does not tell, but only pods have a namespace there.
    fn kind(&self) -> Option<Kind> {
        let by_name = match self.name.or(self.aggregate) {
            Some("pub" | "pvt" | "PUBLIC NETWORK" | "PRIVATE NETWORK") => Some(Kind::Network),
            _ => self.namespace.map(|_| Kind::Pod),
        };
        self.kind.or(by_name)
    }

    /// The pod, if the name is that of a single one.
    fn pod(&self) -> Option<&'i str> {
        self.name.filter(|name| self.kind() == Some(Kind::Pod) && !name.ends_with('*'))
    }

    fn workload(&self) -> Option<&'i str> {
        if self.kind() != Some(Kind::Pod) {
            return None;
        }
        self.pod().map(workload_of_pod).or_else(|| self.aggregate.or(self.name).map(workload_of_aggregate))
    }

    /// What of the end both reporters write alike: `namespace/name`.
    pub(super) fn key(&self) -> String {
        let name = self.aggregate.or(self.name).or(self.ip).unwrap_or("-");
        format!("{}/{name}", self.namespace.unwrap_or("-"))
    }

    /// Puts what it is into its own columns.
    pub(super) fn put(&self, row: &mut EventBuilder, columns: &EndColumns) {
        put_some(row, columns.namespace, self.namespace);
        put_some(row, columns.pod, self.pod());
        put_some(row, columns.workload, self.workload());
        let name = self.name.or(self.aggregate);
        if matches!(self.kind(), Some(Kind::Host) | None) {
            put_some(row, columns.hostname, name);
        }
        // A network's name says where it is: `pub` or `pvt`, or what somebody called it.
        let network = name.filter(|_| matches!(self.kind(), Some(Kind::Network | Kind::NetworkSet)));
        let network = match network {
            Some("PUBLIC NETWORK") => Some("pub"),
            Some("PRIVATE NETWORK") => Some("pvt"),
            other => other,
        };
        let mut labels = self.labels.iter().copied().chain(network).peekable();
        if labels.peek().is_some() {
            row.put_words(columns.labels, labels);
        }
    }

    /// Puts it into the columns of what the row is about.
    pub(super) fn put_local(&self, row: &mut EventBuilder) {
        put_some(row, col::NAMESPACE_NAME, self.namespace);
        put_some(row, col::POD_NAME, self.pod());
        put_some(row, col::WORKLOAD_NAME, self.workload());
        if self.kind() == Some(Kind::Pod) && !self.labels.is_empty() {
            row.put_words(col::POD_LABELS, self.labels.iter().copied());
        }
    }
}

/// Text that says something: `-` stands for what does not apply or was aggregated.
pub(super) fn present<'i>(value: Value<'_, 'i>) -> Option<&'i str> {
    value.str().filter(|text| is_said(text))
}

fn is_said(text: &str) -> bool {
    !matches!(text, "" | "-")
}

fn kind(value: Value<'_, '_>) -> Option<Kind> {
    match (value.str(), value.int()) {
        (Some("wep" | "WorkloadEndpoint"), _) | (_, Some(1)) => Some(Kind::Pod),
        (Some("hep" | "HostEndpoint"), _) | (_, Some(2)) => Some(Kind::Host),
        (Some("ns" | "NetworkSet"), _) | (_, Some(3)) => Some(Kind::NetworkSet),
        (Some("net" | "Network"), _) | (_, Some(4)) => Some(Kind::Network),
        _ => None,
    }
}

/// The workload of pods that share the name before the star.
fn workload_of_aggregate(name: &str) -> &str {
    let Some(shared) = name.strip_suffix("-*") else { return workload_of_pod(name.trim_end_matches('*')) };
    // Any random part in place of the star: what is left of the name without it is a part of what they share.
    let pod = format!("{shared}-xxxxx");
    shared.get(..workload_of_pod(&pod).len()).unwrap_or(shared)
}
