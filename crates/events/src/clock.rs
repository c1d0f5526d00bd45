//! A lane's event-time clock: which rows are late, and which lie too far in the future to be believed.
//!
//! Both are decided row by row from the lane's own earlier records, never per batch, so that batching, interleaving and
//! replay do not change them. The clock's state is part of a checkpoint.

use serde::{Deserialize, Serialize};

use crate::time::Micros;

/// How far event time may stray. All spans in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tolerance {
    /// A row further behind its lane than this is late.
    pub lateness: Micros,
    /// A row further ahead than this (of its carrier's time, else of its lane) is doubtful.
    pub skew_max: Micros,
    /// Without a carrier's time: so many doubtful rows in a row are believed after all, because the lane itself jumped.
    pub believe_after: u32,
}

impl Default for Tolerance {
    fn default() -> Self {
        use crate::time::SECOND;
        Self { lateness: 30 * SECOND, skew_max: 3600 * SECOND, believe_after: 8 }
    }
}

/// The clock of one lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaneClock {
    tolerance: Tolerance,
    /// Largest believed event time at records before the current one.
    max_before: Option<Micros>,
    /// Largest believed event time including the current record.
    max: Option<Micros>,
    /// More than one row stands behind it. The word of a lane's first row alone moves no watermark.
    confirmed: bool,
    /// Consecutive doubtful rows, and the smallest time among them.
    doubtful: u32,
    doubtful_min: Micros,
}

/// What the clock says of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Largest event time at earlier records of the lane: stored with the row.
    pub max_before: Option<Micros>,
    /// Behind the lane's watermark.
    pub late: bool,
    /// Too far in the future: the row enters no pane.
    pub doubtful: bool,
}

impl LaneClock {
    /// A clock that has seen nothing.
    pub fn new(tolerance: Tolerance) -> Self {
        Self { tolerance, max_before: None, max: None, confirmed: false, doubtful: 0, doubtful_min: 0 }
    }

    /// Begins the next record of the lane: what earlier records showed is now what rows are compared with.
    pub fn next_record(&mut self) {
        self.max_before = self.max;
    }

    /// Judges one row of the current record by its event time, and by the carrier's time if the record has one.
    pub fn observe(&mut self, time: Micros, carrier: Option<Micros>) -> Moment {
        let max_before = self.max_before;
        let late = self.confirmed && max_before.is_some_and(|max| time < max.saturating_sub(self.tolerance.lateness));
        let doubtful = self.is_doubtful(time, carrier);
        if !doubtful {
            self.max = Some(self.max.map_or(time, |max| max.max(time)));
        }
        Moment { max_before, late, doubtful }
    }

    fn is_doubtful(&mut self, time: Micros, carrier: Option<Micros>) -> bool {
        let bound = match (carrier, self.max) {
            (Some(carrier), _) => carrier,
            (None, Some(max)) => max,
            (None, None) => return false,
        };
        if time <= bound.saturating_add(self.tolerance.skew_max) {
            self.doubtful = 0;
            if carrier.is_some() || time >= bound.saturating_sub(self.tolerance.skew_max) {
                self.confirmed = true;
            } else if !self.confirmed {
                // The first row lies far ahead of this one: it is the one to doubt.
                self.max = Some(time);
            }
            return false;
        }
        if carrier.is_some() {
            return true;
        }
        self.doubtful_min = if self.doubtful == 0 { time } else { self.doubtful_min.min(time) };
        self.doubtful += 1;
        if self.doubtful <= self.tolerance.believe_after {
            return true;
        }
        // The whole lane moved: believe it from here on. The rows before stay doubtful, as they were stored.
        (self.doubtful, self.confirmed) = (0, true);
        self.max = Some(self.max.map_or(self.doubtful_min, |max| max.max(self.doubtful_min)));
        false
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

    /// Largest believed event time so far.
    pub fn max(&self) -> Option<Micros> {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: Tolerance = Tolerance { lateness: 10, skew_max: 100, believe_after: 2 };

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
    fn a_lane_that_jumped_is_believed_after_some_rows() {
        let mut clock = LaneClock::new(TOLERANCE);
        observe(&mut clock, 100, None);
        let doubts: Vec<bool> = (0..4).map(|i| observe(&mut clock, 50_000 + i, None).1).collect();
        assert_eq!(doubts, [true, true, false, false]);
        assert!(observe(&mut clock, 100, None).0);
    }
}
