//! Lanes and their sources: what comes in, which lanes are here, who is sent out to work, who is held back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use palisade_events::facts::{Coverage, DecisionKind};
use palisade_events::seam::{Hold, Signal, SourceError};
use palisade_events::{Chunk, Lane};

use super::cut::{self, LaneBytes, LaneCut};
use super::pool::Task;
use super::trouble::Trouble;
use super::{Input, Post, Run, WAIT};
use crate::clock;
use crate::engine::{LaneKey, Replay, Restore, lane_key};
use crate::error::Result;

/// Chunks that may wait for one lane. It goes out with all of them: more make larger batches, which cost less a row, and
/// a longer wait for all lanes to be at home.
pub(super) const BACKLOG_MAX: usize = 3;
/// Bytes of records past which no further chunk goes out together with others. Their texts share columns that hold 2 GiB,
/// and one record may be a document of many megabytes.
const BATCH_BYTES_MAX: usize = 128 << 20;
/// How often sources are served while the encoder is behind, so that group membership survives.
const SERVE_EVERY: Duration = Duration::from_secs(1);
/// Faults of sources that a summary quotes.
const FAULTS_MAX: usize = 100;

impl Run<'_> {
    /// Takes lanes home.
    pub(super) fn collect(&mut self, wait: Duration) -> Result<bool> {
        let mut any = false;
        let mut wait = wait;
        while let Some(home) = self.pool.receive(wait)? {
            let output = home.output?;
            let watermark = home.work.watermark();
            if let Some(post) = self.posts.get_mut(&output.key) {
                if post.progress.0 != watermark {
                    post.progress = (watermark, clock::now());
                }
                if output.events.rows() > 0 {
                    self.hearing[post.input].hear(clock::now());
                }
            }
            self.engine.merge(home.work, &output);
            self.take_output(output)?;
            any = true;
            wait = Duration::ZERO;
        }
        Ok(any)
    }

    /// Asks every source once for what it has ready, and holds back the lanes that have enough.
    pub(super) fn poll(&mut self) -> Result<bool> {
        let behind = self.is_behind();
        // Before anything may be asked, by this or by a wait: what a source gives unheld has no other bound.
        for index in 0..self.inputs.len() {
            self.set_holds(index, behind);
        }
        if behind && self.last_served.elapsed() < SERVE_EVERY {
            return Ok(false);
        }
        self.last_served = clock::now();
        let mut any = false;
        for index in 0..self.inputs.len() {
            any |= self.ask(index, Duration::ZERO)?;
        }
        Ok(any)
    }

    /// Asks a source for what it has, unless it has ended or is in trouble. True if it had anything.
    pub(super) fn ask(&mut self, index: usize, wait: Duration) -> Result<bool> {
        let waits = self.troubles[index].is_some_and(|trouble| trouble.waits());
        let started = self.unstarted[index].is_empty();
        if self.ended[index] || self.is_stopping() || (waits && started) {
            return Ok(false);
        }
        // Lanes that cannot begin keep neither the others from going on nor the group from being answered.
        let started = started || (!waits && self.start_lanes(index)?);
        match self.inputs[index].source().next(if started { wait } else { Duration::ZERO }) {
            Ok(signal) => {
                if started {
                    self.is_well(index);
                }
                let any = !matches!(signal, Signal::Nothing);
                self.on_signal(index, signal)?;
                Ok(any)
            }
            Err(error) => self.suffer(index, error).map(|()| false),
        }
    }

    /// Takes note of a source's failure: waits if it may pass.
    fn suffer(&mut self, index: usize, error: SourceError) -> Result<()> {
        let patience = clock::secs(self.config.pipeline.patience_secs);
        let trouble = Trouble::again(self.troubles[index], patience).filter(|_| error.retry);
        let Some(trouble) = trouble else { return Err(error.into()) };
        tracing::warn!(%error, again_in = ?trouble.pause_left(), "a source is in trouble");
        self.metrics.degrade(&source_topic(self.inputs[index].name()), error.to_string());
        self.troubles[index] = Some(trouble);
        // Who cannot be asked has not stayed away.
        self.expecting_since = clock::now();
        Ok(())
    }

    fn is_well(&mut self, index: usize) {
        if self.troubles[index].take().is_some() {
            self.metrics.recover(&source_topic(self.inputs[index].name()));
        }
    }

    fn set_holds(&mut self, index: usize, behind: bool) {
        for post in self.posts.values_mut().filter(|post| post.input == index) {
            let hold = behind || post.backlog.len() >= BACKLOG_MAX;
            if hold != post.held {
                post.held = hold;
                let hold = if hold { Hold::Hold } else { Hold::Release };
                self.inputs[index].source().hold(&post.lane, hold);
            }
        }
    }

    fn on_signal(&mut self, index: usize, signal: Signal) -> Result<()> {
        match signal {
            Signal::Records(chunk) => {
                self.metrics.bytes.inc_by(chunk.bytes.len() as u64);
                if let Some(post) = self.posts.get_mut(&lane_key(&chunk.lane)) {
                    post.caught_up_since = None;
                    post.backlog.push_back(chunk);
                }
            }
            Signal::CaughtUp(lane) => {
                let ends = matches!(self.inputs[index], Input::Files(_));
                let key = lane_key(&lane);
                let ended = self.engine.has_ended(&key);
                if let Some(post) = self.posts.get_mut(&key) {
                    post.caught_up_since.get_or_insert_with(clock::now);
                    // A file that had ended in an earlier run, and has not grown, has nothing left to close.
                    post.finishing |= ends && !(ended && post.backlog.is_empty());
                }
            }
            Signal::Joined(lanes) => self.join(index, &lanes)?,
            Signal::Leaving(lanes) => self.leaving.push((index, lanes)),
            Signal::Fact(fact) => {
                let fact = dated(fact);
                tracing::error!(lane = %fact.lane, kind = fact.kind.name(), count = fact.count, "{}", fact.detail);
                if self.summary.faults.len() < FAULTS_MAX {
                    self.summary.faults.push(fact.detail.clone());
                }
                self.engine.add_fact(&fact);
                // Told again at every start, and again by every life that a crash ended.
                let key = cut::fact_key(&fact);
                if self.landed.is_news(key.clone()) {
                    self.pending.facts.insert(key);
                    self.pending.coverage.push(fact);
                }
            }
            Signal::Finished => {
                self.ended[index] = true;
                let engine = &self.engine;
                let open = self.posts.iter_mut().filter(|(key, post)| post.input == index && !engine.has_ended(key));
                open.for_each(|(_, post)| post.finishing = true);
            }
            Signal::Nothing => {}
        }
        Ok(())
    }

    fn join(&mut self, index: usize, lanes: &[Arc<Lane>]) -> Result<()> {
        // The pool must be empty while the engine gains lanes: a join is part of a vector.
        while self.pool.out() > 0 {
            self.collect(WAIT)?;
        }
        let mut starts = Vec::with_capacity(lanes.len());
        for lane in lanes {
            let key = lane_key(lane);
            let work = self.plan.lane(lane)?;
            let (next, written) = match self.parked.remove(&key) {
                Some(parked) => {
                    // What this run itself let go, and has back now, is no resumption.
                    let is_earlier = matches!(parked.state, LaneBytes::Stored(_));
                    self.summary.resumed += u64::from(is_earlier && parked.next_offset > 0);
                    (Some(parked.next_offset), Some(parked.fingerprint))
                }
                None => {
                    let read = self.records_read.get(&key).copied();
                    self.summary.resumed += u64::from(read.is_some_and(|read| read > 0));
                    (read, None)
                }
            };
            match self.parked_bytes.remove(&key) {
                Some(bytes) if written.as_deref() == Some(self.plan.fingerprint()) => {
                    self.engine.rejoin(work, &bytes, Restore::Exact)?;
                }
                Some(bytes) => self.engine.rejoin(work, &bytes, Restore::WhatFits)?,
                None => self.engine.join(work),
            }
            for belief in self.believed.remove(&key).unwrap_or_default() {
                self.engine.recall(&key, belief);
            }
            self.engine.note_lane(DecisionKind::Join, &key);
            tracing::info!(lane = %lane, next = next, "lane joined");
            starts.push((Arc::clone(lane), next.map(|next| self.engine.resume(&key, next))));
            let post = Post {
                lane: Arc::clone(lane),
                input: index,
                backlog: VecDeque::new(),
                held: false,
                caught_up_since: None,
                progress: (None, clock::now()),
                finishing: false,
                believed_until: None,
            };
            self.posts.insert(key, post);
        }
        self.unstarted[index].extend(starts);
        self.joined[index] = true;
        self.start_lanes(index)?;
        Ok(())
    }

    /// Has a source begin the lanes that joined. False if it must be tried again later.
    fn start_lanes(&mut self, index: usize) -> Result<bool> {
        let starts = std::mem::take(&mut self.unstarted[index]);
        let source = self.inputs[index].source();
        let missing = source.start(&starts).and_then(|()| source.missing_lanes());
        let missing = match missing {
            Ok(missing) => missing,
            Err(error) => {
                self.unstarted[index] = starts;
                self.suffer(index, error)?;
                return Ok(false);
            }
        };
        for (lane, _) in &starts {
            if let Some(offset) = source.begins_at(lane) {
                self.engine.begin_at(&lane_key(lane), offset);
            }
        }
        self.is_well(index);
        self.missing[index] = missing;
        self.note_assignment();
        Ok(true)
    }

    fn note_assignment(&mut self) {
        let missing: usize = self.missing.iter().sum();
        self.metrics.lanes.set(i64::try_from(self.posts.len()).unwrap_or(i64::MAX));
        self.metrics.lanes_missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
        self.metrics.set_health(|health| health.ready = true);
        if missing == 0 {
            self.metrics.recover("assignment");
        } else {
            let words = "are held by other instances of this group: statistics and correlations see only a part";
            self.metrics.degrade("assignment", format!("{missing} lanes {words}"));
            tracing::warn!(missing, "other members of the consumer group hold lanes: pane findings see only a part");
        }
    }

    /// Sends lanes out that have something to do.
    pub(super) fn dispatch(&mut self) -> Result<bool> {
        if self.is_behind() {
            return Ok(false);
        }
        let mut any = false;
        let keys: Vec<LaneKey> = self.posts.keys().cloned().collect();
        for key in keys {
            // A lane that is far ahead may be the one that a repeated decision waits for.
            let may_work = if self.replay.is_some() { self.engine.is_ready(&key) } else { self.engine.may_work(&key) };
            let Some(post) = self.posts.get_mut(&key) else { continue };
            // What a lane's end closes is due however far ahead the lane is, and asleep or not.
            let ends = post.finishing && post.backlog.is_empty() && !self.engine.is_out(&key);
            if !self.pool.has_room() || !(may_work || ends) {
                continue;
            }
            let (mut chunks, mut bytes): (Vec<Chunk>, usize) = (Vec::new(), 0);
            while let Some(chunk) = post.backlog.pop_front() {
                bytes = bytes.saturating_add(chunk.bytes.len());
                // What a fact tells of is ended by the first event of a batch.
                if !chunks.is_empty() && (!chunk.facts.is_empty() || bytes > BATCH_BYTES_MAX) {
                    post.backlog.push_front(chunk);
                    break;
                }
                let (now, later) = split_for_replay(self.replay.as_ref(), &key, chunk);
                chunks.extend(now);
                if let Some(later) = later {
                    post.backlog.push_front(later);
                    break;
                }
            }
            let task = match chunks.is_empty() {
                false => Task::Chunks(chunks),
                true if post.finishing && post.backlog.is_empty() => {
                    post.finishing = false;
                    Task::Finish
                }
                true => continue,
            };
            let finishes = matches!(task, Task::Finish);
            if !finishes {
                self.believe(&key);
            }
            if let Some(work) = self.engine.checkout(&key) {
                self.pool.send(work, task)?;
                any = true;
            }
            if finishes {
                self.engine.end(&key);
            }
        }
        Ok(any)
    }

    /// Says until when the rows are believed that a lane goes out with, if it is a file: nothing else dates them, and a row of
    /// the year 9998 would take the frontier there for good. Of brokers' topics that is known by the broker's times.
    fn believe(&mut self, key: &LaneKey) {
        let Some(post) = self.posts.get_mut(key) else { return };
        let until = clock::believed_until();
        // Said once while files are read, which takes minutes; every few hours where it takes days: times that name no zone,
        // 14 hours off at most, are within the day that is left.
        let holds = post.believed_until.is_some_and(|said| until < said.saturating_add(clock::AHEAD_MAX / 3));
        if holds || !matches!(self.inputs[post.input], Input::Files(_)) {
            return;
        }
        post.believed_until = Some(until);
        let landed = self.landed.reach(key);
        self.engine.believe(key, landed, until);
    }

    pub(super) fn release_leaving(&mut self) -> Result<()> {
        for (index, lanes) in std::mem::take(&mut self.leaving) {
            let snapshot = self.engine.snapshot()?;
            for lane in &lanes {
                let key = lane_key(lane);
                if let Some((next, bytes)) = snapshot.lanes.get(&key) {
                    let parked = LaneCut {
                        lane: Arc::clone(lane),
                        next_offset: *next,
                        state: LaneBytes::Now(bytes.clone()),
                        fingerprint: self.plan.fingerprint().to_owned(),
                    };
                    self.parked.insert(key.clone(), parked);
                    self.parked_bytes.insert(key.clone(), bytes.clone());
                }
                self.engine.note_lane(DecisionKind::Leave, &key);
                self.engine.leave(&key);
                self.posts.remove(&key);
                self.unstarted[index].retain(|(unstarted, _)| unstarted != lane);
                tracing::info!(lane = %lane, "lane released");
            }
            let source = self.inputs[index].source();
            source.release(&lanes)?;
            // Who does not answer is taken for someone who has given what was released to others.
            self.missing[index] = source.missing_lanes().unwrap_or(self.missing[index] + lanes.len());
            (self.expecting_since, self.gave_up_waiting) = (clock::now(), false);
            self.note_assignment();
        }
        Ok(())
    }
}

/// Name of a source's trouble in health.
fn source_topic(name: &str) -> String {
    format!("source {name}")
}

/// A fact that knows no time of its own, such as a file that cannot be opened, is dated by when it was told.
fn dated(fact: Coverage) -> Coverage {
    if (fact.window_start, fact.window_end) != (0, 0) {
        return fact;
    }
    let now = clock::wall_us();
    Coverage { window_start: now, window_end: now, ..fact }
}

fn split_for_replay(replay: Option<&Replay>, key: &str, chunk: Chunk) -> (Option<Chunk>, Option<Chunk>) {
    match replay {
        Some(replay) => crate::engine::split(chunk, replay.limit(key)),
        None => (Some(chunk), None),
    }
}
