//! Random rules over random events: the engine, the lowering to SQL and a naive reading of the rules agree.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::Union;

use super::*;

/// Fields of the payload, and columns of every kind.
const FIELDS: [&str; 14] = [
    "F",
    "G",
    "H",
    "K.L",
    "K.L.M",
    "m",
    "process_name",
    "process_cmd_line",
    "src_endpoint_ip",
    "dst_endpoint_port",
    "process_pid",
    "time_doubtful",
    "actor_user_groups",
    "process_created_time",
];

/// Texts of events, in which patterns of [`rules`] are found by chance.
const TEXTS: [&str; 39] = [
    "curl x | sh",
    "WHOAMI",
    "whoami -enc",
    "bbbb",
    "v17",
    "v19 -ENC",
    "he: say \"hi\"",
    "C:\\tmp",
    "tab\there",
    "a",
    "b",
    "ab",
    "aB",
    "bab",
    "A",
    "x",
    "X",
    "xy",
    "x\ny",
    "",
    "1",
    "0",
    "1.5",
    "1.0",
    "true",
    "a%b",
    "a_b",
    "a\\b",
    "a*b",
    "ß",
    "ẞx",
    "ΣΑΣ",
    "ς",
    "-x /y",
    "–x ―y",
    "YWI=",
    "eGFieA==",
    "YQBiAA==",
    "x YWJj",
];

const TIMES: [&str; 3] = ["2026-03-04T03:22:18.000000Z", "2024-12-30T23:59:59.999999Z", "2021-01-03T00:00:00.000000Z"];

const IPS: [&str; 6] = ["10.0.0.1", "10.1.2.3", "::ffff:10.0.0.1", "fe80::1", "010.0.0.1", "10.0.0.1:80"];

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => select(&TEXTS[..]).prop_map(Value::from),
        1 => select(&TIMES[..]).prop_map(Value::from),
        1 => select(&IPS[..]).prop_map(Value::from),
    ]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => (-1i64..3).prop_map(Value::from),
        1 => select(&[1.5, 1.0, -0.5][..]).prop_map(Value::from),
        1 => select(&[9_007_199_254_740_992i64, 9_007_199_254_740_993, i64::MAX][..]).prop_map(Value::from),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![6 => text(), 2 => number(), 1 => any::<bool>().prop_map(Value::from), 1 => Just(Value::Null)]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => scalar(),
        1 => proptest::collection::vec(scalar(), 0..3).prop_map(Value::from),
        1 => scalar().prop_map(|v| json!([[v], []])),
        1 => scalar().prop_map(|v| json!({"L": v})),
        1 => scalar().prop_map(|v| json!([{"L": {"M": v}}, {"L.M": "a"}])),
    ]
}

fn column() -> impl Strategy<Value = (&'static str, Value)> {
    prop_oneof![
        text().prop_map(|v| ("process_name", v)),
        text().prop_map(|v| ("process_cmd_line", v)),
        select(&IPS[..]).prop_map(|v| ("src_endpoint_ip", v.into())),
        select(&[-1, 0, 1, 2, i32::MAX][..]).prop_map(|v| ("dst_endpoint_port", v.into())),
        number().prop_filter("whole", Value::is_i64).prop_map(|v| ("process_pid", v)),
        any::<bool>().prop_map(|v| ("time_doubtful", v.into())),
        proptest::collection::vec(text(), 0..3).prop_map(|v| ("actor_user_groups", v.into())),
        select(&TIMES[..]).prop_map(|v| ("process_created_time", v.into())),
    ]
}

/// Up to 150 events, some of which have no payload.
pub(super) fn events() -> impl Strategy<Value = Vec<JsonEvent>> {
    let keys = select(&["F", "G", "H", "K", "K.L", "m"][..]);
    let payload = proptest::collection::btree_map(keys, value(), 0..5);
    let payload = payload.prop_map(|map| Some(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()));
    let payload = prop_oneof![9 => payload, 1 => Just(None)];
    let columns = proptest::collection::vec(column(), 0..6);
    let one = (payload, columns).prop_map(|(payload, columns)| JsonEvent {
        columns: columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        ..event(payload.unwrap_or_default())
    });
    proptest::collection::vec(one, 0..150)
}

/// One item of a selection: modifiers, and values that they take.
fn item() -> impl Strategy<Value = (String, Value)> {
    let patterns = || select(&["*", "a*", "*b", "a*b", "?", "*a?", "a\\*b", "a\\\\b", "*%*", "Σα*", "SS", "ß*"][..]);
    let wanted = || prop_oneof![3 => text(), 1 => patterns().prop_map(Value::from)];
    let texts = |modifiers: &'static [&'static str], values: &'static [&'static str]| {
        of(modifiers, select(values).prop_map(Value::from).boxed(), 1..4)
    };
    Union::new_weighted(vec![
        (4, of(&["", "|neq", "|cased"], prop_oneof![4 => wanted(), 2 => scalar()].boxed(), 1..7)),
        (
            6,
            of(
                &[
                    "|contains",
                    "|startswith",
                    "|endswith",
                    "|contains|cased",
                    "|startswith|cased",
                    "|endswith|cased",
                    "|contains|all",
                    "|contains|neq",
                    "|endswith|all",
                    "|windash",
                    "|windash|contains",
                    "|windash|contains|all",
                ],
                prop_oneof![6 => wanted(), 1 => number()].boxed(),
                1..7,
            ),
        ),
        (
            1,
            texts(
                &["|base64|contains", "|base64offset|contains", "|wide|base64offset|contains|cased", "|wide|base64"],
                &["ab", "abc", "xabx", "/y"],
            ),
        ),
        (1, texts(&["|utf16|base64|contains", "|utf16be|base64offset|contains"], &["ab", "abc"])),
        (
            2,
            texts(
                &["|re", "|re|i", "|re|m", "|re|s|i", "|re|neq", "|re|all"],
                &["^a", "b$", "a.b", "^x.?$", "[0-9]+", "A|X", "^$", "^y"],
            ),
        ),
        (1, texts(&["|cidr", "|cidr|neq"], &["10.0.0.0/8", "10.0.0.1/32", "0.0.0.0/0", "fe80::/10", "::/0"])),
        (2, of(&["|gt", "|gte", "|lt", "|lte"], number().boxed(), 1..3)),
        (1, of(&["|exists"], any::<bool>().prop_map(Value::from).boxed(), 1..2)),
        (
            1,
            texts(
                &[
                    "|fieldref",
                    "|fieldref|startswith",
                    "|fieldref|contains",
                    "|fieldref|endswith|cased",
                    "|fieldref|neq",
                    "|fieldref|all",
                ],
                &FIELDS,
            ),
        ),
        (
            1,
            of(
                &["|minute", "|hour", "|day", "|week", "|month", "|year"],
                select(&[0i64, 1, 3, 4, 10, 12, 22, 23, 53, 59, 2024, 2026][..]).prop_map(Value::from).boxed(),
                1..4,
            ),
        ),
    ])
}

fn of(
    modifiers: &'static [&'static str],
    value: BoxedStrategy<Value>,
    count: std::ops::Range<usize>,
) -> BoxedStrategy<(String, Value)> {
    (select(&FIELDS[..]), select(modifiers), proptest::collection::vec(value, count))
        .prop_map(|(field, modifiers, values)| (format!("{field}{modifiers}"), Value::from(values)))
        .boxed()
}

fn selection() -> impl Strategy<Value = Value> {
    let items = || proptest::collection::btree_map(any::<u8>(), item(), 1..4);
    let items = move || items().prop_map(|all| all.into_values().collect::<serde_json::Map<_, _>>());
    let keywords = select(&["a", "B", "x*y", "1", "true", "ß", "a\\*b", "nowhere"][..]).prop_map(Value::from);
    let keywords = proptest::collection::vec(prop_oneof![6 => keywords, 1 => number()], 1..3);
    prop_oneof![
        8 => items().prop_map(Value::from),
        2 => proptest::collection::vec(items().prop_map(Value::from), 1..3).prop_map(Value::from),
        1 => keywords.clone().prop_map(Value::from),
        1 => keywords.prop_map(|words| json!({"|all": words})),
        1 => select(&["|re", "|re|m", "|cased"][..]).prop_map(|modifiers| json!({modifiers: ["^a", "b$"]})),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    let leaf = select(
        &["s0", "s1", "s2", "s3", "not s0", "not s1", "1 of s*", "all of s*", "2 of s*", "1 of them", "all of them"][..],
    );
    leaf.prop_map(str::to_owned).prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} or {b})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    })
}

/// Documents of some dozen rules.
pub(super) fn rules() -> impl Strategy<Value = String> {
    let one = (proptest::collection::vec(selection(), 4), condition()).prop_map(|(selections, condition)| {
        let mut all: serde_json::Map<_, _> =
            selections.into_iter().enumerate().map(|(n, selection)| (format!("s{n}"), selection)).collect();
        all.insert("condition".into(), condition.into());
        Value::from(all)
    });
    proptest::collection::vec(one, 10..30).prop_map(|all| {
        let all: Vec<String> = all.iter().enumerate().map(|(n, d)| rule(&format!("rule {n:02}"), d)).collect();
        all.join("---\n")
    })
}

fn expected(text: &str, events: &[JsonEvent]) -> Vec<(String, usize)> {
    let parsed = rsigma_parser::parse_sigma_yaml(text).unwrap();
    let mut expected = Vec::new();
    for rule in &parsed.rules {
        let rows = events.iter().enumerate().filter(|(_, event)| naive::holds(&rule.detection, event));
        expected.extend(rows.map(|(row, _)| (rule.title.clone(), row)));
    }
    expected.sort_unstable();
    expected
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn both_lowerings_agree_with_a_row_by_row_reading_of_the_rules(text in rules(), events in events()) {
        let engine = compile(&text).unwrap();
        let batch = batch_of_json(engine.plan(), &events).unwrap();
        let expected = expected(&text, &events);
        prop_assert_eq!(matches_of(&engine, &batch), expected.clone());
        #[cfg(feature = "datafusion")]
        prop_assert_eq!(crate::sql::tests::matches_of(engine.rules(), &batch), expected);
    }

    #[test]
    fn columns_agree_with_a_row_by_row_reading_of_the_rules(events in events()) {
        let text = rules_of_every_shape();
        let engine = compile(&text).unwrap();
        let batch = batch_of_json(engine.plan(), &events).unwrap();
        prop_assert_eq!(matches_of(&engine, &batch), expected(&text, &events));
    }

    #[test]
    fn batching_changes_nothing(text in rules(), events in events(), size in 1usize..9) {
        let engine = compile(&text).unwrap();
        let whole = batch_of_json(engine.plan(), &events).unwrap();
        let expected = engine.evaluate(&whole);
        let mut sliced = Vec::new();
        for start in (0..whole.rows()).step_by(size) {
            let part = whole.slice(start, size.min(whole.rows() - start));
            let moved = |m: Match| Match { row: m.row + start as u32, ..m };
            sliced.extend(engine.evaluate(&part).into_iter().map(moved));
        }
        prop_assert_eq!(&sliced, &expected);
        // Without the decoder's fields, they come from the payload.
        prop_assert_eq!(engine.evaluate(&whole.with_fields(Vec::new())), expected);
    }
}
