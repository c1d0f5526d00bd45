//! That an event is what Tetragon would write, and that all events of a process name it alike.

use std::collections::BTreeMap;

use palisade_events::time::{format_rfc3339, parse_rfc3339};
use serde_json::{Value, json};

use super::told::{base64, stamp};
use super::watched;
use crate::Record;
use crate::act::{Access, Connect, End, Login, Outcome, Parent, Place, Process, Terminal, Touch, Transport, Verdict};
use crate::cluster::{Cluster, Pod};
use crate::random::Random;
use crate::record::{Label, Stream};
use crate::settings::Settings;
use crate::wire::Wire;

const LABEL: Option<Label> = Some(Label { attack: 1, step: 2 });

/// A cluster, and what sends its Tetragon's events at once.
fn stage() -> (Cluster, Wire) {
    let settings = Settings { streams: vec![Stream::Tetragon], skew_max: 0, ..Settings::default() };
    let mut random = Random::new(7);
    let cluster = Cluster::new(&settings, &mut random);
    let nodes = cluster.nodes.len();
    (cluster, Wire::new(&settings, random, nodes))
}

/// What was sent, parsed, with what all records must be.
fn sent(wire: &mut Wire) -> Vec<Value> {
    let mut events = Vec::new();
    while let Some(Record { stream, time, key, payload, .. }) = wire.delivered(i64::MAX) {
        let event: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((stream, event["node_name"].as_str()), (Stream::Tetragon, Some(key.as_str())));
        let written = event["time"].as_str().unwrap();
        assert_eq!((parse_rfc3339(written), written.len()), (Some(time), 30), "{written}");
        events.push(event);
    }
    events
}

/// A call that is expected: its function, policy, arguments and return value.
type Seen = (&'static str, &'static str, Value, i64);

/// A shell in a pod, as `kubectl exec` starts it.
fn shell<'p>(pod: &'p Pod, started: i64) -> Process<'p> {
    Process {
        place: Place::Pod(pod),
        pid: 70_001,
        exe: "/bin/sh",
        argv: &["sh", "-c", "cat \"/etc/shadow\" >\\x", ""],
        cwd: "/",
        uid: 0,
        login: Login::None,
        terminal: Terminal::Attached,
        parent: Wire::shim(pod, started),
        started,
    }
}

fn child<'p>(shell: &Process<'p>, started: i64) -> Process<'p> {
    let parent = Parent { pid: shell.pid, exe: shell.exe, arguments: "-c id", started: shell.started };
    Process { pid: 70_002, exe: "/usr/bin/id", argv: &["id"], cwd: "/srv", parent, started, ..*shell }
}

#[test]
fn times_and_ids_are_written_as_elsewhere() {
    for time in [0, -1, 951_782_399_999_999, 951_868_800_000_000, 1_709_243_953_832_049, 4_107_542_399_000_000] {
        let mut out = String::new();
        stamp(&mut out, time, Some(7));
        assert_eq!(out, format_rfc3339(time).replace('Z', "007Z"));
    }
    for (text, expected) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("worker-1:1:0", "d29ya2VyLTE6MTow")]
    {
        let mut out = String::new();
        base64(&mut out, text.as_bytes());
        assert_eq!(out, expected);
    }
}

#[test]
fn an_execution_tells_of_process_pod_and_parent() {
    let (cluster, mut wire) = stage();
    let pod = cluster.pods.iter().find(|pod| pod.workload == "db").unwrap();
    let process = shell(pod, Settings::default().start);
    wire.tetragon_exec(&cluster, &process, LABEL);
    wire.tetragon_exit(&cluster, process.started + 5, &process, LABEL);
    let events = sent(&mut wire);
    let [exec, exit] = [&events[0]["process_exec"], &events[1]["process_exit"]];
    let told = &exec["process"];
    let expected = json!({
        "pid": 70_001, "uid": 0, "cwd": "/", "binary": "/bin/sh", "auid": 4_294_967_295u32, "refcnt": 1, "tid": 70_001,
        "arguments": "-c \"cat \"/etc/shadow\" >\\x\" \"\"", "flags": "execve rootcwd clone", "in_init_tree": false,
        "docker": &pod.container_id[..31], "start_time": events[0]["time"],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&told[key], value, "{key}");
    }
    let expected = json!({
        "namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "workload": "db", "workload_kind": "StatefulSet",
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&told["pod"][key], value, "{key}");
    }
    let image = &told["pod"]["container"]["image"];
    assert_eq!(image["name"], format!("{}:{}", pod.image.repository, pod.image.tag));
    // The shim is on the node, has been there for long, and names the container.
    let shim = &exec["parent"];
    assert_eq!((&shim["pod"], &shim["exec_id"]), (&Value::Null, &told["parent_exec_id"]));
    assert_eq!(shim["flags"], "procFS auid");
    assert!(shim["arguments"].as_str().unwrap().contains(&pod.container_id));
    assert!(parse_rfc3339(shim["start_time"].as_str().unwrap()).unwrap() < process.started);
    // A zero is left out.
    assert_eq!(
        (&exit["process"]["refcnt"], &exit["status"], &exit["time"]),
        (&Value::Null, &Value::Null, &events[1]["time"])
    );
    assert_eq!(exit["process"]["exec_id"], told["exec_id"]);
}

#[test]
fn a_process_has_one_id_as_itself_as_a_parent_and_in_what_it_does() {
    let (cluster, mut wire) = stage();
    let start = Settings::default().start;
    let pod = &cluster.pods[0];
    let parent = shell(pod, start);
    let process = child(&parent, start + 1_000_000);
    wire.tetragon_exec(&cluster, &parent, None);
    wire.tetragon_exec(&cluster, &process, None);
    let touch = Touch { by: process, path: "/etc/shadow", access: Access::Read, outcome: Outcome::Success };
    wire.tetragon_touch(&cluster, start + 1_000_300, &touch, None);
    // Days later, another shell has the same shim.
    wire.tetragon_exec(&cluster, &Process { pid: 90_000, ..shell(pod, start + 200_000_000_000) }, None);
    let events = sent(&mut wire);
    let [first, second, later] = [0, 1, 3].map(|n| &events[n]["process_exec"]);
    let touched = &events[2]["process_kprobe"];
    assert_eq!(second["parent"]["exec_id"], first["process"]["exec_id"]);
    for key in ["start_time", "uid", "pod", "parent_exec_id"] {
        assert_eq!(second["parent"][key], first["process"][key], "{key}");
    }
    assert_eq!(touched["process"], second["process"]);
    assert_eq!(touched["parent"], second["parent"]);
    for key in ["exec_id", "start_time", "parent_exec_id"] {
        assert_eq!(later["parent"][key], first["parent"][key], "{key}");
    }
    assert_ne!(later["process"]["exec_id"], first["process"]["exec_id"]);
}

#[test]
fn watched_files_are_told_of_by_the_hook_that_sees_them() {
    use Access::{Attributes, Create, Delete, Mount, Read, Rename, Write};
    use Outcome::{Failure, Success};
    let (cluster, mut wire) = stage();
    let start = Settings::default().start;
    let by = shell(&cluster.pods[0], start);
    let insmod = Process { exe: "/usr/sbin/insmod", argv: &["insmod", "x.ko"], ..by };
    let truncate = Process { exe: "/usr/bin/truncate", argv: &["truncate", "-s", "0"], ..by };
    let mount = Process { exe: "/bin/mount", argv: &["mount", "-t", "cgroup", "none", "/mnt"], ..by };
    let file = |path: &str, mode: &str| json!({"file_arg": {"path": path, "permission": mode}});
    let place = |path: &str, mode: &str| json!({"path_arg": {"path": path, "permission": mode}});
    let number = |value: i64| json!({"int_arg": value});
    let text = |text: &str| json!({"string_arg": text});
    let module = json!({"module_arg": {"name": "x", "tainted": ["TAINT_OUT_OF_TREE_MODULE", "TAINT_UNSIGNED_MODULE"]}});
    let shadow = "/etc/shadow";
    let log = "/host/var/log/syslog";
    let cases: [(Process<'_>, &str, Access, Outcome, &[Seen]); 11] = [
        (by, "/srv/app.conf", Read, Success, &[]),
        (
            by,
            shadow,
            Read,
            Success,
            &[("security_file_permission", "accounts", json!([file(shadow, "-rw-r-----"), number(4)]), 0)],
        ),
        (
            by,
            shadow,
            Read,
            Failure,
            &[("__x64_sys_openat", "accounts", json!([number(-100), text(shadow), number(524_288)]), -13)],
        ),
        (
            by,
            log,
            Write,
            Success,
            &[("security_file_permission", "logs", json!([file(log, "-rw-r--r--"), number(2)]), 0)],
        ),
        (truncate, log, Write, Success, &[("security_path_truncate", "logs", json!([place(log, "-rw-r--r--")]), 0)]),
        (by, log, Delete, Success, &[("security_inode_unlink", "logs", json!([place(log, "-rw-r--r--")]), 0)]),
        (by, log, Rename, Failure, &[("__x64_sys_renameat2", "logs", json!([number(-100), text(log)]), -13)]),
        (
            by,
            "/etc/cron.d/x",
            Create,
            Success,
            &[(
                "security_inode_create",
                "scheduled-programs",
                json!([place("/etc/cron.d/x", "-rw-r--r--"), number(33_188)]),
                0,
            )],
        ),
        (
            by,
            "/etc/cron.d/x",
            Attributes,
            Success,
            &[(
                "security_path_chmod",
                "scheduled-programs",
                json!([place("/etc/cron.d/x", "-rw-r--r--"), number(493)]),
                0,
            )],
        ),
        (mount, "/mnt", Mount, Failure, &[("__x64_sys_mount", "mounts", json!([text("/mnt"), text("cgroup")]), -1)]),
        (
            insmod,
            "/tmp/x.ko",
            Read,
            Success,
            &[
                ("security_kernel_read_file", "kernel-modules", json!([file("/tmp/x.ko", "-rw-r--r--"), number(2)]), 0),
                ("do_init_module", "kernel-modules", json!([module]), 1),
            ],
        ),
    ];
    for (by, path, access, outcome, expected) in cases {
        wire.tetragon_touch(&cluster, start, &Touch { by, path, access, outcome }, LABEL);
        let events = sent(&mut wire);
        assert_eq!(events.len(), expected.len(), "{path} {access:?}");
        for (event, (function, policy, arguments, returned)) in events.iter().zip(expected) {
            let call = &event["process_kprobe"];
            assert_eq!(
                (call["function_name"].as_str(), call["policy_name"].as_str()),
                (Some(*function), Some(*policy))
            );
            assert_eq!(&call["args"], arguments, "{function}");
            let expected = if *function == "do_init_module" { Value::Null } else { number(*returned) };
            assert_eq!(call["return"], expected, "{function}");
        }
    }
}

#[test]
fn policies_watch_what_attackers_want() {
    for (path, policy) in [
        ("/etc/shadow", Some("accounts")),
        ("/host/etc/sudoers.d/ops", Some("accounts")),
        ("/hosts/etc/shadow", None),
        ("/etc/crontab", Some("scheduled-programs")),
        ("/var/run/secrets/kubernetes.io/serviceaccount/token", Some("tokens")),
        ("/run/secrets/kubernetes.io/serviceaccount/token", Some("tokens")),
        ("/etc/kubernetes/admin.conf", Some("kubernetes-files")),
        ("/var/lib/kubelet/pki/kubelet.crt", Some("kubernetes-files")),
        ("/var/lib/kubelets", None),
        ("/root/.ssh", Some("credentials")),
        ("/home/sam/.aws/credentials", Some("credentials")),
        ("/home/sam/.docker/config.json", Some("credentials")),
        ("/proc/1/root/etc/hostname", Some("ways-out-of-containers")),
        ("/proc/1/status", None),
        ("/proc/sys/kernel/core_pattern", Some("ways-out-of-containers")),
        ("/sys/fs/cgroup/rdma/release_agent", Some("ways-out-of-containers")),
        ("/host/run/containerd/containerd.sock", Some("runtime-sockets")),
        ("/var/log", Some("logs")),
        ("/var/logs", None),
        ("/etc/systemd/system/x.service", Some("services")),
        ("/lib/modules/6.8.0/extra/x.ko.xz", Some("kernel-modules")),
        ("", None),
    ] {
        assert_eq!(watched::policy(path), policy, "{path}");
    }
}

#[test]
fn connections_are_told_of_where_the_process_is_known() {
    let (cluster, mut wire) = stage();
    let start = Settings::default().start;
    let pod = &cluster.pods[0];
    let connect = Connect {
        from: End::Pod(pod),
        to: End::Outside { ip: "203.0.113.7", name: "drop.example" },
        source_port: 40_112,
        port: 443,
        transport: Transport::Tcp,
        verdict: Verdict::Dropped,
        bytes_sent: 1,
        bytes_received: 1,
        count: 3,
        lasts: 1,
        by: Some(shell(pod, start)),
    };
    wire.tetragon_connect(&cluster, start, &Connect { by: None, ..connect }, LABEL);
    wire.tetragon_connect(&cluster, start, &Connect { transport: Transport::Udp, ..connect }, LABEL);
    wire.tetragon_connect(&cluster, start, &connect, LABEL);
    wire.tetragon_connect(&cluster, start, &Connect { to: End::ApiServer, count: 1, ..connect }, LABEL);
    let events = sent(&mut wire);
    assert_eq!(events.len(), 2);
    let socket = &events[0]["process_kprobe"]["args"][0]["sock_arg"];
    let expected = json!({"family": "AF_INET", "type": "SOCK_STREAM", "protocol": "IPPROTO_TCP", "saddr": pod.ip,
        "daddr": "203.0.113.7", "sport": 40_112, "dport": 443, "state": "TCP_SYN_SENT", "cookie": socket["cookie"]});
    assert_eq!(socket, &expected);
    // Numbers of 64 bits are strings in protobuf's JSON.
    assert!(socket["cookie"].as_str().unwrap().parse::<u64>().unwrap() > 1 << 63);
    assert_eq!((&events[0]["aggregation_info"]["count"], &events[1]["aggregation_info"]), (&json!("3"), &Value::Null));
    assert_eq!(events[1]["process_kprobe"]["args"][0]["sock_arg"]["daddr"], "10.96.0.1");
}

#[test]
fn losses_are_told_of_unless_there_are_none() {
    let (cluster, mut wire) = stage();
    wire.tetragon_lost(&cluster, Settings::default().start, 0, 0);
    wire.tetragon_lost(&cluster, Settings::default().start, usize::MAX, 5);
    wire.tetragon_lost(&cluster, Settings::default().start, 1, 128);
    let events = sent(&mut wire);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["rate_limit_info"], json!({"number_of_dropped_process_events": "128"}));
}

#[test]
fn an_id_names_one_program_in_a_whole_drill() {
    let settings = Settings { streams: vec![Stream::Tetragon], duration_secs: 600, ..Settings::default() };
    let mut programs: BTreeMap<String, String> = BTreeMap::new();
    let mut events = 0;
    for record in crate::Drill::new(settings).unwrap() {
        let event: Value = serde_json::from_slice(&record.payload).unwrap();
        let Some((_, told)) = event.as_object().unwrap().iter().find(|(key, _)| key.starts_with("process_")) else {
            continue;
        };
        events += 1;
        for who in ["process", "parent"] {
            let [id, program] = ["exec_id", "binary"].map(|key| told[who][key].as_str().unwrap());
            let known = programs.entry(id.into()).or_insert_with(|| program.into());
            assert_eq!(known, program, "{id}");
        }
    }
    assert!(events > 1_000, "{events}");
}
