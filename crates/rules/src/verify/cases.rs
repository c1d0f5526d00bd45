//! A pack's tests: events on which a rule must fire, and events as like to them as possible on which it must be silent.

use std::path::PathBuf;
use std::sync::Arc;

use palisade_events::time::Micros;
use palisade_events::{EventBatch, FieldPlan};
use serde::{Deserialize, Serialize};

use super::bundle::Bundle;
use super::diagnose::Probe;
use super::lint::{Grade, Remark};
use super::replay;
use crate::pack::{Problem, Reading};
use crate::{Engine, JsonEvent, Result, batch_of_json};

/// A test of one rule: one document of `tests/*.yml`.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file.
    pub path: PathBuf,
    /// Id, name or title of the rule.
    pub rule: String,
    /// Events on which it must fire.
    pub fires: Vec<JsonEvent>,
    /// Events on which it must be silent.
    pub silent: Vec<JsonEvent>,
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
}

/// What an event was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// The rule must fire.
    Fires,
    /// The rule must be silent.
    Silent,
}

impl Wanted {
    /// The key under which such events stand.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fires => "fires",
            Self::Silent => "silent",
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
}

/// The rules of a bundle, ready to be tested.
#[derive(Debug)]
pub struct Suite<'b> {
    bundle: &'b Bundle,
    engine: Engine,
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
        for document in serde_yaml_ng::Deserializer::from_str(&file.text) {
            match Written::deserialize(document) {
                Ok(Written { rule, fires, silent }) => {
                    cases.push(Case { path: file.path.clone(), rule, fires, silent });
                }
                Err(e) => {
                    let (grade, path, why) = (Grade::Error, file.path.clone(), format!("the test cannot be read: {e}"));
                    remarks.push(Remark { grade, check: "test-unread", path, rule: None, why });
                    // After text that is no YAML there are no further documents.
                    break;
                }
            }
        }
    }
    (cases, remarks)
}

impl<'b> Suite<'b> {
    /// Loads the rules and reads the tests. Exceptions are those in force at that moment, since test events have no time.
    ///
    /// # Errors
    /// When rules cannot be read or compiled.
    pub fn new(bundle: &'b Bundle, at: Micros) -> Result<Self> {
        let (rules, problems) = bundle.load(Reading::Taxonomy)?;
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        let engine = rules.as_of(at).compile(&plan)?;
        let (cases, remarks) = read(bundle);
        Ok(Self { bundle, engine, cases, problems, remarks })
    }

    /// Runs a test.
    ///
    /// # Errors
    /// When its events make no batch.
    pub fn run(&self, case: &Case) -> palisade_events::Result<Outcome> {
        let rules = self.engine.rules();
        let number = rules.iter().position(|rule| {
            let names = [Some(rule.uid.as_str()), rule.name.as_deref(), Some(rule.title.as_str())];
            names.contains(&Some(case.rule.as_str()))
        });
        let mut outcome = Outcome {
            path: case.path.clone(),
            rule: case.rule.clone(),
            title: String::new(),
            author: String::new(),
            events: case.fires.len() + case.silent.len(),
            failures: Vec::new(),
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
        for (wanted, events) in [(Wanted::Fires, &case.fires), (Wanted::Silent, &case.silent)] {
            let batch = batch_of_json(self.engine.plan(), events)?;
            let mut fired = vec![false; events.len()];
            for one in replay::in_force(&self.engine, &batch).iter().filter(|one| one.rule as usize == number) {
                if let Some(fired) = fired.get_mut(one.row as usize) {
                    *fired = true;
                }
            }
            for (row, (event, fired)) in events.iter().zip(fired).enumerate() {
                if fired != (wanted == Wanted::Fires) {
                    let why = self.why(&rule.uid, event, wanted)?;
                    outcome.failures.push(Failure { wanted: Some(wanted), number: row + 1, why });
                }
            }
        }
        Ok(outcome)
    }

    fn why(&self, uid: &str, event: &JsonEvent, wanted: Wanted) -> palisade_events::Result<String> {
        let did = if wanted == Wanted::Fires { "the rule is silent" } else { "the rule fires" };
        let bundles = std::slice::from_ref(self.bundle);
        let Ok(probe) = Probe::new(bundles, uid, Reading::Taxonomy) else { return Ok(did.to_owned()) };
        let batch: EventBatch = batch_of_json(probe.plan(), std::slice::from_ref(event))?;
        Ok(format!("{did}\n{}", probe.diagnose(&batch, 0)))
    }
}
