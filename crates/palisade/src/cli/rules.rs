//! `palisade rules`: rules as code. Looking them over, running their tests, running them over events, saying what they
//! cover and why one does not match.
//!
//! Not here: what all of these mean, which is the rules crate's `verify`.

mod check;
mod test;
mod eval;
mod coverage;
mod explain;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};
use palisade::rules::Problem;
use palisade::rules::verify::Bundle;
use palisade::{Error, Result};

#[derive(Debug, Args)]
pub(crate) struct Rules {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Look rules over: what cannot be loaded, what is missing, what can never match.
    Check(check::Check),
    /// Run the tests of packs.
    Test(test::Test),
    /// Run rules over lines of JSON, each an event with its fields as written, and print which lines match.
    Eval(eval::Eval),
    /// Write a layer for the ATT&CK Navigator: for each technique the rules that claim it.
    Coverage(coverage::Coverage),
    /// Say which part of a rule's condition holds for an event, and which does not.
    Explain(explain::Explain),
}

impl Rules {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        match self.action {
            Action::Check(check) => check.carry_out(json),
            Action::Test(test) => test.carry_out(json),
            Action::Eval(eval) => eval.carry_out(json),
            Action::Coverage(coverage) => coverage.carry_out(),
            Action::Explain(explain) => explain.carry_out(json),
        }
    }
}

/// The bundles that paths name; the pack that is built in if there are none.
fn bundles(paths: &[PathBuf]) -> Result<Vec<Bundle>> {
    super::must_exist(paths)?;
    let unusable = |e: palisade::rules::Error| Error::Rules(e.to_string());
    if paths.is_empty() {
        Ok(vec![Bundle::starter().map_err(unusable)?])
    } else {
        Bundle::read(paths).map_err(unusable)
    }
}

/// Says on standard error what is wrong with rules, and whether any was left out.
fn tell(problems: &[Problem], json: bool) -> bool {
    for problem in problems {
        if json {
            eprintln!("{}", serde_json::json!({ "problem": problem }));
        } else {
            eprintln!("{}", super::term::printable(&problem.to_string()));
        }
    }
    problems.iter().any(|problem| problem.fatal)
}

/// A number with its noun, which is in the plural unless there is one.
fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

#[allow(clippy::disallowed_methods)] // How long a test takes is told to people and to CI, and decides nothing.
fn now() -> Instant {
    Instant::now()
}

/// The date of the wall clock, as `2026-11-25`.
fn today() -> String {
    palisade::events::time::date_of(at())
}

/// Now, in microseconds.
#[allow(clippy::disallowed_methods)] // Whether an exception has expired by now is asked of today.
fn at() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
