//! The dictionary of one word column: distinct strings, numbered as they come.

use ahash::RandomState;
use arrow::array::StringArray;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use hashbrown::HashTable;

/// Distinct strings of a batch. Numbers are given in order of first appearance.
#[derive(Debug)]
pub(crate) struct WordDictionary {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    table: HashTable<i32>,
    hasher: RandomState,
    last: i32,
}

impl Default for WordDictionary {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            // Fixed seeds would let an attacker build collisions; the numbering does not depend on the hash.
            hasher: RandomState::new(),
            last: -1,
        }
    }
}

impl WordDictionary {
    /// The code of `value`, given on first sight. Neighbouring rows often repeat, so the last code is tried first.
    pub(crate) fn code(&mut self, value: &str) -> i32 {
        if self.last >= 0 && slice(&self.bytes, &self.ends, self.last) == value.as_bytes() {
            return self.last;
        }
        let hash = self.hasher.hash_one(value.as_bytes());
        let (bytes, ends) = (&self.bytes, &self.ends);
        let known = self.table.find(hash, |&code| slice(bytes, ends, code) == value.as_bytes()).copied();
        self.last = known.unwrap_or_else(|| self.add(hash, value));
        self.last
    }

    fn add(&mut self, hash: u64, value: &str) -> i32 {
        let code = self.ends.len() as i32;
        self.bytes.extend_from_slice(value.as_bytes());
        self.ends.push(self.bytes.len() as i32);
        let (bytes, ends, hasher) = (&self.bytes, &self.ends, &self.hasher);
        self.table.insert_unique(hash, code, |&code| hasher.hash_one(slice(bytes, ends, code)));
        code
    }

    /// Hands over the values and starts an empty dictionary.
    pub(crate) fn take(&mut self) -> crate::Result<StringArray> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        self.table.clear();
        self.last = -1;
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(StringArray::try_new(offsets, std::mem::take(&mut self.bytes).into(), None)?)
    }
}

fn slice<'b>(bytes: &'b [u8], ends: &[i32], code: i32) -> &'b [u8] {
    let code = code as usize;
    let start = if code == 0 { 0 } else { ends[code - 1] as usize };
    &bytes[start..ends[code] as usize]
}
