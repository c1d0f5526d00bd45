//! Which parts of a flow fill which columns, what Hubble tells of itself, and what is none of Hubble's.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, CoverageKind, EventBatch, FieldPlan, Lane, LaneClock};
use serde_json::{Value as Json, json};

use crate::decode::{Decoded, Format, Settings, decoder};

/// A bare flow, to which cases add.
const FLOW: &str = r#"{"time":"2026-03-02T08:15:04.123456789Z","verdict":"FORWARDED","Type":"L3_L4","node_name":"n1",
    "IP":{"source":"10.0.0.1","destination":"10.0.0.2"},"l4":{"TCP":{"source_port":4000,"destination_port":80}},
    "source":{"namespace":"a","pod_name":"web-7d4b9c6d5f-x2v9k","labels":["k8s:app=web","k8s:io.kubernetes.pod.namespace=a"]},
    "destination":{"namespace":"b","pod_name":"db-0"}}"#;

fn decode<'p>(payloads: impl IntoIterator<Item = &'p str>, time: Option<i64>) -> (EventBatch, Decoded) {
    let plan = Arc::new(FieldPlan::new(["flow.verdict", "flow.l4.TCP.destination_port"]));
    let settings = Arc::new(Settings { source: "s".into(), plan: Arc::clone(&plan), ..Settings::default() });
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut decoder = decoder(&Format::Hubble, Arc::clone(&lane), settings);
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

#[test]
fn parts_of_a_flow_fill_their_columns() {
    let tcp = |flags: Json| json!({"l4": {"TCP": {"source_port": 4000, "destination_port": 80, "flags": flags}}});
    let cases = [
        (
            json!({}),
            json!({
                "class_uid": 4001, "activity_id": 6, "metadata_product_name": "hubble", "metadata_log_name": "L3_L4",
                "device_hostname": "n1", "action": "allowed", "status_id": null, "src_endpoint_ip": "10.0.0.1",
                "src_endpoint_port": 4000, "dst_endpoint_ip": "10.0.0.2", "dst_endpoint_port": 80,
                "connection_info_protocol_name": "tcp", "src_endpoint_namespace_name": "a",
                "src_endpoint_pod_name": "web-7d4b9c6d5f-x2v9k", "src_endpoint_workload_name": "web",
                "src_endpoint_labels": ["app=web", "io.kubernetes.pod.namespace=a"], "dst_endpoint_pod_name": "db-0",
                "dst_endpoint_workload_name": "db", "dst_endpoint_namespace_name": "b", "namespace_name": "a",
                "pod_name": "web-7d4b9c6d5f-x2v9k", "workload_name": "web", "container_pod_labels": null,
                "unmapped": null, "time": "2026-03-02T08:15:04.123456Z",
                "time_original": "2026-03-02T08:15:04.123456789Z", "cluster_name": null, "observation_point": null,
            }),
        ),
        (
            json!({"traffic_direction": "EGRESS"}),
            json!({"pod_name": "web-7d4b9c6d5f-x2v9k", "pod_labels": ["app=web"]}),
        ),
        // Directions are the connection's, ends the packet's.
        (
            json!({"traffic_direction": "EGRESS", "is_reply": true}),
            json!({"pod_name": "db-0", "namespace_name": "b", "connection_info_direction": "outbound"}),
        ),
        (
            json!({"traffic_direction": "INGRESS", "is_reply": {"value": false}}),
            json!({"pod_name": "db-0", "connection_info_direction": "inbound"}),
        ),
        (json!({"traffic_direction": "INGRESS", "reply": true}), json!({"pod_name": "web-7d4b9c6d5f-x2v9k"})),
        (json!({"traffic_direction": 1, "is_reply": {"value": true}}), json!({"pod_name": "web-7d4b9c6d5f-x2v9k"})),
        (json!({"destination": {"ID": 7, "pod_name": "db-0"}}), json!({"pod_name": "db-0"})),
        (
            json!({"trace_observation_point": "TO_ENDPOINT"}),
            json!({"pod_name": "db-0", "observation_point": "to_endpoint"}),
        ),
        (json!({"trace_observation_point": "FROM_NETWORK"}), json!({"observation_point": "from_network"})),
        (json!({"trace_observation_point": "TO_MOON"}), json!({"observation_point": "to_moon"})),
        (
            json!({"trace_observation_point": "UNKNOWN_POINT", "event_type": {"type": 5}}),
            json!({"observation_point": "policy_verdict"}),
        ),
        (json!({"event_type": {"type": 1, "sub_type": 133}}), json!({"observation_point": "drop"})),
        (
            json!({"verdict": "DROPPED", "drop_reason": 181, "drop_reason_desc": "POLICY_DENY"}),
            json!({"action": "denied", "status_id": 2, "status_detail": "POLICY_DENY", "activity_id": 5}),
        ),
        (json!({"verdict": "DROPPED", "drop_reason": 133}), json!({"status_detail": "POLICY_DENIED"})),
        (json!({"verdict": "DROPPED", "drop_reason": 140}), json!({"status_detail": "drop reason 140"})),
        (json!({"verdict": 2, "drop_reason_desc": "VLAN_FILTERED"}), json!({"action": "denied"})),
        (json!({"verdict": "ERROR"}), json!({"action": null, "status_id": 2, "activity_id": 4})),
        (json!({"verdict": "AUDIT"}), json!({"action": "observed", "status_id": null, "activity_id": 6})),
        (json!({"verdict": "REDIRECTED"}), json!({"action": "allowed"})),
        (json!({"verdict": "TRANSLATED", "Type": "SOCK"}), json!({"action": "allowed", "metadata_log_name": "SOCK"})),
        (json!({"verdict": "TRACED"}), json!({"action": "allowed"})),
        (json!({"verdict": "VERDICT_UNKNOWN"}), json!({"action": null, "status_id": null})),
        (tcp(json!({"SYN": true})), json!({"activity_id": 1})),
        (tcp(json!({"SYN": true, "ACK": true})), json!({"activity_id": 6})),
        (tcp(json!({"FIN": true, "ACK": true})), json!({"activity_id": 2})),
        (tcp(json!({"RST": true})), json!({"activity_id": 3})),
        (
            json!({"egress_allowed_by": [{"name": "p", "namespace": "a"}, {"name": "q"}, {"labels": []}],
                "ingress_denied_by": [{"name": "p", "namespace": "a"}, {"name": "r", "namespace": "b"}]}),
            json!({"policy_names": ["a/p", "q", "b/r"]}),
        ),
        (
            json!({"destination_names": ["db.example", "x"], "destination_service": {"name": "db", "namespace": "b"}}),
            json!({"dst_endpoint_hostname": "db.example", "dst_endpoint_svc_name": "b/db"}),
        ),
        (json!({"source_names": ["Web.example."]}), json!({"src_endpoint_hostname": "web.example"})),
        (
            json!({"source": {"workloads": [{"name": "w", "kind": "DaemonSet"}, {"name": "v"}], "pod_name": "w-x2v9k",
                "labels": ["reserved:host", "cidr:10.0.0.0/8", "k8s:io.cilium.k8s.policy.cluster=blue"]}}),
            json!({
                "src_endpoint_labels": ["reserved:host", "cidr:10.0.0.0/8", "io.cilium.k8s.policy.cluster=blue"],
                "workload_name": "w", "workload_kind": "DaemonSet", "src_endpoint_workload_name": "w",
                "cluster_name": "blue", "pod_labels": ["cidr:10.0.0.0/8"],
            }),
        ),
        (
            json!({"source": {"labels": ["k8s:io.cilium.k8s.policy.cluster=default"]}, "node_name": "n1"}),
            json!({"cluster_name": null}),
        ),
        // What the node says of its own cluster wins over where the other end is.
        (
            json!({"node_name": "default/n2", "destination": {"cluster_name": "far"}}),
            json!({"device_hostname": "n2", "cluster_name": null}),
        ),
        (json!({"node_name": "blue/n2"}), json!({"device_hostname": "n2", "cluster_name": "blue"})),
        (json!({"uuid": "u-1", "Summary": "TCP"}), json!({"metadata_original_uid": "u-1", "message": "TCP"})),
        (
            json!({"trace_context": {"parent": {"trace_id": "0af7"}}, "aggregate": {"ingress_flow_count": 2,
                "egress_flow_count": "3"}}),
            json!({"metadata_correlation_uid": "0af7", "event_count": 5}),
        ),
        (json!({"aggregate": {"ingress_flow_count": 1}}), json!({"event_count": null})),
        (
            json!({"l4": {"ICMPv6": {"type": 128}}}),
            json!({"connection_info_protocol_name": "icmpv6", "src_endpoint_port": null, "dst_endpoint_port": null}),
        ),
        (json!({"l4": {"VRRP": {"type": 1}}}), json!({"connection_info_protocol_name": "vrrp"})),
    ];
    for (part, expected) in cases {
        let row = row(&flow(&part));
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {part}");
        }
    }
}

#[test]
fn requests_and_answers_fill_their_columns() {
    let cases = [
        (
            json!({"type": "REQUEST", "dns": {"query": "db.example.", "observation_source": "proxy", "qtypes": ["AAAA", "A"]}}),
            json!({
                "class_uid": 4003, "activity_id": 1, "dns_query_hostname": "db.example", "dns_query_type": "AAAA",
                "dns_rcode": null, "dns_answers": null, "status_id": null,
            }),
        ),
        (
            json!({"type": "RESPONSE", "dns": {"query": ".", "ttl": 4294967295u32, "rcode": 3}}),
            json!({"activity_id": 2, "dns_query_hostname": ".", "dns_rcode": "NXDOMAIN", "status_id": 2}),
        ),
        // What is zero is left out.
        (
            json!({"type": "RESPONSE", "dns": {"query": "a.", "ips": ["10.1.1.1", "::1"], "cnames": ["b."], "ttl": 5}}),
            json!({"dns_rcode": "NOERROR", "dns_answers": ["b", "10.1.1.1", "::1"], "status_id": 1}),
        ),
        (json!({"dns": {"rcode": 23}}), json!({"class_uid": 4003, "activity_id": 6, "dns_rcode": "23"})),
        (
            json!({"type": "REQUEST", "http": {"method": "PATCH", "url": "https://shop:8443/v1/x?y=z", "headers":
                [{"key": "accept"}, {"key": "user-agent", "value": "curl/8"}, 7]}}),
            json!({
                "class_uid": 4002, "activity_id": 9, "http_request_http_method": "PATCH",
                "http_request_url_path": "/v1/x?y=z", "http_request_user_agent": "curl/8", "api_response_code": null,
                "status_id": null,
            }),
        ),
        (
            json!({"type": "RESPONSE", "latency_ns": "9223372036854775807", "http": {"code": 503, "method": "GET",
                "url": "/p"}}),
            json!({"activity_id": 3, "api_response_code": 503, "status_id": 2, "http_request_url_path": "/p"}),
        ),
        (
            json!({"type": 2, "http": {"code": 204, "method": "BREW", "url": "http://h"}}),
            json!({"activity_id": 99, "status_id": 1, "http_request_url_path": "/"}),
        ),
        (
            json!({"type": "REQUEST", "kafka": {"error_code": 29, "api_version": 9, "api_key": "produce", "correlation_id": 17, "topic": "payments"}}),
            json!({
                "class_uid": 4001, "api_operation": "produce", "resource_type": "topics", "resource_name": "payments",
                "api_response_code": 29, "api_service_name": "kafka",
            }),
        ),
    ];
    for (l7, expected) in cases {
        let row = row(&flow(&json!({"Type": "L7", "l7": l7, "event_type": {"type": 129}})));
        assert_eq!(row["observation_point"], "proxy");
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {l7}");
        }
    }
}

#[test]
fn both_ways_of_a_connection_have_one_id() {
    let back = json!({"IP": {"source": "10.0.0.2", "destination": "10.0.0.1"}, "is_reply": true,
        "l4": {"TCP": {"source_port": 80, "destination_port": 4000}}});
    let ids: Vec<Json> =
        [json!({}), back].iter().map(|part| row(&flow(part))["connection_info_community_uid"].clone()).collect();
    assert!(ids[0].as_str().is_some_and(|id| id.starts_with("1:")), "{ids:?}");
    assert_eq!(ids[0], ids[1]);
    // An echo reply has neither type nor code: both are zero, and zero is left out.
    let ping = json!({"l4": {"ICMPv4": {"type": 8}}});
    let pong = json!({"IP": {"source": "10.0.0.2", "destination": "10.0.0.1"}, "l4": {"ICMPv4": {}}});
    let ids: Vec<Json> =
        [ping, pong].iter().map(|part| row(&flow(part))["connection_info_community_uid"].clone()).collect();
    assert!(ids[0].is_string(), "{ids:?}");
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn flows_are_read_with_and_without_their_envelope() {
    let bare = flow(&json!({"traffic_direction": "EGRESS"}));
    let wrapped = json!({"flow": bare, "node_name": "other", "time": "2020-01-01T00:00:00Z"});
    assert_eq!(row(&wrapped), row(&bare), "the flow's own time and node win");
    // An exporter may leave out nearly everything, also the flow's time.
    let masked = json!({"flow": {"source": {"namespace": "a"}}, "node_name": "n3", "time": "2026-01-01T00:00:00Z"});
    let row = row(&masked);
    assert_eq!((row["namespace_name"].as_str(), row["device_hostname"].as_str()), (Some("a"), Some("n3")));
    assert_eq!(row["time"], "2026-01-01T00:00:00.000000Z");
}

#[test]
fn a_flow_without_a_time_takes_its_carriers() {
    let flow = flow(&json!({"time": null})).to_string();
    let (batch, _) = decode([flow.as_str()], Some(1_772_439_000_000_000));
    assert_eq!(batch.row_json(0)["time"], "2026-03-02T08:10:00.000000Z");
    let (_, out) = decode([flow.as_str()], None);
    assert_eq!(out.rejects[0].reason, "missing_time");
}

#[test]
fn what_the_agent_tells_is_an_event_of_the_base_class() {
    let cases = [
        (
            json!({"agent_event": {"type": "POLICY_DELETED", "policy_update": {"labels": ["k8s:a=b"], "revision": "15"}}}),
            json!({
                "class_uid": 0, "activity_id": 99, "api_operation": "POLICY_DELETED", "resource_type": "policies",
                "metadata_labels": ["k8s:a=b"], "metadata_log_name": "agent_event", "device_hostname": "n1",
                "cluster_name": "blue", "action": null,
            }),
        ),
        (
            json!({"agent_event": {"type": "ENDPOINT_CREATED", "endpoint_update": {"id": "411", "error": "no room",
                "pod_name": "web-7d4b9c6d5f-x2v9k", "namespace": "shop"}}}),
            json!({
                "resource_type": "endpoints", "resource_uid": "411", "status_id": 2, "status_detail": "no room",
                "pod_name": "web-7d4b9c6d5f-x2v9k", "workload_name": "web", "namespace_name": "shop",
            }),
        ),
        (
            json!({"agent_event": {"type": "IPCACHE_UPSERTED", "ipcache_update": {"cidr": "10.0.0.1/32"}}}),
            json!({"resource_type": "ipcache", "resource_name": "10.0.0.1/32"}),
        ),
        (
            json!({"debug_event": {"type": "DBG_CT_VERDICT", "source": {"ID": 3, "namespace": "shop", "pod_name": "db-0"},
                "message": "CT verdict: New", "cpu": 2}}),
            json!({
                "class_uid": 0, "metadata_log_name": "debug_event", "api_operation": "DBG_CT_VERDICT",
                "message": "CT verdict: New", "pod_name": "db-0", "namespace_name": "shop", "workload_name": "db",
            }),
        ),
    ];
    for (event, expected) in cases {
        let mut event = event;
        event["node_name"] = "blue/n1".into();
        event["time"] = "2026-03-02T08:16:00Z".into();
        let row = row(&event);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {event}");
        }
    }
}

#[test]
fn lost_events_and_lost_nodes_are_coverage() {
    let cases = [
        (
            r#"{"lost_events":{"source":"PERF_EVENT_RING_BUFFER","num_events_lost":"1532","cpu":3},"node_name":"n1","time":"2026-03-02T08:17:00Z"}"#,
            CoverageKind::Lost,
            1532,
            "n1: events lost at PERF_EVENT_RING_BUFFER of cpu 3",
        ),
        (
            r#"{"lost_events":{"source":"HUBBLE_RING_BUFFER","cpu":{"value":1}},"time":"2026-03-02T08:17:00Z"}"#,
            CoverageKind::Lost,
            -1,
            "unknown node: events lost at HUBBLE_RING_BUFFER of cpu 1",
        ),
        (
            r#"{"node_status":{"state_change":"NODE_UNAVAILABLE","node_names":["b","c"],"message":"refused"},"time":"2026-03-02T08:17:00Z"}"#,
            CoverageKind::Lost,
            -1,
            "b, c: NODE_UNAVAILABLE: refused",
        ),
        (
            r#"{"node_status":{"state_change":"NODE_CONNECTED","node_names":["b"]},"time":"2026-03-02T08:17:00Z"}"#,
            CoverageKind::Health,
            -1,
            "b: NODE_CONNECTED",
        ),
    ];
    for (payload, kind, count, detail) in cases {
        let (batch, out) = decode([payload], None);
        assert_eq!((batch.rows(), out.counts.coverage, out.counts.used), (0, 1, 0), "{payload}");
        let fact = &out.coverage[0];
        assert_eq!((fact.kind, fact.count, fact.detail.as_str()), (kind, count, detail), "{payload}");
        assert_eq!((fact.window_start, fact.window_end), (1_772_439_420_000_000, 1_772_439_420_000_000), "{payload}");
    }
    let windowed = r#"{"lost_events":{"source":"HUBBLE_RING_BUFFER","num_events_lost":7,"first":"2026-03-02T08:16:50Z",
        "last":"2026-03-02T08:16:59Z"},"time":"2026-03-02T08:17:00Z"}"#;
    let (_, out) = decode([windowed], None);
    assert_eq!(out.coverage[0].window_end - out.coverage[0].window_start, 9_000_000);
}

#[test]
fn samples_are_read_and_what_is_not_hubbles_is_refused() {
    let samples: Vec<&str> = include_str!("../../samples/hubble.ndjson").lines().collect();
    let (batch, out) = decode(samples.iter().copied(), None);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    assert_eq!(batch.rows(), samples.len());
    let (_, out) = decode(include_str!("../../samples/hubble.bad.ndjson").lines(), None);
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let none = "not_a_hubble_event";
    assert_eq!(reasons, [none, none, none, none, "missing_time", none]);
    assert_eq!((out.counts.coverage, out.counts.rejected, out.counts.events), (4, 6, 0));
}

#[test]
fn bounds_cut_and_say_so() {
    let labels: Vec<String> = (0..2000).map(|n| format!("k8s:l{n}=v")).collect();
    let policies: Vec<Json> = (0..2000).map(|n| json!({"name": format!("p{n}")})).collect();
    for part in [json!({"source": {"labels": labels}}), json!({"egress_allowed_by": policies})] {
        let row = row(&flow(&part));
        let longest =
            ["src_endpoint_labels", "policy_names"].iter().filter_map(|c| row[*c].as_array()).map(Vec::len).max();
        assert_eq!((longest, &row["truncated"]), (Some(1024), &json!(true)));
    }
}

#[test]
fn public_recordings_are_read_to_the_last_flow() {
    let Some(folder) = crate::testing::shared("hubble/hubble-otel") else { return };
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<String> = files
        .iter()
        .filter(|file| file.extension().is_some_and(|end| end == "json"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    let (batch, out) = decode(texts.iter().flat_map(|text| text.lines()).filter(|line| !line.is_empty()), None);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects.first());
    assert_eq!(batch.rows(), 1916);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for row in (0..batch.rows()).map(|row| batch.row_json(row)) {
        for column in
            ["class_uid", "activity_id", "status_id", "dns_rcode", "connection_info_direction", "cluster_name"]
        {
            *seen.entry(format!("{column} {}", row[column])).or_default() += 1;
        }
        *seen.entry(format!("pod {}", row["pod_name"].is_string())).or_default() += 1;
        *seen.entry(format!("connection {}", row["connection_info_community_uid"].is_string())).or_default() += 1;
    }
    for (what, count) in [
        ("class_uid 4001", 1015),
        ("class_uid 4002", 418),
        ("class_uid 4003", 483),
        ("status_id 1", 191),
        ("status_id 2", 257),
        ("dns_rcode \"NXDOMAIN\"", 104),
        ("connection_info_direction \"outbound\"", 1691),
        ("connection_info_direction \"inbound\"", 94),
        ("cluster_name \"kind-kind\"", 1199),
        ("pod true", 1778),
        ("connection true", 1916),
    ] {
        assert_eq!(seen.get(what), Some(&count), "{what} in {seen:?}");
    }
}
