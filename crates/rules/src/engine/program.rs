//! All look-ups and scans of one field, for all rules of a section at once.

use ahash::HashMap;
use palisade_events::fields::FieldRef;

use super::literals::{Literals, LiteralsDraft, Place};
use super::nets::Nets;
use super::payload::PayloadScan;
use super::values::Slot;
use crate::predicate::{Predicate, text_of};
use crate::text::{Case, fold_into};

/// The shared tests of one field. An atom is one set of tests that some rule asks for, any of which may hold.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) slot: Slot,
    pub(crate) atoms: usize,
    /// For keywords: what tells from the payload as written which of the watched ones may hold.
    pub(crate) payload: Option<PayloadScan>,
    exists: Vec<u32>,
    null: Vec<u32>,
    present: Vec<u32>,
    /// Whole numbers that floats may equal; all other values equal them by their text.
    whole: HashMap<i64, Vec<u32>>,
    nets: Nets,
    folded: Literals,
    exact: Literals,
}

/// The atoms that hold for a value, each once.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    pub(crate) atoms: Vec<u32>,
    /// By atom, the last round that saw it.
    seen: Vec<u32>,
    round: u32,
}

impl Hits {
    /// Empties the list, for a program of so many atoms.
    pub(crate) fn begin(&mut self, atoms: usize) {
        self.atoms.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            self.seen.clear();
            self.round = 1;
        }
        if self.seen.len() < atoms {
            self.seen.resize(atoms, 0);
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, atoms: &[u32]) {
        for atom in atoms {
            if let Some(seen) = self.seen.get_mut(*atom as usize)
                && *seen != self.round
            {
                *seen = self.round;
                self.atoms.push(*atom);
            }
        }
    }
}

impl Program {
    /// Compiles the tests of each atom, in order. Rules are watched through the atoms `watched`.
    pub(crate) fn new(slot: Slot, atoms: &[Vec<Predicate>], watched: &[u32]) -> Self {
        let (mut exists, mut null, mut present) = (Vec::new(), Vec::new(), Vec::new());
        let mut whole: HashMap<i64, Vec<u32>> = HashMap::default();
        let mut nets = Nets::default();
        let (mut folded, mut exact) = (LiteralsDraft::default(), LiteralsDraft::default());
        for (atom, tests) in (0u32..).zip(atoms) {
            for test in tests {
                let mut literal = |case: Case, text: &str, place: Place| match case {
                    Case::Folded => folded.add(text, place, atom),
                    Case::Exact => exact.add(text, place, atom),
                };
                match test {
                    Predicate::Exists => exists.push(atom),
                    Predicate::Null => null.push(atom),
                    Predicate::Present => present.push(atom),
                    Predicate::Contains(case, text) => literal(*case, text, Place::Anywhere),
                    Predicate::Prefix(case, text) => literal(*case, text, Place::Start),
                    Predicate::Suffix(case, text) => literal(*case, text, Place::End),
                    Predicate::Equal(case, text) => literal(*case, text, Place::Whole),
                    Predicate::Whole(n) => {
                        whole.entry(*n).or_default().push(atom);
                        exact.add(&n.to_string(), Place::Whole, atom);
                    }
                    Predicate::Net(net) => nets.add(*net, atom),
                    // Compiled apart: see `Predicate::is_shared`.
                    Predicate::Float(_)
                    | Predicate::Glob(..)
                    | Predicate::Regex(_)
                    | Predicate::Compare(..)
                    | Predicate::Part(..) => {}
                }
            }
        }
        let payload = if slot == Slot::Event { PayloadScan::new(atoms, watched) } else { None };
        let (folded, exact) = (folded.compile(), exact.compile());
        Self { slot, atoms: atoms.len(), payload, exists, null, present, whole, nets, folded, exact }
    }

    /// Adds the atoms that hold for a value. `buffer` is scratch.
    pub(crate) fn hits(&self, value: FieldRef<'_>, buffer: &mut String, hits: &mut Hits) {
        hits.add(&self.exists);
        if value == FieldRef::Null {
            hits.add(&self.null);
            return;
        }
        hits.add(&self.present);
        if let FieldRef::Float(f) = value
            && f.fract() == 0.0
            && (-(2f64.powi(63))..2f64.powi(63)).contains(&f)
            && let Some(atoms) = self.whole.get(&(f as i64))
        {
            hits.add(atoms);
        }
        if let FieldRef::Str(text) = value {
            self.nets.hits(text, hits);
        }
        if self.folded.is_empty() && self.exact.is_empty() {
            return;
        }
        let Some(text) = text_of(value) else { return };
        self.exact.hits(&text, hits);
        if !self.folded.is_empty() {
            fold_into(&text, buffer);
            self.folded.hits(buffer, hits);
        }
    }
}
