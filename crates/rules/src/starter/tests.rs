//! The starter pack: every rule fires on its attacks, is silent on their likes, and says what a person needs.

mod falco_audit;
mod managed;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use palisade_events::{FieldPlan, Severity};
use serde_json::{Value, json};

use super::*;
use crate::{Engine, JsonEvent, Rule, RuleSet, batch_of_json};

mod cloud;

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

/// Runs the tests of a pack, and finds one for each of its rules.
fn run_tests(rules: RuleSet, tests: &PathBuf) {
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    let engine = rules.compile(&plan).unwrap();
    let (mut tested, mut wrong) = (BTreeSet::new(), Vec::new());
    for name in names(tests) {
        let text = fs::read_to_string(tests.join(&name)).unwrap();
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
        let (told, wanted) = (fired(&case.fires), (0..case.fires.len()).collect::<Vec<_>>());
        if told != wanted {
            wrong.push(format!("{name} must fire: {told:?} of {wanted:?}"));
        }
        let told = fired(&case.silent);
        if !told.is_empty() {
            wrong.push(format!("{name} must be silent: {told:?}"));
        }
        tested.insert(case.rule);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<String> = engine.rules().iter().map(|r| r.uid.clone()).collect();
    assert_eq!(tested, all, "a rule without a test");
}

#[test]
fn every_rule_fires_on_its_attacks_and_is_silent_on_their_likes() {
    run_tests(RuleSet::starter().unwrap(), &folder("tests"));
}

/// The pack of activity, which is no part of the library.
fn activity() -> RuleSet {
    let (rules, problems) = RuleSet::load(&[folder("../kubernetes-activity")]).unwrap();
    assert_eq!(problems, []);
    rules
}

#[test]
fn every_rule_of_activity_fires_and_is_silent_likewise() {
    let rules = activity();
    assert!(rules.rules().iter().all(|rule| rule.level <= Severity::Low));
    run_tests(rules, &folder("../kubernetes-activity/tests"));
}

#[test]
fn allow_lists_of_the_manual_are_exceptions_from_rules_that_there_are() {
    let manual = fs::read_to_string(folder("../kubernetes-activity/exceptions/README.md")).unwrap();
    let lists: Vec<&str> = manual.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let (lists_of, mut problems) = RuleSet::parse("README.md", &lists.join("---\n"));
    let rules = RuleSet::starter().unwrap().merge(activity()).merge(lists_of);
    problems.extend(rules.remarks());
    assert_eq!(problems, []);
    assert_eq!((rules.exceptions().len(), lists.len()), (4, 4));
    assert!(rules.exceptions().iter().all(|list| !list.rules.is_empty() && list.expires.is_some()));
}

#[test]
fn every_rule_tells_what_a_person_needs() {
    for rule in RuleSet::starter().unwrap().merge(activity()).rules() {
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
    const OF_NODES: [&str; 26] = [
        "T1003.007",
        "T1003.008",
        "T1005",
        "T1021.004",
        "T1048.003",
        "T1053.003",
        "T1055.008",
        "T1059.004",
        "T1070.002",
        "T1070.003",
        "T1070.006",
        "T1071.001",
        "T1090",
        "T1098.004",
        "T1105",
        "T1543.002",
        "T1547.006",
        "T1548.001",
        "T1548.003",
        "T1560.001",
        "T1562.004",
        "T1562.012",
        "T1564.001",
        "T1571",
        "T1574.006",
        "T1620",
    ];
    /// Techniques for accounts of clouds.
    const OF_CLOUDS: &str = "T1021.004 T1021.007 T1021.008 T1037 T1040 T1078.004 T1087.004 T1098.001 T1098.003 \
        T1098.004 T1136.003 T1199 T1484.002 T1485.001 T1486 T1496.004 T1526 T1530 T1535 T1537 T1546 T1552.005 \
        T1555.006 T1556.006 T1562.007 T1562.008 T1578.002 T1578.005 T1580 T1648 T1651 T1666";
    let Some(table) = crate::testing::shared("mitre_attack_containers/techniques.csv") else { return };
    let table = fs::read_to_string(table).unwrap();
    let known = table.lines().filter_map(|l| l.split(',').next()).chain(OF_NODES).chain(OF_CLOUDS.split(' '));
    let known: BTreeSet<&str> = known.collect();
    for rule in RuleSet::starter().unwrap().merge(activity()).rules() {
        for technique in &rule.attack.techniques {
            assert!(known.contains(technique.as_str()), "{}: {technique}", rule.title);
        }
    }
}

/// Row and title of the starter pack's rules that hold for the events, in order.
fn titles(events: impl IntoIterator<Item = (&'static str, Value)>) -> Vec<String> {
    static STARTER: LazyLock<(Arc<FieldPlan>, Engine)> = LazyLock::new(|| {
        let rules = RuleSet::starter().unwrap();
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        let engine = rules.compile(&plan).unwrap();
        (plan, engine)
    });
    let (plan, engine) = &*STARTER;
    let events: Vec<JsonEvent> = events
        .into_iter()
        .map(|(format, event)| JsonEvent { format: format.into(), event, ..JsonEvent::default() })
        .collect();
    let batch = batch_of_json(plan, &events).unwrap();
    let mut told: Vec<(u32, &str)> =
        engine.evaluate(&batch).iter().map(|m| (m.row, engine.rules()[m.rule as usize].title.as_str())).collect();
    told.sort_unstable();
    told.into_iter().map(|(row, title)| format!("{row} {title}")).collect()
}

#[test]
fn what_follows_from_one_act_is_told_once() {
    let audit = |user: &str, verb: &str, stage: &str, code: i64, of: Value, asked: Value, answered: Value| {
        let event = json!({
            "verb": verb, "stage": stage, "user": {"username": user}, "objectRef": of, "responseStatus": {"code": code},
            "requestObject": asked, "responseObject": answered,
        });
        ("k8s_audit", event)
    };
    let exec = json!({"resource": "pods", "subresource": "exec", "namespace": "prod", "name": "web-0"});
    let session = |stage, code| audit("alice", "get", stage, code, exec.clone(), Value::Null, Value::Null);
    assert_eq!(
        titles([
            session("RequestReceived", 0),
            session("ResponseStarted", 101),
            session("ResponseComplete", 101),
            session("ResponseStarted", 403),
            session("ResponseComplete", 403),
        ]),
        ["1 Command Run In A Pod", "4 Command Run In A Pod"]
    );

    let spec = json!({
        "hostPID": true, "volumes": [{"hostPath": {"path": "/"}}],
        "containers": [{"name": "a", "securityContext": {"privileged": true, "capabilities": {"add": ["SYS_ADMIN"]}}}],
    });
    let set = json!({"spec": {"template": {"spec": spec}}});
    let pod = json!({"spec": spec});
    let of = |resource: &str, name: &str| json!({"resource": resource, "namespace": "monitoring", "name": name});
    let controller = "system:serviceaccount:kube-system:daemon-set-controller";
    let status = |resource: &str, name: &str| {
        let mut of = of(resource, name);
        of["subresource"] = "status".into();
        of
    };
    let done = "ResponseComplete";
    let reported = json!({"status": {"phase": "Running"}});
    assert_eq!(
        titles([
            audit("alice", "create", done, 201, of("daemonsets", "agent"), set.clone(), set.clone()),
            audit(controller, "create", done, 201, of("pods", "agent-x2v9k"), pod.clone(), pod.clone()),
            audit(controller, "create", done, 201, of("pods", "agent-7k2mq"), pod.clone(), pod.clone()),
            audit("system:node:node-1", "patch", done, 200, status("pods", "agent-x2v9k"), reported, pod),
            audit(controller, "update", done, 200, status("daemonsets", "agent"), set.clone(), set),
        ]),
        [
            "0 Container Asks For A Capability That Breaks Isolation",
            "0 Pod Mounts A Sensitive Path Of Its Node",
            "0 Pod Shares Namespaces Of Its Node",
            "0 Privileged Container Requested",
            "0 Workload That Returns Made By A Person",
        ]
    );

    let alert = json!({
        "rule": "Drop and execute new binary in container", "priority": "Critical", "source": "syscall",
        "output_fields": {"container.id": "b41d47dcf36d", "evt.arg.flags": "EXE_WRITABLE|EXE_UPPER_LAYER"},
    });
    assert_eq!(titles([("falco", alert)]), ["0 Program Run That Is Not Of The Image"]);
}

/// Who made the recorded pods. The pack tells of the workload that they are made for, which was not recorded.
const CONTROLLER: &str = "system:serviceaccount:kube-system:replicaset-controller";

#[test]
fn recorded_attacks_are_found_and_their_harmless_twins_are_not() {
    let Some(traces) = crate::testing::shared("k8s_audit/falco_trace_files") else { return };
    for (trace, title) in [
        ("anonymous_creates_namespace_foo", "Anonymous Request Allowed"),
        ("attach_cluster_admin_role", "Cluster Administrator Role Granted"),
        ("attach_pod", "Command Run In A Pod"),
        ("exec_pod", "Command Run In A Pod"),
        ("create_cluster_role_wildcard_resources", "Role Reaches All Resources Or The Right To Grant"),
        ("create_cluster_role_wildcard_verbs", "Role Reaches All Resources Or The Right To Grant"),
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
        let mut events: Vec<Value> =
            serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap();
        let told = |events: &[Value]| -> BTreeSet<String> {
            let all = titles(events.iter().map(|event| ("k8s_audit", event.clone())));
            all.iter().filter_map(|told| told.split_once(' ')).map(|(_, title)| title.to_owned()).collect()
        };
        if events.iter().any(|event| event["user"]["username"] == CONTROLLER) {
            assert_eq!(told(&events), BTreeSet::new(), "{trace}, made by a controller");
            // As if a person had asked for the pod without a workload around it.
            events.iter_mut().for_each(|event| event["user"]["username"] = "minikube-user".into());
        }
        assert_eq!(told(&events).into_iter().collect::<Vec<_>>().join(", "), title, "{trace}");
    }
}
