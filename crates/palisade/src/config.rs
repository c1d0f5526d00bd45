//! Configuration: one TOML file, overridden by the environment, made into types once.
//!
//! An error names the key, and the line or the environment variable that it was written in. `PALISADE__LAKE__URL=…`
//! overrides `lake.url`; list elements go by number (`PALISADE__SOURCE__0__BROKERS`). In properties of sources and
//! sinks and in `[lake.storage]`, `${env:NAME}` stands for an environment variable and `${file:/PATH}` for what a file
//! holds, so that secrets need not be in the configuration.
//!
//! Here: the keys. What values go together is in `config/check.rs` (of Kafka's security in `config/security.rs`), where
//! they were written in `config/origin.rs`, and what the environment makes of them in `config/env.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use palisade_anomaly::{EventRateConfig, FirstSeenConfig};
use serde::{Deserialize, Serialize};

use crate::owners::Ownership;

use self::origin::Origin;

mod properties;
mod check;
mod security;
mod env;
mod lines;
mod merge;
pub(crate) mod origin;

pub use properties::Properties;

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
    /// Who owns what; the first line that fits decides.
    #[serde(default, rename = "owner")]
    pub owners: Vec<Ownership>,
}

impl Default for Config {
    /// What an empty file says: the job `palisade`, no source, the starter pack and both detectors.
    fn default() -> Self {
        Self {
            job: default_job(),
            lake: LakeConfig::default(),
            pipeline: PipelineConfig::default(),
            sources: Vec::new(),
            rules: RulesConfig::default(),
            anomaly: AnomalyConfig::default(),
            correlate: CorrelateConfig::default(),
            redaction: RedactionConfig::default(),
            sinks: Vec::new(),
            http: HttpConfig::default(),
            owners: Vec::new(),
        }
    }
}

/// Where history goes, and how often.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LakeConfig {
    /// Folder or object store URL.
    pub url: String,
    /// Longest time between commits, in seconds of the wall clock: how stale findings at sinks may be.
    pub commit_interval_secs: f64,
    /// Events that wait for a commit after which it comes earlier.
    pub commit_rows_max: usize,
    /// Whether files are forced to disk before a commit counts. Says nothing of object stores.
    pub fsync: bool,
    /// Options of the object store, as its driver names them: `aws_region`, `aws_endpoint`,
    /// `azure_storage_account_name` … Folders need none. `${env:NAME}` stands for an environment variable, `${file:/PATH}`
    /// for what a file holds.
    pub storage: Properties,
}

impl Default for LakeConfig {
    fn default() -> Self {
        Self {
            url: "palisade-lake".into(),
            commit_interval_secs: 5.0,
            commit_rows_max: 1_000_000,
            fsync: true,
            storage: Properties::default(),
        }
    }
}

/// Event time, panes and threads. Spans are in seconds and may have a fraction.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PipelineConfig {
    /// Length of a pane, in seconds of event time.
    pub pane_secs: f64,
    /// How far behind the newest row of its lane a row may be without being late, in seconds of event time.
    pub lateness_secs: f64,
    /// How far ahead of its carrier, or of its lane where there is none, an event time may be before it is not
    /// believed, in seconds.
    pub skew_max_secs: f64,
    /// A caught-up lane that is silent for so many seconds of the wall clock no longer holds panes open. An embedded
    /// [`Pipeline`](crate::Pipeline) reads no clock and does not use it.
    pub idle_secs: f64,
    /// A lane so many panes of event time ahead of the slowest waits.
    pub panes_ahead_max: i64,
    /// Threads that decode, match and fold. 0 takes one per core. An embedded [`Pipeline`](crate::Pipeline) works on the
    /// thread that calls it.
    pub workers: usize,
    /// How many seconds a broker or a lake that cannot be reached is waited for, sources held back and health
    /// degraded, before the run ends with an error.
    pub patience_secs: f64,
    /// Largest record, in bytes of its payload after decompression; longer ones are rejected as `too_large`. At least
    /// 1024, 8 MiB by default.
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
            patience_secs: 600.0,
            record_bytes_max: 8 << 20,
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
    /// Cluster that its events are from. A header of the record or the name of its topic, where they are asked for, go
    /// before it.
    #[serde(default)]
    pub cluster: String,
    /// Zone of times that name none: `UTC`, an offset such as `+02:00`, or a name such as `Europe/Berlin`.
    #[serde(default = "default_zone")]
    pub zone: String,
    /// Kafka: `host:port,…`
    #[serde(default)]
    pub brokers: Option<String>,
    /// Kafka: topics.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Kafka: consumer group; the job's name if absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Kafka: header that carries the cluster. It goes before `cluster_from_topic`.
    #[serde(default)]
    pub cluster_header: Option<String>,
    /// Kafka: which part of a topic's name is the cluster, as `k8s.{cluster}.audit`. The pattern is the whole name;
    /// topics that do not fit it are of the cluster that `cluster` names.
    #[serde(default)]
    pub cluster_from_topic: Option<String>,
    /// Kafka: raise it when a topic was deleted and made anew.
    #[serde(default)]
    pub generation: u32,
    /// Kafka: where a partition begins that was never read.
    #[serde(default)]
    pub begin: BeginConfig,
    /// Kafka: librdkafka properties, passed through.
    #[serde(default)]
    pub properties: Properties,
    /// Kafka: file with the token of the SASL mechanism OAUTHBEARER, kept fresh by something else. It is read again
    /// before a token ends.
    #[serde(default)]
    pub oauth_token_file: Option<PathBuf>,
    /// Files: paths of files and folders; `-` is standard input.
    #[serde(default)]
    pub paths: Vec<PathBuf>,
    /// A cluster of the source that gives no event on time for so many seconds of event time is a coverage fact, and so is
    /// the end of that silence. At least a pane; 0 means never. See [`silence`](Self::silence) for what is so if absent.
    #[serde(default)]
    pub silence_secs: Option<f64>,
}

/// Seconds without an event after which a source of a topic is silent, if its configuration does not say. Clusters renew
/// leases every few seconds, and hosts audit as often; what is read late, or comes in batches, has its time all the same.
const SILENCE_SECS: f64 = 900.0;
/// Formats of sources that may have nothing to tell for hours: alerts, and what people do now and then.
const SPARSE_FORMATS: [&str; 5] = ["falco", "kubearmor", "docker", "registry", "k8s_objects"];

impl SourceConfig {
    /// Names an input, its kind and its format; everything else is as if the file left it out.
    pub fn new(name: impl Into<String>, kind: SourceKind, format: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            kind,
            format: format.into(),
            mapping: None,
            cluster: String::new(),
            zone: default_zone(),
            brokers: None,
            topics: Vec::new(),
            group: None,
            cluster_header: None,
            cluster_from_topic: None,
            generation: 0,
            begin: BeginConfig::default(),
            properties: Properties::default(),
            oauth_token_file: None,
            paths: Vec::new(),
            silence_secs: None,
        }
    }

    /// After how many seconds without an event the source is silent; `None` if it may be so for ever. If the configuration
    /// does not say, 900 for topics, except of formats that tell of alerts or rare changes (`falco`, `kubearmor`, `docker`,
    /// `registry`, `k8s_objects`); files and channels may be silent, since recordings have gaps.
    pub fn silence(&self) -> Option<f64> {
        let is_steady = self.kind == SourceKind::Kafka && !SPARSE_FORMATS.contains(&self.format.as_str());
        self.silence_secs.or(is_steady.then_some(SILENCE_SECS)).filter(|secs| *secs > 0.0)
    }
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
    /// Files and folders of Sigma rules and packs.
    pub paths: Vec<PathBuf>,
    /// How often `palisade run` looks whether they have changed, in seconds; 0 for never. A change that does not load leaves
    /// the rules as they are.
    pub reload_secs: f64,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self { starter: true, paths: Vec::new(), reload_secs: 10.0 }
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
    /// File of rules that add to the built-in ones or switch them off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<PathBuf>,
}

impl Default for RedactionConfig {
    fn default() -> Self {
        Self { enabled: true, rules: None }
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
    pub properties: Properties,
    /// Kafka: file with the token of the SASL mechanism OAUTHBEARER, kept fresh by something else. It is read again
    /// before a token ends.
    #[serde(default)]
    pub oauth_token_file: Option<PathBuf>,
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
    /// File, text or environment variable that says it.
    pub place: String,
    /// Line in the file or text, from 1; `None` for variables and for what nobody wrote.
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
    /// Reads a file and applies the environment's overrides. Nobody is contacted; files that the configuration names
    /// (rules, correlations, mappings, rules of redaction) must be there.
    ///
    /// # Errors
    /// When the file cannot be read, a key is unknown or has the wrong type, or values do not go together.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::load_with(path, |_| {})
    }

    /// As [`load`](Self::load), with changes that come last and are checked with the rest, such as arguments of a
    /// command line.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(path: &Path, change: impl FnOnce(&mut Self)) -> Result<Self, ConfigError> {
        let place = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| ConfigError {
            place: place.clone(),
            line: None,
            key: String::new(),
            why: e.to_string(),
        })?;
        let variables: BTreeMap<String, String> = std::env::vars().collect();
        Self::parse_with(&place, &text, &variables, change)
    }

    /// Reads configuration text. `place` is what errors call it, and `variables` is the environment, by name.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(place: &str, text: &str, variables: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        Self::parse_with(place, text, variables, |_| {})
    }

    /// As [`parse`](Self::parse), with changes that come last and are checked with the rest.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse_with(
        place: &str,
        text: &str,
        variables: &BTreeMap<String, String>,
        change: impl FnOnce(&mut Self),
    ) -> Result<Self, ConfigError> {
        let mut config: Self = toml::from_str(text).map_err(|e| from_toml(place, text, &e))?;
        if let Some(overridden) = env::overlay(text, variables)? {
            config = overridden;
        }
        change(&mut config);
        let origin = Origin::of_file(place, text, env::overridden(variables));
        env::fill(&mut config, variables, &origin)?;
        config.check_from(&origin)?;
        Ok(config)
    }

    /// Hash of what decides findings: stored with every decision and manifest. `rules` stands for everything that other
    /// files say. How many threads work, and where sources and sinks are, decides nothing; what tells a source's
    /// cluster does, and when it is silent.
    pub fn fingerprint(&self, rules: &str) -> String {
        let pipeline = PipelineConfig { workers: 0, patience_secs: 0.0, ..self.pipeline.clone() };
        let of_source = |s: &SourceConfig| {
            let cluster = (s.cluster.clone(), s.cluster_header.clone(), s.cluster_from_topic.clone());
            let silence = s.silence().map(crate::plan::micros);
            (s.name.clone(), s.format.clone(), cluster, s.zone.clone(), silence)
        };
        let mut sources: Vec<_> = self.sources.iter().map(of_source).collect();
        sources.sort();
        let redaction = RedactionConfig { rules: None, ..self.redaction };
        let decisive = (pipeline, &self.anomaly, redaction, sources);
        palisade_events::id::uid("palisade.config.v3", &[&serde_json::to_string(&decisive).unwrap_or_default(), rules])
    }
}

fn default_zone() -> String {
    "UTC".into()
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
