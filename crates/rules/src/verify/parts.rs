//! A rule taken apart: its condition as a tree, down to single fields, each of them a small rule that the engine can be
//! asked about.

use std::collections::BTreeMap;

use rsigma_parser::{ConditionExpr, Quantifier};
use serde_yaml_ng::{Mapping, Value};

use super::bundle::Document;
use super::lint::{chosen, conditions};

/// Values of one field that are shown, and characters of one value: the rule has the others.
const VALUES_MAX: usize = 8;
const VALUE_CHARS_MAX: usize = 120;

/// What a rule asks for, as its text reads.
#[derive(Debug)]
pub(super) enum Shape {
    /// A field and its values, or keywords if the field is empty: the part of that number.
    Leaf {
        part: usize,
        field: String,
        wanted: String,
    },
    /// A selection, or anything else that has a name.
    Named(String, Box<Shape>),
    All(String, Vec<Shape>),
    Any(String, Vec<Shape>),
    AtLeast(u64, String, Vec<Shape>),
    Not(Box<Shape>),
}

/// A rule in parts.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) shape: Shape,
    /// Documents of small rules, by number. The first says only which events the logsource means.
    pub(super) documents: Vec<String>,
}

/// Keys that say how `logsource` and `detection` are read.
pub(super) const KEPT: [&str; 5] = ["logsource", "taxonomy", "palisade", "sigma-version", "custom_attributes"];

struct Builder<'d> {
    head: Mapping,
    selections: BTreeMap<&'d str, &'d Value>,
    documents: Vec<String>,
}

/// Takes a rule apart; `None` if its detection cannot be read, which loading says why.
pub(super) fn parts(document: &Document<'_>) -> Option<Parts> {
    let detection = document.value.get("detection")?.as_mapping()?;
    let head = KEPT.into_iter().filter_map(|key| Some((Value::from(key), document.value.get(key)?.clone())));
    let selections = detection.iter().filter_map(|(name, selection)| Some((name.as_str()?, selection)));
    let selections = selections.filter(|(name, _)| !matches!(*name, "condition" | "timeframe"));
    let mut builder = Builder { head: head.collect(), selections: selections.collect(), documents: Vec::new() };
    builder.part(&mapping("palisade.nothing|exists", Value::from(false)))?;
    let mut shapes = Vec::new();
    for condition in conditions(document)? {
        shapes.push(builder.condition(&condition)?);
    }
    let shape = if shapes.len() == 1 { shapes.pop()? } else { Shape::Any("any of the conditions".into(), shapes) };
    Some(Parts { shape, documents: builder.documents })
}

impl Builder<'_> {
    /// Adds a small rule with this one selection, and returns its number.
    fn part(&mut self, selection: &Value) -> Option<usize> {
        let number = self.documents.len();
        let mut document = self.head.clone();
        document.insert("title".into(), format!("part {number}").into());
        let detection = [(Value::from("part"), selection.clone()), (Value::from("condition"), Value::from("part"))];
        document.insert("detection".into(), Value::Mapping(detection.into_iter().collect()));
        self.documents.push(serde_yaml_ng::to_string(&document).ok()?);
        Some(number)
    }

    fn condition(&mut self, condition: &ConditionExpr) -> Option<Shape> {
        Some(match condition {
            ConditionExpr::Identifier(name) => self.named(name)?,
            ConditionExpr::Not(inner) => Shape::Not(Box::new(self.condition(inner)?)),
            ConditionExpr::And(all) => Shape::All("all of".into(), self.conditions(all)?),
            ConditionExpr::Or(all) => Shape::Any("any of".into(), self.conditions(all)?),
            ConditionExpr::Selector { quantifier, pattern } => {
                let names = chosen(pattern, &self.selections);
                let shapes = names.into_iter().map(|name| self.named(name)).collect::<Option<Vec<_>>>()?;
                let label = format!("{quantifier} of {pattern}");
                match quantifier {
                    Quantifier::Any => Shape::Any(label, shapes),
                    Quantifier::All => Shape::All(label, shapes),
                    Quantifier::Count(n) => Shape::AtLeast(*n, label, shapes),
                }
            }
        })
    }

    fn conditions(&mut self, all: &[ConditionExpr]) -> Option<Vec<Shape>> {
        all.iter().map(|condition| self.condition(condition)).collect()
    }

    fn named(&mut self, name: &str) -> Option<Shape> {
        let selection = *self.selections.get(name)?;
        Some(Shape::Named(name.to_owned(), Box::new(self.selection(selection)?)))
    }

    fn selection(&mut self, selection: &Value) -> Option<Shape> {
        match selection {
            Value::Sequence(parts) if parts.iter().any(|part| part.is_mapping() || part.is_sequence()) => {
                let shapes = parts.iter().map(|part| self.selection(part)).collect::<Option<_>>()?;
                Some(Shape::Any("any of".into(), shapes))
            }
            Value::Mapping(items) => {
                let mut shapes = Vec::new();
                for (key, value) in items {
                    shapes.extend(self.items(key.as_str()?, value)?);
                }
                if shapes.len() == 1 { shapes.pop() } else { Some(Shape::All("all of".into(), shapes)) }
            }
            keywords => {
                let part = self.part(&match keywords {
                    Value::Sequence(_) => keywords.clone(),
                    keyword => Value::Sequence(vec![keyword.clone()]),
                })?;
                Some(Shape::Leaf { part, field: String::new(), wanted: wanted("", keywords) })
            }
        }
    }

    /// A field with its values; where all of them are wanted, one after the other.
    fn items(&mut self, key: &str, value: &Value) -> Option<Vec<Shape>> {
        let field = key.split('|').next().unwrap_or_default().to_owned();
        let modifiers: Vec<&str> = key.split('|').skip(1).collect();
        let single: Vec<&str> = modifiers.iter().copied().filter(|modifier| *modifier != "all").collect();
        match value {
            Value::Sequence(values)
                if single.len() < modifiers.len() && !field.is_empty() && !modifiers.contains(&"neq") =>
            {
                let key: String = std::iter::once(field.as_str()).chain(single).collect::<Vec<_>>().join("|");
                let leaf = |own: &mut Self, value: &Value| {
                    let part = own.part(&mapping(&key, value.clone()))?;
                    Some(Shape::Leaf { part, field: field.clone(), wanted: wanted(&key, value) })
                };
                values.iter().map(|value| leaf(self, value)).collect()
            }
            value => {
                let part = self.part(&mapping(key, value.clone()))?;
                Some(vec![Shape::Leaf { part, field, wanted: wanted(key, value) }])
            }
        }
    }
}

fn mapping(key: &str, value: Value) -> Value {
    Value::Mapping(std::iter::once((Value::from(key), value)).collect())
}

/// What a field is to be, in the rule's words: `contains one of "a", "b"`.
fn wanted(key: &str, value: &Value) -> String {
    let mut words: Vec<&str> = key.split('|').skip(1).collect();
    let values = match value {
        Value::Sequence(values) => {
            if values.len() > 1 && !words.contains(&"all") {
                words.push("one of");
            }
            let shown: Vec<String> = values.iter().take(VALUES_MAX).map(quoted).collect();
            let others = values.len().saturating_sub(VALUES_MAX);
            let more = if others == 0 { String::new() } else { format!(" and {others} more") };
            format!("{}{more}", shown.join(", "))
        }
        value => quoted(value),
    };
    words.push(&values);
    words.join(" ")
}

fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shortened(text)),
        Value::Null => "null".into(),
        other => serde_yaml_ng::to_string(other).unwrap_or_default().trim().to_owned(),
    }
}

/// The beginning of a long text.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
