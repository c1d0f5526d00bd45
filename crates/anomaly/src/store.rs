//! What is known of each entity, in sixteen shards that are stored separately, so that a checkpoint writes only the
//! shards that changed.
//!
//! Not here: what is known; that is each detector's.

use std::collections::BTreeMap;

use palisade_events::time::Micros;
use palisade_events::{Entity, EntityKind, Error, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::fixed_hash::FixedHash;

const SHARDS: usize = 16;

/// First byte of each stored piece.
const VERSION: u8 = 3;

/// Whose state it is: a series (entity kind or feature, by its place in the configuration) and an entity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) series: u16,
    pub(crate) entity: Entity,
}

/// When an entity was last seen: what eviction goes by.
pub(crate) trait Seen {
    fn seen(&self) -> Micros;
}

/// State by slot.
#[derive(Clone, Debug)]
pub(crate) struct Store<S> {
    shards: Vec<BTreeMap<Slot, S>>,
    by_series: Vec<usize>,
}

impl<S: Seen + Clone + Serialize + DeserializeOwned> Store<S> {
    pub(crate) fn new(series: usize) -> Self {
        Self { shards: vec![BTreeMap::new(); SHARDS], by_series: vec![0; series] }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.by_series.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.by_series.iter().sum()
    }

    /// Number of entities of a series.
    pub(crate) fn tracked(&self, series: u16) -> usize {
        self.by_series.get(usize::from(series)).copied().unwrap_or_default()
    }

    pub(crate) fn get_mut(&mut self, slot: &Slot) -> Option<&mut S> {
        self.shards[shard_of(&slot.entity)].get_mut(slot)
    }

    /// The state of a slot, made by `fresh` if there is none and one is wanted.
    pub(crate) fn get_or_insert(&mut self, slot: &Slot, fresh: impl FnOnce() -> Option<S>) -> Option<&mut S> {
        let shard = &mut self.shards[shard_of(&slot.entity)];
        if !shard.contains_key(slot) {
            shard.insert(slot.clone(), fresh()?);
            if let Some(count) = self.by_series.get_mut(usize::from(slot.series)) {
                *count += 1;
            }
        }
        shard.get_mut(slot)
    }

    pub(crate) fn insert(&mut self, slot: Slot, state: S) {
        let series = usize::from(slot.series);
        if self.shards[shard_of(&slot.entity)].insert(slot, state).is_none()
            && let Some(count) = self.by_series.get_mut(series)
        {
            *count += 1;
        }
    }

    /// All states, shard by shard; sort what is made of them.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Slot, &mut S)> {
        self.shards.iter_mut().flatten()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Slot, &S)> {
        self.shards.iter().flatten()
    }

    /// Removes the `surplus` states that were seen longest ago, ties by slot, and returns them.
    pub(crate) fn evict(&mut self, surplus: usize) -> Vec<S> {
        if surplus == 0 {
            return Vec::new();
        }
        let mut ages: Vec<(Micros, Slot)> = self.iter().map(|(slot, state)| (state.seen(), slot.clone())).collect();
        ages.sort_unstable();
        ages.truncate(surplus);
        ages.into_iter()
            .filter_map(|(_, slot)| {
                let state = self.shards[shard_of(&slot.entity)].remove(&slot)?;
                if let Some(count) = self.by_series.get_mut(usize::from(slot.series)) {
                    *count -= 1;
                }
                Some(state)
            })
            .collect()
    }

    pub(crate) fn pieces(&self, uid: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let piece = |(number, shard): (usize, &BTreeMap<Slot, S>)| {
            let rows: Vec<(StoredSlot, &S)> = shard.iter().map(|(slot, state)| (StoredSlot::of(slot), state)).collect();
            Ok((format!("entities-{number:02}"), to_piece(uid, &rows)?))
        };
        self.shards.iter().enumerate().map(piece).collect()
    }

    pub(crate) fn restore(uid: &str, series: usize, pieces: &[(String, Vec<u8>)]) -> Result<Self> {
        let mut store = Self::new(series);
        for number in 0..SHARDS {
            let rows: Vec<(StoredSlot, S)> = from_piece(uid, pieces, &format!("entities-{number:02}"))?;
            for (slot, state) in rows {
                store.insert(slot.into(), state);
            }
        }
        Ok(store)
    }
}

/// Whether stored state is of the configured series: slots go by their places.
pub(crate) fn same_series(uid: &str, stored: &[String], configured: &[String]) -> Result<()> {
    if stored == configured {
        return Ok(());
    }
    let why = format!("it is of {}; configured are {}", stored.join(", "), configured.join(", "));
    Err(Error::State { what: uid.into(), why })
}

/// Writes a piece of state.
pub(crate) fn to_piece<T: Serialize>(uid: &str, value: &T) -> Result<Vec<u8>> {
    postcard::to_extend(value, vec![VERSION])
        .map_err(|e| Error::State { what: uid.into(), why: format!("cannot be written: {e}") })
}

/// Reads the piece of a name.
pub(crate) fn from_piece<T: DeserializeOwned>(uid: &str, pieces: &[(String, Vec<u8>)], name: &str) -> Result<T> {
    let error = |why: String| Error::State { what: uid.into(), why };
    let (_, bytes) =
        pieces.iter().find(|(n, _)| n == name).ok_or_else(|| error(format!("piece `{name}` is missing")))?;
    match bytes.split_first() {
        Some((&VERSION, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            Ok(_) => Err(error(format!("piece `{name}` has bytes after its end"))),
            Err(e) => Err(error(format!("piece `{name}` is damaged: {e}"))),
        },
        Some((version, _)) => Err(error(format!("piece `{name}` has version {version}, not {VERSION}"))),
        None => Err(error(format!("piece `{name}` is empty"))),
    }
}

fn shard_of(entity: &Entity) -> usize {
    FixedHash::of_entity(entity).finish() as usize % SHARDS
}

/// A slot as stored: an entity's own form leaves out an absent namespace, which only self-describing formats can read.
#[derive(Serialize, Deserialize)]
struct StoredSlot(u16, EntityKind, String, Option<String>, String);

impl StoredSlot {
    fn of(slot: &Slot) -> Self {
        let Entity { kind, cluster, namespace, name } = slot.entity.clone();
        Self(slot.series, kind, cluster, namespace, name)
    }
}

impl From<StoredSlot> for Slot {
    fn from(StoredSlot(series, kind, cluster, namespace, name): StoredSlot) -> Self {
        Self { series, entity: Entity { kind, cluster, namespace, name } }
    }
}
