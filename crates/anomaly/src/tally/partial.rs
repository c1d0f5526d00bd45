//! Tallies as an Arrow partial: one row per key, in key order.
//!
//! The schema's metadata name the version of this form and what is counted, since keys name their series by place.

use std::sync::{Arc, OnceLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    UInt16Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt16Type};
use palisade_events::position::Position;
use palisade_events::time::Micros;
use palisade_events::{Entity, EntityKind, Error, Evidence, Result};
use serde::{Deserialize, Serialize};

use super::{Kept, Key, Tally, Witness};
use crate::scene::is_scene;

/// Version of the columns and of what is in their bytes.
const VERSION: &str = "2";

/// Columns of a partial of some series.
pub(super) fn schema(series: &str) -> SchemaRef {
    let metadata = [("version".to_owned(), VERSION.to_owned()), ("series".to_owned(), series.to_owned())].into();
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
        Field::new("scene", DataType::Binary, false),
    ]
}

/// Refuses partials of another version, and of other series than those of `own`, if given.
pub(super) fn check(partial: &RecordBatch, own: Option<&SchemaRef>) -> Result<()> {
    let schema = partial.schema();
    let version = schema.metadata().get("version").map_or("1", String::as_str);
    if version != VERSION {
        return Err(damaged(&format!("it has version {version}, not {VERSION}")));
    }
    if own.is_some_and(|own| own.metadata() != schema.metadata()) {
        return Err(damaged("it counts something else than is configured"));
    }
    if schema.fields().iter().map(AsRef::as_ref).ne(fields().iter()) {
        return Err(damaged("its columns are not those of an anomaly partial"));
    }
    Ok(())
}

pub(super) fn encode<'k>(
    schema: &SchemaRef,
    keys: impl Iterator<Item = (&'k Key, &'k Tally<Arc<Kept>>)> + Clone,
) -> Result<RecordBatch> {
    let text = |get: fn(&'k Key) -> &'k str| -> ArrayRef {
        Arc::new(keys.clone().map(|(key, _)| Some(get(key))).collect::<StringArray>())
    };
    let time = |get: fn(&Tally<Arc<Kept>>) -> Micros| -> ArrayRef {
        Arc::new(keys.clone().map(|(_, t)| Some(get(t))).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let (mut evidence, mut scenes) = (BinaryBuilder::new(), BinaryBuilder::new());
    let mut bytes = Vec::new();
    for (_, tally) in keys.clone() {
        let stored: Vec<Stored<'_>> = tally.evidence.iter().map(|kept| Stored::of(&kept.evidence)).collect();
        bytes = postcard::to_extend(&stored, bytes).map_err(|e| damaged(&e.to_string()))?;
        evidence.append_value(&bytes);
        bytes.clear();
        // Others may have a scene too, from when they were first here or of other keys; that depends on the batches.
        scenes.append_value(tally.evidence.first().map(|kept| kept.scene()).unwrap_or_default());
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
        Arc::new(scenes.finish()),
    ];
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Reads a partial. Texts of the evidence stay where they are: few tallies become findings.
pub(super) fn decode(partial: &RecordBatch) -> Result<Vec<(Key, Tally<Stored<'_>>)>> {
    check(partial, None)?;
    let text = |column: usize| partial.column(column).as_string::<i32>();
    let time = |column: usize| partial.column(column).as_primitive::<TimestampMicrosecondType>();
    let (kinds, clusters, namespaces, names, values) = (text(1), text(2), text(3), text(4), text(5));
    let (series, counts) =
        (partial.column(0).as_primitive::<UInt16Type>(), partial.column(6).as_primitive::<Int64Type>());
    let (firsts, lasts) = (time(7), time(8));
    let (evidence, scenes) = (partial.column(9).as_binary::<i32>(), partial.column(10).as_binary::<i32>());
    (0..partial.num_rows())
        .map(|row| {
            let kind = EntityKind::named(kinds.value(row)).ok_or_else(|| damaged("an entity kind is unknown"))?;
            let entity = Entity {
                kind,
                cluster: clusters.value(row).into(),
                namespace: namespaces.is_valid(row).then(|| namespaces.value(row).into()),
                name: names.value(row).into(),
            };
            let mut stored: Vec<Stored<'_>> =
                postcard::from_bytes(evidence.value(row)).map_err(|e| damaged(&e.to_string()))?;
            if let Some(first) = stored.first_mut() {
                first.scene = scenes.value(row);
            }
            let tally = Tally {
                count: u64::try_from(counts.value(row)).map_err(|_| damaged("a count is negative"))?,
                first: firsts.value(row),
                last: lasts.value(row),
                evidence: stored,
            };
            Ok((Key { series: series.value(row), entity, value: values.value(row).into() }, tally))
        })
        .collect()
}

/// Evidence as a partial stores it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Stored<'t> {
    time: Micros,
    event_uid: &'t str,
    source: &'t str,
    #[serde(borrow)]
    position: StoredPosition<'t>,
    /// What the event looked like; only the first of a tally has one, in a column of its own.
    #[serde(skip)]
    pub(crate) scene: &'t [u8],
}

/// [`Position`], whose own form is for JSON.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredPosition<'t> {
    Kafka(&'t str, i32, i64),
    File(&'t str, i64),
    Channel(&'t str, i64),
}

impl Witness for Stored<'_> {
    fn place(&self) -> (Micros, &str) {
        (self.time, self.event_uid)
    }
}

impl<'t> Stored<'t> {
    fn of(evidence: &'t Evidence) -> Self {
        let position = match &evidence.position {
            Position::Kafka { topic, partition, offset } => StoredPosition::Kafka(topic, *partition, *offset),
            Position::File { file, line } => StoredPosition::File(file, *line),
            Position::Channel { channel, sequence } => StoredPosition::Channel(channel, *sequence),
        };
        Self { time: evidence.time, event_uid: &evidence.event_uid, source: &evidence.source, position, scene: &[] }
    }

    /// The evidence, as findings hold it.
    pub(crate) fn evidence(&self) -> Evidence {
        let position = match self.position {
            StoredPosition::Kafka(topic, partition, offset) => {
                Position::Kafka { topic: topic.to_owned(), partition, offset }
            }
            StoredPosition::File(file, line) => Position::File { file: file.to_owned(), line },
            StoredPosition::Channel(channel, sequence) => Position::Channel { channel: channel.to_owned(), sequence },
        };
        Evidence { time: self.time, event_uid: self.event_uid.to_owned(), source: self.source.to_owned(), position }
    }
}

impl Tally<Stored<'_>> {
    /// The tally, to be added to again.
    pub(super) fn kept(self) -> Result<Tally<Arc<Kept>>> {
        let mut evidence = Vec::with_capacity(self.evidence.len());
        for (place, stored) in self.evidence.iter().enumerate() {
            if !is_scene(stored.scene) {
                return Err(damaged("the scene of an event is cut off"));
            }
            let scene = OnceLock::<Box<[u8]>>::new();
            if place == 0 {
                scene.get_or_init(|| stored.scene.into());
            }
            evidence.push(Arc::new(Kept { evidence: stored.evidence(), scene }));
        }
        Ok(Tally { count: self.count, first: self.first, last: self.last, evidence })
    }
}

fn damaged(why: &str) -> Error {
    Error::State { what: "anomaly partial".into(), why: why.into() }
}
