//! Entries of a Delta log as this crate writes and reads them: files, application transactions, and the commit's id.
//!
//! Only what a writer needs is read: transactions from the newest checkpoint and the entries after it. The set of files
//! is `deltalake`'s to replay, and only readers ask for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use deltalake::kernel::{Action, Add, CommitInfo, Transaction};
use futures::{StreamExt, TryStreamExt};
use object_store::buffered::BufReader;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use serde::Deserialize;

use crate::encode::DataFile;
use crate::{Intent, Result};

/// Where the commit's id stands in its commit info.
const UID_KEY: &str = "palisadeCommitUid";

/// Entries before a checkpoint that are read for their commit ids, so that a commit repeated right after a restart is
/// still recognised.
const UIDS_MAX: u64 = 64;

/// What one entry of the log says, as far as a writer cares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) commit_uid: Option<String>,
    pub(crate) txns: Vec<(String, i64)>,
    pub(crate) altered: Option<String>,
}

/// What a writer knows of a table's log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) version: u64,
    pub(crate) txns: BTreeMap<String, i64>,
    /// Version of the newest checkpoint.
    pub(crate) checkpoint: Option<u64>,
    uids: VecDeque<(String, u64)>,
}

impl Head {
    /// Takes in the entry of the next version.
    pub(crate) fn apply(&mut self, version: u64, entry: &Entry) {
        self.version = version;
        self.txns.extend(entry.txns.iter().cloned());
        if let Some(uid) = &entry.commit_uid {
            self.uids.push_back((uid.clone(), version));
            if self.uids.len() as u64 > 4 * UIDS_MAX {
                self.uids.pop_front();
            }
        }
    }

    /// The version of a recent commit, by its id.
    pub(crate) fn find(&self, commit_uid: &str) -> Option<u64> {
        self.uids.iter().rev().find(|(uid, _)| uid == commit_uid).map(|(_, version)| *version)
    }
}

/// Writes an entry.
pub(crate) fn write_entry(intent: &Intent, files: &[DataFile], now_ms: i64) -> Result<(Vec<u8>, Entry)> {
    let txns: Vec<(String, i64)> = intent.txns.iter().cloned().chain(intent.owner.clone()).collect();
    let info = CommitInfo {
        timestamp: Some(now_ms),
        operation: Some("WRITE".into()),
        operation_parameters: Some(HashMap::from([("mode".into(), "Append".into())])),
        is_blind_append: Some(true),
        engine_info: Some(concat!("palisade-lake/", env!("CARGO_PKG_VERSION")).into()),
        info: HashMap::from([(UID_KEY.into(), intent.commit_uid.clone().into())]),
        ..CommitInfo::default()
    };
    let actions =
        std::iter::once(Action::CommitInfo(info)).chain(files.iter().map(|file| Action::Add(add(file, now_ms)))).chain(
            txns.iter().map(|(app_id, version)| {
                Action::Txn(Transaction::new_with_last_update(app_id, *version, Some(now_ms)))
            }),
        );
    let mut bytes = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut bytes, &action)
            .map_err(|json_err| crate::Error::Delta(deltalake::DeltaTableError::SerializeLogJson { json_err }))?;
        bytes.push(b'\n');
    }
    Ok((bytes, Entry { commit_uid: Some(intent.commit_uid.clone()), txns, altered: None }))
}

fn add(file: &DataFile, now_ms: i64) -> Add {
    Add {
        path: file.path.clone(),
        partition_values: file.partition.iter().map(|(column, value)| (column.clone(), Some(value.clone()))).collect(),
        size: file.bytes.content_length() as i64,
        modification_time: now_ms,
        data_change: true,
        stats: Some(file.stats.clone()),
        ..Add::default()
    }
}

/// Reads an entry.
pub(crate) fn read_entry(bytes: &[u8]) -> Result<Entry> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Line {
        txn: Option<Txn>,
        commit_info: Option<Info>,
        meta_data: Option<serde::de::IgnoredAny>,
        protocol: Option<serde::de::IgnoredAny>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Txn {
        app_id: String,
        version: i64,
    }
    #[derive(Deserialize)]
    struct Info {
        #[serde(rename = "palisadeCommitUid")]
        uid: Option<String>,
    }
    let mut entry = Entry::default();
    for line in serde_json::Deserializer::from_slice(bytes).into_iter::<Line>() {
        let line = line.map_err(|e| deltalake::DeltaTableError::Generic(format!("log entry: {e}")))?;
        entry.txns.extend(line.txn.map(|txn| (txn.app_id, txn.version)));
        entry.commit_uid = entry.commit_uid.or(line.commit_info.and_then(|info| info.uid));
        if line.meta_data.is_some() {
            entry.altered = Some("the table's columns or properties changed".into());
        } else if line.protocol.is_some() {
            entry.altered = Some("the table's protocol changed".into());
        }
    }
    Ok(entry)
}

/// Reads what a writer needs from the log of the table at `root`; `None` if there is no log.
pub(crate) async fn read_head(store: &Arc<dyn ObjectStore>, root: &Path) -> Result<Option<Head>> {
    let folder = root.clone().join("_delta_log");
    let hint = last_checkpoint(store, &folder).await;
    let mut listing = Listing::read(store, &folder, hint).await?;
    if listing.checkpoint.is_none() && hint.is_some() {
        listing = Listing::read(store, &folder, None).await?;
    }
    let Some(newest) = listing.commits.keys().next_back().copied().max(listing.checkpoint) else { return Ok(None) };
    let mut head = Head { version: newest, checkpoint: listing.checkpoint, ..Head::default() };
    let from = listing.checkpoint.map_or(0, |checkpoint| checkpoint + 1);
    for path in &listing.parts {
        head.txns.extend(checkpoint_txns(store, path).await?);
    }
    let entries = futures::stream::iter(listing.commits.split_off(&from.saturating_sub(UIDS_MAX)))
        .map(|(version, path)| async move {
            let bytes = store.get(&path).await?.bytes().await?;
            Ok::<_, crate::Error>((version, read_entry(&bytes)?))
        })
        .buffered(16)
        .try_collect::<Vec<_>>()
        .await?;
    for (version, mut entry) in entries {
        if version < from {
            entry.txns.clear();
        }
        head.apply(version, &entry);
    }
    head.version = newest;
    Ok(Some(head))
}

/// The files of a log: its newest whole checkpoint, and the entries.
struct Listing {
    checkpoint: Option<u64>,
    parts: Vec<Path>,
    commits: BTreeMap<u64, Path>,
}

impl Listing {
    async fn read(store: &Arc<dyn ObjectStore>, folder: &Path, hint: Option<u64>) -> Result<Self> {
        let offset = folder.clone().join(format!("{:020}", hint.unwrap_or(0).saturating_sub(UIDS_MAX)));
        let names: Vec<Path> = match hint {
            Some(_) => store.list_with_offset(Some(folder), &offset),
            None => store.list(Some(folder)),
        }
        .map_ok(|meta| meta.location)
        .try_collect()
        .await?;
        let mut commits = BTreeMap::new();
        let mut checkpoints: BTreeMap<u64, Vec<Path>> = BTreeMap::new();
        for path in names {
            let name = path.filename().unwrap_or_default();
            let Some(version) = name.get(..20).and_then(|digits| digits.parse::<u64>().ok()) else { continue };
            match &name[20..] {
                ".json" => drop(commits.insert(version, path)),
                rest if rest.starts_with(".checkpoint.") && rest.ends_with(".parquet") => {
                    checkpoints.entry(version).or_default().push(path);
                }
                _ => {}
            }
        }
        let whole =
            checkpoints.into_iter().rev().find(|(_, parts)| parts.iter().any(|p| wanted_parts(p) == parts.len()));
        let (checkpoint, parts) = whole.map_or((None, Vec::new()), |(version, parts)| (Some(version), parts));
        Ok(Self { checkpoint, parts, commits })
    }
}

/// How many parts the checkpoint of this file has: `…checkpoint.0000000001.0000000003.parquet` is one of three.
fn wanted_parts(path: &Path) -> usize {
    let pieces: Vec<&str> = path.filename().unwrap_or_default().split('.').collect();
    if pieces.len() == 5 { pieces[3].parse().unwrap_or(1) } else { 1 }
}

async fn last_checkpoint(store: &Arc<dyn ObjectStore>, folder: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Hint {
        version: u64,
    }
    let bytes = store.get(&folder.clone().join("_last_checkpoint")).await.ok()?.bytes().await.ok()?;
    serde_json::from_slice::<Hint>(&bytes).ok().map(|hint| hint.version)
}

async fn checkpoint_txns(store: &Arc<dyn ObjectStore>, path: &Path) -> Result<Vec<(String, i64)>> {
    let reader = BufReader::new(Arc::clone(store), &store.head(path).await?);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), ["txn.appId", "txn.version"]);
    let mut rows = builder.with_projection(mask).build()?;
    let mut txns = Vec::new();
    while let Some(batch) = rows.try_next().await? {
        let Some(txn) = batch.column_by_name("txn").and_then(|column| column.as_struct_opt()) else { continue };
        let ids = txn.column_by_name("appId").and_then(|column| column.as_string_opt::<i32>());
        let versions = txn.column_by_name("version").and_then(|column| column.as_primitive_opt::<Int64Type>());
        let (Some(ids), Some(versions)) = (ids, versions) else { continue };
        let present = (0..txn.len()).filter(|row| txn.is_valid(*row) && ids.is_valid(*row));
        txns.extend(present.map(|row| (ids.value(row).to_owned(), versions.value(row))));
    }
    Ok(txns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_as_it_was_written() {
        let intent = Intent {
            commit_uid: "job/3/17".into(),
            owner: Some(("job/owner".into(), 3)),
            txns: vec![("job/topic \"x\"/0".into(), 17)],
        };
        let (bytes, entry) = write_entry(&intent, &[], 1).unwrap();
        assert_eq!(read_entry(&bytes).unwrap(), entry);
        assert_eq!(entry.txns.len(), 2);
    }

    #[test]
    fn a_changed_schema_is_noticed_and_an_unknown_action_is_not_an_error() {
        let entry = read_entry(b"{\"metaData\":{\"id\":\"x\"}}\n{\"domainMetadata\":{}}").unwrap();
        assert!(entry.altered.is_some());
        assert!(read_entry(b"{\"txn\":").is_err());
    }
}
