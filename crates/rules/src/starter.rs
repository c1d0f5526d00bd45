//! The pack that comes with the library, embedded as text.

use crate::pack::PackInfo;
use crate::{Error, Result};

const INFO: &str = include_str!("../../../packs/starter/pack.toml");

macro_rules! rules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../packs/starter/rules/", $name)))),*]
    };
}

/// File names and texts of the rules. A test keeps the list equal to the folder.
pub(crate) const RULES: &[(&str, &str)] = rules![
    "auditd_account_like_root.yml",
    "auditd_audit_changed.yml",
    "auditd_kernel_module.yml",
    "auditd_login_from_internet.yml",
    "auditd_password_hashes_read.yml",
    "auditd_process_injected.yml",
    "auditd_setuid_set.yml",
    "docker_command_breaks_out.yml",
    "docker_image_from_container.yml",
    "falco_critical.yml",
    "falco_drift.yml",
    "falco_runtime_socket.yml",
    "falco_shell_in_container.yml",
    "falco_shell_on_socket.yml",
    "file_accounts_written.yml",
    "file_backups_deleted.yml",
    "file_credentials_read_by_tool.yml",
    "file_environment_read.yml",
    "file_history_destroyed.yml",
    "file_kernel_escape.yml",
    "file_large_pages_asked.yml",
    "file_login_key_written.yml",
    "file_logs_written.yml",
    "file_node_credentials_read.yml",
    "file_preload_written.yml",
    "file_runtime_socket_opened.yml",
    "file_start_from_container.yml",
    "file_start_on_node.yml",
    "file_static_pod_written.yml",
    "file_token_read_by_tool.yml",
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
    "network_anonymiser_port.yml",
    "network_docker_reached.yml",
    "network_etcd_reached.yml",
    "network_kubelet_reached.yml",
    "network_mail_from_pod.yml",
    "network_metadata_reached.yml",
    "network_node_odd_port.yml",
    "network_pool_port.yml",
    "network_ssh_from_pod.yml",
    "network_temporary_program.yml",
    "process_account_with_power.yml",
    "process_audit_policy_emptied.yml",
    "process_backups_removed.yml",
    "process_bare_address.yml",
    "process_credential_files_named.yml",
    "process_credentials_searched.yml",
    "process_data_destroyed.yml",
    "process_data_dumped.yml",
    "process_database_runs_shell.yml",
    "process_dates_changed.yml",
    "process_disk_of_node.yml",
    "process_download_to_shell.yml",
    "process_download_to_system.yml",
    "process_false_kernel_thread.yml",
    "process_firewall_opened.yml",
    "process_from_container_on_node.yml",
    "process_hidden_place.yml",
    "process_history_removed.yml",
    "process_host_namespaces_entered.yml",
    "process_kernel_escape.yml",
    "process_kernel_module_loaded.yml",
    "process_library_program.yml",
    "process_login_key_added.yml",
    "process_logs_emptied.yml",
    "process_metadata_asked.yml",
    "process_miner.yml",
    "process_package_manager.yml",
    "process_powerful_container.yml",
    "process_preload.yml",
    "process_reverse_shell.yml",
    "process_runtime_from_container.yml",
    "process_scheduled_download.yml",
    "process_secrets_packed.yml",
    "process_secrets_sent.yml",
    "process_sensor_stopped.yml",
    "process_setuid_set.yml",
    "process_shell_without_terminal.yml",
    "process_static_pod.yml",
    "process_temporary_place.yml",
    "process_token_read.yml",
    "process_user_namespace.yml",
    "process_without_file.yml",
    "process_worker_for_sale.yml",
    "registry_push_from_outside.yml",
];

/// The pack's description.
///
/// # Errors
/// When the built-in text cannot be read.
pub(crate) fn info() -> Result<PackInfo> {
    toml::from_str(INFO).map_err(|e| Error::Pack(e.to_string()))
}

#[cfg(test)]
mod tests;
