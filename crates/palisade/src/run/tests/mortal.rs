//! A store for tests of the run loop: it is slow, out of reach for a while, or dies with the process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};

/// A store that takes its time over a write, and dies at its n-th: the process is gone, before that write or with its
/// answer lost.
#[derive(Debug)]
pub(super) struct Mortal {
    pub(super) inner: Arc<dyn ObjectStore>,
    /// Writes left to it.
    pub(super) left: Arc<AtomicI64>,
    /// Whether the last write still happens.
    pub(super) answer_lost: bool,
    pub(super) delay: Duration,
    /// Writes that are refused from the beginning on, as by a store that cannot be reached.
    pub(super) outage: Arc<AtomicI64>,
}

fn dead() -> object_store::Error {
    object_store::Error::Generic { store: "mortal", source: "the process is gone".into() }
}

impl Mortal {
    fn alive(&self) -> StoreResult<()> {
        if self.left.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err(dead()) }
    }
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mortal")
    }
}

#[async_trait]
impl ObjectStore for Mortal {
    async fn put_opts(&self, location: &StorePath, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        if self.outage.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Err(dead());
        }
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 1 => self.inner.put_opts(location, payload, opts).await,
            1 if self.answer_lost => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(dead())
            }
            _ => Err(dead()),
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &StorePath,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> StoreResult<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}
