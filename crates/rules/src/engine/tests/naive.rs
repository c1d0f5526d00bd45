//! Sigma read as the specification reads, row by row over JSON, with nothing in common with the engine but the parser:
//! what the engine and the lowering to SQL are held against. It knows as much of Sigma as the rules of these tests use.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsigma_parser::{
    ConditionExpr, Detection, DetectionItem, Detections, Modifier, Quantifier, SelectorPattern, SigmaString,
    SigmaValue, SpecialChar, StringPart, detection_name_matches,
};
use serde_json::Value;

use crate::JsonEvent;

/// Dates that the tests use, and their ISO weeks as a calendar has them.
pub(super) const WEEKS: [(&str, i64); 3] = [("2026-03-04", 10), ("2024-12-30", 1), ("2021-01-03", 53)];

pub(super) fn holds(detections: &Detections, event: &JsonEvent) -> bool {
    detections.conditions.iter().any(|condition| condition_holds(condition, detections, event))
}

fn condition_holds(condition: &ConditionExpr, detections: &Detections, event: &JsonEvent) -> bool {
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

fn detection_holds(detection: &Detection, event: &JsonEvent) -> bool {
    match detection {
        Detection::AllOf(items) => items.iter().all(|item| item_holds(item, event)),
        Detection::AnyOf(parts) => parts.iter().any(|part| detection_holds(part, event)),
        Detection::Keywords(values) => values.iter().any(|value| keyword_holds(value, &[], event)),
        other => panic!("not for this test: {other:?}"),
    }
}

fn item_holds(item: &DetectionItem, event: &JsonEvent) -> bool {
    let has = |m: Modifier| item.field.modifiers.contains(&m);
    let linked = |one: &dyn Fn(&SigmaValue) -> bool| {
        let holds = if has(Modifier::All) { item.values.iter().all(one) } else { item.values.iter().any(one) };
        holds != has(Modifier::Neq)
    };
    let Some(field) = &item.field.name else {
        return linked(&|value| keyword_holds(value, &item.field.modifiers, event));
    };
    let values = values_of(event, field);
    if has(Modifier::Exists) {
        return values.is_empty() != matches!(item.values[0], SigmaValue::Bool(true));
    }
    if has(Modifier::FieldRef) {
        return linked(&|name| {
            let others = values_of(event, &name.to_string());
            let others: Vec<String> = others.iter().filter_map(text).collect();
            values.iter().filter_map(text).any(|own| {
                others.iter().any(|other| {
                    let pattern = affixed(regex::escape(other), &item.field.modifiers);
                    whole(&pattern, has(Modifier::Cased)).is_match(&own)
                })
            })
        });
    }
    linked(&|wanted| match wanted {
        SigmaValue::Null => values.is_empty() || values.iter().any(Value::is_null),
        wanted => values.iter().any(|value| value_holds(wanted, &item.field.modifiers, value)),
    })
}

fn value_holds(wanted: &SigmaValue, modifiers: &[Modifier], value: &Value) -> bool {
    use Modifier::*;
    let has = |m: Modifier| modifiers.contains(&m);
    if let Some(how) = modifiers.iter().find(|m| matches!(m, Gt | Gte | Lt | Lte)) {
        return compared(*how, wanted, value);
    }
    if let Some(part) = modifiers.iter().find(|m| matches!(m, Minute | Hour | Day | Week | Month | Year)) {
        let SigmaValue::Integer(own) = wanted else { panic!("{wanted:?}") };
        return value.as_str().is_some_and(|t| part_of(*part, t) == Some(*own));
    }
    if has(Cidr) {
        let SigmaValue::String(net) = wanted else { panic!("{wanted:?}") };
        return value.as_str().is_some_and(|t| in_net(&net.original, t));
    }
    if has(Re) {
        let SigmaValue::String(own) = wanted else { panic!("{wanted:?}") };
        return text(value).is_some_and(|t| expression(own, modifiers).is_match(&t));
    }
    let is_modified = modifiers.iter().any(|m| !matches!(m, Neq | All | Cased));
    match wanted {
        SigmaValue::Integer(n) if !is_modified => match value {
            Value::Number(own) if own.is_f64() => own.as_f64() == Some(*n as f64),
            Value::Number(own) => own.to_string() == n.to_string(),
            Value::String(own) => *own == n.to_string(),
            _ => false,
        },
        SigmaValue::Float(n) if !is_modified => match value {
            Value::Number(own) => own.as_f64() == Some(*n),
            Value::String(own) => *own == format!("{n:?}"),
            _ => false,
        },
        wanted => bodies(wanted, modifiers).into_iter().any(|body| {
            let pattern = affixed(body, modifiers);
            if !pattern.is_empty() && pattern.replace(".*", "").is_empty() {
                return !value.is_null();
            }
            let regex = whole(&pattern, has(Cased));
            text(value).is_some_and(|t| regex.is_match(&t))
        }),
    }
}

fn compared(how: Modifier, wanted: &SigmaValue, value: &Value) -> bool {
    let Some(own) = text(value).filter(|_| !value.is_boolean()) else { return false };
    let order = match (wanted, own.parse::<i128>(), own.parse::<f64>()) {
        (SigmaValue::Integer(bound), Ok(own), _) => own.cmp(&i128::from(*bound)),
        (SigmaValue::Integer(bound), _, Ok(own)) => own.total_cmp(&(*bound as f64)),
        (SigmaValue::Float(bound), _, Ok(own)) => own.total_cmp(bound),
        (SigmaValue::Integer(_) | SigmaValue::Float(_), ..) => return false,
        (other, ..) => panic!("{other:?}"),
    };
    match how {
        Modifier::Gt => order.is_gt(),
        Modifier::Gte => order.is_ge(),
        Modifier::Lt => order.is_lt(),
        _ => order.is_le(),
    }
}

fn part_of(part: Modifier, text: &str) -> Option<i64> {
    let (date, time) = text.split_at_checked(10)?;
    let &(_, week) = WEEKS.iter().find(|(known, _)| *known == date)?;
    let number = |text: &str, place: usize, by: char| text.split(by).nth(place)?.parse().ok();
    match part {
        Modifier::Year => number(date, 0, '-'),
        Modifier::Month => number(date, 1, '-'),
        Modifier::Day => number(date, 2, '-'),
        Modifier::Week => Some(week),
        Modifier::Hour => number(time.strip_prefix('T')?, 0, ':'),
        _ => number(time.strip_prefix('T')?, 1, ':'),
    }
}

fn in_net(net: &str, text: &str) -> bool {
    let Ok(ip) = text.parse::<IpAddr>() else { return false };
    let (start, length) = net.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    match (start.parse::<IpAddr>().unwrap(), ip.to_canonical(), ip) {
        (IpAddr::V4(start), IpAddr::V4(ip), _) => {
            let shift = 32 - length;
            u32::from(start).checked_shr(shift) == u32::from(ip).checked_shr(shift)
        }
        (IpAddr::V6(start), _, IpAddr::V6(ip)) => {
            let shift = 128 - length;
            u128::from(start).checked_shr(shift) == u128::from(ip).checked_shr(shift)
        }
        _ => false,
    }
}

fn expression(own: &SigmaString, modifiers: &[Modifier]) -> regex::Regex {
    let has = |m: Modifier| modifiers.contains(&m);
    regex::RegexBuilder::new(&own.original)
        .case_insensitive(has(Modifier::IgnoreCase))
        .multi_line(has(Modifier::Multiline))
        .dot_matches_new_line(has(Modifier::DotAll))
        .build()
        .unwrap()
}

/// A pattern that the whole of a text must fit.
fn whole(pattern: &str, is_cased: bool) -> regex::Regex {
    let flags = if is_cased { "(?s)" } else { "(?si)" };
    regex::Regex::new(&format!("{flags}\\A(?:{pattern})\\z")).unwrap()
}

fn affixed(mut pattern: String, modifiers: &[Modifier]) -> String {
    let has = |m: Modifier| modifiers.contains(&m);
    if has(Modifier::Contains) || has(Modifier::EndsWith) {
        pattern.insert_str(0, ".*");
    }
    if has(Modifier::Contains) || has(Modifier::StartsWith) {
        pattern.push_str(".*");
    }
    pattern
}

/// The patterns that a written value stands for, before modifiers that say where it must stand.
fn bodies(wanted: &SigmaValue, modifiers: &[Modifier]) -> Vec<String> {
    use Modifier::*;
    let has = |m: Modifier| modifiers.contains(&m);
    let own = match wanted {
        SigmaValue::String(own) => own.clone(),
        SigmaValue::Integer(n) => SigmaString::from_raw(&n.to_string()),
        SigmaValue::Float(n) => SigmaString::from_raw(&format!("{n:?}")),
        SigmaValue::Bool(b) => SigmaString::from_raw(&b.to_string()),
        other => panic!("not for this test: {other:?}"),
    };
    if !has(Base64) && !has(Base64Offset) {
        return vec![if has(WindAsh) { windash(&own) } else { pattern(&own) }];
    }
    let units = own.original.encode_utf16();
    let bytes: Vec<u8> = if has(Utf16be) {
        units.flat_map(u16::to_be_bytes).collect()
    } else if has(Utf16) {
        [0xFF, 0xFE].into_iter().chain(units.flat_map(u16::to_le_bytes)).collect()
    } else if has(Wide) {
        units.flat_map(u16::to_le_bytes).collect()
    } else {
        own.original.into_bytes()
    };
    if has(Base64) {
        return vec![regex::escape(&STANDARD.encode(&bytes))];
    }
    (0..3).map(|offset| regex::escape(&encoded_inside(&bytes, offset))).collect()
}

/// What the base64 of all texts that hold `bytes` after `offset` others has in common: where the encodings agree when
/// all that is around is zeros and when it is ones.
fn encoded_inside(bytes: &[u8], offset: usize) -> String {
    let around = |byte: u8| {
        let mut all = vec![byte; offset];
        all.extend_from_slice(bytes);
        all.resize(all.len().next_multiple_of(3) + 3, byte);
        STANDARD.encode(all)
    };
    let (zeros, ones) = (around(0), around(0xFF));
    zeros.chars().zip(ones.chars()).filter(|(a, b)| a == b).map(|(a, _)| a).collect()
}

fn windash(own: &SigmaString) -> String {
    let dashes = regex::Regex::new(r"\B[-/]\b").unwrap();
    let part = |part: &StringPart| match part {
        StringPart::Plain(text) => {
            let kept: Vec<String> = dashes.split(text).map(regex::escape).collect();
            kept.join("[-/–—―]")
        }
        special => pattern_part(special),
    };
    own.parts.iter().map(part).collect()
}

fn keyword_holds(wanted: &SigmaValue, modifiers: &[Modifier], event: &JsonEvent) -> bool {
    let all = event_text(event);
    if let (SigmaValue::String(own), true) = (wanted, modifiers.contains(&Modifier::Re)) {
        return expression(own, modifiers).is_match(&all);
    }
    let flags = if modifiers.contains(&Modifier::Cased) { "(?s)" } else { "(?si)" };
    let found = |body: String| regex::Regex::new(&format!("{flags}{body}")).unwrap().is_match(&all);
    bodies(wanted, modifiers).into_iter().any(found)
}

/// All values of a payload, one a line; without a payload, the columns that hold text of the event.
fn event_text(event: &JsonEvent) -> String {
    if event.event.is_null() {
        let columns = ["process_cmd_line", "process_name"].map(|name| event.columns.get(name));
        return columns.into_iter().flatten().filter_map(text).map(|text| format!("\n{text}")).collect();
    }
    let mut leaves = Vec::new();
    leaves_of(&event.event, &mut leaves);
    leaves.into_iter().fold(String::new(), |all, leaf| if all.is_empty() { leaf } else { format!("{all}\n{leaf}") })
}

fn pattern(own: &SigmaString) -> String {
    own.parts.iter().map(pattern_part).collect()
}

fn pattern_part(part: &StringPart) -> String {
    match part {
        StringPart::Plain(text) => regex::escape(text),
        StringPart::Special(SpecialChar::WildcardMulti) => ".*".into(),
        StringPart::Special(SpecialChar::WildcardSingle) => ".".into(),
    }
}

fn leaves_of(value: &Value, leaves: &mut Vec<String>) {
    match value {
        Value::Array(all) => all.iter().for_each(|v| leaves_of(v, leaves)),
        Value::Object(all) => all.values().for_each(|v| leaves_of(v, leaves)),
        other => leaves.extend(text(other)),
    }
}

/// In these tests a field with `_` is a column, any other a path of the payload.
fn values_of(event: &JsonEvent, field: &str) -> Vec<Value> {
    match event.columns.get(field) {
        _ if !field.contains('_') => values_at(&event.event, field),
        None => Vec::new(),
        Some(Value::Array(all)) => all.clone(),
        Some(other) => vec![other.clone()],
    }
}

/// A key that is spelled like the rest of the path is taken before the path is followed deeper.
fn values_at(value: &Value, path: &str) -> Vec<Value> {
    match value {
        Value::Array(all) => all.iter().flat_map(|member| values_at(member, path)).collect(),
        Value::Object(object) => match object.get(path) {
            Some(found) => members(found),
            None => {
                let cuts = path.match_indices('.').map(|(dot, _)| (&path[..dot], &path[dot + 1..]));
                cuts.filter_map(|(key, rest)| Some(values_at(object.get(key)?, rest))).flatten().collect()
            }
        },
        _ => Vec::new(),
    }
}

fn members(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(all) if all.is_empty() => vec![Value::Null],
        Value::Array(all) => all.iter().flat_map(members).collect(),
        other => vec![other.clone()],
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
