//! Building event batches row by row. A column that no row of a batch fills costs nothing per row.
//!
//! Not here: what belongs in which column; that is each decoder's knowledge.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Int32Type};
use arrow::record_batch::RecordBatch;

pub(crate) use self::word::Outline;
use self::word::WordDictionary;
use crate::batch::EventBatch;
use crate::fields::{FieldPlan, FieldsBuilder};
use crate::schema::{self, COLUMNS, Flag, Int, Kind, Long, Text, Time, Word, Words, col};
use crate::time::Micros;

mod word;

/// Collects rows into an [`EventBatch`].
///
/// Put values into the current row, then call [`end_row`](Self::end_row). The first value put into a cell stays.
/// [`abandon_row`](Self::abandon_row) takes back what the unfinished row holds.
///
/// The texts of one column stay within 2 GiB a batch: whoever fills one bounds what goes into it. As a last resort a value
/// that would go past is left out, and its row is marked as truncated.
#[derive(Debug)]
pub struct EventBuilder {
    rows: usize,
    columns: Vec<ColumnBuilder>,
    fields: FieldsBuilder,
}

impl EventBuilder {
    /// Starts an empty batch that carries the raw fields of `plan` beside its columns.
    pub fn new(plan: Arc<FieldPlan>) -> Self {
        Self {
            rows: 0,
            columns: COLUMNS.iter().map(|c| ColumnBuilder::new(c.kind)).collect(),
            fields: FieldsBuilder::new(plan),
        }
    }

    /// Finished rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the current row already has a value in this column.
    pub fn is_set(&self, column: usize) -> bool {
        self.columns[column].len() > self.rows
    }

    /// Puts text into the current row.
    pub fn put_text(&mut self, column: Text, value: &str) {
        if let ColumnBuilder::Text(b) = &mut self.columns[column.index()] {
            let fits = b.put(self.rows, value);
            self.note(fits);
        }
    }

    /// Puts a dictionary-encoded word into the current row.
    pub fn put_word(&mut self, column: Word, value: &str) {
        if let ColumnBuilder::Word(b) = &mut self.columns[column.index()] {
            let fits = b.put(self.rows, value);
            self.note(fits);
        }
    }

    /// Puts a list of words into the current row.
    pub fn put_words<'v>(&mut self, column: Words, values: impl IntoIterator<Item = &'v str>) {
        if let ColumnBuilder::Words(b) = &mut self.columns[column.index()] {
            let fits = b.put(self.rows, values);
            self.note(fits);
        }
    }

    /// Marks the current row if a value was left out of it.
    #[inline]
    fn note(&mut self, fits: bool) {
        if !fits {
            self.put_flag(col::TRUNCATED, true);
        }
    }

    /// Puts a time into the current row.
    pub fn put_time(&mut self, column: Time, value: Micros) {
        if let ColumnBuilder::Time(b) = &mut self.columns[column.index()] {
            b.put(self.rows, value);
        }
    }

    /// Puts a 64-bit integer into the current row.
    pub fn put_long(&mut self, column: Long, value: i64) {
        if let ColumnBuilder::Long(b) = &mut self.columns[column.index()] {
            b.put(self.rows, value);
        }
    }

    /// Puts a 32-bit integer into the current row.
    pub fn put_int(&mut self, column: Int, value: i32) {
        if let ColumnBuilder::Int(b) = &mut self.columns[column.index()] {
            b.put(self.rows, value);
        }
    }

    /// Puts a flag into the current row.
    pub fn put_flag(&mut self, column: Flag, value: bool) {
        if let ColumnBuilder::Flag(b) = &mut self.columns[column.index()] {
            b.put(self.rows, value);
        }
    }

    /// The raw fields of the current row.
    pub fn fields(&mut self) -> &mut FieldsBuilder {
        &mut self.fields
    }

    /// Finishes the current row.
    pub fn end_row(&mut self) {
        self.rows += 1;
        self.fields.end_row();
    }

    /// Takes back everything put into the current row: what only it held is in no dictionary of the batch either.
    pub fn abandon_row(&mut self) {
        for column in &mut self.columns {
            column.truncate(self.rows);
        }
        self.fields.abandon_row();
    }

    /// Hands over the finished rows and starts anew.
    ///
    /// # Errors
    /// When a required column was left empty in a row: a decoder's mistake, not the input's.
    pub fn finish(&mut self) -> crate::Result<EventBatch> {
        let rows = self.rows;
        self.rows = 0;
        let mut arrays = Vec::with_capacity(self.columns.len());
        // Most columns are empty: they share an array of nulls with the others of their kind.
        let mut nulls: Vec<(Kind, ArrayRef)> = Vec::new();
        for (builder, column) in self.columns.iter_mut().zip(COLUMNS) {
            if builder.len() > 0 {
                arrays.push(builder.finish(rows)?);
                continue;
            }
            let known = nulls.iter().find(|(kind, _)| *kind == column.kind).map(|(_, array)| Arc::clone(array));
            arrays.push(known.unwrap_or_else(|| {
                let array = new_null_array(&column.kind.data_type(), rows);
                nulls.push((column.kind, Arc::clone(&array)));
                array
            }));
        }
        let batch = RecordBatch::try_new(schema::events(), arrays)?;
        EventBatch::try_new(batch, self.fields.finish(rows))
    }
}

#[derive(Debug)]
enum ColumnBuilder {
    Text(TextSlots),
    Word(Box<WordSlots>),
    Words(ListSlots),
    Time(Slots<i64>),
    Long(Slots<i64>),
    Int(Slots<i32>),
    Flag(Slots<bool>),
}

impl ColumnBuilder {
    fn new(kind: Kind) -> Self {
        match kind {
            Kind::Text => Self::Text(TextSlots::default()),
            Kind::Word => Self::Word(Box::default()),
            Kind::Words => Self::Words(ListSlots::default()),
            Kind::Time => Self::Time(Slots::default()),
            Kind::Long => Self::Long(Slots::default()),
            Kind::Int => Self::Int(Slots::default()),
            Kind::Flag => Self::Flag(Slots::default()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(b) => b.valid.len(),
            Self::Word(b) => b.codes.valid.len(),
            Self::Words(b) => b.valid.len(),
            Self::Time(b) | Self::Long(b) => b.valid.len(),
            Self::Int(b) => b.valid.len(),
            Self::Flag(b) => b.valid.len(),
        }
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Text(b) => b.truncate(rows),
            Self::Word(b) => b.truncate(rows),
            Self::Words(b) => b.truncate(rows),
            Self::Time(b) | Self::Long(b) => b.truncate(rows),
            Self::Int(b) => b.truncate(rows),
            Self::Flag(b) => b.truncate(rows),
        }
    }

    fn finish(&mut self, rows: usize) -> crate::Result<ArrayRef> {
        Ok(match self {
            Self::Text(b) => b.finish(rows)?,
            Self::Word(b) => b.finish(rows)?,
            Self::Words(b) => b.finish(rows)?,
            Self::Time(b) => {
                let (values, nulls) = b.take(rows);
                Arc::new(TimestampMicrosecondArray::try_new(values.into(), nulls)?.with_timezone("UTC"))
            }
            Self::Long(b) => {
                let (values, nulls) = b.take(rows);
                Arc::new(Int64Array::try_new(values.into(), nulls)?)
            }
            Self::Int(b) => {
                let (values, nulls) = b.take(rows);
                Arc::new(Int32Array::try_new(values.into(), nulls)?)
            }
            Self::Flag(b) => {
                let (values, nulls) = b.take(rows);
                Arc::new(BooleanArray::new(bits(&values), nulls))
            }
        })
    }
}

/// Fixed-width values with their validity, padded with nulls only when a later row has a value.
#[derive(Debug, Default)]
struct Slots<T> {
    values: Vec<T>,
    valid: Vec<bool>,
}

impl<T: Default + Clone> Slots<T> {
    #[inline]
    fn put(&mut self, row: usize, value: T) {
        if self.valid.len() > row {
            return;
        }
        if self.valid.len() < row {
            self.pad(row);
        }
        self.values.push(value);
        self.valid.push(true);
    }

    #[inline(never)]
    fn pad(&mut self, rows: usize) {
        self.values.resize(rows, T::default());
        self.valid.resize(rows, false);
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.valid.truncate(rows);
    }

    fn take(&mut self, rows: usize) -> (Vec<T>, Option<NullBuffer>) {
        self.pad(rows);
        (std::mem::replace(&mut self.values, Vec::with_capacity(rows)), take_nulls(&mut self.valid))
    }
}

/// The end of a column's bytes or the number of its items, as Arrow holds it; `None` past what that counts to.
#[inline(always)]
fn end(length: usize) -> Option<i32> {
    i32::try_from(length).ok()
}

/// Concatenated strings.
#[derive(Debug, Default)]
struct TextSlots {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    valid: Vec<bool>,
}

impl TextSlots {
    #[inline]
    fn put(&mut self, row: usize, value: &str) -> bool {
        if self.valid.len() > row {
            return true;
        }
        if self.valid.len() < row {
            self.pad(row);
        }
        self.push(value)
    }

    /// Adds a value, unless what is there would go past what offsets count to.
    #[inline]
    fn push(&mut self, value: &str) -> bool {
        let Some(end) = end(self.bytes.len() + value.len()) else { return false };
        self.bytes.extend_from_slice(value.as_bytes());
        self.ends.push(end);
        self.valid.push(true);
        true
    }

    #[inline(never)]
    fn pad(&mut self, rows: usize) {
        let end = self.ends.last().copied().unwrap_or(0);
        self.ends.resize(rows, end);
        self.valid.resize(rows, false);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.valid.truncate(rows);
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0) as usize);
    }

    fn finish(&mut self, rows: usize) -> crate::Result<ArrayRef> {
        self.pad(rows);
        let offsets = offsets(&mut self.ends);
        let nulls = take_nulls(&mut self.valid);
        // The next batch is perhaps a little larger; growing would copy all of it.
        let capacity = self.bytes.len() + self.bytes.len() / 8;
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
        Ok(Arc::new(StringArray::try_new(offsets, bytes.into(), nulls)?))
    }
}

#[derive(Debug, Default)]
struct WordSlots {
    codes: Slots<i32>,
    dictionary: WordDictionary,
    /// The row that brought the last word of the dictionary.
    grew_in: Option<usize>,
}

impl WordSlots {
    fn put(&mut self, row: usize, value: &str) -> bool {
        if self.codes.valid.len() > row {
            return true;
        }
        let known = self.dictionary.len();
        let Some(code) = self.dictionary.code(value) else { return false };
        if self.dictionary.len() > known {
            self.grew_in = Some(row);
        }
        self.codes.put(row, code);
        true
    }

    fn truncate(&mut self, rows: usize) {
        self.codes.truncate(rows);
        // A row puts one word at most.
        if self.grew_in.is_some_and(|row| row >= rows) {
            self.dictionary.pop();
            self.grew_in = None;
        }
    }

    fn finish(&mut self, rows: usize) -> crate::Result<ArrayRef> {
        self.grew_in = None;
        let (codes, nulls) = self.codes.take(rows);
        let keys = Int32Array::try_new(codes.into(), nulls)?;
        let values = Arc::new(self.dictionary.take()?);
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?))
    }
}

#[derive(Debug, Default)]
struct ListSlots {
    items: TextSlots,
    ends: Vec<i32>,
    valid: Vec<bool>,
}

impl ListSlots {
    /// Puts all of a list or nothing of it.
    fn put<'v>(&mut self, row: usize, values: impl IntoIterator<Item = &'v str>) -> bool {
        if self.valid.len() > row {
            return true;
        }
        if self.valid.len() < row {
            self.pad(row);
        }
        let fits = values.into_iter().all(|value| self.items.push(value));
        let Some(end) = end(self.items.ends.len()).filter(|_| fits) else {
            self.truncate(row);
            return false;
        };
        self.ends.push(end);
        self.valid.push(true);
        true
    }

    fn pad(&mut self, rows: usize) {
        let end = self.ends.last().copied().unwrap_or(0);
        self.ends.resize(rows, end);
        self.valid.resize(rows, false);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.valid.truncate(rows);
        self.items.truncate(self.ends.last().copied().unwrap_or(0) as usize);
    }

    fn finish(&mut self, rows: usize) -> crate::Result<ArrayRef> {
        self.pad(rows);
        let items = self.items.ends.len();
        let values = self.items.finish(items)?;
        let field = Arc::new(Field::new("item", DataType::Utf8, true));
        let nulls = take_nulls(&mut self.valid);
        Ok(Arc::new(ListArray::try_new(field, offsets(&mut self.ends), values, nulls)?))
    }
}

fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut all = Vec::with_capacity(ends.len() + 1);
    all.push(0);
    all.append(ends);
    OffsetBuffer::new(ScalarBuffer::from(all))
}

fn take_nulls(valid: &mut Vec<bool>) -> Option<NullBuffer> {
    let nulls = valid.contains(&false).then(|| NullBuffer::new(bits(valid)));
    valid.clear();
    nulls
}

/// Eight flags a byte, the first one lowest.
fn bits(flags: &[bool]) -> BooleanBuffer {
    let byte = |eight: &[bool]| eight.iter().rev().fold(0, |byte, flag| byte << 1 | u8::from(*flag));
    let (whole, rest) = flags.as_chunks::<8>();
    let mut bytes: Vec<u8> = whole.iter().map(|eight| byte(eight)).collect();
    if !rest.is_empty() {
        bytes.push(byte(rest));
    }
    BooleanBuffer::new(bytes.into(), 0, flags.len())
}

#[cfg(test)]
mod tests;
