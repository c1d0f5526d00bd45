//! How findings are judged: each case is a few findings over a truth table, and what the report says of them.

use palisade_events::entity::{Entity, EntityKind};
use palisade_events::finding::{Attack, Confidence, Evidence};
use palisade_events::time::SECOND;
use palisade_events::{FindingKind, Position};

use super::*;

const TABLE: &str = "stream\tline\ttime\tattack\tscenario\tvariant\trole\tstep\ttechnique
k8s-audit\t10\t2026-03-02T09:00:00Z\t0\tchain\tloud\tattack\tenumerate\tT1613
k8s-audit\t11\t2026-03-02T09:00:10Z\t0\tchain\tloud\tattack\tenumerate\tT1613
falco\t3\t2026-03-02T09:01:00Z\t0\tchain\tloud\tattack\tescape\tT1611
k8s-audit\t40\t2026-03-02T09:05:00Z\t0\tchain\tloud\ttwin\treview\tT1613
k8s-audit\t50\t2026-03-02T10:00:00Z\t1\tchain\tblinded\tattack\tescape\tT1611
";

fn finding(rule: &str, group: &str, at: &str, evidence: &[(Stream, i64)]) -> Finding {
    let at = palisade_events::time::parse_rfc3339(at).unwrap();
    let entity = Entity { kind: EntityKind::Cluster, cluster: "drill".into(), namespace: None, name: "drill".into() };
    Finding {
        finding_uid: format!("{rule}-{group}-{at}"),
        group_uid: group.into(),
        time: at,
        kind: FindingKind::Rule,
        rule_uid: rule.into(),
        rule_version: "1".into(),
        title: rule.to_uppercase(),
        severity: Severity::Medium,
        confidence: Confidence::new(0.5),
        entity: entity.clone(),
        entities: vec![entity],
        owner: None,
        count: 1,
        first_seen: at,
        last_seen: at,
        detected_at: at,
        author: String::new(),
        references: Vec::new(),
        false_positives: Vec::new(),
        triage: Vec::new(),
        attack: Attack::default(),
        explanation: String::new(),
        observed: String::new(),
        expected: String::new(),
        p_value: None,
        evidence: evidence
            .iter()
            .map(|(stream, line)| Evidence {
                time: at,
                event_uid: format!("{line}"),
                source: stream.topic().into(),
                position: Position::File { file: "f".into(), line: *line },
            })
            .collect(),
        excerpt: String::new(),
        coverage: "complete".into(),
        suppressed_by: None,
    }
}

fn report(findings: &[Finding]) -> Report {
    let truth = TruthTable::parse(TABLE).unwrap();
    score(&truth, findings, Scope { length: DAY / 2, least: Severity::Low })
}

#[test]
fn findings_are_credited_to_the_steps_that_their_evidence_is_of() {
    let report = report(&[
        finding("listing", "g1", "2026-03-02T09:00:20Z", &[(Stream::K8sAudit, 10), (Stream::K8sAudit, 11)]),
        finding("listing", "g1", "2026-03-02T09:00:05Z", &[(Stream::K8sAudit, 10)]),
        finding("review", "g2", "2026-03-02T09:05:00Z", &[(Stream::K8sAudit, 40)]),
        finding("noise", "g3", "2026-03-02T09:06:00Z", &[(Stream::K8sAudit, 41)]),
    ]);
    assert_eq!((report.true_findings, report.twin_findings, report.false_findings), (2, 1, 1));
    assert_eq!((report.true_groups, report.twin_groups, report.false_groups), (1, 1, 1));
    assert!((report.recall() - 1.0 / 3.0).abs() < 1e-9 && (report.precision() - 1.0 / 3.0).abs() < 1e-9);
    assert!((report.false_groups_per_day() - 4.0).abs() < 1e-9, "two in half a day");
    let [loud, blinded] = report.runs.as_slice() else { panic!("{:?}", report.runs) };
    let first = loud.detected.as_ref().unwrap();
    assert_eq!(
        (first.title.as_str(), first.after_micros),
        ("LISTING", 5 * SECOND),
        "the earliest, not the first given"
    );
    assert_eq!(loud.twin_findings, 1);
    assert!(loud.steps[1].detected.is_none() && blinded.detected.is_none());
    let techniques: Vec<(&str, u64, u64, u64)> =
        report.techniques.iter().map(|t| (t.technique.as_str(), t.steps, t.detected, t.blinded_steps)).collect();
    assert_eq!(techniques, [("T1611", 2, 0, 1), ("T1613", 1, 1, 0)]);
    let text = report.to_text();
    assert!(text.contains("1 of 2 attacks detected, 33 %") && text.contains("MISSED"), "{text}");
}

#[test]
fn one_labelled_row_among_many_ordinary_ones_is_no_detection() {
    let mut rows: Vec<(Stream, i64)> = (100..111).map(|line| (Stream::K8sAudit, line)).collect();
    rows.push((Stream::K8sAudit, 10));
    let burst = finding("rate", "g", "2026-03-02T09:00:20Z", &rows);
    assert_eq!(report(&[burst]).false_findings, 1);
    let burst = finding("rate", "g", "2026-03-02T09:00:20Z", &rows[2..]);
    assert_eq!(report(&[burst]).true_findings, 1, "a tenth is enough");
}

#[test]
fn a_line_of_another_stream_and_a_finding_below_the_level_count_for_nothing() {
    let other = finding("listing", "g", "2026-03-02T09:00:20Z", &[(Stream::Falco, 10)]);
    assert_eq!(report(&[other]).false_findings, 1);
    let mut low = finding("listing", "g", "2026-03-02T09:00:20Z", &[(Stream::K8sAudit, 10)]);
    low.severity = Severity::Informational;
    let report = report(&[low]);
    assert_eq!((report.true_findings, report.false_findings, report.detectors.len()), (0, 0, 0));
}

#[test]
fn the_difference_of_two_reports_names_what_changed() {
    let before = report(&[finding("listing", "g", "2026-03-02T09:00:20Z", &[(Stream::K8sAudit, 10)])]);
    let after = report(&[finding("escape", "g", "2026-03-02T09:01:20Z", &[(Stream::Falco, 3)])]);
    let diff = before.diff(&after);
    assert!(
        diff.contains("now detected   chain/loud escape") && diff.contains("now MISSED     chain/loud enumerate"),
        "{diff}"
    );
    assert!(
        diff.contains("true 0 -> 1, false 0 -> 0  ESCAPE") && diff.contains("true 1 -> 0, false 0 -> 0  LISTING"),
        "{diff}"
    );
    assert!(before.diff(&before).lines().count() == 3, "{}", before.diff(&before));
}

#[test]
fn layers_have_what_the_navigator_reads() {
    let report = report(&[finding("escape", "g", "2026-03-02T09:01:20Z", &[(Stream::Falco, 3)])]);
    let layer = navigator_layer(&report, "18");
    assert_eq!(layer["domain"], "enterprise-attack");
    assert_eq!(layer["versions"]["attack"], "18");
    let of = |id: &str| {
        let techniques = layer["techniques"].as_array().unwrap();
        techniques.iter().find(|technique| technique["techniqueID"] == id).unwrap().clone()
    };
    assert_eq!(of("T1611")["score"], 50.0);
    assert_eq!(of("T1613")["score"], 0.0);
}

#[test]
fn reports_read_back_as_they_were_written() {
    let report = report(&[finding("escape", "g", "2026-03-02T09:01:20Z", &[(Stream::Falco, 3)])]);
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn tables_with_a_fault_name_the_line() {
    for (line, problem) in [
        ("k8s-audit\t1", "a column is missing"),
        ("nothing\t1\t2026-03-02T09:00:00Z\t0\ts\tloud\tattack\tx\tT1", "no such stream"),
        ("falco\tone\t2026-03-02T09:00:00Z\t0\ts\tloud\tattack\tx\tT1", "no line number"),
        ("falco\t1\tlater\t0\ts\tloud\tattack\tx\tT1", "no time"),
        ("falco\t1\t2026-03-02T09:00:00Z\t0\ts\tloud\tfriend\tx\tT1", "neither attack nor twin"),
    ] {
        let error = TruthTable::parse(&format!("{TRUTH_HEADER}{line}\n")).unwrap_err();
        assert_eq!((error.line, error.problem), (2, problem), "{line}");
    }
}
