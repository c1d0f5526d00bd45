//! `palisade rules test`: runs the tests of packs.

use std::path::PathBuf;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Args;
use palisade::rules::verify::{JunitCase, JunitSuite, Outcome, Suite, junit};
use palisade::{Error, Result};

use super::{bundles, count, now, tell};
use crate::cli::term::{printable, say};

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Packs, and folders that hold packs; the pack that is built in if absent.
    paths: Vec<PathBuf>,
    /// Write the results to this file, too, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

/// What came of all tests.
#[derive(Default)]
struct Sum {
    passed: usize,
    failed: usize,
    events: usize,
}

impl Test {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        let mut sum = Sum::default();
        let mut suites = Vec::new();
        let mut untested = Vec::new();
        for bundle in bundles(&self.paths)? {
            let suite = Suite::new(&bundle, super::at()).map_err(|e| Error::Rules(e.to_string()))?;
            let mut junit = JunitSuite { name: bundle.name.clone(), cases: Vec::new() };
            // What cannot be loaded or read was not tested: that is a failure of its own.
            tell(&suite.problems, json);
            let left_out = suite.problems.iter().filter(|problem| problem.fatal);
            let left_out = left_out.map(|problem| (problem.path.clone(), problem.to_string()));
            let unread = suite.remarks.iter().map(|remark| (remark.path.clone(), remark.to_string()));
            for remark in &suite.remarks {
                if json {
                    eprintln!("{}", serde_json::json!({ "remark": remark }));
                } else {
                    eprintln!("{}", printable(&remark.to_string()));
                }
            }
            let before = sum.passed + sum.failed;
            for (path, why) in left_out.chain(unread) {
                sum.failed += 1;
                junit.cases.push(JunitCase {
                    class: bundle.name.clone(),
                    name: path.display().to_string(),
                    file: path.display().to_string(),
                    failures: vec![(why, String::new())],
                    ..JunitCase::default()
                });
            }
            for case in &suite.cases {
                let begun = now();
                let outcome = suite.run(case)?;
                let secs = begun.elapsed().as_secs_f64();
                sum.add(&outcome);
                show(&outcome, secs, json)?;
                junit.cases.push(as_junit(&bundle.name, &outcome, secs));
            }
            if sum.passed + sum.failed == before {
                untested.push(suites.len());
            }
            suites.push(junit);
        }
        // Where there are tests of others, nobody would notice that there are none of these.
        if untested.len() < suites.len() {
            for place in untested {
                if let Some(suite) = suites.get_mut(place) {
                    sum.failed += 1;
                    suite.cases.push(fail_untested(&suite.name, json));
                }
            }
        }
        if let Some(path) = &self.junit {
            std::fs::write(path, junit(&suites)).map_err(Error::io(format!("writing {}", path.display())))?;
        }
        if sum.passed + sum.failed == 0 {
            return Err(Error::Usage("there are no tests: a pack has them in its folder `tests`".into()));
        }
        if json {
            let Sum { passed, failed, events } = sum;
            say(&format!(
                "{}\n",
                serde_json::json!({ "summary": { "passed": passed, "failed": failed, "events": events } })
            ))?;
        } else {
            say(&format!(
                "{} passed, {} failed, with {}\n",
                count(sum.passed, "test"),
                sum.failed,
                count(sum.events, "event")
            ))?;
        }
        Ok(if sum.failed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Says that a pack or a folder has no tests, which is a failure of its own.
fn fail_untested(name: &str, json: bool) -> JunitCase {
    let why = format!("there are no tests in {name}: a pack has them in its folder `tests`");
    if json {
        eprintln!("{}", serde_json::json!({ "untested": name, "why": why }));
    } else {
        eprintln!("{}", printable(&why));
    }
    JunitCase {
        class: name.to_owned(),
        name: name.to_owned(),
        failures: vec![(why, String::new())],
        ..JunitCase::default()
    }
}

impl Sum {
    fn add(&mut self, outcome: &Outcome) {
        self.events += outcome.events;
        if outcome.failures.is_empty() {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }
}

/// The rule's title with its author, or what the test calls the rule if there is none.
fn named(outcome: &Outcome) -> String {
    match (outcome.title.as_str(), outcome.author.as_str()) {
        ("", _) => outcome.rule.clone(),
        (title, "") => title.to_owned(),
        (title, author) => format!("{title}, by {author}"),
    }
}

fn show(outcome: &Outcome, secs: f64, json: bool) -> Result<()> {
    if json {
        let mut line = serde_json::to_value(outcome).map_err(|e| Error::State(e.to_string()))?;
        line["secs"] = secs.into();
        return say(&format!("{line}\n"));
    }
    let (word, colour) =
        if outcome.failures.is_empty() { ("ok  ", AnsiColor::Green) } else { ("FAIL", AnsiColor::Red) };
    let style = Style::new().bold().fg_color(Some(colour.into()));
    let events = count(outcome.events, "event");
    anstream::println!("{style}{word}{style:#} {} ({events})", printable(&named(outcome)));
    for failure in &outcome.failures {
        let text = failure.to_string().trim_end().replace('\n', "\n       ");
        anstream::println!("     {}: {}", outcome.path.display(), printable(&text));
    }
    for note in &outcome.notes {
        anstream::println!("     {}: note: {}", outcome.path.display(), printable(note));
    }
    Ok(())
}

fn as_junit(bundle: &str, outcome: &Outcome, secs: f64) -> JunitCase {
    let failure = |text: String| (text.lines().next().unwrap_or_default().to_owned(), text);
    JunitCase {
        class: bundle.to_owned(),
        name: if outcome.title.is_empty() { outcome.rule.clone() } else { outcome.title.clone() },
        file: outcome.path.display().to_string(),
        secs,
        failures: outcome.failures.iter().map(|own| failure(own.to_string())).collect(),
        notes: outcome.notes.clone(),
    }
}
