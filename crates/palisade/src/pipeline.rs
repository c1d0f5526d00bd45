//! A pipeline inside your own process: push bytes or Arrow batches, get findings back at once. No server, no lake.
//!
//! ```
//! use palisade::Pipeline;
//!
//! let mut pipeline = Pipeline::builder().source("audit", "k8s_audit").cluster("prod").build()?;
//! let line = br#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseStarted",
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
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use palisade_events::id::LaneHash;
use palisade_events::time::Micros;
use palisade_events::{Chunk, Coverage, EventBatch, Finding, Lane, ObjectVersion, Pane, Reject, col};

use crate::config::origin::Origin;
use crate::config::{Config, ConfigError, SourceConfig, SourceKind};
use crate::engine::{Accounts, Belief, Engine, LaneOutput, lane_key};
use crate::error::{Error, Result};
use crate::owners::Ownership;
use crate::plan::{Feed, Plan};

/// Bytes and records worked at once.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_RECORDS: usize = 8192;
/// Rejects, coverage facts and versions of objects kept until they are asked for; the oldest go first beyond that.
const KEPT_MAX: usize = 10_000;
/// Event times that the tables can hold: years 0 to 9999.
const TIMES: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

/// A synchronous pipeline over in-process channels. See the module's text.
///
/// A source takes part in event time from its first record on: panes close when every source that has shown records has
/// passed their end. Records go in until [`finish`](Self::finish). After an error by which a stage cannot go on, the
/// pipeline is to be dropped, since part of the records may have been worked.
pub struct Pipeline {
    plan: Plan,
    engine: Engine,
    lanes: BTreeMap<String, (Arc<Lane>, i64)>,
    rejects: Vec<Reject>,
    coverage: Vec<Coverage>,
    objects: Vec<ObjectVersion>,
    believed_until: Option<Micros>,
    finished: bool,
}

/// Collects what a [`Pipeline`] is made from. What was said wrongly is told by [`build`](Self::build).
///
/// ```
/// use palisade::{Ownership, Pipeline};
///
/// let pipeline = Pipeline::builder()
///     .source("audit", "k8s_audit")
///     .cluster("prod")
///     .owner(Ownership { owner: "team-payments".into(), namespace: Some("payments*".into()), ..Ownership::default() })
///     .settings("[anomaly.event_rate]\nfalse_findings_per_day = 1.0")
///     .build()?;
/// assert!(pipeline.accounts().balance());
/// # Ok::<(), palisade::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct PipelineBuilder {
    config: Config,
    /// Name and text of what [`settings`](Self::settings) was given, for errors that name a line of it.
    texts: Vec<(String, String)>,
    /// The first thing that was said wrongly.
    wrong: Option<ConfigError>,
}

/// What errors name where no text says it.
const BUILDER: &str = "pipeline builder";

impl PipelineBuilder {
    /// Begins from a configuration instead of from the defaults: what was said before is replaced. Its sources, of
    /// whatever kind, name the channels that records are pushed to; its lake, sinks and HTTP server are left alone.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self.texts.clear();
        self
    }

    /// Adds a source: its name, which is part of event ids, and the format of its records (`k8s_audit`, `falco`,
    /// `auditd`, or `mapped` with a [`mapping`](Self::mapping)).
    pub fn source(mut self, name: &str, format: &str) -> Self {
        self.config.sources.push(SourceConfig::new(name, SourceKind::Channel, format));
        self
    }

    /// Names the cluster of the source added last.
    pub fn cluster(self, cluster: &str) -> Self {
        self.last("cluster", |source| source.cluster = cluster.to_owned())
    }

    /// Reads the records of the source added last, of format `mapped`, by a mapping file.
    pub fn mapping(self, path: impl AsRef<Path>) -> Self {
        self.last("mapping", |source| source.mapping = Some(path.as_ref().to_owned()))
    }

    /// Adds a file or folder of Sigma rules to those that run. The starter pack runs as well, unless settings turn it
    /// off.
    pub fn rules(mut self, path: impl AsRef<Path>) -> Self {
        self.config.rules.paths.push(path.as_ref().to_owned());
        self
    }

    /// Adds a file or folder of SQL correlations to those that run.
    pub fn correlations(mut self, path: impl AsRef<Path>) -> Self {
        self.config.correlate.paths.push(path.as_ref().to_owned());
        self
    }

    /// Adds a line of ownership, after those that are there: the first one that fits decides.
    pub fn owner(mut self, line: Ownership) -> Self {
        self.config.owners.push(line);
        self
    }

    /// Lays settings over what is there, as TOML in the manner of the configuration file: `[pipeline]`, `[rules]`,
    /// `[anomaly.event_rate]` … Keys replace those that are there; each `[[owner]]` is added. Sources are not for it.
    pub fn settings(mut self, toml: &str) -> Self {
        let place = match self.texts.len() {
            0 => "settings".to_owned(),
            before => format!("settings (call {})", before + 1),
        };
        if let Err(error) = self.config.merge(&place, toml) {
            self.wrong.get_or_insert(error);
        }
        self.texts.push((place, toml.to_owned()));
        self
    }

    /// Compiles rules and makes the pipeline.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is wrong, a file is not there, or something was said of a source before there
    /// was one: the key is named, with its line in the text that was given to [`settings`](Self::settings).
    /// [`Error::Rules`], [`Error::Correlate`] or [`Error::Usage`] when rules, correlations or a mapping cannot be used.
    pub fn build(self) -> Result<Pipeline> {
        if let Some(wrong) = self.wrong {
            return Err(wrong.into());
        }
        self.config.check_from(&Origin::of_texts(BUILDER, &self.texts))?;
        Pipeline::planned(&self.config)
    }

    fn last(mut self, key: &str, change: impl FnOnce(&mut SourceConfig)) -> Self {
        match self.config.sources.last_mut() {
            Some(source) => change(source),
            None => {
                let why = "is said of the source added last, and there is none: call `source(name, format)` before it";
                let origin = Origin::unwritten(BUILDER);
                self.wrong.get_or_insert_with(|| origin.error(key, why));
            }
        }
        self
    }
}

impl Pipeline {
    /// Starts a builder.
    pub fn builder() -> PipelineBuilder {
        PipelineBuilder::default()
    }

    /// A pipeline with the stages of a configuration; its sources, of whatever kind, name the channels, and its lake is
    /// left alone.
    ///
    /// # Errors
    /// As [`PipelineBuilder::build`].
    pub fn new(config: &Config) -> Result<Self> {
        config.check()?;
        Self::planned(config)
    }

    fn planned(config: &Config) -> Result<Self> {
        let plan = Plan::new(config)?;
        let engine = plan.engine()?;
        let (lanes, rejects, coverage, objects) = (BTreeMap::new(), Vec::new(), Vec::new(), Vec::new());
        Ok(Self { plan, engine, lanes, rejects, coverage, objects, believed_until: None, finished: false })
    }

    /// Says until when event times are believed from the next record on, in microseconds since 1970, UTC: the present time
    /// and some hours, by a clock that the pipeline itself does not have. Events that claim to be later are `time_doubtful`:
    /// rules see them, and they are in no pane; all others may follow each other after any pause. A caller that goes on for
    /// long says it again now and then. The same records give the same findings if they are told the same moments.
    ///
    /// Where it was never said, an event is doubted that is more than 35 days ahead of those before it, until more than eight
    /// in a row are, and beyond the year 2099 in any case.
    pub fn believe_until(&mut self, until: Micros) {
        self.believed_until = Some(until);
    }

    /// Hands records of a source over, in order: each item is one record as its source wrote it, such as a line or a
    /// message. The pipeline numbers them from 0; source and number make the event's id. Returns what was found: rule
    /// findings at once, statistical and correlated ones when event time has passed the end of their pane.
    ///
    /// # Errors
    /// [`Error::Usage`] when no source has that name, or after [`finish`](Self::finish). Others when a stage cannot go
    /// on. Records that cannot be read are no error: see [`rejects`](Self::rejects).
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
            self.admit(&key, &lane)?;
            found.extend(self.work(&key, next, |work| work.process(chunk))?);
        }
        Ok(found)
    }

    /// Hands over a chunk that a source or a test made. Lane and offsets are the caller's: the lane's `source` is one
    /// of the configuration's, and offsets rise within the chunk and from one chunk of the lane to the next, since they
    /// make the events' ids. A lane is worked in the order of the calls. [`push`](Self::push) numbers the records of its
    /// own lane, the channel named like the source, on from the last offset that the lane was given.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_chunk(&mut self, chunk: Chunk) -> Result<Vec<Finding>> {
        self.must_be_open()?;
        self.feed(&chunk.lane.source)?;
        if chunk.records.is_empty() && chunk.facts.is_empty() {
            return Ok(Vec::new());
        }
        let key = lane_key(&chunk.lane);
        self.admit(&key, &chunk.lane)?;
        let known = self.lanes.get(&key).map_or(0, |(_, next)| *next);
        let next = chunk.records.last().map_or(known, |record| record.offset + 1);
        self.work(&key, next, |work| work.process(chunk))
    }

    /// Hands over rows that are events already: an Arrow batch with a `time` column and any of the
    /// [event columns](palisade_events::schema::COLUMNS), by name, in any order. Strings may be plain or dictionaries;
    /// columns that are no event columns are dropped. Secrets are not replaced: batches are taken as they are.
    ///
    /// - `time` is needed: a timestamp of any unit, kept as microseconds since 1970, UTC; nanoseconds are cut. One
    ///   without a zone is UTC, and plain integers are microseconds.
    /// - `format` says what the rows are, as rules and correlations ask for it: `k8s_audit`, `falco`, `auditd`. Left out
    ///   or null, it is the source's own.
    /// - `raw` is the original record as JSON text: a rule that asks for a field without a column of its own takes it
    ///   from here, and does not match without.
    /// - `class_uid` is the OCSF class, which rules about processes, files and connections go by; 0 if left out.
    /// - `cluster_name` is the source's cluster if left out.
    /// - `record_offset` is the number of the row among all of the source's, from 0, if left out; `event_uid` follows
    ///   from the number.
    ///
    /// What a rule asks for is in its text; `packs/starter/fields.toml` says which columns stand for which fields.
    /// Lateness is judged row by row, as for records, whatever the batch says about it.
    ///
    /// # Errors
    /// [`Error::Usage`] when no source has that name, `time` lies outside of the years 0 to 9999, or after
    /// [`finish`](Self::finish); [`Error::Events`] when a column cannot be cast, or `time` is missing or null. Nothing of
    /// such a batch was taken. Others when a stage cannot go on.
    pub fn push_batch(&mut self, source: &str, batch: &RecordBatch) -> Result<Vec<Finding>> {
        let (key, lane, first) = self.lane(source)?;
        let events = adopt(batch, &lane, first, self.feed(source)?)?;
        if events.rows() == 0 {
            return Ok(Vec::new());
        }
        self.admit(&key, &lane)?;
        let next = first + events.rows() as i64;
        self.work(&key, next, |work| work.process_batch(events))
    }

    /// Declares the input over: closes assemblies and panes, and returns what was found in them. Nothing can be pushed
    /// afterwards; rejects, coverage, objects, failures and accounts can still be asked for.
    ///
    /// # Errors
    /// [`Error::Usage`] when it was called before. Others when a stage cannot go on.
    pub fn finish(&mut self) -> Result<Vec<Finding>> {
        self.must_be_open()?;
        self.finished = true;
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
        self.keep_facts();
        findings.extend(self.owned(found));
        Ok(findings)
    }

    /// Takes what could not be read since the last call, oldest first; of more than 10,000 rejects, the newest.
    pub fn rejects(&mut self) -> Vec<Reject> {
        std::mem::take(&mut self.rejects)
    }

    /// Takes what was learnt since the last call about what sources lost or could not tell, oldest first; of more than
    /// 10,000 facts, the newest.
    pub fn coverage(&mut self) -> Vec<Coverage> {
        std::mem::take(&mut self.coverage)
    }

    /// Takes the versions of Kubernetes objects that events have shown since the last call, oldest first; of more than
    /// 10,000, the newest.
    pub fn objects(&mut self) -> Vec<ObjectVersion> {
        std::mem::take(&mut self.objects)
    }

    /// Detectors that could not judge a pane since the last call, and why: such a pane counts as without findings.
    pub fn failures(&mut self) -> Vec<String> {
        self.engine.take_failures()
    }

    /// Counts where records went, since the pipeline was made. A row of a batch is one record.
    pub fn accounts(&self) -> Accounts {
        self.engine.accounts()
    }

    /// Says what was wrong with rules; those with a fatal problem were left out.
    pub fn problems(&self) -> &[palisade_rules::Problem] {
        &self.plan.problems
    }

    fn must_be_open(&self) -> Result<()> {
        if self.finished {
            let why = "the pipeline is finished: its panes are closed, and it takes nothing more; make another one";
            return Err(Error::Usage(why.into()));
        }
        Ok(())
    }

    fn feed(&self, source: &str) -> Result<&Feed> {
        self.plan.feed(source).ok_or_else(|| Error::Usage(format!("the pipeline has no source `{source}`")))
    }

    /// The channel of a source, and the number of its next record.
    fn lane(&self, source: &str) -> Result<(String, Arc<Lane>, i64)> {
        self.must_be_open()?;
        self.feed(source)?;
        let lane = Arc::new(Lane::channel(source, source));
        let key = lane_key(&lane);
        Ok(match self.lanes.get(&key) {
            Some((lane, next)) => (key, Arc::clone(lane), *next),
            None => (key, lane, 0),
        })
    }

    /// Lets a lane take part that now has something to show. One that showed nothing would keep panes open.
    fn admit(&mut self, key: &str, lane: &Arc<Lane>) -> Result<()> {
        if !self.lanes.contains_key(key) {
            self.engine.join(self.plan.lane(lane)?);
            self.lanes.insert(key.to_owned(), (Arc::clone(lane), 0));
        }
        Ok(())
    }

    fn work(
        &mut self,
        key: &str,
        next: i64,
        work_on: impl FnOnce(&mut crate::engine::LaneWork) -> Result<LaneOutput>,
    ) -> Result<Vec<Finding>> {
        let mut work = self.engine.checkout(key).ok_or_else(|| Error::State(format!("lane {key} is not here")))?;
        if let Some(until) = self.believed_until {
            work.believe(Belief { from: work.next_offset().unwrap_or(i64::MIN), until });
        }
        let output = work_on(&mut work)?;
        self.engine.merge(work, &output);
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.1 = next;
        }
        keep(&mut self.rejects, output.rejects);
        keep(&mut self.coverage, output.coverage);
        keep(&mut self.objects, output.objects);
        let mut findings: Vec<Finding> = output.findings.into_iter().map(|(_, finding)| finding).collect();
        let found = self.engine.close_ready()?;
        self.keep_facts();
        findings.extend(self.owned(found));
        Ok(findings)
    }

    /// Keeps what closed panes told of sources that fell silent.
    fn keep_facts(&mut self) {
        let facts = self.engine.take_facts().into_iter().map(|told| told.fact);
        keep(&mut self.coverage, facts.collect());
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

/// Makes event rows of any batch: adds what a lane and its source know and the batch does not say.
fn adopt(batch: &RecordBatch, lane: &Lane, first: i64, feed: &Feed) -> Result<EventBatch> {
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
    add(col::FORMAT.name(), &|| same(feed.format.name()));
    if !feed.settings.cluster.is_empty() {
        add(col::CLUSTER_NAME.name(), &|| same(&feed.settings.cluster));
    }
    add(col::LATE.name(), &|| Arc::new(BooleanArray::from(vec![false; rows])));
    let zeros = || -> ArrayRef { Arc::new(arrow::array::Int32Array::from(vec![0; rows])) };
    add(col::CLASS_UID.name(), &zeros);
    add(col::ACTIVITY_ID.name(), &zeros);
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, array)| (name, array, true)))
        .map_err(palisade_events::Error::from)?;
    let events = EventBatch::from_columns(&batch)?;
    match events.time(col::TIME).values().iter().position(|time| !TIMES.contains(time)) {
        Some(row) => Err(Error::Usage(format!(
            "batch of source `{}`: `time` of row {row} lies outside of the years 0 to 9999: integers are microseconds",
            lane.source
        ))),
        None => Ok(events),
    }
}

#[cfg(test)]
mod tests;
