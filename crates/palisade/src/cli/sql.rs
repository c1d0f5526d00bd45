//! `palisade sql`: one query over a lake, or a prompt with history and completion.

use std::borrow::Cow;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use palisade::hunt::{Hunt, Layout, statements};
use palisade::{Error, Result};
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Config, Editor, Helper};

use super::LakeArgs;
use super::term::{BOLD, DIM, complain, printable, say};

#[derive(Debug, Args)]
pub(crate) struct Sql {
    #[command(flatten)]
    lake: LakeArgs,
    /// The query; without one, a prompt (or queries from standard input).
    query: Option<String>,
    /// How to print rows.
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Table,
    Ndjson,
    Csv,
}

impl Sql {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        let layout = match self.output {
            _ if json => Layout::Ndjson,
            Output::Table => Layout::Table,
            Output::Ndjson => Layout::Ndjson,
            Output::Csv => Layout::Csv,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .map_err(Error::io("starting a runtime"))?;
        let hunt = runtime.block_on(Hunt::open(&self.lake.lake))?;
        let at_prompt = self.query.is_none() && std::io::stdin().is_terminal();
        let answer = |query: &str| -> Result<()> {
            let rows = async {
                tokio::select! {
                    biased;
                    () = interrupt(at_prompt) => Ok(None),
                    rows = hunt.sql(query) => rows.map(Some),
                }
            };
            let Some(batches) = runtime.block_on(rows)? else {
                anstream::eprintln!("interrupted");
                return Ok(());
            };
            let text = palisade::hunt::layout(&batches, layout)?;
            // Files and programs get what is there; a table is for eyes.
            let text = if layout == Layout::Table { printable(&text).into_owned() } else { text };
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            say(&format!("{text}{end}"))
        };
        match self.query {
            Some(query) => answer(&query)?,
            None if at_prompt => prompt(words(&runtime, &hunt)?, answer)?,
            None => {
                let text = std::io::read_to_string(std::io::stdin()).map_err(Error::io("reading standard input"))?;
                statements(&text)?.iter().try_for_each(|query| answer(query))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Waits for the interrupt that ends a query and not the prompt. Without one, interrupts end the program, as ever.
async fn interrupt(at_prompt: bool) {
    if !at_prompt || tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn prompt(words: Vec<String>, answer: impl Fn(&str) -> Result<()>) -> Result<()> {
    let fail = |e: ReadlineError| Error::State(format!("prompt: {e}"));
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<Words, DefaultHistory> = Editor::with_config(config).map_err(fail)?;
    editor.set_helper(Some(Words(words)));
    let history = std::env::home_dir().map(|home| home.join(".palisade_history"));
    if let Some(path) = &history {
        // A first session has none.
        let _ = editor.load_history(path);
    }
    anstream::println!("{BOLD}palisade{BOLD:#} {DIM}SQL ends with ; · tab completes · \\t tables · \\q leaves{DIM:#}");
    loop {
        match editor.readline("palisade> ") {
            Ok(line) => match line.trim().trim_end_matches(';').trim() {
                "" => {}
                "\\q" | "exit" | "quit" => break,
                "\\t" => report(answer("SHOW TABLES")),
                text => {
                    report(statements(text).map_err(Error::from).and_then(|all| all.iter().try_for_each(|q| answer(q))))
                }
            },
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(fail(error)),
        }
    }
    if let Some(path) = &history {
        let _ = editor.save_history(path);
    }
    Ok(())
}

fn report(outcome: Result<()>) {
    if let Err(error) = outcome {
        complain(&error);
    }
}

/// Names of tables and columns, and the usual words of SQL.
fn words(runtime: &tokio::runtime::Runtime, hunt: &Hunt) -> Result<Vec<String>> {
    let query = "SELECT DISTINCT table_name AS w FROM information_schema.columns WHERE table_schema = 'public' \
                 UNION SELECT DISTINCT column_name FROM information_schema.columns WHERE table_schema = 'public'";
    let batches = runtime.block_on(hunt.sql(query))?;
    let text = palisade::hunt::layout(&batches, Layout::Csv)?;
    let mut words: Vec<String> = text.lines().skip(1).map(|line| line.trim_matches('"').to_owned()).collect();
    words.extend(KEYWORDS.iter().map(|w| (*w).to_owned()));
    words.sort();
    Ok(words)
}

const KEYWORDS: &[&str] = &[
    "SELECT",
    "FROM",
    "WHERE",
    "GROUP BY",
    "ORDER BY",
    "LIMIT",
    "COUNT(*)",
    "DISTINCT",
    "JOIN",
    "LEFT JOIN",
    "HAVING",
    "BETWEEN",
    "INTERVAL",
    "date_trunc",
    "array_agg",
    "approx_distinct",
    "DESC",
    "LIKE",
    "ILIKE",
    "IS NOT NULL",
];

struct Words(Vec<String>);

impl Helper for Words {}

impl Highlighter for Words {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Borrowed(hint)
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Validator for Words {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let text = context.input().trim();
        let is_whole =
            text.is_empty() || text.ends_with(';') || text.starts_with('\\') || matches!(text, "exit" | "quit");
        Ok(if is_whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

impl Completer for Words {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &rustyline::Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let start = line[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
        let begun = line[start..at].to_lowercase();
        if begun.is_empty() {
            return Ok((at, Vec::new()));
        }
        let fitting = self.0.iter().filter(|word| word.to_lowercase().starts_with(&begun));
        Ok((start, fitting.map(|w| Pair { display: w.clone(), replacement: w.clone() }).collect()))
    }
}
