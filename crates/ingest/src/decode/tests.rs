//! What all decoders promise: any batching gives the same rows, every record ends in one bucket, nothing panics, and each
//! format fills the columns that the schema says it fills, all of them and no others.

use std::collections::BTreeSet;
use std::path::PathBuf;

use palisade_events::schema::{COLUMNS, Column, Kind};
use palisade_events::{EventBatch, clock::Tolerance};
use proptest::prelude::*;

use super::*;

/// Paths that public rules ask for, some of them into arrays and bodies.
const FIELDS: &[&str] = &[
    "verb",
    "objectRef.resource",
    "user.groups",
    "annotations.authorization.k8s.io/decision",
    "requestObject.spec.containers.securityContext.privileged",
    "requestObject.data.password",
    "output_fields.proc.name",
    "proc.name",
    "evt.time",
    "n",
    "who",
];

const MAPPING: &str = r#"
format = "json"
time = "t"
time_format = "unix_ms"
set.class_uid = 1007
columns.process_name = "who"
columns.process_pid = "n"
"#;

fn settings() -> Settings {
    Settings {
        source: "test".into(),
        cluster: "lab".into(),
        plan: Arc::new(FieldPlan::new(FIELDS)),
        ..Settings::default()
    }
}

/// Decodes payloads in chunks of `size`, and returns one batch per chunk.
fn run(format: &Format, payloads: &[Vec<u8>], size: usize) -> (Vec<EventBatch>, Decoded) {
    let settings = Arc::new(settings());
    let lane = Arc::new(Lane::channel("test", "unit"));
    let mut clock = LaneClock::new(Tolerance::default());
    let mut decoder = decoder(format, Arc::clone(&lane), Arc::clone(&settings));
    let mut out = Decoded::new(Arc::clone(&settings.plan));
    let mut batches = Vec::new();
    for (start, group) in payloads.chunks(size).enumerate() {
        let mut chunk = Chunk::new(Arc::clone(&lane));
        for (place, payload) in group.iter().enumerate() {
            chunk.push(payload, (start * size + place) as i64, None, Some(1_700_000_000_000_000));
        }
        chunk.records.iter_mut().for_each(|record| record.time_is_brokers = true);
        decoder.decode(&chunk, &mut clock, &mut out).unwrap();
        batches.push(out.events.finish().unwrap());
    }
    assert_eq!(
        out.counts.records,
        out.counts.used + out.counts.coverage + out.counts.rejected + decoder.held(),
        "every record ends in exactly one bucket"
    );
    assert_eq!(out.counts.events as usize, batches.iter().map(EventBatch::rows).sum::<usize>());
    batches.iter().for_each(|batch| assert_told(format, batch));
    (batches, out)
}

/// Whether the schema says that a format fills a column. A mapping may fill any but the decoder's own.
fn is_told(column: &Column, format: &Format) -> bool {
    column.filled_by == "all" || column.filled_by.split(", ").any(|name| name == format.name())
}

/// The columns that have a value in some row.
fn filled(batch: &EventBatch) -> impl Iterator<Item = &'static Column> {
    let values = batch.columns().columns().iter();
    let is_filled = values.map(|values| arrow::array::Array::null_count(values) < values.len()).collect::<Vec<_>>();
    COLUMNS.iter().zip(is_filled).filter(|(_, is_filled)| *is_filled).map(|(column, _)| column)
}

/// What a decoder fills, the schema says it fills.
fn assert_told(format: &Format, batch: &EventBatch) {
    let fills_any = matches!(format, Format::Mapped(_));
    let untold = filled(batch).filter(|column| !fills_any && !is_told(column, format)).map(|column| column.name);
    let untold: Vec<&str> = untold.collect();
    assert!(untold.is_empty(), "{} fills what the schema does not say: {untold:?}", format.name());
}

/// What the schema says a decoder fills, some record of our own makes it fill.
#[test]
fn every_column_that_is_told_of_a_format_is_filled_by_its_records() {
    let mapping = Arc::new(Mapping::parse(&mapping_of_everything()).unwrap());
    let mapped = (Format::Mapped(mapping), MAPPED.iter().map(|record| (*record).to_owned()).collect::<Vec<_>>());
    let named = Format::NAMED.into_iter().filter(|(name, _)| *name != "auto");
    for (format, records) in named.map(|(name, format)| (format, records_of(name))).chain([mapped]) {
        // A lane's largest time is told once a second row has borne the first one out.
        let records = [&records[..], &records[..], &records[..]].concat();
        // Under bounds so narrow that some are cut, and whole.
        let narrow = Limits { list_items_max: 1, field_values_max: 1, ..Limits::default() };
        let batches = [narrow, Limits::default()].map(|limits| decode_all(&format, &records, limits));
        let filled: BTreeSet<&str> = batches.iter().flat_map(filled).map(|column| column.name).collect();
        for Column { name, .. } in COLUMNS.iter().filter(|column| is_told(column, &format)) {
            assert!(filled.contains(name), "the schema says that {} fills `{name}`, and no record does", format.name());
        }
    }
}

/// The samples of a format, and what else fills its columns.
fn records_of(format: &str) -> Vec<String> {
    let more = match format {
        "k8s_audit" => K8S_AUDIT,
        "falco" => FALCO,
        "auditd" => AUDITD,
        _ => &[],
    };
    let samples = crate::testing::samples(format);
    assert!(!samples.is_empty(), "{format} has no samples");
    more.iter().map(|record| (*record).to_owned()).chain(samples).collect()
}

/// Decodes records of a topic that came from a file.
fn decode_all(format: &Format, records: &[String], limits: Limits) -> EventBatch {
    let plan = Arc::new(FieldPlan::new(["type", "id", "action", "name"]));
    let settings = Arc::new(Settings { limits, plan: Arc::clone(&plan), ..settings() });
    let lane = Arc::new(Lane::kafka("test", "topic", 3));
    let mut decoder = decoder(format, Arc::clone(&lane), settings);
    let mut chunk = Chunk::new(lane);
    for (offset, record) in (0..).zip(records) {
        chunk.push(record.as_bytes(), offset, Some(offset + 1), Some(1_700_000_001_000_000));
    }
    for record in &mut chunk.records {
        record.key = Some("k".into());
        record.trace = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    }
    let (mut clock, mut out) = (LaneClock::new(Tolerance::default()), Decoded::new(plan));
    decoder.decode(&chunk, &mut clock, &mut out).unwrap();
    decoder.end(&mut clock, &mut out).unwrap();
    assert!(out.rejects.is_empty(), "{:?}", out.rejects);
    let batch = out.events.finish().unwrap();
    assert_told(format, &batch);
    batch
}

/// Names every column that only mappings fill, and those that every decoder fills but no decoder's own.
fn mapping_of_everything() -> String {
    let mut text = "format = \"json\"\ntime = \"t\"\ntime_format = \"unix_s\"\nset.class_uid = 1007\n\
                    columns.metadata_product_name = \"s\"\ncolumns.metadata_labels = \"l\"\n"
        .to_owned();
    for column in COLUMNS.iter().filter(|column| column.filled_by == "mapped") {
        let path = match column.kind {
            Kind::Text | Kind::Word => "s",
            Kind::Long | Kind::Int => "n",
            Kind::Words => "l",
            Kind::Time => "t",
            Kind::Flag => "f",
        };
        text.push_str(&format!("columns.{} = \"{path}\"\n", column.name));
    }
    text
}

const MAPPED: &[&str] = &[r#"{"t":1700000000,"s":"x","n":7,"l":["a","b"],"f":true}"#, r#"{"t":1700000000,"s":"y"}"#];

const K8S_AUDIT: &[&str] = &[
    r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a1","stage":"ResponseComplete","verb":"create",
        "requestURI":"/api/v1/namespaces/shop/pods/web-7d4b9c6d5f-x2v9k/exec?command=sh&container=app",
        "user":{"username":"system:serviceaccount:shop:web","uid":"u1","groups":["system:authenticated"]},
        "impersonatedUser":{"username":"root"},"sourceIPs":["10.0.0.1"],"userAgent":"kubectl/v1.31",
        "objectRef":{"resource":"pods","subresource":"exec","namespace":"shop","name":"web-7d4b9c6d5f-x2v9k","uid":"o1","apiVersion":"v1"},
        "responseStatus":{"code":403,"reason":"Forbidden"},"stageTimestamp":"2023-11-14T22:13:20.000001Z",
        "annotations":{"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":"no role","audit.k8s.io/truncated":"true"}}"#,
    r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a2","stage":"ResponseComplete","verb":"create",
        "objectRef":{"resource":"pods","namespace":"shop","name":"web-7d4b9c6d5f-x2v9k"},
        "requestObject":{"spec":{"containers":[{"name":"app","image":"registry:5000/app:1.2@sha256:ff"}]}},
        "stageTimestamp":"2023-11-14T22:13:21.000001Z"}"#,
];

const FALCO: &[&str] = &[
    r#"{"uuid":"f1","hostname":"n1","output":"Sensitive file opened","priority":"Warning","rule":"Read sensitive file","source":"syscall",
        "tags":["container","filesystem"],"time":"2023-11-14T22:13:20.000000001Z",
        "output_fields":{"evt.type":"openat","fd.name":"/etc/shadow","proc.name":"cat","proc.cmdline":"cat /etc/shadow","proc.exepath":"/bin/cat",
        "proc.pid":7,"proc.cwd":"/","proc.ppid":6,"proc.pname":"sh","proc.pcmdline":"sh","proc.pexepath":"/bin/sh","proc.aname[2]":"containerd-shim",
        "user.name":"root","user.uid":0,"user.loginuid":1000,"container.id":"5892b41bcf46","container.name":"app",
        "container.image.repository":"registry:5000/app","container.image.tag":"1.2","container.image.digest":"sha256:ff",
        "k8s.ns.name":"shop","k8s.pod.name":"web-7d4b9c6d5f-x2v9k"}}"#,
    r#"{"hostname":"n1","output":"Connection","priority":"Notice","rule":"Contact API server","source":"syscall",
        "time":"2023-11-14T22:13:21.000000001Z","output_fields":{"evt.type":"connect","fd.name":"172.17.0.9:43812->10.96.0.1:443","fd.l4proto":"tcp"}}"#,
    r#"{"output":"Pod made","priority":"Notice","rule":"Create privileged pod","source":"k8s_audit","time":"2023-11-14T22:13:22.000000001Z",
        "output_fields":{"ka.auditid":"a1","ka.user.name":"bob","ka.verb":"create","ka.uri":"/api/v1/pods","ka.useragent":"kubectl/v1.31",
        "ka.target.resource":"pods","ka.target.subresource":"exec","ka.target.name":"web-7d4b9c6d5f-x2v9k","ka.target.namespace":"shop",
        "ka.auth.decision":"allow","ka.auth.reason":"a role","ka.response.code":"201"}}"#,
];

const AUDITD: &[&str] = &[
    "node=n1 type=SYSCALL msg=audit(1700000000.000:5): arch=c000003e syscall=59 success=no exit=-13 a0=1 ppid=3 pid=4 auid=1000 uid=1000 \
     euid=0 tty=pts0 comm=\"sh\" exe=\"/bin/sh\" key=\"exec\"\u{1d}UID=\"bob\" EUID=\"root\"",
    "node=n1 type=EXECVE msg=audit(1700000000.000:5): argc=2 a0=\"sh\" a1=\"-c\"",
    "node=n1 type=CWD msg=audit(1700000000.000:5): cwd=\"/home/bob\"",
    "node=n1 type=PATH msg=audit(1700000000.000:5): item=0 name=\"/bin/sh\" nametype=NORMAL",
    "node=n1 type=PROCTITLE msg=audit(1700000000.000:5): proctitle=\"sh\"",
    "node=n1 type=SYSCALL msg=audit(1700000000.001:6): arch=c000003e syscall=42 success=yes exit=0 pid=4 comm=\"sh\"",
    "node=n1 type=SOCKADDR msg=audit(1700000000.001:6): saddr=02000050A9FEA9FE0000000000000000",
    "node=n1 type=EOE msg=audit(1700000000.001:6):",
    "node=n1 type=SYSCALL msg=audit(1700000000.002:7): arch=c000003e syscall=49 success=yes exit=0 pid=4 comm=\"sh\"",
    "node=n1 type=SOCKADDR msg=audit(1700000000.002:7): saddr=02001F907F0000010000000000000000",
    "node=n1 type=EOE msg=audit(1700000000.002:7):",
];

/// Everything that a batch says of each row: its columns, and its raw fields.
fn rows(batches: &[EventBatch]) -> Vec<(serde_json::Value, Vec<String>)> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.rows() {
            let mut columns = batch.row_json(row);
            columns["raw"] = batch.text(col::RAW).value(row).into();
            let fields = batch.fields().iter().map(|field| {
                let values: Vec<_> = field.codes(row).iter().map(|&code| &field.values()[code as usize]).collect();
                format!("{values:?}")
            });
            rows.push((columns, fields.collect()));
        }
    }
    rows
}

fn lines(folder: &str, ends: &[&str]) -> Option<Vec<Vec<u8>>> {
    let folder = crate::testing::shared(folder)?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut lines = Vec::new();
    for file in files.iter().filter(|f| ends.iter().any(|end| f.to_string_lossy().ends_with(end))) {
        let text = std::fs::read(file).unwrap();
        lines.extend(text.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec));
    }
    assert!(!lines.is_empty(), "no files in {}", folder.display());
    Some(lines)
}

fn reasons(out: &Decoded) -> Vec<&str> {
    let mut reasons: Vec<&str> = out.rejects.iter().map(|reject| reject.reason.as_str()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    reasons
}

#[test]
fn real_audit_events_are_read_in_any_batching() {
    for (folder, ends, rejects) in [
        ("k8s_audit", [".ndjson", ".none"], 0),
        // One of the files is a document that merely looks like an event.
        ("k8s_audit/falco_trace_files", [".json", ".none"], 1),
        ("k8s_audit/crowdsec", [".log", ".none"], 0),
        ("audit2rbac", [".log", ".none"], 0),
    ] {
        let Some(lines) = lines(folder, &ends) else { return };
        let (whole, out) = run(&Format::K8sAudit, &lines, lines.len());
        let detail: Vec<_> = out.rejects.iter().map(|r| (&r.reason, &r.detail, &r.raw)).collect();
        assert_eq!(out.counts.rejected, rejects, "{folder}: {detail:?}");
        let expected = rows(&whole);
        for size in [1, 7] {
            assert_eq!(rows(&run(&Format::K8sAudit, &lines, size).0), expected, "{folder} in chunks of {size}");
        }
    }
}

#[test]
fn real_falco_alerts_are_read_or_rejected_with_a_reason() {
    let Some(lines) = lines("falco", &[".ndjson"]) else { return };
    let (whole, out) = run(&Format::Falco, &lines, lines.len());
    assert_eq!(reasons(&out), Vec::<&str>::new(), "{:?}", out.rejects);
    assert!(out.counts.coverage > 10 && out.counts.used > 50, "{:?}", out.counts);
    for size in [1, 7] {
        assert_eq!(rows(&run(&Format::Falco, &lines, size).0), rows(&whole));
    }
    // Every alert that is kept reads back from what was stored of it, to the same row.
    let stored: Vec<Vec<u8>> =
        whole.iter().flat_map(|b| (0..b.rows()).map(|r| b.text(col::RAW).value(r).into())).collect();
    let again = rows(&run(&Format::Falco, &stored, 7).0);
    assert_eq!(again.len(), stored.len());
    for ((_, live), (_, hunted)) in rows(&whole).into_iter().zip(again) {
        assert_eq!(live, hunted, "raw fields from the stored original");
    }
}

#[test]
fn bad_records_are_rejected_with_their_reason() {
    let deep = format!("{}1{}", "[".repeat(70), "]".repeat(70));
    let large = format!("{{\"auditID\":\"{}\"}}", "x".repeat(Limits::default().record_bytes_max));
    for (payload, reason) in [
        ("", "empty"),
        ("  \n", "empty"),
        ("{", "not_json"),
        ("\u{feff}", "empty"),
        ("{\"a\":1}", "not_an_audit_event"),
        ("[1,2]", "not_an_audit_event"),
        ("7", "not_an_audit_event"),
        ("{\"kind\":\"EventList\",\"items\":[7,{\"items\":7}]}", "not_an_audit_event"),
        ("{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{}}", "not_an_audit_event"),
        (deep.as_str(), "too_deep"),
        (large.as_str(), "too_large"),
    ] {
        let (batches, out) = run(&Format::K8sAudit, &[payload.into()], 1);
        assert_eq!(reasons(&out), [reason], "{}", &payload[..payload.len().min(60)]);
        assert_eq!((batches[0].rows(), out.counts.rejected), (0, 1));
        assert!(out.rejects.iter().all(|reject| reject.raw.len() <= 4096));
    }
    let (_, out) = run(&Format::K8sAudit, &[vec![b'{', 0xff]], 1);
    assert_eq!(reasons(&out), ["not_utf8"]);
}

#[test]
fn lists_without_members_are_structure() {
    let control = r#"{"messageType":"CONTROL_MESSAGE","owner":"o","logGroup":"","logStream":"","subscriptionFilters":[],
        "logEvents":[{"id":"","timestamp":1700000000000,"message":"CWL CONTROL MESSAGE: Checking health of destination."}]}"#;
    for format in [Format::K8sAudit, Format::Auto] {
        for payload in [r#"{"kind":"EventList","items":[]}"#, r#"{"kind":"PodList","items":[]}"#, "[]", control] {
            let (_, out) = run(&format, &[payload.into()], 1);
            assert_eq!((out.counts.used, out.rejects.len(), out.counts.events), (1, 0, 0), "{format:?}: {payload}");
        }
        let (_, out) = run(&format, &[r#"{"a":1,"b":2,"c":3,"d":4,"events":[]}"#.into()], 1);
        assert_eq!((out.counts.used, out.counts.rejected), (0, 1), "{format:?}");
    }
}

#[test]
fn rejects_of_one_record_are_bounded() {
    for (members, kept, folded) in [(100, 100, None), (101, 101, None), (5000, 101, Some("for 4899 more"))] {
        let payload = format!("[{}1]", "1,".repeat(members - 1));
        let (_, out) = run(&Format::K8sAudit, &[payload.into(), b"7".to_vec()], 1);
        assert_eq!((out.rejects.len(), out.counts.rejected), (kept + 1, 2), "{members} members");
        let told = out.rejects[kept - 1].detail.as_str();
        assert_eq!(told.contains("it stands for"), folded.is_some(), "{told}");
        assert!(told.contains(folded.unwrap_or_default()), "{told}");
    }
}

#[test]
fn a_list_told_what_its_members_are_is_not_worth_more_than_it_says() {
    let payload =
        format!(r#"{{"kind":"{}List","apiVersion":"v1","items":[{}{{}}]}}"#, "K".repeat(200_000), "{},".repeat(2000));
    let (_, out) = run(&Format::K8sObjects, &[payload.into()], 1);
    assert_eq!((out.counts.rejected, out.rejects.len()), (1, 101));
    assert!(out.rejects.iter().all(|reject| reject.raw.len() < 100));
}

#[test]
fn an_array_of_alerts_is_an_alert_each() {
    let alert = |rule: &str| format!(r#"{{"rule":"{rule}","priority":"Notice","time":"2024-05-05T10:00:00Z"}}"#);
    let (batches, _) = run(&Format::Falco, &[format!("[{},{}]", alert("a"), alert("b")).into()], 1);
    let rules: Vec<_> =
        (0..batches[0].rows()).map(|row| batches[0].row_json(row)["finding_info_title"].clone()).collect();
    assert_eq!(rules, ["a", "b"]);
    for (format, sample) in Format::NAMED
        .into_iter()
        .filter(|(name, _)| !matches!(*name, "auto" | "auditd"))
        .map(|(name, format)| (format, crate::testing::samples(name).remove(0)))
    {
        let (alone, _) = run(&format, &[sample.clone().into()], 1);
        let (beside, _) = run(&format, &[format!("[{sample},{sample}]").into()], 1);
        assert_eq!(beside[0].rows(), 2 * alone[0].rows(), "{format:?}");
    }
}

#[test]
fn what_firehose_delivers_is_read() {
    let event = r#"{"auditID":"a","verb":"get","stage":"ResponseComplete","stageTimestamp":"2023-11-14T22:13:20Z"}"#;
    let cloudwatch = serde_json::json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/shop/cluster",
        "logEvents": [{"id": "1", "timestamp": 1_700_000_000_000i64, "message": event}]});
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, cloudwatch.to_string().as_bytes()).unwrap();
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, gzip.finish().unwrap());
    let payload = serde_json::json!({"requestId": "r", "records": [{"data": data}, {"data": data}]}).to_string();
    for format in [Format::K8sAudit, Format::Auto] {
        let (batch, out) = crate::testing::decode(&format, &[], &[&payload]);
        assert_eq!(batch.rows(), 2, "{format:?}: {:?}", out.rejects);
        assert!((0..2).all(|row| batch.row_json(row)["cluster_name"] == "shop"), "{format:?}");
    }
}

#[test]
fn what_a_fact_says_in_words_is_bounded() {
    let rule = format!("Falco internal: {}", "\u{e9}".repeat(5000));
    let alert = format!(r#"{{"rule":"{rule}","priority":"Debug","time":"2023-03-03T03:03:03Z"}}"#);
    let (_, out) = run(&Format::Falco, &[alert.into()], 1);
    assert!(out.coverage[0].detail.len() <= 1024 && out.coverage[0].detail.len() > 1000);
}

#[test]
fn a_time_from_the_future_is_dated_by_its_carrier_and_told() {
    let event = br#"{"auditID":"a","verb":"get","stage":"ResponseComplete","stageTimestamp":"2093-01-01T00:00:00Z"}"#;
    let (batches, out) = run(&Format::K8sAudit, &[event.to_vec()], 1);
    assert_eq!(batches[0].time(col::TIME).value(0), 1_700_000_000_000_000);
    assert_eq!(batches[0].text(col::TIME_ORIGINAL).value(0), "2093-01-01T00:00:00Z");
    assert!(batches[0].flag(col::TIME_DOUBTFUL).value(0));
    assert_eq!(out.coverage.len(), 1);
    assert_eq!((out.coverage[0].kind, out.counts.used, out.counts.coverage), (CoverageKind::Future, 1, 0));
}

#[test]
fn a_header_names_the_cluster_before_the_configuration_does() {
    let settings = Arc::new(settings());
    let lane = Arc::new(Lane::kafka("test", "audit", 3));
    let mut decoder = decoder(&Format::K8sAudit, Arc::clone(&lane), Arc::clone(&settings));
    let mut out = Decoded::new(Arc::clone(&settings.plan));
    let mut chunk = Chunk::new(lane);
    for offset in 0..3 {
        chunk.push(br#"{"auditID":"a","stageTimestamp":"2024-01-01T00:00:00Z"}"#, offset, None, None);
    }
    chunk.records[1].cluster = Some("west".into());
    chunk.records[2].again = true;
    decoder.decode(&chunk, &mut LaneClock::new(Tolerance::default()), &mut out).unwrap();
    let batch = out.events.finish().unwrap();
    let clusters: Vec<_> = (0..2).map(|row| batch.word(col::CLUSTER_NAME).get(row)).collect();
    assert_eq!((batch.rows(), clusters, out.counts.records), (2, vec![Some("lab"), Some("west")], 2));
    assert_eq!((batch.int(col::PARTITION).value(0), batch.long(col::OFFSET).value(1)), (3, 1));
    assert_ne!(batch.uid(0), batch.uid(1));
}

fn samples() -> Vec<(Format, &'static str)> {
    let mapping = Arc::new(Mapping::parse(MAPPING).unwrap());
    let csv = Arc::new(
        Mapping::parse("format = \"csv\"\ntime = \"t\"\ntime_format = \"unix_s\"\ncolumns.process_name = \"who\"")
            .unwrap(),
    );
    vec![
        (
            Format::K8sAudit,
            r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"55ff-1","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/pods?container=a","verb":"create","user":{"username":"system:serviceaccount:shop:web","groups":["a","b"]},"sourceIPs":["1.2.3.4","10.0.0.1"],"objectRef":{"resource":"pods","namespace":"shop"},"requestObject":{"spec":{"containers":[{"image":"r:5000/a:1@sha256:ff","securityContext":{"privileged":true},"env":[{"name":"DB_PASSWORD","value":"hunter2"}]}]}},"responseStatus":{"code":201},"stageTimestamp":"2024-05-05T16:16:37.663647Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#,
        ),
        (
            Format::K8sAudit,
            r#"{"kind":"EventList","items":[{"auditID":"a","stage":"s","stageTimestamp":"2024-05-05T16:16:37Z","n":1e3},{"auditID":"b","timestamp":"x"}, 4]}"#,
        ),
        (
            Format::Falco,
            r#"{"hostname":"n1","output":"x <NA>","output_fields":{"container.id":"0123456789ab","evt.time":1709283154832049033,"fd.name":"10.0.0.1:5->[::1]:443","proc.aname[2]":"init","proc.name":null,"user.loginuid":-1},"priority":"Warning","rule":"R","source":"syscall","tags":["t"],"time":"2024-03-01T08:52:34.832049033Z"}"#,
        ),
        (
            Format::Falco,
            r#"{"output_fields":{"n_drops":"922"},"priority":"Debug","rule":"Falco internal: syscall event drop","time":"2023-03-03T03:03:03.000000003Z"}"#,
        ),
        (
            Format::Mapped(mapping),
            r#"{"t":1714925797663,"who":"bash","n":12,"x":{"y":[[],{"z":"\u00e9\ud83d\ude00"}]}}"#,
        ),
        (Format::Mapped(csv), "who,t\nbash,\"17\"\"\"\n,1714925797.5"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Damaged input becomes rows or rejects, never a panic, and each record still ends in one bucket.
    #[test]
    fn damaged_records_never_panic(
        which in 0usize..6,
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..9), 0..6),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let (format, text) = &samples()[which];
        let mut bytes = text.as_bytes().to_vec();
        for (place, byte, kind) in cuts {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => { bytes.remove(at); }
                3 => bytes.insert(at, b"{}[]\",:\\"[usize::from(byte) % 8]),
                4 => bytes[at] = b"{}[]\",:\\"[usize::from(byte) % 8],
                5 => bytes.splice(at..at, *b"9223372036854775808").for_each(drop),
                6 => bytes.splice(at..at, *b"<redacted:jwt>").for_each(drop),
                7 => bytes.splice(at..at, *b"null").for_each(drop),
                _ => bytes.splice(at..at, *b"\\u0041").for_each(drop),
            }
            prop_assume!(!bytes.is_empty());
        }
        if truncate {
            bytes.truncate(cut.index(bytes.len()));
        }
        let lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let (whole, _) = run(format, &lines, lines.len());
        let (ones, _) = run(format, &lines, 1);
        prop_assert_eq!(rows(&whole), rows(&ones));
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), which in 0usize..6) {
        run(&samples()[which].0, &[bytes], 1);
    }
}

/// Prints how many audit events a second one core decodes. Run with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a check"]
fn audit_decoding_speed() {
    let event = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"RequestResponse","auditID":"cd7742f3-6ded-467d-af75-c1a8e333ebd0","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/configmaps/web-leader?timeout=32s","verb":"update","user":{"username":"system:serviceaccount:shop:web","uid":"5760272d-4bf9-483b-a6c7-ceebcb04f487","groups":["system:serviceaccounts","system:serviceaccounts:shop","system:authenticated"]},"sourceIPs":["172.31.16.64"],"userAgent":"web/v1.15.10 (linux/amd64) kubernetes/059c666/leader-election","objectRef":{"resource":"configmaps","namespace":"shop","name":"web-leader","uid":"7b0f1a88-9c7a-4f60-9e0d-1f2c3d4e5f60","apiVersion":"v1","resourceVersion":"123456"},"responseStatus":{"metadata":{},"code":200},"requestObject":{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"web-leader","namespace":"shop","uid":"7b0f1a88-9c7a-4f60-9e0d-1f2c3d4e5f60","resourceVersion":"123456","creationTimestamp":"2024-04-05T16:16:37Z","annotations":{"control-plane.alpha.kubernetes.io/leader":"{\"holderIdentity\":\"web-7d4b9c6d5f-x2v9k\",\"leaseDurationSeconds\":15}"}}},"requestReceivedTimestamp":"2024-05-05T16:16:37.655912Z","stageTimestamp":"2024-05-05T16:16:37.663647Z","annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by RoleBinding \"web/shop\" of Role \"web\" to ServiceAccount \"web/shop\""}}"#;
    let lane = Arc::new(Lane::channel("test", "unit"));
    let count = 2000;
    for (name, redactor, fields) in [
        ("redaction on", Redactor::default(), FIELDS),
        ("no fields", Redactor::default(), &[]),
        ("redaction off", Redactor::off(), FIELDS),
    ] {
        let plan = Arc::new(FieldPlan::new(fields));
        let settings = Arc::new(Settings { redactor: Arc::new(redactor), plan: Arc::clone(&plan), ..settings() });
        let mut decoder = decoder(&Format::K8sAudit, Arc::clone(&lane), settings);
        let mut clock = LaneClock::new(Tolerance::default());
        let mut out = Decoded::new(plan);
        let mut chunk = Chunk::new(Arc::clone(&lane));
        for offset in 0..count {
            chunk.push(event.as_bytes(), offset, None, None);
        }
        let rounds = 50;
        let mut best = f64::MAX;
        for _ in 0..rounds {
            #[allow(clippy::disallowed_methods)]
            let start = std::time::Instant::now();
            decoder.decode(&chunk, &mut clock, &mut out).unwrap();
            let batch = out.events.finish().unwrap();
            best = best.min(start.elapsed().as_secs_f64());
            assert_eq!(batch.rows() as i64, count);
        }
        let rate = count as f64 / best;
        println!(
            "{name}: {} bytes, {:.0} events/s, {:.0} MB/s, {:.2} us",
            event.len(),
            rate,
            rate * event.len() as f64 / 1e6,
            1e6 / rate
        );
    }
}
