//! Which parts of an audit event fill which columns, and what is no audit event.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use palisade_events::clock::Tolerance;
use palisade_events::{EventBatch, FieldPlan, FieldValue, Lane};
use serde_json::{Value as Json, json};

use super::*;
use crate::decode::Settings;

fn decode_with(plan: &[&str], payload: &Json) -> (EventBatch, Decoded) {
    let plan = Arc::new(FieldPlan::new(plan));
    let settings = Arc::new(Settings { source: "s".into(), plan: Arc::clone(&plan), ..Settings::default() });
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut decoder = K8sAudit::new(LaneContext::new(Arc::clone(&lane), settings, "k8s_audit"));
    let mut chunk = Chunk::new(lane);
    chunk.push(payload.to_string().as_bytes(), 0, None, None);
    let mut out = Decoded::new(plan);
    decoder.decode(&mut chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
    (out.events.finish().unwrap(), out)
}

fn event(part: Json) -> Json {
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "a1", "stage": "ResponseComplete",
        "verb": "create", "stageTimestamp": "2024-05-05T16:16:37.663647Z",
    });
    for (key, value) in part.as_object().unwrap() {
        event[key] = value.clone();
    }
    event
}

#[test]
fn parts_of_an_event_fill_their_columns() {
    let cases = [
        (
            json!({}),
            json!({
                "class_uid": 6003, "activity_id": 1, "api_operation": "create", "metadata_log_name": "ResponseComplete",
                "metadata_original_uid": "a1/ResponseComplete", "metadata_correlation_uid": "a1",
                "metadata_product_name": "kube-apiserver", "time_original": "2024-05-05T16:16:37.663647Z",
                "time": "2024-05-05T16:16:37.663647Z", "status_id": null, "truncated": null,
            }),
        ),
        (json!({"verb": "watch"}), json!({"activity_id": 2})),
        (json!({"verb": "patch"}), json!({"activity_id": 3})),
        (json!({"verb": "deletecollection"}), json!({"activity_id": 4})),
        (json!({"verb": "proxy"}), json!({"activity_id": 99})),
        (
            json!({"user": {"username": "system:serviceaccount:shop:web", "uid": "u", "groups": ["a", "b"]},
            "impersonatedUser": {"username": "root"}}),
            json!({
                "actor_user_name": "system:serviceaccount:shop:web", "actor_user_uid": "u",
                "actor_user_groups": ["a", "b"], "actor_service_account": "shop/web",
                "actor_impersonated_user_name": "root",
            }),
        ),
        (
            json!({"sourceIPs": ["1.2.3.4", "10.0.0.1"], "userAgent": "kubectl", "requestURI": "/api/v1/x?y=1"}),
            json!({
                "src_endpoint_ip": "10.0.0.1", "src_endpoint_intermediate_ips": ["1.2.3.4", "10.0.0.1"],
                "http_request_user_agent": "kubectl", "http_request_url_path": "/api/v1/x?y=1",
            }),
        ),
        (json!({"responseStatus": {"code": 101}}), json!({"status_id": 1, "api_response_code": 101})),
        (
            json!({"responseStatus": {"code": 403, "reason": "Forbidden"}}),
            json!({
                "status_id": 2, "status_detail": "Forbidden",
            }),
        ),
        (
            json!({"annotations": {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": "r"}}),
            json!({
                "status_id": 2, "authorization_decision": "forbid", "authorization_reason": "r",
            }),
        ),
        (
            json!({"objectRef": {"resource": "pods", "subresource": "exec", "namespace": "shop", "apiVersion": "v1",
            "name": "web-7d4b9c6d5f-x2v9k", "uid": "u"}, "requestURI": "/x/exec?command=sh&container=app"}),
            json!({
                "resource_type": "pods", "resource_subresource": "exec", "namespace_name": "shop", "resource_uid": "u",
                "pod_name": "web-7d4b9c6d5f-x2v9k", "workload_name": "web", "api_service_name": "core",
                "api_version": "v1", "container_name": "app", "resource_name": "web-7d4b9c6d5f-x2v9k",
            }),
        ),
        (
            json!({"objectRef": {"resource": "deployments", "apiGroup": "apps", "name": "web"}, "requestObject":
            {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "r:5000/a:1@sha256:ff"}, {"image": "b"}]}}}}}),
            json!({
                "workload_name": "web", "api_service_name": "apps", "container_image_name": "r:5000/a",
                "container_image_tag": "1", "container_image_uid": "sha256:ff", "container_name": "app", "pod_name": null,
            }),
        ),
        (
            json!({"objectRef": {"resource": "cronjobs", "name": "c"}, "requestObject":
            {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": "i"}]}}}}}}}),
            json!({
                "workload_name": "c", "container_image_name": "i",
            }),
        ),
        (
            json!({"objectRef": {"resource": "pods", "namespace": "n"}, "requestObject": {"metadata": {"generateName": "x-"}},
            "responseObject": {"metadata": {"name": "x-bcdfg"}}}),
            json!({
                "pod_name": "x-bcdfg", "resource_name": "x-bcdfg", "workload_name": "x",
            }),
        ),
        (json!({"objectRef": {"resource": "namespaces", "name": "foo"}}), json!({"namespace_name": "foo"})),
        (json!({"requestObject": "skipped-too-big-size-object"}), json!({"truncated": true})),
        (json!({"annotations": {"audit.k8s.io/truncated": "true"}}), json!({"truncated": true})),
        (
            json!({"stageTimestamp": null, "requestReceivedTimestamp": "2024-01-01T00:00:00.5Z"}),
            json!({
                "time": "2024-01-01T00:00:00.500000Z",
            }),
        ),
        (
            json!({"apiVersion": "audit.k8s.io/v1beta1", "stageTimestamp": "?", "timestamp": "2018-10-25T13:58:49Z"}),
            json!({
                "time": "2018-10-25T13:58:49.000000Z", "time_original": "2018-10-25T13:58:49Z",
            }),
        ),
        (
            json!({"verb": 7, "user": "x", "sourceIPs": {}, "objectRef": [1], "responseStatus": {"code": "404"}}),
            json!({
                "api_response_code": 404, "activity_id": 99,
            }),
        ),
    ];
    for (part, expected) in cases {
        let (batch, out) = decode_with(&[], &event(part.clone()));
        assert_eq!(batch.rows(), 1, "{part}: {:?}", out.rejects);
        let row = batch.row_json(0);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {part}");
        }
    }
}

#[test]
fn events_without_kind_are_taken_and_others_are_not() {
    for (payload, rows) in [
        (json!({"auditID": "a", "timestamp": "2024-01-01T00:00:00Z"}), 1),
        (json!({"verb": "get", "stage": "Panic", "timestamp": "2024-01-01T00:00:00Z"}), 1),
        (json!({"verb": "get", "timestamp": "2024-01-01T00:00:00Z"}), 0),
        (json!({"kind": "Pod", "auditID": "a", "timestamp": "2024-01-01T00:00:00Z"}), 0),
        (json!({"records": [{"category": "kube-audit"}]}), 0),
    ] {
        let (batch, out) = decode_with(&[], &payload);
        assert_eq!((batch.rows(), out.rejects.len()), (rows, 1 - rows), "{payload}");
    }
}

#[test]
fn a_list_is_one_record_of_many_events() {
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": [
        event(json!({"auditID": "a"})), event(json!({"auditID": "b", "stageTimestamp": "no"})), event(json!({"auditID": "c"})),
    ]});
    let (batch, out) = decode_with(&["auditID"], &list);
    assert_eq!((out.counts.records, out.counts.used, out.counts.events, out.rejects.len()), (1, 1, 2, 1));
    assert_eq!(out.rejects[0].reason, "missing_time");
    let places: Vec<_> = batch.int(col::MESSAGE_INDEX).iter().collect();
    assert_eq!(places, [Some(0), Some(2)]);
    assert_ne!(batch.uid(0), batch.uid(1));
    // What is stored of an item is the item itself, which reads back to the same fields.
    let raw: Json = serde_json::from_str(batch.text(col::RAW).value(1)).unwrap();
    assert_eq!(raw["auditID"], "c");
    let (again, _) = decode_with(&["auditID"], &raw);
    assert_eq!(again.fields()[0].values(), [FieldValue::Str("c".into())]);
}

#[test]
fn rule_fields_follow_sigma_paths() {
    let payload = event(json!({
        "a.b": "flat", "a": {"b": "nested"}, "big": 9_007_199_254_740_993i64, "f": 0.5, "none": null, "list": [], "c": [{"n": 1}, {"n": [2, [3]]}, {}],
        "annotations": {"authorization.k8s.io/decision": "allow"}, "objectRef": {"resource": "pods"},
        "requestObject": {"spec": {"containers": [{"name": "a"}, {"securityContext": {"privileged": true}}]}},
    }));
    let cases: &[(&str, &[FieldValue])] = &[
        ("a.b", &[FieldValue::Str("flat".into())]),
        ("annotations.authorization.k8s.io/decision", &[FieldValue::Str("allow".into())]),
        ("big", &[FieldValue::Int(9_007_199_254_740_993)]),
        ("c.n", &[FieldValue::Int(1), FieldValue::Int(2), FieldValue::Int(3)]),
        ("f", &[FieldValue::Float(0.5)]),
        ("list", &[FieldValue::Null]),
        ("missing", &[]),
        ("none", &[FieldValue::Null]),
        ("objectRef", &[FieldValue::Object]),
        ("objectRef.resource", &[FieldValue::Str("pods".into())]),
        ("requestObject.spec.containers.securityContext.privileged", &[FieldValue::Bool(true)]),
        ("verb.x", &[]),
    ];
    let paths: Vec<&str> = cases.iter().map(|(path, _)| *path).collect();
    let (batch, _) = decode_with(&paths, &payload);
    for ((path, expected), field) in cases.iter().zip(batch.fields()) {
        let values: Vec<_> = field.codes(0).iter().map(|&code| field.values()[code as usize].clone()).collect();
        assert_eq!(&values, expected, "{path}");
    }
    assert_eq!(batch.word(col::RESOURCE_TYPE).get(0), Some("pods"));
}

#[test]
fn secrets_are_nowhere_in_the_row() {
    let payload = event(json!({
        "objectRef": {"resource": "secrets", "name": "s", "namespace": "n"},
        "requestObject": {"kind": "Secret", "data": {"k": "cGxhbnRlZA=="}, "stringData": {"k2": "planted2"},
            "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration":
                "{\"kind\":\"Secret\",\"data\":{\"k\":\"cGxhbnRlZA==\"}}\n"}}},
        "responseObject": {"kind": "SecretList", "items": [{"data": {"k": "cGxhbnRlZA=="}}]},
    }));
    let (batch, out) = decode_with(&["requestObject.data.k", "requestObject.stringData.k2"], &payload);
    let shown = format!("{batch:?} {:?}", out.rejects);
    for secret in ["cGxhbnRlZA", "planted2"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    assert_eq!(batch.int(col::REDACTED).value(0), 4);
    assert_eq!(batch.fields()[0].values(), [FieldValue::Str("<redacted:k8s_secret>".into())]);
    assert_eq!(out.counts.redacted, 4);
    // The stored original reads back to the same row, and there is nothing left to replace.
    let raw = serde_json::from_str(batch.text(col::RAW).value(0)).unwrap();
    let (again, _) = decode_with(&["requestObject.data.k", "requestObject.stringData.k2"], &raw);
    assert_eq!(again.fields()[0].values(), batch.fields()[0].values());
    assert_eq!(again.int(col::REDACTED).value(0), 0);
}

#[test]
fn bounds_cut_and_say_so() {
    let groups: Vec<String> = (0..2000).map(|n| format!("g{n}")).collect();
    let (batch, _) = decode_with(&[], &event(json!({"user": {"groups": groups}})));
    assert_eq!(batch.words(col::ACTOR_USER_GROUPS).value(0).as_string::<i32>().len(), 1024);
    assert!(batch.flag(col::TRUNCATED).value(0));
}
