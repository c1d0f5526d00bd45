//! The column engine against the cases of the corpus, public rules, and an evaluator that is plain and slow.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::{JsonEvent, RuleSet, batch_of_json};

mod naive;
mod random;

fn shared() -> Option<PathBuf> {
    crate::testing::shared("sigma")
}

fn event(event: Value) -> JsonEvent {
    JsonEvent { format: "test".into(), event, ..JsonEvent::default() }
}

/// JSON is YAML, so a detection can stand in a rule as it is.
fn rule(title: &str, detection: &Value) -> String {
    format!("title: '{title}'\nlogsource: {{product: test}}\ndetection: {detection}\n")
}

fn compile(text: &str) -> Result<Engine, String> {
    let (rules, problems) = RuleSet::parse("test.yml", text);
    if let Some(problem) = problems.into_iter().find(|p| p.fatal) {
        return Err(problem.why);
    }
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    rules.compile(&plan).map_err(|e| e.to_string())
}

fn holds(detection: &Value, event: JsonEvent) -> Result<bool, String> {
    let engine = compile(&rule("case", detection))?;
    let batch = batch_of_json(engine.plan(), &[event]).map_err(|e| e.to_string())?;
    Ok(!engine.evaluate(&batch).is_empty())
}

#[test]
fn every_edge_case_has_its_expected_outcome() {
    let Some(shared) = shared() else { return };
    let cases: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(shared.join("edge_cases.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        // The longest list of the public rules is written in short there.
        let detection = if case["detection"].is_string() {
            let values: Vec<String> = (0..4432).map(|n| format!("v{n}")).collect();
            json!({"sel": {"F": values}, "condition": "sel"})
        } else {
            case["detection"].clone()
        };
        let outcome = holds(&detection, event(case["event"].clone()));
        let as_expected = match (&case["expected"], &outcome) {
            (Value::String(_), Err(_)) => true,
            (Value::Number(n), Ok(holds)) => (n.as_i64() == Some(1)) == *holds,
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{number} {}: {} on {}: {outcome:?}", case["case"], case["detection"], case["event"]));
        }
    }
    assert_eq!(cases.len(), 263);
    assert_eq!(wrong, Vec::<String>::new(), "{} of {} differ", wrong.len(), cases.len());
}

#[test]
fn public_rules_load_without_a_refusal() {
    let Some(shared) = shared() else { return };
    let (rules, problems) = RuleSet::load(&[shared.join("rules")]).unwrap();
    let refused: Vec<String> = problems.iter().filter(|p| p.fatal).map(ToString::to_string).collect();
    assert_eq!(refused, Vec::<String>::new());
    assert_eq!(rules.rules().len(), 3140);
    let dead = rules.dead(&["k8s_audit", "auditd", "falco"]).len();
    // Alive: kubernetes audit 16, auditd 53, and the rules over rows of any format: processes, files and connections.
    assert!((2500..3000).contains(&dead), "{dead} dead");
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    let engine = rules.compile(&plan).unwrap();
    let batch = batch_of_json(&plan, &[event(json!({"F": 1}))]).unwrap();
    assert_eq!(engine.evaluate(&batch), []);
}

#[test]
fn public_kubernetes_rules_fire_on_raw_audit_events() {
    let Some(shared) = shared() else { return };
    let (rules, _) = RuleSet::load(&[shared.join("rules/application/kubernetes")]).unwrap();
    let engine = rules.clone().compile(&Arc::new(FieldPlan::new(rules.raw_fields()))).unwrap();
    let pod = |spec: Value| {
        json!({"verb": "create", "objectRef": {"resource": "pods", "namespace": "kube-system"},
               "requestObject": {"spec": spec}, "stage": "ResponseComplete"})
    };
    let events = [
        pod(json!({"volumes": [{"hostPath": {"path": "/"}}]})),
        pod(json!({"containers": [{"name": "a"}, {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]})),
        json!({"verb": "create", "objectRef": {"resource": "selfsubjectrulesreviews", "apiGroup": "authorization.k8s.io"}}),
        json!({"verb": "create", "objectRef": {"resource": "pods", "subresource": "exec"}}),
    ];
    let events = events.map(|event| JsonEvent { format: "k8s_audit".into(), event, ..JsonEvent::default() });
    let batch = batch_of_json(engine.plan(), &events).unwrap();
    let mut fired = vec![Vec::new(); events.len()];
    for found in engine.evaluate(&batch) {
        fired[found.row as usize].push(engine.rules()[found.rule as usize].title.as_str());
    }
    fired.iter_mut().for_each(|titles| titles.sort_unstable());
    assert_eq!(fired[0], ["Container With A hostPath Mount Created", "Creation Of Pod In System Namespace"]);
    assert_eq!(fired[1], ["Creation Of Pod In System Namespace", "Privileged Container Deployed"]);
    assert_eq!(fired[2], ["RBAC Permission Enumeration Attempt"]);
    assert_eq!(fired[3], ["Potential Remote Command Execution In Pod Container"]);
}

/// Rules of every shape over a small vocabulary, in which the values of [`random::events`] are found by chance.
fn rules_of_every_shape() -> String {
    let many: Vec<String> = (0..20).map(|n| format!("v{n}")).chain(["whoami".into(), "-enc".into()]).collect();
    let detections = [
        json!({"s": {"F": "ab"}, "condition": "s"}),
        json!({"s": {"F|contains": ["a", "B"], "G|startswith": "x"}, "condition": "s"}),
        json!({"s": {"F|endswith": "b"}, "f": {"G": "xy"}, "condition": "s and not f"}),
        json!({"s": {"F": ["a*b", "?", 1]}, "t": {"G": null}, "condition": "s or t"}),
        json!({"s_1": {"F|contains|all": ["a", "b"]}, "s_2": {"G|exists": true}, "s_3": {"H|gt": 0}, "condition": "2 of s_*"}),
        json!({"s": [{"F": "a"}, {"G|re": "^x.?$"}], "condition": "not s"}),
        json!({"s": {"H": [0, 1.5, "1"]}, "condition": "s"}),
        json!({"s": {"F|neq": ["a", "b"]}, "t": {"G|cased": "X"}, "condition": "s and t or not t and not s"}),
        json!({"s": ["ab", "x*y"], "f": {"H": "true"}, "condition": "s and not f"}),
        json!({"s": {"|all": ["a", "x"]}, "condition": "s"}),
        json!({"s": {"F|fieldref": "G"}, "condition": "s"}),
        json!({"s": {"F": "*"}, "t": {"G": ""}, "u": {"H|lte": 1}, "condition": "all of them"}),
        json!({"s": {"K.L": "a"}, "t": {"K.L|contains": "b"}, "condition": "s and t"}),
        json!({"s": {"F": "b"}, "t": {"F": "b", "G": "x"}, "condition": "not 1 of them"}),
        json!({"s": {"F|re": "curl.*sh$"}, "t": {"G|re": "^(whoami|id)"}, "condition": "s or t"}),
        json!({"s": {"F|re": ["(?i)WHO..I", "b{3,}"]}, "f": {"G|contains": "-enc"}, "condition": "s and not f"}),
        json!({"s": {"F": ["*url*sh", "who?mi"]}, "condition": "s"}),
        json!({"s": {"F|contains": many.clone()}, "condition": "s"}),
        json!({"s": {"F|endswith": ["-enc", "c", "| SH"], "G|startswith": ["cu", "w", "xy"]}, "condition": "s"}),
        json!({"s": {"G": many}, "condition": "s"}),
        json!({"s": ["whoami", "say \"hi\"", "C:\\\\tmp"], "condition": "s"}),
        json!({"s": ["whoami"], "t": {"F|exists": true}, "condition": "not s and not t"}),
        json!({"s": ["tab\there", "whoa"], "condition": "s"}),
    ];
    let all: Vec<String> = detections.iter().enumerate().map(|(n, d)| rule(&format!("rule {n:02}"), d)).collect();
    all.join("---\n")
}

fn matches_of(engine: &Engine, batch: &EventBatch) -> Vec<(String, usize)> {
    let of = |m: &Match| (engine.rules()[m.rule as usize].title.clone(), m.row as usize);
    let mut all: Vec<_> = engine.evaluate(batch).iter().map(of).collect();
    all.sort_unstable();
    all
}

#[test]
fn rules_see_only_rows_of_their_logsource() {
    let text = "\
title: audit\nlogsource: {product: kubernetes, service: audit}\ndetection: {s: {verb: get}, condition: s}\n---\n\
title: process\nlogsource: {category: process_creation, product: linux}\n\
detection: {s: {Image|endswith: /nc}, condition: s}\n---\n\
title: connection\nlogsource: {category: network_connection}\n\
detection: {s: {Initiated: 'true', DestinationPort: 53}, condition: s}\n---\n\
title: mine\nlogsource: {product: shop}\ndetection: {s: {verb: get}, condition: s}\n";
    let engine = compile(text).unwrap();
    let of = |format: &str, class_uid: i32, columns: Value, event: Value| JsonEvent {
        format: format.into(),
        class_uid,
        columns: columns.as_object().cloned().unwrap_or_default(),
        event,
    };
    let nc = json!({"process_file_path": "/bin/nc", "process_cmd_line": "nc -l"});
    let events = [
        of("k8s_audit", 6003, json!({}), json!({"verb": "get"})),
        of("shop", 0, json!({}), json!({"verb": "get"})),
        of("other", 0, nc.clone(), json!({"verb": "get"})),
        of("other", 1007, nc.clone(), json!({})),
        of("falco", 2004, nc.clone(), json!({})),
        of("auditd", 1001, nc, json!({})),
        of("auditd", 0, json!({"process_file_path": "/bin/nc", "syscall": "execve"}), json!({})),
        of("auditd", 4001, json!({"syscall": "connect", "dst_endpoint_port": 53}), json!({})),
        of("flows", 4001, json!({"connection_info_direction": "inbound", "dst_endpoint_port": 53}), json!({})),
    ];
    let batch = batch_of_json(engine.plan(), &events).unwrap();
    let expected = [("audit", 0), ("connection", 7), ("mine", 1), ("process", 3), ("process", 4), ("process", 6)];
    assert_eq!(matches_of(&engine, &batch), expected.map(|(title, row)| (title.to_owned(), row)));
    let (rules, _) = RuleSet::parse("r.yml", text);
    let dead: Vec<&str> = rules.dead(&["k8s_audit"]).iter().map(|r| r.title.as_str()).collect();
    assert_eq!(dead, ["mine"]);
}

#[test]
fn one_engine_serves_many_threads() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Engine>();
}

#[test]
fn whole_numbers_compare_by_all_their_digits() {
    let (beyond, next) = ("18446744073709551616", "18446744073709551617");
    for (detection, number, expected) in [
        (json!({"F": beyond}), beyond, true),
        (json!({"F": beyond}), next, false),
        (json!({"F|contains": "9551617"}), next, true),
        (json!({"F|re": "^1844.*6$"}), beyond, true),
        (json!({"F|gt": i64::MAX}), beyond, true),
        (json!({"F|lt": i64::MIN}), "-9223372036854775809", true),
        (json!({"F|gte": i64::MIN}), "-9223372036854775809", false),
        (json!({"F|gt": 1.5}), next, true),
        (json!({"F": i64::MAX}), "9223372036854775808", false),
        (json!({"F": i64::MAX}), "9223372036854775807", true),
        (json!({"F|fieldref": "G"}), beyond, true),
        (json!({"F|fieldref": "G"}), next, false),
    ] {
        let text = rule("r", &json!({"s": detection, "condition": "s"})).replace("product: test", "product: json");
        let engine = compile(&text).unwrap();
        let lines =
            [format!(r#"{{"F": {number}, "G": {beyond}}}"#), format!(r#"{{"\u0046": [{number}], "G": "{beyond}"}}"#)];
        let batch = crate::batch_of_lines(engine.plan(), lines.iter().map(String::as_str)).unwrap();
        let rows: Vec<usize> = matches_of(&engine, &batch).into_iter().map(|(_, row)| row).collect();
        assert_eq!(rows, if expected { vec![0, 1] } else { vec![] }, "{detection} on {number}");
    }
}

#[test]
fn brackets_before_array_matching_are_part_of_the_name() {
    for (field, key) in [("a[b]", "a[b]"), ("a[any].x", "a[any].x"), ("a\\[0\\]", "a[0]")] {
        let detection = json!({"s": {field: "v"}, "condition": "s"});
        assert_eq!(holds(&detection, event(json!({key: "v"}))), Ok(true), "{field}");
        assert_eq!(holds(&detection, event(json!({"a": [{"x": "v"}]}))), Ok(false), "{field}");
    }
}

#[test]
fn a_plan_that_lacks_a_path_is_refused() {
    let (rules, _) = RuleSet::parse("r.yml", &rule("r", &json!({"s": {"F": "x"}, "condition": "s"})));
    let error = rules.compile(&Arc::new(FieldPlan::new(["G"]))).unwrap_err();
    assert!(error.to_string().contains("`F`"), "{error}");
}

#[test]
fn a_reference_to_a_field_without_a_name_is_refused() {
    let detection = json!({"s": {"F|fieldref": ""}, "condition": "s"});
    let (rules, problems) = RuleSet::parse("r.yml", &rule("r", &detection));
    assert!(rules.rules().is_empty());
    assert!(problems.iter().any(|p| p.fatal && p.to_string().contains("no field name")), "{problems:?}");
}

#[test]
fn fields_of_another_plan_are_not_taken_for_its_own() {
    let engine = compile(&rule("r", &json!({"s": {"F": "x"}, "condition": "s"}))).unwrap();
    let other = Arc::new(FieldPlan::new(["G"]));
    let events = [json!({"F": "x", "G": "y"}), json!({"F": "y", "G": "x"})].map(event);
    for plan in [engine.plan(), &Arc::new(FieldPlan::new(["F"])), &other] {
        let batch = batch_of_json(plan, &events).unwrap();
        assert_eq!(matches_of(&engine, &batch), [("r".to_owned(), 0)], "{:?}", plan.paths());
    }
}

#[test]
fn keys_are_no_values_of_what_is_json_and_text_like_all_else_of_what_is_not() {
    let text = rule("r", &json!({"s": ["needle"], "condition": "s"}));
    let engine = compile(&text.replace("product: test", "product: json")).unwrap();
    for (line, expected) in [
        (r#"{"needle":1}"#, false),
        (r#"{"needle":{"a":[]},"b":"x"}"#, false),
        (r#"{"a":"a Needle"}"#, true),
        (r#"{"a":"n\u0065edle"}"#, true),
        (r#"{"n\u0065edle":"a"}"#, false),
        (r#"{"needle":"a","needle":"b"}"#, false),
        // No reader of values takes these for JSON.
        (r#"{"needle":1e999}"#, true),
        (r#"{"needle":"\ud800"}"#, true),
        (r#"{"needle":1"#, true),
    ] {
        let batch = crate::batch_of_lines(engine.plan(), [line]).unwrap();
        assert_eq!(!engine.evaluate(&batch).is_empty(), expected, "{line}");
    }
}

#[test]
fn keywords_are_sought_in_text_that_is_no_json_too() {
    use palisade_events::EventBuilder;
    let engine = compile(&rule("r", &json!({"s": ["rm -rf"], "condition": "s"}))).unwrap();
    let mut builder = EventBuilder::new(Arc::clone(engine.plan()));
    for (row, raw) in ["type=EXECVE a0=rm a1=-RF", "proc: RM -rf /", "proctitle=726D"].into_iter().enumerate() {
        builder.put_text(col::EVENT_UID, &format!("{row}"));
        builder.put_time(col::TIME, 0);
        builder.put_int(col::CLASS_UID, 0);
        builder.put_int(col::ACTIVITY_ID, 0);
        [col::SOURCE, col::FORMAT, col::ORIGIN].into_iter().for_each(|c| builder.put_word(c, "test"));
        builder.put_flag(col::LATE, false);
        builder.put_text(col::RAW, raw);
        if row == 2 {
            builder.put_text(col::PROCESS_CMD_LINE, "rm -rf /var");
        }
        builder.end_row();
    }
    let batch = builder.finish().unwrap();
    assert_eq!(matches_of(&engine, &batch), [("r".to_owned(), 1), ("r".to_owned(), 2)]);
}

#[test]
fn a_finding_says_who_did_what_and_which_values_matched() {
    let text = "\
title: Exec\nid: r1\nstatus: test\nlevel: high\nauthor: a\nmodified: 2026-01-02\ntags: [attack.t1609, attack.execution]\n\
logsource: {product: kubernetes, service: audit}\n\
detection:\n  s: {verb: create, objectRef.subresource: [exec, attach]}\n  f: {user.username: bob}\n  condition: s and not f\n\
palisade: {entity: user, triage: [Ask them.]}\n";
    let engine = compile(text).unwrap();
    let raw = json!({"verb": "create", "user": {"username": "alice"},
                     "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "web-0"}});
    let columns = json!({"cluster_name": "c1", "namespace_name": "prod", "pod_name": "web-0", "workload_name": "web"});
    let columns = columns.as_object().cloned().unwrap();
    let batch = batch_of_json(
        engine.plan(),
        &[JsonEvent { format: "k8s_audit".into(), columns, event: raw, ..JsonEvent::default() }],
    )
    .unwrap();
    let findings = engine.findings(&batch, &engine.evaluate(&batch));
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!(
        finding.explanation,
        "create pods/exec by user alice in prod/web-0: verb=create, objectRef.subresource=exec."
    );
    assert_eq!(finding.entity.to_string(), "user:c1/alice");
    let entities: Vec<String> = finding.entities.iter().map(ToString::to_string).collect();
    assert_eq!(entities, ["user:c1/alice", "workload:c1/prod/web", "namespace:c1/prod", "cluster:c1/c1"]);
    assert_eq!((finding.confidence.value(), finding.rule_version.as_str(), finding.count), (0.7, "2026-01-02", 1));
    assert_eq!(finding.evidence[0].event_uid, batch.uid(0));
    assert_eq!(finding.triage, ["Ask them."]);
}

#[test]
fn a_row_that_names_nothing_is_about_its_cluster() {
    let engine = compile(&rule("r", &json!({"s": {"F": "x"}, "condition": "s"}))).unwrap();
    let batch = batch_of_json(engine.plan(), &[event(json!({"F": "x"}))]).unwrap();
    let findings = engine.findings(&batch, &engine.evaluate(&batch));
    assert_eq!(findings[0].entity.to_string(), "cluster:/unknown");
    assert_eq!(findings[0].entities.len(), 1);
}
