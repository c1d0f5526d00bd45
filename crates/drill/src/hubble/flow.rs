//! A flow, written: its packet, the two ends as the agent of a node knows them, and what is told of requests.

use palisade_events::time::Micros;

use crate::act::{End, Lookup, Transport};
use crate::cluster::{Cluster, Pod};
use crate::ends::{Kind, address, number_of};
use crate::record::{Label, Stream};
use crate::text::{hex, number, plain, uuid_of};
use crate::wire::Wire;

/// How long an answer of DNS that has none may be kept.
const NO_TTL: u64 = u32::MAX as u64;

/// One packet or request of a connection.
#[derive(Clone, Copy)]
pub(super) struct Flow<'f> {
    /// Who opened the connection, and to whom, whichever way the packet goes.
    pub(super) ends: [End<'f>; 2],
    pub(super) ports: [u64; 2],
    pub(super) transport: Transport,
    pub(super) direction: Direction,
    pub(super) seen: Seen,
    pub(super) what: What<'f>,
}

/// Of the connection, as the observed endpoint sees it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Egress,
    Ingress,
}

/// Where a packet was seen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    ToEndpoint,
    ToStack,
    ToNetwork,
    FromNetwork,
    /// Where a policy was asked, and let it pass.
    Policy,
    /// Where a policy was asked, and did not.
    Drop,
    /// In the proxy that reads requests.
    Proxy,
}

#[derive(Clone, Copy)]
pub(super) enum What<'w> {
    First,
    Answer,
    Last,
    Query(&'w Lookup<'w>),
    Response(&'w Lookup<'w>),
}

impl What<'_> {
    fn is_reply(self) -> bool {
        matches!(self, Self::Answer | Self::Response(_))
    }
}

impl Wire {
    /// A flow, as the agent of a node saw it.
    pub(super) fn hubble_flow(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        node: usize,
        flow: &Flow<'_>,
        label: Option<Label>,
    ) {
        let Some(host) = cluster.nodes.get(node).map(|node| node.name.as_str()) else { return };
        let (high, low) = (self.random.next(), self.random.next());
        let time_to_live = 1 + self.random.below(300);
        let is_reply = flow.what.is_reply();
        let ([mut source, mut target], mut ports) = (flow.ends, flow.ports);
        if is_reply {
            (source, target) = (target, source);
            ports.reverse();
        }
        let addresses = [source, target].map(|end| address(cluster, end));
        let out = &mut self.buffer;
        out.push_str("{\"flow\":{\"time\":\"");
        let start = out.len();
        self.calendar.nanos(out, at, low % 1_000);
        let stamp = start..out.len();
        out.push_str("\",\"uuid\":\"");
        uuid_of(out, high, low);
        out.push_str(if flow.seen == Seen::Drop {
            "\",\"verdict\":\"DROPPED\",\"drop_reason\":133"
        } else {
            "\",\"verdict\":\"FORWARDED\""
        });
        if flow.seen != Seen::Proxy {
            put_ethernet(out, addresses);
        }
        put_addresses(out, addresses);
        put_ports(out, flow, ports);
        out.push_str(",\"source\":");
        put_end(out, source, node);
        out.push_str(",\"destination\":");
        put_end(out, target, node);
        out.push_str(if flow.seen == Seen::Proxy {
            ",\"Type\":\"L7\",\"node_name\":\""
        } else {
            ",\"Type\":\"L3_L4\",\"node_name\":\""
        });
        plain(out, host);
        out.push('"');
        put_names(out, ",\"source_names\":[\"", source);
        put_names(out, ",\"destination_names\":[\"", target);
        match flow.what {
            What::Query(lookup) => put_query(out, lookup),
            What::Response(lookup) => put_response(out, lookup, time_to_live),
            What::First | What::Answer | What::Last => {}
        }
        put_place(out, flow, source, target);
        out.push_str(",\"is_reply\":");
        out.push_str(if is_reply { "true" } else { "false" });
        put_policy(out, flow);
        out.push_str(",\"Summary\":\"");
        put_summary(out, flow, time_to_live);
        out.push_str("\"},\"node_name\":\"");
        plain(out, host);
        out.push_str("\",\"time\":\"");
        out.extend_from_within(stamp);
        out.push_str("\"}");
        self.send_node(Stream::Hubble, node, at, host, label);
    }
}

fn put_ethernet(out: &mut String, addresses: [&str; 2]) {
    for (key, address) in [",\"ethernet\":{\"source\":\"", "\",\"destination\":\""].into_iter().zip(addresses) {
        out.push_str(key);
        // The two low bits of the first byte say that nobody registered the address, and that it is one host's.
        let own = number_of(&[address]) & 0xfcff_ffff_ffff | 0x0200_0000_0000;
        for shift in [40, 32, 24, 16, 8, 0] {
            hex(out, own >> shift & 0xff, 2);
            if shift > 0 {
                out.push(':');
            }
        }
    }
    out.push_str("\"}");
}

fn put_addresses(out: &mut String, [source, target]: [&str; 2]) {
    out.push_str(",\"IP\":{\"source\":\"");
    plain(out, source);
    out.push_str("\",\"destination\":\"");
    plain(out, target);
    out.push_str(if target.contains(':') { "\",\"ipVersion\":\"IPv6\"}" } else { "\",\"ipVersion\":\"IPv4\"}" });
}

fn put_ports(out: &mut String, flow: &Flow<'_>, [source, target]: [u64; 2]) {
    out.push_str(match flow.transport {
        Transport::Tcp => ",\"l4\":{\"TCP\":{\"source_port\":",
        Transport::Udp => ",\"l4\":{\"UDP\":{\"source_port\":",
    });
    number(out, source);
    out.push_str(",\"destination_port\":");
    number(out, target);
    out.push_str(match (flow.transport, flow.what) {
        (Transport::Tcp, What::First) => ",\"flags\":{\"SYN\":true}}}",
        (Transport::Tcp, What::Answer) => ",\"flags\":{\"SYN\":true,\"ACK\":true}}}",
        (Transport::Tcp, What::Last) => ",\"flags\":{\"FIN\":true,\"ACK\":true}}}",
        _ => "}}",
    });
}

/// An end, as the agent of a node knows it: a pod has an id only on its own node.
fn put_end(out: &mut String, end: End<'_>, node: usize) {
    match end {
        End::Pod(pod) => put_pod(out, pod, pod.node == node),
        End::Node(other) if other == node => out.push_str("{\"identity\":1,\"labels\":[\"reserved:host\"]}"),
        End::Node(_) => out.push_str("{\"identity\":6,\"labels\":[\"reserved:remote-node\"]}"),
        End::ApiServer => out.push_str("{\"identity\":7,\"labels\":[\"reserved:kube-apiserver\"]}"),
        End::Outside { .. } => out.push_str("{\"identity\":2,\"labels\":[\"reserved:world\"]}"),
    }
}

fn put_pod(out: &mut String, pod: &Pod, is_local: bool) {
    let Pod { namespace, workload, account, name, .. } = pod;
    out.push('{');
    if is_local {
        out.push_str("\"ID\":");
        number(out, 1 + number_of(&[&pod.uid]) % 4_000);
        out.push(',');
    }
    out.push_str("\"identity\":");
    // Pods with the same labels are one identity.
    number(out, 1_024 + number_of(&[namespace, "/", workload, "/", account]) % 60_000);
    out.push_str(",\"cluster_name\":\"default\",\"namespace\":\"");
    plain(out, namespace);
    out.push_str("\",\"labels\":[\"k8s:app.kubernetes.io/name=");
    plain(out, workload);
    out.push_str("\",\"k8s:app.kubernetes.io/part-of=");
    plain(out, namespace);
    out.push_str("\",\"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=");
    plain(out, namespace);
    out.push_str("\",\"k8s:io.cilium.k8s.policy.cluster=default\",\"k8s:io.cilium.k8s.policy.serviceaccount=");
    plain(out, account);
    out.push_str("\",\"k8s:io.kubernetes.pod.namespace=");
    plain(out, namespace);
    out.push_str("\"],\"pod_name\":\"");
    plain(out, name);
    let kind = Kind::of(pod);
    out.push_str("\",\"workloads\":[{\"name\":\"");
    plain(out, if kind == Kind::Pod { name } else { workload });
    out.push_str("\",\"kind\":\"");
    out.push_str(kind.name());
    out.push_str("\"}]}");
}

/// The name by which an address outside was looked up.
fn put_names(out: &mut String, key: &str, end: End<'_>) {
    if let End::Outside { name, .. } = end
        && !name.is_empty()
    {
        out.push_str(key);
        plain(out, name);
        out.push_str("\"]");
    }
}

/// The kind of event of Cilium's monitor, services, direction and point.
fn put_place(out: &mut String, flow: &Flow<'_>, source: End<'_>, target: End<'_>) {
    out.push_str(match flow.seen {
        Seen::ToEndpoint => ",\"event_type\":{\"type\":4}",
        Seen::ToStack => ",\"event_type\":{\"type\":4,\"sub_type\":3}",
        Seen::ToNetwork => ",\"event_type\":{\"type\":4,\"sub_type\":11}",
        Seen::FromNetwork => ",\"event_type\":{\"type\":4,\"sub_type\":10}",
        Seen::Policy => ",\"event_type\":{\"type\":5}",
        Seen::Drop => ",\"event_type\":{\"type\":1,\"sub_type\":133}",
        Seen::Proxy => ",\"event_type\":{\"type\":129}",
    });
    for (key, end) in [(",\"source_service\":", source), (",\"destination_service\":", target)] {
        if matches!(end, End::ApiServer) {
            out.push_str(key);
            out.push_str("{\"name\":\"kubernetes\",\"namespace\":\"default\"}");
        }
    }
    out.push_str(match flow.direction {
        Direction::Egress => ",\"traffic_direction\":\"EGRESS\"",
        Direction::Ingress => ",\"traffic_direction\":\"INGRESS\"",
    });
    let point = match flow.seen {
        Seen::ToEndpoint => ",\"trace_observation_point\":\"TO_ENDPOINT\"",
        Seen::ToStack => ",\"trace_observation_point\":\"TO_STACK\"",
        Seen::ToNetwork => ",\"trace_observation_point\":\"TO_NETWORK\"",
        Seen::FromNetwork => ",\"trace_observation_point\":\"FROM_NETWORK\"",
        Seen::Policy => return out.push_str(",\"policy_match_type\":2"),
        Seen::Drop => return out.push_str(",\"drop_reason_desc\":\"POLICY_DENIED\""),
        Seen::Proxy => return,
    };
    out.push_str(point);
    out.push_str(match flow.what {
        What::First if flow.seen == Seen::FromNetwork => ",\"trace_reason\":\"TRACE_REASON_UNKNOWN\"",
        What::First => ",\"trace_reason\":\"NEW\"",
        What::Answer => ",\"trace_reason\":\"REPLY\"",
        _ => ",\"trace_reason\":\"ESTABLISHED\"",
    });
}

/// The policy that let the connection pass, where it was asked: each workload has one of its name.
fn put_policy(out: &mut String, flow: &Flow<'_>) {
    let (Seen::Policy, End::Pod(pod)) = (flow.seen, flow.ends[0]) else { return };
    out.push_str(",\"egress_allowed_by\":[{\"name\":\"");
    plain(out, &pod.workload);
    out.push_str("\",\"namespace\":\"");
    plain(out, &pod.namespace);
    out.push_str("\",\"labels\":[\"k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy\"],\"revision\":\"7\",\"kind\":\"CiliumNetworkPolicy\"}]");
}

/// Whether a name is one that the cluster itself gives.
pub(super) fn is_of_cluster(name: &str) -> bool {
    name.ends_with(".cluster.local")
}

/// How long an answer may be kept.
fn ttl(lookup: &Lookup<'_>, drawn: u64) -> u64 {
    match lookup {
        _ if lookup.rcode != 0 || lookup.answers.is_empty() => NO_TTL,
        _ if is_of_cluster(lookup.name) => 1 + drawn % 30,
        _ => drawn,
    }
}

fn put_query(out: &mut String, lookup: &Lookup<'_>) {
    out.push_str(",\"l7\":{\"type\":\"REQUEST\",\"dns\":{\"query\":\"");
    plain(out, lookup.name);
    out.push_str(".\",\"observation_source\":\"proxy\",\"qtypes\":[\"");
    plain(out, lookup.kind);
    out.push_str("\"]}}");
}

/// The answer. Of other records than addresses and names, the proxy tells the type alone.
fn put_response(out: &mut String, lookup: &Lookup<'_>, drawn: u64) {
    out.push_str(",\"l7\":{\"type\":\"RESPONSE\",\"dns\":{\"query\":\"");
    plain(out, lookup.name);
    out.push_str(".\"");
    let list = match lookup.kind {
        "A" | "AAAA" => ",\"ips\":[\"",
        "CNAME" => ",\"cnames\":[\"",
        _ => "",
    };
    if !list.is_empty() && !lookup.answers.is_empty() {
        out.push_str(list);
        put_list(out, lookup.answers, "\",\"");
        out.push_str("\"]");
    }
    out.push_str(",\"ttl\":");
    number(out, ttl(lookup, drawn));
    out.push_str(",\"observation_source\":\"proxy\"");
    // What is zero is left out.
    if lookup.rcode != 0 {
        out.push_str(",\"rcode\":");
        number(out, lookup.rcode);
    }
    out.push_str(",\"qtypes\":[\"");
    plain(out, lookup.kind);
    if !lookup.answers.is_empty() {
        out.push_str("\"],\"rrtypes\":[\"");
        plain(out, lookup.kind);
    }
    out.push_str("\"]}}");
}

fn put_list(out: &mut String, texts: &[&str], separator: &str) {
    for (n, text) in texts.iter().enumerate() {
        if n > 0 {
            out.push_str(separator);
        }
        plain(out, text);
    }
}

fn put_summary(out: &mut String, flow: &Flow<'_>, drawn: u64) {
    let lookup = match flow.what {
        What::Query(lookup) => {
            out.push_str("DNS Query ");
            plain(out, lookup.name);
            out.push_str(". ");
            return plain(out, lookup.kind);
        }
        What::Response(lookup) => lookup,
        _ if flow.transport == Transport::Udp => return out.push_str("UDP"),
        What::First => return out.push_str("TCP Flags: SYN"),
        What::Answer => return out.push_str("TCP Flags: SYN, ACK"),
        What::Last => return out.push_str("TCP Flags: ACK, FIN"),
    };
    out.push_str("DNS Answer");
    match lookup.rcode {
        0 if matches!(lookup.kind, "A" | "AAAA" | "CNAME") && !lookup.answers.is_empty() => {
            out.push_str(" \\\"");
            put_list(out, lookup.answers, ",");
            out.push_str("\\\"");
        }
        0 => {}
        2 => out.push_str(" RCode: Server Failure"),
        3 => out.push_str(" RCode: Non-Existent Domain"),
        5 => out.push_str(" RCode: Query Refused"),
        code => {
            out.push_str(" RCode: ");
            number(out, code);
        }
    }
    out.push_str(" TTL: ");
    number(out, ttl(lookup, drawn));
    out.push_str(" (Proxy ");
    plain(out, lookup.name);
    out.push_str(". ");
    plain(out, lookup.kind);
    out.push(')');
}
