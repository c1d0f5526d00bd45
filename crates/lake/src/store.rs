//! Where a lake lies: from a path or URL to an object store, and a local store that keeps what it was given.
//!
//! `object_store`'s local store never calls fsync, so that a commit which was answered could be gone after power loss.
//! [`DurableStore`] writes aside, syncs the file, links or renames it into place and syncs the folder, in that order.
//!
//! Not here: what is stored (`log.rs`, [`crate::state`]).

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use deltalake::logstore::{LogStoreRef, ObjectStoreFactory, StorageConfig, logstore_with, object_store_factories};
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreScheme, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result as StoreResult, UploadPart,
};
use url::Url;

use crate::{Error, Result, Table};

/// How hard a local store tries to keep what it was given. Object stores are durable by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Durability {
    /// Files and folders reach the disk before a write is answered: survives power loss.
    #[default]
    Durable,
    /// The operating system may hold writes back: survives a crash of the process only. For tests and demos.
    Fast,
}

/// A function that puts another store in front of the one in use.
pub type Wrap = Arc<dyn Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> + Send + Sync>;

/// Whether a place must hold something already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Create,
    Existing,
}

/// The root of a lake: its URL, and the store that everything below it goes through.
#[derive(Clone)]
pub(crate) struct Root {
    pub(crate) url: Url,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: Path,
    config: StorageConfig,
}

impl Root {
    pub(crate) fn open(
        text: &str,
        place: Place,
        durability: Durability,
        storage: &HashMap<String, String>,
        wrap: Option<&Wrap>,
    ) -> Result<Self> {
        let location = |why: String| Error::Location { url: text.into(), why };
        if place == Place::Existing && is_local(text) && !local_path(text).is_dir() {
            return Err(Error::NoLake { url: text.into() });
        }
        let url = deltalake::ensure_table_uri(text).map_err(|e| location(e.to_string()))?;
        let config = StorageConfig::parse_options(storage).map_err(|e| location(e.to_string()))?;
        let store: Arc<dyn ObjectStore> = if url.scheme() == "file" {
            match durability {
                Durability::Durable => Arc::new(DurableStore::default()),
                Durability::Fast => Arc::new(LocalFileSystem::new()),
            }
        } else {
            factory(&url).map_err(location)?.parse_url_opts(&url, &config).map_err(|e| location(e.to_string()))?.0
        };
        let store = wrap.map_or_else(|| Arc::clone(&store), |wrap| wrap(Arc::clone(&store)));
        let prefix = match ObjectStoreScheme::parse(&url) {
            Ok((_, path)) => path,
            Err(_) => Path::from_url_path(url.path()).map_err(|e| location(e.to_string()))?,
        };
        Ok(Self { url, store, prefix, config })
    }

    /// The log store of one table.
    pub(crate) fn table(&self, table: Table) -> Result<LogStoreRef> {
        let mut url = self.url.clone();
        url.set_path(&format!("{}/{}", self.url.path().trim_end_matches('/'), table.name()));
        Ok(logstore_with(Arc::clone(&self.store), &url, self.config.clone())?)
    }

    /// The path of something below the root.
    pub(crate) fn path(&self, parts: &[&str]) -> Path {
        parts.iter().fold(self.prefix.clone(), |path, part| path.join(*part))
    }
}

/// Whether this build can use a place as a lake, as far as its name tells. Contacts nobody and makes nothing.
///
/// # Errors
/// When it is no URL, or one of a store that this build leaves out.
pub fn check_url(text: &str) -> Result<()> {
    if is_local(text) {
        return Ok(());
    }
    let location = |why: String| Error::Location { url: text.into(), why };
    let url = Url::parse(text).map_err(|e| location(e.to_string()))?;
    factory(&url).map(drop).map_err(location)
}

fn factory(url: &Url) -> std::result::Result<Arc<dyn ObjectStoreFactory>, String> {
    let scheme = Url::parse(&format!("{}://", url.scheme())).map_err(|e| e.to_string())?;
    let found = object_store_factories().get(&scheme).map(|entry| Arc::clone(entry.value()));
    found.ok_or_else(|| {
        format!("this build knows no store for `{}`; the features s3, azure and gcp bring theirs", url.scheme())
    })
}

/// Whether a lake's place is a folder of this machine.
fn is_local(text: &str) -> bool {
    !text.contains("://") || text.starts_with("file://")
}

fn local_path(text: &str) -> PathBuf {
    Url::parse(text).ok().and_then(|url| url.to_file_path().ok()).unwrap_or_else(|| PathBuf::from(text))
}

/// The local file system, with every write on the disk before it is answered.
#[derive(Debug, Default)]
pub struct DurableStore {
    inner: Arc<LocalFileSystem>,
}

impl DurableStore {
    fn sync_parent(&self, location: &Path) -> StoreResult<()> {
        let path = self.inner.path_to_filesystem(location)?;
        sync_folder(path.parent()).map_err(|e| failed(&path, e))
    }
}

impl fmt::Display for DurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Durable({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DurableStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) || !opts.attributes.is_empty() {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        blocking(move || {
            let (aside, mut file) = create_aside(&path)?;
            let written = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
            drop(file);
            finish_aside(&aside, &path, &opts.mode, written)
        })
        .await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        if !opts.attributes.is_empty() {
            return self.inner.put_multipart_opts(location, opts).await;
        }
        let path = self.inner.path_to_filesystem(location)?;
        let (aside, file) = create_aside(&path)?;
        Ok(Box::new(DurableUpload { path, aside, file: Arc::new(file), offset: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        // A deletion that power loss takes back leaves a file too many, which vacuum finds again.
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await?;
        let path = self.inner.path_to_filesystem(to)?;
        blocking(move || File::open(&path).and_then(|f| f.sync_all()).map_err(|e| failed(&path, e))).await?;
        self.sync_parent(to)
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> StoreResult<()> {
        self.inner.rename_opts(from, to, options).await?;
        self.sync_parent(from)?;
        self.sync_parent(to)
    }
}

/// An upload in parts: written aside, synced and renamed on completion.
#[derive(Debug)]
struct DurableUpload {
    path: PathBuf,
    aside: PathBuf,
    file: Arc<File>,
    offset: u64,
}

#[async_trait]
impl MultipartUpload for DurableUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (offset, file, path) = (self.offset, Arc::clone(&self.file), self.path.clone());
        self.offset += data.content_length() as u64;
        Box::pin(blocking(move || write_at(&file, &data, offset).map_err(|e| failed(&path, e))))
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let (file, aside, path) = (Arc::clone(&self.file), self.aside.clone(), self.path.clone());
        blocking(move || finish_aside(&aside, &path, &PutMode::Overwrite, file.sync_all())).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> StoreResult<()> {
        let (aside, path) = (self.aside.clone(), self.path.clone());
        blocking(move || fs::remove_file(&aside).map_err(|e| failed(&path, e))).await
    }
}

#[cfg(unix)]
fn write_at(file: &File, data: &PutPayload, mut offset: u64) -> std::io::Result<()> {
    use std::os::unix::fs::FileExt;
    for part in data.iter() {
        file.write_all_at(part, offset)?;
        offset += part.len() as u64;
    }
    Ok(())
}

#[cfg(not(unix))]
fn write_at(file: &File, data: &PutPayload, offset: u64) -> std::io::Result<()> {
    use std::io::{Seek, SeekFrom};
    // Parts run one after the other on the caller's upload queue here, so that seeking a shared handle is safe.
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    data.iter().try_for_each(|part| file.write_all(part))
}

/// Names of files that are being written end in `#` and a number: the local store does not list those.
fn create_aside(path: &FilePath) -> StoreResult<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    if let Some(parent) = path.parent() {
        create_folders(parent).map_err(|e| failed(path, e))?;
    }
    loop {
        let mut aside = path.as_os_str().to_owned();
        aside.push(format!("#{}{:06}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let aside = PathBuf::from(aside);
        match OpenOptions::new().write(true).create_new(true).open(&aside) {
            Ok(file) => return Ok((aside, file)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(failed(path, e)),
        }
    }
}

/// Creates a folder and those above it, each made known to the disk by its parent.
fn create_folders(folder: &FilePath) -> std::io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folders(parent)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => sync_folder(folder.parent()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

fn finish_aside(aside: &FilePath, path: &FilePath, mode: &PutMode, written: std::io::Result<()>) -> StoreResult<()> {
    let placed = written.and_then(|()| match mode {
        PutMode::Create => fs::hard_link(aside, path).and_then(|()| fs::remove_file(aside)),
        _ => fs::rename(aside, path),
    });
    if let Err(e) = placed {
        // The file aside is garbage now; if it cannot be removed, nothing reads it.
        let _ = fs::remove_file(aside);
        return Err(failed(path, e));
    }
    sync_folder(path.parent()).map_err(|e| failed(path, e))
}

fn sync_folder(folder: Option<&FilePath>) -> std::io::Result<()> {
    match folder {
        Some(folder) if cfg!(unix) => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}

fn failed(path: &FilePath, source: std::io::Error) -> StoreError {
    let path = path.display().to_string();
    match source.kind() {
        std::io::ErrorKind::AlreadyExists => StoreError::AlreadyExists { path, source: source.into() },
        std::io::ErrorKind::NotFound => StoreError::NotFound { path, source: source.into() },
        _ => StoreError::Generic { store: "local", source: format!("{path}: {source}").into() },
    }
}

/// Runs file work off the runtime's workers, or right here where there is no runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> StoreResult<T> + Send + 'static) -> StoreResult<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;

    #[tokio::test]
    async fn a_put_if_absent_wins_once_and_leaves_nothing_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::default();
        let path = Path::from_absolute_path(folder.path().join("a/b/c")).unwrap();
        let create = || PutOptions::from(PutMode::Create);
        store.put_opts(&path, "one".into(), create()).await.unwrap();
        let again = store.put_opts(&path, "two".into(), create()).await;
        assert!(matches!(again, Err(StoreError::AlreadyExists { .. })), "{again:?}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one");
        store.put(&path, "three".into()).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "three");
        assert_eq!(fs::read_dir(folder.path().join("a/b")).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn parts_of_an_upload_appear_together_on_completion() {
        let folder = tempfile::tempdir().unwrap();
        let store = DurableStore::default();
        let path = Path::from_absolute_path(folder.path().join("file")).unwrap();
        let mut upload = store.put_multipart(&path).await.unwrap();
        let (first, second) = (upload.put_part("one ".into()), upload.put_part("two".into()));
        second.await.unwrap();
        first.await.unwrap();
        assert!(store.head(&path).await.is_err());
        upload.complete().await.unwrap();
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), "one two");
    }
}
