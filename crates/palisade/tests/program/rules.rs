//! `palisade rules`: what each subcommand prints, and its exit codes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{output, program, succeed, text, wrong};

const RULE: &str = "\
title: Web Server Starts A Shell
id: 0f7c2a52-6a0e-4f0b-8d1c-5a9d2b3c4e01
status: test
description: A web server starts a shell.
author: B. Author
date: 2026-11-25
tags: [attack.execution, attack.t1059.004]
logsource: {product: example}
detection:
    selection:
        image|endswith: /sh
        parent: nginx
    filter: {user: health}
    condition: selection and not filter
falsepositives: [Health checks]
level: high
";

const TEST: &str = "\
rule: 0f7c2a52-6a0e-4f0b-8d1c-5a9d2b3c4e01
fires: [{format: example, event: {image: /bin/sh, parent: nginx}}]
silent: [{format: example, event: {image: /bin/sh, parent: nginx, user: health}}]
";

const EXCEPTION: &str = "\
title: Builds
id: 4c1d0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10
logsource: {product: example}
filter:
    rules: [0f7c2a52-6a0e-4f0b-8d1c-5a9d2b3c4e01]
    selection: {user: build}
    condition: not selection
palisade: {owner: platform, reason: Builds start shells, expires: 2099-01-01}
";

fn rules(arguments: &[&str]) -> Command {
    let mut command = program();
    command.arg("rules").args(arguments);
    command
}

/// Writes files into a folder, and returns its path as an argument.
fn write(folder: &Path, files: &[(&str, &str)]) -> String {
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

fn pack(folder: &Path, test: &str) -> String {
    let manifest = "name = \"web\"\nversion = \"1\"\nattack_version = \"18\"\n";
    write(folder, &[("pack.toml", manifest), ("rules/shell.yml", RULE), ("tests/shell.yml", test)])
}

fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // One that was called wrongly does not wait for its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn check_fails_for_errors_and_with_strict_for_warnings() {
    let folder = tempfile::tempdir().unwrap();
    let told = succeed(&mut rules(&["check"]));
    assert!(told.contains("rules checked: 0 errors, 0 warnings"), "{told}");
    let good = pack(&folder.path().join("good"), TEST);
    assert_eq!(succeed(&mut rules(&["check", "--strict", &good])), "1 rule checked: 0 errors, 0 warnings\n");

    let warned = folder.path().join("warned");
    write(&warned, &[("r.yml", &RULE.replace("level: high\n", ""))]);
    let warned = warned.to_str().unwrap();
    let told = succeed(&mut rules(&["check", warned]));
    assert!(told.contains("Web Server Starts A Shell: no `level`") && told.contains("[no-level]"), "{told}");
    assert!(told.ends_with("1 rule checked: 0 errors, 1 warning\n"), "{told}");
    assert_eq!(output(&mut rules(&["check", "--strict", warned])).status.code(), Some(1));

    let sources = |names: &str| succeed(&mut rules(&["check", &good, "--sources", names]));
    assert!(sources("k8s_audit,auditd").contains("which no source has [dead]"));
    assert!(!sources("k8s_audit,example").contains("[dead]") && !sources("auto").contains("[dead]"));

    let refused = folder.path().join("refused");
    write(&refused, &[("r.yml", &RULE.replace("selection and", "other and"))]);
    let refused = refused.to_str().unwrap();
    let out = output(&mut rules(&["check", refused, "--format", "json"]));
    assert_eq!(out.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&told["rules"], &told["errors"]), (&0.into(), &1.into()), "{told}");
    assert_eq!(told["remarks"][0]["check"], "refused", "{told}");
    let out = output(&mut rules(&["check", refused, "--format", "junit"]));
    assert_eq!(out.status.code(), Some(1));
    let told = text(&out.stdout);
    assert!(told.contains("failures=\"1\"") && told.contains("names `other`, which is no selection"), "{told}");
    assert!(told.contains("<testcase classname=\"rules\" name=\"Web Server Starts A Shell\""), "{told}");
    wrong(&mut rules(&["check", "/not/there"]));

    // What holds no rules is no success, and remarks name files.
    let empty = write(&folder.path().join("empty"), &[("notes.md", "x")]);
    let out = output(&mut rules(&["check", &empty]));
    assert!(out.status.code() == Some(1) && text(&out.stdout).contains("[no-rules]"), "{}", text(&out.stdout));
    assert!(wrong(&mut rules(&["coverage", &empty])).contains("there are no rules in "));
    assert!(sources("k8s_audit,auditd").contains("rules/shell.yml: Web Server Starts A Shell: its logsource"));
    write(&folder.path().join("good"), &[("exceptions/e.yml", &EXCEPTION.replace("0f7c2a52", "1f7c2a52"))]);
    let told = succeed(&mut rules(&["check", &good]));
    assert!(
        told.contains("e.yml: Builds: it names `1f7c2a52-6a0e-4f0b-8d1c-5a9d2b3c4e01`, which is no loaded"),
        "{told}"
    );
    let built_in = EXCEPTION.replace("0f7c2a52-6a0e-4f0b-8d1c-5a9d2b3c4e01", "Privileged Container Requested");
    let built_in = built_in.replace("product: example", "product: kubernetes");
    write(&folder.path().join("good"), &[("exceptions/e.yml", &built_in)]);
    assert_eq!(succeed(&mut rules(&["check", "--strict", &good])), "1 rule checked: 0 errors, 0 warnings\n");
    write(&folder.path().join("good"), &[("correlations/c.toml", "uid = 1\n")]);
    let out = output(&mut rules(&["check", &good]));
    let told = text(&out.stdout);
    assert!(out.status.code() == Some(1) && told.contains("c.toml: the correlation cannot be used: "), "{told}");
}

#[test]
fn test_says_which_event_failed_and_writes_junit() {
    let folder = tempfile::tempdir().unwrap();
    let told = succeed(&mut rules(&["test"]));
    assert!(told.contains(" tests passed, 0 failed") && told.contains("Privileged Container Requested, by "), "{told}");

    let good = pack(&folder.path().join("good"), TEST);
    let expected = "ok   Web Server Starts A Shell, by B. Author (2 events)\n1 test passed, 0 failed, with 2 events\n";
    assert_eq!(succeed(&mut rules(&["test", &good])), expected);

    let bad = pack(&folder.path().join("bad"), &TEST.replace("parent: nginx}}", "parent: cron}}"));
    let report = folder.path().join("junit.xml");
    let out = output(rules(&["test", &bad, &good, "--junit"]).arg(&report));
    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    let told = text(&out.stdout);
    assert!(told.contains("fires event 1: the rule is silent"), "{told}");
    assert!(told.contains("selection: field parent: is \"cron\", wanted \"nginx\""), "{told}");
    let xml = std::fs::read_to_string(&report).unwrap();
    assert!(xml.contains("<testsuites tests=\"2\" failures=\"1\""), "{xml}");
    assert!(xml.contains("<failure type=\"failure\" message=\"fires event 1: the rule is silent\">"), "{xml}");
    assert!(xml.contains("is &quot;cron&quot;"), "{xml}");

    let told = output(&mut rules(&["test", "--json", &bad]));
    let lines: Vec<Value> = text(&told.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["failures"][0]["wanted"], "fires");
    assert_eq!(lines[1]["summary"]["failed"], 1);

    // A test that cannot be read, and one of a rule that is not there, are no passed tests.
    let unread = pack(&folder.path().join("unread"), "rule: [\n");
    assert_eq!(output(&mut rules(&["test", &unread])).status.code(), Some(1));
    let unknown = pack(&folder.path().join("unknown"), "rule: nobody\n");
    let out = output(&mut rules(&["test", &unknown]));
    assert!(out.status.code() == Some(1) && text(&out.stdout).contains("there is no rule `nobody`"));
    let none = write(&folder.path().join("none"), &[("r.yml", RULE)]);
    assert!(wrong(&mut rules(&["test", &none])).contains("there are no tests"));
    // Nor are they passed beside others that have tests.
    let out = output(rules(&["test", &good, &none, "--junit"]).arg(&report));
    assert!(
        out.status.code() == Some(1) && text(&out.stderr).contains("there are no tests in "),
        "{}",
        text(&out.stderr)
    );
    let xml = std::fs::read_to_string(&report).unwrap();
    assert!(xml.contains("tests=\"2\" failures=\"1\"") && xml.contains("message=\"there are no tests in "), "{xml}");
    // A slip in the name of a column is told with the file.
    let slip =
        pack(&folder.path().join("slip"), &TEST.replace("event: {image", "columns: {proces_name: a}, event: {image"));
    let out = output(&mut rules(&["test", &slip]));
    let told = text(&out.stderr);
    assert!(
        out.status.code() == Some(1) && told.contains("shell.yml: the test cannot be read: fires event 1: "),
        "{told}"
    );
    assert!(told.contains("`proces_name` is no event column; `process_name` is one"), "{told}");
}

#[test]
fn exceptions_are_tested_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let build = "{format: example, event: {image: /bin/sh, parent: nginx, user: build}}";
    let path = folder.path().join("excepted");
    let good = pack(&path, &format!("{TEST}suppressed: [{build}]\n"));
    write(&path, &[("exceptions/e.yml", EXCEPTION)]);
    assert!(
        succeed(&mut rules(&["test", &good])).contains("ok   Web Server Starts A Shell, by B. Author (3 events)\n")
    );

    let report = folder.path().join("junit.xml");
    let path = folder.path().join("firing");
    let firing = pack(&path, &TEST.replace("fires: [", &format!("fires: [{build}, ")));
    write(&path, &[("exceptions/e.yml", EXCEPTION)]);
    let out = output(rules(&["test", &firing, "--junit"]).arg(&report));
    assert_eq!(out.status.code(), Some(1));
    let why = "fires event 1: the rule matches, but is suppressed by `Builds` (platform, until 2099-01-01)";
    assert!(text(&out.stdout).contains(why), "{}", text(&out.stdout));
    let xml = std::fs::read_to_string(&report).unwrap();
    assert!(xml.contains("message=\"fires event 1: the rule matches, but is suppressed by `Builds`"), "{xml}");

    // The rule is one that is built in, the exception one of the pack.
    let own = EXCEPTION.replace("0f7c2a52-6a0e-4f0b-8d1c-5a9d2b3c4e01", "Privileged Container Requested");
    let own = own.replace("product: example", "product: kubernetes").replace("user: build", "user.username: alice");
    let path = folder.path().join("own");
    write(&path, &[("pack.toml", "name = \"own\"\nversion = \"1\"\n"), ("exceptions/e.yml", &own)]);
    let explain = |event: &str| {
        let mut command = rules(&["explain", "Privileged Container Requested", "--event", "-", "--rules"]);
        text(&with_input(command.arg(&path), event).stdout)
    };
    let told = explain(&audit(true));
    assert!(told.contains("by Palisade: matches, and is suppressed\n"), "{told}");
    let end = "  because\n    selection: field user.username: is \"alice\", wanted \"alice\"\n";
    let by = ", of platform, until 2099-01-01: Builds start shells\n    NO  not\n";
    assert!(told.contains(by) && told.ends_with(end), "{told}");
    let told = explain(&audit(true).replace("alice", "bob"));
    assert!(
        told.contains("by Palisade: matches\n") && told.contains("\n  not suppressed by the exception `Builds` ("),
        "{told}"
    );
}

#[test]
fn eval_prints_the_lines_of_each_rule() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |id: &str, detection: &str| {
        format!(
            "title: R {id}\nid: {id}\nlogsource: {{product: windows}}\ndetection: {{s: {detection}, condition: s}}\n"
        )
    };
    let first = folder.path().join("first");
    let second = folder.path().join("second");
    write(&first, &[("b.yml", &rule("b", "{verb: get}")), ("deep/c.yml", &rule("c", "{verb: never}"))]);
    write(
        &second,
        &[("a.yml", &rule("a", "{'user.name|contains': ali}")), ("bad.yml", &rule("x", "{'verb|nope': a}"))],
    );
    let both = format!("{},{}", first.display(), second.display());
    let events = "{\"verb\":\"get\"}\n\n{\"verb\": \"GET\", \"user\": {\"name\": \"Alice\"}}\nno json\n{\"verb\":\"list\"}\n\
        {\"user.name\": \"alina\"}";
    let expected = "{\"rule\": \"a\", \"matches\": [3,6]}\n{\"rule\": \"b\", \"matches\": [1,3]}\n";
    let file = folder.path().join("events.ndjson");
    std::fs::write(&file, events).unwrap();
    for out in [
        output(rules(&["eval", "--rules", &both, "--events"]).arg(&file)),
        with_input(&mut rules(&["eval", "--rules", &both, "--events", "-"]), events),
    ] {
        assert_eq!(text(&out.stdout), expected);
        assert_eq!(out.status.code(), Some(0), "some lines could be read, as with scan");
        let told = text(&out.stderr);
        assert!(told.contains(":4: line left out: not JSON") && told.contains("bad.yml"), "{told}");
    }
    let out = with_input(&mut rules(&["eval", "--json", "--rules", &both, "--events", "-"]), "nothing\n");
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(1), String::new()), "nothing could be read");
    assert!(text(&out.stderr).contains("{\"line\":1,"), "{}", text(&out.stderr));
    let out = with_input(&mut rules(&["eval", "--rules", &both, "--events", "-"]), "");
    assert_eq!((out.status.code(), text(&out.stdout)), (Some(0), String::new()), "no events are no failure");
    wrong(&mut rules(&["eval", "--rules", "/not/there", "--events", "-"]));
    wrong(&mut rules(&["eval", "--rules", &both, "--events", "/not/there"]));
    wrong(&mut rules(&["eval", "--rules", &both]));
}

#[test]
fn coverage_writes_a_layer() {
    let folder = tempfile::tempdir().unwrap();
    let layer: Value = serde_json::from_str(&succeed(&mut rules(&["coverage"]))).unwrap();
    let techniques = layer["techniques"].as_array().unwrap();
    let escape = techniques.iter().find(|technique| technique["techniqueID"] == "T1611").unwrap();
    assert!(escape["score"].as_u64().unwrap() > 1, "{escape}");
    assert!(escape["comment"].as_str().unwrap().contains("Privileged Container Requested"));
    assert_eq!(layer["versions"]["layer"], "4.5");
    let good = pack(&folder.path().join("good"), TEST);
    let out = folder.path().join("layer.json");
    assert_eq!(succeed(rules(&["coverage", &good, "--out"]).arg(&out)), "");
    let layer: Value = serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap();
    assert_eq!(layer["techniques"].as_array().unwrap().len(), 1);
    assert_eq!((&layer["techniques"][0]["score"], &layer["versions"]["attack"]), (&1.into(), &"18".into()));
}

/// An audit event of a privileged pod, and a twin that is not privileged.
fn audit(privileged: bool) -> String {
    let spec = serde_json::json!({"containers": [{"name": "a", "securityContext": {"privileged": privileged}}]});
    let event = serde_json::json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": "a-1", "verb": "create",
        "level": "RequestResponse", "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/prod/pods",
        "user": {"username": "alice"}, "stageTimestamp": "2026-03-02T10:00:00Z",
        "objectRef": {"resource": "pods", "namespace": "prod", "name": "x"}, "requestObject": {"spec": spec}});
    serde_json::to_string_pretty(&event).unwrap()
}

#[test]
fn explain_says_which_condition_failed() {
    let folder = tempfile::tempdir().unwrap();
    let explain = |name: &str, event: &str, more: &[&str]| {
        let out = with_input(rules(&["explain", name, "--event", "-"]).args(more), event);
        (out.status.code(), text(&out.stdout), text(&out.stderr))
    };
    let (code, told, _) = explain("Privileged Container Requested", &audit(true), &[]);
    assert_eq!(code, Some(0));
    assert!(told.starts_with("Privileged Container Requested (") && told.contains("by Palisade: matches\n"), "{told}");
    let (code, told, _) = explain("privileged container requested", &audit(false), &["--format", "k8s_audit"]);
    assert_eq!(code, Some(0));
    assert!(told.contains("by Palisade: does not match\n") && told.contains("NO  selection\n"), "{told}");
    let (_, because) = told.split_once("because\n").unwrap();
    assert_eq!(because, "    selection: field privileged: is false, wanted true\n", "{told}");
    // The other format is told first.
    let line =
        std::fs::read_to_string(PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../ingest/samples/falco.ndjson")));
    let (_, told, _) = explain("Privileged Container Requested", line.unwrap().lines().next().unwrap(), &[]);
    assert!(told.contains("NO  logsource product kubernetes, service audit: the event is of format falco"), "{told}");

    let good = pack(&folder.path().join("good"), TEST);
    let of = ["--rules", good.as_str(), "--format", "as-written", "--json"];
    let two = "{\"image\": \"/bin/sh\", \"parent\": \"nginx\"}\n{\"image\": \"/bin/sh\"}\n";
    let (code, told, _) = explain("0f7c2a52-6a0e-4f0b-8d1c-5a9d2b3c4e01", two, &of);
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((code, lines.len()), (Some(0), 2));
    assert_eq!((&lines[0]["holds"], &lines[1]["holds"]), (&true.into(), &false.into()));
    assert_eq!(lines[1]["reasons"], serde_json::json!(["selection: field parent: missing, wanted \"nginx\""]));
    assert_eq!(lines[1]["author"], "B. Author");

    assert_eq!(explain("no such rule", &audit(true), &[]).0, Some(2));
    let (_, _, told) = explain("privileged container", &audit(true), &[]);
    assert!(told.contains("like it are ") && told.contains("`Privileged Container Requested`"), "{told}");
    let (code, _, told) = explain("Privileged Container Requested", "neither\n", &["--format", "k8s_audit"]);
    assert!(code == Some(1) && told.contains("rejected as"), "{told}");
    assert_eq!(explain("Privileged Container Requested", "x", &["--format", "nope"]).0, Some(2));
}
