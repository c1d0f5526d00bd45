//! Who and what there is in the cluster: nodes, pods, and the users and controllers that talk to its API.
//!
//! Not here: what they do (see `benign` and `attack`). Everything is fixed when the drill begins; names, addresses and
//! ids come from the seed, and what an audit event repeats about its actor is rendered once.

use std::fmt::Write as _;

use crate::random::Random;
use crate::settings::Settings;
use crate::text::{go_json, hex, suffix, uuid};

/// Kubernetes version of the cluster, as its components name it in their user agents.
const VERSION: &str = "v1.34.2 (linux/amd64) kubernetes/8cc511e";

/// Somebody who sends requests to the API server.
#[derive(Clone)]
pub(crate) struct Actor {
    pub(crate) username: String,
    /// `"user":{…}`.
    pub(crate) user: String,
    pub(crate) ip: String,
    pub(crate) agent: String,
    /// `,"sourceIPs":[…],"userAgent":"…"`.
    pub(crate) origin: String,
    /// Why the API server lets requests through: the value of the annotation, escaped.
    pub(crate) reason: String,
    /// Which API server it is connected to.
    pub(crate) server: usize,
}

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) ip: String,
    pub(crate) kubelet: Actor,
}

/// A container image, by digest.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
}

#[derive(Clone)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) workload: String,
    pub(crate) container: String,
    pub(crate) image: Image,
    pub(crate) account: String,
    pub(crate) uid: String,
    pub(crate) ip: String,
    pub(crate) container_id: String,
    /// Index of its node.
    pub(crate) node: usize,
}

pub(crate) struct Cluster {
    pub(crate) namespaces: Vec<String>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) controller_manager: Actor,
    pub(crate) scheduler: Actor,
    /// Controllers of the control plane, each under an account of its own.
    pub(crate) controllers: Vec<Actor>,
    /// Operators that run in pods.
    pub(crate) operators: Vec<Actor>,
    pub(crate) deployer: Actor,
    pub(crate) developers: Vec<Actor>,
    pub(crate) admin: Actor,
    pub(crate) probe: Actor,
}

impl Cluster {
    pub(crate) fn new(settings: &Settings, random: &mut Random) -> Self {
        let namespaces = namespaces(&settings.namespaces);
        let nodes: Vec<Node> = (1..=settings.nodes.clamp(1, 5_000)).map(|n| node(n, random)).collect();
        let pods = pods(&namespaces, settings.replicas.clamp(1, 1_000), nodes.len(), random);
        let control_plane = "10.40.0.10";
        let agent = |component: &str| format!("{component}/{VERSION}/leader-election");
        let component = |name: &str, random: &mut Random| {
            let user = format!("system:{name}");
            let reason =
                format!("RBAC: allowed by ClusterRoleBinding \"{user}\" of ClusterRole \"{user}\" to User \"{user}\"");
            actor(&user, &["system:authenticated"], &x509(random), control_plane, &agent(name), &reason, 0)
        };
        let controller_manager = component("kube-controller-manager", random);
        let scheduler = component("kube-scheduler", random);
        let controllers = CONTROLLERS.map(|name| {
            let agent = format!("kube-controller-manager/{VERSION}/system:serviceaccount:kube-system:{name}");
            let role = format!("system:controller:{name}");
            service_account("kube-system", name, &role, &jti(random), control_plane, &agent, random)
        });
        let operators = OPERATORS.map(|(namespace, name, agent)| {
            let own = pods.iter().find(|pod| pod.namespace == namespace && pod.workload == name);
            let (at, pod, ip) =
                own.map_or((0, name, "10.244.1.9"), |pod| (pod.node, pod.name.as_str(), pod.ip.as_str()));
            let extra = pod_identity(&nodes[at].name, pod, random);
            service_account(namespace, name, name, &extra, ip, agent, random)
        });
        let runner = jti(random);
        let agent = "kubectl/v1.34.1 (linux/amd64) kubernetes/93248f9";
        let deployer = service_account("ci", "deployer", "ci-deployer", &runner, "10.40.8.21", agent, random);
        let developers = DEVELOPERS
            .iter()
            .enumerate()
            .map(|(n, (name, agent))| {
                let ip = format!("10.60.3.{}", 20 + n);
                human(name, "developers", "developer", &ip, agent)
            })
            .collect();
        let admin = human("sam.ortega", "platform-admins", "cluster-admin", "10.60.3.11", DEVELOPERS[0].1);
        let probe = actor(
            "system:anonymous",
            &["system:unauthenticated"],
            "",
            "10.40.0.2",
            "lb-health/1.0",
            "RBAC: allowed by ClusterRoleBinding \"system:public-info-viewer\" of ClusterRole \"system:public-info-viewer\" to Group \"system:unauthenticated\"",
            1,
        );
        Self {
            namespaces,
            nodes,
            pods,
            controller_manager,
            scheduler,
            controllers: controllers.into(),
            operators: operators.into(),
            deployer,
            developers,
            admin,
            probe,
        }
    }

    /// A pod's node.
    pub(crate) fn node_of(&self, pod: &Pod) -> &Node {
        &self.nodes[pod.node]
    }
}

const CONTROLLERS: [&str; 8] = [
    "deployment-controller",
    "replicaset-controller",
    "endpointslice-controller",
    "horizontal-pod-autoscaler",
    "resourcequota-controller",
    "generic-garbage-collector",
    "cronjob-controller",
    "job-controller",
];

/// Where [`CONTROLLERS`] holds those that a roll-out or a scheduled job needs.
pub(crate) const REPLICASET_CONTROLLER: usize = 1;
pub(crate) const CRONJOB_CONTROLLER: usize = 6;
pub(crate) const JOB_CONTROLLER: usize = 7;

const OPERATORS: [(&str, &str, &str); 7] = [
    ("cert-manager", "cert-manager", "cert-manager-controller/v1.18.2 (linux/amd64) cert-manager/3f4a3c5"),
    ("monitoring", "prometheus-operator", "PrometheusOperator/0.85.0"),
    ("ingress-nginx", "ingress-nginx", "nginx-ingress-controller/v1.13.3 (linux/amd64) ingress-nginx/93851f0"),
    (
        "flux-system",
        "kustomize-controller",
        "kustomize-controller/v1.6.1 (linux/amd64) kubernetes/$Format/leader-election",
    ),
    ("kube-system", "coredns", "coredns/1.12.3 (linux/amd64) kubernetes/$Format"),
    ("kube-system", "metrics-server", "metrics-server/v0.8.0 (linux/amd64) metrics-server/1e4c01d"),
    (
        "kube-system",
        "cluster-autoscaler",
        "cluster-autoscaler/v1.34.0 (linux/amd64) kubernetes/$Format/leader-election",
    ),
];

const DEVELOPERS: [(&str, &str); 4] = [
    ("anna.weber", "kubectl/v1.34.1 (darwin/arm64) kubernetes/93248f9"),
    ("li.chen", "kubectl/v1.33.5 (linux/amd64) kubernetes/03e764d"),
    ("tom.baker", "k9s/v0.50.9 (darwin/arm64) kubernetes/$Format"),
    ("ines.costa", "kubectl/v1.34.1 (linux/amd64) kubernetes/93248f9"),
];

/// Keeps the given names what Kubernetes allows; without any there is `default`.
fn namespaces(names: &[String]) -> Vec<String> {
    let legal = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let mut namespaces: Vec<String> = names
        .iter()
        .map(|name| name.chars().take(63).map(legal).collect())
        .filter(|n: &String| !n.is_empty())
        .collect();
    if namespaces.is_empty() {
        namespaces.push("default".into());
    }
    namespaces
}

/// The name of a node, by its index.
pub(crate) fn node_name(index: usize) -> String {
    format!("worker-{}", index + 1)
}

/// The address of a node, by its index.
pub(crate) fn node_ip(index: usize) -> String {
    format!("10.40.{}.{}", 1 + (index + 1) / 200, 10 + (index + 1) % 200)
}

fn node(number: u32, random: &mut Random) -> Node {
    let name = node_name(number as usize - 1);
    let ip = node_ip(number as usize - 1);
    let user = format!("system:node:{name}");
    let agent = format!("kubelet/{VERSION}");
    let kubelet =
        actor(&user, &["system:nodes", "system:authenticated"], &x509(random), &ip, &agent, "", number as usize % 2);
    Node { name, ip, kubelet }
}

fn pods(namespaces: &[String], replicas: u32, nodes: usize, random: &mut Random) -> Vec<Pod> {
    let mut pods = Vec::new();
    for namespace in namespaces {
        for (kind, container, image, tag) in [
            ("web", "web", "web", "1.42.0"),
            ("queue", "consumer", "queue-consumer", "1.41.3"),
            ("db", "postgres", "postgres", "17.6"),
        ] {
            let template = suffix(random, 9);
            for replica in 0..replicas {
                let name = match kind {
                    "db" => format!("db-{replica}"),
                    _ => format!("{kind}-{template}-{}", suffix(random, 5)),
                };
                let repository = format!("registry.example.com/{namespace}/{image}");
                pods.push(pod(namespace, &name, kind, container, repository, tag, kind, nodes, random));
            }
        }
    }
    for (namespace, name, agent) in OPERATORS {
        let container = agent.split('/').next().unwrap_or(name);
        let full = format!("{name}-{}-{}", suffix(random, 9), suffix(random, 5));
        let repository = format!("registry.example.com/platform/{name}");
        pods.push(pod(namespace, &full, name, container, repository, "stable", name, nodes, random));
    }
    pods
}

#[allow(clippy::too_many_arguments)] // A row of a table, not an interface.
pub(crate) fn pod(
    namespace: &str,
    name: &str,
    workload: &str,
    container: &str,
    repository: String,
    tag: &str,
    account: &str,
    nodes: usize,
    random: &mut Random,
) -> Pod {
    let node = random.below(nodes as u64) as usize;
    let mut uid = String::new();
    uuid(&mut uid, random);
    Pod {
        namespace: namespace.into(),
        name: name.into(),
        workload: workload.into(),
        container: container.into(),
        image: Image { repository, tag: tag.into(), digest: sha256(random) },
        account: account.into(),
        uid,
        ip: format!("10.244.{}.{}", node % 250 + 1, random.between(10, 250)),
        container_id: sha256(random),
        node,
    }
}

pub(crate) fn human(name: &str, group: &str, role: &str, ip: &str, agent: &str) -> Actor {
    let user = format!("oidc:{name}@example.com");
    let reason =
        format!("RBAC: allowed by ClusterRoleBinding \"{group}\" of ClusterRole \"{role}\" to Group \"oidc:{group}\"");
    actor(&user, &[&format!("oidc:{group}"), "system:authenticated"], "", ip, agent, &reason, 1)
}

pub(crate) fn service_account(
    namespace: &str,
    name: &str,
    role: &str,
    extra: &str,
    ip: &str,
    agent: &str,
    random: &mut Random,
) -> Actor {
    let user = format!("system:serviceaccount:{namespace}:{name}");
    let mut uid = String::new();
    uuid(&mut uid, random);
    let reason = format!(
        "RBAC: allowed by ClusterRoleBinding \"{role}\" of ClusterRole \"{role}\" to ServiceAccount \"{name}/{namespace}\""
    );
    let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
    let server = random.below(2) as usize;
    let mut made = actor(&user, &groups, extra, ip, agent, &reason, server);
    made.user = made.user.replacen("\",\"groups\"", &format!("\",\"uid\":\"{uid}\",\"groups\""), 1);
    made
}

pub(crate) fn actor(
    user: &str,
    groups: &[&str],
    extra: &str,
    ip: &str,
    agent: &str,
    reason: &str,
    server: usize,
) -> Actor {
    let mut text = String::from("\"user\":{\"username\":\"");
    go_json(&mut text, user);
    text.push_str("\",\"groups\":[");
    for (n, group) in groups.iter().enumerate() {
        let comma = if n > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{group}\"");
    }
    text.push(']');
    if !extra.is_empty() {
        let _ = write!(text, ",\"extra\":{{{extra}}}");
    }
    text.push('}');
    let mut escaped = String::new();
    go_json(&mut escaped, reason);
    Actor {
        username: user.into(),
        user: text,
        ip: ip.into(),
        agent: agent.into(),
        origin: origin(ip, agent),
        reason: escaped,
        server,
    }
}

fn origin(ip: &str, agent: &str) -> String {
    let mut text = format!(",\"sourceIPs\":[\"{ip}\"],\"userAgent\":\"");
    go_json(&mut text, agent);
    text.push('"');
    text
}

impl Actor {
    /// The same credential, used from another place or by another program.
    pub(crate) fn elsewhere(&self, ip: &str, agent: &str) -> Self {
        Self { ip: ip.into(), agent: agent.into(), origin: origin(ip, agent), ..self.clone() }
    }
}

fn x509(random: &mut Random) -> String {
    format!("\"authentication.kubernetes.io/credential-id\":[\"X509SHA256={}\"]", sha256(random))
}

pub(crate) fn jti(random: &mut Random) -> String {
    let mut id = String::new();
    uuid(&mut id, random);
    format!("\"authentication.kubernetes.io/credential-id\":[\"JTI={id}\"]")
}

fn pod_identity(node: &str, pod: &str, random: &mut Random) -> String {
    let mut text = jti(random);
    let _ = write!(
        text,
        ",\"authentication.kubernetes.io/node-name\":[\"{node}\"],\"authentication.kubernetes.io/node-uid\":[\""
    );
    uuid(&mut text, random);
    let _ = write!(
        text,
        "\"],\"authentication.kubernetes.io/pod-name\":[\"{pod}\"],\"authentication.kubernetes.io/pod-uid\":[\""
    );
    uuid(&mut text, random);
    text.push_str("\"]");
    text
}

pub(crate) fn sha256(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..4 {
        hex(&mut text, random.next(), 16);
    }
    text
}
