//! What a match says to the person who reads it: the finding, its entities and the values that matched.

use std::sync::Arc;

use arrow::array::Array;
use palisade_events::fields::FieldRef;
use palisade_events::{
    Entity, EntityKind, EventBatch, Evidence, FieldColumn, FieldPlan, Finding, FindingKind, col, id, time,
};

use crate::engine::{EventTexts, Slot, Values};
use crate::exception::Exception;
use crate::expr::{Shown, Source};
use crate::predicate::text_of;
use crate::rule::Rule;

/// A batch with all that its values are read from.
pub(crate) struct Scene<'b> {
    pub(crate) batch: &'b EventBatch,
    pub(crate) fields: &'b [FieldColumn],
    pub(crate) texts: &'b EventTexts,
    pub(crate) plan: &'b Arc<FieldPlan>,
}

/// Characters of one value that an explanation shows: the whole is in the excerpt.
const VALUE_CHARS_MAX: usize = 120;

/// Values of one field that an explanation shows.
const VALUES_MAX: usize = 5;

/// The finding of a rule that holds for a row, which an exception may suppress.
pub(crate) fn finding(rule: &Rule, scene: &Scene<'_>, row: usize, exception: Option<&Exception>) -> Finding {
    let batch = scene.batch;
    let entities = entities(batch, row, rule.entity);
    let entity = entities.first().cloned().unwrap_or_else(|| unknown(batch, row));
    let entities = if entities.is_empty() { vec![entity.clone()] } else { entities };
    let at = batch.time(col::TIME).value(row);
    let logged = batch.time(col::BROKER_TIME);
    let observed = observed(rule, scene, row);
    let text = entity.to_string();
    Finding {
        finding_uid: id::finding_uid(&rule.uid, &text, batch.uid(row)),
        group_uid: id::group_uid(&rule.uid, &text, &time::date_of(at)),
        time: at,
        kind: FindingKind::Rule,
        rule_uid: rule.uid.clone(),
        rule_version: rule.version.clone(),
        title: rule.title.clone(),
        severity: rule.level,
        confidence: rule.confidence,
        entity,
        entities,
        owner: None,
        count: 1,
        first_seen: at,
        last_seen: at,
        detected_at: if logged.is_valid(row) { logged.value(row) } else { at },
        author: rule.author.clone(),
        references: rule.references.clone(),
        false_positives: rule.false_positives.clone(),
        triage: rule.triage.clone(),
        attack: rule.attack.clone(),
        explanation: match exception {
            Some(exception) => format!("{}: {observed}; {}.", subject(batch, row), exception.told()),
            None => format!("{}: {observed}.", subject(batch, row)),
        },
        observed,
        expected: format!("no event for which `{}` holds", rule.condition),
        p_value: None,
        evidence: vec![Evidence {
            time: at,
            event_uid: batch.uid(row).to_owned(),
            source: batch.word(col::SOURCE).get(row).unwrap_or_default().to_owned(),
            position: batch.position(row),
        }],
        excerpt: batch.row_json(row).to_string(),
        coverage: "complete".into(),
        suppressed_by: exception.map(|exception| exception.uid.clone()),
    }
}

/// Everything that the row names, in the order in which a primary entity is looked for; what the rule declares first.
fn entities(batch: &EventBatch, row: usize, declared: Option<EntityKind>) -> Vec<Entity> {
    let others = EntityKind::FALLBACK.into_iter().filter(|kind| Some(*kind) != declared);
    declared.into_iter().chain(others).filter_map(|kind| batch.entities(kind).get(row).cloned()).collect()
}

fn unknown(batch: &EventBatch, row: usize) -> Entity {
    let cluster = batch.word(col::CLUSTER_NAME).get(row).unwrap_or_default();
    let name = if cluster.is_empty() { "unknown" } else { cluster };
    Entity { kind: EntityKind::Cluster, cluster: cluster.into(), namespace: None, name: name.into() }
}

/// Who did what where, as far as the columns say: `create pods/exec by user alice in prod/web`.
fn subject(batch: &EventBatch, row: usize) -> String {
    let word = |column| batch.word(column).get(row).filter(|text| !text.is_empty());
    let text = |column| {
        let column = batch.text(column);
        (column.is_valid(row) && !column.value(row).is_empty()).then(|| shortened(column.value(row)))
    };
    let mut all = match (word(col::RESOURCE_TYPE), text(col::PROCESS_CMD_LINE)) {
        (Some(resource), _) => {
            let mut all = word(col::API_OPERATION).map(|verb| format!("{verb} ")).unwrap_or_default();
            all.push_str(resource);
            all.extend(word(col::RESOURCE_SUBRESOURCE).map(|part| format!("/{part}")));
            all
        }
        (None, Some(command)) => format!("process `{command}`"),
        (None, None) => match (word(col::PROCESS_NAME), word(col::SYSCALL), word(col::API_OPERATION)) {
            (Some(process), Some(call), _) => format!("{call} by process {process}"),
            (Some(process), None, _) => format!("process {process}"),
            (None, Some(what), _) | (None, None, Some(what)) => what.to_owned(),
            (None, None, None) => "event".to_owned(),
        },
    };
    if let Some(user) = word(col::ACTOR_USER_NAME).or_else(|| word(col::PROCESS_USER_NAME)) {
        all.push_str(&format!(" by user {user}"));
    }
    let name = word(col::POD_NAME).map(str::to_owned).or_else(|| word(col::WORKLOAD_NAME).map(str::to_owned));
    let name = name.or_else(|| word(col::RESOURCE_TYPE).and_then(|_| text(col::RESOURCE_NAME)));
    let place = [word(col::NAMESPACE_NAME).map(str::to_owned), name];
    let place: Vec<String> = place.into_iter().flatten().collect();
    if !place.is_empty() {
        all.push_str(&format!(" in {}", place.join("/")));
    }
    if let Some(node) = word(col::DEVICE_HOSTNAME) {
        all.push_str(&format!(" on {node}"));
    }
    all
}

/// The fields of the rule's selections with the values that passed: `verb=create, objectRef.subresource=exec`.
fn observed(rule: &Rule, scene: &Scene<'_>, row: usize) -> String {
    let mut parts: Vec<String> = Vec::new();
    for shown in &rule.lowered.shown {
        let part = passed(shown, scene, row);
        if let Some(part) = part
            && !parts.contains(&part)
        {
            parts.push(part);
        }
    }
    if parts.is_empty() {
        return format!("`{}` holds", rule.condition);
    }
    parts.join(", ")
}

fn passed(shown: &Shown, scene: &Scene<'_>, row: usize) -> Option<String> {
    let mut seen: Vec<String> = Vec::new();
    for source in &shown.sources {
        let slot = match source {
            Source::Column(column) => Slot::Column(*column),
            Source::Raw(path) => Slot::Raw(scene.plan.number(path)?),
            Source::Event => Slot::Event,
        };
        let values = Values::of(slot, scene.batch, scene.fields, scene.texts);
        values.codes(row, |code| {
            values.value(code, |value| {
                let Some(test) = shown.tests.iter().find(|test| test.holds(value)) else { return };
                let text = match (slot, text_of(value)) {
                    (Slot::Event, _) => format!("the event {test}"),
                    (_, Some(text)) => format!("{}={}", shown.field, shortened(&text)),
                    (_, None) if value == FieldRef::Null => format!("{}=null", shown.field),
                    (_, None) => format!("{} is present", shown.field),
                };
                if seen.len() < VALUES_MAX && !seen.contains(&text) {
                    seen.push(text);
                }
            });
        });
    }
    (!seen.is_empty()).then(|| seen.join(", "))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
