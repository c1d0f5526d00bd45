//! From batches to finished Parquet files, by column, on any thread.
//!
//! Rows are gathered by partition, sorted in runs that become row groups, and encoded into memory; a [`DataFile`] is
//! bytes that no log knows yet. Dictionary columns stay dictionaries up to the Parquet encoder and read back as plain
//! strings. The same batches in the same order give the same files, down to their names.
//!
//! Not here: storing and committing them ([`crate::lake`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray, UInt32Array, new_null_array};
use arrow::compute::{interleave, take_record_batch};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use object_store::PutPayload;
use palisade_events::schema::{self, COLUMNS, col};
use palisade_events::time::{DAY, Micros, date_of};
use palisade_events::{EventBatch, id};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;

use crate::{Error, Result, Table};

pub use properties::writer_properties;

mod properties;
mod stats;

/// A finished Parquet file that no log knows yet.
#[derive(Clone, Debug)]
pub struct DataFile {
    /// Path within its table. It holds a hash of the content, so that writing it twice changes nothing.
    pub path: String,
    /// The content. Cheap to clone.
    pub bytes: PutPayload,
    /// Values of the partition columns.
    pub partition: BTreeMap<String, String>,
    /// Delta statistics, as JSON.
    pub stats: String,
    /// Rows.
    pub rows: u64,
}

/// Bounds of files and row groups, and how hard to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// Rows that are sorted together and become one row group. Bounds what one partition holds unencoded.
    pub group_rows_max: usize,
    /// A file is closed when it holds this many rows.
    pub file_rows_max: usize,
    /// A file is closed when it holds this many compressed bytes.
    pub file_bytes_max: usize,
    /// zstd level.
    pub zstd_level: i32,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { group_rows_max: 32_768, file_rows_max: 2_097_152, file_bytes_max: 256 << 20, zstd_level: 1 }
    }
}

/// Turns batches of events into files of the events table, partitioned by date and class, each row group in the order of
/// (time, event id).
///
/// A row whose time is doubtful takes the date of its carrier, else of its lane, else 1970-01-01.
pub struct EventWriter {
    files: Files,
    rows: u64,
}

impl EventWriter {
    /// A writer without rows.
    pub fn new(options: WriterOptions) -> Self {
        let schema = schema::events();
        let kept: Vec<usize> = (0..COLUMNS.len()).filter(|index| *index != col::CLASS_UID.index()).collect();
        let order = Order { time: place(&kept, col::TIME.index()), uid: place(&kept, col::EVENT_UID.index()) };
        Self { files: Files::new(Table::Events, &schema, kept, Some(order), options), rows: 0 }
    }

    /// Takes rows. Nothing of the batch is copied unless its rows belong to several partitions or are out of order.
    ///
    /// # Errors
    /// When a row group cannot be encoded; the writer is then of no further use.
    pub fn push(&mut self, batch: &EventBatch) -> Result<()> {
        let classes = batch.int(col::CLASS_UID).values();
        let days = event_days(batch);
        let columns = batch.columns().project(&self.files.kept)?;
        self.rows += batch.rows() as u64;
        self.files.push(columns, batch.rows(), |row| Key { day: Some(days[row]), class: Some(classes[row]) })
    }

    /// Rows taken since the last [`finish`](Self::finish).
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// About how many bytes are held: finished files, and rows that wait to be encoded.
    pub fn bytes(&self) -> usize {
        self.files.bytes()
    }

    /// Encodes what waits and hands over all files, in the order of their partitions.
    ///
    /// # Errors
    /// When a row group cannot be encoded.
    pub fn finish(&mut self) -> Result<Vec<DataFile>> {
        self.rows = 0;
        self.files.finish()
    }
}

/// Turns rows of a table other than events into files, partitioned by date where the table is.
pub struct TableWriter {
    table: Table,
    schema: SchemaRef,
    dated_by: Option<usize>,
    files: Files,
    rows: u64,
}

impl TableWriter {
    /// A writer without rows.
    pub fn new(table: Table, options: WriterOptions) -> Self {
        let stored = table.schema();
        let fields = stored.fields().iter().filter(|f| !table.partitions().contains(&f.name().as_str()));
        let schema = Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()));
        let kept = (0..schema.fields().len()).collect();
        let dated_by = table.dated_by().and_then(|column| schema.index_of(column).ok());
        Self { table, files: Files::new(table, &schema, kept, None, options), schema, dated_by, rows: 0 }
    }

    /// Takes rows: the columns of the table without its partition columns.
    ///
    /// # Errors
    /// When the columns are others, or a row group cannot be encoded.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let fits = batch.num_columns() == self.schema.fields().len()
            && batch
                .schema()
                .fields()
                .iter()
                .zip(self.schema.fields())
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if !fits {
            return Err(Error::Table { table: self.table, why: "a batch has other columns".into() });
        }
        self.rows += batch.num_rows() as u64;
        let days = self.dated_by.map(|column| {
            let times = batch.column(column).as_primitive::<TimestampMicrosecondType>();
            times.iter().map(|time| day_of(time.unwrap_or(0))).collect::<Vec<_>>()
        });
        let key = |row: usize| Key { day: days.as_ref().map(|days| days[row]), class: None };
        self.files.push(batch.clone(), batch.num_rows(), key)
    }

    /// Rows taken since the last [`finish`](Self::finish).
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Encodes what waits and hands over all files, in the order of their partitions.
    ///
    /// # Errors
    /// When a row group cannot be encoded.
    pub fn finish(&mut self) -> Result<Vec<DataFile>> {
        self.rows = 0;
        self.files.finish()
    }
}

/// The values of the partition columns of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    day: Option<i64>,
    class: Option<i32>,
}

impl Key {
    fn values(self) -> BTreeMap<String, String> {
        let day = self.day.map(|day| ("date".to_owned(), date_of(day.saturating_mul(DAY))));
        day.into_iter().chain(self.class.map(|class| ("class_uid".to_owned(), class.to_string()))).collect()
    }

    fn folder(self) -> String {
        let day = self.day.map(|day| format!("date={}/", date_of(day.saturating_mul(DAY)))).unwrap_or_default();
        let class = self.class.map(|class| format!("class_uid={class}/")).unwrap_or_default();
        day + &class
    }
}

/// Where the columns lie that order rows.
#[derive(Clone, Copy)]
struct Order {
    time: usize,
    uid: usize,
}

/// Files of one table in the making.
struct Files {
    table: Table,
    /// The columns that go into files, text as views.
    schema: SchemaRef,
    kept: Vec<usize>,
    order: Option<Order>,
    options: WriterOptions,
    partitions: BTreeMap<Key, Partition>,
    done: Vec<DataFile>,
}

/// One partition: rows that wait, and the file that is open.
#[derive(Default)]
struct Partition {
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    writer: Option<ArrowWriter<Vec<u8>>>,
}

impl Files {
    fn new(table: Table, schema: &Schema, kept: Vec<usize>, order: Option<Order>, options: WriterOptions) -> Self {
        let fields = kept.iter().map(|index| {
            let field = &schema.fields()[*index];
            let is_text = field.data_type() == &DataType::Utf8;
            if is_text {
                Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
            } else {
                Arc::clone(field)
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { table, schema, kept, order, options, partitions: BTreeMap::new(), done: Vec::new() }
    }

    fn bytes(&self) -> usize {
        let done: usize = self.done.iter().map(|file| file.bytes.content_length()).sum();
        let open = self
            .partitions
            .values()
            .map(|p| p.waiting_bytes + p.writer.as_ref().map_or(0, |w| w.memory_size() + w.bytes_written()));
        done + open.sum::<usize>()
    }

    fn push(&mut self, columns: RecordBatch, rows: usize, key: impl Fn(usize) -> Key) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let first = key(0);
        if (1..rows).all(|row| key(row) == first) {
            return self.push_partition(first, columns);
        }
        let mut rows_of: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
        for row in 0..rows {
            rows_of.entry(key(row)).or_default().push(row as u32);
        }
        for (key, rows) in rows_of {
            self.push_partition(key, take_record_batch(&columns, &UInt32Array::from(rows))?)?;
        }
        Ok(())
    }

    fn push_partition(&mut self, key: Key, mut columns: RecordBatch) -> Result<()> {
        let group_rows_max = self.options.group_rows_max.max(1);
        loop {
            let partition = self.partitions.entry(key).or_default();
            let fits = columns.num_rows().min(group_rows_max.saturating_sub(partition.waiting_rows));
            if fits > 0 {
                let part = columns.slice(0, fits);
                partition.waiting_bytes += held_bytes(&part);
                partition.waiting_rows += fits;
                partition.waiting.push(part);
                columns = columns.slice(fits, columns.num_rows() - fits);
            }
            if partition.waiting_rows < group_rows_max {
                return Ok(());
            }
            self.encode(key)?;
        }
    }

    /// Encodes the waiting rows of a partition as one row group, and closes its file if that is full.
    fn encode(&mut self, key: Key) -> Result<()> {
        let Some(partition) = self.partitions.get_mut(&key) else { return Ok(()) };
        partition.waiting_rows = 0;
        partition.waiting_bytes = 0;
        let waiting = std::mem::take(&mut partition.waiting);
        if waiting.is_empty() {
            return Ok(());
        }
        let writer = match &mut partition.writer {
            Some(writer) => writer,
            none => none.insert(open_writer(self.table, &self.schema, &self.options)?),
        };
        let order = self.order.and_then(|order| arrange(&waiting, order));
        let waiting = waiting.iter().map(|batch| with_views(batch, &self.schema)).collect::<Result<Vec<_>>>()?;
        match order {
            Some(places) => writer.write(&arranged(&waiting, &places, &self.schema)?)?,
            None => waiting.iter().try_for_each(|batch| writer.write(batch))?,
        }
        writer.flush()?;
        let rows: i64 = writer.flushed_row_groups().iter().map(|group| group.num_rows()).sum();
        if rows as usize >= self.options.file_rows_max || writer.bytes_written() >= self.options.file_bytes_max {
            self.close(key)?;
        }
        Ok(())
    }

    fn close(&mut self, key: Key) -> Result<()> {
        let Some(mut writer) = self.partitions.get_mut(&key).and_then(|partition| partition.writer.take()) else {
            return Ok(());
        };
        let footer = writer.finish()?;
        let bytes = std::mem::take(writer.inner_mut());
        let hash = id::content_hash("palisade.file.v1", &bytes);
        self.done.push(DataFile {
            path: format!("{}part-{hash}.zstd.parquet", key.folder()),
            bytes: bytes.into(),
            partition: key.values(),
            stats: stats::of(&footer, self.table.statistics()),
            rows: footer.file_metadata().num_rows() as u64,
        });
        Ok(())
    }

    fn finish(&mut self) -> Result<Vec<DataFile>> {
        let keys: Vec<Key> = self.partitions.keys().copied().collect();
        for key in keys {
            self.encode(key)?;
            self.close(key)?;
        }
        self.partitions.clear();
        Ok(std::mem::take(&mut self.done))
    }
}

fn open_writer(table: Table, schema: &SchemaRef, options: &WriterOptions) -> Result<ArrowWriter<Vec<u8>>> {
    // Without the Arrow schema in the footer, readers see what the Delta schema says: plain strings.
    let arrow =
        ArrowWriterOptions::new().with_properties(writer_properties(table, options)?).with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), arrow)?)
}

fn place(kept: &[usize], column: usize) -> usize {
    kept.iter().position(|index| *index == column).unwrap_or_default()
}

fn day_of(time: Micros) -> i64 {
    time.div_euclid(DAY)
}

/// The day that dates each row.
fn event_days(batch: &EventBatch) -> Vec<i64> {
    let mut days: Vec<i64> = batch.time(col::TIME).values().iter().map(|time| day_of(*time)).collect();
    let doubtful = batch.flag(col::TIME_DOUBTFUL);
    if doubtful.true_count() > 0 {
        let (carrier, lane) = (batch.time(col::BROKER_TIME), batch.time(col::LANE_MAX_BEFORE));
        for (row, day) in days.iter_mut().enumerate() {
            if doubtful.is_valid(row) && doubtful.value(row) {
                let of =
                    |times: &arrow::array::TimestampMicrosecondArray| times.is_valid(row).then(|| times.value(row));
                *day = day_of(of(carrier).or_else(|| of(lane)).unwrap_or(0));
            }
        }
    }
    days
}

/// Roughly what rows cost in memory: the text of the original payloads weighs most.
fn held_bytes(columns: &RecordBatch) -> usize {
    let text = columns.columns().last().and_then(|raw| raw.as_string_opt::<i32>());
    let text = text.map_or(0, |raw| {
        let offsets = raw.value_offsets();
        (offsets[offsets.len() - 1] - offsets[0]) as usize
    });
    text + columns.num_rows() * 512
}

/// Batch and row of each row in the order of (time, event id); `None` if the batches have it already.
fn arrange(waiting: &[RecordBatch], order: Order) -> Option<Vec<(usize, usize)>> {
    let times: Vec<&[i64]> = waiting
        .iter()
        .map(|batch| batch.column(order.time).as_primitive::<TimestampMicrosecondType>().values().as_ref())
        .collect();
    let uids: Vec<_> = waiting.iter().map(|batch| batch.column(order.uid).as_string::<i32>()).collect();
    let mut rows: Vec<(i64, u32, u32)> = Vec::with_capacity(waiting.iter().map(RecordBatch::num_rows).sum());
    for (batch, times) in times.iter().enumerate() {
        rows.extend(times.iter().enumerate().map(|(row, time)| (*time, batch as u32, row as u32)));
    }
    let uid = |row: &(i64, u32, u32)| uids[row.1 as usize].value(row.2 as usize);
    if rows.is_sorted_by(|a, b| a.0 < b.0 || (a.0 == b.0 && uid(a) <= uid(b))) {
        return None;
    }
    let place = |row: &(i64, u32, u32)| (row.1, row.2);
    rows.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| uid(a).cmp(uid(b))).then_with(|| place(a).cmp(&place(b))));
    Some(rows.iter().map(|(_, batch, row)| (*batch as usize, *row as usize)).collect())
}

/// The rows at `places`. Text is moved as views, so that original payloads are read once: by the encoder.
fn arranged(waiting: &[RecordBatch], places: &[(usize, usize)], schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = (0..schema.fields().len()).map(|column| {
        let arrays: Vec<&dyn Array> = waiting.iter().map(|batch| batch.column(column).as_ref()).collect();
        if arrays.iter().all(|array| array.null_count() == array.len()) {
            return Ok(new_null_array(schema.field(column).data_type(), places.len()));
        }
        Ok(interleave(&arrays, places)?)
    });
    let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// The same rows with text columns as views of the same bytes.
fn with_views(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| match column.as_string_opt::<i32>() {
        Some(text) => Arc::new(StringViewArray::from(text)) as ArrayRef,
        None => Arc::clone(column),
    });
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

#[cfg(test)]
mod tests;
