//! Which of Falco's stock rules fire when a process touches a file.

use palisade_events::time::{Micros, SECOND};

use super::names::{
    is_database, is_docker, is_package_manager, is_shell, is_ssh, is_web_server, may_read_accounts, starts_containers,
};
use super::rules::{self, Rule};
use super::stock::{Seen, is_sensitive_name};
use super::{Field, Value, parent_name};
use crate::act::{Access, Outcome, Place, Terminal, Touch};
use crate::auditd::comm;
use crate::cluster::Cluster;
use crate::record::Label;
use crate::text::base;
use crate::wire::Wire;

/// A program that runs for longer has read all that it needs to begin.
const STARTUP: Micros = 5 * SECOND;

impl Wire {
    /// A process touches a file at `at`.
    pub(crate) fn falco_touch(&mut self, cluster: &Cluster, at: Micros, touch: &Touch<'_>, label: Option<Label>) {
        let by = &touch.by;
        let name = comm(by.exe, by.argv);
        let resolved;
        let path = match touch.path.contains("../") {
            true => {
                resolved = resolve(by.cwd, touch.path);
                resolved.as_str()
            }
            false => touch.path,
        };
        let (rule, syscall) = match touch.access {
            Access::Read => (read(at, touch, path, name), "openat"),
            Access::Write | Access::Create => (written(touch, path, name), "openat"),
            Access::Delete => (history(path, name), "unlinkat"),
            Access::Rename => (history(path, name), "renameat2"),
            Access::Attributes | Access::Mount => return,
        };
        let Some(rule) = rule else { return };
        let mut details = Vec::new();
        if rule.name == rules::DIRECTORY_TRAVERSAL.name {
            details.push(Field("fd.nameraw", "fileraw", Value::Text(touch.path)));
        }
        if rule.name == rules::SHELL_HISTORY.name {
            let (opened, deleted, renamed) = match touch.access {
                Access::Delete => (Value::Null, Value::Text(path), Value::Null),
                Access::Rename => (Value::Null, Value::Null, Value::Text(path)),
                _ => (Value::Text(path), Value::Null, Value::Null),
            };
            details.push(Field("fd.name", "file", opened));
            details.push(Field("evt.arg.path", "path", deleted));
            details.push(Field("evt.arg.oldpath", "oldpath", renamed));
        }
        let seen = Seen { file: path, details: &details, ..Seen::of(by, syscall) };
        self.falco_seen(cluster, at, rule, &seen, label);
    }
}

type Fired = Option<&'static Rule<'static>>;

fn read(at: Micros, touch: &Touch<'_>, path: &str, name: &str) -> Fired {
    let by = &touch.by;
    let is_opened = touch.outcome == Outcome::Success;
    let in_pod = matches!(by.place, Place::Pod(_));
    let is_ssh_folder = path.starts_with("/root/.ssh") || path.starts_with("/home/") && path.contains("/.ssh/");
    // Twice up, and into what is watched: also if it fails.
    if touch.path.contains("../") {
        let is_watched = path.starts_with("/etc/") || is_ssh_folder || path.contains("id_rsa");
        if is_watched && touch.path.matches("../").count() > 1 && !is_shell(parent_name(by)) {
            return Some(&rules::DIRECTORY_TRAVERSAL);
        }
    }
    if !is_opened {
        return None;
    }
    if path.starts_with("/etc/") {
        let is_sensitive = is_sensitive_name(path) || matches!(folder(path), "/etc/sudoers.d" | "/etc/pam.d");
        let is_server = is_web_server(name) || is_database(name) || is_docker(name);
        return match is_sensitive {
            true if is_server && at - by.started > STARTUP => Some(&rules::SENSITIVE_TRUSTED),
            true if !may_read_accounts(name) && !is_account_script(touch, path, name) => {
                Some(&rules::SENSITIVE_UNTRUSTED)
            }
            _ => None,
        };
    }
    if is_ssh_folder && !is_ssh(name) {
        return Some(&rules::READ_SSH);
    }
    if !in_pod {
        return None;
    }
    if path.starts_with("/proc/") && path.ends_with("/environ") && !matches!(name, "scsi_id" | "argoexec") {
        return Some(&rules::READ_ENVIRONMENT);
    }
    // kubectl cp is tar, started from outside. What every program reads is left out.
    let is_copied = name == "tar"
        && by.terminal == Terminal::None
        && starts_containers(parent_name(by))
        && !["/etc", "/proc", "/lib", "/run", "/usr"].iter().any(|system| path.starts_with(system))
        && path != "/";
    is_copied.then_some(&rules::KUBECTL_CP)
}

/// What reads the files of accounts by the leave of who runs it.
fn is_account_script(touch: &Touch<'_>, path: &str, name: &str) -> bool {
    let by = &touch.by;
    match name {
        "cmp" | "cp" => matches!(parent_name(by), "passwd" | "run-parts"),
        "python" | "python3" | "pypy" => by.argv.iter().any(|argument| argument.contains("ansible")),
        "runuser" => folder(path) == "/etc/pam.d",
        _ => false,
    }
}

fn written(touch: &Touch<'_>, path: &str, name: &str) -> Fired {
    if touch.outcome == Outcome::Failure {
        return None;
    }
    let by = &touch.by;
    let in_pod = matches!(by.place, Place::Pod(_));
    let (folder, file) = (folder(path), base(path));
    if (matches!(folder, "/var/log" | "/dev/log") || is_log(file)) && empties(touch, name) {
        return Some(&rules::CLEAR_LOG);
    }
    if in_pod && by.uid == 0 && path.ends_with("release_agent") {
        return Some(&rules::RELEASE_AGENT);
    }
    if (is_shell_configuration(file)
        || matches!(path, "/etc/profile" | "/etc/bashrc" | "/etc/csh.cshrc" | "/etc/csh.login")
        || folder == "/etc/zsh")
        && !is_shell(name)
    {
        return Some(&rules::SHELL_CONFIGURATION);
    }
    if path.starts_with("/etc/cron") {
        return Some(&rules::SCHEDULE_CRON);
    }
    let is_created = touch.access == Access::Create;
    if is_created && folder == "/dev" && !is_usual_device(file) && !matches!(name, "blkid" | "sgdisk") {
        return Some(&rules::FILE_BELOW_DEV);
    }
    if is_history(path) && empties(touch, name) && !is_docker(name) {
        return Some(&rules::SHELL_HISTORY);
    }
    let is_ssh_folder = path.starts_with("/root/.ssh") || path.starts_with("/home/") && path.contains("/.ssh/");
    if is_ssh_folder && path.ends_with("authorized_keys") && !is_ssh(name) {
        return Some(&rules::AUTHORIZED_KEYS);
    }
    let is_repository = matches!(folder, "/etc/apt" | "/etc/apt/sources.list.d" | "/etc/yum.repos.d");
    if is_repository && !is_package_manager(name) && !is_package_manager(parent_name(by)) {
        return Some(&rules::PACKAGE_REPOSITORY);
    }
    (is_created && path.contains("/.")).then_some(&rules::HIDDEN_FILE)
}

/// Whatever becomes of it, the attempt tells.
fn history(path: &str, name: &str) -> Fired {
    (is_history(path) && !is_docker(name) && !path.starts_with("/var/lib/docker")).then_some(&rules::SHELL_HISTORY)
}

fn is_history(path: &str) -> bool {
    path.ends_with("ash_history")
        || path.ends_with("zsh_history")
        || path.ends_with("fish_history")
        || path.contains("fish_read_history")
}

fn is_log(file: &str) -> bool {
    matches!(file, "syslog" | "auth.log" | "secure" | "kern.log" | "cron" | "user.log" | "dpkg.log" | "last.log")
        || matches!(file, "yum.log" | "access_log" | "mysql.log" | "mysqld.log")
}

fn is_shell_configuration(file: &str) -> bool {
    matches!(
        file,
        ".bashrc" | ".bash_profile" | ".bash_history" | ".bash_login" | ".bash_logout" | ".inputrc" | ".profile"
    ) || matches!(file, ".cshrc" | ".login" | ".logout" | ".history" | ".tcshrc" | ".cshdirs")
        || matches!(file, ".zshenv" | ".zprofile" | ".zshrc" | ".zlogin" | ".zlogout")
}

fn is_usual_device(file: &str) -> bool {
    matches!(file, "null" | "stdin" | "stdout" | "stderr" | "random" | "urandom" | "console" | "kmsg")
        || file.starts_with("tty")
}

/// Whether a program opens what it writes to empty. One that cuts the file by another call is not seen to.
fn empties(touch: &Touch<'_>, name: &str) -> bool {
    let arguments = touch.by.argv.get(1..).unwrap_or_default();
    match name {
        "cp" | "install" => true,
        "tee" => !arguments.iter().any(|argument| matches!(*argument, "-a" | "--append")),
        "dd" => !arguments.iter().any(|argument| argument.contains("notrunc") || argument.contains("append")),
        // A shell at a terminal is asked to; one with a script, if it says so.
        _ if is_shell(name) => {
            arguments.is_empty() || arguments.iter().any(|argument| argument.replace(">>", "").contains('>'))
        }
        _ => false,
    }
}

/// The folder of a path, without a slash at its end.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The path without its steps upwards.
fn resolve(cwd: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let begin = if path.starts_with('/') { "" } else { cwd };
    for part in begin.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    ["/", &parts.join("/")].concat()
}
