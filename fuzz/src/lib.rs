//! What every fuzz target checks of a decoder, whatever bytes it is given:
//!
//! - it neither panics nor hangs, and its rows become a batch;
//! - records in = used + coverage facts + rejects + held in assembly;
//! - the same records give the same rows, however they are cut into chunks and wherever a lane stops and goes on;
//! - no secret that was replaced is found by replacing again.
//!
//! `scripts/fuzz.sh` runs the targets; the seeds are the samples of `crates/ingest/samples`.

use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, EventBatch, FieldPlan, Lane, LaneClock};
use palisade_ingest::redact::RedactionCounts;
use palisade_ingest::{Decoded, Decoder, Format, Limits, Mapping, Redactor, Settings, decoder};

/// Records in one input at most.
const RECORDS_MAX: usize = 32;

/// Fields that rules ask for, so that the walk takes raw fields along.
const FIELDS: [&str; 6] = ["user.username", "output_fields.proc.name", "proc.name", "a.b", "args", "requestObject"];

/// Decodes each line of `data` as a record of a named format.
///
/// # Panics
/// When one of the promises above does not hold.
pub fn decode(format: &str, data: &[u8]) {
    let format = Format::named(format).expect("a known format");
    let records = if matches!(format, Format::Auditd) || data.contains(&0x1e) {
        data.split(|b| *b == b'\n').take(RECORDS_MAX).collect()
    } else {
        // Documents may go over many lines.
        vec![data]
    };
    check(&format, &records);
}

/// Reads the first part of `data`, up to a line of `---`, as a mapping, and the rest as records.
///
/// # Panics
/// As [`decode`].
pub fn mapped(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Some((mapping, records)) = text.split_once("\n---\n") else { return };
    let Ok(mapping) = Mapping::parse(mapping) else { return };
    let records: Vec<&[u8]> = records.lines().map(str::as_bytes).take(RECORDS_MAX).collect();
    check(&Format::Mapped(Arc::new(mapping)), &records);
}

/// Replaces the secrets of a text, as JSON and as text.
///
/// # Panics
/// When replacing again changes anything, or JSON is none afterwards.
pub fn redact(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let redactor = Redactor::default();
    let mut counts = RedactionCounts::default();
    let once = redactor.text(&text, &mut counts).into_owned();
    assert_eq!(redactor.text(&once, &mut RedactionCounts::default()), once, "text is not settled");
    if let Some(once) = redactor.json(&text, 64, &mut counts) {
        let again = redactor.json(&once, 64, &mut RedactionCounts::default());
        assert!(again.is_none_or(|again| again == once), "a document is not settled: {once}");
    }
    let kept = redactor.remains(data, 4096, 64, &mut counts);
    assert!(kept.len() <= 4096);
}

fn check(format: &Format, records: &[&[u8]]) {
    let plan = Arc::new(FieldPlan::new(FIELDS));
    let limits = Limits {
        record_bytes_max: 64 << 10,
        document_bytes_max: 256 << 10,
        field_values_max: 256,
        list_items_max: 16,
        reject_bytes_max: 512,
        ..Limits::default()
    };
    let settings = Arc::new(Settings { source: "fuzz".into(), limits, plan, ..Settings::default() });
    let lane = Arc::new(Lane::channel("fuzz", "fuzz"));
    let whole = run(format, &lane, &settings, records, Cut::Whole);
    let single = run(format, &lane, &settings, records, Cut::Each);
    assert_eq!(whole, single, "rows depend on where chunks and lives end");
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// All records in one chunk.
    Whole,
    /// One record a chunk, and a new decoder, restored, for each.
    Each,
}

fn run(format: &Format, lane: &Arc<Lane>, settings: &Arc<Settings>, records: &[&[u8]], cut: Cut) -> Vec<String> {
    let make = || decoder(format, Arc::clone(lane), Arc::clone(settings));
    let mut decoder = make();
    let mut clock = LaneClock::new(Tolerance::default());
    let mut out = Decoded::new(Arc::clone(&settings.plan));
    let mut chunk = Chunk::new(Arc::clone(lane));
    for (offset, record) in records.iter().enumerate() {
        chunk.push(record, offset as i64, None, None);
        if cut == Cut::Each {
            decoder.decode(&chunk, &mut clock, &mut out).expect("bad input is no error");
            chunk = Chunk::new(Arc::clone(lane));
            let state = decoder.snapshot().expect("state can be written");
            decoder = make();
            decoder.restore(&state).expect("state can be read");
        }
    }
    decoder.decode(&chunk, &mut clock, &mut out).expect("bad input is no error");
    balance(&out, decoder.as_ref());
    decoder.end(&mut clock, &mut out).expect("bad input is no error");
    balance(&out, decoder.as_ref());
    assert_eq!(decoder.held(), 0, "something is held after the end");
    let batch = out.events.finish().expect("rows are whole");
    let mut told = rows(&batch);
    told.extend(out.rejects.iter().map(|reject| format!("{reject:?}")));
    told.extend(out.coverage.iter().map(|fact| format!("{fact:?}")));
    told
}

fn balance(out: &Decoded, decoder: &dyn Decoder) {
    let counts = out.counts;
    let ended = counts.used + counts.coverage + counts.rejected + decoder.held();
    assert_eq!(counts.records, ended, "records do not add up: {counts:?}");
    assert_eq!(counts.events as usize, out.events.rows(), "events do not add up");
}

fn rows(batch: &EventBatch) -> Vec<String> {
    (0..batch.rows()).map(|row| batch.row_json(row).to_string()).collect()
}
