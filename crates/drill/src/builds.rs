//! Ordinary life of images: CI builds and pushes them, nodes and people pull them, old ones are cleaned up.
//!
//! Not here: how Docker and the registry write that down (see `docker` and `registry`), nor when it happens (see
//! `benign`). Programs start within a second of what begins them, since the kernel's audit log of a node knows no
//! later than now; what daemons and the registry tell may follow over minutes.

use palisade_events::time::{DAY, Micros, SECOND};

use crate::act::{DockerEvent, Login, Parent, Place, Process, RegistryEvent, Terminal};
use crate::cluster::{Cluster, Pod, sha256};
use crate::random::Random;
use crate::record::Label;
use crate::registry::REGISTRY_HOST;
use crate::text::{fnv, suffix};
use crate::wire::Wire;

/// What containers of jobs run in.
const BUILDER: (&str, &str) = ("platform/builder", "24.04");

/// Images that others are built from.
const BASES: [(&str, &str); 4] = [
    ("platform/base", "24.04"),
    ("platform/node", "22.11"),
    ("platform/python", "3.13"),
    ("platform/builder", "24.04"),
];

const DOCKER: &str = "docker/28.3.3 go/go1.24.5 git-commit/bea959c kernel/6.8.0-71-generic os/linux arch/amd64 UpstreamClient(docker-sdk-go/28.3.3)";
const DOCKER_DESKTOP: &str = "docker/28.3.2 go/go1.24.5 git-commit/e77ff99 kernel/6.10.14-linuxkit os/linux arch/arm64 UpstreamClient(Docker-Client/28.3.2 \\(darwin\\))";
pub(crate) const BUILDKIT: &str = "buildkit/v0.23";
const CONTAINERD: &str = "containerd/2.1.4";

/// The identity that kubelets pull with.
pub(crate) const PULLER: &str = "system:image-puller";

/// Lets one thing happen.
pub(crate) fn act(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    match wire.random.below(100) {
        0..12 => build_with_docker(cluster, wire, now),
        12..20 => build_with_buildkit(cluster, wire, now),
        20..84 => pull_by_node(cluster, wire, now),
        84..90 => clean_up(cluster, wire, now),
        _ => pull_by_developer(cluster, wire, now),
    }
}

/// What a build is of: an application's image, as its pods run it or newer.
struct Build<'c> {
    repository: &'c str,
    /// `web` and so on.
    project: &'c str,
    namespace: &'c str,
    /// With the registry's host and the tag.
    reference: String,
    tag: String,
    digest: String,
    /// The daemon's own id of the image.
    image_id: String,
}

impl<'c> Build<'c> {
    fn new(cluster: &'c Cluster, wire: &mut Wire, now: Micros) -> Option<Self> {
        let from = wire.random.below(cluster.pods.len() as u64) as usize;
        let (before, after) = cluster.pods.split_at_checked(from)?;
        let is_own = |pod: &&Pod| matches!(pod.workload.as_str(), "web" | "queue");
        let pod = after.iter().chain(before).find(is_own)?;
        let repository = in_registry(&pod.image.repository)?;
        // Versions go up with time, so that a later build has a later one.
        let (day, minute) = (now.div_euclid(DAY), now.rem_euclid(DAY) / (60 * SECOND));
        let tag = format!("1.{}.{minute}", 43 + day.rem_euclid(60));
        Some(Self {
            repository,
            project: &pod.workload,
            namespace: &pod.namespace,
            reference: format!("{REGISTRY_HOST}/{repository}:{tag}"),
            tag,
            digest: sha256(&mut wire.random),
            image_id: ["sha256:", &sha256(&mut wire.random)].concat(),
        })
    }
}

/// After how many steps the daemon tells what of a container, with what beside its labels.
type Told<'t> = (Micros, &'t str, &'t [(&'t str, &'t str)]);

/// A job on the last node, in a container of its own: tests, then the image, then its push.
fn build_with_docker(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let node = cluster.nodes.len().saturating_sub(1);
    let Some(address) = cluster.nodes.get(node).map(|node| node.ip.as_str()) else { return };
    let Some(build) = Build::new(cluster, wire, now) else { return };
    // What waits for minutes fills the queue of what is under way.
    let step = if wire.is_crowded() { SECOND / 50 } else { wire.random.between(SECOND / 2, 2 * SECOND) };
    let user = &cluster.deployer.username;
    let passes = !wire.random.chance(1, 8);

    build_programs(cluster, wire, now, node, &build);
    let (repository, tag) = BUILDER;
    let digest = &pinned(repository, tag);
    let pull = RegistryEvent { action: "pull", repository, tag, digest, user, address, agent: DOCKER };
    wire.registry(now + step, &pull, None);

    let image = format!("{REGISTRY_HOST}/{repository}:{tag}");
    let container = sha256(&mut wire.random);
    let job = (400_000 + wire.random.below(90_000)).to_string();
    let name = format!("runner-{}-project-{}-concurrent-0-build", suffix(&mut wire.random, 8), build.project);
    // Docker's own bridge on this machine.
    let network = "9b6f0d1c5e7a48f2a3d4c6b8e0f1a2c4d6e8f0a1b3c5d7e9f1a2b4c6d8e0f2a4";
    let exec = sha256(&mut wire.random);
    let tests = *wire.random.pick(&[
        "sh -c make test",
        "sh -c npm test",
        "sh -c pytest -q && ruff check",
        "sh -c go test ./...",
    ]);
    let ran = wire.random.between(3, 23);
    let (exec_code, code) = if passes { ("0", "0") } else { ("2", "1") };
    let labels = [("com.gitlab.gitlab-runner.job.id", job.as_str()), ("com.gitlab.gitlab-runner.type", "build")];
    let joined = [("container", container.as_str()), ("type", "bridge")];
    let (create, start) = (format!("exec_create: {tests}"), format!("exec_start: {tests}"));
    let (done, end) = (4 + ran, 5 + ran);
    let duration = ((end - 3) * step / SECOND).to_string();
    let running = [("execID", exec.as_str())];
    let ran_out = [("execID", exec.as_str()), ("exitCode", exec_code)];
    let died = [("execDuration", duration.as_str()), ("exitCode", code)];
    let told: [Told<'_>; 7] = [
        (2, "create", &[]),
        (3, "start", &[]),
        (4, &create, &running),
        (4, &start, &running),
        (done, "exec_die", &ran_out),
        (end, "die", &died),
        (end + 1, "destroy", &[]),
    ];
    let of_image =
        |action, id, image| DockerEvent { node, kind: "image", action, id, image, name: "", attributes: &[] };
    wire.docker(cluster, now + step + step / 2, &of_image("pull", &image, &image), None);
    for (nth, (after, action, further)) in (0..).zip(told) {
        let attributes: Vec<(&str, &str)> = labels.iter().chain(further).copied().collect();
        let event = DockerEvent {
            node,
            kind: "container",
            action,
            id: &container,
            image: &image,
            name: &name,
            attributes: &attributes,
        };
        wire.docker(cluster, now + after * step + nth * 1_300, &event, None);
    }
    for (after, action) in [(2, "connect"), (end, "disconnect")] {
        let event =
            DockerEvent { node, kind: "network", action, id: network, image: "", name: "bridge", attributes: &joined };
        wire.docker(cluster, now + after * step + step / 3, &event, None);
    }
    if passes {
        let at = now + (end + 2) * step;
        wire.docker(cluster, at, &of_image("tag", &build.image_id, &build.reference), None);
        push(wire, at + step, &build, user, address, DOCKER);
        wire.docker(cluster, at + step + 40_000, &of_image("push", &build.reference, &build.reference), None);
    }
}

/// A job on CI's own machine, which no sensor watches: the registry alone tells of it.
fn build_with_buildkit(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some(build) = Build::new(cluster, wire, now) else { return };
    let step = if wire.is_crowded() { SECOND / 50 } else { SECOND };
    let (user, address) = (&cluster.deployer.username, &cluster.deployer.ip);
    let (repository, tag) = *wire.random.pick(&BASES);
    let digest = &pinned(repository, tag);
    wire.registry(
        now,
        &RegistryEvent { action: "pull", repository, tag, digest, user, address, agent: BUILDKIT },
        None,
    );
    let lasts = wire.random.between(20, 120);
    push(wire, now + lasts * step, &build, user, address, BUILDKIT);
}

fn push(wire: &mut Wire, at: Micros, build: &Build<'_>, user: &str, address: &str, agent: &str) {
    let (repository, tag, digest) = (build.repository, &build.tag, &build.digest);
    if wire.random.chance(1, 3) {
        let layer = &pinned(repository, "layer");
        let mount = RegistryEvent { action: "mount", repository, tag: "", digest: layer, user, address, agent };
        wire.registry(at - 60_000, &mount, None);
    }
    wire.registry(at, &RegistryEvent { action: "push", repository, tag, digest, user, address, agent }, None);
}

/// The programs that a job is seen by on its node.
fn build_programs(cluster: &Cluster, wire: &mut Wire, now: Micros, node: usize, build: &Build<'_>) {
    // The runner was started in the night.
    let night = now.div_euclid(DAY) * DAY;
    let runner = Parent {
        pid: 1_900,
        exe: "/usr/bin/gitlab-runner",
        arguments: "run --config /etc/gitlab-runner/config.toml",
        started: night,
    };
    let cwd = format!("/builds/{}/{}", build.namespace, build.project);
    let process = |pid, exe, argv, parent, started, uid| Process {
        place: Place::Node(node),
        pid,
        exe,
        argv,
        cwd: &cwd,
        uid,
        login: Login::None,
        terminal: Terminal::None,
        parent,
        started,
    };
    let pid = wire.next_pid(node);
    let argv: &[&str] = &["docker", "build", "--pull", "--push", "--tag", &build.reference, "."];
    let docker = process(pid, "/usr/bin/docker", argv, runner, now, 998);
    wire.launch(cluster, &docker, 90 * SECOND, None);
    let arguments = argv.get(1..).unwrap_or_default().join(" ");
    let parent = Parent { pid, exe: docker.exe, arguments: &arguments, started: now };
    let plugin: &[&str] =
        &["/usr/libexec/docker/cli-plugins/docker-buildx", "buildx", "build", "--tag", &build.reference, "."];
    let pid = wire.next_pid(node);
    let exe = "/usr/libexec/docker/cli-plugins/docker-buildx";
    wire.launch(cluster, &process(pid, exe, plugin, parent, now + 40_000, 998), 89 * SECOND, None);
    // The daemon runs what the image's file says.
    let dockerd = Parent { pid: 1_402, exe: "/usr/bin/dockerd", arguments: "-H fd://", started: night };
    let argv: &[&str] =
        &["runc", "--log-format", "json", "run", "--bundle", "/var/lib/docker/buildkit/executor", "--keep"];
    let pid = wire.next_pid(node);
    wire.launch(cluster, &process(pid, "/usr/bin/runc", argv, dockerd, now + 300_000, 0), 30 * SECOND, None);
    let parent =
        Parent { pid, exe: "/usr/bin/runc", arguments: "--log-format json run --keep", started: now + 300_000 };
    let argv = *wire.random.pick(&[
        &["/bin/sh", "-c", "npm ci --omit=dev"] as &[&str],
        &["/bin/sh", "-c", "pip install --no-cache-dir -r requirements.txt"],
        &["/bin/sh", "-c", "apt-get update && apt-get install -y --no-install-recommends ca-certificates curl"],
        &["/bin/sh", "-c", "curl -fsSL https://artifacts.example.com/tools/install.sh | sh"],
    ]);
    let pid = wire.next_pid(node);
    wire.launch(cluster, &process(pid, "/bin/sh", argv, parent, now + 420_000, 0), 29 * SECOND, None);
}

/// A node's containerd fetches the image of a pod.
fn pull_by_node(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let pod = wire.random.pick(&cluster.pods);
    pull_image(cluster, wire, now, pod, None);
}

/// The node of a pod fetches its image, if it comes from the cluster's own registry.
pub(crate) fn pull_image(cluster: &Cluster, wire: &mut Wire, at: Micros, pod: &Pod, label: Option<Label>) {
    let (Some(repository), Some(node)) = (in_registry(&pod.image.repository), cluster.nodes.get(pod.node)) else {
        return;
    };
    let (tag, digest, address) = (&pod.image.tag, &pod.image.digest, &node.ip);
    let pull = RegistryEvent { action: "pull", repository, tag, digest, user: PULLER, address, agent: CONTAINERD };
    wire.registry(at, &pull, label);
}

/// What nobody runs any more is deleted: from the registry by its own robot, from the build machine by a timer.
fn clean_up(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let Some(build) = Build::new(cluster, wire, now.saturating_sub(30 * DAY)) else { return };
    let (repository, tag) = (build.repository, &build.tag);
    // The registry is told either a tag or a manifest.
    let digest = if wire.random.chance(1, 2) { build.digest.as_str() } else { "" };
    let (user, address, agent) = ("robot$retention", "10.40.0.30", "registry-retention/2.4.1");
    wire.registry(now, &RegistryEvent { action: "delete", repository, tag, digest, user, address, agent }, None);
    let node = cluster.nodes.len().saturating_sub(1);
    for (after, action) in [(0, "untag"), (15_000, "delete")] {
        let (id, attributes): (&str, &[(&str, &str)]) = (&build.image_id, &[]);
        let event = DockerEvent { node, kind: "image", action, id, image: "", name: id, attributes };
        wire.docker(cluster, now + SECOND + after, &event, None);
    }
}

fn pull_by_developer(cluster: &Cluster, wire: &mut Wire, now: Micros) {
    let developer = wire.random.pick(&cluster.developers);
    let (user, address, agent) = (&developer.username, &developer.ip, DOCKER_DESKTOP);
    if wire.random.chance(1, 3) {
        let (repository, tag) = *wire.random.pick(&BASES);
        let digest = &pinned(repository, tag);
        wire.registry(now, &RegistryEvent { action: "pull", repository, tag, digest, user, address, agent }, None);
        return;
    }
    let image = &wire.random.pick(&cluster.pods).image;
    let Some(repository) = in_registry(&image.repository) else { return };
    let (tag, digest) = (&image.tag, &image.digest);
    wire.registry(now, &RegistryEvent { action: "pull", repository, tag, digest, user, address, agent }, None);
}

/// A repository without the registry's host; nothing, if it is in another registry.
pub(crate) fn in_registry(repository: &str) -> Option<&str> {
    repository.strip_prefix(REGISTRY_HOST)?.strip_prefix('/')
}

/// The digest of an image that nobody rebuilds while a drill lasts.
fn pinned(repository: &str, tag: &str) -> String {
    sha256(&mut Random::new(fnv(repository.bytes().chain(tag.bytes()))))
}

#[cfg(test)]
mod tests;
