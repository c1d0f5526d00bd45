//! One section over one batch. All scratch lives here and is dropped with the batch.

use palisade_events::{EventBatch, FieldColumn};

use super::Match;
use super::compile::{Costly, Node, Section};
use super::values::{EventTexts, Values};
use crate::bits::Bits;
use crate::predicate::text_of;

/// The state of a section's evaluation over a batch.
pub(crate) struct Run<'e, 'b> {
    section: &'e Section,
    /// The rows that the section sees.
    rows: Bits,
    count: usize,
    programs: Vec<ProgramRun<'b>>,
    costly: Vec<CostlyRun<'b>>,
    buffer: String,
    hits: Vec<u32>,
}

/// How far a program has come. Rows are evaluated when the first rule wants them.
struct ProgramRun<'b> {
    values: Values<'b>,
    /// By atom, the rows for which it holds among those done; `None` while there is none.
    atoms: Vec<Option<Bits>>,
    done: Bits,
    is_complete: bool,
    /// By code, 1 + the place in `lists` of the atoms that hold; 0 while unknown.
    known: Vec<u32>,
    lists: Vec<Box<[u32]>>,
}

/// What is known of a costly test, by code of a value that rows share.
struct CostlyRun<'b> {
    left: Values<'b>,
    right: Values<'b>,
    known: Vec<Option<bool>>,
}

impl<'e, 'b> Run<'e, 'b> {
    pub(crate) fn new(
        section: &'e Section,
        batch: &'b EventBatch,
        fields: &'b [FieldColumn],
        texts: &'b EventTexts,
        rows: Bits,
    ) -> Self {
        let values = |slot| Values::of(slot, batch, fields, texts);
        let count = batch.rows();
        let programs = section.programs.iter().map(|program| ProgramRun {
            values: values(program.slot),
            atoms: vec![None; program.atoms],
            done: Bits::none(count),
            is_complete: false,
            known: Vec::new(),
            lists: vec![Box::default()],
        });
        let costly = section.costly.iter().map(|costly| {
            let (left, right) = match costly {
                Costly::Any(slot, _) => (values(*slot), Values::Absent),
                Costly::Related(left, _, _, right) => (values(*left), values(*right)),
            };
            CostlyRun { left, right, known: Vec::new() }
        });
        let (programs, costly) = (programs.collect(), costly.collect());
        Self { section, rows, count, programs, costly, buffer: String::new(), hits: Vec::new() }
    }

    /// Adds the matches of all rules.
    pub(crate) fn matches(mut self, matches: &mut Vec<Match>) {
        let section = self.section;
        let rows = self.rows.clone();
        for (rule, node) in &section.rules {
            if let Some(found) = self.rows_of(node, &rows) {
                matches.extend(found.rows().map(|row| Match { rule: *rule, row: row as u32 }));
            }
        }
    }

    /// The rows among `mask` for which a condition holds; `None` for none.
    fn rows_of(&mut self, node: &Node, mask: &Bits) -> Option<Bits> {
        match node {
            Node::Shared { program, atom } => {
                self.advance(*program, mask);
                self.programs[*program].atoms[*atom].as_ref()?.and(mask).some()
            }
            Node::Costly(number) => self.costly_rows(*number, mask),
            Node::And(all) => {
                let (first, rest) = all.split_first()?;
                let mut left = self.rows_of(first, mask)?;
                for node in rest {
                    left = self.rows_of(node, &left)?;
                }
                Some(left)
            }
            Node::Or(all) => {
                let mut found: Option<Bits> = None;
                for node in all {
                    match &mut found {
                        None => found = self.rows_of(node, mask),
                        Some(found) => {
                            let open = mask.and_not(found);
                            if let Some(more) = open.some().and_then(|open| self.rows_of(node, &open)) {
                                found.or_assign(&more);
                            }
                        }
                    }
                }
                found
            }
            Node::Not(inner) => match self.rows_of(inner, mask) {
                None => Some(mask.clone()),
                Some(found) => mask.and_not(&found).some(),
            },
            Node::AtLeast(n, all) => {
                // `reached[k]` are the rows for which more than k of the parts so far hold.
                let mut reached = vec![Bits::none(self.count); *n];
                for node in all {
                    let Some(found) = self.rows_of(node, mask) else { continue };
                    for k in (0..*n).rev() {
                        let more = if k == 0 { found.clone() } else { reached[k - 1].and(&found) };
                        reached[k].or_assign(&more);
                    }
                }
                reached.pop()?.some()
            }
        }
    }

    /// Evaluates a program for the rows of `mask` that it has not seen.
    fn advance(&mut self, number: usize, mask: &Bits) {
        let program = &self.section.programs[number];
        let (buffer, hits, count) = (&mut self.buffer, &mut self.hits, self.count);
        let ProgramRun { values, atoms, done, is_complete, known, lists } = &mut self.programs[number];
        if *is_complete {
            return;
        }
        if let Some(codes) = values.shared_codes() {
            known.resize(codes, 0);
        }
        let mut mark = |row: usize, hits: &[u32]| {
            for atom in hits {
                atoms[*atom as usize].get_or_insert_with(|| Bits::none(count)).set(row);
            }
        };
        for row in mask.and_not(done).rows() {
            values.codes(row, |code| {
                if let Some(place) = known.get(code).and_then(|place| place.checked_sub(1)) {
                    mark(row, &lists[place as usize]);
                    return;
                }
                hits.clear();
                values.value(code, |value| program.hits(value, buffer, hits));
                mark(row, hits);
                if let Some(place) = known.get_mut(code) {
                    // Most values hold nothing: they share the first, empty list.
                    *place = 1;
                    if !hits.is_empty() {
                        lists.push(hits.as_slice().into());
                        *place = lists.len() as u32;
                    }
                }
            });
        }
        done.or_assign(mask);
        *is_complete = *done == self.rows;
    }

    fn costly_rows(&mut self, number: usize, mask: &Bits) -> Option<Bits> {
        let CostlyRun { left, right, known } = &mut self.costly[number];
        let mut found = Bits::none(self.count);
        match &self.section.costly[number] {
            Costly::Any(_, tests) => {
                if let Some(codes) = left.shared_codes() {
                    known.resize(codes, None);
                }
                for row in mask.rows() {
                    let mut holds = false;
                    left.codes(row, |code| {
                        if holds {
                            return;
                        }
                        let test = || left.value(code, |value| tests.iter().any(|test| test.holds(value)));
                        holds = match known.get_mut(code) {
                            Some(known) => *known.get_or_insert_with(test),
                            None => test(),
                        };
                    });
                    if holds {
                        found.set(row);
                    }
                }
            }
            Costly::Related(_, relation, case, _) => {
                let texts = |values: &Values<'_>, row: usize| {
                    let mut all = Vec::new();
                    values.codes(row, |code| {
                        all.extend(values.value(code, |value| text_of(value).map(|text| case.of(&text).into_owned())));
                    });
                    all
                };
                for row in mask.rows() {
                    let left = texts(left, row);
                    if !left.is_empty() {
                        let right = texts(right, row);
                        if left.iter().any(|l| right.iter().any(|r| relation.holds(l, r))) {
                            found.set(row);
                        }
                    }
                }
            }
        }
        found.some()
    }
}
