//! What a drill is to be like.

use palisade_events::time::{Micros, SECOND};
use serde::{Deserialize, Serialize};

use crate::record::Stream;
use crate::scenario::{Begins, Scenario, Variant};

/// What a drill is to be like. Any value is fine: what makes no sense is brought to the nearest value that does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Seeds everything that is random.
    pub seed: u64,
    /// Time of the first event at the earliest.
    pub start: Micros,
    /// Events happen within this many seconds from `start`.
    pub duration_secs: u64,
    /// Mean acts a second at the busiest hour, over all streams; the lines of one auditd event count once. Night and
    /// weekend have fewer. Scheduled work, surprises and attacks come on top.
    pub events_per_sec: f64,
    /// Worker nodes.
    pub nodes: u32,
    /// Pods of each workload.
    pub replicas: u32,
    /// Namespaces of ordinary applications, each with a web, a queue and a database workload and a nightly job.
    pub namespaces: Vec<String>,
    /// The streams to write.
    pub streams: Vec<Stream>,
    /// Weights of the streams in ordinary life, 1 where none is given.
    pub mix: Vec<(Stream, f64)>,
    /// What makes benign traffic hard.
    pub life: Life,
    /// Longest time from an event to its delivery, microseconds: lags are drawn below it, once for each shipper.
    pub skew_max: Micros,
    /// Share of records, from 0 to 1, that are delivered up to `late_max` after their time.
    pub late_share: f64,
    /// Microseconds.
    pub late_max: Micros,
    /// The attacks to hide among it.
    pub attacks: Vec<Attack>,
}

/// What makes benign traffic hard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Life {
    /// Only a steady working day, without surprises.
    Steady,
    /// Also roll-outs that shift levels, load tests, noisy neighbours, maintenance, node churn, new services, schedules
    /// that drift, and sources that lose events.
    Hard,
}

/// A run of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// The scenario's id, as `stolen-ci-token`.
    pub scenario: String,
    /// How it is run.
    pub variant: Variant,
    /// Seconds from `start` at which it begins. What would not end in time is run faster.
    pub at_secs: u64,
}

impl Attack {
    /// A run of a scenario, loud, beginning `at_secs` after the drill's start.
    pub fn new(scenario: &str, at_secs: u64) -> Self {
        Self { scenario: scenario.into(), variant: Variant::Loud, at_secs }
    }
}

/// Every variant of every scenario, spread over a drill of this length: those that take days begin early enough, those of
/// the night at night.
pub fn every_attack(scenarios: &[Scenario], start: Micros, length_secs: u64) -> Vec<Attack> {
    let runs: Vec<(&Scenario, Variant)> = scenarios
        .iter()
        .flat_map(|scenario| scenario.variants.iter().map(move |variant| (scenario, *variant)))
        .collect();
    let length = i64::try_from(length_secs).unwrap_or(i64::MAX).min(MAX_SECS);
    let last = runs.len().max(1) as i64;
    let mut attacks = Vec::new();
    // A stride that shares no factor with most counts keeps a scenario's variants apart.
    for (n, (scenario, variant)) in (0i64..).zip(&runs) {
        let place = n * 61 % last;
        let takes = match variant {
            Variant::Slow => scenario.slow_over / SECOND,
            Variant::Quiet => 4 * 3_600,
            Variant::Loud | Variant::Blinded => 3_600,
        };
        // The first hour is left alone, so that baselines have seen something.
        let quiet = (length / 20).min(6 * 3_600);
        let room = (length - quiet - takes).max(length / 20);
        let mut at = quiet + room * place / last;
        if scenario.begins == Begins::Night {
            let of_day = (start / SECOND + at).rem_euclid(86_400);
            let until_night = (2 * 3_600 + 1_800 - of_day).rem_euclid(86_400);
            if at + until_night < length - 3_600 {
                at += until_night;
            }
        }
        let at_secs = u64::try_from(at).unwrap_or(0);
        attacks.push(Attack { scenario: scenario.id.clone(), variant: *variant, at_secs });
    }
    attacks
}

/// A century.
const MAX_SECS: i64 = 100 * 365 * 86_400;

impl Default for Settings {
    /// Half an hour of a small shop's cluster on a Monday morning, with an attack in its second half.
    fn default() -> Self {
        Self {
            seed: 1,
            start: MONDAY_MORNING,
            duration_secs: 1_800,
            events_per_sec: 50.0,
            nodes: 6,
            replicas: 3,
            namespaces: ["shop", "payments", "search", "reports"].map(String::from).into(),
            streams: Stream::USUAL.into(),
            mix: Vec::new(),
            life: Life::Steady,
            skew_max: 400_000,
            late_share: 0.0,
            late_max: 0,
            attacks: vec![Attack::new("stolen-ci-token", 1_080)],
        }
    }
}

/// 2026-03-02T09:00:00Z.
pub(crate) const MONDAY_MORNING: Micros = 1_772_442_000_000_000;
