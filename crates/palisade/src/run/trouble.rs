//! Failures that may pass: how long to wait, and when to give up.
//!
//! A broker or a store that cannot be reached is waited for, with sources held back and health degraded, because what is
//! safe stays safe meanwhile. It is not waited for for ever: a supervisor that starts the program anew may help.

use std::time::{Duration, Instant};

use crate::clock;

/// First pause; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(100);
/// Longest pause: short against any outage worth waiting for, and against the time after which a group drops a member.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// A failure that lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    since: Instant,
    again: Instant,
    pause: Duration,
}

impl Trouble {
    /// It has failed again, or for the first time. `None` if it has done so for longer than `patience`.
    pub(super) fn again(before: Option<Self>, patience: Duration) -> Option<Self> {
        let now = clock::now();
        let (since, pause) = before.map_or((now, PAUSE), |t| (t.since, (t.pause * 2).min(PAUSE_MAX)));
        (now.duration_since(since) < patience).then_some(Self { since, again: now + pause, pause })
    }

    /// Whether it is too early to try again.
    pub(super) fn waits(&self) -> bool {
        clock::now() < self.again
    }

    /// What is left of the pause.
    pub(super) fn pause_left(&self) -> Duration {
        self.again.saturating_duration_since(clock::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_patience_ends() {
        let mut trouble = Trouble::again(None, Duration::from_secs(60));
        for _ in 0..12 {
            assert!(trouble.is_some_and(|t| t.waits() && t.pause_left() <= PAUSE_MAX));
            trouble = Trouble::again(trouble, Duration::from_secs(60));
        }
        assert_eq!(trouble.map(|t| t.pause), Some(PAUSE_MAX));
        assert!(Trouble::again(trouble, Duration::ZERO).is_none());
        assert!(Trouble::again(None, Duration::ZERO).is_none(), "no patience at all");
    }
}
