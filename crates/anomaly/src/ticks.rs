//! The clock that detectors learn by: it counts observed panes, so that silence of the whole stream and panes known to
//! be lossy teach nothing.
//!
//! Not here: event time itself; which panes close, and when, is the run loop's.

use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::{DAY, Micros};
use serde::{Deserialize, Serialize};

/// Counts panes that were observed completely.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ticks {
    length: Micros,
    last_start: Option<Micros>,
    observed: u64,
}

/// Where a pane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tick {
    /// Observed panes before this one.
    pub(crate) before: u64,
    /// Ticks that passed since the last call, this pane included if it counts.
    pub(crate) passed: u64,
    /// Whether this pane may be learnt from.
    pub(crate) learn: Learn,
    /// The length of panes changed: everything learnt so far is about something else.
    pub(crate) restarted: bool,
}

/// Whether a pane may be learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learn {
    Yes,
    No,
}

impl Ticks {
    /// Moves on to a pane. Panes in between that were never announced held no event of anyone: up to `gap_panes_max` of
    /// them count as observed zeros, more count as a gap about which nothing is known. A lossy pane, whether it holds
    /// something or not, is neither: it divides a silence in two and counts for nothing itself.
    pub(crate) fn advance(&mut self, pane: Pane, coverage: PaneCoverage, gap_panes_max: u64) -> Tick {
        let length = (pane.end - pane.start).max(1);
        let restarted = self.last_start.is_some() && length != self.length;
        if restarted {
            *self = Self::default();
        }
        let between = self.last_start.map_or(0, |last| ((pane.start - last) / length - 1).max(0) as u64);
        let before = self.observed + if between <= gap_panes_max { between } else { 0 };
        let learn = if coverage == PaneCoverage::Complete { Learn::Yes } else { Learn::No };
        let after = before + u64::from(learn == Learn::Yes);
        let passed = after - self.observed;
        *self = Self { length, last_start: Some(pane.start), observed: after };
        Tick { before, passed, learn, restarted }
    }

    /// Panes observed so far.
    pub(crate) fn observed(&self) -> u64 {
        self.observed
    }

    /// Panes in a day.
    pub(crate) fn per_day(&self) -> f64 {
        DAY as f64 / self.length.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_lossy_panes_do_not_tick() {
        let mut ticks = Ticks::default();
        let mut at = |start: i64, coverage| {
            let tick = ticks.advance(Pane { start, end: start + 10 }, coverage, 5);
            (tick.before, tick.passed)
        };
        assert_eq!(at(100, PaneCoverage::Complete), (0, 1));
        assert_eq!(at(110, PaneCoverage::Complete), (1, 1));
        assert_eq!(at(140, PaneCoverage::Complete), (4, 3), "two empty panes are zeros");
        assert_eq!(at(150, PaneCoverage::Lossy), (5, 0));
        assert_eq!(at(160, PaneCoverage::Complete), (5, 1));
        assert_eq!(at(10_000, PaneCoverage::Complete), (6, 1), "a long gap is no observation");
    }

    #[test]
    fn a_lost_stretch_is_not_a_silence() {
        let (mut told, mut untold) = (Ticks::default(), Ticks::default());
        let pane = |start: i64| Pane { start, end: start + 10 };
        for ticks in [&mut told, &mut untold] {
            ticks.advance(pane(0), PaneCoverage::Complete, 5);
        }
        for start in [10, 20, 30] {
            assert_eq!(told.advance(pane(start), PaneCoverage::Lossy, 5).passed, 0);
        }
        // One quiet pane after the loss, then data again.
        assert_eq!(told.advance(pane(50), PaneCoverage::Complete, 5).before, 2);
        assert_eq!(untold.advance(pane(50), PaneCoverage::Complete, 5).before, 5, "four zeros, for want of the news");
        assert_eq!(told.observed(), 3);
    }

    #[test]
    fn another_pane_length_starts_anew() {
        let mut ticks = Ticks::default();
        ticks.advance(Pane { start: 0, end: 10 }, PaneCoverage::Complete, 5);
        assert!(ticks.advance(Pane { start: 60, end: 120 }, PaneCoverage::Complete, 5).restarted);
    }
}
