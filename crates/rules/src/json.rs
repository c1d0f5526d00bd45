//! Fields and batches from events that are JSON already: for `rules eval`, for pack tests, and for hunts that take raw
//! fields from stored payloads.
//!
//! Live streams go through the decoders instead, which fill all columns and read more than JSON.

use std::cell::Cell;
use std::sync::Arc;

use arrow::array::{Array, StringArray};
use palisade_events::fields::{FieldRef, FieldTree, FieldsBuilder};
use palisade_events::{EventBatch, EventBuilder, FieldColumn, FieldPlan, col};
use serde_json::{Map, Number, Value};

use self::columns::put_column;
pub(crate) use self::columns::put_columns;
use self::lines::LineReader;
pub(crate) use self::skim::is_plain;
pub(crate) use self::text::text_of_payload;
use crate::taxonomy;

mod columns;
mod digits;
mod lines;
mod plain;
mod skim;
mod spellings;
mod text;

/// An event as JSON, with what a decoder would say about it.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonEvent {
    /// Name of the decoder that would read it.
    pub format: String,
    /// OCSF class; 0 if it does not matter.
    #[serde(default)]
    pub class_uid: i32,
    /// Event columns, by name. One that is `null` is not given.
    #[serde(default)]
    pub columns: Map<String, Value>,
    /// The payload.
    #[serde(default)]
    pub event: Value,
}

/// Puts the planned paths of a payload into the current row.
///
/// Where an object has a key spelled like the whole rest of a path, that key's value is the path's, and no deeper key
/// is looked at.
pub fn put_json(fields: &mut FieldsBuilder, event: &Value) {
    let plan = Arc::clone(fields.plan());
    let Value::Object(object) = event else { return };
    fields.put_whole();
    if let Some(root) = plan.tree().root() {
        walk(plan.tree(), root, object, &[], fields);
    }
}

/// The planned paths of payloads, row by row. A row without a payload has no values.
pub fn fields_of_json<'v>(
    plan: &Arc<FieldPlan>,
    events: impl IntoIterator<Item = Option<&'v Value>>,
) -> Vec<FieldColumn> {
    let mut fields = FieldsBuilder::new(Arc::clone(plan));
    let mut rows = 0;
    for event in events {
        if let Some(event) = event {
            put_json(&mut fields, event);
        }
        fields.end_row();
        rows += 1;
    }
    fields.finish(rows)
}

/// The planned paths of a batch's stored payloads, where those are JSON.
pub fn fields_of_raw(plan: &Arc<FieldPlan>, batch: &EventBatch) -> Vec<FieldColumn> {
    fields_of_texts(plan, batch.text(col::RAW))
}

/// The planned paths of payloads that are still text. A row whose text is not JSON has no values.
pub(crate) fn fields_of_texts(plan: &Arc<FieldPlan>, raw: &StringArray) -> Vec<FieldColumn> {
    let mut fields = FieldsBuilder::new(Arc::clone(plan));
    let mut reader = LineReader::default();
    for row in 0..raw.len() {
        if raw.is_valid(row) {
            reader.put(&mut fields, raw.value(row));
        }
        fields.end_row();
    }
    fields.finish(raw.len())
}

/// A batch of payloads as they stand in an NDJSON file, a row for each line, with the raw fields of `plan` and no column
/// that a decoder would fill: what rules read [as written](crate::Reading::AsWritten) are evaluated on. A line that is not
/// JSON is a row without fields.
///
/// # Errors
/// When Arrow refuses the columns.
pub fn batch_of_lines<'l>(
    plan: &Arc<FieldPlan>,
    lines: impl IntoIterator<Item = &'l str>,
) -> palisade_events::Result<EventBatch> {
    // A builder knows how large the last batch was, and has the tables of its fields.
    let mut kept = KEPT.take();
    let known = kept.take_if(|kept| Arc::ptr_eq(kept.fields().plan(), plan));
    let mut builder = known.unwrap_or_else(|| EventBuilder::new(Arc::clone(plan)));
    let mut reader = LineReader::default();
    for (row, line) in lines.into_iter().enumerate() {
        let uid = row_uid(row);
        builder.put_text(col::EVENT_UID, std::str::from_utf8(&uid).unwrap_or_default());
        builder.put_time(col::TIME, 0);
        builder.put_int(col::CLASS_UID, 0);
        builder.put_int(col::ACTIVITY_ID, 0);
        for column in [col::SOURCE, col::FORMAT, col::ORIGIN] {
            builder.put_word(column, "json");
        }
        builder.put_long(col::OFFSET, row as i64);
        builder.put_flag(col::LATE, false);
        builder.put_text(col::RAW, line);
        reader.put(builder.fields(), line);
        builder.end_row();
    }
    let batch = builder.finish()?;
    KEPT.set(Some(builder));
    Ok(batch)
}

thread_local! {
    /// The builder of this thread's last batch of lines.
    static KEPT: Cell<Option<EventBuilder>> = const { Cell::new(None) };
}

/// A row's number in 32 hexadecimal digits.
fn row_uid(row: usize) -> [u8; 32] {
    let mut uid = [b'0'; 32];
    let mut rest = row;
    for digit in uid.iter_mut().rev() {
        if rest == 0 {
            break;
        }
        *digit = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    uid
}

/// A batch of JSON events, with the raw fields of `plan`. Columns that are not given, and that the field map declares
/// to be the same as a payload path, are filled from the payload.
///
/// # Errors
/// When an event gives a column that is none, or a value that its column does not take; when Arrow refuses the columns.
pub fn batch_of_json(plan: &Arc<FieldPlan>, events: &[JsonEvent]) -> palisade_events::Result<EventBatch> {
    let mut builder = EventBuilder::new(Arc::clone(plan));
    for (row, event) in events.iter().enumerate() {
        put_columns(&mut builder, &event.columns)
            .map_err(|why| palisade_events::Error::Schema(format!("event {}: {why}", row + 1)))?;
        for (path, column) in taxonomy::same_columns(&event.format) {
            let value = path.split('.').try_fold(&event.event, |at, key| at.get(key));
            if let Some(Value::String(text)) = value
                && !text.is_empty()
            {
                put_column(&mut builder, column, &Value::from(text.as_str()));
            }
        }
        builder.put_text(col::EVENT_UID, &format!("{row:032x}"));
        builder.put_time(col::TIME, 0);
        builder.put_int(col::CLASS_UID, event.class_uid);
        builder.put_int(col::ACTIVITY_ID, 0);
        builder.put_word(col::SOURCE, "json");
        builder.put_word(col::FORMAT, &event.format);
        builder.put_word(col::ORIGIN, "json");
        builder.put_long(col::OFFSET, row as i64);
        builder.put_flag(col::LATE, false);
        if !event.event.is_null() {
            builder.put_text(col::RAW, &event.event.to_string());
        }
        put_json(builder.fields(), &event.event);
        builder.end_row();
    }
    builder.finish()
}

/// Depth is bounded by that of JSON that serde reads.
fn walk(tree: &FieldTree, node: usize, object: &Map<String, Value>, settled: &[usize], fields: &mut FieldsBuilder) {
    let mut literal: Vec<usize> = Vec::new();
    for (key, value) in object {
        let Some(step) = tree.step(node, key) else { continue };
        for path in &step.leaves {
            if !settled.contains(path) {
                put_value(*path, value, fields);
                literal.push(*path);
            }
        }
    }
    let settled = if literal.is_empty() {
        settled
    } else {
        literal.extend_from_slice(settled);
        &literal
    };
    for (key, value) in object {
        if let Some(child) = tree.step(node, key).and_then(|step| step.child) {
            descend(tree, child, value, settled, fields);
        }
    }
}

fn descend(tree: &FieldTree, node: usize, value: &Value, settled: &[usize], fields: &mut FieldsBuilder) {
    match value {
        Value::Object(object) => walk(tree, node, object, settled, fields),
        Value::Array(members) => members.iter().for_each(|m| descend(tree, node, m, settled, fields)),
        _ => {}
    }
}

fn put_value(path: usize, value: &Value, fields: &mut FieldsBuilder) {
    let scalar = match value {
        Value::Array(members) if members.is_empty() => FieldRef::Null,
        Value::Array(members) => return members.iter().for_each(|member| put_value(path, member, fields)),
        Value::Null => FieldRef::Null,
        Value::Bool(b) => FieldRef::Bool(*b),
        Value::Number(n) => match number_of(n) {
            Some(number) => number,
            None => return,
        },
        Value::String(s) => FieldRef::Str(s),
        Value::Object(_) => FieldRef::Object,
    };
    fields.put(path, scalar);
}

fn number_of(number: &Number) -> Option<FieldRef<'static>> {
    let whole = number.as_i64().map(FieldRef::Int).or_else(|| number.as_u64().map(FieldRef::UInt));
    whole.or_else(|| number.as_f64().map(FieldRef::Float))
}

#[cfg(test)]
mod tests {
    use palisade_events::FieldValue;
    use serde_json::json;

    use super::*;

    fn values(path: &str, event: &Value) -> Vec<FieldValue> {
        let plan = Arc::new(FieldPlan::new([path]));
        let columns = fields_of_json(&plan, [Some(event)]);
        columns[0].codes(0).iter().map(|&code| columns[0].values()[code as usize].clone()).collect()
    }

    #[test]
    fn paths_find_their_values() {
        let text = |s: &str| FieldValue::Str(s.into());
        for (path, event, expected) in [
            ("a.b", json!({"a": {"b": "x"}}), vec![text("x")]),
            ("a.b", json!({"a.b": "y", "a": {"b": "x"}}), vec![text("y")]),
            ("a.b.c", json!({"a": [{"b.c": 1}, {"b": {"c": 2}}]}), vec![FieldValue::Int(1), FieldValue::Int(2)]),
            ("a", json!({"a": [["x"], [], null]}), vec![text("x"), FieldValue::Null, FieldValue::Null]),
            ("a", json!({"a": {"b": 1}}), vec![FieldValue::Object]),
            ("a.b", json!({"a": "b"}), vec![]),
            ("a", json!({"b": 1}), vec![]),
            ("a", json!({"a": u64::MAX}), vec![FieldValue::UInt(u64::MAX)]),
            ("a", json!({"a": 1.5}), vec![FieldValue::Float(1.5)]),
            ("x.k8s.io/y", json!({"x": {"k8s.io/y": "allow"}}), vec![text("allow")]),
        ] {
            assert_eq!(values(path, &event), expected, "{path} of {event}");
        }
    }

    #[test]
    fn text_gives_the_fields_of_its_value_whatever_the_order_of_keys() {
        let plan = Arc::new(FieldPlan::new(["x.y", "x.y.z", "v"]));
        for keys in [
            [r#""x.y.z":"ok""#, r#""x.y":{"z":"evil"}"#],
            [r#""x.y":"ok""#, r#""x":{"y":"evil"}"#],
            [r#""x.y.z":1"#, r#""x":{"y":{"z":2}}"#],
            [r#""x.y":{"z":1}"#, r#""v":2"#],
            [r#""v":1"#, r#""v":2"#],
        ] {
            let [one, other] = keys;
            // An escape in a key is for the slower of the two readers.
            for text in [
                format!("{{{one},{other}}}"),
                format!("{{{other},{one}}}"),
                format!(r#"{{"\u0061":0,{one},{other}}}"#),
                format!(r#"{{"\u0061":0,{other},{one}}}"#),
            ] {
                let read = fields_of_texts(&plan, &StringArray::from(vec![text.as_str()]));
                assert_eq!(read, fields_of_json(&plan, [serde_json::from_str(&text).ok().as_ref()]), "{text}");
            }
        }
    }

    #[test]
    fn whole_numbers_keep_all_their_digits() {
        let plan = Arc::new(FieldPlan::new(["a.b"]));
        let long = "7".repeat(400);
        let cases = [
            ("18446744073709551616", FieldValue::Str("18446744073709551616".into())),
            ("-9223372036854775809", FieldValue::Str("-9223372036854775809".into())),
            (&long, FieldValue::Str(long.as_str().into())),
            ("18446744073709551615", FieldValue::UInt(u64::MAX)),
            ("-9223372036854775808", FieldValue::Int(i64::MIN)),
            ("18446744073709551616.0", FieldValue::Float(18_446_744_073_709_551_616.0)),
        ];
        for (number, expected) in cases {
            // Plain, for the fast reader; with an escape in a key, for the slow one; with keys that contest each other.
            for text in [
                format!(r#"{{"a":{{"b":{number}}}}}"#),
                format!(r#"{{"\u0061":[{{"b":{number}}}]}}"#),
                format!(r#"{{"a":{{"b":1}},"a.b":{number}}}"#),
            ] {
                let columns = fields_of_texts(&plan, &StringArray::from(vec![text.as_str()]));
                let codes = columns[0].codes(0).iter().map(|code| &columns[0].values()[*code as usize]);
                assert_eq!(codes.collect::<Vec<_>>(), [&expected], "{text}");
            }
            let all = text_of_payload(&format!("[{number}]")).unwrap();
            assert_eq!(all, crate::predicate::text_of(expected.as_ref()).unwrap());
        }
    }

    #[test]
    fn stored_payloads_give_the_fields_of_the_decoder() {
        let plan = Arc::new(FieldPlan::new(["verb"]));
        let events = [json!({"verb": "get"}), Value::Null, json!({"verb": ["a", "b"]})];
        let events = events.map(|event| JsonEvent { format: "k8s_audit".into(), event, ..JsonEvent::default() });
        let batch = batch_of_json(&plan, &events).unwrap();
        assert_eq!(fields_of_raw(&plan, &batch), batch.fields());
        assert_eq!(batch.word(col::API_OPERATION).get(0), Some("get"));
    }
}
