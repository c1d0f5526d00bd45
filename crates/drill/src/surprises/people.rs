//! Surprises by people at the API: a developer looks into a pod, a new application gets its namespace, an
//! administrator does what is rarely done.
//!
//! Not here: work on nodes and by operators (see `upkeep`).

use palisade_events::time::{Micros, SECOND};

use super::scene::{CREATED, Flow, ROLES, Scene};
use crate::act::{Access, End, Parent, Process, Terminal};
use crate::audit::{
    CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, CONFIG_MAPS, DEPLOYMENTS, EVENTS, INGRESSES, NAMESPACES, PODS, REPLICA_SETS,
    ROLE_BINDINGS, Request, Resource, SECRETS, SERVICE_ACCOUNTS, SERVICES,
};
use crate::body;
use crate::builds;
use crate::cluster::{self, Image, Pod, REPLICASET_CONTROLLER};
use crate::text::suffix;

pub(super) const DEBUGGING_SCENES: u32 = 9;
pub(super) const NEW_SERVICE_SCENES: u32 = 9;
pub(super) const ADMINISTRATION_SCENES: u32 = 7;

const NETWORK_POLICIES: Resource = Resource("networking.k8s.io", "v1", "networkpolicies");
const QUOTAS: Resource = Resource("", "v1", "resourcequotas");

/// A shell in a pod, in which somebody types.
struct Typed<'p> {
    pod: &'p Pod,
    shell: Parent<'static>,
}

impl<'p> Typed<'p> {
    fn new(pod: &'p Pod, pid: u64, started: Micros) -> Self {
        Self { pod, shell: Parent { pid, exe: "/bin/sh", arguments: "", started } }
    }

    /// The shell itself begins.
    fn begin(&self, scene: &mut Scene<'_>, lasts: Micros) {
        let Parent { pid, exe, started, .. } = self.shell;
        let terminal = Terminal::Attached;
        let shell = Process { pid, terminal, ..scene.inside(started - scene.now, self.pod, exe, &["sh"]) };
        scene.launch(lasts, &shell);
    }

    fn run(&self, scene: &mut Scene<'_>, after: Micros, exe: &'p str, argv: &'p [&'p str]) -> Process<'p> {
        let (parent, terminal) = (self.shell, Terminal::Attached);
        let process = Process { parent, terminal, ..scene.inside(after, self.pod, exe, argv) };
        let lasts = scene.wire.random.between(2_000, 400_000);
        scene.launch(lasts, &process);
        process
    }
}

/// A developer looks for a fault: in logs, by a shell in the pod, by a container with tools beside it, by a forwarded
/// port.
pub(super) fn debugging(scene: &mut Scene<'_>) {
    /// The scenes in which the shells begin.
    const EXEC: u32 = 2;
    const DEBUG: u32 = 5;
    let cluster = scene.cluster;
    let namespace = scene.namespace();
    let workload = *scene.cast.pick(&["web", "queue", "db"]);
    let developer = scene.developer();
    let pods = scene.pods(namespace, workload, 50);
    if pods.is_empty() {
        return;
    }
    let pod = *scene.cast.pick(&pods);
    let image = Image {
        repository: "registry.example.com/platform/netshoot".into(),
        tag: "0.13".into(),
        digest: cluster::sha256(&mut scene.cast),
    };
    let container = format!("debugger-{}", suffix(&mut scene.cast, 5));
    let tools = Pod { container, container_id: cluster::sha256(&mut scene.cast), image, ..pod.clone() };
    let pids = [(); 2].map(|()| 30_000 + scene.cast.below(1_000_000));
    let own = Typed::new(pod, pids[0], scene.time_of(EXEC) + SECOND / 20);
    let debug = Typed::new(&tools, pids[1], scene.time_of(DEBUG) + SECOND);
    let (pod_name, database) = (pod.name.as_str(), scene.pods(namespace, "db", 1).first().copied());
    match scene.number {
        0 => {
            let query = "limit=500";
            scene.request(0, &Request { query, ..Request::new(developer, "list", PODS, namespace, "") });
            let query = "fieldSelector=involvedObject.kind%3DPod&limit=500";
            scene.request(5 * SECOND, &Request { query, ..Request::new(developer, "list", EVENTS, namespace, "") });
            scene.ask(12 * SECOND, developer, "get", PODS, namespace, pod_name);
        }
        1 => {
            for (after, tail) in [(0, "200"), (9 * SECOND, "5000"), (15 * SECOND, "200&previous=true")] {
                let query = format!("container={}&tailLines={tail}", pod.container);
                let request = Request::new(developer, "get", PODS, namespace, pod_name);
                scene.request(after, &Request { subresource: "log", query: &query, ..request });
            }
        }
        EXEC => {
            let query = format!("command=sh&container={}&stdin=true&stdout=true&tty=true", pod.container);
            scene.session(0, 900 * SECOND, developer, pod, ("exec", &query));
            own.begin(scene, 900 * SECOND);
        }
        3 => {
            own.run(scene, 0, "/bin/ls", &["ls", "-la", "/app"]);
            own.run(scene, SECOND / 2, "/usr/bin/env", &["env"]);
            let cat = own.run(scene, SECOND, "/bin/cat", &["cat", "/etc/resolv.conf", "/etc/passwd"]);
            scene.touch(SECOND + 3_000, &cat, Access::Read, "/etc/passwd");
        }
        4 => {
            own.run(scene, 0, "/bin/ps", &["ps", "aux"]);
            let argv: &[&str] = &["curl", "-sv", "http://127.0.0.1:8080/healthz"];
            own.run(scene, SECOND / 2, "/usr/bin/curl", argv);
            own.run(scene, SECOND, "/bin/cat", &["cat", "/proc/1/status"]);
        }
        DEBUG => {
            let patch = format!(
                "{{\"spec\":{{\"ephemeralContainers\":[{{\"image\":\"{}:{}\",\"imagePullPolicy\":\"IfNotPresent\",\"name\":\"{}\",\"resources\":{{}},\"stdin\":true,\"targetContainerName\":\"{}\",\"terminationMessagePolicy\":\"File\",\"tty\":true}}]}}}}",
                tools.image.repository, tools.image.tag, tools.container, pod.container
            );
            let request = Request::new(developer, "patch", PODS, namespace, pod_name);
            scene.request(0, &Request { subresource: "ephemeralcontainers", request_object: &patch, ..request });
            builds::pull_image(cluster, scene.wire, scene.now + SECOND / 2, &tools, None);
            let query = format!("container={}&stdin=true&stdout=true&tty=true", tools.container);
            scene.session(SECOND * 3 / 2, 600 * SECOND, developer, &tools, ("attach", &query));
            debug.begin(scene, 600 * SECOND);
        }
        6 => {
            debug.run(scene, 0, "/usr/bin/nslookup", &["nslookup", "db"]);
            let nc = debug.run(scene, SECOND, "/usr/bin/nc", &["nc", "-zv", "db", "5432"]);
            if let Some(database) = database {
                let name = format!("db.{namespace}.svc.cluster.local");
                scene.lookup(10_000, pod, &name, &database.ip);
                let flow = Flow { port: 5_432, sent: 0, received: 0, lasts: 4_000 };
                scene.connect(SECOND + 20_000, (End::Pod(&tools), End::Pod(database)), flow, Some(nc));
            }
        }
        7 => {
            debug.run(scene, 0, "/usr/bin/ss", &["ss", "-tnp"]);
            debug.run(scene, SECOND / 2, "/usr/bin/tcpdump", &["tcpdump", "-ni", "eth0", "-c", "200", "port", "5432"]);
            let cat = debug.run(scene, SECOND, "/bin/cat", &["cat", "/proc/1/environ"]);
            scene.touch(SECOND + 2_000, &cat, Access::Read, "/proc/1/environ");
        }
        _ => scene.session(0, 300 * SECOND, developer, pod, ("portforward", "ports=8080")),
    }
}

/// A team gets a namespace, and its application comes to life there.
pub(super) fn new_service(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let (admin, deployer) = (&cluster.admin, &cluster.deployer);
    let name = *scene.cast.pick(&["loyalty", "invoicing", "returns", "catalog", "consent", "pricing"]);
    let namespace = format!("{name}-{}", suffix(&mut scene.cast, 3));
    let image = format!("registry.example.com/{namespace}/{name}");
    let digest = cluster::sha256(&mut scene.cast);
    let mut model = scene.new_pod(&namespace, name, name, (&image, "0.1.0"));
    model.image.digest = digest;
    let pods = [(); 3].map(|()| scene.sibling(&model));
    let developer = scene.developer();
    let namespace = namespace.as_str();
    let labels = format!("{{\"name\":\"{name}\",\"namespace\":\"{namespace}\",\"creationTimestamp\":null}}");
    let rbac = "\"apiVersion\":\"rbac.authorization.k8s.io/v1\"";
    match scene.number {
        0 => {
            let body = format!(
                "{{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"{namespace}\",\"creationTimestamp\":null,\"labels\":{{\"pod-security.kubernetes.io/enforce\":\"baseline\",\"team\":\"{name}\"}}}},\"spec\":{{}},\"status\":{{}}}}"
            );
            scene.create(0, admin, NAMESPACES, ("", namespace), &body);
            let manager = &cluster.controller_manager;
            scene.create(SECOND / 10, manager, SERVICE_ACCOUNTS, (namespace, "default"), "");
            scene.create(SECOND / 8, manager, CONFIG_MAPS, (namespace, "kube-root-ca.crt"), "");
            scene.create(8 * SECOND, admin, QUOTAS, (namespace, "team"), "");
            scene.create(9 * SECOND, admin, NETWORK_POLICIES, (namespace, "default-deny"), "");
        }
        1 => {
            let body = body::binding(namespace, "team-edit", "edit", ("User", "", &developer.username));
            scene.create(0, admin, ROLE_BINDINGS, (namespace, "team-edit"), &body);
            let body = body::binding(namespace, "ci-edit", "edit", ("ServiceAccount", "ci", "deployer"));
            scene.create(3 * SECOND, admin, ROLE_BINDINGS, (namespace, "ci-edit"), &body);
        }
        2 => {
            scene.push(0, &model);
            let request = Request::new(developer, "get", NAMESPACES, "", namespace);
            scene.request(4 * SECOND, &request);
        }
        3 => {
            let body = format!("{{\"kind\":\"ServiceAccount\",\"apiVersion\":\"v1\",\"metadata\":{labels}}}");
            scene.create(0, deployer, SERVICE_ACCOUNTS, (namespace, name), &body);
            let body = format!(
                "{{\"kind\":\"Role\",{rbac},\"metadata\":{labels},\"rules\":[{{\"verbs\":[\"get\",\"list\",\"watch\"],\"apiGroups\":[\"\"],\"resources\":[\"configmaps\",\"endpoints\"]}},{{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],\"resourceNames\":[\"{name}\"]}}]}}"
            );
            scene.create(SECOND, deployer, ROLES, (namespace, name), &body);
            let body = body::binding(namespace, name, name, ("ServiceAccount", namespace, name));
            let body = body.replace("\"kind\":\"ClusterRole\"", "\"kind\":\"Role\"");
            scene.create(2 * SECOND, deployer, ROLE_BINDINGS, (namespace, name), &body);
            scene.create(3 * SECOND, deployer, SECRETS, (namespace, name), "");
            scene.create(4 * SECOND, deployer, CONFIG_MAPS, (namespace, name), "");
        }
        4 => {
            let body = format!(
                "{{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{labels},\"spec\":{{\"replicas\":3,\"selector\":{{\"matchLabels\":{{\"app.kubernetes.io/name\":\"{name}\"}}}},\"template\":{{\"metadata\":{{\"creationTimestamp\":null,\"labels\":{{\"app.kubernetes.io/name\":\"{name}\"}}}},\"spec\":{{\"containers\":[{{\"name\":\"{name}\",\"image\":\"{image}:0.1.0\",\"resources\":{{}},\"imagePullPolicy\":\"IfNotPresent\"}}],\"serviceAccountName\":\"{name}\"}}}},\"strategy\":{{}}}},\"status\":{{}}}}"
            );
            scene.create(0, deployer, DEPLOYMENTS, (namespace, name), &body);
            scene.create(SECOND, deployer, SERVICES, (namespace, name), "");
            scene.create(2 * SECOND, deployer, INGRESSES, (namespace, name), "");
            if let Some(controller) = cluster.controllers.first() {
                let set = model.name.rsplit_once('-').map_or(name, |(set, _)| set);
                let request = Request::new(controller, "create", REPLICA_SETS, namespace, set);
                scene.request(SECOND / 5, &Request { answer: CREATED, ..request });
            }
        }
        number @ 5..8 => {
            let Some(pod) = pods.get(number as usize - 5) else { return };
            scene.start_pod(0, REPLICASET_CONTROLLER, pod);
            let extra = cluster::jti(&mut scene.cast);
            let (agent, random) = ("loader/0.1 (linux/amd64)", &mut scene.cast);
            let account = cluster::service_account(namespace, name, name, &extra, &pod.ip, agent, random);
            scene.ask(SECOND * 3 / 2, &account, "list", CONFIG_MAPS, namespace, "");
            scene.ask(SECOND * 8 / 5, &account, "get", SECRETS, namespace, name);
            scene.connect(SECOND * 8 / 5, (End::Pod(pod), End::ApiServer), SMALL, None);
        }
        _ => {
            for pod in &pods {
                for (nth, ingress) in (0..).zip(scene.pods("ingress-nginx", "ingress-nginx", 20)) {
                    let flow = Flow { port: 8_080, sent: 700, received: 3_000, lasts: SECOND / 20 };
                    scene.connect(nth * SECOND + SECOND / 3, (End::Pod(ingress), End::Pod(pod)), flow, None);
                }
                scene.lookup(SECOND, pod, "licences.example.com", "192.0.2.77");
                let to = End::Outside { ip: "192.0.2.77", name: "licences.example.com" };
                scene.connect(SECOND + 40_000, (End::Pod(pod), to), SMALL, None);
            }
        }
    }
}

const SMALL: Flow = Flow { port: 443, sent: 1_800, received: 5_200, lasts: SECOND / 5 };

/// A cluster role for an auditor's group, and a secret that is rotated with everything that reads it restarted.
pub(super) fn administration(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let admin = &cluster.admin;
    let namespace = scene.namespace();
    let role = *scene.cast.pick(&["access-review", "cost-report", "node-inventory", "quota-editor"]);
    let secret = *scene.cast.pick(&["db-credentials", "web-tls", "payment-gateway", "smtp"]);
    let set = format!("web-{}", suffix(&mut scene.cast, 9));
    let query = "fieldManager=kubectl-create&fieldValidation=Strict";
    match scene.number {
        0 => {
            scene.ask(0, admin, "list", CLUSTER_ROLES, "", "");
            scene.ask(20 * SECOND, admin, "list", CLUSTER_ROLE_BINDINGS, "", "");
        }
        1 => {
            let body = format!(
                "{{\"kind\":\"ClusterRole\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"metadata\":{{\"name\":\"{role}\",\"creationTimestamp\":null}},\"rules\":[{{\"verbs\":[\"get\",\"list\",\"watch\"],\"apiGroups\":[\"\",\"apps\",\"rbac.authorization.k8s.io\"],\"resources\":[\"nodes\",\"namespaces\",\"resourcequotas\",\"deployments\",\"roles\",\"rolebindings\",\"clusterroles\",\"clusterrolebindings\"]}}]}}"
            );
            let request = Request::new(admin, "create", CLUSTER_ROLES, "", role);
            let request = Request { query, answer: CREATED, request_object: &body, ..request };
            scene.request(0, &Request { response_object: &body, ..request });
        }
        2 => {
            let developer = scene.developer();
            let body = body::binding("", role, role, ("User", "", &developer.username));
            let request = Request::new(admin, "create", CLUSTER_ROLE_BINDINGS, "", role);
            let request = Request { query, answer: CREATED, request_object: &body, ..request };
            scene.request(0, &Request { response_object: &body, ..request });
        }
        3 => {
            scene.request(0, &Request { query: "limit=500", ..Request::new(admin, "list", SECRETS, namespace, "") });
            scene.ask(9 * SECOND, admin, "get", SECRETS, namespace, secret);
        }
        4 => {
            let query = "fieldManager=kubectl-edit&fieldValidation=Strict";
            scene.request(0, &Request { query, ..Request::new(admin, "patch", SECRETS, namespace, secret) });
        }
        5 => {
            let mut patch = String::from(
                "{\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"kubectl.kubernetes.io/restartedAt\":\"",
            );
            scene.wire.calendar.seconds(&mut patch, scene.now);
            patch.push_str("\"}}}}}");
            let request = Request::new(admin, "patch", DEPLOYMENTS, namespace, "web");
            let query = "fieldManager=kubectl-rollout";
            scene.request(0, &Request { query, request_object: &patch, ..request });
            if let Some(controller) = cluster.controllers.first() {
                let request = Request::new(controller, "create", REPLICA_SETS, namespace, &set);
                scene.request(SECOND / 4, &Request { answer: CREATED, ..request });
            }
        }
        _ => {
            scene.ask(0, admin, "delete", SECRETS, namespace, &[secret, "-old"].concat());
            scene.ask(15 * SECOND, admin, "list", PODS, namespace, "");
        }
    }
}
