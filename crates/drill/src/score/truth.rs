//! The truth table of a drill, as text and as rows.
//!
//! Not here: what it is compared with.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use palisade_events::time::{Micros, format_rfc3339, parse_rfc3339};

use crate::record::{Role, Stream, Truth};
use crate::wire::{Loss, Stated};

/// The first line of a truth table.
pub const TRUTH_HEADER: &str = "stream\tline\ttime\tattack\tscenario\tvariant\trole\tstep\ttechnique\n";

/// The first line of a table of losses.
pub const LOSSES_HEADER: &str = "stream\tnode\tfrom\tuntil\trecords\tstated\n";

/// Appends the row of one record, whose line in its stream's file is counted from 1.
pub fn truth_line(out: &mut String, stream: Stream, line: u64, time: Micros, truth: &Truth<'_>) {
    let Truth { attack, scenario, variant, role, step, technique } = truth;
    let (stream, time, role) = (stream.topic(), format_rfc3339(time), role.name());
    let _ = writeln!(out, "{stream}\t{line}\t{time}\t{attack}\t{scenario}\t{variant}\t{role}\t{step}\t{technique}");
}

/// Appends the row of a window in which a sensor lost what it saw.
pub fn loss_line(out: &mut String, loss: &Loss) {
    let stated = if loss.stated == Stated::Yes { "yes" } else { "no" };
    let node = loss.node.as_deref().unwrap_or("all");
    let (from, until) = (format_rfc3339(loss.from), format_rfc3339(loss.until));
    let _ = writeln!(out, "{}\t{node}\t{from}\t{until}\t{}\t{stated}", loss.stream.topic(), loss.records);
}

/// Says which line of a truth table cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the truth table: {problem}")]
pub struct TruthError {
    /// From 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What is known about one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TruthRow {
    /// Number of the run in the drill.
    pub attack: u16,
    /// Whether it is the attack or its twin.
    pub role: Role,
    /// The step's id.
    pub step: String,
}

/// A step of a run, summed up over its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepTruth {
    pub(crate) attack: u16,
    pub(crate) scenario: String,
    pub(crate) variant: String,
    pub(crate) role: Role,
    pub(crate) step: String,
    pub(crate) technique: String,
    /// Time of its first record.
    pub(crate) began: Micros,
    pub(crate) records: u64,
}

/// Which records of a drill belong to which step of which attack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TruthTable {
    rows: BTreeMap<(Stream, u64), TruthRow>,
    steps: Vec<StepTruth>,
}

impl TruthTable {
    /// Reads a table as [`truth_line`] writes it, with its header.
    ///
    /// # Errors
    /// A line that lacks columns, or whose values cannot be read.
    pub fn parse(text: &str) -> Result<Self, TruthError> {
        let mut table = Self::default();
        for (n, line) in text.lines().enumerate().skip(1) {
            let wrong = |problem| TruthError { line: n + 1, problem };
            let mut cells = line.split('\t');
            let mut cell = || cells.next().ok_or(wrong("a column is missing"));
            let stream = Stream::of_topic(cell()?).ok_or(wrong("no such stream"))?;
            let number = cell()?.parse().map_err(|_| wrong("no line number"))?;
            let time = parse_rfc3339(cell()?).ok_or(wrong("no time"))?;
            let attack = cell()?.parse().map_err(|_| wrong("no number of an attack"))?;
            let (scenario, variant) = (cell()?, cell()?);
            let role = match cell()? {
                "attack" => Role::Attack,
                "twin" => Role::Twin,
                _ => return Err(wrong("neither attack nor twin")),
            };
            let (step, technique) = (cell()?, cell()?);
            table.add(stream, number, time, attack, scenario, variant, role, step, technique);
        }
        table.steps.sort_by(|a, b| (a.attack, a.began, &a.step).cmp(&(b.attack, b.began, &b.step)));
        Ok(table)
    }

    #[allow(clippy::too_many_arguments)] // The columns of the table.
    fn add(
        &mut self,
        stream: Stream,
        line: u64,
        time: Micros,
        attack: u16,
        scenario: &str,
        variant: &str,
        role: Role,
        step: &str,
        technique: &str,
    ) {
        self.rows.insert((stream, line), TruthRow { attack, role, step: step.into() });
        let known = self.steps.iter_mut().rev();
        match known.into_iter().find(|known| known.attack == attack && known.step == step && known.role == role) {
            Some(known) => {
                known.began = known.began.min(time);
                known.records += 1;
            }
            None => self.steps.push(StepTruth {
                attack,
                scenario: scenario.into(),
                variant: variant.into(),
                role,
                step: step.into(),
                technique: technique.into(),
                began: time,
                records: 1,
            }),
        }
    }

    /// What is known about a line of a stream, from 1.
    pub fn row(&self, stream: Stream, line: u64) -> Option<&TruthRow> {
        self.rows.get(&(stream, line))
    }

    /// Labelled records.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is labelled.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(crate) fn steps(&self) -> &[StepTruth] {
        &self.steps
    }

    pub(crate) fn began(&self, attack: u16, step: &str) -> Option<Micros> {
        let of = |known: &&StepTruth| known.attack == attack && known.step == step && known.role == Role::Attack;
        self.steps.iter().find(of).map(|known| known.began)
    }
}
