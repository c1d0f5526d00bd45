//! What a lane counts in an open pane, by key, and its form as an Arrow partial.
//!
//! A key is (series, entity, value): the series is an entity kind or a feature by its place in the configuration. A
//! pane keeps the `keys_max` keys with the smallest hashes. That is exact and does not depend on order: a key among the
//! smallest of all was among the smallest of those seen at every moment before, in every lane that saw it.
//!
//! Not here: what the counts mean.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt16Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt16Type};
use hashbrown::{Equivalent, HashMap};
use palisade_events::position::Position;
use palisade_events::seam::Pane;
use palisade_events::time::Micros;
use palisade_events::{Entity, EntityKind, Error, EventBatch, Evidence, Result, col};
use serde::{Deserialize, Serialize};

use crate::fixed_hash::FixedHash;

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

/// The events of one key in one pane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) first: Micros,
    pub(crate) last: Micros,
    /// The smallest by (time, event uid), in that order.
    pub(crate) evidence: Vec<Evidence>,
}

impl Tally {
    fn new() -> Self {
        Self { count: 0, first: Micros::MAX, last: Micros::MIN, evidence: Vec::new() }
    }

    fn add_rows(&mut self, rows: &Rows, batch: &EventBatch) {
        self.count += u64::from(rows.count);
        self.first = self.first.min(rows.first);
        self.last = self.last.max(rows.last);
        let times = batch.time(col::TIME).values();
        for &row in &rows.kept[..usize::from(rows.kept_len)] {
            let row = row as usize;
            let (time, uid) = (times[row], batch.uid(row));
            if !self.accepts(time, uid) {
                break;
            }
            self.insert(Evidence {
                time,
                event_uid: uid.to_owned(),
                source: batch.word(col::SOURCE).get(row).unwrap_or_default().to_owned(),
                position: batch.position(row),
            });
        }
    }

    fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        for evidence in other.evidence {
            if self.accepts(evidence.time, &evidence.event_uid) {
                self.insert(evidence);
            }
        }
    }

    fn accepts(&self, time: Micros, uid: &str) -> bool {
        self.evidence.len() < EVIDENCE_MAX
            || self.evidence.last().is_some_and(|last| (time, uid) < (last.time, last.event_uid.as_str()))
    }

    fn insert(&mut self, evidence: Evidence) {
        let key = (evidence.time, evidence.event_uid.as_str());
        let place = self.evidence.partition_point(|e| (e.time, e.event_uid.as_str()) <= key);
        self.evidence.insert(place, evidence);
        self.evidence.truncate(EVIDENCE_MAX);
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
        let time = times[row as usize];
        self.count += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        let len = usize::from(self.kept_len);
        if len == EVIDENCE_MAX && time > times[self.kept[len - 1] as usize] {
            return;
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

type KeyMap = HashMap<Key, Tally, ahash::RandomState>;

/// The open panes of one lane.
#[derive(Debug)]
pub(crate) struct OpenPanes {
    panes: BTreeMap<Pane, KeyMap>,
    keys_max: usize,
    schema: SchemaRef,
}

impl OpenPanes {
    /// `series` are the names of what is counted: keys name them by place, so their partials carry them.
    pub(crate) fn new(keys_max: usize, series: &[String]) -> Self {
        Self { panes: BTreeMap::new(), keys_max: keys_max.max(1), schema: schema(&series.join(", ")) }
    }

    /// Adds the rows of one key in one batch.
    pub(crate) fn add(
        &mut self,
        pane: Pane,
        series: u16,
        entity: &Entity,
        value: &str,
        rows: &Rows,
        batch: &EventBatch,
    ) {
        let keys = self.panes.entry(pane).or_default();
        if let Some(tally) = keys.get_mut(&KeyRef(series, entity, value)) {
            tally.add_rows(rows, batch);
            return;
        }
        let mut tally = Tally::new();
        tally.add_rows(rows, batch);
        keys.insert(Key { series, entity: entity.clone(), value: value.to_owned() }, tally);
        // Pruning at twice the bound keeps its cost constant per key.
        if keys.len() > 2 * self.keys_max {
            prune(keys, self.keys_max);
        }
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
        if partial.schema().metadata() != self.schema.metadata() {
            return Err(damaged("it counts something else than is configured"));
        }
        self.panes.insert(pane, decode(partial)?.into_iter().collect());
        Ok(())
    }
}

/// Joins the partials of a pane's lanes, in key order.
pub(crate) fn merge(partials: &[RecordBatch], keys_max: usize) -> Result<BTreeMap<Key, Tally>> {
    let mut keys = KeyMap::default();
    for partial in partials {
        for (key, tally) in decode(partial)? {
            keys.entry(key).or_insert_with(Tally::new).merge(tally);
        }
    }
    Ok(bounded(keys, keys_max.max(1)))
}

fn bounded(mut keys: KeyMap, keys_max: usize) -> BTreeMap<Key, Tally> {
    prune(&mut keys, keys_max);
    keys.into_iter().collect()
}

fn prune(keys: &mut KeyMap, keys_max: usize) {
    if keys.len() <= keys_max {
        return;
    }
    let mut ranks: Vec<u64> = keys.keys().map(Key::rank).collect();
    let (_, limit, _) = ranks.select_nth_unstable(keys_max - 1);
    let limit = *limit;
    keys.retain(|key, _| key.rank() <= limit);
}

/// Columns of a partial of some series.
fn schema(series: &str) -> SchemaRef {
    let metadata = [("series".to_owned(), series.to_owned())].into();
    Arc::new(Schema::new_with_metadata(fields(), metadata))
}

fn fields() -> Vec<Field> {
    let text = |name: &str| Field::new(name, DataType::Utf8, false);
    let time = |name: &str| Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), false);
    vec![
        Field::new("series", DataType::UInt16, false),
        text("entity_kind"),
        text("cluster_name"),
        Field::new("namespace_name", DataType::Utf8, true),
        text("entity_name"),
        text("value"),
        Field::new("count", DataType::Int64, false),
        time("first_seen"),
        time("last_seen"),
        Field::new("evidence", DataType::Binary, false),
    ]
}

fn encode<'k>(schema: &SchemaRef, keys: impl Iterator<Item = (&'k Key, &'k Tally)> + Clone) -> Result<RecordBatch> {
    let text = |get: fn(&'k Key) -> &'k str| -> ArrayRef {
        Arc::new(keys.clone().map(|(key, _)| Some(get(key))).collect::<StringArray>())
    };
    let time = |get: fn(&Tally) -> Micros| -> ArrayRef {
        Arc::new(keys.clone().map(|(_, t)| Some(get(t))).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let mut evidence = BinaryBuilder::new();
    let mut bytes = Vec::new();
    for (_, tally) in keys.clone() {
        let stored: Vec<StoredEvidence<'_>> = tally.evidence.iter().map(StoredEvidence::of).collect();
        bytes = postcard::to_extend(&stored, bytes).map_err(|e| damaged(&e.to_string()))?;
        evidence.append_value(&bytes);
        bytes.clear();
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys.clone().map(|(key, _)| Some(key.series)).collect::<UInt16Array>()),
        text(|key| key.entity.kind.name()),
        text(|key| &key.entity.cluster),
        Arc::new(keys.clone().map(|(key, _)| key.entity.namespace.as_deref()).collect::<StringArray>()),
        text(|key| &key.entity.name),
        text(|key| &key.value),
        Arc::new(keys.clone().map(|(_, t)| Some(i64::try_from(t.count).unwrap_or(i64::MAX))).collect::<Int64Array>()),
        time(|t| t.first),
        time(|t| t.last),
        Arc::new(evidence.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn decode(partial: &RecordBatch) -> Result<Vec<(Key, Tally)>> {
    if partial.schema().fields().iter().map(AsRef::as_ref).ne(fields().iter()) {
        return Err(damaged("its columns are not those of an anomaly partial"));
    }
    let text = |column: usize| partial.column(column).as_string::<i32>();
    let time = |column: usize| partial.column(column).as_primitive::<TimestampMicrosecondType>();
    let (series, counts) =
        (partial.column(0).as_primitive::<UInt16Type>(), partial.column(6).as_primitive::<Int64Type>());
    let evidence = partial.column(9).as_binary::<i32>();
    (0..partial.num_rows())
        .map(|row| {
            let kind = EntityKind::named(text(1).value(row)).ok_or_else(|| damaged("an entity kind is unknown"))?;
            let entity = Entity {
                kind,
                cluster: text(2).value(row).into(),
                namespace: text(3).is_valid(row).then(|| text(3).value(row).into()),
                name: text(4).value(row).into(),
            };
            let stored: Vec<StoredEvidence<'_>> =
                postcard::from_bytes(evidence.value(row)).map_err(|e| damaged(&e.to_string()))?;
            let tally = Tally {
                count: u64::try_from(counts.value(row)).map_err(|_| damaged("a count is negative"))?,
                first: time(7).value(row),
                last: time(8).value(row),
                evidence: stored.into_iter().map(Evidence::from).collect(),
            };
            Ok((Key { series: series.value(row), entity, value: text(5).value(row).into() }, tally))
        })
        .collect()
}

/// Evidence as a partial stores it.
#[derive(Serialize, Deserialize)]
struct StoredEvidence<'t> {
    time: Micros,
    event_uid: &'t str,
    source: &'t str,
    place: StoredPosition<'t>,
}

/// [`Position`], whose own form is for JSON.
#[derive(Serialize, Deserialize)]
enum StoredPosition<'t> {
    Kafka(&'t str, i32, i64),
    File(&'t str, i64),
    Channel(&'t str, i64),
}

impl<'t> StoredEvidence<'t> {
    fn of(evidence: &'t Evidence) -> Self {
        let place = match &evidence.position {
            Position::Kafka { topic, partition, offset } => StoredPosition::Kafka(topic, *partition, *offset),
            Position::File { file, line } => StoredPosition::File(file, *line),
            Position::Channel { channel, sequence } => StoredPosition::Channel(channel, *sequence),
        };
        Self { time: evidence.time, event_uid: &evidence.event_uid, source: &evidence.source, place }
    }
}

impl From<StoredEvidence<'_>> for Evidence {
    fn from(stored: StoredEvidence<'_>) -> Self {
        let position = match stored.place {
            StoredPosition::Kafka(topic, partition, offset) => {
                Position::Kafka { topic: topic.to_owned(), partition, offset }
            }
            StoredPosition::File(file, line) => Position::File { file: file.to_owned(), line },
            StoredPosition::Channel(channel, sequence) => Position::Channel { channel: channel.to_owned(), sequence },
        };
        Self { time: stored.time, event_uid: stored.event_uid.to_owned(), source: stored.source.to_owned(), position }
    }
}

fn damaged(why: &str) -> Error {
    Error::State { what: "anomaly partial".into(), why: why.into() }
}
