//! The seams between stages: what a source hands over, what a detector is given and gives back, what a sink takes.
//!
//! Not here: the run loop that joins them, nor anything asynchronous. All seams are synchronous; `palisade` owns the
//! threads.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::batch::EventBatch;
use crate::facts::Coverage;
use crate::finding::Finding;
use crate::id::content_hash;
use crate::position::Lane;
use crate::time::Micros;

/// Consecutive records of one lane, in one buffer, as they came off the wire.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The lane.
    pub lane: Arc<Lane>,
    /// All payloads, one after the other.
    pub bytes: Vec<u8>,
    /// Where each record lies in `bytes`, in lane order.
    pub records: Vec<RecordMeta>,
    /// What is missing before these records, such as offsets that expired; the lane fills in the window.
    pub facts: Vec<Coverage>,
}

impl Chunk {
    /// An empty chunk of a lane.
    pub fn new(lane: Arc<Lane>) -> Self {
        Self { lane, bytes: Vec::new(), records: Vec::new(), facts: Vec::new() }
    }

    /// Appends a record.
    pub fn push(&mut self, payload: &[u8], offset: i64, line: Option<i64>, time: Option<Micros>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        let end = self.bytes.len();
        self.records.push(RecordMeta { start, end, offset, line, time, ..RecordMeta::default() });
    }

    /// The payload of a record.
    pub fn payload(&self, record: &RecordMeta) -> &[u8] {
        &self.bytes[record.start..record.end]
    }
}

/// One record of a [`Chunk`].
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RecordMeta {
    /// First byte in the chunk's buffer.
    pub start: usize,
    /// Past the last byte.
    pub end: usize,
    /// Kafka offset, or the record's number in its file, from 0.
    pub offset: i64,
    /// Line in a file, from 1.
    pub line: Option<i64>,
    /// Time that the carrier gave the record (Kafka timestamp).
    pub time: Option<Micros>,
    /// The time is the broker's own, so that event times may be measured by it. A producer's clock may be as wrong as the
    /// event's.
    pub time_is_brokers: bool,
    /// Cluster named by a header of the record.
    pub cluster: Option<Arc<str>>,
    /// The record's key, if it has one: its text, or its bytes in hexadecimal where they are none. Sources bound its length.
    pub key: Option<Box<str>>,
    /// W3C trace context that came with the record: a valid `traceparent` of version 00, in lower case.
    pub trace: Option<Box<str>>,
    /// The record has no value at all: it says that what its key names is gone. It is counted and makes neither an event nor
    /// a reject.
    pub tombstone: bool,
    /// The record was delivered before and is here only as context (a CSV header on resuming): it is not counted and
    /// makes no event.
    pub again: bool,
}

/// What a source has to say.
#[derive(Debug)]
pub enum Signal {
    /// Records of a lane that was started.
    Records(Chunk),
    /// Lanes that wait to be started: answer each with [`Source::start`].
    Joined(Vec<Arc<Lane>>),
    /// The lane has no further records at this moment (end of partition, end of file).
    CaughtUp(Arc<Lane>),
    /// Lanes that are to be given up: flush and commit, then answer with [`Source::release`].
    Leaving(Vec<Arc<Lane>>),
    /// Something about the source's completeness that no record tells, such as an expired offset.
    Fact(Coverage),
    /// Nothing within the wait.
    Nothing,
    /// The source has ended for good: all its lanes are read to their ends.
    Finished,
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("source {source_name}: {why}")]
pub struct SourceError {
    /// Name of the source.
    pub source_name: String,
    /// What went wrong, and where.
    pub why: String,
    /// Whether trying again can help.
    pub retry: bool,
}

/// Where a lane goes on that was read before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// Offset of the next record.
    pub next_offset: i64,
    /// The last record that was read before it, if it is remembered.
    pub last: Option<RecordMark>,
}

impl Resume {
    /// Goes on at an offset, without anything to compare.
    pub fn at(next_offset: i64) -> Self {
        Self { next_offset, last: None }
    }
}

/// Tells a record from another one at the same offset: a topic that was made anew under its name has other records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordMark {
    /// Offset of the record.
    pub offset: i64,
    /// Time that the carrier gave it.
    pub time: Option<Micros>,
    /// Hash of its payload.
    pub hash: String,
}

impl RecordMark {
    /// Marks a record.
    pub fn new(offset: i64, time: Option<Micros>, payload: &[u8]) -> Self {
        Self { offset, time, hash: content_hash("palisade.record.v1", payload) }
    }

    /// Marks the last record of a chunk that was not delivered before. Ask before the chunk is decoded: decoders may
    /// overwrite its bytes.
    pub fn of(chunk: &Chunk) -> Option<Self> {
        let last = chunk.records.iter().rev().find(|record| !record.again)?;
        Some(Self::new(last.offset, last.time, chunk.payload(last)))
    }
}

/// An input with lanes.
///
/// Legal order for a lane: `Joined`, then `start`, then `Records` and `CaughtUp` in any order, then `Leaving`, then
/// `release`. Records of a lane come in offset order, and a lane that was not started yields none.
pub trait Source: Send {
    /// The source's name in the configuration.
    fn name(&self) -> &str;

    /// What comes next, waiting at most `wait`.
    ///
    /// # Errors
    /// When the source cannot go on; [`SourceError::retry`] says whether a later call may succeed.
    fn next(&mut self, wait: Duration) -> Result<Signal, SourceError>;

    /// Starts lanes where they go on; `None` is where the source's own configuration says to begin. After an error that
    /// may pass, call it again with the same lanes.
    ///
    /// A source whose offsets do not outlive what they point into (a topic that is deleted and made anew) looks at
    /// [`Resume::last`] and refuses a lane that has another record there, by this call or by a later one of
    /// [`next`](Self::next). A record that is gone is no other record.
    ///
    /// # Errors
    /// When the source cannot position itself there.
    fn start(&mut self, lanes: &[(Arc<Lane>, Option<Resume>)]) -> Result<(), SourceError>;

    /// Lets go of lanes, after what they delivered was committed.
    ///
    /// # Errors
    /// When the source cannot go on afterwards.
    fn release(&mut self, lanes: &[Arc<Lane>]) -> Result<(), SourceError>;

    /// Holds a lane back, or lets it go on. A held lane delivers nothing and loses nothing.
    fn hold(&mut self, lane: &Arc<Lane>, hold: Hold);

    /// Learns what has landed: next offsets by lane. For lag tools only; nothing is read back from it.
    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]);

    /// Where a lane really begins that was started at no offset of its own, if the source knows: it is recorded with the
    /// next cut, so that a later start does not skip what came meanwhile.
    fn begins_at(&self, _lane: &Lane) -> Option<i64> {
        None
    }

    /// How many lanes of the source other instances hold: stateful stages need them all.
    ///
    /// # Errors
    /// When the source cannot tell.
    fn missing_lanes(&self) -> Result<usize, SourceError> {
        Ok(0)
    }
}

/// Whether a lane is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Hold {
    Hold,
    Release,
}

/// One aligned slice of event time: `start` is inside, `end` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pane {
    /// First moment.
    pub start: Micros,
    /// First moment after it.
    pub end: Micros,
}

/// The division of event time into panes of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Panes {
    length: Micros,
}

impl Panes {
    /// Panes of `length` microseconds, at least one, aligned to the epoch.
    pub fn new(length: Micros) -> Self {
        Self { length: length.max(1) }
    }

    /// Microseconds in a pane.
    pub fn length(&self) -> Micros {
        self.length
    }

    /// The pane of a moment.
    pub fn of(&self, time: Micros) -> Pane {
        let start = time.div_euclid(self.length) * self.length;
        Pane { start, end: start + self.length }
    }
}

/// What is known about a pane when it closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaneCoverage {
    /// Nothing is known to be missing.
    Complete,
    /// Events are known to be missing: nothing may be learnt from it.
    Lossy,
}

impl PaneCoverage {
    /// The name as stored in findings.
    pub fn name(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::Lossy => "lossy",
        }
    }
}

/// A detector's fold over one lane: open panes and what they hold so far.
///
/// A partial is an Arrow batch of the detector's own schema, one row per key, in key order. Folding the same rows in the
/// same lane order gives the same partial, however they were batched; keep only sums of integers, minima, maxima and
/// sets, so that lanes merge in any interleaving.
pub trait LaneFold: Send {
    /// Folds rows of a batch. `panes` lists, in pane order, which rows (ascending) belong to which pane; rows that are
    /// late or beyond the future bound are in none.
    ///
    /// # Errors
    /// When the fold cannot go on; the batch was not folded.
    fn fold(&mut self, batch: &EventBatch, panes: &[(Pane, Vec<u32>)]) -> Result<()>;

    /// Takes what a pane holds, removing it. `None` if it holds nothing.
    ///
    /// # Errors
    /// When the partial cannot be built.
    fn take(&mut self, pane: Pane) -> Result<Option<RecordBatch>>;

    /// What every open pane holds, in pane order, without removing it.
    ///
    /// # Errors
    /// When a partial cannot be built.
    fn snapshot(&self) -> Result<Vec<(Pane, RecordBatch)>>;

    /// Puts back what [`snapshot`](Self::snapshot) gave.
    ///
    /// # Errors
    /// When the batch is not a partial of this detector.
    fn restore(&mut self, pane: Pane, partial: &RecordBatch) -> Result<()>;
}

/// A stage that finds things in closed panes. Synchronous: usable in any loop.
///
/// Call order: [`lane`](Self::lane) once per lane, then for each pane, in pane order, [`close`](Self::close) with the
/// partials of all lanes in lane order. `close` blocks its thread until the pane is judged, which inside a runtime other
/// tasks will notice: call it where blocking is allowed, such as in tokio's `spawn_blocking`.
pub trait Detector: Send {
    /// Stable name: part of finding ids and of stored state.
    fn uid(&self) -> &str;

    /// A fresh fold for a lane.
    fn lane(&self) -> Box<dyn LaneFold>;

    /// Closes a pane. Panes come in order. One without data is announced only when something is known to be missing from
    /// it, as [`PaneCoverage::Lossy`] without partials: nothing may be judged or learnt there, and findings of windows that
    /// it lies in say so. Every other pane that was not announced held nothing.
    /// Findings come out in a fixed order.
    ///
    /// # Errors
    /// When the pane cannot be judged. It then counts as lossy: nothing is learnt from it, rows that are kept for a window
    /// stay in it, and later findings of that window say that something is missing.
    fn close(&mut self, pane: Pane, coverage: PaneCoverage, partials: &[RecordBatch]) -> Result<Vec<Finding>>;

    /// What the detector holds or had to leave out, by stable `snake_case` names: for whoever watches it.
    fn gauges(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// The detector's state in pieces, by name. A piece that did not change keeps its bytes, so that only what changed
    /// need be stored.
    ///
    /// # Errors
    /// When state cannot be written.
    fn snapshot(&self) -> Result<Vec<(String, Vec<u8>)>>;

    /// Puts back what [`snapshot`](Self::snapshot) gave, all pieces at once.
    ///
    /// # Errors
    /// When the bytes are damaged or of another version.
    fn restore(&mut self, pieces: &[(String, Vec<u8>)]) -> Result<()>;
}

/// Why a sink did not take findings.
#[derive(Debug, thiserror::Error)]
#[error("sink {sink}: {why}")]
pub struct SinkError {
    /// Name of the sink.
    pub sink: String,
    /// What went wrong.
    pub why: String,
    /// Whether trying again can help.
    pub retry: bool,
}

/// A receiver of findings that have landed in the lake. May be handed a finding again after a restart: receivers dedupe
/// by `finding_uid`.
pub trait Sink: Send {
    /// The sink's name.
    fn name(&self) -> &str;

    /// Takes findings, all or none.
    ///
    /// # Errors
    /// When they were not taken.
    fn deliver(&mut self, findings: &[Finding]) -> Result<(), SinkError>;
}
