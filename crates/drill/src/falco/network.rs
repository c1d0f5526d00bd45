//! Which of Falco's stock rules fire when a connection is made.

use palisade_events::time::Micros;

use super::names::is_system_program;
use super::rules::{self, Rule};
use super::stock::{Seen, own_process};
use crate::act::{Connect, End, Place, Process, Transport};
use crate::auditd::comm;
use crate::cluster::Cluster;
use crate::ends::{address, is_private};
use crate::record::Label;
use crate::text::number;
use crate::wire::Wire;

/// Alerts about the connections of one moment: Falco tells of each, but nobody needs more to see it.
const ALERTS_MAX: u64 = 10;

impl Wire {
    /// A connection, or several, are made at `at`.
    pub(crate) fn falco_connect(&mut self, cluster: &Cluster, at: Micros, connect: &Connect<'_>, label: Option<Label>) {
        let own_exe;
        let own_argv;
        let process = match (&connect.by, connect.from) {
            (Some(by), _) => *by,
            (None, End::Pod(pod)) => {
                if !may_tell(connect) {
                    return;
                }
                own_exe = ["/app/", &pod.container].concat();
                own_argv = [own_exe.as_str()];
                own_process(pod, at, &own_exe, &own_argv)
            }
            (None, _) => return,
        };
        let Some(rule) = connected(connect, &process) else { return };
        let (from, to) = (address(cluster, connect.from), address(cluster, connect.to));
        let protocol = if connect.transport == Transport::Tcp { "tcp" } else { "udp" };
        for n in 0..connect.count.clamp(1, ALERTS_MAX) {
            let source_port = 1_024 + (connect.source_port.saturating_sub(1_024) + n) % 64_512;
            let mut ends = String::with_capacity(48);
            for (address, port, between) in [(from, source_port, "->"), (to, connect.port, "")] {
                ends.push_str(address);
                ends.push(':');
                number(&mut ends, port);
                ends.push_str(between);
            }
            let connection = Some((ends.as_str(), source_port, connect.port, protocol));
            let seen = Seen { connection, ..Seen::of(&process, "connect") };
            self.falco_seen(cluster, at + n as Micros * 900, rule, &seen, label);
        }
    }
}

/// Whether a connection could be of interest at all, whoever makes it.
fn may_tell(connect: &Connect<'_>) -> bool {
    connect.transport == Transport::Udp || matches!(connect.to, End::ApiServer | End::Outside { .. })
}

fn connected(connect: &Connect<'_>, process: &Process<'_>) -> Option<&'static Rule<'static>> {
    let outside = match connect.to {
        End::Outside { ip, name } if !is_private(ip) && !ip.starts_with("127.") => Some((ip, name)),
        _ => None,
    };
    let pod = if let Place::Pod(pod) = process.place { Some(pod) } else { None };
    let is_tcp = connect.transport == Transport::Tcp;
    if matches!(connect.to, End::ApiServer) && pod.is_some_and(|pod| pod.namespace != "kube-system") {
        return Some(&rules::CONTACT_API_SERVER);
    }
    let is_odd_port = matches!(connect.port, 53 | 80 | 88 | 443 | 4_444 | 8_080 | 8_443);
    if is_tcp && is_odd_port && outside.is_some() && process.argv.first().is_some_and(|called| called.ends_with("ssh"))
    {
        return Some(&rules::SSH_ODD_PORT);
    }
    let is_loopback = matches!(connect.to, End::Outside { ip, .. } if ip.starts_with("127."));
    if !is_loopback {
        let name = comm(process.exe, process.argv);
        if is_system_program(name) && !(name == "login" && !is_tcp && connect.port == 53) {
            return Some(&rules::SYSTEM_NETWORK);
        }
        if !is_tcp && !is_usual_datagram(connect.port) {
            return Some(&rules::UNEXPECTED_UDP);
        }
    }
    match outside {
        Some(("169.254.169.254", _)) if pod.is_some() => Some(&rules::INSTANCE_METADATA),
        Some((_, name)) if is_pool(name, connect.port) => Some(&rules::MINER_POOL),
        _ => None,
    }
}

/// DNS, NTP, StatsD, OpenVPN and L2TP, and what programs try connections with.
fn is_usual_datagram(port: u64) -> bool {
    matches!(port, 0 | 9 | 53 | 80 | 123 | 500 | 1_194 | 1_197 | 1_198 | 1_701 | 3_306 | 4_500)
        || matches!(port, 8_080 | 8_125 | 9_201 | 10_000)
}

/// Whether it is a pool of miners by a name and a port that the rule lists.
fn is_pool(name: &str, port: u64) -> bool {
    let is_listed = match name {
        "pool.minexmr.com"
        | "ca.minexmr.com"
        | "de.minexmr.com"
        | "fr.minexmr.com"
        | "sg.minexmr.com"
        | "xmr.crypto-pool.fr"
        | "mine.moneropool.com"
        | "mine.xmrpool.net" => matches!(port, 80 | 443),
        "stratum.antpool.com" | "stratum-eth.antpool.com" | "stratum-ltc.antpool.com" => port == 443,
        "pool.supportxmr.com"
        | "pool.monero.hashvault.pro"
        | "xmr.pool.minergate.com"
        | "rx.unmineable.com"
        | "xmr-eu1.nanopool.org"
        | "xmr-eu2.nanopool.org"
        | "xmr-us-east1.nanopool.org"
        | "eu1.ethermine.org"
        | "us1.ethermine.org" => false,
        _ => return false,
    };
    is_listed
        || matches!(
            port,
            25 | 3_333..=3_336 | 3_357 | 4_444 | 5_555 | 5_556 | 5_588 | 5_730 | 6_099 | 6_666 | 7_777 | 7_778
        )
        || matches!(
            port,
            8_000 | 8_001 | 8_008 | 8_080 | 8_118 | 8_333 | 8_888 | 8_899 | 9_332 | 9_999 | 14_433 | 14_444
        )
        || matches!(port, 45_560 | 45_700)
}
