//! Packs: versioned folders of rules and exceptions, the starter pack that is built in, and the set that results.
//!
//! Not here: what a rule means (see [`crate::rule`]) and its evaluation (see [`crate::engine`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_events::time::Micros;
use palisade_events::{FieldPlan, id};
use serde::{Deserialize, Serialize};

use crate::exception::Exception;
use crate::expr::Source;
use crate::load::{Context, Folder, Loaded};
use crate::report::{self, LoadReport};
use crate::rule::Rule;
use crate::{Engine, Error, Result, load, starter, taxonomy};

/// Rules that were loaded together with their exceptions, each in the order of their uid.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    exceptions: Vec<Exception>,
    packs: Vec<Pack>,
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
    /// The format of packs that it is written in; the first, if it does not say.
    pub requires: Option<u32>,
}

/// The format of packs that this version reads.
const FORMAT: u32 = 1;

impl PackInfo {
    /// Reads a `pack.toml`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let info: Self = toml::from_str(text).map_err(|e| e.to_string())?;
        match info.requires {
            Some(format) if format != FORMAT => Err(format!("requires pack format {format}; this is {FORMAT}")),
            _ => Ok(info),
        }
    }
}

/// A pack that was loaded. Its rules and exceptions are in the set; the rest is here for whoever reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    /// What it says of itself.
    pub info: PackInfo,
    /// Its folder; `None` for the pack that is built in.
    pub path: Option<PathBuf>,
    pub(crate) correlations: Vec<PathBuf>,
    pub(crate) tests: Vec<PathBuf>,
}

impl Pack {
    /// The files of its `correlations`, in order.
    pub fn correlations(&self) -> &[PathBuf] {
        &self.correlations
    }

    /// The files of its `tests`, in order.
    pub fn tests(&self) -> &[PathBuf] {
        &self.tests
    }
}

impl RuleSet {
    /// The pack that comes with the library.
    ///
    /// # Errors
    /// When a built-in rule does not load, which the tests of this crate exclude.
    pub fn starter() -> Result<Self> {
        Self::embedded(starter::info()?, starter::RULES, starter::EXCEPTIONS)
    }

    /// A pack whose files are names and texts.
    ///
    /// # Errors
    /// When anything is wrong with it.
    pub(crate) fn embedded(info: PackInfo, rules: &[(&str, &str)], exceptions: &[(&str, &str)]) -> Result<Self> {
        let mut context = Context::new(Reading::Taxonomy)?;
        context.info = info;
        let pack = Pack { info: context.info.clone(), path: None, correlations: Vec::new(), tests: Vec::new() };
        let mut loaded = Loaded { packs: vec![pack], ..Loaded::default() };
        for (files, folder) in [(rules, Folder::Rules), (exceptions, Folder::Exceptions)] {
            context.folder = folder;
            for (name, text) in files {
                load::documents(Path::new(name), text, &context, &mut loaded);
            }
        }
        let (set, problems) = Self::of(loaded);
        match problems.into_iter().next() {
            Some(problem) => Err(Error::Pack(problem.to_string())),
            None => Ok(set),
        }
    }

    /// Loads rules from files and folders. A folder with a `pack.toml` is a pack, whose rules are in its `rules` and whose
    /// exceptions in its `exceptions`; other folders are searched for `*.yml` and `*.yaml`, packs inside them included.
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
        let context = Context::new(reading)?;
        let mut loaded = Loaded::default();
        for path in paths {
            load::path(path, &context, &mut loaded)?;
        }
        Ok(Self::of(loaded))
    }

    /// Reads rules from one text, as from a file of that name.
    pub fn parse(name: &str, text: &str) -> (Self, Vec<Problem>) {
        let mut loaded = Loaded::default();
        match Context::new(Reading::Taxonomy) {
            Ok(context) => load::documents(Path::new(name), text, &context, &mut loaded),
            Err(e) => {
                loaded.problems.push(Problem { path: name.into(), rule: None, why: e.to_string(), fatal: true });
            }
        }
        Self::of(loaded)
    }

    /// Both sets together. A rule or an exception of `other` takes the place of one with the same id, so that a user's
    /// version of a rule wins over the built-in one. Exceptions of either apply to the rules of both.
    pub fn merge(self, other: Self) -> Self {
        let mut rules: BTreeMap<String, Rule> = self.rules.into_iter().map(|r| (r.uid.clone(), r)).collect();
        rules.extend(other.rules.into_iter().map(|r| (r.uid.clone(), r)));
        let exceptions = self.exceptions.into_iter().chain(other.exceptions);
        let exceptions: BTreeMap<String, Exception> = exceptions.map(|e| (e.uid.clone(), e)).collect();
        let packs = self.packs.into_iter().chain(other.packs).collect();
        Self::bound(rules.into_values().collect(), exceptions.into_values().collect(), packs)
    }

    /// Sorts by uid, and takes out the rules and exceptions whose uid an earlier one has.
    fn of(loaded: Loaded) -> (Self, Vec<Problem>) {
        let Loaded { rules, exceptions, packs, mut problems } = loaded;
        let mut doubles = |path: PathBuf, title: String, what: &str, uid: &str| {
            let why = format!("a second {what} with the id `{uid}`");
            problems.push(Problem { path, rule: Some(title), why, fatal: true });
        };
        let mut by_uid: BTreeMap<String, Rule> = BTreeMap::new();
        for (path, rule) in rules {
            if by_uid.contains_key(&rule.uid) {
                doubles(path, rule.title, "rule", &rule.uid);
            } else {
                by_uid.insert(rule.uid.clone(), rule);
            }
        }
        let mut excepted: BTreeMap<String, Exception> = BTreeMap::new();
        for (path, exception) in exceptions {
            if excepted.contains_key(&exception.uid) {
                doubles(path, exception.title, "exception", &exception.uid);
            } else {
                excepted.insert(exception.uid.clone(), exception);
            }
        }
        (Self::bound(by_uid.into_values().collect(), excepted.into_values().collect(), packs), problems)
    }

    /// Lets exceptions find their rules.
    pub(crate) fn bound(mut rules: Vec<Rule>, mut exceptions: Vec<Exception>, packs: Vec<Pack>) -> Self {
        rules.iter_mut().for_each(|rule| rule.excepted_by.clear());
        for exception in &mut exceptions {
            exception.bind(&rules);
            for uid in &exception.rules {
                if let Ok(place) = rules.binary_search_by(|rule| rule.uid.cmp(uid)) {
                    rules[place].excepted_by.push(exception.uid.clone());
                }
            }
        }
        Self { rules, exceptions, packs }
    }

    /// The rules, in order of their uid: a match's `rule` is the place here.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The exceptions, in order of their uid.
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// The set without exceptions that have expired by a moment: for events that tell no time of their own.
    pub fn as_of(mut self, at: Micros) -> Self {
        self.exceptions.retain(|exception| exception.covers(at));
        Self::bound(self.rules, self.exceptions, self.packs)
    }

    /// The packs that were loaded, in order.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// What is odd about exceptions, given all rules of the set: a condition without `not`, a name that no rule has, an
    /// exception that applies to nothing. To be asked after the last [merge](Self::merge).
    pub fn remarks(&self) -> Vec<Problem> {
        self.exceptions.iter().flat_map(Exception::problems).collect()
    }

    /// What the set cannot do with rows of these formats: see [`LoadReport`].
    pub fn report(&self, formats: &[&str]) -> LoadReport<'_> {
        report::report(self, formats)
    }

    /// The payload paths that the rules read: what decoders extract, through [`FieldPlan::new`]. Rules with keywords read the
    /// payload as a whole too, which is the empty path.
    pub fn raw_fields(&self) -> Vec<String> {
        let mut paths = BTreeSet::new();
        let mut see = |source: &Source| match source {
            Source::Raw(path) => drop(paths.insert(path.to_string())),
            Source::Event => drop(paths.insert(String::new())),
            Source::Column(_) => {}
        };
        self.rules.iter().for_each(|rule| rule.lowered.expr.sources(&mut see));
        for condition in self.exceptions.iter().flat_map(Exception::conditions) {
            condition.lowered.expr.sources(&mut |source| see(source));
        }
        paths.into_iter().collect()
    }

    /// The rules that no row of these formats can match, because their logsource means other formats. [`RuleSet::report`] also
    /// knows which classes of events formats have.
    pub fn dead(&self, formats: &[&str]) -> Vec<&Rule> {
        let is_dead = |rule: &&Rule| {
            !rule.rows.formats.is_empty() && !rule.rows.formats.iter().any(|own| formats.contains(&own.as_str()))
        };
        self.rules.iter().filter(is_dead).collect()
    }

    /// Compiles the rules for batches that carry the raw fields of `plan`.
    ///
    /// # Errors
    /// [`Error::Unplanned`] when the plan lacks a path of [`RuleSet::raw_fields`].
    pub fn compile(self, plan: &Arc<FieldPlan>) -> Result<Engine> {
        Engine::new(self.rules, plan)?.with_exceptions(self.exceptions)
    }

    /// Identifies what the rules mean: equal for equal rules, exceptions, placeholders and field maps, in whatever files
    /// they came.
    pub fn fingerprint(&self) -> String {
        let mut all = String::from(taxonomy::text());
        let rules = self.rules.iter().map(|rule| (&rule.uid, &rule.digest));
        let exceptions = self.exceptions.iter().map(|exception| (&exception.uid, &exception.digest));
        for (uid, digest) in rules.chain(exceptions) {
            all.push_str(uid);
            all.push('\n');
            all.push_str(digest);
            all.push('\n');
        }
        id::content_hash("palisade.rules.v1", all.as_bytes())
    }
}

#[cfg(test)]
mod tests;
