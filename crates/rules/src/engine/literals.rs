//! Many literals against one text: whole by a hash, at its ends by a walk along the text, anywhere by one automaton.
//!
//! Literals at an end are kept out of the automaton, which would report each of them wherever it stands.

use ahash::HashMap;
use aho_corasick::automaton::Automaton;
use aho_corasick::{Anchored, BuildError, StartKind, dfa, nfa::contiguous};

use super::program::Hits;

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

    pub(crate) fn compile(self) -> Result<Literals, BuildError> {
        let Self { equal, starts, ends, anywhere } = self;
        Ok(Literals { equal, starts, ends, scan: anywhere.compile()? })
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

/// One automaton for all literals of a field that may stand anywhere.
#[derive(Debug)]
pub(crate) struct Scan {
    automaton: Machine,
    /// By pattern, the atoms.
    users: Vec<Vec<u32>>,
}

impl Scan {
    pub(crate) fn hits(&self, text: &[u8], hits: &mut Hits) {
        let mut see = |pattern: usize| hits.add(&self.users[pattern]);
        match &self.automaton {
            Machine::Dense(dfa) => scan(dfa, text, &mut see),
            Machine::Sparse(nfa) => scan(nfa, text, &mut see),
        }
    }
}

/// Literals on their way into an automaton, each once.
#[derive(Debug, Default)]
pub(crate) struct ScanDraft {
    places: HashMap<Box<str>, usize>,
    texts: Vec<Box<str>>,
    users: Vec<Vec<u32>>,
}

impl ScanDraft {
    pub(crate) fn add(&mut self, text: &str, atom: u32) {
        let number = *self.places.entry(text.into()).or_insert_with(|| {
            self.texts.push(text.into());
            self.users.push(Vec::new());
            self.texts.len() - 1
        });
        self.users[number].push(atom);
    }

    pub(crate) fn compile(self) -> Result<Option<Scan>, BuildError> {
        if self.texts.is_empty() {
            return Ok(None);
        }
        let automaton = Machine::new(self.texts.iter().map(|text| text.as_bytes()))?;
        Ok(Some(Scan { automaton, users: self.users }))
    }
}

/// An automaton over bytes: as a table where that is small enough, else with states of the edges they have.
#[derive(Debug)]
enum Machine {
    Dense(dfa::DFA),
    Sparse(contiguous::NFA),
}

/// Bytes of literals up to which the table is taken: each may be a state of some 64 edges of four bytes.
const DENSE_MAX: usize = 256 * 1024;

impl Machine {
    fn new<'t>(literals: impl Iterator<Item = &'t [u8]> + Clone) -> Result<Self, BuildError> {
        if literals.clone().map(<[u8]>::len).sum::<usize>() <= DENSE_MAX {
            let built = dfa::DFA::builder().start_kind(StartKind::Unanchored).prefilter(false).build(literals);
            return built.map(Self::Dense);
        }
        contiguous::NFA::builder().prefilter(false).build(literals).map(Self::Sparse)
    }
}

/// Calls `see` with every pattern at every place where it ends.
#[inline]
fn scan<A: Automaton>(automaton: &A, text: &[u8], see: &mut impl FnMut(usize)) {
    // Both kinds are built with an unanchored start.
    let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
    let mut tell = |state| {
        (0..automaton.match_len(state)).for_each(|index| see(automaton.match_pattern(state, index).as_usize()));
    };
    if automaton.is_match(state) {
        tell(state);
    }
    for byte in text {
        state = automaton.next_state(Anchored::No, state, *byte);
        if automaton.is_special(state) && automaton.is_match(state) {
            tell(state);
        }
    }
}
