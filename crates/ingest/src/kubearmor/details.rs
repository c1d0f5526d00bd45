//! What a resource and its data say, both written as text: paths, or `key=value` separated by spaces or commas.
//!
//! Not here: the command lines that some resources are.

use palisade_events::{EventBuilder, col};

use crate::activity::{self, Activity};
use crate::network::Connection;
use crate::put;

/// The parts of resource and data that have columns.
#[derive(Debug, Default)]
pub(super) struct Details<'i> {
    /// The system call, hook or probe, in the kernel's spelling.
    pub(super) call: Option<String>,
    /// The file acted on.
    path: Option<&'i str>,
    /// What else was acted on: a capability, a device.
    named: Option<&'i str>,
    connection: Connection<'i>,
    /// A name that was looked up, and the type of the question.
    asked_name: Option<&'i str>,
    asked_type: Option<&'i str>,
    direction: Option<&'static str>,
}

impl<'i> Details<'i> {
    pub(super) fn read(operation: &str, resource: Option<&'i str>, data: Option<&'i str>) -> Self {
        let mut details = Self::default();
        if let Some(data) = data {
            details.pairs(data);
        }
        match (operation, resource) {
            (_, None) | ("Process", _) => {}
            ("File", Some(path)) => details.path = Some(path),
            ("Network", Some(resource)) if resource.contains('=') => details.pairs(resource),
            // A hook that reads the name of a query has it as the resource, too.
            ("Network", Some(name)) if details.is_question() => details.asked_name = details.asked_name.or(Some(name)),
            ("Network", Some(protocol)) => details.connection.protocol = transport(protocol),
            ("NetworkFirewall", Some(direction)) => {
                details.direction = match direction {
                    "INGRESS" => Some("inbound"),
                    "EGRESS" => Some("outbound"),
                    _ => None,
                };
            }
            (_, Some(resource)) if resource.starts_with('/') => details.path = Some(resource),
            (_, Some(resource)) => details.named = Some(resource),
        }
        details
    }

    fn pairs(&mut self, text: &'i str) {
        for (key, value) in text.split([' ', ',']).filter_map(|pair| pair.split_once('=')) {
            let value = Some(value).filter(|value| !value.is_empty());
            let port = || value.and_then(|port| port.parse().ok());
            let connection = &mut self.connection;
            match key {
                "syscall" | "lsm" | "kprobe" | "kfunc" if self.call.is_none() => {
                    let call = value.map(|call| call.strip_prefix("SYS_").unwrap_or(call));
                    self.call = call.map(str::to_ascii_lowercase);
                }
                // The family of a socket, or the name in a query.
                "domain" if value.is_some_and(|domain| domain.starts_with("AF_")) => {}
                "domain" => self.asked_name = self.asked_name.or(value),
                "qtype" => self.asked_type = value,
                "daddr" | "remoteip" | "sin_addr" | "sin6_addr" | "DestinationIP" => {
                    connection.dst_ip = connection.dst_ip.or(value);
                }
                "port" | "sin_port" | "sin6_port" | "DestinationPort" => {
                    connection.dst_port = connection.dst_port.or_else(port);
                }
                "SourceIP" => connection.src_ip = value,
                "SourcePort" => connection.src_port = port(),
                "protocol" | "Protocol" => connection.protocol = connection.protocol.or(value.and_then(transport)),
                "sun_path" => self.path = value,
                _ => {}
            }
        }
    }

    /// Whether the hook is the one that reads the names of queries.
    fn is_question(&self) -> bool {
        self.asked_name.is_some() || matches!(self.call.as_deref(), Some("socket_sendmsg" | "udp_sendmsg"))
    }

    /// What was done: the call tells it, else the operation.
    pub(super) fn activity(&self, operation: &str) -> Activity {
        let known = self.call.as_deref().and_then(Activity::of_call);
        let of = |class: i32, known: Option<Activity>| known.filter(|known| known.class == class);
        match operation {
            "Process" => of(activity::PROCESS, known).unwrap_or(Activity::new(activity::PROCESS, 1)),
            "File" => of(activity::FILE, known).unwrap_or(Activity::new(activity::FILE, 99)),
            "Network" if self.asked_name.is_some() => Activity::new(activity::DNS, 1),
            "Network" => of(activity::NETWORK, known).unwrap_or(Activity::new(activity::NETWORK, 99)),
            "NetworkFirewall" => Activity::new(activity::NETWORK, 6),
            // No process has a part in a device that is plugged in.
            "Device" => Activity::new(0, 99),
            _ => known.unwrap_or(Activity::PROCESS_OTHER),
        }
    }

    pub(super) fn put(&self, row: &mut EventBuilder) {
        if let Some(path) = self.path {
            row.put_text(col::FILE_PATH, path);
        }
        if let Some(name) = self.named {
            row.put_text(col::RESOURCE_NAME, name);
        }
        let mut connection = self.connection;
        if connection.protocol.is_none() && (connection.src_ip.is_some() || connection.dst_ip.is_some()) {
            let call = self.call.as_deref().unwrap_or_default();
            connection.protocol = ["tcp", "udp"].into_iter().find(|protocol| call.starts_with(protocol));
        }
        // The one address that a call tells is the client's, which is the source, where a connection is accepted, and the
        // socket's own where it is bound. The kernel's function tells the port that the client came to.
        let call = self.call.as_deref();
        if self.called_direction() == Some("inbound") || matches!(call, Some("bind" | "socket_bind")) {
            std::mem::swap(&mut connection.src_ip, &mut connection.dst_ip);
            if call != Some("tcp_accept") {
                std::mem::swap(&mut connection.src_port, &mut connection.dst_port);
            }
        }
        connection.put(row);
        if let Some(name) = self.asked_name {
            put::dns_name(row, col::DNS_QUERY, name);
        }
        let words = [
            (col::DNS_QUERY_TYPE, self.asked_type),
            (col::CONNECTION_DIRECTION, self.direction.or_else(|| self.called_direction())),
        ];
        for (column, word) in words {
            if let Some(word) = word {
                row.put_word(column, word);
            }
        }
    }

    fn called_direction(&self) -> Option<&'static str> {
        match self.call.as_deref()? {
            "connect" | "socket_connect" | "tcp_connect" => Some("outbound"),
            "accept" | "accept4" | "socket_accept" | "tcp_accept" => Some("inbound"),
            _ => None,
        }
    }
}

/// The transport of a protocol or of a type of sockets; neither a socket's protocol 0, which says "the usual one", nor
/// the numbers of packet sockets are any.
fn transport(written: &str) -> Option<&str> {
    let known = ["tcp", "udp", "icmp", "icmpv6", "sctp"];
    if known.iter().any(|name| written.eq_ignore_ascii_case(name)) {
        return Some(written);
    }
    match written {
        "6" | "IPPROTO_TCP" => Some("tcp"),
        "17" | "IPPROTO_UDP" => Some("udp"),
        "1" | "IPPROTO_ICMP" => Some("icmp"),
        "58" | "IPPROTO_ICMPV6" => Some("icmpv6"),
        _ => None,
    }
}
