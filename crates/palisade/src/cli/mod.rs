//! Commands and their arguments. Each command is a file of its own.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use palisade::run::Summary;
use palisade::{Error, Result, Severity};
use tracing_subscriber::EnvFilter;

mod config;
#[cfg(feature = "kafka")]
mod demo;
mod drill;
mod findings;
mod lake;
mod rules;
mod run;
mod scan;
mod show;
mod sql;
pub(crate) mod term;

/// What `--help` ends with.
const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    failed, or a check found something wrong
  2    wrong usage or configuration
  3    scan: a finding reached the level of --fail-on
  130  scan: interrupted; any command: interrupted twice

Logs go to standard error. PALISADE_LOG or RUST_LOG, such as palisade=debug,warn, says which in place of -v.";

/// Security telemetry analytics: container and audit events in, findings and history out.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print NDJSON instead of text for people.
    #[arg(long, global = true)]
    json: bool,
    /// Log more: -v decisions and lanes (as `run` does anyway), -vv every commit.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show all of it in a minute: an embedded broker, a cluster's telemetry, an attack in it.
    #[cfg(feature = "kafka")]
    Demo(demo::Demo),
    /// Run the detector of a configuration until it is stopped.
    Run(run::Run),
    /// Run the same pipeline over files, once.
    Scan(scan::Scan),
    /// Simulate a cluster with labelled attacks, and score a pipeline over it.
    Drill(drill::DrillCommand),
    /// Query a lake: one query, or a prompt.
    Sql(sql::Sql),
    /// Look at a lake's tables and check them.
    Lake(lake::Lake),
    /// Rules as code: check, test, run, explain them.
    Rules(rules::Rules),
    /// List, show and close findings.
    Findings(findings::Findings),
    /// Write a commented configuration, or check one.
    Config(config::ConfigCommand),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where the lake is.
#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    /// Folder or object store URL of the lake.
    #[arg(long, global = true, env = "PALISADE_LAKE", default_value = "palisade-lake")]
    lake: String,
}

/// Sigma levels, for arguments.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Level {
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

impl Level {
    fn severity(self) -> Severity {
        match self {
            Self::Informational => Severity::Informational,
            Self::Low => Severity::Low,
            Self::Medium => Severity::Medium,
            Self::High => Severity::High,
            Self::Critical => Severity::Critical,
        }
    }
}

/// Exit code of wrong usage, as clap has it, and of configurations that cannot be used.
const WRONG: u8 = 2;
/// Exit code when findings reach the level of `--fail-on`.
const FOUND: u8 = 3;
/// Exit code when a signal ended a scan early, as shells count it.
const INTERRUPTED: u8 = 130;

/// The exit code of an error: a mistake of whoever called is told from a failure, which trying again may mend.
pub(crate) fn code_of(error: &Error) -> ExitCode {
    match error {
        Error::Usage(_) | Error::Config(_) | Error::Rules(_) | Error::Correlate(_) => ExitCode::from(WRONG),
        _ => ExitCode::FAILURE,
    }
}

/// Sends logs to standard error: text, or JSON with `--json`. What runs unattended says what it does and when.
pub(crate) fn start_logs(arguments: &Arguments) {
    let unattended = matches!(arguments.command, Command::Run(_));
    let level = match arguments.verbose.max(u8::from(unattended)) {
        0 => "warn",
        1 => "palisade=info,warn",
        _ => "palisade=trace,palisade_lake=debug,palisade_ingest=debug,info",
    };
    let filter = EnvFilter::try_from_env("PALISADE_LOG")
        .or_else(|_| EnvFilter::try_from_default_env())
        .unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let colours = std::io::stderr().is_terminal();
    let started = match (arguments.json, unattended) {
        (true, _) => builder.json().try_init(),
        // The format's own time is RFC 3339, in UTC.
        (false, true) => builder.with_ansi(colours).try_init(),
        (false, false) => builder.with_ansi(colours).without_time().try_init(),
    };
    // Logs that cannot be started must not keep the program from working.
    drop(started);
}

/// A lake that begins anew, because positions of another run mean nothing in it.
fn must_be_empty(lake: &Path) -> Result<()> {
    let taken = match std::fs::read_dir(lake) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => lake.exists(),
    };
    if taken {
        return Err(Error::Usage(format!(
            "{} is not empty: a simulation begins anew each time, so that it needs a lake of its own. Name another \
             folder, or leave --lake out",
            lake.display()
        )));
    }
    Ok(())
}

/// Says on standard error, as one line of JSON, what a run came to: what was lost must not be seen by people only. Of
/// records, `records = used + coverage + rejected`, but for what is `held`; a record may hold several `rejects`.
fn summarise(summary: &Summary) {
    let line = serde_json::json!({ "summary": {
        "records": summary.records,
        "events": summary.events,
        "used": summary.used,
        "coverage": summary.coverage,
        "rejected": summary.rejected,
        "held": summary.held,
        "rejects": summary.reject_reasons.values().sum::<u64>(),
        "reject_reasons": summary.reject_reasons,
        "doubtful": summary.doubtful,
        "findings": summary.findings,
        "suppressed": summary.suppressed,
        "behind_frontier": summary.behind_frontier,
        "resumed": summary.resumed,
        "faults": summary.faults,
    } });
    eprintln!("{line}");
}

/// Carries a command out.
pub(crate) fn dispatch(arguments: Arguments) -> Result<ExitCode> {
    let json = arguments.json;
    match arguments.command {
        #[cfg(feature = "kafka")]
        Command::Demo(demo) => demo.carry_out(json),
        Command::Run(run) => run.carry_out(json),
        Command::Scan(scan) => scan.carry_out(json),
        Command::Drill(drill) => drill.carry_out(json),
        Command::Sql(sql) => sql.carry_out(json),
        Command::Lake(lake) => lake.carry_out(json),
        Command::Rules(rules) => rules.carry_out(json),
        Command::Findings(findings) => findings.carry_out(json),
        Command::Config(config) => config.carry_out(json),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "palisade", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A flag that the first interrupt or termination signal sets; the second one ends the process at once.
fn stop_on_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    #[allow(clippy::disallowed_methods)] // the second signal asks for exactly that
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            loop {
                wait_for_signal().await;
                if seen.swap(true, Ordering::Relaxed) {
                    std::process::exit(130);
                }
                eprintln!("stopping: committing what was read (once more to end at once)");
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(listen)
        .map_err(Error::io("starting the signal thread"))?;
    Ok(stop)
}

#[cfg(unix)]
async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn wait_for_signal() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Runs something asynchronous to its end.
fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::io("starting a runtime"))?;
    Ok(runtime.block_on(future))
}

/// A path that does not exist is better said before anything starts.
fn must_exist(paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        if path.as_os_str() != "-" && !path.exists() {
            return Err(Error::Usage(format!("{} does not exist", path.display())));
        }
    }
    Ok(())
}
