//! The columns of an event, and the fields that rules name, from its records.
//!
//! Not here: which records belong together ([`super::assembly`]).

use std::borrow::Cow;
use std::collections::BTreeMap;

use palisade_events::fields::FieldRef;
use palisade_events::{EventBuilder, col};

use super::address::Address;
use super::class::{classify, errno};
use super::kinds::is_auxiliary;
use super::record::{Record, Value};
use super::syscalls;
use crate::redact::{RedactionCounts, Redactor};

/// What an event's records say together.
struct View<'r> {
    records: &'r [Record],
    /// Type that names the event.
    kind: &'r str,
    /// The `SYSCALL` record.
    call: Option<&'r Record>,
    call_name: Option<Cow<'r, str>>,
    argv: Vec<String>,
}

impl<'r> View<'r> {
    fn new(records: &'r [Record]) -> Self {
        let call = records.iter().find(|r| r.kind == "SYSCALL");
        let main = records.iter().find(|r| !is_auxiliary(&r.kind)).or(call).or(records.first());
        Self {
            records,
            kind: main.map_or("", |r| r.kind.as_ref()),
            call,
            call_name: records.iter().find(|r| r.get("syscall").is_some()).and_then(call_name),
            argv: arguments(records),
        }
    }

    /// The first value of a key, in the `SYSCALL` record before all others.
    fn get(&self, key: &str) -> Option<Cow<'r, str>> {
        self.call.and_then(|call| call.get(key)).or_else(|| self.records.iter().find_map(|r| r.get(key)))
    }

    fn of(&self, kind: &str, key: &str) -> Option<Cow<'r, str>> {
        self.records.iter().filter(|r| r.kind == kind).find_map(|r| r.get(key))
    }

    fn long(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }

    fn command_line(&self) -> Option<String> {
        if !self.argv.is_empty() {
            return Some(self.argv.join(" "));
        }
        let told = self.get("cmd").or_else(|| self.agents_command_line()).or_else(|| self.get("proctitle"));
        told.map(Cow::into_owned)
    }

    /// Azure's agent joins the arguments between quotes, and does not escape those within; what follows is its own.
    fn agents_command_line(&self) -> Option<Cow<'r, str>> {
        let record = self.records.iter().find(|record| record.kind == "AUOMS_EXECVE")?;
        let (_, rest) = record.body().split_once(" cmdline=\"")?;
        let end = rest.rfind("\" redactors=").or_else(|| rest.rfind('"'))?;
        Some(rest.get(..end)?.into())
    }

    fn succeeded(&self) -> Option<bool> {
        let outcome = self.get("success").or_else(|| self.get("res")).or_else(|| self.get("result"))?;
        match outcome.as_ref() {
            "yes" | "success" | "1" => Some(true),
            "no" | "failed" | "fail" | "0" => Some(false),
            _ => None,
        }
    }

    /// The path acted on: what was deleted or made, else the first that is no parent folder.
    fn file_path(&self) -> Option<String> {
        let mut best: Option<(u8, Cow<'_, str>)> = None;
        let mut parent = None;
        for record in self.records.iter().filter(|r| r.kind == "PATH") {
            let Some(name) = record.get("name") else { continue };
            let rank = match record.get("nametype").or_else(|| record.get("objtype")).as_deref() {
                Some("DELETE") => 0,
                Some("CREATE") => 1,
                Some("PARENT") => {
                    parent.get_or_insert(name);
                    continue;
                }
                _ => 2,
            };
            if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                best = Some((rank, name));
            }
        }
        let name = best.map(|(_, name)| name).or_else(|| parent.clone())?;
        if name.starts_with('/') {
            return Some(name.into_owned());
        }
        let name = name.strip_prefix("./").unwrap_or(&name);
        let base = if self.is_relative_to_descriptor() {
            // Only the record of the parent folder tells where the descriptor points.
            let folder = parent.filter(|p| p.starts_with('/'));
            return Some(match folder {
                Some(folder) => join(&folder, name.rsplit('/').next().unwrap_or(name)),
                None => name.to_owned(),
            });
        } else {
            self.of("CWD", "cwd").or_else(|| self.get("cwd"))
        };
        Some(base.map_or_else(|| name.to_owned(), |base| join(&base, name)))
    }

    /// Whether the call took a folder's descriptor other than `AT_FDCWD` (-100).
    fn is_relative_to_descriptor(&self) -> bool {
        let takes_one = self.call_name.as_deref().is_some_and(|name| {
            matches!(name, "openat2" | "renameat2" | "faccessat2" | "fchmodat2") || name.ends_with("at")
        });
        let descriptor = self.call.and_then(|call| call.get("a0"));
        takes_one && descriptor.is_some_and(|a0| !a0.ends_with("ffffff9c"))
    }
}

fn join(base: &str, name: &str) -> String {
    format!("{}/{name}", base.trim_end_matches('/'))
}

/// The call's name: what the daemon added, else the table's, else the number.
fn call_name(record: &Record) -> Option<Cow<'_, str>> {
    if let Some(name) = record.get("SYSCALL") {
        return Some(name);
    }
    let number = record.get("syscall")?;
    let known = number.parse().ok().zip(record.get("arch")).and_then(|(n, arch)| syscalls::name(&arch, n));
    Some(known.map_or(number, Cow::Borrowed))
}

/// Arguments put together from their pieces, over all `EXECVE` records, in the order of their numbers.
fn arguments(records: &[Record]) -> Vec<String> {
    let mut pieces: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (number, bytes) in records.iter().filter(|r| r.kind == "EXECVE").flat_map(Record::arguments) {
        pieces.entry(number).or_default().extend(bytes);
    }
    pieces.into_values().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
}

/// Whether a user id names somebody: -1 means that it was never set.
fn is_set(uid: &str) -> bool {
    !matches!(uid, "4294967295" | "-1" | "unset")
}

/// Fills the columns of an event and its raw fields. Returns how many secrets were replaced on the way.
pub(super) fn put(
    records: &[Record],
    row: &mut EventBuilder,
    values_max: usize,
    redactor: &Redactor,
) -> RedactionCounts {
    let mut redactions = RedactionCounts::default();
    let view = View::new(records);
    put_metadata(&view, row);
    put_process(&view, row, redactor, &mut redactions);
    put_actor(&view, row);
    put_network(&view, row);
    put_fields(&view, row, values_max);
    redactions
}

/// Fills only the raw fields.
pub(super) fn put_raw_fields(records: &[Record], row: &mut EventBuilder, values_max: usize) {
    put_fields(&View::new(records), row, values_max);
}

fn put_metadata(view: &View<'_>, row: &mut EventBuilder) {
    let created = || view.records.iter().any(|r| r.get("nametype").as_deref() == Some("CREATE"));
    let has = |kind: &str| view.records.iter().any(|r| r.kind == kind);
    let (class, activity) = classify(view.kind, view.call_name.as_deref(), &has, &created);
    row.put_int(col::CLASS_UID, class);
    row.put_int(col::ACTIVITY_ID, activity);
    row.put_word(col::METADATA_PRODUCT_NAME, "auditd");
    row.put_word(col::METADATA_LOG_NAME, view.kind);
    row.put_word(col::API_OPERATION, view.call_name.as_deref().unwrap_or(view.kind));
    if let Some(name) = view.call_name.as_deref() {
        row.put_word(col::SYSCALL, name);
    }
    if let Some(record) = view.records.first() {
        let (node, serial) = (record.node(), record.serial.to_string());
        row.put_text(col::METADATA_CORRELATION_UID, &format!("{node}:{}", record.stamp()));
        row.put_text(col::METADATA_UID, &serial);
        if !node.is_empty() {
            row.put_word(col::DEVICE_HOSTNAME, node);
        }
    }
    let keys: Vec<Cow<'_, str>> = view.records.iter().filter_map(|r| r.get("key")).collect();
    if !keys.is_empty() {
        // Several keys of one rule are joined by a control character, and carry their name in some versions.
        let mut labels: Vec<&str> = keys
            .iter()
            .flat_map(|k| k.split('\u{1}'))
            .map(|k| k.strip_prefix("key=").unwrap_or(k))
            .filter(|k| !k.is_empty())
            .collect();
        let mut seen = std::collections::BTreeSet::new();
        labels.retain(|label| seen.insert(*label));
        row.put_words(col::METADATA_LABELS, labels);
    }
    let exit = view.long("exit");
    if let Some(exit) = exit {
        row.put_long(col::EXIT_CODE, exit);
    }
    if let Some(succeeded) = view.succeeded() {
        row.put_int(col::STATUS_ID, if succeeded { 1 } else { 2 });
        if !succeeded && let Some(name) = exit.and_then(errno) {
            row.put_text(col::STATUS_DETAIL, name);
        }
    }
}

fn put_process(view: &View<'_>, row: &mut EventBuilder, redactor: &Redactor, redactions: &mut RedactionCounts) {
    let path = view.get("exe");
    let name =
        view.get("comm").or_else(|| path.as_deref().and_then(|p| p.rsplit('/').next()).map(|n| n.to_owned().into()));
    if let Some(name) = name {
        row.put_word(col::PROCESS_NAME, &name);
    }
    if let Some(path) = path {
        row.put_word(col::PROCESS_FILE_PATH, &path);
    }
    if let Some(line) = view.command_line() {
        // Secrets that only the joined arguments show were not seen record by record.
        row.put_text(col::PROCESS_CMD_LINE, &redactor.text(&line, redactions));
    }
    if let Some(folder) = view.of("CWD", "cwd").or_else(|| view.get("cwd")) {
        row.put_word(col::PROCESS_CWD, &folder);
    }
    for (key, column) in [("pid", col::PROCESS_PID), ("ppid", col::PARENT_PROCESS_PID)] {
        if let Some(pid) = view.long(key) {
            row.put_long(column, pid);
        }
    }
    if let Some(path) = view.file_path() {
        row.put_text(col::FILE_PATH, &path);
    }
}

fn put_actor(view: &View<'_>, row: &mut EventBuilder) {
    if let Some(auid) = view.get("auid").or_else(|| view.get("new auid")).filter(|auid| is_set(auid)) {
        row.put_word(col::ACTOR_LOGIN_UID, &auid);
    }
    let uid = view.get("uid").filter(|uid| is_set(uid));
    match view.get("acct").filter(|_| view.call.is_none()) {
        // A record of a log-in is about the account; its uid is that of the program that wrote it.
        Some(account) => {
            row.put_word(col::ACTOR_USER_NAME, &account);
            if let Some(id) = view.get("id").filter(|id| is_set(id)) {
                row.put_word(col::ACTOR_USER_UID, &id);
            }
        }
        None => {
            let name = view.get("UID").filter(|name| is_set(name));
            if let Some(name) = name {
                row.put_word(col::ACTOR_USER_NAME, &name);
            }
            if let Some(uid) = &uid {
                row.put_word(col::ACTOR_USER_UID, uid);
            }
        }
    }
    if let Some(euid) = view.get("euid").filter(|uid| is_set(uid)).or(uid) {
        row.put_word(col::PROCESS_USER_UID, &euid);
    }
    if let Some(name) = view.get("EUID").or_else(|| view.get("UID")).filter(|name| is_set(name)) {
        row.put_word(col::PROCESS_USER_NAME, &name);
    }
    if let Some(terminal) = view.get("tty").or_else(|| view.get("terminal")) {
        row.put_word(col::ACTOR_SESSION_TERMINAL, &terminal);
    }
}

fn put_network(view: &View<'_>, row: &mut EventBuilder) {
    if let Some(address) = view.of("SOCKADDR", "saddr").and_then(|saddr| Address::decode(&saddr)) {
        let incoming = matches!(
            view.call_name.as_deref(),
            Some("bind" | "accept" | "accept4" | "recvfrom" | "recvmsg" | "recvmmsg" | "getsockname")
        );
        match address {
            Address::Ip(ip, port) if incoming => {
                row.put_word(col::SRC_ENDPOINT_IP, &ip.to_string());
                row.put_int(col::SRC_ENDPOINT_PORT, i32::from(port));
            }
            Address::Ip(ip, port) => {
                row.put_word(col::DST_ENDPOINT_IP, &ip.to_string());
                row.put_int(col::DST_ENDPOINT_PORT, i32::from(port));
            }
            Address::Unix(path) => row.put_text(col::FILE_PATH, &path),
        }
        return;
    }
    let ip = |key: &str| Some(view.get(key)?.parse::<std::net::IpAddr>().ok()?.to_canonical());
    let port = |key: &str| view.get(key)?.parse::<u16>().ok();
    // `addr` is where a user came from; firewall records name both ends.
    if let Some(from) = ip("addr").or_else(|| ip("saddr")) {
        row.put_word(col::SRC_ENDPOINT_IP, &from.to_string());
    }
    if let Some(from) = port("sport").or_else(|| port("rport")) {
        row.put_int(col::SRC_ENDPOINT_PORT, i32::from(from));
    }
    if let Some(to) = ip("daddr").or_else(|| ip("laddr")) {
        row.put_word(col::DST_ENDPOINT_IP, &to.to_string());
    }
    if let Some(to) = port("dport").or_else(|| port("lport")) {
        row.put_int(col::DST_ENDPOINT_PORT, i32::from(to));
    }
}

/// Every key of every record is a field by its own name; several records give several values.
fn put_fields(view: &View<'_>, row: &mut EventBuilder, values_max: usize) {
    if row.fields().plan().paths().is_empty() {
        return;
    }
    let mut left = values_max;
    let mut put = |row: &mut EventBuilder, name: &str, value: Value<'_>| {
        let Some(path) = row.fields().plan().number(name) else { return };
        if left == 0 {
            row.put_flag(col::TRUNCATED, true);
            return;
        }
        left -= 1;
        match value {
            Value::Null => row.fields().put(path, FieldRef::Null),
            Value::Text(text) => row.fields().put(path, FieldRef::Str(&text)),
        }
    };
    if let Some(name) = &view.call_name {
        put(row, "syscall", Value::Text(name.clone()));
        if !view.records.iter().any(|r| r.get("SYSCALL").is_some()) {
            put(row, "SYSCALL", Value::Text(name.clone()));
        }
    }
    for (number, argument) in view.argv.iter().enumerate() {
        put(row, &format!("a{number}"), Value::Text(argument.into()));
    }
    for record in view.records {
        put(row, "type", Value::Text(record.kind.as_ref().into()));
        if !record.node().is_empty() {
            put(row, "node", Value::Text(record.node().into()));
        }
        for (key, value) in record.fields() {
            // What a call was given in registers are addresses; where the arguments are known, they are meant.
            let is_register = matches!(key, "a0" | "a1" | "a2" | "a3") && !view.argv.is_empty();
            let is_repeated =
                key == "syscall" && matches!(&value, Value::Text(t) if view.call_name.as_ref() == Some(t));
            if is_register
                || is_repeated
                || record.kind == "EXECVE" && key.starts_with('a') && key != "argc" && is_piece(key)
            {
                continue;
            }
            put(row, key, value);
        }
        if record.kind == "AVC" {
            put_access_vector(record, |name, value| put(row, name, Value::Text(value.into())));
        }
    }
}

fn is_piece(key: &str) -> bool {
    key[1..].bytes().all(|b| b.is_ascii_digit() || b == b'[' || b == b']')
}

/// SELinux writes its verdict as a sentence: `avc:  denied  { read write } for  pid=…`.
fn put_access_vector(record: &Record, mut put: impl FnMut(&str, &str)) {
    let Some(rest) = record.body().trim_start_matches([':', ' ']).strip_prefix("avc:") else { return };
    let Some((verdict, rest)) = rest.split_once('{') else { return };
    let Some((permissions, _)) = rest.split_once('}') else { return };
    put("seresult", verdict.trim());
    for permission in permissions.split_ascii_whitespace() {
        put("seperms", permission);
    }
}
