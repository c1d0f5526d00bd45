//! Rules over lines of JSON, each an event whose fields are as written: which rule matches which lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_events::{EventBatch, FieldPlan};
use serde_json::Value;

use crate::{Engine, JsonEvent, Match, Result, RuleSet, batch_of_json};

/// Lines that are evaluated together: enough that what is done once a batch does not count.
const LINES_MAX: usize = 4096;

/// Bytes of lines that are evaluated together, so that long lines need no more memory than that.
const BYTES_MAX: usize = 16 << 20;

/// Rules at work on a stream of lines. Of lines that were evaluated, only the numbers of those that matched are kept.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    lines: Vec<u64>,
    events: Vec<JsonEvent>,
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
        let (lines, events, matches) = (Vec::new(), Vec::new(), BTreeMap::new());
        Ok(Self { engine, lines, events, bytes: 0, matches, read: 0 })
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
        let event = match serde_json::from_slice::<Value>(line) {
            Ok(event @ Value::Object(_)) => event,
            Ok(_) => return Ok(Some("JSON, but no object".into())),
            Err(e) => return Ok(Some(format!("not JSON: {e}"))),
        };
        self.lines.push(number);
        self.events.push(JsonEvent { format: "json".into(), event, ..JsonEvent::default() });
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
        let batch = batch(self.engine.plan(), &self.events)?;
        for one in in_force(&self.engine, &batch) {
            if let Some(line) = self.lines.get(one.row as usize) {
                self.matches.entry(one.rule).or_default().push(*line);
            }
        }
        self.read += self.lines.len() as u64;
        self.lines.clear();
        self.events.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// The one place where lines become columns.
fn batch(plan: &Arc<FieldPlan>, events: &[JsonEvent]) -> palisade_events::Result<EventBatch> {
    batch_of_json(plan, events)
}

/// The matches that count: the one place where those that an exception suppresses are to be left out.
pub(super) fn in_force(engine: &Engine, batch: &EventBatch) -> Vec<Match> {
    engine.evaluate(batch)
}
