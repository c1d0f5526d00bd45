//! What a payload tells before it is read: never that a keyword cannot hold where it does.

use super::*;
use crate::text::Case;

#[test]
fn long_escapes_are_seen_and_backslashes_in_pairs_are_not_taken_for_them() {
    for (payload, expected) in [
        (r#"{"a":"b"}"#, true),
        (r#"{"a":"\"b\n"}"#, true),
        (r#"{"a":"c:\\users\\/x"}"#, true),
        (r#"{"a":"\u0041"}"#, false),
        (r#"{"a":"\/"}"#, false),
        (r#"{"a":"\\\u0041"}"#, false),
        (r#"{"a":"\\\\u0041"}"#, true),
        (r#"{"a":"c:\\users","b":"\u0041"}"#, false),
    ] {
        assert_eq!(has_short_escapes_only(payload), expected, "{payload}");
    }
}

#[test]
fn longer_escapes_are_written_short() {
    for (payload, expected) in [
        (r#"{"a":"\u0041\/b"}"#, Some(r#"{"a":"A/b"}"#)),
        (r#"{"a":"\u0022\u005c\u000a\u0009"}"#, Some(r#"{"a":"\"\\\n\t"}"#)),
        (r#"{"a":"\u00e9\n"}"#, Some(r#"{"a":"é\n"}"#)),
        // Halves of characters are for who reads all of it.
        (r#"{"a":"\ud83d\ude00"}"#, None),
        (r#"{"a":"\u12"}"#, None),
        (r#"{"a":"\"#, None),
    ] {
        assert_eq!(shortened(payload).as_deref(), expected, "{payload}");
    }
}

#[test]
fn keys_are_told_from_values() {
    for (text, within, expected) in [
        (r#"{"a directory":1}"#, "direct", true),
        (r#"{"a":"directory"}"#, "direct", false),
        (r#"{"a":"directory:"}"#, "directory", false),
        // An escaped quote ends nothing.
        (r#"{"a dir\":":1}"#, "dir", true),
        (r#"{"a":"dir\":"}"#, "dir", false),
        // Too far from its end to be a key's that is looked at: taken for a value, which costs time only.
        (&format!(r#"{{"dir{}":1}}"#, "x".repeat(KEY_MAX)), "dir", false),
    ] {
        let end = text.find(within).unwrap() + within.len();
        assert_eq!(is_within_key(text.as_bytes(), end), expected, "{text}");
    }
}

#[test]
fn no_keyword_that_holds_is_missed() {
    let keywords = ["dir", "a \"b\"", "c:\\users", "é/x", "tab\there"];
    let atoms: Vec<Vec<Predicate>> =
        keywords.iter().map(|keyword| vec![Predicate::Contains(Case::Folded, fold(keyword).into())]).collect();
    let watched: Vec<u32> = (0..keywords.len() as u32).collect();
    let scan = PayloadScan::new(&atoms, &watched).unwrap();
    let mut buffer = String::new();
    let mut hits = Hits::default();
    for (atom, keyword) in (0u32..).zip(keywords) {
        let value = serde_json::json!({"key dir": 1, "k": format!("..{keyword}..")}).to_string();
        // The same with all that can be escaped, and what is no JSON at all.
        let escaped: String = value
            .chars()
            .map(|c| {
                if c == '/' {
                    r"\/".into()
                } else if c == 'é' {
                    r"\u00e9".into()
                } else {
                    String::from(c)
                }
            })
            .collect();
        for (payload, kind) in [
            (&value, Payload::Json),
            (&value, Payload::Unknown),
            (&escaped, Payload::Json),
            (&escaped, Payload::Unknown),
            (&format!("{{ {keyword}"), Payload::Unknown),
            (&format!("no json: {keyword}"), Payload::Unknown),
        ] {
            hits.begin(keywords.len());
            scan.payload(payload, kind, &mut buffer, &mut hits);
            assert!(hits.atoms.contains(&atom), "{keyword} in {payload}");
        }
    }
    // A key is no value, where it is known to be a key.
    for (payload, kind, expected) in [
        (r#"{"dir":1}"#, Payload::Json, false),
        (r#"{"dir":1}"#, Payload::Unknown, false),
        (r#"{"dir":1"#, Payload::Unknown, true),
        (r#"{"dir":1e999}"#, Payload::Unknown, true),
    ] {
        hits.begin(keywords.len());
        scan.payload(payload, kind, &mut buffer, &mut hits);
        assert_eq!(hits.atoms.contains(&0), expected, "{payload}");
    }
}
