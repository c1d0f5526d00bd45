//! The data set that ships: a small drill as the bytes of its files.
//!
//! Not here: compressing and writing them, which `examples/write_dataset.rs` does.

use std::fmt::Write as _;

use palisade_events::time::format_rfc3339;

use crate::drill::Drill;
use crate::record::Stream;
use crate::settings::{Attack, MONDAY_MORNING, Settings};

/// The settings of `datasets/small-drill`. They are not [`Settings::default`], which may change with the needs of demos.
pub fn small_drill() -> Settings {
    Settings {
        seed: 2_026,
        start: MONDAY_MORNING,
        duration_secs: 1_800,
        events_per_sec: 4.0,
        nodes: 4,
        replicas: 2,
        namespaces: ["shop", "payments", "reports"].map(String::from).into(),
        attack: Attack::Chain,
        attack_at_secs: 1_080,
    }
}

/// The files of a drill, uncompressed, by name: one for each stream, with one record a line in order of delivery, and
/// `truth.tsv`, which names each line that an attack made.
pub fn files(settings: Settings) -> Vec<(&'static str, Vec<u8>)> {
    let mut streams = Stream::ALL.map(|stream| (stream, Vec::new(), 0u64));
    let mut truth = String::from("file\tline\ttime\tscenario\tstep\ttechnique\n");
    for record in Drill::new(settings) {
        for (stream, bytes, line) in &mut streams {
            if *stream != record.stream {
                continue;
            }
            bytes.extend_from_slice(&record.payload);
            bytes.push(b'\n');
            *line += 1;
            if let Some(t) = record.truth {
                let (file, time) = (file_name(*stream), format_rfc3339(record.time));
                let _ = writeln!(truth, "{file}\t{line}\t{time}\t{}\t{}\t{}", t.scenario, t.step, t.technique);
            }
        }
    }
    let mut files: Vec<_> = streams.into_iter().map(|(stream, bytes, _)| (file_name(stream), bytes)).collect();
    files.push(("truth.tsv", truth.into_bytes()));
    files
}

fn file_name(stream: Stream) -> &'static str {
    match stream {
        Stream::K8sAudit => "k8s-audit.ndjson",
        Stream::Falco => "falco.ndjson",
        Stream::Auditd => "auditd.log",
    }
}
