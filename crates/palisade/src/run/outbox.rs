//! Findings on their way to sinks: handed over only after they landed, kept until every sink took them.
//!
//! Each sink has a thread and a queue of its own, so that one that hangs holds up neither the others nor the run loop.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use palisade_events::seam::SinkError;
use palisade_events::{Finding, Sink};

use crate::clock;
use crate::error::{Error, Result};

/// Findings kept for a sink that does not take them. The oldest go first beyond this; they stay in the lake.
const KEPT_MAX: usize = 10_000;
/// Findings handed over at once.
const BATCH: usize = 500;
/// First pause after a failure that may pass; it doubles up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// How long the end of a run waits for sinks. What they have not taken by then is in the state, for the next run.
const FINISH_MAX: Duration = Duration::from_secs(30);
/// Name of the state piece that holds what was not delivered at a cut.
pub(super) const PIECE: &str = "run/outbox";

pub(super) struct Outbox {
    posts: Vec<Post>,
    /// In a cut that has not landed yet.
    unlanded: Vec<Finding>,
    /// How many findings the newest state says are undelivered.
    recorded: usize,
}

/// One sink, as the run loop sees it.
struct Post {
    name: String,
    /// `None` when the sink is gone for good.
    work: Option<SyncSender<Vec<Finding>>>,
    outcome: Receiver<Result<(), SinkError>>,
    thread: Option<JoinHandle<()>>,
    queue: VecDeque<Finding>,
    /// Findings at the front of the queue that the sink is taking right now.
    in_flight: usize,
    pause: Duration,
    not_before: Option<Instant>,
}

impl Post {
    fn start(mut sink: Box<dyn Sink>, undelivered: &[Finding]) -> Result<Self> {
        let name = sink.name().to_owned();
        let (work, batches) = sync_channel::<Vec<Finding>>(1);
        let (done, outcome) = sync_channel(1);
        let serve = move || {
            while let Ok(batch) = batches.recv() {
                if done.send(sink.deliver(&batch)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("sink".into()).spawn(serve);
        Ok(Self {
            thread: Some(thread.map_err(Error::io(format!("starting the thread of sink {name}")))?),
            name,
            work: Some(work),
            outcome,
            queue: undelivered.iter().cloned().collect(),
            in_flight: 0,
            pause: PAUSE,
            not_before: None,
        })
    }

    fn add(&mut self, findings: &[Finding]) {
        if self.work.is_none() {
            return;
        }
        self.queue.extend(findings.iter().cloned());
        if self.queue.len() > KEPT_MAX + self.in_flight {
            let dropped = self.queue.len() - KEPT_MAX - self.in_flight;
            self.queue.drain(self.in_flight..self.in_flight + dropped);
            tracing::error!(sink = self.name, dropped, "sink takes nothing: findings stay in the lake only");
        }
    }

    /// Takes in how the last batch went and hands over the next. True if anything moved.
    fn serve(&mut self) -> bool {
        let mut moved = false;
        if self.in_flight > 0 {
            let outcome = match self.outcome.try_recv() {
                Ok(outcome) => outcome,
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => {
                    Err(SinkError { sink: self.name.clone(), why: "its thread is gone".into(), retry: false })
                }
            };
            self.settle(outcome);
            moved = true;
        }
        let waits = self.not_before.is_some_and(|moment| clock::now() < moment);
        if let (Some(work), false, false) = (&self.work, self.queue.is_empty(), waits) {
            let batch: Vec<Finding> = self.queue.iter().take(BATCH).cloned().collect();
            let count = batch.len();
            // The queue of batches has room: nothing is in flight.
            if work.try_send(batch).is_ok() {
                self.in_flight = count;
                moved = true;
            }
        }
        moved
    }

    fn settle(&mut self, outcome: Result<(), SinkError>) {
        let count = std::mem::take(&mut self.in_flight);
        match outcome {
            Ok(()) => {
                self.queue.drain(..count);
                (self.pause, self.not_before) = (PAUSE, None);
            }
            Err(error) if error.retry => {
                tracing::warn!(%error, again_in = ?self.pause, "findings wait for their sink");
                self.not_before = Some(clock::now() + self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            Err(error) => {
                tracing::error!(%error, findings = self.queue.len(), "sink is gone: findings stay in the lake only");
                self.queue.clear();
                self.work = None;
            }
        }
    }

    /// Whether nothing will move in a while: it has everything, or it has just failed.
    fn is_settled(&self) -> bool {
        self.in_flight == 0 && (self.queue.is_empty() || self.not_before.is_some())
    }
}

impl Outbox {
    /// `undelivered` landed in an earlier run, whose sinks may not have had them.
    pub(super) fn new(sinks: Vec<Box<dyn Sink>>, undelivered: &[Finding]) -> Result<Self> {
        let posts: Vec<Post> = sinks.into_iter().map(|sink| Post::start(sink, undelivered)).collect::<Result<_>>()?;
        let recorded = if posts.is_empty() { 0 } else { undelivered.len() };
        Ok(Self { posts, unlanded: Vec::new(), recorded })
    }

    /// Findings of the cut that now begins.
    pub(super) fn add(&mut self, findings: Vec<Finding>) {
        if !self.posts.is_empty() {
            self.unlanded.extend(findings);
        }
    }

    /// The cut has landed: its findings may go out.
    pub(super) fn landed(&mut self) {
        let findings = std::mem::take(&mut self.unlanded);
        self.posts.iter_mut().for_each(|post| post.add(&findings));
    }

    /// Hands over what waits, without waiting. True if anything moved.
    pub(super) fn deliver(&mut self) -> bool {
        self.posts.iter_mut().fold(false, |any, post| post.serve() | any)
    }

    /// Waits until every sink has what landed, or fails to take it.
    pub(super) fn finish(&mut self) {
        let begun = clock::now();
        while begun.elapsed() < FINISH_MAX {
            if !self.deliver() {
                if self.posts.iter().all(Post::is_settled) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        if self.waiting() > 0 {
            tracing::warn!(findings = self.waiting(), "not delivered: the next run delivers them");
        }
    }

    /// Whether the state would have the next run deliver what every sink has by now.
    pub(super) fn is_stale(&self) -> bool {
        let served = |post: &Post| post.work.is_some() && post.queue.is_empty();
        self.recorded > 0 && self.unlanded.is_empty() && self.posts.iter().all(served)
    }

    /// Findings that wait for the slowest sink.
    pub(super) fn waiting(&self) -> usize {
        self.posts.iter().map(|post| post.queue.len()).max().unwrap_or(0)
    }

    /// What a run that takes over would have to deliver: everything that some sink may not have had.
    pub(super) fn piece(&mut self) -> Result<Option<(String, Vec<u8>)>> {
        let longest = self.posts.iter().map(|post| &post.queue).max_by_key(|queue| queue.len());
        let Some(queue) = longest else { return Ok(None) };
        let all: Vec<&Finding> = queue.iter().chain(&self.unlanded).collect();
        let kept = &all[all.len().saturating_sub(KEPT_MAX)..];
        self.recorded = kept.len();
        let bytes = serde_json::to_vec(kept).map_err(|e| Error::State(format!("outbox: {e}")))?;
        Ok(Some((PIECE.into(), bytes)))
    }

    /// Reads back what [`piece`](Self::piece) wrote.
    pub(super) fn read(bytes: &[u8]) -> Result<Vec<Finding>> {
        serde_json::from_slice(bytes).map_err(|e| Error::State(format!("outbox: {e}")))
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        for post in &mut self.posts {
            post.work = None;
            // A sink that hangs must not hang the program's end: what it has not answered is in the state.
            if let Some(thread) = post.thread.take().filter(|_| post.in_flight == 0) {
                let _ = thread.join();
            }
        }
    }
}
