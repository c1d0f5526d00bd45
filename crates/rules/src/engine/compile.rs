//! From expressions to sections: rules that see the same rows, with the tests that they share.

use std::collections::BTreeMap;

use ahash::HashMap;
use palisade_events::FieldPlan;
use palisade_events::schema::AnyColumn;

use super::needles::{demanded, needles};
use super::program::Program;
use super::values::Slot;
use super::watch::Watch;
use crate::expr::{Expr, Relation, Source};
use crate::predicate::Predicate;
use crate::rule::Rule;
use crate::taxonomy::RowFilter;
use crate::text::Case;
use crate::{Error, Result};

/// Rules that see the same rows.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) filter: RowFilter,
    /// Number of the raw field that tells which payloads were read as JSON.
    pub(crate) whole: Option<usize>,
    pub(crate) programs: Vec<Program>,
    pub(crate) costly: Vec<Costly>,
    /// Number of each rule, and its condition.
    pub(crate) rules: Vec<(u32, Node)>,
    /// Which of them can hold at all, by what a batch has.
    pub(crate) watch: Watch,
}

/// Tests that are made value by value, and only for rows that are still wanted.
#[derive(Debug)]
pub(crate) enum Costly {
    Any(Slot, Vec<Predicate>),
    Related(Slot, Relation, Case, Slot),
}

/// A condition over the atoms of a section.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// Atom of a program.
    Shared {
        program: usize,
        atom: usize,
    },
    Costly(usize),
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    AtLeast(usize, Vec<Node>),
}

/// Groups and compiles rules.
///
/// # Errors
/// When the plan lacks a path.
pub(crate) fn sections(rules: &[Rule], plan: &FieldPlan) -> Result<Vec<Section>> {
    let mut groups: BTreeMap<&RowFilter, Vec<(u32, &Rule)>> = BTreeMap::new();
    for (number, rule) in rules.iter().enumerate() {
        groups.entry(&rule.rows).or_default().push((number as u32, rule));
    }
    let mut sections = Vec::with_capacity(groups.len());
    for (filter, rules) in groups {
        let mut draft = Draft {
            plan,
            programs: Vec::new(),
            by_slot: HashMap::default(),
            costly: Vec::new(),
            costly_known: HashMap::default(),
        };
        let mut nodes = Vec::with_capacity(rules.len());
        for (number, rule) in rules {
            let node =
                draft.node(&rule.lowered.expr).map_err(|path| Error::Unplanned { rule: rule.title.clone(), path })?;
            nodes.push((number, node));
        }
        let watch = Watch::new(&nodes, &draft.programs);
        let programs = draft.programs.iter().enumerate();
        let programs = programs.map(|(number, p)| Program::new(p.slot, &p.atoms, &watch.atoms(number)));
        let programs = programs.collect();
        let whole = plan.whole();
        sections.push(Section { filter: filter.clone(), whole, programs, costly: draft.costly, rules: nodes, watch });
    }
    Ok(sections)
}

struct Draft<'p> {
    plan: &'p FieldPlan,
    programs: Vec<ProgramDraft>,
    by_slot: HashMap<String, usize>,
    costly: Vec<Costly>,
    costly_known: HashMap<String, usize>,
}

pub(super) struct ProgramDraft {
    pub(super) slot: Slot,
    pub(super) atoms: Vec<Vec<Predicate>>,
    known: HashMap<String, usize>,
}

impl Draft<'_> {
    fn slot(&self, source: &Source) -> Result<Slot, String> {
        Ok(match source {
            Source::Column(column) => Slot::Column(*column),
            Source::Raw(path) => Slot::Raw(self.plan.number(path).ok_or_else(|| path.to_string())?),
            Source::Event => Slot::Event,
        })
    }

    /// Lowers an expression; the error is a path that is not planned.
    fn node(&mut self, expr: &Expr) -> Result<Node, String> {
        Ok(match expr {
            Expr::Any(source, tests) => {
                let slot = self.slot(source)?;
                let (shared, costly): (Vec<_>, Vec<_>) = tests.iter().cloned().partition(Predicate::is_shared);
                let mut nodes = Vec::new();
                if !shared.is_empty() {
                    nodes.push(self.shared(slot, shared));
                }
                let mut open = Vec::new();
                for test in costly {
                    match needles(&test) {
                        Some(needles) => {
                            let first = self.shared(slot, demanded(needles).collect());
                            nodes.push(Node::And(vec![first, self.costly(Costly::Any(slot, vec![test]))]));
                        }
                        None => open.push(test),
                    }
                }
                if !open.is_empty() {
                    let first = self.shared(slot, vec![Predicate::Exists]);
                    nodes.push(Node::And(vec![first, self.costly(Costly::Any(slot, open))]));
                }
                joined(nodes, Node::Or)
            }
            Expr::Related(left, relation, case, right) => {
                let (left, right) = (self.slot(left)?, self.slot(right)?);
                let both = [left, right].map(|slot| self.shared(slot, vec![Predicate::Exists]));
                let mut nodes = Vec::from(both);
                nodes.push(self.costly(Costly::Related(left, *relation, *case, right)));
                Node::And(nodes)
            }
            Expr::And(all) => joined(self.nodes(all)?, Node::And),
            Expr::Or(all) => joined(self.nodes(all)?, Node::Or),
            Expr::AtLeast(n, all) => Node::AtLeast(*n, self.nodes(all)?),
            Expr::Not(inner) => Node::Not(Box::new(self.node(inner)?)),
        })
    }

    /// Cheap and telling parts first: what they leave over is all that the others are asked about.
    fn nodes(&mut self, all: &[Expr]) -> Result<Vec<Node>, String> {
        let mut nodes = all.iter().map(|e| self.node(e)).collect::<Result<Vec<_>, _>>()?;
        nodes.sort_by_key(|node| self.cost(node));
        Ok(nodes)
    }

    fn shared(&mut self, slot: Slot, tests: Vec<Predicate>) -> Node {
        let program = *self.by_slot.entry(format!("{slot:?}")).or_insert_with(|| {
            self.programs.push(ProgramDraft { slot, atoms: Vec::new(), known: HashMap::default() });
            self.programs.len() - 1
        });
        let ProgramDraft { atoms, known, .. } = &mut self.programs[program];
        let atom = *known.entry(format!("{tests:?}")).or_insert_with(|| {
            atoms.push(tests);
            atoms.len() - 1
        });
        Node::Shared { program, atom }
    }

    fn costly(&mut self, costly: Costly) -> Node {
        let number = *self.costly_known.entry(format!("{costly:?}")).or_insert_with(|| {
            self.costly.push(costly);
            self.costly.len() - 1
        });
        Node::Costly(number)
    }

    fn cost(&self, node: &Node) -> u32 {
        match node {
            Node::Shared { program, .. } => slot_cost(self.programs[*program].slot),
            Node::Costly(number) => match &self.costly[*number] {
                Costly::Any(slot, _) => 10 + slot_cost(*slot),
                Costly::Related(..) => 10,
            },
            // Negations mostly hold, so they leave over nearly all rows: they come after what they cost the same as.
            Node::Not(inner) => self.cost(inner) + 5,
            Node::And(all) | Node::Or(all) | Node::AtLeast(_, all) => {
                1 + all.iter().map(|node| self.cost(node)).max().unwrap_or(0)
            }
        }
    }
}

/// How dear it is to look at a field: by distinct value, by row, or by whole event.
pub(super) fn slot_cost(slot: Slot) -> u32 {
    match slot {
        Slot::Column(AnyColumn::Text(_) | AnyColumn::Words(_) | AnyColumn::Time(_)) => 3,
        Slot::Column(_) | Slot::Raw(_) => 0,
        Slot::Event => 20,
    }
}

fn joined(mut nodes: Vec<Node>, join: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(only) if nodes.is_empty() => only,
        last => {
            nodes.extend(last);
            join(nodes)
        }
    }
}
