//! `palisade scan`: the same pipeline over files, once.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use palisade::config::{SourceConfig, SourceKind};
use palisade::metrics::Metrics;
use palisade::run::{RunOptions, Until};
use palisade::{Config, Error, Plan, Result};

use super::show::Screen;
use super::{FOUND, INTERRUPTED, Level};

/// The job of all scans into a lake: they share one ledger of files.
const JOB: &str = "scan";

#[derive(Debug, Args)]
pub(crate) struct Scan {
    /// Files and folders; plain, gzip or zstd; `-` is standard input.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Format of all records, such as k8s_audit or auditd. If absent, each record is told by what it shows, and files
    /// and folders may mix formats.
    #[arg(long, short, value_parser = known_format)]
    format: Option<String>,
    /// Mapping file for other JSON or CSV.
    #[arg(long, short, conflicts_with = "format")]
    mapping: Option<PathBuf>,
    /// Cluster of events that name none.
    #[arg(long, default_value = "")]
    cluster: String,
    /// Time zone of times that name none: UTC, +02:00, Europe/Berlin.
    #[arg(long, default_value = "UTC", value_parser = known_zone)]
    zone: String,
    /// Keep history and findings in this lake. Scanning the same file again adds nothing.
    #[arg(long)]
    lake: Option<String>,
    /// Sigma rules (files and folders) in addition to the starter pack.
    #[arg(long)]
    rules: Vec<PathBuf>,
    /// Leave the starter pack out.
    #[arg(long)]
    no_starter: bool,
    /// Show findings from this level on. Low if absent; all of them with --json, which also sums up on standard error.
    #[arg(long, value_enum)]
    level: Option<Level>,
    /// Exit with code 3 when a finding reaches this level.
    #[arg(long, value_enum)]
    fail_on: Option<Level>,
    /// Configuration file for everything else.
    #[arg(long, short)]
    config: Option<PathBuf>,
}

impl Scan {
    pub(super) fn carry_out(self, json: bool) -> Result<ExitCode> {
        super::must_exist(&self.paths)?;
        must_be_files(&self.paths)?;
        super::must_exist(self.mapping.as_slice())?;
        super::must_exist(&self.rules)?;
        if let Some(lake) = &self.lake {
            palisade::lake::check_url(lake).map_err(|e| Error::Usage(e.to_string()))?;
        }
        let scratch = match &self.lake {
            Some(_) => None,
            None => Some(tempfile::tempdir().map_err(Error::io("making a temporary lake"))?),
        };
        let lake = match (&self.lake, &scratch) {
            (Some(lake), _) => lake.clone(),
            (None, Some(folder)) => folder.path().display().to_string(),
            (None, None) => String::new(),
        };
        let mut misfits = 0;
        let config = self.configure(&lake, &mut misfits)?;
        let plan = Plan::new(&config)?;
        for problem in &plan.problems {
            tracing::warn!("{problem}");
        }
        let metrics = Arc::new(Metrics::new());
        let bar = bar(json, Arc::clone(&metrics));
        let usual = if json { Level::Informational } else { Level::Low };
        let (screen, seen) = Screen::new(json, self.level.unwrap_or(usual).severity(), bar.clone());
        let stop = super::stop_on_signals()?;
        let options =
            RunOptions { stop: Arc::clone(&stop), until: Until::CaughtUp, metrics, sinks: vec![Box::new(screen)] };
        let outcome = palisade::run::run(&config, &plan, options);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let summary = outcome?;
        let Ok(seen) = seen.lock() else { return Ok(ExitCode::FAILURE) };
        if json {
            super::summarise(&summary);
        } else {
            let kept = self.lake.as_ref().map_or_else(String::new, |lake| format!(", kept in {lake}"));
            anstream::println!(
                "{} records: {} events, {} rejected; {} findings in {} groups{kept}",
                summary.records,
                summary.events,
                summary.rejected,
                seen.total(),
                seen.groups.len()
            );
            if summary.suppressed > 0 {
                anstream::println!("  {} further findings are suppressed by exceptions", summary.suppressed);
            }
            if summary.resumed > 0 {
                anstream::println!(
                    "  {} files were scanned into this lake before: only what they have grown by was read. To look at \
                     all of them again, under other rules or settings, scan into another lake",
                    summary.resumed
                );
            }
            if summary.behind_frontier > 0 {
                anstream::println!(
                    "  {} events are older than what earlier scans have closed: rules saw them, statistics did not",
                    summary.behind_frontier
                );
            }
            if summary.doubtful > 0 {
                anstream::println!(
                    "  {} events claim times too far in the future to be believed: rules saw them, statistics did not",
                    summary.doubtful
                );
            }
            if summary.coverage > 0 {
                anstream::println!("  {} records tell only of what their source lost or left out", summary.coverage);
            }
            for (reason, count) in &summary.reject_reasons {
                anstream::println!("  rejected as {reason}: {count}");
            }
            let rejects: u64 = summary.reject_reasons.values().sum();
            if rejects != summary.rejected {
                anstream::println!("  of these {rejects}, some are parts of records that were read otherwise");
            }
        }
        if stop.load(Ordering::Relaxed) {
            anstream::eprintln!("interrupted: the files were not read to their ends");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        if summary.rejected > 0 && summary.events == 0 && summary.resumed == 0 {
            anstream::eprintln!("nothing could be read: is it of the format that was told or guessed?");
            return Ok(ExitCode::FAILURE);
        }
        // Each was logged when it was met.
        if !summary.faults.is_empty() || misfits > 0 {
            return Ok(ExitCode::FAILURE);
        }
        let reached = self.fail_on.is_some_and(|level| seen.worst().is_some_and(|worst| worst >= level.severity()));
        Ok(if reached { ExitCode::from(FOUND) } else { ExitCode::SUCCESS })
    }

    fn configure(&self, lake: &str, misfits: &mut usize) -> Result<Config> {
        let by_format = self.by_format(misfits)?;
        let change = |config: &mut Config| {
            // Never the job of a configuration that is deployed somewhere: a scan would take its lake over.
            config.job = JOB.to_owned();
            config.lake.url = lake.to_owned();
            config.lake.fsync &= self.lake.is_some();
            // What is scanned is what was named here, whatever the file's own sources and sinks are.
            config.sources = by_format.into_iter().map(|(format, paths)| self.source(format, paths)).collect();
            config.sinks.clear();
            config.rules.paths.extend(self.rules.iter().cloned());
            config.rules.starter &= !self.no_starter;
        };
        Ok(match &self.config {
            Some(path) => Config::load_with(path, change)?,
            None => Config::parse_with("arguments", "", &std::env::vars().collect::<BTreeMap<_, _>>(), change)?,
        })
    }

    fn source(&self, format: String, paths: Vec<PathBuf>) -> SourceConfig {
        SourceConfig {
            cluster: self.cluster.clone(),
            zone: self.zone.clone(),
            mapping: self.mapping.clone(),
            paths,
            ..SourceConfig::new(
                if format == "auto" { "scan".to_owned() } else { format!("scan-{format}") },
                SourceKind::Files,
                format,
            )
        }
    }

    /// Files by format, as told or `auto`. What is of no known format is left out; `misfits` counts the files that were
    /// named themselves, since folders may hold other things.
    fn by_format(&self, misfits: &mut usize) -> Result<BTreeMap<String, Vec<PathBuf>>> {
        let mut by_format: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
        let told = self.mapping.as_ref().map(|_| "mapped".to_owned()).or_else(|| self.format.clone());
        if let Some(format) = told {
            by_format.insert(format, self.paths.clone());
            return Ok(by_format);
        }
        let mut told = Vec::new();
        let mut left_out = false;
        for path in palisade::ingest::sniff::files(&self.paths) {
            // Standard input can be read once only.
            if path.as_os_str() == "-" || palisade::ingest::sniff::format_of_file(&path).is_some() {
                told.push(path);
            } else if std::fs::metadata(&path).is_ok_and(|meta| meta.len() > 0) {
                tracing::warn!(
                    "{}: left out: its format cannot be told from its first records; say its --format or --mapping",
                    path.display()
                );
                left_out = true;
                *misfits += usize::from(self.paths.contains(&path));
            }
        }
        if told.is_empty() && left_out {
            return Err(Error::Usage("no file with a known format: say the --format or --mapping".into()));
        }
        if !told.is_empty() {
            by_format.insert("auto".into(), told);
        }
        Ok(by_format)
    }
}

/// Files and folders are read twice, to tell what they are and to be read: a pipe would give its first records away, and keep
/// whoever opens it waiting for ever.
fn must_be_files(paths: &[PathBuf]) -> Result<()> {
    let others = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    match paths.iter().filter(|path| path.as_os_str() != "-").find(others) {
        None => Ok(()),
        Some(path) => {
            let why = "is neither a file nor a folder: give what it holds as standard input, with `-` as the path";
            Err(Error::Usage(format!("{} {why}", path.display())))
        }
    }
}

fn known_format(name: &str) -> Result<String, String> {
    match palisade::ingest::Format::named(name) {
        Some(format) => Ok(format.name().to_owned()),
        None => {
            let known: Vec<&str> = palisade::ingest::Format::NAMED.iter().map(|(name, _)| *name).collect();
            Err(format!("there are {}; others go by --mapping", known.join(", ")))
        }
    }
}

fn known_zone(text: &str) -> Result<String, String> {
    text.parse::<palisade::ingest::Zone>().map(|zone| zone.to_string()).map_err(|e| e.to_string())
}

fn bar(json: bool, metrics: Arc<Metrics>) -> Option<ProgressBar> {
    if json || !std::io::stderr().is_terminal() {
        return None;
    }
    let bar = ProgressBar::new_spinner();
    let template = "{spinner} {msg} {elapsed}";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let watched = bar.clone();
    let watch = move || {
        while !watched.is_finished() {
            watched.set_message(format!("{} records, {} events", metrics.records.get(), metrics.events.get()));
            watched.tick();
            std::thread::sleep(Duration::from_millis(100));
        }
    };
    // Without the thread the bar just stands still.
    let _ = std::thread::Builder::new().name("progress".into()).spawn(watch);
    Some(bar)
}
