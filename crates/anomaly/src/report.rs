//! Findings from what detectors saw: ids, group and the sentences that both detectors share.
//!
//! Not here: the decision that something is a finding.

use palisade_events::finding::{Attack, Confidence, Finding, FindingKind, Severity};
use palisade_events::id::{finding_uid, group_uid};
use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::{Micros, SECOND, date_of};
use palisade_events::{Entity, Evidence};

use crate::scene;
use crate::tally::Stored;

/// What a detector has to say about one entity in one pane.
pub(crate) struct Report<'r> {
    pub(crate) uid: &'r str,
    pub(crate) title: String,
    pub(crate) entity: Entity,
    /// What makes the finding's id beside detector and entity.
    pub(crate) anchor: String,
    pub(crate) severity: Severity,
    pub(crate) confidence: f64,
    pub(crate) count: u64,
    pub(crate) first: Micros,
    pub(crate) last: Micros,
    pub(crate) explanation: String,
    pub(crate) observed: String,
    pub(crate) expected: String,
    pub(crate) p_value: f64,
    /// Oldest first; the first has a scene.
    pub(crate) evidence: Vec<Stored<'r>>,
    pub(crate) attack: Attack,
    pub(crate) false_positives: Vec<String>,
    pub(crate) triage: Vec<String>,
    /// The papers that the method is from.
    pub(crate) references: &'r [&'r str],
}

impl Report<'_> {
    pub(crate) fn finding(self, pane: Pane, coverage: PaneCoverage) -> Finding {
        let name = self.entity.to_string();
        let first_scene = self.evidence.first().map(|first| first.scene).unwrap_or_default();
        let evidence: Vec<Evidence> = self.evidence.iter().map(Stored::evidence).collect();
        Finding {
            finding_uid: finding_uid(self.uid, &name, &self.anchor),
            group_uid: group_uid(self.uid, &name, &date_of(pane.end)),
            time: if evidence.is_empty() { pane.end } else { self.last },
            kind: FindingKind::Anomaly,
            rule_uid: self.uid.into(),
            rule_version: env!("CARGO_PKG_VERSION").into(),
            title: self.title,
            severity: self.severity,
            confidence: Confidence::new(self.confidence),
            entities: scene::entities(first_scene, &self.entity),
            entity: self.entity,
            owner: None,
            count: i64::try_from(self.count).unwrap_or(i64::MAX),
            first_seen: self.first,
            last_seen: self.last,
            detected_at: pane.end,
            author: "Palisade".into(),
            references: self.references.iter().map(|paper| (*paper).to_owned()).collect(),
            false_positives: self.false_positives,
            triage: self.triage,
            attack: self.attack,
            explanation: self.explanation,
            observed: self.observed,
            expected: self.expected,
            // A float's text must survive JSON, so that zero never stands for "very small".
            p_value: Some(self.p_value.clamp(f64::MIN_POSITIVE, 1.0)),
            excerpt: evidence.first().map(|first| scene::excerpt(first_scene, first)).unwrap_or_default(),
            evidence,
            coverage: coverage.name().into(),
            suppressed_by: None,
        }
    }
}

/// `10 s`, `5 min`, `2 h`.
pub(crate) fn span(length: Micros) -> String {
    let secs = length / SECOND;
    match secs {
        s if s >= 7200 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s >= 120 && s % 60 == 0 => format!("{} min", s / 60),
        s if length % SECOND == 0 => format!("{s} s"),
        _ => format!("{} ms", length / 1000),
    }
}

/// A number with as many digits as a reader can use.
pub(crate) fn brief(value: f64) -> String {
    match value.abs() {
        v if v == 0.0 || v >= 100.0 => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        v if v >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.0e}"),
    }
}

/// `1 event`, `2 events`.
pub(crate) fn events(count: u64) -> String {
    if count == 1 { "1 event".into() } else { format!("{count} events") }
}
