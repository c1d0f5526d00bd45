//! Whatever the literals and wherever they stand, a scan finds those that a search one by one finds.

use proptest::prelude::*;

use super::*;

fn found(literals: &[String], text: &str, counts: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut draft = ScanDraft::default();
    for (atom, literal) in (0u32..).zip(literals) {
        draft.add(literal, atom);
    }
    let Some(scan) = draft.compile() else { return Vec::new() };
    let mut hits = Hits::default();
    hits.begin(literals.len());
    scan.hits_where(text.as_bytes(), counts, &mut hits);
    let mut found = hits.atoms.clone();
    found.sort_unstable();
    found
}

fn expected(literals: &[String], text: &str) -> Vec<u32> {
    (0u32..).zip(literals).filter(|(_, literal)| text.contains(literal.as_str())).map(|(atom, _)| atom).collect()
}

#[test]
fn literals_of_every_length_are_found_where_they_stand() {
    let literals = ["", "a", "-t", "-en", "-enc", "encoded", "encodedcommand", "é", "日本語", "dcom", " -enc "];
    let literals = literals.map(str::to_owned);
    for text in ["", "a", "-", "-t", "x-enc", "-encodedcommand", "é", "日本語 -t", "x -enc y", "ncodedcomman", "日本"]
    {
        assert_eq!(found(&literals, text, |_| true), expected(&literals, text), "{text}");
    }
}

#[test]
fn short_literals_are_found_in_long_texts_however_often_one_stands_there() {
    let literals = ["aaa", "dir", "ab", "abcd", "drop", "directory"].map(str::to_owned);
    for often in [0, 1, FEW_PLACES - 1, FEW_PLACES, 3 * FEW_PLACES, 400] {
        for (before, after) in [("x", ""), ("drop", "abcd"), ("x", "director"), ("director", "y")] {
            let text = format!("{before}{}{after}{}", "-dir".repeat(often), "z".repeat(FEW_FROM));
            assert_eq!(
                found(&literals, &text, |_| true),
                expected(&literals, &text),
                "{often} times, {before}, {after}"
            );
        }
    }
    let hostile = "a".repeat(5_000);
    assert_eq!(found(&literals, &hostile, |_| true), [0]);
}

#[test]
fn places_that_do_not_count_are_passed_over_and_later_ones_are_not() {
    let literals = ["dir", "format", "username", "a longer literal"].map(str::to_owned);
    for padding in [0, FEW_FROM] {
        for literal in &literals {
            let text = format!("{literal} {literal}{}", "-".repeat(padding));
            let (first, second) = (literal.len(), 2 * literal.len() + 1);
            for (counting, is_found) in [(first, true), (second, true), (first + 1, false)] {
                let found = found(&literals, &text, |end| end == counting);
                assert_eq!(!found.is_empty(), is_found, "{literal} at {counting} of {text}");
            }
        }
    }
}

proptest! {
    #[test]
    fn random_literals_are_found_as_one_by_one(
        literals in prop::collection::vec("[ab/é]{1,5}|[a-d ]{6,24}", 1..60),
        parts in prop::collection::vec((any::<prop::sample::Index>(), "[abcd/é ]{0,9}"), 0..60),
        cut in any::<prop::sample::Index>(),
    ) {
        // Whole literals, and what is left of the last.
        let mut text: String =
            parts.iter().map(|(index, between)| format!("{}{between}", index.get(&literals))).collect();
        let last: &String = cut.get(&literals);
        text.push_str(last);
        text.pop();
        prop_assert_eq!(found(&literals, &text, |_| true), expected(&literals, &text), "{}", text);
    }
}
