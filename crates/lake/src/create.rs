//! Creating the tables of a lake, and checking that a table found is one that this version can write.
//!
//! Not here: committing to them ([`crate::lake`]).

use std::collections::BTreeSet;

use arrow::datatypes::{DataType, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake::kernel::{Snapshot, StructType};
use deltalake::logstore::LogStoreRef;
use deltalake::operations::create::CreateBuilder;
use deltalake::protocol::SaveMode;
use deltalake::{DeltaTable, DeltaTableError};

use crate::{Error, Result, Table};

/// Dropping application transactions with age would let a replay commit twice.
const FORBIDDEN: &str = "delta.setTransactionRetentionDuration";

/// Writer features that leave an appending writer nothing to do.
const FEATURES: [&str; 6] =
    ["appendOnly", "invariants", "v2Checkpoint", "vacuumProtocolCheck", "deletionVectors", "changeDataFeed"];

/// Creates a table. Another process may be faster, which is as good.
pub(crate) async fn create(table: Table, log: &LogStoreRef) -> Result<()> {
    let columns: StructType =
        table.schema().as_ref().try_into_kernel().map_err(|e: arrow::error::ArrowError| Error::Arrow(e))?;
    let created = CreateBuilder::new()
        .with_log_store(log.clone())
        .with_table_name(table.name())
        .with_save_mode(SaveMode::Ignore)
        .with_columns(columns.fields().cloned())
        .with_partition_columns(table.partitions().iter().copied())
        .with_configuration([
            ("delta.dataSkippingStatsColumns", Some(table.statistics().join(","))),
            // A commit every few seconds makes a long log; nothing travels back in an append-only table for long.
            ("delta.logRetentionDuration", Some("interval 2 days".to_owned())),
        ])
        .with_raise_if_key_not_exists(false)
        .await;
    match created {
        Ok(_) | Err(DeltaTableError::VersionAlreadyExists(_)) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Adds the columns that a later version gave to a table which an earlier one had made: its rows have none of them. Tells
/// whether there were such columns.
pub(crate) async fn extend(table: Table, log: &LogStoreRef) -> Result<bool> {
    let mut delta = DeltaTable::new(log.clone());
    delta.load().await?;
    let found = names(&Snapshot::try_new(log.as_ref(), None).await?.arrow_schema());
    let missing: Vec<_> = table
        .schema()
        .fields()
        .iter()
        .filter(|field| field.is_nullable() && !found.iter().any(|(name, _)| name == field.name()))
        .map(|field| field.as_ref().clone())
        .collect();
    if missing.is_empty() {
        return Ok(false);
    }
    let columns: StructType =
        (&Schema::new(missing)).try_into_kernel().map_err(|e: arrow::error::ArrowError| Error::Arrow(e))?;
    let fields: Vec<_> = columns.fields().cloned().collect();
    delta.add_columns().with_fields(fields).await?;
    Ok(true)
}

/// Checks that a table has our columns and partitions, and asks nothing of a writer that we do not do.
pub(crate) async fn check(table: Table, log: &LogStoreRef) -> Result<()> {
    let snapshot = Snapshot::try_new(log.as_ref(), None).await?;
    let wrong = |why: String| Err(Error::Table { table, why });
    let metadata = snapshot.metadata();
    if metadata.configuration().contains_key(FORBIDDEN) {
        return wrong(format!("it carries `{FORBIDDEN}`, which would forget what has landed"));
    }
    if metadata.partition_columns() != table.partitions() {
        return wrong(format!("it is partitioned by {:?}", metadata.partition_columns()));
    }
    let features: Vec<String> =
        snapshot.protocol().writer_features().unwrap_or_default().iter().map(ToString::to_string).collect();
    if let Some(feature) = features.iter().find(|feature| !FEATURES.contains(&feature.as_str())) {
        return wrong(format!("it asks writers for `{feature}`"));
    }
    if features.is_empty() && snapshot.protocol().min_writer_version() > 4 {
        return wrong(format!("it asks for writer version {}", snapshot.protocol().min_writer_version()));
    }
    let (expected, found) = (names(&table.schema()), names(&snapshot.arrow_schema()));
    let difference: Vec<_> =
        expected.symmetric_difference(&found).map(|(name, kind)| format!("{name}: {kind}")).collect();
    if !difference.is_empty() && found.is_subset(&expected) {
        return wrong("an earlier version made it, with fewer columns; the next run or scan into it adds them".into());
    }
    if !difference.is_empty() {
        return wrong(format!("these columns differ: {}", difference.join(", ")));
    }
    Ok(())
}

/// Columns and their types, spelled so that equal ones are equal whoever wrote them.
fn names(schema: &Schema) -> BTreeSet<(String, String)> {
    schema.fields().iter().map(|field| (field.name().clone(), kind(field.data_type()))).collect()
}

fn kind(data_type: &DataType) -> String {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => format!("list of {}", kind(item.data_type())),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        other => other.to_string(),
    }
}
