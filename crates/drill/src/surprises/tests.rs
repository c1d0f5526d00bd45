//! How often surprises come, and that what they write is well-formed, in time and not too much.

use super::*;
use crate::record::{Record, Stream};
use crate::settings::{Life, MONDAY_MORNING};

fn settings(days: u64) -> Settings {
    let streams = Stream::ALL.to_vec();
    // Midnight of a Monday.
    let start = MONDAY_MORNING - 9 * HOUR;
    Settings { start, duration_secs: days * 86_400, streams, life: Life::Hard, ..Settings::default() }
}

fn beginnings(settings: &Settings, seed: u64) -> Vec<(Micros, Kind)> {
    let planned = plan(settings, &mut Random::new(seed));
    assert!(planned.is_sorted_by_key(|(at, _)| *at));
    planned.iter().filter(|(_, surprise)| surprise.scene == 0).map(|(at, surprise)| (*at, surprise.kind)).collect()
}

#[test]
fn six_a_day_come_more_often_in_office_hours_and_all_kinds_within_a_week() {
    let begun = beginnings(&settings(28), 7);
    let on_workdays = begun.iter().filter(|(at, _)| !matches!(at.div_euclid(DAY).rem_euclid(7), 2 | 3)).count();
    assert!((80..160).contains(&on_workdays), "{on_workdays} on twenty working days");
    let in_office = begun.iter().filter(|(at, _)| is_office_hour(*at)).count();
    assert!(in_office * 2 > begun.len(), "{in_office} of {}", begun.len());
    let week: Vec<Kind> = beginnings(&settings(7), 7).into_iter().map(|(_, kind)| kind).collect();
    assert!(Kind::OFFICE.iter().all(|kind| week.contains(kind)), "{week:?}");
}

#[test]
fn plans_are_bounded_and_end_with_the_drill() {
    let cases = [
        (settings(0), 0),
        (Settings { duration_secs: u64::MAX, ..settings(1) }, SURPRISES_MAX),
        (Settings { start: Micros::MAX, ..settings(1) }, 0),
        (Settings { start: Micros::MIN, events_per_sec: f64::NAN, ..settings(0) }, 0),
    ];
    for (settings, expected) in cases {
        assert_eq!(beginnings(&settings, 3).len(), expected);
    }
    let settings = settings(3);
    let end = settings.start + 3 * DAY;
    assert!(plan(&settings, &mut Random::new(5)).iter().all(|(at, _)| (settings.start..end).contains(at)));
}

/// All that one surprise writes, with the time of its scene.
fn written(kind: Kind, settings: &Settings) -> Vec<(Micros, Record)> {
    let mut random = Random::new(11);
    let cluster = Cluster::new(settings, &mut random);
    let mut wire = Wire::new(settings, random, cluster.nodes.len());
    let began = MONDAY_MORNING;
    let mut records = Vec::new();
    for (scene, after) in (0..).zip(kind.scenes(29)) {
        let surprise = Surprise { kind, seed: 29, began, scene, pace: (settings.events_per_sec * 1_000.0) as u64 };
        begin(&surprise, &cluster, &mut wire, began + after);
        records.extend(std::iter::from_fn(|| wire.delivered(Micros::MAX)).map(|record| (began + after, record)));
    }
    records
}

#[test]
fn every_surprise_is_well_formed_in_time_and_bounded() {
    for kind in Kind::OFFICE {
        let records = written(kind, &settings(1));
        assert!((10..=20_000).contains(&records.len()), "{kind:?}: {} records", records.len());
        for (at, record) in &records {
            let after = record.time - at;
            // The kernel's stamps have no more than milliseconds; programs end when they end.
            assert!(after > -1_000 && after <= 2 * HOUR, "{kind:?}: {after} µs after its scene");
            assert!(record.label.is_none());
            if record.stream != Stream::Auditd {
                let text = String::from_utf8_lossy(&record.payload);
                assert!(serde_json::from_slice::<serde_json::Value>(&record.payload).is_ok(), "{kind:?}: {text}");
            }
        }
        // What is written to the kernel's log runs no further ahead than a few seconds.
        let ahead =
            records.iter().filter(|(_, record)| record.stream == Stream::Auditd).map(|(at, r)| r.time - at).max();
        assert!(ahead.is_none_or(|ahead| ahead <= 5 * SECOND), "{kind:?}: {ahead:?}");
        assert_eq!(records, written(kind, &settings(1)), "{kind:?}");
    }
}

#[test]
fn surprises_are_felt_at_any_pace_and_in_any_cluster() {
    let small = Settings { nodes: 1, replicas: 1, namespaces: vec!["a".into()], events_per_sec: 0.1, ..settings(1) };
    let fast = Settings { events_per_sec: 2_000.0, ..settings(1) };
    for kind in Kind::OFFICE {
        assert!(!written(kind, &small).is_empty(), "{kind:?}");
    }
    assert!(written(Kind::LoadTest, &fast).len() > written(Kind::LoadTest, &settings(1)).len());
}
