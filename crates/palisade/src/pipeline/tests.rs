//! The pipeline as an embedder calls it: bytes and Arrow batches in, findings out, mistakes refused.

use arrow::array::{
    Int32Array, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use palisade_events::FindingKind;

use super::*;

const START: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

/// One row per time: mallory opens a session in a pod.
fn sessions(times: ArrayRef) -> RecordBatch {
    let rows = times.len();
    let same = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows])) };
    let columns: [(&str, ArrayRef); 9] = [
        ("time", times),
        ("actor_user_name", same("mallory")),
        ("api_operation", same("create")),
        ("resource_type", same("pods")),
        ("resource_subresource", same("exec")),
        ("namespace_name", same("shop")),
        ("workload_name", same("web")),
        ("pod_name", same("web-0")),
        ("status_id", Arc::new(Int32Array::from(vec![1; rows]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// A batch with one column added, or put in the place of the present one.
fn with(batch: &RecordBatch, name: &str, value: &str) -> RecordBatch {
    let rows = batch.num_rows();
    let schema = batch.schema();
    let present = schema.fields().iter().map(|field| field.name().clone()).zip(batch.columns().iter().cloned());
    let mut columns: Vec<(String, ArrayRef)> = present.filter(|(known, _)| known != name).collect();
    columns.push((name.to_owned(), Arc::new(StringArray::from(vec![value; rows]))));
    RecordBatch::try_from_iter(columns).unwrap()
}

fn at(secs: &[i64]) -> ArrayRef {
    let times: TimestampMicrosecondArray = secs.iter().map(|secs| Some((START + secs) * 1_000_000)).collect();
    Arc::new(times.with_timezone("UTC"))
}

fn pipeline() -> Pipeline {
    Pipeline::builder().source("audit", "k8s_audit").cluster("c").build().unwrap()
}

fn titles(findings: &[Finding], kind: FindingKind) -> Vec<&str> {
    findings.iter().filter(|finding| finding.kind == kind).map(|finding| finding.title.as_str()).collect()
}

fn wrong(builder: PipelineBuilder) -> ConfigError {
    match builder.build() {
        Err(Error::Config(error)) => error,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was built"),
    }
}

#[test]
fn arrow_batches_are_of_the_format_that_their_source_declares() {
    let mut pipeline = pipeline();
    let found = pipeline.push_batch("audit", &sessions(at(&[0]))).unwrap();
    assert_eq!(titles(&found, FindingKind::Rule), ["Command Run In A Pod"]);
    assert_eq!(found[0].entity.cluster, "c", "and of its cluster");
    let own = with(&sessions(at(&[1])), "format", "falco");
    assert!(pipeline.push_batch("audit", &own).unwrap().is_empty(), "a batch that says its format is believed");
    let own = with(&sessions(at(&[2])), "cluster_name", "d");
    assert_eq!(pipeline.push_batch("audit", &own).unwrap()[0].entity.cluster, "d");
}

#[test]
fn starter_correlations_see_arrow_batches() {
    let mut pipeline = pipeline();
    let session = sessions(at(&[0, 1]));
    let mut reads = with(&sessions(at(&[60, 61])), "resource_type", "secrets");
    reads = with(&reads, "api_operation", "get");
    reads = with(&reads, "resource_subresource", "");
    let mut found = pipeline.push_batch("audit", &session).unwrap();
    found.extend(pipeline.push_batch("audit", &reads).unwrap());
    found.extend(pipeline.finish().unwrap());
    assert_eq!(pipeline.failures(), Vec::<String>::new());
    let correlated = titles(&found, FindingKind::Correlation);
    assert!(correlated.contains(&"Secrets read shortly after a command in a pod"), "{correlated:?}");
}

#[test]
fn times_of_any_unit_become_microseconds() {
    let micros = START * 1_000_000;
    let times: [ArrayRef; 6] = [
        at(&[0]),
        Arc::new(TimestampMicrosecondArray::from(vec![micros])),
        Arc::new(TimestampSecondArray::from(vec![START]).with_timezone("UTC")),
        Arc::new(TimestampMillisecondArray::from(vec![START * 1000])),
        Arc::new(TimestampNanosecondArray::from(vec![micros * 1000 + 999]).with_timezone("+02:00")),
        Arc::new(Int64Array::from(vec![micros])),
    ];
    for time in times {
        let kind = time.data_type().clone();
        let found = pipeline().push_batch("audit", &sessions(time)).unwrap();
        assert_eq!(found.iter().map(|finding| finding.time).collect::<Vec<_>>(), [micros], "{kind}");
    }
}

#[test]
fn a_batch_that_cannot_be_used_is_refused_whole_and_holds_nothing_up() {
    let mut pipeline = pipeline();
    let nanoseconds: ArrayRef = Arc::new(Int64Array::from(vec![START * 1_000_000_000]));
    let error = pipeline.push_batch("audit", &sessions(nanoseconds)).unwrap_err();
    assert!(matches!(&error, Error::Usage(why) if why.contains("microseconds")), "{error}");
    let missing: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![None::<i64>]));
    assert!(matches!(pipeline.push_batch("audit", &sessions(missing)), Err(Error::Events(_))));
    assert!(matches!(pipeline.push_batch("other", &sessions(at(&[0]))), Err(Error::Usage(_))));
    assert_eq!(pipeline.accounts(), Accounts::default());
    assert_eq!(pipeline.push_batch("audit", &sessions(at(&[0]))).unwrap().len(), 1);
    assert_eq!(pipeline.accounts().used, 1);
}

#[test]
fn rows_from_the_future_are_facts_as_records_are() {
    let mut pipeline = pipeline();
    pipeline.push_batch("audit", &sessions(at(&[0, 1, 10_000_000, 2]))).unwrap();
    let facts = pipeline.coverage();
    assert_eq!(facts.len(), 1, "{facts:?}");
    let (fact, moment) = (&facts[0], (START + 1) * 1_000_000);
    assert_eq!((fact.kind, fact.offset, fact.count), (palisade_events::CoverageKind::Future, 2, 1));
    assert_eq!((fact.window_start, fact.window_end), (moment, moment), "dated by the rows before it");
    assert_eq!(fact.cluster, "c");
    assert!(fact.detail.starts_with("event time 2026-04-26T17:46:40"), "{}", fact.detail);
    assert_eq!(pipeline.accounts().doubtful, 1);
}

#[test]
fn an_embedder_says_until_when_times_are_believed() {
    let year = 31_536_000;
    // Until when, if that is said; the seconds of the rows; how many of them are doubtful.
    for (until, secs, doubtful) in [
        (None, vec![0, year, 2 * year], 2),
        (Some(3 * year), vec![0, year, 2 * year], 0),
        (Some(10), vec![year, 0, 1], 1),
        (Some(10), vec![year; 20], 20),
        (None, vec![7000 * year], 1),
    ] {
        let mut pipeline = pipeline();
        if let Some(until) = until {
            pipeline.believe_until((START + until) * 1_000_000);
        }
        for sec in &secs {
            pipeline.push_batch("audit", &sessions(at(&[*sec]))).unwrap();
        }
        pipeline.finish().unwrap();
        assert_eq!(pipeline.accounts().doubtful, doubtful, "{until:?} {secs:?}");
        assert_eq!(pipeline.coverage().len() as u64, doubtful, "{until:?} {secs:?}");
    }
    // What was said holds from the next record on.
    let mut pipeline = pipeline();
    for (until, sec) in [(10, 20), (30, 20), (30, 40), (50, 40)] {
        pipeline.believe_until((START + until) * 1_000_000);
        pipeline.push_batch("audit", &sessions(at(&[sec]))).unwrap();
    }
    assert_eq!(pipeline.accounts().doubtful, 2);
}

#[test]
fn sources_that_fall_silent_are_facts_of_an_embedded_pipeline_too() {
    let mut config = Config::default();
    for name in ["audit", "other"] {
        let source = SourceConfig::new(name, SourceKind::Channel, "k8s_audit");
        config.sources.push(SourceConfig { silence_secs: Some(60.0), cluster: name.into(), ..source });
    }
    let mut pipeline = Pipeline::new(&config).unwrap();
    pipeline.push_batch("audit", &sessions(at(&[0, 1]))).unwrap();
    for start in [0, 50, 100, 150] {
        pipeline.push_batch("other", &sessions(at(&[start, start + 40]))).unwrap();
    }
    assert_eq!(pipeline.coverage(), [], "the silent source holds panes open: nobody here has a clock");
    pipeline.push_batch("audit", &sessions(at(&[170, 190]))).unwrap();
    pipeline.finish().unwrap();
    let facts = pipeline.coverage();
    let told: Vec<_> = facts.iter().map(|f| (f.cluster.as_str(), f.window_start, f.window_end)).collect();
    let secs = |secs: i64| (START + secs) * 1_000_000;
    assert_eq!(told, [("audit", secs(1), secs(61)), ("audit", secs(1), secs(170))]);
}

#[test]
fn nothing_goes_into_a_finished_pipeline() {
    let mut pipeline = pipeline();
    pipeline.push("audit", ["{}"]).unwrap();
    pipeline.finish().unwrap();
    let chunk = Chunk::new(Arc::new(Lane::channel("audit", "audit")));
    for outcome in [
        pipeline.push("audit", ["{}"]),
        pipeline.push_chunk(chunk),
        pipeline.push_batch("audit", &sessions(at(&[0]))),
        pipeline.finish(),
    ] {
        assert!(matches!(&outcome, Err(Error::Usage(why)) if why.contains("finished")), "{outcome:?}");
    }
    assert_eq!((pipeline.rejects().len(), pipeline.accounts().records), (1, 1), "what it holds can still be asked for");
}

#[test]
fn records_are_numbered_on_whatever_comes_between() {
    let exec = |second: i64| {
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"ResponseStarted","verb":"create",
            "user":{{"username":"mallory"}},
            "objectRef":{{"resource":"pods","subresource":"exec","namespace":"shop","name":"web-0"}},
            "responseStatus":{{"code":101}},"stageTimestamp":"2026-01-01T00:00:0{second}.000000Z"}}"#
        )
    };
    let mut pipeline = pipeline();
    let mut found = pipeline.push("audit", [exec(0)]).unwrap();
    found.extend(pipeline.push_chunk(Chunk::new(Arc::new(Lane::channel("audit", "audit")))).unwrap());
    found.extend(pipeline.push_batch("audit", &sessions(at(&[1]))).unwrap());
    found.extend(pipeline.push("audit", Vec::<String>::new()).unwrap());
    found.extend(pipeline.push("audit", [exec(2)]).unwrap());
    let places: Vec<String> = found.iter().map(|finding| finding.evidence[0].position.to_string()).collect();
    assert_eq!(places, ["audit#0", "audit#1", "audit#2"]);
}

#[test]
fn what_was_said_wrongly_is_told_by_key_and_line() {
    let builder = || Pipeline::builder().source("audit", "k8s_audit");
    for (builder, place, key, line) in [
        (Pipeline::builder().cluster("c").source("audit", "k8s_audit"), "pipeline builder", "cluster", None),
        (Pipeline::builder().mapping("m.toml"), "pipeline builder", "mapping", None),
        (Pipeline::builder().source("a", "nope"), "pipeline builder", "source[0].format", None),
        (builder().source("audit", "falco"), "pipeline builder", "source[1].name", None),
        (builder().rules("/not/there.yml"), "pipeline builder", "rules.paths", None),
        (builder().correlations("/not/there.toml"), "pipeline builder", "correlate.paths", None),
        (builder().settings("\n[pipeline]\npane_secs = \"ten\""), "settings", "pipeline.pane_secs", Some(3)),
        (builder().settings("[pipeline]\n\npane_secs = 0"), "settings", "pipeline.pane_secs", Some(3)),
        (
            builder().settings("job = \"a\"").settings("[pipeline]\npane_sec = 1"),
            "settings (call 2)",
            "pipeline.pane_sec",
            Some(2),
        ),
        (builder().settings("[[source]]\nname = \"b\""), "settings", "source", Some(1)),
    ] {
        let error = wrong(builder);
        assert_eq!((error.place.as_str(), error.key.as_str(), error.line), (place, key, line), "{error}");
    }
    let mut config = Config::default();
    config.pipeline.pane_secs = 0.0;
    assert!(matches!(Pipeline::new(&config), Err(Error::Config(error)) if error.key == "pipeline.pane_secs"));
}

#[test]
fn owners_of_code_and_text_come_in_their_order() {
    let owner = |owner: &str, namespace: &str| Ownership {
        owner: owner.into(),
        namespace: Some(namespace.into()),
        ..Ownership::default()
    };
    let config = Config { owners: vec![owner("team-data", "data")], ..Config::default() };
    let builder = Pipeline::builder()
        .config(config)
        .source("audit", "k8s_audit")
        .owner(owner("team-shop", "shop"))
        .settings("[[owner]]\nowner = \"nobody\"");
    let found = builder.build().unwrap().push_batch("audit", &sessions(at(&[0]))).unwrap();
    assert_eq!(found[0].owner.as_deref(), Some("team-shop"));
}
