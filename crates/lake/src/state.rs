//! Checkpoints of a job: chunks of state under their hashes, and manifests that name them.
//!
//! Everything lies under `_palisade/` in the root of the lake, a name that table readers and vacuum leave alone. A
//! manifest lands last and is put if absent; the newest one that is whole, with all its chunks, is the only valid state.
//!
//! Not here: what the chunks hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use palisade_events::{Lane, id};
use serde::{Deserialize, Serialize};

use crate::store::Root;
use crate::{Error, Result};

/// The folder of all state. Names that begin with `_` are not data to table readers.
const FOLDER: &str = "_palisade";

/// Version of the manifest's format, and of how chunks are stored.
pub const MANIFEST_VERSION: u32 = 2;

/// How hard chunks are compressed: state repeats itself, and is written every few seconds.
const ZSTD_LEVEL: i32 = 1;

/// Manifests that [`StateStore::prune`] keeps: the valid one, and one to fall back on should it be damaged.
const KEPT: usize = 2;

/// Chunks that are read or deleted at the same time.
const AT_ONCE: usize = 8;

/// One checkpoint of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format: [`MANIFEST_VERSION`].
    pub version: u32,
    /// The job.
    pub job: String,
    /// Number of the cut. Larger is newer.
    pub cut: i64,
    /// Owner epoch that wrote it.
    pub epoch: i64,
    /// End of the last closed pane.
    pub frontier_us: Option<i64>,
    /// Where each lane stands, by [`Lane::key`].
    pub lanes: BTreeMap<String, LaneState>,
    /// Fingerprint of the configuration in force.
    pub config_fingerprint: String,
    /// Chunks of state: name of the piece to hash.
    pub pieces: BTreeMap<String, String>,
    /// Counters as of the cut.
    pub accounting: serde_json::Value,
    /// When it was made, on the wall clock.
    pub created_us: i64,
}

/// Where one lane stands in a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LaneState {
    /// The lane.
    pub lane: Lane,
    /// First offset that the checkpoint does not cover.
    pub next_offset: i64,
    /// Hash of the chunk with the lane's own state, if it has any.
    pub chunk: Option<String>,
    /// Hash of the configuration under which that state was written: a lane may have been away for longer than one.
    pub config_fingerprint: String,
}

impl Manifest {
    /// Hashes of all chunks that it names.
    pub fn chunks(&self) -> BTreeSet<&str> {
        let lanes = self.lanes.values().filter_map(|lane| lane.chunk.as_deref());
        self.pieces.values().map(String::as_str).chain(lanes).collect()
    }
}

/// The checkpoints of one job. Cheap to clone.
#[derive(Clone)]
pub struct StateStore {
    store: Arc<dyn ObjectStore>,
    job: String,
    chunks: Path,
    manifests: Path,
    /// Chunks known to be stored.
    present: Arc<Mutex<BTreeSet<String>>>,
}

impl StateStore {
    pub(crate) fn new(root: &Root, job: &str) -> Self {
        Self {
            store: Arc::clone(&root.store),
            job: job.into(),
            chunks: root.path(&[FOLDER, "chunks", job]),
            manifests: root.path(&[FOLDER, "manifests", job]),
            present: Arc::default(),
        }
    }

    /// Stores bytes, compressed, under their hash, which it gives back. What is stored already is not stored again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_chunk(&self, bytes: Vec<u8>) -> Result<String> {
        let hash = hash_of(&bytes);
        if self.present().contains(&hash) {
            return Ok(hash);
        }
        let path = self.chunks.clone().join(hash.as_str());
        let bytes = zstd::bulk::compress(&bytes, ZSTD_LEVEL).map_err(|e| damaged(&hash, e))?;
        match self.store.head(&path).await {
            Ok(meta) if meta.size == bytes.len() as u64 => {}
            Ok(_) | Err(StoreError::NotFound { .. }) => drop(self.store.put(&path, bytes.into()).await?),
            Err(e) => return Err(e.into()),
        }
        self.present().insert(hash.clone());
        Ok(hash)
    }

    /// Reads a chunk and checks it against its hash.
    ///
    /// # Errors
    /// [`Error::State`] when it is damaged, [`Error::Store`] when it cannot be read.
    pub async fn chunk(&self, hash: &str) -> Result<Vec<u8>> {
        let bytes = self.store.get(&self.chunks.clone().join(hash)).await?.bytes().await?;
        let bytes = zstd::stream::decode_all(bytes.as_ref()).map_err(|e| damaged(hash, e))?;
        if hash_of(&bytes) != hash {
            return Err(damaged(hash, "content does not match its name"));
        }
        Ok(bytes)
    }

    /// Lands a manifest, whose chunks must be stored already. The same manifest again is fine.
    ///
    /// # Errors
    /// [`Error::State`] when another manifest holds the cut: its writer lost the tables to us or took them from us, and
    /// a later cut number is free.
    pub async fn put_manifest(&self, manifest: &Manifest) -> Result<()> {
        let what = || format!("manifest of cut {}", manifest.cut);
        if manifest.job != self.job || manifest.cut < 0 {
            return Err(Error::State { what: what(), why: format!("it is not a cut of job {}", self.job) });
        }
        let text = seal(manifest).map_err(|e| Error::State { what: what(), why: e.to_string() })?;
        let path = self.manifest_path(manifest.cut);
        let put = self.store.put_opts(&path, text.clone().into(), PutOptions::from(PutMode::Create)).await;
        let Err(failed) = put else { return Ok(()) };
        // The put may have landed and only its answer got lost.
        let found = match self.store.get(&path).await {
            Ok(found) => found.bytes().await?,
            Err(_) => return Err(failed.into()),
        };
        if found == text.as_bytes() {
            return Ok(());
        }
        let why = match unseal(&found) {
            Ok(other) => format!("epoch {} holds it", other.epoch),
            Err(why) => why,
        };
        Err(Error::State { what: what(), why })
    }

    /// The newest manifest that is whole, with all its chunks. Damaged ones are passed over. `None` if the job never made
    /// one.
    ///
    /// # Errors
    /// When the store fails, or there are manifests and none can be used: to begin anew would be to forget, in silence.
    pub async fn newest_manifest(&self) -> Result<Option<Manifest>> {
        let mut damage = None;
        for cut in self.cuts().await?.into_iter().rev() {
            match self.manifest(cut).await? {
                Ok(manifest) => return Ok(Some(manifest)),
                Err(why) => {
                    tracing::warn!(job = %self.job, cut, why, "a checkpoint cannot be used; the one before it is tried");
                    damage.get_or_insert(format!("none can be used; the newest, of cut {cut}: {why}"));
                }
            }
        }
        match damage {
            Some(why) => Err(Error::State { what: format!("checkpoints of job {}", self.job), why }),
            None => Ok(None),
        }
    }

    /// Deletes all manifests but the newest two whole ones, and the chunks that neither names. Call it only after a newer
    /// manifest has landed. Gives the number of deleted objects.
    ///
    /// # Errors
    /// When the store fails; what is left is deleted next time.
    pub async fn prune(&self) -> Result<usize> {
        let mut kept = Vec::new();
        let mut old = Vec::new();
        for cut in self.cuts().await?.into_iter().rev() {
            if kept.len() == KEPT {
                old.push(self.manifest_path(cut));
            } else if let Ok(manifest) = self.manifest(cut).await? {
                kept.push(manifest);
            }
        }
        if kept.len() < KEPT {
            return Ok(0);
        }
        let needed: BTreeSet<&str> = kept.iter().flat_map(Manifest::chunks).collect();
        let stored: Vec<Path> = self.store.list(Some(&self.chunks)).map_ok(|meta| meta.location).try_collect().await?;
        let garbage = stored.into_iter().filter(|path| !needed.contains(path.filename().unwrap_or_default()));
        self.present().clear();
        // Manifests first: one without its chunks would be taken for damaged.
        let mut deleted = self.delete(old).await?;
        deleted += self.delete(garbage.collect()).await?;
        Ok(deleted)
    }

    /// Cut numbers of all manifests, damaged ones included.
    pub(crate) async fn cuts(&self) -> Result<Vec<i64>> {
        let listed: Vec<_> = self.store.list(Some(&self.manifests)).try_collect().await?;
        let cut = |path: &Path| path.filename()?.strip_suffix(".json")?.parse::<i64>().ok();
        let mut cuts: Vec<i64> = listed.iter().filter_map(|meta| cut(&meta.location)).collect();
        cuts.sort_unstable();
        Ok(cuts)
    }

    /// A manifest with all its chunks, or what is wrong with it.
    pub(crate) async fn manifest(&self, cut: i64) -> Result<Result<Manifest, String>> {
        let bytes = match self.store.get(&self.manifest_path(cut)).await {
            Ok(found) => found.bytes().await?,
            Err(StoreError::NotFound { .. }) => return Ok(Err("it is gone".into())),
            Err(e) => return Err(e.into()),
        };
        let manifest = match unseal(&bytes) {
            Ok(manifest) if manifest.job == self.job && manifest.cut == cut => manifest,
            Ok(manifest) => return Ok(Err(format!("it is cut {} of job {}", manifest.cut, manifest.job))),
            Err(why) => return Ok(Err(why)),
        };
        let chunks: Vec<String> = manifest.chunks().into_iter().map(str::to_owned).collect();
        let mut reads = futures::stream::iter(&chunks).map(|hash| self.chunk(hash)).buffer_unordered(AT_ONCE);
        while let Some(read) = reads.next().await {
            match read {
                Ok(_) => {}
                Err(Error::Store(StoreError::NotFound { path, .. })) => return Ok(Err(format!("{path} is gone"))),
                Err(e @ Error::State { .. }) => return Ok(Err(e.to_string())),
                Err(e) => return Err(e),
            }
        }
        drop(reads);
        Ok(Ok(manifest))
    }

    fn manifest_path(&self, cut: i64) -> Path {
        self.manifests.clone().join(format!("{cut:020}.json"))
    }

    async fn delete(&self, paths: Vec<Path>) -> Result<usize> {
        let count = paths.len();
        futures::stream::iter(paths)
            .map(|path| async move {
                match self.store.delete(&path).await {
                    Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
                    Err(e) => Err(Error::from(e)),
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(count)
    }

    fn present(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The jobs that have checkpoints in a lake.
pub(crate) async fn jobs(root: &Root) -> Result<BTreeSet<String>> {
    let folder = root.path(&[FOLDER, "manifests"]);
    let listed: Vec<_> = root.store.list(Some(&folder)).try_collect().await?;
    let mut names: BTreeMap<String, Option<String>> = BTreeMap::new();
    for meta in listed {
        let Some(part) = meta.location.prefix_match(&folder).and_then(|mut parts| parts.next()) else { continue };
        let name = names.entry(part.as_ref().to_owned()).or_default();
        // A folder's name is the job's with some characters escaped; the manifest has it as it was given.
        if name.is_none() {
            *name = unseal(&root.store.get(&meta.location).await?.bytes().await?).ok().map(|manifest| manifest.job);
        }
    }
    Ok(names.into_iter().map(|(folder, job)| job.unwrap_or(folder)).collect())
}

fn damaged(hash: &str, why: impl std::fmt::Display) -> Error {
    Error::State { what: format!("chunk {hash}"), why: why.to_string() }
}

fn hash_of(bytes: &[u8]) -> String {
    id::content_hash("palisade.chunk.v1", bytes)
}

/// A manifest as text: one line of JSON, and one with its hash.
fn seal(manifest: &Manifest) -> serde_json::Result<String> {
    let line = serde_json::to_string(manifest)?;
    let hash = id::content_hash("palisade.manifest.v1", line.as_bytes());
    Ok(format!("{line}\n{{\"hash\":\"{hash}\"}}\n"))
}

fn unseal(bytes: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Seal {
        hash: String,
    }
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let (line, rest) = text.split_once('\n').ok_or("it has been cut")?;
    let seal: Seal = serde_json::from_str(rest.trim_end()).map_err(|e| format!("its seal is broken: {e}"))?;
    if seal.hash != id::content_hash("palisade.manifest.v1", line.as_bytes()) {
        return Err("its hash does not match".into());
    }
    // Its version first: another one may have other fields.
    let head: Head = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if head.version != MANIFEST_VERSION {
        return Err(format!("it has version {}, this program reads {MANIFEST_VERSION}", head.version));
    }
    serde_json::from_str(line).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests;
