//! Until when a lane's rows may claim to be, and from which of its records on that holds.
//!
//! Where no carrier gives times, a row of the year 9998 is told from a good one by the wall clock alone. Whoever has a
//! clock says so from time to time ([`super::Engine::believe`]); what was said stays with the lane, by the offset of the
//! first record that it is for, so that a record is judged alike however often it is read.
//!
//! Not here: the judging (`events::clock`), and the clock (`run/lanes.rs`).

use std::collections::BTreeMap;

use palisade_events::facts::{Decision, DecisionKind};
use palisade_events::time::{Micros, format_rfc3339, parse_rfc3339};
use serde::{Deserialize, Serialize};

use super::LaneKey;

/// Rows are believed until a moment, from a record on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Belief {
    /// Offset of the first record.
    pub from: i64,
    /// The last moment that is believed.
    pub until: Micros,
}

impl Belief {
    /// The words of the decision that records it.
    pub(super) fn words(self) -> String {
        format_rfc3339(self.until)
    }

    /// Reads beliefs, in the order in which they were recorded, out of decisions of any kind.
    pub fn recorded(decisions: &[Decision]) -> Vec<(LaneKey, Belief)> {
        let read = |decision: &Decision| {
            let lanes: BTreeMap<LaneKey, i64> = serde_json::from_str(&decision.lanes).ok()?;
            let until = parse_rfc3339(&decision.detail)?;
            Some(lanes.into_iter().map(move |(key, from)| (key, Belief { from, until })))
        };
        decisions.iter().filter(|decision| decision.kind == DecisionKind::Believe).filter_map(read).flatten().collect()
    }
}

/// The beliefs of one lane that records still to be read may need, in the order of their records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Beliefs(Vec<Belief>);

impl Beliefs {
    /// Adds what holds from a record on, whatever was said of it before.
    pub(super) fn add(&mut self, belief: Belief) {
        self.0.retain(|known| known.from < belief.from);
        self.0.push(belief);
    }

    /// Until when a record is believed, if that was ever said. Records before it are not asked for again.
    pub(super) fn at(&mut self, offset: i64) -> Option<Micros> {
        let past = self.0.partition_point(|belief| belief.from <= offset);
        self.0.drain(..past.saturating_sub(1));
        self.0.first().filter(|belief| belief.from <= offset).map(|belief| belief.until)
    }

    /// The first record after `offset` for which something else holds.
    pub(super) fn changes_after(&self, offset: i64) -> Option<i64> {
        self.0.iter().map(|belief| belief.from).find(|from| *from > offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beliefs(all: &[(i64, Micros)]) -> Beliefs {
        let mut beliefs = Beliefs::default();
        all.iter().for_each(|(from, until)| beliefs.add(Belief { from: *from, until: *until }));
        beliefs
    }

    #[test]
    fn a_record_is_believed_until_what_was_said_of_it_last() {
        for (said, offset, until, changes) in [
            (&[][..], 0, None, None),
            (&[(0, 7)], 0, Some(7), None),
            (&[(5, 7)], 4, None, Some(5)),
            (&[(0, 7), (5, 9)], 4, Some(7), Some(5)),
            (&[(0, 7), (5, 9)], 5, Some(9), None),
            // Said again of the same record, or of an earlier one: what was said before of it no longer holds.
            (&[(0, 7), (5, 9), (5, 8)], 6, Some(8), None),
            (&[(0, 7), (5, 9), (3, 8)], 6, Some(8), None),
        ] {
            let mut beliefs = beliefs(said);
            assert_eq!((beliefs.at(offset), beliefs.changes_after(offset)), (until, changes), "{said:?} at {offset}");
        }
        let mut beliefs = beliefs(&[(0, 7), (5, 9), (8, 11)]);
        assert_eq!((beliefs.at(6), beliefs.0.len()), (Some(9), 2), "what is past is forgotten");
    }

    #[test]
    fn beliefs_read_back_from_their_decisions() {
        let decision = |kind, lanes: &str, detail: &str| Decision {
            job: "j".into(),
            cut: 1,
            index: 0,
            kind,
            pane_end: 0,
            lanes: lanes.into(),
            fingerprint: String::new(),
            detail: detail.into(),
        };
        let belief = Belief { from: 12, until: 1_772_409_600_000_001 };
        let decisions = [
            decision(DecisionKind::Join, r#"{"s/file/ab/0":3}"#, "s/file/ab/0"),
            decision(DecisionKind::Believe, r#"{"s/file/ab/0":12}"#, &belief.words()),
            decision(DecisionKind::Believe, "damaged", "damaged"),
        ];
        assert_eq!(Belief::recorded(&decisions), [("s/file/ab/0".to_owned(), belief)]);
    }
}
