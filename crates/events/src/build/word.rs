//! The dictionary of one word column: distinct strings, numbered as they come.

use ahash::RandomState;
use arrow::array::StringArray;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use hashbrown::HashTable;

use super::end;

/// Distinct strings of a batch. Numbers are given in order of first appearance.
#[derive(Debug)]
pub(crate) struct WordDictionary {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    table: HashTable<i32>,
    hasher: RandomState,
    /// Words that are found without hashing: most rows repeat what a row shortly before them held.
    recent: [Recent; Outline::SLOTS],
}

/// A word that came before, in the slot that its outline leads to.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    outline: Outline,
    /// One more than the word's code; 0 for none.
    after_code: i32,
}

/// What can be told of a word without looking at all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    head: u64,
    tail: u64,
    length: usize,
}

impl Outline {
    /// Words up to this long have no other word's outline: nothing lies between head and tail.
    const WHOLE: usize = 16;

    /// Slots that outlines lead to.
    pub(crate) const SLOTS: usize = 16;

    #[inline(always)]
    pub(crate) fn of(word: &[u8]) -> Self {
        let (head, tail) = match (word.first_chunk(), word.last_chunk()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => match (word.first_chunk(), word.last_chunk()) {
                (Some(head), Some(tail)) => (u32::from_le_bytes(*head).into(), u32::from_le_bytes(*tail).into()),
                _ => (word.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)), 0),
            },
        };
        Self { head, tail, length: word.len() }
    }

    /// Any word may lead to any slot: words that share one cost time only.
    #[inline(always)]
    pub(crate) fn slot(self) -> usize {
        let mixed = (self.head ^ self.tail.rotate_left(29) ^ self.length as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 60) as usize % Self::SLOTS
    }
}

impl Default for WordDictionary {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            ends: Vec::new(),
            table: HashTable::new(),
            // Fixed seeds would let an attacker build collisions; the numbering does not depend on the hash.
            hasher: RandomState::new(),
            recent: [Recent::default(); Outline::SLOTS],
        }
    }
}

impl WordDictionary {
    /// Distinct words so far.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Forgets the word that came last.
    pub(crate) fn pop(&mut self) {
        let Some(code) = self.ends.len().checked_sub(1).map(|last| last as i32) else { return };
        let hash = self.hasher.hash_one(slice(&self.bytes, &self.ends, code));
        if let Ok(entry) = self.table.find_entry(hash, |&known| known == code) {
            entry.remove();
        }
        self.ends.pop();
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0) as usize);
        for recent in &mut self.recent {
            if recent.after_code == code + 1 {
                *recent = Recent::default();
            }
        }
    }

    /// The code of `value`, given on first sight; `None` if there is no room for it.
    #[inline]
    pub(crate) fn code(&mut self, value: &str) -> Option<i32> {
        let word = value.as_bytes();
        let outline = Outline::of(word);
        let slot = outline.slot();
        let recent = self.recent[slot];
        if recent.outline == outline
            && recent.after_code > 0
            && (word.len() <= Outline::WHOLE || slice(&self.bytes, &self.ends, recent.after_code - 1) == word)
        {
            return Some(recent.after_code - 1);
        }
        let code = self.hashed(word)?;
        self.recent[slot] = Recent { outline, after_code: code + 1 };
        Some(code)
    }

    #[inline(never)]
    fn hashed(&mut self, word: &[u8]) -> Option<i32> {
        let hash = self.hasher.hash_one(word);
        let (bytes, ends) = (&self.bytes, &self.ends);
        let known = self.table.find(hash, |&code| slice(bytes, ends, code) == word).copied();
        known.or_else(|| self.add(hash, word))
    }

    fn add(&mut self, hash: u64, word: &[u8]) -> Option<i32> {
        // Words are no more than their bytes, but for the empty one.
        let (code, end) = (end(self.ends.len())?, end(self.bytes.len() + word.len())?);
        self.bytes.extend_from_slice(word);
        self.ends.push(end);
        let (bytes, ends, hasher) = (&self.bytes, &self.ends, &self.hasher);
        self.table.insert_unique(hash, code, |&code| hasher.hash_one(slice(bytes, ends, code)));
        Some(code)
    }

    /// Hands over the values and starts an empty dictionary.
    pub(crate) fn take(&mut self) -> crate::Result<StringArray> {
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        self.table.clear();
        self.recent = [Recent::default(); Outline::SLOTS];
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let capacity = self.bytes.len();
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(capacity));
        Ok(StringArray::try_new(offsets, bytes.into(), None)?)
    }
}

fn slice<'b>(bytes: &'b [u8], ends: &[i32], code: i32) -> &'b [u8] {
    let code = code as usize;
    let start = if code == 0 { 0 } else { ends[code - 1] as usize };
    &bytes[start..ends[code] as usize]
}
