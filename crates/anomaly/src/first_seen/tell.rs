//! What is said of values that an entity had never shown.
//!
//! Not here: which novelties are told.

use palisade_events::Finding;
use palisade_events::finding::Severity;
use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::format_rfc3339;

use super::profile::Habit;
use super::{Feature, FirstSeen, Shown, UID};
use crate::report::{Report, brief, span};
use crate::store::Slot;
use crate::tally::Tally;

/// Values that a finding names; it counts the others.
const NAMED_MAX: usize = 5;

/// Where the formulas are from; `profile.rs` and `ledger.rs` say how they are used.
const PAPERS: [&str; 3] = [
    "I. J. Good: The population frequencies of species and the estimation of population parameters. Biometrika 40, 1953",
    "A. Chao, R. K. Colwell: Thirty years of progeny from Chao's inequality. SORT 41, 2017",
    "R. Laxhammar, G. Falkman: Online learning and sequential anomaly detection in trajectories. IEEE Transactions on \
     Pattern Analysis and Machine Intelligence 36, 2014",
];

impl FirstSeen {
    pub(super) fn finding(
        &self,
        pane: Pane,
        coverage: PaneCoverage,
        slot: Slot,
        habit: Habit,
        new: Vec<Shown<'_>>,
    ) -> Finding {
        let feature = self.config.features.get(usize::from(slot.series)).map(Feature::name).unwrap_or_default();
        let mut named: Vec<String> = new.iter().take(NAMED_MAX).map(|s| format!("`{}`", s.value)).collect();
        if new.len() > NAMED_MAX {
            named.push(format!("{} more", new.len() - NAMED_MAX));
        }
        let named = named.join(", ");
        let unseen = habit.unseen;
        let many = if new.len() == 1 { "a value" } else { "values" };
        let mut whole = Tally::new();
        for shown in new {
            whole.merge(shown.tally);
        }
        Report {
            uid: UID,
            title: format!("New {feature} for a {}", slot.entity.kind),
            anchor: format!("{feature} {}", format_rfc3339(pane.end)),
            severity: if unseen < 0.01 { Severity::Medium } else { Severity::Low },
            confidence: 1.0 - unseen,
            count: whole.count,
            first: whole.first,
            last: whole.last,
            explanation: format!(
                "{} showed {many} of {feature} that it had never shown before: {named}. In {} panes it had shown {} \
                 values, {} of them only once; the chance that the next one is new was {} (Good–Turing).",
                slot.entity,
                habit.panes,
                habit.distinct,
                habit.once,
                brief(unseen),
            ),
            observed: named,
            expected: format!(
                "one of {} known values, from {} panes of {}",
                habit.distinct,
                habit.panes,
                span(pane.end - pane.start)
            ),
            p_value: (unseen * habit.pane_draws as f64).min(1.0),
            evidence: whole.evidence,
            attack: self.config.attack.clone(),
            false_positives: vec!["A new release, a moved service, or a rare but regular task".into()],
            triage: vec!["Check whether a release explains it, and whether other entities show the same value".into()],
            references: &PAPERS,
            entity: slot.entity,
        }
        .finding(pane, coverage)
    }
}
