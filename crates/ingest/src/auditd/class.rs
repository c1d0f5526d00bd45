//! Which OCSF class and activity a system call or a record type is, and the names of error numbers.

/// The class and activity of an event. `created` tells whether the call made a file that was not there.
pub(super) fn classify(
    kind: &str,
    call: Option<&str>,
    has: &dyn Fn(&str) -> bool,
    created: &dyn Fn() -> bool,
) -> (i32, i32) {
    if has("EXECVE") {
        return (1007, 1);
    }
    match (kind, call) {
        ("USER_LOGIN" | "USER_AUTH" | "USER_ACCT" | "USER_START" | "CRED_ACQ" | "CRED_REFR" | "LOGIN", _) => (3002, 1),
        ("USER_END" | "USER_LOGOUT" | "CRED_DISP", _) => (3002, 2),
        (_, Some(call)) => of_call(call, has, created),
        _ => (0, 0),
    }
}

fn of_call(call: &str, has: &dyn Fn(&str) -> bool, created: &dyn Fn() -> bool) -> (i32, i32) {
    match call {
        "execve" | "execveat" | "fork" | "vfork" | "clone" | "clone3" => (1007, 1),
        "exit" | "exit_group" => (1007, 2),
        "ptrace" | "process_vm_readv" | "pidfd_open" => (1007, 3),
        "process_vm_writev" => (1007, 4),
        "setuid" | "setreuid" | "setresuid" | "setfsuid" => (1007, 5),
        "kill" | "tkill" | "tgkill" | "pidfd_send_signal" => (1007, 99),
        "connect" | "accept" | "accept4" if has("SOCKADDR") => (4001, 1),
        "bind" if has("SOCKADDR") => (4001, 7),
        "sendto" | "sendmsg" | "sendmmsg" | "recvfrom" | "recvmsg" | "recvmmsg" if has("SOCKADDR") => (4001, 6),
        "mount" | "move_mount" | "fsmount" => (1001, 12),
        "umount" | "umount2" => (1001, 13),
        _ if !has("PATH") => (0, 0),
        "open" | "openat" | "openat2" | "open_by_handle_at" => (1001, if created() { 1 } else { 14 }),
        "creat" | "mkdir" | "mkdirat" | "mknod" | "mknodat" | "link" | "linkat" | "symlink" | "symlinkat" => (1001, 1),
        "truncate" | "truncate64" | "ftruncate" => (1001, 3),
        "unlink" | "unlinkat" | "rmdir" => (1001, 4),
        "rename" | "renameat" | "renameat2" => (1001, 5),
        "setxattr" | "lsetxattr" | "fsetxattr" | "removexattr" | "lremovexattr" | "fremovexattr" | "utime"
        | "utimes" | "utimensat" | "futimesat" => (1001, 6),
        "chmod" | "fchmod" | "fchmodat" | "fchmodat2" | "chown" | "fchown" | "lchown" | "fchownat" => (1001, 7),
        "stat" | "lstat" | "fstat" | "newfstatat" | "statx" | "access" | "faccessat" | "faccessat2" | "readlink"
        | "readlinkat" | "getxattr" | "lgetxattr" | "fgetxattr" => (1001, 8),
        _ => (0, 0),
    }
}

/// The name of the error that a return value stands for.
pub(super) fn errno(exit: i64) -> Option<&'static str> {
    Some(match -exit {
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        4 => "EINTR",
        5 => "EIO",
        6 => "ENXIO",
        7 => "E2BIG",
        8 => "ENOEXEC",
        9 => "EBADF",
        10 => "ECHILD",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        17 => "EEXIST",
        18 => "EXDEV",
        19 => "ENODEV",
        20 => "ENOTDIR",
        21 => "EISDIR",
        22 => "EINVAL",
        23 => "ENFILE",
        24 => "EMFILE",
        25 => "ENOTTY",
        26 => "ETXTBSY",
        27 => "EFBIG",
        28 => "ENOSPC",
        30 => "EROFS",
        32 => "EPIPE",
        36 => "ENAMETOOLONG",
        38 => "ENOSYS",
        39 => "ENOTEMPTY",
        40 => "ELOOP",
        95 => "EOPNOTSUPP",
        97 => "EAFNOSUPPORT",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        101 => "ENETUNREACH",
        104 => "ECONNRESET",
        106 => "EISCONN",
        107 => "ENOTCONN",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        113 => "EHOSTUNREACH",
        114 => "EALREADY",
        115 => "EINPROGRESS",
        _ => return None,
    })
}
