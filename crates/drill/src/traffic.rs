//! Ordinary life of the network: who talks to whom when nothing is wrong.
//!
//! Workloads have the same destinations day after day; how much they talk varies, with a heavy tail. Not here: how sensors
//! write that down (see `act`), nor when it happens (see `benign`).

use palisade_events::time::{DAY, Micros, SECOND};

use crate::act::{Connect, End, Lookup, Process, Transport, Verdict};
use crate::builds;
use crate::cluster::{Cluster, Pod};
use crate::ends::number_of;
use crate::registry::REGISTRY_HOST;
use crate::settings::MONDAY_MORNING;
use crate::text::number;
use crate::wire::Wire;

type Activity = fn(&Cluster, &mut Wire, Micros);

/// What happens, of this many times out of the sum.
const ACTIVITIES: [(u64, Activity); 14] = [
    (2_000, web_to_database),
    (1_050, web_to_queue),
    (700, queue_to_database),
    (1_600, ingress_to_web),
    (700, world_to_ingress),
    (900, scrape),
    (600, operator_to_api),
    (1_000, lookup_inside),
    (550, to_provider),
    (1_300, health_check),
    (260, metrics_of_nodes),
    (280, forward_lookup),
    (60, platform_to_world),
    (22, pull),
];

/// Once in so many acts, something is not let through that has not been for months.
const MISCONFIGURED_ONE_IN: u64 = 3_000;

/// Services outside that workloads use, by name, with their addresses.
const PROVIDERS: [(&str, &[&str]); 12] = [
    ("api.paywell.example", &["198.51.100.14", "198.51.100.15"]),
    ("events.metrica.example", &["203.0.113.71"]),
    ("ingest.logvault.example", &["203.0.113.90", "203.0.113.91"]),
    ("smtp-api.lettershop.example", &["198.51.100.33"]),
    ("storage.eu-2.cloudbarn.example", &["198.51.100.60", "198.51.100.61"]),
    ("geo.mapmaker.example", &["203.0.113.18"]),
    ("rates.exchangely.example", &["198.51.100.87"]),
    ("login.signpost.example", &["203.0.113.40", "203.0.113.41"]),
    ("hooks.chatline.example", &["203.0.113.112"]),
    ("api.parceltrack.example", &["198.51.100.141"]),
    ("search.indexhub.example", &["203.0.113.155"]),
    ("api.fraudscreen.example", &["198.51.100.172"]),
];

/// Of them, each workload uses this many.
const PROVIDERS_USED: u64 = 3;

/// Once in so many, a workload talks to one that it seldom uses.
const PROVIDER_SELDOM_ONE_IN: u64 = 900;

/// What operators talk to outside.
const PLATFORM_PEERS: [(&str, &str, &str); 4] = [
    ("kustomize-controller", "git.forgeyard.example", "198.51.100.201"),
    ("cert-manager", "acme.certbureau.example", "203.0.113.203"),
    ("cluster-autoscaler", "compute.eu-2.cloudbarn.example", "198.51.100.62"),
    ("prometheus-operator", "alerts.pagerhouse.example", "203.0.113.207"),
];

/// The domain of the cluster's services.
const SERVICES: &str = "svc.cluster.local";

const REGISTRY_ADDRESS: &str = "10.40.0.31";
const RESOLVERS: [&str; 2] = ["10.40.0.2", "10.40.0.3"];

/// Lets one thing happen.
pub(crate) fn act(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    const SUM: u64 = {
        let mut sum = 0;
        let mut n = 0;
        while n < ACTIVITIES.len() {
            sum += ACTIVITIES[n].0;
            n += 1;
        }
        sum
    };
    if wire.random.chance(1, MISCONFIGURED_ONE_IN) {
        return misconfigured_probe(cluster, wire, now);
    }
    let mut ticket = wire.random.below(SUM);
    for (share, activity) in &ACTIVITIES {
        if ticket < *share {
            return activity(cluster, wire, now);
        }
        ticket -= share;
    }
}

/// Where a connection goes, and what goes over it each time.
#[derive(Clone, Copy)]
struct Way<'w> {
    from: End<'w>,
    to: End<'w>,
    port: u64,
    /// Bytes, there and back, of one connection.
    size: [u64; 2],
    /// The longest time that one lasts.
    lasts: Micros,
}

/// Some connections of a kind, made in one moment by `by` if that is known.
fn go(cluster: &Cluster, wire: &mut Wire, at: Micros, way: &Way<'_>, most: u64, by: Option<Process<'_>>) {
    let count = several(wire, most);
    let [bytes_sent, bytes_received] = way.size.map(|size| amount(wire, size * count));
    let connect = Connect {
        from: way.from,
        to: way.to,
        source_port: 32_768 + wire.random.below(28_000),
        port: way.port,
        transport: if way.port == 53 { Transport::Udp } else { Transport::Tcp },
        verdict: Verdict::Forwarded,
        bytes_sent,
        bytes_received,
        count,
        lasts: wire.random.between(way.lasts / 20, way.lasts),
        by,
    };
    wire.connect(cluster, at, &connect, None);
}

/// A number from 1 to `most`: half of them are 1, and what is twice as much is half as frequent.
fn several(wire: &mut Wire, most: u64) -> u64 {
    let power = wire.random.next().leading_zeros().min(16);
    let low = (1 << power).min(most);
    (low + wire.random.below(low)).min(most)
}

/// About so many bytes; once in a while, several times as many.
fn amount(wire: &mut Wire, usual: u64) -> u64 {
    let bytes = usual / 2 + wire.random.below(usual);
    if wire.random.chance(1, 60) { bytes * (2 + wire.random.below(8)) } else { bytes }
}

/// One of the pods of a namespace's workload. The first replicas are asked for first.
fn replica<'c>(cluster: &'c Cluster, namespace: usize, workload: &str, nth: u64) -> Option<&'c Pod> {
    const KINDS: [&str; 3] = ["web", "queue", "db"];
    let name = cluster.namespaces.get(namespace)?;
    let fits = |pod: &&Pod| pod.workload == workload && pod.namespace == *name;
    // Where the cluster lays them out; if it does no more, they are looked for.
    let kind = KINDS.iter().position(|kind| *kind == workload)?;
    let own = cluster.pods.len().saturating_sub(cluster.operators.len());
    let replicas = own / (cluster.namespaces.len() * KINDS.len());
    let nth = if replicas == 0 { 0 } else { (nth % replicas as u64) as usize };
    let guess = cluster.pods.get((namespace * KINDS.len() + kind) * replicas + nth).filter(fits);
    guess.or_else(|| cluster.pods.iter().find(fits))
}

/// Any pod of a workload, with the number of its namespace. The first namespaces are the busier ones.
fn any<'c>(cluster: &'c Cluster, wire: &mut Wire, workload: &str) -> Option<(usize, &'c Pod)> {
    let count = cluster.namespaces.len() as u64;
    let namespace = wire.random.below(count).min(wire.random.below(count)) as usize;
    let nth = wire.random.next() >> 32;
    replica(cluster, namespace, workload, nth).map(|pod| (namespace, pod))
}

/// A pod of the platform. The cluster has them last.
fn operator<'c>(cluster: &'c Cluster, name: &str) -> Option<&'c Pod> {
    cluster.pods.iter().rev().find(|pod| pod.workload == name)
}

/// The first process of a web pod's container, which has run for some days.
fn main_of_web(pod: &Pod, now: Micros) -> Process<'_> {
    const RESTART_EVERY: Micros = 64 * DAY;
    let own = number_of(&[&pod.uid]);
    let restart = MONDAY_MORNING + (now - MONDAY_MORNING).div_euclid(RESTART_EVERY) * RESTART_EVERY;
    let started = restart - (own >> 32) as Micros % (9 * DAY) - SECOND;
    let argv = &["web", "--config=/etc/web/config.yaml"];
    Process { cwd: "/app", uid: 1_000, ..Process::contained(pod, 1_420 + own % 570, started, "/app/web", argv) }
}

fn web_to_database(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some((namespace, web)) = any(cluster, wire, "web") else { return };
    // What is written goes to the first; each pod reads from one of its own.
    let nth = if wire.random.chance(2, 5) { 0 } else { number_of(&[&web.uid]) >> 32 };
    let Some(database) = replica(cluster, namespace, "db", nth) else { return };
    let by = wire.random.chance(1, 20).then(|| main_of_web(web, now));
    let (from, to) = (End::Pod(web), End::Pod(database));
    go(cluster, wire, now, &Way { from, to, port: 5_432, size: [2_600, 14_000], lasts: 900_000 }, 64, by);
}

fn web_to_queue(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some((namespace, web)) = any(cluster, wire, "web") else { return };
    let Some(queue) = replica(cluster, namespace, "queue", number_of(&[&web.name]) >> 32) else { return };
    let (port, size, most) =
        if wire.random.chance(1, 3) { (5_672, [5_200, 900], 8) } else { (6_379, [700, 1_900], 128) };
    let by = wire.random.chance(1, 20).then(|| main_of_web(web, now));
    go(cluster, wire, now, &Way { from: End::Pod(web), to: End::Pod(queue), port, size, lasts: 300_000 }, most, by);
}

fn queue_to_database(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some((namespace, queue)) = any(cluster, wire, "queue") else { return };
    let Some(database) = replica(cluster, namespace, "db", 0) else { return };
    let (from, to) = (End::Pod(queue), End::Pod(database));
    go(cluster, wire, now, &Way { from, to, port: 5_432, size: [9_000, 3_500], lasts: 1_500_000 }, 32, None);
}

fn ingress_to_web(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let (Some(ingress), Some((_, web))) = (operator(cluster, "ingress-nginx"), any(cluster, wire, "web")) else {
        return;
    };
    let (from, to) = (End::Pod(ingress), End::Pod(web));
    go(cluster, wire, now, &Way { from, to, port: 8_080, size: [1_900, 26_000], lasts: 400_000 }, 256, None);
}

/// Visitors come through a content network, whose machines are few.
fn world_to_ingress(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    const EDGES: [&str; 8] = [
        "192.0.2.10",
        "192.0.2.11",
        "192.0.2.34",
        "192.0.2.35",
        "192.0.2.70",
        "192.0.2.71",
        "192.0.2.122",
        "192.0.2.123",
    ];
    let Some(ingress) = operator(cluster, "ingress-nginx") else { return };
    let ip = *wire.random.pick(&EDGES);
    let (from, to) = (End::Outside { ip, name: "" }, End::Pod(ingress));
    go(cluster, wire, now, &Way { from, to, port: 443, size: [3_000, 48_000], lasts: 2 * SECOND }, 128, None);
}

fn scrape(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some(from) = operator(cluster, "prometheus-operator").map(End::Pod) else { return };
    let target = wire.random.pick(&cluster.pods);
    let (port, received) = match target.workload.as_str() {
        "web" => (9_090, 31_000),
        "queue" => (8_080, 12_000),
        // Its exporter is not let through.
        "db" | "prometheus-operator" => return,
        "coredns" => (9_153, 22_000),
        _ => (8_080, 16_000),
    };
    let way = Way { from, to: End::Pod(target), port, size: [420, received], lasts: 60_000 };
    go(cluster, wire, now, &way, 1, None);
}

/// Somebody set up a probe of the databases' exporters, and nobody the policy that would let it through.
fn misconfigured_probe(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let namespace = wire.random.below(cluster.namespaces.len() as u64) as usize;
    let (Some(from), Some(to)) = (operator(cluster, "prometheus-operator"), replica(cluster, namespace, "db", 0))
    else {
        return;
    };
    let connect = Connect {
        from: End::Pod(from),
        to: End::Pod(to),
        source_port: 32_768 + wire.random.below(28_000),
        port: 9_187,
        transport: Transport::Tcp,
        verdict: Verdict::Dropped,
        bytes_sent: 180,
        bytes_received: 0,
        count: 3,
        lasts: 7 * SECOND,
        by: None,
    };
    wire.connect(cluster, now, &connect, None);
}

fn operator_to_api(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    const OPERATORS: [&str; 7] = [
        "cert-manager",
        "prometheus-operator",
        "ingress-nginx",
        "kustomize-controller",
        "coredns",
        "metrics-server",
        "cluster-autoscaler",
    ];
    let Some(pod) = operator(cluster, OPERATORS[wire.random.below(OPERATORS.len() as u64) as usize]) else { return };
    let (from, to) = (End::Pod(pod), End::ApiServer);
    go(cluster, wire, now, &Way { from, to, port: 443, size: [4_000, 36_000], lasts: 5 * SECOND }, 8, None);
}

fn health_check(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let pod = wire.random.pick(&cluster.pods);
    let port = match pod.workload.as_str() {
        "web" => 8_080,
        "queue" => 8_081,
        "db" => 5_432,
        "coredns" => 8_181,
        "ingress-nginx" => 10_254,
        _ => 8_443,
    };
    let way = Way { from: End::Node(pod.node), to: End::Pod(pod), port, size: [240, 310], lasts: 12_000 };
    go(cluster, wire, now, &way, 1, None);
}

/// The metrics server asks the kubelets.
fn metrics_of_nodes(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some(server) = operator(cluster, "metrics-server") else { return };
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    let (from, to) = (End::Pod(server), End::Node(node));
    go(cluster, wire, now, &Way { from, to, port: 10_250, size: [900, 42_000], lasts: 120_000 }, 1, None);
}

/// What the cluster's DNS does not know, it asks the network's.
fn forward_lookup(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some(server) = operator(cluster, "coredns") else { return };
    let ip = *wire.random.pick(&RESOLVERS);
    let (from, to) = (End::Pod(server), End::Outside { ip, name: "" });
    go(cluster, wire, now, &Way { from, to, port: 53, size: [80, 190], lasts: 40_000 }, 32, None);
}

fn platform_to_world(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let (name, host, ip) = *wire.random.pick(&PLATFORM_PEERS);
    let Some(pod) = operator(cluster, name) else { return };
    resolve(cluster, wire, now, pod, host, &[ip]);
    let (from, to) = (End::Pod(pod), End::Outside { ip, name: host });
    go(cluster, wire, now + 9_000, &Way { from, to, port: 443, size: [5_000, 90_000], lasts: 3 * SECOND }, 4, None);
}

/// A node fetches an image of one of its pods: the registry tells of it too.
fn pull(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let pod = wire.random.pick(&cluster.pods);
    let (from, to) = (End::Node(pod.node), End::Outside { ip: REGISTRY_ADDRESS, name: REGISTRY_HOST });
    go(cluster, wire, now, &Way { from, to, port: 443, size: [22_000, 64_000_000], lasts: 8 * SECOND }, 3, None);
    builds::pull_image(cluster, wire, now + 60_000, pod, None);
}

/// A pod of an application talks to one of the services outside that it was made to talk to.
fn to_provider(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let workload = if wire.random.chance(3, 4) { "web" } else { "queue" };
    let Some((_, pod)) = any(cluster, wire, workload) else { return };
    let own = number_of(&[&pod.namespace, "/", workload]);
    let count = PROVIDERS.len() as u64;
    let nth = if wire.random.chance(1, PROVIDER_SELDOM_ONE_IN) {
        wire.random.below(count)
    } else {
        // Neighbours in the list, the first of them most.
        let used = wire.random.below(PROVIDERS_USED).min(wire.random.below(PROVIDERS_USED));
        (own % count + used) % count
    };
    let Some((name, addresses)) = PROVIDERS.get(nth as usize) else { return };
    if wire.random.chance(1, 2) {
        resolve(cluster, wire, now, pod, name, addresses);
    }
    let ip = *wire.random.pick(addresses);
    let by = if workload == "web" && wire.random.chance(1, 8) { Some(main_of_web(pod, now)) } else { None };
    let (from, to) = (End::Pod(pod), End::Outside { ip, name });
    go(cluster, wire, now + 9_000, &Way { from, to, port: 443, size: [7_500, 11_000], lasts: 2 * SECOND }, 32, by);
}

/// A name outside is looked up, mostly after the resolver has tried it as one of the cluster's.
fn resolve(cluster: &Cluster, wire: &mut Wire, now: Micros, pod: &Pod, name: &str, addresses: &[&str]) {
    let mut at = now;
    if wire.random.chance(1, 3) {
        let mut tried = String::with_capacity(96);
        for (namespace, domain) in [(pod.namespace.as_str(), SERVICES), ("", SERVICES), ("", "cluster.local")] {
            tried.clear();
            tried.push_str(name);
            append(&mut tried, namespace, domain);
            let lookup = Lookup { from: pod, name: &tried, kind: "A", answers: &[], rcode: 3 };
            wire.lookup(cluster, at, &lookup, None);
            at += 1_100;
        }
    }
    let lookup = Lookup { from: pod, name, kind: "A", answers: addresses, rcode: 0 };
    wire.lookup(cluster, at, &lookup, None);
    if wire.random.chance(1, 2) {
        // There is none, which is no failure.
        wire.lookup(cluster, at + 30, &Lookup { kind: "AAAA", answers: &[], ..lookup }, None);
    }
}

/// Makes a name one of a domain of the cluster's, or of a namespace's in it.
fn append(name: &mut String, namespace: &str, domain: &str) {
    for part in [namespace, domain] {
        if !part.is_empty() {
            name.push('.');
            name.push_str(part);
        }
    }
}

/// A pod looks up a service, by its short name or with the namespace, which the resolver first takes for a service of its
/// own namespace.
fn lookup_inside(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    const USED: [(&str, &[&str]); 3] = [
        ("web", &["db", "queue", "queue", "db", "web"]),
        ("web", &["db", "queue", "queue", "db", "web"]),
        ("queue", &["db", "db", "queue"]),
    ];
    let (workload, services) = *wire.random.pick(&USED);
    let Some((namespace, pod)) = any(cluster, wire, workload) else { return };
    let service = *wire.random.pick(services);
    // Each namespace depends on the next one's web.
    let other = (namespace + 1) % cluster.namespaces.len();
    let of = if service == "web" { cluster.namespaces.get(other) } else { cluster.namespaces.get(namespace) };
    let Some(of) = of else { return };
    let mut name = String::with_capacity(96);
    let mut at = now;
    if service == "web" || wire.random.chance(1, 5) {
        name.push_str(service);
        name.push('.');
        name.push_str(of);
        append(&mut name, &pod.namespace, SERVICES);
        wire.lookup(cluster, at, &Lookup { from: pod, name: &name, kind: "A", answers: &[], rcode: 3 }, None);
        at += 900;
        name.clear();
    }
    name.push_str(service);
    append(&mut name, of, SERVICES);
    let mut address = String::with_capacity(16);
    let own = number_of(&[&name]);
    address.push_str("10.96.");
    number(&mut address, 1 + own % 250);
    address.push('.');
    number(&mut address, 1 + (own >> 16) % 250);
    let lookup = Lookup { from: pod, name: &name, kind: "A", answers: &[&address], rcode: 0 };
    wire.lookup(cluster, at, &lookup, None);
    if wire.random.chance(1, 3) {
        wire.lookup(cluster, at + 40, &Lookup { kind: "AAAA", answers: &[], ..lookup }, None);
    }
    if wire.random.chance(1, 4)
        && let Some(server) = operator(cluster, "coredns")
    {
        let (from, to) = (End::Pod(pod), End::Pod(server));
        go(cluster, wire, at + 60, &Way { from, to, port: 53, size: [90, 160], lasts: 5_000 }, 16, None);
    }
    if service == "web"
        && let Some(web) = replica(cluster, other, "web", number_of(&[&pod.uid]) >> 32)
    {
        let (from, to) = (End::Pod(pod), End::Pod(web));
        go(cluster, wire, at + 5_000, &Way { from, to, port: 8_080, size: [1_200, 6_000], lasts: 200_000 }, 16, None);
    }
}

#[cfg(test)]
mod tests;
