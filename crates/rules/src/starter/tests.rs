use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use palisade_events::FieldPlan;

use super::*;
use crate::{JsonEvent, Rule, RuleSet, batch_of_json};

/// One file of `packs/starter/tests`.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    rule: String,
    fires: Vec<JsonEvent>,
    silent: Vec<JsonEvent>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../packs/starter")).join(name)
}

fn names(folder: &PathBuf) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn embedded_rules_are_those_of_the_folder() {
    assert_eq!(names(&folder("rules")), RULES.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>());
    let (from_folder, problems) = RuleSet::load(&[folder("")]).unwrap();
    assert_eq!(problems, []);
    let embedded = RuleSet::starter().unwrap();
    assert_eq!(embedded.fingerprint(), from_folder.fingerprint());
    assert_eq!(embedded.rules().len(), RULES.len());
    assert_eq!(from_folder.rules()[0].attack.version, info().unwrap().attack_version);
}

#[test]
fn every_rule_fires_on_its_attacks_and_is_silent_on_their_likes() {
    let rules = RuleSet::starter().unwrap();
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    let engine = rules.compile(&plan).unwrap();
    let mut tested = BTreeSet::new();
    for name in names(&folder("tests")) {
        let text = fs::read_to_string(folder("tests").join(&name)).unwrap();
        let case: Case = serde_yaml_ng::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(!case.fires.is_empty() && !case.silent.is_empty(), "{name}");
        let number = engine.rules().iter().position(|r| r.uid == case.rule).unwrap_or_else(|| panic!("{name}"));
        let fired = |events: &[JsonEvent]| -> Vec<usize> {
            let batch = batch_of_json(&plan, events).unwrap();
            let matches = engine.evaluate(&batch);
            for finding in engine.findings(&batch, &matches) {
                assert!(!finding.observed.starts_with('`'), "{name}: nothing to show: {}", finding.explanation);
            }
            matches.iter().filter(|m| m.rule as usize == number).map(|m| m.row as usize).collect()
        };
        assert_eq!(fired(&case.fires), (0..case.fires.len()).collect::<Vec<_>>(), "{name} must fire");
        assert_eq!(fired(&case.silent), Vec::<usize>::new(), "{name} must be silent");
        tested.insert(case.rule);
    }
    let all: BTreeSet<String> = engine.rules().iter().map(|r| r.uid.clone()).collect();
    assert_eq!(tested, all, "a rule without a test");
}

#[test]
fn every_rule_tells_what_a_person_needs() {
    for rule in RuleSet::starter().unwrap().rules() {
        let Rule { uid, title, author, references, false_positives, triage, attack, entity, version, .. } = rule;
        assert!(uid.len() == 36 && uid.split('-').count() == 5, "{title}: {uid}");
        assert_eq!(author, "Palisade", "{title}");
        assert!(references.iter().all(|r| r.starts_with("https://")) && !references.is_empty(), "{title}");
        assert!(!false_positives.is_empty() && !triage.is_empty() && entity.is_some(), "{title}");
        assert!(!attack.tactics.is_empty() && version.len() == 10, "{title}");
        assert!(rule.description.len() > 80, "{title}");
    }
}

#[test]
fn techniques_of_containers_are_those_of_the_matrix() {
    /// Techniques for nodes, which the matrix for containers does not list.
    const OF_NODES: [&str; 6] = ["T1003.008", "T1055.008", "T1059.004", "T1105", "T1547.006", "T1562.012"];
    let Some(table) = crate::testing::shared("mitre_attack_containers/techniques.csv") else { return };
    let table = fs::read_to_string(table).unwrap();
    let known: BTreeSet<&str> = table.lines().filter_map(|l| l.split(',').next()).chain(OF_NODES).collect();
    for rule in RuleSet::starter().unwrap().rules() {
        for technique in &rule.attack.techniques {
            assert!(known.contains(technique.as_str()), "{}: {technique}", rule.title);
        }
    }
}

#[test]
fn recorded_attacks_are_found_and_their_harmless_twins_are_not() {
    let Some(traces) = crate::testing::shared("k8s_audit/falco_trace_files") else { return };
    let rules = RuleSet::starter().unwrap();
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    let engine = rules.compile(&plan).unwrap();
    for (trace, title) in [
        ("anonymous_creates_namespace_foo", "Anonymous Request Allowed"),
        ("attach_cluster_admin_role", "Cluster Administrator Role Granted"),
        ("attach_pod", "Command Run In A Pod"),
        ("exec_pod", "Command Run In A Pod"),
        ("create_cluster_role_wildcard_resources", "Role Grants Everything Or The Right To Grant"),
        ("create_cluster_role_wildcard_verbs", "Role Grants Everything Or The Right To Grant"),
        ("create_clusterrole", ""),
        ("create_clusterrolebinding", ""),
        ("create_nginx_pod_hostnetwork", "Pod Shares Namespaces Of Its Node"),
        ("create_nginx_pod_nohostnetwork", ""),
        ("create_nginx_pod_privileged", "Privileged Container Requested"),
        ("create_nginx_pod_privileged_2nd_container", "Privileged Container Requested"),
        ("create_nginx_pod_unprivileged", ""),
        ("create_nginx_pod_sensitive_mount_2nd_container", "Pod Mounts A Sensitive Path Of Its Node"),
        ("create_nginx_pod_unsensitive_mount", ""),
        ("create_deployment", ""),
        ("delete_secret", ""),
    ] {
        let text = fs::read_to_string(traces.join(format!("{trace}.json"))).unwrap();
        let events: Vec<JsonEvent> = serde_json::Deserializer::from_str(&text)
            .into_iter()
            .map(|event| JsonEvent { format: "k8s_audit".into(), event: event.unwrap(), ..JsonEvent::default() })
            .collect();
        let batch = batch_of_json(&plan, &events).unwrap();
        let titles: BTreeSet<&str> =
            engine.evaluate(&batch).iter().map(|m| engine.rules()[m.rule as usize].title.as_str()).collect();
        assert_eq!(titles.into_iter().collect::<Vec<_>>().join(", "), title, "{trace}");
    }
}
