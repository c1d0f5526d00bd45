//! The labelled audit tests of Falco: what has to fire fires once an event, and what has to be silent is silent under the
//! allow-lists that its test names, which are exceptions here.
//!
//! The tests are public data that is read where it is; rules and exceptions are ours. Where the starter pack tells of a
//! workload when it is asked for, the recordings show what a controller made of it: the pack for activity tells of that.

use std::collections::BTreeMap;

use super::*;

/// For each rule that a test counts, the rules of ours that stand for it.
const OURS: &[(&str, &[&str])] = &[
    ("Disallowed K8s User", &["Request By A User Outside The Components"]),
    ("Create Disallowed Pod", &["Pod Created"]),
    ("Create Privileged Pod", &["Privileged Container Requested", "Privileged Pod Made By A Controller"]),
    (
        "Create Sensitive Mount Pod",
        &["Pod Mounts A Sensitive Path Of Its Node", "Pod With A Sensitive Host Path Made By A Controller"],
    ),
    ("Create HostNetwork Pod", &["Pod Shares Namespaces Of Its Node", "Pod On The Host Network Made By A Controller"]),
    ("Create NodePort Service", &["Service Opened On Every Node"]),
    ("Create/Modify Configmap With Private Credentials", &["Credentials Stored In A ConfigMap"]),
    ("Anonymous Request Allowed", &["Anonymous Request Allowed"]),
    (
        "Attach/Exec Pod",
        &["Command Run In A Pod", "Command Run In A Pod By A Service Account", "Shell Opened In A Pod"],
    ),
    ("Create Disallowed Namespace", &["Namespace Made Outside The Known Ones"]),
    (
        "Pod Created in Kube Namespace",
        &["Workload Put Into A System Namespace By A User", "Pod Made By A Controller In A System Namespace"],
    ),
    ("Service Account Created in Kube Namespace", &["Service Account Created In A System Namespace"]),
    ("System ClusterRole Modified/Deleted", &["Built-In Role Changed Or Deleted"]),
    ("Attach to cluster-admin Role", &["Cluster Administrator Role Granted"]),
    ("ClusterRole With Wildcard Created", &["Role Reaches All Resources Or The Right To Grant"]),
    ("ClusterRole With Write Privileges Created", &["Role With Rights To Write Created"]),
    ("ClusterRole With Pod Exec Created", &["Role Leads Into Running Pods"]),
    ("K8s Deployment Created", &["Deployment Created"]),
    ("K8s Deployment Deleted", &["Deployment Deleted"]),
    ("K8s Service Created", &["Service Created"]),
    ("K8s Service Deleted", &["Service Deleted"]),
    ("K8s ConfigMap Created", &["ConfigMap Created"]),
    ("K8s ConfigMap Deleted", &["ConfigMap Deleted"]),
    ("K8s Namespace Created", &["Namespace Created"]),
    ("K8s Namespace Deleted", &["Namespace Deleted"]),
    ("K8s Serviceaccount Created", &["Service Account Created"]),
    ("K8s Serviceaccount Deleted", &["Service Account Deleted"]),
    ("K8s Role/Clusterrole Created", &["Role Created"]),
    ("K8s Role/Clusterrole Deleted", &["Role Deleted"]),
    ("K8s Role/Clusterrolebinding Created", &["Role Binding Created"]),
    ("K8s Role/Clusterrolebinding Deleted", &["Role Binding Deleted"]),
    ("K8s Secret Created", &["Secret Created"]),
    ("K8s Secret Deleted", &["Secret Deleted"]),
];

/// What `json_pointer_correct_parse` brings as its own rule: one key with a dot and a slash exists, another does not.
const OWN_RULE: (&str, &str) = (
    "json_pointer_example",
    r"title: Decision Of The Authorizer
id: 0b0c5a3e-6c0a-4a38-9f0b-6a2f6a4f3d11
logsource: {product: kubernetes, service: audit}
detection:
    decided:
        annotations.authorization.k8s.io/decision|exists: true
    other:
        a/~b|exists: true
    condition: decided and not other
level: informational
",
);

const KNOWN_USERS: &str = r"title: Users whom the cluster has
id: 00000000-0000-4000-8000-000000000001
logsource: {product: kubernetes, service: audit}
filter:
    rules: [5de0d1b3-54e1-5446-87bf-ca5b17cf9858]
    selection: {user.username: [admin, kops, kubelet, minikube, minikube-user]}
    condition: not selection
palisade: {owner: platform, reason: they administer it, expires: 2099-01-01}
";

const KNOWN_NAMESPACES: &str = r"title: Namespaces that the cluster has
id: 00000000-0000-4000-8000-000000000002
logsource: {product: kubernetes, service: audit}
filter:
    rules: [c1d4db28-e272-5ffc-a081-2b46d0a8104b]
    selection: {objectRef.name: [default, kube-public, kube-system]}
    condition: not selection
palisade: {owner: platform, reason: they come with it, expires: 2099-01-01}
";

const ALL_IMAGES: &str = r"title: Any image may run
id: 00000000-0000-4000-8000-000000000003
logsource: {product: kubernetes, service: audit}
filter:
    rules: [2cf508ea-d569-525d-a347-9d899cb4cdd3]
    selection: {objectRef.resource: pods}
    condition: not selection
palisade: {owner: platform, reason: nobody lists images, expires: 2099-01-01}
";

const IMAGES_OF_NGINX: &str = r"title: Images of nginx may run
id: 00000000-0000-4000-8000-000000000004
logsource: {product: kubernetes, service: audit}
filter:
    rules: [2cf508ea-d569-525d-a347-9d899cb4cdd3]
    selection: {requestObject.spec.containers.image|re: '^nginx([:@]|$)'}
    condition: not selection
palisade: {owner: platform, reason: the shop is made of it, expires: 2099-01-01}
";

const IMAGES_OF_APACHE: &str = r"title: Images of apache may run
id: 00000000-0000-4000-8000-000000000005
logsource: {product: kubernetes, service: audit}
filter:
    rules: [2cf508ea-d569-525d-a347-9d899cb4cdd3]
    selection: {requestObject.spec.containers.image|re: '^apache([:@]|$)'}
    condition: not selection
palisade: {owner: platform, reason: the shop is made of it, expires: 2099-01-01}
";

const POWERFUL_NGINX: &str = r"title: Images of nginx may be near the node
id: 00000000-0000-4000-8000-000000000006
logsource: {product: kubernetes, service: audit}
filter:
    rules:
        - 68e0b349-8e0f-423c-a2d6-5b1079f63511
        - 89e0bd45-3dd1-5ae9-8a94-5389a42257f5
        - d6699806-18f4-44ea-8565-5bb6ee430d3d
        - d48d2d7a-a7be-5df4-859e-f5768847465d
        - 4deeb7b3-b0f9-45b3-8ed7-2a2d0b5708f1
        - e7893075-9f5b-55e6-82c7-14568f47261f
    selection: {requestObject.spec.containers.image|re: '^nginx([:@]|$)'}
    condition: not selection
palisade: {owner: platform, reason: they are trusted, expires: 2099-01-01}
";

const SOME_USER: &str = r"title: One user more
id: 00000000-0000-4000-8000-000000000007
logsource: {product: kubernetes, service: audit}
filter:
    rules: [5de0d1b3-54e1-5446-87bf-ca5b17cf9858]
    selection: {user.username: some-user}
    condition: not selection
palisade: {owner: platform, reason: joined the team, expires: 2099-01-01}
";

const NAMESPACE_FOO: &str = r"title: One namespace more
id: 00000000-0000-4000-8000-000000000008
logsource: {product: kubernetes, service: audit}
filter:
    rules: [c1d4db28-e272-5ffc-a081-2b46d0a8104b]
    selection: {objectRef.name: foo}
    condition: not selection
palisade: {owner: platform, reason: a team needs it, expires: 2099-01-01}
";

const NO_ACTIVITY: &str = r"title: No record of daily work
id: 00000000-0000-4000-8000-000000000009
logsource: {product: kubernetes, service: audit}
filter:
    rules:
        - 937b8def-d863-5f38-9f30-7c3b7f4f6a7b
        - 17679d17-7459-53f8-b7f3-e87cc609b737
        - cb9c1a49-5e6a-527f-93ff-b5f1d164d7e8
        - dbc26eee-4b19-5a50-a6cb-f6327e89b63d
        - b563d2ff-08ff-5b16-9839-e170bb68b9c5
        - 3cadb9c7-f2af-5d01-a963-416c7b974747
        - 136fedd4-d0f5-5082-9756-085bb22c742c
        - 51141624-12a5-5145-8dd4-674f1f8ef288
        - 8e2ee816-eb71-54e1-83ed-8fd63f6ac5e0
        - ad6dfe2d-6ec7-5985-80e6-18fb752d1f01
        - 390f53ff-cece-5956-b5bd-a6fdb2b69662
        - 749dc88b-c596-5df6-9146-1ab193acd226
        - 400b0987-8a52-5a35-8685-b809f725fc41
        - 68c73a0c-ab49-5f56-bf95-6cc57761aacc
        - 8ce1a55a-b9c1-5be2-81e8-d43f53fda9e9
        - 8d73c1a7-3af6-5c9a-acaa-4a15f303cb26
    selection: {verb: '*'}
    condition: not selection
palisade: {owner: platform, reason: read elsewhere, expires: 2099-01-01}
";

/// The exceptions that a test's rule files mean, those among them that hold wherever nothing else is said.
fn exceptions_of(files: &[&str]) -> Vec<&'static str> {
    let mut meant = vec![KNOWN_USERS, KNOWN_NAMESPACES];
    let mut is_listed = false;
    for file in files {
        let text = match *file {
            "allow_nginx_container.yaml" => IMAGES_OF_NGINX,
            "allow_only_apache_container.yaml" => IMAGES_OF_APACHE,
            "allow_namespace_foo.yaml" => NAMESPACE_FOO,
            "allow_user_some-user.yaml" => SOME_USER,
            "disallow_kactivity.yaml" => NO_ACTIVITY,
            "trust_nginx_container.yaml" => POWERFUL_NGINX,
            _ => continue,
        };
        is_listed |= [IMAGES_OF_NGINX, IMAGES_OF_APACHE].contains(&text);
        meant.push(text);
    }
    if !is_listed {
        meant.push(ALL_IMAGES);
    }
    meant
}

/// The names of the rule files that a test loads. The tests' YAML has tags of its own, so its lines are read.
fn rule_files<'t>(tests: &'t str, name: &str) -> Vec<&'t str> {
    let own = tests.lines().skip_while(|line| line.trim_end() != format!("  {name}:")).skip(1);
    own.take_while(|line| line.is_empty() || line.starts_with("   "))
        .filter_map(|line| line.trim().strip_prefix("- ")?.rsplit('/').next())
        .filter(|file| file.ends_with(".yaml"))
        .collect()
}

/// Both packs with the rule of one test, under exceptions.
fn engine_under(exceptions: &[&str]) -> Engine {
    let (own, mut problems) = RuleSet::parse("own.yml", OWN_RULE.1);
    let (under, more) = RuleSet::parse("exceptions.yml", &exceptions.join("---\n"));
    problems.extend(more);
    let rules = RuleSet::starter().unwrap().merge(activity()).merge(own).merge(under);
    problems.extend(rules.remarks());
    assert_eq!(problems, []);
    assert_eq!(rules.exceptions().len(), exceptions.len());
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    rules.compile(&plan).unwrap()
}

/// Row and title of the matches that no exception suppresses.
fn unsuppressed(engine: &Engine, events: &[JsonEvent]) -> Vec<(u32, String)> {
    let batch = batch_of_json(engine.plan(), events).unwrap();
    let matches = engine.evaluate(&batch);
    let told = matches.iter().zip(engine.suppressions(&batch, &matches)).filter(|(_, by)| by.is_none());
    told.map(|(found, _)| (found.row, engine.rules()[found.rule as usize].title.clone())).collect()
}

#[test]
fn falco_audit_tests_fire_and_stay_silent_under_their_allow_lists() {
    let Some(data) = crate::testing::shared("k8s_audit") else { return };
    let read = |part: &str| fs::read_to_string(data.join(part)).unwrap();
    let (expected, tests) = (read("expected.csv"), read("falco_k8s_audit_tests.yaml"));
    let ours = |falco: &str| -> Vec<&str> {
        if falco == OWN_RULE.0 {
            return vec!["Decision Of The Authorizer"];
        }
        OURS.iter().find(|(name, _)| *name == falco).unwrap_or_else(|| panic!("{falco}")).1.to_vec()
    };
    let (mut wrong, mut fired, mut silent) = (Vec::new(), 0, 0);
    let mut engines: BTreeMap<Vec<&str>, Engine> = BTreeMap::new();
    for row in expected.lines().skip(1) {
        let [name, trace, _, detect, _, counted] = *row.split(',').collect::<Vec<_>>() else { panic!("{row}") };
        let files = rule_files(&tests, name);
        assert!(!files.is_empty(), "{name}: no such test");
        let text = read(&format!("falco_trace_files/{trace}"));
        let events: Vec<JsonEvent> = serde_json::Deserializer::from_str(&text)
            .into_iter()
            .map(|event| JsonEvent { format: "k8s_audit".into(), event: event.unwrap(), ..JsonEvent::default() })
            .collect();
        let exceptions = exceptions_of(&files);
        let engine = engines.entry(exceptions).or_insert_with_key(|exceptions| engine_under(exceptions));
        let told = unsuppressed(engine, &events);
        let rows_of = |titles: &[&str]| {
            let rows = told.iter().filter(|(_, title)| titles.contains(&title.as_str())).map(|(row, _)| row);
            rows.collect::<BTreeSet<_>>().len()
        };
        if detect == "True" {
            let (falco, count) = counted.rsplit_once(':').unwrap();
            fired += 1;
            if rows_of(&ours(falco)).to_string() != count {
                wrong.push(format!("{name}: {} and not {count} of {falco}: {told:?}", rows_of(&ours(falco))));
            }
        } else {
            // Not those of its own kind alone: none that stands for any of Falco's.
            let all: Vec<&str> = OURS.iter().flat_map(|(_, titles)| titles.iter().copied()).collect();
            silent += 1;
            if rows_of(&all) != 0 {
                wrong.push(format!("{name}: not silent: {told:?}"));
            }
        }
    }
    assert_eq!((fired, silent), (45, 21));
    assert_eq!(wrong, Vec::<String>::new());
}
