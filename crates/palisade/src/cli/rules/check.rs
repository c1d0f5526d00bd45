//! `palisade rules check`: what is wrong with rules, before they are in force.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::{Args, ValueEnum};
use palisade::correlate::Spec;
use palisade::ingest::Format;
use palisade::rules::verify::{Grade, JunitCase, JunitSuite, Remark, junit, lint};
use palisade::rules::{Pack, Reading, Rule, RuleSet};
use palisade::{Error, Result};

use super::{bundles, count, today};
use crate::cli::term::{printable, say};

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Packs, folders and files of rules; the pack that is built in if absent.
    paths: Vec<PathBuf>,
    /// How to say it.
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Formats of the sources that there are, as k8s_audit,auditd: tells of rules that none of their events can match.
    #[arg(long, value_delimiter = ',', value_name = "FORMAT")]
    sources: Vec<String>,
    /// Fail because of warnings, too.
    #[arg(long)]
    strict: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    Text,
    Json,
    Junit,
}

impl Check {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        for name in self.sources.iter().filter(|name| *name != "auto" && Format::named(name).is_none()) {
            eprintln!("`{}` is no built-in format: it is taken for the name of a mapping", printable(name));
        }
        let bundles = bundles(&self.paths)?;
        let mut remarks = Vec::new();
        let mut rules: Vec<(String, PathBuf)> = Vec::new();
        // As in force: exceptions may be from rules of another pack, and of the one that is built in.
        let mut all = RuleSet::starter().map_err(|e| Error::Rules(e.to_string()))?;
        for bundle in &bundles {
            let (set, problems) = bundle.load(Reading::Taxonomy).map_err(|e| Error::Rules(e.to_string()))?;
            remarks.extend(problems.iter().map(Remark::of_problem));
            let files = bundle.files();
            let file = |rule: &Rule| files.get(&rule.uid).cloned().unwrap_or_else(|| bundle.name.clone().into());
            if !self.sources.is_empty() && !self.sources.iter().any(|name| name == "auto") {
                let formats: Vec<&str> = self.sources.iter().map(String::as_str).collect();
                let report = set.report(&formats);
                let remark = |check: &'static str, rule: &Rule, why: String| Remark {
                    grade: Grade::Warning,
                    check,
                    path: file(rule),
                    rule: Some(rule.title.clone()),
                    why,
                };
                remarks.extend(report.dead.iter().map(|(rule, why)| remark("dead", rule, why.clone())));
                let unknown = |(rule, field): &(&Rule, String)| {
                    remark("unknown-field", rule, format!("no event has the field `{field}`"))
                };
                remarks.extend(report.unknown_fields.iter().map(unknown));
            }
            remarks.extend(set.packs().iter().flat_map(Pack::correlations).filter_map(|path| correlation(path)));
            rules.extend(set.rules().iter().map(|rule| (rule.title.clone(), file(rule))));
            all = all.merge(set);
        }
        remarks.extend(all.remarks().iter().map(Remark::of_problem));
        remarks.extend(lint(&bundles, &today()));
        remarks.sort_by(|a, b| {
            (&a.path, &a.rule, a.grade, a.check, &a.why).cmp(&(&b.path, &b.rule, b.grade, b.check, &b.why))
        });
        // Loading and the look at the text may say the same.
        remarks.dedup();
        let errors = remarks.iter().filter(|remark| remark.grade == Grade::Error).count();
        let warnings = remarks.len() - errors;
        match self.format.unwrap_or(if json { Form::Json } else { Form::Text }) {
            Form::Json => say(&format!(
                "{}\n",
                serde_json::json!({ "rules": rules.len(), "errors": errors, "warnings": warnings, "remarks": remarks })
            ))?,
            Form::Junit => say(&as_junit(&rules, &remarks, self.strict))?,
            Form::Text => {
                remarks.iter().for_each(print);
                say(&format!(
                    "{} checked: {}, {}\n",
                    count(rules.len(), "rule"),
                    count(errors, "error"),
                    count(warnings, "warning")
                ))?;
            }
        }
        let fails = errors > 0 || (self.strict && warnings > 0);
        Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// What is wrong with a correlation of a pack. A pipeline with it would not start.
fn correlation(path: &Path) -> Option<Remark> {
    let parsed = match std::fs::read_to_string(path) {
        Ok(text) => Spec::parse(&text).map(drop).map_err(|e| e.to_string()),
        Err(e) => Err(e.to_string()),
    };
    let why = format!("the correlation cannot be used: {}", parsed.err()?);
    Some(Remark { grade: Grade::Error, check: "correlation-refused", path: path.to_owned(), rule: None, why })
}

fn print(remark: &Remark) {
    let colour = if remark.grade == Grade::Error { AnsiColor::Red } else { AnsiColor::Yellow };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    let whole = remark.to_string();
    let rest = whole.strip_prefix(remark.grade.name()).unwrap_or(&whole);
    anstream::println!("{style}{}{style:#}{}", remark.grade.name(), printable(rest));
}

/// A test for each rule, by its title and file, and one for each file with remarks of its own.
fn as_junit(rules: &[(String, PathBuf)], remarks: &[Remark], strict: bool) -> String {
    let case = |name: &str, file: &str| JunitCase {
        class: "rules".into(),
        name: name.to_owned(),
        file: file.to_owned(),
        ..JunitCase::default()
    };
    let mut cases: BTreeMap<(String, String), JunitCase> = BTreeMap::new();
    for (title, path) in rules {
        let file = path.display().to_string();
        let made = case(title, &file);
        cases.entry((title.clone(), file)).or_insert(made);
    }
    for remark in remarks {
        let file = remark.path.display().to_string();
        let name = remark.rule.clone().unwrap_or_else(|| file.clone());
        let made = case(&name, &file);
        let case = cases.entry((name, file)).or_insert(made);
        if strict || remark.grade == Grade::Error {
            case.failures.push((format!("{} [{}]", remark.why, remark.check), remark.to_string()));
        } else {
            case.notes.push(remark.to_string());
        }
    }
    junit(&[JunitSuite { name: "palisade rules check".into(), cases: cases.into_values().collect() }])
}
