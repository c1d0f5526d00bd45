//! From a row of the result to a finding.

use std::collections::HashMap;

use arrow::record_batch::RecordBatch;
use palisade_events::finding::{Confidence, Evidence, Finding, FindingKind};
use palisade_events::id::{finding_uid, group_uid};
use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::{date_of, format_rfc3339};
use palisade_events::{Entity, Error, Result};

use self::kept::KeptRows;
use self::result::ResultRows;
use crate::spec::Spec;

mod cell;
mod kept;
mod result;

/// Events named as evidence on one finding; `count` tells how many there were.
const EVIDENCE_MAX: usize = 100;

/// A finding, and all events that the query named for it.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) finding: Finding,
    pub(crate) event_uids: Vec<String>,
}

/// Rows that became findings, and how many could not, for want of an entity.
pub(crate) fn candidates(
    spec: &Spec,
    pane: Pane,
    coverage: PaneCoverage,
    result: &[RecordBatch],
    window: &RecordBatch,
) -> Result<(Vec<Candidate>, u64)> {
    let result = result.iter().map(ResultRows::of).collect::<Result<Vec<_>>>()?;
    let rows = result.iter().flat_map(|rows| (0..rows.count()).map(move |row| (rows, row, rows.evidence(row))));
    let rows: Vec<(&ResultRows<'_>, usize, Vec<String>)> = rows.collect();
    let kept = KeptRows::of(window)?;
    let places = kept.places(rows.iter().flat_map(|(_, _, event_uids)| event_uids).map(String::as_str));
    let judged = Judged { spec, pane, coverage, kept, places };
    let (mut found, mut skipped) = (Vec::new(), 0);
    for (rows, row, event_uids) in rows {
        match judged.candidate(rows, row, event_uids)? {
            Some(candidate) => found.push(candidate),
            None => skipped += 1,
        }
    }
    found.sort_by(|a, b| {
        let key = |c: &'_ Candidate| (c.finding.entity.clone(), c.finding.first_seen, c.finding.finding_uid.clone());
        key(a).cmp(&key(b)).then_with(|| a.finding.explanation.cmp(&b.finding.explanation))
    });
    Ok((found, skipped))
}

/// What the findings of one pane share.
struct Judged<'j> {
    spec: &'j Spec,
    pane: Pane,
    coverage: PaneCoverage,
    kept: KeptRows<'j>,
    /// Where in the window the events are that results name.
    places: HashMap<&'j str, usize>,
}

impl Judged<'_> {
    /// `None` if nobody knows whom the row is about.
    fn candidate(&self, result: &ResultRows<'_>, row: usize, event_uids: Vec<String>) -> Result<Option<Candidate>> {
        let Self { spec, pane, coverage, kept, places } = self;
        let rows: Vec<usize> = event_uids.iter().filter_map(|uid| places.get(uid.as_str()).copied()).collect();
        let Some(entity) = self.entity(result, row, rows.first().copied())? else { return Ok(None) };
        // Rows of the window are in order of time, so the extremes are at the ends.
        let time = |place: Option<&usize>| place.map(|&place| kept.time(place));
        let first = result.first_seen(row).or_else(|| time(rows.iter().min())).unwrap_or(pane.end);
        let last = result.last_seen(row).or_else(|| time(rows.iter().max())).unwrap_or(pane.end);
        let count = result.events(row).unwrap_or_else(|| i64::try_from(event_uids.len().max(1)).unwrap_or(i64::MAX));
        let evidence: Vec<Evidence> = rows.iter().take(EVIDENCE_MAX).map(|&place| kept.evidence(place)).collect();
        let name = entity.to_string();
        let anchor = event_uids.first().cloned().unwrap_or_else(|| format_rfc3339(pane.end));
        let finding = Finding {
            finding_uid: finding_uid(&spec.uid, &name, &anchor),
            group_uid: group_uid(&spec.uid, &name, &date_of(pane.end)),
            time: last,
            kind: FindingKind::Correlation,
            rule_uid: spec.uid.clone(),
            rule_version: spec.version.clone(),
            title: spec.title.clone(),
            severity: spec.level,
            confidence: Confidence::new(spec.confidence),
            entities: self.entities(&entity, rows.first().copied()),
            entity,
            owner: None,
            count,
            first_seen: first,
            last_seen: last,
            detected_at: pane.end,
            author: spec.author.clone(),
            references: spec.references.clone(),
            false_positives: spec.false_positives.clone(),
            triage: spec.triage.clone(),
            attack: spec.attack.clone(),
            explanation: spec.explanation.fill(|column| result.text(column, row)),
            observed: format!(
                "{count} {} within {} s",
                if count == 1 { "event" } else { "events" },
                spec.window_secs()
            ),
            expected: spec.expected.clone(),
            p_value: None,
            excerpt: rows.first().map(|&place| kept.excerpt(place)).unwrap_or_default(),
            evidence,
            coverage: coverage.name().into(),
            suppressed_by: None,
        };
        Ok(Some(Candidate { finding, event_uids }))
    }

    /// Whom a row is about: whom it names, else whom its first evidence names, of the declared kind before others, else
    /// its cluster.
    fn entity(&self, result: &ResultRows<'_>, row: usize, first: Option<usize>) -> Result<Option<Entity>> {
        let kind = result.kind(row).map_err(|why| Error::Detector { uid: self.spec.uid.clone(), why })?;
        let named = kind.and_then(|kind| result.entity(kind, row));
        let involved = || self.kept.entities(first?, kind).into_iter().next();
        Ok(named.or_else(involved).or_else(|| result.cluster(row)))
    }

    /// The primary entity, and whatever else the first evidence names.
    fn entities(&self, primary: &Entity, first: Option<usize>) -> Vec<Entity> {
        let others = first.map(|first| self.kept.entities(first, None)).unwrap_or_default();
        // A query need not say of which cluster its entity is; it is no other one for that.
        let others = others.into_iter().filter(|other| other.kind != primary.kind || other.name != primary.name);
        std::iter::once(primary.clone()).chain(others).collect()
    }
}
