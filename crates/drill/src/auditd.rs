//! Linux audit records, in the enriched format that auditd writes: an event is several lines that share a serial.
//!
//! Not here: which programs run (see `benign` and `attack`).

use palisade_events::time::{Micros, SECOND};

use crate::cluster::Cluster;
use crate::record::Truth;
use crate::text::{digits, hex, number};
use crate::wire::Wire;

/// A program that was run.
pub(crate) struct Exec<'e> {
    pub(crate) argv: &'e [&'e str],
    pub(crate) exe: &'e str,
    pub(crate) cwd: &'e str,
    pub(crate) ppid: u64,
    pub(crate) login: Login<'e>,
    pub(crate) key: &'e str,
}

/// A watched file that was opened for reading.
pub(crate) struct Open<'o> {
    pub(crate) path: &'o str,
    pub(crate) exe: &'o str,
    /// As the kernel shows it: at most 128 bytes.
    pub(crate) command: &'o str,
    pub(crate) ppid: u64,
    pub(crate) login: Login<'o>,
    pub(crate) key: &'o str,
}

/// Whose session it was.
#[derive(Clone, Copy)]
pub(crate) enum Login<'l> {
    /// A daemon: nobody logged in.
    None,
    /// A person, by user id, name, terminal and session.
    Person(u64, &'l str, &'l str, u64),
}

impl Wire {
    /// SYSCALL, EXECVE, CWD, two PATHs, PROCTITLE and EOE of a successful execve. Gives the process id.
    pub(crate) fn exec(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        node: usize,
        exec: &Exec<'_>,
        truth: Option<Truth>,
    ) -> u64 {
        let pid = self.next_pid(node);
        let lines = Lines::new(self, cluster, at, node, truth);
        lines.syscall(self, 59, "execve", 2, exec.ppid, pid, exec.login, exec.exe, exec.key);
        lines.begin(self, "EXECVE");
        self.buffer.push_str("argc=");
        number(&mut self.buffer, exec.argv.len() as u64);
        for (n, arg) in exec.argv.iter().enumerate() {
            self.buffer.push_str(" a");
            number(&mut self.buffer, n as u64);
            self.buffer.push('=');
            word(&mut self.buffer, arg);
        }
        lines.send(self);
        lines.cwd(self, exec.cwd);
        lines.path(self, 0, exec.exe, 0o100_755);
        lines.path(self, 1, "/lib64/ld-linux-x86-64.so.2", 0o100_755);
        lines.proctitle(self, &exec.argv.join("\0"));
        lines.end(self);
        pid
    }

    /// SYSCALL, CWD, PATH, PROCTITLE and EOE of a successful openat.
    pub(crate) fn open(&mut self, cluster: &Cluster, at: Micros, node: usize, open: &Open<'_>, truth: Option<Truth>) {
        let pid = self.next_pid(node);
        let lines = Lines::new(self, cluster, at, node, truth);
        lines.syscall(self, 257, "openat", 1, open.ppid, pid, open.login, open.exe, open.key);
        lines.cwd(self, "/");
        lines.path(self, 0, open.path, 0o100_640);
        lines.proctitle(self, open.command);
        lines.end(self);
    }

    /// One record of a user-space program: it stands alone, without an end record. `message` is what its `msg` holds.
    pub(crate) fn user_record(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        node: usize,
        kind: &str,
        login: Login<'_>,
        message: &str,
    ) {
        let pid = if kind.starts_with("SERVICE_") { 1 } else { self.next_pid(node) };
        let lines = Lines::new(self, cluster, at, node, None);
        lines.begin(self, kind);
        let out = &mut self.buffer;
        out.push_str("pid=");
        number(out, pid);
        out.push_str(" uid=0 auid=");
        login.id(out);
        out.push_str(" ses=");
        login.session(out);
        out.push_str(" subj=unconfined msg='");
        out.push_str(message);
        out.push_str("'\u{1d}UID=\"root\" AUID=\"");
        out.push_str(login.name());
        out.push('"');
        lines.send(self);
    }
}

impl Login<'_> {
    fn id(self, out: &mut String) {
        number(out, if let Self::Person(id, ..) = self { id } else { u64::from(u32::MAX) });
    }

    fn session(self, out: &mut String) {
        number(out, if let Self::Person(.., session) = self { session } else { u64::from(u32::MAX) });
    }

    fn name(&self) -> &str {
        if let Self::Person(_, name, ..) = self { name } else { "unset" }
    }

    fn terminal(&self) -> &str {
        if let Self::Person(_, _, terminal, _) = self { terminal } else { "(none)" }
    }
}

/// The lines of one event.
struct Lines<'c> {
    host: &'c str,
    node: usize,
    at: Micros,
    serial: u64,
    truth: Option<Truth>,
}

impl<'c> Lines<'c> {
    fn new(wire: &mut Wire, cluster: &'c Cluster, at: Micros, node: usize, truth: Option<Truth>) -> Self {
        // The stamp has milliseconds only; the record is said to be from that moment.
        let (serial, at) = wire.next_serial(node, at.div_euclid(1_000) * 1_000);
        Self { host: &cluster.nodes[node].name, node, at, serial, truth }
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
        wire.send_auditd(self.node, self.at, self.host, self.truth);
    }

    #[allow(clippy::too_many_arguments)] // The columns of one record, used twice.
    fn syscall(
        &self,
        wire: &mut Wire,
        syscall: u64,
        name: &str,
        items: u64,
        ppid: u64,
        pid: u64,
        login: Login<'_>,
        exe: &str,
        key: &str,
    ) {
        self.begin(wire, "SYSCALL");
        let pointers: [u64; 4] = std::array::from_fn(|_| 0x5500_0000_0000 | wire.random.next() >> 28);
        let out = &mut wire.buffer;
        out.push_str("arch=c000003e syscall=");
        number(out, syscall);
        out.push_str(" success=yes exit=");
        out.push_str(if syscall == 59 { "0" } else { "3" });
        for (n, pointer) in pointers.into_iter().enumerate() {
            out.push_str([" a0=", " a1=", " a2=", " a3="][n]);
            hex(out, pointer, 12);
        }
        for (label, value) in [(" items=", items), (" ppid=", ppid), (" pid=", pid)] {
            out.push_str(label);
            number(out, value);
        }
        out.push_str(" auid=");
        login.id(out);
        out.push_str(" uid=0 gid=0 euid=0 suid=0 fsuid=0 egid=0 sgid=0 fsgid=0 tty=");
        out.push_str(login.terminal());
        out.push_str(" ses=");
        login.session(out);
        out.push_str(" comm=");
        // The kernel keeps 15 bytes of a program's name.
        let comm = exe.rsplit('/').next().unwrap_or(exe);
        word(out, comm.get(..15).unwrap_or(comm));
        out.push_str(" exe=");
        word(out, exe);
        out.push_str(" subj=unconfined key=");
        word(out, key);
        out.push_str("\u{1d}ARCH=x86_64 SYSCALL=");
        out.push_str(name);
        out.push_str(" AUID=\"");
        out.push_str(login.name());
        out.push_str("\" UID=\"root\" GID=\"root\" EUID=\"root\" SUID=\"root\" FSUID=\"root\" EGID=\"root\" SGID=\"root\" FSGID=\"root\"");
        self.send(wire);
    }

    fn cwd(&self, wire: &mut Wire, cwd: &str) {
        self.begin(wire, "CWD");
        wire.buffer.push_str("cwd=");
        word(&mut wire.buffer, cwd);
        self.send(wire);
    }

    fn path(&self, wire: &mut Wire, item: u64, path: &str, mode: u32) {
        self.begin(wire, "PATH");
        let out = &mut wire.buffer;
        out.push_str("item=");
        number(out, item);
        out.push_str(" name=");
        word(out, path);
        out.push_str(" inode=");
        // The same file has the same inode on all nodes, as with nodes made from one image. FNV-1a.
        let inode = path.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        number(out, u64::from(inode % 4_000_000 + 1_000));
        out.push_str(if mode == 0o100_755 { " dev=08:01 mode=0100755" } else { " dev=08:01 mode=0100640" });
        out.push_str(" ouid=0 ogid=0 rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0\u{1d}OUID=\"root\" OGID=\"root\"");
        self.send(wire);
    }

    fn proctitle(&self, wire: &mut Wire, title: &str) {
        self.begin(wire, "PROCTITLE");
        wire.buffer.push_str("proctitle=");
        let cut = (0..=title.len().min(128)).rev().find(|at| title.is_char_boundary(*at)).unwrap_or(0);
        word(&mut wire.buffer, &title[..cut]);
        self.send(wire);
    }

    fn end(&self, wire: &mut Wire) {
        self.begin(wire, "EOE");
        self.send(wire);
    }
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
    for byte in text.bytes() {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from(if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }));
        }
    }
}
