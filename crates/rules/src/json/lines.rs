//! Planned fields of a payload while it is parsed: what no rule reads is skipped, not kept.
//!
//! The same values as [`super::put_json`] takes from a parsed payload. Where their order within a row could decide which
//! of them count, the row is parsed whole after all.

use std::borrow::Cow;
use std::fmt;

use palisade_events::fields::{FieldRef, FieldStep, FieldTree, FieldsBuilder};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::digits::quoted;
use super::skim::Skimmer;
use super::spellings::Spellings;

/// Scratch of a reader of payloads, used row after row.
#[derive(Debug, Default)]
pub(crate) struct LineReader {
    spellings: Spellings,
    skimmer: Skimmer,
}

impl LineReader {
    /// Puts the planned paths of a payload into the current row. A payload that is not JSON has none.
    pub(crate) fn put(&mut self, fields: &mut FieldsBuilder, text: &str) {
        let plan = std::sync::Arc::clone(fields.plan());
        if plan.paths().is_empty() || !text.trim_ascii_start().starts_with('{') {
            return;
        }
        // An empty tree knows no key at any node.
        let root = plan.tree().root().unwrap_or_default();
        if self.skimmer.put(plan.tree(), root, fields, text).is_some() {
            return;
        }
        let text = &*quoted(text);
        self.spellings.clear();
        let mut found: Vec<(usize, Scalar<'_>)> = Vec::with_capacity(64);
        let mut row = Row { tree: plan.tree(), spellings: &mut self.spellings, found: &mut found, is_contested: false };
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_map(Object { row: &mut row, node: root }).and_then(|()| json.end());
        let is_contested = row.is_contested;
        if read.is_err() {
            return;
        }
        if is_contested {
            if let Ok(event) = serde_json::from_str(text) {
                super::put_json(fields, &event);
            }
            return;
        }
        for (path, value) in &found {
            fields.put(*path, value.as_ref());
        }
    }
}

enum Scalar<'de> {
    Plain(FieldRef<'static>),
    Text(Cow<'de, str>),
}

impl Scalar<'_> {
    fn as_ref(&self) -> FieldRef<'_> {
        match self {
            Self::Plain(value) => *value,
            Self::Text(text) => FieldRef::Str(text),
        }
    }
}

/// What is known of the row that is being read.
struct Row<'r, 'de> {
    tree: &'r FieldTree,
    spellings: &'r mut Spellings,
    found: &'r mut Vec<(usize, Scalar<'de>)>,
    /// See [`super::spellings`].
    is_contested: bool,
}

/// An object whose keys are steps from a node.
struct Object<'w, 'r, 'de> {
    row: &'w mut Row<'r, 'de>,
    node: usize,
}

impl<'de> Visitor<'de> for Object<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { row, node } = self;
        let mut object = row.spellings.open();
        while let Some(step) = map.next_key_seed(Key { tree: row.tree, node })? {
            let Some((step, has_dot)) = step else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            row.is_contested |= row.spellings.meet(&mut object, step, has_dot);
            map.next_value_seed(Taken { row, step })?;
        }
        row.spellings.close(&object);
        Ok(())
    }
}

/// Tells what a key means, and whether it has a dot.
struct Key<'t> {
    tree: &'t FieldTree,
    node: usize,
}

impl<'de, 't> DeserializeSeed<'de> for Key<'t> {
    type Value = Option<(&'t FieldStep, bool)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'_> for Key<'t> {
    type Value = Option<(&'t FieldStep, bool)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.tree.step(self.node, key).map(|step| (step, key.contains('.'))))
    }
}

/// The value of a key that means something.
struct Taken<'w, 'r, 'de, 's> {
    row: &'w mut Row<'r, 'de>,
    step: &'s FieldStep,
}

impl<'de> Taken<'_, '_, 'de, '_> {
    fn plain(self, value: FieldRef<'static>) {
        self.row.found.extend(self.step.leaves.iter().map(|path| (*path, Scalar::Plain(value))));
    }

    fn text(self, text: Cow<'de, str>) {
        let Some((last, others)) = self.step.leaves.split_last() else { return };
        self.row.found.extend(others.iter().map(|path| (*path, Scalar::Text(text.clone()))));
        self.row.found.push((*last, Scalar::Text(text)));
    }
}

impl<'de> DeserializeSeed<'de> for Taken<'_, '_, 'de, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Taken<'_, '_, 'de, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.plain(FieldRef::Null);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.plain(FieldRef::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.plain(FieldRef::Int(value));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.plain(i64::try_from(value).map_or(FieldRef::UInt(value), FieldRef::Int));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.plain(FieldRef::Float(value));
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<(), E> {
        self.text(Cow::Borrowed(value));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.text(Cow::Owned(value.to_owned()));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { row, step } = self;
        let mut is_empty = true;
        while members.next_element_seed(Taken { row, step })?.is_some() {
            is_empty = false;
        }
        if is_empty {
            Taken { row, step }.plain(FieldRef::Null);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { row, step } = self;
        Taken { row, step }.plain(FieldRef::Object);
        match step.child {
            Some(node) => Object { row, node }.visit_map(map),
            None => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(())
            }
        }
    }
}
