//! New values of settled entities are found, young and lossy ones are not, within budget and bounds.

use palisade_events::EntityKind;
use palisade_events::finding::findings_batch;
use palisade_events::time::SECOND;

use super::*;
use crate::testing::{Cut, Dice, Event, PANES, batch, pane, run};

fn config() -> FirstSeenConfig {
    FirstSeenConfig {
        features: vec![
            Feature::new(EntityKind::Workload, ["process_file_path"]).unwrap(),
            Feature::new(EntityKind::User, ["api_operation", "resource_type"]).unwrap(),
        ],
        ..Default::default()
    }
}

fn complete(_: Pane) -> PaneCoverage {
    PaneCoverage::Complete
}

const WHOLE: Cut = Cut { batch: usize::MAX, lanes: 1, restart: false, seed: 0 };

fn at(events: &mut Vec<Event>, pane: i64, workload: &'static str, path: &str) {
    let uid = events.len() as u64 + 1;
    events.push(Event {
        uid,
        time: pane * PANES + (uid as i64 * 37) % PANES,
        workload,
        path: path.into(),
        user: "ann",
        verb: if uid.is_multiple_of(3) { "list" } else { "get" },
        resource: "pods",
        ..Default::default()
    });
}

/// `web` runs three programs for `panes` panes, `db` one.
fn habit(panes: i64) -> Vec<Event> {
    let (mut dice, mut events) = (Dice(3), Vec::new());
    for pane in 0..panes {
        for _ in 0..1 + dice.below(4) {
            let path = ["/bin/server", "/bin/worker", "/bin/health"][dice.below(3) as usize];
            at(&mut events, pane, "web", path);
        }
        at(&mut events, pane, "db", "/bin/postgres");
    }
    events
}

#[test]
fn a_new_executable_of_a_settled_workload_is_found() {
    let mut events = habit(100);
    at(&mut events, 100, "web", "/tmp/miner");
    at(&mut events, 100, "web", "/bin/server");
    at(&mut events, 101, "web", "/tmp/miner");
    let (findings, _) = run(|| FirstSeen::new(config()), &events, complete, WHOLE);
    assert_eq!(findings.len(), 1, "told once");
    let found = &findings[0];
    assert_eq!((found.observed.as_str(), found.entity.name.as_str(), found.count), ("`/tmp/miner`", "web", 1));
    assert_eq!((found.evidence.len(), found.detected_at), (1, 101 * 10 * SECOND));
    assert!(found.p_value.unwrap() < 0.05 && found.explanation.contains("Good–Turing"));
    assert!(found.excerpt.contains("\"process_file_path\":\"/tmp/miner\""), "{}", found.excerpt);
    let entities: Vec<String> = found.entities.iter().map(ToString::to_string).collect();
    assert_eq!(entities, ["workload:c/prod/web", "user:c/ann", "namespace:c/prod", "cluster:c/c"]);
    assert!(found.references[0].contains("Biometrika"));
}

#[test]
fn a_young_workload_learns_in_silence() {
    let mut events = habit(30);
    at(&mut events, 30, "web", "/tmp/miner");
    assert!(run(|| FirstSeen::new(config()), &events, complete, WHOLE).0.is_empty());
}

#[test]
fn cuts_lanes_shuffles_and_restarts_change_no_byte() {
    let mut events = habit(80);
    at(&mut events, 80, "web", "/tmp/a");
    at(&mut events, 80, "web", "/tmp/b");
    at(&mut events, 80, "db", "/bin/sh");
    for i in 0..6 {
        at(&mut events, 85, "db", &format!("/tmp/{i}"));
    }
    let one = |cut| findings_batch(&run(|| FirstSeen::new(config()), &events, complete, cut).0).unwrap();
    let whole = one(WHOLE);
    assert_eq!(whole.num_rows(), 3);
    for cut in [
        Cut { batch: 1, lanes: 1, restart: true, seed: 0 },
        Cut { batch: 7, lanes: 3, restart: false, seed: 0 },
        Cut { batch: 5, lanes: 4, restart: true, seed: 77 },
    ] {
        assert_eq!(one(cut), whole, "{cut:?}");
    }
}

#[test]
fn lossy_panes_tell_and_do_not_learn() {
    let mut events = habit(80);
    at(&mut events, 80, "web", "/tmp/a");
    at(&mut events, 81, "web", "/tmp/a");
    at(&mut events, 82, "web", "/tmp/a");
    let lossy = |pane: Pane| match pane.start / PANES {
        80 | 81 => PaneCoverage::Lossy,
        _ => PaneCoverage::Complete,
    };
    let (findings, mut detector) = run(|| FirstSeen::new(config()), &events, lossy, WHOLE);
    let coverage: Vec<&str> = findings.iter().map(|f| f.coverage.as_str()).collect();
    assert_eq!(coverage, ["lossy"], "told in the first, remembered in the second, learnt in the third");
    let entity = findings[0].entity.clone();
    let profile = detector.store.get_mut(&Slot { series: 0, entity }).unwrap();
    assert_eq!((profile.values(), profile.panes), (4, 81));
}

#[test]
fn lossy_panes_without_events_make_nobody_older() {
    let mut news = Vec::new();
    at(&mut news, 65, "web", "/tmp/miner");
    for (told, found) in [(true, 0), (false, 1)] {
        let (_, mut detector) = run(|| FirstSeen::new(config()), &habit(40), complete, WHOLE);
        for number in (40..65).filter(|_| told) {
            assert!(detector.close(pane(number), PaneCoverage::Lossy, &[]).unwrap().is_empty());
        }
        let mut fold = detector.lane();
        fold.fold(&batch(&news), &[(pane(65), vec![0])]).unwrap();
        let partial = fold.take(pane(65)).unwrap().unwrap();
        let findings = detector.close(pane(65), PaneCoverage::Complete, &[partial]).unwrap();
        assert_eq!(findings.len(), found, "an age of 40 panes, or of 65 if the lost ones were silent");
    }
}

#[test]
fn folds_count_what_rows_say() {
    let mut dice = Dice(11);
    let mut one = |of: [&'static str; 3]| of[dice.below(3) as usize];
    let events: Vec<Event> = (0..500)
        .map(|uid| Event {
            uid,
            time: uid as i64,
            workload: one(["", "web", "db"]),
            command: one(["", "a", "b"]).into(),
            verb: one(["", "get", "list"]),
            resource: one(["", "pods", "nodes"]),
            ..Default::default()
        })
        .collect();
    let columns = ["process_cmd_line", "http_request_url_path", "api_operation", "resource_type"];
    let feature = Feature::new(EntityKind::Workload, columns).unwrap();
    let whole = batch(&events);
    let mut expected = BTreeMap::new();
    for (row, event) in events.iter().enumerate().filter(|(_, e)| !e.workload.is_empty() && !e.command.is_empty()) {
        *expected.entry((event.workload.to_owned(), feature.value(&whole, row).into_owned())).or_insert(0u64) += 1;
    }
    let detector = FirstSeen::new(FirstSeenConfig { features: vec![feature], ..Default::default() });
    for size in [1, 7, 500] {
        let mut fold = detector.lane();
        for events in events.chunks(size) {
            fold.fold(&batch(events), &[(pane(0), (0..events.len() as u32).collect())]).unwrap();
        }
        let partials = [fold.take(pane(0)).unwrap().unwrap()];
        let (tallies, _) = tally::merge(&partials, 1_000).unwrap();
        let counted: BTreeMap<(String, String), u64> =
            tallies.into_iter().map(|(key, tally)| ((key.entity.name, key.value), tally.count)).collect();
        assert_eq!(counted, expected, "{size}");
    }
}

#[test]
fn benign_novelty_stays_within_the_budget() {
    // Forty workloads, each with a new value every few hundred panes: some 900 novelties a day.
    let (mut dice, budget, days) = (Dice(17), 6.0, 2i64);
    let mut detector = FirstSeen::new(FirstSeenConfig {
        features: vec![Feature::new(EntityKind::Workload, ["process_file_path"]).unwrap()],
        false_findings_per_day: budget,
        ..Default::default()
    });
    let (mut told, mut novelties) = (0, 0);
    for number in 0..days * 8640 {
        let mut tallies = std::collections::BTreeMap::new();
        for workload in 0..40 {
            let fresh = dice.below(400) == 0;
            novelties += u32::from(fresh);
            let value = if fresh { format!("new {number}") } else { format!("old {}", dice.below(5)) };
            let entity = palisade_events::Entity {
                kind: EntityKind::Workload,
                cluster: String::new(),
                namespace: None,
                name: format!("w{workload}"),
            };
            let tally = Tally { count: 1, first: 0, last: 0, evidence: Vec::new() };
            tallies.insert(crate::tally::Key { series: 0, entity, value }, tally);
        }
        told += detector.close_tallies(crate::testing::pane(number), PaneCoverage::Complete, tallies).len();
    }
    assert!(novelties > 1_000, "{novelties}");
    assert!(told as f64 <= budget * days as f64, "{told} told of {novelties}");
    assert!(detector.beyond_budget() > 500);
    assert!(detector.gauges().contains(&("findings_beyond_budget", detector.beyond_budget())));
}

#[test]
fn bounds_hold_and_are_counted() {
    let mut events = Vec::new();
    for pane in 0..40 {
        at(&mut events, pane, "web", &format!("/tmp/{pane}"));
        at(&mut events, pane, "db", "/bin/postgres");
    }
    let small = || FirstSeen::new(FirstSeenConfig { values_max: 20, ..config() });
    let (findings, detector) = run(small, &events, complete, WHOLE);
    assert!(findings.is_empty());
    assert_eq!((detector.varied(), detector.tracked()), (1, 3));
    let tiny = || FirstSeen::new(FirstSeenConfig { values_total_max: 10, entities_max: 2, ..config() });
    let (_, detector) = run(tiny, &events, complete, WHOLE);
    assert!(detector.tracked() <= 2 && detector.evicted() > 0 && detector.counters.values <= 10);
}

#[test]
fn settings_read_from_toml_and_name_what_is_wrong() {
    let read = toml::from_str::<FirstSeenConfig>;
    let config =
        read("features = [{ entity = \"node\", columns = [\"process_name\", \"process_cmd_line\"] }]").unwrap();
    assert_eq!(config.features[0].name(), "process_name+process_cmd_line");
    for (text, told) in [
        ("features = [{ entity = \"node\", columns = [\"nope\"] }]", "nope"),
        ("features = [{ entity = \"node\", columns = [\"process_pid\"] }]", "process_pid"),
        ("features = [{ entity = \"node\", columns = [] }]", "1 to 4"),
        ("nonsense = 1", "nonsense"),
    ] {
        assert!(read(text).unwrap_err().to_string().contains(told), "{text}");
    }
    assert_eq!(FirstSeenConfig::default().features.len(), 6);
}
