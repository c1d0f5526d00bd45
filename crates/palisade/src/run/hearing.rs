//! What the clock says of sources that give no event: a gauge, a line of health, and at the last a decision.
//!
//! That a source is silent is told by event time ([`crate::engine`]): as long as any source goes on, the frontier passes the
//! moment at which another one has been silent for too long. When all are silent nothing moves it, and a pipeline of one
//! source would never learn that it died. So, once all lanes are idle and every pane is closed, the clock may decide:
//! [`DecisionKind::Silent`](palisade_events::DecisionKind::Silent) names the source and is recorded before the fact that it
//! causes, as every decision is, at the vector at which it fell. The window of that fact is made of event times all the
//! same, and the first event that comes again tells the silence whole, whoever told of its beginning.
//!
//! The clock decides nothing about a source that could not be asked, or of which others hold lanes.

use std::time::{Duration, Instant};

use super::Run;
use crate::clock;

/// When a source was heard last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearing {
    last_event: Instant,
    /// Since when it could have been heard.
    listening_since: Instant,
}

impl Hearing {
    pub(super) fn new(now: Instant) -> Self {
        Self { last_event: now, listening_since: now }
    }

    /// Events have come.
    pub(super) fn hear(&mut self, now: Instant) {
        self.last_event = now;
    }

    /// The source could not be asked: that it gave nothing until now means nothing.
    fn excuse(&mut self, now: Instant) {
        self.listening_since = now;
    }

    fn silent_for(&self) -> Duration {
        self.last_event.max(self.listening_since).elapsed()
    }
}

impl Run<'_> {
    /// Shows how long ago each source gave an event, and says in health which are silent.
    pub(super) fn show_hearing(&mut self) {
        let (now, is_behind) = (clock::now(), self.is_behind());
        for (index, hearing) in self.hearing.iter_mut().enumerate() {
            let name = self.inputs[index].name();
            let topic = format!("source {name} silent");
            if self.ended[index] {
                self.metrics.recover(&topic);
                continue;
            }
            if is_behind || self.troubles[index].is_some() {
                hearing.excuse(now);
            }
            self.metrics.set_event_age(name, hearing.last_event.elapsed());
            let silent_for = hearing.silent_for();
            match self.plan.silence(name) {
                Some(span) if silent_for >= micros(span) => {
                    self.metrics.degrade(&topic, format!("no event for {} s", silent_for.as_secs()));
                }
                _ => self.metrics.recover(&topic),
            }
        }
    }

    /// Declares sources silent that the frontier will not show to be, because all lanes are idle.
    pub(super) fn decide_silences(&mut self) {
        let is_silent = |index: &usize| {
            let name = self.inputs[*index].name();
            let could_be_heard = !self.ended[*index] && self.troubles[*index].is_none() && self.missing[*index] == 0;
            let is_over = |span| self.hearing[*index].silent_for() >= micros(span);
            could_be_heard && self.plan.silence(name).is_some_and(is_over) && self.engine.may_fall_silent(name)
        };
        let silent = (0..self.inputs.len()).filter(is_silent).map(|index| self.inputs[index].name().to_owned());
        for source in silent.collect::<Vec<String>>() {
            tracing::warn!(%source, "a source has fallen silent");
            self.engine.fall_silent(&source);
        }
    }
}

fn micros(span: i64) -> Duration {
    Duration::from_micros(u64::try_from(span).unwrap_or(0))
}
