//! Which parts of a notification fill which columns, and how its envelope is opened.

use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, EventBatch, FieldPlan, Lane, LaneClock};
use serde_json::{Value as Json, json};

use crate::decode::{Decoded, Format, Settings, decoder};

fn decode<'p>(payloads: impl IntoIterator<Item = &'p str>, time: Option<i64>) -> (EventBatch, Decoded) {
    let plan = Arc::new(FieldPlan::new(["action", "request.addr"]));
    let settings = Arc::new(Settings { source: "s".into(), plan: Arc::clone(&plan), ..Settings::default() });
    let lane = Arc::new(Lane::channel("s", "c"));
    let mut decoder = decoder(&Format::Registry, Arc::clone(&lane), settings);
    let mut chunk = Chunk::new(lane);
    for (offset, payload) in (0..).zip(payloads) {
        chunk.push(payload.as_bytes(), offset, None, time);
    }
    let mut out = Decoded::new(plan);
    decoder.decode(&chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
    (out.events.finish().unwrap(), out)
}

#[test]
fn parts_of_a_notification_fill_their_columns() {
    let cases = [
        json!({
            "class_uid": 6003, "activity_id": 2, "status_id": 1, "api_operation": "pull", "actor_user_name": "ci-puller",
            "metadata_product_name": "distribution", "metadata_original_uid": "0b5c1b0e-0001-4f00-8000-000000000001",
            "api_request_uid": "6df24a34-0000-4000-8000-000000000001", "api_service_name": "registry.example:5000",
            "metadata_correlation_uid": "6df24a34-0000-4000-8000-000000000001", "http_request_http_method": "GET",
            "http_request_user_agent": "containerd/2.0", "src_endpoint_ip": "10.30.4.9", "src_endpoint_port": 42961,
            "http_request_url_path": "/v2/shop/portal/manifests/sha256:aa11bb22cc33dd44ee55ff6600112233445566778899aabbccddeeff00112233",
            "resource_type": "manifests", "resource_name": "shop/portal",
            "resource_uid": "sha256:aa11bb22cc33dd44ee55ff6600112233445566778899aabbccddeeff00112233",
            "container_image_name": "registry.example:5000/shop/portal", "container_image_tag": "2.3",
            "container_image_uid": "sha256:aa11bb22cc33dd44ee55ff6600112233445566778899aabbccddeeff00112233",
            "device_hostname": "reg-0", "time": "2026-03-02T08:44:26.402973Z",
            "time_original": "2026-03-02T09:44:26.402973972+01:00",
        }),
        json!({
            "activity_id": 1, "api_operation": "push", "resource_type": "blobs", "resource_uid": "sha256:0011",
            "container_image_uid": null, "container_image_name": "registry.example/shop/portal",
            "src_endpoint_ip": "2001:db8::7", "src_endpoint_port": 50110,
        }),
        json!({
            "activity_id": 1, "api_operation": "mount", "resource_type": "blobs", "src_endpoint_ip": "10.30.4.9",
            "src_endpoint_port": null, "resource_name": "shop/basket",
        }),
        json!({
            "activity_id": 4, "resource_type": "manifests", "container_image_uid": "sha256:aa11", "src_endpoint_ip": null,
            "src_endpoint_hostname": "admin-box.example", "src_endpoint_port": 6000, "device_hostname": "::1",
            "http_request_url_path": null,
        }),
        json!({
            "resource_type": "tags", "container_image_tag": "edge", "container_image_uid": null, "actor_user_name": null,
            "http_request_user_agent": null,
        }),
        json!({"resource_type": "repositories", "container_image_name": "shop/old", "device_hostname": null}),
        json!({
            "resource_type": "manifests", "api_service_name": "registry.example", "container_image_uid": "sha256:bb22",
            "container_image_name": "registry.example/shop/portal", "message_index": 0,
        }),
        json!({"resource_type": "blobs", "container_image_uid": null, "message_index": 1, "api_operation": "pull"}),
    ];
    let (batch, out) = decode(include_str!("../../samples/registry.ndjson").lines(), None);
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    assert_eq!((batch.rows(), out.counts.records), (cases.len(), 7), "the last record holds two");
    for (place, expected) in cases.iter().enumerate() {
        let row = batch.row_json(place);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of event {place}");
        }
    }
}

#[test]
fn what_is_no_notification_is_refused() {
    let bad: Vec<&str> = include_str!("../../samples/registry.bad.ndjson").lines().collect();
    let (_, out) = decode(bad.iter().copied(), None);
    let reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    assert_eq!(reasons, ["not_a_registry_event", "not_a_registry_event", "missing_time"]);
    // Go's zero time is none; the carrier has one.
    let (batch, _) = decode([bad[2]], Some(1_772_439_000_000_000));
    let row: Json = batch.row_json(0);
    assert_eq!(
        (&row["time"], &row["time_original"]),
        (&json!("2026-03-02T08:10:00.000000Z"), &json!("0001-01-01T00:00:00Z"))
    );
}

#[test]
fn the_documented_notification_is_read() {
    let Some(folder) = crate::testing::shared("registry") else { return };
    let text = std::fs::read_to_string(folder.join("notification_pull.json")).unwrap();
    let (batch, out) = decode([text.as_str()], None);
    assert_eq!((batch.rows(), out.rejects.len()), (1, 0), "{:?}", out.rejects);
    let row = batch.row_json(0);
    for (column, value) in [
        ("api_operation", "pull"),
        ("container_image_name", "192.168.100.227:5000/hello-world"),
        ("container_image_tag", "latest"),
        ("src_endpoint_ip", "192.168.64.11"),
        ("time", "2016-03-09T22:44:26.402973Z"),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
}
