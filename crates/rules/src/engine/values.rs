//! The values of a field in a batch, row by row, as codes into distinct values wherever the batch has those.

use std::cell::OnceCell;

use arrow::array::{
    Array, AsArray, BooleanArray, Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use palisade_events::batch::WordColumn;
use palisade_events::fields::FieldRef;
use palisade_events::schema::{AnyColumn, Text, Word};
use palisade_events::{EventBatch, FieldColumn, col, time};

use super::payload::{Payload, PayloadScan};
use super::program::Hits;
use crate::json::text_of_payload;

/// A field's place in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Column(AnyColumn),
    /// Number of the path in the plan.
    Raw(usize),
    Event,
}

/// The values of one field over a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Values<'b> {
    Word(WordColumn<'b>),
    Text(&'b StringArray),
    Words(&'b ListArray, &'b StringArray),
    Time(&'b TimestampMicrosecondArray),
    Long(&'b Int64Array),
    Int(&'b Int32Array),
    Flag(&'b BooleanArray),
    Raw(&'b FieldColumn),
    Event(&'b EventBatch, &'b EventTexts),
    /// A batch that has no such field.
    Absent,
}

impl<'b> Values<'b> {
    pub(crate) fn of(slot: Slot, batch: &'b EventBatch, fields: &'b [FieldColumn], texts: &'b EventTexts) -> Self {
        match slot {
            Slot::Column(AnyColumn::Word(c)) => Self::Word(batch.word(c)),
            Slot::Column(AnyColumn::Text(c)) => Self::Text(batch.text(c)),
            Slot::Column(AnyColumn::Words(c)) => {
                let lists = batch.words(c);
                Self::Words(lists, lists.values().as_string())
            }
            Slot::Column(AnyColumn::Time(c)) => Self::Time(batch.time(c)),
            Slot::Column(AnyColumn::Long(c)) => Self::Long(batch.long(c)),
            Slot::Column(AnyColumn::Int(c)) => Self::Int(batch.int(c)),
            Slot::Column(AnyColumn::Flag(c)) => Self::Flag(batch.flag(c)),
            Slot::Raw(path) => fields.get(path).map_or(Self::Absent, Self::Raw),
            Slot::Event => Self::Event(batch, texts),
        }
    }

    /// Whether no row has a value.
    pub(crate) fn is_absent(&self) -> bool {
        match self {
            Self::Word(column) => column.values().is_empty(),
            Self::Raw(column) => column.values().is_empty(),
            Self::Text(column) => column.null_count() == column.len(),
            Self::Time(column) => column.null_count() == column.len(),
            Self::Long(column) => column.null_count() == column.len(),
            Self::Int(column) => column.null_count() == column.len(),
            Self::Flag(column) => column.null_count() == column.len(),
            Self::Words(lists, _) => lists.null_count() == lists.len(),
            Self::Event(..) => false,
            Self::Absent => true,
        }
    }

    /// How many codes there are, where a code's value may belong to many rows. Else a code is used once.
    pub(crate) fn shared_codes(&self) -> Option<usize> {
        match self {
            Self::Word(column) => Some(column.values().len()),
            Self::Raw(column) => Some(column.values().len()),
            _ => None,
        }
    }

    /// Calls `see` with the codes of a row's values.
    #[inline]
    pub(crate) fn codes(&self, row: usize, mut see: impl FnMut(usize)) {
        let mut one = |is_valid: bool| {
            if is_valid {
                see(row);
            }
        };
        match self {
            Self::Word(column) => {
                if let Some(code) = column.code(row) {
                    see(code);
                }
            }
            Self::Raw(column) => column.codes(row).iter().for_each(|code| see(*code as usize)),
            Self::Text(column) => one(column.is_valid(row)),
            Self::Time(column) => one(column.is_valid(row)),
            Self::Long(column) => one(column.is_valid(row)),
            Self::Int(column) => one(column.is_valid(row)),
            Self::Flag(column) => one(column.is_valid(row)),
            Self::Event(..) => one(true),
            Self::Words(lists, items) => {
                if lists.is_valid(row) {
                    let offsets = lists.value_offsets();
                    let range = offsets[row] as usize..offsets[row + 1] as usize;
                    range.filter(|item| items.is_valid(*item)).for_each(see);
                }
            }
            Self::Absent => {}
        }
    }

    /// Calls `see` with the value of a code.
    #[inline]
    pub(crate) fn value<R>(&self, code: usize, see: impl FnOnce(FieldRef<'_>) -> R) -> R {
        match self {
            Self::Word(column) => see(FieldRef::Str(column.values().value(code))),
            Self::Raw(column) => see(column.values()[code].as_ref()),
            Self::Text(column) => see(FieldRef::Str(column.value(code))),
            Self::Words(_, items) => see(FieldRef::Str(items.value(code))),
            Self::Time(column) => see(FieldRef::Str(&time::format_rfc3339(column.value(code)))),
            Self::Long(column) => see(FieldRef::Int(column.value(code))),
            Self::Int(column) => see(FieldRef::Int(column.value(code).into())),
            Self::Flag(column) => see(FieldRef::Bool(column.value(code))),
            Self::Event(batch, texts) => see(FieldRef::Str(texts.get(batch, code))),
            Self::Absent => see(FieldRef::Null),
        }
    }
}

/// The text of whole events, for keywords: made when first asked for, row by row.
#[derive(Debug)]
pub(crate) struct EventTexts {
    rows: usize,
    cells: OnceCell<Vec<OnceCell<String>>>,
}

/// Columns with words of the event itself, for payloads that are not JSON: they hold decoded what the payload may hold
/// as hex.
pub(crate) const TEXTS: [Text; 5] =
    [col::MESSAGE, col::STATUS_DETAIL, col::PROCESS_CMD_LINE, col::FILE_PATH, col::RESOURCE_NAME];
pub(crate) const WORDS: [Word; 5] =
    [col::PROCESS_NAME, col::PROCESS_FILE_PATH, col::PROCESS_CWD, col::ACTOR_USER_NAME, col::PROCESS_USER_NAME];

impl EventTexts {
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows, cells: OnceCell::new() }
    }

    fn get(&self, batch: &EventBatch, row: usize) -> &str {
        let cells = self.cells.get_or_init(|| std::iter::repeat_with(OnceCell::new).take(self.rows).collect());
        cells[row].get_or_init(|| {
            let raw = batch.text(col::RAW);
            let raw = raw.is_valid(row).then(|| raw.value(row));
            let texts = TEXTS.iter().map(|c| batch.text(*c)).filter(|c| c.is_valid(row)).map(|c| c.value(row));
            event_text(raw, texts.chain(WORDS.iter().filter_map(|c| batch.word(*c).get(row))))
        })
    }
}

/// The parts of whole events as they are written, where a batch has any.
#[derive(Debug)]
pub(crate) struct EventParts<'b> {
    raw: &'b StringArray,
    texts: Vec<&'b StringArray>,
    words: Vec<WordColumn<'b>>,
}

impl<'b> EventParts<'b> {
    pub(crate) fn new(batch: &'b EventBatch) -> Self {
        let texts = TEXTS.iter().map(|c| batch.text(*c)).filter(|column| column.null_count() < column.len());
        let words = WORDS.iter().map(|c| batch.word(*c)).filter(|column| !column.values().is_empty());
        Self { raw: batch.text(col::RAW), texts: texts.collect(), words: words.collect() }
    }

    /// Adds the watched atoms that may hold for the text of a row.
    pub(crate) fn suspect(&self, row: usize, kind: Payload, scan: &PayloadScan, buffer: &mut String, hits: &mut Hits) {
        if self.raw.is_valid(row) {
            scan.payload(self.raw.value(row), kind, buffer, hits);
        }
        let texts = self.texts.iter().filter(|c| c.is_valid(row)).map(|c| c.value(row));
        for text in texts.chain(self.words.iter().filter_map(|c| c.get(row))) {
            scan.text(text, buffer, hits);
        }
    }
}

/// All values of the payload as one text, one a line; keys are no values. A payload that is not JSON is taken as it
/// is, with the columns that were decoded from it: those of [`TEXTS`], then those of [`WORDS`].
pub(crate) fn event_text<'t>(raw: Option<&str>, columns: impl Iterator<Item = &'t str>) -> String {
    let mut all = String::new();
    if let Some(raw) = raw {
        if let Some(text) = text_of_payload(raw) {
            return text;
        }
        all.push_str(raw);
    }
    for text in columns {
        all.push('\n');
        all.push_str(text);
    }
    all
}
