//! What a look at rules as text finds wrong with them: what a person or a programme downstream will miss, and what cannot
//! work as it stands.
//!
//! Not here: what the engine cannot honour, which is a [`crate::Problem`] of loading.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern, detection_name_matches, parse_condition};
use serde::Serialize;
use serde_yaml_ng::Value;

use super::bundle::{Bundle, Document, Text};
use super::cases;
use crate::exception::{dangling, is_dangling};
use crate::pack::Problem;

/// Whether a remark keeps rules from doing what they are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Something is not in force, or cannot be told.
    Error,
    /// The rule works, and someone will miss something.
    Warning,
}

impl Grade {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something that a look at rules found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Remark {
    /// How bad it is.
    pub grade: Grade,
    /// Short name of the check, which does not change: `no-level`.
    pub check: &'static str,
    /// The file.
    pub path: PathBuf,
    /// Title of the rule, where there is one.
    pub rule: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl Remark {
    /// A remark that a rule is left out, or was loaded with a default.
    pub fn of_problem(problem: &Problem) -> Self {
        let (grade, check) = match problem.fatal {
            true => (Grade::Error, "refused"),
            // A look at the text finds it, too, and says the same.
            false if is_dangling(&problem.why) => (Grade::Warning, "unused-selection"),
            false => (Grade::Warning, "remark"),
        };
        Self { grade, check, path: problem.path.clone(), rule: problem.rule.clone(), why: problem.why.clone() }
    }
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: ", self.grade.name(), self.path.display())?;
        if let Some(rule) = &self.rule {
            write!(f, "{rule}: ")?;
        }
        write!(f, "{} [{}]", self.why, self.check)
    }
}

/// Looks at bundles. `today` is a date such as `2026-11-25`: exceptions that had ended by then are told of.
pub fn lint(bundles: &[Bundle], today: &str) -> Vec<Remark> {
    let mut remarks = Vec::new();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    let mut titles: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut excepted: BTreeMap<String, usize> = BTreeMap::new();
    for (number, bundle) in bundles.iter().enumerate() {
        for document in bundle.documents().iter().filter(|document| document.is_rule()) {
            let mut remark = |grade, check, why: String| remarks.push(remark(document, grade, check, why));
            look(document, &mut remark);
            if let Some(id) = document.text("id") {
                // A second one in the same bundle is refused when that is loaded.
                let first = *ids.entry(id.to_lowercase()).or_insert(number);
                if first != number {
                    let other = bundles.get(first).map_or("", |bundle| &bundle.name);
                    remark(Grade::Error, "duplicate-id", format!("the id `{id}` is that of a rule in {other}, too"));
                }
            }
            if let Some(title) = document.text("title") {
                match titles.get(&title.to_lowercase()) {
                    None => drop(titles.insert(title.to_lowercase(), document.path.to_owned())),
                    Some(other) => {
                        let why = format!("another rule has this title: {}", other.display());
                        remark(Grade::Warning, "duplicate-title", why);
                    }
                }
            }
        }
        if let Some(path) = bundle.emptiness() {
            let why = "there is nothing to load in it: no rules, exceptions or correlations".into();
            remarks.push(Remark { grade: Grade::Error, check: "no-rules", path: path.to_owned(), rule: None, why });
        }
        // Exceptions may also lie among the rules of a folder that is no pack.
        let filters = bundle.documents().into_iter().filter(|document| document.value.get("filter").is_some());
        for document in bundle.exceptions.iter().flat_map(Text::documents).chain(filters) {
            if let Some(id) = document.text("id") {
                let first = *excepted.entry(id.to_lowercase()).or_insert(number);
                if first != number {
                    let other = bundles.get(first).map_or("", |bundle| &bundle.name);
                    let why = format!("the id `{id}` is that of an exception in {other}, too");
                    remarks.push(remark(&document, Grade::Error, "duplicate-id", why));
                }
            }
            let expires = document.value.get("palisade").and_then(|own| own.get("expires")).and_then(Value::as_str);
            if let Some(date) = expires.filter(|date| is_date(date.get(..10).unwrap_or_default()) && **date <= *today) {
                let why = format!("the exception expired on {date}: it suppresses nothing later");
                remarks.push(remark(&document, Grade::Warning, "exception-expired", why));
            }
        }
        tested(bundle, &mut remarks);
    }
    remarks
}

fn remark(document: &Document<'_>, grade: Grade, check: &'static str, why: String) -> Remark {
    let rule = document.text("title").map(str::to_owned);
    Remark { grade, check, path: document.path.to_owned(), rule, why }
}

/// Looks at one rule alone.
fn look(document: &Document<'_>, remark: &mut impl FnMut(Grade, &'static str, String)) {
    let mut warn = |check, why: &str| remark(Grade::Warning, check, why.to_owned());
    match document.text("id") {
        None => warn("no-id", "no `id`: what refers to the rule breaks when its title changes"),
        Some(id) if !is_uuid(id) => warn("id-shape", &format!("the id `{id}` is no UUID")),
        Some(_) => {}
    }
    let missing = |key: &str| match document.value.get(key) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        Some(Value::Sequence(all)) => all.is_empty(),
        Some(_) => false,
    };
    for (key, check, why) in [
        ("description", "no-description", "no `description`: nobody will know why a match matters"),
        ("falsepositives", "no-false-positives", "no `falsepositives`: say what harmless things look like this"),
        ("level", "no-level", "no `level`: matches count as medium"),
        ("status", "no-status", "no `status`: matches are held for little certain"),
        ("author", "no-author", "no `author`: nobody can be asked, and no match can name one"),
        ("tags", "no-tags", "no `tags`: the rule is on no ATT&CK layer"),
    ] {
        if missing(key) {
            warn(check, why);
        }
    }
    let tags = document.value.get("tags").and_then(Value::as_sequence);
    for tag in tags.into_iter().flatten().filter_map(Value::as_str) {
        if let Some(name) = tag.to_ascii_lowercase().strip_prefix("attack.")
            && !is_attack(name)
        {
            warn("unknown-tag", &format!("`{tag}` is shaped like nothing in ATT&CK"));
        }
    }
    for key in ["date", "modified"] {
        if let Some(date) = document.text(key)
            && !is_date(date)
        {
            warn("date-shape", &format!("`{key}` is `{date}`, which is not written as 2026-11-25"));
        }
    }
    let Some(detection) = document.value.get("detection").and_then(Value::as_mapping) else { return };
    let selections: BTreeMap<&str, &Value> = detection
        .iter()
        .filter_map(|(name, selection)| Some((name.as_str()?, selection)))
        .filter(|(name, _)| !matches!(*name, "condition" | "timeframe"))
        .collect();
    // A condition that cannot be read is refused when the rule is loaded.
    let Some(conditions) = conditions(document) else { return };
    let mut used = BTreeSet::new();
    conditions.iter().for_each(|condition| uses(condition, &selections, &mut used));
    for name in selections.keys().filter(|name| !used.contains(*name)) {
        warn("unused-selection", &dangling(name));
    }
    let is_broad = |condition| [false, true].into_iter().all(|others| holds(condition, &selections, others));
    if conditions.iter().any(is_broad) {
        warn("too-broad", "it matches whatever has the field: every value that it asks for is `*`");
    }
}

/// The conditions of a rule; `None` if one cannot be read.
pub(super) fn conditions(document: &Document<'_>) -> Option<Vec<ConditionExpr>> {
    match document.value.get("detection")?.get("condition")? {
        Value::String(text) => Some(vec![parse_condition(text).ok()?]),
        Value::Sequence(all) => all.iter().map(|text| parse_condition(text.as_str()?).ok()).collect(),
        _ => None,
    }
}

/// The selections that a selector means, in order. Names that begin with `_` are hidden from what does not.
pub(super) fn chosen<'d, T>(pattern: &SelectorPattern, selections: &BTreeMap<&'d str, T>) -> Vec<&'d str> {
    let is_meant = |name: &str| match pattern {
        SelectorPattern::Them => !name.starts_with('_'),
        SelectorPattern::Pattern(pattern) => {
            (pattern.starts_with('_') || !name.starts_with('_')) && detection_name_matches(pattern, name)
        }
    };
    selections.keys().copied().filter(|name| is_meant(name)).collect()
}

fn uses<'d>(condition: &ConditionExpr, selections: &BTreeMap<&'d str, &Value>, used: &mut BTreeSet<&'d str>) {
    match condition {
        ConditionExpr::Identifier(name) => used.extend(selections.get_key_value(name.as_str()).map(|(name, _)| *name)),
        ConditionExpr::Selector { pattern, .. } => used.extend(chosen(pattern, selections)),
        ConditionExpr::Not(inner) => uses(inner, selections, used),
        ConditionExpr::And(all) | ConditionExpr::Or(all) => all.iter().for_each(|c| uses(c, selections, used)),
    }
}

/// Whether the condition holds where selections hold that ask for nothing but `*`, and all others do as told.
fn holds(condition: &ConditionExpr, selections: &BTreeMap<&str, &Value>, others: bool) -> bool {
    let held = |name: &str| others || selections.get(name).is_some_and(|selection| is_broad(selection));
    match condition {
        ConditionExpr::Identifier(name) => held(name),
        ConditionExpr::Selector { quantifier, pattern } => {
            let names = chosen(pattern, selections);
            let count = names.iter().filter(|name| held(name)).count();
            match quantifier {
                Quantifier::Any => count >= 1,
                Quantifier::All => count == names.len(),
                Quantifier::Count(n) => count as u64 >= *n,
            }
        }
        ConditionExpr::Not(inner) => !holds(inner, selections, others),
        ConditionExpr::And(all) => all.iter().all(|c| holds(c, selections, others)),
        ConditionExpr::Or(all) => all.iter().any(|c| holds(c, selections, others)),
    }
}

fn is_broad(selection: &Value) -> bool {
    match selection {
        Value::String(text) => text.chars().all(|c| c == '*') && !text.is_empty(),
        Value::Sequence(parts) => parts.iter().any(is_broad),
        Value::Mapping(items) => !items.is_empty() && items.values().all(is_broad),
        _ => false,
    }
}

/// Tells of rules without tests, tests without rules or events, and tests that cannot be read.
fn tested(bundle: &Bundle, remarks: &mut Vec<Remark>) {
    let (cases, unread) = cases::read(bundle);
    remarks.extend(unread);
    let documents = bundle.documents();
    let rules: Vec<&Document<'_>> = documents.iter().filter(|document| document.is_rule()).collect();
    let names = |document: &Document<'_>, name: &str| {
        ["id", "name", "title"].into_iter().any(|key| document.text(key) == Some(name))
    };
    let is_own = |name: &str| rules.iter().any(|document| names(document, name));
    // Read once, and only if a test is of no rule of the bundle.
    let starter = cases.iter().any(|case| !is_own(&case.rule)).then(|| Bundle::starter().ok()).flatten();
    let built_in: Vec<Document<'_>> = starter.iter().flat_map(Bundle::documents).collect();
    for case in &cases {
        let mut wrong = |check, why| {
            let path = case.path.clone();
            remarks.push(Remark { grade: Grade::Error, check, path, rule: None, why });
        };
        if !is_own(&case.rule) && !built_in.iter().any(|document| names(document, &case.rule)) {
            let why = format!("it tests `{}`, which is no rule of {} nor of the built-in pack", case.rule, bundle.name);
            wrong("test-of-unknown-rule", why);
        }
        if case.events().iter().all(|(_, events)| events.is_empty()) {
            wrong("test-without-events", format!("the test of `{}` has no events", case.rule));
        }
    }
    if bundle.info.is_none() {
        return;
    }
    for document in rules {
        let mut own = cases.iter().filter(|case| names(document, &case.rule)).peekable();
        if own.peek().is_none() {
            remarks.push(remark(document, Grade::Warning, "untested", "the pack has no test of this rule".into()));
        } else if own.all(|case| case.fires.is_empty() && case.suppressed.is_empty()) {
            let why = "no test has an event that the rule matches: that it is silent says little";
            remarks.push(remark(document, Grade::Warning, "untested", why.into()));
        }
    }
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.chars().all(|c| c.is_ascii_hexdigit()))
}

/// `t1611`, `t1552.007`, `g0139`, `s0001`, `ta0004`, `c0001`, or a tactic's name.
fn is_attack(name: &str) -> bool {
    let is_number = |text: &str, digits: usize| text.len() == digits && text.chars().all(|c| c.is_ascii_digit());
    if !name.contains(|c: char| c.is_ascii_digit()) {
        return !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_'));
    }
    let technique = name.strip_prefix('t').map(|rest| rest.split_once('.').unwrap_or((rest, "000")));
    technique.is_some_and(|(whole, part)| is_number(whole, 4) && is_number(part, 3))
        || ["g", "s", "ta", "c", "m", "ds"]
            .into_iter()
            .any(|letters| name.strip_prefix(letters).is_some_and(|rest| is_number(rest, 4)))
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut part = |digits: usize, least: u32, most: u32| {
        let part = parts.next().filter(|part| part.len() == digits && part.chars().all(|c| c.is_ascii_digit()));
        part.and_then(|part| part.parse().ok()).is_some_and(|n: u32| (least..=most).contains(&n))
    };
    part(4, 1, 9999) && part(2, 1, 12) && part(2, 1, 31) && parts.next().is_none()
}
