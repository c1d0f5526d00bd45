//! Whose an object is: the controller among its owners, and the workload at the top, as far as the object itself shows it.
//!
//! Not here: owners that only other objects know, such as the custom resource that a Deployment was made for.

use palisade_events::fields::FieldRef;

use crate::json::Value;

/// The owner that controls an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner<'i> {
    pub(super) kind: &'i str,
    pub(super) name: &'i str,
    pub(super) uid: Option<&'i str>,
}

impl<'i> Owner<'i> {
    /// Reads an owner reference, if it is that of the controller.
    pub(super) fn controller(reference: Value<'_, 'i>) -> Option<Self> {
        let text = |key: &str| reference.get(key).and_then(Value::text);
        if !matches!(reference.get("controller")?.scalar(), FieldRef::Bool(true)) {
            return None;
        }
        Some(Self { kind: text("kind")?, name: text("name")?, uid: text("uid") })
    }
}

/// Kind and name of the workload that an object is or belongs to; `None` if it is about no workload. `label` looks up
/// the object's labels.
///
/// A pod that nothing controls is its own workload, and so is one that a node runs from a file: its owner is the node,
/// which is none.
pub(super) fn of<'i>(
    kind: &'i str,
    name: &'i str,
    owner: Option<&Owner<'i>>,
    label: impl Fn(&str) -> Option<&'i str>,
) -> Option<(&'i str, &'i str)> {
    match (kind, owner) {
        ("Pod", None) => Some((kind, name)),
        ("Pod", Some(owner)) => Some(match owner.kind {
            "Node" => (kind, name),
            "ReplicaSet" => of_replicas(owner, label),
            "Job" => of_job(owner),
            _ => (owner.kind, owner.name),
        }),
        ("ReplicaSet" | "ReplicationController", Some(owner)) => Some((owner.kind, owner.name)),
        ("Job", Some(owner)) if owner.kind == "CronJob" => Some((owner.kind, owner.name)),
        (
            "Deployment"
            | "StatefulSet"
            | "DaemonSet"
            | "ReplicaSet"
            | "ReplicationController"
            | "Job"
            | "CronJob"
            | "Rollout",
            _,
        ) => Some((kind, name)),
        _ => None,
    }
}

/// A ReplicaSet of a Deployment has its name and the hash that labels its pods; so have Argo's rollouts.
fn of_replicas<'i>(owner: &Owner<'i>, label: impl Fn(&str) -> Option<&'i str>) -> (&'i str, &'i str) {
    let makers = [("pod-template-hash", "Deployment"), ("rollouts-pod-template-hash", "Rollout")];
    let made = makers.into_iter().find_map(|(key, kind)| {
        let name = owner.name.strip_suffix(label(key)?)?.strip_suffix('-')?;
        (!name.is_empty()).then_some((kind, name))
    });
    made.unwrap_or((owner.kind, owner.name))
}

/// A CronJob's Job has its name and the minutes since 1970 at which it was due. Only the Job knows its owner, but nobody
/// else names Jobs so.
fn of_job<'i>(owner: &Owner<'i>) -> (&'i str, &'i str) {
    match owner.name.rsplit_once('-') {
        Some((name, minutes))
            if !name.is_empty() && (8..=10).contains(&minutes.len()) && minutes.bytes().all(|b| b.is_ascii_digit()) =>
        {
            ("CronJob", name)
        }
        _ => (owner.kind, owner.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workload_is_the_topmost_owner_that_the_object_shows() {
        let owner = |kind, name| Some(Owner { kind, name, uid: None });
        let hash = ("pod-template-hash", "7d4b9c6d5f");
        for (kind, name, owner, label, workload) in [
            (
                "Pod",
                "cart-7d4b9c6d5f-x2v9k",
                owner("ReplicaSet", "cart-7d4b9c6d5f"),
                hash,
                Some(("Deployment", "cart")),
            ),
            (
                "Pod",
                "p",
                owner("ReplicaSet", "cart-7d4b9c6d5f"),
                ("app", "cart"),
                Some(("ReplicaSet", "cart-7d4b9c6d5f")),
            ),
            ("Pod", "p", owner("ReplicaSet", "7d4b9c6d5f"), hash, Some(("ReplicaSet", "7d4b9c6d5f"))),
            ("Pod", "p", owner("ReplicaSet", "web-6f"), ("rollouts-pod-template-hash", "6f"), Some(("Rollout", "web"))),
            ("Pod", "p", owner("Job", "backup-28571040"), hash, Some(("CronJob", "backup"))),
            ("Pod", "p", owner("Job", "migrate-2"), hash, Some(("Job", "migrate-2"))),
            ("Pod", "db-0", owner("StatefulSet", "db"), hash, Some(("StatefulSet", "db"))),
            ("Pod", "etcd-node-1", owner("Node", "node-1"), hash, Some(("Pod", "etcd-node-1"))),
            ("Pod", "debug", None, hash, Some(("Pod", "debug"))),
            ("ReplicaSet", "cart-7d4b9c6d5f", owner("Deployment", "cart"), hash, Some(("Deployment", "cart"))),
            ("ReplicaSet", "alone", None, hash, Some(("ReplicaSet", "alone"))),
            ("Job", "backup-28571040", owner("CronJob", "backup"), hash, Some(("CronJob", "backup"))),
            ("Job", "step", owner("Workflow", "w"), hash, Some(("Job", "step"))),
            ("Deployment", "cart", owner("Shop", "s"), hash, Some(("Deployment", "cart"))),
            ("Service", "cart", None, hash, None),
        ] {
            let found = of(kind, name, owner.as_ref(), |key| (key == label.0).then_some(label.1));
            assert_eq!(found, workload, "{kind} {name} of {owner:?}");
        }
    }
}
