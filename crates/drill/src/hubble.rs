//! Hubble's flows, one JSON object each in the key order of its protobuf, as the exporter of a node writes them.
//!
//! Of a connection Cilium aggregates all but the packets that change its state: the first, sometimes its answer and the
//! last are told of. The source's node tells of a packet on its way out, the destination's of its way in; between pods of
//! one node the source's policy speaks for the way out. Source and destination are the packet's: an answer has them
//! swapped, and the direction stays the connection's. Requests for names are seen by the proxy on the asking pod's node.
//!
//! Not here: who connects to whom (see `traffic` and `scenario`), and what a flow looks like (see [`flow`]).

use palisade_events::time::{Micros, SECOND};

use crate::act::{Connect, End, Lookup, Transport, Verdict};
use crate::cluster::Cluster;
use crate::ends::node_of;
use crate::record::{Label, Stream};
use crate::text::{number, plain};
use crate::wire::Wire;

use self::flow::{Direction, Flow, Seen, What, is_of_cluster};

mod flow;

/// Of connections that were made in one moment, so many are told of at most.
const TOLD_MAX: u64 = 3;

/// Between two connections of one moment.
const STEP: Micros = 350;

/// A connection that lasts longer is not told the end of while the queue is full.
const LASTS_MAX: Micros = SECOND;

const DNS_PORT: u64 = 53;

impl Wire {
    /// Flows of a connection, or of some of several.
    pub(crate) fn hubble_connect(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        connect: &Connect<'_>,
        label: Option<Label>,
    ) {
        let mut at = at;
        let mut port = connect.source_port;
        for _ in 0..connect.count.clamp(1, TOLD_MAX) {
            self.hubble_connection(cluster, at, port, connect, label);
            at += STEP;
            port = if port >= 60_999 { 32_768 } else { port + 1 };
        }
    }

    fn hubble_connection(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        source_port: u64,
        connect: &Connect<'_>,
        label: Option<Label>,
    ) {
        let Connect { from, to, transport, .. } = *connect;
        let (source, target) = (node_of(from), node_of(to));
        let ports = [source_port, connect.port];
        let flow = |direction, seen, what| Flow { ends: [from, to], ports, transport, direction, seen, what };
        if connect.verdict == Verdict::Dropped {
            // Policies about who may come in decide most; nobody asks them where the destination is not watched.
            let (node, direction) = match (source, target) {
                (_, Some(target)) => (target, Direction::Ingress),
                (Some(source), None) => (source, Direction::Egress),
                (None, None) => return,
            };
            return self.hubble_flow(cluster, at, node, &flow(direction, Seen::Drop, What::First), label);
        }
        let is_within = source.is_some() && source == target;
        let out = match (from, to) {
            (End::Pod(_), End::Pod(_)) if is_within => Some(Seen::Policy),
            (End::Pod(_), _) => Some(Seen::ToStack),
            (End::Node(_), _) if !is_within => Some(Seen::ToNetwork),
            _ => None,
        };
        let into = match to {
            End::Pod(_) => Some(Seen::ToEndpoint),
            End::Node(_) if !is_within => Some(Seen::FromNetwork),
            _ => None,
        };
        let out = source.zip(out).map(|(node, seen)| (node, Direction::Egress, seen));
        let into = target.zip(into).map(|(node, seen)| (node, Direction::Ingress, seen));
        for (after, view) in [(0, out), (90, into)] {
            if let Some((node, direction, seen)) = view {
                self.hubble_flow(cluster, at + after, node, &flow(direction, seen, What::First), label);
            }
        }
        let dice = self.random.below(12);
        if dice < 4 {
            let answer = match (from, to) {
                (End::Pod(pod), _) => Some((pod.node, Direction::Egress, Seen::ToEndpoint)),
                (_, End::Pod(pod)) => Some((pod.node, Direction::Ingress, Seen::ToStack)),
                _ => None,
            };
            if let Some((node, direction, seen)) = answer {
                let after = 180 + self.random.below(1_400) as Micros;
                self.hubble_flow(cluster, at + after, node, &flow(direction, seen, What::Answer), label);
            }
        }
        let lasts = connect.lasts.max(2_000);
        if dice % 4 == 3 && transport == Transport::Tcp && (lasts <= LASTS_MAX || !self.is_crowded()) {
            // The policy is asked once, at the beginning.
            let view = out.filter(|(_, _, seen)| *seen != Seen::Policy).or(into);
            if let Some((node, direction, seen)) = view {
                self.hubble_flow(cluster, at + lasts, node, &flow(direction, seen, What::Last), label);
            }
        }
    }

    /// A request for a name and its answer, as the proxy on the asking pod's node saw them.
    pub(crate) fn hubble_lookup(&mut self, cluster: &Cluster, at: Micros, lookup: &Lookup<'_>, label: Option<Label>) {
        // Those of the platform are the last.
        let Some(server) = cluster.pods.iter().rev().find(|pod| pod.workload == "coredns") else { return };
        let flow = Flow {
            ends: [End::Pod(lookup.from), End::Pod(server)],
            ports: [32_768 + self.random.below(28_000), DNS_PORT],
            transport: Transport::Udp,
            direction: Direction::Egress,
            seen: Seen::Proxy,
            what: What::Query(lookup),
        };
        let node = lookup.from.node;
        self.hubble_flow(cluster, at, node, &flow, label);
        // Answers for names of the cluster are at hand.
        let after = if is_of_cluster(lookup.name) { 250 } else { 2_000 } + self.random.below(3_000) as Micros;
        self.hubble_flow(cluster, at + after, node, &Flow { what: What::Response(lookup), ..flow }, label);
    }

    /// Hubble tells that events were lost between the kernel and itself. Of none it is silent.
    pub(crate) fn hubble_lost(&mut self, cluster: &Cluster, at: Micros, node: usize, count: u64) {
        let Some(host) = cluster.nodes.get(node).map(|node| node.name.as_str()).filter(|_| count > 0) else { return };
        let processor = self.random.below(8);
        let nanos = self.random.below(1_000);
        let out = &mut self.buffer;
        out.push_str("{\"lost_events\":{\"source\":\"PERF_EVENT_RING_BUFFER\",\"num_events_lost\":\"");
        number(out, count);
        out.push_str("\",\"cpu\":");
        number(out, processor);
        out.push_str("},\"node_name\":\"");
        plain(out, host);
        out.push_str("\",\"time\":\"");
        self.calendar.nanos(out, at, nanos);
        out.push_str("\"}");
        self.send_node(Stream::Hubble, node, at, host, None);
    }
}

#[cfg(test)]
mod tests;
