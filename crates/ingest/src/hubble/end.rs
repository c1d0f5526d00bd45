//! The ends of a packet: pods with their workloads and labels, or what Cilium knows of other addresses.

use palisade_events::entity::workload_of_pod;
use palisade_events::schema::{Word, Words};
use palisade_events::{EventBuilder, col};

use super::put_some;
use crate::json::Value;
use crate::put::{self, first};

/// Labels that Cilium adds to those of the pod, and those among them that name its cluster and its namespace.
const LABELS_ADDED: [&str; 2] = ["io.cilium.k8s.", "io.kubernetes.pod."];
const LABEL_CLUSTER: &str = "io.cilium.k8s.policy.cluster";
const LABEL_NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// One of the two ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Source,
    Destination,
}

/// What a flow says of an end.
#[derive(Default)]
pub(super) struct End<'i> {
    /// The end has an id on the node that wrote the flow.
    pub(super) is_local: bool,
    pub(super) cluster: Option<&'i str>,
    pub(super) hostname: Option<&'i str>,
    namespace: Option<&'i str>,
    pod: Option<&'i str>,
    workload: Option<&'i str>,
    workload_kind: Option<&'i str>,
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

/// The columns of the source and of the destination.
pub(super) const COLUMNS: [EndColumns; 2] = [
    EndColumns {
        namespace: col::SRC_ENDPOINT_NAMESPACE,
        pod: col::SRC_ENDPOINT_POD,
        workload: col::SRC_ENDPOINT_WORKLOAD,
        hostname: col::SRC_ENDPOINT_HOSTNAME,
        labels: col::SRC_ENDPOINT_LABELS,
    },
    EndColumns {
        namespace: col::DST_ENDPOINT_NAMESPACE,
        pod: col::DST_ENDPOINT_POD,
        workload: col::DST_ENDPOINT_WORKLOAD,
        hostname: col::DST_ENDPOINT_HOSTNAME,
        labels: col::DST_ENDPOINT_LABELS,
    },
];

impl<'i> End<'i> {
    /// Takes what a key holds. Tells whether something was cut off.
    pub(super) fn take(&mut self, key: &str, value: Value<'_, 'i>, list_items_max: usize) -> bool {
        match key {
            "ID" => self.is_local = value.int().is_some_and(|id| id != 0),
            "cluster_name" => self.cluster = value.text().or(self.cluster),
            "namespace" => self.namespace = value.text().or(self.namespace),
            "pod_name" => first(&mut self.pod, value),
            "workloads" => {
                if let Some(workload) = value.items().next() {
                    self.workload = workload.get("name").and_then(Value::text);
                    self.workload_kind = workload.get("kind").and_then(Value::text);
                }
            }
            "labels" => {
                for label in value.items().filter_map(Value::text).take(list_items_max) {
                    let label = label.strip_prefix("k8s:").unwrap_or(label);
                    match label.split_once('=') {
                        Some((LABEL_CLUSTER, cluster)) => self.cluster = self.cluster.or(Some(cluster)),
                        Some((LABEL_NAMESPACE, namespace)) => self.namespace = self.namespace.or(Some(namespace)),
                        _ => {}
                    }
                    self.labels.push(label);
                }
                return value.items().nth(list_items_max).is_some();
            }
            _ => {}
        }
        false
    }

    fn workload(&self) -> Option<&'i str> {
        self.workload.or(self.pod.map(workload_of_pod))
    }

    /// Puts what it is into its own columns.
    pub(super) fn put(&self, row: &mut EventBuilder, columns: &EndColumns) {
        put_some(row, columns.namespace, self.namespace);
        put_some(row, columns.pod, self.pod);
        put_some(row, columns.workload, self.workload());
        if let Some(name) = self.hostname {
            put::dns_name(row, columns.hostname, name);
        }
        if !self.labels.is_empty() {
            row.put_words(columns.labels, self.labels.iter().copied());
        }
    }

    /// Puts it into the columns of what the row is about.
    pub(super) fn put_local(&self, row: &mut EventBuilder) {
        put_some(row, col::NAMESPACE_NAME, self.namespace);
        put_some(row, col::POD_NAME, self.pod);
        put_some(row, col::WORKLOAD_NAME, self.workload());
        put_some(row, col::WORKLOAD_KIND, self.workload_kind);
        let is_pods = |label: &&str| {
            !label.starts_with("reserved:") && !LABELS_ADDED.iter().any(|added| label.starts_with(added))
        };
        let mut labels = self.labels.iter().copied().filter(is_pods).peekable();
        if self.pod.is_some() && labels.peek().is_some() {
            row.put_words(col::POD_LABELS, labels);
        }
    }
}
