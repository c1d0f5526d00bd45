//! The records of each format.

use palisade_drill::{Drill, Settings, Stream};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Records of a format, together about so many bytes.
pub(crate) fn records(format: &str, bytes: usize) -> Outcome<Vec<Vec<u8>>> {
    let stream = match format {
        "k8s_audit" => return Ok(palisade_drill::audit_corpus(1, bytes / 1250)),
        "falco" => Some(Stream::Falco),
        "auditd" => Some(Stream::Auditd),
        _ => None,
    };
    let once: Vec<Vec<u8>> = match stream {
        Some(stream) => {
            let drill = Drill::new(Settings { duration_secs: 1800, ..Settings::default() })?;
            drill.filter(|record| record.stream == stream).map(|record| record.payload).collect()
        }
        None => {
            let path = format!("{}/../crates/ingest/samples/{format}.ndjson", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
            text.lines().filter(|line| !line.trim().is_empty()).map(|line| line.as_bytes().to_vec()).collect()
        }
    };
    // An event of many records cannot be repeated under its serial: the drill's are taken as often as they come.
    if format == "auditd" {
        return Ok(once);
    }
    let mut records = Vec::new();
    let (mut taken, mut copy) = (0, 0);
    while taken < bytes && !once.is_empty() {
        for record in &once {
            let mut record = record.clone();
            change_ids(&mut record, copy);
            taken += record.len();
            records.push(record);
        }
        copy += 1;
    }
    Ok(records)
}

/// Changes every run of twelve or more hex digits that holds a letter, so that copies have ids of their own. Times and
/// numbers, which have none, stay.
fn change_ids(record: &mut [u8], copy: u64) {
    let mut at = 0;
    while at < record.len() {
        let run = record[at..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        let is_id = run >= 12 && record[at..at + run].iter().any(u8::is_ascii_alphabetic);
        if is_id {
            // Behind its first digit, which may decide what kind of id it is.
            for (place, byte) in record[at + 1..at + run].iter_mut().enumerate().take(12) {
                let turn = (copy >> (place * 4).min(60)) as u8 & 15;
                let digit = (byte.to_ascii_lowercase() as char).to_digit(16).unwrap_or(0) as u8;
                *byte = b"0123456789abcdef"[usize::from((digit + turn) & 15)];
            }
        }
        at += run.max(1);
    }
}
