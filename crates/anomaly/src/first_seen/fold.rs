//! Counting the values of one lane.
//!
//! The codes of a feature's columns and of the entity become one number for each row; texts are made, hashed and compared
//! once per entity, value, pane and batch.

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use hashbrown::HashMap;
use palisade_events::batch::WordColumn;
use palisade_events::schema::AnyColumn;
use palisade_events::seam::{LaneFold, Pane};
use palisade_events::{EventBatch, Result};

use super::Feature;
use super::pairs::Pairs;
use crate::tally::{OpenPanes, Rows, Witnesses};

/// Counts the values of one lane.
pub(super) struct ValueFold {
    features: Vec<Feature>,
    open: OpenPanes,
    pairs: Pairs,
    /// By number of (entity, value); their rows are all empty between panes.
    groups: Vec<Group>,
    /// Groups with rows in the current pane.
    touched: Vec<usize>,
}

/// The rows of one entity and value.
struct Group {
    entity: usize,
    /// One of the rows, to read the value from.
    row: u32,
    rows: Rows,
}

impl ValueFold {
    pub(super) fn new(features: Vec<Feature>, open: OpenPanes) -> Self {
        Self { features, open, pairs: Pairs::default(), groups: Vec::new(), touched: Vec::new() }
    }
}

/// Marks a column without a value in the row.
const ABSENT: u32 = u32::MAX;

/// Values as numbers that are the same for the same value within a batch.
enum Codes<'b> {
    Word(WordColumn<'b>),
    Numbered { numbers: Vec<u32>, count: usize },
}

impl<'b> Codes<'b> {
    /// The codes of all columns together; `None` if no row has a value in the first.
    fn joint(batch: &'b EventBatch, columns: &[AnyColumn], pairs: &mut Pairs) -> Option<Self> {
        let (first, others) = columns.split_first()?;
        let mut codes = Self::of(batch, *first)?;
        for column in others.iter().filter_map(|column| Self::of(batch, *column)) {
            // A missing value is a value like others, but for the first column.
            pairs.start(codes.count(), column.count() + 1, batch.rows());
            let number = |row| match codes.code(row) {
                ABSENT => ABSENT,
                code => pairs.number(code, column.code(row).wrapping_add(1)),
            };
            let numbers = (0..batch.rows()).map(number).collect();
            codes = Self::Numbered { numbers, count: pairs.len() };
        }
        Some(codes)
    }

    /// `None` if no row has a value.
    fn of(batch: &'b EventBatch, column: AnyColumn) -> Option<Self> {
        if batch.columns().column(column.index()).null_count() == batch.rows() {
            return None;
        }
        match column {
            AnyColumn::Word(word) => Some(Self::Word(batch.word(word))),
            AnyColumn::Text(text) => {
                let mut known: HashMap<&str, u32, ahash::RandomState> = HashMap::default();
                let number = |value: Option<&'b str>| {
                    value.map_or(ABSENT, |value| {
                        let next = known.len() as u32;
                        *known.entry(value).or_insert(next)
                    })
                };
                let numbers = batch.text(text).iter().map(number).collect();
                Some(Self::Numbered { numbers, count: known.len() })
            }
            _ => None,
        }
    }

    /// Codes are below it.
    fn count(&self) -> usize {
        match self {
            Self::Word(column) => column.values().len(),
            Self::Numbered { count, .. } => *count,
        }
    }

    #[inline]
    fn code(&self, row: usize) -> u32 {
        match self {
            Self::Word(column) => column.code(row).map_or(ABSENT, |code| code as u32),
            Self::Numbered { numbers, .. } => numbers.get(row).copied().unwrap_or(ABSENT),
        }
    }
}

impl LaneFold for ValueFold {
    fn fold(&mut self, batch: &EventBatch, panes: &[(Pane, Vec<u32>)]) -> Result<()> {
        let mut witnesses = Witnesses::of(batch);
        let (times, uids) = (witnesses.times, witnesses.uids);
        for (series, feature) in self.features.iter().enumerate() {
            let Some(values) = Codes::joint(batch, feature.columns(), &mut self.pairs) else { continue };
            let entities = batch.entities(feature.entity());
            if entities.distinct().is_empty() {
                continue;
            }
            self.pairs.start(entities.distinct().len(), values.count(), batch.rows());
            self.groups.clear();
            for (pane, rows) in panes {
                self.touched.clear();
                for &row in rows {
                    let at = row as usize;
                    let value = values.code(at);
                    if value == ABSENT {
                        continue;
                    }
                    let Some(entity) = entities.code(at) else { continue };
                    let place = self.pairs.number(entity as u32, value) as usize;
                    if place == self.groups.len() {
                        self.groups.push(Group { entity, row, rows: Rows::EMPTY });
                    }
                    let rows = &mut self.groups[place].rows;
                    if rows.is_empty() {
                        self.touched.push(place);
                    }
                    rows.add(row, times, uids);
                }
                if self.touched.is_empty() {
                    continue;
                }
                let mut open = self.open.pane(*pane);
                for &place in &self.touched {
                    let group = &mut self.groups[place];
                    let rows = std::mem::replace(&mut group.rows, Rows::EMPTY);
                    let value = feature.value(batch, group.row as usize);
                    open.add(series as u16, &entities.distinct()[group.entity], &value, &rows, &mut witnesses);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, pane: Pane) -> Result<Option<RecordBatch>> {
        self.open.take(pane)
    }

    fn snapshot(&self) -> Result<Vec<(Pane, RecordBatch)>> {
        self.open.snapshot()
    }

    fn restore(&mut self, pane: Pane, partial: &RecordBatch) -> Result<()> {
        self.open.restore(pane, partial)
    }
}
