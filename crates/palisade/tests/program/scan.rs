//! `palisade scan`: exactly once over files, whatever happens in between.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use crate::support::{
    drill, findings, number, output, program, rows, same_findings, start, succeed, text, write_drill, wrong,
};

#[test]
fn scanning_twice_adds_nothing_and_growth_adds_what_grew() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(3, 120, 30.0));
    let (audit, records) = &files["k8s-audit"];
    let lake = folder.path().join("lake");
    let scan = || succeed(program().arg("scan").arg(audit).arg("--lake").arg(&lake).args(["--cluster", "c"]));
    scan();
    let count = || number(&lake, "SELECT count(*) FROM events");
    let first = count();
    assert_eq!(first, *records);
    let found = findings(&lake);
    scan();
    assert_eq!(count(), first, "the same file again adds nothing");
    let again = scan();
    assert!(again.contains("; 0 findings") && again.contains("were scanned into this lake before"), "{again}");
    same_findings(&found, &findings(&lake));
    // A renamed, compressed twin is the same file.
    let twin = folder.path().join("rotated.gz");
    let mut gzip = flate2::write::GzEncoder::new(std::fs::File::create(&twin).unwrap(), flate2::Compression::fast());
    gzip.write_all(&std::fs::read(audit).unwrap()).unwrap();
    gzip.finish().unwrap();
    succeed(program().arg("scan").arg(&twin).arg("--lake").arg(&lake).args(["--cluster", "c"]));
    assert_eq!(count(), first, "a compressed copy adds nothing");
    let mut file = OpenOptions::new().append(true).open(audit).unwrap();
    let line = std::fs::read_to_string(audit).unwrap().lines().last().unwrap().to_owned();
    writeln!(file, "{line}\n{line}\nthis is no event").unwrap();
    drop(file);
    scan();
    assert_eq!(count(), first + 2, "a grown file adds what grew");
    let rejects = rows(&lake, "SELECT reason, line, origin FROM rejects");
    assert_eq!(rejects.len(), 1);
    assert_eq!(rejects[0]["line"].as_i64(), Some(records + 3));
    assert_eq!(
        succeed(program().args(["lake", "verify", "--lake"]).arg(&lake)).trim(),
        "nothing is missing, nothing is there twice"
    );
}

#[test]
fn killed_scans_lose_nothing_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(5, 900, 60.0));
    let config = folder.path().join("scan.toml");
    // Many small cuts, so that a kill falls into every phase of one.
    std::fs::write(
        &config,
        "job = \"scan\"\n[lake]\ncommit_interval_secs = 0.05\ncommit_rows_max = 2000\nfsync = false\n",
    )
    .unwrap();
    let scan = |lake: &std::path::Path| {
        let mut command = program();
        command.arg("scan").arg("--config").arg(&config).arg("--lake").arg(lake).args(["--cluster", "c"]);
        command.args(files.values().map(|(path, _)| path));
        command
    };
    let reference = folder.path().join("reference");
    succeed(&mut scan(&reference));
    let lake = folder.path().join("lake");
    let mut kills = 0;
    for attempt in 0..12u64 {
        let mut child = start(&mut scan(&lake));
        std::thread::sleep(Duration::from_millis(150 + 170 * (attempt % 5)));
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 3, "the scan was over before it could be killed: {kills}");
    succeed(&mut scan(&lake));
    let audit = "SELECT count(*) FROM events WHERE source = 'scan' AND format = 'k8s_audit'";
    assert_eq!(number(&lake, audit), files["k8s-audit"].1, "every audit record is one event");
    let facts = "SELECT count(*) FROM coverage";
    assert_eq!(number(&lake, facts), number(&reference, facts));
    let all = "SELECT count(*) FROM events";
    let distinct = "SELECT count(DISTINCT event_uid) FROM events";
    assert_eq!(number(&lake, all), number(&reference, all));
    assert_eq!(number(&lake, distinct), number(&reference, all));
    same_findings(&findings(&reference), &findings(&lake));
    succeed(program().args(["lake", "verify", "--lake"]).arg(&lake));
}

#[test]
fn json_lines_carry_what_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(3, 300, 10.0));
    let out = output(program().args(["scan", "--json", "--fail-on", "high"]).arg(&files["k8s-audit"].0));
    assert_eq!(out.status.code(), Some(3), "{}", text(&out.stderr));
    let mut lines = 0;
    for line in text(&out.stdout).lines() {
        let finding: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["finding_uid", "time", "kind", "rule_uid", "title", "severity", "explanation"] {
            assert!(finding[key].is_string(), "{key} in {line}");
        }
        assert!(finding["entities"].as_array().is_some_and(|e| !e.is_empty()), "{line}");
        assert!(finding["attack"].is_object());
        for evidence in finding["evidence"].as_array().unwrap() {
            assert_eq!(evidence["event_uid"].as_str().unwrap().len(), 32);
            assert!(evidence["source"].is_string());
            assert!(evidence["position"]["file"].as_str().unwrap().ends_with("k8s-audit.log"), "{line}");
            assert!(evidence["position"]["line"].as_i64().unwrap() >= 1);
        }
        lines += 1;
    }
    assert!(lines > 0);
}

/// What was lost is told to programs too, in a line of its own beside the findings.
#[test]
fn json_sums_up_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(3, 120, 10.0));
    let (audit, records) = &files["k8s-audit"];
    let mut file = OpenOptions::new().append(true).open(audit).unwrap();
    writeln!(file, "this is no event").unwrap();
    drop(file);
    let lake = folder.path().join("lake");
    let scan = || {
        let out = output(program().args(["scan", "--json", "--lake"]).arg(&lake).arg(audit));
        assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
        let lines: Vec<serde_json::Value> =
            text(&out.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let summaries: Vec<_> = lines.iter().filter_map(|line| line.get("summary")).cloned().collect();
        assert_eq!(summaries.len(), 1, "{lines:?}");
        (text(&out.stdout).lines().count(), summaries[0].clone())
    };
    let (findings, summary) = scan();
    assert_eq!(summary["records"].as_i64(), Some(records + 1));
    assert_eq!(summary["events"].as_i64(), Some(*records));
    assert_eq!(summary["rejected"].as_i64(), Some(1));
    let buckets = ["used", "coverage", "rejected", "held"].map(|bucket| summary[bucket].as_i64().unwrap());
    assert_eq!(buckets.iter().sum::<i64>(), records + 1, "{summary}");
    assert_eq!((summary["rejects"].as_i64(), summary["doubtful"].as_i64()), (Some(1), Some(0)));
    assert_eq!(summary["reject_reasons"].as_object().unwrap().values().filter_map(|n| n.as_i64()).sum::<i64>(), 1);
    assert_eq!(summary["findings"].as_i64(), i64::try_from(findings).ok());
    assert_eq!(summary["faults"].as_array().map(Vec::len), Some(0));
    assert_eq!((summary["behind_frontier"].as_i64(), summary["resumed"].as_i64()), (Some(0), Some(0)));
    let (_, again) = scan();
    assert_eq!((again["events"].as_i64(), again["resumed"].as_i64()), (Some(0), Some(1)), "{again}");
}

/// Scans a file of audit events at these times, and returns the summary.
fn scan_times(lake: &std::path::Path, name: &str, times: &[&str]) -> serde_json::Value {
    let line = |time: &&str| {
        let event = serde_json::json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": name, "verb": "get",
            "stage": "ResponseComplete", "user": {"username": "u"}, "stageTimestamp": time});
        format!("{event}\n")
    };
    let file = lake.with_file_name(name);
    std::fs::write(&file, times.iter().map(line).collect::<String>()).unwrap();
    let out = output(program().args(["scan", "--json", "--lake"]).arg(lake).arg(&file));
    assert_eq!(out.status.code(), Some(0), "{}", text(&out.stderr));
    let told = text(&out.stderr);
    let summary = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?.get("summary").cloned();
    told.lines().find_map(summary).unwrap()
}

#[test]
fn a_file_out_of_the_future_keeps_no_later_scan_from_statistics() {
    let folder = tempfile::tempdir().unwrap();
    let lake = folder.path().join("lake");
    let count = |summary: &serde_json::Value, what: &str| summary[what].as_i64().unwrap();
    let future = ["9998-01-01T00:00:00Z"; 12];
    for (name, times, doubtful, behind) in [
        ("first.log", &future[..1], 1, 0),
        ("many.log", &future, 12, 0),
        // A pause of a year is none of these.
        ("pause.log", &["2025-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-02-01T00:00:01Z"], 0, 0),
        ("newer.log", &["2026-03-02T10:00:00Z", "2026-03-02T10:30:00Z"], 0, 0),
        ("older.log", &["2026-03-01T10:00:00Z", "2026-03-01T10:00:01Z"], 0, 2),
        // Each scan tells of itself.
        ("older.log", &["2026-03-01T10:00:00Z", "2026-03-01T10:00:01Z"], 0, 0),
        ("newest.log", &["2026-03-02T11:00:00Z"], 0, 0),
    ] {
        let summary = scan_times(&lake, name, times);
        assert_eq!((count(&summary, "doubtful"), count(&summary, "behind_frontier")), (doubtful, behind), "{name}");
    }
    assert_eq!(number(&lake, "SELECT count(*) FROM events WHERE time_doubtful"), 13);
    assert_eq!(number(&lake, "SELECT sum(\"count\") FROM coverage WHERE kind = 'future'"), 13, "each is told");
    let years = "SELECT count(DISTINCT lanes) FROM decisions WHERE kind = 'believe' AND detail NOT LIKE '9998%'";
    assert_eq!(number(&lake, years), 6, "what was believed of each file is written down, once");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_instead_of_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("not run: no mkfifo");
        return;
    }
    for arguments in [&["scan"][..], &["scan", "--format", "k8s_audit"]] {
        let words = wrong(program().args(arguments).arg(&pipe));
        assert!(words.contains("neither a file nor a folder") && words.contains("`-`"), "{words}");
    }
}

#[test]
fn analysts_decisions_close_a_group() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(3, 300, 10.0));
    let lake = folder.path().join("lake");
    succeed(program().arg("scan").arg(&files["falco"].0).arg(&files["k8s-audit"].0).arg("--lake").arg(&lake));
    let list = || succeed(program().args(["findings", "list", "--json", "--lake"]).arg(&lake));
    let before = list();
    let group: serde_json::Value = serde_json::from_str(before.lines().next().unwrap()).unwrap();
    let group = group["group_uid"].as_str().unwrap().to_owned();
    succeed(
        program().args(["findings", "close", &group, "--status", "benign", "--reason", "drill", "--lake"]).arg(&lake),
    );
    assert!(!list().contains(&group));
    let all = succeed(program().args(["findings", "list", "--json", "--all", "--lake"]).arg(&lake));
    let row = all.lines().find(|line| line.contains(&group)).unwrap();
    assert!(row.contains("\"status\":\"benign\""), "{row}");
    let unexplained = output(program().args(["findings", "close", &group, "--reason", " ", "--lake"]).arg(&lake));
    assert!(text(&unexplained.stderr).contains("--reason"));
    let shown = succeed(program().args(["findings", "show", &group[..8], "--lake"]).arg(&lake));
    assert!(shown.contains("benign") && shown.contains("drill"), "{shown}");
    let unknown = output(program().args(["findings", "show", &"0".repeat(31), "--lake"]).arg(&lake));
    assert_eq!(unknown.status.code(), Some(2));
    assert!(text(&unknown.stderr).contains("no finding or group begins with"), "{}", text(&unknown.stderr));
}

#[test]
fn errors_name_what_is_wrong_and_what_may_help() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("bad.toml");
    std::fs::write(&config, "[pipeline]\npane_sec = 3\n").unwrap();
    let out = output(program().args(["config", "check", "--config"]).arg(&config));
    assert_eq!(out.status.code(), Some(2), "a configuration that cannot be used is no failure");
    let words = text(&out.stderr);
    assert!(words.contains("bad.toml:2") && words.contains("pane_sec"), "{words}");
    std::fs::write(&config, "[correlate]\npaths = [\"nowhere.toml\"]\n").unwrap();
    let words = wrong(program().args(["config", "check", "--config"]).arg(&config));
    assert!(words.contains("bad.toml:2") && words.contains("nowhere.toml"), "{words}");
    std::fs::write(&config, "[pipeline]\npane_secs = 3\n").unwrap();
    let variable = "PALISADE__PIPELINE__PANE_SECS";
    let words = wrong(program().args(["config", "check", "--config"]).arg(&config).env(variable, "0"));
    assert!(words.contains(variable) && !words.contains("bad.toml"), "{words}");
    let empty = folder.path().join("empty.log");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();
    for arguments in [
        &["scan", "/not/there.log"][..],
        &["scan", "--format", "nope", empty],
        &["scan", "--mapping", "/not/there.toml", empty],
        &["scan", "--rules", "/not/there.yml", empty],
        &["scan", "--lake", "gopher://x/y", empty],
        &["scan", "--config", "/not/there.toml", empty],
        &["run", "--config", "/not/there.toml"],
        &["findings", "show", "zz"],
        &["nonsense"],
    ] {
        wrong(program().args(arguments));
    }
    let help = succeed(program().arg("--help"));
    assert!(help.contains("Exit codes:") && help.contains("--fail-on"), "{help}");
    let garbage = folder.path().join("garbage.log");
    std::fs::write(&garbage, "neither\nnor\n").unwrap();
    let out = output(program().args(["scan", "--format", "falco"]).arg(&garbage));
    assert_eq!(out.status.code(), Some(1), "nothing could be read: {}", text(&out.stdout));
    let out = output(program().args(["sql", "--lake", "/nowhere/at/all", "SELECT 1"]));
    assert_eq!(out.status.code(), Some(1));
    assert!(text(&out.stderr).contains("/nowhere/at/all"), "{}", text(&out.stderr));
    succeed(program().args(["config", "init"]).arg(folder.path().join("new")));
    succeed(program().args(["config", "check", "--config"]).arg(folder.path().join("new/palisade.toml")));
}
