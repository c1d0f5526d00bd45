//! The starter pack on managed clusters: what the provider's own components do is silent, and what a person does is told of,
//! whatever users are called there. The events are as the decoder leaves them: those of GKE written back from Cloud Logging.

use super::*;

/// An event as an audit log has it, with what else its cluster writes.
fn event(user: Value, verb: &str, of: Value, asked: Value, rest: Value) -> (&'static str, Value) {
    let mut event = json!({
        "verb": verb, "stage": "ResponseComplete", "user": user, "objectRef": of, "requestObject": asked,
        "responseStatus": {"code": if verb == "create" { 201 } else { 200 }},
    });
    for (key, value) in rest.as_object().into_iter().flatten() {
        event[key] = value.clone();
    }
    ("k8s_audit", event)
}

/// Identities as the providers write them: of a person, a program of the provider, and what else their events have.
fn clouds() -> Vec<(&'static str, Value, Vec<Value>, Value)> {
    let role = "arn:aws:sts::111122223333:assumed-role/platform/nora";
    let eks_person = json!({
        "username": role, "uid": "aws-iam-authenticator:111122223333:AROAEXAMPLE", "groups": ["system:authenticated"],
        "extra": {"arn": [role], "canonicalArn": ["arn:aws:iam::111122223333:role/platform"], "sessionName": ["nora"]},
    });
    let eks_own = ["eks:addon-manager", "eks:cluster-bootstrap", "eks:node-manager"];
    let aks_person = json!({"username": "nora@example.com", "groups": ["3f1f2b64-0000-4000-8000-000000000001"]});
    let gke_person = json!({"username": "nora@example.com"});
    let gke_own = ["service-111122223333@container-engine-robot.iam.gserviceaccount.com", "system:addon-manager"];
    let users = |names: &[&str]| names.iter().map(|name| json!({"username": name})).collect();
    let allowed = json!({"annotations": {"authorization.k8s.io/decision": "allow"}});
    let gke_rest = json!({
        "annotations": {"authorization.k8s.io/decision": "allow"}, "insertId": "a", "logName": "projects/p/logs/x",
        "protoPayload": {"serviceName": "k8s.io", "authenticationInfo": {"principalEmail": "nora@example.com"}},
        "resource": {"type": "k8s_cluster", "labels": {"cluster_name": "c"}},
    });
    vec![
        ("EKS", eks_person, users(&eks_own), allowed.clone()),
        (
            "EKS by the old map",
            json!({"username": "kubernetes-admin", "groups": ["system:masters"]}),
            vec![],
            allowed.clone(),
        ),
        ("AKS", aks_person, users(&["aksService"]), allowed.clone()),
        (
            "AKS by the local account",
            json!({"username": "masterclient", "groups": ["system:masters"]}),
            vec![],
            allowed,
        ),
        ("GKE", gke_person, users(&gke_own), gke_rest),
    ]
}

/// What providers' components do all day when clusters are made and upgraded, and what it is when a person does it.
fn acts() -> Vec<(&'static str, Value, Value, &'static str)> {
    let account = json!({"resource": "serviceaccounts", "namespace": "kube-system", "name": "agent"});
    let set = json!({"resource": "daemonsets", "apiGroup": "apps", "namespace": "kube-system", "name": "agent"});
    let network = json!({"spec": {"template": {"spec": {"hostNetwork": true, "containers": [{"name": "a"}]}}}});
    let approval = json!({"resource": "certificatesigningrequests", "subresource": "approval", "name": "csr-1"});
    let dns = json!({"resource": "configmaps", "namespace": "kube-system", "name": "coredns"});
    let secrets = json!({"resource": "secrets", "namespace": "kube-system"});
    let quota = json!({"resource": "resourcequotas", "namespace": "gke-system", "name": "pods"});
    vec![
        ("create", account, Value::Null, "Service Account Created In A System Namespace"),
        ("create", set, network, "Pod Shares Namespaces Of Its Node"),
        ("update", approval, Value::Null, "Client Certificate Approved By Hand"),
        ("update", dns, Value::Null, "Settings Of The Cluster Changed"),
        ("list", secrets, Value::Null, "Secrets Listed By A Person"),
        ("patch", quota, Value::Null, "Quota Of A Namespace Changed Or Removed"),
    ]
}

#[test]
fn on_managed_clusters_people_are_told_of_and_the_providers_components_are_not() {
    for (cloud, person, own, rest) in clouds() {
        for (verb, of, asked, title) in acts() {
            let told = titles([event(person.clone(), verb, of.clone(), asked.clone(), rest.clone())]);
            assert!(told.contains(&format!("0 {title}")), "{cloud}: {verb} {of} by a person: {told:?}");
            for user in &own {
                let told = titles([event(user.clone(), verb, of.clone(), asked.clone(), rest.clone())]);
                assert_eq!(told, Vec::<String>::new(), "{cloud}: {verb} {of} by {user}");
            }
        }
    }
}

#[test]
fn an_event_without_a_stage_is_told_of() {
    // Entries of Cloud Logging tell the stage by their operation, which not all of them have.
    let (format, mut bound) = event(
        json!({"username": "nora@example.com"}),
        "create",
        json!({"resource": "clusterrolebindings", "apiGroup": "rbac.authorization.k8s.io", "name": "x"}),
        json!({"@type": "rbac.authorization.k8s.io/v1.ClusterRoleBinding", "roleRef": {"name": "cluster-admin"}}),
        Value::Null,
    );
    bound.as_object_mut().unwrap().remove("stage");
    assert_eq!(titles([(format, bound)]), ["0 Cluster Administrator Role Granted"]);
}
