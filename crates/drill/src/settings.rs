//! What a drill is to be like.

use palisade_events::time::Micros;

/// What a drill is to be like. Any value is fine: what makes no sense is brought to the nearest value that does.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Seeds everything that is random.
    pub seed: u64,
    /// Time of the first event at the earliest.
    pub start: Micros,
    /// Events happen within this many seconds from `start`.
    pub duration_secs: u64,
    /// Mean events a second at the busiest hour, over all streams; the lines of one auditd event count once. Night and
    /// weekend have fewer. Scheduled work and attacks come on top.
    pub events_per_sec: f64,
    /// Worker nodes.
    pub nodes: u32,
    /// Pods of each workload.
    pub replicas: u32,
    /// Namespaces of ordinary applications, each with a web, a queue and a database workload and a nightly job.
    pub namespaces: Vec<String>,
    /// The attack to hide among it.
    pub attack: Attack,
    /// Seconds from `start` at which the attack begins. An attack that would not end in time is run faster.
    pub attack_at_secs: u64,
}

/// The attack of a drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Nothing but ordinary life.
    None,
    /// A stolen CI token, which leads over a service account, a container and a privileged pod to cluster-admin and a
    /// miner on a node.
    Chain,
}

impl Default for Settings {
    /// Half an hour of a small shop's cluster on a Monday morning, with the attack in its second half.
    fn default() -> Self {
        Self {
            seed: 1,
            start: MONDAY_MORNING,
            duration_secs: 1_800,
            events_per_sec: 50.0,
            nodes: 6,
            replicas: 3,
            namespaces: ["shop", "payments", "search", "reports"].map(String::from).into(),
            attack: Attack::Chain,
            attack_at_secs: 1_080,
        }
    }
}

/// 2026-03-02T09:00:00Z.
pub(crate) const MONDAY_MORNING: Micros = 1_772_442_000_000_000;
