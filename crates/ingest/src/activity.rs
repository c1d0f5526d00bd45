//! What a call does: the OCSF class and activity of system calls, kernel functions and security hooks, by name.
//!
//! Not here: audit records, which know more of a call than its name (see [`crate::auditd`]).

use palisade_events::{EventBuilder, col};

/// Class and activity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Activity {
    /// OCSF class.
    pub(crate) class: i32,
    /// OCSF activity within the class.
    pub(crate) id: i32,
}

/// Files.
pub(crate) const FILE: i32 = 1001;
/// Kernel extensions.
pub(crate) const KERNEL_EXTENSION: i32 = 1002;
/// Libraries and other modules of a process.
pub(crate) const MODULE: i32 = 1005;
/// Processes.
pub(crate) const PROCESS: i32 = 1007;
/// Findings of another detector.
pub(crate) const DETECTION: i32 = 2004;
/// Connections.
pub(crate) const NETWORK: i32 = 4001;
/// HTTP.
pub(crate) const HTTP: i32 = 4002;
/// DNS.
pub(crate) const DNS: i32 = 4003;

impl Activity {
    /// A process did something that is none of the named activities.
    pub(crate) const PROCESS_OTHER: Self = Self::new(PROCESS, 99);

    pub(crate) const fn new(class: i32, id: i32) -> Self {
        Self { class, id }
    }

    /// What a call does, by its [bare](bare_call) name; `None` if nothing is known of it.
    pub(crate) fn of_call(call: &str) -> Option<Self> {
        // Sensors name the kernel's security hooks with and without this.
        let hook = call.strip_prefix("security_").unwrap_or(call);
        let (class, id) = process(hook).or_else(|| network(hook)).or_else(|| file(hook)).or_else(|| module(hook))?;
        Some(Self { class, id })
    }

    /// A request by its HTTP method.
    pub(crate) fn of_method(method: &str) -> Self {
        const METHODS: [(&str, i32); 9] = [
            ("CONNECT", 1),
            ("DELETE", 2),
            ("GET", 3),
            ("HEAD", 4),
            ("OPTIONS", 5),
            ("POST", 6),
            ("PUT", 7),
            ("TRACE", 8),
            ("PATCH", 9),
        ];
        let known = METHODS.iter().find(|(name, _)| method.eq_ignore_ascii_case(name)).map(|(_, id)| *id);
        Self::new(HTTP, known.unwrap_or(99))
    }

    /// Puts class and activity into the current row.
    pub(crate) fn put(self, row: &mut EventBuilder) {
        row.put_int(col::CLASS_UID, self.class);
        row.put_int(col::ACTIVITY_ID, self.id);
    }
}

/// A system call's name without what the kernel puts before it: `openat` of `__x64_sys_openat` and `sys_openat`. Other
/// names come back as they are.
pub(crate) fn bare_call(function: &str) -> &str {
    if let Some(rest) = function.strip_prefix("__") {
        return match rest.split_once("sys_") {
            Some((arch, call)) if (arch.is_empty() || arch.ends_with('_')) && !call.is_empty() => call,
            _ => function,
        };
    }
    let call = function.strip_prefix("sys_").or_else(|| function.strip_prefix("ksys_"));
    call.filter(|call| !call.is_empty()).unwrap_or(function)
}

/// The system call that a trace point of its own stands for: `openat` of `sys_enter_openat`. Other names come back as they
/// are.
pub(crate) fn bare_tracepoint(event: &str) -> &str {
    let call = event.strip_prefix("sys_enter_").or_else(|| event.strip_prefix("sys_exit_"));
    call.filter(|call| !call.is_empty()).unwrap_or(event)
}

fn process(call: &str) -> Option<(i32, i32)> {
    Some(match call {
        "execve"
        | "execveat"
        | "fork"
        | "vfork"
        | "clone"
        | "clone3"
        | "bprm_check"
        | "bprm_check_security"
        | "bprm_creds_for_exec"
        | "bprm_creds_from_file"
        | "bprm_committing_creds"
        | "bprm_committed_creds"
        | "sched_process_exec"
        | "sched_process_fork"
        | "wake_up_new_task"
        | "process_execute_failed"
        | "fileless_execution" => (PROCESS, 1),
        "exit" | "exit_group" | "do_exit" | "sched_process_exit" => (PROCESS, 2),
        "ptrace" | "ptrace_access_check" | "process_vm_readv" | "pidfd_open" => (PROCESS, 3),
        "process_vm_writev" => (PROCESS, 4),
        "setuid" | "setreuid" | "setresuid" | "setfsuid" | "commit_creds" | "task_fix_setuid" => (PROCESS, 5),
        _ => return None,
    })
}

fn network(call: &str) -> Option<(i32, i32)> {
    Some(match call {
        "connect"
        | "accept"
        | "accept4"
        | "socket_connect"
        | "socket_accept"
        | "tcp_connect"
        | "tcp_v4_connect"
        | "tcp_v6_connect"
        | "ip4_datagram_connect"
        | "ip6_datagram_connect"
        | "inet_stream_connect"
        | "tcp_accept"
        | "inet_csk_accept"
        | "inet_accept"
        | "net_tcp_connect"
        | "net_flow_tcp_begin" => (NETWORK, 1),
        "shutdown" | "tcp_close" | "inet_shutdown" | "socket_shutdown" | "net_flow_tcp_end" => (NETWORK, 2),
        "bind"
        | "listen"
        | "socket_bind"
        | "socket_listen"
        | "inet_bind"
        | "inet_listen"
        | "inet_csk_listen_start"
        | "socket_post_bind" => (NETWORK, 7),
        "sendto" | "sendmsg" | "sendmmsg" | "recvfrom" | "recvmsg" | "recvmmsg" | "socket_sendmsg"
        | "socket_recvmsg" | "tcp_sendmsg" | "tcp_recvmsg" | "udp_sendmsg" | "udp_recvmsg" | "udpv6_sendmsg"
        | "udpv6_recvmsg" | "udp_send_skb" => (NETWORK, 6),
        "socket" | "socketpair" | "socket_create" => (NETWORK, 99),
        _ => match call.strip_prefix("net_packet_")? {
            packet if packet.starts_with("dns") => (DNS, 6),
            packet if packet.starts_with("http") => (HTTP, 99),
            _ => (NETWORK, 6),
        },
    })
}

fn file(call: &str) -> Option<(i32, i32)> {
    let activity = match call {
        "creat" | "mkdir" | "mkdirat" | "mknod" | "mknodat" | "link" | "linkat" | "symlink" | "symlinkat"
        | "inode_create" | "inode_mkdir" | "inode_mknod" | "inode_link" | "inode_symlink" | "path_mkdir"
        | "path_mknod" | "path_link" | "path_symlink" | "vfs_mkdir" | "vfs_mknod" | "file_mknod" | "file_mkdir"
        | "file_symlink" | "file_link" => 1,
        "read" | "pread64" | "readv" | "preadv" | "preadv2" | "getdents" | "getdents64" | "vfs_read" | "vfs_readv"
        | "kernel_read" | "kernel_read_file" => 2,
        "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "truncate" | "truncate64" | "ftruncate"
        | "path_truncate" | "do_truncate" | "file_truncate" | "vfs_write" | "vfs_writev" | "kernel_write"
        | "magic_write" | "file_modification" => 3,
        "unlink" | "unlinkat" | "rmdir" | "inode_unlink" | "inode_rmdir" | "path_unlink" | "path_rmdir"
        | "vfs_unlink" | "vfs_rmdir" | "file_unlink" | "file_rmdir" => 4,
        "rename" | "renameat" | "renameat2" | "inode_rename" | "path_rename" | "vfs_rename" | "file_rename" => 5,
        "setxattr" | "lsetxattr" | "fsetxattr" | "removexattr" | "lremovexattr" | "fremovexattr" | "utime"
        | "utimes" | "utimensat" | "futimesat" | "inode_setattr" | "inode_setxattr" | "vfs_utimes" => 6,
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" | "chown" | "fchown" | "lchown" | "fchownat" | "path_chmod"
        | "path_chown" | "chmod_common" | "chown_common" | "file_chmod" | "file_chown" => 7,
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" | "access" | "faccessat" | "faccessat2" | "readlink"
        | "readlinkat" | "getxattr" | "lgetxattr" | "fgetxattr" | "inode_getattr" => 8,
        "mount" | "move_mount" | "fsmount" | "sb_mount" | "path_mount" | "do_mount" => 12,
        "umount" | "umount2" | "sb_umount" | "path_umount" => 13,
        "open" | "openat" | "openat2" | "open_by_handle_at" | "file_open" | "file_post_open" | "file_permission"
        | "vfs_open" | "do_filp_open" | "do_sys_open" | "do_sys_openat2" | "fd_install" => 14,
        "mmap_file" => 99,
        _ => return None,
    };
    Some((FILE, activity))
}

fn module(call: &str) -> Option<(i32, i32)> {
    Some(match call {
        "init_module"
        | "finit_module"
        | "do_init_module"
        | "load_module"
        | "module_load"
        | "kernel_module_request"
        | "find_module_sections" => (KERNEL_EXTENSION, 1),
        "delete_module" | "free_module" | "module_free" => (KERNEL_EXTENSION, 2),
        "shared_object_loaded" => (MODULE, 1),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_alike_however_the_kernel_spells_them() {
        for (function, call) in [
            ("__x64_sys_openat", "openat"),
            ("__arm64_sys_openat", "openat"),
            ("__ia32_compat_sys_openat", "openat"),
            ("__sys_connect", "connect"),
            ("sys_openat", "openat"),
            ("ksys_write", "write"),
            ("sys_exit_group", "exit_group"),
            ("__x64_sys_exit_group", "exit_group"),
            ("__x64_sys_", "__x64_sys_"),
            ("__cgroup_bpf_run_filter_sysctl", "__cgroup_bpf_run_filter_sysctl"),
            ("tcp_connect", "tcp_connect"),
            ("", ""),
        ] {
            assert_eq!(bare_call(function), call, "{function}");
        }
        for (event, call) in [
            ("sys_enter_openat", "openat"),
            ("sys_exit_openat", "openat"),
            ("sys_enter", "sys_enter"),
            ("sched_switch", "sched_switch"),
        ] {
            assert_eq!(bare_tracepoint(event), call, "{event}");
        }
    }

    #[test]
    fn hooks_and_calls_that_do_one_thing_are_one_activity() {
        for (calls, class, id) in [
            (["execve", "security_bprm_check", "sched_process_exec"], PROCESS, 1),
            (["connect", "tcp_connect", "security_socket_connect"], NETWORK, 1),
            (["bind", "inet_csk_listen_start", "socket_listen"], NETWORK, 7),
            (["openat", "fd_install", "security_file_open"], FILE, 14),
            (["unlinkat", "security_inode_unlink", "path_unlink"], FILE, 4),
            (["finit_module", "do_init_module", "module_load"], KERNEL_EXTENSION, 1),
        ] {
            for call in calls {
                assert_eq!(Activity::of_call(call), Some(Activity { class, id }), "{call}");
            }
        }
        assert_eq!(Activity::of_call("net_packet_icmp"), Some(Activity::new(NETWORK, 6)));
        assert_eq!(Activity::of_call("futex"), None);
        assert_eq!(Activity::of_method("get"), Activity::new(HTTP, 3));
        assert_eq!(Activity::of_method("BREW"), Activity::new(HTTP, 99));
    }
}
