use palisade_events::time::SECOND;

use super::comm;
use crate::act::{Access, HostEvent, Login, Outcome, Parent, Place, Process, Terminal, Touch};
use crate::cluster::Cluster;
use crate::random::Random;
use crate::record::Stream;
use crate::settings::Settings;
use crate::wire::Wire;

const AT: i64 = 1_772_442_000_123_456;

fn stage() -> (Cluster, Wire) {
    let settings = Settings { streams: vec![Stream::Auditd], ..Settings::default() };
    let mut random = Random::new(7);
    let cluster = Cluster::new(&settings, &mut random);
    let wire = Wire::new(&settings, random, cluster.nodes.len());
    (cluster, wire)
}

fn process<'p>(place: Place<'p>, exe: &'p str, argv: &'p [&'p str]) -> Process<'p> {
    Process {
        place,
        pid: 4_321,
        exe,
        argv,
        cwd: "/root",
        uid: 0,
        login: Login::Person(1_000, "sam", "pts0", 811),
        terminal: Terminal::Attached,
        parent: Parent { pid: 4_000, exe: "/usr/bin/bash", arguments: "", started: AT - SECOND },
        started: AT,
    }
}

fn lines(wire: &mut Wire) -> Vec<String> {
    std::iter::from_fn(|| wire.delivered(i64::MAX)).map(|r| String::from_utf8(r.payload).unwrap()).collect()
}

/// The types of the lines.
fn shape(lines: &[String]) -> String {
    let kinds: Vec<&str> = lines.iter().map(|line| between(line, " type=", " ")).collect();
    kinds.join(" ")
}

fn between<'t>(text: &'t str, from: &str, to: &str) -> &'t str {
    text.split_once(from).unwrap().1.split(to).next().unwrap()
}

#[test]
fn the_kernel_names_processes_by_how_they_were_called() {
    for (exe, called, name) in [
        ("/usr/bin/dash", "/bin/sh", "sh"),
        ("/bin/busybox", "wget", "wget"),
        ("/usr/bin/bash", "-bash", "bash"),
        ("/usr/bin/nc.openbsd", "nc", "nc"),
        ("/usr/bin/python3.12", "python3", "python3"),
        ("/usr/bin/containerd-shim-runc-v2", "/usr/bin/containerd-shim-runc-v2", "containerd-shim"),
        // What a program calls itself is nothing to the kernel.
        ("/tmp/xmrig", "[kworker/0:1]", "xmrig"),
        ("/tmp/xmrig", "x", "xmrig"),
    ] {
        assert_eq!(comm(exe, &[called]), name);
    }
}

#[test]
fn a_launch_is_told_with_who_ran_it_where() {
    let (cluster, mut wire) = stage();
    let argv = ["sudo", "cat", "/etc/a b"];
    let sudo = Process { uid: 1_000, ..process(Place::Node(0), "/usr/bin/sudo", &argv) };
    wire.auditd_launch(&cluster, &sudo, None);
    let told = lines(&mut wire);
    assert_eq!(shape(&told), "SYSCALL EXECVE CWD PATH PATH PROCTITLE EOE");
    for part in [
        " success=yes exit=0 ",
        " items=2 ppid=4000 pid=4321 auid=1000 uid=1000 gid=1000 euid=0 suid=0 fsuid=0 egid=1000 ",
        " tty=pts0 ses=811 comm=\"sudo\" exe=\"/usr/bin/sudo\" ",
        " key=\"exec\"\u{1d}ARCH=x86_64 SYSCALL=execve AUID=\"sam\" UID=\"sam\" GID=\"sam\" EUID=\"root\" ",
    ] {
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
    assert!(told[1].ends_with("argc=3 a0=\"sudo\" a1=\"cat\" a2=2F6574632F612062"), "{}", told[1]);
    assert!(told[5].ends_with("proctitle=7375646F00636174002F6574632F612062"), "{}", told[5]);

    let pod = &cluster.pods[0];
    let (login, uid) = (Login::None, 101);
    wire.auditd_launch(&cluster, &Process { login, uid, ..process(Place::Pod(pod), "/bin/sh", &["sh"]) }, None);
    let told = lines(&mut wire);
    assert!(told[0].contains(" auid=4294967295 uid=101 ") && told[0].contains(" UID=\"unknown(101)\" "), "{}", told[0]);
    assert!(told[3].contains(" dev=00:"), "{}", told[3]);

    wire.auditd_launch(&cluster, &process(Place::Pod(pod), "/sbin/insmod", &["insmod", "/x/rk.ko"]), None);
    let told = lines(&mut wire);
    assert_eq!(shape(&told[7..]), "SYSCALL KERN_MODULE PROCTITLE EOE");
    assert!(told[7].contains(" syscall=313 ") && told[7].contains(" key=\"modules\""), "{}", told[7]);
    assert!(told[8].ends_with("name=\"rk\""), "{}", told[8]);
}

#[test]
fn arguments_of_many_kilobytes_take_several_records() {
    let (cluster, mut wire) = stage();
    let long = "x".repeat(3_000);
    let argv = ["a", long.as_str(), &long, &long, &long];
    wire.auditd_launch(&cluster, &process(Place::Node(0), "/usr/bin/a", &argv), None);
    let told = lines(&mut wire);
    assert_eq!(shape(&told), "SYSCALL EXECVE EXECVE CWD PATH PATH PROCTITLE EOE");
    assert!(told[1].contains(" a3=") && !told[1].contains(" a4="), "the kernel cuts between arguments");
    assert!(told[2].contains("):  a4=\"xxx"), "and leaves the space before them");
}

#[test]
fn watched_files_are_told_of_as_the_kernel_walks_them() {
    use Access::{Attributes, Create, Delete, Mount, Read, Rename, Write};
    let (cluster, mut wire) = stage();
    let pod = &cluster.pods[0];
    for (is_pod, argv, access, path, call, items, key) in [
        (false, "cat x", Read, "/etc/shadow", "openat", "NORMAL", "identity"),
        (false, "cat x", Read, "/etc/passwd", "", "", ""),
        (false, "tee -a x", Write, "/etc/passwd", "openat", "PARENT NORMAL", "identity"),
        (false, "cp a b", Create, "/etc/cron.d/a", "openat", "PARENT CREATE", "cron"),
        (false, "rm x", Delete, "/var/log/audit/audit.log", "unlinkat", "PARENT DELETE", "audit-log"),
        (false, "mv /etc/sudoers /etc/s", Rename, "/etc/sudoers", "renameat", "PARENT PARENT DELETE CREATE", "sudoers"),
        (false, "chmod 600 x", Attributes, "/etc/kubernetes/a.yaml", "fchmodat", "NORMAL", "kubernetes"),
        (false, "chown root x", Attributes, "/etc/shadow", "fchownat", "NORMAL", "identity"),
        (true, "cat x", Read, "/etc/shadow", "", "", ""),
        (true, "cat x", Read, "/host/etc/shadow", "openat", "NORMAL", "identity"),
        (true, "cat x", Read, "/host/shadow", "openat", "NORMAL", "identity"),
        (true, "cat x", Read, "/var/run/secrets/kubernetes.io/serviceaccount/token", "", "", ""),
        (true, "mount /dev/sda1 /mnt", Mount, "/mnt", "mount", "NORMAL", "mounts"),
    ] {
        let argv: Vec<&str> = argv.split(' ').collect();
        let exe = format!("/usr/bin/{}", argv[0]);
        let place = if is_pod { Place::Pod(pod) } else { Place::Node(0) };
        for outcome in [Outcome::Success, Outcome::Failure] {
            let touch = Touch { by: process(place, &exe, &argv), path, access, outcome };
            wire.auditd_touch(&cluster, AT, &touch, None);
            let told = lines(&mut wire);
            if call.is_empty() {
                assert!(told.is_empty(), "{path}");
                continue;
            }
            let paths: Vec<&str> = told.iter().filter(|l| l.contains(" type=PATH ")).map(String::as_str).collect();
            let kinds: Vec<&str> = paths.iter().map(|line| between(line, " nametype=", " ")).collect();
            assert_eq!(kinds.join(" "), items, "{path}");
            assert_eq!(between(&told[0], " SYSCALL=", " "), call, "{path}");
            assert!(told[0].contains(&format!(" key=\"{key}\"")), "{path}: {}", told[0]);
            assert!(told[0].contains(&format!(" items={} ", paths.len())), "{path}");
            let is_failure = outcome == Outcome::Failure;
            assert_eq!(told[0].contains(" success=no exit=-13 "), is_failure, "{path}");
            let made = paths.iter().find(|line| line.contains("nametype=CREATE"));
            assert!(made.is_none_or(|line| line.contains(" inode=") != is_failure), "{path}");
            assert!(told.iter().any(|line| line.contains(&format!(" name=\"{path}\""))), "{path}");
            assert!(shape(&told).ends_with("PROCTITLE EOE"));
        }
    }
}

#[test]
fn records_about_people_and_about_auditing_have_their_own_shapes() {
    let (cluster, mut wire) = stage();
    let login = Login::Person(1_000, "sam", "pts0", 811);
    for (kind, message, shaped, part) in [
        (
            "USER_LOGIN",
            "op=login id=1000 exe=\"/usr/sbin/sshd\" res=success",
            "USER_LOGIN",
            " uid=0 auid=1000 ses=811 subj=unconfined msg='op=login id=1000 exe=\"/usr/sbin/sshd\" res=success'\u{1d}UID=\"root\" AUID=\"sam\" ID=\"sam\"",
        ),
        ("USER_CMD", "cwd=\"/\" cmd=\"id\" exe=\"/usr/bin/sudo\" res=success", "USER_CMD", " uid=1000 auid=1000 "),
        ("SERVICE_STOP", "unit=auditd res=success", "SERVICE_STOP", "): pid=1 uid=0 "),
        (
            "CONFIG_CHANGE",
            "audit_enabled=0 old=1 res=1",
            "CONFIG_CHANGE SYSCALL PROCTITLE EOE",
            "): audit_enabled=0 old=1 auid=1000 ses=811 subj=unconfined res=1\u{1d}AUID=\"sam\"",
        ),
        (
            "CONFIG_CHANGE",
            "op=remove_rule key=\"exec\" list=4 res=1",
            "CONFIG_CHANGE SYSCALL PROCTITLE EOE",
            "): auid=1000 ses=811 subj=unconfined op=remove_rule key=\"exec\" list=4 res=1\u{1d}",
        ),
        (
            "LOGIN",
            "",
            "LOGIN SYSCALL PROCTITLE EOE",
            " old-auid=4294967295 auid=1000 tty=(none) old-ses=4294967295 ses=811 ",
        ),
        ("DAEMON_END", "op=terminate res=success", "DAEMON_END", "): op=terminate auid=1000 pid="),
        ("ANOM_PROMISCUOUS", "dev=eth0 prom=256 old_prom=0", "ANOM_PROMISCUOUS EOE", " subj=unconfined dev=eth0 "),
    ] {
        wire.auditd_user(&cluster, AT, &HostEvent { node: 0, kind, login, message }, None);
        let told = lines(&mut wire);
        assert_eq!(shape(&told), shaped);
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
}

#[test]
fn what_the_daemon_writes_itself_takes_no_serial_of_the_kernels() {
    let (cluster, mut wire) = stage();
    let serial = |wire: &mut Wire| -> u64 {
        wire.user_record(&cluster, AT, 2, "SERVICE_START", Login::None, "unit=a res=success");
        between(&lines(wire)[0], ".123:", ")").parse().unwrap()
    };
    let first = serial(&mut wire);
    let event = HostEvent { node: 2, kind: "DAEMON_ROTATE", login: Login::None, message: "op=rotate-logs res=success" };
    wire.auditd_user(&cluster, AT, &event, None);
    assert_eq!(shape(&lines(&mut wire)), "DAEMON_ROTATE");
    assert_eq!(serial(&mut wire), first + 1);
}
