//! From a row of the result to a finding.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use palisade_events::finding::{Confidence, Evidence, Finding, FindingKind};
use palisade_events::id::{finding_uid, group_uid};
use palisade_events::position::Position;
use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::{date_of, format_rfc3339};
use palisade_events::{Entity, EntityKind, Error, Result};

use crate::plan::unknown_kind;
use crate::spec::Spec;

/// Events named as evidence on one finding; `count` tells how many there were.
const EVIDENCE_MAX: usize = 100;

/// A finding, and all events that the query named for it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) finding: Finding,
    pub(crate) event_uids: Vec<String>,
}

/// Rows that became findings, and how many could not, for want of an entity.
pub(crate) fn candidates(
    spec: &Spec,
    pane: Pane,
    coverage: PaneCoverage,
    result: &[RecordBatch],
    window: &RecordBatch,
) -> Result<(Vec<Candidate>, u64)> {
    let result = result.iter().map(Columns::new).collect::<Result<Vec<_>>>()?;
    let rows_by_uid = rows_by_uid(&result, window);
    let (mut found, mut skipped) = (Vec::new(), 0);
    for columns in &result {
        for row in 0..columns.batch.num_rows() {
            let entity = columns.entity(row).map_err(|why| Error::Detector { uid: spec.uid.clone(), why })?;
            match entity {
                Some(entity) => found.push(candidate(spec, pane, coverage, columns, row, entity, window, &rows_by_uid)),
                None => skipped += 1,
            }
        }
    }
    found.sort_by(|a, b| {
        let key = |c: &'_ Candidate| (c.finding.entity.clone(), c.finding.first_seen, c.finding.finding_uid.clone());
        key(a).cmp(&key(b)).then_with(|| a.finding.explanation.cmp(&b.finding.explanation))
    });
    Ok((found, skipped))
}

/// Where in the window the events are that a result names.
fn rows_by_uid(result: &[Columns<'_>], window: &RecordBatch) -> HashMap<String, usize> {
    let named = |columns: &Columns<'_>| (0..columns.batch.num_rows()).flat_map(|row| columns.evidence(row)).collect();
    let named: HashSet<String> = result.iter().flat_map(|columns| -> Vec<String> { named(columns) }).collect();
    let Some(uids) = window.column_by_name("event_uid").map(|c| c.as_string::<i32>()) else { return HashMap::new() };
    let rows = uids.iter().enumerate().filter_map(|(row, uid)| Some((uid?, row)));
    rows.filter(|(uid, _)| named.contains(*uid)).map(|(uid, row)| (uid.to_owned(), row)).collect()
}

#[allow(clippy::too_many_arguments)]
fn candidate(
    spec: &Spec,
    pane: Pane,
    coverage: PaneCoverage,
    columns: &Columns<'_>,
    row: usize,
    entity: Entity,
    window: &RecordBatch,
    rows_by_uid: &HashMap<String, usize>,
) -> Candidate {
    let event_uids = columns.evidence(row);
    let rows: Vec<usize> = event_uids.iter().filter_map(|uid| rows_by_uid.get(uid.as_str()).copied()).collect();
    // Rows of the window are in order of time, so the extremes are at the ends.
    let times = window.column_by_name("time").map(|c| c.as_primitive::<TimestampMicrosecondType>());
    let time = |row: Option<&usize>| row.and_then(|&row| Some(times?.value(row)));
    let first = columns.time("first_seen", row).or_else(|| time(rows.iter().min())).unwrap_or(pane.end);
    let last = columns.time("last_seen", row).or_else(|| time(rows.iter().max())).unwrap_or(pane.end);
    let count =
        columns.long("count", row).unwrap_or_else(|| i64::try_from(event_uids.len().max(1)).unwrap_or(i64::MAX));
    let evidence: Vec<Evidence> = rows.iter().take(EVIDENCE_MAX).map(|&row| evidence(window, row)).collect();
    let name = entity.to_string();
    let anchor = event_uids.first().cloned().unwrap_or_else(|| format_rfc3339(pane.end));
    let finding = Finding {
        finding_uid: finding_uid(&spec.uid, &name, &anchor),
        group_uid: group_uid(&spec.uid, &name, &date_of(pane.end)),
        time: last,
        kind: FindingKind::Correlation,
        rule_uid: spec.uid.clone(),
        rule_version: spec.version.clone(),
        title: spec.title.clone(),
        severity: spec.level,
        confidence: Confidence::new(spec.confidence),
        entities: vec![entity.clone()],
        entity,
        owner: None,
        count,
        first_seen: first,
        last_seen: last,
        detected_at: pane.end,
        author: spec.author.clone(),
        references: spec.references.clone(),
        false_positives: spec.false_positives.clone(),
        triage: spec.triage.clone(),
        attack: spec.attack.clone(),
        explanation: spec.explanation.fill(|column| columns.text(column, row)),
        observed: format!("{count} {} within {} s", if count == 1 { "event" } else { "events" }, spec.window_secs()),
        expected: spec.expected.clone(),
        p_value: None,
        excerpt: rows.first().map(|&row| excerpt(window, row)).unwrap_or_default(),
        evidence,
        coverage: coverage.name().into(),
        suppressed_by: None,
    };
    Candidate { finding, event_uids }
}

fn evidence(window: &RecordBatch, row: usize) -> Evidence {
    let text = |name: &str| {
        let column = window.column_by_name(name).map(|c| c.as_string::<i32>());
        column.filter(|c| c.is_valid(row)).map(|c| c.value(row).to_owned()).unwrap_or_default()
    };
    let long = |name: &str| {
        let column = window.column_by_name(name).and_then(|c| cast(c, &DataType::Int64).ok())?;
        column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
    };
    let origin = text("origin");
    let offset = long("record_offset").unwrap_or_default();
    let position = match (long("partition"), long("line")) {
        (Some(partition), _) => {
            Position::Kafka { topic: origin, partition: i32::try_from(partition).unwrap_or_default(), offset }
        }
        (None, Some(line)) => Position::File { file: origin, line },
        (None, None) => Position::Channel { channel: origin, sequence: offset },
    };
    let time = window.column_by_name("time").map(|c| c.as_primitive::<TimestampMicrosecondType>().value(row));
    Evidence { time: time.unwrap_or_default(), event_uid: text("event_uid"), source: text("source"), position }
}

/// The kept columns of a row as flat JSON, `raw` left out.
fn excerpt(window: &RecordBatch, row: usize) -> String {
    let one = window.slice(row, 1);
    let mut object = serde_json::Map::new();
    for (field, column) in window.schema().fields().iter().zip(one.columns()) {
        if column.is_null(0) || field.name() == "raw" {
            continue;
        }
        let value = match field.data_type() {
            DataType::Timestamp(..) => {
                format_rfc3339(column.as_primitive::<TimestampMicrosecondType>().value(0)).into()
            }
            DataType::Boolean => column.as_boolean().value(0).into(),
            DataType::Int32 | DataType::Int64 => match cast(column, &DataType::Int64) {
                Ok(longs) => longs.as_primitive::<Int64Type>().value(0).into(),
                Err(_) => continue,
            },
            DataType::List(_) => strings(&column.as_list::<i32>().value(0)).into(),
            _ => shown(column, 0).into(),
        };
        object.insert(field.name().clone(), value);
    }
    serde_json::Value::from(object).to_string()
}

/// The columns of a result, by name.
struct Columns<'b> {
    batch: &'b RecordBatch,
    texts: HashMap<&'static str, StringArray>,
}

impl<'b> Columns<'b> {
    fn new(batch: &'b RecordBatch) -> Result<Self> {
        let mut texts = HashMap::new();
        for name in ["entity_kind", "entity_name", "cluster_name", "namespace_name"] {
            if let Some(column) = batch.column_by_name(name) {
                texts.insert(name, cast(column, &DataType::Utf8)?.as_string::<i32>().clone());
            }
        }
        Ok(Self { batch, texts })
    }

    fn word(&self, name: &str, row: usize) -> Option<&str> {
        self.texts.get(name).filter(|column| column.is_valid(row)).map(|column| column.value(row))
    }

    /// `None` where the row names nobody.
    fn entity(&self, row: usize) -> Result<Option<Entity>, String> {
        let Some(kind) = self.word("entity_kind", row) else { return Ok(None) };
        let kind = EntityKind::named(kind).ok_or_else(|| unknown_kind(kind))?;
        let Some(name) = self.word("entity_name", row).filter(|name| !name.is_empty()) else { return Ok(None) };
        // Only workloads live in a namespace; for other kinds the column is just something to explain with.
        let namespace = if kind == EntityKind::Workload { self.word("namespace_name", row) } else { None };
        Ok(Some(Entity {
            kind,
            cluster: self.word("cluster_name", row).unwrap_or_default().into(),
            namespace: namespace.map(Into::into),
            name: name.into(),
        }))
    }

    fn time(&self, name: &str, row: usize) -> Option<i64> {
        let column = self.batch.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>()?;
        column.is_valid(row).then(|| column.value(row))
    }

    fn long(&self, name: &str, row: usize) -> Option<i64> {
        let column = cast(self.batch.column_by_name(name)?, &DataType::Int64).ok()?;
        column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
    }

    fn evidence(&self, row: usize) -> Vec<String> {
        let Some(column) = self.batch.column_by_name("evidence") else { return Vec::new() };
        if column.is_null(row) {
            return Vec::new();
        }
        match column.data_type() {
            DataType::List(_) => strings(&column.as_list::<i32>().value(row)),
            DataType::LargeList(_) => strings(&column.as_list::<i64>().value(row)),
            _ => Vec::new(),
        }
    }

    fn text(&self, name: &str, row: usize) -> String {
        match self.batch.column_by_name(name) {
            Some(column) if column.is_null(row) => "?".into(),
            Some(column) => match column.data_type() {
                DataType::List(_) => strings(&column.as_list::<i32>().value(row)).join(", "),
                DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
                    self.time(name, row).map(format_rfc3339).unwrap_or_default()
                }
                _ => shown(column, row),
            },
            None => String::new(),
        }
    }
}

fn strings(values: &ArrayRef) -> Vec<String> {
    (0..values.len()).filter(|&row| values.is_valid(row)).map(|row| shown(values, row)).collect()
}

fn shown(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default();
    ArrayFormatter::try_new(column, &options).map(|f| f.value(row).to_string()).unwrap_or_default()
}
