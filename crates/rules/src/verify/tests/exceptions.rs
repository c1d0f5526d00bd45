//! What a diagnosis and a pack's tests say of exceptions: which suppress, by what, which do not, and what they cannot say
//! otherwise than the engine does.

use super::*;

/// An exception from [`RULE`], until the end of 2026.
const EXCEPTION: &str = "\
title: Build jobs start shells
id: 5f1c0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10
logsource: {product: example}
filter:
    rules: [shell_started]
    selection:
        user: build
        args|contains: [make, ninja]
    other: {image|endswith: /bash}
    condition: not (selection or other)
palisade: {owner: platform, reason: Builds need them, expires: 2027-01-01}
";

/// Microseconds of a moment.
fn at(text: &str) -> i64 {
    palisade_events::time::parse_rfc3339(text).unwrap()
}

fn event(image: &str, user: &str, time: &str) -> JsonEvent {
    JsonEvent {
        format: "example".into(),
        columns: json!({"time": time}).as_object().cloned().unwrap(),
        event: json!({"image": image, "parent": {"name": "nginx"}, "user": user, "args": "make all"}),
        ..JsonEvent::default()
    }
}

fn told(probe: &Probe, event: JsonEvent) -> Diagnosis {
    probe.diagnose(&batch_of_json(probe.plan(), &[event]).unwrap(), 0)
}

const BEFORE: &str = "2026-11-25T00:00:00Z";

#[test]
fn a_suppressed_match_says_by_what_and_which_part_held() {
    let files = [MANIFEST, ("rules/r.yml", RULE), ("exceptions/e.yml", EXCEPTION)];
    let pack = Pack::new("suppressed", &files);
    let probe = Probe::new(&pack.bundles(), "shell_started", Reading::Taxonomy).unwrap();
    assert_eq!(probe.problems(), []);
    let diagnosis = told(&probe, event("/bin/sh", "build", BEFORE));
    assert_eq!(diagnosis.suppressed_by.as_deref(), Some("5f1c0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10"));
    let text = diagnosis.to_string();
    assert!(text.contains(", by A. Author: matches, and is suppressed\n"), "{text}");
    let (_, end) = text.split_once("  suppressed by ").unwrap();
    let expected = "the exception `Build jobs start shells` (5f1c0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10), of platform, \
        until 2027-01-01: Builds need them
    NO  not
        yes any of
            yes selection
                yes field user: is \"build\", wanted \"build\"
                yes field args: is \"make all\", wanted contains one of \"make\", \"ninja\"
            NO  other
                NO  field image: is \"/bin/sh\", wanted endswith \"/bash\"
  because
    selection: field user: is \"build\", wanted \"build\"
    selection: field args: is \"make all\", wanted contains one of \"make\", \"ninja\"
";
    assert_eq!(end, expected);
    let as_json = serde_json::to_value(&diagnosis).unwrap();
    assert_eq!(as_json["suppressed_by"], "5f1c0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10");
    let own = &as_json["exceptions"][0];
    assert_eq!(
        (&own["verdict"], &own["owner"], &own["expires"]),
        (&json!("suppresses"), &json!("platform"), &json!("2027-01-01"))
    );
}

#[test]
fn an_exception_that_does_not_suppress_is_told_in_a_line() {
    let named = "exception `Build jobs start shells` (5f1c0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10)";
    let files = [MANIFEST, ("rules/r.yml", RULE), ("exceptions/e.yml", EXCEPTION)];
    let pack = Pack::new("unsuppressed", &files);
    let probe = Probe::new(&pack.bundles(), "shell_started", Reading::Taxonomy).unwrap();
    for (image, user, time, holds, verdict, line) in [
        (
            "/bin/sh",
            "www",
            BEFORE,
            true,
            Verdict::Keeps,
            format!(
                "not suppressed by the {named}: selection: field user: is \"www\", wanted \"build\"; \
                     other: field image: is \"/bin/sh\", wanted endswith \"/bash\""
            ),
        ),
        (
            "/bin/sh",
            "build",
            "2027-01-01T00:00:00Z",
            true,
            Verdict::Expired,
            format!("the {named} would suppress it, but expired on 2027-01-01, before the event"),
        ),
        (
            "/bin/ls",
            "build",
            BEFORE,
            false,
            Verdict::NotAsked,
            format!("the {named} applies to the rule, but there is no match to suppress"),
        ),
    ] {
        let diagnosis = told(&probe, event(image, user, time));
        assert_eq!((diagnosis.holds, diagnosis.suppressed_by.as_deref()), (holds, None), "{diagnosis}");
        assert_eq!(diagnosis.exceptions.iter().map(|one| one.verdict).collect::<Vec<_>>(), [verdict]);
        assert_eq!(diagnosis.to_string().lines().last(), Some(format!("  {line}").as_str()), "{diagnosis}");
    }
}

#[test]
fn exceptions_of_other_rules_say_nothing_and_broken_ones_are_problems() {
    let other = EXCEPTION.replace("rules: [shell_started]", "rules: [other_rule]").replace("5f1c0d0e", "6f1c0d0e");
    let unowned = EXCEPTION.replace("owner: platform, ", "").replace("5f1c0d0e", "7f1c0d0e");
    let files = [
        MANIFEST,
        ("rules/r.yml", RULE),
        ("exceptions/a.yml", EXCEPTION),
        ("exceptions/b.yml", &other),
        ("exceptions/c.yml", &unowned),
        // Of two with one id, the first is in force.
        ("exceptions/d.yml", &EXCEPTION.replace("Build jobs", "Other jobs")),
    ];
    let pack = Pack::new("broken", &files);
    let probe = Probe::new(&pack.bundles(), "shell_started", Reading::Taxonomy).unwrap();
    let problems: Vec<String> = probe.problems().iter().map(ToString::to_string).collect();
    assert!(
        problems.len() == 1 && problems[0].contains("c.yml") && problems[0].contains("palisade.owner"),
        "{problems:?}"
    );
    let diagnosis = told(&probe, event("/bin/sh", "build", BEFORE));
    assert_eq!(
        diagnosis.exceptions.iter().map(|one| one.title.as_str()).collect::<Vec<_>>(),
        ["Build jobs start shells"]
    );
}

#[test]
fn a_rule_that_is_refused_is_named_with_its_file() {
    let pack = Pack::new("refused", &[("r.yml", &RULE.replace("selection and not", "other and not"))]);
    let why = Probe::new(&pack.bundles(), "shell_started", Reading::Taxonomy).unwrap_err().to_string();
    assert!(why.contains("r.yml") && why.contains("Shell Started") && why.contains("`other`"), "{why}");
}

#[test]
fn a_test_can_say_that_an_event_is_suppressed() {
    let event = |user: &str, time: &str| {
        format!(
            "    - {{format: example, {time}event: {{image: /bin/sh, parent: {{name: nginx}}, user: {user}, args: make}}}}\n"
        )
    };
    let (build, www) = (event("build", ""), event("www", ""));
    let late = event("build", "columns: {time: '2027-03-01T00:00:00Z'}, ");
    let silent = build.replace("/bin/sh", "/bin/ls");
    for (name, list, at, events, why) in [
        ("is", "suppressed", "2026-11-25T00:00:00Z", &build, None),
        ("counts as silent", "silent", "2026-11-25T00:00:00Z", &build, None),
        (
            "fires",
            "fires",
            "2026-11-25T00:00:00Z",
            &build,
            Some(
                "fires event 1: the rule matches, but is suppressed by `Build jobs start shells` (platform, until \
                  2027-01-01): Builds need them\n",
            ),
        ),
        (
            "is not",
            "suppressed",
            "2026-11-25T00:00:00Z",
            &www,
            Some("suppressed event 1: the rule fires, and no exception suppresses it\n"),
        ),
        (
            "has expired",
            "suppressed",
            "2027-01-01T00:00:00Z",
            &build,
            Some("suppressed event 1: the rule fires, and no exception suppresses it\n"),
        ),
        (
            "is of a time of its own",
            "suppressed",
            "2026-11-25T00:00:00Z",
            &late,
            Some("suppressed event 1: the rule fires, and no exception suppresses it\n"),
        ),
        (
            "does not match",
            "suppressed",
            "2026-11-25T00:00:00Z",
            &silent,
            Some("suppressed event 1: the rule is silent, so that there is nothing to suppress\n"),
        ),
    ] {
        let test = format!("rule: shell_started\n{list}:\n{events}");
        let files = [MANIFEST, ("rules/r.yml", RULE), ("exceptions/e.yml", EXCEPTION), ("tests/r.yml", &test)];
        let pack = Pack::new(&name.replace(' ', "-"), &files);
        let bundles = pack.bundles();
        let suite = Suite::new(&bundles[0], self::at(at)).unwrap();
        let outcome = suite.run(&suite.cases[0]).unwrap();
        assert_eq!(outcome.events, 1, "{name}");
        let told: Vec<String> = outcome.failures.iter().map(ToString::to_string).collect();
        match why {
            None => assert_eq!(told, Vec::<String>::new(), "{name}"),
            Some(why) => {
                assert!(told.len() == 1 && told[0].starts_with(why), "{name}: {told:?}");
                assert!(told[0].contains("exception `Build jobs start shells`"), "{name}: {told:?}");
            }
        }
    }
}

#[test]
fn a_pack_of_exceptions_alone_is_tested_on_rules_that_are_built_in() {
    let starter = RuleSet::starter().unwrap();
    let rule = starter.rules().iter().find(|rule| rule.title == "Command Run In A Pod").unwrap();
    let exception = format!(
        "title: Debugging\nid: 1f1c0d0e-58c4-4b0e-a4f0-6f5a0f7d1f10\nlogsource: {{product: kubernetes, service: audit}}\n\
         filter: {{rules: [{}], selection: {{objectRef.namespace: lab}}, condition: not selection}}\n\
         palisade: {{owner: o, reason: r, expires: 2027-01-01}}\n",
        rule.uid
    );
    let event = |namespace: &str| {
        format!(
            "[{{format: k8s_audit, event: {{stage: ResponseStarted, verb: create, user: {{username: alice}}, responseStatus: \
             {{code: 101}}, objectRef: {{resource: pods, subresource: exec, namespace: {namespace}, name: x}}}}}}]"
        )
    };
    let test = format!("rule: Command Run In A Pod\nsuppressed: {}\nfires: {}\n", event("lab"), event("prod"));
    let pack = Pack::new("alone", &[MANIFEST, ("exceptions/e.yml", &exception), ("tests/e.yml", &test)]);
    let bundles = pack.bundles();
    assert_eq!(lint(&bundles, "2026-11-25"), []);
    let suite = Suite::new(&bundles[0], 0).unwrap();
    let outcome = suite.run(&suite.cases[0]).unwrap();
    assert_eq!((outcome.rule, outcome.events, outcome.failures), (rule.uid.clone(), 2, Vec::new()));
}

/// The diagnosis and the engine are asked about all matches of the starter pack's tests, under exceptions that use the
/// fields of Sigma, columns of ours, a pack's placeholders, and a day that has passed.
#[test]
fn a_diagnosis_agrees_with_the_engine_about_exceptions() {
    let exception = |number: usize, head: &str, filter: &str, expires: &str| {
        format!(
            "title: E{number}\nid: e-{number}\n{head}\nfilter: {{rules: any, {filter}}}\n\
             palisade: {{owner: o, reason: r, expires: {expires}}}\n"
        )
    };
    let (far, past) = ("2099-01-01", "2001-01-01");
    let audit = "logsource: {product: kubernetes, service: audit}";
    let linux = "logsource: {product: linux}";
    let all = [
        exception(0, audit, "s: {verb: [create, patch], objectRef.namespace: 'kube*'}, condition: not s", far),
        exception(1, audit, "a: {user.username|startswith: a}, b: {verb: create}, condition: not (a and b)", far),
        exception(2, audit, "s: {user.username|expand: '%people%'}, condition: not 1 of s*", far),
        exception(3, audit, "s: {verb: '*'}, condition: not s", past),
        exception(4, linux, "s: {Image|endswith: [sh, curl]}, t: {User: root}, condition: not s or t", far),
        exception(
            5,
            &format!("{linux}\ntaxonomy: palisade"),
            "s: {process_file_path|contains: /tmp}, k: [python], condition: not (s or k)",
            far,
        ),
        exception(
            6,
            linux,
            "s: {process_name: x}, t: {CommandLine|contains|all: [-, e]}, condition: not 2 of them",
            far,
        ),
    ];
    let names: Vec<String> = (0..all.len()).map(|number| format!("exceptions/e{number}.yml")).collect();
    let mut files = vec![MANIFEST, ("placeholders.toml", "[placeholders]\npeople = [\"bob\", \"mallory\"]\n")];
    files.extend(names.iter().zip(&all).map(|(name, text)| (name.as_str(), text.as_str())));
    let pack = Pack::new("agreement", &files);
    let bundles = [vec![Bundle::starter().unwrap()], pack.bundles()].concat();
    let (own, problems) = bundles[1].load(Reading::Taxonomy).unwrap();
    assert_eq!(problems, []);
    let rules = RuleSet::starter().unwrap().merge(own);
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    let engine = rules.compile(&plan).unwrap();
    let (cases, _) = cases::read(&bundles[0]);
    let events: Vec<JsonEvent> = cases.into_iter().flat_map(|case| case.fires).collect();
    let batch = batch_of_json(&plan, &events).unwrap();
    let mut matches = engine.evaluate(&batch);
    // Every third rule, for taking one apart costs a look at the whole pack.
    matches.retain(|one| one.rule % 3 == 0);
    matches.sort_unstable_by_key(|one| (one.rule, one.row));
    let suppressed = engine.suppressions(&batch, &matches);
    let (mut probe, mut seen) = (None, BTreeSet::new());
    for (one, by) in matches.iter().zip(suppressed) {
        let (rule, by) = (&engine.rules()[one.rule as usize], by.map(|by| by.uid.as_str()));
        let probe = match &mut probe {
            Some((number, probe)) if *number == one.rule => probe,
            other => &mut other.insert((one.rule, Probe::new(&bundles, &rule.uid, Reading::Taxonomy).unwrap())).1,
        };
        assert_eq!(probe.problems(), []);
        let batch = batch_of_json(probe.plan(), &events[one.row as usize..=one.row as usize]).unwrap();
        let diagnosis = probe.diagnose(&batch, 0);
        assert!(diagnosis.holds, "{diagnosis}");
        assert_eq!(diagnosis.suppressed_by.as_deref(), by, "{diagnosis}");
        let asked: Vec<&str> = diagnosis.exceptions.iter().map(|one| one.exception.as_str()).collect();
        assert_eq!(asked, rule.excepted_by, "{}", rule.title);
        seen.extend(by.map(str::to_owned));
    }
    assert!(seen.len() >= 4, "{seen:?}");
}
