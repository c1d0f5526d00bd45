//! How a lake stands, and whether it keeps its promises. Reads only.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt;
use palisade_events::id;
use palisade_events::time::Micros;
use serde::Serialize;

use self::runs::Runs;
use crate::reading::scan;
use crate::state::jobs;
use crate::{Lake, LakeOptions, Result, Table};

mod runs;

/// Ids that are compared in one pass: 16 bytes each, so that a pass holds 256 MiB. Larger tables take more passes.
const IDS_MAX: u64 = 16 << 20;

/// What tells a version of an object from every other row: one event may show several objects.
const OBJECT_KEY: [&str; 6] = ["event_uid", "kind", "namespace_name", "name", "uid", "change"];

/// Examples that one problem names.
const EXAMPLES_MAX: usize = 3;

/// How a table stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableStatus {
    /// The table.
    pub table: Table,
    /// Its version.
    pub version: u64,
    /// Rows.
    pub rows: u64,
    /// Files.
    pub files: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Smallest and largest time of its rows, where they have one.
    pub times: Option<(Micros, Micros)>,
    /// Application transactions: what has landed, by lane, frontier and owner.
    pub txns: BTreeMap<String, i64>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What kind of problem.
    pub kind: ProblemKind,
    /// The table; `None` if it is about state.
    pub table: Option<Table>,
    /// In words.
    pub what: String,
}

/// The kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// Two rows have one id.
    Duplicate,
    /// The log names a file that is not there, or is of another size.
    FileMissing,
    /// The newest checkpoint covers more than has landed.
    ManifestAhead,
    /// A checkpoint is damaged.
    ManifestDamaged,
    /// A row lies at an offset that has not landed.
    OffsetBeyond,
    /// Offsets of a partition have no row in any table. Transaction markers and compaction make such gaps as well.
    OffsetsMissing,
}

impl ProblemKind {
    /// Whether something is lost or doubled; the others may have innocent causes.
    pub fn is_fatal(self) -> bool {
        !matches!(self, Self::OffsetsMissing | Self::ManifestDamaged)
    }
}

/// How every table of a lake stands.
///
/// # Errors
/// When there is no lake, or it cannot be read.
pub async fn status(url: &str, options: LakeOptions) -> Result<Vec<TableStatus>> {
    let mut lake = Lake::open_existing_with(url, options).await?;
    let mut all = Vec::new();
    for table in Table::ALL {
        let txns = lake.txns(table).clone();
        let delta = lake.delta(table).await?;
        let version = delta.version().unwrap_or_default();
        let files = delta.snapshot()?.add_actions_table(true)?;
        let times = table.dated_by().and_then(|column| {
            let bounds = |side: &str| times_of(&files, &format!("{side}.{column}"));
            Some((bounds("min")?.into_iter().min()?, bounds("max")?.into_iter().max()?))
        });
        all.push(TableStatus {
            table,
            version,
            rows: longs_of(&files, "num_records").iter().map(|n| *n as u64).sum(),
            files: files.num_rows() as u64,
            bytes: longs_of(&files, "size_bytes").iter().map(|n| *n as u64).sum(),
            times,
            txns,
        });
    }
    Ok(all)
}

/// Looks for rows that are doubled, lost or beyond what has landed, files that are missing, and checkpoints that do not
/// fit. An empty answer is the good one.
///
/// # Errors
/// When there is no lake, or it cannot be read.
pub async fn verify(url: &str, options: LakeOptions) -> Result<Vec<Problem>> {
    let mut lake = Lake::open_existing_with(url, options).await?;
    let mut problems = Vec::new();
    for table in Table::ALL {
        missing_files(&mut lake, table, &mut problems).await?;
    }
    if problems.is_empty() {
        duplicates(&mut lake, Table::Events, &["event_uid"], &mut problems).await?;
        duplicates(&mut lake, Table::Objects, &OBJECT_KEY, &mut problems).await?;
        duplicates(&mut lake, Table::Findings, &["finding_uid"], &mut problems).await?;
        offsets(&mut lake, &mut problems).await?;
    }
    manifests(&lake, &mut problems).await?;
    Ok(problems)
}

async fn missing_files(lake: &mut Lake, table: Table, problems: &mut Vec<Problem>) -> Result<()> {
    let delta = lake.delta(table).await?;
    let store = delta.object_store();
    let named: Vec<_> =
        delta.snapshot()?.log_data().iter().map(|file| (file.object_store_path(), file.size() as u64)).collect();
    let stored: BTreeMap<_, _> = store.list(None).map_ok(|meta| (meta.location, meta.size)).try_collect().await?;
    for (path, size) in named {
        let what = match stored.get(&path) {
            Some(found) if *found == size => continue,
            Some(found) => format!("{path} has {found} bytes instead of {size}"),
            None => format!("{path} is missing"),
        };
        problems.push(Problem { kind: ProblemKind::FileMissing, table: Some(table), what });
    }
    Ok(())
}

async fn duplicates(lake: &mut Lake, table: Table, key: &[&str], problems: &mut Vec<Problem>) -> Result<()> {
    let delta = lake.delta(table).await?.clone();
    let rows: i64 = longs_of(&delta.snapshot()?.add_actions_table(true)?, "num_records").iter().sum();
    let passes = (rows as u64).div_ceil(IDS_MAX).max(1);
    let mut doubled: Vec<u128> = Vec::new();
    for pass in 0..passes {
        let mut batches = scan(&delta, key).await?;
        let mut ids: Vec<u128> = Vec::new();
        while let Some(batch) = batches.try_next().await? {
            let columns = key.iter().map(|name| column(&batch, name, &DataType::Utf8)).collect::<Result<Vec<_>>>()?;
            let texts: Vec<&StringArray> = columns.iter().map(|column| column.as_string::<i32>()).collect();
            let mut parts: Vec<&str> = Vec::with_capacity(key.len());
            for row in 0..batch.num_rows() {
                parts.clear();
                parts.extend(texts.iter().map(|text| if text.is_valid(row) { text.value(row) } else { "" }));
                ids.extend(Some(number_of(&parts)).filter(|id| (*id % u128::from(passes)) as u64 == pass));
            }
        }
        ids.sort_unstable();
        doubled.extend(ids.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]));
    }
    if !doubled.is_empty() {
        let mut what = format!("{} rows repeat their {}", doubled.len(), key.join(", "));
        if key.len() == 1 {
            let examples: Vec<String> = doubled.iter().take(EXAMPLES_MAX).map(|id| format!("{id:032x}")).collect();
            what.push_str(&format!(", such as {}", examples.join(", ")));
        }
        problems.push(Problem { kind: ProblemKind::Duplicate, table: Some(table), what });
    }
    Ok(())
}

/// Ids are 32 hex digits; anything else is hashed to as much.
fn number_of(key: &[&str]) -> u128 {
    let read = |text: &str| (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
    let own = match key {
        [uid] => read(uid),
        _ => None,
    };
    own.or_else(|| read(&id::uid("palisade.verify.v1", key))).unwrap_or_default()
}

/// What is known of the offsets of one partition.
#[derive(Default)]
struct Lane {
    runs: Runs,
    assembled: bool,
}

async fn offsets(lake: &mut Lake, problems: &mut Vec<Problem>) -> Result<()> {
    let mut lanes: BTreeMap<(String, i32), Lane> = BTreeMap::new();
    for table in [Table::Events, Table::Rejects, Table::Coverage, Table::Objects] {
        let mut newest: BTreeMap<(String, i32), i64> = BTreeMap::new();
        let delta = lake.delta(table).await?.clone();
        let mut columns = vec!["origin", "partition", "record_offset"];
        columns.extend((table == Table::Events).then_some("records"));
        let mut batches = scan(&delta, &columns).await?;
        while let Some(batch) = batches.try_next().await? {
            let (origin, partition) =
                (column(&batch, "origin", &DataType::Utf8)?, column(&batch, "partition", &DataType::Int32)?);
            let offset = column(&batch, "record_offset", &DataType::Int64)?;
            let records = (table == Table::Events).then(|| column(&batch, "records", &DataType::Int32)).transpose()?;
            let (origin, partition) = (origin.as_string::<i32>(), partition.as_primitive::<Int32Type>());
            let offset = offset.as_primitive::<Int64Type>();
            for row in (0..batch.num_rows()).filter(|row| partition.is_valid(*row) && offset.value(*row) >= 0) {
                let key = (origin.value(row).to_owned(), partition.value(row));
                let high = newest.entry(key.clone()).or_insert(-1);
                *high = (*high).max(offset.value(row));
                let lane = lanes.entry(key).or_default();
                lane.runs.insert(offset.value(row));
                lane.assembled |= records
                    .as_ref()
                    .is_some_and(|records| records.is_valid(row) && records.as_primitive::<Int32Type>().value(row) > 1);
            }
        }
        for ((topic, partition), high) in newest {
            let place = format!("/{topic}/{partition}");
            let of_lane = |id: &str| id.split_once('@').map_or(id, |(id, _)| id).ends_with(&place);
            let next = lake.txns(table).iter().filter(|(id, _)| of_lane(id)).map(|(_, next)| *next).max();
            if let Some(next) = next.filter(|next| high >= *next) {
                let what = format!("{topic}[{partition}] has a row at {high}, and {next} is the next to land");
                problems.push(Problem { kind: ProblemKind::OffsetBeyond, table: Some(table), what });
            }
        }
    }
    for ((topic, partition), lane) in lanes.iter().filter(|(_, lane)| !lane.assembled) {
        let gaps: Vec<(i64, i64)> = lane.runs.gaps().collect();
        if let Some((first, last)) = gaps.first() {
            let count: i64 = gaps.iter().map(|(first, last)| last - first + 1).sum();
            let what = format!("{topic}[{partition}] has no row for {count} offsets, such as {first} to {last}");
            problems.push(Problem { kind: ProblemKind::OffsetsMissing, table: Some(Table::Events), what });
        }
    }
    Ok(())
}

async fn manifests(lake: &Lake, problems: &mut Vec<Problem>) -> Result<()> {
    for job in jobs(&lake.root).await? {
        let state = lake.state(&job);
        let mut newest = None;
        for cut in state.cuts().await?.into_iter().rev() {
            match state.manifest(cut).await? {
                Ok(manifest) => newest = newest.or(Some(manifest)),
                Err(why) => {
                    let what = format!("checkpoint {cut} of {job}: {why}");
                    problems.push(Problem { kind: ProblemKind::ManifestDamaged, table: None, what });
                }
            }
        }
        let Some(manifest) = newest else { continue };
        // A table is told of a cut only if the cut has rows for it: only then must it stand where the checkpoint stands.
        for table in Table::ALL.into_iter().filter(|t| lake.landed(*t, &format!("{job}/files")) == Some(manifest.cut)) {
            let id = format!("{job}/frontier");
            let covered = manifest.frontier_us.filter(|_| table == Table::Findings);
            if let Some(covered) = covered.filter(|covered| lake.landed(table, &id).is_none_or(|l| l < *covered)) {
                let what = format!("checkpoint {} covers {id} up to {covered}, which has not landed", manifest.cut);
                problems.push(Problem { kind: ProblemKind::ManifestAhead, table: Some(table), what });
            }
        }
    }
    Ok(())
}

fn column(batch: &RecordBatch, name: &str, kind: &DataType) -> Result<ArrayRef> {
    Ok(cast(batch.column(batch.schema().index_of(name)?), kind)?)
}

fn longs_of(files: &RecordBatch, name: &str) -> Vec<i64> {
    let column = files.column_by_name(name).and_then(|column| cast(column, &DataType::Int64).ok());
    column.map_or_else(Vec::new, |column| column.as_primitive::<Int64Type>().iter().flatten().collect())
}

fn times_of(files: &RecordBatch, name: &str) -> Option<BTreeSet<i64>> {
    let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
    let column = cast(files.column_by_name(name)?, &kind).ok()?;
    Some(column.as_primitive::<TimestampMicrosecondType>().iter().flatten().collect())
}
