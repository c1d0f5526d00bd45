//! The only place that reads the clocks. Nothing that reaches a finding depends on them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

/// Seconds as configured, as a duration; out-of-range values were refused when the configuration was read.
pub(crate) fn secs(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO)
}
