//! Hunts over small lakes on disk.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use palisade_events::{
    Attack, Confidence, Entity, EntityKind, EventBuilder, FieldPlan, Finding, FindingKind, Severity, col,
};
use palisade_lake::{DataFile, Disposition, DispositionStatus, EventWriter, LakeOptions, TableWriter, WriterOptions};

use super::*;

mod objects;
mod rules;

#[test]
fn statements_end_at_semicolons_outside_of_quotes() {
    let text = "SELECT ';' AS \"a;b\"; -- one; two\nSHOW TABLES;\n/* ; */ SELECT 2;;";
    let whole = statements(text).unwrap();
    assert_eq!(whole, ["SELECT ';' AS \"a;b\"", "SHOW TABLES", "SELECT 2"]);
    assert!(statements("SELECT 1; SELEC 2").is_err());
    assert!(statements(" ; ").unwrap().is_empty());
}

/// Midnight of 2026-01-31.
const MIDNIGHT: i64 = 1_769_817_600_000_000;
const DAY: i64 = 86_400_000_000;

fn events(day: i64, rows: i64) -> EventBatch {
    let mut builder = EventBuilder::new(Arc::new(FieldPlan::default()));
    for row in 0..rows {
        builder.put_text(col::EVENT_UID, &format!("{:032x}", day * 1_000_000 + row));
        builder.put_time(col::TIME, MIDNIGHT + day * DAY + row * 1_000_000);
        builder.put_int(col::CLASS_UID, if row % 2 == 0 { 6003 } else { 1007 });
        builder.put_int(col::ACTIVITY_ID, 1);
        for column in [col::SOURCE, col::FORMAT, col::ORIGIN] {
            builder.put_word(column, "x");
        }
        builder.put_int(col::PARTITION, 0);
        builder.put_long(col::OFFSET, day * rows + row);
        builder.put_flag(col::LATE, row % 5 == 0);
        builder.put_word(col::ACTOR_USER_NAME, &format!("user-{day}-{}", row % 3));
        builder.put_words(col::ACTOR_USER_GROUPS, ["a", "b"]);
        builder.put_text(col::RAW, &format!("{{\"n\":{row}}}"));
        builder.end_row();
    }
    builder.finish().unwrap()
}

fn finding(uid: &str, group: &str, severity: Severity, suppressed_by: Option<&str>) -> Finding {
    let entity = Entity { kind: EntityKind::User, cluster: "c".into(), namespace: None, name: "alice".into() };
    Finding {
        finding_uid: uid.into(),
        group_uid: group.into(),
        time: MIDNIGHT,
        kind: FindingKind::Rule,
        rule_uid: "r".into(),
        rule_version: "1".into(),
        title: "t".into(),
        severity,
        confidence: Confidence::new(1.0),
        entity: entity.clone(),
        entities: vec![entity],
        owner: None,
        count: 2,
        first_seen: MIDNIGHT,
        last_seen: MIDNIGHT + 5,
        detected_at: MIDNIGHT,
        author: String::new(),
        references: Vec::new(),
        false_positives: Vec::new(),
        triage: Vec::new(),
        attack: Attack::default(),
        explanation: String::new(),
        observed: String::new(),
        expected: String::new(),
        p_value: None,
        evidence: Vec::new(),
        excerpt: String::new(),
        coverage: "complete".into(),
        suppressed_by: suppressed_by.map(Into::into),
    }
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    async fn new(events: &[EventBatch], findings: &[Finding], dispositions: &[Disposition]) -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        let mut lake = Lake::open(place.url(), LakeOptions::fast()).await.unwrap();
        let epoch = lake.own("j/owner").await.unwrap();
        let mut commits: Vec<(Table, Vec<DataFile>)> = Vec::new();
        let mut writer = EventWriter::new(WriterOptions::default());
        events.iter().for_each(|batch| writer.push(batch).unwrap());
        commits.push((Table::Events, writer.finish().unwrap()));
        let mut writer = TableWriter::new(Table::Findings, WriterOptions::default());
        writer.push(&palisade_events::finding::findings_batch(findings).unwrap()).unwrap();
        commits.push((Table::Findings, writer.finish().unwrap()));
        for (table, files) in commits {
            lake.commit(table, files, &[], ("j/owner", epoch), table.name()).await.unwrap();
        }
        if !dispositions.is_empty() {
            lake.dispose(dispositions).await.unwrap();
        }
        place
    }

    fn url(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    async fn hunt(&self) -> Hunt {
        Hunt::open(self.url()).await.unwrap()
    }
}

async fn texts(hunt: &Hunt, query: &str) -> String {
    pretty_format_batches(&hunt.sql(query).await.unwrap()).unwrap().to_string()
}

#[tokio::test]
async fn events_come_back_as_they_were_stored() {
    let batch = events(0, 20);
    let place = Place::new(std::slice::from_ref(&batch), &[], &[]).await;
    let hunt = place.hunt().await;
    let found: Vec<EventBatch> =
        hunt.events_with("true", &[], RowOrder::Lane).await.unwrap().try_collect().await.unwrap();
    let found = EventBatch::concat(&found).unwrap();
    assert_eq!(found.columns().num_rows(), 20);
    for row in 0..20 {
        assert_eq!(found.row_json(row), batch.row_json(row));
        assert_eq!(found.text(col::RAW).value(row), batch.text(col::RAW).value(row));
    }
    let some: Vec<EventBatch> = hunt
        .events_with("actor_user_name = 'user-0-1'", &["actor_user_name"], RowOrder::Time)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap();
    let some = EventBatch::concat(&some).unwrap();
    assert_eq!(some.rows(), 7);
    assert_eq!(some.word(col::ACTOR_USER_NAME).get(0), Some("user-0-1"));
    assert!(hunt.events_with("true", &["no_such"], RowOrder::Any).await.is_err());
    assert!(hunt.events("no_such = 1").await.is_err());
}

#[tokio::test]
async fn a_limit_holds_whatever_is_read() {
    let place = Place::new(&[events(0, 40), events(1, 40)], &[], &[]).await;
    let hunt = place.hunt().await;
    for query in
        ["SELECT 1 FROM events LIMIT 3", "SELECT raw FROM events LIMIT 3", "SELECT 1 FROM events WHERE late LIMIT 3"]
    {
        let rows: usize = hunt.sql(query).await.unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, 3, "{query}");
    }
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let place = Place::new(&[events(0, 4)], &[], &[]).await;
    let hunt = place.hunt().await;
    let outside = place.folder.path().join("out.parquet");
    for query in [
        "INSERT INTO dispositions SELECT * FROM dispositions",
        "DELETE FROM events",
        "UPDATE events SET source = 'y'",
        "CREATE TABLE t AS SELECT 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "DROP TABLE events",
        "SET datafusion.execution.batch_size = 1",
        &format!("COPY events TO '{}'", outside.display()),
    ] {
        assert!(hunt.sql(query).await.is_err(), "{query}");
    }
    assert!(!outside.exists());
}

#[tokio::test]
async fn an_answer_beyond_the_bound_is_an_error_not_a_cut() {
    let place = Place::new(&[events(0, 20)], &[], &[]).await;
    let limits = Limits { rows_max: 10, ..Limits::default() };
    let hunt = Hunt::open_with(place.url(), LakeOptions::default(), limits).await.unwrap();
    assert!(matches!(hunt.sql("SELECT * FROM events").await, Err(Error::TooManyRows { rows_max: 10 })));
    assert_eq!(
        hunt.sql("SELECT * FROM events LIMIT 10").await.unwrap().iter().map(|b| b.num_rows()).sum::<usize>(),
        10
    );
}

#[tokio::test]
async fn a_query_reads_only_the_files_that_can_hold_its_rows() {
    let days: Vec<EventBatch> = (0..2).map(|day| events(day, 50)).collect();
    let place = Place::new(&days, &[], &[]).await;
    let hunt = place.hunt().await;
    for (filter, files) in [
        ("true", 4),
        ("date = '2026-02-01'", 2),
        ("date = '2026-02-01' AND class_uid = 1007", 1),
        ("time >= TIMESTAMP '2026-02-01T00:00:00Z' AND time < TIMESTAMP '2026-02-02T00:00:00Z'", 2),
        ("actor_user_name = 'user-1-2'", 2),
        ("record_offset = 99", 1),
    ] {
        let plan = texts(&hunt, &format!("EXPLAIN SELECT raw FROM events WHERE {filter}")).await;
        assert_eq!(plan.matches(".parquet").count(), files, "{filter}\n{plan}");
    }
    let rows = texts(&hunt, "SELECT record_offset FROM events WHERE record_offset = 99").await;
    assert!(rows.contains("99"), "{rows}");
}

#[tokio::test]
async fn the_views_have_ecs_names() {
    let place = Place::new(&[events(0, 2)], &[], &[]).await;
    let hunt = place.hunt().await;
    let rows = texts(&hunt, "SELECT \"user.name\", \"event.id\" FROM events_ecs ORDER BY \"@timestamp\" LIMIT 1").await;
    assert!(rows.contains("user-0-0") && rows.contains("user.name"), "{rows}");
}

#[tokio::test]
async fn findings_stay_open_until_their_last_disposition_closes_them() {
    use DispositionStatus::{Acknowledged, Benign, FalsePositive, Open};
    let findings: Vec<Finding> = [("f1", "g1"), ("f2", "g1"), ("f3", "g2"), ("f4", "g3"), ("f5", "g3"), ("f6", "g4")]
        .into_iter()
        .map(|(uid, group)| finding(uid, group, Severity::Low, (uid == "f6").then_some("exception")))
        .collect();
    let decide = |finding: &str, group: &str, status, at| Disposition {
        finding_uid: (!finding.is_empty()).then(|| finding.into()),
        group_uid: (!group.is_empty()).then(|| group.into()),
        status,
        reason: "r".into(),
        by: "ana".into(),
        at,
    };
    let dispositions = [
        decide("f1", "", FalsePositive, 10),
        // The group is closed, and one of its findings is opened again.
        decide("", "g3", Benign, 10),
        decide("f5", "", Open, 20),
        // Closed, then taken back.
        decide("f3", "", Benign, 5),
        decide("f3", "g2", Acknowledged, 6),
    ];
    let place = Place::new(&[events(0, 1)], &findings, &dispositions).await;
    let hunt = place.hunt().await;
    let open =
        texts(&hunt, "SELECT string_agg(finding_uid, ',' ORDER BY finding_uid) AS open FROM findings_open").await;
    assert!(open.contains("| f2,f3,f5 |"), "{open}");
    let judged =
        texts(&hunt, "SELECT disposition_status, disposition_by FROM findings_judged WHERE finding_uid = 'f4'").await;
    assert!(judged.contains("benign") && judged.contains("ana"), "{judged}");
}

#[tokio::test]
async fn groups_count_their_findings() {
    let findings = [
        finding("f1", "g1", Severity::Low, None),
        finding("f2", "g1", Severity::High, None),
        finding("f3", "g1", Severity::Critical, Some("exception")),
    ];
    let place = Place::new(&[events(0, 1)], &findings, &[]).await;
    let hunt = place.hunt().await;
    let rows = texts(&hunt, "SELECT findings, suppressed, events, severity_id FROM findings_grouped").await;
    assert!(rows.contains("| 2        | 1          | 4      | 4           |"), "{rows}");
}

#[tokio::test]
async fn a_hunt_without_a_lake_names_the_place() {
    let error = Hunt::open("/nowhere/at/all").await.err().unwrap();
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[tokio::test]
async fn bloom_filters_spare_row_groups_that_cannot_hold_an_id() {
    let place = Place::new(&[events(0, 50)], &[], &[]).await;
    let hunt = place.hunt().await;
    // Odd rows are of the other class, so that the id lies between the smallest and the largest of this file.
    let query = format!("SELECT raw FROM events WHERE class_uid = 6003 AND event_uid = '{:032x}'", 25);
    let plan = texts(&hunt, &format!("EXPLAIN ANALYZE {query}")).await;
    assert!(plan.contains("row_groups_pruned_bloom_filter=1 total → 0 matched"), "{plan}");
}
