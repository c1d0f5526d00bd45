//! The second lowering of a rule: to a DataFusion expression over the stored event table, for hunts.
//!
//! Every part is true or false and never null, so that a negation means the same here as in the engine. What plain
//! expressions say exactly is said so, that statistics may prune files; the rest is left to [`any`], which tests values
//! as the rule's own predicates do. Not here: evaluation on the stream (see [`crate::engine`]).

mod any;
mod fold;

use std::collections::BTreeSet;

use datafusion::functions::expr_fn::{contains, ends_with, starts_with};
use datafusion::logical_expr::{Expr as Sql, Operator, binary_expr, cast, ident, lit, not};
use palisade_events::fields::FieldRef;
use palisade_events::schema::{AnyColumn, COLUMNS, col};
use regex::Regex;

use crate::RuleSet;
use crate::expr::{Expr, Source};
use crate::predicate::{Comparison, Number, Predicate, text_of};
use crate::rule::Rule;
use crate::taxonomy::{RowFilter, RowTest};
use crate::text::Case;

/// Patterns of a column up to this many are plain expressions, each of which folds the text anew; more are tested
/// together.
const SCANS_MAX: usize = 4;

impl Rule {
    /// The rule as a condition on rows of the event table: true where the rule holds, else false, and never null.
    ///
    /// It reads columns of the table by their names, of any string type, and paths of the payload from `raw`. Paths of
    /// payloads that are not JSON are missing, whatever a decoder could have read of them.
    pub fn filter(&self) -> Sql {
        let condition = part(&self.lowered.expr).sql();
        balanced([rows(&self.rows), condition].into(), Operator::And)
    }
}

impl RuleSet {
    /// The condition that any of the rules holds, as [`Rule::filter`] says it for one.
    pub fn filter(&self) -> Sql {
        balanced(self.rules().iter().map(Rule::filter).collect(), Operator::Or)
    }

    /// The condition that the logsource of any rule means the row: what is left of [`RuleSet::filter`] without the
    /// rules' own conditions. Cheap for thousands of rules, of which most share a logsource.
    pub fn logsource_filter(&self) -> Sql {
        let filters: BTreeSet<&RowFilter> = self.rules().iter().map(|rule| &rule.rows).collect();
        balanced(filters.into_iter().map(rows).collect(), Operator::Or)
    }
}

/// The rows that a logsource means.
fn rows(filter: &RowFilter) -> Sql {
    let mut all = Vec::new();
    if !filter.formats.is_empty() {
        all.push(formats(&filter.formats));
    }
    if !filter.tests.is_empty() {
        all.push(balanced(filter.tests.iter().map(row_test).collect(), Operator::Or));
    }
    balanced(all, Operator::And)
}

/// Formats are named without regard to ASCII case. Of the spellings that begin with the same letter, all lie between the
/// one in upper case and the one in lower case, which is what statistics can be asked about.
fn formats(names: &[String]) -> Sql {
    let column = AnyColumn::Word(col::FORMAT);
    let between = |name: &String| {
        let (least, most) = (name.to_ascii_uppercase(), name.to_ascii_lowercase());
        let first = name.chars().next().map_or(0, char::len_utf8);
        let mixed = |first: &str, rest: &str| lit([first, rest].concat());
        let (up, down) = (least.split_at(first), most.split_at(first));
        let of_first = |first| read(column).between(mixed(first, up.1), mixed(first, down.1));
        if up.0 == down.0 { of_first(up.0) } else { of_first(up.0).or(of_first(down.0)) }
    };
    let between = balanced(names.iter().map(between).collect(), Operator::Or);
    let spelled: Vec<String> = names.iter().map(|name| spellings(name)).collect();
    let exactly = match Regex::new(&format!(r"\A(?:{})\z", spelled.join("|"))) {
        Ok(regex) => any::row_test(&Expr::Any(Source::Column(column), vec![Predicate::Regex(regex)])),
        // Names beyond the size of a regex: no row, as no decoder has such a name.
        Err(_) => lit(false),
    };
    balanced(vec![read(column).is_not_null(), between, exactly], Operator::And)
}

/// A regex for all ASCII spellings of a name; the flag for any case would take other letters too.
fn spellings(name: &str) -> String {
    name.chars()
        .map(|c| match c.is_ascii_alphabetic() {
            true => format!("[{}{}]", c.to_ascii_lowercase(), c.to_ascii_uppercase()),
            false => regex::escape(c.encode_utf8(&mut [0; 4])),
        })
        .collect()
}

fn row_test(test: &RowTest) -> Sql {
    let mut all = Vec::new();
    if let Some(class) = test.class {
        all.push(guarded(AnyColumn::Int(col::CLASS_UID), vec![read(AnyColumn::Int(col::CLASS_UID)).eq(lit(class))]));
    }
    if !test.activities.is_empty() {
        let column = AnyColumn::Int(col::ACTIVITY_ID);
        let any = test.activities.iter().map(|activity| read(column).eq(lit(*activity))).collect();
        all.push(guarded(column, vec![balanced(any, Operator::Or)]));
    }
    if !test.syscalls.is_empty() {
        let column = AnyColumn::Word(col::SYSCALL);
        all.push(guarded(column, vec![among(read(column), test.syscalls.clone())]));
    }
    if let Some(name) = &test.has {
        all.push(AnyColumn::named(name).map_or(lit(false), |column| read(column).is_not_null()));
    }
    balanced(all, Operator::And)
}

/// A part of a rule on its way to SQL.
enum Part {
    Plain(Sql),
    /// What is read from the payload, kept together: it is parsed once for all that is asked of it at one place.
    Payload(Expr),
}

impl Part {
    fn sql(self) -> Sql {
        match self {
            Self::Plain(sql) => sql,
            Self::Payload(expr) => any::row_test(&expr),
        }
    }
}

fn part(expr: &Expr) -> Part {
    match expr {
        Expr::Any(Source::Column(column), tests) => Part::Plain(column_any(*column, tests)),
        Expr::Related(Source::Column(_), _, _, Source::Column(_)) => Part::Plain(any::row_test(expr)),
        Expr::Any(..) | Expr::Related(..) => Part::Payload(expr.clone()),
        Expr::And(all) => joined(all, Operator::And, Expr::And),
        Expr::Or(all) => joined(all, Operator::Or, Expr::Or),
        Expr::Not(inner) => match part(inner) {
            Part::Plain(sql) => Part::Plain(not(sql)),
            Part::Payload(expr) => Part::Payload(Expr::Not(Box::new(expr))),
        },
        Expr::AtLeast(n, all) => {
            let parts: Vec<Part> = all.iter().map(part).collect();
            if parts.iter().all(|part| matches!(part, Part::Payload(_))) {
                return Part::Payload(expr.clone());
            }
            let ones = parts.into_iter().map(|part| cast(part.sql(), arrow::datatypes::DataType::Int64)).collect();
            Part::Plain(balanced(ones, Operator::Plus).gt_eq(lit(i64::try_from(*n).unwrap_or(i64::MAX))))
        }
    }
}

/// What reads columns comes first: it is cheap, and spares payloads.
fn joined(all: &[Expr], operator: Operator, join: fn(Vec<Expr>) -> Expr) -> Part {
    let (mut plain, mut payload) = (Vec::new(), Vec::new());
    for expr in all {
        match part(expr) {
            Part::Plain(sql) => plain.push(sql),
            Part::Payload(expr) => payload.push(expr),
        }
    }
    if plain.is_empty() {
        return Part::Payload(join(payload));
    }
    if !payload.is_empty() {
        plain.push(any::row_test(&join(payload)));
    }
    Part::Plain(balanced(plain, operator))
}

/// Some value of a column passes some of the tests.
fn column_any(column: AnyColumn, tests: &[Predicate]) -> Sql {
    let is_list = matches!(column, AnyColumn::Words(_));
    if !is_list && tests.iter().any(|test| matches!(test, Predicate::Exists | Predicate::Present)) {
        return read(column).is_not_null();
    }
    let (plain, rest) = match column {
        AnyColumn::Text(_) | AnyColumn::Word(_) => of_text(column, tests),
        AnyColumn::Int(_) => of_whole(column, tests, i32::MIN.into(), i32::MAX.into()),
        AnyColumn::Long(_) => of_whole(column, tests, i64::MIN, i64::MAX),
        AnyColumn::Flag(_) => of_flag(column, tests),
        AnyColumn::Time(_) | AnyColumn::Words(_) => (Vec::new(), tests.to_vec()),
    };
    let mut all = Vec::new();
    if !plain.is_empty() {
        all.push(guarded(column, plain));
    }
    if !rest.is_empty() {
        all.push(any::row_test(&Expr::Any(Source::Column(column), rest)));
    }
    balanced(all, Operator::Or)
}

/// Plain expressions for tests of text, and the tests that have none.
fn of_text(column: AnyColumn, tests: &[Predicate]) -> (Vec<Sql>, Vec<Predicate>) {
    let (mut exact, mut folded) = (BTreeSet::new(), BTreeSet::new());
    let (mut scans, mut rest) = (Vec::new(), Vec::new());
    let subject = |case| match case {
        Case::Exact => read(column),
        Case::Folded => fold::fold(read(column)),
    };
    for test in tests {
        match test {
            Predicate::Equal(Case::Folded, own) if !has_one_spelling(own) => _ = folded.insert(own.to_string()),
            Predicate::Equal(_, own) => _ = exact.insert(own.to_string()),
            Predicate::Whole(own) => _ = exact.insert(own.to_string()),
            Predicate::Float(own) => exact.extend(text_of(FieldRef::Float(*own)).map(|text| text.into_owned())),
            Predicate::Null => {}
            Predicate::Contains(..) | Predicate::Prefix(..) | Predicate::Suffix(..) => scans.push(test),
            other => rest.push(other.clone()),
        }
    }
    let mut plain = Vec::new();
    if !exact.is_empty() {
        plain.push(among(subject(Case::Exact), exact));
    }
    if !folded.is_empty() {
        plain.push(among(subject(Case::Folded), folded));
    }
    if scans.len() > SCANS_MAX {
        rest.extend(scans.into_iter().cloned());
        return (plain, rest);
    }
    for test in scans {
        match test {
            Predicate::Contains(case, own) => plain.push(contains(subject(*case), lit(own.as_ref()))),
            Predicate::Prefix(case, own) => plain.push(starts_with(subject(*case), lit(own.as_ref()))),
            Predicate::Suffix(case, own) => plain.push(ends_with(subject(*case), lit(own.as_ref()))),
            other => rest.push(other.clone()),
        }
    }
    (plain, rest)
}

/// Whether no other text folds to it: letters are all that folding changes, and it makes no letter into anything else.
fn has_one_spelling(folded: &str) -> bool {
    folded.bytes().all(|b| b.is_ascii() && !b.is_ascii_alphabetic())
}

/// Plain expressions for tests of whole numbers between `least` and `most`, and the tests that have none.
fn of_whole(column: AnyColumn, tests: &[Predicate], least: i64, most: i64) -> (Vec<Sql>, Vec<Predicate>) {
    let own_type = |n: i64| match (column, i32::try_from(n)) {
        (AnyColumn::Int(_), Ok(n)) => lit(n),
        _ => lit(n),
    };
    let (mut numbers, mut plain, mut rest) = (BTreeSet::new(), Vec::new(), Vec::new());
    for test in tests {
        match test {
            Predicate::Whole(n) => _ = numbers.insert(*n),
            Predicate::Equal(_, text) => numbers.extend(text.parse().ok().filter(|n: &i64| n.to_string() == **text)),
            Predicate::Compare(how, Number::Whole(n)) => plain.push(match i64::try_from(*n) {
                Ok(n) if (least..=most).contains(&n) => {
                    let operator = match how {
                        Comparison::Greater => Operator::Gt,
                        Comparison::GreaterOrEqual => Operator::GtEq,
                        Comparison::Less => Operator::Lt,
                        Comparison::LessOrEqual => Operator::LtEq,
                    };
                    binary_expr(read(column), operator, own_type(n))
                }
                // All that the column can hold lies on one side.
                _ => lit((*n > 0) == matches!(how, Comparison::Less | Comparison::LessOrEqual)),
            }),
            Predicate::Null => {}
            other => rest.push(other.clone()),
        }
    }
    numbers.retain(|n| (least..=most).contains(n));
    if let [only] = numbers.iter().copied().collect::<Vec<_>>()[..] {
        plain.push(read(column).eq(own_type(only)));
    } else if !numbers.is_empty() {
        plain.push(read(column).in_list(numbers.into_iter().map(own_type).collect(), false));
    }
    (plain, rest)
}

fn of_flag(column: AnyColumn, tests: &[Predicate]) -> (Vec<Sql>, Vec<Predicate>) {
    let (mut plain, mut rest) = (Vec::new(), Vec::new());
    for test in tests {
        match test {
            Predicate::Equal(_, text) => match text.as_ref() {
                "true" => plain.push(read(column)),
                "false" => plain.push(not(read(column))),
                _ => {}
            },
            Predicate::Null => {}
            other => rest.push(other.clone()),
        }
    }
    (plain, rest)
}

fn read(column: AnyColumn) -> Sql {
    ident(COLUMNS[column.index()].name)
}

/// Any of `all`, which are null at most where the column is. Two conditions joined, rather than one with a default for
/// null, are what statistics can be asked about.
fn guarded(column: AnyColumn, all: Vec<Sql>) -> Sql {
    balanced([read(column).is_not_null(), balanced(all, Operator::Or)].into(), Operator::And)
}

fn among(subject: Sql, texts: impl IntoIterator<Item = String>) -> Sql {
    let mut texts: Vec<Sql> = texts.into_iter().map(lit).collect();
    match (texts.pop(), texts.is_empty()) {
        (Some(only), true) => subject.eq(only),
        (last, _) => {
            texts.extend(last);
            subject.in_list(texts, false)
        }
    }
}

/// All of them joined, no deeper than the logarithm of their number: whoever walks an expression recurses. None of them
/// is true for AND, false for OR.
fn balanced(mut all: Vec<Sql>, operator: Operator) -> Sql {
    let right = all.split_off(all.len() / 2);
    match (all.is_empty(), <[Sql; 1]>::try_from(right)) {
        (true, Ok([only])) => only,
        (true, Err(_)) => lit(operator == Operator::And),
        (false, Ok([right])) => binary_expr(balanced(all, operator), operator, right),
        (false, Err(right)) => binary_expr(balanced(all, operator), operator, balanced(right, operator)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
