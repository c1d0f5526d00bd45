//! One rule: what a finding says about it, and what it tests.

use palisade_events::{Attack, Confidence, EntityKind, Severity, id};
use rsigma_parser::{LogSource, SigmaRule, Status};
use serde::Deserialize;

use crate::expr::Expr;
use crate::load::Context;
use crate::lower::{Lowered, lower};
use crate::pack::Reading;
use crate::taxonomy::{Fields, Names, RowFilter};

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
    /// The ids of the exceptions that apply to it, in their order.
    pub excepted_by: Vec<String>,
    pub(crate) rows: RowFilter,
    pub(crate) fields: Fields,
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
    pub(crate) fn new(mut sigma: SigmaRule, text: &str, context: &Context) -> Result<Self, String> {
        if rsigma_parser::is_unsupported(sigma.sigma_version) {
            return Err("`sigma-version` above what is known".into());
        }
        let logsource = Logsource::new(sigma.logsource)?;
        let custom = match sigma.custom_attributes.get("palisade") {
            None => None,
            Some(value) => Some(Custom::deserialize(value).map_err(|e| format!("`palisade`: {e}"))?),
        };
        let is_ours = custom.is_some() || sigma.taxonomy.as_deref() == Some("palisade");
        let names = match context.reading {
            Reading::AsWritten => Names::Written,
            Reading::Taxonomy if is_ours => Names::Ours,
            Reading::Taxonomy => Names::Theirs,
        };
        let (rows, fields) = context.taxonomy.meaning(&logsource, names)?;
        context.placeholders.fill(&mut sigma.detection)?;
        let lowered = lower(&sigma.detection, &fields)?;
        let Custom { entity, triage } = custom.unwrap_or_default();
        Ok(Self {
            uid: sigma.id.unwrap_or_else(|| Self::uid_of_title(&sigma.title)),
            name: sigma.name,
            title: sigma.title,
            description: sigma.description.unwrap_or_default(),
            level: sigma.level.and_then(|l| Severity::named(l.as_str())).unwrap_or(Severity::Medium),
            confidence: confidence(sigma.status),
            version: sigma.modified.or(sigma.date).unwrap_or_else(|| context.info.version.clone()),
            author: sigma.author.unwrap_or_default(),
            references: sigma.references,
            false_positives: sigma.falsepositives,
            triage,
            attack: attack(&sigma.tags, &context.info.attack_version),
            entity,
            logsource,
            condition: sigma.detection.condition_strings.join(" or "),
            excepted_by: Vec::new(),
            rows,
            fields,
            lowered,
            digest: context.digest_of(text),
        })
    }

    /// Whether a name means the rule: its id, its name, or its title.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        self.uid == name || self.title == name || self.name.as_deref() == Some(name)
    }

    /// The id of a rule that has none of its own.
    pub(crate) fn uid_of_title(title: &str) -> String {
        id::content_hash("palisade.rule.v1", title.as_bytes())
    }

    /// An expression that sees every row and makes no findings.
    pub(crate) fn of_expr(title: &str, fields: Fields, expr: Expr) -> Self {
        Self {
            uid: String::new(),
            name: None,
            title: title.into(),
            description: String::new(),
            level: Severity::Medium,
            confidence: confidence(None),
            version: String::new(),
            author: String::new(),
            references: Vec::new(),
            false_positives: Vec::new(),
            triage: Vec::new(),
            attack: Attack::default(),
            entity: None,
            logsource: Logsource::default(),
            condition: String::new(),
            excepted_by: Vec::new(),
            rows: RowFilter::default(),
            fields,
            lowered: Lowered { expr, shown: Vec::new(), dangling: Vec::new() },
            digest: String::new(),
        }
    }
}

impl Logsource {
    /// # Errors
    /// When it has keys that are not Sigma's.
    pub(crate) fn new(parsed: LogSource) -> Result<Self, String> {
        if !parsed.custom.is_empty() {
            let mut keys: Vec<&str> = parsed.custom.keys().map(String::as_str).collect();
            keys.sort_unstable();
            return Err(format!("logsource with `{}`", keys.join("`, `")));
        }
        Ok(Self { category: parsed.category, product: parsed.product, service: parsed.service })
    }

    /// Whether everything that this one names is the same in `other`.
    pub(crate) fn holds_for(&self, other: &Self) -> bool {
        let fits = |own: &Option<String>, theirs: &Option<String>| {
            own.as_ref().is_none_or(|own| theirs.as_ref().is_some_and(|theirs| own.eq_ignore_ascii_case(theirs)))
        };
        fits(&self.category, &other.category)
            && fits(&self.product, &other.product)
            && fits(&self.service, &other.service)
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
