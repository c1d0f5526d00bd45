//! What a drill yields.

use palisade_events::time::Micros;

/// One kind of telemetry, which travels on a topic of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// Kubernetes API server audit, one `audit.k8s.io/v1` event a record.
    K8sAudit,
    /// Falco alerts, one a record.
    Falco,
    /// Linux audit, one line a record; an event takes several.
    Auditd,
}

impl Stream {
    /// All streams.
    pub const ALL: [Self; 3] = [Self::K8sAudit, Self::Falco, Self::Auditd];

    /// The name of its topic.
    pub fn topic(self) -> &'static str {
        match self {
            Self::K8sAudit => "k8s-audit",
            Self::Falco => "falco",
            Self::Auditd => "auditd",
        }
    }
}

/// One record as a shipper would produce it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The stream it belongs to.
    pub stream: Stream,
    /// Event time: when the logged thing happened, which is also in the payload.
    pub time: Micros,
    /// What partitions are chosen by: the user of an audit event, the node of an alert or an audit line.
    pub key: String,
    /// The bytes.
    pub payload: Vec<u8>,
    /// The attack step that made it; `None` for the cluster's ordinary life.
    pub truth: Option<Truth>,
}

/// The step of an attack that a record is a trace of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Truth {
    /// The scenario, as `stolen-ci-token`.
    pub scenario: &'static str,
    /// The step, as `list-secrets`.
    pub step: &'static str,
    /// The ATT&CK technique, as `T1552.007`.
    pub technique: &'static str,
}
