//! Packs: versioned folders of rules, the starter pack that is built in, and the set of rules that results.
//!
//! Not here: what a rule means (see [`crate::rule`]) and its evaluation (see [`crate::engine`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_events::{FieldPlan, id};
use serde::{Deserialize, Serialize};

use crate::expr::Source;
use crate::rule::Rule;
use crate::{Engine, Error, Result, load, starter, taxonomy};

/// Rules that were loaded together, in the order of their uid.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
}

/// What logsources and field names mean when rules are loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// The field map decides which rows a logsource means, and which columns and paths a field name.
    #[default]
    Taxonomy,
    /// Every rule sees every row, and a field is the path of the payload that it spells.
    AsWritten,
}

/// Something wrong with a rule or its file. The other rules are loaded all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// Title of the rule, where it could be read.
    pub rule: Option<String>,
    /// What is wrong, naming the construct.
    pub why: String,
    /// Whether the rule was left out; else it was loaded with a default in the place of what could not be read.
    pub fatal: bool,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.fatal { "rule left out: " } else { "remark on a rule: " })?;
        write!(f, "{}: ", self.path.display())?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        f.write_str(&self.why)
    }
}

/// A pack's own description: its `pack.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackInfo {
    /// Name of the pack.
    pub name: String,
    /// Version, which is that of rules without a date of their own.
    pub version: String,
    /// Version of ATT&CK that the technique ids are from.
    #[serde(default)]
    pub attack_version: String,
    /// One line about the pack.
    #[serde(default)]
    pub description: String,
}

impl RuleSet {
    /// The pack that comes with the library.
    ///
    /// # Errors
    /// When a built-in rule does not load, which the tests of this crate exclude.
    pub fn starter() -> Result<Self> {
        let pack = starter::info()?;
        let mut rules = Vec::new();
        for (name, text) in starter::RULES {
            let (own, problems) = load::documents(Path::new(name), text, &pack, Reading::Taxonomy);
            if let Some(problem) = problems.into_iter().next() {
                return Err(Error::Pack(problem.to_string()));
            }
            rules.extend(own);
        }
        Ok(Self::of(rules).0)
    }

    /// Loads rules from files and folders. A folder with a `pack.toml` is a pack, whose rules are in its `rules`; other
    /// folders are searched for `*.yml` and `*.yaml`, packs inside them included.
    ///
    /// # Errors
    /// When a path does not exist or cannot be read. What is wrong inside a file is returned as a [`Problem`].
    pub fn load(paths: &[PathBuf]) -> Result<(Self, Vec<Problem>)> {
        Self::load_as(paths, Reading::Taxonomy)
    }

    /// Loads rules as [`RuleSet::load`] does, with another reading of logsources and fields.
    ///
    /// # Errors
    /// As [`RuleSet::load`].
    pub fn load_as(paths: &[PathBuf], reading: Reading) -> Result<(Self, Vec<Problem>)> {
        let mut rules = Vec::new();
        let mut problems = Vec::new();
        for path in paths {
            load::path(path, &PackInfo::default(), reading, &mut rules, &mut problems)?;
        }
        let (set, doubles) = Self::of(rules.iter().map(|(_, rule)| rule.clone()).collect());
        for double in doubles {
            let path = rules.iter().rev().find(|(_, rule)| rule.uid == double.uid).map(|(path, _)| path.clone());
            problems.push(Problem {
                path: path.unwrap_or_default(),
                why: format!("a second rule with the id `{}`", double.uid),
                rule: Some(double.title),
                fatal: true,
            });
        }
        Ok((set, problems))
    }

    /// Reads rules from one text, as from a file of that name.
    pub fn parse(name: &str, text: &str) -> (Self, Vec<Problem>) {
        let (rules, mut problems) = load::documents(Path::new(name), text, &PackInfo::default(), Reading::Taxonomy);
        let (set, doubles) = Self::of(rules);
        problems.extend(doubles.into_iter().map(|double| Problem {
            path: name.into(),
            why: format!("a second rule with the id `{}`", double.uid),
            rule: Some(double.title),
            fatal: true,
        }));
        (set, problems)
    }

    /// Both sets together. A rule of `other` takes the place of one with the same id, so that a user's version of a
    /// rule wins over the built-in one.
    pub fn merge(self, other: Self) -> Self {
        let mut by_uid: BTreeMap<String, Rule> = self.rules.into_iter().map(|r| (r.uid.clone(), r)).collect();
        by_uid.extend(other.rules.into_iter().map(|r| (r.uid.clone(), r)));
        Self { rules: by_uid.into_values().collect() }
    }

    /// Sorts by uid, and takes out the rules whose uid an earlier one has.
    pub(crate) fn of(rules: Vec<Rule>) -> (Self, Vec<Rule>) {
        let mut doubles = Vec::new();
        let mut by_uid: BTreeMap<String, Rule> = BTreeMap::new();
        for rule in rules {
            if by_uid.contains_key(&rule.uid) {
                doubles.push(rule);
            } else {
                by_uid.insert(rule.uid.clone(), rule);
            }
        }
        (Self { rules: by_uid.into_values().collect() }, doubles)
    }

    /// The rules, in order of their uid: a match's `rule` is the place here.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The payload paths that the rules read: what decoders extract, through [`FieldPlan::new`].
    pub fn raw_fields(&self) -> Vec<String> {
        let mut paths = BTreeSet::new();
        for rule in &self.rules {
            rule.lowered.expr.sources(&mut |source| {
                if let Source::Raw(path) = source {
                    paths.insert(path.to_string());
                }
            });
        }
        paths.into_iter().collect()
    }

    /// The rules that no row of these formats can match, because their logsource means other formats.
    pub fn dead(&self, formats: &[&str]) -> Vec<&Rule> {
        let is_dead = |rule: &&Rule| {
            !rule.rows.formats.is_empty() && !rule.rows.formats.iter().any(|own| formats.contains(&own.as_str()))
        };
        self.rules.iter().filter(is_dead).collect()
    }

    /// Compiles the rules for batches that carry the raw fields of `plan`.
    ///
    /// # Errors
    /// [`Error::Unplanned`] when the plan lacks a path of [`RuleSet::raw_fields`]; [`Error::Pattern`] when the patterns
    /// of a field exceed what an automaton can hold.
    pub fn compile(self, plan: &Arc<FieldPlan>) -> Result<Engine> {
        Engine::new(self.rules, plan)
    }

    /// Identifies what the rules mean: equal for equal rules and field map, in whatever files they came.
    pub fn fingerprint(&self) -> String {
        let mut all = String::from(taxonomy::text());
        for rule in &self.rules {
            all.push_str(&rule.uid);
            all.push('\n');
            all.push_str(&rule.digest);
            all.push('\n');
        }
        id::content_hash("palisade.rules.v1", all.as_bytes())
    }
}
