//! Linux audit records, in the enriched format that auditd writes: an event is several lines that share a serial.
//!
//! Not here: how a line is put together (see `lines`), which files are watched (see `rules`), what a touch is to the
//! kernel (see `effect`), nor what happens at all (see `act`).

mod effect;
mod lines;
mod rules;

use palisade_events::time::{Micros, SECOND};

use self::effect::{Effect, Kind};
use self::lines::{Call, Item, Lines, dev};
use crate::act::{HostEvent, Login, Outcome, Parent, Place, Process, Terminal, Touch};
use crate::cluster::Cluster;
use crate::record::Label;
use crate::text::base;
use crate::wire::Wire;

/// How long after its start a program asks the kernel for what it is there for.
const SETTLED: Micros = 2_000;

impl Wire {
    /// SYSCALL, EXECVE, CWD, two PATHs, PROCTITLE and EOE of an execve; and an event of its own for what some programs
    /// cannot but ask for: a kernel module, another time.
    pub(crate) fn auditd_launch(&mut self, cluster: &Cluster, process: &Process<'_>, label: Option<Label>) {
        let name = comm(process.exe, process.argv);
        let lines = Lines::new(self, cluster, process.started, process.place.node(), label);
        lines.syscall(self, process, name, &Call { items: 2, key: "exec", ..Call::of(59, "execve") });
        lines.execve(self, process.argv);
        lines.cwd(self, process.cwd);
        // The kernel tells the path that it was given, which may be a link to the program.
        let given = process.argv.first().filter(|first| first.starts_with('/') && base(first) == name);
        let path = given.unwrap_or(&process.exe);
        let dev = dev(process.place);
        lines.path(self, 0, &Item { path, file: process.exe, dev, mode: "0100755", kind: Kind::Normal });
        let loader = "/lib64/ld-linux-x86-64.so.2";
        lines.path(self, 1, &Item { path: loader, file: loader, dev, mode: "0100755", kind: Kind::Normal });
        lines.proctitle(self, process.argv);
        lines.end(self);
        if let Some((call, module)) = asked(name, process.argv) {
            let lines = Lines::new(self, cluster, process.started + SETTLED, process.place.node(), label);
            lines.syscall(self, process, name, &call);
            if let Some(module) = module {
                lines.module(self, module);
            }
            lines.proctitle(self, process.argv);
            lines.end(self);
        }
    }

    /// SYSCALL, CWD, PATHs, PROCTITLE and EOE of what is done to a file, if the node's rules watch it.
    pub(crate) fn auditd_touch(&mut self, cluster: &Cluster, at: Micros, touch: &Touch<'_>, label: Option<Label>) {
        let Some(key) = rules::key_of(touch) else { return };
        let by = &touch.by;
        let name = comm(by.exe, by.argv);
        let effect = Effect::of(touch, name);
        let is_success = touch.outcome == Outcome::Success;
        // EACCES, if it was not let.
        let exit = if is_success { effect.exit } else { -13 };
        let items = effect.paths.len() as u64;
        let call = Call { args: effect.args, items, is_success, exit, key, ..Call::of(effect.number, effect.name) };
        let lines = Lines::new(self, cluster, at, by.place.node(), label);
        lines.syscall(self, by, name, &call);
        lines.cwd(self, by.cwd);
        // A file that gets another name stays what it is.
        let moved = effect.paths.iter().find(|(kind, _)| *kind == Kind::Delete).map(|(_, path)| path);
        for (item, (kind, path)) in (0..).zip(&effect.paths) {
            let dev = if rules::is_of_host(touch) { "08:01" } else { dev(by.place) };
            let file = if *kind == Kind::Create { moved.unwrap_or(path) } else { path };
            // What was not made has no inode.
            let dev = if *kind == Kind::Create && !is_success { "" } else { dev };
            lines.path(self, item, &Item { path, file, dev, mode: rules::mode(*kind, path), kind: *kind });
        }
        lines.proctitle(self, by.argv);
        lines.end(self);
    }

    /// What a program on a node, or the kernel or the audit daemon themselves, say about a person or about auditing.
    pub(crate) fn auditd_user(&mut self, cluster: &Cluster, at: Micros, event: &HostEvent<'_>, label: Option<Label>) {
        let &HostEvent { node, kind, login, message } = event;
        if kind.starts_with("DAEMON_") {
            return Lines::of_daemon(cluster, at, node, label).daemon(self, kind, login, message);
        }
        match kind {
            "CONFIG_CHANGE" => {
                let argv: &[&str] = match message {
                    _ if message.starts_with("audit_enabled=0") => &["auditctl", "-e", "0"],
                    _ if message.contains("op=remove_rule") => &["auditctl", "-D"],
                    _ => &["auditctl", "-R", "/etc/audit/audit.rules"],
                };
                // sendto: rules travel over a netlink socket.
                let call = Call { args: [Some(3), None, Some(1_084), Some(0)], exit: 1_084, ..Call::of(44, "sendto") };
                self.kernel_record(cluster, at, event, ("/usr/sbin/auditctl", argv), &call, label);
            }
            "LOGIN" => {
                let call = Call { args: [Some(4), None, Some(4), Some(0)], exit: 4, ..Call::of(1, "write") };
                self.kernel_record(cluster, at, event, ("/usr/sbin/sshd", &["sshd: sam [priv]"]), &call, label);
            }
            _ if is_of_kernel(kind) => {
                let lines = Lines::new(self, cluster, at, node, label);
                lines.kernel(self, kind, login, message);
                lines.end(self);
            }
            _ => {
                let pid = if kind.starts_with("SERVICE_") { 1 } else { self.next_pid(node) };
                Lines::new(self, cluster, at, node, label).user(self, kind, pid, login, message);
            }
        }
    }

    /// One record of a user-space program of ordinary life: it stands alone, without an end record. `message` is what
    /// its `msg` holds.
    pub(crate) fn user_record(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        node: usize,
        kind: &str,
        login: Login<'_>,
        message: &str,
    ) {
        self.auditd_user(cluster, at, &HostEvent { node, kind, login, message }, None);
    }

    /// A record of the kernel's about itself, and the system call by which a program brought it about.
    fn kernel_record(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        event: &HostEvent<'_>,
        (exe, argv): (&str, &[&str]),
        call: &Call<'_>,
        label: Option<Label>,
    ) {
        let &HostEvent { node, kind, login, message } = event;
        let process = Process {
            place: Place::Node(node),
            pid: self.next_pid(node),
            exe,
            argv,
            cwd: "/",
            uid: 0,
            login,
            terminal: if kind == "LOGIN" { Terminal::None } else { Terminal::Attached },
            parent: Parent { pid: 900 + node as u64, exe: "/usr/bin/bash", arguments: "", started: at - 60 * SECOND },
            started: at,
        };
        let lines = Lines::new(self, cluster, at, node, label);
        match kind {
            "LOGIN" => lines.login(self, process.pid, login),
            _ => lines.kernel(self, kind, login, message),
        }
        lines.syscall(self, &process, comm(exe, &[]), call);
        lines.proctitle(self, argv);
        lines.end(self);
    }
}

/// What a program asks the kernel for that rules watch by system call, and the name of the kernel module, if it is one.
fn asked<'a>(name: &str, argv: &[&'a str]) -> Option<(Call<'static>, Option<&'a str>)> {
    let has = |flags: &[&str]| argv.iter().any(|arg| flags.contains(arg));
    let modules =
        |number, name| Call { args: [Some(3), None, Some(0), None], key: "modules", ..Call::of(number, name) };
    let module = || {
        let named = argv.iter().skip(1).rfind(|arg| !arg.starts_with('-') && !arg.contains('='))?;
        let file = base(named);
        Some(file.split_once('.').map_or(file, |(name, _)| name))
    };
    Some(match name {
        "insmod" => (modules(313, "finit_module"), Some(module()?)),
        "rmmod" => (modules(176, "delete_module"), Some(module()?)),
        "modprobe" if has(&["-r", "--remove"]) => (modules(176, "delete_module"), Some(module()?)),
        "modprobe" if !has(&["-n", "--dry-run", "-c", "--showconfig"]) => {
            (modules(313, "finit_module"), Some(module()?))
        }
        "date" if has(&["-s", "--set"]) || argv.iter().any(|arg| arg.starts_with("--set=")) => {
            let args = [Some(0), None, Some(0), Some(0)];
            (Call { args, key: "time-change", ..Call::of(227, "clock_settime") }, None)
        }
        _ => return None,
    })
}

/// Kinds that the kernel writes in its own manner, without a `msg`.
fn is_of_kernel(kind: &str) -> bool {
    matches!(kind, "AVC" | "SECCOMP" | "BPF" | "KERN_MODULE" | "NETFILTER_CFG" | "FEATURE_CHANGE" | "TTY")
        || matches!(kind, "ANOM_PROMISCUOUS" | "ANOM_ABEND" | "ANOM_LINK" | "ANOM_CREAT")
        || kind.starts_with("MAC_")
}

/// The name that the kernel gives a process: the one its program was called by, at most 15 bytes of it.
///
/// A program that calls itself something else in its first argument deceives only those who look there.
pub(crate) fn comm<'p>(exe: &'p str, argv: &[&'p str]) -> &'p str {
    let own = base(exe);
    let called = argv.first().map_or(own, |first| base(first).trim_start_matches('-'));
    // Programs of many names, by links; and those with a version or a vendor after their name.
    let is_linked = match own.strip_prefix(called) {
        Some(rest) => rest.starts_with(|c: char| c == '.' || c.is_ascii_digit()),
        None => matches!(own, "dash" | "bash" | "busybox" | "toybox" | "coreutils" | "kmod" | "xtables-nft-multi"),
    };
    let name = if is_linked && !called.is_empty() { called } else { own };
    let cut = (0..=name.len().min(15)).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    &name[..cut]
}

/// The name of a user, where the account is one that every machine has or that of the session.
pub(crate) fn user_name<'l>(uid: u64, login: &Login<'l>) -> Option<&'l str> {
    match (uid, login) {
        (0, _) => Some("root"),
        (_, Login::Person(id, name, ..)) if *id == uid => Some(name),
        (1, _) => Some("daemon"),
        (2, _) => Some("bin"),
        (33, _) => Some("www-data"),
        (65_534, _) => Some("nobody"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
