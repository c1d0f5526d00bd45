//! One detection, with everything that someone woken at night needs to judge it.
//!
//! Not here: what an analyst decided about it (a disposition, which the lake keeps), nor how it is shown.

use std::sync::Arc;

use arrow::array::TimestampMicrosecondArray;
use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

use crate::entity::{Entity, EntityKind};
use crate::position::Position;
use crate::schema::{Word, col};
use crate::time::{Micros, format_rfc3339};

/// How bad it is. Numbers are OCSF's `severity_id`; names are Sigma's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
    High = 4,
    Critical = 5,
}

impl Severity {
    /// OCSF `severity_id`.
    pub fn id(self) -> i32 {
        self as i32
    }

    /// Sigma level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Reads a Sigma level.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|s| s.name() == name)
    }
}

/// How sure the detector is that this is what it says, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidence(f64);

impl Confidence {
    /// Clamps to [0, 1]; NaN becomes 0.
    pub fn new(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// What kind of detector made a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// A Sigma rule matched an event.
    Rule,
    /// A pane or an event is statistically unlikely.
    Anomaly,
    /// Several events in a window belong together.
    Correlation,
}

impl FindingKind {
    /// The kind's name as stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Anomaly => "anomaly",
            Self::Correlation => "correlation",
        }
    }
}

/// ATT&CK techniques of a finding, with the version of ATT&CK that the numbers are from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attack {
    /// ATT&CK version, as `19.1`.
    pub version: String,
    /// Technique ids, as `T1611`.
    pub techniques: Vec<String>,
    /// Tactic short names, as `privilege-escalation`.
    pub tactics: Vec<String>,
}

/// One event behind a finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Evidence {
    /// Event time.
    #[serde(skip)]
    pub time: Micros,
    /// The event's id.
    pub event_uid: String,
    /// Name of the source in the configuration.
    pub source: String,
    /// Where it was read.
    pub position: Position,
}

/// One detection.
///
/// Nothing in it depends on the wall clock: the same input gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Deterministic id: see [`crate::id::finding_uid`].
    pub finding_uid: String,
    /// Shared by findings of one rule about one entity on one day.
    pub group_uid: String,
    /// Time of the newest evidence, or the end of the pane.
    pub time: Micros,
    /// What made it.
    pub kind: FindingKind,
    /// Rule or detector.
    pub rule_uid: String,
    /// Version of the rule: its `modified` date or the pack's version. Not part of the id.
    pub rule_version: String,
    /// One line.
    pub title: String,
    /// How bad.
    pub severity: Severity,
    /// How sure.
    pub confidence: Confidence,
    /// What it is about.
    pub entity: Entity,
    /// Everything involved, the primary entity first.
    pub entities: Vec<Entity>,
    /// Who owns the entity, where known.
    pub owner: Option<String>,
    /// Events that it stands for.
    pub count: i64,
    /// Time of the oldest event.
    pub first_seen: Micros,
    /// Time of the newest event.
    pub last_seen: Micros,
    /// When the stream could know it: the end of the pane, or when the carrier logged the event (else event time).
    pub detected_at: Micros,
    /// Who wrote the rule.
    pub author: String,
    /// Where to read more.
    pub references: Vec<String>,
    /// What else looks like this.
    pub false_positives: Vec<String>,
    /// What to do first.
    pub triage: Vec<String>,
    /// ATT&CK techniques.
    pub attack: Attack,
    /// What was seen, what was expected, in one or two sentences.
    pub explanation: String,
    /// The number or text observed.
    pub observed: String,
    /// What was expected instead.
    pub expected: String,
    /// Probability of something at least this extreme if nothing is wrong; absent for rules.
    pub p_value: Option<f64>,
    /// The events behind it, oldest first, bounded; `count` says how many there were.
    pub evidence: Vec<Evidence>,
    /// The first evidence row as flat JSON.
    pub excerpt: String,
    /// What was known of the completeness of its window: `complete`, `lossy`, `partial_assignment`.
    pub coverage: String,
    /// Ids and reasons of exceptions that suppressed it; empty if it stands.
    pub suppressed_by: Option<String>,
}

impl Finding {
    /// The line that `--json` prints: ids, what, about whom, why, and which rows prove it.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "finding_uid": self.finding_uid,
            "group_uid": self.group_uid,
            "time": format_rfc3339(self.time),
            "kind": self.kind,
            "rule_uid": self.rule_uid,
            "rule_version": self.rule_version,
            "title": self.title,
            "severity": self.severity,
            "severity_id": self.severity.id(),
            "confidence": self.confidence,
            "entities": self.entities,
            "owner": self.owner,
            "count": self.count,
            "first_seen": format_rfc3339(self.first_seen),
            "last_seen": format_rfc3339(self.last_seen),
            "detected_at": format_rfc3339(self.detected_at),
            "author": self.author,
            "references": self.references,
            "false_positives": self.false_positives,
            "triage": self.triage,
            "attack": self.attack,
            "explanation": self.explanation,
            "observed": self.observed,
            "expected": self.expected,
            "p_value": self.p_value,
            "evidence": self.evidence,
            "excerpt": serde_json::from_str(&self.excerpt).unwrap_or_else(|_| serde_json::Value::from(&*self.excerpt)),
            "coverage": self.coverage,
        })
    }
}

/// Which column names the entity of each kind, in the order in which a finding looks for its primary one.
pub const ENTITY_COLUMNS: [(EntityKind, Word); EntityKind::COUNT] = [
    (EntityKind::Workload, col::WORKLOAD_NAME),
    (EntityKind::Container, col::CONTAINER_UID_SHORT),
    (EntityKind::Image, col::CONTAINER_IMAGE_NAME),
    (EntityKind::ServiceAccount, col::ACTOR_SERVICE_ACCOUNT),
    (EntityKind::User, col::ACTOR_USER_NAME),
    (EntityKind::Address, col::SRC_ENDPOINT_IP),
    (EntityKind::Node, col::DEVICE_HOSTNAME),
    (EntityKind::Namespace, col::NAMESPACE_NAME),
    (EntityKind::Cluster, col::CLUSTER_NAME),
];

/// The entities that a row names, what is `declared` first: for stages that hold rows in another form than an
/// [`EventBatch`](crate::EventBatch), whose own entities are the same. `word` gives the row's value of a column.
pub fn entities_named<'r>(declared: Option<EntityKind>, word: impl Fn(Word) -> Option<&'r str>) -> Vec<Entity> {
    let first = ENTITY_COLUMNS.into_iter().filter(|(kind, _)| Some(*kind) == declared);
    let others = ENTITY_COLUMNS.into_iter().filter(|(kind, _)| Some(*kind) != declared);
    let entity = |(kind, column): (EntityKind, Word)| {
        let name = word(column).filter(|name| !name.is_empty())?;
        // Only workloads live in a namespace.
        let namespace = if kind == EntityKind::Workload { word(col::NAMESPACE_NAME) } else { None };
        let cluster = word(col::CLUSTER_NAME).unwrap_or_default().to_owned();
        Some(Entity { kind, cluster, namespace: namespace.map(str::to_owned), name: name.to_owned() })
    };
    first.chain(others).filter_map(entity).collect()
}

/// The schema of the findings table, without its `date` partition column.
pub fn findings_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let list = |name: &str| Field::new(name, DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), false);
    let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false);
    Arc::new(Schema::new(vec![
        text("finding_uid"),
        text("group_uid"),
        time("time"),
        text("kind"),
        text("rule_uid"),
        text("rule_version"),
        text("title"),
        Field::new("severity_id", DataType::Int32, false),
        text("severity"),
        Field::new("confidence", DataType::Float64, false),
        text("entity"),
        text("entity_kind"),
        text("cluster_name"),
        list("entities"),
        Field::new("owner", DataType::Utf8, true),
        Field::new("count", DataType::Int64, false),
        time("first_seen"),
        time("last_seen"),
        time("detected_at"),
        text("author"),
        list("references"),
        list("false_positives"),
        list("triage"),
        text("attack_version"),
        list("attack_techniques"),
        list("attack_tactics"),
        text("explanation"),
        text("observed"),
        text("expected"),
        Field::new("p_value", DataType::Float64, true),
        list("evidence_event_uids"),
        text("evidence"),
        text("excerpt"),
        text("coverage"),
        Field::new("suppressed_by", DataType::Utf8, true),
    ]))
}

/// Findings as a record batch of [`findings_schema`]. `evidence` is a JSON array as in [`Finding::to_json`].
///
/// # Errors
/// When Arrow refuses the columns, which only memory limits can cause.
pub fn findings_batch(findings: &[Finding]) -> crate::Result<RecordBatch> {
    let text = |get: fn(&Finding) -> &str| -> ArrayRef {
        Arc::new(findings.iter().map(|f| Some(get(f))).collect::<StringArray>())
    };
    let owned = |get: fn(&Finding) -> Option<String>| -> ArrayRef {
        Arc::new(findings.iter().map(get).collect::<StringArray>())
    };
    let time = |get: fn(&Finding) -> Micros| -> ArrayRef {
        Arc::new(findings.iter().map(|f| Some(get(f))).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let list = |get: &dyn Fn(&Finding) -> Vec<String>| -> ArrayRef {
        let mut builder = ListBuilder::new(StringBuilder::new());
        for finding in findings {
            for item in get(finding) {
                builder.values().append_value(item);
            }
            builder.append(true);
        }
        Arc::new(builder.finish())
    };
    let columns: Vec<ArrayRef> = vec![
        text(|f| &f.finding_uid),
        text(|f| &f.group_uid),
        time(|f| f.time),
        text(|f| f.kind.name()),
        text(|f| &f.rule_uid),
        text(|f| &f.rule_version),
        text(|f| &f.title),
        Arc::new(findings.iter().map(|f| Some(f.severity.id())).collect::<Int32Array>()),
        text(|f| f.severity.name()),
        Arc::new(findings.iter().map(|f| Some(f.confidence.value())).collect::<Float64Array>()),
        owned(|f| Some(f.entity.to_string())),
        text(|f| f.entity.kind.name()),
        text(|f| &f.entity.cluster),
        list(&|f| f.entities.iter().map(ToString::to_string).collect()),
        owned(|f| f.owner.clone()),
        Arc::new(findings.iter().map(|f| Some(f.count)).collect::<Int64Array>()),
        time(|f| f.first_seen),
        time(|f| f.last_seen),
        time(|f| f.detected_at),
        text(|f| &f.author),
        list(&|f| f.references.clone()),
        list(&|f| f.false_positives.clone()),
        list(&|f| f.triage.clone()),
        text(|f| &f.attack.version),
        list(&|f| f.attack.techniques.clone()),
        list(&|f| f.attack.tactics.clone()),
        text(|f| &f.explanation),
        text(|f| &f.observed),
        text(|f| &f.expected),
        Arc::new(findings.iter().map(|f| f.p_value).collect::<Float64Array>()),
        list(&|f| f.evidence.iter().map(|e| e.event_uid.clone()).collect()),
        owned(|f| Some(serde_json::to_string(&f.evidence).unwrap_or_else(|_| "[]".into()))),
        text(|f| &f.excerpt),
        text(|f| &f.coverage),
        owned(|f| f.suppressed_by.clone()),
    ];
    Ok(RecordBatch::try_new(findings_schema(), columns)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::EventBuilder;

    #[test]
    fn entities_named_are_those_of_a_batch() {
        let mut builder = EventBuilder::new(Arc::default());
        builder.put_text(col::EVENT_UID, "1");
        builder.put_time(col::TIME, 0);
        builder.put_int(col::CLASS_UID, 0);
        builder.put_int(col::ACTIVITY_ID, 0);
        builder.put_flag(col::LATE, false);
        for column in [col::SOURCE, col::FORMAT, col::ORIGIN] {
            builder.put_word(column, "x");
        }
        for (kind, column) in ENTITY_COLUMNS {
            builder.put_word(column, &format!("a {kind}"));
        }
        builder.end_row();
        let batch = builder.finish().unwrap();
        let of_batch = |kind: EntityKind| batch.entities(kind).get(0).cloned();
        let named = |declared| entities_named(declared, |column| batch.word(column).get(0));
        assert_eq!(named(None), EntityKind::FALLBACK.into_iter().filter_map(of_batch).collect::<Vec<_>>());
        assert_eq!(named(None).len(), EntityKind::COUNT);
        assert_eq!(named(Some(EntityKind::Node)).first(), of_batch(EntityKind::Node).as_ref());
        assert_eq!(named(Some(EntityKind::Node)).len(), EntityKind::COUNT);
    }
}
