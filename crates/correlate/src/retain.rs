//! The fold of a correlation: of each event, keep what the query can need.
//!
//! A filter that fails on a batch is asked row by row, and a row on which it fails is kept: the query itself decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::{SortColumn, cast, concat_batches, lexsort_to_indices, take, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::physical_expr::PhysicalExpr;
use palisade_events::schema::{self, COLUMNS};
use palisade_events::seam::{LaneFold, Pane};
use palisade_events::{Error, EventBatch, Result};

use crate::plan::{Plan, qualified};
use crate::table::{self, kept_schema};

/// Which rows are kept, ready to evaluate.
#[derive(Clone, Debug)]
pub(crate) enum Keep {
    /// All.
    All,
    /// Those that pass, over the columns as they are in memory.
    Passing(Arc<dyn PhysicalExpr>),
    /// Those that pass, over plain text columns: for filters that dictionaries do not suit.
    PassingPlain(Arc<dyn PhysicalExpr>, Vec<usize>),
}

impl Keep {
    pub(crate) fn new(state: &SessionState, plan: &Plan) -> Result<Self, DataFusionError> {
        let Some(filter) = &plan.keep else { return Ok(Self::All) };
        let build = |schema: &Schema| state.create_physical_expr(filter.clone(), &qualified(schema)?);
        let in_memory = nullable(&schema::events());
        // Dictionaries are compared as they are where that is possible; whether it is, an empty batch tells.
        if let Ok(expr) = build(&in_memory)
            && expr.evaluate(&RecordBatch::new_empty(Arc::clone(&in_memory))).is_ok()
        {
            return Ok(Self::Passing(expr));
        }
        Self::plain(state, plan)
    }

    /// As [`new`](Self::new), for rows whose text columns are plain already.
    pub(crate) fn plain(state: &SessionState, plan: &Plan) -> Result<Self, DataFusionError> {
        let Some(filter) = &plan.keep else { return Ok(Self::All) };
        let full = table::schema();
        let columns = filter.column_refs().iter().filter_map(|c| full.index_of(&c.name).ok()).collect();
        Ok(Self::PassingPlain(state.create_physical_expr(filter.clone(), &qualified(&full)?)?, columns))
    }

    /// Which rows of a batch pass; `None` if all do.
    fn mask(&self, batch: &RecordBatch) -> Result<Option<Vec<bool>>> {
        match self {
            Self::All => Ok(None),
            Self::Passing(expr) => Ok(Some(passing(expr.as_ref(), batch))),
            Self::PassingPlain(expr, columns) => Ok(Some(passing(expr.as_ref(), &plain(batch, columns)?))),
        }
    }
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields: Vec<_> = schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

/// The batch with the given columns as plain text, and nulls for the others.
fn plain(batch: &RecordBatch, columns: &[usize]) -> Result<RecordBatch> {
    let full = table::schema();
    let arrays = full.fields().iter().enumerate().map(|(index, field)| {
        if columns.contains(&index) {
            Ok(cast(batch.column(index), field.data_type())?)
        } else {
            Ok(arrow::array::new_null_array(field.data_type(), batch.num_rows()))
        }
    });
    let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
    Ok(RecordBatch::try_new(full, arrays)?)
}

fn passing(expr: &dyn PhysicalExpr, batch: &RecordBatch) -> Vec<bool> {
    if let Some(mask) = evaluated(expr, batch) {
        return mask;
    }
    (0..batch.num_rows())
        .map(|row| evaluated(expr, &batch.slice(row, 1)).is_none_or(|mask| mask.first() == Some(&true)))
        .collect()
}

fn evaluated(expr: &dyn PhysicalExpr, batch: &RecordBatch) -> Option<Vec<bool>> {
    let array = expr.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())).ok()?;
    let mask = array.as_boolean_opt()?;
    Some((0..mask.len()).map(|row| mask.is_valid(row) && mask.value(row)).collect())
}

/// Rows of any batch with event columns, reduced to those that pass and to the kept columns.
pub(crate) fn reduce(keep: &Keep, kept: &[usize], batch: &RecordBatch, rows: Option<&[u32]>) -> Result<RecordBatch> {
    let mask = keep.mask(batch)?;
    reduce_masked(mask.as_deref(), kept, batch, rows)
}

fn reduce_masked(
    mask: Option<&[bool]>,
    kept: &[usize],
    batch: &RecordBatch,
    rows: Option<&[u32]>,
) -> Result<RecordBatch> {
    let passes = |row: &u32| mask.is_none_or(|mask| mask[*row as usize]);
    let rows: UInt32Array = match rows {
        Some(rows) => rows.iter().copied().filter(passes).collect::<Vec<_>>().into(),
        None => (0..batch.num_rows() as u32).filter(passes).collect::<Vec<_>>().into(),
    };
    let columns = kept.iter().map(|&column| {
        let taken = take(batch.column(column), &rows, None)?;
        Ok(cast(&taken, &COLUMNS[column].kind.stored_type())?)
    });
    Ok(RecordBatch::try_new(kept_schema(kept), columns.collect::<Result<Vec<ArrayRef>>>()?)?)
}

/// Joins batches of kept rows in the one order: by (time, event uid). Beyond `rows_max` the newest remain.
pub(crate) fn ordered(schema: &SchemaRef, batches: &[RecordBatch], rows_max: usize) -> Result<RecordBatch> {
    let all = concat_batches(schema, batches)?;
    let key = |name: &str| -> Result<SortColumn> {
        let values = all.column_by_name(name).cloned().ok_or_else(|| Error::Schema(format!("no column `{name}`")))?;
        Ok(SortColumn { values, options: None })
    };
    let order = lexsort_to_indices(&[key("time")?, key("event_uid")?], None)?;
    let surplus = order.len().saturating_sub(rows_max);
    Ok(take_record_batch(&all, &order.slice(surplus, order.len() - surplus))?)
}

/// Keeps rows of one lane's open panes.
pub(crate) struct Retention {
    keep: Keep,
    kept: Vec<usize>,
    schema: SchemaRef,
    rows_max: usize,
    panes: BTreeMap<Pane, Vec<RecordBatch>>,
}

impl Retention {
    pub(crate) fn new(keep: Keep, kept: Vec<usize>, rows_max: usize) -> Self {
        Self { keep, schema: kept_schema(&kept), kept, rows_max, panes: BTreeMap::new() }
    }

    fn whole(&self, batches: &[RecordBatch]) -> Result<RecordBatch> {
        // Whoever merges puts them in order. One more than the bound, so that they see that it was met.
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        if rows <= self.rows_max {
            return Ok(concat_batches(&self.schema, batches)?);
        }
        ordered(&self.schema, batches, self.rows_max.saturating_add(1))
    }
}

impl LaneFold for Retention {
    fn fold(&mut self, batch: &EventBatch, panes: &[(Pane, Vec<u32>)]) -> Result<()> {
        let mask = self.keep.mask(batch.columns())?;
        if mask.as_ref().is_some_and(|mask| !mask.contains(&true)) {
            return Ok(());
        }
        for (pane, rows) in panes {
            let taken = reduce_masked(mask.as_deref(), &self.kept, batch.columns(), Some(rows))?;
            if taken.num_rows() == 0 {
                continue;
            }
            let batches = self.panes.entry(*pane).or_default();
            batches.push(taken);
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            // Cutting at twice the bound keeps its cost constant per row.
            if rows > self.rows_max.saturating_mul(2).max(1) {
                *batches = vec![ordered(&self.schema, batches, self.rows_max.saturating_add(1))?];
            }
        }
        Ok(())
    }

    fn take(&mut self, pane: Pane) -> Result<Option<RecordBatch>> {
        self.panes.remove(&pane).map(|batches| self.whole(&batches)).transpose()
    }

    fn snapshot(&self) -> Result<Vec<(Pane, RecordBatch)>> {
        self.panes.iter().map(|(pane, batches)| Ok((*pane, self.whole(batches)?))).collect()
    }

    fn restore(&mut self, pane: Pane, partial: &RecordBatch) -> Result<()> {
        check_kept(&self.schema, partial)?;
        self.panes.insert(pane, vec![partial.clone()]);
        Ok(())
    }
}

/// Refuses rows that were kept for another query.
pub(crate) fn check_kept(schema: &SchemaRef, partial: &RecordBatch) -> Result<()> {
    if partial.schema().fields() == schema.fields() {
        return Ok(());
    }
    Err(Error::State { what: "correlation".into(), why: "its kept columns are not those of this query".into() })
}
