//! Surprises of change: a node that is replaced, a version that behaves differently from the one before.
//!
//! Not here: changes that people make by hand (see `people` and `upkeep`).

use palisade_events::time::SECOND;

use super::scene::{CREATED, Flow, Scene};
use crate::act::{End, Login};
use crate::audit::{Answer, CONFIG_MAPS, DEPLOYMENTS, LEASES, NODES, PODS, REPLICA_SETS, Request, Resource};
use crate::body;
use crate::builds;
use crate::cluster::{self, Actor, Pod, REPLICASET_CONTROLLER};
use crate::text::suffix;

const SIGNING_REQUESTS: Resource = Resource("certificates.k8s.io", "v1", "certificatesigningrequests");
const CSI_NODES: Resource = Resource("storage.k8s.io", "v1", "csinodes");

/// Pods that are moved off a node, or rolled out, at most: each in a scene of its own.
const MOVED_MAX: usize = 10;

pub(super) const CHURN_SCENES: u32 = BACK + 1;
/// Scenes of the churn, after those in which pods are moved.
const LEFT: u32 = MOVED_MAX as u32 + 1;
const ASKED: u32 = LEFT + 1;
const JOINED: u32 = ASKED + 1;
const REPORTED: u32 = JOINED + 1;
const LABELLED: u32 = REPORTED + 2;
const BACK: u32 = LABELLED + 1;

pub(super) const ROLL_OUT_SCENES: u32 = MOVED_MAX as u32 + 2;
/// Minutes that the new version runs.
pub(super) const SHIFT_SCENES: u32 = 240;

/// An administrator drains a node and deletes it; the machine is set up anew and joins under its old name.
pub(super) fn node_churn(scene: &mut Scene<'_>) {
    let cluster = scene.cluster;
    let admin = &cluster.admin;
    // The last one has the Docker daemon; a cluster of one node has no other.
    let index = scene.cast.below((cluster.nodes.len() as u64 - 1).max(1)) as usize;
    let Some(node) = cluster.nodes.get(index) else { return };
    let movable = |pod: &&Pod| pod.node == index && pod.namespace != "kube-system";
    let moved: Vec<(&Pod, Pod)> =
        cluster.pods.iter().filter(movable).take(MOVED_MAX).map(|pod| (pod, elsewhere(scene, pod))).collect();
    let token = suffix(&mut scene.cast, 6);
    let csr = format!("csr-{}", suffix(&mut scene.cast, 5));
    let name = node.name.as_str();
    match scene.number {
        0 => {
            let patch = "{\"spec\":{\"unschedulable\":true}}";
            let request = Request::new(admin, "patch", NODES, "", name);
            scene.request(0, &Request { query: "fieldManager=kubectl-cordon", request_object: patch, ..request });
            let query = format!("fieldSelector=spec.nodeName%3D{name}&limit=500");
            scene.request(SECOND, &Request { query: &query, ..Request::new(admin, "list", PODS, "", "") });
        }
        number @ 1..LEFT => {
            let Some((pod, replacement)) = moved.get(number as usize - 1) else { return };
            let body = format!(
                "{{\"kind\":\"Eviction\",\"apiVersion\":\"policy/v1\",\"metadata\":{{\"name\":\"{}\",\"namespace\":\"{}\"}},\"deleteOptions\":{{}}}}",
                pod.name, pod.namespace
            );
            let request = Request::new(admin, "create", PODS, &pod.namespace, &pod.name);
            let request = Request { subresource: "eviction", answer: CREATED, request_object: &body, ..request };
            scene.request(0, &request);
            let ends = scene.wire.random.between(SECOND, 5 * SECOND);
            scene.ask(ends, &node.kubelet, "delete", PODS, &pod.namespace, &pod.name);
            scene.start_pod(SECOND / 3, REPLICASET_CONTROLLER, replacement);
        }
        LEFT => {
            scene.ask(0, admin, "get", NODES, "", name);
            scene.ask(2 * SECOND, admin, "delete", NODES, "", name);
            if let Some(collector) = cluster.controllers.get(5) {
                scene.ask(3 * SECOND, collector, "delete", LEASES, "kube-node-lease", name);
                scene.ask(3 * SECOND + 20_000, collector, "delete", CSI_NODES, "", name);
            }
        }
        ASKED => {
            // The machine has nothing but a bootstrap token.
            let user = format!("system:bootstrap:{token}");
            let groups =
                ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token", "system:authenticated"];
            let reason = "RBAC: allowed by ClusterRoleBinding \"kubeadm:kubelet-bootstrap\" of ClusterRole \"system:node-bootstrapper\" to Group \"system:bootstrappers:kubeadm:default-node-token\"";
            let joining = cluster::actor(&user, &groups, "", &node.ip, &node.kubelet.agent, reason, index % 2);
            let anonymous = cluster.probe.elsewhere(&node.ip, "kubeadm/v1.34.2 (linux/amd64) kubernetes/8cc511e");
            let request = Request::new(&anonymous, "get", CONFIG_MAPS, "kube-public", "cluster-info");
            scene.request(0, &Request { query: "timeout=10s", ..request });
            scene.ask(SECOND, &joining, "get", CONFIG_MAPS, "kube-system", "kubeadm-config");
            scene.ask(SECOND + 30_000, &joining, "get", NODES, "", name);
            scene.ask(SECOND + 60_000, &joining, "get", CONFIG_MAPS, "kube-system", "kubelet-config");
            let body = format!(
                "{{\"kind\":\"CertificateSigningRequest\",\"apiVersion\":\"certificates.k8s.io/v1\",\"metadata\":{{\"name\":\"{csr}\",\"generateName\":\"csr-\",\"creationTimestamp\":null}},\"spec\":{{\"request\":\"LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0=\",\"signerName\":\"kubernetes.io/kube-apiserver-client-kubelet\",\"usages\":[\"digital signature\",\"client auth\"]}},\"status\":{{}}}}"
            );
            let request = Request::new(&joining, "create", SIGNING_REQUESTS, "", &csr);
            scene.request(3 * SECOND, &Request { answer: CREATED, request_object: &body, ..request });
            let approver = certificate_controller(scene);
            let request = Request::new(&approver, "update", SIGNING_REQUESTS, "", &csr);
            scene.request(3 * SECOND + 80_000, &Request { subresource: "approval", ..request });
            scene.request(3 * SECOND + 200_000, &Request { subresource: "status", ..request });
            scene.ask(4 * SECOND, &joining, "get", SIGNING_REQUESTS, "", &csr);
        }
        JOINED => {
            for (after, verb, resource, namespace, answer) in [
                (0, "create", NODES, "", CREATED),
                (SECOND / 5, "get", LEASES, "kube-node-lease", Answer::NotFound),
                (SECOND / 4, "create", LEASES, "kube-node-lease", CREATED),
                (SECOND / 3, "create", CSI_NODES, "", CREATED),
            ] {
                let request = Request::new(&node.kubelet, verb, resource, namespace, name);
                scene.request(after, &Request { answer, ..request });
            }
            let unit = "unit=kubelet comm=\"systemd\" exe=\"/usr/lib/systemd/systemd\" hostname=? addr=? terminal=? res=success";
            scene.host(0, index, "SERVICE_START", Login::None, unit);
        }
        REPORTED..LABELLED => {
            let patch = body::node_status(scene.wire, node, scene.now);
            let request = Request::new(&node.kubelet, "patch", NODES, "", name);
            scene.request(0, &Request { subresource: "status", request_object: &patch, ..request });
        }
        LABELLED => {
            scene.ask(0, admin, "list", NODES, "", "");
            let patch = "{\"metadata\":{\"labels\":{\"node-role.kubernetes.io/worker\":\"\"}}}";
            let request = Request::new(admin, "patch", NODES, "", name);
            scene.request(
                4 * SECOND,
                &Request { query: "fieldManager=kubectl-label", request_object: patch, ..request },
            );
        }
        _ => {
            // What moved away is scaled down to where it was.
            if let Some(controller) = cluster.controllers.get(REPLICASET_CONTROLLER) {
                for (nth, (_, replacement)) in (0..).zip(&moved) {
                    scene.stop_pod(nth * SECOND / 2, controller, replacement);
                }
            }
        }
    }
}

/// Another pod like this one on another node, unless there is none or chance insists.
fn elsewhere(scene: &mut Scene<'_>, pod: &Pod) -> Pod {
    let mut made = scene.sibling(pod);
    for _ in 0..20 {
        if made.node != pod.node {
            break;
        }
        made = scene.sibling(pod);
    }
    made
}

/// The controller that approves and signs what kubelets ask for.
fn certificate_controller(scene: &mut Scene<'_>) -> Actor {
    let manager = &scene.cluster.controller_manager;
    let agent = manager.agent.replace("leader-election", "system:serviceaccount:kube-system:certificate-controller");
    let (name, role) = ("certificate-controller", "system:controller:certificate-controller");
    let extra = cluster::jti(&mut scene.cast);
    cluster::service_account("kube-system", name, role, &extra, &manager.ip, &agent, &mut scene.cast)
}

/// CI rolls a new version of a workload out, pod by pod. It asks for its settings much more often and reports to a
/// service outside, for hours, until it is rolled back: the level shifts, and shifts again.
pub(super) fn roll_out(scene: &mut Scene<'_>) {
    const LAST: u32 = ROLL_OUT_SCENES + SHIFT_SCENES;
    let cluster = scene.cluster;
    let namespace = scene.namespace();
    let workload = *scene.cast.pick(&["web", "queue"]);
    let old = scene.pods(namespace, workload, MOVED_MAX);
    let Some(first) = old.first().copied() else { return };
    let set = format!("{workload}-{}", suffix(&mut scene.cast, 9));
    let tag = format!("1.{}.0", 110 + scene.cast.below(9));
    let digest = cluster::sha256(&mut scene.cast);
    let new: Vec<Pod> = old
        .iter()
        .map(|pod| {
            let mut made = scene.sibling(pod);
            made.name = [&set, "-", &suffix(&mut scene.cast, 5)].concat();
            made.image.tag.clone_from(&tag);
            made.image.digest.clone_from(&digest);
            made
        })
        .collect();
    let extra = cluster::jti(&mut scene.cast);
    let account = cluster::service_account(
        namespace,
        &first.account,
        "config-reader",
        &extra,
        &first.ip,
        "app-settings/2.0 (linux/amd64)",
        &mut scene.cast,
    );
    let Some(latest) = new.first() else { return };
    let (Some(deployments), Some(sets)) = (cluster.controllers.first(), cluster.controllers.get(REPLICASET_CONTROLLER))
    else {
        return;
    };
    match scene.number {
        0 => scene.push(0, latest),
        1 => {
            change_image(scene, first, &tag, workload);
            let request = Request::new(deployments, "create", REPLICA_SETS, namespace, &set);
            scene.request(SECOND / 4, &Request { answer: CREATED, ..request });
        }
        number @ 2..ROLL_OUT_SCENES => {
            let nth = number as usize - 2;
            if let (Some(made), Some(gone)) = (new.get(nth), old.get(nth)) {
                scene.start_pod(0, REPLICASET_CONTROLLER, made);
                scene.stop_pod(3 * SECOND, sets, gone);
                let request = Request::new(deployments, "update", DEPLOYMENTS, namespace, workload);
                scene.request(4 * SECOND, &Request { subresource: "status", ..request });
            }
        }
        LAST.. => {
            change_image(scene, first, &first.image.tag, workload);
            for (nth, (made, old)) in (1..).zip(new.iter().zip(old)) {
                let request = Request::new(sets, "create", PODS, namespace, &old.name);
                scene.request(nth * 2 * SECOND, &Request { answer: CREATED, ..request });
                builds::pull_image(cluster, scene.wire, scene.now + nth * 2 * SECOND + SECOND / 2, old, None);
                scene.stop_pod(nth * 2 * SECOND + SECOND, sets, made);
            }
        }
        _ => {
            let (ip, name) = ("192.0.2.84", "usage.example.com");
            for _ in 0..scene.portion(500, 60) {
                let random = &mut scene.wire.random;
                let (after, pod) = (random.between(0, 60 * SECOND), random.pick(&new));
                let (sent, received) = (3_000 + random.below(9_000), 600 + random.below(900));
                let asker = account.elsewhere(&pod.ip, &account.agent);
                scene.ask(after, &asker, "get", CONFIG_MAPS, namespace, workload);
                let api = Flow { port: 443, sent: 1_200, received: 4_000, lasts: SECOND / 10 };
                scene.connect(after, (End::Pod(pod), End::ApiServer), api, None);
                scene.lookup(after + 200_000, pod, name, ip);
                let flow = Flow { port: 443, sent, received, lasts: SECOND / 2 };
                scene.connect(after + 230_000, (End::Pod(pod), End::Outside { ip, name }), flow, None);
            }
        }
    }
}

fn change_image(scene: &mut Scene<'_>, pod: &Pod, tag: &str, workload: &str) {
    let patch = body::image_patch(pod, tag);
    let deployer = &scene.cluster.deployer;
    let request = Request::new(deployer, "patch", DEPLOYMENTS, &pod.namespace, workload);
    scene.request(0, &Request { query: "fieldManager=kubectl-set", request_object: &patch, ..request });
}
