//! Texts and the records that they are cut into, however they come in.

use std::io::Read;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A content that comes in pieces of the given sizes, over and over; it breaks at the end if told so.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    sizes: Vec<usize>,
    turn: usize,
    breaks: bool,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.bytes.len() && self.breaks {
            return Err(io::Error::other("broken"));
        }
        let size = self.sizes[self.turn % self.sizes.len()].max(1).min(buffer.len()).min(self.bytes.len() - self.at);
        self.turn += 1;
        buffer[..size].copy_from_slice(&self.bytes[self.at..self.at + size]);
        self.at += size;
        Ok(size)
    }
}

fn pieces(text: &[u8], sizes: &[usize]) -> Content {
    Box::new(Pieces { bytes: text.to_vec(), at: 0, sizes: sizes.to_vec(), turn: 0, breaks: false })
}

/// (line, text) of all records that are not empty.
fn cut(content: Content, settings: &FileSettings) -> Vec<(i64, String)> {
    let mut records = Records::new(content, settings);
    let (mut cut, mut text, mut bytes) = (Vec::new(), Vec::new(), 0);
    while let Some(record) = records.next(&mut text).unwrap() {
        bytes += record.bytes;
        assert_eq!(records.bytes(), bytes);
        if !text.is_empty() {
            cut.push((record.line, String::from_utf8(std::mem::take(&mut text)).unwrap()));
        }
    }
    cut
}

fn texts(text: &str, settings: &FileSettings) -> Vec<String> {
    cut(pieces(text.as_bytes(), &[usize::MAX]), settings).into_iter().map(|record| record.1).collect()
}

#[test]
fn texts_are_cut_into_lines_and_documents() {
    for (text, expected) in [
        // Lines.
        ("{\"a\":1}\n{\"b\":2}\n", &[(1, "{\"a\":1}"), (2, "{\"b\":2}")][..]),
        ("{\"a\":1}\n\n  {\"b\":2}  \n", &[(1, "{\"a\":1}"), (3, "  {\"b\":2}  ")]),
        ("one\n{}\ntwo\n", &[(1, "one"), (2, "{}"), (3, "two")]),
        ("[INFO] up\n[2001-02-03] down\n", &[(1, "[INFO] up"), (2, "[2001-02-03] down")]),
        // Documents.
        ("{\n  \"a\": 1\n}\n", &[(1, "{\n  \"a\": 1\n}")]),
        ("{\r\n  \"a\": 1\r\n}\r\n{}\r\n", &[(1, "{\r\n  \"a\": 1\r\n}"), (4, "{}")]),
        ("\u{feff}{\n\"a\": 1}\n", &[(1, "{\n\"a\": 1}")]),
        ("{\n}\n\u{feff}{\n\"a\": 1}", &[(1, "{\n}"), (3, "\u{feff}{\n\"a\": 1}")]),
        ("[\n{\"a\":1},\n{\"b\":2}\n]\n[]", &[(1, "[\n{\"a\":1},\n{\"b\":2}\n]"), (5, "[]")]),
        ("{\"a\": {}\n, \"b\": [\n]\n}\nx", &[(1, "{\"a\": {}\n, \"b\": [\n]\n}"), (5, "x")]),
        ("{\"a\": [{}]\n}\n{\"a\": 1\n}", &[(1, "{\"a\": [{}]\n}"), (3, "{\"a\": 1\n}")]),
        ("{\n\n \n\"a\":\n\n1}\n\n{}", &[(1, "{\n\n \n\"a\":\n\n1}"), (8, "{}")]),
        // A bracket in a string is none.
        ("{\"a\": \"}\",\n\"b\": \"\\\"{\"\n}\n{}", &[(1, "{\"a\": \"}\",\n\"b\": \"\\\"{\"\n}"), (4, "{}")]),
        // Text after a complete document on its line is left to the decoder.
        ("{} {\n{}\n", &[(1, "{} {"), (2, "{}")]),
        ("{\n} trailing\n{}\n", &[(1, "{\n} trailing"), (3, "{}")]),
        // Lines that broke off.
        ("{\"a\":1,\n{\"b\":2}\n", &[(1, "{\"a\":1,"), (2, "{\"b\":2}")]),
        ("{\"a\":1\n{\"b\":2}\n", &[(1, "{\"a\":1"), (2, "{\"b\":2}")]),
        ("{\"a\":{}\n{\"b\":2}\n", &[(1, "{\"a\":{}"), (2, "{\"b\":2}")]),
        ("{\"a\n{\"b\":2}\n", &[(1, "{\"a"), (2, "{\"b\":2}")]),
        ("{\"a\":tr\n{\"b\":2}\n", &[(1, "{\"a\":tr"), (2, "{\"b\":2}")]),
        ("{\n\"a\": 1,\n\n{\n\"b\": 2\n}\n", &[(1, "{\n\"a\": 1,"), (4, "{\n\"b\": 2\n}")]),
        ("{\n\"a\": oops,\n\"b\": 2\n}\n{}", &[(1, "{\n\"a\": oops,"), (3, "\"b\": 2"), (4, "}"), (5, "{}")]),
        // The end comes too early.
        ("{}\n{\n\"a\": [", &[(1, "{}"), (2, "{\n\"a\": [")]),
        ("{}\n{\n\"a\": 1\n", &[(1, "{}"), (2, "{\n\"a\": 1")]),
        ("{\n\"a\": 1\n\n\n", &[(1, "{\n\"a\": 1")]),
    ] {
        let expected: Vec<_> = expected.iter().map(|(line, text)| (*line, (*text).to_owned())).collect();
        for sizes in [&[usize::MAX][..], &[1], &[2, 3]] {
            assert_eq!(cut(pieces(text.as_bytes(), sizes), &FileSettings::default()), expected, "{text:?}");
        }
        let lines = FileSettings { framing: Framing::Lines, ..FileSettings::default() };
        let plain: Vec<_> = text.trim_start_matches('\u{feff}').lines().filter(|l| !l.is_empty()).collect();
        assert_eq!(texts(text, &lines), plain, "{text:?}");
    }
}

#[test]
fn what_is_over_its_bound_is_one_record_one_byte_over_it() {
    let settings = FileSettings { record_bytes_max: 6, document_bytes_max: 12, ..FileSettings::default() };
    for (text, expected) in [
        ("1234567890\n{\"a\":12345}\n{}\n", &["1234567", "{\"a\":12345}", "{}"][..]),
        ("{\"a\":123456}\n{\"a\":12345678}\n{}", &["{\"a\":123456}", "{\"a\":12345678", "{}"]),
        // A document is read to its end, so that its inner lines pass for nothing else.
        ("[\n{\"a\":1},\n{\"b\":2},\n{\"c\":3},\n{\"d\":4}\n]\n{}\n", &["[\n{\"a\":1},\n{\"", "{}"]),
        ("[\n1,\r\n2,\r\n3,\r\n4\n]\n{}\n", &["[\n1,\r\n2,\r\n3,\r", "{}"]),
        ("[\n1,\n\n\n2,\n\n\n\n\n\n3\n]\n{}\n", &["[\n1,\n\n\n2,\n\n\n\n", "{}"]),
        // How a single line goes on beyond the bound is not known.
        ("[\n\"1234567890123\",\n2\n]\n{}\n", &["[\n\"1234567890", "2", "]", "{}"]),
        ("[1,2,3,4,5,6,7,\n8]\n{}\n", &["[1,2,3,4,5,6,", "8]", "{}"]),
    ] {
        assert_eq!(texts(text, &settings), expected, "{text:?}");
    }
    // A bound on lines is one on documents too.
    let settings = FileSettings { record_bytes_max: 9, document_bytes_max: 2, ..FileSettings::default() };
    assert_eq!(texts("{\n\"a\":1\n}\n{\n\"a\":123\n}", &settings), ["{\n\"a\":1\n}", "{\n\"a\":123\n"]);
}

#[test]
fn white_space_is_looked_through_to_its_bound_however_it_comes_in() {
    for (count, records) in [(60_000, 1), (70_000, 2)] {
        for gap in [" ".repeat(count), "\n".repeat(count), " \t\r\n".repeat(count / 4)] {
            let text = format!("{}\n{{\"a\":\n{gap}\n1}}", "x".repeat(200_000));
            let cuts = [&[usize::MAX][..], &[1000], &[77, 30_000]]
                .map(|sizes| cut(pieces(text.as_bytes(), sizes), &FileSettings::default()));
            assert_eq!(cuts[0].iter().filter(|r| r.1.contains(['{', '}'])).count(), records);
            assert!(cuts.iter().all(|other| *other == cuts[0]));
        }
    }
}

#[test]
fn a_head_is_the_beginning_of_the_first_record() {
    for (text, expected) in [
        ("\n\n{\n\"a\": 1\n}\n{}", Some("{\n\"a\": 1")),
        ("{\n}\n{}", Some("{\n}")),
        ("a long line\n{}", Some("a long l")),
        ("[1,\n2,\n3,\n4,\n5]", Some("[1,\n2,\n3")),
        ("\n\n", None),
        ("", None),
    ] {
        let head = head(pieces(text.as_bytes(), &[3]), Framing::Documents, 8).unwrap();
        assert_eq!(head.as_deref(), expected.map(str::as_bytes), "{text:?}");
    }
}

#[test]
fn a_record_that_reaches_into_what_cannot_be_read_is_not_consumed() {
    for (text, whole) in [
        ("{}\n{\"a\":1}\n", "{}\n{\"a\":1}\n"),
        ("{}\n{\"a\":", "{}\n"),
        ("{}\n{\n\"a\":1,\n", "{}\n"),
        ("{}\n{\n\"a\":1,\n\n  ", "{}\n"),
        ("{}\n{\n\"a\":1\n}\n", "{}\n{\n\"a\":1\n}\n"),
        ("{}\nline\n", "{}\nline\n"),
        ("{}\n{\"a\n", "{}\n{\"a\n"),
        ("{\n\"a\":1\n", ""),
    ] {
        for sizes in [&[usize::MAX][..], &[1], &[4]] {
            let bytes = text.as_bytes().to_vec();
            let content = Box::new(Pieces { bytes, at: 0, sizes: sizes.to_vec(), turn: 0, breaks: true });
            let mut records = Records::new(content, &FileSettings::default());
            let mut kept = Vec::new();
            let fault = loop {
                let before = kept.len();
                match records.next(&mut kept) {
                    Ok(record) => assert!(record.is_some(), "{text:?}"),
                    Err(e) => {
                        assert_eq!(kept.len(), before, "{text:?}");
                        break e;
                    }
                }
            };
            assert_eq!(fault.to_string(), "broken");
            assert_eq!(records.bytes(), whole.len() as u64, "{text:?}");
            assert_eq!(records.hash(), *blake3::hash(whole.as_bytes()).as_bytes(), "{text:?}");
        }
    }
}

/// What the records are if every line of a document is looked at, without shortcuts.
fn plainly(text: &str) -> Vec<String> {
    let (mut lines, mut ends): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in text.split_inclusive('\n') {
        let bare = line.strip_suffix("\r\n").or(line.strip_suffix('\n')).unwrap_or(line);
        lines.push(bare);
        ends.push(&line[bare.len()..]);
    }
    let (mut records, mut at) = (Vec::new(), 0);
    while at < lines.len() {
        let mut record = lines[at].to_owned();
        if framing::opens(lines[at].as_bytes()) {
            let mut document = Document::new();
            while document.line(lines[at].as_bytes()) == LineEnd::GoesOn {
                let rest = lines[at + 1..].concat();
                let next = rest.bytes().find(|byte| !framing::is_white(*byte));
                if !next.is_some_and(|byte| document.can_go_on_with(byte)) {
                    break;
                }
                record = record + ends[at] + lines[at + 1];
                at += 1;
            }
        }
        records.push(record);
        at += 1;
    }
    records.retain(|record| !record.is_empty());
    records
}

fn json() -> impl Strategy<Value = Value> {
    let text = prop_oneof!["[a-z {}\\[\\],:]{0,8}", "[\"\\\\\n\r\t/u{}]{0,4}", "\\PC{0,6}"];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(text.clone(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn documents_come_back_however_they_are_written_and_read(
        values in proptest::collection::vec((json(), any::<bool>(), 0usize..3), 0..12),
        carriage in any::<bool>(),
        sizes in proptest::collection::vec(1usize..50, 1..5),
    ) {
        let end = if carriage { "\r\n" } else { "\n" };
        let (mut text, mut expected, mut line) = (String::new(), Vec::new(), 1);
        for (value, pretty, blank) in &values {
            let written = if *pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
            let written = written.unwrap().replace('\n', end);
            text += &written;
            text += &end.repeat(blank + 1);
            let lines = written.matches('\n').count() + 1;
            expected.push((line as i64, written));
            line += lines + blank;
        }
        prop_assert_eq!(cut(pieces(text.as_bytes(), &sizes), &FileSettings::default()), expected);
    }

    #[test]
    fn shortcuts_change_nothing(
        text in prop_oneof!["[{}\\[\\],:\"\\\\ \n\r1t]{0,60}", "(\\{\"a\":|[\\[,1\n]|\\}|\\]|\n|\\{\\}|\\{|\"b\":|\"x\"| ){0,40}"],
        sizes in proptest::collection::vec(1usize..9, 1..4),
    ) {
        let found: Vec<String> =
            cut(pieces(text.as_bytes(), &sizes), &FileSettings::default()).into_iter().map(|r| r.1).collect();
        prop_assert_eq!(found, plainly(&text));
    }
}
