//! When records make an event, what it says, and what is told of records that are missing.

use std::path::PathBuf;
use std::sync::Arc;

use palisade_events::clock::Tolerance;
use palisade_events::{Chunk, Coverage, EventBatch, FieldPlan, FieldValue, Lane};
use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::decode::{Counts, Limits, Settings};

mod golden;

/// What came of a lane's records, in a form that compares.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    rows: Vec<Json>,
    raws: Vec<String>,
    fields: Vec<Vec<(String, Vec<FieldValue>)>>,
    facts: Vec<Coverage>,
    rejects: Vec<(i64, String, String)>,
    counts: Counts,
    held: u64,
}

impl Seen {
    fn take(&mut self, out: &mut Decoded, plan: &FieldPlan) {
        let batch: EventBatch = out.events.finish().unwrap();
        for row in 0..batch.rows() {
            self.rows.push(batch.row_json(row));
            self.raws.push(batch.text(palisade_events::col::RAW).value(row).to_owned());
            let values = |path: usize| {
                let column = &batch.fields()[path];
                column.codes(row).iter().map(|&code| column.values()[code as usize].clone()).collect()
            };
            self.fields.push(plan.paths().iter().enumerate().map(|(i, name)| (name.to_string(), values(i))).collect());
        }
        self.facts.append(&mut out.coverage);
        self.rejects.extend(out.rejects.drain(..).map(|r| (r.offset, r.reason, r.raw)));
        self.counts.add(&std::mem::take(&mut out.counts));
    }

    fn column(&self, name: &str) -> Vec<&str> {
        self.rows.iter().map(|row| row[name].as_str().unwrap_or("")).collect()
    }

    fn facts(&self) -> Vec<(&str, i64)> {
        self.facts.iter().map(|f| (f.kind.name(), f.count)).collect()
    }

    fn field(&self, row: usize, name: &str) -> Vec<&str> {
        let (_, values) = self.fields[row].iter().find(|(n, _)| n == name).unwrap();
        values.iter().map(|v| if let FieldValue::Str(s) = v { s.as_ref() } else { "null" }).collect()
    }
}

/// Where the lane is cut, and what happens there.
#[derive(Clone, Copy)]
enum Cut {
    Chunks(usize),
    /// One record at a time, through a snapshot between any two.
    Restarts,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Held,
    Ended,
}

const PLAN: &[&str] = &[
    "type", "a0", "a1", "a2", "a3", "name", "exe", "comm", "key", "syscall", "SYSCALL", "uid", "success", "seperms",
    "acct",
];

fn settings() -> Arc<Settings> {
    Arc::new(Settings {
        source: "audit".into(),
        cluster: "c1".into(),
        plan: Arc::new(FieldPlan::new(PLAN)),
        ..Settings::default()
    })
}

fn decoder(settings: &Arc<Settings>) -> Auditd {
    let lane = Arc::new(Lane::channel("audit", "test"));
    Auditd::new(LaneContext::new(lane, Arc::clone(settings), "auditd"))
}

fn decode_lines(lines: &[impl AsRef<[u8]>], cut: Cut, end: End) -> Seen {
    let settings = settings();
    let mut auditd = decoder(&settings);
    let mut clock = LaneClock::new(Tolerance::default());
    let mut out = Decoded::new(Arc::clone(&settings.plan));
    let mut seen = Seen::default();
    let size = if let Cut::Chunks(size) = cut { size } else { 1 };
    for (number, part) in lines.chunks(size.max(1)).enumerate() {
        let mut chunk = Chunk::new(Arc::new(Lane::channel("audit", "test")));
        for (index, line) in part.iter().enumerate() {
            let offset = (number * size.max(1) + index) as i64;
            chunk.push(line.as_ref(), offset, Some(offset + 1), None);
        }
        auditd.decode(&chunk, &mut clock, &mut out).unwrap();
        seen.take(&mut out, &settings.plan);
        let counts = &seen.counts;
        assert_eq!(counts.records, counts.used + counts.coverage + counts.rejected + auditd.held(), "accounting");
        if matches!(cut, Cut::Restarts) {
            let state = auditd.snapshot().unwrap();
            auditd = decoder(&settings);
            auditd.restore(&state).unwrap();
            assert_eq!(auditd.snapshot().unwrap(), state);
        }
    }
    if end == End::Ended {
        auditd.end(&mut clock, &mut out).unwrap();
        seen.take(&mut out, &settings.plan);
        assert_eq!(auditd.held(), 0);
        let counts = &seen.counts;
        assert_eq!(counts.records, counts.used + counts.coverage + counts.rejected, "accounting at the end");
    }
    seen.held = auditd.held();
    seen
}

/// Decodes in every cutting and asserts that they agree.
fn decode(lines: &[impl AsRef<[u8]>], end: End) -> Seen {
    let whole = decode_lines(lines, Cut::Chunks(usize::MAX / 2), end);
    for cut in [Cut::Chunks(1), Cut::Chunks(7), Cut::Restarts] {
        assert_eq!(decode_lines(lines, cut, end), whole);
    }
    let mut uids = whole.column("event_uid");
    uids.sort_unstable();
    uids.dedup();
    assert_eq!(uids.len(), whole.rows.len(), "ids are unique");
    // A hunt reads the same fields from what is stored.
    let plan = Arc::new(FieldPlan::new(PLAN));
    for (row, raw) in whole.raws.iter().enumerate() {
        let mut out = Decoded::new(Arc::clone(&plan));
        put_raw_fields(raw, Zone::default(), &Limits::default(), &mut out.events);
        let mut hunted = Seen::default();
        out.events.put_text(palisade_events::col::EVENT_UID, "x");
        out.events.put_time(palisade_events::col::TIME, 0);
        for column in [palisade_events::col::CLASS_UID, palisade_events::col::ACTIVITY_ID] {
            out.events.put_int(column, 0);
        }
        for column in [palisade_events::col::SOURCE, palisade_events::col::FORMAT, palisade_events::col::ORIGIN] {
            out.events.put_word(column, "x");
        }
        out.events.put_flag(palisade_events::col::LATE, false);
        out.events.end_row();
        hunted.take(&mut out, &plan);
        assert_eq!(hunted.fields[0], whole.fields[row]);
    }
    whole
}

fn syscall(time: &str, serial: u64) -> String {
    format!("type=SYSCALL msg=audit({time}:{serial}): arch=c000003e syscall=59 success=yes exit=0 pid=7 comm=\"x\"")
}

fn line(kind: &str, time: &str, serial: u64) -> String {
    format!("type={kind} msg=audit({time}:{serial}): proctitle=\"x\"")
}

fn rows(seen: &Seen) -> Vec<(i64, i64, &str, i64)> {
    seen.rows
        .iter()
        .map(|r| {
            let uid = r["metadata_original_uid"].as_str().unwrap();
            (
                r["record_offset"].as_i64().unwrap(),
                r["message_index"].as_i64().unwrap(),
                uid,
                r["records"].as_i64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn an_event_takes_the_position_of_the_record_that_completes_it() {
    let lines = [syscall("1.000", 5), syscall("1.001", 6), line("PROCTITLE", "1.000", 5), line("EOE", "1.001", 6)];
    let seen = decode(&lines, End::Held);
    assert_eq!(rows(&seen), [(2, 0, "5", 2), (3, 0, "6", 2)]);
    assert_eq!((seen.counts.used, seen.held), (4, 0));
}

#[test]
fn an_end_after_the_title_is_used_and_one_without_an_event_is_a_gap() {
    let lines = [syscall("1.000", 5), line("PROCTITLE", "1.000", 5), line("EOE", "1.000", 5), line("EOE", "1.001", 6)];
    let seen = decode(&lines, End::Ended);
    assert_eq!(rows(&seen), [(1, 0, "5", 2)]);
    assert_eq!((seen.counts.used, seen.counts.coverage), (3, 1));
    assert_eq!(seen.facts(), [("gap", 1)]);
}

#[test]
fn an_end_that_comes_first_waits_for_its_records() {
    let lines = [line("EOE", "1.000", 5), syscall("1.000", 5), line("PROCTITLE", "1.000", 5)];
    assert_eq!(rows(&decode(&lines, End::Held)), [(2, 0, "5", 3)]);
    let lines = [line("PROCTITLE", "1.000", 5), syscall("1.000", 5), line("EOE", "1.000", 5)];
    assert_eq!(rows(&decode(&lines, End::Held)), [(2, 0, "5", 3)]);
}

#[test]
fn a_record_after_its_event_makes_an_event_of_its_own_with_the_same_correlation() {
    let lines = [syscall("1.000", 5), line("PROCTITLE", "1.000", 5), line("PATH", "1.000", 5), line("EOE", "1.000", 5)];
    let seen = decode(&lines, End::Held);
    assert_eq!(rows(&seen), [(1, 0, "5", 2), (3, 0, "5", 2)]);
    assert_eq!(seen.column("metadata_correlation_uid"), [":1.000:5", ":1.000:5"]);
}

#[test]
fn later_records_of_the_node_close_an_event_and_nothing_else_does() {
    // Two seconds are not yet later, nor are 256 serials ahead; another node says nothing.
    let held = [syscall("10.000", 5), syscall("12.000", 261), format!("node=b {}", syscall("99.000", 900))];
    assert_eq!(decode(&held, End::Held).held, 3);
    let later = [syscall("10.000", 5), syscall("12.001", 6)];
    assert_eq!(rows(&decode(&later, End::Held)), [(1, 0, "5", 1)]);
    let ahead = [syscall("10.000", 5), syscall("10.000", 6), syscall("10.000", 263)];
    assert_eq!(rows(&decode(&ahead, End::Held)), [(2, 0, "5", 1), (2, 1, "6", 1)]);
    let wrapped = [syscall("10.000", 4_294_967_290), syscall("10.000", 250), syscall("10.000", 251)];
    assert_eq!(rows(&decode(&wrapped, End::Held)), [(2, 0, "4294967290", 1)]);
    let halted = [syscall("10.000", 5), "type=DAEMON_END msg=audit(10.1:9): auditd normal halt, res=success".into()];
    assert_eq!(rows(&decode(&halted, End::Held)), [(1, 0, "5", 1), (1, 1, "9", 1)]);
}

#[test]
fn a_silent_nodes_event_closes_after_many_records_of_others() {
    let mut lines = vec![format!("node=a {}", syscall("10.000", 5))];
    lines.extend((0..8300).map(|i| format!("node=b {}", line("USER_CMD", "10.000", i))));
    let seen = decode_lines(&lines, Cut::Chunks(100), End::Held);
    assert_eq!((seen.held, seen.rows.len()), (0, 8301));
    assert_eq!(seen, decode_lines(&lines, Cut::Chunks(8301), End::Held));
}

#[test]
fn the_oldest_event_gives_way_when_too_many_are_held() {
    let lines: Vec<String> = (0..1030).map(|i| format!("node=n{i} {}", syscall("10.000", i))).collect();
    let seen = decode_lines(&lines, Cut::Chunks(13), End::Held);
    assert_eq!((seen.held, seen.rows.len()), (1024, 6));
    assert_eq!(seen.column("device_hostname")[0], "n0");
    let many: Vec<String> = (0..2100).map(|_| line("PATH", "10.000", 1)).collect();
    let seen = decode_lines(&many, Cut::Chunks(13), End::Held);
    assert_eq!(rows(&seen), [(1023, 0, "1", 1024), (2047, 0, "1", 1024)]);
    let big = "x".repeat(1 << 20);
    let large: Vec<String> = (0..12).map(|i| format!("node=n{i} {} name=\"{big}\"", syscall("10.000", i))).collect();
    let seen = decode_lines(&large, Cut::Chunks(5), End::Held);
    assert!(seen.held < 8 && seen.rows.len() > 4);
}

#[test]
fn the_end_of_the_input_closes_each_event_at_its_own_last_record() {
    let lines = [syscall("10.000", 5), syscall("13.000", 6), syscall("13.000", 7), line("CWD", "13.000", 6)];
    let seen = decode(&lines, End::Ended);
    // Record 1 completed event 5, so that nothing else may have its first index.
    assert_eq!(rows(&seen), [(1, 0, "5", 1), (3, 0, "6", 2), (2, 0, "7", 1)]);
    let lines = [syscall("10.000", 5), syscall("13.000", 6)];
    assert_eq!(rows(&decode(&lines, End::Ended)), [(1, 0, "5", 1), (1, 1, "6", 1)]);
}

#[test]
fn missing_serials_and_what_the_kernel_says_of_loss_are_facts() {
    let lines = [
        line("USER_CMD", "10.000", 49),
        line("USER_CMD", "10.100", 59),
        line("USER_CMD", "10.050", 55),
        line("USER_CMD", "13.000", 60),
        "type=DAEMON_ROTATE msg=audit(13.0:9000): lost=4 res=success".into(),
        "Apr 1 00:00:00 h kernel: audit: audit_lost=7 audit_rate_limit=0 audit_backlog_limit=64".into(),
        "Apr 1 00:00:00 h kernel: audit: audit_lost=9 audit_rate_limit=0 audit_backlog_limit=64".into(),
        "Apr 1 00:00:00 h kernel: audit: backlog limit exceeded".into(),
    ];
    let seen = decode(&lines, End::Held);
    assert_eq!(seen.facts(), [("gap", 5), ("gap", 3), ("lost", 4), ("lost", 7), ("lost", 2), ("lost", -1)]);
    let gap = &seen.facts[0];
    assert_eq!(
        (gap.window_start, gap.window_end, gap.detail.as_str()),
        (10_000_000, 10_100_000, "serials 50 to 54 are missing")
    );
    assert_eq!((seen.counts.used, seen.counts.coverage), (5, 3));
}

#[test]
fn what_cannot_be_read_is_rejected_and_nothing_else_is_lost() {
    let long = vec![b'x'; Limits::default().record_bytes_max + 1];
    let lines: Vec<&[u8]> = vec![
        b"{}",
        b"type=CWD msg=audit(x): a=b",
        &long,
        b"type=UNKNOWN[1329] msg=?",
        b"\xff\xfe",
        b"type=TEST msg=audit(1.0:1): a=\xff",
    ];
    let seen = decode(&lines, End::Ended);
    let reasons: Vec<_> = seen.rejects.iter().map(|r| (r.0, r.1.as_str())).collect();
    let none = "not_an_audit_record";
    assert_eq!(reasons, [(0, none), (1, "bad_stamp"), (2, "too_large"), (3, none), (4, none)]);
    assert_eq!(seen.counts.used, 1);
}

#[test]
fn columns_tell_what_happened() {
    for (lines, expected) in [
        (
            // Arguments over several records and pieces; the title is not needed then.
            vec![
                "node=web type=SYSCALL msg=audit(1.5:9): arch=c00000b7 syscall=221 success=no exit=-13 a0=1 ppid=3 pid=4 auid=4294967295 uid=1000 euid=0 tty=pts0 comm=\"sh\" exe=\"/bin/sh\" key=610162\u{1d}UID=\"bob\" EUID=\"root\"",
                "node=web type=EXECVE msg=audit(1.5:9): argc=3 a0=\"sh\" a1_len=4 a1[0]=2D63",
                "node=web type=EXECVE msg=audit(1.5:9): a1[1]=2064 a2=\"last\"",
                "node=web type=PROCTITLE msg=audit(1.5:9): proctitle=\"title\"",
            ],
            r#"{"class_uid":1007,"activity_id":1,"process_cmd_line":"sh -c d last","syscall":"execve","status_id":2,"status_detail":"EACCES","exit_code":-13,
               "actor_session_uid":null,"actor_user_uid":"1000","actor_user_name":"bob","process_user_uid":"0","process_user_name":"root","device_hostname":"web",
               "metadata_correlation_uid":"web:1.5:9","time_original":"1.5:9","time":"1970-01-01T00:00:01.500000Z","metadata_labels":["a","b"],"metadata_log_name":"SYSCALL",
               "process_parent_pid":3,"actor_session_terminal":"pts0","records":4}"#,
        ),
        (
            vec![
                "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c items=2 comm=\"vi\"",
                "type=CWD msg=audit(1.5:9): cwd=\"/home/a\"",
                "type=PATH msg=audit(1.5:9): item=0 name=\"./\" nametype=PARENT",
                "type=PATH msg=audit(1.5:9): item=1 name=\"./x.txt\" nametype=CREATE",
                "type=PROCTITLE msg=audit(1.5:9): proctitle=766900782E747874",
            ],
            r#"{"class_uid":1001,"activity_id":1,"file_path":"/home/a/x.txt","process_cmd_line":"vi x.txt","process_working_directory":"/home/a"}"#,
        ),
        (
            vec![
                "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=263 success=yes exit=0 a0=5 items=2",
                "type=CWD msg=audit(1.5:9): cwd=\"/home/a\"",
                "type=PATH msg=audit(1.5:9): item=0 name=\"/var/lib\" nametype=PARENT",
                "type=PATH msg=audit(1.5:9): item=1 name=\"x\" nametype=DELETE",
                "type=EOE msg=audit(1.5:9):",
            ],
            r#"{"class_uid":1001,"activity_id":4,"file_path":"/var/lib/x","syscall":"unlinkat"}"#,
        ),
        (
            vec![
                "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=49 success=yes exit=0 a0=5",
                "type=SOCKADDR msg=audit(1.5:9): saddr=02001F907F0000010000000000000000",
                "type=EOE msg=audit(1.5:9):",
            ],
            r#"{"class_uid":4001,"activity_id":7,"src_endpoint_ip":"127.0.0.1","src_endpoint_port":8080,"dst_endpoint_ip":null}"#,
        ),
        (
            vec![
                "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=42 success=yes exit=0 a0=5",
                "type=SOCKADDR msg=audit(1.5:9): saddr=01002F72756E2F646F636B65722E736F636B00",
                "type=EOE msg=audit(1.5:9):",
            ],
            r#"{"class_uid":4001,"file_path":"/run/docker.sock"}"#,
        ),
        (
            vec![
                "type=USER_LOGIN msg=audit(1.5:9): pid=1 uid=0 auid=1000 ses=1 msg='op=login acct=\"bob\" exe=\"/usr/sbin/sshd\" hostname=? addr=10.0.0.9 terminal=sshd res=failed'\u{1d}UID=\"root\" AUID=\"bob\"",
            ],
            r#"{"class_uid":3002,"activity_id":1,"status_id":2,"actor_user_name":"bob","actor_user_uid":null,"process_user_uid":"0","process_user_name":"root",
               "src_endpoint_ip":"10.0.0.9","actor_session_uid":"1000","process_name":"sshd","api_operation":"USER_LOGIN"}"#,
        ),
        (
            vec![
                "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=999 success=yes exit=0",
                "type=EOE msg=audit(1.5:9):",
            ],
            r#"{"class_uid":0,"activity_id":0,"syscall":"999"}"#,
        ),
    ] {
        let seen = decode(&lines, End::Held);
        assert_eq!(seen.rows.len(), 1, "{lines:?}");
        let expected: serde_json::Map<String, Json> = serde_json::from_str(expected).unwrap();
        for (column, value) in expected {
            assert_eq!(seen.rows[0][&column], value, "{column} of {lines:?}");
        }
    }
}

#[test]
fn every_key_of_every_record_is_a_field_and_arguments_hide_registers() {
    let seen = decode(
        &[
            "type=AVC msg=audit(1.5:9): avc:  denied  { read write } for  pid=1 comm=\"x\" name=\"shadow\"",
            "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=59 success=yes a0=7ffd a1=1 uid=0 comm=\"x\" exe=\"/bin/x\" key=(null)",
            "type=EXECVE msg=audit(1.5:9): argc=2 a0=\"x\" a1=2D6120620A",
            "type=PATH msg=audit(1.5:9): item=0 name=\"/bin/x\"",
            "type=PATH msg=audit(1.5:9): item=1 name=\"/lib/ld.so\"",
            "type=PROCTITLE msg=audit(1.5:9): proctitle=\"x\"",
        ],
        End::Held,
    );
    for (name, values) in [
        ("type", vec!["AVC", "SYSCALL", "EXECVE", "PATH", "PATH", "PROCTITLE"]),
        ("a0", vec!["x"]),
        ("a1", vec!["-a b\n"]),
        ("a3", vec![]),
        ("name", vec!["shadow", "/bin/x", "/lib/ld.so"]),
        ("syscall", vec!["execve", "59"]),
        ("SYSCALL", vec!["execve"]),
        ("key", vec!["null"]),
        ("uid", vec!["0"]),
        ("seperms", vec!["read", "write"]),
    ] {
        assert_eq!(seen.field(0, name), values, "{name}");
    }
    assert_eq!(seen.rows[0]["metadata_log_name"], "AVC");
    let registers = decode(
        &["type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=62 a0=1fde a1=9", "type=EOE msg=audit(1.5:9):"],
        End::Held,
    );
    assert_eq!((registers.field(0, "a0"), registers.field(0, "a1")), (vec!["1fde"], vec!["9"]));
}

#[test]
fn secrets_are_replaced_in_columns_fields_and_the_original_however_they_are_written() {
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02X}")).collect::<String>();
    let title = hex("mysql\0-u\0root\0-phunter2secret");
    for (arguments, title, line) in [
        (
            "a0=\"mysql\" a1=\"-u\" a2=\"root\" a3=\"-phunter2secret\"".to_owned(),
            title.clone(),
            "mysql -u root -p<redacted:password>",
        ),
        (
            format!("a0=\"app\" a1=\"--password\" a2={}", hex("hunter2secret")),
            hex("app"),
            "app --password <redacted:password>",
        ),
        (
            format!("a0=\"sh\" a1=\"-c\" a2={}", hex("curl -u bob:hunter2secret http://x")),
            hex("x"),
            "sh -c curl -u bob:<redacted:password> http://x",
        ),
        ("a0=\"x\" a1=\"--token=hunter2secret\" a2=\"y\"".to_owned(), hex("x"), "x --token=<redacted:token> y"),
    ] {
        let lines = [
            "type=SYSCALL msg=audit(1.5:9): arch=c000003e syscall=59 success=yes comm=\"x\"".to_owned(),
            format!("type=EXECVE msg=audit(1.5:9): argc=3 {arguments}"),
            format!("type=PROCTITLE msg=audit(1.5:9): proctitle={title}"),
        ];
        let seen = decode(&lines, End::Held);
        assert_eq!(seen.rows[0]["process_cmd_line"], line);
        assert!(seen.rows[0]["redacted"].as_i64().unwrap() >= 1);
        assert!(seen.counts.redacted >= 1);
        let everything = format!("{seen:?}").to_lowercase();
        assert!(
            !everything.contains("hunter2") && !everything.contains(&hex("hunter2").to_lowercase()),
            "{everything}"
        );
    }
    let seen = decode(
        &["Password=hunter2secret node=n type=USER_CMD msg=audit(1.5:9): pid=1 msg='cmd=\"x\" res=success'"],
        End::Held,
    );
    assert_eq!(seen.raws, ["node=n type=USER_CMD msg=audit(1.5:9): pid=1 msg='cmd=\"x\" res=success'"]);
    assert_eq!(seen.rows[0]["device_hostname"], "n");
}

/// State as an earlier program wrote it. Run with `PALISADE_WRITE_FIXTURES=1` to write it, once per version.
#[test]
fn stored_state_of_this_version_is_read_and_damaged_state_is_refused() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/auditd_state_v1.json");
    let settings = settings();
    let mut auditd = decoder(&settings);
    let mut clock = LaneClock::new(Tolerance::default());
    let mut out = Decoded::new(Arc::clone(&settings.plan));
    let mut chunk = Chunk::new(Arc::new(Lane::channel("audit", "test")));
    let first = [line("PROCTITLE", "9.000", 3), syscall("9.000", 3), line("EOE", "9.000", 3), syscall("10.000", 7)];
    for (offset, text) in first.iter().enumerate() {
        chunk.push(text.as_bytes(), offset as i64, Some(offset as i64 + 1), Some(5));
    }
    auditd.decode(&chunk, &mut clock, &mut out).unwrap();
    if std::env::var_os("PALISADE_WRITE_FIXTURES").is_some() {
        std::fs::write(path, auditd.snapshot().unwrap()).unwrap();
    }
    let stored = std::fs::read(path).unwrap();
    let mut restored = decoder(&settings);
    restored.restore(&stored).unwrap();
    assert_eq!(restored.held(), 1);
    assert_eq!(restored.snapshot().unwrap(), auditd.snapshot().unwrap());
    let other = String::from_utf8(stored.clone()).unwrap().replace("\"version\":1", "\"version\":2");
    let headless = String::from_utf8(stored.clone()).unwrap().replace("type=SYSCALL", "typo=SYSCALL");
    for damaged in [&stored[..stored.len() / 2], other.as_bytes(), headless.as_bytes(), b"\xff"] {
        assert!(matches!(decoder(&settings).restore(damaged), Err(Error::State { .. })));
    }
}

/// Real records to mutate; a few of every shape.
const SEEDS: &[&str] = &[
    "node=web type=SYSCALL msg=audit(1492037291.036:59): arch=c000003e syscall=59 success=yes exit=0 a0=1522170 items=2 ppid=12041 pid=13393 auid=1000 uid=1000 comm=\"grep\" exe=\"/usr/bin/grep\" key=\"user_commands\"\u{1d}UID=\"bob\"",
    "node=web type=EXECVE msg=audit(1492037291.036:59): argc=3 a0=\"grep\" a1=2D63 a2_len=4 a2[0]=2D63 a2[1]=2D63",
    "node=web type=CWD msg=audit(1492037291.036:59):  cwd=\"/home\"",
    "node=web type=PATH msg=audit(1492037291.036:59): item=0 name=2F7573 nametype=CREATE",
    "node=web type=SOCKADDR msg=audit(1492037291.036:59): saddr=02000050A9FEA9FE0000000000000000",
    "node=web type=PROCTITLE msg=audit(1492037291.036:59): proctitle=67726570002D63",
    "type=EOE msg=audit(1492037291.036:59):",
    "type=USER_LOGIN msg=audit(1492037291.036:60): pid=1 uid=0 msg='op=login acct=28696E7629 exe=\"/sbin/x\" (addr=1.2.3.4, res=failed)'",
    "type=AVC msg=audit(1492037291.036:61): avc:  denied  { read } for  pid=1 comm=\"x\"",
    "type=DAEMON_END msg=audit(1492037299.036:7): auditd normal halt, res=success",
    "audit: audit_lost=5 audit_backlog_limit=64",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn mutated_records_never_break_accounting_or_depend_on_batching(
        picks in prop::collection::vec((0..SEEDS.len(), 0..4u8, any::<prop::sample::Index>(), any::<u8>(), 0..5u64), 1..60),
        size in 1..9usize,
    ) {
        let lines: Vec<Vec<u8>> = picks.into_iter().map(|(seed, kind, at, byte, serial)| {
            let mut line = SEEDS[seed].replace(".036:59", &format!(".036:{}", 59 + 300 * serial)).into_bytes();
            let at = at.index(line.len());
            match kind {
                0 => line[at] = byte,
                1 => line.truncate(at),
                2 => { line.insert(at, byte); }
                _ => {}
            }
            line
        }).collect();
        let whole = decode_lines(&lines, Cut::Chunks(usize::MAX / 2), End::Ended);
        prop_assert_eq!(&decode_lines(&lines, Cut::Chunks(size), End::Ended), &whole);
        prop_assert_eq!(&decode_lines(&lines, Cut::Restarts, End::Ended), &whole);
    }
}
