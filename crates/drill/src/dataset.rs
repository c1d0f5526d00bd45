//! A drill as files: one for each stream, with one record a line in order of delivery; `truth.tsv`, which names each line
//! that an attack or a benign twin made; `losses.tsv`, the windows in which a sensor lost what it saw.
//!
//! `drill.json` holds the settings, from which the same files can be made again.
//!
//! Not here: compressing and writing them, which is for whoever has a file system.

use crate::drill::Drill;
use crate::record::{Record, Stream};
use crate::scenario::ScenarioError;
use crate::score::{LOSSES_HEADER, TRUTH_HEADER, loss_line, truth_line};
use crate::settings::{Attack, Life, MONDAY_MORNING, Settings};

/// The name of the truth table.
pub const TRUTH_FILE: &str = "truth.tsv";

/// The name of the table of losses.
pub const LOSSES_FILE: &str = "losses.tsv";

/// The name of the settings.
pub const SETTINGS_FILE: &str = "drill.json";

/// The settings of `datasets/small-drill`. They are not [`Settings::default`], which may change with the needs of demos.
pub fn small_drill() -> Settings {
    Settings {
        seed: 2_026,
        start: MONDAY_MORNING,
        duration_secs: 1_800,
        events_per_sec: 5.0,
        nodes: 4,
        replicas: 2,
        namespaces: ["shop", "payments", "reports"].map(String::from).into(),
        streams: Stream::ALL.into(),
        mix: Vec::new(),
        life: Life::Steady,
        skew_max: 400_000,
        late_share: 0.0,
        late_max: 0,
        attacks: vec![Attack::new("stolen-ci-token", 1_080)],
    }
}

/// Numbers a drill's records by stream, and keeps the truth about them.
#[derive(Debug)]
pub struct Ledger {
    lines: [u64; Stream::ALL.len()],
    truth: String,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { lines: [0; Stream::ALL.len()], truth: TRUTH_HEADER.into() }
    }
}

impl Ledger {
    /// Notes the next record of a drill. Gives its line in the file of its stream, from 1.
    pub fn note(&mut self, drill: &Drill, record: &Record) -> u64 {
        let line = &mut self.lines[record.stream as usize];
        *line += 1;
        if let Some(truth) = record.label.and_then(|label| drill.truth(label)) {
            truth_line(&mut self.truth, record.stream, *line, record.time, &truth);
        }
        *line
    }

    /// The truth table so far.
    pub fn truth(&self) -> &str {
        &self.truth
    }

    /// Records of a stream so far.
    pub fn lines(&self, stream: Stream) -> u64 {
        self.lines[stream as usize]
    }
}

/// Settings as JSON, for people and for making the drill again.
pub fn settings_text(settings: &Settings) -> String {
    // Plain numbers, texts and lists: nothing in there can fail to be written.
    serde_json::to_string_pretty(settings).unwrap_or_default() + "\n"
}

/// The table of what a drill's sensors lost so far.
pub fn losses(drill: &Drill) -> String {
    let mut text = String::from(LOSSES_HEADER);
    for loss in drill.losses() {
        loss_line(&mut text, loss);
    }
    text
}

/// The files of a drill, uncompressed, by name; for drills that fit into memory.
///
/// # Errors
/// See [`Drill::new`].
pub fn files(settings: Settings) -> Result<Vec<(&'static str, Vec<u8>)>, ScenarioError> {
    let about = settings_text(&settings);
    let streams = settings.streams.clone();
    let mut files: Vec<(Stream, Vec<u8>)> = streams.into_iter().map(|stream| (stream, Vec::new())).collect();
    let mut drill = Drill::new(settings)?;
    let mut ledger = Ledger::default();
    while let Some(record) = drill.next() {
        ledger.note(&drill, &record);
        if let Some((_, bytes)) = files.iter_mut().find(|(stream, _)| *stream == record.stream) {
            bytes.extend_from_slice(&record.payload);
            bytes.push(b'\n');
        }
    }
    let mut named: Vec<_> = files.into_iter().map(|(stream, bytes)| (stream.file(), bytes)).collect();
    named.push((TRUTH_FILE, ledger.truth().as_bytes().to_vec()));
    named.push((SETTINGS_FILE, about.into_bytes()));
    named.push((LOSSES_FILE, losses(&drill).into_bytes()));
    Ok(named)
}
