//! What exceptions make of a match: which of them suppress it, by which part of their condition, and which let it stand.
//!
//! An exception's condition is taken apart like a rule's, with the head of the rule that it is applied to: its fields mean
//! what they mean there.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use palisade_events::time::{self, Micros};
use palisade_events::{EventBatch, FieldPlan};
use serde::Serialize;
use serde_yaml_ng::{Mapping, Value};

use super::bundle::{Document, Excepting};
use super::diagnose::{Node, Tree};
use super::parts::{KEPT, Parts, parts};
use crate::exception::Exception;
use crate::load::Context;
use crate::rule::Rule;

/// What an exception that applies to a rule makes of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excepted {
    /// Id of the exception.
    pub exception: String,
    /// Its title.
    pub title: String,
    /// Who answers for it; empty if it does not say.
    pub owner: String,
    /// Why what it excepts is fine.
    pub reason: String,
    /// The day from which on it no longer applies.
    pub expires: Option<String>,
    /// What it makes of the event.
    pub verdict: Verdict,
    /// The leaves of its condition that decided so, with the names of their selections.
    pub reasons: Vec<String>,
    /// Its condition, which suppresses where it does not hold; `None` if it was not asked.
    pub condition: Option<Node>,
}

/// What becomes of a match by an exception.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The match is suppressed.
    Suppresses,
    /// The match stands, since the filter's condition holds too.
    Keeps,
    /// The match would be suppressed, but at the time of the event the exception had expired.
    Expired,
    /// There is no match.
    NotAsked,
}

/// An exception that applies to a rule, in parts.
#[derive(Debug)]
pub(super) struct Apart {
    exception: Exception,
    tree: Tree,
}

/// An exception and what it asks for, not yet compiled.
#[derive(Debug)]
pub(super) struct Draft {
    exception: Exception,
    parts: Parts,
    pub(super) rules: Vec<Rule>,
}

impl Draft {
    /// Takes an exception apart, if it is meant for the rule.
    ///
    /// # Errors
    /// Why it cannot be applied to the rule.
    pub(super) fn new(
        excepting: Excepting<'_>,
        rule: &Rule,
        document: &Document<'_>,
        context: &Context,
        load: impl Fn(&str, &Context) -> Result<Rule, String>,
    ) -> Option<Result<Self, String>> {
        let Excepting { exception, document: own, context: own_context } = excepting;
        if !exception.is_for(rule) {
            return None;
        }
        let mut context = context.clone();
        context.placeholders = own_context.placeholders;
        let draft = || {
            let parts = parts(&as_rule(&own, document)?)?;
            Some((parts.documents.iter().map(|text| load(text, &context)).collect::<Result<Vec<_>, _>>(), parts))
        };
        Some(match draft() {
            None => Err("its condition cannot be taken apart".into()),
            Some((Err(why), _)) => Err(why),
            Some((Ok(rules), parts)) => Ok(Self { exception, parts, rules }),
        })
    }

    /// Compiles it.
    ///
    /// # Errors
    /// As [`crate::RuleSet::compile`].
    pub(super) fn apart(self, plan: &Arc<FieldPlan>) -> crate::Result<Apart> {
        Ok(Apart { exception: self.exception, tree: Tree::new(self.parts.shape, self.rules, plan)? })
    }

    pub(super) fn uid(&self) -> &str {
        &self.exception.uid
    }
}

/// A filter as a rule: its selections and condition, under the head of the rule that it is applied to.
fn as_rule<'b>(filter: &Document<'b>, rule: &Document<'_>) -> Option<Document<'b>> {
    let mut whole = Mapping::new();
    for key in KEPT {
        if let Some(value) = rule.value.get(key) {
            whole.insert(key.into(), value.clone());
        }
    }
    // Its names are columns then, whatever those of the rule are.
    if filter.text("taxonomy") == Some("palisade") {
        whole.insert("taxonomy".into(), "palisade".into());
    }
    let mut detection = filter.value.get("filter")?.as_mapping()?.clone();
    detection.remove("rules");
    whole.insert("detection".into(), Value::Mapping(detection));
    Some(Document { path: filter.path, value: Value::Mapping(whole) })
}

impl Apart {
    /// Says what it makes of the one event of a batch, which is of `time`, given whether the rule holds for it.
    pub(super) fn asked(&self, batch: &EventBatch, time: Micros, rule_holds: bool) -> Excepted {
        let own = &self.exception;
        let condition = rule_holds.then(|| self.tree.node(batch, &self.tree.held(batch), true));
        let mut reasons = Vec::new();
        condition.iter().for_each(|node| node.reasons("", &mut reasons));
        let verdict = match &condition {
            None => Verdict::NotAsked,
            Some(node) if node.held => Verdict::Keeps,
            Some(_) if own.covers(time) => Verdict::Suppresses,
            Some(_) => Verdict::Expired,
        };
        // The parts of an `or` can be the same.
        let mut seen = BTreeSet::new();
        reasons.retain(|reason| seen.insert(reason.clone()));
        Excepted {
            exception: own.uid.clone(),
            title: own.title.clone(),
            owner: own.owner.clone(),
            reason: own.reason.clone(),
            expires: own.expires.map(time::date_of),
            verdict,
            reasons,
            condition,
        }
    }
}

impl Excepted {
    fn named(&self) -> String {
        format!("exception `{}` ({})", self.title, self.exception)
    }
}

impl fmt::Display for Excepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = self.named();
        match self.verdict {
            Verdict::Suppresses => {
                write!(f, "  suppressed by the {named}")?;
                if !self.owner.is_empty() {
                    write!(f, ", of {}", self.owner)?;
                }
                if let Some(day) = &self.expires {
                    write!(f, ", until {day}")?;
                }
                if !self.reason.is_empty() {
                    write!(f, ": {}", self.reason)?;
                }
                writeln!(f)?;
                if let Some(condition) = &self.condition {
                    condition.write(1, f)?;
                }
                writeln!(f, "  because")?;
                self.reasons.iter().try_for_each(|reason| writeln!(f, "    {reason}"))
            }
            Verdict::Keeps => writeln!(f, "  not suppressed by the {named}: {}", self.reasons.join("; ")),
            Verdict::Expired => {
                let day = self.expires.as_deref().unwrap_or_default();
                writeln!(f, "  the {named} would suppress it, but expired on {day}, before the event")
            }
            Verdict::NotAsked => writeln!(f, "  the {named} applies to the rule, but there is no match to suppress"),
        }
    }
}
