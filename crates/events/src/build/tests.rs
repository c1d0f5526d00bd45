//! Rows come out as they were put in, whatever was left out or taken back.

use arrow::array::{Array, AsArray};

use super::*;
use crate::fields::{FieldRef, FieldValue};

fn required(builder: &mut EventBuilder, uid: &str, time: i64) {
    builder.put_text(col::EVENT_UID, uid);
    builder.put_time(col::TIME, time);
    builder.put_int(col::CLASS_UID, 6003);
    builder.put_int(col::ACTIVITY_ID, 1);
    builder.put_word(col::SOURCE, "test");
    builder.put_word(col::FORMAT, "test");
    builder.put_word(col::ORIGIN, "t");
    builder.put_flag(col::LATE, false);
}

#[test]
fn sparse_columns_are_null_where_nothing_was_put() {
    let mut builder = EventBuilder::new(Arc::default());
    for row in 0..4 {
        required(&mut builder, &format!("{row}"), row);
        if row == 2 {
            builder.put_word(col::POD_NAME, "web");
            builder.put_text(col::MESSAGE, "hello");
            builder.put_words(col::METADATA_LABELS, ["a", "b"]);
            builder.put_long(col::PROCESS_PID, 7);
            builder.put_int(col::RECORDS, 3);
        }
        builder.end_row();
    }
    let batch = builder.finish().unwrap();
    assert_eq!(batch.rows(), 4);
    let seen: Vec<_> = (0..4).map(|row| batch.word(col::POD_NAME).get(row)).collect();
    assert_eq!(seen, [None, None, Some("web"), None]);
    assert!(batch.text(col::MESSAGE).is_null(1) && batch.text(col::MESSAGE).is_null(3));
    assert_eq!(batch.text(col::MESSAGE).value(2), "hello");
    assert_eq!(batch.words(col::METADATA_LABELS).value(2).len(), 2);
    assert_eq!(batch.row_json(2)["process_pid"], 7);
    assert_eq!(batch.columns().column(col::DNS_QUERY.index()).null_count(), 4);
}

#[test]
fn abandoned_row_leaves_nothing_behind() {
    let mut builder = EventBuilder::new(Arc::default());
    required(&mut builder, "a", 1);
    builder.put_text(col::MESSAGE, "kept");
    builder.end_row();
    required(&mut builder, "gone", 2);
    builder.put_text(col::MESSAGE, "gone");
    builder.put_words(col::METADATA_LABELS, ["gone"]);
    builder.abandon_row();
    required(&mut builder, "b", 3);
    builder.end_row();
    let batch = builder.finish().unwrap();
    assert_eq!((batch.rows(), batch.uid(1)), (2, "b"));
    assert!(batch.text(col::MESSAGE).is_null(1) && batch.words(col::METADATA_LABELS).is_null(1));
    required(&mut builder, "c", 4);
    builder.end_row();
    assert_eq!(builder.finish().unwrap().uid(0), "c");
}

#[test]
fn abandoned_row_leaves_no_trace_in_the_dictionaries() {
    // Words of sixteen bytes and less are known by their outline, longer ones are compared; nine share slots.
    let spelled =
        |n: usize| if n.is_multiple_of(2) { format!("w{n}") } else { format!("a word that is long enough {n}") };
    let mut builder = EventBuilder::new(Arc::new(FieldPlan::new(["x", "y"])));
    for batch in 0..2 {
        let mut kept = Vec::new();
        for n in 0..60 {
            let word = spelled(n % 23 + batch);
            // Abandoned rows bring new words, known ones, and words that a later row brings again.
            let abandoned = [format!("secret {n}"), word.clone(), spelled(n + 1)][n % 3].clone();
            required(&mut builder, "gone", n as i64);
            builder.put_word(col::POD_NAME, &abandoned);
            for value in [FieldRef::Str(&abandoned), FieldRef::Int(-1), FieldRef::Str(&word), FieldRef::Str("twice")] {
                builder.fields().put(0, value);
            }
            builder.fields().put(1, FieldRef::Str("only ever abandoned"));
            builder.abandon_row();
            required(&mut builder, "kept", n as i64);
            builder.put_word(col::POD_NAME, &word);
            builder.fields().put(0, FieldRef::Str(&word));
            builder.end_row();
            kept.push(word);
        }
        let batch = builder.finish().unwrap();
        let mut distinct: Vec<&str> = Vec::new();
        for word in &kept {
            if !distinct.contains(&word.as_str()) {
                distinct.push(word);
            }
        }
        let pods = batch.word(col::POD_NAME);
        assert!(kept.iter().enumerate().all(|(row, word)| pods.get(row) == Some(word.as_str())));
        let words = batch.columns().column(col::POD_NAME.index()).as_dictionary::<Int32Type>();
        let words: Vec<_> = words.values().as_string::<i32>().iter().flatten().collect();
        assert_eq!(words, distinct);
        let [x, y] = batch.fields() else { panic!("two fields are planned") };
        let values: Vec<_> = distinct.iter().map(|&word| FieldValue::Str(word.into())).collect();
        assert_eq!(x.values(), values);
        for (row, word) in kept.iter().enumerate() {
            let code = distinct.iter().position(|known| known == word).unwrap();
            assert_eq!(x.codes(row), [code as u32]);
        }
        assert!(y.values().is_empty() && y.codes(0).is_empty());
    }
}

#[test]
fn lengths_end_where_offsets_do() {
    let most = i32::MAX as usize;
    for (length, expected) in [(0, Some(0)), (most, Some(i32::MAX)), (most + 1, None), (usize::MAX, None)] {
        assert_eq!(end(length), expected);
    }
}

#[test]
fn first_value_of_a_cell_stays_and_missing_required_is_an_error() {
    let mut builder = EventBuilder::new(Arc::default());
    required(&mut builder, "a", 1);
    builder.put_word(col::SOURCE, "other");
    builder.end_row();
    assert_eq!(builder.finish().unwrap().word(col::SOURCE).get(0), Some("test"));
    builder.put_text(col::EVENT_UID, "only this");
    builder.end_row();
    assert!(builder.finish().is_err());
}

#[test]
fn words_that_look_alike_stay_apart_and_come_back_in_order() {
    // The same begin, end and length; or nothing but a begin and an end; or what padding would make the same.
    let alike = ["", "\0", "\0\0", "a", "ab", "abc", "abcd", "abcdabcd", "abcdefgh", "abcdefghabcdefgh"];
    let longer = (0..40).map(|n| format!("system:node:{n:02}:of-the-cluster"));
    let words: Vec<String> = alike.iter().map(|&word| word.to_owned()).chain(longer).collect();
    let mut builder = EventBuilder::new(Arc::default());
    for batch in 0..2 {
        let of = |row: usize| &words[(row * 7 + row / 50 + batch) % words.len()];
        for row in 0..300 {
            required(&mut builder, "u", row as i64);
            builder.put_word(col::POD_NAME, of(row));
            if row % 3 == 0 {
                builder.put_flag(col::TRUNCATED, row % 2 == 0);
            }
            builder.end_row();
        }
        let batch = builder.finish().unwrap();
        let pods = batch.word(col::POD_NAME);
        assert!((0..300).all(|row| pods.get(row) == Some(of(row).as_str())));
        let flags = batch.columns().column(col::TRUNCATED.index()).as_boolean();
        let flag = |row: usize| flags.is_valid(row).then(|| flags.value(row));
        assert!((0..300).all(|row| flag(row) == (row % 3 == 0).then_some(row % 2 == 0)));
    }
}
