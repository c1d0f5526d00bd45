//! From configuration to running parts: rules compiled, detectors made, decoders set up. Done once, at the edge.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_anomaly::{EventRate, FirstSeen};
use palisade_correlate::{Spec, SqlCorrelation};
use palisade_events::clock::Tolerance;
use palisade_events::time::{Micros, SECOND};
use palisade_events::{Detector, FieldPlan, Lane, LaneClock, Panes};
use palisade_ingest::file::{Framing, Header};
use palisade_ingest::mapped::Layout;
use palisade_ingest::{Decoder, Format, Limits, Mapping, RedactionRules, Redactor, Settings};
use palisade_rules::{Problem, RuleSet};

use crate::config::{Config, SourceConfig, SourceKind};
use crate::engine::{Engine, EngineSettings, LaneWork, Stages};
use crate::error::{Error, Result};
use crate::owners::Owners;

/// How records of one source become events.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Format of its records.
    pub format: Format,
    /// What its decoders share.
    pub settings: Arc<Settings>,
}

impl Feed {
    /// Whether files of this feed begin with a header record.
    pub(crate) fn header(&self) -> Header {
        match &self.format {
            Format::Mapped(mapping) if mapping.needs_header() => Header::First,
            _ => Header::Absent,
        }
    }

    /// What of this feed's files is one record.
    pub(crate) fn framing(&self) -> Framing {
        match &self.format {
            Format::Mapped(mapping) if matches!(mapping.layout(), Layout::Csv { .. }) => Framing::Lines,
            _ => Framing::Documents,
        }
    }
}

/// Everything that lanes and engines are made from.
#[derive(Clone)]
pub struct Plan {
    stages: Arc<Stages>,
    feeds: BTreeMap<String, Feed>,
    tolerance: Tolerance,
    engine: EngineSettings,
    detectors: Vec<DetectorPlan>,
    fingerprint: String,
    /// What decides findings besides rules and settings: the texts of correlations, mappings and rules of redaction.
    texts: String,
    /// What was wrong with rules; those with a fatal problem were left out.
    pub problems: Vec<Problem>,
}

#[derive(Clone)]
enum DetectorPlan {
    EventRate(palisade_anomaly::EventRateConfig),
    FirstSeen(palisade_anomaly::FirstSeenConfig),
    Correlation(Arc<Spec>),
}

impl Plan {
    /// Compiles rules, reads mappings and rules of redaction, and checks correlations.
    ///
    /// # Errors
    /// When a file cannot be read, or a correlation, a mapping or rules of redaction cannot be used. Sigma rules that cannot
    /// be used are left out and listed in [`Plan::problems`].
    pub fn new(config: &Config) -> Result<Self> {
        let (rules, problems) = load_rules(config)?;
        let fingerprint_rules = rules.fingerprint();
        let of_packs: Vec<PathBuf> = rules.packs().iter().flat_map(|pack| pack.correlations().to_vec()).collect();
        let (fields, engine_rules) = compile(rules)?;
        let specs = load_correlations(config, &of_packs)?;
        let panes = Panes::new(micros(config.pipeline.pane_secs));
        let mut detectors = Vec::new();
        if !config.anomaly.event_rate_off {
            detectors.push(DetectorPlan::EventRate(config.anomaly.event_rate.clone()));
        }
        if !config.anomaly.first_seen_off {
            detectors.push(DetectorPlan::FirstSeen(config.anomaly.first_seen.clone()));
        }
        let correlations: String = specs.iter().map(|s| format!("{s:?}")).collect();
        detectors.extend(specs.into_iter().map(|spec| DetectorPlan::Correlation(Arc::new(spec))));
        let (redactor, redaction_rules) = load_redactor(config)?;
        let redactor = Arc::new(redactor);
        let mut feeds = BTreeMap::new();
        for source in &config.sources {
            let feed = feed(config, source, &fields, &redactor)?;
            feeds.insert(source.name.clone(), feed);
        }
        let silence = |source: &SourceConfig| {
            let span = source.silence().map(micros)?.max(panes.length());
            Some((source.name.clone(), span))
        };
        let silences = config.sources.iter().filter_map(silence).collect();
        let mapping = |feed: &Feed| match &feed.format {
            Format::Mapped(mapping) => Some(mapping.text().to_owned()),
            _ => None,
        };
        let mappings: String = feeds.values().filter_map(mapping).collect();
        let texts = format!("{correlations}{mappings}{redaction_rules}");
        let plan = Self {
            stages: Arc::new(Stages {
                plan: fields,
                rules: engine_rules,
                owners: Owners::new(config.owners.clone()),
                panes,
                silences,
            }),
            feeds,
            tolerance: Tolerance {
                lateness: micros(config.pipeline.lateness_secs),
                skew_max: micros(config.pipeline.skew_max_secs),
                ..Tolerance::default()
            },
            engine: EngineSettings {
                pane_length: panes.length(),
                panes_ahead_max: config.pipeline.panes_ahead_max.max(1),
            },
            detectors,
            fingerprint: config.fingerprint(&format!("{fingerprint_rules}{texts}")),
            texts,
            problems,
        };
        plan.make_detectors()?;
        Ok(plan)
    }

    /// The same plan with the rules as they lie at their paths now; all else stays as it was read first.
    ///
    /// # Errors
    /// As [`Plan::new`], of rules.
    pub fn with_rules_anew(&self, config: &Config) -> Result<Self> {
        let (rules, problems) = load_rules(config)?;
        let fingerprint = config.fingerprint(&format!("{}{}", rules.fingerprint(), self.texts));
        let (fields, rules) = compile(rules)?;
        let stages = Stages {
            plan: Arc::clone(&fields),
            rules,
            owners: self.stages.owners.clone(),
            panes: self.stages.panes,
            silences: self.stages.silences.clone(),
        };
        let feed = |feed: &Feed| Feed {
            format: feed.format.clone(),
            settings: Arc::new(Settings { plan: Arc::clone(&fields), ..Settings::clone(&feed.settings) }),
        };
        let feeds = self.feeds.iter().map(|(name, own)| (name.clone(), feed(own))).collect();
        Ok(Self { stages: Arc::new(stages), feeds, fingerprint, problems, ..self.clone() })
    }

    /// An engine without lanes and without history.
    ///
    /// # Errors
    /// When a detector cannot be made.
    pub fn engine(&self) -> Result<Engine> {
        Ok(Engine::new(Arc::clone(&self.stages), self.make_detectors()?, self.engine))
    }

    /// A lane that has read nothing.
    ///
    /// # Errors
    /// When the lane's source is not configured.
    pub fn lane(&self, lane: &Arc<Lane>) -> Result<LaneWork> {
        let (decoder, clock) = (self.decoder(lane)?, LaneClock::new(self.tolerance));
        Ok(LaneWork::new(Arc::clone(lane), Arc::clone(&self.stages), decoder, clock))
    }

    /// A decoder for a lane.
    ///
    /// # Errors
    /// When the lane's source is not configured.
    pub(crate) fn decoder(&self, lane: &Arc<Lane>) -> Result<Box<dyn Decoder>> {
        let feed = self
            .feeds
            .get(&lane.source)
            .ok_or_else(|| Error::State(format!("lane {lane} is of an unknown source `{}`", lane.source)))?;
        Ok(palisade_ingest::decoder(&feed.format, Arc::clone(lane), Arc::clone(&feed.settings)))
    }

    /// How records of a source become events.
    pub fn feed(&self, source: &str) -> Option<&Feed> {
        self.feeds.get(source)
    }

    /// For how long a source may give no event before it is silent; `None` if for ever.
    pub fn silence(&self, source: &str) -> Option<Micros> {
        self.stages.silences.get(source).copied()
    }

    /// What all lanes share.
    pub fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// Hash of what decides findings.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn make_detectors(&self) -> Result<Vec<Box<dyn Detector>>> {
        let make = |plan: &DetectorPlan| -> Result<Box<dyn Detector>> {
            Ok(match plan {
                DetectorPlan::EventRate(config) => Box::new(EventRate::new(config.clone())),
                DetectorPlan::FirstSeen(config) => Box::new(FirstSeen::new(config.clone())),
                DetectorPlan::Correlation(spec) => Box::new(
                    SqlCorrelation::new(Arc::clone(spec), palisade_correlate::Bounds::default())
                        .map_err(|e| Error::Correlate(e.to_string()))?,
                ),
            })
        };
        self.detectors.iter().map(make).collect()
    }
}

fn load_rules(config: &Config) -> Result<(RuleSet, Vec<Problem>)> {
    let fail = |e: &dyn std::fmt::Display| Error::Rules(e.to_string());
    let (own, mut problems) = RuleSet::load(&config.rules.paths).map_err(|e| fail(&e))?;
    let idle = idle_rules(config, &own, &mut problems);
    let rules = match config.rules.starter {
        true => RuleSet::starter().map_err(|e| fail(&e))?.merge(own),
        false => own,
    };
    problems.extend(rules.remarks());
    problems.extend(idle);
    Ok((rules, problems))
}

/// Compiles rules, with the plan of the raw fields that decoders extract for them.
fn compile(rules: RuleSet) -> Result<(Arc<FieldPlan>, palisade_rules::Engine)> {
    let fields = Arc::new(FieldPlan::new(rules.raw_fields()));
    let rules = rules.compile(&fields).map_err(|e| Error::Rules(e.to_string()))?;
    Ok((fields, rules))
}

/// Rules named in one remark; `palisade rules check --sources` lists all.
const NAMED_MAX: usize = 5;

/// What of a user's own rules cannot work on the sources that there are: fields that no event has, one by one, and rules
/// that can never fire, in one remark. Of built-in rules nothing is said: they are for more sources than anybody has.
fn idle_rules(config: &Config, own: &RuleSet, problems: &mut Vec<Problem>) -> Option<Problem> {
    let mut formats: Vec<&str> = config.sources.iter().map(|source| source.format.as_str()).collect();
    // What these hold is not known before it comes.
    if formats.iter().any(|format| matches!(*format, "auto" | "mapped")) {
        formats = Format::NAMED.into_iter().map(|(name, _)| name).collect();
    }
    let remark = |rule: Option<&str>, why: String| Problem {
        path: "[rules] paths".into(),
        rule: rule.map(str::to_owned),
        why,
        fatal: false,
    };
    let report = own.report(&formats);
    let unknown = |(rule, field): &(&palisade_rules::Rule, String)| {
        remark(Some(&rule.title), format!("no event has the field `{field}`"))
    };
    let alive =
        |(rule, _): &&(&palisade_rules::Rule, String)| !report.dead.iter().any(|(dead, _)| dead.uid == rule.uid);
    problems.extend(report.unknown_fields.iter().filter(alive).map(unknown));
    let (first, why) = report.dead.first()?;
    if report.dead.len() == 1 {
        return Some(remark(Some(&first.title), format!("it can never fire: {why}")));
    }
    let named: Vec<&str> = report.dead.iter().take(NAMED_MAX).map(|(rule, _)| rule.title.as_str()).collect();
    let (count, named) = (report.dead.len(), named.join("`, `"));
    Some(remark(None, format!("{count} rules can never fire on the sources that there are, such as `{named}`")))
}

/// What replaces secrets, and the text of the rules for it, which decide what detectors see.
fn load_redactor(config: &Config) -> Result<(Redactor, String)> {
    let redaction = &config.redaction;
    let rules = redaction.rules.as_ref().map(|path| {
        let text = std::fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
        RedactionRules::parse(&text).map_err(|e| Error::Usage(format!("{}: {e}", path.display())))
    });
    let rules = rules.transpose()?;
    let text = rules.as_ref().map_or_else(String::new, |rules| rules.text().to_owned());
    let redactor = match rules {
        _ if !redaction.enabled => Redactor::off(),
        Some(rules) => Redactor::with_rules(rules),
        None => Redactor::default(),
    };
    Ok((redactor, text))
}

fn load_correlations(config: &Config, of_packs: &[PathBuf]) -> Result<Vec<Spec>> {
    let mut own: Vec<Spec> = Vec::new();
    for path in correlation_files(&[&config.correlate.paths, of_packs].concat())? {
        let text = std::fs::read_to_string(&path).map_err(Error::io(format!("reading {}", path.display())))?;
        let wrong = |why: String| Error::Correlate(format!("{}: {why}", path.display()));
        let spec = Spec::parse(&text).map_err(|e| wrong(e.to_string()))?;
        if own.iter().any(|known| known.uid == spec.uid) {
            return Err(wrong(format!("a second correlation with the uid `{}`", spec.uid)));
        }
        own.push(spec);
    }
    let mut specs = Vec::new();
    if config.correlate.starter {
        specs = palisade_correlate::starter().map_err(|e| Error::Correlate(e.to_string()))?;
        // As with rules: a user's version wins over the built-in one.
        specs.retain(|spec| own.iter().all(|known| known.uid != spec.uid));
    }
    specs.extend(own);
    Ok(specs)
}

fn correlation_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        for entry in std::fs::read_dir(path).map_err(Error::io(format!("reading {}", path.display())))? {
            let path = entry.map_err(Error::io(format!("reading {}", path.display())))?.path();
            if path.extension().is_some_and(|e| e == "toml") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn feed(config: &Config, source: &SourceConfig, plan: &Arc<FieldPlan>, redactor: &Arc<Redactor>) -> Result<Feed> {
    let format = match (&source.mapping, Format::named(&source.format)) {
        (None, Some(format)) => format,
        (Some(path), _) => {
            let text = std::fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))?;
            let mapping = Mapping::parse(&text).map_err(|e| Error::Usage(format!("{}: {e}", path.display())))?;
            if source.kind == SourceKind::Kafka && mapping.needs_header() {
                return Err(Error::Usage(format!(
                    "{}: records of a topic have no first line: name the columns in `header`",
                    path.display()
                )));
            }
            Format::Mapped(Arc::new(mapping))
        }
        (None, None) => return Err(Error::Usage(format!("unknown format `{}`", source.format))),
    };
    let settings = Settings {
        source: source.name.clone(),
        cluster: source.cluster.clone(),
        zone: source.zone.parse().map_err(|e: palisade_ingest::zone::ZoneError| Error::Usage(e.to_string()))?,
        limits: limits(config.pipeline.record_bytes_max),
        plan: Arc::clone(plan),
        redactor: Arc::clone(redactor),
    };
    Ok(Feed { format, settings: Arc::new(settings) })
}

pub(crate) fn micros(secs: f64) -> Micros {
    (secs * SECOND as f64) as Micros
}

/// The usual bounds with another one on records; a document of many holds at least one.
fn limits(record_bytes_max: usize) -> Limits {
    let usual = Limits::default();
    Limits { record_bytes_max, document_bytes_max: usual.document_bytes_max.max(record_bytes_max), ..usual }
}
