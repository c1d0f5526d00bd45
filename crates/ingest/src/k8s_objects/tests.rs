//! Which parts of an object fill which columns, what a version of it holds, and what is no object.

use arrow::array::Array;
use palisade_events::{EventBatch, ObjectImage};
use serde_json::{Value as Json, json};

use super::*;
use crate::decode::{Decoded, Format};
use crate::testing::shared;

const DIGEST: &str = "sha256:c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4";
const CONTAINER: &str = "3fd02a8b6c41e5d7093b1c8f2ea46d5907b8c3d1e2f4a5b6978c0d1e2f3a4b5c";

fn decode(payload: &str) -> (EventBatch, Decoded) {
    crate::testing::decode(&Format::K8sObjects, &[], &[payload])
}

/// The one row and the one version of an object.
fn one(payload: &Json) -> (Json, ObjectVersion) {
    let (batch, mut out) = decode(&payload.to_string());
    assert_eq!((batch.rows(), out.objects.len()), (1, 1), "{payload}: {:?}", out.rejects);
    let object = out.objects.remove(0);
    assert_eq!((object.event_uid.as_str(), object.offset, object.index), (batch.uid(0), 0, 0));
    assert_eq!(object.time, batch.time(col::TIME).value(0));
    (batch.row_json(0), object)
}

fn object(kind: &str, part: &Json) -> Json {
    let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "n", "uid": "u", "resourceVersion": "7",
        "creationTimestamp": "2026-03-01T08:00:00Z"}});
    for (key, value) in part.as_object().unwrap() {
        match (key.as_str(), value) {
            ("metadata", Json::Object(more)) => {
                more.iter().for_each(|(key, value)| object["metadata"][key] = value.clone());
            }
            _ => object[key] = value.clone(),
        }
    }
    object
}

fn pod() -> Json {
    let started = |at: &str| json!({"running": {"startedAt": at}});
    object(
        "Pod",
        &json!({
            "metadata": {
                "name": "cart-7d4b9c6d5f-x2v9k", "namespace": "shop",
                "labels": {"app": "cart", "pod-template-hash": "7d4b9c6d5f"},
                "ownerReferences": [
                    {"kind": "Shop", "name": "s", "uid": "o0"},
                    {"kind": "ReplicaSet", "name": "cart-7d4b9c6d5f", "uid": "o1", "controller": true},
                ],
            },
            "spec": {
                "nodeName": "node-a", "serviceAccountName": "cart",
                "initContainers": [{"name": "init", "image": "r.example/init:1"}],
                "containers": [{"name": "cart", "image": "r.example:5000/cart:1.4"}, {"name": "proxy", "image": "p"}],
            },
            "status": {
                "phase": "Running", "podIP": "10.1.0.4", "podIPs": [{"ip": "10.1.0.4"}, {"ip": "fd00::4"}],
                "hostIP": "192.0.2.11",
                "containerStatuses": [
                    {"name": "proxy", "imageID": "sha256:ab", "containerID": "", "state": {"waiting": {}}},
                    {"name": "cart", "imageID": format!("r.example:5000/cart@{DIGEST}"),
                        "containerID": format!("containerd://{CONTAINER}"), "state": started("2026-03-01T09:30:00Z"),
                        "lastState": {"terminated": {"finishedAt": "2026-03-01T09:29:00Z"}}},
                ],
            },
        }),
    )
}

#[test]
fn a_pod_is_placed_owned_and_known_by_what_it_runs() {
    let (row, version) = one(&pod());
    for (column, value) in [
        ("class_uid", json!(5023)),
        ("activity_id", json!(2)),
        ("metadata_product_name", json!("kubernetes")),
        ("metadata_original_uid", json!("u/7")),
        ("resource_type", json!("pods")),
        ("resource_name", json!("cart-7d4b9c6d5f-x2v9k")),
        ("resource_uid", json!("u")),
        ("api_service_name", json!("core")),
        ("api_version", json!("v1")),
        ("namespace_name", json!("shop")),
        ("device_hostname", json!("node-a")),
        ("pod_name", json!("cart-7d4b9c6d5f-x2v9k")),
        ("container_pod_uuid", json!("u")),
        ("pod_labels", json!(["app=cart", "pod-template-hash=7d4b9c6d5f"])),
        ("workload_kind", json!("Deployment")),
        ("workload_name", json!("cart")),
        ("container_name", json!("cart")),
        ("container_uid", json!(CONTAINER)),
        ("container_uid_short", json!("3fd02a8b6c41")),
        ("container_image_name", json!("r.example:5000/cart")),
        ("container_image_tag", json!("1.4")),
        ("container_image_uid", json!(DIGEST)),
        ("time", json!("2026-03-01T09:30:00.000000Z")),
        ("time_original", json!("2026-03-01T09:30:00Z")),
        ("api_operation", Json::Null),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    let image = |container: &str, image: &str| ObjectImage {
        container: container.into(),
        image: image.into(),
        ..ObjectImage::default()
    };
    let cart = ObjectImage {
        digest: Some(DIGEST.into()),
        container_uid: Some(CONTAINER.into()),
        ..image("cart", "r.example:5000/cart:1.4")
    };
    let some = |text: &str| Some(text.to_owned());
    let expected = ObjectVersion {
        kind: "Pod".into(),
        api_version: "v1".into(),
        namespace: some("shop"),
        name: "cart-7d4b9c6d5f-x2v9k".into(),
        uid: "u".into(),
        resource_version: some("7"),
        workload_kind: some("Deployment"),
        workload_name: some("cart"),
        owner_kind: some("ReplicaSet"),
        owner_name: some("cart-7d4b9c6d5f"),
        owner_uid: some("o1"),
        labels: vec![("app".into(), "cart".into()), ("pod-template-hash".into(), "7d4b9c6d5f".into())],
        addresses: vec!["10.1.0.4".into(), "fd00::4".into()],
        node: some("node-a"),
        service_account: some("cart"),
        images: vec![cart, image("proxy", "p"), image("init", "r.example/init:1")],
        lane: version.lane.clone(),
        event_uid: version.event_uid.clone(),
        time: version.time,
        ..ObjectVersion::default()
    };
    assert_eq!(version, expected);
}

#[test]
fn kinds_fill_what_they_have() {
    let containers = json!([{"name": "c", "image": "i:1"}]);
    let none: &[&str] = &[];
    for (kind, part, expected, addresses) in [
        (
            "Deployment",
            json!({"apiVersion": "apps/v1", "metadata": {"generation": 3}, "spec": {"template": {"spec": {
                "containers": containers, "nodeName": "no"}}}}),
            json!({"workload_kind": "Deployment", "workload_name": "n", "api_service_name": "apps", "pod_name": null,
                "container_image_name": "i", "resource_type": "deployments", "device_hostname": null}),
            none,
        ),
        (
            "CronJob",
            json!({"apiVersion": "batch/v1", "spec": {"jobTemplate": {"spec": {"template": {"spec": {
                "containers": containers}}}}}}),
            json!({"workload_kind": "CronJob", "container_name": "c", "resource_type": "cronjobs"}),
            none,
        ),
        (
            "Service",
            json!({"spec": {"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20", "fd00:96::20"],
                "externalIPs": ["198.51.100.7"]}, "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.80"},
                {"hostname": "lb.example"}]}}}),
            json!({"resource_type": "services", "workload_name": null}),
            &["10.96.0.20", "fd00:96::20", "198.51.100.7", "203.0.113.80"],
        ),
        ("Service", json!({"spec": {"clusterIP": "None", "clusterIPs": ["None"]}}), json!({}), none),
        (
            "Node",
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.11"},
                {"type": "Hostname", "address": "n"}, {"type": "ExternalIP", "address": "203.0.113.11"}]}}),
            json!({"device_hostname": "n", "resource_type": "nodes"}),
            &["192.0.2.11", "203.0.113.11"],
        ),
        ("Namespace", json!({}), json!({"namespace_name": "n"}), none),
        (
            "ClusterRoleBinding",
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "roleRef": {"name": "admin"}}),
            json!({"api_service_name": "rbac.authorization.k8s.io", "resource_type": "clusterrolebindings"}),
            none,
        ),
        ("NetworkPolicy", json!({}), json!({"resource_type": "networkpolicies"}), none),
        (
            "Ingress",
            json!({"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.80"}]}}}),
            json!({"resource_type": "ingresses"}),
            none,
        ),
        (
            "Endpoints",
            json!({"subsets": [{"addresses": [{"ip": "10.1.0.4"}]}]}),
            json!({"resource_type": "endpoints"}),
            none,
        ),
        (
            "Event",
            json!({"type": "Warning", "message": "words", "lastTimestamp": "2026-03-01T09:00:00Z"}),
            json!({"message": "words", "time": "2026-03-01T09:00:00.000000Z", "activity_id": 2}),
            none,
        ),
        ("Secret", json!({"type": "ADDED", "message": "no"}), json!({"api_operation": null, "message": null}), none),
        // Its addresses are the node's.
        ("Pod", json!({"spec": {"hostNetwork": true}, "status": {"podIP": "192.0.2.11"}}), json!({}), none),
        // It gave them back.
        ("Pod", json!({"status": {"phase": "Succeeded", "podIP": "10.1.0.4"}}), json!({}), none),
        ("Pod", json!({"status": {"phase": "Failed", "podIP": "10.1.0.4"}}), json!({}), none),
        // Only pods run to an end.
        ("Job", json!({"apiVersion": "batch/v1", "status": {"phase": "Failed"}}), json!({}), none),
        ("Pod", json!({"status": {"phase": "Pending"}}), json!({"workload_kind": "Pod", "workload_name": "n"}), none),
        // Nothing is where it should be.
        (
            "Pod",
            json!({"metadata": {"labels": [1], "ownerReferences": {"controller": true}, "managedFields": 7, "generation": "x"},
                "spec": {"containers": {"name": "x"}, "nodeName": 7, "template": [[]]}, "status": [{"podIP": 7,
                "containerStatuses": [7, {"state": 7}], "conditions": "x", "loadBalancer": []}]}),
            json!({"pod_labels": null, "container_name": null, "truncated": null}),
            none,
        ),
    ] {
        let (row, version) = one(&object(kind, &part));
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {kind} {part}");
        }
        assert_eq!(version.addresses, addresses, "{kind} {part}");
        let has_ended = kind == "Pod" && matches!(part["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let change = if has_ended { ObjectChange::Ended } else { ObjectChange::Seen };
        assert_eq!((version.kind.as_str(), version.change), (kind, change), "{part}");
    }
    let (_, version) = one(&object(
        "Deployment",
        &json!({"metadata": {"generation": 3}, "spec": {"template": {"spec":
        {"serviceAccount": "old"}}}}),
    ));
    assert_eq!((version.generation, version.service_account.as_deref()), (Some(3), Some("old")));
}

#[test]
fn the_newest_time_that_an_object_states_is_when_it_was_so() {
    let managed = json!({"managedFields": [{"time": "2026-03-02T08:00:00Z"}, {"time": "2026-03-01T09:00:00Z"}, {}]});
    for (part, time) in [
        (json!({}), "2026-03-01T08:00:00Z"),
        (json!({"metadata": managed}), "2026-03-02T08:00:00Z"),
        (json!({"metadata": {"deletionTimestamp": "2026-03-03T08:00:00Z"}}), "2026-03-03T08:00:00Z"),
        (json!({"metadata": {"deletionTimestamp": "soon"}}), "2026-03-01T08:00:00Z"),
        (
            json!({"status": {"conditions": [{"lastTransitionTime": "2026-03-01T08:00:05Z", "lastProbeTime": null}]}}),
            "2026-03-01T08:00:05Z",
        ),
        (
            json!({"status": {"containerStatuses": [{"state": {"terminated": {"finishedAt": "2026-03-04T08:00:00Z"}}}]}}),
            "2026-03-04T08:00:00Z",
        ),
    ] {
        let (row, _) = one(&object("Pod", &part));
        assert_eq!(row["time_original"], time, "{part}");
    }
    // Who carried it knows better.
    let carrier = 1_772_500_000_000_000;
    let mut shown = palisade_events::Chunk::new(std::sync::Arc::new(palisade_events::Lane::channel("s", "c")));
    shown.push(object("Pod", &json!({"metadata": managed})).to_string().as_bytes(), 0, None, Some(carrier));
    let settings = std::sync::Arc::new(crate::decode::Settings::default());
    let lane = std::sync::Arc::clone(&shown.lane);
    let mut decoder = crate::decode::decoder(&Format::K8sObjects, lane, std::sync::Arc::clone(&settings));
    let mut out = Decoded::new(std::sync::Arc::clone(&settings.plan));
    let mut clock = palisade_events::LaneClock::new(palisade_events::clock::Tolerance::default());
    decoder.decode(&shown, &mut clock, &mut out).unwrap();
    assert_eq!(out.objects[0].time, carrier);
    let batch = out.events.finish().unwrap();
    assert_eq!((batch.time(col::TIME).value(0), batch.text(col::TIME_ORIGINAL).is_valid(0)), (carrier, true));
}

#[test]
fn a_watch_tells_what_changed() {
    for (told, operation, change) in [
        ("ADDED", "ADDED", ObjectChange::Seen),
        ("MODIFIED", "MODIFIED", ObjectChange::Seen),
        ("DELETED", "DELETED", ObjectChange::Deleted),
    ] {
        let (row, version) = one(&json!({"type": told, "object": pod()}));
        assert_eq!((&row["api_operation"], &row["activity_id"]), (&json!(operation), &json!(1)));
        assert_eq!(
            (row["pod_name"].as_str(), row["metadata_log_name"].as_str()),
            (Some(version.name.as_str()), Some("watch"))
        );
        assert_eq!(version.change, change);
    }
    let bookmark = json!({"type": "BOOKMARK", "object": {"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": "9"}}});
    let (batch, out) = decode(&bookmark.to_string());
    assert_eq!((batch.rows(), out.objects.len(), out.counts.used, out.rejects.len()), (0, 0, 1, 0));
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "code": 410, "reason": "Expired", "message": "too old resource version"}});
    let (batch, out) = decode(&gone.to_string());
    assert_eq!((batch.rows(), out.counts.coverage, out.coverage.len()), (0, 1, 1));
    let fact = &out.coverage[0];
    assert_eq!((fact.kind, fact.count, fact.detail.as_str()), (CoverageKind::Gap, -1, "the watch ended: 410 Expired"));
    // Without a carrier's time, the lane's own dates it.
    let (batch, out) = crate::testing::decode(&Format::K8sObjects, &[], &[pod().to_string(), gone.to_string()]);
    assert_eq!(out.coverage[0].window_start, batch.time(col::TIME).value(0));
}

#[test]
fn members_of_lists_are_objects_whether_they_tell_their_kind_or_not() {
    let member = |name: &str| json!({"metadata": {"name": name, "creationTimestamp": "2026-03-01T08:00:00Z"}});
    let typed = json!({"kind": "RoleBindingList", "apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {},
        "items": [member("a"), {}, object("Role", &json!({})), member("b")]});
    let (batch, out) = decode(&typed.to_string());
    let seen: Vec<_> =
        out.objects.iter().map(|o| (o.kind.as_str(), o.api_version.as_str(), o.name.as_str(), o.index)).collect();
    let group = "rbac.authorization.k8s.io/v1";
    assert_eq!(seen, [("RoleBinding", group, "a", 0), ("Role", "v1", "n", 2), ("RoleBinding", group, "b", 3)]);
    assert_eq!((batch.rows(), out.counts.used, out.rejects.len()), (3, 1, 1));
    // What is stored of a member stands for itself.
    let (again, _) = decode(batch.text(col::RAW).value(0));
    assert_eq!(again.row_json(0), batch.row_json(0));
    let mixed = json!({"kind": "List", "apiVersion": "v1", "items": [pod(), object("Node", &json!({}))]});
    let (_, out) = decode(&mixed.to_string());
    assert_eq!(out.objects.iter().map(|o| o.kind.as_str()).collect::<Vec<_>>(), ["Pod", "Node"]);
}

#[test]
fn secrets_are_nowhere_even_in_lists_that_alone_tell_what_they_are() {
    let data = json!({"data": {"k": "cGxhbnRlZA=="}});
    let mut member = object("Secret", &data);
    member.as_object_mut().unwrap().remove("kind");
    for payload in [
        object("Secret", &data),
        json!({"type": "ADDED", "object": object("Secret", &data)}),
        json!({"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": [member]}),
        json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": [object("Secret", &data)]}),
    ] {
        let (batch, out) = decode(&payload.to_string());
        assert_eq!((batch.rows(), batch.int(col::REDACTED).value(0)), (1, 1), "{payload}");
        assert!(!format!("{batch:?} {out:?}").contains("cGxhbnRlZA"), "{payload}");
    }
}

#[test]
fn bounds_cut_and_say_so() {
    let max = crate::decode::Limits::default().list_items_max;
    let labels: serde_json::Map<String, Json> = (0..=max).map(|n| (format!("l{n}"), json!("x"))).collect();
    let containers: Vec<Json> = (0..=max).map(|n| json!({"name": format!("c{n}")})).collect();
    let ips: Vec<Json> = (0..=max).map(|n| json!({"ip": format!("10.0.{}.{}", n / 256, n % 256)})).collect();
    for part in [
        json!({"metadata": {"labels": labels}}),
        json!({"spec": {"containers": containers}}),
        json!({"status": {"containerStatuses": containers}}),
        json!({"status": {"podIPs": ips}}),
    ] {
        let (row, version) = one(&object("Pod", &part));
        assert_eq!(row["truncated"], true);
        assert!([version.labels.len(), version.images.len(), version.addresses.len()].iter().all(|len| *len <= max));
    }
}

#[test]
fn every_sample_is_an_object_or_told_by_a_watch() {
    let samples = include_str!("../../samples/k8s_objects.ndjson");
    for sample in samples.lines().filter(|line| !line.is_empty()) {
        let (batch, out) = decode(sample);
        assert_eq!((out.rejects.len(), batch.rows()), (0, out.objects.len()), "{sample}: {:?}", out.rejects);
        assert!(batch.rows() > 0 || sample.contains("BOOKMARK") || out.coverage.len() == 1, "{sample}");
    }
}

#[test]
fn what_is_no_object_is_refused_with_its_reason() {
    let samples = include_str!("../../samples/k8s_objects.bad.ndjson");
    let reasons: Vec<String> =
        samples.lines().flat_map(|sample| decode(sample).1.rejects.into_iter().map(|reject| reject.reason)).collect();
    let not = "not_a_k8s_object";
    assert_eq!(reasons, ["missing_name", "missing_time", not, not, not]);
}

#[test]
fn a_cluster_that_others_dumped_is_read() {
    let Some(folder) = shared("kubehound/pkg") else { return };
    let mut files: Vec<_> = walkdir::WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path()).collect();
    files.retain(|path| path.extension().is_some_and(|ending| ending == "json"));
    files.sort();
    let records: Vec<Vec<u8>> = files.iter().map(|path| std::fs::read(path).unwrap()).collect();
    let (batch, out) = crate::testing::decode(&Format::K8sObjects, &[], &records);
    let reasons: Vec<_> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    // One list of the dump has no members.
    assert_eq!((records.len(), batch.rows(), out.objects.len(), reasons), (25, 24, 24, vec![]));
    assert_eq!(out.counts.used, 25);
    let count = |kind: &str| out.objects.iter().filter(|object| object.kind == kind).count();
    let kinds = ["Pod", "Node", "EndpointSlice", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"];
    assert_eq!(kinds.map(count), [4, 3, 3, 4, 4, 3, 3]);
    for object in out.objects.iter().filter(|object| object.kind == "Pod") {
        assert_eq!(object.addresses, ["10.1.1.2"]);
        assert_eq!(object.node.as_deref(), Some("test-node.ec2.internal"));
        assert!(!object.images.is_empty());
    }
    for object in out.objects.iter().filter(|object| object.kind == "Node") {
        assert_eq!(object.addresses, ["192.168.1.10"]);
    }
}
