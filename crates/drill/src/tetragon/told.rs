//! A process and its parent, as every event of Tetragon tells of them.
//!
//! Not here: what they do. Of a process that was there before the drill began, only what its children say of it is known;
//! it is told as Tetragon tells of processes that it found when it started.

use palisade_events::time::{DAY, Micros, SECOND};

use crate::act::{Login, Parent, Place, Process, Terminal};
use crate::cluster::{Cluster, Pod};
use crate::settings::MONDAY_MORNING;
use crate::text::{clock, digits, fnv, number, plain};
use crate::wire::Wire;

/// Nodes are booted anew this often, each on a day of its own: uptimes are those of real nodes, whatever the drill's start.
const BOOT_EVERY: Micros = 160 * DAY;

/// On this day nodes have been up for at least some weeks.
const NO_BOOT_SINCE: Micros = MONDAY_MORNING - 20 * DAY;

/// Processes with a greater process id, beyond the node's number, started after the drill did.
const DAEMON_PID_MAX: u64 = 2_000;

/// Where a container's shim has its files.
const TASKS: &str = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/";

/// What Tetragon tells processes apart by: the node, when it started on the node's own clock, and the process id.
#[derive(Clone, Copy)]
pub(super) struct Instance<'c> {
    pub(super) host: &'c str,
    /// Nanoseconds after the node booted.
    pub(super) ktime: u64,
    pub(super) pid: u64,
}

impl Instance<'_> {
    pub(super) fn put(self, out: &mut String) {
        let start = out.len();
        out.push_str(self.host);
        out.push(':');
        number(out, self.ktime);
        out.push(':');
        number(out, self.pid);
        let mut text = [0; 120];
        let length = (out.len() - start).min(text.len());
        text[..length].copy_from_slice(&out.as_bytes()[start..start + length]);
        out.truncate(start);
        base64(out, &text[..length]);
    }
}

/// What an event tells of a process and its parent.
pub(super) struct Told<'t> {
    /// The index of the node.
    pub(super) node: usize,
    /// Its name.
    pub(super) host: &'t str,
    process: &'t Process<'t>,
    pod: Option<&'t Pod>,
    /// When the node booted last.
    boot: Micros,
    itself: Instance<'t>,
    parent: Instance<'t>,
    /// When the parent started.
    parent_started: Micros,
    /// Whether the parent was there before the drill began.
    by_daemon: bool,
    by_shim: bool,
}

impl<'t> Told<'t> {
    /// `None` if there is no such node.
    pub(super) fn new(cluster: &'t Cluster, process: &'t Process<'t>) -> Option<Self> {
        let node = process.place.node();
        let host = cluster.nodes.get(node)?.name.as_str();
        let uptime = uptime(host, process.started);
        let boot = process.started.wrapping_sub(uptime);
        let pod = match process.place {
            Place::Pod(pod) => Some(pod),
            Place::Node(_) => None,
        };
        let Parent { pid, started, .. } = process.parent;
        let by_daemon = pid < DAEMON_PID_MAX + node as u64 && process.started.wrapping_sub(started) >= 3_600 * SECOND;
        let (parent, parent_started) = if by_daemon {
            let after = daemon_start(&process.parent, pod);
            (instance(host, after, pid, boot.wrapping_add(after)), boot.wrapping_add(after))
        } else {
            (instance(host, self::uptime(host, started), pid, started), started)
        };
        Some(Self {
            node,
            host,
            process,
            pod,
            boot,
            itself: instance(host, uptime, process.pid, process.started),
            parent,
            parent_started,
            by_daemon,
            by_shim: is_shim(&process.parent),
        })
    }

    /// The digits past the microsecond of when the process did something.
    pub(super) fn nanos(&self, at: Micros) -> u64 {
        nanos_of(at, self.process.pid)
    }

    /// Writes `"process":{…},"parent":{…}`.
    pub(super) fn put(&self, out: &mut String, references: u64) {
        let process = self.process;
        let in_init_tree = self.is_in_init_tree();
        out.push_str("\"process\":{\"exec_id\":\"");
        self.itself.put(out);
        put_owner(out, process.pid, process.uid, &[process.cwd], process.exe);
        if let Some(words) = process.argv.get(1..).filter(|words| !words.is_empty()) {
            out.push_str("\",\"arguments\":\"");
            put_arguments(out, words);
        }
        out.push_str("\",\"flags\":\"execve");
        out.push_str(if process.cwd == "/" { " rootcwd clone" } else { " clone" });
        out.push_str(if in_init_tree { " inInitTree" } else { "" });
        self.put_start(out, process.started, process.pid, auid(process.login));
        if let Some(pod) = self.pod {
            // Only the first process of a container is its first in its own namespace.
            self.put_pod(out, pod, if in_init_tree && self.by_shim { 1 } else { pid_inside(process.pid) });
        }
        out.push_str(",\"parent_exec_id\":\"");
        self.parent.put(out);
        put_end(out, references, process.pid, in_init_tree);
        self.put_parent(out, references + 1);
    }

    fn put_parent(&self, out: &mut String, references: u64) {
        let (process, parent) = (self.process, &self.process.parent);
        let shim_of = self.pod.filter(|_| self.by_shim);
        let pod = self.pod.filter(|_| !self.by_shim);
        out.push_str(",\"parent\":{\"exec_id\":\"");
        self.parent.put(out);
        let uid = if self.by_daemon && pod.is_none() { 0 } else { process.uid };
        let is_at_root = match shim_of {
            Some(pod) => {
                put_owner(out, parent.pid, uid, &[TASKS, &pod.container_id], parent.exe);
                false
            }
            None => {
                let cwd = if self.by_daemon { "/" } else { process.cwd };
                put_owner(out, parent.pid, uid, &[cwd], parent.exe);
                cwd == "/"
            }
        };
        if !parent.arguments.is_empty() {
            out.push_str("\",\"arguments\":\"");
            plain(out, parent.arguments);
            if let Some(pod) = shim_of {
                out.push(' ');
                plain(out, &pod.container_id);
                out.push_str(" -address /run/containerd/containerd.sock");
            }
        }
        let in_init_tree = pod.is_some() && self.by_daemon;
        out.push_str(if self.by_daemon { "\",\"flags\":\"procFS auid" } else { "\",\"flags\":\"execve" });
        out.push_str(if is_at_root { " rootcwd" } else { "" });
        out.push_str(if self.by_daemon { "" } else { " clone" });
        out.push_str(if in_init_tree { " inInitTree" } else { "" });
        let login = if self.by_daemon { Login::None } else { process.login };
        self.put_start(out, self.parent_started, parent.pid, auid(login));
        if let Some(pod) = pod {
            self.put_pod(out, pod, if self.by_daemon { 1 } else { pid_inside(parent.pid) });
        }
        out.push_str(",\"parent_exec_id\":\"");
        self.grandparent().put(out);
        put_end(out, references, parent.pid, in_init_tree);
    }

    /// Who made the parent: the kernel the first process, that one all daemons, a container's shim what is in a container.
    fn grandparent(&self) -> Instance<'t> {
        let host = self.host;
        if self.process.parent.pid == 1 {
            return Instance { host, ktime: 1, pid: 0 };
        }
        let inside = self.pod.filter(|_| !self.by_shim);
        let made_by = match inside {
            Some(pod) => Wire::shim(pod, self.process.started),
            None => Parent { pid: 1, exe: "/usr/lib/systemd/systemd", arguments: "", started: self.boot },
        };
        let after = daemon_start(&made_by, inside);
        instance(host, after, made_by.pid, self.boot.wrapping_add(after))
    }

    /// Whether the process is a container's first, or descends from it: what is executed in a container from outside does
    /// not.
    fn is_in_init_tree(&self) -> bool {
        let Some(pod) = self.pod else { return false };
        if self.process.terminal == Terminal::Attached {
            return false;
        }
        match self.by_shim {
            true => self.process.exe.strip_prefix("/app/") == Some(pod.container.as_str()),
            false => self.by_daemon,
        }
    }

    fn put_start(&self, out: &mut String, started: Micros, pid: u64, auid: u64) {
        out.push_str("\",\"start_time\":\"");
        stamp(out, started, Some(nanos_of(started, pid)));
        out.push_str("\",\"auid\":");
        number(out, auid);
    }

    fn put_pod(&self, out: &mut String, pod: &Pod, pid: u64) {
        out.push_str(",\"pod\":{\"namespace\":\"");
        plain(out, &pod.namespace);
        out.push_str("\",\"name\":\"");
        plain(out, &pod.name);
        out.push_str("\",\"uid\":\"");
        plain(out, &pod.uid);
        out.push_str("\",\"container\":{\"id\":\"containerd://");
        plain(out, &pod.container_id);
        out.push_str("\",\"name\":\"");
        plain(out, &pod.container);
        out.push_str("\",\"image\":{\"id\":\"");
        plain(out, &pod.image.repository);
        out.push_str("@sha256:");
        plain(out, &pod.image.digest);
        out.push_str("\",\"name\":\"");
        plain(out, &pod.image.repository);
        out.push(':');
        plain(out, &pod.image.tag);
        out.push_str("\"},\"start_time\":\"");
        stamp(out, self.boot.wrapping_add(SECOND + daemon_start(&Wire::shim(pod, self.boot), Some(pod))), None);
        out.push_str("\",\"pid\":");
        number(out, pid);
        out.push_str("},\"pod_labels\":{\"app.kubernetes.io/name\":\"");
        plain(out, &pod.workload);
        out.push_str("\",\"app.kubernetes.io/part-of\":\"");
        plain(out, &pod.namespace);
        out.push_str("\"},\"workload\":\"");
        plain(out, &pod.workload);
        out.push_str("\",\"workload_kind\":\"");
        out.push_str(if pod.workload == "db" { "StatefulSet" } else { "Deployment" });
        out.push_str("\"},\"docker\":\"");
        plain(out, pod.container_id.get(..31).unwrap_or(&pod.container_id));
        out.push('"');
    }
}

/// Writes process id, user, folder (of parts) and program, after the id of the execution.
fn put_owner(out: &mut String, pid: u64, uid: u64, cwd: &[&str], exe: &str) {
    out.push_str("\",\"pid\":");
    number(out, pid);
    out.push_str(",\"uid\":");
    number(out, uid);
    out.push_str(",\"cwd\":\"");
    for part in cwd {
        plain(out, part);
    }
    out.push_str("\",\"binary\":\"");
    plain(out, exe);
}

fn put_end(out: &mut String, references: u64, pid: u64, in_init_tree: bool) {
    out.push('"');
    // As with all of protobuf's zeros.
    if references > 0 {
        out.push_str(",\"refcnt\":");
        number(out, references);
    }
    out.push_str(",\"tid\":");
    number(out, pid);
    out.push_str(if in_init_tree { ",\"in_init_tree\":true}" } else { ",\"in_init_tree\":false}" });
}

/// As Tetragon joins them: quotes are put around what holds a space, and what they stand around is left as it is.
fn put_arguments(out: &mut String, words: &[&str]) {
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            out.push(' ');
        }
        let quote = if word.is_empty() || word.contains(' ') { "\\\"" } else { "" };
        out.push_str(quote);
        plain(out, word);
        out.push_str(quote);
    }
}

fn auid(login: Login<'_>) -> u64 {
    match login {
        Login::Person(id, ..) => id,
        Login::None => u64::from(u32::MAX),
    }
}

/// The id that a process of a container has there.
fn pid_inside(pid: u64) -> u64 {
    7 + pid % 29_989
}

fn is_shim(parent: &Parent<'_>) -> bool {
    parent.exe.contains("/containerd-shim")
}

fn instance(host: &str, uptime: Micros, pid: u64, started: Micros) -> Instance<'_> {
    Instance { host, ktime: (uptime as u64).wrapping_mul(1_000).wrapping_add(nanos_of(started, pid)), pid }
}

/// How long a node has been up at a time.
fn uptime(host: &str, at: Micros) -> Micros {
    let own = (fnv(host.bytes()) % (80 * DAY as u64)) as Micros;
    at.wrapping_sub(NO_BOOT_SINCE).wrapping_add(own).rem_euclid(BOOT_EVERY)
}

/// When a daemon was started, after the node was booted: what its children say of that differs. Each container has a shim
/// of its own.
fn daemon_start(daemon: &Parent<'_>, pod: Option<&Pod>) -> Micros {
    if daemon.pid == 1 {
        return SECOND;
    }
    let container = pod.and_then(|pod| pod.container_id.as_bytes().get(..12)).unwrap_or_default();
    let own = mixed(fnv(daemon.exe.bytes()) ^ fnv(container.iter().copied())) % (50 * SECOND as u64);
    9 * SECOND + own as Micros
}

/// The three digits past the microsecond of a time, the same whenever they are asked for.
pub(super) fn nanos_of(at: Micros, pid: u64) -> u64 {
    mixed(at as u64 ^ pid << 40) % 1_000
}

/// Spreads close numbers wide.
pub(super) fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    let number = (number ^ number >> 32).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    number ^ number >> 32
}

/// `2026-01-31T23:59:59.123456789Z`, or without a fraction. One event names several days, and the wire's calendar
/// remembers but one.
pub(super) fn stamp(out: &mut String, time: Micros, nanos: Option<u64>) {
    let (year, month, day) = date(time.div_euclid(DAY));
    digits(out, year.rem_euclid(10_000) as u64, 4);
    out.push('-');
    digits(out, month as u64, 2);
    out.push('-');
    digits(out, day as u64, 2);
    out.push('T');
    clock(out, time);
    if let Some(nanos) = nanos {
        out.push('.');
        digits(out, time.rem_euclid(SECOND) as u64 * 1_000 + nanos, 9);
    }
    out.push('Z');
}

/// Year, month and day of a day since 1970. Counted from 1 March of the year 0, so that leap days come last in their
/// years, in cycles of 400 years.
fn date(day: i64) -> (i64, i64, i64) {
    const CYCLE: i64 = 146_097;
    let day = day + 719_468;
    let of_cycle = day.rem_euclid(CYCLE);
    let year = (of_cycle - of_cycle / 1_460 + of_cycle / 36_524 - of_cycle / 146_096) / 365;
    let of_year = of_cycle - (365 * year + year / 4 - year / 100);
    // Months from March on repeat their lengths every five, which have 153 days.
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + day.div_euclid(CYCLE) * 400 + i64::from(month <= 2), month, of_month)
}

/// Writes up to 120 bytes.
pub(super) fn base64(out: &mut String, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = [b'='; 160];
    for (group, four) in bytes.chunks(3).zip(text.chunks_exact_mut(4)) {
        let bits = (0..3).fold(0, |bits, n| bits << 8 | u32::from(group.get(n).copied().unwrap_or(0)));
        for (n, letter) in four.iter_mut().enumerate().take(group.len() + 1) {
            *letter = ALPHABET[(bits >> (18 - 6 * n) & 63) as usize];
        }
    }
    let length = (bytes.len().div_ceil(3) * 4).min(text.len());
    out.push_str(std::str::from_utf8(&text[..length]).unwrap_or_default());
}
