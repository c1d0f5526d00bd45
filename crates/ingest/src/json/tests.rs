//! What is JSON and what is not, what values read as, and that another reader sees the same.

use proptest::prelude::*;
use proptest::sample::Index as Pick;

use super::*;

/// Deep enough for every text here, and less deep than the other reader allows.
const DEPTH: usize = 100;

/// Texts that are JSON.
const ACCEPTED: &[&str] = &[
    "{}",
    "[]",
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1.5",
    "10.25e2",
    "1E5",
    "1e-5",
    "1e+05",
    "0e0",
    "0.0",
    "-0.1",
    "1e-400",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    r#""""#,
    r#"" ""#,
    r#""\"\\\/\b\f\n\r\t""#,
    r#""\u0000\u001f\u00E9\ufffe""#,
    r#""\ud83d\ude00\uD83D\uDE00""#,
    "\"\u{7f}é\u{2028}\u{10ffff}\"",
    " \t\r\n{ \"a\" : [ 1 , { } , [ ] ] } \n",
    r#"{"":0}"#,
    r#"{"a":1,"a":2}"#,
    r#"{"\u0061":1}"#,
    "[[],{},\"\",null]",
    r#"[{"a":{"b":[[{"c":[]}]]}}]"#,
];

/// Texts that are not.
const REJECTED: &[&str] = &[
    "",
    " ",
    "{",
    "[",
    "}",
    "]",
    "\"",
    ",",
    ":",
    "{]",
    "[}",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1 2]",
    "[1}",
    "[]]",
    "[:]",
    "[\"a\":1]",
    "{\"a\"",
    "{\"a\":",
    "{\"a\":}",
    "{\"a\":1",
    "{\"a\":1,",
    "{\"a\":1,}",
    "{,\"a\":1}",
    "{\"a\" 1}",
    "{\"a\",1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\"::1}",
    "{a:1}",
    "{'a':1}",
    "{1:1}",
    "{null:1}",
    "{{}:1}",
    "{\"a\":1]",
    "{}}",
    "1 2",
    "{} {}",
    "{}x",
    "{}\0",
    "[]\u{feff}",
    "\u{feff}[]",
    "\u{a0}[]",
    "\u{b}1",
    "\u{c}1",
    "/**/1",
    "[1]//",
    "nul",
    "nulL",
    "truer",
    "tru e",
    "False",
    "NaN",
    "Infinity",
    "-Infinity",
    "undefined",
    "-",
    "+1",
    "--1",
    "01",
    "-01",
    "00",
    ".5",
    "1.",
    "1.e1",
    "-.1",
    "1e",
    "1e+",
    "1e1.5",
    "1ee1",
    "0x1",
    "1_0",
    "1e400",
    "-1e999",
    "\u{ff11}",
    r#"""#,
    r#""a"#,
    r#""a\"#,
    r#""a\""#,
    r#""\a""#,
    r#""\'""#,
    r#""\x41""#,
    r#""\u""#,
    r#""\u12""#,
    r#""\u123""#,
    r#""\u12g4""#,
    r#""\u+123""#,
    r#""\U0041""#,
    r#""\u00é""#,
    r#""\ud800""#,
    r#""\udc00""#,
    r#""\ud800x""#,
    r#""\ud800\n""#,
    r#""\ud800\u0041""#,
    r#""\ud800\ud800""#,
    r#""\udc00\ud800""#,
    r#""\ud800\u""#,
    "\"\t\"",
    "\"\n\"",
    "\"\0\"",
    "\"\u{1f}\"",
    "'a'",
    "\"a\"\"b\"",
];

/// Makes another reader's tree of a value.
fn tree(value: Value<'_, '_>) -> serde_json::Value {
    if value.is_object() {
        return value.entries().map(|(key, value)| (key.to_owned(), tree(value))).collect();
    }
    if value.is_array() {
        return value.items().map(tree).collect();
    }
    match value.scalar() {
        FieldRef::Null | FieldRef::Object => serde_json::Value::Null,
        FieldRef::Bool(b) => b.into(),
        FieldRef::Int(n) => n.into(),
        FieldRef::UInt(n) => n.into(),
        FieldRef::Float(n) => n.into(),
        FieldRef::Str(s) => s.into(),
    }
}

/// Fails if another reader makes anything else of a text. What is meant to differ: `-0` is an integer here.
fn compare(parser: &mut Parser, text: &str) {
    let other: Result<serde_json::Value, _> = serde_json::from_str(text);
    let ours = parser.parse(text, DEPTH, |root| {
        assert_eq!(root.raw(), text.trim_matches([' ', '\t', '\r', '\n']));
        spans_nest(root, text);
        tree(root)
    });
    match (ours, other) {
        (Ok(ours), Ok(other)) if ours == other => {}
        (Ok(ours), Ok(other)) if text.contains("-0") => {
            let zero = |value: serde_json::Value| value.to_string().replace("-0.0", "0");
            assert_eq!(zero(ours), zero(other), "{text:?}");
        }
        (Err(Fault::NotJson(_)), Err(_)) => {}
        (ours, other) => panic!("{text:?}: {ours:?}, elsewhere {other:?}"),
    }
}

/// The text of each value is where it says, and reads as the value again.
fn spans_nest(value: Value<'_, '_>, text: &str) {
    assert_eq!(text.get(value.span()), Some(value.raw()));
    let again = Parser::default().parse(value.raw(), DEPTH, tree);
    assert_eq!(again.unwrap(), tree(value));
    value.items().chain(value.entries().map(|(_, value)| value)).for_each(|member| spans_nest(member, text));
}

#[test]
fn what_is_json_is_read_and_what_is_not_is_refused_wherever_it_stands() {
    let mut parser = Parser::default();
    for (texts, is_json) in [(ACCEPTED, true), (REJECTED, false)] {
        for text in texts {
            let around = [
                (*text).to_owned(),
                format!("[{text}]"),
                format!("{{\"skipped\":{text}}}"),
                format!("{{\"a\":[1,{text}],\"b\":\"{}\"}}", "x".repeat(64)),
            ];
            for whole in around {
                let read = parser.parse(&whole, DEPTH, |_| ());
                // Empty text leaves an empty array; a closing quote or bracket may fit what is around it.
                let fits = serde_json::from_str::<serde_json::Value>(&whole).is_ok();
                assert_eq!(read.is_ok(), fits, "{whole:?}");
                assert!(!is_json || fits, "{whole:?}");
                compare(&mut parser, &whole);
            }
            assert_eq!(parser.parse(text, DEPTH, |_| ()).is_ok(), is_json, "{text:?}");
        }
    }
}

#[test]
fn scalars_read_as_they_were_written() {
    let long = format!("\"{}\\n{}\"", "a".repeat(100), "é".repeat(50));
    let long_read = format!("{}\n{}", "a".repeat(100), "é".repeat(50));
    let cases = [
        ("null", FieldRef::Null, None),
        ("true", FieldRef::Bool(true), None),
        ("false", FieldRef::Bool(false), None),
        ("[1]", FieldRef::Object, None),
        ("{}", FieldRef::Object, None),
        ("0", FieldRef::Int(0), Some(0)),
        ("-0", FieldRef::Int(0), Some(0)),
        ("9007199254740993", FieldRef::Int(9_007_199_254_740_993), Some(9_007_199_254_740_993)),
        ("9223372036854775807", FieldRef::Int(i64::MAX), Some(i64::MAX)),
        ("-9223372036854775808", FieldRef::Int(i64::MIN), Some(i64::MIN)),
        ("9223372036854775808", FieldRef::UInt(1 << 63), None),
        ("18446744073709551615", FieldRef::UInt(u64::MAX), None),
        ("18446744073709551616", FieldRef::Float(18_446_744_073_709_551_616.0), None),
        ("1.0", FieldRef::Float(1.0), None),
        ("1e2", FieldRef::Float(100.0), None),
        ("0.1", FieldRef::Float(0.1), None),
        ("1e-400", FieldRef::Float(0.0), None),
        ("5e-324", FieldRef::Float(5e-324), None),
        ("\"\"", FieldRef::Str(""), None),
        ("\"42\"", FieldRef::Str("42"), Some(42)),
        (r#""\u0034\u0032""#, FieldRef::Str("42"), Some(42)),
        (r#""4 2""#, FieldRef::Str("4 2"), None),
        (r#""\"\\\/\b\f\n\r\t""#, FieldRef::Str("\"\\/\u{8}\u{c}\n\r\t"), None),
        (r#""\u00e9\u00E9\u20ac\ud83d\udE00z""#, FieldRef::Str("éé€😀z"), None),
        (&long, FieldRef::Str(&long_read), None),
    ];
    let mut parser = Parser::default();
    for (text, scalar, int) in cases {
        for (before, after) in [("", ""), ("{\"k\":", "}"), ("[[\"\\n\"],", ",9]"), (" [ ", " ] ")] {
            let whole = format!("{before}{text}{after}");
            let seen = parser.parse(&whole, 9, |root| {
                let value = root.get("k").or_else(|| root.items().find(|v| v.raw() == text)).unwrap_or(root);
                assert_eq!((value.scalar(), value.int()), (scalar, int), "{whole}");
                assert_eq!(value.raw(), text);
                // Whoever asks again gets the same.
                assert_eq!(value.str(), value.str());
                assert_eq!(value.str(), if let FieldRef::Str(s) = scalar { Some(s) } else { None });
                assert_eq!(value.text(), value.str().filter(|s| !s.is_empty()));
                assert_eq!(value.is_null(), scalar == FieldRef::Null);
            });
            seen.unwrap();
        }
    }
}

#[test]
fn raw_fields_keep_all_digits_of_whole_numbers() {
    let mut parser = Parser::default();
    for (text, field) in [
        ("18446744073709551616", FieldRef::Str("18446744073709551616")),
        ("-9223372036854775809", FieldRef::Str("-9223372036854775809")),
        ("18446744073709551615", FieldRef::UInt(u64::MAX)),
        ("18446744073709551616.0", FieldRef::Float(18_446_744_073_709_551_616.0)),
        ("1e20", FieldRef::Float(1e20)),
        ("\"1\"", FieldRef::Str("1")),
        ("[1]", FieldRef::Object),
    ] {
        parser.parse(text, 9, |root| assert_eq!(root.field(), field, "{text}")).unwrap();
    }
}

#[test]
fn members_are_stepped_through_in_order_and_the_first_of_a_key_is_found() {
    let text = r#"{"a":{"x":[1,[2,{"y":3}]]},"b":[],"\u0061":"late","c":{}, "d" : [ null , "e\t" ] }"#;
    let seen = Parser::default().parse(text, 9, |root| {
        let keys: Vec<(&str, &str)> = root.entries().map(|(key, value)| (key, value.raw())).collect();
        let expected = [
            ("a", r#"{"x":[1,[2,{"y":3}]]}"#),
            ("b", "[]"),
            ("a", "\"late\""),
            ("c", "{}"),
            ("d", r#"[ null , "e\t" ]"#),
        ];
        assert_eq!(keys, expected);
        assert!(root.get("a").is_some_and(Value::is_object));
        assert_eq!(root.get("e").map(Value::raw), None);
        let x: Vec<&str> = root.get("a").and_then(|a| a.get("x")).unwrap().items().map(Value::raw).collect();
        assert_eq!(x, ["1", r#"[2,{"y":3}]"#]);
        // Scalars, and containers of the other kind, have no members.
        assert_eq!((root.items().count(), root.get("b").unwrap().entries().count()), (0, 0));
        assert_eq!(root.get("d").unwrap().items().flat_map(Value::items).count(), 0);
    });
    seen.unwrap();
}

#[test]
fn a_parser_remembers_nothing_of_earlier_texts() {
    let mut parser = Parser::default();
    for round in 0..200 {
        let text = format!(r#"{{"a":"\n{}","b":["\t\\",{round}]}}"#, "x".repeat(round * 200));
        let seen = parser.parse(&text, 9, |root| {
            assert_eq!(root.get("a").and_then(Value::str).map(str::len), Some(1 + round * 200));
            root.get("b").map(|b| b.items().map(|v| v.str().unwrap_or("-").to_owned()).collect::<Vec<_>>())
        });
        assert_eq!(seen.unwrap().unwrap(), ["\t\\", "-"]);
        assert!(parser.parse(r#"{"a":"\n","#, 9, |_| ()).is_err());
    }
}

#[test]
fn depth_is_bounded() {
    let mut parser = Parser::default();
    for (depth, fits) in [(64, true), (65, false), (100_000, false)] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), (" [ ", " ] ")] {
            let inner = if open.starts_with('{') { "0" } else { "" };
            let text = open.repeat(depth) + inner + &close.repeat(depth);
            let result = parser.parse(&text, 64, |_| ());
            assert_eq!(result.is_ok(), fits, "{depth}");
            assert!(fits || matches!(result, Err(Fault::TooDeep)));
        }
    }
    assert!(parser.parse(r#"[{"a":[1]},{"a":[1]},[[]]]"#, 3, |_| ()).is_ok());
    assert!(matches!(parser.parse("[]", 0, |_| ()), Err(Fault::TooDeep)));
    // No setting goes past what the walk can take.
    let text = "[".repeat(DEPTH_CEILING + 1) + &"]".repeat(DEPTH_CEILING + 1);
    assert!(matches!(parser.parse(&text, usize::MAX, |_| ()), Err(Fault::TooDeep)));
}

#[test]
fn large_integers_are_exact() {
    let seen = Parser::default().parse(r#"{"t":1709283154832049033,"u":18446744073709551615}"#, 9, |root| {
        (root.get("t").and_then(Value::int), root.get("u").map(|u| u.scalar() == FieldRef::UInt(u64::MAX)))
    });
    assert_eq!(seen.unwrap(), (Some(1_709_283_154_832_049_033), Some(true)));
}

/// Documents of all shapes.
fn document() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        (-50i64..50).prop_map(Into::into),
        "[ -~]{0,40}".prop_map(Into::into),
        "[\"\\\\/\n\t\r\u{0}-\u{8}é€😀a-c]{0,24}".prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 60, 8, |inner| {
        let object = prop::collection::vec(("[a-e.\"\\\\]{0,3}", inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..8).prop_map(serde_json::Value::from),
            object.prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

/// What an edit puts in: what means something in JSON, and what comes near it.
const PIECES: &[&str] = &[
    "",
    "",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\\\"",
    "\\u",
    "\\u00e9",
    "\\ud83d",
    "\\ude00",
    "0",
    "-",
    "1",
    ".",
    "e",
    "E+",
    "00",
    "9999999999",
    "true",
    "null",
    "fals",
    " ",
    "\n",
    "\t",
    "\r",
    "\u{0}",
    "\u{c}",
    "\u{1f}",
    "\u{7f}",
    "é",
    "\u{feff}",
    "x",
    "\"a\":",
    ",\"b\":1",
    "[[",
    "1e308",
    "1e309",
    "-0",
    "\\/",
    "'",
    "/",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn documents_and_what_edits_make_of_them_are_read_as_by_another_reader(
        document in document(),
        pretty in any::<bool>(),
        edits in prop::collection::vec((any::<Pick>(), 0..3usize, 0..PIECES.len()), 0..4),
    ) {
        let mut text = if pretty { serde_json::to_string_pretty(&document) } else { serde_json::to_string(&document) }.unwrap();
        let mut parser = Parser::default();
        compare(&mut parser, &text);
        for (place, removed, piece) in edits {
            let start = text.floor_char_boundary(place.index(text.len() + 1));
            let end = text.ceil_char_boundary((start + removed).min(text.len()));
            text.replace_range(start..end, PIECES[piece]);
            compare(&mut parser, &text);
        }
    }

    #[test]
    fn no_text_does_harm(text in any::<String>(), json_like in "[\\[\\]{}\",:\\\\u0-9a-f.eE+\\-tns \n]{0,80}") {
        let mut parser = Parser::default();
        compare(&mut parser, &text);
        compare(&mut parser, &json_like);
    }
}
