//! The tables of a lake, opened for writing: owning them, and committing to them exactly once.
//!
//! A commit is one put-if-absent of the next log entry. While puts succeed, nothing is read: the writer knows the version
//! and the application transactions by itself. When a put does not succeed, the entries since then are read, and
//! [`decide`] says what became of it.
//!
//! Not here: how entries look (`log.rs`), files are made ([`crate::encode`]), logs are tended
//! ([`crate::maintain`]).

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use deltalake::DeltaTable;
use deltalake::kernel::transaction::TransactionError;
use deltalake::logstore::{CommitOrBytes, LogStoreRef};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectStoreExt, PutMode, PutOptions};

use crate::create;
use crate::decide::{Intent, Observed, Outcome, decide, refuse};
use crate::log::{Entry, Head, read_entry, read_head, write_entry};
use crate::reading::scan;
use crate::store::{Durability, Place, Root, Wrap};
use crate::{DataFile, Error, Result, StateStore, Table};

/// Files that are stored at the same time. More would only queue at the disk or the object store.
const PUTS_AT_ONCE: usize = 8;

/// Rounds of raising the owner epoch against other owners that do the same.
const OWN_ROUNDS_MAX: u32 = 16;

/// How a lake is opened.
#[derive(Clone)]
pub struct LakeOptions {
    /// How hard a local store tries to keep what it was given.
    pub durability: Durability,
    /// Options of the object store, under the names that `deltalake` gives them.
    pub storage: HashMap<String, String>,
    /// The wall clock in milliseconds since the epoch, for the times that the log records. No decision rests on it.
    pub clock_ms: fn() -> i64,
    /// How often a commit is put before it is given up as [`CommitError::Store`].
    pub attempts_max: u32,
    /// The pause after a put that failed; it doubles from one to the next.
    pub backoff: Duration,
    /// Puts another store in front of the one in use: tests inject faults here.
    pub wrap: Option<Wrap>,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Durable,
            storage: HashMap::new(),
            clock_ms: wall_clock_ms,
            attempts_max: 8,
            backoff: Duration::from_millis(50),
            wrap: None,
        }
    }
}

impl LakeOptions {
    /// Options for tests and demos: nothing waits for the disk.
    pub fn fast() -> Self {
        Self { durability: Durability::Fast, ..Self::default() }
    }
}

/// A commit that is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landed {
    /// The table.
    pub table: Table,
    /// The version of the table that holds it.
    pub version: u64,
    /// Puts that it took; 0 if it was in the log before.
    pub attempts: u32,
}

/// Why a commit did not land.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another owner has taken over. Stop writing.
    #[error("fenced from {table}: {owner} has epoch {epoch}")]
    Fenced {
        /// The table.
        table: Table,
        /// Application id of the owner.
        owner: String,
        /// The newer epoch.
        epoch: i64,
    },
    /// What it was built on is no longer so. Reload, drop what the table already has, and build it anew.
    #[error("conflict in {table}: {why}")]
    Conflict {
        /// The table.
        table: Table,
        /// What changed.
        why: String,
    },
    /// The store failed, so that it is unknown whether the commit landed. Committing the same again is safe.
    #[error("commit to {table} failed: {source}")]
    Store {
        /// The table.
        table: Table,
        /// What failed last.
        source: Error,
    },
}

/// The tables of one place, opened for writing.
pub struct Lake {
    pub(crate) root: Root,
    pub(crate) options: LakeOptions,
    pub(crate) tables: BTreeMap<Table, Open>,
    /// Tells this process's commits apart from those of others that mean the same.
    nonce: String,
}

/// One open table.
pub(crate) struct Open {
    pub(crate) log: LogStoreRef,
    pub(crate) head: Head,
    /// The schema or protocol changed under us and has to be looked at again.
    altered: bool,
    delta: Option<DeltaTable>,
}

impl Lake {
    /// Opens the lake at a path or URL. The folder and the tables are created where they are absent.
    ///
    /// # Errors
    /// When the place cannot be used, or a table there is not as this version writes it.
    pub async fn open(url: &str, options: LakeOptions) -> Result<Lake> {
        let root = Root::open(url, Place::Create, options.durability, &options.storage, options.wrap.as_ref())?;
        Self::open_root(root, options, true).await
    }

    /// Opens a lake that is there already.
    ///
    /// # Errors
    /// [`Error::NoLake`] when there is none.
    pub async fn open_existing(url: &str) -> Result<Lake> {
        Self::open_existing_with(url, LakeOptions::default()).await
    }

    /// Opens a lake that is there already, with options. Makes nothing there: a table that the version which made the
    /// lake did not know is one without rows, and cannot be committed to.
    ///
    /// # Errors
    /// [`Error::NoLake`] when there is none.
    pub async fn open_existing_with(url: &str, options: LakeOptions) -> Result<Lake> {
        let root = Root::open(url, Place::Existing, options.durability, &options.storage, options.wrap.as_ref())?;
        let events = root.path(&[Table::Events.name()]);
        if read_head(&root.store, &events).await?.is_none() {
            return Err(Error::NoLake { url: url.into() });
        }
        Self::open_root(root, options, false).await
    }

    async fn open_root(root: Root, options: LakeOptions, create_absent: bool) -> Result<Lake> {
        let tables = futures::stream::iter(Table::ALL)
            .map(|table| {
                let root = &root;
                async move {
                    let (mut log, mut head) = open_log(root, table).await?;
                    if head.is_none() && create_absent {
                        create::create(table, &log).await?;
                        (log, head) = open_log(root, table).await?;
                    } else if head.is_none() && table.came_later() {
                        (log, head) = stand_in(table).await?;
                    }
                    if create_absent && create::extend(table, &log).await? {
                        (log, head) = open_log(root, table).await?;
                    }
                    let Some(head) = head else {
                        return Err(Error::Table { table, why: "it has no log".into() });
                    };
                    create::check(table, &log).await?;
                    Ok::<_, Error>((table, Open { log, head, altered: false, delta: None }))
                }
            })
            .buffer_unordered(Table::ALL.len())
            .try_collect()
            .await?;
        Ok(Self { root, options, tables, nonce: nonce() })
    }

    /// Where the lake lies.
    pub fn url(&self) -> &str {
        self.root.url.as_str()
    }

    /// The checkpoints of a job.
    pub fn state(&self, job: &str) -> StateStore {
        StateStore::new(&self.root, job)
    }

    /// The newest version of an application transaction in a table, as far as this process knows the log.
    pub fn landed(&self, table: Table, app_id: &str) -> Option<i64> {
        self.txns(table).get(app_id).copied()
    }

    /// All application transactions of a table, as far as this process knows the log.
    pub fn txns(&self, table: Table) -> &BTreeMap<String, i64> {
        &self.known(table).head.txns
    }

    /// The version of a table, as far as this process knows the log.
    pub fn version(&self, table: Table) -> u64 {
        self.known(table).head.version
    }

    /// Takes over all tables: raises the owner epoch above every epoch there is, by compare-and-set in every table.
    /// Afterwards commits of earlier owners are fenced, and [`landed`](Self::landed) holds everything they committed.
    ///
    /// # Errors
    /// When the store fails, or others keep taking over at the same time.
    pub async fn own(&mut self, owner_app_id: &str) -> Result<i64> {
        for _ in 0..OWN_ROUNDS_MAX {
            self.refresh().await?;
            let epochs = Table::ALL.iter().filter_map(|table| self.landed(*table, owner_app_id));
            let epoch = epochs.max().unwrap_or(0) + 1;
            if self.raise(owner_app_id, epoch).await? {
                return Ok(epoch);
            }
        }
        let epoch = self.landed(Table::Events, owner_app_id).unwrap_or_default();
        Err(Error::Fenced { owner: owner_app_id.into(), epoch })
    }

    /// Writes the epoch into every table. False if another owner was faster in one of them.
    async fn raise(&mut self, owner: &str, epoch: i64) -> Result<bool> {
        for table in Table::ALL {
            let commit_uid = format!("{owner}/own/{epoch}/{}", self.nonce);
            let intent = Intent { commit_uid, owner: None, txns: vec![(owner.into(), epoch)] };
            loop {
                match self.commit_intent(table, &[], &intent).await {
                    Ok(_) => break,
                    // Commits of an owner with a lower epoch may slip in before ours, and then ours goes after them.
                    Err(CommitError::Conflict { .. })
                        if self.landed(table, owner).is_none_or(|found| found < epoch) => {}
                    Err(CommitError::Conflict { .. } | CommitError::Fenced { .. }) => return Ok(false),
                    Err(CommitError::Store { source, .. }) => return Err(source),
                }
            }
        }
        Ok(true)
    }

    /// Commits files and application transactions to a table, exactly once: calling it again with the same `commit_uid`
    /// gives the same answer.
    ///
    /// Races with unrelated commits are resolved here, within [`LakeOptions::attempts_max`] puts.
    ///
    /// # Errors
    /// See [`CommitError`].
    pub async fn commit(
        &mut self,
        table: Table,
        files: Vec<DataFile>,
        txns: &[(String, i64)],
        owner: (&str, i64),
        commit_uid: &str,
    ) -> Result<Landed, CommitError> {
        let intent =
            Intent { commit_uid: commit_uid.into(), owner: Some((owner.0.into(), owner.1)), txns: txns.to_vec() };
        self.commit_intent(table, &files, &intent).await
    }

    pub(crate) async fn commit_intent(
        &mut self,
        table: Table,
        files: &[DataFile],
        intent: &Intent,
    ) -> Result<Landed, CommitError> {
        let store_error = |source: Error| CommitError::Store { table, source };
        let (attempts_max, backoff) = (self.options.attempts_max.max(1), self.options.backoff);
        if let Some(version) = self.known(table).head.find(&intent.commit_uid) {
            return Ok(Landed { table, version, attempts: 0 });
        }
        if let Some(outcome) = refuse(intent, self.txns(table)) {
            return Err(self.refused(table, intent, outcome));
        }
        if self.known(table).altered {
            let log = self.known(table).log.clone();
            create::check(table, &log).await.map_err(store_error)?;
            self.known_mut(table).altered = false;
        }
        self.check_place(table).await.map_err(store_error)?;
        self.put_files(table, files).await.map_err(store_error)?;
        let (bytes, entry) = write_entry(intent, files, (self.options.clock_ms)()).map_err(store_error)?;

        let mut observed = Observed::default();
        let mut failed = None;
        for attempt in 1..=attempts_max {
            let version = self.version(table) + 1;
            let Some(source) = self.put_entry(table, version, &bytes).await else {
                self.known_mut(table).head.apply(version, &entry);
                return Ok(Landed { table, version, attempts: attempt });
            };
            failed = Some(source);
            observed.tried = version;
            if let Err(source) = self.observe(table, intent, &mut observed).await {
                tracing::debug!(%table, attempt, error = %source, "log cannot be read after a failed put");
                failed = Some(source);
                tokio::time::sleep(backoff * 2u32.saturating_pow(attempt - 1)).await;
                continue;
            }
            match decide(intent, &observed) {
                Outcome::Landed { version } => return Ok(Landed { table, version, attempts: attempt }),
                Outcome::Rebase { onto } => tracing::debug!(%table, attempt, onto, "commit goes after others"),
                Outcome::Retry => {
                    tracing::debug!(%table, attempt, "commit did not land");
                    tokio::time::sleep(backoff * 2u32.saturating_pow(attempt - 1)).await;
                }
                refused => return Err(self.refused(table, intent, refused)),
            }
        }
        let source = failed.unwrap_or_else(|| Error::Table { table, why: "too many commits at once".into() });
        Err(CommitError::Store { table, source })
    }

    fn refused(&self, table: Table, intent: &Intent, outcome: Outcome) -> CommitError {
        match outcome {
            Outcome::Fenced { epoch } => {
                let owner = intent.owner.as_ref().map(|(owner, _)| owner.clone()).unwrap_or_default();
                CommitError::Fenced { table, owner, epoch }
            }
            Outcome::Conflict { why } => CommitError::Conflict { table, why },
            other => CommitError::Conflict { table, why: format!("{other:?}") },
        }
    }

    /// Fails unless the newest known log entry is where it was: a lake that was moved away, or whose file system is gone,
    /// must not begin a second life in an empty place. Put if absent would find every version absent there.
    async fn check_place(&self, table: Table) -> Result<()> {
        let path = self.root.path(&[table.name(), "_delta_log"]).join(format!("{:020}.json", self.version(table)));
        self.root.store.head(&path).await.map(drop).map_err(Error::from)
    }

    /// Stores files under their names. They hold hashes of their contents, so that a second time changes nothing.
    async fn put_files(&self, table: Table, files: &[DataFile]) -> Result<()> {
        let store = &self.root.store;
        let folder = self.root.path(&[table.name()]);
        futures::stream::iter(files)
            .map(|file| {
                let path = file.path.split('/').fold(folder.clone(), Path::join);
                async move {
                    match store.put_opts(&path, file.bytes.clone(), PutOptions::from(PutMode::Create)).await {
                        Ok(_) | Err(StoreError::AlreadyExists { .. }) => Ok(()),
                        Err(e) => Err(Error::from(e)),
                    }
                }
            })
            .buffer_unordered(PUTS_AT_ONCE)
            .try_collect()
            .await
    }

    /// Puts an entry if its version is absent. `None` if the store says that it did.
    async fn put_entry(&self, table: Table, version: u64, bytes: &[u8]) -> Option<Error> {
        let open = self.known(table);
        let path = self.root.path(&[table.name(), "_delta_log"]).join(format!("{version:020}.json"));
        // The log store decides how absence is guaranteed (conditional put, or a lock of its own).
        let put = match open.log.name().as_str() {
            "DefaultLogStore" | "LakeFSLogStore" => {
                let bytes = CommitOrBytes::LogBytes(bytes.to_vec().into());
                open.log.write_commit_entry(version, bytes, Default::default()).await
            }
            _ => {
                let aside = Path::from(format!("_delta_log/_commit_{}_{version}.json.tmp", self.nonce));
                let store = open.log.object_store(None);
                match store.put(&aside, bytes.to_vec().into()).await {
                    Ok(_) => {
                        let entry = CommitOrBytes::TmpCommit(aside);
                        open.log.write_commit_entry(version, entry, Default::default()).await
                    }
                    Err(source) => Err(TransactionError::ObjectStore { source }),
                }
            }
        };
        match put {
            Ok(()) => None,
            Err(TransactionError::VersionAlreadyExists(_)) => {
                Some(StoreError::AlreadyExists { path: path.to_string(), source: "taken".into() }.into())
            }
            Err(TransactionError::ObjectStore { source }) => Some(source.into()),
            Err(other) => Some(Error::Delta(other.into())),
        }
    }

    /// Reads the entries after the known version, takes them in, and notes what they say about an intent.
    async fn observe(&mut self, table: Table, intent: &Intent, observed: &mut Observed) -> Result<()> {
        let open = self.known_mut(table);
        observed.head = open.head.version;
        while let Some((version, entry)) = open.next_entry().await? {
            observed.head = version;
            if entry.commit_uid.as_deref() == Some(&intent.commit_uid) {
                observed.ours = Some(version);
            } else {
                observed.txns.extend(entry.txns);
                observed.altered = observed.altered.take().or(entry.altered);
            }
        }
        Ok(())
    }

    /// Takes in what others have committed to any table since.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn refresh(&mut self) -> Result<()> {
        for table in Table::ALL {
            while self.known_mut(table).next_entry().await?.is_some() {}
        }
        Ok(())
    }

    /// The table as it is now, for reading. It is replayed once, and then follows the log.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn delta(&mut self, table: Table) -> Result<&DeltaTable> {
        let open = self.known_mut(table);
        let delta = match open.delta.take() {
            Some(mut delta) => {
                delta.update_incremental(None).await?;
                delta
            }
            None => {
                let mut delta = DeltaTable::new(open.log.clone());
                delta.load().await?;
                delta
            }
        };
        Ok(open.delta.insert(delta))
    }

    /// All rows of some columns of a table that is small by nature.
    pub(crate) async fn rows(&mut self, table: Table, columns: &[&str]) -> Result<Vec<RecordBatch>> {
        let delta = self.delta(table).await?;
        Ok(scan(delta, columns).await?.try_collect().await?)
    }

    pub(crate) fn known(&self, table: Table) -> &Open {
        // Every table is opened with the lake; a map keeps that readable where an array would need an index.
        &self.tables[&table]
    }

    pub(crate) fn known_mut(&mut self, table: Table) -> &mut Open {
        self.tables.entry(table).or_insert_with(|| unreachable!("every table is opened with the lake"))
    }
}

impl Open {
    /// Reads and takes in the next entry, if there is one.
    async fn next_entry(&mut self) -> Result<Option<(u64, Entry)>> {
        let version = self.head.version + 1;
        let Some(bytes) = self.log.read_commit_entry(version).await? else { return Ok(None) };
        let entry = read_entry(&bytes)?;
        self.head.apply(version, &entry);
        self.altered |= entry.altered.is_some();
        Ok(Some((version, entry)))
    }
}

async fn open_log(root: &Root, table: Table) -> Result<(LogStoreRef, Option<Head>)> {
    let head = read_head(&root.store, &root.path(&[table.name()])).await?;
    Ok((root.table(table)?, head))
}

/// A table without rows, in memory: it is read in place of one that a lake lacks.
async fn stand_in(table: Table) -> Result<(LogStoreRef, Option<Head>)> {
    let root = Root::open("memory:///absent", Place::Create, Durability::Fast, &HashMap::new(), None)?;
    create::create(table, &root.table(table)?).await?;
    open_log(&root, table).await
}

#[allow(clippy::disallowed_methods)] // only the log's own records carry it; callers with a clock pass theirs
fn wall_clock_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

/// A name that no other process has: the standard library seeds its hashers from the operating system's randomness.
fn nonce() -> String {
    let random = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests;
