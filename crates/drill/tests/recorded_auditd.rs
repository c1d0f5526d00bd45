//! The simulated audit records have the fields of recorded ones: `datasets/auditd-recorded` was written by a real kernel,
//! a real auditd and real programs.
//!
//! Values are not compared, only which fields a record of a type has; nor which records make an event.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::Path;

use palisade_drill::{Drill, Life, Settings, Stream, every_attack, scenarios};

/// Types that are simulated and were not recorded, and why.
const ONLY_SIMULATED: [(&str, &str); 5] = [
    ("DAEMON_ROTATE", "the log was never full"),
    ("EOE", "auditd 3 does not write it to its log; those who read its socket see it"),
    ("KERN_MODULE", "no kernel module could be loaded"),
    ("SERVICE_START", "no systemd ran"),
    ("SERVICE_STOP", "no systemd ran"),
];

/// Types that were recorded and are not simulated, and why.
const ONLY_RECORDED: [(&str, &str); 11] = [
    ("ANOM_ABEND", "no simulated program crashes"),
    ("BPRM_FCAPS", "simulated events leave out that a program gained capabilities"),
    ("CONFIG_CHANGE", "simulated rules were loaded before the beginning, and no scenario changes them"),
    ("CRED_REFR", "simulated sudo writes only the command"),
    ("DAEMON_END", "simulated daemons are not ended"),
    ("DAEMON_START", "simulated daemons run from before the beginning"),
    ("DEL_GROUP", "nobody removes a group"),
    ("DEL_USER", "nobody removes an account"),
    ("LOGIN", "simulated sessions begin with USER_LOGIN"),
    ("OBJ_PID", "simulated rules do not watch signals and ptrace"),
    ("SOCKADDR", "simulated rules do not watch connections"),
];

/// Which fields a record has, without regard to their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fields {
    /// Written by the kernel, or around what a program said.
    own: BTreeSet<String>,
    /// Within `msg='…'`: what a program said.
    said: BTreeSet<String>,
    /// Behind the group separator: what the daemon looked up.
    looked_up: BTreeSet<String>,
}

type Shapes = BTreeMap<String, BTreeMap<Fields, String>>;

#[test]
fn simulated_records_have_the_fields_of_recorded_ones() {
    let (recorded, simulated) = (recorded(), simulated());
    let mut strange = Vec::new();
    for (kind, shapes) in &simulated {
        let Some(known) = recorded.get(kind) else { continue };
        for (fields, example) in shapes.iter().filter(|(fields, _)| !known.contains_key(*fields)) {
            strange.push(format!("{kind}: {example}\n  has {fields:?}\n  recorded: {:?}", known.keys()));
        }
    }
    assert!(strange.is_empty(), "{}", strange.join("\n"));
}

#[test]
fn types_that_only_one_of_both_has_are_known() {
    let (recorded, simulated) = (recorded(), simulated());
    // There is enough in both for a comparison to mean something.
    for kind in ["SYSCALL", "EXECVE", "CWD", "PATH", "PROCTITLE", "USER_ACCT", "CRED_ACQ", "CRED_DISP", "USER_LOGIN"] {
        assert!(recorded.contains_key(kind) && simulated.contains_key(kind), "{kind}");
    }
    let missing = |in_one: &Shapes, in_other: &Shapes, known: &[(&str, &str)]| -> Vec<String> {
        let is_known = |kind: &String| known.iter().any(|(known, _)| kind == known);
        in_one.keys().filter(|kind| !in_other.contains_key(*kind) && !is_known(kind)).cloned().collect()
    };
    assert_eq!(missing(&simulated, &recorded, &ONLY_SIMULATED), [""; 0], "simulated, but never recorded");
    assert_eq!(missing(&recorded, &simulated, &ONLY_RECORDED), [""; 0], "recorded, but never simulated");
    for (kind, reason) in ONLY_SIMULATED.into_iter().chain(ONLY_RECORDED) {
        assert!(
            !(recorded.contains_key(kind) && simulated.contains_key(kind)),
            "both have {kind}, in spite of: {reason}"
        );
    }
}

#[test]
fn truth_tells_lines_of_the_recording() {
    let lines = recording().lines().count();
    let truth = std::fs::read_to_string(folder().join("truth.tsv")).unwrap();
    let mut rows = truth.lines();
    assert_eq!(rows.next(), Some("line\tscenario\trole\ttechnique"));
    let (mut last, mut attacks) = (0, BTreeSet::new());
    for row in rows {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[line, scenario, role, technique] = columns.as_slice() else { panic!("{row}") };
        let line: usize = line.parse().unwrap();
        assert!(last < line && line <= lines, "{row}");
        last = line;
        match role {
            "attack" => {
                assert!(technique.starts_with('T'), "{row}");
                attacks.insert(scenario);
            }
            "benign" => assert_eq!(technique, "-", "{row}"),
            _ => panic!("{row}"),
        }
    }
    assert!(attacks.len() >= 6, "{attacks:?}");
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets/auditd-recorded")
}

fn recording() -> String {
    let mut text = String::new();
    let file = std::fs::File::open(folder().join("auditd.log.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text
}

fn recorded() -> Shapes {
    let mut shapes = Shapes::new();
    recording().lines().for_each(|line| keep(&mut shapes, line));
    shapes
}

/// A day of a small cluster in which every scenario is run.
fn simulated() -> Shapes {
    let (start, day) = (Settings::default().start, 86_400);
    let settings = Settings {
        duration_secs: day,
        events_per_sec: 1.0,
        streams: vec![Stream::Auditd],
        life: Life::Hard,
        attacks: every_attack(&scenarios().unwrap(), start, day),
        ..Settings::default()
    };
    let mut shapes = Shapes::new();
    for record in Drill::new(settings).unwrap() {
        keep(&mut shapes, std::str::from_utf8(&record.payload).unwrap().trim_end_matches('\n'));
    }
    shapes
}

fn keep(shapes: &mut Shapes, line: &str) {
    let (head, body) = line.split_once("): ").or_else(|| line.strip_suffix("):").map(|head| (head, ""))).unwrap();
    let kind = head.split(' ').find_map(|word| word.strip_prefix("type=")).unwrap();
    let (body, looked_up) = body.split_once('\u{1d}').unwrap_or((body, ""));
    let mut fields = Fields { own: keys(body), said: BTreeSet::new(), looked_up: keys(looked_up) };
    if let Some((_, said)) = body.split_once("msg='") {
        fields.said = keys(said.strip_suffix('\'').unwrap());
    }
    // A security module labels processes with their context; the recording's kernel had none.
    fields.own.remove("subj");
    if kind == "EXECVE" {
        fields.own.retain(|key| !is_argument(key));
    }
    shapes.entry(kind.to_owned()).or_default().entry(fields).or_insert_with(|| line.to_owned());
}

/// `a0`, `a12_len`, `a12[3]`.
fn is_argument(key: &str) -> bool {
    key.strip_prefix('a').is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

/// The names before `=`. Values end at a space, unless they are within quotes or braces; words without `=` are prose.
fn keys(text: &str) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(' ');
        let Some(end) = rest.find([' ', '=']) else { return keys };
        let (word, behind) = rest.split_at(end);
        rest = behind;
        if let Some(value) = rest.strip_prefix('=') {
            keys.insert(word.to_owned());
            let closing = match value.chars().next() {
                Some('"') => '"',
                Some('\'') => '\'',
                Some('{') => '}',
                _ => ' ',
            };
            let opening = usize::from(closing != ' ');
            let inner = &value[opening..];
            rest = inner.find(closing).map_or("", |at| &inner[at + 1..]);
        }
    }
}
