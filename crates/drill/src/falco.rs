//! Falco alerts: one JSON object, its keys in the order of the alphabet, as Falco's writer has them.
//!
//! Not here: which rules fire when (see `stock`, `files` and `network`).

mod files;
mod names;
mod network;
mod rules;
mod stock;

use palisade_events::time::{Micros, SECOND};

use self::rules::Rule;
use crate::act::{Login, Place, Process, Terminal};
use crate::auditd::{comm, user_name};
use crate::cluster::Cluster;
use crate::record::{Label, Stream};
use crate::text::{clock, digits, json, number};
use crate::wire::Wire;

/// An alert that is told as it is, without asking whether the rule would fire.
#[derive(Clone, Copy)]
pub(crate) struct Alert<'a> {
    pub(crate) rule: &'a str,
    pub(crate) priority: &'a str,
    /// The sentence that the rule's output begins with.
    pub(crate) sentence: &'a str,
    /// In the order of the alphabet.
    pub(crate) tags: &'a [&'a str],
    pub(crate) syscall: &'a str,
    pub(crate) exe: &'a str,
    pub(crate) command: &'a str,
    pub(crate) parent: &'a str,
    /// 0 without a terminal.
    pub(crate) tty: u64,
    /// File or connection, if the rule is about one.
    pub(crate) fd: &'a str,
}

/// A field of an alert: what Falco calls it, what the rule's output calls it, and its value. Without a name in the output
/// it is not part of that.
#[derive(Clone, Copy)]
struct Field<'f>(&'static str, &'static str, Value<'f>);

#[derive(Clone, Copy)]
enum Value<'v> {
    Text(&'v str),
    Number(i64),
    Null,
}

/// What fired, and which process it is about.
struct Subject<'s> {
    place: Place<'s>,
    syscall: &'s str,
    /// As the kernel names the process.
    name: &'s str,
    exe: &'s str,
    command: &'s str,
    /// Empty if it is gone.
    parent: &'s str,
    tty: u64,
    uid: u64,
    user: &'s str,
    login: i64,
    /// Those of the execve, in an alert about one.
    flags: &'s str,
}

impl<'s> Subject<'s> {
    /// A process whose command line is `command`, at a system call.
    fn of(process: &'s Process<'_>, command: &'s str, syscall: &'s str) -> Self {
        let tty = match (process.terminal, &process.login) {
            (Terminal::None, _) => 0,
            // The device's number: 136 in its upper byte, and that of the pseudo-terminal.
            (Terminal::Attached, Login::Person(_, _, terminal, _)) => {
                34_816
                    + terminal.bytes().next_back().filter(u8::is_ascii_digit).map_or(0, |digit| u64::from(digit - b'0'))
            }
            (Terminal::Attached, Login::None) => 34_816,
        };
        Self {
            place: process.place,
            syscall,
            name: comm(process.exe, process.argv),
            exe: process.exe,
            command,
            parent: parent_name(process),
            tty,
            uid: process.uid,
            user: user_name(process.uid, &process.login).unwrap_or("<NA>"),
            login: if let Login::Person(id, ..) = process.login { id as i64 } else { -1 },
            flags: "",
        }
    }
}

/// The name of the parent; of the many programs that busybox is, the one that starts others.
fn parent_name<'p>(process: &Process<'p>) -> &'p str {
    match comm(process.parent.exe, &[]) {
        "dash" | "busybox" => "sh",
        name => name,
    }
}

/// A command line as Falco has it: the kernel's name for the process, then its arguments.
fn command_line(process: &Process<'_>) -> String {
    let mut line = String::from(comm(process.exe, process.argv));
    for arg in process.argv.iter().skip(1) {
        line.push(' ');
        line.push_str(arg);
    }
    line
}

impl Wire {
    /// An alert as it is, written at `at`.
    pub(crate) fn alert(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        place: Place<'_>,
        alert: &Alert<'_>,
        label: Option<Label>,
    ) {
        let rule =
            Rule { name: alert.rule, priority: alert.priority, sentence: alert.sentence, tags: alert.tags, shows: &[] };
        let subject = Subject {
            place,
            syscall: alert.syscall,
            name: comm(alert.exe, &[]),
            exe: alert.exe,
            command: alert.command,
            parent: alert.parent,
            tty: alert.tty,
            uid: 0,
            user: "root",
            login: -1,
            flags: "",
        };
        let output = if alert.fd.contains("->") { "connection" } else { "file" };
        let fd = [Field("fd.name", output, Value::Text(alert.fd))];
        let extra = if alert.fd.is_empty() { &fd[..0] } else { &fd };
        self.falco_alert(cluster, at, &rule, &subject, extra, label);
    }

    /// Writes an alert: what only this rule tells, then what all do.
    fn falco_alert(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        rule: &Rule<'_>,
        subject: &Subject<'_>,
        extra: &[Field<'_>],
        label: Option<Label>,
    ) {
        let node = subject.place.node();
        let host = &cluster.nodes[node].name;
        let nanos = self.random.below(1_000);
        let text = |text| if str::is_empty(text) { Value::Null } else { Value::Text(text) };
        let mut fields: Vec<Field<'_>> = Vec::with_capacity(extra.len() + 18);
        fields.extend_from_slice(extra);
        fields.extend([
            Field("evt.type", "evt_type", Value::Text(subject.syscall)),
            Field("user.name", "user", Value::Text(subject.user)),
            Field("user.uid", "user_uid", Value::Number(subject.uid as i64)),
            Field("user.loginuid", "user_loginuid", Value::Number(subject.login)),
            Field("proc.name", "process", Value::Text(subject.name)),
            Field("proc.exepath", "proc_exepath", Value::Text(subject.exe)),
            Field("proc.pname", "parent", text(subject.parent)),
            Field("proc.cmdline", "command", Value::Text(subject.command)),
            Field("proc.tty", "terminal", Value::Number(subject.tty as i64)),
        ]);
        if !subject.flags.is_empty() {
            fields.push(Field("evt.arg.flags", "exe_flags", Value::Text(subject.flags)));
        }
        let (id, name, repository, tag, pod, namespace) = match subject.place {
            Place::Pod(pod) => (
                pod.container_id.get(..12).unwrap_or_default(),
                pod.container.as_str(),
                text(&pod.image.repository),
                text(&pod.image.tag),
                text(&pod.name),
                text(&pod.namespace),
            ),
            Place::Node(_) => ("host", "host", Value::Null, Value::Null, Value::Null, Value::Null),
        };
        fields.extend([
            Field("container.id", "container_id", Value::Text(id)),
            Field("container.name", "container_name", Value::Text(name)),
            Field("container.image.repository", "container_image_repository", repository),
            Field("container.image.tag", "container_image_tag", tag),
            Field("k8s.pod.name", "k8s_pod_name", pod),
            Field("k8s.ns.name", "k8s_ns_name", namespace),
        ]);
        let out = &mut self.buffer;
        out.push_str("{\"hostname\":\"");
        out.push_str(host);
        out.push_str("\",\"output\":\"");
        clock(out, at);
        out.push('.');
        digits(out, at.rem_euclid(SECOND) as u64, 6);
        digits(out, nanos, 3);
        out.push_str(": ");
        out.push_str(rule.priority);
        out.push(' ');
        json(out, rule.sentence);
        out.push_str(" |");
        for Field(_, name, value) in fields.iter().filter(|field| !field.1.is_empty()) {
            out.push(' ');
            out.push_str(name);
            out.push('=');
            match value {
                Value::Text(text) => json(out, text),
                Value::Number(n) => signed(out, *n),
                Value::Null => out.push_str("<NA>"),
            }
        }
        fields.push(Field("evt.time", "", Value::Number(at.wrapping_mul(1_000).wrapping_add(nanos as i64))));
        fields.sort_unstable_by_key(|field| field.0);
        out.push_str("\",\"output_fields\":{");
        for (n, Field(key, _, value)) in fields.iter().enumerate() {
            out.push_str(if n > 0 { ",\"" } else { "\"" });
            out.push_str(key);
            out.push_str("\":");
            match value {
                Value::Text(text) => {
                    out.push('"');
                    json(out, text);
                    out.push('"');
                }
                Value::Number(n) => signed(out, *n),
                Value::Null => out.push_str("null"),
            }
        }
        out.push_str("},\"priority\":\"");
        out.push_str(rule.priority);
        out.push_str("\",\"rule\":\"");
        json(out, rule.name);
        out.push_str("\",\"source\":\"syscall\",\"tags\":[");
        for (n, tag) in rule.tags.iter().enumerate() {
            out.push_str(if n > 0 { ",\"" } else { "\"" });
            json(out, tag);
            out.push('"');
        }
        out.push_str("],\"time\":\"");
        self.calendar.nanos(&mut self.buffer, at, nanos);
        self.buffer.push_str("\"}");
        self.send_node(Stream::Falco, node, at, host, label);
    }

    /// Falco's own report on itself, which is about health and not about anything that happened.
    pub(crate) fn falco_metrics(&mut self, cluster: &Cluster, at: Micros, node: usize) {
        let host = &cluster.nodes[node].name;
        let nanos = self.random.below(1_000);
        let events = 40_000_000 + self.random.below(1_000_000_000);
        let out = &mut self.buffer;
        out.push_str("{\"hostname\":\"");
        out.push_str(host);
        out.push_str(
            "\",\"output\":\"Falco metrics snapshot\",\"output_fields\":{\"evt.source\":\"syscall\",\"evt.time\":",
        );
        number(out, (at as u64).wrapping_mul(1_000) + nanos);
        out.push_str(",\"falco.num_evts\":");
        number(out, events);
        out.push_str(",\"falco.outputs_queue_num_drops\":0,\"falco.version\":\"0.42.0\",\"scap.n_drops\":0,\"scap.n_drops_buffer_total\":0,\"scap.n_evts\":");
        number(out, events + events / 9);
        out.push_str("},\"priority\":\"Informational\",\"rule\":\"Falco internal: metrics snapshot\",\"source\":\"internal\",\"tags\":[],\"time\":\"");
        self.calendar.nanos(&mut self.buffer, at, nanos);
        self.buffer.push_str("\"}");
        self.send_node(Stream::Falco, node, at, host, None);
    }

    /// Falco's admission that it lost events of the kernel in the last second, because it could not read them in time.
    pub(crate) fn falco_lost(&mut self, cluster: &Cluster, at: Micros, node: usize, count: u64) {
        let Some(host) = cluster.nodes.get(node).map(|node| &node.name) else { return };
        let nanos = self.random.below(1_000);
        let events = count.saturating_mul(3).saturating_add(self.random.below(400_000));
        let out = &mut self.buffer;
        out.push_str("{\"hostname\":\"");
        out.push_str(host);
        out.push_str("\",\"output\":\"Falco internal: syscall event drop. ");
        number(out, count);
        out.push_str(" system calls dropped in last second.\",\"output_fields\":{\"ebpf_enabled\":1,\"n_drops\":");
        number(out, count);
        // Where the buffer of a processor is full, any kind of event is hit.
        for (name, value) in [
            ("n_drops_buffer_clone_fork_exit", count / 50),
            ("n_drops_buffer_connect_exit", count / 12),
            ("n_drops_buffer_execve_exit", count / 60),
            ("n_drops_buffer_open_exit", count / 4),
            ("n_drops_buffer_total", count),
            ("n_drops_bug", 0),
            ("n_drops_page_faults", 0),
            ("n_evts", events),
        ] {
            out.push_str(",\"");
            out.push_str(name);
            out.push_str("\":");
            number(out, value);
        }
        out.push_str("},\"priority\":\"Debug\",\"rule\":\"Falco internal: syscall event drop\",\"source\":\"internal\",\"tags\":[],\"time\":\"");
        self.calendar.nanos(&mut self.buffer, at, nanos);
        self.buffer.push_str("\"}");
        self.send_node(Stream::Falco, node, at, host, None);
    }
}

fn signed(out: &mut String, value: i64) {
    if value < 0 {
        out.push('-');
    }
    number(out, value.unsigned_abs());
}

#[cfg(test)]
mod tests;
