//! What `verify` promises, over the pack that comes with the library and over rules written for it.

mod exceptions;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_events::FieldPlan;
use serde_json::{Value, json};

use super::*;
use crate::{JsonEvent, Reading, RuleSet, batch_of_json, starter};

/// A rule with nothing to remark.
const RULE: &str = "\
title: Shell Started
id: 3f0a5c7e-2b1d-4c55-9f0e-0a1b2c3d4e5f
name: shell_started
status: test
description: A shell is started by a server.
author: A. Author
date: 2026-11-25
tags: [attack.execution, attack.t1059.004]
logsource: {product: example}
detection:
    selection:
        image|endswith: [/sh, /bash]
        parent.name: [nginx, httpd]
    filter_known:
        args|contains|all: ['-c', health]
    filter_user: {user: null}
    condition: selection and not 1 of filter_*
falsepositives: [Health checks]
level: high
";

const TEST: &str = "\
rule: 3f0a5c7e-2b1d-4c55-9f0e-0a1b2c3d4e5f
fires: [{format: example, event: {image: /bin/sh, parent: {name: nginx}, user: www}}]
silent: [{format: example, event: {image: /bin/ls, parent: {name: nginx}, user: www}}]
";

/// A pack in a folder of its own.
struct Pack(PathBuf);

impl Pack {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("palisade-verify-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        for (path, text) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    fn bundles(&self) -> Vec<Bundle> {
        Bundle::read(std::slice::from_ref(&self.0)).unwrap()
    }
}

impl Drop for Pack {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const MANIFEST: (&str, &str) = ("pack.toml", "name = \"p\"\nversion = \"1\"\nattack_version = \"18\"\n");

#[test]
fn embedded_tests_are_those_of_the_folder() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../packs/starter/tests"));
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, starter::TESTS.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
}

#[test]
fn starter_pack_passes_its_own_tests_and_the_lint() {
    let bundle = Bundle::starter().unwrap();
    let suite = Suite::new(&bundle, 0).unwrap();
    assert_eq!((suite.problems.len(), &suite.remarks), (0, &Vec::new()));
    let mut tested = BTreeSet::new();
    for case in &suite.cases {
        let outcome = suite.run(case).unwrap();
        assert_eq!(outcome.failures, [], "{}", outcome.title);
        assert!(outcome.events > 0 && outcome.author == "Palisade");
        tested.insert(outcome.rule);
    }
    assert_eq!(tested.len(), RuleSet::starter().unwrap().rules().len());
    let remarks = lint(&[bundle], "2026-11-25");
    assert_eq!(remarks.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_clean_pack_has_nothing_to_remark() {
    let pack = Pack::new("clean", &[MANIFEST, ("rules/r.yml", RULE), ("tests/r.yml", TEST)]);
    let bundles = pack.bundles();
    assert_eq!((bundles.len(), bundles[0].name.as_str()), (1, "p"));
    assert_eq!(lint(&bundles, "2026-11-25"), []);
    let suite = Suite::new(&bundles[0], 0).unwrap();
    assert_eq!(suite.run(&suite.cases[0]).unwrap().failures, []);
}

/// The rule, the exception and the tests that the page for users shows.
#[test]
fn the_pack_of_the_page_is_clean_and_passes() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md")).unwrap();
    let mut blocks = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let [rule, test, exception, suppressed] = std::array::from_fn(|_| blocks.next().unwrap());
    let files = [
        MANIFEST,
        ("rules/r.yml", rule),
        ("tests/r.yml", test),
        ("exceptions/e.yml", exception),
        ("tests/e.yml", suppressed),
    ];
    let pack = Pack::new("page", &files);
    let bundles = pack.bundles();
    assert_eq!(lint(&bundles, "2026-11-25"), []);
    let suite = Suite::new(&bundles[0], 0).unwrap();
    let outcomes: Vec<_> = suite.cases.iter().map(|case| suite.run(case).unwrap()).collect();
    let told: Vec<_> = outcomes.iter().map(|own| (own.title.as_str(), own.events, own.failures.as_slice())).collect();
    assert_eq!(told, [("Privileged Container Requested", 1, &[][..]), ("Web Server Starts A Shell", 2, &[])]);
    let probe =
        Probe::new(&[bundles.clone(), vec![Bundle::starter().unwrap()]].concat(), &outcomes[0].rule, Reading::Taxonomy);
    let probe = probe.unwrap();
    let diagnosis = probe.diagnose(&batch_of_json(probe.plan(), &suite.cases[0].suppressed).unwrap(), 0).to_string();
    // As the page shows it, but for what is cut out.
    let shown = page.split_once("  suppressed by ").unwrap().1.split("```").next().unwrap();
    assert!(diagnosis.ends_with(&shown.replace("5f1c0d0e-…", "5f1c0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10")), "{diagnosis}");
}

#[test]
fn each_lint_finds_what_it_is_for() {
    for (from, to, check, grade) in [
        ("id: 3f0a5c7e-2b1d-4c55-9f0e-0a1b2c3d4e5f\n", "", "no-id", Grade::Warning),
        ("id: 3f0a5c7e-2b1d", "id: 3f0a5c7e-2b1", "id-shape", Grade::Warning),
        ("status: test\n", "", "no-status", Grade::Warning),
        ("description: A shell is started by a server.\n", "", "no-description", Grade::Warning),
        ("author: A. Author\n", "", "no-author", Grade::Warning),
        ("falsepositives: [Health checks]\n", "", "no-false-positives", Grade::Warning),
        ("level: high\n", "", "no-level", Grade::Warning),
        ("tags: [attack.execution, attack.t1059.004]\n", "", "no-tags", Grade::Warning),
        ("t1059.004", "t1059.4", "unknown-tag", Grade::Warning),
        ("t1059.004", "t159", "unknown-tag", Grade::Warning),
        ("date: 2026-11-25", "date: 2026/11/25", "date-shape", Grade::Warning),
        ("date: 2026-11-25", "date: 2026-13-25", "date-shape", Grade::Warning),
        ("    condition", "    left_over: {a: b}\n    condition", "unused-selection", Grade::Warning),
        (
            "    condition: selection and not 1 of",
            "    star: {image: '*'}\n    condition: star or selection or 1 of",
            "too-broad",
            Grade::Warning,
        ),
        ("nginx, httpd", "nginx, httpd", "untested", Grade::Warning),
    ] {
        let rule = RULE.replace(from, to);
        assert!(rule != RULE || check == "untested", "{check}: nothing was changed");
        let test = TEST.replace("3f0a5c7e-2b1d-4c55-9f0e-0a1b2c3d4e5f", "shell_started");
        let files = [MANIFEST, ("rules/r.yml", &rule), ("tests/r.yml", &test)];
        let pack = Pack::new(check, if check == "untested" { &files[..2] } else { &files });
        let remarks = lint(&pack.bundles(), "2026-11-25");
        let told: Vec<_> = remarks.iter().map(|remark| (remark.check, remark.grade)).collect();
        assert_eq!(told, [(check, grade)], "{to}: {remarks:?}");
        assert_eq!(remarks[0].rule.as_deref(), Some("Shell Started"));
    }
}

#[test]
fn a_selection_that_is_not_used_is_told_once() {
    let pack = Pack::new("once", &[("r.yml", &RULE.replace("    condition", "    left_over: {a: b}\n    condition"))]);
    let bundles = pack.bundles();
    let (_, problems) = bundles[0].load(Reading::Taxonomy).unwrap();
    assert_eq!(problems.iter().map(Remark::of_problem).collect::<Vec<_>>(), lint(&bundles, "2026-11-25"));
}

#[test]
fn lint_looks_across_files() {
    let exception = "title: E\nid: e-1\npalisade: {owner: o, reason: r, expires: 2026-11-20}\n";
    let files = [
        ("a/pack.toml", MANIFEST.1),
        ("a/rules/r.yml", RULE),
        ("a/tests/r.yml", &TEST.replace("rule: 3f", "rule: 4f")),
        ("a/tests/s.yml", "rule: [1]\n"),
        ("a/tests/t.yml", TEST),
        ("a/exceptions/e.yml", exception),
        ("b/r.yml", RULE),
        ("b/e.yml", &format!("{exception}filter: {{rules: any}}\n")),
    ];
    let pack = Pack::new("across", &files);
    let bundles = pack.bundles();
    assert_eq!(bundles.len(), 2);
    let told = |today: &str| -> Vec<_> { lint(&bundles, today).iter().map(|remark| remark.check).collect() };
    // What lies loose comes before the packs.
    let (doubles, tests) = (["duplicate-id", "duplicate-title"], ["test-unread", "test-of-unknown-rule"]);
    let (expired, double) = (&["exception-expired"][..], &["duplicate-id"][..]);
    assert_eq!(told("2026-11-19"), [&doubles[..], double, &tests].concat());
    assert_eq!(told("2026-11-20"), [expired, &doubles, double, expired, &tests].concat());
}

/// What a look at a pack says of its tests, with and without running them.
#[test]
fn a_test_that_tests_nothing_is_told_of() {
    let slip =
        TEST.replace("silent: [{format: example, ", "silent: [{format: example, columns: {process_file_pth: a}, ");
    let unfit = TEST.replace("fires: [{format: example, ", "fires: [{format: example, columns: {process_pid: '7'}, ");
    for (name, test, check, grade, why) in [
        (
            "slip",
            slip.as_str(),
            "test-unread",
            Grade::Error,
            "the test cannot be read: silent event 1: `process_file_pth` is no event column; `process_file_path` is one",
        ),
        (
            "unfit",
            &unfit,
            "test-unread",
            Grade::Error,
            "the test cannot be read: fires event 1: the column `process_pid` takes a whole number of 64 bits, not \"7\"",
        ),
        ("key", &TEST.replace("fires", "fire"), "test-unread", Grade::Error, "unknown field `fire`"),
        ("empty", "# later\n", "test-unread", Grade::Error, "there is no test in this file"),
        ("eventless", "rule: shell_started\n", "test-without-events", Grade::Error, "`shell_started` has no events"),
        ("unknown", &TEST.replace("rule: 3f", "rule: 4f"), "test-of-unknown-rule", Grade::Error, "no rule of p nor"),
        ("silent", &TEST.replace("fires", "# fires"), "untested", Grade::Warning, "that the rule matches"),
    ] {
        let files = [MANIFEST, ("rules/r.yml", RULE), ("tests/a.yml", test), ("tests/r.yml", TEST)];
        let pack = Pack::new(name, if name == "silent" { &files[..3] } else { &files });
        let bundles = pack.bundles();
        let remarks = lint(&bundles, "2026-11-25");
        let told: Vec<_> = remarks.iter().map(|remark| (remark.check, remark.grade)).collect();
        assert_eq!(told, [(check, grade)], "{name}: {remarks:?}");
        assert!(remarks[0].why.contains(why), "{name}: {}", remarks[0].why);
        assert!(check == "untested" || remarks[0].path.ends_with("tests/a.yml"), "{name}: {}", remarks[0]);
        // What cannot be read is told of when tests are run, too, and the others are run.
        let suite = Suite::new(&bundles[0], 0).unwrap();
        assert_eq!(suite.remarks, if check == "test-unread" { remarks } else { Vec::new() });
        assert!(!suite.cases.is_empty());
    }
}

#[test]
fn one_test_of_a_file_that_is_wrong_leaves_the_others() {
    let payload = "rule: x\nfires: [{format: example, event: [1]}]\n";
    let many = format!("---\n{TEST}---\nrule: [1]\n---\n{payload}---\n{TEST}---\n");
    let pack = Pack::new("many", &[MANIFEST, ("rules/r.yml", RULE), ("tests/r.yml", &many), ("tests/s.yml", "a: [\n")]);
    let bundles = pack.bundles();
    let (cases, remarks) = cases::read(&bundles[0]);
    assert_eq!((cases.len(), remarks.len()), (2, 3), "{remarks:?}");
    assert!(remarks[0].path.ends_with("r.yml") && remarks[2].path.ends_with("s.yml"), "{remarks:?}");
    assert!(remarks[1].why.contains("fires event 1: the payload `event` is no mapping"), "{remarks:?}");
}

#[test]
fn an_event_that_the_logsource_does_not_mean_is_noted() {
    let test = TEST.replace("silent: [{format: example, ", "silent: [{format: exampel, event: {}}, {format: example, ");
    let pack = Pack::new("beside", &[MANIFEST, ("rules/r.yml", RULE), ("tests/r.yml", &test)]);
    let bundles = pack.bundles();
    let suite = Suite::new(&bundles[0], 0).unwrap();
    let outcome = suite.run(&suite.cases[0]).unwrap();
    assert_eq!((outcome.events, outcome.failures), (3, Vec::new()));
    assert!(outcome.notes.len() == 1 && outcome.notes[0].starts_with("silent event 1: of format exampel, class 0"));
}

#[test]
fn what_holds_no_rules_is_no_success() {
    for (files, is_empty) in [
        (&[("notes.md", "x")][..], true),
        (&[("r.yml", "# later\n")], true),
        (&[MANIFEST], true),
        (&[MANIFEST, ("rules/README.md", "x")], true),
        (&[MANIFEST, ("rules/r.yml", RULE), ("tests/r.yml", TEST)], false),
        (&[MANIFEST, ("correlations/c.toml", "x")], false),
    ] {
        let pack = Pack::new("empty", files);
        let remarks = lint(&pack.bundles(), "2026-11-25");
        let told: Vec<_> = remarks.iter().map(|own| (own.check, own.path.starts_with(&pack.0))).collect();
        assert_eq!(told, if is_empty { vec![("no-rules", true)] } else { Vec::new() }, "{files:?}");
    }
}

#[test]
fn a_rule_of_a_bundle_has_its_file() {
    let (other, unnamed) =
        (RULE.replace("id: 3f", "id: zf"), RULE.replace("id: 3f0a5c7e-2b1d-4c55-9f0e-0a1b2c3d4e5f\n", ""));
    let files = [MANIFEST, ("rules/a.yml", &other), ("rules/b.yml", RULE), ("rules/c.yml", &unnamed)];
    let pack = Pack::new("file", &files);
    let bundles = pack.bundles();
    let (rules, problems) = bundles[0].load(Reading::Taxonomy).unwrap();
    assert_eq!(problems, []);
    let files = bundles[0].files();
    let mut told: Vec<_> = rules.rules().iter().map(|rule| files[&rule.uid].strip_prefix(&pack.0).unwrap()).collect();
    // By id; the one without has the hash of its title, wherever that is.
    told.retain(|file| !file.ends_with("c.yml"));
    assert_eq!(told, ["rules/b.yml", "rules/a.yml"].map(std::path::Path::new));
    assert_eq!((rules.rules().len(), files.len()), (3, 3));
}

#[test]
fn a_failed_test_says_which_event_and_why() {
    let test = "\
rule: Shell Started
fires:
    - {format: example, event: {image: /bin/sh, parent: {name: nginx}, user: www}}
    - {format: example, event: {image: /bin/sh, parent: {name: cron}, user: www}}
silent:
    - {format: example, event: {image: /bin/bash, parent: {name: httpd}, user: www}}
";
    let pack =
        Pack::new("failed", &[MANIFEST, ("rules/r.yml", RULE), ("tests/r.yml", test), ("tests/s.yml", "rule: nope\n")]);
    let bundles = pack.bundles();
    let suite = Suite::new(&bundles[0], 0).unwrap();
    let outcome = suite.run(&suite.cases[0]).unwrap();
    assert_eq!((outcome.events, outcome.author.as_str()), (3, "A. Author"));
    let told: Vec<_> = outcome.failures.iter().map(|f| (f.wanted, f.number)).collect();
    assert_eq!(told, [(Some(Wanted::Fires), 2), (Some(Wanted::Silent), 1)]);
    let reason = "because\n    selection: field parent.name: is \"cron\", wanted one of \"nginx\", \"httpd\"\n";
    assert!(outcome.failures[0].why.ends_with(reason), "{}", outcome.failures[0].why);
    assert!(outcome.failures[1].to_string().starts_with("silent event 1: the rule fires\n"), "{}", outcome.failures[1]);
    let unknown = suite.run(&suite.cases[1]).unwrap();
    assert!(unknown.failures[0].why.contains("no rule `nope`"), "{:?}", unknown.failures);
}

#[test]
fn a_diagnosis_names_the_part_that_failed() {
    let pack = Pack::new("diagnosis", &[("r.yml", RULE)]);
    let bundles = pack.bundles();
    for (name, format, event, holds, reasons) in [
        (
            "shell_started",
            "example",
            json!({"image": "/bin/sh", "parent": {"name": ["cron", "nginx"]}, "user": "www", "args": "-c ls"}),
            true,
            &[
                "selection: field image: is \"/bin/sh\", wanted endswith one of \"/sh\", \"/bash\"",
                "selection: field parent.name: has \"cron\", \"nginx\", wanted one of \"nginx\", \"httpd\"",
                "filter_known: field args: is \"-c ls\", wanted contains \"health\"",
                "filter_user: field user: is \"www\", wanted null",
            ][..],
        ),
        (
            "shell started",
            "example",
            json!({"image": "/bin/ls", "user": "www"}),
            false,
            &[
                "selection: field image: is \"/bin/ls\", wanted endswith one of \"/sh\", \"/bash\"",
                "selection: field parent.name: missing, wanted one of \"nginx\", \"httpd\"",
            ],
        ),
        (
            "3F0A5C7E-2b1d-4c55-9f0e-0a1b2c3d4e5f",
            "example",
            json!({"image": "/bin/sh", "parent": {"name": "nginx"}}),
            false,
            &["filter_user: field user: missing, wanted null"],
        ),
        (
            "shell_started",
            "falco",
            json!({"image": "/bin/sh", "parent": {"name": "nginx"}, "user": "x"}),
            false,
            &["logsource product example: the event is of format falco, class 0"],
        ),
    ] {
        let probe = Probe::new(&bundles, name, Reading::Taxonomy).unwrap();
        let event = JsonEvent { format: format.into(), event, ..JsonEvent::default() };
        let batch = batch_of_json(probe.plan(), &[event]).unwrap();
        let diagnosis = probe.diagnose(&batch, 0);
        assert_eq!((diagnosis.holds, diagnosis.author.as_str()), (holds, "A. Author"), "{diagnosis}");
        assert_eq!(diagnosis.reasons, reasons, "{diagnosis}");
        assert!(diagnosis.to_string().contains(if holds { ": matches\n" } else { ": does not match\n" }));
    }
    for (wanted, why) in [
        ("other", "there is no rule with the id, name or title `other`"),
        ("started  SHELL", "there is no rule with the id, name or title `started  SHELL`; like it are `Shell Started`"),
    ] {
        let told = Probe::new(&bundles, wanted, Reading::Taxonomy).unwrap_err();
        assert!(matches!(told, ProbeError::Unknown { .. }) && told.to_string() == why, "{told}");
    }
}

#[test]
fn a_diagnosis_shows_the_condition_as_a_tree() {
    let rule = "title: T\nlogsource: {product: example}\ndetection:\n  words: [alpha, beta]\n  \
        mixed:\n    - a: 1\n    - b|gt: 5\n      c: '*'\n  condition: words and (mixed or not words)\n";
    let pack = Pack::new("tree", &[("r.yml", rule)]);
    let probe = Probe::new(&pack.bundles(), "T", Reading::AsWritten).unwrap();
    let event = JsonEvent { event: json!({"x": "say ALPHA", "b": "7"}), ..JsonEvent::default() };
    let batch = batch_of_json(probe.plan(), &[event]).unwrap();
    let told = probe.diagnose(&batch, 0).to_string();
    let (_, told) = told.split_once('\n').unwrap();
    let expected = "    yes logsource product example: the event is of format , class 0
    NO  all of
        yes words
            yes keywords: the event has one of \"alpha\", \"beta\"
        NO  any of
            NO  mixed
                NO  any of
                    NO  field a: missing, wanted 1
                    NO  all of
                        yes field b: is \"7\", wanted gt 5
                        NO  field c: missing, wanted \"*\"
            NO  not
                yes words
                    yes keywords: the event has one of \"alpha\", \"beta\"
  because
    mixed: field a: missing, wanted 1
    mixed: field c: missing, wanted \"*\"
    words: keywords: the event has one of \"alpha\", \"beta\"
";
    assert_eq!(told, expected);
}

/// The diagnosis and the engine are asked about every event of the starter pack's tests by every rule.
#[test]
fn a_diagnosis_agrees_with_the_engine() {
    let bundle = [Bundle::starter().unwrap()];
    let (cases, _) = cases::read(&bundle[0]);
    let events: Vec<JsonEvent> = cases.into_iter().flat_map(|case| [case.fires, case.silent].concat()).collect();
    let rules = RuleSet::starter().unwrap();
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    let engine = rules.compile(&plan).unwrap();
    let matches: BTreeSet<(u32, u32)> =
        engine.evaluate(&batch_of_json(&plan, &events).unwrap()).iter().map(|one| (one.rule, one.row)).collect();
    for (number, rule) in (0..).zip(engine.rules()) {
        let probe = Probe::new(&bundle, &rule.uid, Reading::Taxonomy).unwrap();
        let batch = batch_of_json(probe.plan(), &events).unwrap();
        // Every ninth event that does not match, which is hundreds a rule in all.
        for row in (0..events.len() as u32).filter(|row| matches.contains(&(number, *row)) || row % 9 == number % 9) {
            let diagnosis = probe.diagnose(&batch, row as usize);
            assert_eq!(diagnosis.holds, matches.contains(&(number, row)), "{row}: {diagnosis}");
            assert!(!diagnosis.reasons.is_empty(), "{diagnosis}");
        }
    }
}

#[test]
fn a_layer_counts_the_rules_of_a_technique() {
    let other = RULE.replace("title: Shell Started", "title: Other").replace("id: 3f", "id: 4f");
    let untagged = "title: U\nlogsource: {product: x}\ndetection: {s: {a: b}, condition: s}\n";
    let pack = Pack::new(
        "layer",
        &[
            MANIFEST,
            ("rules/a.yml", RULE),
            ("rules/b.yml", &other.replace("[attack", "[attack.t1610, attack")),
            ("rules/c.yml", untagged),
        ],
    );
    let (rules, problems) = pack.bundles()[0].load(Reading::Taxonomy).unwrap();
    assert_eq!(problems, []);
    let layer = navigator_layer("p", rules.rules());
    assert_eq!(layer["versions"], json!({"attack": "18", "navigator": "5.1.0", "layer": "4.5"}));
    let told: Vec<Value> = layer["techniques"].as_array().unwrap().clone();
    let told: Vec<_> =
        told.iter().map(|t| (t["techniqueID"].as_str().unwrap(), t["score"].as_u64(), t["comment"].as_str())).collect();
    assert_eq!(told, [("T1059.004", Some(2), Some("Shell Started; Other")), ("T1610", Some(1), Some("Other"))]);
    assert_eq!(layer["gradient"]["maxValue"], 2);
    // A filter of platforms would hide techniques that rules of other platforms claim.
    assert!(layer.get("filters").is_none());
    assert!(layer["description"].as_str().unwrap().starts_with("3 rules claim 2 techniques, 1 claim none"));
}

#[test]
fn a_replay_tells_lines_by_rule() {
    let rule = |id: &str, detection: &str| {
        format!(
            "title: R{id}\nid: {id}\nlogsource: {{product: windows}}\ndetection:\n  s: {detection}\n  condition: s\n"
        )
    };
    let text =
        [rule("b", "{verb: get}"), rule("a", "{'n|gte': 5000}"), rule("c", "{verb: never}"), rule("d", "['needle']")]
            .join("---\n");
    // Files may begin with a byte order mark.
    let pack = Pack::new("replay", &[("r.yml", &format!("\u{feff}{text}"))]);
    let (rules, problems) = pack.bundles()[0].load(Reading::AsWritten).unwrap();
    assert_eq!(problems, []);
    let mut replay = Replay::new(rules).unwrap();
    let mut refused = Vec::new();
    for number in 1..=10_000u64 {
        let line = match number {
            4 => "  ".to_owned(),
            5 => "{\"verb\":".to_owned(),
            6 => "[1]".to_owned(),
            7 => "\u{feff}{\"verb\": [\"list\", \"GET\"]}\r\n".to_owned(),
            9_999 => "{\"x\": {\"y\": \"a Needle\"}, \"verb\": \"get\"}".to_owned(),
            n => format!("{{\"n\": {n}}}"),
        };
        if let Some(why) = replay.push(number, line.as_bytes()).unwrap() {
            refused.push((number, why));
        }
    }
    assert_eq!(replay.events(), 9_997);
    assert_eq!(refused.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [5, 6]);
    assert!(refused[0].1.starts_with("not JSON: EOF") && refused[1].1.contains("no object"), "{refused:?}");
    let told = replay.finish().unwrap();
    assert_eq!(told.iter().map(|(uid, _)| uid.as_str()).collect::<Vec<_>>(), ["a", "b", "d"]);
    let expected: Vec<u64> = (5000..=10_000).filter(|n| *n != 9_999).collect();
    assert_eq!(told[0].1, expected);
    assert_eq!((&told[1].1, &told[2].1), (&vec![7, 9_999], &vec![9_999]));
}
