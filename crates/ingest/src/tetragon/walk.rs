//! What each key of an event means, object by object.
//!
//! Not here: what several keys mean together.

use palisade_events::{EventBuilder, col};

use super::event::{Event, Process};
use super::{Place, Who};
use crate::json::Value;
use crate::labels;
use crate::process::name_of;
use crate::put::{self, first};

/// Login uid of a process that nobody logged in for.
const AUID_UNSET: i64 = 4_294_967_295;

impl<'i> Event<'i> {
    pub(super) fn take(
        &mut self,
        place: Place,
        key: &'i str,
        value: Value<'_, 'i>,
        row: &mut EventBuilder,
    ) -> Option<Place> {
        match place {
            Place::Root => return self.root(key, value, row),
            Place::Event => return self.event(key, value, row),
            Place::Process(Who::Itself) => return self.process(key, value, row),
            Place::Process(Who::Parent) => of_process(&mut self.parent, key, value),
            Place::Process(Who::Ancestor) => {
                if key == "binary"
                    && let Some(binary) = value.text()
                    && self.ancestors.len() < self.list_items_max
                {
                    self.ancestors.push(name_of(binary));
                }
            }
            Place::User if key == "name" => put_user(row, value),
            Place::Pod => return self.pod(key, value, row),
            Place::Container => return self.container(key, value, row),
            Place::Image => match key {
                "id" => first(&mut self.image_id, value),
                "name" => first(&mut self.image, value),
                _ => {}
            },
            Place::Argument => return self.argument(key, value),
            Place::Return => match key {
                "int_arg" | "long_arg" | "uint_arg" | "size_arg" => self.returned = value.int(),
                "sock_arg" | "skb_arg" => return Some(Place::Socket),
                "file_arg" | "path_arg" => return Some(Place::Path),
                _ => {}
            },
            Place::Path if key == "path" => first(&mut self.path, value),
            Place::Named => match key {
                "name" | "ProgName" | "MapName" | "KprobeFunc" => first(&mut self.named, value),
                _ => {}
            },
            Place::Socket => self.socket(key, value),
            Place::Address => match key {
                "addr" => first(&mut self.address, value),
                "port" => self.address_port = port(value),
                _ => {}
            },
            Place::File | Place::FileMoved => match key {
                "file" | "src" => return Some(Place::FileDetails),
                _ => {}
            },
            Place::FileDetails if key == "str" => first(&mut self.path, value),
            Place::Stats => match key {
                "bytes_sent" | "bytes_submitted" => self.bytes[0] = self.bytes[0].or(value.int()),
                "bytes_received" | "bytes_consumed" => self.bytes[1] = self.bytes[1].or(value.int()),
                "segs_out" | "segs_submitted" => self.packets[0] = self.packets[0].or(value.int()),
                "segs_in" | "segs_consumed" => self.packets[1] = self.packets[1].or(value.int()),
                _ => {}
            },
            Place::Dns => self.dns(key, value, row),
            Place::Http => match key {
                "request" => return Some(Place::HttpRequest),
                "response" => return Some(Place::HttpResponse),
                _ => {}
            },
            Place::HttpRequest => match key {
                "method" => first(&mut self.method, value),
                "uri" => put::text(row, col::HTTP_URL_PATH, value),
                "agent" => put::word(row, col::HTTP_USER_AGENT, value),
                "host" => first(&mut self.host, value),
                _ => {}
            },
            Place::HttpResponse if key == "code" => put::int(row, col::API_RESPONSE_CODE, value),
            Place::Destination => match key {
                "namespace" => first(&mut self.peer[0], value),
                "name" => first(&mut self.peer[1], value),
                "workload" => first(&mut self.peer[2], value),
                _ => {}
            },
            Place::Aggregation if key == "count" => put::long(row, col::EVENT_COUNT, value),
            Place::Report => match key {
                "number_of_dropped_process_events" => self.dropped = value.int(),
                "type" => first(&mut self.throttle, value),
                "cgroup" => first(&mut self.cgroup, value),
                _ => {}
            },
            _ => {}
        }
        None
    }

    fn root(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "node_name" => {
                first(&mut self.node, value);
                put::word(row, col::DEVICE_HOSTNAME, value);
            }
            "cluster_name" => first(&mut self.cluster, value),
            "time" => first(&mut self.times[0], value),
            "aggregation_info" => return Some(Place::Aggregation),
            _ if self.kind.is_some() || !value.is_object() => {}
            "rate_limit_info" | "process_throttle" => {
                self.kind = Some(key);
                return Some(Place::Report);
            }
            "test" => self.kind = Some(key),
            _ if key.starts_with("process_") || key == "tls" => {
                self.kind = Some(key);
                return Some(Place::Event);
            }
            _ => {}
        }
        None
    }

    fn event(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "process" => {
                self.has_process |= value.is_object();
                return Some(Place::Process(Who::Itself));
            }
            "parent" => return Some(Place::Process(Who::Parent)),
            "ancestors" => {
                self.cut |= value.items().nth(self.list_items_max).is_some();
                return Some(Place::Process(Who::Ancestor));
            }
            "args" | "file" => return Some(Place::Argument),
            "return" => return Some(Place::Return),
            "time" => first(&mut self.times[1], value),
            "status" => self.exit_status = value.int(),
            "signal" => first(&mut self.signal, value),
            "function_name" | "event" | "symbol" | "name" | "hook" => first(&mut self.function, value),
            "subsys" => first(&mut self.subsystem, value),
            "path" => first(&mut self.module_path, value),
            "policy_name" => {
                if let Some(policy) = value.text() {
                    row.put_words(col::POLICY_NAMES, [policy]);
                }
            }
            "action" => first(&mut self.action, value),
            "return_action" => first(&mut self.return_action, value),
            "operation" => self.is_blocked |= value.items().any(|item| item.str() == Some("FILE_OP_BLOCK")),
            "message" => put::text(row, col::MESSAGE, value),
            "tags" => {
                self.cut |= value.items().nth(self.list_items_max).is_some();
                self.tags.extend(value.items().filter_map(Value::text).take(self.list_items_max));
            }
            "socket" => return Some(Place::Event),
            "source_ip" | "ip" => first(&mut self.connection.src_ip, value),
            "source_port" | "port" => self.connection.src_port = port(value),
            "destination_ip" => first(&mut self.connection.dst_ip, value),
            "destination_port" => self.connection.dst_port = port(value),
            "icmp_type_value" => self.connection.src_port = port(value),
            "icmp_code_value" => self.connection.dst_port = port(value),
            "protocol" => self.protocol(value),
            "direction" => first(&mut self.direction, value),
            "destination_names" => self.host = self.host.or(value.items().find_map(Value::text)),
            "sni_name" => first(&mut self.host, value),
            "destination_pod" => return Some(Place::Destination),
            "stats" => return Some(Place::Stats),
            "dns" => return Some(Place::Dns),
            "http" => return Some(Place::Http),
            _ => {}
        }
        None
    }

    fn process(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "uid" => put_uid(row, value),
            "auid" => {
                if let Some(auid) = value.int().filter(|&auid| auid != AUID_UNSET && auid >= 0) {
                    row.put_word(col::ACTOR_LOGIN_UID, &auid.to_string());
                }
            }
            "cwd" => put::word(row, col::PROCESS_CWD, value),
            "flags" => {
                first(&mut self.flags, value);
                let cut = ["truncFilename", "truncArgs"];
                self.cut |= value.str().is_some_and(|flags| flags.split(' ').any(|flag| cut.contains(&flag)));
            }
            "start_time" => {
                first(&mut self.start, value);
                // An execution is where the process starts.
                if self.kind == Some("process_exec") {
                    first(&mut self.times[2], value);
                }
            }
            "pod" => return Some(Place::Pod),
            "docker" => first(&mut self.short_container, value),
            "user" => return Some(Place::User),
            _ => of_process(&mut self.process, key, value),
        }
        None
    }

    fn pod(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "namespace" => put::word(row, col::NAMESPACE_NAME, value),
            "name" => first(&mut self.pod, value),
            "uid" => put::word(row, col::POD_UID, value),
            "container" => return Some(Place::Container),
            "labels" | "pod_labels" if value.is_object() => {
                self.cut |= labels::put_members(row, value, self.list_items_max);
            }
            "workload" => first(&mut self.workload, value),
            "workload_kind" => put::word(row, col::WORKLOAD_KIND, value),
            _ => {}
        }
        None
    }

    fn container(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Place> {
        match key {
            "id" => first(&mut self.container, value),
            "name" => put::word(row, col::CONTAINER_NAME, value),
            "pid" => put::long(row, col::PROCESS_NAMESPACE_PID, value),
            "image" => return Some(Place::Image),
            _ => {}
        }
        None
    }

    fn argument(&mut self, key: &'i str, value: Value<'_, 'i>) -> Option<Place> {
        match key {
            "string_arg" => first(&mut self.string, value),
            "int_arg" | "uint_arg" => self.int = self.int.or(value.int()),
            "size_arg" => self.size = self.size.or(value.int()),
            "file_arg" | "path_arg" | "linux_binprm_arg" | "sockaddrun_arg" => return Some(Place::Path),
            "sock_arg" | "skb_arg" => return Some(Place::Socket),
            "sockaddr_arg" => return Some(Place::Address),
            "module_arg" | "capability_arg" | "bpf_attr_arg" | "bpf_map_arg" | "bpf_prog_arg" | "perf_event_arg"
            | "net_dev_arg" => return Some(Place::Named),
            "generic_arg" | "readdir_arg" | "attr_arg" => return Some(Place::File),
            "rename_arg" => return Some(Place::FileMoved),
            // The file of an execution, which is told without arguments.
            "str" => first(&mut self.path, value),
            _ => {}
        }
        None
    }

    fn socket(&mut self, key: &'i str, value: Value<'_, 'i>) {
        match key {
            "saddr" => first(&mut self.connection.src_ip, value),
            "daddr" => first(&mut self.connection.dst_ip, value),
            "sport" => self.connection.src_port = self.connection.src_port.or(port(value)),
            "dport" => self.connection.dst_port = self.connection.dst_port.or(port(value)),
            "protocol" => self.protocol(value),
            _ => {}
        }
    }

    fn protocol(&mut self, value: Value<'_, 'i>) {
        let protocol = value.text().map(|name| name.strip_prefix("IPPROTO_").unwrap_or(name));
        self.connection.protocol = self.connection.protocol.or(protocol.filter(|name| *name != "UNKNOWN"));
    }

    fn dns(&mut self, key: &'i str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        match key {
            "names" => {
                if let Some(name) = value.items().find_map(Value::text) {
                    put::dns_name(row, col::DNS_QUERY, name);
                }
            }
            "query_types" => {
                if let Some(kind) = value.items().find_map(Value::text) {
                    row.put_word(col::DNS_QUERY_TYPE, kind);
                }
            }
            "ips" => self.cut |= put::words(row, col::DNS_ANSWERS, value, self.list_items_max),
            "response" => self.is_answer = put::spelled(value).as_deref() == Some("true"),
            "return_code" | "rcode" => self.rcode = self.rcode.or(value.int()),
            _ => {}
        }
    }
}

fn of_process<'i>(process: &mut Process<'i>, key: &str, value: Value<'_, 'i>) {
    match key {
        "exec_id" => first(&mut process.exec_id, value),
        "parent_exec_id" => first(&mut process.parent_exec_id, value),
        "binary" => first(&mut process.binary, value),
        "arguments" => first(&mut process.arguments, value),
        "pid" => process.pid = value.int(),
        _ => {}
    }
}

fn put_uid(row: &mut EventBuilder, value: Value<'_, '_>) {
    put::word(row, col::PROCESS_USER_UID, value);
    put::word(row, col::ACTOR_USER_UID, value);
}

fn put_user(row: &mut EventBuilder, value: Value<'_, '_>) {
    put::word(row, col::PROCESS_USER_NAME, value);
    put::word(row, col::ACTOR_USER_NAME, value);
}

fn port(value: Value<'_, '_>) -> Option<u16> {
    value.int().and_then(|port| u16::try_from(port).ok())
}
