//! `palisade drill`: files that can be made again, records with their truth on Kafka, a score that tells a detector from none.

use std::path::Path;

use palisade_drill::score::Report;

use crate::support::{program, succeed, text, wrong};

fn write(folder: &Path, arguments: &[&str]) {
    let mut command = program();
    command.args(["drill", "write"]).arg(folder).args(arguments);
    succeed(&mut command);
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_drill_is_made_again_from_what_it_left() {
    let folder = tempfile::tempdir().unwrap();
    let (first, again) = (folder.path().join("first"), folder.path().join("again"));
    write(&first, &["--length", "5m", "--rate", "20", "--seed", "7", "--attacks", "secret-reader:blinded@1"]);
    let settings = first.join("drill.json");
    write(&again, &["--settings", settings.to_str().unwrap()]);
    assert_eq!(files(&first).len(), 11, "eight streams, the truth, losses, settings");
    assert!(files(&first) == files(&again));
    let packed = folder.path().join("packed");
    write(&packed, &["--settings", settings.to_str().unwrap(), "--gzip"]);
    let (_, bytes) = files(&packed).into_iter().find(|(name, _)| name == "k8s-audit.ndjson.gz").unwrap();
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(bytes.as_slice()), &mut plain).unwrap();
    assert_eq!(plain, std::fs::read(first.join("k8s-audit.ndjson")).unwrap());
    // The truth names lines that are there, and of the attack.
    let truth = std::fs::read_to_string(first.join("truth.tsv")).unwrap();
    let audit = String::from_utf8(plain).unwrap();
    let lines: Vec<&str> = audit.lines().collect();
    let labelled: Vec<usize> = truth
        .lines()
        .filter(|row| row.starts_with("k8s-audit\t"))
        .map(|row| row.split('\t').nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(!labelled.is_empty());
    for line in labelled {
        assert!(lines[line - 1].starts_with('{'), "{line}");
    }
}

#[test]
fn a_score_tells_a_detector_from_none() {
    let folder = tempfile::tempdir().unwrap();
    let drill = folder.path().join("drill");
    write(&drill, &["--length", "15m", "--rate", "15", "--attacks", "stolen-ci-token@5"]);
    let none = folder.path().join("none.toml");
    std::fs::write(&none, "[rules]\nstarter = false\n[anomaly]\nevent_rate_off = true\nfirst_seen_off = true\n")
        .unwrap();
    let (with, without, layer) =
        (folder.path().join("with.json"), folder.path().join("without.json"), folder.path().join("layer.json"));
    let table =
        succeed(program().args(["drill", "score"]).arg(&drill).arg("--report").arg(&with).arg("--layer").arg(&layer));
    assert!(table.contains("1 of 1 attacks detected"), "{table}");
    let report: Report = serde_json::from_slice(&std::fs::read(&with).unwrap()).unwrap();
    assert!(report.recall() > 0.5, "{table}");
    let escape = report.runs[0].steps.iter().find(|step| step.step == "privileged-pod").unwrap();
    assert!(escape.detected.as_ref().unwrap().after_micros < 60_000_000, "{escape:?}");
    let layer: serde_json::Value = serde_json::from_slice(&std::fs::read(&layer).unwrap()).unwrap();
    assert!(layer["techniques"].as_array().unwrap().len() >= 8);
    let mut command = program();
    command.args(["drill", "score"]).arg(&drill).arg("--config").arg(&none).arg("--report").arg(&without);
    succeed(&mut command);
    let bare: Report = serde_json::from_slice(&std::fs::read(&without).unwrap()).unwrap();
    assert!(bare.recall() < report.recall(), "{} without rules", bare.recall());
    let diff = succeed(program().args(["drill", "diff"]).arg(&without).arg(&with));
    assert!(diff.contains("now detected") && !diff.contains("now MISSED"), "{diff}");
}

#[test]
fn standard_output_can_be_cut_off_and_wrong_arguments_are_told() {
    let mut child = program()
        .args(["drill", "stream", "--length", "1h", "--streams", "k8s-audit"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    assert!(line.starts_with("{\"kind\":\"Event\""), "{line}");
    drop(out);
    assert!(child.wait().unwrap().success());
    for (arguments, said) in [
        (["--attacks", "nothing"], "there is no scenario nothing"),
        (["--attacks", "secret-reader@9999"], "after the drill's end"),
        (["--attacks", "secret-reader:soft"], "the variants are"),
        (["--length", "5"], "write it as 90s"),
        (["--streams", "syslog"], "the streams are"),
        (["--start", "today"], "is no time"),
    ] {
        let told = wrong(program().args(["drill", "stream"]).args(arguments));
        assert!(told.contains(said), "{arguments:?}: {told}");
    }
    let listed = text(&program().args(["drill", "scenarios", "--json"]).output().unwrap().stdout);
    assert!(listed.lines().count() >= 40);
}
