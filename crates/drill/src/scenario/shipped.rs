//! The scenarios that ship, from `scenarios/`.
//!
//! Not here: what they mean.

use super::{Scenario, ScenarioError};

/// Their files' texts, in the order of the alphabet.
const TEXTS: &[(&str, &str)] = &[
    ("account-manipulation", include_str!("../../scenarios/account-manipulation.toml")),
    ("api-discovery-from-pod", include_str!("../../scenarios/api-discovery-from-pod.toml")),
    ("api-exhausted", include_str!("../../scenarios/api-exhausted.toml")),
    ("beacon", include_str!("../../scenarios/beacon.toml")),
    ("cloud-credentials-hunt", include_str!("../../scenarios/cloud-credentials-hunt.toml")),
    ("credential-stuffing", include_str!("../../scenarios/credential-stuffing.toml")),
    ("crypto-miner", include_str!("../../scenarios/crypto-miner.toml")),
    ("data-destroyed", include_str!("../../scenarios/data-destroyed.toml")),
    ("default-account", include_str!("../../scenarios/default-account.toml")),
    ("dns-tunnel", include_str!("../../scenarios/dns-tunnel.toml")),
    ("escape-host-path", include_str!("../../scenarios/escape-host-path.toml")),
    ("escape-privileged-pod", include_str!("../../scenarios/escape-privileged-pod.toml")),
    ("escape-runtime-socket", include_str!("../../scenarios/escape-runtime-socket.toml")),
    ("exposed-dashboard", include_str!("../../scenarios/exposed-dashboard.toml")),
    ("exposed-services", include_str!("../../scenarios/exposed-services.toml")),
    ("false-account-name", include_str!("../../scenarios/false-account-name.toml")),
    ("false-kube-proxy", include_str!("../../scenarios/false-kube-proxy.toml")),
    ("gpu-hijack", include_str!("../../scenarios/gpu-hijack.toml")),
    ("image-built-on-host", include_str!("../../scenarios/image-built-on-host.toml")),
    ("impersonate-masters", include_str!("../../scenarios/impersonate-masters.toml")),
    ("implanted-image", include_str!("../../scenarios/implanted-image.toml")),
    ("insider-at-night", include_str!("../../scenarios/insider-at-night.toml")),
    ("kernel-exploit", include_str!("../../scenarios/kernel-exploit.toml")),
    ("kubelet-api", include_str!("../../scenarios/kubelet-api.toml")),
    ("leaked-kubeconfig", include_str!("../../scenarios/leaked-kubeconfig.toml")),
    ("miner-cronjob", include_str!("../../scenarios/miner-cronjob.toml")),
    ("moved-image-tag", include_str!("../../scenarios/moved-image-tag.toml")),
    ("network-flood", include_str!("../../scenarios/network-flood.toml")),
    ("node-account", include_str!("../../scenarios/node-account.toml")),
    ("password-spray", include_str!("../../scenarios/password-spray.toml")),
    ("permission-discovery", include_str!("../../scenarios/permission-discovery.toml")),
    ("pod-to-pod-exec", include_str!("../../scenarios/pod-to-pod-exec.toml")),
    ("poisoned-operator", include_str!("../../scenarios/poisoned-operator.toml")),
    ("policy-tampering", include_str!("../../scenarios/policy-tampering.toml")),
    ("proxyware", include_str!("../../scenarios/proxyware.toml")),
    ("recovery-inhibited", include_str!("../../scenarios/recovery-inhibited.toml")),
    ("runtime-cli-on-node", include_str!("../../scenarios/runtime-cli-on-node.toml")),
    ("scheduled-backdoor", include_str!("../../scenarios/scheduled-backdoor.toml")),
    ("secret-reader", include_str!("../../scenarios/secret-reader.toml")),
    ("sensors-off", include_str!("../../scenarios/sensors-off.toml")),
    ("service-discovery", include_str!("../../scenarios/service-discovery.toml")),
    ("service-that-stays", include_str!("../../scenarios/service-that-stays.toml")),
    ("ssh-guessing", include_str!("../../scenarios/ssh-guessing.toml")),
    ("stolen-ci-token", include_str!("../../scenarios/stolen-ci-token.toml")),
    ("stolen-pod-token", include_str!("../../scenarios/stolen-pod-token.toml")),
    ("traces-removed", include_str!("../../scenarios/traces-removed.toml")),
    ("typosquat-image", include_str!("../../scenarios/typosquat-image.toml")),
];

/// The scenario of an id, if one ships.
pub(crate) fn scenario(id: &str) -> Option<Result<Scenario, ScenarioError>> {
    TEXTS.iter().find(|(shipped, _)| *shipped == id).map(|(_, text)| Scenario::parse(text))
}

/// All scenarios that ship, in the order of their ids.
///
/// # Errors
/// None that a released build has: a test parses them all.
pub fn scenarios() -> Result<Vec<Scenario>, ScenarioError> {
    TEXTS.iter().map(|(_, text)| Scenario::parse(text)).collect()
}
