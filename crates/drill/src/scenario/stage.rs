//! Acts as they are done: the parts of a scenario's cast call, run, touch and connect.
//!
//! Not here: how sensors write that down (see `act`, and the module of each stream).

use palisade_events::time::{Micros, SECOND};

use super::Timed;
use super::act::{Act, Call, Connection, Origin, Run};
use super::cast::{Cast, Member};
use crate::act::{
    Connect, DockerEvent, End, HostEvent, Login, Lookup, Outcome, Parent, Place, Process, RegistryEvent, Terminal,
    Touch, daemon,
};
use crate::audit::{Answer, PODS, Request};
use crate::body::{self, PodPower};
use crate::builds;
use crate::cluster::Cluster;
use crate::falco::Alert;
use crate::record::{Label, Stream};
use crate::scenario::timeline::Due;
use crate::text::{base, go_json};
use crate::wire::{Loss, Stated, Wire};

/// Does one act of a step.
pub(crate) fn perform(cast: &mut Cast, due: Due, label: Label, cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let steps = cast.scenario.steps.iter().chain(&cast.scenario.twins);
    let Some(step) = steps.into_iter().nth(usize::from(due.step)) else { return };
    let Some(Timed { act, .. }) = step.acts.get(usize::from(due.act)).cloned() else { return };
    let previous = cast.previous(due);
    let mut stage = Stage { cast, cluster, wire, label: Some(label), repetition: due.repetition, previous, ran: None };
    stage.act(now, &act);
    let ran = stage.ran.take();
    cast.keep(due, ran);
}

struct Stage<'s> {
    cast: &'s mut Cast,
    cluster: &'s Cluster,
    wire: &'s mut Wire,
    label: Option<Label>,
    repetition: u32,
    /// What ran before in this repetition, in the order of the file.
    previous: Option<Ran>,
    /// What this act runs.
    ran: Option<Ran>,
}

/// A program that was run, with where.
#[derive(Clone)]
pub(crate) struct Ran {
    place: String,
    pid: u64,
    exe: String,
    argv: Vec<String>,
    cwd: String,
    uid: u64,
    terminal: Terminal,
    login: Option<String>,
    parent: (u64, String, Micros),
    started: Micros,
}

impl Stage<'_> {
    fn act(&mut self, at: Micros, act: &Act) {
        match act {
            Act::Call(call) => self.call(at, call),
            Act::Path { by, verb, path, answer } => {
                let path = self.text(path, at);
                if let Some(actor) = self.cast.actor(by) {
                    self.wire.path(at, actor, verb, &path, *answer, self.label);
                }
            }
            Act::Run(run) => self.run(at, run),
            Act::Touch { place, path, access, outcome, by } => {
                let path = self.text(path, at);
                let by = by.as_ref().map(|by| self.text(by, at));
                let ran = self.toucher(place, by.as_deref(), at);
                let (access, outcome) = (*access, *outcome);
                self.with_process(&ran, |wire, cluster, process, label| {
                    wire.touch(cluster, at, &Touch { by: *process, path: &path, access, outcome }, label);
                });
            }
            Act::Connect(connection) => self.connect(at, connection),
            Act::Lookup { from, kind, name, answers, outcome } => {
                let name = self.text(name, at);
                let answers: Vec<String> = answers.iter().map(|answer| self.text(answer, at)).collect();
                let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
                let Some(Member { pod, .. }) = self.cast.pod(from) else { return };
                let rcode = if *outcome == Outcome::Failure { 3 } else { 0 };
                let lookup = Lookup { from: pod, name: &name, kind, answers: &answers, rcode };
                self.wire.lookup(self.cluster, at, &lookup, self.label);
            }
            Act::Docker { node, kind, action, image, name, attributes } => {
                let [action, image, name] = [action, image, name].map(|text| self.text(text, at));
                let attributes: Vec<(String, String)> =
                    attributes.iter().map(|(key, value)| (key.clone(), self.text(value, at))).collect();
                let attributes: Vec<(&str, &str)> =
                    attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                let id = match kind.as_str() {
                    "image" => image.clone(),
                    _ => self.cast.digest(&name, &mut self.wire.random),
                };
                let node = self.node(node);
                let event = DockerEvent {
                    node,
                    kind,
                    action: &action,
                    id: &id,
                    image: &image,
                    name: &name,
                    attributes: &attributes,
                };
                self.wire.docker(self.cluster, at, &event, self.label);
            }
            Act::Registry { action, by, repository, tag, digest } => {
                let [repository, tag] = [repository, tag].map(|text| self.text(text, at));
                let digest = match digest {
                    Some(digest) => self.text(digest, at),
                    None => self.cast.digest(&format!("{repository}:{tag}"), &mut self.wire.random),
                };
                let Some(actor) = self.cast.actor(by) else { return };
                let event = RegistryEvent {
                    action,
                    repository: &repository,
                    tag: &tag,
                    digest: &digest,
                    user: &actor.username,
                    address: &actor.ip,
                    agent: &actor.agent,
                };
                self.wire.registry(at, &event, self.label);
            }
            Act::Host { node, kind, message, login } => {
                let message = self.text(message, at);
                let node = self.node(node);
                let login = login.as_ref().map(|login| self.text(login, at));
                let event = HostEvent { node, kind, login: login_of(login.as_deref()), message: &message };
                self.wire.host(self.cluster, at, &event, self.label);
            }
            Act::Alert { place, rule, priority, sentence, tags } => {
                if !self.wire.watches(Stream::Falco) {
                    return;
                }
                let ran = self.toucher(place, None, at);
                let [rule, sentence] = [rule, sentence].map(|text| self.text(text, at));
                let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
                let command = ran.argv.join(" ");
                let Some(place) = place_of(self.cast, place) else { return };
                let alert = Alert {
                    rule: &rule,
                    priority,
                    sentence: &sentence,
                    tags: &tags,
                    syscall: "execve",
                    exe: &ran.exe,
                    command: &command,
                    parent: base(&ran.parent.1),
                    tty: if ran.terminal == Terminal::Attached { 34_816 } else { 0 },
                    fd: "",
                };
                self.wire.alert(self.cluster, at, place, &alert, self.label);
            }
            Act::Mute { stream, node, lasts } => {
                let index = node.as_ref().map(|node| self.node(node));
                let name = index.map(|index| self.cluster.nodes[index].name.clone());
                let (from, until) = (at, at + lasts);
                self.wire.lose(Loss {
                    stream: *stream,
                    node: name,
                    from,
                    until,
                    records: 0,
                    stated: Stated::No,
                    index,
                });
            }
        }
    }

    fn text(&mut self, text: &str, at: Micros) -> String {
        self.cast.fill(text, self.repetition, at, &mut self.wire.random).into_owned()
    }

    fn node(&self, place: &str) -> usize {
        let part = place.strip_prefix("node:").unwrap_or(place);
        self.cast.pod(part).map_or(0, |member| member.pod.node)
    }

    fn call(&mut self, at: Micros, call: &Call) {
        let [mut namespace, mut name, query, body, mut response] =
            [&call.namespace, &call.name, &call.query, &call.body, &call.response].map(|text| self.text(text, at));
        let mut body = body;
        let mut begun = false;
        if let Some(Member { pod, power }) = call.pod.as_ref().and_then(|part| self.cast.pod(part)) {
            namespace.clone_from(&pod.namespace);
            name.clone_from(&pod.name);
            let creates = call.verb == "create" && call.resource == PODS && call.subresource.is_empty();
            if creates && body.is_empty() {
                let power = power.as_ref().unwrap_or(&PodPower::Ordinary);
                body = body::pod(self.wire, pod, power, None);
                if matches!(call.answer, Answer::Code(_)) {
                    response = body::pod(self.wire, pod, power, Some(at));
                }
            }
            // What hides the names of tools hides them in pods as well.
            body = self.cast.fill(&body, self.repetition, at, &mut self.wire.random).into_owned();
            response = self.cast.fill(&response, self.repetition, at, &mut self.wire.random).into_owned();
            begun = creates && matches!(call.answer, Answer::Code(_));
        }
        let impersonated = call.impersonate.as_ref().map(|text| impersonated(&self.text(text, at))).unwrap_or_default();
        let Some(actor) = self.cast.actor(&call.by) else { return };
        let made = if actor.username.starts_with("system:node:") { Made::ByKubelet } else { Made::Scheduled };
        let request = Request {
            subresource: &call.subresource,
            query: &query,
            answer: call.answer,
            request_object: &body,
            response_object: &response,
            impersonated: &impersonated,
            ..Request::new(actor, &call.verb, call.resource, &namespace, &name)
        };
        let lasts = call.lasts.or((call.answer == Answer::Code(101)).then_some(10 * SECOND));
        match lasts {
            Some(lasts) => self.wire.session(at, lasts, &request, self.label),
            None => self.wire.request(at, &request, self.label),
        }
        if begun && let Some(part) = &call.pod {
            self.begin_pod(at, part, made);
        }
    }

    /// A pod that was made is scheduled, its image pulled, its program started, and its kubelet reports it.
    fn begin_pod(&mut self, at: Micros, part: &str, made: Made) {
        let Some(Member { pod, power }) = self.cast.pod(part) else { return };
        let (cluster, label) = (self.cluster, self.label);
        // A kubelet tells of the pods that it runs by itself: nobody schedules those.
        if made == Made::Scheduled {
            let answer = Answer::Code(201);
            let request = Request::new(&cluster.scheduler, "create", PODS, &pod.namespace, &pod.name);
            self.wire.request(at + SECOND / 20, &Request { answer, subresource: "binding", ..request }, label);
        }
        let node = cluster.node_of(pod);
        builds::pull_image(cluster, self.wire, at + SECOND / 4, pod, label);
        const HOST: [&str; 12] =
            ["nsenter", "--target", "1", "--mount", "--uts", "--ipc", "--net", "--pid", "--", "sh", "-c", "sleep 1d"];
        let own = format!("/app/{}", pod.container);
        let (exe, argv): (&str, Vec<&str>) =
            if power == &Some(PodPower::Host) { ("/usr/bin/nsenter", HOST.to_vec()) } else { (&own, vec![&own]) };
        let random = &mut self.wire.random;
        let exe = self.cast.fill(exe, self.repetition, at, random).into_owned();
        let argv: Vec<String> =
            argv.iter().map(|word| self.cast.fill(word, self.repetition, at, random).into_owned()).collect();
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let started = at + SECOND;
        let process = Process::contained(pod, self.wire.next_pid(pod.node), started, &exe, &argv);
        self.wire.launch(cluster, &process, 3_600 * SECOND, label);
        if power.as_ref().is_some_and(PodPower::is_privileged) && self.wire.watches(Stream::Falco) {
            self.wire.falco_privileged_container(cluster, started, pod, label);
        }
        let patch = body::pod_status(self.wire, pod, &node.ip, started);
        let request = Request::new(&node.kubelet, "patch", PODS, &pod.namespace, &pod.name);
        let request = Request { subresource: "status", request_object: &patch, ..request };
        self.wire.request(started + SECOND / 5, &request, label);
    }

    fn run(&mut self, at: Micros, run: &Run) {
        let argv: Vec<String> = run.argv.iter().map(|word| self.text(word, at)).collect();
        let on_node = run.place.starts_with("node:");
        let exe = match &run.exe {
            Some(exe) => self.text(exe, at),
            None => program(argv.first().map_or("sh", String::as_str), on_node),
        };
        let node = self.node(&run.place);
        let parent = match (&run.parent, &self.previous) {
            (Origin::Previous, Some(ran)) => (ran.pid, ran.exe.clone(), ran.started),
            (Origin::Program(path), _) => {
                let path = self.text(path, at);
                (700 + daemon(&path, 200), path, at - 3_600 * SECOND)
            }
            _ => self.init(&run.place, at),
        };
        let ran = Ran {
            place: run.place.clone(),
            pid: self.wire.next_pid(node),
            exe,
            argv,
            cwd: self.text(&run.cwd, at),
            uid: run.uid,
            terminal: run.terminal,
            login: run.login.as_ref().map(|login| self.text(login, at)),
            parent,
            started: at,
        };
        let lasts = run.lasts;
        self.with_process(&ran, |wire, cluster, process, label| wire.launch(cluster, process, lasts, label));
        self.ran = Some(ran);
    }

    /// The program that touches a file: the one before it in the same place, or one that nobody saw start.
    fn toucher(&mut self, place: &str, by: Option<&str>, at: Micros) -> Ran {
        if by.is_none()
            && let Some(ran) = self.previous.as_ref().filter(|ran| ran.place == place)
        {
            return ran.clone();
        }
        let exe = by.unwrap_or("/bin/sh").to_owned();
        let node = self.node(place);
        let parent = self.init(place, at);
        Ran {
            place: place.into(),
            pid: self.wire.next_pid(node),
            argv: vec![base(&exe).to_owned()],
            exe,
            cwd: "/".into(),
            uid: 0,
            terminal: Terminal::None,
            login: None,
            parent,
            started: at - SECOND,
        }
    }

    /// What starts programs at a place if nobody else does.
    fn init(&self, place: &str, at: Micros) -> (u64, String, Micros) {
        match self.cast.pod(place) {
            Some(Member { pod, .. }) => {
                let shim = Wire::shim(pod, at);
                (shim.pid, shim.exe.to_owned(), shim.started)
            }
            None => (1, "/usr/lib/systemd/systemd".into(), at - 86_400 * SECOND),
        }
    }

    fn connect(&mut self, at: Micros, connection: &Connection) {
        let [from, to] = [&connection.from, &connection.to].map(|end| self.text(end, at));
        let ran = match &connection.by_previous {
            Origin::Previous => self.previous.clone(),
            Origin::Program(path) => {
                let path = self.text(path, at);
                Some(self.toucher(&connection.from, Some(&path), at))
            }
            Origin::Init => None,
        };
        let source_port = 32_768 + self.wire.random.below(28_000);
        let Self { cast, cluster, wire, label, .. } = self;
        let (Some(from), Some(to)) = (end_of(cast, &from), end_of(cast, &to)) else { return };
        let mut make = |by: Option<Process<'_>>| {
            let connect = Connect {
                from,
                to,
                source_port,
                port: connection.port,
                transport: connection.transport,
                verdict: connection.verdict,
                bytes_sent: connection.sent,
                bytes_received: connection.received,
                count: connection.count,
                lasts: connection.lasts,
                by,
            };
            wire.connect(cluster, at, &connect, *label);
        };
        match ran {
            None => make(None),
            Some(ran) => {
                let argv: Vec<&str> = ran.argv.iter().map(String::as_str).collect();
                make(place_of(cast, &ran.place).map(|place| ran.process(place, &argv)));
            }
        }
    }

    fn with_process(&mut self, ran: &Ran, act: impl FnOnce(&mut Wire, &Cluster, &Process<'_>, Option<Label>)) {
        let argv: Vec<&str> = ran.argv.iter().map(String::as_str).collect();
        let Some(place) = place_of(self.cast, &ran.place) else { return };
        act(self.wire, self.cluster, &ran.process(place, &argv), self.label);
    }
}

/// How a pod comes to its node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Scheduled,
    ByKubelet,
}

impl Ran {
    fn process<'p>(&'p self, place: Place<'p>, argv: &'p [&'p str]) -> Process<'p> {
        let (pid, exe, started) = &self.parent;
        Process {
            place,
            pid: self.pid,
            exe: &self.exe,
            argv,
            cwd: &self.cwd,
            uid: self.uid,
            login: login_of(self.login.as_deref()),
            terminal: self.terminal,
            parent: Parent { pid: *pid, exe, arguments: "", started: *started },
            started: self.started,
        }
    }
}

fn place_of<'c>(cast: &'c Cast, text: &str) -> Option<Place<'c>> {
    match text.strip_prefix("node:") {
        Some(part) => cast.pod(part).map(|member| Place::Node(member.pod.node)),
        None => cast.pod(text).map(|member| Place::Pod(&member.pod)),
    }
}

fn end_of<'e>(cast: &'e Cast, text: &'e str) -> Option<End<'e>> {
    Some(match text.split_once(':') {
        Some(("node", part)) => End::Node(cast.pod(part)?.pod.node),
        Some(("outside", name)) => End::Outside { ip: cast.outside(), name },
        _ => match text {
            "api" => End::ApiServer,
            "outside" => End::Outside { ip: cast.outside(), name: "" },
            _ => match cast.pod(text) {
                Some(member) => End::Pod(&member.pod),
                None => End::Outside { ip: text, name: "" },
            },
        },
    })
}

fn login_of(name: Option<&str>) -> Login<'_> {
    match name {
        None => Login::None,
        Some("root") => Login::Person(0, "root", "pts1", 977),
        Some(name) => Login::Person(1_000, name, "pts0", 811),
    }
}

/// Where a program is that is called by its name.
fn program(name: &str, on_node: bool) -> String {
    if name.starts_with('/') {
        return name.into();
    }
    let folder = match name {
        "iptables" | "useradd" | "usermod" | "auditctl" | "insmod" | "modprobe" | "tcpdump" | "sshd" | "chpasswd" => {
            "/usr/sbin/"
        }
        "sh" if on_node => return "/usr/bin/dash".into(),
        "sh" | "cat" | "ls" | "cp" | "rm" | "mv" | "ps" | "mount" | "chmod" | "ln" | "mkdir" | "dd" if !on_node => {
            "/bin/"
        }
        _ => "/usr/bin/",
    };
    [folder, name].concat()
}

/// `user:NAME,group:NAME` as the API server logs it.
fn impersonated(text: &str) -> String {
    let mut user = "";
    let mut groups = String::new();
    for word in text.split(',') {
        match word.split_once(':') {
            Some(("user", name)) => user = name,
            Some(("group", name)) => {
                groups.push_str(if groups.is_empty() { "\"" } else { ",\"" });
                go_json(&mut groups, name);
                groups.push('"');
            }
            _ => {}
        }
    }
    let mut out = String::from("{\"username\":\"");
    go_json(&mut out, user);
    out.push_str("\",\"groups\":[");
    out.push_str(&groups);
    out.push_str("]}");
    out
}
