//! Rules by column: each test of a field is made once over the distinct values of a batch, whatever number of rules
//! asks for it, and conditions are algebra over sets of rows.
//!
//! Rules are grouped by the rows that their logsource means. A group without rows in a batch costs a look at the
//! dictionary of formats; within a group, a field is looked at only for rows that some rule still wants.

mod needles;
mod scan;
mod literals;
mod nets;
mod payload;
mod program;
mod watch;
mod compile;
mod run;
mod values;

use std::borrow::Cow;
use std::sync::Arc;

use palisade_events::{EventBatch, FieldColumn, FieldPlan, Finding, col};

use self::compile::Section;
use self::run::Run;
pub(crate) use self::values::{EventTexts, Slot, Values};
#[cfg(feature = "datafusion")]
pub(crate) use self::values::{TEXTS, WORDS, event_text};
use crate::bits::Bits;
use crate::exception::Exception;
use crate::rule::Rule;
use crate::suppress::Suppressor;
use crate::taxonomy::{RowFilter, RowTest};
use crate::{Result, explain, json};

/// Compiled rules. Holds no state of a batch: one engine serves many threads.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Rule>,
    plan: Arc<FieldPlan>,
    sections: Vec<Section>,
    suppressor: Option<Suppressor>,
}

/// A rule holds for a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Match {
    /// Place of the rule in [`Engine::rules`].
    pub rule: u32,
    /// Row of the batch.
    pub row: u32,
}

impl Engine {
    pub(crate) fn new(rules: Vec<Rule>, plan: &Arc<FieldPlan>) -> Result<Self> {
        let sections = compile::sections(&rules, plan)?;
        Ok(Self { rules, plan: Arc::clone(plan), sections, suppressor: None })
    }

    pub(crate) fn with_exceptions(mut self, exceptions: Vec<Exception>) -> Result<Self> {
        if !exceptions.is_empty() {
            self.suppressor = Some(Suppressor::new(&self.rules, exceptions, &self.plan)?);
        }
        Ok(self)
    }

    /// The exceptions, in order of their uid.
    pub fn exceptions(&self) -> &[Exception] {
        self.suppressor.as_ref().map(Suppressor::exceptions).unwrap_or_default()
    }

    /// For each match, in their order, the exception that suppresses it; the first, if several do.
    ///
    /// An exception that has expired at the time of the event suppresses nothing.
    pub fn suppressions(&self, batch: &EventBatch, matches: &[Match]) -> Vec<Option<&Exception>> {
        self.suppressor.as_ref().map_or_else(|| vec![None; matches.len()], |own| own.of(batch, matches))
    }

    /// The rules, by number.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The plan of the raw fields that batches are to carry.
    pub fn plan(&self) -> &Arc<FieldPlan> {
        &self.plan
    }

    /// Which rules hold for which rows, ordered by row, then rule.
    ///
    /// A batch that does not carry the fields of the plan has them taken from its JSON payloads, which costs far more
    /// than to have the decoder leave them there.
    pub fn evaluate(&self, batch: &EventBatch) -> Vec<Match> {
        let texts = EventTexts::new(batch.rows());
        let mut fields: Option<Cow<'_, [FieldColumn]>> = None;
        let mut matches = Vec::new();
        for section in &self.sections {
            let Some(rows) = rows_of(&section.filter, batch) else { continue };
            let fields = fields.get_or_insert_with(|| self.fields(batch));
            Run::new(section, batch, fields, &texts, rows).matches(&mut matches);
        }
        matches.sort_unstable_by_key(|m| (m.row, m.rule));
        matches
    }

    /// The findings of matches: one for each, in their order. Suppressed ones say so, and by what.
    pub fn findings(&self, batch: &EventBatch, matches: &[Match]) -> Vec<Finding> {
        if matches.is_empty() {
            return Vec::new();
        }
        let texts = EventTexts::new(batch.rows());
        let fields = self.fields(batch);
        let scene = explain::Scene { batch, fields: &fields, texts: &texts, plan: &self.plan };
        let of = |(m, exception): (&Match, Option<&Exception>)| {
            let rule = self.rules.get(m.rule as usize)?;
            Some(explain::finding(rule, &scene, m.row as usize, exception))
        };
        matches.iter().zip(self.suppressions(batch, matches)).filter_map(of).collect()
    }

    fn fields<'b>(&self, batch: &'b EventBatch) -> Cow<'b, [FieldColumn]> {
        match batch.fields_of(&self.plan) {
            Some(fields) => Cow::Borrowed(fields),
            None => Cow::Owned(json::fields_of_raw(&self.plan, batch)),
        }
    }
}

/// The rows of a batch that a logsource means; `None` if there are none.
fn rows_of(filter: &RowFilter, batch: &EventBatch) -> Option<Bits> {
    let rows = batch.rows();
    let mut chosen = Bits::all(rows);
    if !filter.formats.is_empty() {
        let formats = batch.word(col::FORMAT);
        let wanted: Vec<bool> = formats
            .values()
            .iter()
            .map(|name| name.is_some_and(|name| filter.formats.iter().any(|own| own.eq_ignore_ascii_case(name))))
            .collect();
        if !wanted.contains(&true) {
            return None;
        }
        if wanted.contains(&false) {
            chosen = rows_where(rows, |row| formats.code(row).is_some_and(|code| wanted[code]));
        }
    }
    if !filter.tests.is_empty() {
        let mut passed = Bits::none(rows);
        for test in &filter.tests {
            passed.or_assign(&rows_passing(test, batch));
        }
        chosen = chosen.and(&passed);
    }
    chosen.some()
}

fn rows_passing(test: &RowTest, batch: &EventBatch) -> Bits {
    use arrow::array::Array;
    let rows = batch.rows();
    let mut passed = Bits::all(rows);
    if let Some(class) = test.class {
        let classes = batch.int(col::CLASS_UID);
        passed = passed.and(&rows_where(rows, |row| classes.value(row) == class));
    }
    if !test.activities.is_empty() {
        let activities = batch.int(col::ACTIVITY_ID);
        passed = passed.and(&rows_where(rows, |row| test.activities.contains(&activities.value(row))));
    }
    if !test.syscalls.is_empty() {
        let calls = batch.word(col::SYSCALL);
        passed = passed.and(&rows_where(rows, |row| {
            calls.get(row).is_some_and(|name| test.syscalls.iter().any(|own| own == name))
        }));
    }
    if let Some(name) = &test.has {
        let column = batch.columns().column_by_name(name);
        passed = passed.and(&rows_where(rows, |row| column.is_some_and(|c| c.is_valid(row))));
    }
    passed
}

fn rows_where(rows: usize, holds: impl Fn(usize) -> bool) -> Bits {
    let mut chosen = Bits::none(rows);
    (0..rows).filter(|row| holds(*row)).for_each(|row| chosen.set(row));
    chosen
}

#[cfg(test)]
mod tests;
