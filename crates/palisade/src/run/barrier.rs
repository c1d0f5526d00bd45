//! What needs all lanes at home: panes close, and what time decides is decided.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use palisade_events::facts::DecisionKind;
use palisade_events::{Finding, Pane};

use super::landing::{FACT_BYTES, FINDING_BYTES};
use super::reload::Reload;
use super::{Input, Post, Run};
use crate::clock;
use crate::engine::{LaneKey, PaneFact, Replay, lane_key};
use crate::error::Result;

/// How long panes stay open for lanes that are expected after a start or a rebalance.
const EXPECT_MAX: Duration = Duration::from_secs(60);
/// How often panes are looked at while lanes are busy: closing needs a barrier, which costs a moment of idleness.
const CLOSE_EVERY: Duration = Duration::from_millis(200);

impl Run<'_> {
    /// Whether something waits that needs all lanes at home.
    pub(super) fn wants_barrier(&self) -> bool {
        let reloads = self.reload.as_ref().is_some_and(Reload::is_waiting);
        if self.engine.must_cut() || !self.leaving.is_empty() || self.is_stopping() || reloads {
            return true;
        }
        if self.replay.as_ref().is_some_and(|replay| self.is_due(replay)) {
            return true;
        }
        let close_due = self.last_close.elapsed() >= CLOSE_EVERY;
        // Lanes that wait for a repeated decision must not keep the others from getting there.
        let wakes = self.replay.is_none() && self.sleeper_with_work().is_some();
        close_due || self.cut_is_due() || wakes
    }

    pub(super) fn at_barrier(&mut self) -> Result<bool> {
        self.last_close = clock::now();
        self.take_rules()?;
        // A decision belongs to the vector at which it fell: no other may follow before it is cut.
        if !self.engine.must_cut() {
            self.close_panes()?;
            self.decide()?;
        }
        let leaving = !self.leaving.is_empty();
        if self.cut_is_due() || (self.cut_in_flight.is_none() && (leaving || self.is_stopping()) && self.has_news()) {
            self.cut()?;
            return Ok(true);
        }
        if leaving && self.cut_in_flight.is_none() && !self.has_news() {
            self.release_leaving()?;
            return Ok(true);
        }
        Ok(false)
    }

    /// A lane that was declared silent but has something to read.
    fn sleeper_with_work(&self) -> Option<LaneKey> {
        let asleep = |key: &LaneKey| self.engine.is_asleep(key);
        self.posts.iter().find(|(key, post)| !post.backlog.is_empty() && asleep(key)).map(|(key, _)| key.clone())
    }

    /// Whether every lane is here that a pane may need: each source has shown its lanes, and those that an earlier run
    /// had read are back. Given up after a while, since another instance may hold them.
    fn is_complete(&self) -> bool {
        let missing = |(index, input): (usize, &Input)| {
            let parked = |key: &LaneKey| key.split_once('/').is_some_and(|(source, _)| source == input.name());
            let away = matches!(input, Input::Stream(_)) && self.parked.keys().any(parked);
            !self.ended[index] && (!self.joined[index] || away)
        };
        self.gave_up_waiting || !self.inputs.iter().enumerate().any(missing)
    }

    fn close_panes(&mut self) -> Result<()> {
        if !self.is_complete() {
            return Ok(());
        }
        let found = self.engine.close_ready()?;
        self.take_pane_findings(found);
        self.take_pane_facts(self.cut_number);
        self.metrics.held.set(i64::try_from(self.engine.held()).unwrap_or(i64::MAX));
        if let Some(frontier) = self.engine.frontier() {
            self.metrics.frontier_secs.set(frontier as f64 / 1e6);
        }
        Ok(())
    }

    fn take_pane_findings(&mut self, found: Vec<(Pane, Finding)>) {
        for failure in self.engine.take_failures() {
            tracing::error!("a detector could not judge a pane: {failure}");
            self.metrics.detector_failures.inc();
            let detector = failure.split(':').next().unwrap_or_default();
            self.metrics.degrade(&format!("detector {detector}"), "it could not judge a pane".into());
        }
        for (pane, mut finding) in found {
            finding.owner = finding.owner.or_else(|| self.plan.stages().owners.of(&finding.entity));
            // A rule sees one event and does not depend on who holds the other lanes; statistics do.
            if self.missing.iter().any(|missing| *missing > 0) {
                finding.coverage = "partial_assignment".into();
            }
            self.metrics.pane_findings.inc();
            if self.landed.frontier.is_none_or(|frontier| pane.end > frontier) {
                self.pending.findings.push(finding.clone());
            }
            self.pending.bytes += FINDING_BYTES;
            self.pending.deliveries.push(finding);
        }
    }

    /// Queues what closed panes and the decisions of a cut told of silences, without what the table has from before a crash.
    fn take_pane_facts(&mut self, decided_in: i64) {
        for PaneFact { mut fact, told_at } in self.engine.take_facts() {
            let is_partly_here =
                |index: usize| self.missing[index] > 0 && self.inputs[index].name() == fact.lane.source;
            if (0..self.inputs.len()).any(is_partly_here) {
                fact.detail.push_str("; others hold some lanes of the source");
            }
            tracing::debug!(source = %fact.lane.source, cluster = %fact.cluster, "{}", fact.detail);
            if !self.landed.has_told(told_at, decided_in) {
                self.pending.bytes += FACT_BYTES;
                self.pending.coverage.push(fact);
                if told_at.is_none() {
                    self.pending.silent = Some(decided_in);
                }
            }
        }
    }

    /// What time decides: a repeated decision, a lane that woke or fell silent, panes that nothing else will close.
    fn decide(&mut self) -> Result<()> {
        if let Some(replay) = self.replay.take() {
            if self.is_stuck(&replay) {
                tracing::warn!("recorded decisions cannot be repeated: what was read then is no longer there");
                return Ok(());
            }
            if !self.is_due(&replay) {
                self.replay = Some(replay);
                return Ok(());
            }
            for decision in replay.into_decisions() {
                self.gave_up_waiting |= decision.kind == DecisionKind::Without;
                let found = self.engine.replay(&decision)?;
                self.take_pane_findings(found);
                self.take_pane_facts(decision.cut);
            }
            self.repeated = true;
            return Ok(());
        }
        let mut woken = false;
        while let Some(key) = self.sleeper_with_work() {
            self.engine.wake(&key);
            if let Some(post) = self.posts.get_mut(&key) {
                // What it brings may move no watermark; it has its time all the same before it counts as silent again.
                post.progress.1 = clock::now();
            }
            woken = true;
        }
        if woken {
            return Ok(());
        }
        if !self.is_complete() {
            if self.expecting_since.elapsed() >= EXPECT_MAX {
                self.gave_up_waiting = true;
                self.engine.go_on_without("lanes that were read before are not back: panes close without them");
                tracing::warn!("lanes that were read before are not back: panes close without them");
            }
            return Ok(());
        }
        let idle = clock::secs(self.config.pipeline.idle_secs);
        let silent = |post: &Post| {
            let still = |since: Instant| since.elapsed() >= idle || post.progress.1.elapsed() >= idle;
            post.backlog.is_empty() && !post.held && !post.finishing && post.caught_up_since.is_some_and(still)
        };
        let keys: Vec<LaneKey> = self.posts.iter().filter(|(_, p)| silent(p)).map(|(k, _)| k.clone()).collect();
        for key in keys {
            self.engine.idle(&key);
        }
        let nothing_waits = self.posts.values().all(|post| post.backlog.is_empty() && !post.finishing);
        if self.engine.is_quiet() && nothing_waits && self.engine.has_open_panes() {
            let found = self.engine.close_all()?;
            self.take_pane_findings(found);
        }
        if self.engine.is_quiet() && nothing_waits && !self.engine.has_open_panes() {
            self.decide_silences();
        }
        self.take_pane_facts(self.cut_number);
        Ok(())
    }

    /// Whether the lanes are where recorded decisions fell. A file's end closes what it held in assembly before anything
    /// else is decided, as it did the first time.
    fn is_due(&self, replay: &Replay) -> bool {
        let settled = |(key, post): (&LaneKey, &Post)| match self.inputs[post.input] {
            Input::Files(_) => !post.finishing && (self.engine.is_asleep(key) || !post.backlog.is_empty()),
            Input::Stream(_) => true,
        };
        let vector = self.engine.vector();
        replay.lanes().all(|(key, limit)| self.has_arrived(&vector, key, limit)) && self.posts.iter().all(settled)
    }

    /// Whether a lane has read everything before a recorded decision: it stands there, or what comes next lies beyond,
    /// because records between have expired or were compacted away.
    fn has_arrived(&self, vector: &BTreeMap<LaneKey, i64>, key: &LaneKey, limit: i64) -> bool {
        let next = || self.posts.get(key)?.backlog.front()?.records.iter().find(|record| !record.again);
        vector.get(key).is_some_and(|next| *next >= limit) || next().is_some_and(|record| record.offset >= limit)
    }

    /// Whether a lane that must be read up to a recorded decision has nothing more to give before it.
    fn is_stuck(&self, replay: &Replay) -> bool {
        let vector = self.engine.vector();
        let lacks = |key: &LaneKey, limit: i64| !self.has_arrived(&vector, key, limit);
        // A stream may be sent again by someone who begins later than we do; a file is read to its end or not.
        let waits = |post: &Post| match &self.inputs[post.input] {
            Input::Stream(_) if !self.ended[post.input] => {
                post.caught_up_since.is_none_or(|since| since.elapsed() < EXPECT_MAX)
            }
            _ => post.caught_up_since.is_none(),
        };
        let gives = |key: &LaneKey| self.posts.get(key).is_some_and(|post| !post.backlog.is_empty() || waits(post));
        let missing =
            replay.lanes().any(|(key, limit)| lacks(key, limit) && !gives(key) && self.posts.contains_key(key));
        let gone = |key: &LaneKey| {
            let of = |input: &Input| key.strip_prefix(input.name()).is_some_and(|rest| rest.starts_with('/'));
            match self.inputs.iter().find(|input| of(input)) {
                None => true,
                // A file source knows all its files from the beginning.
                Some(Input::Files(source)) => !source.lanes().any(|lane| lane_key(lane) == *key),
                Some(Input::Stream(_)) => self.expecting_since.elapsed() >= EXPECT_MAX,
            }
        };
        missing || replay.lanes().any(|(key, limit)| lacks(key, limit) && !self.posts.contains_key(key) && gone(key))
    }
}
