//! What is normal for one entity: a gamma–Poisson model that forgets, and the overdispersion it has shown.
//!
//! With x₁, x₂, … the counts per observed pane and w = 1 − 1/memory the forgetting factor,
//!
//! ```text
//! a = a₀ + Σ wᵗ⁻ⁱ xᵢ        b = b₀ + Σ wᵗ⁻ⁱ        mean m = a / b
//! ```
//!
//! is the posterior of a Poisson rate under a Gamma(a₀, b₀) prior with exponential forgetting towards that prior
//! (Gamerman, dos Santos and Franco, "A non-Gaussian family of state-space models", J. Time Series Analysis 34, 2013;
//! forgetting towards the prior as in Kulhavý and Zarrop, Int. J. Control 58, 1993). Its predictive distribution is
//! negative binomial with mean m and dispersion 1/a. Real counts vary more than Poisson, so the dispersion used is
//! 1/a + κ, where κ is estimated by moments over a longer memory (Σ with weights v, N = Σ v):
//!
//! ```text
//! κ̂ = max(0, (s² − m̂) / m̂²),  m̂ = S₁/N,  s² = (S₂/N − m̂²) · N/(N − 1)
//! κ = (n₀ κ₀ + N κ̂)/(n₀ + N) + √2 (κ̂ + 1/m̂)/√(n₀ + N)
//! ```
//!
//! The last term is one standard error of a moment estimate: a young baseline is believed less. A pane without events
//! is an observation of zero; n of them are applied at once, since Σ only shrinks by wⁿ.

use palisade_events::time::Micros;
use serde::{Deserialize, Serialize};

use crate::numerics::Counts;
use crate::store::Seen;

/// Prior shape and rate: half an event a pane, worth one pane of observation.
const PRIOR_SHAPE: f64 = 0.5;
const PRIOR_RATE: f64 = 1.0;

/// Prior dispersion κ₀ (standard deviation half the mean), worth n₀ panes.
const PRIOR_DISPERSION: f64 = 0.25;
const PRIOR_DISPERSION_PANES: f64 = 10.0;

/// How fast baselines forget.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Forgetting {
    /// Factor per pane for the rate.
    pub(crate) rate: f64,
    /// Factor per pane for the dispersion.
    pub(crate) dispersion: f64,
}

/// What is normal for one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Baseline {
    events: f64,
    panes: f64,
    count_sum: f64,
    square_sum: f64,
    weight: f64,
    /// Tick of the first observation.
    born: u64,
    /// Ticks learnt so far.
    pub(crate) tick: u64,
    /// Events seen in all learnt panes.
    pub(crate) total: u64,
    pub(crate) seen: Micros,
    /// Enough history to be judged by.
    pub(crate) warm: bool,
    pub(crate) run: Run,
    /// End of the pane in which a new level was adopted.
    pub(crate) level_since: Option<Micros>,
    /// Tick from which silence is a finding.
    pub(crate) silent_at: Option<u64>,
}

/// Consecutive anomalous panes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) panes: u32,
    sum: f64,
    square_sum: f64,
    /// Largest count that a finding told of.
    pub(crate) told: u64,
}

impl Run {
    /// Whether a count is worth telling after what was told of this run; if so, it is told now.
    pub(crate) fn tells(&mut self, count: u64) -> bool {
        let tells = self.told == 0 || count >= self.told.saturating_mul(2);
        if tells {
            self.told = count;
        }
        tells
    }
}

impl Seen for Baseline {
    fn seen(&self) -> Micros {
        self.seen
    }
}

impl Baseline {
    /// Knows nothing; its first observation is the next tick.
    pub(crate) fn new(tick: u64, seen: Micros) -> Self {
        Self {
            events: 0.0,
            panes: 0.0,
            count_sum: 0.0,
            square_sum: 0.0,
            weight: 0.0,
            born: tick,
            tick,
            total: 0,
            seen,
            warm: false,
            run: Run::default(),
            level_since: None,
            silent_at: None,
        }
    }

    /// Applies panes without events up to `tick`.
    pub(crate) fn catch_up(&mut self, tick: u64, forgetting: Forgetting) {
        let zeros = tick.saturating_sub(self.tick);
        if zeros == 0 {
            return;
        }
        let (rate, dispersion) = (forgetting.rate.powf(zeros as f64), forgetting.dispersion.powf(zeros as f64));
        self.events *= rate;
        self.panes = rate * self.panes + (1.0 - rate) / (1.0 - forgetting.rate);
        self.count_sum *= dispersion;
        self.square_sum *= dispersion;
        self.weight = dispersion * self.weight + (1.0 - dispersion) / (1.0 - forgetting.dispersion);
        self.tick = tick;
        self.run = Run::default();
    }

    /// Learns the count of the next pane.
    pub(crate) fn learn(&mut self, count: u64, forgetting: Forgetting) {
        let x = count as f64;
        self.events = forgetting.rate * self.events + x;
        self.panes = forgetting.rate * self.panes + 1.0;
        self.count_sum = forgetting.dispersion * self.count_sum + x;
        self.square_sum = forgetting.dispersion * self.square_sum + x * x;
        self.weight = forgetting.dispersion * self.weight + 1.0;
        self.tick += 1;
        self.total = self.total.saturating_add(count);
    }

    /// Adds a pane to the run of anomalous ones.
    pub(crate) fn extend_run(&mut self, count: u64) {
        let x = count as f64;
        self.run.panes += 1;
        self.run.sum += x;
        self.run.square_sum += x * x;
    }

    /// Takes the run of anomalous panes for the new normal, forgetting what was before.
    pub(crate) fn adopt_run(&mut self, seen: Micros) {
        let run = std::mem::take(&mut self.run);
        self.events = run.sum;
        self.panes = f64::from(run.panes);
        self.count_sum = run.sum;
        self.square_sum = run.square_sum;
        self.weight = f64::from(run.panes);
        self.level_since = Some(seen);
    }

    /// The predictive distribution of the next pane's count.
    pub(crate) fn predict(&self) -> Counts {
        let shape = PRIOR_SHAPE + self.events;
        Counts { mean: shape / (PRIOR_RATE + self.panes), dispersion: 1.0 / shape + self.dispersion() }
    }

    fn dispersion(&self) -> f64 {
        let mean = if self.weight > 0.0 { self.count_sum / self.weight } else { 0.0 };
        let panes = PRIOR_DISPERSION_PANES + self.weight;
        // Fewer than about two panes, or next to no events, tell nothing of dispersion.
        if self.weight <= 1.5 || mean < 1e-9 {
            return PRIOR_DISPERSION + std::f64::consts::SQRT_2 / panes.sqrt();
        }
        let variance = (self.square_sum / self.weight - mean * mean).max(0.0) * self.weight / (self.weight - 1.0);
        let moment = ((variance - mean) / (mean * mean)).max(0.0);
        let shrunk = (PRIOR_DISPERSION_PANES * PRIOR_DISPERSION + self.weight * moment) / panes;
        shrunk + std::f64::consts::SQRT_2 * (moment + 1.0 / mean) / panes.sqrt()
    }

    /// Panes that it was observed over.
    pub(crate) fn age(&self) -> u64 {
        self.tick - self.born
    }

    /// How many panes the rate rests on, after forgetting.
    pub(crate) fn memory(&self) -> f64 {
        self.panes
    }

    /// The first tick at which having seen nothing since now is rarer than `alpha`. Both the doubt about the rate,
    /// (b/(b + n))ᵃ, and the dispersion of single panes, (1 + κm)^(−n/κ), must allow it.
    pub(crate) fn silence_tick(&self, alpha: f64) -> Option<u64> {
        if !(alpha > 0.0 && alpha < 1.0) {
            return None;
        }
        let (shape, rate) = (PRIOR_SHAPE + self.events, PRIOR_RATE + self.panes);
        let by_rate = rate * ((-alpha.ln() / shape).exp() - 1.0);
        let kappa = self.dispersion().max(1e-9);
        let by_pane = -alpha.ln() * kappa / (kappa * shape / rate).ln_1p();
        let panes = by_rate.max(by_pane).ceil();
        (panes.is_finite() && panes < 1e15).then(|| self.tick + panes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORGETTING: Forgetting = Forgetting { rate: 1.0 - 1.0 / 50.0, dispersion: 1.0 - 1.0 / 500.0 };

    #[test]
    fn zero_panes_at_once_equal_zero_panes_one_by_one() {
        for zeros in [1u64, 2, 17, 1000] {
            let mut at_once = Baseline::new(0, 0);
            for count in [3, 0, 8, 1] {
                at_once.learn(count, FORGETTING);
            }
            let mut stepwise = at_once.clone();
            at_once.catch_up(at_once.tick + zeros, FORGETTING);
            for _ in 0..zeros {
                stepwise.learn(0, FORGETTING);
            }
            let (a, b) = (at_once.predict(), stepwise.predict());
            assert!((a.mean - b.mean).abs() < 1e-12 && (a.dispersion / b.dispersion - 1.0).abs() < 1e-9, "{zeros}");
            assert_eq!(at_once.tick, stepwise.tick);
        }
    }

    #[test]
    fn forgetting_goes_back_to_the_prior_and_never_to_certainty() {
        let mut baseline = Baseline::new(0, 0);
        baseline.learn(1_000, FORGETTING);
        baseline.catch_up(1_000_000_000, FORGETTING);
        let counts = baseline.predict();
        assert!((counts.mean - PRIOR_SHAPE / (PRIOR_RATE + 50.0)).abs() < 1e-9);
        assert!(counts.dispersion.is_finite() && counts.ln_tail(1) > -10.0);
    }

    #[test]
    fn constant_series_and_empty_baselines_have_finite_predictions() {
        let empty = Baseline::new(0, 0).predict();
        assert!(empty.mean.is_finite() && empty.dispersion.is_finite());
        let mut constant = Baseline::new(0, 0);
        for _ in 0..500 {
            constant.learn(7, FORGETTING);
        }
        let counts = constant.predict();
        assert!((counts.mean - 7.0).abs() < 0.2 && counts.dispersion > 0.0 && counts.dispersion < 0.2);
    }

    #[test]
    fn dispersion_of_a_bursty_series_is_found() {
        let mut baseline = Baseline::new(0, 0);
        for pane in 0..3000u64 {
            // Mean 2, variance 2·18 + …: ten times what a Poisson count would vary by.
            baseline.learn(if pane % 10 == 0 { 20 } else { 0 }, FORGETTING);
        }
        assert!(baseline.predict().dispersion > 7.0);
    }
}
