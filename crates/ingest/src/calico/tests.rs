//! Which parts of a flow log fill which columns, in all four spellings, and how both reports of a connection are one.

use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, EventBatch, FieldPlan, Lane, LaneClock};
use serde_json::{Value as Json, json};

use crate::decode::{Decoded, Format, Settings, decoder};

/// A document of Enterprise, to which cases add.
const FLOW: &str = r#"{"start_time":1772439000,"end_time":1772439300,"source_ip":"10.30.4.9","source_port":42106,
    "source_name":"portal-6b687c8dcb-zn5s2","source_name_aggr":"portal-6b687c8dcb-*","source_namespace":"shop",
    "source_type":"wep","source_labels":{"labels":["app=portal","-"]},"dest_ip":"10.30.8.79","dest_port":5432,
    "dest_name":"store-0","dest_name_aggr":"store-*","dest_namespace":"ledger","dest_type":"wep","proto":"tcp",
    "action":"allow","reporter":"src","bytes_in":1113,"bytes_out":388,"packets_in":5,"packets_out":6,"num_flows":1,
    "host":"node-1"}"#;

fn decode<'p>(payloads: impl IntoIterator<Item = &'p str>, time: Option<i64>) -> (EventBatch, Decoded) {
    let plan = Arc::new(FieldPlan::new(["action", "policies.all_policies"]));
    let settings = Arc::new(Settings { source: "s".into(), plan: Arc::clone(&plan), ..Settings::default() });
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut decoder = decoder(&Format::Calico, Arc::clone(&lane), settings);
    let mut chunk = Chunk::new(lane);
    for (offset, payload) in (0..).zip(payloads) {
        chunk.push(payload.as_bytes(), offset, None, time);
    }
    let mut out = Decoded::new(plan);
    decoder.decode(&chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
    (out.events.finish().unwrap(), out)
}

fn flow(part: &Json) -> Json {
    let mut flow: Json = serde_json::from_str(FLOW).unwrap();
    for (key, value) in part.as_object().unwrap() {
        flow[key] = value.clone();
    }
    flow
}

fn row(flow: &Json) -> Json {
    let (batch, out) = decode([flow.to_string().as_str()], None);
    assert_eq!(batch.rows(), 1, "{flow}: {:?}", out.rejects);
    batch.row_json(0)
}

fn expect(flow: &Json, expected: &Json) {
    let row = row(flow);
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column} of {flow}");
    }
}

#[test]
fn parts_of_a_document_fill_their_columns() {
    let cases = [
        (
            json!({}),
            json!({
                "class_uid": 4001, "activity_id": 6, "metadata_product_name": "calico", "action": "allowed",
                "status_id": null, "device_hostname": "node-1", "src_endpoint_ip": "10.30.4.9", "src_endpoint_port": 42106,
                "dst_endpoint_ip": "10.30.8.79", "dst_endpoint_port": 5432, "connection_info_protocol_name": "tcp",
                "src_endpoint_namespace_name": "shop", "src_endpoint_pod_name": "portal-6b687c8dcb-zn5s2",
                "src_endpoint_workload_name": "portal", "src_endpoint_labels": ["app=portal"],
                "dst_endpoint_namespace_name": "ledger", "dst_endpoint_pod_name": "store-0",
                "dst_endpoint_workload_name": "store", "namespace_name": "shop", "pod_name": "portal-6b687c8dcb-zn5s2",
                "workload_name": "portal", "pod_labels": ["app=portal"], "observation_point": "src",
                "connection_info_direction": "outbound", "traffic_bytes_in": 1113, "traffic_bytes_out": 388,
                "traffic_packets_in": 5, "traffic_packets_out": 6, "event_count": null, "metadata_correlation_uid": null,
                "time": "2026-03-02T08:15:00.000000Z", "time_original": "1772439300",
            }),
        ),
        // In and out are the reporter's; the columns count from source to destination.
        (
            json!({"reporter": "dst", "bytes_in": 388, "bytes_out": 1113, "packets_in": "6", "packets_out": null}),
            json!({
                "traffic_bytes_in": 1113, "traffic_bytes_out": 388, "traffic_packets_in": null, "traffic_packets_out": 6,
                "observation_point": "dst", "connection_info_direction": "inbound", "pod_name": "store-0",
                "namespace_name": "ledger", "workload_name": "store",
            }),
        ),
        (
            json!({"reporter": "fwd"}),
            json!({
                "observation_point": "fwd", "connection_info_direction": null, "pod_name": null, "namespace_name": null,
            }),
        ),
        (json!({"action": "deny"}), json!({"action": "denied", "status_id": 2, "activity_id": 5})),
        (json!({"num_flows": 47}), json!({"event_count": 47})),
        (
            json!({"source_ip": null, "source_name": "-", "source_port": null, "dest_ip": "", "dest_name": "-"}),
            json!({
                "src_endpoint_ip": null, "src_endpoint_pod_name": null, "src_endpoint_workload_name": "portal",
                "dst_endpoint_workload_name": "store", "workload_name": "portal", "pod_name": null,
                "connection_info_community_uid": null,
                "metadata_correlation_uid": "1772439000|shop/portal-6b687c8dcb-*|ledger/store-*|5432|tcp",
            }),
        ),
        (
            json!({"source_type": "net", "source_name": "-", "source_name_aggr": "pub", "source_namespace": "-",
                "source_labels": "-"}),
            json!({
                "src_endpoint_labels": ["pub"], "src_endpoint_namespace_name": null, "src_endpoint_pod_name": null,
                "src_endpoint_workload_name": null, "src_endpoint_hostname": null, "workload_name": null,
            }),
        ),
        (
            json!({"dest_type": "ns", "dest_name": "-", "dest_name_aggr": "partners", "dest_namespace": "-",
                "dest_domains": ["api.example", "b.example"]}),
            json!({"dst_endpoint_labels": ["partners"], "dst_endpoint_hostname": "api.example"}),
        ),
        (
            json!({"source_type": "hep", "source_name": "node-1-eth0", "source_namespace": "-"}),
            json!({"src_endpoint_hostname": "node-1-eth0", "src_endpoint_pod_name": null, "workload_name": null}),
        ),
        (
            json!({"dest_service_name": "store", "dest_service_namespace": "ledger", "dest_service_port": 5432}),
            json!({"dst_endpoint_svc_name": "ledger/store", "dst_endpoint_port": 5432}),
        ),
        (json!({"dest_service_name": "-", "dest_service_namespace": "-"}), json!({"dst_endpoint_svc_name": null})),
        (
            json!({"process_name": "/usr/bin/psql", "process_id": "4187", "process_args": ["*", "-h store"]}),
            json!({
                "process_name": "psql", "process_file_path": "/usr/bin/psql", "process_pid": 4187,
                "process_cmd_line": "-h store",
            }),
        ),
        (
            json!({"process_name": "*", "process_id": "-", "process_args": "-"}),
            json!({"process_name": null, "process_pid": null, "process_cmd_line": null}),
        ),
        (
            json!({"original_source_ips": ["203.0.113.4", "203.0.113.5"]}),
            json!({"src_endpoint_intermediate_ips": ["203.0.113.4", "203.0.113.5"]}),
        ),
        (json!({"proto": 6}), json!({"connection_info_protocol_name": "tcp"})),
        (
            json!({"proto": "icmp", "dest_port": 0}),
            json!({
                "connection_info_protocol_name": "icmp", "connection_info_community_uid": null, "dst_endpoint_port": null,
            }),
        ),
        (json!({"cluster": "harbour"}), json!({"cluster_name": "harbour"})),
        // Lists are in no order, and only what was enforced decided.
        (
            json!({"policies": {"all_policies": ["2|c|c|allow"], "pending_policies": ["0|a|staged:x|deny|0"],
                "enforced_policies": ["10|c|c.last|allow|0", "9|b|ns/b.mid|pass|1", "0|a|a.first|pass|-1", "10|c|c.last|allow|1"]}}),
            json!({"policy_names": ["a.first", "ns/b.mid", "c.last"]}),
        ),
        (
            json!({"policies": {"all_policies": ["1|b|b.two|allow", "0|a|a.one|pass", "odd", "x|y"], "enforced_policies": []}}),
            json!({"policy_names": ["a.one", "b.two", "odd", "x|y"]}),
        ),
        (json!({"policies": ["0|default|ledger/default.in|deny"]}), json!({"policy_names": ["ledger/default.in"]})),
        (json!({"policies": null}), json!({"policy_names": null})),
        (
            json!({"end_time": null, "start_time": 1772439000123i64}),
            json!({"time": "2026-03-02T08:10:00.123000Z", "time_original": "1772439000123"}),
        ),
        (
            json!({"end_time": 0, "start_time": "-", "@timestamp": "2026-03-02T08:15:00Z"}),
            json!({"time_original": "2026-03-02T08:15:00Z"}),
        ),
    ];
    for (part, expected) in cases {
        expect(&flow(&part), &expected);
    }
}

#[test]
fn goldmane_and_whisker_are_read_in_their_spellings() {
    let lines: Vec<Json> =
        include_str!("../../samples/calico.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [go, proto, whisker, other] = &lines[7..] else { panic!("samples moved") };
    let shared = json!({
        "class_uid": 4001, "src_endpoint_namespace_name": "shop", "src_endpoint_workload_name": "portal",
        "src_endpoint_pod_name": null, "dst_endpoint_namespace_name": "ledger", "dst_endpoint_workload_name": "store",
        "dst_endpoint_port": 5432, "dst_endpoint_svc_name": "ledger/store", "connection_info_protocol_name": "tcp",
        "src_endpoint_labels": ["app=portal"], "dst_endpoint_labels": ["app=store"], "traffic_bytes_out": 388,
        "traffic_packets_out": 6, "traffic_packets_in": 5, "time_original": "1772440015",
        "metadata_correlation_uid": "1772440000|shop/portal-6b687c8dcb-*|ledger/store-*|5432|tcp",
    });
    expect(go, &shared);
    expect(proto, &shared);
    expect(
        go,
        &json!({
            "observation_point": "src", "action": "allowed", "policy_names": ["shop/portal", "baseline"],
            "event_count": 5, "traffic_bytes_in": 1113, "workload_name": "portal",
        }),
    );
    expect(
        proto,
        &json!({
            "observation_point": "dst", "action": "denied", "activity_id": 5, "policy_names": ["baseline", "ledger/store-in"],
            "event_count": 4, "traffic_bytes_in": 9_007_199_254_740_993i64, "workload_name": "store",
        }),
    );
    expect(
        whisker,
        &json!({
            "action": "allowed", "src_endpoint_labels": ["pub"], "dst_endpoint_labels": ["app=portal", "tier=front"],
            "dst_endpoint_workload_name": "portal", "workload_name": "portal", "namespace_name": "shop",
            "policy_names": ["shop/portal-in"], "traffic_bytes_out": 900, "traffic_bytes_in": 4000,
            "time": "2026-03-02T08:26:55.000000Z", "pod_labels": ["app=portal", "tier=front"],
        }),
    );
    expect(
        other,
        &json!({
            "action": null, "src_endpoint_hostname": "edge-gw", "dst_endpoint_labels": ["pvt"],
            "dst_endpoint_namespace_name": null, "workload_name": null, "traffic_bytes_out": 80,
        }),
    );
}

#[test]
fn both_reports_of_a_connection_are_one() {
    let report = json!({"reporter": "dst", "bytes_in": 388, "bytes_out": 1113, "packets_in": 6, "packets_out": 5,
        "action": "deny", "end_time": 1772439295, "host": "node-2"});
    let rows = [row(&flow(&json!({}))), row(&flow(&report))];
    for column in [
        "connection_info_community_uid",
        "traffic_bytes_in",
        "traffic_bytes_out",
        "traffic_packets_in",
        "traffic_packets_out",
    ] {
        assert!(!rows[0][column].is_null(), "{column}");
        assert_eq!(rows[0][column], rows[1][column], "{column}");
    }
    assert_ne!(rows[0]["observation_point"], rows[1]["observation_point"]);
}

#[test]
fn samples_are_read_and_what_is_no_flow_log_is_refused() {
    let samples: Vec<&str> = include_str!("../../samples/calico.ndjson").lines().collect();
    let (batch, out) = decode(samples.iter().copied(), None);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    assert_eq!(batch.rows(), samples.len());
    let bad: Vec<&str> = include_str!("../../samples/calico.bad.ndjson").lines().collect();
    let (_, out) = decode(bad.iter().copied(), None);
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let none = "not_a_calico_flow";
    assert_eq!(reasons, [none, none, none, none, "missing_time", none]);
    let (batch, _) = decode([bad[4]], Some(1_772_439_000_000_000));
    assert_eq!(batch.row_json(0)["time"], "2026-03-02T08:10:00.000000Z");
}

#[test]
fn public_examples_are_read_and_pair_up() {
    let Some(folder) = crate::testing::shared("calico_flow") else { return };
    let text = std::fs::read_to_string(folder.join("tigera_docs.ndjson")).unwrap();
    let (batch, out) = decode(text.lines().filter(|line| !line.is_empty()), None);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    assert_eq!(batch.rows(), 7);
    let rows: Vec<Json> = (0..7).map(|row| batch.row_json(row)).collect();
    let connections = rows.iter().filter(|row| row["connection_info_community_uid"].is_string()).count();
    assert_eq!(connections, 2);
    assert_eq!(rows.iter().filter(|row| row["action"] == "denied").count(), 1);
    // The same connections, seen from both ends: allowed by one and denied by the other, and counted alike.
    for (source, destination) in [(2, 3), (4, 5)] {
        for column in ["metadata_correlation_uid", "traffic_bytes_out", "traffic_packets_out", "event_count"] {
            assert_eq!(rows[source][column], rows[destination][column], "{column} of {source}");
        }
    }
}
