//! The rows of a window: held by pane, as they come and go, and joined into few batches, as a query reads them fast.
//!
//! Most panes bring few rows. A query over hundreds of small batches spends its time on batches, not on rows: panes are
//! joined until [`CHUNK_ROWS`] are together. A full chunk is what its panes are slices of, so that rows are held once; only
//! those of the last, open chunk are held twice.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use palisade_events::seam::Pane;
use palisade_events::time::Micros;

/// Rows of a chunk at most, but where a single pane has more.
const CHUNK_ROWS: usize = 8_192;

/// Rows in order of time, by pane.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    panes: BTreeMap<Pane, RecordBatch>,
    /// Chunks that are full.
    full: Vec<RecordBatch>,
    open: Option<RecordBatch>,
    /// The panes of the open chunk, and how many rows each has there.
    open_panes: Vec<(Pane, usize)>,
}

impl Rows {
    pub(crate) fn panes(&self) -> &BTreeMap<Pane, RecordBatch> {
        &self.panes
    }

    pub(crate) fn count(&self) -> usize {
        self.panes.values().map(RecordBatch::num_rows).sum()
    }

    /// Adds the rows of a pane.
    ///
    /// # Errors
    /// When Arrow cannot join them with those before, as when text would pass 2 GiB: the rows are kept all the same.
    pub(crate) fn insert(&mut self, pane: Pane, rows: RecordBatch) -> Result<(), ArrowError> {
        let is_last = self.panes.last_key_value().is_none_or(|(last, _)| *last < pane);
        self.panes.insert(pane, rows.clone());
        if is_last { self.append(pane, rows) } else { self.join_anew() }
    }

    /// Forgets panes that ended before a time, or then.
    pub(crate) fn forget(&mut self, start: Micros) {
        self.panes.retain(|pane, _| pane.end > start);
        self.full.retain(|chunk| since(chunk, start).num_rows() > 0);
        let gone = self.open_panes.iter().take_while(|(pane, _)| pane.end <= start).count();
        let rows: usize = self.open_panes.drain(..gone).map(|(_, rows)| rows).sum();
        self.open = self.open.take().map(|open| open.slice(rows, open.num_rows() - rows));
    }

    /// Drops the oldest rows beyond the bound; tells how many, and of which panes.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub(crate) fn cut(&mut self, rows_max: usize) -> Result<(usize, Vec<Pane>), ArrowError> {
        let surplus = self.count().saturating_sub(rows_max);
        let (mut left, mut hurt) = (surplus, Vec::new());
        while left > 0 {
            let Some(mut oldest) = self.panes.first_entry() else { break };
            hurt.push(*oldest.key());
            let rows = oldest.get().num_rows();
            if rows <= left {
                oldest.remove();
            } else {
                let rest = oldest.get().slice(left, rows - left);
                oldest.insert(rest);
            }
            left -= left.min(rows);
        }
        if surplus > 0 {
            self.join_anew()?;
        }
        Ok((surplus, hurt))
    }

    /// The rows from a time on, in few batches.
    pub(crate) fn since(&self, start: Micros) -> Vec<RecordBatch> {
        let chunks = self.full.iter().chain(&self.open).map(|chunk| since(chunk, start));
        chunks.filter(|chunk| chunk.num_rows() > 0).collect()
    }

    fn join_anew(&mut self) -> Result<(), ArrowError> {
        (self.full, self.open, self.open_panes) = Default::default();
        let panes: Vec<(Pane, RecordBatch)> = self.panes.iter().map(|(pane, rows)| (*pane, rows.clone())).collect();
        let mut joined = Ok(());
        for (pane, rows) in panes {
            joined = joined.and(self.append(pane, rows));
        }
        joined
    }

    fn append(&mut self, pane: Pane, rows: RecordBatch) -> Result<(), ArrowError> {
        let count = rows.num_rows();
        let together = self.open.as_ref().map_or(0, RecordBatch::num_rows) + count;
        if together > CHUNK_ROWS {
            self.close_chunk();
        }
        let schema: SchemaRef = rows.schema();
        let (open, outcome) = match self.open.take() {
            None => (rows, Ok(())),
            Some(open) => match concat_batches(&schema, [&open, &rows]) {
                Ok(joined) => (joined, Ok(())),
                Err(error) => {
                    self.open = Some(open);
                    self.close_chunk();
                    (rows, Err(error))
                }
            },
        };
        self.open = Some(open);
        self.open_panes.push((pane, count));
        outcome
    }

    /// Closes the open chunk: its panes become slices of it.
    fn close_chunk(&mut self) {
        let Some(chunk) = self.open.take() else { return };
        let mut at = 0;
        for (pane, count) in self.open_panes.drain(..) {
            if let Some(rows) = self.panes.get_mut(&pane) {
                *rows = chunk.slice(at, count);
            }
            at += count;
        }
        self.full.push(chunk);
    }
}

/// The rows from `start` on, of rows in order of time.
fn since(rows: &RecordBatch, start: Micros) -> RecordBatch {
    let Some(times) = rows.column_by_name("time").and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>()) else {
        return rows.clone();
    };
    let first = times.values().partition_point(|time| *time < start);
    rows.slice(first, rows.num_rows() - first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Array, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

    use super::*;

    fn batch(from: Micros, count: usize) -> RecordBatch {
        let zone: Arc<str> = "UTC".into();
        let schema = Schema::new(vec![
            Field::new("time", DataType::Timestamp(TimeUnit::Microsecond, Some(zone)), true),
            Field::new("text", DataType::Utf8, true),
        ]);
        let mut times: Vec<Micros> = (0..count as i64).map(|n| from + n % 10).collect();
        times.sort_unstable();
        let texts: StringArray = times.iter().map(|time| Some(format!("row of {time}"))).collect();
        let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times), Arc::new(texts)]).unwrap()
    }

    fn pane(n: i64) -> Pane {
        Pane { start: n * 10, end: n * 10 + 10 }
    }

    fn texts(batches: impl IntoIterator<Item = RecordBatch>) -> Vec<String> {
        let of = |batch: RecordBatch| {
            let texts = batch.column(1).as_string::<i32>();
            (0..texts.len()).map(|row| texts.value(row).to_owned()).collect::<Vec<_>>()
        };
        batches.into_iter().flat_map(of).collect()
    }

    #[test]
    fn what_is_joined_is_what_panes_hold() {
        let mut rows = Rows::default();
        let sizes = [3, 0, 5_000, 4_000, 1, 20_000, 7, 7, 8_192, 1, 2];
        for n in 0..60 {
            let (now, size) = (pane(n), sizes[n as usize % sizes.len()]);
            let start = now.end - 155;
            rows.forget(start);
            rows.insert(now, batch(now.start, size)).unwrap();
            if n == 40 {
                let before = rows.count();
                let (dropped, hurt) = rows.cut(30_000).unwrap();
                assert_eq!((before - dropped, rows.count()), (30_000, 30_000));
                assert!(!hurt.is_empty());
            }
            let panes = texts(rows.panes().values().map(|rows| since(rows, start)));
            assert_eq!(texts(rows.since(start)), panes, "after pane {n}");
            assert_eq!(rows.count(), rows.panes().values().map(RecordBatch::num_rows).sum::<usize>());
            let chunks = rows.since(start).len();
            assert!(chunks <= 1 + rows.count() / (CHUNK_ROWS / 2) + 4, "{chunks} chunks of {} rows", rows.count());
        }
    }

    #[test]
    fn a_pane_that_comes_out_of_order_takes_its_place() {
        let mut rows = Rows::default();
        for n in [1, 3, 2, 3] {
            rows.insert(pane(n), batch(n * 10, 4)).unwrap();
        }
        let expected = texts([batch(10, 4), batch(20, 4), batch(30, 4)]);
        assert_eq!(texts(rows.since(0)), expected);
        rows.forget(20);
        assert_eq!(texts(rows.since(0)), expected[4..]);
        rows.forget(1_000);
        assert!(rows.since(0).is_empty() && rows.count() == 0);
    }
}
