//! Counting the events of one lane.
//!
//! A row costs a look-up by its entity's code in the batch; names are hashed and compared once per entity, pane and
//! batch.

use arrow::record_batch::RecordBatch;
use palisade_events::seam::{LaneFold, Pane};
use palisade_events::{EntityKind, EventBatch, Result};

use crate::tally::{OpenPanes, Rows, Witnesses};

/// Counts the events of one lane.
pub(super) struct RateFold {
    kinds: Vec<EntityKind>,
    open: OpenPanes,
    /// By entity code; all empty between panes.
    scratch: Vec<Rows>,
    /// Codes with rows in the current pane.
    touched: Vec<usize>,
}

impl RateFold {
    pub(super) fn new(kinds: Vec<EntityKind>, open: OpenPanes) -> Self {
        Self { kinds, open, scratch: Vec::new(), touched: Vec::new() }
    }
}

impl LaneFold for RateFold {
    fn fold(&mut self, batch: &EventBatch, panes: &[(Pane, Vec<u32>)]) -> Result<()> {
        let mut witnesses = Witnesses::of(batch);
        let (times, uids) = (witnesses.times, witnesses.uids);
        for (series, &kind) in self.kinds.iter().enumerate() {
            let entities = batch.entities(kind);
            if entities.distinct().is_empty() {
                continue;
            }
            let accounts = (kind == EntityKind::User && self.kinds.contains(&EntityKind::ServiceAccount))
                .then(|| batch.entities(EntityKind::ServiceAccount))
                .filter(|accounts| !accounts.distinct().is_empty());
            if self.scratch.len() < entities.distinct().len() {
                self.scratch.resize(entities.distinct().len(), Rows::EMPTY);
            }
            for (pane, rows) in panes {
                self.touched.clear();
                for &row in rows {
                    let at = row as usize;
                    let Some(code) = entities.code(at) else { continue };
                    if accounts.is_some_and(|accounts| accounts.code(at).is_some()) {
                        continue;
                    }
                    let tally = &mut self.scratch[code];
                    if tally.is_empty() {
                        self.touched.push(code);
                    }
                    tally.add(row, times, uids);
                }
                if self.touched.is_empty() {
                    continue;
                }
                let mut open = self.open.pane(*pane);
                for &code in &self.touched {
                    let rows = std::mem::replace(&mut self.scratch[code], Rows::EMPTY);
                    open.add(series as u16, &entities.distinct()[code], "", &rows, &mut witnesses);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, pane: Pane) -> Result<Option<RecordBatch>> {
        self.open.take(pane)
    }

    fn snapshot(&self) -> Result<Vec<(Pane, RecordBatch)>> {
        self.open.snapshot()
    }

    fn restore(&mut self, pane: Pane, partial: &RecordBatch) -> Result<()> {
        self.open.restore(pane, partial)
    }
}
