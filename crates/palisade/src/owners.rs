//! Who owns an entity, as the configuration says: by cluster and namespace, or by name.

use palisade_events::Entity;
use serde::{Deserialize, Serialize};

/// One line of ownership. Patterns are whole values, or prefixes that end in `*`; an absent pattern fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ownership {
    /// Who owns it.
    pub owner: String,
    /// Cluster pattern.
    #[serde(default)]
    pub cluster: Option<String>,
    /// Namespace pattern; fits the name of a namespace entity too.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name pattern.
    #[serde(default)]
    pub name: Option<String>,
}

/// Ownership in the order of the configuration: the first line that fits wins.
#[derive(Clone, Debug, Default)]
pub struct Owners(Vec<Ownership>);

impl Owners {
    /// Ownership lines in order of precedence.
    pub fn new(lines: Vec<Ownership>) -> Self {
        Self(lines)
    }

    /// The owner of an entity, if any line fits.
    pub fn of(&self, entity: &Entity) -> Option<String> {
        let fits = |line: &&Ownership| {
            let namespace = match (&entity.namespace, entity.kind) {
                (Some(namespace), _) => Some(namespace.as_str()),
                (None, palisade_events::EntityKind::Namespace) => Some(entity.name.as_str()),
                (None, palisade_events::EntityKind::ServiceAccount) => entity.name.split('/').next(),
                _ => None,
            };
            fits(&line.cluster, Some(&entity.cluster))
                && fits(&line.namespace, namespace)
                && fits(&line.name, Some(&entity.name))
        };
        self.0.iter().find(fits).map(|line| line.owner.clone())
    }
}

fn fits(pattern: &Option<String>, value: Option<&str>) -> bool {
    match (pattern, value) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(pattern), Some(value)) => match pattern.strip_suffix('*') {
            Some(prefix) => value.starts_with(prefix),
            None => value == pattern,
        },
    }
}

#[cfg(test)]
mod tests {
    use palisade_events::EntityKind;

    use super::*;

    #[test]
    fn first_fitting_line_names_the_owner() {
        let line = |owner: &str, namespace: Option<&str>| Ownership {
            owner: owner.into(),
            namespace: namespace.map(Into::into),
            ..Ownership::default()
        };
        let owners = Owners::new(vec![line("payments", Some("pay*")), line("platform", None)]);
        let of = |kind, namespace: Option<&str>, name: &str| {
            owners.of(&Entity { kind, cluster: "c".into(), namespace: namespace.map(Into::into), name: name.into() })
        };
        assert_eq!(of(EntityKind::Workload, Some("payments"), "api").as_deref(), Some("payments"));
        assert_eq!(of(EntityKind::ServiceAccount, None, "pay/ci").as_deref(), Some("payments"));
        assert_eq!(of(EntityKind::Node, None, "node-1").as_deref(), Some("platform"));
        assert_eq!(
            Owners::default().of(&Entity {
                kind: EntityKind::Node,
                cluster: "c".into(),
                namespace: None,
                name: "n".into()
            }),
            None
        );
    }
}
