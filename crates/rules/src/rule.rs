//! One rule: what a finding says about it, and what it tests.

use palisade_events::{Attack, Confidence, EntityKind, Severity, id};
use rsigma_parser::{SigmaRule, Status};
use serde::Deserialize;

use crate::lower::{Lowered, lower};
use crate::pack::{PackInfo, Reading};
use crate::taxonomy::{self, Names, RowFilter};

/// A Sigma rule, ready to compile.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The rule's `id`; a hash of its title if it has none.
    pub uid: String,
    /// Short name by which correlations may refer to it.
    pub name: Option<String>,
    /// One line.
    pub title: String,
    /// What it detects, and why that matters.
    pub description: String,
    /// How bad a match is; medium if the rule does not say.
    pub level: Severity,
    /// How mature the rule is, as a confidence: stable 0.9, test 0.7, experimental 0.5, else 0.4.
    pub confidence: Confidence,
    /// Date of the last change, else of the rule, else the version of its pack.
    pub version: String,
    /// Who wrote it.
    pub author: String,
    /// Where to read more.
    pub references: Vec<String>,
    /// What else looks like this.
    pub false_positives: Vec<String>,
    /// What to do first: the custom key `palisade.triage`.
    pub triage: Vec<String>,
    /// ATT&CK techniques and tactics of the tags, in the version that the pack states.
    pub attack: Attack,
    /// What a match is about: the custom key `palisade.entity`.
    pub entity: Option<EntityKind>,
    /// Which events it is for.
    pub logsource: Logsource,
    /// The condition as written.
    pub condition: String,
    pub(crate) rows: RowFilter,
    pub(crate) lowered: Lowered,
    pub(crate) digest: String,
}

/// Which events a rule is for, in Sigma's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logsource {
    /// Kind of event, as `process_creation`.
    pub category: Option<String>,
    /// Product, as `kubernetes`.
    pub product: Option<String>,
    /// Service of the product, as `audit`.
    pub service: Option<String>,
}

/// The custom key `palisade` of a rule.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Custom {
    entity: Option<EntityKind>,
    #[serde(default)]
    triage: Vec<String>,
}

impl Rule {
    /// Lowers a parsed rule. `text` is its document, which its digest is made from.
    ///
    /// # Errors
    /// The construct that is not honoured.
    pub(crate) fn new(sigma: SigmaRule, text: &str, pack: &PackInfo, reading: Reading) -> Result<Self, String> {
        if rsigma_parser::is_unsupported(sigma.sigma_version) {
            return Err("`sigma-version` above what is known".into());
        }
        if !sigma.logsource.custom.is_empty() {
            let mut keys: Vec<&str> = sigma.logsource.custom.keys().map(String::as_str).collect();
            keys.sort_unstable();
            return Err(format!("logsource with `{}`", keys.join("`, `")));
        }
        let custom = match sigma.custom_attributes.get("palisade") {
            None => None,
            Some(value) => Some(Custom::deserialize(value).map_err(|e| format!("`palisade`: {e}"))?),
        };
        let is_ours = custom.is_some() || sigma.taxonomy.as_deref() == Some("palisade");
        let names = match reading {
            Reading::AsWritten => Names::Written,
            Reading::Taxonomy if is_ours => Names::Ours,
            Reading::Taxonomy => Names::Theirs,
        };
        let logsource = Logsource {
            category: sigma.logsource.category,
            product: sigma.logsource.product,
            service: sigma.logsource.service,
        };
        let (rows, fields) = taxonomy::meaning(&logsource, names)?;
        let lowered = lower(&sigma.detection, &fields)?;
        let Custom { entity, triage } = custom.unwrap_or_default();
        Ok(Self {
            uid: sigma.id.unwrap_or_else(|| id::content_hash("palisade.rule.v1", sigma.title.as_bytes())),
            name: sigma.name,
            title: sigma.title,
            description: sigma.description.unwrap_or_default(),
            level: sigma.level.and_then(|l| Severity::named(l.as_str())).unwrap_or(Severity::Medium),
            confidence: confidence(sigma.status),
            version: sigma.modified.or(sigma.date).unwrap_or_else(|| pack.version.clone()),
            author: sigma.author.unwrap_or_default(),
            references: sigma.references,
            false_positives: sigma.falsepositives,
            triage,
            attack: attack(&sigma.tags, &pack.attack_version),
            entity,
            logsource,
            condition: sigma.detection.condition_strings.join(" or "),
            rows,
            lowered,
            digest: id::content_hash("palisade.rule_text.v1", text.as_bytes()),
        })
    }
}

fn confidence(status: Option<Status>) -> Confidence {
    Confidence::new(match status {
        Some(Status::Stable) => 0.9,
        Some(Status::Test) => 0.7,
        Some(Status::Experimental) => 0.5,
        _ => 0.4,
    })
}

/// Reads `attack.t1611` and `attack.privilege-escalation`; groups, software and other name spaces are no part of it.
fn attack(tags: &[String], version: &str) -> Attack {
    let mut attack = Attack { version: version.into(), ..Attack::default() };
    for tag in tags {
        let Some(name) = tag.to_ascii_lowercase().strip_prefix("attack.").map(str::to_owned) else { continue };
        let is_numbered = |letters: &str| {
            name.strip_prefix(letters).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        if is_numbered("t") {
            attack.techniques.push(name.to_ascii_uppercase());
        } else if !is_numbered("g") && !is_numbered("s") && !is_numbered("ta") && !is_numbered("c") {
            attack.tactics.push(name.replace('_', "-"));
        }
    }
    attack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_become_techniques_and_tactics() {
        let tags =
            ["attack.t1552.007", "attack.privilege_escalation", "attack.g0139", "attack.s0001", "cve.2024-21626"];
        let attack = attack(&tags.map(str::to_owned), "18");
        assert_eq!(
            (attack.techniques, attack.tactics),
            (vec!["T1552.007".into()], vec!["privilege-escalation".into()])
        );
    }
}
