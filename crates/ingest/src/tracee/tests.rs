//! Which parts of an event fill which columns, in each of the three shapes, and what is no event of Tracee's.

use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, EventBatch, Lane, LaneClock};
use serde_json::{Value as Json, json};

use crate::decode::{Decoded, Format, Settings, decoder};
use crate::testing::{self, shared};

const SAMPLES: &str = include_str!("../../samples/tracee.ndjson");
const BAD: &str = include_str!("../../samples/tracee.bad.ndjson");

fn decode(payloads: &[&str]) -> (EventBatch, Decoded) {
    testing::decode(&Format::Tracee, &[], payloads)
}

/// Decodes records whose carrier gave each this time.
fn decode_carried(payloads: &[&str], time: i64) -> (EventBatch, Decoded) {
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut chunk = Chunk::new(Arc::clone(&lane));
    for (offset, payload) in (0..).zip(payloads) {
        chunk.push(payload.as_bytes(), offset, None, Some(time));
    }
    let mut out = Decoded::new(Arc::default());
    let mut decoder = decoder(&Format::Tracee, lane, Arc::new(Settings::default()));
    decoder.decode(&chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
    (out.events.finish().unwrap(), out)
}

#[test]
fn samples_fill_their_columns() {
    let lines: Vec<&str> = SAMPLES.lines().collect();
    let (batch, out) = decode(&lines);
    assert_eq!((batch.rows(), out.rejects.len()), (lines.len(), 0), "{:?}", out.rejects);
    let expected = [
        json!({"class_uid": 1007, "activity_id": 1, "metadata_product_name": "tracee", "api_operation": "execve",
            "syscall": "execve", "time": "2026-02-03T09:15:01.123456Z", "time_original": "1770110101123456789",
            "process_pid": 4242, "process_namespace_pid": 17, "process_parent_pid": 4100, "process_name": "wget",
            "process_file_path": "/usr/bin/wget", "file_path": "/usr/bin/wget", "process_user_uid": "0",
            "process_cmd_line": "wget -q https://drop.example/a b", "process_uid": "3999221038",
            "process_parent_uid": "3069802613", "process_created_time": "2026-02-03T09:15:00.000000Z",
            "policy_names": ["watch"], "exit_code": 0, "status_id": 1, "device_hostname": null,
            "container_name": "till", "container_image_name": "registry.pier.example/market/till",
            "container_image_tag": "2.4.1", "namespace_name": "market", "pod_name": "till-6c9f7d8b54-k2xvq",
            "container_pod_uuid": "5a0c2f6e-3b1d-4f5e-9a77-0d1e2f3a4b5c", "workload_name": "till",
            "severity_id": null, "finding_info_title": null}),
        json!({"activity_id": 1, "process_file_path": "/srv/serve", "process_cmd_line": "./serve --port 8080",
            "syscall": "execve", "status_id": null}),
        json!({"class_uid": 1001, "activity_id": 14, "file_path": "/etc/shadow", "exit_code": -13, "status_id": 2,
            "process_created_time": null, "process_cmd_line": null}),
        json!({"class_uid": 1001, "api_operation": "security_file_open", "syscall": "openat",
            "file_path": "/etc/passwd", "device_hostname": "pier-2", "container_uid": null, "policy_names": null,
            "pod_name": null}),
        json!({"class_uid": 4001, "activity_id": 1, "dst_endpoint_ip": "203.0.113.7", "dst_endpoint_port": 443,
            "connection_info_protocol_name": "tcp", "connection_info_direction": "outbound"}),
        json!({"activity_id": 7, "src_endpoint_ip": "::", "src_endpoint_port": 8080, "dst_endpoint_ip": null}),
        json!({"activity_id": 1, "file_path": "/run/docker.sock", "dst_endpoint_ip": null}),
        json!({"class_uid": 4001, "activity_id": 6, "src_endpoint_ip": "10.2.0.9", "src_endpoint_port": 40112,
            "dst_endpoint_ip": "203.0.113.7", "connection_info_protocol_name": "tcp", "syscall": "sendto"}),
        json!({"activity_id": 6, "connection_info_protocol_name": "icmp", "src_endpoint_port": null}),
        json!({"class_uid": 4003, "activity_id": 2, "dns_query_hostname": "till.example", "dns_query_type": "A",
            "dns_rcode": "NXDOMAIN", "dns_answers": ["edge.example", "203.0.113.9"], "src_endpoint_port": 53}),
        json!({"activity_id": 1, "dns_query_type": "AAAA", "connection_info_protocol_name": "udp",
            "dst_endpoint_port": 53, "traffic_bytes_out": 68, "dns_rcode": null}),
        json!({"activity_id": 2, "dns_query_hostname": "till.example", "dns_answers": ["203.0.113.9", "203.0.113.10"]}),
        json!({"class_uid": 4002, "activity_id": 3, "http_request_http_method": "GET",
            "http_request_url_path": "/prices", "http_request_user_agent": "curl/8.9",
            "dst_endpoint_hostname": "till.example", "connection_info_protocol_name": "tcp"}),
        json!({"class_uid": 1007, "activity_id": 2, "exit_code": 256}),
        json!({"class_uid": 2004, "activity_id": 1, "finding_info_title": "Anti-Debugging detected", "severity_id": 2,
            "attack_techniques": ["T1622"], "metadata_labels": ["defense-evasion", "TRC-102"],
            "message": "A process keeps debuggers away.", "file_path": "/srv/serve", "syscall": "ptrace",
            "api_operation": "anti_debugging", "exit_code": null, "status_id": null}),
        json!({"container_image_tag": "2.4.1", "container_name": "till", "workload_name": "till",
            "process_uid": "9007199254740993", "process_parent_uid": "18446744073709551615", "policy_names": null,
            "process_created_time": null, "syscall": "openat"}),
        json!({"class_uid": 1007, "activity_id": 1, "time": "2026-02-03T09:15:40.500000Z", "exit_code": -2,
            "status_id": 2, "policy_names": ["watch", "runs"], "process_uid": "3999221038",
            "process_parent_uid": "3069802613", "process_parent_pid": 4100, "process_parent_name": "dash",
            "process_parent_file_path": "/bin/dash", "process_ancestors": ["containerd-shim-runc-v2"],
            "process_pid": 4242, "process_namespace_pid": 17, "process_user_uid": "1000",
            "process_created_time": "2026-02-03T09:15:00.100200Z", "process_cmd_line": "wget -q drop.example",
            "container_image_name": "registry.pier.example/market/till", "pod_labels": ["app=till"],
            "namespace_name": "market", "device_hostname": null}),
        json!({"class_uid": 4003, "activity_id": 2, "dns_query_hostname": "till.example",
            "dns_answers": ["203.0.113.9"], "connection_info_direction": "inbound", "src_endpoint_port": 53}),
        json!({"class_uid": 4001, "activity_id": 1, "dst_endpoint_ip": "10.2.0.9", "dst_endpoint_port": 8080,
            "src_endpoint_ip": null, "connection_info_direction": "inbound", "process_cmd_line": null}),
        json!({"class_uid": 2004, "finding_info_title": "Dropped executable", "severity_id": 4,
            "attack_techniques": ["T1059.004"], "metadata_labels": ["Execution", "PIER-7"], "file_path": "/tmp/a.sh",
            "message": "A file was dropped and run.", "syscall": "sched_process_exec", "process_name": "wget"}),
        json!({"time": "2026-02-03T09:15:44.123456Z", "time_original": "1770110144.123456789",
            "process_pid": 12345, "process_uid": "9876543210", "process_user_uid": "1000", "process_parent_pid": 1234,
            "process_parent_uid": "77", "process_cmd_line": "ls -la /tmp", "process_file_path": "/usr/bin/bash",
            "process_created_time": "2026-02-03T09:15:00.000000Z", "policy_names": ["default-policy"]}),
        json!({"class_uid": 1001, "api_operation": "openat", "process_pid": null}),
    ];
    assert_eq!(expected.len(), lines.len());
    for (row, columns) in expected.iter().enumerate() {
        let found = batch.row_json(row);
        for (column, value) in columns.as_object().unwrap() {
            assert_eq!(&found[column], value, "{column} of sample {}", row + 1);
        }
    }
    // Question and answer, and the two shapes, tell of the same connection and the same container.
    let [question, answer, newer] =
        [10, 11, 17].map(|row| batch.row_json(row)["connection_info_community_uid"].clone());
    assert!(question.is_string() && question == answer && answer == newer);
    let [legacy, current] = [0, 16].map(|row| {
        let row = batch.row_json(row);
        [row["container_uid_short"].clone(), row["container_image_uid"].clone()]
    });
    assert!(legacy.iter().all(Json::is_string));
    assert_eq!(legacy, current);
}

#[test]
fn other_documents_are_refused_and_other_clocks_are_not_believed() {
    let lines: Vec<&str> = BAD.lines().collect();
    let (batch, out) = decode(&lines);
    assert_eq!((batch.rows(), out.counts.rejected), (0, 7));
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let expected = [["missing_time"; 4].as_slice(), ["not_a_tracee_event"; 3].as_slice()].concat();
    assert_eq!(reasons, expected);
    // With a carrier that knows the time, the first four are events.
    let (batch, out) = decode_carried(&lines, 1_770_110_100_000_000);
    assert_eq!((batch.rows(), out.counts.rejected), (4, 3));
    for (row, original) in [json!(null), json!("1321321"), json!("5323.321532"), json!(null)].iter().enumerate() {
        let row = batch.row_json(row);
        assert_eq!((&row["time"], &row["time_original"]), (&json!("2026-02-03T09:15:00.000000Z"), original));
    }
}

#[test]
fn a_hosts_name_is_believed_only_outside_containers_and_if_it_is_whole() {
    for (host, container, named) in
        [("pier-2", "", json!("pier-2")), ("pier-2", "abbc123", Json::Null), ("pool-hst1l5k80-", "", Json::Null)]
    {
        let payload = json!({"timestamp": 1_770_110_101_123_456_789i64, "eventName": "openat", "argsNum": 0,
            "hostName": host, "containerId": container});
        let (batch, _) = decode(&[&payload.to_string()]);
        assert_eq!(batch.row_json(0)["device_hostname"], named, "{host} {container}");
    }
}

#[test]
fn the_other_end_of_what_comes_in_is_the_source() {
    for (name, ip, port) in [
        ("accept4", "src_endpoint_ip", "src_endpoint_port"),
        ("recvfrom", "src_endpoint_ip", "src_endpoint_port"),
        ("bind", "src_endpoint_ip", "src_endpoint_port"),
        ("connect", "dst_endpoint_ip", "dst_endpoint_port"),
    ] {
        let key = if name == "recvfrom" { "src_addr" } else { "addr" };
        let payload = json!({"timestamp": 1_770_110_101_123_456_789i64, "eventName": name, "argsNum": 1, "args": [
            {"name": key, "type": "struct sockaddr*",
                "value": {"sa_family": "AF_INET", "sin_addr": "10.2.0.31", "sin_port": "51514"}}]});
        let (batch, _) = decode(&[&payload.to_string()]);
        let row = batch.row_json(0);
        assert_eq!((&row[ip], &row[port]), (&json!("10.2.0.31"), &json!(51514)), "{name}");
        let other = if ip.starts_with("src") { "dst_endpoint_ip" } else { "src_endpoint_ip" };
        assert_eq!(row[other], Json::Null, "{name}");
    }
}

#[test]
fn public_recordings_are_read_or_refused_for_a_reason() {
    let Some(folder) = shared("tracee") else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let text = read("aquasecurity_tracee.ndjson");
    let lines: Vec<&str> = text.lines().collect();
    let (batch, out) = decode(&lines);
    // Those without a time are of test code: another clock's, or none.
    assert!(out.rejects.iter().all(|reject| reject.reason == "missing_time"), "{:?}", out.rejects);
    assert_eq!((lines.len(), batch.rows(), out.rejects.len()), (224, 206, 18));
    let count =
        |column: &str, value: Json| (0..batch.rows()).filter(|&row| batch.row_json(row)[column] == value).count();
    assert_eq!(count("class_uid", json!(2004)), 4);
    assert_eq!(count("class_uid", json!(4003)), 52);
    assert_eq!(count("class_uid", json!(4002)), 13);
    for name in ["replay_low_level_events.json", "replay_mixed_events.json"] {
        let text = read(name);
        let lines: Vec<&str> = text.lines().collect();
        let (batch, out) = decode(&lines);
        assert_eq!((batch.rows(), out.rejects.len()), (2, 0), "{name}");
    }
}
