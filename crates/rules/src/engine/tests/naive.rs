//! Sigma read as the specification reads, row by row over JSON, with nothing in common with the engine: what the engine
//! is held against. It knows as much of Sigma as the rules of these tests use.

use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SelectorPattern, SigmaString,
    SigmaValue, SpecialChar, StringPart, detection_name_matches,
};
use serde_json::Value;

pub(super) fn holds(detections: &Detections, event: &Value) -> bool {
    detections.conditions.iter().any(|condition| condition_holds(condition, detections, event))
}

fn condition_holds(condition: &ConditionExpr, detections: &Detections, event: &Value) -> bool {
    let named = |name: &str| detection_holds(&detections.named[name], event);
    match condition {
        ConditionExpr::Identifier(name) => named(name),
        ConditionExpr::Not(inner) => !condition_holds(inner, detections, event),
        ConditionExpr::And(all) => all.iter().all(|c| condition_holds(c, detections, event)),
        ConditionExpr::Or(all) => all.iter().any(|c| condition_holds(c, detections, event)),
        ConditionExpr::Selector { quantifier, pattern } => {
            let chosen: Vec<&String> = detections
                .named
                .keys()
                .filter(|name| match pattern {
                    SelectorPattern::Them => !name.starts_with('_'),
                    SelectorPattern::Pattern(p) => detection_name_matches(p, name),
                })
                .collect();
            let count = chosen.iter().filter(|name| named(name)).count();
            match quantifier {
                Quantifier::Any => count >= 1,
                Quantifier::All => count == chosen.len(),
                Quantifier::Count(n) => count as u64 >= *n,
            }
        }
    }
}

fn detection_holds(detection: &Detection, event: &Value) -> bool {
    match detection {
        Detection::AllOf(items) => items.iter().all(|item| item_holds(item, event)),
        Detection::AnyOf(parts) => parts.iter().any(|part| detection_holds(part, event)),
        Detection::Keywords(values) => values.iter().any(|value| keyword_holds(value, event)),
        other => panic!("not for this test: {other:?}"),
    }
}

fn item_holds(item: &DetectionItem, event: &Value) -> bool {
    let has = |m: Modifier| item.field.modifiers.contains(&m);
    let Some(field) = &item.field.name else {
        return item.values.iter().all(|value| keyword_holds(value, event));
    };
    let values = values_at(event, field);
    if has(Modifier::Exists) {
        return values.is_empty() != matches!(item.values[0], SigmaValue::Bool(true));
    }
    if has(Modifier::FieldRef) {
        let others = values_at(event, &item.values[0].to_string());
        return values.iter().any(|a| {
            others.iter().any(|b| text(a).is_some() && text(a).map(|t| lower(&t)) == text(b).map(|t| lower(&t)))
        });
    }
    let one = |wanted: &SigmaValue| match wanted {
        SigmaValue::Null => values.is_empty() || values.iter().any(Value::is_null),
        wanted => values.iter().any(|value| value_holds(wanted, &item.field.modifiers, value)),
    };
    let holds = if has(Modifier::All) { item.values.iter().all(one) } else { item.values.iter().any(one) };
    holds != has(Modifier::Neq)
}

fn value_holds(wanted: &SigmaValue, modifiers: &[Modifier], value: &Value) -> bool {
    let has = |m: Modifier| modifiers.contains(&m);
    let number = || text(value).filter(|_| !value.is_boolean()).and_then(|t| t.parse::<f64>().ok());
    if has(Modifier::Gt) || has(Modifier::Lte) {
        let bound = match wanted {
            SigmaValue::Integer(n) => *n as f64,
            SigmaValue::Float(n) => *n,
            other => panic!("{other:?}"),
        };
        return number().is_some_and(|n| if has(Modifier::Gt) { n > bound } else { n <= bound });
    }
    match wanted {
        SigmaValue::Integer(n) => match value {
            Value::Number(own) => own.as_f64() == Some(*n as f64),
            Value::String(own) => *own == n.to_string(),
            _ => false,
        },
        SigmaValue::Float(n) => match value {
            Value::Number(own) => own.as_f64() == Some(*n),
            Value::String(own) => *own == n.to_string(),
            _ => false,
        },
        SigmaValue::String(own) if has(Modifier::Re) => {
            text(value).is_some_and(|t| regex::Regex::new(&own.original).unwrap().is_match(&t))
        }
        SigmaValue::String(own) => {
            let mut pattern = pattern(own);
            if has(Modifier::Contains) || has(Modifier::EndsWith) {
                pattern.insert_str(0, ".*");
            }
            if has(Modifier::Contains) || has(Modifier::StartsWith) {
                pattern.push_str(".*");
            }
            if pattern == ".*" {
                return !value.is_null();
            }
            let flags = if has(Modifier::Cased) { "(?s)" } else { "(?si)" };
            let regex = regex::Regex::new(&format!("{flags}\\A(?:{pattern})\\z")).unwrap();
            text(value).is_some_and(|t| regex.is_match(&t))
        }
        other => panic!("not for this test: {other:?}"),
    }
}

fn keyword_holds(wanted: &SigmaValue, event: &Value) -> bool {
    let mut leaves = Vec::new();
    leaves_of(event, &mut leaves);
    let all = leaves.join("\n");
    let SigmaValue::String(own) = wanted else { panic!("{wanted:?}") };
    regex::Regex::new(&format!("(?si){}", pattern(own))).unwrap().is_match(&all)
}

fn pattern(own: &SigmaString) -> String {
    own.parts
        .iter()
        .map(|part| match part {
            StringPart::Plain(text) => regex::escape(text),
            StringPart::Special(SpecialChar::WildcardMulti) => ".*".into(),
            StringPart::Special(SpecialChar::WildcardSingle) => ".".into(),
        })
        .collect()
}

fn leaves_of(value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|v| leaves_of(v, leaves)),
        Value::Object(all) => all.values().for_each(|v| leaves_of(v, leaves)),
        other => leaves.extend(text(other)),
    }
}

fn values_at(event: &Value, path: &str) -> Vec<Value> {
    let mut at = vec![event.clone()];
    for key in path.split('.') {
        at = at.into_iter().flat_map(members).filter_map(|v| v.get(key).cloned()).collect();
    }
    at.into_iter().flat_map(|v| if v == Value::Array(Vec::new()) { vec![Value::Null] } else { members(v) }).collect()
}

fn members(value: Value) -> Vec<Value> {
    match value {
        Value::Array(all) => all,
        other => vec![other],
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

fn lower(text: &str) -> String {
    text.to_lowercase()
}
