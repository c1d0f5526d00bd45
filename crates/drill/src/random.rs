//! Seeded random numbers, the same on every machine.
//!
//! Not here: anything cryptographic. What the numbers are used for is decided by the callers.

/// xoshiro256++ (D. Blackman, S. Vigna, "Scrambled Linear Pseudorandom Number Generators", 2021), seeded by SplitMix64.
///
/// Written here rather than taken from a crate, because a data set that must regenerate byte for byte cannot follow a
/// dependency's change of algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Random([u64; 4]);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        }))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// A number below `bound`; 0 if `bound` is 0. Its bias, below 2⁻³², is of no consequence here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from `low` up to, but without, `high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high.saturating_sub(low).max(1) as u64) as i64
    }

    /// Whether something that happens `one_in` times out of `of` happens.
    pub(crate) fn chance(&mut self, one_in: u64, of: u64) -> bool {
        self.below(of) < one_in
    }

    /// One of some items; there must be at least one.
    pub(crate) fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// An exponentially distributed number with mean 1, by inversion.
    pub(crate) fn exponential(&mut self) -> f64 {
        // 53 bits, moved off zero, so that the logarithm is finite.
        let uniform = ((self.next() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0;
        -ln(uniform)
    }
}

/// The natural logarithm from additions, multiplications and divisions alone: the platform's own may differ in its last
/// bit from machine to machine, and one bit moves every event that follows.
///
/// ln(m·2ᵉ) = e·ln 2 + 2·atanh((m − 1)/(m + 1)), with m in [1, 2) and the series cut where terms fall below 1e-10.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let mut power = t;
    let mut sum = 0.0;
    for odd in [1.0, 3.0, 5.0, 7.0, 9.0, 11.0, 13.0, 15.0, 17.0, 19.0] {
        sum += power / odd;
        power *= square;
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_published_algorithm() {
        // From the reference implementation in C, state {1, 2, 3, 4}.
        let mut random = Random([1, 2, 3, 4]);
        let expected = [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386];
        assert_eq!(std::array::from_fn(|_| random.next()), expected);
    }

    #[test]
    fn own_logarithm_agrees_with_the_platform() {
        for x in [1e-16, 1e-3, 0.1, 0.5, 0.75, 0.999_999, 1.0] {
            assert!((ln(x) - f64::ln(x)).abs() < 1e-9, "{x}");
        }
    }

    #[test]
    fn exponential_numbers_have_mean_one() {
        let mut random = Random::new(1);
        let mean = (0..100_000).map(|_| random.exponential()).sum::<f64>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }
}
