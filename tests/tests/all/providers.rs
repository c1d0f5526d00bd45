//! The same acts give the same findings, whether the API server's log comes as it is, or as a managed cluster delivers it.

use std::collections::BTreeSet;

use palisade::Pipeline;
use palisade_events::FindingKind;
use serde_json::{Value, json};

/// What a person asked the API server for, told in both ways: as audit events tell it, and as GKE's entries do.
struct Act {
    method: &'static str,
    path: &'static str,
    event: Value,
    request: Option<Value>,
    title: &'static str,
}

fn acts() -> Vec<Act> {
    let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web-0", "namespace": "shop"},
        "spec": {"hostPID": true, "containers": [{"name": "app", "image": "r.example/web:1",
            "securityContext": {"privileged": true}}]}});
    let binding = json!({"kind": "ClusterRoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1",
        "metadata": {"name": "all"}, "subjects": [{"kind": "User", "name": "eve"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}});
    vec![
        Act {
            method: "io.k8s.core.v1.pods.exec.create",
            path: "core/v1/namespaces/shop/pods/web-0/exec",
            event: json!({"verb": "create", "stage": "ResponseStarted", "objectRef": {"resource": "pods",
                "subresource": "exec", "namespace": "shop", "name": "web-0", "apiVersion": "v1"}}),
            request: None,
            title: "Command Run In A Pod",
        },
        Act {
            method: "io.k8s.core.v1.pods.create",
            path: "core/v1/namespaces/shop/pods/web-0",
            event: json!({"verb": "create", "objectRef": {"resource": "pods", "namespace": "shop", "name": "web-0",
                "apiVersion": "v1"}, "requestObject": pod, "responseStatus": {"code": 201}}),
            request: Some(pod),
            title: "Privileged Container Requested",
        },
        Act {
            method: "io.k8s.authorization.rbac.v1.clusterrolebindings.create",
            path: "rbac.authorization.k8s.io/v1/clusterrolebindings/all",
            event: json!({"verb": "create", "objectRef": {"resource": "clusterrolebindings", "name": "all",
                "apiGroup": "rbac.authorization.k8s.io", "apiVersion": "v1"}, "requestObject": binding,
                "responseStatus": {"code": 201}}),
            request: Some(binding),
            title: "Cluster Administrator Role Granted",
        },
    ]
}

fn native(act: &Act) -> Value {
    let mut event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": "a1",
        "stage": "ResponseComplete", "user": {"username": "dev@example.com"}, "sourceIPs": ["203.0.113.9"],
        "userAgent": "kubectl/v1.34", "responseStatus": {"code": 200}, "requestURI": format!("/api/{}", act.path),
        "requestReceivedTimestamp": "2026-05-05T16:16:37.6Z", "stageTimestamp": "2026-05-05T16:16:37.7Z"});
    for (key, value) in act.event.as_object().unwrap() {
        event[key] = value.clone();
    }
    event
}

fn gke(act: &Act) -> Value {
    let mut payload = json!({"@type": "type.googleapis.com/google.cloud.audit.AuditLog",
        "authenticationInfo": {"principalEmail": "dev@example.com"},
        "authorizationInfo": [{"granted": true, "permission": act.method, "resource": act.path}],
        "methodName": act.method, "requestMetadata": {"callerIp": "203.0.113.9", "callerSuppliedUserAgent": "kubectl/v1.34"},
        "resourceName": act.path, "serviceName": "k8s.io", "status": {}});
    if let Some(request) = &act.request {
        payload["request"] = request.clone();
    }
    let mut entry = json!({"insertId": "a1", "logName": "projects/p/logs/cloudaudit.googleapis.com%2Factivity",
        "protoPayload": payload, "resource": {"type": "k8s_cluster", "labels": {"cluster_name": "shop-1"}},
        "timestamp": "2026-05-05T16:16:37.7Z"});
    // What runs long is told of twice; this is its beginning.
    entry["operation"] = match act.event["stage"] == "ResponseStarted" {
        true => json!({"first": true, "id": "a1", "producer": "k8s.io"}),
        false => json!({"first": true, "id": "a1", "last": true, "producer": "k8s.io"}),
    };
    entry
}

fn titles(record: &Value) -> BTreeSet<String> {
    let mut pipeline = Pipeline::builder().source("audit", "k8s_audit").build().unwrap();
    let found = pipeline.push("audit", [record.to_string()]).unwrap();
    assert_eq!(pipeline.rejects(), [], "{record}");
    found.into_iter().filter(|finding| finding.kind == FindingKind::Rule).map(|finding| finding.title).collect()
}

#[test]
fn managed_clusters_deliver_the_same_findings() {
    let resource = "/SUBSCRIPTIONS/1/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/SHOP-1";
    for act in acts() {
        let event = native(&act);
        let text = event.to_string();
        let expected = titles(&event);
        assert!(expected.contains(act.title), "{}: {expected:?}", act.title);
        let shapes = [
            (
                "EKS",
                json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/shop-1/cluster",
                "logStream": "kube-apiserver-audit-1", "logEvents": [{"id": "1", "timestamp": 1, "message": text}]}),
            ),
            (
                "AKS",
                json!({"records": [{"category": "kube-audit", "resourceId": resource,
                "properties": {"log": format!("{text}\n"), "stream": "stdout"}}]}),
            ),
            ("GKE", gke(&act)),
        ];
        for (provider, record) in shapes {
            assert_eq!(titles(&record), expected, "{provider}: {}", act.title);
        }
    }
}
