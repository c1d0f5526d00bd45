//! Calibration: how far the model's probabilities of one entity kind can be believed, learnt from the moderately rare.
//!
//! If the model is right, the score s = −ln p of a test above a threshold u = −ln 0.05 exceeds it by an exponential
//! variable of scale 1. Where it is not (counts with a heavier tail, people who work in bursts), the excesses are
//! longer. Their scale σ and the fraction ζ of tests above u are learnt over all entities of a kind, and
//!
//! ```text
//! p = ζ · exp(−(s − u) / σ)      for s > u
//! ```
//!
//! is the calibrated probability: peaks over a threshold (Pickands, Ann. Statist. 3, 1975) on the score scale, where the
//! tail is exponential, as used for streams by Siffer et al., "Anomaly Detection in Streams with Extreme Value Theory",
//! KDD 2017. Both ζ and σ are taken two standard errors high, never below the model's own, so calibration only ever
//! makes a finding less sure. A finding's own excess is learnt as if it had just not been one, so that an attack moves
//! the scale no more than an ordinary day does.

use serde::{Deserialize, Serialize};

/// Model probability below which a test counts as an excess.
const EXCESS_P: f64 = 0.05;

/// Pseudo-observations: excesses of scale 1, and tests of which the nominal fraction exceeds.
const PRIOR_EXCESSES: f64 = 20.0;
const PRIOR_TESTS: f64 = 100.0;

/// What is known of the tail of one kind's scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tail {
    tests: f64,
    excesses: f64,
    excess_sum: f64,
}

/// A tail at one moment, ready to judge.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Calibration {
    ln_fraction: f64,
    scale: f64,
}

impl Tail {
    /// Forgets by `factor`, and counts tests.
    pub(crate) fn pass(&mut self, factor: f64, tests: f64) {
        self.tests = self.tests * factor + tests;
        self.excesses *= factor;
        self.excess_sum *= factor;
    }

    /// Learns one excess.
    pub(crate) fn learn(&mut self, excess: f64) {
        self.excesses += 1.0;
        self.excess_sum += excess;
    }

    pub(crate) fn calibration(&self) -> Calibration {
        let seen = PRIOR_EXCESSES + self.excesses;
        let scale = (PRIOR_EXCESSES + self.excess_sum) / seen * (1.0 + 2.0 / seen.sqrt());
        let prior = EXCESS_P * PRIOR_TESTS + self.excesses;
        let fraction = (prior + 2.0 * prior.sqrt()) / (PRIOR_TESTS + self.tests).max(1.0);
        Calibration { ln_fraction: fraction.clamp(EXCESS_P, 1.0).ln(), scale: scale.max(1.0) }
    }
}

impl Calibration {
    /// The excess of a score, given as ln p; `None` if it is not rare enough to have one.
    pub(crate) fn excess(ln_p: f64) -> Option<f64> {
        let excess = EXCESS_P.ln() - ln_p;
        (excess > 0.0).then_some(excess)
    }

    /// ln of the calibrated probability of an excess.
    pub(crate) fn ln_p(&self, excess: f64) -> f64 {
        self.ln_fraction - excess / self.scale
    }

    /// The excess at which the calibrated probability is exp(`ln_alpha`).
    pub(crate) fn excess_at(&self, ln_alpha: f64) -> f64 {
        ((self.ln_fraction - ln_alpha) * self.scale).max(0.0)
    }

    /// The model's ln p at an excess.
    pub(crate) fn model_ln_p(excess: f64) -> f64 {
        EXCESS_P.ln() - excess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_model_is_believed_and_a_light_one_is_not() {
        let mut right = Tail::default();
        let mut light = Tail::default();
        for i in 0..5_000 {
            // Quantiles of the exponential distribution stand for a sample of it.
            let excess = -((f64::from(i) + 0.5) / 5_000.0).ln();
            right.learn(excess);
            light.learn(4.0 * excess);
        }
        right.pass(1.0, 100_000.0);
        light.pass(1.0, 100_000.0);
        let excess = 10.0;
        assert!((right.calibration().ln_p(excess) - (0.05f64.ln() - excess)).abs() < 0.5);
        assert!((light.calibration().ln_p(excess) - (0.05f64.ln() - excess / 4.0)).abs() < 0.5);
    }

    #[test]
    fn without_history_it_is_careful_but_not_blind() {
        let calibration = Tail::default().calibration();
        let ln_p = calibration.ln_p(100.0);
        assert!(ln_p > 0.05f64.ln() - 100.0 && ln_p < -60.0);
        let excess = calibration.excess_at(ln_p);
        assert!((excess - 100.0).abs() < 1e-9);
    }
}
