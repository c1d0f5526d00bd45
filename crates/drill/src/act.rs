//! What happens, told once: a program runs, a file is touched, a connection is made, a name is looked up, an image moves.
//! Each act is written by every sensor that would have seen it, so that the sources agree with one another.
//!
//! Not here: how a sensor writes it down (see the module of its stream), nor who acts when (see `life` and `scenario`).
//! Requests to the API server are seen by its audit log alone and are made by `audit`.

use palisade_events::time::{Micros, SECOND};

use crate::cluster::{Cluster, Pod};
use crate::record::{Label, Stream};
use crate::text::fnv;
use crate::wire::Wire;

/// Where a process runs.
#[derive(Clone, Copy)]
pub(crate) enum Place<'p> {
    /// In the container of a pod.
    Pod(&'p Pod),
    /// On a node itself, by its index.
    Node(usize),
}

impl Place<'_> {
    /// The index of the node.
    pub(crate) fn node(self) -> usize {
        match self {
            Self::Pod(pod) => pod.node,
            Self::Node(node) => node,
        }
    }
}

/// Whose session a process belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Login<'l> {
    /// A daemon or a container: nobody logged in.
    None,
    /// A person, by user id, name, terminal and session.
    Person(u64, &'l str, &'l str, u64),
}

/// The process that made another.
#[derive(Clone, Copy)]
pub(crate) struct Parent<'p> {
    pub(crate) pid: u64,
    pub(crate) exe: &'p str,
    /// The arguments after the program's name, joined by spaces.
    pub(crate) arguments: &'p str,
    pub(crate) started: Micros,
}

/// A process, as sensors know it.
#[derive(Clone, Copy)]
pub(crate) struct Process<'p> {
    pub(crate) place: Place<'p>,
    /// On the node, not in the container.
    pub(crate) pid: u64,
    pub(crate) exe: &'p str,
    /// With the name it was called by first.
    pub(crate) argv: &'p [&'p str],
    pub(crate) cwd: &'p str,
    pub(crate) uid: u64,
    pub(crate) login: Login<'p>,
    /// Whether it has a terminal.
    pub(crate) terminal: Terminal,
    pub(crate) parent: Parent<'p>,
    pub(crate) started: Micros,
}

impl<'p> Process<'p> {
    /// A program as root in a pod's container, without a terminal, started by the container's shim.
    pub(crate) fn contained(pod: &'p Pod, pid: u64, started: Micros, exe: &'p str, argv: &'p [&'p str]) -> Self {
        Self {
            place: Place::Pod(pod),
            pid,
            exe,
            argv,
            cwd: "/",
            uid: 0,
            login: Login::None,
            terminal: Terminal::None,
            parent: Wire::shim(pod, started),
            started,
        }
    }
}

/// Whether a process has a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Terminal {
    None,
    Attached,
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    Create,
    Delete,
    Rename,
    /// Its mode or owner is changed.
    Attributes,
    /// Something is mounted there.
    Mount,
}

/// A process touches a file.
#[derive(Clone, Copy)]
pub(crate) struct Touch<'t> {
    pub(crate) by: Process<'t>,
    pub(crate) path: &'t str,
    pub(crate) access: Access,
    /// Whether it was let.
    pub(crate) outcome: Outcome,
}

/// How something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
}

/// One side of a connection.
#[derive(Clone, Copy)]
pub(crate) enum End<'e> {
    Pod(&'e Pod),
    /// A node, by its index.
    Node(usize),
    /// The API server's address inside the cluster.
    ApiServer,
    /// An address outside of the cluster, with the name by which it was looked up, if it was.
    Outside {
        ip: &'e str,
        name: &'e str,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

/// What network policy says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Forwarded,
    Dropped,
}

/// A connection, or several of the same kind.
#[derive(Clone, Copy)]
pub(crate) struct Connect<'c> {
    pub(crate) from: End<'c>,
    pub(crate) to: End<'c>,
    pub(crate) source_port: u64,
    pub(crate) port: u64,
    pub(crate) transport: Transport,
    pub(crate) verdict: Verdict,
    /// Bytes that the one who connects sends, and gets back, over all connections.
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Connections of this kind that were made in the moment: at least 1.
    pub(crate) count: u64,
    /// How long the longest of them lasts.
    pub(crate) lasts: Micros,
    /// The process that connects, where one is known.
    pub(crate) by: Option<Process<'c>>,
}

/// A name is looked up, by the cluster's DNS.
#[derive(Clone, Copy)]
pub(crate) struct Lookup<'l> {
    pub(crate) from: &'l Pod,
    /// Without its last dot.
    pub(crate) name: &'l str,
    /// `A`, `AAAA`, `TXT` …
    pub(crate) kind: &'l str,
    /// Addresses, or texts, of the answer; none with a failure.
    pub(crate) answers: &'l [&'l str],
    /// `NOERROR` (0), `NXDOMAIN` (3) …
    pub(crate) rcode: u64,
}

/// Something that happens to a container or an image of a Docker daemon.
#[derive(Clone, Copy)]
pub(crate) struct DockerEvent<'d> {
    /// The host of the daemon, by its node's index.
    pub(crate) node: usize,
    /// `container`, `image`, `network`, `volume`.
    pub(crate) kind: &'d str,
    /// As `create`, `start`, `die`, `pull`, `exec_create: sh -c id`.
    pub(crate) action: &'d str,
    /// A container's id, or an image's reference.
    pub(crate) id: &'d str,
    pub(crate) image: &'d str,
    /// A container's name.
    pub(crate) name: &'d str,
    /// Further attributes.
    pub(crate) attributes: &'d [(&'d str, &'d str)],
}

/// Something that happens to an image in the registry.
#[derive(Clone, Copy)]
pub(crate) struct RegistryEvent<'r> {
    /// `push`, `pull`, `delete`, `mount`.
    pub(crate) action: &'r str,
    /// Without the registry's host, as `shop/web`.
    pub(crate) repository: &'r str,
    pub(crate) tag: &'r str,
    /// Of the manifest: 64 hex digits.
    pub(crate) digest: &'r str,
    pub(crate) user: &'r str,
    pub(crate) address: &'r str,
    pub(crate) agent: &'r str,
}

/// A record that a program on a node writes to the kernel's audit log about a person: a login, a password, a new account.
#[derive(Clone, Copy)]
pub(crate) struct HostEvent<'h> {
    pub(crate) node: usize,
    /// The audit record's type, as `USER_LOGIN`, `USER_AUTH`, `ADD_USER`, `CONFIG_CHANGE`, `SERVICE_STOP`.
    pub(crate) kind: &'h str,
    pub(crate) login: Login<'h>,
    /// What the record's `msg` says: `op=login id=1000 exe="/usr/sbin/sshd" … res=success`.
    pub(crate) message: &'h str,
}

/// A number below `bound` that belongs to a name: daemons have the same process id as long as they run.
pub(crate) fn daemon(name: &str, bound: u64) -> u64 {
    fnv(name.bytes()) % bound
}

impl Wire {
    /// A program starts, runs for a while and ends.
    pub(crate) fn launch(&mut self, cluster: &Cluster, process: &Process<'_>, lasts: Micros, label: Option<Label>) {
        let at = process.started;
        if self.watches(Stream::Auditd) {
            self.auditd_launch(cluster, process, label);
        }
        if self.watches(Stream::Tetragon) {
            self.tetragon_exec(cluster, process, label);
            self.tetragon_exit(cluster, at + lasts.max(1), process, label);
        }
        if self.watches(Stream::Falco) {
            self.falco_launch(cluster, process, label);
        }
    }

    /// A process touches a file at `at`. Sensors tell of it if they watch the path.
    pub(crate) fn touch(&mut self, cluster: &Cluster, at: Micros, touch: &Touch<'_>, label: Option<Label>) {
        if self.watches(Stream::Auditd) {
            self.auditd_touch(cluster, at, touch, label);
        }
        if self.watches(Stream::Tetragon) {
            self.tetragon_touch(cluster, at, touch, label);
        }
        if self.watches(Stream::Falco) {
            self.falco_touch(cluster, at, touch, label);
        }
    }

    /// A connection is made at `at`.
    pub(crate) fn connect(&mut self, cluster: &Cluster, at: Micros, connect: &Connect<'_>, label: Option<Label>) {
        if self.watches(Stream::Tetragon) {
            self.tetragon_connect(cluster, at, connect, label);
        }
        if self.watches(Stream::Falco) {
            self.falco_connect(cluster, at, connect, label);
        }
        if self.watches(Stream::Hubble) {
            self.hubble_connect(cluster, at, connect, label);
        }
        if self.watches(Stream::Calico) {
            self.calico_connect(cluster, at, connect, label);
        }
    }

    /// A name is looked up at `at`.
    pub(crate) fn lookup(&mut self, cluster: &Cluster, at: Micros, lookup: &Lookup<'_>, label: Option<Label>) {
        if self.watches(Stream::Hubble) {
            self.hubble_lookup(cluster, at, lookup, label);
        }
    }

    pub(crate) fn docker(&mut self, cluster: &Cluster, at: Micros, event: &DockerEvent<'_>, label: Option<Label>) {
        if self.watches(Stream::Docker) {
            self.docker_event(cluster, at, event, label);
        }
    }

    pub(crate) fn registry(&mut self, at: Micros, event: &RegistryEvent<'_>, label: Option<Label>) {
        if self.watches(Stream::Registry) {
            self.registry_event(at, event, label);
        }
    }

    pub(crate) fn host(&mut self, cluster: &Cluster, at: Micros, event: &HostEvent<'_>, label: Option<Label>) {
        if self.watches(Stream::Auditd) {
            self.auditd_user(cluster, at, event, label);
        }
    }

    /// What a container's first process is started by.
    pub(crate) fn shim(pod: &Pod, at: Micros) -> Parent<'static> {
        Parent {
            pid: 1_200 + daemon(&pod.container_id, 780),
            exe: "/usr/bin/containerd-shim-runc-v2",
            arguments: "-namespace k8s.io -id",
            started: at - 86_400 * SECOND,
        }
    }
}
