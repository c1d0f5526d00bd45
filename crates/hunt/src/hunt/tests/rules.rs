//! Rules over a small lake: as on the stream.

use palisade_rules::{JsonEvent, RuleSet, batch_of_json};
use serde_json::{Value, json};

use super::*;

const RULES: &str = "\
title: exec\nid: r1\nlogsource: {product: kubernetes, service: audit}\n\
detection:\n  s: {verb: create, objectRef.subresource: exec}\n  f: {user.username|startswith: 'system:'}\n  condition: s and not f\n---\n\
title: netcat\nid: r2\nlogsource: {category: process_creation, product: linux}\n\
detection: {s: {Image|endswith: [/nc, /ncat], CommandLine|re: '-e\\s'}, condition: s}\n---\n\
title: port\nid: r3\nlogsource: {category: network_connection}\n\
detection: {s: {DestinationPort|gte: 4444}, f: {DestinationIp|cidr: 10.0.0.0/8}, condition: s and not f}\n---\n\
title: word\nid: r4\nlogsource: {product: shop}\ndetection: {s: [needle], condition: s}\n";

fn of(format: &str, class_uid: i32, columns: Value, event: Value) -> JsonEvent {
    let columns = columns.as_object().cloned().unwrap_or_default();
    JsonEvent { format: format.into(), class_uid, columns, event }
}

fn seen() -> Vec<JsonEvent> {
    let exec = |user: &str| json!({"verb": "create", "objectRef": {"resource": "pods", "subresource": "exec"}, "user": {"username": user}});
    let process = |path: &str, line: &str| json!({"process_file_path": path, "process_cmd_line": line});
    let mut all = vec![
        of("k8s_audit", 6003, json!({"cluster_name": "c"}), exec("alice")),
        of("k8s_audit", 6003, json!({"cluster_name": "c"}), exec("system:admin")),
        of("falco", 1007, process("/usr/bin/nc", "nc -e /bin/sh"), json!({})),
        of("falco", 1007, process("/usr/bin/nc", "nc -l"), json!({})),
        of("flows", 4001, json!({"dst_endpoint_port": 4444, "dst_endpoint_ip": "10.1.1.1"}), json!({})),
        of("flows", 4001, json!({"dst_endpoint_port": 4444}), json!({})),
        of("shop", 0, json!({}), json!({"a": ["NEEDLE"]})),
    ];
    all.extend((0..50).map(|n| of("shop", 0, json!({}), json!({"a": n}))));
    all
}

#[tokio::test]
async fn rules_find_in_history_what_they_found_on_the_stream() {
    let (own, problems) = RuleSet::parse("r.yml", RULES);
    assert!(problems.is_empty(), "{problems:?}");
    // Few rules are a filter themselves; of many, only their logsources are.
    let many: String = (0..100).map(|n| format!("---\n{}", RULES.replace("id: r", &format!("id: r{n}-")))).collect();
    let (many, _) = RuleSet::parse("many.yml", &many);
    assert_eq!(many.rules().len(), 400);
    let plan = Arc::new(FieldPlan::new(many.raw_fields()));
    let batch = batch_of_json(&plan, &seen()).unwrap();
    let place = Place::new(std::slice::from_ref(&batch), &[], &[]).await;
    let hunt = place.hunt().await;
    for (rules, count) in [(own.clone(), 4), (many, 400), (RuleSet::starter().unwrap().merge(own.clone()), 4)] {
        let engine = rules.clone().compile(&Arc::new(FieldPlan::new(rules.raw_fields()))).unwrap();
        let live = engine.evaluate(&batch.with_fields(Vec::new()));
        let mut live = engine.findings(&batch.with_fields(Vec::new()), &live);
        live.sort_unstable_by(|a, b| a.finding_uid.cmp(&b.finding_uid));
        assert!(live.len() >= count, "{live:?}");
        assert_eq!(hunt.findings_of(&rules, 0..1).await.unwrap(), live);
        assert!(hunt.findings_of(&rules, 1..i64::MAX).await.unwrap().is_empty());
    }
    let bound = Limits { rows_max: 3, ..Limits::default() };
    let hunt = Hunt::open_with(place.url(), LakeOptions::default(), bound).await.unwrap();
    assert!(matches!(hunt.findings_of(&own, 0..1).await, Err(Error::TooManyRows { rows_max: 3 })));
}

#[tokio::test]
async fn a_rule_reads_only_the_files_that_can_hold_its_events() {
    let (rules, _) = RuleSet::parse("r.yml", RULES);
    let batch = batch_of_json(&Arc::new(FieldPlan::default()), &seen()).unwrap();
    let place = Place::new(std::slice::from_ref(&batch), &[], &[]).await;
    let hunt = place.hunt().await;
    let stored = texts(&hunt, "EXPLAIN SELECT raw FROM events").await.matches(".parquet").count();
    assert_eq!(stored, 4, "a file for each class");
    for (rule, row) in rules.rules().iter().zip([0, 2, 5, 6]) {
        let matches = hunt.rule_matches(rule, 0..1).await.unwrap();
        let rows = matches.clone().select_columns(&["record_offset"]).unwrap().collect().await.unwrap();
        let rows = pretty_format_batches(&rows).unwrap().to_string();
        assert!(rows.contains(&format!("| {row} ")) && rows.lines().count() == 5, "{}: {rows}", rule.title);
        if rule.title == "word" {
            // Its logsource is a format alone, which is asked for by row group, when a file is open.
            continue;
        }
        let plan = matches.explain(false, false).unwrap().collect().await.unwrap();
        let plan = pretty_format_batches(&plan).unwrap().to_string();
        let read = plan.matches(".parquet").count();
        assert!(read < stored, "{}: {read} files\n{plan}", rule.title);
    }
}
