//! Telemetry by column: a record batch of the event schema, with typed access and the raw fields that rules asked for.
//!
//! Not here: building (see [`crate::build`]) and the columns themselves (see [`crate::schema`]).

use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Int32Array, Int64Array, ListArray, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{cast, concat_batches, take_record_batch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use crate::entity::{EntityColumn, EntityKind};
use crate::fields::{FieldColumn, FieldPlan};
use crate::position::Position;
use crate::schema::{self, COLUMNS, Flag, Int, Long, Text, Time, Word, Words, col};
use crate::{Error, Result};

/// Rows of telemetry: the columns of [`schema::events`], and one [`FieldColumn`] per planned raw path.
///
/// Cheap to clone and to slice: arrays are shared.
#[derive(Clone, Debug)]
pub struct EventBatch {
    columns: RecordBatch,
    fields: Arc<[FieldColumn]>,
    entities: Arc<[OnceLock<EntityColumn>; EntityKind::COUNT]>,
}

impl EventBatch {
    /// Checks that a record batch is one of events.
    ///
    /// # Errors
    /// [`Error::Schema`] naming the first column that does not fit.
    pub fn try_new(columns: RecordBatch, fields: Vec<FieldColumn>) -> Result<Self> {
        if columns.num_columns() != COLUMNS.len() {
            return Err(Error::Schema(format!("{} columns instead of {}", columns.num_columns(), COLUMNS.len())));
        }
        for (field, column) in columns.schema().fields().iter().zip(COLUMNS) {
            if field.name() != column.name || field.data_type() != &column.kind.data_type() {
                return Err(Error::Schema(format!(
                    "found `{}` of type {} where `{}` of type {} belongs",
                    field.name(),
                    field.data_type(),
                    column.name,
                    column.kind.data_type()
                )));
            }
        }
        Ok(Self { columns, fields: fields.into(), entities: Arc::default() })
    }

    /// Makes a batch of events from any record batch with some of the event columns, in any order, with plain strings
    /// or dictionaries: an embedder's own, or rows read back from the lake. Columns that are absent are null; columns
    /// that are no event columns are dropped.
    ///
    /// # Errors
    /// When a column cannot be cast to the type of the schema, or a required one is missing or null.
    pub fn from_columns(batch: &RecordBatch) -> Result<Self> {
        let rows = batch.num_rows();
        let schema = schema::events();
        let arrays = COLUMNS.iter().map(|column| match batch.column_by_name(column.name) {
            Some(array) if array.data_type() == &column.kind.data_type() => Ok(Arc::clone(array)),
            Some(array) => cast(array, &column.kind.data_type())
                .map_err(|e| Error::Schema(format!("column `{}` of type {}: {e}", column.name, array.data_type()))),
            None => Ok(arrow::array::new_null_array(&column.kind.data_type(), rows)),
        });
        let arrays = arrays.collect::<Result<Vec<ArrayRef>>>()?;
        let columns = RecordBatch::try_new(schema, arrays).map_err(|e| Error::Schema(e.to_string()))?;
        Self::try_new(columns, Vec::new())
    }

    /// An empty batch.
    pub fn empty() -> Self {
        Self { columns: RecordBatch::new_empty(schema::events()), fields: Arc::default(), entities: Arc::default() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.num_rows()
    }

    /// The Arrow batch.
    pub fn columns(&self) -> &RecordBatch {
        &self.columns
    }

    /// The raw fields, by their number in the plan of the builder. Empty for batches built without a plan.
    pub fn fields(&self) -> &[FieldColumn] {
        &self.fields
    }

    /// The raw fields, if they are those of a plan: that of the builder, or one with the same paths.
    pub fn fields_of(&self, plan: &Arc<FieldPlan>) -> Option<&[FieldColumn]> {
        let is_whole = self.fields.len() == plan.paths().len();
        let is_own = || self.fields.iter().enumerate().all(|(number, column)| column.is_of(plan, number));
        (is_whole && is_own()).then_some(&*self.fields)
    }

    /// The same rows with other raw fields beside them.
    pub fn with_fields(&self, fields: Vec<FieldColumn>) -> Self {
        Self { fields: fields.into(), ..self.clone() }
    }

    /// Rows `start..start + len`, sharing the arrays.
    pub fn slice(&self, start: usize, len: usize) -> Self {
        Self {
            columns: self.columns.slice(start, len),
            fields: self.fields.iter().map(|f| f.slice(start, len)).collect(),
            entities: Arc::default(),
        }
    }

    /// The given rows, in the given order, without raw fields.
    ///
    /// # Errors
    /// When a row number is out of bounds.
    pub fn take(&self, rows: &UInt32Array) -> Result<Self> {
        Self::try_new(take_record_batch(&self.columns, rows)?, Vec::new())
    }

    /// One batch after the other, without raw fields.
    ///
    /// # Errors
    /// When Arrow cannot concatenate, as when text would pass 2 GiB.
    pub fn concat<'b>(batches: impl IntoIterator<Item = &'b Self>) -> Result<Self> {
        let columns = concat_batches(&schema::events(), batches.into_iter().map(|b| &b.columns))?;
        Self::try_new(columns, Vec::new())
    }

    /// A text column.
    pub fn text(&self, column: Text) -> &StringArray {
        self.columns.column(column.0).as_string()
    }

    /// A dictionary-encoded column.
    pub fn word(&self, column: Word) -> WordColumn<'_> {
        WordColumn::new(self.columns.column(column.0).as_dictionary())
    }

    /// A column of lists of text.
    pub fn words(&self, column: Words) -> &ListArray {
        self.columns.column(column.0).as_list()
    }

    /// A time column.
    pub fn time(&self, column: Time) -> &TimestampMicrosecondArray {
        self.columns.column(column.0).as_primitive::<TimestampMicrosecondType>()
    }

    /// A 64-bit integer column.
    pub fn long(&self, column: Long) -> &Int64Array {
        self.columns.column(column.0).as_primitive::<Int64Type>()
    }

    /// A 32-bit integer column.
    pub fn int(&self, column: Int) -> &Int32Array {
        self.columns.column(column.0).as_primitive::<Int32Type>()
    }

    /// A boolean column.
    pub fn flag(&self, column: Flag) -> &BooleanArray {
        self.columns.column(column.0).as_boolean()
    }

    /// The entities of one kind, row by row. Computed once per batch and shared by everyone who asks.
    pub fn entities(&self, kind: EntityKind) -> &EntityColumn {
        self.entities[kind.index()].get_or_init(|| EntityColumn::of(self, kind))
    }

    /// The id of a row.
    pub fn uid(&self, row: usize) -> &str {
        self.text(col::EVENT_UID).value(row)
    }

    /// Where a row came from.
    pub fn position(&self, row: usize) -> Position {
        let origin = self.word(col::ORIGIN).get(row).unwrap_or_default().to_owned();
        let offset = self.long(col::OFFSET).value(row);
        let (partition, line) = (self.int(col::PARTITION), self.long(col::LINE));
        if partition.is_valid(row) {
            Position::Kafka { topic: origin, partition: partition.value(row), offset }
        } else if line.is_valid(row) {
            Position::File { file: origin, line: line.value(row) }
        } else {
            Position::Channel { channel: origin, sequence: offset }
        }
    }

    /// A row as a flat JSON object of its non-null columns, `raw` left out: what a finding shows as its excerpt.
    pub fn row_json(&self, row: usize) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (index, column) in COLUMNS.iter().enumerate() {
            let array = self.columns.column(index);
            if array.is_null(row) || index == col::RAW.0 {
                continue;
            }
            if let Some(value) = cell_json(array, row) {
                object.insert(column.name.into(), value);
            }
        }
        object.into()
    }
}

/// A dictionary-encoded column: codes by row, and the distinct values.
#[derive(Clone, Copy, Debug)]
pub struct WordColumn<'b> {
    array: &'b DictionaryArray<Int32Type>,
    values: &'b StringArray,
}

impl<'b> WordColumn<'b> {
    fn new(array: &'b DictionaryArray<Int32Type>) -> Self {
        Self { array, values: array.values().as_string() }
    }

    /// The value of a row.
    pub fn get(&self, row: usize) -> Option<&'b str> {
        self.code(row).map(|code| self.values.value(code))
    }

    /// The code of a row's value.
    pub fn code(&self, row: usize) -> Option<usize> {
        let code = self.array.keys().is_valid(row).then(|| self.array.keys().value(row) as usize)?;
        (!self.values.is_null(code)).then_some(code)
    }

    /// The distinct values, by code. Some may belong to no row after slicing.
    pub fn values(&self) -> &'b StringArray {
        self.values
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.array.len()
    }
}

fn cell_json(array: &ArrayRef, row: usize) -> Option<serde_json::Value> {
    use arrow::datatypes::DataType;
    Some(match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Dictionary(..) => WordColumn::new(array.as_dictionary()).get(row)?.into(),
        DataType::Timestamp(..) => {
            crate::time::format_rfc3339(array.as_primitive::<TimestampMicrosecondType>().value(row)).into()
        }
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            items.as_string::<i32>().iter().map(|item| item.map_or(serde_json::Value::Null, Into::into)).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
