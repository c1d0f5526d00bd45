//! What a drill yields.

use palisade_events::time::Micros;
use serde::{Deserialize, Serialize};

/// One kind of telemetry, which travels on a topic of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// Kubernetes API server audit, one `audit.k8s.io/v1` event a record.
    #[serde(rename = "k8s-audit")]
    K8sAudit,
    /// Falco alerts, one a record.
    Falco,
    /// Linux audit, one line a record; an event takes several.
    Auditd,
    /// Tetragon's export, one event a record.
    Tetragon,
    /// Hubble's flows, one a record.
    Hubble,
    /// Calico's flow logs, one a record.
    Calico,
    /// Events of Docker daemons, one a record.
    Docker,
    /// Notifications of the image registry, one envelope a record.
    Registry,
}

impl Stream {
    /// All streams.
    pub const ALL: [Self; 8] = [
        Self::K8sAudit,
        Self::Falco,
        Self::Auditd,
        Self::Tetragon,
        Self::Hubble,
        Self::Calico,
        Self::Docker,
        Self::Registry,
    ];

    /// Those that watch the API server and the nodes: what a drill writes unless told otherwise.
    pub const USUAL: [Self; 3] = [Self::K8sAudit, Self::Falco, Self::Auditd];

    /// The name of its topic.
    pub fn topic(self) -> &'static str {
        match self {
            Self::K8sAudit => "k8s-audit",
            Self::Falco => "falco",
            Self::Auditd => "auditd",
            Self::Tetragon => "tetragon",
            Self::Hubble => "hubble",
            Self::Calico => "calico",
            Self::Docker => "docker",
            Self::Registry => "registry",
        }
    }

    /// The stream with this topic, if there is one.
    pub fn of_topic(topic: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.topic() == topic)
    }

    /// What Palisade's configuration calls the format.
    pub fn format(self) -> &'static str {
        match self {
            Self::K8sAudit => "k8s_audit",
            Self::Calico => "calico",
            other => other.topic(),
        }
    }

    /// The name of its file in a data set.
    pub fn file(self) -> &'static str {
        match self {
            Self::K8sAudit => "k8s-audit.ndjson",
            Self::Falco => "falco.ndjson",
            Self::Auditd => "auditd.log",
            Self::Tetragon => "tetragon.ndjson",
            Self::Hubble => "hubble.ndjson",
            Self::Calico => "calico.ndjson",
            Self::Docker => "docker.ndjson",
            Self::Registry => "registry.ndjson",
        }
    }

    pub(crate) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One record as a shipper would produce it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The stream it belongs to.
    pub stream: Stream,
    /// Event time: when the logged thing happened, which is also in the payload.
    pub time: Micros,
    /// What partitions are chosen by: the user of an audit event, the node of what a node's sensor writes.
    pub key: String,
    /// The bytes.
    pub payload: Vec<u8>,
    /// What made it, if it was not the cluster's ordinary life. [`Drill::truth`](crate::Drill::truth) says more of it.
    pub label: Option<Label>,
}

/// Names a step of one run of a scenario, or of its benign twin, within a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// Index among the attacks of the settings.
    pub attack: u16,
    /// Index of the step; twins' steps follow those of the attack.
    pub step: u16,
}

/// The truth about a record: which step of which scenario it is a trace of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Truth<'d> {
    /// Index of the attack in the settings: one scenario may be run several times.
    pub attack: u16,
    /// The scenario, as `stolen-ci-token`.
    pub scenario: &'d str,
    /// Its variant, as `quiet`.
    pub variant: &'static str,
    /// Whether it is the attack, or a benign twin of it.
    pub role: Role,
    /// The step, as `list-secrets`.
    pub step: &'d str,
    /// The ATT&CK technique, as `T1552.007`; of a twin, the one it could be taken for.
    pub technique: &'d str,
}

/// What a labelled record belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// An attack, which is to be found.
    Attack,
    /// Its benign twin, which is to be left alone.
    Twin,
}

impl Role {
    /// `attack` or `twin`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attack => "attack",
            Self::Twin => "twin",
        }
    }
}
