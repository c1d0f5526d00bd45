//! Rules over lines of JSON, each an event whose fields are as written: which rule matches which lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_events::{EventBatch, FieldPlan};
use serde_json::Value;

use crate::{Engine, Match, Result, RuleSet, batch_of_lines, load};

/// Lines that are evaluated together: enough that what is done once a batch does not count.
const LINES_MAX: usize = 4096;

/// Bytes of lines that are evaluated together, so that long lines need no more memory than that.
const BYTES_MAX: usize = 16 << 20;

/// Rules at work on a stream of lines. Of lines that were evaluated, only the numbers of those that matched are kept.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    lines: Vec<u64>,
    texts: Vec<String>,
    bytes: usize,
    /// By rule, the lines that it matched.
    matches: BTreeMap<u32, Vec<u64>>,
    /// Events evaluated.
    read: u64,
}

impl Replay {
    /// Compiles the rules, which should have been loaded with [`crate::Reading::AsWritten`].
    ///
    /// # Errors
    /// When they cannot be compiled.
    pub fn new(rules: RuleSet) -> Result<Self> {
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        let engine = rules.compile(&plan)?;
        let (lines, texts, matches) = (Vec::new(), Vec::new(), BTreeMap::new());
        Ok(Self { engine, lines, texts, bytes: 0, matches, read: 0 })
    }

    /// Takes the line of that number. A blank one is nothing; what is no JSON object comes back as the reason why it was
    /// left out.
    ///
    /// # Errors
    /// When events make no batch.
    pub fn push(&mut self, number: u64, line: &[u8]) -> palisade_events::Result<Option<String>> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(None);
        }
        let Ok(text) = std::str::from_utf8(line) else { return Ok(Some("not JSON: text that is not UTF-8".into())) };
        let text = load::unmarked(text);
        // As strict as reading fields is: a line that passes here has its fields.
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => {}
            Ok(_) => return Ok(Some("JSON, but no object".into())),
            Err(e) => return Ok(Some(format!("not JSON: {e}"))),
        }
        self.lines.push(number);
        self.texts.push(text.to_owned());
        self.bytes += line.len();
        if self.lines.len() >= LINES_MAX || self.bytes >= BYTES_MAX {
            self.flush()?;
        }
        Ok(None)
    }

    /// Events that were evaluated or wait for it.
    pub fn events(&self) -> u64 {
        self.read + self.lines.len() as u64
    }

    /// Each rule that matched, by id, with its lines in order. Rules come in the order of their ids.
    ///
    /// # Errors
    /// When events make no batch.
    pub fn finish(mut self) -> palisade_events::Result<Vec<(String, Vec<u64>)>> {
        self.flush()?;
        let Self { engine, matches, .. } = self;
        let named = matches
            .into_iter()
            .filter_map(|(rule, lines)| engine.rules().get(rule as usize).map(|rule| (rule.uid.clone(), lines)));
        Ok(named.collect())
    }

    fn flush(&mut self) -> palisade_events::Result<()> {
        let batch = batch_of_lines(self.engine.plan(), self.texts.iter().map(String::as_str))?;
        for one in in_force(&self.engine, &batch) {
            if let Some(line) = self.lines.get(one.row as usize) {
                self.matches.entry(one.rule).or_default().push(*line);
            }
        }
        self.read += self.lines.len() as u64;
        self.lines.clear();
        self.texts.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// The matches that count: those that no exception suppresses.
fn in_force(engine: &Engine, batch: &EventBatch) -> Vec<Match> {
    let mut matches = engine.evaluate(batch);
    let suppressed: Vec<bool> = engine.suppressions(batch, &matches).iter().map(Option::is_some).collect();
    let mut suppressed = suppressed.into_iter();
    matches.retain(|_| suppressed.next() != Some(true));
    matches
}
