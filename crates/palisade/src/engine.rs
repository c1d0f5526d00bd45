//! The synchronous heart of a pipeline: lanes fold, panes close, detectors judge. No threads, no clock, no I/O.
//!
//! A lane is taken out ([`Engine::checkout`]), works a chunk on any thread ([`LaneWork::process`]), and comes home
//! ([`Engine::merge`]). Everything stateful happens at home, in lane order, when the watermark passes a pane's end. That
//! is why batch size, interleaving and thread count cannot change a finding.
//!
//! Not here: where chunks come from, when to commit, and where results go (see [`crate::run`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_events::facts::{Coverage, Decision, DecisionKind};
use palisade_events::seam::{PaneCoverage, Resume};
use palisade_events::time::{Micros, format_rfc3339};
use palisade_events::{Detector, Finding, Lane, Pane};
use palisade_ingest::Decoder;
use serde::{Deserialize, Serialize};

pub use self::belief::Belief;
pub use self::lane::{LaneOutput, LaneWork, LossWindow, PlacedFindings, Stages};
pub use self::replay::{Replay, split};
pub use self::silence::PaneFact;

mod lane;
mod belief;
mod silence;
mod replay;
mod state;

use self::silence::{Key, Silences, Span};
use crate::error::{Error, Result};

/// Name of a lane as offsets and state are recorded under it: `source/lane key`.
pub type LaneKey = String;

/// The name under which a lane is recorded.
pub fn lane_key(lane: &Lane) -> LaneKey {
    format!("{}/{}", lane.source, lane.key())
}

/// Where records went, over all lanes and restarts: `records = used + coverage + rejected + held`, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounts {
    /// Records in.
    pub records: u64,
    /// Records that made events.
    pub used: u64,
    /// Records that made only coverage facts.
    pub coverage: u64,
    /// Records that made nothing but rejects.
    pub rejected: u64,
    /// Records held in assembly.
    pub held: u64,
    /// Events made.
    pub events: u64,
    /// Events behind their lane's watermark.
    pub late: u64,
    /// Events too far in the future to be believed.
    pub doubtful: u64,
    /// On-time events that came for a pane which a decision had closed.
    pub behind_frontier: u64,
}

impl Accounts {
    /// The identity.
    pub fn balance(&self) -> bool {
        self.records == self.used + self.coverage + self.rejected + self.held
    }
}

/// What the engine needs to know besides its stages.
#[derive(Clone, Copy, Debug)]
pub struct EngineSettings {
    /// Length of a pane.
    pub pane_length: Micros,
    /// A lane this many panes ahead of the slowest waits.
    pub panes_ahead_max: i64,
}

/// Whether a lane takes part in the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Attendance {
    /// Its watermark bounds the frontier; a lane that has shown nothing yet blocks it.
    Active,
    /// It has been silent: the frontier does not wait for it.
    Idle,
    /// It has ended for good.
    Ended,
}

/// How a lane's state is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restore {
    /// The configuration is the one that wrote it: everything must fit.
    Exact,
    /// The configuration has changed: what no longer fits is left out, offsets and clocks stay.
    WhatFits,
}

#[derive(Debug)]
struct Seat {
    lane: Arc<Lane>,
    /// `None` while the lane is out at work.
    work: Option<LaneWork>,
    attendance: Attendance,
    next_offset: Option<i64>,
    watermark: Option<Micros>,
    losses: Vec<LossWindow>,
}

/// A decision that was not taken yet.
struct Noted {
    kind: DecisionKind,
    pane_end: Micros,
    detail: String,
    /// The lane concerned, and where it stood.
    lane: Option<(LaneKey, Option<i64>)>,
}

/// Failures of detectors that wait to be asked for; more say nothing new.
const FAILURES_MAX: usize = 100;
/// Panes before a loss's end that it can make lossy, a day of the usual ones: a window may claim to begin in 1970.
const LOSSY_PANES_MAX: i64 = 8640;

/// Lanes, panes and detectors of one pipeline.
pub struct Engine {
    stages: Arc<Stages>,
    settings: EngineSettings,
    detectors: Vec<Box<dyn Detector>>,
    seats: BTreeMap<LaneKey, Seat>,
    /// Every pane that ends at or before this moment is closed.
    frontier: Option<Micros>,
    decisions: Vec<Noted>,
    must_cut: bool,
    failures: Vec<String>,
    silences: Silences,
}

impl Engine {
    /// An engine without lanes. `detectors` must be in the order of [`Stages`]' folds; their uids name their state.
    pub fn new(stages: Arc<Stages>, detectors: Vec<Box<dyn Detector>>, settings: EngineSettings) -> Self {
        let silences = Silences::new(stages.silences.clone(), settings.pane_length);
        Self {
            stages,
            settings,
            silences,
            detectors,
            seats: BTreeMap::new(),
            frontier: None,
            decisions: Vec::new(),
            must_cut: false,
            failures: Vec::new(),
        }
    }

    /// Detectors that could not judge a pane since the last call, and why: such a pane counts as without findings.
    pub fn take_failures(&mut self) -> Vec<String> {
        std::mem::take(&mut self.failures)
    }

    /// Takes the facts about completeness that closed panes and decisions have told since the last call: no record does.
    pub fn take_facts(&mut self) -> Vec<PaneFact> {
        self.silences.take_facts()
    }

    /// Adds a lane. Rows of it that belong to panes closed already stay out of panes.
    pub fn join(&mut self, work: LaneWork) {
        let key = lane_key(work.lane());
        let mut seat = Seat {
            lane: Arc::clone(work.lane()),
            attendance: Attendance::Active,
            next_offset: work.next_offset(),
            watermark: work.watermark(),
            losses: Vec::new(),
            work: Some(work),
        };
        if let Some(work) = &mut seat.work {
            work.raise_floor(self.frontier);
            work.set_folds(self.detectors.iter().map(|d| (d.uid().to_owned(), d.lane())).collect());
        }
        self.seats.insert(key, seat);
    }

    /// Adds a lane together with the state that it had at a checkpoint.
    ///
    /// # Errors
    /// When the state is damaged or belongs to other detectors.
    pub fn rejoin(&mut self, work: LaneWork, state: &[u8], strict: Restore) -> Result<()> {
        let key = lane_key(work.lane());
        self.join(work);
        let (detectors, frontier) = (&self.detectors, self.frontier);
        if let Some(seat) = self.seats.get_mut(&key) {
            seat.restore(state, detectors, strict)?;
            // Panes that closed without this lane stay closed: judged twice, they would be found twice.
            if let (Some(work), Some(frontier)) = (&mut seat.work, frontier) {
                work.drop_panes_until(frontier)?;
            }
        }
        Ok(())
    }

    /// Removes a lane: it was revoked. What it folded into open panes stays out of them.
    pub fn leave(&mut self, key: &str) {
        self.seats.remove(key);
    }

    /// Takes a lane out to work, if it is at home.
    pub fn checkout(&mut self, key: &str) -> Option<LaneWork> {
        self.seats.get_mut(key)?.work.take()
    }

    /// Brings a lane home with what it made.
    pub fn merge(&mut self, work: LaneWork, output: &LaneOutput) {
        let Some(seat) = self.seats.get_mut(&lane_key(work.lane())) else { return };
        seat.next_offset = work.next_offset();
        seat.watermark = work.watermark();
        seat.losses.extend(output.losses.iter().cloned());
        seat.work = Some(work);
    }

    /// Where a lane goes on, with the last record that it has read.
    pub fn resume(&self, key: &str, next_offset: i64) -> Resume {
        let work = self.seats.get(key).and_then(|seat| seat.work.as_ref());
        Resume { next_offset, last: work.and_then(|work| work.mark().cloned()) }
    }

    /// Whether a lane is away at work.
    pub fn is_out(&self, key: &str) -> bool {
        self.seats.get(key).is_some_and(|seat| seat.work.is_none())
    }

    /// Whether every lane is at home.
    pub fn all_home(&self) -> bool {
        self.seats.values().all(|seat| seat.work.is_some())
    }

    /// Whether a lane is at home and awake.
    pub fn is_ready(&self, key: &str) -> bool {
        self.seats.get(key).is_some_and(|seat| seat.work.is_some() && seat.attendance == Attendance::Active)
    }

    /// Whether a lane may work on: it is ready, and not too far ahead of the slowest active lane.
    pub fn may_work(&self, key: &str) -> bool {
        let Some(seat) = self.seats.get(key).filter(|_| self.is_ready(key)) else { return false };
        let ahead_max = self.settings.panes_ahead_max.saturating_mul(self.settings.pane_length);
        match (seat.watermark, self.slowest(Some(key))) {
            (Some(own), Some(slowest)) => own <= slowest.saturating_add(ahead_max),
            _ => true,
        }
    }

    /// Closes every pane that the watermark has passed, in order, and returns what was found in them.
    /// All lanes must be at home.
    ///
    /// # Errors
    /// When a detector cannot judge a pane.
    pub fn close_ready(&mut self) -> Result<Vec<(Pane, Finding)>> {
        if self.seats.is_empty() || !self.all_home() {
            return Ok(Vec::new());
        }
        // A lane that was never heard of blocks: nobody knows yet what it will bring.
        let unknown = self.seats.values().any(|s| s.attendance == Attendance::Active && s.watermark.is_none());
        match self.slowest(None) {
            Some(watermark) if !unknown => self.close_up_to(watermark),
            _ => Ok(Vec::new()),
        }
    }

    /// Declares a lane silent: the frontier no longer waits for it. Recorded as a decision.
    pub fn idle(&mut self, key: &str) {
        if let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.attendance == Attendance::Active) {
            seat.attendance = Attendance::Idle;
            self.decide(DecisionKind::Idle, key.to_owned());
        }
    }

    /// Whether a lane was read to its end for good.
    pub fn has_ended(&self, key: &str) -> bool {
        self.seats.get(key).is_some_and(|seat| seat.attendance == Attendance::Ended)
    }

    /// Says where a lane begins that has read nothing, so that the next cut records it.
    pub fn begin_at(&mut self, key: &str, offset: i64) {
        if let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.next_offset.is_none()) {
            seat.next_offset = Some(offset);
            if let Some(work) = &mut seat.work {
                work.begin_at(offset);
            }
        }
    }

    /// Says until when rows of a lane are believed that no carrier gives a time, from the next record on, or from `landed` on
    /// if rows before it are in the tables already: those were judged by what was said then. Noted in any case, since rows
    /// that follow land no earlier than the note. The lane must be at home.
    pub fn believe(&mut self, key: &str, landed: i64, until: Micros) {
        let Some(seat) = self.seats.get(key) else { return };
        let from = seat.next_offset.unwrap_or(0).max(landed);
        let belief = Belief { from, until };
        self.recall(key, belief);
        self.push_note(DecisionKind::Believe, belief.words(), Some((key.to_owned(), Some(from))));
    }

    /// Lets a lane know what was said of it before a crash. The lane must be at home.
    pub fn recall(&mut self, key: &str, belief: Belief) {
        if let Some(work) = self.seats.get_mut(key).and_then(|seat| seat.work.as_mut()) {
            work.believe(belief);
        }
    }

    /// Whether a lane is idle or ended: it must be woken before it may work.
    pub fn is_asleep(&self, key: &str) -> bool {
        self.seats.get(key).is_some_and(|seat| seat.attendance != Attendance::Active)
    }

    /// Counts a silent lane in again, because it has something to read. Its rows for panes that closed meanwhile stay
    /// out of them; that is why the place is recorded as a decision.
    pub fn wake(&mut self, key: &str) {
        if let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.attendance != Attendance::Active) {
            seat.attendance = Attendance::Active;
            self.decide(DecisionKind::Wake, key.to_owned());
        }
    }

    /// Declares a lane to be at its end for good. Where a file ends is in the data, so no cut is forced by it.
    pub fn end(&mut self, key: &str) {
        if let Some(seat) = self.seats.get_mut(key).filter(|seat| seat.attendance != Attendance::Ended) {
            seat.attendance = Attendance::Ended;
            self.note_lane(DecisionKind::Leave, key);
        }
    }

    /// Whether no lane is active: nothing will move the watermark until something new arrives.
    pub fn is_quiet(&self) -> bool {
        !self.seats.is_empty() && self.seats.values().all(|seat| seat.attendance != Attendance::Active)
    }

    /// Whether some pane still holds data. All lanes must be at home.
    pub fn has_open_panes(&self) -> bool {
        self.newest_pane_end().is_some_and(|end| self.frontier.is_none_or(|frontier| end > frontier))
    }

    /// Closes every pane that holds data, whatever the watermark: all lanes are silent or at their end. Recorded as a
    /// decision, so that a replay closes them at the same place.
    ///
    /// # Errors
    /// When a detector cannot judge a pane.
    pub fn close_all(&mut self) -> Result<Vec<(Pane, Finding)>> {
        let Some(end) = self.newest_pane_end() else { return Ok(Vec::new()) };
        self.decide(DecisionKind::Close, format!("all lanes silent; panes up to {} closed", format_rfc3339(end)));
        self.close_up_to(end)
    }

    /// Declares that panes close without lanes that were expected. Recorded as a decision.
    pub fn go_on_without(&mut self, detail: &str) {
        self.decide(DecisionKind::Without, detail.to_owned());
    }

    /// Whether a source is listened to and not said to be silent yet.
    pub fn may_fall_silent(&self, source: &str) -> bool {
        self.silences.has_untold(source)
    }

    /// Declares a source silent that the frontier will not show to be, because nothing moves it. Recorded as a decision: it
    /// stands in the table before the fact that it causes.
    pub fn fall_silent(&mut self, source: &str) {
        self.decide(DecisionKind::Silent, source.to_owned());
        self.silences.tell(source);
    }

    /// Repeats a recorded decision.
    ///
    /// # Errors
    /// When a detector cannot judge a pane.
    pub fn replay(&mut self, decision: &Decision) -> Result<Vec<(Pane, Finding)>> {
        match decision.kind {
            DecisionKind::Idle => self.idle(&decision.detail),
            DecisionKind::Wake => self.wake(&decision.detail),
            DecisionKind::Silent => self.fall_silent(&decision.detail),
            DecisionKind::Close => return self.close_all(),
            _ => {}
        }
        Ok(Vec::new())
    }

    /// Next offsets of all lanes that have read anything.
    pub fn vector(&self) -> BTreeMap<LaneKey, i64> {
        self.seats.iter().filter_map(|(key, seat)| Some((key.clone(), seat.next_offset?))).collect()
    }

    /// End of the last closed pane.
    pub fn frontier(&self) -> Option<Micros> {
        self.frontier
    }

    /// Lanes by key.
    pub fn lanes(&self) -> impl Iterator<Item = (&LaneKey, &Arc<Lane>)> {
        self.seats.iter().map(|(key, seat)| (key, &seat.lane))
    }

    /// Watermark of the slowest lane that counts, ended and idle lanes aside.
    pub fn watermark(&self) -> Option<Micros> {
        self.slowest(None)
    }

    /// Records held in assembly, over all lanes at home.
    pub fn held(&self) -> u64 {
        self.seats.values().filter_map(|seat| seat.work.as_ref()).map(LaneWork::held).sum()
    }

    /// The row accounts of all lanes at home.
    pub fn accounts(&self) -> Accounts {
        let mut accounts = Accounts { held: self.held(), ..Accounts::default() };
        for work in self.seats.values().filter_map(|seat| seat.work.as_ref()) {
            let totals = work.totals();
            accounts.records += totals.records;
            accounts.used += totals.used;
            accounts.coverage += totals.coverage;
            accounts.rejected += totals.rejected;
            accounts.events += totals.events;
            accounts.late += totals.late;
            accounts.doubtful += totals.doubtful;
            accounts.behind_frontier += work.behind_frontier();
        }
        accounts
    }

    /// Takes the decisions made since the last call, stamped with a cut and the vector that they were made at.
    pub fn take_decisions(&mut self, job: &str, cut: i64, fingerprint: &str) -> Vec<Decision> {
        // Only a decision that is repeated needs to know where all lanes stood: the vector of many lanes is long.
        let vector =
            if self.must_cut { serde_json::to_string(&self.vector()).unwrap_or_default() } else { String::new() };
        let taken = std::mem::take(&mut self.decisions);
        self.must_cut = false;
        taken
            .into_iter()
            .enumerate()
            .map(|(index, Noted { kind, pane_end, detail, lane })| Decision {
                job: job.to_owned(),
                cut,
                index: i32::try_from(index).unwrap_or(i32::MAX),
                kind,
                pane_end,
                lanes: match lane {
                    _ if kind.is_binding() => vector.clone(),
                    Some((key, next)) => serde_json::json!({ key: next }).to_string(),
                    None => String::new(),
                },
                fingerprint: fingerprint.to_owned(),
                detail,
            })
            .collect()
    }

    /// Whether a decision was made that belongs to exactly the present vector: cut before any lane goes on.
    pub fn must_cut(&self) -> bool {
        self.must_cut
    }

    fn decide(&mut self, kind: DecisionKind, detail: String) {
        self.must_cut = true;
        self.note(kind, detail);
    }

    fn slowest(&self, except: Option<&str>) -> Option<Micros> {
        self.seats
            .iter()
            .filter(|(key, seat)| seat.attendance == Attendance::Active && Some(key.as_str()) != except)
            .filter_map(|(_, seat)| seat.watermark)
            .min()
    }

    fn newest_pane_end(&self) -> Option<Micros> {
        self.seats.values().filter_map(|seat| seat.work.as_ref()?.newest_pane_end()).max()
    }

    fn close_up_to(&mut self, moment: Micros) -> Result<Vec<(Pane, Finding)>> {
        let mut found = Vec::new();
        while let Some(pane) = self.oldest_pane_ending_by(moment).into_iter().chain(self.oldest_lossy_by(moment)).min()
        {
            self.close(pane, &mut found)?;
            self.frontier = self.frontier.max(Some(pane.end));
        }
        let aligned = moment.div_euclid(self.settings.pane_length) * self.settings.pane_length;
        self.frontier = Some(self.frontier.map_or(aligned, |frontier| frontier.max(aligned)));
        let frontier = self.frontier;
        self.listen();
        for seat in self.seats.values_mut() {
            if let Some(work) = &mut seat.work {
                work.raise_floor(frontier);
            }
            seat.losses.retain(|loss| frontier.is_none_or(|frontier| loss.window_end >= frontier));
        }
        Ok(found)
    }

    /// Who was heard of in the panes that are closed now, and who was not.
    fn listen(&mut self) {
        let Some(frontier) = self.frontier else { return };
        let mut heard: BTreeMap<Pane, BTreeMap<Key, Span>> = BTreeMap::new();
        for seat in self.seats.values_mut() {
            let Some(work) = &mut seat.work else { continue };
            for (pane, clusters) in work.take_heard(frontier) {
                let keys = heard.entry(pane).or_default();
                for (cluster, span) in clusters {
                    let key = (seat.lane.source.clone(), cluster);
                    keys.entry(key).and_modify(|known| known.widen(span)).or_insert(span);
                }
            }
        }
        self.silences.hear(heard, frontier);
    }

    fn oldest_pane_ending_by(&self, moment: Micros) -> Option<Pane> {
        let open = self.seats.values().filter_map(|seat| seat.work.as_ref()).filter_map(LaneWork::oldest_pane);
        open.min().filter(|pane| pane.end <= moment)
    }

    /// The oldest pane behind the frontier in which data are known to be missing, whether it holds any or not.
    fn oldest_lossy_by(&self, moment: Micros) -> Option<Pane> {
        let first_of = |loss: &LossWindow| {
            let bound = loss.window_end.saturating_sub(LOSSY_PANES_MAX * self.settings.pane_length);
            let settled = loss.watermark.max(self.frontier).unwrap_or(bound);
            let pane = self.stages.panes.of(loss.window_start.max(bound).max(settled));
            (pane.end <= moment && loss.concerns(pane)).then_some(pane)
        };
        self.seats.values().flat_map(|seat| &seat.losses).filter_map(first_of).min()
    }

    /// Closes a pane: partials of all lanes meet, in lane order.
    fn close(&mut self, pane: Pane, found: &mut Vec<(Pane, Finding)>) -> Result<()> {
        let coverage = self.coverage_of(pane);
        let mut seats: Vec<&mut Seat> = self.seats.values_mut().collect();
        seats.sort_by(|a, b| a.lane.cmp(&b.lane));
        for (index, detector) in self.detectors.iter_mut().enumerate() {
            let mut partials = Vec::new();
            for work in seats.iter_mut().filter_map(|seat| seat.work.as_mut()) {
                partials.extend(work.take_partial(index, pane)?);
            }
            // A detector must know of every pane that lacks something, or it would take it for one that held nothing.
            if partials.is_empty() && coverage == PaneCoverage::Complete {
                continue;
            }
            // One detector that cannot judge a pane must not keep the others, or the stream, from going on.
            match detector.close(pane, coverage, &partials) {
                Ok(findings) => found.extend(findings.into_iter().map(|finding| (pane, finding))),
                Err(error) if self.failures.len() < FAILURES_MAX => {
                    self.failures.push(format!("{}: {error}", detector.uid()));
                }
                Err(_) => {}
            }
        }
        for seat in self.seats.values_mut() {
            if let Some(work) = &mut seat.work {
                work.forget_pane(pane);
            }
        }
        Ok(())
    }

    fn coverage_of(&self, pane: Pane) -> PaneCoverage {
        let lossy = self.seats.values().flat_map(|seat| &seat.losses).any(|loss| loss.concerns(pane));
        if lossy { PaneCoverage::Lossy } else { PaneCoverage::Complete }
    }

    /// What detectors, and the ear for silences, hold or had to leave out: who, what, count.
    pub fn gauges(&self) -> Vec<(&str, &'static str, u64)> {
        let all = self.detectors.iter().map(|detector| (detector.uid(), detector.gauges()));
        let all = all.chain([("silence", self.silences.gauges().to_vec())]);
        all.flat_map(|(uid, gauges)| gauges.into_iter().map(move |(what, count)| (uid, what, count))).collect()
    }

    /// Gives all lanes other rules, and decoders that extract the fields which those ask for. What decoders hold in assembly
    /// goes along.
    ///
    /// # Errors
    /// When a lane is out at work, or a decoder does not take over what its like held. Lanes may then differ: the run must
    /// end.
    pub fn take_rules(
        &mut self,
        stages: &Arc<Stages>,
        mut decoder: impl FnMut(&Arc<Lane>) -> Result<Box<dyn Decoder>>,
    ) -> Result<()> {
        for (key, seat) in &mut self.seats {
            let work = seat.work.as_mut().ok_or_else(|| Error::State(format!("lane {key} is out at work")))?;
            work.take_rules(Arc::clone(stages), decoder(&seat.lane)?)?;
        }
        self.stages = Arc::clone(stages);
        self.push_note(DecisionKind::Rules, format!("{} rules", stages.rules.rules().len()), None);
        Ok(())
    }

    /// The stages that lanes run.
    pub fn stages(&self) -> &Arc<Stages> {
        &self.stages
    }

    /// Records what the run loop did, such as a start or a join.
    pub fn note(&mut self, kind: DecisionKind, detail: impl Into<String>) {
        self.push_note(kind, detail.into(), None);
    }

    /// Records what happened to a lane, with where it stands.
    pub fn note_lane(&mut self, kind: DecisionKind, key: &str) {
        let next = self.seats.get(key).and_then(|seat| seat.next_offset);
        self.push_note(kind, key.to_owned(), Some((key.to_owned(), next)));
    }

    fn push_note(&mut self, kind: DecisionKind, detail: String, lane: Option<(LaneKey, Option<i64>)>) {
        self.decisions.push(Noted { kind, pane_end: self.frontier.unwrap_or(0), detail, lane });
    }

    /// Adds a fact that no record tells, as from a source.
    pub fn add_fact(&mut self, fact: &Coverage) {
        if let (true, Some(seat)) = (fact.kind.is_loss(), self.seats.get_mut(&lane_key(&fact.lane))) {
            let watermark = seat.watermark;
            seat.losses.push(LossWindow { window_start: fact.window_start, window_end: fact.window_end, watermark });
        }
    }
}

#[cfg(test)]
mod tests;
