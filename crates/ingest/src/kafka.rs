//! The Kafka source: a consumer group whose offsets live in the lake.
//!
//! A `BaseConsumer` is driven by whoever calls [`Source::next`]; rebalances happen inside that call and are answered
//! later, by [`Source::start`] and [`Source::release`], so that the caller can flush and commit before a partition is let
//! go. Every partition has a queue of its own. A held lane's queue is simply not drained: librdkafka stops fetching when
//! its own bound is reached, and throws nothing away, as `pause` would.
//!
//! Why nothing is lost or doubled here: a lane starts at the offset that the lake says is next, never at the group's
//! committed offset; records are handed over in offset order; committed offsets are written for lag tools only.
//!
//! Not here: decoding, and any decision about when to commit.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use palisade_events::facts::{Coverage, CoverageKind};
use palisade_events::seam::{Hold, Signal, Source, SourceError};
use palisade_events::time::Micros;
use palisade_events::{Chunk, Lane};
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message, Timestamp};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;

/// How to reach Kafka and what to read there.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Name of the source.
    pub name: String,
    /// Topics to read.
    pub topics: Vec<String>,
    /// Consumer group.
    pub group: String,
    /// Told apart in ids: raise it when a topic was deleted and made anew.
    pub generation: u32,
    /// Name of the header that carries the cluster, if one does.
    pub cluster_header: Option<String>,
    /// Where a partition begins that the lake does not know.
    pub begin: Begin,
    /// librdkafka properties, passed through; `bootstrap.servers` among them.
    pub properties: BTreeMap<String, String>,
}

/// Where a partition begins that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the oldest record.
    Earliest,
    /// At the newest.
    Latest,
}

/// Payload bytes after which a chunk is handed over.
const CHUNK_BYTES: usize = 1 << 20;
/// Records after which a chunk is handed over.
const CHUNK_RECORDS: usize = 4096;
/// How long one look at an empty source may block: short, so that other queues are seen soon.
const LOOK: Duration = Duration::from_millis(5);
/// Bound on questions about watermarks.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads topics as a member of a consumer group. See the module's text.
pub struct KafkaSource {
    settings: KafkaSettings,
    consumer: Arc<BaseConsumer<Rebalances>>,
    lanes: BTreeMap<(String, i32), OpenLane>,
    ready: VecDeque<Signal>,
    next_lane: usize,
}

struct OpenLane {
    lane: Arc<Lane>,
    queue: Option<PartitionQueue<Rebalances>>,
    held: bool,
    /// Where the next record is expected: what an expired offset is measured from.
    next_offset: i64,
    /// The last chunk was full: the next one probably is as well.
    was_full: bool,
    /// To be told with the next record.
    facts: Vec<Coverage>,
}

/// Remembers rebalances until the caller has dealt with them.
#[derive(Default)]
struct Rebalances {
    events: Mutex<VecDeque<Rebalance>>,
    /// The consumer is being closed: there is nobody left to answer a rebalance, so it is answered at once.
    closing: AtomicBool,
}

enum Rebalance {
    Assigned(Vec<(String, i32)>),
    Revoked(Vec<(String, i32)>),
}

impl ClientContext for Rebalances {
    /// Errors also come back from polling, where they are judged; a partition's end is none.
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
    }
}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.closing.load(Ordering::Relaxed) {
            // Errors here mean that the group is gone already.
            let _ = match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            };
            return;
        }
        let partitions = list.elements().iter().map(|e| (e.topic().to_owned(), e.partition())).collect();
        let event = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assigned(partitions),
            _ => Rebalance::Revoked(partitions),
        };
        if let Ok(mut events) = self.events.lock() {
            events.push_back(event);
        }
    }
}

impl KafkaSource {
    /// Joins the group. Nothing is read before lanes are started.
    ///
    /// # Errors
    /// When librdkafka refuses a property, or the topics cannot be subscribed to.
    pub fn new(settings: KafkaSettings) -> Result<Self, SourceError> {
        let mut config = ClientConfig::new();
        // Large fetches, bounded memory; each may be overridden.
        config.set("queued.max.messages.kbytes", "16384").set("fetch.message.max.bytes", "4194304");
        config.set("queued.min.messages", "20000").set("session.timeout.ms", "30000");
        for (key, value) in &settings.properties {
            config.set(key, value);
        }
        // What the guarantees rest on may not be overridden.
        config.set("group.id", &settings.group).set("enable.auto.commit", "false");
        config.set("enable.auto.offset.store", "false").set("enable.partition.eof", "true");
        config.set("auto.offset.reset", "error");
        let fail = |why: String| SourceError { source_name: settings.name.clone(), why, retry: false };
        let consumer: BaseConsumer<Rebalances> =
            config.create_with_context(Rebalances::default()).map_err(|e| fail(e.to_string()))?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| fail(format!("subscribing to {topics:?}: {e}")))?;
        Ok(Self {
            settings,
            consumer: Arc::new(consumer),
            lanes: BTreeMap::new(),
            ready: VecDeque::new(),
            next_lane: 0,
        })
    }

    fn error(&self, why: impl Into<String>, retry: bool) -> SourceError {
        SourceError { source_name: self.settings.name.clone(), why: why.into(), retry }
    }

    fn lane(&self, topic: &str, partition: i32) -> Arc<Lane> {
        let mut lane = Lane::kafka(&self.settings.name, topic, partition);
        lane.generation = self.settings.generation;
        Arc::new(lane)
    }

    /// Turns what the rebalance callback saw into signals.
    fn take_rebalances(&mut self) {
        let events = match self.consumer.context().events.lock() {
            Ok(mut events) => std::mem::take(&mut *events),
            Err(_) => return,
        };
        for event in events {
            match event {
                Rebalance::Assigned(partitions) => {
                    let lanes = partitions.iter().map(|(t, p)| self.lane(t, *p)).collect();
                    self.ready.push_back(Signal::Joined(lanes));
                }
                Rebalance::Revoked(partitions) => {
                    let lanes = partitions.iter().map(|(t, p)| self.lane(t, *p)).collect();
                    self.ready.push_back(Signal::Leaving(lanes));
                }
            }
        }
    }

    /// Serves the main queue: rebalances, errors, and records that were fetched before their partition had a queue.
    fn poll_main(&mut self, wait: Duration) -> Result<(), SourceError> {
        let consumer = Arc::clone(&self.consumer);
        let mut strays: BTreeMap<(String, i32), Chunk> = BTreeMap::new();
        let mut wait = wait;
        while let Some(result) = consumer.poll(wait) {
            match result {
                Ok(message) => {
                    let key = (message.topic().to_owned(), message.partition());
                    if let Some(open) = self.lanes.get(&key) {
                        let chunk = strays.entry(key).or_insert_with(|| Chunk::new(Arc::clone(&open.lane)));
                        push(chunk, &message, self.settings.cluster_header.as_deref());
                    }
                }
                // A partition's end that was reported before its queue was split off is reported again by the fetcher.
                Err(KafkaError::PartitionEOF(partition)) => {
                    let of_lane = self.lanes.iter().filter(|((_, p), _)| *p == partition);
                    let lanes: Vec<_> = of_lane.map(|(_, open)| Arc::clone(&open.lane)).collect();
                    // The error names no topic: only one partition of this number leaves no doubt.
                    if let [lane] = lanes.as_slice() {
                        self.ready.push_back(Signal::CaughtUp(Arc::clone(lane)));
                    }
                }
                Err(error) => self.judge(error)?,
            }
            wait = Duration::ZERO;
        }
        for (key, chunk) in strays {
            self.deliver(&key, chunk);
        }
        self.take_rebalances();
        Ok(())
    }

    /// What an error of the consumer means: most are passing, and librdkafka goes on by itself.
    fn judge(&self, error: KafkaError) -> Result<(), SourceError> {
        match error {
            KafkaError::MessageConsumptionFatal(code) => Err(self.error(format!("fatal: {code}"), false)),
            KafkaError::MessageConsumption(
                code @ (RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed),
            ) => Err(self.error(code.to_string(), false)),
            other => {
                tracing::warn!(source = %self.settings.name, error = %other, "kafka consumer");
                Ok(())
            }
        }
    }

    fn deliver(&mut self, key: &(String, i32), chunk: Chunk) {
        if let (Some(open), Some(last)) = (self.lanes.get_mut(key), chunk.records.last()) {
            open.next_offset = last.offset + 1;
            open.was_full = chunk.bytes.len() >= CHUNK_BYTES;
            let mut chunk = chunk;
            chunk.facts.append(&mut open.facts);
            self.ready.push_back(Signal::Records(chunk));
        }
    }

    /// Drains one lane's queue up to a chunk's bounds. True if it yielded anything.
    fn drain(&mut self, key: &(String, i32)) -> Result<bool, SourceError> {
        let Some(open) = self.lanes.get(key) else { return Ok(false) };
        let (Some(queue), false) = (&open.queue, open.held) else { return Ok(false) };
        let mut chunk = Chunk::new(Arc::clone(&open.lane));
        // One allocation instead of growing step by step, once there is anything.
        let mut reserve = true;
        let (mut caught_up, mut failure) = (false, None);
        while chunk.bytes.len() < CHUNK_BYTES && chunk.records.len() < CHUNK_RECORDS {
            match queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    if std::mem::take(&mut reserve) && open.was_full {
                        chunk.bytes.reserve(CHUNK_BYTES + message.payload_len());
                        chunk.records.reserve(CHUNK_BYTES / message.payload_len().max(64));
                    }
                    push(&mut chunk, &message, self.settings.cluster_header.as_deref());
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    caught_up = true;
                    break;
                }
                Some(Err(error)) => {
                    failure = Some(error);
                    break;
                }
                None => break,
            }
        }
        let lane = Arc::clone(&open.lane);
        let yielded = !chunk.records.is_empty();
        if yielded {
            self.deliver(key, chunk);
        }
        if caught_up {
            self.ready.push_back(Signal::CaughtUp(lane));
        }
        if let Some(error) = failure {
            self.recover(key, error)?;
        }
        Ok(yielded || caught_up)
    }

    /// An offset that expired is a recorded gap, not a silent jump; reading goes on at the oldest record left.
    fn recover(&mut self, key: &(String, i32), error: KafkaError) -> Result<(), SourceError> {
        use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
        if !matches!(error, KafkaError::MessageConsumption(AutoOffsetReset | OffsetOutOfRange)) {
            return self.judge(error);
        }
        let (low, high) = self.watermarks(&key.0, key.1)?;
        let Some(open) = self.lanes.get(key) else { return Ok(()) };
        let expected = open.next_offset;
        if expected > high {
            return Err(self.error(recreated(&key.0, key.1, expected, high), false));
        }
        let lane = Arc::clone(&open.lane);
        if expected < low {
            self.note_gap(&lane, expected, low);
        }
        // The log may also have been cut behind us and have grown again: what was read is not read a second time.
        self.begin(&[(lane, expected.max(low))])
    }

    fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), SourceError> {
        self.consumer
            .fetch_watermarks(topic, partition, METADATA_TIMEOUT)
            .map_err(|e| self.error(format!("asking for the offsets of {topic}[{partition}]: {e}"), true))
    }

    /// Tells of records that expired unread: at once in the log, and with the next record as a fact of its lane.
    fn note_gap(&mut self, lane: &Arc<Lane>, expected: i64, low: i64) {
        let gap = gap(lane, expected, low);
        tracing::error!(lane = %lane, count = gap.count, "{}", gap.detail);
        if let Some(open) = lane.partition.and_then(|p| self.lanes.get_mut(&(lane.origin.clone(), p))) {
            open.facts.push(gap);
        }
    }

    fn begin(&mut self, lanes: &[(Arc<Lane>, i64)]) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        for (lane, next) in lanes {
            let Some(partition) = lane.partition else { continue };
            list.add_partition_offset(&lane.origin, partition, Offset::Offset(*next))
                .map_err(|e| self.error(format!("positioning {lane}: {e}"), false))?;
        }
        let assigned = if self.is_cooperative() {
            // A lane that is begun anew after a gap is assigned already.
            let _ = self.consumer.incremental_unassign(&list);
            self.consumer.incremental_assign(&list)
        } else {
            let mut all = list.clone();
            let fresh: Vec<&str> = lanes.iter().map(|(lane, _)| lane.origin.as_str()).collect();
            for ((topic, partition), open) in &self.lanes {
                let is_fresh = fresh.contains(&topic.as_str())
                    && lanes.iter().any(|(lane, _)| lane.origin == *topic && lane.partition == Some(*partition));
                if !is_fresh {
                    let _ = all.add_partition_offset(topic, *partition, Offset::Offset(open.next_offset));
                }
            }
            self.consumer.assign(&all)
        };
        assigned.map_err(|e| self.error(format!("taking over partitions: {e}"), true))?;
        for (lane, next) in lanes {
            let Some(partition) = lane.partition else { continue };
            let key = (lane.origin.clone(), partition);
            let facts = self.lanes.remove(&key).map(|open| open.facts).unwrap_or_default();
            let open = OpenLane {
                lane: Arc::clone(lane),
                queue: None,
                held: false,
                next_offset: *next,
                was_full: false,
                facts,
            };
            self.lanes.insert(key, open);
        }
        // `assign` undoes earlier splits, so all queues are split anew.
        for ((topic, partition), open) in &mut self.lanes {
            open.queue = self.consumer.split_partition_queue(topic, *partition);
        }
        Ok(())
    }

    fn is_cooperative(&self) -> bool {
        matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    /// Partitions of the topics that other members of the group hold.
    fn count_missing(&self) -> Result<usize, SourceError> {
        let mut missing = 0;
        for topic in &self.settings.topics {
            let metadata = self
                .consumer
                .fetch_metadata(Some(topic), METADATA_TIMEOUT)
                .map_err(|e| self.error(format!("asking for the partitions of {topic}: {e}"), true))?;
            for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
                if !self.lanes.contains_key(&(topic.clone(), partition.id())) {
                    missing += 1;
                }
            }
        }
        Ok(missing)
    }
}

impl Drop for KafkaSource {
    /// Leaves the group. Closing waits for the last rebalance to be answered, which only the callback can do now.
    fn drop(&mut self) {
        self.consumer.context().closing.store(true, Ordering::Relaxed);
        self.lanes.clear();
        let _ = self.consumer.unassign();
    }
}

impl Source for KafkaSource {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn next(&mut self, wait: Duration) -> Result<Signal, SourceError> {
        let deadline = clock_now() + wait;
        loop {
            if let Some(signal) = self.ready.pop_front() {
                return Ok(signal);
            }
            self.poll_main(Duration::ZERO)?;
            let keys: Vec<_> = self.lanes.keys().cloned().collect();
            let mut yielded = false;
            for turn in 0..keys.len() {
                // Lanes take turns in being first, so that none starves.
                yielded |= self.drain(&keys[(self.next_lane + turn) % keys.len()])?;
            }
            self.next_lane = self.next_lane.wrapping_add(1);
            if !yielded && self.ready.is_empty() {
                if clock_now() >= deadline {
                    return Ok(Signal::Nothing);
                }
                self.poll_main(LOOK.min(wait))?;
            }
        }
    }

    fn start(&mut self, lanes: &[(Arc<Lane>, Option<i64>)]) -> Result<(), SourceError> {
        let (mut positioned, mut gaps) = (Vec::with_capacity(lanes.len()), Vec::new());
        for (lane, next) in lanes {
            let Some(partition) = lane.partition else { continue };
            let (low, high) = self.watermarks(&lane.origin, partition)?;
            if let Some(next) = next.filter(|next| *next > high) {
                return Err(self.error(recreated(&lane.origin, partition, next, high), false));
            }
            let begin = match (next, self.settings.begin) {
                (Some(next), _) => low.max(*next),
                (None, Begin::Earliest) => low,
                (None, Begin::Latest) => high,
            };
            positioned.push((Arc::clone(lane), begin));
            gaps.extend(next.filter(|next| *next < low).map(|next| (Arc::clone(lane), next, low)));
        }
        self.begin(&positioned)?;
        for (lane, next, low) in gaps {
            self.note_gap(&lane, next, low);
        }
        Ok(())
    }

    fn release(&mut self, lanes: &[Arc<Lane>]) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        for lane in lanes {
            if let Some(partition) = lane.partition {
                self.lanes.remove(&(lane.origin.clone(), partition));
                list.add_partition(&lane.origin, partition);
            }
        }
        let released =
            if self.is_cooperative() { self.consumer.incremental_unassign(&list) } else { self.consumer.unassign() };
        released.map_err(|e| self.error(format!("letting partitions go: {e}"), true))
    }

    fn hold(&mut self, lane: &Arc<Lane>, hold: Hold) {
        if let Some(open) = lane.partition.and_then(|p| self.lanes.get_mut(&(lane.origin.clone(), p))) {
            open.held = hold == Hold::Hold;
        }
    }

    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]) {
        let mut list = TopicPartitionList::new();
        for (lane, next) in lanes {
            let held = lane.partition.filter(|p| self.lanes.contains_key(&(lane.origin.clone(), *p)));
            if let Some(partition) = held {
                let _ = list.add_partition_offset(&lane.origin, partition, Offset::Offset(*next));
            }
        }
        if list.count() == 0 {
            return;
        }
        if let Err(error) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(source = %self.settings.name, %error, "offsets for lag tools were not taken");
        }
    }

    fn begins_at(&self, lane: &Lane) -> Option<i64> {
        Some(self.lanes.get(&(lane.origin.clone(), lane.partition?))?.next_offset)
    }

    fn missing_lanes(&self) -> Result<usize, SourceError> {
        self.count_missing()
    }
}

fn push(chunk: &mut Chunk, message: &BorrowedMessage<'_>, cluster_header: Option<&str>) {
    let (time, is_brokers) = match message.timestamp() {
        Timestamp::NotAvailable => (None, false),
        Timestamp::CreateTime(ms) => (Some(ms), false),
        Timestamp::LogAppendTime(ms) => (Some(ms), true),
    };
    let time: Option<Micros> = time.filter(|ms| *ms > 0).and_then(|ms| ms.checked_mul(1000));
    chunk.push(message.payload().unwrap_or_default(), message.offset(), None, time);
    if let Some(record) = chunk.records.last_mut() {
        record.time_is_brokers = is_brokers;
    }
    if let Some(name) = cluster_header
        && let Some(headers) = message.headers()
    {
        let named = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
        if let (Some(value), Some(record)) = (named, chunk.records.last_mut()) {
            record.cluster = Some(String::from_utf8_lossy(value).into());
        }
    }
}

fn gap(lane: &Arc<Lane>, expected: i64, low: i64) -> Coverage {
    Coverage {
        lane: Arc::clone(lane),
        offset: low,
        cluster: String::new(),
        kind: CoverageKind::Gap,
        // The lane that takes the fact in knows between which events the gap lies.
        window_start: 0,
        window_end: 0,
        count: low - expected,
        detail: format!("offsets {expected} to {} of {lane} had expired before they were read", low - 1),
    }
}

fn recreated(topic: &str, partition: i32, expected: i64, high: i64) -> String {
    format!(
        "{topic}[{partition}] ends at offset {high}, but the lake has read up to {expected}: the topic was made anew or \
         truncated. Raise `generation` of this source to read it from its beginning under new ids"
    )
}

/// Waiting is bounded by real time; nothing that is stored depends on it.
#[allow(clippy::disallowed_methods)]
fn clock_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
