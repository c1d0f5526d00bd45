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
    "cloud_access_key_for_another_user.yml",
    "cloud_admin_policy.yml",
    "cloud_bucket_expires_soon.yml",
    "cloud_bucket_public.yml",
    "cloud_bucket_shared.yml",
    "cloud_cluster_access_granted.yml",
    "cloud_cluster_endpoint_public.yml",
    "cloud_cluster_logs_disabled.yml",
    "cloud_command_in_task.yml",
    "cloud_command_on_instances.yml",
    "cloud_console_login_without_mfa.yml",
    "cloud_costly_instances.yml",
    "cloud_data_exported.yml",
    "cloud_database_public.yml",
    "cloud_detection_disabled.yml",
    "cloud_encryption_key_disabled.yml",
    "cloud_federation_token.yml",
    "cloud_findings_hidden.yml",
    "cloud_function_code.yml",
    "cloud_function_layer.yml",
    "cloud_function_opened.yml",
    "cloud_identity_provider.yml",
    "cloud_image_checks_disabled.yml",
    "cloud_image_or_snapshot_shared.yml",
    "cloud_image_repository_opened.yml",
    "cloud_instance_password_read.yml",
    "cloud_instance_role_asks_who_it_is.yml",
    "cloud_leaked_key.yml",
    "cloud_log_group_deleted.yml",
    "cloud_mail_probed.yml",
    "cloud_mail_sending_enabled.yml",
    "cloud_metadata_service_weakened.yml",
    "cloud_mfa_removed.yml",
    "cloud_model_called_with_long_lived_key.yml",
    "cloud_model_logs_disabled.yml",
    "cloud_models_enabled.yml",
    "cloud_network_logs_deleted.yml",
    "cloud_objects_encrypted_by_caller.yml",
    "cloud_organization_left.yml",
    "cloud_own_rights_raised.yml",
    "cloud_password_for_another_user.yml",
    "cloud_privileged_task.yml",
    "cloud_recovery_prevented.yml",
    "cloud_region_enabled.yml",
    "cloud_role_for_another_account.yml",
    "cloud_role_trust_changed.yml",
    "cloud_roles_anywhere.yml",
    "cloud_root_used.yml",
    "cloud_secrets_by_filter.yml",
    "cloud_security_group_opened.yml",
    "cloud_serial_console.yml",
    "cloud_session_on_instance.yml",
    "cloud_ssh_key_pushed.yml",
    "cloud_traffic_mirrored.yml",
    "cloud_trail_narrowed.yml",
    "cloud_trail_stopped.yml",
    "cloud_user_created.yml",
    "cloud_user_data_changed.yml",
    "cloud_user_data_read.yml",
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

/// The pack's description.
///
/// # Errors
/// When the built-in text cannot be read.
pub(crate) fn info() -> Result<PackInfo> {
    toml::from_str(INFO).map_err(|e| Error::Pack(e.to_string()))
}

#[cfg(test)]
mod tests;
