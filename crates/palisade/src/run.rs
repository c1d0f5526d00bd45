//! The run loop: sources in, lanes out to work and home again, panes closed, cuts landed, findings delivered.
//!
//! One thread owns everything stateful and makes every decision. It never waits for the lake: when the encoder is
//! behind, it stops sending lanes out and holds sources back, which is the whole of backpressure. At a *barrier* all
//! lanes are home; only there do panes close, decisions fall and cuts begin, so that a cut is one vector of offsets.
//!
//! Not here: what lanes and detectors do ([`crate::engine`]), what a commit is (`run/writer.rs`), or who shows findings.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use palisade_events::facts::{Coverage, DecisionKind};
use palisade_events::seam::{Hold, Signal, Source};
use palisade_events::time::Micros;
use palisade_events::{Chunk, EventBatch, Finding, Lane, Reject, Sink, col};
use palisade_ingest::file::{FileSettings, FileSource};
use palisade_lake::{LakeOptions, Table};

use self::cut::{Cut, Landed, LaneBytes, LaneCut};
use self::outbox::Outbox;
use self::pool::{Pool, Task};
use self::recovery::Recovered;
use self::writer::Writer;
use crate::clock;
use crate::config::Config;
use crate::engine::{Engine, LaneKey, LaneOutput, Replay, Restore, lane_key};
use crate::error::Result;
use crate::metrics::Metrics;
use crate::plan::Plan;

mod cut;
pub mod http;
mod outbox;
mod pool;
mod recovery;
mod writer;

/// Chunks that may wait for one lane: one at work, one ready behind it, one from the source's own look-ahead.
const BACKLOG_MAX: usize = 3;
/// Batches that may wait for the encoder's queue.
const UNENCODED_MAX: usize = 64;
/// Bytes of batches, rejects and findings that make a cut due, and that may wait while another one lands.
const PENDING_BYTES: usize = 512 << 20;
/// A finding in memory, roughly, once for the table and once for sinks.
const FINDING_BYTES: usize = 4096;
/// How long panes stay open for lanes that are expected after a start or a rebalance.
const EXPECT_MAX: Duration = Duration::from_secs(60);
/// How often panes are looked at while lanes are busy: closing needs a barrier, which costs a moment of idleness.
const CLOSE_EVERY: Duration = Duration::from_millis(200);
/// Longest single wait of the loop.
const WAIT: Duration = Duration::from_millis(20);
/// How often sources are served while the encoder is behind, so that group membership survives.
const SERVE_EVERY: Duration = Duration::from_secs(1);

/// An input of the run loop.
pub enum Input {
    /// Files: their progress goes to the ledger.
    Files(FileSource),
    /// Anything else: its offsets go into the commits.
    Stream(Box<dyn Source>),
}

impl Input {
    fn name(&self) -> &str {
        match self {
            Input::Files(source) => source.name(),
            Input::Stream(source) => source.name(),
        }
    }

    fn source(&mut self) -> &mut dyn Source {
        match self {
            Input::Files(source) => source,
            Input::Stream(source) => source.as_mut(),
        }
    }
}

/// When a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// When it is told to stop, or all sources have ended for good.
    Stopped,
    /// Also when every lane is read to its present end and has been silent for the idle time.
    CaughtUp,
}

/// What a run is given besides its plan.
pub struct RunOptions {
    /// Set from outside to stop gracefully.
    pub stop: Arc<AtomicBool>,
    /// When to end.
    pub until: Until,
    /// Counters, shared with whoever shows them.
    pub metrics: Arc<Metrics>,
    /// Receivers of landed findings.
    pub sinks: Vec<Box<dyn Sink>>,
}

/// What a run came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Records read by this run, replayed ones included.
    pub records: u64,
    /// Events made by this run, replayed ones included.
    pub events: u64,
    /// Records that could not be read.
    pub rejected: u64,
    /// Findings that landed in this run.
    pub findings: u64,
    /// Lanes of which an earlier run had read something.
    pub resumed: u64,
    /// Last cut that landed.
    pub cut: i64,
    /// Events of this run's lanes, over all runs, that came for panes which had closed: no statistics saw them.
    pub behind_frontier: u64,
    /// Records that could not be read, by reason.
    pub reject_reasons: BTreeMap<String, u64>,
    /// What sources said they could not give, such as files that cannot be opened; the first hundred.
    pub faults: Vec<String>,
}

/// Faults of sources that a summary quotes.
const FAULTS_MAX: usize = 100;

/// Runs a pipeline until it ends. Blocks the calling thread, which must not be inside an asynchronous task.
///
/// # Errors
/// When a part cannot go on. Everything up to the last landed cut is safe, and a new run goes on from there.
pub fn run(config: &Config, plan: &Plan, options: RunOptions) -> Result<Summary> {
    let mut recovered = recovery::open(config, LakeOptions::default())?;
    let inputs = recovery::inputs(config, plan, &recovered, &FileSettings::default())?;
    run_inputs(config, plan, options, inputs, &mut recovered)
}

/// As [`run`], over sources that the caller made.
///
/// # Errors
/// As [`run`].
pub fn run_with(config: &Config, plan: &Plan, options: RunOptions, sources: Vec<Box<dyn Source>>) -> Result<Summary> {
    let mut recovered = recovery::open(config, LakeOptions::default())?;
    let inputs = sources.into_iter().map(Input::Stream).collect();
    run_inputs(config, plan, options, inputs, &mut recovered)
}

fn run_inputs(
    config: &Config,
    plan: &Plan,
    options: RunOptions,
    inputs: Vec<Input>,
    recovered: &mut Recovered,
) -> Result<Summary> {
    let mut state = Run::new(config, plan, options, inputs, recovered)?;
    let outcome = state.go();
    if outcome.is_err() {
        state.metrics.set_health(|h| h.ready = false);
    }
    outcome
}

/// A lane as the loop sees it.
struct Post {
    lane: Arc<Lane>,
    input: usize,
    backlog: VecDeque<Chunk>,
    held: bool,
    caught_up_since: Option<Instant>,
    /// The lane's watermark, and since when it has stood there: records that make no event do not move it.
    progress: (Option<Micros>, Instant),
    /// The lane is read to its end for good, and what it held is still to be closed.
    finishing: bool,
}

struct Run<'p> {
    config: &'p Config,
    plan: &'p Plan,
    engine: Engine,
    inputs: Vec<Input>,
    ended: Vec<bool>,
    posts: BTreeMap<LaneKey, Post>,
    pool: Pool,
    writer: Writer,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    until: Until,
    outbox: Outbox,
    landed: Landed,
    replay: Option<Replay>,
    /// Lanes' state as the newest manifest has it, for those that are not here.
    parked: BTreeMap<LaneKey, LaneCut>,
    parked_bytes: BTreeMap<LaneKey, Vec<u8>>,
    /// Events that the encoder has no room for yet.
    unencoded: VecDeque<EventBatch>,
    corrections: Vec<palisade_lake::KnownFile>,
    records_read: BTreeMap<LaneKey, i64>,
    /// Records of each file as the ledger has them, cuts in flight included.
    ledgered: BTreeMap<LaneKey, i64>,
    pending: Pending,
    /// Next offsets at the cut in flight.
    cut_vector: BTreeMap<LaneKey, i64>,
    /// The decisions that wait to be cut were repeated from the table.
    repeated: bool,
    cut_number: i64,
    cut_in_flight: Option<i64>,
    last_cut: Instant,
    last_close: Instant,
    last_served: Instant,
    leaving: Vec<(usize, Vec<Arc<Lane>>)>,
    /// By input: whether it has shown lanes.
    joined: Vec<bool>,
    /// Since when lanes are expected that are not here.
    expecting_since: Instant,
    gave_up_waiting: bool,
    /// Lanes that other members of each input's group hold.
    missing: Vec<usize>,
    summary: Summary,
}

/// What waits for the next cut, events aside.
#[derive(Default)]
struct Pending {
    rows: usize,
    /// Memory of all of it, roughly.
    bytes: usize,
    records: u64,
    rejects: Vec<Reject>,
    coverage: Vec<Coverage>,
    /// Lanes whose end made something, with the offset it lies at.
    ends: BTreeMap<LaneKey, i64>,
    /// Facts that no record tells, by their keys.
    facts: BTreeSet<LaneKey>,
    /// New to the table.
    findings: Vec<Finding>,
    /// For sinks: also those that landed before a crash.
    deliveries: Vec<Finding>,
}

impl<'p> Run<'p> {
    fn new(
        config: &'p Config,
        plan: &'p Plan,
        options: RunOptions,
        inputs: Vec<Input>,
        recovered: &mut Recovered,
    ) -> Result<Self> {
        let mut engine = plan.engine()?;
        let restore = if recovered.fingerprint.as_deref() == Some(plan.fingerprint()) {
            Restore::Exact
        } else {
            Restore::WhatFits
        };
        // A first run has nothing to restore.
        if recovered.fingerprint.is_some() {
            engine.restore(recovered.frontier, &recovered.pieces, restore)?;
        }
        engine.note(DecisionKind::Start, format!("configuration {}", plan.fingerprint()));
        let workers = match config.pipeline.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        };
        let (lake, runtime) = recovered.take_lake()?;
        let metrics = options.metrics;
        let writer = Writer::start(lake, runtime, config.job.clone(), recovered.epoch, Arc::clone(&metrics))?;
        let now = clock::now();
        Ok(Self {
            ended: vec![false; inputs.len()],
            outbox: Outbox::new(options.sinks, &recovered.undelivered)?,
            landed: std::mem::take(&mut recovered.landed),
            replay: recovered.replay.take(),
            parked: std::mem::take(&mut recovered.parked),
            parked_bytes: std::mem::take(&mut recovered.lane_bytes),
            cut_number: recovered.next_cut,
            pool: Pool::start(workers)?,
            posts: BTreeMap::new(),
            unencoded: VecDeque::new(),
            corrections: std::mem::take(&mut recovered.corrections),
            records_read: recovered.records_read(),
            ledgered: recovered.records_read(),
            pending: Pending::default(),
            cut_vector: BTreeMap::new(),
            repeated: false,
            cut_in_flight: None,
            last_cut: now,
            last_close: now,
            last_served: now,
            leaving: Vec::new(),
            joined: vec![false; inputs.len()],
            expecting_since: now,
            gave_up_waiting: false,
            missing: vec![0; inputs.len()],
            summary: Summary::default(),
            stop: options.stop,
            until: options.until,
            config,
            plan,
            engine,
            inputs,
            writer,
            metrics,
        })
    }

    fn go(&mut self) -> Result<Summary> {
        loop {
            let mut busy = self.collect(Duration::ZERO)?;
            busy |= self.note_landed(Duration::ZERO)?;
            busy |= self.encode()?;
            busy |= self.poll()?;
            let barrier = self.wants_barrier();
            if barrier && self.pool.out() == 0 {
                busy |= self.at_barrier()?;
            }
            if !barrier {
                busy |= self.dispatch()?;
            }
            if self.is_over() {
                break;
            }
            if !busy {
                self.wait()?;
            }
        }
        self.finish()
    }

    /// Waits for whatever can happen next.
    fn wait(&mut self) -> Result<()> {
        if self.pool.out() > 0 {
            self.collect(WAIT)?;
        } else if self.is_behind() || (self.cut_in_flight.is_some() && self.is_ending()) {
            // Asked now, a source would give more than the bounds allow; it is served from time to time by `poll`.
            self.note_landed(WAIT)?;
        } else {
            for index in 0..self.inputs.len() {
                if !self.ended[index] && !self.is_stopping() {
                    let signal = self.inputs[index].source().next(WAIT)?;
                    self.on_signal(index, signal)?;
                    return Ok(());
                }
            }
            self.note_landed(WAIT)?;
        }
        Ok(())
    }

    /// Takes lanes home.
    fn collect(&mut self, wait: Duration) -> Result<bool> {
        let mut any = false;
        let mut wait = wait;
        while let Some(home) = self.pool.receive(wait)? {
            let output = home.output?;
            let watermark = home.work.watermark();
            if let Some(post) = self.posts.get_mut(&output.key).filter(|post| post.progress.0 != watermark) {
                post.progress = (watermark, clock::now());
            }
            self.engine.merge(home.work, &output);
            self.take_output(output)?;
            any = true;
            wait = Duration::ZERO;
        }
        Ok(any)
    }

    /// Queues what a lane made, without what a table already has from before a crash.
    fn take_output(&mut self, output: LaneOutput) -> Result<()> {
        self.metrics.count(&output.counts);
        self.metrics.rule_findings.inc_by(output.findings.len() as u64);
        self.summary.records += output.counts.records;
        self.summary.events += output.counts.events;
        self.summary.rejected += output.counts.rejected;
        self.pending.records += output.counts.records;
        for reject in &output.rejects {
            *self.summary.reject_reasons.entry(reject.reason.clone()).or_default() += 1;
        }
        let key_of = |lane: &Lane| lane_key(lane);
        let landed = &self.landed;
        // What a lane's end made lies at records that landed long ago: it has a mark of its own.
        let ends_at = output.ends_at;
        let has_end = |table: Table| ends_at.is_some_and(|end| landed.end(table, &output.key) >= end);
        let from = |table: Table, key: &str| match ends_at {
            Some(_) if has_end(table) => i64::MAX,
            Some(_) => i64::MIN,
            None => landed.offset(table, key),
        };
        let new = |table: Table, lane: &Lane, offset: i64| {
            (offset < 0 && ends_at.is_none()) || offset >= from(table, &key_of(lane))
        };
        self.pending.bytes += output.rejects.iter().map(|reject| reject.raw.len() + 256).sum::<usize>();
        self.pending.bytes += output.findings.len() * FINDING_BYTES;
        if let Some(end) = ends_at.filter(|_| !output.is_empty()) {
            self.pending.ends.insert(output.key.clone(), end);
        }
        self.pending.rejects.extend(output.rejects.into_iter().filter(|r| new(Table::Rejects, &r.lane, r.offset)));
        self.pending.coverage.extend(output.coverage.into_iter().filter(|c| new(Table::Coverage, &c.lane, c.offset)));
        let findings_from = from(Table::Findings, &output.key);
        for (offset, finding) in output.findings {
            if offset >= findings_from {
                self.pending.findings.push(finding.clone());
            }
            self.pending.deliveries.push(finding);
        }
        let from = from(Table::Events, &output.key);
        let events = output.events;
        let skip = if events.rows() == 0 || from == i64::MIN {
            0
        } else if from == i64::MAX {
            events.rows()
        } else {
            events.long(col::OFFSET).values().partition_point(|offset| *offset < from)
        };
        let fresh = if skip == 0 { events } else { events.slice(skip, events.rows() - skip) };
        if fresh.rows() > 0 {
            self.pending.bytes += fresh.columns().get_array_memory_size();
            self.pending.rows += fresh.rows();
            self.unencoded.push_back(fresh);
        }
        Ok(())
    }

    /// Passes batches on to the encoder while it has room.
    fn encode(&mut self) -> Result<bool> {
        let mut any = false;
        while let Some(batch) = self.unencoded.pop_front() {
            match self.writer.offer(batch)? {
                None => any = true,
                Some(back) => {
                    self.unencoded.push_front(back);
                    break;
                }
            }
        }
        Ok(any)
    }

    /// Whether lanes must wait: for the encoder, or for a cut that lands slowly while enough waits for the next one.
    fn is_behind(&self) -> bool {
        let next_is_full = self.pending.rows >= self.config.lake.commit_rows_max || self.pending.bytes >= PENDING_BYTES;
        self.unencoded.len() >= UNENCODED_MAX || (self.cut_in_flight.is_some() && next_is_full)
    }

    /// Asks every source once for what it has ready, and holds back the lanes that have enough.
    fn poll(&mut self) -> Result<bool> {
        if self.is_behind() && self.last_served.elapsed() < SERVE_EVERY {
            return Ok(false);
        }
        self.last_served = clock::now();
        let mut any = false;
        for index in 0..self.inputs.len() {
            if self.ended[index] || self.is_stopping() {
                continue;
            }
            self.set_holds(index);
            let signal = self.inputs[index].source().next(Duration::ZERO)?;
            any |= !matches!(signal, Signal::Nothing);
            self.on_signal(index, signal)?;
        }
        Ok(any)
    }

    fn set_holds(&mut self, index: usize) {
        let behind = self.is_behind();
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
                Some(parked) => (Some(parked.next_offset), Some(parked.fingerprint)),
                None => (None, None),
            };
            let next = next.or_else(|| self.records_read.get(&key).copied());
            match self.parked_bytes.remove(&key) {
                Some(bytes) if written.as_deref() == Some(self.plan.fingerprint()) => {
                    self.engine.rejoin(work, &bytes, Restore::Exact)?;
                }
                Some(bytes) => self.engine.rejoin(work, &bytes, Restore::WhatFits)?,
                None => self.engine.join(work),
            }
            self.summary.resumed += u64::from(next.is_some_and(|next| next > 0));
            self.engine.note(DecisionKind::Join, key.clone());
            tracing::info!(lane = %lane, next = next, "lane joined");
            starts.push((Arc::clone(lane), next));
            let post = Post {
                lane: Arc::clone(lane),
                input: index,
                backlog: VecDeque::new(),
                held: false,
                caught_up_since: None,
                progress: (None, clock::now()),
                finishing: false,
            };
            self.posts.insert(key, post);
        }
        let source = self.inputs[index].source();
        source.start(&starts)?;
        for (lane, _) in &starts {
            if let Some(offset) = source.begins_at(lane) {
                self.engine.begin_at(&lane_key(lane), offset);
            }
        }
        self.joined[index] = true;
        self.missing[index] = source.missing_lanes()?;
        self.note_assignment();
        Ok(())
    }

    fn note_assignment(&mut self) {
        let missing: usize = self.missing.iter().sum();
        self.metrics.lanes.set(i64::try_from(self.posts.len()).unwrap_or(i64::MAX));
        self.metrics.lanes_missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
        self.metrics.set_health(|health| {
            health.ready = true;
            health.degraded.retain(|words| !words.contains("other instances"));
            if missing > 0 {
                health.degraded.push(format!(
                    "{missing} lanes are held by other instances of this group: statistics and correlations see only a part"
                ));
            }
        });
        if missing > 0 {
            tracing::warn!(missing, "other members of the consumer group hold lanes: pane findings see only a part");
        }
    }

    /// Sends lanes out that have something to do.
    fn dispatch(&mut self) -> Result<bool> {
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
            let task = match post.backlog.pop_front() {
                Some(chunk) => {
                    let (now, later) = split_for_replay(self.replay.as_ref(), &key, chunk);
                    if let Some(later) = later {
                        post.backlog.push_front(later);
                    }
                    let Some(now) = now else { continue };
                    Task::Chunk(now)
                }
                None if post.finishing => {
                    post.finishing = false;
                    Task::Finish
                }
                None => continue,
            };
            let finishes = matches!(task, Task::Finish);
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

    /// Whether something waits that needs all lanes at home.
    fn wants_barrier(&self) -> bool {
        if self.engine.must_cut() || !self.leaving.is_empty() || self.is_stopping() {
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

    fn cut_is_due(&self) -> bool {
        let anything = self.pending.records > 0 || self.pending.rows > 0 || !self.pending.coverage.is_empty();
        let due = self.last_cut.elapsed() >= clock::secs(self.config.lake.commit_interval_secs);
        self.cut_in_flight.is_none()
            && (self.engine.must_cut()
                || (anything
                    && (due
                        || self.pending.rows >= self.config.lake.commit_rows_max
                        || self.pending.bytes >= PENDING_BYTES)))
    }

    /// A lane that was declared silent but has something to read.
    fn sleeper_with_work(&self) -> Option<LaneKey> {
        let asleep = |key: &LaneKey| self.engine.is_asleep(key);
        self.posts.iter().find(|(key, post)| !post.backlog.is_empty() && asleep(key)).map(|(key, _)| key.clone())
    }

    fn at_barrier(&mut self) -> Result<bool> {
        self.last_close = clock::now();
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

    fn has_news(&self) -> bool {
        self.pending.records > 0
            || self.pending.rows > 0
            || !self.pending.coverage.is_empty()
            || !self.pending.findings.is_empty()
            || self.engine.must_cut()
    }

    /// Whether every lane is here that a pane may need: each source has shown its lanes, and those that an earlier run
    /// had read are back. Bounded in time, since another instance may hold them.
    fn is_complete(&mut self) -> bool {
        let missing = |(index, input): (usize, &Input)| {
            let parked = |key: &LaneKey| key.split_once('/').is_some_and(|(source, _)| source == input.name());
            let away = matches!(input, Input::Stream(_)) && self.parked.keys().any(parked);
            !self.ended[index] && (!self.joined[index] || away)
        };
        if !self.inputs.iter().enumerate().any(missing) {
            return true;
        }
        let waited = self.expecting_since.elapsed() >= EXPECT_MAX;
        if waited && !self.gave_up_waiting {
            self.gave_up_waiting = true;
            tracing::warn!("lanes that were read before are not back: panes close without them");
        }
        waited
    }

    fn close_panes(&mut self) -> Result<()> {
        if !self.is_complete() {
            return Ok(());
        }
        let found = self.engine.close_ready()?;
        self.take_pane_findings(found);
        self.metrics.held.set(i64::try_from(self.engine.held()).unwrap_or(i64::MAX));
        if let Some(frontier) = self.engine.frontier() {
            self.metrics.frontier_secs.set(frontier as f64 / 1e6);
        }
        Ok(())
    }

    fn take_pane_findings(&mut self, found: Vec<(palisade_events::Pane, Finding)>) {
        for failure in self.engine.take_failures() {
            tracing::error!("a detector could not judge a pane: {failure}");
            self.metrics.detector_failures.inc();
            self.metrics.set_health(|health| {
                let words = format!("detector failed: {}", failure.split(':').next().unwrap_or_default());
                if !health.degraded.contains(&words) {
                    health.degraded.push(words);
                }
            });
        }
        for (pane, mut finding) in found {
            finding.owner = finding.owner.or_else(|| self.plan.stages().owners.of(&finding.entity));
            if self.metrics.lanes_missing.get() > 0 {
                finding.coverage = "partial_assignment".into();
            }
            self.metrics.pane_findings.inc();
            if self.landed.frontier.is_none_or(|frontier| pane.end > frontier) {
                self.pending.findings.push(finding.clone());
            }
            self.pending.deliveries.push(finding);
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
                let found = self.engine.replay(&decision)?;
                self.take_pane_findings(found);
            }
            self.repeated = true;
            return Ok(());
        }
        let mut woken = false;
        while let Some(key) = self.sleeper_with_work() {
            self.engine.wake(&key);
            woken = true;
        }
        if woken || !self.is_complete() {
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

    /// Begins a cut: all lanes are home, and what they stand at becomes durable together.
    fn cut(&mut self) -> Result<()> {
        while !self.unencoded.is_empty() {
            // The cut's rows must be before it in the encoder's queue.
            if !self.encode()? {
                self.note_landed(Duration::from_millis(2))?;
            }
        }
        let number = self.cut_number;
        self.cut_number += 1;
        let mut decisions = self.engine.take_decisions(&self.config.job, number, self.plan.fingerprint());
        if std::mem::take(&mut self.repeated) {
            // They are in the table already, under the cut that did not land.
            decisions.retain(|d| !d.kind.is_binding());
        }
        let state = self.engine.snapshot()?;
        let pending = std::mem::take(&mut self.pending);
        self.outbox.add(pending.deliveries);
        let mut pieces = state.pieces;
        if let Some(piece) = self.outbox.piece()? {
            pieces.push(piece);
        }
        if let Some(replay) = &self.replay {
            pieces.push(recovery::replay_piece(replay)?);
        }
        let mut cut = Cut {
            number,
            decisions,
            files: std::mem::take(&mut self.corrections),
            limbo: self.landed.limbo.clone(),
            rejects: pending.rejects,
            coverage: pending.coverage,
            findings: pending.findings,
            frontier: state.frontier,
            ends: pending.ends,
            facts: pending.facts,
            offsets: BTreeMap::new(),
            lanes: BTreeMap::new(),
            pieces,
            accounting: self.accounting(),
            fingerprint: self.plan.fingerprint().to_owned(),
        };
        cut.lanes.extend(self.parked.iter().map(|(key, parked)| (key.clone(), parked.clone())));
        for (key, (next, bytes)) in state.lanes {
            let Some(post) = self.posts.get(&key) else { continue };
            match &self.inputs[post.input] {
                Input::Files(_) if self.ledgered.get(&key) == Some(&next) => {}
                Input::Files(source) => match recovery::ledger_row(source, &post.lane, next, number) {
                    Some(row) => {
                        cut.files.push(row);
                        self.ledgered.insert(key.clone(), next);
                    }
                    None => drop(cut.offsets.insert(key.clone(), next)),
                },
                Input::Stream(_) => drop(cut.offsets.insert(key.clone(), next)),
            }
            let (lane, fingerprint) = (Arc::clone(&post.lane), self.plan.fingerprint().to_owned());
            cut.lanes.insert(key, LaneCut { lane, next_offset: next, state: LaneBytes::Now(bytes), fingerprint });
        }
        self.summary.findings += cut.findings.len() as u64;
        self.cut_vector = self.engine.vector();
        self.writer.cut(cut)?;
        self.cut_in_flight = Some(number);
        self.last_cut = clock::now();
        Ok(())
    }

    /// The row-accounting identity, over all lanes, at the vector of the cut.
    fn accounting(&self) -> serde_json::Value {
        let accounts = self.engine.accounts();
        self.metrics.accounts_balance.set(i64::from(accounts.balance()));
        if !accounts.balance() {
            tracing::error!(?accounts, "records in are not used + coverage + rejected + held");
        }
        serde_json::to_value(accounts).unwrap_or_default()
    }

    /// Learns that a cut landed: offsets for lag tools, findings for sinks.
    fn note_landed(&mut self, wait: Duration) -> Result<bool> {
        let Some(number) = self.writer.landed(wait)? else {
            return Ok(self.outbox.deliver());
        };
        self.cut_in_flight = None;
        self.summary.cut = number;
        for index in 0..self.inputs.len() {
            let own = self.posts.iter().filter(|(_, post)| post.input == index);
            let next = own.filter_map(|(key, p)| Some((Arc::clone(&p.lane), *self.cut_vector.get(key)?)));
            let next: Vec<_> = next.collect();
            self.inputs[index].source().landed(&next);
        }
        self.outbox.landed();
        self.outbox.deliver();
        self.metrics.outbox.set(i64::try_from(self.outbox.waiting()).unwrap_or(i64::MAX));
        Ok(true)
    }

    fn release_leaving(&mut self) -> Result<()> {
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
                self.engine.leave(&key);
                self.posts.remove(&key);
                tracing::info!(lane = %lane, "lane released");
            }
            self.inputs[index].source().release(&lanes)?;
            self.missing[index] = self.inputs[index].source().missing_lanes().unwrap_or(0);
            (self.expecting_since, self.gave_up_waiting) = (clock::now(), false);
            self.note_assignment();
        }
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether all inputs have ended and everything they gave is worked.
    fn is_ending(&self) -> bool {
        let drained = self.posts.values().all(|p| p.backlog.is_empty() && !p.finishing);
        let all_ended = self.ended.iter().all(|ended| *ended);
        let quiet = self.engine.is_quiet() && !self.engine.has_open_panes();
        let by_end = all_ended && (self.posts.is_empty() || quiet);
        // Lanes may come out of a checkpoint silent: only what this run has read to its end counts.
        let read_to_end = self.posts.values().all(|post| post.caught_up_since.is_some());
        let joined = |input: usize| self.ended[input] || self.posts.values().any(|post| post.input == input);
        let all_joined = (0..self.inputs.len()).all(joined);
        let by_quiet = self.until == Until::CaughtUp && quiet && read_to_end && all_joined;
        drained && self.pool.out() == 0 && self.replay.is_none() && (by_end || by_quiet)
    }

    fn is_over(&self) -> bool {
        if self.cut_in_flight.is_some() || self.pool.out() > 0 {
            return false;
        }
        // A graceful stop closes neither assemblies nor panes: the next run goes on with them.
        (self.is_stopping() || self.is_ending()) && !self.has_news()
    }

    fn finish(&mut self) -> Result<Summary> {
        self.outbox.finish();
        if self.outbox.is_stale() {
            self.cut()?;
            while self.cut_in_flight.is_some() {
                self.note_landed(WAIT)?;
            }
        }
        self.summary.behind_frontier = self.engine.accounts().behind_frontier;
        self.metrics.set_health(|h| h.ready = false);
        Ok(self.summary.clone())
    }
}

fn split_for_replay(replay: Option<&Replay>, key: &str, chunk: Chunk) -> (Option<Chunk>, Option<Chunk>) {
    match replay {
        Some(replay) => crate::engine::split(chunk, replay.limit(key)),
        None => (Some(chunk), None),
    }
}

#[cfg(test)]
mod tests;
