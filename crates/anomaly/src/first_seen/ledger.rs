//! The alert budget: which novelties are rare enough to be told, given how many there were.
//!
//! Novelties of all features are ranked by how little their entity varies: by `⌊−log₂ P(new)⌋`, their class. One is told
//! if, in the window before it, fewer than the quota happened in its class or in rarer ones, told or not, and fewer than
//! the quota were told at all:
//!
//! ```text
//! window = 1 day · max(1, 1/budget)        quota = ⌊budget · window in days⌋
//! ```
//!
//! That is conformal ranking with the trailing window as calibration set (Laxhammar and Falkman, "Online learning and
//! sequential anomaly detection in trajectories", IEEE TPAMI 36, 2014): where benign novelty is frequent, only that of
//! the steadiest entities is told, and the realised rate keeps to the budget without any assumption about why new values
//! appear. The second condition is for the time in which classes still grow with the history. The model's chance alone
//! could not do that: a history of a day cannot show that a chance is below one in a million.

use std::collections::BTreeMap;

use palisade_events::time::{DAY, Micros};
use serde::{Deserialize, Serialize};

/// Parts of the window that are counted separately.
const PARTS: i64 = 48;

/// Novelties of the trailing window, by part and class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    parts: BTreeMap<i64, Part>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    classes: BTreeMap<u8, u64>,
    told: u64,
}

/// What may be spent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Budget {
    part: Micros,
    pub(crate) quota: u64,
}

impl Budget {
    pub(crate) fn per_day(findings: f64) -> Self {
        // Below one finding in a hundred days there is nothing to calibrate with.
        let findings = if findings.is_finite() { findings.max(0.0) } else { 0.0 };
        let days = if findings <= 0.0 { 100.0 } else { (1.0 / findings).clamp(1.0, 100.0) };
        Self { part: (days * DAY as f64) as Micros / PARTS, quota: (findings * days + 1e-9) as u64 }
    }
}

/// The class of a chance: higher is rarer.
pub(crate) fn class(unseen: f64) -> u8 {
    (-unseen.log2()).clamp(0.0, 63.0) as u8
}

impl Ledger {
    /// Counts a novelty and says whether it is within the budget.
    pub(crate) fn spend(&mut self, now: Micros, class: u8, budget: Budget) -> Spent {
        let part = now.div_euclid(budget.part.max(1));
        self.parts = self.parts.split_off(&(part - PARTS));
        let same_or_rarer: u64 = self.parts.values().flat_map(|p| p.classes.range(class..)).map(|(_, n)| n).sum();
        let told: u64 = self.parts.values().map(|p| p.told).sum();
        let spent = if same_or_rarer.max(told) < budget.quota { Spent::Within } else { Spent::Beyond };
        let part = self.parts.entry(part).or_default();
        *part.classes.entry(class).or_default() += 1;
        part.told += u64::from(spent == Spent::Within);
        spent
    }
}

/// Whether a novelty is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spent {
    Within,
    Beyond,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_classes_run_out_and_rarer_ones_do_not() {
        let (mut ledger, budget) = (Ledger::default(), Budget::per_day(2.0));
        let mut spend = |now, class| ledger.spend(now, class, budget) == Spent::Within;
        assert_eq!([spend(0, 4), spend(1, 4), spend(2, 4), spend(3, 4)], [true, true, false, false]);
        assert!(!spend(4, 9), "the budget of the day is spent");
        assert!((0..10).all(|i| !spend(DAY / 2 + i, 4)));
        // Half a day on, what was told lies behind; what was frequent is still known to be.
        let later = DAY + DAY / 4;
        assert!(!spend(later, 4), "frequent, told or not");
        assert!(spend(later, 9), "a rarer class has its quota");
        assert!(spend(3 * DAY, 4), "the window has passed");
    }

    #[test]
    fn budgets_below_one_a_day_have_longer_windows() {
        assert_eq!(Budget::per_day(0.2), Budget { part: 5 * DAY / PARTS, quota: 1 });
        assert_eq!(Budget::per_day(0.0).quota, 0);
        assert_eq!(Budget::per_day(f64::NAN).quota, 0);
        assert_eq!(Budget::per_day(3.7).quota, 3);
    }
}
