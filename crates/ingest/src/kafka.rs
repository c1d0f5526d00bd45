//! The Kafka source: a consumer group whose offsets live in the lake.
//!
//! A `BaseConsumer` is driven by whoever calls [`Source::next`]; rebalances happen inside that call and are answered
//! later, by [`Source::start`] and [`Source::release`], so that the caller can flush and commit before a partition is let
//! go. Every partition has a queue of its own. A held lane's queue is simply not drained: librdkafka stops fetching when
//! its own bound is reached, and throws nothing away, as `pause` would.
//!
//! Why nothing is lost or doubled here: a lane starts at the offset that the lake says is next, never at the group's
//! committed offset; records are handed over in offset order; committed offsets are written for lag tools only. What was
//! taken from a queue and not handed over when a lane is let go is read again by whoever comes next.
//!
//! Memory: librdkafka reads 64 MiB of payloads ahead for each source, divided by the partitions of its topics, but at least
//! 512 KiB and at most 16 MiB a partition (the most where a broker does not tell their number at once). A queue may
//! overshoot by a quarter. `queued.max.messages.kbytes` and `fetch.message.max.bytes` override both, per partition. A lane
//! adds at most one chunk that is being filled.
//!
//! Not here: decoding, and any decision about when to commit.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_events::Lane;
use palisade_events::seam::{Hold, Resume, Signal, Source, SourceError};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

mod security;
mod setup;
mod context;
mod rebalances;
mod place;
mod headers;
mod intake;
mod closing;

pub use security::{TokenFile, client_config, without_secrets};

use closing::Closing;
use context::Context;
use intake::{Intake, OtherRecord};
use place::Place;
use rebalances::Rebalance;
use setup::TopicPattern;

/// How to reach Kafka and what to read there.
#[derive(Clone)]
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
    /// Which part of a topic's name is the cluster, as `k8s.{cluster}.audit`: the whole name, with one `{cluster}`. Topics
    /// that do not fit tell none, and a header goes before it.
    pub cluster_from_topic: Option<String>,
    /// Where a partition begins that the lake does not know.
    pub begin: Begin,
    /// librdkafka properties, passed through; `bootstrap.servers` among them.
    pub properties: BTreeMap<String, String>,
    /// File with the token of the SASL mechanism OAUTHBEARER. It is read again whenever a token has used up most of its life.
    pub oauth_token_file: Option<PathBuf>,
}

impl fmt::Debug for KafkaSettings {
    /// Shows which properties are set, but not their values: passwords are among them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("name", &self.name)
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("generation", &self.generation)
            .field("cluster_header", &self.cluster_header)
            .field("cluster_from_topic", &self.cluster_from_topic)
            .field("begin", &self.begin)
            .field("properties", &self.properties.keys())
            .field("oauth_token_file", &self.oauth_token_file)
            .finish()
    }
}

/// Where a partition begins that was never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the oldest record.
    Earliest,
    /// At the newest.
    Latest,
}

/// How long one look at an empty source may block: short, so that other queues are seen soon.
const LOOK: Duration = Duration::from_millis(5);
/// A lane whose queue was empty is not asked again for this long: asking costs about as much as a record does, and many
/// quiet lanes must not slow down a busy one.
const QUIET: Duration = Duration::from_millis(1);
/// Bound on the question whether brokers and topics are there.
const DOUBT_TIMEOUT: Duration = Duration::from_secs(1);
/// Bound on the question which partitions all topics have.
const METADATA_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads topics as a member of a consumer group. See the module's text.
pub struct KafkaSource {
    settings: KafkaSettings,
    pattern: Option<TopicPattern>,
    consumer: Arc<BaseConsumer<Context>>,
    /// By topic and partition.
    lanes: Vec<OpenLane>,
    ready: VecDeque<Signal>,
    /// The lane that is asked next.
    turn: usize,
    /// When the ends of partitions are compared with what was read.
    compare_at: Instant,
    /// No broker could be reached, or a topic was not found, when that was last heard of.
    in_doubt: bool,
    /// Last, so that it is dropped when `consumer` is.
    closing: Closing,
}

struct OpenLane {
    lane: Arc<Lane>,
    queue: Option<PartitionQueue<Context>>,
    hold: Hold,
    stage: Stage,
    intake: Intake,
    /// It is not asked before this moment.
    ask_at: Instant,
    /// Nothing came since the end was reached.
    caught_up: bool,
}

/// What can be asked of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its records.
    Reading,
    /// Where it goes on, which was not to be learnt; `pause` is how long to wait after the next failure.
    Lost { pause: Duration },
    /// Nothing: it is to be let go.
    Leaving,
}

/// How far a lane's queue was emptied.
enum Reached {
    /// The chunk is full.
    Full,
    /// Nothing more is there at this moment.
    Dry,
    /// The end of the partition.
    End,
    /// A record that is not the one that was read before.
    Other(OtherRecord),
    Failed(KafkaError),
}

impl OpenLane {
    fn new(lane: Arc<Lane>, intake: Intake, now: Instant) -> Self {
        Self { lane, queue: None, hold: Hold::Release, stage: Stage::Reading, intake, ask_at: now, caught_up: false }
    }

    /// Takes in what the queue holds, up to a chunk's bounds.
    fn fill(&mut self, cluster_header: Option<&str>, now: Instant) -> Reached {
        let Some(queue) = &self.queue else { return Reached::Dry };
        while !self.intake.is_full() {
            match queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    if let Err(other) = self.intake.take(&message, cluster_header, now) {
                        return Reached::Other(other);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => return Reached::End,
                Some(Err(error)) => return Reached::Failed(error),
                None => return Reached::Dry,
            }
        }
        Reached::Full
    }
}

impl KafkaSource {
    /// Joins the group. Nothing is read before lanes are started.
    ///
    /// # Errors
    /// When librdkafka refuses a property, the topics cannot be subscribed to, or the pattern of their names is none.
    pub fn new(settings: KafkaSettings) -> Result<Self, SourceError> {
        let fail = |why: String| SourceError { source_name: settings.name.clone(), why, retry: false };
        let pattern = settings.cluster_from_topic.as_deref().map(|text| {
            let why = || format!("the pattern `{text}` of topics' names must have one `{{cluster}}`");
            TopicPattern::parse(text).ok_or_else(|| fail(why()))
        });
        let pattern = pattern.transpose()?;
        let consumer = setup::consumer(&settings).map_err(|e| fail(without_secrets(&e)))?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(|e| fail(format!("subscribing to {topics:?}: {e}")))?;
        Ok(Self {
            settings,
            pattern,
            consumer: Arc::new(consumer),
            lanes: Vec::new(),
            ready: VecDeque::new(),
            turn: 0,
            compare_at: clock_now() + place::COMPARE_EVERY,
            in_doubt: false,
            closing: Closing::default(),
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

    /// The index of an open lane, or the one that it would have.
    fn find(&self, lane: &Lane) -> Result<usize, usize> {
        self.find_partition(&lane.origin, lane.partition)
    }

    fn find_partition(&self, topic: &str, partition: Option<i32>) -> Result<usize, usize> {
        self.lanes.binary_search_by(|open| (open.lane.origin.as_str(), open.lane.partition).cmp(&(topic, partition)))
    }

    /// Turns what the rebalance callback saw into signals.
    fn take_rebalances(&mut self) {
        for event in self.consumer.context().rebalances.take_all() {
            match event {
                Rebalance::Assigned(partitions) => {
                    let lanes = partitions.iter().map(|(t, p)| self.lane(t, *p)).collect();
                    self.ready.push_back(Signal::Joined(lanes));
                }
                Rebalance::Revoked(partitions) => {
                    let lanes: Vec<Arc<Lane>> = partitions.iter().map(|(t, p)| self.lane(t, *p)).collect();
                    for lane in &lanes {
                        if let Ok(index) = self.find(lane) {
                            self.lanes[index].stage = Stage::Leaving;
                        }
                    }
                    self.ready.push_back(Signal::Leaving(lanes));
                }
            }
        }
    }

    /// Serves the main queue: rebalances, errors, and whatever else does not come by a partition's own queue.
    fn poll_main(&mut self, wait: Duration, now: Instant) -> Result<(), SourceError> {
        let consumer = Arc::clone(&self.consumer);
        let mut wait = wait;
        while let Some(result) = consumer.poll(wait) {
            match result {
                Ok(message) => self.take_stray(&message, now)?,
                Err(KafkaError::PartitionEOF(partition)) => {
                    let of_number = |(_, open): &(usize, &OpenLane)| open.lane.partition == Some(partition);
                    let lanes: Vec<usize> =
                        self.lanes.iter().enumerate().filter(of_number).map(|(index, _)| index).collect();
                    // The error names no topic: only one partition of this number leaves no doubt.
                    if let [index] = lanes[..] {
                        self.reach_end(index);
                    }
                }
                Err(error) => self.judge(error)?,
            }
            wait = Duration::ZERO;
        }
        self.take_rebalances();
        Ok(())
    }

    /// Takes a record from the main queue. Queues are split off before their partitions start, so that none is expected.
    fn take_stray(&mut self, message: &BorrowedMessage<'_>, now: Instant) -> Result<(), SourceError> {
        let Ok(index) = self.find_partition(message.topic(), Some(message.partition())) else { return Ok(()) };
        let open = &mut self.lanes[index];
        open.caught_up = false;
        match open.intake.take(message, self.settings.cluster_header.as_deref(), now) {
            Ok(()) => Ok(()),
            Err(other) => self.refuse(index, other),
        }
    }

    /// What an error of the consumer means: most are passing, and librdkafka goes on by itself.
    fn judge(&mut self, error: KafkaError) -> Result<(), SourceError> {
        match error {
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic,
            ) => {
                self.in_doubt = true;
                Ok(())
            }
            // Whom one broker does not let in, another may; what keeps all of them away shows when they are asked.
            KafkaError::MessageConsumption(code @ (RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL)) => {
                tracing::warn!(source = %self.settings.name, error = %code, "a broker cannot be spoken to");
                self.in_doubt = true;
                Ok(())
            }
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

    /// After brokers could not be reached, or a topic not be found: asks whether that is still so, since a source that has
    /// nothing to read hears nothing when it is over.
    fn resolve_doubt(&mut self) -> Result<(), SourceError> {
        if !self.in_doubt {
            return Ok(());
        }
        // Patterns of names stand for whatever topics there are.
        let mut named = self.settings.topics.iter().filter(|topic| !topic.starts_with('^')).peekable();
        if named.peek().is_none() {
            self.consumer.fetch_metadata(None, DOUBT_TIMEOUT).map_err(|e| self.unreachable(&e))?;
        }
        for topic in named {
            let metadata =
                self.consumer.fetch_metadata(Some(topic), DOUBT_TIMEOUT).map_err(|e| self.unreachable(&e))?;
            if metadata.topics().iter().all(|t| t.error().is_some() || t.partitions().is_empty()) {
                return Err(self.error(format!("there is no topic {topic}"), true));
            }
        }
        self.in_doubt = false;
        self.consumer.context().forget_reason();
        Ok(())
    }

    /// No broker answers; why, as far as librdkafka has told.
    fn unreachable(&self, error: &KafkaError) -> SourceError {
        let reason = self.consumer.context().reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        self.error(format!("no broker can be reached: {error}{reason}"), true)
    }

    /// Asks the lanes in turn, until one has something to say. Only then is more taken out of the queues: what is held or
    /// not asked for stays where it is bounded.
    fn ask_lanes(&mut self, now: Instant) -> Result<(), SourceError> {
        for _ in 0..self.lanes.len() {
            let index = self.turn % self.lanes.len();
            self.turn = index + 1;
            let open = &self.lanes[index];
            if open.hold == Hold::Hold || now < open.ask_at {
                continue;
            }
            match open.stage {
                Stage::Reading => self.drain(index, now)?,
                // Finding a place assigns, which would answer a rebalance before those who leave are let go.
                Stage::Lost { .. } if self.lanes.iter().any(|open| open.stage == Stage::Leaving) => {}
                Stage::Lost { pause } => self.find_again(index, pause)?,
                Stage::Leaving => {}
            }
            if !self.ready.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Empties one lane's queue up to a chunk's bounds, and hands the chunk over if it need not wait for more.
    fn drain(&mut self, index: usize, now: Instant) -> Result<(), SourceError> {
        let open = &mut self.lanes[index];
        let reached = open.fill(self.settings.cluster_header.as_deref(), now);
        open.caught_up &= open.intake.is_empty();
        match reached {
            Reached::Full => self.hand_over(index),
            Reached::Dry => {
                open.ask_at = now + QUIET;
                if open.intake.is_due(now) {
                    self.hand_over(index);
                }
            }
            Reached::End => self.reach_end(index),
            Reached::Other(other) => return self.refuse(index, other),
            Reached::Failed(error) => return self.recover(index, error),
        }
        Ok(())
    }

    fn reach_end(&mut self, index: usize) {
        self.hand_over(index);
        let open = &mut self.lanes[index];
        open.caught_up = true;
        self.ready.push_back(Signal::CaughtUp(Arc::clone(&open.lane)));
    }

    fn hand_over(&mut self, index: usize) {
        if let Some(chunk) = self.lanes[index].intake.hand_over() {
            self.ready.push_back(Signal::Records(chunk));
        }
    }

    fn is_cooperative(&self) -> bool {
        matches!(self.consumer.rebalance_protocol(), RebalanceProtocol::Cooperative)
    }

    /// Partitions of the topics that other members of the group hold.
    fn count_missing(&self) -> Result<usize, SourceError> {
        let mut missing = 0;
        let deadline = clock_now() + METADATA_TIMEOUT;
        for topic in &self.settings.topics {
            let metadata = self
                .consumer
                .fetch_metadata(Some(topic), deadline.saturating_duration_since(clock_now()))
                .map_err(|e| self.error(format!("asking for the partitions of {topic}: {e}"), true))?;
            let partitions = metadata.topics().iter().flat_map(|t| t.partitions());
            missing += partitions.filter(|p| self.find_partition(topic, Some(p.id())).is_err()).count();
        }
        Ok(missing)
    }
}

impl Drop for KafkaSource {
    /// Leaves the group, within bounds. Closing waits for the last rebalance to be answered, which only the callback can do
    /// now.
    fn drop(&mut self) {
        self.consumer.context().rebalances.close();
        self.lanes.clear();
        let _ = self.consumer.unassign();
        self.closing.begin(Arc::clone(&self.consumer), &self.settings.name);
    }
}

impl Source for KafkaSource {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn next(&mut self, wait: Duration) -> Result<Signal, SourceError> {
        let mut now = clock_now();
        let deadline = now + wait;
        loop {
            if let Some(signal) = self.ready.pop_front() {
                return Ok(signal);
            }
            self.poll_main(Duration::ZERO, now)?;
            self.compare_ends(now)?;
            self.ask_lanes(now)?;
            if self.ready.is_empty() {
                self.resolve_doubt()?;
                if now >= deadline {
                    return Ok(Signal::Nothing);
                }
                self.poll_main(LOOK.min(deadline - now), now)?;
                now = clock_now();
            }
        }
    }

    fn start(&mut self, lanes: &[(Arc<Lane>, Option<Resume>)]) -> Result<(), SourceError> {
        let asked: Vec<&Arc<Lane>> = lanes.iter().map(|(lane, _)| lane).collect();
        let bounds = self.bounds(&asked, place::START_TIMEOUT)?;
        let (mut places, mut gaps) = (Vec::with_capacity(lanes.len()), Vec::new());
        for ((lane, resume), bounds) in lanes.iter().zip(bounds) {
            let Some(resume) = resume else {
                let next_offset = match self.settings.begin {
                    Begin::Earliest => bounds.low,
                    Begin::Latest => bounds.high,
                };
                places.push(Place { lane: Arc::clone(lane), next_offset, check: None });
                continue;
            };
            let next = resume.next_offset;
            places.push(self.resume(lane, next, resume.last.as_ref(), bounds)?);
            if next < bounds.low {
                gaps.push((lane, next, bounds.low));
            }
        }
        self.begin(&places, clock_now())?;
        for (lane, next, low) in gaps {
            self.note_gap(lane, next, low);
        }
        Ok(())
    }

    fn release(&mut self, lanes: &[Arc<Lane>]) -> Result<(), SourceError> {
        let released = if self.is_cooperative() {
            let mut list = TopicPartitionList::new();
            // One that was never started is not assigned. A list without any still answers the rebalance.
            for lane in lanes.iter().filter(|lane| self.find(lane).is_ok()) {
                list.add_partition(&lane.origin, lane.partition.unwrap_or_default());
            }
            self.consumer.incremental_unassign(&list)
        } else {
            self.consumer.unassign()
        };
        released.map_err(|e| self.error(format!("letting partitions go: {e}"), true))?;
        self.lanes.retain(|open| !lanes.contains(&open.lane));
        self.ready.retain(|signal| match signal {
            Signal::Records(chunk) => !lanes.contains(&chunk.lane),
            Signal::CaughtUp(lane) => !lanes.contains(lane),
            _ => true,
        });
        Ok(())
    }

    /// What a held lane has taken in already waits with the rest.
    fn hold(&mut self, lane: &Arc<Lane>, hold: Hold) {
        if let Ok(index) = self.find(lane) {
            self.lanes[index].hold = hold;
        }
    }

    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]) {
        let mut list = TopicPartitionList::new();
        for (lane, next) in lanes {
            if let (Some(partition), Ok(_)) = (lane.partition, self.find(lane)) {
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
        let index = self.find(lane).ok()?;
        Some(self.lanes[index].intake.next_offset())
    }

    fn missing_lanes(&self) -> Result<usize, SourceError> {
        self.count_missing()
    }
}

/// Waiting is bounded by real time; nothing that is stored depends on it.
#[allow(clippy::disallowed_methods)]
fn clock_now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
