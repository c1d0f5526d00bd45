//! One section over one batch. All scratch lives here and is dropped with the batch.

use palisade_events::{EventBatch, FieldColumn};

use super::Match;
use super::compile::{Costly, Node, Section};
use super::payload::Payload;
use super::program::Hits;
use super::values::{EventParts, EventTexts, Values};
use crate::bits::Bits;
use crate::predicate::text_of;

/// The state of a section's evaluation over a batch.
pub(crate) struct Run<'e, 'b> {
    section: &'e Section,
    batch: &'b EventBatch,
    fields: &'b [FieldColumn],
    /// The rows that the section sees.
    rows: Bits,
    count: usize,
    programs: Vec<ProgramRun<'b>>,
    costly: Vec<CostlyRun<'b>>,
    buffer: String,
    hits: Hits,
}

/// How far a program has come. Rows are evaluated when the first rule wants them.
struct ProgramRun<'b> {
    values: Values<'b>,
    /// Nothing is to be done: the field is absent, or all rows are done.
    is_complete: bool,
    /// What holds, among the rows done.
    holds: Marks,
    /// What may hold, for keywords.
    suspected: Marks,
    done: Option<Bits>,
    /// By code of a value that rows share, where in `lists` the atoms that hold are.
    known: Vec<Option<(u32, u32)>>,
    lists: Vec<u32>,
}

/// By atom, the rows for which it holds.
#[derive(Default)]
struct Marks {
    /// By atom, 1 + the place of its rows in `sets`; 0 while it holds for none.
    places: Vec<u32>,
    sets: Vec<Bits>,
    /// The atoms that hold somewhere, in the order of `sets`.
    held: Vec<u32>,
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
        let programs = section.programs.iter().map(|program| {
            let values = values(program.slot);
            ProgramRun {
                values,
                is_complete: values.is_absent(),
                holds: Marks::default(),
                suspected: Marks::default(),
                done: None,
                known: Vec::new(),
                lists: Vec::new(),
            }
        });
        let costly = section.costly.iter().map(|costly| {
            let (left, right) = match costly {
                Costly::Any(slot, _) => (values(*slot), Values::Absent),
                Costly::Related(left, _, _, right) => (values(*left), values(*right)),
            };
            CostlyRun { left, right, known: Vec::new() }
        });
        let (programs, costly) = (programs.collect(), costly.collect());
        let (buffer, hits) = (String::new(), Hits::default());
        Self { section, batch, fields, rows, count: batch.rows(), programs, costly, buffer, hits }
    }

    /// Adds the matches of all rules.
    pub(crate) fn matches(mut self, matches: &mut Vec<Match>) {
        let section = self.section;
        let rows = self.rows.clone();
        let mut wanted = Bits::none(section.rules.len());
        let always = section.watch.clauses.iter().enumerate().filter(|(_, clause)| clause.is_none());
        always.for_each(|(rule, _)| wanted.set(rule));
        for program in &section.watch.programs {
            self.watch(*program, &rows);
            for atom in &self.programs[*program].watched().held {
                section.watch.rules(*program, *atom as usize).iter().for_each(|rule| wanted.set(*rule as usize));
            }
        }
        let mut mask = Bits::none(self.count);
        for place in wanted.rows() {
            let (rule, node) = &section.rules[place];
            let found = match &section.watch.clauses[place] {
                None => self.rows_of(node, &rows),
                Some(clause) => {
                    mask.clear();
                    for (program, atom) in clause {
                        if let Some(rows) = self.programs[*program].watched().rows(*atom) {
                            mask.or_assign(rows);
                        }
                    }
                    self.rows_of(node, &mask)
                }
            };
            if let Some(found) = found {
                matches.extend(found.rows().map(|row| Match { rule: *rule, row: row as u32 }));
            }
        }
    }

    /// Finds the rows of a program's watched atoms, or more.
    fn watch(&mut self, number: usize, rows: &Bits) {
        let program = &self.section.programs[number];
        let Some(scan) = &program.payload else { return self.advance(number, rows) };
        let run = &mut self.programs[number];
        let parts = EventParts::new(self.batch);
        let whole = self.section.whole.and_then(|path| self.fields.get(path));
        for row in rows.rows() {
            self.hits.begin(program.atoms);
            let was_read = whole.is_some_and(|column| !column.codes(row).is_empty());
            let kind = if was_read { Payload::Json } else { Payload::Unknown };
            parts.suspect(row, kind, scan, &mut self.buffer, &mut self.hits);
            run.suspected.mark(program.atoms, row, &self.hits.atoms, self.count);
        }
    }

    /// The rows among `mask` for which a condition holds; `None` for none.
    fn rows_of(&mut self, node: &Node, mask: &Bits) -> Option<Bits> {
        match node {
            Node::Shared { program, atom } => {
                self.advance(*program, mask);
                self.programs[*program].holds.rows(*atom)?.and(mask).some()
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
        let run = &mut self.programs[number];
        if run.is_complete {
            return;
        }
        let program = &self.section.programs[number];
        let (buffer, hits, count) = (&mut self.buffer, &mut self.hits, self.count);
        let open = match &run.done {
            Some(done) => mask.and_not(done),
            None => mask.clone(),
        };
        if let Some(codes) = run.values.shared_codes() {
            run.known.resize(codes, None);
            let values = run.values;
            for row in open.rows() {
                values.codes(row, |code| {
                    let (start, end) = match run.known.get(code) {
                        Some(Some(known)) => *known,
                        _ => {
                            hits.begin(program.atoms);
                            values.value(code, |value| program.hits(value, buffer, hits));
                            let start = run.lists.len() as u32;
                            run.lists.extend_from_slice(&hits.atoms);
                            let found = (start, run.lists.len() as u32);
                            if let Some(known) = run.known.get_mut(code) {
                                *known = Some(found);
                            }
                            found
                        }
                    };
                    run.holds.mark(program.atoms, row, &run.lists[start as usize..end as usize], count);
                });
            }
        } else {
            let values = run.values;
            for row in open.rows() {
                values.codes(row, |code| {
                    hits.begin(program.atoms);
                    values.value(code, |value| program.hits(value, buffer, hits));
                    run.holds.mark(program.atoms, row, &hits.atoms, count);
                });
            }
        }
        let done = run.done.get_or_insert_with(|| Bits::none(count));
        done.or_assign(mask);
        run.is_complete = *done == self.rows;
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
                    if !left.is_empty() && relation.any(&left, &texts(right, row)) {
                        found.set(row);
                    }
                }
            }
        }
        found.some()
    }
}

impl ProgramRun<'_> {
    /// The rows by which rules are watched.
    fn watched(&self) -> &Marks {
        if self.suspected.held.is_empty() { &self.holds } else { &self.suspected }
    }
}

impl Marks {
    fn rows(&self, atom: usize) -> Option<&Bits> {
        let place = self.places.get(atom)?.checked_sub(1)?;
        self.sets.get(place as usize)
    }

    /// Marks a row for some of `all` atoms.
    #[inline]
    fn mark(&mut self, all: usize, row: usize, atoms: &[u32], count: usize) {
        if atoms.is_empty() {
            return;
        }
        if self.places.is_empty() {
            self.places.resize(all, 0);
        }
        for atom in atoms {
            let place = &mut self.places[*atom as usize];
            if *place == 0 {
                self.sets.push(Bits::none(count));
                self.held.push(*atom);
                *place = self.sets.len() as u32;
            }
            self.sets[*place as usize - 1].set(row);
        }
    }
}
