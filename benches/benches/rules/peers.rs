//! Both engines behind the same few calls.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use palisade_events::{EventBatch, FieldPlan};
use palisade_rules::{Engine, Reading, RuleSet, batch_of_lines};
use rsigma_parser::{SigmaCollection, SigmaRule, parse_sigma_file};
use serde_json::Value;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A rule's id and the line that it matches.
pub(crate) type Found = (String, usize);

/// The rules of a folder, file by file.
pub(crate) struct Corpus {
    files: Vec<(PathBuf, SigmaRule)>,
}

impl Corpus {
    pub(crate) fn load(folder: &Path) -> Outcome<Self> {
        let mut files = Vec::new();
        walk(folder, &mut files)?;
        files.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(Self { files })
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// Every so manyth rule, so that `count` remain.
    fn chosen(&self, count: usize) -> impl Iterator<Item = &(PathBuf, SigmaRule)> {
        let all = self.len();
        let is_chosen = move |n: usize| n * count / all != (n + 1) * count / all;
        self.files.iter().enumerate().filter(move |(n, _)| is_chosen(*n)).map(|(_, file)| file)
    }

    pub(crate) fn ours(&self, count: usize, reading: Reading) -> Outcome<Ours> {
        let paths: Vec<PathBuf> = self.chosen(count).map(|(path, _)| path.clone()).collect();
        let (rules, problems) = RuleSet::load_as(&paths, reading)?;
        if let Some(problem) = problems.iter().find(|problem| problem.fatal) {
            return Err(problem.to_string().into());
        }
        assert_eq!(rules.rules().len(), count, "no rule is left out");
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        Ok(Ours { engine: rules.compile(&plan)?, plan })
    }

    pub(crate) fn theirs(&self, count: usize, bloom: bool) -> Outcome<Theirs> {
        let mut rules = SigmaCollection::new();
        rules.rules = self.chosen(count).map(|(_, rule)| rule.clone()).collect();
        let mut engine = rsigma_eval::Engine::new();
        engine.set_bloom_prefilter(bloom);
        engine.add_collection(&rules)?;
        assert_eq!(engine.rule_count(), count, "no rule is left out");
        Ok(Theirs { engine })
    }
}

fn walk(folder: &Path, files: &mut Vec<(PathBuf, SigmaRule)>) -> Outcome<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|e| e == "yml") {
            let parsed = parse_sigma_file(&path)?;
            files.extend(parsed.rules.into_iter().map(|rule| (path.clone(), rule)));
        }
    }
    Ok(())
}

pub(crate) struct Ours {
    engine: Engine,
    plan: Arc<FieldPlan>,
}

impl Ours {
    /// How many fields of events are read.
    pub(crate) fn fields(&self) -> usize {
        self.plan.paths().len()
    }

    pub(crate) fn batches(&self, lines: &[String], rows: usize) -> Outcome<Vec<EventBatch>> {
        lines.chunks(rows).map(|part| Ok(batch_of_lines(&self.plan, part.iter().map(String::as_str))?)).collect()
    }

    pub(crate) fn matches(&self, batches: &[EventBatch]) -> usize {
        batches.iter().map(|batch| self.engine.evaluate(batch).len()).sum()
    }

    /// Lines to matches, a batch at a time.
    pub(crate) fn read(&self, lines: &[String], rows: usize) -> Outcome<usize> {
        let mut count = 0;
        for part in lines.chunks(rows) {
            count += self.engine.evaluate(&batch_of_lines(&self.plan, part.iter().map(String::as_str))?).len();
        }
        Ok(count)
    }

    pub(crate) fn found(&self, lines: &[String], rows: usize) -> Outcome<Vec<Found>> {
        let mut all = Vec::new();
        for (part, batch) in self.batches(lines, rows)?.iter().enumerate() {
            let of = |m: palisade_rules::Match| {
                (self.engine.rules()[m.rule as usize].uid.clone(), part * rows + m.row as usize)
            };
            all.extend(self.engine.evaluate(batch).into_iter().map(of));
        }
        all.sort_unstable();
        Ok(all)
    }
}

pub(crate) struct Theirs {
    engine: rsigma_eval::Engine,
}

impl Theirs {
    pub(crate) fn matches(&self, events: &[Value]) -> usize {
        events.iter().map(|event| self.engine.evaluate(&rsigma_eval::JsonEvent::borrow(event)).len()).sum()
    }

    pub(crate) fn read(&self, lines: &[String]) -> Outcome<usize> {
        let mut count = 0;
        for line in lines {
            let event: Value = serde_json::from_str(line)?;
            count += self.engine.evaluate(&rsigma_eval::JsonEvent::owned(event)).len();
        }
        Ok(count)
    }

    pub(crate) fn found(&self, events: &[Value]) -> Vec<Found> {
        let mut all = Vec::new();
        for (line, event) in events.iter().enumerate() {
            let found = self.engine.evaluate(&rsigma_eval::JsonEvent::borrow(event));
            all.extend(found.into_iter().filter_map(|result| Some((result.header.rule_id.clone()?, line))));
        }
        all.sort_unstable();
        all
    }
}

/// Lines as the peer's user has them before evaluation.
pub(crate) fn parsed(lines: &[String]) -> Outcome<Vec<Value>> {
    lines.iter().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
