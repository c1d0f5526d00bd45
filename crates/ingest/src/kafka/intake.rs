//! What a lane has taken in and not handed over yet: the chunk that is being filled, and where in the partition it ends.
//!
//! Chunks are made large, because everything downstream costs by the chunk as well as by the record. A small one waits a
//! few milliseconds for more records, and no longer; an end of the partition ends the wait. Which records share a chunk
//! decides nothing.
//!
//! A lane that goes on where it was left is first given the record before that place once more. It is compared with what
//! was remembered of it and then dropped: it was handed over before.
//!
//! Not here: when lanes are asked (`KafkaSource`), or where they begin (`place.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_events::seam::RecordMark;
use palisade_events::time::Micros;
use palisade_events::{Chunk, Coverage, Lane};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};

use super::headers;

/// A chunk of so many payload bytes is full,
const CHUNK_BYTES_MAX: usize = 1 << 20;
/// or one of so many records.
const CHUNK_RECORDS_MAX: usize = 4096;
/// One that is not full waits for more, unless it holds so many bytes
pub(super) const CHUNK_BYTES_MIN: usize = 256 << 10;
/// or so many records,
const CHUNK_RECORDS_MIN: usize = 1024;
/// but not longer than this.
pub(super) const LINGER: Duration = Duration::from_millis(10);

/// Another record stands at this offset than the one that was read there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OtherRecord(pub(super) i64);

/// Fills one lane's chunks.
pub(super) struct Intake {
    chunk: Chunk,
    /// When the chunk's first record was taken.
    since: Option<Instant>,
    /// Where the next record is expected: what an expired offset is measured from.
    next_offset: i64,
    /// The record before the place where the lane goes on, until it has been met or passed.
    check: Option<RecordMark>,
    /// The last record that was handed over.
    last: Option<RecordMark>,
    /// The cluster that the topic's name tells.
    topic_cluster: Option<Arc<str>>,
    /// The cluster that a header named last: the next one mostly names the same.
    header_cluster: Option<Arc<str>>,
    /// Bytes and records of the last chunk: the next one is probably as large.
    usual: (usize, usize),
}

impl Intake {
    /// Begins at an offset. `check` lies before it, and the lane must be fetched from there.
    pub(super) fn new(
        lane: Arc<Lane>,
        next_offset: i64,
        check: Option<RecordMark>,
        topic_cluster: Option<Arc<str>>,
    ) -> Self {
        Self {
            chunk: Chunk::new(lane),
            since: None,
            next_offset,
            last: check.clone(),
            check,
            topic_cluster,
            header_cluster: None,
            usual: (0, 0),
        }
    }

    /// Begins anew at an offset. What was taken in and not handed over is forgotten, facts are kept.
    pub(super) fn restart(&mut self, next_offset: i64, check: Option<RecordMark>) {
        self.chunk.bytes.clear();
        self.chunk.records.clear();
        self.since = None;
        self.next_offset = next_offset;
        self.last.clone_from(&check);
        self.check = check;
    }

    /// Where the next record to be taken is expected.
    pub(super) fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Where the partition must be fetched from.
    pub(super) fn fetch_from(&self) -> i64 {
        self.check.as_ref().map_or(self.next_offset, |mark| mark.offset)
    }

    /// The last record that was handed over, if it is remembered.
    pub(super) fn last(&self) -> Option<&RecordMark> {
        self.last.as_ref()
    }

    /// Tells with the next chunk what is missing before it; once, also if the lane is started twice.
    pub(super) fn add_fact(&mut self, fact: Coverage) {
        if !self.chunk.facts.contains(&fact) {
            self.chunk.facts.push(fact);
        }
    }

    /// Takes the lane's next record.
    ///
    /// # Errors
    /// When it is another one than was read at its offset. Nothing was taken, and it will be compared again.
    pub(super) fn take(
        &mut self,
        message: &BorrowedMessage<'_>,
        cluster_header: Option<&str>,
        now: Instant,
    ) -> Result<(), OtherRecord> {
        let (time, time_is_brokers) = carrier_time(message.timestamp());
        let payload = message.payload();
        if !self.add(message.offset(), payload.unwrap_or_default(), time, now)? {
            return Ok(());
        }
        let (mut named, mut trace) = (None, None);
        headers::each(message, |name, value| {
            if named.is_none() && cluster_header.is_some_and(|header| header.as_bytes() == name) {
                named = Some(self.named_by_header(value));
            } else if trace.is_none() && headers::is_trace_parent(name) {
                trace = headers::trace_parent(value);
            }
        });
        let cluster = named.or_else(|| self.topic_cluster.clone());
        if let Some(record) = self.chunk.records.last_mut() {
            record.time_is_brokers = time_is_brokers;
            record.cluster = cluster;
            record.key = message.key().and_then(headers::key_text);
            record.trace = trace;
            record.tombstone = payload.is_none();
        }
        Ok(())
    }

    /// Takes a record in, unless it was handed over before. True if it is in the chunk.
    pub(super) fn add(
        &mut self,
        offset: i64,
        payload: &[u8],
        time: Option<Micros>,
        now: Instant,
    ) -> Result<bool, OtherRecord> {
        if let Some(mark) = self.check.take_if(|mark| offset >= mark.offset)
            && offset == mark.offset
            && RecordMark::new(offset, time, payload) != mark
        {
            self.check = Some(mark);
            return Err(OtherRecord(offset));
        }
        if offset < self.next_offset {
            return Ok(false);
        }
        if self.chunk.records.is_empty() {
            self.since = Some(now);
            // One allocation instead of growing step by step.
            self.chunk.bytes.reserve(self.usual.0 + payload.len());
            self.chunk.records.reserve(self.usual.1 + 1);
        }
        self.chunk.push(payload, offset, None, time);
        self.next_offset = offset + 1;
        Ok(true)
    }

    /// The cluster that a header's value names.
    fn named_by_header(&mut self, value: &[u8]) -> Arc<str> {
        if let Some(known) = self.header_cluster.as_ref().filter(|known| known.as_bytes() == value) {
            return Arc::clone(known);
        }
        let named: Arc<str> = String::from_utf8_lossy(value).into();
        self.header_cluster = Some(Arc::clone(&named));
        named
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunk.records.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.chunk.bytes.len() >= CHUNK_BYTES_MAX || self.chunk.records.len() >= CHUNK_RECORDS_MAX
    }

    /// Whether the chunk has waited long enough, or is large enough, to be handed over although nothing follows now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let is_large = self.chunk.bytes.len() >= CHUNK_BYTES_MIN || self.chunk.records.len() >= CHUNK_RECORDS_MIN;
        !self.is_empty() && (is_large || self.since.is_some_and(|since| now.duration_since(since) >= LINGER))
    }

    /// Gives the chunk away, if it holds records.
    pub(super) fn hand_over(&mut self) -> Option<Chunk> {
        self.last = Some(RecordMark::of(&self.chunk)?);
        self.since = None;
        self.usual = (self.chunk.bytes.len(), self.chunk.records.len());
        let empty = Chunk::new(Arc::clone(&self.chunk.lane));
        Some(std::mem::replace(&mut self.chunk, empty))
    }
}

/// The time that the carrier gave a record, and whether it is the broker's own.
pub(super) fn carrier_time(timestamp: Timestamp) -> (Option<Micros>, bool) {
    let (millis, is_brokers) = match timestamp {
        Timestamp::NotAvailable => (None, false),
        Timestamp::CreateTime(millis) => (Some(millis), false),
        Timestamp::LogAppendTime(millis) => (Some(millis), true),
    };
    (millis.filter(|millis| *millis > 0).and_then(|millis| millis.checked_mul(1000)), is_brokers)
}
