//! Calico's flow logs in the spelling of Enterprise: what an end reports of its connections of one kind, once an interval.
//!
//! A log is dated by the end of its interval. Both ends report, if both are watched: bytes and packets are counted in and
//! out of the one that does, and what the destination's policy denies the source's let pass. Of several connections the
//! source's port is left out.
//!
//! Not here: who connects to whom (see `traffic` and `scenario`).

use palisade_events::time::{Micros, SECOND};

use crate::act::{Connect, End, Process, Transport, Verdict};
use crate::cluster::{Cluster, Pod};
use crate::ends::{Kind, address, is_private, node_of};
use crate::record::{Label, Stream};
use crate::text::{number, plain};
use crate::wire::Wire;

/// Length of an interval, seconds.
const INTERVAL_SECS: i64 = 15;

/// Agents report this often, in seconds, where more waits to be reported than they hold.
const INTERVAL_CROWDED_SECS: i64 = 1;

/// Bytes of the first packet of a connection that nobody answers.
const UNANSWERED: u64 = 60;

/// What one end reports.
struct Report<'r> {
    reporter: Reporter,
    action: Action,
    /// Seconds.
    interval: [i64; 2],
    /// From source to destination, and back.
    bytes: [u64; 2],
    packets: [u64; 2],
    completed: u64,
    connect: &'r Connect<'r>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reporter {
    Source,
    Destination,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
}

impl Wire {
    /// What the ends of a connection, or of several, report of it when their interval ends.
    pub(crate) fn calico_connect(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        connect: &Connect<'_>,
        label: Option<Label>,
    ) {
        let length = if self.is_crowded() { INTERVAL_CROWDED_SECS } else { INTERVAL_SECS };
        let until = (at.div_euclid(length * SECOND) + 1) * length;
        let (source, target) = (node_of(connect.from), node_of(connect.to));
        let is_dropped = connect.verdict == Verdict::Dropped;
        let count = connect.count.max(1);
        let (bytes, packets) = if is_dropped {
            ([count.saturating_mul(UNANSWERED), 0], [count, 0])
        } else {
            let bytes = [connect.bytes_sent, connect.bytes_received];
            (bytes, bytes.map(|bytes| packets(bytes, count, connect.transport)))
        };
        let is_over = is_dropped || at.saturating_add(connect.lasts) <= until * SECOND;
        let completed = if is_over { count } else { 0 };
        // A policy about who may come in decides, where there is one to ask.
        let denied_by = if target.is_some() { Reporter::Destination } else { Reporter::Source };
        for (reporter, node) in [(Reporter::Source, source), (Reporter::Destination, target)] {
            let Some(node) = node else { continue };
            let action = if is_dropped && reporter == denied_by { Action::Deny } else { Action::Allow };
            let interval = [until - length, until];
            let report = Report { reporter, action, interval, bytes, packets, completed, connect };
            self.calico_report(cluster, node, &report, label);
        }
    }

    fn calico_report(&mut self, cluster: &Cluster, node: usize, report: &Report<'_>, label: Option<Label>) {
        let Some(host) = cluster.nodes.get(node).map(|node| node.name.as_str()) else { return };
        let connect = report.connect;
        let [start, end] = report.interval;
        let out = &mut self.buffer;
        out.push_str("{\"start_time\":");
        signed(out, start);
        out.push_str(",\"end_time\":");
        signed(out, end);
        put_end(out, cluster, &SOURCE, connect.from);
        out.push_str(",\"source_port\":");
        if connect.count > 1 {
            out.push_str("null");
        } else {
            number(out, connect.source_port);
        }
        put_end(out, cluster, &DESTINATION, connect.to);
        out.push_str(",\"dest_port\":");
        number(out, connect.port);
        put_service(out, connect);
        put_domains(out, connect.to);
        out.push_str(match connect.transport {
            Transport::Tcp => ",\"proto\":\"tcp\"",
            Transport::Udp => ",\"proto\":\"udp\"",
        });
        out.push_str(if report.action == Action::Deny { ",\"action\":\"deny\"" } else { ",\"action\":\"allow\"" });
        out.push_str(match report.reporter {
            Reporter::Source => ",\"reporter\":\"src\",\"policies\":{\"all_policies\":[\"",
            Reporter::Destination => ",\"reporter\":\"dst\",\"policies\":{\"all_policies\":[\"",
        });
        let from = out.len();
        put_policy(out, report);
        let policy = from..out.len();
        out.push_str("\"],\"enforced_policies\":[\"");
        out.extend_from_within(policy);
        out.push_str("\"],\"pending_policies\":[],\"transit_policies\":[]}");
        put_counts(out, report);
        put_process(out, connect.by.as_ref().filter(|_| report.reporter == Reporter::Source));
        out.push_str(",\"original_source_ips\":null,\"num_original_source_ips\":0,\"host\":\"");
        plain(out, host);
        out.push_str("\",\"@timestamp\":");
        signed(out, end.saturating_mul(1_000));
        out.push('}');
        self.send_node(Stream::Calico, node, end * SECOND, host, label);
    }
}

/// Full packets, and those that open and close a connection.
fn packets(bytes: u64, count: u64, transport: Transport) -> u64 {
    let around = if transport == Transport::Tcp { 3 } else { 1 };
    (bytes / 1_400).saturating_add(count.saturating_mul(around))
}

/// The keys of an end.
struct Keys {
    ip: &'static str,
    name: &'static str,
    aggregate: &'static str,
    namespace: &'static str,
    kind: &'static str,
    labels: &'static str,
}

const SOURCE: Keys = Keys {
    ip: ",\"source_ip\":\"",
    name: "\",\"source_name\":\"",
    aggregate: "\",\"source_name_aggr\":\"",
    namespace: "\",\"source_namespace\":\"",
    kind: "\",\"source_type\":\"",
    labels: "\",\"source_labels\":",
};

const DESTINATION: Keys = Keys {
    ip: ",\"dest_ip\":\"",
    name: "\",\"dest_name\":\"",
    aggregate: "\",\"dest_name_aggr\":\"",
    namespace: "\",\"dest_namespace\":\"",
    kind: "\",\"dest_type\":\"",
    labels: "\",\"dest_labels\":",
};

fn put_end(out: &mut String, cluster: &Cluster, keys: &Keys, end: End<'_>) {
    let ip = address(cluster, end);
    let node = if let End::Node(node) = end { cluster.nodes.get(node).map(|node| node.name.as_str()) } else { None };
    out.push_str(keys.ip);
    plain(out, ip);
    out.push_str(keys.name);
    match end {
        End::Pod(pod) => plain(out, &pod.name),
        _ => plain(out, node.unwrap_or("-")),
    }
    out.push_str(keys.aggregate);
    match end {
        End::Pod(pod) => put_aggregate(out, pod),
        _ => plain(out, node.unwrap_or(if is_private(ip) { "pvt" } else { "pub" })),
    }
    out.push_str(keys.namespace);
    match end {
        End::Pod(pod) => plain(out, &pod.namespace),
        _ => out.push('-'),
    }
    out.push_str(keys.kind);
    out.push_str(match end {
        End::Pod(_) => "wep",
        End::Node(_) => "hep",
        End::ApiServer | End::Outside { .. } => "net",
    });
    out.push_str(keys.labels);
    match (end, node) {
        (End::Pod(pod), _) => put_labels(out, pod),
        (_, Some(name)) => {
            out.push_str("{\"labels\":[\"kubernetes.io/hostname=");
            plain(out, name);
            out.push_str("\",\"kubernetes.io/os=linux\"]}");
        }
        _ => out.push_str("null"),
    }
}

/// The name that the pods of one template share, with a star.
fn put_aggregate(out: &mut String, pod: &Pod) {
    match pod.name.rsplit_once('-') {
        Some((shared, _)) if Kind::of(pod) != Kind::Pod => {
            plain(out, shared);
            out.push_str("-*");
        }
        _ => plain(out, &pod.name),
    }
}

fn put_labels(out: &mut String, pod: &Pod) {
    out.push_str("{\"labels\":[\"app.kubernetes.io/name=");
    plain(out, &pod.workload);
    out.push_str("\",\"app.kubernetes.io/part-of=");
    plain(out, &pod.namespace);
    if Kind::of(pod) == Kind::Deployment
        && let Some(hash) = pod.name.rsplit('-').nth(1)
    {
        out.push_str("\",\"pod-template-hash=");
        plain(out, hash);
    }
    out.push_str("\"]}");
}

/// The service that was connected to: that of the workload, on the port which it serves; others are connected to directly.
fn put_service(out: &mut String, connect: &Connect<'_>) {
    let service = match connect.to {
        End::ApiServer => Some(("default", "kubernetes")),
        End::Pod(pod) => match (pod.workload.as_str(), connect.port) {
            ("coredns", 53) => Some(("kube-system", "kube-dns")),
            (name @ "web", 8080) | (name @ "queue", 5672 | 6379) | (name @ "db", 5432) => {
                // A kubelet, to see whether a pod is well, asks the pod.
                (!matches!(connect.from, End::Node(_))).then_some((pod.namespace.as_str(), name))
            }
            _ => None,
        },
        End::Node(_) | End::Outside { .. } => None,
    };
    out.push_str(",\"dest_service_namespace\":\"");
    plain(out, service.map_or("-", |service| service.0));
    out.push_str("\",\"dest_service_name\":\"");
    plain(out, service.map_or("-", |service| service.1));
    out.push_str("\",\"dest_service_port\":\"-\",\"dest_service_port_num\":");
    match service {
        Some(_) => number(out, connect.port),
        None => out.push_str("null"),
    }
}

/// The name by which an address outside was looked up.
fn put_domains(out: &mut String, end: End<'_>) {
    match end {
        End::Outside { name, .. } if !name.is_empty() => {
            out.push_str(",\"dest_domains\":[\"");
            plain(out, name);
            out.push_str("\"]");
        }
        _ => out.push_str(",\"dest_domains\":null"),
    }
}

/// The policy that decided: into a pod, that of its workload; out of it, the profile of its namespace.
fn put_policy(out: &mut String, report: &Report<'_>) {
    let end = match report.reporter {
        Reporter::Source => report.connect.from,
        Reporter::Destination => report.connect.to,
    };
    match (end, report.action, report.reporter) {
        (End::Pod(pod), Action::Deny, _) => {
            out.push_str("0|default|");
            plain(out, &pod.namespace);
            out.push_str("/default.default-deny|deny|-1");
        }
        (End::Pod(pod), Action::Allow, Reporter::Source) => {
            out.push_str("0|__PROFILE__|__PROFILE__.kns.");
            plain(out, &pod.namespace);
            out.push_str("|allow|0");
        }
        (End::Pod(pod), Action::Allow, Reporter::Destination) => {
            out.push_str("0|default|");
            plain(out, &pod.namespace);
            out.push_str("/default.");
            plain(out, &pod.workload);
            out.push_str("|allow|0");
        }
        (_, Action::Deny, _) => out.push_str("0|platform|platform.host-deny|deny|-1"),
        (_, Action::Allow, _) => out.push_str("0|__PROFILE__|__PROFILE__.projectcalico-default-allow|allow|0"),
    }
}

fn put_counts(out: &mut String, report: &Report<'_>) {
    let (mut bytes, mut packets) = (report.bytes, report.packets);
    // What the source sends goes in at the destination.
    if report.reporter == Reporter::Source {
        bytes.reverse();
        packets.reverse();
    }
    let count = report.connect.count.max(1);
    for (key, value) in [
        (",\"bytes_in\":", bytes[0]),
        (",\"bytes_out\":", bytes[1]),
        (",\"num_flows\":", count),
        (",\"num_flows_started\":", count),
        (",\"num_flows_completed\":", report.completed),
        (",\"packets_in\":", packets[0]),
        (",\"packets_out\":", packets[1]),
    ] {
        out.push_str(key);
        number(out, value);
    }
    out.push_str(",\"http_requests_allowed_in\":0,\"http_requests_denied_in\":0");
}

/// The process that connects; a destination does not know it.
fn put_process(out: &mut String, process: Option<&Process<'_>>) {
    let Some(process) = process else {
        return out.push_str(",\"process_name\":\"-\",\"num_process_names\":0,\"process_id\":\"-\",\"num_process_ids\":0,\"process_args\":[\"-\"],\"num_process_args\":0");
    };
    out.push_str(",\"process_name\":\"");
    plain(out, process.exe);
    out.push_str("\",\"num_process_names\":1,\"process_id\":\"");
    number(out, process.pid);
    out.push_str("\",\"num_process_ids\":1,\"process_args\":[\"");
    for (n, argument) in process.argv.iter().enumerate() {
        if n > 0 {
            out.push(' ');
        }
        plain(out, argument);
    }
    out.push_str("\"],\"num_process_args\":1");
}

fn signed(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    number(out, value.unsigned_abs());
}

#[cfg(test)]
mod tests;
