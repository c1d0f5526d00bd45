//! Two threads behind the run loop: one encodes batches into files as they come, one commits cuts.
//!
//! Both are fed through bounded queues. While a cut is being committed, the next one's events are encoded already.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow::record_batch::RecordBatch;
use palisade_events::EventBatch;
use palisade_events::facts::{coverage_batch, decisions_batch, rejects_batch};
use palisade_events::finding::findings_batch;
use palisade_events::object::objects_batch;
use palisade_lake::{
    CommitError, DataFile, EventWriter, Lake, LaneState, MaintenanceOptions, Manifest, Table, TableWriter,
    WriterOptions,
};
use tokio::runtime::Runtime;

use super::cut::{Cut, LaneBytes, owner_id};
use super::trouble::Trouble;
use crate::clock;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::metrics::Metrics;

/// Batches that may wait for the encoder: of some chunks of about 1 MiB each, which bounds them to tens of MiB.
const BATCHES_WAITING: usize = 16;
/// Commits between maintenance runs.
const MAINTENANCE_EVERY: i64 = 64;
/// Cuts between prunings of old state.
const PRUNE_EVERY: i64 = 16;
/// How long a lake that cannot be reached is waited for by a process that was told to stop.
const LAST_PATIENCE: Duration = Duration::from_secs(10);

/// What the run loop holds of the two threads.
pub(super) struct Writer {
    work: Option<SyncSender<Work>>,
    landed: Receiver<Result<i64>>,
    closing: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

enum Work {
    Events(EventBatch),
    Cut(Box<Cut>),
}

struct CutFiles {
    cut: Box<Cut>,
    events: Vec<DataFile>,
    rows: u64,
}

impl Writer {
    /// Starts the threads.
    pub(super) fn start(owned: Owned, config: &Config, metrics: Arc<Metrics>, stop: Arc<AtomicBool>) -> Result<Self> {
        let Owned { lake, runtime, epoch } = owned;
        let closing = Arc::new(AtomicBool::new(false));
        let is_closing = Arc::clone(&closing);
        let (job, patience) = (config.job.clone(), clock::secs(config.pipeline.patience_secs));
        let (work, work_rx) = sync_channel::<Work>(BATCHES_WAITING);
        let (files, files_rx) = sync_channel::<Result<CutFiles>>(1);
        let (done, landed) = sync_channel::<Result<i64>>(2);
        let encode = move || {
            let mut writer = EventWriter::new(WriterOptions::default());
            while let Ok(work) = work_rx.recv() {
                let outcome = match work {
                    Work::Events(batch) => match writer.push(&batch) {
                        Ok(()) => continue,
                        Err(error) => Err(error.into()),
                    },
                    Work::Cut(cut) => finish(&mut writer, cut),
                };
                let failed = outcome.is_err();
                if files.send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        let commit = move || {
            let mut committer = Committer { lake, runtime, job, epoch, metrics, patience, stop, closing: is_closing };
            while let Ok(files) = files_rx.recv() {
                let outcome = files.and_then(|files| committer.insist(&files));
                let failed = outcome.is_err();
                if done.send(outcome).is_err() || failed {
                    return;
                }
            }
        };
        let spawn = |name: &str, body: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(body);
            thread.map_err(Error::io(format!("starting the {name} thread")))
        };
        let threads = vec![spawn("encode", Box::new(encode))?, spawn("commit", Box::new(commit))?];
        Ok(Self { work: Some(work), landed, threads, closing })
    }

    /// Offers a batch; gives it back while the encoder is behind.
    pub(super) fn offer(&self, batch: EventBatch) -> Result<Option<EventBatch>> {
        let Some(work) = &self.work else { return Err(Error::Thread("encode")) };
        match work.try_send(Work::Events(batch)) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(Work::Events(batch))) => Ok(Some(batch)),
            Err(_) => Err(self.why_gone()),
        }
    }

    /// Hands over a cut. Waits for a place behind the batches that belong to it.
    pub(super) fn cut(&self, cut: Cut) -> Result<()> {
        let Some(work) = &self.work else { return Err(Error::Thread("encode")) };
        work.send(Work::Cut(Box::new(cut))).map_err(|_| self.why_gone())
    }

    /// The number of a cut that has landed since the last call, if one has within `wait`.
    pub(super) fn landed(&self, wait: Duration) -> Result<Option<i64>> {
        let outcome = if wait.is_zero() {
            self.landed.try_recv().map_err(|e| matches!(e, TryRecvError::Disconnected))
        } else {
            self.landed.recv_timeout(wait).map_err(|e| matches!(e, RecvTimeoutError::Disconnected))
        };
        match outcome {
            Ok(outcome) => outcome.map(Some),
            Err(false) => Ok(None),
            Err(true) => Err(Error::Thread("commit")),
        }
    }

    /// The error that ended a thread, which waits in the queue of outcomes.
    fn why_gone(&self) -> Error {
        match self.landed.recv_timeout(Duration::from_secs(60)) {
            Ok(Err(error)) => error,
            _ => Error::Thread("encode"),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.work = None;
        self.closing.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic there was reported by the runtime already; the loop saw the queue close.
            let _ = thread.join();
        }
    }
}

fn finish(writer: &mut EventWriter, cut: Box<Cut>) -> Result<CutFiles> {
    let rows = writer.rows();
    let events = writer.finish()?;
    Ok(CutFiles { cut, events, rows })
}

/// A lake that this process owns, under an epoch, and what drives it.
pub(super) struct Owned {
    pub(super) lake: Lake,
    pub(super) runtime: Runtime,
    pub(super) epoch: i64,
}

struct Committer {
    lake: Lake,
    runtime: Runtime,
    job: String,
    epoch: i64,
    metrics: Arc<Metrics>,
    patience: Duration,
    stop: Arc<AtomicBool>,
    /// The run is over, whatever becomes of this cut.
    closing: Arc<AtomicBool>,
}

impl Committer {
    /// Commits a cut, again and again while the lake cannot be reached: what of it has landed is known by its name.
    fn insist(&mut self, files: &CutFiles) -> Result<i64> {
        let mut trouble = None;
        loop {
            let error = match self.commit(files) {
                Err(Error::Lake(error)) if error.may_pass() && !self.closing.load(Ordering::Relaxed) => error.into(),
                outcome => {
                    self.metrics.recover("lake");
                    return outcome;
                }
            };
            let patience =
                if self.stop.load(Ordering::Relaxed) { self.patience.min(LAST_PATIENCE) } else { self.patience };
            trouble = Trouble::again(trouble, patience);
            let Some(waiting) = trouble else { return Err(error) };
            tracing::warn!(%error, again_in = ?waiting.pause_left(), "a cut waits for the lake");
            self.metrics.degrade("lake", error.to_string());
            std::thread::sleep(waiting.pause_left());
        }
    }

    fn commit(&mut self, files: &CutFiles) -> Result<i64> {
        let begun: Instant = clock::now();
        let CutFiles { cut, events, rows } = files;
        let bytes: usize = events.iter().map(|file| file.bytes.content_length()).sum();
        let ledger = palisade_lake::ledger::sources_batch(&self.job, &cut.files)?;
        let files = [
            (Table::Decisions, encode(Table::Decisions, &decisions_batch(&cut.decisions)?)?),
            (Table::Sources, encode(Table::Sources, &ledger)?),
            (Table::Events, events.clone()),
            (Table::Rejects, encode(Table::Rejects, &rejects_batch(&cut.rejects)?)?),
            (Table::Coverage, encode(Table::Coverage, &coverage_batch(&cut.coverage)?)?),
            (Table::Objects, encode(Table::Objects, &objects_batch(&cut.objects)?)?),
            (Table::Findings, encode(Table::Findings, &findings_batch(&cut.findings)?)?),
        ];
        // A cut without any row goes into a log all the same: there it learns that another owner has taken over, and
        // there its number is taken.
        let mut must_put = files.iter().all(|(_, files)| files.is_empty());
        for (table, files) in files {
            self.put(cut, table, files, std::mem::take(&mut must_put))?;
        }
        self.manifest(cut)?;
        self.metrics.rows_landed.inc_by(*rows);
        self.metrics.bytes_landed.inc_by(bytes as u64);
        self.metrics.cuts.inc();
        self.metrics.cut_millis.set(i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX));
        tracing::debug!(cut = cut.number, rows, bytes, millis = begun.elapsed().as_millis() as u64, "cut landed");
        self.maintain(cut.number);
        Ok(cut.number)
    }

    /// Commits files to a table. A table without new rows is left alone unless it must be put, since a replay begins at the
    /// manifest in any case; but what it holds beyond the manifest must be in its log before the ledger goes on without
    /// it.
    fn put(&mut self, cut: &Cut, table: Table, files: Vec<DataFile>, must: bool) -> Result<()> {
        if !must && files.is_empty() && !cut.owes(&self.job, table, |id| self.lake.landed(table, id)) {
            return Ok(());
        }
        // A replay may cut earlier than the crash did: what a table has already, it keeps.
        let mut txns = cut.txns(&self.job, table);
        for (id, version) in &mut txns {
            *version = (*version).max(self.lake.landed(table, id).unwrap_or(i64::MIN));
        }
        let owner = owner_id(&self.job);
        let uid = format!("{}/{}/{}/{}", self.job, self.epoch, cut.number, table.name());
        let commit = self.lake.commit(table, files, &txns, (&owner, self.epoch), &uid);
        match self.runtime.block_on(commit) {
            Ok(landed) => {
                tracing::trace!(table = table.name(), version = landed.version, "landed");
                Ok(())
            }
            Err(CommitError::Fenced { epoch, .. }) => Err(Error::Fenced { job: self.job.clone(), epoch }),
            Err(CommitError::Store { source, .. }) => Err(source.into()),
            Err(error @ CommitError::Conflict { .. }) => Err(Error::State(error.to_string())),
        }
    }

    fn manifest(&mut self, cut: &Cut) -> Result<()> {
        let state = self.lake.state(&self.job);
        let mut lanes = std::collections::BTreeMap::new();
        let mut pieces = std::collections::BTreeMap::new();
        for (key, lane) in &cut.lanes {
            let chunk = match &lane.state {
                LaneBytes::Now(bytes) => Some(self.runtime.block_on(state.put_chunk(bytes.clone()))?),
                LaneBytes::Stored(hash) => hash.clone(),
            };
            let state = LaneState {
                lane: lane.lane.as_ref().clone(),
                next_offset: lane.next_offset,
                chunk,
                config_fingerprint: lane.fingerprint.clone(),
            };
            lanes.insert(key.clone(), state);
        }
        for (name, bytes) in &cut.pieces {
            pieces.insert(name.clone(), self.runtime.block_on(state.put_chunk(bytes.clone()))?);
        }
        let manifest = Manifest {
            version: palisade_lake::state::MANIFEST_VERSION,
            job: self.job.clone(),
            cut: cut.number,
            epoch: self.epoch,
            frontier_us: cut.frontier,
            lanes,
            config_fingerprint: cut.fingerprint.clone(),
            pieces,
            accounting: cut.accounting.clone(),
            created_us: cut.created_us,
        };
        self.runtime.block_on(state.put_manifest(&manifest))?;
        Ok(())
    }

    /// Housekeeping between commits. What fails here is tried again later and endangers nothing.
    fn maintain(&mut self, cut: i64) {
        if cut % PRUNE_EVERY == 0 {
            let state = self.lake.state(&self.job);
            if let Err(error) = self.runtime.block_on(state.prune()) {
                tracing::warn!(%error, "old state was not pruned");
            }
        }
        if cut % MAINTENANCE_EVERY == 0
            && let Err(error) = self.runtime.block_on(self.lake.maintain(MaintenanceOptions::default()))
        {
            tracing::warn!(%error, "maintenance failed");
        }
    }
}

fn encode(table: Table, batch: &RecordBatch) -> Result<Vec<DataFile>> {
    if batch.num_rows() == 0 {
        return Ok(Vec::new());
    }
    let mut writer = TableWriter::new(table, WriterOptions::default());
    writer.push(batch)?;
    Ok(writer.finish()?)
}
