//! Which attributes fill which columns, in our own nesting and in other producers'.

use std::collections::BTreeMap;

use palisade_events::schema::{COLUMNS, Kind};
use palisade_events::{EventBatch, FieldValue};
use serde_json::{Map, Value as Json, json};

use crate::decode::{Decoded, Format};
use crate::testing::decode;

fn decode_with<'p>(plan: &[&str], payloads: impl IntoIterator<Item = &'p str>) -> (EventBatch, Decoded) {
    let payloads: Vec<&str> = payloads.into_iter().collect();
    decode(&Format::Ocsf, plan, &payloads)
}

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

/// A value of each column, as a view would give it.
fn sample(name: &str, kind: Kind) -> Json {
    match (name, kind) {
        ("class_uid", _) => json!(6003),
        ("activity_id", _) => json!(2),
        ("severity_id", _) => json!(4),
        ("status_id", _) => json!(2),
        ("action", _) => json!("denied"),
        ("connection_info_direction", _) => json!("inbound"),
        ("connection_info_protocol_name", _) => json!("tcp"),
        ("connection_info_community_uid", _) => json!("1:stated"),
        ("src_endpoint_ip", _) => json!("10.0.0.7"),
        ("dst_endpoint_ip", _) => json!("10.0.0.9"),
        ("container_uid", _) => json!("3fd02a8b6c41e5d7093b1c8f2ea46d5907b8c3d1e2f4a5b6978c0d1e2f3a4b5c"),
        ("container_image_name", _) => json!("registry.local:5000/shop/web"),
        ("http_request_http_method", _) => json!("GET"),
        ("cloud_provider", _) => json!("AWS"),
        ("time", _) => json!("2026-02-03T10:15:30.123456Z"),
        ("time_original", _) => json!("2026-02-03T10:15:30.123456789Z"),
        (_, Kind::Text | Kind::Word) => json!(format!("{name} it is")),
        (_, Kind::Words) => json!([format!("{name} 1"), format!("{name} 2")]),
        (_, Kind::Time) => json!("2026-01-01T00:00:00.654321Z"),
        (_, Kind::Long) => json!(9_007_199_254_740_993i64),
        (_, Kind::Int) => json!(4242),
        (_, Kind::Flag) => json!(true),
    }
}

/// What only the driver says of a row.
const DRIVERS: [&str; 3] = ["event_uid", "metadata_logged_time", "raw"];

#[test]
fn our_own_nesting_gives_the_same_columns_again() {
    let mut nested = Map::new();
    let mut expected = BTreeMap::new();
    for column in COLUMNS.iter().filter(|column| !column.ocsf.is_empty()) {
        let value = sample(column.name, column.kind);
        nest(&mut nested, column.ocsf, value.clone());
        if !DRIVERS.contains(&column.name) {
            expected.insert(column.name, value);
        }
    }
    let payload = Json::Object(nested).to_string();
    let (batch, out) = decode_with(&[], [payload.as_str()]);
    assert_eq!(batch.rows(), 1, "{:?}", out.rejects);
    let row = batch.row_json(0);
    for (column, value) in &expected {
        assert_eq!(&row[column], value, "{column}");
    }
    assert_eq!(row["container_uid_short"], "3fd02a8b6c41");
    assert!(expected.len() > 80, "{}", expected.len());
}

#[test]
fn each_column_alone_gives_itself_again() {
    for column in COLUMNS.iter().filter(|column| !column.ocsf.is_empty() && !DRIVERS.contains(&column.name)) {
        let value = sample(column.name, column.kind);
        let mut nested = Map::new();
        for (path, value) in
            [("class_uid", json!(6003)), ("activity_id", json!(2)), ("time", json!(1_770_113_730_000i64))]
        {
            nested.insert(path.into(), value);
        }
        nest(&mut nested, column.ocsf, value.clone());
        let payload = Json::Object(nested).to_string();
        let (batch, out) = decode_with(&[], [payload.as_str()]);
        assert_eq!(batch.rows(), 1, "{payload}: {:?}", out.rejects);
        assert_eq!(batch.row_json(0)[column.name], value, "{payload}");
    }
}

fn event(part: &Json) -> Json {
    let mut event =
        json!({"class_uid": 1007, "activity_id": 1, "time": 1_770_113_730_123i64, "metadata": {"version": "1.5.0"}});
    for (key, value) in part.as_object().unwrap() {
        event[key] = value.clone();
    }
    event
}

#[test]
fn what_producers_write_fills_the_same_columns() {
    let cases = [
        (
            json!({"metadata": {"uid": "ev-1", "product": {"vendor_name": "Example", "feature": {"name": "Sensor"}}}}),
            json!({
                "class_uid": 1007, "activity_id": 1, "metadata_original_uid": "ev-1", "metadata_product_name": "Example",
                "metadata_log_name": "Sensor", "time": "2026-02-03T10:15:30.123000Z", "time_original": "1770113730123",
            }),
        ),
        (json!({"metadata": {}}), json!({"metadata_product_name": "ocsf", "metadata_original_uid": null})),
        // The acting process is the one that the event is about, unless there is another.
        (
            json!({"class_uid": 1001, "activity_id": 14, "actor": {"process": {"name": "cat", "pid": 7, "user": {"name": "root", "uid": "0"},
                "parent_process": {"name": "sh", "parent_process": {"parent_process": {"name": "init"}, "name": "tmux"}}}},
                "file": {"path": "/etc/shadow", "name": "shadow"}}),
            json!({
                "process_name": "cat", "process_pid": 7, "process_parent_name": "sh", "process_ancestors": ["tmux", "init"],
                "process_user_name": "root", "actor_user_name": "root", "actor_user_uid": "0", "file_path": "/etc/shadow",
            }),
        ),
        (
            json!({"process": {"name": "sh", "pid": 8}, "actor": {"process": {"name": "nginx", "pid": 7, "cwd": "x",
                "parent_process": {"name": "init"}}, "user": {"name": "www"}}}),
            json!({
                "process_name": "sh", "process_pid": 8, "process_parent_name": "nginx", "process_parent_pid": 7,
                "process_ancestors": ["init"], "actor_user_name": "www", "actor_user_uid": null,
            }),
        ),
        (
            json!({"process": {"pid": 8, "parent_process": {"name": "a"}}, "actor": {"process": {"name": "b", "pid": 7}}}),
            json!({"process_parent_name": "a", "process_parent_pid": null, "process_name": null}),
        ),
        (
            json!({"activity_id": 2, "process": {"pid": 8}, "actor": {"process": {"name": "killer"}}}),
            json!({"process_parent_name": null, "process_name": null}),
        ),
        (
            json!({"process": {"pid": 8, "ancestry": [{"name": "p", "pid": 7}, {"name": "g"}, {"pid": 1}, {"name": "i"}],
                "created_time": 1_770_113_729_500i64, "path": "/bin/x", "auid": 4_294_967_295u32}}),
            json!({
                "process_parent_name": "p", "process_parent_pid": 7, "process_ancestors": ["g", "i"],
                "process_created_time": "2026-02-03T10:15:29.500000Z", "process_file_path": "/bin/x", "actor_session_uid": null,
            }),
        ),
        (
            json!({"process": {"pid": 1, "container": {"uid": "containerd://5892b41bcf46aa", "image": {"name": "r:5000/a:1@sha256:ff"}}}}),
            json!({
                "container_uid": "5892b41bcf46aa", "container_uid_short": "5892b41bcf46", "container_image_name": "r:5000/a",
                "container_image_tag": "1", "container_image_uid": "sha256:ff",
            }),
        ),
        // What is nearer is not mixed with what is further off.
        (
            json!({"container": {"uid": "aaaaaaaaaaaa"}, "process": {"pid": 1, "container": {"uid": "bbbbbbbbbbbb", "name": "b"}}}),
            json!({"container_uid": "aaaaaaaaaaaa", "container_name": null}),
        ),
        (
            json!({"class_uid": 2004, "status_id": 1, "status": "New", "finding_info": {"title": "T", "uid": "f", "desc": "d",
                "attacks": [{"technique": {"uid": "T1059"}}, {"sub_technique": {"uid": "T1552.007"}}]},
                "evidences": [{"process": {"name": "sh"}, "src_endpoint": {"ip": "198.51.100.7"}, "time": 5, "severity_id": 6},
                    {"process": {"name": "no", "pid": 2}}]}),
            json!({
                "status_id": null, "finding_info_title": "T", "metadata_original_uid": "f", "message": "d", "process_name": "sh",
                "attack_techniques": ["T1059", "T1552.007"], "process_pid": null, "src_endpoint_ip": "198.51.100.7",
                "severity_id": null,
            }),
        ),
        (json!({"status": "failure", "severity_id": 0}), json!({"status_id": 2, "severity_id": null})),
        (json!({"status_id": 1, "status": "Failure", "severity_id": 5}), json!({"status_id": 1, "severity_id": 5})),
        (json!({"status_id": 99, "severity_id": 99}), json!({"status_id": null, "severity_id": null})),
        (json!({"action": "Allowed"}), json!({"action": "allowed"})),
        (json!({"action": "Unknown", "action_id": 0, "disposition_id": 6}), json!({"action": "denied"})),
        (json!({"disposition": "Detected"}), json!({"action": "observed"})),
        (
            json!({"class_uid": 4001, "src_endpoint": {"ip": "10.0.0.7", "port": "43210", "domain": "a.example"},
                "dst_endpoint": {"ip": "10.0.0.9", "port": 443, "name": "web"}, "connection_info": {"protocol_num": 6, "direction_id": 1}}),
            json!({
                "src_endpoint_port": 43210, "dst_endpoint_port": 443, "connection_info_protocol_name": "tcp",
                "connection_info_direction": "inbound", "src_endpoint_hostname": "a.example", "dst_endpoint_hostname": "web",
                "connection_info_community_uid":
                    crate::network::Connection { src_ip: Some("10.0.0.9"), src_port: Some(443), dst_ip: Some("10.0.0.7"),
                        dst_port: Some(43210), protocol: Some("tcp") }.community_uid(),
            }),
        ),
        (
            json!({"class_uid": 4003, "query": {"hostname": "a.example", "type": "A"}, "rcode": "NXDomain",
                "answers": [{"rdata": "192.0.2.4"}, {"rdata": "192.0.2.5"}]}),
            json!({"dns_rcode": "NXDOMAIN", "dns_answers": ["192.0.2.4", "192.0.2.5"], "dns_query_hostname": "a.example"}),
        ),
        (json!({"count": 1}), json!({"event_count": null})),
        (json!({"count": 7}), json!({"event_count": 7})),
        (
            json!({"class_uid": 3002, "user": {"name": "marta", "uid": "7"}, "actor": {}}),
            json!({"actor_user_name": "marta", "actor_user_uid": "7"}),
        ),
        (
            json!({"class_uid": 3002, "user": {"name": "marta", "uid": "7"}, "actor": {"user": {"name": "sshd"}}}),
            json!({"actor_user_name": "sshd", "actor_user_uid": null}),
        ),
        (json!({"class_uid": 3001, "user": {"name": "gone"}}), json!({"actor_user_name": null})),
        (
            json!({"actor": {"user": {"groups": [{"name": "a"}, {"uid": "x"}, {"name": "b"}], "name": "system:serviceaccount:n:s"}}}),
            json!({"actor_user_groups": ["a", "b"], "actor_service_account": "n/s"}),
        ),
        (
            json!({"class_uid": 6003, "resources": [{"type": "pods", "name": "web-7d4b9c6d5f-x2v9k"}, {"namespace": "other", "uid": "u"}],
                "unmapped": {"eks_cluster_name": "c"}}),
            json!({
                "pod_name": "web-7d4b9c6d5f-x2v9k", "workload_name": "web", "namespace_name": null, "resource_uid": null,
                "cluster_name": "c",
            }),
        ),
        (
            json!({"unmapped": {"cluster.name": "dotted", "pod": {"name": "p-0"}}}),
            json!({"cluster_name": "dotted", "pod_name": "p-0", "workload_name": "p"}),
        ),
        (json!({"metadata": {"is_truncated": true}}), json!({"truncated": true})),
        (json!({"activity_id": null, "type_uid": 100702}), json!({"activity_id": 2})),
        (json!({"activity_id": null, "type_uid": null}), json!({"activity_id": 0})),
        (
            json!({"class_uid": null, "type_uid": 600304, "activity_id": "4"}),
            json!({"class_uid": 6003, "activity_id": 4}),
        ),
        (
            json!({"process": [], "actor": {"process": "x", "user": [1]}, "resources": {}, "src_endpoint": null, "device": {"hostname": ""}}),
            json!({"process_name": null, "device_hostname": null, "src_endpoint_ip": null}),
        ),
    ];
    for (part, expected) in cases {
        let payload = event(&part).to_string();
        let (batch, out) = decode_with(&[], [payload.as_str()]);
        assert_eq!(batch.rows(), 1, "{part}: {:?}", out.rejects);
        let row = batch.row_json(0);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {part}");
        }
    }
}

#[test]
fn times_are_read_in_every_unit_and_as_exactly_as_they_are_told() {
    for (part, time, original) in [
        (r#""time":1770113730123"#, "2026-02-03T10:15:30.123000Z", "1770113730123"),
        (r#""time":"1770113730123""#, "2026-02-03T10:15:30.123000Z", "1770113730123"),
        (r#""time":1770113730"#, "2026-02-03T10:15:30.000000Z", "1770113730"),
        (r#""time":1770113730.5"#, "2026-02-03T10:15:30.500000Z", "1770113730.5"),
        (r#""time":1770113730123456"#, "2026-02-03T10:15:30.123456Z", "1770113730123456"),
        (r#""time":1770113730123456789"#, "2026-02-03T10:15:30.123456Z", "1770113730123456789"),
        (r#""time":"2026-02-03T11:15:30.5+01:00""#, "2026-02-03T10:15:30.500000Z", "2026-02-03T11:15:30.5+01:00"),
        (
            r#""time":1770113730123,"time_dt":"2026-02-03T10:15:30.123987Z""#,
            "2026-02-03T10:15:30.123987Z",
            "1770113730123",
        ),
        (
            r#""time":1770113730123,"metadata":{"original_time":"2026-02-03T10:15:30.123987654Z"}"#,
            "2026-02-03T10:15:30.123987Z",
            "2026-02-03T10:15:30.123987654Z",
        ),
        // Another moment is no more exact.
        (
            r#""time":1770113730123,"metadata":{"original_time":"Feb  3 10:15:29"}"#,
            "2026-02-03T10:15:30.123000Z",
            "Feb  3 10:15:29",
        ),
        (
            r#""time":0,"time_dt":"2026-02-03 10:15:30+00:00""#,
            "2026-02-03T10:15:30.000000Z",
            "2026-02-03 10:15:30+00:00",
        ),
        (r#""time":null,"time_dt":"2026-02-03T10:15:30Z""#, "2026-02-03T10:15:30.000000Z", "2026-02-03T10:15:30Z"),
    ] {
        let payload = format!(r#"{{"class_uid":1007,"activity_id":1,{part}}}"#);
        let (batch, out) = decode_with(&[], [payload.as_str()]);
        assert_eq!(batch.rows(), 1, "{part}: {:?}", out.rejects);
        let row = batch.row_json(0);
        assert_eq!((row["time"].as_str(), row["time_original"].as_str()), (Some(time), Some(original)), "{part}");
    }
}

#[test]
fn every_sample_decodes_and_what_is_bad_is_refused() {
    let samples = include_str!("../../samples/ocsf.ndjson");
    let (batch, out) = decode_with(&[], samples.lines());
    assert_eq!((batch.rows(), out.rejects.len()), (samples.lines().count(), 0), "{:?}", out.rejects);
    let (batch, out) = decode_with(&[], include_str!("../../samples/ocsf.bad.ndjson").lines());
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(batch.rows(), 0);
    assert_eq!(
        reasons,
        ["not_an_ocsf_event", "not_an_ocsf_event", "missing_time", "not_an_ocsf_event", "not_an_ocsf_event"]
    );
}

#[test]
fn bounds_cut_and_say_so() {
    let labels: Vec<String> = (0..2000).map(|n| format!("l{n}")).collect();
    let (batch, _) = decode_with(&[], [event(&json!({"metadata": {"labels": labels}})).to_string().as_str()]);
    let row = batch.row_json(0);
    assert_eq!((row["metadata_labels"].as_array().unwrap().len(), &row["truncated"]), (1024, &json!(true)));
    let mut process = json!({"name": "end"});
    for _ in 0..50 {
        process = json!({"parent_process": process, "name": "p"});
    }
    let (batch, out) = decode_with(&[], [event(&json!({"process": process})).to_string().as_str()]);
    assert_eq!(batch.row_json(0)["process_ancestors"].as_array().unwrap().len(), 49, "{:?}", out.rejects);
}

#[test]
fn rules_name_fields_by_their_paths() {
    let payload =
        event(&json!({"actor": {"process": {"name": "cat"}}, "resources": [{"name": "a"}, {"name": "b"}]})).to_string();
    let (batch, _) = decode_with(&["actor.process.name", "process.name", "resources.name"], [payload.as_str()]);
    let values: Vec<&[FieldValue]> = batch.fields().iter().map(|field| field.values()).collect();
    let text = |text: &str| FieldValue::Str(text.into());
    assert_eq!(values, [&[text("cat")][..], &[], &[text("a"), text("b")]]);
}
