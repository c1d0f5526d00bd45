//! Placeholders: what fills the `%name%` of values with `expand`. A pack says it in its `placeholders.toml`.

use std::collections::BTreeMap;

use rsigma_parser::{Detection, DetectionItem, Detections, Modifier, SigmaString, SigmaValue};
use serde::Deserialize;

/// The values of each placeholder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placeholders(BTreeMap<String, Vec<String>>);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    placeholders: BTreeMap<String, Vec<Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Whole(i64),
}

impl Placeholders {
    /// Reads a `placeholders.toml`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
        if let Some((name, _)) = file.placeholders.iter().find(|(_, values)| values.is_empty()) {
            return Err(format!("the placeholder `{name}` without a value"));
        }
        let text = |value| match value {
            Value::Text(text) => text,
            Value::Whole(n) => n.to_string(),
        };
        let all = file.placeholders.into_iter().map(|(name, values)| (name, values.into_iter().map(text).collect()));
        Ok(Self(all.collect()))
    }

    /// Puts values into every item with `expand`, and takes that modifier away.
    ///
    /// # Errors
    /// A placeholder that nothing fills, or a place where the specification does not say what filling means.
    pub(crate) fn fill(&self, detections: &mut Detections) -> Result<(), String> {
        let named: BTreeMap<_, _> = detections.named.iter_mut().collect();
        for (name, detection) in named {
            self.fill_detection(detection).map_err(|why| format!("selection `{name}`: {why}"))?;
        }
        Ok(())
    }

    fn fill_detection(&self, detection: &mut Detection) -> Result<(), String> {
        match detection {
            Detection::AllOf(items) => items.iter_mut().try_for_each(|item| self.fill_item(item)),
            Detection::AnyOf(parts) | Detection::And(parts) => {
                parts.iter_mut().try_for_each(|part| self.fill_detection(part))
            }
            Detection::ArrayMatch { body, .. } => self.fill_detection(body),
            Detection::Keywords(_) | Detection::Conditional { .. } => Ok(()),
        }
    }

    fn fill_item(&self, item: &mut DetectionItem) -> Result<(), String> {
        let modifiers = &mut item.field.modifiers;
        let Some(place) = modifiers.iter().position(|m| *m == Modifier::Expand) else { return Ok(()) };
        // What only adds wildcards or says how values combine does the same to a filled value as to its placeholder.
        let is_neutral = |m: &Modifier| {
            use Modifier::*;
            matches!(m, Contains | StartsWith | EndsWith | All | Cased | Neq)
        };
        if modifiers.iter().take(place).any(|m| !is_neutral(m)) {
            return Err("`expand` after a modifier that changes the placeholder".into());
        }
        let mut all = Vec::new();
        for value in &item.values {
            match value {
                SigmaValue::String(s) => {
                    let filled = self.filled(&s.original)?;
                    all.extend(filled.iter().map(|text| SigmaValue::String(SigmaString::new(text))));
                }
                other => all.push(other.clone()),
            }
        }
        if modifiers.contains(&Modifier::All) && all.len() != item.values.len() {
            return Err("`expand` to several values together with `all`: whether all or any of them is not said".into());
        }
        modifiers.retain(|m| *m != Modifier::Expand);
        item.values = all;
        Ok(())
    }

    /// The texts that a value stands for; `\%` is a percent sign.
    fn filled(&self, value: &str) -> Result<Vec<String>, String> {
        let mut all = vec![String::new()];
        let mut rest = value;
        while let Some(at) = rest.find('%') {
            let (before, after) = (&rest[..at], &rest[at + 1..]);
            if let Some(before) = before.strip_suffix('\\') {
                all.iter_mut().for_each(|text| text.extend([before, "%"]));
                rest = after;
                continue;
            }
            all.iter_mut().for_each(|text| text.push_str(before));
            let Some((name, after)) = after.split_once('%').filter(|(name, _)| !name.is_empty()) else {
                return Err(format!("`expand`: `{value}` has a `%` that begins no placeholder"));
            };
            let own = self.0.get(name);
            let own = own.ok_or_else(|| format!("`expand`: nothing fills the placeholder `%{name}%`"))?;
            all = all.iter().flat_map(|text| own.iter().map(move |value| format!("{text}{value}"))).collect();
            rest = after;
        }
        all.iter_mut().for_each(|text| text.push_str(rest));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_become_their_values() {
        let own = Placeholders::parse("[placeholders]\nadmins = [\"alice\", \"b*\"]\nports = [22, 2222]").unwrap();
        for (value, expected) in [
            ("%admins%", Ok(vec!["alice", "b*"])),
            ("x-%admins%@y", Ok(vec!["x-alice@y", "x-b*@y"])),
            ("%admins%:%ports%", Ok(vec!["alice:22", "alice:2222", "b*:22", "b*:2222"])),
            (r"100\%", Ok(vec!["100%"])),
            ("plain", Ok(vec!["plain"])),
            ("%nobody%", Err("`%nobody%`")),
            ("50% of", Err("begins no placeholder")),
        ] {
            match (own.filled(value), expected) {
                (Ok(filled), Ok(expected)) => assert_eq!(filled, expected, "{value}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (outcome, _) => panic!("{value}: {outcome:?}"),
            }
        }
        assert!(Placeholders::parse("[placeholders]\nnone = []").unwrap_err().contains("`none`"));
        assert!(Placeholders::parse("[placeholder]\na = [\"b\"]").is_err());
    }
}
