//! What is said of an unlikely count, and of an unlikely silence.
//!
//! Not here: which counts are unlikely.

use palisade_events::Finding;
use palisade_events::finding::Severity;
use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::{Micros, format_rfc3339};

use super::{Bar, EventRate, Told, UID};
use crate::report::{Report, brief, events, span};
use crate::store::Slot;
use crate::tally::{Stored, Tally};

/// Where the formulas are from; `baseline.rs` and `tail.rs` say how they are used.
const PAPERS: [&str; 4] = [
    "D. Gamerman, T. R. dos Santos, G. C. Franco: A non-Gaussian family of state-space models with exact marginal \
     likelihood. Journal of Time Series Analysis 34, 2013",
    "R. Kulhavý, M. B. Zarrop: On a general concept of forgetting. International Journal of Control 58, 1993",
    "J. Pickands: Statistical inference using extreme order statistics. Annals of Statistics 3, 1975",
    "A. Siffer, P.-A. Fouque, A. Termier, C. Largouët: Anomaly detection in streams with extreme value theory. KDD 2017",
];

/// The silence of one entity.
pub(super) struct Silence {
    /// Panes without its events.
    pub(super) panes: u64,
    /// Events that each was expected to hold.
    pub(super) mean: f64,
    /// When it was seen last.
    pub(super) since: Micros,
    /// The chance of so long a silence is below it.
    pub(super) alpha: f64,
}

impl EventRate {
    pub(super) fn finding(
        &self,
        pane: Pane,
        coverage: PaneCoverage,
        slot: &Slot,
        tally: Tally<Stored<'_>>,
        told: &Told,
        bar: Bar,
    ) -> Finding {
        let length = span(pane.end - pane.start);
        let Told { unlikely, baseline, adopted } = told;
        let expected = unlikely.expected;
        let since =
            baseline.level_since.map_or_else(String::new, |t| format!(" since its new level of {}", format_rfc3339(t)));
        let panes = baseline.memory().round();
        let (p, alpha) = (unlikely.ln_p.exp(), bar.ln_alpha.exp());
        let mut explanation = format!(
            "{} made {} in {length}, where {} were expected (95 % of panes have at most {}), judged by its last \
             {panes} panes{since}. The calibrated chance of so many is {:.0e}; findings start at {alpha:.0e}, which \
             keeps {} false findings a day over {} of kind {}.",
            slot.entity,
            events(tally.count),
            brief(expected.mean),
            expected.limit(0.05f64.ln()),
            p.max(f64::MIN_POSITIVE),
            self.config.false_findings_per_day,
            if bar.tracked == 1 { "1 entity".into() } else { format!("{} entities", bar.tracked) },
            slot.entity.kind,
        );
        if *adopted {
            explanation.push_str(&format!(
                " This is anomalous pane {} without a break, so that this level is now taken for normal.",
                self.config.shift_panes.max(1)
            ));
        }
        let severity = match adopted {
            true => Severity::Informational,
            false if p < 1e-12 && tally.count >= 20 => Severity::High,
            false => Severity::Medium,
        };
        Report {
            uid: UID,
            title: if *adopted { "New level of events adopted".into() } else { "Unusual number of events".into() },
            entity: slot.entity.clone(),
            anchor: format_rfc3339(pane.end),
            severity,
            confidence: 1.0 - (unlikely.ln_p - bar.ln_alpha).exp().min(1.0),
            count: tally.count,
            first: tally.first,
            last: tally.last,
            explanation,
            observed: format!("{} in {length}", events(tally.count)),
            expected: format!(
                "{} (95 % up to {}) from {panes} panes{since}",
                brief(expected.mean),
                expected.limit(0.05f64.ln())
            ),
            p_value: p,
            evidence: tally.evidence,
            attack: self.config.attack.clone(),
            false_positives: vec!["Deployments, scaling, batch jobs and load tests change rates too".into()],
            triage: vec!["Look at what the evidence events have in common, and whether a change was announced".into()],
            references: &PAPERS,
        }
        .finding(pane, coverage)
    }

    pub(super) fn silence(&self, pane: Pane, coverage: PaneCoverage, slot: Slot, silence: &Silence) -> Finding {
        let Silence { panes, mean, since, alpha } = *silence;
        let length = pane.end - pane.start;
        Report {
            uid: UID,
            title: "Unusual silence".into(),
            anchor: format!("silence {}", format_rfc3339(pane.end)),
            severity: Severity::Low,
            confidence: 0.5,
            count: 0,
            first: since,
            last: pane.end,
            explanation: format!(
                "{} made no events for {}, where {} were expected in each {}. The chance of so long a silence is \
                 below {alpha:.0e}.",
                slot.entity,
                span(length.saturating_mul(panes as i64)),
                brief(mean),
                span(length),
            ),
            observed: format!("no events in {panes} panes"),
            expected: format!("{} in a pane", brief(mean)),
            p_value: alpha,
            evidence: Vec::new(),
            attack: self.config.attack.clone(),
            false_positives: vec!["Scaling down, maintenance, or an agent that stopped reporting".into()],
            triage: vec!["Check that the entity and the agent that reports on it still run".into()],
            references: &PAPERS,
            entity: slot.entity,
        }
        .finding(pane, coverage)
    }
}
