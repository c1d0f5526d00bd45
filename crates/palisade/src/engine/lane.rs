//! One lane at work: decode, match rules, fold. Moves between threads; touches nothing but itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use palisade_events::time::{Micros, format_rfc3339};
use palisade_events::{
    Chunk, Coverage, CoverageKind, EventBatch, FieldPlan, Finding, Lane, LaneClock, LaneFold, Moment, ObjectVersion,
    Pane, Panes, Reject, col,
    seam::{PaneCoverage, RecordMark},
};
use palisade_ingest::{Counts, Decoded, Decoder, RedactionCounts};
use palisade_rules::Engine as RuleEngine;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::Restore;
use super::belief::{Belief, Beliefs};
use super::silence::{Heard, Span};
use crate::error::{Error, Result};
use crate::owners::Owners;

/// What all lanes share.
pub struct Stages {
    /// Raw fields that rules ask decoders for.
    pub plan: Arc<FieldPlan>,
    /// Rules, compiled together.
    pub rules: RuleEngine,
    /// Who owns what.
    pub owners: Owners,
    /// The division of event time.
    pub panes: Panes,
    /// By source: for how long it may give no event before that is told; sources that may do so for ever are not there.
    pub silences: BTreeMap<String, Micros>,
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stages").field("panes", &self.panes).finish_non_exhaustive()
    }
}

/// A lane's decoder, clock and folds.
pub struct LaneWork {
    lane: Arc<Lane>,
    stages: Arc<Stages>,
    decoder: Box<dyn Decoder>,
    clock: LaneClock,
    /// Until when rows are believed.
    beliefs: Beliefs,
    decoded: Decoded,
    /// By detector, with its uid.
    folds: Vec<(String, Box<dyn LaneFold>)>,
    open: BTreeSet<Pane>,
    /// Rows of panes that end by then are in no pane any more.
    floor: Option<Micros>,
    next_offset: Option<i64>,
    /// The last record read: what a source compares to tell a topic that was made anew.
    mark: Option<RecordMark>,
    /// Gaps before records that have made no event yet.
    gaps: Vec<OpenGap>,
    /// The newest losses that the lane told of.
    recent_losses: VecDeque<RecentLoss>,
    totals: Counts,
    behind_frontier: u64,
    /// What was heard of in open panes; `None` if the source may be silent for ever.
    heard: Option<Heard>,
}

/// Losses that findings of single events are held against.
const RECENT_LOSSES_MAX: usize = 64;

/// Something is missing since this moment; until when, the next event tells.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct OpenGap {
    since: Option<Micros>,
    count: i64,
    detail: String,
}

/// A loss, and the record that told of it: events before that record do not know of it, in whatever batches they came.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct RecentLoss {
    offset: i64,
    window_start: Micros,
    window_end: Micros,
}

/// Findings with the offset of the record that completed their event.
pub type PlacedFindings = Vec<(i64, Finding)>;

/// What a lane made of one chunk.
#[derive(Debug)]
pub struct LaneOutput {
    /// The lane's key.
    pub key: super::LaneKey,
    /// The events, in lane order.
    pub events: EventBatch,
    /// Findings of single-event rules, with the offset of the record that completed the event.
    pub findings: PlacedFindings,
    /// What could not be read.
    pub rejects: Vec<Reject>,
    /// What was learnt about completeness.
    pub coverage: Vec<Coverage>,
    /// Versions of Kubernetes objects that events showed.
    pub objects: Vec<ObjectVersion>,
    /// Counts of this chunk alone.
    pub counts: Counts,
    /// Secrets replaced in this chunk, by kind.
    pub redactions: RedactionCounts,
    /// Loss windows told by this chunk.
    pub losses: Vec<LossWindow>,
    /// On-time events of this chunk that came for a pane which had closed.
    pub behind_frontier: u64,
    /// The lane's end made this: its rows lie at records that were read before, at the latest before this offset.
    pub ends_at: Option<i64>,
}

impl LaneOutput {
    /// Whether there is nothing to store.
    pub fn is_empty(&self) -> bool {
        self.events.rows() == 0
            && self.rejects.is_empty()
            && self.coverage.is_empty()
            && self.objects.is_empty()
            && self.findings.is_empty()
    }
}

/// A time in which data are known to be missing, as one lane told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LossWindow {
    /// First moment concerned.
    pub window_start: Micros,
    /// Last moment concerned.
    pub window_end: Micros,
    /// The lane's watermark when it told: a pane that had ended by then was already settled for this lane, so the fact
    /// must not depend on whether another lane kept it open.
    pub watermark: Option<Micros>,
}

impl LossWindow {
    /// Whether nothing may be learnt from a pane because of this loss.
    pub fn concerns(&self, pane: Pane) -> bool {
        let told_in_time = self.watermark.is_none_or(|watermark| watermark < pane.end);
        told_in_time && self.window_start < pane.end && self.window_end >= pane.start
    }
}

impl fmt::Debug for LaneWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneWork")
            .field("lane", &self.lane)
            .field("next_offset", &self.next_offset)
            .finish_non_exhaustive()
    }
}

impl LaneWork {
    /// A lane that has read nothing.
    pub fn new(lane: Arc<Lane>, stages: Arc<Stages>, decoder: Box<dyn Decoder>, clock: LaneClock) -> Self {
        let decoded = Decoded::new(Arc::clone(&stages.plan));
        let heard = stages.silences.contains_key(&lane.source).then(Heard::default);
        Self {
            lane,
            stages,
            decoder,
            clock,
            beliefs: Beliefs::default(),
            decoded,
            folds: Vec::new(),
            open: BTreeSet::new(),
            floor: None,
            next_offset: None,
            mark: None,
            gaps: Vec::new(),
            recent_losses: VecDeque::new(),
            totals: Counts::default(),
            behind_frontier: 0,
            heard,
        }
    }

    /// Goes on with other rules and the decoder for their fields, which takes over what this one holds in assembly.
    pub(super) fn take_rules(&mut self, stages: Arc<Stages>, mut decoder: Box<dyn Decoder>) -> Result<()> {
        decoder.restore(&self.decoder.snapshot()?)?;
        self.decoder = decoder;
        self.decoded = Decoded::new(Arc::clone(&stages.plan));
        self.stages = stages;
        Ok(())
    }

    /// Decodes a chunk, matches rules and folds.
    ///
    /// # Errors
    /// When a stage cannot go on. Bad input is no error: it comes back as rejects.
    pub fn process(&mut self, chunk: Chunk) -> Result<LaneOutput> {
        self.process_all([chunk])
    }

    /// As [`process`](Self::process), of neighbouring chunks at once: what a batch costs, it costs once. Only the first may
    /// bring facts, because the first event of the output ends the gaps that they tell of. Texts of one column stay within
    /// 2 GiB an output, so that the caller bounds the bytes of all chunks together far below that: what goes past is left
    /// out of its row, which is marked as truncated.
    ///
    /// # Errors
    /// As [`process`](Self::process).
    pub fn process_all(&mut self, chunks: impl IntoIterator<Item = Chunk>) -> Result<LaneOutput> {
        for chunk in chunks {
            self.decode(chunk)?;
        }
        self.output()
    }

    fn decode(&mut self, mut chunk: Chunk) -> Result<()> {
        let since = self.clock.max();
        let gaps = std::mem::take(&mut chunk.facts).into_iter();
        self.gaps.extend(gaps.map(|fact| OpenGap { since, count: fact.count, detail: fact.detail }));
        if let Some(last) = chunk.records.iter().rev().find(|r| !r.again) {
            self.next_offset = Some(last.offset + 1);
        }
        if let Some(mark) = RecordMark::of(&chunk) {
            self.mark = Some(mark);
        }
        let mut rest = Some(chunk);
        while let Some(chunk) = rest.take() {
            let (now, later) = self.believed_alike(chunk);
            self.decoder.decode(&now, &mut self.clock, &mut self.decoded)?;
            rest = later;
        }
        Ok(())
    }

    /// Tells the clock until when the first record of a chunk is believed, and splits off those for which something else was
    /// said.
    fn believed_alike(&mut self, chunk: Chunk) -> (Chunk, Option<Chunk>) {
        let Some(first) = chunk.records.iter().find(|record| !record.again).map(|record| record.offset) else {
            return (chunk, None);
        };
        self.clock.believe_until(self.beliefs.at(first));
        let Some(change) = self.beliefs.changes_after(first) else { return (chunk, None) };
        match super::split(chunk, change) {
            (Some(now), later) => (now, later),
            (None, Some(chunk)) => (chunk, None),
            (None, None) => (Chunk::new(Arc::clone(&self.lane)), None),
        }
    }

    /// Learns until when rows are believed from a record on.
    pub(crate) fn believe(&mut self, belief: Belief) {
        self.beliefs.add(belief);
    }

    /// Closes what the decoder still holds in assembly: the input has ended for good.
    ///
    /// # Errors
    /// When a stage cannot go on.
    pub fn finish(&mut self) -> Result<LaneOutput> {
        self.decoder.end(&mut self.clock, &mut self.decoded)?;
        let output = self.output()?;
        Ok(LaneOutput { ends_at: Some(self.next_offset.unwrap_or(0)), ..output })
    }

    fn output(&mut self) -> Result<LaneOutput> {
        let events = self.decoded.events.finish()?;
        let counts = std::mem::take(&mut self.decoded.counts);
        let redactions = std::mem::take(&mut self.decoded.redactions);
        self.totals.add(&counts);
        let mut coverage = std::mem::take(&mut self.decoded.coverage);
        self.close_gaps(&events, &mut coverage);
        coverage.sort_by_key(|fact| fact.offset);
        self.recent_losses.extend(coverage.iter().filter(|fact| fact.kind.is_loss()).map(|fact| RecentLoss {
            offset: fact.offset,
            window_start: fact.window_start,
            window_end: fact.window_end,
        }));
        let losses = coverage.iter().filter(|fact| fact.kind.is_loss()).map(|fact| LossWindow {
            window_start: fact.window_start,
            window_end: fact.window_end,
            watermark: self.watermark_before(&events, fact.offset),
        });
        let losses = losses.collect();
        let rejects = std::mem::take(&mut self.decoded.rejects);
        let objects = std::mem::take(&mut self.decoded.objects);
        let behind_before = self.behind_frontier;
        let findings = self.observe(&events)?;
        let behind_frontier = self.behind_frontier - behind_before;
        self.recent_losses.drain(..self.recent_losses.len().saturating_sub(RECENT_LOSSES_MAX));
        let key = super::lane_key(&self.lane);
        Ok(LaneOutput {
            key,
            events,
            findings,
            rejects,
            coverage,
            objects,
            counts,
            redactions,
            losses,
            behind_frontier,
            ends_at: None,
        })
    }

    /// Where the lane's watermark stood before a record: what its rows say of those before them, however they were
    /// batched.
    fn watermark_before(&self, events: &EventBatch, offset: i64) -> Option<Micros> {
        let row = events.long(col::OFFSET).values().partition_point(|row| *row < offset);
        if row == events.rows() {
            return self.clock.watermark();
        }
        let before = events.time(col::LANE_MAX_BEFORE);
        before.is_valid(row).then(|| before.value(row).saturating_sub(self.clock.tolerance().lateness))
    }

    /// The first event after a gap ends it.
    fn close_gaps(&mut self, events: &EventBatch, coverage: &mut Vec<Coverage>) {
        if events.rows() == 0 {
            return;
        }
        let window_end = events.time(col::TIME).value(0);
        let cluster = events.word(col::CLUSTER_NAME).get(0).unwrap_or_default();
        coverage.extend(self.gaps.drain(..).map(|gap| Coverage {
            lane: Arc::clone(&self.lane),
            offset: events.long(col::OFFSET).value(0),
            cluster: cluster.to_owned(),
            kind: CoverageKind::Gap,
            window_start: gap.since.unwrap_or(window_end).min(window_end),
            window_end,
            count: gap.count,
            detail: gap.detail,
        }));
    }

    /// Takes rows that are events already: an embedder's own batch. Lateness is judged row by row, as for records.
    ///
    /// # Errors
    /// When a stage cannot go on.
    pub fn process_batch(&mut self, events: EventBatch) -> Result<LaneOutput> {
        let rows = events.rows() as u64;
        let (events, late, coverage) = self.judge_times(events)?;
        let doubtful = coverage.len() as u64;
        let counts = Counts { records: rows, used: rows, events: rows, late, doubtful, ..Counts::default() };
        self.totals.add(&counts);
        if rows > 0 {
            self.next_offset = Some(events.long(col::OFFSET).value(events.rows() - 1) + 1);
        }
        let behind_before = self.behind_frontier;
        let findings = self.observe(&events)?;
        Ok(LaneOutput {
            key: super::lane_key(&self.lane),
            findings,
            rejects: Vec::new(),
            coverage,
            objects: Vec::new(),
            counts,
            redactions: RedactionCounts::default(),
            losses: Vec::new(),
            behind_frontier: self.behind_frontier - behind_before,
            events,
            ends_at: None,
        })
    }

    /// Judges rows by the lane's clock: the rows, how many are late, and a fact for each that is too far in the future.
    fn judge_times(&mut self, events: EventBatch) -> Result<(EventBatch, u64, Vec<Coverage>)> {
        let times = events.time(col::TIME).values().to_vec();
        if let Some(first) = events.long(col::OFFSET).values().first() {
            self.clock.believe_until(self.beliefs.at(*first));
        }
        let (mut moments, mut coverage) = (Vec::with_capacity(times.len()), Vec::new());
        for (row, time) in times.iter().enumerate() {
            self.clock.next_record();
            let moment = self.clock.observe(*time, None);
            if moment.doubtful {
                coverage.push(self.future(&events, row, *time));
            }
            moments.push(moment);
        }
        let flags = |get: fn(&Moment) -> bool| BooleanArray::from(moments.iter().map(get).collect::<Vec<_>>());
        let before: TimestampMicrosecondArray = moments.iter().map(|m| m.max_before).collect();
        let mut columns = events.columns().columns().to_vec();
        columns[col::LATE.index()] = Arc::new(flags(|m| m.late));
        columns[col::TIME_DOUBTFUL.index()] = Arc::new(flags(|m| m.doubtful));
        columns[col::LANE_MAX_BEFORE.index()] = Arc::new(before.with_timezone("UTC"));
        let batch = RecordBatch::try_new(events.columns().schema(), columns).map_err(palisade_events::Error::from)?;
        let late = moments.iter().filter(|moment| moment.late).count() as u64;
        Ok((EventBatch::try_new(batch, events.fields().to_vec())?, late, coverage))
    }

    /// The fact that a row's time is not believed, as decoders tell it: dated by what carried it, else by the lane.
    fn future(&self, events: &EventBatch, row: usize, time: Micros) -> Coverage {
        let carrier = events.time(col::BROKER_TIME);
        let carrier = carrier.is_valid(row).then(|| carrier.value(row));
        let moment = carrier.or(self.clock.max()).unwrap_or(time);
        Coverage {
            lane: Arc::clone(&self.lane),
            offset: events.long(col::OFFSET).value(row),
            cluster: events.word(col::CLUSTER_NAME).get(row).unwrap_or_default().to_owned(),
            kind: CoverageKind::Future,
            window_start: moment,
            window_end: moment,
            count: 1,
            detail: format!("event time {} lies too far in the future", format_rfc3339(time)),
        }
    }

    fn observe(&mut self, events: &EventBatch) -> Result<PlacedFindings> {
        let matches = self.stages.rules.evaluate(events);
        let mut findings = self.stages.rules.findings(events, &matches);
        for finding in &mut findings {
            finding.owner = self.stages.owners.of(&finding.entity);
        }
        let offsets: Vec<i64> = matches.iter().map(|m| events.long(col::OFFSET).value(m.row as usize)).collect();
        for (offset, finding) in offsets.iter().zip(&mut findings) {
            // As many losses as one record at a time would have left, whatever the batch holds.
            let told = self.recent_losses.partition_point(|loss| loss.offset <= *offset);
            let mut known = self.recent_losses.range(told.saturating_sub(RECENT_LOSSES_MAX)..told);
            if known.any(|loss| (loss.window_start..=loss.window_end).contains(&finding.time)) {
                finding.coverage = PaneCoverage::Lossy.name().into();
            }
        }
        self.fold(events)?;
        Ok(offsets.into_iter().zip(findings).collect())
    }

    fn fold(&mut self, events: &EventBatch) -> Result<()> {
        let panes = self.rows_by_pane(events);
        if let Some(heard) = &mut self.heard {
            heard.note(events, &panes);
        }
        for (_, fold) in &mut self.folds {
            fold.fold(events, &panes)?;
        }
        self.open.extend(panes.iter().map(|(pane, _)| *pane));
        Ok(())
    }

    /// On-time, believable rows by pane. Rows behind the frontier were counted; the next hunt over that time sees them.
    fn rows_by_pane(&mut self, events: &EventBatch) -> Vec<(Pane, Vec<u32>)> {
        let times = events.time(col::TIME).values();
        let late = events.flag(col::LATE);
        let doubtful = events.flag(col::TIME_DOUBTFUL);
        let mut panes: Vec<(Pane, Vec<u32>)> = Vec::new();
        for row in 0..events.rows() {
            if late.value(row) || (doubtful.is_valid(row) && doubtful.value(row)) {
                continue;
            }
            let time = times[row];
            // Neighbouring rows mostly share a pane: look at the last one used first.
            let slot = match panes.iter().rposition(|(pane, _)| (pane.start..pane.end).contains(&time)) {
                Some(slot) => slot,
                None => {
                    let pane = self.stages.panes.of(time);
                    if self.floor.is_some_and(|floor| pane.end <= floor) {
                        self.behind_frontier += 1;
                        continue;
                    }
                    panes.push((pane, Vec::new()));
                    panes.len() - 1
                }
            };
            panes[slot].1.push(row as u32);
        }
        panes.sort_unstable_by_key(|(pane, _)| *pane);
        panes
    }

    /// The lane.
    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Offset of the next record to read.
    pub fn next_offset(&self) -> Option<i64> {
        self.next_offset
    }

    /// The last record read.
    pub fn mark(&self) -> Option<&RecordMark> {
        self.mark.as_ref()
    }

    /// Event time before which the lane promises no more on-time rows.
    pub fn watermark(&self) -> Option<Micros> {
        self.clock.watermark()
    }

    /// Records held in assembly.
    pub fn held(&self) -> u64 {
        self.decoder.held()
    }

    /// Counts since the lane's beginning, replays excluded.
    pub fn totals(&self) -> &Counts {
        &self.totals
    }

    /// On-time rows that came for a pane which a decision had closed.
    pub fn behind_frontier(&self) -> u64 {
        self.behind_frontier
    }

    /// The accounting identity: every record is in exactly one bucket.
    pub fn accounts_balance(&self) -> bool {
        let t = &self.totals;
        t.records == t.used + t.coverage + t.rejected + self.held()
    }

    pub(super) fn oldest_pane(&self) -> Option<Pane> {
        self.open.first().copied()
    }

    /// End of the newest pane that holds data. A first row that the lane then did not bear out may lie far ahead: its
    /// pane waits for the lane to get there.
    pub(super) fn newest_pane_end(&self) -> Option<Micros> {
        let max = self.clock.max()?;
        self.open.iter().rev().find(|pane| pane.start <= max).map(|pane| pane.end)
    }

    pub(super) fn take_partial(&mut self, detector: usize, pane: Pane) -> Result<Option<RecordBatch>> {
        match self.folds.get_mut(detector) {
            Some((_, fold)) if self.open.contains(&pane) => fold.take(pane).map_err(Error::Events),
            _ => Ok(None),
        }
    }

    pub(super) fn forget_pane(&mut self, pane: Pane) {
        self.open.remove(&pane);
    }

    pub(super) fn begin_at(&mut self, offset: i64) {
        self.next_offset = self.next_offset.or(Some(offset));
    }

    /// Takes the clusters that were heard of in panes that end by then.
    pub(super) fn take_heard(&mut self, frontier: Micros) -> Vec<(Pane, BTreeMap<String, Span>)> {
        self.heard.as_mut().map(|heard| heard.take_until(frontier)).unwrap_or_default()
    }

    /// What was heard of in open panes: part of the lane's state, stored after its snapshot.
    pub(super) fn heard(&self) -> Option<&Heard> {
        self.heard.as_ref()
    }

    /// Until when rows are believed: part of the lane's state, stored after what was heard.
    pub(super) fn beliefs(&self) -> &Beliefs {
        &self.beliefs
    }

    /// Puts back what [`beliefs`](Self::beliefs) gave, once the lane knows where it stands. What its end makes is judged as its
    /// last record was.
    pub(super) fn restore_beliefs(&mut self, beliefs: Beliefs) {
        self.beliefs = beliefs;
        if let Some(next) = self.next_offset {
            self.clock.believe_until(self.beliefs.at(next - 1));
        }
    }

    /// Puts back what [`heard`](Self::heard) gave, if the lane is still listened to.
    pub(super) fn restore_heard(&mut self, heard: Option<Heard>) {
        if self.heard.is_some() {
            self.heard = Some(heard.unwrap_or_default());
        }
    }

    /// Forgets panes that closed while the lane was away.
    pub(super) fn drop_panes_until(&mut self, frontier: Micros) -> Result<()> {
        self.take_heard(frontier);
        let closed: Vec<Pane> = self.open.iter().filter(|pane| pane.end <= frontier).copied().collect();
        for pane in closed {
            for (_, fold) in &mut self.folds {
                fold.take(pane)?;
            }
            self.open.remove(&pane);
        }
        Ok(())
    }

    pub(super) fn raise_floor(&mut self, frontier: Option<Micros>) {
        self.floor = self.floor.max(frontier);
    }

    pub(super) fn set_folds(&mut self, folds: Vec<(String, Box<dyn LaneFold>)>) {
        self.folds = folds;
    }
}

/// Open panes and what they hold, as Arrow IPC.
type PanePartials = Vec<(Pane, ByteBuf)>;

/// A lane's state at a checkpoint.
#[derive(Serialize, Deserialize)]
pub(super) struct LaneSnapshot {
    clock: LaneClock,
    decoder: ByteBuf,
    /// By detector.
    partials: Vec<(String, PanePartials)>,
    open: Vec<Pane>,
    floor: Option<Micros>,
    next_offset: Option<i64>,
    mark: Option<RecordMark>,
    gaps: Vec<OpenGap>,
    recent_losses: VecDeque<RecentLoss>,
    totals: Counts,
    behind_frontier: u64,
}

impl LaneWork {
    pub(super) fn snapshot(&self) -> Result<LaneSnapshot> {
        let mut partials = Vec::with_capacity(self.folds.len());
        for (uid, fold) in &self.folds {
            let open = fold.snapshot()?;
            let bytes =
                open.iter().map(|(pane, batch)| Ok((*pane, ByteBuf::from(palisade_events::ipc::to_bytes(batch)?))));
            partials.push((uid.clone(), bytes.collect::<Result<Vec<_>>>()?));
        }
        Ok(LaneSnapshot {
            clock: self.clock.clone(),
            decoder: ByteBuf::from(self.decoder.snapshot()?),
            partials,
            open: self.open.iter().copied().collect(),
            floor: self.floor,
            next_offset: self.next_offset,
            mark: self.mark.clone(),
            gaps: self.gaps.clone(),
            recent_losses: self.recent_losses.clone(),
            totals: self.totals,
            behind_frontier: self.behind_frontier,
        })
    }

    pub(super) fn restore(&mut self, snapshot: LaneSnapshot, how: Restore) -> Result<()> {
        for (uid, partials) in &snapshot.partials {
            let fold = self.folds.iter_mut().find(|(known, _)| known == uid);
            match (fold, how) {
                (Some((_, fold)), _) => restore_fold(fold.as_mut(), partials, how)?,
                (None, Restore::WhatFits) => {}
                (None, Restore::Exact) => {
                    return Err(Error::State(format!(
                        "lane {} holds partials of an unknown detector {uid}",
                        self.lane
                    )));
                }
            }
        }
        self.totals = snapshot.totals;
        match self.decoder.restore(&snapshot.decoder) {
            Err(error) if how == Restore::Exact => return Err(error.into()),
            Err(error) => {
                tracing::warn!(lane = %self.lane, %error, "the configuration has changed: this decoder starts anew")
            }
            Ok(()) => {}
        }
        self.clock = snapshot.clock.with_tolerance(self.clock.tolerance());
        self.open = snapshot.open.into_iter().collect();
        self.floor = self.floor.max(snapshot.floor);
        self.next_offset = snapshot.next_offset;
        self.mark = snapshot.mark;
        self.gaps = snapshot.gaps;
        self.recent_losses = snapshot.recent_losses;
        self.behind_frontier = snapshot.behind_frontier;
        self.write_off();
        Ok(())
    }

    /// Records that an earlier decoder held and this one does not are lost: the source has another format now. They end
    /// in the coverage bucket, and the next event closes the gap.
    fn write_off(&mut self) {
        let t = &mut self.totals;
        let lost = t.records.saturating_sub(t.used + t.coverage + t.rejected + self.decoder.held());
        if lost == 0 {
            return;
        }
        t.coverage += lost;
        let detail = format!("{lost} records were held in assembly when the format of the source changed");
        tracing::error!(lane = %self.lane, lost, "{detail}");
        self.gaps.push(OpenGap { since: self.clock.max(), count: i64::try_from(lost).unwrap_or(i64::MAX), detail });
    }
}

fn restore_fold(fold: &mut dyn LaneFold, partials: &[(Pane, ByteBuf)], how: Restore) -> Result<()> {
    for (pane, bytes) in partials {
        let restored = palisade_events::ipc::from_bytes(bytes).and_then(|batch| fold.restore(*pane, &batch));
        if how == Restore::Exact {
            restored?;
        }
    }
    Ok(())
}
