//! Promises of closing one pane: losses, failures, runtimes, and whom results are about.

use super::*;

/// Closes the pane of some events, which all fall into it.
fn close(
    detector: &mut SqlCorrelation,
    coverage: PaneCoverage,
    events: &[Event],
) -> palisade_events::Result<Vec<Finding>> {
    let pane = Panes::new(PANE).of(events[0].time);
    let mut fold = detector.lane();
    fold.fold(&batch(events), &[(pane, (0..events.len() as u32).collect())]).unwrap();
    let partial = fold.take(pane).unwrap();
    detector.close(pane, coverage, &Vec::from_iter(partial))
}

#[test]
fn lossy_panes_mark_findings_of_their_window() {
    let mut detector = SqlCorrelation::new(named("secrets_after_exec"), Bounds::default()).unwrap();
    let mut close = |events: &[Event], coverage| close(&mut detector, coverage, events).unwrap();
    assert!(close(&[session(1, 5, "eve", "db-0")], PaneCoverage::Lossy).is_empty());
    assert_eq!(close(&[secret(2, 15, "eve")], PaneCoverage::Complete)[0].coverage, "lossy");
    assert!(close(&[session(3, 1_005, "eve", "db-0")], PaneCoverage::Complete).is_empty());
    assert_eq!(close(&[secret(4, 1_015, "eve")], PaneCoverage::Complete)[0].coverage, "complete");
}

#[test]
fn lossy_panes_without_events_mark_findings_of_their_window() {
    let mut detector = SqlCorrelation::new(named("secrets_after_exec"), Bounds::default()).unwrap();
    let complete = PaneCoverage::Complete;
    let lose = |detector: &mut SqlCorrelation, secs: i64| {
        let found = detector.close(Panes::new(PANE).of(secs * SECOND), PaneCoverage::Lossy, &[]).unwrap();
        assert!(found.is_empty());
    };
    assert!(close(&mut detector, complete, &[session(1, 5, "eve", "db-0")]).unwrap().is_empty());
    lose(&mut detector, 10);
    assert_eq!(close(&mut detector, complete, &[secret(2, 25, "eve")]).unwrap()[0].coverage, "lossy");
    lose(&mut detector, 500);
    assert!(close(&mut detector, complete, &[session(3, 1_005, "eve", "db-0")]).unwrap().is_empty());
    let later = close(&mut detector, complete, &[secret(4, 1_015, "eve")]).unwrap();
    assert_eq!(later[0].coverage, "complete", "what was lost lies before the window");
}

fn found_in_a_short_story() -> RecordBatch {
    let events = [session(1, 5, "eve", "db-0"), secret(2, 15, "eve"), secret(3, 25, "eve")];
    let (findings, _) = stream(&named("secrets_after_exec"), &events, WHOLE, Bounds::default());
    assert_eq!(findings.len(), 1);
    bytes(&findings)
}

#[test]
fn closing_inside_a_runtime_gives_the_same_findings() {
    let outside = found_in_a_short_story();
    let single = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(single.block_on(async { found_in_a_short_story() }), outside);
    let several = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let blocking = several.block_on(async { tokio::task::spawn_blocking(found_in_a_short_story).await.unwrap() });
    assert_eq!(blocking, outside);
    assert_eq!(several.block_on(async { found_in_a_short_story() }), outside);
}

#[test]
fn a_failed_query_keeps_its_rows_and_marks_the_window() {
    // One row of a user divides by zero, two do not.
    let sql = "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, 10 / (count(*) - 1) AS n,
                      array_agg(event_uid ORDER BY time, event_uid) AS evidence
               FROM events GROUP BY actor_user_name";
    let mut detector = SqlCorrelation::new(spec_of(sql).unwrap(), Bounds::default()).unwrap();
    let failure = close(&mut detector, PaneCoverage::Complete, &[event(1, 5, "eve")]).unwrap_err();
    assert!(failure.to_string().contains("zero"), "{failure}");
    assert_eq!(detector.rows(), 1);
    let findings = close(&mut detector, PaneCoverage::Complete, &[event(2, 15, "eve")]).unwrap();
    assert_eq!((findings.len(), findings[0].evidence.len(), findings[0].coverage.as_str()), (1, 2, "lossy"));
}

#[test]
fn results_without_a_name_are_about_whom_their_evidence_names() {
    let sql = "SELECT 'user' AS entity_kind, actor_user_name AS entity_name, make_array(event_uid) AS evidence
               FROM events WHERE resource_type = 'secrets'";
    let mut detector = SqlCorrelation::new(spec_of(sql).unwrap(), Bounds::default()).unwrap();
    let nobody = |uid, pod, namespace| Event { user: "", pod, namespace, ..secret(uid, 5, "") };
    let events = [secret(1, 5, "eve"), nobody(2, "db-0", "shop"), nobody(3, "", "shop"), nobody(4, "", "")];
    let findings = close(&mut detector, PaneCoverage::Complete, &events).unwrap();
    let told: Vec<String> = findings.iter().map(|f| f.entity.to_string()).collect();
    assert_eq!(told, ["workload:prod/shop/db", "user:/eve", "namespace:prod/shop", "cluster:prod/prod"]);
    assert!(findings.iter().all(|f| f.entities.first() == Some(&f.entity)));
    let involved: Vec<String> = findings[1].entities.iter().map(ToString::to_string).collect();
    assert_eq!(involved, ["user:/eve", "namespace:prod/shop", "cluster:prod/prod"]);
    assert_eq!(detector.counters().results_skipped, 0);
}

#[test]
fn declared_kinds_come_before_others_and_results_about_nobody_are_counted() {
    const NOBODY: &str = "CAST(NULL AS VARCHAR) AS entity_name";
    let found = |sql: String| {
        let mut detector = SqlCorrelation::new(spec_of(&sql).unwrap(), Bounds::default()).unwrap();
        let events = [Event { pod: "db-0", ..secret(1, 5, "eve") }];
        let findings = close(&mut detector, PaneCoverage::Complete, &events).unwrap();
        let told: Vec<String> = findings.iter().map(|f| f.entity.to_string()).collect();
        (told, detector.gauges())
    };
    let (told, _) =
        found(format!("SELECT 'user' AS entity_kind, {NOBODY}, make_array(event_uid) AS evidence FROM events"));
    assert_eq!(told, ["user:prod/eve"], "not its workload");
    let unknown = "make_array('no such event') AS evidence FROM events";
    let (told, _) = found(format!("SELECT 'user' AS entity_kind, {NOBODY}, cluster_name, {unknown}"));
    assert_eq!(told, ["cluster:prod/prod"]);
    let (told, gauges) = found(format!("SELECT 'user' AS entity_kind, {NOBODY}, {unknown}"));
    assert!(told.is_empty());
    assert_eq!(gauges, [("rows", 1), ("incidents", 0), ("rows_dropped", 0), ("results_skipped", 1)]);
}
