//! Which rules a batch can fire: each rule is watched through a few atoms, one of which must hold in a row that it holds
//! for. A rule none of whose atoms holds anywhere in the batch is not visited.

use super::compile::{Node, ProgramDraft, slot_cost};
use crate::predicate::Predicate;

/// From atoms to the rules that need them.
#[derive(Debug)]
pub(crate) struct Watch {
    /// The programs that some rule is watched through.
    pub(crate) programs: Vec<usize>,
    /// By program and atom, the rules, by their place in the section.
    rules: Vec<Vec<Vec<u32>>>,
    /// By rule, its atoms; `None` where it can hold without any: all its tests are negated.
    pub(crate) clauses: Vec<Option<Vec<(usize, usize)>>>,
}

/// Atoms, one of which must hold.
#[derive(Clone, Debug)]
struct Clause {
    atoms: Vec<(usize, usize)>,
    /// How dear the dearest field is.
    cost: u32,
    /// How long the shortest literal is: longer ones are rarer.
    worth: usize,
}

impl Watch {
    pub(super) fn new(rules: &[(u32, Node)], programs: &[ProgramDraft]) -> Self {
        let mut watch = Self {
            programs: Vec::new(),
            rules: programs.iter().map(|program| vec![Vec::new(); program.atoms.len()]).collect(),
            clauses: Vec::new(),
        };
        for (place, (_, node)) in (0u32..).zip(rules) {
            let Some(clause) = clause(node, programs) else {
                watch.clauses.push(None);
                continue;
            };
            for (program, atom) in &clause.atoms {
                watch.rules[*program][*atom].push(place);
                watch.programs.push(*program);
            }
            watch.clauses.push(Some(clause.atoms));
        }
        watch.programs.sort_unstable();
        watch.programs.dedup();
        watch
    }

    /// The atoms of a program that rules are watched through.
    pub(crate) fn atoms(&self, program: usize) -> Vec<u32> {
        let rules = (0u32..).zip(self.rules.get(program).into_iter().flatten());
        rules.filter(|(_, rules)| !rules.is_empty()).map(|(atom, _)| atom).collect()
    }

    /// The rules that are watched through an atom.
    pub(crate) fn rules(&self, program: usize, atom: usize) -> &[u32] {
        &self.rules[program][atom]
    }
}

/// The best set of atoms that a condition cannot hold without.
fn clause(node: &Node, programs: &[ProgramDraft]) -> Option<Clause> {
    match node {
        Node::Shared { program, atom } => {
            let draft = &programs[*program];
            let worth = draft.atoms[*atom].iter().map(worth).min().unwrap_or(0);
            Some(Clause { atoms: vec![(*program, *atom)], cost: slot_cost(draft.slot), worth })
        }
        Node::Costly(_) | Node::Not(_) | Node::AtLeast(0, _) => None,
        Node::And(all) => all
            .iter()
            .filter_map(|node| clause(node, programs))
            .min_by_key(|clause| (clause.cost, std::cmp::Reverse(clause.worth.min(8)), clause.atoms.len())),
        Node::Or(all) | Node::AtLeast(_, all) => {
            let mut joined = Clause { atoms: Vec::new(), cost: 0, worth: usize::MAX };
            for node in all {
                let own = clause(node, programs)?;
                joined.atoms.extend(own.atoms);
                joined.cost = joined.cost.max(own.cost);
                joined.worth = joined.worth.min(own.worth);
            }
            joined.atoms.sort_unstable();
            joined.atoms.dedup();
            Some(joined)
        }
    }
}

fn worth(test: &Predicate) -> usize {
    match test {
        Predicate::Contains(_, text) => text.len(),
        // A place is worth something too.
        Predicate::Prefix(_, text) | Predicate::Suffix(_, text) | Predicate::Equal(_, text) => text.len() + 2,
        Predicate::Whole(_) => 3,
        Predicate::Net(_) => 4,
        _ => 0,
    }
}
