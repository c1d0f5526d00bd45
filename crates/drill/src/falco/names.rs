//! The names by which Falco's stock rules know programs. A program under another name is another program to them.

/// What a program is to the rules about programs that start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Shell,
    /// `nc`, and `ncat` with more spellings of the same.
    Netcat,
    Ncat,
    NetworkTool,
    /// A network tool that reads from the wire, beside protocols.
    Sniffer,
    PackageManager,
    Grep,
    Find,
    Wiper,
    Crontab,
    Debugfs,
    Mount,
    Curl,
    Wget,
    RemoteCopy,
    UserManager,
    Chmod,
    Link,
    ModuleLoader,
    Tracer,
    Nsenter,
    Unshare,
    Other,
}

impl Role {
    /// By the kernel's name for the process.
    pub(super) fn of(name: &str) -> Self {
        match name {
            _ if is_shell(name) => Self::Shell,
            "nc" => Self::Netcat,
            "ncat" => Self::Ncat,
            "tcpdump" | "tshark" | "ngrep" => Self::Sniffer,
            "netcat" | "nmap" | "dig" | "telnet" | "mitmproxy" | "socat" | "zmap" => Self::NetworkTool,
            "grep" | "egrep" | "fgrep" => Self::Grep,
            "find" => Self::Find,
            "shred" | "mkfs" | "mke2fs" => Self::Wiper,
            "crontab" => Self::Crontab,
            "debugfs" => Self::Debugfs,
            "mount" => Self::Mount,
            "curl" => Self::Curl,
            "wget" => Self::Wget,
            "rsync" | "scp" | "sftp" | "dcp" => Self::RemoteCopy,
            "chmod" => Self::Chmod,
            "ln" => Self::Link,
            "insmod" | "modprobe" => Self::ModuleLoader,
            "gdb" | "strace" | "ltrace" | "gcore" => Self::Tracer,
            "nsenter" => Self::Nsenter,
            "unshare" => Self::Unshare,
            _ if is_package_manager(name) => Self::PackageManager,
            _ if is_user_manager(name) => Self::UserManager,
            _ => Self::Other,
        }
    }
}

pub(super) fn is_shell(name: &str) -> bool {
    matches!(name, "sh" | "bash" | "dash" | "ash" | "zsh" | "ksh" | "csh" | "tcsh")
}

pub(super) fn is_package_manager(name: &str) -> bool {
    matches!(name, "apt" | "apt-get" | "apt-cache" | "apt-key" | "aptitude" | "dpkg" | "dpkg-divert" | "frontend")
        || matches!(name, "preinst" | "unattended-upgr" | "dnf" | "rpm" | "yum" | "microdnf" | "apk" | "snapd")
        || matches!(name, "pip" | "pip3" | "conda" | "npm" | "gem" | "update-alternat" | "alternatives" | "chef-client")
}

/// Who manages accounts, and who logs people in.
pub(super) fn is_user_manager(name: &str) -> bool {
    matches!(name, "login" | "systemd" | "systemd-logind" | "su" | "nologin" | "faillog" | "lastlog" | "newgrp" | "sg")
        || matches!(name, "useradd" | "userdel" | "usermod" | "adduser" | "deluser" | "newusers" | "unix_chkpwd")
        || matches!(name, "groupadd" | "groupdel" | "groupmod" | "groupmems" | "addgroup" | "delgroup" | "gpasswd")
        || matches!(name, "passwd" | "chpasswd" | "chgpasswd" | "chage" | "chsh" | "chfn" | "vipw" | "vigr")
        || matches!(
            name,
            "pwck" | "grpck" | "pwconv" | "pwunconv" | "grpconv" | "grpunconv" | "expiry" | "cppw" | "cpgr"
        )
}

pub(super) fn is_cron(name: &str) -> bool {
    matches!(name, "cron" | "crond" | "anacron" | "crontab")
}

/// Servers below which no shell is expected.
pub(super) fn spawns_no_shells(name: &str) -> bool {
    is_web_server(name)
        || is_database(name)
        || matches!(name, "couchdb" | "memcached" | "redis-server" | "rabbitmq-server" | "mongod")
        || matches!(name, "sendmail" | "postfix" | "procmail" | "exim4" | "dovecot" | "pickup" | "showq")
        || matches!(name, "fluentd" | "flanneld" | "splunkd" | "consul" | "smbd" | "runsv" | "PM2")
}

pub(super) fn is_web_server(name: &str) -> bool {
    matches!(name, "nginx" | "httpd" | "httpd-foregroun" | "lighttpd" | "apache" | "apache2")
}

pub(super) fn is_database(name: &str) -> bool {
    matches!(name, "mysqld" | "postgres" | "sqlplus")
}

pub(super) fn is_docker(name: &str) -> bool {
    matches!(name, "docker" | "dockerd" | "containerd-shim" | "pause" | "exe" | "docker-compose" | "docker-entrypoi")
}

pub(super) fn is_ssh(name: &str) -> bool {
    matches!(name, "sshd" | "ssh" | "scp" | "sftp" | "sftp-server" | "ssh-agent" | "ssh-add")
        || matches!(name, "ssh-keygen" | "ssh-keysign" | "ssh-keyscan")
}

/// Who may read the files of accounts.
pub(super) fn may_read_accounts(name: &str) -> bool {
    is_user_manager(name)
        || is_package_manager(name)
        || is_cron(name)
        || is_shell(name)
        || matches!(name, "sudo" | "suexec" | "dzdo" | "sshd" | "sshd-session" | "vsftpd" | "iptables" | "ps" | "psql")
        || matches!(name, "lsb_release" | "accounts-daemon" | "screen" | "polkit-agent-he" | "lsattr" | "file")
        || matches!(name, "debconf-show" | "pam-auth-update" | "sosreport" | "rkhunter" | "cockpit-session" | "mandb")
        || matches!(name, "aide" | "osqueryd" | "ossec-syscheckd" | "logcheck" | "openvpn" | "postconf" | "newaliases")
        || matches!(name, "pg_dumpall" | "pg_ctl" | "pg_lsclusters" | "pg_ctlcluster" | "salt-minion" | "salt-call")
}

/// Programs of every system that have no business on the network.
pub(super) fn is_system_program(name: &str) -> bool {
    let is_known_to_connect = matches!(name, "systemd" | "hostid" | "id");
    !is_known_to_connect
        && (is_shell(name)
            || is_user_manager(name)
            || matches!(
                name,
                "cat" | "cp" | "mv" | "rm" | "ls" | "dd" | "ln" | "echo" | "tee" | "head" | "tail" | "od"
            )
            || matches!(name, "base64" | "sleep" | "date" | "env" | "nohup" | "timeout" | "who" | "whoami" | "uname")
            || matches!(
                name,
                "touch" | "mkdir" | "mkfifo" | "chmod" | "chown" | "chroot" | "sort" | "cut" | "tr" | "wc"
            )
            || matches!(name, "sha256sum" | "md5sum" | "stat" | "test" | "true" | "df" | "du" | "sync" | "mknod"))
}

/// The process that starts what is run in a container from outside.
pub(super) fn starts_containers(name: &str) -> bool {
    matches!(name, "" | "containerd-shim" | "runc" | "docker-runc" | "exe" | "systemd" | "crio" | "conmon")
}
