//! A pipeline inside your own process: push bytes or Arrow batches, get findings back at once. No server, no lake.
//!
//! ```
//! use palisade::Pipeline;
//!
//! let mut pipeline = Pipeline::builder().source("audit", "k8s_audit").cluster("prod").build()?;
//! let line = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete",
//!   "verb":"create","user":{"username":"alice"},"requestURI":"/api/v1/namespaces/prod/pods/web/exec",
//!   "objectRef":{"resource":"pods","subresource":"exec","namespace":"prod","name":"web"},"responseStatus":{"code":101},
//!   "stageTimestamp":"2026-01-01T00:00:00.000000Z"}"#;
//! let mut findings = pipeline.push("audit", [line])?;
//! findings.extend(pipeline.finish()?);
//! assert!(findings.iter().any(|finding| finding.explanation.contains("alice")));
//! # Ok::<(), palisade::Error>(())
//! ```
//!
//! Not here: threads, commits and restarts; those are [`crate::run`]'s.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use palisade_events::id::LaneHash;
use palisade_events::{Chunk, Coverage, EventBatch, Finding, Lane, Pane, Reject, col};

use crate::config::Config;
use crate::engine::{Accounts, Engine, LaneOutput, lane_key};
use crate::error::{Error, Result};
use crate::plan::Plan;

/// Bytes and records worked at once.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_RECORDS: usize = 8192;
/// Rejects and coverage facts kept until they are asked for; the oldest go first beyond that.
const KEPT_MAX: usize = 10_000;

/// A synchronous pipeline over in-process channels. See the module's text.
pub struct Pipeline {
    plan: Plan,
    engine: Engine,
    lanes: BTreeMap<String, (Arc<Lane>, i64)>,
    rejects: Vec<Reject>,
    coverage: Vec<Coverage>,
}

/// Collects what a [`Pipeline`] is made from.
#[derive(Clone, Debug, Default)]
pub struct PipelineBuilder {
    toml: String,
    sources: String,
}

impl PipelineBuilder {
    /// Adds a source: its name and the format of its records (`k8s_audit`, `falco`, `auditd`).
    pub fn source(mut self, name: &str, format: &str) -> Self {
        let name = toml::Value::from(name);
        let format = toml::Value::from(format);
        self.sources.push_str(&format!("\n[[source]]\nkind = \"channel\"\nname = {name}\nformat = {format}\n"));
        self
    }

    /// Names the cluster of the source added last.
    pub fn cluster(mut self, cluster: &str) -> Self {
        self.sources.push_str(&format!("cluster = {}\n", toml::Value::from(cluster)));
        self
    }

    /// Reads the records of the source added last by a mapping file.
    pub fn mapping(mut self, path: &std::path::Path) -> Self {
        self.sources.push_str(&format!("mapping = {}\n", toml::Value::from(path.display().to_string())));
        self
    }

    /// Adds settings as in the configuration file: `[pipeline]`, `[rules]`, `[anomaly.event_rate]` …
    pub fn settings(mut self, toml: &str) -> Self {
        self.toml.push_str(toml);
        self.toml.push('\n');
        self
    }

    /// Compiles rules and makes the pipeline.
    ///
    /// # Errors
    /// When a setting is wrong (key and line are named), or rules cannot be loaded.
    pub fn build(self) -> Result<Pipeline> {
        let text = format!("{}{}", self.toml, self.sources);
        let config = Config::parse("pipeline settings", &text, &BTreeMap::new())?;
        Pipeline::new(&config)
    }
}

impl Pipeline {
    /// Starts a builder.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::default()
    }

    /// A pipeline with the stages of a configuration; its sources name the channels, and its lake is left alone.
    ///
    /// # Errors
    /// When rules, mappings or correlations cannot be used.
    pub fn new(config: &Config) -> Result<Self> {
        let plan = Plan::new(config)?;
        let engine = plan.engine()?;
        Ok(Self { plan, engine, lanes: BTreeMap::new(), rejects: Vec::new(), coverage: Vec::new() })
    }

    /// Hands records of a source over, in order. Returns what was found: rule findings at once, statistical and
    /// correlated ones when event time has passed the end of their pane.
    ///
    /// # Errors
    /// When the source is unknown or a stage cannot go on. Records that cannot be read are no error: see
    /// [`rejects`](Self::rejects).
    pub fn push<R: AsRef<[u8]>>(&mut self, source: &str, records: impl IntoIterator<Item = R>) -> Result<Vec<Finding>> {
        let (key, lane, first) = self.lane(source)?;
        let (mut found, mut next, mut records) = (Vec::new(), first, records.into_iter().peekable());
        while records.peek().is_some() {
            let mut chunk = Chunk::new(Arc::clone(&lane));
            while chunk.bytes.len() < CHUNK_BYTES
                && chunk.records.len() < CHUNK_RECORDS
                && let Some(record) = records.next()
            {
                chunk.push(record.as_ref(), next, None, None);
                next += 1;
            }
            found.extend(self.work(&key, next, |work| work.process(chunk))?);
        }
        Ok(found)
    }

    /// Hands a chunk over that a source or a test made, lane and offsets included.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_chunk(&mut self, chunk: Chunk) -> Result<Vec<Finding>> {
        let key = lane_key(&chunk.lane);
        if !self.lanes.contains_key(&key) {
            self.engine.join(self.plan.lane(&chunk.lane)?);
            self.lanes.insert(key.clone(), (Arc::clone(&chunk.lane), 0));
        }
        let next = chunk.records.last().map_or(0, |record| record.offset + 1);
        self.work(&key, next, |work| work.process(chunk))
    }

    /// Hands an Arrow batch of events over: any batch with a `time` column and some of the event columns, by name. Ids,
    /// positions and lateness are added where they are missing.
    ///
    /// # Errors
    /// When a column has a type that cannot be cast, or `time` is missing or null.
    pub fn push_batch(&mut self, source: &str, batch: &RecordBatch) -> Result<Vec<Finding>> {
        let (key, lane, first) = self.lane(source)?;
        let events = adopt(batch, &lane, first)?;
        let next = first + events.rows() as i64;
        self.work(&key, next, |work| work.process_batch(events))
    }

    /// Declares the input over: closes assemblies and panes, and returns what was found in them.
    ///
    /// # Errors
    /// When a stage cannot go on.
    pub fn finish(&mut self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let keys: Vec<String> = self.lanes.keys().cloned().collect();
        for key in &keys {
            let next = self.lanes.get(key).map_or(0, |(_, next)| *next);
            findings.extend(self.work(key, next, |work| work.finish())?);
        }
        for key in &keys {
            self.engine.end(key);
        }
        let found = self.engine.close_all()?;
        findings.extend(self.owned(found));
        Ok(findings)
    }

    /// Takes what could not be read since the last call.
    pub fn rejects(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejects)
    }

    /// What was learnt since the last call about what sources lost or could not tell.
    pub fn coverage(&mut self) -> Vec<Coverage> {
        std::mem::take(&mut self.coverage)
    }

    /// Detectors that could not judge a pane since the last call, and why: such a pane counts as without findings. One
    /// reason is calling the pipeline from inside an asynchronous task while SQL correlations are on.
    pub fn failures(&mut self) -> Vec<String> {
        self.engine.take_failures()
    }

    /// Where records went.
    pub fn accounts(&self) -> Accounts {
        self.engine.accounts()
    }

    /// What was wrong with rules; those with a fatal problem were left out.
    pub fn problems(&self) -> &[palisade_rules::Problem] {
        &self.plan.problems
    }

    fn lane(&mut self, source: &str) -> Result<(String, Arc<Lane>, i64)> {
        let lane = Arc::new(Lane::channel(source, source));
        let key = lane_key(&lane);
        if let Some((lane, next)) = self.lanes.get(&key) {
            return Ok((key, Arc::clone(lane), *next));
        }
        self.engine.join(self.plan.lane(&lane)?);
        self.lanes.insert(key.clone(), (Arc::clone(&lane), 0));
        Ok((key, lane, 0))
    }

    fn work(
        &mut self,
        key: &str,
        next: i64,
        work_on: impl FnOnce(&mut crate::engine::LaneWork) -> Result<LaneOutput>,
    ) -> Result<Vec<Finding>> {
        let mut work = self.engine.checkout(key).ok_or_else(|| Error::State(format!("lane {key} is not here")))?;
        let output = work_on(&mut work)?;
        self.engine.merge(work, &output);
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.1 = next;
        }
        keep(&mut self.rejects, output.rejects);
        keep(&mut self.coverage, output.coverage);
        let mut findings: Vec<Finding> = output.findings.into_iter().map(|(_, finding)| finding).collect();
        let found = self.engine.close_ready()?;
        findings.extend(self.owned(found));
        Ok(findings)
    }

    fn owned(&self, found: Vec<(Pane, Finding)>) -> impl Iterator<Item = Finding> {
        let owners = self.plan.stages().owners.clone();
        found.into_iter().map(move |(_, mut finding)| {
            finding.owner = finding.owner.or_else(|| owners.of(&finding.entity));
            finding
        })
    }
}

/// Keeps the newest up to a bound.
fn keep<T>(kept: &mut Vec<T>, new: Vec<T>) {
    kept.extend(new);
    if kept.len() > KEPT_MAX {
        kept.drain(..kept.len() - KEPT_MAX);
    }
}

/// Makes event rows of any batch: adds what a lane knows and the batch does not say.
fn adopt(batch: &RecordBatch, lane: &Lane, first: i64) -> Result<EventBatch> {
    let rows = batch.num_rows();
    let hash = LaneHash::new(lane);
    let mut columns: Vec<(String, ArrayRef)> =
        batch.schema().fields().iter().map(|f| f.name().clone()).zip(batch.columns().iter().cloned()).collect();
    let mut add = |name: &str, make: &dyn Fn() -> ArrayRef| {
        if batch.column_by_name(name).is_none_or(|column| column.null_count() == rows) {
            columns.retain(|(known, _)| known != name);
            columns.push((name.to_owned(), make()));
        }
    };
    let numbers = || (first..first + rows as i64).collect::<Vec<i64>>();
    add(col::EVENT_UID.name(), &|| {
        let uids = numbers().into_iter().map(|n| String::from_utf8_lossy(&hash.event_uid(n, 0)).into_owned());
        Arc::new(uids.map(Some).collect::<StringArray>())
    });
    add(col::OFFSET.name(), &|| Arc::new(Int64Array::from(numbers())));
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
    add(col::SOURCE.name(), &|| same(&lane.source));
    add(col::ORIGIN.name(), &|| same(&lane.origin));
    add(col::FORMAT.name(), &|| same("arrow"));
    add(col::LATE.name(), &|| Arc::new(BooleanArray::from(vec![false; rows])));
    let zeros = || -> ArrayRef { Arc::new(arrow::array::Int32Array::from(vec![0; rows])) };
    add(col::CLASS_UID.name(), &zeros);
    add(col::ACTIVITY_ID.name(), &zeros);
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .map_err(palisade_events::Error::from)?;
    Ok(EventBatch::from_columns(&batch)?)
}
