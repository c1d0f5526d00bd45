//! Which matches are suppressed: the conditions of exceptions, compiled like rules and evaluated only where rules that
//! have exceptions matched.

use std::sync::Arc;

use palisade_events::{EventBatch, FieldPlan, col};

use crate::Result;
use crate::engine::{Engine, Match};
use crate::exception::Exception;
use crate::rule::Rule;

/// Compiled exceptions.
#[derive(Debug)]
pub(crate) struct Suppressor {
    exceptions: Vec<Exception>,
    conditions: Box<Engine>,
    /// By number of a rule, its exceptions and the numbers of their conditions.
    by_rule: Vec<Vec<(usize, u32)>>,
}

impl Suppressor {
    /// Compiles the exceptions of `rules`.
    ///
    /// # Errors
    /// As [`crate::RuleSet::compile`].
    pub(crate) fn new(rules: &[Rule], exceptions: Vec<Exception>, plan: &Arc<FieldPlan>) -> Result<Self> {
        let mut conditions = Vec::new();
        let mut by_rule = vec![Vec::new(); rules.len()];
        for (number, exception) in exceptions.iter().enumerate() {
            let first = conditions.len();
            conditions.extend(exception.conditions());
            for (rule, own) in rules.iter().zip(&mut by_rule) {
                if let Some(variant) = exception.condition_for(&rule.uid) {
                    own.push((number, (first + variant) as u32));
                }
            }
        }
        Ok(Self { exceptions, conditions: Box::new(Engine::new(conditions, plan)?), by_rule })
    }

    pub(crate) fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// The first exception that suppresses each match.
    pub(crate) fn of(&self, batch: &EventBatch, matches: &[Match]) -> Vec<Option<&Exception>> {
        let exceptions_of = |m: &Match| self.by_rule.get(m.rule as usize).map(Vec::as_slice).unwrap_or_default();
        let rows = matches.iter().filter(|m| !exceptions_of(m).is_empty()).map(|m| m.row);
        let (Some(first), Some(last)) = (rows.clone().min(), rows.max()) else { return vec![None; matches.len()] };
        let part = batch.slice(first as usize, (last - first) as usize + 1);
        // In order of row, then condition.
        let holding = self.conditions.evaluate(&part);
        let times = batch.time(col::TIME);
        let of = |m: &Match| {
            exceptions_of(m).iter().find_map(|(number, condition)| {
                let wanted = (m.row - first, *condition);
                holding.binary_search_by_key(&wanted, |m| (m.row, m.rule)).ok()?;
                self.exceptions.get(*number).filter(|e| e.covers(times.value(m.row as usize)))
            })
        };
        matches.iter().map(of).collect()
    }
}
