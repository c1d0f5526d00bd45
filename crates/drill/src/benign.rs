//! The cluster's ordinary life: what its components, people and programs do when nothing is wrong.
//!
//! Not here: when each of it happens (see `drill`). Among it are the benign twins of what an attacker does: denied
//! requests, listed secrets, tokens, shells in containers, a new role binding, a reader of the shadow file.

use palisade_events::time::{DAY, Micros, SECOND};

use crate::act::{Access, Login, Outcome, Parent, Place, Process, Terminal, Touch};
use crate::audit::{
    ACCESS_REVIEWS, AUTOSCALERS, Answer, CONFIG_MAPS, CRON_JOBS, DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, INGRESSES, JOBS,
    LEASES, NAMESPACES, NODES, PODS, REPLICA_SETS, ROLE_BINDINGS, Request, Resource, SECRETS, SERVICE_ACCOUNTS,
    SERVICES, TOKEN_REVIEWS,
};
use crate::body::{self, PodPower};
use crate::builds;
use crate::cluster::{CRONJOB_CONTROLLER, Cluster, JOB_CONTROLLER, Pod, REPLICASET_CONTROLLER};
use crate::falco::Alert;
use crate::record::Stream;
use crate::settings::Settings;
use crate::traffic;
use crate::wire::Wire;

type Activity = fn(&Cluster, &mut Wire, Micros);

/// What happens, with the stream that it is mostly seen in, and its share at office hours and outside of them. The mix
/// follows what API servers of small clusters report: leases, status reports and controllers' reads are most of it, people
/// are little.
const ACTIVITIES: [(Stream, u64, u64, Activity); 30] = [
    (Stream::K8sAudit, 1_400, 1_500, node_lease),
    (Stream::K8sAudit, 1_100, 1_200, component_lease),
    (Stream::K8sAudit, 170, 180, node_status),
    (Stream::K8sAudit, 380, 350, pod_status),
    (Stream::K8sAudit, 200, 200, watch),
    (Stream::K8sAudit, 1_450, 1_500, controller_read),
    (Stream::K8sAudit, 800, 800, controller_write),
    (Stream::K8sAudit, 1_050, 1_100, operator_read),
    (Stream::K8sAudit, 300, 300, review),
    (Stream::K8sAudit, 120, 120, kubelet_token),
    (Stream::K8sAudit, 350, 350, cluster_event),
    (Stream::K8sAudit, 500, 550, load_balancer_probe),
    (Stream::K8sAudit, 330, 12, developer_read),
    (Stream::K8sAudit, 45, 1, developer_logs),
    (Stream::K8sAudit, 110, 20, deployer_read),
    (Stream::K8sAudit, 5, 1, roll_out),
    (Stream::K8sAudit, 60, 60, conflict),
    (Stream::K8sAudit, 40, 30, not_found),
    (Stream::K8sAudit, 2, 0, developer_denied),
    (Stream::K8sAudit, 1, 0, legitimate_exec),
    (Stream::Auditd, 1_250, 1_300, system_exec),
    (Stream::Auditd, 120, 120, service_unit),
    (Stream::Auditd, 20, 20, cron_session),
    (Stream::Auditd, 12, 1, ssh_session),
    (Stream::Auditd, 8, 8, password_check),
    (Stream::Falco, 14, 14, falco_notice),
    (Stream::Falco, 4, 4, falco_metrics),
    (Stream::Tetragon, 3_000, 3_000, container_exec),
    (Stream::Hubble, 9_000, 7_000, traffic::act),
    (Stream::Docker, 60, 10, builds::act),
];

/// How often each activity happens, for the streams of a drill.
pub(crate) struct Mix {
    office: Shares,
    home: Shares,
}

/// Activities with the sum of the shares up to and including theirs.
struct Shares(Vec<(u64, Activity)>);

impl Mix {
    pub(crate) fn new(settings: &Settings) -> Self {
        // In 64ths, so that no float decides.
        let weight = |stream: Stream| {
            let given = settings.mix.iter().find(|(of, _)| *of == stream).map_or(1.0, |(_, weight)| *weight);
            if given.is_finite() { (given.clamp(0.0, 1_000.0) * 64.0) as u64 } else { 64 }
        };
        let has = |stream: Stream| settings.streams.contains(&stream);
        let shares = |share: fn(&(Stream, u64, u64, Activity)) -> u64| {
            let mut sum = 0;
            let mut rows = Vec::new();
            for row in &ACTIVITIES {
                let stream = match row.0 {
                    Stream::Hubble if !has(Stream::Hubble) => Stream::Calico,
                    Stream::Docker if !has(Stream::Docker) => Stream::Registry,
                    Stream::Auditd if !has(Stream::Auditd) => Stream::Tetragon,
                    stream => stream,
                };
                if has(stream) && weight(stream) * share(row) > 0 {
                    sum += weight(stream) * share(row);
                    rows.push((sum, row.3));
                }
            }
            Shares(rows)
        };
        Self { office: shares(|row| row.1), home: shares(|row| row.2) }
    }

    /// Lets one thing happen.
    pub(crate) fn act(&self, cluster: &Cluster, wire: &mut Wire, now: Micros) {
        let Shares(rows) = if is_office_hour(now) { &self.office } else { &self.home };
        let Some((sum, _)) = rows.last() else { return };
        let ticket = wire.random.below(*sum);
        if let Some((_, activity)) = rows.get(rows.partition_point(|(sum, _)| *sum <= ticket)) {
            activity(cluster, wire, now);
        }
    }
}

/// How busy the cluster is at a time, from 0 to 1: by hour of the day (UTC), between hours in proportion.
pub(crate) fn busyness(now: Micros) -> f64 {
    const BY_HOUR: [f64; 24] = [
        0.45, 0.42, 0.40, 0.40, 0.41, 0.45, 0.55, 0.72, 0.92, 1.0, 1.0, 0.97, 0.90, 0.96, 1.0, 0.98, 0.92, 0.85, 0.75,
        0.68, 0.62, 0.56, 0.51, 0.48,
    ];
    let hour = now.rem_euclid(DAY) / (3_600 * SECOND);
    let past = now.rem_euclid(3_600 * SECOND) as f64 / (3_600 * SECOND) as f64;
    let at = |hour: i64| BY_HOUR[(hour % 24) as usize];
    let weekend = if is_weekend(now) { 0.7 } else { 1.0 };
    (at(hour) + (at(hour + 1) - at(hour)) * past) * weekend
}

fn is_office_hour(now: Micros) -> bool {
    (7 * 3_600..18 * 3_600).contains(&(now.rem_euclid(DAY) / SECOND)) && !is_weekend(now)
}

/// 1970-01-01 was a Thursday.
fn is_weekend(now: Micros) -> bool {
    matches!(now.div_euclid(DAY).rem_euclid(7), 2 | 3)
}

fn node_lease(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.pick(&cluster.nodes);
    let request = Request::new(&node.kubelet, "update", LEASES, "kube-node-lease", &node.name);
    wire.request(now, &Request { query: "timeout=10s", ..request }, None);
}

fn component_lease(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let (actor, name) = match wire.random.below(4) {
        0 => (&cluster.scheduler, "kube-scheduler"),
        1 => (&cluster.operators[3], "kustomize-controller-leader-election"),
        _ => (&cluster.controller_manager, "kube-controller-manager"),
    };
    let verb = if wire.random.chance(1, 2) { "get" } else { "update" };
    wire.request(now, &Request { query: "timeout=5s", ..Request::new(actor, verb, LEASES, "kube-system", name) }, None);
}

fn node_status(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.pick(&cluster.nodes);
    let patch = body::node_status(wire, node, now);
    let request = Request::new(&node.kubelet, "patch", NODES, "", &node.name);
    wire.request(
        now,
        &Request { subresource: "status", query: "timeout=10s", request_object: &patch, ..request },
        None,
    );
}

fn pod_status(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let pod = wire.random.pick(&cluster.pods);
    report_pod(cluster, wire, now, pod);
}

fn report_pod(cluster: &Cluster, wire: &mut Wire, now: Micros, pod: &Pod) {
    let node = cluster.node_of(pod);
    let patch = body::pod_status(wire, pod, &node.ip, now);
    let request = Request::new(&node.kubelet, "patch", PODS, &pod.namespace, &pod.name);
    wire.request(now, &Request { subresource: "status", request_object: &patch, ..request }, None);
}

fn watch(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let resource =
        *wire.random.pick(&[PODS, CONFIG_MAPS, SECRETS, SERVICES, ENDPOINT_SLICES, DEPLOYMENTS, NODES, INGRESSES]);
    let actor = match wire.random.below(3) {
        0 => &wire.random.pick(&cluster.nodes).kubelet,
        1 => wire.random.pick(&cluster.operators),
        _ => &cluster.controller_manager,
    };
    let version = wire.next_version();
    let lasts = wire.random.between(300 * SECOND, 600 * SECOND);
    let query = format!(
        "allowWatchBookmarks=true&resourceVersion={version}&timeout=9m36s&timeoutSeconds={}&watch=true",
        lasts / SECOND
    );
    let request = Request { query: &query, ..Request::new(actor, "watch", resource, "", "") };
    if wire.is_crowded() {
        wire.request(now, &request, None);
    } else {
        wire.session(now, lasts, &request, None);
    }
}

fn controller_read(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let actor = wire.random.pick(&cluster.controllers);
    let namespace = wire.random.pick(&cluster.namespaces);
    let (resource, name) = *wire.random.pick(&[
        (DEPLOYMENTS, "web"),
        (DEPLOYMENTS, "queue"),
        (REPLICA_SETS, "web-7c9d8f6b5"),
        (ENDPOINT_SLICES, "web-x2k7p"),
        (AUTOSCALERS, "web"),
        (SERVICE_ACCOUNTS, "default"),
        (CONFIG_MAPS, "kube-root-ca.crt"),
    ]);
    wire.request(now, &Request::new(actor, "get", resource, namespace, name), None);
}

fn controller_write(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let actor = wire.random.pick(&cluster.controllers);
    let namespace = wire.random.pick(&cluster.namespaces);
    let (resource, name, subresource) = *wire.random.pick(&[
        (DEPLOYMENTS, "web", "status"),
        (REPLICA_SETS, "web-7c9d8f6b5", "status"),
        (ENDPOINT_SLICES, "web-x2k7p", ""),
        (AUTOSCALERS, "web", "status"),
        (JOBS, "nightly-report", "status"),
    ]);
    wire.request(now, &Request { subresource, ..Request::new(actor, "update", resource, namespace, name) }, None);
}

fn operator_read(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let which = wire.random.below(cluster.operators.len() as u64) as usize;
    let namespace = wire.random.pick(&cluster.namespaces);
    // Each reads what its kind reads; cert-manager, by its nature, secrets.
    let (verb, resource, name) = match which {
        0 => *wire.random.pick(&[("get", SECRETS, "web-tls"), ("list", SECRETS, ""), ("get", INGRESSES, "web")]),
        1 => *wire.random.pick(&[("list", SERVICES, ""), ("get", CONFIG_MAPS, "prometheus-rules"), ("list", PODS, "")]),
        2 => *wire.random.pick(&[("get", SECRETS, "web-tls"), ("get", SERVICES, "web"), ("list", ENDPOINT_SLICES, "")]),
        3 => *wire.random.pick(&[
            ("get", DEPLOYMENTS, "web"),
            ("get", CONFIG_MAPS, "web"),
            ("patch", DEPLOYMENTS, "queue"),
        ]),
        _ => *wire.random.pick(&[("list", PODS, ""), ("list", SERVICES, ""), ("list", NAMESPACES, "")]),
    };
    let namespace = if resource.2 == NAMESPACES.2 { "" } else { namespace };
    let query = if verb == "list" { "limit=500&resourceVersion=0" } else { "" };
    wire.request(
        now,
        &Request { query, ..Request::new(&cluster.operators[which], verb, resource, namespace, name) },
        None,
    );
}

fn review(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let resource = *wire.random.pick(&[TOKEN_REVIEWS, ACCESS_REVIEWS]);
    let actor = match wire.random.below(2) {
        0 => &wire.random.pick(&cluster.nodes).kubelet,
        _ => wire.random.pick(&cluster.operators),
    };
    wire.request(now, &Request { answer: Answer::Code(201), ..Request::new(actor, "create", resource, "", "") }, None);
}

/// A kubelet fetches the token that it mounts into a pod.
fn kubelet_token(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let pod = wire.random.pick(&cluster.pods);
    let actor = &cluster.node_of(pod).kubelet;
    let asked = body::token_request(3_607);
    let request = Request::new(actor, "create", SERVICE_ACCOUNTS, &pod.namespace, &pod.account);
    let answer = Answer::Code(201);
    wire.request(now, &Request { subresource: "token", answer, request_object: &asked, ..request }, None);
}

fn cluster_event(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let pod = wire.random.pick(&cluster.pods);
    let actor = match wire.random.below(3) {
        0 => &cluster.scheduler,
        1 => wire.random.pick(&cluster.controllers),
        _ => &cluster.node_of(pod).kubelet,
    };
    let name = format!("{}.{:016x}", pod.name, wire.random.next() >> 4);
    let answer = Answer::Code(201);
    wire.request(now, &Request { answer, ..Request::new(actor, "create", EVENTS, &pod.namespace, &name) }, None);
}

fn load_balancer_probe(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let path = *wire.random.pick(&["/healthz", "/readyz", "/livez"]);
    wire.probe(now, &cluster.probe, path);
}

fn developer_read(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let actor = wire.random.pick(&cluster.developers);
    let namespace = wire.random.pick(&cluster.namespaces);
    let (verb, resource, name, query) = *wire.random.pick(&[
        ("list", PODS, "", "limit=500"),
        ("list", DEPLOYMENTS, "", "limit=500"),
        ("get", DEPLOYMENTS, "web", ""),
        ("list", EVENTS, "", "fieldSelector=involvedObject.kind=Pod&limit=500"),
        ("get", CONFIG_MAPS, "web", ""),
        ("list", SERVICES, "", "limit=500"),
        ("watch", PODS, "", "timeoutSeconds=60&watch=true"),
    ]);
    let request = Request { query, ..Request::new(actor, verb, resource, namespace, name) };
    if verb == "watch" && !wire.is_crowded() {
        wire.session(now, 60 * SECOND, &request, None);
    } else {
        wire.request(now, &request, None);
    }
}

fn developer_logs(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let actor = wire.random.pick(&cluster.developers);
    let pod = wire.random.pick(&cluster.pods);
    let query = format!("container={}&tailLines=200", pod.container);
    let request = Request::new(actor, "get", PODS, &pod.namespace, &pod.name);
    wire.request(now, &Request { subresource: "log", query: &query, ..request }, None);
}

fn deployer_read(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let namespace = wire.random.pick(&cluster.namespaces);
    let (verb, resource, name) =
        *wire.random.pick(&[("get", DEPLOYMENTS, "web"), ("list", PODS, ""), ("get", DEPLOYMENTS, "queue")]);
    wire.request(now, &Request::new(&cluster.deployer, verb, resource, namespace, name), None);
}

/// The deployer changes an image, and the controllers, the scheduler and the kubelets follow within a minute.
fn roll_out(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let namespace = wire.random.pick(&cluster.namespaces);
    let Some(first) = cluster.pods.iter().find(|pod| pod.namespace == *namespace && pod.workload == "web") else {
        return;
    };
    let patch = body::image_patch(first, &format!("1.{}.{}", 43 + wire.random.below(9), wire.random.below(30)));
    let request = Request::new(&cluster.deployer, "patch", DEPLOYMENTS, namespace, "web");
    let query = "fieldManager=kubectl-set";
    wire.request(now, &Request { query, request_object: &patch, ..request }, None);
    let controller = &cluster.controllers[0];
    let answer = Answer::Code(201);
    let request = Request::new(controller, "create", REPLICA_SETS, namespace, "web-7c9d8f6b5");
    wire.request(now + SECOND / 4, &Request { answer, ..request }, None);
    let pods = cluster.pods.iter().filter(|pod| pod.namespace == *namespace && pod.workload == "web");
    for (nth, pod) in (1..).zip(pods.take(20)) {
        let at = now + nth * 2 * SECOND;
        start_pod(cluster, wire, at, REPLICASET_CONTROLLER, pod);
        let request = Request::new(&cluster.controllers[REPLICASET_CONTROLLER], "delete", PODS, namespace, &pod.name);
        wire.request(at + SECOND, &request, None);
    }
}

/// A controller makes a pod, the scheduler binds it, its kubelet reports it.
fn start_pod(cluster: &Cluster, wire: &mut Wire, at: Micros, controller: usize, pod: &Pod) {
    let sent = body::pod(wire, pod, &PodPower::Ordinary, None);
    let stored = body::pod(wire, pod, &PodPower::Ordinary, Some(at));
    let answer = Answer::Code(201);
    let request = Request::new(&cluster.controllers[controller], "create", PODS, &pod.namespace, &pod.name);
    wire.request(at, &Request { answer, request_object: &sent, response_object: &stored, ..request }, None);
    let request = Request::new(&cluster.scheduler, "create", PODS, &pod.namespace, &pod.name);
    wire.request(at + SECOND / 10, &Request { answer, subresource: "binding", ..request }, None);
    report_pod(cluster, wire, at + SECOND, pod);
}

fn conflict(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let actor = wire.random.pick(&cluster.controllers);
    let namespace = wire.random.pick(&cluster.namespaces);
    let request = Request::new(actor, "update", DEPLOYMENTS, namespace, "web");
    wire.request(now, &Request { subresource: "status", answer: Answer::Conflict, ..request }, None);
}

fn not_found(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let actor = wire.random.pick(&cluster.operators);
    let namespace = wire.random.pick(&cluster.namespaces);
    let (resource, name): (Resource, &str) =
        *wire.random.pick(&[(SECRETS, "web-tls-next"), (CONFIG_MAPS, "feature-flags")]);
    wire.request(
        now,
        &Request { answer: Answer::NotFound, ..Request::new(actor, "get", resource, namespace, name) },
        None,
    );
}

fn developer_denied(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let actor = wire.random.pick(&cluster.developers);
    let (resource, namespace) =
        *wire.random.pick(&[(SECRETS, "kube-system"), (NODES, ""), (ROLE_BINDINGS, "monitoring")]);
    wire.request(
        now,
        &Request { answer: Answer::Forbidden, ..Request::new(actor, "list", resource, namespace, "") },
        None,
    );
}

/// A developer looks into a container of the web workload, for a minute or so.
pub(crate) fn legitimate_exec(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let web: Vec<&Pod> = cluster.pods.iter().filter(|pod| pod.workload == "web").collect();
    let pod = *wire.random.pick(&web);
    let actor = wire.random.pick(&cluster.developers);
    let query = format!("command=sh&container={}&stdin=true&stdout=true&tty=true", pod.container);
    let request = Request::new(actor, "create", PODS, &pod.namespace, &pod.name);
    let answer = Answer::Code(101);
    let lasts = wire.random.between(20 * SECOND, 90 * SECOND);
    wire.session(now, lasts, &Request { subresource: "exec", query: &query, answer, ..request }, None);
    let shell = Process { terminal: Terminal::Attached, ..contained(wire, pod, now + 40_000, "/bin/sh", &["sh"]) };
    wire.launch(cluster, &shell, lasts, None);
    let parent = Parent { pid: shell.pid, exe: "/bin/sh", arguments: "", started: shell.started };
    let looked = Process {
        parent,
        terminal: Terminal::Attached,
        ..contained(wire, pod, now + SECOND, "/bin/ls", &["ls", "-l", "/app"])
    };
    wire.launch(cluster, &looked, SECOND / 50, None);
}

/// A program in a pod's container.
fn contained<'p>(wire: &mut Wire, pod: &'p Pod, started: Micros, exe: &'p str, argv: &'p [&'p str]) -> Process<'p> {
    Process::contained(pod, wire.next_pid(pod.node), started, exe, argv)
}

/// What runs in containers by itself: probes, and what workloads call.
fn container_exec(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    const PROGRAMS: [(&str, &str, &[&str]); 9] = [
        ("db", "/usr/bin/pg_isready", &["pg_isready", "-U", "postgres", "-h", "127.0.0.1"]),
        ("db", "/usr/bin/psql", &["psql", "-U", "postgres", "-Atc", "select 1"]),
        ("db", "/bin/sh", &["sh", "-c", "exec pg_isready -U postgres"]),
        ("web", "/app/healthcheck", &["/app/healthcheck", "--url", "http://127.0.0.1:8080/healthz"]),
        ("web", "/usr/bin/node", &["node", "/app/jobs/refresh.js"]),
        ("queue", "/opt/queue/healthcheck", &["/opt/queue/healthcheck"]),
        ("queue", "/usr/bin/python3", &["python3", "-m", "consumer.worker", "--batch", "50"]),
        ("queue", "/bin/sh", &["sh", "-c", "/opt/queue/healthcheck"]),
        ("coredns", "/coredns", &["/coredns", "-conf", "/etc/coredns/Corefile"]),
    ];
    let pod = wire.random.pick(&cluster.pods);
    let fitting = PROGRAMS.iter().filter(|(workload, ..)| *workload == pod.workload).count() as u64;
    let nth = wire.random.below(fitting) as usize;
    let mut fitting = PROGRAMS.iter().filter(|(workload, ..)| *workload == pod.workload);
    let Some((_, exe, argv)) = fitting.nth(nth) else { return };
    let lasts = wire.random.between(2_000, 90_000);
    let process =
        Process { uid: if pod.workload == "db" { 999 } else { 1_000 }, ..contained(wire, pod, now, exe, argv) };
    wire.launch(cluster, &process, lasts, None);
}

/// A program that runs on a node itself. Gives its process id.
fn on_node(
    cluster: &Cluster,
    wire: &mut Wire,
    at: Micros,
    node: usize,
    (exe, argv, cwd): (&str, &[&str], &str),
    login: Login<'_>,
    ppid: u64,
) -> u64 {
    let exe_of_parent = if ppid < 800 { "/usr/sbin/cron" } else { "/usr/bin/kubelet" };
    let parent = Parent { pid: ppid, exe: exe_of_parent, arguments: "", started: at - 3_600 * SECOND };
    let terminal = if matches!(login, Login::None) { Terminal::None } else { Terminal::Attached };
    let pid = wire.next_pid(node);
    let place = Place::Node(node);
    let process = Process { place, pid, exe, argv, cwd, uid: 0, login, terminal, parent, started: at };
    let lasts = wire.random.between(1_000, 60_000);
    wire.launch(cluster, &process, lasts, None);
    pid
}

/// An administrator lets a developer look at a namespace.
pub(crate) fn view_binding(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let namespace = wire.random.pick(&cluster.namespaces);
    let developer = wire.random.pick(&cluster.developers);
    let name = "developer-view";
    let sent = body::binding(namespace, name, "view", ("User", "", &developer.username));
    let request = Request::new(&cluster.admin, "create", ROLE_BINDINGS, namespace, name);
    let (query, answer) = ("fieldManager=kubectl-create&fieldValidation=Strict", Answer::Code(201));
    wire.request(now, &Request { query, answer, request_object: &sent, response_object: &sent, ..request }, None);
}

/// What is due every few minutes: a job in each namespace, and the nodes' own.
pub(crate) fn scheduled_work(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let answer = Answer::Code(201);
    for (nth, namespace) in (0..).zip(&cluster.namespaces) {
        let at = now + nth * SECOND / 5;
        let name = format!("sync-{}", now.div_euclid(60 * SECOND));
        let request = Request::new(&cluster.controllers[CRONJOB_CONTROLLER], "create", JOBS, namespace, &name);
        wire.request(at, &Request { answer, ..request }, None);
        let request = Request::new(&cluster.controllers[CRONJOB_CONTROLLER], "update", CRON_JOBS, namespace, "sync");
        wire.request(at + SECOND, &Request { subresource: "status", ..request }, None);
        if let Some(pod) = cluster.pods.iter().find(|pod| pod.namespace == *namespace) {
            start_pod(cluster, wire, at + SECOND / 2, JOB_CONTROLLER, pod);
        }
    }
    for node in 0..cluster.nodes.len() {
        let at = now + wire.random.between(0, SECOND / 20);
        cron_on(cluster, wire, at, node);
    }
}

fn system_exec(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    const PROGRAMS: [(&str, &[&str]); 12] = [
        ("/usr/sbin/iptables", &["iptables", "-w", "5", "-t", "nat", "-C", "POSTROUTING", "-m", "comment"]),
        ("/usr/sbin/iptables-restore", &["iptables-restore", "-w", "5", "--noflush", "--counters"]),
        ("/usr/bin/runc", &["runc", "--root", "/run/containerd/runc/k8s.io", "--log-format", "json", "state"]),
        ("/usr/bin/containerd-shim-runc-v2", &["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "start"]),
        ("/usr/sbin/ipset", &["ipset", "list", "-name"]),
        ("/usr/bin/nsenter", &["nsenter", "--net=/proc/1/ns/net", "ip", "route"]),
        ("/usr/sbin/conntrack", &["conntrack", "-S"]),
        ("/usr/bin/mount", &["mount", "-t", "tmpfs", "-o", "size=268435456", "tmpfs", "/var/lib/kubelet/pods/token"]),
        ("/usr/bin/umount", &["umount", "/var/lib/kubelet/pods/token"]),
        ("/usr/bin/du", &["du", "-s", "-B", "1", "/var/log/pods"]),
        ("/usr/bin/systemctl", &["systemctl", "is-active", "containerd"]),
        ("/usr/bin/pg_isready", &["pg_isready", "-U", "postgres"]),
    ];
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    let (exe, argv) = *wire.random.pick(&PROGRAMS);
    let ppid = 900 + wire.random.below(40);
    on_node(cluster, wire, now, node, (exe, argv, "/"), Login::None, ppid);
}

fn service_unit(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    let unit =
        *wire.random.pick(&["systemd-tmpfiles-clean", "logrotate", "fstrim", "apt-daily", "man-db", "sysstat-collect"]);
    let kind = *wire.random.pick(&["SERVICE_START", "SERVICE_STOP"]);
    let message = format!(
        "unit={unit} comm=\"systemd\" exe=\"/usr/lib/systemd/systemd\" hostname=? addr=? terminal=? res=success"
    );
    wire.user_record(cluster, now, node, kind, Login::None, &message);
}

fn cron_session(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    cron_on(cluster, wire, now, node);
}

fn cron_on(cluster: &Cluster, wire: &mut Wire, now: Micros, node: usize) {
    let pam = |op: &str, grantors: &str| {
        format!(
            "op=PAM:{op} grantors={grantors} acct=\"root\" exe=\"/usr/sbin/cron\" hostname=? addr=? terminal=cron res=success"
        )
    };
    wire.user_record(cluster, now, node, "USER_ACCT", Login::None, &pam("accounting", "pam_permit"));
    wire.user_record(cluster, now, node, "CRED_ACQ", Login::None, &pam("setcred", "pam_permit"));
    let ppid = 700 + wire.random.below(9);
    let login = Login::None;
    let argv: &[&str] = &["/bin/sh", "-c", "command -v debian-sa1 > /dev/null && debian-sa1 1 1"];
    let ppid = on_node(cluster, wire, now + 2_000, node, ("/usr/bin/dash", argv, "/root"), login, ppid);
    let argv: &[&str] = &["/bin/sh", "/usr/lib/sysstat/debian-sa1", "1", "1"];
    on_node(cluster, wire, now + 5_000, node, ("/usr/bin/dash", argv, "/root"), login, ppid);
    wire.user_record(cluster, now + 20_000, node, "CRED_DISP", Login::None, &pam("setcred", "pam_permit"));
}

/// An administrator logs in to a node and looks around.
fn ssh_session(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    let session = 400 + wire.random.below(4_000);
    let login = Login::Person(1_000, "sam", "pts0", session);
    let message =
        "op=login id=1000 exe=\"/usr/sbin/sshd\" hostname=10.60.3.11 addr=10.60.3.11 terminal=ssh res=success";
    wire.user_record(cluster, now, node, "USER_LOGIN", login, message);
    let ppid = 3_000 + wire.random.below(2_000);
    let (exe, argv): (&str, &[&str]) = *wire.random.pick(&[
        ("/usr/bin/journalctl", &["journalctl", "-u", "kubelet", "--since", "-10m"] as &[&str]),
        ("/usr/bin/crictl", &["crictl", "ps", "-a"]),
        ("/usr/bin/df", &["df", "-h"]),
        ("/usr/bin/sudo", &["sudo", "systemctl", "status", "kubelet"]),
    ]);
    on_node(cluster, wire, now + 30_000, node, (exe, argv, "/home/sam"), login, ppid);
}

/// The password helper reads the shadow file, as it must.
fn password_check(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    let ppid = 700 + wire.random.below(9);
    let by = Process {
        place: Place::Node(node),
        pid: wire.next_pid(node),
        exe: "/usr/sbin/unix_chkpwd",
        argv: &["/usr/sbin/unix_chkpwd", "root", "chkexpiry"],
        cwd: "/",
        uid: 0,
        login: Login::None,
        terminal: Terminal::None,
        parent: Parent { pid: ppid, exe: "/usr/sbin/cron", arguments: "-f", started: now - 3_600 * SECOND },
        started: now,
    };
    let (access, outcome) = (Access::Read, Outcome::Success);
    wire.touch(cluster, now, &Touch { by, path: "/etc/shadow", access, outcome }, None);
}

fn falco_notice(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    // Of a connection, what follows the pod's address.
    const NOTICES: [Alert<'static>; 3] = [
        Alert {
            rule: "Contact K8S API Server From Container",
            priority: "Notice",
            sentence: "Unexpected connection to K8s API Server from container",
            tags: &["T1565", "container", "k8s", "maturity_stable", "mitre_discovery", "network"],
            syscall: "connect",
            exe: "/app/web",
            command: "web --config=/etc/web/config.yaml",
            parent: "containerd-shim",
            tty: 0,
            fd: ":48210->10.96.0.1:443",
        },
        Alert {
            rule: "Run shell untrusted",
            priority: "Notice",
            sentence: "Shell spawned by untrusted binary",
            tags: &["T1059.004", "container", "host", "maturity_stable", "mitre_execution", "process", "shell"],
            syscall: "execve",
            exe: "/bin/sh",
            command: "sh -c /opt/queue/healthcheck",
            parent: "httpd",
            tty: 0,
            fd: "",
        },
        Alert {
            rule: "Redirect STDOUT/STDIN to Network Connection in Container",
            priority: "Notice",
            sentence: "Redirect stdout/stdin to network connection",
            tags: &["T1059", "container", "maturity_stable", "mitre_execution", "network", "process"],
            syscall: "dup3",
            exe: "/usr/bin/socat",
            command: "socat TCP-LISTEN:9999,fork STDOUT",
            parent: "consumer",
            tty: 0,
            fd: ":9999->10.244.1.17:52110",
        },
    ];
    let notice = wire.random.pick(&NOTICES);
    let workload = if notice.exe == "/app/web" { "web" } else { "queue" };
    let pods: Vec<&Pod> = cluster.pods.iter().filter(|pod| pod.workload == workload).collect();
    let pod = *wire.random.pick(&pods);
    let fd = if notice.fd.is_empty() { String::new() } else { [&pod.ip, notice.fd].concat() };
    wire.alert(cluster, now, Place::Pod(pod), &Alert { fd: &fd, ..*notice }, None);
}

fn falco_metrics(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    wire.falco_metrics(cluster, now, node);
}
