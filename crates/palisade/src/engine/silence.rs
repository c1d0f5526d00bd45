//! Sources that fall silent: told from closed panes alone, so that neither batches nor interleaving nor restarts matter.
//!
//! A lane notes for each open pane which clusters it heard of, with their first and last event on time ([`Heard`]). When
//! the frontier has passed a pane, what all lanes of a source heard in it meets in [`Silences`], which knows of each source
//! and cluster when it last spoke. A silence is told when the frontier shows that it has lasted for as long as the
//! configuration allows, and told again, whole, by the first event that ends it. The windows are made of event times, so
//! the steps in which the frontier moved cannot be seen in them.
//!
//! A silence is no loss: there may have been nothing to tell, and what is known to be missing keeps detectors from learning
//! of every source, also of those that went on.
//!
//! Not here: what the clock says while no event time passes at all (`run/hearing.rs`).

use arrow::array::Array as _;
use std::collections::BTreeMap;
use std::sync::Arc;

use palisade_events::time::{Micros, SECOND, format_rfc3339};
use palisade_events::{Coverage, CoverageKind, EventBatch, Lane, Pane, col};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Pairs of source and cluster that are listened to, and clusters that a lane notes of one pane. A header of a record may
/// name any cluster, and few organizations have so many.
const KEYS_MAX: usize = 4096;
/// Longest name of a cluster that is listened to: names in Kubernetes end at 253 bytes.
const CLUSTER_BYTES_MAX: usize = 256;
/// Name of the piece of state. Those of detectors have a `/`.
const PIECE: &str = "silence";
/// First byte of the piece: the version of the layout of what follows.
const VERSION: u8 = 1;

/// A source and a cluster of it; empty if its events name none.
pub(super) type Key = (String, String);

/// A fact that no record tells, but a closed pane or a decision does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaneFact {
    /// The fact.
    pub fact: Coverage,
    /// The fact is known once the frontier is here, and not before, however it gets there; `None` if a decision told it.
    pub told_at: Option<Micros>,
}

/// First and last event in a pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    first: Micros,
    last: Micros,
}

impl Span {
    fn of(time: Micros) -> Self {
        Self { first: time, last: time }
    }

    pub(super) fn widen(&mut self, other: Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
    }
}

/// The clusters that one lane heard of, by open pane. Minima, maxima and the first names in their order: no order of rows
/// changes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Heard(BTreeMap<Pane, BTreeMap<String, Span>>);

impl Heard {
    /// Notes rows, listed by pane.
    pub(super) fn note(&mut self, events: &EventBatch, panes: &[(Pane, Vec<u32>)]) {
        let clusters = events.word(col::CLUSTER_NAME);
        let times = events.time(col::TIME).values();
        let nameless = clusters.values().len();
        // By code; the last one is of rows that name no cluster. Empty again after each pane.
        let mut spans: Vec<Option<Span>> = vec![None; nameless + 1];
        let mut codes = Vec::new();
        for (pane, rows) in panes {
            for row in rows.iter().map(|row| *row as usize) {
                let (own, code) = (Span::of(times[row]), clusters.code(row).unwrap_or(nameless));
                match &mut spans[code] {
                    Some(span) => span.widen(own),
                    none => {
                        *none = Some(own);
                        codes.push(code);
                    }
                }
            }
            let heard = self.0.entry(*pane).or_default();
            for code in codes.drain(..) {
                let Some(span) = spans[code].take() else { continue };
                note_cluster(heard, if code == nameless { "" } else { clusters.values().value(code) }, span);
            }
        }
    }

    /// Takes what was heard in panes that end by then, in pane order.
    pub(super) fn take_until(&mut self, frontier: Micros) -> Vec<(Pane, BTreeMap<String, Span>)> {
        let mut taken = Vec::new();
        while let Some(oldest) = self.0.first_entry()
            && oldest.key().end <= frontier
        {
            taken.push(oldest.remove_entry());
        }
        taken
    }
}

fn note_cluster(heard: &mut BTreeMap<String, Span>, cluster: &str, span: Span) {
    if let Some(known) = heard.get_mut(cluster) {
        known.widen(span);
        return;
    }
    if cluster.len() > CLUSTER_BYTES_MAX {
        return;
    }
    if heard.len() >= KEYS_MAX {
        // The first names stay, whichever came first.
        if heard.last_key_value().is_some_and(|(last, _)| cluster > last.as_str()) {
            return;
        }
        heard.pop_last();
    }
    heard.insert(cluster.to_owned(), span);
}

/// When a source last spoke of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Voice {
    last: Micros,
    /// That it is silent since was told.
    told: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    voices: BTreeMap<Key, Voice>,
    /// Times that a pair found no room.
    left_out: u64,
}

/// Who speaks and who has fallen silent, as of the frontier.
#[derive(Debug)]
pub(super) struct Silences {
    /// For how long each source may give no event; sources that may do so for ever are not there.
    spans: BTreeMap<String, Micros>,
    pane_length: Micros,
    state: State,
    facts: Vec<PaneFact>,
}

impl Silences {
    pub(super) fn new(spans: BTreeMap<String, Micros>, pane_length: Micros) -> Self {
        Self { spans, pane_length: pane_length.max(1), state: State::default(), facts: Vec::new() }
    }

    /// Takes the facts that were told since the last call, in order.
    pub(super) fn take_facts(&mut self) -> Vec<PaneFact> {
        std::mem::take(&mut self.facts)
    }

    /// Pairs that are listened to, and how often one found no room.
    pub(super) fn gauges(&self) -> [(&'static str, u64); 2] {
        [("listened_to", self.state.voices.len() as u64), ("left_out", self.state.left_out)]
    }

    /// Takes what all lanes heard in the panes that the frontier has passed since the last call.
    pub(super) fn hear(&mut self, heard: BTreeMap<Pane, BTreeMap<Key, Span>>, frontier: Micros) {
        for (pane, keys) in heard {
            // What was due before this pane is told before it, also by a frontier that passes many panes at once.
            self.pass(pane.start);
            for (key, span) in keys {
                self.speak(pane, key, span);
            }
        }
        self.pass(frontier);
    }

    /// Tells of those who have been silent for too long by `frontier`.
    fn pass(&mut self, frontier: Micros) {
        let mut due: Vec<(Micros, &Key, &mut Voice, Micros)> = Vec::new();
        for (key, voice) in self.state.voices.iter_mut().filter(|(_, voice)| !voice.told) {
            let Some(span) = self.spans.get(&key.0).copied() else { continue };
            let told_at = aligned(voice.last.saturating_add(span), self.pane_length);
            if told_at <= frontier {
                due.push((told_at, key, voice, span));
            }
        }
        due.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        for (told_at, key, voice, span) in due {
            voice.told = true;
            self.facts.push(PaneFact { fact: begun(key, voice.last, span), told_at: Some(told_at) });
        }
    }

    /// Notes that a pair spoke in a pane. Panes come in order.
    fn speak(&mut self, pane: Pane, key: Key, heard: Span) {
        let Some(span) = self.spans.get(&key.0).copied() else { return };
        let voices = &mut self.state.voices;
        if let Some(voice) = voices.get_mut(&key) {
            let first = heard.first.max(voice.last);
            // A silence that began and ended within one pane's closing is told once, whole.
            if voice.told || first.saturating_sub(voice.last) >= span {
                self.facts.push(PaneFact { fact: ended(&key, voice.last, first), told_at: Some(pane.end) });
            }
            *voice = Voice { last: heard.last.max(first), told: false };
            return;
        }
        if voices.len() >= KEYS_MAX {
            // Who has been silent for longest makes room: everything about it was told.
            let silent = voices.iter().filter(|(_, voice)| voice.told);
            let Some(oldest) = silent.min_by_key(|(key, voice)| (voice.last, *key)).map(|(key, _)| key.clone()) else {
                self.state.left_out += 1;
                return;
            };
            voices.remove(&oldest);
        }
        voices.insert(key, Voice { last: heard.last, told: false });
    }

    /// Whether something would be told if a source were said to be silent.
    pub(super) fn has_untold(&self, source: &str) -> bool {
        let is_listened_to = self.spans.contains_key(source);
        is_listened_to && self.state.voices.iter().any(|(key, voice)| key.0 == source && !voice.told)
    }

    /// Tells that a source has fallen silent in all its clusters: a decision says so, not the frontier.
    pub(super) fn tell(&mut self, source: &str) {
        let Some(span) = self.spans.get(source).copied() else { return };
        for (key, voice) in self.state.voices.iter_mut().filter(|(key, voice)| key.0 == source && !voice.told) {
            voice.told = true;
            self.facts.push(PaneFact { fact: begun(key, voice.last, span), told_at: None });
        }
    }

    /// The piece of state, if there is anything to remember.
    pub(super) fn snapshot(&self) -> Result<Option<(String, Vec<u8>)>> {
        if self.state.voices.is_empty() {
            return Ok(None);
        }
        let bytes = postcard::to_extend(&self.state, vec![VERSION]).map_err(|e| damaged(e.to_string()))?;
        Ok(Some((PIECE.to_owned(), bytes)))
    }

    /// Puts back what [`snapshot`](Self::snapshot) gave. State without the piece, as of lakes that are older than it, begins
    /// with nobody heard of; sources that are listened to no longer are forgotten.
    pub(super) fn restore(&mut self, pieces: &[(String, Vec<u8>)]) -> Result<()> {
        let Some((_, bytes)) = pieces.iter().find(|(name, _)| name == PIECE) else { return Ok(()) };
        let (version, bytes) = bytes.split_first().ok_or_else(|| damaged("it is empty".into()))?;
        if *version != VERSION {
            return Err(damaged(format!("it has version {version}, this program reads {VERSION}")));
        }
        let mut state: State = postcard::from_bytes(bytes).map_err(|e| damaged(e.to_string()))?;
        state.voices.retain(|(source, _), _| self.spans.contains_key(source));
        self.state = state;
        Ok(())
    }
}

fn damaged(why: String) -> Error {
    Error::State(format!("state of silences: {why}"))
}

/// The first end of a pane at or after a moment.
fn aligned(moment: Micros, pane_length: Micros) -> Micros {
    moment.saturating_add(pane_length - 1).div_euclid(pane_length).saturating_mul(pane_length)
}

/// The fact that a silence has lasted too long.
fn begun(key: &Key, last: Micros, span: Micros) -> Coverage {
    let detail = format!("no event on time for {} s; the last was at {}", secs(span), format_rfc3339(last));
    silence(key, last, last.saturating_add(span), detail)
}

/// The fact that tells a silence whole.
fn ended(key: &Key, last: Micros, first: Micros) -> Coverage {
    let lasted = secs(first.saturating_sub(last));
    silence(key, last, first, format!("the silence ended after {lasted} s, at {}", format_rfc3339(first)))
}

fn silence((source, cluster): &Key, window_start: Micros, window_end: Micros, detail: String) -> Coverage {
    Coverage {
        // No lane in particular: all of the source's.
        lane: Arc::new(Lane::channel(source, "")),
        offset: -1,
        cluster: cluster.clone(),
        kind: CoverageKind::Silence,
        window_start,
        window_end,
        count: -1,
        detail,
    }
}

fn secs(span: Micros) -> f64 {
    span as f64 / SECOND as f64
}

#[cfg(test)]
mod tests;
