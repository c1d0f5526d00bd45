//! How the values of two fields relate, and whether any value of one does so to any of the other.
//!
//! An event decides how many values there are, so that looking at every pair is for few of them only.

use std::cmp::Ordering;

use ahash::HashSet;
use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// Up to so many pairs are looked at one by one, which costs less than to arrange the values first.
const PAIRS_MAX: usize = 64;

/// Most bytes of text that one automaton looks for: it takes some dozen times as much memory.
const AUTOMATON_BYTES_MAX: usize = 1 << 18;

/// How the values of two fields relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Relation {
    Equal,
    Contains,
    StartsWith,
    EndsWith,
}

impl Relation {
    /// Whether two texts, already folded if case does not count, stand in the relation.
    fn holds(self, left: &str, right: &str) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Contains => left.contains(right),
            Self::StartsWith => left.starts_with(right),
            Self::EndsWith => left.ends_with(right),
        }
    }

    /// Whether some text on the left stands in the relation to some text on the right, all of them folded if case does
    /// not count. The cost grows with their lengths together, not with the number of pairs.
    pub(crate) fn any<T: AsRef<str>>(self, left: &[T], right: &[T]) -> bool {
        if left.len().saturating_mul(right.len()) <= PAIRS_MAX {
            return left.iter().any(|l| right.iter().any(|r| self.holds(l.as_ref(), r.as_ref())));
        }
        let (mut left, right) = (left.iter().map(AsRef::as_ref), right.iter().map(AsRef::as_ref));
        match self {
            Self::Equal => {
                let right: HashSet<&str> = right.collect();
                left.any(|l| right.contains(l))
            }
            Self::StartsWith => any_begins(left, right, |a, b| a.bytes().cmp(b.bytes()), |l, r| l.starts_with(r)),
            Self::EndsWith => {
                any_begins(left, right, |a, b| a.bytes().rev().cmp(b.bytes().rev()), |l, r| l.ends_with(r))
            }
            Self::Contains => any_contains(left, right),
        }
    }
}

/// Whether some text on the left begins with some text on the right, where `order` compares texts from the side where they
/// begin.
fn any_begins<'t>(
    mut left: impl Iterator<Item = &'t str>,
    right: impl Iterator<Item = &'t str>,
    order: impl Fn(&str, &str) -> Ordering,
    begins: impl Fn(&str, &str) -> bool,
) -> bool {
    let mut right: Vec<&str> = right.collect();
    right.sort_unstable_by(|a, b| order(a, b));
    // What begins with another text adds nothing to it. Of the others, only the last that is not behind a text in the order
    // can be its beginning: between a text and its beginning there is nothing but what begins so too.
    right.dedup_by(|next, kept| begins(next, kept));
    left.any(|l| {
        let behind = right.partition_point(|r| order(r, l).is_le());
        behind.checked_sub(1).and_then(|last| right.get(last)).is_some_and(|r| begins(l, r))
    })
}

fn any_contains<'t>(left: impl Iterator<Item = &'t str> + Clone, right: impl Iterator<Item = &'t str>) -> bool {
    let right: HashSet<&str> = right.collect();
    let mut needles: Vec<&str> = Vec::with_capacity(right.len());
    needles.extend(right);
    let few = |needles: &[&str]| left.clone().any(|l| needles.iter().any(|r| l.contains(r)));
    let mut rest = needles.as_slice();
    while let Some(first) = rest.first() {
        let mut bytes = 0;
        let fits = |r: &&&str| {
            bytes += r.len();
            bytes <= AUTOMATON_BYTES_MAX
        };
        let (needles, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        rest = others;
        let found = match first.len() > AUTOMATON_BYTES_MAX {
            true => few(needles),
            // An automaton that is used once is not worth more work.
            false => match AhoCorasick::builder().kind(Some(AhoCorasickKind::NoncontiguousNFA)).build(needles) {
                Ok(automaton) => left.clone().any(|l| automaton.is_match(l)),
                Err(_) => few(needles),
            },
        };
        if found {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    const ALL: [Relation; 4] = [Relation::Equal, Relation::Contains, Relation::StartsWith, Relation::EndsWith];

    proptest! {
        #[test]
        fn any_means_that_some_pair_stands_in_the_relation(
            left in proptest::collection::vec("[abé]{0,5}", 0..30),
            right in proptest::collection::vec("[abé]{0,4}", 0..30),
            ends in any::<bool>(),
        ) {
            // Without short texts on the right, less is found.
            let right: Vec<String> = right.into_iter().filter(|r| ends || r.chars().count() > 2).collect();
            for relation in ALL {
                let expected = left.iter().any(|l| right.iter().any(|r| relation.holds(l, r)));
                prop_assert_eq!(relation.any(&left, &right), expected, "{:?}", relation);
            }
        }
    }

    #[test]
    fn long_texts_are_sought_too() {
        let long = |end: &str| "x".repeat(AUTOMATON_BYTES_MAX) + end;
        let left: Vec<String> = (0..8).map(|n| format!("{n}{}", long("yes"))).collect();
        let others: Vec<String> = (0..9).map(|n| format!("{}{n}", "x".repeat(AUTOMATON_BYTES_MAX / 4))).collect();
        for (end, holds) in [("yes", true), ("no", false)] {
            let right = [others.clone(), vec![long(end)], others.clone()].concat();
            assert_eq!(Relation::Contains.any(&left, &right), holds);
        }
        let right = [others.clone(), vec!["xy".into()]].concat();
        assert!(Relation::Contains.any(&left, &right) && !Relation::Contains.any(&left, &others));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a test bounds the time that its work takes")]
    fn many_values_do_not_cost_all_their_pairs() {
        // All pairs differ at their ends only, so that looking at each of them takes minutes.
        let count = 100_000;
        let texts = |side: &str| -> Vec<String> { (0..count).map(|n| format!("{side}{n:06}{side}")).collect() };
        let (left, right) = (texts("l"), texts("r"));
        let start = Instant::now();
        for relation in ALL {
            assert!(!relation.any(&left, &right), "{relation:?}");
            assert!(relation.any(&left, &[right.clone(), vec![left[count / 2].clone()]].concat()), "{relation:?}");
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    }
}
