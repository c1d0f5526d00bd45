//! Falco alerts: one JSON object, its keys in the order of the alphabet, as Falco's writer has them.
//!
//! Not here: which rules fire when (see `benign` and `attack`).

use palisade_events::time::{Micros, SECOND};

use crate::cluster::{Cluster, Pod};
use crate::record::Truth;
use crate::text::{clock, digits, json, number};
use crate::wire::Wire;

/// What fired, about which process.
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

/// Where a process ran.
#[derive(Clone, Copy)]
pub(crate) enum Place<'p> {
    /// In a container of a pod.
    Pod(&'p Pod),
    /// On a node itself, by its index.
    Node(usize),
}

enum Value<'v> {
    Text(&'v str),
    Number(u64),
    Null,
}

impl Wire {
    /// An alert of the rule's node, written at `at`.
    pub(crate) fn alert(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        place: Place<'_>,
        alert: &Alert<'_>,
        truth: Option<Truth>,
    ) {
        let node = match place {
            Place::Pod(pod) => pod.node,
            Place::Node(node) => node,
        };
        let host = &cluster.nodes[node].name;
        let nanos = self.random.below(1_000);
        let process = alert.exe.rsplit('/').next().unwrap_or(alert.exe);
        let (id, name, repository, tag, pod_name, namespace) = match place {
            Place::Pod(pod) => (
                pod.container_id.get(..12).unwrap_or_default(),
                Value::Text(pod.container),
                Value::Text(&pod.image.repository),
                Value::Text(&pod.image.tag),
                Value::Text(&pod.name),
                Value::Text(&pod.namespace),
            ),
            Place::Node(_) => ("host", Value::Text("host"), Value::Null, Value::Null, Value::Null, Value::Null),
        };
        // In the order of the alphabet; beside each, its name in the text of the output.
        let time = (at as u64).wrapping_mul(1_000) + nanos;
        let mut fields = vec![
            ("container.id", "container_id", Value::Text(id)),
            ("container.image.repository", "container_image_repository", repository),
            ("container.image.tag", "container_image_tag", tag),
            ("container.name", "container_name", name),
            ("evt.time", "", Value::Number(time)),
            ("evt.type", "evt_type", Value::Text(alert.syscall)),
        ];
        if !alert.fd.is_empty() {
            fields.push(("fd.name", "file", Value::Text(alert.fd)));
        }
        fields.extend([
            ("k8s.ns.name", "k8s_ns_name", namespace),
            ("k8s.pod.name", "k8s_pod_name", pod_name),
            ("proc.cmdline", "command", Value::Text(alert.command)),
            ("proc.exepath", "proc_exepath", Value::Text(alert.exe)),
            ("proc.name", "process", Value::Text(process)),
            ("proc.pname", "parent", Value::Text(alert.parent)),
            ("proc.tty", "terminal", Value::Number(alert.tty)),
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
        out.push_str(alert.priority);
        out.push(' ');
        json(out, alert.sentence);
        out.push_str(" |");
        for (_, label, value) in fields.iter().filter(|(_, label, _)| !label.is_empty()) {
            out.push(' ');
            out.push_str(label);
            out.push('=');
            match value {
                Value::Text(text) => json(out, text),
                Value::Number(n) => number(out, *n),
                Value::Null => json(out, "<NA>"),
            }
        }
        out.push_str(" user=root user_uid=0 user_loginuid=-1\",\"output_fields\":{");
        for (key, _, value) in &fields {
            out.push('"');
            out.push_str(key);
            out.push_str("\":");
            match value {
                Value::Text(text) => {
                    out.push('"');
                    json(out, text);
                    out.push('"');
                }
                Value::Number(n) => number(out, *n),
                Value::Null => out.push_str("null"),
            }
            out.push(',');
        }
        out.push_str("\"user.loginuid\":-1,\"user.name\":\"root\",\"user.uid\":0},\"priority\":\"");
        out.push_str(alert.priority);
        out.push_str("\",\"rule\":\"");
        json(out, alert.rule);
        out.push_str("\",\"source\":\"syscall\",\"tags\":[");
        for (n, tag) in alert.tags.iter().enumerate() {
            out.push_str(if n > 0 { ",\"" } else { "\"" });
            out.push_str(tag);
            out.push('"');
        }
        out.push_str("],\"time\":\"");
        self.calendar.nanos(&mut self.buffer, at, nanos);
        self.buffer.push_str("\"}");
        self.send_falco(node, at, host, truth);
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
        self.send_falco(node, at, host, None);
    }
}
