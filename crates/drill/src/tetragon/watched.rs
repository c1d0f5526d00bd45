//! The files that the cluster's tracing policies watch, and which hook in the kernel tells of what is done to them.
//!
//! Hooks of the security modules are asked only about what file permissions allow; what fails is seen at the system call.
//! Not here: the rest of the event.

use crate::act::{Access, Outcome, Touch};
use crate::text::{base, number, plain};

/// Files whose paths begin so.
const FILES: [(&str, &str); 6] = [
    ("/etc/shadow", "accounts"),
    ("/etc/passwd", "accounts"),
    ("/etc/sudoers", "accounts"),
    ("/etc/cron", "scheduled-programs"),
    ("/var/spool/cron", "scheduled-programs"),
    ("/proc/sys/kernel/core_pattern", "ways-out-of-containers"),
];

/// Folders, with all that is in them.
const FOLDERS: [(&str, &str); 9] = [
    ("/var/run/secrets", "tokens"),
    ("/run/secrets", "tokens"),
    ("/etc/kubernetes", "kubernetes-files"),
    ("/var/lib/kubelet", "kubernetes-files"),
    ("/root/.ssh", "credentials"),
    ("/var/log", "logs"),
    ("/etc/systemd", "services"),
    ("/lib/modules", "kernel-modules"),
    ("/usr/lib/modules", "kernel-modules"),
];

/// Parts of paths, wherever they are.
const PARTS: [(&str, &str); 4] = [
    ("/.ssh/", "credentials"),
    ("/.aws/", "credentials"),
    ("/.docker/", "credentials"),
    ("/kubernetes.io/serviceaccount/", "tokens"),
];

/// Ends of paths.
const ENDS: [(&str, &str); 8] = [
    ("/release_agent", "ways-out-of-containers"),
    ("/docker.sock", "runtime-sockets"),
    ("/containerd.sock", "runtime-sockets"),
    ("/crio.sock", "runtime-sockets"),
    ("/cri-dockerd.sock", "runtime-sockets"),
    (".ko", "kernel-modules"),
    (".ko.xz", "kernel-modules"),
    (".ko.zst", "kernel-modules"),
];

/// The policy that watches a path, if one does. What a node has under `/` is watched under `/host`, too, where containers
/// that get all of it have it.
pub(super) fn policy(path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("/host").filter(|rest| rest.starts_with('/')).unwrap_or(path);
    if path.strip_prefix("/proc/").and_then(|rest| rest.split('/').nth(1)) == Some("root") {
        return Some("ways-out-of-containers");
    }
    let begins = |(start, _): &&(&str, &str)| path.starts_with(start);
    let is_in = |(folder, _): &&(&str, &str)| {
        path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let found = FILES.iter().find(begins).or_else(|| FOLDERS.iter().find(is_in));
    let found = found.or_else(|| PARTS.iter().find(|(part, _)| path.contains(part)));
    let found = found.or_else(|| ENDS.iter().find(|(end, _)| path.ends_with(end)));
    found.map(|(_, policy)| *policy)
}

/// A hook, as it was called.
pub(super) struct Hook<'t> {
    pub(super) function: &'static str,
    pub(super) arguments: [Argument<'t>; 3],
    pub(super) returned: i64,
}

/// One argument of a call.
#[derive(Clone, Copy)]
pub(super) enum Argument<'t> {
    /// An open file.
    File(&'t str),
    /// A file by its place, which need not be open.
    Path(&'t str),
    Text(&'t str),
    Number(i64),
    /// A kernel module that nobody signed.
    Module(&'t str),
    /// The call has fewer, or the policy does not name it.
    Absent,
}

impl Argument<'_> {
    /// Writes arguments with commas between.
    pub(super) fn put_all(arguments: &[Self], out: &mut String) {
        for (n, argument) in arguments.iter().filter(|argument| !matches!(argument, Self::Absent)).enumerate() {
            if n > 0 {
                out.push(',');
            }
            argument.put(out);
        }
    }

    pub(super) fn put(self, out: &mut String) {
        match self {
            Self::File(path) | Self::Path(path) => {
                out.push_str(if matches!(self, Self::File(_)) { "{\"file_arg\":{" } else { "{\"path_arg\":{" });
                out.push_str("\"path\":\"");
                plain(out, path);
                out.push_str("\",\"permission\":\"");
                out.push_str(permission(path));
                out.push_str("\"}}");
            }
            Self::Text(text) => {
                out.push_str("{\"string_arg\":\"");
                plain(out, text);
                out.push_str("\"}");
            }
            Self::Number(value) => {
                out.push_str("{\"int_arg\":");
                out.push_str(if value < 0 { "-" } else { "" });
                number(out, value.unsigned_abs());
                out.push('}');
            }
            Self::Module(name) => {
                out.push_str("{\"module_arg\":{\"name\":\"");
                plain(out, name);
                out.push_str("\",\"tainted\":[\"TAINT_OUT_OF_TREE_MODULE\",\"TAINT_UNSIGNED_MODULE\"]}}");
            }
            Self::Absent => {}
        }
    }
}

/// The call that tells of a touch.
pub(super) fn hook<'t>(touch: &Touch<'t>) -> Hook<'t> {
    use Argument::{Absent, File, Number, Path, Text};
    /// Relative to the working folder, of paths that are not absolute.
    const AT_CWD: Argument<'static> = Argument::Number(-100);
    /// Not allowed, by the file's mode or for the want of a capability.
    const EACCES: i64 = -13;
    const EPERM: i64 = -1;
    let path = touch.path;
    let name = base(touch.by.exe);
    let (function, arguments, returned) = match (touch.outcome, touch.access) {
        (Outcome::Success, Access::Read) => match module(touch) {
            Some(_) => ("security_kernel_read_file", [File(path), Number(2), Absent], 0),
            _ => ("security_file_permission", [File(path), Number(4), Absent], 0),
        },
        (Outcome::Success, Access::Write) => match name {
            "truncate" => ("security_path_truncate", [Path(path), Absent, Absent], 0),
            _ => ("security_file_permission", [File(path), Number(2), Absent], 0),
        },
        (Outcome::Success, Access::Create) => ("security_inode_create", [Path(path), Number(0o100_644), Absent], 0),
        (Outcome::Success, Access::Delete) => ("security_inode_unlink", [Path(path), Absent, Absent], 0),
        (Outcome::Success, Access::Rename) => ("security_inode_rename", [Path(path), Absent, Absent], 0),
        (Outcome::Success, Access::Attributes) => match name {
            "chown" | "chgrp" => ("security_path_chown", [Path(path), Number(0), Number(0)], 0),
            "touch" | "chattr" | "setfattr" => ("security_inode_setattr", [Path(path), Absent, Absent], 0),
            _ => ("security_path_chmod", [Path(path), Number(0o755), Absent], 0),
        },
        // With O_CLOEXEC; to write, O_WRONLY; to create, O_CREAT and O_TRUNC.
        (Outcome::Failure, Access::Read) => ("__x64_sys_openat", [AT_CWD, Text(path), Number(0o2_000_000)], EACCES),
        (Outcome::Failure, Access::Write) => ("__x64_sys_openat", [AT_CWD, Text(path), Number(0o2_000_001)], EACCES),
        (Outcome::Failure, Access::Create) => ("__x64_sys_openat", [AT_CWD, Text(path), Number(0o2_001_101)], EACCES),
        (Outcome::Failure, Access::Delete) => ("__x64_sys_unlinkat", [AT_CWD, Text(path), Number(0)], EACCES),
        (Outcome::Failure, Access::Rename) => ("__x64_sys_renameat2", [AT_CWD, Text(path), Absent], EACCES),
        (Outcome::Failure, Access::Attributes) => ("__x64_sys_fchmodat", [AT_CWD, Text(path), Number(0o755)], EPERM),
        // The policy names where it is mounted, and the type, which binds have none of.
        (outcome, Access::Mount) => {
            let kind = after_option(touch.by.argv, "-t").unwrap_or_default();
            ("__x64_sys_mount", [Text(path), Text(kind), Absent], if outcome == Outcome::Success { 0 } else { EPERM })
        }
    };
    Hook { function, arguments, returned }
}

/// The kernel module that a program loads by reading the file.
pub(super) fn module<'t>(touch: &Touch<'t>) -> Option<&'t str> {
    let loader = base(touch.by.exe);
    if touch.access != Access::Read || !matches!(loader, "insmod" | "modprobe" | "kmod") {
        return None;
    }
    let (name, _) = base(touch.path).split_once(".ko")?;
    Some(name)
}

fn after_option<'a>(argv: &'a [&'a str], option: &str) -> Option<&'a str> {
    let at = argv.iter().position(|word| *word == option)?;
    argv.get(at + 1).copied()
}

/// The mode that such a file usually has.
fn permission(path: &str) -> &'static str {
    let is_any = |parts: &[&str]| parts.iter().any(|part| path.contains(part));
    if is_any(&["/etc/shadow", "/etc/sudoers", "/var/log/audit", "/auth.log"]) {
        "-rw-r-----"
    } else if is_any(&["/.ssh/", "/.aws/", "/.docker/", ".key", ".conf", "/spool/cron/"]) {
        "-rw-------"
    } else if path.ends_with(".sock") {
        "-rw-rw----"
    } else {
        "-rw-r--r--"
    }
}
