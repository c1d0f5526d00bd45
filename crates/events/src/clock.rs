//! A lane's event-time clock: which rows are late, and which lie too far in the future to be believed.
//!
//! Both are decided row by row from the lane's own earlier records, never per batch, so that batching, interleaving and
//! replay do not change them. The clock's state is part of a checkpoint.
//!
//! A row moves the clock to its event time, but never further than `skew_max` past its carrier's time. So a host whose
//! clock runs ahead does not hold its lane back: its rows are doubtful, and the lane's watermark goes on with the carrier.
//!
//! Where no carrier gives times, only whoever reads the lane knows what time it is: it says up to which moment rows may
//! claim to be ([`LaneClock::believe_until`]), and keeps what it said, so that a replay judges by the same moment. What lies
//! beyond is never believed, be it a lane's first row; what does not may follow after any quiet time.

use serde::{Deserialize, Serialize};

use crate::time::{Micros, SECOND};

/// How far event time may stray. All spans in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tolerance {
    /// A row further behind its lane than this is late.
    pub lateness: Micros,
    /// A row further ahead than this of its carrier's time is doubtful. Without a carrier's time, such a row moves the clock
    /// only once another one has borne it out.
    pub skew_max: Micros,
    /// Without a carrier's time, and where nobody says until when rows are believed: a row further ahead of its lane than this
    /// is doubtful. Less may be a time in which nothing happened, as in any file of a quiet machine.
    pub gap_max: Micros,
    /// So many rows in a row that are doubtful by `gap_max` are believed after all, because the lane itself jumped.
    pub believe_after: u32,
}

impl Default for Tolerance {
    fn default() -> Self {
        use crate::time::DAY;
        Self { lateness: 30 * SECOND, skew_max: 3600 * SECOND, gap_max: 35 * DAY, believe_after: 8 }
    }
}

/// Where nothing says what time it is: 2100-01-01T00:00:00Z. A row beyond is doubtful in any case.
const BELIEVED_UNTIL: Micros = 4_102_444_800 * SECOND;

/// The clock of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneClock {
    tolerance: Tolerance,
    /// What `max` was before the current record.
    max_before: Option<Micros>,
    /// Farthest that a row moved the clock, the current record included.
    max: Option<Micros>,
    /// More than one row, or a carrier, stands behind it. The word of a lane's first row alone moves no watermark.
    confirmed: bool,
    /// Consecutive doubtful rows without a carrier's time.
    doubtful: u32,
    /// Where rows without a carrier's time would move the clock that nothing has borne out yet: the smallest time of those
    /// that are doubtful, else that of the newest. None, if it is not ahead of the clock.
    ahead: Micros,
    /// Until when rows without a carrier's time are believed, as whoever reads the lane said. Part of no checkpoint: which
    /// records it holds for is known outside.
    #[serde(skip)]
    believed_until: Option<Micros>,
}

/// What the clock says of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Farthest that earlier records moved the lane's clock, stored with the row; left out where it must not make the row
    /// late, because nothing bore it out yet.
    pub max_before: Option<Micros>,
    /// Behind the lane's watermark.
    pub late: bool,
    /// Too far in the future: the row enters no pane.
    pub doubtful: bool,
}

impl LaneClock {
    /// A clock that has seen nothing.
    pub fn new(tolerance: Tolerance) -> Self {
        Self { tolerance, max_before: None, max: None, confirmed: false, doubtful: 0, ahead: 0, believed_until: None }
    }

    /// Says until when the rows that follow are believed, if they have no carrier's time; `None` if nobody knows. A clock out
    /// of a checkpoint has to be told again.
    pub fn believe_until(&mut self, until: Option<Micros>) {
        self.believed_until = until;
    }

    /// Begins the next record of the lane: what earlier records showed is now what rows are compared with.
    pub fn next_record(&mut self) {
        self.max_before = self.max;
    }

    /// Judges one row of the current record by its event time, and by the carrier's time if the record has one.
    ///
    /// What is stored of a row is enough to judge it again: it is late if and only if it is not doubtful, `max_before` is
    /// there, and its time is less than `max_before` less the lateness. The clock's other state is not needed, because a
    /// maximum that nothing bears out yet is not told to the rows before it.
    pub fn observe(&mut self, time: Micros, carrier: Option<Micros>) -> Moment {
        let max_before = self.max_before.filter(|_| self.confirmed);
        let bound = carrier.map(|carrier| carrier.saturating_add(self.tolerance.skew_max));
        let (doubtful, moves) = match bound {
            Some(bound) => (self.is_beyond(bound, time), true),
            // Nor do such rows say anything of those beside them.
            None if time > self.believed_until.unwrap_or(BELIEVED_UNTIL) => (true, false),
            None => self.judge_alone(time),
        };
        let watermark = max_before.map(|max| max.saturating_sub(self.tolerance.lateness));
        let late = !doubtful && watermark.is_some_and(|watermark| time < watermark);
        // A row that is not believed says at least that its carrier's time has come. More, up to the bound, would let one
        // wrong timestamp make the lane's ordinary rows late for as long as the skew that is allowed.
        let moves_to = if doubtful { carrier.map(|carrier| time.min(carrier)) } else { Some(time) };
        self.max = self.max.max(moves_to.filter(|_| moves));
        Moment { max_before, late, doubtful }
    }

    /// With a carrier's time there is no need to guess: its bound is what the clock is held to.
    fn is_beyond(&mut self, bound: Micros, time: Micros) -> bool {
        if !self.confirmed {
            // A first row without a carrier's time lies far ahead: it is the one to doubt.
            self.max = self.max.filter(|max| *max <= bound);
            self.max_before = self.max_before.filter(|max| *max <= bound);
            self.confirmed = true;
        }
        if time <= bound {
            self.doubtful = 0;
        }
        time > bound
    }

    /// Without a carrier's time: whether a row is doubtful, and whether it moves the clock.
    fn judge_alone(&mut self, time: Micros) -> (bool, bool) {
        let Tolerance { skew_max, gap_max, believe_after, .. } = self.tolerance;
        let Some(mut max) = self.max else { return (false, true) };
        let is_ahead = |ahead: Micros, max: Micros| ahead > max.saturating_add(skew_max);
        if self.doubtful == 0 && is_ahead(self.ahead, max) && time >= self.ahead.saturating_sub(skew_max) {
            // This row bears out the one that was ahead.
            max = self.ahead;
            (self.max, self.confirmed) = (Some(max), true);
        }
        if !is_ahead(time, max) {
            (self.doubtful, self.ahead) = (0, 0);
            if time >= max.saturating_sub(skew_max) {
                self.confirmed = true;
            } else if !self.confirmed {
                // The first row lies far ahead of this one: it is the one to doubt.
                (self.max, self.max_before) = (Some(time), None);
            }
            return (false, true);
        }
        if self.believed_until.is_some() || time <= max.saturating_add(gap_max) {
            (self.doubtful, self.ahead) = (0, time);
            return (false, false);
        }
        self.ahead = if self.doubtful == 0 { time } else { self.ahead.min(time) };
        self.doubtful += 1;
        if self.doubtful <= believe_after {
            return (true, false);
        }
        // The whole lane moved: believe it from here on. The rows before stay doubtful, as they were stored.
        (self.doubtful, self.confirmed) = (0, true);
        self.max = Some(max.max(self.ahead));
        (false, true)
    }

    /// How far event time may stray.
    pub fn tolerance(&self) -> Tolerance {
        self.tolerance
    }

    /// The same clock under another tolerance: the configuration changed between two runs.
    pub fn with_tolerance(self, tolerance: Tolerance) -> Self {
        Self { tolerance, ..self }
    }

    /// The lane promises no more on-time rows before this moment.
    pub fn watermark(&self) -> Option<Micros> {
        self.max.filter(|_| self.confirmed).map(|max| max.saturating_sub(self.tolerance.lateness))
    }

    /// Farthest that a row moved the clock so far: the largest event time, as far as it is believed.
    pub fn max(&self) -> Option<Micros> {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOLERANCE: Tolerance = Tolerance { lateness: 10, skew_max: 100, gap_max: 1000, believe_after: 2 };

    fn observe(clock: &mut LaneClock, time: Micros, carrier: Option<Micros>) -> (bool, bool) {
        clock.next_record();
        let moment = clock.observe(time, carrier);
        (moment.late, moment.doubtful)
    }

    #[test]
    fn lateness_is_the_lanes_own_and_per_row() {
        let mut clock = LaneClock::new(TOLERANCE);
        assert_eq!(observe(&mut clock, 100, None), (false, false));
        assert_eq!(observe(&mut clock, 90, None), (false, false));
        assert_eq!(observe(&mut clock, 89, None), (true, false));
        // Rows of one record are compared with earlier records only, so their order within it does not matter.
        clock.next_record();
        assert!(!clock.observe(150, None).late);
        assert!(!clock.observe(95, None).late);
        assert_eq!(clock.watermark(), Some(140));
    }

    #[test]
    fn one_row_from_the_future_does_not_kill_the_watermark() {
        let mut clock = LaneClock::new(TOLERANCE);
        observe(&mut clock, 100, None);
        assert_eq!(observe(&mut clock, 100_000, None), (false, true));
        assert_eq!(observe(&mut clock, 101, None), (false, false));
        assert_eq!(clock.watermark(), Some(91));
        assert_eq!(observe(&mut clock, 9_999, Some(110)), (false, true));
    }

    #[test]
    fn a_quiet_time_is_believed_and_moves_the_watermark_once_borne_out() {
        let mut clock = LaneClock::new(TOLERANCE);
        observe(&mut clock, 100, None);
        observe(&mut clock, 101, None);
        assert_eq!(observe(&mut clock, 700, None), (false, false));
        assert_eq!(clock.watermark(), Some(91), "one row could be wrong");
        assert_eq!(observe(&mut clock, 102, None), (false, false), "and then the lane goes on as before");
        assert_eq!(clock.watermark(), Some(92));
        assert_eq!(observe(&mut clock, 700, None), (false, false));
        assert_eq!(observe(&mut clock, 705, None), (false, false));
        assert_eq!(clock.watermark(), Some(695));
        // Rows that each come after a quiet time follow each other, one behind.
        for time in [1_200, 1_700, 2_200] {
            assert_eq!(observe(&mut clock, time, None), (false, false));
        }
        assert_eq!(clock.watermark(), Some(1_690));
        assert_eq!(observe(&mut clock, 9_000, None), (false, true), "too far for any quiet time");
    }

    #[test]
    fn a_first_row_from_the_future_does_not_either() {
        let mut clock = LaneClock::new(TOLERANCE);
        assert_eq!(observe(&mut clock, 100_000, None), (false, false));
        assert_eq!(clock.watermark(), None, "nothing bears it out");
        assert_eq!(observe(&mut clock, 100, None), (false, false), "nor is what follows late by it");
        assert_eq!(clock.watermark(), None);
        assert_eq!(observe(&mut clock, 105, None), (false, false));
        assert_eq!(clock.watermark(), Some(95));
        assert_eq!(observe(&mut clock, 100_000, None), (false, true));
    }

    #[test]
    fn what_lies_beyond_the_moment_that_is_believed_is_doubtful_from_the_first_row_on() {
        let far = BELIEVED_UNTIL + 1;
        // Until when rows are believed; their times; whether each is doubtful; the watermark at the end.
        for (until, times, doubts, watermark) in [
            (Some(5_000), vec![5_001], vec![true], None),
            (Some(5_000), vec![5_000, 4_990], vec![false, false], Some(4_990)),
            // However many agree: nothing beyond it bears out anything.
            (Some(5_000), vec![9_000; 5], vec![true; 5], None),
            (Some(5_000), vec![9_000, 100, 9_001, 105, 9_002], vec![true, false, true, false, true], Some(95)),
            // Any quiet time is believed below it, and moves the watermark once borne out.
            (Some(50_000), vec![100, 101, 40_000], vec![false; 3], Some(91)),
            (Some(50_000), vec![100, 101, 40_000, 40_005], vec![false; 4], Some(39_995)),
            (Some(50_000), vec![100, 101, 40_000, 102], vec![false; 4], Some(92)),
            (Some(50_000), vec![100, 40_000, 60_000, 40_001], vec![false, false, true, false], Some(39_991)),
            // Where nobody says what time it is, years of five digits and the like are out of question all the same.
            (None, vec![far, 100, 101], vec![true, false, false], Some(91)),
            (None, vec![far; 5], vec![true; 5], None),
            (None, vec![100, 40_000, 101], vec![false, true, false], Some(91)),
        ] {
            let mut clock = LaneClock::new(TOLERANCE);
            clock.believe_until(until);
            let found: Vec<bool> = times.iter().map(|time| observe(&mut clock, *time, None).1).collect();
            assert_eq!((found, clock.watermark()), (doubts, watermark), "{until:?} {times:?}");
        }
        // A carrier knows better.
        let mut clock = LaneClock::new(TOLERANCE);
        clock.believe_until(Some(50));
        assert_eq!(observe(&mut clock, 105, Some(100)), (false, false));
    }

    #[test]
    fn a_clock_is_stored_as_before_and_told_again_until_when_it_believes() {
        let mut clock = LaneClock::new(TOLERANCE);
        clock.believe_until(Some(5_000));
        observe(&mut clock, 100, None);
        let stored = serde_json::to_value(&clock).unwrap();
        let known = ["tolerance", "max_before", "max", "confirmed", "doubtful", "ahead"];
        assert!(stored.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{stored}");
        let mut again: LaneClock = serde_json::from_value(stored).unwrap();
        assert_ne!(again, clock);
        again.believe_until(Some(5_000));
        assert_eq!(again, clock);
    }

    #[test]
    fn future_row_with_broker_time_moves_the_watermark_to_that_time() {
        let mut clock = LaneClock::new(TOLERANCE);
        observe(&mut clock, 100, Some(100));
        assert_eq!(clock.watermark(), Some(90));
        assert_eq!(observe(&mut clock, 9_999, Some(110)), (false, true), "the row itself stays doubtful");
        assert_eq!(clock.watermark(), Some(100), "110 less 10 of lateness");
        assert_eq!(observe(&mut clock, 111, Some(111)), (false, false), "and ordinary rows are not late by it");
        assert_eq!(observe(&mut clock, 10_500, Some(150)), (false, true));
        assert_eq!(clock.watermark(), Some(140), "a host that always runs ahead does not freeze its lane");
        assert_eq!(observe(&mut clock, 139, Some(160)), (true, false));
        assert_eq!(observe(&mut clock, 140, Some(160)), (false, false));
    }

    #[test]
    fn lane_of_a_host_that_runs_ahead_has_a_watermark_from_its_first_row_with_broker_time() {
        let mut clock = LaneClock::new(TOLERANCE);
        assert_eq!(observe(&mut clock, 9_999, Some(100)), (false, true));
        assert_eq!(clock.watermark(), Some(90));
        // Nor does a first row without broker time outlive the first row that has one.
        let mut clock = LaneClock::new(TOLERANCE);
        observe(&mut clock, 100_000, None);
        assert_eq!(observe(&mut clock, 105, Some(100)), (false, false));
        assert_eq!(clock.watermark(), Some(95));
    }

    #[test]
    fn future_row_without_broker_time_moves_nothing_before_k_rows_agree() {
        let mut clock = LaneClock::new(TOLERANCE);
        observe(&mut clock, 100, None);
        observe(&mut clock, 101, None);
        for time in [50_001, 50_000] {
            assert_eq!(observe(&mut clock, time, None), (false, true));
            assert_eq!(clock.watermark(), Some(91));
        }
        assert_eq!(observe(&mut clock, 50_002, None), (false, false), "two were allowed to be doubtful");
        assert_eq!(clock.watermark(), Some(49_992));
    }

    #[test]
    fn an_unconfirmed_first_row_is_not_told_to_rows_before_it() {
        let mut clock = LaneClock::new(TOLERANCE);
        let mut judge = |time| {
            clock.next_record();
            clock.observe(time, None)
        };
        assert_eq!(judge(500), Moment { max_before: None, late: false, doubtful: false });
        assert_eq!(judge(450), Moment { max_before: None, late: false, doubtful: false }, "50 behind, not yet late");
        assert_eq!(judge(450), Moment { max_before: Some(500), late: true, doubtful: false });
    }

    proptest! {
        /// What a hunt does with the stored columns, and nothing else.
        #[test]
        fn lateness_can_be_computed_again_from_what_is_stored(
            rows in proptest::collection::vec((0i64..600, proptest::option::of(0i64..300), any::<bool>()), 1..60),
        ) {
            let mut clock = LaneClock::new(TOLERANCE);
            for (time, carrier, begins) in rows {
                if begins {
                    clock.next_record();
                }
                let Moment { max_before, late, doubtful } = clock.observe(time, carrier);
                let again = !doubtful && max_before.is_some_and(|max| time < max - TOLERANCE.lateness);
                prop_assert_eq!(late, again);
            }
        }
    }

    #[test]
    fn a_lane_that_jumped_is_believed_after_some_rows() {
        let mut clock = LaneClock::new(TOLERANCE);
        observe(&mut clock, 100, None);
        let doubts: Vec<bool> = (0..4).map(|i| observe(&mut clock, 50_000 + i, None).1).collect();
        assert_eq!(doubts, [true, true, false, false]);
        assert!(observe(&mut clock, 100, None).0);
    }
}
