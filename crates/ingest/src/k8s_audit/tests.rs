//! Which parts of an audit event fill which columns, and what is no audit event.

use arrow::array::{Array, AsArray};
use palisade_events::{EventBatch, FieldValue};
use serde_json::{Value as Json, json};

use super::*;
use crate::decode::{Decoded, Format};
use crate::testing::shared;

mod gke;

fn decode_text(plan: &[&str], payload: &str) -> (EventBatch, Decoded) {
    crate::testing::decode(&Format::K8sAudit, plan, &[payload])
}

fn decode_with(plan: &[&str], payload: &Json) -> (EventBatch, Decoded) {
    decode_text(plan, &payload.to_string())
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
        // What a Deployment or a CronJob made is of the workload that its pods are of.
        (
            json!({"objectRef": {"resource": "replicasets", "name": "web-7d4b9c6d5f"}}),
            json!({"workload_name": "web", "workload_kind": "Deployment", "resource_name": "web-7d4b9c6d5f"}),
        ),
        (
            json!({"objectRef": {"resource": "replicasets", "name": "web-canary"}}),
            json!({"workload_name": "web-canary", "workload_kind": "ReplicaSet"}),
        ),
        (
            json!({"objectRef": {"resource": "jobs", "name": "backup-28571040"}}),
            json!({"workload_name": "backup", "workload_kind": "CronJob", "resource_name": "backup-28571040"}),
        ),
        (
            json!({"objectRef": {"resource": "jobs", "name": "migrate-2"}}),
            json!({"workload_name": "migrate-2", "workload_kind": "Job"}),
        ),
        (json!({"sourceIPs": ["::ffff:10.0.0.1"]}), json!({"src_endpoint_ip": "10.0.0.1"})),
        (
            json!({"impersonatedUser": {"username": "root", "groups": ["system:masters"]}}),
            json!({"actor_impersonated_user_name": "root", "actor_impersonated_user_groups": ["system:masters"]}),
        ),
        // A token bound to a pod names it: that is the caller, whatever the request is about.
        (
            json!({"user": {"username": "system:serviceaccount:shop:web", "extra": {
                "authentication.kubernetes.io/pod-name": ["web-7d4b9c6d5f-x2v9k"],
                "authentication.kubernetes.io/pod-uid": ["u"],
                "authentication.kubernetes.io/credential-id": ["JTI=7e1f"]}}}),
            json!({
                "src_endpoint_namespace_name": "shop", "src_endpoint_pod_name": "web-7d4b9c6d5f-x2v9k",
                "src_endpoint_workload_name": "web", "actor_user_credential_uid": "JTI=7e1f", "pod_name": null,
                "container_pod_uuid": null,
            }),
        ),
        (
            json!({"user": {"username": "kubernetes-admin", "extra": {"accessKeyId": ["key-1"],
                "authentication.kubernetes.io/pod-name": ["forged"], "arn": ["arn:x"]}}}),
            json!({"actor_user_credential_uid": "key-1", "src_endpoint_pod_name": null}),
        ),
        // A session is told of when it opens, long before it ends.
        (
            json!({"verb": "get", "stage": "ResponseStarted", "responseStatus": {"code": 101},
            "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "shop", "name": "web-0"}}),
            json!({
                "status_id": 1, "api_response_code": 101, "metadata_log_name": "ResponseStarted", "activity_id": 2,
                "metadata_original_uid": "a1/ResponseStarted", "metadata_correlation_uid": "a1", "workload_name": "web",
            }),
        ),
        (json!({"stage": null}), json!({"metadata_original_uid": "a1", "metadata_log_name": null})),
        // A JSON patch is an array of steps.
        (
            json!({"verb": "patch", "objectRef": {"resource": "pods", "name": "web-0", "namespace": "shop"},
            "requestObject": [{"op": "add", "path": "/metadata/labels/x", "value": {"name": "no", "metadata": 7}}, 7, []]}),
            json!({"resource_name": "web-0", "pod_name": "web-0", "container_name": null, "truncated": null}),
        ),
        (
            json!({"verb": "patch", "objectRef": {"resource": "pods", "subresource": "ephemeralcontainers", "name": "web-0"},
            "responseObject": {"metadata": {"uid": "other"}, "spec": {"containers": [{"name": "app", "image": "a:1"}],
            "ephemeralContainers": [{"name": "debug-1", "image": "b:1"}, {"name": "debug-2", "image": "b:2"}]}}}),
            json!({
                "container_name": "debug-2", "container_image_name": "b", "container_image_tag": "2", "resource_uid": null,
            }),
        ),
        (
            json!({"objectRef": {"resource": "pods", "namespace": "n"},
            "responseObject": {"metadata": {"name": "p", "uid": "u"}}}),
            json!({"resource_uid": "u", "container_pod_uuid": "u"}),
        ),
        (
            json!({"objectRef": {"resource": "deployments", "apiGroup": "apps", "name": "web"}, "requestObject":
            {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "r:5000/a:1@sha256:ff"}, {"image": "b"}]}}}}}),
            json!({
                "workload_name": "web", "workload_kind": "Deployment", "api_service_name": "apps",
                "container_image_name": "r:5000/a",
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

/// A row without some columns.
fn without(mut row: Json, columns: &[&str]) -> Json {
    for column in columns {
        row.as_object_mut().unwrap().remove(*column);
    }
    row
}

#[test]
fn only_what_the_source_cut_is_a_fact() {
    let groups: Vec<String> = (0..2000).map(|n| format!("g{n}")).collect();
    for (part, facts) in [
        (json!({"requestObject": "skipped-too-big-size-object"}), 1),
        (
            json!({"responseObject": "skipped-too-big-size-object", "annotations": {"audit.k8s.io/truncated": "true"}}),
            1,
        ),
        (json!({"user": {"groups": groups}}), 0),
    ] {
        let (batch, out) = decode_with(&[], &event(part.clone()));
        assert!(batch.flag(col::TRUNCATED).value(0), "{part}");
        assert_eq!(out.coverage.len(), facts, "{part}");
        assert!(out.coverage.iter().all(|fact| fact.kind == CoverageKind::Truncated && fact.count == 1));
    }
}

#[test]
fn every_sample_is_an_event() {
    let samples = include_str!("../../samples/k8s_audit.ndjson");
    for sample in samples.lines().filter(|line| !line.is_empty()) {
        let (batch, out) = decode_text(&[], sample);
        assert!(batch.rows() > 0 && out.rejects.is_empty(), "{sample}: {:?}", out.rejects);
        assert_eq!((out.counts.records, out.counts.used), (1, 1), "{sample}");
        // What is stored reads back to the same row, wherever it came from.
        for row in 0..batch.rows() {
            let (again, _) = decode_text(&[], batch.text(col::RAW).value(row));
            let of_its_place = [
                "event_uid",
                "message_index",
                "cluster_name",
                "redacted",
                "lane_max_before",
                "late",
                "time",
                "time_doubtful",
            ];
            assert_eq!(without(again.row_json(0), &of_its_place), without(batch.row_json(row), &of_its_place));
        }
    }
}

#[test]
fn wrapped_events_are_rows_like_bare_ones() {
    let bare = event(json!({"objectRef": {"resource": "secrets", "namespace": "shop", "name": "s"},
        "requestObject": {"kind": "Secret", "data": {"k": "cGxhbnRlZA=="}}}));
    let text = bare.to_string();
    let (expected, _) = decode_with(&[], &bare);
    let resource = "/SUBSCRIPTIONS/1/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/SHOP-1";
    let properties = json!({"log": format!("{text}\n"), "stream": "stdout"});
    for (wrapped, cluster) in [
        (json!({"records": [{"category": "kube-audit", "resourceId": resource, "properties": properties}]}), "shop-1"),
        (json!({"records": [{"resourceId": resource, "properties": properties.to_string()}]}), "shop-1"),
        (json!({"_ResourceId": resource, "log_s": text}), "shop-1"),
        (
            json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/shop-1/cluster", "logStream": "kube-apiserver-audit-1",
            "logEvents": [{"id": "1", "timestamp": 1, "message": text}]}),
            "shop-1",
        ),
        (json!({"log": text, "stream": "stdout", "kubernetes": {"host": "n"}, "cluster_name": "shop-1"}), "shop-1"),
        (json!({"log_processed": bare, "log": "cut"}), ""),
        (json!({"MESSAGE": text, "_HOSTNAME": "n", "_PID": "1"}), ""),
        (json!({"jsonPayload": bare, "resource": {"labels": {"cluster_name": "shop-1"}}}), "shop-1"),
        (json!([bare]), ""),
        (json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1beta1", "items": [bare]}), ""),
    ] {
        let (batch, out) = decode_with(&[], &wrapped);
        assert_eq!(batch.rows(), 1, "{wrapped}: {:?}", out.rejects);
        let row = batch.row_json(0);
        assert_eq!(row["cluster_name"].as_str().unwrap_or_default(), cluster, "{wrapped}");
        assert_eq!(without(row, &["cluster_name"]), expected.row_json(0), "{wrapped}");
        assert!(!format!("{batch:?}").contains("cGxhbnRlZA"), "{wrapped}");
    }
}

/// The records of a file: the one document that it is, or its lines.
fn records(path: &std::path::Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.trim_start_matches('\u{feff}');
    match serde_json::from_str::<Json>(text) {
        Ok(_) => vec![text.to_owned()],
        Err(_) => text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect(),
    }
}

#[test]
fn events_that_others_recorded_are_read() {
    for (folder, endings, expected) in [
        ("k8s_audit/falco_trace_files", &[".json"][..], (51, 1)),
        ("k8s_audit/aks_sysdig", &[".json"], (24, 0)),
        ("k8s_audit/crowdsec", &[".log"], (2, 0)),
        ("k8s_audit", &[".ndjson"], (28, 0)),
        ("audit2rbac", &[".log"], (37, 0)),
    ] {
        let Some(folder) = shared(folder) else { return };
        let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.retain(|path| endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)));
        files.sort();
        let records: Vec<String> = files.iter().flat_map(|path| records(path)).collect();
        let (batch, out) = crate::testing::decode(&Format::K8sAudit, &[], &records);
        let reasons: Vec<_> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
        assert_eq!((batch.rows(), reasons.len()), expected, "{}: {reasons:?}", folder.display());
        assert!(reasons.iter().all(|reason| *reason == "not_an_audit_event"), "{reasons:?}");
        // Files of years apart, one after the other, are no lane that could be believed.
        let told = out.coverage.iter().filter(|fact| fact.kind != CoverageKind::Future);
        assert_eq!(told.count(), 0, "{}", folder.display());
        let nothing_told = |column| batch.word(column).values().is_empty();
        assert!(!nothing_told(col::API_OPERATION) && !nothing_told(col::ACTOR_USER_NAME), "{}", folder.display());
    }
}
