//! The nodes' audit rules: which files they watch, for what, under which key.
//!
//! A watch is on the node's own file. What a container does to a file of its image is nobody's business here, unless
//! it is the node's file, mounted into it.

use super::effect::Kind;
use crate::act::{Access, Place, Touch};
use crate::text::base;

const READ: u8 = 1;
const WRITE: u8 = 2;
const ATTRIBUTES: u8 = 4;
const CHANGE: u8 = WRITE | ATTRIBUTES;
const ALL: u8 = READ | CHANGE;

/// A path, or a folder with a slash at its end and what is below it; for what it is watched; and the key.
const WATCHES: [(&str, u8, &str); 46] = [
    ("/etc/shadow", ALL, "identity"),
    ("/etc/gshadow", ALL, "identity"),
    ("/etc/passwd", CHANGE, "identity"),
    ("/etc/group", CHANGE, "identity"),
    ("/etc/security/opasswd", CHANGE, "identity"),
    ("/etc/sudoers", CHANGE, "sudoers"),
    ("/etc/sudoers.d/", CHANGE, "sudoers"),
    ("/etc/pam.d/", CHANGE, "pam"),
    ("/etc/ssh/sshd_config", CHANGE, "sshd"),
    ("/etc/ssh/sshd_config.d/", CHANGE, "sshd"),
    ("/root/.ssh/", CHANGE, "sshd"),
    ("/etc/crontab", CHANGE, "cron"),
    ("/etc/cron.d/", CHANGE, "cron"),
    ("/etc/cron.hourly/", CHANGE, "cron"),
    ("/etc/cron.daily/", CHANGE, "cron"),
    ("/etc/cron.weekly/", CHANGE, "cron"),
    ("/etc/cron.monthly/", CHANGE, "cron"),
    ("/etc/cron.allow", CHANGE, "cron"),
    ("/etc/cron.deny", CHANGE, "cron"),
    ("/var/spool/cron/", CHANGE, "cron"),
    ("/etc/systemd/system/", CHANGE, "systemd"),
    ("/usr/lib/systemd/system/", CHANGE, "systemd"),
    ("/lib/systemd/system/", CHANGE, "systemd"),
    ("/etc/kubernetes/admin.conf", ALL, "kubernetes"),
    ("/etc/kubernetes/kubelet.conf", ALL, "kubernetes"),
    ("/etc/kubernetes/pki/", ALL, "kubernetes"),
    ("/etc/kubernetes/", CHANGE, "kubernetes"),
    ("/var/lib/kubelet/pki/", ALL, "kubernetes"),
    ("/var/lib/kubelet/config.yaml", CHANGE, "kubernetes"),
    ("/var/lib/kubelet/kubeadm-flags.env", CHANGE, "kubernetes"),
    ("/etc/containerd/", CHANGE, "containers"),
    ("/etc/docker/", CHANGE, "containers"),
    ("/etc/cni/net.d/", CHANGE, "containers"),
    ("/etc/audit/", CHANGE, "audit-config"),
    ("/etc/libaudit.conf", CHANGE, "audit-config"),
    ("/var/log/audit/", ALL, "audit-log"),
    ("/etc/modprobe.d/", CHANGE, "modules"),
    ("/etc/modules-load.d/", CHANGE, "modules"),
    ("/etc/modules", CHANGE, "modules"),
    ("/etc/ld.so.preload", CHANGE, "preload"),
    ("/etc/ld.so.conf.d/", CHANGE, "preload"),
    ("/etc/localtime", CHANGE, "time-change"),
    ("/etc/hosts", CHANGE, "network"),
    ("/var/log/wtmp", CHANGE, "logins"),
    ("/var/log/btmp", CHANGE, "logins"),
    ("/var/log/lastlog", CHANGE, "logins"),
];

/// Where containers have the node's root, by custom.
const HOST_MOUNTS: [&str; 6] = ["/host", "/rootfs", "/hostfs", "/mnt/host", "/mnt/root", "/proc/1/root"];

/// The key of the rule that watches what is touched, if one does.
pub(super) fn key_of(touch: &Touch<'_>) -> Option<&'static str> {
    if touch.access == Access::Mount {
        return Some("mounts");
    }
    if is_among_hosts(touch) {
        return key(touch.path, touch.access);
    }
    let path = mounted(touch.path)?;
    // A pod may have mounted only the folder of settings.
    key(path, touch.access).or_else(|| key(&["/etc", path].concat(), touch.access))
}

/// Whether it is a file of the node's, and not of a container's image.
pub(super) fn is_of_host(touch: &Touch<'_>) -> bool {
    is_among_hosts(touch) || mounted(touch.path).is_some()
}

/// The mode of a file of the node's.
pub(super) fn mode(kind: Kind, path: &str) -> &'static str {
    let has = |part: &str| path.contains(part);
    match path {
        _ if kind == Kind::Parent => "040755",
        _ if path.ends_with("shadow") => "0100640",
        _ if has("/sudoers") => "0100440",
        _ if has("/.ssh/") || has("/pki/") || has("/log/audit/") || has("/spool/cron/") => "0100600",
        _ if has("/etc/kubernetes/") && path.ends_with(".conf") => "0100600",
        _ => "0100644",
    }
}

/// Whether the process sees the node's files: it runs there, or it went there from a container.
fn is_among_hosts(touch: &Touch<'_>) -> bool {
    let enters = |exe: &str| matches!(base(exe), "nsenter" | "chroot");
    matches!(touch.by.place, Place::Node(_)) || enters(touch.by.exe) || enters(touch.by.parent.exe)
}

/// The path on the node of what a container sees below the node's root.
fn mounted(path: &str) -> Option<&str> {
    HOST_MOUNTS.iter().find_map(|mount| path.strip_prefix(mount)).filter(|rest| rest.starts_with('/'))
}

fn key(path: &str, access: Access) -> Option<&'static str> {
    let wanted = match access {
        Access::Read => READ,
        Access::Write | Access::Create | Access::Delete | Access::Rename => WRITE,
        Access::Attributes => ATTRIBUTES,
        Access::Mount => 0,
    };
    let is_below = |watched: &str| match watched.ends_with('/') {
        true => path.starts_with(watched),
        false => path == watched,
    };
    let mut watches = WATCHES.iter().filter(|(_, accesses, _)| accesses & wanted != 0);
    watches.find(|(watched, ..)| is_below(watched)).map(|(.., key)| *key)
}
