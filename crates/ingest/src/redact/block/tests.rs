//! Blocks under keys that tell of a secret go as a whole, and nothing else does.

use super::*;
use crate::redact::{RedactionRules, Redactor};

fn text(input: &str) -> (String, u64) {
    let mut counts = RedactionCounts::default();
    (Redactor::default().text(input, &mut counts).into_owned(), counts.total())
}

#[test]
fn blocks_go_as_far_as_they_are_indented() {
    for (input, expected, count) in [
        ("clientSecret: |\n  PLANTED\n  PLANTED: x\nnext: y\n", "clientSecret: <redacted:api_key>\nnext: y\n", 1),
        ("a:\n  password: >-\n    PLANTED\n\n     PLANTED\n  b: c", "a:\n  password: <redacted:password>\n  b: c", 1),
        ("password: |\n PLANTED", "password: <redacted:password>", 1),
        ("password: |2-  # why\r\n    PLANTED\r\n\r\nb: c\r\n", "password: <redacted:password>\r\n\r\nb: c\r\n", 1),
        ("- api.key: |\n    PLANTED\n  b: c\n", "- api.key: <redacted:api_key>\n  b: c\n", 1),
        (
            "- - 'token': !!str &t |+\n      PLANTED\n\n    b: c",
            "- - 'token': !!str &t <redacted:token>\n\n    b: c",
            1,
        ),
        ("\"aws_secret_access_key\": |\n  PLANTED", "\"aws_secret_access_key\": <redacted:aws_secret_key>", 1),
        ("DB_PWD: |\n\tPLANTED\nDB_PASS: >\n\tPLANTED", "DB_PWD: <redacted:password>\nDB_PASS: <redacted:password>", 2),
        ("session_secret: |\n  PLANTED", "session_secret: <redacted:api_key>", 1),
        ("authorization: |\n  Basic PLANTED", "authorization: <redacted:authorization>", 1),
        (
            "app: |\n  password: |\n    PLANTED\n  b: |\n    c\n",
            "app: |\n  password: <redacted:password>\n  b: |\n    c\n",
            1,
        ),
        ("cat <<EOF\npassword: |\n  PLANTED\nEOF", "cat <<EOF\npassword: <redacted:password>\nEOF", 1),
        ("echo \"password: |\n  PLANTED\n\" > x", "echo \"password: <redacted:password>\n\" > x", 1),
        // Line breaks that are spelled out, also inside strings inside strings.
        (r#"{"a":"password: |\n  PLANTED\nb: c","d""#, r#"{"a":"password: <redacted:password>\nb: c","d""#, 1),
        (
            r#"{"a":"x:\n  password: |\n   PLANTED \"q\" PLANTED","d":1,"#,
            r#"{"a":"x:\n  password: <redacted:password>","d":1,"#,
            1,
        ),
        (
            r#"{"a":"{\"b\":\"password: |\\n  PLANTED\\n\"}","#,
            r#"{"a":"{\"b\":\"password: <redacted:password>\\n\"}","#,
            1,
        ),
        // Shapes keep their kinds.
        (
            "private_key: |\n  -----BEGIN PRIVATE KEY-----\n  PLANTED\n  -----END PRIVATE KEY-----\n",
            "private_key: |\n  <redacted:private_key>\n",
            1,
        ),
        // Nothing secret here.
        ("password: |\nnext: y", "password: |\nnext: y", 0),
        ("description: |\n  the password\ntls.key: >\n  x", "description: |\n  the password\ntls.key: >\n  x", 0),
        ("secretName: |\n  a\npasswords: |\n  b", "secretName: |\n  a\npasswords: |\n  b", 0),
        ("cat token | tee x\n  y", "cat token | tee x\n  y", 0),
    ] {
        assert_eq!(text(input), (expected.to_owned(), count), "{input}");
        assert!(!expected.contains("PLANTED"));
        assert_eq!(text(expected), (expected.to_owned(), 0), "redacting twice changes nothing");
        if input.starts_with('{') {
            continue;
        }
        // The scan suspects it, in a config map and in an annotation.
        let document = serde_json::json!({"kind": "ConfigMap", "data": {"app.yaml": input}}).to_string();
        let document = serde_json::json!({"metadata": {"annotations": {"last-applied": document}}}).to_string();
        let mut counts = RedactionCounts::default();
        let shown = Redactor::default().json(&document, 64, &mut counts);
        assert_eq!((shown.is_some(), counts.total()), (count > 0, count), "{input}");
        assert!(!shown.unwrap_or_default().contains("PLANTED"));
    }
}

#[test]
fn blocks_in_queries_go_as_well() {
    let query = "/exec?command=sh&command=cat+%3C%3CE%0Adb_secret%3A+%7C%0A++PLANTED%0AE";
    let document = serde_json::json!({ "requestURI": query }).to_string();
    let mut counts = RedactionCounts::default();
    let shown = Redactor::default().json(&document, 64, &mut counts).unwrap();
    assert!(!shown.contains("PLANTED") && counts.total() == 1, "{shown}");
}

#[test]
fn blocks_that_are_kept_or_of_a_kind_that_is_off_stay() {
    for (rules, input) in [
        ("[[keep]]\nregex = 'changeme'", "password: |\n  changeme\nb: c"),
        ("[builtin]\noff = [\"password\"]", "password: |\n  x\nb: c"),
    ] {
        let redactor = Redactor::with_rules(RedactionRules::parse(rules).unwrap());
        assert_eq!(redactor.text(input, &mut RedactionCounts::default()), input);
    }
}

#[test]
fn blocks_take_time_linear_in_their_length() {
    // Once for each pair of lines, this would take minutes.
    for (unit, count) in [("password: |\n", 0), ("password: |\\n", 0), ("password: |\n x\n", 40_000), ("x: |\\n  ", 0)]
    {
        let input = unit.repeat(40_000);
        assert_eq!(text(&input).1, count, "{unit}");
    }
    let nested: String = (0..2_000).map(|depth| format!("{}password: |\n", " ".repeat(depth))).collect();
    assert_eq!(text(&nested).1, 1);
}
