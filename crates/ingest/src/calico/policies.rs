//! Policies that a flow met, in the order in which they were met: sources list them in none.
//!
//! Not here: policies that are only staged, which decided nothing.

use std::borrow::Cow;

use super::end::present;
use crate::json::Value;

/// Policies with their place in the order.
#[derive(Default)]
pub(super) struct Policies<'i> {
    enforced: Vec<(i64, Cow<'i, str>)>,
    /// Of versions that did not tell the enforced ones from others.
    all: Vec<(i64, Cow<'i, str>)>,
}

impl<'i> Policies<'i> {
    /// Takes one of the lists. Tells whether some were cut off.
    pub(super) fn take(&mut self, key: &str, value: Value<'_, 'i>, list_items_max: usize) -> bool {
        let list = match key {
            "enforced_policies" | "enforcedPolicies" | "enforced" | "transit_policies" => &mut self.enforced,
            "all_policies" => &mut self.all,
            _ => return false,
        };
        let room = list_items_max.saturating_sub(list.len());
        list.extend(value.items().take(room).filter_map(hit));
        value.items().nth(room).is_some()
    }

    /// The names, each once; `None` if there are none.
    pub(super) fn names(&self) -> Option<Vec<&str>> {
        let listed = if self.enforced.is_empty() { &self.all } else { &self.enforced };
        let mut sorted: Vec<(i64, &str)> = listed.iter().map(|(place, name)| (*place, name.as_ref())).collect();
        // Those of one place differ in name only, so that the order of the input never shows.
        sorted.sort_unstable();
        let mut names: Vec<&str> = Vec::with_capacity(sorted.len());
        for (_, name) in sorted {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        (!names.is_empty()).then_some(names)
    }
}

/// One policy: `place|tier|name|action|rule`, where the name holds its namespace; or an object.
fn hit<'i>(value: Value<'_, 'i>) -> Option<(i64, Cow<'i, str>)> {
    if let Some(text) = value.text() {
        let mut parts = text.split('|');
        let place = parts.next().and_then(|place| place.parse().ok()).unwrap_or(i64::MAX);
        let name = parts.nth(1).filter(|name| !name.is_empty()).unwrap_or(text);
        return Some((place, name.into()));
    }
    let number = |key: &str| value.get(key).and_then(Value::int);
    // What is zero may be left out.
    let place = number("policy_index").or_else(|| number("policyIndex")).unwrap_or(0);
    // The end of a tier has no name: the policy that brought the flow there does.
    let is_named = |value: &Value<'_, 'i>| value.get("name").and_then(present).is_some();
    let named = Some(value).filter(is_named).or_else(|| value.get("trigger").filter(is_named))?;
    let name = named.get("name").and_then(present)?;
    let name = match named.get("namespace").and_then(present) {
        Some(namespace) => format!("{namespace}/{name}").into(),
        None => name.into(),
    };
    Some((place, name))
}
