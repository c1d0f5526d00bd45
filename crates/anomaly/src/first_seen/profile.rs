//! The values that one entity has shown, and how likely the next one is new.
//!
//! A draw is a value shown in a pane, however often within it, since events of one pane are not independent. With n
//! draws so far, of which n₁ values were drawn exactly once, the chance that the next draw is a value never seen is
//! about
//!
//! ```text
//! P(new) = (n₁ + 1) / (n + 2)
//! ```
//!
//! the Good–Turing estimate n₁/n (I. J. Good, "The population frequencies of species and the estimation of population
//! parameters", Biometrika 40, 1953; for presence in sampling units as in Chao and Colwell, SORT 41, 2017), smoothed by
//! one success and one failure, so that a short history without novelty is not taken for certainty.

use std::collections::{BTreeMap, BTreeSet};

use palisade_events::time::Micros;
use serde::{Deserialize, Serialize};

use crate::store::Seen;

/// Values told of while nothing could be learnt, so that a lossy hour tells each once.
const TOLD_MAX: usize = 64;

/// What one entity has shown of one feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    /// By hash: drawn once, or more often.
    values: BTreeMap<u64, Often>,
    draws: u64,
    once: u64,
    pub(crate) events: u64,
    pub(crate) born: u64,
    pub(crate) panes: u64,
    pub(crate) seen: Micros,
    /// More values than could be kept: nothing is known of it any more.
    pub(crate) varied: bool,
    told: BTreeSet<u64>,
}

/// What was known of an entity's values at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Habit {
    /// The chance that the next draw is new.
    pub(crate) unseen: f64,
    pub(crate) distinct: usize,
    pub(crate) once: u64,
    pub(crate) panes: u64,
    /// Values shown in the pane that is judged.
    pub(crate) pane_draws: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Often {
    Once,
    More,
}

impl Seen for Profile {
    fn seen(&self) -> Micros {
        self.seen
    }
}

impl Profile {
    pub(crate) fn new(tick: u64, seen: Micros) -> Self {
        Self {
            values: BTreeMap::new(),
            draws: 0,
            once: 0,
            events: 0,
            born: tick,
            panes: 0,
            seen,
            varied: false,
            told: BTreeSet::new(),
        }
    }

    pub(crate) fn knows(&self, value: u64) -> bool {
        self.values.contains_key(&value) || self.told.contains(&value)
    }

    /// Remembers a value without learning it.
    pub(crate) fn tell(&mut self, value: u64) {
        if self.told.len() < TOLD_MAX {
            self.told.insert(value);
        }
    }

    /// Learns the values of one pane.
    pub(crate) fn learn(&mut self, values: impl Iterator<Item = (u64, u64)>, values_max: usize) {
        self.panes += 1;
        for (value, events) in values {
            self.events += events;
            if self.varied {
                continue;
            }
            self.draws += 1;
            match self.values.insert(value, Often::More) {
                None => {
                    self.values.insert(value, Often::Once);
                    self.once += 1;
                }
                Some(Often::Once) => self.once -= 1,
                Some(Often::More) => {}
            }
            self.told.remove(&value);
            if self.values.len() > values_max {
                self.values = BTreeMap::new();
                self.told = BTreeSet::new();
                self.varied = true;
            }
        }
    }

    /// The chance that the next draw is new.
    fn unseen(&self) -> f64 {
        (self.once as f64 + 1.0) / (self.draws as f64 + 2.0)
    }

    /// What was known before a pane that shows `pane_draws` values.
    pub(crate) fn habit(&self, pane_draws: usize) -> Habit {
        Habit { unseen: self.unseen(), distinct: self.values.len(), once: self.once, panes: self.panes, pane_draws }
    }

    pub(crate) fn values(&self) -> usize {
        self.values.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_mass_is_good_turings() {
        let mut profile = Profile::new(0, 0);
        assert_eq!(profile.unseen(), 0.5);
        for pane in 0..98u64 {
            profile.learn([(7, 3), (100 + pane % 2, 1)].into_iter(), 10);
        }
        profile.learn([(55, 1), (7, 1)].into_iter(), 10);
        assert_eq!((profile.values(), profile.once, profile.draws), (4, 1, 198));
        assert_eq!(profile.unseen(), 2.0 / 200.0);
    }

    #[test]
    fn too_many_values_end_the_profile() {
        let mut profile = Profile::new(0, 0);
        profile.learn((0..11).map(|v| (v, 1)), 10);
        assert!(profile.varied && profile.values() == 0);
    }
}
