//! All values of a payload as one text, gathered while it is parsed.

use std::fmt;

use palisade_events::fields::FieldRef;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::digits::quoted;
use crate::predicate::text_of;

/// The values of a payload, one a line, in its order; keys are no values. `None` for what is no JSON object or array.
pub(crate) fn text_of_payload(payload: &str) -> Option<String> {
    if !payload.trim_ascii_start().starts_with(['{', '[']) {
        return None;
    }
    let payload = quoted(payload);
    let mut all = String::with_capacity(payload.len());
    let mut json = serde_json::Deserializer::from_str(&payload);
    Gather(&mut all).deserialize(&mut json).and_then(|()| json.end()).ok()?;
    Some(all)
}

struct Gather<'a>(&'a mut String);

impl Gather<'_> {
    fn add(self, value: FieldRef<'_>) {
        if let Some(text) = text_of(value) {
            if !self.0.is_empty() {
                self.0.push('\n');
            }
            self.0.push_str(&text);
        }
    }
}

impl<'de> DeserializeSeed<'de> for Gather<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Gather<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.add(FieldRef::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.add(FieldRef::Int(value));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.add(FieldRef::UInt(value));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.add(FieldRef::Float(value));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.add(FieldRef::Str(value));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while members.next_element_seed(Gather(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Gather(&mut *self.0))?;
        }
        Ok(())
    }
}
