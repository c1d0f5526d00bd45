//! All look-ups and scans of one field, for all rules of a section at once.

use ahash::HashMap;
use aho_corasick::AhoCorasick;
use palisade_events::fields::FieldRef;

use super::values::Slot;
use crate::predicate::{Predicate, text_of};
use crate::text::{Case, fold_into};

/// The shared tests of one field. An atom is one set of tests that some rule asks for, any of which may hold.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) slot: Slot,
    pub(crate) atoms: usize,
    exists: Vec<u32>,
    null: Vec<u32>,
    present: Vec<u32>,
    /// Whole numbers that floats may equal; all other values equal them by their text.
    whole: HashMap<i64, Vec<u32>>,
    folded: Literals,
    exact: Literals,
}

/// Where in the text a literal must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    Start,
    End,
}

/// By pattern of an automaton, where it must stand for which atom.
type Users = Vec<Vec<(Place, u32)>>;

#[derive(Debug, Default)]
struct Literals {
    equal: HashMap<Box<str>, Vec<u32>>,
    /// One automaton for all that is not compared whole, and by pattern who asks for it where.
    scan: Option<(AhoCorasick, Users)>,
}

impl Program {
    /// Compiles the tests of each atom, in order.
    ///
    /// # Errors
    /// When the automaton would grow beyond what its states can number.
    pub(crate) fn new(slot: Slot, atoms: &[Vec<Predicate>]) -> Result<Self, aho_corasick::BuildError> {
        let mut program = Self {
            slot,
            atoms: atoms.len(),
            exists: Vec::new(),
            null: Vec::new(),
            present: Vec::new(),
            whole: HashMap::default(),
            folded: Literals::default(),
            exact: Literals::default(),
        };
        let mut folded = Patterns::default();
        let mut exact = Patterns::default();
        for (atom, tests) in atoms.iter().enumerate() {
            let atom = atom as u32;
            for test in tests {
                let mut literal = |case: Case, text: &str, place: Place| match case {
                    Case::Folded => folded.add(text, place, atom),
                    Case::Exact => exact.add(text, place, atom),
                };
                match test {
                    Predicate::Exists => program.exists.push(atom),
                    Predicate::Null => program.null.push(atom),
                    Predicate::Present => program.present.push(atom),
                    Predicate::Contains(case, text) => literal(*case, text, Place::Anywhere),
                    Predicate::Prefix(case, text) => literal(*case, text, Place::Start),
                    Predicate::Suffix(case, text) => literal(*case, text, Place::End),
                    Predicate::Equal(Case::Folded, text) => program.folded.add_equal(text.clone(), atom),
                    Predicate::Equal(Case::Exact, text) => program.exact.add_equal(text.clone(), atom),
                    Predicate::Whole(n) => {
                        program.whole.entry(*n).or_default().push(atom);
                        program.exact.add_equal(n.to_string().into(), atom);
                    }
                    // Compiled apart: see `Predicate::is_shared`.
                    Predicate::Float(_)
                    | Predicate::Glob(..)
                    | Predicate::Regex(_)
                    | Predicate::Net(_)
                    | Predicate::Compare(..)
                    | Predicate::Part(..) => {}
                }
            }
        }
        program.folded.scan = folded.compile()?;
        program.exact.scan = exact.compile()?;
        Ok(program)
    }

    /// Adds the atoms that hold for a value, some perhaps twice. `buffer` is scratch.
    pub(crate) fn hits(&self, value: FieldRef<'_>, buffer: &mut String, hits: &mut Vec<u32>) {
        hits.extend_from_slice(&self.exists);
        if value == FieldRef::Null {
            hits.extend_from_slice(&self.null);
            return;
        }
        hits.extend_from_slice(&self.present);
        if let FieldRef::Float(f) = value
            && f.fract() == 0.0
            && f.abs() < 9.2e18
            && let Some(atoms) = self.whole.get(&(f as i64))
        {
            hits.extend_from_slice(atoms);
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

impl Literals {
    fn add_equal(&mut self, text: Box<str>, atom: u32) {
        self.equal.entry(text).or_default().push(atom);
    }

    fn is_empty(&self) -> bool {
        self.equal.is_empty() && self.scan.is_none()
    }

    fn hits(&self, text: &str, hits: &mut Vec<u32>) {
        if let Some(atoms) = self.equal.get(text) {
            hits.extend_from_slice(atoms);
        }
        let Some((automaton, users)) = &self.scan else { return };
        for found in automaton.find_overlapping_iter(text) {
            for (place, atom) in &users[found.pattern().as_usize()] {
                let fits = match place {
                    Place::Anywhere => true,
                    Place::Start => found.start() == 0,
                    Place::End => found.end() == text.len(),
                };
                if fits {
                    hits.push(*atom);
                }
            }
        }
    }
}

/// Literals on their way into an automaton, each once.
#[derive(Debug, Default)]
struct Patterns {
    places: HashMap<Box<str>, usize>,
    texts: Vec<Box<str>>,
    users: Users,
}

impl Patterns {
    fn add(&mut self, text: &str, place: Place, atom: u32) {
        let number = *self.places.entry(text.into()).or_insert_with(|| {
            self.texts.push(text.into());
            self.users.push(Vec::new());
            self.texts.len() - 1
        });
        self.users[number].push((place, atom));
    }

    fn compile(self) -> Result<Option<(AhoCorasick, Users)>, aho_corasick::BuildError> {
        if self.texts.is_empty() {
            return Ok(None);
        }
        let automaton = AhoCorasick::new(self.texts.iter().map(|t| t.as_bytes()))?;
        Ok(Some((automaton, self.users)))
    }
}
