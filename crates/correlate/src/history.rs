//! The same correlation over stored events: the rows are read once, in order of time, and panes close as they pass.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DataFusionError, ScalarValue};
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use palisade_events::Finding;
use palisade_events::seam::{Pane, PaneCoverage, Panes};
use palisade_events::time::{Micros, SECOND};

use crate::Error;
use crate::detector::Bounds;
use crate::plan::{TABLE, cannot_fail};
use crate::retain::{Keep, reduce};
use crate::spec::Spec;
use crate::table;
use crate::window::Window;

/// What to do with rows that came too late for the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LateRows {
    /// Leave them out: the findings are those of the stream.
    #[default]
    LeaveOut,
    /// Take them in: the findings are what the stream would have found, had they been on time.
    TakeIn,
}

/// Runs a correlation over the table `events` of a session, pane by pane, and returns what it finds in panes that end
/// after `from` and not after `to`.
///
/// Reading starts two windows before `from`, so that what began earlier is known. Rows whose time is doubtful are in no
/// pane, here as on the stream. Coverage is not known here: findings say `complete`.
///
/// # Errors
/// When the table has no `time` and `event_uid`, or a query fails.
pub async fn run_over(
    spec: impl Into<Arc<Spec>>,
    context: &SessionContext,
    (from, to): (Micros, Micros),
    panes: Panes,
    late: LateRows,
    bounds: Bounds,
) -> Result<Vec<Finding>, Error> {
    let spec = spec.into();
    let mut window = Window::new(Arc::clone(&spec), bounds)?;
    let keep = window.keep_plain()?;
    let failed = |e: DataFusionError| Error::query(&spec.uid, &e.strip_backtrace());
    let lead = 2 * spec.window_secs() as i64 * SECOND;
    // The bound keeps "since ever" within what alignment to panes can represent.
    let start = panes.of(from.saturating_sub(lead).max(Micros::MIN / 2)).start;
    let mut stream = read(&spec, context, start, to, late).await.map_err(failed)?;
    let mut findings = Vec::new();
    let mut open: Option<(Pane, Vec<RecordBatch>)> = None;
    while let Some(batch) = stream.next().await {
        let batch = kept_rows(&spec, &keep, &batch.map_err(failed)?)?;
        for (pane, rows) in by_pane(&batch, panes) {
            match &mut open {
                Some((current, batches)) if *current == pane => batches.push(rows),
                _ => {
                    if let Some((pane, batches)) = open.replace((pane, vec![rows])) {
                        findings.extend(window.close(pane, PaneCoverage::Complete, &batches).await?);
                    }
                }
            }
        }
    }
    if let Some((pane, batches)) = open {
        findings.extend(window.close(pane, PaneCoverage::Complete, &batches).await?);
    }
    findings.retain(|f| f.detected_at > from && f.detected_at <= to);
    Ok(findings)
}

async fn read(
    spec: &Spec,
    context: &SessionContext,
    start: Micros,
    end: Micros,
    late: LateRows,
) -> Result<datafusion::execution::SendableRecordBatchStream, DataFusionError> {
    let events = context.table(TABLE).await?;
    let present: BTreeSet<String> = events.schema().fields().iter().map(|f| f.name().clone()).collect();
    let moment = |time: Micros| lit(ScalarValue::TimestampMicrosecond(Some(time), Some("UTC".into())));
    let mut events = events.filter(ident("time").gt_eq(moment(start)).and(ident("time").lt(moment(end))))?;
    if late == LateRows::LeaveOut && present.contains("late") {
        events = events.filter(ident("late").is_not_true())?;
    }
    if present.contains("time_doubtful") {
        events = events.filter(ident("time_doubtful").is_not_true())?;
    }
    // Asking the table for less than all is only safe where asking cannot fail: on failure a row has to be kept.
    if let Some(filter) = spec.plan.keep.as_ref().filter(|filter| cannot_fail(filter))
        && filter.column_refs().iter().all(|c| present.contains(&c.name))
    {
        events = events.filter(unqualified(filter)?)?;
    }
    let columns = spec.plan.kept_columns().into_iter().filter(|name| present.contains(*name)).map(ident);
    let events = events.select(columns.collect::<Vec<Expr>>())?;
    events.sort(vec![ident("time").sort(true, false), ident("event_uid").sort(true, false)])?.execute_stream().await
}

fn unqualified(filter: &Expr) -> Result<Expr, DataFusionError> {
    let bare = filter.clone().transform(|e| {
        Ok(match e {
            Expr::Column(column) => Transformed::yes(Expr::Column(Column::new_unqualified(column.name))),
            other => Transformed::no(other),
        })
    });
    Ok(bare?.data)
}

/// The rows that the stream would have kept. Columns that the table lacks are null, as the stream's would be.
fn kept_rows(spec: &Spec, keep: &Keep, batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let full = table::schema();
    let columns = full.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => Ok(cast(column, field.data_type())?),
        None => Ok(arrow::array::new_null_array(field.data_type(), batch.num_rows())),
    });
    let whole = RecordBatch::try_new(Arc::clone(&full), columns.collect::<Result<Vec<ArrayRef>, Error>>()?)?;
    // Dictionaries of the stream become text in `reduce`; here they are text already, and casting costs nothing.
    Ok(reduce(keep, &spec.plan.kept, &whole, None)?)
}

/// Slices of rows in order of time, by pane.
fn by_pane(rows: &RecordBatch, panes: Panes) -> Vec<(Pane, RecordBatch)> {
    let Some(times) = rows.column_by_name("time").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>()) else {
        return Vec::new();
    };
    let mut slices = Vec::new();
    let mut start = 0;
    while start < times.len() {
        let pane = panes.of(times.value(start));
        let length = times.values()[start..].partition_point(|time| *time < pane.end);
        slices.push((pane, rows.slice(start, length)));
        start += length;
    }
    slices
}
