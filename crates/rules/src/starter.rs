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
    "auditd_audit_changed.yml",
    "auditd_kernel_module.yml",
    "auditd_password_hashes_read.yml",
    "auditd_process_injected.yml",
    "falco_critical.yml",
    "falco_drift.yml",
    "falco_runtime_socket.yml",
    "falco_shell_in_container.yml",
    "k8s_account_asks_rights.yml",
    "k8s_admission_tampering.yml",
    "k8s_anonymous_allowed.yml",
    "k8s_backups_deleted.yml",
    "k8s_binding_changed.yml",
    "k8s_built_in_role_changed.yml",
    "k8s_capabilities.yml",
    "k8s_certificate_approved.yml",
    "k8s_certificate_requested.yml",
    "k8s_cluster_admin_bound.yml",
    "k8s_cluster_settings_changed.yml",
    "k8s_command_fetches.yml",
    "k8s_command_in_pod.yml",
    "k8s_command_in_pod_by_account.yml",
    "k8s_control_plane_node.yml",
    "k8s_credentials_in_config_map.yml",
    "k8s_default_account_used.yml",
    "k8s_ephemeral_container.yml",
    "k8s_events_deleted.yml",
    "k8s_everything_deleted.yml",
    "k8s_host_namespaces.yml",
    "k8s_host_path.yml",
    "k8s_host_port.yml",
    "k8s_image_from_address.yml",
    "k8s_impersonation.yml",
    "k8s_job_leaves_no_trace.yml",
    "k8s_node_account_misused.yml",
    "k8s_node_proxy.yml",
    "k8s_pod_in_system_namespace.yml",
    "k8s_pod_security_lowered.yml",
    "k8s_pod_takes_secrets.yml",
    "k8s_port_forwarded.yml",
    "k8s_powerful_role.yml",
    "k8s_privileged_pod.yml",
    "k8s_quota_changed.yml",
    "k8s_rights_for_everybody.yml",
    "k8s_role_into_pods.yml",
    "k8s_scheduled_by_person.yml",
    "k8s_secrets_by_borrowed_account.yml",
    "k8s_secrets_listed.yml",
    "k8s_sensor_removed.yml",
    "k8s_service_account_in_system_namespace.yml",
    "k8s_service_external_address.yml",
    "k8s_static_pod.yml",
    "k8s_storage_deleted.yml",
    "k8s_system_priority.yml",
    "k8s_token_kept.yml",
    "k8s_token_requested.yml",
    "k8s_unconfined.yml",
    "process_download_to_shell.yml",
    "process_host_namespaces_entered.yml",
    "process_miner.yml",
    "process_package_manager.yml",
    "process_reverse_shell.yml",
    "process_token_read.yml",
];

/// The pack's description.
///
/// # Errors
/// When the built-in text cannot be read.
pub(crate) fn info() -> Result<PackInfo> {
    PackInfo::parse(INFO).map_err(Error::Pack)
}

#[cfg(test)]
mod tests;
