//! Values that each are fine but do not go together, and files that are not there.
//!
//! Not here: types and unknown keys, which are found when the text is read.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::origin::Origin;
use super::security::{self, BUILD};
use super::{Config, ConfigError, SinkConfig, SinkKind, SourceConfig, SourceKind};

/// The largest span that makes sense, in seconds: a year.
const YEAR_SECS: f64 = 86_400.0 * 365.0;
/// What stands for the cluster in [`SourceConfig::cluster_from_topic`].
const CLUSTER: &str = "{cluster}";

impl Config {
    /// Finds the first value that does not go with the others, or the first file of rules, correlations or a mapping
    /// that is not there: for configurations that were put together in code. What [`load`](Self::load) returns is
    /// checked.
    ///
    /// # Errors
    /// The key and what is wrong with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_from(&Origin::unwritten("configuration"))
    }

    pub(crate) fn check_from(&self, origin: &Origin<'_>) -> Result<(), ConfigError> {
        for (key, value) in [("job", &self.job), ("lake.url", &self.lake.url)] {
            if value.trim().is_empty() {
                return Err(origin.error(key, "is empty"));
            }
        }
        if let Err(error) = palisade_lake::check_url(&self.lake.url) {
            return Err(origin.error("lake.url", error.to_string()));
        }
        let is_address = |text: &str| {
            text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
        };
        if let Some(listen) = self.http.listen.as_ref().filter(|listen| !is_address(listen)) {
            let why = format!("`{listen}` is no address and port, such as 127.0.0.1:9464");
            return Err(origin.error("http.listen", why));
        }
        let mut names = BTreeSet::new();
        for (index, source) in self.sources.iter().enumerate() {
            if !names.insert(&source.name) {
                let why = format!("`{}` names two sources", source.name);
                return Err(origin.error(format!("source[{index}].name"), why));
            }
            check_source(source, |key, why| origin.error(format!("source[{index}].{key}"), why))?;
            // Within a pane nobody can tell.
            let least = self.pipeline.pane_secs;
            if let Some(secs) = source.silence_secs.filter(|secs| *secs != 0.0 && !(least..=YEAR_SECS).contains(secs)) {
                let why = format!("{secs} is out of range: 0, or at least {least} (`pane_secs`), at most {YEAR_SECS}");
                return Err(origin.error(format!("source[{index}].silence_secs"), why));
            }
        }
        for (index, sink) in self.sinks.iter().enumerate() {
            check_sink(sink, |key, why| origin.error(format!("sink[{index}].{key}"), why))?;
        }
        must_exist(&self.rules.paths).map_err(|why| origin.error("rules.paths", why))?;
        must_exist(&self.correlate.paths).map_err(|why| origin.error("correlate.paths", why))?;
        must_exist(self.redaction.rules.as_slice()).map_err(|why| origin.error("redaction.rules", why))?;
        self.check_numbers(origin)
    }

    fn check_numbers(&self, origin: &Origin<'_>) -> Result<(), ConfigError> {
        let (pipeline, lake, anomaly) = (&self.pipeline, &self.lake, &self.anomaly);
        let numbers = [
            ("pipeline.pane_secs", pipeline.pane_secs, 0.001, YEAR_SECS),
            ("pipeline.lateness_secs", pipeline.lateness_secs, 0.0, YEAR_SECS),
            ("pipeline.skew_max_secs", pipeline.skew_max_secs, 0.0, YEAR_SECS),
            ("pipeline.idle_secs", pipeline.idle_secs, 0.0, YEAR_SECS),
            ("pipeline.patience_secs", pipeline.patience_secs, 0.0, YEAR_SECS),
            ("pipeline.panes_ahead_max", pipeline.panes_ahead_max as f64, 1.0, 1e9),
            ("pipeline.record_bytes_max", pipeline.record_bytes_max as f64, 1024.0, 1e9),
            ("lake.commit_interval_secs", lake.commit_interval_secs, 0.0, YEAR_SECS),
            ("lake.commit_rows_max", lake.commit_rows_max as f64, 1.0, 1e9),
            ("anomaly.event_rate.false_findings_per_day", anomaly.event_rate.false_findings_per_day, 0.0, 1e9),
            ("anomaly.first_seen.false_findings_per_day", anomaly.first_seen.false_findings_per_day, 0.0, 1e9),
            ("anomaly.first_seen.unseen_max", anomaly.first_seen.unseen_max, 0.0, 1.0),
        ];
        for (key, value, least, most) in numbers {
            if !(least..=most).contains(&value) {
                return Err(origin.error(key, format!("{value} is out of range: at least {least}, at most {most}")));
            }
        }
        Ok(())
    }
}

fn check_source(source: &SourceConfig, error: impl Fn(&str, String) -> ConfigError) -> Result<(), ConfigError> {
    let fail = |key: &str, why: &str| Err(error(key, why.to_owned()));
    if source.name.trim().is_empty() {
        return fail("name", "is empty");
    }
    let format = source.format.as_str();
    if format != "mapped" && palisade_ingest::Format::named(format).is_none() {
        let known: Vec<&str> = palisade_ingest::Format::NAMED.iter().map(|(name, _)| *name).collect();
        let why = format!("`{format}` is no format; there are {} and mapped", known.join(", "));
        return fail("format", &why);
    }
    if let Err(why) = source.zone.parse::<palisade_ingest::Zone>() {
        return fail("zone", &why.to_string());
    }
    if (format == "mapped") != source.mapping.is_some() {
        return fail("mapping", "goes with format `mapped`, and only with it");
    }
    must_exist(source.mapping.as_slice()).map_err(|why| error("mapping", why))?;
    // What the guarantees rest on.
    let own = [
        ("group.id", "it is `group`"),
        ("auto.offset.reset", "it is `begin`"),
        ("enable.auto.commit", "offsets are those of the lake"),
        ("enable.auto.offset.store", "offsets are those of the lake"),
        ("enable.partition.eof", "it is always on"),
    ];
    if let Some((name, why)) = own.into_iter().find(|(name, _)| source.properties.contains_key(*name)) {
        return fail(&format!("properties.{name}"), &format!("cannot be set: {why}"));
    }
    let blank = |text: &String| text.trim().is_empty();
    match source.kind {
        SourceKind::Kafka if !cfg!(feature = "kafka") => return fail("kind", "this build has no feature `kafka`"),
        SourceKind::Kafka if source.topics.iter().any(blank) => return fail("topics", "has an empty name"),
        SourceKind::Kafka if source.brokers.as_ref().is_some_and(blank) => return fail("brokers", "is empty"),
        SourceKind::Kafka if source.topics.is_empty() => return fail("topics", "names no topic"),
        SourceKind::Kafka if source.brokers.is_none() && !source.properties.contains_key("bootstrap.servers") => {
            return fail("brokers", "is missing");
        }
        SourceKind::Files if source.paths.is_empty() => return fail("paths", "names no file"),
        _ => {}
    }
    if source.kind == SourceKind::Kafka {
        security::check(&source.properties, source.oauth_token_file.as_deref(), BUILD)
            .map_err(|(key, why)| error(&key, why))?;
    } else if source.oauth_token_file.is_some() {
        return fail("oauth_token_file", "goes with kind `kafka`, and only with it");
    }
    check_cluster(source).map_err(|why| error("cluster_from_topic", why))
}

fn check_cluster(source: &SourceConfig) -> Result<(), String> {
    let Some(pattern) = &source.cluster_from_topic else { return Ok(()) };
    if source.kind != SourceKind::Kafka {
        return Err("goes with kind `kafka`, and only with it".into());
    }
    let (before, after) = match pattern.split_once(CLUSTER) {
        Some((before, after)) if !after.contains(CLUSTER) => (before, after),
        _ => return Err(format!("`{pattern}` has to hold `{CLUSTER}` exactly once, as in k8s.{CLUSTER}.audit")),
    };
    // Names that begin so are regular expressions: which topics they mean, only the broker knows.
    let is_name = |topic: &&String| !topic.starts_with('^');
    let fits = |topic: &str| {
        let cluster = topic.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
        cluster.is_some_and(|cluster| !cluster.is_empty())
    };
    match source.topics.iter().filter(is_name).find(|topic| !fits(topic)) {
        Some(topic) if source.cluster.is_empty() && source.cluster_header.is_none() => {
            Err(format!("the topic `{topic}` does not fit `{pattern}`, and no `cluster` says whose it is"))
        }
        _ => Ok(()),
    }
}

fn check_sink(sink: &SinkConfig, error: impl Fn(&str, String) -> ConfigError) -> Result<(), ConfigError> {
    let missing = match sink.kind {
        SinkKind::Kafka if !cfg!(feature = "kafka") => {
            return Err(error("kind", "this build has no feature `kafka`".into()));
        }
        SinkKind::File if sink.path.is_none() => "path",
        SinkKind::Kafka if sink.topic.is_none() => "topic",
        SinkKind::Kafka if sink.brokers.is_none() => "brokers",
        SinkKind::Kafka => {
            return security::check(&sink.properties, sink.oauth_token_file.as_deref(), BUILD)
                .map_err(|(key, why)| error(&key, why));
        }
        _ if sink.oauth_token_file.is_some() => {
            return Err(error("oauth_token_file", "goes with kind `kafka`, and only with it".into()));
        }
        _ => return Ok(()),
    };
    Err(error(missing, "is missing".into()))
}

/// What names files that decide findings must name some that can be looked at: later it would be one line in a log.
fn must_exist(paths: &[PathBuf]) -> Result<(), String> {
    let missing = paths.iter().find_map(|path| Some((path, std::fs::metadata(path).err()?)));
    missing.map_or(Ok(()), |(path, why)| Err(format!("{}: {why}", path.display())))
}
