//! The drill's promises: the same bytes, the true formats, times within bounds, a labelled attack and a quiet rest.

use std::collections::{BTreeMap, BTreeSet};

use palisade_events::time::{Micros, SECOND, parse_rfc3339};
use serde_json::Value;

use super::*;

fn quiet(seed: u64) -> Settings {
    Settings { seed, duration_secs: 900, attacks: Vec::new(), ..Settings::default() }
}

fn audit_events(settings: Settings) -> Vec<(Record, Value)> {
    let audit = Drill::new(settings).unwrap().filter(|record| record.stream == Stream::K8sAudit);
    audit.map(|record| (record.clone(), serde_json::from_slice(&record.payload).unwrap())).collect()
}

fn audit_time(event: &Value) -> Micros {
    parse_rfc3339(event["stageTimestamp"].as_str().unwrap()).unwrap()
}

/// What an audit line says in its stamp, as (milliseconds, serial), and its type.
fn stamp(line: &str) -> (i64, u64, &str) {
    let rest = line.strip_prefix("node=").unwrap().split_once(" type=").unwrap().1;
    let (kind, rest) = rest.split_once(" msg=audit(").unwrap();
    let (time, rest) = rest.split_once(':').unwrap();
    let (secs, millis) = time.split_once('.').unwrap();
    assert_eq!(millis.len(), 3, "{line}");
    let serial = rest.split_once("): ").unwrap().0.parse().unwrap();
    (secs.parse::<i64>().unwrap() * 1_000 + millis.parse::<i64>().unwrap(), serial, kind)
}

#[test]
fn same_seed_gives_same_bytes_and_another_seed_others() {
    let settings = |seed| Settings { seed, ..Settings::default() };
    let records: Vec<Record> = Drill::new(settings(7)).unwrap().take(20_000).collect();
    assert!(Drill::new(settings(7)).unwrap().take(20_000).eq(records.iter().cloned()));
    assert!(!Drill::new(settings(8)).unwrap().take(20_000).eq(records));
}

#[test]
fn times_are_ordered_within_the_skew_and_never_backwards_for_a_key() {
    let settings = Settings {
        events_per_sec: 500.0,
        duration_secs: 400,
        attacks: vec![Attack::new("stolen-ci-token", 60)],
        ..Settings::default()
    };
    let (start, end) = (settings.start, settings.start + 400 * SECOND);
    let mut newest = Micros::MIN;
    let mut by_key: BTreeMap<(Stream, String), Micros> = BTreeMap::new();
    let mut skewed = 0;
    for record in Drill::new(settings).unwrap() {
        assert!((start..end).contains(&record.time), "{}", record.time - start);
        assert!(record.time > newest.saturating_sub(400_000), "{} µs behind", newest - record.time);
        skewed += u32::from(record.time < newest);
        newest = newest.max(record.time);
        let before = by_key.insert((record.stream, record.key.clone()), record.time);
        assert!(before.is_none_or(|before| before <= record.time), "{} runs backwards", record.key);
    }
    assert!(skewed > 1_000, "shippers' lags differ, so some records come after newer ones");
}

#[test]
fn audit_events_are_those_of_the_api_server() {
    let known: BTreeSet<&str> = [
        "kind",
        "apiVersion",
        "level",
        "auditID",
        "stage",
        "requestURI",
        "verb",
        "user",
        "sourceIPs",
        "userAgent",
        "objectRef",
        "responseStatus",
        "requestObject",
        "responseObject",
        "requestReceivedTimestamp",
        "stageTimestamp",
        "annotations",
    ]
    .into();
    let events = audit_events(Settings::default());
    let mut ids = BTreeSet::new();
    for (record, event) in &events {
        let keys: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(keys.is_subset(&known), "{keys:?}");
        assert_eq!((event["kind"].as_str(), event["apiVersion"].as_str()), (Some("Event"), Some("audit.k8s.io/v1")));
        assert_eq!(audit_time(event), record.time);
        assert_eq!(event["user"]["username"].as_str(), Some(record.key.as_str()));
        assert!(event["responseStatus"]["code"].is_u64(), "{event}");
        let has = |key: &str| event.get(key).is_some();
        let level = match (has("requestObject"), has("responseObject")) {
            (false, false) => "Metadata",
            (true, false) => "Request",
            _ => "RequestResponse",
        };
        let denied = event["responseStatus"]["code"] == 403;
        assert!(denied || event["level"].as_str() == Some(level), "{event}");
        assert!(
            ids.insert((event["auditID"].as_str().unwrap(), event["stage"].as_str().unwrap())),
            "one event a stage"
        );
    }
    let kinds: BTreeSet<&str> = events.iter().filter_map(|(_, e)| e["objectRef"]["resource"].as_str()).collect();
    assert!(kinds.len() >= 18, "{kinds:?}");
}

#[test]
fn audit_events_are_as_large_as_real_ones() {
    let corpus = audit_corpus(3, 20_000);
    let mean = corpus.iter().map(Vec::len).sum::<usize>() / corpus.len();
    assert!((1_150..1_450).contains(&mean), "{mean} bytes on average");
    let largest = corpus.iter().map(Vec::len).max().unwrap();
    assert!((3_000..10_000).contains(&largest), "{largest} bytes at most");
}

#[test]
fn falco_alerts_say_their_time_twice_and_the_same() {
    let mut rules = BTreeSet::new();
    for record in Drill::new(Settings::default()).unwrap().filter(|record| record.stream == Stream::Falco) {
        let alert: Value = serde_json::from_slice(&record.payload).unwrap();
        let time = alert["time"].as_str().unwrap();
        assert_eq!(time.len(), "2026-03-02T09:00:00.000000000Z".len());
        assert_eq!(parse_rfc3339(time), Some(record.time));
        assert_eq!(alert["output_fields"]["evt.time"].as_i64().unwrap() / 1_000, record.time);
        assert_eq!(alert["hostname"].as_str(), Some(record.key.as_str()));
        let keys: Vec<&String> = alert["output_fields"].as_object().unwrap().keys().collect();
        assert!(keys.is_sorted());
        rules.insert(alert["rule"].as_str().unwrap().to_owned());
    }
    assert!(rules.contains("Falco internal: metrics snapshot") && rules.len() >= 6, "{rules:?}");
}

#[test]
fn auditd_events_are_whole_and_their_serials_rise_with_time() {
    let mut events: BTreeMap<(String, u64), Vec<(i64, String)>> = BTreeMap::new();
    let mut newest: BTreeMap<String, (i64, u64)> = BTreeMap::new();
    for record in Drill::new(Settings::default()).unwrap().filter(|record| record.stream == Stream::Auditd) {
        let line = std::str::from_utf8(&record.payload).unwrap();
        let (millis, serial, kind) = stamp(line);
        assert_eq!(millis * 1_000, record.time);
        assert!(line.starts_with(&format!("node={} ", record.key)));
        let last = newest.entry(record.key.clone()).or_insert((millis, serial));
        assert!(*last <= (millis, serial), "{line}");
        *last = (millis, serial);
        events.entry((record.key, serial)).or_default().push((millis, kind.to_owned()));
    }
    let mut shapes: BTreeMap<String, u32> = BTreeMap::new();
    for records in events.values() {
        assert!(records.iter().all(|(millis, _)| *millis == records[0].0), "one stamp for all records of an event");
        let shape: Vec<&str> = records.iter().map(|(_, kind)| kind.as_str()).collect();
        *shapes.entry(shape.join(" ")).or_default() += 1;
    }
    assert!(shapes["SYSCALL EXECVE CWD PATH PATH PROCTITLE EOE"] > 1_000, "{shapes:?}");
    assert!(shapes["SYSCALL CWD PATH PROCTITLE EOE"] > 1, "{shapes:?}");
    assert!(shapes.keys().filter(|shape| !shape.contains(' ')).count() >= 5, "{shapes:?}");
}

/// The records of a drill that are labelled, with what the drill says of them.
fn labelled(settings: Settings) -> Vec<(Record, String, Role)> {
    let mut drill = Drill::new(settings).unwrap();
    let mut found = Vec::new();
    while let Some(record) = drill.next() {
        let Some(label) = record.label else { continue };
        let truth = drill.truth(label).unwrap();
        found.push((record, truth.step.to_owned(), truth.role));
    }
    found
}

#[test]
fn arguments_with_spaces_are_hexadecimal() {
    let hex = |text: &str| text.bytes().map(|b| format!("{b:02X}")).collect::<String>();
    let lines: Vec<String> = labelled(Settings::default())
        .into_iter()
        .filter(|(record, step, _)| record.stream == Stream::Auditd && step == "download-and-run")
        .map(|(record, ..)| String::from_utf8(record.payload).unwrap())
        .collect();
    let execve = lines.iter().find(|line| line.contains("type=EXECVE")).unwrap();
    assert!(execve.contains(&format!(" a2={}", hex("curl -fsSL http://"))), "{execve}");
    assert!(lines.iter().any(|line| line.contains("\u{1d}ARCH=x86_64 SYSCALL=execve")));
}

#[test]
fn every_step_of_the_attack_is_there_and_labelled() {
    let scenario = scenarios().unwrap().into_iter().find(|scenario| scenario.id == "stolen-ci-token").unwrap();
    // Whether it has its time or is hurried, begins at once or late.
    for (duration_secs, at_secs) in [(1_800, 1_080), (600, 0), (120, 90), (60, 30)] {
        let settings =
            Settings { duration_secs, attacks: vec![Attack::new("stolen-ci-token", at_secs)], ..Settings::default() };
        let begin = settings.start + at_secs as i64 * SECOND;
        let mut steps: BTreeMap<String, u32> = BTreeMap::new();
        for (record, step, _) in labelled(settings) {
            assert!(record.time >= begin);
            *steps.entry(step).or_default() += 1;
        }
        for step in &scenario.steps {
            assert!(steps.contains_key(&step.id), "{duration_secs} s: {} left nothing", step.id);
        }
        assert!(steps["scan"] > 2_000, "{} lines of a burst", steps["scan"]);
        assert!(steps["enumerate"] == 24, "{} requests", steps["enumerate"]);
    }
}

#[test]
fn a_process_is_the_same_in_every_source_that_saw_it() {
    let settings = Settings { streams: Stream::ALL.into(), events_per_sec: 20.0, ..Settings::default() };
    let records: Vec<Record> = Drill::new(settings).unwrap().collect();
    let json = |record: &Record| serde_json::from_slice::<Value>(&record.payload).unwrap();
    // By node and process id: the program, as the kernel's audit log and as Tetragon have it.
    let mut audited: BTreeMap<(String, u64), (String, Micros)> = BTreeMap::new();
    for record in records.iter().filter(|record| record.stream == Stream::Auditd) {
        let line = String::from_utf8_lossy(&record.payload);
        if !line.contains("type=SYSCALL") || !line.contains(" syscall=59 ") {
            continue;
        }
        let value = |key: &str| {
            let rest = line.split_once(&format!(" {key}=")).unwrap().1;
            rest.split(' ').next().unwrap().trim_matches('"').to_owned()
        };
        audited.insert((record.key.clone(), value("pid").parse().unwrap()), (value("exe"), record.time));
    }
    let mut compared = 0;
    let mut in_pods = 0;
    for record in records.iter().filter(|record| record.stream == Stream::Tetragon) {
        let event = json(record);
        let Some(process) = event["process_exec"]["process"].as_object() else { continue };
        let key = (event["node_name"].as_str().unwrap().to_owned(), process["pid"].as_u64().unwrap());
        let (exe, time) = audited.get(&key).unwrap_or_else(|| panic!("auditd did not see {event}"));
        assert_eq!(exe, process["binary"].as_str().unwrap());
        // A kernel's stamps do not run backwards, so that one that is told of late pushes the next ones on.
        assert!((record.time - time).abs() < 3 * SECOND, "{event}");
        compared += 1;
        in_pods += u32::from(process.contains_key("pod"));
    }
    assert!(compared > 1_000 && in_pods > 500, "{compared} processes, {in_pods} in pods");
    // The exec in the audit log is a process in that pod, and Falco's alert is about the same container.
    let exec = records.iter().find(|record| {
        record.stream == Stream::K8sAudit
            && record.label.is_some()
            && String::from_utf8_lossy(&record.payload).contains("\"subresource\":\"exec\"")
    });
    let exec = json(exec.unwrap());
    let pod = exec["objectRef"]["name"].as_str().unwrap();
    let shell = records.iter().filter(|record| record.stream == Stream::Tetragon && record.label.is_some()).map(json);
    let shell = shell.into_iter().find(|event| event["process_exec"]["process"]["pod"]["name"] == pod).unwrap();
    let container = shell["process_exec"]["process"]["pod"]["container"]["id"].as_str().unwrap();
    let short = container.trim_start_matches("containerd://").get(..12).unwrap();
    let alert = records.iter().filter(|record| record.stream == Stream::Falco && record.label.is_some()).map(json);
    let alert = alert.into_iter().find(|alert| alert["rule"] == "Terminal shell in container").unwrap();
    assert_eq!(alert["output_fields"]["container.id"], short);
    assert_eq!(alert["output_fields"]["k8s.pod.name"], pod);
}

/// Whether a text has a name as a word of its own: two letters are in many an id by chance.
fn shows(text: &str, name: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.match_indices(name).any(|(at, _)| {
        name.len() > 4 || !is_part(text[..at].chars().next_back()) && !is_part(text[at + name.len()..].chars().next())
    })
}

#[test]
fn a_blinded_attack_shows_none_of_the_names_that_are_hidden() {
    for scenario in scenarios().unwrap().iter().filter(|scenario| scenario.variants.contains(&Variant::Blinded)) {
        assert!(!scenario.blind.is_empty(), "{} has nothing to hide", scenario.id);
        let attack = Attack { variant: Variant::Blinded, ..Attack::new(&scenario.id, 60) };
        let settings = Settings {
            duration_secs: 7_200,
            events_per_sec: 0.01,
            streams: Stream::ALL.into(),
            attacks: vec![attack],
            ..Settings::default()
        };
        for (record, step, role) in
            labelled(settings).into_iter().filter(|(record, ..)| record.stream != Stream::Auditd)
        {
            let text = String::from_utf8_lossy(&record.payload).into_owned();
            for (seen, _) in scenario.blind.iter().filter(|_| role == Role::Attack) {
                assert!(!shows(&text, seen), "{} {step} shows {seen}: {text}", scenario.id);
            }
        }
    }
}

#[test]
fn quiet_does_less_and_slow_takes_days() {
    let run = |variant| {
        let settings = Settings {
            duration_secs: 6 * 86_400,
            events_per_sec: 0.01,
            attacks: vec![Attack { variant, ..Attack::new("stolen-ci-token", 3_600) }],
            ..Settings::default()
        };
        let records: Vec<Micros> = labelled(settings)
            .into_iter()
            .filter(|(.., role)| *role == Role::Attack)
            .map(|(record, ..)| record.time)
            .collect();
        (records.len(), records.iter().max().unwrap() - records.iter().min().unwrap())
    };
    let (loud, quiet, slow) = (run(Variant::Loud), run(Variant::Quiet), run(Variant::Slow));
    assert!(quiet.0 * 2 < loud.0 && quiet.1 > loud.1, "{loud:?} {quiet:?}");
    assert!(slow.0 * 2 < loud.0 && slow.1 > 86_400 * SECOND, "{loud:?} {slow:?}");
}

#[test]
fn late_records_come_late_and_lost_ones_not_at_all() {
    let settings = Settings {
        duration_secs: 3 * 86_400,
        events_per_sec: 0.3,
        life: Life::Hard,
        streams: Stream::ALL.into(),
        late_share: 0.05,
        late_max: 300 * SECOND,
        attacks: Vec::new(),
        ..Settings::default()
    };
    let mut drill = Drill::new(settings).unwrap();
    let (mut newest, mut late, mut all) = (Settings::default().start, 0, 0);
    let mut seen: Vec<(Stream, Micros, String)> = Vec::new();
    for record in drill.by_ref() {
        assert!(record.time > newest - 301 * SECOND);
        late += u32::from(record.time < newest - 2 * SECOND);
        all += 1;
        newest = newest.max(record.time);
        seen.push((record.stream, record.time, record.key.clone()));
    }
    assert!((all / 40..all / 10).contains(&late), "{late} of {all} are late");
    let losses = drill.losses();
    assert!(losses.len() >= 2, "{losses:?}");
    assert!(losses.iter().any(|loss| loss.records > 0), "{losses:?}");
    for loss in losses {
        let within = seen.iter().filter(|(stream, time, key)| {
            *stream == loss.stream
                && (loss.from..loss.until).contains(time)
                && loss.node.as_ref().is_none_or(|node| node == key)
        });
        assert_eq!(within.count(), 0, "{loss:?}");
    }
}

#[test]
fn an_exec_announces_itself_when_it_starts() {
    for (settings, wanted) in [(Settings::default(), true), (quiet(4), false)] {
        let events = audit_events(settings);
        let execs: Vec<_> = events
            .iter()
            .filter(|(record, e)| e["objectRef"]["subresource"] == "exec" && record.label.is_some() == wanted)
            .collect();
        let (record, started) = execs.iter().find(|(_, e)| e["stage"] == "ResponseStarted").unwrap();
        assert_eq!(started["responseStatus"]["code"], 101);
        let done = execs.iter().find(|(_, e)| e["stage"] == "ResponseComplete" && e["auditID"] == started["auditID"]);
        assert!(done.unwrap().0.time > record.time + SECOND);
    }
}

#[test]
fn ordinary_life_has_no_labels_but_the_twins_of_an_attack() {
    let records: Vec<Record> = Drill::new(quiet(5)).unwrap().collect();
    assert!(records.iter().all(|record| record.label.is_none()));
    let count = |needle: &str| records.iter().filter(|r| String::from_utf8_lossy(&r.payload).contains(needle)).count();
    assert!(count("\"subresource\":\"exec\"") >= 2);
    assert_eq!(count("\"name\":\"view\""), 1);
    assert!(count("Terminal shell in container") >= 1);
    assert!(count("\"resource\":\"secrets\"") > 10);
    assert!(count("name=\"/etc/shadow\"") > 1);
    for tell in ["cluster-admin\\\" to Service", "\"privileged\":true", "203.0.113.", "stratum+tcp", "\"hostPID\""] {
        assert_eq!(count(tell), 0, "{tell}");
    }
}

#[test]
fn rate_follows_the_settings_and_the_hour() {
    let count = |start: Micros, events_per_sec: f64| {
        let settings =
            Settings { start, events_per_sec, duration_secs: 600, attacks: Vec::new(), ..Settings::default() };
        let of_its_own = |record: &Record| match record.stream {
            Stream::Auditd => record.payload.windows(9).any(|w| w == b"type=EOE "),
            _ => true,
        };
        Drill::new(settings).unwrap().filter(of_its_own).count() as f64 / 600.0
    };
    let morning = Settings::default().start;
    let night = morning + 17 * 3_600 * SECOND;
    let (busy, calm, double) = (count(morning, 100.0), count(night, 100.0), count(morning, 200.0));
    assert!((85.0..115.0).contains(&busy), "{busy}");
    assert!((30.0..60.0).contains(&calm), "{calm}");
    assert!((1.9..2.1).contains(&(double / busy)), "{double}");
}

#[test]
fn senseless_settings_are_brought_to_reason() {
    for settings in [
        Settings { nodes: 0, replicas: 0, namespaces: vec![], ..Settings::default() },
        Settings { events_per_sec: f64::NAN, ..Settings::default() },
        Settings { events_per_sec: f64::INFINITY, ..Settings::default() },
        Settings { events_per_sec: -1.0, duration_secs: 0, ..Settings::default() },
        Settings {
            attacks: vec![Attack::new("stolen-ci-token", u64::MAX)],
            duration_secs: u64::MAX,
            ..Settings::default()
        },
        Settings { namespaces: vec!["Bad \"name\"\n".into()], start: -5, ..Settings::default() },
    ] {
        for record in Drill::new(settings).unwrap().take(2_000).filter(|record| record.stream != Stream::Auditd) {
            serde_json::from_slice::<Value>(&record.payload).unwrap();
        }
    }
}
