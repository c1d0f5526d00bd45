//! Who is silent when, whatever the steps of the frontier; how much is listened to; and what is remembered.

use proptest::prelude::*;

use super::*;

const PANE: Micros = 10;

fn silences() -> Silences {
    Silences::new(BTreeMap::from([("s".to_owned(), 30), ("t".to_owned(), 50)]), PANE)
}

fn key(source: &str, cluster: &str) -> Key {
    (source.to_owned(), cluster.to_owned())
}

/// Events as lanes would have heard them: by pane and key.
fn heard(events: &[(&str, &str, Micros)]) -> BTreeMap<Pane, BTreeMap<Key, Span>> {
    let panes = palisade_events::Panes::new(PANE);
    let mut heard: BTreeMap<Pane, BTreeMap<Key, Span>> = BTreeMap::new();
    for (source, cluster, time) in events {
        let span = Span::of(*time);
        let keys = heard.entry(panes.of(*time)).or_default();
        keys.entry(key(source, cluster)).and_modify(|known| known.widen(span)).or_insert(span);
    }
    heard
}

/// Cluster, window and when it was told.
fn told(silences: &mut Silences) -> Vec<(String, Micros, Micros, Option<Micros>)> {
    let facts = silences.take_facts().into_iter();
    facts.map(|f| (f.fact.cluster, f.fact.window_start, f.fact.window_end, f.told_at)).collect()
}

fn fact(cluster: &str, start: Micros, end: Micros, told_at: Micros) -> (String, Micros, Micros, Option<Micros>) {
    (cluster.to_owned(), start, end, Some(told_at))
}

#[test]
fn a_silence_is_told_once_and_again_whole_when_it_ends() {
    let mut silences = silences();
    silences.hear(heard(&[("s", "a", 3), ("s", "a", 7), ("s", "b", 1), ("quiet", "a", 1)]), 10);
    silences.hear(heard(&[("s", "b", 29)]), 30);
    assert_eq!(told(&mut silences), [], "nobody was silent for 30 yet");
    silences.hear(BTreeMap::new(), 40);
    assert_eq!(told(&mut silences), [fact("a", 7, 37, 40)]);
    silences.hear(BTreeMap::new(), 50);
    assert_eq!(told(&mut silences), [], "once");
    silences.hear(heard(&[("s", "a", 55), ("s", "b", 58), ("s", "a", 59)]), 60);
    assert_eq!(told(&mut silences), [fact("a", 7, 55, 60)], "29 to 58 is less than 30");
    silences.hear(BTreeMap::new(), 1000);
    let both = [fact("a", 59, 89, 90), fact("b", 58, 88, 90)];
    assert_eq!(told(&mut silences), both, "what is due at one moment comes in the order of keys");
}

#[test]
fn facts_name_the_source_and_no_lane_of_it() {
    let mut silences = silences();
    silences.hear(heard(&[("s", "", 0)]), 1000);
    let fact = silences.take_facts().remove(0).fact;
    assert_eq!((fact.lane.source.as_str(), fact.lane.origin.as_str(), fact.lane.partition), ("s", "", None));
    assert_eq!((fact.kind, fact.offset, fact.count), (CoverageKind::Silence, -1, -1));
    assert!(!fact.kind.is_loss(), "or detectors would learn nothing of the sources that go on");
    assert!(fact.detail.contains("no event on time for 0.00003 s"), "{}", fact.detail);
}

#[test]
fn what_a_decision_told_the_frontier_does_not_tell_again() {
    let mut silences = silences();
    silences.hear(heard(&[("s", "a", 7), ("t", "a", 8)]), 10);
    assert!(silences.has_untold("s") && !silences.has_untold("other"));
    silences.tell("s");
    assert!(!silences.has_untold("s") && silences.has_untold("t"));
    assert_eq!(told(&mut silences), [("a".to_owned(), 7, 37, None)]);
    silences.tell("s");
    silences.hear(heard(&[("s", "a", 12)]), 20);
    assert_eq!(told(&mut silences), [fact("a", 7, 12, 20)], "what came late after all is told as well");
    silences.hear(BTreeMap::new(), 50);
    assert_eq!(told(&mut silences), [fact("a", 12, 42, 50)]);
}

#[test]
fn few_keys_are_listened_to_and_the_longest_silent_makes_room() {
    let mut silences = silences();
    let names: Vec<String> = (0..KEYS_MAX + 10).map(|n| format!("{n:05}")).collect();
    let events: Vec<_> = names.iter().map(|name| ("s", name.as_str(), 1)).collect();
    silences.hear(heard(&events), 10);
    assert_eq!(silences.gauges(), [("listened_to", KEYS_MAX as u64), ("left_out", 10)]);
    silences.hear(heard(&[("s", "00000", 25)]), 40);
    assert_eq!(told(&mut silences).len(), KEYS_MAX - 1, "all but one are silent");
    silences.hear(heard(&[("s", "new", 41)]), 50);
    assert_eq!(silences.gauges(), [("listened_to", KEYS_MAX as u64), ("left_out", 10)]);
    assert!(silences.state.voices.contains_key(&key("s", "new")));
    assert!(!silences.state.voices.contains_key(&key("s", "00001")), "silent, and the first by name");
    assert!(silences.state.voices.contains_key(&key("s", "00000")), "not silent");
}

#[test]
fn a_lane_notes_the_first_names_whichever_came_first() {
    let names: Vec<String> = (0..KEYS_MAX + 3).map(|n| format!("{n:05}")).collect();
    let (mut up, mut down) = (BTreeMap::new(), BTreeMap::new());
    names.iter().for_each(|name| note_cluster(&mut up, name, Span::of(1)));
    names.iter().rev().for_each(|name| note_cluster(&mut down, name, Span::of(1)));
    note_cluster(&mut down, &"x".repeat(CLUSTER_BYTES_MAX + 1), Span::of(1));
    assert!(up == down && up.len() == KEYS_MAX && up.contains_key("00000"));
    assert!(!up.contains_key(&names[KEYS_MAX]));
}

#[test]
fn state_is_put_back_and_what_is_no_longer_listened_to_is_forgotten() {
    let mut before = silences();
    assert!(before.snapshot().unwrap().is_none(), "nobody was heard of");
    before.hear(heard(&[("s", "a", 7), ("t", "a", 8)]), 10);
    let piece = before.snapshot().unwrap().unwrap();
    let mut after = Silences::new(BTreeMap::from([("t".to_owned(), 50)]), PANE);
    after.restore(std::slice::from_ref(&piece)).unwrap();
    after.hear(BTreeMap::new(), 1000);
    assert_eq!(told(&mut after), [fact("a", 8, 58, 60)]);
    silences().restore(&[("other/piece".into(), Vec::new())]).unwrap();
    for damaged in [Vec::new(), vec![VERSION + 1], piece.1[..piece.1.len() - 1].to_vec()] {
        assert!(silences().restore(&[(piece.0.clone(), damaged)]).is_err());
    }
}

proptest! {
    /// Any steps of the frontier, and restarts between them, tell what one step tells, in the same order.
    #[test]
    fn steps_of_the_frontier_and_restarts_change_nothing(
        events in proptest::collection::vec((0usize..2, 0usize..3, 0i64..400), 1..40),
        steps in proptest::collection::vec((1i64..8, any::<bool>()), 1..40),
    ) {
        let events: Vec<_> = events.iter().map(|(s, c, time)| (["s", "t"][*s], ["", "a", "b"][*c], *time)).collect();
        let mut whole = silences();
        whole.hear(heard(&events), 500);
        let mut stepped = silences();
        let (mut left, mut frontier, mut found) = (heard(&events), 0, Vec::new());
        for (panes, restarts) in steps.into_iter().chain([(50, false)]) {
            frontier = (frontier + panes * PANE).min(500);
            let mut closed = BTreeMap::new();
            while let Some(oldest) = left.first_entry() && oldest.key().end <= frontier {
                let (pane, keys) = oldest.remove_entry();
                closed.insert(pane, keys);
            }
            stepped.hear(closed, frontier);
            found.extend(stepped.take_facts());
            if restarts {
                let pieces: Vec<_> = stepped.snapshot().unwrap().into_iter().collect();
                stepped = silences();
                stepped.restore(&pieces).unwrap();
            }
        }
        prop_assert_eq!(whole.take_facts(), found);
    }
}
