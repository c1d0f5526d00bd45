//! Sources by script: a slow lake, a lake and a broker out of reach, lanes that leave, come back or stay away.

use palisade_events::seam::{Hold, Resume, Signal, SourceError};

use super::super::lanes::BACKLOG_MAX;
use super::mortal::Mortal;
use super::*;

/// What a [`Scripted`] source has done, for whoever watches.
#[derive(Default)]
struct Progress {
    given: i64,
    landed: BTreeMap<Arc<Lane>, i64>,
    /// Most records that were given and had not landed.
    ahead_max: i64,
    releases: usize,
    /// Where a lane was resumed last.
    resumed: i64,
}

/// A source of two lanes whose records are numbers of a repeated list. One lane may leave, and come back.
struct Scripted {
    lanes: Vec<(Arc<Lane>, Position)>,
    records: Arc<Vec<Vec<u8>>>,
    length: i64,
    chunk: i64,
    /// The second lane is to leave when it is here.
    leaves_at: Option<i64>,
    /// So often it cannot begin lanes, and so often it fails when it has given something: failures that pass.
    fails_at_start: usize,
    fails_later: usize,
    /// Lanes that another member of the group holds.
    missing: usize,
    progress: Arc<std::sync::Mutex<Progress>>,
}

/// Where a lane of a [`Scripted`] source stands.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Position {
    New,
    Joined,
    At { next: i64, held: bool, told: bool },
    Leaving,
    Left,
}

impl Scripted {
    fn new(records: &Arc<Vec<Vec<u8>>>, length: i64, chunk: i64) -> Self {
        let lane = |n: i32| (Arc::new(Lane::kafka("alerts", "scripted", n)), Position::New);
        let (lanes, records) = (vec![lane(0), lane(1)], Arc::clone(records));
        Self {
            lanes,
            records,
            length,
            chunk,
            leaves_at: None,
            fails_at_start: 0,
            fails_later: 0,
            missing: 0,
            progress: Arc::default(),
        }
    }

    fn position(&mut self, lane: &Arc<Lane>) -> &mut Position {
        &mut self.lanes.iter_mut().find(|(known, _)| known == lane).unwrap().1
    }

    fn fresh(&mut self) -> Vec<Arc<Lane>> {
        let fresh = self.lanes.iter_mut().filter(|(_, position)| *position == Position::New);
        let join = |(lane, position): &mut (Arc<Lane>, Position)| {
            *position = Position::Joined;
            Arc::clone(lane)
        };
        fresh.map(join).collect()
    }
}

impl Source for Scripted {
    fn name(&self) -> &str {
        "alerts"
    }

    fn next(&mut self, _: Duration) -> Result<Signal, SourceError> {
        if self.progress.lock().unwrap().given > 0 && self.fails_later > 0 {
            self.fails_later -= 1;
            return Err(SourceError { source_name: "alerts".into(), why: "no answer".into(), retry: true });
        }
        let fresh = self.fresh();
        if !fresh.is_empty() {
            return Ok(Signal::Joined(fresh));
        }
        let (leaves_at, length, chunk) = (self.leaves_at, self.length, self.chunk);
        // The second lane first, so that it is not starved by the first.
        for (lane, position) in self.lanes.iter_mut().rev() {
            if *position == Position::Left {
                *position = Position::New;
            }
            let Position::At { next, held, told } = position else { continue };
            if lane.partition == Some(1) && leaves_at.is_some_and(|at| *next >= at) {
                *position = Position::Leaving;
                self.leaves_at = None;
                return Ok(Signal::Leaving(vec![Arc::clone(lane)]));
            }
            if *held || *told {
                continue;
            }
            if *next >= length {
                *told = true;
                return Ok(Signal::CaughtUp(Arc::clone(lane)));
            }
            let mut records = Chunk::new(Arc::clone(lane));
            for offset in *next..(*next + chunk).min(length) {
                records.push(&self.records[offset as usize % self.records.len()], offset, None, None);
            }
            *next += records.records.len() as i64;
            let mut progress = self.progress.lock().unwrap();
            progress.given += records.records.len() as i64;
            progress.ahead_max = progress.ahead_max.max(progress.given - progress.landed.values().sum::<i64>());
            return Ok(Signal::Records(records));
        }
        // As a broker would: asked again at once, it has nothing more.
        std::thread::sleep(Duration::from_millis(1));
        Ok(Signal::Nothing)
    }

    fn start(&mut self, lanes: &[(Arc<Lane>, Option<Resume>)]) -> Result<(), SourceError> {
        if self.fails_at_start > 0 {
            self.fails_at_start -= 1;
            return Err(SourceError { source_name: "alerts".into(), why: "no answer".into(), retry: true });
        }
        for (lane, next) in lanes {
            self.progress.lock().unwrap().resumed = next.as_ref().map_or(0, |resume| resume.next_offset);
            *self.position(lane) =
                Position::At { next: next.as_ref().map_or(0, |resume| resume.next_offset), held: false, told: false };
        }
        Ok(())
    }

    fn release(&mut self, lanes: &[Arc<Lane>]) -> Result<(), SourceError> {
        for lane in lanes {
            assert_eq!(*self.position(lane), Position::Leaving);
            *self.position(lane) = Position::Left;
        }
        self.progress.lock().unwrap().releases += 1;
        Ok(())
    }

    fn hold(&mut self, lane: &Arc<Lane>, hold: Hold) {
        if let Position::At { held, .. } = self.position(lane) {
            *held = hold == Hold::Hold;
        }
    }

    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]) {
        self.progress.lock().unwrap().landed.extend(lanes.iter().cloned());
    }

    fn missing_lanes(&self) -> Result<usize, SourceError> {
        Ok(self.missing)
    }
}

/// How the world around a scripted run is.
#[derive(Clone, Copy)]
struct Around {
    commit_rows_max: usize,
    /// What each write to the lake takes.
    delay: Duration,
    /// Writes to the lake that fail, from the first cut on.
    outage: i64,
    patience_secs: f64,
}

const QUIET: Around = Around { commit_rows_max: 50, delay: Duration::ZERO, outage: 0, patience_secs: 0.0 };

/// A pipeline of one scripted source of alerts.
fn run_scripted(world: &World, lake: &Path, source: Scripted, around: Around) -> (Result<Summary>, Arc<Metrics>) {
    let mut config = world.config.clone();
    config.sources.retain(|source| source.name == "alerts");
    config.lake.url = lake.display().to_string();
    config.lake.commit_rows_max = around.commit_rows_max;
    config.pipeline.idle_secs = 0.05;
    config.pipeline.patience_secs = around.patience_secs;
    let (left, outage) = (Arc::new(AtomicI64::new(i64::MAX)), Arc::new(AtomicI64::new(0)));
    let (of_store, delay) = (Arc::clone(&outage), around.delay);
    let wrap: palisade_lake::Wrap = Arc::new(move |inner| {
        let (left, outage) = (Arc::clone(&left), Arc::clone(&of_store));
        Arc::new(Mortal { inner, left, answer_lost: false, delay, outage })
    });
    let lake = LakeOptions { wrap: Some(wrap), attempts_max: 1, ..LakeOptions::fast() };
    let mut recovered = recovery::open(&config, lake).unwrap();
    outage.store(around.outage, Ordering::SeqCst);
    let metrics = Arc::new(Metrics::new());
    let options =
        RunOptions { stop: Arc::default(), until: Until::CaughtUp, metrics: Arc::clone(&metrics), sinks: Vec::new() };
    let inputs = vec![Input::Stream(Box::new(source))];
    let outcome = run_inputs(&config, &world.plan, options, inputs, &mut recovered);
    assert_eq!(metrics.accounts_balance.get(), 1);
    (outcome, metrics)
}

#[test]
fn a_slow_lake_holds_sources_back_and_loses_nothing() {
    let world = World::new(14, 3600.0);
    let (length, commit_rows_max, chunk) = (6000, 300, 10);
    let source = Scripted::new(&world.alerts, length, chunk);
    let progress = Arc::clone(&source.progress);
    let lake = world.lake("slow");
    run_scripted(&world, &lake, source, Around { commit_rows_max, delay: Duration::from_millis(30), ..QUIET })
        .0
        .unwrap();
    let progress = progress.lock().unwrap();
    assert_eq!(progress.given, 2 * length);
    // One cut in flight and one full that waits for it, each with a chunk of each lane more than it takes to be full, and
    // what may lie before each lane. Alerts that are facts are no rows, so they fill no cut: a tenth for them.
    let (lanes, full) = (2, commit_rows_max as i64 * 11 / 10);
    let bound = 2 * (full + lanes * chunk) + lanes * chunk * (BACKLOG_MAX as i64 + 1);
    assert!(progress.ahead_max <= bound, "{} records were taken in that had not landed", progress.ahead_max);
    assert_each_once(&lake, 2 * length);
}

/// Each record is an event, a reject or a fact of the lake, and once.
fn assert_each_once(lake: &Path, records: i64) {
    let counts = "SELECT (SELECT count(*) FROM events) AS events, (SELECT count(DISTINCT event_uid) FROM events) AS distinct_events, \
                  (SELECT count(*) FROM rejects) AS rejects, (SELECT count(*) FROM coverage WHERE record_offset >= 0) AS facts";
    let counts = rows(lake, counts).join("");
    let of = |key: &str| number(&counts, key);
    assert_eq!(of("events"), of("distinct_events"), "{counts}");
    assert_eq!(of("events") + of("rejects") + of("facts"), records as u64, "{counts}");
}

#[test]
fn a_lake_out_of_reach_is_waited_for_and_then_given_up() {
    let world = World::new(16, 3600.0);
    let source = || Scripted::new(&world.alerts, 600, 10);
    let lake = world.lake("outage");
    let (outcome, metrics) = run_scripted(&world, &lake, source(), Around { outage: 4, patience_secs: 60.0, ..QUIET });
    outcome.unwrap();
    assert!(metrics.health().degraded.is_empty(), "{:?}", metrics.health());
    assert_each_once(&lake, 1200);
    let lake = world.lake("gone");
    let (outcome, metrics) =
        run_scripted(&world, &lake, source(), Around { outage: i64::MAX, patience_secs: 0.3, ..QUIET });
    assert!(matches!(outcome, Err(crate::Error::Lake(_))), "{outcome:?}");
    assert!(metrics.health().degraded.contains_key("lake"));
}

#[test]
fn a_broker_out_of_reach_is_waited_for_and_then_given_up() {
    let world = World::new(17, 3600.0);
    let mut source = Scripted::new(&world.alerts, 200, 10);
    (source.fails_at_start, source.fails_later) = (2, 2);
    let lake = world.lake("broker");
    let (outcome, metrics) = run_scripted(&world, &lake, source, Around { patience_secs: 60.0, ..QUIET });
    outcome.unwrap();
    assert!(metrics.health().degraded.is_empty(), "{:?}", metrics.health());
    assert_each_once(&lake, 400);
    let mut source = Scripted::new(&world.alerts, 200, 10);
    source.fails_later = usize::MAX;
    let (outcome, metrics) =
        run_scripted(&world, &world.lake("no-broker"), source, Around { patience_secs: 0.3, ..QUIET });
    assert!(matches!(outcome, Err(crate::Error::Source(_))), "{outcome:?}");
    assert!(metrics.health().degraded.contains_key("source alerts"));
}

#[test]
fn who_holds_only_some_lanes_says_so_in_health_and_on_what_panes_show() {
    let world = World::new(18, 3600.0);
    // The last alert three hundred times over: a burst.
    let burst = std::iter::repeat_n(world.alerts.last().unwrap(), 300);
    let alerts: Vec<Vec<u8>> = world.alerts.iter().chain(burst).cloned().collect();
    let mut source = Scripted::new(&Arc::new(alerts.clone()), alerts.len() as i64, 10);
    source.missing = 3;
    let lake = world.lake("partial");
    let (outcome, metrics) = run_scripted(&world, &lake, source, QUIET);
    outcome.unwrap();
    assert!(metrics.health().degraded["assignment"].starts_with("3 lanes"), "{:?}", metrics.health());
    let marked = "SELECT kind = 'rule' AS by_rule, coverage = 'partial_assignment' AS marked FROM findings GROUP BY 1, 2 \
                  ORDER BY 1";
    let expected = [r#"{"by_rule":false,"marked":true}"#, r#"{"by_rule":true,"marked":false}"#];
    assert_eq!(rows(&lake, marked), expected, "a rule sees one event, whoever holds the other lanes");
}

#[test]
fn a_lane_that_leaves_and_comes_back_goes_on_where_it_was() {
    let world = World::new(15, 3600.0);
    let run = |name: &str, leaves_at: Option<i64>| {
        let mut source = Scripted::new(&world.alerts, 400, 7);
        source.leaves_at = leaves_at;
        let progress = Arc::clone(&source.progress);
        run_scripted(&world, &world.lake(name), source, QUIET).0.unwrap();
        let progress = progress.lock().unwrap();
        (contents(&world.lake(name)), progress.releases, progress.resumed)
    };
    let (expected, ..) = run("stays", None);
    let (found, releases, resumed) = run("leaves", Some(100));
    assert_eq!(releases, 1);
    for table in ["events", "rejects", "coverage", "rule findings"] {
        same(&expected[table], &found[table], table);
    }
    assert!(!expected["events"].is_empty() && !expected["rule findings"].is_empty());
    let left = rows(&world.lake("leaves"), "SELECT lanes FROM decisions WHERE kind = 'leave' AND detail LIKE '%/1'");
    let stood = serde_json::json!({ "lanes": serde_json::json!({ "alerts/scripted/1": resumed }).to_string() });
    assert_eq!(left, [stood.to_string()], "who left, and where it stood: that is where it went on");
}
