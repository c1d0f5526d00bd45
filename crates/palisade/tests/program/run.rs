//! `palisade run` over files, and the commands that look at what it left.

use std::io::Read;
use std::process::Stdio;

use crate::support::{drill, output, program, rows, succeed, text, write_drill, wrong};

#[test]
fn run_prints_findings_and_leaves_a_lake_to_look_at() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(3, 200, 10.0));
    let (audit, records) = &files["k8s-audit"];
    let (config, lake) = (folder.path().join("palisade.toml"), folder.path().join("lake"));
    let quoted = |path: &std::path::Path| toml::Value::from(path.display().to_string());
    std::fs::write(
        &config,
        format!(
            "[lake]\nurl = {}\n[[source]]\nname = \"audit\"\nkind = \"files\"\nformat = \"k8s_audit\"\n\
             cluster = \"c\"\npaths = [{}]\n[[owner]]\ncluster = \"c\"\nnamespace = \"*\"\nname = \"*\"\nowner = \"us\"\n",
            quoted(&lake),
            quoted(audit)
        ),
    )
    .unwrap();
    let out = output(program().args(["run", "--json", "--until-caught-up", "--config"]).arg(&config));
    assert!(out.status.success(), "{}", text(&out.stderr));
    let printed = text(&out.stdout);
    assert!(!printed.is_empty());
    for line in printed.lines() {
        let finding: serde_json::Value = serde_json::from_str(line).unwrap();
        for key in ["finding_uid", "time", "detected_at", "kind", "rule_uid", "title", "severity", "explanation"] {
            assert!(finding[key].is_string(), "{key} in {line}");
        }
        let of_rule = finding["kind"] == "rule";
        assert!(!of_rule || finding["excerpt"].is_object(), "what a rule saw is shown: {line}");
        assert!(finding["evidence"].as_array().is_some_and(|evidence| !evidence.is_empty()), "{line}");
    }
    assert_eq!(printed.lines().count(), rows(&lake, "SELECT finding_uid FROM findings").len());
    let logs = text(&out.stderr);
    let logs: Vec<serde_json::Value> = logs.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = logs.iter().find_map(|line| line.get("summary")).unwrap();
    assert_eq!(summary["events"].as_i64(), Some(*records), "it sums up on standard error");
    let status = succeed(program().args(["lake", "status", "--json", "--lake"]).arg(&lake));
    let events = status.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let events = events.into_iter().find(|table| table["table"] == "events").unwrap();
    assert_eq!(events["rows"].as_i64(), Some(*records), "{status}");
    assert!(succeed(program().args(["completions", "bash"])).contains("findings"));
}

#[test]
fn several_statements_come_from_standard_input_and_a_closed_pipe_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(3, 120, 10.0));
    let lake = folder.path().join("lake");
    succeed(program().arg("scan").arg(&files["falco"].0).arg("--lake").arg(&lake));
    let script = folder.path().join("script.sql");
    std::fs::write(&script, "SELECT ';' AS mark; -- not; here\nSELECT count(*) AS n FROM events;").unwrap();
    let input = Stdio::from(std::fs::File::open(&script).unwrap());
    let answers = succeed(program().args(["sql", "--json", "--lake"]).arg(&lake).stdin(input));
    assert_eq!(answers.lines().count(), 2, "{answers}");
    let mut child = program();
    child.args(["lake", "status", "--lake"]).arg(&lake).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert!(child.wait().unwrap().success() && complaint.is_empty(), "{complaint}");
}

/// A detector that nobody watches says what it does and when, and prints findings only where it was told to.
#[test]
fn run_logs_with_times_and_leaves_findings_to_the_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_drill(folder.path(), drill(3, 120, 10.0));
    let config = folder.path().join("palisade.toml");
    let quoted = |path: &std::path::Path| toml::Value::from(path.display().to_string());
    let (lake, sink) = (folder.path().join("lake"), folder.path().join("findings.ndjson"));
    std::fs::write(
        &config,
        format!(
            "[lake]\nurl = {}\n[[source]]\nname = \"audit\"\nkind = \"files\"\nformat = \"k8s_audit\"\npaths = [{}]\n\
             [[sink]]\nkind = \"file\"\npath = {}\n[http]\nlisten = \"127.0.0.1:0\"\n",
            quoted(&lake),
            quoted(&files["k8s-audit"].0),
            quoted(&sink)
        ),
    )
    .unwrap();
    let run = || {
        let mut command = program();
        command.args(["run", "--until-caught-up", "--config"]).arg(&config);
        command
    };
    let out = output(&mut run());
    let logs = text(&out.stderr);
    assert!(out.status.success(), "{logs}");
    let line = logs.lines().find(|line| line.contains("metrics and health")).unwrap_or_else(|| panic!("{logs}"));
    let time = line.split_whitespace().next().unwrap();
    assert!(palisade::events::time::parse_rfc3339(time).is_some(), "{line}");
    let out = output(run().arg("--json"));
    assert!(out.status.success() && out.stdout.is_empty(), "--json is about logs where a sink takes findings");
    assert!(std::fs::read_to_string(&sink).unwrap().lines().count() > 0);
    let quiet = output(run().env("PALISADE_LOG", "error"));
    assert!(!text(&quiet.stderr).contains("metrics and health"), "{}", text(&quiet.stderr));
}

#[test]
fn a_demo_needs_a_lake_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("something"), "").unwrap();
    let words = wrong(program().args(["demo", "--lake"]).arg(folder.path()));
    assert!(words.contains("is not empty"), "{words}");
}
