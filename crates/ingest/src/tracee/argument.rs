//! The arguments of an event by their names, which all shapes share: files, command lines, both ends of connections, DNS
//! and HTTP.
//!
//! A value's own type tells how it is written: flags are numbers or words, ports numbers or text, structures have the
//! keys of their version.

use palisade_events::{EventBuilder, col};

use super::event::{Endpoint, Event};
use super::unwrapped;
use crate::json::Value;
use crate::process::write_line;
use crate::put::{self, first};

impl<'i> Event<'i> {
    /// Takes a list of arguments: `[{name, type, value}]`, or `[{name, <type>: value}]`.
    pub(super) fn arguments(&mut self, list: Value<'_, 'i>, row: &mut EventBuilder) {
        self.take_arguments(list, row, false);
    }

    fn take_arguments(&mut self, list: Value<'_, 'i>, row: &mut EventBuilder, is_nested: bool) {
        for argument in list.items() {
            let (mut name, mut held) = (None, None);
            for (key, value) in argument.entries() {
                match key {
                    "name" => name = value.text(),
                    "argMeta" => name = name.or(value.get("name").and_then(Value::text)),
                    "type" => {}
                    _ => held = held.or(Some(value)),
                }
            }
            let (Some(name), Some(value)) = (name, held) else { continue };
            if name == "detectedFrom" && !is_nested {
                for (key, value) in value.entries() {
                    match key {
                        "name" | "eventName" => first(&mut self.detected_from, value),
                        "args" | "data" => self.take_arguments(value, row, true),
                        _ => {}
                    }
                }
            } else {
                self.argument(name, unwrapped(value), row);
            }
        }
    }

    fn argument(&mut self, name: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        match name {
            "pathname" => self.file(0, value),
            "path" | "file_path" | "filename" => self.file(1, value),
            "syscall_pathname" | "cmdpath" | "oldpath" | "old_path" | "old_pathname" | "target" | "linkpath"
            | "in_file_path" => self.file(2, value),
            "argv" => self.argv(value),
            "src" | "src_ip" => first(&mut self.connection.src_ip, value),
            "dst" | "dst_ip" => first(&mut self.connection.dst_ip, value),
            "src_port" => self.connection.src_port = self.connection.src_port.or(port(value)),
            "dst_port" => self.connection.dst_port = self.connection.dst_port.or(port(value)),
            "src_dns" => put_name(row, col::SRC_ENDPOINT_HOSTNAME, value),
            "dst_dns" => put_name(row, col::DST_ENDPOINT_HOSTNAME, value),
            "remote_addr" | "dest_addr" | "src_addr" => self.remote = self.address(value).or(self.remote),
            "local_addr" => self.local = self.address(value).or(self.local),
            "addr" | "address" => self.address = self.address(value).or(self.address),
            "type" => self.socket_type = socket_type(value).or(self.socket_type),
            "metadata" | "packet_metadata" => self.packet(value, row),
            "proto_ipv4" | "proto_ipv6" => self.packet(value, row),
            "proto_tcp" => self.segment("tcp", value, row),
            "proto_udp" => self.segment("udp", value, row),
            "proto_icmp" => self.connection.protocol = Some("icmp"),
            "proto_icmpv6" => self.connection.protocol = Some("icmpv6"),
            "conn_direction" => self.direction = direction(value).or(self.direction),
            "proto_dns" => self.dns(value, row),
            "dns_questions" => self.questions(inner(value, "questions"), row),
            "dns_response" => self.responses(inner(value, "responses"), row),
            "hostname" => first(&mut self.asked_name, value),
            "query_type" => first(&mut self.asked_type, value),
            "proto_http" | "http_request" | "http_response" => self.http(value, row),
            "syscall" => first(&mut self.syscall, value),
            "returnValue" => self.returned = self.returned.or(value.int()),
            "exit_code" => self.exit_code = value.int(),
            "name" | "module_name" => first(&mut self.named, value),
            "container_id" => first(&mut self.container, value),
            "container_name" => put::word(row, col::CONTAINER_NAME, value),
            "container_image" => first(&mut self.image, value),
            "container_image_digest" => first(&mut self.digest, value),
            "pod_name" => first(&mut self.pod, value),
            "pod_namespace" => put::word(row, col::NAMESPACE_NAME, value),
            "pod_uid" => put::word(row, col::POD_UID, value),
            _ => {}
        }
    }

    /// Keeps the file whose name says best what was acted on, 0 being the best.
    fn file(&mut self, rank: u8, value: Value<'_, 'i>) {
        if let Some(path) = value.text()
            && self.path.is_none_or(|(known, _)| rank < known)
        {
            self.path = Some((rank, path));
        }
    }

    fn argv(&mut self, value: Value<'_, 'i>) {
        if let Some(line) = value.text() {
            write_line(&mut self.line, line, None);
        } else if self.line.is_empty() {
            write_line(&mut self.line, "", value.items().filter_map(Value::str).take(self.list_items_max));
            self.cut |= value.items().nth(self.list_items_max).is_some();
        }
    }

    /// A socket address. Those of Unix sockets are files.
    fn address(&mut self, value: Value<'_, 'i>) -> Option<Endpoint<'i>> {
        let mut endpoint = Endpoint::default();
        for (key, value) in value.entries() {
            match key {
                "sin_addr" | "sin6_addr" => first(&mut endpoint.ip, value),
                "sin_port" | "sin6_port" => endpoint.port = port(value),
                "sun_path" => self.file(3, value),
                _ => {}
            }
        }
        endpoint.ip.is_some().then_some(endpoint)
    }

    /// What all layers of a packet, and Tracee's summary of it, call ends and protocol.
    fn packet(&mut self, value: Value<'_, 'i>, row: &mut EventBuilder) {
        for (key, value) in value.entries() {
            match key {
                "src_ip" | "srcIP" => first(&mut self.connection.src_ip, value),
                "dst_ip" | "dstIP" => first(&mut self.connection.dst_ip, value),
                "src_port" | "srcPort" => self.connection.src_port = self.connection.src_port.or(port(value)),
                "dst_port" | "dstPort" => self.connection.dst_port = self.connection.dst_port.or(port(value)),
                "protocol" | "nextHeader" | "next_header" if self.connection.protocol.is_none() => {
                    self.connection.protocol = value.text().or_else(|| super::digits(value));
                }
                "packet_len" => put::long(row, col::TRAFFIC_BYTES_OUT, value),
                "direction" => self.direction = direction(value).or(self.direction),
                _ => {}
            }
        }
    }

    fn segment(&mut self, protocol: &'static str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        self.connection.protocol = Some(protocol);
        self.packet(value, row);
    }

    fn dns(&mut self, value: Value<'_, 'i>, row: &mut EventBuilder) {
        for (key, value) in value.entries() {
            match key {
                "QR" | "qr" => self.is_answer = value.int() == Some(1),
                "responseCode" | "response_code" => first(&mut self.rcode, value),
                "questions" => self.questions(value, row),
                "answers" => {
                    for answer in value.items() {
                        let holds = |key: &str| !matches!(key, "name" | "type" | "class");
                        let held = answer.entries().find_map(|(key, value)| value.text().filter(|_| holds(key)));
                        self.answer(held);
                    }
                }
                _ => {}
            }
        }
    }

    /// Puts the first question; more than one in a packet is no practice.
    fn questions(&mut self, value: Value<'_, 'i>, row: &mut EventBuilder) {
        if let Some(question) = value.items().next() {
            for (key, value) in question.entries() {
                match key {
                    "name" | "query" => put_name(row, col::DNS_QUERY, value),
                    "type" | "query_type" => put::word(row, col::DNS_QUERY_TYPE, value),
                    _ => {}
                }
            }
        }
    }

    fn responses(&mut self, value: Value<'_, 'i>, row: &mut EventBuilder) {
        self.is_answer = true;
        for response in value.items() {
            for (key, value) in response.entries() {
                match key {
                    "query_data" | "dns_query_data" => {
                        for (key, value) in value.entries() {
                            match key {
                                "query" => put_name(row, col::DNS_QUERY, value),
                                "query_type" => put::word(row, col::DNS_QUERY_TYPE, value),
                                _ => {}
                            }
                        }
                    }
                    "dns_answer" => {
                        for answer in value.items() {
                            self.answer(answer.get("answer").and_then(Value::text));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    fn answer(&mut self, answer: Option<&'i str>) {
        if self.answers.len() < self.list_items_max {
            self.answers.extend(answer);
        } else {
            self.cut |= answer.is_some();
        }
    }

    fn http(&mut self, value: Value<'_, 'i>, row: &mut EventBuilder) {
        for (key, value) in value.entries() {
            match key {
                "method" => first(&mut self.method, value),
                "host" => put_name(row, col::DST_ENDPOINT_HOSTNAME, value),
                "uri_path" => put::text(row, col::HTTP_URL_PATH, value),
                "status_code" if value.int() != Some(0) => put::int(row, col::API_RESPONSE_CODE, value),
                "headers" => {
                    let agent = value.entries().find(|(name, _)| name.eq_ignore_ascii_case("user-agent"));
                    if let Some(agent) =
                        agent.and_then(|(_, value)| inner(value, "header").items().find_map(Value::text))
                    {
                        row.put_word(col::HTTP_USER_AGENT, agent);
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a list is wrapped in by the newer shapes, if it is.
fn inner<'t, 'i>(value: Value<'t, 'i>, key: &str) -> Value<'t, 'i> {
    value.get(key).unwrap_or(value)
}

/// Puts a name of the DNS, or the first of several.
fn put_name(row: &mut EventBuilder, column: palisade_events::schema::Word, value: Value<'_, '_>) {
    if let Some(name) = value.text().or_else(|| value.items().find_map(Value::text)) {
        put::dns_name(row, column, name);
    }
}

fn port(value: Value<'_, '_>) -> Option<u16> {
    value.int().and_then(|port| u16::try_from(port).ok())
}

/// The transport that a type of sockets stands for, where there are addresses.
fn socket_type(value: Value<'_, '_>) -> Option<&'static str> {
    match (value.str(), value.int()) {
        (Some(name), _) if name.contains("SOCK_STREAM") => Some("tcp"),
        (Some(name), _) if name.contains("SOCK_DGRAM") => Some("udp"),
        (None, Some(1)) => Some("tcp"),
        (None, Some(2)) => Some("udp"),
        _ => None,
    }
}

/// Which way a packet went, seen from the process: a word, or Tracee's number of it.
fn direction(value: Value<'_, '_>) -> Option<&'static str> {
    match (value.str(), value.int()) {
        (Some(name), _) if name.eq_ignore_ascii_case("ingress") || name.eq_ignore_ascii_case("incoming") => {
            Some("inbound")
        }
        (Some(name), _) if name.eq_ignore_ascii_case("egress") || name.eq_ignore_ascii_case("outgoing") => {
            Some("outbound")
        }
        (None, Some(1)) => Some("inbound"),
        (None, Some(2 | 3)) => Some("outbound"),
        _ => None,
    }
}
