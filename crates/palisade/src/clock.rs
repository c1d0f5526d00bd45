//! The only place that reads the clocks. What of it reaches a finding is recorded as a decision first.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use palisade_events::time::{DAY, Micros, SECOND};

/// How far event times that no carrier vouches for may be ahead of the wall clock: a time that names no zone is up to 14
/// hours off.
pub(crate) const AHEAD_MAX: Micros = DAY;

/// 2026-11-01T00:00:00Z: a wall clock that shows a time before this was written is not set.
const WRITTEN: Micros = 1_793_491_200 * SECOND;

/// A moment on the monotonic clock, for intervals and timeouts.
#[allow(clippy::disallowed_methods)] // the one place for it
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Wall-clock time in microseconds since the epoch, for records that people read.
#[allow(clippy::disallowed_methods)] // the one place for it
pub(crate) fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Until when event times are believed now that no carrier vouches for.
pub(crate) fn believed_until() -> Micros {
    wall_us().max(WRITTEN).saturating_add(AHEAD_MAX)
}

/// Seconds as configured, as a duration; out-of-range values were refused when the configuration was read.
pub(crate) fn secs(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO)
}
