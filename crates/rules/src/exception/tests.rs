//! Exceptions: which rules they apply to, what they suppress, until when, and what is said of those that do not fit.

use std::sync::Arc;

use palisade_events::FieldPlan;
use serde_json::{Value, json};

use crate::load::{Context, Folder, Loaded, documents};
use crate::{Engine, JsonEvent, Reading, RuleSet, batch_of_json};

const RULES: &str = "\
title: Pod Created\nid: r-pod\nname: pod_created\nlogsource: {product: kubernetes, service: audit}\n\
detection: {selection: {verb: create, objectRef.resource: pods}, condition: selection}\n---\n\
title: Anything Done\nid: r-any\nlogsource: {product: kubernetes, service: audit}\n\
detection: {selection: {verb: '*'}, filter_x: {verb: watch}, condition: selection and not 1 of filter_*}\n---\n\
title: Program Run\nid: r-run\nlogsource: {category: process_creation, product: linux}\n\
detection: {selection: {Image|endswith: /sh}, condition: selection}\n";

fn exception(rules: &str, filter: &str, palisade: &str) -> String {
    format!(
        "title: Builds\nid: e-1\nlogsource: {{product: kubernetes}}\nfilter: {{rules: {rules}, {filter}}}\n\
         palisade: {{{palisade}}}\n"
    )
}

const CI: &str = "selection: {objectRef.namespace: ci}, condition: not selection";
const WHO: &str = "owner: platform, reason: Builds make pods., expires: 2027-01-01";

fn engine(text: &str) -> Engine {
    let (rules, problems) = RuleSet::parse("r.yml", text);
    assert_eq!(problems, []);
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    rules.compile(&plan).unwrap()
}

fn pod(namespace: &str, time: &str) -> JsonEvent {
    let event = json!({"verb": "create", "objectRef": {"resource": "pods", "namespace": namespace}});
    let columns = json!({"time": time}).as_object().cloned().unwrap();
    JsonEvent { format: "k8s_audit".into(), columns, event, ..JsonEvent::default() }
}

/// Title of the rule and row of each match, and whether it is suppressed.
fn told(engine: &Engine, events: &[JsonEvent]) -> Vec<(String, u32, bool)> {
    let batch = batch_of_json(engine.plan(), events).unwrap();
    let matches = engine.evaluate(&batch);
    let suppressed = engine.suppressions(&batch, &matches);
    assert_eq!(matches.len(), suppressed.len());
    let of = |(m, s): (&crate::Match, &Option<&crate::Exception>)| {
        (engine.rules()[m.rule as usize].title.clone(), m.row, s.is_some())
    };
    matches.iter().zip(&suppressed).map(of).collect()
}

#[test]
fn a_match_that_the_filter_does_not_keep_is_suppressed_until_the_exception_expires() {
    for (rules, pod_excepted, any_excepted) in [
        ("[r-pod]", true, false),
        ("pod_created", true, false),
        ("[Pod Created, r-any]", true, true),
        ("any", true, true),
        ("[r-run]", false, false),
    ] {
        let engine = engine(&format!("{RULES}---\n{}", exception(rules, CI, WHO)));
        let events = [
            pod("prod", "2026-06-01T00:00:00Z"),
            pod("ci", "2026-12-31T23:59:59.999999Z"),
            pod("ci", "2027-01-01T00:00:00Z"),
        ];
        let name = |title: &str, row, suppressed| (title.to_owned(), row, suppressed);
        let expected: Vec<_> = [(0, false), (1, true), (2, false)]
            .into_iter()
            .flat_map(|(row, is_ci)| {
                [name("Anything Done", row, is_ci && any_excepted), name("Pod Created", row, is_ci && pod_excepted)]
            })
            .collect();
        assert_eq!(told(&engine, &events), expected, "{rules}");
    }
}

#[test]
fn a_suppressed_finding_says_by_what() {
    let engine = engine(&format!("{RULES}---\n{}", exception("[r-pod]", CI, WHO)));
    let batch = batch_of_json(engine.plan(), &[pod("ci", "2026-06-01T00:00:00Z")]).unwrap();
    let findings = engine.findings(&batch, &engine.evaluate(&batch));
    let by: Vec<Option<&str>> = findings.iter().map(|f| f.suppressed_by.as_deref()).collect();
    assert_eq!(by, [None, Some("e-1")]);
    let end = "; suppressed by `Builds` (platform, until 2027-01-01): Builds make pods.";
    assert!(findings[1].explanation.ends_with(end), "{}", findings[1].explanation);
    assert!(!findings[0].explanation.contains("suppressed"));
    assert_eq!(engine.rules().iter().map(|r| r.excepted_by.len()).collect::<Vec<_>>(), [0, 1, 0]);
    assert_eq!(engine.exceptions()[0].rules, ["r-pod"]);
}

#[test]
fn fields_of_an_exception_mean_what_they_mean_in_the_rule() {
    let of_linux = "title: Shells\nlogsource: {product: linux}\n\
                    filter: {rules: any, s: {User: build}, condition: not s}\n";
    let engine = engine(&format!("{RULES}---\n{of_linux}"));
    let run = |user: &str| JsonEvent {
        format: "tetragon".into(),
        class_uid: 1007,
        columns: json!({"process_file_path": "/bin/sh", "process_user_name": user}).as_object().cloned().unwrap(),
        event: Value::Null,
    };
    let expected = [("build", true), ("root", false)];
    let all = told(&engine, &expected.map(|(user, _)| run(user)));
    assert_eq!(all.iter().map(|(_, _, s)| *s).collect::<Vec<_>>(), expected.map(|(_, s)| s));
}

#[test]
fn exceptions_apply_to_rules_that_were_loaded_before_them() {
    let (rules, _) = RuleSet::parse("r.yml", RULES);
    let (own, problems) = RuleSet::parse("e.yml", &exception("[r-pod]", CI, WHO));
    assert_eq!(problems, []);
    assert_eq!(own.remarks().len(), 1, "{:?}", own.remarks());
    let before = rules.fingerprint();
    let both = rules.merge(own);
    assert_eq!(both.remarks(), []);
    assert_eq!(both.exceptions()[0].rules, ["r-pod"]);
    assert_ne!(both.fingerprint(), before);
}

#[test]
fn what_does_not_fit_is_told() {
    for (rules, filter, part) in [
        ("[r-pod]", "selection: {objectRef.namespace: ci}, condition: selection", "no `not`"),
        ("[r-pod, r-old]", CI, "`r-old`, which is no loaded rule"),
        ("[r-run]", CI, "`r-run`, a rule for another logsource"),
        ("[r-pod]", "s: {verb: a}, t: {verb: b}, condition: not s", "`t` is not used"),
    ] {
        let (set, problems) = RuleSet::parse("r.yml", &format!("{RULES}---\n{}", exception(rules, filter, WHO)));
        assert_eq!(problems, []);
        let remarks = set.remarks();
        assert!(remarks.len() == 1 && remarks[0].why.contains(part) && !remarks[0].fatal, "{part}: {remarks:?}");
    }
    let (set, _) = RuleSet::parse("e.yml", &exception("any", CI, WHO));
    assert!(set.remarks()[0].why.contains("no loaded rule"));
}

#[test]
fn what_is_missing_or_not_honoured_is_refused_by_name() {
    let ok = exception("[r-pod]", CI, WHO);
    for (text, part) in [
        (ok.replace("owner: platform, ", ""), "palisade.owner"),
        (ok.replace("reason: Builds make pods., ", ""), "palisade.reason"),
        (ok.replace(", expires: 2027-01-01", ""), "palisade.expires"),
        (ok.replace("2027-01-01", "2027-13-01"), "no date"),
        (ok.replace("2027-01-01", "soon"), "no date"),
        (ok.replace("owner:", "own:"), "palisade"),
        (ok.replace("rules: [r-pod]", "rules: []"), "`rules`"),
        (ok.replace("rules: [r-pod], ", ""), "`rules`"),
        (ok.replace("logsource: {product: kubernetes}\n", ""), "`logsource`"),
        (ok.replace("not selection", "not nothing"), "`nothing`"),
        (ok.replace("objectRef.namespace: ci", "objectRef.namespace|re: '('"), "selection"),
        (RULES.into(), "a rule among exceptions"),
    ] {
        let mut context = Context::new(Reading::Taxonomy).unwrap();
        context.folder = Folder::Exceptions;
        let mut loaded = Loaded::default();
        documents("e.yml".as_ref(), &text, &context, &mut loaded);
        assert!(loaded.exceptions.is_empty() && loaded.rules.is_empty(), "{part}");
        assert!(loaded.problems[0].fatal && loaded.problems[0].why.contains(part), "{part}: {:?}", loaded.problems);
    }
}
