//! Commits under races, faults and crashes.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use object_store::ObjectStore as _;

use super::*;
use crate::testing::{Disk, Fault, URL, events, files};
use crate::{KnownFile, LaneState, Manifest, TableWriter, WriterOptions, verify};
use palisade_events::Lane as EventLane;

const OWNER: &str = "job/owner";
const LANE: &str = "job/logs/0";

async fn offsets(lake: &mut Lake) -> Vec<i64> {
    let mut offsets: Vec<i64> = Vec::new();
    for batch in lake.rows(Table::Events, &["record_offset"]).await.unwrap() {
        offsets.extend(batch.column(0).as_primitive::<Int64Type>().values());
    }
    offsets.sort_unstable();
    offsets
}

async fn owned(options: LakeOptions) -> (Lake, i64) {
    let mut lake = Lake::open(URL, options).await.unwrap();
    let epoch = lake.own(OWNER).await.unwrap();
    (lake, epoch)
}

async fn commit(lake: &mut Lake, epoch: i64, rows: std::ops::Range<i64>) -> Result<Landed, CommitError> {
    let txns = [(LANE.to_owned(), rows.end)];
    let uid = format!("job/{epoch}/{}", rows.end);
    lake.commit(Table::Events, files(&events(0, rows)), &txns, (OWNER, epoch), &uid).await
}

#[tokio::test]
async fn what_landed_is_known_after_reopening() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    let landed = commit(&mut lake, epoch, 0..10).await.unwrap();
    assert_eq!((landed.attempts, landed.version), (1, lake.version(Table::Events)));
    let mut again = Lake::open_existing_with(URL, disk.options()).await.unwrap();
    assert_eq!(again.landed(Table::Events, LANE), Some(10));
    assert_eq!(again.landed(Table::Decisions, OWNER), Some(epoch));
    assert_eq!(offsets(&mut again).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_lake_that_was_moved_away_is_not_begun_anew_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (place, aside) = (folder.path().join("lake"), folder.path().join("aside"));
    let url = place.display().to_string();
    let mut lake = Lake::open(&url, LakeOptions { attempts_max: 1, ..LakeOptions::fast() }).await.unwrap();
    let epoch = lake.own(OWNER).await.unwrap();
    commit(&mut lake, epoch, 0..10).await.unwrap();
    std::fs::rename(&place, &aside).unwrap();
    let refused = commit(&mut lake, epoch, 10..20).await.unwrap_err();
    assert!(matches!(&refused, CommitError::Store { source, .. } if source.may_pass()), "{refused}");
    assert!(!place.exists(), "nothing was written where the lake is not");
    std::fs::rename(&aside, &place).unwrap();
    commit(&mut lake, epoch, 10..20).await.unwrap();
    assert_eq!(offsets(&mut lake).await, (0..20).collect::<Vec<_>>());
    assert_eq!(verify(&url, LakeOptions::fast()).await.unwrap(), []);
}

#[tokio::test]
async fn the_same_commit_again_adds_nothing() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    let first = commit(&mut lake, epoch, 0..10).await.unwrap();
    let second = commit(&mut lake, epoch, 0..10).await.unwrap();
    assert_eq!((second.version, second.attempts), (first.version, 0));
    // Another process that repeats it recognises it in the log.
    let mut other = Lake::open(URL, disk.options()).await.unwrap();
    assert_eq!(commit(&mut other, epoch, 0..10).await.unwrap().version, first.version);
    assert_eq!(offsets(&mut other).await.len(), 10);
}

#[tokio::test]
async fn an_older_position_is_refused() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    commit(&mut lake, epoch, 0..10).await.unwrap();
    let refused = commit(&mut lake, epoch, 0..5).await;
    assert!(matches!(refused, Err(CommitError::Conflict { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_zombie_is_fenced_and_leaves_no_row() {
    let disk = Disk::default();
    let (mut zombie, old) = owned(disk.options()).await;
    commit(&mut zombie, old, 0..10).await.unwrap();
    let (mut owner, new) = owned(disk.options()).await;
    assert!(new > old);
    assert_eq!(owner.landed(Table::Events, LANE), Some(10));
    let fenced = commit(&mut zombie, old, 10..20).await;
    assert!(matches!(fenced, Err(CommitError::Fenced { epoch, .. }) if epoch == new), "{fenced:?}");
    commit(&mut owner, new, 10..30).await.unwrap();
    assert_eq!(offsets(&mut owner).await, (0..30).collect::<Vec<_>>());
}

#[tokio::test]
async fn of_owners_that_race_one_holds_the_lake() {
    let disk = Disk::default();
    let mut lakes = Vec::new();
    for _ in 0..4 {
        lakes.push(Lake::open(URL, disk.options()).await.unwrap());
    }
    let owned = futures::future::join_all(lakes.iter_mut().map(|lake| lake.own(OWNER))).await;
    let epochs: Vec<i64> = owned.into_iter().map(Result::unwrap).collect();
    let newest = *epochs.iter().max().unwrap();
    assert_eq!(epochs.iter().filter(|epoch| **epoch == newest).count(), 1);
    for (lake, epoch) in lakes.iter_mut().zip(epochs) {
        let outcome = commit(lake, epoch, 0..10).await;
        assert_eq!(outcome.is_ok(), epoch == newest, "{outcome:?}");
    }
}

#[tokio::test]
async fn writers_of_other_jobs_do_not_disturb() {
    let disk = Disk::default();
    let (mut one, epoch) = owned(disk.options()).await;
    let mut two = Lake::open(URL, disk.options()).await.unwrap();
    let other = two.own("other/owner").await.unwrap();
    for round in 0..3 {
        commit(&mut one, epoch, round * 10..round * 10 + 10).await.unwrap();
        let txns = [("other/logs/1".to_owned(), round * 10 + 10)];
        let rows = files(&events(1, round * 10..round * 10 + 10));
        let uid = format!("other/{round}");
        let landed = two.commit(Table::Events, rows, &txns, ("other/owner", other), &uid).await.unwrap();
        assert_eq!(landed.attempts, 2, "the place was taken, and the commit went after it");
    }
    assert_eq!(offsets(&mut one).await.len(), 60);
    assert_eq!(verify(URL, disk.options()).await.unwrap(), []);
}

#[tokio::test]
async fn a_put_whose_answer_was_lost_has_landed_once() {
    for fault in [Fault::AnswerLost, Fault::Refused] {
        for write in 0..2 {
            let disk = Disk::default();
            let (options, control) = disk.process();
            let (mut lake, epoch) = owned(options).await;
            // Write 0 is the data file, write 1 the entry of the log.
            control.hit(write, fault);
            let outcome = match commit(&mut lake, epoch, 0..10).await {
                Err(CommitError::Store { .. }) => commit(&mut lake, epoch, 0..10).await,
                outcome => outcome,
            };
            outcome.unwrap();
            assert!(control.was_hit());
            assert_eq!(offsets(&mut lake).await, (0..10).collect::<Vec<_>>(), "{fault:?} at write {write}");
        }
    }
}

#[tokio::test]
async fn a_commit_in_doubt_conflicts_with_another_that_moves_the_same_lane() {
    let disk = Disk::default();
    let (mut options, control) = disk.process();
    options.attempts_max = 1;
    let (mut lake, epoch) = owned(options).await;
    control.die(1, Fault::AnswerLost);
    assert!(matches!(commit(&mut lake, epoch, 0..10).await, Err(CommitError::Store { .. })));
    // The same process lives on in this test: the network came back, and it builds another cut of the same rows.
    let mut lake = Lake { root: Lake::open(URL, disk.options()).await.unwrap().root, ..lake };
    let known = lake.tables.get_mut(&Table::Events).unwrap();
    known.log = lake.root.table(Table::Events).unwrap();
    let rows = files(&events(0, 0..12));
    let outcome = lake.commit(Table::Events, rows, &[(LANE.into(), 12)], (OWNER, epoch), "another cut").await;
    assert!(matches!(outcome, Err(CommitError::Conflict { .. })), "{outcome:?}");
    assert_eq!(lake.landed(Table::Events, LANE), Some(10));
    assert_eq!(offsets(&mut lake).await.len(), 10);
}

/// One cut of the protocol: decisions, events, findings' frontier, state, manifest.
async fn cut(lake: &mut Lake, epoch: i64, number: i64, rows: std::ops::Range<i64>) -> Result<(), String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let owner = (OWNER, epoch);
    let uid = |table: &str| format!("job/{epoch}/{number}/{table}");
    let next = [(LANE.to_owned(), rows.end)];
    lake.commit(Table::Decisions, Vec::new(), &[("job/cut".into(), number)], owner, &uid("d"))
        .await
        .map_err(|e| text(&e))?;
    // Replay drops what the table has.
    let from = lake.landed(Table::Events, LANE).unwrap_or(0).max(rows.start);
    if from < rows.end {
        let files = files(&events(0, from..rows.end));
        lake.commit(Table::Events, files, &next, owner, &uid("e")).await.map_err(|e| text(&e))?;
    }
    let frontier = [("job/frontier".to_owned(), number)];
    lake.commit(Table::Findings, Vec::new(), &frontier, owner, &uid("f")).await.map_err(|e| text(&e))?;
    let state = lake.state("job");
    let chunk = state.put_chunk(format!("sum of {}", rows.end).into_bytes()).await.map_err(|e| text(&e))?;
    let lane = EventLane::kafka("audit", "logs", 0);
    let manifest = Manifest {
        version: crate::state::MANIFEST_VERSION,
        job: "job".into(),
        cut: number,
        epoch,
        frontier_us: Some(number),
        lanes: BTreeMap::from([(
            lane.key(),
            LaneState { lane, next_offset: rows.end, chunk: Some(chunk), config_fingerprint: "c".into() },
        )]),
        config_fingerprint: String::new(),
        pieces: BTreeMap::new(),
        accounting: serde_json::json!({ "rows": rows.end }),
        created_us: 0,
    };
    state.put_manifest(&manifest).await.map_err(|e| text(&e))?;
    state.prune().await.map_err(|e| text(&e))?;
    Ok(())
}

/// Runs cuts of ten rows up to `end`, from where the newest manifest stands.
async fn run(options: LakeOptions, end: i64) -> Result<(), String> {
    let mut lake = Lake::open(URL, options).await.map_err(|e| e.to_string())?;
    let epoch = lake.own(OWNER).await.map_err(|e| e.to_string())?;
    let newest = lake.state("job").newest_manifest().await.map_err(|e| e.to_string())?;
    let mut at = newest.as_ref().map_or(0, |manifest| manifest.lanes["logs/0"].next_offset);
    let mut number = newest.as_ref().map_or(0, |manifest| manifest.cut);
    while at < end {
        number += 1;
        cut(&mut lake, epoch, number, at..at + 10).await?;
        at += 10;
    }
    Ok(())
}

#[tokio::test]
async fn a_crash_between_any_two_steps_loses_nothing_and_doubles_nothing() {
    let mut crashes = 0;
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for write in 0.. {
            let disk = Disk::default();
            run(disk.options(), 10).await.unwrap();
            let (mut options, control) = disk.process();
            options.attempts_max = 1;
            control.die(write, fault);
            let crashed = run(options, 30).await;
            if !control.was_hit() {
                crashed.unwrap();
                break;
            }
            crashes += 1;
            run(disk.options(), 40).await.unwrap();
            let mut lake = Lake::open_existing_with(URL, disk.options()).await.unwrap();
            assert_eq!(offsets(&mut lake).await, (0..40).collect::<Vec<_>>(), "{fault:?} at write {write}");
            assert_eq!(verify(URL, disk.options()).await.unwrap(), [], "{fault:?} at write {write}");
        }
    }
    assert!(crashes > 30, "only {crashes} places to crash at");
}

#[tokio::test]
async fn a_place_without_a_lake_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap().to_owned();
    for place in [format!("{empty}/nowhere"), empty] {
        match Lake::open_existing(&place).await {
            Err(Error::NoLake { url }) => assert_eq!(url, place),
            other => panic!("{:?}", other.map(|_| ())),
        }
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "looking creates nothing");
}

#[tokio::test]
async fn a_table_that_forgets_transactions_is_refused() {
    let disk = Disk::default();
    let mut lake = Lake::open(URL, disk.options()).await.unwrap();
    let delta = lake.delta(Table::Events).await.unwrap().clone();
    delta
        .set_tbl_properties()
        .with_properties([("delta.setTransactionRetentionDuration".into(), "interval 1 days".into())].into())
        .with_raise_if_not_exists(false)
        .await
        .unwrap();
    match Lake::open(URL, disk.options()).await {
        Err(Error::Table { table: Table::Events, why }) => assert!(why.contains("setTransactionRetention"), "{why}"),
        other => panic!("{:?}", other.map(|_| ())),
    }
    // A writer that was open meanwhile conflicts, looks again, and refuses as well.
    let epoch = lake.own(OWNER).await;
    assert!(epoch.is_err(), "{epoch:?}");
}

#[tokio::test]
async fn transactions_survive_checkpoints_and_merging_keeps_rows_and_bloom_filters() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    for round in 0..6 {
        commit(&mut lake, epoch, round * 10..round * 10 + 10).await.unwrap();
    }
    let options = crate::MaintenanceOptions {
        checkpoint_every: 3,
        merge_bytes: Some(1 << 20),
        vacuum_hours: Some(0),
        ..Default::default()
    };
    let report = lake.maintain(options).await.unwrap();
    assert_eq!((report.files_merged, report.files_written), (6, 1), "{report:?}");
    assert!(report.checkpoints >= 1, "{report:?}");
    commit(&mut lake, epoch, 60..70).await.unwrap();
    let mut again = Lake::open_existing_with(URL, disk.options()).await.unwrap();
    assert_eq!(again.landed(Table::Events, LANE), Some(70));
    assert_eq!(again.landed(Table::Events, OWNER), Some(epoch));
    assert_eq!(offsets(&mut again).await, (0..70).collect::<Vec<_>>());
    assert_eq!(verify(URL, disk.options()).await.unwrap(), []);

    let delta = again.delta(Table::Events).await.unwrap();
    let files: Vec<_> = delta.snapshot().unwrap().log_data().iter().map(|file| file.object_store_path()).collect();
    for path in files {
        let bytes = delta.object_store().get(&path).await.unwrap().bytes().await.unwrap();
        let reader = parquet::file::serialized_reader::SerializedFileReader::new(bytes).unwrap();
        let footer = parquet::file::reader::FileReader::metadata(&reader);
        for group in footer.row_groups() {
            let blooms = group.columns().iter().filter(|column| column.bloom_filter_offset().is_some()).count();
            assert_eq!(blooms, Table::Events.blooms().len(), "{path}");
        }
    }
}

#[tokio::test]
async fn the_ledger_gives_each_file_as_of_a_cut_and_what_came_after_it() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    let file = |cut: i64, records: i64, generation: u32| KnownFile {
        cut,
        source: "files".into(),
        fingerprint: "f0".into(),
        generation,
        path: "/var/log/audit.log".into(),
        records,
        bytes: records * 100,
        prefix_hash: format!("h{records}"),
        compression: "none".into(),
        far_bytes: records * 100,
        far_hash: format!("h{records}"),
    };
    let cuts = [
        (1, vec![file(1, 10, 0), file(1, 3, 1)]),
        (2, vec![file(2, 25, 0)]),
        (3, vec![file(3, 40, 0)]),
        (4, vec![file(4, 25, 0), file(4, 31, 0)]),
    ];
    for (cut, rows) in cuts {
        let mut writer = TableWriter::new(Table::Sources, WriterOptions::default());
        writer.push(&crate::ledger::sources_batch("job", &rows).unwrap()).unwrap();
        let files = writer.finish().unwrap();
        lake.commit(Table::Sources, files, &[("job/cut".into(), cut)], (OWNER, epoch), &format!("s{cut}"))
            .await
            .unwrap();
    }
    assert_eq!(lake.known_files("job", 4).await.unwrap(), [file(4, 31, 0), file(1, 3, 1)]);
    // Rows beyond the cut do not hide the one that stood at it.
    let after = [file(2, 25, 0), file(3, 40, 0), file(4, 25, 0), file(4, 31, 0), file(1, 3, 1)];
    assert_eq!(lake.known_files("job", 2).await.unwrap(), after);
    assert_eq!(lake.known_files("another", 2).await.unwrap(), []);
}

#[tokio::test]
async fn dispositions_are_added_beside_an_owner_and_once() {
    use crate::{Disposition, DispositionStatus};
    let disk = Disk::default();
    let (mut owner, epoch) = owned(disk.options()).await;
    let mut analyst = Lake::open_existing_with(URL, disk.options()).await.unwrap();
    let mut decision = Disposition {
        finding_uid: Some("f1".into()),
        group_uid: None,
        status: DispositionStatus::FalsePositive,
        reason: "a \"backup\" job".into(),
        by: "ana".into(),
        at: 1,
    };
    commit(&mut owner, epoch, 0..10).await.unwrap();
    analyst.dispose(std::slice::from_ref(&decision)).await.unwrap();
    analyst.dispose(std::slice::from_ref(&decision)).await.unwrap();
    commit(&mut owner, epoch, 10..20).await.unwrap();
    decision.at = 2;
    decision.status = DispositionStatus::Open;
    analyst.dispose(std::slice::from_ref(&decision)).await.unwrap();
    let all = owner.dispositions().await.unwrap();
    assert_eq!(
        all.iter().map(|d| d.status).collect::<Vec<_>>(),
        [DispositionStatus::FalsePositive, DispositionStatus::Open]
    );
    assert_eq!(all[1], decision);
    decision.finding_uid = None;
    assert!(analyst.dispose(&[decision]).await.is_err());
}

/// Versions of one pod at the given offsets of the lane, one a second.
fn objects(offsets: std::ops::Range<i64>) -> Vec<DataFile> {
    let version = |offset: i64| palisade_events::ObjectVersion {
        lane: std::sync::Arc::new(EventLane::kafka("audit", "logs", 0)),
        offset,
        event_uid: format!("{offset:032x}"),
        time: crate::testing::NOON + offset * 1_000_000,
        kind: "Pod".into(),
        name: "cart-0".into(),
        uid: "u".into(),
        addresses: vec!["10.1.0.4".into()],
        ..Default::default()
    };
    let rows: Vec<_> = offsets.map(version).collect();
    let mut writer = TableWriter::new(Table::Objects, WriterOptions::default());
    writer.push(&palisade_events::object::objects_batch(&rows).unwrap()).unwrap();
    writer.finish().unwrap()
}

#[tokio::test]
async fn a_table_of_an_earlier_version_gets_its_new_columns_from_its_owner() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    commit(&mut lake, epoch, 0..10).await.unwrap();
    drop(lake);
    // What the first version of the log says of the columns, with one taken out.
    let first = Path::from("lake/events/_delta_log/00000000000000000000.json");
    let text = disk.0.get(&first).await.unwrap().bytes().await.unwrap();
    let text = String::from_utf8(text.to_vec()).unwrap();
    let column = r#"{\"name\":\"trace_uid\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}},"#;
    assert!(text.contains(column), "{text}");
    disk.0.put(&first, text.replace(column, "").into()).await.unwrap();

    let refused = Lake::open_existing_with(URL, disk.options()).await.err().unwrap().to_string();
    assert!(refused.contains("an earlier version made it"), "{refused}");
    let (mut owner, next) = owned(disk.options()).await;
    commit(&mut owner, next, 10..12).await.unwrap();
    let mut again = Lake::open_existing_with(URL, disk.options()).await.unwrap();
    assert_eq!(offsets(&mut again).await.len(), 12);
    assert_eq!(
        again.rows(Table::Events, &["trace_uid"]).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(),
        12
    );
    assert_eq!(verify(URL, disk.options()).await.unwrap(), []);
}

#[tokio::test]
async fn a_lake_of_before_objects_is_read_without_them_and_gets_their_table_from_its_owner() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    commit(&mut lake, epoch, 0..10).await.unwrap();
    drop(lake);
    let folder = Path::from("lake/objects");
    let stored = || disk.0.list(Some(&folder)).map_ok(|meta| meta.location).try_collect::<Vec<Path>>();
    let table = stored().await.unwrap();
    assert!(!table.is_empty());
    for file in &table {
        disk.0.delete(file).await.unwrap();
    }

    let mut reader = Lake::open_existing_with(URL, disk.options()).await.unwrap();
    let rows = reader.rows(Table::Objects, &["uid"]).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 0);
    assert_eq!(offsets(&mut reader).await.len(), 10);
    assert_eq!(verify(URL, disk.options()).await.unwrap(), []);
    let status = crate::status(URL, disk.options()).await.unwrap();
    assert_eq!(status.iter().find(|status| status.table == Table::Objects).map(|status| status.rows), Some(0));
    reader.maintain(crate::MaintenanceOptions::default()).await.unwrap();
    assert!(stored().await.unwrap().is_empty(), "looking creates nothing");

    let (mut owner, next) = owned(disk.options()).await;
    assert!(next > epoch);
    let txns = [(LANE.to_owned(), 12)];
    owner.commit(Table::Objects, objects(10..12), &txns, (OWNER, next), "objects").await.unwrap();
    let mut again = Lake::open_existing_with(URL, disk.options()).await.unwrap();
    assert_eq!((again.landed(Table::Objects, LANE), again.landed(Table::Objects, OWNER)), (Some(12), Some(next)));
    let rows = again.rows(Table::Objects, &["uid", "addresses"]).await.unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(verify(URL, disk.options()).await.unwrap(), []);
}

#[tokio::test]
async fn a_version_of_an_object_that_is_there_twice_is_found() {
    let disk = Disk::default();
    let (mut lake, epoch) = owned(disk.options()).await;
    for (next, rows) in [(2, 0..2), (3, 1..3)] {
        let txns = [(LANE.to_owned(), next)];
        lake.commit(Table::Objects, objects(rows), &txns, (OWNER, epoch), &format!("o{next}")).await.unwrap();
    }
    let problems = verify(URL, disk.options()).await.unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((problems[0].kind, problems[0].table), (crate::ProblemKind::Duplicate, Some(Table::Objects)));
    assert!(problems[0].what.starts_with("1 rows repeat"), "{}", problems[0].what);
}
