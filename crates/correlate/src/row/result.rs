//! The rows of a result, by typed column: looked up, and cast where need be, once.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use palisade_events::time::{Micros, format_rfc3339};
use palisade_events::{Entity, EntityKind, Result};

use super::cell::{shown, strings};
use crate::plan::unknown_kind;

/// Rows of a result. A column that the query does not have is absent.
pub(super) struct ResultRows<'b> {
    batch: &'b RecordBatch,
    kinds: Option<StringArray>,
    names: Option<StringArray>,
    clusters: Option<StringArray>,
    namespaces: Option<StringArray>,
    first_seen: Option<&'b TimestampMicrosecondArray>,
    last_seen: Option<&'b TimestampMicrosecondArray>,
    events: Option<Int64Array>,
    evidence: Option<&'b ArrayRef>,
}

impl<'b> ResultRows<'b> {
    pub(super) fn of(batch: &'b RecordBatch) -> Result<Self> {
        let text = |name: &str| -> Result<Option<StringArray>> {
            let Some(column) = batch.column_by_name(name) else { return Ok(None) };
            Ok(Some(cast(column, &DataType::Utf8)?.as_string::<i32>().clone()))
        };
        let events = batch.column_by_name("count").and_then(|column| cast(column, &DataType::Int64).ok());
        Ok(Self {
            batch,
            kinds: text("entity_kind")?,
            names: text("entity_name")?,
            clusters: text("cluster_name")?,
            namespaces: text("namespace_name")?,
            first_seen: batch.column_by_name("first_seen").and_then(|c| c.as_primitive_opt()),
            last_seen: batch.column_by_name("last_seen").and_then(|c| c.as_primitive_opt()),
            events: events.map(|column| column.as_primitive::<Int64Type>().clone()),
            evidence: batch.column_by_name("evidence"),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.batch.num_rows()
    }

    /// What kind of entity the row declares.
    pub(super) fn kind(&self, row: usize) -> Result<Option<EntityKind>, String> {
        let kind = word(&self.kinds, row).map(|kind| EntityKind::named(kind).ok_or_else(|| unknown_kind(kind)));
        kind.transpose()
    }

    /// `None` where the row names nobody.
    pub(super) fn entity(&self, kind: EntityKind, row: usize) -> Option<Entity> {
        let name = word(&self.names, row).filter(|name| !name.is_empty())?;
        // Only workloads live in a namespace; for other kinds the column is just something to explain with.
        let namespace = if kind == EntityKind::Workload { word(&self.namespaces, row) } else { None };
        let cluster = word(&self.clusters, row).unwrap_or_default().into();
        Some(Entity { kind, cluster, namespace: namespace.map(Into::into), name: name.into() })
    }

    /// The cluster of the row.
    pub(super) fn cluster(&self, row: usize) -> Option<Entity> {
        let name = word(&self.clusters, row).filter(|name| !name.is_empty())?;
        Some(Entity { kind: EntityKind::Cluster, cluster: name.into(), namespace: None, name: name.into() })
    }

    pub(super) fn first_seen(&self, row: usize) -> Option<Micros> {
        time(self.first_seen, row)
    }

    pub(super) fn last_seen(&self, row: usize) -> Option<Micros> {
        time(self.last_seen, row)
    }

    /// How many events the row says that it stands for.
    pub(super) fn events(&self, row: usize) -> Option<i64> {
        let column = self.events.as_ref()?;
        column.is_valid(row).then(|| column.value(row))
    }

    /// Ids of the events that prove it.
    pub(super) fn evidence(&self, row: usize) -> Vec<String> {
        match self.evidence {
            Some(column) if column.is_valid(row) => match column.data_type() {
                DataType::List(_) => strings(&column.as_list::<i32>().value(row)),
                DataType::LargeList(_) => strings(&column.as_list::<i64>().value(row)),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// A cell as text.
    pub(super) fn text(&self, name: &str, row: usize) -> String {
        match self.batch.column_by_name(name) {
            Some(column) if column.is_null(row) => "?".into(),
            Some(column) => match column.data_type() {
                DataType::List(_) => strings(&column.as_list::<i32>().value(row)).join(", "),
                DataType::Timestamp(TimeUnit::Microsecond, _) => {
                    format_rfc3339(column.as_primitive::<TimestampMicrosecondType>().value(row))
                }
                _ => shown(column, row),
            },
            None => String::new(),
        }
    }
}

fn word(column: &Option<StringArray>, row: usize) -> Option<&str> {
    column.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

fn time(column: Option<&TimestampMicrosecondArray>, row: usize) -> Option<Micros> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}
