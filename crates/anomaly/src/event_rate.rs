//! Event counts per entity and pane, against what that entity usually makes.
//!
//! A count is judged by P(X ≥ x) under the entity's baseline, calibrated by the tail of
//! all entities of its kind. It is a finding when that probability is below
//!
//! ```text
//! α = false_findings_per_day / kinds / (panes per day × tracked entities of the kind)
//! ```
//!
//! Each known entity is tested once per pane (a pane without events has P = 1), so the expected number of false
//! findings a day is at most the budget. With [`Sides::Both`] half of α goes to silence.
//!
//! Stated behaviour. *Warm-up*: an entity is judged from `history_panes_min` panes and `history_events_min` events on.
//! *Attack*: an anomalous pane is learnt as the largest count that would not have been one. *Level shift*: after
//! `shift_panes` anomalous panes without a break their level is adopted, and an informational finding says so; within
//! such a run only the first pane, and panes with twice the count told of, are findings. *Gaps*: up to `gap_panes_max`
//! panes in which the whole stream was silent are zeros, longer silence is no observation. *Loss*: a lossy pane is
//! judged (what was counted is a lower bound) and not learnt; one without events is no zero, and nobody is taken to have
//! been silent in it. *Bounds*: beyond `entities_max` the entities seen longest ago are forgotten; beyond
//! `pane_entities_max` in one pane those with the largest hashes are left out, and the pane is counted
//! ([`EventRate::panes_short`]).
//!
//! A service account is also a user. Where both kinds are configured, a row by a service account counts for the service
//! account alone, so that one thing is told once.

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use palisade_events::finding::{Attack, Finding};
use palisade_events::seam::{Detector, LaneFold, Pane, PaneCoverage};
use palisade_events::{EntityKind, Result};
use serde::{Deserialize, Serialize};

use self::baseline::{Baseline, Forgetting};
use self::fold::RateFold;
use self::tail::{Calibration, Tail};
use self::tell::Silence;
use crate::numerics::Counts;
use crate::store::{Slot, Store, from_piece, same_series, to_piece};
use crate::tally::{self, Key, OpenPanes, Room, Stored, Tally};
use crate::ticks::{Learn, Tick, Ticks};

mod fold;
mod baseline;
mod tail;
mod tell;

const UID: &str = "palisade.anomaly.event_rate";

/// How long calibration remembers, in seconds: a day, so that night and day are both in it.
const TAIL_MEMORY_SECS: f64 = 86_400.0;

/// Settings of [`EventRate`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventRateConfig {
    /// Kinds of entities whose events are counted.
    pub entities: Vec<EntityKind>,
    /// How many findings a day are tolerable when nothing is wrong, shared equally by the kinds.
    pub false_findings_per_day: f64,
    /// Panes after which an observation of the rate has lost 63 % of its weight.
    pub memory_panes: u32,
    /// The same for the overdispersion: longer, so that the daily course of the rate counts as variation.
    pub dispersion_memory_panes: u32,
    /// Panes that an entity must have been known for before it is judged.
    pub history_panes_min: u64,
    /// Events that an entity must have made before it is judged.
    pub history_events_min: u64,
    /// Longest silence of the whole stream, in panes, that counts as observed zeros.
    pub gap_panes_max: u64,
    /// Consecutive anomalous panes after which their level is adopted.
    pub shift_panes: u32,
    /// Whether too few events are findings too.
    pub sides: Sides,
    /// Entities that baselines are kept of: about 200 bytes each.
    pub entities_max: usize,
    /// Entities counted in one pane.
    pub pane_entities_max: usize,
    /// ATT&CK techniques to state on findings; none unless configured.
    pub attack: Attack,
}

/// Which deviations are findings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    /// Too many events.
    #[default]
    Upper,
    /// Too many events, and silence of an entity that used to make some.
    Both,
}

impl Default for EventRateConfig {
    fn default() -> Self {
        use EntityKind::{Address, Node, ServiceAccount, User, Workload};
        Self {
            entities: vec![Workload, User, ServiceAccount, Address, Node],
            false_findings_per_day: 5.0,
            memory_panes: 360,
            dispersion_memory_panes: 3_600,
            history_panes_min: 60,
            history_events_min: 10,
            gap_panes_max: 30,
            shift_panes: 6,
            sides: Sides::Upper,
            entities_max: 100_000,
            pane_entities_max: 50_000,
            attack: Attack::default(),
        }
    }
}

/// Finds panes in which an entity makes unlikely many events.
///
/// ```
/// use palisade_anomaly::{EventRate, EventRateConfig};
/// let detector = EventRate::new(EventRateConfig { false_findings_per_day: 2.0, ..Default::default() });
/// assert_eq!(detector.tracked(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct EventRate {
    config: EventRateConfig,
    forgetting: Forgetting,
    ticks: Ticks,
    kinds: Vec<KindState>,
    store: Store<Baseline>,
    evicted: u64,
    panes_short: u64,
}

/// What is known of all entities of a kind together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct KindState {
    tail: Tail,
    /// Entities with enough history to be judged by.
    warm: u64,
}

#[derive(Serialize, Deserialize)]
struct Shared {
    entities: Vec<String>,
    ticks: Ticks,
    kinds: Vec<KindState>,
    evicted: u64,
    panes_short: u64,
}

/// How the entities of one kind are judged in one pane.
#[derive(Clone, Copy, Debug)]
struct Bar {
    ln_alpha: f64,
    calibration: Calibration,
    tracked: usize,
}

/// An unlikely count.
struct Unlikely {
    ln_p: f64,
    expected: Counts,
    /// The largest count that would not have been unlikely.
    limit: u64,
    excess: f64,
}

impl EventRate {
    /// A detector that has seen nothing. Memories below two panes and bounds below one are raised to those.
    pub fn new(config: EventRateConfig) -> Self {
        let keep = |panes: u32| 1.0 - 1.0 / f64::from(panes.max(2));
        let forgetting =
            Forgetting { rate: keep(config.memory_panes), dispersion: keep(config.dispersion_memory_panes) };
        let kinds = config.entities.len();
        Self {
            config,
            forgetting,
            ticks: Ticks::default(),
            kinds: vec![KindState::default(); kinds],
            store: Store::new(kinds),
            evicted: 0,
            panes_short: 0,
        }
    }

    /// Number of entities with a baseline.
    pub fn tracked(&self) -> usize {
        self.store.len()
    }

    /// Number of baselines forgotten for want of room.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Number of panes with more entities than could be counted.
    pub fn panes_short(&self) -> u64 {
        self.panes_short
    }

    fn close_tallies(
        &mut self,
        pane: Pane,
        coverage: PaneCoverage,
        tallies: BTreeMap<Key, Tally<Stored<'_>>>,
    ) -> Vec<Finding> {
        let tick = self.begin(pane, coverage);
        let bars = self.bars();
        let mut findings = Vec::new();
        for (key, tally) in tallies {
            let Some(&bar) = bars.get(usize::from(key.series)) else { continue };
            let slot = Slot { series: key.series, entity: key.entity };
            if let Some(told) = self.judge(pane, tick, &slot, tally.count, bar) {
                findings.push(self.finding(pane, coverage, &slot, tally, &told, bar));
            }
        }
        if self.config.sides == Sides::Both && tick.learn == Learn::Yes {
            findings.extend(self.silences(pane, coverage));
        }
        self.evict();
        findings
    }

    fn series(&self) -> Vec<String> {
        self.config.entities.iter().map(ToString::to_string).collect()
    }

    fn bars(&self) -> Vec<Bar> {
        let sides = if self.config.sides == Sides::Both { 2.0 } else { 1.0 };
        let budget = self.config.false_findings_per_day.max(0.0) / self.kinds.len().max(1) as f64 / sides;
        let bar = |(series, kind): (usize, &KindState)| {
            let tracked = self.store.tracked(series as u16);
            let tests = self.ticks.per_day() * tracked.max(1) as f64;
            Bar { ln_alpha: (budget / tests).min(1.0).ln(), calibration: kind.tail.calibration(), tracked }
        };
        self.kinds.iter().enumerate().map(bar).collect()
    }

    fn begin(&mut self, pane: Pane, coverage: PaneCoverage) -> Tick {
        let tick = self.ticks.advance(pane, coverage, self.config.gap_panes_max);
        if tick.restarted {
            self.store.clear();
            self.kinds.fill(KindState::default());
        }
        let secs = (pane.end - pane.start) as f64 / 1e6 * tick.passed as f64;
        let factor = (-secs / TAIL_MEMORY_SECS).exp();
        for kind in &mut self.kinds {
            kind.tail.pass(factor, kind.warm as f64 * tick.passed as f64);
        }
        tick
    }

    /// Judges one entity's count, learns it, and says what is worth telling.
    fn judge(&mut self, pane: Pane, tick: Tick, slot: &Slot, count: u64, bar: Bar) -> Option<Told> {
        let Some(baseline) = self.store.get_mut(slot) else {
            if tick.learn == Learn::Yes {
                let mut baseline = Baseline::new(tick.before, pane.start);
                baseline.learn(count, self.forgetting);
                self.store.insert(slot.clone(), baseline);
            }
            return None;
        };
        baseline.seen = pane.start;
        if tick.learn == Learn::No {
            let mut then = baseline.clone();
            then.catch_up(tick.before, self.forgetting);
            let unlikely = then.warm.then(|| unlikely(&then, count, bar)).flatten().filter(Unlikely::is_finding)?;
            // However long the loss lasts, a level is told once.
            return baseline.run.tells(count).then_some(Told { unlikely, baseline: then, adopted: false });
        }
        baseline.catch_up(tick.before, self.forgetting);
        let old_enough = baseline.age() >= self.config.history_panes_min;
        if !baseline.warm && old_enough && baseline.total >= self.config.history_events_min {
            baseline.warm = true;
            self.kinds[usize::from(slot.series)].warm += 1;
        }
        let seen = if baseline.warm { unlikely(baseline, count, bar) } else { None };
        let tail = &mut self.kinds[usize::from(slot.series)].tail;
        let told = match seen {
            Some(unlikely) if unlikely.is_finding() => {
                tail.learn(bar.calibration.excess_at(bar.ln_alpha));
                let before = baseline.clone();
                baseline.extend_run(count);
                baseline.learn(count.min(unlikely.limit), self.forgetting);
                let adopted = baseline.run.panes >= self.config.shift_panes.max(1);
                let tell = baseline.run.tells(count);
                if adopted {
                    baseline.adopt_run(pane.end);
                }
                (tell || adopted).then_some(Told { unlikely, baseline: before, adopted })
            }
            other => {
                if let Some(unlikely) = other {
                    tail.learn(unlikely.excess);
                }
                baseline.run = Default::default();
                baseline.learn(count, self.forgetting);
                None
            }
        };
        if self.config.sides == Sides::Both {
            baseline.silent_at = if baseline.warm { baseline.silence_tick(bar.ln_alpha.exp()) } else { None };
        }
        told
    }

    /// Entities that fell silent for unlikely long, by kind and name.
    fn silences(&mut self, pane: Pane, coverage: PaneCoverage) -> Vec<Finding> {
        let now = self.ticks.observed();
        let bars = self.bars();
        let mut found = Vec::new();
        for (slot, baseline) in self.store.iter_mut() {
            if baseline.silent_at.is_none_or(|at| at > now) || baseline.tick >= now {
                continue;
            }
            let alpha = bars.get(usize::from(slot.series)).map_or(0.0, |bar| bar.ln_alpha.exp());
            let (panes, mean) = (now - baseline.tick, baseline.predict().mean);
            found.push((slot.clone(), Silence { panes, mean, since: baseline.seen, alpha }));
            baseline.silent_at = None;
            // What is told is learnt, so that the next event finds the baseline that the finding spoke of.
            baseline.catch_up(now, self.forgetting);
        }
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found.into_iter().map(|(slot, silence)| self.silence(pane, coverage, slot, &silence)).collect()
    }

    fn evict(&mut self) {
        let surplus = self.store.len().saturating_sub(self.config.entities_max.max(1));
        if surplus == 0 {
            return;
        }
        // A little more than needed, so that a full store is not sorted at every pane.
        let removed = self.store.evict(surplus + self.config.entities_max / 64);
        self.evicted += removed.len() as u64;
        self.count_warm();
    }

    fn count_warm(&mut self) {
        for kind in &mut self.kinds {
            kind.warm = 0;
        }
        for (slot, baseline) in self.store.iter() {
            if baseline.warm
                && let Some(kind) = self.kinds.get_mut(usize::from(slot.series))
            {
                kind.warm += 1;
            }
        }
    }
}

/// What is worth telling of one entity in one pane.
struct Told {
    unlikely: Unlikely,
    baseline: Baseline,
    adopted: bool,
}

impl Unlikely {
    fn is_finding(&self) -> bool {
        self.limit < u64::MAX
    }
}

/// Judges a count. An excess that is no finding has no limit.
fn unlikely(baseline: &Baseline, count: u64, bar: Bar) -> Option<Unlikely> {
    let expected = baseline.predict();
    if count as f64 <= expected.mean {
        return None;
    }
    let excess = Calibration::excess(expected.ln_tail(count))?;
    let ln_p = bar.calibration.ln_p(excess);
    let limit = if ln_p < bar.ln_alpha {
        expected.limit(Calibration::model_ln_p(bar.calibration.excess_at(bar.ln_alpha)))
    } else {
        u64::MAX
    };
    Some(Unlikely { ln_p, expected, limit, excess })
}

impl Detector for EventRate {
    fn uid(&self) -> &str {
        UID
    }

    fn lane(&self) -> Box<dyn LaneFold> {
        let open = OpenPanes::new(self.config.pane_entities_max, &self.series());
        Box::new(RateFold::new(self.config.entities.clone(), open))
    }

    fn close(&mut self, pane: Pane, coverage: PaneCoverage, partials: &[RecordBatch]) -> Result<Vec<Finding>> {
        match tally::merge(partials, self.config.pane_entities_max) {
            Ok((tallies, room)) => {
                self.panes_short += u64::from(room == Room::Short);
                Ok(self.close_tallies(pane, room.coverage(coverage), tallies))
            }
            Err(error) => {
                self.close_tallies(pane, PaneCoverage::Lossy, BTreeMap::new());
                Err(error)
            }
        }
    }

    fn gauges(&self) -> Vec<(&'static str, u64)> {
        vec![
            ("entities", self.store.len() as u64),
            ("entities_evicted", self.evicted),
            ("panes_short", self.panes_short),
        ]
    }

    fn snapshot(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let shared = Shared {
            entities: self.series(),
            ticks: self.ticks,
            kinds: self.kinds.clone(),
            evicted: self.evicted,
            panes_short: self.panes_short,
        };
        let mut pieces = vec![("shared".to_owned(), to_piece(UID, &shared)?)];
        pieces.extend(self.store.pieces(UID)?);
        Ok(pieces)
    }

    fn restore(&mut self, pieces: &[(String, Vec<u8>)]) -> Result<()> {
        let shared: Shared = from_piece(UID, pieces, "shared")?;
        same_series(UID, &shared.entities, &self.series())?;
        self.store = Store::restore(UID, self.kinds.len(), pieces)?;
        Shared { ticks: self.ticks, kinds: self.kinds, evicted: self.evicted, panes_short: self.panes_short, .. } =
            shared;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
