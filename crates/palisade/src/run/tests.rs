//! The whole run loop: crashes at any write to the lake's store, several in a row; stops; lanes that leave and come back;
//! a lake that is slow; and what the lake holds at last.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;

use palisade_drill::{Attack, Drill, Settings, Stream};
use palisade_events::seam::{Hold, Resume, Signal, SinkError, SourceError};
use palisade_hunt::{Hunt, Layout, layout};
use palisade_ingest::channel::channel;
use palisade_lake::LakeOptions;

use self::mortal::Mortal;
use super::*;

mod mortal;
mod objects;
mod reload;
mod scripted;
mod silence;

/// Two sources of files and one of channels, and all their records.
struct World {
    folder: tempfile::TempDir,
    config: Config,
    plan: Plan,
    alerts: Arc<Vec<Vec<u8>>>,
    /// The sender of alerts pauses after so many, so that its lane falls silent.
    pause_after: usize,
}

/// How one life of the process goes.
#[derive(Clone, Copy, Default)]
struct Life {
    /// Dies at this write, before it or with its answer lost, if it gets there.
    death: Option<(i64, bool)>,
    /// Is told to stop when it has read so many records; it may read no more than a few chunks beyond.
    stop_at: Option<u64>,
    workers: Option<usize>,
}

/// A channel that tells the run to stop when it has read so many records: it looks whenever it is asked, and at each cut.
struct StopsAt {
    inner: palisade_ingest::channel::ChannelSource,
    records: u64,
    stop: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl StopsAt {
    fn look(&self) {
        if self.metrics.records.get() >= self.records {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl Source for StopsAt {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn next(&mut self, wait: Duration) -> Result<Signal, SourceError> {
        self.look();
        self.inner.next(wait)
    }

    fn start(&mut self, lanes: &[(Arc<Lane>, Option<Resume>)]) -> Result<(), SourceError> {
        self.inner.start(lanes)
    }

    fn release(&mut self, lanes: &[Arc<Lane>]) -> Result<(), SourceError> {
        self.inner.release(lanes)
    }

    fn hold(&mut self, lane: &Arc<Lane>, hold: Hold) {
        self.inner.hold(lane, hold);
    }

    fn landed(&mut self, lanes: &[(Arc<Lane>, i64)]) {
        self.look();
        self.inner.landed(lanes);
    }
}

/// A sink that keeps what it was given, with how often.
#[derive(Clone, Default)]
struct Kept(Arc<std::sync::Mutex<BTreeMap<String, usize>>>);

impl Sink for Kept {
    fn name(&self) -> &str {
        "kept"
    }

    fn deliver(&mut self, findings: &[Finding]) -> Result<(), SinkError> {
        let mut kept = self.0.lock().unwrap();
        findings.iter().for_each(|finding| *kept.entry(finding.finding_uid.clone()).or_default() += 1);
        Ok(())
    }
}

impl World {
    fn new(seed: u64, idle_secs: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let drill = Drill::new(Settings {
            seed,
            duration_secs: 240,
            events_per_sec: 8.0,
            attacks: vec![Attack::new("stolen-ci-token", 120)],
            ..Settings::default()
        })
        .unwrap();
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let (mut audit, mut auditd, mut alerts) = (file("audit.log"), file("auditd.log"), Vec::new());
        for (number, record) in drill.enumerate() {
            match record.stream {
                Stream::Falco => alerts.push(record.payload),
                // Serials that are missing are coverage facts.
                Stream::Auditd if String::from_utf8_lossy(&record.payload).contains("7):") => {}
                Stream::Auditd => writeln!(auditd, "{}", String::from_utf8(record.payload).unwrap()).unwrap(),
                Stream::K8sAudit => writeln!(audit, "{}", String::from_utf8(record.payload).unwrap()).unwrap(),
                other => panic!("{other:?} is not among the usual streams"),
            }
            if number % 97 == 0 {
                writeln!(audit, "this is no event").unwrap();
            }
        }
        let source = |name: &str, format: &str, path: PathBuf| {
            format!(
                "[[source]]\nkind = \"files\"\nname = \"{name}\"\nformat = \"{format}\"\ncluster = \"c\"\npaths = [{}]\n",
                toml::Value::from(path.display().to_string())
            )
        };
        let text = format!(
            "job = \"j\"\n[lake]\ncommit_interval_secs = 0.0\ncommit_rows_max = 1\nfsync = false\n\
             [pipeline]\npatience_secs = 0.0\nidle_secs = {idle_secs:?}\nlateness_secs = 5.0\npane_secs = 1.0\n[anomaly.event_rate]\nfalse_findings_per_day = 50.0\n\
             history_panes_min = 20\nhistory_events_min = 4\n{}{}{}",
            source("audit", "k8s_audit", folder.path().join("audit.log")) + "silence_secs = 1.0\n",
            source("auditd", "auditd", folder.path().join("auditd.log")) + "silence_secs = 1.0\n",
            source("alerts", "falco", "-".into()),
        );
        let config = Config::parse("test", &text, &BTreeMap::new()).unwrap();
        let plan = Plan::new(&config).unwrap();
        Self { folder, config, plan, alerts: Arc::new(alerts), pause_after: usize::MAX }
    }

    fn live(&self, lake: &Path, life: Life, kept: &Kept) -> Result<Summary> {
        let mut config = self.config.clone();
        config.lake.url = lake.display().to_string();
        config.pipeline.workers = life.workers.unwrap_or(config.pipeline.workers);
        let mut options = LakeOptions { attempts_max: 1, backoff: Duration::from_millis(1), ..LakeOptions::fast() };
        if let Some((writes, answer_lost)) = life.death {
            let left = Arc::new(AtomicI64::new(writes));
            options.wrap = Some(Arc::new(move |inner| {
                let (left, outage) = (Arc::clone(&left), Arc::default());
                Arc::new(Mortal { inner, left, answer_lost, delay: Duration::ZERO, outage })
            }));
        }
        let mut recovered = recovery::open(&config, options)?;
        let small = FileSettings { chunk_records_max: 61, ..FileSettings::default() };
        let (senders, alerts) = channel("alerts", &["app"]);
        let files: Vec<_> = config.sources.iter().take(2).collect();
        let mut inputs = Vec::new();
        for source in files {
            inputs.push(recovery::input(&config, &self.plan, source, &recovered, &small)?);
        }
        let (stop, metrics) = (Arc::new(AtomicBool::new(false)), Arc::new(Metrics::new()));
        let stops = StopsAt {
            inner: alerts,
            records: life.stop_at.unwrap_or(u64::MAX),
            stop: Arc::clone(&stop),
            metrics: Arc::clone(&metrics),
        };
        inputs.push(Input::Stream(Box::new(stops)));
        let (records, pause_after) = (Arc::clone(&self.alerts), self.pause_after);
        let feed = move || {
            let sender = &senders[0];
            let Ok(first) = sender.begin() else { return };
            for record in records.iter().skip(first as usize) {
                let Ok(number) = sender.send(record) else { return };
                if number as usize % pause_after == pause_after - 1 {
                    // Longer than the loop goes without a look at who is silent, on however fast a machine.
                    std::thread::sleep(Duration::from_millis(250));
                }
            }
        };
        let feeder = std::thread::Builder::new().name("feeder".into()).spawn(feed).unwrap();
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(kept.clone())];
        let options = RunOptions { stop, until: Until::CaughtUp, metrics: Arc::clone(&metrics), sinks };
        let outcome = run_inputs(&config, &self.plan, options, inputs, &mut recovered);
        assert_eq!(metrics.accounts_balance.get(), 1, "records in are used + coverage + rejected + held at every cut");
        feeder.join().unwrap();
        outcome
    }

    fn lake(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Rows of a query, one JSON object each.
fn rows(lake: &Path, query: &str) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async {
        let hunt = Hunt::open(&lake.display().to_string()).await.unwrap();
        layout(&hunt.sql(query).await.unwrap(), Layout::Ndjson).unwrap()
    });
    text.lines().map(str::to_owned).collect()
}

/// Everything that lanes and time made, in an order of its own.
fn contents(lake: &Path) -> BTreeMap<&'static str, Vec<String>> {
    let tables = [
        ("events", "SELECT * FROM events ORDER BY event_uid, record_offset"),
        ("rejects", "SELECT * FROM rejects ORDER BY source, partition, record_offset"),
        (
            "coverage",
            "SELECT * FROM coverage WHERE kind <> 'silence' ORDER BY source, partition, record_offset, kind, detail",
        ),
        ("silences", "SELECT * FROM coverage WHERE kind = 'silence' ORDER BY source, window_start, window_end, detail"),
        ("rule findings", "SELECT * FROM findings WHERE kind = 'rule' ORDER BY finding_uid"),
        ("pane findings", "SELECT * FROM findings WHERE kind <> 'rule' ORDER BY finding_uid"),
    ];
    tables.into_iter().map(|(name, query)| (name, rows(lake, query))).collect()
}

/// A number in a row of JSON.
fn number(row: &str, key: &str) -> u64 {
    serde_json::from_str::<serde_json::Value>(row).unwrap()[key].as_u64().unwrap()
}

fn same(expected: &[String], found: &[String], what: &str) {
    let both = expected.iter().zip(found).find(|(a, b)| a != b);
    assert!(
        both.is_none() && expected.len() == found.len(),
        "{what}: {} rows expected, {} found; first difference:\n{both:#?}",
        expected.len(),
        found.len(),
    );
}

/// A generator of small numbers that needs no crate (an LCG's upper bits).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Lives and dies until a life reaches the end. Returns the number of deaths.
fn live_until_done(world: &World, lake: &Path, dice: &mut Dice, deaths_max: usize, kept: &Kept) -> usize {
    let mut deaths = 0;
    while deaths < deaths_max {
        // Every other life ends within its first cut: what two crashes in a row leave behind is the harder case.
        let span = if dice.below(2) == 0 { 40 } else { 200 };
        let death = (1 + dice.below(span) as i64, dice.below(2) == 0);
        match world.live(lake, Life { death: Some(death), ..Life::default() }, kept) {
            Ok(_) => return deaths,
            Err(_) => deaths += 1,
        }
    }
    world.live(lake, Life::default(), kept).unwrap();
    deaths
}

#[test]
fn crashes_at_any_write_lose_nothing_double_nothing_and_change_nothing() {
    let world = World::new(11, 3600.0);
    let reference = world.lake("reference");
    let told = Kept::default();
    let summary = world.live(&reference, Life::default(), &told).unwrap();
    let expected = contents(&reference);
    for (table, rows) in &expected {
        assert!(!rows.is_empty(), "{table} without rows shows nothing");
    }
    assert!(summary.cut > 10, "cuts must be small: {}", summary.cut);
    let mut deaths = 0;
    for seed in 0..3 {
        let lake = world.lake(&format!("lake-{seed}"));
        let kept = Kept::default();
        deaths += live_until_done(&world, &lake, &mut Dice(seed), 9, &kept);
        let found = contents(&lake);
        for (table, rows) in &expected {
            same(rows, &found[table], &format!("seed {seed}, {table}"));
        }
        let (told, kept) = (told.0.lock().unwrap(), kept.0.lock().unwrap());
        assert!(told.keys().eq(kept.keys()), "seed {seed}: a sink has had every finding, and no other");
    }
    assert!(deaths > 12, "{deaths}");
}

#[test]
fn decisions_that_time_made_are_repeated_where_they_fell() {
    // The channel falls silent again and again, and panes close without it. Where that happens depends on the clock, so
    // there is no reference; but what one life decided and did not finish, the next must repeat.
    let mut world = World::new(12, 0.01);
    world.pause_after = 7;
    let reference = world.lake("reference");
    world.live(&reference, Life::default(), &Kept::default()).unwrap();
    let expected = contents(&reference);
    let (mut deaths, mut decisions) = (0, 0);
    for seed in 100..103 {
        let lake = world.lake(&format!("lake-{seed}"));
        deaths += live_until_done(&world, &lake, &mut Dice(seed), 9, &Kept::default());
        let found = contents(&lake);
        for table in ["events", "rejects", "coverage", "rule findings"] {
            same(&expected[table], &found[table], &format!("seed {seed}, {table}"));
        }
        // A pane that was closed twice, with other contents the second time, would leave two findings of one uid, or two
        // of one detector, entity and pane.
        let panes = "SELECT finding_uid, count(*) AS n FROM findings GROUP BY finding_uid HAVING count(*) > 1 \
                     UNION ALL SELECT rule_uid || entity || CAST(time AS VARCHAR), count(*) FROM findings \
                     WHERE kind = 'anomaly' GROUP BY 1 HAVING count(*) > 1";
        assert_eq!(rows(&lake, panes), Vec::<String>::new(), "seed {seed}");
        // So would a silence that was told twice.
        let silences = "SELECT source, window_start, window_end FROM coverage WHERE kind = 'silence' \
                        GROUP BY 1, 2, 3 HAVING count(*) > 1";
        assert_eq!(rows(&lake, silences), Vec::<String>::new(), "seed {seed}");
        let idle = "SELECT cut, \"index\" FROM decisions WHERE kind IN ('idle', 'wake')";
        decisions += rows(&lake, idle).len();
    }
    assert!(deaths > 12 && decisions > 3, "{deaths} deaths, {decisions} decisions");
}

#[test]
fn stops_and_other_numbers_of_threads_change_nothing() {
    let world = World::new(13, 3600.0);
    let reference = world.lake("reference");
    let told = Kept::default();
    let whole = world.live(&reference, Life { workers: Some(1), ..Life::default() }, &told).unwrap();
    let expected = contents(&reference);
    let lake = world.lake("stopped");
    let kept = Kept::default();
    let mut read = 0;
    for workers in [3, 1, 2, 4] {
        let life = Life { stop_at: Some(whole.records / 8), workers: Some(workers), ..Life::default() };
        let summary = world.live(&lake, life, &kept).unwrap();
        assert!(summary.records >= whole.records / 8, "{} records before the stop", summary.records);
        read += summary.records;
        assert!(read < whole.records, "each life was told to stop on its way, and nothing is read twice");
        let stored: u64 = rows(&lake, "SELECT count(*) AS n FROM events").iter().map(|row| number(row, "n")).sum();
        assert!(stored > 0, "a stop flushes and commits");
    }
    world.live(&lake, Life::default(), &kept).unwrap();
    let found = contents(&lake);
    for (table, rows) in &expected {
        same(rows, &found[table], table);
    }
    assert_eq!(*told.0.lock().unwrap(), *kept.0.lock().unwrap(), "who stops in order delivers each finding once");
}
