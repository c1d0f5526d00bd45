//! The rows of a window, by typed column: looked up once for all findings of a pane.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use palisade_events::finding::{ENTITY_COLUMNS, Evidence, entities_named};
use palisade_events::position::Position;
use palisade_events::schema::Word;
use palisade_events::time::{Micros, format_rfc3339};
use palisade_events::{Entity, EntityKind, Error, Result, col};

use super::cell::{shown, strings};

/// Kept rows in order of time, with the columns that are kept for every query.
pub(super) struct KeptRows<'w> {
    window: &'w RecordBatch,
    times: &'w TimestampMicrosecondArray,
    uids: &'w StringArray,
    sources: &'w StringArray,
    origins: &'w StringArray,
    partitions: &'w Int32Array,
    offsets: &'w Int64Array,
    lines: &'w Int64Array,
    /// The columns that name entities.
    words: Vec<(Word, &'w StringArray)>,
}

impl<'w> KeptRows<'w> {
    pub(super) fn of(window: &'w RecordBatch) -> Result<Self> {
        let words = ENTITY_COLUMNS.into_iter().map(|(_, word)| text(window, word.name()).map(|column| (word, column)));
        Ok(Self {
            window,
            times: typed(window, col::TIME.name(), |c| c.as_primitive_opt::<TimestampMicrosecondType>())?,
            uids: text(window, col::EVENT_UID.name())?,
            sources: text(window, col::SOURCE.name())?,
            origins: text(window, col::ORIGIN.name())?,
            partitions: typed(window, col::PARTITION.name(), |c| c.as_primitive_opt::<Int32Type>())?,
            offsets: typed(window, col::OFFSET.name(), |c| c.as_primitive_opt::<Int64Type>())?,
            lines: typed(window, col::LINE.name(), |c| c.as_primitive_opt::<Int64Type>())?,
            words: words.collect::<Result<_>>()?,
        })
    }

    /// Where the named events are.
    pub(super) fn places<'n>(&self, named: impl Iterator<Item = &'n str>) -> HashMap<&'w str, usize> {
        let named: HashSet<&str> = named.collect();
        let rows = self.uids.iter().enumerate().filter_map(|(row, uid)| Some((uid?, row)));
        rows.filter(|(uid, _)| named.contains(*uid)).collect()
    }

    pub(super) fn time(&self, row: usize) -> Micros {
        self.times.value(row)
    }

    pub(super) fn evidence(&self, row: usize) -> Evidence {
        let owned = |column: &StringArray| cell(column, row).unwrap_or_default().to_owned();
        let origin = owned(self.origins);
        let offset = if self.offsets.is_valid(row) { self.offsets.value(row) } else { 0 };
        let position = if self.partitions.is_valid(row) {
            Position::Kafka { topic: origin, partition: self.partitions.value(row), offset }
        } else if self.lines.is_valid(row) {
            Position::File { file: origin, line: self.lines.value(row) }
        } else {
            Position::Channel { channel: origin, sequence: offset }
        };
        Evidence { time: self.time(row), event_uid: owned(self.uids), source: owned(self.sources), position }
    }

    /// The entities that a row names, `declared` first.
    pub(super) fn entities(&self, row: usize, declared: Option<EntityKind>) -> Vec<Entity> {
        let column = |word: Word| self.words.iter().find(|(known, _)| *known == word).map(|(_, column)| *column);
        entities_named(declared, |word| cell(column(word)?, row))
    }

    /// The kept columns of a row as flat JSON, `raw` left out.
    pub(super) fn excerpt(&self, row: usize) -> String {
        let mut object = serde_json::Map::new();
        for (field, column) in self.window.schema().fields().iter().zip(self.window.columns()) {
            if column.is_null(row) || field.name() == col::RAW.name() {
                continue;
            }
            let value = match field.data_type() {
                DataType::Timestamp(..) => {
                    format_rfc3339(column.as_primitive::<TimestampMicrosecondType>().value(row)).into()
                }
                DataType::Boolean => column.as_boolean().value(row).into(),
                DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
                DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
                DataType::List(_) => strings(&column.as_list::<i32>().value(row)).into(),
                _ => shown(column, row).into(),
            };
            object.insert(field.name().clone(), value);
        }
        serde_json::Value::from(object).to_string()
    }
}

fn cell(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row))
}

fn text<'w>(window: &'w RecordBatch, name: &str) -> Result<&'w StringArray> {
    typed(window, name, |column| column.as_string_opt::<i32>())
}

fn typed<'w, A>(window: &'w RecordBatch, name: &str, cast: impl Fn(&'w dyn Array) -> Option<&'w A>) -> Result<&'w A> {
    let column = window.column_by_name(name).and_then(|column| cast(column.as_ref()));
    column.ok_or_else(|| Error::Schema(format!("column `{name}` was not kept, or not with its type")))
}
