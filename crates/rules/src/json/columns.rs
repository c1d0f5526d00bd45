//! Event columns by name, as tests of packs give them: what a value must be to fit its column, and which column a name that
//! is none may have meant.

use palisade_events::schema::{AnyColumn, COLUMNS};
use palisade_events::{EventBuilder, time};
use serde_json::{Map, Value};

/// Letters of a name that may differ from a column's, of each three that it has, for the column to be the one that was meant.
const LETTERS_PER_SLIP: usize = 3;

/// Characters of a wrong value that are shown.
const VALUE_CHARS_MAX: usize = 60;

/// Puts columns into the current row. One that is `null` is not given.
///
/// # Errors
/// What is wrong with the first that is no event column, or whose value does not fit it.
pub(crate) fn put_columns(builder: &mut EventBuilder, columns: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in columns.iter().filter(|(_, value)| !value.is_null()) {
        let Some(column) = AnyColumn::named(name) else {
            let meant = nearest(name).map(|near| format!("; `{near}` is one")).unwrap_or_default();
            return Err(format!("`{name}` is no event column{meant}"));
        };
        if !put_column(builder, column, value) {
            let shown: String = value.to_string().chars().take(VALUE_CHARS_MAX).collect();
            return Err(format!("the column `{name}` takes {}, not {shown}", taken(column)));
        }
    }
    Ok(())
}

/// Puts a value into the current row, unless it does not fit the column.
pub(super) fn put_column(builder: &mut EventBuilder, column: AnyColumn, value: &Value) -> bool {
    match (column, value) {
        (AnyColumn::Text(c), Value::String(s)) => builder.put_text(c, s),
        (AnyColumn::Word(c), Value::String(s)) => builder.put_word(c, s),
        (AnyColumn::Words(c), Value::Array(all)) if all.iter().all(Value::is_string) => {
            builder.put_words(c, all.iter().filter_map(Value::as_str));
        }
        (AnyColumn::Time(c), Value::String(s)) => match time::parse_rfc3339(s) {
            Some(time) => builder.put_time(c, time),
            None => return false,
        },
        (AnyColumn::Long(c), Value::Number(n)) => match n.as_i64() {
            Some(n) => builder.put_long(c, n),
            None => return false,
        },
        (AnyColumn::Int(c), Value::Number(n)) => match n.as_i64().and_then(|n| i32::try_from(n).ok()) {
            Some(n) => builder.put_int(c, n),
            None => return false,
        },
        (AnyColumn::Flag(c), Value::Bool(b)) => builder.put_flag(c, *b),
        _ => return false,
    }
    true
}

/// What a column takes, in words.
fn taken(column: AnyColumn) -> &'static str {
    match column {
        AnyColumn::Text(_) | AnyColumn::Word(_) => "text",
        AnyColumn::Words(_) => "a list of texts",
        AnyColumn::Time(_) => "a time as \"2026-11-25T10:00:00Z\"",
        AnyColumn::Long(_) => "a whole number of 64 bits",
        AnyColumn::Int(_) => "a whole number of 32 bits",
        AnyColumn::Flag(_) => "true or false",
    }
}

/// The column whose name is most like this one, if it is like it at all.
fn nearest(name: &str) -> Option<&'static str> {
    // Fields of other schemas are spelled with dots.
    let name: Vec<char> = name.chars().map(|c| if c == '.' { '_' } else { c.to_ascii_lowercase() }).collect();
    let slips_max = name.len() / LETTERS_PER_SLIP;
    let distances = COLUMNS.iter().map(|column| (slips(&name, column.name), column.name));
    distances.filter(|(slips, _)| *slips <= slips_max).min().map(|(_, near)| near)
}

/// Letters to put in, take out or change that make one name the other (the distance of Levenshtein, 1966).
fn slips(one: &[char], other: &str) -> usize {
    let mut row: Vec<usize> = (0..=one.len()).collect();
    for letter in other.chars() {
        let mut diagonal = row[0];
        row[0] += 1;
        for (place, own) in one.iter().enumerate() {
            let changed = diagonal + usize::from(*own != letter);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[one.len()]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use palisade_events::{FieldPlan, col};
    use serde_json::json;

    use crate::{JsonEvent, batch_of_json};

    fn batch(columns: serde_json::Value) -> palisade_events::Result<palisade_events::EventBatch> {
        let columns = columns.as_object().cloned().unwrap();
        let event = JsonEvent { format: "x".into(), columns, ..JsonEvent::default() };
        batch_of_json(&Arc::new(FieldPlan::default()), &[JsonEvent::default(), event])
    }

    #[test]
    fn a_column_that_is_none_or_takes_something_else_is_an_error_that_names_it() {
        for (columns, why) in [
            (
                json!({"process_file_pth": "/bin/sh"}),
                "`process_file_pth` is no event column; `process_file_path` is one",
            ),
            (json!({"Process.File.Path": "/bin/sh"}), "`process_file_path` is one"),
            (json!({"colour_of_the_sky": "blue"}), "`colour_of_the_sky` is no event column"),
            (json!({"process_file_path": 1}), "the column `process_file_path` takes text, not 1"),
            (json!({"process_pid": "12"}), "the column `process_pid` takes a whole number of 64 bits, not \"12\""),
            (json!({"process_pid": 1.5}), "takes a whole number"),
            (
                json!({"activity_id": 3_000_000_000_u64}),
                "`activity_id` takes a whole number of 32 bits, not 3000000000",
            ),
            (json!({"time": "yesterday"}), "`time` takes a time as"),
            (json!({"late": "no"}), "`late` takes true or false, not \"no\""),
            (json!({"process_ancestors": ["a", 1]}), "`process_ancestors` takes a list of texts, not [\"a\",1]"),
        ] {
            let told = batch(columns).unwrap_err().to_string();
            assert!(told.ends_with(why) || told.contains(&format!("{why} ")), "{told}");
            assert!(told.contains("event 2: "), "{told}");
        }
    }

    #[test]
    fn columns_that_fit_are_put_and_null_is_not_given() {
        let fine = batch(json!({"process_file_path": "/bin/sh", "process_pid": 12, "process_name": null})).unwrap();
        assert_eq!(fine.word(col::PROCESS_FILE_PATH).get(1), Some("/bin/sh"));
        assert_eq!((fine.long(col::PROCESS_PID).value(1), fine.word(col::PROCESS_NAME).get(1)), (12, None));
    }
}
