//! The ends of connections, as sensors of the network know them: address, node, workload.
//!
//! Not here: how a sensor writes an end down (see `hubble` and `calico`).

use crate::act::End;
use crate::cluster::{Cluster, Pod};
use crate::text::fnv;

/// The API server's address inside the cluster.
const API_SERVER: &str = "10.96.0.1";

/// What made a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Deployment,
    StatefulSet,
    /// Or a job: both name pods alike.
    DaemonSet,
    /// Nothing did: it was made by itself.
    Pod,
}

impl Kind {
    /// Reads it off the pod's name, which begins with that of its workload.
    pub(crate) fn of(pod: &Pod) -> Self {
        let Some(rest) = pod.name.strip_prefix(pod.workload.as_str()).and_then(|rest| rest.strip_prefix('-')) else {
            return Self::Pod;
        };
        match rest.split_once('-') {
            Some(_) => Self::Deployment,
            None if rest.bytes().all(|byte| byte.is_ascii_digit()) => Self::StatefulSet,
            None => Self::DaemonSet,
        }
    }

    /// As `Deployment`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Pod => "Pod",
        }
    }
}

/// An end's address.
pub(crate) fn address<'e>(cluster: &'e Cluster, end: End<'e>) -> &'e str {
    match end {
        End::Pod(pod) => &pod.ip,
        End::Node(node) => cluster.nodes.get(node).map_or("", |node| &node.ip),
        End::ApiServer => API_SERVER,
        End::Outside { ip, .. } => ip,
    }
}

/// The node on which a sensor could see what an end does. The control plane's machines have none.
pub(crate) fn node_of(end: End<'_>) -> Option<usize> {
    match end {
        End::Pod(pod) => Some(pod.node),
        End::Node(node) => Some(node),
        End::ApiServer | End::Outside { .. } => None,
    }
}

/// Whether an address is of a private network (RFC 1918).
pub(crate) fn is_private(address: &str) -> bool {
    if address.starts_with("10.") || address.starts_with("192.168.") {
        return true;
    }
    let second = address.strip_prefix("172.").and_then(|rest| rest.split('.').next()?.parse().ok());
    second.is_some_and(|second: u8| (16..32).contains(&second))
}

/// A number that belongs to some texts: the same for the same ones.
pub(crate) fn number_of(texts: &[&str]) -> u64 {
    let hash = fnv(texts.iter().flat_map(|text| text.bytes()));
    // Texts that differ in their last letter differ in the low bits alone.
    let hash = (hash ^ hash >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    hash ^ hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_those_of_the_three_networks() {
        let cases = [
            ("10.244.1.7", true),
            ("192.168.0.1", true),
            ("172.16.0.1", true),
            ("172.31.9.9", true),
            ("172.32.0.1", false),
            ("172.9", false),
            ("203.0.113.9", false),
            ("100.1.1.1", false),
            ("", false),
        ];
        for (address, expected) in cases {
            assert_eq!(is_private(address), expected, "{address}");
        }
    }
}
