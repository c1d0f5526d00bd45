//! What is recorded besides events and findings: rejects, coverage facts, and the decisions that time made.
//!
//! Not here: versions of Kubernetes objects ([`crate::object`]), whose batches share the columns of the lane.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::position::Lane;
use crate::time::Micros;

/// An input that no decoder could read, kept with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Lane it came on.
    pub lane: Arc<Lane>,
    /// Kafka offset, or the record's number in a file.
    pub offset: i64,
    /// Line in a file, from 1.
    pub line: Option<i64>,
    /// Broker time of the record, if it has one.
    pub time: Option<Micros>,
    /// A short, stable reason: `not_json`, `missing_time`, `too_large` …
    pub reason: String,
    /// What exactly was wrong.
    pub detail: String,
    /// The input, secrets replaced, cut to a bound and made UTF-8.
    pub raw: String,
}

/// What is known about the completeness of a source over a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// Lane that tells of it.
    pub lane: Arc<Lane>,
    /// Offset of the record that tells of it; -1 if no single record does.
    pub offset: i64,
    /// Cluster of the source.
    pub cluster: String,
    /// What happened.
    pub kind: CoverageKind,
    /// First moment it concerns.
    pub window_start: Micros,
    /// Last moment it concerns.
    pub window_end: Micros,
    /// How many events were lost or concerned; -1 if unknown.
    pub count: i64,
    /// In words.
    pub detail: String,
}

/// The kinds of coverage facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum CoverageKind {
    /// Events were lost before they reached us.
    Lost,
    /// A source reported its health; nothing was lost.
    Health,
    /// Offsets or serials are missing.
    Gap,
    /// A source wrote nothing for longer than it should: something may be missing.
    Silence,
    /// An event time lies too far in the future to be believed.
    Future,
    /// The body of an event was cut by its source.
    Truncated,
}

impl CoverageKind {
    /// The kind's name as stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Health => "health",
            Self::Gap => "gap",
            Self::Silence => "silence",
            Self::Future => "future",
            Self::Truncated => "truncated",
        }
    }

    /// Whether data are known to be missing, so that nothing may be learnt from the window. Who was silent may have had
    /// nothing to tell.
    pub fn is_loss(self) -> bool {
        matches!(self, Self::Lost | Self::Gap)
    }
}

/// A decision that time or an operator made, recorded before what it caused, and reused by replay and hunts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Job that made it.
    pub job: String,
    /// Number of the cut that it was made in; decisions of a cut are replayed in `index` order.
    pub cut: i64,
    /// Place within the cut.
    pub index: i32,
    /// What was decided.
    pub kind: DecisionKind,
    /// End of the last pane that it closed or concerns.
    pub pane_end: Micros,
    /// Lanes and their next offsets when it was made, as JSON: lane key to offset. All lanes where a replay must repeat it,
    /// else the lane concerned.
    pub lanes: String,
    /// Fingerprint of the configuration in force.
    pub fingerprint: String,
    /// In words.
    pub detail: String,
}

/// The kinds of decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The process began.
    Start,
    /// A lane came.
    Join,
    /// A lane was let go, or ended.
    Leave,
    /// A lane is silent: the frontier no longer waits for it.
    Idle,
    /// A silent lane has something to read again.
    Wake,
    /// Panes were closed because all lanes are silent.
    Close,
    /// Lanes that were expected have not come: the frontier no longer waits for them.
    Without,
    /// A source is silent for too long, and no event time passes that would show it.
    Silent,
    /// Until when the rows of a lane may claim to be, from a record on.
    Believe,
    /// Other rules judge what comes after.
    Rules,
}

impl DecisionKind {
    /// All kinds.
    pub const ALL: [Self; 10] = [
        Self::Start,
        Self::Join,
        Self::Leave,
        Self::Idle,
        Self::Wake,
        Self::Close,
        Self::Without,
        Self::Silent,
        Self::Believe,
        Self::Rules,
    ];

    /// Whether what came after depends on the place of all lanes when it was made, so that a replay must repeat it there.
    /// What is believed from which record on says its own place.
    pub fn is_binding(self) -> bool {
        matches!(self, Self::Idle | Self::Wake | Self::Close | Self::Without | Self::Silent)
    }

    /// Reads a kind's name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The kind's name as stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Join => "join",
            Self::Leave => "leave",
            Self::Idle => "idle",
            Self::Wake => "wake",
            Self::Close => "close",
            Self::Without => "without",
            Self::Silent => "silent",
            Self::Believe => "believe",
            Self::Rules => "rules",
        }
    }
}

pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

pub(crate) fn times(values: impl Iterator<Item = Option<Micros>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

pub(crate) fn texts<'v>(values: impl Iterator<Item = Option<&'v str>>) -> ArrayRef {
    Arc::new(values.collect::<StringArray>())
}

pub(crate) fn longs(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

pub(crate) fn lane_fields() -> Vec<Field> {
    vec![
        Field::new("source", DataType::Utf8, false),
        Field::new("origin", DataType::Utf8, false),
        Field::new("partition", DataType::Int32, true),
        Field::new("record_offset", DataType::Int64, false),
    ]
}

pub(crate) fn lane_columns<'f>(facts: impl Iterator<Item = (&'f Lane, i64)> + Clone) -> Vec<ArrayRef> {
    vec![
        texts(facts.clone().map(|(lane, _)| Some(lane.source.as_str()))),
        texts(facts.clone().map(|(lane, _)| Some(lane.origin.as_str()))),
        Arc::new(facts.clone().map(|(lane, _)| lane.partition).collect::<Int32Array>()),
        longs(facts.map(|(_, offset)| Some(offset))),
    ]
}

/// The schema of the rejects table, without its `date` partition column.
pub fn rejects_schema() -> SchemaRef {
    let mut fields = lane_fields();
    fields.extend([
        Field::new("line", DataType::Int64, true),
        Field::new("time", time_type(), true),
        Field::new("reason", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
        Field::new("raw", DataType::Utf8, false),
    ]);
    Arc::new(Schema::new(fields))
}

/// Rejects as a record batch of [`rejects_schema`].
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn rejects_batch(rejects: &[Reject]) -> crate::Result<RecordBatch> {
    let mut columns = lane_columns(rejects.iter().map(|r| (r.lane.as_ref(), r.offset)));
    columns.push(longs(rejects.iter().map(|r| r.line)));
    columns.push(times(rejects.iter().map(|r| r.time)));
    columns.push(texts(rejects.iter().map(|r| Some(r.reason.as_str()))));
    columns.push(texts(rejects.iter().map(|r| Some(r.detail.as_str()))));
    columns.push(texts(rejects.iter().map(|r| Some(r.raw.as_str()))));
    Ok(RecordBatch::try_new(rejects_schema(), columns)?)
}

/// The schema of the coverage table, without its `date` partition column.
pub fn coverage_schema() -> SchemaRef {
    let mut fields = lane_fields();
    fields.extend([
        Field::new("cluster_name", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("window_start", time_type(), false),
        Field::new("window_end", time_type(), false),
        Field::new("count", DataType::Int64, false),
        Field::new("detail", DataType::Utf8, false),
    ]);
    Arc::new(Schema::new(fields))
}

/// Coverage facts as a record batch of [`coverage_schema`].
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn coverage_batch(facts: &[Coverage]) -> crate::Result<RecordBatch> {
    let mut columns = lane_columns(facts.iter().map(|f| (f.lane.as_ref(), f.offset)));
    columns.push(texts(facts.iter().map(|f| Some(f.cluster.as_str()))));
    columns.push(texts(facts.iter().map(|f| Some(f.kind.name()))));
    columns.push(times(facts.iter().map(|f| Some(f.window_start))));
    columns.push(times(facts.iter().map(|f| Some(f.window_end))));
    columns.push(longs(facts.iter().map(|f| Some(f.count))));
    columns.push(texts(facts.iter().map(|f| Some(f.detail.as_str()))));
    Ok(RecordBatch::try_new(coverage_schema(), columns)?)
}

/// The schema of the decisions table.
pub fn decisions_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("job", DataType::Utf8, false),
        Field::new("cut", DataType::Int64, false),
        Field::new("index", DataType::Int32, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("pane_end", time_type(), false),
        Field::new("lanes", DataType::Utf8, false),
        Field::new("fingerprint", DataType::Utf8, false),
        Field::new("detail", DataType::Utf8, false),
    ]))
}

/// Decisions as a record batch of [`decisions_schema`].
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn decisions_batch(decisions: &[Decision]) -> crate::Result<RecordBatch> {
    let columns = vec![
        texts(decisions.iter().map(|d| Some(d.job.as_str()))),
        longs(decisions.iter().map(|d| Some(d.cut))),
        Arc::new(decisions.iter().map(|d| Some(d.index)).collect::<Int32Array>()) as ArrayRef,
        texts(decisions.iter().map(|d| Some(d.kind.name()))),
        times(decisions.iter().map(|d| Some(d.pane_end))),
        texts(decisions.iter().map(|d| Some(d.lanes.as_str()))),
        texts(decisions.iter().map(|d| Some(d.fingerprint.as_str()))),
        texts(decisions.iter().map(|d| Some(d.detail.as_str()))),
    ];
    Ok(RecordBatch::try_new(decisions_schema(), columns)?)
}
