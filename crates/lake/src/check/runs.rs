//! A set of numbers that mostly follow each other, as runs.

use std::collections::BTreeMap;

/// Runs of consecutive numbers: first to last, both inside.
#[derive(Debug, Default)]
pub(super) struct Runs(BTreeMap<i64, i64>);

impl Runs {
    pub(super) fn insert(&mut self, number: i64) {
        let before = self.0.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if before.is_some_and(|(_, last)| last >= number) {
            return;
        }
        let first = before.filter(|(_, last)| last + 1 == number).map_or(number, |(first, _)| first);
        let last = self.0.remove(&(number + 1)).unwrap_or(number);
        self.0.insert(first, last);
    }

    /// What lies between the runs: first to last, both missing.
    pub(super) fn gaps(&self) -> impl Iterator<Item = (i64, i64)> + '_ {
        self.0.values().zip(self.0.keys().skip(1)).map(|(last, next)| (last + 1, next - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn gaps_are_what_was_not_inserted(numbers in proptest::collection::btree_set(0i64..60, 1..50), seed in 0usize..50) {
            let mut order: Vec<i64> = numbers.iter().copied().collect();
            order.rotate_left(seed % numbers.len());
            let mut runs = Runs::default();
            order.iter().chain(&order).for_each(|number| runs.insert(*number));
            let found: Vec<i64> = runs.gaps().flat_map(|(first, last)| first..=last).collect();
            let (low, high) = (*numbers.first().unwrap(), *numbers.last().unwrap());
            let expected: Vec<i64> = (low..=high).filter(|number| !numbers.contains(number)).collect();
            proptest::prop_assert_eq!(found, expected);
        }
    }
}
