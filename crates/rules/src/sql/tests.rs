//! The lowering to SQL against the engine. Random rules are compared in the engine's tests.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::prelude::SessionContext;
use palisade_events::{EventBatch, FieldPlan};
use serde_json::{Value, json};

use super::*;
use crate::{JsonEvent, batch_of_json};

/// The rows for which each rule holds, by title: asked for as columns and as filters, over a table as batches are in
/// memory and over tables as they are read back.
pub(crate) fn matches_of(rules: &[Rule], batch: &EventBatch) -> Vec<(String, usize)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let stored = as_type(batch.columns(), &DataType::Utf8);
    let viewed = as_type(batch.columns(), &DataType::Utf8View);
    let mut found = [batch.columns().clone(), stored, viewed].map(|table| runtime.block_on(in_columns(rules, table)));
    found.iter_mut().for_each(|matches| matches.sort_unstable());
    let [memory, stored, viewed] = found;
    assert_eq!(memory, stored);
    assert_eq!(memory, viewed);
    let mut filtered = runtime.block_on(in_filters(rules, batch.columns()));
    filtered.sort_unstable();
    assert_eq!(memory, filtered);
    memory
}

/// The same rows with all plain and dictionary-encoded text as another type.
fn as_type(batch: &RecordBatch, own: &DataType) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::Dictionary(..));
        let array: ArrayRef = if is_text { cast(column, own).unwrap() } else { Arc::clone(column) };
        (field.name(), array, field.is_nullable())
    });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

async fn in_columns(rules: &[Rule], table: RecordBatch) -> Vec<(String, usize)> {
    let context = SessionContext::new();
    let named = rules.iter().enumerate().map(|(number, rule)| rule.filter().alias(format!("rule_{number}")));
    let columns: Vec<Sql> = std::iter::once(ident("record_offset")).chain(named).collect();
    let answer = context.read_batch(table).unwrap().select(columns).unwrap().collect().await.unwrap();
    let mut all = Vec::new();
    for batch in answer {
        let rows = batch.column(0).as_primitive::<Int64Type>();
        for (rule, column) in rules.iter().zip(&batch.columns()[1..]) {
            assert_eq!(column.null_count(), 0, "{} is null: {}", rule.title, rule.filter());
            let holds = column.as_boolean().iter().zip(rows.values()).filter(|(holds, _)| *holds == Some(true));
            all.extend(holds.map(|(_, row)| (rule.title.clone(), *row as usize)));
        }
    }
    all
}

async fn in_filters(rules: &[Rule], table: &RecordBatch) -> Vec<(String, usize)> {
    let context = SessionContext::new();
    let table = context.read_batch(table.clone()).unwrap();
    let mut all = Vec::new();
    for rule in rules {
        let rows = table.clone().filter(rule.filter()).unwrap().select([ident("record_offset")]).unwrap();
        for batch in rows.collect().await.unwrap() {
            let rows = batch.column(0).as_primitive::<Int64Type>();
            all.extend(rows.values().iter().map(|row| (rule.title.clone(), *row as usize)));
        }
    }
    all
}

fn both(rules: &RuleSet, events: &[JsonEvent]) -> [Vec<(String, usize)>; 2] {
    let engine = rules.clone().compile(&Arc::new(FieldPlan::new(rules.raw_fields()))).unwrap();
    let batch = batch_of_json(engine.plan(), events).unwrap();
    let of = |m: &crate::Match| (engine.rules()[m.rule as usize].title.clone(), m.row as usize);
    let mut all: Vec<_> = engine.evaluate(&batch).iter().map(of).collect();
    all.sort_unstable();
    [all, matches_of(rules.rules(), &batch)]
}

fn of(format: &str, class_uid: i32, columns: Value, event: Value) -> JsonEvent {
    let columns = columns.as_object().cloned().unwrap_or_default();
    JsonEvent { format: format.into(), class_uid, columns, event }
}

/// Rows of several logsources, written as their sources write them and otherwise.
fn rows_of_many_sources() -> Vec<JsonEvent> {
    let nc = json!({"process_file_path": "/bin/nc", "process_cmd_line": "nc -e /bin/sh", "process_name": "nc"});
    vec![
        of("k8s_audit", 6003, json!({}), json!({"verb": "get"})),
        of("K8S_Audit", 6003, json!({"api_operation": "get"}), json!({"verb": "get"})),
        of("k8s_audits", 6003, json!({}), json!({"verb": "get"})),
        of("SHOP", 0, json!({}), json!({"verb": "GET"})),
        of("\u{17f}hop", 0, json!({}), json!({"verb": "get"})),
        of("other", 1007, nc.clone(), json!({})),
        of("auditd", 0, json!({"process_file_path": "/bin/nc", "syscall": "execve"}), json!({})),
        of("auditd", 0, nc, json!({"verb": "get"})),
        of("auditd", 4001, json!({"syscall": "connect", "dst_endpoint_port": 53}), json!({})),
        of("flows", 4001, json!({"connection_info_direction": "inbound", "dst_endpoint_port": 53}), json!({})),
        of("agent", 1001, json!({"file_path": "/srv/x", "activity_id": 1}), json!({})),
        of("agent", 1001, json!({"file_path": "/srv/x", "activity_id": 4}), json!({})),
    ]
}

#[test]
fn logsources_mean_the_same_rows() {
    let text = "\
title: audit\nlogsource: {product: kubernetes, service: audit}\ndetection: {s: {verb: get}, condition: s}\n---\n\
title: process\nlogsource: {category: process_creation, product: linux}\n\
detection: {s: {Image|endswith: /nc}, condition: s}\n---\n\
title: connection\nlogsource: {category: network_connection}\n\
detection: {s: {Initiated: 'true', DestinationPort: 53}, condition: s}\n---\n\
title: gone\nlogsource: {category: file_delete, product: linux}\n\
detection: {s: {TargetFilename: /srv/x}, condition: s}\n---\n\
title: mine\nlogsource: {product: shop}\ndetection: {s: {verb: get}, condition: s}\n";
    let (rules, problems) = RuleSet::parse("r.yml", text);
    assert!(problems.is_empty(), "{problems:?}");
    let [engine, sql] = both(&rules, &rows_of_many_sources());
    assert_eq!(engine, sql);
    let of = |title: &str| sql.iter().filter(|(own, _)| own == title).map(|(_, row)| *row).collect::<Vec<_>>();
    assert_eq!((of("audit"), of("mine"), of("process")), (vec![0, 1], vec![3], vec![5, 6]));
    assert_eq!(of("gone"), [11]);
}

#[test]
fn public_rules_mean_the_same_in_both_lowerings() {
    let Some(shared) = crate::testing::shared("sigma") else { return };
    let (rules, _) = RuleSet::load(&[shared.join("rules")]).unwrap();
    // Those of other systems differ from these in logsource alone, which the rows do not have.
    let kept = rules.rules().iter().filter(|rule| {
        let product = rule.logsource.product.as_deref();
        matches!(product, Some("linux" | "kubernetes") | None)
    });
    let rules = RuleSet::bound(kept.cloned().collect(), Vec::new(), Vec::new()).merge(RuleSet::starter().unwrap());
    assert!(rules.rules().len() > 200, "{}", rules.rules().len());
    let mut events = rows_of_many_sources();
    let pod =
        json!({"volumes": [{"hostPath": {"path": "/"}}], "containers": [{"securityContext": {"privileged": true}}]});
    events.push(of(
        "k8s_audit",
        6003,
        json!({"resource_type": "pods"}),
        json!({
            "verb": "create", "objectRef": {"resource": "pods", "namespace": "kube-system"},
            "requestObject": {"spec": pod}, "stage": "ResponseComplete", "user": {"username": "system:anonymous"}
        }),
    ));
    let [engine, sql] = both(&rules, &events);
    assert!(engine.len() > 3, "{engine:?}");
    assert_eq!(engine, sql);
}

#[test]
fn every_public_rule_has_an_expression_of_bounded_depth() {
    let Some(shared) = crate::testing::shared("sigma") else { return };
    let (rules, _) = RuleSet::load(&[shared.join("rules")]).unwrap();
    for rule in rules.rules() {
        assert!(depth(&rule.filter()) < 60, "{}", rule.title);
    }
    assert!(depth(&rules.logsource_filter()) < 60);
    assert!(depth(&rules.filter()) < 80);
}

fn depth(sql: &Sql) -> usize {
    use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
    let mut most = 0;
    sql.apply_children(|child| {
        most = most.max(depth(child));
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    most + 1
}

#[test]
fn what_expressions_can_say_is_left_to_no_function() {
    for (detection, expected) in [
        (r"{process_name|cased: nc}", "process_name IS NOT NULL AND process_name = Utf8(\"nc\")"),
        (r"{process_name: nc}", "process_name IS NOT NULL AND sigma_fold(process_name) = Utf8(\"nc\")"),
        (r"{src_endpoint_ip: 10.0.0.1}", "src_endpoint_ip IS NOT NULL AND src_endpoint_ip = Utf8(\"10.0.0.1\")"),
        (
            r"{dst_endpoint_port: [22, 23]}",
            "dst_endpoint_port IS NOT NULL AND dst_endpoint_port IN ([Int32(22), Int32(23)])",
        ),
        (r"{dst_endpoint_port|gt: 99999999999}", "dst_endpoint_port IS NOT NULL AND Boolean(false)"),
        (r"{process_name: '*'}", "process_name IS NOT NULL"),
        (r"{process_name: null}", "Boolean(false) OR NOT process_name IS NOT NULL"),
    ] {
        let text = format!("title: t\nlogsource: {{product: linux}}\ndetection: {{s: {detection}, condition: s}}\n");
        let (rules, problems) = RuleSet::parse("r.yml", &text);
        assert!(problems.is_empty(), "{problems:?}");
        let condition = part(&rules.rules()[0].lowered.expr).sql().to_string();
        assert_eq!(condition, expected);
    }
}

#[test]
fn functions_are_equal_by_what_they_test() {
    let test = |pattern: &str| {
        let regex = Predicate::Regex(Regex::new(pattern).unwrap());
        any::row_test(&Expr::Any(Source::Raw("a.b".into()), vec![regex]))
    };
    assert_eq!(test("a+"), test("a+"));
    assert_ne!(test("a+"), test("a*"));
    assert_ne!(test("a+").schema_name().to_string(), test("a*").schema_name().to_string());
}
