//! Same input, same findings: batch size, interleaving of lanes and restarts do not change one byte.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use palisade::engine::{Engine, LaneOutput, PaneFact, Restore, lane_key};
use palisade::events::{Chunk, EventBatch, FindingKind, Lane, col};
use palisade::{Config, Plan};
use palisade_drill::{Attack, Drill, Settings, Stream};
use proptest::prelude::*;

/// The statistical detectors judge after ten panes, so that they do so for most of a run of forty.
const SOURCES: &str = r#"
[anomaly.event_rate]
false_findings_per_day = 50.0
history_panes_min = 10
[anomaly.first_seen]
learning_panes = 10
[[source]]
name = "k8s-audit"
kind = "files"
paths = ["-"]
format = "k8s_audit"
cluster = "c"
[[source]]
name = "falco"
kind = "files"
paths = ["-"]
format = "falco"
cluster = "c"
silence_secs = 10.0
[[source]]
name = "auditd"
kind = "files"
paths = ["-"]
format = "auditd"
cluster = "c"
silence_secs = 10.0
"#;

/// Everything that a run made: events by id, findings by id, as text.
#[derive(Debug, PartialEq)]
struct Made {
    events: BTreeMap<String, String>,
    findings: BTreeMap<String, String>,
    kinds: BTreeSet<FindingKind>,
    silences: Vec<PaneFact>,
}

/// One drill, as lanes of records: three streams over two partitions each.
fn lanes(seed: u64, secs: u64) -> Vec<(Arc<Lane>, Vec<Vec<u8>>)> {
    let settings = Settings {
        seed,
        duration_secs: secs,
        events_per_sec: 20.0,
        attacks: vec![Attack::new("stolen-ci-token", secs * 2 / 3)],
        ..Settings::default()
    };
    let mut lanes: BTreeMap<(Stream, i32), Vec<Vec<u8>>> = BTreeMap::new();
    for record in Drill::new(settings).unwrap() {
        let partition = i32::from(record.key.bytes().fold(0u8, u8::wrapping_add) % 2);
        lanes.entry((record.stream, partition)).or_default().push(record.payload);
    }
    lanes
        .into_iter()
        .map(|((stream, partition), records)| {
            (Arc::new(Lane::kafka(stream.topic(), stream.topic(), partition)), records)
        })
        .collect()
}

struct Run<'p> {
    plan: &'p Plan,
    engine: Engine,
    made: Made,
    next: BTreeMap<String, usize>,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan, lanes: &[(Arc<Lane>, Vec<Vec<u8>>)]) -> Self {
        let mut engine = plan.engine().unwrap();
        for (lane, _) in lanes {
            engine.join(plan.lane(lane).unwrap());
        }
        let (events, findings) = (BTreeMap::new(), BTreeMap::new());
        let made = Made { events, findings, kinds: BTreeSet::new(), silences: Vec::new() };
        Self { plan, engine, made, next: BTreeMap::new() }
    }

    /// Lets a lane read its next `count` records.
    fn read(&mut self, lane: &Arc<Lane>, records: &[Vec<u8>], count: usize) {
        let key = lane_key(lane);
        let next = *self.next.get(&key).unwrap_or(&0);
        let until = (next + count).min(records.len());
        let mut chunk = Chunk::new(Arc::clone(lane));
        for (offset, record) in records.iter().enumerate().take(until).skip(next) {
            chunk.push(record, offset as i64, None, None);
        }
        if chunk.records.is_empty() {
            return;
        }
        self.next.insert(key.clone(), until);
        let mut work = self.engine.checkout(&key).unwrap();
        let output = work.process(chunk).unwrap();
        self.take(&output);
        self.engine.merge(work, &output);
    }

    fn take(&mut self, output: &LaneOutput) {
        self.take_events(&output.events);
        for (_, finding) in &output.findings {
            self.add(finding);
        }
    }

    fn take_events(&mut self, events: &EventBatch) {
        for row in 0..events.rows() {
            let before = self.made.events.insert(events.uid(row).to_owned(), events.row_json(row).to_string());
            assert!(before.is_none(), "an event id came twice");
            assert!(!events.text(col::RAW).value(row).is_empty());
        }
    }

    fn add(&mut self, finding: &palisade::Finding) {
        let text = serde_json::to_string(finding).unwrap();
        let before = self.made.findings.insert(finding.finding_uid.clone(), text);
        assert!(before.is_none(), "a finding came twice: {finding:?}");
        self.made.kinds.insert(finding.kind);
    }

    fn close(&mut self) {
        for (_, finding) in self.engine.close_ready().unwrap() {
            self.add(&finding);
        }
        self.made.silences.extend(self.engine.take_facts());
    }

    /// Stops, and goes on in another engine from the state that was stored.
    fn restart(&mut self) {
        let state = self.engine.snapshot().unwrap();
        let mut engine = self.plan.engine().unwrap();
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

    fn finish(mut self, lanes: &[(Arc<Lane>, Vec<Vec<u8>>)]) -> Made {
        for (lane, records) in lanes {
            self.read(lane, records, records.len());
        }
        for (lane, _) in lanes {
            let key = lane_key(lane);
            let mut work = self.engine.checkout(&key).unwrap();
            let output = work.finish().unwrap();
            self.take(&output);
            self.engine.merge(work, &output);
            self.engine.end(&key);
        }
        for (_, finding) in self.engine.close_all().unwrap() {
            self.add(&finding);
        }
        self.made.silences.extend(self.engine.take_facts());
        assert!(self.engine.accounts().balance(), "{:?}", self.engine.accounts());
        self.made
    }
}

fn plan() -> Plan {
    Plan::new(&Config::parse("test", SOURCES, &BTreeMap::new()).unwrap()).unwrap()
}

fn assert_same(left: &Made, right: &Made) {
    assert_eq!(left.events.len(), right.events.len());
    for (uid, row) in &left.events {
        assert_eq!(Some(row), right.events.get(uid));
    }
    for (uid, finding) in &left.findings {
        assert_eq!(Some(finding), right.findings.get(uid));
    }
    assert_eq!(left.findings.len(), right.findings.len());
    assert_eq!(left.silences, right.silences);
}

/// A run without findings of some kind would prove nothing of what makes them.
fn assert_of_every_kind(made: &Made) {
    let all = BTreeSet::from([FindingKind::Rule, FindingKind::Anomaly, FindingKind::Correlation]);
    assert_eq!(made.kinds, all, "{} findings", made.findings.len());
}

#[test]
fn batching_does_not_change_one_byte() {
    let (plan, lanes) = (plan(), lanes(1, 900));
    let whole = Run::new(&plan, &lanes).finish(&lanes);
    assert!(whole.findings.len() > 5, "{} findings prove little", whole.findings.len());
    assert_of_every_kind(&whole);
    assert!(!whole.silences.is_empty(), "alerts are rare enough to fall silent");
    for size in [1, 7, 500] {
        let mut run = Run::new(&plan, &lanes);
        let longest = lanes.iter().map(|(_, records)| records.len()).max().unwrap();
        for _ in 0..longest.div_ceil(size) {
            for (lane, records) in &lanes {
                run.read(lane, records, size);
            }
            run.close();
        }
        assert_same(&whole, &run.finish(&lanes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Any interleaving, any batch sizes, closing at any time, stopping and going on anywhere.
    #[test]
    fn interleaving_and_restarts_do_not_change_one_byte(
        seed in 1u64..4,
        steps in proptest::collection::vec((0usize..6, 1usize..400, 0u8..12), 1..120),
    ) {
        let (plan, lanes) = (plan(), lanes(seed, 400));
        let whole = Run::new(&plan, &lanes).finish(&lanes);
        assert_of_every_kind(&whole);
        let mut run = Run::new(&plan, &lanes);
        for (lane, count, then) in steps {
            let (lane, records) = &lanes[lane % lanes.len()];
            run.read(lane, records, count);
            match then {
                0..=4 => run.close(),
                5 => run.restart(),
                _ => {}
            }
        }
        assert_same(&whole, &run.finish(&lanes));
    }
}
