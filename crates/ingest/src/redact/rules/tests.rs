//! Rules of a file: what they replace, wherever it stands, and how mistakes are told.

use super::*;
use crate::redact::{RedactionCounts, Redactor};

/// One rule of each kind.
const RULES: &str = r#"
[builtin]
off = ["slack_token"]
[[pattern]]
kind = "employee_number"
regex = 'EMP-(?P<secret>[0-9]{6})'
needles = ["emp-"]
[[pattern]]
kind = "badge"
regex = '(?i)badge id [a-z]{4}'
needles = ["badge id"]
[[key]]
kind = "pin"
names = ["pin", "card_number", "example.com/code"]
[[key]]
kind = "password"
names = ["kennwort"]
[[path]]
kind = "session"
paths = ["requestObject.spec.sessionKey", "members.seal"]
[[keep]]
regex = 'example-[a-z]+|0'
"#;

fn redactor(text: &str) -> Redactor {
    Redactor::with_rules(RedactionRules::parse(text).unwrap())
}

/// The text redacted, with the names and numbers of what was found.
fn json(redactor: &Redactor, input: &str) -> (String, String) {
    let mut counts = RedactionCounts::default();
    let out = redactor.json(input, 64, &mut counts);
    (out.unwrap_or_else(|| input.to_owned()), spelled(&counts))
}

fn spelled(counts: &RedactionCounts) -> String {
    counts.by_kind().map(|(kind, count)| format!("{kind} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn rules_of_a_file_replace_in_documents() {
    let redactor = redactor(RULES);
    for (input, expected, counts) in [
        // Patterns, in values, keys, queries and JSON inside strings.
        (
            r#"{"a":"by EMP-123456, EMP-1","EMP-654321":1,"n":{"b":["x BADGE ID abcd"]}}"#,
            r#"{"a":"by EMP-<redacted:employee_number>, EMP-1","EMP-<redacted:employee_number>":1,"n":{"b":["x <redacted:badge>"]}}"#,
            "badge 1, employee_number 2",
        ),
        (r#"{"u":"/x?q=badge%20id+wxyz&r=1"}"#, r#"{"u":"/x?q=<redacted:badge>&r=1"}"#, "badge 1"),
        (
            r#"{"a":"{\"b\":\"EMP-123456\"}"}"#,
            r#"{"a":"{\"b\":\"EMP-<redacted:employee_number>\"}"}"#,
            "employee_number 1",
        ),
        (r#"{"a":"\u0045MP-123456"}"#, r#"{"a":"EMP-<redacted:employee_number>"}"#, "employee_number 1"),
        // Keys: whatever joins their words, and everything under them.
        (
            r#"{"Pin":"1","PIN_":2,"cardNumber":{"a":[true,null,""]},"card-number":"x","example.com\/code":"y","pins":3}"#,
            r#"{"Pin":"<redacted:pin>","PIN_":"<redacted:pin>","cardNumber":{"a":["<redacted:pin>",null,""]},"card-number":"<redacted:pin>","example.com/code":"<redacted:pin>","pins":3}"#,
            "pin 5",
        ),
        (r#"{"a":"{\"c.ard_number\":77}"}"#, r#"{"a":"{\"c.ard_number\":\"<redacted:pin>\"}"}"#, "pin 1"),
        (
            r#"[{"name":"PIN","value":"1"},{"name":"x","value":"1"}]"#,
            r#"[{"name":"PIN","value":"<redacted:pin>"},{"name":"x","value":"1"}]"#,
            "pin 1",
        ),
        (r#"{"kennwort":"x"}"#, r#"{"kennwort":"<redacted:password>"}"#, "password 1"),
        // Exact places: members of lists count each, and dots may be part of a key.
        (
            r#"{"requestObject":{"spec":{"sessionKey":"x"},"sessionKey":"y","spec.sessionKey":7},"sessionKey":"z"}"#,
            r#"{"requestObject":{"spec":{"sessionKey":"<redacted:session>"},"sessionKey":"y","spec.sessionKey":"<redacted:session>"},"sessionKey":"z"}"#,
            "session 2",
        ),
        (
            r#"{"members":[{"seal":"x"},{"seal":["y"]}],"a":{"members":{"seal":"z"}}}"#,
            r#"{"members":[{"seal":"<redacted:session>"},{"seal":["<redacted:session>"]}],"a":{"members":{"seal":"z"}}}"#,
            "session 2",
        ),
        (
            r#"{"requestObject":"{\"spec\":{\"sessionKey\":1}}"}"#,
            r#"{"requestObject":"{\"spec\":{\"sessionKey\":\"<redacted:session>\"}}"}"#,
            "session 1",
        ),
        // What is kept, is switched off, or is built in.
        (
            r#"{"pin":"example-pin","password":"example-pin","card_number":0,"pass":"password=example-b password=example-1"}"#,
            r#"{"pin":"example-pin","password":"example-pin","card_number":0,"pass":"password=example-b password=<redacted:password>"}"#,
            "password 1",
        ),
        (
            r#"{"kind":"Secret","data":{"a":"example-a","b":"x"}}"#,
            r#"{"kind":"Secret","data":{"a":"example-a","b":"<redacted:k8s_secret>"}}"#,
            "k8s_secret 1",
        ),
        (r#"{"a":"xoxb-1234567890-abcdefgh"}"#, r#"{"a":"xoxb-1234567890-abcdefgh"}"#, ""),
        (
            r#"{"a":"emp-123456 badge pins","seal":"x","spec":{"sessionKey":"x"}}"#,
            r#"{"a":"emp-123456 badge pins","seal":"x","spec":{"sessionKey":"x"}}"#,
            "",
        ),
    ] {
        assert_eq!(json(&redactor, input), (expected.to_owned(), counts.to_owned()), "{input}");
        assert_eq!(json(&redactor, expected), (expected.to_owned(), String::new()), "redacting twice changes nothing");
    }
}

#[test]
fn rules_of_a_file_replace_in_texts_cells_and_remains() {
    let redactor = redactor(RULES);
    let mut counts = RedactionCounts::default();
    let line = "type=EXECVE msg=audit(1.1:1): a0=\"tool\" a1=\"EMP-123456\" password=hunter2";
    assert_eq!(
        redactor.text(line, &mut counts),
        "type=EXECVE msg=audit(1.1:1): a0=\"tool\" a1=\"EMP-<redacted:employee_number>\" password=<redacted:password>"
    );
    for (name, cell, expected) in [
        ("Card Number", "1234", "1234"),
        ("CARD_NUMBER", "1234", "<redacted:pin>"),
        ("members.seal", "x", "<redacted:session>"),
        ("note", "EMP-123456", "EMP-<redacted:employee_number>"),
        ("pin", "example-x", "example-x"),
        ("pin", "<redacted:pin>", "<redacted:pin>"),
        ("pin", "", ""),
    ] {
        assert_eq!(redactor.named(name, cell.to_owned(), &mut counts), expected, "{name}");
    }
    assert_eq!(spelled(&counts), "employee_number 2, password 1, pin 1, session 1");
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(redactor.unnamed(&names(&["a", "pin"]), &mut counts).as_deref(), Some("<redacted:pin>"));
    assert_eq!(redactor.unnamed(&names(&["a", "seal"]), &mut counts), None);
    for input in [
        r#"{"pin":"PLANTED","#,
        r#"{"Card-Number" : ["PLANTED""#,
        r#"{"a":"{\"pin\":\"PLANTED\"","#,
        r#"{"requestObject":{"spec":{"sessionKey":"PLANTED""#,
        r#"{"pin":"PLANTED"}"#,
        r#"{"example.com\/code":"PLANTED""#,
        "x badge id PLANTED".replace("PLANTED", "abcd").as_str(),
        "{\"x\": EMP-123456",
    ] {
        let mut counts = RedactionCounts::default();
        let kept = redactor.remains(input.as_bytes(), 4096, 64, &mut counts);
        let planted = ["PLANTED", "abcd", "123456"].iter().any(|secret| kept.contains(secret));
        assert!(!planted && counts.total() > 0, "{input}: {kept}");
    }
}

#[test]
fn a_marker_is_no_secret_whatever_an_expression_fits() {
    for (regex, input, expected) in [
        ("[a-z]+", "password=Abc 12", "<redacted:own>=A<redacted:own> 12"),
        ("[a-z:<>_]+", "a <redacted:jwt> b", "<redacted:own> <redacted:jwt> <redacted:own>"),
        (".+", "<redacted:jwt> and more", "<redacted:jwt><redacted:own>"),
        (".+", "more <redacted:jwt>", "<redacted:own>"),
        ("(?s).{3}", "12<redacted:jwt><redacted:jwt>3", "<redacted:own><redacted:jwt>3"),
        ("redacted", "<redacted:jwt>redacted", "<redacted:jwt><redacted:own>"),
    ] {
        let rules = format!("builtin.off = [\"password\"]\n[[pattern]]\nkind = \"own\"\nregex = '{regex}'\n");
        let redactor = redactor(&rules);
        let text = |text: &str| redactor.text(text, &mut RedactionCounts::default()).into_owned();
        let shown = text(input);
        assert_eq!(shown, expected, "{regex}");
        assert_eq!(text(&shown), shown, "{regex}: redacting twice changes nothing");
    }
    // Without needles an expression is tried on every payload.
    let redactor = redactor("[[pattern]]\nkind = \"own\"\nregex = '^[0-9]+$'\n");
    assert_eq!(json(&redactor, r#"{"a":"77","b":"x7"}"#).0, r#"{"a":"<redacted:own>","b":"x7"}"#);
}

#[test]
fn built_in_kinds_can_be_switched_off() {
    for (kind, input) in [
        ("k8s_secret", r#"{"kind":"Secret","data":{"a":"x"}}"#),
        ("k8s_secret", r#"{"a":"kind: Secret\ndata:\n  a: x"}"#),
        ("password", r#"{"password":"x","a":"--password x","args":["--password","x"]}"#),
        ("api_key", r#"{"kind":"ConfigMap","data":{"DB_SECRET":"x"},"env":[{"name":"SECRET_KEY","value":"x"}]}"#),
        ("jwt", r#"{"a":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"}"#),
    ] {
        assert_ne!(json(&Redactor::default(), input).1, "", "{input}");
        let off = redactor(&format!("[builtin]\noff = [\"{kind}\"]"));
        assert_eq!(json(&off, input), (input.to_owned(), String::new()), "{input}");
    }
    let off = redactor("[builtin]\noff = [\"k8s_secret\"]");
    let shown = json(&off, r#"{"kind":"Secret","data":{"password":"x","a":"y"}}"#).0;
    assert_eq!(shown, r#"{"kind":"Secret","data":{"password":"<redacted:password>","a":"y"}}"#, "names still count");
    let kept = off.remains(br#"{"data":{"a":"y""#, 64, 64, &mut RedactionCounts::default());
    assert_eq!(kept, r#"{"data":{"a":"y""#);
}

#[test]
fn a_file_that_says_nothing_changes_nothing() {
    let empty = redactor("# nothing\n");
    for input in [r#"{"password":"x","pin":"y"}"#, r#"{"a":1}"#, r#"{"a":"AKIAIOSFODNN7EXAMPLE EMP-123456"}"#] {
        assert_eq!(json(&empty, input), json(&Redactor::default(), input));
    }
    assert_eq!(RedactionRules::parse(RULES).unwrap().text(), RULES);
}

#[test]
fn the_file_that_the_docs_show_is_one() {
    let page = include_str!("../../../../../docs/redaction.md");
    let shown = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let redactor = redactor(shown);
    let (shown, counts) = json(&redactor, r#"{"a":"EMP-123456","card-number":1,"password":"changeme"}"#);
    assert_eq!(counts, "employee_number 1, pin 1", "{shown}");
    for kind in SecretKind::ALL {
        assert!(page.contains(&format!("`{}`", kind.name())), "{kind:?} is told of");
    }
}

#[test]
fn mistakes_name_their_key_and_line() {
    let pattern = |more: &str| format!("\n[[pattern]]\nkind = \"a\"\nregex = 'x+'\n{more}");
    let many = "[[pattern]]\nkind = \"a\"\nregex = 'x'\n".repeat(PATTERNS_MAX + 1);
    for (text, key, line, why) in [
        ("[builtin]\noff = [\"jwt\", \"jvt\"]".to_owned(), "builtin.off[1]", 2, "no built-in kind `jvt`"),
        ("[[pattern]]\nkind = \"A-b\"\nregex = 'x'".into(), "pattern[0].kind", 2, "lower-case"),
        ("[[pattern]]\nkind = \"\"\nregex = 'x'".into(), "pattern[0].kind", 2, "no kind"),
        (pattern("[[pattern]]\nkind = \"a\"\nregex = 'x('"), "pattern[1].regex", 7, "unclosed group"),
        ("[[pattern]]\nkind = \"a\"\nregex = '(\\w{200}){200}'".into(), "pattern[0].regex", 3, "size limit"),
        ("[[pattern]]\nkind = \"a\"\nregex = 'x*'".into(), "pattern[0].regex", 3, "empty text"),
        (pattern("needles = [\"xyz\", \"XYZ\"]"), "pattern[0].needles", 5, "lower case"),
        (pattern("needles = [\"a/bc\"]"), "pattern[0].needles", 5, "no slashes"),
        (pattern("needles = [\"é-é\"]"), "pattern[0].needles", 5, "ASCII"),
        (pattern("needles = [\"xy\"]"), "pattern[0].needles", 5, "3 to 128"),
        (pattern("needle = \"xyz\""), "needle", 5, "unknown field"),
        (many, "pattern[256]", 3 * PATTERNS_MAX + 2, "more than 256"),
        ("[[key]]\nkind = \"a\"\nnames = []".into(), "key[0].names", 2, "names nothing"),
        ("[[key]]\nkind = \"a\"\nnames = [\"ok\",\n\"a\\\"b\"]".into(), "key[0].names", 4, "quotes"),
        ("[[key]]\nkind = \"a\"\nnames = [\"_.-\"]".into(), "key[0].names", 3, "nothing but"),
        ("[[path]]\nkind = \"a\"\npaths = [\"a..b\"]".into(), "path[0].paths", 3, "empty step"),
        ("[[path]]\nkind = \"a\"\npaths = [\"\"]".into(), "path[0].paths", 3, "1 to 128"),
        (pattern("needles = [\"\"]"), "pattern[0].needles", 5, "3 to 128"),
        (pattern(&format!("needles = [\"{}\"]", "x".repeat(129))), "pattern[0].needles", 5, "3 to 128"),
        (
            "[[pattern]]\nkind = \"a\"\nregex = 'EMP-1'\nneedles = [\"emp-\", \"badge\"]".into(),
            "pattern[0].needles",
            4,
            "never",
        ),
        ("[[keep]]\nregex = 'a)|(b'".into(), "keep[0].regex", 2, "unopened group"),
        ("[[keep]]\nregex = '.*'".into(), "keep[0].regex", 2, "empty text"),
        ("[[keep]]\nregex = ''".into(), "keep[0].regex", 2, "empty text"),
        ("[[keep]]\nregex = 'ok'\n[[keep]]\nregex = 'x|'".into(), "keep[1].regex", 4, "empty text"),
        ("[[keep]]\nregex = '(changeme)?'".into(), "keep[0].regex", 2, "empty text"),
        ("[[keep]]\nregex = '.+'".into(), "keep[0].regex", 2, "nothing in common"),
        ("[[keep]]\nregex = 'changeme|(?s).{8,}'".into(), "keep[0].regex", 2, "nothing in common"),
        ("[[keep]]\nregex = '.{1,10}'".into(), "keep[0].regex", 2, "nothing in common"),
        ("[[keep]]\nregex = '\\S+'".into(), "keep[0].regex", 2, "nothing in common"),
        ("[[keep]]\nregex = '[!-~]{40,}'".into(), "keep[0].regex", 2, "nothing in common"),
        ("[[pattern]]\nkind = \"a\"".into(), "[[pattern]]", 1, "missing field `regex`"),
        ("x = ".into(), "", 1, ""),
        (" ".repeat((1 << 20) + 1), "", 1, "bytes"),
    ] {
        let error = RedactionRules::parse(&text).unwrap_err();
        assert_eq!((error.key.as_str(), error.line), (key, line), "{error}");
        assert!(error.why.contains(why), "{error}");
        assert!(error.to_string().starts_with(&format!("line {line}: ")), "{error}");
    }
    for fine in ["[a-z]+", "[0-9a-f]{8,}", "test-.*", "(?i)example.*", "\\*+", "x{3,}", "\\$\\{[A-Z_]+\\}", "/.*/.*"] {
        RedactionRules::parse(&format!("[[keep]]\nregex = '{fine}'")).unwrap();
    }
    let names: Vec<String> = (0..600).map(|n| format!("\"n{n}\"")).collect();
    let error = RedactionRules::parse(&format!("[[key]]\nkind = \"a\"\nnames = [{}]", names.join(", "))).unwrap_err();
    assert!(error.why.contains("more than 512 names"), "{error}");
}
