//! Decoding, per format and on one core: bytes to an Arrow batch of events, as a ratio to `arrow-json` reading the same
//! leaves, and to pure parsing, in the same run.
//!
//! ```sh
//! cargo bench --workspace --bench decode
//! cargo bench --workspace --bench decode -- --format k8s_audit --mebibytes 64 --rounds 7
//! ```
//!
//! What the shape stands for: records of one lane, a thousand a chunk, as a worker of the pipeline decodes them. `shipped`
//! is all that the pipeline does to a record: secrets are looked for, ids hashed, times judged, the original kept, words
//! put into dictionaries. `bare` is the same without looking for secrets. The peer is given less to do: `arrow-json` reads
//! the leaves that the format's decoder reads (`leaves.rs`) into an Arrow schema of their own, without ids, dictionaries,
//! the original, or a reject for what does not fit; leaves whose type changes from record to record, which it refuses, are
//! left out. Pure parsing is `simd-json` filling its tape in a copy of the record, with nothing read from it.
//!
//! The data: the drill's audit events, alerts and audit records; of the other formats the samples of
//! `crates/ingest/samples`, repeated with every id of twelve or more hex digits changed from copy to copy, so that a
//! dictionary of ids is not flattered. Other words repeat as they do on a lane of few sources. Rounds alternate between the
//! contenders; the median of each is told.

#![allow(clippy::disallowed_methods)] // it measures time

use std::alloc::{GlobalAlloc, Layout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use palisade::events::clock::Tolerance;
use palisade::events::{Chunk, FieldPlan, Lane, LaneClock};
use palisade::ingest::{Decoded, Format, Redactor, Settings, decoder};

mod data;
mod leaves;

/// The program's own allocator, with its calls counted.
struct Counting(mimalloc::MiMalloc);

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting(mimalloc::MiMalloc);

#[allow(unsafe_code)] // it hands everything on
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        unsafe { self.0.realloc(pointer, layout, bytes) }
    }
}

const RECORDS_PER_CHUNK: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
    let number = |name: &str, default: usize| argument(name).and_then(|v| v.parse().ok()).unwrap_or(default);
    let (mebibytes, rounds) = (number("--mebibytes", 16), number("--rounds", 5).max(1));
    println!(
        "{:<12} {:>7} {:>9} {:>8} {:>8} {:>10} {:>8} {:>9} {:>8} {:>8}",
        "format", "bytes", "events/s", "shipped", "bare", "arrow-json", "tape", "x arrow", "of tape", "allocs"
    );
    println!(
        "{:<12} {:>7} {:>9} {:>8} {:>8} {:>10} {:>8} {:>9} {:>8} {:>8}",
        "", "/record", "", "MB/s", "MB/s", "MB/s", "MB/s", "shipped", "shipped", "/event"
    );
    for (name, format) in Format::NAMED {
        if name == "auto" || argument("--format").is_some_and(|wanted| wanted != name) {
            continue;
        }
        measure(name, &format, &data::records(name, mebibytes << 20)?, rounds)?;
    }
    Ok(())
}

fn measure(name: &str, format: &Format, records: &[Vec<u8>], rounds: usize) -> Result<(), Box<dyn std::error::Error>> {
    let bytes: usize = records.iter().map(Vec::len).sum();
    let leaves = leaves::of(name);
    let mut times: [Vec<f64>; 4] = Default::default();
    let (mut events, mut allocations) = (0, 0);
    for _ in 0..rounds {
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        times[0].push(timed(|| events = decode(format, records, Redactor::default())));
        allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        times[1].push(timed(|| events = decode(format, records, Redactor::off())));
        if let Some(leaves) = leaves {
            let mut rows = Ok(0);
            times[2].push(timed(|| rows = arrow_json(leaves, records)));
            assert_eq!(rows?, records.len(), "{name}: arrow-json left records out");
        }
        if !matches!(format, Format::Auditd) {
            times[3].push(timed(|| tape(records)));
        }
    }
    let rate = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).map(|secs| bytes as f64 / 1e6 / secs)
    };
    let [shipped, bare, arrow, tape] = times.each_mut().map(rate);
    let told = |value: Option<f64>, digits: usize| value.map_or("-".into(), |v| format!("{v:.digits$}"));
    let ratio = |peer: Option<f64>| told(shipped.zip(peer).map(|(ours, theirs)| ours / theirs), 2);
    println!(
        "{name:<12} {:>7} {:>9} {:>8} {:>8} {:>10} {:>8} {:>9} {:>8} {:>8.1}",
        bytes / records.len(),
        told(shipped.map(|rate| rate * 1e6 / bytes as f64 * events as f64), 0),
        told(shipped, 0),
        told(bare, 0),
        told(arrow, 0),
        told(tape, 0),
        ratio(arrow),
        ratio(tape),
        allocations as f64 / events as f64,
    );
    Ok(())
}

/// Seconds that some work takes.
fn timed(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64()
}

/// Decodes all records, a chunk at a time, and tells how many events they made.
fn decode(format: &Format, records: &[Vec<u8>], redactor: Redactor) -> u64 {
    let lane = Arc::new(Lane::channel("bench", "bench"));
    let plan = Arc::new(FieldPlan::default());
    let settings = Settings {
        source: "bench".into(),
        cluster: "bench".into(),
        plan: Arc::clone(&plan),
        redactor: Arc::new(redactor),
        ..Settings::default()
    };
    let mut decoder = decoder(format, Arc::clone(&lane), Arc::new(settings));
    let mut clock = LaneClock::new(Tolerance::default());
    let mut out = Decoded::new(plan);
    let mut offset = 0;
    for records in records.chunks(RECORDS_PER_CHUNK) {
        let mut chunk = Chunk::new(Arc::clone(&lane));
        for record in records {
            chunk.push(record, offset, None, None);
            offset += 1;
        }
        decoder.decode(&chunk, &mut clock, &mut out).expect("bad input is no error");
        std::hint::black_box(out.events.finish().expect("rows are whole"));
    }
    decoder.end(&mut clock, &mut out).expect("bad input is no error");
    assert!(out.rejects.is_empty(), "{:?}", out.rejects.first());
    out.counts.events
}

/// Reads the leaves with `arrow-json`, a chunk at a time, and tells how many rows they made.
fn arrow_json(leaves: &[&str], records: &[Vec<u8>]) -> Result<usize, String> {
    let mut decoder = arrow_json::ReaderBuilder::new(Arc::new(leaves::schema(leaves)))
        .with_batch_size(RECORDS_PER_CHUNK)
        .with_coerce_primitive(true)
        .build_decoder()
        .map_err(|e| e.to_string())?;
    let mut rows = 0;
    for records in records.chunks(RECORDS_PER_CHUNK) {
        for record in records {
            decoder.decode(record).map_err(|e| e.to_string())?;
        }
        let batch = decoder.flush().map_err(|e| e.to_string())?;
        rows += std::hint::black_box(batch).map_or(0, |batch| batch.num_rows());
    }
    Ok(rows)
}

fn tape(records: &[Vec<u8>]) {
    let mut buffers = simd_json::Buffers::default();
    let mut scratch = Vec::new();
    let mut tape = simd_json::Tape(Vec::new());
    for record in records {
        scratch.clear();
        scratch.extend_from_slice(record);
        let mut filled = tape.reset();
        simd_json::fill_tape(&mut scratch, &mut buffers, &mut filled).expect("valid JSON");
        std::hint::black_box(filled.0.len());
        tape = filled.reset();
    }
}
