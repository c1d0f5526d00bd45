//! Findings against the truth: what was detected, by what, after how long, and what should not have been found.
//!
//! Not here: running a pipeline over a drill, which is for whoever has one. How a finding is judged:
//!
//! * Its evidence rows are looked up in the truth. It is credited to each attack step that made at least a tenth of them: a
//!   burst of ordinary events that one labelled record happens to be among has found nothing.
//! * A finding that is credited to a step is *true*. One whose evidence is of a benign twin, and of no attack, is a *twin*
//!   finding; any other is *false*. Both count against the detector.
//! * Precision is by group, as an analyst is shown them: one rule about one entity on one day. Recall is by step and by
//!   attack.

mod layer;
mod report;
mod truth;

use std::collections::{BTreeMap, BTreeSet};

use palisade_events::position::Position;
use palisade_events::time::{DAY, Micros};
use palisade_events::{Finding, Severity};

pub use layer::navigator_layer;
pub use report::{Detection, Detector, Report, RunScore, StepScore, TechniqueScore};
pub use truth::{LOSSES_HEADER, TRUTH_HEADER, TruthError, TruthRow, TruthTable, loss_line, truth_line};

use crate::record::{Role, Stream};

/// What a drill was, as far as scoring needs it.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// Microseconds that the drill lasted.
    pub length: Micros,
    /// Findings below this are left out.
    pub least: Severity,
}

/// Judges findings by a drill's truth. A source is known by the topic of its stream ([`Stream::topic`]), its records by
/// their number in the stream's one file.
pub fn score(truth: &TruthTable, findings: &[Finding], scope: Scope) -> Report {
    let mut tally = Tally::new(truth);
    for finding in findings.iter().filter(|finding| finding.severity >= scope.least) {
        tally.add(finding);
    }
    tally.report(truth, scope)
}

/// How a finding was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    True,
    Twin,
    False,
}

struct Tally<'t> {
    truth: &'t TruthTable,
    /// By (run, step): the first detection.
    steps: BTreeMap<(u16, String), Vec<Detection>>,
    /// By run: twins that were found.
    twins: BTreeMap<u16, u64>,
    groups: BTreeMap<String, Verdict>,
    detectors: BTreeMap<String, Detector>,
    detector_groups: BTreeSet<(String, String, Verdict)>,
    findings: [u64; 3],
}

impl<'t> Tally<'t> {
    fn new(truth: &'t TruthTable) -> Self {
        Self {
            truth,
            steps: BTreeMap::new(),
            twins: BTreeMap::new(),
            groups: BTreeMap::new(),
            detectors: BTreeMap::new(),
            detector_groups: BTreeSet::new(),
            findings: [0; 3],
        }
    }

    fn add(&mut self, finding: &Finding) {
        let mut rows: BTreeMap<(u16, &str), u64> = BTreeMap::new();
        let mut twin = None;
        for evidence in &finding.evidence {
            let Some(stream) = Stream::of_topic(&evidence.source) else { continue };
            let Some(line) = line_of(&evidence.position) else { continue };
            let Some(row) = self.truth.row(stream, line) else { continue };
            match row.role {
                Role::Attack => *rows.entry((row.attack, row.step.as_str())).or_default() += 1,
                Role::Twin => twin = Some(row.attack),
            }
        }
        let all = finding.evidence.len() as u64;
        rows.retain(|_, count| *count * 10 >= all);
        let verdict = match (rows.is_empty(), twin) {
            (false, _) => Verdict::True,
            (true, Some(_)) => Verdict::Twin,
            (true, None) => Verdict::False,
        };
        for (attack, step) in rows.keys() {
            let began = self.truth.began(*attack, step).unwrap_or(finding.first_seen);
            self.steps.entry((*attack, (*step).to_owned())).or_default().push(Detection {
                rule_uid: finding.rule_uid.clone(),
                title: finding.title.clone(),
                kind: finding.kind,
                finding_uid: finding.finding_uid.clone(),
                detected_at: finding.detected_at,
                after_micros: finding.detected_at.saturating_sub(began).max(0),
            });
        }
        if let (Verdict::Twin, Some(attack)) = (verdict, twin) {
            *self.twins.entry(attack).or_default() += 1;
        }
        self.findings[verdict as usize] += 1;
        // A group is as good as the best finding in it: somebody who looks at it sees the attack.
        let group = self.groups.entry(finding.group_uid.clone()).or_insert(verdict);
        *group = (*group).min(verdict);
        let detector = self.detectors.entry(finding.rule_uid.clone()).or_insert_with(|| Detector {
            rule_uid: finding.rule_uid.clone(),
            title: finding.title.clone(),
            kind: finding.kind,
            true_groups: 0,
            twin_groups: 0,
            false_groups: 0,
        });
        let group = (finding.rule_uid.clone(), finding.group_uid.clone(), verdict);
        if self.detector_groups.insert(group) {
            *match verdict {
                Verdict::True => &mut detector.true_groups,
                Verdict::Twin => &mut detector.twin_groups,
                Verdict::False => &mut detector.false_groups,
            } += 1;
        }
    }

    fn report(mut self, truth: &TruthTable, scope: Scope) -> Report {
        for detections in self.steps.values_mut() {
            detections.sort_by(|a, b| (a.detected_at, &a.finding_uid).cmp(&(b.detected_at, &b.finding_uid)));
        }
        let mut runs: BTreeMap<u16, RunScore> = BTreeMap::new();
        let mut techniques: BTreeMap<String, TechniqueScore> = BTreeMap::new();
        for step in truth.steps() {
            let run = runs.entry(step.attack).or_insert_with(|| RunScore {
                attack: step.attack,
                scenario: step.scenario.clone(),
                variant: step.variant.clone(),
                began: step.began,
                detected: None,
                steps: Vec::new(),
                twin_findings: self.twins.get(&step.attack).copied().unwrap_or(0),
            });
            run.began = run.began.min(step.began);
            if step.role == Role::Twin {
                continue;
            }
            let detections = self.steps.remove(&(step.attack, step.step.clone())).unwrap_or_default();
            let first = detections.first().cloned();
            let by: BTreeSet<String> = detections.iter().map(|detection| detection.title.clone()).collect();
            let technique = techniques.entry(step.technique.clone()).or_insert_with(|| TechniqueScore {
                technique: step.technique.clone(),
                steps: 0,
                detected: 0,
                blinded_steps: 0,
                blinded_detected: 0,
            });
            technique.steps += 1;
            technique.detected += u64::from(first.is_some());
            if step.variant == "blinded" {
                technique.blinded_steps += 1;
                technique.blinded_detected += u64::from(first.is_some());
            }
            run.steps.push(StepScore {
                step: step.step.clone(),
                technique: step.technique.clone(),
                records: step.records,
                began: step.began,
                detected: first,
                by: by.into_iter().collect(),
            });
        }
        for run in runs.values_mut() {
            let first =
                run.steps.iter().filter_map(|step| step.detected.as_ref()).min_by_key(|first| first.detected_at);
            run.detected = first
                .cloned()
                .map(|first| Detection { after_micros: first.detected_at.saturating_sub(run.began).max(0), ..first });
        }
        let count = |verdict: Verdict| self.groups.values().filter(|of| **of == verdict).count() as u64;
        Report {
            days: scope.length as f64 / DAY as f64,
            least: scope.least,
            true_findings: self.findings[Verdict::True as usize],
            twin_findings: self.findings[Verdict::Twin as usize],
            false_findings: self.findings[Verdict::False as usize],
            true_groups: count(Verdict::True),
            twin_groups: count(Verdict::Twin),
            false_groups: count(Verdict::False),
            runs: runs.into_values().filter(|run| !run.steps.is_empty()).collect(),
            techniques: techniques.into_values().collect(),
            detectors: self.detectors.into_values().collect(),
        }
    }
}

/// The line of a record in its stream's file, from 1.
fn line_of(position: &Position) -> Option<u64> {
    match position {
        Position::File { line, .. } => u64::try_from(*line).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
