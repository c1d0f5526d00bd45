//! The cluster's ordinary life: what its components, people and programs do when nothing is wrong.
//!
//! Not here: when each of it happens (see `drill`). Among it are the benign twins of what an attacker does: denied
//! requests, listed secrets, tokens, shells in containers, a new role binding, a reader of the shadow file.

use palisade_events::time::{DAY, Micros, SECOND};

use crate::audit::{
    ACCESS_REVIEWS, AUTOSCALERS, Answer, CONFIG_MAPS, CRON_JOBS, DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, INGRESSES, JOBS,
    LEASES, NAMESPACES, NODES, PODS, REPLICA_SETS, ROLE_BINDINGS, Request, Resource, SECRETS, SERVICE_ACCOUNTS,
    SERVICES, TOKEN_REVIEWS,
};
use crate::auditd::{Exec, Login, Open};
use crate::body::{self, PodPower};
use crate::cluster::{CRONJOB_CONTROLLER, Cluster, JOB_CONTROLLER, Pod, REPLICASET_CONTROLLER};
use crate::falco::{Alert, Place};
use crate::wire::Wire;

type Activity = fn(&Cluster, &mut Wire, Micros);

/// What happens, with its share at office hours and outside of them. The mix follows what API servers of small clusters
/// report: leases, status reports and controllers' reads are most of it, people are little.
const ACTIVITIES: [(u64, u64, Activity); 27] = [
    (1_400, 1_500, node_lease),
    (1_100, 1_200, component_lease),
    (170, 180, node_status),
    (380, 350, pod_status),
    (200, 200, watch),
    (1_450, 1_500, controller_read),
    (800, 800, controller_write),
    (1_050, 1_100, operator_read),
    (300, 300, review),
    (120, 120, kubelet_token),
    (350, 350, cluster_event),
    (500, 550, load_balancer_probe),
    (330, 12, developer_read),
    (45, 1, developer_logs),
    (110, 20, deployer_read),
    (5, 1, roll_out),
    (60, 60, conflict),
    (40, 30, not_found),
    (2, 0, developer_denied),
    (1, 0, legitimate_exec),
    (1_250, 1_300, system_exec),
    (120, 120, service_unit),
    (20, 20, cron_session),
    (12, 1, ssh_session),
    (8, 8, password_check),
    (14, 14, falco_notice),
    (4, 4, falco_metrics),
];

/// Lets one thing happen.
pub(crate) fn act(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let office = is_office_hour(now);
    let share = |row: &(u64, u64, Activity)| if office { row.0 } else { row.1 };
    let mut ticket = wire.random.below(ACTIVITIES.iter().map(share).sum());
    for row in &ACTIVITIES {
        if ticket < share(row) {
            return row.2(cluster, wire, now);
        }
        ticket -= share(row);
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
    let sent = body::pod(wire, pod, PodPower::Ordinary, None);
    let stored = body::pod(wire, pod, PodPower::Ordinary, Some(at));
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
    wire.alert(cluster, now + 40_000, Place::Pod(pod), &TERMINAL_SHELL, None);
}

/// The rule fires for an attacker's shell as it does for a developer's.
pub(crate) const TERMINAL_SHELL: Alert<'static> = Alert {
    rule: "Terminal shell in container",
    priority: "Notice",
    sentence: "A shell was spawned in a container with an attached terminal",
    tags: &["T1059", "container", "maturity_stable", "mitre_execution", "shell"],
    syscall: "execve",
    exe: "/bin/sh",
    command: "sh",
    parent: "containerd-shim",
    tty: 34_816,
    fd: "",
};

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
    wire.exec(cluster, now, node, &Exec { argv, exe, cwd: "/", ppid, login: Login::None, key: "exec" }, None);
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
    let ppid = wire.exec(
        cluster,
        now + 2_000,
        node,
        &Exec { argv, exe: "/usr/bin/dash", cwd: "/root", ppid, login, key: "exec" },
        None,
    );
    let argv: &[&str] = &["/bin/sh", "/usr/lib/sysstat/debian-sa1", "1", "1"];
    wire.exec(
        cluster,
        now + 5_000,
        node,
        &Exec { argv, exe: "/usr/bin/dash", cwd: "/root", ppid, login, key: "exec" },
        None,
    );
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
    wire.exec(cluster, now + 30_000, node, &Exec { argv, exe, cwd: "/home/sam", ppid, login, key: "exec" }, None);
}

/// The password helper reads the shadow file, as it must.
fn password_check(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = wire.random.below(cluster.nodes.len() as u64) as usize;
    let ppid = 700 + wire.random.below(9);
    let (exe, command) = ("/usr/sbin/unix_chkpwd", "/usr/sbin/unix_chkpwd\0root\0chkexpiry");
    wire.open(
        cluster,
        now,
        node,
        &Open { path: "/etc/shadow", exe, command, ppid, login: Login::None, key: "identity" },
        None,
    );
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
