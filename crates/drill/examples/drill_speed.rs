//! Says how fast a drill makes audit events and records of all streams, on one thread.

use std::time::Instant;

use palisade_drill::{Drill, Settings, Stream, audit_corpus};

#[allow(clippy::disallowed_methods)] // Measuring is what it is for.
fn main() {
    const EVENTS: usize = 300_000;
    let begun = Instant::now();
    let bytes: usize = audit_corpus(1, EVENTS).iter().map(Vec::len).sum();
    let secs = begun.elapsed().as_secs_f64();
    println!("{:.0} audit events/s, {:.0} MB/s (kept in memory)", EVENTS as f64 / secs, bytes as f64 / 1e6 / secs);
    let settings = Settings { events_per_sec: 2_000.0, duration_secs: 600, ..Settings::default() };
    let begun = Instant::now();
    let (mut records, mut audit, mut bytes) = (0usize, 0usize, 0usize);
    for record in Drill::new(settings) {
        records += 1;
        audit += usize::from(record.stream == Stream::K8sAudit);
        bytes += record.payload.len();
    }
    let secs = begun.elapsed().as_secs_f64();
    println!(
        "{:.0} records/s ({:.0} % of them audit events), {:.0} MB/s (all streams, not kept)",
        records as f64 / secs,
        audit as f64 * 100.0 / records as f64,
        bytes as f64 / 1e6 / secs
    );
}
