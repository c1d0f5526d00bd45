//! One hash that is the same on every machine and in every run: what shards, bounds and value sets are decided by.
//!
//! blake3, because names and values are chosen by attackers, who must not be able to make two of them collide or to
//! choose which keys a bound keeps.

use palisade_events::Entity;
use palisade_events::id::content_hash;

/// Collects length-prefixed fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct FixedHash(Vec<u8>);

impl FixedHash {
    pub(crate) fn of_entity(entity: &Entity) -> Self {
        let mut hash = Self::default();
        hash.text(entity.kind.name());
        hash.text(&entity.cluster);
        hash.text(entity.namespace.as_deref().unwrap_or_default());
        hash.text(&entity.name);
        hash
    }

    pub(crate) fn of_text(text: &str) -> Self {
        let mut hash = Self::default();
        hash.text(text);
        hash
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn finish(&self) -> u64 {
        let hex = content_hash("palisade.anomaly.v1", &self.0);
        u64::from_str_radix(hex.get(..16).unwrap_or_default(), 16).unwrap_or_default()
    }
}
