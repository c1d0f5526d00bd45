//! What librdkafka is told: how much it may read ahead, and what nobody may change. And how a topic's name tells a
//! cluster.
//!
//! Not here: where partitions begin (`place.rs`).

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;

use super::KafkaSettings;
use super::context::Context;
use super::security::client_config;

/// Payload bytes that all partitions of a source together may be read ahead: a second or so of a fast stream.
const AHEAD_BYTES: usize = 64 << 20;
/// A partition's part of it, at most: more makes no partition faster,
const SHARE_BYTES_MAX: usize = 16 << 20;
/// and at least: less would be a request for every few records.
const SHARE_BYTES_MIN: usize = 512 << 10;
/// Payload bytes of a small record: librdkafka needs some hundred bytes of its own for each that it holds, so that their
/// number is bounded as well.
const SMALL_RECORD_BYTES: usize = 800;
/// Bound on the question how many partitions there are; without an answer each is given the largest share.
const COUNT_TIMEOUT: Duration = Duration::from_secs(5);

/// The property that bounds a partition's queue.
const QUEUE_KBYTES: &str = "queued.max.messages.kbytes";

/// Makes a consumer that has joined nothing yet.
pub(super) fn consumer(settings: &KafkaSettings) -> KafkaResult<BaseConsumer<Context>> {
    // A bound that somebody set needs no counting.
    let counts = !settings.properties.contains_key(QUEUE_KBYTES);
    let partitions = if counts { count_partitions(settings) } else { None };
    let share = Share::of(partitions);
    let mut config = client_config(&settings.properties);
    let defaults: [(&[&str], String); 6] = [
        (&[QUEUE_KBYTES], (share.queue_bytes >> 10).to_string()),
        (&["queued.min.messages"], share.queue_records.to_string()),
        (&["fetch.message.max.bytes", "max.partition.fetch.bytes"], share.fetch_bytes.to_string()),
        // A partition whose queue is full is looked at again after this time. The default of a second lets queues run dry.
        (&["fetch.queue.backoff.ms"], "5".into()),
        // While a broker waits for news of partitions that are at their ends, it is asked for no other.
        (&["fetch.wait.max.ms"], "100".into()),
        (&["session.timeout.ms"], "30000".into()),
    ];
    // Each of them may be overridden, by either name.
    for (names, value) in defaults {
        if !names.iter().any(|name| settings.properties.contains_key(*name)) {
            config.set(names[0], value);
        }
    }
    // What the guarantees rest on may not be overridden.
    config.set("group.id", &settings.group).set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false").set("enable.partition.eof", "true");
    config.set("auto.offset.reset", "error");
    config.create_with_context(Context::new(settings))
}

/// Partitions of all topics, if a broker tells in time. librdkafka takes its bounds when it is made, so that somebody else
/// must ask before.
fn count_partitions(settings: &KafkaSettings) -> Option<usize> {
    let config = client_config(&settings.properties);
    let asking: BaseConsumer<Context> = config.create_with_context(Context::new(settings)).ok()?;
    // A token to authenticate with is asked for on the queue that this empties. There are no records to come by it.
    let _ = asking.poll(Duration::ZERO);
    let mut count = 0;
    for topic in &settings.topics {
        // A pattern of names is no name.
        if topic.starts_with('^') {
            return None;
        }
        let metadata = asking.fetch_metadata(Some(topic), COUNT_TIMEOUT).ok()?;
        count += metadata.topics().iter().map(|topic| topic.partitions().len()).sum::<usize>();
    }
    (count > 0).then_some(count)
}

/// What one partition may have waiting in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) queue_bytes: usize,
    pub(super) queue_records: usize,
    /// One fetch, by which a queue may overshoot.
    pub(super) fetch_bytes: usize,
}

impl Share {
    pub(super) fn of(partitions: Option<usize>) -> Self {
        let even = AHEAD_BYTES / partitions.unwrap_or(1).max(1);
        let queue_bytes = even.clamp(SHARE_BYTES_MIN, SHARE_BYTES_MAX);
        Self { queue_bytes, queue_records: queue_bytes / SMALL_RECORD_BYTES, fetch_bytes: queue_bytes / 4 }
    }
}

/// A topic's name with a hole where the cluster is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicPattern {
    before: String,
    after: String,
}

/// What stands for the cluster.
const HOLE: &str = "{cluster}";

impl TopicPattern {
    /// Reads a pattern with exactly one `{cluster}`.
    pub(super) fn parse(pattern: &str) -> Option<Self> {
        let (before, after) = pattern.split_once(HOLE)?;
        (!after.contains(HOLE)).then(|| Self { before: before.into(), after: after.into() })
    }

    /// The cluster that a topic's name tells.
    pub(super) fn cluster(&self, topic: &str) -> Option<Arc<str>> {
        let cluster = topic.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        (!cluster.is_empty()).then(|| cluster.into())
    }
}
