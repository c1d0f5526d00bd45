//! Where lanes begin and go on: finding their places, taking partitions over there, and noticing that a topic is no longer
//! the one that was read.
//!
//! A topic that was made anew under its name is refused: its offsets mean other records, so that what it brings would be
//! taken for what was read long ago. It is noticed by its end, if that lies before what was read (on starting, and from
//! time to time while a lane is at its end), else by the record before the place where a lane goes on, which is fetched
//! again and compared. A record that has expired or was compacted away proves nothing.
//!
//! Not here: the comparison itself (`intake.rs`).

use std::sync::Arc;
use std::time::{Duration, Instant};

use palisade_events::Lane;
use palisade_events::facts::{Coverage, CoverageKind};
use palisade_events::seam::{RecordMark, SourceError};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::intake::{Intake, OtherRecord};
use super::{KafkaSource, OpenLane, Stage, clock_now};

/// Bound on a question about offsets when lanes start: the caller waits for nothing else then.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Bound on one that is asked between records: other lanes wait meanwhile.
const ASIDE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the ends of partitions are compared with what was read: seldom enough to cost nothing.
pub(super) const COMPARE_EVERY: Duration = Duration::from_secs(60);
/// First pause before the place of a lost lane is asked for again; it doubles,
const LOST_PAUSE: Duration = Duration::from_secs(1);
/// up to this.
const LOST_PAUSE_MAX: Duration = Duration::from_secs(30);

/// First offset of a partition, and the one past its last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) low: i64,
    pub(super) high: i64,
}

/// Where a lane begins or goes on.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) lane: Arc<Lane>,
    /// First offset that is handed over.
    pub(super) next_offset: i64,
    /// The record that was read last, if it can still be read.
    pub(super) check: Option<RecordMark>,
}

impl KafkaSource {
    /// The bounds of lanes' partitions, in their order.
    pub(super) fn bounds(&self, lanes: &[&Arc<Lane>], timeout: Duration) -> Result<Vec<Bounds>, SourceError> {
        let low = self.ask(lanes, Offset::Beginning, timeout)?;
        let high = self.ask(lanes, Offset::End, timeout)?;
        let bounds = lanes.iter().zip(low.into_iter().zip(high)).map(|(lane, (low, high))| {
            let known =
                |end: Option<i64>| end.ok_or_else(|| self.error(format!("the ends of {lane} are not known"), true));
            Ok(Bounds { low: known(low)?, high: known(high)? })
        });
        bounds.collect()
    }

    /// The offsets at one end of lanes' partitions. Asking for the offset of a time takes all partitions at once, and
    /// either end stands for a time.
    fn ask(&self, lanes: &[&Arc<Lane>], end: Offset, timeout: Duration) -> Result<Vec<Option<i64>>, SourceError> {
        let Some(first) = lanes.first() else { return Ok(Vec::new()) };
        let mut list = self.list(lanes.iter().map(|lane| (*lane, 0)))?;
        let answer = list.set_all_offsets(end).and_then(|()| self.consumer.offsets_for_times(list, timeout));
        let answer = answer.map_err(|e| {
            let others = if lanes.len() > 1 { format!(" and {} more", lanes.len() - 1) } else { String::new() };
            self.error(format!("asking for the offsets of {first}{others}: {e}"), true)
        })?;
        let offset = |lane: &&Arc<Lane>| {
            let element = answer.find_partition(&lane.origin, lane.partition?)?;
            match (element.error(), element.offset()) {
                (Ok(()), Offset::Offset(offset)) => Some(offset),
                _ => None,
            }
        };
        Ok(lanes.iter().map(offset).collect())
    }

    fn list<'l>(
        &self,
        lanes: impl IntoIterator<Item = (&'l Arc<Lane>, i64)>,
    ) -> Result<TopicPartitionList, SourceError> {
        let mut list = TopicPartitionList::new();
        for (lane, offset) in lanes {
            let Some(partition) = lane.partition else {
                return Err(self.error(format!("{lane} is no partition"), false));
            };
            list.add_partition_offset(&lane.origin, partition, Offset::Offset(offset))
                .map_err(|e| self.error(format!("positioning {lane}: {e}"), false))?;
        }
        Ok(list)
    }

    /// Where a lane goes on that was read before `next`, ending with the record `last`.
    pub(super) fn resume(
        &self,
        lane: &Arc<Lane>,
        next: i64,
        last: Option<&RecordMark>,
        bounds: Bounds,
    ) -> Result<Place, SourceError> {
        if next > bounds.high {
            return Err(self.error(shorter(lane, next, bounds.high), false));
        }
        let check = last.filter(|mark| (bounds.low..next).contains(&mark.offset)).cloned();
        Ok(Place { lane: Arc::clone(lane), next_offset: next.max(bounds.low), check })
    }

    /// Takes lanes over at their places. Other lanes stay as they are; nothing has changed after an error.
    pub(super) fn begin(&mut self, places: &[Place], now: Instant) -> Result<(), SourceError> {
        // A queue that is split off before its partition starts is given everything from the first record on.
        let split = |lane: &Lane| self.consumer.split_partition_queue(&lane.origin, lane.partition.unwrap_or_default());
        let early: Vec<_> = places.iter().map(|place| split(&place.lane)).collect();
        let starts = places.iter().map(|place| {
            let from = place.check.as_ref().map_or(place.next_offset, |mark| mark.offset);
            (&place.lane, from)
        });
        let assigned = if self.is_cooperative() {
            for place in places.iter().filter(|place| self.find(&place.lane).is_ok()) {
                // One that is begun anew is assigned already, unless an earlier attempt failed half way.
                let _ = self.consumer.incremental_unassign(&self.list([(&place.lane, 0)])?);
            }
            self.consumer.incremental_assign(&self.list(starts)?)
        } else {
            let others = self.lanes.iter().filter(|open| !places.iter().any(|place| place.lane == open.lane));
            let others = others.map(|open| (&open.lane, open.intake.fetch_from()));
            self.consumer.assign(&self.list(starts.chain(others))?)
        };
        assigned.map_err(|e| self.error(format!("taking over partitions: {e}"), true))?;
        for place in places {
            self.place(place, now);
        }
        // Versions of librdkafka differ in whether an assignment undoes earlier splits: all queues are split anew.
        for open in &mut self.lanes {
            let partition = open.lane.partition.unwrap_or_default();
            open.queue = self.consumer.split_partition_queue(&open.lane.origin, partition);
        }
        drop(early);
        Ok(())
    }

    fn place(&mut self, place: &Place, now: Instant) {
        let (lane, next_offset, check) = (Arc::clone(&place.lane), place.next_offset, place.check.clone());
        match self.find(&lane) {
            Ok(index) => {
                let open = &mut self.lanes[index];
                open.intake.restart(next_offset, check);
                (open.stage, open.ask_at, open.caught_up) = (Stage::Reading, now, false);
            }
            Err(index) => {
                let cluster = self.pattern.as_ref().and_then(|pattern| pattern.cluster(&lane.origin));
                let intake = Intake::new(Arc::clone(&lane), next_offset, check, cluster);
                self.lanes.insert(index, OpenLane::new(lane, intake, now));
            }
        }
    }

    /// What an error of a partition means. An offset that expired is a recorded gap, not a silent jump; reading goes on at
    /// the oldest record left.
    pub(super) fn recover(&mut self, index: usize, error: KafkaError) -> Result<(), SourceError> {
        use RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
        if !matches!(error, KafkaError::MessageConsumption(AutoOffsetReset | OffsetOutOfRange)) {
            return self.judge(error);
        }
        self.hand_over(index);
        self.find_again(index, LOST_PAUSE)
    }

    /// Another record stands where the last one was read. Whoever goes on nevertheless is told again.
    pub(super) fn refuse(&mut self, index: usize, other: OtherRecord) -> Result<(), SourceError> {
        let open = &mut self.lanes[index];
        open.stage = Stage::Lost { pause: LOST_PAUSE };
        let why = replaced(&open.lane, &other);
        Err(self.error(why, false))
    }

    /// Finds the place of a lane whose position was lost. While it cannot be told, the lane waits, and the others go on.
    pub(super) fn find_again(&mut self, index: usize, pause: Duration) -> Result<(), SourceError> {
        let Err(error) = self.place_again(index) else { return Ok(()) };
        let open = &mut self.lanes[index];
        open.stage = Stage::Lost { pause: (pause * 2).min(LOST_PAUSE_MAX) };
        open.ask_at = clock_now() + pause;
        if !error.retry {
            return Err(error);
        }
        tracing::warn!(lane = %open.lane, %error, again_in = ?pause, "a lane waits for its place");
        Ok(())
    }

    fn place_again(&mut self, index: usize) -> Result<(), SourceError> {
        let open = &self.lanes[index];
        let (lane, next) = (Arc::clone(&open.lane), open.intake.next_offset());
        let Some(bounds) = self.bounds(&[&lane], ASIDE_TIMEOUT)?.pop() else { return Ok(()) };
        // The log may also have been cut behind us and have grown again: what was read is not read a second time.
        let place = self.resume(&lane, next, self.lanes[index].intake.last(), bounds)?;
        self.begin(&[place], clock_now())?;
        if next < bounds.low {
            self.note_gap(&lane, next, bounds.low);
        }
        Ok(())
    }

    /// Tells of records that expired unread: at once in the log, and with the next record as a fact of its lane.
    pub(super) fn note_gap(&mut self, lane: &Arc<Lane>, expected: i64, low: i64) {
        let gap = gap(lane, expected, low);
        tracing::error!(lane = %lane, count = gap.count, "{}", gap.detail);
        if let Ok(index) = self.find(lane) {
            self.lanes[index].intake.add_fact(gap);
        }
    }

    /// Compares the ends of partitions with what was read of them, if that is due. A lane that is at its end hears nothing
    /// more of a topic that was made anew and is shorter.
    pub(super) fn compare_ends(&mut self, now: Instant) -> Result<(), SourceError> {
        if now < self.compare_at {
            return Ok(());
        }
        let at_end = |open: &&OpenLane| open.caught_up && open.stage == Stage::Reading;
        let read: Vec<&OpenLane> = self.lanes.iter().filter(at_end).collect();
        let lanes: Vec<&Arc<Lane>> = read.iter().map(|open| &open.lane).collect();
        match self.ask(&lanes, Offset::End, ASIDE_TIMEOUT) {
            Ok(ends) => {
                for (open, end) in read.iter().zip(ends) {
                    if let Some(end) = end.filter(|end| *end < open.intake.next_offset()) {
                        return Err(self.error(shorter(&open.lane, open.intake.next_offset(), end), false));
                    }
                }
            }
            // It is asked again in time; trouble that matters shows elsewhere.
            Err(error) => tracing::debug!(%error, "ends are not compared"),
        }
        self.compare_at = now + COMPARE_EVERY;
        Ok(())
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

/// What to do about a topic that was made anew.
const ADVICE: &str = "Raise `generation` of this source to read it from its beginning under new ids";

fn shorter(lane: &Lane, expected: i64, high: i64) -> String {
    format!(
        "{lane} ends at offset {high}, but the lake has read up to {expected}: the topic was made anew or truncated. \
         {ADVICE}"
    )
}

fn replaced(lane: &Lane, other: &OtherRecord) -> String {
    let OtherRecord(offset) = other;
    format!(
        "{lane} has another record at offset {offset} than the lake has read there: the topic was made anew. {ADVICE}"
    )
}
