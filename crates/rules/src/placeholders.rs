//! Placeholders: what fills the `%name%` of values with `expand`. A pack says it in its `placeholders.toml`.

use std::collections::BTreeMap;

use rsigma_parser::{Detection, DetectionItem, Detections, Modifier, SigmaString, SigmaValue, SpecialChar, StringPart};
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
        let is_regex = modifiers.contains(&Modifier::Re);
        let mut all = Vec::new();
        for value in &item.values {
            match value {
                SigmaValue::String(s) => {
                    all.extend(self.filled(&s.original, is_regex)?.into_iter().map(SigmaValue::String));
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

    /// The values that a value with placeholders stands for. A backslash before a percent sign makes it one of the text.
    fn filled(&self, value: &str, is_regex: bool) -> Result<Vec<SigmaString>, String> {
        let mut all = vec![SigmaString::from_raw("")];
        let mut has_escaped = false;
        let mut rest = value.chars();
        while let Some(c) = rest.next() {
            let (written, meant) = match c {
                '%' => match rest.as_str().split_once('%').filter(|(name, _)| !name.is_empty()) {
                    Some((name, after)) => {
                        all = self.with_placeholder(&all, name, is_regex)?;
                        rest = after.chars();
                        continue;
                    }
                    // It is as good as escaped where another is: the end of `\%name%`.
                    None if has_escaped => (c, StringPart::Plain(c.into())),
                    None => {
                        let why = "has a `%` that begins no placeholder; as text it is written `\\%`";
                        return Err(format!("`expand`: `{value}` {why}"));
                    }
                },
                '*' => (c, StringPart::Special(SpecialChar::WildcardMulti)),
                '?' => (c, StringPart::Special(SpecialChar::WildcardSingle)),
                '\\' => {
                    let next = rest.clone().next();
                    if let Some('*' | '?' | '\\' | '%') = next {
                        rest.next();
                    }
                    match next {
                        Some('%') => {
                            has_escaped = true;
                            ('%', StringPart::Plain('%'.into()))
                        }
                        Some(escaped @ ('*' | '?' | '\\')) => {
                            all.iter_mut().for_each(|own| own.original.push(c));
                            (escaped, StringPart::Plain(escaped.into()))
                        }
                        _ => (c, StringPart::Plain(c.into())),
                    }
                }
                c => (c, StringPart::Plain(c.into())),
            };
            for own in &mut all {
                own.original.push(written);
                push(own, &meant);
            }
        }
        Ok(all)
    }

    /// Each of `all` with each value of a placeholder behind it.
    ///
    /// A value is read by itself, as pySigma's `ValueListPlaceholderTransformation` makes each a string of Sigma before it
    /// joins them: its wildcards are wildcards, and its backslashes escape nothing of what follows it. In a regular
    /// expression, of which a value is a piece, one that would is refused.
    fn with_placeholder(&self, all: &[SigmaString], name: &str, is_regex: bool) -> Result<Vec<SigmaString>, String> {
        let values = self.0.get(name).ok_or_else(|| format!("`expand`: nothing fills the placeholder `%{name}%`"))?;
        let is_open = |value: &&String| value.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1;
        if let Some(value) = values.iter().find(is_open).filter(|_| is_regex) {
            return Err(format!("`expand`: the value `{value}` of `%{name}%` escapes what follows it in the `re`"));
        }
        let values: Vec<SigmaString> = values.iter().map(|value| SigmaString::new(value)).collect();
        let joined = |own: &SigmaString, value: &SigmaString| {
            let mut own = own.clone();
            own.original.push_str(&value.original);
            value.parts.iter().for_each(|part| push(&mut own, part));
            own
        };
        Ok(all.iter().flat_map(|own| values.iter().map(move |value| joined(own, value))).collect())
    }
}

/// Adds a part behind the others; texts side by side are one part.
fn push(own: &mut SigmaString, part: &StringPart) {
    match (own.parts.last_mut(), part) {
        (Some(StringPart::Plain(last)), StringPart::Plain(text)) => last.push_str(text),
        _ => own.parts.push(part.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = r"
[placeholders]
admins = ['alice', 'b*']
ports = [22, 2222]
folder = ['C:\tmp\']
star = ['\*']
half = ['a\']
";

    /// The values as they are meant: wildcards as they are, those of the text escaped.
    fn filled(value: &str, is_regex: bool) -> Result<Vec<String>, String> {
        let meant = |own: &SigmaString| -> String {
            let of = |part: &StringPart| match part {
                StringPart::Plain(text) => text.replace('*', "<star>").replace('?', "<mark>"),
                StringPart::Special(SpecialChar::WildcardMulti) => "*".into(),
                StringPart::Special(SpecialChar::WildcardSingle) => "?".into(),
            };
            own.parts.iter().map(of).collect()
        };
        let all = Placeholders::parse(OWN).unwrap().filled(value, is_regex)?;
        Ok(all.iter().map(|own| if is_regex { own.original.clone() } else { meant(own) }).collect())
    }

    #[test]
    fn placeholders_become_their_values() {
        for (value, expected) in [
            ("%admins%", Ok(vec!["alice", "b*"])),
            ("x-%admins%@y", Ok(vec!["x-alice@y", "x-b*@y"])),
            ("%admins%:%ports%", Ok(vec!["alice:22", "alice:2222", "b*:22", "b*:2222"])),
            (r"100\%", Ok(vec!["100%"])),
            (r"\%plain%ports%", Ok(vec!["%plain22", "%plain2222"])),
            (r"\%ports%", Ok(vec!["%ports%"])),
            (r"C:\Users\%ports%", Ok(vec![r"C:\Users%ports%"])),
            (r"C:\Users\\%ports%", Ok(vec![r"C:\Users\22", r"C:\Users\2222"])),
            ("plain", Ok(vec!["plain"])),
            (r"\*a\?\\*?\b\", Ok(vec![r"<star>a<mark>\*?\b\"])),
            ("%folder%*", Ok(vec![r"C:\tmp\*"])),
            ("%folder%?x", Ok(vec![r"C:\tmp\?x"])),
            (r"%folder%\*", Ok(vec![r"C:\tmp\<star>"])),
            ("%folder%%half%%admins%", Ok(vec![r"C:\tmp\a\alice", r"C:\tmp\a\b*"])),
            (r"%half%\\%star%*", Ok(vec![r"a\\<star>*"])),
            (r"x\%star%", Ok(vec!["x%star%"])),
            ("%nobody%", Err("`%nobody%`")),
            ("50% of", Err("begins no placeholder")),
        ] {
            match (filled(value, false), expected) {
                (Ok(filled), Ok(expected)) => assert_eq!(filled, expected, "{value}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
                (outcome, _) => panic!("{value}: {outcome:?}"),
            }
        }
        assert!(Placeholders::parse("[placeholders]\nnone = []").unwrap_err().contains("`none`"));
        assert!(Placeholders::parse("[placeholder]\na = [\"b\"]").is_err());
    }

    #[test]
    fn values_are_pieces_of_regular_expressions() {
        assert_eq!(filled(r"^\w+\\%admins%\d\%$", true).unwrap(), [r"^\w+\\alice\d%$", r"^\w+\\b*\d%$"]);
        assert!(filled("%half%d", true).unwrap_err().contains("escapes what follows"));
    }

    #[test]
    fn filled_values_match_what_they_mean() {
        use crate::modifiers::{Demand, Scope, Wanted, demand};
        use palisade_events::fields::FieldRef;
        let own = Placeholders::parse(OWN).unwrap();
        for (modifiers, value, text, holds) in [
            (&[][..], "%folder%*", r"c:\tmp\x", true),
            (&[], "%folder%*", r"c:\tmp*", false),
            (&[Modifier::EndsWith], "%folder%", r"at c:\tmp\", true),
            (&[Modifier::Contains], r"\\%ports%", r"x\22y", true),
            (&[], "%star%", "anything", false),
            (&[], "%star%", "*", true),
        ] {
            let values: Vec<_> = own.filled(value, false).unwrap().into_iter().map(SigmaValue::String).collect();
            let Demand::Values { each, .. } = demand(modifiers, &values, Scope::Field).unwrap() else {
                panic!("{value}")
            };
            let of = |wanted: &Wanted| match wanted {
                Wanted::Tests(tests) => tests.iter().any(|test| test.holds(FieldRef::Str(text))),
                Wanted::Nothing => false,
            };
            assert_eq!(each.iter().any(of), holds, "{value} on {text}");
        }
    }
}
