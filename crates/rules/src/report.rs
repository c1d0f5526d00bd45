//! What rules cannot do with the rows that there are, told at load: rules that can never fire, and fields that no event
//! has.
//!
//! Everything said here is certain. What a payload may hold is known for some kinds of events only; of the others
//! nothing is said.

use std::collections::BTreeSet;

use palisade_events::schema::{AnyColumn, COLUMNS};

use crate::expr::{Expr, Source};
use crate::pack::{Problem, RuleSet};
use crate::predicate::Predicate;
use crate::rule::Rule;
use crate::taxonomy::{Fields, RowTest, classes_of};

/// What a rule set cannot do with rows of some formats.
#[derive(Clone, Debug, Default)]
pub struct LoadReport<'r> {
    /// Rules that no row can match, and why: their logsource means other rows, or their condition can never hold.
    pub dead: Vec<(&'r Rule, String)>,
    /// Rules, and the fields of them that are neither columns nor known in the payloads of their logsource. If that means
    /// rows of certain formats, a test of such a field never holds; if of any, the field is looked for in every payload
    /// under the name that the rule gives it.
    pub unknown_fields: Vec<(&'r Rule, String)>,
    /// What is odd about exceptions: see [`RuleSet::remarks`].
    pub remarks: Vec<Problem>,
}

/// Classes of which a format has some rows if it names system calls: processes, and what other detectors saw of them.
const OF_CALLS: [i32; 2] = [1007, 2004];

pub(crate) fn report<'r>(set: &'r RuleSet, formats: &[&str]) -> LoadReport<'r> {
    let mut report = LoadReport { remarks: set.remarks(), ..LoadReport::default() };
    for rule in set.rules() {
        if let Some(why) = lacks_rows(rule, formats).or_else(|| never(&rule.lowered.expr, rule)) {
            report.dead.push((rule, why));
        }
        let mut unknown = BTreeSet::new();
        rule.lowered.expr.sources(&mut |source| {
            if let Source::Raw(path) = source
                && rule.fields.knows(path) == Some(false)
            {
                unknown.insert(path.to_string());
            }
        });
        report.unknown_fields.extend(unknown.into_iter().map(|field| (rule, field)));
    }
    report
}

/// Why no row of these formats is one that the rule's logsource means.
fn lacks_rows(rule: &Rule, formats: &[&str]) -> Option<String> {
    let own = &rule.rows.formats;
    let is_meant = |format: &&&str| own.is_empty() || own.iter().any(|own| own.eq_ignore_ascii_case(format));
    let meant: Vec<&&str> = formats.iter().filter(is_meant).collect();
    if meant.is_empty() {
        return Some(match own.as_slice() {
            [] => "there is no source".into(),
            own => format!("its logsource means rows of the format `{}`, which no source has", own.join("` or `")),
        });
    }
    let gives = |wanted: &[i32]| {
        meant.iter().any(|format| classes_of(format).is_none_or(|all| all.iter().any(|class| wanted.contains(class))))
    };
    let is_given = |test: &RowTest| match test.class {
        Some(class) => gives(&[class]),
        None => test.syscalls.is_empty() || gives(&OF_CALLS),
    };
    if rule.rows.tests.is_empty() || rule.rows.tests.iter().any(is_given) {
        return None;
    }
    let classes: BTreeSet<i32> = rule.rows.tests.iter().filter_map(|test| test.class).collect();
    let classes: Vec<String> = classes.iter().map(i32::to_string).collect();
    Some(format!("its logsource means rows of class {}, which no source gives", classes.join(" or ")))
}

/// Why an expression holds for no event at all; `None` if it may.
fn never(expr: &Expr, rule: &Rule) -> Option<String> {
    match expr {
        Expr::Any(source, tests) => is_absent(source, rule).or_else(|| misses_numbers(source, tests, &rule.fields)),
        Expr::Related(left, _, _, right) => is_absent(left, rule).or_else(|| is_absent(right, rule)),
        Expr::And(all) => all.iter().find_map(|part| never(part, rule)),
        Expr::Or(all) => {
            let why = all.iter().map(|part| never(part, rule)).collect::<Option<Vec<_>>>()?;
            why.into_iter().next()
        }
        Expr::AtLeast(n, all) => {
            let why: Vec<String> = all.iter().filter_map(|part| never(part, rule)).collect();
            if all.len() - why.len() < *n { why.into_iter().next() } else { None }
        }
        // What always holds is not looked for.
        Expr::Not(_) => None,
    }
}

fn is_absent(source: &Source, rule: &Rule) -> Option<String> {
    match source {
        Source::Raw(path) if !rule.rows.formats.is_empty() && rule.fields.knows(path) == Some(false) => {
            Some(format!("no event has the field `{path}`"))
        }
        _ => None,
    }
}

/// Why no whole number passes any of the tests, where a field holds nothing else.
fn misses_numbers(source: &Source, tests: &[Predicate], fields: &Fields) -> Option<String> {
    let name = match source {
        Source::Raw(path) if fields.is_whole(path) => path.to_string(),
        Source::Column(column @ (AnyColumn::Int(_) | AnyColumn::Long(_))) => {
            COLUMNS.get(column.index())?.name.to_owned()
        }
        _ => return None,
    };
    let is_part = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let may_hold = |test: &Predicate| match test {
        Predicate::Equal(_, text) => text.parse::<i64>().is_ok(),
        Predicate::Contains(_, text) | Predicate::Prefix(_, text) | Predicate::Suffix(_, text) => is_part(text),
        _ => true,
    };
    (!tests.is_empty() && !tests.iter().any(may_hold))
        .then(|| format!("`{name}` is a number, and none of the values it is compared with is one"))
}

#[cfg(test)]
mod tests;
