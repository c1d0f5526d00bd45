//! The table `events` that a query sees: the rows kept of one window.
//!
//! Its schema is that of all event columns, so that a query is planned alike on the stream and over history. Filters
//! are answered *Inexact*, so that DataFusion shows them to the scan and still applies them itself. A scan reads what is in
//! the table when it runs, not what was there when it was planned: a plan is good for every pane, and does not depend on
//! the rows of the first.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::datasource::{TableProvider, TableType};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use palisade_events::schema::COLUMNS;

/// Rows in one batch of a scan.
const BATCH_ROWS: usize = 8_192;

/// All event columns, dictionaries as plain text, everything nullable: the lake's rows and the stream's alike.
pub(crate) fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let field = |c: &palisade_events::schema::Column| Field::new(c.name, c.kind.stored_type(), true);
        Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

/// The part of the schema that is kept.
pub(crate) fn kept_schema(kept: &[usize]) -> SchemaRef {
    let full = schema();
    Arc::new(Schema::new(kept.iter().map(|&c| full.fields()[c].clone()).collect::<Vec<_>>()))
}

/// The table; its rows are put in before each run.
#[derive(Debug, Default)]
pub(crate) struct WindowTable {
    rows: Arc<Mutex<Vec<RecordBatch>>>,
}

/// Some columns of what is in the table when it is read.
#[derive(Debug)]
struct WindowScan {
    schema: SchemaRef,
    rows: Arc<Mutex<Vec<RecordBatch>>>,
}

impl WindowTable {
    pub(crate) fn put(&self, rows: Vec<RecordBatch>) {
        *self.rows.lock().unwrap_or_else(PoisonError::into_inner) = rows;
    }
}

#[async_trait]
impl TableProvider for WindowTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..COLUMNS.len()).collect());
        let schema = kept_schema(&wanted);
        let scan = WindowScan { schema: Arc::clone(&schema), rows: Arc::clone(&self.rows) };
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![Arc::new(scan)], None, [], false, None)?))
    }
}

impl PartitionStream for WindowScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut batches = Vec::with_capacity(rows.len());
        for rows in rows {
            match self.projected(&rows) {
                Ok(rows) => {
                    let starts = (0..rows.num_rows()).step_by(BATCH_ROWS);
                    batches.extend(starts.map(|at| Ok(rows.slice(at, BATCH_ROWS.min(rows.num_rows() - at)))));
                }
                Err(error) => batches.push(Err(error)),
            }
        }
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), futures::stream::iter(batches)))
    }
}

impl WindowScan {
    fn projected(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let column = |field: &Arc<Field>| {
            rows.column_by_name(field.name())
                .cloned()
                .ok_or_else(|| exec_datafusion_err!("column `{}` was not kept", field.name()))
        };
        let columns = self.schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?)
    }
}
