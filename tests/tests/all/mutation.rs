//! Decoders keep their promises on damaged input: every sample of every format, mutated. The fuzz targets check the same
//! promises on whatever coverage leads them to.

use std::path::Path;

use proptest::prelude::*;

#[allow(unreachable_pub, dead_code)]
#[path = "../../../fuzz/src/lib.rs"]
mod promises;

/// Every sample with its format; auditd's, which assemble over lines, are one sample.
fn samples() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/ingest/samples");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some((format, kind)) = name.split_once('.') else { continue };
        let text = std::fs::read_to_string(&path).unwrap();
        match kind {
            "ndjson" | "bad.ndjson" => {
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                samples.extend(lines.map(|line| (format.to_owned(), line.as_bytes().to_vec())));
            }
            "log" => samples.push((format.to_owned(), text.into_bytes())),
            _ => {}
        }
    }
    samples.sort();
    samples
}

/// One damage; places are taken modulo the length.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Cut(usize, usize),
    Truncate(usize),
    Repeat(usize, usize, u8),
    Insert(usize, &'static str),
    Splice(usize, usize),
}

const PIECES: [&str; 24] = [
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "-1",
    "1e999",
    "18446744073709551616",
    "9007199254740993",
    "\\u0000",
    "\\ud800",
    "\u{0}",
    "\u{1d}",
    "\u{feff}",
    "\n",
    "é",
    "{\"a\":",
    "[[[[[[[[",
    "<NA>",
    "\"time\":",
];

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        (any::<usize>(), 0..40usize).prop_map(|(at, length)| Damage::Cut(at, length)),
        any::<usize>().prop_map(Damage::Truncate),
        (any::<usize>(), 1..60usize, 1..50u8).prop_map(|(at, length, times)| Damage::Repeat(at, length, times)),
        (any::<usize>(), 0..PIECES.len()).prop_map(|(at, piece)| Damage::Insert(at, PIECES[piece])),
        (any::<usize>(), any::<usize>()).prop_map(|(at, from)| Damage::Splice(at, from)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage], other: &[u8]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len().max(1);
        match *damage {
            Damage::Flip(at, byte) => {
                if let Some(slot) = bytes.get_mut(at % length) {
                    *slot = byte;
                }
            }
            Damage::Cut(at, count) => {
                let at = at % length;
                bytes.drain(at.min(bytes.len())..(at + count).min(bytes.len()));
            }
            Damage::Truncate(at) => bytes.truncate(at % length),
            Damage::Repeat(at, count, times) => {
                let at = (at % length).min(bytes.len());
                let piece = bytes[at..(at + count).min(bytes.len())].repeat(usize::from(times));
                bytes.splice(at..at, piece);
            }
            Damage::Insert(at, piece) => {
                let at = (at % length).min(bytes.len());
                bytes.splice(at..at, piece.bytes());
            }
            Damage::Splice(at, from) => {
                bytes.truncate(at % length);
                bytes.extend_from_slice(&other[from % other.len().max(1)..]);
            }
        }
    }
    bytes
}

fn check(format: &str, bytes: &[u8]) {
    promises::decode(format, bytes);
    promises::decode("auto", bytes);
    promises::redact(bytes);
}

#[test]
fn whole_samples_keep_the_promises() {
    let samples = samples();
    assert!(samples.len() > 100, "{}", samples.len());
    for (format, sample) in samples {
        check(&format, &sample);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_samples_keep_the_promises(
        chosen in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        static SAMPLES: std::sync::LazyLock<Vec<(String, Vec<u8>)>> = std::sync::LazyLock::new(samples);
        let (format, sample) = chosen.get(&SAMPLES);
        let (_, other) = other.get(&SAMPLES);
        check(format, &damaged(sample.clone(), &damages, other));
    }
}

/// What a hostile sender would put in the place of a value.
fn hostile() -> Vec<(&'static str, String)> {
    vec![
        ("deep arrays", "[".repeat(30_000) + &"]".repeat(30_000)),
        ("deep objects", "{\"a\":".repeat(30_000) + "1" + &"}".repeat(30_000)),
        ("a long list", format!("[{}\"x\"]", "\"y\",".repeat(15_000))),
        ("many keys", format!("{{{}\"x\":1}}", (0..5_000).map(|n| format!("\"k{n}\":{n},")).collect::<String>())),
        ("one key many times", format!("{{{}\"x\":1}}", "\"k\":1,".repeat(9_000))),
        ("a long number", "1".repeat(60_000)),
        ("a long text", format!("\"{}\"", "\\u00e9".repeat(10_000))),
        ("a list of lists", format!("[{}[]]", "[\"x\",{}],".repeat(6_000))),
    ]
}

#[test]
#[allow(clippy::disallowed_methods)] // it bounds time
fn hostile_values_anywhere_cost_no_more_than_their_size() {
    for (format, sample) in samples().into_iter().filter(|(format, _)| format != "auditd") {
        let text = String::from_utf8(sample).unwrap();
        // After a colon stands a value: it is replaced up to the next comma, which may or may not leave valid JSON.
        let places: Vec<usize> = text.match_indices("\":").map(|(at, _)| at + 2).step_by(3).take(12).collect();
        for (what, value) in hostile() {
            for at in &places {
                let rest = text[*at..].find(',').map_or("", |comma| &text[at + comma..]);
                let begun = std::time::Instant::now();
                promises::decode(&format, format!("{}{value}{rest}", &text[..*at]).as_bytes());
                let took = begun.elapsed();
                assert!(took.as_secs() < 5, "{format}: {what} at byte {at} took {took:?}");
            }
        }
    }
}
