//! Which of Falco's stock rules fire when a program starts: those of the stable and the incubating set, and of the
//! sandbox the few that a shop turns on.
//!
//! A rule judges by what it was written to look at and by nothing else, so that what it misses in truth is missed here.
//! For one system call only the first rule that fits tells, in the order in which Falco loads them, as is its default.
//!
//! What Falco knows and an act does not tell is taken as the program needs it: who mounts in a container or loads a
//! module is privileged.

use palisade_events::time::Micros;

use super::names::{Role, is_cron, is_database, is_package_manager, spawns_no_shells, starts_containers};
use super::rules::{self, Rule, Show};
use super::{Field, Subject, Value, command_line, parent_name};
use crate::act::{Login, Parent, Place, Process, Terminal};
use crate::auditd::comm;
use crate::cluster::{Cluster, Pod};
use crate::record::Label;
use crate::wire::Wire;

/// How long after its start a program does what it is there for.
const SETTLED: Micros = 1_500;

/// What a rule that fires saw.
#[derive(Clone, Copy)]
pub(super) struct Seen<'s> {
    pub(super) process: &'s Process<'s>,
    pub(super) syscall: &'s str,
    pub(super) file: &'s str,
    /// Both ends, their ports, and the protocol.
    pub(super) connection: Option<(&'s str, u64, u64, &'s str)>,
    /// Those of an execve.
    pub(super) flags: &'s str,
    /// What only this rule tells, before all else.
    pub(super) details: &'s [Field<'s>],
}

impl<'s> Seen<'s> {
    pub(super) fn of(process: &'s Process<'s>, syscall: &'s str) -> Self {
        Self { process, syscall, file: "", connection: None, flags: "", details: &[] }
    }
}

impl Wire {
    /// A program starts; and does at once what some programs are there for.
    pub(crate) fn falco_launch(&mut self, cluster: &Cluster, process: &Process<'_>, label: Option<Label>) {
        let name = comm(process.exe, process.argv);
        let role = Role::of(name);
        if let Some(rule) = started(process, name, role) {
            let seen = Seen { flags: flags(process), ..Seen::of(process, "execve") };
            self.falco_seen(cluster, process.started, rule, &seen, label);
        }
        if let Some(Deed { rule, syscall, details }) = deed(process, name, role) {
            let seen = Seen { details: &details, ..Seen::of(process, syscall) };
            self.falco_seen(cluster, process.started + SETTLED, rule, &seen, label);
        }
    }

    /// The first process of a privileged container starts at `at`.
    pub(crate) fn falco_privileged_container(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        pod: &Pod,
        label: Option<Label>,
    ) {
        let exe = ["/app/", &pod.container].concat();
        let argv = [exe.as_str()];
        let process = own_process(pod, at, &exe, &argv);
        self.falco_seen(cluster, at, &rules::PRIVILEGED_CONTAINER, &Seen::of(&process, "execve"), label);
    }

    /// Writes the alert of a rule that fires.
    pub(super) fn falco_seen(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        rule: &Rule<'_>,
        seen: &Seen<'_>,
        label: Option<Label>,
    ) {
        let process = seen.process;
        let command = command_line(process);
        let mut parents = String::new();
        if rule.shows.contains(&Show::ParentCommand) {
            parents.push_str(parent_name(process));
            if !process.parent.arguments.is_empty() {
                parents.push(' ');
                parents.push_str(process.parent.arguments);
            }
        }
        let text = |text| if str::is_empty(text) { Value::Null } else { Value::Text(text) };
        let mut extra: Vec<Field<'_>> = seen.details.to_vec();
        for show in rule.shows {
            match show {
                Show::File => extra.push(Field("fd.name", "file", text(seen.file))),
                Show::ParentCommand => extra.push(Field("proc.pcmdline", "pcmdline", text(&parents))),
                Show::ParentPath => extra.push(Field("proc.pexepath", "parent_exepath", text(process.parent.exe))),
                Show::Cwd => extra.push(Field("proc.cwd", "proc_cwd", text(process.cwd))),
                Show::Ancestors => {
                    let [grandparent, third, fourth] = ancestors(process);
                    extra.push(Field("proc.aname[2]", "gparent", text(grandparent)));
                    extra.push(Field("proc.aname[3]", "ggparent", text(third)));
                    extra.push(Field("proc.aname[4]", "gggparent", text(fourth)));
                }
                Show::Connection => {
                    let Some((ends, local, remote, protocol)) = seen.connection else { continue };
                    extra.push(Field("fd.name", "connection", Value::Text(ends)));
                    extra.push(Field("fd.lport", "lport", Value::Number(local as i64)));
                    extra.push(Field("fd.rport", "rport", Value::Number(remote as i64)));
                    extra.push(Field("fd.type", "fd_type", Value::Text("ipv4")));
                    extra.push(Field("fd.l4proto", "fd_proto", Value::Text(protocol)));
                }
            }
        }
        let subject = Subject { flags: seen.flags, ..Subject::of(process, &command, seen.syscall) };
        self.falco_alert(cluster, at, rule, &subject, &extra, label);
    }
}

/// A container's own program, for what nobody else did.
pub(super) fn own_process<'p>(pod: &'p Pod, at: Micros, exe: &'p str, argv: &'p [&'p str]) -> Process<'p> {
    let parent = Wire::shim(pod, at);
    let own = Process::contained(pod, parent.pid + 1, at, exe, argv);
    Process { parent: Parent { started: at, ..parent }, ..own }
}

/// The rule that tells of a program's start.
fn started(process: &Process<'_>, name: &str, role: Role) -> Option<&'static Rule<'static>> {
    let in_pod = matches!(process.place, Place::Pod(_));
    let arguments = process.argv.get(1..).unwrap_or_default();
    let parent = parent_name(process);
    let has = |wanted: &[&str]| arguments.iter().any(|argument| wanted.contains(argument));
    let stable = match role {
        Role::Shell if is_untrusted_shell(process, parent) => Some(&rules::SHELL_UNTRUSTED),
        _ if matches!(process.login, Login::Person(..)) && is_system_user(process.uid) => Some(&rules::SYSTEM_USER),
        Role::Shell if in_pod && process.terminal == Terminal::Attached && starts_containers(parent) => {
            Some(&rules::TERMINAL_SHELL)
        }
        Role::Netcat if in_pod && arguments.iter().any(|a| a.starts_with("-e") || a.starts_with("-c")) => {
            Some(&rules::NETCAT_EXECUTION)
        }
        Role::Ncat if in_pod && has(&["-e", "-c", "--exec", "--sh-exec", "--lua-exec"]) => {
            Some(&rules::NETCAT_EXECUTION)
        }
        Role::Grep | Role::Find => searches(arguments, role),
        Role::Wiper => Some(&rules::REMOVE_BULK),
        Role::Debugfs if in_pod => Some(&rules::DEBUGFS),
        _ => None,
    };
    if stable.is_some() {
        return stable;
    }
    if is_from_shared_memory(process, role) {
        return Some(&rules::EXECUTION_FROM_SHM);
    }
    // Shared memory is no part of a container's overlay: what is dropped there is not known to be new.
    if in_pod && (process.exe.starts_with("/tmp/") || process.exe.starts_with("/var/tmp/")) {
        return Some(&rules::DROP_AND_EXECUTE);
    }
    if is_from_memory(process.exe) && name != "runc" && parent != "runc" {
        return Some(&rules::FILELESS);
    }
    match role {
        Role::Crontab => Some(&rules::SCHEDULE_CRON),
        _ if is_database(parent) && !is_database(name) => Some(&rules::DATABASE_SPAWNED),
        Role::UserManager if !in_pod && manages_users(name, parent, arguments) => Some(&rules::USER_MANAGEMENT),
        Role::PackageManager if in_pod && !is_package_manager(parent) => Some(&rules::PACKAGE_MANAGEMENT),
        Role::Netcat | Role::Ncat | Role::NetworkTool | Role::Sniffer => match in_pod {
            true => Some(&rules::NETWORK_TOOL_IN_CONTAINER),
            false => Some(&rules::NETWORK_TOOL_ON_HOST),
        },
        Role::RemoteCopy if in_pod => Some(&rules::REMOTE_COPY),
        // Without arguments, or with these, it only tells what is mounted.
        Role::Mount if in_pod && !arguments.is_empty() && !has(&["-V", "-l", "-h"]) => Some(&rules::MOUNT_IN_CONTAINER),
        Role::Wget if in_pod => Some(&rules::INGRESS_COPY),
        Role::Curl if in_pod && downloads(arguments) => Some(&rules::INGRESS_COPY),
        _ => arguments.iter().any(|argument| mines(argument)).then_some(&rules::STRATUM),
    }
}

/// What a program does that no other act tells of, and what the alert says of it alone.
struct Deed<'d> {
    rule: &'static Rule<'static>,
    syscall: &'static str,
    details: Vec<Field<'d>>,
}

fn deed<'d>(process: &Process<'d>, name: &str, role: Role) -> Option<Deed<'d>> {
    let in_pod = matches!(process.place, Place::Pod(_));
    let arguments = process.argv.get(1..).unwrap_or_default();
    let mut plain = arguments.iter().copied().filter(|argument| !argument.starts_with('-'));
    let deed = |rule, syscall| Deed { rule, syscall, details: Vec::new() };
    Some(match role {
        Role::Chmod => {
            let mode = set_id(plain.next()?)?;
            let details = vec![
                Field("evt.arg.filename", "filename", Value::Text(plain.next()?)),
                Field("evt.arg.mode", "mode", Value::Text(mode)),
            ];
            Deed { rule: &rules::SETUID_BIT, syscall: "fchmodat", details }
        }
        Role::Link => {
            let is_symbolic = arguments.iter().any(|a| a.starts_with('-') && !a.starts_with("--") && a.contains('s'))
                || arguments.contains(&"--symbolic");
            let target = plain.next()?;
            let link = Value::Text(plain.next().unwrap_or("."));
            let is_folder = matches!(target, "/" | "/etc" | "/etc/" | "/root" | "/root/");
            if !(is_sensitive_name(target) || is_symbolic && is_folder) {
                return None;
            }
            let (rule, syscall) = match is_symbolic {
                true => (&rules::SYMLINK_SENSITIVE, "symlinkat"),
                false => (&rules::HARDLINK_SENSITIVE, "linkat"),
            };
            let [target_field, link_field] = match is_symbolic {
                true => ["evt.arg.target", "evt.arg.linkpath"],
                false => ["evt.arg.oldpath", "evt.arg.newpath"],
            };
            let details = vec![Field(target_field, "target", Value::Text(target)), Field(link_field, "linkpath", link)];
            Deed { rule, syscall, details }
        }
        Role::ModuleLoader if in_pod => {
            let details = vec![
                Field("proc.args", "module", Value::Text(plain.next_back()?)),
                Field("evt.res", "res", Value::Text("SUCCESS")),
            ];
            Deed { rule: &rules::KERNEL_MODULE, syscall: "finit_module", details }
        }
        Role::Tracer if name == "gcore" || arguments.iter().any(|a| a.starts_with("-p") || a.starts_with("--pid")) => {
            deed(&rules::PTRACE_ATTACHED, "ptrace")
        }
        Role::Nsenter if in_pod && !arguments.is_empty() => deed(&rules::CHANGE_NAMESPACE, "setns"),
        Role::Unshare if in_pod => deed(&rules::UNSHARE, "unshare"),
        Role::Sniffer if in_pod => deed(&rules::PACKET_SOCKET, "socket"),
        Role::NetworkTool | Role::Other if in_pod && reads_wire(process, name, arguments) => {
            deed(&rules::PACKET_SOCKET, "socket")
        }
        _ => return None,
    })
}

/// Whether it is a shell of a server's that runs none by itself.
fn is_untrusted_shell(process: &Process<'_>, parent: &str) -> bool {
    const JAVA_SERVERS: [&str; 8] = [
        "org.apache.zookeeper.server",
        "kafka.Kafka",
        "org.elasticsearch.bootstrap.Elasticsearch",
        "activemq.jar",
        "-Dcassandra.config.loader",
        "org.jboss",
        "org.apache.hadoop",
        "com.sun.enterprise.glassfish",
    ];
    let is_server = spawns_no_shells(parent)
        || parent == "java" && JAVA_SERVERS.iter().any(|server| process.parent.arguments.contains(server));
    if !is_server || parent == "runsv" {
        return false;
    }
    let script = match process.argv {
        [_, "-c", script] => *script,
        _ => return true,
    };
    let is_usual = matches!(script, "whoami" | "uname -p 2> /dev/null" | "getconf CLK_TCK" | "locale -a")
        || matches!(script, "uname -a 2>&1" | "uname -s 2>&1" | "uname -r 2>&1" | "lsb_release -a" | "openssl version")
        || script.starts_with("kill -0 ")
        || script.starts_with("serf")
        || parent == "nginx" && script.starts_with("/usr/local/bin/aws s3 cp")
        || parent == "consul" && (script.starts_with("curl") || script.starts_with("nc"))
        || parent == "postgres" && script.starts_with("/controller/manager wal-archive");
    !is_usual
}

/// bin, daemon, games, lp, mail, nobody, sync, uucp and www-data.
fn is_system_user(uid: u64) -> bool {
    matches!(uid, 1 | 2 | 4 | 5 | 7 | 8 | 10 | 33 | 65_534)
}

/// Whether grep or find looks for keys or credentials.
fn searches(arguments: &[&str], role: Role) -> Option<&'static Rule<'static>> {
    if role == Role::Find {
        let looks_for = |name: &&str| arguments.iter().any(|argument| argument.contains(*name));
        return match ["id_rsa", "id_dsa", "id_ed25519", "id_ecdsa"].iter().any(looks_for) {
            true => Some(&rules::SEARCH_KEYS),
            false => arguments.last()?.ends_with(".aws/credentials").then_some(&rules::FIND_AWS),
        };
    }
    let line = arguments.join(" ").to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| line.contains(word));
    let keys = ["begin private", "begin openssh private", "begin rsa private", "begin dsa private", "begin ec private"];
    let aws = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token", "accesskeyid", "secretaccesskey"];
    match has(&keys) {
        true => Some(&rules::SEARCH_KEYS),
        false => has(&aws).then_some(&rules::FIND_AWS),
    }
}

/// Whether what starts lies in shared memory: as it was called, not as it is.
fn is_from_shared_memory(process: &Process<'_>, role: Role) -> bool {
    let word = |n: usize| process.argv.get(n).copied().unwrap_or_default();
    let (called, first) = (word(0), word(1));
    if called.starts_with("/dev/shm/") {
        return true;
    }
    let is_there = |path: &str| path.starts_with("/dev/shm");
    role == Role::Shell && (is_there(first) || matches!(first, "-c" | "-i") && is_there(word(2)))
        || is_there(process.cwd) && (called.starts_with("./") || first.starts_with("./"))
}

/// Whether a program was never in a file.
fn is_from_memory(exe: &str) -> bool {
    exe.starts_with("memfd:") || exe.starts_with("/memfd:") || exe.starts_with("/proc/self/fd/")
}

/// What Falco says of the file that was run.
fn flags(process: &Process<'_>) -> &'static str {
    let is_dropped = process.exe.starts_with("/tmp/") || process.exe.starts_with("/var/tmp/");
    match (process.place, process.uid) {
        _ if is_from_memory(process.exe) => "EXE_WRITABLE|EXE_FROM_MEMFD",
        (Place::Pod(_), _) if is_dropped => "EXE_WRITABLE|EXE_UPPER_LAYER",
        (Place::Pod(_), 0) => "EXE_WRITABLE|EXE_LOWER_LAYER",
        (Place::Pod(_), _) => "EXE_LOWER_LAYER",
        (Place::Node(_), 0) => "EXE_WRITABLE",
        (Place::Node(_), _) => "0",
    }
}

/// Whether a program of accounts does more than to tell.
fn manages_users(name: &str, parent: &str, arguments: &[&str]) -> bool {
    let is_by_system =
        is_cron(parent) || matches!(parent, "systemd" | "systemd.postins" | "udev.postinst" | "run-parts");
    let is_inquiry = match name {
        "su" | "lastlog" | "nologin" | "unix_chkpwd" => true,
        "passwd" => arguments.first() == Some(&"-S"),
        "useradd" => arguments.first() == Some(&"-D"),
        "systemd" => arguments.first() == Some(&"--version"),
        "chage" => arguments.iter().any(|argument| argument.contains("-l")),
        _ => false,
    };
    !is_by_system && !is_inquiry
}

/// Whether curl writes to a file. The flag by itself, with something after it: among others, it is not seen.
fn downloads(arguments: &[&str]) -> bool {
    let before = arguments.split_last().map_or(&[][..], |(_, before)| before);
    before.iter().any(|argument| matches!(*argument, "-o" | "-O" | "--output" | "--remote-name"))
}

fn mines(argument: &str) -> bool {
    argument.as_bytes().contains(&b'+')
        && ["stratum+tcp", "stratum2+tcp", "stratum+ssl", "stratum2+ssl"].iter().any(|word| argument.contains(word))
}

/// What Falco calls a mode that has the set-user-id or the set-group-id bit.
fn set_id(mode: &str) -> Option<&'static str> {
    let bits = match u64::from_str_radix(mode, 8) {
        Ok(bits) => bits & 0o6000,
        Err(_) if !mode.contains('s') || !mode.contains(['+', '=']) => 0,
        Err(_) if mode.starts_with('g') => 0o2000,
        Err(_) => 0o4000,
    };
    match bits {
        0 => None,
        0o2000 => Some("S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISGID"),
        _ => Some("S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID"),
    }
}

/// Whether a program opens a packet socket. This is what it does, whatever it is called.
fn reads_wire(process: &Process<'_>, name: &str, arguments: &[&str]) -> bool {
    let scans = |plain: &str| process.uid == 0 && !arguments.contains(&plain);
    match name {
        "nmap" => scans("-sT"),
        "zmap" | "masscan" | "arping" | "arpspoof" | "ettercap" | "bettercap" | "dumpcap" | "dhclient" => true,
        _ => arguments.windows(2).any(|pair| pair[0] == "-i" && (pair[1] == "any" || pair[1].starts_with("eth"))),
    }
}

/// Files of accounts and of their passwords.
pub(super) fn is_sensitive_name(path: &str) -> bool {
    matches!(path, "/etc/shadow" | "/etc/sudoers" | "/etc/pam.conf" | "/etc/security/pwquality.conf")
}

/// The names of the grandparent and the two before it, as far as they follow from where the process is.
fn ancestors(process: &Process<'_>) -> [&'static str; 3] {
    let parent = parent_name(process);
    match (process.place, &process.login) {
        (Place::Pod(_), _) if parent == "containerd-shim" => ["systemd", "", ""],
        (Place::Pod(_), _) => ["containerd-shim", "systemd", ""],
        (Place::Node(_), Login::Person(..)) if super::names::is_shell(parent) => ["sshd", "sshd", "systemd"],
        (Place::Node(_), Login::Person(..)) => ["bash", "sshd", "sshd"],
        (Place::Node(_), Login::None) if process.parent.pid > 1 => ["systemd", "", ""],
        (Place::Node(_), Login::None) => ["", "", ""],
    }
}
