//! Deterministic ids. The same input gives the same ids on every machine, in every batching, after every replay.
//!
//! Every scheme carries its version in the hashed bytes (`palisade.event.v1` …); golden vectors in the tests pin them.
//! blake3 is used because parts of what is hashed (user names, paths) are chosen by attackers, who must not be able to
//! make two findings collide.

use crate::position::Lane;

/// Hashes of 16 bytes, written as 32 hex digits: Delta keeps statistics for strings but not for binary columns.
const UID_BYTES: usize = 16;

/// A lane's part of an event id, hashed once per lane instead of once per row.
#[derive(Clone, Debug)]
pub struct LaneHash([u8; 32]);

impl LaneHash {
    /// Hashes what identifies a lane: source name, generation, and topic and partition, or the file's fingerprint.
    ///
    /// A file's path is left out when it has a fingerprint, so that a rotated or compressed file keeps its event ids.
    pub fn new(lane: &Lane) -> Self {
        let mut hash = Fields::new("palisade.event.v1");
        hash.text(&lane.source);
        hash.number(i64::from(lane.generation));
        match &lane.fingerprint {
            Some(print) => hash.text(print),
            None => {
                hash.text(&lane.origin);
                hash.number(lane.partition.map_or(-1, i64::from));
            }
        }
        Self(*hash.0.finalize().as_bytes())
    }

    /// The id of the event at `offset` (a file's record number) and `index` within the message.
    pub fn event_uid(&self, offset: i64, index: u32) -> [u8; 32] {
        let mut place = [0u8; 12];
        place[..8].copy_from_slice(&offset.to_le_bytes());
        place[8..].copy_from_slice(&index.to_le_bytes());
        hex(blake3::keyed_hash(&self.0, &place).as_bytes())
    }
}

/// The id of a finding: rule or detector uid, entity, and the pane or the first evidence that it rests on.
pub fn finding_uid(rule_uid: &str, entity: &str, anchor: &str) -> String {
    uid("palisade.finding.v1", &[rule_uid, entity, anchor])
}

/// The id shared by all findings of one rule about one entity on one day: what a person is paged for once.
pub fn group_uid(rule_uid: &str, entity: &str, day: &str) -> String {
    uid("palisade.group.v1", &[rule_uid, entity, day])
}

/// Hashes `parts` under a `scheme`; parts are length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
pub fn uid(scheme: &str, parts: &[&str]) -> String {
    let mut hash = Fields::new(scheme);
    for part in parts {
        hash.text(part);
    }
    String::from_utf8_lossy(&hex(hash.0.finalize().as_bytes())).into_owned()
}

/// Hashes bytes under a scheme, for content addresses and fingerprints.
pub fn content_hash(scheme: &str, bytes: &[u8]) -> String {
    let mut hash = Fields::new(scheme);
    hash.0.update(bytes);
    String::from_utf8_lossy(&hex(hash.0.finalize().as_bytes())).into_owned()
}

struct Fields(blake3::Hasher);

impl Fields {
    fn new(scheme: &str) -> Self {
        let mut fields = Self(blake3::Hasher::new());
        fields.text(scheme);
        fields
    }

    fn text(&mut self, text: &str) {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
    }

    fn number(&mut self, number: i64) {
        self.0.update(&number.to_le_bytes());
    }
}

fn hex(hash: &[u8; 32]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0u8; 2 * UID_BYTES];
    for (byte, pair) in hash[..UID_BYTES].iter().zip(out.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

#[cfg(test)]
mod tests;
