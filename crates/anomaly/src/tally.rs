//! What a lane counts in an open pane, by key.
//!
//! A key is (series, entity, value): the series is an entity kind or a feature by its place in the configuration. A
//! pane keeps the `keys_max` keys with the smallest hashes. That is exact and does not depend on order: a key among the
//! smallest of all was among the smallest of those seen at every moment before, in every lane that saw it.
//!
//! Not here: what the counts mean, and their form as an Arrow partial (`partial.rs`).

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock};

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use hashbrown::{Equivalent, HashMap};
use palisade_events::seam::{Pane, PaneCoverage};
use palisade_events::time::Micros;
use palisade_events::{Entity, EventBatch, Evidence, Result, col};

use self::partial::{check, decode, encode, schema};
use crate::fixed_hash::FixedHash;
use crate::scene::Scenery;

pub(crate) use self::partial::Stored;

mod partial;

/// Events kept as evidence of one key in one pane: enough to judge by, few enough to page with.
pub(crate) const EVIDENCE_MAX: usize = 8;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) series: u16,
    pub(crate) entity: Entity,
    pub(crate) value: String,
}

impl Key {
    fn rank(&self) -> u64 {
        let mut hash = FixedHash::of_entity(&self.entity);
        hash.number(u64::from(self.series));
        hash.text(&self.value);
        hash.finish()
    }
}

/// A key that is looked up without owning its texts.
struct KeyRef<'k>(u16, &'k Entity, &'k str);

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1, self.2).hash(state);
    }
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.series, &self.entity, self.value.as_str()).hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.series && self.2 == key.value && self.1 == &key.entity
    }
}

/// An event that may be evidence.
pub(crate) trait Witness {
    /// What evidence is ordered by: time, then event uid.
    fn place(&self) -> (Micros, &str);
}

/// An event that an open pane keeps as evidence. All series that keep it share it.
#[derive(Debug)]
struct Kept {
    evidence: Evidence,
    /// What it looked like, known once the event was the first of some tally.
    scene: OnceLock<Box<[u8]>>,
}

impl Kept {
    fn scene(&self) -> &[u8] {
        match self.scene.get() {
            Some(scene) => scene,
            None => &[],
        }
    }
}

impl Witness for Arc<Kept> {
    fn place(&self) -> (Micros, &str) {
        (self.evidence.time, &self.evidence.event_uid)
    }
}

/// The events of one key in one pane.
#[derive(Clone, Debug)]
pub(crate) struct Tally<W> {
    pub(crate) count: u64,
    pub(crate) first: Micros,
    pub(crate) last: Micros,
    /// The smallest by (time, event uid), in that order. The first of them has a scene.
    pub(crate) evidence: Vec<W>,
}

impl<W: Witness> Tally<W> {
    pub(crate) fn new() -> Self {
        Self { count: 0, first: Micros::MAX, last: Micros::MIN, evidence: Vec::new() }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for witness in other.evidence {
            if self.accepts(witness.place()) {
                self.insert(witness);
            }
        }
    }

    fn accepts(&self, place: (Micros, &str)) -> bool {
        self.evidence.len() < EVIDENCE_MAX || self.evidence.last().is_some_and(|last| place < last.place())
    }

    /// Puts accepted evidence where it belongs, and says where that is.
    fn insert(&mut self, witness: W) -> usize {
        if self.evidence.len() == EVIDENCE_MAX {
            self.evidence.pop();
        }
        let at = self.evidence.partition_point(|other| other.place() <= witness.place());
        self.evidence.insert(at, witness);
        at
    }
}

impl Tally<Arc<Kept>> {
    fn add_rows(&mut self, rows: &Rows, witnesses: &mut Witnesses<'_>) {
        self.count += u64::from(rows.count);
        self.first = self.first.min(rows.first);
        self.last = self.last.max(rows.last);
        for &row in &rows.kept[..usize::from(rows.kept_len)] {
            if !self.accepts(witnesses.place(row)) {
                break;
            }
            let kept = witnesses.kept(row);
            if self.insert(Arc::clone(&kept)) == 0 {
                witnesses.describe(row, &kept);
            }
        }
    }
}

/// The rows of one batch that become evidence: each is copied out once, however many keys keep it.
pub(crate) struct Witnesses<'b> {
    pub(crate) times: &'b [Micros],
    pub(crate) uids: &'b StringArray,
    batch: &'b EventBatch,
    /// By row; empty until the first is kept.
    kept: Vec<Option<Arc<Kept>>>,
    scenery: Option<Scenery<'b>>,
}

impl<'b> Witnesses<'b> {
    pub(crate) fn of(batch: &'b EventBatch) -> Self {
        let (times, uids) = (batch.time(col::TIME).values(), batch.text(col::EVENT_UID));
        Self { times, uids, batch, kept: Vec::new(), scenery: None }
    }

    fn place(&self, row: u32) -> (Micros, &'b str) {
        (self.times[row as usize], self.uids.value(row as usize))
    }

    fn kept(&mut self, row: u32) -> Arc<Kept> {
        let (batch, at, (time, uid)) = (self.batch, row as usize, self.place(row));
        if self.kept.is_empty() {
            self.kept.resize_with(batch.rows(), || None);
        }
        let kept = self.kept[at].get_or_insert_with(|| {
            let source = batch.word(col::SOURCE).get(at).unwrap_or_default().to_owned();
            let evidence = Evidence { time, event_uid: uid.to_owned(), source, position: batch.position(at) };
            Arc::new(Kept { evidence, scene: OnceLock::new() })
        });
        Arc::clone(kept)
    }

    fn describe(&mut self, row: u32, kept: &Kept) {
        let batch = self.batch;
        let scenery = self.scenery.get_or_insert_with(|| Scenery::of(batch));
        kept.scene.get_or_init(|| scenery.scene(row as usize));
    }
}

/// The rows of one key in one batch: what the inner loop touches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    count: u32,
    first: Micros,
    last: Micros,
    kept_len: u8,
    kept: [u32; EVIDENCE_MAX],
}

impl Rows {
    pub(crate) const EMPTY: Self =
        Self { count: 0, first: Micros::MAX, last: Micros::MIN, kept_len: 0, kept: [0; EVIDENCE_MAX] };

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    #[inline]
    pub(crate) fn add(&mut self, row: u32, times: &[Micros], uids: &StringArray) {
        let at = row as usize;
        let time = times[at];
        self.count += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        if usize::from(self.kept_len) == EVIDENCE_MAX {
            // Rows mostly come in order of time, so this is where nearly all of them end; many share a moment where
            // sources write whole seconds.
            let last = self.kept[EVIDENCE_MAX - 1] as usize;
            if time > times[last] || (time == times[last] && uids.value(at) >= uids.value(last)) {
                return;
            }
        }
        self.keep(row, times, uids);
    }

    fn keep(&mut self, row: u32, times: &[Micros], uids: &StringArray) {
        let key = |row: u32| (times[row as usize], uids.value(row as usize));
        let len = usize::from(self.kept_len);
        let place = self.kept[..len].partition_point(|&kept| key(kept) <= key(row));
        if place == EVIDENCE_MAX {
            return;
        }
        let end = (len + 1).min(EVIDENCE_MAX);
        self.kept.copy_within(place..end - 1, place + 1);
        self.kept[place] = row;
        self.kept_len = end as u8;
    }
}

type KeyMap<W> = HashMap<Key, Tally<W>, ahash::RandomState>;

/// The open panes of one lane.
#[derive(Debug)]
pub(crate) struct OpenPanes {
    panes: BTreeMap<Pane, KeyMap<Arc<Kept>>>,
    keys_max: usize,
    schema: SchemaRef,
}

/// One of them.
pub(crate) struct OpenPane<'o> {
    keys: &'o mut KeyMap<Arc<Kept>>,
    keys_max: usize,
}

impl OpenPane<'_> {
    /// Adds the rows of one key in one batch.
    pub(crate) fn add(
        &mut self,
        series: u16,
        entity: &Entity,
        value: &str,
        rows: &Rows,
        witnesses: &mut Witnesses<'_>,
    ) {
        if let Some(tally) = self.keys.get_mut(&KeyRef(series, entity, value)) {
            tally.add_rows(rows, witnesses);
            return;
        }
        let mut tally = Tally::new();
        tally.add_rows(rows, witnesses);
        self.keys.insert(Key { series, entity: entity.clone(), value: value.to_owned() }, tally);
        // Pruning at twice the bound keeps its cost constant per key.
        if self.keys.len() > 2 * self.keys_max {
            prune(self.keys, self.keys_max);
        }
    }
}

impl OpenPanes {
    /// `series` are the names of what is counted: keys name them by place, so their partials carry them. A lane keeps
    /// one key more than the bound, so that whoever merges sees that it was met.
    pub(crate) fn new(keys_max: usize, series: &[String]) -> Self {
        Self { panes: BTreeMap::new(), keys_max: keys_max.max(1) + 1, schema: schema(&series.join(", ")) }
    }

    /// A pane to add keys to. It counts as holding something from now on.
    pub(crate) fn pane(&mut self, pane: Pane) -> OpenPane<'_> {
        OpenPane { keys: self.panes.entry(pane).or_default(), keys_max: self.keys_max }
    }

    pub(crate) fn take(&mut self, pane: Pane) -> Result<Option<RecordBatch>> {
        let Some(keys) = self.panes.remove(&pane) else { return Ok(None) };
        Ok(Some(encode(&self.schema, bounded(keys, self.keys_max).iter())?))
    }

    pub(crate) fn snapshot(&self) -> Result<Vec<(Pane, RecordBatch)>> {
        self.panes
            .iter()
            .map(|(pane, keys)| Ok((*pane, encode(&self.schema, bounded(keys.clone(), self.keys_max).iter())?)))
            .collect()
    }

    pub(crate) fn restore(&mut self, pane: Pane, partial: &RecordBatch) -> Result<()> {
        check(partial, Some(&self.schema))?;
        let keys = decode(partial)?.into_iter().map(|(key, tally)| tally.kept().map(|tally| (key, tally)));
        self.panes.insert(pane, keys.collect::<Result<_>>()?);
        Ok(())
    }
}

/// Whether all keys of a pane found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    /// More keys than the bound: those with the largest hashes were left out.
    Short,
}

impl Room {
    /// What is known of a pane that keys were left out of: they are missing from it like any other loss.
    pub(crate) fn coverage(self, known: PaneCoverage) -> PaneCoverage {
        if self == Self::Short { PaneCoverage::Lossy } else { known }
    }
}

/// Joins the partials of a pane's lanes, in key order.
pub(crate) fn merge(partials: &[RecordBatch], keys_max: usize) -> Result<(BTreeMap<Key, Tally<Stored<'_>>>, Room)> {
    let keys_max = keys_max.max(1);
    let mut keys = KeyMap::default();
    for partial in partials {
        for (key, tally) in decode(partial)? {
            keys.entry(key).or_insert_with(Tally::new).merge(tally);
        }
    }
    let room = if keys.len() > keys_max { Room::Short } else { Room::Enough };
    Ok((bounded(keys, keys_max), room))
}

fn bounded<W>(mut keys: KeyMap<W>, keys_max: usize) -> BTreeMap<Key, Tally<W>> {
    prune(&mut keys, keys_max);
    keys.into_iter().collect()
}

fn prune<W>(keys: &mut KeyMap<W>, keys_max: usize) {
    if keys.len() <= keys_max {
        return;
    }
    let mut ranks: Vec<u64> = keys.keys().map(Key::rank).collect();
    let (_, limit, _) = ranks.select_nth_unstable(keys_max - 1);
    let limit = *limit;
    keys.retain(|key, _| key.rank() <= limit);
}

#[cfg(test)]
mod tests;
