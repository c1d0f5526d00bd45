//! Values that an entity shows for the first time: an executable, a destination, an API call, a user agent.
//!
//! An entity's profile holds the values of a feature that it has shown, and estimates the chance that
//! the next one is new. From `learning_panes` and `learning_events` on, a new value is a finding if that chance is at
//! most `unseen_max` and the budget of `false_findings_per_day` allows it. `p_value` is
//! (values in the pane) · P(new), the union bound on seeing anything new in the pane.
//!
//! Stated behaviour. All new values of one entity and feature in a pane are one finding. *Loss*: in a lossy pane new
//! values are told and not learnt; one without events makes no entity older. *Bounds*: an entity with more than
//! `values_max` values varies too much and is not judged any more ([`FirstSeen::varied`] counts these); beyond
//! `entities_max` profiles, or `values_total_max` values in all, the entities seen longest ago are forgotten and learn
//! anew; beyond `pane_values_max` in one pane the values with the largest hashes are left out, and the pane is counted
//! ([`FirstSeen::panes_short`]).

use std::collections::BTreeMap;

use arrow::record_batch::RecordBatch;
use palisade_events::Result;
use palisade_events::finding::{Attack, Finding};
use palisade_events::seam::{Detector, LaneFold, Pane, PaneCoverage};
use serde::{Deserialize, Serialize};

use self::fold::ValueFold;
use self::ledger::{Budget, Ledger, Spent};
use self::profile::{Habit, Profile};
use crate::fixed_hash::FixedHash;
use crate::store::{Slot, Store, from_piece, same_series, to_piece};
use crate::tally::{self, Key, OpenPanes, Room, Stored, Tally};
use crate::ticks::{Learn, Tick, Ticks};

pub use self::feature::Feature;

mod feature;
mod pairs;
mod fold;
mod ledger;
mod profile;
mod tell;

const UID: &str = "palisade.anomaly.first_seen";

/// Settings of [`FirstSeen`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FirstSeenConfig {
    /// What is watched.
    pub features: Vec<Feature>,
    /// How many findings a day are tolerable when nothing is wrong: those of the steadiest entities come first.
    pub false_findings_per_day: f64,
    /// Panes that an entity must have been known for before its new values are findings.
    pub learning_panes: u64,
    /// Events that it must have made before.
    pub learning_events: u64,
    /// Largest chance of something new at which something new is worth telling.
    pub unseen_max: f64,
    /// Longest silence of the whole stream, in panes, that counts towards an entity's age.
    pub gap_panes_max: u64,
    /// Values kept of one entity and feature.
    pub values_max: usize,
    /// Values kept in all: about 50 bytes each.
    pub values_total_max: usize,
    /// Profiles kept.
    pub entities_max: usize,
    /// Distinct (feature, entity, value) counted in one pane.
    pub pane_values_max: usize,
    /// ATT&CK techniques to state on findings; none unless configured.
    pub attack: Attack,
}

impl Default for FirstSeenConfig {
    fn default() -> Self {
        Self {
            features: feature::defaults(),
            false_findings_per_day: 10.0,
            learning_panes: 60,
            learning_events: 20,
            unseen_max: 0.05,
            gap_panes_max: 30,
            values_max: 4_096,
            values_total_max: 2_000_000,
            entities_max: 100_000,
            pane_values_max: 100_000,
            attack: Attack::default(),
        }
    }
}

/// Finds values that an entity with a settled habit shows for the first time.
///
/// ```
/// use palisade_anomaly::{Feature, FirstSeen, FirstSeenConfig};
/// use palisade_events::EntityKind;
/// let dns = Feature::new(EntityKind::Workload, ["dns_query_hostname"]).unwrap();
/// let detector = FirstSeen::new(FirstSeenConfig { features: vec![dns], ..Default::default() });
/// assert_eq!(detector.tracked(), 0);
/// ```
#[derive(Clone, Debug)]
pub struct FirstSeen {
    config: FirstSeenConfig,
    ticks: Ticks,
    ledger: Ledger,
    store: Store<Profile>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Counters {
    /// Values in all profiles.
    values: u64,
    varied: u64,
    evicted: u64,
    /// New values that the budget kept back.
    beyond_budget: u64,
    panes_short: u64,
}

#[derive(Serialize, Deserialize)]
struct Shared {
    features: Vec<String>,
    ticks: Ticks,
    ledger: Ledger,
    counters: Counters,
}

impl FirstSeen {
    /// A detector that has seen nothing. Bounds below one are raised to it.
    pub fn new(config: FirstSeenConfig) -> Self {
        let features = config.features.len();
        Self {
            config,
            ticks: Ticks::default(),
            ledger: Ledger::default(),
            store: Store::new(features),
            counters: Counters::default(),
        }
    }

    /// Number of profiles.
    pub fn tracked(&self) -> usize {
        self.store.len()
    }

    /// Number of profiles that showed more values than could be kept.
    pub fn varied(&self) -> u64 {
        self.counters.varied
    }

    /// Number of profiles forgotten for want of room.
    pub fn evicted(&self) -> u64 {
        self.counters.evicted
    }

    /// Number of panes with new values that the budget kept back.
    pub fn beyond_budget(&self) -> u64 {
        self.counters.beyond_budget
    }

    /// Number of panes with more values than could be counted.
    pub fn panes_short(&self) -> u64 {
        self.counters.panes_short
    }

    fn close_tallies(
        &mut self,
        pane: Pane,
        coverage: PaneCoverage,
        tallies: BTreeMap<Key, Tally<Stored<'_>>>,
    ) -> Vec<Finding> {
        let tick = self.ticks.advance(pane, coverage, self.config.gap_panes_max);
        if tick.restarted {
            self.store.clear();
            self.counters.values = 0;
        }
        let mut findings = Vec::new();
        let mut tallies = tallies.into_iter().peekable();
        while let Some((key, tally)) = tallies.next() {
            let slot = Slot { series: key.series, entity: key.entity };
            let shown = |value: String, tally| Shown { hash: FixedHash::of_text(&value).finish(), value, tally };
            let mut values = vec![shown(key.value, tally)];
            while let Some((key, tally)) =
                tallies.next_if(|(key, _)| key.series == slot.series && key.entity == slot.entity)
            {
                values.push(shown(key.value, tally));
            }
            if let Some((habit, new)) = self.judge(pane, tick, &slot, values) {
                findings.push(self.finding(pane, coverage, slot, habit, new));
            }
        }
        self.evict();
        findings
    }

    fn judge<'p>(
        &mut self,
        pane: Pane,
        tick: Tick,
        slot: &Slot,
        shown: Vec<Shown<'p>>,
    ) -> Option<(Habit, Vec<Shown<'p>>)> {
        let config = &self.config;
        let values_max = config.values_max.max(1);
        let fresh = || (tick.learn == Learn::Yes).then(|| Profile::new(tick.before, pane.start));
        let profile = self.store.get_or_insert(slot, fresh)?;
        profile.seen = pane.start;
        let age = tick.before - profile.born;
        let settled = !profile.varied && age >= config.learning_panes && profile.events >= config.learning_events;
        let before = profile.habit(shown.len());
        let drawn: Vec<(u64, u64)> = shown.iter().map(|s| (s.hash, s.tally.count)).collect();
        let new: Vec<Shown<'p>> =
            if settled { shown.into_iter().filter(|s| !profile.knows(s.hash)).collect() } else { Vec::new() };
        match tick.learn {
            Learn::Yes => {
                let (values, varied) = (profile.values(), profile.varied);
                profile.learn(drawn.into_iter(), values_max);
                self.counters.values = self.counters.values - values as u64 + profile.values() as u64;
                self.counters.varied += u64::from(profile.varied && !varied);
            }
            Learn::No => new.iter().for_each(|s| profile.tell(s.hash)),
        }
        if new.is_empty() || before.unseen > config.unseen_max {
            return None;
        }
        let budget = Budget::per_day(config.false_findings_per_day);
        match self.ledger.spend(pane.end, ledger::class(before.unseen), budget) {
            Spent::Within => Some((before, new)),
            Spent::Beyond => {
                self.counters.beyond_budget += 1;
                None
            }
        }
    }

    fn series(&self) -> Vec<String> {
        self.config.features.iter().map(|feature| format!("{} {}", feature.entity(), feature.name())).collect()
    }

    fn evict(&mut self) {
        let surplus = self.store.len().saturating_sub(self.config.entities_max.max(1));
        let mut removed = match surplus {
            0 => Vec::new(),
            surplus => self.store.evict(surplus + self.config.entities_max / 64),
        };
        // Sixteenths at a time, since how many values the oldest hold is not known beforehand.
        while self.counters.values - values_of(&removed) > self.config.values_total_max.max(1) as u64
            && self.store.len() > 0
        {
            removed.extend(self.store.evict((self.store.len() / 16).max(1)));
        }
        self.counters.evicted += removed.len() as u64;
        self.counters.values -= values_of(&removed);
    }
}

fn values_of(profiles: &[Profile]) -> u64 {
    profiles.iter().map(|p| p.values() as u64).sum()
}

/// A value that an entity showed in a pane.
struct Shown<'p> {
    value: String,
    hash: u64,
    tally: Tally<Stored<'p>>,
}

impl Detector for FirstSeen {
    fn uid(&self) -> &str {
        UID
    }

    fn lane(&self) -> Box<dyn LaneFold> {
        let open = OpenPanes::new(self.config.pane_values_max, &self.series());
        Box::new(ValueFold::new(self.config.features.clone(), open))
    }

    fn close(&mut self, pane: Pane, coverage: PaneCoverage, partials: &[RecordBatch]) -> Result<Vec<Finding>> {
        match tally::merge(partials, self.config.pane_values_max) {
            Ok((tallies, room)) => {
                self.counters.panes_short += u64::from(room == Room::Short);
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
            ("profiles", self.store.len() as u64),
            ("profiles_evicted", self.counters.evicted),
            ("profiles_varied", self.counters.varied),
            ("values", self.counters.values),
            ("findings_beyond_budget", self.counters.beyond_budget),
            ("panes_short", self.counters.panes_short),
        ]
    }

    fn snapshot(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let features = self.series();
        let shared = Shared { features, ticks: self.ticks, ledger: self.ledger.clone(), counters: self.counters };
        let mut pieces = vec![("shared".to_owned(), to_piece(UID, &shared)?)];
        pieces.extend(self.store.pieces(UID)?);
        Ok(pieces)
    }

    fn restore(&mut self, pieces: &[(String, Vec<u8>)]) -> Result<()> {
        let shared: Shared = from_piece(UID, pieces, "shared")?;
        same_series(UID, &shared.features, &self.series())?;
        self.store = Store::restore(UID, self.config.features.len(), pieces)?;
        Shared { ticks: self.ticks, ledger: self.ledger, counters: self.counters, .. } = shared;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
