//! The lines of an audit event, field by field, in the order in which the kernel and the audit daemon write them.
//!
//! Not here: which lines an event has (see `auditd`).

use palisade_events::time::{Micros, SECOND};

use super::effect::Kind;
use super::user_name;
use crate::act::{Login, Place, Process, Terminal};
use crate::cluster::Cluster;
use crate::record::{Label, Stream};
use crate::text::{digits, hex, number};
use crate::wire::Wire;

/// Bytes after which the kernel goes on with a program's arguments in another record.
const EXECVE_MAX: usize = 7_500;

/// A system call, on x86-64.
pub(super) struct Call<'c> {
    pub(super) number: u64,
    pub(super) name: &'static str,
    /// Absent where the argument is an address.
    pub(super) args: [Option<u64>; 4],
    pub(super) items: u64,
    pub(super) is_success: bool,
    pub(super) exit: i64,
    /// Of the rule that watched it; empty without one.
    pub(super) key: &'c str,
}

impl Call<'_> {
    /// A successful call that takes addresses, walks no path and is watched by no rule.
    pub(super) fn of(number: u64, name: &'static str) -> Self {
        Self { number, name, args: [None; 4], items: 0, is_success: true, exit: 0, key: "" }
    }
}

/// A path that a call walks.
pub(super) struct Item<'i> {
    pub(super) path: &'i str,
    /// The file itself, which decides on the inode.
    pub(super) file: &'i str,
    /// Empty if there is no such file.
    pub(super) dev: &'i str,
    pub(super) mode: &'static str,
    pub(super) kind: Kind,
}

/// The device of a process's root.
pub(super) fn dev<'p>(place: Place<'p>) -> &'p str {
    match place {
        // Each container has an overlay of its own; its minor number is as random as its id.
        Place::Pod(pod) => pod.container_id.get(..2).unwrap_or("3a"),
        Place::Node(_) => "08:01",
    }
}

/// The lines of one event.
pub(super) struct Lines<'c> {
    host: &'c str,
    node: usize,
    at: Micros,
    serial: u64,
    label: Option<Label>,
}

impl<'c> Lines<'c> {
    pub(super) fn new(wire: &mut Wire, cluster: &'c Cluster, at: Micros, node: usize, label: Option<Label>) -> Self {
        // The stamp has milliseconds only; the record is said to be from that moment.
        let (serial, at) = wire.next_serial(node, at.div_euclid(1_000) * 1_000);
        Self { host: &cluster.nodes[node].name, node, at, serial, label }
    }

    /// The daemon's own events are numbered apart from the kernel's.
    pub(super) fn of_daemon(cluster: &'c Cluster, at: Micros, node: usize, label: Option<Label>) -> Self {
        let serial = 2_000 + node as u64 * 613 % 7_000 + at.div_euclid(3_600 * SECOND) as u64 % 1_000;
        Self { host: &cluster.nodes[node].name, node, at: at.div_euclid(1_000) * 1_000, serial, label }
    }

    pub(super) fn syscall(&self, wire: &mut Wire, process: &Process<'_>, comm: &str, call: &Call<'_>) {
        self.begin(wire, "SYSCALL");
        let addresses: [u64; 4] = std::array::from_fn(|_| 0x5500_0000_0000 | wire.random.next() >> 28);
        let login = &process.login;
        let (uid, gid) = (process.uid, process.uid);
        // Programs with the set-user-id bit run as their owner.
        let is_setuid = matches!(comm, "sudo" | "su" | "passwd" | "pkexec" | "newgrp" | "mount" | "umount" | "chsh");
        let euid = if is_setuid { 0 } else { uid };
        let out = &mut wire.buffer;
        out.push_str("arch=c000003e syscall=");
        number(out, call.number);
        out.push_str(if call.is_success { " success=yes exit=" } else { " success=no exit=" });
        if call.exit < 0 {
            out.push('-');
        }
        number(out, call.exit.unsigned_abs());
        for (n, address) in addresses.into_iter().enumerate() {
            out.push_str([" a0=", " a1=", " a2=", " a3="][n]);
            match call.args[n] {
                Some(value) => hex(out, value, (67 - (value | 1).leading_zeros() as usize) / 4),
                None => hex(out, address, 12),
            }
        }
        for (name, value) in [(" items=", call.items), (" ppid=", process.parent.pid), (" pid=", process.pid)] {
            out.push_str(name);
            number(out, value);
        }
        out.push_str(" auid=");
        number(out, auid(login));
        for (name, id) in [
            (" uid=", uid),
            (" gid=", gid),
            (" euid=", euid),
            (" suid=", euid),
            (" fsuid=", euid),
            (" egid=", gid),
            (" sgid=", gid),
            (" fsgid=", gid),
        ] {
            out.push_str(name);
            number(out, id);
        }
        out.push_str(" tty=");
        out.push_str(match (process.terminal, login) {
            (Terminal::None, _) => "(none)",
            (Terminal::Attached, Login::Person(_, _, terminal, _)) => terminal,
            (Terminal::Attached, Login::None) => "pts0",
        });
        out.push_str(" ses=");
        number(out, session(login));
        out.push_str(" comm=");
        word(out, comm);
        out.push_str(" exe=");
        word(out, process.exe);
        out.push_str(" subj=unconfined key=");
        match call.key {
            "" => out.push_str("(null)"),
            key => word(out, key),
        }
        out.push_str("\u{1d}ARCH=x86_64 SYSCALL=");
        out.push_str(call.name);
        named(out, " AUID=", auid(login), login);
        for (name, id) in [
            (" UID=", uid),
            (" GID=", gid),
            (" EUID=", euid),
            (" SUID=", euid),
            (" FSUID=", euid),
            (" EGID=", gid),
            (" SGID=", gid),
            (" FSGID=", gid),
        ] {
            match (id, name.contains('G')) {
                (65_534, true) => {
                    out.push_str(name);
                    out.push_str("\"nogroup\"");
                }
                _ => named(out, name, id, login),
            }
        }
        self.send(wire);
    }

    pub(super) fn execve(&self, wire: &mut Wire, argv: &[&str]) {
        self.begin(wire, "EXECVE");
        wire.buffer.push_str("argc=");
        number(&mut wire.buffer, argv.len() as u64);
        for (n, arg) in argv.iter().enumerate() {
            if wire.buffer.len() > EXECVE_MAX {
                self.send(wire);
                self.begin(wire, "EXECVE");
            }
            let out = &mut wire.buffer;
            out.push_str(" a");
            number(out, n as u64);
            out.push('=');
            word(out, arg);
        }
        self.send(wire);
    }

    pub(super) fn cwd(&self, wire: &mut Wire, cwd: &str) {
        self.begin(wire, "CWD");
        wire.buffer.push_str("cwd=");
        word(&mut wire.buffer, cwd);
        self.send(wire);
    }

    pub(super) fn path(&self, wire: &mut Wire, item: u64, path: &Item<'_>) {
        self.begin(wire, "PATH");
        let out = &mut wire.buffer;
        out.push_str("item=");
        number(out, item);
        out.push_str(" name=");
        word(out, path.path);
        if !path.dev.is_empty() {
            out.push_str(" inode=");
            // The same file has the same inode on all nodes, as with nodes made from one image. FNV-1a.
            let hash = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            let inode = path.file.bytes().fold(0x811c_9dc5_u32, hash);
            number(out, u64::from(inode % 4_000_000 + 1_000));
            out.push_str(if path.dev.len() == 2 { " dev=00:" } else { " dev=" });
            out.push_str(path.dev);
            out.push_str(" mode=");
            out.push_str(path.mode);
            out.push_str(" ouid=0 ogid=0 rdev=00:00");
        }
        out.push_str(" nametype=");
        out.push_str(path.kind.name());
        out.push_str(" cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0");
        if !path.dev.is_empty() {
            out.push_str("\u{1d}OUID=\"root\" OGID=\"root\"");
        }
        self.send(wire);
    }

    pub(super) fn module(&self, wire: &mut Wire, name: &str) {
        self.begin(wire, "KERN_MODULE");
        wire.buffer.push_str("name=");
        word(&mut wire.buffer, name);
        self.send(wire);
    }

    /// The arguments with a zero byte between them, of which the kernel shows 128 bytes.
    pub(super) fn proctitle(&self, wire: &mut Wire, argv: &[&str]) {
        self.begin(wire, "PROCTITLE");
        let out = &mut wire.buffer;
        out.push_str("proctitle=");
        match argv {
            [] => out.push_str("(null)"),
            [alone] if alone.len() <= 128 => word(out, alone),
            _ => {
                let mut left = 128;
                for (n, arg) in argv.iter().enumerate() {
                    if n > 0 && left > 0 {
                        hex_byte(out, 0);
                        left -= 1;
                    }
                    arg.bytes().take(left).for_each(|byte| hex_byte(out, byte));
                    left -= arg.len().min(left);
                }
            }
        }
        self.send(wire);
    }

    pub(super) fn end(&self, wire: &mut Wire) {
        self.begin(wire, "EOE");
        self.send(wire);
    }

    /// A record of a user-space program, which stands alone.
    pub(super) fn user(&self, wire: &mut Wire, kind: &str, pid: u64, login: Login<'_>, message: &str) {
        self.begin(wire, kind);
        // These programs write while they still run for the person; others are daemons.
        let is_persons = message.contains("exe=\"/usr/bin/su") || kind == "USER_CMD";
        let uid = if let Login::Person(id, ..) = login { if is_persons { id } else { 0 } } else { 0 };
        let out = &mut wire.buffer;
        out.push_str("pid=");
        number(out, pid);
        out.push_str(" uid=");
        number(out, uid);
        out.push_str(" auid=");
        number(out, auid(&login));
        out.push_str(" ses=");
        number(out, session(&login));
        out.push_str(" subj=unconfined msg='");
        out.push_str(message);
        out.push_str("'\u{1d}");
        named(out, "UID=", uid, &login);
        named(out, " AUID=", auid(&login), &login);
        // An id that is said is looked up too; of an account that is just being made, in vain.
        if let Some(id) = message.split_once(" id=").map(|(_, rest)| rest.split(' ').next().unwrap_or_default()) {
            match login {
                Login::Person(known, ..) if id.parse() == Ok(known) => named(out, " ID=", known, &login),
                _ => {
                    out.push_str(" ID=\"unknown(");
                    out.push_str(id);
                    out.push_str(")\"");
                }
            }
        }
        self.send(wire);
    }

    /// A record of the kernel's, which has no `msg`: who did it, what, and how it went.
    pub(super) fn kernel(&self, wire: &mut Wire, kind: &str, login: Login<'_>, message: &str) {
        self.begin(wire, kind);
        let who = |out: &mut String| {
            out.push_str("auid=");
            number(out, auid(&login));
            out.push_str(" ses=");
            number(out, session(&login));
            out.push_str(" subj=unconfined");
        };
        let out = &mut wire.buffer;
        // What became of a setting is told before who set it, what was done to a rule after.
        match message.rsplit_once(" res=") {
            Some((said, result)) if !message.starts_with("op=") => {
                out.push_str(said);
                out.push(' ');
                who(out);
                out.push_str(" res=");
                out.push_str(result);
            }
            _ => {
                who(out);
                out.push(' ');
                out.push_str(message);
            }
        }
        out.push('\u{1d}');
        named(out, "AUID=", auid(&login), &login);
        self.send(wire);
    }

    /// The kernel's record of a session that begins: whose it is from now on.
    pub(super) fn login(&self, wire: &mut Wire, pid: u64, login: Login<'_>) {
        self.begin(wire, "LOGIN");
        let out = &mut wire.buffer;
        out.push_str("pid=");
        number(out, pid);
        out.push_str(" uid=0 subj=unconfined old-auid=4294967295 auid=");
        number(out, auid(&login));
        out.push_str(" tty=(none) old-ses=4294967295 ses=");
        number(out, session(&login));
        out.push_str(" res=1\u{1d}UID=\"root\" OLD-AUID=\"unset\"");
        named(out, " AUID=", auid(&login), &login);
        self.send(wire);
    }

    /// A record of the audit daemon's about itself.
    pub(super) fn daemon(&self, wire: &mut Wire, kind: &str, login: Login<'_>, message: &str) {
        self.begin(wire, kind);
        let (said, result) = message.rsplit_once(" res=").unwrap_or((message, "success"));
        let out = &mut wire.buffer;
        out.push_str(said);
        out.push_str(" auid=");
        number(out, auid(&login));
        out.push_str(" pid=");
        number(out, 600 + self.node as u64);
        out.push_str(" uid=0 ses=");
        number(out, session(&login));
        out.push_str(" subj=unconfined res=");
        out.push_str(result);
        out.push('\u{1d}');
        named(out, "AUID=", auid(&login), &login);
        out.push_str(" UID=\"root\"");
        self.send(wire);
    }

    fn begin(&self, wire: &mut Wire, kind: &str) {
        let out = &mut wire.buffer;
        out.push_str("node=");
        out.push_str(self.host);
        out.push_str(" type=");
        out.push_str(kind);
        out.push_str(" msg=audit(");
        number(out, self.at.div_euclid(SECOND) as u64);
        out.push('.');
        digits(out, (self.at.rem_euclid(SECOND) / 1_000) as u64, 3);
        out.push(':');
        number(out, self.serial);
        out.push_str("): ");
    }

    fn send(&self, wire: &mut Wire) {
        wire.send_node(Stream::Auditd, self.node, self.at, self.host, self.label);
    }
}

/// The id of whoever logged in; all bits where nobody did.
fn auid(login: &Login<'_>) -> u64 {
    if let Login::Person(id, ..) = login { *id } else { u64::from(u32::MAX) }
}

fn session(login: &Login<'_>) -> u64 {
    if let Login::Person(.., session) = login { *session } else { u64::from(u32::MAX) }
}

/// A user's name, which the daemon looks up on the node.
fn named(out: &mut String, field: &str, id: u64, login: &Login<'_>) {
    out.push_str(field);
    out.push('"');
    match user_name(id, login) {
        Some(name) => out.push_str(name),
        None if id == u64::from(u32::MAX) => out.push_str("unset"),
        None => {
            out.push_str("unknown(");
            number(out, id);
            out.push(')');
        }
    }
    out.push('"');
}

/// A value as the kernel writes untrusted text: in quotes, or in hexadecimal if it holds a space, a quote or a byte
/// outside of printable ASCII.
fn word(out: &mut String, text: &str) {
    if text.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    text.bytes().for_each(|byte| hex_byte(out, byte));
}

fn hex_byte(out: &mut String, byte: u8) {
    for nibble in [byte >> 4, byte & 15] {
        out.push(char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }));
    }
}
