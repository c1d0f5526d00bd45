//! A request is the same row, whether the API server's own event tells of it or GKE's entry.

use super::*;

const TIME: &str = "2024-05-05T16:16:37.663647Z";

/// An entry of Cloud Logging about a request, with `part` in its payload.
fn entry(method: &str, path: &str, part: &Json) -> Json {
    let mut payload = json!({
        "@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "authenticationInfo": {"principalEmail": "dev@example.com"},
        "authorizationInfo": [{"granted": true, "permission": method, "resource": path}],
        "methodName": method,
        "requestMetadata": {"callerIp": "203.0.113.9", "callerSuppliedUserAgent": "kubectl/v1.30"},
        "resourceName": path,
        "serviceName": "k8s.io",
        "status": {},
    });
    merge(&mut payload, part);
    json!({
        "insertId": "a1", "logName": "projects/p/logs/cloudaudit.googleapis.com%2Factivity", "protoPayload": payload,
        "operation": {"first": true, "id": "a1", "last": true, "producer": "k8s.io"},
        "labels": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "r"},
        "resource": {"type": "k8s_cluster", "labels": {
            "cluster_name": "shop-1", "location": "europe-west1-b", "project_id": "project-1"}},
        "receiveTimestamp": "2024-05-05T16:16:38.1Z", "timestamp": TIME,
    })
}

/// The API server's event about it.
fn native(part: &Json) -> Json {
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "a1", "user": {"username": "dev@example.com"},
        "sourceIPs": ["203.0.113.9"], "userAgent": "kubectl/v1.30", "responseStatus": {"code": 200},
        "stageTimestamp": TIME,
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "r"},
    });
    merge(&mut event, part);
    event
}

fn merge(into: &mut Json, part: &Json) {
    for (key, value) in part.as_object().unwrap() {
        into[key] = value.clone();
    }
}

#[test]
fn an_entry_is_the_row_of_its_twin() {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-0", "namespace": "shop"},
        "spec": {"hostPID": true, "containers": [{"name": "app", "image": "r.example/web:1@sha256:ff"}]}});
    let mut google_pod = pod.clone();
    google_pod["@type"] = "core.k8s.io/v1.Pod".into();
    for (method, path, of_entry, of_event) in [
        (
            "io.k8s.core.v1.pods.exec.create",
            "core/v1/namespaces/shop/pods/web-0/exec",
            json!({}),
            json!({"verb": "create", "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "shop",
                "name": "web-0", "apiVersion": "v1"}}),
        ),
        (
            "io.k8s.core.v1.pods.create",
            "core/v1/namespaces/shop/pods/web-0",
            json!({"request": google_pod, "response": google_pod}),
            json!({"verb": "create", "objectRef": {"resource": "pods", "namespace": "shop", "apiVersion": "v1"},
                "requestObject": pod, "responseObject": pod}),
        ),
        (
            "io.k8s.apps.v1.deployments.patch",
            "apps/v1/namespaces/shop/deployments/web",
            json!({"requestMetadata": {"callerIp": "private", "callerSuppliedUserAgent": "a"}}),
            json!({"verb": "patch", "sourceIPs": [], "userAgent": "a", "objectRef": {"resource": "deployments",
                "namespace": "shop", "name": "web", "apiGroup": "apps", "apiVersion": "v1"}}),
        ),
        (
            "io.k8s.authorization.rbac.v1.clusterrolebindings.create",
            "rbac.authorization.k8s.io/v1/clusterrolebindings/all",
            json!({"authenticationInfo": {"principalEmail": "system:serviceaccount:shop:web"}}),
            json!({"verb": "create", "user": {"username": "system:serviceaccount:shop:web"}, "objectRef": {
                "resource": "clusterrolebindings", "name": "all", "apiGroup": "rbac.authorization.k8s.io",
                "apiVersion": "v1"}}),
        ),
        // No path: the group is spelled backwards in the method.
        (
            "io.k8s.authorization.rbac.v1beta1.roles.list",
            "",
            json!({}),
            json!({"verb": "list", "objectRef": {"resource": "roles", "apiGroup": "rbac.authorization.k8s.io",
                "apiVersion": "v1beta1"}}),
        ),
        (
            "io.example.widgets.v1alpha1.gadgets.status.update",
            "widgets.example.io/v1alpha1/namespaces/shop/gadgets/g/status",
            json!({}),
            json!({"verb": "update", "objectRef": {"resource": "gadgets", "subresource": "status", "namespace": "shop",
                "name": "g", "apiGroup": "widgets.example.io", "apiVersion": "v1alpha1"}}),
        ),
        (
            "io.k8s.core.v1.namespaces.delete",
            "core/v1/namespaces/shop",
            json!({}),
            json!({"verb": "delete", "objectRef": {"resource": "namespaces", "namespace": "shop", "name": "shop",
                "apiVersion": "v1"}}),
        ),
        (
            "io.k8s.core.v1.nodes.proxy.get",
            "core/v1/nodes/node-1/proxy/metrics/cadvisor",
            json!({"status": {"code": 0}}),
            json!({"verb": "get", "objectRef": {"resource": "nodes", "subresource": "proxy", "name": "node-1",
                "apiVersion": "v1"}}),
        ),
        (
            "io.k8s.core.v1.secrets.get",
            "core/v1/namespaces/shop/secrets/s",
            json!({"status": {"code": 7, "message": "PERMISSION_DENIED"}, "response": {"@type": "core.k8s.io/v1.Status",
                "kind": "Status", "code": 403, "status": "Failure", "reason": "Forbidden", "message": "no \"s\""}}),
            json!({"verb": "get", "objectRef": {"resource": "secrets", "namespace": "shop", "name": "s", "apiVersion": "v1"},
                "responseStatus": {"code": 403, "status": "Failure", "reason": "Forbidden", "message": "no \"s\""}}),
        ),
        (
            "io.k8s.core.v1.secrets.get",
            "core/v1/namespaces/shop/secrets/s",
            json!({"status": {"code": 5, "message": "not found"}}),
            json!({"verb": "get", "objectRef": {"resource": "secrets", "namespace": "shop", "name": "s", "apiVersion": "v1"},
                "responseStatus": {"code": 404, "message": "not found"}}),
        ),
        // Asks for no resource.
        ("io.k8s.get", "healthz", json!({}), json!({"verb": "get", "requestURI": "/healthz"})),
    ] {
        let (rows, out) = decode_with(&[], &entry(method, path, &of_entry));
        assert_eq!(rows.rows(), 1, "{method}: {:?}", out.rejects);
        let (twin, _) = decode_with(&[], &native(&of_event));
        let mut row = rows.row_json(0);
        for (column, value) in [
            ("cluster_name", "shop-1"),
            ("cloud_provider", "GCP"),
            ("cloud_account_uid", "project-1"),
            ("cloud_region", "europe-west1"),
        ] {
            assert_eq!(row.as_object_mut().unwrap().remove(column), Some(value.into()), "{column} of {method}");
        }
        assert_eq!(row, twin.row_json(0), "{method}");
    }
}

#[test]
fn stages_are_those_of_requests_that_are_told_of_twice() {
    for (operation, stage) in [
        (json!({"id": "a1", "first": true}), Some("ResponseStarted")),
        (json!({"id": "a1", "last": true}), Some("ResponseComplete")),
        (json!({"id": "a1", "first": true, "last": true}), None),
        (json!({"id": "a1"}), None),
    ] {
        let mut told = entry("io.k8s.core.v1.pods.exec.create", "core/v1/namespaces/shop/pods/web-0/exec", &json!({}));
        told["operation"] = operation;
        let row = decode_with(&[], &told).0.row_json(0);
        assert_eq!(row["metadata_log_name"].as_str(), stage);
        assert_eq!(row["metadata_correlation_uid"], "a1");
    }
}

#[test]
fn what_an_entry_lacks_is_taken_from_beside_it() {
    let mut told = entry(
        "io.k8s.core.v1.pods.list",
        "core/v1/pods",
        &json!({"authorizationInfo": [{"permission": "p"}, {"granted": false}]}),
    );
    for key in ["operation", "labels", "timestamp"] {
        told.as_object_mut().unwrap().remove(key);
    }
    let row = decode_with(&[], &told).0.row_json(0);
    for (column, value) in [
        ("metadata_original_uid", "a1"),
        ("authorization_decision", "forbid"),
        ("time", "2024-05-05T16:16:38.100000Z"),
        ("resource_type", "pods"),
    ] {
        assert_eq!(row[column], value, "{column}");
    }
    assert_eq!((&row["status_id"], &row["namespace_name"]), (&json!(2), &Json::Null));
}

#[test]
fn rules_find_the_fields_of_audit_events_and_the_entrys_own() {
    let body = json!({"request": {"@type": "core.k8s.io/v1.Pod", "spec": {"hostPID": true}}});
    let told = entry("io.k8s.core.v1.pods.create", "core/v1/namespaces/shop/pods/web-0", &body);
    let plan = [
        "insertId",
        "objectRef.resource",
        "protoPayload.methodName",
        "requestObject.spec.hostPID",
        "responseStatus.code",
        "user.username",
    ];
    let (batch, _) = decode_with(&plan, &told);
    let values: Vec<_> = batch.fields().iter().map(|field| field.values().to_vec()).collect();
    let text = |text: &str| vec![FieldValue::Str(text.into())];
    let method = text("io.k8s.core.v1.pods.create");
    let expected = [
        text("a1"),
        text("pods"),
        method,
        vec![FieldValue::Bool(true)],
        vec![FieldValue::Int(200)],
        text("dev@example.com"),
    ];
    assert_eq!(values, expected);
}

#[test]
fn secrets_of_an_entry_are_nowhere_in_the_row() {
    let body = json!({"request": {"data": {"k": "cGxhbnRlZA=="}}, "response": {"kind": "Secret", "data": {"k": "cGxhbnRlZA=="}}});
    let told = entry("io.k8s.core.v1.secrets.patch", "core/v1/namespaces/shop/secrets/s", &body);
    let (batch, out) = decode_with(&["requestObject.data.k", "protoPayload.request.data.k"], &told);
    assert_eq!((batch.rows(), batch.int(col::REDACTED).value(0)), (1, 2));
    assert!(!format!("{batch:?} {:?}", out.rejects).contains("cGxhbnRlZA"));
}

#[test]
fn entries_of_other_services_are_no_audit_events() {
    for part in [
        json!({"serviceName": "compute.googleapis.com", "methodName": "v1.compute.instances.insert"}),
        json!({"serviceName": null, "methodName": "v1.compute.instances.insert"}),
        json!({"methodName": "none"}),
        json!({"methodName": 7}),
    ] {
        let (batch, out) = decode_with(&[], &entry("m", "p", &part));
        assert_eq!((batch.rows(), out.rejects.len()), (0, 1), "{part}");
        assert_eq!(out.rejects[0].reason, "not_an_audit_event");
    }
}
