//! What is remembered of an event while it is read, whatever its shape, and the columns that follow from it.

use palisade_events::entity::workload_of_pod;
use palisade_events::time::Micros;
use palisade_events::{EventBuilder, col};

use crate::activity::{self, Activity};
use crate::container;
use crate::image::Image;
use crate::network::Connection;
use crate::process::name_of;
use crate::put;

/// Bytes of a host's name that Tracee keeps in its legacy shape: a name that long may have been cut.
const HOST_BYTES_MAX: usize = 15;

/// What the walk noticed and later columns depend on.
#[derive(Debug, Default)]
pub(super) struct Event<'i> {
    pub(super) list_items_max: usize,
    pub(super) cut: bool,
    pub(super) legacy_name: Option<&'i str>,
    pub(super) has_legacy_key: bool,
    pub(super) name: Option<&'i str>,
    pub(super) has_current_key: bool,
    pub(super) has_number: bool,
    pub(super) has_time: bool,
    /// Event time: text or digits, or seconds and nanoseconds.
    pub(super) timestamp: Option<&'i str>,
    pub(super) seconds: Option<i64>,
    pub(super) nanos: Option<i64>,
    /// Ids inside the process's own namespace, and on the node.
    pub(super) pid: Option<i64>,
    pub(super) tid: Option<i64>,
    pub(super) host_pid: Option<i64>,
    pub(super) host_tid: Option<i64>,
    pub(super) parent_pid: Option<i64>,
    pub(super) host_parent_pid: Option<i64>,
    pub(super) thread_start: Option<Micros>,
    pub(super) entity: Option<&'i str>,
    pub(super) parent_entity: Option<&'i str>,
    pub(super) process_name: Option<&'i str>,
    pub(super) executable: Option<&'i str>,
    pub(super) parent_name: Option<&'i str>,
    pub(super) parent_executable: Option<&'i str>,
    /// Names, nearest first, the parent excluded.
    pub(super) ancestors: Vec<&'i str>,
    pub(super) host: Option<&'i str>,
    pub(super) container: Option<&'i str>,
    pub(super) image: Option<&'i str>,
    pub(super) digest: Option<&'i str>,
    pub(super) pod: Option<&'i str>,
    pub(super) syscall: Option<&'i str>,
    pub(super) returned: Option<i64>,
    pub(super) exit_code: Option<i64>,
    /// The arguments of an execution, joined.
    pub(super) line: String,
    /// The file acted on, and how sure that is.
    pub(super) path: Option<(u8, &'i str)>,
    pub(super) named: Option<&'i str>,
    pub(super) connection: Connection<'i>,
    pub(super) local: Option<Endpoint<'i>>,
    pub(super) remote: Option<Endpoint<'i>>,
    /// An address of which only the call tells whose it is.
    pub(super) address: Option<Endpoint<'i>>,
    pub(super) socket_type: Option<&'static str>,
    pub(super) direction: Option<&'static str>,
    pub(super) asked_name: Option<&'i str>,
    pub(super) asked_type: Option<&'i str>,
    pub(super) answers: Vec<&'i str>,
    pub(super) is_answer: bool,
    pub(super) rcode: Option<&'i str>,
    pub(super) method: Option<&'i str>,
    pub(super) is_finding: bool,
    pub(super) title: Option<&'i str>,
    pub(super) severity: Option<i32>,
    pub(super) technique: Option<&'i str>,
    pub(super) detected_from: Option<&'i str>,
    pub(super) labels: Vec<&'i str>,
}

/// An address and its port.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Endpoint<'i> {
    pub(super) ip: Option<&'i str>,
    pub(super) port: Option<u16>,
}

impl<'i> Event<'i> {
    /// Fills what several parts of the event decide together.
    pub(super) fn finish(&mut self, row: &mut EventBuilder) {
        let name = self.legacy_name.or(self.name).unwrap_or_default();
        let done = self.activity(name);
        done.put(row);
        row.put_word(col::METADATA_PRODUCT_NAME, "tracee");
        row.put_word(col::API_OPERATION, name);
        let event = if self.is_finding { self.detected_from } else { Some(name) };
        if let Some(call) = self.syscall.or(event) {
            row.put_word(col::SYSCALL, call);
        }
        if self.is_finding {
            self.put_finding(name, row);
        }
        if !self.labels.is_empty() {
            self.cut |= self.labels.len() > self.list_items_max;
            row.put_words(col::METADATA_LABELS, self.labels.iter().copied().take(self.list_items_max));
        }
        self.put_process(name, row);
        self.put_outcome(name, done, row);
        self.put_place(row);
        if let Some((_, path)) = self.path {
            row.put_text(col::FILE_PATH, path);
        }
        if let Some(name) = self.named.filter(|_| matches!(done.class, activity::KERNEL_EXTENSION | activity::MODULE)) {
            row.put_text(col::RESOURCE_NAME, name);
        }
        self.put_connection(name, done, row);
        self.put_dns(done, row);
        if let Some(method) = self.method {
            row.put_word(col::HTTP_METHOD, method);
        }
    }

    fn activity(&self, name: &str) -> Activity {
        if self.is_finding {
            return Activity::new(activity::DETECTION, 1);
        }
        match name {
            "net_packet_dns_request" | "dns_request_kernel" => Activity::new(activity::DNS, 1),
            "net_packet_dns_response" => Activity::new(activity::DNS, 2),
            "net_packet_dns" => Activity::new(activity::DNS, if self.is_answer { 2 } else { 1 }),
            name if name.starts_with("net_packet_http") => Activity::of_method(self.method.unwrap_or_default()),
            _ => Activity::of_call(name).unwrap_or(Activity::PROCESS_OTHER),
        }
    }

    fn put_finding(&self, name: &str, row: &mut EventBuilder) {
        row.put_word(col::FINDING_INFO_TITLE, self.title.unwrap_or(name));
        if let Some(severity) = self.severity {
            row.put_int(col::SEVERITY_ID, severity);
        }
        if let Some(technique) = self.technique.filter(|id| id.starts_with('T')) {
            row.put_words(col::ATTACK_TECHNIQUES, [technique]);
        }
    }

    fn put_process(&self, name: &str, row: &mut EventBuilder) {
        let is_exec = matches!(
            name,
            "execve" | "execveat" | "sched_process_exec" | "process_execute_failed" | "fileless_execution"
        );
        // The process has become what it executes where the event comes after the fact.
        let became = self.path.filter(|_| name == "sched_process_exec").map(|(_, path)| path);
        let executable = self.executable.or(became);
        let longs = [
            (col::PROCESS_PID, self.host_pid.or(self.pid)),
            (col::PROCESS_NAMESPACE_PID, self.pid.filter(|_| self.host_pid.is_some())),
            (col::PARENT_PROCESS_PID, self.host_parent_pid.or(self.parent_pid)),
        ];
        for (column, number) in longs {
            if let Some(number) = number {
                row.put_long(column, number);
            }
        }
        let words = [
            (col::PROCESS_NAME, self.process_name.or(executable.map(name_of))),
            (col::PROCESS_FILE_PATH, executable),
            (col::PARENT_PROCESS_NAME, self.parent_name),
            (col::PARENT_PROCESS_FILE_PATH, self.parent_executable),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
        if let Some(id) = self.entity {
            row.put_text(col::PROCESS_UID, id);
        }
        if let Some(id) = self.parent_entity {
            row.put_text(col::PARENT_PROCESS_UID, id);
        }
        if !self.ancestors.is_empty() {
            row.put_words(col::PROCESS_ANCESTORS, self.ancestors.iter().copied());
        }
        if is_exec && !self.line.is_empty() {
            row.put_text(col::PROCESS_CMD_LINE, &self.line);
        }
        // A process begins with its first thread, which has the same id.
        let is_first = self.host_pid.or(self.pid) == self.host_tid.or(self.tid);
        if let Some(start) = self.thread_start.filter(|_| is_first) {
            row.put_time(col::PROCESS_CREATED_TIME, start);
        }
    }

    /// A finding has the return value of whatever it was found in, so it tells nothing.
    fn put_outcome(&self, name: &str, done: Activity, row: &mut EventBuilder) {
        if self.is_finding {
            return;
        }
        let ended = done == Activity::new(activity::PROCESS, 2);
        if let Some(code) = self.exit_code.filter(|_| ended).or(self.returned) {
            row.put_long(col::EXIT_CODE, code);
        }
        match self.returned {
            Some(returned) if returned < 0 => row.put_int(col::STATUS_ID, 2),
            // Of events that are no calls, a zero is only a number that nobody set.
            Some(_) if self.syscall == Some(name) => row.put_int(col::STATUS_ID, 1),
            _ => {}
        }
    }

    fn put_place(&self, row: &mut EventBuilder) {
        let container = self.container.filter(|id| !id.is_empty());
        if let Some(id) = container {
            container::put(row, id);
        }
        // Inside a container this is the container's name for itself, mostly its own id or that of the pod.
        let host = self.host.filter(|host| container.is_none() && self.pod.is_none() && host.len() < HOST_BYTES_MAX);
        if let Some(host) = host {
            row.put_word(col::DEVICE_HOSTNAME, host);
        }
        if let Some(image) = self.image {
            let image = Image::parse(image);
            Image { digest: image.digest.or(self.digest), ..image }.put(row);
        }
        if let Some(pod) = self.pod {
            row.put_word(col::POD_NAME, pod);
            row.put_word(col::WORKLOAD_NAME, workload_of_pod(pod));
        }
    }

    fn put_connection(&self, name: &str, done: Activity, row: &mut EventBuilder) {
        let binds = done == Activity::new(activity::NETWORK, 7);
        let local = self.local.or(self.address.filter(|_| binds)).unwrap_or_default();
        let remote = self.remote.or(self.address.filter(|_| !binds)).unwrap_or_default();
        // The other end is the source of what is accepted or received. Packets name source and destination themselves.
        let comes = matches!(
            name,
            "accept"
                | "accept4"
                | "security_socket_accept"
                | "recvfrom"
                | "recvmsg"
                | "recvmmsg"
                | "security_socket_recvmsg"
        );
        let (source, destination) = if comes { (remote, local) } else { (local, remote) };
        let mut connection = self.connection;
        connection.src_ip = connection.src_ip.or(source.ip);
        connection.src_port = connection.src_port.or(source.port);
        connection.dst_ip = connection.dst_ip.or(destination.ip);
        connection.dst_port = connection.dst_port.or(destination.port);
        if connection.protocol.is_none() && (connection.src_ip.is_some() || connection.dst_ip.is_some()) {
            let named = [("tcp", "tcp"), ("udp", "udp"), ("http", "tcp")];
            let named = named.into_iter().find(|(part, _)| name.contains(part)).map(|(_, protocol)| protocol);
            connection.protocol = named.or(self.socket_type);
        }
        connection.put(row);
        let called = match name {
            "connect" | "security_socket_connect" | "net_tcp_connect" => Some("outbound"),
            "accept" | "accept4" | "security_socket_accept" => Some("inbound"),
            _ => None,
        };
        let direction = self.direction.or(called);
        if let Some(direction) = direction {
            row.put_word(col::CONNECTION_DIRECTION, direction);
        }
    }

    fn put_dns(&self, done: Activity, row: &mut EventBuilder) {
        if done.class == activity::DNS {
            if let Some(name) = self.asked_name {
                put::dns_name(row, col::DNS_QUERY, name);
            }
            if let Some(kind) = self.asked_type {
                row.put_word(col::DNS_QUERY_TYPE, kind);
            }
        }
        if !self.answers.is_empty() {
            row.put_words(col::DNS_ANSWERS, self.answers.iter().copied());
        }
        if let Some(rcode) = self.rcode.filter(|_| self.is_answer) {
            row.put_word(col::DNS_RCODE, rcode_name(rcode));
        }
    }
}

/// The name of an answer code that Tracee spells out.
fn rcode_name(words: &str) -> &str {
    const WORDS: [(&str, &str); 11] = [
        ("no error", "NOERROR"),
        ("format error", "FORMERR"),
        ("server failure", "SERVFAIL"),
        ("non-existent domain", "NXDOMAIN"),
        ("not implemented", "NOTIMP"),
        ("query refused", "REFUSED"),
        ("name exists when it should not", "YXDOMAIN"),
        ("rr set exists when it should not", "YXRRSET"),
        ("rr set that should exist does not", "NXRRSET"),
        ("server not authoritative for zone", "NOTAUTH"),
        ("name not contained in zone", "NOTZONE"),
    ];
    WORDS.iter().find(|(known, _)| words.eq_ignore_ascii_case(known)).map_or(words, |(_, name)| *name)
}
