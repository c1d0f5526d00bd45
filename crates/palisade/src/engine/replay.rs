//! Repeating recorded decisions after a crash: at the very vector of offsets at which they were first made.
//!
//! A decision is committed before what it caused, and forces a cut at its own vector. So at most one cut's decisions lie
//! beyond the newest manifest: lanes read up to that vector, wait for each other, and then the decisions are repeated.

use std::collections::BTreeMap;

use palisade_events::{Chunk, Decision};

use super::LaneKey;

/// Decisions that landed without the manifest that should have followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    decisions: Vec<Decision>,
    vector: BTreeMap<LaneKey, i64>,
}

impl Replay {
    /// Plans the replay of the decisions of one cut. `None` if there are none that bind anything.
    ///
    /// # Errors
    /// The text that should have been a vector, if it is none.
    pub fn plan(decisions: Vec<Decision>) -> Result<Option<Self>, String> {
        let Some(first) = decisions.first() else { return Ok(None) };
        let vector = serde_json::from_str(&first.lanes).map_err(|e| format!("{e}: {}", first.lanes))?;
        Ok(Some(Self { decisions, vector }))
    }

    /// The offset at which a lane must wait; lanes unknown then wait where they are.
    pub fn limit(&self, key: &str) -> i64 {
        self.vector.get(key).copied().unwrap_or(i64::MIN)
    }

    /// Lanes and the offsets at which they must wait.
    pub fn lanes(&self) -> impl Iterator<Item = (&LaneKey, i64)> {
        self.vector.iter().map(|(key, limit)| (key, *limit))
    }

    /// The decisions to repeat, in order.
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// The decisions to repeat, in order.
    pub fn into_decisions(self) -> Vec<Decision> {
        self.decisions
    }
}

/// Splits a chunk before the first record at or past `limit`: what may be read now, and what must wait.
pub fn split(chunk: Chunk, limit: i64) -> (Option<Chunk>, Option<Chunk>) {
    let at = chunk.records.partition_point(|record| record.offset < limit);
    if at == 0 {
        return (None, Some(chunk));
    }
    if at == chunk.records.len() {
        return (Some(chunk), None);
    }
    let cut = chunk.records[at].start;
    let mut later = Chunk { bytes: chunk.bytes[cut..].to_vec(), ..Chunk::new(chunk.lane.clone()) };
    for record in &chunk.records[at..] {
        let mut record = record.clone();
        record.start -= cut;
        record.end -= cut;
        later.records.push(record);
    }
    let mut now = chunk;
    now.bytes.truncate(cut);
    now.records.truncate(at);
    (Some(now), Some(later))
}
