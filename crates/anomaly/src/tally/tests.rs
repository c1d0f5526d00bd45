use arrow::array::{AsArray, BinaryArray};
use arrow::datatypes::Schema;
use palisade_events::seam::{Detector, LaneFold, PaneCoverage};

use super::*;
use crate::scene::excerpt;
use crate::testing::{Dice, Event, batch, pane};
use crate::{EventRate, EventRateConfig};

fn fold() -> Box<dyn LaneFold> {
    EventRate::new(EventRateConfig::default()).lane()
}

fn events() -> Vec<Event> {
    (0..60u64)
        .map(|uid| Event {
            uid,
            time: (uid / 4) as i64,
            workload: ["web", "db", "queue"][uid as usize % 3],
            user: ["ann", "bob"][uid as usize % 2],
            command: format!("run {uid}"),
            ..Default::default()
        })
        .collect()
}

fn partial(events: &[Event], size: usize) -> RecordBatch {
    let mut fold = fold();
    for events in events.chunks(size) {
        fold.fold(&batch(events), &[(pane(0), (0..events.len() as u32).collect())]).unwrap();
    }
    fold.take(pane(0)).unwrap().unwrap()
}

#[test]
fn evidence_and_scene_are_of_the_first_events_however_rows_are_cut() {
    let mut rows = events();
    let whole = partial(&rows, usize::MAX);
    for seed in 1..5 {
        Dice(seed).shuffle(&mut rows);
        for size in [1, 7, 60] {
            assert_eq!(partial(&rows, size), whole, "{seed} {size}");
        }
    }
    let partials = [whole];
    let (tallies, room) = merge(&partials, 100).unwrap();
    assert_eq!((tallies.len(), room), (5, Room::Enough));
    for (key, tally) in &tallies {
        let first = tally.evidence[0].evidence();
        let shown = excerpt(tally.evidence[0].scene, &first);
        let uid = u64::from_str_radix(&first.event_uid, 16).unwrap();
        assert!(shown.contains(&format!("\"process_cmd_line\":\"run {uid}\"")), "{} {shown}", key.entity);
        assert_eq!(tally.evidence.len(), EVIDENCE_MAX);
        assert!(tally.evidence[1..].iter().all(|later| later.scene.is_empty() && first < later.evidence()));
    }
}

#[test]
fn lanes_join_to_what_one_lane_would_have_kept() {
    let rows = events();
    let (left, right): (Vec<Event>, Vec<Event>) = rows.iter().cloned().partition(|event| event.uid % 7 < 3);
    let whole = [partial(&rows, 60)];
    let lanes = [partial(&left, 4), partial(&right, 9)];
    let told = |partials: &[RecordBatch]| -> Vec<String> {
        let (tallies, _) = merge(partials, 100).unwrap();
        let tell = |(key, tally): (Key, Tally<Stored<'_>>)| {
            let evidence: Vec<Evidence> = tally.evidence.iter().map(Stored::evidence).collect();
            let shown = excerpt(tally.evidence[0].scene, &evidence[0]);
            format!("{key:?} {} {} {} {evidence:?} {shown}", tally.count, tally.first, tally.last)
        };
        tallies.into_iter().map(tell).collect()
    };
    assert_eq!(told(&lanes), told(&whole));
}

#[test]
fn partials_of_another_version_and_damaged_ones_are_refused_by_name() {
    let good = partial(&events(), 60);
    fold().restore(pane(0), &good).unwrap();
    let series = good.schema().metadata()["series"].clone();
    let fields = good.schema().fields().clone();
    let unversioned = Arc::new(Schema::new_with_metadata(fields, [("series".to_owned(), series)].into()));
    let old = RecordBatch::try_new(unversioned, good.columns().to_vec()).unwrap();
    let refusal = fold().restore(pane(0), &old).unwrap_err().to_string();
    assert!(refusal.contains("has version 1, not 2"), "{refusal}");
    let mut detector = EventRate::new(EventRateConfig::default());
    assert!(detector.close(pane(0), PaneCoverage::Complete, &[old]).is_err());
    let mut columns = good.columns().to_vec();
    let scenes = good.column_by_name("scene").unwrap().as_binary::<i32>();
    let cut: BinaryArray = scenes.iter().map(|scene| scene.map(|scene| &scene[..scene.len() - 1])).collect();
    *columns.last_mut().unwrap() = Arc::new(cut);
    let damaged = RecordBatch::try_new(good.schema(), columns).unwrap();
    let refusal = fold().restore(pane(0), &damaged).unwrap_err().to_string();
    assert!(refusal.contains("scene"), "{refusal}");
}
