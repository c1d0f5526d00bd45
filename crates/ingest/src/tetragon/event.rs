//! What is remembered of an event while it is read, and the columns that follow from several parts of it.

use palisade_events::entity::workload_of_pod;
use palisade_events::time::parse_rfc3339;
use palisade_events::{EventBuilder, col};

use crate::activity::{self, Activity, bare_call, bare_tracepoint};
use crate::container;
use crate::image::Image;
use crate::network::Connection;
use crate::process::{name_of, write_line};
use crate::put;

/// Bits of the kernel's access mask.
const MAY_WRITE: i64 = 2;
const MAY_READ: i64 = 4;

/// What the walk noticed and later columns depend on.
#[derive(Debug, Default)]
pub(super) struct Event<'i> {
    pub(super) list_items_max: usize,
    pub(super) cut: bool,
    /// The key of the root object that holds the event.
    pub(super) kind: Option<&'i str>,
    pub(super) has_process: bool,
    pub(super) node: Option<&'i str>,
    pub(super) cluster: Option<&'i str>,
    /// Times in falling order of trust: the event's, an exit's own, the start of the process.
    pub(super) times: [Option<&'i str>; 3],
    pub(super) process: Process<'i>,
    pub(super) parent: Process<'i>,
    /// Names, nearest first.
    pub(super) ancestors: Vec<&'i str>,
    pub(super) start: Option<&'i str>,
    pub(super) flags: Option<&'i str>,
    pub(super) tags: Vec<&'i str>,
    pub(super) pod: Option<&'i str>,
    pub(super) workload: Option<&'i str>,
    pub(super) container: Option<&'i str>,
    /// The container's id, cut off: of processes whose pod is not known, too.
    pub(super) short_container: Option<&'i str>,
    pub(super) image: Option<&'i str>,
    pub(super) image_id: Option<&'i str>,
    pub(super) function: Option<&'i str>,
    pub(super) subsystem: Option<&'i str>,
    pub(super) module_path: Option<&'i str>,
    pub(super) action: Option<&'i str>,
    pub(super) return_action: Option<&'i str>,
    pub(super) is_blocked: bool,
    pub(super) returned: Option<i64>,
    pub(super) exit_status: Option<i64>,
    pub(super) signal: Option<&'i str>,
    /// The first argument of each type.
    pub(super) string: Option<&'i str>,
    pub(super) int: Option<i64>,
    pub(super) size: Option<i64>,
    pub(super) path: Option<&'i str>,
    pub(super) named: Option<&'i str>,
    pub(super) connection: Connection<'i>,
    pub(super) address: Option<&'i str>,
    pub(super) address_port: Option<u16>,
    pub(super) direction: Option<&'i str>,
    pub(super) host: Option<&'i str>,
    /// The other end's namespace, pod and workload.
    pub(super) peer: [Option<&'i str>; 3],
    /// Sent and received by the process.
    pub(super) bytes: [Option<i64>; 2],
    pub(super) packets: [Option<i64>; 2],
    pub(super) method: Option<&'i str>,
    pub(super) is_answer: bool,
    pub(super) rcode: Option<i64>,
    /// What a report tells.
    pub(super) dropped: Option<i64>,
    pub(super) throttle: Option<&'i str>,
    pub(super) cgroup: Option<&'i str>,
}

/// What is the same of the process and its parent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process<'i> {
    pub(super) exec_id: Option<&'i str>,
    pub(super) parent_exec_id: Option<&'i str>,
    pub(super) binary: Option<&'i str>,
    pub(super) arguments: Option<&'i str>,
    pub(super) pid: Option<i64>,
}

impl<'i> Process<'i> {
    /// Writes the command line, if anything is known of it.
    fn write_line(&self, line: &mut String) -> bool {
        write_line(line, self.binary.unwrap_or_default(), self.arguments);
        !line.is_empty()
    }
}

impl<'i> Event<'i> {
    /// Fills what several parts of the event decide together.
    pub(super) fn finish(self, kind: &'i str, line: &mut String, row: &mut EventBuilder) {
        let operation = self.operation(kind);
        let done = self.activity(kind, operation);
        done.put(row);
        row.put_word(col::METADATA_PRODUCT_NAME, "tetragon");
        row.put_word(col::METADATA_LOG_NAME, kind);
        if let Some(operation) = operation {
            row.put_word(col::API_OPERATION, operation);
        }
        if let Some(call) =
            operation.filter(|_| matches!(kind, "process_kprobe" | "process_tracepoint" | "process_lsm"))
        {
            row.put_word(col::SYSCALL, call);
        } else if kind == "process_exec" && !self.was_there() {
            row.put_word(col::SYSCALL, "execve");
        }
        let labels = self.flags.into_iter().flat_map(|flags| flags.split(' ')).filter(|flag| !flag.is_empty());
        let labels: Vec<&str> = labels.chain(self.tags.iter().copied()).take(self.list_items_max).collect();
        if !labels.is_empty() {
            row.put_words(col::METADATA_LABELS, labels);
        }
        self.put_outcome(kind, row);
        self.put_processes(line, row);
        self.put_pod(row);
        self.put_objects(kind, done, operation, row);
    }

    /// Whether the process ran before Tetragon did, which tells of all that it finds.
    fn was_there(&self) -> bool {
        self.flags.is_some_and(|flags| flags.split(' ').any(|flag| flag == "procFS"))
    }

    /// What was done: the function, the trace point, or the kind of event itself.
    fn operation(&self, kind: &'i str) -> Option<&'i str> {
        match kind {
            "process_exec" if self.was_there() => Some("procFS"),
            "process_exec" => Some("execve"),
            "process_kprobe" | "process_lsm" => self.function.map(bare_call),
            "process_tracepoint" => self.function.map(bare_tracepoint).or(self.subsystem),
            "process_uprobe" | "process_usdt" | "process_sandbox_syscall" => self.function,
            "process_file" => self.action,
            _ => Some(kind.strip_prefix("process_").unwrap_or(kind)),
        }
    }

    fn activity(&self, kind: &str, operation: Option<&str>) -> Activity {
        let network = |id| Activity::new(activity::NETWORK, id);
        match kind {
            "process_exec" if self.was_there() => Activity::PROCESS_OTHER,
            "process_exec" => Activity::new(activity::PROCESS, 1),
            "process_exit" => Activity::new(activity::PROCESS, 2),
            "process_file_exec" => Activity::new(activity::PROCESS, 1),
            "process_loader" => Activity::new(activity::MODULE, 1),
            "process_connect" | "process_accept" | "process_rawsock_create" => network(1),
            "process_close" | "process_rawsock_close" => network(2),
            "process_listen" => network(7),
            "process_dns" => Activity::new(activity::DNS, if self.is_answer { 2 } else { 1 }),
            "process_http" => Activity::of_method(self.method.unwrap_or_default()),
            "process_file" => Activity::new(activity::FILE, of_file_action(operation.unwrap_or_default())),
            "process_sock_stats"
            | "process_icmp"
            | "process_ip_error"
            | "process_network_burst"
            | "process_network_watermark"
            | "process_udp_seq_check_error"
            | "tls" => network(6),
            "process_uprobe" | "process_usdt" => Activity::PROCESS_OTHER,
            _ => {
                let known = operation.and_then(Activity::of_call).unwrap_or(Activity::PROCESS_OTHER);
                match (operation, self.int) {
                    // The hook is asked before each access: the mask tells which.
                    (Some("security_file_permission" | "file_permission"), Some(mask)) if mask & MAY_WRITE != 0 => {
                        Activity { id: 3, ..known }
                    }
                    (Some("security_file_permission" | "file_permission"), Some(mask)) if mask & MAY_READ != 0 => {
                        Activity { id: 2, ..known }
                    }
                    _ => known,
                }
            }
        }
    }

    fn put_outcome(&self, kind: &str, row: &mut EventBuilder) {
        let actions = || [self.action, self.return_action].into_iter().flatten();
        let denies = |action: &str| {
            matches!(action, "KPROBE_ACTION_SIGKILL" | "KPROBE_ACTION_OVERRIDE" | "KPROBE_ACTION_NOTIFYENFORCER")
        };
        let overridden = actions().any(|action| action == "KPROBE_ACTION_OVERRIDE") || self.is_blocked;
        if self.is_blocked || actions().any(denies) {
            row.put_word(col::ACTION, "denied");
        } else if actions().any(|action| action != "KPROBE_ACTION_UNKNOWN") {
            row.put_word(col::ACTION, "observed");
        }
        if kind == "process_exit" {
            if let Some(signal) = self.signal {
                row.put_text(col::STATUS_DETAIL, signal);
            }
            // A zero is left out; a process that a signal ended has no code.
            if let Some(status) = self.exit_status.or(if self.signal.is_none() { Some(0) } else { None }) {
                row.put_long(col::EXIT_CODE, status);
            }
            return;
        }
        if let Some(returned) = self.returned {
            row.put_long(col::EXIT_CODE, returned);
        }
        match self.returned {
            _ if overridden => row.put_int(col::STATUS_ID, 2),
            Some(returned) => row.put_int(col::STATUS_ID, if returned < 0 { 2 } else { 1 }),
            None => {}
        }
    }

    fn put_processes(&self, line: &mut String, row: &mut EventBuilder) {
        let (process, parent) = (&self.process, &self.parent);
        if let Some(binary) = process.binary {
            row.put_word(col::PROCESS_FILE_PATH, binary);
            row.put_word(col::PROCESS_NAME, name_of(binary));
        }
        if process.write_line(line) {
            row.put_text(col::PROCESS_CMD_LINE, line);
        }
        if let Some(pid) = process.pid {
            row.put_long(col::PROCESS_PID, pid);
        }
        if let Some(exec_id) = process.exec_id {
            row.put_text(col::PROCESS_UID, exec_id);
        }
        if let Some(start) = self.start.and_then(parse_rfc3339) {
            row.put_time(col::PROCESS_CREATED_TIME, start);
        }
        if let Some(binary) = parent.binary {
            row.put_word(col::PARENT_PROCESS_FILE_PATH, binary);
            row.put_word(col::PARENT_PROCESS_NAME, name_of(binary));
        }
        if parent.write_line(line) {
            row.put_text(col::PARENT_PROCESS_CMD_LINE, line);
        }
        if let Some(pid) = parent.pid {
            row.put_long(col::PARENT_PROCESS_PID, pid);
        }
        if let Some(exec_id) = parent.exec_id.or(process.parent_exec_id) {
            row.put_text(col::PARENT_PROCESS_UID, exec_id);
        }
        if !self.ancestors.is_empty() {
            row.put_words(col::PROCESS_ANCESTORS, self.ancestors.iter().copied());
        }
    }

    fn put_pod(&self, row: &mut EventBuilder) {
        if let Some(pod) = self.pod {
            row.put_word(col::POD_NAME, pod);
        }
        if let Some(workload) = self.workload.or(self.pod.map(workload_of_pod)) {
            row.put_word(col::WORKLOAD_NAME, workload);
        }
        if let Some(id) = self.container.or(self.short_container) {
            container::put(row, id);
        }
        // The id names the digest if the image was pulled, `docker.io/library/app@sha256:…`, else only itself.
        let digest = self.image_id.and_then(|id| id.rsplit_once('@')).map(|(_, digest)| digest);
        if let Some(image) = self.image.map(Image::parse).filter(|image| !image.name.is_empty()) {
            Image { digest: image.digest.or(digest), ..image }.put(row);
        } else if let Some(id) = self.image_id.filter(|_| digest.is_some()) {
            Image::parse(container::bare(id)).put(row);
        }
    }

    fn put_objects(&self, kind: &str, done: Activity, operation: Option<&str>, row: &mut EventBuilder) {
        let names_file = done.class == activity::FILE || done == Activity::new(activity::PROCESS, 1);
        let module = self.module_path.filter(|_| kind == "process_loader");
        if let Some(path) = self.path.or(module).or(self.string.filter(|_| names_file)) {
            row.put_text(col::FILE_PATH, path);
        }
        let is_module = done.class == activity::KERNEL_EXTENSION;
        if let Some(name) = self.named.or(self.string.filter(|_| is_module)) {
            row.put_text(col::RESOURCE_NAME, name);
        }
        if let Some(method) = self.method {
            row.put_word(col::HTTP_METHOD, method);
        }
        if let Some(rcode) = self.rcode.filter(|_| self.is_answer) {
            match rcode_name(rcode) {
                Some(name) => row.put_word(col::DNS_RCODE, name),
                None => row.put_word(col::DNS_RCODE, &rcode.to_string()),
            }
        }
        self.put_connection(kind, done, operation.unwrap_or_default(), row);
    }

    fn put_connection(&self, kind: &str, done: Activity, operation: &str, row: &mut EventBuilder) {
        let mut connection = self.connection;
        // An address alone is the other end, unless the call gives the socket its own.
        if done == Activity::new(activity::NETWORK, 7) {
            connection.src_ip = connection.src_ip.or(self.address);
            connection.src_port = connection.src_port.or(self.address_port);
        } else {
            connection.dst_ip = connection.dst_ip.or(self.address);
            connection.dst_port = connection.dst_port.or(self.address_port);
        }
        if connection.protocol.is_none() && (connection.src_ip.is_some() || connection.dst_ip.is_some()) {
            connection.protocol = ["tcp", "udp"].into_iter().find(|protocol| operation.starts_with(protocol));
        }
        let direction = match (kind, self.direction) {
            (_, Some(direction)) => direction_of(direction),
            ("process_connect", _) => Some("outbound"),
            ("process_accept", _) => Some("inbound"),
            _ if operation.contains("connect") => Some("outbound"),
            _ if operation.contains("accept") => Some("inbound"),
            _ => None,
        };
        let direction = direction.filter(|_| done.class == activity::NETWORK);
        if let Some(direction) = direction {
            row.put_word(col::CONNECTION_DIRECTION, direction);
        }
        // The process's end comes first. Of a connection that it took, the other end is the client, which is the source.
        let is_taken = direction == Some("inbound");
        if is_taken {
            std::mem::swap(&mut connection.src_ip, &mut connection.dst_ip);
            std::mem::swap(&mut connection.src_port, &mut connection.dst_port);
        }
        connection.put(row);
        self.put_peer(is_taken, row);
        let [mut bytes, mut packets] = [self.bytes, self.packets];
        if let Some(size) = self.size.filter(|_| done == Activity::new(activity::NETWORK, 6)) {
            let side = &mut bytes[usize::from(operation.contains("recv"))];
            *side = side.or(Some(size));
        }
        if is_taken {
            bytes.reverse();
            packets.reverse();
        }
        let [[bytes_out, bytes_in], [packets_out, packets_in]] = [bytes, packets];
        let longs = [
            (col::TRAFFIC_BYTES_OUT, bytes_out),
            (col::TRAFFIC_BYTES_IN, bytes_in),
            (col::TRAFFIC_PACKETS_OUT, packets_out),
            (col::TRAFFIC_PACKETS_IN, packets_in),
        ];
        for (column, number) in longs {
            if let Some(number) = number {
                row.put_long(column, number);
            }
        }
    }

    /// Puts the names of the other end, which is the source of a connection that the process took.
    fn put_peer(&self, is_taken: bool, row: &mut EventBuilder) {
        let (hostname, columns) = if is_taken {
            let columns = [col::SRC_ENDPOINT_NAMESPACE, col::SRC_ENDPOINT_POD, col::SRC_ENDPOINT_WORKLOAD];
            (col::SRC_ENDPOINT_HOSTNAME, columns)
        } else {
            let columns = [col::DST_ENDPOINT_NAMESPACE, col::DST_ENDPOINT_POD, col::DST_ENDPOINT_WORKLOAD];
            (col::DST_ENDPOINT_HOSTNAME, columns)
        };
        if let Some(host) = self.host {
            put::dns_name(row, hostname, host);
        }
        for (column, word) in columns.into_iter().zip(self.peer) {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
    }
}

fn direction_of(written: &str) -> Option<&'static str> {
    match written.to_ascii_lowercase().as_str() {
        "ingress" | "in" | "inbound" | "receive" => Some("inbound"),
        "egress" | "out" | "outbound" | "send" => Some("outbound"),
        _ => None,
    }
}

/// Enterprise's own words for what was done to a file.
fn of_file_action(action: &str) -> i32 {
    match action {
        "FILE_CREATE" | "FILE_MKDIR" => 1,
        "FILE_READ" | "FILE_READDIR" => 2,
        "FILE_WRITE" => 3,
        "FILE_DELETE" | "FILE_RMDIR" => 4,
        "FILE_RENAME" => 5,
        "FILE_CHATTR" => 6,
        "FILE_EXEC" => 14,
        _ => 99,
    }
}

/// Answer codes of DNS, RFC 1035 and RFC 2136.
fn rcode_name(code: i64) -> Option<&'static str> {
    const NAMES: [&str; 11] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET", "NOTAUTH",
        "NOTZONE",
    ];
    NAMES.get(usize::try_from(code).ok()?).copied()
}
