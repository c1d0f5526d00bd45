//! JSON and CSV read by mappings, and the mistakes that a mapping can have.

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, EventBatch, FieldPlan, FieldValue, Lane};
use serde_json::json;

use super::*;
use crate::decode::Settings;

struct Bench {
    decoder: Mapped,
    lane: Arc<Lane>,
    out: Decoded,
    offset: i64,
}

impl Bench {
    fn new(mapping: &str, plan: &[&str]) -> Self {
        let plan = Arc::new(FieldPlan::new(plan));
        let settings = Arc::new(Settings {
            source: "s".into(),
            plan: Arc::clone(&plan),
            zone: "+02:00".parse().unwrap(),
            ..Settings::default()
        });
        let lane = Arc::new(Lane::channel("s", "c"));
        let context = LaneContext::new(Arc::clone(&lane), settings, "mapped");
        let decoder = Mapped::new(context, Arc::new(Mapping::parse(mapping).unwrap()));
        Self { decoder, lane, out: Decoded::new(plan), offset: 0 }
    }

    fn decode(&mut self, records: &[(&str, bool)]) -> EventBatch {
        let mut chunk = Chunk::new(Arc::clone(&self.lane));
        for (payload, again) in records {
            chunk.push(payload.as_bytes(), self.offset, None, None);
            chunk.records.last_mut().unwrap().again = *again;
            self.offset += 1;
        }
        let mut clock = LaneClock::new(Tolerance::default());
        self.decoder.decode(&chunk, &mut clock, &mut self.out).unwrap();
        self.out.events.finish().unwrap()
    }
}

#[test]
fn json_values_fill_the_columns_that_the_mapping_names() {
    let mapping = r#"
        format = "json"
        time = "meta.ts"
        time_format = "unix_ms"
        list_separator = ";"
        set.class_uid = 1007
        set.metadata_product_name = "agent"
        set.metadata_labels = ["x"]
        columns.process_name = "proc.name"
        columns.process_pid = "proc.pid"
        columns.process_ancestors = "proc.parents"
        columns.message = "note"
        columns.metadata_product_name = "product"
    "#;
    let cases = [
        (
            json!({"meta": {"ts": 1714925797663i64}, "proc": {"name": "sh", "pid": "12", "parents": ["a", "b"]}, "note": 1.5}),
            json!({"class_uid": 1007, "activity_id": 0, "process_name": "sh", "process_pid": 12, "message": "1.5",
            "process_ancestors": ["a", "b"], "metadata_product_name": "agent", "metadata_labels": ["x"],
            "time": "2024-05-05T16:16:37.663000Z", "time_original": "1714925797663"}),
        ),
        (
            json!({"meta.ts": "1714925797663", "proc": [{"name": ["x", "y"], "pid": "no", "parents": "a; b;"}], "product": "p"}),
            json!({"process_name": "x y", "process_pid": null, "process_ancestors": ["a", "b"], "metadata_product_name": "p"}),
        ),
    ];
    for (payload, expected) in cases {
        let mut bench = Bench::new(mapping, &["proc.name"]);
        let batch = bench.decode(&[(&payload.to_string(), false)]);
        assert_eq!(batch.rows(), 1, "{:?}", bench.out.rejects);
        let row = batch.row_json(0);
        for (column, value) in expected.as_object().unwrap() {
            assert_eq!(&row[column], value, "{column} of {payload}");
        }
        assert!(!batch.fields()[0].values().is_empty());
    }
}

#[test]
fn times_are_exact_in_every_format() {
    for (format, value, expected) in [
        ("rfc3339", json!("2024-05-05T16:16:37.663647Z"), Some("2024-05-05T16:16:37.663647Z")),
        ("rfc3339", json!("2024-05-05 18:16:37"), Some("2024-05-05T16:16:37.000000Z")),
        ("rfc3339", json!(5), None),
        ("unix_s", json!(1714925797), Some("2024-05-05T16:16:37.000000Z")),
        ("unix_s", json!("1714925797.123456789"), Some("2024-05-05T16:16:37.123456Z")),
        ("unix_s", json!("-0.5"), Some("1969-12-31T23:59:59.500000Z")),
        ("unix_s", json!(1714925797.5), Some("2024-05-05T16:16:37.500000Z")),
        ("unix_s", json!(9_223_372_036_854_775_807i64), None),
        ("unix_ms", json!(1714925797663i64), Some("2024-05-05T16:16:37.663000Z")),
        ("unix_us", json!(1714925797663647i64), Some("2024-05-05T16:16:37.663647Z")),
        ("unix_us", json!(i64::MAX), None),
        ("unix_ns", json!(1714925797663647999i64), Some("2024-05-05T16:16:37.663647Z")),
        ("unix_s", json!("1.x"), None),
    ] {
        let mut bench = Bench::new(&format!("format = \"json\"\ntime = \"t\"\ntime_format = \"{format}\""), &[]);
        let batch = bench.decode(&[(&json!({"t": value}).to_string(), false)]);
        match expected {
            Some(expected) => assert_eq!(batch.row_json(0)["time"], expected, "{format} {value}"),
            None => assert_eq!(bench.out.rejects[0].reason, "missing_time", "{format} {value}"),
        }
    }
}

const CSV: &str =
    "format = \"csv\"\ndelimiter = \";\"\ntime = \"t\"\ncolumns.process_name = \"who\"\ncolumns.message = \"what\"";

#[test]
fn csv_rows_are_read_under_the_header_of_their_lane() {
    let mut bench = Bench::new(CSV, &["who"]);
    let header = ("t;who;what;password", false);
    let batch = bench.decode(&[
        header,
        ("2024-01-01T00:00:00Z;sh;\"a; \"\"b\"\"\";hunter2", false),
        ("2024-01-01T00:00:00Z;sh", false),
        ("2024-01-01T00:00:00Z;;curl -u bob:hunter2 x;", false),
    ]);
    let counts = bench.out.counts;
    assert_eq!((counts.records, counts.used, counts.rejected, counts.events, counts.redacted), (4, 3, 1, 2, 3));
    assert_eq!(bench.out.rejects[0].reason, "field_count");
    assert_eq!(bench.out.rejects[0].raw, "<redacted:password>", "any of its cells may be the one under that name");
    assert_eq!(batch.text(col::MESSAGE).value(0), "a; \"b\"");
    assert_eq!(batch.text(col::MESSAGE).value(1), "curl -u bob:<redacted:password> x");
    assert_eq!(batch.text(col::RAW).value(0), "2024-01-01T00:00:00Z;sh;\"a; \"\"b\"\"\";<redacted:password>");
    assert_eq!(batch.fields()[0].values(), [FieldValue::Str("sh".into()), FieldValue::Str("".into())]);
    assert!(!format!("{batch:?}").contains("hunter2"));
}

#[test]
fn rejected_csv_rows_keep_nothing_that_stands_under_the_name_of_a_secret() {
    for (row, reason, raw) in [
        ("no time;sh;a;PLANTED", "missing_time", "no time;sh;a;<redacted:password>"),
        ("2024-01-01T00:00:00Z;PLANTED", "field_count", "<redacted:password>"),
        ("2024-01-01T00:00:00Z;sh;\"PLANTED", "not_csv", "<redacted:password>"),
    ] {
        let mut bench = Bench::new(CSV, &[]);
        bench.decode(&[("t;who;what;password", false), (row, false)]);
        let reject = &bench.out.rejects[0];
        assert_eq!((reject.reason.as_str(), reject.raw.as_str()), (reason, raw));
        assert_eq!((bench.out.counts.redacted, bench.out.redactions.total()), (1, 1));
    }
}

#[test]
fn a_resumed_csv_lane_knows_its_header() {
    let row = ("2024-01-01T00:00:00Z;sh;x", false);
    let mut first = Bench::new(CSV, &[]);
    first.decode(&[("t;who;what", false)]);
    let mut restored = Bench::new(CSV, &[]);
    restored.decoder.restore(&first.decoder.snapshot().unwrap()).unwrap();
    assert_eq!(restored.decode(&[row]).rows(), 1);
    let mut primed = Bench::new(CSV, &[]);
    assert_eq!(primed.decode(&[("t;who;what", true), row]).rows(), 1);
    assert_eq!(primed.out.counts.records, 1);
    let mut named = Bench::new(&format!("header = [\"t\", \"who\", \"what\"]\n{CSV}"), &[]);
    assert_eq!(named.decode(&[row]).rows(), 1);
    assert!(restored.decoder.restore(b"damaged").is_err());
}

#[test]
fn mistakes_in_a_mapping_name_their_key_and_line() {
    for (text, line, key, why) in [
        ("format = \"xml\"", 1, "format", "`format` must be"),
        ("\nformat = \"json\"\ncolumns.nope = \"a\"", 3, "columns.nope", "there is no event column `nope`"),
        ("format = \"json\"\n[columns]\nmessage = \"a\"\nraw = \"b\"", 4, "columns.raw", "the decoder itself fills"),
        ("format = \"json\"\nset.class_uid = \"x\"", 2, "set.class_uid", "takes a 32-bit integer"),
        ("format = \"json\"\nset.class_uid = 3000000000", 2, "set.class_uid", "takes a 32-bit integer"),
        ("format = \"json\"\ncolums = 1", 2, "colums", "unknown field"),
        ("format = \"json\"\ntime_format = \"iso\"", 2, "", "unknown variant"),
        ("format = \"csv\"\ndelimiter = \"ab\"", 2, "delimiter", "one ASCII character"),
        ("format = \"json\"\ndelimiter = \",\"", 2, "delimiter", "belongs to format"),
        ("time = \"t\"", 1, "", "missing field"),
        ("format = \n", 1, "", ""),
    ] {
        let error = Mapping::parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text}: {error}");
        assert!(error.key.contains(key) && error.why.contains(why), "{text}: {error:?}");
    }
}
