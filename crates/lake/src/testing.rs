//! What the tests of this crate share: batches of events, lakes in memory, and a store that fails on demand.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use palisade_events::{EventBatch, EventBuilder, FieldPlan, Lane, LaneHash, col};

use crate::{DataFile, EventWriter, LakeOptions, WriterOptions};

/// Noon of 2026-01-31.
pub(crate) const NOON: i64 = 1_769_860_800_000_000;

/// Events of one Kafka partition at the given offsets, one a second.
pub(crate) fn events(partition: i32, offsets: std::ops::Range<i64>) -> EventBatch {
    let lane = Lane::kafka("audit", "logs", partition);
    let hash = LaneHash::new(&lane);
    let mut builder = EventBuilder::new(Arc::new(FieldPlan::default()));
    for offset in offsets {
        let uid = hash.event_uid(offset, 0);
        builder.put_text(col::EVENT_UID, std::str::from_utf8(&uid).unwrap());
        builder.put_time(col::TIME, NOON + offset * 1_000_000);
        builder.put_int(col::CLASS_UID, 6003);
        builder.put_int(col::ACTIVITY_ID, 1);
        builder.put_word(col::SOURCE, "audit");
        builder.put_word(col::FORMAT, "k8s_audit");
        builder.put_word(col::ORIGIN, "logs");
        builder.put_int(col::PARTITION, partition);
        builder.put_long(col::OFFSET, offset);
        builder.put_flag(col::LATE, false);
        builder.put_word(col::ACTOR_USER_NAME, ["alice", "bob", "system:node:n1"][offset as usize % 3]);
        if offset % 2 == 0 {
            builder.put_words(col::ACTOR_USER_GROUPS, ["system:masters", "dev"]);
            builder.put_word(col::NAMESPACE_NAME, "shop");
        }
        builder.put_text(col::RAW, &format!("{{\"verb\":\"get\",\"n\":{offset}}}"));
        builder.end_row();
    }
    builder.finish().unwrap()
}

/// The files of a batch.
pub(crate) fn files(batch: &EventBatch) -> Vec<DataFile> {
    let mut writer = EventWriter::new(WriterOptions::default());
    writer.push(batch).unwrap();
    writer.finish().unwrap()
}

/// Where the lakes of these tests lie, in a store of their own each.
pub(crate) const URL: &str = "memory:///lake";

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails without effect.
    Refused,
    /// It happens, and its answer is lost.
    AnswerLost,
}

/// A store in memory that injects faults into writes.
#[derive(Debug)]
pub(crate) struct FaultStore {
    inner: Arc<InMemory>,
    control: Arc<Control>,
}

/// The switches of a [`FaultStore`].
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Writes so far.
    writes: AtomicI64,
    /// Which write is hit, and how.
    plan: Mutex<Option<(i64, Fault)>>,
    /// After the hit everything fails, as for a process that is gone.
    dies: AtomicBool,
    dead: AtomicBool,
}

impl Control {
    /// Hits the `write`-th write from now, counted from 0.
    pub(crate) fn hit(&self, write: i64, fault: Fault) {
        *self.plan.lock().unwrap() = Some((self.writes.load(Ordering::SeqCst) + write, fault));
    }

    /// As [`hit`](Self::hit), and afterwards nothing works.
    pub(crate) fn die(&self, write: i64, fault: Fault) {
        self.dies.store(true, Ordering::SeqCst);
        self.hit(write, fault);
    }

    /// Whether the planned fault has happened.
    pub(crate) fn was_hit(&self) -> bool {
        self.plan.lock().unwrap().is_none()
    }

    fn next(&self) -> Option<Fault> {
        let number = self.writes.fetch_add(1, Ordering::SeqCst);
        let mut plan = self.plan.lock().unwrap();
        let (_, fault) = plan.filter(|(write, _)| *write == number)?;
        *plan = None;
        self.dead.fetch_or(self.dies.load(Ordering::SeqCst), Ordering::SeqCst);
        Some(fault)
    }

    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) { Err(injected()) } else { Ok(()) }
    }
}

fn injected() -> Error {
    Error::Generic { store: "fault", source: "injected".into() }
}

/// A store in memory that several lakes can share.
#[derive(Clone, Default)]
pub(crate) struct Disk(pub(crate) Arc<InMemory>);

impl Disk {
    /// Options of one process on this disk, and its switches.
    pub(crate) fn process(&self) -> (LakeOptions, Arc<Control>) {
        let control = Arc::new(Control::default());
        let (inner, switches) = (Arc::clone(&self.0), Arc::clone(&control));
        let wrap: crate::store::Wrap =
            Arc::new(move |_| Arc::new(FaultStore { inner: Arc::clone(&inner), control: Arc::clone(&switches) }));
        let options = LakeOptions {
            wrap: Some(wrap),
            clock_ms: || 1_769_860_800_000,
            backoff: Duration::from_millis(1),
            attempts_max: 4,
            ..LakeOptions::fast()
        };
        (options, control)
    }

    pub(crate) fn options(&self) -> LakeOptions {
        self.process().0
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultStore")
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.control.alive()?;
        match self.control.next() {
            None => self.inner.put_opts(location, payload, opts).await,
            Some(Fault::Refused) => Err(injected()),
            Some(Fault::AnswerLost) => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(injected())
            }
        }
    }

    async fn put_multipart_opts(&self, at: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.control.alive()?;
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.control.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.control.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.control.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}
