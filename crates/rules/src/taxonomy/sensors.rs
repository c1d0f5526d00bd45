//! One public rule over the events of all sensors that can show what it is about, in the columns that their decoders fill.

use std::collections::BTreeSet;
use std::sync::Arc;

use palisade_events::FieldPlan;
use serde_json::{Value, json};

use crate::{JsonEvent, RuleSet, batch_of_json};

const RULES: [(&str, &str, &str); 9] = [
    ("program", "category: process_creation, product: linux", "{Image|endswith: /curl, CommandLine|contains: ' -o '}"),
    ("program's end", "category: process_termination, product: linux", "{Image|endswith: /curl}"),
    ("file", "category: file_event, product: linux", "{TargetFilename|startswith: /etc/cron.d/}"),
    ("file read", "category: file_access, product: linux", "{TargetFilename: /etc/shadow}"),
    ("file changed", "category: file_change, product: linux", "{TargetFilename: /usr/bin/su}"),
    ("file at all", "category: file", "{TargetFilename: /etc/hosts, activity_id: [1, 4]}"),
    ("file deleted", "category: file_delete, product: linux", "{TargetFilename|startswith: /var/log/}"),
    (
        "connection",
        "category: network_connection, product: linux",
        "{Initiated: 'true', DestinationPort: 4444, DestinationIp|cidr: 198.51.100.0/24}",
    ),
    ("name", "category: dns_query", "{QueryName|endswith: .example.net}"),
];

/// The titles of the rules that hold for each event.
fn told(events: &[JsonEvent]) -> Vec<BTreeSet<String>> {
    let rule = |(title, logsource, selection): &(&str, &str, &str)| {
        format!("title: {title}\nlogsource: {{{logsource}}}\ndetection:\n  s: {selection}\n  condition: s\n")
    };
    let (rules, problems) = RuleSet::parse("r.yml", &RULES.iter().map(rule).collect::<Vec<_>>().join("---\n"));
    assert_eq!(problems, []);
    let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
    let engine = rules.compile(&plan).unwrap();
    let mut told = vec![BTreeSet::new(); events.len()];
    for m in engine.evaluate(&batch_of_json(&plan, events).unwrap()) {
        told[m.row as usize].insert(engine.rules()[m.rule as usize].title.clone());
    }
    told
}

#[test]
fn one_rule_fires_on_the_events_of_all_sensors() {
    let run = |parts: Value| {
        let mut columns =
            json!({"process_file_path": "/usr/bin/curl", "process_cmd_line": "curl -o x http://198.51.100.7"});
        columns.as_object_mut().unwrap().extend(parts.as_object().cloned().unwrap());
        columns
    };
    let file = |path: &str, call: &str, activity: i32| json!({"file_path": path, "syscall": call, "activity_id": activity, "process_name": "sh"});
    let to = |parts: Value| {
        let mut columns = json!({"dst_endpoint_ip": "198.51.100.7", "dst_endpoint_port": 4444, "process_name": "nc"});
        columns.as_object_mut().unwrap().extend(parts.as_object().cloned().unwrap());
        columns
    };
    let cron = "/etc/cron.d/x";
    let cases = [
        // A program starts, and ends.
        ("tetragon", 1007, run(json!({"activity_id": 1, "syscall": "execve"})), "program"),
        ("tetragon", 1007, run(json!({"activity_id": 2})), "program's end"),
        ("tracee", 1007, run(json!({"activity_id": 1, "syscall": "sched_process_exec"})), "program"),
        ("falco", 2004, run(json!({"activity_id": 1, "syscall": "execve"})), "program"),
        ("kubearmor", 1007, run(json!({"activity_id": 1, "syscall": "execve"})), "program"),
        ("auditd", 1007, run(json!({"activity_id": 1, "syscall": "execve"})), "program"),
        // The name of a program is not its path.
        ("tracee", 1007, json!({"activity_id": 1, "process_name": "curl", "process_cmd_line": "curl -o x"}), ""),
        // A running program opens a file or a connection: it does not start.
        ("tetragon", 1001, run(json!({"activity_id": 14, "syscall": "security_file_permission"})), ""),
        // A file is made or written.
        ("tetragon", 1001, file(cron, "security_file_permission", 14), "file"),
        ("tracee", 1001, file(cron, "security_inode_rename", 5), "file"),
        ("tracee", 1001, file(cron, "magic_write", 3), "file"),
        ("falco", 2004, file(cron, "openat", 1), "file"),
        ("kubearmor", 1001, file(cron, "openat", 14), "file"),
        ("auditd", 1001, file(cron, "openat", 1), "file"),
        ("auditd", 1001, file(cron, "unlink", 4), ""),
        ("tracee", 1001, file(cron, "read", 2), ""),
        ("falco", 2004, file(cron, "read", 1), ""),
        // A file is read, changed, deleted.
        ("auditd", 1001, file("/etc/shadow", "openat", 14), "file read"),
        ("falco", 2004, file("/etc/shadow", "openat", 1), "file read"),
        ("tracee", 1001, file("/etc/shadow", "vfs_read", 2), "file read"),
        ("auditd", 1001, file("/usr/bin/su", "fchmodat", 7), "file changed"),
        ("tracee", 1001, file("/usr/bin/su", "security_path_chmod", 7), "file changed"),
        ("falco", 2004, file("/usr/bin/su", "fchmodat", 1), "file changed"),
        ("tetragon", 1001, file("/var/log/wtmp", "security_path_unlink", 4), "file deleted"),
        ("kubearmor", 1001, file("/var/log/wtmp", "unlink", 4), "file deleted"),
        ("falco", 2004, file("/var/log/wtmp", "unlinkat", 1), "file deleted"),
        ("auditd", 1001, file("/etc/hosts", "unlink", 4), "file at all"),
        ("falco", 2004, file("/etc/hosts", "unlink", 1), "file at all"),
        // A connection is opened.
        ("tetragon", 4001, to(json!({"activity_id": 1, "connection_info_direction": "outbound"})), "connection"),
        ("tracee", 4001, to(json!({"activity_id": 1, "connection_info_direction": "outbound"})), "connection"),
        ("falco", 2004, to(json!({"activity_id": 1, "syscall": "connect"})), "connection"),
        ("kubearmor", 4001, to(json!({"activity_id": 1, "connection_info_direction": "outbound"})), "connection"),
        ("auditd", 4001, to(json!({"activity_id": 1, "syscall": "connect"})), "connection"),
        ("hubble", 4001, to(json!({"activity_id": 6, "connection_info_direction": "outbound"})), "connection"),
        ("calico", 4001, to(json!({"activity_id": 5, "connection_info_direction": "outbound"})), "connection"),
        ("tetragon", 4001, to(json!({"activity_id": 1, "connection_info_direction": "inbound"})), ""),
        ("tetragon", 4001, to(json!({"activity_id": 2, "connection_info_direction": "outbound"})), ""),
        // A name is asked for.
        ("tetragon", 4003, json!({"activity_id": 1, "dns_query_hostname": "c2.example.net"}), "name"),
        ("tracee", 4003, json!({"activity_id": 2, "dns_query_hostname": "c2.example.net"}), "name"),
        ("kubearmor", 4003, json!({"activity_id": 1, "dns_query_hostname": "c2.example.net"}), "name"),
        ("hubble", 4003, json!({"activity_id": 1, "dns_query_hostname": "c2.example.net"}), "name"),
    ];
    let events = cases.clone().map(|(format, class_uid, columns, _)| JsonEvent {
        format: format.into(),
        class_uid,
        columns: columns.as_object().cloned().unwrap(),
        event: Value::Null,
    });
    for ((format, _, columns, expected), told) in cases.iter().zip(told(&events)) {
        assert_eq!(told.into_iter().collect::<Vec<_>>().join(", "), *expected, "{format} {columns}");
    }
}

#[test]
fn logsources_of_services_mean_the_rows_of_their_decoders() {
    for (logsource, format) in [
        ("product: kubernetes, service: audit", "k8s_audit"),
        ("category: application, product: kubernetes, service: audit", "k8s_audit"),
        ("product: linux, service: auditd", "auditd"),
        ("product: aws, service: cloudtrail", "cloudtrail"),
        ("product: falco", "falco"),
        ("product: docker", "docker"),
        ("product: registry", "registry"),
        ("product: tetragon", "tetragon"),
        ("product: cilium, service: hubble", "hubble"),
    ] {
        let text = format!("title: r\nlogsource: {{{logsource}}}\ndetection:\n  s: {{some.key: x}}\n  condition: s\n");
        let (rules, problems) = RuleSet::parse("r.yml", &text);
        assert_eq!(problems, []);
        let plan = Arc::new(FieldPlan::new(rules.raw_fields()));
        let engine = rules.compile(&plan).unwrap();
        let event = json!({"some": {"key": "x"}});
        let events =
            [format, "other"].map(|f| JsonEvent { format: f.into(), event: event.clone(), ..JsonEvent::default() });
        assert_eq!(engine.evaluate(&batch_of_json(&plan, &events).unwrap()).len(), 1, "{logsource}");
    }
}
