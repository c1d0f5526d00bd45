//! A pack's tests: events on which a rule must fire, events as like to them as possible on which it must be silent, and
//! events of which an exception must suppress the match.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_events::time::{self, Micros};
use palisade_events::{EventBatch, EventBuilder, FieldPlan, col};
use serde::{Deserialize, Serialize};
use serde_yaml_ng::Value;

use super::bundle::{Bundle, Text};
use super::diagnose::Probe;
use super::lint::{Grade, Remark};
use crate::expr::Expr;
use crate::pack::{Problem, Reading};
use crate::{Engine, Exception, JsonEvent, Match, Result, Rule, RuleSet, batch_of_json, json};

/// A test of one rule: one document of `tests/*.yml`.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file.
    pub path: PathBuf,
    /// Id, name or title of the rule.
    pub rule: String,
    /// Events on which it must fire.
    pub fires: Vec<JsonEvent>,
    /// Events on which it must be silent: it does not match, or an exception suppresses the match.
    pub silent: Vec<JsonEvent>,
    /// Events on which it must match, and an exception suppress the match.
    pub suppressed: Vec<JsonEvent>,
}

/// A test as its file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    rule: String,
    #[serde(default)]
    fires: Vec<JsonEvent>,
    #[serde(default)]
    silent: Vec<JsonEvent>,
    #[serde(default)]
    suppressed: Vec<JsonEvent>,
}

/// What an event was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The rule must fire.
    Fires,
    /// The rule must be silent.
    Silent,
    /// The rule must match, and an exception suppress the match.
    Suppressed,
}

impl Wanted {
    /// The key under which such events stand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fires => "fires",
            Self::Silent => "silent",
            Self::Suppressed => "suppressed",
        }
    }
}

/// An event that did not do what it was to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What it was to do; `None` if the test itself cannot be run.
    pub wanted: Option<Wanted>,
    /// Place of the event in its list, from 1.
    pub number: usize,
    /// Why the rule did otherwise, over several lines.
    pub why: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.wanted {
            Some(wanted) => write!(f, "{} event {}: {}", wanted.name(), self.number, self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// What came of a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The file.
    pub path: PathBuf,
    /// Id of the rule, or what the test calls it if there is none.
    pub rule: String,
    /// Title of the rule.
    pub title: String,
    /// Who wrote the rule.
    pub author: String,
    /// Events looked at.
    pub events: usize,
    /// What failed; nothing if the test passed.
    pub failures: Vec<Failure>,
    /// What is worth reading though nothing failed: events that are silent whatever the condition is.
    pub notes: Vec<String>,
}

/// The rules of a bundle, ready to be tested.
#[derive(Debug)]
pub struct Suite<'b> {
    bundle: &'b Bundle,
    /// The rules of the bundle.
    own: BTreeSet<String>,
    /// The pack that is built in, if a test is of a rule of it.
    starter: Option<Bundle>,
    engine: Engine,
    /// When events happen that do not say so.
    at: Micros,
    /// The tests, in the order of their files.
    pub cases: Vec<Case>,
    /// What is wrong with the rules.
    pub problems: Vec<Problem>,
    /// What is wrong with the tests.
    pub remarks: Vec<Remark>,
}

/// Reads the tests of a bundle.
pub(super) fn read(bundle: &Bundle) -> (Vec<Case>, Vec<Remark>) {
    let mut cases = Vec::new();
    let mut remarks = Vec::new();
    for file in &bundle.tests {
        let before = cases.len() + remarks.len();
        let mut unread = |why: String| {
            let (grade, path) = (Grade::Error, file.path.clone());
            remarks.push(Remark { grade, check: "test-unread", path, rule: None, why });
        };
        for document in documents(file) {
            let case = document.map(|Written { rule, fires, silent, suppressed }| {
                let path = file.path.clone();
                Case { path, rule, fires, silent, suppressed }
            });
            match case.and_then(|case| fitting(&case).map(|()| case)) {
                Ok(case) => cases.push(case),
                Err(why) => unread(format!("the test cannot be read: {why}")),
            }
        }
        if before == cases.len() + remarks.len() {
            let (grade, path, why) = (Grade::Error, file.path.clone(), "there is no test in this file".into());
            remarks.push(Remark { grade, check: "test-unread", path, rule: None, why });
        }
    }
    (cases, remarks)
}

/// The tests of a file. One that is wrong does not keep the others from being read, as long as the file is YAML.
fn documents(file: &Text) -> Vec<Result<Written, String>> {
    let mut all = Vec::new();
    let shapes = serde_yaml_ng::Deserializer::from_str(&file.text).map(Value::deserialize);
    for (shape, document) in shapes.zip(serde_yaml_ng::Deserializer::from_str(&file.text)) {
        let is_yaml = shape.is_ok();
        // What stands before the first `---` or after the last may be nothing.
        if !matches!(shape, Ok(Value::Null)) {
            all.push(Written::deserialize(document).map_err(|e| e.to_string()));
        }
        if !is_yaml {
            // There are no further documents.
            break;
        }
    }
    all
}

/// Whether the columns of all events are columns, and take the values that they are given.
fn fitting(case: &Case) -> Result<(), String> {
    let mut builder = EventBuilder::new(Arc::new(FieldPlan::default()));
    for (wanted, events) in case.events() {
        for (event, number) in events.iter().zip(1..) {
            if !event.event.is_object() && !event.event.is_null() {
                return Err(format!("{} event {number}: the payload `event` is no mapping", wanted.name()));
            }
            json::put_columns(&mut builder, &event.columns)
                .map_err(|why| format!("{} event {number}: {why}", wanted.name()))?;
            builder.abandon_row();
        }
    }
    Ok(())
}

impl Case {
    /// Its events, by what they are to do.
    pub(super) fn events(&self) -> [(Wanted, &[JsonEvent]); 3] {
        [(Wanted::Fires, &self.fires), (Wanted::Silent, &self.silent), (Wanted::Suppressed, &self.suppressed)]
    }
}

impl<'b> Suite<'b> {
    /// Loads the rules and reads the tests. Events that do not say when they happened happen at `at`, which decides whether
    /// an exception has expired.
    ///
    /// A test may be of a rule of the pack that is built in: the bundle's exceptions apply to those, too.
    ///
    /// # Errors
    /// When rules cannot be read or compiled.
    pub fn new(bundle: &'b Bundle, at: Micros) -> Result<Self> {
        let (mut rules, problems) = bundle.load(Reading::Taxonomy)?;
        let (cases, remarks) = read(bundle);
        let own: BTreeSet<String> = rules.rules().iter().map(|rule| rule.uid.clone()).collect();
        let mut starter = None;
        if cases.iter().any(|case| place(rules.rules(), &case.rule).is_none()) {
            let built_in = RuleSet::starter()?;
            if cases.iter().any(|case| place(built_in.rules(), &case.rule).is_some()) {
                rules = built_in.merge(rules);
                starter = Some(Bundle::starter()?);
            }
        }
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        let engine = rules.compile(&plan)?;
        Ok(Self { bundle, own, starter, engine, at, cases, problems, remarks })
    }

    /// Runs a test.
    ///
    /// # Errors
    /// When its events make no batch: a column that is none, or that takes another type.
    pub fn run(&self, case: &Case) -> palisade_events::Result<Outcome> {
        let rules = self.engine.rules();
        // A rule of the bundle that is titled like a built-in one is the one that is meant.
        let own = rules.iter().position(|rule| self.own.contains(&rule.uid) && rule.is_named(&case.rule));
        let number = own.or_else(|| place(rules, &case.rule));
        let mut outcome = Outcome {
            path: case.path.clone(),
            rule: case.rule.clone(),
            title: String::new(),
            author: String::new(),
            events: case.events().iter().map(|(_, events)| events.len()).sum(),
            failures: Vec::new(),
            notes: Vec::new(),
        };
        let cannot = |why: String| Failure { wanted: None, number: 0, why };
        let Some((number, rule)) = number.and_then(|number| Some((number, rules.get(number)?))) else {
            let why = format!("there is no rule `{}` in {}, or it was left out", case.rule, self.bundle.name);
            outcome.failures.push(cannot(why));
            return Ok(outcome);
        };
        outcome.rule.clone_from(&rule.uid);
        outcome.title.clone_from(&rule.title);
        outcome.author.clone_from(&rule.author);
        if outcome.events == 0 {
            outcome.failures.push(cannot("the test has no events".into()));
        }
        for (wanted, events) in case.events() {
            let events: Vec<JsonEvent> = events.iter().map(|event| self.dated(event)).collect();
            let batch = batch_of_json(self.engine.plan(), &events)?;
            let mut matches = self.engine.evaluate(&batch);
            matches.retain(|one| one.rule as usize == number);
            let suppressed = self.engine.suppressions(&batch, &matches);
            for (row, event) in events.iter().enumerate() {
                let of = |(one, by): (&Match, &Option<&'_ Exception>)| {
                    (one.row as usize == row).then(|| by.map(Exception::told))
                };
                let told = matches.iter().zip(&suppressed).find_map(of);
                if let Some(did) = otherwise(wanted, told) {
                    let why = self.why(&rule.uid, event, did)?;
                    outcome.failures.push(Failure { wanted: Some(wanted), number: row + 1, why });
                }
            }
            if wanted == Wanted::Silent {
                outcome.notes = self.beside(rule, &batch);
            }
        }
        Ok(outcome)
    }

    /// Tells of the rows of a batch that the rule's logsource does not mean.
    fn beside(&self, rule: &Rule, batch: &EventBatch) -> Vec<String> {
        let mut any = rule.clone();
        let own = any.lowered.expr.clone();
        // Holds for all that it is asked about, and reads nothing that is not planned.
        any.lowered.expr = Expr::Or(vec![own.clone(), Expr::Not(Box::new(own))]);
        let Ok(engine) = Engine::new(vec![any], self.engine.plan()) else { return Vec::new() };
        let meant: BTreeSet<u32> = engine.evaluate(batch).iter().map(|one| one.row).collect();
        let rows = (0..batch.rows() as u32).filter(|row| !meant.contains(row));
        let note = |row| {
            let (format, class) =
                (batch.word(col::FORMAT).get(row).unwrap_or_default(), batch.int(col::CLASS_UID).value(row));
            format!(
                "silent event {}: of format {format}, class {class}, which the rule's logsource does not mean: it is silent \
                 whatever the condition is",
                row + 1
            )
        };
        rows.map(|row| note(row as usize)).collect()
    }

    /// The event, with a time.
    fn dated(&self, event: &JsonEvent) -> JsonEvent {
        let mut event = event.clone();
        if event.columns.get("time").is_none_or(|time| time.is_null()) {
            event.columns.insert("time".into(), time::format_rfc3339(self.at).into());
        }
        event
    }

    /// What an event did, and the condition of the rule and of its exceptions.
    fn why(&self, uid: &str, event: &JsonEvent, did: String) -> palisade_events::Result<String> {
        let bundles: Vec<&Bundle> = std::iter::once(self.bundle).chain(&self.starter).collect();
        let Ok(probe) = Probe::of(&bundles, uid, Reading::Taxonomy) else { return Ok(did) };
        let batch = batch_of_json(probe.plan(), std::slice::from_ref(event))?;
        Ok(format!("{did}\n{}", probe.diagnose(&batch, 0)))
    }
}

/// The place of the rule that a test is of, by its id, name or title.
fn place(rules: &[Rule], wanted: &str) -> Option<usize> {
    rules.iter().position(|rule| rule.is_named(wanted))
}

/// What an event did, if that is not what it was to do. `matched` is `None` where the rule does not match, else what
/// suppresses the match.
fn otherwise(wanted: Wanted, matched: Option<Option<String>>) -> Option<String> {
    match (wanted, matched) {
        (Wanted::Fires, Some(None)) | (Wanted::Silent, None | Some(Some(_))) | (Wanted::Suppressed, Some(Some(_))) => {
            None
        }
        (Wanted::Fires, None) => Some("the rule is silent".into()),
        (Wanted::Fires, Some(Some(by))) => Some(format!("the rule matches, but is {by}")),
        (Wanted::Silent, Some(None)) => Some("the rule fires".into()),
        (Wanted::Suppressed, None) => Some("the rule is silent, so that there is nothing to suppress".into()),
        (Wanted::Suppressed, Some(None)) => Some("the rule fires, and no exception suppresses it".into()),
    }
}
