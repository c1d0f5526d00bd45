//! Findings on their way to sinks: handed over only after they landed, kept until every sink took them.

use std::collections::VecDeque;

use palisade_events::{Finding, Sink};

use crate::error::{Error, Result};

/// Findings kept for sinks that do not take them. The oldest go first beyond this; they stay in the lake.
const KEPT_MAX: usize = 10_000;
/// Findings handed over at once.
const BATCH: usize = 500;
/// Name of the state piece that holds what was not delivered at a cut.
pub(super) const PIECE: &str = "run/outbox";

pub(super) struct Outbox {
    /// Each with its own queue, so that one sink that hangs does not hold up the others.
    sinks: Vec<(Box<dyn Sink>, VecDeque<Finding>)>,
    /// In a cut that has not landed yet.
    unlanded: Vec<Finding>,
}

impl Outbox {
    /// `undelivered` landed in an earlier run, whose sinks may not have had them.
    pub(super) fn new(sinks: Vec<Box<dyn Sink>>, undelivered: Vec<Finding>) -> Self {
        let sinks = sinks.into_iter().map(|sink| (sink, undelivered.iter().cloned().collect())).collect();
        Self { sinks, unlanded: Vec::new() }
    }

    /// Findings of the cut that now begins.
    pub(super) fn add(&mut self, findings: Vec<Finding>) {
        if !self.sinks.is_empty() {
            self.unlanded.extend(findings);
        }
    }

    /// The cut has landed: its findings may go out.
    pub(super) fn landed(&mut self) {
        let findings = std::mem::take(&mut self.unlanded);
        for (sink, queue) in &mut self.sinks {
            queue.extend(findings.iter().cloned());
            if queue.len() > KEPT_MAX {
                let dropped = queue.len() - KEPT_MAX;
                queue.drain(..dropped);
                tracing::error!(sink = sink.name(), dropped, "sink takes nothing: findings stay in the lake only");
            }
        }
    }

    /// Hands over what waits. True if anything was taken.
    pub(super) fn deliver(&mut self) -> bool {
        let mut any = false;
        for (sink, queue) in &mut self.sinks {
            while !queue.is_empty() {
                let batch: Vec<Finding> = queue.iter().take(BATCH).cloned().collect();
                match sink.deliver(&batch) {
                    Ok(()) => {
                        queue.drain(..batch.len());
                        any = true;
                    }
                    Err(error) if error.retry => {
                        tracing::warn!(%error, "findings wait for their sink");
                        break;
                    }
                    Err(error) => {
                        tracing::error!(%error, findings = queue.len(), "sink is gone: findings stay in the lake only");
                        queue.clear();
                    }
                }
            }
        }
        any
    }

    /// Findings that wait for the slowest sink.
    pub(super) fn waiting(&self) -> usize {
        self.sinks.iter().map(|(_, queue)| queue.len()).max().unwrap_or(0)
    }

    /// What a run that takes over would have to deliver: everything that some sink may not have had.
    pub(super) fn piece(&self) -> Result<Option<(String, Vec<u8>)>> {
        let longest = self.sinks.iter().map(|(_, queue)| queue).max_by_key(|queue| queue.len());
        let Some(queue) = longest else { return Ok(None) };
        let all: Vec<&Finding> = queue.iter().chain(&self.unlanded).collect();
        let kept = &all[all.len().saturating_sub(KEPT_MAX)..];
        let bytes = serde_json::to_vec(kept).map_err(|e| Error::State(format!("outbox: {e}")))?;
        Ok(Some((PIECE.into(), bytes)))
    }

    /// Reads back what [`piece`](Self::piece) wrote.
    pub(super) fn read(bytes: &[u8]) -> Result<Vec<Finding>> {
        serde_json::from_slice(bytes).map_err(|e| Error::State(format!("outbox: {e}")))
    }
}
