//! What a finding is about: an entity has a kind, a cluster, a namespace where it lives in one, and a name.
//!
//! Not here: who owns an entity; that needs Kubernetes objects or configuration.

use std::fmt;

use ahash::HashMap;
use serde::{Deserialize, Serialize};

use crate::batch::{EventBatch, WordColumn};
use crate::schema::{Word, col};

/// The kinds of things that findings are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum EntityKind {
    Workload,
    Container,
    Image,
    ServiceAccount,
    User,
    Address,
    Node,
    Namespace,
    Cluster,
}

impl EntityKind {
    /// How many kinds there are.
    pub const COUNT: usize = 9;

    /// All kinds, in the order in which a finding looks for its primary entity when its rule declares none.
    pub const FALLBACK: [Self; Self::COUNT] = [
        Self::Workload,
        Self::Container,
        Self::Image,
        Self::ServiceAccount,
        Self::User,
        Self::Address,
        Self::Node,
        Self::Namespace,
        Self::Cluster,
    ];

    /// The kind's name, as in configuration and output.
    pub fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Container => "container",
            Self::Image => "image",
            Self::ServiceAccount => "service_account",
            Self::User => "user",
            Self::Address => "address",
            Self::Node => "node",
            Self::Namespace => "namespace",
            Self::Cluster => "cluster",
        }
    }

    /// Finds a kind by name.
    pub fn named(name: &str) -> Option<Self> {
        Self::FALLBACK.into_iter().find(|kind| kind.name() == name)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// The columns that make up the name (all must be there), and whether a namespace belongs to it.
    fn columns(self) -> (Word, bool) {
        match self {
            Self::Workload => (col::WORKLOAD_NAME, true),
            Self::Container => (col::CONTAINER_UID_SHORT, false),
            Self::Image => (col::CONTAINER_IMAGE_NAME, false),
            Self::ServiceAccount => (col::ACTOR_SERVICE_ACCOUNT, false),
            Self::User => (col::ACTOR_USER_NAME, false),
            Self::Address => (col::SRC_ENDPOINT_IP, false),
            Self::Node => (col::DEVICE_HOSTNAME, false),
            Self::Namespace => (col::NAMESPACE_NAME, false),
            Self::Cluster => (col::CLUSTER_NAME, false),
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing in one cluster. Its text form is `kind:cluster/namespace/name`, or `kind:cluster/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entity {
    /// What kind of thing.
    pub kind: EntityKind,
    /// Cluster that it belongs to; empty if the source states none.
    pub cluster: String,
    /// Namespace that it lives in, for workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/", self.kind, self.cluster)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// The entities of one kind in a batch: a code for each row, and the distinct entities.
#[derive(Clone, Debug)]
pub struct EntityColumn {
    codes: Vec<u32>,
    distinct: Vec<Entity>,
}

/// Marks a row without an entity of the kind.
const NONE: u32 = u32::MAX;

impl EntityColumn {
    pub(crate) fn of(batch: &EventBatch, kind: EntityKind) -> Self {
        let (name, in_namespace) = kind.columns();
        let names = batch.word(name);
        let clusters = batch.word(col::CLUSTER_NAME);
        let namespaces = batch.word(col::NAMESPACE_NAME);
        let mut known: HashMap<(u32, u32, u32), u32> = HashMap::default();
        let mut distinct = Vec::new();
        let codes = (0..batch.rows())
            .map(|row| {
                let Some(name) = names.code(row) else { return NONE };
                let cluster = code(&clusters, row);
                let namespace = if in_namespace { code(&namespaces, row) } else { NONE };
                *known.entry((cluster, namespace, name as u32)).or_insert_with(|| {
                    distinct.push(Entity {
                        kind,
                        cluster: clusters.get(row).unwrap_or_default().into(),
                        namespace: if in_namespace { namespaces.get(row).map(Into::into) } else { None },
                        name: names.get(row).unwrap_or_default().into(),
                    });
                    (distinct.len() - 1) as u32
                })
            })
            .collect();
        Self { codes, distinct }
    }

    /// The entity of a row.
    pub fn get(&self, row: usize) -> Option<&Entity> {
        self.distinct.get(*self.codes.get(row)? as usize)
    }

    /// The code of a row's entity.
    pub fn code(&self, row: usize) -> Option<usize> {
        self.codes.get(row).filter(|&&code| code != NONE).map(|&code| code as usize)
    }

    /// The distinct entities, by code.
    pub fn distinct(&self) -> &[Entity] {
        &self.distinct
    }
}

fn code(column: &WordColumn<'_>, row: usize) -> u32 {
    column.code(row).map_or(NONE, |code| code as u32)
}

/// The workload that a pod's name suggests: `web-7d4b9c6d5f-x2v9k` is of `web`, `db-0` of `db`.
///
/// Deployments name pods `<name>-<pod template hash>-<5 characters>`, daemon sets and jobs `<name>-<5 characters>`,
/// stateful sets `<name>-<ordinal>`. The random parts use Kubernetes' safe alphabet `bcdfghjklmnpqrstvwxz2456789`
/// (apimachinery `util/rand`), which keeps ordinary words from being cut off. Cron jobs' runs
/// (`<name>-<minutes since the epoch>-<5 characters>`) lose their number too.
pub fn workload_of_pod(pod: &str) -> &str {
    let Some((rest, last)) = pod.rsplit_once('-') else { return pod };
    if !last.is_empty() && last.len() <= 4 && last.bytes().all(|b| b.is_ascii_digit()) {
        return rest;
    }
    if last.len() != 5 || !is_random(last) {
        return pod;
    }
    match rest.rsplit_once('-') {
        Some((name, hash)) if (8..=10).contains(&hash.len()) && is_random_or_digits(hash) => name,
        _ => rest,
    }
}

fn is_random(text: &str) -> bool {
    text.bytes().all(|b| b"bcdfghjklmnpqrstvwxz2456789".contains(&b))
}

fn is_random_or_digits(text: &str) -> bool {
    is_random(text) || text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_name_their_workload() {
        for (pod, workload) in [
            ("web-7d4b9c6d5f-x2v9k", "web"),
            ("node-agent-x2v9k", "node-agent"),
            ("db-0", "db"),
            ("backup-28461234-zx6kd", "backup"),
            ("toolbox", "toolbox"),
            ("my-tools", "my-tools"),
            ("payments-api-admin", "payments-api-admin"),
        ] {
            assert_eq!(workload_of_pod(pod), workload, "{pod}");
        }
    }

    #[test]
    fn every_kind_is_found_by_name_and_has_its_own_place() {
        for (place, kind) in EntityKind::FALLBACK.into_iter().enumerate() {
            assert_eq!(EntityKind::named(kind.name()), Some(kind));
            assert_eq!(kind.index(), place);
        }
    }
}
