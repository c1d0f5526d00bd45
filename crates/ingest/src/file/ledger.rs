//! What is remembered of a file between runs, and the places inside a file where a run may be cut.
//!
//! Not here: how a candidate is recognised (see [`super::identity`]) or stored (the lake's affair).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lines::Compression;

/// A file as far as it was read: one row of the `sources` ledger.
///
/// Sizes are of the decompressed content, so that a file keeps its identity when it is compressed or unpacked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFile {
    /// Name of the source in the configuration.
    pub source: String,
    /// Hash of the beginning of the first record.
    pub fingerprint: String,
    /// Tells apart files with the same first record.
    pub generation: u32,
    /// Path at which it was last seen.
    pub path: String,
    /// Records delivered so far: the next record's number.
    pub records: i64,
    /// Bytes read so far, a last line without newline included.
    pub bytes: u64,
    /// blake3 hash of the first `bytes` bytes, 64 hex digits.
    pub prefix_hash: String,
    /// How the file was packed when it was last seen.
    pub compression: Compression,
    /// Bytes that were ever read of it: more than `bytes` where a run is repeated. They make its identity.
    pub far_bytes: u64,
    /// blake3 hash of the first `far_bytes` bytes.
    pub far_hash: String,
}

/// A place in a file between two records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) bytes: u64,
    pub(super) prefix_hash: [u8; 32],
}

/// Marks kept per lane. Chunks of a mebibyte fill this bound at 64 GiB that were read but never landed; older marks
/// are then forgotten first.
const MARKS_MAX: usize = 65_536;

/// The ends of delivered chunks, by next record, until they have landed.
#[derive(Debug, Default)]
pub(super) struct Marks(BTreeMap<i64, Mark>);

impl Marks {
    /// Remembers where the record `next` begins. A later mark for the same record replaces the earlier one: only
    /// empty lines lie between them.
    pub(super) fn put(&mut self, next: i64, mark: Mark) {
        self.0.insert(next, mark);
        if self.0.len() > MARKS_MAX {
            self.0.pop_first();
        }
    }

    pub(super) fn get(&self, next: i64) -> Option<&Mark> {
        self.0.get(&next)
    }

    /// Forgets what lies before a landed offset.
    pub(super) fn landed(&mut self, next: i64) {
        self.0 = self.0.split_off(&next);
    }
}
