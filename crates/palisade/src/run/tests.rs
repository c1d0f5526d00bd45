//! The whole run loop: crashes at any write to the lake's store, several in a row; stops; lanes that leave and come back;
//! a lake that is slow; and what the lake holds at last.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicI64;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::path::Path as StorePath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use palisade_drill::{Attack, Drill, Settings, Stream};
use palisade_events::seam::{SinkError, SourceError};
use palisade_hunt::{Hunt, Layout, layout};
use palisade_ingest::channel::channel;
use palisade_lake::LakeOptions;

use super::*;

/// A store that takes its time over a write, and dies at its n-th: the process is gone, before that write or with its
/// answer lost.
#[derive(Debug)]
struct Mortal {
    inner: Arc<dyn ObjectStore>,
    /// Writes left to it.
    left: Arc<AtomicI64>,
    /// Whether the last write still happens.
    answer_lost: bool,
    delay: Duration,
}

fn dead() -> object_store::Error {
    object_store::Error::Generic { store: "mortal", source: "the process is gone".into() }
}

impl Mortal {
    fn alive(&self) -> StoreResult<()> {
        if self.left.load(Ordering::SeqCst) > 0 { Ok(()) } else { Err(dead()) }
    }
}

impl fmt::Display for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mortal")
    }
}

#[async_trait]
impl ObjectStore for Mortal {
    async fn put_opts(&self, location: &StorePath, payload: PutPayload, opts: PutOptions) -> StoreResult<PutResult> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            left if left > 1 => self.inner.put_opts(location, payload, opts).await,
            1 if self.answer_lost => {
                self.inner.put_opts(location, payload, opts).await?;
                Err(dead())
            }
            _ => Err(dead()),
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &StorePath,
        opts: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &StorePath, options: GetOptions) -> StoreResult<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, StoreResult<StorePath>>,
    ) -> BoxStream<'static, StoreResult<StorePath>> {
        self.inner.delete_stream(at)
    }

    fn list(&self, prefix: Option<&StorePath>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&StorePath>,
        offset: &StorePath,
    ) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&StorePath>) -> StoreResult<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &StorePath, to: &StorePath, options: CopyOptions) -> StoreResult<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}

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
    /// Is told to stop when it has read so many records.
    stop_at: Option<u64>,
    workers: Option<usize>,
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
            attack: Attack::Chain,
            attack_at_secs: 120,
            ..Settings::default()
        });
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let (mut audit, mut auditd, mut alerts) = (file("audit.log"), file("auditd.log"), Vec::new());
        for (number, record) in drill.enumerate() {
            match record.stream {
                Stream::Falco => alerts.push(record.payload),
                // Serials that are missing are coverage facts.
                Stream::Auditd if String::from_utf8_lossy(&record.payload).contains("7):") => {}
                Stream::Auditd => writeln!(auditd, "{}", String::from_utf8(record.payload).unwrap()).unwrap(),
                Stream::K8sAudit => writeln!(audit, "{}", String::from_utf8(record.payload).unwrap()).unwrap(),
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
             [pipeline]\nidle_secs = {idle_secs:?}\nlateness_secs = 5.0\npane_secs = 1.0\n[anomaly.event_rate]\nfalse_findings_per_day = 50.0\n{}{}{}",
            source("audit", "k8s_audit", folder.path().join("audit.log")),
            source("auditd", "auditd", folder.path().join("auditd.log")),
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
                Arc::new(Mortal { inner, left: Arc::clone(&left), answer_lost, delay: Duration::ZERO })
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
        inputs.push(Input::Stream(Box::new(alerts)));
        let (records, pause_after) = (Arc::clone(&self.alerts), self.pause_after);
        let feed = move || {
            let sender = &senders[0];
            let Ok(first) = sender.begin() else { return };
            for record in records.iter().skip(first as usize) {
                let Ok(number) = sender.send(record) else { return };
                if number as usize % pause_after == pause_after - 1 {
                    std::thread::sleep(Duration::from_millis(40));
                }
            }
        };
        let feeder = std::thread::Builder::new().name("feeder".into()).spawn(feed).unwrap();
        let (stop, metrics) = (Arc::new(AtomicBool::new(false)), Arc::new(Metrics::new()));
        if let Some(records) = life.stop_at {
            let (stop, metrics) = (Arc::clone(&stop), Arc::clone(&metrics));
            let stopper = move || {
                while metrics.records.get() < records {
                    std::thread::sleep(Duration::from_micros(200));
                }
                stop.store(true, Ordering::Relaxed);
            };
            // Left alone if the run is over before.
            std::thread::Builder::new().name("stopper".into()).spawn(stopper).unwrap();
        }
        let sinks: Vec<Box<dyn Sink>> = vec![Box::new(kept.clone())];
        let options = RunOptions { stop, until: Until::CaughtUp, metrics: Arc::clone(&metrics), sinks };
        let outcome = run_inputs(&config, &self.plan, options, inputs, &mut recovered);
        assert_eq!(metrics.accounts_balance.get(), 1, "records in are used + coverage + rejected + held at every cut");
        // The stopper must not outlive the run.
        metrics.records.inc_by(u64::MAX / 2);
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
        ("coverage", "SELECT * FROM coverage ORDER BY source, partition, record_offset, kind, detail"),
        ("rule findings", "SELECT * FROM findings WHERE kind = 'rule' ORDER BY finding_uid"),
        ("pane findings", "SELECT * FROM findings WHERE kind <> 'rule' ORDER BY finding_uid"),
    ];
    tables.into_iter().map(|(name, query)| (name, rows(lake, query))).collect()
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
    let mut stops = 0;
    for (workers, share) in [(3, 8), (1, 4), (2, 3), (4, 2)] {
        let life = Life { stop_at: Some(whole.records / share), workers: Some(workers), ..Life::default() };
        let summary = world.live(&lake, life, &kept).unwrap();
        assert_ne!(rows(&lake, "SELECT count(*) AS n FROM events"), [r#"{"n":0}"#], "a stop flushes and commits");
        stops += usize::from(summary.records < whole.records);
    }
    world.live(&lake, Life::default(), &kept).unwrap();
    assert_eq!(stops, 4, "each life was told to stop on its way");
    let found = contents(&lake);
    for (table, rows) in &expected {
        same(rows, &found[table], table);
    }
    assert_eq!(*told.0.lock().unwrap(), *kept.0.lock().unwrap(), "who stops in order delivers each finding once");
}

/// What a [`Scripted`] source has done, for whoever watches.
#[derive(Default)]
struct Progress {
    given: i64,
    landed: BTreeMap<Arc<Lane>, i64>,
    /// Most records that were given and had not landed.
    ahead_max: i64,
    releases: usize,
}

/// A source of two lanes whose records are numbers of a repeated list. One lane may leave, and come back.
struct Scripted {
    lanes: Vec<(Arc<Lane>, Position)>,
    records: Arc<Vec<Vec<u8>>>,
    length: i64,
    chunk: i64,
    /// The second lane is to leave when it is here.
    leaves_at: Option<i64>,
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
        Self { lanes, records, length, chunk, leaves_at: None, progress: Arc::default() }
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
        Ok(Signal::Nothing)
    }

    fn start(&mut self, lanes: &[(Arc<Lane>, Option<i64>)]) -> Result<(), SourceError> {
        for (lane, next) in lanes {
            *self.position(lane) = Position::At { next: next.unwrap_or(0), held: false, told: false };
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
}

/// A pipeline of one scripted source of alerts, into a lake whose every write takes `delay`.
fn run_scripted(world: &World, lake: &Path, source: Scripted, commit_rows_max: usize, delay: Duration) {
    let mut config = world.config.clone();
    config.sources.retain(|source| source.name == "alerts");
    config.lake.url = lake.display().to_string();
    config.lake.commit_rows_max = commit_rows_max;
    config.pipeline.idle_secs = 0.05;
    let left = Arc::new(AtomicI64::new(i64::MAX));
    let wrap: palisade_lake::Wrap =
        Arc::new(move |inner| Arc::new(Mortal { inner, left: Arc::clone(&left), answer_lost: false, delay }));
    let options = LakeOptions { wrap: Some(wrap), ..LakeOptions::fast() };
    let mut recovered = recovery::open(&config, options).unwrap();
    let metrics = Arc::new(Metrics::new());
    let options =
        RunOptions { stop: Arc::default(), until: Until::CaughtUp, metrics: Arc::clone(&metrics), sinks: Vec::new() };
    let inputs = vec![Input::Stream(Box::new(source))];
    run_inputs(&config, &world.plan, options, inputs, &mut recovered).unwrap();
    assert_eq!(metrics.accounts_balance.get(), 1);
}

#[test]
fn a_slow_lake_holds_sources_back_and_loses_nothing() {
    let world = World::new(14, 3600.0);
    let (length, commit_rows_max, chunk) = (6000, 300, 10);
    let source = Scripted::new(&world.alerts, length, chunk);
    let progress = Arc::clone(&source.progress);
    let lake = world.lake("slow");
    run_scripted(&world, &lake, source, commit_rows_max, Duration::from_millis(30));
    let progress = progress.lock().unwrap();
    assert_eq!(progress.given, 2 * length);
    // One cut in flight, one full that waits for it, and a few chunks of each lane on their way.
    let bound = 2 * commit_rows_max as i64 + 2 * chunk * 2 * (BACKLOG_MAX as i64 + 2);
    assert!(progress.ahead_max <= bound, "{} records were taken in that had not landed", progress.ahead_max);
    let counts = "SELECT (SELECT count(DISTINCT event_uid) FROM events) + (SELECT count(*) FROM rejects) AS n, \
                  (SELECT count(*) FROM coverage WHERE record_offset >= 0) AS facts";
    let (counts, records) = (rows(&lake, counts).join(""), 2 * length);
    let counts: serde_json::Value = serde_json::from_str(&counts).unwrap();
    assert_eq!(counts["n"].as_i64().unwrap() + counts["facts"].as_i64().unwrap(), records, "{counts}");
}

#[test]
fn a_lane_that_leaves_and_comes_back_goes_on_where_it_was() {
    let world = World::new(15, 3600.0);
    let run = |name: &str, leaves_at: Option<i64>| {
        let mut source = Scripted::new(&world.alerts, 400, 7);
        source.leaves_at = leaves_at;
        let progress = Arc::clone(&source.progress);
        run_scripted(&world, &world.lake(name), source, 50, Duration::ZERO);
        let releases = progress.lock().unwrap().releases;
        (contents(&world.lake(name)), releases)
    };
    let (expected, _) = run("stays", None);
    let (found, releases) = run("leaves", Some(100));
    assert_eq!(releases, 1);
    for table in ["events", "rejects", "coverage", "rule findings"] {
        same(&expected[table], &found[table], table);
    }
    assert!(!expected["events"].is_empty() && !expected["rule findings"].is_empty());
}
