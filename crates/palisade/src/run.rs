//! The run loop: sources in, lanes out to work and home again, panes closed, cuts landed, findings delivered.
//!
//! One thread owns everything stateful and makes every decision. It never waits for the lake: when the encoder is
//! behind, it stops sending lanes out and holds sources back, which is the whole of backpressure. At a *barrier* all
//! lanes are home; only there do panes close, decisions fall and cuts begin, so that a cut is one vector of offsets.
//!
//! Here: what a run is, and the loop's turn. What a turn does lies beside it, in the order of the data: lanes and their
//! sources (`run/lanes.rs`), what needs all lanes at home (`run/barrier.rs`), and what becomes durable (`run/landing.rs`).
//!
//! Not here: what lanes and detectors do ([`crate::engine`]), what a commit is (`run/writer.rs`), or who shows findings.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use palisade_events::facts::{Coverage, DecisionKind};
use palisade_events::seam::{Resume, Source};
use palisade_events::time::Micros;
use palisade_events::{Chunk, EventBatch, Finding, Lane, ObjectVersion, Reject, Sink};
use palisade_ingest::file::{FileSettings, FileSource};
use palisade_lake::LakeOptions;

use self::cut::{Landed, LaneCut};
use self::hearing::Hearing;
use self::outbox::Outbox;
use self::pool::Pool;
use self::recovery::Recovered;
use self::reload::Reload;
use self::trouble::Trouble;
use self::writer::Writer;
use crate::clock;
use crate::config::Config;
use crate::engine::{Belief, Engine, LaneKey, Replay, Restore};
use crate::error::Result;
use crate::metrics::Metrics;
use crate::plan::Plan;

mod lanes;
mod pool;
mod barrier;
mod hearing;
mod landing;
mod cut;
mod writer;
mod outbox;
mod recovery;
mod reload;
mod trouble;
pub mod http;

/// Longest single wait of the loop.
const WAIT: Duration = Duration::from_millis(20);
/// How often the loop tells that it comes round.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// An input of the run loop.
pub enum Input {
    /// Files: their progress goes to the ledger.
    Files(Box<FileSource>),
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
            Input::Files(source) => source.as_mut(),
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
    /// Records that made events, or structure such as a CSV header or a tombstone.
    pub used: u64,
    /// Records that made only facts about what their source lost or could not tell.
    pub coverage: u64,
    /// Records that made nothing but rejects.
    pub rejected: u64,
    /// Records held in assembly at the end, those of earlier runs included; a later run goes on with them.
    pub held: u64,
    /// Events too far in the future to be believed: no statistics saw them.
    pub doubtful: u64,
    /// Findings that landed in this run, suppressed ones included.
    pub findings: u64,
    /// Findings among them that an exception suppresses: they are in the lake, and no sink gets them.
    pub suppressed: u64,
    /// Lanes of which an earlier run had read something.
    pub resumed: u64,
    /// Last cut that landed.
    pub cut: i64,
    /// Events of this run that came for panes which had closed: no statistics saw them.
    pub behind_frontier: u64,
    /// Rejects, by reason. Members of lists are rejected one by one, so there may be more of them than rejected records.
    pub reject_reasons: BTreeMap<String, u64>,
    /// What sources said they could not give, such as files that cannot be opened; the first hundred.
    pub faults: Vec<String>,
}

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
    /// Until when its rows are believed, as it was said last in this run.
    believed_until: Option<Micros>,
}

struct Run<'p> {
    config: &'p Config,
    plan: Cow<'p, Plan>,
    engine: Engine,
    inputs: Vec<Input>,
    ended: Vec<bool>,
    posts: BTreeMap<LaneKey, Post>,
    pool: Pool,
    writer: Writer,
    reload: Option<Reload>,
    metrics: Arc<Metrics>,
    stop: Arc<AtomicBool>,
    until: Until,
    outbox: Outbox,
    landed: Landed,
    replay: Option<Replay>,
    /// Lanes' state as the newest manifest has it, for those that are not here.
    parked: BTreeMap<LaneKey, LaneCut>,
    parked_bytes: BTreeMap<LaneKey, Vec<u8>>,
    /// Until when rows are believed that landed after the newest manifest, for lanes that have not joined yet.
    believed: BTreeMap<LaneKey, Vec<Belief>>,
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
    last_beat: Instant,
    leaving: Vec<(usize, Vec<Arc<Lane>>)>,
    /// By input: lanes that joined and that the source has not begun yet.
    unstarted: Vec<Vec<(Arc<Lane>, Option<Resume>)>>,
    /// By input: why it is left alone for a while.
    troubles: Vec<Option<Trouble>>,
    /// By input: whether it has shown lanes.
    joined: Vec<bool>,
    /// By input: when it was heard last.
    hearing: Vec<Hearing>,
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
    objects: Vec<ObjectVersion>,
    /// Lanes whose end made something, with the offset it lies at.
    ends: BTreeMap<LaneKey, i64>,
    /// Facts that no record tells, by their keys.
    facts: BTreeSet<LaneKey>,
    /// The cut of the decisions that told of silences, if any did.
    silent: Option<i64>,
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
        let metrics = options.metrics;
        let owned = recovered.take_lake()?;
        let writer = Writer::start(owned, config, Arc::clone(&metrics), Arc::clone(&options.stop))?;
        let now = clock::now();
        metrics.degrade(
            "assignment",
            "no lanes yet: a consumer group gives them when it has seen a dead member off".into(),
        );
        Ok(Self {
            ended: vec![false; inputs.len()],
            outbox: Outbox::new(options.sinks, &recovered.undelivered)?,
            landed: std::mem::take(&mut recovered.landed),
            replay: recovered.replay.take(),
            parked: std::mem::take(&mut recovered.parked),
            parked_bytes: std::mem::take(&mut recovered.lane_bytes),
            believed: std::mem::take(&mut recovered.believed),
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
            last_beat: now,
            leaving: Vec::new(),
            unstarted: vec![Vec::new(); inputs.len()],
            troubles: vec![None; inputs.len()],
            joined: vec![false; inputs.len()],
            hearing: vec![Hearing::new(now); inputs.len()],
            expecting_since: now,
            gave_up_waiting: false,
            missing: vec![0; inputs.len()],
            summary: Summary::default(),
            stop: options.stop,
            until: options.until,
            config,
            plan: Cow::Borrowed(plan),
            reload: Reload::start(config, plan)?,
            engine,
            inputs,
            writer,
            metrics,
        })
    }

    fn go(&mut self) -> Result<Summary> {
        loop {
            self.beat();
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

    /// Tells whoever asks for health that the loop still comes round.
    fn beat(&mut self) {
        if self.last_beat.elapsed() >= BEAT_EVERY {
            self.last_beat = clock::now();
            self.metrics.set_health(|health| health.beat = Some(self.last_beat));
            self.show_hearing();
        }
    }

    /// Waits for whatever can happen next.
    fn wait(&mut self) -> Result<()> {
        if self.pool.out() > 0 {
            self.collect(WAIT)?;
        } else if self.is_behind() || (self.cut_in_flight.is_some() && self.is_ending()) {
            // Asked now, a source would give more than the bounds allow; it is served from time to time by `poll`.
            self.note_landed(WAIT)?;
        } else {
            let askable = |index: &usize| !self.ended[*index] && self.troubles[*index].is_none();
            match (0..self.inputs.len()).find(askable).filter(|_| !self.is_stopping()) {
                Some(index) => drop(self.ask(index, WAIT)?),
                None => drop(self.note_landed(WAIT)?),
            }
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
        self.summary.held = self.engine.held();
        self.metrics.set_health(|h| h.ready = false);
        Ok(self.summary.clone())
    }
}

#[cfg(test)]
mod tests;
