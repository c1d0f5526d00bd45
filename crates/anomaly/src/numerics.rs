//! Tail probabilities in log space: down to 1e-300 and below, for counts up to 1e12.
//!
//! Not here: which probabilities are worth an alert.

use statrs::function::gamma::ln_gamma;

/// Smallest overdispersion 1/size that [`ln_tail`] uses. Below it the negative binomial is a Poisson distribution to
/// within rounding, and log-gamma differences of huge sizes would lose digits.
const DISPERSION_MIN: f64 = 1e-6;

/// Upper bound on steps of the continued fraction. It converges in the order of the square root of the count.
const STEPS_MAX: usize = 100_000;

/// The negative binomial distribution by mean and dispersion: variance = mean + dispersion · mean².
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Counts {
    /// Expected count.
    pub(crate) mean: f64,
    /// One over the size parameter; 0 is Poisson.
    pub(crate) dispersion: f64,
}

impl Counts {
    /// ln P(X ≥ x).
    ///
    /// P(X ≥ x) = I_θ(x, r), the regularised incomplete beta function, with r = 1/dispersion and θ = mean/(mean + r)
    /// (Abramowitz and Stegun 26.5.26).
    pub(crate) fn ln_tail(self, x: u64) -> f64 {
        if x == 0 {
            return 0.0;
        }
        if self.mean <= 0.0 || !self.mean.is_finite() {
            return if self.mean.is_nan() || self.mean > 0.0 { 0.0 } else { f64::NEG_INFINITY };
        }
        let size = 1.0 / self.dispersion.max(DISPERSION_MIN);
        let theta = self.mean / (self.mean + size);
        ln_beta_inc(x as f64, size, theta, size / (self.mean + size))
    }

    /// The largest count with P(X ≥ count) ≥ `exp(ln_p)`: what would just not be rarer than that.
    pub(crate) fn limit(self, ln_p: f64) -> u64 {
        let mut high = (self.mean.max(1.0) as u64).saturating_mul(2).max(4);
        while self.ln_tail(high) >= ln_p && high < u64::MAX / 4 {
            high = high.saturating_mul(2);
        }
        let mut low = 0;
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.ln_tail(middle) >= ln_p { low = middle } else { high = middle }
        }
        low
    }
}

/// ln I_x(a, b), with `y` = 1 − x given by the caller, who knows it without cancellation.
fn ln_beta_inc(a: f64, b: f64, x: f64, y: f64) -> f64 {
    let front = ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * y.ln();
    if x < (a + 1.0) / (a + b + 2.0) {
        (front - a.ln() + fraction(a, b, x).ln()).min(0.0)
    } else {
        let below = (front - b.ln() + fraction(b, a, y).ln()).exp();
        (-below.clamp(0.0, 1.0)).ln_1p()
    }
}

/// The continued fraction of the incomplete beta function, by the modified Lentz method (Press et al., Numerical
/// Recipes, 6.4).
fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |v: f64| if v.abs() < TINY { TINY } else { v };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for step in 1..=STEPS_MAX {
        let m = step as f64;
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / away(1.0 + even * d);
        c = away(1.0 + even / c);
        h *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / away(1.0 + odd * d);
        c = away(1.0 + odd / c);
        h *= d * c;
        if (d * c - 1.0).abs() < 1e-14 {
            break;
        }
    }
    h
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(actual: f64, expected: f64, relative: f64) {
        assert!((actual - expected).abs() <= relative * expected.abs().max(1e-12), "{actual} is not {expected}");
    }

    /// Sums the probability function term by term: slow and independent of the continued fraction.
    fn summed(counts: Counts, x: u64) -> f64 {
        let (size, mean) = (1.0 / counts.dispersion, counts.mean);
        let mut term = (ln_gamma(x as f64 + size) - ln_gamma(size) - ln_gamma(x as f64 + 1.0)
            + x as f64 * (mean / (mean + size)).ln()
            + size * (size / (mean + size)).ln())
        .exp();
        let (mut sum, mut k) = (0.0, x as f64);
        for _ in 0..200_000 {
            sum += term;
            term *= (k + size) / (k + 1.0) * mean / (mean + size);
            k += 1.0;
        }
        sum.ln()
    }

    #[test]
    fn tails_equal_known_values() {
        // Geometric (size 1): P(X ≥ x) = θ^x exactly, also far out.
        for (x, mean) in [(1u64, 1.0f64), (10, 1.0), (1000, 1.0), (5, 0.01), (200, 30.0)] {
            let theta: f64 = mean / (mean + 1.0);
            close(Counts { mean, dispersion: 1.0 }.ln_tail(x), x as f64 * theta.ln(), 1e-10);
        }
        // Poisson(3): P(X ≥ 10) = 0.0011024881301, P(X ≥ 1) = 1 − e⁻³.
        let poisson = Counts { mean: 3.0, dispersion: 0.0 };
        close(poisson.ln_tail(10).exp(), 0.001_102_488, 1e-3);
        close(poisson.ln_tail(1).exp(), 1.0 - (-3.0f64).exp(), 1e-5);
        assert_eq!(poisson.ln_tail(0), 0.0);
    }

    #[test]
    fn tails_equal_term_by_term_sums() {
        for mean in [0.01, 0.5, 3.0, 80.0, 2000.0] {
            for dispersion in [1e-4, 0.05, 1.0, 30.0] {
                for x in [1u64, 2, 9, 100, 2500] {
                    let counts = Counts { mean, dispersion };
                    if mean * dispersion > 3_000.0 {
                        continue; // The sum would need more terms than are summed.
                    }
                    let sum = summed(counts, x);
                    if sum.is_finite() && sum > -600.0 {
                        assert!((counts.ln_tail(x) - sum).abs() < 1e-6 * (1.0 + sum.abs()), "{counts:?} {x}");
                    }
                }
            }
        }
    }

    #[test]
    fn tails_stay_finite_and_fall_with_the_count() {
        for mean in [1e-9, 0.3, 50.0, 1e6, 1e9] {
            for dispersion in [0.0, 1e-3, 1.0, 1e4] {
                let counts = Counts { mean, dispersion };
                let mut before = 0.0;
                for x in [0u64, 1, 3, 1_000, 1_000_000, 1_000_000_000, 1_000_000_000_000] {
                    let now = counts.ln_tail(x);
                    assert!(
                        !now.is_nan() && now <= 0.0 && now <= before + 1e-6,
                        "{counts:?} {x}: {now} after {before}"
                    );
                    before = now;
                }
            }
        }
        assert_eq!(Counts { mean: 0.0, dispersion: 1.0 }.ln_tail(1), f64::NEG_INFINITY);
        assert_eq!(Counts { mean: f64::NAN, dispersion: 1.0 }.ln_tail(1), 0.0);
    }

    #[test]
    fn limit_is_the_last_count_that_is_common_enough() {
        let counts = Counts { mean: 3.0, dispersion: 0.2 };
        for p in [0.05f64, 1e-6, 1e-30] {
            let limit = counts.limit(p.ln());
            assert!(counts.ln_tail(limit) >= p.ln() && counts.ln_tail(limit + 1) < p.ln());
        }
        assert_eq!(Counts { mean: 0.0, dispersion: 1.0 }.limit(-3.0), 0);
    }
}
