//! Falco's stock rules as their alerts name them.
//!
//! Not here: when they fire.

/// What is the same in all alerts of a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule<'r> {
    pub(super) name: &'r str,
    pub(super) priority: &'r str,
    pub(super) sentence: &'r str,
    /// In the order of the alphabet.
    pub(super) tags: &'r [&'r str],
    /// What its output tells beside what all rules' do.
    pub(super) shows: &'r [Show],
}

/// What only some rules tell of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Show {
    /// The file, by its path.
    File,
    /// Both ends of a connection.
    Connection,
    /// The parent's command line.
    ParentCommand,
    /// The path of the parent's program.
    ParentPath,
    /// The grandparent and the two before.
    Ancestors,
    Cwd,
}

use Show::{Ancestors, Connection, Cwd, File, ParentCommand, ParentPath};

type Stock = Rule<'static>;

const fn rule(
    name: &'static str,
    priority: &'static str,
    sentence: &'static str,
    tags: &'static [&'static str],
    shows: &'static [Show],
) -> Stock {
    Rule { name, priority, sentence, tags, shows }
}

pub(super) static DIRECTORY_TRAVERSAL: Stock = rule(
    "Directory traversal monitored file read",
    "Warning",
    "Read monitored file via directory traversal",
    &["T1555", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access"],
    &[File, Ancestors],
);
pub(super) static SENSITIVE_TRUSTED: Stock = rule(
    "Read sensitive file trusted after startup",
    "Warning",
    "Sensitive file opened for reading by trusted program after startup",
    &["T1555", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access"],
    &[File, ParentCommand, Ancestors],
);
pub(super) static SENSITIVE_UNTRUSTED: Stock = rule(
    "Read sensitive file untrusted",
    "Warning",
    "Sensitive file opened for reading by non-trusted program",
    &["T1555", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access"],
    &[File, Ancestors],
);
pub(super) static SHELL_UNTRUSTED: Stock = rule(
    "Run shell untrusted",
    "Notice",
    "Shell spawned by untrusted binary",
    &["T1059.004", "container", "host", "maturity_stable", "mitre_execution", "process", "shell"],
    &[ParentPath, ParentCommand, Ancestors],
);
pub(super) static SYSTEM_USER: Stock = rule(
    "System user interactive",
    "Informational",
    "System user ran an interactive command",
    &["NIST_800-53_AC-2", "T1059", "container", "host", "maturity_stable", "mitre_execution", "users"],
    &[],
);
pub(super) static TERMINAL_SHELL: Stock = rule(
    "Terminal shell in container",
    "Notice",
    "A shell was spawned in a container with an attached terminal",
    &["T1059", "container", "maturity_stable", "mitre_execution", "shell"],
    &[],
);
pub(super) static CONTACT_API_SERVER: Stock = rule(
    "Contact K8S API Server From Container",
    "Notice",
    "Unexpected connection to K8s API Server from container",
    &["T1565", "container", "k8s", "maturity_stable", "mitre_discovery", "network"],
    &[Connection],
);
pub(super) static NETCAT_EXECUTION: Stock = rule(
    "Netcat Remote Code Execution in Container",
    "Warning",
    "Netcat runs inside container that allows remote code execution",
    &["T1059", "container", "maturity_stable", "mitre_execution", "network", "process"],
    &[],
);
pub(super) static SEARCH_KEYS: Stock = rule(
    "Search Private Keys or Passwords",
    "Warning",
    "Grep private keys or passwords activities found",
    &["T1552.001", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access", "process"],
    &[],
);
pub(super) static CLEAR_LOG: Stock = rule(
    "Clear Log Activities",
    "Warning",
    "Log files were tampered",
    &["NIST_800-53_AU-10", "T1070", "container", "filesystem", "host", "maturity_stable", "mitre_defense_evasion"],
    &[File],
);
pub(super) static REMOVE_BULK: Stock = rule(
    "Remove Bulk Data from Disk",
    "Warning",
    "Bulk data has been removed from disk",
    &["T1485", "container", "filesystem", "host", "maturity_stable", "mitre_impact", "process"],
    &[],
);
pub(super) static SYMLINK_SENSITIVE: Stock = rule(
    "Create Symlink Over Sensitive Files",
    "Warning",
    "Symlinks created over sensitive files",
    &["T1555", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access"],
    &[],
);
pub(super) static HARDLINK_SENSITIVE: Stock = rule(
    "Create Hardlink Over Sensitive Files",
    "Warning",
    "Hardlinks created over sensitive files",
    &["T1555", "container", "filesystem", "host", "maturity_stable", "mitre_credential_access"],
    &[],
);
pub(super) static PACKET_SOCKET: Stock = rule(
    "Packet socket created in container",
    "Notice",
    "Packet socket was created in a container",
    &["T1557.002", "container", "maturity_stable", "mitre_credential_access", "network"],
    &[],
);
pub(super) static KERNEL_MODULE: Stock = rule(
    "Linux Kernel Module Injection Detected",
    "Warning",
    "Linux Kernel Module injection from container",
    &["TA0003", "container", "host", "maturity_stable", "mitre_persistence", "process"],
    &[ParentPath],
);
pub(super) static DEBUGFS: Stock = rule(
    "Debugfs Launched in Privileged Container",
    "Warning",
    "Debugfs launched started in a privileged container",
    &["T1611", "cis", "container", "maturity_stable", "mitre_privilege_escalation", "process"],
    &[],
);
pub(super) static RELEASE_AGENT: Stock = rule(
    "Detect release_agent File Container Escapes",
    "Critical",
    "Detect an attempt to exploit a container escape using release_agent file",
    &["T1611", "container", "maturity_stable", "mitre_privilege_escalation", "process"],
    &[File],
);
pub(super) static PTRACE_ATTACHED: Stock = rule(
    "PTRACE attached to process",
    "Warning",
    "Detected ptrace PTRACE_ATTACH attempt",
    &["T1055.008", "container", "host", "maturity_stable", "mitre_privilege_escalation", "process"],
    &[ParentCommand],
);
pub(super) static FIND_AWS: Stock = rule(
    "Find AWS Credentials",
    "Warning",
    "Detected AWS credentials search activity",
    &["T1552", "aws", "container", "host", "maturity_stable", "mitre_credential_access", "process"],
    &[ParentCommand, Cwd],
);
pub(super) static EXECUTION_FROM_SHM: Stock = rule(
    "Execution from /dev/shm",
    "Warning",
    "File execution detected from /dev/shm",
    &["T1059.004", "container", "host", "maturity_stable", "mitre_execution"],
    &[Cwd, ParentCommand],
);
pub(super) static DROP_AND_EXECUTE: Stock = rule(
    "Drop and execute new binary in container",
    "Critical",
    "Executing binary not part of base image",
    &["PCI_DSS_11.5.1", "TA0003", "container", "maturity_stable", "mitre_persistence", "process"],
    &[Cwd],
);
pub(super) static SSH_ODD_PORT: Stock = rule(
    "Disallowed SSH Connection Non Standard Port",
    "Notice",
    "Disallowed SSH Connection",
    &["T1059", "container", "host", "maturity_stable", "mitre_execution", "network", "process"],
    &[Connection],
);
pub(super) static FILELESS: Stock = rule(
    "Fileless execution via memfd_create",
    "Critical",
    "Fileless execution via memfd_create",
    &["T1620", "container", "host", "maturity_stable", "mitre_defense_evasion", "process"],
    &[Cwd],
);
pub(super) static SHELL_CONFIGURATION: Stock = rule(
    "Modify Shell Configuration File",
    "Warning",
    "A shell configuration file has been modified",
    &["T1546.004", "container", "filesystem", "host", "maturity_incubating", "mitre_persistence"],
    &[File, ParentCommand],
);
pub(super) static SCHEDULE_CRON: Stock = rule(
    "Schedule Cron Jobs",
    "Notice",
    "Cron jobs were scheduled to run",
    &["T1053.003", "container", "filesystem", "host", "maturity_incubating", "mitre_execution"],
    &[File],
);
pub(super) static READ_SSH: Stock = rule(
    "Read ssh information",
    "Error",
    "ssh-related file/directory read by non-ssh program",
    &["T1005", "container", "filesystem", "host", "maturity_incubating", "mitre_collection"],
    &[File, ParentCommand],
);
pub(super) static DATABASE_SPAWNED: Stock = rule(
    "DB program spawned process",
    "Notice",
    "Database-related program spawned process other than itself",
    &["T1190", "container", "database", "host", "maturity_incubating", "mitre_execution", "process"],
    &[],
);
pub(super) static CHANGE_NAMESPACE: Stock = rule(
    "Change thread namespace",
    "Notice",
    "Namespace change (setns) by unexpected program",
    &["T1611", "container", "host", "maturity_incubating", "mitre_privilege_escalation", "process"],
    &[],
);
pub(super) static UNSHARE: Stock = rule(
    "Change namespace privileges via unshare",
    "Notice",
    "Change namespace privileges via unshare",
    &["T1611", "container", "maturity_incubating", "mitre_privilege_escalation"],
    &[],
);
pub(super) static PRIVILEGED_CONTAINER: Stock = rule(
    "Launch Privileged Container",
    "Informational",
    "Privileged container started",
    &["PCI_DSS_10.2.5", "T1610", "cis", "container", "maturity_incubating", "mitre_execution"],
    &[],
);
pub(super) static SYSTEM_NETWORK: Stock = rule(
    "System procs network activity",
    "Notice",
    "Known system binary sent/received network traffic",
    &["T1059", "host", "maturity_incubating", "mitre_execution", "network", "process"],
    &[Connection],
);
pub(super) static UNEXPECTED_UDP: Stock = rule(
    "Unexpected UDP Traffic",
    "Notice",
    "Unexpected UDP Traffic Seen",
    &["TA0011", "container", "host", "maturity_incubating", "mitre_exfiltration", "network"],
    &[Connection],
);
pub(super) static USER_MANAGEMENT: Stock = rule(
    "User mgmt binaries",
    "Notice",
    "User management binary command run outside of container",
    &["T1098", "host", "maturity_incubating", "mitre_persistence", "software_mgmt", "users"],
    &[Ancestors],
);
pub(super) static FILE_BELOW_DEV: Stock = rule(
    "Create files below dev",
    "Error",
    "File created below /dev by untrusted program",
    &["T1543", "filesystem", "host", "maturity_incubating", "mitre_persistence"],
    &[File],
);
pub(super) static INSTANCE_METADATA: Stock = rule(
    "Contact EC2 Instance Metadata Service From Container",
    "Notice",
    "Outbound connection to EC2 instance metadata service",
    &["T1552.005", "aws", "container", "maturity_incubating", "mitre_credential_access", "network"],
    &[Connection],
);
pub(super) static PACKAGE_MANAGEMENT: Stock = rule(
    "Launch Package Management Process in Container",
    "Error",
    "Package management process launched in container",
    &["T1505", "container", "maturity_incubating", "mitre_persistence", "process", "software_mgmt"],
    &[],
);
pub(super) static NETWORK_TOOL_IN_CONTAINER: Stock = rule(
    "Launch Suspicious Network Tool in Container",
    "Notice",
    "Network tool launched in container",
    &["T1059", "container", "maturity_incubating", "mitre_execution", "network", "process"],
    &[],
);
pub(super) static NETWORK_TOOL_ON_HOST: Stock = rule(
    "Launch Suspicious Network Tool on Host",
    "Notice",
    "Network tool launched on host",
    &["T1059", "host", "maturity_incubating", "mitre_execution", "network", "process"],
    &[],
);
pub(super) static SHELL_HISTORY: Stock = rule(
    "Delete or rename shell history",
    "Warning",
    "Shell history deleted or renamed",
    &["T1070", "container", "filesystem", "host", "maturity_incubating", "mitre_defense_evasion", "process"],
    &[],
);
pub(super) static SETUID_BIT: Stock = rule(
    "Set Setuid or Setgid bit",
    "Notice",
    "Setuid or setgid bit is set via chmod",
    &["T1548.001", "container", "host", "maturity_incubating", "mitre_privilege_escalation", "process", "users"],
    &[],
);
pub(super) static REMOTE_COPY: Stock = rule(
    "Launch Remote File Copy Tools in Container",
    "Notice",
    "Remote file copy tool launched in container",
    &["T1020", "container", "maturity_incubating", "mitre_exfiltration", "network", "process"],
    &[],
);
pub(super) static MOUNT_IN_CONTAINER: Stock = rule(
    "Mount Launched in Privileged Container",
    "Warning",
    "Mount was executed inside a privileged container",
    &["T1611", "cis", "container", "filesystem", "maturity_incubating", "mitre_privilege_escalation"],
    &[],
);
pub(super) static INGRESS_COPY: Stock = rule(
    "Launch Ingress Remote File Copy Tools in Container",
    "Notice",
    "Ingress remote file copy tool launched in container",
    &["TA0011", "container", "maturity_incubating", "mitre_command_and_control", "network", "process"],
    &[],
);
pub(super) static READ_ENVIRONMENT: Stock = rule(
    "Read environment variable from /proc files",
    "Warning",
    "Environment variables were retrieved from /proc files",
    &["T1083", "container", "filesystem", "maturity_incubating", "mitre_discovery", "process"],
    &[File, Ancestors],
);
pub(super) static KUBECTL_CP: Stock = rule(
    "Exfiltrating Artifacts via Kubernetes Control Plane",
    "Notice",
    "Exfiltrating Artifacts via Kubernetes Control Plane",
    &["TA0010", "container", "filesystem", "maturity_incubating", "mitre_exfiltration"],
    &[File],
);
pub(super) static AUTHORIZED_KEYS: Stock = rule(
    "Adding ssh keys to authorized_keys",
    "Warning",
    "Adding ssh keys to authorized_keys",
    &["T1098.004", "filesystem", "host", "maturity_incubating", "mitre_persistence"],
    &[File],
);
pub(super) static PACKAGE_REPOSITORY: Stock = rule(
    "Update Package Repository",
    "Notice",
    "Repository files get updated",
    &["T1072", "container", "filesystem", "host", "maturity_sandbox", "mitre_execution"],
    &[File, ParentCommand],
);
pub(super) static HIDDEN_FILE: Stock = rule(
    "Create Hidden Files or Directories",
    "Notice",
    "Hidden file or directory created",
    &["T1564.001", "container", "filesystem", "host", "maturity_sandbox", "mitre_defense_evasion"],
    &[File],
);
pub(super) static MINER_POOL: Stock = rule(
    "Detect outbound connections to common miner pool ports",
    "Critical",
    "Outbound connection to IP/Port flagged by https://cryptoioc.ch",
    &["T1496", "container", "host", "maturity_sandbox", "mitre_impact", "network"],
    &[Connection],
);
pub(super) static STRATUM: Stock = rule(
    "Detect crypto miners using the Stratum protocol",
    "Critical",
    "Possible miner running",
    &["T1496", "container", "host", "maturity_sandbox", "mitre_impact", "process"],
    &[],
);
