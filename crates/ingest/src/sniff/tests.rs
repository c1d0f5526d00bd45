//! Formats told by records, and lanes that mix them.

use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, Lane};

use super::*;
use crate::decode::Settings;

/// Our own samples: each file is named after its format.
fn samples() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/samples");
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Some(format) = name.strip_suffix(".ndjson").or(name.strip_suffix(".log")) else { continue };
        if format.contains('.') {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        samples.extend(text.lines().filter(|line| !line.trim().is_empty()).map(|l| (format.to_owned(), l.to_owned())));
    }
    samples.sort();
    samples
}

#[test]
fn every_sample_is_told_by_what_it_has() {
    let samples = samples();
    for format in Format::NAMED.iter().map(|(name, _)| *name).filter(|name| *name != "auto") {
        assert!(samples.iter().any(|(known, _)| known == format), "{format} has no sample");
    }
    for (format, record) in samples {
        assert_eq!(format_of(record.as_bytes()), Some(format.as_str()), "{record}");
    }
}

#[test]
fn what_has_no_marks_is_of_no_format() {
    for record in [r#"{"some":"thing"}"#, "a,b,c", "", "{", "[]", r#"{"a":{"auditID":"x"}}"#, r#"{"a":"\"auditID\":"}"#]
    {
        assert_eq!(format_of(record.as_bytes()), None, "{record}");
    }
}

#[test]
fn wrapped_records_are_of_the_format_inside() {
    let falco = r#"{"output":"x","priority":"Warning","rule":"y","time":"2024-05-05T10:00:00Z"}"#;
    let text = serde_json::Value::from(falco).to_string();
    for wrapped in [
        format!(r#"{{"log":{text},"stream":"stdout"}}"#),
        format!(r#"{{"@timestamp":"2024-05-05T10:00:00Z","ecs":{{"version":"8.0"}},"message":{text}}}"#),
        format!("[{falco}]"),
        format!(r#"{{"records":[{{"properties":{{"log":{text}}}}}]}}"#),
        format!("<13>Oct 11 22:14:15 node-1 falco: {falco}"),
        format!("\0\0\0\0\x07{falco}"),
    ] {
        assert_eq!(format_of(wrapped.as_bytes()), Some("falco"), "{wrapped}");
    }
}

#[test]
fn a_document_that_others_could_write_does_not_hide_the_one_around_it() {
    let ecs = |message: &str| {
        let message = serde_json::Value::from(message);
        format!(r#"{{"@timestamp":"2024-05-05T10:00:00Z","ecs":{{"version":"8.0"}},"message":{message}}}"#)
    };
    for (message, format) in [
        (r#"GET /x {"auditID":"evil"#, "ecs"),
        (r#"GET /x {"auditID":"evil"}"#, "ecs"),
        (r#"{"auditID":"evil"#, "ecs"),
        (r#"[{"auditID":"evil"}]"#, "ecs"),
        (r#" {"auditID":"a"}"#, "k8s_audit"),
    ] {
        assert_eq!(format_of(ecs(message).as_bytes()), Some(format), "{message}");
    }
}

#[test]
fn keys_that_formats_share_are_told_apart() {
    for (record, format) in [
        (r#"{"Type":"MatchedPolicy","Action":"Block","Operation":"File","HostName":"n1","time":1}"#, Some("kubearmor")),
        (r#"{"Type":"container","Action":"start","time":1}"#, Some("docker")),
        (r#"{"process_file":{"process":{}},"node_name":"n1","time":"2024-05-05T10:00:00Z"}"#, Some("tetragon")),
        (r#"{"process_file":{"process":{}}}"#, None),
        (r#"{"test":{"arg0":1},"node_name":"n1"}"#, Some("tetragon")),
        (r#"{"tls":{"version":"1.3"},"host":"n1"}"#, None),
    ] {
        assert_eq!(format_of(record.as_bytes()), format, "{record}");
    }
    // Three keys that anything may have: whoever declares the format has it read.
    let bare = r#"{"timestamp":"2026-02-03T09:15:45Z","id":258,"name":"openat"}"#;
    assert_eq!(format_of(bare.as_bytes()), None);
    assert_eq!(crate::testing::decode(&Format::Tracee, &[], &[bare]).0.rows(), 1);
}

#[test]
fn audit_records_are_told_inside_of_what_carries_them() {
    let record = "type=SYSCALL msg=audit(1714903200.100:7): arch=c000003e syscall=59 success=yes";
    for (carrier, format) in [
        (format!(r#"{{"SyslogMessage":"{record}","Computer":"n1","Type":"Syslog"}}"#), Some("auditd")),
        (format!(r#"{{"log":"node=n1 {record}\n","stream":"stdout"}}"#), Some("auditd")),
        (
            format!(r#"{{"@timestamp":"2024-05-05T10:00:00Z","ecs":{{"version":"8.0"}},"message":"{record}"}}"#),
            Some("auditd"),
        ),
        (format!(r#"[{{"log":"{{\"message\":\"{record}\"}}"}}]"#), Some("auditd")),
        // Some program's text about one is none.
        (format!(r#"{{"log":"seen: {record}","stream":"stdout"}}"#), None),
    ] {
        assert_eq!(format_of(carrier.as_bytes()), format, "{carrier}");
    }
}

#[test]
fn a_lane_may_mix_formats_and_resume_anywhere() {
    let records = [
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"ResponseComplete","verb":"get","stageTimestamp":"2024-05-05T10:00:00Z"}"#,
        "type=SYSCALL msg=audit(1714903200.100:7): arch=c000003e syscall=59 success=yes exit=0 pid=1 comm=\"sh\"",
        r#"{"output":"x","priority":"Warning","rule":"y","time":"2024-05-05T10:00:01Z"}"#,
        "not a record",
        "type=EOE msg=audit(1714903200.100:7):",
    ];
    let run = |restart_at: Option<usize>| {
        let lane = Arc::new(Lane::channel("s", "c"));
        let settings = Arc::new(Settings { source: "s".into(), ..Settings::default() });
        let make = || Sniffed::new(LaneContext::new(Arc::clone(&lane), Arc::clone(&settings), "auto"));
        let mut decoder = make();
        let mut clock = LaneClock::new(Tolerance::default());
        let mut out = Decoded::new(Arc::clone(&settings.plan));
        for (offset, record) in records.iter().enumerate() {
            if restart_at == Some(offset) {
                let state = decoder.snapshot().unwrap();
                decoder = make();
                decoder.restore(&state).unwrap();
            }
            let mut chunk = Chunk::new(Arc::clone(&lane));
            chunk.push(record.as_bytes(), offset as i64, None, None);
            decoder.decode(&chunk, &mut clock, &mut out).unwrap();
        }
        assert_eq!(decoder.held(), 0);
        let counts = out.counts;
        assert_eq!((counts.records, counts.used, counts.rejected, counts.events), (5, 4, 1, 3));
        assert_eq!(out.rejects[0].reason, "unknown_format");
        let batch = out.events.finish().unwrap();
        (0..batch.rows()).map(|row| batch.row_json(row).to_string()).collect::<Vec<_>>()
    };
    let whole = run(None);
    assert!(whole[0].contains("k8s_audit") && whole[1].contains("falco") && whole[2].contains("auditd"), "{whole:?}");
    for at in 0..records.len() {
        assert_eq!(run(Some(at)), whole, "restarted at {at}");
    }
}
