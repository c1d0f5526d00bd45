//! Lanes, panes and decisions by hand: what closes when, and what a restored engine goes on with.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use palisade_events::time::{SECOND, format_rfc3339};
use palisade_events::{
    Chunk, Confidence, CoverageKind, Entity, EntityKind, EventBatch, FindingKind, LaneFold, Severity,
    seam::PaneCoverage,
};

use super::*;
use crate::config::Config;
use crate::plan::Plan;

/// Counts the rows of each pane, and says so: what a pane held when it closed.
struct Census;

#[derive(Default)]
struct CensusFold(BTreeMap<Pane, i64>);

fn partial(count: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![count]))]).unwrap()
}

impl LaneFold for CensusFold {
    fn fold(&mut self, _: &EventBatch, panes: &[(Pane, Vec<u32>)]) -> palisade_events::Result<()> {
        for (pane, rows) in panes {
            *self.0.entry(*pane).or_default() += rows.len() as i64;
        }
        Ok(())
    }

    fn take(&mut self, pane: Pane) -> palisade_events::Result<Option<RecordBatch>> {
        Ok(self.0.remove(&pane).map(partial))
    }

    fn snapshot(&self) -> palisade_events::Result<Vec<(Pane, RecordBatch)>> {
        Ok(self.0.iter().map(|(pane, count)| (*pane, partial(*count))).collect())
    }

    fn restore(&mut self, pane: Pane, batch: &RecordBatch) -> palisade_events::Result<()> {
        self.0.insert(pane, batch.column(0).as_primitive::<Int64Type>().value(0));
        Ok(())
    }
}

impl Detector for Census {
    fn uid(&self) -> &str {
        "census"
    }

    fn lane(&self) -> Box<dyn LaneFold> {
        Box::<CensusFold>::default()
    }

    fn close(
        &mut self,
        pane: Pane,
        coverage: PaneCoverage,
        partials: &[RecordBatch],
    ) -> palisade_events::Result<Vec<Finding>> {
        let counts: Vec<i64> = partials.iter().map(|p| p.column(0).as_primitive::<Int64Type>().value(0)).collect();
        // The counts of the partials, in the order that they come.
        let title = counts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        Ok(vec![Finding { title, ..finding(pane, counts.iter().sum(), coverage) }])
    }

    fn snapshot(&self) -> palisade_events::Result<Vec<(String, Vec<u8>)>> {
        Ok(Vec::new())
    }

    fn restore(&mut self, _: &[(String, Vec<u8>)]) -> palisade_events::Result<()> {
        Ok(())
    }
}

fn finding(pane: Pane, count: i64, coverage: PaneCoverage) -> Finding {
    let entity = Entity { kind: EntityKind::Cluster, cluster: "c".into(), namespace: None, name: "c".into() };
    Finding {
        finding_uid: format!("{}", pane.start),
        group_uid: String::new(),
        time: pane.end,
        kind: FindingKind::Anomaly,
        rule_uid: "census".into(),
        rule_version: String::new(),
        title: String::new(),
        severity: Severity::Low,
        confidence: Confidence::new(1.0),
        entities: vec![entity.clone()],
        entity,
        owner: None,
        count,
        first_seen: pane.start,
        last_seen: pane.end,
        detected_at: pane.end,
        author: String::new(),
        references: Vec::new(),
        false_positives: Vec::new(),
        triage: Vec::new(),
        attack: palisade_events::Attack::default(),
        explanation: String::new(),
        observed: String::new(),
        expected: String::new(),
        p_value: None,
        evidence: Vec::new(),
        excerpt: String::new(),
        coverage: coverage.name().into(),
        suppressed_by: None,
    }
}

fn plan() -> Plan {
    let text = "[pipeline]\nlateness_secs = 5.0\npanes_ahead_max = 3\n[rules]\nstarter = false\n[correlate]\nstarter = false\n\
                [anomaly]\nevent_rate_off = true\nfirst_seen_off = true\n\
                [[source]]\nname = \"s\"\nkind = \"files\"\npaths = [\"-\"]\nformat = \"k8s_audit\"\n";
    Plan::new(&Config::parse("test", text, &BTreeMap::new()).unwrap()).unwrap()
}

struct Bench {
    plan: Plan,
    engine: Engine,
}

const START: i64 = 1_767_225_600; // 2026-01-01T00:00:00Z

impl Bench {
    fn new(partitions: i32) -> Self {
        let plan = plan();
        let engine = Self::engine(&plan);
        let mut bench = Self { plan, engine };
        for partition in 0..partitions {
            bench.engine.join(bench.plan.lane(&lane(partition)).unwrap());
        }
        bench
    }

    fn engine(plan: &Plan) -> Engine {
        let settings = EngineSettings { pane_length: 10 * SECOND, panes_ahead_max: 3 };
        Engine::new(Arc::clone(plan.stages()), vec![Box::new(Census)], settings)
    }

    /// Lets a lane read events at these seconds after the start.
    fn read(&mut self, partition: i32, secs: &[i64]) {
        let lane = lane(partition);
        let key = lane_key(&lane);
        let mut work = self.engine.checkout(&key).unwrap();
        let first = work.next_offset().unwrap_or(0);
        let mut chunk = Chunk::new(lane);
        for (number, sec) in secs.iter().enumerate() {
            let time = format_rfc3339((START + sec) * SECOND);
            let event = format!(
                r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"{first}-{number}","stage":"ResponseComplete","verb":"get","user":{{"username":"u"}},"stageTimestamp":"{time}"}}"#
            );
            chunk.push(event.as_bytes(), first + number as i64, None, None);
        }
        let output = work.process(chunk).unwrap();
        self.engine.merge(work, &output);
    }

    fn close(&mut self) -> Vec<(i64, i64)> {
        seen(&self.engine.close_ready().unwrap())
    }
}

fn lane(partition: i32) -> Arc<Lane> {
    Arc::new(Lane::kafka("s", "t", partition))
}

fn key(partition: i32) -> LaneKey {
    lane_key(&lane(partition))
}

/// Pane start in seconds after the start, and what the pane held.
fn seen(found: &[(Pane, Finding)]) -> Vec<(i64, i64)> {
    found.iter().map(|(pane, finding)| (pane.start / SECOND - START, finding.count)).collect()
}

#[test]
fn panes_close_when_the_slowest_lane_has_passed_them() {
    let mut bench = Bench::new(2);
    bench.read(0, &[1, 2, 12, 40]);
    assert_eq!(bench.close(), [], "the other lane was never heard of");
    bench.read(1, &[3, 16]);
    assert_eq!(bench.close(), [(0, 3)], "16 s less 5 s of lateness passes the first pane only");
    bench.read(1, &[29]);
    assert_eq!(bench.close(), [(10, 2)]);
}

#[test]
fn late_row_is_counted_and_enters_no_pane() {
    let mut bench = Bench::new(1);
    bench.read(0, &[1, 20, 14, 16]);
    assert_eq!(bench.close(), [(0, 1)]);
    assert_eq!(bench.engine.accounts().late, 1, "14 is more than 5 s behind 20");
    bench.read(0, &[40]);
    assert_eq!(bench.close(), [(10, 1), (20, 1)]);
}

#[test]
fn silent_lane_holds_nothing_open_and_what_it_brings_later_stays_out_of_closed_panes() {
    let mut bench = Bench::new(2);
    bench.read(0, &[1]);
    bench.read(1, &[2, 50]);
    assert_eq!(bench.close(), []);
    bench.engine.idle(&key(0));
    assert!(bench.engine.must_cut(), "time decided something: it must be cut at this vector");
    let decisions = bench.engine.take_decisions("job", 1, "f");
    assert_eq!(decisions[0].kind, DecisionKind::Idle);
    assert_eq!(decisions[0].lanes, r#"{"s/t/0":1,"s/t/1":2}"#);
    assert_eq!(bench.close(), [(0, 2)]);
    assert!(!bench.engine.may_work(&key(0)));
    bench.engine.wake(&key(0));
    assert_eq!(bench.engine.take_decisions("job", 2, "f")[0].kind, DecisionKind::Wake);
    bench.read(0, &[3, 44]);
    assert_eq!(bench.engine.accounts().behind_frontier, 1, "second 3 is in a pane that closed without it");
    bench.engine.end(&key(0));
    bench.engine.end(&key(1));
    assert_eq!(seen(&bench.engine.close_all().unwrap()), [(40, 1), (50, 1)]);
}

#[test]
fn lane_far_ahead_waits_for_the_slowest() {
    let mut bench = Bench::new(2);
    bench.read(0, &[0, 0]);
    bench.read(1, &[100, 100]);
    assert!(bench.engine.may_work(&key(0)));
    assert!(!bench.engine.may_work(&key(1)), "ten panes ahead of three allowed");
    bench.read(0, &[80]);
    assert!(bench.engine.may_work(&key(1)));
}

#[test]
fn lane_at_work_keeps_panes_open() {
    let mut bench = Bench::new(2);
    bench.read(0, &[1, 50]);
    bench.read(1, &[2, 50]);
    let out = bench.engine.checkout(&key(0)).unwrap();
    assert_eq!(bench.close(), [], "a pane closes only with all lanes at home");
    let mut out = out;
    let output = out.process(Chunk::new(lane(0))).unwrap();
    bench.engine.merge(out, &output);
    assert_eq!(bench.close(), [(0, 2)]);
}

#[test]
fn restored_engine_goes_on_where_the_other_stopped() {
    let mut bench = Bench::new(2);
    bench.read(0, &[1, 12]);
    bench.read(1, &[2, 13]);
    bench.engine.idle(&key(1));
    bench.close();
    let state = bench.engine.snapshot().unwrap();
    let mut other = Bench { engine: Bench::engine(&bench.plan), plan: plan() };
    other.engine.restore(state.frontier, &state.pieces, Restore::Exact).unwrap();
    for partition in 0..2 {
        let work = other.plan.lane(&lane(partition)).unwrap();
        other.engine.rejoin(work, &state.lanes[&key(partition)].1, Restore::Exact).unwrap();
    }
    assert_eq!(other.engine.vector(), bench.engine.vector());
    assert!(other.engine.is_asleep(&key(1)), "a silent lane stays silent until it is woken");
    for bench in [&mut bench, &mut other] {
        bench.read(0, &[30]);
        assert_eq!(bench.close(), [(0, 2), (10, 2)]);
    }
    assert!(other.engine.rejoin(plan().lane(&lane(0)).unwrap(), b"damaged", Restore::Exact).is_err());
}

#[test]
fn replay_waits_at_the_recorded_vector_and_repeats_the_decisions() {
    let mut live = Bench::new(2);
    live.read(0, &[1, 2]);
    live.read(1, &[3]);
    live.engine.idle(&key(0));
    live.engine.idle(&key(1));
    let closed = seen(&live.engine.close_all().unwrap());
    let decisions = live.engine.take_decisions("job", 7, "f");
    let replay = Replay::plan(decisions.clone()).unwrap().unwrap();
    let mut again = Bench::new(2);
    assert_eq!(replay.limit(&key(0)), 2);
    // The log has more by now: what lies beyond the vector waits.
    let mut chunk = Chunk::new(lane(0));
    for offset in 0..4 {
        chunk.push(b"x", offset, None, None);
    }
    let (now, later) = split(chunk, replay.limit(&key(0)));
    assert_eq!(now.unwrap().records.len(), 2);
    assert_eq!(later.as_ref().unwrap().records[0].offset, 2);
    assert_eq!(later.unwrap().bytes, b"xx");
    again.read(0, &[1, 2]);
    let is_reached = |engine: &Engine| replay.lanes().all(|(key, limit)| engine.vector().get(key) == Some(&limit));
    assert!(!is_reached(&again.engine));
    again.read(1, &[3]);
    assert!(is_reached(&again.engine));
    let mut found = Vec::new();
    for decision in replay.into_decisions() {
        found.extend(again.engine.replay(&decision).unwrap());
    }
    assert_eq!(seen(&found), closed);
    assert_eq!(again.engine.frontier(), live.engine.frontier());
}

#[test]
fn lossy_pane_without_rows_is_told_to_detectors() {
    let mut bench = Bench::new(1);
    bench.read(0, &[1, 2]);
    bench.engine.add_fact(&Coverage {
        lane: lane(0),
        offset: 2,
        cluster: String::new(),
        kind: CoverageKind::Gap,
        window_start: (START + 12) * SECOND,
        window_end: (START + 33) * SECOND,
        count: 5,
        detail: String::new(),
    });
    bench.read(0, &[60]);
    let found = bench.engine.close_ready().unwrap();
    let coverage: Vec<_> = found.iter().map(|(_, finding)| finding.coverage.as_str()).collect();
    assert_eq!(seen(&found), [(0, 2), (10, 0), (20, 0), (30, 0)]);
    assert_eq!(coverage, ["complete", "lossy", "lossy", "lossy"]);
    bench.read(0, &[80]);
    assert_eq!(bench.close(), [(60, 1)], "each is told once, and empty panes that lack nothing are not");
}

#[test]
fn loss_that_claims_to_begin_in_1970_is_bounded() {
    let mut bench = Bench::new(1);
    bench.read(0, &[1, 1]);
    let fact = Coverage {
        lane: lane(0),
        offset: 2,
        cluster: String::new(),
        kind: CoverageKind::Lost,
        window_start: 0,
        window_end: START * SECOND,
        count: -1,
        detail: String::new(),
    };
    bench.engine.seats.get_mut(&key(0)).unwrap().watermark = None;
    bench.engine.add_fact(&fact);
    bench.read(0, &[30]);
    let found = bench.engine.close_ready().unwrap();
    assert!((LOSSY_PANES_MAX as usize..LOSSY_PANES_MAX as usize + 3).contains(&found.len()), "{}", found.len());
}

#[test]
fn first_row_from_the_future_does_not_move_the_frontier_when_all_fall_silent() {
    let mut bench = Bench::new(1);
    bench.read(0, &[1_000_000]);
    bench.read(0, &[1]);
    bench.read(0, &[2, 3]);
    bench.engine.idle(&key(0));
    assert_eq!(seen(&bench.engine.close_all().unwrap()), [(0, 3)]);
    assert!(!bench.engine.has_open_panes(), "the far pane waits for the lane to get there");
    bench.engine.wake(&key(0));
    bench.read(0, &[12, 40]);
    assert_eq!(bench.engine.accounts().behind_frontier, 0);
    assert_eq!(bench.close(), [(10, 1)]);
}

#[test]
fn partials_meet_in_the_order_of_partition_numbers() {
    let mut bench = Bench::new(11);
    let keys: Vec<&LaneKey> = bench.engine.seats.keys().collect();
    assert_eq!(keys[2], &key(10), "as text, ten comes before two");
    (0..11).for_each(|partition| bench.read(partition, &vec![1; partition as usize + 1]));
    (0..11).for_each(|partition| bench.read(partition, &[30]));
    let found = bench.engine.close_ready().unwrap();
    assert_eq!(found[0].1.title, "1 2 3 4 5 6 7 8 9 10 11");
}

#[test]
fn records_held_by_a_decoder_of_another_format_are_lost_and_told() {
    let text = |format: &str| {
        format!(
            "[rules]\nstarter = false\n[correlate]\nstarter = false\n[[source]]\nname = \"s\"\nkind = \"files\"\npaths = [\"-\"]\nformat = \"{format}\"\n"
        )
    };
    let plan = |format: &str| Plan::new(&Config::parse("test", &text(format), &BTreeMap::new()).unwrap()).unwrap();
    let before = plan("auditd");
    let mut engine = Bench::engine(&before);
    engine.join(before.lane(&lane(0)).unwrap());
    let mut work = engine.checkout(&key(0)).unwrap();
    let mut chunk = Chunk::new(lane(0));
    let half = "type=SYSCALL msg=audit(1767225600.000:7): arch=c000003e syscall=59 success=yes exit=0 pid=1 uid=0";
    chunk.push(half.as_bytes(), 0, None, None);
    let output = work.process(chunk).unwrap();
    engine.merge(work, &output);
    assert_eq!((engine.accounts().held, engine.accounts().balance()), (1, true));
    let state = engine.snapshot().unwrap();
    let after = plan("k8s_audit");
    let mut bench = Bench { engine: Bench::engine(&after), plan: plan("k8s_audit") };
    bench.engine.rejoin(after.lane(&lane(0)).unwrap(), &state.lanes[&key(0)].1, Restore::WhatFits).unwrap();
    let accounts = bench.engine.accounts();
    assert_eq!((accounts.held, accounts.coverage, accounts.balance()), (0, 1, true));
    bench.read(0, &[20]);
    assert_eq!(bench.engine.seats[&key(0)].losses.len(), 1, "the gap is told with the next event");
}

#[test]
fn state_of_another_layout_is_refused_by_its_version() {
    let mut bench = Bench::new(1);
    bench.read(0, &[1]);
    let mut state = bench.engine.snapshot().unwrap().lanes[&key(0)].1.clone();
    state[0] += 1;
    let refused = bench.engine.rejoin(bench.plan.lane(&lane(0)).unwrap(), &state, Restore::Exact).unwrap_err();
    assert!(refused.to_string().contains("version"), "{refused}");
}

#[test]
fn loss_told_in_time_makes_a_pane_lossy_whatever_the_other_lanes_did() {
    let pane = Pane { start: 0, end: 10 };
    let loss = |watermark| LossWindow { window_start: 4, window_end: 6, watermark };
    assert!(loss(None).concerns(pane));
    assert!(loss(Some(9)).concerns(pane));
    assert!(!loss(Some(10)).concerns(pane), "the lane had passed the pane when it told");
    assert!(!loss(None).concerns(Pane { start: 10, end: 20 }));
}

/// A pipeline that listens for silences of 30 s.
fn listening() -> Bench {
    let text = "[pipeline]\nlateness_secs = 5.0\n[rules]\nstarter = false\n[correlate]\nstarter = false\n\
                [[source]]\nname = \"s\"\nkind = \"files\"\npaths = [\"-\"]\nformat = \"k8s_audit\"\nsilence_secs = 30.0\n";
    let plan = Plan::new(&Config::parse("test", text, &BTreeMap::new()).unwrap()).unwrap();
    let engine = Bench::engine(&plan);
    let mut bench = Bench { plan, engine };
    for partition in 0..2 {
        bench.engine.join(bench.plan.lane(&lane(partition)).unwrap());
    }
    bench
}

impl Bench {
    /// Lets a lane read events of clusters that its records name.
    fn read_of_clusters(&mut self, partition: i32, events: &[(&str, i64)]) {
        let lane = lane(partition);
        let mut work = self.engine.checkout(&lane_key(&lane)).unwrap();
        let first = work.next_offset().unwrap_or(0);
        let mut chunk = Chunk::new(lane);
        for (number, (cluster, sec)) in events.iter().enumerate() {
            let time = format_rfc3339((START + sec) * SECOND);
            let event = format!(
                r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"ResponseComplete","verb":"get","user":{{"username":"u"}},"stageTimestamp":"{time}"}}"#
            );
            chunk.push(event.as_bytes(), first + number as i64, None, None);
            chunk.records.last_mut().unwrap().cluster = Some(Arc::from(*cluster));
        }
        let output = work.process(chunk).unwrap();
        self.engine.merge(work, &output);
    }

    /// Stops, and goes on in another engine from the state that was stored.
    fn restart(&mut self) {
        let state = self.engine.snapshot().unwrap();
        let mut engine = Bench::engine(&self.plan);
        engine.restore(state.frontier, &state.pieces, Restore::Exact).unwrap();
        for (key, lane) in self.engine.lanes() {
            let work = self.plan.lane(lane).unwrap();
            match state.lanes.get(key) {
                Some((_, bytes)) => engine.rejoin(work, bytes, Restore::Exact).unwrap(),
                None => engine.join(work),
            }
        }
        self.engine = engine;
    }
}

/// Cluster, and window in seconds after the start.
fn silences(facts: &[PaneFact]) -> Vec<(&str, i64, i64)> {
    let secs = |time: i64| time / SECOND - START;
    facts.iter().map(|f| (f.fact.cluster.as_str(), secs(f.fact.window_start), secs(f.fact.window_end))).collect()
}

#[test]
fn silence_is_told_alike_however_records_come_and_panes_close() {
    let first = [("a", 1), ("b", 2), ("b", 20), ("a", 21), ("b", 48), ("b", 75), ("b", 100), ("a", 101), ("b", 150)];
    let second = [("c", 3), ("c", 30), ("a", 31), ("c", 61), ("c", 149), ("c", 151)];
    let mut whole = listening();
    whole.read_of_clusters(0, &first);
    whole.read_of_clusters(1, &second);
    whole.engine.close_ready().unwrap();
    let expected = whole.engine.take_facts();
    // Both lanes of the source speak of `a`. What has not ended by 140, where panes are closed to, is told without its end.
    let (of_c, of_a) = ([("c", 30, 60), ("c", 30, 61)], [("a", 31, 61)]);
    let later = [("c", 61, 91), ("a", 31, 101), ("b", 100, 130), ("a", 101, 131)];
    assert_eq!(silences(&expected), [&of_c[..], &of_a, &later].concat());
    for (size, restarts) in [(1, false), (1, true), (2, true), (4, false)] {
        let mut bench = listening();
        let mut found = Vec::new();
        for step in 0..first.len().div_ceil(size) {
            let part = |events: &[(&'static str, i64)]| {
                events.iter().skip(step * size).take(size).copied().collect::<Vec<_>>()
            };
            bench.read_of_clusters(1, &part(&second));
            bench.read_of_clusters(0, &part(&first));
            bench.engine.close_ready().unwrap();
            found.extend(bench.engine.take_facts());
            if restarts {
                bench.restart();
            }
        }
        assert_eq!(found, expected, "{size} at once, restarts {restarts}");
    }
}

#[test]
fn silence_blinds_no_detector() {
    let mut bench = listening();
    bench.read_of_clusters(0, &[("a", 1), ("b", 2), ("b", 60), ("b", 61)]);
    bench.engine.end(&key(1));
    let found = bench.engine.close_ready().unwrap();
    assert_eq!(silences(&bench.engine.take_facts()), [("a", 1, 31), ("b", 2, 32)]);
    assert!(found.iter().all(|(_, finding)| finding.coverage == "complete"), "{:?}", seen(&found));
}

#[test]
fn decision_that_a_source_is_silent_is_repeated_like_any_other() {
    let (mut live, mut again) = (listening(), listening());
    for bench in [&mut live, &mut again] {
        bench.engine.leave(&key(1));
        bench.read(0, &[1, 2]);
        bench.engine.idle(&key(0));
        bench.engine.close_all().unwrap();
        assert_eq!(bench.engine.take_facts(), [], "event time stands still");
        bench.engine.take_decisions("job", 1, "f");
    }
    live.restart();
    assert!(live.engine.may_fall_silent("s"));
    live.engine.fall_silent("s");
    assert!(live.engine.must_cut() && !live.engine.may_fall_silent("s"));
    let facts = live.engine.take_facts();
    assert_eq!((silences(&facts), facts[0].told_at), (vec![("", 2, 32)], None));
    let decisions = live.engine.take_decisions("job", 2, "f");
    assert_eq!((decisions[0].kind, decisions[0].detail.as_str()), (DecisionKind::Silent, "s"));
    again.engine.replay(&decisions[0]).unwrap();
    assert_eq!(again.engine.take_facts(), facts);
    live.restart();
    for bench in [&mut live, &mut again] {
        bench.engine.wake(&key(0));
        bench.read(0, &[90, 96, 116]);
        bench.close();
        assert_eq!(silences(&bench.engine.take_facts()), [("", 2, 90)]);
    }
}

#[test]
fn state_of_the_layout_before_is_read_with_nobody_heard_of() {
    let mut bench = listening();
    bench.read(0, &[1, 2]);
    let mut state = bench.engine.snapshot().unwrap().lanes[&key(0)].1.clone();
    state[0] = 4;
    let mut other = listening();
    other.engine.leave(&key(1));
    other.engine.rejoin(other.plan.lane(&lane(0)).unwrap(), &state, Restore::Exact).unwrap();
    other.read(0, &[40, 80]);
    assert_eq!(other.close(), [(0, 2), (40, 1)], "the folds are there");
    assert_eq!(silences(&other.engine.take_facts()), [("", 40, 70)], "of the time before, nothing was noted");
}

/// Seconds after the start, as a moment.
fn moment(secs: i64) -> Micros {
    (START + secs) * SECOND
}

#[test]
fn rows_beyond_what_is_believed_enter_no_pane_and_move_no_frontier() {
    let mut bench = Bench::new(1);
    bench.engine.believe(&key(0), 0, moment(86_400));
    assert!(!bench.engine.must_cut(), "no other lane needs to be anywhere for it");
    let decision = bench.engine.take_decisions("job", 1, "f").remove(0);
    assert_eq!((decision.kind, decision.lanes.as_str()), (DecisionKind::Believe, r#"{"s/t/0":0}"#));
    bench.read(0, &[300_000_000]);
    bench.read(0, &[300_000_001, 300_000_002]);
    bench.engine.end(&key(0));
    assert_eq!(seen(&bench.engine.close_all().unwrap()), []);
    assert_eq!((bench.engine.frontier(), bench.engine.accounts().doubtful), (None, 3));
    bench.engine.wake(&key(0));
    bench.read(0, &[1, 2]);
    bench.engine.end(&key(0));
    assert_eq!(seen(&bench.engine.close_all().unwrap()), [(0, 2)]);
    assert_eq!(bench.engine.accounts().behind_frontier, 0);
}

#[test]
fn a_record_is_judged_by_what_was_said_of_it_first_however_often_it_is_read() {
    let mut live = Bench::new(1);
    live.engine.believe(&key(0), 0, moment(1_000));
    let decisions = live.engine.take_decisions("job", 1, "f");
    live.read(0, &[1, 2_000, 2]);
    assert_eq!(live.engine.accounts().doubtful, 1);
    // Its rows landed and its state did not. The next life knows a later time, and reads on beyond what had landed.
    let ways: [&[&[i64]]; 3] = [&[&[1, 2_000, 2, 2_001]], &[&[1], &[2_000, 2], &[2_001]], &[&[1, 2_000], &[2, 2_001]]];
    for batches in ways {
        let mut again = Bench::new(1);
        for (lane, belief) in Belief::recorded(&decisions) {
            again.engine.recall(&lane, belief);
        }
        again.engine.believe(&key(0), 3, moment(5_000));
        assert_eq!(again.engine.take_decisions("job", 2, "f")[0].lanes, r#"{"s/t/0":3}"#);
        for secs in batches {
            again.read(0, secs);
            again.restart();
        }
        assert_eq!(again.engine.accounts().doubtful, 1, "{batches:?}");
        again.read(0, &[2_002, 6_000]);
        assert_eq!(again.engine.accounts().doubtful, 2, "{batches:?}");
    }
}

#[test]
fn state_of_the_layout_before_beliefs_is_read_as_if_nothing_had_been_said() {
    let mut bench = Bench::new(1);
    bench.engine.believe(&key(0), 0, moment(10));
    bench.read(0, &[1, 2]);
    let mut state = bench.engine.snapshot().unwrap().lanes[&key(0)].1.clone();
    for (version, doubtful) in [(6, 1), (5, 0), (4, 0)] {
        state[0] = version;
        let mut other = Bench { engine: Bench::engine(&bench.plan), plan: plan() };
        other.engine.rejoin(other.plan.lane(&lane(0)).unwrap(), &state, Restore::Exact).unwrap();
        other.read(0, &[50]);
        assert_eq!(other.engine.accounts().doubtful, doubtful, "version {version}");
    }
}

#[test]
fn what_came_behind_the_frontier_is_told_by_the_batch_that_brought_it() {
    let mut bench = Bench::new(1);
    bench.read(0, &[1, 50]);
    bench.engine.idle(&key(0));
    bench.engine.close_all().unwrap();
    let mut work = bench.engine.checkout(&key(0)).unwrap();
    let mut told = Vec::new();
    for (number, sec) in [46, 58, 59, 70].into_iter().enumerate() {
        let mut chunk = Chunk::new(lane(0));
        let time = format_rfc3339(moment(sec));
        let event = format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"ResponseComplete","verb":"get","user":{{"username":"u"}},"stageTimestamp":"{time}"}}"#
        );
        chunk.push(event.as_bytes(), 2 + number as i64, None, None);
        told.push(work.process(chunk).unwrap().behind_frontier);
    }
    assert_eq!((told, work.behind_frontier()), (vec![1, 1, 1, 0], 3));
}
