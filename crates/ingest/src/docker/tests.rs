//! Which parts of a daemon's event fill which columns, and which attributes are nobody's word but a label's.

use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, EventBatch, FieldPlan, Lane, LaneClock};
use serde_json::{Value as Json, json};

use crate::decode::{Decoded, Format, Settings, decoder};

const ID: &str = "3fd02a8b6c41e5d7093b1c8f2ea46d5907b8c3d1e2f4a5b6978c0d1e2f3a4b5c";

fn decode<'p>(payloads: impl IntoIterator<Item = &'p str>, time: Option<i64>) -> (EventBatch, Decoded) {
    let plan = Arc::new(FieldPlan::new(["Action", "Actor.Attributes.image"]));
    let settings = Arc::new(Settings { source: "s".into(), plan: Arc::clone(&plan), ..Settings::default() });
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut decoder = decoder(&Format::Docker, Arc::clone(&lane), settings);
    let mut chunk = Chunk::new(lane);
    for (offset, payload) in (0..).zip(payloads) {
        chunk.push(payload.as_bytes(), offset, None, time);
    }
    let mut out = Decoded::new(plan);
    decoder.decode(&chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
    (out.events.finish().unwrap(), out)
}

fn expect(event: &Json, expected: &Json) {
    let (batch, out) = decode([event.to_string().as_str()], None);
    assert_eq!(batch.rows(), 1, "{event}: {:?}", out.rejects);
    let row = batch.row_json(0);
    for (column, value) in expected.as_object().unwrap() {
        assert_eq!(&row[column], value, "{column} of {event}");
    }
}

fn event(kind: &str, action: &str, id: &str, attributes: &Json) -> Json {
    json!({"Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": attributes}, "scope": "local",
        "time": 1_772_439_101, "timeNano": 1_772_439_101_381_709_551i64})
}

#[test]
fn parts_of_an_event_fill_their_columns() {
    let cases = [
        (
            event("container", "create", ID, &json!({"image": "r.example:5000/shop/portal:2.3", "name": "portal"})),
            json!({
                "class_uid": 6003, "activity_id": 1, "metadata_product_name": "docker", "metadata_log_name": "container",
                "api_operation": "create", "resource_type": "containers", "resource_name": "portal", "resource_uid": ID,
                "container_uid": ID, "container_uid_short": "3fd02a8b6c41", "container_name": "portal",
                "container_image_name": "r.example:5000/shop/portal", "container_image_tag": "2.3",
                "metadata_labels": null, "time": "2026-03-02T08:11:41.381709Z", "time_original": "1772439101381709551",
            }),
        ),
        (
            event("container", "exec_start: sh -c 'echo a: b'", ID, &json!({"execID": "e0", "name": "portal"})),
            json!({
                "api_operation": "exec_start", "process_cmd_line": "sh -c 'echo a: b'", "process_uid": "e0",
                "metadata_correlation_uid": "e0", "activity_id": 99, "status_detail": null,
            }),
        ),
        (
            event("container", "exec_die", ID, &json!({"execID": "e0", "exitCode": "127"})),
            json!({"exit_code": 127, "status_id": 2, "metadata_correlation_uid": "e0"}),
        ),
        (event("container", "exec_die", ID, &json!({"exitCode": "0"})), json!({"exit_code": 0, "status_id": 1})),
        (
            event("container", "die", ID, &json!({"exitCode": "143", "execDuration": "4"})),
            json!({"exit_code": 143, "status_id": null, "metadata_labels": null}),
        ),
        (
            event("container", "health_status: unhealthy", ID, &json!({})),
            json!({"api_operation": "health_status", "status_detail": "unhealthy", "process_cmd_line": null}),
        ),
        (event("container", "destroy", ID, &json!({})), json!({"activity_id": 4})),
        // A label that is called like what the daemon states is a label, wherever the daemon states nothing.
        (
            event(
                "container",
                "start",
                ID,
                &json!({"exitCode": "0", "execID": "x", "signal": "9", "a.b": "", "name": "n"}),
            ),
            json!({
                "exit_code": null, "process_uid": null, "metadata_correlation_uid": null,
                "metadata_labels": ["a.b=", "signal=9", "execID=x", "exitCode=0"],
            }),
        ),
        (event("container", "die", ID, &json!({"exitCode": "all good"})), json!({"exit_code": null})),
        (
            event(
                "container",
                "start",
                ID,
                &json!({"image": "sha256:9d1f", "name": "k8s_app_portal",
                "io.kubernetes.container.name": "app", "io.kubernetes.pod.name": "portal-7d4b9c6d5f-x2v9k",
                "io.kubernetes.pod.namespace": "shop", "io.kubernetes.pod.uid": "5a1e"}),
            ),
            json!({
                "container_image_uid": null, "container_image_name": null, "container_name": "app",
                "pod_name": "portal-7d4b9c6d5f-x2v9k", "workload_name": "portal", "namespace_name": "shop",
                "container_pod_uuid": "5a1e", "resource_name": "k8s_app_portal",
            }),
        ),
        (
            event("container", "start", ID, &json!({"com.docker.swarm.service.name": "shop_portal"})),
            json!({"workload_name": "shop_portal", "metadata_labels": ["com.docker.swarm.service.name=shop_portal"]}),
        ),
        (
            event("image", "pull", "alpine:3.20", &json!({"name": "alpine", "maintainer": "m"})),
            json!({
                "resource_type": "images", "container_image_name": "alpine", "container_image_tag": "3.20",
                "container_uid": null, "metadata_labels": ["maintainer=m"], "activity_id": 1,
            }),
        ),
        (
            event("image", "tag", "sha256:9d1f", &json!({"name": "shop/portal:edge"})),
            json!({
                "container_image_uid": null, "container_image_name": "shop/portal", "container_image_tag": "edge",
            }),
        ),
        (
            event("image", "pull", "docker.io/library/alpine@sha256:9d1f", &json!({"name": "alpine"})),
            json!({
                "container_image_uid": "sha256:9d1f", "container_image_name": "alpine", "container_image_tag": null,
            }),
        ),
        (
            event("image", "delete", "sha256:9d1f", &json!({"name": "sha256:9d1f"})),
            json!({"container_image_uid": null, "container_image_name": null, "activity_id": 4}),
        ),
        (
            event("network", "connect", "7dc8", &json!({"container": ID, "name": "bridge", "type": "bridge"})),
            json!({
                "resource_type": "networks", "resource_name": "bridge", "resource_uid": "7dc8",
                "container_uid_short": "3fd02a8b6c41", "metadata_labels": null,
            }),
        ),
        (
            event("daemon", "reload", "AB12:CD34", &json!({"name": "node-1", "debug": "true"})),
            json!({"device_hostname": "node-1", "resource_type": "daemon", "activity_id": 3}),
        ),
        (
            json!({"status": "exec_create: id", "id": ID, "from": "portal:1", "time": 1_440_000_000}),
            json!({
                "api_operation": "exec_create", "process_cmd_line": "id", "container_uid": ID, "container_image_name": "portal",
                "container_image_tag": "1", "time_original": "1440000000", "time": "2015-08-19T16:00:00.000000Z",
                "resource_type": "containers",
            }),
        ),
        (
            json!({"status": "untag", "id": "0f1e2d3c4b5a", "timeNano": 1_440_000_001_000_000_005i64}),
            json!({"resource_type": "images", "container_image_uid": null, "container_image_name": null}),
        ),
    ];
    for (event, expected) in cases {
        expect(&event, &expected);
    }
}

#[test]
fn a_record_separator_before_an_event_is_no_part_of_it() {
    let event = event("container", "start", ID, &json!({})).to_string();
    let (batch, out) = decode([format!("\u{1e}{event}\n").as_str()], None);
    assert_eq!((batch.rows(), out.rejects.len()), (1, 0), "{:?}", out.rejects);
}

#[test]
fn samples_are_read_and_what_is_not_dockers_is_refused() {
    let samples: Vec<&str> = include_str!("../../samples/docker.ndjson").lines().collect();
    let (batch, out) = decode(samples.iter().copied(), None);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    assert_eq!(batch.rows(), samples.len());
    let bad: Vec<&str> = include_str!("../../samples/docker.bad.ndjson").lines().collect();
    let (_, out) = decode(bad.iter().copied(), None);
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let none = "not_a_docker_event";
    assert_eq!(reasons, [none, none, none, none, "missing_time"]);
    let (batch, _) = decode([bad[4]], Some(1_772_439_000_000_000));
    assert_eq!(batch.row_json(0)["time"], "2026-03-02T08:10:00.000000Z");
}

#[test]
fn bounds_cut_and_say_so() {
    let labels: serde_json::Map<String, Json> = (0..2000).map(|n| (format!("l{n}"), "v".into())).collect();
    expect(&event("container", "start", ID, &labels.into()), &json!({"truncated": true, "container_uid": ID}));
}

#[test]
fn public_events_are_read() {
    let Some(folder) = crate::testing::shared("docker") else { return };
    let text = std::fs::read_to_string(folder.join("moby_moby.ndjson")).unwrap();
    let (batch, out) = decode(text.lines().filter(|line| !line.is_empty()), None);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    let rows: Vec<Json> = (0..batch.rows()).map(|row| batch.row_json(row)).collect();
    let count = |column: &str| rows.iter().filter(|row| !row[column].is_null()).count();
    let expected = [
        ("api_operation", 27),
        ("container_uid_short", 24),
        ("container_image_name", 21),
        ("exit_code", 3),
        ("metadata_labels", 18),
    ];
    for (column, rows) in expected {
        assert_eq!(count(column), rows, "{column}");
    }
}
