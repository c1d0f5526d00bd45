//! A scene of a surprise: the cluster, the way out, and the small things that all surprises are made of.
//!
//! Not here: the surprises themselves.

use palisade_events::time::{Micros, SECOND};

use super::Kind;
use crate::act::{
    Access, Connect, End, HostEvent, Login, Lookup, Outcome, Parent, Place, Process, RegistryEvent, Terminal, Touch,
    Transport, Verdict,
};
use crate::audit::{Answer, PODS, Request, Resource, SERVICE_ACCOUNTS};
use crate::body::{self, PodPower};
use crate::builds;
use crate::cluster::{self, Actor, Cluster, Pod};
use crate::random::Random;
use crate::text::suffix;
use crate::wire::Wire;

/// Bounds what a scene holds back, at any pace.
const PORTION_MAX: u64 = 5_000;

pub(super) const CREATED: Answer = Answer::Code(201);
pub(super) const ROLES: Resource = Resource("rbac.authorization.k8s.io", "v1", "roles");

pub(super) struct Scene<'s> {
    pub(super) cluster: &'s Cluster,
    pub(super) wire: &'s mut Wire,
    /// Draws what is the same in all scenes: everything that a surprise draws from it is drawn before scenes differ.
    pub(super) cast: Random,
    pub(super) now: Micros,
    pub(super) began: Micros,
    pub(super) number: u32,
    pub(super) pace: u64,
    pub(super) script: (Kind, u64),
}

/// What a connection carries.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    pub(super) port: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) lasts: Micros,
}

/// Somebody's session on a node.
#[derive(Clone, Copy)]
pub(super) struct Shell {
    pub(super) node: usize,
    pub(super) login: Login<'static>,
    pub(super) bash: Parent<'static>,
}

impl<'s> Scene<'s> {
    /// How many of something there are in `secs`, if there is one to `share` acts of ordinary life.
    pub(super) fn portion(&mut self, share: u64, secs: u64) -> u64 {
        let thousandths = self.pace * secs / share.max(1);
        let rest = u64::from(self.wire.random.chance(thousandths % 1_000, 1_000));
        (thousandths / 1_000 + rest).min(PORTION_MAX)
    }

    /// When another scene of the surprise was, or will be.
    pub(super) fn time_of(&self, number: u32) -> Micros {
        let (kind, seed) = self.script;
        self.began + kind.scenes(seed).get(number as usize).copied().unwrap_or_default()
    }

    pub(super) fn namespace(&mut self) -> &'s str {
        self.cast.pick(&self.cluster.namespaces).as_str()
    }

    pub(super) fn developer(&mut self) -> &'s Actor {
        self.cast.pick(&self.cluster.developers)
    }

    /// The pods of a workload, at most so many.
    pub(super) fn pods(&self, namespace: &str, workload: &str, max: usize) -> Vec<&'s Pod> {
        let is_meant = |pod: &&Pod| pod.namespace == namespace && pod.workload == workload;
        self.cluster.pods.iter().filter(is_meant).take(max).collect()
    }

    /// A pod that the cluster does not have.
    pub(super) fn new_pod(&mut self, namespace: &str, workload: &str, container: &str, image: (&str, &str)) -> Pod {
        let name = [workload, "-", &suffix(&mut self.cast, 9), "-", &suffix(&mut self.cast, 5)].concat();
        let (repository, tag) = image;
        let nodes = self.cluster.nodes.len();
        let account = workload;
        cluster::pod(namespace, &name, workload, container, repository.into(), tag, account, nodes, &mut self.cast)
    }

    /// Another pod like this one, elsewhere.
    pub(super) fn sibling(&mut self, pod: &Pod) -> Pod {
        let Pod { namespace, workload, container, image, account, .. } = pod;
        let set = pod.name.rsplit_once('-').map_or(workload.as_str(), |(set, _)| set);
        let name = [set, "-", &suffix(&mut self.cast, 5)].concat();
        let nodes = self.cluster.nodes.len();
        let repository = image.repository.clone();
        let random = &mut self.cast;
        let made = cluster::pod(namespace, &name, workload, container, repository, &image.tag, account, nodes, random);
        Pod { image: image.clone(), ..made }
    }

    pub(super) fn request(&mut self, after: Micros, request: &Request<'_>) {
        self.wire.request(self.now + after, request, None);
    }

    /// A request without anything special.
    pub(super) fn ask(
        &mut self,
        after: Micros,
        actor: &Actor,
        verb: &str,
        resource: Resource,
        namespace: &str,
        name: &str,
    ) {
        self.request(after, &Request::new(actor, verb, resource, namespace, name));
    }

    /// An object is created, with its text if the audit policy asks for it.
    pub(super) fn create(&mut self, after: Micros, actor: &Actor, resource: Resource, named: (&str, &str), body: &str) {
        let request = Request::new(actor, "create", resource, named.0, named.1);
        let by_hand = actor.agent.starts_with("kubectl");
        let query = if by_hand { "fieldManager=kubectl-client-side-apply&fieldValidation=Strict" } else { "" };
        self.request(after, &Request { query, answer: CREATED, request_object: body, ..request });
    }

    /// A session of a person with a pod.
    pub(super) fn session(&mut self, after: Micros, lasts: Micros, actor: &Actor, pod: &Pod, what: (&str, &str)) {
        let (subresource, query) = what;
        let request = Request::new(actor, "create", PODS, &pod.namespace, &pod.name);
        let request = Request { subresource, query, answer: Answer::Code(101), ..request };
        self.wire.session(self.now + after, lasts, &request, None);
    }

    /// A pod is made by one of the cluster's controllers, bound, its image pulled and its program started. It runs a
    /// second and a half later.
    pub(super) fn start_pod(&mut self, after: Micros, controller: usize, pod: &Pod) {
        let cluster = self.cluster;
        let at = self.now + after;
        let Some(node) = cluster.nodes.get(pod.node) else { return };
        let maker = cluster.controllers.get(controller).unwrap_or(&cluster.controller_manager);
        let sent = body::pod(self.wire, pod, &PodPower::Ordinary, None);
        let stored = body::pod(self.wire, pod, &PodPower::Ordinary, Some(at));
        let request = Request::new(maker, "create", PODS, &pod.namespace, &pod.name);
        let request = Request { answer: CREATED, request_object: &sent, response_object: &stored, ..request };
        self.request(after, &request);
        let request = Request::new(&cluster.scheduler, "create", PODS, &pod.namespace, &pod.name);
        self.request(after + SECOND / 10, &Request { answer: CREATED, subresource: "binding", ..request });
        let asked = body::token_request(3_607);
        let request = Request::new(&node.kubelet, "create", SERVICE_ACCOUNTS, &pod.namespace, &pod.account);
        let request = Request { answer: CREATED, subresource: "token", request_object: &asked, ..request };
        self.request(after + SECOND / 5, &request);
        builds::pull_image(cluster, self.wire, at + SECOND / 3, pod, None);
        let exe = ["/app/", &pod.container].concat();
        let argv: &[&str] = &[&exe];
        let program = Process { uid: 1_000, ..self.inside(after + SECOND, pod, &exe, argv) };
        self.wire.launch(cluster, &program, 3_600 * SECOND, None);
        let patch = body::pod_status(self.wire, pod, &node.ip, at + SECOND);
        let request = Request::new(&node.kubelet, "patch", PODS, &pod.namespace, &pod.name);
        self.request(after + SECOND * 3 / 2, &Request { subresource: "status", request_object: &patch, ..request });
    }

    /// A pod is deleted by `by`, and by its kubelet once its programs have ended.
    pub(super) fn stop_pod(&mut self, after: Micros, by: &Actor, pod: &Pod) {
        let Some(node) = self.cluster.nodes.get(pod.node) else { return };
        self.ask(after, by, "delete", PODS, &pod.namespace, &pod.name);
        let ends = self.wire.random.between(SECOND / 2, 4 * SECOND);
        self.ask(after + ends, &node.kubelet, "delete", PODS, &pod.namespace, &pod.name);
    }

    /// A program in a pod's container, started by the container's shim.
    pub(super) fn inside<'p>(&mut self, after: Micros, pod: &'p Pod, exe: &'p str, argv: &'p [&'p str]) -> Process<'p> {
        Process::contained(pod, self.wire.next_pid(pod.node), self.now + after, exe, argv)
    }

    pub(super) fn launch(&mut self, lasts: Micros, process: &Process<'_>) {
        self.wire.launch(self.cluster, process, lasts, None);
    }

    /// The session of the administrator on a node: the same in all scenes, if it is drawn in all.
    pub(super) fn shell(&mut self, node: usize) -> Shell {
        let session = 400 + self.cast.below(4_000);
        let pid = 20_000 + self.cast.below(1_000_000);
        Shell {
            node,
            login: Login::Person(1_000, "sam", "pts0", session),
            bash: Parent { pid, exe: "/usr/bin/bash", arguments: "", started: self.began },
        }
    }

    /// A program that is called from a shell on a node.
    pub(super) fn run<'p>(
        &mut self,
        after: Micros,
        lasts: Micros,
        shell: &Shell,
        exe: &'p str,
        argv: &'p [&'p str],
    ) -> Process<'p> {
        let process = Process {
            place: Place::Node(shell.node),
            pid: self.wire.next_pid(shell.node),
            exe,
            argv,
            cwd: "/home/sam",
            uid: 1_000,
            login: shell.login,
            terminal: Terminal::Attached,
            parent: shell.bash,
            started: self.now + after,
        };
        self.launch(lasts, &process);
        process
    }

    /// The same as root: `argv` begins with `sudo`, and `exe` is what sudo runs. Gives the program, not sudo.
    pub(super) fn sudo<'p>(
        &mut self,
        after: Micros,
        lasts: Micros,
        shell: &Shell,
        exe: &'p str,
        argv: &'p [&'p str],
    ) -> Process<'p> {
        let sudo = Process { uid: 0, ..self.run(after, lasts, shell, "/usr/bin/sudo", argv) };
        let parent = Parent { pid: sudo.pid, exe: sudo.exe, arguments: "", started: sudo.started };
        let argv = argv.get(1..).unwrap_or_default();
        let pid = self.wire.next_pid(shell.node);
        let process = Process { pid, exe, argv, parent, started: sudo.started + 9_000, ..sudo };
        self.launch(lasts, &process);
        process
    }

    /// A program that another one starts.
    pub(super) fn child<'p>(
        &mut self,
        after: Micros,
        lasts: Micros,
        of: &Process<'p>,
        exe: &'p str,
        argv: &'p [&'p str],
    ) -> Process<'p> {
        let parent = Parent { pid: of.pid, exe: of.exe, arguments: "", started: of.started };
        let pid = self.wire.next_pid(of.place.node());
        let process = Process { pid, exe, argv, parent, started: self.now + after, ..*of };
        self.launch(lasts, &process);
        process
    }

    pub(super) fn touch(&mut self, after: Micros, by: &Process<'_>, access: Access, path: &str) {
        let touch = Touch { by: *by, path, access, outcome: Outcome::Success };
        self.wire.touch(self.cluster, self.now + after, &touch, None);
    }

    pub(super) fn connect(&mut self, after: Micros, ends: (End<'_>, End<'_>), flow: Flow, by: Option<Process<'_>>) {
        let source_port = 32_768 + self.wire.random.below(28_000);
        let connect = Connect {
            from: ends.0,
            to: ends.1,
            source_port,
            port: flow.port,
            transport: Transport::Tcp,
            verdict: Verdict::Forwarded,
            bytes_sent: flow.sent,
            bytes_received: flow.received,
            count: 1,
            lasts: flow.lasts,
            by,
        };
        self.wire.connect(self.cluster, self.now + after, &connect, None);
    }

    pub(super) fn lookup(&mut self, after: Micros, from: &Pod, name: &str, address: &str) {
        let lookup = Lookup { from, name, kind: "A", answers: &[address], rcode: 0 };
        self.wire.lookup(self.cluster, self.now + after, &lookup, None);
    }

    pub(super) fn host(&mut self, after: Micros, node: usize, kind: &str, login: Login<'_>, message: &str) {
        self.wire.host(self.cluster, self.now + after, &HostEvent { node, kind, login, message }, None);
    }

    /// CI pushes an image, which a pod is to run.
    pub(super) fn push(&mut self, after: Micros, pod: &Pod) {
        let Some(repository) = builds::in_registry(&pod.image.repository) else { return };
        let event = RegistryEvent {
            action: "push",
            repository,
            tag: &pod.image.tag,
            digest: &pod.image.digest,
            user: &self.cluster.deployer.username,
            address: &self.cluster.deployer.ip,
            agent: builds::BUILDKIT,
        };
        self.wire.registry(self.now + after, &event, None);
    }
}
