//! Which parts of an alert fill which columns, what KubeArmor tells of what it left out, and what is not of it.

use palisade_events::{CoverageKind, EventBatch};
use serde_json::{Value as Json, json};

use crate::decode::{Decoded, Format};
use crate::testing::{self, shared};

const SAMPLES: &str = include_str!("../../samples/kubearmor.ndjson");
const BAD: &str = include_str!("../../samples/kubearmor.bad.ndjson");

fn decode(payloads: &[&str]) -> (EventBatch, Decoded) {
    testing::decode(&Format::KubeArmor, &[], payloads)
}

#[test]
fn samples_fill_their_columns() {
    let lines: Vec<&str> = SAMPLES.lines().collect();
    let (batch, out) = decode(&lines);
    assert_eq!((batch.rows(), out.rejects.len()), (lines.len(), 0), "{:?}", out.rejects);
    let expected = [
        json!({"class_uid": 1007, "activity_id": 1, "metadata_product_name": "kubearmor", "api_operation": "execve",
            "syscall": "execve", "metadata_log_name": "MatchedPolicy", "time": "2026-02-03T09:15:01.451704Z",
            "time_original": "2026-02-03T09:15:01.451704Z", "severity_id": 3, "policy_names": ["no-packages"],
            "finding_info_title": "no-packages", "message": "packages are built in",
            "metadata_labels": ["NIST", "MITRE_T1082_system_information_discovery", "MITRE_TA0007_discovery"],
            "attack_techniques": ["T1082"], "action": "denied", "status_id": 2, "status_detail": "Permission denied",
            "cluster_name": "quay-blue", "device_hostname": "pier-2", "namespace_name": "market",
            "pod_name": "till-6c9f7d8b54-k2xvq", "pod_labels": ["app=till", "tier=front"], "workload_name": "till",
            "workload_kind": "Deployment", "container_name": "till", "container_image_tag": "2.4.1",
            "container_image_name": "registry.pier.example/market/till", "process_pid": 4242,
            "process_namespace_pid": 17, "process_parent_pid": 4100, "process_user_uid": "0", "process_name": "apt",
            "process_file_path": "/usr/bin/apt", "process_cmd_line": "/usr/bin/apt install nmap",
            "process_parent_name": "dash", "process_parent_file_path": "/bin/dash",
            "process_parent_cmd_line": "/bin/dash", "process_working_directory": "/srv",
            "actor_session_terminal": "pts0", "process_uid": "1078688820741427", "file_path": null}),
        json!({"class_uid": 1001, "activity_id": 14, "file_path": "/run/secrets/token", "severity_id": 4,
            "action": "observed", "status_id": 1, "status_detail": null, "attack_techniques": ["T1552"],
            "process_cmd_line": "/bin/cat /run/secrets/token", "process_parent_cmd_line": null}),
        json!({"activity_id": 4, "syscall": "file_unlink", "severity_id": null, "metadata_labels": null,
            "action": "observed"}),
        json!({"class_uid": 4001, "activity_id": 1, "dst_endpoint_ip": "203.0.113.7", "dst_endpoint_port": 443,
            "connection_info_protocol_name": "tcp", "connection_info_direction": "outbound", "severity_id": 5,
            "action": "observed", "dns_query_hostname": null}),
        json!({"class_uid": 4001, "activity_id": 99, "syscall": "socket", "connection_info_protocol_name": null,
            "pod_labels": ["app=till", "tier=front"], "severity_id": 2, "action": "denied"}),
        json!({"class_uid": 4003, "activity_id": 1, "dns_query_hostname": "till.example", "dns_query_type": "AAAA",
            "dst_endpoint_ip": "10.96.0.10", "dst_endpoint_port": 53, "connection_info_protocol_name": "udp",
            "policy_names": null, "finding_info_title": null, "action": null}),
        json!({"class_uid": 4003, "dns_query_hostname": "drop.example.market.svc.cluster.local",
            "action": "denied", "severity_id": 5}),
        json!({"class_uid": 4001, "activity_id": 1, "dst_endpoint_ip": "10.2.0.31", "dst_endpoint_port": 5432,
            "time": "2026-02-03T09:15:07.000000Z", "time_original": "1770110107"}),
        json!({"class_uid": 1001, "activity_id": 4, "syscall": "unlink", "file_path": "/home/kim/secret.txt",
            "process_user_name": "kim", "actor_user_uid": "1000", "container_uid": null, "pod_name": null,
            "process_pid": 4242, "process_namespace_pid": null}),
        json!({"class_uid": 1007, "activity_id": 5, "process_pid": 4242, "process_parent_pid": 4100,
            "status_detail": "Operation not permitted"}),
        json!({"process_name": "sleep", "process_file_path": "/usr/bin/sleep", "process_parent_name": "zsh",
            "process_parent_file_path": null, "status_id": 2, "cluster_name": null}),
        json!({"class_uid": 4001, "activity_id": 6, "src_endpoint_ip": "192.0.2.42", "src_endpoint_port": 53262,
            "dst_endpoint_ip": "192.0.2.76", "dst_endpoint_port": 22, "connection_info_direction": "inbound",
            "action": "allowed", "process_pid": null, "process_name": null}),
        json!({"class_uid": 1007, "activity_id": 99, "resource_name": "CAP_NET_RAW", "syscall": "capable",
            "severity_id": 4}),
        json!({"class_uid": 1007, "activity_id": 3, "process_cmd_line": "/usr/bin/gdb", "process_name": "gdb",
            "process_parent_cmd_line": null}),
        json!({"class_uid": 0, "resource_name": "USB MASS-STORAGE", "status_id": 1, "api_operation": "Device"}),
        json!({"class_uid": 1007, "activity_id": 1, "workload_name": "cart", "workload_kind": "StatefulSet",
            "process_pid": 5000, "process_namespace_pid": 1, "time": "2026-02-03T09:15:16.000001Z"}),
    ];
    assert_eq!(expected.len(), lines.len());
    for (row, columns) in expected.iter().enumerate() {
        let found = batch.row_json(row);
        for (column, value) in columns.as_object().unwrap() {
            assert_eq!(&found[column], value, "{column} of sample {}", row + 1);
        }
    }
    let row = batch.row_json(0);
    assert!(row["container_image_uid"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(row["container_uid_short"].as_str().unwrap(), &row["container_uid"].as_str().unwrap()[..12]);
    // A connection whose both ends are known has its id.
    assert!(batch.row_json(11)["connection_info_community_uid"].is_string());
}

#[test]
fn left_out_alerts_are_a_loss_and_other_documents_are_refused() {
    let lines: Vec<&str> = BAD.lines().collect();
    let (batch, out) = decode(&lines);
    assert_eq!((batch.rows(), out.counts.coverage, out.counts.rejected), (0, 1, 4));
    let [loss] = out.coverage.as_slice() else { panic!("{:?}", out.coverage) };
    assert_eq!((loss.kind, loss.count), (CoverageKind::Lost, -1));
    assert_eq!(loss.window_end - loss.window_start, 30_000_000);
    assert!(loss.detail.contains("pier-2/market/till"), "{}", loss.detail);
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let other = "not_a_kubearmor_event";
    assert_eq!(reasons, ["missing_time", other, other, other]);
}

#[test]
fn a_connections_source_is_who_opened_it() {
    let expected = |src: (Json, Json), dst: (Json, Json)| [src.0, src.1, dst.0, dst.1];
    let (none, client, server) = (Json::Null, json!("10.2.0.31"), json!("10.2.0.9"));
    for (resource, data, ends) in [
        // The kernel's function tells the client's address, and the port that it came to.
        (
            "remoteip=10.2.0.31 port=8080 protocol=TCP",
            "kprobe=tcp_accept domain=AF_INET",
            expected((client.clone(), none.clone()), (none.clone(), json!(8080))),
        ),
        (
            "sa_family=AF_INET sin_port=51514 sin_addr=10.2.0.31",
            "syscall=SYS_ACCEPT fd=3",
            expected((client, json!(51514)), (none.clone(), none.clone())),
        ),
        (
            "sa_family=AF_INET sin_port=8080 sin_addr=10.2.0.9",
            "syscall=SYS_BIND fd=3",
            expected((server.clone(), json!(8080)), (none.clone(), none.clone())),
        ),
        (
            "sa_family=AF_INET sin_port=8080 sin_addr=10.2.0.9",
            "syscall=SYS_CONNECT fd=3",
            expected((none.clone(), none.clone()), (server, json!(8080))),
        ),
    ] {
        let event = json!({"Type": "ContainerLog", "Operation": "Network", "UpdatedTime": "2026-02-03T09:15:01Z",
            "HostPID": 4242, "Resource": resource, "Data": data});
        let (batch, _) = decode(&[&event.to_string()]);
        let row = batch.row_json(0);
        let columns = ["src_endpoint_ip", "src_endpoint_port", "dst_endpoint_ip", "dst_endpoint_port"];
        assert_eq!(columns.map(|column| row[column].clone()), ends, "{data}");
    }
}

#[test]
fn tags_name_techniques_and_tactics_are_none() {
    for (tag, id) in [
        ("MITRE_T1036_masquerading", Some("T1036")),
        ("MITRE_T1552.001_credentials_in_files", Some("T1552.001")),
        ("T1082", Some("T1082")),
        ("MITRE_TA0008_lateral_movement", None),
        ("MITRE", None),
        ("FGT1046", None),
        ("NIST_800-53_SI-4", None),
        ("T10é2", None),
    ] {
        assert_eq!(super::technique(tag), id, "{tag}");
    }
}

#[test]
fn public_recordings_are_read_or_refused_for_a_reason() {
    let Some(folder) = shared("kubearmor") else { return };
    let text = std::fs::read_to_string(folder.join("kubearmor_KubeArmor.ndjson")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let (batch, out) = decode(&lines);
    // Some alerts of the documentation have no time at all.
    assert!(out.rejects.iter().all(|reject| reject.reason == "missing_time"), "{:?}", out.rejects);
    assert_eq!((lines.len(), batch.rows(), out.rejects.len()), (55, 48, 7));
    let count =
        |column: &str, value: Json| (0..batch.rows()).filter(|&row| batch.row_json(row)[column] == value).count();
    assert_eq!(count("class_uid", json!(4003)), 9);
    assert_eq!(count("action", json!("denied")), 29);
    assert_eq!(count("device_hostname", Json::Null), 0);
}
