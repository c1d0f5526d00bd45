//! Bursts, level shifts, silence and loss behave as stated, and the budget holds on benign streams.

use std::sync::Arc;

use arrow::datatypes::Schema;
use palisade_events::Entity;
use palisade_events::finding::{Severity, findings_batch};
use palisade_events::time::{SECOND, format_rfc3339};

use super::*;
use crate::testing::{Cut, Dice, Event, batch, pane, run};

const WORKLOADS: [&str; 5] = ["api", "db", "web", "cron", "queue"];

fn config() -> EventRateConfig {
    EventRateConfig { history_panes_min: 20, ..Default::default() }
}

fn complete(_: Pane) -> PaneCoverage {
    PaneCoverage::Complete
}

/// Poisson events of five workloads, some by a service account, and a burst of `web` in pane 90.
fn stream(panes: i64, burst: u64) -> Vec<Event> {
    let (mut dice, mut events) = (Dice(7), Vec::new());
    for number in 0..panes {
        for (place, workload) in WORKLOADS.into_iter().enumerate() {
            let mut count = dice.poisson(0.3 + place as f64);
            if number == 90 && workload == "web" {
                count += burst;
            }
            for _ in 0..count {
                events.push(Event {
                    uid: events.len() as u64 + 1,
                    time: number * 10 * SECOND + dice.below(10 * SECOND as u64) as i64,
                    workload,
                    account: if place % 2 == 0 { "prod/robot" } else { "" },
                    user: if place % 2 == 0 { "system:serviceaccount:prod:robot" } else { "ann" },
                    command: format!("{workload} --serve {count}"),
                    ..Default::default()
                });
            }
        }
    }
    events
}

#[test]
fn cuts_lanes_shuffles_and_restarts_change_no_byte() {
    let events = stream(120, 60);
    let one = |cut| findings_batch(&run(|| EventRate::new(config()), &events, complete, cut).0).unwrap();
    let whole = one(Cut { batch: usize::MAX, lanes: 1, restart: false, seed: 0 });
    assert!(whole.num_rows() > 0);
    for cut in [
        Cut { batch: 1, lanes: 1, restart: false, seed: 0 },
        Cut { batch: 7, lanes: 3, restart: false, seed: 0 },
        Cut { batch: 7, lanes: 2, restart: true, seed: 0 },
        Cut { batch: 13, lanes: 4, restart: true, seed: 99 },
        Cut { batch: usize::MAX, lanes: 5, restart: false, seed: 3 },
    ] {
        assert_eq!(one(cut), whole, "{cut:?}");
    }
}

#[test]
fn burst_is_found_and_explained() {
    let cut = Cut { batch: 64, lanes: 2, restart: false, seed: 0 };
    let (findings, _) = run(|| EventRate::new(config()), &stream(120, 60), complete, cut);
    let found = findings.iter().find(|f| f.entity.name == "web").unwrap();
    assert_eq!(found.detected_at, 91 * 10 * SECOND);
    assert!(found.p_value.unwrap() < 1e-9 && found.confidence.value() > 0.99);
    assert_eq!(found.evidence.len(), 8);
    assert!(found.evidence.is_sorted());
    assert!(found.explanation.contains("workload:c/prod/web made") && found.observed.ends_with("in 10 s"));
    assert_eq!(
        found.finding_uid,
        palisade_events::id::finding_uid(UID, "workload:c/prod/web", &format_rfc3339(91 * 10 * SECOND))
    );
    let excerpt: serde_json::Value = serde_json::from_str(&found.excerpt).unwrap();
    assert_eq!(excerpt["event_uid"], found.evidence[0].event_uid.as_str());
    assert_eq!(excerpt["workload_name"], "web");
    assert!(excerpt["process_cmd_line"].as_str().unwrap().starts_with("web --serve"), "{excerpt}");
    assert_eq!(
        found.entities.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "workload:c/prod/web",
            "service_account:c/prod/robot",
            "user:c/system:serviceaccount:prod:robot",
            "namespace:c/prod",
            "cluster:c/c"
        ]
    );
    assert!(found.references.iter().any(|paper| paper.contains("Gamerman")));
    // The robot's burst is told of as a service account's, not again as a user's.
    assert!(findings.iter().all(|f| f.entity.kind != EntityKind::User));
    assert!(findings.iter().any(|f| f.entity.kind == EntityKind::ServiceAccount));
}

fn entity(name: &str) -> Entity {
    Entity { kind: EntityKind::Workload, cluster: "c".into(), namespace: None, name: name.into() }
}

/// Feeds counts by entity, pane by pane, without going through batches.
fn feed(detector: &mut EventRate, number: i64, coverage: PaneCoverage, counts: &[(&str, u64)]) -> Vec<Finding> {
    let tallies = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| {
            let key = Key { series: 0, entity: entity(name), value: String::new() };
            let tally =
                Tally { count: *count, first: pane(number).start, last: pane(number).start, evidence: Vec::new() };
            (key, tally)
        })
        .collect();
    detector.close_tallies(pane(number), coverage, tallies)
}

fn workloads_only(budget: f64) -> EventRateConfig {
    EventRateConfig { entities: vec![EntityKind::Workload], false_findings_per_day: budget, ..Default::default() }
}

/// Findings of benign streams: 40 entities over so many days, each with its own rate and dispersion.
fn benign_findings(seed: u64, days: i64, budget: f64, draw: impl Fn(&mut Dice, f64, f64) -> u64) -> usize {
    let mut dice = Dice(seed);
    let shapes: Vec<(String, f64, f64)> = (0..40)
        .map(|i| (format!("w{i}"), 10f64.powf(3.0 * dice.unit() - 1.5), 10f64.powf(1.5 * dice.unit() - 1.0)))
        .collect();
    let mut detector = EventRate::new(workloads_only(budget));
    (0..days * 8640)
        .map(|number| {
            let counts: Vec<(&str, u64)> =
                shapes.iter().map(|(name, mean, kappa)| (name.as_str(), draw(&mut dice, *mean, *kappa))).collect();
            feed(&mut detector, number, PaneCoverage::Complete, &counts).len()
        })
        .sum()
}

#[test]
fn budget_holds_on_benign_poisson_streams() {
    let (days, budget) = (1, 2.0);
    let found: usize =
        (1..=3).map(|seed| benign_findings(seed, days, budget, |dice, mean, _| dice.poisson(mean))).sum();
    assert!(found as f64 <= 3.0 * days as f64 * budget, "{found} findings");
}

#[test]
fn budget_holds_on_benign_overdispersed_streams() {
    let (days, budget) = (1, 2.0);
    let found: usize = (11..=13)
        .map(|seed| benign_findings(seed, days, budget, |dice, mean, kappa| dice.negative_binomial(mean, kappa)))
        .sum();
    assert!(found as f64 <= 3.0 * days as f64 * budget, "{found} findings");
}

#[test]
fn budget_holds_on_people_who_work_in_bursts() {
    // Nothing for a few minutes, then a handful to dozens of calls at once: no negative binomial at all.
    let (days, budget) = (1, 2.0);
    let found: usize = (21..=23)
        .map(|seed| {
            benign_findings(seed, days, budget, |dice, mean, _| {
                if dice.unit() < 0.03 { 1 + (dice.gamma(0.7) * 5.0 * mean.clamp(0.5, 5.0)) as u64 } else { 0 }
            })
        })
        .sum();
    assert!(found as f64 <= 2.0 * 3.0 * days as f64 * budget, "{found} findings");
}

#[test]
fn constant_series_is_never_a_finding_and_one_more_is_not_either() {
    let mut detector = EventRate::new(workloads_only(5.0));
    for number in 0..500 {
        assert!(feed(&mut detector, number, PaneCoverage::Complete, &[("a", 4)]).is_empty());
    }
    assert!(feed(&mut detector, 500, PaneCoverage::Complete, &[("a", 5)]).is_empty());
    assert_eq!(feed(&mut detector, 501, PaneCoverage::Complete, &[("a", 400)]).len(), 1);
}

#[test]
fn young_entities_are_not_judged() {
    let mut detector = EventRate::new(workloads_only(5.0));
    for number in 0..59 {
        assert!(feed(&mut detector, number, PaneCoverage::Complete, &[("a", 4)]).is_empty());
    }
    assert!(feed(&mut detector, 59, PaneCoverage::Complete, &[("a", 400), ("new", 10_000)]).is_empty());
}

#[test]
fn level_shift_is_adopted_and_says_so() {
    let mut detector = EventRate::new(workloads_only(5.0));
    let mut feed = |number, count| feed(&mut detector, number, PaneCoverage::Complete, &[("a", count)]);
    for number in 0..200 {
        assert!(feed(number, 3 + (number % 3) as u64).is_empty());
    }
    let told: Vec<Finding> = (200..210).flat_map(|number| feed(number, 90 + (number % 5) as u64)).collect();
    assert_eq!(told.len(), 2, "the first pane and the adoption");
    assert_eq!(told[0].severity, Severity::High);
    assert_eq!((told[1].severity, told[1].title.as_str()), (Severity::Informational, "New level of events adopted"));
    assert_eq!(told[1].time, 206 * 10 * SECOND);
    assert!((210..400).all(|number| feed(number, 88 + (number % 7) as u64).is_empty()));
    let next = feed(400, 3_000);
    assert!(next[0].expected.contains("since its new level of"));
}

#[test]
fn an_attack_that_comes_again_is_found_again() {
    let mut detector = EventRate::new(workloads_only(5.0));
    let mut dice = Dice(5);
    let mut found = Vec::new();
    for number in 0..400 {
        let attack = number >= 300 && number % 20 == 0;
        let count = if attack { 400 } else { dice.poisson(3.0) };
        found.extend(feed(&mut detector, number, PaneCoverage::Complete, &[("a", count)]).iter().map(|_| number));
    }
    assert_eq!(found, (300..400).step_by(20).collect::<Vec<i64>>());
}

#[test]
fn lossy_panes_are_judged_and_not_learnt() {
    let (mut seen, mut unseen) = (EventRate::new(workloads_only(5.0)), EventRate::new(workloads_only(5.0)));
    for number in 0..100 {
        for detector in [&mut seen, &mut unseen] {
            feed(detector, number, PaneCoverage::Complete, &[("a", 3), ("b", 1)]);
        }
    }
    let told = feed(&mut seen, 100, PaneCoverage::Lossy, &[("a", 500), ("new", 9)]);
    assert_eq!((told.len(), told[0].coverage.as_str()), (1, "lossy"));
    feed(&mut unseen, 100, PaneCoverage::Lossy, &[]);
    let learnt = |detector: &mut EventRate, name: &str| {
        detector.store.get_mut(&Slot { series: 0, entity: entity(name) }).map(|b| (b.predict(), b.tick, b.total))
    };
    for name in ["a", "b", "new"] {
        assert_eq!(learnt(&mut seen, name), learnt(&mut unseen, name), "{name}");
    }
    // Nor is an entity that is absent from a lossy pane taken to have been silent.
    feed(&mut seen, 101, PaneCoverage::Complete, &[("b", 1)]);
    assert_eq!(learnt(&mut seen, "b").unwrap().1, 101);
}

#[test]
fn lossy_panes_without_events_are_no_silence() {
    let config = || EventRateConfig { sides: Sides::Both, ..workloads_only(5.0) };
    let (mut told, mut untold) = (EventRate::new(config()), EventRate::new(config()));
    for number in 0..200 {
        for detector in [&mut told, &mut untold] {
            assert!(feed(detector, number, PaneCoverage::Complete, &[("beat", 4), ("other", 5)]).is_empty());
        }
    }
    for number in 200..220 {
        assert!(told.close(pane(number), PaneCoverage::Lossy, &[]).unwrap().is_empty());
    }
    let ticks = |detector: &mut EventRate, name: &str| {
        detector.store.get_mut(&Slot { series: 0, entity: entity(name) }).unwrap().tick
    };
    assert!(feed(&mut told, 220, PaneCoverage::Complete, &[("other", 5)]).is_empty());
    assert_eq!((ticks(&mut told, "beat"), ticks(&mut told, "other")), (200, 201));
    // Without the news of a loss, the same panes are zeros of everyone.
    let findings = feed(&mut untold, 220, PaneCoverage::Complete, &[("other", 5)]);
    assert_eq!(findings.iter().map(|f| f.title.as_str()).collect::<Vec<_>>(), ["Unusual silence"]);
    assert_eq!(ticks(&mut untold, "other"), 221);
}

#[test]
fn a_pane_that_cannot_be_read_counts_as_lossy() {
    let mut detector = EventRate::new(workloads_only(5.0));
    for number in 0..10 {
        feed(&mut detector, number, PaneCoverage::Complete, &[("a", 3)]);
    }
    let strange = RecordBatch::new_empty(Arc::new(Schema::empty()));
    assert!(detector.close(pane(10), PaneCoverage::Complete, &[strange]).is_err());
    feed(&mut detector, 11, PaneCoverage::Complete, &[("a", 3)]);
    assert_eq!(detector.ticks.observed(), 11);
}

#[test]
fn silence_of_one_entity_is_found_once_where_asked_for() {
    let config = EventRateConfig { sides: Sides::Both, ..workloads_only(5.0) };
    let mut detector = EventRate::new(config);
    let mut dice = Dice(9);
    let mut silent = Vec::new();
    for number in 0..600 {
        let heartbeat = if number < 300 { dice.poisson(4.0) } else { 0 };
        for found in feed(&mut detector, number, PaneCoverage::Complete, &[("beat", heartbeat), ("other", 5)]) {
            assert_eq!((found.title.as_str(), found.entity.name.as_str()), ("Unusual silence", "beat"));
            silent.push(number);
        }
    }
    assert_eq!(silent.len(), 1);
    assert!((302..360).contains(&silent[0]), "{silent:?}");
}

#[test]
fn eviction_takes_the_longest_unseen_and_is_the_same_every_time() {
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut detector = EventRate::new(EventRateConfig { entities_max: 3, ..workloads_only(5.0) });
        feed(&mut detector, 0, PaneCoverage::Complete, &[("d", 1), ("c", 1), ("b", 1)]);
        feed(&mut detector, 1, PaneCoverage::Complete, &[("d", 1)]);
        feed(&mut detector, 2, PaneCoverage::Complete, &[("a", 1), ("e", 1)]);
        assert_eq!((detector.tracked(), detector.evicted()), (3, 2));
        let names: Vec<bool> = ["a", "b", "c", "d", "e"]
            .iter()
            .map(|name| detector.store.get_mut(&Slot { series: 0, entity: entity(name) }).is_some())
            .collect();
        assert_eq!(names, [true, false, false, true, true]);
        kept.push(detector.snapshot().unwrap());
    }
    assert_eq!(kept[0], kept[1]);
}

#[test]
fn full_panes_keep_the_same_keys_in_any_order() {
    let names: Vec<String> = (0..50).map(|i| format!("w{i:02}")).collect();
    let leak: Vec<&'static str> = names.iter().map(|n| &*Box::leak(n.clone().into_boxed_str())).collect();
    let mut seen = Vec::new();
    for seed in 1..4 {
        let mut rows: Vec<Event> = (0..500u64)
            .map(|uid| Event { uid, time: uid as i64, workload: leak[(uid % 50) as usize], ..Default::default() })
            .collect();
        Dice(seed).shuffle(&mut rows);
        let mut detector = EventRate::new(EventRateConfig { pane_entities_max: 10, ..workloads_only(1.0) });
        let mut fold = detector.lane();
        for rows in rows.chunks(9) {
            fold.fold(&batch(rows), &[(pane(0), (0..rows.len() as u32).collect())]).unwrap();
        }
        let partial = fold.take(pane(0)).unwrap().unwrap();
        assert_eq!(partial.num_rows(), 11, "one more than the bound, to tell that it was met");
        detector.close(pane(0), PaneCoverage::Complete, std::slice::from_ref(&partial)).unwrap();
        // What was left out would be taken for silent: nothing is learnt from a pane without room.
        assert_eq!(detector.gauges(), [("entities", 0), ("entities_evicted", 0), ("panes_short", 1)]);
        seen.push((partial, detector.snapshot().unwrap()));
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn unchanged_shards_keep_their_bytes_and_damage_is_refused() {
    let mut detector = EventRate::new(workloads_only(5.0));
    feed(&mut detector, 0, PaneCoverage::Complete, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
    let before = detector.snapshot().unwrap();
    feed(&mut detector, 1, PaneCoverage::Complete, &[("a", 1)]);
    let after = detector.snapshot().unwrap();
    let changed = before.iter().zip(&after).filter(|(b, a)| b != a).count();
    assert_eq!(changed, 2, "the shared piece and one shard");
    for (place, (name, _)) in after.iter().enumerate() {
        for damage in [Vec::new(), vec![9], vec![3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]] {
            let mut pieces = after.clone();
            pieces[place].1 = damage;
            assert!(detector.clone().restore(&pieces).is_err(), "{name}");
        }
        let mut pieces = after.clone();
        pieces.remove(place);
        assert!(detector.clone().restore(&pieces).is_err(), "{name}");
    }
    let mut old = after.clone();
    old[0].1[0] = 2;
    let refusal = detector.clone().restore(&old).unwrap_err().to_string();
    assert!(refusal.contains("has version 2, not 3"), "{refusal}");
    let EventRateConfig { mut entities, .. } = EventRateConfig::default();
    entities.reverse();
    let mut other = EventRate::new(EventRateConfig { entities, ..EventRateConfig::default() });
    let refusal = other.restore(&after).unwrap_err().to_string();
    assert!(refusal.contains("configured are node, address"), "as many kinds, but others: {refusal}");
}

#[test]
fn settings_read_from_toml_and_unknown_ones_are_refused() {
    let config: EventRateConfig =
        toml::from_str("entities = [\"workload\", \"node\"]\nfalse_findings_per_day = 0.5\nsides = \"both\"").unwrap();
    assert_eq!((config.entities.len(), config.sides, config.memory_panes), (2, Sides::Both, 360));
    assert!(toml::from_str::<EventRateConfig>("memory = 3").is_err());
    assert!(EventRate::new(EventRateConfig { false_findings_per_day: f64::NAN, ..config }).bars()[0].ln_alpha < -1e300);
}
