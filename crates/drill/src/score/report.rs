//! What scoring comes to: for machines as JSON, for people as a table, and the difference between two runs.
//!
//! Not here: the judging (see the parent), nor the ATT&CK Navigator's layer (see `layer`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use palisade_events::time::{Micros, SECOND};
use palisade_events::{FindingKind, Severity};
use serde::{Deserialize, Serialize};

/// The score of a pipeline over a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Simulated days.
    pub days: f64,
    /// Findings below this were left out.
    pub least: Severity,
    /// Findings that show an attack.
    pub true_findings: u64,
    /// Findings about benign twins.
    pub twin_findings: u64,
    /// Findings about ordinary life.
    pub false_findings: u64,
    /// The same in groups: one rule about one entity on one day.
    pub true_groups: u64,
    /// Groups about benign twins.
    pub twin_groups: u64,
    /// Groups about ordinary life.
    pub false_groups: u64,
    /// By run of a scenario, in the order of the drill's settings.
    pub runs: Vec<RunScore>,
    /// By ATT&CK technique, in order.
    pub techniques: Vec<TechniqueScore>,
    /// By detector, in the order of their ids.
    pub detectors: Vec<Detector>,
}

/// The score of one run of a scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunScore {
    /// Its number in the drill.
    pub attack: u16,
    /// The scenario's id.
    pub scenario: String,
    /// How it was run.
    pub variant: String,
    /// Time of its first record.
    pub began: Micros,
    /// What told of it first, if anything did; `after_micros` counts from the run's beginning.
    pub detected: Option<Detection>,
    /// Its steps, in order of time.
    pub steps: Vec<StepScore>,
    /// Findings about its benign twins.
    pub twin_findings: u64,
}

/// The score of one step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepScore {
    /// The step's id.
    pub step: String,
    /// Its technique.
    pub technique: String,
    /// Records that it left, over all streams.
    pub records: u64,
    /// Time of the first of them.
    pub began: Micros,
    /// What told of it first, if anything did; `after_micros` counts from the step's beginning.
    pub detected: Option<Detection>,
    /// Titles of all that told of it.
    pub by: Vec<String>,
}

/// How a step or a run was detected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detection {
    /// Rule or detector.
    pub rule_uid: String,
    /// Its title.
    pub title: String,
    /// Its kind.
    pub kind: FindingKind,
    /// The finding.
    pub finding_uid: String,
    /// When the stream could know it.
    pub detected_at: Micros,
    /// Time to detect, microseconds.
    pub after_micros: Micros,
}

/// How a technique fared over all runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TechniqueScore {
    /// As `T1611`.
    pub technique: String,
    /// Steps that used it.
    pub steps: u64,
    /// Those that were detected.
    pub detected: u64,
    /// Of the steps, those of blinded runs.
    pub blinded_steps: u64,
    /// Of those, the detected.
    pub blinded_detected: u64,
}

/// What one detector was worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector {
    /// Rule or detector.
    pub rule_uid: String,
    /// Its title.
    pub title: String,
    /// Its kind.
    pub kind: FindingKind,
    /// Groups of findings that show an attack.
    pub true_groups: u64,
    /// About benign twins.
    pub twin_groups: u64,
    /// About ordinary life.
    pub false_groups: u64,
}

impl Report {
    /// Groups that show an attack, of all groups; 1 without any group.
    pub fn precision(&self) -> f64 {
        share(self.true_groups, self.true_groups + self.twin_groups + self.false_groups)
    }

    /// Steps that were detected, of all steps.
    pub fn recall(&self) -> f64 {
        let steps = self.runs.iter().flat_map(|run| &run.steps);
        let (all, found) =
            steps.fold((0, 0), |(all, found), step| (all + 1, found + u64::from(step.detected.is_some())));
        share(found, all)
    }

    /// Runs of which at least one step was detected, and all runs; of a variant, or of all.
    pub fn runs_detected(&self, variant: Option<&str>) -> (u64, u64) {
        let runs = self.runs.iter().filter(|run| variant.is_none_or(|variant| run.variant == variant));
        runs.fold((0, 0), |(found, all), run| (found + u64::from(run.detected.is_some()), all + 1))
    }

    /// Groups about ordinary life and about twins, for each simulated day.
    pub fn false_groups_per_day(&self) -> f64 {
        if self.days > 0.0 { (self.twin_groups + self.false_groups) as f64 / self.days } else { 0.0 }
    }

    /// The table for people.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let (found, all) = self.runs_detected(None);
        if all == 0 {
            out.push_str("no attack left a record\n");
        } else {
            let _ = writeln!(out, "{found} of {all} attacks detected, {:.0} % of their steps", self.recall() * 100.0);
        }
        for variant in ["loud", "quiet", "slow", "blinded"] {
            let (found, all) = self.runs_detected(Some(variant));
            if all > 0 {
                let _ = writeln!(out, "  {variant:<9} {found} of {all}");
            }
        }
        let _ = writeln!(
            out,
            "findings from {}: {} true, {} about benign twins, {} false, in {} + {} + {} groups",
            self.least.name(),
            self.true_findings,
            self.twin_findings,
            self.false_findings,
            self.true_groups,
            self.twin_groups,
            self.false_groups
        );
        let _ = writeln!(
            out,
            "precision {:.0} % of groups; {:.1} false groups a day over {:.2} simulated days\n",
            self.precision() * 100.0,
            self.false_groups_per_day(),
            self.days
        );
        let _ = writeln!(out, "{:<44} {:<9} {:>7} {:>9}  first told by", "scenario", "variant", "steps", "after");
        for run in &self.runs {
            let found = run.steps.iter().filter(|step| step.detected.is_some()).count();
            let steps = format!("{found}/{}", run.steps.len());
            let (after, by) = match &run.detected {
                Some(first) => (length(first.after_micros), first.title.as_str()),
                None => ("-".into(), "MISSED"),
            };
            let twins = match run.twin_findings {
                0 => String::new(),
                n => format!("  [{n} about its twins]"),
            };
            let _ = writeln!(out, "{:<44} {:<9} {steps:>7} {after:>9}  {by}{twins}", run.scenario, run.variant);
        }
        let missed: Vec<String> = self
            .runs
            .iter()
            .flat_map(|run| run.steps.iter().filter(|step| step.detected.is_none()).map(move |step| (run, step)))
            .map(|(run, step)| format!("  {}/{} {} ({})", run.scenario, run.variant, step.step, step.technique))
            .collect();
        if !missed.is_empty() {
            let _ = writeln!(out, "\nsteps that nothing told of:\n{}", missed.join("\n"));
        }
        let _ = writeln!(out, "\n{:<12} {:>9} {:>17}", "technique", "detected", "of these blinded");
        for technique in &self.techniques {
            let all = format!("{}/{}", technique.detected, technique.steps);
            let blinded = format!("{}/{}", technique.blinded_detected, technique.blinded_steps);
            let _ = writeln!(out, "{:<12} {all:>9} {blinded:>17}", technique.technique);
        }
        let _ = writeln!(out, "\n{:>6} {:>6} {:>6}  detector (groups)", "true", "twin", "false");
        let mut detectors: Vec<&Detector> = self.detectors.iter().collect();
        detectors.sort_by_key(|detector| std::cmp::Reverse(detector.false_groups + detector.twin_groups));
        for Detector { title, true_groups, twin_groups, false_groups, .. } in detectors {
            let _ = writeln!(out, "{true_groups:>6} {twin_groups:>6} {false_groups:>6}  {title}");
        }
        out
    }

    /// What is different in a later report: runs and steps by scenario and variant, totals, detectors.
    pub fn diff(&self, later: &Self) -> String {
        let mut out = String::new();
        let totals = [
            ("steps detected, %", self.recall() * 100.0, later.recall() * 100.0),
            ("precision, %", self.precision() * 100.0, later.precision() * 100.0),
            ("false groups a day", self.false_groups_per_day(), later.false_groups_per_day()),
        ];
        for (name, before, after) in totals {
            let _ = writeln!(out, "{name:<20} {before:>7.1} -> {after:>7.1} ({:+.1})", after - before);
        }
        let (before, after) = (steps_of(self), steps_of(later));
        for (key, is_found) in &after {
            let change = match (before.get(key), is_found) {
                (None, true) => "new, detected",
                (None, false) => "new, MISSED",
                (Some(false), true) => "now detected",
                (Some(true), false) => "now MISSED",
                _ => continue,
            };
            let _ = writeln!(out, "{change:<14} {}/{} {} (run {})", key.0, key.1, key.3, key.2);
        }
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            let _ = writeln!(out, "{:<14} {}/{} {} (run {})", "gone", key.0, key.1, key.3, key.2);
        }
        let of = |report: &Self| -> BTreeMap<String, Detector> {
            report.detectors.iter().map(|detector| (detector.rule_uid.clone(), detector.clone())).collect()
        };
        let (before, after) = (of(self), of(later));
        for (uid, now) in &after {
            let was = before.get(uid).map_or((0, 0), |was| (was.true_groups, was.twin_groups + was.false_groups));
            let is = (now.true_groups, now.twin_groups + now.false_groups);
            if was != is {
                let _ = writeln!(out, "true {} -> {}, false {} -> {}  {}", was.0, is.0, was.1, is.1, now.title);
            }
        }
        for (_, was) in before.iter().filter(|(uid, _)| !after.contains_key(*uid)) {
            let wrong = was.twin_groups + was.false_groups;
            let _ = writeln!(out, "true {} -> 0, false {wrong} -> 0  {}", was.true_groups, was.title);
        }
        out
    }
}

/// Whether each step was detected, by scenario, variant, how often this pair ran before, and step.
fn steps_of(report: &Report) -> BTreeMap<(String, String, usize, String), bool> {
    let mut runs: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut steps = BTreeMap::new();
    for run in &report.runs {
        let nth = runs.entry((&run.scenario, &run.variant)).or_default();
        *nth += 1;
        for step in &run.steps {
            let key = (run.scenario.clone(), run.variant.clone(), *nth, step.step.clone());
            steps.insert(key, step.detected.is_some());
        }
    }
    steps
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// `0.3 s`, `12 s`, `4 min`, `3.1 h`, `2.0 d`.
fn length(micros: Micros) -> String {
    let secs = micros as f64 / SECOND as f64;
    match secs {
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}
