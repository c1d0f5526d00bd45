//! Why a rule holds for an event or does not: its condition as a tree, which parts held, and at the leaves what the event
//! has in that field.
//!
//! Each leaf is a rule of its own, made from the same text and evaluated by the same engine as the whole. What exceptions
//! make of the match is beside it: see [`super::excepted`].

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_events::fields::FieldValue;
use palisade_events::schema::COLUMNS;
use palisade_events::{EventBatch, FieldPlan, col};
use serde::Serialize;
use serde_json::Value;

use super::bundle::{Bundle, Document};
use super::excepted::{Apart, Draft, Excepted, Verdict};
use super::parts::{Parts, Shape, parts, shortened};
use crate::expr::Source;
use crate::load::{self, Context, Loaded};
use crate::pack::{Problem, Reading};
use crate::rule::Rule;
use crate::{Engine, json};

/// Values of one field of the event that are shown.
const VALUES_MAX: usize = 5;

/// Titles that are named where no rule has the one that was asked for.
const TITLES_MAX: usize = 5;

/// Why a rule cannot be asked about.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// There is none of that id, name or title.
    #[error("there is no rule with the id, name or title `{wanted}`{}", alike(titles))]
    Unknown {
        /// How the rule was asked for.
        wanted: String,
        /// Titles that have all its words.
        titles: Vec<String>,
    },
    /// The rule cannot be loaded.
    #[error("the rule `{title}` of {path} cannot be loaded: {why}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Title of the rule.
        title: String,
        /// What is wrong.
        why: String,
    },
    /// Its parts cannot be compiled.
    #[error(transparent)]
    Rules(#[from] crate::Error),
}

/// A rule in parts, to be asked about events, with the exceptions that apply to it.
#[derive(Debug)]
pub struct Probe {
    rule: Rule,
    tree: Tree,
    /// In the order of their ids.
    exceptions: Vec<Apart>,
    problems: Vec<Problem>,
}

/// A condition in parts.
#[derive(Debug)]
pub(super) struct Tree {
    shape: Shape,
    /// The parts as rules, by their numbers.
    engine: Engine,
}

/// Why a rule holds for an event, or does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Id of the rule.
    pub rule: String,
    /// Its title.
    pub title: String,
    /// Who wrote it.
    pub author: String,
    /// Whether it holds.
    pub holds: bool,
    /// Id of the exception that suppresses the match, if one does.
    pub suppressed_by: Option<String>,
    /// The leaves that decided it, with the names of their selections.
    pub reasons: Vec<String>,
    /// Whether the rule is for events like this one.
    pub logsource: Node,
    /// Its condition.
    pub condition: Node,
    /// What the exceptions that apply to the rule make of the event, in the order of their ids.
    pub exceptions: Vec<Excepted>,
}

/// A part of a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Node {
    /// Whether it holds.
    pub held: bool,
    /// What it is; at a leaf, what was wanted and what the event has.
    pub what: String,
    /// What it is made of.
    pub parts: Vec<Node>,
    /// What part of the tree it is.
    #[serde(skip)]
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Leaf,
    Named,
    Join,
    Not,
}

impl Probe {
    /// Finds a rule by its id, name or title, and takes it apart with the exceptions of all bundles that apply to it. What
    /// an earlier bundle holds goes before what a later one does.
    ///
    /// # Errors
    /// When there is none, or it cannot be loaded.
    pub fn new(bundles: &[Bundle], wanted: &str, reading: Reading) -> Result<Self, ProbeError> {
        Self::of(&bundles.iter().collect::<Vec<_>>(), wanted, reading)
    }

    /// Makes one of bundles that lie apart.
    pub(super) fn of(bundles: &[&Bundle], wanted: &str, reading: Reading) -> Result<Self, ProbeError> {
        let (bundle, document) = find(bundles, wanted).ok_or_else(|| unknown(bundles, wanted))?;
        let title = document.text("title").unwrap_or_default();
        let path = document.path.to_owned();
        let refused = |why: String| ProbeError::Refused { path: path.clone(), title: title.to_owned(), why };
        let context = bundle.context(reading).map_err(refused)?;
        let load = |text: &str, context: &Context| {
            let mut loaded = Loaded::default();
            load::documents(document.path, text, context, &mut loaded);
            let why = || loaded.problems.iter().find(|problem| problem.fatal).map_or("no rule", |problem| &problem.why);
            loaded.rules.pop().map(|(_, rule)| rule).ok_or_else(|| why().to_owned())
        };
        let whole = serde_yaml_ng::to_string(&document.value).map_err(|e| refused(e.to_string()))?;
        let rule = load(&whole, &context).map_err(refused)?;
        let Parts { shape, documents } =
            parts(&document).ok_or_else(|| refused("its detection cannot be taken apart".into()))?;
        let rules =
            documents.iter().map(|text| load(text, &context)).collect::<Result<Vec<_>, _>>().map_err(refused)?;
        let mut drafts: Vec<Draft> = Vec::new();
        let mut problems = Vec::new();
        for bundle in bundles {
            let (all, refused) = bundle.excepting(reading);
            problems.extend(refused);
            for own in all {
                let (path, titled) = (own.document.path.to_owned(), Some(own.exception.title.clone()));
                match Draft::new(own, &rule, &document, &context, load) {
                    None => {}
                    Some(Ok(draft)) if drafts.iter().any(|known| known.uid() == draft.uid()) => {}
                    Some(Ok(draft)) => drafts.push(draft),
                    Some(Err(why)) => {
                        let why = format!("it cannot be applied to `{title}`: {why}");
                        problems.push(Problem { path, rule: titled, why, fatal: false });
                    }
                }
            }
        }
        drafts.sort_by(|a, b| a.uid().cmp(b.uid()));
        let mut paths = BTreeSet::new();
        rules.iter().chain(drafts.iter().flat_map(|draft| &draft.rules)).flat_map(sources).for_each(|source| {
            if let Source::Raw(path) = source {
                paths.insert(path.to_string());
            }
        });
        let plan = Arc::new(FieldPlan::new(paths));
        let exceptions = drafts.into_iter().map(|draft| draft.apart(&plan)).collect::<Result<_, _>>()?;
        Ok(Self { rule, tree: Tree::new(shape, rules, &plan)?, exceptions, problems })
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// What is wrong with the bundles' exceptions, which are not asked then.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The raw fields that a batch is to carry.
    pub fn plan(&self) -> &Arc<FieldPlan> {
        self.tree.engine.plan()
    }

    /// Says why the rule holds for a row of a batch, or does not, and whether an exception suppresses the match.
    pub fn diagnose(&self, batch: &EventBatch, row: usize) -> Diagnosis {
        let own = batch.slice(row, 1);
        let own = if own.fields_of(self.plan()).is_some() {
            own
        } else {
            let fields = json::fields_of_raw(self.plan(), &own);
            own.with_fields(fields)
        };
        let held = self.tree.held(&own);
        let logsource = self.logsource(&own, held.contains(&0));
        let condition = self.tree.node(&own, &held, logsource.held);
        let mut reasons = Vec::new();
        if logsource.held {
            condition.reasons("", &mut reasons);
        } else {
            reasons.push(logsource.what.clone());
        }
        let holds = logsource.held && condition.held;
        let time = own.time(col::TIME).value(0);
        let exceptions: Vec<Excepted> = self.exceptions.iter().map(|one| one.asked(&own, time, holds)).collect();
        let by = exceptions.iter().find(|one| one.verdict == Verdict::Suppresses);
        Diagnosis {
            rule: self.rule.uid.clone(),
            title: self.rule.title.clone(),
            author: self.rule.author.clone(),
            holds,
            suppressed_by: by.map(|one| one.exception.clone()),
            reasons,
            logsource,
            condition,
            exceptions,
        }
    }

    fn logsource(&self, batch: &EventBatch, held: bool) -> Node {
        let own = &self.rule.logsource;
        let parts = [("category", &own.category), ("product", &own.product), ("service", &own.service)];
        let parts: Vec<String> =
            parts.into_iter().filter_map(|(name, part)| Some(format!("{name} {}", part.as_deref()?))).collect();
        let what = format!(
            "logsource {}: the event is of format {}, class {}",
            parts.join(", "),
            batch.word(col::FORMAT).get(0).unwrap_or("unknown"),
            batch.int(col::CLASS_UID).value(0)
        );
        Node { held, what, parts: Vec::new(), kind: Kind::Leaf }
    }
}

impl Tree {
    pub(super) fn new(shape: Shape, parts: Vec<Rule>, plan: &Arc<FieldPlan>) -> crate::Result<Self> {
        Ok(Self { shape, engine: Engine::new(parts, plan)? })
    }

    /// The numbers of the parts that hold for the one event of a batch.
    pub(super) fn held(&self, batch: &EventBatch) -> BTreeSet<usize> {
        self.engine.evaluate(batch).iter().map(|one| one.rule as usize).collect()
    }

    /// What the condition makes of that event.
    pub(super) fn node(&self, batch: &EventBatch, held: &BTreeSet<usize>, for_it: bool) -> Node {
        Scene { engine: &self.engine, batch, held, for_it }.node(&self.shape)
    }
}

/// The rule with this id, else this name, else this title, else the one that has the hash of its title for an id.
fn find<'b>(bundles: &[&'b Bundle], wanted: &str) -> Option<(&'b Bundle, Document<'b>)> {
    let of = |bundle: &'b Bundle| bundle.documents().into_iter().map(move |document| (bundle, document));
    let mut all: Vec<_> = bundles.iter().copied().flat_map(of).filter(|(_, document)| document.is_rule()).collect();
    let is =
        |document: &Document<'_>, key: &str| document.text(key).is_some_and(|own| own.eq_ignore_ascii_case(wanted));
    let hashed = |document: &Document<'_>| {
        let title = document.text("title").filter(|_| document.text("id").is_none());
        title.is_some_and(|title| Rule::uid_of_title(title) == wanted)
    };
    let place = ["id", "name", "title"]
        .into_iter()
        .find_map(|key| all.iter().position(|(_, document)| is(document, key)))
        .or_else(|| all.iter().position(|(_, document)| hashed(document)))?;
    Some(all.swap_remove(place))
}

fn unknown(bundles: &[&Bundle], wanted: &str) -> ProbeError {
    let words: Vec<String> = wanted.split_whitespace().map(str::to_lowercase).collect();
    let mut titles = Vec::new();
    for document in bundles.iter().flat_map(|bundle| bundle.documents()).filter(Document::is_rule) {
        let title = document.text("title").unwrap_or_default();
        let folded = title.to_lowercase();
        if !words.is_empty() && words.iter().all(|word| folded.contains(word)) && titles.len() < TITLES_MAX {
            titles.push(title.to_owned());
        }
    }
    ProbeError::Unknown { wanted: wanted.to_owned(), titles }
}

/// Titles after a sentence that says there is no rule.
fn alike(titles: &[String]) -> String {
    let named: Vec<String> = titles.iter().map(|title| format!("`{title}`")).collect();
    if named.is_empty() { String::new() } else { format!("; like it are {}", named.join(", ")) }
}

fn sources(rule: &Rule) -> Vec<&Source> {
    let mut all = Vec::new();
    rule.lowered.expr.sources(&mut |source| {
        if !all.contains(&source) {
            all.push(source);
        }
    });
    all
}

/// One event, and the parts that hold for it.
struct Scene<'s> {
    engine: &'s Engine,
    batch: &'s EventBatch,
    held: &'s BTreeSet<usize>,
    /// Whether the rule is for the event at all: if not, no part was asked about.
    for_it: bool,
}

impl Scene<'_> {
    fn node(&self, shape: &Shape) -> Node {
        match shape {
            Shape::Leaf { part, field, wanted } => {
                let held = self.held.contains(part);
                let what = if !self.for_it {
                    format!("{}, wanted {wanted}", called(field))
                } else if field.is_empty() {
                    format!("keywords: {} {wanted}", if held { "the event has" } else { "the event has not" })
                } else {
                    format!("{}: {}, wanted {wanted}", called(field), self.values(*part))
                };
                Node { held, what, parts: Vec::new(), kind: Kind::Leaf }
            }
            Shape::Named(name, inner) => {
                let inner = self.node(inner);
                let held = inner.held;
                // The parts of a selection, without a level of their own.
                let parts = if inner.kind == Kind::Join && inner.what == "all of" { inner.parts } else { vec![inner] };
                Node { held, what: name.clone(), parts, kind: Kind::Named }
            }
            Shape::Not(inner) => {
                let inner = self.node(inner);
                Node { held: !inner.held, what: "not".into(), parts: vec![inner], kind: Kind::Not }
            }
            Shape::All(label, all) => self.join(label, all, |held| held == all.len()),
            Shape::Any(label, all) => self.join(label, all, |held| held > 0),
            Shape::AtLeast(n, label, all) => self.join(label, all, |held| held as u64 >= *n),
        }
    }

    fn join(&self, label: &str, all: &[Shape], holds: impl Fn(usize) -> bool) -> Node {
        let parts: Vec<Node> = all.iter().map(|shape| self.node(shape)).collect();
        let held = holds(parts.iter().filter(|part| part.held).count());
        Node { held, what: label.to_owned(), parts, kind: Kind::Join }
    }

    /// What the event has where the part looks.
    fn values(&self, part: usize) -> String {
        let Some(rule) = self.engine.rules().get(part) else { return String::new() };
        let mut all: Vec<String> = Vec::new();
        let mut columns = None;
        for source in sources(rule) {
            match source {
                Source::Raw(path) => {
                    let column = self.engine.plan().number(path).and_then(|number| self.batch.fields().get(number));
                    let codes =
                        column.into_iter().flat_map(|column| column.codes(0).iter().map(move |code| (column, code)));
                    all.extend(codes.filter_map(|(column, code)| column.values().get(*code as usize)).map(shown));
                }
                Source::Column(column) => {
                    let columns = columns.get_or_insert_with(|| self.batch.row_json(0));
                    let name = COLUMNS.get(column.index()).map_or("", |column| column.name);
                    match columns.get(name) {
                        None => {}
                        Some(Value::Array(items)) => all.extend(items.iter().map(shown_json)),
                        Some(value) => all.push(shown_json(value)),
                    }
                }
                Source::Event => {}
            }
        }
        let mut seen = BTreeSet::new();
        all.retain(|value| seen.insert(value.clone()));
        let others = all.len().saturating_sub(VALUES_MAX);
        all.truncate(VALUES_MAX);
        match (all.len(), others) {
            (0, _) => "missing".into(),
            (1, 0) => format!("is {}", all.join("")),
            (_, 0) => format!("has {}", all.join(", ")),
            _ => format!("has {} and {others} more", all.join(", ")),
        }
    }
}

fn called(field: &str) -> String {
    if field.is_empty() { "keywords".into() } else { format!("field {field}") }
}

fn shown(value: &FieldValue) -> String {
    match value {
        FieldValue::Null => "null".into(),
        FieldValue::Bool(b) => b.to_string(),
        FieldValue::Int(n) => n.to_string(),
        FieldValue::UInt(n) => n.to_string(),
        FieldValue::Float(n) => n.to_string(),
        FieldValue::Str(text) => format!("\"{}\"", shortened(text)),
        FieldValue::Object => "an object".into(),
    }
}

fn shown_json(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shortened(text)),
        other => other.to_string(),
    }
}

impl Node {
    /// Gathers the leaves that made it hold or not hold, each with the name of the selection that it is in.
    pub(super) fn reasons(&self, name: &str, all: &mut Vec<String>) {
        let name = if self.kind == Kind::Named { self.what.as_str() } else { name };
        if self.kind == Kind::Leaf {
            all.push(if name.is_empty() { self.what.clone() } else { format!("{name}: {}", self.what) });
        }
        let decided = |part: &&Node| self.kind == Kind::Not || part.held == self.held;
        self.parts.iter().filter(decided).for_each(|part| part.reasons(name, all));
    }

    pub(super) fn write(&self, depth: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:depth$}{} {}", "", if self.held { "yes" } else { "NO " }, self.what, depth = depth * 4)?;
        self.parts.iter().try_for_each(|part| part.write(depth + 1, f))
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.title, self.rule)?;
        if !self.author.is_empty() {
            write!(f, ", by {}", self.author)?;
        }
        let outcome = match (self.holds, &self.suppressed_by) {
            (true, Some(_)) => "matches, and is suppressed",
            (true, None) => "matches",
            (false, _) => "does not match",
        };
        writeln!(f, ": {outcome}")?;
        self.logsource.write(1, f)?;
        if self.logsource.held {
            self.condition.write(1, f)?;
        }
        writeln!(f, "  because")?;
        self.reasons.iter().try_for_each(|reason| writeln!(f, "    {reason}"))?;
        self.exceptions.iter().try_for_each(|one| one.fmt(f))
    }
}
