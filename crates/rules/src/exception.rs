//! Exceptions: Sigma's `filter` documents, which say of which matches nobody needs to be told, with who answers for that,
//! why, and until when.
//!
//! As pySigma has it, a match stands if the filter's condition holds too. Here a match that does not stand is not taken
//! away but marked (see [`crate::suppress`]). The fields of a condition mean what they mean in the rule it is applied to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use palisade_events::id;
use palisade_events::time::{self, Micros};
use rsigma_parser::{ConditionExpr, Detections, FilterRule, FilterRuleTarget};
use serde::Deserialize;

use crate::expr::Expr;
use crate::load::{Context, Folder};
use crate::lower::lower;
use crate::pack::{Problem, Reading};
use crate::rule::{Logsource, Rule};
use crate::taxonomy::{Fields, Names};

/// An exception from rules.
#[derive(Clone, Debug)]
pub struct Exception {
    /// The filter's `id`; a hash of its title if it has none.
    pub uid: String,
    /// One line.
    pub title: String,
    /// Who answers for it; empty for a filter that does not say, which a pack's `exceptions` may not hold.
    pub owner: String,
    /// Why what it excepts is fine.
    pub reason: String,
    /// When it ends: events at that time or later are no longer excepted. `None` for a filter without an end.
    pub expires: Option<Micros>,
    /// Ids of the loaded rules that it applies to, in order.
    pub rules: Vec<String>,
    pub(crate) digest: String,
    path: PathBuf,
    logsource: Logsource,
    targets: FilterRuleTarget,
    detections: Detections,
    is_ours: bool,
    /// What is odd about it whatever rules are loaded.
    remarks: Vec<String>,
    /// What does not fit the rules that are loaded.
    misfits: Vec<String>,
    /// By meaning of the fields, when a match is suppressed.
    variants: Vec<(Fields, Expr)>,
    /// By id of a rule, which of the variants is its.
    applied: BTreeMap<String, usize>,
}

/// The custom key `palisade` of an exception.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Custom {
    owner: Option<String>,
    reason: Option<String>,
    expires: Option<String>,
}

impl Exception {
    /// Reads a parsed filter. `text` is its document, which its digest is made from.
    ///
    /// # Errors
    /// What is missing, or the construct that is not honoured.
    pub(crate) fn new(mut filter: FilterRule, text: &str, path: &Path, context: &Context) -> Result<Self, String> {
        if rsigma_parser::is_unsupported(filter.sigma_version) {
            return Err("`sigma-version` above what is known".into());
        }
        let logsource = Logsource::new(filter.logsource.ok_or("a filter without `logsource`")?)?;
        let custom = match filter.custom_attributes.get("palisade") {
            None => Custom::default(),
            Some(value) => Custom::deserialize(value).map_err(|e| format!("`palisade`: {e}"))?,
        };
        let required = [("owner", &custom.owner), ("reason", &custom.reason), ("expires", &custom.expires)];
        let is_missing = |part: &Option<String>| part.as_ref().is_none_or(|text| text.trim().is_empty());
        if context.folder == Folder::Exceptions
            && let Some((name, _)) = required.into_iter().find(|(_, part)| is_missing(part))
        {
            return Err(format!("an exception without `palisade.{name}`"));
        }
        let day = |text: &str| {
            let start = (text.len() == 10).then(|| time::parse_rfc3339(&format!("{text}T00:00:00Z"))).flatten();
            start.ok_or_else(|| format!("`palisade.expires` is `{text}`, which is no date as 2027-01-31"))
        };
        let expires = custom.expires.as_deref().map(day).transpose()?;
        context.placeholders.fill(&mut filter.detection)?;
        let is_ours = filter.taxonomy.as_deref() == Some("palisade");
        let names = match context.reading {
            Reading::AsWritten => Names::Written,
            Reading::Taxonomy => Names::Theirs,
        };
        // What is not honoured is refused now, whichever rules come later.
        let lowered = lower(&filter.detection, &context.taxonomy.meaning(&logsource, names)?.1)?;
        let mut remarks: Vec<String> = lowered.dangling.iter().map(|name| dangling(name)).collect();
        if !filter.detection.conditions.iter().any(has_not) {
            remarks.push("a filter whose condition has no `not` suppresses all that it does not select".into());
        }
        Ok(Self {
            uid: filter.id.unwrap_or_else(|| id::content_hash("palisade.exception.v1", filter.title.as_bytes())),
            title: filter.title,
            owner: custom.owner.unwrap_or_default(),
            reason: custom.reason.or(filter.description).unwrap_or_default(),
            expires,
            rules: Vec::new(),
            digest: context.digest_of(text),
            path: path.to_owned(),
            logsource,
            targets: filter.rules,
            detections: filter.detection,
            is_ours,
            remarks,
            misfits: Vec::new(),
            variants: Vec::new(),
            applied: BTreeMap::new(),
        })
    }

    /// Finds the rules that it applies to, and what its condition means for each.
    pub(crate) fn bind(&mut self, rules: &[Rule]) {
        (self.variants, self.applied, self.misfits) = Default::default();
        if let FilterRuleTarget::Specific(names) = &self.targets {
            for name in names {
                let mut named = rules.iter().filter(|rule| rule.is_named(name)).peekable();
                if named.peek().is_none() {
                    self.misfits.push(format!("it names `{name}`, which is no loaded rule"));
                } else if !named.any(|rule| self.logsource.holds_for(&rule.logsource)) {
                    self.misfits.push(format!("it names `{name}`, a rule for another logsource"));
                }
            }
        }
        for rule in rules {
            if !self.is_for(rule) {
                continue;
            }
            let mut fields = rule.fields.clone();
            if self.is_ours && fields.names == Names::Theirs {
                fields.names = Names::Ours;
            }
            let known = self.variants.iter().position(|(own, _)| own.is_same(&fields));
            let variant = match known {
                Some(variant) => variant,
                None => match lower(&self.detections, &fields) {
                    Ok(lowered) => {
                        self.variants.push((fields, negated(lowered.expr)));
                        self.variants.len() - 1
                    }
                    Err(why) => {
                        self.misfits.push(format!("it cannot be applied to `{}`: {why}", rule.title));
                        continue;
                    }
                },
            };
            self.applied.insert(rule.uid.clone(), variant);
        }
        self.rules = self.applied.keys().cloned().collect();
        if self.rules.is_empty() && self.misfits.is_empty() {
            self.misfits.push("it applies to no loaded rule".into());
        }
    }

    /// Whether it is meant for a rule.
    pub(crate) fn is_for(&self, rule: &Rule) -> bool {
        let is_meant = match &self.targets {
            FilterRuleTarget::Any => true,
            FilterRuleTarget::Specific(names) => names.iter().any(|name| rule.is_named(name)),
        };
        is_meant && self.logsource.holds_for(&rule.logsource)
    }

    /// The conditions under which a match is suppressed, one for each meaning of the fields.
    pub(crate) fn conditions(&self) -> impl Iterator<Item = Rule> {
        self.variants.iter().map(|(fields, expr)| Rule::of_expr(&self.title, fields.clone(), expr.clone()))
    }

    /// The place among the [conditions](Self::conditions) of the one for a rule, if the exception applies to it.
    pub(crate) fn condition_for(&self, rule: &str) -> Option<usize> {
        self.applied.get(rule).copied()
    }

    /// Whether it still applies to an event of this time.
    pub(crate) fn covers(&self, time: Micros) -> bool {
        self.expires.is_none_or(|end| time < end)
    }

    /// What is odd about it, and what does not fit the rules that are loaded.
    pub(crate) fn problems(&self) -> impl Iterator<Item = Problem> {
        self.remarks.iter().chain(&self.misfits).map(|why| Problem {
            path: self.path.clone(),
            rule: Some(self.title.clone()),
            why: why.clone(),
            fatal: false,
        })
    }

    /// Who suppressed a match, until when and why, as a sentence.
    pub(crate) fn told(&self) -> String {
        let until = self.expires.map(|end| format!("until {}", time::date_of(end)));
        let by: Vec<String> =
            [Some(self.owner.clone()).filter(|o| !o.is_empty()), until].into_iter().flatten().collect();
        let mut told = format!("suppressed by `{}`", self.title);
        if !by.is_empty() {
            told.push_str(&format!(" ({})", by.join(", ")));
        }
        if !self.reason.is_empty() {
            told.push_str(&format!(": {}", self.reason.trim_end_matches('.')));
        }
        told
    }
}

/// How what is said of a selection that no condition uses ends.
const UNUSED: &str = "is not used by the condition";

/// What to say of a selection that no condition uses.
pub(crate) fn dangling(name: &str) -> String {
    format!("the selection `{name}` {UNUSED}")
}

/// Whether that was said.
pub(crate) fn is_dangling(why: &str) -> bool {
    why.ends_with(UNUSED)
}

fn has_not(condition: &ConditionExpr) -> bool {
    match condition {
        ConditionExpr::Not(_) => true,
        ConditionExpr::And(all) | ConditionExpr::Or(all) => all.iter().any(has_not),
        ConditionExpr::Identifier(_) | ConditionExpr::Selector { .. } => false,
    }
}

fn negated(expr: Expr) -> Expr {
    match expr {
        Expr::Not(inner) => *inner,
        other => Expr::Not(Box::new(other)),
    }
}

#[cfg(test)]
mod tests;
