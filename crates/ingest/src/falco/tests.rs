//! Which fields of an alert fill which columns, and what Falco says about itself.

use palisade_events::{EventBatch, FieldValue};
use serde_json::{Value as Json, json};

use super::*;
use crate::decode::{Decoded, Format};

fn decode_with(plan: &[&str], payload: &str) -> (EventBatch, Decoded) {
    crate::testing::decode(&Format::Falco, plan, &[payload])
}

#[test]
fn fields_of_an_alert_fill_their_columns() {
    let cases = [
        (
            json!({"container.id": "host", "container.name": "host"}),
            json!({
                "class_uid": 2004, "activity_id": 1, "finding_info_title": "R", "severity_id": 3, "message": "text",
                "metadata_log_name": "syscall", "metadata_labels": ["a", "b"], "device_hostname": "n1",
                "container_uid": null, "container_name": null, "time": "2024-03-01T08:52:34.832049Z",
                "time_original": "2024-03-01T08:52:34.832049033Z",
            }),
        ),
        (
            json!({"proc.name": "sh", "proc.cmdline": "sh -c id", "proc.exepath": "/bin/sh", "proc.pid": 7,
            "proc.ppid": 6, "proc.pname": "runc", "proc.pcmdline": "runc x", "proc.pexepath": "/runc", "proc.cwd": "/",
            "proc.aname[3]": "init", "proc.aname[2]": "containerd", "proc.aname[1]": "runc", "proc.aname[4]": null}),
            json!({
                "process_name": "sh", "process_cmd_line": "sh -c id", "process_file_path": "/bin/sh", "process_pid": 7,
                "process_parent_pid": 6, "process_parent_name": "runc", "process_parent_cmd_line": "runc x",
                "process_parent_file_path": "/runc", "process_working_directory": "/",
                "process_ancestors": ["containerd", "init"],
            }),
        ),
        (
            json!({"user.name": "root", "user.uid": 0, "user.loginuid": -1}),
            json!({
                "actor_user_name": "root", "process_user_name": "root", "actor_user_uid": "0", "process_user_uid": "0",
                "actor_session_uid": null,
            }),
        ),
        (json!({"user.loginuid": 4294967295u32}), json!({"actor_session_uid": null})),
        (
            json!({"user.loginuid": 1000, "user.name": "<NA>"}),
            json!({"actor_session_uid": "1000", "actor_user_name": null}),
        ),
        (
            json!({"container.id": "5892b41bcf46", "container.name": "app", "container.image.repository": "a",
            "container.image.tag": "1", "container.image.digest": "sha256:f", "k8s.ns.name": "shop",
            "k8s.pod.name": "web-7d4b9c6d5f-x2v9k"}),
            json!({
                "container_uid": "5892b41bcf46", "container_uid_short": "5892b41bcf46", "container_name": "app",
                "container_image_name": "a", "container_image_tag": "1", "container_image_uid": "sha256:f",
                "namespace_name": "shop", "pod_name": "web-7d4b9c6d5f-x2v9k", "workload_name": "web",
            }),
        ),
        (
            json!({"fd.name": "/etc/shadow", "evt.type": "openat"}),
            json!({
                "file_path": "/etc/shadow", "syscall": "openat", "api_operation": "openat",
            }),
        ),
        (
            json!({"fd.name": "172.17.0.9:43812->10.96.0.1:443", "fd.l4proto": "tcp"}),
            json!({
                "src_endpoint_ip": "172.17.0.9", "src_endpoint_port": 43812, "dst_endpoint_ip": "10.96.0.1",
                "dst_endpoint_port": 443, "connection_info_protocol_name": "tcp", "file_path": null,
            }),
        ),
        (
            json!({"fd.name": "::1:5->fe80::2:53", "fd.sport": "54"}),
            json!({
                "src_endpoint_ip": "::1", "dst_endpoint_ip": "fe80::2", "dst_endpoint_port": 54,
            }),
        ),
        (json!({"fd.name": "<NA>", "evt.arg.path": "/x"}), json!({"file_path": "/x"})),
        (
            json!({"container.id": "5892b41bcf46", "container.full_id": format!("5892b41bcf46{}", "0".repeat(52)),
            "k8s.pod.uid": "p-1", "proc.vpid": 7, "evt.rawres": -13, "evt.res": "EACCES"}),
            json!({
                "container_uid": format!("5892b41bcf46{}", "0".repeat(52)), "container_uid_short": "5892b41bcf46",
                "container_pod_uuid": "p-1", "process_namespace_pid": 7, "exit_code": -13, "status_id": 2,
            }),
        ),
        (
            json!({"evt.rawres": "3", "k8smeta.pod.uid": "p-2"}),
            json!({"exit_code": 3, "status_id": 1, "container_pod_uuid": "p-2"}),
        ),
        (json!({"evt.res": "SUCCESS"}), json!({"exit_code": null, "status_id": 1})),
        (json!({"evt.res": "ENOENT"}), json!({"exit_code": null, "status_id": 2})),
        (
            json!({"ka.user.name": "system:serviceaccount:shop:web", "ka.verb": "get", "ka.user.groups": "(a, b)",
            "ka.impuser.name": "root", "ka.sourceips": ["10.0.0.1", "10.0.0.2"]}),
            json!({
                "actor_user_name": "system:serviceaccount:shop:web", "actor_service_account": "shop/web",
                "actor_user_groups": ["a", "b"], "actor_impersonated_user_name": "root", "src_endpoint_ip": "10.0.0.2",
                "src_endpoint_intermediate_ips": ["10.0.0.1", "10.0.0.2"], "process_user_name": null, "syscall": null,
            }),
        ),
        (
            json!({"evt.type": "pluginevent", "ct.id": "e-1", "ct.name": "DeleteTrail", "ct.user": "marta",
            "ct.src": "cloudtrail.amazonaws.com", "ct.srcip": "203.0.113.9", "ct.region": "eu-west-1", "ct.error": "AccessDenied"}),
            json!({
                "metadata_correlation_uid": "e-1", "api_operation": "DeleteTrail", "actor_user_name": "marta",
                "api_service_name": "cloudtrail.amazonaws.com", "src_endpoint_ip": "203.0.113.9",
                "cloud_region": "eu-west-1", "api_response_error": "AccessDenied", "process_user_name": null, "syscall": null,
            }),
        ),
        (
            json!({"ka.user.name": "bob", "ka.verb": "create", "ka.target.resource": "pods", "ka.target.name": "p-0",
            "ka.target.namespace": "n", "ka.auth.decision": "allow", "ka.response.code": "201"}),
            json!({
                "actor_user_name": "bob", "process_user_name": null, "api_operation": "create", "resource_type": "pods",
                "resource_name": "p-0", "pod_name": "p-0", "workload_name": "p", "namespace_name": "n",
                "authorization_decision": "allow", "api_response_code": 201,
            }),
        ),
    ];
    for (fields, expected) in cases {
        let payload = json!({"hostname": "n1", "output": "text", "priority": "Warning", "rule": "R", "source": "syscall",
            "tags": ["a", "b"], "time": "2024-03-01T08:52:34.832049033Z", "output_fields": fields});
        let (batch, out) = decode_with(&[], &payload.to_string());
        assert_eq!(batch.rows(), 1, "{fields}: {:?}", out.rejects);
        let row = batch.row_json(0);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {fields}");
        }
    }
}

#[test]
fn priorities_and_times_are_read_in_all_their_spellings() {
    for (part, severity, time) in [
        (r#""priority":"Emergency","time":"2024-01-01T00:00:00.000000000Z""#, 6, "2024-01-01T00:00:00.000000Z"),
        (r#""priority":"critical","time":{"seconds":1570094449,"nanos":620298462}"#, 5, "2019-10-03T09:20:49.620298Z"),
        (r#""priority":3,"time":{"seconds":"1570094449"}"#, 4, "2019-10-03T09:20:49.000000Z"),
        (r#""priority":"Debug","output_fields":{"evt.time":1709283154832049033}"#, 1, "2024-03-01T08:52:34.832049Z"),
        // A time that no table can hold is none.
        (
            r#""priority":"Debug","time":{"seconds":9223372036854775807},"output_fields":{"evt.time":1709283154832049033}"#,
            1,
            "2024-03-01T08:52:34.832049Z",
        ),
        (r#""priority":"Notice","time":"2020-03-03T17:50:03.391768+00:00""#, 2, "2020-03-03T17:50:03.391768Z"),
    ] {
        let (batch, out) = decode_with(&[], &format!("{{\"rule\":\"R\",{part}}}"));
        assert_eq!(batch.rows(), 1, "{part}: {:?}", out.rejects);
        let row = batch.row_json(0);
        assert_eq!((row["severity_id"].as_i64(), row["time"].as_str()), (Some(severity), Some(time)), "{part}");
    }
    let (_, out) = decode_with(&[], r#"{"rule":"R","priority":"Error","time":"2021-04-13T20:58:00.746609046Z+2"}"#);
    assert_eq!(out.rejects[0].reason, "missing_time");
    let (_, out) = decode_with(&[], r#"{"kind":"Event","auditID":"a"}"#);
    assert_eq!(out.rejects[0].reason, "not_a_falco_alert");
}

#[test]
fn falco_about_itself_is_coverage_and_no_event() {
    for (payload, kind, count) in [
        (
            r#"{"hostname":"h","rule":"Falco internal: syscall event drop","output":"drop","output_fields":{"n_drops":"922"},"time":"2023-03-03T03:03:03.000000003Z"}"#,
            CoverageKind::Lost,
            922,
        ),
        (
            r#"{"rule":"Falco internal: syscall event drop","priority":"Debug","output_fields":{"n_drops":7},"time":"2023-03-03T03:03:03Z"}"#,
            CoverageKind::Lost,
            7,
        ),
        (
            r#"{"rule":"Falco internal: syscall event drop","priority":"Debug","time":"2023-03-03T03:03:03Z"}"#,
            CoverageKind::Lost,
            -1,
        ),
        (
            r#"{"rule":"Falco internal: metrics snapshot","source":"internal","output":"m","time":"2023-03-03T03:03:03Z"}"#,
            CoverageKind::Health,
            -1,
        ),
    ] {
        let (batch, out) = decode_with(&[], payload);
        assert_eq!((batch.rows(), out.counts.coverage, out.counts.used), (0, 1, 0), "{payload}");
        assert_eq!((out.coverage[0].kind, out.coverage[0].count), (kind, count), "{payload}");
        assert_eq!(out.coverage[0].window_start, 1_677_812_583_000_000);
    }
}

#[test]
fn rules_name_output_fields_with_and_without_their_object() {
    let payload = json!({"rule": "R", "priority": "Error", "time": "2024-01-01T00:00:00Z",
        "output_fields": {"proc.name": "sh", "evt.time": 1_709_283_154_832_049_033i64, "user.name": null}});
    let (batch, _) =
        decode_with(&["evt.time", "output_fields.proc.name", "proc.name", "rule", "user.name"], &payload.to_string());
    let values: Vec<Json> = batch.fields().iter().map(|f| format!("{:?}", f.values()).into()).collect();
    let sh = format!("{:?}", [FieldValue::Str("sh".into())]);
    let expected = [
        format!("{:?}", [FieldValue::Int(1_709_283_154_832_049_033)]),
        sh.clone(),
        sh,
        format!("{:?}", [FieldValue::Str("R".into())]),
        format!("{:?}", [FieldValue::Null]),
    ];
    assert_eq!(values, expected);
}
