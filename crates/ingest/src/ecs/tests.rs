//! Which fields of a document fill which columns, and what its categories make of it.

use std::collections::BTreeMap;

use palisade_events::schema::{COLUMNS, Kind};
use palisade_events::{EventBatch, FieldValue};
use serde_json::{Map, Value as Json, json};

use super::*;
use crate::decode::{Decoded, Format};
use crate::testing::decode;

fn decode_with<'p>(plan: &[&str], payloads: impl IntoIterator<Item = &'p str>) -> (EventBatch, Decoded) {
    let payloads: Vec<&str> = payloads.into_iter().collect();
    decode(&Format::Ecs, plan, &payloads)
}

/// A value of each column, as the view of events gives it.
fn sample(name: &str, kind: Kind) -> Json {
    match (name, kind) {
        ("severity_id", _) => json!(4),
        ("status_id", _) => json!("failure"),
        ("connection_info_direction", _) => json!("inbound"),
        ("connection_info_protocol_name", _) => json!("tcp"),
        ("connection_info_community_uid", _) => json!("1:stated"),
        ("src_endpoint_ip", _) => json!("10.0.0.7"),
        ("dst_endpoint_ip", _) => json!("10.0.0.9"),
        ("container_uid", _) => json!("3fd02a8b6c41e5d7093b1c8f2ea46d59"),
        ("container_image_name", _) => json!("registry.local:5000/shop/web"),
        ("http_request_http_method", _) => json!("GET"),
        ("cloud_provider", _) => json!("AWS"),
        ("time", _) => json!("2026-02-03T10:15:30.123456Z"),
        (_, Kind::Text | Kind::Word) => json!(format!("{name} it is")),
        (_, Kind::Words) => json!([format!("{name} 1"), format!("{name} 2")]),
        (_, Kind::Time) => json!("2026-01-01T00:00:00.654321Z"),
        (_, Kind::Long) => json!(9_007_199_254_740_993i64),
        (_, Kind::Int) => json!(4242),
        (_, Kind::Flag) => json!(true),
    }
}

/// What only the driver says of a row.
const DRIVERS: [&str; 5] = ["event_uid", "origin", "record_offset", "metadata_logged_time", "raw"];

/// Puts a value at a path, making the objects on the way.
fn nest(into: &mut Map<String, Json>, path: &str, value: Json) {
    match path.split_once('.') {
        None => {
            into.insert(path.to_owned(), value);
        }
        Some((key, rest)) => {
            let inner = into.entry(key).or_insert_with(|| json!({}));
            nest(inner.as_object_mut().unwrap(), rest, value);
        }
    }
}

#[test]
fn our_own_view_gives_the_same_columns_again() {
    let mut dotted =
        Map::from_iter([("event_uid".to_owned(), json!("3f6a")), ("date".to_owned(), json!("2026-02-03"))]);
    let mut nested = dotted.clone();
    let mut expected = BTreeMap::new();
    for column in COLUMNS.iter().filter(|column| !column.ecs.is_empty()) {
        let value = sample(column.name, column.kind);
        dotted.insert(column.ecs.to_owned(), value.clone());
        nest(&mut nested, column.ecs, value.clone());
        if !DRIVERS.contains(&column.name) {
            expected.insert(column.name, if column.name == "status_id" { json!(2) } else { value });
        }
    }
    for document in [dotted, nested] {
        let payload = Json::Object(document).to_string();
        let (batch, out) = decode_with(&[], [payload.as_str()]);
        assert_eq!(batch.rows(), 1, "{:?}", out.rejects);
        let row = batch.row_json(0);
        for (column, value) in &expected {
            assert_eq!(&row[column], value, "{column}");
        }
        assert_eq!(row["container_uid_short"], "3fd02a8b6c41");
    }
    assert!(expected.len() > 60, "{}", expected.len());
}

fn document(part: &Json) -> Json {
    let mut document = json!({"@timestamp": "2026-02-03T10:15:30.230Z", "ecs": {"version": "8.11.0"}});
    for (key, value) in part.as_object().unwrap() {
        document[key] = value.clone();
    }
    document
}

fn check(cases: impl IntoIterator<Item = (Json, Json)>) {
    for (part, expected) in cases {
        let payload = document(&part).to_string();
        let (batch, out) = decode_with(&[], [payload.as_str()]);
        assert_eq!(batch.rows(), 1, "{part}: {:?}", out.rejects);
        let row = batch.row_json(0);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {part}");
        }
    }
}

#[test]
fn categories_and_types_make_class_and_activity() {
    let cases = [
        (r#"{"category":["process"],"type":["start"]}"#, 1007, 1),
        (r#"{"category":"process","type":"end"}"#, 1007, 2),
        (r#"{"category":["process"],"type":["info"]}"#, 1007, 99),
        (r#"{"category":["file"],"type":["deletion"]}"#, 1001, 4),
        (r#"{"category":["file"],"type":["change"],"action":"rename"}"#, 1001, 5),
        (r#"{"category":["network"],"type":["connection","start"]}"#, 4001, 1),
        (r#"{"category":["network"],"type":["connection","denied"]}"#, 4001, 5),
        (r#"{"category":["network"],"type":["protocol"]}"#, 4001, 6),
        (r#"{"category":["process","configuration","network"],"type":["change","connection","info"]}"#, 4001, 6),
        (r#"{"category":["authentication"],"type":["start"]}"#, 3002, 1),
        (r#"{"category":["session"],"type":["end"]}"#, 3002, 2),
        (r#"{"category":["iam"],"type":["user","creation"]}"#, 3001, 1),
        (r#"{"category":["api"],"type":["access"]}"#, 6003, 2),
        (r#"{"category":["web"]}"#, 4002, 99),
        (r#"{"category":["intrusion_detection"]}"#, 2004, 1),
        (r#"{"kind":"alert","category":["process"],"type":["start"]}"#, 2004, 1),
        (r#"{"provider":"iam.amazonaws.com","action":"AttachUserPolicy","category":["configuration"]}"#, 6003, 3),
        (r#"{"provider":"sts.amazonaws.com","action":"AssumeRole"}"#, 3002, 1),
        (r#"{"kind":"metric"}"#, 0, 0),
    ];
    check(cases.map(|(event, class, activity)| {
        let event: Json = serde_json::from_str(event).unwrap();
        (json!({"event": event}), json!({"class_uid": class, "activity_id": activity}))
    }));
    check([
        (
            json!({"event": {"category": "web"}, "http": {"request": {"method": "post"}}}),
            json!({"class_uid": 4002, "activity_id": 6, "http_request_http_method": "POST"}),
        ),
        (
            json!({"event": {"category": "network", "type": "protocol"}, "dns": {"type": "query", "question": {"name": "a.example"}}}),
            json!({"class_uid": 4003, "activity_id": 1}),
        ),
        (json!({"dns": {"question": {"name": "a.example"}}}), json!({"class_uid": 4003, "activity_id": 6})),
        (
            json!({"kubernetes": {"audit": {"verb": "patch"}}}),
            json!({"class_uid": 6003, "activity_id": 3, "api_operation": "patch"}),
        ),
    ]);
}

#[test]
fn names_of_labels_are_bounded() {
    let long = "k".repeat(LABEL_NAME_BYTES_MAX + 1);
    let many: Json = (0..5000).map(|n| (format!("n{n}"), json!(1))).collect::<Map<_, _>>().into();
    for (labels, kept) in [
        (json!({"a": 1, (long.as_str()): 2, "z": {"b": 3}}), vec!["a=1", "z.b=3"]),
        (json!({"a": 1, "o": {(&long[..500]): {"more than twelve": {"b": 3}}}}), vec!["a=1"]),
        (json!({(long.as_str()): many, "z": 1}), vec!["z=1"]),
    ] {
        let (batch, out) = decode_with(&[], [document(&json!({"labels": labels})).to_string().as_str()]);
        assert_eq!(batch.rows(), 1, "{:?}", out.rejects);
        let row = batch.row_json(0);
        assert_eq!((&row["metadata_labels"], &row["truncated"]), (&json!(kept), &json!(true)));
    }
}

#[test]
fn fields_fill_their_columns_nested_and_dotted() {
    check([
        (
            json!({"event": {"outcome": "success", "module": "auditd", "action": ["executed"], "category": ["process"]},
                "process": {"args": ["curl", "-s", 7, "x"], "title": "curl", "pid": "7"}, "tags": ["a", "b"],
                "user": {"name": "root", "id": "0", "audit": {"id": "unset"}}, "auditd": {"data": {"syscall": "execve"}}}),
            json!({
                "status_id": 1, "metadata_product_name": "auditd", "api_operation": "executed", "syscall": "execve",
                "process_cmd_line": "curl -s x", "process_pid": 7, "actor_user_name": "root", "actor_session_uid": null,
                "metadata_labels": ["a", "b"], "time_original": "2026-02-03T10:15:30.230Z",
            }),
        ),
        (json!({"process": {"title": "curl -s"}}), json!({"process_cmd_line": "curl -s"})),
        (json!({"process": {"args": "curl -s"}}), json!({"process_cmd_line": "curl -s"})),
        (json!({"process": {"args": ["curl"], "command_line": "curl -s"}}), json!({"process_cmd_line": "curl -s"})),
        (
            json!({"process.user.name": "root", "process.user.id": "0"}),
            json!({"actor_user_name": "root", "actor_user_uid": "0", "process_user_name": "root"}),
        ),
        (
            json!({"process": {"user": {"name": "root", "id": "0"}}, "user": {"name": "marta"}}),
            json!({"actor_user_name": "marta", "actor_user_uid": null, "process_user_name": "root"}),
        ),
        (
            json!({"host": {"name": "pod-7"}, "kubernetes": {"node": {"name": "node-3"}, "namespace": "shop",
                "pod": {"name": "web-7d4b9c6d5f-x2v9k", "uid": "u"}, "labels": {"app": "web", "b": {"c": 1}},
                "replicaset": {"name": "web-7d4b9c6d5f"}, "deployment": {"name": "web"},
                "container": {"id": "containerd://5892b41bcf46aa", "name": "app", "image": "r:5000/a:1"}}}),
            json!({
                "device_hostname": "node-3", "namespace_name": "shop", "pod_name": "web-7d4b9c6d5f-x2v9k",
                "container_pod_uuid": "u", "pod_labels": ["app=web", "b.c=1"], "workload_name": "web",
                "workload_kind": "Deployment", "container_uid": "5892b41bcf46aa", "container_name": "app",
                "container_image_name": "r:5000/a", "container_image_tag": "1",
            }),
        ),
        (
            json!({"kubernetes": {"cronjob": {"name": "c"}, "job": {"name": "c-2"}}}),
            json!({"workload_name": "c", "workload_kind": "CronJob"}),
        ),
        (
            json!({"container": {"image": {"name": "a", "tag": ["1", "2"], "hash": {"all": []}}}}),
            json!({"container_image_name": "a", "container_image_tag": "1", "container_image_uid": null}),
        ),
        (
            json!({"event.kind": "alert", "event.provider": "syscall", "event.severity": 2, "falco": {"priority": "Critical",
                "hostname": "n", "output": "o"}, "host": {"name": "x"}, "rule": {"name": "R"},
                "threat": {"technique": {"id": ["T1059"], "subtechnique": {"id": ["T1059.004"]}}}}),
            json!({
                "class_uid": 2004, "severity_id": 5, "device_hostname": "n", "message": "o", "finding_info_title": "R",
                "attack_techniques": ["T1059", "T1059.004"], "api_service_name": null,
            }),
        ),
        (json!({"event": {"severity": 73}}), json!({"severity_id": null})),
        (json!({"event": {"type": ["access", "denied"]}}), json!({"action": "denied"})),
        (
            json!({"source": {"ip": "10.0.0.7", "port": 43210, "bytes": 5}, "destination": {"ip": "10.0.0.9", "port": 443},
                "network": {"iana_number": "6", "direction": "egress"}}),
            json!({
                "src_endpoint_ip": "10.0.0.7", "connection_info_protocol_name": "tcp", "connection_info_direction": "outbound",
                "traffic_bytes_out": 5,
                "connection_info_community_uid":
                    crate::network::Connection { src_ip: Some("10.0.0.7"), src_port: Some(43210), dst_ip: Some("10.0.0.9"),
                        dst_port: Some(443), protocol: Some("tcp") }.community_uid(),
            }),
        ),
        (json!({"network": {"direction": "internal"}}), json!({"connection_info_direction": null})),
        (
            json!({"cloud": {"provider": "aws"}, "event": {"provider": "iam.amazonaws.com", "action": "CreateUser"},
                "error": {"code": "AccessDenied", "message": "no"}, "event.id": "e-1"}),
            json!({
                "cloud_provider": "AWS", "api_service_name": "iam.amazonaws.com", "api_response_error": "AccessDenied",
                "status_detail": "no", "metadata_original_uid": "e-1",
            }),
        ),
        (json!({"labels": {"team": "shop", "tier": 1}}), json!({"metadata_labels": ["team=shop", "tier=1"]})),
        (json!({"dns": {"answers": [{"data": "a"}, {"data": "b"}]}}), json!({"dns_answers": ["a", "b"]})),
        (json!({"log": {"flags": ["multiline", "truncated"]}}), json!({"truncated": true})),
        (
            json!({"@timestamp": 1_770_113_730_230i64}),
            json!({"time": "2026-02-03T10:15:30.230000Z", "time_original": "1770113730230"}),
        ),
        (
            json!({"@timestamp": null, "event": {"created": "2026-02-03T10:15:31Z"}}),
            json!({"time": "2026-02-03T10:15:31.000000Z"}),
        ),
        (
            json!({"process": "x", "user": [], "event": {"category": 7, "type": {}}, "source": null}),
            json!({"class_uid": 0, "process_name": null, "metadata_product_name": "ecs"}),
        ),
    ]);
}

#[test]
fn every_sample_decodes_and_what_is_bad_is_refused() {
    let samples = include_str!("../../samples/ecs.ndjson");
    let (batch, out) = decode_with(&[], samples.lines());
    assert_eq!((batch.rows(), out.rejects.len()), (samples.lines().count(), 0), "{:?}", out.rejects);
    assert_eq!(out.coverage.iter().map(|fact| fact.kind).collect::<Vec<_>>(), [CoverageKind::Truncated]);
    let (batch, out) = decode_with(&[], include_str!("../../samples/ecs.bad.ndjson").lines());
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(batch.rows(), 0);
    assert_eq!(reasons, ["not_an_ecs_document", "not_an_ecs_document", "missing_time"]);
}

#[test]
fn rules_name_fields_nested_and_dotted() {
    let payload = document(&json!({"process": {"name": "a"}, "event.action": "x"})).to_string();
    let (batch, _) = decode_with(&["event.action", "process.name"], [payload.as_str()]);
    let values: Vec<&[FieldValue]> = batch.fields().iter().map(|field| field.values()).collect();
    let text = |text: &str| FieldValue::Str(text.into());
    assert_eq!(values, [&[text("x")][..], &[text("a")]]);
}
