//! Configuration: one TOML file, overridden by the environment, made into types once.
//!
//! An error names the key and the line. `PALISADE__LAKE__URL=…` overrides `lake.url`; list elements go by number
//! (`PALISADE__SOURCE__0__BROKERS`). In source properties, `${env:NAME}` stands for an environment variable, so that
//! secrets need not be in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use palisade_anomaly::{EventRateConfig, FirstSeenConfig};
use serde::{Deserialize, Serialize};

use crate::owners::Ownership;

mod env;
mod lines;

/// The commented file that `palisade config init` writes.
pub const TEMPLATE: &str = include_str!("config/template.toml");

/// Everything that a pipeline is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Names the job: its offsets, state and ownership in the lake, and by default its consumer group.
    #[serde(default = "default_job")]
    pub job: String,
    /// Where history goes.
    #[serde(default)]
    pub lake: LakeConfig,
    /// Event time, panes and threads.
    #[serde(default)]
    pub pipeline: PipelineConfig,
    /// Inputs.
    #[serde(default, rename = "source")]
    pub sources: Vec<SourceConfig>,
    /// Rules.
    #[serde(default)]
    pub rules: RulesConfig,
    /// Statistical detectors.
    #[serde(default)]
    pub anomaly: AnomalyConfig,
    /// SQL correlations.
    #[serde(default)]
    pub correlate: CorrelateConfig,
    /// Secrets.
    #[serde(default)]
    pub redaction: RedactionConfig,
    /// Receivers of findings.
    #[serde(default, rename = "sink")]
    pub sinks: Vec<SinkConfig>,
    /// Metrics and health.
    #[serde(default)]
    pub http: HttpConfig,
    /// Who owns what.
    #[serde(default, rename = "owner")]
    pub owners: Vec<Ownership>,
}

/// Where history goes, and how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// Folder or object store URL.
    pub url: String,
    /// Longest time between commits: how stale findings at sinks may be.
    pub commit_interval_secs: f64,
    /// Rows after which to commit earlier.
    pub commit_rows_max: usize,
    /// Whether files are forced to disk before a commit counts.
    pub fsync: bool,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self { url: "palisade-lake".into(), commit_interval_secs: 5.0, commit_rows_max: 1_000_000, fsync: true }
    }
}

/// Event time, panes and threads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineConfig {
    /// Length of a pane.
    pub pane_secs: f64,
    /// How far behind its lane a row may be without being late.
    pub lateness_secs: f64,
    /// How far ahead of its carrier or lane an event time may be before it is not believed.
    pub skew_max_secs: f64,
    /// A caught-up lane that is silent for so long no longer holds panes open.
    pub idle_secs: f64,
    /// A lane this far ahead of the slowest waits.
    pub panes_ahead_max: i64,
    /// Threads that decode, match and fold. 0 takes one per core.
    pub workers: usize,
    /// Largest record; longer ones are rejected.
    pub record_bytes_max: usize,
}

impl Default for PipelineConfig {
    fn default() -> Self {
        Self {
            pane_secs: 10.0,
            lateness_secs: 30.0,
            skew_max_secs: 3600.0,
            idle_secs: 10.0,
            panes_ahead_max: 360,
            workers: 0,
            record_bytes_max: 2 << 20,
        }
    }
}

/// What kind of input a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// Topics of a Kafka cluster.
    Kafka,
    /// Files and folders, read to their ends.
    Files,
    /// Records that the embedding program hands over itself.
    Channel,
}

/// One input.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Names the source: part of event ids, so keep it.
    pub name: String,
    /// Kind of input.
    pub kind: SourceKind,
    /// Format of its records: `k8s_audit`, `falco`, `auditd` or `mapped`.
    pub format: String,
    /// Mapping file, for `mapped`.
    #[serde(default)]
    pub mapping: Option<PathBuf>,
    /// Cluster that its events are from.
    #[serde(default)]
    pub cluster: String,
    /// Offset of local times that name no zone, in seconds east of UTC.
    #[serde(default)]
    pub zone_offset_secs: i32,
    /// Kafka: `host:port,…`
    #[serde(default)]
    pub brokers: Option<String>,
    /// Kafka: topics.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Kafka: consumer group; the job's name if absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Kafka: header that carries the cluster.
    #[serde(default)]
    pub cluster_header: Option<String>,
    /// Kafka: raise it when a topic was deleted and made anew.
    #[serde(default)]
    pub generation: u32,
    /// Kafka: where a partition begins that was never read.
    #[serde(default)]
    pub begin: BeginConfig,
    /// Kafka: librdkafka properties, passed through.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Files: paths of files and folders; `-` is standard input.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
}

/// Where a partition begins that was never read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum BeginConfig {
    #[default]
    Earliest,
    Latest,
}

/// Which rules run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Whether the starter pack runs.
    pub starter: bool,
    /// Files and folders of Sigma rules.
    pub paths: Vec<PathBuf>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { starter: true, paths: Vec::new() }
    }
}

/// Statistical detectors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnomalyConfig {
    /// Turns the event rate detector off.
    pub event_rate_off: bool,
    /// Settings of the event rate detector.
    pub event_rate: EventRateConfig,
    /// Turns the first-seen detector off.
    pub first_seen_off: bool,
    /// Settings of the first-seen detector.
    pub first_seen: FirstSeenConfig,
}

/// SQL correlations.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorrelateConfig {
    /// Whether the starter pack's correlations run.
    pub starter: bool,
    /// Files and folders of correlations.
    pub paths: Vec<PathBuf>,
}

impl Default for CorrelateConfig {
    fn default() -> Self {
        Self { starter: true, paths: Vec::new() }
    }
}

/// Whether secrets are replaced before anything sees them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactionConfig {
    /// On by default.
    pub enabled: bool,
}

impl Default for RedactionConfig {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// Where landed findings go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SinkKind {
    /// One JSON line each on standard output.
    Stdout,
    /// One JSON line each, appended to a file.
    File,
    /// One JSON message each to a topic.
    Kafka,
}

/// One receiver of findings.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Kind of receiver.
    pub kind: SinkKind,
    /// File: its path.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// Kafka: `host:port,…`
    #[serde(default)]
    pub brokers: Option<String>,
    /// Kafka: topic.
    #[serde(default)]
    pub topic: Option<String>,
    /// Kafka: librdkafka properties, passed through.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// Metrics and health over HTTP.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address to listen on, as `127.0.0.1:9464`; absent means no server.
    pub listen: Option<String>,
}

/// Why a configuration cannot be used: which key, which line, what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// File or variable.
    pub place: String,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// Key, dotted.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": `{}`", self.key)?;
        }
        write!(f, ": {}", self.why)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads a file and applies the environment's overrides.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown or has the wrong type, or values do not go together.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError {
            place: place.clone(),
            line: None,
            key: String::new(),
            why: e.to_string(),
        })?;
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        Self::parse(&place, &text, &variables)
    }

    /// Reads configuration text; `variables` is the environment.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(place: &str, text: &str, variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|e| from_toml(place, text, &e))?;
        if let Some(overridden) = env::overlay(text, variables)? {
            config = overridden;
        }
        env::fill_properties(&mut config, variables, place, text)?;
        config.check(place, text)?;
        Ok(config)
    }

    /// Values that each are fine but do not go together.
    fn check(&self, place: &str, text: &str) -> Result<(), ConfigError> {
        let fail = |key: String, why: String| {
            Err(ConfigError { place: place.into(), line: lines::line_of_key(text, &key), key, why })
        };
        for (key, value) in [("job", &self.job), ("lake.url", &self.lake.url)] {
            if value.trim().is_empty() {
                return fail(key.into(), "is empty".into());
            }
        }
        if let Err(error) = palisade_lake::check_url(&self.lake.url) {
            return fail("lake.url".into(), error.to_string());
        }
        let is_address = |text: &str| {
            text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(listen) = self.http.listen.as_ref().filter(|listen| !is_address(listen)) {
            return fail("http.listen".into(), format!("`{listen}` is no address and port, such as 127.0.0.1:9464"));
        }
        let mut names = std::collections::BTreeSet::new();
        for (index, source) in self.sources.iter().enumerate() {
            let key = |key: &str| format!("source[{index}].{key}");
            if source.name.trim().is_empty() {
                return fail(key("name"), "is empty".into());
            }
            if !names.insert(&source.name) {
                return fail(key("name"), format!("`{}` names two sources", source.name));
            }
            let format = source.format.as_str();
            if !matches!(format, "k8s_audit" | "falco" | "auditd" | "mapped") {
                let why = format!("`{format}` is no format; there are k8s_audit, falco, auditd and mapped");
                return fail(key("format"), why);
            }
            if (format == "mapped") != source.mapping.is_some() {
                return fail(key("mapping"), "goes with format `mapped`, and only with it".into());
            }
            // What the guarantees rest on.
            let own = [
                ("group.id", "it is `group`"),
                ("auto.offset.reset", "it is `begin`"),
                ("enable.auto.commit", "offsets are those of the lake"),
                ("enable.auto.offset.store", "offsets are those of the lake"),
                ("enable.partition.eof", "it is always on"),
            ];
            if let Some((name, why)) = own.into_iter().find(|(name, _)| source.properties.contains_key(*name)) {
                return fail(key(&format!("properties.{name}")), format!("cannot be set: {why}"));
            }
            let blank = |text: &String| text.trim().is_empty();
            match source.kind {
                SourceKind::Kafka if !cfg!(feature = "kafka") => {
                    return fail(key("kind"), "this build has no feature `kafka`".into());
                }
                SourceKind::Kafka if source.topics.iter().any(blank) => {
                    return fail(key("topics"), "has an empty name".into());
                }
                SourceKind::Kafka if source.brokers.as_ref().is_some_and(blank) => {
                    return fail(key("brokers"), "is empty".into());
                }
                SourceKind::Kafka if source.topics.is_empty() => return fail(key("topics"), "names no topic".into()),
                SourceKind::Kafka
                    if source.brokers.is_none() && !source.properties.contains_key("bootstrap.servers") =>
                {
                    return fail(key("brokers"), "is missing".into());
                }
                SourceKind::Files if source.paths.is_empty() => return fail(key("paths"), "names no file".into()),
                _ => {}
            }
        }
        for (index, sink) in self.sinks.iter().enumerate() {
            let missing = match sink.kind {
                SinkKind::File if sink.path.is_none() => "path",
                SinkKind::Kafka if sink.topic.is_none() => "topic",
                SinkKind::Kafka if sink.brokers.is_none() => "brokers",
                _ => continue,
            };
            return fail(format!("sink[{index}].{missing}"), "is missing".into());
        }
        let year = 86_400.0 * 365.0;
        let numbers = [
            ("pipeline.pane_secs", self.pipeline.pane_secs, 0.001, year),
            ("pipeline.lateness_secs", self.pipeline.lateness_secs, 0.0, year),
            ("pipeline.skew_max_secs", self.pipeline.skew_max_secs, 0.0, year),
            ("pipeline.idle_secs", self.pipeline.idle_secs, 0.0, year),
            ("pipeline.panes_ahead_max", self.pipeline.panes_ahead_max as f64, 1.0, 1e9),
            ("pipeline.record_bytes_max", self.pipeline.record_bytes_max as f64, 1024.0, 1e9),
            ("lake.commit_interval_secs", self.lake.commit_interval_secs, 0.0, year),
            ("lake.commit_rows_max", self.lake.commit_rows_max as f64, 1.0, 1e9),
            ("anomaly.event_rate.false_findings_per_day", self.anomaly.event_rate.false_findings_per_day, 0.0, 1e9),
            ("anomaly.first_seen.false_findings_per_day", self.anomaly.first_seen.false_findings_per_day, 0.0, 1e9),
            ("anomaly.first_seen.unseen_max", self.anomaly.first_seen.unseen_max, 0.0, 1.0),
        ];
        for (key, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                return fail(key.into(), format!("{value} is out of range: at least {least}, at most {most}"));
            }
        }
        Ok(())
    }

    /// Hash of what decides findings: stored with every decision and manifest. `rules` stands for everything that other
    /// files say. How many threads work, and where sources and sinks are, decides nothing.
    pub fn fingerprint(&self, rules: &str) -> String {
        let pipeline = PipelineConfig { workers: 0, ..self.pipeline.clone() };
        let mut sources: Vec<_> =
            self.sources.iter().map(|s| (&s.name, &s.format, &s.cluster, s.zone_offset_secs)).collect();
        sources.sort();
        let decisive = (pipeline, &self.anomaly, &self.redaction, sources);
        palisade_events::id::uid("palisade.config.v2", &[&serde_json::to_string(&decisive).unwrap_or_default(), rules])
    }
}

fn default_job() -> String {
    "palisade".into()
}

fn from_toml(place: &str, text: &str, error: &toml::de::Error) -> ConfigError {
    let line = error.span().and_then(|span| lines::line_of_byte(text, span.start));
    let key = line.and_then(|line| lines::key_in_line(text, line)).unwrap_or_default();
    ConfigError { place: place.into(), line, key, why: error.message().trim().to_owned() }
}

#[cfg(test)]
mod tests;
