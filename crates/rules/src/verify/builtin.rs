//! The tests of the pack that comes with the library, embedded as text beside its rules.

macro_rules! tests {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../packs/starter/tests/", $name)))),*]
    };
}

/// File names and texts. A test keeps the list equal to the folder.
pub(super) const TESTS: &[(&str, &str)] = tests![
    "auditd_audit_changed.yml",
    "auditd_kernel_module.yml",
    "auditd_password_hashes_read.yml",
    "auditd_process_injected.yml",
    "falco_critical.yml",
    "falco_drift.yml",
    "falco_runtime_socket.yml",
    "falco_shell_in_container.yml",
    "k8s_admission_tampering.yml",
    "k8s_anonymous_allowed.yml",
    "k8s_capabilities.yml",
    "k8s_cluster_admin_bound.yml",
    "k8s_command_in_pod.yml",
    "k8s_credentials_in_config_map.yml",
    "k8s_ephemeral_container.yml",
    "k8s_events_deleted.yml",
    "k8s_host_namespaces.yml",
    "k8s_host_path.yml",
    "k8s_impersonation.yml",
    "k8s_node_proxy.yml",
    "k8s_pod_in_system_namespace.yml",
    "k8s_powerful_role.yml",
    "k8s_privileged_pod.yml",
    "k8s_secrets_by_borrowed_account.yml",
    "k8s_secrets_listed.yml",
    "k8s_token_requested.yml",
    "process_download_to_shell.yml",
    "process_host_namespaces_entered.yml",
    "process_miner.yml",
    "process_package_manager.yml",
    "process_reverse_shell.yml",
    "process_token_read.yml",
];
