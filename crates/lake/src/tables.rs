//! The tables of a lake: their names, schemas, partitions, and which columns get statistics and bloom filters.
//!
//! Not here: how rows become files ([`crate::encode`]).

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use palisade_events::{facts, finding, object, schema};
use serde::{Deserialize, Serialize};

/// A table of the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    /// Events, partitioned by date and class.
    Events,
    /// Findings, by date.
    Findings,
    /// Inputs that no decoder could read, by date.
    Rejects,
    /// What is known of completeness, by date.
    Coverage,
    /// Versions of Kubernetes objects, by date.
    Objects,
    /// Decisions that time or an operator made.
    Decisions,
    /// The ledger of files read.
    Sources,
    /// What analysts decided about findings.
    Dispositions,
}

impl Table {
    /// Every table, in the order in which owners take them over.
    pub const ALL: [Table; 8] = [
        Table::Events,
        Table::Findings,
        Table::Rejects,
        Table::Coverage,
        Table::Objects,
        Table::Decisions,
        Table::Sources,
        Table::Dispositions,
    ];

    /// Whether lakes of earlier versions lack it. Whoever writes to such a lake makes the table; whoever reads finds it
    /// without rows.
    pub(crate) fn came_later(self) -> bool {
        self == Self::Objects
    }

    /// The folder of the table within the lake, and its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Findings => "findings",
            Self::Rejects => "rejects",
            Self::Coverage => "coverage",
            Self::Objects => "objects",
            Self::Decisions => "decisions",
            Self::Sources => "sources",
            Self::Dispositions => "dispositions",
        }
    }

    /// Partition columns, outermost first.
    pub fn partitions(self) -> &'static [&'static str] {
        match self {
            Self::Events => &["date", "class_uid"],
            Self::Findings | Self::Rejects | Self::Coverage | Self::Objects => &["date"],
            Self::Decisions | Self::Sources | Self::Dispositions => &[],
        }
    }

    /// The columns of the table, partition columns included.
    pub fn schema(self) -> SchemaRef {
        match self {
            Self::Events => schema::events_stored(),
            Self::Findings => dated(&finding::findings_schema()),
            Self::Rejects => dated(&facts::rejects_schema()),
            Self::Coverage => dated(&facts::coverage_schema()),
            Self::Objects => dated(&object::objects_schema()),
            Self::Decisions => facts::decisions_schema(),
            Self::Sources => sources_schema(),
            Self::Dispositions => dispositions_schema(),
        }
    }

    /// The time column that dates a row; rows without a time are dated 1970-01-01.
    pub fn dated_by(self) -> Option<&'static str> {
        match self {
            Self::Events | Self::Findings | Self::Rejects | Self::Objects => Some("time"),
            Self::Coverage => Some("window_start"),
            Self::Decisions | Self::Sources | Self::Dispositions => None,
        }
    }

    /// Columns whose smallest and largest values are kept per file, so that a query can leave files out.
    pub fn statistics(self) -> &'static [&'static str] {
        match self {
            Self::Events => &[
                "event_uid",
                "time",
                "source",
                "origin",
                "partition",
                "record_offset",
                "cluster_name",
                "device_hostname",
                "namespace_name",
                "workload_name",
                "pod_name",
                "container_uid_short",
                "container_image_name",
                "actor_user_name",
                "api_operation",
                "resource_type",
                "resource_name",
                "process_name",
                "process_file_path",
                "src_endpoint_ip",
                "dst_endpoint_ip",
            ],
            Self::Findings => &[
                "finding_uid",
                "group_uid",
                "time",
                "kind",
                "rule_uid",
                "severity_id",
                "entity",
                "entity_kind",
                "cluster_name",
                "owner",
                "count",
                "first_seen",
                "last_seen",
                "detected_at",
            ],
            Self::Rejects => &["source", "origin", "partition", "record_offset", "time", "reason"],
            Self::Coverage => &[
                "source",
                "origin",
                "partition",
                "record_offset",
                "cluster_name",
                "kind",
                "window_start",
                "window_end",
            ],
            Self::Objects => &[
                "source",
                "origin",
                "partition",
                "record_offset",
                "cluster_name",
                "time",
                "kind",
                "namespace_name",
                "name",
                "uid",
                "workload_name",
                "node",
            ],
            Self::Decisions => &["cut", "index", "kind", "pane_end"],
            Self::Sources => &["job", "cut", "source", "fingerprint", "generation"],
            Self::Dispositions => &["finding_uid", "group_uid", "status", "at"],
        }
    }

    /// Columns that are searched for one exact value, and so carry bloom filters.
    pub fn blooms(self) -> &'static [&'static str] {
        match self {
            Self::Events => &[
                "event_uid",
                "actor_user_name",
                "container_uid_short",
                "src_endpoint_ip",
                "dst_endpoint_ip",
                "process_file_path",
                "resource_name",
                "container_image_name",
            ],
            Self::Findings => &["finding_uid", "group_uid", "entity"],
            Self::Objects => &["uid"],
            _ => &[],
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn dated(schema: &Schema) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new("date", DataType::Utf8, false)));
    Arc::new(Schema::new(fields))
}

fn sources_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("job", DataType::Utf8, false),
        Field::new("cut", DataType::Int64, false),
        Field::new("source", DataType::Utf8, false),
        Field::new("fingerprint", DataType::Utf8, false),
        Field::new("generation", DataType::Int64, false),
        Field::new("path", DataType::Utf8, false),
        Field::new("records", DataType::Int64, false),
        Field::new("bytes", DataType::Int64, false),
        Field::new("prefix_hash", DataType::Utf8, false),
        Field::new("compression", DataType::Utf8, false),
        Field::new("far_bytes", DataType::Int64, false),
        Field::new("far_hash", DataType::Utf8, false),
    ]))
}

fn dispositions_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("finding_uid", DataType::Utf8, true),
        Field::new("group_uid", DataType::Utf8, true),
        Field::new("status", DataType::Utf8, false),
        Field::new("reason", DataType::Utf8, false),
        Field::new("by", DataType::Utf8, false),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_columns_exist_in_their_tables() {
        for table in Table::ALL {
            let schema = table.schema();
            let dated = table.dated_by();
            let named = table.partitions().iter().chain(table.statistics()).chain(table.blooms()).chain(dated.as_ref());
            for column in named {
                assert!(schema.column_with_name(column).is_some(), "{table}.{column}");
            }
        }
    }
}
