//! The rows of a window: held by pane, as they come and go, and joined into few batches, as a query reads them fast.
//!
//! Most panes bring few rows. A query over hundreds of small batches spends its time on batches, not on rows: panes are
//! joined until [`CHUNK_ROWS`] are together. A full chunk is what its panes are slices of, so that its rows are held once; those
//! of the last, open chunk are held twice, and those of the first until all of its panes are gone.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use palisade_events::seam::Pane;
use palisade_events::time::Micros;

/// Rows of a chunk at most, but where a single pane has more.
const CHUNK_ROWS: usize = 8_192;

/// Rows by pane, and joined.
///
/// The rows of all chunks, but for the first `skipped`, are those of all panes, in the order of panes.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    panes: BTreeMap<Pane, RecordBatch>,
    /// Each in order of time.
    chunks: VecDeque<RecordBatch>,
    /// Rows of the first chunk whose panes are gone.
    skipped: usize,
    /// The panes that the last chunk holds, and how many rows each has there, while it is open.
    open: Vec<(Pane, usize)>,
}

impl Rows {
    pub(crate) fn panes(&self) -> &BTreeMap<Pane, RecordBatch> {
        &self.panes
    }

    pub(crate) fn count(&self) -> usize {
        self.panes.values().map(RecordBatch::num_rows).sum()
    }

    /// Adds the rows of a pane.
    pub(crate) fn insert(&mut self, pane: Pane, rows: RecordBatch) {
        let is_last = self.panes.last_key_value().is_none_or(|(last, _)| *last < pane);
        self.panes.insert(pane, rows.clone());
        if is_last {
            self.append(pane, rows);
        } else {
            self.join_anew();
        }
    }

    /// Forgets panes that ended before a time, or then.
    pub(crate) fn forget(&mut self, start: Micros) {
        let leading: usize =
            self.panes.iter().take_while(|(pane, _)| pane.end <= start).map(|(_, rows)| rows.num_rows()).sum();
        let before = self.count();
        self.panes.retain(|pane, _| pane.end > start);
        if before - self.count() == leading {
            self.skip(leading);
        } else {
            // Panes of different lengths leave in another order than that of their beginnings.
            self.join_anew();
        }
    }

    /// Drops the oldest rows beyond the bound; tells how many, and of which panes.
    pub(crate) fn cut(&mut self, rows_max: usize) -> (usize, Vec<Pane>) {
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
        self.skip(surplus);
        (surplus, hurt)
    }

    /// The rows from a time on, in few batches.
    pub(crate) fn since(&self, start: Micros) -> Vec<RecordBatch> {
        let skipped = std::iter::once(self.skipped).chain(std::iter::repeat(0));
        let chunks = self.chunks.iter().zip(skipped).map(|(chunk, skipped)| since(&without(chunk, skipped), start));
        chunks.filter(|chunk| chunk.num_rows() > 0).collect()
    }

    /// Skips more rows at the beginning; whole chunks of them go.
    fn skip(&mut self, rows: usize) {
        self.skipped += rows;
        while let Some(first) = self.chunks.front().filter(|first| first.num_rows() <= self.skipped) {
            self.skipped -= first.num_rows();
            self.chunks.pop_front();
            if self.chunks.is_empty() {
                self.open.clear();
            }
        }
    }

    fn join_anew(&mut self) {
        (self.chunks, self.skipped, self.open) = Default::default();
        let panes: Vec<(Pane, RecordBatch)> = self.panes.iter().map(|(pane, rows)| (*pane, rows.clone())).collect();
        for (pane, rows) in panes {
            self.append(pane, rows);
        }
    }

    /// Joins the rows of the last pane to the open chunk, or begins a chunk: when the open one is full, when the rows are
    /// not behind it in time, and when Arrow cannot join them, as when text would pass 2 GiB.
    fn append(&mut self, pane: Pane, rows: RecordBatch) {
        let count = rows.num_rows();
        if count == 0 {
            return;
        }
        if self.chunks.len() == 1 && self.skipped > 0 {
            self.trim();
        }
        if let Some(open) = self.chunks.back_mut()
            && open.num_rows() + count <= CHUNK_ROWS
            && last_time(open) <= first_time(&rows)
            && let Ok(joined) = concat_batches(&rows.schema(), [&*open, &rows])
        {
            *open = joined;
        } else {
            self.close_chunk();
            self.chunks.push_back(rows);
        }
        self.open.push((pane, count));
    }

    /// Takes the rows that are gone out of the only chunk, before it is copied.
    fn trim(&mut self) {
        if let Some(only) = self.chunks.front_mut() {
            *only = without(only, self.skipped);
        }
        let mut gone = std::mem::take(&mut self.skipped);
        self.open.retain_mut(|(_, count)| {
            let own = gone.min(*count);
            gone -= own;
            *count -= own;
            *count > 0
        });
    }

    /// Closes the open chunk: its panes become slices of it.
    fn close_chunk(&mut self) {
        let Some(chunk) = self.chunks.back() else { return };
        let mut at = 0;
        for (pane, count) in self.open.drain(..) {
            // One that was cut holds fewer rows than it has here.
            if let Some(rows) = self.panes.get_mut(&pane) {
                let held = rows.num_rows().min(count);
                *rows = chunk.slice(at + count - held, held);
            }
            at += count;
        }
    }
}

fn without(rows: &RecordBatch, first: usize) -> RecordBatch {
    let first = first.min(rows.num_rows());
    rows.slice(first, rows.num_rows() - first)
}

fn times(rows: &RecordBatch) -> Option<&[Micros]> {
    let times = rows.column_by_name("time")?.as_primitive_opt::<TimestampMicrosecondType>()?;
    Some(times.values())
}

fn first_time(rows: &RecordBatch) -> Option<Micros> {
    times(rows)?.first().copied()
}

fn last_time(rows: &RecordBatch) -> Option<Micros> {
    times(rows)?.last().copied()
}

/// The rows from `start` on, of rows in order of time.
fn since(rows: &RecordBatch, start: Micros) -> RecordBatch {
    match times(rows) {
        Some(times) => without(rows, times.partition_point(|time| *time < start)),
        None => rows.clone(),
    }
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
            rows.insert(now, batch(now.start, size));
            if n > 20 {
                // Every pane from now on finds the window too full.
                let before = rows.count();
                let (dropped, hurt) = rows.cut(30_000);
                assert_eq!((before - dropped, rows.count()), (before.min(30_000), before.min(30_000)));
                assert_eq!(hurt.is_empty(), dropped == 0);
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
            rows.insert(pane(n), batch(n * 10, 4));
        }
        let expected = texts([batch(10, 4), batch(20, 4), batch(30, 4)]);
        assert_eq!(texts(rows.since(0)), expected);
        rows.forget(20);
        assert_eq!(texts(rows.since(0)), expected[4..]);
        rows.forget(1_000);
        assert!(rows.since(0).is_empty() && rows.count() == 0);
        rows.insert(pane(200), batch(2_000, 3));
        assert_eq!(texts(rows.since(0)), texts([batch(2_000, 3)]));
    }

    #[test]
    fn panes_of_other_lengths_than_before_are_read_from_the_right_time_on() {
        let mut rows = Rows::default();
        for n in 1..6 {
            rows.insert(pane(n), batch(n * 10, 4));
        }
        // Panes are longer now, and the first of them began before those that are held.
        rows.insert(Pane { start: 0, end: 60 }, batch(50, 4));
        rows.insert(Pane { start: 60, end: 120 }, batch(60, 4));
        let mut seen = texts(rows.since(20));
        seen.sort_unstable();
        let mut expected = texts((2..6).map(|n| batch(n * 10, 4)).chain([batch(50, 4), batch(60, 4)]));
        expected.sort_unstable();
        assert_eq!(seen, expected);
        rows.forget(40);
        assert_eq!(rows.count(), 16);
        assert_eq!(texts(rows.since(0)).len(), 16);
    }
}
