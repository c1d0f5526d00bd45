//! What is told of rules at load.

use crate::RuleSet;

fn rule(title: &str, logsource: &str, detection: &str) -> String {
    format!("title: {title}\nlogsource: {{{logsource}}}\ndetection: {{{detection}}}\n")
}

const AUDIT: &str = "product: kubernetes, service: audit";
const PROCESS: &str = "category: process_creation, product: linux";

#[test]
fn dead_rules_and_unknown_fields_are_told() {
    for (logsource, detection, formats, dead, unknown) in [
        (AUDIT, "s: {verb: get}, condition: s", &["k8s_audit"][..], "", ""),
        (AUDIT, "s: {verb: get}, condition: s", &["falco"], "rows of the format `k8s_audit`", ""),
        (AUDIT, "s: {verb: get}, condition: s", &[], "no source", ""),
        (AUDIT, "s: {verb: get, apiGrp: x}, condition: s", &["k8s_audit"], "no event has the field `apiGrp`", "apiGrp"),
        (AUDIT, "s: {verb: get}, t: {apiGrp: x}, condition: s or t", &["k8s_audit"], "", "apiGrp"),
        (AUDIT, "s: {verb: get}, t: {apiGrp: x}, condition: s and not t", &["k8s_audit"], "", "apiGrp"),
        (AUDIT, "s: {verb: get}, t: {apiGrp: null}, condition: s and t", &["k8s_audit"], "", "apiGrp"),
        (AUDIT, "a: {verb: x}, b: {o: y}, c: {p: z}, condition: 2 of them", &["k8s_audit"], "field `o`", "o p"),
        (AUDIT, "s: {responseStatus.code: ALLOW}, condition: s", &["k8s_audit"], "is a number", ""),
        (AUDIT, "s: {responseStatus.code: '403'}, condition: s", &["k8s_audit"], "", ""),
        (AUDIT, "s: {responseStatus.code|startswith: '4'}, condition: s", &["k8s_audit"], "", ""),
        (AUDIT, "s: {responseStatus.code: [ALLOW, 403]}, condition: s", &["k8s_audit"], "", ""),
        (AUDIT, "s: {user|exists: true, objectRef.resource: pods}, condition: s", &["k8s_audit"], "", ""),
        (
            AUDIT,
            "s: {annotations.authorization.k8s.io/decision: allow, hostPath: '*'}, condition: s",
            &["k8s_audit"],
            "",
            "",
        ),
        (PROCESS, "s: {Image: /bin/sh}, condition: s", &["k8s_audit", "docker"], "rows of class 1007 or", ""),
        (PROCESS, "s: {Image: /bin/sh}, condition: s", &["k8s_audit", "tetragon"], "", ""),
        (PROCESS, "s: {Image: /bin/sh, Hashes: x}, condition: s", &["auditd"], "", "Hashes"),
        (PROCESS, "s: {ParentProcessId: one}, condition: s", &["auditd"], "`process_parent_pid` is a number", ""),
        ("product: shop", "s: {whatever: x}, condition: s", &["shop"], "", ""),
    ] {
        let (set, problems) = RuleSet::parse("r.yml", &rule("r", logsource, detection));
        assert_eq!(problems, []);
        let report = set.report(formats);
        let why: Vec<&str> = report.dead.iter().map(|(_, why)| why.as_str()).collect();
        match dead {
            "" => assert!(why.is_empty(), "{detection}: {why:?}"),
            part => assert!(why.len() == 1 && why[0].contains(part), "{detection}: {why:?}"),
        }
        let fields: Vec<&str> = report.unknown_fields.iter().map(|(_, field)| field.as_str()).collect();
        assert_eq!(fields.join(" "), unknown, "{detection}");
    }
}

#[test]
fn the_starter_pack_has_no_dead_rule() {
    let set = RuleSet::starter().unwrap();
    let all = ["k8s_audit", "falco", "auditd", "tetragon", "hubble", "docker", "registry", "cloudtrail", "k8s_objects"];
    let report = set.report(&all);
    let told =
        |all: &[(&crate::Rule, String)]| all.iter().map(|(r, why)| format!("{}: {why}", r.title)).collect::<Vec<_>>();
    assert_eq!(told(&report.dead), Vec::<String>::new());
    assert_eq!(told(&report.unknown_fields), Vec::<String>::new());
    assert_eq!(report.remarks, []);
}

#[test]
fn the_public_rule_that_can_never_fire_is_found() {
    let Some(rules) = crate::testing::shared("sigma/rules/application/kubernetes") else { return };
    let (set, _) = RuleSet::load(&[rules]).unwrap();
    let report = set.report(&["k8s_audit"]);
    let dead: Vec<&str> = report.dead.iter().map(|(_, why)| why.as_str()).collect();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(dead[0].contains("`responseStatus.code` is a number"), "{dead:?}");
}

#[test]
fn public_rules_for_hosts_and_clouds_are_alive_where_their_sources_are() {
    let Some(rules) = crate::testing::shared("sigma/rules") else { return };
    let (set, _) = RuleSet::load(&[rules]).unwrap();
    let report = set.report(&["k8s_audit", "auditd", "tetragon", "cloudtrail"]);
    let alive = |rule: &&crate::Rule| !report.dead.iter().any(|(dead, _)| dead.uid == rule.uid);
    let count = |category: &str, service: &str| {
        let own = set.rules().iter().filter(alive).map(|rule| &rule.logsource);
        own.filter(|l| l.category.as_deref() == Some(category) || l.service.as_deref() == Some(service)).count()
    };
    for (category, service, number) in [
        ("process_creation", "", 122),
        ("file_event", "", 8),
        ("network_connection", "", 5),
        ("", "auditd", 53),
        ("", "cloudtrail", 57),
        ("", "audit", 15),
    ] {
        assert_eq!(count(category, service), number, "{category}{service}");
    }
    assert_eq!(report.unknown_fields.len(), 0);
}
