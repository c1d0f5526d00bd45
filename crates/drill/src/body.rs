//! The objects inside audit events of level Request and RequestResponse.
//!
//! Not here: the events around them (see `audit`).

use palisade_events::time::{Micros, SECOND};

use crate::cluster::{Node, Pod};
use crate::text::{go_json, number, suffix, uuid};
use crate::wire::Wire;

/// What makes a pod dangerous.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodPower {
    /// As the workload's own template has it.
    Ordinary,
    /// Privileged, in the host's namespaces, with the host's root mounted.
    Host,
    Privileged,
    HostPid,
    HostNetwork,
    /// A path of the node's is mounted.
    HostPath(String),
    /// A Linux capability is added.
    Capability(String),
}

impl PodPower {
    /// Reads what a scenario calls it: `host-path:/etc`, `capability:SYS_ADMIN`, `socket` …
    pub(crate) fn of(text: &str) -> Option<Self> {
        Some(match text.split_once(':') {
            Some(("host-path", path)) => Self::HostPath(path.into()),
            Some(("capability", name)) => Self::Capability(name.into()),
            Some(_) => return None,
            None => match text {
                // Every pod mounts its account's token.
                "ordinary" | "token" => Self::Ordinary,
                "host" => Self::Host,
                "privileged" => Self::Privileged,
                "host-pid" => Self::HostPid,
                "host-network" => Self::HostNetwork,
                "socket" => Self::HostPath("/run/containerd/containerd.sock".into()),
                _ => return None,
            },
        })
    }

    /// Whether its container is privileged.
    pub(crate) fn is_privileged(&self) -> bool {
        matches!(self, Self::Host | Self::Privileged)
    }

    fn host_path(&self) -> Option<&str> {
        match self {
            Self::Host => Some("/"),
            Self::HostPath(path) => Some(path),
            _ => None,
        }
    }
}

/// The patch by which a kubelet reports a node's conditions.
pub(crate) fn node_status(wire: &mut Wire, node: &Node, now: Micros) -> String {
    let mut out = String::with_capacity(1_600);
    out.push_str("{\"status\":{\"$setElementOrder/conditions\":[{\"type\":\"MemoryPressure\"},{\"type\":\"DiskPressure\"},{\"type\":\"PIDPressure\"},{\"type\":\"Ready\"}],\"conditions\":[");
    for (n, (kind, status, reason, message)) in [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    .into_iter()
    .enumerate()
    {
        if n > 0 {
            out.push(',');
        }
        fields(&mut out, "{", &[("type", kind), ("status", status), ("reason", reason), ("message", message)]);
        out.push_str(",\"lastHeartbeatTime\":\"");
        wire.calendar.seconds(&mut out, now);
        out.push_str("\"}");
    }
    fields(&mut out, "],\"addresses\":[{", &[("type", "InternalIP"), ("address", &node.ip)]);
    fields(&mut out, "},{", &[("type", "Hostname"), ("address", &node.name)]);
    out.push_str("}]}}");
    out
}

/// The patch by which a kubelet reports that a pod's containers run.
pub(crate) fn pod_status(wire: &mut Wire, pod: &Pod, host_ip: &str, now: Micros) -> String {
    let mut out = String::with_capacity(1_600);
    fields(&mut out, "{\"metadata\":{", &[("uid", &pod.uid)]);
    out.push_str("},\"status\":{\"$setElementOrder/conditions\":[{\"type\":\"PodReadyToStartContainers\"},{\"type\":\"Initialized\"},{\"type\":\"Ready\"},{\"type\":\"ContainersReady\"},{\"type\":\"PodScheduled\"}],\"conditions\":[");
    for (n, kind) in ["PodReadyToStartContainers", "Ready", "ContainersReady"].into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str("{\"lastProbeTime\":null,\"lastTransitionTime\":\"");
        wire.calendar.seconds(&mut out, now);
        fields(&mut out, "\",", &[("status", "True"), ("type", kind)]);
        out.push('}');
    }
    let Pod { image, container, container_id, .. } = pod;
    fields(&mut out, "],\"containerStatuses\":[{", &[("containerID", &["containerd://", container_id].concat())]);
    let image_id = [&image.repository, "@sha256:", &image.digest].concat();
    let tagged = [&image.repository, ":", &image.tag].concat();
    fields(&mut out, ",", &[("image", &tagged), ("imageID", &image_id)]);
    fields(&mut out, ",\"lastState\":{},", &[("name", container)]);
    out.push_str(",\"ready\":true,\"restartCount\":0,\"started\":true,\"state\":{\"running\":{\"startedAt\":\"");
    wire.calendar.seconds(&mut out, now - SECOND);
    fields(&mut out, "\"}}}],", &[("hostIP", host_ip), ("phase", "Running"), ("podIP", &pod.ip)]);
    fields(&mut out, ",\"podIPs\":[{", &[("ip", &pod.ip)]);
    out.push_str("}]}}");
    out
}

/// A whole pod: as its author sends it, or, with the time of `stored`, as the API server stores it.
pub(crate) fn pod(wire: &mut Wire, pod: &Pod, power: &PodPower, stored: Option<Micros>) -> String {
    let mut out = String::with_capacity(4_000);
    let image = [&pod.image.repository, ":", &pod.image.tag].concat();
    fields(
        &mut out,
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{",
        &[("name", &pod.name), ("namespace", &pod.namespace)],
    );
    match stored {
        Some(now) => {
            out.push_str(",\"uid\":\"");
            uuid(&mut out, &mut wire.random);
            out.push_str("\",\"resourceVersion\":\"");
            number(&mut out, wire.next_version());
            out.push_str("\",\"creationTimestamp\":\"");
            wire.calendar.seconds(&mut out, now);
            out.push('"');
        }
        None => out.push_str(",\"creationTimestamp\":null"),
    }
    fields(
        &mut out,
        ",\"labels\":{",
        &[("app.kubernetes.io/name", &pod.workload), ("app.kubernetes.io/part-of", &pod.namespace)],
    );
    if let Some(now) = stored {
        out.push_str("},\"managedFields\":[{\"manager\":\"");
        out.push_str(if *power != PodPower::Ordinary { "kubectl-create" } else { "kube-controller-manager" });
        out.push_str("\",\"operation\":\"Update\",\"apiVersion\":\"v1\",\"time\":\"");
        wire.calendar.seconds(&mut out, now);
        out.push_str("\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app.kubernetes.io/name\":{},\"f:app.kubernetes.io/part-of\":{}}},\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"");
        out.push_str(&pod.container);
        out.push_str("\\\"}\":{\".\":{},\"f:image\":{},\"f:imagePullPolicy\":{},\"f:name\":{},\"f:resources\":{},\"f:securityContext\":{}}},\"f:dnsPolicy\":{},\"f:restartPolicy\":{}}}}]");
    } else {
        out.push('}');
    }
    out.push_str("},\"spec\":{\"volumes\":[");
    if let Some(path) = power.host_path() {
        fields(&mut out, "{\"name\":\"host\",\"hostPath\":{", &[("path", path), ("type", "")]);
        out.push_str("}},");
    }
    out.push_str("{\"name\":\"kube-api-access-");
    out.push_str(&suffix(&mut wire.random, 5));
    out.push_str("\",\"projected\":{\"sources\":[{\"serviceAccountToken\":{\"expirationSeconds\":3607,\"path\":\"token\"}},{\"configMap\":{\"name\":\"kube-root-ca.crt\",\"items\":[{\"key\":\"ca.crt\",\"path\":\"ca.crt\"}]}},{\"downwardAPI\":{\"items\":[{\"path\":\"namespace\",\"fieldRef\":{\"apiVersion\":\"v1\",\"fieldPath\":\"metadata.namespace\"}}]}}],\"defaultMode\":420}}],\"containers\":[{");
    fields(&mut out, "", &[("name", &pod.container), ("image", &image)]);
    if *power == PodPower::Host {
        out.push_str(",\"command\":[\"nsenter\",\"--target\",\"1\",\"--mount\",\"--uts\",\"--ipc\",\"--net\",\"--pid\",\"--\",\"sh\",\"-c\",\"sleep 1d\"]");
    }
    if *power == PodPower::Ordinary {
        out.push_str(",\"ports\":[{\"containerPort\":8080,\"protocol\":\"TCP\"}],\"resources\":{\"limits\":{\"memory\":\"512Mi\"},\"requests\":{\"cpu\":\"100m\",\"memory\":\"256Mi\"}},\"securityContext\":{\"capabilities\":{\"drop\":[\"ALL\"]},\"runAsNonRoot\":true,\"allowPrivilegeEscalation\":false,\"readOnlyRootFilesystem\":true}");
    } else {
        out.push_str(",\"resources\":{}");
        if power.host_path().is_some() {
            out.push_str(",\"volumeMounts\":[{\"name\":\"host\",\"mountPath\":\"/host\"}]");
        }
        if power.is_privileged() {
            out.push_str(",\"securityContext\":{\"privileged\":true}");
        } else if let PodPower::Capability(name) = power {
            out.push_str(",\"securityContext\":{\"capabilities\":{\"add\":[\"");
            go_json(&mut out, name);
            out.push_str("\"]}}");
        }
    }
    out.push_str(",\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\",\"imagePullPolicy\":\"IfNotPresent\"}],\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\",");
    fields(&mut out, "", &[("serviceAccountName", &pod.account), ("serviceAccount", &pod.account)]);
    match power {
        PodPower::Host => out.push_str(",\"hostNetwork\":true,\"hostPID\":true,\"hostIPC\":true"),
        PodPower::HostPid => out.push_str(",\"hostPID\":true"),
        PodPower::HostNetwork => out.push_str(",\"hostNetwork\":true"),
        _ => {}
    }
    out.push_str(
        ",\"securityContext\":{},\"schedulerName\":\"default-scheduler\",\"enableServiceLinks\":true},\"status\":{",
    );
    if stored.is_some() {
        out.push_str("\"phase\":\"Pending\",\"qosClass\":\"Burstable\"");
    }
    out.push_str("}}");
    out
}

/// The patch by which a deployer changes an image.
pub(crate) fn image_patch(pod: &Pod, tag: &str) -> String {
    let mut out = String::from("{\"spec\":{\"template\":{\"spec\":{\"$setElementOrder/containers\":[{");
    fields(&mut out, "", &[("name", &pod.container)]);
    out.push_str("}],\"containers\":[{");
    let image = [&pod.image.repository, ":", tag].concat();
    fields(&mut out, "", &[("image", &image), ("name", &pod.container)]);
    out.push_str("}]}}}}");
    out
}

/// A role binding, cluster-wide if its namespace is empty.
pub(crate) fn binding(namespace: &str, name: &str, role: &str, subject: (&str, &str, &str)) -> String {
    let kind = if namespace.is_empty() { "ClusterRoleBinding" } else { "RoleBinding" };
    let mut out = String::with_capacity(600);
    fields(&mut out, "{", &[("kind", kind), ("apiVersion", "rbac.authorization.k8s.io/v1")]);
    fields(&mut out, ",\"metadata\":{", &[("name", name)]);
    if !namespace.is_empty() {
        fields(&mut out, ",", &[("namespace", namespace)]);
    }
    let (subject_kind, subject_namespace, subject_name) = subject;
    out.push_str(",\"creationTimestamp\":null},\"subjects\":[{");
    if subject_kind == "ServiceAccount" {
        fields(&mut out, "", &[("kind", subject_kind), ("name", subject_name), ("namespace", subject_namespace)]);
    } else {
        let group = "rbac.authorization.k8s.io";
        fields(&mut out, "", &[("kind", subject_kind), ("apiGroup", group), ("name", subject_name)]);
    }
    fields(
        &mut out,
        "}],\"roleRef\":{",
        &[("apiGroup", "rbac.authorization.k8s.io"), ("kind", "ClusterRole"), ("name", role)],
    );
    out.push_str("}}");
    out
}

/// A request for a token of a service account; the token itself is in the response, which is not audited.
pub(crate) fn token_request(expiration_secs: u64) -> String {
    let mut out = String::from(
        "{\"kind\":\"TokenRequest\",\"apiVersion\":\"authentication.k8s.io/v1\",\"metadata\":{\"creationTimestamp\":null},\"spec\":{\"audiences\":[\"https://kubernetes.default.svc.cluster.local\"],\"expirationSeconds\":",
    );
    number(&mut out, expiration_secs);
    out.push_str(",\"boundObjectRef\":null},\"status\":{\"token\":\"\",\"expirationTimestamp\":null}}");
    out
}

/// `opening`, then `"key":"value"` pairs, with commas between them.
fn fields(out: &mut String, opening: &str, pairs: &[(&str, &str)]) {
    out.push_str(opening);
    for (n, (key, value)) in pairs.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push('"');
        out.push_str(key);
        out.push_str("\":\"");
        go_json(out, value);
        out.push('"');
    }
}
