//! Running a pipeline over a drill's files and judging what it found.
//!
//! Not here: the judging itself, which is the drill crate's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use palisade::config::{SourceConfig, SourceKind};
use palisade::events::seam::SinkError;
use palisade::events::time::SECOND;
use palisade::events::{Finding, Sink};
use palisade::metrics::Metrics;
use palisade::run::{RunOptions, Until};
use palisade::{Config, Error, Plan, Result, Severity};
use palisade_drill::dataset::{SETTINGS_FILE, TRUTH_FILE};
use palisade_drill::score::{Report, Scope, TruthTable, score as judge};
use palisade_drill::{Settings, Stream, scenarios};

use super::arguments::Shape;
use super::play;

/// What a pipeline is worth.
pub(super) struct Judged {
    pub(super) report: Report,
    /// Version of ATT&CK that the scenarios' techniques are of.
    pub(super) attack_version: String,
}

pub(super) fn score(
    folder: Option<&Path>,
    config: Option<&Path>,
    lake: Option<PathBuf>,
    least: Severity,
    shape: &Shape,
    json: bool,
) -> Result<Judged> {
    let scratch = tempfile::tempdir().map_err(Error::io("making a temporary folder"))?;
    let stop = super::super::stop_on_signals()?;
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => {
            let (drill, settings) = play::begin(shape)?;
            let bar = play::bar(json, settings.duration_secs);
            let folder = scratch.path().join("drill");
            play::into_folder(drill, &settings, &folder, false, None, &bar, &stop)?;
            bar.finish_and_clear();
            folder
        }
    };
    let truth = read_truth(&folder)?;
    if let Some(lake) = &lake {
        super::super::must_be_empty(lake)?;
    }
    let lake = lake.unwrap_or_else(|| scratch.path().join("lake"));
    let settings = read_settings(&folder)?;
    let sources = sources(&folder, &settings.streams)?;
    let change = |config: &mut Config| {
        config.job = "drill".to_owned();
        config.lake.url = lake.display().to_string();
        config.lake.fsync = false;
        config.sources = sources;
        config.sinks.clear();
    };
    let config = match config {
        Some(path) => Config::load_with(path, change)?,
        None => Config::parse_with("arguments", "", &std::env::vars().collect::<BTreeMap<_, _>>(), change)?,
    };
    let plan = Plan::new(&config)?;
    for problem in &plan.problems {
        tracing::warn!("{problem}");
    }
    let found = Arc::new(Mutex::new(BTreeMap::new()));
    let options = RunOptions {
        stop,
        until: Until::CaughtUp,
        metrics: Arc::new(Metrics::new()),
        sinks: vec![Box::new(Collector(Arc::clone(&found)))],
    };
    let summary = palisade::run::run(&config, &plan, options)?;
    if summary.rejected > 0 {
        tracing::warn!(rejected = summary.rejected, "records of the drill were rejected");
    }
    if summary.doubtful > 0 {
        tracing::warn!(
            events = summary.doubtful,
            "events of the drill lie in the future, where files are not believed: statistics did not see them"
        );
    }
    let Ok(found) = found.lock() else { return Err(Error::State("findings were not collected".into())) };
    let findings: Vec<Finding> = found.values().cloned().collect();
    let secs = i64::try_from(settings.duration_secs).unwrap_or(i64::MAX / SECOND);
    let scope = Scope { length: secs.min(i64::MAX / SECOND) * SECOND, least };
    let all = scenarios().map_err(|e| Error::State(e.to_string()))?;
    let attack_version = all.first().map(|scenario| scenario.attack_version.clone()).unwrap_or_default();
    Ok(Judged { report: judge(&truth, &findings, scope), attack_version })
}

fn read_truth(folder: &Path) -> Result<TruthTable> {
    let path = folder.join(TRUTH_FILE);
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Error::Usage(format!("{} is no drill: {}: {e}", folder.display(), path.display())))?;
    TruthTable::parse(&text).map_err(|e| Error::Usage(format!("{}: {e}", path.display())))
}

/// A drill's streams, each a source of its own that is named by its topic.
fn sources(folder: &Path, streams: &[Stream]) -> Result<Vec<SourceConfig>> {
    let mut sources = Vec::new();
    for stream in streams {
        let paths = [false, true].map(|gzip| play::path_of(folder, *stream, gzip));
        let Some(path) = paths.into_iter().find(|path| path.is_file()) else {
            return Err(Error::Usage(format!("{} lacks the drill's {}", folder.display(), stream.file())));
        };
        sources.push(SourceConfig {
            cluster: "drill".into(),
            paths: vec![path],
            ..SourceConfig::new(stream.topic(), SourceKind::Files, stream.format())
        });
    }
    Ok(sources)
}

fn read_settings(folder: &Path) -> Result<Settings> {
    let path = folder.join(SETTINGS_FILE);
    let text = std::fs::read_to_string(&path).map_err(Error::io(format!("reading {}", path.display())))?;
    serde_json::from_str(&text).map_err(|e| Error::Usage(format!("{}: {e}", path.display())))
}

/// Keeps each finding once.
struct Collector(Arc<Mutex<BTreeMap<String, Finding>>>);

impl Sink for Collector {
    fn name(&self) -> &str {
        "score"
    }

    fn deliver(&mut self, findings: &[Finding]) -> std::result::Result<(), SinkError> {
        if let Ok(mut found) = self.0.lock() {
            for finding in findings {
                found.insert(finding.finding_uid.clone(), finding.clone());
            }
        }
        Ok(())
    }
}
