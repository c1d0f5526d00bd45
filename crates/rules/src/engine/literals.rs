//! Many literals against one text: whole by a hash, at its ends by a walk along the text, anywhere by one scan.
//!
//! Literals at an end are kept out of the scan, which would report each of them wherever it stands.

use ahash::HashMap;

use super::program::Hits;
use super::scan::{Scan, ScanDraft};

/// Where in the text a literal must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Whole,
    Anywhere,
    Start,
    End,
}

/// Literals of one case, and which atoms hold where they are found.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    equal: HashMap<Box<str>, Vec<u32>>,
    starts: Trie,
    ends: Trie,
    scan: Option<Scan>,
}

impl Literals {
    pub(crate) fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.starts.is_empty() && self.ends.is_empty() && self.scan.is_none()
    }

    pub(crate) fn hits(&self, text: &str, hits: &mut Hits) {
        if let Some(atoms) = self.equal.get(text) {
            hits.add(atoms);
        }
        self.starts.walk(text.bytes(), hits);
        self.ends.walk(text.bytes().rev(), hits);
        if let Some(scan) = &self.scan {
            scan.hits(text.as_bytes(), hits);
        }
    }
}

/// Literals on their way into [`Literals`].
#[derive(Debug, Default)]
pub(crate) struct LiteralsDraft {
    equal: HashMap<Box<str>, Vec<u32>>,
    starts: Trie,
    ends: Trie,
    anywhere: ScanDraft,
}

impl LiteralsDraft {
    pub(crate) fn add(&mut self, text: &str, place: Place, atom: u32) {
        match place {
            Place::Whole => self.equal.entry(text.into()).or_default().push(atom),
            Place::Start => self.starts.add(text.bytes(), atom),
            Place::End => self.ends.add(text.bytes().rev(), atom),
            Place::Anywhere => self.anywhere.add(text, atom),
        }
    }

    pub(crate) fn compile(self) -> Literals {
        let Self { equal, starts, ends, anywhere } = self;
        Literals { equal, starts, ends, scan: anywhere.compile() }
    }
}

/// Literals as paths of bytes from a root: what a text begins with is found in as many steps as it shares with any.
#[derive(Debug, Default)]
struct Trie {
    steps: HashMap<(u32, u8), u32>,
    /// By node, the atoms of the literal that ends there. The root is node 0.
    ends: Vec<Vec<u32>>,
}

impl Trie {
    fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn add(&mut self, bytes: impl Iterator<Item = u8>, atom: u32) {
        if self.ends.is_empty() {
            self.ends.push(Vec::new());
        }
        let mut node = 0;
        for byte in bytes {
            node = *self.steps.entry((node, byte)).or_insert_with(|| {
                self.ends.push(Vec::new());
                self.ends.len() as u32 - 1
            });
        }
        self.ends[node as usize].push(atom);
    }

    #[inline]
    fn walk(&self, bytes: impl Iterator<Item = u8>, hits: &mut Hits) {
        let Some(root) = self.ends.first() else { return };
        hits.add(root);
        let mut node = 0;
        for byte in bytes {
            let Some(next) = self.steps.get(&(node, byte)) else { return };
            node = *next;
            hits.add(&self.ends[node as usize]);
        }
    }
}
