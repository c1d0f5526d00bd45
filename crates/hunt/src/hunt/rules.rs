//! Rules over history: which stored events they hold for, and the findings that the stream would have made of them.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::dataframe::DataFrame;
use datafusion::logical_expr::{Expr, ident, lit};
use futures::TryStreamExt;
use palisade_events::schema::COLUMNS;
use palisade_events::time::Micros;
use palisade_events::{EventBatch, FieldPlan, Finding, col};
use palisade_rules::{Rule, RuleSet, fields_of_raw};

use super::Hunt;
use crate::{Error, Result};

/// Up to so many rules are a filter of their own; of more, the filter costs more than the rows that it spares.
const RULES_FILTERED_MAX: usize = 64;

impl Hunt {
    /// The events of a time for which a rule holds: all their columns, in no order. What the rule says of columns
    /// decides which files and row groups are read.
    ///
    /// # Errors
    /// When the table cannot be planned.
    pub async fn rule_matches(&self, rule: &Rule, times: Range<Micros>) -> Result<DataFrame> {
        Ok(self.context.table("events").await?.filter(within(&times))?.filter(rule.filter())?)
    }

    /// The findings of rules over the events of a time, by time and then by id. They are the stream's own, ids
    /// included, where the payload that was stored is JSON: of others, decoders know paths that history does not.
    ///
    /// # Errors
    /// When the rules do not compile, the scan fails, or there are more findings than [`Limits::rows_max`].
    ///
    /// [`Limits::rows_max`]: crate::Limits::rows_max
    pub async fn findings_of(&self, rules: &RuleSet, times: Range<Micros>) -> Result<Vec<Finding>> {
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        let engine = rules.clone().compile(&plan)?;
        let is_few = rules.rules().len() <= RULES_FILTERED_MAX;
        let condition = if is_few { rules.filter() } else { rules.logsource_filter() };
        let events = self.context.table("events").await?.filter(within(&times))?.filter(condition)?;
        let mut rows = events.select(COLUMNS.iter().map(|c| ident(c.name)))?.execute_stream().await?;
        let mut findings = Vec::new();
        while let Some(rows) = rows.try_next().await? {
            let batch = EventBatch::from_columns(&rows)?;
            let batch = batch.with_fields(fields_of_raw(&plan, &batch));
            let matches = engine.evaluate(&batch);
            // Each will be a finding, which is far larger than a match: rules that hold for every row end here.
            if findings.len() + matches.len() > self.limits.rows_max {
                return Err(Error::TooManyRows { rows_max: self.limits.rows_max });
            }
            findings.extend(engine.findings(&batch, &matches));
        }
        findings.sort_unstable_by(|a, b| (a.time, &a.finding_uid).cmp(&(b.time, &b.finding_uid)));
        Ok(findings)
    }
}

/// A condition on the time of events, which statistics know by file and row group.
fn within(times: &Range<Micros>) -> Expr {
    let at = |time: Micros| lit(ScalarValue::TimestampMicrosecond(Some(time), Some("UTC".into())));
    let time = || ident(col::TIME.name());
    time().gt_eq(at(times.start)).and(time().lt(at(times.end)))
}
